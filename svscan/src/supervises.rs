//! svscan's supervises: this module finds the supervises that run already, and keeps what they have written.
//!
//! `starting` starts a supervise or takes it over, `pipe` finds the pipe between a service and its logger, `commanding`
//! sends commands, `left` finds out what an ended supervise has left, `ending` ends a service for which no supervise can
//! be started, and `handing_over` is about the next svscan in this process.

mod commanding;
mod ending;
mod handing_over;
mod left;
mod pipe;
mod starting;

use crate::abandoned::RecordSource;
use crate::attached::Attached;
use crate::forwarding::Forwarding;
use crate::in_charge::{self, InCharge};
use crate::launch::Launcher;
use crate::leftover::ExitKind;
use crate::orphans::Orphans;
use crate::probe::Probe;
use crate::stopping::Stopping;
use crate::supervise_files::SuperviseFiles;
use crate::survivors::Survivors;
use crate::table::{Id, SuperviseId, Table};
use daemontools::Unable;
use daemontools::service::{Command, ORPHAN, OrphanEnd, Record, Unread};
use daemontools::tai64::Moment;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

/// The status assumed for a supervise that is not svscan's child: killed by SIGKILL.
const KILLED: i32 = 9;
/// How many supervises are looked at in each scan.
const LOOKED_AT: usize = 100;

/// What svscan knows of its supervises besides the table.
pub struct Supervises {
    pub launcher: Launcher,
    attached: Attached,
    orphans: Orphans,
    files: SuperviseFiles,
    survivors: Survivors,
    /// At each scan svscan looks whether the files of some supervises are there. This is the last one that it has looked at.
    last_seen: Option<SuperviseId>,
}

/// What else of svscan is needed to do something about one of the supervises. It is borrowed for that long.
pub struct SuperviseContext<'a> {
    pub table: &'a Table,
    pub probe: &'a mut Probe,
    pub stopping: &'a mut Stopping,
    pub forward: &'a mut Forwarding,
}

/// How a supervise has ended, as `wait(2)` has it.
#[derive(Debug, Clone, Copy)]
pub struct EndedSupervise {
    pub which: SuperviseId,
    pub pid: Pid,
    pub status: i32,
}

impl EndedSupervise {
    fn exit_kind(&self) -> ExitKind {
        ExitKind::of(self.status)
    }
}

impl Supervises {
    /// Makes a value that knows no supervise yet.
    ///
    /// # Errors
    /// No descriptor to be had.
    pub fn new(launcher: Launcher, survivors: Survivors) -> nix::Result<Supervises> {
        let (attached, orphans, files) = (Attached::new()?, Orphans::default(), SuperviseFiles::default());
        Ok(Supervises { launcher, attached, orphans, files, survivors, last_seen: None })
    }

    /// What the last supervise of a part has written: on its page, or into `supervise/state`, which others may have written
    /// as well.
    pub fn record(&self, which: SuperviseId, table: &Table, probe: &mut Probe) -> Option<Record> {
        self.launcher.record(which).or_else(|| probe.record(table, which))
    }

    /// What the last supervise of a part has written, if no other account could have written it, and where svscan has
    /// it from. svscan asks the page first, because it needs neither the directory nor a descriptor for that.
    ///
    /// # Errors
    /// It cannot be told now.
    fn trusted_record(
        &self,
        which: SuperviseId,
        context: &mut SuperviseContext,
    ) -> Result<Option<(Record, RecordSource)>, Unread> {
        match self.launcher.record(which) {
            Some(page) => Ok(Some((page, RecordSource::Page))),
            None => Ok(context.probe.trusted_record(context.table, which)?.map(|record| (record, RecordSource::File))),
        }
    }

    /// How long a part that is being stopped still has until it is killed, if it ever is.
    pub fn time_left(&self, which: SuperviseId, table: &Table, probe: &mut Probe) -> Option<Duration> {
        let kill_at = self.record(which, table, probe)?.kill_at?;
        Some(kill_at.uptime.saturating_sub(Moment::now().uptime))
    }

    /// Whether an earlier svscan in this process had a supervise of this part.
    pub fn expects(&self, which: SuperviseId) -> bool {
        self.attached.expects(which)
    }

