//! What of a script will not do what its author wanted. With what each word means it is multilog's answer to `--check`. No
//! I/O.

use crate::lint::{Lint, Selectable};
use crate::meaning::{meaning, shown};
use crate::pattern::stops_too_early;
use crate::pattern::{Dialect, Pattern};
use crate::script::{Action, Reader, Word};
use crate::settings::{Directory, size};
use crate::steps::MOST_DIRECTORIES;
use daemontools::logdir::stamp::StampKind;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What there is to say about a script.
#[derive(Debug, Default)]
pub struct Report {
    /// A line for each argument.
    pub lines: Vec<String>,
    /// What is wrong, in the script's order.
    pub warnings: Vec<String>,
}

/// Explains a script.
pub fn check(arguments: &[OsString]) -> Report {
    let mut check = Check::default();
    let mut lines = Vec::new();
    for (index, argument) in arguments.iter().enumerate() {
        let word = check.reader.read(argument);
        check.look(index, argument, &word);
        let meaning = meaning(index, argument, word, &check.reader.settings);
        lines.push(format!("{}: {meaning}", shown(argument)));
    }
    check.end(arguments.len());
    check.warnings.sort_by_key(|(index, _)| *index);
    let name = |index: usize| arguments.get(index).map_or(String::new(), |argument| format!("{}: ", shown(argument)));
    let warnings = check.warnings.iter().map(|(index, text)| name(*index) + text).collect();
    Report { lines, warnings }
}

/// What multilog says when it starts of words that it leaves out or takes for something else, because lines are lost by
/// them: a word that is no action, a directory whose name is taken for an action, and a script that keeps no line. The
/// original says nothing, so that what else [`check`] finds is left to it. `is_directory` tells whether a word names
/// one.
pub fn misread(arguments: &[OsString], is_directory: impl Fn(&OsStr) -> bool) -> Vec<String> {
    let mut reader = Reader::default();
    let mut said = Vec::new();
    let mut keeps = false;
    for argument in arguments {
        let word = reader.read(argument);
        keeps |= match &word {
            Word::Action(action) => writes(action),
            Word::Directory(_) => true,
            Word::Stamp(_) | Word::Dialect(_) | Word::Sees(_) | Word::Setting(_) => false,
            // A warning of the script's reader says that these are left out.
            Word::Malformed(_) | Word::Unset(_) | Word::Unknown => false,
        };
        let shown = shown(argument);
        if word == Word::Unknown && !argument.is_empty() {
            said.push(format!("{shown} is no action and is ignored: {BEGINNING}"));
        } else if argument.len() > 1 && takes_no_name(&word) && is_directory(argument) {
            said.push(format!("{shown} is not taken for the directory of that name: {BEGINNING}"));
        }
    }
    // Without any word it is meant to throw all away.
    if !keeps && arguments.iter().any(|argument| !argument.is_empty()) {
        said.push(NO_WRITER.into());
    }
    said
}

/// What the name of a directory must have that is to be one for multilog.
const BEGINNING: &str = "a log directory begins with . or /";
const NO_WRITER: &str = "no action writes lines: they all are thrown away";

/// Whether selected lines go anywhere by it.
fn writes(action: &Action) -> bool {
    match action {
        Action::Log(_) | Action::Alert | Action::Status(_) | Action::Output | Action::Syslog(_) => true,
        Action::Select(_) | Action::Deselect(_) | Action::Prefix(_) | Action::Limit(_) => false,
    }
}

/// Whether what follows the letter has a form of its own, and is not a text, which may be any word.
fn takes_no_name(word: &Word) -> bool {
    match word {
        Word::Stamp(_) | Word::Dialect(_) | Word::Sees(_) | Word::Setting(_) | Word::Unset(_) => true,
        Word::Action(Action::Alert | Action::Output) | Word::Malformed(_) => true,
        Word::Action(_) | Word::Directory(_) | Word::Unknown => false,
    }
}

/// What waits for something that it counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Setting(u8),
    Dialect,
    Sees,
    Prefix,
    Selection,
}

#[derive(Default)]
struct Check {
    reader: Reader,
    stamp: Option<StampKind>,
    lint: Lint,
    unused: Vec<(Kind, usize)>,
    directories: Vec<OsString>,
    writes: bool,
    warnings: Vec<(usize, String)>,
}

impl Check {
    fn warn(&mut self, index: usize, text: impl Into<String>) {
        self.warnings.push((index, text.into()));
    }

