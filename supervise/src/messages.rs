//! What supervise says of a service on standard error. A message at every restart would hide all others, so each
//! message is said once as long as its cause stays the same.

use crate::machine::{MissedDeadline, RETRY_FORK};
use crate::program::Program;
use crate::rate_limited_message::RateLimited;
use crate::ready;
use crate::settings::Complaint;
use daemontools::service::setting::TIMEOUT_KILL;
use daemontools::service::{BackgroundFailure, LOG, Part, Record, Role};
use daemontools::{Fatal, Unable, interpreter, report};
use nix::errno::Errno;
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::mem::replace;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// The messages that were written about a service or its logger. In all methods `name` is what the service is called in
/// messages.
pub struct Messages {
    part: Part,
    /// What the last messages said to be wrong with the settings.
    settings: Vec<Complaint>,
    /// Programs that could not be executed the last time, and what was said of them.
    refusals: Vec<(Program, Vec<u8>)>,
    missed_deadline: RateLimited<MissedDeadline>,
    /// Why a message has said that a service that goes into the background cannot be started.
    astray: Option<BackgroundFailure>,
    /// The channels of which a message has said that supervise cannot hear the service through them.
    channels: Vec<ready::Complaint>,
    /// The files of what programs are given that are ignored, and why, as messages have said.
    given: Vec<(&'static str, &'static str)>,
    /// Why `supervise/hold` is ignored, as a message has said.
    hold: Option<&'static str>,
    /// A message has said that the service is in another network namespace.
    is_far: bool,
    /// A message has said that processes of the service may be left.
    may_have_left: bool,
    /// A message has said that `notify` was not started, as too many run.
    has_too_many_hooks: bool,
}

impl Messages {
    /// Makes the record of the messages about this part of the service, when none was written yet.
    pub fn of(part: Part) -> Messages {
        Messages {
            part,
            settings: Vec::new(),
            refusals: Vec::new(),
            missed_deadline: RateLimited::NEVER,
            astray: None,
            channels: Vec::new(),
            given: Vec::new(),
            hold: None,
            is_far: false,
            may_have_left: false,
            has_too_many_hooks: false,
        }
    }

