//! Shows the lines of logs from the newest to the oldest.
//!
//! svlog looks at each file once, from the newest to the oldest, in windows from its end. The lines of one window of each
//! log are in memory at a time. A compressed file can only be read from its beginning: svlog reads it once to find out
//! where its windows begin, and once more up to the end of each of them, the last one first.
//!
//! A line is shown when its beginning was found. So a line must be in memory as a whole, however long it is.

use crate::arguments::{Amount, Request};
use crate::bisect::{ReadAt, line_start, read_full};
use crate::folder::Folder;
use crate::kept::Part;
use crate::last::{Memory, Search, Why};
use crate::lines::{Lines, ROOM};
use crate::log_file::LogFile;
use crate::logs::Logs;
use crate::merge::Merge;
use crate::output::{self, GATHERED};
use crate::show::Show;
use crate::stamp;
use crate::stretch::Stretch;
use daemontools::tai64::Tai64N;
use daemontools::{Fatal, report};
use memchr::memrchr;
use std::cmp::Reverse;
use std::io;

/// The limits of a window of a plain file, in bytes. They are small in tests, so that small files have several windows.
const WINDOW: [usize; 2] = if cfg!(test) { [16, 64] } else { [4 * 1024, 128 * 1024] };
/// The same for a compressed file, which is read once more for each of its windows.
const PACKED_WINDOW: [usize; 2] = if cfg!(test) { [16, 256] } else { [64 * 1024, 4 * 1024 * 1024] };
/// How many bytes of memory a line takes besides its own.
const BESIDES: usize = 48;
/// How many bytes are searched for a stamp at a time.
const BLOCK: u64 = 64 * 1024;

/// A part of a file, and the last stamp before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    start: u64,
    end: Option<u64>,
    carried: Option<Tai64N>,
}

/// The windows of a file that were not read yet.
enum Windows {
    Plain {
        /// Where the first line begins that may be asked for, and where the windows end that were read.
        first: u64,
        end: Option<u64>,
        /// The position of the last stamped line before the window that was read last, and its stamp.
        stamp: Option<(u64, Option<Tai64N>)>,
    },
    Packed(Vec<Window>),
}

/// A log that is read from its end.
pub struct Backwards<'a> {
    search: Search<'a>,
    file: Option<(LogFile, Windows)>,
    part: Part,
    pub failed: bool,
}

/// Shows the lines of all logs that were asked for, and returns the exit code.
///
/// # Errors
/// A directory cannot be read, or the output cannot be written.
pub fn show(request: &Request, logs: &Logs, mut show: Show) -> Result<i32, Fatal> {
    let memory = Memory::for_each_of(logs.folders.len());
    let mut backwards = Vec::new();
    for (folder, selection) in logs.with_selections(request) {
        backwards.push(Backwards::new(Search::new(folder, selection, memory)?));
    }
    let mut left = match request.amount {
        Amount::Last(wanted) => Some(wanted),
        Amount::All | Amount::First(_) | Amount::Count | Amount::Histogram => None,
    };
    // Of two lines with the same time, the line of the log named last is the later one.
    let mut merge = Merge::new();
    let last = backwards.len().saturating_sub(1);
    let offer = |merge: &mut Merge<Reverse<Tai64N>>, number: usize, log: &mut Backwards| {
        if let Some(time) = log.time() {
            merge.offer(Reverse(time), last - number);
        }
    };
    if left != Some(0) {
        backwards.iter_mut().enumerate().for_each(|(number, log)| offer(&mut merge, number, log));
    }
    while let Some(number) = merge.take().map(|place| last - place).filter(|_| left != Some(0)) {
        let Some(log) = backwards.get_mut(number) else { break };
        log.part.pop(|line| show.line(number, line));
        left = left.map(|left| left - 1);
        if show.output.len() >= GATHERED {
            output::write(&show.output)?;
            show.output.clear();
        }
        offer(&mut merge, number, log);
    }
    output::write(&show.output)?;
    let failed = backwards.iter().any(|log| log.failed) || logs.folders.iter().any(Folder::is_foreign);
    Ok(if failed { report::TEMPORARY } else { 0 })
}

