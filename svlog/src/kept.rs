//! Lines that are kept in memory until they are shown, from the oldest to the newest. They are found from the newest to
//! the oldest, a part of a file at a time. No I/O.

use crate::line::Line;
use daemontools::tai64::Tai64N;
use std::collections::VecDeque;

/// Lines in the order in which they were read.
#[derive(Debug, Default)]
pub struct Part {
    text: Vec<u8>,
    lines: Vec<Head>,
}

/// A line without its bytes.
#[derive(Debug, Clone, Copy)]
struct Head {
    time: Tai64N,
    /// How many bytes the stamp and the text have, and the stamp alone.
    length: usize,
    stamp: usize,
    begins: bool,
    ends: bool,
}

impl Part {
    /// Adds a line, or a piece of one, at the end.
    pub fn add(&mut self, line: Line) {
        let Line { time, stamp, text, begins, ends, .. } = line;
        self.text.extend_from_slice(stamp);
        self.text.extend_from_slice(text);
        self.lines.push(Head { time, length: stamp.len() + text.len(), stamp: stamp.len(), begins, ends });
    }

    /// How many lines begin in this part.
    pub fn count(&self) -> u64 {
        self.lines.iter().filter(|line| line.begins).count() as u64
    }

    /// How many bytes of memory this part needs.
    pub fn size(&self) -> usize {
        self.text.len() + self.lines.len() * size_of::<Head>()
    }

    /// Shows the last line to `show`, piece by piece, and forgets it.
    pub fn pop(&mut self, mut show: impl FnMut(Line)) {
        let first = self.lines.iter().rposition(|line| line.begins).unwrap_or(0);
        let start = self.text.len().saturating_sub(self.lines[first..].iter().map(|line| line.length).sum());
        let mut offset = start;
        for Head { time, length, stamp, begins, ends } in self.lines.drain(first..) {
            let (stamp, text) = self.text[offset..offset + length].split_at(stamp);
            offset += length;
            show(Line { time, stamp, text, begins, ends, ..Line::default() });
        }
        self.text.truncate(start);
    }

    /// The time of the last line.
    pub fn last_time(&self) -> Option<Tai64N> {
        self.lines.iter().rfind(|line| line.begins).map(|line| line.time)
    }

    /// Forgets the first lines, but for the last `wanted`.
    pub fn keep_last(&mut self, wanted: u64) {
        let surplus = usize::try_from(self.count().saturating_sub(wanted)).unwrap_or(usize::MAX);
        let mut begun = (0..self.lines.len()).filter(|number| self.lines[*number].begins);
        let first = begun.nth(surplus).unwrap_or(self.lines.len());
        let length: usize = self.lines.drain(..first).map(|line| line.length).sum();
        self.text.drain(..length);
    }
}

/// All lines that are kept.
#[derive(Debug, Default)]
pub struct Kept {
    parts: VecDeque<Part>,
    /// How many lines begin in all parts, and how many bytes of memory these need.
    count: u64,
    size: usize,
    /// How many lines of the first part were taken, and how many bytes they have.
    taken: usize,
    offset: usize,
}

impl Kept {
    /// Adds lines before all others.
    pub fn put_before(&mut self, part: Part) {
        if !part.lines.is_empty() {
            self.count += part.count();
            self.size += part.size();
            self.parts.push_front(part);
        }
    }

    /// How many lines were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many bytes of memory all kept lines need.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The first line that was not taken.
    pub fn first(&self) -> Option<Line<'_>> {
        let part = self.parts.front()?;
        let Head { time, length, stamp, begins, ends } = *part.lines.get(self.taken)?;
        let (stamp, text) = part.text.get(self.offset..self.offset + length)?.split_at_checked(stamp)?;
        Some(Line { time, stamp, text, begins, ends, ..Line::default() })
    }

    /// Takes the first line out.
    pub fn take(&mut self) {
        let Some(part) = self.parts.front() else { return };
        self.offset += part.lines.get(self.taken).map_or(0, |line| line.length);
        self.taken += 1;
        if self.taken >= part.lines.len() {
            self.parts.pop_front();
            (self.taken, self.offset) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::tai64::Tai64;

    fn part(texts: &[&str]) -> Part {
        let mut part = Part::default();
        for text in texts {
            // A text with a minus in front continues the line before it.
            let begins = !text.starts_with('-');
            part.add(Line {
                time: Tai64N(Tai64(1), 2),
                stamp: b"1 ",
                text: text.as_bytes(),
                begins,
                ..Line::default()
            });
        }
        part
    }

    fn all(mut kept: Kept) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(line) = kept.first() {
            texts.push(String::from_utf8_lossy(line.text).into_owned());
            kept.take();
        }
        texts
    }

    #[test]
    fn parts_that_are_found_from_the_end_are_shown_from_the_beginning() {
        let mut kept = Kept::default();
        for texts in [&["e", "", "f"][..], &[], &["d"], &["a", "-b", "c"]] {
            kept.put_before(part(texts));
        }
        assert_eq!(all(kept), ["a", "-b", "c", "d", "e", "", "f"]);
    }

    #[test]
    fn the_last_lines_are_kept_with_all_their_pieces() {
        for (wanted, expected) in [
            (0, &[][..]),
            (1, &["d"]),
            (2, &["b", "-c", "d"]),
            (3, &["a", "b", "-c", "d"]),
            (9, &["a", "b", "-c", "d"]),
        ] {
            let mut kept = Kept::default();
            let mut part = part(&["a", "b", "-c", "d"]);
            part.keep_last(wanted);
            assert_eq!(part.count(), wanted.min(3));
            kept.put_before(part);
            assert_eq!(all(kept), expected, "{wanted}");
        }
    }
}
