//! How a program starts, warns, fails and ends.
//!
//! Every message is one line in one `write(2)`, so that lines of several processes on one
//! descriptor never mix, and carries paths as the raw bytes they are, but for newlines:
//!
//! ```text
//! prog: fatal: unable to VERB OBJECT: reason
//! prog: warning: unable to VERB OBJECT: reason
//! ```
//!
//! A program of which many work at once can end its messages with the directory that it works in, see [`name_directory`].
//!
//! On a terminal, control characters in what comes from outside are shown as `\x1b` and the like. Elsewhere a newline is
//! shown as `\x0a`, so that no name makes two messages of one; all other bytes are as they are.
//!
//! Whoever reads standard error cannot hold a program up, nor end it: a message is not waited for longer than
//! a tenth of a second, and SIGPIPE does not come of it. What could not be written is counted, and the count is written before
//! the next message, by [`retry_lost`] in a daemon's loop, or at the program's end:
//!
//! ```text
//! prog: warning: 37 messages lost
//! ```
//!
//! Exit codes: 100, asking again is useless; 111, the system refused; 101, a bug of ours.

mod line;
mod output;
mod unable;

use crate::Help;
pub use crate::reason::reason;
use crate::sys;
use line::line;
pub use line::{name_directory, name_service_directory};
use nix::unistd::{Pid, getpid};
use output::say;
pub use output::{notice, pass_on, retry_lost, warning};
use std::ffi::OsString;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
pub use unable::{Attempt, Object, Unable, errno_of};

/// A program's arguments, its own name taken off.
pub type Args = std::vec::IntoIter<OsString>;

/// See [`at_bug`].
static LAST_RESORT: OnceLock<(Pid, fn())> = OnceLock::new();

/// Exit code when asking again is useless: bad usage, bad name.
pub const PERMANENT: i32 = 100;
/// Exit code of a bug: a panic.
pub const BUG: i32 = 101;
/// Exit code when the system refused; the same call may succeed later.
pub const TEMPORARY: i32 = 111;

/// Runs `body` as the program `name`, unless its arguments ask for `help`; what it returns is the exit code.
///
/// Called by [`main!`](crate::main), which is how every program of the toolkit starts.
pub fn program(name: &'static str, args: Args, help: &Help, body: fn(Args) -> Result<i32, Fatal>) -> i32 {
    line::set_name(name);
    std::panic::set_hook(Box::new(say_bug_and_exit));
    let answered = help.give(name, args.as_slice());
    let code = answered.and_then(|code| code.map_or_else(|| body(args), Ok)).unwrap_or_else(|fatal| fatal.tell());
    retry_lost();
    code
}

/// What a program does after a panic was reported, before it exits: become another program, if it can. Not what a process
/// does that it has forked: the program itself goes on.
pub fn at_bug(last_resort: fn()) {
    LAST_RESORT.get_or_init(|| (getpid(), last_resort));
}

/// Starts a program: `daemontools::main!(setlock, HELP);` runs `fn setlock(Args) -> Result<i32, Fatal>`, unless it is
/// asked for its [`HELP`](crate::Help).
///
/// The program's crate says `#![cfg_attr(not(test), no_main)]`. Rust's own start-up is left out
/// because it ignores SIGPIPE, which every program that we execute would inherit, and because it
/// touches a quarter of a small program's private memory.
#[macro_export]
macro_rules! main {
    ($body:path, $help:path) => {
        const _: (fn($crate::Args) -> Result<i32, $crate::Fatal>, $crate::Help) = ($body, $help);

        #[cfg(not(test))]
        #[allow(missing_docs)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn main(argc: i32, argv: *const *const std::ffi::c_char) -> i32 {
            // SAFETY: the C library calls main once, with argc strings that live as long as we do.
            let args = unsafe { $crate::sys::arguments(argc, argv) };
            $crate::program(env!("CARGO_BIN_NAME"), args, &$help, $body)
        }
    };
}

fn say_bug_and_exit(info: &PanicHookInfo) {
    let mut words = info.to_string().into_bytes();
    words.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    say(&line(b": bug: ", &[&words]));
    let last_resort = LAST_RESORT.get().filter(|(program, _)| *program == getpid());
    last_resort.into_iter().for_each(|(_, last_resort)| last_resort());
    sys::exit_now(BUG);
}

