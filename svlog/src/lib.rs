//! svlog: shows the lines that multilog wrote.
//!
//! `svlog [ -f ] [ --cursor-file FILE ] [ --run NUMBER|all ] [ -n LINES | --head LINES | --count | --histogram ] [ -r ] [ --since TIME ] [ --until TIME ] [ --grep PATTERN ] ...
//! [ --not PATTERN ] ... [ --field KEY=VALUE ] ... [ --level LEVEL ] [ -A LINES ] [ -B LINES ] [ -C LINES ] [ -o FORM ] [ --json ] [ --utc ] [ --color=auto|always|never ] [ --raw ] [ --no-pager ] SERVICE|DIR ...`
//!
//! 1. Finds the log directory of each SERVICE; a DIR is one itself.
//! 2. Shows the lines of all of them in the order of time, with local times instead of stamps.
//! 3. With `-f`, waits for more, across rotations.
//!
//! On a terminal, svlog escapes control characters, as services write the lines and any account may choose names, and shows
//! its output through a pager.
//!
//! svlog reads only the needed parts of a long log: it chooses files by the labels in their names, finds a moment by
//! binary search, and looks for the last lines from the end.
//!
//! Exit codes: 0; 100, wrong usage; 111, a directory or a file could not be read, and all others were shown.

#![forbid(unsafe_code)]

mod arguments;
pub mod bisect;
mod context;
mod count;
mod course;
mod cursor;
mod cursor_file;
mod fields;
mod files;
mod folder;
mod follow;
mod highlight;
mod histogram;
mod kept;
mod last;
mod level;
mod line;
pub mod lines;
mod log_file;
mod logs;
pub mod mark;
pub mod merge;
mod names;
mod newest;
mod output;
mod pager;
mod pattern;
mod quota;
mod reader;
mod restart;
mod resume;
mod reverse;
mod runs;
mod selection;
mod show;
mod source;
pub mod stamp;
mod stretch;
mod style;
pub mod tail;
pub mod time_argument;
pub mod zone;

pub use arguments::HELP;
use arguments::{Amount, LineOrder, Output, Request};
use course::Mode;
use daemontools::sys::localtime;
use daemontools::sys::open_files;
use daemontools::{Args, Fatal, report, sys};
use follow::Watch;
use jiff::{Timestamp, civil};
use logs::Logs;
use pager::Pager;
use reader::Reader;
use show::{Show, Zone};
use std::io::IsTerminal;
use time_argument::Clock;

/// The program, from its arguments to its exit code.
///
/// # Errors
/// The usage is wrong, no log can be read, or the output cannot be written.
pub fn svlog(args: Args) -> Result<i32, Fatal> {
    let request = arguments::parse(args, &Clock { now: Timestamp::now(), local }, output())?;
    request.doubts.iter().for_each(|words| report::warning(&[words.as_bytes()]));
    // Each log takes three descriptors, so a thousand of them more than what is usually allowed without asking.
    open_files::raise();
    let logs = Logs::find(&request)?;
    let pager = if request.is_paged { Pager::start() } else { None };
    let code = show(&request, &logs);
    pager.map_or(Ok(()), Pager::finish)?;
    code
}

/// Shows what is asked for of these logs.
fn show(request: &Request, logs: &Logs) -> Result<i32, Fatal> {
    // The directories are watched first and looked at afterwards, so that no change in between is missed.
    let watch = match request.mode {
        Mode::Follow => Some(Watch::new(&logs.folders)),
        Mode::Once => None,
    };
    let zone = if request.is_utc { Zone::Utc } else { Zone::Local(localtime::local) };
    let show =
        Show::new(request.style, zone, names::names(&logs.arguments)).colouring(request.selection.pattern.as_ref());
    if request.amount == Amount::Count {
        let code = count::count(request, logs, show)?;
        return Ok(if logs.are_complete { code } else { report::TEMPORARY });
    }
    if request.amount == Amount::Histogram {
        let code = histogram::show(request, logs, show)?;
        return Ok(if logs.are_complete { code } else { report::TEMPORARY });
    }
    if request.order == LineOrder::NewestFirst {
        let code = reverse::show(request, logs, show)?;
        return Ok(if logs.are_complete { code } else { report::TEMPORARY });
    }
    let mut reader = Reader::new(request, logs, show)?;
    loop {
        let more = reader.show_all(watch.as_ref())?;
        match &watch {
            Some(watch) if more => reader.look_at(watch, reader.patience())?,
            _ if logs.are_complete => return Ok(reader.code()),
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

fn output() -> Output {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    match sys::stdout().is_terminal() {
        true if !set("NO_COLOR") && !dumb => Output::ColouredTerminal,
        true => Output::Terminal,
        false => Output::Other,
    }
}
