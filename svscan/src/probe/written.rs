//! What a supervise has written about its service into `supervise/`. The caller has made sure that the directory can be
//! touched.

use crate::readiness;
use crate::table::Readiness;
use daemontools::service::{Place, Process, Record, Status, Unread};
use daemontools::sys::process::ticks_per_second;
use daemontools::tai64::Moment;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::path::{Path, PathBuf};

/// What a supervise has written about its service.
#[derive(Debug)]
pub struct Written {
    /// Where the service lies.
    pub folder: PathBuf,
    /// What `supervise/status` says. A supervise of this toolkit writes it after its record: read before that, it does
    /// not say more than the record.
    pub status: Option<Status>,
    pub record: Option<Record>,
}

impl Written {
    /// How far the service is whose supervise is `pid`.
    pub fn readiness(&self, pid: Pid) -> Readiness {
        readiness::of(self.status.as_ref(), self.record.as_ref(), &Process::of(pid))
    }

    /// With what code the service whose supervise is `pid` has ended for good; `None` if it has not.
    pub fn final_exit(&self, pid: Pid) -> Option<i32> {
        readiness::final_exit(self.record.as_ref(), &Process::of(pid), Moment::now(), ticks_per_second())
    }
}

/// What `supervise/status` of the service in `folder` says, and `supervise/state` unless its supervise has a page.
pub fn read(folder: &Path, has_page: bool) -> (Option<Status>, Option<Record>) {
    let status = Place::of(folder).ok().and_then(|place| Status::read(&place).ok());
    (status, if has_page { None } else { record(folder) })
}

/// What the last supervise in this directory has written into `supervise/state`, where others may have written as well.
pub fn record(folder: &Path) -> Option<Record> {
    Record::read(&Place::of(folder).ok()?).ok()
}

/// What the last supervise in this directory has written into `supervise/state`, if no other account could have written it.
///
/// # Errors
/// That cannot be told now.
pub fn trusted_record(folder: &Path) -> Result<Option<Record>, Unread> {
    let place = Place::of(folder).map_err(Unread::System)?;
    match Record::read_with_owner(&place) {
        Ok((record, other_owner)) => Ok(other_owner.is_none().then_some(record)),
        Err(Unread::System(errno)) if errno != Errno::ENOENT => Err(Unread::System(errno)),
        // There is no record, or no supervise has written it.
        Err(Unread::System(_) | Unread::WrongKind | Unread::TooLong) => Ok(None),
    }
}
