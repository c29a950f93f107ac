//! What svscan knows of its directory and its supervises, and what to do about it. No clock, no I/O.
//!
//! A *service* is a directory, known by its device and inode: a renamed directory is the same service, and a directory
//! with two names is one service. A service is *present* as long as the scan directory has an entry for it. Each service
//! has one supervise, and a second one for its logger if it had a directory `log` when svscan first saw it. Each
//! supervise is in one of four states:
//!
//! - **Idle**: it does not run, and svscan is not to start it for now.
//! - **Due**: it does not run, and svscan is to start it at a known time. That is at once, but no more than twice within
//!   a second. It is later if the system has refused to start the supervise, if the supervise has ended at once because
//!   it cannot serve, or if it was told to end, as users tell it before they remove its entry.
//! - **Starting**: svscan is just starting it, and the table waits for the outcome.
//! - **Up**: it runs.
//!
//! If an entry is removed, svscan stops nothing: a supervise that is up stays up, but svscan does not start it again when
//! it ends. svscan still starts the supervise of a logger again while the service is up or has left lines: the logger
//! *reads on*, and svscan tells it to end when the service is gone and the lines are read. Once neither supervise is up,
//! the table forgets the service, and svscan closes its pipe. If `.svscan/on-remove` says so, or if another directory has
//! taken the name, svscan stops the service: see `stop`.
//!
//! A service may have to wait for others before its first start (it is *blocked*): for those that it names in `after`
//! until they are ready, and for the service whose name it took until that service is gone.
//!
//! The impl of the table is in several files: `entries` records what a scan sees, `presence` what a service with or
//! without an entry needs, `ordering` and `blocking` are about services that wait for others, `stop` about stopping, and
//! `inherited` about what the next svscan in this process has to know. This file is about the supervises.

mod absent;
mod blocking;
mod entries;
mod inherited;
mod ordering;
mod parts;
mod presence;
mod records;
mod start_order;
mod start_queue;
mod stop;
mod supervise;
#[cfg(test)]
mod tests;

use absent::Absent;
use nix::unistd::Pid;
use parts::both;
pub use parts::{Action, Contents, Delayed, Id, Leftover, Message, OnRemove, Part, Readiness, SuperviseId, label};
use records::{Entry, Service};
use start_order::StartOrder;
use start_queue::StartQueue;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::Instant;
pub use supervise::{PAUSE, RETRY, RETRY_AT_STOP};
use supervise::{Supervise, SuperviseState};

/// All entries and services.
#[derive(Debug, Clone, Default)]
pub struct Table {
    entries: BTreeMap<OsString, Entry>,
    services: BTreeMap<Id, Service>,
    pids: BTreeMap<Pid, SuperviseId>,
    start_queue: StartQueue,
    /// Services whose entries have changed since the last call of [`Table::settle`].
    touched: Vec<Id>,
    /// How many full scans have begun.
    scan: u64,
    /// Services that are not present but still up, by their last name.
    absent: Absent,
    order: StartOrder,
    /// For supervises of services that are not inspected yet: when an earlier svscan in this process would have started
    /// each of them, and how often in a row it could not serve.
    delayed: BTreeMap<SuperviseId, (Instant, u32)>,
    /// How many services were inspected.
    inspected: usize,
    /// For each service that other services wait for: these other services.
    blocking: BTreeMap<Id, Vec<Id>>,
    on_remove: OnRemove,
    /// svscan is to stop all services.
    stopping_all: bool,
    /// How many services are being stopped.
    stopping: usize,
}

impl Table {
    /// Decides what to do about the services whose entries have changed. The caller has reported all changes that came
    /// together before, so that the table does not take a renamed entry for a removed one.
    pub fn settle(&mut self, on_remove: Option<OnRemove>, now: Instant, todo: &mut Vec<Action>) {
        // If the setting cannot be read now, the value that was read last counts.
        self.on_remove = on_remove.unwrap_or(self.on_remove);
        let mut touched = std::mem::take(&mut self.touched);
        // First the services that have lost their entries: other services may have taken their names.
        touched.sort_by_key(|id| self.is_present(*id));
        for id in touched {
            if self.is_present(id) {
                self.settle_present(id, now, todo)
            } else {
                self.settle_absent(id, Leftover::Nothing, now, todo)
            }
        }
    }

    /// Takes in what was found in a new service. Its supervises are due from `now` on, or once no other service blocks
    /// it any more.
    pub fn inspected(&mut self, id: Id, contents: &Contents, now: Instant, todo: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(&id) else { return };
        service.main.get_or_insert_with(Supervise::idle).takes_over = contents.running;
        service.log = service.log.take().or_else(|| contents.logger.then(Supervise::idle));
        service.number = self.inspected;
        self.inspected += 1;
        for replaced in self.stop_replaced(id, now, todo) {
            self.block(id, replaced);
        }
        for other in self.put_after(id, &contents.after, todo) {
            if !contents.running && self.is_present(other) {
                self.block(id, other);
                if self.pid(SuperviseId { id: other, part: Part::Service }).is_some() {
                    todo.push(Action::WatchReady(other));
                }
            }
        }
        self.schedule_idle(id, now);
    }

