//! The position of a reader in the lines of a log: which line comes next, when it was logged, in which file it begins,
//! and whether it was asked for.
//!
//! A line without a stamp has the time of the line before it in its file. Lines before the first stamp of a file have
//! the time of the file itself, unless a stamp nearby is earlier.
//!
//! A position is in one of these states, which say what the next bytes are:
//!
//! - *between lines*: a line begins;
//! - *in the beginning of a line*: its bytes were read, and no newline yet. The line waits for its end, which may stand in
//!   the next file; it keeps the time that it has in its own file, and belongs to that file;
//! - *within a line* of which a piece was taken, as it is too long for one: the rest has the fate of the beginning, and is
//!   shown if that was, or left out.
//!
//! When a file is left, the line goes on in the next one, unless that begins with a stamp, or the machine crashed while
//! the line was written ([`FileBoundary`]). Then it ends where its file does. What was said of stamps counts for each file
//! anew: a line that begins in the next file has no time from the file before.
//!
//! `cursor/table.txt` says which lines every event brings in every state; a test holds it against the code.

use crate::context::{Around, Context, Fate};
use crate::line::{Line, Role};
use crate::lines::{FileBoundary, Lines, Piece};
use crate::pattern::{Pattern, Place};
use crate::selection::Selection;
use crate::stamp::{self, Stamp};
use daemontools::tai64::{self, Tai64N};
use memchr::{memchr_iter, memrchr};

#[derive(Debug, Clone, Copy)]
struct FoundPiece {
    piece: Piece,
    stamp: usize,
    time: Tai64N,
    role: Role,
    gap: bool,
}

/// What a search of a block has told of the next line.
#[derive(Debug, Clone, Copy)]
enum BlockSearch {
    Nothing,
    NoMatch,
    /// The line may match at this place, from its beginning on.
    At(Place),
}

/// A position in the lines of a log.
pub struct Cursor<'a> {
    selection: &'a Selection,
    /// What blocks are searched for, and whether a line must be looked at: asked once, not for each line.
    blocks: Option<&'a Pattern>,
    has_conditions: bool,
    /// The bytes that were read and not yet taken.
    pub lines: Lines,
    found: Option<FoundPiece>,
    /// The lines around those that match.
    context: Context,
    /// How many of the next lines that match were not asked for.
    pub surplus: u64,
    /// If the piece that was taken last did not end its line: what becomes of the rest.
    within_line: Option<Fate>,
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
    /// Whether a line begins in this file with a stamp that is not too late.
    in_time: bool,
}

impl<'a> Cursor<'a> {
    /// A position before the first line.
    pub fn new(selection: &'a Selection, room: usize) -> Cursor<'a> {
        Cursor {
            selection,
            blocks: selection.for_blocks(),
            has_conditions: selection.has_conditions(),
            lines: Lines::new(room),
            found: None,
            context: Context::new(selection.around),
            surplus: 0,
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
            let known = self.pass_lines_without_match(&time_of_file);
            let piece = self.lines.piece(at_end)?;
            self.consider(piece, known, &time_of_file);
        }
        self.found.map(|found| found.time)
    }

    /// The piece that [`Cursor::find`] has found. Lines before a match come at its time, so that they stand in front of
    /// it.
    #[inline]
    pub fn line(&self) -> Option<Line<'_>> {
        let found = self.found?;
        if self.context.has_kept() {
            return self.context.first();
        }
        let (stamp, text) = self.lines.text(found.piece).split_at_checked(found.stamp)?;
        Some(Line {
            time: found.time,
            stamp,
            text,
            begins: self.within_line.is_none(),
            ends: found.piece.ends,
            role: found.role,
            gap: found.gap,
        })
    }

    /// Whether a line begins with the piece that [`Cursor::find`] has found.
    pub fn begins(&self) -> bool {
        match self.context.has_kept() {
            true => self.context.first().is_some_and(|before| before.begins),
            false => self.within_line.is_none(),
        }
    }

    /// Takes in that the piece that was found has been shown.
    pub fn take(&mut self) {
        if self.found.is_some() && self.context.has_kept() {
            self.context.take();
        } else if let Some(found) = self.found.take() {
            self.pass(found.piece, if found.role == Role::After { Fate::After } else { Fate::Match });
        }
    }

