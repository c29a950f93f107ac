//! The words of svctl: its commands, the signals, and the words behind some commands. No I/O.

use crate::action::Action;
use daemontools::Fatal;
use daemontools::report::PERMANENT;
use daemontools::service::Command;
use nix::sys::signal::Signal;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// The table.
    List,
    /// Everything about some services.
    Status,
    /// Something is done to services.
    Act(Action),
    /// A goal is waited for.
    Wait,
    /// What services have logged.
    Log,
    /// What would keep services from working.
    Check,
    /// An entry in the scan directory is made.
    Add,
    /// Services are done away with.
    Remove,
    /// Whether services are started by themselves.
    Change(Change),
    /// The script that completes words in a shell.
    Completion,
    /// What happens to services.
    Events,
    /// The state of services in numbers.
    Metrics,
    /// The table as a live screen.
    Top,
}

/// All that svctl knows of a command before it does it.
#[derive(Debug, Clone, Copy)]
pub struct VerbForm {
    /// The word for it.
    pub word: &'static str,
    /// The command.
    pub verb: Verb,
    /// The words that stand behind it, as the help has them.
    pub takes: &'static str,
    /// What the help says of it.
    pub what: &'static str,
}

/// The commands, in the order of the help.
pub const VERBS: [VerbForm; 19] = [
    VerbForm { word: "list", verb: Verb::List, takes: "[ name ... ]", what: "a table (also without a command)" },
    VerbForm { word: "status", verb: Verb::Status, takes: "name ...", what: "everything about each service" },
    VerbForm {
        word: "start",
        verb: Verb::Act(Action::Start),
        takes: "name ...",
        what: "keep it up, and wait until it is ready",
    },
    VerbForm {
        word: "stop",
        verb: Verb::Act(Action::Stop),
        takes: "name ...",
        what: "take it down, and wait until it is",
    },
    VerbForm {
        word: "restart",
        verb: Verb::Act(Action::Restart),
        takes: "name ...",
        what: "end it and start it again, and wait until it is ready",
    },
    VerbForm { word: "once", verb: Verb::Act(Action::Once), takes: "name ...", what: "run it once" },
    VerbForm { word: "reload", verb: Verb::Act(Action::Reload), takes: "name ...", what: "its program reload, or HUP" },
    VerbForm {
        word: "kill",
        verb: Verb::Act(Action::Signal(Command::Kill)),
        takes: "name ...",
        what: "KILL, or another signal",
    },
    VerbForm {
        word: "wait",
        verb: Verb::Wait,
        takes: "goal name ...",
        what: "wait until each is up, ready, down, finished or restarted",
    },
    VerbForm {
        word: "log",
        verb: Verb::Log,
        takes: "name ...",
        what: "what it has logged: svlog with all its options",
    },
    VerbForm {
        word: "check",
        verb: Verb::Check,
        takes: "[ name ... ]",
        what: "what would keep a service from working, before it is started",
    },
    VerbForm {
        word: "add",
        verb: Verb::Add,
        takes: "path [ name ]",
        what: "link a service directory into dir, and wait until it is ready",
    },
    VerbForm {
        word: "enable",
        verb: Verb::Change(Change::Enable),
        takes: "name ...",
        what: "start it by itself from now on: removes its file down",
    },
    VerbForm {
        word: "disable",
        verb: Verb::Change(Change::Disable),
        takes: "name ...",
        what: "do not start it by itself: makes the file; what runs runs on",
    },
    VerbForm {
        word: "remove",
        verb: Verb::Remove,
        takes: "name ...",
        what: "take the link away for good: end the service, let its logger read all",
    },
    VerbForm {
        word: "completion",
        verb: Verb::Completion,
        takes: "shell",
        what: "a script that completes these words in bash, zsh or fish",
    },
    VerbForm {
        word: "events",
        verb: Verb::Events,
        takes: "[ name ... ]",
        what: "a line for each change of a service, until it is interrupted",
    },
    VerbForm {
        word: "metrics",
        verb: Verb::Metrics,
        takes: "[ name ... ]",
        what: "the state of services in numbers, in the text format of Prometheus",
    },
    VerbForm {
        word: "top",
        verb: Verb::Top,
        takes: "[ name ... ]",
        what: "the table as a live screen, until q is pressed",
    },
];

