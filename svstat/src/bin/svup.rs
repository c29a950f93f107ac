//! svup: tells by its exit code whether a service is up.
//!
//! `svup [ -lL ] SERVICE`
//!
//! A service is up if a supervise is in charge of it, and its `run` has been executed, still runs, and was not told to
//! end. In the original's pause before a restart, `supervise/status` still shows the process that has died, and svup takes
//! the service for up. If that supervise runs a logger too (`log` is a program), the logger must be up as well, unless `-l` is given.
//! With `-L` only the logger must be up: that logger, or else the service `log` in the directory, which has a supervise
//! of its own. svup ignores the words after the SERVICE, as encore's svup does, but warns of one that looks like an
//! option.
//!
//! Exit codes: 0, it is up; 100, it is not (or bad usage); 111, svup cannot find out, and a message says why.
//! Source: the manual of daemontools-encore, whose svup does not know loggers with a supervise of their own.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::service::{self, Phase, Record, Snapshot, StatusError, take_written};
use daemontools::{Args, Attempt, Fatal, Help, Unable, report, suggest};
use lexopt::Arg;
use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::unistd::chdir;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

daemontools::main!(svup, HELP);

const USAGE: &str = "svup: usage: svup [ -lL ] service";

const HELP: Help = Help {
    usage: USAGE,
    text: "\
Says by its exit code whether service, a service directory, is up, and its logger too where
the same supervise runs that.

  -l  the logger need not be up
  -L  only the logger must be

Exit codes: 0, it is up; 100, it is not, or wrong usage; 111, it cannot be told.
",
};

/// Exit code if the service is not up.
const NOT_UP: i32 = 100;

fn svup(args: Args) -> Result<i32, Fatal> {
    let (parts, directory) = parse(args)?;
    let directory = Path::new(&directory);
    refuse_silent(directory, directory)?;
    chdir(directory).unable_to("chdir to", directory).map_err(|unable| unable.where_denied(directory))?;
    let found = look_once_executed(directory, parts)?;
    let has_logger = matches!(&found, Some((_, Some(_))));
    let is_up = if parts == Parts::Logger && !has_logger {
        is_own_logger_up(directory)?
    } else {
        found.is_some_and(|(service, logger)| parts.are_up(&service, logger.as_ref()))
    };
    Ok(if is_up { 0 } else { NOT_UP })
}

/// Refuses a directory that does not answer. The name is for messages.
fn refuse_silent(directory: &Path, name: &Path) -> Result<(), Fatal> {
    match service::service_answers(directory, &[service::SUPERVISE]) {
        true => Ok(()),
        false => Err(Unable::new("chdir to", name, Errno::ETIMEDOUT).into()),
    }
}

/// Whether the logger of the service in the current directory is up, if it has a logger with a supervise of its own.
fn is_own_logger_up(directory: &Path) -> Result<bool, Fatal> {
    let log = directory.join(service::LOG);
    refuse_silent(Path::new(service::LOG), &log)?;
    if !Path::new(service::LOG).is_dir() {
        return Ok(false);
    }
    chdir(service::LOG).unable_to("chdir to", &log)?;
    Ok(look_once_executed(&log, Parts::Both)?.is_some_and(|(logger, _)| is_up(&logger)))
}

/// How often svup looks again at a process that is about to be executed, a millisecond apart: supervise takes that long
/// to learn of it.
const TRIES: u32 = 100;

/// Looks as [`look`] does, but waits until it is known whether a started process can execute its program.
fn look_once_executed(directory: &Path, parts: Parts) -> Result<Option<(Snapshot, Option<Snapshot>)>, Fatal> {
    let is_gated = |seen: &Snapshot| seen.record.as_ref().is_some_and(|record| record.gated);
    for _ in 0..TRIES {
        let found = look(directory, parts)?;
        let waits = |(service, logger): &(Snapshot, Option<Snapshot>)| {
            is_gated(service) || logger.as_ref().is_some_and(is_gated)
        };
        if !found.as_ref().is_some_and(waits) {
            return Ok(found);
        }
        let _ = poll(&mut [], PollTimeout::from(1u8));
    }
    look(directory, parts)
}

/// The state of the service in the current directory, whose name is for messages, and of the logger that the same
/// supervise runs. `None`: no supervise is in charge.
fn look(directory: &Path, parts: Parts) -> Result<Option<(Snapshot, Option<Snapshot>)>, Fatal> {
    let named = |file: &str| directory.join(file);
    match service::is_supervised() {
        Ok(true) => {}
        Ok(false) | Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => {
            return Err(Unable::new("open", named(service::OK), errno).where_own_is_denied(service::OK).into());
        }
    }
    let (seen, unwritten) = take_written().map_err(|illegible| match illegible {
        StatusError::Closed(errno) => Unable::new("open", named(service::STATUS), errno).into(),
        StatusError::Unread(errno) => Unable::new("read", named(service::STATUS), errno).into(),
        StatusError::TooShort => too_short(&named(service::STATUS)),
    })?;
    let logger = seen.clone().of_logger();
    let ended = [(unwritten.service, Parts::Logger), (unwritten.logger, Parts::Service)];
    // What is not asked about may have ended.
    let ended = ended.into_iter().find_map(|(pid, other)| pid.filter(|_| parts != other));
    if let Some(pid) = ended {
        let name = directory.as_os_str().as_bytes();
        return Err(Fatal::new(report::TEMPORARY, &[name, b": ", unwritten.words_of(pid).as_bytes()]));
    }
    Ok(Some((seen, logger)))
}

