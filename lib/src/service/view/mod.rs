//! One service as a value, from which each form of an answer is made: the original's words ([`line`](View::line)),
//! further lines ([`long`](View::long)), JSON ([`document`]), and one word with its reason ([`state`](View::state),
//! [`reason`](View::reason)). All forms share the words and numbers made here.
//!
//! Durations are measured by the monotonic clock where there is a `supervise/state`. The status alone has only times of
//! the wall clock.

pub mod document;
mod long;
mod summary;
pub mod transition;

use super::{
    BackgroundFailure, DOWN, Death, Exit, InBackground, Process, RUN, Record, SILENT, SOON, SUPERVISE, Snapshot,
    Status, StatusError, Want, is_supervised, service_answers, take_written,
};
use crate::interpreter;
use crate::report;
use crate::sys::localtime::local_second;
use crate::tai64::{self, Moment, Tai64N, unix_second};
use nix::errno::Errno;
use nix::sys::stat::stat;
use nix::unistd::chdir;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;
pub use summary::State;

/// Whether supervise starts the service when supervise itself starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normally {
    /// supervise starts it.
    Up,
    /// The service has a file `down`, so supervise does not start it.
    Down,
}

impl Normally {
    /// The word `up` or `down`.
    pub fn word(self) -> &'static str {
        match self {
            Normally::Up => "up",
            Normally::Down => "down",
        }
    }
}

/// What is wrong with the `run` of the service in the current directory, if it could not be executed the last time, or
/// goes into the background.
fn diagnosis(seen: &Snapshot, now: Moment) -> Option<String> {
    let record = seen.record.as_ref()?;
    let is_recent = record.process.is_none() || now.uptime.saturating_sub(record.since.uptime) < SOON;
    if let Some(background) = record.in_background.filter(|_| is_recent) {
        return Some(words_of_background(background).into());
    }
    if let Some(astray) = record.astray.filter(|_| is_recent) {
        return Some(words_of(astray).into());
    }
    // If a process runs now, the file has been replaced or repaired since.
    let diagnosis = match record.deaths.last()?.exit {
        // What a chain program has said of the last end says more than the file.
        Exit::Unstarted(_) if record.refusal.is_some() => None,
        Exit::Unstarted(_) if record.is_unexecuted() && !interpreter::answers(Path::new(RUN)) => {
            Some(SILENT.as_bytes().to_vec())
        }
        Exit::Unstarted(errno) if record.is_unexecuted() => {
            let is_missing = errno == Errno::ENOENT as i32 && Path::new(RUN).symlink_metadata().is_err();
            let missing = || is_missing.then(|| b"it is missing".to_vec());
            interpreter::diagnosis(Path::new(RUN), Errno::from_raw(errno)).or_else(missing)
        }
        Exit::Unstarted(_) | Exit::Code(_) | Exit::Signal(_) | Exit::Core(_) | Exit::Unknown => None,
    };
    Some(String::from_utf8_lossy(&diagnosis?).into_owned())
}

/// That a service goes into the background that is to stay in the foreground, and how that is known.
fn words_of_background(background: InBackground) -> &'static str {
    match background {
        InBackground::Noticed => "goes into the background: it ends at once, leaves processes, and is started again",
        InBackground::Presumed => {
            "exited 0 at once, and fails at once since then: it may have gone into the background, \
             where its first copy may hold what the next ones need"
        }
    }
}

/// Why a service that goes into the background could not be started.
fn words_of(astray: BackgroundFailure) -> &'static str {
    match astray {
        BackgroundFailure::Nothing => "left no process in the background",
        BackgroundFailure::Several => {
            "left several processes in the background, and no pidfile says which one is the service's"
        }
        BackgroundFailure::PidFile => "left processes in the background, and pidfile names none of them",
    }
}

/// One service at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// What the service's files say.
    pub seen: Snapshot,
    /// Whether the service has a file `down`.
    pub normally: Normally,
    /// What is wrong with the service's `run`, if it could not be executed the last time and the file shows why, or if
    /// it goes into the background.
    pub diagnosis: Option<String>,
    /// When the service was looked at.
    pub now: Moment,
    /// The recorded process of the service, if it was proven to be alive then.
    pub alive: Option<Process>,
}

impl View {
    /// Changes into a service's directory and looks at the service.
    ///
    /// # Errors
    /// Why the service cannot be examined, in the original's words, or that a process has ended which its supervise still
    /// names.
    pub fn of(service: &OsStr) -> Result<View, String> {
        is_to_answer(service)?;
        View::of_answering(service)
    }

    /// As [`View::of`], of a service that was found to answer just now.
    ///
    /// # Errors
    /// As for [`View::of`].
    pub fn of_answering(service: &OsStr) -> Result<View, String> {
        let ((seen, unwritten), normally) = look_in(service, take_written)?;
        if let Some(words) = unwritten.words() {
            return Err(words);
        }
        let now = Moment::now();
        let diagnosis = diagnosis(&seen, now);
        Ok(View { seen, normally, diagnosis, now, alive: unwritten.alive })
    }

    /// The view of the logger that the same supervise runs. It has no file `down` of its own.
    pub fn logger(&self) -> Option<View> {
        let seen = self.seen.clone().of_logger()?;
        Some(View { seen, normally: Normally::Up, diagnosis: None, now: self.now, alive: None })
    }

    /// The original's line, identical to the byte.
    pub fn line(&self) -> String {
        line(&self.seen.status, self.normally, self.seconds())
    }

    /// Whole seconds since the service's process last changed.
    pub fn seconds(&self) -> u64 {
        match &self.seen.record {
            Some(record) => self.since(record.since).as_secs(),
            None => tai64::seconds_between(self.seen.status.since, self.now.label),
        }
    }

