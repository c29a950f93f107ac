//! When supervises are to be started, and how many services at a time. No clock.
//!
//! A service takes a *slot* when its supervise is started, and frees it when the service is ready, or is not going to be for
//! now; after a minute in any case, so that a few services that hang do not keep all others from starting. Loggers need no
//! slot: the service would hold its own slot while it waits for its logger. Nor does a supervise that follows one which has
//! been killed, or that is to take over a process: the service has had its slot, and must not be without a supervise.

use super::parts::{Id, SuperviseId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long a service that does not get ready keeps its slot.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Supervises that are to be started.
#[derive(Debug, Clone, Default)]
pub struct StartQueue {
    /// Those that begin a service which does not run yet, and need a slot.
    first: BTreeSet<(Instant, SuperviseId)>,
    /// Those that need none.
    others: BTreeSet<(Instant, SuperviseId)>,
    /// How many slots there are; `None`: as many as are wanted.
    most: Option<usize>,
    /// The services that have a slot, and until when.
    slots: BTreeMap<Id, Instant>,
}

impl StartQueue {
    /// Adds a supervise that is to be started at this time. If `takes_slot`, it begins a service that does not run yet.
    pub fn insert(&mut self, at: Instant, which: SuperviseId, takes_slot: bool) {
        let queue = if takes_slot { &mut self.first } else { &mut self.others };
        queue.insert((at, which));
    }

    /// Removes a supervise that was to be started at this time.
    pub fn remove(&mut self, at: Instant, which: SuperviseId) {
        self.first.remove(&(at, which));
        self.others.remove(&(at, which));
    }

    /// Limits how many services may start at a time; `None`: all of them.
    pub fn limit(&mut self, most: Option<usize>) {
        self.most = most;
        if most.is_none() {
            self.slots.clear();
        }
    }

    /// Up to `limit` supervises that are to be started now, earliest first; the services among them take their slots. They
    /// stay in the queue until they are removed.
    pub fn take_due(&mut self, now: Instant, limit: usize) -> Vec<(Instant, SuperviseId)> {
        self.slots.retain(|_, until| *until > now);
        let free = self.most.map_or(limit, |most| most.saturating_sub(self.slots.len()).min(limit));
        let due = |queue: &BTreeSet<(Instant, SuperviseId)>, most| -> Vec<(Instant, SuperviseId)> {
            queue.iter().take_while(|(at, _)| *at <= now).take(most).copied().collect()
        };
        let first = due(&self.first, free);
        let mut due = [first.as_slice(), &due(&self.others, limit)].concat();
        due.sort_unstable();
        due.truncate(limit);
        if self.most.is_some() {
            let begins = due.iter().filter(|due| first.contains(due));
            self.slots.extend(begins.map(|(_, which)| (which.id, now + PATIENCE)));
        }
        due
    }

    /// Frees the slot of a service that does not need it any more.
    pub fn free_slot(&mut self, id: Id) {
        self.slots.remove(&id);
    }

    /// Whether the service has a slot.
    pub fn has_slot(&self, id: Id) -> bool {
        self.slots.contains_key(&id)
    }

    /// When a supervise is to be started, or a slot becomes free for it.
    pub fn deadline(&self) -> Option<Instant> {
        let first = |queue: &BTreeSet<(Instant, SuperviseId)>| queue.first().map(|(at, _)| *at);
        let full = self.most.is_some_and(|most| self.slots.len() >= most);
        let free = if full { self.slots.values().min().copied() } else { None };
        let service = first(&self.first).map(|at| free.map_or(at, |free| at.max(free)));
        service.into_iter().chain(first(&self.others)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Part;

    fn which(inode: u64, part: Part) -> SuperviseId {
        SuperviseId { id: Id { device: 1, inode }, part }
    }

    fn taken(due: &mut StartQueue, now: Instant, limit: usize) -> Vec<u64> {
        let taken = due.take_due(now, limit);
        taken.iter().for_each(|(at, which)| due.remove(*at, *which));
        taken.iter().map(|(_, which)| which.id.inode).collect()
    }

    #[test]
    fn without_a_limit_all_are_due_at_their_time() {
        let (mut due, now) = (StartQueue::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        for (at, inode, part) in [(later, 1, Part::Service), (now, 2, Part::Service), (now, 2, Part::Logger)] {
            due.insert(at, which(inode, part), part == Part::Service);
        }
        assert_eq!((due.deadline(), taken(&mut due, now, 9)), (Some(now), vec![2, 2]));
        assert_eq!((due.deadline(), taken(&mut due, now, 9)), (Some(later), vec![]));
        assert_eq!((taken(&mut due, later, 9), due.deadline()), (vec![1], None));
    }

    #[test]
    fn a_slot_is_waited_for_and_some_need_none() {
        let (mut due, now) = (StartQueue::default(), Instant::now());
        due.limit(Some(2));
        for inode in 1..=5 {
            due.insert(now, which(inode, Part::Service), true);
        }
        assert_eq!(taken(&mut due, now, 9), [1, 2]);
        assert_eq!((taken(&mut due, now, 9), due.deadline()), (vec![], Some(now + PATIENCE)));
        due.insert(now, which(3, Part::Logger), false);
        assert_eq!((due.deadline(), taken(&mut due, now, 9)), (Some(now), vec![3]));
        // The supervise of a service that has its slot was killed.
        due.insert(now, which(1, Part::Service), false);
        assert_eq!((due.deadline(), taken(&mut due, now, 9)), (Some(now), vec![1]));
        due.free_slot(which(2, Part::Service).id);
        assert_eq!((due.deadline(), taken(&mut due, now, 9)), (Some(now), vec![3]));
        assert_eq!(taken(&mut due, now + PATIENCE, 9), [4, 5], "the first two had their time");
        assert_eq!(due.deadline(), None);
    }

    #[test]
    fn a_limit_may_be_lifted() {
        let (mut due, now) = (StartQueue::default(), Instant::now());
        due.limit(Some(1));
        for inode in 1..=3 {
            due.insert(now, which(inode, Part::Service), true);
        }
        assert_eq!(taken(&mut due, now, 9), [1]);
        due.limit(None);
        assert_eq!(taken(&mut due, now, 9), [2, 3]);
    }
}