fn too_short(status: &Path) -> Fatal {
    let name = status.as_os_str().as_encoded_bytes();
    Fatal::new(report::TEMPORARY, &[b"unable to read ", name, b": bad format"])
}

/// Which of service and logger must be up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parts {
    /// The service must be up, and so must its logger if the same supervise runs it.
    Both,
    /// Only the service must be up.
    Service,
    /// Only its logger must be up.
    Logger,
}

impl Parts {
    fn are_up(self, service: &Snapshot, logger: Option<&Snapshot>) -> bool {
        match self {
            Parts::Both => is_up(service) && logger.is_none_or(is_up),
            Parts::Service => is_up(service),
            Parts::Logger => logger.is_some_and(is_up),
        }
    }
}

/// The state that `supervise/status` shows, except that a program which was never executed is not up, although a
/// process exists for an instant.
fn is_up(seen: &Snapshot) -> bool {
    let is_shown = (seen.shown.pid.is_some() || seen.shown.is_active()) && seen.shown.phase == Phase::Running;
    is_shown && !seen.record.as_ref().is_some_and(Record::is_unexecuted)
}

fn parse(args: Args) -> Result<(Parts, OsString), Fatal> {
    let misused = |error: lexopt::Error| Fatal::option(&error, USAGE);
    let mut parts = Parts::Both;
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(argument) = parser.next().map_err(misused)? {
        match argument {
            Arg::Short('l') => parts = Parts::Service,
            Arg::Short('L') => parts = Parts::Logger,
            Arg::Value(service) => {
                let mut behind = parser.raw_args().map_err(misused)?;
                if let Some(option) = behind.find(|word| suggest::looks_like_option(word)) {
                    report::warning(&[option.as_bytes(), b" is ignored: options come before the service"]);
                }
                return Ok((parts, service));
            }
            other @ (Arg::Short(_) | Arg::Long(_)) => return Err(misused(other.unexpected())),
        }
    }
    Err(Fatal::usage(USAGE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::service::{Death, Exit, Process, Role, RunitState, Shown, Status, Want};
    use daemontools::tai64::Moment;
    use nix::unistd::Pid;

    fn status(pid: Option<i32>, phase: Phase) -> Snapshot {
        let (pid, since) = (pid.map(Pid::from_raw), Moment::ZERO.label);
        let status = Status { since, pid, paused: false, want: Want::Up, phase, running: RunitState::Nothing };
        Snapshot::of(status, None, None)
    }

    #[test]
    fn what_runs_and_was_not_told_to_end_is_up() {
        let table = [
            (Some(7), Phase::Running, true),
            (None, Phase::Running, false),
            (Some(7), Phase::Starting, false),
            (Some(7), Phase::Stopping, false),
            (None, Phase::Stopped, false),
            (None, Phase::Failed, false),
        ];
        for (pid, phase, expected) in table {
            assert_eq!(is_up(&status(pid, phase)), expected, "{pid:?} {phase:?}");
        }
    }

    #[test]
    fn what_was_never_executed_is_not_up() {
        let process = Some((Role::Run, Process { pid: Pid::from_raw(7), ticks: 1, serial: 0 }));
        let label = Moment::ZERO.label;
        let running = Record { want: Want::Up, phase: Phase::Running, process, ..Record::blank() };
        let died = |exit| Record {
            phase: Phase::Stopped,
            process: None,
            shown: Some(Shown { pid: Pid::from_raw(7), since: label }),
            deaths: vec![Death { started: label, ended: label, exit, counts: true, is_told: false }],
            ..running.clone()
        };
        let table = [
            (running.clone(), true),
            (Record { gated: true, ..running.clone() }, false),
            // This is how the status looks during the original's pause before a restart.
            (died(Exit::Code(1)), true),
            (died(Exit::Unstarted(2)), false),
            // The former life of the service no longer counts.
            (Record { deaths: died(Exit::Unstarted(2)).deaths, ..running.clone() }, true),
        ];
        for (record, expected) in table {
            let seen = Snapshot::of(Status::of(&record), None, Some(record));
            assert_eq!(is_up(&seen), expected, "{seen:#?}");
        }
    }

    #[test]
    fn a_logger_counts_where_there_is_one() {
        let (up, down) = (status(Some(7), Phase::Running), status(None, Phase::Stopped));
        let table = [
            (Parts::Both, &up, None, true),
            (Parts::Both, &up, Some(&down), false),
            (Parts::Both, &down, Some(&up), false),
            (Parts::Both, &up, Some(&up), true),
            (Parts::Service, &up, Some(&down), true),
            (Parts::Logger, &down, Some(&up), true),
            (Parts::Logger, &up, Some(&down), false),
            (Parts::Logger, &up, None, false),
            (Parts::Both, &down, None, false),
        ];
        for (parts, service, logger, expected) in table {
            assert_eq!(parts.are_up(service, logger), expected, "{parts:?} {logger:?}");
        }
    }
}
