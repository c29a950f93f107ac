//! Finds what in a script will not do what its author wanted. `--check` shows that, and what each word means. No I/O.

use crate::lint::{Lint, Selectable};
use crate::meaning::{meaning, shown};
use crate::misread::{BEGINNING, NO_WRITER};
use crate::pattern::stops_too_early;
use crate::pattern::{Dialect, Pattern};
use crate::script::{Action, Reader, Script, Word};
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

/// A warning for each log directory that multilog cannot make, because the directory above it is missing. `is_missing` tells
/// whether a directory is. Of a relative path that is not asked, as the script may be for another directory than the current
/// one.
pub fn without_parent(arguments: &[OsString], is_missing: impl Fn(&Path) -> bool) -> Vec<String> {
    let directories = Script::parse(arguments.iter().cloned()).directories.into_iter().map(|directory| directory.path);
    let absolute = directories.filter(|path| Path::new(path).is_absolute());
    let orphans = absolute.filter(|path| Path::new(path).parent().is_some_and(&is_missing));
    orphans
        .map(|path| format!("{}: its parent directory does not exist: multilog will not start", shown(&path)))
        .collect()
}

/// A kind of word that counts for a word behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Setting(u8),
    Dialect,
    MatchScope,
    Prefix,
    Selection,
}

#[derive(Default)]
struct Check {
    reader: Reader,
    stamp: Option<StampKind>,
    lint: Lint,
    /// The words that count for a word behind them, as long as there is no such word.
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
        if !rest.is_empty() && word.is_letter() {
            self.warn(index, "only its first letter counts");
        }
        match word {
            Word::Stamp(stamp) if index == 0 => self.stamp = Some(*stamp),
            Word::Stamp(_) => self.warn(index, "not the first action, so it is ignored"),
            Word::Unknown => self.warn(index, format!("no such action, so it is ignored: {BEGINNING}")),
            Word::Malformed(reason) => {
                self.warn(index, format!("ignored: {reason}"));
                // What counts for a pattern was meant for this one.
                if matches!(argument.as_bytes(), [b'+' | b'-', ..]) {
                    self.take_unused(|kind| matches!(kind, Kind::Dialect | Kind::MatchScope));
                }
            }
            Word::Unset(reason) => self.warn(index, format!("ignored: {reason}")),
            Word::Setting(letter) => {
                self.settings(index, *letter, rest);
                self.set(Kind::Setting(*letter), index);
            }
            Word::Dialect(_) => self.set(Kind::Dialect, index),
            Word::MatchScope(_) if self.stamp.is_none() => {
                self.warn(index, "no stamp is asked for, so it changes nothing")
            }
            Word::MatchScope(_) => self.set(Kind::MatchScope, index),
            Word::Action(Action::Prefix(_)) => self.set(Kind::Prefix, index),
            Word::Action(action) => self.action(index, action),
            Word::Directory(directory) => self.directory(index, directory),
        }
    }

    /// A word of this kind counts for the words behind it. An earlier word of this kind that no word has used yet does not
    /// count any more.
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
                self.take_unused(|kind| matches!(kind, Kind::Dialect | Kind::MatchScope));
                let complaints = self.lint.pattern(matches!(action, Action::Select(_)), pattern, self.stamp);
                complaints.into_iter().for_each(|text| self.warn(index, text));
                self.option(index, action, pattern);
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

    /// Users of options may write an action as one: `-t`.
    fn option(&mut self, index: usize, action: &Action, pattern: &Pattern) {
        let [letter] = pattern.text[..] else { return };
        if matches!(action, Action::Deselect(_)) && Reader::default().read(OsStr::from_bytes(&[letter])).is_letter() {
            let letter = char::from(letter).to_string();
            self.warn(index, format!("it deselects the line {letter:?} alone: did you mean {letter}?"));
        }
    }

    /// Warns of a star that stops too early: in the original's patterns, a star does not stand for any text.
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
        // The same directory may be written in several ways. Only its text is compared.
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

    /// Warns where the original's rules take another value than the argument says, without a message.
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
                Kind::Dialect | Kind::MatchScope => "no pattern follows, so it changes nothing",
                Kind::Prefix | Kind::Selection => "nothing that follows writes lines, so it changes nothing",
            };
            self.warn(index, what);
        }
        if !self.writes {
            self.warn(count, NO_WRITER);
        }
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
            ("Q ./main", "Q: no such action, so it is ignored: a log directory begins with . or /"),
            ("-t ./main", "-t: it deselects the line \"t\" alone: did you mean t?"),
            ("e -o ./main", "-o: it deselects the line \"o\" alone: did you mean o?"),
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
            "-a -z ./main",
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
