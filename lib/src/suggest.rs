//! Words that users of other supervisors type, and the options that they stand for here.
//!
//! The commands of daemontools are options, and every other word names a service. So `svc restart web`, typed out of
//! habit, refers to a service `restart`. A program that finds no service of that name prints what was probably meant.
//! It does the same for an option behind a service, `svc web -d`, and for letters that are written as one option and
//! spell such a word, `svc -up web`.

use crate::service::{LOG, OK, Place, SUPERVISE, answers, is_supervised_at, may_be_service, service_answers};
use crate::{report, sys};
use nix::errno::Errno;
use std::ffi::OsStr;
use std::io::{ErrorKind, IsTerminal};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
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

/// The command that a word probably means.
pub fn command(word: &OsStr) -> Option<&'static str> {
    let word = word.to_str()?.to_ascii_lowercase();
    WORDS.iter().find(|(words, _)| words.contains(&word.as_str())).map(|(_, command)| *command)
}

/// The directories to which services are usually linked. A bare name that was meant for a service there is no path to
/// it.
const LINKED: [&str; 3] = ["/service", "/etc/service", "/var/service"];

/// Prints what a service's name was probably meant to say, if nothing in the current directory has that name: `svc:
/// restart is no service here: did you mean svc -t SERVICE?`, `svc: -d is no service here: options come before the
/// services`.
pub fn where_missing(service: &OsStr) {
    if !answers(Path::new(service)) {
        return;
    }
    let words = || for_service(service).or_else(|| for_bare_name(service, LINKED.map(Path::new)));
    let words = if Path::new(service).exists() { for_file(Path::new(service)) } else { words() };
    if let Some(words) = words {
        report::notice(&[&words]);
    }
}

/// The text `web/run is a file: did you mean web?`, for a file in a service directory.
fn for_file(file: &Path) -> Option<Vec<u8>> {
    let service = file.parent().filter(|_| !file.is_dir())?;
    let service = if service.as_os_str().is_empty() { Path::new(".") } else { service };
    may_be_service(service).then(|| {
        let [file, service] = [file, service].map(|path| path.as_os_str().as_bytes());
        [file, b" is a file: did you mean ", service, b"?"].concat()
    })
}

fn is_missing(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|reason| reason.kind() == ErrorKind::NotFound)
}

/// Prints, on a terminal alone, why no supervise answers for a directory that exists: `svc: /service/web was never supervised:
/// does svscan run …`, `svc: /service/web has no supervise: …`, `svc: /service is no service: it contains no run`, or whose
/// it is. Programs take everything on the standard error of svstat for a failure.
pub fn where_unsupervised(service: &OsStr) {
    let words =
        || service_answers(Path::new(service), &[SUPERVISE]).then(|| for_unsupervised(Path::new(service))).flatten();
    if let Some(words) = sys::stderr().is_terminal().then(words).flatten() {
        report::notice(&[service.as_bytes(), &words]);
    }
}

const NEVER_SUPERVISED: &str =
    " was never supervised: does svscan run, and is there a link to it in the directory of svscan?";

fn for_unsupervised(service: &Path) -> Option<Vec<u8>> {
    if service.metadata().is_ok_and(|file| !file.is_dir()) {
        return None;
    }
    let place = Place::of(service).ok()?;
    match is_supervised_at(service) {
        Ok(true) => None,
        Ok(false) => Some([b" has no supervise: ", &start_of_svscan(service)[..]].concat()),
        Err(Errno::EACCES) => Some([b": ", &report::stranger(&place.path(OK))?[..]].concat()),
        Err(_) if !service.is_dir() || !is_missing(place.directory()) => None,
        Err(_) if may_be_service(service) => Some(NEVER_SUPERVISED.into()),
        Err(_) => Some(no_service(service)),
    }
}

/// The text ` is no service: it contains no run`, with the service that the directory lies in, if it lies in one.
fn no_service(directory: &Path) -> Vec<u8> {
    let words = b" is no service: it contains no run";
    match directory.parent().filter(|above| !above.as_os_str().is_empty() && may_be_service(above)) {
        Some(service) => [words, &b": did you mean "[..], service.as_os_str().as_bytes(), b"?"].concat(),
        None => words.into(),
    }
}

/// How svscan is started, with its directory, if that is where the service's entry lies.
fn start_of_svscan(service: &Path) -> Vec<u8> {
    let entry = if service.ends_with(LOG) { service.parent().unwrap_or(service) } else { service };
    let directory = std::path::absolute(entry).ok().and_then(|entry| Some(entry.parent()?.to_path_buf()));
    let directory = directory.filter(|directory| directory.join(".svscan").is_dir());
    let directory = directory.map_or(b"DIRECTORY".into(), |directory| directory.into_os_string().into_vec());
    [b"if svscan does not run (ps -e | grep svscan), start it: svscanboot ", &directory[..]].concat()
}

/// Does what [`where_missing`] does, for the first argument of a program that takes unknown words for services. Such a
/// word may have been meant as an option.
pub fn where_first_is_missing(word: &OsStr) {
    if looks_like_option(word) && answers(Path::new(word)) && !Path::new(word).exists() {
        report::notice(&[word.as_bytes(), b" is no option, and no service here"]);
    } else {
        where_missing(word);
    }
}

/// The text `web is no service here: did you mean /service/web?`, if one of these directories contains a service of
/// that name.
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

/// Whether the word begins like an option.
pub fn looks_like_option(word: &OsStr) -> bool {
    word.len() > 1 && word.as_bytes().starts_with(b"-")
}

/// The text `-up means -u -p: did you mean svc -u SERVICE?`, for letters behind one dash that spell a word. It also
/// says how to undo `-p`, because a paused service seems to run and does nothing.
pub fn for_letters(word: &OsStr) -> Option<String> {
    let word = word.to_str()?;
    let letters = word.strip_prefix('-')?;
    let command = command(OsStr::new(letters))?;
    let apart: String = letters.chars().map(|letter| format!(" -{letter}")).collect();
    let undo = if letters.contains('p') { " svc -c SERVICE undoes -p" } else { "" };
    Some(format!("{word} means{apart}: did you mean {command}?{undo}"))
}

/// The text `-restart is no option: did you mean svc -t SERVICE?`, for a word with one or two dashes in front.
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
