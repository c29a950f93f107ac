//! The verbs of runit's `sv`: what supervise is told, and what is waited for. No I/O.
//!
//! Source: sv.c of runit 2.1.2. A verb is a word, or any word that begins with its letter.

use daemontools::service::{Command, Commands};

/// What the user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// The state of services in one line each.
    Status,
    /// Something is done to services.
    Act(Deed),
}

/// What is done to services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// What supervise is told.
    pub commands: Commands,
    /// What the service must show, all of it.
    pub conditions: &'static [Condition],
    /// Whether this is waited for although the user does not ask for it.
    pub waits: bool,
    /// Whether the service is killed when the time is over.
    pub kills: bool,
}

/// What a service must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// `run` runs, and is ready.
    Up,
    /// Nothing runs, and nothing is going to run.
    Down,
    /// `run` has been started, and is not started again.
    Once,
    /// `run` has been started again, or nothing is going to run.
    Restarted,
    /// It is paused, or nothing runs.
    Paused,
    /// It is not paused.
    Continued,
    /// Its supervise has ended.
    Gone,
    /// If `run` runs, it is ready.
    Ready,
}

impl Condition {
    /// Whether the script `check` of the service has a say too.
    pub fn asks_check(self) -> bool {
        match self {
            Condition::Up | Condition::Restarted | Condition::Ready => true,
            Condition::Down | Condition::Once | Condition::Paused | Condition::Continued | Condition::Gone => false,
        }
    }
}

/// How a verb is recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    /// By the whole word.
    Word(&'static str),
    /// By its first letter.
    Letter(u8),
}

/// Whether a verb waits, and what comes when the time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    IfAsked,
    Always,
    AndKill,
}

use Condition::{Continued, Down, Gone, Once, Paused, Ready, Restarted, Up};
use Name::{Letter, Word};
use Wait::{Always, AndKill, IfAsked};

/// runit's `exit` takes the service down first. The `x` of daemontools waits until the service is down.
const EXIT: &[Command] = &[Command::Down, Command::Exit];
/// `d` obeys the settings of the service about its end, which TERM does not.
const RESTART: &[Command] = &[Command::Down, Command::Up];
const RENEW: &[Command] = &[Command::Terminate, Command::Continue];

/// All verbs that do something.
const VERBS: [(Name, &[Command], &[Condition], Wait); 30] = [
    (Word("start"), &[Command::Up], &[Up], Always),
    (Word("stop"), &[Command::Down], &[Down], Always),
    (Word("restart"), RESTART, &[Restarted, Continued, Up], Always),
    (Word("reload"), &[Command::Reload], &[], Always),
    (Word("shutdown"), EXIT, &[Gone], Always),
    (Word("try-restart"), RENEW, &[Restarted, Continued], Always),
    (Word("check"), &[], &[Ready], Always),
    (Word("force-stop"), &[Command::Down], &[Down], AndKill),
    (Word("force-reload"), RENEW, &[Restarted, Continued], AndKill),
    (Word("force-restart"), RESTART, &[Restarted, Continued, Up], AndKill),
    (Word("force-shutdown"), EXIT, &[Gone], AndKill),
    (Letter(b'D'), &[Command::Down], &[Down], AndKill),
    (Letter(b'T'), RENEW, &[Restarted, Continued], AndKill),
    (Letter(b'X'), EXIT, &[Gone], AndKill),
    (Letter(b'E'), EXIT, &[Gone], AndKill),
    (Letter(b'u'), &[Command::Up], &[Up], IfAsked),
    (Letter(b'd'), &[Command::Down], &[Down], IfAsked),
    (Letter(b'o'), &[Command::Once], &[Once], IfAsked),
    (Letter(b'p'), &[Command::Pause], &[Paused], IfAsked),
    (Letter(b'c'), &[Command::Continue], &[Continued], IfAsked),
    (Letter(b'h'), &[Command::Hangup], &[], IfAsked),
    (Letter(b'a'), &[Command::Alarm], &[], IfAsked),
    (Letter(b'i'), &[Command::Interrupt], &[], IfAsked),
    (Letter(b'q'), &[Command::Quit], &[], IfAsked),
    (Letter(b'1'), &[Command::User1], &[], IfAsked),
    (Letter(b'2'), &[Command::User2], &[], IfAsked),
    (Letter(b't'), &[Command::Terminate], &[Restarted], IfAsked),
    (Letter(b'k'), &[Command::Kill], &[Restarted], IfAsked),
    (Letter(b'x'), EXIT, &[Gone], IfAsked),
    (Letter(b'e'), EXIT, &[Gone], IfAsked),
];

