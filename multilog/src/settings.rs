//! The settings of a log directory. No I/O.

use crate::schedule::Schedule;
use daemontools::duration;
use daemontools::logdir::stamp::StampKind;
use daemontools::logdir::{Compression, SAFE};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// A log directory and what was set for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// The path of the directory.
    pub path: OsString,
    /// The stamp in front of its lines.
    pub stamp: StampKind,
    /// A file is full at this many bytes, or a little earlier: see `full_at`.
    pub size: u64,
    /// Fewer old files than this are kept.
    pub count: usize,
    /// The code at the end of the names of files that are safely written.
    pub code: Vec<u8>,
    /// A shell command that every full file goes through.
    pub processor: Option<OsString>,
    /// Old files and a full current one have at most this many bytes together.
    pub bytes: Option<u64>,
    /// How long old files are kept.
    pub age: Option<Duration>,
    /// A file is finished at these times, full or not.
    pub schedule: Option<Schedule>,
    /// How old files are made smaller.
    pub compression: Option<Compression>,
    /// When lines are made to survive a crash of the machine.
    pub durability: Durability,
    /// What becomes of lines when the disk is full.
    pub when_full: WhenFull,
    /// The disk counts as full when fewer bytes than this are free.
    pub reserve: u64,
}

/// When written lines must be on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// `yrotate`: a line must be on the disk when its file is finished.
    Rotation,
    /// `yline`: a line must be on the disk before multilog reads more.
    Line,
    /// A line must be on the disk at the latest this long after it was written.
    Within(Duration),
}

/// What becomes of lines when the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// `dblock`: the lines wait until there is room.
    Block,
    /// `doldest`: multilog removes the oldest file to make room.
    RemoveOldest,
    /// `ddrop`: the lines are dropped and counted.
    Drop,
}

/// Why an argument sets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No setting has this letter.
    Unknown,
    /// What is wrong with what follows the letter.
    Malformed(&'static str),
}

const SMALLEST: u64 = 4096;
const LARGEST: u64 = 16_777_215;
const DEFAULT_SIZE: u64 = 99_999;
const DEFAULT_COUNT: usize = 10;

impl Default for Directory {
    fn default() -> Directory {
        Directory {
            path: OsString::new(),
            stamp: StampKind::None,
            size: DEFAULT_SIZE,
            count: DEFAULT_COUNT,
            code: SAFE.to_vec(),
            processor: None,
            bytes: None,
            age: None,
            schedule: None,
            compression: None,
            durability: Durability::Rotation,
            when_full: WhenFull::Block,
            reserve: 0,
        }
    }
}

impl Directory {
    /// Takes a setting, given its letter and the value behind that. An empty value of `!`, `b`, `a`, `r`, `z`, `y` or
    /// `d` sets the setting back to its default. For `s` and `n`, as with the original, a value without digits is 0, in
    /// whose place the smallest possible value counts.
    ///
    /// # Errors
    /// The argument sets nothing, and everything stays as it was.
    pub fn set(&mut self, letter: u8, value: &[u8]) -> Result<(), Refused> {
        let text = std::str::from_utf8(value).unwrap_or("\u{fffd}");
        match letter {
            b's' => self.size = file_size(text).unwrap_or(number(value).min(LARGEST)).max(SMALLEST),
            b'n' => self.count = usize::try_from(number(value)).unwrap_or(usize::MAX).max(2),
            b'w' => self.code = value.to_vec(),
            b'!' => self.processor = Some(OsStr::from_bytes(value).into()).filter(|_| !value.is_empty()),
            b'b' => self.bytes = unless_empty(text, size)?.map(|bytes| bytes.max(2 * SMALLEST)),
            b'a' => self.age = unless_empty(text, duration::with_units)?,
            b'r' => self.schedule = unless_empty(text, Schedule::parse)?,
            b'z' => self.compression = unless_empty(text, compression)?,
            b'y' => self.durability = unless_empty(text, durability)?.unwrap_or(Durability::Rotation),
            b'd' => (self.when_full, self.reserve) = unless_empty(text, when_full)?.unwrap_or((WhenFull::Block, 0)),
            _ => return Err(Refused::Unknown),
        }
        Ok(())
    }

    /// The size at which the current file is full: there is room for an old one beside it.
    pub fn full_at(&self) -> u64 {
        self.size.min(self.bytes.map_or(u64::MAX, |bytes| bytes / 2))
    }
}

/// The number that the digits at the beginning of the text form: 0 without digits, and the largest number if there are
/// too many.
fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: u64, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}

fn unless_empty<T>(text: &str, parse: impl Fn(&str) -> Result<T, &'static str>) -> Result<Option<T>, Refused> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some).map_err(Refused::Malformed) }
}

/// A size with a unit: the script's author knows that the original's limit does not hold for it.
fn file_size(text: &str) -> Option<u64> {
    size(text).ok().filter(|_| text.ends_with(['k', 'M', 'G']))
}

/// Bytes, with a unit or without.
///
/// # Errors
/// The text is neither.
pub fn size(text: &str) -> Result<u64, &'static str> {
    let (digits, unit) = daemontools::size::split(text.as_bytes());
    let digits = &text[..digits.len()];
    // `parse` would take a sign too.
    let number = if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None };
    let size = number.and_then(|number: u64| number.checked_mul(unit)).filter(|size| i64::try_from(*size).is_ok());
    size.ok_or("neither a number of bytes nor one with k, M or G")
}