    /// Shows the next whole lines of this file to `show`, one after the other, until it refuses one. Each of them would
    /// be found by [`Cursor::find`], but this takes much longer. Lines of which more must be known, or that were not
    /// asked for, are left to it.
    pub fn show_run(&mut self, mut show: impl FnMut(Line) -> bool) {
        let is_between = self.found.is_none() && self.within_line.is_none() && self.line_file == self.begun;
        let are_all_shown = !self.has_conditions && !self.selection.around.is_any() && self.surplus == 0;
        if !is_between || !are_all_shown || self.shown_up_to.is_some() {
            return;
        }
        let (mut passed, mut last) = (0, None);
        let whole = self.lines.whole();
        for newline in memchr_iter(b'\n', whole) {
            let line = &whole[passed..newline];
            let stamp = stamp::of(line);
            let stamped = stamp.map(|stamp| stamp.time).or(last);
            // Lines without stamps have the time of a stamp before them in this file.
            let Some(time) = stamped.or(self.carried) else { break };
            let (stamp, text) = line.split_at(stamp.map_or(0, |stamp| stamp.length));
            if !self.selection.is_of_the_time(time) || !show(Line { time, stamp, text, ..Line::default() }) {
                break;
            }
            (passed, last) = (newline + 1, stamped);
        }
        if passed > 0 {
            (self.carried, self.last) = (last.or(self.carried), last.or(self.last));
            (self.in_time, self.seek) = (true, None);
            self.lines.pass(passed);
        }
    }

