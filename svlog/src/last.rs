//! The last lines of a log, found from its end.
//!
//! Windows that grow are counted from their first line on until there are enough, so that what is read grows with
//! the lines that are asked for, not with the log. What is compressed is read whole.

use crate::folder::{Finished, Folder, LogFile, Look, Place};
use crate::source::{Mode, Next, Selection, Source};
use daemontools::{Attempt, Unable};
use std::io;
use svlog::bisect::{first_line_from, line_start};

/// Bytes at the end of a file that are tried first; few in tests, so that small files have several windows.
const WINDOW: u64 = if cfg!(test) { 16 } else { 16 * 1024 };

/// The log from a line on that has at least `wanted` lines that were asked for after it, or all there are; and how
/// many they are.
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
    let mut places: Vec<Place> = asked_for(&look.finished, selection).into_iter().map(Place::Finished).collect();
    let over = selection.until.is_some_and(|until| look.finished.last().is_some_and(|last| last.label > until));
    if !over {
        places.extend(look.full.iter().chain(&look.current).map(|file| file.place.clone()));
    }
    // None too is a place in the last file.
    let wanted = wanted.max(1);
    let mut total = 0;
    let mut start = None;
    while let Some(place) = places.pop().filter(|_| total < wanted) {
        let Some(file) = open(folder, place, &mut look)? else { continue };
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
            start = Some(file.at(offset).unable_to("read", folder.path())?);
        }
    }
    let mut source = Source::new(folder, selection, mode);
    if let Some(file) = start {
        source.starting_in(file, &look);
    }
    Ok((source, total))
}

/// The finished files that may have lines of the time asked for.
fn asked_for(finished: &[Finished], selection: &Selection) -> Vec<Finished> {
    let from = finished.partition_point(|file| selection.since.is_some_and(|since| file.label < since));
    let behind = finished.partition_point(|file| selection.until.is_none_or(|until| file.label <= until));
    finished.get(from..(behind + 1).min(finished.len())).unwrap_or_default().to_vec()
}

fn open(folder: &Folder, place: Place, look: &mut Look) -> Result<Option<LogFile>, Unable> {
    match place {
        Place::Finished(finished) => folder.finished_file(&finished),
        Place::Previous | Place::Processed => Ok(look.full.take()),
        Place::Current => Ok(look.current.take()),
    }
}

/// Where in the file to begin, and how many lines asked for begin from there on in it.
fn search(
    file: &LogFile,
    before: Option<&LogFile>,
    selection: &Selection,
    wanted: u64,
    count: impl Fn(LogFile) -> u64,
) -> io::Result<(u64, u64)> {
    let Some(plain) = file.plain() else { return Ok((0, count(file.at(0)?))) };
    let length = file.length();
    let bound = |moment| match moment {
        Some(moment) => first_line_from(plain, length, moment),
        None => Ok(None),
    };
    let first = match bound(selection.since)? {
        Some(first @ 1..) => first,
        Some(0) | None => file.first_line(before)?,
    };
    let end = bound(selection.until)?.unwrap_or(length);
    let mut window = WINDOW;
    loop {
        let start = match end.checked_sub(window).filter(|start| *start > first) {
            Some(start) => line_start(plain, start, end)?,
            None => first,
        };
        let lines = count(file.at(start)?);
        if lines >= wanted || start <= first {
            return Ok((start, lines));
        }
        window *= 4;
    }
}

/// How many lines that were asked for begin in the file, from where it stands on.
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
    use daemontools::tai64::{Label, Tai64, Tai64N};
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

    /// A log that was rotated after these bytes of it, in or between lines.
    fn rotated(log: &[(Tai64N, String)], cuts: &[usize]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut content = String::new();
        let mut cuts = cuts.iter();
        let mut size = cuts.next();
        for (number, (time, line)) in log.iter().enumerate() {
            content.push_str(line);
            // After the time of this line, before that of the next.
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
