//! svlog: shows the lines that multilog wrote.
//!
//! `svlog [ -f ] [ -n LINES ] [ --since TIME ] [ --until TIME ] [ --grep PATTERN ] [ --json ] [ --utc ]
//! [ --color=auto|always|never ] [ --raw ] SERVICE|DIR ...`
//!
//! 1. Finds the log directory of each SERVICE; a DIR is one itself.
//! 2. Shows the lines of all of them in the order of time, with local times instead of stamps.
//! 3. With `-f`, waits for more, across rotations.
//!
//! On a terminal, svlog escapes control characters, as services write the lines and any account may choose names.
//!
//! svlog reads only the needed parts of a long log: it chooses files by the labels in their names, finds a moment by
//! binary search, and looks for the last lines from the end.
//!
//! Exit codes: 0; 100, wrong usage; 111, a directory or a file could not be read, and all others were shown.

#![forbid(unsafe_code)]

mod arguments;
pub mod bisect;
mod cursor;
mod files;
mod folder;
mod follow;
mod last;
pub mod lines;
mod locate;
mod log_file;
pub mod merge;
mod reader;
mod restart;
mod script;
mod show;
mod source;
pub mod stamp;
pub mod tail;
pub mod when;
pub mod zone;

pub use arguments::HELP;
use arguments::Output;
use daemontools::sys::localtime;
use daemontools::sys::open_files;
use daemontools::{Args, Fatal, report, sys};
use folder::Folder;
use follow::Watch;
use jiff::{Timestamp, civil};
use reader::Reader;
use show::{Show, Zone};
use source::Mode;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use when::Clock;

/// The program, from its arguments to its exit code.
///
/// # Errors
/// The usage is wrong, no log can be read, or the output cannot be written.
pub fn svlog(args: Args) -> Result<i32, Fatal> {
    let request = arguments::parse(args, &Clock { now: Timestamp::now(), local }, output())?;
    // Each log takes three descriptors, so a thousand of them more than what is usually allowed without asking.
    open_files::raise();
    let Found { logs, folders, all } = folders(&request.logs)?;
    // The directories are watched first and looked at afterwards, so that no change in between is missed.
    let watch = match request.mode {
        Mode::Follow => Some(Watch::new(&folders)),
        Mode::Once => None,
    };
    let zone = if request.is_utc { Zone::Utc } else { Zone::Local(localtime::local) };
    let show = Show::new(request.style, request.text, zone, locate::names(&logs));
    let mut reader = Reader::new(&request, &folders, show)?;
    loop {
        let more = reader.show_all(watch.as_ref())?;
        match &watch {
            Some(watch) if more => reader.look_at(watch, reader.patience())?,
            _ if all => return Ok(reader.code()),
            _ => return Ok(report::TEMPORARY),
        }
    }
}

/// The date and time that local clocks show, from the C library.
fn local(second: i64) -> Option<civil::DateTime> {
    let shown = localtime::local(second)?;
    let small = |number: i32| i8::try_from(number).ok();
    let (month, day, hour, minute) = (small(shown.month)?, small(shown.day)?, small(shown.hour)?, small(shown.minute)?);
    // With leap seconds there may be sixty.
    let second = small(shown.second.min(59))?;
    civil::DateTime::new(i16::try_from(shown.year).ok()?, month, day, hour, minute, second, 0).ok()
}

/// The logs to show, each once.
struct Found {
    /// The argument by which each log was asked for.
    logs: Vec<OsString>,
    folders: Vec<Folder>,
    /// Whether all logs that were asked for have been found.
    all: bool,
}

/// Finds the logs. If svlog cannot find one of several, it warns, as `/service/*` may contain anything. Two arguments
/// may be one log, if one entry is a link to the other: svlog shows its lines once, and says so.
fn folders(logs: &[OsString]) -> Result<Found, Fatal> {
    let mut found = Found { logs: Vec::new(), folders: Vec::new(), all: true };
    for log in logs {
        let folder = locate::log_directory(log)
            .and_then(|directory| Folder::open(&directory).map_err(|unable| unable.to_bytes()));
        match folder {
            Ok(folder) => match found.folders.iter().position(|known| known.is_same_as(&folder)) {
                Some(known) => {
                    let words = b" has the same log as ";
                    report::notice(&[log.as_bytes(), words, found.logs[known].as_bytes(), b": shown once"]);
                }
                None => {
                    found.logs.push(log.clone());
                    found.folders.push(folder);
                }
            },
            Err(words) if logs.len() == 1 => return Err(Fatal::new(report::TEMPORARY, &[&words])),
            Err(words) => {
                report::warning(&[&words]);
                found.all = false;
            }
        }
    }
    if found.logs.is_empty() { Err(Fatal::silent(report::TEMPORARY)) } else { Ok(found) }
}

fn output() -> Output {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    match sys::stdout().is_terminal() {
        true if !set("NO_COLOR") && !dumb => Output::ColouredTerminal,
        true => Output::Terminal,
        false => Output::Other,
    }
}
