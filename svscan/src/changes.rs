//! What the kernel reports through inotify: changes in the scan directory and in service directories that are still being
//! made, and new states of watched services. Where the kernel reports nothing, svscan scans the directory and looks at the
//! services from time to time instead.

use crate::diagnostics::{Diagnostics, Subject};
use crate::incomplete::IncompleteServices;
use crate::look::WatchedPlace;
use crate::probe::Probe;
use crate::ready_watch::ReadyWatch;
use crate::table::{Id, Part, SuperviseId, Table};
use daemontools::sys::inotify::for_each_event;
use daemontools::{Attempt, Unable};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

/// The scan directory, service directories and states that are watched.
pub struct Changes {
    /// The source of reports, and the watch of the scan directory; `None` if the kernel reports nothing.
    source: Option<(Inotify, WatchDescriptor)>,
    incomplete: IncompleteServices,
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
        Changes { source, incomplete: IncompleteServices::default(), ready_watch: ReadyWatch::default() }
    }

    /// What is watched through, if the kernel reports changes.
    pub fn inotify(&self) -> Option<&Inotify> {
        self.source.as_ref().map(|(inotify, _)| inotify)
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
                    reports.states.extend(ready_watch.reported(event.wd.as_raw()));
                    incomplete.changed(&event, probe, now);
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

    /// Takes in that svscan has looked at all entries that were reported.
    pub fn looked(&mut self) {
        self.incomplete.looked();
    }

    /// A service that was being made, and for which svscan does not wait any longer.
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

    /// Watches the state of a service from now on, or looks at it again soon.
    pub fn watch_ready(&mut self, id: Id, now: Instant) {
        self.ready_watch.begin(id, now);
    }

    /// Ends the watch of the state of a service.
    pub fn end_ready_watch(&mut self, id: Id) {
        self.ready_watch.end(id, self.source.as_ref().map(|(inotify, _)| inotify));
    }

    /// The services whose state svscan is to look at: those of which the kernel has reported a new state, and those at which
    /// svscan has not looked for a while.
    pub fn states(&mut self, mut reported: HashSet<Id>, table: &Table, probe: &mut Probe, now: Instant) -> HashSet<Id> {
        let watch = |id| {
            let folder = probe.path(table, SuperviseId { id, part: Part::Service })?;
            probe.watch(WatchedPlace::SuperviseOf(folder), AddWatchFlags::IN_MOVED_TO).ok()
        };
        reported.extend(self.ready_watch.due(now, watch));
        reported
    }

    /// Forgets what is kept for a service that is gone.
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