    fn pass(&mut self, piece: Piece, fate: Fate) {
        let in_last_file = self.lines.take(piece);
        self.within_line = (!piece.ends).then_some(fate);
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

    /// Passes all lines up to the first that may match the pattern, and returns what is known of that one. Only the last
    /// stamp of the lines that are passed is read. The last lines among them that may precede a match are kept.
    fn pass_lines_without_match(&mut self, time_of_file: impl Fn() -> Tai64N) -> BlockSearch {
        let Some(pattern) = self.blocks else { return BlockSearch::Nothing };
        // If the user asks for lines up to some time, a stamp of that time must have been seen in the file.
        let is_known = self.selection.until.is_none() || self.in_time;
        if self.within_line.is_some() || self.line_file != self.begun || !is_known || self.context.owed() > 0 {
            return BlockSearch::Nothing;
        }
        let lines = self.lines.whole();
        let place = pattern.find(lines).filter(|place| place.at < lines.len());
        let passed = place.map_or(lines, |place| &lines[..place.at]);
        let passed = &passed[..memrchr(b'\n', passed).map_or(0, |newline| newline + 1)];
        let length = passed.len();
        let unkept = begin_of_last(passed, self.context.before());
        self.pass_lines(unkept, &time_of_file);
        self.keep_lines(length - unkept, &time_of_file);
        place.map_or(BlockSearch::Nothing, |place| BlockSearch::At(Place { at: place.at - length, ..place }))
    }

    /// Passes this many bytes, which are whole lines.
    fn pass_lines(&mut self, length: usize, time_of_file: impl Fn() -> Tai64N) {
        let passed = &self.lines.rest()[..length];
        let stamp = last_stamp(passed);
        if length > 0 {
            if self.carried.is_none() && stamp::of(self.lines.rest()).is_none() {
                self.time_before_stamps(time_of_file);
            }
            if let Some(stamp) = stamp {
                (self.carried, self.last) = (Some(stamp.time), Some(stamp.time));
            }
            self.context.leave_out();
            self.lines.pass(length);
        }
    }

    /// Keeps the lines in at most this number of bytes.
    fn keep_lines(&mut self, length: usize, time_of_file: impl Fn() -> Tai64N) {
        let left = self.lines.rest().len() - length;
        while self.lines.rest().len() > left
            && let Some(piece) = self.lines.piece(false)
        {
            self.consider(piece, BlockSearch::NoMatch, &time_of_file);
        }
    }

    /// Decides what becomes of a piece.
    fn consider(&mut self, piece: Piece, known: BlockSearch, time_of_file: impl Fn() -> Tai64N) {
        if let Some(fate) = self.within_line {
            let time = self.carried.or(self.file_time).unwrap_or_else(tai64::now);
            self.decide(FoundPiece { piece, stamp: 0, time, role: Role::Match, gap: false }, fate);
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
            self.in_time |= self.line_file == self.begun && !self.selection.is_too_late(time);
        }
        let length = stamp.map_or(0, |stamp| stamp.length);
        let text = &self.lines.text(piece)[length..];
        let is_new = self.selection.is_of_the_time(time) && self.shown_up_to.is_none_or(|shown| time > shown);
        let is_match = || match known {
            BlockSearch::Nothing => !self.has_conditions || self.selection.is_match(text, false),
            BlockSearch::NoMatch => false,
            BlockSearch::At(place) => self.selection.is_match(text, place.is_exact && place.at >= length),
        };
        let mut found = FoundPiece { piece, stamp: length, time, role: Role::Match, gap: false };
        let fate = match is_new {
            true => {
                let is_match = is_match();
                let is_surplus = is_match && self.surplus > 0;
                self.surplus -= u64::from(is_surplus);
                self.context.begin(is_match && !is_surplus)
            }
            false => {
                self.context.leave_out();
                Fate::LeftOut
            }
        };
        if matches!(fate, Fate::Match | Fate::After) {
            found.gap = self.context.found();
        }
        self.decide(found, fate);
    }

    fn decide(&mut self, found: FoundPiece, fate: Fate) {
        match fate {
            Fate::Match => {
                (self.seek, self.shown_up_to) = (None, None);
                self.found = Some(found);
            }
            Fate::After => self.found = Some(FoundPiece { role: Role::After, ..found }),
            Fate::Kept => {
                let (stamp, text) = self.lines.text(found.piece).split_at(found.stamp);
                let (begins, ends) = (self.within_line.is_none(), found.piece.ends);
                self.context.keep(Line { time: found.time, stamp, text, begins, ends, ..Line::default() });
                self.pass(found.piece, fate);
            }
            Fate::LeftOut => self.pass(found.piece, fate),
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

    /// Whether a line begins in the file read last with a stamp that is not too late.
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

    /// Whether the piece that was taken last belongs to a line that was asked for, and did not end it.
    pub fn is_within_line(&self) -> bool {
        matches!(self.within_line, Some(Fate::Match | Fate::After))
    }

    /// Whether lines after the last match are still to be shown.
    pub fn owes_context(&self) -> bool {
        self.context.owed() > 0
    }

    /// From now on lines around those that match are not shown.
    pub fn show_nothing_around(&mut self) {
        self.context = Context::new(Around::default());
    }

    /// Whether no line was begun that goes on.
    pub fn is_between_lines(&self) -> bool {
        self.lines.is_empty() && self.within_line.is_none()
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

    /// Takes in that lines up to this stamp were shown by another svlog.
    pub fn skip_up_to(&mut self, shown: Option<Tai64N>) {
        (self.seek, self.shown_up_to) = (None, shown);
    }

    /// How many bytes before the end of what was read the next line begins. None: it begins in a file before the one
    /// that was read last, or the line that was taken last goes on.
    pub fn ahead(&self) -> Option<usize> {
        (self.line_file == self.begun && self.within_line.is_none()).then(|| self.lines.rest().len())
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
    pub fn begin_file(&mut self, boundary: FileBoundary) -> bool {
        self.lines.next_file(boundary);
        if !self.lines.is_empty() {
            return false;
        }
        if boundary == FileBoundary::Ends {
            self.within_line = None;
        }
        if self.within_line.is_none() {
            self.line_begins_in_file();
        }
        true
    }

    /// Takes in that the file that was read last begins with the rest of a line, which was not asked for.
    pub fn begin_within_line(&mut self) {
        self.within_line = Some(Fate::LeftOut);
    }

    /// Takes in that this stamp is the last one in the file that was read last, before what is read of it.
    pub fn begin_after_stamp(&mut self, stamp: Option<Tai64N>) {
        (self.carried, self.last) = (stamp, stamp);
        self.in_time = stamp.is_some_and(|stamp| !self.selection.is_too_late(stamp));
    }

    /// Begins the file that was read last from its start. Bytes of it that were read and not shown are forgotten.
    pub fn begin_again(&mut self) {
        self.context.forget();
        self.lines.take_back(usize::MAX);
        self.lines.next_file(FileBoundary::Ends);
        if self.lines.is_empty() {
            self.within_line = None;
        }
    }
}

/// The position at which the last lines begin, of which there are so many.
fn begin_of_last(lines: &[u8], count: u64) -> usize {
    let mut begin = lines.len();
    for _ in 0..count {
        match begin.checked_sub(1) {
            Some(end) => begin = memrchr(b'\n', &lines[..end]).map_or(0, |newline| newline + 1),
            None => break,
        }
    }
    begin
}

/// The last stamp in front of one of these lines.
fn last_stamp(lines: &[u8]) -> Option<Stamp> {
    let mut rest = lines;
    while !rest.is_empty() {
        let start = memrchr(b'\n', &rest[..rest.len() - 1]).map_or(0, |newline| newline + 1);
        if let Some(stamp) = stamp::of(&rest[start..]) {
            return Some(stamp);
        }
        rest = &rest[..start];
    }
    None
}

#[cfg(test)]
mod tests;
