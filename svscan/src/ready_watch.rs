//! Services whose state is heeded: those that others wait for, and those that are essential. The kernel
//! tells when their supervise writes a new state; where it cannot, they are asked. Nobody is before it has a supervise.

use crate::table::Id;
use daemontools::service::Place;
use nix::sys::inotify::{AddWatchFlags, Inotify, WatchDescriptor};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Between two questions, at first and at last.
const SOON: Duration = Duration::from_millis(1);
const LATE: Duration = Duration::from_millis(320);
/// Between two questions where the kernel tells of a new state: supervise may be unable to write one, and have written its
/// page only.
const SELDOM: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Heeded {
    watch: Option<WatchDescriptor>,
    /// When to ask next, and how long to wait after that.
    ask: Option<(Instant, Duration)>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct ReadyWatch {
    heeded: HashMap<Id, Heeded>,
    watched: HashMap<WatchDescriptor, Id>,
}

impl ReadyWatch {
    /// From now on, or anew: there is a new supervise, or somebody else who waits.
    pub fn begin(&mut self, id: Id, now: Instant) {
        self.heeded.entry(id).or_default().ask = Some((now, SOON));
    }

    /// No longer.
    pub fn end(&mut self, id: Id, inotify: Option<&Inotify>) {
        let Some(watch) = self.heeded.remove(&id).and_then(|heeded| heeded.watch) else { return };
        self.watched.remove(&watch);
        let _ = inotify.map(|inotify| inotify.rm_watch(watch));
    }

    /// Whether anybody is heeded.
    pub fn is_empty(&self) -> bool {
        self.heeded.is_empty()
    }

    /// The service whose state a watch is about.
    pub fn told(&self, watch: WatchDescriptor) -> Option<Id> {
        self.watched.get(&watch).copied()
    }

    /// Those to be asked now. They are watched as soon as there is something to watch.
    pub fn ask(
        &mut self,
        now: Instant,
        inotify: Option<&Inotify>,
        mut folder: impl FnMut(Id) -> Option<PathBuf>,
    ) -> Vec<Id> {
        let mut due = Vec::new();
        for (id, heeded) in &mut self.heeded {
            let Some((at, wait)) = heeded.ask.filter(|(at, _)| *at <= now) else { continue };
            heeded.ask = Some((at.max(now) + wait, LATE.max(wait).min(wait * 2)));
            let place = folder(*id).and_then(|folder| Place::of(&folder).ok());
            let add = |inotify: &Inotify| inotify.add_watch(place?.directory(), AddWatchFlags::IN_MOVED_TO).ok();
            if let Some(watch) = inotify.and_then(add) {
                heeded.ask = Some((now + SELDOM, SELDOM));
                self.watched.insert(watch, *id);
                // Another one if the directory was made anew: the one before went with it.
                if let Some(before) = heeded.watch.replace(watch).filter(|before| *before != watch) {
                    self.watched.remove(&before);
                }
            }
            due.push(*id);
        }
        due
    }

    /// When somebody is to be asked next.
    pub fn deadline(&self) -> Option<Instant> {
        self.heeded.values().filter_map(|heeded| heeded.ask).map(|(at, _)| at).min()
    }
}
