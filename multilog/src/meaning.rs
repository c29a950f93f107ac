//! What each word of a script means, in words for people. No I/O.

use crate::pattern::{Dialect, MatchScope, Pattern, matches_all};
use crate::script::{Action, Word};
use crate::settings::Directory;
use daemontools::logdir::stamp::{StampKind, Zone};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What the word with this number means, which was read from this argument; `settings` are those in force behind it.
pub fn meaning(index: usize, argument: &OsStr, word: Word, settings: &Directory) -> String {
    let rest = OsStr::from_bytes(argument.as_bytes().get(1..).unwrap_or_default());
    match word {
        Word::Stamp(_) if index > 0 => "nothing".into(),
        Word::Stamp(stamp) => format!("each line begins with {}", stamp_words(stamp)),
        Word::Action(action) => action_words(&action),
        Word::Directory(directory) => {
            let (path, count, size) = (shown(&directory.path), directory.count, directory.full_at());
            let together = directory.bytes.map_or(String::new(), |bytes| format!(", {bytes} bytes together"));
            format!("selected lines go to the log directory {path}, in at most {count} files of {size} bytes{together}")
        }
        Word::Dialect(Dialect::Simple) => "patterns that follow are simple".into(),
        Word::Dialect(Dialect::Fnmatch) => "patterns that follow are those of fnmatch".into(),
        Word::Dialect(Dialect::Regex) => "patterns that follow are regular expressions".into(),
        Word::MatchScope(MatchScope::All) => "patterns that follow see lines with their stamps".into(),
        Word::MatchScope(MatchScope::Text) => "patterns that follow see lines without their stamps".into(),
        Word::Setting(letter) => setting_words(letter, rest, settings),
        Word::Malformed(_) | Word::Unset(_) | Word::Unknown => "nothing".into(),
    }
}

fn action_words(action: &Action) -> String {
    match action {
        Action::Select(pattern) => format!("selects {}", pattern_words(pattern)),
        Action::Deselect(pattern) => format!("deselects {}", pattern_words(pattern)),
        Action::Alert => "the first 200 bytes of selected lines go to standard error".into(),
        Action::Status(file) => format!("the file {} shows the last selected line", shown(file)),
        // Read as a directory.
        Action::Log(_) => "selected lines go to a log directory".into(),
        Action::Output => "selected lines go to standard output".into(),
        Action::Syslog(target) => {
            let (address, priority) = target.to_words();
            format!("selected lines go to syslog at {} as {priority}", shown(OsStr::from_bytes(&address)))
        }
        Action::Prefix(text) if text.is_empty() => "no prefix from here on".into(),
        Action::Prefix(text) => {
            format!("lines written from here on have {:?} in front", shown(OsStr::from_bytes(text)))
        }
        Action::Limit(rate) => {
            format!("deselects all but the first {} lines within {:?}, and counts them", rate.count, rate.window)
        }
    }
}

fn setting_words(letter: u8, value: &OsStr, settings: &Directory) -> String {
    let what = match letter {
        b's' => return format!("files in directories that follow are full at {} bytes", settings.size),
        b'n' => {
            return format!("directories that follow keep {} files, the current one among them", settings.count);
        }
        b'w' => "full files in directories that follow have names that end in",
        b'!' if value.is_empty() => return "directories that follow have no processor".into(),
        b'!' => "full files in directories that follow go through the command",
        b'b' if !value.is_empty() => {
            let bytes = settings.bytes.unwrap_or(0);
            return format!("old files in directories that follow are removed beyond this number of bytes: {bytes}");
        }
        b'b' => "old files in directories that follow are removed beyond this number of bytes:",
        b'a' => "old files in directories that follow are removed when they are older than",
        b'r' => "files in directories that follow are finished at each",
        b'z' => "old files in directories that follow are compressed by",
        b'y' => "lines in directories that follow are on the disk at or within each",
        b'd' => "when the disk is full, directories that follow do as told:",
        _ => "for directories that follow:",
    };
    if value.is_empty() { format!("{what} what it is by itself") } else { format!("{what} {}", shown(value)) }
}

fn stamp_words(stamp: StampKind) -> &'static str {
    match stamp {
        StampKind::None => "nothing",
        StampKind::Tai64n => "a TAI64N label",
        StampKind::Unix => "seconds since 1970, to microseconds",
        StampKind::Iso(Zone::Utc) => "date and time by UTC, to microseconds",
        StampKind::Iso(Zone::Local) => "date and time by the local time zone, to microseconds",
    }
}

fn pattern_words(pattern: &Pattern) -> String {
    let text = shown(OsStr::from_bytes(&pattern.text));
    let what = match pattern.dialect {
        _ if matches_all(pattern) => return "every line".into(),
        Dialect::Simple => "lines that match",
        Dialect::Fnmatch => "lines that fnmatch finds to match",
        Dialect::Regex => "lines in which there is a match of",
    };
    format!("{what} {text:?}")
}

/// A text as it can be shown on a terminal.
pub fn shown(text: &OsStr) -> String {
    let text = String::from_utf8_lossy(text.as_bytes());
    text.chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}
