//! svlog: reads what multilog wrote.
//!
//! `svlog [ -f ] [ -n LINES ] [ --since TIME ] [ --until TIME ] [ --grep PATTERN ] [ --json ] [ --utc ]
//! [ --color=auto|always|never ] [ --raw ] SERVICE|DIR ...`
//!
//! 1. Finds the log directory of each SERVICE; a DIR is one itself.
//! 2. Shows the lines of all of them in the order of time, with local times instead of stamps.
//! 3. With `-f`, waits for more, across rotations.
//!
//! On a terminal, what commands a terminal is spelled out: lines are written by services, and names by whoever may.
//!
//! Of a long log only that is read which is needed: files are chosen by the labels in their names, a moment is
//! searched for by halving, and the last lines from the end.
//!
//! Exit codes: 0; 100, wrong usage; 111, a directory or a file could not be read: all others were.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

mod arguments;
mod files;
mod folder;
mod follow;
mod last;
mod locate;
mod script;
mod show;
mod source;

use arguments::{Output, Request};
use daemontools::sys::localtime;
use daemontools::tai64::Tai64N;
use daemontools::{Args, Fatal, Unable, report, sys};
use folder::Folder;
use follow::{Change, Watch};
use jiff::{Timestamp, civil};
use nix::errno::Errno;
use nix::poll::PollTimeout;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use show::Show;
use source::{Mode, Next, Source};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::time::Duration;
use svlog::merge::Merge;
use svlog::when::Clock;

daemontools::main!(svlog, arguments::HELP);

/// Bytes gathered before they are written, unless there is nothing more for the moment.
const GATHERED: usize = 64 * 1024;

fn svlog(args: Args) -> Result<i32, Fatal> {
    let request = arguments::parse(args, &Clock { now: Timestamp::now(), local }, output())?;
    allow_many_files();
    let (logs, folders) = folders(&request.logs)?;
    let all = logs.len() == request.logs.len();
    // First watched, then looked at: what changes in between is seen.
    let watch = match request.mode {
        Mode::Follow => Some(Watch::new(&folders)),
        Mode::Once => None,
    };
    let show = Show::new(request.style, request.text, request.zone, locate::names(&logs));
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

/// What local clocks show, as the C library knows it.
fn local(second: i64) -> Option<civil::DateTime> {
    let shown = localtime::local(second)?;
    let small = |number: i32| i8::try_from(number).ok();
    let (month, day, hour, minute) = (small(shown.month)?, small(shown.day)?, small(shown.hour)?, small(shown.minute)?);
    // With leap seconds there may be sixty.
    let second = small(shown.second.min(59))?;
    civil::DateTime::new(i16::try_from(shown.year).ok()?, month, day, hour, minute, second, 0).ok()
}

/// The logs that can be found. If one of several cannot, that is a warning: `/service/*` may be anything.
fn folders(logs: &[OsString]) -> Result<(Vec<OsString>, Vec<Folder>), Fatal> {
    let mut found = (Vec::new(), Vec::new());
    for log in logs {
        let folder = locate::log_directory(log)
            .and_then(|directory| Folder::open(&directory).map_err(|unable| unable.to_bytes()));
        match folder {
            Ok(folder) => {
                found.0.push(log.clone());
                found.1.push(folder);
            }
            Err(words) if logs.len() == 1 => return Err(Fatal::new(report::TEMPORARY, &[&words])),
            Err(words) => report::warning(&[&words]),
        }
    }
    if found.0.is_empty() { Err(Fatal::silent(report::TEMPORARY)) } else { Ok(found) }
}

/// Each log takes three descriptors, so a thousand of them more than what is usually allowed without asking.
fn allow_many_files() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
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

/// What a source is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be asked for its next line.
    Ready,
    /// Its line is among those to be shown.
    Offered,
    /// Nothing until its directory changes.
    Waiting,
    /// To be asked again when all that happened up to now is known.
    Doubting,
    Ended,
}

struct Reader<'a> {
    sources: Vec<(Source<'a>, State)>,
    /// The rest of a line that was begun comes before all else: `None`.
    merge: Merge<Option<Tai64N>>,
    show: Show,
    /// So many lines are more than the last ones that were asked for.
    surplus: u64,
    /// Whether the line that was begun is one of them.
    hidden: bool,
    /// How often it is still to be looked whether a directory is gone whose files went.
    looks_left: u32,
}

/// A directory whose files were removed is looked at so often again …
const LOOKS: u32 = 10;
/// … with so long between two looks.
const PAUSE: Duration = Duration::from_millis(200);

