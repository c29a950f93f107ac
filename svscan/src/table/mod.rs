//! What svscan knows of its directory and its supervises, and what to do about it. No clock, no I/O.
//!
//! A *service* is a directory, known by device and inode: renamed, it is the same; under two names,
//! it is one. It is *present* as long as the scan directory has an entry for it. Each service has one
//! supervise, and one more if there was a `log` when it was first seen. Each of these is in one of
//! four states:
//!
//! - **Idle**: not running, and not to be started for now.
//! - **Due**: not running, to be started at a known time: at once, but no more than twice within a
//!   second; later where the system refused to start it, or it ended at once because it cannot serve, or
//!   was told to end, as it is before its entry is removed.
//! - **Starting**: handed out to be started; the answer is awaited.
//! - **Up**: running.
//!
//! An entry that goes away stops nothing: what is up stays up, and is only not started again when it ends. The supervise of a
//! logger is, while the service is up or has left lines: the logger *reads on*, and is told to end when the service is gone
//! and the lines are read. Once neither supervise is up, the service is forgotten, and its pipe with it. Where the
//! directory's owner wants removed services stopped, or another directory has taken the name, the service is stopped: see
//! `stop`.
//!
//! A service may have to wait with its first start for others (it is *blocked*): for those that it names in `after` until they
//! are ready, and for the one whose name it took until that is gone.

mod absent;
mod entries;
mod order;
mod parts;
mod start_queue;
mod stop;
mod supervise;
#[cfg(test)]
mod tests;

use absent::Absent;
use entries::Entry;
use nix::unistd::Pid;
use order::Order;
use parts::both;
pub use parts::{Action, Contents, Delayed, Id, Leftover, OnRemove, Part, Readiness, Remark, SuperviseId, label};
use start_queue::StartQueue;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::time::Instant;
use stop::Stage;
pub use supervise::{PAUSE, RETRY, RETRY_AT_STOP};
use supervise::{Supervise, SuperviseState};

#[derive(Debug, Clone, Default)]
struct Service {
    /// The entries that lead to it; the first gives it its name. Empty: not present.
    names: Vec<OsString>,
    /// The name that the service had when it was last present.
    name: OsString,
    /// `None`: not inspected.
    main: Option<Supervise>,
    log: Option<Supervise>,
    /// An earlier svscan has inspected the service. It is inspected again once it is present.
    inherited: bool,
    /// The supervise of the logger was started again when the service was not present, so that svscan has to tell it to end.
    reads_on: bool,
    /// The services that the first start waits for.
    blocked_by: Vec<Id>,
    /// How many services were inspected before this one.
    number: usize,
    /// How far stopping the service has come, if it is to be stopped.
    stop: Option<Stage>,
    /// The service or its logger was told to stop.
    told: bool,
}

/// All entries and services.
#[derive(Debug, Clone, Default)]
pub struct Table {
    entries: HashMap<OsString, Entry>,
    services: HashMap<Id, Service>,
    pids: HashMap<Pid, SuperviseId>,
    start_queue: StartQueue,
    /// Services whose entries have changed since the last [`Table::settle`].
    touched: Vec<Id>,
    scan: u64,
    /// Services that are not present but still up, by their last name.
    absent: Absent,
    order: Order,
    /// When an earlier svscan in this process would have started supervises, of services that are yet to be inspected,
    /// and how often in a row these could not serve.
    delayed: HashMap<SuperviseId, (Instant, u32)>,
    /// How many services were inspected.
    inspected: usize,
    /// The services that wait, by the service that they wait for.
    blocking: HashMap<Id, Vec<Id>>,
    on_remove: OnRemove,
    /// Everything is to be stopped.
    closing: bool,
    /// Services that are being stopped.
    stopping: usize,
}

impl Table {
    /// Draws the conclusions once all changes that came together are known, so that an entry renamed
    /// is not taken for one removed.
    pub fn settle(&mut self, on_remove: Option<OnRemove>, now: Instant, todo: &mut Vec<Action>) {
        // What cannot be read now counts as it was read last.
        self.on_remove = on_remove.unwrap_or(self.on_remove);
        let mut touched = std::mem::take(&mut self.touched);
        // Those that went first: others may have come in their place.
        touched.sort_by_key(|id| self.is_present(*id));
        for id in touched {
            if self.is_present(id) { self.arrive(id, now, todo) } else { self.leave(id, Leftover::Nothing, now, todo) }
        }
    }

    fn arrive(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(&id) else { return };
        if self.absent.remove(&service.name, id) {
            service.reads_on = false;
            todo.push(Action::LetGo(id));
        }
        if let [name, others @ ..] = service.names.as_slice() {
            service.name.clone_from(name);
            todo.extend(others.last().map(|other| Action::Say(id, Remark::SameAs(other.clone()))));
        }
        let is_new = std::mem::take(&mut service.inherited) || service.main.is_none();
        let names = service.names.clone();
        for name in &names {
            self.put_before(id, name, todo);
        }
        if !is_new {
            self.take_name(id, now, todo);
            self.resume(id, now);
        } else if !self.closing {
            todo.push(Action::Inspect(id));
        }
    }

