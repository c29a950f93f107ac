//! What a service directory has in it, as far as svscan must know it before it starts the supervise. The caller has made
//! sure that the directory can be touched.

use daemontools::encoding::Encode;
use daemontools::files::stat_on_mount;
use daemontools::service::policy::ABSTRACT;
use daemontools::service::{
    AFTER, After, Identity, LOG, OK, Place, RUN, Record, STATE, Unread, has_supervise_at, is_supervised_at,
};
use daemontools::sys::is_passing;
use daemontools::sys::kind::is_directory;
use nix::errno::Errno;
use nix::sys::stat::{lstat, stat};
use nix::unistd::{AccessFlags, access};
use std::path::Path;

/// The file whose presence makes everything stop when this service ends for good.
pub const ESSENTIAL: &str = "essential";

/// What is found in a service directory before its supervise is started.
#[derive(Debug)]
pub struct ExaminedService {
    pub logger: Logger,
    /// Everything is to stop when this service ends for good.
    pub essential: bool,
    /// The services that are to be ready before this one starts, if their list can be read.
    pub after: Result<After, Unread>,
    /// The service runs already, whether or not a supervise is in charge of it; svscan asks this only if the service
    /// would wait for others.
    pub running: bool,
}

/// What `log` in a service directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logger {
    /// There is none, or it is a program that the service's own supervise runs.
    None,
    /// It is a service directory.
    Directory,
    /// It is a file that cannot be executed.
    Unusable,
}

/// Whether a service directory, or that of a state, has all that it needs to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completeness {
    /// `run` can be executed, or the service is an abstract one; and `log/run` can be executed if there is a directory `log`. A
    /// service that has a supervise counts as complete.
    pub is_complete: bool,
    /// There is a directory `log`.
    pub has_logger: bool,
}

/// Looks at what there is to supervise in a directory; `page` is what its last supervise has written in svscan's memory.
///
/// # Errors
/// This file in the directory cannot be looked at now.
pub fn examine(folder: &Path, page: Option<&Record>) -> Result<ExaminedService, (&'static str, Errno)> {
    let logger = logger(folder).map_err(|errno| (LOG, errno))?;
    let after = match After::read(folder) {
        Err(Unread::System(errno)) if is_passing(errno) => return Err((AFTER, errno)),
        after => after,
    };
    let waits = after.as_ref().is_ok_and(|after| !after.names.is_empty());
    let running = waits && is_running(folder, page)?;
    let essential = is_there(&folder.join(ESSENTIAL)).map_err(|errno| (ESSENTIAL, errno))?;
    Ok(ExaminedService { logger, essential, after, running })
}

/// What `log` in this service directory is.
///
/// # Errors
/// `log` cannot be looked at.
pub fn logger(folder: &Path) -> nix::Result<Logger> {
    let log = folder.join(LOG);
    match stat(&log) {
        Ok(file) if is_directory(&file) => Ok(Logger::Directory),
        Ok(_) if access(&log, AccessFlags::X_OK).is_ok() => Ok(Logger::None),
        Ok(_) => Ok(Logger::Unusable),
        Err(Errno::ENOENT) => Ok(Logger::None),
        Err(errno) => Err(errno),
    }
}

/// What [`logger`] returns, found without a step on another mount than that of the current directory; `None` where that
/// is not possible.
pub fn logger_here(folder: &Path) -> Option<nix::Result<Logger>> {
    match stat_on_mount(&folder.join(LOG)) {
        Ok(file) if is_directory(&file) => Some(Ok(Logger::Directory)),
        Err(Errno::ENOENT) => Some(Ok(Logger::None)),
        Ok(_) | Err(_) => None,
    }
}

/// Whether a service directory has all that it needs, or is supervised already.
pub fn completeness(folder: &Path) -> Completeness {
    let runs = |directory: &Path| access(&directory.join(RUN), AccessFlags::X_OK).is_ok();
    let log = folder.join(LOG);
    let has_logger = log.is_dir();
    let is_supervised = || [folder, &log].into_iter().any(|folder| is_supervised_at(folder) == Ok(true));
    let is_state = || lstat(&folder.join(ABSTRACT)).is_ok() && lstat(&folder.join(RUN)) == Err(Errno::ENOENT);
    let is_complete = (runs(folder) || is_state()) && (!has_logger || runs(&log));
    Completeness { is_complete: is_complete || is_supervised(), has_logger }
}

/// Whether a service runs already, with a supervise or without.
fn is_running(folder: &Path, page: Option<&Record>) -> Result<bool, (&'static str, Errno)> {
    if has_supervise_at(folder).map_err(|errno| (OK, errno))? {
        return Ok(true);
    }
    let record = match page.map_or_else(|| Record::read(&Place::of(folder)?), |page| Ok(page.clone())) {
        Ok(record) => record,
        Err(Unread::System(errno)) if is_passing(errno) => return Err((STATE, errno)),
        Err(_) => return Ok(false),
    };
    match record.is_copied_to(folder) {
        Ok(false) => {}
        Err(errno) if is_passing(errno) => return Err((STATE, errno)),
        Ok(true) | Err(_) => return Ok(false),
    }
    for process in record.processes() {
        match process.identity() {
            Ok(Identity::Same) => return Ok(true),
            Err(errno) if is_passing(errno) => return Err((STATE, errno)),
            Ok(Identity::Gone | Identity::Unknown) | Err(_) => {}
        }
    }
    Ok(false)
}

/// Whether there is a file.
///
/// # Errors
/// EIO, ENOMEM …: that cannot be told now.
pub fn is_there(file: &Path) -> nix::Result<bool> {
    match access(file, AccessFlags::F_OK) {
        Err(errno) if is_passing(errno) => Err(errno),
        answer => Ok(answer.is_ok()),
    }
}
impl Encode for Logger {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let number: u8 = match self {
            Logger::None => 0,
            Logger::Directory => 1,
            Logger::Unusable => 2,
        };
        number.encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Logger> {
        match u8::decode(bytes)? {
            0 => Some(Logger::None),
            1 => Some(Logger::Directory),
            2 => Some(Logger::Unusable),
            _ => None,
        }
    }
}

impl Encode for Completeness {
    fn encode(&self, bytes: &mut Vec<u8>) {
        (self.is_complete, self.has_logger).encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Completeness> {
        <(bool, bool)>::decode(bytes).map(|(is_complete, has_logger)| Completeness { is_complete, has_logger })
    }
}

impl Encode for ExaminedService {
    fn encode(&self, bytes: &mut Vec<u8>) {
        self.logger.encode(bytes);
        (self.essential, self.running).encode(bytes);
        self.after.encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<ExaminedService> {
        let logger = Logger::decode(bytes)?;
        let (essential, running) = <(bool, bool)>::decode(bytes)?;
        Some(ExaminedService { logger, essential, running, after: Result::decode(bytes)? })
    }
}
