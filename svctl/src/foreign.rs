//! The words of other tools, as people type them by habit. No I/O.
//!
//! A word that means the same as a command of svctl is that command. Of another one svctl says what to type instead.
//! Sources: systemctl, supervisorctl, runit's sv, initctl, and the letters of svc and svstat.

use crate::action::Action;
use crate::verbs::{VERBS, Verb};
use daemontools::Fatal;
use daemontools::report::PERMANENT;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Words for the commands of svctl.
const SAME: [(&str, Verb); 12] = [
    ("up", Verb::Act(Action::Start)),
    ("down", Verb::Act(Action::Stop)),
    ("avail", Verb::List),
    ("ls", Verb::List),
    ("list-units", Verb::List),
    ("show", Verb::Status),
    ("logs", Verb::Log),
    ("hup", Verb::Act(Action::Signal(daemontools::service::Command::Hangup))),
    ("pause", Verb::Act(Action::Signal(daemontools::service::Command::Pause))),
    ("cont", Verb::Act(Action::Signal(daemontools::service::Command::Continue))),
    ("continue", Verb::Act(Action::Signal(daemontools::service::Command::Continue))),
    ("term", Verb::Act(Action::Signal(daemontools::service::Command::Terminate))),
];

const SEEN: &str =
    "svscan sees new and removed entries by itself, and settings count from the next start on: svctl restart NAME";
const STATUS: &str = "use svctl status NAME: it exits 0 if the service is up, and 3 if it is not";
const ENABLED: &str = "use svctl status NAME: it says normally up or normally down";
const RESTART: &str = "use svctl restart NAME, which also starts what is down";
const FAILED: &str = "use svctl list --failed";
const TAIL: &str = "use svctl log -n 20 NAME, or svctl log -f NAME";
const SIGNAL: &str = "use svctl kill -s SIGNAL NAME";
const PID: &str = "use svctl status NAME, or svctl -j list NAME";
const FORCE: &str = "use svctl stop NAME, and then svctl kill NAME if it does not end";
const EXIT: &str = "use svctl remove NAME, or svc -dx: the supervise ends too";
const ALL: &str = "use svctl stop '*'; what started svscan ends it";
const MASK: &str = "use svctl disable NAME, or svctl remove NAME";
const EDIT: &str =
    "each setting is a file in the service's directory: svctl status NAME says where, supervise(8) which";

/// Words that svctl has not, and what to do instead.
const INSTEAD: [(&[&str], &str); 13] = [
    (&["update", "reread", "daemon-reload", "daemon-reexec", "reload-configuration"], SEEN),
    (&["is-active", "check-status"], STATUS),
    (&["is-enabled"], ENABLED),
    (&["is-failed"], FAILED),
    (&["try-restart", "condrestart", "force-restart", "reload-or-restart"], RESTART),
    (&["tail", "journal", "journalctl", "maintail"], TAIL),
    (&["signal", "int", "quit", "alarm", "usr1", "usr2", "interrupt", "1", "2"], SIGNAL),
    (&["pid"], PID),
    (&["exit"], EXIT),
    (&["force-stop", "force-shutdown"], FORCE),
    (&["shutdown"], ALL),
    (&["mask"], MASK),
    (&["edit", "cat", "set-property"], EDIT),
];

/// The letters of svc and svstat, which stand where svctl has a command, and what to do instead. Behind a command they mean
/// something else to who types them.
const LETTERS: [(&str, &str); 13] = [
    ("u", "use svctl start NAME"),
    ("o", "use svctl once NAME"),
    ("t", "use svctl restart NAME, or svctl kill -s TERM NAME"),
    ("h", "use svctl --help, or svctl kill -s HUP NAME"),
    ("p", "use svctl kill -s STOP NAME"),
    ("c", "use svctl kill -s CONT NAME"),
    ("a", "use svctl kill -s ALRM NAME"),
    ("i", "use svctl kill -s INT NAME"),
    ("q", "use svctl kill -s QUIT NAME"),
    ("k", "use svctl kill NAME"),
    ("x", EXIT),
    ("l", "use svctl status NAME"),
    ("L", "use svctl status NAME/log"),
];

/// Other options that svctl has not, and what to do instead.
const OPTIONS: [(&str, &str); 4] = [
    ("f", "use svctl log -f NAME"),
    ("n", "use svctl log -n 20 NAME"),
    ("now", "use svctl enable NAME and svctl start NAME, or disable and stop"),
    ("state", FAILED),
];

