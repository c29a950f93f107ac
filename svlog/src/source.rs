//! One log: the files of a directory in their order, as lines with their times.
//!
//! Four parts know one thing each, and a source does what they say. [`Files`] knows which file comes after which,
//! [`Cursor`] knows which line comes next and its time, [`Restart`] knows whether `current` still has the bytes that
//! were read of it, and [`Course`] knows what comes at the end of a file, and when the log is at its end.

use crate::bisect::{self, ReadAt};
use crate::course::{Course, Event, Kind, Mode, Stage, Step};
use crate::cursor::Cursor;
use crate::files::{Files, Following, Relation};
use crate::folder::{Folder, Look};
use crate::kept::Kept;
use crate::line::Line;
use crate::lines::FileBoundary;
use crate::log_file::{LogFile, Place};
use crate::mark::Mark;
use crate::restart::{self, Name, Restart};
use crate::resume;
use crate::selection::Selection;
use crate::stamp;
use crate::tail::{self, Now, TAIL, Tail};
use daemontools::logdir::CURRENT;
use daemontools::tai64::{self, Tai64N, previous_nanosecond};
use daemontools::{Unable, report};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;

/// What a source has to show next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// There is a line, or a piece of one, of this time.
    Line(Tai64N),
    /// There is nothing until the directory changes.
    Wait,
    /// `current` has changed. The source must be asked again once it is known whether a multilog was started.
    Recheck,
    /// There will be nothing more.
    End,
}

/// A log that svlog is reading.
pub struct Source<'a> {
    folder: &'a Folder,
    /// Whether svlog has said that the path of the directory leads elsewhere.
    is_elsewhere: bool,
    selection: &'a Selection,
    course: Course,
    cursor: Cursor<'a>,
    /// The lines that come first.
    kept: Kept,
    file: Option<LogFile>,
    /// The files that come after this one.
    files: Files<'a>,
    /// Whether the file could not be read to its end, so that its last line is not complete.
    is_truncated: bool,
    /// The bytes that were read last of the file.
    tail: Tail,
    restart: Restart,
    /// How many of the first bytes of the next file were already shown.
    already_shown: u64,
    /// The stamp of the line that was taken last, if the position is kept.
    taken: Option<Tai64N>,
    /// Whether something could not be read.
    pub failed: bool,
}

