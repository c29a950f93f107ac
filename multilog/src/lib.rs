//! multilog: reads lines, selects them, stamps them, and writes them to log directories that it keeps short.
//!
//! `multilog SCRIPT`, `multilog --check SCRIPT`
//!
//! 1. Takes its arguments as actions, done to each line of standard input in turn. A line is selected until
//!    an action deselects it.
//! 2. Opens and locks the log directories, and carries on what an earlier multilog left there.
//! 3. Reads lines, of any length, and writes all that it has read before it waits for more.
//! 4. At the end of its input, or told to (TERM) at the end of a line, marks its files as complete and exits;
//!    what it has not read stays in the pipe.
//!
//! | action | |
//! |---|---|
//! | `t`, `T` | as the first action: each line gets a TAI64N label, or seconds and microseconds, in front |
//! | `I`, `L` | as the first action: date and time as ISO 8601 has them, by UTC or by $TZ |
//! | `+PATTERN`, `-PATTERN` | selects, deselects lines that match, stamp included, first 1000 bytes |
//! | `F`, `R`, `S` | patterns that follow are fnmatch(3)'s; regular expressions; simple again |
//! | `x`, `X` | patterns that follow do not see the stamp; see it again |
//! | `lCOUNT/TIME` | deselects the lines beyond COUNT in each TIME, and says how many there were |
//! | `pTEXT` | where later actions write lines, TEXT is in front, behind the stamp |
//! | `o` | selected lines go to standard output |
//! | `uADDRESS` | selected lines go to syslog: a socket's path, or an address for UDP |
//! | `e` | selected lines go to standard error, 200 bytes of each |
//! | `=FILE` | FILE shows the last selected line, padded to 1001 bytes |
//! | `DIR` | (begins with `.` or `/`) selected lines go to the log directory DIR |
//! | `sN` `nN` `!CMD` `wX` | for DIRs after it: bytes a file, number of files, processor, code of full files |
//! | `bN` `aTIME` `rWHEN` | for DIRs after it: bytes together, age of old files, times of new files |
//! | `zFORMAT` `yWHEN` `dWHAT` | for DIRs after it: compression, durability, what to do when the disk is full |
//!
//! Signals: TERM, exit in order; ALRM, new files now. Where the log directories have trouble (a full disk),
//! multilog says so and tries again until it is over.
//!
//! However it is killed, no line is lost or doubled: input is read into a file (see the `journal` module), and
//! the next multilog goes on where it ended. That holds for processes; if the machine goes down, what was
//! not yet on its disk is gone, and the last file ends in `.u`.
//!
//! A word that is no action is ignored, with a warning; so is a script warned of that keeps no line.
//!
//! `--check` explains the script, an action a line, warns of what will not do what it seems to, and exits: 0 or,
//! if there was a warning, 1.
//!
//! In a service directory, one with a `run`, all messages end with its path: every logger of a machine has a `./main`.
//!
//! Exit codes: 0; 1, `--check` has warned; 100, wrong usage; 111, a directory or status file cannot be opened, or is
//! another's.

#![forbid(unsafe_code)]

mod alarm;
pub mod calendar;
pub mod check;
pub mod dropped;
pub mod files;
mod forward;
pub mod journal;
pub mod limit;
pub mod lint;
pub mod logcompress;
mod logdir;
mod logger;
pub mod loss_report;
pub mod meaning;
pub mod misread;
pub mod pattern;
pub mod prefilter;
pub mod recovery;
pub mod retention;
mod retry;
pub mod rotation;
pub mod router;
pub mod schedule;
pub mod script;
pub mod settings;
mod signals;
pub mod status_file;
pub mod steps;
pub mod syslog;
pub mod tai64n;
pub mod tai64nlocal;
mod without_journal;

use check::{check, without_parent};
use daemontools::report::warning;
use daemontools::service::tell_supervise;
use daemontools::sys::kind;
use daemontools::{Args, Attempt, Fatal, Help, report, sys};
use logger::Logger;
use misread::misread;
use nix::errno::Errno;
use nix::sys::stat::stat;
use script::Script;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What multilog answers when it is asked for help.
pub const HELP: Help = Help {
    usage: "multilog: usage: multilog [ --check ] action ...",
    text: "\
Does the actions, in turn, to each line of standard input.

  t T I L     first of all: put a time stamp in front of each line
  +P -P       select, deselect lines that match the pattern P
  F R S       patterns that follow are fnmatch(3)'s, regular expressions, simple again
  x X         patterns that follow do not see the stamp, see it again
  lCOUNT/TIME deselect lines beyond COUNT in TIME
  pTEXT       put TEXT in front of lines, behind the stamp
  o e         write selected lines to standard output; the beginning to standard error
  uADDRESS    send selected lines to syslog
  =FILE       keep the last selected line in FILE
  DIR         (begins with . or /) write selected lines to the log directory DIR
  sN nN !CMD wX bN aTIME rWHEN zFORMAT yWHEN dWHAT
              for directories that follow: size, number, processor, code of full files;
              bytes together, age, times of new files; compression, durability, full disk
  --check     explain the actions, warn of what will not do what it seems to, and exit

Exit codes: 0; 100, wrong usage of --check; 111, a directory or file cannot be opened; with
--check 1, there was a warning.
",
};

/// The program multilog, from its arguments to its exit code.
///
/// # Errors
/// A directory or status file cannot be opened, or is another's; `--check` is used wrongly.
pub fn multilog(mut args: Args) -> Result<i32, Fatal> {
    if args.as_slice().first().is_some_and(|first| first == "--check") {
        args.next();
        return explain(args.as_slice());
    }
    sys::open_missing_stdio();
    report::name_service_directory();
    let is_directory = |name: &OsStr| stat(name).is_ok_and(|file| kind::is_directory(&file));
    misread(args.as_slice(), is_directory).iter().for_each(|text| warning(&[text.as_bytes()]));
    // A logger that cannot start is restarted again and again, and its messages are not in the log.
    let mut logger = Logger::open(Script::parse(args)).inspect_err(|fatal| tell_supervise(fatal.refusal()))?;
    logger.run();
    Ok(0)
}

/// Explains a script on standard output, and warns of what will not do what it seems to.
fn explain(script: &[OsString]) -> Result<i32, Fatal> {
    if script.is_empty() {
        return Err(Fatal::usage("multilog: usage: multilog --check action ..."));
    }
    let report = check(script);
    let lines: String = report.lines.iter().flat_map(|line| [line, "\n"]).collect();
    sys::write_all(sys::stdout(), lines.as_bytes()).unable_to("write output", "")?;
    let is_missing = |directory: &Path| stat(directory) == Err(Errno::ENOENT);
    let missing = without_parent(script, is_missing);
    let warnings = report.warnings.iter().chain(&missing);
    warnings.for_each(|text| warning(&[text.as_bytes()]));
    Ok(i32::from(!report.warnings.is_empty() || !missing.is_empty()))
}
