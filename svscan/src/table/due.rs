//! When supervises are to be started, and how many services at a time. No clock.
//!
//! A service takes a *place* when its supervise is started, and gives it back when it is ready, or is
//! not going to be for now; after a minute in any case, so that a few that hang do not keep all others
//! from starting. Loggers need no place: their service would wait for them with its own.

use super::{Id, Part, Post};
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// For so long a service that does not get ready keeps its place.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Supervises that are to be started.
#[derive(Debug, Default)]
pub struct Due {
    services: BTreeSet<(Instant, Post)>,
    loggers: BTreeSet<(Instant, Post)>,
    /// How many places there are; `None`: as many as are wanted.
    most: Option<usize>,
    /// Who has a place, and until when.
    places: HashMap<Id, Instant>,
}

impl Due {
    fn queue(&mut self, post: Post) -> &mut BTreeSet<(Instant, Post)> {
        match post.part {
            Part::Main => &mut self.services,
            Part::Log => &mut self.loggers,
        }
    }

    /// It is to be started at this time.
    pub fn insert(&mut self, at: Instant, post: Post) {
        self.queue(post).insert((at, post));
    }

    /// It is not to be started at this time.
    pub fn remove(&mut self, at: Instant, post: Post) {
        self.queue(post).remove(&(at, post));
    }

    /// So many services may start at a time.
    pub fn limit(&mut self, most: Option<usize>) {
        self.most = most;
        if most.is_none() {
            self.places.clear();
        }
    }

    /// Up to `limit` of those to be started now that have a place, earliest first. They stay until
    /// they are removed.
    pub fn ripe(&mut self, now: Instant, limit: usize) -> Vec<(Instant, Post)> {
        self.places.retain(|_, until| *until > now);
        let free = self.most.map_or(limit, |most| most.saturating_sub(self.places.len()).min(limit));
        let ripe = |queue: &BTreeSet<(Instant, Post)>, most| -> Vec<(Instant, Post)> {
            queue.iter().take_while(|(at, _)| *at <= now).take(most).copied().collect()
        };
        let mut ripe = [ripe(&self.services, free), ripe(&self.loggers, limit)].concat();
        ripe.sort_unstable();
        ripe.truncate(limit);
        if self.most.is_some() {
            let services = ripe.iter().filter(|(_, post)| post.part == Part::Main);
            self.places.extend(services.map(|(_, post)| (post.id, now + PATIENCE)));
        }
        ripe
    }

    /// It needs its place no longer.
    pub fn leave(&mut self, id: Id) {
        self.places.remove(&id);
    }

    /// Whether it has a place.
    pub fn has_place(&self, id: Id) -> bool {
        self.places.contains_key(&id)
    }

    /// When there is something to be started, or a place becomes free for it.
    pub fn deadline(&self) -> Option<Instant> {
        let first = |queue: &BTreeSet<(Instant, Post)>| queue.first().map(|(at, _)| *at);
        let full = self.most.is_some_and(|most| self.places.len() >= most);
        let free = if full { self.places.values().min().copied() } else { None };
        let service = first(&self.services).map(|at| free.map_or(at, |free| at.max(free)));
        service.into_iter().chain(first(&self.loggers)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(inode: u64, part: Part) -> Post {
        Post { id: Id { device: 1, inode }, part }
    }

    fn taken(due: &mut Due, now: Instant, limit: usize) -> Vec<u64> {
        let ripe = due.ripe(now, limit);
        ripe.iter().for_each(|(at, post)| due.remove(*at, *post));
        ripe.iter().map(|(_, post)| post.id.inode).collect()
    }

    #[test]
    fn without_a_limit_all_are_ripe_at_their_time() {
        let (mut due, now) = (Due::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        for (at, inode, part) in [(later, 1, Part::Main), (now, 2, Part::Main), (now, 2, Part::Log)] {
            due.insert(at, post(inode, part));
        }
        assert_eq!((due.deadline(), taken(&mut due, now, 9)), (Some(now), vec![2, 2]));
        assert_eq!((due.deadline(), taken(&mut due, now, 9)), (Some(later), vec![]));
        assert_eq!((taken(&mut due, later, 9), due.deadline()), (vec![1], None));
    }

    #[test]
    fn a_place_is_waited_for_and_loggers_need_none() {
        let (mut due, now) = (Due::default(), Instant::now());
        due.limit(Some(2));
        for inode in 1..=5 {
            due.insert(now, post(inode, Part::Main));
        }
        assert_eq!(taken(&mut due, now, 9), [1, 2]);
        assert_eq!((taken(&mut due, now, 9), due.deadline()), (vec![], Some(now + PATIENCE)));
        due.insert(now, post(3, Part::Log));
        assert_eq!((due.deadline(), taken(&mut due, now, 9)), (Some(now), vec![3]));
        due.leave(post(2, Part::Main).id);
        assert_eq!((due.deadline(), taken(&mut due, now, 9)), (Some(now), vec![3]));
        assert_eq!(taken(&mut due, now + PATIENCE, 9), [4, 5], "the first two had their time");
        assert_eq!(due.deadline(), None);
    }

    #[test]
    fn a_limit_may_be_lifted() {
        let (mut due, now) = (Due::default(), Instant::now());
        due.limit(Some(1));
        for inode in 1..=3 {
            due.insert(now, post(inode, Part::Main));
        }
        assert_eq!(taken(&mut due, now, 9), [1]);
        due.limit(None);
        assert_eq!(taken(&mut due, now, 9), [2, 3]);
    }
}
