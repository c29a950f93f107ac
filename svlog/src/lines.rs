//! Divides the bytes of files into lines. No I/O.

use crate::stamp;
use memchr::{memchr, memrchr};

/// The longest line that comes in one piece.
const LONGEST: usize = 1 << 20;
/// How many bytes are asked for at a time.
const ROOM: usize = 64 * 1024;

/// The position in the buffer of a line, or of a piece of one, without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    start: usize,
    end: usize,
    /// Whether the line ends with this piece.
    pub ends: bool,
    /// How many bytes are dropped together with this piece: 1 for a newline.
    newline: usize,
}

/// How one file follows another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joint {
    /// The first may end within a line, which goes on in the second unless that begins with a stamp.
    MayGoOn,
    /// A line without an end in the first file ends there, and does not go on in the second.
    Ends,
}

/// The bytes of successive files that were read but not yet taken.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// The bytes that were read lie in `bytes[start..end]`; no newline is in `bytes[start..searched]`.
    start: usize,
    end: usize,
    searched: usize,
    /// The position of the first byte of the last file.
    seam: Option<(usize, Joint)>,
}

impl Lines {
    /// Begins without bytes.
    pub fn new() -> Lines {
        Lines::default()
    }

    /// Whether no bytes are left.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The bytes that were read but not taken.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The bytes of a piece that [`Lines::piece`] found last.
    pub fn text(&self, piece: Piece) -> &[u8] {
        &self.bytes[piece.start..piece.end]
    }

