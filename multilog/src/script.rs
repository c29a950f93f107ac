//! A script: multilog's arguments, taken as actions. No I/O.

use crate::limit::Rate;
use crate::pattern::{Dialect, MatchScope, Matcher, Pattern};
use crate::settings::{Directory, Refused};
use crate::syslog::Target;
use daemontools::logdir::stamp::{StampKind, Zone};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// One action, done to each line in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `+`: selects the line if it matches.
    Select(Pattern),
    /// `-`: deselects it if it matches.
    Deselect(Pattern),
    /// `e`: selected lines go to standard error, their first 200 bytes.
    Alert,
    /// `=`: this file shows the last selected line.
    Status(OsString),
    /// `.` or `/`: selected lines go to the log directory of this number.
    Log(usize),
    /// `o`: selected lines go to standard output.
    Output,
    /// `u`: selected lines go to syslog, their first 1000 bytes.
    Syslog(Target),
    /// `p`: where later actions write lines, this is in front, behind the stamp.
    Prefix(Vec<u8>),
    /// `l`: deselects lines that are too many.
    Limit(Rate),
}

/// An argument that multilog leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The pattern as the script has it.
    pub action: OsString,
    /// Why it is left out, in a few words.
    pub reason: String,
}

/// What multilog's arguments say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The stamp in front of each line.
    pub stamp: StampKind,
    /// The actions on each line, in their order.
    pub actions: Vec<Action>,
    /// The log directories that actions speak of by number.
    pub directories: Vec<Directory>,
    /// The arguments that are left out. The original's actions are never among them.
    pub complaints: Vec<Complaint>,
}

/// The most bytes of a prefix. The bytes of a line must stay well below the space that is left at the end of a file.
const LONGEST_PREFIX: usize = 255;

/// What an argument says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// The stamp, in the first place; elsewhere it means nothing.
    Stamp(StampKind),
    /// An action on lines.
    Action(Action),
    /// An action: a log directory, with all that was set for it.
    Directory(Directory),
    /// How patterns that follow are read.
    Dialect(Dialect),
    /// What they look at.
    MatchScope(MatchScope),
    /// A setting of this letter for directories that follow.
    Setting(u8),
    /// An action that cannot be done, and why.
    Malformed(String),
    /// A setting that sets nothing, and why.
    Unset(&'static str),
    /// The argument means nothing.
    Unknown,
}

impl Word {
    /// Whether a letter alone says this, which needs no text behind it.
    pub fn is_letter(&self) -> bool {
        match self {
            Word::Stamp(_) | Word::Dialect(_) | Word::MatchScope(_) | Word::Action(Action::Alert | Action::Output) => {
                true
            }
            Word::Action(_) | Word::Directory(_) | Word::Setting(_) => false,
            Word::Malformed(_) | Word::Unset(_) | Word::Unknown => false,
        }
    }
}

/// Reads a script word by word: each may change what later ones mean.
#[derive(Debug)]
pub struct Reader {
    dialect: Dialect,
    scope: MatchScope,
    /// The settings that the next directory will have.
    pub settings: Directory,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { dialect: Dialect::Simple, scope: MatchScope::All, settings: Directory::default() }
    }
}

impl Reader {
    /// What an argument says.
    pub fn read(&mut self, argument: &OsStr) -> Word {
        let Some((letter, rest)) = argument.as_bytes().split_first() else { return Word::Unknown };
        match letter {
            b't' => Word::Stamp(StampKind::Tai64n),
            b'T' => Word::Stamp(StampKind::Unix),
            b'I' => Word::Stamp(StampKind::Iso(Zone::Utc)),
            b'L' => Word::Stamp(StampKind::Iso(Zone::Local)),
            b'+' => self.pattern(rest).map_or_else(Word::Malformed, |pattern| Word::Action(Action::Select(pattern))),
            b'-' => self.pattern(rest).map_or_else(Word::Malformed, |pattern| Word::Action(Action::Deselect(pattern))),
            b'e' => Word::Action(Action::Alert),
            b'=' => Word::Action(Action::Status(OsStr::from_bytes(rest).into())),
            b'o' => Word::Action(Action::Output),
            b'l' => action(Rate::parse(rest).map(Action::Limit)),
            b'u' => action(Target::parse(rest).map(Action::Syslog)),
            b'p' => action(prefix(rest).map(Action::Prefix)),
            b'F' => self.set_dialect(Dialect::Fnmatch),
            b'S' => self.set_dialect(Dialect::Simple),
            b'R' => self.set_dialect(Dialect::Regex),
            b'x' => self.set_scope(MatchScope::Text),
            b'X' => self.set_scope(MatchScope::All),
            b'.' | b'/' => Word::Directory(Directory { path: argument.to_os_string(), ..self.settings.clone() }),
            _ => match self.settings.set(*letter, rest) {
                Ok(()) => Word::Setting(*letter),
                Err(Refused::Malformed(reason)) => Word::Unset(reason),
                Err(Refused::Unknown) => Word::Unknown,
            },
        }
    }

