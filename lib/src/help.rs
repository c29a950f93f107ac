//! What every program answers to `--help` and `--version`, as its first argument.
//!
//! Both texts go to standard output, with exit code 0. An argument `--help` is never taken for a file of that name in
//! the current directory, because other accounts may be able to write there. A directory of that name is given as
//! `./--help`, which is how svscan names such a service.

use crate::sys;
use crate::{Attempt, Fatal};
use std::ffi::OsString;

/// What a program tells about itself.
#[derive(Debug, Clone, Copy)]
pub struct Help {
    /// The usage line, with all options and arguments. The program prints the same line after wrong usage: `svok:
    /// usage: svok service`.
    pub usage: &'static str,
    /// What the program does, what each option means, and the exit codes, as whole lines.
    pub text: &'static str,
}

/// All programs have the same version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Help {
    /// The answer of the program `name` to its arguments, if they ask for help or the version.
    fn answer(&self, name: &str, args: &[OsString]) -> Option<String> {
        let word = args.first()?;
        Some(match word.to_str()? {
            "--help" => {
                let usage = self.usage.strip_prefix(name).and_then(|usage| usage.strip_prefix(": "));
                let usage = usage.unwrap_or(self.usage);
                format!("{usage}\n\n{}\nThe manual page {name}(8) says more.\n", self.text)
            }
            "--version" => format!("{name} (daemontools) {VERSION}\n"),
            _ => return None,
        })
    }

    /// Prints the answer if the arguments ask for one, and returns the exit code in that case.
    ///
    /// # Errors
    /// The answer cannot be written to standard output.
    pub(crate) fn give(&self, name: &str, args: &[OsString]) -> Result<Option<i32>, Fatal> {
        match self.answer(name, args) {
            Some(answer) => {
                sys::write_all(sys::stdout(), answer.as_bytes()).unable_to("write output", "")?;
                Ok(Some(0))
            }
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_alone_asks() {
        let help = Help { usage: "prog: usage: prog [ -a ] file", text: "Does it.\n" };
        let answer = |words: &[&str]| help.answer("prog", &words.iter().map(OsString::from).collect::<Vec<_>>());
        let said = "usage: prog [ -a ] file\n\nDoes it.\n\nThe manual page prog(8) says more.\n";
        assert_eq!(answer(&["--help"]).as_deref(), Some(said));
        assert_eq!(answer(&["--help", "file"]).as_deref(), Some(said));
        assert_eq!(answer(&["--version"]), Some(format!("prog (daemontools) {VERSION}\n")));
        for words in [&[][..], &["file", "--help"], &["--", "--help"], &["-help"], &["--helpful"], &["./--help"]] {
            assert_eq!(answer(words), None, "{words:?}");
        }
    }
}
