//! Divides the bytes of files into lines. No I/O.

use crate::stamp;
use memchr::{memchr, memrchr};

/// The longest line that comes in one piece.
const LONGEST: usize = 1 << 20;
/// How many bytes are asked for at a time, if there is memory for it.
pub const ROOM: usize = 64 * 1024;

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

/// What becomes of a line at the boundary between two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileBoundary {
    /// The first file may end within a line, which goes on in the second file unless that begins with a stamp.
    MayGoOn,
    /// A line without an end in the first file ends there, and does not go on in the second.
    Ends,
}

/// The bytes of successive files that were read but not yet taken.
#[derive(Debug)]
pub struct Lines {
    /// How many bytes are asked for at a time.
    room: usize,
    bytes: Vec<u8>,
    /// The bytes that were read lie in `bytes[start..end]`; no newline is in `bytes[start..searched]`.
    start: usize,
    end: usize,
    searched: usize,
    /// The position of the first byte of the last file.
    seam: Option<(usize, FileBoundary)>,
}

impl Lines {
    /// Begins without bytes. `room`: how many bytes are asked for at a time.
    pub fn new(room: usize) -> Lines {
        Lines { room, bytes: Vec::new(), start: 0, end: 0, searched: 0, seam: None }
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
        if self.start > 0 && self.bytes.len() - self.end < self.room {
            self.bytes.copy_within(self.start..self.end, 0);
            let start = std::mem::take(&mut self.start);
            self.end -= start;
            self.searched = self.searched.saturating_sub(start);
            // Behind the boundary of the files this position is no longer needed.
            self.seam = self.seam.and_then(|(at, boundary)| Some((at.checked_sub(start)?, boundary)));
        }
        if self.bytes.len() - self.end < self.room {
            self.bytes.resize(self.end + self.room, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Takes in that `length` bytes were read.
    pub fn filled(&mut self, length: usize) {
        self.end = (self.end + length).min(self.bytes.len());
    }

    /// Takes in that the bytes from now on are of the next file.
    pub fn next_file(&mut self, boundary: FileBoundary) {
        self.seam = Some((self.end, boundary));
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
        if let Some((seam, boundary)) = self.seam.filter(|(seam, _)| *seam > start) {
            match memchr(b'\n', &self.bytes[start..seam]) {
                Some(length) => return Some(line(start, start + length)),
                None if boundary == FileBoundary::Ends => {
                    return Some(Piece { start, end: seam, ends: true, newline: 0 });
                }
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
            // The piece that ends a line is never empty.
            length if length > LONGEST => Some(Piece { start, end: start + LONGEST, ends: false, newline: 0 }),
            1.. if at_end => Some(Piece { start, end: self.end, ends: true, newline: 0 }),
            _ => None,
        }
    }

    /// The whole lines that were read of the last file. There are none while a line from a file before is not taken.
    pub fn whole(&self) -> &[u8] {
        if self.seam.is_some_and(|(seam, _)| seam > self.start) {
            return &[];
        }
        let rest = self.rest();
        &rest[..memrchr(b'\n', rest).map_or(0, |newline| newline + 1)]
    }

    /// Takes out the first `length` bytes, which are whole lines of those that [`Lines::whole`] has shown.
    pub fn pass(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
        self.searched = self.searched.max(self.start);
        self.seam = None;
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
    fn lines_of(files: &[&str], boundary: FileBoundary) -> Vec<String> {
        let mut lines = Lines::new(ROOM);
        let mut found = Vec::new();
        for (number, file) in files.iter().enumerate() {
            if number > 0 {
                lines.next_file(boundary);
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
        assert_eq!(lines_of(&["a\nb", "c\nd"], FileBoundary::MayGoOn), ["a", "bc", "d"]);
        assert_eq!(lines_of(&["a\nb", "c\nd"], FileBoundary::Ends), ["a", "b", "c", "d"]);
        assert_eq!(lines_of(&["a\nb", stamped], FileBoundary::MayGoOn), ["a", "b", stamped.trim_end()]);
        assert_eq!(lines_of(&["a\nb", "c", "d\n"], FileBoundary::MayGoOn), ["a", "bcd"]);
        assert_eq!(lines_of(&["a\n", "", "d\n\n"], FileBoundary::MayGoOn), ["a", "d", ""]);
    }

    #[test]
    fn a_line_that_is_not_finished_waits() {
        let mut lines = Lines::new(ROOM);
        read(&mut lines, b"a\nb");
        assert_eq!((all(&mut lines, false), lines.rest()), (vec!["a".to_string()], &b"b"[..]));
        read(&mut lines, b"c\n");
        assert_eq!(all(&mut lines, false), ["bc"]);
        assert!(lines.is_empty());
    }

    #[test]
    fn a_line_without_end_comes_in_pieces() {
        let mut lines = Lines::new(ROOM);
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
        let mut lines = Lines::new(ROOM);
        read(&mut lines, b"a\nbc");
        assert_eq!((all(&mut lines, false), lines.unfinished()), (vec!["a".to_string()], 2));
        lines.take_back(1);
        lines.next_file(FileBoundary::MayGoOn);
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
            prop_assert_eq!(lines_of(&parts, FileBoundary::MayGoOn), expected);
        }
    }
}
