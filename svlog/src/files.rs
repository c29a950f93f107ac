//! Decides in which order the files of a log directory are read. At the end of a file, the next one is:
//!
//! 1. if the file now has a finished name: the next finished file, else the full file (`previous`), else `current`;
//! 2. if it is the full file: `current`;
//! 3. if it is gone, and its bytes are in another file (a processor or a compressor has copied them), either in one
//!    that was finished since this file was `current`, or in the full file: that file, from the position up to which
//!    this one was read;
//! 4. if it is gone, and so are its bytes (a processor has rewritten them, or multilog has removed the file as too
//!    old): all files that were finished since this file was `current`.
//!
//! A file that is full when `current` is begun gets its finished name later: then it was finished since, but is older.
//!
//! svlog identifies an open file by its inode, so that a rotation changes only the name.

use crate::folder::{Folder, Look};
use crate::log_file::{Id, LogFile, Place};
use daemontools::Unable;
use daemontools::logdir::{Finished, last_fall};
use daemontools::tai64::{self, Tai64N};
use std::collections::VecDeque;

/// The files of a directory, one after the other.
pub struct Files<'a> {
    folder: &'a Folder,
    /// Files that were finished before this moment are left out.
    since: Option<Tai64N>,
    /// The finished files that come next.
    queue: VecDeque<Finished>,
    /// The finished file taken last, readable or not.
    passed: Option<Tai64N>,
    /// The newest finished file at the moment when an unfinished file was taken.
    newest: Option<Tai64N>,
    /// The full file before `current`, if it had no finished name yet when `current` was taken.
    unnamed: Option<LogFile>,
    /// The result of [`last_fall`].
    fall: Option<Tai64N>,
    /// The file before the next one, until bytes of the next one have been read.
    pub before: Option<LogFile>,
    /// Whether a file could not be read.
    pub failed: bool,
}

/// The file that comes after another one.
pub struct Following {
    /// The next file; none: there is no next file yet.
    pub file: Option<LogFile>,
    /// The relation of the next file to the one before it.
    pub relation: Relation,
}

/// The relation of a file to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The file has other lines.
    Other,
    /// The file is a copy of the one before, which is gone, and its position is the one up to which that was read.
    Copy,
    /// The file before is gone, and its lines may be in the files that come.
    Gone,
}

impl<'a> Files<'a> {
    /// Takes all files, except those that were finished before `since`.
    pub fn new(folder: &'a Folder, since: Option<Tai64N>) -> Files<'a> {
        let queue = VecDeque::new();
        Files {
            folder,
            since,
            queue,
            passed: None,
            newest: None,
            unnamed: None,
            fall: None,
            before: None,
            failed: false,
        }
    }

    /// Takes only the files that come after this one, which was among those looked at.
    pub fn begin_after(&mut self, place: &Place, look: &Look) {
        self.newest = newest(&look.finished);
        self.fall = last_fall(&look.finished, tai64::now());
        match place {
            Place::Finished(own) => {
                self.passed = Some(own.label);
                self.queue = look.finished.iter().filter(|finished| finished.label > own.label).cloned().collect();
            }
            Place::Current => self.unnamed = look.full.as_ref().and_then(|full| full.at(full.length()).ok()),
            Place::Previous | Place::Processed => {}
        }
    }

    /// The file that comes after `own`, whose name may have changed. Without `own`, the first file.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn after(&mut self, mut own: Option<&mut LogFile>) -> Result<Following, Unable> {
        let mut relation = Relation::Other;
        loop {
            if let Some(file) = self.next_finished() {
                return Ok(Following { file: Some(file), relation });
            }
            let look = self.folder.look()?;
            self.fall = last_fall(&look.finished, tai64::now());
            let id = own.as_ref().map(|file| file.id);
            match own.as_deref_mut() {
                None => self.before = self.folder.last_before(&look.finished, self.since),
                Some(LogFile { place: Place::Finished(_), .. }) => {}
                Some(file) if look.full.as_ref().map(|full| full.id) == id => {
                    self.newest = newest(&look.finished);
                    self.unnamed = look.current.as_ref().and_then(|_| file.at(file.offset).ok());
                    return Ok(Following { file: look.current, relation });
                }
                Some(file) => match self.renamed(&look.finished, file.id) {
                    Some(renamed) => {
                        self.passed = Some(renamed.label);
                        file.place = Place::Finished(renamed);
                    }
                    None => {
                        self.pass_unnamed(&look.finished);
                        if let Some(copy) = self.take_copy(file, &look) {
                            return Ok(Following { file: Some(copy), relation: Relation::Copy });
                        }
                        relation = Relation::Gone;
                        self.passed = self.newest;
                    }
                },
            }
            let Look { finished, full, current } = look;
            let newest = newest(&finished);
            let (since, passed) = (self.since, self.passed);
            let is_next = |file: &Finished| {
                passed.is_none_or(|passed| file.label > passed) && since.is_none_or(|since| file.label >= since)
            };
            self.queue = finished.into_iter().filter(is_next).collect();
            if self.queue.is_empty() {
                (self.newest, self.unnamed) = (newest, None);
                return Ok(Following { file: full.or(current).filter(|file| Some(file.id) != id), relation });
            }
        }
    }

