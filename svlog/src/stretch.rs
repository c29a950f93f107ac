//! Reads the lines that begin in a stretch of one file, and nothing else. Only if a line goes on behind the end of the
//! file, svlog reads on in the files after it, to the end of that line.

use crate::cursor::Cursor;
use crate::line::Line;
use crate::lines::FileBoundary;
use crate::log_file::LogFile;
use crate::selection::Selection;
use crate::stamp;
use daemontools::tai64::Tai64N;
use std::io;

/// A part of a file, from the position of the file on.
pub struct Stretch {
    file: LogFile,
    /// Where the stretch ends: at the beginning of a line. `None`: at the end of the file.
    end: Option<u64>,
    /// The last stamp before the stretch in this file, if it is known.
    carried: Option<Tai64N>,
    /// The file before, if the stretch may begin with the rest of a line of it.
    before: Option<LogFile>,
    /// Whether the last read(2) of a plain file has come to its end.
    is_read: bool,
}

/// What was found out about a stretch.
#[derive(Default)]
pub struct StretchSummary {
    /// How many lines that were asked for begin in it.
    pub lines: u64,
    /// Why it could not be read to its end.
    pub error: Option<io::Error>,
    /// Whether its last line had no end, before svlog looked at the files that come after.
    pub is_unfinished: bool,
}

impl Stretch {
    /// A part of a file, from the position of the file on. `end`: where it ends, at the beginning of a line, if that is not
    /// the end of the file. `carried`: the last stamp before it in this file, if it is known. `before`: the file before, if
    /// the stretch may begin with the rest of a line of it.
    pub fn new(file: LogFile, end: Option<u64>, carried: Option<Tai64N>, before: Option<LogFile>) -> Stretch {
        Stretch { file, end, carried, before, is_read: false }
    }

    /// Shows each line, or piece of one, that was asked for to `visit`. `after` opens the files that come after this
    /// one, one after the other.
    pub fn read(
        mut self,
        selection: &Selection,
        room: usize,
        mut after: impl FnMut() -> Option<LogFile>,
        mut visit: impl FnMut(Line),
    ) -> StretchSummary {
        let mut found = StretchSummary::default();
        let mut cursor = Cursor::new(selection, room);
        cursor.seek_nothing();
        cursor.show_nothing_around();
        cursor.leave_file(|| self.file.time());
        cursor.begin_file(FileBoundary::MayGoOn);
        cursor.begin_after_stamp(self.carried);
        let mut at_end = false;
        self.begin(&mut cursor);
        loop {
            let time = cursor.find(at_end, || self.file.time());
            if cursor.file_number() > 1 || self.end.is_some_and(|end| self.position(&cursor) >= end) {
                break;
            }
            if time.is_some() {
                if let Some(line) = cursor.line() {
                    found.lines += u64::from(line.begins);
                    visit(line);
                }
                cursor.take();
                continue;
            }
            if self.is_read && !at_end && cursor.is_between_lines() {
                break;
            }
            match self.fill(&mut cursor) {
                Ok(0) if at_end || self.end.is_some() || cursor.is_between_lines() => break,
                Ok(0) => {
                    found.is_unfinished = true;
                    at_end = !self.go_on(&mut cursor, &mut after, FileBoundary::MayGoOn);
                }
                Ok(_) => {}
                Err(_) if at_end => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    found.error.get_or_insert(error);
                    at_end = !self.go_on(&mut cursor, &mut after, FileBoundary::Ends);
                }
            }
        }
        found
    }

    /// Reads the first bytes. If the first line has no stamp, its time may depend on a stamp behind the end.
    /// An error comes again when more is read.
    fn begin(&mut self, cursor: &mut Cursor) {
        let is_read = self.fill(cursor).is_ok();
        let is_stamped = stamp::of(cursor.lines.rest()).is_some();
        if is_read && !is_stamped && self.before.as_ref().is_some_and(LogFile::goes_on) {
            cursor.begin_within_line();
        }
        if is_read && self.end.is_some() && !is_stamped {
            let offset = self.file.offset;
            match self.file.read(cursor.lines.room()) {
                Ok(length) if !self.file.has_skipped => cursor.lines.filled(length),
                Ok(_) | Err(_) => self.file.offset = offset,
            }
        }
    }

    /// Where the next line begins, as long as it begins in this file.
    fn position(&self, cursor: &Cursor) -> u64 {
        self.file.offset.saturating_sub(cursor.lines.rest().len() as u64)
    }

    /// Reads more bytes and returns how many; 0 at the end.
    fn fill(&mut self, cursor: &mut Cursor) -> io::Result<usize> {
        let room = cursor.lines.room();
        let left = self.end.map(|end| usize::try_from(end.saturating_sub(self.file.offset)).unwrap_or(usize::MAX));
        let room = match left {
            Some(left) if left < room.len() => &mut room[..left],
            Some(_) | None => room,
        };
        let length = if room.is_empty() { 0 } else { self.file.read(room)? };
        self.is_read = length < room.len() && self.file.plain().is_some();
        // A hole may lead behind the end.
        let behind = self.end.map_or(0, |end| self.file.offset.saturating_sub(end));
        let length = length.saturating_sub(usize::try_from(behind).unwrap_or(usize::MAX));
        self.file.offset -= behind;
        cursor.lines.filled(length);
        Ok(length)
    }

    /// Goes on to the next file, in which the last line may end. Returns false if there is none.
    fn go_on(
        &mut self,
        cursor: &mut Cursor,
        after: &mut impl FnMut() -> Option<LogFile>,
        boundary: FileBoundary,
    ) -> bool {
        let Some(next) = after() else { return false };
        let boundary = if self.file.place.is_cut() { FileBoundary::Ends } else { boundary };
        cursor.leave_file(|| self.file.time());
        cursor.begin_file(boundary);
        *self = Stretch::new(next, None, None, None);
        true
    }
}
