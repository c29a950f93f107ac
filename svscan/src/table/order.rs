//! Which service starts after which, and stops before it. Never has a cycle. Services are named, and a name is that of
//! whatever service has it.

use super::Table;
use super::parts::{Action, Id, Remark};
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};

/// What each service comes after, and the other way round.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The names that a service comes after, and the other way round, whether or not they are services' now.
    names: HashMap<Id, Vec<OsString>>,
    naming: HashMap<OsString, Vec<Id>>,
    after: HashMap<Id, Vec<Id>>,
    dependents: HashMap<Id, Vec<Id>>,
}

impl Order {
    /// `id` comes after the services that have these names, or will have.
    pub fn name(&mut self, id: Id, names: &[OsString]) {
        if names.is_empty() {
            return;
        }
        for name in names {
            self.naming.entry(name.clone()).or_default().push(id);
        }
        self.names.insert(id, names.to_vec());
    }

    /// The names that `id` comes after.
    pub fn names(&self, id: Id) -> &[OsString] {
        self.names.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Who comes after the service of this name.
    pub fn naming(&self, name: &OsStr) -> &[Id] {
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

impl Table {
    /// This service has a name that others may come after.
    pub(super) fn put_before(&mut self, id: Id, name: &OsStr, todo: &mut Vec<Action>) {
        for later in self.order.naming(name).to_vec() {
            let name = name.to_os_string();
            let proper = self.order.put(later, id);
            let remark = if proper { Remark::ProperAfter(name) } else { Remark::CyclicAfter(vec![name]) };
            todo.push(Action::Say(later, remark));
        }
    }

    /// Puts a service after those of these names; returns the services that have them. What is wrong with some of the
    /// names is one remark, however many they are.
    pub(super) fn put_after(&mut self, id: Id, names: &[OsString], todo: &mut Vec<Action>) -> Vec<Id> {
        self.order.name(id, names);
        let (mut earlier, mut unknown, mut cyclic) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            match self.entries.get(name).map(|entry| entry.id).or_else(|| self.absent.named(name).last().copied()) {
                None => unknown.push(name.clone()),
                Some(other) if self.order.put(id, other) => {
                    todo.push(Action::Say(id, Remark::ProperAfter(name.clone())));
                    earlier.push(other);
                }
                Some(_) => cyclic.push(name.clone()),
            }
        }
        if !unknown.is_empty() {
            todo.push(Action::Say(id, Remark::UnknownAfter(unknown)));
        }
        if !cyclic.is_empty() {
            todo.push(Action::Say(id, Remark::CyclicAfter(cyclic)));
        }
        earlier
    }

    /// All services that were inspected, in that order, and the names they come after, as far as is known.
    pub fn order(&self) -> Vec<(Id, Vec<OsString>)> {
        let inspected = self.services.iter().filter(|(_, service)| service.main.is_some());
        let mut ids: Vec<(usize, Id)> = inspected.map(|(id, service)| (service.number, *id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| (id, self.order.names(id).to_vec())).collect()
    }

    /// This is the order now. Names are looked up anew.
    pub fn reorder(&mut self, order: &[(Id, Vec<OsString>)], todo: &mut Vec<Action>) {
        self.order = Order::default();
        for (id, names) in order {
            self.put_after(*id, names, todo);
        }
    }
}

/// Removes a service from a list, and the list too if it is empty then.
fn take_out<K: std::hash::Hash + Eq>(lists: &mut HashMap<K, Vec<Id>>, of: &K, id: Id) {
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
        let mut order = Order::default();
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
    fn what_is_removed_orders_nobody() {
        let mut order = Order::default();
        assert!(order.put(id(2), id(1)) && order.put(id(3), id(2)));
        order.name(id(2), &["a".into(), "b".into()]);
        assert_eq!((order.naming("a".as_ref()), order.names(id(2)).len()), (&[id(2)][..], 2));
        order.remove(id(2));
        assert!(order.after(id(3)).is_empty() && order.dependents(id(1)).is_empty());
        assert!(order.naming("a".as_ref()).is_empty() && order.names(id(2)).is_empty());
        assert!(order.put(id(1), id(3)));
    }
}
