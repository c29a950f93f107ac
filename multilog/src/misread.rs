//! What multilog warns of when it starts: words of its script by which lines would be lost. These are a word that is no
//! action, the name of a directory that is taken for an action, and a script that keeps no line. The original warns
//! of nothing, so multilog leaves all other mistakes to `multilog --check` (see [`check`](crate::check)). No I/O.

use crate::meaning::shown;
use crate::script::{Action, Reader, Word};
use daemontools::spelling::is_one_edit_away;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// How a word must begin that multilog takes for a directory.
pub const BEGINNING: &str = "a log directory begins with . or /";
/// What multilog says of a script that keeps no line.
pub const NO_WRITER: &str = "no action writes lines: they all are thrown away";

/// The warnings about a script by which lines would be lost. `is_directory` tells whether a word is the name of a directory.
pub fn misread(arguments: &[OsString], is_directory: impl Fn(&OsStr) -> bool) -> Vec<String> {
    let mut reader = Reader::default();
    let mut said = Vec::new();
    let mut keeps = false;
    for argument in arguments {
        let word = reader.read(argument);
        keeps |= match &word {
            Word::Action(action) => writes(action),
            Word::Directory(_) => true,
            Word::Stamp(_) | Word::Dialect(_) | Word::MatchScope(_) | Word::Setting(_) => false,
            // A warning of the script's reader says that these are left out.
            Word::Malformed(_) | Word::Unset(_) | Word::Unknown => false,
        };
        let shown = shown(argument);
        if let Some(option) = option_meant_by(argument) {
            said.push(format!("{shown} is a pattern that deselects a line: did you mean {option}?"));
        } else if word == Word::Unknown && !argument.is_empty() {
            said.push(format!("{shown} is no action and is ignored: {BEGINNING}"));
        } else if argument.len() > 1 && takes_no_name(&word) && is_directory(argument) {
            said.push(format!("{shown} is not taken for the directory of that name: {BEGINNING}"));
        }
    }
    // A user who gives no word at all means to throw all lines away.
    if !keeps && arguments.iter().any(|argument| !argument.is_empty()) {
        said.push(NO_WRITER.into());
    }
    said
}

/// The words that are options where they are the first argument.
const OPTIONS: [&str; 3] = ["--check", "--help", "--version"];

/// The option that was probably meant by a word that begins with two dashes, which multilog takes for a pattern.
fn option_meant_by(word: &OsStr) -> Option<&'static str> {
    let word = Some(word.as_bytes()).filter(|word| word.starts_with(b"--"))?;
    OPTIONS.into_iter().find(|option| word == option.as_bytes() || is_one_edit_away(word, option.as_bytes()))
}

/// Whether an action writes the selected lines anywhere.
fn writes(action: &Action) -> bool {
    match action {
        Action::Log(_) | Action::Alert | Action::Status(_) | Action::Output | Action::Syslog(_) => true,
        Action::Select(_) | Action::Deselect(_) | Action::Prefix(_) | Action::Limit(_) => false,
    }
}

/// Whether what follows the letter has a form of its own, and is not a text, which may be any word.
fn takes_no_name(word: &Word) -> bool {
    match word {
        Word::Stamp(_) | Word::Dialect(_) | Word::MatchScope(_) | Word::Setting(_) | Word::Unset(_) => true,
        Word::Action(Action::Alert | Action::Output) | Word::Malformed(_) => true,
        Word::Action(_) | Word::Directory(_) | Word::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_by_which_lines_are_lost_are_said_at_the_start() {
        let main = "main is no action and is ignored: a log directory begins with . or /";
        let taken = |word: &str| format!("{word} is not taken for the directory of that name: {BEGINNING}");
        let table = [
            ("t main", vec![main.to_string(), NO_WRITER.into()]),
            ("t main ./main", vec![main.into()]),
            ("t errors", vec![taken("errors")]),
            ("--chekc t ./main", vec!["--chekc is a pattern that deselects a line: did you mean --check?".into()]),
            ("t ./main --check", vec!["--check is a pattern that deselects a line: did you mean --check?".into()]),
            ("--fatal ./main", vec![]),
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
}
