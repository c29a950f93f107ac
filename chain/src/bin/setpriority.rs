//! setpriority: runs a program with other priorities for the processor, the disk and the memory.
//!
//! `setpriority [ -n NICE ] [ -c POLICY[:PRIORITY] ] [ -i CLASS[:LEVEL] ] [ -o SCORE ] PROGRAM [ ARG ... ]`
//!
//! 1. Sets what the options say, one after the other, and leaves the rest as it was:
//!    `-c` the scheduling policy: `other`, `batch`, `idle`, or `fifo` or `rr` with a real-time priority, 1 to 99;
//!    `-n` the nice value, -20 to 19, which is not added to the one before;
//!    `-i` the class for I/O: `none`, `idle`, or `realtime` or `best-effort` with a level, 0 to 7, or else 4;
//!    `-o` what the kernel adds to the score of PROGRAM when memory runs out and it has to kill a process: -1000, never,
//!    to 1000, first.
//! 2. Runs PROGRAM, which inherits all of them.
//!
//! Usage: 100. The system refuses a priority, PROGRAM cannot be run: 111.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::report::errno_of;
use daemontools::sys::scheduling::{IoPriority, Policy, set_io_priority, set_nice, set_policy};
use daemontools::{Args, Fatal, Help, Unable};
use lexopt::Arg;
use nix::errno::Errno;
use nix::unistd::geteuid;
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

chain::main!(setpriority, HELP);

const USAGE: &str = "setpriority: usage: setpriority [ -n nice ] [ -c policy[:priority] ] [ -i class[:level] ] [ -o score ] \
    child";

const HELP: Help = Help {
    usage: USAGE,
    text: "\
Runs child, a program and its arguments, with these priorities.

  -n  nice value: -20, most of the processor, to 19, least of it
  -c  scheduling policy: other, batch, idle, fifo:1 to fifo:99, rr:1 to rr:99
  -i  class for the disk: none, idle, best-effort:0 to :7, realtime:0 to :7
  -o  whom the kernel kills when memory runs out: -1000, never, to 1000, first

Exit codes: 100, wrong usage; 111, the system refuses, or child cannot be run; else child's.
",
};

/// The kernel's file for the score of this process.
const SCORE: &str = "/proc/self/oom_score_adj";

fn setpriority(args: Args) -> Result<i32, Fatal> {
    let Options { settings, program } = parse(args)?;
    for Setting { priority, word } in settings {
        set(priority).map_err(|errno| refused(priority, &word, errno))?;
    }
    Err(chain::run(&program, &[]))
}

/// A priority that an option sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Priority {
    Policy(Policy),
    Nice(i32),
    Io(IoPriority),
    Score(i32),
}

fn set(priority: Priority) -> Result<(), Errno> {
    match priority {
        Priority::Policy(policy) => set_policy(policy),
        Priority::Nice(nice) => set_nice(nice),
        Priority::Io(priority) => set_io_priority(priority),
        Priority::Score(score) => set_score(score).map_err(|error| errno_of(&error)),
    }
}

fn set_score(score: i32) -> io::Result<()> {
    OpenOptions::new().write(true).open(SCORE)?.write_all(score.to_string().as_bytes())
}

fn refused(priority: Priority, word: &OsStr, errno: Errno) -> Unable {
    let unable = match priority {
        Priority::Policy(_) => Unable::new("set scheduling policy", word, errno),
        Priority::Nice(_) => Unable::new("set nice value", word, errno),
        Priority::Io(_) => Unable::new("set I/O class", word, errno),
        Priority::Score(_) if errno == Errno::ENOENT => Unable::new("open", SCORE, errno).because("is /proc mounted?"),
        Priority::Score(_) => Unable::new("set score", word, errno),
    };
    let is_right_missing = matches!(errno, Errno::EPERM | Errno::EACCES) && !geteuid().is_root();
    if is_right_missing { unable.because("only root can take more than it has") } else { unable }
}

/// A priority, and the word that names it.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    priority: Priority,
    word: OsString,
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    settings: Vec<Setting>,
    program: Vec<OsString>,
}

fn parse(args: Args) -> Result<Options, Fatal> {
    let misused = |error: lexopt::Error| Fatal::option(&error, USAGE);
    let (mut settings, mut program) = (Vec::new(), Vec::new());
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(argument) = parser.next().map_err(misused)? {
        match argument {
            Arg::Short(letter @ ('c' | 'i' | 'n' | 'o')) => {
                let word = parser.value().map_err(misused)?;
                let priority = word.to_str().and_then(|text| priority(letter, text));
                let priority = priority.ok_or_else(|| no_priority(letter, &word))?;
                settings.push(Setting { priority, word });
            }
            Arg::Value(name) => {
                program = vec![name];
                program.extend(parser.raw_args().map_err(misused)?);
            }
            other @ (Arg::Short(_) | Arg::Long(_)) => return Err(misused(other.unexpected())),
        }
    }
    if program.is_empty() { Err(Fatal::usage(USAGE)) } else { Ok(Options { settings, program }) }
}

