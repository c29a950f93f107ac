//! What the kernel reports, all of it through one descriptor: changes in the scan directory, in service directories that are
//! still being made, and new states of services whose readiness is waited for. Where the kernel reports nothing, scans and
//! looks from time to time take its place.

use crate::diagnostics::{Diagnostics, Subject};
use crate::incomplete::Incomplete;
use crate::probe::Probe;
use crate::ready_watch::ReadyWatch;
use crate::table::{Id, Part, SuperviseId, Table};
use daemontools::sys::events::for_each_event;
use daemontools::{Attempt, Unable};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

/// What is watched.
pub struct Changes {
    /// The source of reports, and the watch of the scan directory; `None` if the kernel reports nothing.
    source: Option<(Inotify, WatchDescriptor)>,
    incomplete: Incomplete,
    ready_watch: ReadyWatch,
}

/// What the kernel has reported.
#[derive(Debug, Default)]
pub struct Reports {
    /// Entries of the scan directory that are to be looked at.
    pub entries: HashSet<OsString>,
    /// Watched services of which there is a new state.
    pub states: HashSet<Id>,
    /// The scan directory was moved.
    pub is_moved: bool,
    /// Some reports were lost.
    pub some_were_lost: bool,
}

impl Changes {
    /// Watches the current directory, which is the scan directory. Says so if the kernel does not report changes.
    pub fn new(diagnostics: &mut Diagnostics) -> Changes {
        let source = watch_directory().map_err(|unable| diagnostics.warn_unable_once(Subject::Watch, &unable)).ok();
        Changes { source, incomplete: Incomplete::default(), ready_watch: ReadyWatch::default() }
    }

    /// Whether the kernel reports changes.
    pub fn are_reported(&self) -> bool {
        self.source.is_some()
    }

    /// Readable when there is a report.
    pub fn source(&self) -> Option<BorrowedFd<'_>> {
        self.source.as_ref().map(|(inotify, _)| inotify.as_fd())
    }

    /// When there is something to look at, though nothing is reported.
    pub fn deadline(&self) -> Option<Instant> {
        self.incomplete.deadline().into_iter().chain(self.ready_watch.deadline()).min()
    }

    /// Reads all reports.
    pub fn read(&mut self, probe: &mut Probe, now: Instant) -> Reports {
        let Changes { source, incomplete, ready_watch } = self;
        let mut reports = Reports::default();
        if let Some((inotify, directory)) = source {
            let take = |event: InotifyEvent| {
                // Time has passed since `now` was read, and the pause after a change must count from this moment.
                let now = Instant::now();
                reports.some_were_lost |= event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                if event.wd != *directory {
                    reports.states.extend(ready_watch.reported(event.wd));
                    incomplete.changed(&event, inotify, probe, now);
                } else if event.mask.contains(AddWatchFlags::IN_MOVE_SELF) {
                    reports.is_moved = true;
                } else {
                    reports.entries.extend(incomplete.entry_changed(event, now));
                }
            };
            // What cannot be read is found by the next scan.
            let _ = for_each_event(inotify, take);
        }
        reports.entries.extend(incomplete.entries(now));
        reports
    }

    /// Whether a new service is still being made; if so, it is watched until it is [overdue](Changes::overdue).
    pub fn is_being_made(&mut self, id: Id, name: &OsStr, probe: &mut Probe, now: Instant) -> bool {
        let Some((inotify, _)) = &self.source else { return false };
        self.incomplete.take(id, name, inotify, probe, now)
    }

    /// All entries that were reported have been looked at.
    pub fn looked(&mut self) {
        self.incomplete.looked();
    }

    /// A service that was being made and is not waited for any longer.
    pub fn overdue(&mut self, now: Instant) -> Option<Id> {
        let id = self.incomplete.overdue(now)?;
        self.forget_incomplete(id);
        Some(id)
    }

    fn forget_incomplete(&mut self, id: Id) {
        if let Some((inotify, _)) = &self.source {
            self.incomplete.forget(id, inotify);
        }
    }

    /// The readiness of a service is waited for, or what is known of it may have changed.
    pub fn watch_ready(&mut self, id: Id, now: Instant) {
        self.ready_watch.begin(id, now);
    }

    /// The readiness of a service is waited for no longer.
    pub fn end_ready_watch(&mut self, id: Id) {
        self.ready_watch.end(id, self.source.as_ref().map(|(inotify, _)| inotify));
    }

    /// The services whose state is to be looked at: those of which a new state was reported, and those of which it has not
    /// been for a while.
    pub fn states(&mut self, mut reported: HashSet<Id>, table: &Table, probe: &mut Probe, now: Instant) -> HashSet<Id> {
        let folder = |id| probe.folder(table, SuperviseId { id, part: Part::Service });
        reported.extend(self.ready_watch.due(now, self.source.as_ref().map(|(inotify, _)| inotify), folder));
        reported
    }

    /// The service is gone.
    pub fn forget(&mut self, id: Id) {
        self.forget_incomplete(id);
        self.end_ready_watch(id);
    }
}

fn watch_directory() -> Result<(Inotify, WatchDescriptor), Unable> {
    let changes = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unable_to("watch directory", "")?;
    let directory = inotify.add_watch(".", changes).unable_to("watch directory", "")?;
    Ok((inotify, directory))
}
