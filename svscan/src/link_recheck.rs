//! Which entries a scan checks though the listing shows no change of them. An unchanged symlink can still lead to a new
//! target, and another file system can be mounted over an unchanged directory. Checking that costs a stat(2), so with many
//! entries svscan checks only a share of them per scan. svscan checks directories only where the kernel does not tell of
//! mounts, or when it checks all entries. No clock, no I/O.

/// How many entries are checked per scan, if all of them are checked often enough then.
const CHECKED: usize = 1000;
/// Each entry is checked at least once in this number of scans.
const LONGEST_ROUND: usize = 10;

/// Which entries are due to be checked.
#[derive(Debug, Default)]
pub struct LinkRecheck {
    scan: u64,
    /// How many entries this scan has seen of those of which svscan checks a share.
    seen: usize,
    /// Each of these entries is checked once in this number of scans.
    round: u64,
    /// Directories are checked too.
    directories: bool,
    all: bool,
}

impl LinkRecheck {
    /// Makes every entry due at the next scan.
    pub fn recheck_all(&mut self) {
        self.all = true;
    }

    /// Begins a scan. `told_of_mounts` says that the kernel tells when something is mounted. svscan then has every
    /// entry made due at such a moment, so that it need not check directories otherwise.
    pub fn begin_scan(&mut self, told_of_mounts: bool) {
        let all = std::mem::take(&mut self.all);
        let round = if all { 1 } else { self.seen.div_ceil(CHECKED).clamp(1, LONGEST_ROUND) };
        (self.round, self.seen) = (round as u64, 0);
        self.directories = all || !told_of_mounts;
        self.scan += 1;
    }

    /// Takes in that the listing has a link with this inode. Returns whether the link is due to be checked.
    pub fn is_due(&mut self, inode: u64) -> bool {
        self.seen += 1;
        let round = self.round.max(1);
        inode % round == self.scan % round
    }

    /// Takes in that the listing has a directory with this inode. Returns whether the directory is due to be checked.
    pub fn is_directory_due(&mut self, inode: u64) -> bool {
        self.directories && self.is_due(inode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(recheck: &mut LinkRecheck, links: u64) -> Vec<u64> {
        recheck.begin_scan(true);
        (0..links).filter(|inode| recheck.is_due(*inode)).collect()
    }

    #[test]
    fn few_links_are_all_checked_at_every_scan() {
        let mut recheck = LinkRecheck::default();
        (0..3).for_each(|_| assert_eq!(asked(&mut recheck, 1000).len(), 1000));
    }

    #[test]
    fn each_of_many_links_is_checked_once_in_a_round() {
        for (links, round) in [(1001, 2), (4500, 5), (100_000, 10)] {
            let mut recheck = LinkRecheck::default();
            assert_eq!(asked(&mut recheck, links).len() as u64, links);
            let mut all: Vec<u64> = (0..round).flat_map(|_| asked(&mut recheck, links)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..links).collect::<Vec<_>>());
        }
    }

    #[test]
    fn all_links_are_checked_on_demand() {
        let mut recheck = LinkRecheck::default();
        asked(&mut recheck, 10_000);
        recheck.recheck_all();
        assert_eq!([asked(&mut recheck, 10_000).len(), asked(&mut recheck, 10_000).len()], [10_000, 1000]);
    }

    #[test]
    fn directories_are_checked_on_demand_and_where_the_kernel_does_not_tell_of_mounts() {
        let mut recheck = LinkRecheck::default();
        let mut asked = |all: bool, told: bool| {
            if all {
                recheck.recheck_all();
            }
            recheck.begin_scan(told);
            (0..5000).filter(|inode| recheck.is_directory_due(*inode)).count()
        };
        assert_eq!([asked(false, true), asked(true, true), asked(false, true)], [0, 5000, 0]);
        assert_eq!([asked(false, false), asked(false, false), asked(false, false)], [5000, 1000, 1000]);
    }
}