/// Why a program ends before its work is done: what to write, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Fatal {
    code: i32,
    text: Vec<u8>,
}

impl Fatal {
    /// `prog: fatal: WORDS`, with an exit code of one's own.
    pub fn new(code: i32, words: &[&[u8]]) -> Fatal {
        Fatal { code, text: line(b": fatal: ", words) }
    }

    /// A usage line, exit 100. `usage` is the whole line without its newline, as the original's
    /// programs do not agree on its beginning.
    pub fn usage(usage: &str) -> Fatal {
        Fatal { code: PERMANENT, text: [usage.as_bytes(), b"\n"].concat() }
    }

    /// Two lines: `prog: WORDS` says what is wrong, then `usage` as in [`Fatal::usage`]. Exit 100.
    pub fn misuse(words: &[&[u8]], usage: &str) -> Fatal {
        Fatal { code: PERMANENT, text: [&line(b": ", words), usage.as_bytes(), b"\n"].concat() }
    }

    /// The two lines that getopt's users expect: `prog: illegal option -- z`, then `usage` as in
    /// [`Fatal::usage`]. Exit 100.
    pub fn option(error: &lexopt::Error, usage: &str) -> Fatal {
        let complaint: (&str, String) = match error {
            lexopt::Error::MissingValue { option: Some(option) } => {
                ("option requires an argument -- ", option.trim_start_matches('-').into())
            }
            lexopt::Error::UnexpectedOption(option) if option.starts_with("--") => ("illegal option -- ", "-".into()),
            lexopt::Error::UnexpectedOption(option) => ("illegal option -- ", option.trim_start_matches('-').into()),
            // `-n=`: to getopt one more option, named `=`.
            lexopt::Error::UnexpectedValue { .. } => ("illegal option -- ", "=".into()),
            other => ("", other.to_string()),
        };
        Fatal::misuse(&[complaint.0.as_bytes(), complaint.1.as_bytes()], usage)
    }

    /// No message at all, only an exit code.
    pub fn silent(code: i32) -> Fatal {
        Fatal { code, text: Vec::new() }
    }

    /// Writes the message; returns the exit code. For a child that cannot go on; a program returns
    /// the error instead.
    pub fn tell(&self) -> i32 {
        say(&self.text);
        self.code
    }

    /// The same message with another exit code.
    pub fn with_code(self, code: i32) -> Fatal {
        Fatal { code, ..self }
    }
}

impl From<Unable> for Fatal {
    fn from(unable: Unable) -> Fatal {
        Fatal::new(TEMPORARY, &[&unable.to_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_refusal_that_ends_a_program_is_temporary() {
        let unable = Unable::new("open", OsStr::from_bytes(b"/log/\xff a"), Errno::ENOENT);
        assert_eq!(Fatal::from(unable).code, TEMPORARY);
    }

    #[test]
    fn a_newline_in_a_name_makes_no_second_message() {
        let unable = Unable::new("open", OsStr::from_bytes(b"a\nprog: fatal: \x1b\xff\n"), Errno::ENOENT);
        let expected = b"daemontools: fatal: unable to open a\\x0aprog: fatal: \x1b\xff\\x0a: file does not exist\n";
        assert_eq!(Fatal::from(unable).text, expected);
    }

    #[test]
    fn reasons_the_original_has_no_words_for_are_the_c_librarys() {
        assert_eq!(reason(Errno::ENOMEDIUM), "No medium found");
    }

    #[test]
    fn bad_options_are_named_as_getopt_names_them() {
        let unknown = lexopt::Error::UnexpectedOption("-z".into());
        assert_eq!(Fatal::option(&unknown, "use: it").text, b"daemontools: illegal option -- z\nuse: it\n");
        let value = lexopt::Error::UnexpectedValue { option: "-n".into(), value: "".into() };
        assert_eq!(Fatal::option(&value, "use").text, b"daemontools: illegal option -- =\nuse\n");
        let unfinished = lexopt::Error::MissingValue { option: Some("-m".into()) };
        assert_eq!(Fatal::option(&unfinished, "use").text, b"daemontools: option requires an argument -- m\nuse\n");
    }
}