    /// Takes in that a service could not be inspected. The next call of [`Table::settle`] asks for it again.
    pub fn not_inspected(&mut self, id: Id) {
        self.touched.push(id);
    }

    /// Takes in how far a service is, as svscan has found. Returns whether svscan is to look again.
    pub fn told_readiness(&mut self, id: Id, readiness: Readiness, now: Instant) -> bool {
        // If a service makes room for another one, svscan waits until it is down.
        if readiness == Readiness::Ready && !self.is_stopping(id) {
            self.unblock(id, now);
        }
        if readiness != Readiness::Starting {
            self.start_queue.free_slot(id);
        }
        self.is_awaited(id) || self.is_unsettled(id)
    }

    /// Hands out up to `limit` supervises to be started now.
    pub fn starts(&mut self, now: Instant, limit: usize) -> Vec<SuperviseId> {
        let due: Vec<SuperviseId> = self.start_queue.take_due(now, limit).into_iter().map(|(_, which)| which).collect();
        due.iter().for_each(|which| self.set(*which, SuperviseState::Starting));
        due
    }

    /// Limits how many services may start at a time; `None`: all of them.
    pub fn limit_starts(&mut self, most: Option<usize>) {
        self.start_queue.limit(most.filter(|_| !self.stopping_all));
    }

    /// Whether a service keeps others from being started, because it is not ready yet.
    fn is_unsettled(&self, id: Id) -> bool {
        self.start_queue.has_slot(id)
    }

    /// Makes due now what was to be started later, because the user has asked for a scan. svscan still starts a
    /// supervise no more than twice within a second.
    pub fn hasten(&mut self, now: Instant) {
        self.delayed.values_mut().for_each(|(at, _)| *at = now.min(*at));
        let services: Vec<Id> = self.services.keys().copied().collect();
        for which in services.into_iter().flat_map(both) {
            let earliest = self.supervise(which).and_then(|supervise| supervise.before).map(|before| before + PAUSE);
            if let Some(SuperviseState::Due(at)) = self.state(which) {
                self.set(which, SuperviseState::Due(at.min(earliest.map_or(now, |earliest| now.max(earliest)))));
            }
        }
    }

    /// When the next supervise is to be started.
    pub fn deadline(&self) -> Option<Instant> {
        self.start_queue.deadline()
    }

    /// Takes in that svscan has started this supervise, or has taken it over.
    pub fn started(&mut self, which: SuperviseId, pid: Pid, now: Instant, todo: &mut Vec<Action>) {
        if self.pids.contains_key(&pid) {
            // A supervise that was not svscan's child has ended, and its number is used again already.
            self.process_ended(pid, Leftover::Nothing, now, todo);
        }
        self.pids.insert(pid, which);
        self.set(which, SuperviseState::Up(pid));
        if let Some(supervise) = self.supervise_mut(which) {
            supervise.before = supervise.last.replace(now);
        }
        if which.part == Part::Service && (self.is_awaited(which.id) || self.is_unsettled(which.id)) {
            todo.push(Action::WatchReady(which.id));
        }
        self.resume_stop(which, todo);
    }

    /// Takes in that svscan could not start this supervise. svscan tries again later.
    pub fn not_started(&mut self, which: SuperviseId, now: Instant) {
        if which.part == Part::Service {
            self.start_queue.free_slot(which.id);
        }
        let wait = if self.is_stopping(which.id) { RETRY_AT_STOP } else { RETRY };
        self.set(which, SuperviseState::Due(now + wait));
    }

    /// Whether this supervise waits to be started.
    pub fn is_due(&self, which: SuperviseId) -> bool {
        matches!(self.state(which), Some(SuperviseState::Due(_)))
    }

    /// Whether this supervise, which svscan is just starting, was started before, and has ended.
    pub fn has_ended(&self, which: SuperviseId) -> bool {
        self.supervise(which)
            .is_some_and(|supervise| supervise.last.is_some() && supervise.state == SuperviseState::Starting)
    }

    /// Takes in that svscan need not start this supervise, because there is nothing left to stop.
    pub fn not_needed(&mut self, which: SuperviseId, now: Instant, todo: &mut Vec<Action>) {
        self.set(which, SuperviseState::Idle);
        if self.is_stopping(which.id) || self.is_present(which.id) {
            self.continue_stop_after(which, now, todo);
        } else {
            self.settle_absent(which.id, Leftover::Nothing, now, todo);
        }
    }

