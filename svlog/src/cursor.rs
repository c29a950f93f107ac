//! Where in the lines of a log a reader stands: which line comes next, at which time it was logged, in which file it
//! begins, and whether it was asked for.
//!
//! A line without a stamp is of the time of the line before it in its file; before the first stamp of a file lines
//! are of the time of the file itself, unless a stamp nearby is earlier.

use crate::lines::{Joint, Lines, Piece};
use crate::stamp::{self, Stamp};
use daemontools::tai64::{self, Tai64N};
use regex::bytes::Regex;

/// Which lines are asked for.
#[derive(Debug, Default)]
pub struct Selection {
    pub since: Option<Tai64N>,
    pub until: Option<Tai64N>,
    pub pattern: Option<Regex>,
}

impl Selection {
    /// Whether only lines of some time are asked for.
    pub fn has_bounds(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// Whether a time is later than all that are asked for.
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
    /// What comes behind the stamp, without the newline.
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

/// A place in the lines of a log.
pub struct Cursor<'a> {
    selection: &'a Selection,
    /// What was read.
    pub lines: Lines,
    found: Option<Found>,
    /// Whether the piece taken last did not end its line; and whether that line was asked for.
    within_line: Option<bool>,
    /// Lines before this are passed over unread, where that can be.
    seek: Option<Tai64N>,
    /// Lines up to this stamp were shown when they lay in a file that is gone.
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
    /// Before the first line.
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

    /// Looks for the next piece that was asked for in what was read: its time. `at_end`, nothing will come behind that.
    /// `time_of_file` tells the time of the file read last.
    pub fn find(&mut self, at_end: bool, time_of_file: impl Fn() -> Tai64N) -> Option<Tai64N> {
        while self.found.is_none() {
            let piece = self.lines.piece(at_end)?;
            self.consider(piece, &time_of_file);
        }
        self.found.map(|found| found.time)
    }

    /// What [`Cursor::find`] has found.
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

    /// What was found was shown.
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

    /// The next line begins in the file read last.
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
            // A later one may be earlier: the clock may have been set back in between.
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

    /// In which of the files read the line begins that [`Cursor::find`] has found: 1 is the first.
    pub fn file_number(&self) -> u64 {
        self.line_file
    }

    /// The last stamp of all.
    pub fn last_stamp(&self) -> Option<Tai64N> {
        self.last
    }

    /// Whether the file read last has a stamp that is not too late.
    pub fn is_in_time(&self) -> bool {
        self.in_time
    }

    /// The moment before which lines may be passed over unread.
    pub fn seek(&self) -> Option<Tai64N> {
        self.seek
    }

    /// No line is passed over unread.
    pub fn seek_nothing(&mut self) {
        self.seek = None;
    }

    /// The lines that end with what was read last have these stamps now.
    pub fn take_stamps(&mut self, now: &[u8]) {
        let stamps = now.split(|byte| *byte == b'\n').skip(1).filter_map(stamp::of);
        self.last = stamps.last().map(|stamp| stamp.time).or(self.last);
    }

    /// The file read last, which is `current`, was just written to: its time is a later one.
    pub fn written_to(&mut self) {
        if self.line_file == self.begun {
            self.file_time = None;
        }
    }

    /// Lines up to the last stamp were shown, and may come once more, changed by a processor.
    pub fn skip_what_was_shown(&mut self) {
        self.shown_up_to = self.last;
    }

    /// No processor has changed the lines that come: all of them are to be shown.
    pub fn skip_nothing(&mut self) {
        self.shown_up_to = None;
    }

    /// What is read from now on is of the next file, whose bytes may still belong to the file before.
    pub fn leave_file(&mut self, time_of_file: impl Fn() -> Tai64N) {
        if !self.lines.is_empty() && self.carried.is_none() {
            // A line that goes on in the next file is of the time of the one it begins in.
            self.time_before_stamps(time_of_file);
        }
        self.in_time = false;
        self.begun += 1;
    }

    /// What is read from now on is the next file's own; whether a line begins with it.
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

    /// The file read last is read from its start: what was read of it and not shown is gone.
    pub fn begin_again(&mut self) {
        self.lines.take_back(usize::MAX);
        self.lines.next_file(Joint::Ends);
        if self.lines.is_empty() {
            self.within_line = None;
        }
    }
}
