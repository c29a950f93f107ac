//! Noticing a `run` that goes into the background. No clock, no I/O.
//!
//! supervise watches the process that it has started. The first process of a program that becomes a daemon ends well at
//! once: to supervise the service is over, and it is started again, each second, while the daemons that it has left
//! fill the machine. Which processes `run` has left can be seen only from their parents. So when a `run` has ended well
//! at once, supervise makes itself the parent of what the next one leaves, which the kernel does for a child subreaper,
//! and looks at its children when that one ends so too. supervise does nothing about a service that does not end in
//! this way.
//!
//! What the first `run` has left is not supervise's child, and cannot be found. Many daemons hold something of which there
//! is only one, such as a port or a lock: then the next `run` does not end well, but fails, and so do all after it. One end
//! that was well and at once, and then failures at once, are no proof. supervise says only that this may be the cause. A `run`
//! that was seen to leave nothing is not suspected of it.
//!
//! | before | well, at once | failed, at once | any other end |
//! |---|---|---|---|
//! | Unsuspected | Suspected | Unsuspected | Unsuspected |
//! | Suspected | LeavesNothing, *look* | Failed | Unsuspected |
//! | Failed | LeavesNothing, *look* | Presumed, *say* | Unsuspected |
//! | Presumed | LeavesNothing, *look* | Presumed | Unsuspected |
//! | LeavesNothing | LeavesNothing, *look* | LeavesNothing | Unsuspected |
//! | Noticed | Noticed | Noticed | Unsuspected |
//!
//! If what *look* stands for finds a process, the state is Noticed. Other ends are: after some time, told, not seen, and of a program that could not be executed, which has its own cause.

use daemontools::service::{Command, Exit, InBackground, SOON};
use std::time::Duration;

/// What supervise suspects of the `run` of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Background {
    /// supervise suspects nothing: `run` has not ended yet, or it has failed, has run for some time, or was told to
    /// end.
    Unsuspected,
    /// `run` has ended well at once. supervise is to be the parent of what the next `run` leaves.
    Suspected,
    /// One `run` has ended well at once, and the next one has failed at once.
    Failed,
    /// One `run` has ended well at once, and those after it fail at once. supervise has said what may be the cause.
    Presumed,
    /// A `run` has ended well at once and has left no process.
    LeavesNothing,
    /// A `run` has left processes, and supervise has said so.
    Noticed,
}

/// What supervise is to do when a `run` has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// Nothing.
    Nothing,
    /// Look for what the `run` has left, and call [`Background::notice`] if there is something.
    Look,
    /// Say that an earlier `run` may have gone into the background.
    SayPresumed,
}

/// How a `run` has ended, as far as that counts here.
enum Sign {
    WellAtOnce,
    FailedAtOnce,
    Other,
}

impl Background {
    /// Handles a command. A command that starts the service comes from a person, who is to be told again why the
    /// service does not run. Any other command may be the reason why `run` ends.
    pub fn told(&mut self, command: Command) {
        let is_start = matches!(command, Command::Up | Command::Once);
        if is_start || matches!(self, Background::Suspected | Background::Failed | Background::LeavesNothing) {
            *self = Background::Unsuspected;
        }
    }

    /// Handles the end of a `run`, which has lived for the time `lived`. Returns what supervise is to do about it.
    pub fn ended(&mut self, exit: Exit, lived: Duration, was_told: bool) -> AtEnd {
        let (next, todo) = match (*self, sign(exit, lived, was_told)) {
            (_, Sign::Other) | (Background::Unsuspected, Sign::FailedAtOnce) => {
                (Background::Unsuspected, AtEnd::Nothing)
            }
            (Background::Unsuspected, Sign::WellAtOnce) => (Background::Suspected, AtEnd::Nothing),
            (
                Background::Suspected | Background::Failed | Background::Presumed | Background::LeavesNothing,
                Sign::WellAtOnce,
            ) => (Background::LeavesNothing, AtEnd::Look),
            (Background::Suspected, Sign::FailedAtOnce) => (Background::Failed, AtEnd::Nothing),
            (Background::Failed, Sign::FailedAtOnce) => (Background::Presumed, AtEnd::SayPresumed),
            (Background::Presumed | Background::LeavesNothing, Sign::FailedAtOnce) => (*self, AtEnd::Nothing),
            (Background::Noticed, Sign::WellAtOnce | Sign::FailedAtOnce) => (Background::Noticed, AtEnd::Nothing),
        };
        *self = next;
        todo
    }