    /// Whether all lines after this finished file are later than its name. They are, unless names tell otherwise.
    pub fn rises_after(&self, finished: &Finished) -> bool {
        self.fall.is_none_or(|fall| finished.label > fall)
    }

    /// Skips the full file before `current` under its new finished name, as it was read before.
    fn pass_unnamed(&mut self, finished: &[Finished]) {
        let Some(unnamed) = self.unnamed.take() else { return };
        let Some(next) = self.later(finished).next() else { return };
        let is_named = self.folder.id_of(&next.name) == Some(unnamed.id) || self.copy_in(&unnamed, next).is_some();
        if is_named {
            self.newest = Some(next.label);
        }
    }

    /// Takes the file that contains the bytes that were read of `own`, from there on. Finished files before it are
    /// older than `own`, and are skipped.
    fn take_copy(&mut self, own: &LogFile, look: &Look) -> Option<LogFile> {
        let mut later = self.later(&look.finished);
        if let Some((label, copy)) = later.find_map(|finished| Some((finished.label, self.copy_in(own, finished)?))) {
            self.queue = later.cloned().collect();
            self.passed = Some(label);
            return Some(copy);
        }
        let copy = own.go_on_in(look.full.as_ref()?).unwrap_or(None)?;
        self.newest = newest(&look.finished);
        Some(copy)
    }

    /// The finished file, from the position up to which `own` was read, if it has the same bytes before that position.
    /// If the file cannot be read, svlog says so when this file is next.
    fn copy_in(&self, own: &LogFile, finished: &Finished) -> Option<LogFile> {
        own.go_on_in(&self.folder.finished_file(finished).ok()??).ok()?
    }

    fn next_finished(&mut self) -> Option<LogFile> {
        while let Some(finished) = self.queue.pop_front() {
            self.passed = Some(finished.label);
            match self.folder.finished_file(&finished) {
                Ok(Some(file)) => return Some(file),
                Ok(None) => {}
                Err(unable) => {
                    unable.warn();
                    self.failed = true;
                }
            }
        }
        None
    }

    /// The kind and name that a file has now which was opened before it was finished.
    fn renamed(&self, finished: &[Finished], own: Id) -> Option<Finished> {
        self.later(finished).find(|file| self.folder.id_of(&file.name) == Some(own)).cloned()
    }

    /// The files that were finished since an unfinished file was taken.
    fn later<'f>(&self, finished: &'f [Finished]) -> impl Iterator<Item = &'f Finished> + use<'f> {
        let newest = self.newest;
        finished.iter().filter(move |file| newest.is_none_or(|newest| file.label > newest))
    }
}

fn newest(finished: &[Finished]) -> Option<Tai64N> {
    finished.last().map(|finished| finished.label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Selection;
    use crate::last::last;
    use crate::source::{Mode, Next, Source};
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

    const PLAIN: Case =
        Case { name: "plain", line: stamped, processor: None, is_original: false, is_compressed: false };
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
                    let stamp = if line.stamped { format!("{} ", Label(time)) } else { String::new() };
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
            let mut source = Source::new(folder, &selection, Mode::Follow);
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
            let selection = Selection::default();
            let sources =
                [Source::new(folder, &selection, Mode::Once), last(folder, &selection, Mode::Once, 10_000).unwrap().0];
            let mut begun = sources.map(|mut source| (show(&mut source, 1), source));
            more();
            for (shown, source) in &mut begun {
                *shown += &show(source, usize::MAX);
                assert!(shown.starts_with(&before) && after.starts_with(&*shown), "{what}: {shown}");
                assert!(!source.failed, "{what}");
            }
        });
    }
}
