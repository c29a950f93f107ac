//! What happens again and again is said once, and then not more often than every ten minutes, with the number of times.
//! No clock, no I/O.

use std::time::Duration;

/// As long as the same happens, it is said again no sooner.
const AGAIN: Duration = Duration::from_secs(600);

/// Something that may happen again and again.
#[derive(Debug)]
pub struct Repeated<What> {
    /// What was said last, and when, in time since boot.
    said: Option<(What, Duration)>,
    /// How often it has happened since without a word.
    unsaid: u64,
}

impl<What: PartialEq> Repeated<What> {
    /// Nothing has happened yet.
    pub const NEVER: Repeated<What> = Repeated { said: None, unsaid: 0 };

    /// It has happened. If it is to be said: how often it happened since it was said last.
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
        let mut late = Repeated::NEVER;
        let table = [
            (0, 'a', Some(1)),
            (1, 'a', None),
            (599, 'a', None),
            (600, 'a', Some(3)),
            (601, 'a', None),
            // Another thing is news.
            (602, 'b', Some(1)),
            (603, 'a', Some(1)),
            (2000, 'a', Some(1)),
        ];
        for (second, what, expected) in table {
            assert_eq!(late.happens(what, Duration::from_secs(second)), expected, "{what} at {second}");
        }
    }
}
