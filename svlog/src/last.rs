//! Finds the last lines of a log from its end.
//!
//! svlog counts the lines in growing windows at the end of the log until there are enough, so that the bytes it reads
//! grow with the number of lines that are asked for, and not with the log. It reads compressed files whole.

use crate::bisect::{begin_for, line_start, stamped_line_start};
use crate::cursor::Selection;
use crate::folder::{Folder, Look};
use crate::log_file::{LogFile, Place};
use crate::source::{Mode, Next, Source};
use daemontools::logdir::{Finished, last_fall};
use daemontools::tai64::{self, Tai64N};
use daemontools::{Attempt, Unable};
use std::io;

/// The size of the first window at the end of a file. It is small in tests, so that small files have several windows.
const WINDOW: u64 = if cfg!(test) { 16 } else { 16 * 1024 };

/// The log from a line on after which there are at least `wanted` lines that were asked for, or all of them; and the
/// number of these lines.
///
/// # Errors
/// The directory cannot be read.
pub fn last<'a>(
    folder: &'a Folder,
    selection: &'a Selection,
    mode: Mode,
    wanted: u64,
) -> Result<(Source<'a>, u64), Unable> {
    let mut look = folder.look()?;
    let (finished, is_all) = asked_for(folder, &look, selection);
    let mut places: Vec<Place> = finished.into_iter().map(Place::Finished).collect();
    if is_all {
        places.extend(look.full.iter().chain(&look.current).map(|file| file.place.clone()));
    }
    // If no line is wanted, the position is in the last file.
    let wanted = wanted.max(1);
    let mut total = 0;
    let mut start = None;
    let mut unreadable = Vec::new();
    while let Some(place) = places.pop().filter(|_| total < wanted) {
        let file = match open(folder, place, &mut look) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(unable) => {
                unreadable.push((places.len(), unable));
                continue;
            }
        };
        let before = match places.last() {
            Some(Place::Finished(finished)) => folder.finished_file(finished).unwrap_or(None),
            Some(Place::Previous | Place::Processed | Place::Current) => {
                look.full.as_ref().and_then(|file| file.at(0).ok())
            }
            None => folder.last_before(&look.finished, selection.since),
        };
        let count = |file: LogFile| lines_from(file, folder, selection, &look);
        let found = search(&file, before.as_ref(), selection, wanted - total, count);
        let (offset, count) = found.unable_to("read", folder.path())?;
        total += count;
        if count > 0 || start.is_none() {
            start = Some((places.len(), file.at(offset).unable_to("read", folder.path())?));
        }
    }
    let mut source = Source::new(folder, selection, mode);
    if let Some((number, file)) = start {
        // The source itself finds the files that come later.
        unreadable.retain(|(other, _)| *other < number);
        source.starting_in(file, &look);
        source.failed = !unreadable.is_empty();
        unreadable.iter().for_each(|(_, unable)| unable.warn());
    }
    Ok((source, total))
}

/// The finished files that may have lines of the time asked for, and whether the files after all of them may.
fn asked_for(folder: &Folder, look: &Look, selection: &Selection) -> (Vec<Finished>, bool) {
    let finished = &look.finished;
    let from = finished.partition_point(|file| selection.since.is_some_and(|since| file.label < since));
    let fall = last_fall(finished, tai64::now());
    let mut behind = finished.len();
    if let Some(until) = selection.until {
        behind = finished.partition_point(|file| file.label <= until || fall.is_some_and(|fall| file.label <= fall));
        // The first file without a stamp in that time ends the search.
        while let Some(file) = finished.get(behind) {
            // svlog reports a file that cannot be read when it comes to read its lines.
            if folder.finished_file(file).ok().flatten().is_some_and(|file| !is_in_time(file, folder, until, look)) {
                break;
            }
            behind += 1;
        }
    }
    (finished.get(from..behind).unwrap_or_default().to_vec(), behind == finished.len())
}

/// Whether a line in the file has a stamp up to `until`.
fn is_in_time(file: LogFile, folder: &Folder, until: Tai64N, look: &Look) -> bool {
    let selection = Selection { until: Some(until), ..Selection::default() };
    let mut source = Source::new(folder, &selection, Mode::Once);
    source.starting_in(file, look);
    while let Next::Line(_) = source.next() {
        if source.file_number() > 1 {
            break;
        }
        if source.line().is_some_and(|line| line.stamped) {
            return true;
        }
        source.take();
    }
    false
}

fn open(folder: &Folder, place: Place, look: &mut Look) -> Result<Option<LogFile>, Unable> {
    match place {
        Place::Finished(finished) => folder.finished_file(&finished),
        Place::Previous | Place::Processed => Ok(look.full.take()),
        Place::Current => Ok(look.current.take()),
    }
}

