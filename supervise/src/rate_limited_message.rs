//! A message about an event that happens again and again: it is written once, and then at most every ten minutes, with
//! the number of times. No clock, no I/O.

use std::time::Duration;

/// The least time between two messages about one event.
const AGAIN: Duration = Duration::from_secs(600);

/// An event that may happen again and again.
#[derive(Debug)]
pub struct RateLimited<What> {
    /// What the last message was about, and when it was written, in time since boot.
    said: Option<(What, Duration)>,
    /// How often the event has happened since the last message.
    unsaid: u64,
}

impl<What: PartialEq> RateLimited<What> {
    /// The value for an event that has not happened yet.
    pub const NEVER: RateLimited<What> = RateLimited { said: None, unsaid: 0 };

    /// Counts that the event has happened. If a message is due, returns how often the event has happened since the last
    /// one.
    pub fn happens(&mut self, what: What, now: Duration) -> Option<u64> {
        match &self.said {
            Some((said, at)) if *said == what && now < *at + AGAIN => {
                self.unsaid += 1;
                None
            }
            Some((said, _)) if *said == what => {
                let times = self.unsaid + 1;
                (self.said, self.unsaid) = (Some((what, now)), 0);
                Some(times)
            }
            Some(_) | None => {
                (self.said, self.unsaid) = (Some((what, now)), 0);
                Some(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_in_ten_minutes_with_the_number_of_times() {
        let mut late = RateLimited::NEVER;
        let table = [
            (0, 'a', Some(1)),
            (1, 'a', None),
            (599, 'a', None),
            (600, 'a', Some(3)),
            (601, 'a', None),
            // Another event is news.
            (602, 'b', Some(1)),
            (603, 'a', Some(1)),
            (2000, 'a', Some(1)),
        ];
        for (second, what, expected) in table {
            assert_eq!(late.happens(what, Duration::from_secs(second)), expected, "{what} at {second}");
        }
    }
}
