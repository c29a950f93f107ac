//! Noticing a `run` that goes into the background. No clock, no I/O.
//!
//! supervise watches the process that it has started. The first process of a program that becomes a daemon ends well at
//! once: to supervise the service is over, and it is started again, each second, while the daemons that it has left
//! fill the machine. Which processes `run` has left can be seen only from their parents. So when a `run` has ended well
//! at once, supervise makes itself the parent of what the next one leaves, which the kernel does for a child subreaper,
//! and looks at its children when that one ends so too. supervise does nothing about a service that does not end in
//! this way.

use daemontools::service::{Command, Exit, SOON};
use std::mem::replace;
use std::time::Duration;

/// What supervise suspects of the `run` of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Background {
    /// Nothing: `run` has not ended yet, or it has failed, has run for some time, or was told to end.
    Unsuspected,
    /// It has ended well at once: supervise is to be the parent of what the next one leaves.
    Suspected,
    /// It has left processes, and supervise has said so.
    Noticed,
}

impl Background {
    /// Handles a command. A command that starts the service comes from a person, who is to be told again why the
    /// service does not run. Any other command may be the reason why `run` ends.
    pub fn told(&mut self, command: Command) {
        if matches!(command, Command::Up | Command::Once) || *self == Background::Suspected {
            *self = Background::Unsuspected;
        }
    }

    /// Handles the end of a `run`, which has lived for the time `lived`. Returns whether supervise is to look for what
    /// it has left.
    pub fn ended(&mut self, exit: Exit, lived: Duration, was_told: bool) -> bool {
        let is_over = exit == Exit::Code(0) && lived < SOON && !was_told;
        let next = match self {
            Background::Unsuspected | Background::Suspected if is_over => Background::Suspected,
            Background::Noticed if is_over => Background::Noticed,
            Background::Unsuspected | Background::Suspected | Background::Noticed => Background::Unsuspected,
        };
        replace(self, next) == Background::Suspected && next == Background::Suspected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Background::{Noticed, Suspected, Unsuspected};

    #[test]
    fn a_service_that_ends_after_a_command_is_not_suspected_for_it() {
        let table = [
            (Suspected, Command::Terminate, Unsuspected),
            (Suspected, Command::Up, Unsuspected),
            (Noticed, Command::Up, Unsuspected),
            (Noticed, Command::Once, Unsuspected),
            (Noticed, Command::Terminate, Noticed),
        ];
        for (before, command, after) in table {
            let mut background = before;
            background.told(command);
            assert_eq!(background, after, "{before:?} {command:?}");
        }
    }

    #[test]
    fn a_service_that_ends_well_at_once_is_suspected_and_looked_at_the_next_time() {
        const WELL: Exit = Exit::Code(0);
        let (at_once, later) = (Duration::from_millis(10), SOON);
        let table = [
            (Unsuspected, (WELL, at_once, false), Suspected, false),
            (Suspected, (WELL, at_once, false), Suspected, true),
            // It is not looked at again as long as that goes on.
            (Noticed, (WELL, at_once, false), Noticed, false),
            // All else is no daemon.
            (Suspected, (WELL, later, false), Unsuspected, false),
            (Suspected, (WELL, at_once, true), Unsuspected, false),
            (Suspected, (Exit::Code(1), at_once, false), Unsuspected, false),
            (Suspected, (Exit::Signal(15), at_once, false), Unsuspected, false),
            (Noticed, (Exit::Unstarted(13), at_once, false), Unsuspected, false),
            (Unsuspected, (Exit::Unknown, at_once, false), Unsuspected, false),
        ];
        for (before, (exit, lived, was_told), after, looks) in table {
            let mut background = before;
            assert_eq!(background.ended(exit, lived, was_told), looks, "{before:?} {exit:?} {lived:?}");
            assert_eq!(background, after, "{before:?} {exit:?} {lived:?}");
        }
    }
}
