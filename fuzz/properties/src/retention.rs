use crate::input::Input;
use daemontools::logdir::{Old, plain_name};
use daemontools::tai64::{self, Label, Tai64, Tai64N};
use multilog::retention::{Limits, oldest, surplus};
use std::collections::BTreeSet;
use std::time::Duration;

/// No file was finished after this time.
const NOW: u64 = 100_000;

/// Whatever names and sizes the files have, those that are kept are within the limits, and each that is removed is
/// older than all that are kept, or too old. No file is removed without need.
pub fn within_limits(data: &[u8]) {
    let mut input = Input(data);
    let limits = Limits {
        count: 2 + usize::from(input.byte() % 8),
        bytes: Some(input.number() as u64).filter(|bytes| *bytes > 0),
        age: Some(input.number() as u64).filter(|age| *age > 0).map(Duration::from_secs),
    };
    let files = files(&mut input);
    let removed = surplus(files.clone(), &limits, Duration::from_secs(NOW));
    let removed: BTreeSet<&[u8]> = removed.iter().map(Vec::as_slice).collect();
    let (gone, kept): (Vec<&Old>, Vec<&Old>) = files.iter().partition(|file| removed.contains(file.name.as_slice()));
    assert_eq!(gone.len(), removed.len());
    let plain = |files: &[&Old]| files.iter().map(|file| plain_name(&file.name).to_vec()).collect::<BTreeSet<_>>();
    let (plain_gone, plain_kept) = (plain(&gone), plain(&kept));
    assert!(plain_gone.is_disjoint(&plain_kept), "half of a file");
    let bytes: u64 = kept.iter().map(|file| file.size).sum();
    assert!(plain_kept.len() < limits.count && limits.bytes.is_none_or(|most| bytes <= most));
    let finished = |name: &[u8]| name.get(..25).and_then(tai64::parse).and_then(tai64::since_1970);
    let is_too_old = |name: &[u8]| {
        let finished = finished(name);
        limits.age.is_some_and(|age| finished.is_some_and(|at| at.as_secs() + age.as_secs() <= NOW))
    };
    assert!(!plain_kept.iter().any(|name| is_too_old(name)));
    let needless = plain_gone.iter().filter(|name| !is_too_old(name)).max();
    if let Some(youngest) = needless {
        assert!(plain_kept.iter().all(|kept| kept > youngest), "an older file is kept");
        let with_it = files.iter().filter(|file| plain_name(&file.name) == youngest.as_slice()).map(|file| file.size);
        let too_many = plain_kept.len() + 1 >= limits.count;
        // A name without a time counts as the oldest, even before files that are too old.
        let strange = files.iter().any(|file| finished(&file.name).is_none());
        assert!(
            strange || too_many || limits.bytes.is_some_and(|most| bytes + with_it.sum::<u64>() > most),
            "needlessly removed"
        );
    }
    let wanted = input.number() as u64;
    let first = oldest(files.clone(), wanted);
    let freed: u64 = files.iter().filter(|file| first.contains(&file.name)).map(|file| file.size).sum();
    assert!(freed >= wanted || first.len() == files.len());
}

/// The files of a directory. As in a real one, no two have the same name.
fn files(input: &mut Input) -> Vec<Old> {
    let mut names = BTreeSet::new();
    let mut files = Vec::new();
    while input.has_more() && files.len() < 40 {
        let kind = input.byte();
        let second = Tai64::from_unix(i64::from(input.byte()) * 256);
        let end = [".s", ".u", ".s.zst", ".s.gz", ".u.zst"][usize::from(kind % 5)];
        let name = match kind {
            200.. => [b"@".as_slice(), input.piece()].concat(),
            _ => format!("{}{end}", Label(Tai64N(second, 0))).into_bytes(),
        };
        let size = input.number() as u64;
        if names.insert(name.clone()) {
            files.push(Old { name, size });
        }
    }
    files
}