    fn look(&mut self, index: usize, argument: &OsStr, word: &Word) {
        let rest = argument.as_bytes().get(1..).unwrap_or_default();
        if !rest.is_empty() && takes_none(word) {
            self.warn(index, "only its first letter counts");
        }
        match word {
            Word::Stamp(stamp) if index == 0 => self.stamp = Some(*stamp),
            Word::Stamp(_) => self.warn(index, "not the first action, so it is ignored"),
            Word::Unknown => self.warn(index, "no such action, so it is ignored"),
            Word::Malformed(reason) => self.warn(index, format!("ignored: {reason}")),
            Word::Unset(reason) => self.warn(index, format!("ignored: {reason}")),
            Word::Setting(letter) => {
                self.settings(index, *letter, rest);
                self.set(Kind::Setting(*letter), index);
            }
            Word::Dialect(_) => self.set(Kind::Dialect, index),
            Word::Sees(_) if self.stamp.is_none() => self.warn(index, "no stamp is asked for, so it changes nothing"),
            Word::Sees(_) => self.set(Kind::Sees, index),
            Word::Action(Action::Prefix(_)) => self.set(Kind::Prefix, index),
            Word::Action(action) => self.action(index, action),
            Word::Directory(directory) => self.directory(index, directory),
        }
    }

    /// It counts for what follows; what was set before and not used yet does not count any more.
    fn set(&mut self, kind: Kind, index: usize) {
        for replaced in self.take_unused(|other| other == kind) {
            self.warn(replaced, "set anew before anything uses it");
        }
        self.unused.push((kind, index));
    }

    fn take_unused(&mut self, is_meant: impl Fn(Kind) -> bool) -> Vec<usize> {
        let (taken, left) = self.unused.iter().partition(|(kind, _)| is_meant(*kind));
        self.unused = left;
        taken.into_iter().map(|(_, index): (Kind, usize)| index).collect()
    }

    fn action(&mut self, index: usize, action: &Action) {
        match action {
            Action::Select(pattern) | Action::Deselect(pattern) => {
                self.take_unused(|kind| matches!(kind, Kind::Dialect | Kind::Sees));
                let complaints = self.lint.pattern(matches!(action, Action::Select(_)), pattern, self.stamp);
                complaints.into_iter().for_each(|text| self.warn(index, text));
                self.star(index, pattern);
                self.unused.push((Kind::Selection, index));
            }
            Action::Limit(_) => {
                if self.lint.limit() == Selectable::None {
                    self.warn(index, "no line is selected here, so it does nothing");
                }
                self.unused.push((Kind::Selection, index));
            }
            Action::Status(file) if file.is_empty() => self.warn(index, "names no file: multilog will not start"),
            _ => self.write(index),
        }
    }

    /// In the original's patterns a star does not stand for all that fits.
    fn star(&mut self, index: usize, pattern: &Pattern) {
        let missed = (pattern.dialect == Dialect::Simple).then(|| stops_too_early(&pattern.text)).flatten();
        if let Some((first, line)) = missed {
            let [first, line] = [&[first][..], &line].map(|text| shown(OsStr::from_bytes(text)));
            self.warn(
                index,
                format!("a star stops at the first {first:?}, so it misses {line:?}; after F it does not"),
            );
        }
    }

    fn write(&mut self, index: usize) {
        self.writes = true;
        self.take_unused(|kind| matches!(kind, Kind::Prefix | Kind::Selection));
        if self.lint.state == Selectable::None {
            self.warn(index, "no line is selected here, so nothing goes there");
        }
    }

    fn directory(&mut self, index: usize, directory: &Directory) {
        // However it is written, as far as that can be told without a look.
        if self.directories.iter().any(|other| Path::new(other) == Path::new(&directory.path)) {
            self.warn(index, "named twice: multilog will not start");
        }
        if self.directories.len() == MOST_DIRECTORIES {
            self.warn(index, format!("more than {MOST_DIRECTORIES} directories: multilog will not start"));
        }
        if directory.code.contains(&b'/') {
            self.warn(index, "its files cannot be named, with a slash in their code");
        }
        if directory.full_at() < directory.size {
            let full_at = directory.full_at();
            self.warn(index, format!("its files are full at {full_at} bytes, or {} would not do for two", 2 * full_at));
        }
        self.directories.push(directory.path.clone());
        self.take_unused(|kind| matches!(kind, Kind::Setting(_)));
        self.write(index);
    }

