//! One service as a value, from which each form of an answer is made: the words of the original ([`line`](View::line)),
//! more lines ([`long`](View::long)) and JSON ([`document`]). Words and numbers are made here once.
//!
//! Lengths of time are counted by the clock that is never set, where there is a `supervise/state`; the status alone has
//! only the wall clock's times.

pub mod document;
mod long;

use super::{DOWN, Exit, Illegible, RUN, Record, SOON, Snapshot, Status, Want, is_supervised};
use crate::interpreter;
use crate::report;
use crate::tai64::{self, Moment};
use nix::errno::Errno;
use nix::sys::stat::stat;
use nix::unistd::chdir;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

/// Whether a service is started when its supervise starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normally {
    /// It is.
    Up,
    /// It has a file `down`.
    Down,
}

impl Normally {
    /// `up` or `down`.
    pub fn word(self) -> &'static str {
        match self {
            Normally::Up => "up",
            Normally::Down => "down",
        }
    }
}

/// What is wrong with the `run` of the service in the current directory, where it could not be executed the last time or goes
/// into the background.
fn lack(seen: &Snapshot, now: Moment) -> Option<String> {
    let record = seen.record.as_ref()?;
    if record.in_background && (record.process.is_none() || now.uptime.saturating_sub(record.since.uptime) < SOON) {
        return Some("goes into the background: it ends at once, leaves processes, and is started again".into());
    }
    // Of what runs by now the file is another one, or was mended.
    let lack = match record.deaths.last()?.exit {
        Exit::Unstarted(errno) if record.is_unexecuted() => interpreter::lack(Path::new(RUN), Errno::from_raw(errno)),
        Exit::Unstarted(_) | Exit::Code(_) | Exit::Signal(_) | Exit::Core(_) | Exit::Unknown => None,
    };
    Some(String::from_utf8_lossy(&lack?).into_owned())
}

/// One service at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// What its files say.
    pub seen: Snapshot,
    /// Whether it has a file `down`.
    pub normally: Normally,
    /// What is wrong with its `run`, where that could not be executed the last time and its file tells, or goes into the
    /// background.
    pub lack: Option<String>,
    /// When it was looked at.
    pub now: Moment,
}

impl View {
    /// Changes into a service and looks at it.
    ///
    /// # Errors
    /// Why nothing can be said of it, in the words of the original.
    pub fn of(service: &OsStr) -> Result<View, String> {
        let (seen, normally) = look(service, Snapshot::take)?;
        let now = Moment::now();
        let lack = lack(&seen, now);
        Ok(View { seen, normally, lack, now })
    }

    /// The logger that the same supervise runs, which has no file `down` of its own.
    pub fn logger(&self) -> Option<View> {
        let seen = self.seen.clone().of_logger()?;
        Some(View { seen, normally: Normally::Up, lack: None, now: self.now })
    }

    /// The words of the original, to the byte.
    pub fn line(&self) -> String {
        line(&self.seen.status, self.normally, self.seconds())
    }

    /// Whole seconds since the last change of the process.
    pub fn seconds(&self) -> u64 {
        match &self.seen.record {
            Some(record) => self.since(record.since).as_secs(),
            None => tai64::seconds_between(self.seen.status.since, self.now.label),
        }
    }

    /// How long a moment is past.
    fn since(&self, moment: Moment) -> Duration {
        self.now.uptime.saturating_sub(moment.uptime)
    }

    /// How long it is until a moment.
    fn until(&self, moment: Moment) -> Duration {
        moment.uptime.saturating_sub(self.now.uptime)
    }

    fn record(&self) -> Option<&Record> {
        self.seen.record.as_ref()
    }
}

/// What the status alone says of a service, in the words of the original.
pub fn line_of_status(status: &Status, normally: Normally) -> String {
    line(status, normally, tai64::seconds_between(status.since, tai64::now()))
}

fn line(status: &Status, normally: Normally, seconds: u64) -> String {
    match status.pid {
        Some(pid) => {
            let normally = if normally == Normally::Down { ", normally down" } else { "" };
            let paused = if status.paused { ", paused" } else { "" };
            let want = if status.want == Want::Down { ", want down" } else { "" };
            // Without sign, as the original has it, also where the file holds garbage.
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

/// Changes into a service and reads what `read` reads of it, in the original's order, which decides what is said to be
/// wrong.
///
/// # Errors
/// Why nothing can be said of the service, in the words of the original.
pub fn look<Seen>(service: &OsStr, read: fn() -> Result<Seen, Illegible>) -> Result<(Seen, Normally), String> {
    enter(service)?;
    let normally = match stat(DOWN) {
        Ok(_) => Normally::Down,
        Err(Errno::ENOENT) => Normally::Up,
        Err(errno) => return Err(unable("stat down", errno)),
    };
    if !is_supervised().map_err(|errno| unable("open supervise/ok", errno))? {
        return Err("supervise not running".into());
    }
    let seen = read().map_err(|illegible| match illegible {
        Illegible::Closed(errno) => unable("open supervise/status", errno),
        Illegible::Unread(errno) => unable("read supervise/status", errno),
        Illegible::TooShort => "unable to read supervise/status: bad format".into(),
    })?;
    Ok((seen, normally))
}

/// Changes into a service.
///
/// # Errors
/// Why not, in the words of the original.
pub fn enter(service: &OsStr) -> Result<(), String> {
    chdir(service).map_err(|errno| unable("chdir", errno))
}

fn unable(what: &str, errno: Errno) -> String {
    format!("unable to {what}: {}", report::reason(errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Phase, Running};
    use crate::tai64::{Tai64, Tai64N};
    use nix::unistd::Pid;

    fn up() -> Status {
        Status {
            since: Tai64N(Tai64(100), 999_999_999),
            pid: Some(Pid::from_raw(7)),
            paused: false,
            want: Want::Up,
            phase: Phase::Running,
            running: Running::Run,
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
            assert_eq!(View { seen, normally: Normally::Up, lack: None, now }.seconds(), seconds);
        }
    }
}
