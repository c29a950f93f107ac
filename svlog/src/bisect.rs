//! Finds the first line of a moment in a file whose stamps increase, without reading the whole file.

use crate::stamp;
use daemontools::tai64::{Tai64, Tai64N};
use memchr::{memchr, memrchr};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::io;

/// A file up to this length is read whole, which takes some milliseconds. Most files of multilog are not longer, and
/// for these it does not matter what the clock did while they were written.
pub const WHOLE: u64 = 16 << 20;
/// By how many seconds stamps in a longer file may decrease so that no line is missed.
pub const FALL: u64 = 3600;
/// How many bytes are read at a time.
const BLOCK: usize = 4096;
/// How many of the first bytes must contain a stamp: a file without a stamp there has none.
const FIRST: u64 = 64 * 1024;

/// Reads bytes at an offset as pread(2) does: maybe fewer than asked for, and none at the end.
pub trait ReadAt {
    /// # Errors
    /// The file cannot be read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The position of the first byte at `offset` or later that is on the disk, or the end if there is none.
    fn next_data(&self, offset: u64) -> u64 {
        offset
    }
}

impl ReadAt for std::fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    fn next_data(&self, offset: u64) -> u64 {
        let at = i64::try_from(offset).unwrap_or(i64::MAX);
        match lseek(self, at, Whence::SeekData) {
            Ok(data) => u64::try_from(data).unwrap_or(offset),
            // There is no such byte.
            Err(Errno::ENXIO) => self.metadata().map_or(offset, |metadata| metadata.len().max(offset)),
            Err(_) => offset,
        }
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

/// The position from which to read to find lines of `moment` or later. In a file longer than [`WHOLE`], only earlier
/// lines lie before it, if stamps decrease by at most [`FALL`]; in other files it is 0. `None`: the long file has no
/// stamps.
///
/// # Errors
/// The file cannot be read.
pub fn begin_for(file: &(impl ReadAt + ?Sized), length: u64, moment: Tai64N) -> io::Result<Option<u64>> {
    if length <= WHOLE {
        return Ok(Some(0));
    }
    let Tai64N(Tai64(second), nanos) = moment;
    first_line_from(file, length, Tai64N(Tai64(second.saturating_sub(FALL)), nanos))
}

/// The beginning of the first line at `moment` or later among those that begin before `length`; `length` if there
/// is none. Lines before the first stamp have the time of that stamp. `None`: the lines have no stamps.
///
/// # Errors
/// The file cannot be read.
pub fn first_line_from(file: &(impl ReadAt + ?Sized), length: u64, moment: Tai64N) -> io::Result<Option<u64>> {
    match first_stamped(file, 0, length.min(FIRST))? {
        None => return Ok(None),
        Some((_, time)) if time >= moment => return Ok(Some(0)),
        Some(_) => {}
    }
    // All stamped lines that begin before `low` are earlier. The first one that is not begins at `found`, or before
    // `high`.
    let (mut low, mut high, mut found) = (0, length, length);
    while low < high {
        let middle = low + (high - low) / 2;
        match first_stamped(file, middle, high)? {
            Some((start, time)) if time < moment => low = start + 1,
            Some((start, _)) => (high, found) = (middle, start),
            None => high = middle,
        }
    }
    Ok(Some(found))
}

/// The beginning of the first line with a stamp that begins at `from` or later, but before `below`.
///
/// # Errors
/// The file cannot be read.
pub fn stamped_line_start(file: &(impl ReadAt + ?Sized), from: u64, below: u64) -> io::Result<Option<u64>> {
    Ok(first_stamped(file, from, below)?.map(|(start, _)| start))
}

/// The first line with a stamp that begins at `from` or later, but before `below`.
fn first_stamped(file: &(impl ReadAt + ?Sized), from: u64, below: u64) -> io::Result<Option<(u64, Tai64N)>> {
    let mut block = Block::new();
    let mut start = block.line_start(file, from, below)?;
    while start < below {
        let (text, is_last) = block.text_at(file, start)?;
        let length = text.len();
        let mut at = 0;
        start = loop {
            if is_last || at + stamp::LONGEST <= length {
                if let Some(stamp) = stamp::of(&text[at..length.min(at + stamp::LONGEST)]) {
                    return Ok(Some((start + at as u64, stamp.time)));
                }
            } else if at > 0 {
                // The block ends within bytes that may be the stamp of the line.
                break start + at as u64;
            }
            match memchr(b'\n', &text[at..]) {
                Some(newline) => at += newline + 1,
                None => break line_start(file, start + length.max(1) as u64, below)?,
            }
            if start + at as u64 >= below || at == length {
                break start + at as u64;
            }
        };
        if length == 0 {
            break;
        }
    }
    Ok(None)
}

/// The beginning of the first line that begins at `from` or later; `below` if that is not before it.
///
/// # Errors
/// The file cannot be read.
pub fn line_start(file: &(impl ReadAt + ?Sized), from: u64, below: u64) -> io::Result<u64> {
    Block::new().line_start(file, from, below)
}

/// The bytes of a file that were read last.
struct Block {
    bytes: [u8; BLOCK],
    at: u64,
    length: usize,
}

impl Block {
    fn new() -> Block {
        Block { bytes: [0; BLOCK], at: 0, length: 0 }
    }