impl<'a> Source<'a> {
    /// Begins with the first line that was asked for.
    pub fn new(folder: &'a Folder, selection: &'a Selection, mode: Mode, room: usize) -> Source<'a> {
        Source {
            folder,
            is_elsewhere: false,
            selection,
            course: Course::new(mode),
            cursor: Cursor::new(selection, room),
            kept: Kept::default(),
            file: None,
            files: Files::new(folder, selection.since),
            is_truncated: false,
            tail: Tail::new(),
            restart: Restart::new(),
            already_shown: 0,
            taken: None,
            failed: false,
        }
    }

    /// Begins at a position that another svlog has kept.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn resume(&mut self, mark: &Mark) -> Result<(), Unable> {
        let look = self.folder.look()?;
        match resume::find(self.folder, &look, mark) {
            Some(file) => self.starting_in(file, &look),
            None if mark.label.is_some() => self.starting_after(mark.after.max(mark.label), None),
            None => self.starting_after(mark.after, mark.last.map(previous_nanosecond)),
        }
        Ok(())
    }

    /// Begins at the current position of this file, which is one of those that were looked at.
    pub fn starting_in(&mut self, file: LogFile, look: &Look) {
        self.files.begin_after(&file.place, look);
        self.cursor.seek_nothing();
        self.enter(file, FileBoundary::MayGoOn);
    }

    /// Begins with the files that were finished after this moment, and with the first line that has a later stamp than
    /// `shown`.
    pub fn starting_after(&mut self, label: Option<Tai64N>, shown: Option<Tai64N>) {
        self.files.begin_after_label(label);
        self.cursor.skip_up_to(shown);
    }

    /// Takes in that a line without an end is not shown: its rest may come, and another svlog begins with it then.
    pub fn show_whole_lines(&mut self) {
        self.course.show_whole_lines();
    }

    /// The position of the next line. None: it is known only when that line is read.
    pub fn mark(&self) -> Option<Mark> {
        let (file, ahead) = (self.file.as_ref()?, self.cursor.ahead()?);
        let offset = file.offset.checked_sub(ahead as u64)?;
        resume::mark(file, offset, self.files.newest(), self.taken).ok()
    }

    /// Takes in that the first lines that match, of which there are so many, were not asked for.
    pub fn show_not_the_first(&mut self, matches: u64) {
        self.cursor.surplus = matches;
    }

    /// Takes in which lines come before those that are read.
    pub fn shows_before(&mut self, kept: Kept) {
        self.kept = kept;
    }

    /// Takes in that something has changed in the directory. If the path of the directory leads elsewhere now, svlog
    /// says so once; the directory there is another log, which svlog does not follow. Returns true if the directory may
    /// be about to be removed. Then the caller must call this again, as the kernel does not report the removal of a
    /// directory whose files were removed before and which svlog has open.
    pub fn directory_changed(&mut self) -> bool {
        if !self.is_elsewhere && self.folder.is_elsewhere() {
            self.is_elsewhere = true;
            let words = b" was moved or removed: what is logged in its place is shown by another svlog";
            report::warning(&[self.folder.path().as_bytes(), words]);
        }
        !self.is_elsewhere && self.folder.id_of(CURRENT.as_bytes()).is_none()
    }

    /// Takes in that a multilog was started in the directory.
    pub fn multilog_started(&mut self) {
        self.restart.step(restart::Event::MultilogStarted);
    }

    /// The number of the file in which the line begins that [`Source::next`] has found: the first file that was read is
    /// 1.
    pub fn file_number(&self) -> u64 {
        self.cursor.file_number()
    }

    /// Finds the next piece that was asked for.
    pub fn next(&mut self) -> Next {
        if let Some(line) = self.kept.first() {
            return Next::Line(line.time);
        }
        loop {
            let stage = self.course.stage();
            if stage == Stage::Done {
                return Next::End;
            }
            if let Some(time) = self.cursor.find(stage == Stage::Ending, time_of(self.file.as_ref())) {
                return Next::Line(time);
            }
            let event = match self.more() {
                Event::Nothing if self.folder.is_foreign() => Event::NothingButForeign,
                event => event,
            };
            self.failed |= matches!(event, Event::NothingButForeign | Event::Over) && self.folder.is_foreign();
            match self.course.step(event) {
                Step::Wait => return Next::Wait,
                Step::Recheck => return Next::Recheck,
                Step::GoOn | Step::NextFile | Step::Begin | Step::GoOnInCopy | Step::AskRestart | Step::End => {}
            }
        }
    }

    /// The line that [`Source::next`] has found.
    #[inline]
    pub fn line(&self) -> Option<Line<'_>> {
        self.kept.first().or_else(|| self.cursor.line())
    }

    /// Whether a line begins with the piece that [`Source::next`] has found.
    pub fn begins(&self) -> bool {
        self.kept.first().map_or_else(|| self.cursor.begins(), |line| line.begins)
    }

    /// Whether the line that was taken last goes on.
    pub fn is_within_line(&self) -> bool {
        match self.kept.first() {
            Some(line) => !line.begins,
            None => self.cursor.is_within_line(),
        }
    }

    /// Whether lines after the last match are still to be shown.
    pub fn owes_context(&self) -> bool {
        self.cursor.owes_context()
    }

    /// Takes in that the line was shown.
    pub fn take(&mut self) {
        if self.course.has_whole_lines() {
            self.taken = self.line().filter(|line| !line.stamp.is_empty()).map(|line| line.time).or(self.taken);
        }
        match self.kept.first() {
            Some(_) => self.kept.take(),
            None => self.cursor.take(),
        }
    }

    /// Shows the next lines to `show`, as far as this can be done at once, until it refuses one.
    pub fn show_run(&mut self, show: impl FnMut(Line) -> bool) {
        // Where the position is kept, it is kept after each line.
        if !self.course.has_whole_lines() && self.kept.first().is_none() {
            self.cursor.show_run(show);
        }
    }

    /// Reads more, in this file or in the next one.
    fn more(&mut self) -> Event {
        let again = self.take_back_stamp();
        let read = match &mut self.file {
            Some(file) => file.read(self.cursor.lines.room()),
            None => return self.next_file(),
        };
        match read {
            Ok(length) => {
                let (now, bytes) = self.compare(length);
                let step = self.restart.step(restart::Event::Read(now));
                if step == restart::Step::TakeStamps {
                    self.cursor.take_stamps(&bytes);
                    self.tail.set(&bytes);
                }
                match step {
                    restart::Step::GoOn | restart::Step::TakeStamps => self.filled(length, again),
                    other => self.perform(other, length),
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Event::More,
            Err(error) => {
                self.unreadable(&error);
                self.end_of_file()
            }
        }
    }

    /// Asks [`Restart`] about `current`, of which `length` bytes were just read, and does what it says.
    fn perform(&mut self, step: restart::Step, length: usize) -> Event {
        use restart::Step;
        match step {
            Step::GoOn | Step::TakeStamps | Step::LookOnce => Event::More,
            Step::TakeBack(unshown) => {
                self.take_back(unshown);
                Event::More
            }
            Step::Recheck => {
                self.file.iter_mut().for_each(|file| file.offset -= length as u64);
                Event::InDoubt
            }
            Step::FromStart => {
                self.read_from_start();
                Event::More
            }
            Step::AllShown if self.cursor.last_stamp().is_some_and(|last| self.selection.is_too_late(last)) => {
                Event::Over
            }
            Step::AllShown | Step::Wait => Event::Nothing,
            Step::NextFile => self.next_file(),
            Step::NextFileAfter(shown) => {
                self.already_shown = shown;
                self.next_file()
            }
        }
    }

    fn unreadable(&mut self, error: &std::io::Error) {
        self.file.iter().for_each(|file| self.folder.complain_of_reading(file, error));
        self.is_truncated = true;
        self.failed = true;
    }

    /// Forgets an incomplete stamp, so that it is read again together with its rest: the rest may belong to another
    /// stamp then.
    fn take_back_stamp(&mut self) -> usize {
        let unfinished = if self.follows() { self.cursor.lines.unfinished() } else { 0 };
        let in_file = self.file.as_ref().is_some_and(|file| file.offset >= unfinished as u64);
        if unfinished >= stamp::LONGEST || !in_file {
            return 0;
        }
        self.take_back(unfinished);
        unfinished
    }

    fn take_back(&mut self, length: usize) {
        self.cursor.lines.take_back(length);
        self.tail.take_back(length);
        self.file.iter_mut().for_each(|file| file.offset -= length as u64);
    }

    fn follows(&self) -> bool {
        self.course.follows() && self.file.as_ref().is_some_and(|file| file.plain().is_some())
    }

    /// Compares the bytes that were read before the last `length` bytes with the bytes that lie there now. Returns the
    /// result, and if the stamps have changed, the bytes that lie there now. If there is nothing to compare, nothing
    /// has changed.
    fn compare(&mut self, length: usize) -> (Now, Vec<u8>) {
        let unchanged = (Now::Same, Vec::new());
        let Some(file) = self.file.as_mut() else { return unchanged };
        if std::mem::take(&mut file.has_skipped) {
            // The bytes before a hole do not lie directly in front of the bytes that were read last.
            self.tail = Tail::new();
            return unchanged;
        }
        let (Some(plain), offset) = (file.plain(), file.offset - length as u64) else { return unchanged };
        let before = self.tail.before(offset);
        let (mut now, length) = ([0; TAIL], before.len());
        let now = &mut now[..length];
        // svlog notices at the end of the file that bytes were cut off.
        if length == 0 || !plain.read_at(now, offset - length as u64).is_ok_and(|read| read == length) {
            return unchanged;
        }
        match tail::compare(before, now) {
            Now::Restamped => (Now::Restamped, now.to_vec()),
            result @ (Now::Same | Now::Other) => (result, Vec::new()),
        }
    }

    /// Takes in that `length` bytes were read, of which `again` bytes had been read before.
    fn filled(&mut self, length: usize, again: usize) -> Event {
        self.cursor.lines.filled(length);
        if self.follows() {
            let rest = self.cursor.lines.rest();
            self.tail.add(&rest[rest.len() - length..]);
        }
        if length <= again {
            return self.end_of_file();
        }
        self.restart.step(restart::Event::MoreCame);
        if self.file.as_ref().is_some_and(|file| file.place == Place::Current) {
            self.cursor.written_to();
        }
        Event::More
    }

    fn end_of_file(&mut self) -> Event {
        let Some(file) = &self.file else { return Event::Over };
        let kind = match &file.place {
            // If no line of a file is of the time asked for, the files after it are later, unless names tell otherwise.
            // A line that has not ended may be of that time, and goes on in the next file.
            Place::Finished(finished)
                if self.selection.is_too_late(finished.label)
                    && !self.cursor.is_in_time()
                    && self.cursor.is_between_lines()
                    && file.offset > 0
                    && self.files.rises_after(finished) =>
            {
                Kind::Last
            }
            Place::Finished(_) | Place::Previous | Place::Processed => Kind::Full,
            Place::Current => Kind::Current,
        };
        match self.course.step(Event::EndOf(kind)) {
            Step::NextFile => self.next_file(),
            Step::AskRestart => {
                let step = self.end_of_current();
                self.perform(step, 0)
            }
            Step::End | Step::GoOn | Step::Begin | Step::GoOnInCopy | Step::Wait | Step::Recheck => Event::Over,
        }
    }

    /// Asks what has become of `current`, which was read to its end.
    fn end_of_current(&mut self) -> restart::Step {
        let Some(file) = &self.file else { return restart::Step::GoOn };
        let is_current = self.folder.id_of(CURRENT.as_bytes()) == Some(file.id);
        let name = if is_current { Name::ThisFile } else { Name::Another };
        let event = match file.offset.checked_sub(file.length()).filter(|cut_off| *cut_off > 0) {
            None => restart::Event::AtEnd(name),
            Some(length) => restart::Event::Cut { length, unshown: self.cursor.lines.unfinished(), name },
        };
        self.restart.step(event)
    }

    /// Begins with another file.
    fn read_from_start(&mut self) {
        let path = self.folder.path_of(CURRENT.as_bytes());
        report::warning(&[path.as_bytes(), b" was truncated: read from its start"]);
        self.file.iter_mut().for_each(|file| file.offset = 0);
        self.tail = Tail::new();
        self.cursor.begin_again();
    }

    /// Goes on to the next file, if there is one.
    fn next_file(&mut self) -> Event {
        let Following { file, relation } = match self.files.after(self.file.as_mut()) {
            Ok(following) => following,
            Err(unable) => {
                unable.warn();
                self.failed = true;
                return match self.course.step(Event::NotLooked) {
                    Step::Wait => Event::Nothing,
                    _ => Event::Over,
                };
            }
        };
        self.failed |= self.files.failed;
        match relation {
            Relation::Other => {}
            Relation::Copy => self.already_shown = 0,
            // If a processor has rewritten the lines, the last stamp tells which of them were shown.
            Relation::Gone => {
                self.already_shown = 0;
                self.cursor.skip_what_was_shown();
            }
        }
        match (self.course.step(Event::Looked(relation, file.is_some())), file) {
            // The bytes read last, and the rest of a line, are the same in both.
            (Step::GoOnInCopy, Some(copy)) => {
                self.restart.step(restart::Event::WentOn);
                self.file = Some(copy);
                Event::More
            }
            (_, Some(file)) => {
                let is_cut = self.is_truncated || self.file.as_ref().is_some_and(|file| file.place.is_cut());
                self.enter(file, if is_cut { FileBoundary::Ends } else { FileBoundary::MayGoOn });
                Event::More
            }
            (Step::Wait, None) => {
                self.restart.step(restart::Event::WentOn);
                Event::Nothing
            }
            (_, None) => Event::Over,
        }
    }

    fn enter(&mut self, mut file: LogFile, boundary: FileBoundary) {
        self.cursor.leave_file(time_of(self.file.as_ref()));
        self.restart.step(restart::Event::WentOn);
        self.is_truncated = false;
        if file.place == Place::Current {
            // This file is not the result of a processor that rewrote a file which is gone.
            self.cursor.skip_nothing();
        }
        // The bytes that were already shown do not belong to the next file, nor does a line that began in this one.
        let shown = std::mem::take(&mut self.already_shown);
        if shown > 0 && (file.place == Place::Current || file.length() >= shown) {
            file.offset = shown;
            self.file = Some(file);
            return;
        }
        self.tail = Tail::new();
        if self.cursor.begin_file(boundary)
            && let Some(moment) = self.cursor.seek()
        {
            self.seek(&mut file, moment);
        }
        self.file = Some(file);
    }

    /// Skips the part of the file that is before a moment.
    fn seek(&mut self, file: &mut LogFile, moment: Tai64N) {
        let Some(plain) = file.plain() else {
            let first = file.first_line(self.files.before.as_ref());
            // The next read(2) reports what is wrong with the file.
            if let Ok(moved) = first.and_then(|first| file.moved_to(first)) {
                *file = moved;
            }
            self.files.before = file.at(0).ok();
            return;
        };
        let length = file.length();
        file.offset = match bisect::begin_for(plain, length, moment) {
            Ok(Some(start @ 1..)) => start,
            Ok(None) if file.time() < moment => length,
            // The next read(2) reports what is wrong with the file.
            Ok(Some(0) | None) | Err(_) => file.first_line(self.files.before.as_ref()).unwrap_or(0),
        };
        self.files.before = if file.offset == length { file.at(0).ok() } else { None };
    }
}

/// The time of the lines in a file that have no stamps.
fn time_of(file: Option<&LogFile>) -> impl Fn() -> Tai64N {
    move || file.map_or_else(tai64::now, LogFile::time)
}
