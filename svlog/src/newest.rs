//! Which of many logs have lines among the last of all. No I/O.
//!
//! The lines of all logs are merged by their times, and a line never comes before one that was written before it to its
//! log. So if there are as many lines of a moment or later as the user asks for, a log whose lines are all earlier has
//! none of the last lines, and need not be read once more.

use daemontools::tai64::Tai64N;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// With more lines than these, the times would need more memory than reading the logs once more.
const MOST: u64 = 1000;

/// The times of the last lines of some logs, of which only the latest are kept.
#[derive(Debug, Default)]
pub struct Newest {
    /// How many times are kept.
    wanted: usize,
    /// The latest stamps, the earliest of them first.
    stamps: BinaryHeap<Reverse<Tai64N>>,
    /// The latest time, with a stamp or without.
    latest: Option<Tai64N>,
}

impl Newest {
    /// Begins without lines. So many are asked for.
    pub fn new(wanted: u64) -> Newest {
        let wanted = usize::try_from(wanted).ok().filter(|_| wanted <= MOST).unwrap_or(0);
        Newest { wanted, ..Newest::default() }
    }

    /// Takes in that there is a line of this time. Only a line with a stamp has the same time however it is read.
    #[inline]
    pub fn add(&mut self, time: Tai64N, is_stamped: bool) {
        self.latest = self.latest.max(Some(time));
        if is_stamped {
            self.add_stamp(time);
        }
    }

    fn add_stamp(&mut self, time: Tai64N) {
        if self.stamps.len() < self.wanted {
            self.stamps.push(Reverse(time));
        } else if let Some(mut first) = self.stamps.peek_mut()
            && first.0 < time
        {
            *first = Reverse(time);
        }
    }

    /// Takes in the lines of another log.
    pub fn add_all(&mut self, other: &Newest) {
        other.stamps.iter().for_each(|Reverse(time)| self.add_stamp(*time));
        self.latest = self.latest.max(other.latest);
    }

    /// Whether a log has none of the last lines of all those that were added here.
    pub fn are_all_after(&self, log: &Newest) -> bool {
        let first = self.stamps.peek().filter(|_| self.wanted > 0 && self.stamps.len() >= self.wanted);
        first.zip(log.latest).is_some_and(|(Reverse(first), latest)| latest < *first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::Merge;
    use daemontools::tai64::Tai64;
    use proptest::prelude::*;

    fn at(second: u8) -> Tai64N {
        Tai64N(Tai64((1 << 62) + u64::from(second)), 0)
    }

    /// The logs of the lines in the order in which they are shown.
    fn merged(logs: &[Vec<(u8, bool)>]) -> Vec<usize> {
        let (mut next, mut merge, mut order) = (vec![0; logs.len()], Merge::new(), Vec::new());
        let head = |log: usize, line: usize| logs[log].get(line).map(|(time, _)| *time);
        (0..logs.len()).for_each(|log| head(log, 0).into_iter().for_each(|time| merge.offer(time, log)));
        while let Some(log) = merge.take() {
            order.push(log);
            next[log] += 1;
            head(log, next[log]).into_iter().for_each(|time| merge.offer(time, log));
        }
        order
    }

    proptest! {
        #[test]
        fn a_log_of_which_all_are_after_has_none_of_the_last_lines(
            logs in proptest::collection::vec(proptest::collection::vec((0u8..9, any::<bool>()), 0..9), 1..6),
            wanted in 0u64..12,
        ) {
            let newest = |log: &Vec<(u8, bool)>| {
                let mut newest = Newest::new(wanted);
                log.iter().for_each(|(time, is_stamped)| newest.add(at(*time), *is_stamped));
                newest
            };
            let mut all = Newest::new(wanted);
            logs.iter().for_each(|log| all.add_all(&newest(log)));
            let order = merged(&logs);
            let last = &order[order.len().saturating_sub(usize::try_from(wanted).unwrap())..];
            for (number, log) in logs.iter().enumerate() {
                prop_assert!(!(all.are_all_after(&newest(log)) && last.contains(&number)), "{number} {last:?}");
            }
        }
    }

    #[test]
    fn only_logs_with_earlier_lines_are_left_out_and_none_before_there_are_lines_enough() {
        let newest = |times: &[u8]| {
            let mut newest = Newest::new(2);
            times.iter().for_each(|time| newest.add(at(*time), true));
            newest
        };
        for (times, log, expected) in [
            (&[][..], 1, false),
            (&[5][..], 1, false),
            (&[5, 6][..], 4, true),
            (&[5, 6][..], 5, false),
            (&[7, 5, 6][..], 5, true),
        ] {
            assert_eq!(newest(times).are_all_after(&newest(&[log])), expected, "{times:?} {log}");
        }
        let unknown = Newest::default();
        assert!(!newest(&[5, 6]).are_all_after(&unknown) && !unknown.are_all_after(&newest(&[1])));
    }
}
