//! What a supervise has written about its service into `supervise/`. The caller has made sure that the directory can be
//! touched.

use crate::readiness;
use crate::table::Readiness;
use daemontools::service::{Place, Process, Record, Status};
use daemontools::sys::process::ticks_per_second;
use daemontools::tai64::Moment;
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
