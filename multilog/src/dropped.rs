//! Counts the lines that were dropped because the disk was full. No I/O.

/// A message about dropped lines has at most this many bytes, without its stamp.
pub const LONGEST_ACCOUNT: usize = 120;

/// Lines that were dropped, one after another.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Dropped {
    lines: u64,
    bytes: u64,
    /// The last dropped line continues in the bytes that come next.
    is_within: bool,
}

impl Dropped {
    /// Drops these bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        self.bytes += bytes.len() as u64;
        self.is_within = *last != b'\n';
    }

    /// Drops from the front of `bytes` what belongs to a line whose beginning was dropped, and returns the rest.
    pub fn end_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if !self.is_within {
            return bytes;
        }
        let (rest, others) = bytes.split_at(memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1));
        self.add(rest);
        others
    }

    /// Whether the next byte belongs to a dropped line.
    pub fn is_within(&self) -> bool {
        self.is_within
    }

    /// The message about the dropped lines.
    pub fn account(&self) -> String {
        let lines = self.lines + u64::from(self.is_within);
        format!("dropped {lines} lines, {} bytes, as the disk was full", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_once_however_it_is_cut() {
        let mut dropped = Dropped::default();
        dropped.add(b"d of one\ntwo\nthr");
        assert!(dropped.is_within());
        assert_eq!(dropped.account(), "dropped 3 lines, 16 bytes, as the disk was full");
        assert_eq!(dropped.end_line(b""), b"");
        assert_eq!(dropped.end_line(b"e"), b"");
        assert_eq!(dropped.end_line(b"e\nfour\n"), b"four\n");
        assert!(!dropped.is_within());
        assert_eq!(dropped.end_line(b"four\n"), b"four\n");
        assert_eq!(dropped.account(), "dropped 3 lines, 19 bytes, as the disk was full");
    }

    #[test]
    fn the_account_is_never_longer() {
        let most = Dropped { lines: u64::MAX - 1, bytes: u64::MAX, is_within: true };
        assert!(most.account().len() + "multilog: warning: \n\n".len() <= LONGEST_ACCOUNT);
    }
}
