//! The text of sv's lines. No I/O.
//!
//! Source: sv.c of runit 2.1.2.

use daemontools::report::reason;
use daemontools::service::{CONTROL, OK, Phase, RunitState, STATUS, SendError, Status, StatusError, Want};
use daemontools::tai64::Tai64N;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What a line about a service is made of.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The name.
    pub name: &'a OsStr,
    /// Its status.
    pub status: &'a Status,
    /// Whether it is started by itself: it has no file `down`.
    pub is_normally_up: bool,
    /// The time.
    pub now: Tai64N,
}

/// `run: web: (pid 4711) 3s, normally down, paused`
pub fn state(shown: &Shown) -> Vec<u8> {
    let Shown { status, is_normally_up, .. } = *shown;
    let word: &[u8] = match status.running {
        RunitState::Nothing => b"down: ",
        RunitState::Run => b"run: ",
        RunitState::Finish => b"finish: ",
    };
    let pid = status.pid.map(|pid| format!("(pid {pid}) ")).unwrap_or_default();
    let seconds = daemontools::tai64::seconds_between(status.since, shown.now);
    let is_up = status.pid.is_some();
    // runit has no third wish: its `once` is `down`.
    let is_wanted_down = matches!(status.want, Want::Down | Want::Once);
    let notes = [
        (is_up && !is_normally_up, ", normally down"),
        (!is_up && is_normally_up, ", normally up"),
        (is_up && status.paused, ", paused"),
        (!is_up && status.phase == Phase::Failed, ", failed"),
        (!is_up && status.phase != Phase::Failed && status.want == Want::Up, ", want up"),
        (is_up && is_wanted_down, ", want down"),
        (status.running == RunitState::Run && status.phase == Phase::Stopping, ", got TERM"),
    ];
    let notes: String = notes.into_iter().filter_map(|(is_so, note)| is_so.then_some(note)).collect();
    [word, shown.name.as_bytes(), b": ", pid.as_bytes(), format!("{seconds}s{notes}").as_bytes()].concat()
}

/// Why a service could not be asked, commanded, or brought where it was to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Its directory cannot be entered.
    Directory(Errno),
    /// `log` is there, and is no directory that can be entered.
    LogDirectory(Errno),
    /// No supervise is in charge.
    NotRunning,
    /// This cannot be found out.
    Ok(Errno),
    /// Its status cannot be used.
    Status(StatusError),
    /// It cannot be commanded.
    SendError(SendError),
    /// It will not come where it was to come, or cannot be watched, in words.
    Other(String),
}

/// How grave a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gravity {
    /// What was asked for is impossible.
    Fail,
    /// Something else is wrong.
    Warning,
}

impl Refusal {
    /// How grave it is.
    pub fn gravity(&self) -> Gravity {
        match self {
            Refusal::Directory(_) | Refusal::NotRunning | Refusal::Other(_) => Gravity::Fail,
            Refusal::SendError(SendError::Closed(Errno::ENXIO)) => Gravity::Fail,
            Refusal::LogDirectory(_) | Refusal::Ok(_) | Refusal::Status(_) | Refusal::SendError(_) => Gravity::Warning,
        }
    }

    /// `fail: web: runsv not running`, in a line.
    pub fn line(&self, name: &OsStr) -> Vec<u8> {
        let gravity: &[u8] = match self.gravity() {
            Gravity::Fail => b"fail: ",
            Gravity::Warning => b"warning: ",
        };
        [gravity, name.as_bytes(), b": ", &self.words(name), b"\n"].concat()
    }

    fn words(&self, name: &OsStr) -> Vec<u8> {
        let with = |what: &str, errno: Errno| [what, ": ", reason(errno)].concat().into_bytes();
        let unable = |verb: &str, file: &str, errno: Errno| with(&format!("unable to {verb} {file}"), errno);
        match self {
            Refusal::Directory(errno) => with("unable to change to service directory", *errno),
            Refusal::LogDirectory(errno) => with("unable to change directory", *errno),
            Refusal::NotRunning | Refusal::SendError(SendError::Closed(Errno::ENXIO)) => NOT_RUNNING.into(),
            Refusal::Ok(errno) => unable("open", OK, *errno),
            Refusal::Status(StatusError::Closed(errno)) => unable("open", STATUS, *errno),
            Refusal::Status(StatusError::Unread(errno)) => unable("read", STATUS, *errno),
            Refusal::Status(StatusError::TooShort) => format!("unable to read {STATUS}: bad format").into_bytes(),
            Refusal::SendError(SendError::Closed(errno)) => unable("open", CONTROL, *errno),
            Refusal::SendError(SendError::Refused(errno)) => unable("write to", CONTROL, *errno),
            Refusal::SendError(unsent @ (SendError::Unread | SendError::Lost)) => unsent.words(name),
            Refusal::Other(words) => words.clone().into_bytes(),
        }
    }
}

