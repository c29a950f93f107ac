//! What `--help` behind a command says, and `svctl help`. No I/O.

use crate::flags::FLAGS;
use crate::usage::{TEXT, USAGE, form_of};
use crate::verbs::Verb;

/// The help about a command; without one, about svctl.
pub fn of(verb: Option<Verb>) -> String {
    let (usage, text) = (USAGE.strip_prefix("svctl: ").unwrap_or(&USAGE), &*TEXT);
    let manual = "The manual page svctl(8) says more.\n";
    let Some(verb) = verb else { return format!("{usage}\n\n{text}\n{manual}") };
    let form = form_of(verb);
    let options: String = FLAGS.iter().filter(|form| (form.belongs)(verb)).map(|form| form.line()).collect();
    let codes = exit_codes(verb);
    format!("usage: svctl [ options ] {}\n\n{}\n\n{options}\nExit codes: {codes}\n\n{manual}", form.usage(), form.what)
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
        for known in VERBS {
            let (help, form, word) = (of(Some(known.verb)), form_of(known.verb), known.word);
            assert!(form.usage().starts_with(word) && help.contains(known.what), "{word}: {help}");
        }
        let start = of(Some(Verb::Act(crate::action::Action::Start)));
        assert!(start.starts_with("usage: svctl [ options ] start name ...\n\nkeep it up, and wait"), "{start}");
        assert!(start.contains("\n  -T, --timeout") && !start.contains("--processes"), "{start}");
    }
}
