//! Where in a file of lines that rise in time those of a moment begin, without reading all of it.

use crate::stamp;
use daemontools::tai64::Tai64N;
use memchr::memchr;
use std::io;

/// Bytes read at a time.
const BLOCK: usize = 4096;
/// A file without a stamp in its first bytes has none.
const FIRST: u64 = 64 * 1024;

/// Bytes at an offset, as pread(2) gives them: fewer than asked for, and none at the end.
pub trait ReadAt {
    /// # Errors
    /// Whatever the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for std::fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
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

/// The beginning of the first line at `moment` or later among those that begin before `length`; `length` if there
/// is none. Lines before the first stamp are of its time. `None`: the lines have no stamps.
///
/// # Errors
/// Whatever reading says.
pub fn first_line_from(file: &(impl ReadAt + ?Sized), length: u64, moment: Tai64N) -> io::Result<Option<u64>> {
    match first_stamped(file, 0, length.min(FIRST))? {
        None => return Ok(None),
        Some((_, time)) if time >= moment => return Ok(Some(0)),
        Some(_) => {}
    }
    // Stamped lines that begin before `low` are earlier; the first that is not begins at `found`, or before `high`.
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

/// The first line with a stamp that begins at `from` or later, but before `below`.
fn first_stamped(file: &(impl ReadAt + ?Sized), from: u64, below: u64) -> io::Result<Option<(u64, Tai64N)>> {
    let mut start = line_start(file, from, below)?;
    while start < below {
        let mut text = [0; stamp::LONGEST];
        let length = read_full(file, &mut text, start)?;
        if let Some(stamp) = stamp::of(&text[..length]) {
            return Ok(Some((start, stamp.time)));
        }
        start = line_start(file, start + 1, below)?;
    }
    Ok(None)
}

/// The beginning of the first line that begins at `from` or later; `below` if that is not before it.
///
/// # Errors
/// Whatever reading says.
pub fn line_start(file: &(impl ReadAt + ?Sized), from: u64, below: u64) -> io::Result<u64> {
    if from == 0 {
        return Ok(0);
    }
    // It begins after a newline, which may be the very byte before.
    let mut at = from - 1;
    let mut block = [0; BLOCK];
    while at < below {
        let length = read_full(file, &mut block, at)?;
        match memchr(b'\n', &block[..length]) {
            Some(newline) => return Ok((at + newline as u64 + 1).min(below)),
            None if length == 0 => break,
            None => at += length as u64,
        }
    }
    Ok(below)
}

fn read_full(file: &(impl ReadAt + ?Sized), buffer: &mut [u8], offset: u64) -> io::Result<usize> {
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
    use daemontools::tai64::{Label, Tai64};
    use proptest::prelude::*;
    use std::cell::Cell;

    fn at(seconds: u64) -> Tai64N {
        Tai64N(Tai64((1 << 62) + seconds), 0)
    }

    /// One line after the other.
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
