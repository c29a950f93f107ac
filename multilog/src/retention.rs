//! Decides which old files of a log directory are removed. No I/O and no clock.
//!
//! A file that is compressed has two names for a moment, `@LABEL.s` and `@LABEL.s.zst`: they count as one.

use daemontools::logdir::{Old, label_of, plain_name};
use daemontools::tai64::{self, Tai64, Tai64N};
use std::time::Duration;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Fewer old files than this are kept.
    pub count: usize,
    /// Old files together have at most this many bytes.
    pub bytes: Option<u64>,
    /// Files that were finished no longer ago than this are kept.
    pub age: Option<Duration>,
}

/// The names of those to be removed, the oldest first. `now` is time since 1970.
pub fn surplus(mut files: Vec<Old>, limits: &Limits, now: Duration) -> Vec<Vec<u8>> {
    files.sort();
    let groups: Vec<&[Old]> = files.chunk_by(|a, b| plain_name(&a.name) == plain_name(&b.name)).collect();
    let mut bytes: u64 = files.iter().map(|file| file.size).sum();
    let mut left = groups.len();
    let mut removed = Vec::new();
    for group in groups {
        let too_old = limits.age.is_some_and(|age| expiry(&group[0].name, age).is_some_and(|at| at <= now));
        let too_many = left + 1 > limits.count || limits.bytes.is_some_and(|most| bytes > most);
        if !too_old && !too_many {
            continue;
        }
        left -= 1;
        bytes -= group.iter().map(|file| file.size).sum::<u64>();
        removed.extend(group.iter().map(|file| file.name.clone()));
    }
    removed
}

/// The names of the oldest files, as many as have `size` bytes together, or all.
pub fn oldest(mut files: Vec<Old>, size: u64) -> Vec<Vec<u8>> {
    files.sort();
    let mut removed = Vec::new();
    let mut found = 0;
    for group in files.chunk_by(|a, b| plain_name(&a.name) == plain_name(&b.name)) {
        if found >= size {
            break;
        }
        found += group.iter().map(|file| file.size).sum::<u64>();
        removed.extend(group.iter().map(|file| file.name.clone()));
    }
    removed
}

/// The largest label of these files. A label beyond all calendars comes from no clock, and does not count.
pub fn newest(files: &[Old]) -> Tai64N {
    let labels = files.iter().filter_map(|file| label_of(&file.name));
    labels.filter(|label| tai64::since_1970(*label).is_some()).max().unwrap_or(Tai64N(Tai64(0), 0))
}

/// When the oldest of these files is to be removed for its age, as time since 1970.
pub fn next_expiry<'a>(names: impl Iterator<Item = &'a [u8]>, age: Duration) -> Option<Duration> {
    names.filter_map(|name| expiry(name, age)).min()
}

