//! What completes the words of svctl in a shell: scripts with the words that svctl knows. The names of services come from
//! `svctl list --names`. No I/O.

use crate::usage::TEXT;
use crate::verbs::{SIGNALS, Shell, VERBS};
use daemontools::service::goal::Goal;

impl Shell {
    /// The script for this shell.
    pub fn script(self) -> String {
        let script = match self {
            Shell::Bash => include_str!("../completions/bash"),
            Shell::Zsh => include_str!("../completions/zsh"),
            Shell::Fish => include_str!("../completions/fish"),
        };
        let signals: Vec<&str> = SIGNALS.iter().map(|(name, _)| *name).collect();
        script
            .replace("@VERBS@", &VERBS.map(|(name, _)| name).join(" "))
            .replace("@OPTIONS@", &options().join(" "))
            .replace("@SIGNALS@", &signals.join(" "))
            .replace("@GOALS@", &Goal::words().join(" "))
    }
}

/// The long options, as the help has them.
fn options() -> Vec<&'static str> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '-';
    let words = TEXT.split(|letter: char| !is_part(letter));
    let mut options: Vec<&str> = words.filter(|word| word.starts_with("--") && word.len() > 2).collect();
    options.sort_unstable();
    options.dedup();
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_for_words_is_left_open() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = shell.script();
            for words in ["@VERBS@", "@OPTIONS@", "@SIGNALS@", "@GOALS@"] {
                assert!(!script.contains(words), "{words}");
            }
        }
    }

    #[test]
    fn options_are_those_of_the_help() {
        for option in ["--directory", "--json", "--timeout", "--signal", "--failed", "--no-wait"] {
            assert!(options().contains(&option), "{option}");
        }
    }
}