fn compression(text: &str) -> Result<Compression, &'static str> {
    Compression::from_word(text.as_bytes()).ok_or("neither zstd nor gzip")
}

fn durability(text: &str) -> Result<Durability, &'static str> {
    match text {
        "rotate" => Ok(Durability::Rotation),
        "line" => Ok(Durability::Line),
        other => match duration::with_units(other) {
            Ok(within) => Ok(Durability::Within(within)),
            Err(_) => Err("neither rotate, nor line, nor a duration"),
        },
    }
}

fn when_full(text: &str) -> Result<(WhenFull, u64), &'static str> {
    let (policy, reserve) = match text.split_once(':') {
        Some((policy, reserve)) => (policy, size(reserve)?),
        None => (text, 0),
    };
    match policy {
        "block" => Ok((WhenFull::Block, reserve)),
        "oldest" => Ok((WhenFull::RemoveOldest, reserve)),
        "drop" => Ok((WhenFull::Drop, reserve)),
        _ => Err("neither block, nor oldest, nor drop"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A directory with these settings.
    fn set(script: &str) -> Directory {
        let mut directory = Directory::default();
        for word in script.split(' ') {
            let _ = directory.set(word.as_bytes()[0], &word.as_bytes()[1..]);
        }
        directory
    }

    #[test]
    fn the_originals_settings_are_clamped_and_never_refused() {
        let table = [
            ("s5000 n3 !cat wx", (5000, 3, true, &b"x"[..])),
            ("!cat s99 n1 !", (4096, 2, false, b"s")),
            ("s99999999 nx", (16_777_215, 2, false, b"s")),
        ];
        for (script, expected) in table {
            let d = set(script);
            assert_eq!((d.size, d.count, d.processor.is_some(), &d.code[..]), expected, "{script}");
        }
    }

    #[test]
    fn only_a_unit_makes_a_size_that_the_original_does_not_have() {
        let table = [
            ("s1k", 4096),
            ("s5k", 5120),
            ("s16M", 16 << 20),
            ("s3G", 3 << 30),
            ("s5000x", 5000),
            ("s5kk", 4096),
            ("s99999999G", 99_999_999 << 30),
            ("s99999999999G", 16_777_215),
        ];
        for (script, expected) in table {
            assert_eq!(set(script).size, expected, "{script}");
        }
    }

    /// Otherwise a full file would be removed at once.
    #[test]
    fn there_is_always_room_for_an_old_file() {
        let table = [
            ("b100", 8192, 4096),
            ("b0", 8192, 4096),
            ("b4096 s1M", 8192, 4096),
            ("b10k", 10_240, 5120),
            ("b20k s5000", 20_480, 5000),
            ("s1M b1M", 1 << 20, 1 << 19),
        ];
        for (script, bytes, full_at) in table {
            let directory = set(script);
            assert_eq!((directory.bytes, directory.full_at()), (Some(bytes), full_at), "{script}");
        }
        assert_eq!(set("s5000").full_at(), 5000);
    }

    #[test]
    fn what_is_ours_is_set_and_set_back() {
        let all = set("b10M a7d rday,utc zzstd y200ms doldest:1G");
        let expected = Directory {
            bytes: Some(10 << 20),
            age: Some(Duration::from_secs(7 * 86400)),
            schedule: Schedule::parse("day,utc").ok(),
            compression: Some(Compression::Zstd),
            durability: Durability::Within(Duration::from_millis(200)),
            when_full: WhenFull::RemoveOldest,
            reserve: 1 << 30,
            ..Directory::default()
        };
        assert_eq!(all, expected);
        assert_eq!(set("b10M a7d rday zgzip yline ddrop b a r z y d"), Directory::default());
        assert_eq!(set("yline yrotate ddrop dblock"), Directory::default());
        assert_eq!(set("yline").durability, Durability::Line);
        assert_eq!(set("ddrop").when_full, WhenFull::Drop);
    }

    #[test]
    fn what_is_malformed_is_said_and_changes_nothing() {
        for wrong in
            ["bx", "b-1", "b+1", "b1T", "b99999999999G", "a7", "aweek", "r5", "zlzma", "ynever", "y0", "dx", "ddrop:x"]
        {
            let mut directory = set("b9000 a7s rhour zgzip yline ddrop:9");
            let before = directory.clone();
            let refused = directory.set(wrong.as_bytes()[0], &wrong.as_bytes()[1..]);
            assert!(matches!(refused, Err(Refused::Malformed(_))), "{wrong}");
            assert_eq!(directory, before, "{wrong}");
        }
        assert_eq!(Directory::default().set(b'k', b""), Err(Refused::Unknown));
        assert!(Directory::default().set(b'b', b"\xff").is_err());
    }

    proptest! {
        /// Whatever follows a letter; and what is refused changes nothing.
        #[test]
        fn any_value_is_taken_or_refused(letter in prop::sample::select(&b"bardyz"[..]), value in "[0-9a-zG:,µ]{0,24}") {
            let mut directory = set("b9000 a7s rhour zgzip yline ddrop:9");
            let before = directory.clone();
            if directory.set(letter, value.as_bytes()).is_err() {
                prop_assert_eq!(directory, before);
            }
        }
    }
}
