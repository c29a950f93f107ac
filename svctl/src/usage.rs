//! How svctl is used: its usage line, and a line for each command and option. No I/O.

use crate::action::Action;
use crate::flags::{self, FLAGS};
use crate::verbs::{VERBS, Verb, VerbForm};
use std::sync::LazyLock;

/// The line that wrong usage is answered with.
pub static USAGE: LazyLock<String> =
    LazyLock::new(|| format!("svctl: usage: svctl {} [ command ] [ name ... ]", flags::in_usage()));

/// What `--help` says.
pub static TEXT: LazyLock<String> = LazyLock::new(|| {
    let commands: String = VERBS.iter().map(VerbForm::line).collect();
    let options: String = FLAGS.iter().map(|form| form.line()).collect();
    format!("{INTRODUCTION}\n{commands}\n{options}\n{EXIT_CODES}")
});

const INTRODUCTION: &str = "\
Shows and controls the services in a directory: dir, or else $SVDIR, /service, /etc/service
or /var/service, the first that exists. A name is one of the directory; it may have *, ? and
[...] in it. A name that begins with / or . is a path.
";

const EXIT_CODES: &str = "\
Exit codes. status: 0, all are up; 3, one is not; 4, one is unknown or not supervised. Actions
and wait: 0, done; 1, a service will not come there; 99, the time is over. check: 0, nothing is
wrong; 1, something is. All: 100, wrong usage, or no such service; 111, the system refuses.
";

/// The usage line of one command.
pub fn of(verb: Verb) -> String {
    format!("svctl: usage: svctl [ options ] {}", form_of(verb).usage())
}

/// What the table of commands says of a command.
pub fn form_of(verb: Verb) -> &'static VerbForm {
    // Every command is in the table, as a test shows.
    VERBS.iter().find(|form| has_one_line(form.verb, verb)).unwrap_or(&VERBS[0])
}

/// Whether two commands have one line in the help: all signals are those of `kill`.
fn has_one_line(one: Verb, other: Verb) -> bool {
    match (one, other) {
        (Verb::Act(Action::Signal(_)), Verb::Act(Action::Signal(_))) => true,
        (one, other) => one == other,
    }
}
