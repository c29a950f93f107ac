//! One log: the files of a directory in their order, as lines with their times.
//!
//! What was read of `current` may be cut off and written again: what a killed multilog was writing, the next one
//! writes once more, the same lines with later stamps, so that they end where they ended before. From there we go on.
//! Whatever else becomes of the bytes read last, somebody else has done it, and the file is read from its start.
//! The two are told apart by the lock: a multilog opens it before it cuts, and cuts before it writes.

use crate::files::{Files, Following, Relation};
use crate::folder::{Folder, LogFile, Look, Place};
use daemontools::logdir::CURRENT;
use daemontools::tai64::{self, Tai64N};
use daemontools::{Unable, report};
use regex::bytes::Regex;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use svlog::bisect::{self, ReadAt};
use svlog::lines::{Joint, Lines, Piece};
use svlog::stamp::{self, Stamp};
use svlog::tail::{self, Now, TAIL, Tail};

/// Which lines are asked for.
#[derive(Debug, Default)]
pub struct Selection {
    pub since: Option<Tai64N>,
    pub until: Option<Tai64N>,
    pub pattern: Option<Regex>,
}

/// What is there to be shown next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A line, or a piece of one, of this time.
    Line(Tai64N),
    /// Nothing until the directory changes.
    Wait,
    /// `current` is not what it was: to be asked again once it is known whether a multilog was started.
    Doubt,
    /// Nothing any more.
    End,
}

/// What becomes of a log at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Once,
    Follow,
}

/// A line, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its own, or that of the line or the file before it.
    pub time: Tai64N,
    /// Whether it has one of its own.
    pub stamped: bool,
    /// What comes behind the stamp, without newline.
    pub text: &'a [u8],
    /// Whether the line begins, and ends, with this piece.
    pub begins: bool,
    pub ends: bool,
}

/// A log being read.
pub struct Source<'a> {
    folder: &'a Folder,
    /// It was said that its path leads elsewhere.
    is_elsewhere: bool,
    selection: &'a Selection,
    mode: Mode,
    file: Option<LogFile>,
    /// Those that come after it.
    files: Files<'a>,
    /// Whether `current` was found to have another name, so that a last look at its end is enough.
    leaving: bool,
    /// Whether the file could not be read to its end, so that its last line is not whole.
    torn: bool,
    /// Lines before this are passed over unread, where that can be.
    seek: Option<Tai64N>,
    /// Lines up to this stamp were shown when they lay in a file that is gone.
    seen: Option<Tai64N>,
    /// Whether this file has a stamp that is not too late.
    in_time: bool,
    lines: Lines,
    /// What was read last of the file.
    tail: Tail,
    restart: Restart,
    doubted: bool,
    /// So much of what was read is to come once more, in the next file.
    ahead: u64,
    at_end: bool,
    done: bool,
    found: Option<Found>,
    /// Whether the piece taken last did not end its line; and whether that line was asked for.
    within_line: Option<bool>,
    /// How many files were begun, and in which of them the next line begins.
    begun: u64,
    line_file: u64,
    /// The last stamp in this file; the last of all; the time of lines before the first stamp.
    carried: Option<Tai64N>,
    last: Option<Tai64N>,
    file_time: Option<Tai64N>,
    /// Whether something could not be read.
    pub failed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Found {
    piece: Piece,
    stamp: usize,
    time: Tai64N,
}

/// Whether a multilog that was started may not have cut `current` yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restart {
    /// It has done so, or had no need to.
    Over,
    /// It was started.
    Begun,
    /// The end was reached since: what is written behind that is written after the cut.
    AtEnd,
}

/// Whether reading on brought anything.
enum More {
    Bytes,
    Wait,
    Doubt,
    End,
}