    fn read(&mut self, file: &(impl ReadAt + ?Sized), at: u64) -> io::Result<&[u8]> {
        (self.at, self.length) = (at, read_full(file, &mut self.bytes, at)?);
        Ok(&self.bytes[..self.length])
    }

    /// The bytes of a file at `start`, and whether it ends with them. If it does not, a stamp is not longer than they are.
    fn text_at(&mut self, file: &(impl ReadAt + ?Sized), start: u64) -> io::Result<(&[u8], bool)> {
        let skipped = start.checked_sub(self.at).and_then(|skipped| usize::try_from(skipped).ok());
        let is_read = skipped.is_some_and(|skipped| {
            skipped < self.length && (self.length < BLOCK || skipped + stamp::LONGEST <= self.length)
        });
        if !is_read {
            self.read(file, start)?;
        }
        let skipped = skipped.filter(|_| is_read).unwrap_or(0);
        Ok((&self.bytes[skipped..self.length], self.length < BLOCK))
    }

    /// The beginning of the first line that begins at `from` or later; `below` if that is not before it.
    fn line_start(&mut self, file: &(impl ReadAt + ?Sized), from: u64, below: u64) -> io::Result<u64> {
        if from == 0 {
            return Ok(0);
        }
        // The line begins after a newline, which may be the byte directly before.
        let mut at = from - 1;
        while at < below {
            let bytes = self.read(file, at)?;
            match memchr(b'\n', bytes) {
                Some(newline) => return Ok((at + newline as u64 + 1).min(below)),
                None if bytes.is_empty() => break,
                None if bytes.iter().all(|byte| *byte == 0) => at = file.next_data(at).max(at + bytes.len() as u64),
                None => at += bytes.len() as u64,
            }
        }
        Ok(below)
    }
}

/// The beginning of a line near the end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastLine {
    /// Its position.
    pub start: u64,
    /// Whether it has a stamp. Otherwise no line in the last 64 kB has one.
    pub is_stamped: bool,
}

/// The beginning of the last line with a stamp; of the last line, if the last lines have no stamps. `None`: that line is
/// too long to be looked for.
///
/// # Errors
/// The file cannot be read.
pub fn last_line(file: &(impl ReadAt + ?Sized), length: u64) -> io::Result<Option<LastLine>> {
    let mut block = Vec::new();
    for size in [BLOCK as u64, FIRST] {
        let start = length.saturating_sub(size);
        block.resize(usize::try_from(length - start).unwrap_or(0), 0);
        let read = read_full(file, &mut block, start)?;
        let mut end = read;
        let mut last = None;
        // A line that begins in the block, behind its first newline, or at the beginning of the file.
        while let Some(line) = line_before(&block[..end]).or((start == 0 && end > 0).then_some(0)) {
            if stamp::of(&block[line..read]).is_some() {
                return Ok(Some(LastLine { start: start + line as u64, is_stamped: true }));
            }
            last.get_or_insert(line);
            end = line.saturating_sub(1);
        }
        if size == FIRST || start == 0 {
            return Ok(last.map(|line| LastLine { start: start + line as u64, is_stamped: false }));
        }
    }
    Ok(None)
}

/// The beginning of the last line of these bytes, behind a newline.
fn line_before(bytes: &[u8]) -> Option<usize> {
    memrchr(b'\n', bytes).map(|newline| newline + 1)
}