/// The position in the file at which to begin, and how many lines that were asked for begin from there on.
fn search(
    file: &LogFile,
    before: Option<&LogFile>,
    selection: &Selection,
    wanted: u64,
    count: impl Fn(LogFile) -> u64,
) -> io::Result<(u64, u64)> {
    let Some(plain) = file.plain() else { return Ok((0, count(file.at(0)?))) };
    let length = file.length();
    let since = selection.since.map(|since| begin_for(plain, length, since)).transpose()?;
    let first = match since.flatten() {
        Some(first @ 1..) => first,
        Some(0) | None => file.first_line(before)?,
    };
    let mut window = WINDOW;
    loop {
        let start = match length.checked_sub(window).filter(|start| *start > first) {
            None => first,
            // Only of a line with a stamp, and of the lines after it, is it known that they are of the time asked for.
            Some(start) if selection.has_bounds() => stamped_line_start(plain, start, length)?.unwrap_or(first),
            Some(start) => line_start(plain, start, length)?,
        };
        let lines = count(file.at(start)?);
        if lines >= wanted || start <= first {
            return Ok((start, lines));
        }
        window *= 4;
    }
}

/// How many lines that were asked for begin in the file after its current position.
fn lines_from(file: LogFile, folder: &Folder, selection: &Selection, look: &Look) -> u64 {
    let mut source = Source::new(folder, selection, Mode::Once);
    source.starting_in(file, look);
    let mut count = 0;
    while let Next::Line(_) = source.next() {
        if source.file_number() > 1 {
            break;
        }
        count += u64::from(source.line().is_some_and(|line| line.begins));
        source.take();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::tai64::{Label, Tai64};
    use proptest::prelude::*;
    use regex::bytes::Regex;
    use std::fs;

    fn at(second: u64) -> Tai64N {
        Tai64N(Tai64((1 << 62) + second), 0)
    }

    fn rest(source: &mut Source) -> Vec<String> {
        let mut lines = Vec::new();
        while let Next::Line(_) = source.next() {
            lines.extend(source.line().map(|line| String::from_utf8_lossy(line.text).into_owned()));
            source.take();
        }
        lines
    }

    /// A log that was rotated after these numbers of bytes, within or between lines.
    fn rotated(log: &[(Tai64N, String)], cuts: &[usize]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut content = String::new();
        let mut cuts = cuts.iter();
        let mut size = cuts.next();
        for (number, (time, line)) in log.iter().enumerate() {
            content.push_str(line);
            // The file is finished after the time of this line, and before that of the next.
            let label = Tai64N(time.0, u32::try_from(number).unwrap() + 1);
            if let Some(cut) = size.filter(|cut| **cut < content.len()) {
                // multilog never breaks off within a stamp.
                let start = content[..*cut].rfind('\n').map_or(0, |newline| newline + 1);
                let within_stamp = content[start..].starts_with('@') && *cut < start + 26;
                let rest = content.split_off(if within_stamp { start } else { *cut });
                fs::write(folder.path().join(format!("{}.s", Label(label))), &content).unwrap();
                (content, size) = (rest, cuts.next());
            }
        }
        fs::write(folder.path().join("current"), content).unwrap();
        folder
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn the_last_lines_are_the_end_of_all_lines(
            log in proptest::collection::vec((0u64..3, any::<bool>(), "[ab]{0,9}"), 0..30),
            cuts in proptest::collection::vec(1usize..200, 0..5),
            (since, until) in (proptest::option::of(0u64..40), proptest::option::of(0u64..40)),
            pattern in proptest::option::of("[ab]{1,2}"),
        ) {
            let mut second = 0;
            let line = |(step, stamped, text): &(u64, bool, String)| {
                second += step;
                let time = at(second);
                (time, if *stamped { format!("{} {text}\n", Label(time)) } else { format!("{text}\n") })
            };
            let log: Vec<_> = log.iter().map(line).collect();
            let scratch = rotated(&log, &cuts);
            let folder = Folder::open(scratch.path().as_os_str()).unwrap();
            let pattern = pattern.map(|pattern| Regex::new(&pattern).unwrap());
            let selection = Selection { since: since.map(at), until: until.map(at), pattern };
            let all = rest(&mut Source::new(&folder, &selection, Mode::Once));
            for wanted in [0, 1, 2, 5, 40] {
                let (mut source, total) = last(&folder, &selection, Mode::Once, wanted).unwrap();
                let shown = rest(&mut source);
                prop_assert_eq!(shown.len() as u64, total);
                let surplus = usize::try_from(total.saturating_sub(wanted)).unwrap();
                let expected = all.len().saturating_sub(usize::try_from(wanted).unwrap());
                prop_assert_eq!(&shown[surplus..], &all[expected..], "the last {} of {:?}", wanted, all);
            }
        }
    }
}