    /// The time since a moment.
    fn since(&self, moment: Moment) -> Duration {
        self.now.uptime.saturating_sub(moment.uptime)
    }

    /// The time until a moment.
    fn until(&self, moment: Moment) -> Duration {
        moment.uptime.saturating_sub(self.now.uptime)
    }

    fn record(&self) -> Option<&Record> {
        self.seen.record.as_ref()
    }

    /// How an end that the record has came about, in words.
    pub fn words_of(&self, death: &Death) -> String {
        self.record().map_or_else(|| death.exit.words(), |record| record.words_of(death))
    }
}

/// The original's line about a service, from its status alone.
pub fn line_of_status(status: &Status, normally: Normally) -> String {
    line(status, normally, tai64::seconds_between(status.since, tai64::now()))
}

fn line(status: &Status, normally: Normally, seconds: u64) -> String {
    match status.pid {
        Some(pid) => {
            let normally = if normally == Normally::Down { ", normally down" } else { "" };
            let paused = if status.paused { ", paused" } else { "" };
            let want = if status.want == Want::Down { ", want down" } else { "" };
            // The original prints the number without a sign, even if the file contains garbage.
            let pid = pid.as_raw().cast_unsigned();
            format!("up (pid {pid}) {seconds} seconds{normally}{paused}{want}")
        }
        None => {
            let normally = if normally == Normally::Up { ", normally up" } else { "" };
            let want = if status.want == Want::Up { ", want up" } else { "" };
            format!("down {seconds} seconds{normally}{want}")
        }
    }
}

/// Changes into a service's directory and reads with `read` what is wanted of it. The order of the steps is the
/// original's, because the first step that fails determines the message.
///
/// # Errors
/// Why the service cannot be examined, in the original's words.
pub fn look<Seen>(service: &OsStr, read: fn() -> Result<Seen, StatusError>) -> Result<(Seen, Normally), String> {
    is_to_answer(service)?;
    look_in(service, read)
}

fn look_in<Seen>(service: &OsStr, read: fn() -> Result<Seen, StatusError>) -> Result<(Seen, Normally), String> {
    change_into(service)?;
    let normally = match stat(DOWN) {
        Ok(_) => Normally::Down,
        Err(Errno::ENOENT) => Normally::Up,
        Err(errno) => return Err(unable("stat down", errno)),
    };
    if !is_supervised().map_err(|errno| unable("open supervise/ok", errno))? {
        return Err("supervise not running".into());
    }
    let seen = read().map_err(|illegible| match illegible {
        StatusError::Closed(errno) => unable("open supervise/status", errno),
        StatusError::Unread(errno) => unable("read supervise/status", errno),
        StatusError::TooShort => "unable to read supervise/status: bad format".into(),
    })?;
    Ok((seen, normally))
}

/// Changes into a service's directory.
///
/// # Errors
/// Why that is not possible, in the original's words, or that it does not answer.
pub fn enter(service: &OsStr) -> Result<(), String> {
    is_to_answer(service)?;
    change_into(service)
}

fn is_to_answer(service: &OsStr) -> Result<(), String> {
    if service_answers(Path::new(service), &[DOWN, SUPERVISE]) { Ok(()) } else { Err(SILENT.into()) }
}

fn change_into(service: &OsStr) -> Result<(), String> {
    chdir(service).map_err(|errno| unable("chdir", errno))
}

fn unable(what: &str, errno: Errno) -> String {
    format!("unable to {what}: {}", report::reason(errno))
}

/// The local time of a label, or `beyond all calendars` if no calendar reaches that time.
pub fn local_time(label: Tai64N) -> String {
    let second = unix_second(label).and_then(local_second).unwrap_or_else(|| b"beyond all calendars".to_vec());
    String::from_utf8_lossy(&second).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Phase, RunitState};
    use crate::tai64::{Tai64, Tai64N};
    use nix::unistd::Pid;

    fn up() -> Status {
        Status {
            since: Tai64N(Tai64(100), 999_999_999),
            pid: Some(Pid::from_raw(7)),
            paused: false,
            want: Want::Up,
            phase: Phase::Running,
            running: RunitState::Run,
        }
    }

    #[test]
    fn the_originals_words() {
        let down = Status { pid: None, phase: Phase::Stopped, ..up() };
        let table = [
            (up(), Normally::Up, "up (pid 7) 5 seconds"),
            (Status { pid: Some(Pid::from_raw(-1)), ..up() }, Normally::Up, "up (pid 4294967295) 5 seconds"),
            (
                Status { paused: true, want: Want::Down, ..up() },
                Normally::Down,
                "up (pid 7) 5 seconds, normally down, paused, want down",
            ),
            (Status { want: Want::Once, ..up() }, Normally::Up, "up (pid 7) 5 seconds"),
            (down, Normally::Up, "down 5 seconds, normally up, want up"),
            (Status { want: Want::Down, ..down }, Normally::Down, "down 5 seconds"),
        ];
        for (status, normally, words) in table {
            assert_eq!(line(&status, normally, 5), words);
        }
    }

    #[test]
    fn lengths_are_not_bent_by_the_wall_clock() {
        let at = |uptime, label: i64| Moment {
            uptime: Duration::from_secs(uptime),
            label: Tai64N(Tai64::from_unix(label), 0),
        };
        let record = Record { since: at(100, 1100), want: Want::Up, ..Record::blank() };
        let status = Status::actual(&record);
        let now = at(160, 5);
        for (record, seconds) in [(Some(record), 60), (None, 0)] {
            let seen = Snapshot::of(status, None, record);
            assert_eq!(View { seen, normally: Normally::Up, diagnosis: None, now, alive: None }.seconds(), seconds);
        }
    }
}