/// What is said of a service without a supervise. Programs look for these words.
const NOT_RUNNING: &str = "runsv not running";

/// `ok: web: runsv not running`: it was to end, and has.
pub fn gone(name: &OsStr) -> Vec<u8> {
    [b"ok: ", name.as_bytes(), b": ", NOT_RUNNING.as_bytes(), b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::tai64::Tai64;
    use nix::unistd::Pid;

    fn at(second: u64) -> Tai64N {
        Tai64N(Tai64(second), 0)
    }

    fn down() -> Status {
        Status {
            since: at(100),
            pid: None,
            paused: false,
            want: Want::Down,
            phase: Phase::Stopped,
            running: RunitState::Nothing,
        }
    }

    fn up() -> Status {
        Status {
            pid: Some(Pid::from_raw(7)),
            want: Want::Up,
            phase: Phase::Running,
            running: RunitState::Run,
            ..down()
        }
    }

    #[test]
    fn a_state_is_told_in_runits_words() {
        let waiting = Status { want: Want::Up, ..down() };
        let stopping = Status { phase: Phase::Stopping, ..up() };
        for (status, is_normally_up, expected) in [
            (up(), true, "run: web: (pid 7) 3s"),
            (up(), false, "run: web: (pid 7) 3s, normally down"),
            (down(), true, "down: web: 3s, normally up"),
            (down(), false, "down: web: 3s"),
            (waiting, true, "down: web: 3s, normally up, want up"),
            (waiting, false, "down: web: 3s, want up"),
            (Status { phase: Phase::Failed, ..waiting }, true, "down: web: 3s, normally up, failed"),
            (Status { paused: true, ..up() }, true, "run: web: (pid 7) 3s, paused"),
            (Status { want: Want::Once, ..up() }, true, "run: web: (pid 7) 3s, want down"),
            (Status { want: Want::Down, ..stopping }, true, "run: web: (pid 7) 3s, want down, got TERM"),
            (stopping, true, "run: web: (pid 7) 3s, got TERM"),
            (Status { running: RunitState::Finish, ..stopping }, true, "finish: web: (pid 7) 3s"),
            (Status { phase: Phase::Starting, ..up() }, true, "run: web: (pid 7) 3s"),
        ] {
            let shown = Shown { name: OsStr::new("web"), status: &status, is_normally_up, now: at(103) };
            assert_eq!(String::from_utf8(state(&shown)).unwrap(), expected);
        }
        // The clock was set back.
        let shown = Shown { name: OsStr::new("web"), status: &up(), is_normally_up: true, now: at(1) };
        assert_eq!(state(&shown), b"run: web: (pid 7) 0s");
    }

    #[test]
    fn a_refusal_is_told_in_runits_words() {
        for (refusal, expected) in [
            (
                Refusal::Directory(Errno::ENOENT),
                "fail: web: unable to change to service directory: file does not exist",
            ),
            (Refusal::LogDirectory(Errno::ENOTDIR), "warning: web: unable to change directory: not a directory"),
            (Refusal::NotRunning, "fail: web: runsv not running"),
            (Refusal::SendError(SendError::Closed(Errno::ENXIO)), "fail: web: runsv not running"),
            (Refusal::Ok(Errno::EACCES), "warning: web: unable to open supervise/ok: access denied"),
            (
                Refusal::Status(StatusError::Closed(Errno::ENOENT)),
                "warning: web: unable to open supervise/status: file does not exist",
            ),
            (Refusal::Status(StatusError::TooShort), "warning: web: unable to read supervise/status: bad format"),
            (
                Refusal::SendError(SendError::Closed(Errno::EACCES)),
                "warning: web: unable to open supervise/control: access denied",
            ),
            (Refusal::SendError(SendError::Unread), "warning: web: commands to web are written, but not read yet"),
            (Refusal::Other("failed: exited 100".into()), "fail: web: failed: exited 100"),
        ] {
            assert_eq!(String::from_utf8(refusal.line(OsStr::new("web"))).unwrap(), format!("{expected}\n"));
        }
        assert_eq!(gone(OsStr::new("web")), b"ok: web: runsv not running\n");
    }
}