impl<'a> Reader<'a> {
    fn new(request: &'a Request, folders: &'a [Folder], show: Show) -> Result<Self, Unable> {
        let mut sources = Vec::new();
        let mut total: u64 = 0;
        for folder in folders {
            let source = match request.last {
                None => Source::new(folder, &request.selection, request.mode),
                Some(wanted) => {
                    let (source, count) = last::last(folder, &request.selection, request.mode, wanted)?;
                    total += count;
                    source
                }
            };
            sources.push((source, State::Ready));
        }
        let surplus = request.last.map_or(0, |wanted| total.saturating_sub(wanted));
        Ok(Reader { sources, merge: Merge::new(), show, surplus, hidden: false, looks_left: 0 })
    }

    /// Shows all there is; whether there may be more later.
    fn show_all(&mut self, watch: Option<&Watch>) -> Result<bool, Fatal> {
        (0..self.sources.len()).for_each(|number| self.ask(number));
        while let Some(number) = self.merge.take() {
            self.show(number);
            self.ask(number);
            if self.show.output.len() >= GATHERED {
                self.write()?;
                // A log that never pauses is not to keep the others waiting.
                if let Some(watch) = watch {
                    self.look_at(watch, PollTimeout::ZERO)?;
                    (0..self.sources.len()).for_each(|number| self.ask(number));
                }
            }
        }
        self.write()?;
        Ok(self.is_any(State::Waiting) || self.is_any(State::Doubting))
    }

    /// Asks a source for its next line, if it is its turn.
    fn ask(&mut self, number: usize) {
        let Some((source, state @ State::Ready)) = self.sources.get_mut(number) else { return };
        *state = match source.next() {
            Next::Line(time) => {
                let begins = source.line().is_none_or(|line| line.begins);
                self.merge.offer(begins.then_some(time), number);
                State::Offered
            }
            Next::Wait => State::Waiting,
            Next::Doubt => State::Doubting,
            Next::End => State::Ended,
        };
    }

    fn show(&mut self, number: usize) {
        let Some((source, state)) = self.sources.get_mut(number) else { return };
        if let Some(line) = source.line() {
            if line.begins {
                self.hidden = self.surplus > 0;
                self.surplus = self.surplus.saturating_sub(1);
            }
            if !self.hidden {
                self.show.line(number, line);
            }
        }
        source.take();
        *state = State::Ready;
    }

    fn write(&mut self) -> Result<(), Fatal> {
        let written = sys::write_all(sys::stdout(), &self.show.output);
        self.show.output.clear();
        match written {
            // Whoever read has seen enough.
            Err(Errno::EPIPE) => Err(Fatal::silent(0)),
            Err(errno) => Err(Unable::new("write output", "", errno).into()),
            Ok(()) => Ok(()),
        }
    }

    fn is_any(&self, wanted: State) -> bool {
        self.sources.iter().any(|(_, state)| *state == wanted)
    }

    /// How long nothing has to be done if nothing happens.
    fn patience(&self) -> PollTimeout {
        match self.looks_left {
            _ if self.is_any(State::Doubting) => PollTimeout::ZERO,
            0 => PollTimeout::NONE,
            _ => sys::timeout(Some(PAUSE)),
        }
    }

    /// Sources in whose directories something changed are ready again.
    fn look_at(&mut self, watch: &Watch, timeout: PollTimeout) -> Result<(), Fatal> {
        match watch.changes(timeout)? {
            Change::Unread => Err(Fatal::silent(0)),
            Change::In { changed, started } => {
                for number in started {
                    if let Some((source, _)) = self.sources.get_mut(number) {
                        source.multilog_started();
                    }
                }
                let mut may_go = false;
                if changed.is_empty() && self.looks_left > 0 {
                    self.looks_left -= 1;
                    self.sources.iter_mut().for_each(|(source, _)| {
                        let _ = source.directory_changed();
                    });
                }
                for number in changed {
                    if let Some((source, _)) = self.sources.get_mut(number) {
                        may_go |= source.directory_changed();
                    }
                    if let Some((_, state @ State::Waiting)) = self.sources.get_mut(number) {
                        *state = State::Ready;
                    }
                }
                if may_go {
                    self.looks_left = LOOKS;
                }
                for (_, state) in &mut self.sources {
                    if *state == State::Doubting {
                        *state = State::Ready;
                    }
                }
                Ok(())
            }
        }
    }

    fn code(&self) -> i32 {
        if self.sources.iter().any(|(source, _)| source.failed) { report::TEMPORARY } else { 0 }
    }
}