    /// Takes in that a command starts the service. If the service does not run then, the messages say why once more.
    pub fn start_again(&mut self) {
        self.refusals.clear();
        self.missed_deadline = RateLimited::NEVER;
        self.astray = None;
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

    /// Says once why a file of what programs are given, which messages call `object`, is ignored, if it is.
    pub fn given(&mut self, file: &'static str, why: Option<&'static str>, object: &OsStr) {
        let is_known = why.is_some_and(|why| self.given.contains(&(file, why)));
        self.given.retain(|(known, said)| *known != file || Some(*said) == why);
        if let Some(why) = why.filter(|_| !is_known) {
            self.given.push((file, why));
            ignored(object, why);
        }
    }

    /// Takes in that `supervise/hold` is a FIFO that a program reads. If it is not one the next time, a message says so
    /// again.
    pub fn may_be_held(&mut self) {
        self.hold = None;
    }

    /// Says once why `supervise/hold`, which messages call `object`, is ignored.
    pub fn cannot_be_held(&mut self, why: &'static str, object: &OsStr) {
        if self.hold.replace(why) != Some(why) {
            ignored(object, why);
        }
    }

    /// Says that the service cannot reach its socket from where it is.
    pub fn far(&mut self, name: &[u8]) {
        if !replace(&mut self.is_far, true) {
            let words =
                b": is in another network namespace, where its NOTIFY_SOCKET cannot be reached: write \"path\" into ";
            report::warning(&[name, words, name, b"/notify-socket"]);
        }
    }

    /// Takes in that a program was executed. If it cannot be executed the next time, a message says so again.
    pub fn executed(&mut self, program: impl Into<Program>) {
        let program = program.into();
        self.refusals.retain(|(refused, _)| *refused != program);
    }

    /// Says why a program could not be executed, in the original's words.
    pub fn refused(&mut self, program: impl Into<Program>, errno: Errno, name: &[u8]) {
        let program = program.into();
        let file = program.file(self.part);
        // A run that was replaced just now by one whose interpreter is there is executed at the next try.
        if program == Program::Main(Role::Run) && errno == Errno::ELIBACC && interpreter::is_there(Path::new(file)) {
            return;
        }
        let object = [name, b"/", file.as_bytes()].concat();
        let unable = Unable::execute_own("start", OsStr::from_bytes(&object), Path::new(file), errno);
        let words = unable.to_bytes();
        if self.refusals.iter().any(|said| *said == (program, words.clone())) {
            return;
        }
        self.executed(program);
        self.refusals.push((program, words));
        Fatal::from(unable).print();
    }

    /// Says that the system has no process to give for a program. The words are the original's, which has neither
    /// `finish` nor `stop`, and no logger beside the service.
    pub fn no_process(&self, program: impl Into<Program>, errno: Errno, name: &[u8]) {
        let program = program.into();
        let (seconds, reason) = (RETRY_FORK.as_secs().to_string(), report::reason(errno).as_bytes());
        let file = [b"/", program.file(self.part).as_bytes()].concat();
        let (file, sleeping) = match program {
            Program::Main(Role::Finish | Role::Stop) | Program::Beside(_) => (&file[..], String::new()),
            Program::Main(Role::PreStart) => (&file[..], seconds),
            Program::Main(Role::Start | Role::Run) if self.part == Part::Logger => (&file[..], seconds),
            Program::Main(Role::Start | Role::Run) => (&[][..], seconds),
        };
        let sleeping = if sleeping.is_empty() { sleeping } else { format!(", sleeping {sleeping} seconds") };
        report::warning(&[b"unable to fork for ", name, file, sleeping.as_bytes(), b": ", reason]);
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

    /// Says once why a service that goes into the background could not be started.
    pub fn astray(&mut self, astray: BackgroundFailure, words: &str, name: &[u8]) {
        if self.astray.replace(astray) != Some(astray) {
            let then = if astray == BackgroundFailure::Nothing { "" } else { ": told to end" };
            report::warning(&[name, b"/run ", words.as_bytes(), then.as_bytes()]);
        }
    }

    /// Says once that `notify` is not started, until it is started again.
    pub fn too_many_hooks(&mut self, running: Option<usize>, name: &[u8]) {
        let is_known = replace(&mut self.has_too_many_hooks, running.is_some());
        if let Some(running) = running.filter(|_| !is_known) {
            let words = format!(": {running} notify programs still run: notify is not started until some have ended");
            report::warning(&[name, words.as_bytes()]);
        }
    }

    /// Says once that processes which stopping reaches may be left, until all of them could be killed.
    pub fn killed_rest(&mut self, killed: nix::Result<()>, name: &[u8]) {
        if !replace(&mut self.may_have_left, killed.is_err()) && killed.is_err() {
            report::warning(&[
                name,
                b": not all of its processes could be found and killed in two seconds: see ps axf",
            ]);
        }
    }

    /// Takes in that the service is in the background, as its settings say. If the service cannot be started the next
    /// time, a message says so again.
    pub fn is_in_background(&mut self) {
        self.astray = None;
    }

    /// Writes that supervise ends or kills the service because it missed a deadline, and how often that happened since
    /// the last such message.
    pub fn missed_deadline(&mut self, missed: MissedDeadline, now: Duration, name: &[u8]) {
        let Some(times) = self.missed_deadline.happens(missed, now) else { return };
        let (what, within, then, file) = match missed {
            MissedDeadline::NotReady(within) => ("not ready within".into(), within, "told to end", "timeout-up".into()),
            MissedDeadline::Silent(within) => ("no sign of life for".into(), within, "told to end", "watchdog".into()),
            MissedDeadline::StillRuns(within) => {
                ("told to end, and still there after".into(), within, "killed", TIMEOUT_KILL.into())
            }
            MissedDeadline::ProgramStillRuns(role, within) => still_runs(role.program(), within),
            MissedDeadline::BesideStillRuns(beside, within) => still_runs(beside.program(), within),
        };
        let often = if times == 1 { String::new() } else { format!(", {times} times since this was said") };
        let words = format!(": {what} {within:?}{often}: {then}; the limit is in ");
        report::warning(&[name, words.as_bytes(), name, b"/", file.as_bytes()]);
    }
}

/// What is said of a program that took longer than it may: what happened, the time, what follows, and the setting.
fn still_runs(program: &str, within: Duration) -> (String, Duration, &'static str, String) {
    (format!("{program} still runs after"), within, "killed", format!("timeout-{program}"))
}

/// Says that `run` goes into the background, where it has left this process.
pub fn in_background(left: Pid, name: &[u8]) {
    let number = left.to_string();
    let words = b"/run goes into the background: it ends at once, has left process ";
    report::warning(&[name, words, number.as_bytes(), b", and is started again", FOREGROUND]);
}

/// Says that an earlier `run` may have gone into the background, where it holds what the later ones need.
pub fn presumed_in_background(name: &[u8]) {
    let words = b"/run exited 0 at once, and fails at once since then: \
        it may have gone into the background, where its first copy may hold what the next ones need, such as a port";
    report::warning(&[name, words, FOREGROUND]);
}

/// The cure for a `run` that goes into the background.
const FOREGROUND: &[u8] = b"; a run stays in the foreground, without & or an option such as --daemonize: see README";

/// Writes that a file counts for nothing, and why.
fn ignored(object: &OsStr, why: &str) {
    report::warning(&[object.as_bytes(), b": ", why.as_bytes(), b"; ignored"]);
}

/// Writes that lines which no logger has read are lost, as no svscan has come to take them over.
pub fn lines_lost(name: &[u8], bytes: usize) {
    let bytes = bytes.to_string();
    let words = b": no svscan has come for what the logger has not read: dropped ";
    report::warning(&[name, words, bytes.as_bytes(), b" bytes"]);
}

/// Writes that a logger waits for something to read. That is no fault, but the person who removed the service may have
/// forgotten its logger. As the service has no entry any more, the message has the path of the logger's directory,
/// unless that is gone too.
pub fn starved(name: &[u8]) {
    let path = std::env::current_dir().unwrap_or_default();
    let path = if path.is_absolute() { [b" ", path.as_os_str().as_bytes()].concat() } else { Vec::new() };
    let words = b": not started as long as nothing writes to it; if its service was removed, svc -x";
    report::notice(&[name, words, &path, b" removes it too"]);
}
