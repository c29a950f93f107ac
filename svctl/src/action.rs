//! What is done to services: what supervise is told, and what is waited for. No I/O.

use daemontools::service::goal::Goal;
use daemontools::service::trial::Test;
use daemontools::service::{Command, Commands};

/// What is done to services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Keep them up.
    Start,
    /// Take them down.
    Stop,
    /// End them, and start them again.
    Restart,
    /// Run them once.
    Once,
    /// Run `reload`, or send HUP where there is none.
    Reload,
    /// Send this signal.
    Signal(Command),
}

impl Action {
    /// What supervise is told.
    pub fn commands(self) -> Commands {
        match self {
            Action::Start => Command::Up.into(),
            Action::Stop => Command::Down.into(),
            // `d` obeys down-signal, timeout-kill and kill-scope, which TERM does not, and wakes a service that is paused.
            Action::Restart => Commands::from(&[Command::Down, Command::Up][..]),
            Action::Once => Command::Once.into(),
            Action::Reload => Command::Reload.into(),
            Action::Signal(signal) => signal.into(),
        }
    }

    /// What is waited for, if anything is.
    pub fn goal(self) -> Option<Goal> {
        match self {
            Action::Start | Action::Restart => Some(Goal::Ready),
            Action::Once => Some(Goal::Up),
            Action::Stop => Some(Goal::Finished),
            Action::Reload | Action::Signal(_) => None,
        }
    }

    /// What a service must show beyond that it comes there.
    pub fn test(self) -> Test {
        match self {
            Action::Start | Action::Restart => Test::Stays,
            Action::Once => Test::StaysOrIsDone,
            Action::Stop | Action::Reload | Action::Signal(_) => Test::Comes,
        }
    }
}