/// What a word of another tool means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// This command of svctl.
    Same(Verb),
    /// Nothing here; what to do instead.
    Instead(&'static str),
}

/// The meaning of a command of another tool.
pub fn meaning(word: &OsStr) -> Option<Foreign> {
    let same = SAME.iter().find(|(known, _)| word == *known).map(|(_, verb)| Foreign::Same(*verb));
    let instead = || INSTEAD.iter().find(|(words, _)| words.iter().any(|known| word == *known));
    same.or_else(|| instead().map(|(_, instead)| Foreign::Instead(instead)))
}

/// The refusal of a word: `svctl has no tail: use svctl log -n 20 NAME`.
pub fn refusal(word: &OsStr, instead: &str) -> Fatal {
    Fatal::new(PERMANENT, &[b"svctl has no ", word.as_bytes(), b": ", instead.as_bytes()])
}

/// The refusal of an option of another tool, behind this command, if one stands in front of it.
pub fn refused_option(name: &str, asked: Option<Verb>) -> Option<Fatal> {
    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
    Some(refusal(OsStr::new(&format!("{dashes}{name}")), &instead_of_option(name, asked)?))
}

/// What to do instead of an option of another tool.
fn instead_of_option(name: &str, asked: Option<Verb>) -> Option<String> {
    if name == ALL_OPTION {
        return all(asked);
    }
    let letters = LETTERS.iter().filter(|_| asked.is_none());
    letters.chain(&OPTIONS).find(|(known, _)| *known == name).map(|(_, instead)| (*instead).into())
}

/// The option by which other tools name all services.
const ALL_OPTION: &str = "all";

/// How all services are named behind a command; `None` if it has none.
fn all(asked: Option<Verb>) -> Option<String> {
    let Some(verb) = asked else {
        return Some("leave it out to list all; as a name, '*' means all services".into());
    };
    let word = VERBS.iter().find(|form| form.verb == verb).map(|form| form.word);
    match verb {
        Verb::List | Verb::Check | Verb::Events | Verb::Metrics | Verb::Top => {
            Some(format!("leave it out: svctl {} is about all services then", word?))
        }
        Verb::Act(Action::Signal(_)) => Some("use '*' as the name: svctl kill -s SIGNAL '*'".into()),
        Verb::Status | Verb::Act(_) | Verb::Remove | Verb::Change(_) => {
            Some(format!("use '*' as the name: svctl {} '*'", word?))
        }
        Verb::Wait => Some("use '*' as the name: svctl wait GOAL '*'".into()),
        Verb::Log | Verb::Add | Verb::Completion => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::verb;

    #[test]
    fn a_hint_does_what_was_meant_and_no_harm() {
        let behind = |word: &str| verb(OsStr::new(word));
        for (name, asked, expected) in [
            ("all", behind("status"), Some("use '*' as the name: svctl status '*'")),
            ("all", behind("stop"), Some("use '*' as the name: svctl stop '*'")),
            ("all", behind("list"), Some("leave it out: svctl list is about all services then")),
            ("all", behind("check"), Some("leave it out: svctl check is about all services then")),
            ("all", behind("events"), Some("leave it out: svctl events is about all services then")),
            ("all", behind("kill"), Some("use '*' as the name: svctl kill -s SIGNAL '*'")),
            ("all", behind("completion"), None),
            ("all", None, Some("leave it out to list all; as a name, '*' means all services")),
            ("a", None, Some("use svctl kill -s ALRM NAME")),
            ("a", behind("status"), None),
            ("k", behind("stop"), None),
            ("n", behind("status"), Some("use svctl log -n 20 NAME")),
        ] {
            assert_eq!(instead_of_option(name, asked).as_deref(), expected, "{name} {asked:?}");
        }
        let instead = meaning(OsStr::new("force-stop"));
        assert_eq!(instead, Some(Foreign::Instead(FORCE)));
        assert!(FORCE.contains("svctl stop") && !FORCE.contains("remove"));
    }

    #[test]
    fn no_word_has_two_meanings() {
        let words: Vec<&str> = SAME.iter().map(|(word, _)| *word).collect();
        let others = INSTEAD.iter().flat_map(|(words, _)| words.iter().copied());
        let all: Vec<&str> = words.into_iter().chain(others).collect();
        for (number, word) in all.iter().enumerate() {
            assert!(verb(OsStr::new(word)).is_none() && !all[..number].contains(word), "{word}");
        }
    }
}