    /// Takes in that a process has ended. If it was a supervise, returns which.
    pub fn process_ended(
        &mut self,
        pid: Pid,
        left: Leftover,
        now: Instant,
        todo: &mut Vec<Action>,
    ) -> Option<SuperviseId> {
        let which = self.pids.remove(&pid)?;
        if which.part == Part::Service {
            self.start_queue.free_slot(which.id);
        }
        let next = self.supervise_mut(which).map_or(now, |supervise| supervise.next(left, now));
        let stopping = self.is_stopping(which.id);
        let has_lines = left == Leftover::Lines && which.part == Part::Logger;
        let goes_on = match (stopping, self.is_present(which.id)) {
            (true, _) => has_lines || left == Leftover::Process,
            (false, true) => true,
            (false, false) => has_lines,
        };
        self.set(which, if goes_on { SuperviseState::Due(next) } else { SuperviseState::Idle });
        if goes_on && (stopping || self.is_present(which.id)) {
            return Some(which);
        }
        match (stopping, goes_on) {
            (true, _) => self.continue_stop_after(which, now, todo),
            (false, true) if !self.is_busy(SuperviseId { part: Part::Service, ..which }) => {
                self.read_rest(which.id, now, todo)
            }
            (false, _) => self.settle_absent(which.id, left, now, todo),
        }
        Some(which)
    }

    /// The name of a service's entry; if the service is not present, the name that it had last.
    pub fn name(&self, id: Id) -> Option<&OsStr> {
        self.services.get(&id).map(|service| service.name.as_os_str())
    }

    /// Which supervise has this pid, if a supervise has it.
    pub fn supervise_of(&self, pid: Pid) -> Option<SuperviseId> {
        self.pids.get(&pid).copied()
    }

    /// All supervises that run.
    pub fn running(&self) -> impl Iterator<Item = (Pid, SuperviseId)> {
        self.pids.iter().map(|(pid, which)| (*pid, *which))
    }

    /// The process of this supervise, if it runs.
    pub fn pid(&self, which: SuperviseId) -> Option<Pid> {
        match self.state(which)? {
            SuperviseState::Up(pid) => Some(pid),
            SuperviseState::Idle | SuperviseState::Due(_) | SuperviseState::Starting => None,
        }
    }

    /// Whether the service has a logger.
    pub fn has_logger(&self, id: Id) -> bool {
        self.services.get(&id).is_some_and(|service| service.log.is_some())
    }

    /// Whether the scan directory has an entry for the service.
    pub fn is_present(&self, id: Id) -> bool {
        self.services.get(&id).is_some_and(|service| !service.names.is_empty())
    }

    /// Makes the idle supervises of a service due from `at` on, if the service is present and not being stopped; but not its
    /// own supervise while the service is blocked.
    fn schedule_idle(&mut self, id: Id, at: Instant) {
        let Some(service) = self.services.get(&id) else { return };
        let is_blocked = !service.blocked_by.is_empty();
        if self.stopping_all || service.stop.is_some() || service.names.is_empty() {
            return;
        }
        for which in both(id) {
            if self.state(which) == Some(SuperviseState::Idle) && !(is_blocked && which.part == Part::Service) {
                let (earliest, failures) = self.delayed.remove(&which).unwrap_or((at, 0));
                self.set(which, SuperviseState::Due(at.max(earliest)));
                if let Some(supervise) = self.supervise_mut(which).filter(|_| failures > 0) {
                    supervise.failures = failures;
                }
            }
        }
    }

    /// Whether a supervise runs, or is about to be started.
    pub fn is_busy(&self, which: SuperviseId) -> bool {
        self.state(which).is_some_and(|state| state != SuperviseState::Idle)
    }

    fn state(&self, which: SuperviseId) -> Option<SuperviseState> {
        self.supervise(which).map(|supervise| supervise.state)
    }

    fn supervise(&self, which: SuperviseId) -> Option<&Supervise> {
        let service = self.services.get(&which.id)?;
        match which.part {
            Part::Service => service.main.as_ref(),
            Part::Logger => service.log.as_ref(),
        }
    }

    fn supervise_mut(&mut self, which: SuperviseId) -> Option<&mut Supervise> {
        let service = self.services.get_mut(&which.id)?;
        match which.part {
            Part::Service => service.main.as_mut(),
            Part::Logger => service.log.as_mut(),
        }
    }

    /// Gives a supervise another state. No other function does that, so `start_queue` always agrees with the states.
    fn set(&mut self, which: SuperviseId, next: SuperviseState) {
        let Some(supervise) = self.supervise_mut(which) else { return };
        let before = std::mem::replace(&mut supervise.state, next);
        let begins = which.part == Part::Service && supervise.last.is_none() && !supervise.takes_over;
        if let SuperviseState::Due(at) = before {
            self.start_queue.remove(at, which);
        }
        if let SuperviseState::Due(at) = next {
            self.start_queue.insert(at, which, begins);
        }
    }
}
