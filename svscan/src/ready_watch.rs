//! The services whose state is watched: those that others wait for, and those that are essential. The kernel tells when their
//! supervise writes a new state; where it cannot, svscan looks again and again. A service is watched only once its supervise
//! runs.

use crate::table::Id;
use daemontools::service::Place;
use nix::sys::inotify::{AddWatchFlags, Inotify, WatchDescriptor};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The time between two looks, at first.
const SOON: Duration = Duration::from_millis(1);
/// The time between two looks that it is doubled up to.
const LATE: Duration = Duration::from_millis(320);
/// The time between two looks where the kernel tells of a new state: supervise may be unable to write one, and have written
/// its page only.
const SELDOM: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Watched {
    watch: Option<WatchDescriptor>,
    /// When to look next, and how long to wait after that.
    next: Option<(Instant, Duration)>,
}

/// All watched services.
#[derive(Debug, Default)]
pub struct ReadyWatch {
    services: HashMap<Id, Watched>,
    watches: HashMap<WatchDescriptor, Id>,
}

impl ReadyWatch {
    /// Watches a service from now on, or looks at it again soon: it has a new supervise, or another service waits for it.
    pub fn begin(&mut self, id: Id, now: Instant) {
        self.services.entry(id).or_default().next = Some((now, SOON));
    }

    /// Watches a service no longer.
    pub fn end(&mut self, id: Id, inotify: Option<&Inotify>) {
        let Some(watch) = self.services.remove(&id).and_then(|service| service.watch) else { return };
        self.watches.remove(&watch);
        let _ = inotify.map(|inotify| inotify.rm_watch(watch));
    }

    /// The service that the kernel's report is about.
    pub fn reported(&self, watch: WatchDescriptor) -> Option<Id> {
        self.watches.get(&watch).copied()
    }

    /// The services that are to be looked at now, though nothing was reported of them. The kernel watches them as soon as
    /// there is something to watch; `folder` is where a service lies, if that can be touched.
    pub fn due(
        &mut self,
        now: Instant,
        inotify: Option<&Inotify>,
        mut folder: impl FnMut(Id) -> Option<PathBuf>,
    ) -> Vec<Id> {
        let mut due = Vec::new();
        for (id, service) in &mut self.services {
            let Some((at, wait)) = service.next.filter(|(at, _)| *at <= now) else { continue };
            service.next = Some((at.max(now) + wait, LATE.max(wait).min(wait * 2)));
            let place = folder(*id).and_then(|folder| Place::of(&folder).ok());
            let add = |inotify: &Inotify| inotify.add_watch(place?.directory(), AddWatchFlags::IN_MOVED_TO).ok();
            if let Some(watch) = inotify.and_then(add) {
                service.next = Some((now + SELDOM, SELDOM));
                self.watches.insert(watch, *id);
                // Another one if the directory was made anew: the one before went with it.
                if let Some(before) = service.watch.replace(watch).filter(|before| *before != watch) {
                    self.watches.remove(&before);
                }
            }
            due.push(*id);
        }
        due
    }

    /// When a service is to be looked at next.
    pub fn deadline(&self) -> Option<Instant> {
        self.services.values().filter_map(|service| service.next).map(|(at, _)| at).min()
    }
}
