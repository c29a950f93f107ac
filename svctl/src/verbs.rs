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

/// The commands, by name.
pub const VERBS: [(&str, Verb); 19] = [
    ("list", Verb::List),
    ("status", Verb::Status),
    ("start", Verb::Act(Action::Start)),
    ("stop", Verb::Act(Action::Stop)),
    ("restart", Verb::Act(Action::Restart)),
    ("once", Verb::Act(Action::Once)),
    ("reload", Verb::Act(Action::Reload)),
    ("kill", Verb::Act(Action::Signal(Command::Kill))),
    ("wait", Verb::Wait),
    ("log", Verb::Log),
    ("check", Verb::Check),
    ("add", Verb::Add),
    ("remove", Verb::Remove),
    ("enable", Verb::Change(Change::Enable)),
    ("disable", Verb::Change(Change::Disable)),
    ("completion", Verb::Completion),
    ("events", Verb::Events),
    ("metrics", Verb::Metrics),
    ("top", Verb::Top),
];

/// The command of this name.
pub fn verb(word: &OsStr) -> Option<Verb> {
    VERBS.into_iter().find(|(name, _)| word == *name).map(|(_, verb)| verb)
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

impl Shell {
    /// The shell of this name.
    ///
    /// # Errors
    /// There is no completion for it: exit 100.
    pub fn parse(word: &OsStr) -> Result<Shell, Fatal> {
        match word.as_bytes() {
            b"bash" => Ok(Shell::Bash),
            b"zsh" => Ok(Shell::Zsh),
            b"fish" => Ok(Shell::Fish),
            other => Err(Fatal::new(PERMANENT, &[b"completion ", other, b": not one of bash zsh fish"])),
        }
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
