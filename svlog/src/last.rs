//! Finds the last lines of a log from its end.
//!
//! svlog looks at each file once, from the newest to the oldest, until it has found enough lines: a plain file in
//! windows from its end, each of which ends where the one before begins, and a compressed file from its beginning. So
//! the bytes that it reads grow with the number of lines that are asked for, and never exceed the log.
//!
//! If the user asks for all lines, those that were found are read once more to be shown. If he asks for lines that
//! match, others may lie between them: svlog keeps those that it finds, and reads nothing once more. Only if they need
//! too much memory it forgets them, and reads them once more as well.

use crate::bisect::{LastLine, begin_for, last_line, line_start, stamped_line_start};
use crate::course::Mode;
use crate::folder::{Folder, Look};
use crate::kept::{Kept, Part};
use crate::lines::ROOM;
use crate::log_file::{LogFile, Place};
use crate::newest::Newest;
use crate::selection::Selection;
use crate::source::{Next, Source};
use crate::stretch::{Stretch, StretchSummary};
use daemontools::logdir::{Finished, last_fall};
use daemontools::tai64::{self, Tai64N};
use daemontools::{Attempt, Unable};
use std::io;

/// The size of the first window at the end of a file, and the size up to which windows grow quickly. They are small in
/// tests, so that small files have several windows.
const WINDOW: u64 = if cfg!(test) { 16 } else { 4 * 1024 };
const LARGE_WINDOW: u64 = if cfg!(test) { 256 } else { 1024 * 1024 };
/// How far a stamp is looked for at the beginning of a window: a file that has none there has no stamps.
const STAMP_WITHIN: u64 = 64 * 1024;

/// How many bytes all logs together may use to be read, and for lines that are kept.
const FOR_READING: usize = 4 << 20;
const FOR_KEEPING: usize = 8 << 20;
/// A reader asks for this many bytes at least.
const SMALLEST_ROOM: usize = 8 * 1024;

/// How much memory the reader of a log may use.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// How many bytes of a file are asked for at a time.
    pub room: usize,
    /// How many bytes the lines may need that are kept until they are shown.
    pub kept: usize,
}

/// What is asked of a log.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// How many lines.
    pub wanted: u64,
    pub mode: Mode,
    /// Whether the position in the log is kept.
    pub keeps_position: bool,
}

/// The end of a log.
pub struct Last<'a> {
    /// The log from a line on after which there are at least as many lines as were asked for, or all of them.
    pub source: Source<'a>,
    /// How many lines these are.
    pub count: u64,
    /// Their times.
    pub newest: Newest,
}

/// The last lines of a log.
///
/// # Errors
/// The directory cannot be read.
pub fn last<'a>(
    folder: &'a Folder,
    selection: &'a Selection,
    asked: Asked,
    memory: Memory,
) -> Result<Last<'a>, Unable> {
    let Asked { wanted, mode, .. } = asked;
    let around = selection.around;
    let look = match in_current(folder, selection, asked, memory)? {
        Newer::Enough(last) => return Ok(*last),
        Newer::OpenedOnly(current) => folder.look_with(current)?,
    };
    let mut search = Search::of(folder, selection, memory, look);
    search.wanted = if around.is_any() { wanted.max(1) } else { wanted };
    search.newest_times = Newest::new(wanted);
    // The lines around those that match are found only when these are read once more.
    search.kept = (!around.is_any() && (wanted == 0 || selection.has_conditions())).then(Kept::default);
    search.all()?;
    let total = search.kept.as_ref().map_or(search.total, |kept| kept.count() + search.rest);
    if around.before > 0 {
        search.begin_earlier(around.before).unable_to("read", folder.path())?;
    }
    let total = total + search.earlier;
    // A file that could not be read may have other lines, and is named where the log is read to be shown.
    let newest = if search.unread.is_empty() { std::mem::take(&mut search.newest_times) } else { Newest::default() };
    let mut source = search.source(mode)?;
    if !around.is_any() {
        return Ok(Last { source, count: total, newest });
    }
    // The lines after one that is not shown may stand before one that is.
    let surplus = total.saturating_sub(wanted);
    source.show_not_the_first(surplus);
    Ok(Last { source, count: total - surplus, newest: Newest::default() })
}