    /// Where another value is taken than was told, without a word.
    fn settings(&mut self, index: usize, letter: u8, written: &[u8]) {
        let text = String::from_utf8_lossy(written);
        let (number, taken) = match letter {
            b's' => (size(&text).ok(), self.reader.settings.size),
            b'n' => (text.parse().ok(), self.reader.settings.count as u64),
            b'b' if !written.is_empty() => (size(&text).ok(), self.reader.settings.bytes.unwrap_or(0)),
            _ => return,
        };
        match number {
            Some(number) if number == taken => {}
            Some(_) => self.warn(index, format!("out of range: {taken} is taken")),
            None => self.warn(index, format!("not a number alone: {taken} is taken")),
        }
    }

    fn end(&mut self, count: usize) {
        for (kind, index) in std::mem::take(&mut self.unused) {
            let what = match kind {
                Kind::Setting(_) => "no directory follows, so it sets nothing",
                Kind::Dialect | Kind::Sees => "no pattern follows, so it changes nothing",
                Kind::Prefix | Kind::Selection => "nothing that follows writes lines, so it changes nothing",
            };
            self.warn(index, what);
        }
        if !self.writes {
            self.warn(count, NO_WRITER);
        }
    }
}

/// Whether an action is a letter alone.
fn takes_none(word: &Word) -> bool {
    match word {
        Word::Stamp(_) | Word::Dialect(_) | Word::Sees(_) | Word::Action(Action::Alert | Action::Output) => true,
        Word::Action(_) | Word::Directory(_) | Word::Setting(_) => false,
        Word::Malformed(_) | Word::Unset(_) | Word::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn checked(script: &str) -> Report {
        check(&script.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn an_ordinary_script_is_explained_and_nothing_is_wrong_with_it() {
        let report = checked("t s1000000 n20 ./main -* +*f* ./alerts e =status");
        let lines = [
            "t: each line begins with a TAI64N label",
            "s1000000: files in directories that follow are full at 1000000 bytes",
            "n20: directories that follow keep 20 files, the current one among them",
            "./main: selected lines go to the log directory ./main, in at most 20 files of 1000000 bytes",
            "-*: deselects every line",
            "+*f*: selects lines that match \"*f*\"",
            "./alerts: selected lines go to the log directory ./alerts, in at most 20 files of 1000000 bytes",
            "e: the first 200 bytes of selected lines go to standard error",
            "=status: the file status shows the last selected line",
        ];
        assert_eq!(report.lines, lines);
        assert_eq!(report.warnings, [""; 0]);
    }

    #[test]
    fn every_kind_of_action_has_words() {
        let script =
            "I F -[ab] R +^c x -d S pweb: l5/1s o u/dev/log w.x !cat !gzip b1M a7d rday zzstd yline doldest /log";
        let report = checked(script);
        assert!(report.lines.iter().all(|line| !line.ends_with("nothing")), "{report:#?}");
        assert_eq!(report.lines.len(), script.split(' ').count());
        for line in [
            "u/dev/log: selected lines go to syslog at /dev/log as daemon.info",
            "rday: files in directories that follow are finished at each day",
        ] {
            assert!(report.lines.iter().any(|other| other == line), "{report:#?}");
        }
    }

    #[test]
    fn what_will_not_do_what_it_seems_to_is_said() {
        let table = [
            ("./main t", "t: not the first action, so it is ignored"),
            ("zzz ./main", "zzz: ignored: neither zstd nor gzip"),
            ("Q ./main", "Q: no such action, so it is ignored"),
            ("./main s5000", "s5000: no directory follows, so it sets nothing"),
            ("s5000 s6000 ./main", "s5000: set anew before anything uses it"),
            ("s99 ./main", "s99: out of range: 4096 is taken"),
            ("s99999999 ./main", "s99999999: out of range: 16777215 is taken"),
            ("s5000x ./main", "s5000x: not a number alone: 5000 is taken"),
            ("s1k ./main", "s1k: out of range: 4096 is taken"),
            ("n1 ./main", "n1: out of range: 2 is taken"),
            ("b100 ./main", "b100: out of range: 8192 is taken"),
            ("b1k ./main", "b1k: out of range: 8192 is taken"),
            ("s1M b1M ./main", "./main: its files are full at 524288 bytes, or 1048576 would not do for two"),
            ("nten ./main", "nten: not a number alone: 2 is taken"),
            ("./main -*x", "-*x: nothing that follows writes lines, so it changes nothing"),
            ("-* ./main", "./main: no line is selected here, so nothing goes there"),
            ("+a ./main", "+a: all lines are selected here already, so it does nothing"),
            ("-* -a +b ./main", "-a: no line is selected here, so it does nothing"),
            ("t -a ./main", "-a: it can never match, as each line begins with its stamp"),
            ("-** ./main", "-**: in a simple pattern the second of two stars is looked for in the line"),
            (
                "-* +*fatal* ./main",
                "+*fatal*: a star stops at the first \"f\", so it misses \"f fatal\"; after F it does not",
            ),
            ("-a*b ./main", "-a*b: a star stops at the first \"b\", so it misses \"ab b\"; after F it does not"),
            ("F ./main", "F: no pattern follows, so it changes nothing"),
            ("x -a ./main", "x: no stamp is asked for, so it changes nothing"),
            ("R -a( ./main", "-a(: ignored: unclosed group"),
            ("l5 ./main", "l5: ignored: no duration behind a slash, as in l100/1s"),
            ("./main pweb", "pweb: nothing that follows writes lines, so it changes nothing"),
            ("./main ./main", "./main: named twice: multilog will not start"),
            ("./main ././main/", "././main/: named twice: multilog will not start"),
            ("tai ./main", "tai: only its first letter counts"),
            ("./main exyz", "exyz: only its first letter counts"),
            ("oX", "oX: only its first letter counts"),
            ("Fxx -a ./main", "Fxx: only its first letter counts"),
            ("t Xx -a ./main", "Xx: only its first letter counts"),
            ("=", "=: names no file: multilog will not start"),
            ("w/ ./main", "./main: its files cannot be named, with a slash in their code"),
            ("-* l5/1s +a ./main", "l5/1s: no line is selected here, so it does nothing"),
            ("t", "no action writes lines: they all are thrown away"),
        ];
        for (script, expected) in table {
            assert!(checked(script).warnings.iter().any(|text| text == expected), "{script}: {:?}", checked(script));
        }
    }

    #[test]
    fn words_by_which_lines_are_lost_are_said_at_the_start() {
        let main = "main is no action and is ignored: a log directory begins with . or /";
        let taken = |word: &str| format!("{word} is not taken for the directory of that name: {BEGINNING}");
        let table = [
            ("t main", vec![main.to_string(), NO_WRITER.into()]),
            ("t main ./main", vec![main.into()]),
            ("t errors", vec![taken("errors")]),
            ("service ./main", vec![taken("service")]),
            ("t", vec![NO_WRITER.into()]),
            ("-* +a", vec![NO_WRITER.into()]),
            // There is no directory of such a name.
            ("t s5000 n20 e", vec![]),
            ("T extra ./main", vec![]),
            // The original's scripts, and what only `--check` says.
            ("./main t", vec![]),
            ("!cat s1 ./main s5", vec![]),
            ("=status", vec![]),
            ("pweb u/dev/log", vec![]),
        ];
        assert_eq!(misread(&[], |_| true), [""; 0]);
        let is_directory = |word: &OsStr| ["main", "errors", "service", "pweb", "t"].iter().any(|name| word == *name);
        for (script, expected) in table {
            let words: Vec<OsString> = script.split(' ').map(OsString::from).collect();
            assert_eq!(misread(&words, is_directory), expected, "{script}");
        }
    }

    #[test]
    fn what_is_in_order_is_not_complained_about() {
        for script in [
            "s16M ./main",
            "s5000 b10k ./main",
            "b1M ./main b ./other",
            "./a S -*b* ./c",
            "t x -a ./main",
            "t -@4* ./main",
            "T -*x* ./main",
            "t -* F +*x* R +y x -z ./main",
            "s5000 ./a s6000 ./b",
            "pa: o p u/dev/log",
            "-* +*a* ./a +* ./b",
        ] {
            assert_eq!(checked(script).warnings, [""; 0], "{script}");
        }
    }

    proptest! {
        /// Whatever the script: a line for each action, that no terminal obeys.
        #[test]
        fn any_script_is_explained(
            words in proptest::collection::vec(("[-+tTILFSRxXeopul=./snw!bardyzQ]", proptest::collection::vec(any::<u8>(), 0..9)), 0..9)
        ) {
            let word = |(letter, rest): &(String, Vec<u8>)| OsStr::from_bytes(&[letter.as_bytes(), rest].concat()).to_os_string();
            let script: Vec<OsString> = words.iter().map(word).collect();
            let report = check(&script);
            prop_assert_eq!(report.lines.len(), script.len());
            prop_assert!(report.lines.iter().chain(&report.warnings).all(|line| !line.chars().any(char::is_control)));
        }
    }
}
