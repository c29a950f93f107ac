//! Service directories that are still being made. svscan starts their supervise when they are complete, or when it has waited
//! long enough.
//!
//! A directory is complete when `run` can be executed, and so can `log/run` if there is a `log` directory, and neither is
//! being written; or when a supervise is in charge of it or of its `log` already, which svscan must know at a stop. A directory that was made elsewhere and moved or linked here is complete when it is first seen; one that is
//! made in place is watched. Nothing tells that it will have no `log`, so without one svscan waits until nothing has changed
//! in it for a moment. svscan looks at a link that was just made after a shorter moment: `ln -sf` makes it under another
//! name, and renames it.

use crate::probe::Probe;
use crate::table::{Id, Part};
use daemontools::service::{LOG, RUN};
use nix::sys::inotify::{AddWatchFlags, Inotify, InotifyEvent, WatchDescriptor};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// After this time, svscan starts the supervise of an incomplete directory all the same, which says what is missing.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same for a directory that was made elsewhere: whoever links it has mostly finished, and waits for an answer.
const PATIENCE_ELSEWHERE: Duration = Duration::from_secs(1);
/// A complete directory in which nothing has changed for this time is not being made any more.
const QUIET: Duration = Duration::from_millis(100);
/// How long after it was made svscan looks at a link.
const BRIEF: Duration = Duration::from_millis(10);

struct IncompleteService {
    path: PathBuf,
    watches: Vec<WatchDescriptor>,
    /// Directories in which `run` was created and has not been closed since.
    writing: Vec<Part>,
    /// Until when svscan waits for the service, unless something changes.
    until: Instant,
    /// Until when svscan waits for the service at most.
    last: Instant,
}

/// All services that are still being made.
#[derive(Default)]
pub struct Incomplete {
    incomplete: HashMap<Id, IncompleteService>,
    watched: HashMap<WatchDescriptor, (Id, Part)>,
    /// The services that are still being made, ordered by the time until which svscan waits for them.
    waiting: BTreeSet<(Instant, Id)>,
    /// Entries that were made in place since the last look.
    made: HashSet<OsString>,
    /// Links and files that were just made, and when each is to be looked at, in this order.
    links: VecDeque<(Instant, OsString)>,
}

impl Incomplete {
    /// The kernel reports a change in the scan directory. Returns the entry, if svscan is to look at it now.
    pub fn entry_changed(&mut self, event: InotifyEvent, now: Instant) -> Option<OsString> {
        let name = event.name?;
        let created = event.mask.contains(AddWatchFlags::IN_CREATE);
        if created && event.mask.contains(AddWatchFlags::IN_ISDIR) {
            self.made.insert(name.clone());
        } else if created {
            self.links.push_back((now + BRIEF, name));
            return None;
        } else {
            self.made.remove(&name);
        }
        Some(name)
    }

    /// The links and files that are to be looked at now.
    pub fn entries(&mut self, now: Instant) -> Vec<OsString> {
        let due = self.links.iter().take_while(|(at, _)| *at <= now).count();
        self.links.drain(..due).map(|(_, name)| name).collect()
    }

    /// svscan has looked at all that has changed in the scan directory.
    pub fn looked(&mut self) {
        self.made.clear();
    }

    /// Whether a new service is still being made; if so, its directory is watched from now on.
    pub fn take(&mut self, id: Id, name: &OsStr, inotify: &Inotify, probe: &mut Probe, now: Instant) -> bool {
        let path = Path::new(name);
        if let Some(service) = self.incomplete.get_mut(&id) {
            let whole = service.path != path && service.writing.is_empty() && probe.completeness(path).is_complete;
            service.path = path.into();
            // Renamed because it is ready.
            if whole {
                self.forget(id, inotify);
            }
            return !whole;
        }
        let in_place = self.made.contains(name);
        if !in_place && probe.completeness(path).is_complete {
            return false;
        }
        let last = now + if in_place { PATIENCE } else { PATIENCE_ELSEWHERE };
        self.incomplete.insert(
            id,
            IncompleteService { path: path.into(), watches: Vec::new(), writing: Vec::new(), until: last, last },
        );
        self.waiting.insert((last, id));
        let watched = self.watch(id, Part::Service, inotify);
        self.watch(id, Part::Logger, inotify);
        // It may have become complete before it was watched.
        if !watched || (!in_place && probe.completeness(path).is_complete) {
            self.forget(id, inotify);
            return false;
        }
        self.reschedule(id, probe, now);
        true
    }

    fn watch(&mut self, id: Id, part: Part, inotify: &Inotify) -> bool {
        let changes = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_ONLYDIR;
        let Some(service) = self.incomplete.get_mut(&id) else { return false };
        let Ok(watch) = inotify.add_watch(&directory(&service.path, part), changes) else { return false };
        service.watches.push(watch);
        self.watched.insert(watch, (id, part));
        true
    }

    /// The kernel reports a change in a directory that may be a watched one.
    pub fn changed(&mut self, event: &InotifyEvent, inotify: &Inotify, probe: &mut Probe, now: Instant) {
        let Some((id, part)) = self.watched.get(&event.wd).copied() else { return };
        let Some(service) = self.incomplete.get_mut(&id) else { return };
        let created = event.mask.contains(AddWatchFlags::IN_CREATE);
        match event.name.as_deref().and_then(OsStr::to_str) {
            Some(RUN) if created && probe.is_new_file(&directory(&service.path, part).join(RUN)) => {
                service.writing.push(part)
            }
            Some(RUN) if event.mask.intersects(AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO) => {
                service.writing.retain(|writing| *writing != part);
            }
            Some(LOG) if created && part == Part::Service => drop(self.watch(id, Part::Logger, inotify)),
            _ => {}
        }
        self.reschedule(id, probe, now);
    }

    /// A service has just changed: sets anew how long svscan waits for it.
    fn reschedule(&mut self, id: Id, probe: &mut Probe, now: Instant) {
        let Some(service) = self.incomplete.get_mut(&id) else { return };
        let found = probe.completeness(&service.path);
        // A complete directory with a logger has all that it can have.
        let quiet = if found.has_logger { Duration::ZERO } else { QUIET };
        let until =
            if service.writing.is_empty() && found.is_complete { service.last.min(now + quiet) } else { service.last };
        self.waiting.remove(&(service.until, id));
        self.waiting.insert((until, id));
        service.until = until;
    }

    /// A service that svscan has waited for long enough.
    pub fn overdue(&self, now: Instant) -> Option<Id> {
        self.waiting.first().filter(|(until, _)| *until <= now).map(|(_, id)| *id)
    }

    /// When svscan has waited long enough for a service, or is to look at a link.
    pub fn deadline(&self) -> Option<Instant> {
        let service = self.waiting.first().map(|(until, _)| *until);
        service.into_iter().chain(self.links.front().map(|(at, _)| *at)).min()
    }

    /// svscan waits for this service no longer.
    pub fn forget(&mut self, id: Id, inotify: &Inotify) {
        let Some(service) = self.incomplete.remove(&id) else { return };
        self.waiting.remove(&(service.until, id));
        for watch in service.watches {
            self.watched.remove(&watch);
            // A directory that was removed took its watch with it.
            let _ = inotify.rm_watch(watch);
        }
    }
}

fn directory(service: &Path, part: Part) -> PathBuf {
    match part {
        Part::Service => service.into(),
        Part::Logger => service.join(LOG),
    }
}
