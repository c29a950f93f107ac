//! When svscan says for what it waits in a stop that takes long. No clock, no I/O.

use std::time::{Duration, Instant};

/// The time until svscan says so for the first time. Most services have ended by then.
const FIRST: Duration = Duration::from_secs(10);
/// The time between two such messages.
const AGAIN: Duration = Duration::from_secs(600);

/// The stop of everything, and when to say for what svscan waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct LongStop {
    say_at: Option<Instant>,
}

impl LongStop {
    /// Takes in that everything is to be stopped from now on.
    pub fn begin(&mut self, now: Instant) {
        self.say_at = Some(now + FIRST);
    }

    /// When something is to be said, if the stop is not over by then.
    pub fn deadline(&self) -> Option<Instant> {
        self.say_at
    }

    /// Whether it is time to say for what svscan waits.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.say_at.is_some_and(|at| at <= now);
        if is_due {
            self.say_at = Some(now + AGAIN);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_stop_is_told_after_ten_seconds_and_then_every_ten_minutes() {
        let begin = Instant::now();
        let mut stop = LongStop::default();
        assert!(!stop.is_due(begin) && stop.deadline().is_none());
        stop.begin(begin);
        for (seconds, is_due) in [(0, false), (9, false), (10, true), (11, false), (609, false), (610, true)] {
            assert_eq!(stop.is_due(begin + Duration::from_secs(seconds)), is_due, "{seconds}");
        }
    }
}