    /// Takes in that supervise has found a process that `run` has left.
    pub fn notice(&mut self) {
        *self = Background::Noticed;
    }

    /// Whether supervise is to be the parent of what the next `run` leaves.
    pub fn is_suspected(self) -> bool {
        match self {
            Background::Suspected | Background::Failed | Background::Presumed | Background::LeavesNothing => true,
            Background::Unsuspected | Background::Noticed => false,
        }
    }

    /// What supervise has said of the service: that it goes into the background, or may do so; `None` if supervise has
    /// said neither.
    pub fn known(self) -> Option<InBackground> {
        match self {
            Background::Unsuspected | Background::Suspected | Background::Failed | Background::LeavesNothing => None,
            Background::Presumed => Some(InBackground::Presumed),
            Background::Noticed => Some(InBackground::Noticed),
        }
    }
}

fn sign(exit: Exit, lived: Duration, was_told: bool) -> Sign {
    if lived >= SOON || was_told {
        return Sign::Other;
    }
    match exit {
        Exit::Code(0) => Sign::WellAtOnce,
        Exit::Code(_) | Exit::Signal(_) | Exit::Core(_) => Sign::FailedAtOnce,
        Exit::Unstarted(_) | Exit::Unknown => Sign::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AtEnd::{Look, Nothing, SayPresumed};
    use Background::{Failed, LeavesNothing, Noticed, Presumed, Suspected, Unsuspected};

    #[test]
    fn a_service_that_ends_after_a_command_is_not_suspected_for_it() {
        let table = [
            (Suspected, Command::Terminate, Unsuspected),
            (Suspected, Command::Up, Unsuspected),
            (Failed, Command::Terminate, Unsuspected),
            (LeavesNothing, Command::Kill, Unsuspected),
            (Presumed, Command::Up, Unsuspected),
            (Presumed, Command::Terminate, Presumed),
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
        const FAILED: Exit = Exit::Code(1);
        let (at_once, later) = (Duration::from_millis(10), SOON);
        let table = [
            (Unsuspected, (WELL, at_once, false), Suspected, Nothing),
            (Suspected, (WELL, at_once, false), LeavesNothing, Look),
            (LeavesNothing, (WELL, at_once, false), LeavesNothing, Look),
            // It is not looked at again as long as that goes on.
            (Noticed, (WELL, at_once, false), Noticed, Nothing),
            (Noticed, (FAILED, at_once, false), Noticed, Nothing),
            // The first one may hold what the next ones need, which fail.
            (Unsuspected, (FAILED, at_once, false), Unsuspected, Nothing),
            (Suspected, (FAILED, at_once, false), Failed, Nothing),
            (Suspected, (Exit::Core(6), at_once, false), Failed, Nothing),
            (Failed, (Exit::Signal(6), at_once, false), Presumed, SayPresumed),
            (Presumed, (FAILED, at_once, false), Presumed, Nothing),
            // The first one has ended meanwhile, and another one takes its place.
            (Failed, (WELL, at_once, false), LeavesNothing, Look),
            (Presumed, (WELL, at_once, false), LeavesNothing, Look),
            // None of what has left nothing holds anything.
            (LeavesNothing, (FAILED, at_once, false), LeavesNothing, Nothing),
            (LeavesNothing, (WELL, later, false), Unsuspected, Nothing),
            // All else is no daemon.
            (Suspected, (WELL, later, false), Unsuspected, Nothing),
            (Suspected, (WELL, at_once, true), Unsuspected, Nothing),
            (Suspected, (FAILED, later, false), Unsuspected, Nothing),
            (Suspected, (FAILED, at_once, true), Unsuspected, Nothing),
            (Failed, (FAILED, later, false), Unsuspected, Nothing),
            (Presumed, (FAILED, later, false), Unsuspected, Nothing),
            (Presumed, (FAILED, at_once, true), Unsuspected, Nothing),
            (Noticed, (Exit::Unstarted(13), at_once, false), Unsuspected, Nothing),
            (Unsuspected, (Exit::Unknown, at_once, false), Unsuspected, Nothing),
        ];
        for (before, (exit, lived, was_told), after, todo) in table {
            let mut background = before;
            assert_eq!(background.ended(exit, lived, was_told), todo, "{before:?} {exit:?} {lived:?}");
            assert_eq!(background, after, "{before:?} {exit:?} {lived:?}");
        }
    }
}