/// When a file reaches this age, given that it was finished at the time in its name.
fn expiry(name: &[u8], age: Duration) -> Option<Duration> {
    tai64::since_1970(label_of(name)?)?.checked_add(age)
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::logdir::is_old;
    use proptest::prelude::*;

    /// The name of a file that was finished this many seconds after 1970.
    fn name(second: u64, end: &str) -> String {
        format!("@{:016x}00000000.{end}", 0x4000_0000_0000_000a + second)
    }

    fn kept(files: &[(u64, &str, u64)], limits: Limits) -> Vec<String> {
        let files = files.iter().map(|(second, end, size)| (name(*second, end), *size));
        let old = files.clone().map(|(name, size)| Old { name: name.into_bytes(), size }).collect();
        let removed = surplus(old, &limits, Duration::from_secs(1000));
        files.map(|(name, _)| name).filter(|name| !removed.contains(&name.clone().into_bytes())).collect()
    }

    const NONE: Limits = Limits { count: 1000, bytes: None, age: None };
    const FOUR: [(u64, &str, u64); 4] = [(400, "s", 5), (100, "s.zst", 7), (300, "s", 1), (200, "u", 2)];

    #[test]
    fn of_n_files_one_is_the_current_one() {
        assert_eq!(kept(&FOUR, Limits { count: 3, ..NONE }), [name(400, "s"), name(300, "s")]);
        assert_eq!(kept(&FOUR, Limits { count: 2, ..NONE }), [name(400, "s")]);
        assert_eq!(kept(&FOUR, Limits { count: 5, ..NONE }).len(), 4);
    }

    #[test]
    fn the_oldest_go_until_the_bytes_fit() {
        assert_eq!(kept(&FOUR, Limits { bytes: Some(15), ..NONE }).len(), 4);
        assert_eq!(kept(&FOUR, Limits { bytes: Some(14), ..NONE }).len(), 3);
        assert_eq!(kept(&FOUR, Limits { bytes: Some(5), ..NONE }), [name(400, "s")]);
        assert!(kept(&FOUR, Limits { bytes: Some(4), ..NONE }).is_empty());
    }

    #[test]
    fn as_many_of_the_oldest_as_make_room() {
        let files: Vec<Old> =
            FOUR.iter().map(|(second, end, size)| Old { name: name(*second, end).into(), size: *size }).collect();
        for (size, count) in [(0, 0), (1, 1), (7, 1), (8, 2), (10, 3), (100, 4)] {
            assert_eq!(oldest(files.clone(), size).len(), count, "{size}");
        }
        assert_eq!(oldest(files, 1), [name(100, "s.zst").into_bytes()]);
    }

    #[test]
    fn what_is_too_old_goes() {
        let age = |seconds| Limits { age: Some(Duration::from_secs(seconds)), ..NONE };
        assert_eq!(kept(&FOUR, age(701)), [name(400, "s"), name(300, "s")]);
        assert_eq!(kept(&FOUR, age(700)), [name(400, "s")]);
        let names: Vec<String> = FOUR.iter().map(|(second, end, _)| name(*second, end)).collect();
        let next = next_expiry(names.iter().map(String::as_bytes), Duration::from_secs(7));
        assert_eq!(next, Some(Duration::from_secs(107)));
        assert_eq!(next_expiry([&b"@"[..], b"@x", b"current"].into_iter(), Duration::ZERO), None);
    }

    #[test]
    fn the_newest_label_is_one_of_a_clock() {
        let old = |name: &str| Old { name: name.into(), size: 1 };
        let files =
            [name(7, "s"), name(9, "u.gz"), "@not-a-label-but-long-enough".into(), format!("@{}.s", "f".repeat(24))];
        let files: Vec<Old> = files.iter().map(|name| old(name)).collect();
        assert_eq!(newest(&files), Tai64N(Tai64(0x4000_0000_0000_000a + 9), 0));
        assert_eq!(newest(&files[2..]), Tai64N(Tai64(0), 0));
    }

    /// In the moment in which it has both.
    #[test]
    fn two_names_of_one_file_count_as_one() {
        let both = [(100, "s", 9), (200, "s.gz", 3), (200, "s", 9), (300, "s", 9)];
        assert_eq!(kept(&both, Limits { count: 4, ..NONE }).len(), 4);
        assert_eq!(kept(&both, Limits { count: 3, ..NONE }).len(), 3);
        assert_eq!(kept(&both, Limits { count: 2, ..NONE }), [name(300, "s")]);
    }

    #[test]
    fn other_names_that_the_original_counts_are_counted_and_have_no_age() {
        let strange = b"@not-a-label-but-long-enough".to_vec();
        assert!(is_old(&strange) && !is_old(b"@400000000000000000000") && !is_old(b"current"));
        let mut files = vec![Old { name: strange.clone(), size: 1 }];
        let age = Limits { age: Some(Duration::ZERO), ..NONE };
        assert!(surplus(files.clone(), &age, Duration::MAX).is_empty());
        assert_eq!(surplus(files.clone(), &Limits { count: 1, ..NONE }, Duration::ZERO), [&strange[..]]);
        // Such a file does not keep others from being removed.
        files.insert(0, Old { name: name(1, "s").into_bytes(), size: 1 });
        files[1].name = b"@!".repeat(20);
        assert_eq!(surplus(files, &age, Duration::from_secs(9)), [name(1, "s").into_bytes()]);
    }

    fn any_files() -> impl Strategy<Value = Vec<Old>> {
        const ENDS: [&str; 4] = ["s", "u", "s.zst", "s.gz"];
        let files = proptest::collection::btree_map((0u64..20, 0..ENDS.len()), 0u64..100, 0..20);
        let old = |((second, end), size)| Old { name: name(second, ENDS[end]).into_bytes(), size };
        files.prop_map(move |files| files.into_iter().map(old).collect())
    }

    proptest! {
        /// What is left is within the limits and the newest, and would be left again.
        #[test]
        fn what_is_left_is_within_the_limits(
            files in any_files(), count in 2usize..9, bytes in proptest::option::of(0u64..900),
            age in proptest::option::of(0u64..30),
        ) {
            let limits = Limits { count, bytes, age: age.map(Duration::from_secs) };
            let now = Duration::from_secs(20);
            let removed = surplus(files.clone(), &limits, now);
            prop_assert!(removed.is_sorted());
            let (gone, left): (Vec<Old>, Vec<Old>) = files.into_iter().partition(|file| removed.contains(&file.name));
            prop_assert_eq!(gone.len(), removed.len());
            let mut names: Vec<&[u8]> = left.iter().map(|file| plain_name(&file.name)).collect();
            names.sort();
            names.dedup();
            prop_assert!(names.len() < count);
            prop_assert!(bytes.is_none_or(|most| left.iter().map(|file| file.size).sum::<u64>() <= most));
            prop_assert!(gone.iter().all(|gone| left.iter().all(|left| gone.name < left.name)));
            prop_assert!(surplus(left, &limits, now).is_empty());
        }
    }
}