/// What `current` alone has of the last lines.
enum Newer<'a> {
    Enough(Box<Last<'a>>),
    /// The other files must be looked at too. This is `current`, if there is one.
    OpenedOnly(Option<LogFile>),
}

/// Looks for the last lines in `current`, which mostly has enough of them. Then no other file is looked at, nor is the
/// directory read.
fn in_current<'a>(
    folder: &'a Folder,
    selection: &'a Selection,
    asked: Asked,
    memory: Memory,
) -> Result<Newer<'a>, Unable> {
    let current = folder.current()?;
    let are_others_needed = asked.mode == Mode::Follow || asked.keeps_position;
    let may_be_few = selection.has_conditions() || selection.has_bounds() || selection.around.is_any();
    if are_others_needed || may_be_few || asked.wanted == 0 || current.is_none() {
        return Ok(Newer::OpenedOnly(current));
    }
    let mut search = Search::of(folder, selection, memory, Look { finished: Vec::new(), full: None, current });
    (search.wanted, search.newest_times) = (asked.wanted, Newest::new(asked.wanted));
    search.all()?;
    // What stands at the beginning of `current` may be the rest of a line of another file.
    let begins_behind = search.start.is_some_and(|(_, offset)| offset > 0);
    if search.total < asked.wanted || !begins_behind || !search.unread.is_empty() {
        return Ok(Newer::OpenedOnly(search.look.current));
    }
    let source = search.source(asked.mode)?;
    Ok(Newer::Enough(Box::new(Last { source, count: search.total, newest: search.newest_times })))
}

/// Which lines a search looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    AskedFor,
    /// All lines of the time that is asked for.
    OfTheTime,
}

/// A search from the end of a log.
pub struct Search<'a> {
    pub folder: &'a Folder,
    pub selection: &'a Selection,
    target: Target,
    look: Look,
    /// The files from the first on in which lines may begin that are asked for, from the oldest to the newest.
    places: Vec<Place>,
    /// In how many of them such lines may begin. The last of these lines may go on in the files after them.
    pub searched: usize,
    pub memory: Memory,
    wanted: u64,
    /// How many lines were found.
    total: u64,
    /// How many were found in what is read only because it stands before them.
    earlier: u64,
    /// How many of them begin behind those that are kept.
    rest: u64,
    /// The lines that were found, if they are kept.
    kept: Option<Kept>,
    /// When they were logged.
    newest_times: Newest,
    /// The number and the position of the file in which the first line was found.
    start: Option<(usize, u64)>,
    /// The number of the newest file, and the position up to which lines are kept: from there on the log is read to be
    /// shown.
    newest: Option<(usize, u64)>,
    /// The numbers of the files that could not be read to the end, and why.
    pub unread: Vec<(usize, Why)>,
}

pub enum Why {
    NotOpened(Unable),
    NotRead(Box<LogFile>, io::Error),
}

impl Memory {
    /// The memory of each of several logs.
    pub fn for_each_of(logs: usize) -> Memory {
        let share = |all: usize| all / logs.max(1);
        Memory { room: share(FOR_READING).clamp(SMALLEST_ROOM, ROOM), kept: share(FOR_KEEPING) }
    }
}

impl Why {
    /// Says why a file could not be read to the end.
    pub fn warn(self, folder: &Folder) {
        match self {
            Why::NotOpened(unable) => unable.warn(),
            Why::NotRead(file, error) => folder.complain_of_reading(&file, &error),
        }
    }
}

