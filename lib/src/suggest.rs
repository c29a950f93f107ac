//! Words that users of other supervisors type, and what they are called here.
//!
//! The commands of daemontools are options, and every other word names a service. So `svc restart web`, typed out of habit,
//! is about a service `restart`. A program that finds none of that name says what was probably meant. So it is with options
//! behind a service, `svc web -d`, and with letters that are written as one option and spell such a word, `svc -up web`.

use crate::report;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Source: the commands of systemctl, of runit's sv, of supervisorctl and of init scripts, and the names of signals.
const WORDS: [(&[&str], &str); 22] = [
    (&["restart", "try-restart", "condrestart", "force-restart", "term", "sigterm"], "svc -t SERVICE"),
    (&["start", "up"], "svc -u SERVICE"),
    (&["stop", "down"], "svc -d SERVICE"),
    (&["once"], "svc -o SERVICE"),
    (&["reload", "force-reload", "reload-or-restart", "hup", "sighup"], "svc -h SERVICE"),
    (&["pause", "freeze"], "svc -p SERVICE"),
    (&["continue", "cont", "resume", "thaw"], "svc -c SERVICE"),
    (&["kill", "force-stop", "sigkill"], "svc -k SERVICE"),
    (&["alarm", "alrm"], "svc -a SERVICE"),
    (&["interrupt", "int"], "svc -i SERVICE"),
    (&["quit"], "svc -q SERVICE"),
    (&["usr1"], "svc -1 SERVICE"),
    (&["usr2"], "svc -2 SERVICE"),
    (&["winch"], "svc -w SERVICE"),
    (&["exit", "shutdown", "force-shutdown"], "svc -dx SERVICE"),
    (&["status", "show", "list", "list-units", "pid", "avail"], "svstat SERVICE"),
    (&["is-active", "check"], "svup SERVICE"),
    (&["is-failed"], "svstat -l SERVICE"),
    (&["log", "logs", "tail", "journal"], "svlog SERVICE"),
    (&["wait"], "svwait up SERVICE"),
    (&["enable"], "rm SERVICE/down"),
    (&["disable"], "touch SERVICE/down"),
];

/// The command that is probably meant by a word.
pub fn command(word: &OsStr) -> Option<&'static str> {
    let word = word.to_str()?.to_ascii_lowercase();
    WORDS.iter().find(|(words, _)| words.contains(&word.as_str())).map(|(_, command)| *command)
}

/// Where services are linked; a word that names one there is no path to it.
const LINKED: [&str; 3] = ["/service", "/etc/service", "/var/service"];

/// Says what was probably meant by the name of a service, if nothing in the current directory has that name:
/// `svc: restart is no service here: did you mean svc -t SERVICE?`, `svc: -d is no service here: options come before the
/// services`.
pub fn where_missing(service: &OsStr) {
    let words = || for_service(service).or_else(|| for_bare_name(service, LINKED.map(Path::new)));
    if let Some(words) = words().filter(|_| !Path::new(service).exists()) {
        report::notice(&[&words]);
    }
}

/// As [`where_missing`], for the first word of a program that takes words it does not know for services: such a word may
/// have been meant for an option.
pub fn where_first_is_missing(word: &OsStr) {
    if looks_like_option(word) && !Path::new(word).exists() {
        report::notice(&[word.as_bytes(), b" is no option, and no service here"]);
    } else {
        where_missing(word);
    }
}

/// `web is no service here: did you mean /service/web?`, where one of these directories has a service of that name.
fn for_bare_name<'a>(word: &OsStr, directories: impl IntoIterator<Item = &'a Path>) -> Option<Vec<u8>> {
    let is_bare = !word.is_empty() && !word.as_bytes().contains(&b'/') && !word.as_bytes().starts_with(b".");
    let paths = directories.into_iter().map(|directory| directory.join(word));
    let meant = paths.filter(|_| is_bare).find(|path| path.is_dir())?;
    Some([word.as_bytes(), b" is no service here: did you mean ", meant.as_os_str().as_bytes(), b"?"].concat())
}

fn for_service(word: &OsStr) -> Option<Vec<u8>> {
    let meant = match command(word) {
        Some(command) => format!("did you mean {command}?"),
        None if looks_like_option(word) => "options come before the services".into(),
        None => return None,
    };
    Some([word.as_bytes(), b" is no service here: ", meant.as_bytes()].concat())
}

/// Whether one word becomes the other by a character that is put in, left out or replaced, or by two that change places.
pub fn is_one_edit_away(one: &[u8], other: &[u8]) -> bool {
    let begin = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    match (&one[begin..], &other[begin..]) {
        ([_, one @ ..], other) | (other, [_, one @ ..]) if one == other => true,
        ([_, one @ ..], [_, other @ ..]) if one == other => true,
        ([a, b, one @ ..], [c, d, other @ ..]) => (a, b) == (d, c) && one == other,
        _ => false,
    }
}

