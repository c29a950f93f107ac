//! The options of svctl: one table, from which parsing, usage, help and completion come. No I/O.

use crate::action::Action;
use crate::verbs::Verb;
use daemontools::service::Command;

/// An option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// Where the services are.
    Directory,
    /// The machines where the command is run.
    Host,
    /// JSON instead of a table.
    Json,
    /// The longest time to wait.
    Timeout,
    /// The signal of `kill`.
    Signal,
    /// svctl does not wait for the outcome.
    NoWait,
    /// `metrics` tells what processes use.
    Processes,
    /// `metrics` tells what log directories hold.
    Logs,
    /// The file that `metrics` replaces.
    Textfile,
    /// `list` shows only services that are not as they are wanted.
    Failed,
    /// `list` prints only names.
    Names,
    /// For `status`, a service that is down on purpose is right.
    Wanted,
    /// Whether there are colours.
    Color,
}

/// What an option takes behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// No value.
    Nothing,
    /// The path of a directory.
    Directory,
    /// Names of machines.
    Hosts,
    /// A time.
    Time,
    /// The name of a signal.
    Signal,
    /// The path of a file.
    File,
    /// One of [`WHEN`].
    When,
}

/// The values of `--color`.
pub const WHEN: [&str; 3] = ["auto", "always", "never"];

impl Takes {
    /// What stands for the value in the help; `None`: there is no value.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Takes::Nothing => None,
            Takes::Directory => Some("dir"),
            Takes::Hosts => Some("host,..."),
            Takes::Time => Some("time"),
            Takes::Signal => Some("name"),
            Takes::File => Some("file"),
            Takes::When => Some("when"),
        }
    }
}

/// All that svctl knows of an option.
#[derive(Debug, Clone, Copy)]
pub struct FlagForm {
    /// The option.
    pub flag: Flag,
    /// Its long name, without dashes.
    pub long: &'static str,
    /// Its letter, if it has one.
    pub letter: Option<char>,
    /// Its value.
    pub takes: Takes,
    /// What the help says of it.
    pub what: &'static str,
    /// Whether it means something to a command.
    pub belongs: fn(Verb) -> bool,
    /// Whether it is for the svctl that was called, which does not pass it on to other machines.
    pub stays_here: bool,
}

/// The options, in the order of the help.
pub const FLAGS: [FlagForm; 13] = [
    FlagForm {
        flag: Flag::Directory,
        long: "directory",
        letter: Some('d'),
        takes: Takes::Directory,
        what: "where the services are",
        belongs: |_| true,
        stays_here: false,
    },
    FlagForm {
        flag: Flag::Host,
        long: "host",
        letter: Some('H'),
        takes: Takes::Hosts,
        what: "do the same there, over ssh",
        // The answer of the others is a file for another program, or needs a terminal.
        belongs: |verb| !matches!(verb, Verb::Metrics | Verb::Completion | Verb::Top),
        stays_here: true,
    },
    FlagForm {
        flag: Flag::Json,
        long: "json",
        letter: Some('j'),
        takes: Takes::Nothing,
        what: "a JSON document a line, as of svstat -j",
        belongs: has_documents,
        stays_here: false,
    },
    FlagForm {
        flag: Flag::Timeout,
        long: "timeout",
        letter: Some('T'),
        takes: Takes::Time,
        what: "wait no longer (30s), as 5s, 500ms, 1m ...",
        belongs: waits,
        stays_here: false,
    },
    FlagForm {
        flag: Flag::Signal,
        long: "signal",
        letter: Some('s'),
        takes: Takes::Signal,
        what: "the signal of kill: TERM, HUP ...",
        belongs: |verb| verb == Verb::Act(Action::Signal(Command::Kill)),
        stays_here: false,
    },
    FlagForm {
        flag: Flag::NoWait,
        long: "no-wait",
        letter: None,
        takes: Takes::Nothing,
        what: "do not wait",
        belongs: |verb| matches!(verb, Verb::Act(_) | Verb::Add),
        stays_here: false,
    },
    FlagForm {
        flag: Flag::Processes,
        long: "processes",
        letter: None,
        takes: Takes::Nothing,
        what: "metrics also of what their processes use",
        belongs: |verb| verb == Verb::Metrics,
        stays_here: false,
    },
    FlagForm {
        flag: Flag::Logs,
        long: "logs",
        letter: None,
        takes: Takes::Nothing,
        what: "metrics also of what their logs hold",
        belongs: |verb| verb == Verb::Metrics,
        stays_here: false,
    },
    FlagForm {
        flag: Flag::Textfile,
        long: "textfile",
        letter: None,
        takes: Takes::File,
        what: "metrics: replace this file at once",
        belongs: |verb| verb == Verb::Metrics,
        stays_here: false,
    },
    FlagForm {
        flag: Flag::Failed,
        long: "failed",
        letter: None,
        takes: Takes::Nothing,
        what: "list only what is not as it is wanted",
        belongs: |verb| verb == Verb::List,
        stays_here: false,
    },
    FlagForm {
        flag: Flag::Names,
        long: "names",
        letter: None,
        takes: Takes::Nothing,
        what: "list only the names, a line each, for other programs",
        belongs: |verb| verb == Verb::List,
        stays_here: false,
    },
    FlagForm {
        flag: Flag::Wanted,
        long: "wanted",
        letter: None,
        takes: Takes::Nothing,
        what: "status: a service that is down on purpose is right, too",
        belongs: |verb| verb == Verb::Status,
        stays_here: false,
    },
    FlagForm {
        flag: Flag::Color,
        long: "color",
        letter: None,
        takes: Takes::When,
        what: "auto, always or never",
        belongs: |_| true,
        stays_here: true,
    },
];

