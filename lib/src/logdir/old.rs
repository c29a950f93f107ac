//! The names of old files, `@LABEL.CODE`, in both directions, and their order. No I/O.
//!
//! multilog and svlog see different files in the same directory, for a reason. multilog removes what daemontools 0.76
//! would remove, also where the label tells no time ([`is_old`]); svlog shows only files whose name tells a time
//! ([`Finished`]).
//!
//! A file that is being compressed has two names for a moment, `@LABEL.s` and `@LABEL.s.zst`. They count as one file.

use super::{Compression, UNSAFE};
use crate::tai64::{self, DIGITS, Tai64N};

/// Labels that are closer together than this, in nanoseconds, do not come from a clock, as no file is filled that fast.
const TOO_CLOSE: u32 = 1000;

/// Returns the name that a file gets when it is finished at this moment.
pub fn finished_name(label: Tai64N, code: &[u8]) -> Vec<u8> {
    [b"@", &tai64::digits(label)[..], b".", code].concat()
}

/// Whether multilog counts and removes a file of this name as an old one: `@` and more characters than a label has
/// digits.
///
/// Source: daemontools 0.76 removes every file of such a name.
pub fn is_old(name: &[u8]) -> bool {
    name.starts_with(b"@") && name.len() > DIGITS
}

/// Returns the name that a file had before it was compressed. A code without a label can be given too.
pub fn plain_name(name: &[u8]) -> &[u8] {
    Compression::ALL.iter().find_map(|how| name.strip_suffix(how.suffix().as_bytes())).unwrap_or(name)
}

/// Returns the label at the beginning of a file name.
pub fn label_of(name: &[u8]) -> Option<Tai64N> {
    tai64::parse(name.get(..=DIGITS)?)
}

/// An old file as multilog counts it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Old {
    /// The name of the file.
    pub name: Vec<u8>,
    /// How many bytes the file has on the disk.
    pub size: u64,
}

/// The name of a finished file, as svlog shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The time at which multilog finished the file, after its last line.
    pub label: Tai64N,
    /// The name of the file in the directory.
    pub name: Vec<u8>,
}

impl Finished {
    /// Parses a file name of the form `@LABEL.CODE`, with or without the suffix of a compression.
    pub fn parse(name: &[u8]) -> Option<Finished> {
        let label = label_of(name)?;
        let has_code = name.get(DIGITS + 1) == Some(&b'.');
        has_code.then(|| Finished { label, name: name.to_vec() })
    }

    /// Returns the code: what follows the label, without the suffix of a compression.
    pub fn code(&self) -> &[u8] {
        plain_name(self.name.get(DIGITS + 2..).unwrap_or_default())
    }

    /// Whether the last line of the file may be cut off: the machine crashed while it was written.
    pub fn is_cut(&self) -> bool {
        self.code() == UNSAFE
    }
}

/// Sorts finished files by time. Of a file and its compressed copy, it keeps only the one that is surely whole.
pub fn in_order(mut files: Vec<Finished>) -> Vec<Finished> {
    // `@….s` comes before `@….s.zst`.
    files.sort_by(|one, other| one.name.cmp(&other.name));
    files.dedup_by(|later, earlier| later.label == earlier.label && later.code() == earlier.code());
    files
}

/// Finds the last file whose name shows that the clock was set back before multilog finished that file. The stamps in
/// the files after it may be earlier than the names before them. Returns `None` if no name shows that.
///
/// multilog's names always rise. As long as the clock is behind the last name, the next is a nanosecond later.
pub fn last_fall(finished: &[Finished], now: Tai64N) -> Option<Tai64N> {
    let newest = finished.last()?.label;
    if newest > now {
        return Some(newest);
    }
    let is_close = |pair: &&[Finished]| {
        let [earlier, later] = pair else { return false };
        let (Tai64N(earlier, nanos), Tai64N(later, more)) = (earlier.label, later.label);
        (earlier, nanos) < (later, more) && earlier == later && more.saturating_sub(nanos) < TOO_CLOSE
    };
    finished.windows(2).rfind(is_close).and_then(|pair| Some(pair.last()?.label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tai64::Tai64;

    const LABEL: &str = "@400000000000000b000001f4";

    #[test]
    fn finished_files_are_told_by_their_names() {
        for (name, expected) in [
            (format!("{LABEL}.s"), Some(("s", false))),
            (format!("{LABEL}.u"), Some(("u", true))),
            (format!("{LABEL}.u.zst"), Some(("u", true))),
            (format!("{LABEL}.s.gz"), Some(("s", false))),
            (format!("{LABEL}.web.old"), Some(("web.old", false))),
            (format!("{LABEL}."), Some(("", false))),
            (format!("{LABEL}.zst"), Some(("zst", false))),
            (LABEL.to_string(), None),
            (format!("{LABEL}x.s"), None),
            ("current".to_string(), None),
        ] {
            let parsed = Finished::parse(name.as_bytes());
            let code = |file: &Finished| String::from_utf8(file.code().to_vec()).unwrap();
            let seen = parsed.map(|file| (code(&file), file.is_cut()));
            let expected = expected.map(|(code, cut): (&str, bool)| (code.to_string(), cut));
            assert_eq!(seen, expected, "{name}");
        }
    }

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let label = Tai64N(Tai64((1 << 62) + 11), 500);
        let name = finished_name(label, b"s");
        assert_eq!(name, format!("{LABEL}.s").into_bytes());
        assert_eq!(Finished::parse(&name), Some(Finished { label, name: name.clone() }));
        assert!(is_old(&name) && plain_name(&[&name, &b".zst"[..]].concat()) == name);
    }

    #[test]
    fn names_tell_that_the_clock_was_set_back() {
        let label = |(second, nanos): (u64, u32)| Tai64N(Tai64((1 << 62) + second), nanos);
        let now = label((100, 0));
        for (labels, expected) in [
            (&[][..], None),
            (&[(50, 0)], None),
            (&[(50, 0), (50, 5000), (60, 0)], None),
            (&[(50, 0), (50, 1), (50, 2), (60, 0)], Some((50, 2))),
            (&[(50, 0), (60, 0), (60, 1)], Some((60, 1))),
            // Two names of one moment belong to one file and its compressed copy.
            (&[(50, 0), (50, 0)], None),
            // Not come yet.
            (&[(50, 0), (101, 0)], Some((101, 0))),
        ] {
            let finished = |pair: &(u64, u32)| Finished { label: label(*pair), name: Vec::new() };
            let finished: Vec<Finished> = labels.iter().map(finished).collect();
            assert_eq!(last_fall(&finished, now), expected.map(label), "{labels:?}");
        }
    }

    #[test]
    fn a_file_and_its_compressed_copy_are_one() {
        let file = |name: &str| Finished::parse(format!("@400000000000000{name}").as_bytes()).unwrap();
        let names =
            ["c00000000.s", "b00000000.s.zst", "b00000000.s", "a00000000.s.gz", "a00000000.u"].map(file).to_vec();
        let expected = ["a00000000.s.gz", "a00000000.u", "b00000000.s", "c00000000.s"].map(file);
        assert_eq!(in_order(names), expected);
    }
}
