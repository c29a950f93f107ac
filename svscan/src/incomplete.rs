//! Service directories that are still being made. svscan starts their supervise when they are complete, or when it has waited
//! long enough.
//!
//! A directory is complete when `run` can be executed, or it is that of a state (`abstract`, and no `run`), and so can `log/run` if there is a directory `log`, and neither file
//! is being written. It is complete too when a supervise is in charge of it or of its `log` already: svscan must know of
//! that supervise at a stop. A directory that was made elsewhere, and moved or linked here, is usually complete when svscan
//! first sees it. svscan watches a directory that is made in place. If such a directory has no `log`, a user may still add
//! one, so svscan waits until nothing has changed in the directory for a moment. svscan looks at a new link only after a
//! shorter moment, because `ln -sf` makes a link under another name first, and then renames it.

use crate::look::WatchedPlace;
use crate::probe::Probe;
use crate::table::{Id, Part};
use daemontools::service::{LOG, RUN};
use daemontools::sys::inotify::remove_watch;
use nix::sys::inotify::{AddWatchFlags, Inotify, InotifyEvent};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// After this time, svscan starts the supervise of an incomplete directory all the same, which says what is missing.
const PATIENCE: Duration = Duration::from_secs(5);
/// After this time, svscan starts the supervise of an incomplete directory that was made elsewhere. It is shorter, because a
/// user who links a directory has mostly finished it, and waits for an answer.
const PATIENCE_ELSEWHERE: Duration = Duration::from_secs(1);
/// A complete directory in which nothing has changed for this time is not being made any more.
const QUIET: Duration = Duration::from_millis(100);
/// svscan looks at a new link this time after it was made.
const BRIEF: Duration = Duration::from_millis(10);

/// A service that is still being made.
struct IncompleteService {
    /// The entry that leads to the service.
    path: PathBuf,
    /// The kernel's watches of its directory and of its `log`.
    watches: Vec<i32>,
    /// The parts whose `run` was created and has not been closed since.
    writing: Vec<Part>,
    /// The time until which svscan waits for the service, unless something changes.
    until: Instant,
    /// The time until which svscan waits for the service at most.
    last: Instant,
}

/// All services that are still being made.
#[derive(Default)]
pub struct IncompleteServices {
    services: HashMap<Id, IncompleteService>,
    watched: HashMap<i32, (Id, Part)>,
    /// The services that are still being made, ordered by the time until which svscan waits for them.
    waiting: BTreeSet<(Instant, Id)>,
    /// The entries that were made in place since svscan last looked at the changes.
    made: HashSet<OsString>,
    /// Links and files that were just made, each with the time at which svscan is to look at it, earliest first.
    links: VecDeque<(Instant, OsString)>,
}

impl IncompleteServices {
    /// Takes in that the kernel reports a change in the scan directory. Returns the entry, if svscan is to look at it
    /// now.
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

    /// The new links and files at which svscan is to look now.
    pub fn entries(&mut self, now: Instant) -> Vec<OsString> {
        let due = self.links.iter().take_while(|(at, _)| *at <= now).count();
        self.links.drain(..due).map(|(_, name)| name).collect()
    }

    /// Takes in that svscan has looked at all that has changed in the scan directory.
    pub fn looked(&mut self) {
        self.made.clear();
    }

    /// Whether a new service is still being made; if so, its directory is watched from now on.
    pub fn take(&mut self, id: Id, name: &OsStr, inotify: &Inotify, probe: &mut Probe, now: Instant) -> bool {
        let path = Path::new(name);
        if let Some(service) = self.services.get_mut(&id) {
            let whole = service.path != path && service.writing.is_empty() && probe.completeness(path).is_complete;
            service.path = path.into();
            // The user has renamed the directory, because it is ready.
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
        self.services.insert(
            id,
            IncompleteService { path: path.into(), watches: Vec::new(), writing: Vec::new(), until: last, last },
        );
        self.waiting.insert((last, id));
        let watched = self.watch(id, Part::Service, probe);
        self.watch(id, Part::Logger, probe);
        // The directory may have become complete before svscan watched it.
        if !watched || (!in_place && probe.completeness(path).is_complete) {
            self.forget(id, inotify);
            return false;
        }
        self.reschedule(id, probe, now);
        true
    }

    fn watch(&mut self, id: Id, part: Part, probe: &mut Probe) -> bool {
        let changes = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_ONLYDIR;
        let Some(service) = self.services.get_mut(&id) else { return false };
        let path = directory(&service.path, part);
        let Ok(watch) = probe.watch(WatchedPlace::Itself(path), changes) else { return false };
        service.watches.push(watch);
        self.watched.insert(watch, (id, part));
        true
    }

    /// Takes in that the kernel reports a change in a directory, which may be one that is watched.
    pub fn changed(&mut self, event: &InotifyEvent, probe: &mut Probe, now: Instant) {
        let Some((id, part)) = self.watched.get(&event.wd.as_raw()).copied() else { return };
        let Some(service) = self.services.get_mut(&id) else { return };
        let created = event.mask.contains(AddWatchFlags::IN_CREATE);
        match event.name.as_deref().and_then(OsStr::to_str) {
            Some(RUN) if created && probe.is_new_file(&directory(&service.path, part).join(RUN)) => {
                service.writing.push(part)
            }
            Some(RUN) if event.mask.intersects(AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO) => {
                service.writing.retain(|writing| *writing != part);
            }
            Some(LOG) if created && part == Part::Service => drop(self.watch(id, Part::Logger, probe)),
            _ => {}
        }
        self.reschedule(id, probe, now);
    }

    /// Sets anew how long svscan waits for a service that has just changed.
    fn reschedule(&mut self, id: Id, probe: &mut Probe, now: Instant) {
        let Some(service) = self.services.get_mut(&id) else { return };
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

    /// Ends the wait for this service.
    pub fn forget(&mut self, id: Id, inotify: &Inotify) {
        let Some(service) = self.services.remove(&id) else { return };
        self.waiting.remove(&(service.until, id));
        for watch in service.watches {
            self.watched.remove(&watch);
            // A directory that was removed took its watch with it.
            let _ = remove_watch(inotify, watch);
        }
    }
}

fn directory(service: &Path, part: Part) -> PathBuf {
    match part {
        Part::Service => service.into(),
        Part::Logger => service.join(LOG),
    }
}
