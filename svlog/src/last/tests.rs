use super::*;
use crate::context::Around;
use crate::line::{Line, Role};
use crate::pattern::Pattern;
use daemontools::tai64::{Label, Tai64};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

fn at(second: u64) -> Tai64N {
    Tai64N(Tai64((1 << 62) + second), 0)
}

/// So many lines are asked for.
pub fn once(wanted: u64) -> Asked {
    Asked { wanted, mode: Mode::Once, keeps_position: false }
}

fn rest(source: &mut Source) -> Vec<String> {
    let mut lines = Vec::new();
    while let Next::Line(_) = source.next() {
        lines.extend(source.line().map(|line| String::from_utf8_lossy(line.text).into_owned()));
        source.take();
    }
    lines
}

/// The lines of a log, of which each comes so many seconds after the one before, and may have a stamp.
pub fn log_of(log: &[(u64, bool, String)]) -> Vec<(Tai64N, String)> {
    let mut second = 0;
    let line = |(step, stamped, text): &(u64, bool, String)| {
        second += step;
        let time = at(second);
        (time, if *stamped { format!("{} {text}\n", Label(time)) } else { format!("{text}\n") })
    };
    log.iter().map(line).collect()
}

/// A log that was rotated after these numbers of bytes, within or between lines.
pub fn rotated(log: &[(Tai64N, String)], cuts: &[usize]) -> tempfile::TempDir {
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

/// Compresses all files of a log that are finished.
pub fn pack(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some() {
            let packed = zstd::encode_all(&*fs::read(&path).unwrap(), 0).unwrap();
            fs::write(path, packed).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_last_lines_are_the_end_of_all_lines(
        log in proptest::collection::vec((0u64..3, any::<bool>(), "[ab]{0,9}"), 0..30),
        cuts in proptest::collection::vec(1usize..200, 0..5),
        (since, until) in (proptest::option::of(0u64..40), proptest::option::of(0u64..40)),
        (pattern, unwanted) in (proptest::option::of("[ab]{1,2}"), proptest::option::of("[ab]{3}")),
        are_packed in any::<bool>(),
    ) {
        let log = log_of(&log);
        let scratch = rotated(&log, &cuts);
        if are_packed {
            pack(scratch.path());
        }
        let folder = Folder::open(scratch.path().as_os_str()).unwrap();
        let pattern = pattern.map(|pattern| Pattern::new(&pattern).unwrap());
        let unwanted = unwanted.map(|pattern| Pattern::new(&pattern).unwrap());
        let selection = Selection { since: since.map(at), until: until.map(at), pattern, unwanted, ..Selection::default() };
        let all = rest(&mut Source::new(&folder, &selection, Mode::Once, ROOM));
        let is_whole = |text: &&String| log.iter().any(|(time, line)| {
            line.trim_end_matches('\n') == *text || *line == format!("{} {text}\n", Label(*time))
        });
        prop_assert_eq!(all.iter().find(|text| !is_whole(text)), None, "parts of lines in {:?}", all);
        for (wanted, kept) in [(0, 1 << 20), (1, 1 << 20), (2, 1 << 20), (5, 1 << 20), (40, 1 << 20), (5, 200), (1, 0)] {
            let memory = Memory { room: ROOM, kept };
            let Last { mut source, count: total, .. } = last(&folder, &selection, once(wanted), memory).unwrap();
            let shown = rest(&mut source);
            prop_assert_eq!(shown.len() as u64, total);
            let surplus = usize::try_from(total.saturating_sub(wanted)).unwrap();
            let expected = all.len().saturating_sub(usize::try_from(wanted).unwrap());
            prop_assert_eq!(&shown[surplus..], &all[expected..], "the last {} of {:?}", wanted, all);
        }
    }
}

type Shown = (Tai64N, Vec<u8>, Vec<u8>, bool, bool);

/// All lines, each with what is shown of it. `run`: how many lines of a run are taken, before it is refused.
fn in_runs(source: &mut Source, run: usize) -> Vec<Shown> {
    let mut lines = Vec::new();
    let shown = |line: Line| (line.time, line.stamp.to_vec(), line.text.to_vec(), line.begins, line.ends);
    while let Next::Line(_) = source.next() {
        lines.extend(source.line().map(shown));
        source.take();
        let most = lines.len() + run;
        source.show_run(|line| {
            let is_taken = lines.len() < most;
            lines.extend(is_taken.then(|| shown(line)));
            is_taken
        });
    }
    lines
}

proptest! {
    #[test]
    fn lines_that_are_shown_in_runs_are_those_that_are_found_one_by_one(
        log in proptest::collection::vec((0u64..3, any::<bool>(), "[ab]{0,9}"), 0..30),
        cuts in proptest::collection::vec(1usize..200, 0..5),
        (since, until) in (proptest::option::of(0u64..40), proptest::option::of(0u64..40)),
        (before, pattern) in (0u64..2, proptest::option::of("[ab]{1,2}")),
        (run, room) in (1usize..9, 8usize..200),
    ) {
        let log = log_of(&log);
        let scratch = rotated(&log, &cuts);
        let folder = Folder::open(scratch.path().as_os_str()).unwrap();
        let pattern = pattern.map(|pattern| Pattern::new(&pattern).unwrap());
        let around = Around { before, after: 0 };
        let selection = Selection { since: since.map(at), until: until.map(at), pattern, around, ..Selection::default() };
        let shown = |run| in_runs(&mut Source::new(&folder, &selection, Mode::Once, room), run);
        prop_assert_eq!(shown(run), shown(0));
    }
}

/// A file that was finished too late ends the reading, unless a line goes on in the file after it.
#[test]
fn a_line_that_goes_on_in_later_files_is_one_line_and_is_counted_as_one() {
    let stamped = |second, text: &str| format!("{} {text}", Label(at(second)));
    let late = stamped(12, "late\n");
    for (files, pattern, expected) in [
        // The service began a line at 8 and ended it at 13, and both files after that moment were finished later.
        (vec![(10, stamped(8, "")), (12, "a".into()), (13, format!("b\n{late}"))], None, vec!["ab"]),
        (vec![(12, stamped(8, "a")), (13, "b\n".into()), (14, late.clone())], None, vec!["ab"]),
        (vec![(10, stamped(8, "a")), (12, String::new()), (13, format!("b\n{late}"))], None, vec!["ab"]),
        (vec![(10, stamped(8, "a")), (12, format!("b\n{late}")), (14, late.clone())], None, vec!["ab"]),
        // Only the rest of the line matches.
        (vec![(5, stamped(4, "b\n")), (10, stamped(8, "a")), (12, "b\n".into())], Some("b"), vec!["b", "ab"]),
        // A file whose lines are too late ends the reading, though the clock was set back after it.
        (vec![(10, stamped(8, "a\n")), (12, late.clone()), (14, stamped(9, "b\n"))], None, vec!["a"]),
        (vec![(10, stamped(8, "a\n")), (12, stamped(9, "b\n")), (14, stamped(9, "c\n"))], None, vec!["a", "b", "c"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for (label, content) in &files {
            fs::write(folder.path().join(format!("{}.s", Label(at(*label)))), content).unwrap();
        }
        let folder = Folder::open(folder.path().as_os_str()).unwrap();
        let pattern = pattern.map(|pattern| Pattern::new(pattern).unwrap());
        let selection = Selection { until: Some(at(11)), pattern, ..Selection::default() };
        assert_eq!(rest(&mut Source::new(&folder, &selection, Mode::Once, ROOM)), expected, "{files:?}");
        let memory = Memory { room: ROOM, kept: 1 << 20 };
        for wanted in 0..3 {
            let Last { mut source, count: total, .. } = last(&folder, &selection, once(wanted), memory).unwrap();
            let shown = rest(&mut source);
            assert_eq!(shown.len() as u64, total, "the last {wanted} of {files:?}");
            assert!(total >= wanted.min(expected.len() as u64), "the last {wanted} of {files:?}");
            assert_eq!(shown, expected[expected.len() - shown.len()..], "the last {wanted} of {files:?}");
        }
    }
}

/// What is shown with lines around those that match: `>` before such a line, `--` where lines were left out.
fn with_context(source: &mut Source) -> Vec<String> {
    let mut lines = Vec::new();
    while let Next::Line(_) = source.next() {
        if let Some(line) = source.line() {
            let gap = if line.gap { "--" } else { "" };
            let mark = if line.role == Role::Match { "" } else { ">" };
            lines.push(format!("{gap}{mark}{}", String::from_utf8_lossy(line.text)));
        }
        source.take();
    }
    lines
}

/// The lines around those with these numbers.
fn expected_context(all: &[String], around: Around, matches: &[usize]) -> Vec<String> {
    let near = |number: usize| {
        matches.iter().any(|one| {
            let (before, after) = (one.saturating_sub(number) as u64, number.saturating_sub(*one) as u64);
            before <= around.before && after <= around.after
        })
    };
    let (mut lines, mut last) = (Vec::new(), None);
    for number in (0..all.len()).filter(|number| near(*number)) {
        let is_next = !around.is_any() || last.is_none_or(|last: usize| last + 1 == number);
        let gap = if is_next { "" } else { "--" };
        let mark = if matches.contains(&number) { "" } else { ">" };
        lines.push(format!("{gap}{mark}{}", all[number]));
        last = Some(number);
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn lines_around_matches_are_those_that_stand_there(
        log in proptest::collection::vec((0u64..3, any::<bool>(), "[ab]{0,9}"), 0..30),
        cuts in proptest::collection::vec(1usize..200, 0..5),
        (before, after) in (0u64..4, 0u64..4),
        // For the second pattern, a block tells only where lines may match.
        pattern in "[ab]{2,3}|\\^[ab]{2}",
        (wanted, room) in (0usize..4, 8usize..200),
    ) {
        let log = log_of(&log);
        let scratch = rotated(&log, &cuts);
        let folder = Folder::open(scratch.path().as_os_str()).unwrap();
        let all = rest(&mut Source::new(&folder, &Selection::default(), Mode::Once, ROOM));
        let around = Around { before, after };
        let pattern = Pattern::new(&pattern).unwrap();
        let matches: Vec<usize> = (0..all.len()).filter(|number| pattern.is_match(all[*number].as_bytes())).collect();
        let selection = Selection { pattern: Some(pattern), around, ..Selection::default() };
        let expected = expected_context(&all, around, &matches);
        prop_assert_eq!(&with_context(&mut Source::new(&folder, &selection, Mode::Once, room)), &expected);
        let memory = Memory { room, kept: 1 << 20 };
        let Last { mut source, count: total, .. } = last(&folder, &selection, once(wanted as u64), memory).unwrap();
        let shown = with_context(&mut source);
        if around.is_any() {
            prop_assert_eq!(total, matches.len().min(wanted) as u64);
            let expected = expected_context(&all, around, &matches[matches.len().saturating_sub(wanted)..]);
            prop_assert_eq!(shown, expected);
        }
    }
}
