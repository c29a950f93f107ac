//! Lines around those that match, as grep shows them. No I/O.
//!
//! Of the lines that do not match, the last ones are kept until a line matches, which they then precede. The lines
//! after a match are shown as they come.

use crate::line::{Line, Role};
use daemontools::tai64::Tai64N;
use std::collections::VecDeque;

/// How many lines are shown before and after each line that matches.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Around {
    pub before: u64,
    pub after: u64,
}

impl Around {
    /// Whether there are any.
    pub fn is_any(self) -> bool {
        self.before > 0 || self.after > 0
    }
}

/// What becomes of a line, and of all its pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Match,
    After,
    /// The line is kept, as one after it may match.
    Kept,
    LeftOut,
}

/// How many bytes of lines before a match are kept. If they have more, the first of them are not shown.
const MOST: usize = 2 << 20;

#[derive(Debug)]
struct KeptLine {
    time: Tai64N,
    bytes: Vec<u8>,
    stamp: usize,
    begins: bool,
    ends: bool,
    gap: bool,
}

/// What is known of the lines around the position of a reader.
#[derive(Debug)]
pub struct Context {
    around: Around,
    kept: VecDeque<KeptLine>,
    /// How many lines begin in `kept`, and how many bytes they have.
    begun: u64,
    size: usize,
    /// How many lines are still to be shown after the last match.
    owed: u64,
    /// Whether a line was shown, and whether one was left out since.
    is_any_shown: bool,
    is_left_out: bool,
}

impl Context {
    /// Nothing was read yet.
    pub fn new(around: Around) -> Context {
        let kept = VecDeque::new();
        Context { around, kept, begun: 0, size: 0, owed: 0, is_any_shown: false, is_left_out: false }
    }

    /// How many lines may be kept before a match.
    pub fn before(&self) -> u64 {
        self.around.before
    }

    /// How many lines are still to be shown after the last match.
    #[inline]
    pub fn owed(&self) -> u64 {
        self.owed
    }

    /// What becomes of a line that begins. `is_match`: whether it was asked for.
    #[inline]
    pub fn begin(&mut self, is_match: bool) -> Fate {
        if is_match {
            self.owed = self.around.after;
            Fate::Match
        } else if self.owed > 0 {
            self.owed -= 1;
            Fate::After
        } else if self.around.before > 0 {
            Fate::Kept
        } else {
            self.leave_out();
            Fate::LeftOut
        }
    }

    /// Takes in that a line is not shown.
    #[inline]
    pub fn leave_out(&mut self) {
        self.is_left_out = self.around.is_any();
    }

    /// Takes in that the next line to be shown has been found. Returns whether lines were left out before it, unless
    /// kept lines come first.
    #[inline]
    pub fn found(&mut self) -> bool {
        if !self.around.is_any() {
            return false;
        }
        let gap = std::mem::take(&mut self.is_left_out) && self.is_any_shown;
        self.is_any_shown = true;
        match self.kept.front_mut() {
            Some(first) => {
                first.gap = gap;
                false
            }
            None => gap,
        }
    }

    /// Keeps a line, or a piece of one.
    pub fn keep(&mut self, line: Line) {
        // Without the beginning of a line, its rest is nothing.
        if !line.begins && self.kept.back().is_none_or(|last| last.ends) {
            return;
        }
        let Line { time, stamp, text, begins, ends, .. } = line;
        self.begun += u64::from(begins);
        self.size += stamp.len() + text.len();
        self.kept.push_back(KeptLine {
            time,
            bytes: [stamp, text].concat(),
            stamp: stamp.len(),
            begins,
            ends,
            gap: false,
        });
        while self.begun > self.around.before || (self.size > MOST && !self.kept.is_empty()) {
            self.leave_out();
            self.take();
            while self.kept.front().is_some_and(|line| !line.begins) {
                self.take();
            }
        }
    }

    /// Whether any line is kept.
    #[inline]
    pub fn has_kept(&self) -> bool {
        !self.kept.is_empty()
    }

    /// The first line that is kept.
    pub fn first(&self) -> Option<Line<'_>> {
        let KeptLine { time, bytes, stamp, begins, ends, gap } = self.kept.front()?;
        let (stamp, text) = bytes.split_at_checked(*stamp)?;
        Some(Line { time: *time, stamp, text, begins: *begins, ends: *ends, role: Role::Before, gap: *gap })
    }

    /// Takes the first line that is kept out.
    pub fn take(&mut self) {
        if let Some(first) = self.kept.pop_front() {
            self.begun -= u64::from(first.begins);
            self.size -= first.bytes.len();
        }
    }

    /// Forgets the lines that are kept.
    pub fn forget(&mut self) {
        self.kept.clear();
        (self.begun, self.size) = (0, 0);
        self.leave_out();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::tai64::Tai64;

    /// What is shown of lines, of which those with an `x` match: `--` for a gap.
    fn shown(around: Around, texts: &[&str]) -> String {
        let mut context = Context::new(around);
        let mut shown = Vec::new();
        for text in texts {
            let line = Line { time: Tai64N(Tai64(1), 2), text: text.as_bytes(), ..Line::default() };
            match context.begin(text.contains('x')) {
                Fate::Kept => context.keep(line),
                Fate::LeftOut => {}
                Fate::Match | Fate::After => {
                    let gap = context.found();
                    while let Some(first) = context.first() {
                        shown.extend(first.gap.then(|| "--".to_string()));
                        shown.push(String::from_utf8_lossy(first.text).into_owned());
                        context.take();
                    }
                    shown.extend(gap.then(|| "--".to_string()));
                    shown.push((*text).to_string());
                }
            }
        }
        shown.join(" ")
    }

    #[test]
    fn lines_around_matches_are_shown_once_and_in_groups() {
        let lines = ["a", "b", "1x", "c", "d", "e", "f", "2x", "3x", "g", "h", "i"];
        for (before, after, expected) in [
            (0, 0, "1x 2x 3x"),
            (1, 0, "b 1x -- f 2x 3x"),
            (0, 1, "1x c -- 2x 3x g"),
            (1, 1, "b 1x c -- f 2x 3x g"),
            (2, 2, "a b 1x c d e f 2x 3x g h"),
            (3, 0, "a b 1x -- d e f 2x 3x"),
            (0, 4, "1x c d e f 2x 3x g h i"),
            (99, 0, "a b 1x c d e f 2x 3x"),
        ] {
            assert_eq!(shown(Around { before, after }, &lines), expected, "{before} {after}");
        }
    }

    #[test]
    fn no_more_is_kept_than_there_is_memory_for() {
        let mut context = Context::new(Around { before: 100, after: 0 });
        let piece = vec![b'x'; MOST / 2];
        let line = |begins, ends| Line { text: &piece, begins, ends, ..Line::default() };
        context.keep(line(true, true));
        context.keep(line(true, true));
        assert_eq!((context.begun, context.size), (2, MOST));
        // The first line goes.
        context.keep(line(true, false));
        assert_eq!((context.begun, context.size), (2, MOST));
        // A line that is too long for itself goes as a whole.
        for _ in 0..4 {
            context.keep(line(false, false));
        }
        context.keep(line(false, true));
        assert_eq!((context.begun, context.size, context.kept.len()), (0, 0, 0));
        context.keep(Line { text: b"next", ..Line::default() });
        assert_eq!(context.begun, 1);
    }
}
