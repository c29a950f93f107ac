//! Keeps the bytes that were read last of a file, to find out later whether they are still there. No I/O.

use crate::stamp;
use memchr::memchr_iter;

/// How many bytes are kept: enough for a line of usual length and its stamp.
pub const TAIL: usize = 1024;

/// The bytes that were read last.
#[derive(Debug, Default)]
pub struct Tail {
    bytes: Vec<u8>,
}

/// What lies in the place of these bytes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// The bytes have not changed.
    Same,
    /// The lines have not changed, but their stamps have.
    Restamped,
    /// Other bytes are there.
    Other,
}

impl Tail {
    /// Nothing was read yet.
    pub fn new() -> Tail {
        Tail::default()
    }

    /// The bytes that were read of a file up to `offset`, as far as they are known.
    pub fn before(&self, offset: u64) -> &[u8] {
        let known = self.bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        &self.bytes[self.bytes.len() - known..]
    }

    /// Takes in that these bytes were read.
    pub fn add(&mut self, read: &[u8]) {
        self.bytes.extend_from_slice(&read[read.len().saturating_sub(TAIL)..]);
        let surplus = self.bytes.len().saturating_sub(TAIL);
        self.bytes.drain(..surplus);
    }

    /// Takes in that the last `length` bytes will be read again.
    pub fn take_back(&mut self, length: usize) {
        self.bytes.truncate(self.bytes.len().saturating_sub(length));
    }

    /// Returns the bytes that were read last.
    pub fn set(&mut self, now: &[u8]) {
        self.bytes.clear();
        self.add(now);
    }
}

/// Compares the bytes that were read with those that are there now, from the same position on. Both end between lines,
/// or behind the stamp of a line.
pub fn compare(before: &[u8], now: &[u8]) -> Now {
    if before == now {
        return Now::Same;
    }
    if before.len() != now.len() || !memchr_iter(b'\n', before).eq(memchr_iter(b'\n', now)) {
        return Now::Other;
    }
    let lines = before.split(|byte| *byte == b'\n').zip(now.split(|byte| *byte == b'\n'));
    let same = lines.enumerate().all(|(number, (before, now))| {
        let stamps = match number {
            // The bytes may begin within a line.
            0 => (before.len().min(stamp::LONGEST), now.len().min(stamp::LONGEST)),
            _ => (length_of_stamp(before), length_of_stamp(now)),
        };
        before[stamps.0..] == now[stamps.1..]
    });
    if same { Now::Restamped } else { Now::Other }
}

fn length_of_stamp(line: &[u8]) -> usize {
    stamp::of(line).map_or(0, |stamp| stamp.length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_known_again_by_their_text() {
        let (one, two) = ("@400000000000000b000001f4", "@400000000000000b000001f5");
        let line = format!("{one} a\n{one} b\n");
        for (now, expected) in [
            (line.clone(), Now::Same),
            (format!("{two} a\n{two} b\n"), Now::Restamped),
            (format!("{one} a\n{two} b\n"), Now::Restamped),
            (format!("{two} a\n{two} c\n"), Now::Other),
            (format!("{two} a\n\n{two} b"), Now::Other),
            (format!("{two} a\n{} b\n", "x".repeat(one.len())), Now::Other),
            (format!("{one} a\n{one} b"), Now::Other),
        ] {
            assert_eq!(compare(line.as_bytes(), now.as_bytes()), expected, "{now}");
        }
        // These bytes begin within a stamp, and end within a line.
        let line = format!("{} a\n{one} {}", &one[20..], "x".repeat(50));
        let now = format!("{} a\n{two} {}", &two[20..], "x".repeat(50));
        assert_eq!(compare(line.as_bytes(), now.as_bytes()), Now::Restamped);
        let long = |text: &str| text.repeat(50);
        assert_eq!(compare(long("xy").as_bytes(), long("xz").as_bytes()), Now::Other);
    }

    #[test]
    fn the_tail_is_of_the_last_bytes() {
        let mut tail = Tail::new();
        tail.add(&[b'a'; 10]);
        tail.add(b"bc");
        assert_eq!(tail.before(3), b"abc");
        tail.take_back(1);
        assert_eq!(tail.before(2), b"ab");
        tail.add(&[b'd'; TAIL - 1]);
        assert_eq!(tail.before(u64::MAX), [&b"b"[..], &[b'd'; TAIL - 1]].concat());
        tail.add(&[b'e'; 2 * TAIL]);
        assert_eq!(tail.before(u64::MAX), [b'e'; TAIL]);
        tail.set(b"f");
        assert_eq!(tail.before(u64::MAX), b"f");
    }
}