/// Whether the word begins as options do.
pub fn looks_like_option(word: &OsStr) -> bool {
    word.len() > 1 && word.as_bytes().starts_with(b"-")
}

/// `-up means -u -p: did you mean svc -u SERVICE?`, for letters behind one dash that spell a word; with it, how to undo `-p`,
/// which leaves a service that seems to run and does nothing.
pub fn for_letters(word: &OsStr) -> Option<String> {
    let word = word.to_str()?;
    let letters = word.strip_prefix('-')?;
    let command = command(OsStr::new(letters))?;
    let apart: String = letters.chars().map(|letter| format!(" -{letter}")).collect();
    let undo = if letters.contains('p') { " svc -c SERVICE undoes -p" } else { "" };
    Some(format!("{word} means{apart}: did you mean {command}?{undo}"))
}

/// `-restart is no option: did you mean svc -t SERVICE?`, for a word with one or two dashes in front.
pub fn for_option(word: &OsStr) -> Option<String> {
    let word = word.to_str()?;
    let bare = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    let command = command(OsStr::new(bare))?;
    Some(format!("{word} is no option: did you mean {command}?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn words_of_others_have_a_command_here() {
        for (word, command) in [
            ("restart", Some("svc -t SERVICE")),
            ("RESTART", Some("svc -t SERVICE")),
            ("up", Some("svc -u SERVICE")),
            ("stop", Some("svc -d SERVICE")),
            ("status", Some("svstat SERVICE")),
            ("tail", Some("svlog SERVICE")),
            ("web", None),
            ("", None),
            ("-t", None),
        ] {
            assert_eq!(super::command(OsStr::new(word)), command, "{word}");
        }
    }

    #[test]
    fn one_edit_is_told_from_none_and_from_two() {
        let table = [
            ("abc", "abcd", true),
            ("abc", "bc", true),
            ("abc", "axc", true),
            ("abc", "acb", true),
            ("a", "", true),
            ("aab", "ab", true),
            ("abc", "abc", false),
            ("", "", false),
            ("abc", "cba", false),
            ("abc", "abcde", false),
            ("abcd", "axcy", false),
            ("abcd", "badc", false),
        ];
        for (one, other, expected) in table {
            let there = is_one_edit_away(one.as_bytes(), other.as_bytes());
            let back = is_one_edit_away(other.as_bytes(), one.as_bytes());
            assert_eq!((there, back), (expected, expected), "{one} {other}");
        }
    }

    #[test]
    fn a_word_means_one_thing() {
        let words: Vec<&str> = WORDS.iter().flat_map(|(words, _)| words.iter().copied()).collect();
        assert_eq!(words.iter().collect::<HashSet<_>>().len(), words.len());
        assert!(words.iter().all(|word| *word == word.to_ascii_lowercase()));
    }

    #[test]
    fn what_was_typed_is_in_the_answer() {
        let meant = "restart is no service here: did you mean svc -t SERVICE?";
        assert_eq!(for_service(OsStr::new("restart")).as_deref(), Some(meant.as_bytes()));
        for word in ["-restart", "--restart"] {
            let meant = format!("{word} is no option: did you mean svc -t SERVICE?");
            assert_eq!(for_option(OsStr::new(word)), Some(meant));
        }
        assert_eq!(for_option(OsStr::new("restart")), None);
        assert_eq!(for_option(OsStr::new("-t")), None);
    }

    #[test]
    fn a_name_without_its_path_is_told_where_such_a_service_is() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("web")).unwrap();
        let said = |word: &str| for_bare_name(OsStr::new(word), [Path::new("/nonexistent"), directory.path()]);
        let expected = format!("web is no service here: did you mean {}/web?", directory.path().display());
        assert_eq!(said("web"), Some(expected.into_bytes()));
        for word in ["db", "", ".", "./web", "a/web"] {
            assert_eq!(said(word), None, "{word}");
        }
    }

    #[test]
    fn what_looks_like_an_option_is_told_its_place() {
        for word in [&b"-d"[..], b"-T", b"--any", b"-\xff"] {
            let expected = [word, b" is no service here: options come before the services"].concat();
            assert_eq!(for_service(OsStr::from_bytes(word)), Some(expected));
        }
        for word in ["-", "web", "./-d", ""] {
            assert_eq!(for_service(OsStr::new(word)), None, "{word}");
        }
    }

    #[test]
    fn letters_that_spell_a_word_are_told_apart() {
        for (word, said) in [
            ("-up", Some("-up means -u -p: did you mean svc -u SERVICE? svc -c SERVICE undoes -p")),
            ("-hup", Some("-hup means -h -u -p: did you mean svc -h SERVICE? svc -c SERVICE undoes -p")),
            ("-kill", Some("-kill means -k -i -l -l: did you mean svc -k SERVICE?")),
            ("-dx", None),
            ("-ud", None),
            ("-u", None),
            ("--up", None),
            ("up", None),
        ] {
            assert_eq!(for_letters(OsStr::new(word)).as_deref(), said, "{word}");
        }
    }
}
