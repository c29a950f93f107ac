//! Services that wait for other services before their first start. No clock, no I/O.

use super::{Action, Id, Message, Table};
use std::time::Instant;

impl Table {
    /// Stops the services that had this service's name before and are still up. Returns those that are not down at once: the
    /// service has to wait for these.
    pub(super) fn stop_replaced(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) -> Vec<Id> {
        let Some(name) = self.name(id) else { return Vec::new() };
        let mut replaced = self.absent.named(name).to_vec();
        if !replaced.is_empty() {
            todo.push(Action::Say(id, Message::Replaces));
        }
        replaced.iter().for_each(|before| self.stop(*before, now, todo));
        replaced.retain(|before| self.is_stopping(*before));
        replaced
    }

    /// Has the service `id` wait for the service `by` before its first start.
    pub(super) fn block(&mut self, id: Id, by: Id) {
        if let Some(service) = self.services.get_mut(&id) {
            service.blocked_by.push(by);
            self.blocking.entry(by).or_default().push(id);
        }
    }

    /// Takes in that the service `by` is ready, or gone, and blocks no other service any more.
    pub(super) fn unblock(&mut self, by: Id, now: Instant) {
        for id in self.blocking.remove(&by).unwrap_or_default() {
            if let Some(service) = self.services.get_mut(&id) {
                service.blocked_by.retain(|holder| *holder != by);
                self.schedule_idle(id, now);
            }
        }
    }

    /// Whether other services wait for this one.
    pub(super) fn is_awaited(&self, id: Id) -> bool {
        self.blocking.contains_key(&id)
    }
}
