//! The state of a supervise, and when svscan is to start the next one after it has ended. No clock.

use super::parts::Leftover;
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// Within this time, svscan starts a supervise no more than twice.
pub const PAUSE: Duration = Duration::from_secs(1);
/// The next attempt after the system refused to start a supervise. It is also the time after which the original has looked
/// again, and so has started a supervise that was told to end: time to remove its entry.
pub const RETRY: Duration = Duration::from_secs(5);
/// The next attempt after the system refused to start a supervise for a service that is being stopped. It is short, so that
/// svscan tries several times before it gives up what it waits for.
pub const RETRY_AT_STOP: Duration = Duration::from_secs(1);
/// How often [`RETRY`] is doubled at most, for a supervise that time and again cannot serve.
const DOUBLED: u32 = 4;

/// The state of a supervise; the documentation of the table explains each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuperviseState {
    Idle,
    Due(Instant),
    Starting,
    Up(Pid),
}

/// What is known of a supervise.
#[derive(Debug, Clone)]
pub struct Supervise {
    pub state: SuperviseState,
    /// The last start of this supervise.
    pub last: Option<Instant>,
    /// The start before the last one.
    pub before: Option<Instant>,
    /// How often in a row the supervise has ended at once because it cannot serve.
    pub failures: u32,
    /// The service ran already when svscan found it, so that its supervise is to take over a process.
    pub takes_over: bool,
}

impl Supervise {
    /// A supervise that does not run, and is not to be started for now.
    pub fn idle() -> Supervise {
        Supervise { state: SuperviseState::Idle, last: None, before: None, failures: 0, takes_over: false }
    }

    /// Takes in that the supervise has ended and what it has left. Returns when svscan is to start the next one.
    pub fn next(&mut self, left: Leftover, now: Instant) -> Instant {
        let at_once = self.last.is_some_and(|last| now < last + PAUSE);
        if left == Leftover::CannotServe && at_once {
            let next = now + RETRY * 2_u32.pow(self.failures.min(DOUBLED));
            self.failures += 1;
            return next;
        }
        self.failures = 0;
        if left == Leftover::Told {
            return now + RETRY;
        }
        self.before.map_or(now, |before| now.max(before + PAUSE))
    }
}