    /// The buffer for more bytes. The caller then says by [`Lines::filled`] how many it has read.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start > 0 && self.bytes.len() - self.end < ROOM {
            self.bytes.copy_within(self.start..self.end, 0);
            let start = std::mem::take(&mut self.start);
            self.end -= start;
            self.searched = self.searched.saturating_sub(start);
            // Behind the boundary of the files this position is no longer needed.
            self.seam = self.seam.and_then(|(at, joint)| Some((at.checked_sub(start)?, joint)));
        }
        if self.bytes.len() - self.end < ROOM {
            self.bytes.resize(self.end + ROOM, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Takes in that `length` bytes were read.
    pub fn filled(&mut self, length: usize) {
        self.end = (self.end + length).min(self.bytes.len());
    }

    /// Takes in that the bytes from now on are of the next file.
    pub fn next_file(&mut self, joint: Joint) {
        self.seam = Some((self.end, joint));
    }

    /// How many bytes of the last file were read behind its last newline, and not taken.
    pub fn unfinished(&self) -> usize {
        let read = &self.bytes[self.begin_of_file()..self.end];
        read.len() - memrchr(b'\n', read).map_or(0, |newline| newline + 1)
    }

    /// Forgets the last `length` bytes, as far as they are of the last file and were not taken.
    pub fn take_back(&mut self, length: usize) {
        self.end = self.end.saturating_sub(length).max(self.begin_of_file());
        self.searched = self.searched.min(self.end);
    }

    /// The position of the bytes that are left of the last file.
    fn begin_of_file(&self) -> usize {
        self.seam.map_or(self.start, |(seam, _)| seam.max(self.start))
    }

    /// The next piece, if it is complete. `at_end`: there will be no more bytes, neither in this file nor in a next
    /// one.
    pub fn piece(&mut self, at_end: bool) -> Option<Piece> {
        let start = self.start;
        if let Some((seam, joint)) = self.seam.filter(|(seam, _)| *seam > start) {
            match memchr(b'\n', &self.bytes[start..seam]) {
                Some(length) => return Some(line(start, start + length)),
                None if joint == Joint::Ends => return Some(Piece { start, end: seam, ends: true, newline: 0 }),
                None => {}
            }
            let next = &self.bytes[seam..self.end];
            let next = &next[..memchr(b'\n', next).map_or(next.len(), |newline| newline + 1)];
            if stamp::of(next).is_some() {
                return Some(Piece { start, end: seam, ends: true, newline: 0 });
            }
            if next.len() < stamp::LONGEST && !next.ends_with(b"\n") && !at_end {
                return None;
            }
        }
        let from = self.searched.max(start);
        if let Some(length) = memchr(b'\n', &self.bytes[from..self.end]) {
            return Some(line(start, from + length));
        }
        self.searched = self.end;
        match self.end - start {
            // What ends a line is never an empty piece.
            length if length > LONGEST => Some(Piece { start, end: start + LONGEST, ends: false, newline: 0 }),
            1.. if at_end => Some(Piece { start, end: self.end, ends: true, newline: 0 }),
            _ => None,
        }
    }

    /// Takes a piece out, so that the next one begins behind it. Returns whether that position is in the last file.
    pub fn take(&mut self, piece: Piece) -> bool {
        self.start = piece.end + piece.newline;
        self.searched = self.searched.max(self.start);
        let in_last = self.seam.is_none_or(|(seam, _)| self.start >= seam);
        if in_last {
            self.seam = None;
        }
        in_last
    }
}

fn line(start: usize, end: usize) -> Piece {
    Piece { start, end, ends: true, newline: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(lines: &mut Lines, bytes: &[u8]) {
        lines.room()[..bytes.len()].copy_from_slice(bytes);
        lines.filled(bytes.len());
    }

    fn all(lines: &mut Lines, at_end: bool) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(piece) = lines.piece(at_end) {
            found.push(String::from_utf8_lossy(lines.text(piece)).into_owned());
            lines.take(piece);
        }
        found
    }

    /// The lines of several files in their order.
    fn lines_of(files: &[&str], joint: Joint) -> Vec<String> {
        let mut lines = Lines::new();
        let mut found = Vec::new();
        for (number, file) in files.iter().enumerate() {
            if number > 0 {
                lines.next_file(joint);
            }
            read(&mut lines, file.as_bytes());
            found.extend(all(&mut lines, false));
        }
        found.extend(all(&mut lines, true));
        found
    }

    #[test]
    fn a_line_goes_on_in_the_next_file_unless_that_begins_with_a_stamp() {
        let stamped = "@400000000000000b000001f4 d\n";
        assert_eq!(lines_of(&["a\nb", "c\nd"], Joint::MayGoOn), ["a", "bc", "d"]);
        assert_eq!(lines_of(&["a\nb", "c\nd"], Joint::Ends), ["a", "b", "c", "d"]);
        assert_eq!(lines_of(&["a\nb", stamped], Joint::MayGoOn), ["a", "b", stamped.trim_end()]);
        assert_eq!(lines_of(&["a\nb", "c", "d\n"], Joint::MayGoOn), ["a", "bcd"]);
        assert_eq!(lines_of(&["a\n", "", "d\n\n"], Joint::MayGoOn), ["a", "d", ""]);
    }

    #[test]
    fn a_line_that_is_not_finished_waits() {
        let mut lines = Lines::new();
        read(&mut lines, b"a\nb");
        assert_eq!((all(&mut lines, false), lines.rest()), (vec!["a".to_string()], &b"b"[..]));
        read(&mut lines, b"c\n");
        assert_eq!(all(&mut lines, false), ["bc"]);
        assert!(lines.is_empty());
    }

    #[test]
    fn a_line_without_end_comes_in_pieces() {
        let mut lines = Lines::new();
        let mut pieces = Vec::new();
        for _ in 0..40 {
            read(&mut lines, &[b'x'; ROOM]);
            while let Some(piece) = lines.piece(false) {
                pieces.push((lines.text(piece).len(), piece.ends));
                lines.take(piece);
            }
        }
        let last = lines.piece(true).unwrap();
        pieces.push((lines.text(last).len(), last.ends));
        assert_eq!(pieces, [(LONGEST, false), (LONGEST, false), (40 * ROOM - 2 * LONGEST, true)]);
        assert!(lines.bytes.len() <= LONGEST + 2 * ROOM);
    }

    #[test]
    fn what_is_not_finished_can_be_taken_back() {
        let mut lines = Lines::new();
        read(&mut lines, b"a\nbc");
        assert_eq!((all(&mut lines, false), lines.unfinished()), (vec!["a".to_string()], 2));
        lines.take_back(1);
        lines.next_file(Joint::MayGoOn);
        assert_eq!(lines.unfinished(), 0);
        read(&mut lines, b"xy");
        assert_eq!(lines.unfinished(), 2);
        // The beginning of a line from the file before stays.
        lines.take_back(usize::MAX);
        read(&mut lines, b"d\ne");
        assert_eq!((all(&mut lines, false), lines.unfinished()), (vec!["bd".to_string()], 1));
    }

    proptest! {
        #[test]
        fn how_the_bytes_come_changes_nothing(text in "[ab\n]{0,60}", cuts in proptest::collection::vec(0usize..60, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<&str> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            let expected: Vec<&str> = text.split_terminator('\n').collect();
            prop_assert_eq!(lines_of(&parts, Joint::MayGoOn), expected);
        }
    }
}
