//! How a program starts, warns, fails and ends.
//!
//! Every message is one line in one `write(2)`, so that lines of several processes on one descriptor never mix. It
//! contains paths as raw bytes, except for newlines:
//!
//! ```text
//! prog: fatal: unable to VERB OBJECT: reason
//! prog: warning: unable to VERB OBJECT: reason
//! ```
//!
//! A program that usually runs in many instances can end its messages with the directory that it works in; see
//! [`name_directory`].
//!
//! On a terminal, control characters in text from outside are shown as `\x1b` and the like. Elsewhere only a newline is
//! replaced, by `\x0a`, so that no name can split a message in two; all other bytes are written unchanged.
//!
//! A reader of standard error can neither block a program nor end it: a message waits for its reader for at most a
//! tenth of a second, and a closed pipe causes no SIGPIPE. Messages that could not be written are counted. The count is
//! written before the next message, by [`retry_lost`] in a daemon's loop, or at the end of the program:
//!
//! ```text
//! prog: warning: 37 messages lost
//! ```
//!
//! Exit codes: 100, trying again is useless; 111, the system refused; 101, a bug in our code.

mod line;
mod output;
mod unable;

use crate::Help;
pub use crate::reason::reason;
use crate::service::refusal::Refusal;
use crate::{spelling, sys};
use line::line;
pub use line::{name_directory, name_service_directory};
use nix::errno::Errno;
use nix::unistd::{Pid, getpid};
use output::say;
pub use output::{notice, pass_on, retry_lost, warning};
use std::ffi::OsString;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
pub use unable::{Attempt, Object, Unable, Whose, account_name, errno_of, joined, stranger, whose};

/// A program's arguments without its own name.
pub type Args = std::vec::IntoIter<OsString>;

/// What [`on_panic`] has set, and the process that has set it.
static PANIC_HOOK: OnceLock<(Pid, fn())> = OnceLock::new();

/// The exit code when trying again is useless, such as for wrong usage or a bad name.
pub const PERMANENT: i32 = 100;
/// The exit code of a bug: the program has panicked.
pub const BUG: i32 = 101;
/// The exit code when the system refused something. The same call may succeed later.
pub const TEMPORARY: i32 = 111;

/// Runs `body` as the program `name`, unless the arguments ask for `help`, and returns the exit code.
///
/// [`main!`](crate::main) calls this. Every program of the toolkit starts that way.
pub fn program(name: &'static str, args: Args, help: &Help, body: impl FnOnce(Args) -> Result<i32, Fatal>) -> i32 {
    line::set_program(name, *help);
    std::panic::set_hook(Box::new(say_bug_and_exit));
    let answered = help.give(name, args.as_slice());
    let code = answered.and_then(|code| code.map_or_else(|| body(args), Ok)).unwrap_or_else(|fatal| fatal.print());
    retry_lost();
    code
}

/// Sets what a program does after a panic was reported, before it exits: it executes another program, if it can. Child
/// processes that the program has forked do not do this, because the program itself still runs.
pub fn on_panic(hook: fn()) {
    PANIC_HOOK.get_or_init(|| (getpid(), hook));
}

/// Defines a program's entry point. `daemontools::main!(setlock, HELP);` runs `fn setlock(Args) -> Result<i32, Fatal>`,
/// unless the arguments ask for its [`HELP`](crate::Help).
///
/// The program's crate must say `#![cfg_attr(not(test), no_main)]`. Rust's own start-up code is left out because it
/// ignores SIGPIPE, which every program that we execute would inherit, and because it touches a quarter of a small
/// program's private memory.
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

/// Defines the entry point of a program that is another program under another name. `daemontools::main_by_name!(start);`
/// runs `fn start(&OsStr, Args) -> i32` with the name by which the program was called, and what follows it.
/// [`main!`](crate::main) says what the program's crate must say.
#[macro_export]
macro_rules! main_by_name {
    ($start:path) => {
        const _: fn(&std::ffi::OsStr, $crate::Args) -> i32 = $start;

        #[cfg(not(test))]
        #[allow(missing_docs)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn main(argc: i32, argv: *const *const std::ffi::c_char) -> i32 {
            // SAFETY: the C library calls main once, with argc strings that live as long as we do.
            let (name, args) = unsafe { ($crate::sys::own_name(argc, argv), $crate::sys::arguments(argc, argv)) };
            $start(&name, args)
        }
    };
}

fn say_bug_and_exit(info: &PanicHookInfo) {
    let mut words = info.to_string().into_bytes();
    words.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    say(&line(b": bug: ", &[&words]));
    let hook = PANIC_HOOK.get().filter(|(program, _)| *program == getpid());
    hook.into_iter().for_each(|(_, hook)| hook());
    sys::exit_now(BUG);
}

/// Why a program ends before its work is done: the message to write, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Fatal {
    code: i32,
    text: Vec<u8>,
    /// The reason that the message gives, if it gives one.
    words: Vec<u8>,
    /// The error with which the system refused something, if it did.
    errno: Option<Errno>,
}

impl Fatal {
    /// The message `prog: fatal: WORDS` with this exit code.
    pub fn new(code: i32, words: &[&[u8]]) -> Fatal {
        Fatal { code, text: line(b": fatal: ", words), words: words.concat(), errno: None }
    }

