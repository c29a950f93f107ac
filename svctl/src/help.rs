//! What `--help` behind a command says, and `svctl help`. No I/O.

use crate::arguments::belongs;
use crate::usage::{TEXT, USAGE, line_of};
use crate::verbs::Verb;

/// The help about a command; without one, about svctl.
pub fn of(verb: Option<Verb>) -> String {
    let usage = USAGE.strip_prefix("svctl: ").unwrap_or(USAGE);
    let manual = "The manual page svctl(8) says more.\n";
    let Some(verb) = verb else { return format!("{usage}\n\n{TEXT}\n{manual}") };
    let (form, what) = line_of(verb);
    let options: String = option_lines(verb).map(|line| format!("{line}\n")).collect();
    let codes = exit_codes(verb);
    format!("usage: svctl [ options ] {form}\n\n{what}\n\n{options}\nExit codes: {codes}\n\n{manual}")
}

/// The lines about the options that belong to a command.
fn option_lines(verb: Verb) -> impl Iterator<Item = &'static str> {
    let options = TEXT.lines().filter(|line| line.trim_start().starts_with('-'));
    options.filter(move |line| {
        let long = line.split([' ', ',']).find(|word| word.starts_with("--"));
        long.is_some_and(|long| belongs(verb, long))
    })
}

fn exit_codes(verb: Verb) -> &'static str {
    match verb {
        Verb::List | Verb::Metrics => "0; 4, a name means no service; 100, wrong usage; 111, the system refuses.",
        Verb::Status => "0, all are up; 3, one is not; 4, one is unknown or not supervised; 100, wrong usage.",
        Verb::Act(_) | Verb::Wait | Verb::Add | Verb::Remove => {
            "0, done; 1, a service will not come there; 99, the time is over;\n100, wrong usage, or no such service; 111, the system refuses."
        }
        Verb::Check => "0, nothing is wrong; 1, something is; 100, wrong usage, or no such service.",
        Verb::Log => "those of svlog, whose options are also those of this command: svlog --help.",
        Verb::Change(_) | Verb::Completion | Verb::Events | Verb::Top => {
            "0, done; 100, wrong usage, or no such service; 111, the system refuses."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::VERBS;

    #[test]
    fn every_command_has_its_help() {
        for (word, verb) in VERBS {
            let help = of(Some(verb));
            let (form, what) = line_of(verb);
            assert!(form.starts_with(word) && !what.is_empty() && help.contains(what), "{word}: {help}");
        }
        let start = of(Some(Verb::Act(crate::action::Action::Start)));
        assert!(start.starts_with("usage: svctl [ options ] start name ...\n\nkeep it up, and wait"), "{start}");
        assert!(start.contains("\n  -T, --timeout") && !start.contains("--processes"), "{start}");
    }
}