/// Whether the answer of a command may be JSON documents.
fn has_documents(verb: Verb) -> bool {
    match verb {
        Verb::List | Verb::Status | Verb::Act(_) | Verb::Wait | Verb::Log | Verb::Add | Verb::Events => true,
        Verb::Check | Verb::Remove | Verb::Change(_) | Verb::Completion | Verb::Metrics | Verb::Top => false,
    }
}

/// Whether a command waits for something.
fn waits(verb: Verb) -> bool {
    match verb {
        Verb::Act(action) => action.goal().is_some(),
        Verb::Wait | Verb::Add | Verb::Remove => true,
        Verb::List | Verb::Status | Verb::Log | Verb::Check | Verb::Change(_) | Verb::Completion => false,
        Verb::Events | Verb::Metrics | Verb::Top => false,
    }
}

/// The option of this letter.
pub fn by_letter(letter: char) -> Option<Flag> {
    FLAGS.iter().find(|form| form.letter == Some(letter)).map(|form| form.flag)
}

/// The option of this long name, without dashes.
pub fn by_name(name: &str) -> Option<Flag> {
    FLAGS.iter().find(|form| form.long == name).map(|form| form.flag)
}

impl FlagForm {
    /// The words that are the option: `-d` and `--directory`.
    pub fn words(&self) -> impl Iterator<Item = String> {
        let letter = self.letter.map(|letter| format!("-{letter}"));
        letter.into_iter().chain([format!("--{}", self.long)])
    }

    /// The option in the usage line: `-d dir`, or `--color=when` if it has no letter.
    fn brief(&self) -> String {
        let value = match self.takes {
            // The line has no place for an explanation.
            Takes::Signal => Some("signal"),
            takes => takes.word(),
        };
        let (name, equals) = match self.letter {
            Some(letter) => (format!("-{letter}"), " "),
            None => (format!("--{}", self.long), "="),
        };
        value.map_or(name.clone(), |value| [&name, equals, value].concat())
    }

    /// The line of the help: `  -d, --directory dir    where the services are`.
    pub fn line(&self) -> String {
        let letter = self.letter.map_or_else(|| "   ".into(), |letter| format!("-{letter},"));
        let value = self.takes.word().map_or_else(String::new, |value| format!(" {value}"));
        format!("  {letter} {:<19}{}\n", format!("--{}{value}", self.long), self.what)
    }
}

/// The options in the usage line: `[ -j ] [ -d dir ] …`. They are those with a letter and those that have one value for all
/// commands. The ones without a value come first.
pub fn in_usage() -> String {
    let is_brief = |form: &&FlagForm| form.letter.is_some() || form.flag == Flag::Color;
    let (bare, others): (Vec<&FlagForm>, Vec<&FlagForm>) =
        FLAGS.iter().filter(is_brief).partition(|form| form.takes == Takes::Nothing);
    let options: Vec<String> = bare.into_iter().chain(others).map(|form| format!("[ {} ]", form.brief())).collect();
    options.join(" ")
}