/// Commands of other tools, whose first letter runit's sv would take for another verb: `enable` for `exit`, `pid` for
/// `pause`, `tail` for `term`.
const OF_OTHERS: [&str; 12] =
    ["add", "cat", "completion", "disable", "edit", "enable", "events", "help", "pid", "tail", "top", "update"];

/// Whether a word is a command of another tool, and no verb.
pub fn is_of_another_tool(word: &[u8]) -> bool {
    OF_OTHERS.iter().any(|known| known.as_bytes() == word)
}

/// The verb that a word means; `None`: none. A script of the Linux Standard Base knows `status` only by its whole name.
pub fn verb(word: &[u8], is_script: bool) -> Option<Verb> {
    if is_of_another_tool(word) {
        return None;
    }
    let is_word = |name: &Name| matches!(name, Word(whole) if whole.as_bytes() == word);
    let is_letter = |name: &Name| matches!(name, Letter(letter) if word.first() == Some(letter));
    let found = VERBS.iter().find(|(name, ..)| is_word(name));
    match found.or_else(|| VERBS.iter().find(|(name, ..)| is_letter(name))) {
        Some((_, commands, conditions, wait)) => Some(Verb::Act(Deed {
            commands: Commands::from(*commands),
            conditions,
            waits: *wait != IfAsked,
            kills: *wait == AndKill,
        })),
        None => (word.starts_with(b"s") && (!is_script || word == b"status")).then_some(Verb::Status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The letters that are written, whether the verb waits, and whether it kills.
    fn told(word: &str) -> String {
        match verb(word.as_bytes(), false) {
            None => "usage".into(),
            Some(Verb::Status) => "status".into(),
            Some(Verb::Act(deed)) => {
                let letters = String::from_utf8(deed.commands.bytes()).unwrap();
                format!("{letters}{}{}", if deed.waits { " waits" } else { "" }, if deed.kills { " kills" } else { "" })
            }
        }
    }

    #[test]
    fn each_verb_has_its_commands() {
        for (words, expected) in [
            ("status s stat", "status"),
            ("up u upwards", "u"),
            ("down d", "d"),
            ("once o", "o"),
            ("pause p", "p"),
            ("cont c continue", "c"),
            ("hup h", "h"),
            ("alarm a", "a"),
            ("interrupt i", "i"),
            ("quit q", "q"),
            ("1", "1"),
            ("2", "2"),
            ("term t try", "t"),
            ("kill k", "k"),
            ("exit e x", "dx"),
            ("start", "u waits"),
            ("stop", "d waits"),
            ("reload", "R waits"),
            ("restart", "du waits"),
            ("shutdown", "dx waits"),
            ("check", " waits"),
            ("try-restart", "tc waits"),
            ("force-stop D", "d waits kills"),
            ("force-reload T", "tc waits kills"),
            ("force-restart", "du waits kills"),
            ("force-shutdown X E", "dx waits kills"),
            ("r restarting f force z 3 -", "usage"),
        ] {
            for word in words.split(' ') {
                assert_eq!(told(word), expected, "{word}");
            }
        }
        assert_eq!(told(""), "usage");
    }

    #[test]
    fn a_script_knows_status_by_its_whole_name() {
        assert_eq!(verb(b"status", true), Some(Verb::Status));
        assert_eq!(verb(b"stat", true), None);
        assert!(verb(b"stop", true).is_some());
    }
}
