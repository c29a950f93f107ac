use super::*;
use crate::course::Mode;
use crate::last::tests::once;
use crate::last::{Memory, last};
use crate::pattern::Pattern;
use crate::selection::Selection;
use crate::source::{Next, Source};
use daemontools::tai64::{Label, Tai64};
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A step of multilog or its children in a log directory: one system call, or a few in which only one file changes.
#[derive(Debug)]
enum Step {
    Append(String),
    Create(&'static str),
    /// A processor writes its result.
    Process(Vec<u8>),
    /// multilog sets the mode that marks the result as complete.
    Complete,
    Rename(&'static str, String),
    /// The multilog of daemontools 0.76 renames the file.
    Link(&'static str, String),
    /// A compressor puts the packed file beside the other.
    Pack(String, Vec<u8>),
    Remove(String),
}

impl Step {
    fn take(&self, folder: &Path) {
        let path = |name: &str| folder.join(name);
        match self {
            Step::Append(text) => {
                let current = OpenOptions::new().append(true).create(true).open(path("current"));
                current.unwrap().write_all(text.as_bytes()).unwrap();
            }
            Step::Create(name) => fs::write(path(name), "").unwrap(),
            Step::Process(bytes) => fs::write(path("processed"), bytes).unwrap(),
            Step::Complete => fs::set_permissions(path("processed"), Permissions::from_mode(0o744)).unwrap(),
            Step::Rename(old, new) => fs::rename(path(old), path(new)).unwrap(),
            Step::Link(old, new) => fs::hard_link(path(old), path(new)).unwrap(),
            Step::Pack(name, bytes) => fs::write(path(name), bytes).unwrap(),
            Step::Remove(name) => fs::remove_file(path(name)).unwrap(),
        }
    }
}

/// A log: its lines, and what happens to a file that is full.
struct Case {
    name: &'static str,
    line: fn(u64) -> String,
    processor: Option<fn(&str) -> Vec<u8>>,
    is_original: bool,
    is_compressed: bool,
}

const PLAIN: Case = Case { name: "plain", line: stamped, processor: None, is_original: false, is_compressed: false };
const COPIED: Case = Case { name: "copied", processor: Some(|text| text.as_bytes().to_vec()), ..PLAIN };
const CASES: [Case; 9] = [
    PLAIN,
    COPIED,
    Case { name: "copied, as by the original", is_original: true, ..COPIED },
    Case { name: "compressed", is_compressed: true, ..PLAIN },
    Case { name: "copied and compressed", is_compressed: true, ..COPIED },
    Case { name: "packed by the processor", processor: Some(packed), ..PLAIN },
    Case { name: "rewritten", processor: Some(|text| rewritten(text).into_bytes()), ..PLAIN },
    Case { name: "rewritten and packed", processor: Some(|text| packed(&rewritten(text))), ..PLAIN },
    Case { name: "all lines are the same", line: |_| "I live\n".repeat(200), ..COPIED },
];

/// The seconds in which files get their names.
const NAMES: [u64; 2] = [110, 120];

fn label(second: u64) -> Label {
    Label(Tai64N(Tai64((1 << 62) + second), 0))
}

fn stamped(second: u64) -> String {
    format!("{} line {second}\n", label(second))
}

fn packed(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 1).unwrap()
}

fn rewritten(text: &str) -> String {
    text.replace("line ", "")
}

/// All steps in multilog's order, with files of two portions each and one portion in the last `current`.
fn steps(case: &Case) -> Vec<Step> {
    let mut steps = Vec::new();
    for second in NAMES {
        let portions = [second - 2, second - 1].map(case.line);
        let (text, name) = (portions.concat(), format!("{}.s", label(second)));
        steps.extend(portions.map(Step::Append));
        steps.extend([Step::Rename("current", "previous".into()), Step::Create("current")]);
        let mut result = "previous";
        if let Some(processor) = case.processor {
            steps.extend([Step::Create("processed"), Step::Process(processor(&text)), Step::Complete]);
            steps.push(Step::Remove("previous".into()));
            result = "processed";
        }
        match case.is_original {
            true => steps.extend([Step::Link(result, name.clone()), Step::Remove(result.into())]),
            false => steps.push(Step::Rename(result, name.clone())),
        }
        if case.is_compressed {
            steps.extend([Step::Pack(format!("{name}.zst"), packed(&text)), Step::Remove(name)]);
        }
    }
    steps.push(Step::Append((case.line)(140)));
    steps
}

/// The lines that these steps log, in a form that is the same whether a processor has rewritten them or not.
fn log(steps: &[Step]) -> String {
    let text = steps.iter().map(|step| match step {
        Step::Append(text) => text,
        Step::Create(_) | Step::Process(_) | Step::Complete | Step::Rename(..) | Step::Link(..) => "",
        Step::Pack(..) | Step::Remove(_) => "",
    });
    rewritten(&text.collect::<String>())
}

/// Shows the given number of lines, or all lines.
fn show(source: &mut Source, most: usize) -> String {
    let mut shown = String::new();
    for _ in 0..most {
        match source.next() {
            Next::Line(time) => {
                let line = source.line().unwrap();
                let stamp = if !line.stamp.is_empty() { format!("{} ", Label(time)) } else { String::new() };
                shown += &format!("{stamp}{}\n", String::from_utf8_lossy(line.text));
                source.take();
            }
            Next::Wait | Next::End => break,
            Next::Recheck => panic!("a file is taken for another one after {shown}"),
        }
    }
    rewritten(&shown)
}

/// Takes these steps in a new directory, then the other steps, and calls `test` with the directory between any two.
fn between_any_two(test: impl Fn(&Folder, &dyn Fn(), &dyn Fn(), [String; 3], &str)) {
    for case in CASES {
        let steps = steps(&case);
        for first in 1..steps.len() {
            for second in first..steps.len() {
                let scratch = tempfile::tempdir().unwrap();
                let folder = Folder::open(scratch.path().as_os_str()).unwrap();
                let take = |steps: &[Step]| steps.iter().for_each(|step| step.take(scratch.path()));
                take(&steps[..first]);
                let logs = [log(&steps[..first]), log(&steps[..second]), log(&steps)];
                let done = |number: usize| format!("{:?}", steps[number - 1]).chars().take(70).collect::<String>();
                let what = format!("{}: after {} and after {}", case.name, done(first), done(second));
                test(&folder, &|| take(&steps[first..second]), &|| take(&steps[second..]), logs, &what);
            }
        }
    }
}

#[test]
fn every_line_is_followed_once_whenever_it_is_looked_and_whatever_happens_in_between() {
    between_any_two(|folder, more, rest, [_, _, log], what| {
        let selection = Selection::default();
        let mut source = Source::new(folder, &selection, Mode::Follow, 1 << 16);
        let mut shown = show(&mut source, usize::MAX);
        more();
        shown += &show(&mut source, usize::MAX);
        rest();
        shown += &show(&mut source, usize::MAX);
        assert_eq!((shown, source.failed), (log, false), "{what}");
    });
}

#[test]
fn every_line_is_read_once_though_files_become_others_while_they_are_read() {
    between_any_two(|folder, more, _, [before, after, _], what| {
        let all = Selection::default();
        // With a pattern, the last lines are kept in memory.
        let any = Selection { pattern: Some(Pattern::new("").unwrap()), ..Selection::default() };
        let last = |selection| last(folder, selection, once(10_000), Memory::for_each_of(1)).unwrap().source;
        let sources = [Source::new(folder, &all, Mode::Once, 1 << 16), last(&all), last(&any)];
        let mut begun = sources.map(|mut source| (show(&mut source, 1), source));
        more();
        for (shown, source) in &mut begun {
            *shown += &show(source, usize::MAX);
            assert!(shown.starts_with(&before) && after.starts_with(&*shown), "{what}: {shown}");
            assert!(!source.failed, "{what}");
        }
    });
}
