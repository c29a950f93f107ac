//! Which links are asked at a scan where they lead. One that is new, or another than before, is always asked; what this
//! is for is a link that is as it was, where something else came to lie at its other end. To ask takes longer than all
//! else in a scan, so where there are many they take turns.

/// So many are asked at a scan.
const ASKED: usize = 1000;
/// None is left out for longer than so many scans.
const LONGEST: usize = 10;

/// The turns that links take.
#[derive(Debug, Default)]
pub struct Turns {
    scan: u64,
    /// Links that were seen at this scan.
    seen: usize,
    /// Each has its turn once in so many scans.
    round: u64,
    all: bool,
}

impl Turns {
    /// At the next scan it is everybody's turn.
    pub fn ask_all(&mut self) {
        self.all = true;
    }

    /// A scan begins.
    pub fn begin_scan(&mut self) {
        let round = if std::mem::take(&mut self.all) { 1 } else { self.seen.div_ceil(ASKED).clamp(1, LONGEST) };
        (self.round, self.seen) = (round as u64, 0);
        self.scan += 1;
    }

    /// There is a link with this inode; whether it is its turn.
    pub fn is_turn_of(&mut self, inode: u64) -> bool {
        self.seen += 1;
        let round = self.round.max(1);
        inode % round == self.scan % round
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(turns: &mut Turns, links: u64) -> Vec<u64> {
        turns.begin_scan();
        (0..links).filter(|inode| turns.is_turn_of(*inode)).collect()
    }

    #[test]
    fn a_few_are_asked_at_every_scan() {
        let mut turns = Turns::default();
        (0..3).for_each(|_| assert_eq!(asked(&mut turns, 1000).len(), 1000));
    }

    #[test]
    fn of_many_each_is_asked_once_in_a_round() {
        for (links, round) in [(1001, 2), (4500, 5), (100_000, 10)] {
            let mut turns = Turns::default();
            assert_eq!(asked(&mut turns, links).len() as u64, links);
            let mut all: Vec<u64> = (0..round).flat_map(|_| asked(&mut turns, links)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..links).collect::<Vec<_>>());
        }
    }

    #[test]
    fn all_are_asked_on_demand() {
        let mut turns = Turns::default();
        asked(&mut turns, 10_000);
        turns.ask_all();
        assert_eq!([asked(&mut turns, 10_000).len(), asked(&mut turns, 10_000).len()], [10_000, 1000]);
    }
}