    /// A usage line with exit code 100. `usage` is the whole line without its newline, because the original's programs
    /// begin it in different ways.
    pub fn usage(usage: &str) -> Fatal {
        Fatal { text: [usage.as_bytes(), b"\n"].concat(), ..Fatal::silent(PERMANENT) }
    }

    /// Two lines with exit code 100: `prog: WORDS` says what is wrong, then `usage` follows as in [`Fatal::usage`].
    pub fn misuse(words: &[&[u8]], usage: &str) -> Fatal {
        Fatal { text: [&line(b": ", words), usage.as_bytes(), b"\n"].concat(), ..Fatal::silent(PERMANENT) }
    }

    /// The two lines that getopt prints, with exit code 100: `prog: illegal option -- z`, then `usage` as in
    /// [`Fatal::usage`]. getopt knows no long options; one that the program does not know is named, with the one that was
    /// probably meant: `prog: illegal option --greep: did you mean --grep?`.
    pub fn option(error: &lexopt::Error, usage: &str) -> Fatal {
        let complaint: (&str, String) = match error {
            lexopt::Error::MissingValue { option: Some(option) } => {
                ("option requires an argument -- ", option.trim_start_matches('-').into())
            }
            lexopt::Error::UnexpectedOption(option) if option.len() > 2 && option.starts_with("--") => {
                ("illegal option ", format!("{option}{}", spelling::for_long_option(option, line::help())))
            }
            // getopt takes `-n-` for the option `-n` and an option named `-`.
            lexopt::Error::UnexpectedOption(option) if option == "--" => ("illegal option -- ", "-".into()),
            lexopt::Error::UnexpectedOption(option) => ("illegal option -- ", option.trim_start_matches('-').into()),
            // getopt takes `-n=` for the option `-n` and an option named `=`.
            lexopt::Error::UnexpectedValue { .. } => ("illegal option -- ", "=".into()),
            other => ("", other.to_string()),
        };
        Fatal::misuse(&[complaint.0.as_bytes(), complaint.1.as_bytes()], usage)
    }

    /// No message, only an exit code.
    pub fn silent(code: i32) -> Fatal {
        Fatal { code, text: Vec::new(), words: Vec::new(), errno: None }
    }

    /// Writes the message and returns the exit code. This is for a child process that cannot go on; a program returns
    /// the error instead.
    pub fn print(&self) -> i32 {
        say(&self.text);
        self.code
    }

    /// Adds to the message the error with which the system refused something.
    #[must_use]
    pub fn with_errno(self, errno: Errno) -> Fatal {
        Fatal { errno: Some(errno), ..self }
    }

    /// What a chain program that ends with this error tells supervise: the program's name and the reason. `None` if the
    /// chain program was called wrongly: then it exits with another code, or says only how it is called.
    pub fn refusal(&self) -> Option<Refusal> {
        let is_told = self.code == TEMPORARY && !self.words.is_empty();
        let words = || [line::name().as_bytes(), b": ", &self.words[..]].concat();
        is_told.then(|| Refusal::new(&words(), self.errno.map(|errno| errno as i32)))
    }

    /// Replaces the exit code, and keeps the message.
    pub fn with_code(self, code: i32) -> Fatal {
        Fatal { code, ..self }
    }
}

impl From<Unable> for Fatal {
    fn from(unable: Unable) -> Fatal {
        Fatal::new(TEMPORARY, &[&unable.to_bytes()]).with_errno(unable.errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_refusal_that_ends_a_program_is_temporary() {
        let unable = Unable::new("open", OsStr::from_bytes(b"/log/\xff a"), Errno::ENOENT);
        assert_eq!(Fatal::from(unable).code, TEMPORARY);
    }

    #[test]
    fn supervise_is_told_what_could_not_be_done_and_not_how_a_program_is_called() {
        let unable = Unable::new("open", OsStr::from_bytes(b"/log/\x1b a"), Errno::EACCES);
        let told = Fatal::from(unable).refusal().unwrap();
        let words = "daemontools: unable to open /log/\\x1b a: access denied";
        assert_eq!((&told.words[..], told.errno), (words, Errno::EACCES as i32));
        let unknown = Fatal::new(TEMPORARY, &[b"unknown account ", b"x"]).refusal().unwrap();
        assert_eq!((&unknown.words[..], unknown.errno), ("daemontools: unknown account x", Errno::EINVAL as i32));
        for wrong in
            [Fatal::usage("use: it").with_code(TEMPORARY), Fatal::new(PERMANENT, &[b"bad name"]), Fatal::silent(0)]
        {
            assert_eq!(wrong.refusal(), None, "{wrong:?}");
        }
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
        let letter = lexopt::Error::UnexpectedOption("--".into());
        assert_eq!(Fatal::option(&letter, "use").text, b"daemontools: illegal option -- -\nuse\n");
        let long = lexopt::Error::UnexpectedOption("--greep".into());
        assert_eq!(Fatal::option(&long, "use").text, b"daemontools: illegal option --greep\nuse\n");
        let value = lexopt::Error::UnexpectedValue { option: "-n".into(), value: "".into() };
        assert_eq!(Fatal::option(&value, "use").text, b"daemontools: illegal option -- =\nuse\n");
        let unfinished = lexopt::Error::MissingValue { option: Some("-m".into()) };
        assert_eq!(Fatal::option(&unfinished, "use").text, b"daemontools: option requires an argument -- m\nuse\n");
    }
}
