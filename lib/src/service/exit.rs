//! How a process ended: what wait(2) says, the text in `supervise/state`, and the words for people.

use crate::report::reason;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::fmt::{self, Display};
use std::str::SplitAsciiWhitespace;

/// How a process ended. As text: `exit CODE`, `signal NUMBER`, `core NUMBER` (killed by that signal,
/// core dumped), `unstarted ERRNO`, `unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The process exited with this code.
    Code(i32),
    /// The process was killed by this signal.
    Signal(i32),
    /// The process was killed by this signal and dumped core.
    Core(i32),
    /// The program could not be executed, for the reason with this error number: `run` itself, or by a chain program of
    /// `run` what comes after that (see [`refusal`](super::refusal)).
    Unstarted(i32),
    /// The process ended while no supervise or svscan watched it.
    Unknown,
}

impl Exit {
    /// Reads a status from `wait(2)`.
    pub fn from_wait_status(status: i32) -> Exit {
        match status & 0x7f {
            0 => Exit::Code((status >> 8) & 0xff),
            signal if status & 0x80 != 0 => Exit::Core(signal),
            signal => Exit::Signal(signal),
        }
    }

    /// Reads the text that [`Display`] writes. An unknown word is [`Exit::Unknown`].
    pub(super) fn parse(words: &mut SplitAsciiWhitespace) -> Option<Exit> {
        let kind = words.next()?;
        let mut number = || words.next()?.parse().ok();
        Some(match kind {
            "exit" => Exit::Code(number()?),
            "signal" => Exit::Signal(number()?),
            "core" => Exit::Core(number()?),
            "unstarted" => Exit::Unstarted(number()?),
            _ => Exit::Unknown,
        })
    }

    /// The exit in words for people: `exited 1`, `killed by SIGSEGV (core dumped)`, `not executed: access denied`.
    pub fn words(self) -> String {
        match self {
            Exit::Code(code) => format!("exited {code}"),
            Exit::Signal(signal) => format!("killed by {}", signal_name(signal)),
            Exit::Core(signal) => format!("killed by {} (core dumped)", signal_name(signal)),
            Exit::Unstarted(errno) => not_executed(reason(Errno::from_raw(errno))),
            Exit::Unknown => "ended unseen".into(),
        }
    }
}

/// The words for a program that could not be executed for this reason.
pub(super) fn not_executed(why: &str) -> String {
    format!("not executed: {why}")
}

/// The name of a signal, such as `SIGTERM`. A signal without a name is written as `signal 34`.
pub fn signal_name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.as_str().into())
}

impl Display for Exit {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(to, "exit {code}"),
            Exit::Signal(signal) => write!(to, "signal {signal}"),
            Exit::Core(signal) => write!(to, "core {signal}"),
            Exit::Unstarted(errno) => write!(to, "unstarted {errno}"),
            Exit::Unknown => write!(to, "unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for exit in [Exit::Code(111), Exit::Signal(9), Exit::Core(11), Exit::Unstarted(2), Exit::Unknown] {
            assert_eq!(Exit::parse(&mut exit.to_string().split_ascii_whitespace()), Some(exit));
        }
        for (text, expected) in [("", None), ("exit", None), ("exit x", None), ("abducted 7", Some(Exit::Unknown))] {
            assert_eq!(Exit::parse(&mut text.split_ascii_whitespace()), expected, "{text}");
        }
    }

    #[test]
    fn wait_statuses_are_read_as_the_kernel_writes_them() {
        let table =
            [(0, Exit::Code(0)), (111 << 8, Exit::Code(111)), (9, Exit::Signal(9)), (11 | 0x80, Exit::Core(11))];
        for (status, exit) in table {
            assert_eq!(Exit::from_wait_status(status), exit);
        }
    }

    #[test]
    fn exits_have_words() {
        let table = [
            (Exit::Code(0), "exited 0"),
            (Exit::Signal(9), "killed by SIGKILL"),
            (Exit::Signal(40), "killed by signal 40"),
            (Exit::Core(11), "killed by SIGSEGV (core dumped)"),
            (Exit::Unstarted(13), "not executed: access denied"),
            (Exit::Unknown, "ended unseen"),
        ];
        for (exit, words) in table {
            assert_eq!(exit.words(), words);
        }
    }
}
