//! The services whose state svscan watches: those that others wait for, and those that are essential. The kernel tells when
//! their supervise writes a new state; where it cannot, svscan looks from time to time. svscan watches a service only once
//! its supervise runs.

use crate::table::Id;
use daemontools::sys::inotify::remove_watch;
use nix::sys::inotify::Inotify;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The time between the first two looks at a service. It is doubled after each look.
const SOON: Duration = Duration::from_millis(1);
/// The longest time between two looks at a service that the kernel does not watch.
const LATE: Duration = Duration::from_millis(320);
/// The time between two looks at a service that the kernel watches. svscan looks all the same, because the supervise may have
/// been unable to write the file, and have written its page only.
const SELDOM: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Watched {
    watch: Option<i32>,
    /// When to look next, and how long to wait after that.
    next: Option<(Instant, Duration)>,
}

/// All watched services.
#[derive(Debug, Default)]
pub struct ReadyWatch {
    services: HashMap<Id, Watched>,
    watches: HashMap<i32, Id>,
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
        let _ = inotify.map(|inotify| remove_watch(inotify, watch));
    }

    /// The service that the kernel's report is about.
    pub fn reported(&self, watch: i32) -> Option<Id> {
        self.watches.get(&watch).copied()
    }

    /// The services that are to be looked at now, though nothing was reported of them. The kernel watches them as soon as
    /// there is something to watch, which `watch` lets it do.
    pub fn due(&mut self, now: Instant, mut watch: impl FnMut(Id) -> Option<i32>) -> Vec<Id> {
        let mut due = Vec::new();
        for (id, service) in &mut self.services {
            let Some((at, wait)) = service.next.filter(|(at, _)| *at <= now) else { continue };
            service.next = Some((at.max(now) + wait, LATE.max(wait).min(wait * 2)));
            if let Some(watch) = watch(*id) {
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
