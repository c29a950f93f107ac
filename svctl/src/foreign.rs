//! The words of other tools, as people type them by habit. No I/O.
//!
//! A word that means the same as a command of svctl is that command. Of another one svctl says what to type instead.
//! Sources: systemctl, supervisorctl, runit's sv, initctl, and the letters of svc and svstat.

use crate::action::Action;
use crate::verbs::Verb;
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
const EXIT: &str = "use svctl remove NAME, or svc -dx: the supervise ends too";
const ALL: &str = "use svctl stop '*'; what started svscan ends it";
const MASK: &str = "use svctl disable NAME, or svctl remove NAME";
const EDIT: &str =
    "each setting is a file in the service's directory: svctl status NAME says where, supervise(8) which";

/// Words that svctl has not, and what to do instead.
const INSTEAD: [(&[&str], &str); 12] = [
    (&["update", "reread", "daemon-reload", "daemon-reexec", "reload-configuration"], SEEN),
    (&["is-active", "check-status"], STATUS),
    (&["is-enabled"], ENABLED),
    (&["is-failed"], FAILED),
    (&["try-restart", "condrestart", "force-restart", "reload-or-restart"], RESTART),
    (&["tail", "journal", "journalctl", "maintail"], TAIL),
    (&["signal", "int", "quit", "alarm", "usr1", "usr2", "interrupt", "1", "2"], SIGNAL),
    (&["pid"], PID),
    (&["exit", "force-stop", "force-shutdown"], EXIT),
    (&["shutdown"], ALL),
    (&["mask"], MASK),
    (&["edit", "cat", "set-property"], EDIT),
];

/// Options that svctl has not, and what to do instead.
const OPTIONS: [(&str, &str); 18] = [
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
    ("f", "use svctl log -f NAME"),
    ("n", "use svctl log -n 20 NAME"),
    ("now", "use svctl enable NAME and svctl start NAME, or disable and stop"),
    ("all", "use '*' as the name: svctl restart '*'"),
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

/// The refusal of an option of another tool.
pub fn refused_option(name: &str) -> Option<Fatal> {
    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
    let instead = OPTIONS.iter().find(|(known, _)| *known == name).map(|(_, instead)| *instead)?;
    Some(refusal(OsStr::new(&format!("{dashes}{name}")), instead))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::verb;

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