    /// The part whose supervise an earlier svscan in this process has started, if that has ended before it was seen.
    pub fn expected_that_ended(&mut self, pid: Pid) -> Option<SuperviseId> {
        self.attached.expected_that_ended(pid)
    }

    /// Forgets what is kept for a service that is gone.
    pub fn forget(&mut self, id: Id) {
        self.launcher.forget(id);
        self.files.forget(id);
        self.orphans.forget(id);
    }

    /// A child of svscan has ended: if svscan holds it as a supervise that is not its child, it lets go of it.
    pub fn release(&mut self, pid: Pid) {
        self.attached.release(pid);
    }

    /// The supervises that are not svscan's children and have ended since the last time, with the status assumed.
    pub fn ended(&mut self) -> Vec<(Pid, i32)> {
        self.attached.ended().into_iter().map(|pid| (pid, KILLED)).collect()
    }

    /// A child of svscan has ended that is no supervise. If a killed supervise has left it, svscan writes down how it ended,
    /// for the next supervise.
    pub fn orphan_ended(&mut self, end: OrphanEnd, table: &Table, probe: &mut Probe) {
        let Some(which) = self.orphans.ended(end) else { return };
        if let Some(folder) = probe.folder(table, which) {
            write_end(&folder, end, probe);
        }
    }

    /// Which supervise is in charge of a part. If the directory cannot be touched, the page tells. `ended` is a
    /// supervise that has just ended: if it was in charge, no supervise is.
    fn served_by(&self, which: SuperviseId, ended: Option<Pid>, context: &mut SuperviseContext) -> InCharge {
        match self.launcher.record(which) {
            Some(page) if Some(page.supervise.pid) == ended => InCharge::NoSupervise,
            Some(page) if in_charge::is_running(&page.supervise) != Ok(false) => InCharge::Supervise(page.supervise),
            Some(_) | None => match context.probe.own_folder(context.table, which) {
                Some(folder) => match self.in_charge(which, &folder, context.probe) {
                    InCharge::Unknown(Errno::ETIMEDOUT) => InCharge::NoSupervise,
                    found => found,
                },
                None => InCharge::NoSupervise,
            },
        }
    }

    /// Which supervise is in charge of the part in `folder`, which can be touched.
    fn in_charge(&self, which: SuperviseId, folder: &Path, probe: &mut Probe) -> InCharge {
        match in_charge::in_charge(folder, self.launcher.record(which).as_ref(), probe) {
            // The files of a supervise may have been removed while there was no svscan, or it has not made them yet.
            InCharge::NoSupervise => match self.survivors.serving(which.part, folder, probe) {
                Ok(None) => InCharge::NoSupervise,
                Ok(Some(process)) => InCharge::Supervise(process),
                Err(errno) => InCharge::Unknown(errno),
            },
            found => found,
        }
    }

    /// Wakes some supervises whose files were removed, so that they make them again: a few of them at each scan.
    pub fn wake_where_files_are_missing(&mut self, table: &Table, probe: &mut Probe) {
        let mut running: Vec<(Pid, SuperviseId)> = table.running().collect();
        running.sort_unstable_by_key(|(_, which)| *which);
        let next = running.partition_point(|(_, which)| Some(*which) <= self.last_seen);
        let turned = next.min(running.len().saturating_sub(1));
        running.rotate_left(turned);
        for (pid, which) in running.into_iter().take(LOOKED_AT) {
            self.last_seen = Some(which);
            let Some(folder) = probe.path(table, which) else { continue };
            if self.files.is_unchanged(which, &folder, probe) {
                continue;
            }
            let is_ours = self.launcher.record(which).is_some_and(|record| record.supervise.pid == pid);
            if is_ours && self.files.misses_files(which, &folder, probe) {
                let _ = self.attached.signal(pid, &Command::ForService.into());
            }
        }
    }
}

impl AsFd for Supervises {
    /// Readable when a supervise has ended that is not svscan's child.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.attached.as_fd()
    }
}

/// Writes down how a process ended, for the next supervise of its service.
fn write_end(service: &Path, end: OrphanEnd, probe: &mut Probe) {
    if let Err(errno) = probe.write_end(service, end) {
        Unable::new("write", service.join(ORPHAN).as_path(), errno).warn();
    }
}
