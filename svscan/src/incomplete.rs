//! Service directories that are being made: started when they are complete, or when they have been
//! waited for long enough.
//!
//! Complete: `run` can be executed, and so can `log/run` if there is a `log` directory, and neither
//! is being written. A directory that was made elsewhere and moved or linked here is complete when
//! it is first seen; one that is made in place is watched. Nothing tells that it will have no `log`, so
//! without one it is left alone until nothing has changed in it for a moment. A link that was just made is not
//! even looked at for a shorter one: `ln -sf` makes it under another name, and renames it.

use crate::probe::Probe;
use crate::table::{Id, Part};
use nix::sys::inotify::{AddWatchFlags, Inotify, InotifyEvent, WatchDescriptor};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A directory that is not complete after so long is started as it is: supervise says what it lacks.
const PATIENCE: Duration = Duration::from_secs(5);
/// One in which nothing has changed for so long is not being made any more, if it is complete.
const QUIET: Duration = Duration::from_millis(100);
/// A link is looked at so long after it was made.
const BRIEF: Duration = Duration::from_millis(10);

struct Draft {
    path: PathBuf,
    watches: Vec<WatchDescriptor>,
    /// Directories in which `run` was created and has not been closed since.
    writing: Vec<Part>,
    /// Until when it is waited for, and at most.
    until: Instant,
    last: Instant,
}

/// All drafts.
#[derive(Default)]
pub struct Incomplete {
    incomplete: HashMap<Id, Draft>,
    watched: HashMap<WatchDescriptor, (Id, Part)>,
    /// Until when each is waited for.
    waiting: BTreeSet<(Instant, Id)>,
    /// Entries that were made in place since the last look.
    made: HashSet<OsString>,
    /// Links and files that were just made, and when each is to be looked at, in this order.
    links: VecDeque<(Instant, OsString)>,
}

impl Incomplete {
    /// A change in the scan directory; the entry, if it is to be looked at now.
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

    /// All that has changed in the scan directory was looked at.
    pub fn looked(&mut self) {
        self.made.clear();
    }

    /// Whether the directory is a draft; if so, it is watched from now on.
    pub fn take(&mut self, id: Id, name: &OsStr, inotify: &Inotify, probe: &mut Probe, now: Instant) -> bool {
        let path = Path::new(name);
        if let Some(draft) = self.incomplete.get_mut(&id) {
            let whole = draft.path != path && draft.writing.is_empty() && probe.completeness(path).is_complete;
            draft.path = path.into();
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
        let last = now + PATIENCE;
        self.incomplete
            .insert(id, Draft { path: path.into(), watches: Vec::new(), writing: Vec::new(), until: last, last });
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
        let Some(draft) = self.incomplete.get_mut(&id) else { return false };
        let Ok(watch) = inotify.add_watch(&directory(&draft.path, part), changes) else { return false };
        draft.watches.push(watch);
        self.watched.insert(watch, (id, part));
        true
    }

    /// A change in a directory that is watched.
    pub fn changed(&mut self, event: &InotifyEvent, inotify: &Inotify, probe: &mut Probe, now: Instant) {
        let Some((id, part)) = self.watched.get(&event.wd).copied() else { return };
        let Some(draft) = self.incomplete.get_mut(&id) else { return };
        let created = event.mask.contains(AddWatchFlags::IN_CREATE);
        match event.name.as_deref().and_then(OsStr::to_str) {
            Some("run") if created && probe.is_new_file(&directory(&draft.path, part).join("run")) => {
                draft.writing.push(part)
            }
            Some("run") if event.mask.intersects(AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO) => {
                draft.writing.retain(|writing| *writing != part);
            }
            Some("log") if created && part == Part::Service => drop(self.watch(id, Part::Logger, inotify)),
            _ => {}
        }
        self.reschedule(id, probe, now);
    }

    /// It has just changed: complete or not, that decides for how long it is waited for.
    fn reschedule(&mut self, id: Id, probe: &mut Probe, now: Instant) {
        let Some(draft) = self.incomplete.get_mut(&id) else { return };
        let found = probe.completeness(&draft.path);
        // With its logger it has all that is asked for but once.
        let quiet = if found.has_logger { Duration::ZERO } else { QUIET };
        let until =
            if draft.writing.is_empty() && found.is_complete { draft.last.min(now + quiet) } else { draft.last };
        self.waiting.remove(&(draft.until, id));
        self.waiting.insert((until, id));
        draft.until = until;
    }

    /// A draft that has been waited for long enough.
    pub fn overdue(&self, now: Instant) -> Option<Id> {
        self.waiting.first().filter(|(until, _)| *until <= now).map(|(_, id)| *id)
    }

    /// When the next one will have been, or an entry is to be looked at.
    pub fn deadline(&self) -> Option<Instant> {
        let draft = self.waiting.first().map(|(until, _)| *until);
        draft.into_iter().chain(self.links.front().map(|(at, _)| *at)).min()
    }

    /// It is no draft any more.
    pub fn forget(&mut self, id: Id, inotify: &Inotify) {
        let Some(draft) = self.incomplete.remove(&id) else { return };
        self.waiting.remove(&(draft.until, id));
        for watch in draft.watches {
            self.watched.remove(&watch);
            // A directory that was removed took its watch with it.
            let _ = inotify.rm_watch(watch);
        }
    }
}

fn directory(service: &Path, part: Part) -> PathBuf {
    match part {
        Part::Service => service.into(),
        Part::Logger => service.join("log"),
    }
}
