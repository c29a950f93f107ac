//! How often to say that lines are lost: at once, then once in a while, and when it is over. No I/O and no clock.

use std::time::Duration;

/// The time between two messages about the same trouble.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Trouble is over when nothing was lost for this long: a refusal may come seconds after what it refuses.
const QUIET: Duration = Duration::from_secs(5);

/// Counts what a target did not take.
#[derive(Debug, Default)]
pub struct LossReport {
    /// The losses that were not reported yet.
    count: u64,
    /// When the last line was lost, as time since boot.
    last: Duration,
    /// When losses were last reported; none if there is no trouble.
    told: Option<Duration>,
}

impl LossReport {
    /// Counts `count` more lost lines; returns how many are to be reported now, if it is time for that.
    pub fn record(&mut self, count: u64, now: Duration) -> Option<u64> {
        self.count += count;
        self.last = now;
        if self.told.is_some_and(|told| now < told.saturating_add(SAY_AGAIN)) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.count))
    }

    /// Whether there is trouble that is not over yet.
    pub fn has_some(&self) -> bool {
        self.told.is_some()
    }

    /// Takes in that the target took a line; returns how many losses are to be reported, if that ends the trouble.
    pub fn recovered(&mut self, now: Duration) -> Option<u64> {
        self.told.take_if(|_| now >= self.last.saturating_add(QUIET)).map(|_| std::mem::take(&mut self.count))
    }

    /// How many lines were lost and not reported.
    pub fn unreported(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.count)).filter(|count| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_at_once_then_once_a_minute_and_when_they_are_over() {
        let mut losses = LossReport::default();
        let at = Duration::from_secs;
        assert_eq!(losses.recovered(at(99)), None);
        assert_eq!(losses.record(1, at(100)), Some(1));
        assert_eq!(losses.record(2, at(101)), None);
        assert_eq!(losses.record(3, at(159)), None);
        assert_eq!(losses.record(4, at(160)), Some(9));
        assert_eq!(losses.record(5, at(161)), None);
        assert_eq!(losses.recovered(at(165)), None);
        assert_eq!((losses.recovered(at(166)), losses.recovered(at(167))), (Some(5), None));
        assert_eq!((losses.record(1, at(168)), losses.record(1, at(169))), (Some(1), None));
        assert_eq!((losses.unreported(), losses.unreported()), (Some(1), None));
    }
}