    /// A service is not present. Nothing more of it is started but what reads its lines, and once nothing is up it is
    /// forgotten. `left` is what its own supervise has left, if that has ended just now.
    fn leave(&mut self, id: Id, left: Leftover, now: Instant, todo: &mut Vec<Action>) {
        let [main, log] = both(id);
        // One that is to stop what its predecessor left is wanted all the same.
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
            return self.forget(id, now, todo);
        }
        let Some(service) = self.services.get_mut(&id) else { return };
        service.reads_on |= reads_on;
        let (name, has_logger, reads_on) = (service.name.clone(), service.log.is_some(), service.reads_on);
        if self.absent.insert(&name, id) && has_logger {
            todo.push(Action::Hold(id));
        }
        // The lines first: a stop would have nothing to wait for while the logger has no supervise.
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

    fn forget(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) {
        let Some(service) = self.services.remove(&id) else { return };
        self.stopping -= usize::from(service.stop.is_some());
        self.absent.remove(&service.name, id);
        self.order.remove(id);
        self.start_queue.free_slot(id);
        todo.push(Action::Say(id, Remark::Gone(service.name)));
        todo.push(Action::Forget(id));
        self.unblock(id, now);
    }

    /// Services that are not present, and whose loggers read on.
    pub fn reading_on(&self) -> impl Iterator<Item = Id> {
        self.services.iter().filter(|(_, service)| service.reads_on).map(|(id, _)| *id)
    }

    /// The logger of a service that is not present reads on, as an earlier svscan in this process knew.
    pub fn inherit_reading_on(&mut self, id: Id) {
        if let Some(service) = self.services.get_mut(&id) {
            service.reads_on = true;
        }
    }

    /// A service is not present, but up: an earlier svscan has left it, with these supervises of its own and of its logger.
    pub fn inherit(&mut self, id: Id, name: &OsStr, [main, log]: [Option<Pid>; 2]) {
        let service = Service {
            name: name.to_os_string(),
            main: Some(Supervise::idle()),
            log: log.map(|_| Supervise::idle()),
            inherited: true,
            ..Service::default()
        };
        self.services.insert(id, service);
        self.absent.insert(name, id);
        for (which, pid) in both(id).into_iter().zip([main, log]) {
            if let Some(pid) = pid {
                self.pids.insert(pid, which);
                self.set(which, SuperviseState::Up(pid));
            }
        }
    }

    /// An earlier svscan in this process would have started a supervise with this delay after `now`.
    pub fn expect_delayed(&mut self, delayed: &Delayed, now: Instant) {
        self.delayed.insert(delayed.which, (now + delayed.wait, delayed.failures));
    }

    /// Supervises that are to be started later than `now`.
    pub fn delayed(&self, now: Instant) -> impl Iterator<Item = Delayed> {
        let of_services = self.services.keys().flat_map(|id| both(*id)).filter_map(move |which| {
            let supervise = self.supervise(which)?;
            match supervise.state {
                SuperviseState::Due(at) => Some((which, at, supervise.failures)),
                SuperviseState::Idle | SuperviseState::Starting | SuperviseState::Up(_) => None,
            }
        });
        let of_earlier = self.delayed.iter().map(|(which, (at, failures))| (*which, *at, *failures));
        of_services.chain(of_earlier).filter(move |(_, at, _)| *at > now).map(move |(which, at, failures)| Delayed {
            which,
            wait: at.duration_since(now),
            failures,
        })
    }

    /// Services that are not present but up, and their last names.
    pub fn absent(&self) -> impl Iterator<Item = (Id, &OsStr)> {
        self.absent.iter()
    }