impl<'a> Search<'a> {
    /// Looks at the directory. No line is wanted yet, and none is kept.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn new(folder: &'a Folder, selection: &'a Selection, memory: Memory) -> Result<Search<'a>, Unable> {
        Ok(Search::of(folder, selection, memory, folder.look()?))
    }

    /// The same, after a look at the directory.
    fn of(folder: &'a Folder, selection: &'a Selection, memory: Memory, look: Look) -> Search<'a> {
        let (from, behind) = asked_for(folder, &look, selection);
        let finished = look.finished.iter().skip(from).cloned().map(Place::Finished);
        let others = look.full.iter().chain(&look.current).map(|file| file.place.clone());
        let places: Vec<Place> = finished.chain(others).collect();
        let searched = behind.map_or(places.len(), |behind| behind.saturating_sub(from));
        Search {
            folder,
            selection,
            target: Target::AskedFor,
            look,
            places,
            searched,
            memory,
            wanted: 0,
            total: 0,
            earlier: 0,
            rest: 0,
            kept: None,
            newest_times: Newest::default(),
            start: None,
            newest: None,
            unread: Vec::new(),
        }
    }

    /// Looks at the files until there are enough lines.
    fn all(&mut self) -> Result<(), Unable> {
        for number in (0..self.searched).rev() {
            if self.newest.is_some() && self.total >= self.wanted {
                break;
            }
            match self.open(number) {
                Ok(Some(file)) => self.file(number, &file).unable_to("read", self.folder.path())?,
                Ok(None) => {}
                Err(unable) => self.unread.push((number, Why::NotOpened(unable))),
            }
        }
        Ok(())
    }

    /// Moves the beginning back by so many lines, which may stand before a match.
    fn begin_earlier(&mut self, lines: u64) -> io::Result<()> {
        let Some((start, offset)) = self.start else { return Ok(()) };
        (self.target, self.total, self.wanted) = (Target::OfTheTime, 0, lines);
        let mut end = Some(offset);
        for number in (0..=start).rev() {
            if self.total >= self.wanted {
                break;
            }
            // A file that cannot be opened was noted by the first search, or is noted by the reading that follows.
            if let Ok(Some(file)) = self.open(number) {
                let first = self.first_line(number, &file)?;
                match (file.plain(), end) {
                    (Some(_), Some(end)) if end <= first => {}
                    (Some(_), _) => self.plain_file(number, &file, first, end)?,
                    (None, Some(_)) => {}
                    (None, None) => self.stretch_at(number, &file, 0, None)?,
                }
            }
            end = None;
        }
        Ok(())
    }

    /// Opens a file by its number.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(&self, number: usize) -> Result<Option<LogFile>, Unable> {
        let again = |file: &Option<LogFile>| match file {
            Some(file) => file.at(0).map(Some).unable_to("read", self.folder.path_of(file.place.name())),
            None => Ok(None),
        };
        match self.places.get(number) {
            Some(Place::Finished(finished)) => self.folder.finished_file(finished),
            Some(Place::Previous | Place::Processed) => again(&self.look.full),
            Some(Place::Current) => again(&self.look.current),
            None => Ok(None),
        }
    }

    fn file(&mut self, number: usize, file: &LogFile) -> io::Result<()> {
        let first = self.first_line(number, file)?;
        let end = match self.newest {
            Some(_) => None,
            None => self.begin_in(number, file, first)?,
        };
        match file.plain() {
            _ if self.total >= self.wanted => Ok(()),
            Some(_) => self.plain_file(number, file, first, end),
            None => self.stretch_at(number, file, 0, None),
        }
    }

    /// The position of the first line in a file that may be asked for.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn first_line(&self, number: usize, file: &LogFile) -> io::Result<u64> {
        // What a compressed file begins with is known when it is read.
        let Some(plain) = file.plain() else { return Ok(0) };
        let since = self.selection.since.map(|since| begin_for(plain, file.length(), since)).transpose()?;
        match since.flatten() {
            Some(first @ 1..) => Ok(first),
            Some(0) | None => file.first_line(self.before(number).as_ref()),
        }
    }

    /// Begins with the newest file. If lines are kept, they end where the last stamped line of this file begins: a line
    /// may go on, and lines that come later have this time if they have no stamp. What follows is only counted here, and
    /// shown when the log is read from there on.
    fn begin_in(&mut self, number: usize, file: &LogFile, first: u64) -> io::Result<Option<u64>> {
        let Some(plain) = file.plain() else {
            self.newest = Some((number, file.length()));
            return Ok(None);
        };
        if self.kept.is_none() {
            self.newest = Some((number, 0));
            self.keep_nothing();
            return Ok(None);
        }
        let is_known = |line: &LastLine| line.start >= first && (line.is_stamped || !self.selection.has_bounds());
        let offset = last_line(plain, file.length())?.filter(is_known).map(|line| line.start);
        self.newest = Some((number, offset.unwrap_or(0)));
        // Without this position, the last line begins in a file before, is too long to be looked for, or has an unknown
        // time.
        let Some(offset) = offset else {
            self.keep_nothing();
            return Ok(None);
        };
        self.rest = self.stretch(number, file.at(offset)?, None, false).lines;
        self.total = self.rest;
        Ok(Some(offset))
    }

    /// From now on only the position of the first line is looked for. If no line is wanted, it is in the last file.
    fn keep_nothing(&mut self) {
        self.kept = None;
        self.wanted = self.wanted.max(1);
    }

    /// Looks at a file in windows from its end. `end`: where the last of them ends.
    fn plain_file(&mut self, number: usize, file: &LogFile, first: u64, mut end: Option<u64>) -> io::Result<()> {
        // What is written meanwhile comes when the log is shown.
        let length = file.first_length;
        let mut window = WINDOW;
        loop {
            let start = self.window_start(file, end.unwrap_or(length), first, window)?;
            self.stretch_at(number, file, start, end)?;
            if self.total >= self.wanted || start <= first {
                return Ok(());
            }
            end = Some(start);
            // A file may have terabytes, most of them in a hole.
            window = LARGE_WINDOW.min(window * 4).max((length - start) / 4);
        }
    }

    /// The beginning of a window of about this size: a line with a stamp if possible, as the lines after it have its
    /// time.
    fn window_start(&self, file: &LogFile, end: u64, first: u64, mut window: u64) -> io::Result<u64> {
        let Some(plain) = file.plain() else { return Ok(first) };
        let mut behind = end;
        while let Some(start) = end.checked_sub(window).filter(|start| *start > first) {
            let below = behind.min(start + STAMP_WITHIN);
            if let Some(start) = stamped_line_start(plain, start, below)? {
                return Ok(start);
            }
            // Only of a line with a stamp, and of the lines after it, is it known that they are of the time asked for.
            if self.selection.has_bounds() {
                break;
            }
            let line = line_start(plain, start, behind)?;
            if line < behind {
                return Ok(line);
            }
            (behind, window) = (start, window * 4);
        }
        Ok(first)
    }

    fn stretch_at(&mut self, number: usize, file: &LogFile, start: u64, end: Option<u64>) -> io::Result<()> {
        let found = self.stretch(number, file.at(start)?, end, true);
        if self.target == Target::OfTheTime {
            self.target = Target::AskedFor;
            self.earlier += self.stretch(number, file.at(start)?, end, false).lines;
            self.target = Target::OfTheTime;
        }
        if self.start.is_none() || found.lines > 0 {
            self.start = Some((number, start));
        }
        self.total += found.lines;
        if self.newest.is_some_and(|(newest, _)| newest == number) && found.is_unfinished && file.plain().is_none() {
            // This line may go on in a file that comes later.
            self.keep_nothing();
        }
        if let Some(error) = found.error
            && self.unread.last().is_none_or(|(other, _)| *other != number)
        {
            self.unread.push((number, Why::NotRead(Box::new(file.at(0)?), error)));
        }
        Ok(())
    }

    /// Reads a stretch of a file, and keeps its lines if they are to be kept.
    fn stretch(&mut self, number: usize, file: LogFile, end: Option<u64>, keeps: bool) -> StretchSummary {
        let wanted = self.wanted.saturating_sub(self.total);
        let before = if file.plain().is_none() { self.before(number) } else { None };
        let mut newest = std::mem::take(&mut self.newest_times);
        let mut part = self.kept.as_ref().filter(|_| keeps).map(|_| Part::default());
        let most = self.memory.kept.saturating_sub(self.kept.as_ref().map_or(0, Kept::size));
        let mut next = number;
        let after = || {
            next += 1;
            self.open(next).ok().flatten()
        };
        let all;
        let selection = match self.target {
            Target::AskedFor => self.selection,
            Target::OfTheTime => {
                all = self.selection.without_conditions();
                &all
            }
        };
        let found = Stretch::new(file, end, None, before).read(selection, self.memory.room, after, |line| {
            if line.begins {
                newest.add(line.time, !line.stamp.is_empty());
            }
            let Some(kept) = &mut part else { return };
            kept.add(line);
            if kept.size() > most {
                kept.keep_last(wanted);
                if kept.size() > most / 2 {
                    part = None;
                }
            }
        });
        self.newest_times = newest;
        match part {
            Some(mut part) => {
                part.keep_last(wanted);
                self.kept.iter_mut().for_each(|kept| kept.put_before(std::mem::take(&mut part)));
            }
            None if keeps => self.keep_nothing(),
            None => {}
        }
        found
    }

    /// The file before this one, in which its first line may begin.
    pub fn before(&self, number: usize) -> Option<LogFile> {
        match number.checked_sub(1) {
            Some(before) => self.open(before).unwrap_or(None),
            None => self.folder.last_before(&self.look.finished, self.selection.since),
        }
    }

    /// The log from the first line on that was found.
    fn source(&mut self, mode: Mode) -> Result<Source<'a>, Unable> {
        let mut source = Source::new(self.folder, self.selection, mode, self.memory.room);
        let kept = self.kept.take();
        let is_kept = kept.is_some();
        let start = if is_kept { self.newest } else { self.start };
        let Some((number, offset)) = start else { return Ok(source) };
        let Some(file) = self.open(number)? else { return Ok(source) };
        let at = match file.plain() {
            _ if is_kept => file.resumed_at(offset),
            Some(_) => file.at(offset),
            // Where the file is damaged is said when it is read.
            None => file.moved_to(file.first_line(self.before(number).as_ref()).unwrap_or(0)),
        };
        source.starting_in(at.unable_to("read", self.folder.path())?, &self.look);
        source.shows_before(kept.unwrap_or_default());
        // The source itself finds the files that come later.
        let read_again = if is_kept { number + 1 } else { number };
        for (_, why) in self.unread.drain(..).filter(|(other, _)| *other < read_again) {
            source.failed = true;
            why.warn(self.folder);
        }
        Ok(source)
    }
}