impl VerbForm {
    /// The command with the words behind it: `wait goal name ...`.
    pub fn usage(&self) -> String {
        format!("{} {}", self.word, self.takes)
    }

    /// The line of the help: `  start name ...         keep it up, and wait until it is ready`.
    pub fn line(&self) -> String {
        format!("  {:<23}{}\n", self.usage(), self.what)
    }
}

/// The command of this name.
pub fn verb(word: &OsStr) -> Option<Verb> {
    VERBS.iter().find(|form| word == form.word).map(|form| form.verb)
}

/// The signals that a service can be sent, by name.
pub const SIGNALS: [(&str, Command); 12] = [
    ("TERM", Command::Terminate),
    ("KILL", Command::Kill),
    ("HUP", Command::Hangup),
    ("INT", Command::Interrupt),
    ("QUIT", Command::Quit),
    ("ALRM", Command::Alarm),
    ("USR1", Command::User1),
    ("USR2", Command::User2),
    ("WINCH", Command::Window),
    ("STOP", Command::Pause),
    ("CONT", Command::Continue),
    ("PAUSE", Command::Pause),
];

/// The signal of this name, with or without `SIG` in front, in any case; or of this number, which is that of this system.
pub fn signal(word: &OsStr) -> Option<(&'static str, Command)> {
    let word = word.to_str()?.to_ascii_uppercase();
    let number = || word.parse::<u16>().ok().filter(|_| !word.starts_with('+'));
    let by_number = || Signal::try_from(i32::from(number()?)).ok();
    let name = by_number().map_or(&*word, |signal| signal.as_str());
    let name = name.strip_prefix("SIG").unwrap_or(name);
    SIGNALS.into_iter().find(|(known, _)| *known == name)
}

/// The signal that a word behind `kill` is, as kill(1) has it: `-HUP`, `-SIGHUP`, `-1`.
pub fn signal_option(word: &OsStr) -> Option<(&'static str, Command)> {
    signal(OsStr::from_bytes(word.as_bytes().strip_prefix(b"-")?))
}

/// What is to become of services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// They are started by themselves.
    Enable,
    /// They are not.
    Disable,
}

/// A shell whose completion is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// bash 4 or later.
    Bash,
    /// zsh.
    Zsh,
    /// fish 3 or later.
    Fish,
}

/// The shells, by name.
pub const SHELLS: [(&str, Shell); 3] = [("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish)];

impl Shell {
    /// The shell of this name.
    ///
    /// # Errors
    /// There is no completion for it: exit 100.
    pub fn parse(word: &OsStr) -> Result<Shell, Fatal> {
        let refused = || {
            let shells = SHELLS.map(|(name, _)| name).join(" ");
            Fatal::new(PERMANENT, &[b"completion ", word.as_bytes(), b": not one of ", shells.as_bytes()])
        };
        SHELLS.into_iter().find(|(name, _)| word == *name).map(|(_, shell)| shell).ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_and_a_number() {
        for (word, expected) in [
            ("HUP", Some("HUP")),
            ("sighup", Some("HUP")),
            ("1", Some("HUP")),
            ("9", Some("KILL")),
            ("15", Some("TERM")),
            ("PAUSE", Some("PAUSE")),
            ("0", None),
            ("11", None),
            ("999", None),
            ("+9", None),
            ("-9", None),
            ("UP", None),
            ("", None),
            ("SIG", None),
        ] {
            assert_eq!(signal(OsStr::new(word)).map(|(name, _)| name), expected, "{word}");
        }
        for (word, expected) in
            [("-HUP", Some("HUP")), ("-9", Some("KILL")), ("-Hup", Some("HUP")), ("HUP", None), ("--HUP", None)]
        {
            assert_eq!(signal_option(OsStr::new(word)).map(|(name, _)| name), expected, "{word}");
        }
    }
}