impl<'a> Source<'a> {
    /// From the first line that was asked for.
    pub fn new(folder: &'a Folder, selection: &'a Selection, mode: Mode) -> Source<'a> {
        Source {
            folder,
            is_elsewhere: false,
            selection,
            mode,
            file: None,
            files: Files::new(folder, selection.since),
            leaving: false,
            torn: false,
            seek: selection.since,
            seen: None,
            in_time: false,
            lines: Lines::new(),
            tail: Tail::new(),
            restart: Restart::Over,
            doubted: false,
            ahead: 0,
            at_end: false,
            done: false,
            found: None,
            within_line: None,
            begun: 0,
            line_file: 0,
            carried: None,
            last: None,
            file_time: None,
            failed: false,
        }
    }

    /// From where this file, one of those that were looked at, now stands.
    pub fn starting_in(&mut self, file: LogFile, look: &Look) {
        self.files.begin_after(&file.place, look);
        self.seek = None;
        self.enter(file, Joint::MayGoOn);
    }

    /// Something changed in its directory: says once if its path leads elsewhere since. What is written there is another
    /// log, which is not followed. True if the directory may be about to go: then this is to be asked again, as nothing
    /// tells that a directory was removed whose files went before, and which we have open.
    pub fn directory_changed(&mut self) -> bool {
        if !self.is_elsewhere && self.folder.is_elsewhere() {
            self.is_elsewhere = true;
            let words = b" was moved or removed: what is logged in its place is shown by another svlog";
            report::warning(&[self.folder.path().as_bytes(), words]);
        }
        !self.is_elsewhere && self.folder.id_of(CURRENT.as_bytes()).is_none()
    }

    /// A multilog was started in the directory.
    pub fn multilog_started(&mut self) {
        self.restart = Restart::Begun;
    }

    /// In which of the files read the line begins that [`Source::next`] has found: 1 is the first.
    pub fn file_number(&self) -> u64 {
        self.line_file
    }

    /// Finds the next piece that was asked for.
    pub fn next(&mut self) -> Next {
        loop {
            if let Some(found) = self.found {
                return Next::Line(found.time);
            }
            if self.done {
                return Next::End;
            }
            match self.lines.piece(self.at_end) {
                Some(piece) => self.consider(piece),
                None => match self.more() {
                    More::Bytes => {}
                    // Who has put a FIFO or the like there can make us wait for ever for what never comes.
                    More::Wait if !self.folder.is_foreign() => return Next::Wait,
                    More::Doubt => return Next::Doubt,
                    More::Wait | More::End => {
                        self.failed |= self.folder.is_foreign();
                        self.done = self.at_end;
                        self.at_end = true;
                    }
                },
            }
        }
    }

    /// What [`Source::next`] has found.
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

    /// It was shown.
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

    fn consider(&mut self, piece: Piece) {
        if let Some(asked_for) = self.within_line {
            let time = self.carried.or(self.file_time).unwrap_or_else(tai64::now);
            self.decide(Found { piece, stamp: 0, time }, asked_for);
            return;
        }
        let stamp = stamp::of(self.lines.text(piece));
        let time = match stamp {
            Some(Stamp { time, .. }) => time,
            None => self.carried.unwrap_or_else(|| self.time_of_file()),
        };
        if stamp.is_some() {
            (self.carried, self.last) = (Some(time), Some(time));
            // A later one may be earlier: the clock may have been set back in between.
            self.in_time |= !self.is_too_late(time);
        }
        let length = stamp.map_or(0, |stamp| stamp.length);
        let text = &self.lines.text(piece)[length..];
        let asked_for = self.selection.admits(time, text) && self.seen.is_none_or(|seen| time > seen);
        self.decide(Found { piece, stamp: length, time }, asked_for);
    }

    fn decide(&mut self, found: Found, asked_for: bool) {
        if asked_for {
            (self.seek, self.seen) = (None, None);
            self.found = Some(found);
        } else {
            self.pass(found.piece, false);
        }
    }

    fn is_too_late(&self, time: Tai64N) -> bool {
        self.selection.until.is_some_and(|until| time > until)
    }

    /// The time of lines before the first stamp of a file: the file's, unless a stamp nearby is earlier.
    fn time_of_file(&mut self) -> Tai64N {
        *self.file_time.get_or_insert_with(|| {
            let own = self.file.as_ref().map_or_else(tai64::now, LogFile::time);
            let lines = self.lines.rest().split(|byte| *byte == b'\n');
            lines.filter_map(stamp::of).next().map_or(own, |stamp| own.min(stamp.time))
        })
    }

    fn more(&mut self) -> More {
        let again = self.take_back_stamp();
        let read = match &mut self.file {
            Some(file) => file.read(self.lines.room()),
            None => return self.next_file(),
        };
        match read {
            Ok(length) if self.has_skipped() || self.is_still_there(length) => self.filled(length, again),
            Ok(length) => self.replaced(length),
            Err(error) if error.kind() == ErrorKind::Interrupted => More::Bytes,
            Err(error) => {
                self.unreadable(&error);
                self.end_of_file()
            }
        }
    }

    /// Whether there was a hole before what was read last: what came before it cannot be looked for there.
    fn has_skipped(&mut self) -> bool {
        let skipped = self.file.as_mut().is_some_and(|file| std::mem::take(&mut file.has_skipped));
        if skipped {
            self.tail = Tail::new();
        }
        skipped
    }

    fn unreadable(&mut self, error: &std::io::Error) {
        let path = self.folder.path_of(self.file.as_ref().map_or(b"", |file| file.place.name()));
        match error.raw_os_error() {
            Some(_) => Unable::new("read", path, report::errno_of(error)).warn(),
            None => report::warning(&[path.as_bytes(), b" ", why(error), b": the rest is not shown"]),
        }
        self.torn = true;
        self.failed = true;
    }

    /// A stamp that is not whole is read again with the rest of it: the rest may be another's by then.
    fn take_back_stamp(&mut self) -> usize {
        let unfinished = if self.follows() { self.lines.unfinished() } else { 0 };
        let in_file = self.file.as_ref().is_some_and(|file| file.offset >= unfinished as u64);
        if unfinished >= stamp::LONGEST || !in_file {
            return 0;
        }
        self.take_back(unfinished);
        unfinished
    }

    fn take_back(&mut self, length: usize) {
        self.lines.take_back(length);
        self.tail.take_back(length);
        self.file.iter_mut().for_each(|file| file.offset -= length as u64);
    }

    fn follows(&self) -> bool {
        self.mode == Mode::Follow && self.file.as_ref().is_some_and(|file| file.plain().is_some())
    }

    /// Whether what was read before the last `length` bytes has not become something else.
    fn is_still_there(&mut self, length: usize) -> bool {
        let Some((plain, offset)) = self.file.as_ref().and_then(|file| Some((file.plain()?, file.offset))) else {
            return true;
        };
        let offset = offset - length as u64;
        let before = self.tail.before(offset);
        let (mut now, length) = ([0; TAIL], before.len());
        let now = &mut now[..length];
        // What is cut off is noticed at the end.
        if length == 0 || !plain.read_at(now, offset - length as u64).is_ok_and(|read| read == length) {
            return true;
        }
        match tail::compare(before, now) {
            Now::Same => true,
            Now::Restamped if self.restart != Restart::Over => {
                let stamps = now.split(|byte| *byte == b'\n').skip(1).filter_map(stamp::of);
                self.last = stamps.last().map(|stamp| stamp.time).or(self.last);
                self.tail.set(now);
                true
            }
            Now::Restamped | Now::Other => false,
        }
    }

    /// So much was read, so much of it once more.
    fn filled(&mut self, length: usize, again: usize) -> More {
        self.lines.filled(length);
        if self.follows() {
            let rest = self.lines.rest();
            self.tail.add(&rest[rest.len() - length..]);
        }
        if length <= again {
            return self.end_of_file();
        }
        self.doubted = false;
        if self.restart == Restart::AtEnd {
            self.restart = Restart::Over;
        }
        // It was just written to.
        if self.line_file == self.begun && self.file.as_ref().is_some_and(|file| file.place == Place::Current) {
            self.file_time = None;
        }
        More::Bytes
    }

    fn end_of_file(&mut self) -> More {
        let Some(file) = &mut self.file else { return More::End };
        let too_late = |time: Tai64N| self.selection.until.is_some_and(|until| time > until);
        match (&file.place, self.mode) {
            // A file with nothing in time tells that what comes after it is later, unless names tell otherwise.
            (Place::Finished(finished), _)
                if too_late(finished.label) && !self.in_time && self.files.rises_after(finished) =>
            {
                More::End
            }
            (Place::Finished(_) | Place::Previous | Place::Processed, _) => self.next_file(),
            (Place::Current, Mode::Once) => More::End,
            (Place::Current, Mode::Follow) => {
                let is_current = self.folder.id_of(CURRENT.as_bytes()) == Some(file.id);
                let length = file.length();
                if length < file.offset {
                    self.cut_to(length, is_current)
                } else if is_current {
                    self.doubted = false;
                    if self.restart == Restart::Begun {
                        self.restart = Restart::AtEnd;
                    }
                    if self.last.is_some_and(too_late) { More::End } else { More::Wait }
                } else {
                    // What was written between the last reading and the rotation is still to be read.
                    if std::mem::replace(&mut self.leaving, true) { self.next_file() } else { More::Bytes }
                }
            }
        }
    }

    /// `current` is shorter than what was read of it.
    fn cut_to(&mut self, length: u64, is_current: bool) -> More {
        let cut_off = self.file.as_ref().map_or(0, |file| file.offset - length);
        match usize::try_from(cut_off) {
            // Nobody has seen it: multilog, whose disk was full, wants whole lines.
            Ok(unseen) if unseen <= self.lines.unfinished() => {
                self.take_back(unseen);
                More::Bytes
            }
            _ if self.restart == Restart::Over => self.replaced(0),
            _ if is_current => {
                self.doubted = false;
                More::Wait
            }
            _ => {
                self.ahead = cut_off;
                self.next_file()
            }
        }
    }

    /// The file has become another one, of which `length` bytes were read.
    fn replaced(&mut self, length: usize) -> More {
        self.file.iter_mut().for_each(|file| file.offset -= length as u64);
        if !std::mem::replace(&mut self.doubted, true) {
            return More::Doubt;
        }
        self.doubted = false;
        let path = self.folder.path_of(CURRENT.as_bytes());
        report::warning(&[path.as_bytes(), b" was truncated: read from its start"]);
        self.file.iter_mut().for_each(|file| file.offset = 0);
        self.tail = Tail::new();
        self.lines.take_back(usize::MAX);
        self.lines.next_file(Joint::Ends);
        if self.lines.is_empty() {
            self.within_line = None;
        }
        More::Bytes
    }

    /// Goes on to the next file, if there is one.
    fn next_file(&mut self) -> More {
        let Following { file, relation } = match self.files.after(self.file.as_mut()) {
            Ok(following) => following,
            Err(unable) => {
                unable.warn();
                self.failed = true;
                return if self.mode == Mode::Follow { More::Wait } else { More::End };
            }
        };
        self.failed |= self.files.failed;
        match relation {
            Relation::Other => {}
            Relation::Copy => self.ahead = 0,
            // Where a processor has made other bytes of them, the last stamp tells which lines were shown.
            Relation::Gone => (self.ahead, self.seen) = (0, self.last),
        }
        match (file, self.mode) {
            // The bytes read last, and the rest of a line, are the same in both.
            (Some(copy), _) if relation == Relation::Copy => {
                self.leaving = false;
                self.file = Some(copy);
                More::Bytes
            }
            (Some(file), _) => {
                let cut = self.torn || self.file.as_ref().is_some_and(|file| file.place.is_cut());
                self.enter(file, if cut { Joint::Ends } else { Joint::MayGoOn });
                More::Bytes
            }
            (None, Mode::Follow) => {
                self.leaving = false;
                More::Wait
            }
            (None, Mode::Once) => More::End,
        }
    }

    fn enter(&mut self, mut file: LogFile, joint: Joint) {
        if !self.lines.is_empty() && self.carried.is_none() {
            // A line that goes on in the next file is of the time of the one it begins in.
            self.time_of_file();
        }
        (self.leaving, self.torn, self.in_time) = (false, false, false);
        if file.place == Place::Current {
            // No processor has made it of a file that is gone.
            self.seen = None;
        }
        self.begun += 1;
        // What comes once more is not the next file's own, nor is what was begun there.
        let ahead = std::mem::take(&mut self.ahead);
        if ahead > 0 && (file.place == Place::Current || file.length() >= ahead) {
            file.offset = ahead;
            self.file = Some(file);
            return;
        }
        self.tail = Tail::new();
        self.lines.next_file(joint);
        if self.lines.is_empty() {
            if joint == Joint::Ends {
                self.within_line = None;
            }
            if self.within_line.is_none() {
                self.line_begins_in_file();
            }
            if let (Some(moment), Some(plain)) = (self.seek, file.plain()) {
                let length = file.length();
                file.offset = match bisect::begin_for(plain, length, moment) {
                    Ok(Some(start @ 1..)) => start,
                    Ok(None) if file.time() < moment => length,
                    // Reading will tell what is wrong with it.
                    Ok(Some(0) | None) | Err(_) => file.first_line(self.files.before.as_ref()).unwrap_or(0),
                };
                self.files.before = if file.offset == length { file.at(0).ok() } else { None };
            }
        }
        self.file = Some(file);
    }
}

/// What is wrong with a compressed file.
fn why(error: &std::io::Error) -> &'static [u8] {
    match error.kind() {
        ErrorKind::FileTooLarge => b"unpacks to more than 64 MB and a thousand times its length",
        // libzstd's words; its errors have no kinds.
        _ if error.to_string().contains("too much memory") => b"needs more than 8 MB of memory to be unpacked",
        _ => b"is cut short or damaged",
    }
}

impl Selection {
    /// Whether only lines of some time are asked for.
    pub fn has_bounds(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    fn admits(&self, time: Tai64N, text: &[u8]) -> bool {
        self.since.is_none_or(|since| time >= since)
            && self.until.is_none_or(|until| time <= until)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
    }
}