/// The number of the first finished file that may have lines of the time asked for, and the number of the first after it
/// that ends the search. `None`: lines of that time may be in all files from the first on.
fn asked_for(folder: &Folder, look: &Look, selection: &Selection) -> (usize, Option<usize>) {
    let finished = &look.finished;
    let from = finished.partition_point(|file| selection.since.is_some_and(|since| file.label < since));
    let Some(until) = selection.until else { return (from, None) };
    let fall = last_fall(finished, tai64::now());
    let known = finished.partition_point(|file| file.label <= until || fall.is_some_and(|fall| file.label <= fall));
    let ends_search = |file: &Finished| {
        // svlog reports a file that cannot be read when it comes to read its lines.
        folder.finished_file(file).ok().flatten().is_some_and(|file| ends_reading(file, folder, until, look))
    };
    let behind = finished.iter().skip(known).position(ends_search).map(|number| known + number);
    (from, behind.map(|behind| behind.max(from)))
}

/// Whether a source that reads up to `until` ends with this file.
fn ends_reading(file: LogFile, folder: &Folder, until: Tai64N, look: &Look) -> bool {
    let selection = Selection { until: Some(until), ..Selection::default() };
    let mut source = Source::new(folder, &selection, Mode::Once, ROOM);
    source.starting_in(file, look);
    while let Next::Line(_) = source.next() {
        if source.file_number() > 1 || source.line().is_some_and(|line| !line.stamp.is_empty()) {
            return false;
        }
        source.take();
    }
    source.file_number() == 1
}

#[cfg(test)]
pub mod tests;
