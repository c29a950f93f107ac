//! What supervise says of a service on standard error. A message at every restart would hide all others, so each
//! message is said once as long as its cause stays the same.

use crate::machine::{Late, RETRY_FORK};
use crate::ready;
use crate::repeated::Repeated;
use crate::settings::Complaint;
use daemontools::service::setting::TIMEOUT_KILL;
use daemontools::service::{LOG, Part, Record, Role};
use daemontools::{Fatal, Unable, report};
use nix::errno::Errno;
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::mem::replace;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// What was said of a service or of its logger. In all methods `name` is what the service is called in messages.
pub struct Messages {
    part: Part,
    /// What was said to be wrong with the settings.
    settings: Vec<Complaint>,
    /// Programs that could not be executed the last time, and what was said of them.
    refusals: Vec<(Role, Vec<u8>)>,
    late: Repeated<Late>,
    /// Of which channels it was said that the service cannot be heard through them.
    channels: Vec<ready::Complaint>,
    /// It was said that the service is in another network namespace.
    is_far: bool,
}

impl Messages {
    /// Nothing was said yet of this part of the service.
    pub fn of(part: Part) -> Messages {
        Messages {
            part,
            settings: Vec::new(),
            refusals: Vec::new(),
            late: Repeated::NEVER,
            channels: Vec::new(),
            is_far: false,
        }
    }

    /// The service is told to start: why it does not run is to be said again.
    pub fn start_again(&mut self) {
        self.refusals.clear();
        self.late = Repeated::NEVER;
    }

    /// Says what is wrong with the settings.
    pub fn settings(&mut self, complaints: Vec<Complaint>, name: &[u8]) {
        if complaints == self.settings {
            return;
        }
        for complaint in &complaints {
            match complaint {
                Complaint::Refused { file, why, is_kept } => {
                    let effect: &[u8] = if *is_kept { b"; what it said before counts" } else { b"; ignored" };
                    report::warning(&[name, b"/", file.as_bytes(), b": line 1: ", why.as_bytes(), effect]);
                }
                Complaint::Misspelt(file, meant) => {
                    report::warning(&[name, b"/", file, b" is no setting: did you mean ", meant.as_bytes(), b"?"]);
                }
            }
        }
        self.settings = complaints;
    }

    /// Says through which channels the service cannot be heard.
    pub fn channels(&mut self, complaints: Vec<ready::Complaint>, name: &[u8]) {
        if complaints == self.channels {
            return;
        }
        for (what, errno) in &complaints {
            let object = [name, b"/", what.as_bytes()].concat();
            Unable::new("listen for", OsStr::from_bytes(&object), *errno).warn();
        }
        self.channels = complaints;
    }

    /// Says that the service cannot reach its socket from where it is.
    pub fn far(&mut self, name: &[u8]) {
        if !replace(&mut self.is_far, true) {
            let words =
                b": is in another network namespace, where its NOTIFY_SOCKET cannot be reached: write \"path\" into ";
            report::warning(&[name, words, name, b"/notify-socket"]);
        }
    }

    /// A program was executed: if it cannot be the next time, that is news.
    pub fn executed(&mut self, role: Role) {
        self.refusals.retain(|(refused, _)| *refused != role);
    }

    /// Says why a program could not be executed, in the original's words.
    pub fn refused(&mut self, role: Role, errno: Errno, name: &[u8]) {
        let program = self.part.program(role);
        let object = [name, b"/", program.as_bytes()].concat();
        let unable = Unable::execute_own("start", OsStr::from_bytes(&object), Path::new(program), errno);
        let words = unable.to_bytes();
        if self.refusals.iter().any(|said| *said == (role, words.clone())) {
            return;
        }
        self.executed(role);
        self.refusals.push((role, words));
        Fatal::from(unable).tell();
    }

    /// Says that the system has no process to give for a program. The words are the original's, which has neither
    /// `finish` nor `stop`, and no logger beside the service.
    pub fn no_process(&self, role: Role, errno: Errno, name: &[u8]) {
        let (seconds, reason) = (RETRY_FORK.as_secs().to_string(), report::reason(errno).as_bytes());
        let program = [b"/", self.part.program(role).as_bytes()].concat();
        let (program, sleeping) = match role {
            Role::Finish | Role::Stop => (&program[..], String::new()),
            Role::Start | Role::Run if self.part == Part::Logger => (&program[..], seconds),
            Role::Start | Role::Run => (&[][..], seconds),
        };
        let sleeping = if sleeping.is_empty() { sleeping } else { format!(", sleeping {sleeping} seconds") };
        report::warning(&[b"unable to fork for ", name, program, sleeping.as_bytes(), b": ", reason]);
    }

    /// Says why supervise does not start the service any more. An administrator who looks for the reason later finds it
    /// here.
    pub fn gives_up(&self, record: &Record, name: &[u8]) {
        let why = record.failure_words().unwrap_or_default();
        let (logger, up) = match self.part {
            Part::Service => (String::new(), &b"svc -u"[..]),
            Part::Logger => (format!("/{LOG}"), &b"svc -Lu"[..]),
        };
        report::warning(&[name, logger.as_bytes(), b": gives up: ", why.as_bytes(), b"; ", up, b" starts it again"]);
    }

    /// Says that the service is told to end or killed as it is too late, with the number of times since that was said last.
    pub fn late(&mut self, late: Late, now: Duration, name: &[u8]) {
        let Some(times) = self.late.happens(late, now) else { return };
        let (what, within, then, file) = match late {
            Late::NotReady(within) => ("not ready within", within, "told to end", "timeout-up"),
            Late::Silent(within) => ("no sign of life for", within, "told to end", "watchdog"),
            Late::Stays(within) => ("told to end, and still there after", within, "killed", TIMEOUT_KILL),
            Late::Finishes(within) => ("finish still runs after", within, "killed", "timeout-finish"),
        };
        let often = if times == 1 { String::new() } else { format!(", {times} times since this was said") };
        let words = format!(": {what} {within:?}{often}: {then}; the limit is in ");
        report::warning(&[name, words.as_bytes(), name, b"/", file.as_bytes()]);
    }
}

/// Says that `run` goes into the background, where it has left this process.
pub fn in_background(left: Pid, name: &[u8]) {
    let number = left.to_string();
    let words = b"/run goes into the background: it ends at once, has left process ";
    let cure = b", and is started again; a run stays in the foreground, without & or an option such as --daemonize: see README";
    report::warning(&[name, words, number.as_bytes(), cure]);
}

/// Says that a logger waits for something to read. That is no fault, but who has removed the service may have forgotten
/// its logger. The service has no entry any more, so that the logger is named by the path of its directory, unless that is
/// gone as well.
pub fn starved(name: &[u8]) {
    let path = std::env::current_dir().unwrap_or_default();
    let path = if path.is_absolute() { [b" ", path.as_os_str().as_bytes()].concat() } else { Vec::new() };
    let words = b": not started as long as nothing writes to it; if its service was removed, svc -x";
    report::notice(&[name, words, &path, b" removes it too"]);
}
