//! `sv status`: each service in a line, with its logger.

use super::Output;
use super::line::Refusal;
use super::subject::{Subject, line_here, look_here};
use daemontools::Fatal;
use daemontools::service::{LOG, Snapshot};
use nix::errno::Errno;
use nix::unistd::chdir;
use std::ffi::OsStr;

/// How a service is, as the Linux Standard Base asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It has a process.
    Up,
    /// It has none.
    Down,
    /// That cannot be said.
    Unknown,
    /// It has no supervise.
    Unsupervised,
}

/// Shows a service.
///
/// # Errors
/// The output cannot be written.
pub fn status(subject: &Subject, output: &mut Output) -> Result<Found, Fatal> {
    let seen = match subject.look() {
        Ok(seen) => seen,
        Err(refusal) => {
            output.refuse(&subject.name, &refusal)?;
            let is_unsupervised = matches!(refusal, Refusal::NotRunning | Refusal::Directory(_));
            return Ok(if is_unsupervised { Found::Unsupervised } else { Found::Unknown });
        }
    };
    let own = line_here(&subject.name, &seen.status);
    let found = match (&own, seen.status.pid) {
        (None, _) => Found::Unknown,
        (Some(_), Some(_)) => Found::Up,
        (Some(_), None) => Found::Down,
    };
    let line = [own.unwrap_or_default(), logger(&subject.name, &seen, output)].concat();
    output.say(&line)?;
    Ok(found)
}

/// What follows behind the service: `; run: log: (pid 4712) 3s`, and the end of the line.
fn logger(name: &OsStr, seen: &Snapshot, output: &mut Output) -> Vec<u8> {
    let shown = |status| [b"; ", &*line_here(OsStr::new(LOG), status).unwrap_or_default(), b"\n"].concat();
    if let Some(status) = &seen.logger {
        return shown(status);
    }
    let looked = match chdir(LOG) {
        Err(Errno::ENOENT) => return b"\n".to_vec(),
        Err(errno) => Err(Refusal::LogDirectory(errno)),
        Ok(()) => look_here(),
    };
    match looked {
        Ok(seen) => shown(&seen.status),
        Err(refusal) => {
            let name = [name, OsStr::new(LOG)].join(OsStr::new("/"));
            [&b"; "[..], &output.count(&name, &refusal)].concat()
        }
    }
}