impl<'a> Backwards<'a> {
    fn new(search: Search<'a>) -> Backwards<'a> {
        Backwards { search, file: None, part: Part::default(), failed: false }
    }

    /// The time of the newest line that was not shown.
    fn time(&mut self) -> Option<Tai64N> {
        loop {
            if let Some(time) = self.part.last_time() {
                return Some(time);
            }
            match &mut self.file {
                Some((file, windows)) => match windows.last(file, self.search.memory) {
                    Ok(Some(window)) => self.read(window),
                    Ok(None) => self.file = None,
                    Err(error) => self.end_with(error),
                },
                None => self.search.searched = self.open_file()?,
            }
        }
    }

    /// Opens the newest file that was not read yet, and returns its number. `None`: there are no more.
    fn open_file(&mut self) -> Option<usize> {
        let number = self.search.searched.checked_sub(1)?;
        match self.search.open(number) {
            Ok(Some(file)) => match self.windows(number, &file) {
                Ok(windows) => self.file = Some((file, windows)),
                Err(error) => self.warn(Why::NotRead(Box::new(file), error)),
            },
            Ok(None) => {}
            Err(unable) => self.warn(Why::NotOpened(unable)),
        }
        Some(number)
    }

    fn windows(&mut self, number: usize, file: &LogFile) -> io::Result<Windows> {
        if file.plain().is_some() {
            let first = self.search.first_line(number, file)?;
            return Ok(Windows::Plain { first, end: None, stamp: None });
        }
        // Where the file is damaged is said when it is read.
        let first = file.first_line(self.search.before(number).as_ref()).unwrap_or(0);
        let [least, most] = PACKED_WINDOW;
        let (windows, error) = packed_windows(file.moved_to(first)?, (self.search.memory.kept / 2).clamp(least, most));
        if let Some(error) = error {
            self.warn(Why::NotRead(Box::new(file.at(0)?), error));
        }
        Ok(Windows::Packed(windows))
    }

    /// Reads the lines of a window.
    fn read(&mut self, Window { start, end, carried }: Window) {
        let Some((file, _)) = &self.file else { return };
        let file = match file.moved_to(start) {
            Ok(file) => file,
            Err(error) => return self.end_with(error),
        };
        let mut next = self.search.searched;
        let after = || {
            next += 1;
            self.search.open(next).ok().flatten()
        };
        let mut part = Part::default();
        let stretch = Stretch::new(file, end, carried, None);
        let found = stretch.read(self.search.selection, self.search.memory.room, after, |line| part.add(line));
        self.part = part;
        // What is wrong with a compressed file was said when its windows were looked for.
        let is_plain = self.file.as_ref().is_some_and(|(file, _)| file.plain().is_some());
        if let Some(error) = found.error.filter(|_| is_plain) {
            self.end_with(error);
        }
    }

    /// Reads no more of the file.
    fn end_with(&mut self, error: io::Error) {
        if let Some((file, _)) = self.file.take() {
            self.warn(Why::NotRead(Box::new(file), error));
        }
    }

    fn warn(&mut self, why: Why) {
        self.failed = true;
        why.warn(self.search.folder);
    }
}

impl Windows {
    /// The last window that was not read yet. From now on it counts as read.
    fn last(&mut self, file: &LogFile, memory: Memory) -> io::Result<Option<Window>> {
        match (self, file.plain()) {
            (Windows::Packed(windows), _) => Ok(windows.pop()),
            (Windows::Plain { .. }, None) => Ok(None),
            (Windows::Plain { first, end, stamp }, Some(plain)) => {
                let before = end.unwrap_or_else(|| file.length());
                if before <= *first && end.is_some() {
                    return Ok(None);
                }
                let [least, most] = WINDOW;
                let mut size = (memory.kept / 64).clamp(least, most) as u64;
                let start = loop {
                    let Some(start) = before.checked_sub(size).filter(|start| start > first) else { break *first };
                    match line_start(plain, start, before)? {
                        line if line < before => break line,
                        _ => size *= 4,
                    }
                };
                if stamp.is_none_or(|(at, _)| at >= start) {
                    *stamp = Some(stamp_before(plain, start)?);
                }
                let window = Window { start, end: *end, carried: stamp.and_then(|(_, stamp)| stamp) };
                *end = Some(start);
                Ok(Some(window))
            }
        }
    }
}

/// The windows of a compressed file, from the first to the last. Each begins at the beginning of a line, and is as small
/// as is possible for its size. If the file cannot be read to its end, also why.
fn packed_windows(mut file: LogFile, size: usize) -> (Vec<Window>, Option<io::Error>) {
    let mut windows = vec![Window { start: file.offset, end: None, carried: None }];
    let mut lines = Lines::new(ROOM);
    // How much memory the lines of the last window take, the last stamp, and where the next piece begins.
    let (mut taken, mut carried, mut position) = (0, None, file.offset);
    let mut is_within_line = false;
    loop {
        match file.read(lines.room()) {
            Ok(0) => return (windows, None),
            Ok(length) => lines.filled(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (windows, Some(error)),
        }
        while let Some(piece) = lines.piece(false) {
            if !is_within_line {
                if taken >= size {
                    windows.iter_mut().for_each(|window| window.end = window.end.or(Some(position)));
                    windows.push(Window { start: position, end: None, carried });
                    taken = 0;
                }
                carried = stamp::of(lines.text(piece)).map(|stamp| stamp.time).or(carried);
            }
            is_within_line = !piece.ends;
            let left = lines.rest().len();
            lines.take(piece);
            let length = left - lines.rest().len();
            (taken, position) = (taken + length + BESIDES, position + length as u64);
        }
    }
}

/// The position of the last line with a stamp that begins before `end`, and its stamp. Without one, 0 and none.
fn stamp_before(file: &(impl ReadAt + ?Sized), mut end: u64) -> io::Result<(u64, Option<Tai64N>)> {
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let line = line_start(file, start, end)?;
        // A stamp may go on behind the block.
        block.resize(usize::try_from(end - line).unwrap_or(0) + stamp::LONGEST, 0);
        let length = read_full(file, &mut block, line)?;
        let mut rest = length.min(usize::try_from(end - line).unwrap_or(0));
        while rest > 0 {
            let begin = memrchr(b'\n', &block[..rest - 1]).map_or(0, |newline| newline + 1);
            if let Some(stamp) = stamp::of(&block[begin..length]) {
                return Ok((line + begin as u64, Some(stamp.time)));
            }
            rest = begin;
        }
        end = start;
    }
    Ok((0, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::Mode;
    use crate::folder::Folder;
    use crate::last::tests::{log_of, pack, rotated};
    use crate::line::Line;
    use crate::pattern::Pattern;
    use crate::selection::Selection;
    use crate::source::{Next, Source};
    use daemontools::tai64::Tai64;
    use proptest::prelude::*;

    fn at(second: u64) -> Tai64N {
        Tai64N(Tai64((1 << 62) + second), 0)
    }

    type Shown = (Tai64N, Vec<u8>, Vec<u8>);

    fn shown(line: Line) -> Shown {
        (line.time, line.stamp.to_vec(), line.text.to_vec())
    }

    fn forwards(source: &mut Source) -> Vec<Shown> {
        let mut lines = Vec::new();
        while let Next::Line(_) = source.next() {
            lines.extend(source.line().map(shown));
            source.take();
        }
        lines
    }

    fn backwards(log: &mut Backwards) -> Vec<Shown> {
        let mut lines = Vec::new();
        while log.time().is_some() {
            log.part.pop(|line| lines.push(shown(line)));
        }
        lines
    }

    proptest! {
        #[test]
        fn the_newest_lines_come_first_and_all_of_them(
            log in proptest::collection::vec((0u64..3, any::<bool>(), "[ab]{0,9}"), 0..30),
            cuts in proptest::collection::vec(1usize..200, 0..5),
            (since, until) in (proptest::option::of(0u64..40), proptest::option::of(0u64..40)),
            pattern in proptest::option::of("[ab]{1,2}"),
            (are_packed, kept) in (any::<bool>(), 0usize..2000),
        ) {
            let scratch = rotated(&log_of(&log), &cuts);
            if are_packed {
                pack(scratch.path());
            }
            let folder = Folder::open(scratch.path().as_os_str()).unwrap();
            let pattern = pattern.map(|pattern| Pattern::new(&pattern).unwrap());
            let selection = Selection { since: since.map(at), until: until.map(at), pattern, ..Selection::default() };
            let mut expected = forwards(&mut Source::new(&folder, &selection, Mode::Once, ROOM));
            expected.reverse();
            let search = Search::new(&folder, &selection, Memory { room: ROOM, kept }).unwrap();
            prop_assert_eq!(backwards(&mut Backwards::new(search)), expected);
        }
    }
}
