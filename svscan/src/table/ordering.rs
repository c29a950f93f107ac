//! Which service the table starts after which other, and stops before it: a name stands for the service that has it at
//! that time. No clock, no I/O.

use super::Table;
use super::parts::{Action, Id, Message};
use super::start_order::StartOrder;
use std::ffi::{OsStr, OsString};

impl Table {
    /// Puts a service before those that have its name `name` in their `after`.
    pub(super) fn put_before(&mut self, id: Id, name: &OsStr, todo: &mut Vec<Action>) {
        for later in self.order.services_naming(name).to_vec() {
            let name = name.to_os_string();
            let proper = self.order.put(later, id);
            let message = if proper { Message::AfterResolved(name) } else { Message::CyclicAfter(vec![name]) };
            todo.push(Action::Say(later, message));
        }
    }

    /// Puts a service after the services that have these names, and returns these services. All names with the same fault
    /// are in one message.
    pub(super) fn put_after(&mut self, id: Id, names: &[OsString], todo: &mut Vec<Action>) -> Vec<Id> {
        self.order.set_names(id, names);
        let (mut earlier, mut unknown, mut cyclic) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            match self.entries.get(name).map(|entry| entry.id).or_else(|| self.absent.named(name).last().copied()) {
                None => unknown.push(name.clone()),
                Some(other) if self.order.put(id, other) => {
                    todo.push(Action::Say(id, Message::AfterResolved(name.clone())));
                    earlier.push(other);
                }
                Some(_) => cyclic.push(name.clone()),
            }
        }
        if !unknown.is_empty() {
            todo.push(Action::Say(id, Message::UnknownAfter(unknown)));
        }
        if !cyclic.is_empty() {
            todo.push(Action::Say(id, Message::CyclicAfter(cyclic)));
        }
        earlier
    }

    /// All services that were inspected, in the sequence in which they were, and the names in the `after` of each.
    pub fn order(&self) -> Vec<(Id, Vec<OsString>)> {
        let inspected = self.services.iter().filter(|(_, service)| service.main.is_some());
        let mut ids: Vec<(usize, Id)> = inspected.map(|(id, service)| (service.number, *id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| (id, self.order.names(id).to_vec())).collect()
    }

    /// Replaces the order by this one, and looks up the names again.
    pub fn reorder(&mut self, order: &[(Id, Vec<OsString>)], todo: &mut Vec<Action>) {
        self.order = StartOrder::default();
        for (id, names) in order {
            self.put_after(*id, names, todo);
        }
    }
}
