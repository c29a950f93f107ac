//! The lines of several logs in the order of time. No I/O.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Tells which source has the earliest line. Of two lines with the same time, the line of the source named first is
/// taken.
#[derive(Debug, Default)]
pub struct Merge<Time: Ord> {
    heads: BinaryHeap<Reverse<(Time, usize)>>,
}

impl<Time: Ord> Merge<Time> {
    /// Begins without lines.
    pub fn new() -> Merge<Time> {
        Merge { heads: BinaryHeap::new() }
    }

    /// Takes in that the next line of `source` has this time. After a source was taken, its next line must be offered
    /// anew.
    pub fn offer(&mut self, time: Time, source: usize) {
        self.heads.push(Reverse((time, source)));
    }

    /// Whether a line of `source` with this time comes before all lines that were offered.
    #[inline]
    pub fn is_first(&self, time: Time, source: usize) -> bool {
        self.heads.peek().is_none_or(|Reverse(head)| (time, source) < *head)
    }

    /// Takes out the source of the earliest line.
    pub fn take(&mut self) -> Option<usize> {
        self.heads.pop().map(|Reverse((_, source))| source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged(sources: &[Vec<u8>]) -> Vec<(usize, usize)> {
        let mut next = vec![0; sources.len()];
        let mut merge = Merge::new();
        let mut order = Vec::new();
        for (source, times) in sources.iter().enumerate() {
            times.first().into_iter().for_each(|time| merge.offer(*time, source));
        }
        while let Some(source) = merge.take() {
            order.push((source, next[source]));
            next[source] += 1;
            sources[source].get(next[source]).into_iter().for_each(|time| merge.offer(*time, source));
        }
        order
    }

    proptest! {
        #[test]
        fn every_line_comes_once_and_each_log_in_its_own_order(
            sources in proptest::collection::vec(proptest::collection::vec(0u8..9, 0..9), 0..5),
        ) {
            let order = merged(&sources);
            for (source, times) in sources.iter().enumerate() {
                let own: Vec<usize> = order.iter().filter(|line| line.0 == source).map(|line| line.1).collect();
                prop_assert_eq!(own, (0..times.len()).collect::<Vec<_>>());
            }
        }

        #[test]
        fn logs_in_order_become_one_in_order(
            mut sources in proptest::collection::vec(proptest::collection::vec(0u8..9, 0..9), 0..5),
        ) {
            sources.iter_mut().for_each(|times| times.sort_unstable());
            let times: Vec<(u8, usize)> = merged(&sources).iter().map(|(source, line)| (sources[*source][*line], *source)).collect();
            prop_assert!(times.is_sorted());
        }
    }
}
