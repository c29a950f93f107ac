//! Which service starts after which other, and stops before it. The order never has a cycle. No I/O.

use super::parts::Id;
use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};

/// For each service, the services that start before it and those that start after it.
#[derive(Debug, Clone, Default)]
pub struct StartOrder {
    /// For each service, the names in its `after`; and for each name, the services whose `after` has it. A name need not be
    /// that of a service now.
    names: BTreeMap<Id, Vec<OsString>>,
    naming: BTreeMap<OsString, Vec<Id>>,
    after: BTreeMap<Id, Vec<Id>>,
    dependents: BTreeMap<Id, Vec<Id>>,
}

impl StartOrder {
    /// Notes the names in the `after` of the service `id`, which starts after the services that have these names now,
    /// or will have them.
    pub fn set_names(&mut self, id: Id, names: &[OsString]) {
        if names.is_empty() {
            return;
        }
        for name in names {
            self.naming.entry(name.clone()).or_default().push(id);
        }
        self.names.insert(id, names.to_vec());
    }

    /// The names in the `after` of the service `id`.
    pub fn names(&self, id: Id) -> &[OsString] {
        self.names.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The services whose `after` has this name.
    pub fn services_naming(&self, name: &OsStr) -> &[Id] {
        self.naming.get(name).map_or(&[], Vec::as_slice)
    }

    /// Puts `later` after `earlier`; returns false, and does nothing, if it is before it already.
    pub fn put(&mut self, later: Id, earlier: Id) -> bool {
        if self.after(later).contains(&earlier) {
            return true;
        }
        if self.leads(earlier, later) {
            return false;
        }
        self.after.entry(later).or_default().push(earlier);
        self.dependents.entry(earlier).or_default().push(later);
        true
    }

    /// Whether `from` is `to`, or comes after it by any number of steps.
    fn leads(&self, from: Id, to: Id) -> bool {
        if self.dependents(to).is_empty() {
            return from == to;
        }
        let (mut found, mut next) = (HashSet::from([from]), vec![from]);
        while let Some(id) = next.pop() {
            if id == to {
                return true;
            }
            next.extend(self.after(id).iter().copied().filter(|earlier| found.insert(*earlier)));
        }
        false
    }

    /// The services that `id` comes after.
    pub fn after(&self, id: Id) -> &[Id] {
        self.after.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The services that come after `id`.
    pub fn dependents(&self, id: Id) -> &[Id] {
        self.dependents.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Forgets the service `id`, which is gone.
    pub fn remove(&mut self, id: Id) {
        for name in self.names.remove(&id).unwrap_or_default() {
            take_out(&mut self.naming, &name, id);
        }
        for earlier in self.after.remove(&id).unwrap_or_default() {
            take_out(&mut self.dependents, &earlier, id);
        }
        for later in self.dependents.remove(&id).unwrap_or_default() {
            take_out(&mut self.after, &later, id);
        }
    }
}

/// Removes a service from a list, and the list too if it is empty then.
fn take_out<K: Ord>(lists: &mut BTreeMap<K, Vec<Id>>, of: &K, id: Id) {
    if let Some(list) = lists.get_mut(of) {
        list.retain(|known| *known != id);
        if list.is_empty() {
            lists.remove(of);
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
        let mut order = StartOrder::default();
        assert!(order.put(id(2), id(1)));
        assert!(order.put(id(3), id(2)));
        assert!(order.put(id(3), id(1)));
        assert!(!order.put(id(1), id(3)));
        assert!(!order.put(id(1), id(1)));
        assert!(order.put(id(3), id(2)), "as it is already");
        assert_eq!((order.after(id(3)), order.dependents(id(1))), (&[id(2), id(1)][..], &[id(2), id(3)][..]));
        assert_eq!(order.after(id(1)), []);
    }

    #[test]
    fn a_removed_service_is_in_no_order_any_more() {
        let mut order = StartOrder::default();
        assert!(order.put(id(2), id(1)) && order.put(id(3), id(2)));
        order.set_names(id(2), &["a".into(), "b".into()]);
        assert_eq!((order.services_naming("a".as_ref()), order.names(id(2)).len()), (&[id(2)][..], 2));
        order.remove(id(2));
        assert!(order.after(id(3)).is_empty() && order.dependents(id(1)).is_empty());
        assert!(order.services_naming("a".as_ref()).is_empty() && order.names(id(2)).is_empty());
        assert!(order.put(id(1), id(3)));
    }
}
