//! Which service starts after which, and stops before it. Never has a cycle.

use super::Id;
use std::collections::HashMap;

/// What each service comes after, and the other way round.
#[derive(Debug, Default)]
pub struct Order {
    after: HashMap<Id, Vec<Id>>,
    dependents: HashMap<Id, Vec<Id>>,
}

impl Order {
    /// Puts `later` after `earlier`; returns false, and does nothing, if it is before it already.
    pub fn put(&mut self, later: Id, earlier: Id) -> bool {
        if self.leads(earlier, later) {
            return false;
        }
        self.after.entry(later).or_default().push(earlier);
        self.dependents.entry(earlier).or_default().push(later);
        true
    }

    /// Whether `from` is `to`, or comes after it by any number of steps.
    fn leads(&self, from: Id, to: Id) -> bool {
        let mut found = vec![from];
        let mut next = 0;
        while let Some(id) = found.get(next).copied() {
            if id == to {
                return true;
            }
            next += 1;
            for earlier in self.after(id) {
                if !found.contains(earlier) {
                    found.push(*earlier);
                }
            }
        }
        false
    }

    /// What `id` comes after.
    pub fn after(&self, id: Id) -> &[Id] {
        self.after.get(&id).map_or(&[], Vec::as_slice)
    }

    /// What comes after `id`.
    pub fn dependents(&self, id: Id) -> &[Id] {
        self.dependents.get(&id).map_or(&[], Vec::as_slice)
    }

    /// `id` is gone.
    pub fn remove(&mut self, id: Id) {
        for earlier in self.after.remove(&id).unwrap_or_default() {
            if let Some(dependents) = self.dependents.get_mut(&earlier) {
                dependents.retain(|dependent| *dependent != id);
            }
        }
        for later in self.dependents.remove(&id).unwrap_or_default() {
            if let Some(after) = self.after.get_mut(&later) {
                after.retain(|earlier| *earlier != id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(inode: u64) -> Id {
        Id { device: 1, inode }
    }

    #[test]
    fn a_cycle_of_any_length_is_refused_and_nothing_else() {
        let mut order = Order::default();
        assert!(order.put(id(2), id(1)));
        assert!(order.put(id(3), id(2)));
        assert!(order.put(id(3), id(1)));
        assert!(!order.put(id(1), id(3)));
        assert!(!order.put(id(1), id(1)));
        assert_eq!((order.after(id(3)), order.dependents(id(1))), (&[id(2), id(1)][..], &[id(2), id(3)][..]));
        assert_eq!(order.after(id(1)), []);
    }

    #[test]
    fn what_is_removed_orders_nobody() {
        let mut order = Order::default();
        assert!(order.put(id(2), id(1)) && order.put(id(3), id(2)));
        order.remove(id(2));
        assert!(order.after(id(3)).is_empty() && order.dependents(id(1)).is_empty());
        assert!(order.put(id(1), id(3)));
    }
}
