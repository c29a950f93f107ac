//! What completes the words of svctl in a shell: scripts with the words that svctl knows. The names of services come from
//! `svctl list --names`. No I/O.

use crate::flags::{FLAGS, FlagForm, Takes, WHEN};
use crate::verbs::{SHELLS, SIGNALS, Shell, VERBS};
use daemontools::service::goal::Goal;

impl Shell {
    /// The script for this shell.
    pub fn script(self) -> String {
        let script = match self {
            Shell::Bash => include_str!("../completions/bash"),
            Shell::Zsh => include_str!("../completions/zsh"),
            Shell::Fish => include_str!("../completions/fish"),
        };
        let between = match self {
            Shell::Bash | Shell::Zsh => " | ",
            Shell::Fish => " ",
        };
        let with = |is_meant: fn(Takes) -> bool| words(is_meant).join(between);
        let fish: String = FLAGS.iter().map(for_fish).collect();
        script
            .replace("@FLAGS@", fish.trim_end())
            .replace("@VERBS@", &VERBS.map(|form| form.word).join(" "))
            .replace("@OPTIONS@", &options().join(" "))
            .replace("@WITH_VALUE@", &with(|takes| takes != Takes::Nothing))
            .replace("@WITH_DIRECTORY@", &with(|takes| takes == Takes::Directory))
            .replace("@WITH_TIME@", &with(|takes| takes == Takes::Time))
            .replace("@WITH_HOSTS@", &with(|takes| takes == Takes::Hosts))
            .replace("@WITH_SIGNAL@", &with(|takes| takes == Takes::Signal))
            .replace("@WITH_FILE@", &with(|takes| takes == Takes::File))
            .replace("@WITH_WHEN@", &with(|takes| takes == Takes::When))
            .replace("@WHEN@", &WHEN.join(" "))
            .replace("@SIGNALS@", &SIGNALS.map(|(name, _)| name).join(" "))
            .replace("@GOALS@", &Goal::words().join(" "))
            .replace("@SHELLS@", &SHELLS.map(|(name, _)| name).join(" "))
    }
}

/// The long options, sorted.
fn options() -> Vec<String> {
    let mut options: Vec<String> = FLAGS.iter().map(|form| format!("--{}", form.long)).collect();
    options.sort_unstable();
    options
}

/// The words that are an option with a value of this kind: `-d` and `--directory`.
fn words(is_meant: fn(Takes) -> bool) -> Vec<String> {
    FLAGS.iter().filter(|form| is_meant(form.takes)).flat_map(FlagForm::words).collect()
}

/// The line of fish's script that describes an option.
fn for_fish(form: &FlagForm) -> String {
    let letter = form.letter.map_or_else(String::new, |letter| format!(" -s {letter}"));
    let value = match form.takes {
        Takes::Nothing => "",
        Takes::Directory => " -x -a '(__fish_complete_directories)'",
        Takes::Hosts => " -x -a '(__fish_print_hostnames)'",
        Takes::Time => " -x",
        Takes::Signal => " -x -a '@SIGNALS@'",
        Takes::File => " -r -F",
        Takes::When => " -x -a '@WHEN@'",
    };
    format!("complete -c svctl{letter} -l {}{value}\n", form.long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_for_words_is_left_open() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = shell.script();
            let open: Vec<&str> = script.split('@').skip(1).collect();
            assert!(open.iter().all(|rest| !rest.starts_with(|next: char| next.is_ascii_uppercase())), "{open:?}");
        }
    }

    #[test]
    fn options_are_those_of_the_table() {
        for option in ["--directory", "--json", "--timeout", "--signal", "--failed", "--no-wait"] {
            assert!(options().iter().any(|known| known == option), "{option}");
        }
    }
}
