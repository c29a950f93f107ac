//! The position of a reader in the lines of a log: which line comes next, when it was logged, in which file it begins,
//! and whether it was asked for.
//!
//! A line without a stamp has the time of the line before it in its file. Lines before the first stamp of a file have
//! the time of the file itself, unless a stamp nearby is earlier.

use crate::lines::{Joint, Lines, Piece};
use crate::stamp::{self, Stamp};
use daemontools::tai64::{self, Tai64N};
use regex::bytes::Regex;

/// The lines that the user asks for.
#[derive(Debug, Default)]
pub struct Selection {
    pub since: Option<Tai64N>,
    pub until: Option<Tai64N>,
    pub pattern: Option<Regex>,
}

impl Selection {
    /// Whether the user asks only for lines of some time.
    pub fn has_bounds(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// Whether a time is later than all times that the user asks for.
    pub fn is_too_late(&self, time: Tai64N) -> bool {
        self.until.is_some_and(|until| time > until)
    }

    fn admits(&self, time: Tai64N, text: &[u8]) -> bool {
        self.since.is_none_or(|since| time >= since)
            && !self.is_too_late(time)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
    }
}

/// A line, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The time in the line's stamp, or else that of the line before it, or of its file.
    pub time: Tai64N,
    /// Whether the line has a stamp.
    pub stamped: bool,
    /// The text behind the stamp, without the newline.
    pub text: &'a [u8],
    /// Whether the line begins, and ends, with this piece.
    pub begins: bool,
    pub ends: bool,
}

#[derive(Debug, Clone, Copy)]
struct Found {
    piece: Piece,
    stamp: usize,
    time: Tai64N,
}

/// A position in the lines of a log.
pub struct Cursor<'a> {
    selection: &'a Selection,
    /// The bytes that were read and not yet taken.
    pub lines: Lines,
    found: Option<Found>,
    /// Whether the piece that was taken last did not end its line, and whether that line was asked for.
    within_line: Option<bool>,
    /// Lines before this moment are skipped without being read, if that is possible.
    seek: Option<Tai64N>,
    /// Lines up to this stamp were shown while they lay in a file that is gone now.
    shown_up_to: Option<Tai64N>,
    /// How many files were begun, and in which of them the next line begins.
    begun: u64,
    line_file: u64,
    /// The last stamp in this file; the last of all; the time of lines before the first stamp.
    carried: Option<Tai64N>,
    last: Option<Tai64N>,
    file_time: Option<Tai64N>,
    /// Whether this file has a stamp that is not too late.
    in_time: bool,
}

impl<'a> Cursor<'a> {
    /// A position before the first line.
    pub fn new(selection: &'a Selection) -> Cursor<'a> {
        Cursor {
            selection,
            lines: Lines::new(),
            found: None,
            within_line: None,
            seek: selection.since,
            shown_up_to: None,
            begun: 0,
            line_file: 0,
            carried: None,
            last: None,
            file_time: None,
            in_time: false,
        }
    }

    /// Looks in the bytes that were read for the next piece that was asked for, and returns its time. `at_end`: nothing
    /// will follow these bytes. `time_of_file` returns the time of the file that was read last.
    pub fn find(&mut self, at_end: bool, time_of_file: impl Fn() -> Tai64N) -> Option<Tai64N> {
        while self.found.is_none() {
            let piece = self.lines.piece(at_end)?;
            self.consider(piece, &time_of_file);
        }
        self.found.map(|found| found.time)
    }

    /// The piece that [`Cursor::find`] has found.
    pub fn line(&self) -> Option<Line<'_>> {
        let found = self.found?;
        Some(Line {
            time: found.time,
            stamped: found.stamp > 0,
            text: &self.lines.text(found.piece)[found.stamp..],
            begins: self.within_line.is_none(),
            ends: found.piece.ends,
        })
    }

    /// Takes in that the piece that was found has been shown.
    pub fn take(&mut self) {
        if let Some(found) = self.found.take() {
            self.pass(found.piece, true);
        }
    }

    fn pass(&mut self, piece: Piece, asked_for: bool) {
        let in_last_file = self.lines.take(piece);
        self.within_line = (!piece.ends).then_some(asked_for);
        if piece.ends && in_last_file && self.line_file != self.begun {
            self.line_begins_in_file();
        }
    }

    /// Takes in that the next line begins in the file that was read last.
    fn line_begins_in_file(&mut self) {
        self.line_file = self.begun;
        self.carried = None;
        self.file_time = None;
    }