/// Reads until the buffer is full or the file ends. Returns how many bytes it has read.
///
/// # Errors
/// The file cannot be read.
pub fn read_full(file: &(impl ReadAt + ?Sized), buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::tai64::Label;
    use proptest::prelude::*;
    use std::cell::Cell;

    fn at(seconds: u64) -> Tai64N {
        Tai64N(Tai64((1 << 62) + seconds), 0)
    }

    /// Finds the line by reading one line after the other.
    fn linear(bytes: &[u8], moment: Tai64N) -> Option<u64> {
        let mut start = 0;
        let mut stamped = false;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if let Some(stamp) = stamp::of(line) {
                if stamp.time >= moment {
                    return Some(if stamped { start } else { 0 });
                }
                stamped = true;
            }
            start += line.len() as u64;
        }
        stamped.then_some(start)
    }

    proptest! {
        #[test]
        fn it_finds_what_a_search_line_by_line_finds(
            steps in proptest::collection::vec((0u64..4, "[a-z@\n]{0,9}|x{300}"), 0..60),
            moment in 0u64..100,
            end in "[a-z\n]{0,3}",
        ) {
            let mut time = 0;
            let mut bytes = Vec::new();
            for (step, text) in steps {
                time += step;
                bytes.extend(format!("{} {text}\n", Label(at(time))).bytes());
            }
            bytes.extend(end.bytes());
            let found = first_line_from(&bytes[..], bytes.len() as u64, at(moment)).unwrap();
            prop_assert_eq!(found, linear(&bytes, at(moment)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_falls_by_less_than_is_allowed_for_is_not_missed(
            steps in proptest::collection::vec(-FALL_FOR_TESTS..200, 1..40),
            moment in 0u64..3000,
        ) {
            // A stamp is never further behind the latest one than the decrease that is allowed.
            let (mut latest, mut now) = (0i64, 0i64);
            let times: Vec<u64> = steps.iter().map(|step| {
                now = (now + step).max(latest - FALL_FOR_TESTS).max(0);
                latest = latest.max(now);
                now as u64
            }).collect();
            let bytes: Vec<u8> = times.iter().flat_map(|time| format!("{} x\n", Label(at(*time))).into_bytes()).collect();
            let earlier = at(moment.saturating_sub(FALL_FOR_TESTS as u64));
            let begin = first_line_from(&bytes[..], bytes.len() as u64, earlier).unwrap().unwrap();
            let passed = times.iter().take(usize::try_from(begin).unwrap() / 28);
            prop_assert!(passed.into_iter().all(|time| *time < moment), "{times:?} {moment} {begin}");
        }
    }

    const FALL_FOR_TESTS: i64 = 500;

    #[test]
    fn the_last_line_is_one_with_a_stamp_if_there_is_one_nearby() {
        let long = "x".repeat(3 * BLOCK);
        let stamped = format!("{} s", Label(at(1)));
        for (text, expected) in [
            (String::new(), None),
            ("a".into(), Some((0, false))),
            ("a\n".into(), Some((2, false))),
            ("a\nbc".into(), Some((2, false))),
            (format!("a\n{stamped}"), Some((2, true))),
            (format!("a\n{stamped}\n"), Some((2, true))),
            (format!("{stamped}\nb\n\nc"), Some((0, true))),
            (format!("{stamped}\n{stamped}\nb"), Some((stamped.len() as u64 + 1, true))),
            (format!("a\n{stamped}\n{long}"), Some((2, true))),
            (format!("{long}\nb"), Some((3 * BLOCK as u64 + 1, false))),
            (format!("a\n{}", "x".repeat(2 << 20)), None),
        ] {
            let found = last_line(text.as_bytes(), text.len() as u64).unwrap();
            assert_eq!(found.map(|line| (line.start, line.is_stamped)), expected, "{text:.9}");
        }
    }

    #[test]
    fn a_file_of_multilogs_is_read_from_its_beginning() {
        assert_eq!(begin_for(&b"x\n"[..], WHOLE, at(5)).unwrap(), Some(0));
    }

    /// An empty line needs no reading of its own.
    #[test]
    fn lines_without_stamps_are_passed_over_by_blocks() {
        let bytes =
            [Label(at(1)).to_string().as_bytes(), &b"\n".repeat(1 << 20), Label(at(9)).to_string().as_bytes()].concat();
        let file = Counted(&bytes, Cell::new(0));
        assert_eq!(first_line_from(&file, bytes.len() as u64, at(5)).unwrap(), Some(25 + (1 << 20)));
        assert!(file.1.get() < 3 * bytes.len(), "{}", file.1.get());
    }

    struct Counted<'a>(&'a [u8], Cell<usize>);

    impl ReadAt for Counted<'_> {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let length = self.0.read_at(buffer, offset)?;
            self.1.set(self.1.get() + length);
            Ok(length)
        }
    }

    #[test]
    fn it_reads_a_few_blocks_of_a_large_file() {
        let text = "x".repeat(80);
        let bytes: Vec<u8> = (0..100_000).flat_map(|n| format!("{} {text}\n", Label(at(n))).into_bytes()).collect();
        let file = Counted(&bytes, Cell::new(0));
        let found = first_line_from(&file, bytes.len() as u64, at(77_777)).unwrap();
        assert_eq!(found, Some(77_777 * 107));
        assert!(file.1.get() < 200_000, "{}", file.1.get());
    }
}
