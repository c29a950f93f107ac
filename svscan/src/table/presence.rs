//! Services that have an entry, and services that have lost theirs. No clock, no I/O.

use super::Table;
use super::parts::{Action, Id, Leftover, Message, OnRemove, both};
use super::supervise::SuperviseState;
use std::time::Instant;

impl Table {
    /// Decides about a service that has an entry, after its entries have changed. If the service is new, svscan is to
    /// inspect it; otherwise the service is wanted.
    pub(super) fn settle_present(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(&id) else { return };
        if self.absent.remove(&service.name, id) {
            service.reads_on = false;
            todo.push(Action::ReleaseDirectory(id));
        }
        if let [name, others @ ..] = service.names.as_slice() {
            service.name.clone_from(name);
            todo.extend(others.last().map(|other| Action::Say(id, Message::SameAs(other.clone()))));
        }
        let is_new = std::mem::take(&mut service.inherited) || service.main.is_none();
        let names = service.names.clone();
        for name in &names {
            self.put_before(id, name, todo);
        }
        if !is_new {
            self.stop_replaced(id, now, todo);
            self.schedule_idle(id, now);
        } else if !self.stopping_all {
            todo.push(Action::Inspect(id));
        }
    }

    /// Decides about a service that has no entry. svscan starts nothing more of it except the logger that reads its
    /// lines, and forgets the service once none of its supervises is up. `left` is what its own supervise has left, if
    /// that has ended just now.
    pub(super) fn settle_absent(&mut self, id: Id, left: Leftover, now: Instant, todo: &mut Vec<Action>) {
        let [main, log] = both(id);
        // svscan starts a supervise all the same that is to stop what the supervise before it has left.
        let is_due =
            |table: &Table, which| matches!(table.state(which), Some(SuperviseState::Due(_))) && !table.is_stopping(id);
        if is_due(self, main) {
            self.set(main, SuperviseState::Idle);
        }
        let reads_on = is_due(self, log) && self.is_busy(main);
        if is_due(self, log) && !reads_on {
            self.set(log, SuperviseState::Idle);
        }
        let has_lines = left == Leftover::Lines && !self.is_busy(main);
        if !has_lines && ![main, log].into_iter().any(|which| self.is_busy(which)) {
            return self.remove_service(id, now, todo);
        }
        let Some(service) = self.services.get_mut(&id) else { return };
        service.reads_on |= reads_on;
        let (name, has_logger, reads_on) = (service.name.clone(), service.log.is_some(), service.reads_on);
        if self.absent.insert(&name, id) && has_logger {
            todo.push(Action::HoldDirectory(id));
        }
        // The lines come first: while the logger has no supervise, a stop would have nothing to wait for, and end at once.
        if has_lines {
            self.read_rest(id, now, todo);
        } else if self.on_remove == OnRemove::Stop {
            self.stop(id, now, todo);
        } else if reads_on && !self.is_busy(main) {
            self.read_rest(id, now, todo);
        } else if !self.is_busy(main) {
            todo.push(Action::EndInput(id));
        }
    }

    /// Removes a service from the table, and lets the services go on that wait for it.
    pub(super) fn remove_service(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) {
        let Some(service) = self.services.remove(&id) else { return };
        self.stopping -= usize::from(service.stop.is_some());
        self.absent.remove(&service.name, id);
        self.order.remove(id);
        self.start_queue.free_slot(id);
        todo.push(Action::Say(id, Message::Gone(service.name)));
        todo.push(Action::Forget(id));
        self.unblock(id, now);
    }
}