    fn pattern(&self, text: &[u8]) -> Result<Pattern, String> {
        let pattern = Pattern { dialect: self.dialect, scope: self.scope, text: text.to_vec() };
        Matcher::new(&pattern).map(|_| pattern)
    }

    fn set_dialect(&mut self, dialect: Dialect) -> Word {
        self.dialect = dialect;
        Word::Dialect(dialect)
    }

    fn set_scope(&mut self, scope: MatchScope) -> Word {
        self.scope = scope;
        Word::MatchScope(scope)
    }
}

fn action(read: Result<Action, &'static str>) -> Word {
    read.map_or_else(|reason| Word::Malformed(reason.to_string()), Word::Action)
}

fn prefix(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    match text {
        text if text.len() > LONGEST_PREFIX => Err("longer than 255 bytes"),
        text if text.contains(&b'\n') => Err("more than one line"),
        text => Ok(text.to_vec()),
    }
}

impl Script {
    /// Takes the arguments one after the other; settings count for the directories after them. What
    /// means nothing is ignored, as the original does.
    pub fn parse(arguments: impl Iterator<Item = OsString>) -> Script {
        let mut script =
            Script { stamp: StampKind::None, actions: Vec::new(), directories: Vec::new(), complaints: Vec::new() };
        let mut reader = Reader::default();
        for (index, argument) in arguments.enumerate() {
            match reader.read(&argument) {
                Word::Stamp(stamp) if index == 0 => script.stamp = stamp,
                Word::Action(action) => script.actions.push(action),
                Word::Directory(directory) => {
                    script.actions.push(Action::Log(script.directories.len()));
                    script.directories.push(Directory { stamp: script.stamp, ..directory });
                }
                Word::Malformed(reason) => script.complaints.push(Complaint { action: argument, reason }),
                // The original does not know these settings, and ignores them without a message.
                Word::Unset(_) => {}
                Word::Stamp(_) | Word::Dialect(_) | Word::MatchScope(_) | Word::Setting(_) | Word::Unknown => {}
            }
        }
        script
    }

    /// Whether each line goes to the directories as it is, so that the router need not look at it.
    pub fn is_plain(&self) -> bool {
        self.stamp == StampKind::None && self.only_writes()
    }

    /// Whether each line goes to every directory, and nowhere else.
    pub fn only_writes(&self) -> bool {
        self.actions.iter().all(|action| matches!(action, Action::Log(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(script: &str) -> Script {
        Script::parse(script.split(' ').map(OsString::from))
    }

    #[test]
    fn settings_count_for_later_directories() {
        let set: Vec<_> = parsed("./a s5000 ./b n3 ./c").directories.iter().map(|d| (d.size, d.count)).collect();
        assert_eq!(set, [(99999, 10), (5000, 10), (5000, 3)]);
    }

    #[test]
    fn a_stamp_counts_only_in_the_first_place() {
        assert_eq!(parsed("t ./a").stamp, StampKind::Tai64n);
        assert_eq!(parsed("T ./a").stamp, StampKind::Unix);
        assert_eq!(parsed("./a t").stamp, StampKind::None);
    }

    #[test]
    fn what_means_nothing_is_ignored() {
        assert_eq!(parsed("zzz  ./a Q").actions, [Action::Log(0)]);
    }

    #[test]
    fn plain_scripts_only_write() {
        assert!(parsed("s5000 ./a ./b").is_plain());
        for other in ["t ./a", "-* ./a", "e ./a", "=x ./a"] {
            assert!(!parsed(other).is_plain(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_script_is_taken(script in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..9)) {
            let arguments = script.iter().map(|bytes| OsStr::from_bytes(bytes).to_os_string());
            let script = Script::parse(arguments);
            prop_assert!(script.directories.iter().all(|d| d.size >= 4096 && d.count >= 2));
        }
    }
}