    fn consider(&mut self, piece: Piece, time_of_file: impl Fn() -> Tai64N) {
        if let Some(asked_for) = self.within_line {
            let time = self.carried.or(self.file_time).unwrap_or_else(tai64::now);
            self.decide(Found { piece, stamp: 0, time }, asked_for);
            return;
        }
        let stamp = stamp::of(self.lines.text(piece));
        let time = match stamp {
            Some(Stamp { time, .. }) => time,
            None => self.carried.unwrap_or_else(|| self.time_before_stamps(time_of_file)),
        };
        if stamp.is_some() {
            (self.carried, self.last) = (Some(time), Some(time));
            // A line further on may have an earlier stamp, if the clock was set back in between.
            self.in_time |= !self.selection.is_too_late(time);
        }
        let length = stamp.map_or(0, |stamp| stamp.length);
        let text = &self.lines.text(piece)[length..];
        let asked_for = self.selection.admits(time, text) && self.shown_up_to.is_none_or(|shown| time > shown);
        self.decide(Found { piece, stamp: length, time }, asked_for);
    }

    fn decide(&mut self, found: Found, asked_for: bool) {
        if asked_for {
            (self.seek, self.shown_up_to) = (None, None);
            self.found = Some(found);
        } else {
            self.pass(found.piece, false);
        }
    }

    /// The time of lines before the first stamp of a file.
    fn time_before_stamps(&mut self, time_of_file: impl Fn() -> Tai64N) -> Tai64N {
        *self.file_time.get_or_insert_with(|| {
            let own = time_of_file();
            let lines = self.lines.rest().split(|byte| *byte == b'\n');
            lines.filter_map(stamp::of).next().map_or(own, |stamp| own.min(stamp.time))
        })
    }

    /// The number of the file in which the line begins that [`Cursor::find`] has found: the first file that was read is
    /// 1.
    pub fn file_number(&self) -> u64 {
        self.line_file
    }

    /// The last stamp of all files.
    pub fn last_stamp(&self) -> Option<Tai64N> {
        self.last
    }

    /// Whether the file read last has a stamp that is not too late.
    pub fn is_in_time(&self) -> bool {
        self.in_time
    }

    /// The moment before which lines may be skipped without being read.
    pub fn seek(&self) -> Option<Tai64N> {
        self.seek
    }

    /// From now on no line is skipped without being read.
    pub fn seek_nothing(&mut self) {
        self.seek = None;
    }

    /// Takes in that the lines that were read last have these stamps now.
    pub fn take_stamps(&mut self, now: &[u8]) {
        let stamps = now.split(|byte| *byte == b'\n').skip(1).filter_map(stamp::of);
        self.last = stamps.last().map(|stamp| stamp.time).or(self.last);
    }

    /// Takes in that the file that was read last, `current`, has just been written to, so that its time is later.
    pub fn written_to(&mut self) {
        if self.line_file == self.begun {
            self.file_time = None;
        }
    }

    /// Takes in that lines up to the last stamp were shown, and may come again, changed by a processor.
    pub fn skip_what_was_shown(&mut self) {
        self.shown_up_to = self.last;
    }

    /// Takes in that no processor has changed the lines that come, so that all of them must be shown.
    pub fn skip_nothing(&mut self) {
        self.shown_up_to = None;
    }

    /// Takes in that the bytes from now on are of the next file, but may still belong to a line of the file before.
    pub fn leave_file(&mut self, time_of_file: impl Fn() -> Tai64N) {
        if !self.lines.is_empty() && self.carried.is_none() {
            // A line that goes on in the next file has the time of the file in which it begins.
            self.time_before_stamps(time_of_file);
        }
        self.in_time = false;
        self.begun += 1;
    }

    /// Takes in that the bytes from now on are the next file's own, and whether a line begins with them.
    pub fn begin_file(&mut self, joint: Joint) -> bool {
        self.lines.next_file(joint);
        if !self.lines.is_empty() {
            return false;
        }
        if joint == Joint::Ends {
            self.within_line = None;
        }
        if self.within_line.is_none() {
            self.line_begins_in_file();
        }
        true
    }

    /// Begins the file that was read last from its start. Bytes of it that were read and not shown are forgotten.
    pub fn begin_again(&mut self) {
        self.lines.take_back(usize::MAX);
        self.lines.next_file(Joint::Ends);
        if self.lines.is_empty() {
            self.within_line = None;
        }
    }
}