/// `setpriority: -n 20 is no nice value: say -20 to 19`.
fn no_priority(letter: char, word: &OsStr) -> Fatal {
    let ways: &[u8] = match letter {
        'c' => b"scheduling policy: say other, batch, idle, fifo:1 to fifo:99, or rr:1 to rr:99",
        'i' => b"I/O class: say none, idle, best-effort:0 to best-effort:7, or realtime:0 to realtime:7",
        'n' => b"nice value: say -20 to 19",
        _ => b"score: say -1000 to 1000",
    };
    Fatal::misuse(&[format!("-{letter} ").as_bytes(), word.as_bytes(), b" is no ", ways], USAGE)
}

/// Reads the value of an option.
fn priority(letter: char, text: &str) -> Option<Priority> {
    Some(match letter {
        'c' => Priority::Policy(policy(text)?),
        'i' => Priority::Io(io_priority(text)?),
        'n' => Priority::Nice(within(text, -20..=19)?),
        _ => Priority::Score(within(text, -1000..=1000)?),
    })
}

fn policy(text: &str) -> Option<Policy> {
    let real_time = |priority| within(priority, 1..=99);
    Some(match text.split_once(':') {
        None if text == "other" => Policy::Other,
        None if text == "batch" => Policy::Batch,
        None if text == "idle" => Policy::Idle,
        Some(("fifo", priority)) => Policy::Fifo(real_time(priority)?),
        Some(("rr", priority)) => Policy::RoundRobin(real_time(priority)?),
        Some(_) | None => return None,
    })
}

/// The level of a class that names none. ionice(1) and the kernel have the same.
const USUAL_LEVEL: &str = "4";

fn io_priority(text: &str) -> Option<IoPriority> {
    let level = |level| within(level, 0..=7);
    Some(match text.split_once(':').unwrap_or((text, USUAL_LEVEL)) {
        ("none", _) if text == "none" => IoPriority::ByNice,
        ("idle", _) if text == "idle" => IoPriority::Idle,
        ("best-effort", number) => IoPriority::BestEffort(level(number)?),
        ("realtime", number) => IoPriority::RealTime(level(number)?),
        _ => return None,
    })
}

fn within<T: FromStr + PartialOrd>(text: &str, range: RangeInclusive<T>) -> Option<T> {
    text.parse().ok().filter(|number| range.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_value_of_an_option_is_a_number_or_a_class() {
        use Priority::*;
        for (letter, text, expected) in [
            ('n', "-20", Some(Nice(-20))),
            ('n', "19", Some(Nice(19))),
            ('n', "0", Some(Nice(0))),
            ('n', "20", None),
            ('n', "-21", None),
            ('n', "", None),
            ('n', "5x", None),
            ('n', "99999999999", None),
            ('o', "-1000", Some(Score(-1000))),
            ('o', "1000", Some(Score(1000))),
            ('o', "1001", None),
            ('o', "never", None),
            ('c', "other", Some(Policy(super::Policy::Other))),
            ('c', "batch", Some(Policy(super::Policy::Batch))),
            ('c', "idle", Some(Policy(super::Policy::Idle))),
            ('c', "fifo:1", Some(Policy(super::Policy::Fifo(1)))),
            ('c', "rr:99", Some(Policy(super::Policy::RoundRobin(99)))),
            ('c', "rr:100", None),
            ('c', "fifo:0", None),
            ('c', "fifo", None),
            ('c', "other:1", None),
            ('c', "idle:", None),
            ('c', "", None),
            ('i', "none", Some(Io(IoPriority::ByNice))),
            ('i', "idle", Some(Io(IoPriority::Idle))),
            ('i', "best-effort", Some(Io(IoPriority::BestEffort(4)))),
            ('i', "best-effort:0", Some(Io(IoPriority::BestEffort(0)))),
            ('i', "realtime:7", Some(Io(IoPriority::RealTime(7)))),
            ('i', "realtime:8", None),
            ('i', "realtime:", None),
            ('i', "realtime:-1", None),
            ('i', "idle:4", None),
            ('i', "none:4", None),
            ('i', "3", None),
        ] {
            assert_eq!(priority(letter, text), expected, "-{letter} {text:?}");
        }
    }

    fn parsed(words: &str) -> Result<Options, Fatal> {
        parse(words.split(' ').map(OsString::from).collect::<Vec<_>>().into_iter())
    }

    #[test]
    fn options_end_at_the_program() {
        for (words, settings, program) in [
            ("prog", vec![], "prog"),
            ("-n -5 prog", vec![(Priority::Nice(-5), "-5")], "prog"),
            ("-n-5 prog -n 3", vec![(Priority::Nice(-5), "-5")], "prog -n 3"),
            ("-o 0 -n 1 -- -p", vec![(Priority::Score(0), "0"), (Priority::Nice(1), "1")], "-p"),
        ] {
            let settings =
                settings.into_iter().map(|(priority, word)| Setting { priority, word: word.into() }).collect();
            let program = program.split(' ').map(OsString::from).collect();
            assert_eq!(parsed(words), Ok(Options { settings, program }), "{words}");
        }
        for words in ["-n 5", "-n 5 --", "--"] {
            assert_eq!(parsed(words), Err(Fatal::usage(USAGE)), "{words}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_as_options_is_parsed_or_misuse(words in "(-?[-=a-z0-9: ]{0,6} ){0,6}") {
            if let Ok(options) = parsed(words.trim_end()) {
                prop_assert!(!options.program.is_empty());
            }
        }
    }
}