    /// A new service has these contents. Its supervises are due from `now` on, or once no other service blocks it any more.
    pub fn inspected(&mut self, id: Id, contents: &Contents, now: Instant, todo: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(&id) else { return };
        service.main.get_or_insert_with(Supervise::idle);
        service.log = service.log.take().or_else(|| contents.logger.then(Supervise::idle));
        service.number = self.inspected;
        self.inspected += 1;
        for replaced in self.take_name(id, now, todo) {
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
        self.resume(id, now);
    }

    /// Stops the services that had this service's name before and are still up. Returns those that are to be waited for.
    fn take_name(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) -> Vec<Id> {
        let Some(name) = self.name(id) else { return Vec::new() };
        let mut replaced = self.absent.named(name).to_vec();
        if !replaced.is_empty() {
            todo.push(Action::Say(id, Remark::Replaces));
        }
        replaced.iter().for_each(|before| self.stop(*before, now, todo));
        replaced.retain(|before| self.is_stopping(*before));
        replaced
    }

    /// A service could not be inspected: it will be when things are next settled.
    pub fn not_inspected(&mut self, id: Id) {
        self.touched.push(id);
    }

    fn block(&mut self, id: Id, by: Id) {
        if let Some(service) = self.services.get_mut(&id) {
            service.blocked_by.push(by);
            self.blocking.entry(by).or_default().push(id);
        }
    }

    /// The service `by` is ready, or gone: it blocks no other service any more.
    fn unblock(&mut self, by: Id, now: Instant) {
        for id in self.blocking.remove(&by).unwrap_or_default() {
            if let Some(service) = self.services.get_mut(&id) {
                service.blocked_by.retain(|holder| *holder != by);
                self.resume(id, now);
            }
        }
    }

    /// A service has been looked at; returns whether it is to be looked at again.
    pub fn told_readiness(&mut self, id: Id, readiness: Readiness, now: Instant) -> bool {
        // One that makes room for another is waited for until it is down.
        if readiness == Readiness::Ready && !self.is_stopping(id) {
            self.unblock(id, now);
        }
        if readiness != Readiness::Starting {
            self.start_queue.free_slot(id);
        }
        self.is_awaited(id) || self.is_unsettled(id)
    }

    /// Whether other services wait for this one.
    fn is_awaited(&self, id: Id) -> bool {
        self.blocking.contains_key(&id)
    }

    /// Hands out up to `limit` supervises to be started now.
    pub fn starts(&mut self, now: Instant, limit: usize) -> Vec<SuperviseId> {
        let due: Vec<SuperviseId> = self.start_queue.take_due(now, limit).into_iter().map(|(_, which)| which).collect();
        due.iter().for_each(|which| self.set(*which, SuperviseState::Starting));
        due
    }

    /// Limits how many services may start at a time; `None`: all of them.
    pub fn limit_starts(&mut self, most: Option<usize>) {
        self.start_queue.limit(most.filter(|_| !self.closing));
    }

    /// Whether a service keeps others from being started, because it is not ready yet.
    fn is_unsettled(&self, id: Id) -> bool {
        self.start_queue.has_slot(id)
    }

    /// The user wants a look at everything: what is to be started later is started now.
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

    /// The supervise runs.
    pub fn started(&mut self, which: SuperviseId, pid: Pid, now: Instant, todo: &mut Vec<Action>) {
        if self.pids.contains_key(&pid) {
            // A supervise that was not svscan's child has ended, and its number is used again already.
            self.died(pid, Leftover::Nothing, now, todo);
        }
        self.pids.insert(pid, which);
        self.set(which, SuperviseState::Up(pid));
        if let Some(supervise) = self.supervise_mut(which) {
            supervise.before = supervise.last.replace(now);
        }
        if which.part == Part::Service && (self.is_awaited(which.id) || self.is_unsettled(which.id)) {
            todo.push(Action::WatchReady(which.id));
        }
        self.back(which, todo);
    }

    /// The supervise could not be started.
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

    /// Whether this supervise was started before, and has ended.
    pub fn has_ended(&self, which: SuperviseId) -> bool {
        self.supervise(which)
            .is_some_and(|supervise| supervise.last.is_some() && supervise.state == SuperviseState::Starting)
    }

    /// The supervise that was handed out need not be started: there is nothing left to stop.
    pub fn not_needed(&mut self, which: SuperviseId, now: Instant, todo: &mut Vec<Action>) {
        self.set(which, SuperviseState::Idle);
        if self.is_stopping(which.id) || self.is_present(which.id) {
            self.ended(which, now, todo);
        } else {
            self.leave(which.id, Leftover::Nothing, now, todo);
        }
    }

    /// A process has ended. If it was a supervise, returns which.
    pub fn died(&mut self, pid: Pid, left: Leftover, now: Instant, todo: &mut Vec<Action>) -> Option<SuperviseId> {
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
            (true, _) => self.ended(which, now, todo),
            (false, true) if !self.is_busy(SuperviseId { part: Part::Service, ..which }) => {
                self.read_rest(which.id, now, todo)
            }
            (false, _) => self.leave(which.id, left, now, todo),
        }
        Some(which)
    }

    /// The name of a service's entry, the last it had if it is not present.
    pub fn name(&self, id: Id) -> Option<&OsStr> {
        self.services.get(&id).map(|service| service.name.as_os_str())
    }

    /// The supervise that this process is.
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

    /// Whether the scan directory has an entry for it.
    pub fn is_present(&self, id: Id) -> bool {
        self.services.get(&id).is_some_and(|service| !service.names.is_empty())
    }

    /// A service is wanted: its idle supervises are to be started, unless the service is blocked, or being stopped.
    fn resume(&mut self, id: Id, at: Instant) {
        let Some(service) = self.services.get(&id) else { return };
        let is_blocked = !service.blocked_by.is_empty();
        if self.closing || service.stop.is_some() || service.names.is_empty() {
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

    /// The only place where a supervise changes its state, so that `start_queue` always agrees.
    fn set(&mut self, which: SuperviseId, next: SuperviseState) {
        let Some(supervise) = self.supervise_mut(which) else { return };
        let before = std::mem::replace(&mut supervise.state, next);
        if let SuperviseState::Due(at) = before {
            self.start_queue.remove(at, which);
        }
        if let SuperviseState::Due(at) = next {
            self.start_queue.insert(at, which);
        }
    }
}
