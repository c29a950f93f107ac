//! Stopping services in order: all of them, those that were removed, those that were replaced.
//!
//! A service goes through three stages. First it waits until the services that come after it and are to be stopped as well
//! are down, with their loggers, whose last lines it may have to take. Then its supervise is told to stop it and to end, which
//! takes as long as the service's own settings allow. Then its logger reads what is left in the pipe, and ends. A supervise
//! that is killed meanwhile and leaves its service running is started again and told again. So is the supervise of a logger
//! for as long as the service runs, or has left lines: an init may send TERM to all processes at once.

use super::Table;
use super::parts::{Action, Id, Part, Remark, SuperviseId, both};
use super::supervise::SuperviseState;
use nix::unistd::Pid;
use std::time::Instant;

/// How far stopping a service has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// svscan waits for the services that come after this one.
    Waiting,
    /// svscan waits for the service.
    Service,
    /// svscan waits for the logger.
    Logger,
}

impl Table {
    /// Everything is to be stopped, and nothing more is started.
    pub fn close(&mut self, now: Instant, todo: &mut Vec<Action>) {
        self.closing = true;
        self.start_queue.limit(None);
        let ids: Vec<Id> = self.services.keys().copied().collect();
        for id in &ids {
            self.mark(*id, now);
        }
        ids.into_iter().for_each(|id| self.advance(id, now, todo));
    }

    /// Whether everything was to be stopped, and is.
    pub fn is_closed(&self) -> bool {
        self.closing && self.stopping == 0
    }

    /// Whether everything is to be stopped.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether the next svscan in this process would know enough to go on: not how far stopping a service has come.
    pub fn may_be_handed_on(&self) -> bool {
        !self.closing && self.stopping == 0
    }

    /// Whether this service is being stopped.
    pub fn is_stopping(&self, id: Id) -> bool {
        self.services.get(&id).is_some_and(|service| service.stop.is_some())
    }

    /// How many services are being stopped, and `few` of them: first those that were told to stop.
    pub fn waited_for(&self, few: usize) -> (usize, Vec<Id>) {
        let at = |told: bool| {
            let stopping = self.services.iter().filter(move |(_, service)| service.stop.is_some());
            stopping.filter(move |(_, service)| service.told == told).map(|(id, _)| *id)
        };
        (self.stopping, at(true).chain(at(false)).take(few).collect())
    }

    /// The running supervises of services that are being stopped.
    pub fn unstopped(&self) -> Vec<(SuperviseId, Pid)> {
        let stopping = self.services.iter().filter(|(_, service)| service.stop.is_some());
        stopping.flat_map(|(id, _)| both(*id)).filter_map(|which| Some((which, self.pid(which)?))).collect()
    }

    /// A service is to be stopped. If nothing of it is busy any more, the stop is over at once: no event would end it later.
    pub(super) fn stop(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) {
        if self.mark(id, now) {
            self.advance(id, now, todo);
        }
    }

    /// The service is gone and has no entry any more, but its logger has lines to read: its supervise is told to end when
    /// it has, and started first if there is none.
    pub(super) fn read_rest(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) {
        self.mark(id, now);
        let log = SuperviseId { id, part: Part::Logger };
        if self.state(log) == Some(SuperviseState::Idle) {
            self.set(log, SuperviseState::Due(now));
        }
        self.advance(id, now, todo);
        if let Some(service) = self.services.get_mut(&id) {
            // It was not svscan that stopped the service.
            service.told = false;
        }
    }

    /// A service is to be stopped from now on. Returns whether that is new.
    fn mark(&mut self, id: Id, now: Instant) -> bool {
        let is_blocked = self.services.get(&id).is_some_and(|service| !service.blocked_by.is_empty());
        for which in both(id) {
            // It may have left a process, which can only be stopped by its next supervise. So may one that waits for
            // others with its first start have run under an earlier svscan.
            match self.state(which) {
                Some(SuperviseState::Due(_)) => self.set(which, SuperviseState::Due(now)),
                Some(SuperviseState::Idle) if is_blocked && which.part == Part::Service => {
                    self.set(which, SuperviseState::Due(now))
                }
                Some(SuperviseState::Idle | SuperviseState::Starting | SuperviseState::Up(_)) | None => {}
            }
        }
        match self.services.get_mut(&id) {
            Some(service) if service.stop.is_none() => {
                service.stop = Some(Stage::Waiting);
                self.stopping += 1;
                true
            }
            _ => false,
        }
    }

    /// A supervise of a service that is being stopped has ended for good.
    pub(super) fn ended(&mut self, which: SuperviseId, now: Instant, todo: &mut Vec<Action>) {
        let earlier = self.order.after(which.id).to_vec();
        self.advance(which.id, now, todo);
        earlier.into_iter().for_each(|id| self.advance(id, now, todo));
    }

    /// Takes a service that is being stopped as far as it can come now.
    fn advance(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) {
        if self.is_stopping(id) && self.proceed(id, todo) {
            self.down(id, now, todo);
        }
    }

    /// Takes a service to its next stages. Returns whether it is down, and its logger too.
    fn proceed(&mut self, id: Id, todo: &mut Vec<Action>) -> bool {
        let [main, log] = both(id);
        let is_up = |other: &Id| self.is_stopping(*other) && both(*other).into_iter().any(|which| self.is_busy(which));
        let waits = self.order.dependents(id).iter().any(is_up);
        let (main_busy, log_busy) = (self.is_busy(main), self.is_busy(log));
        let (main_up, log_up) = (self.pid(main).is_some(), self.pid(log).is_some());
        let Some(service) = self.services.get_mut(&id) else { return false };
        if service.stop == Some(Stage::Waiting) && main_up && !waits {
            service.stop = Some(Stage::Service);
            service.told = true;
            todo.push(Action::Say(id, Remark::Stopping));
            todo.push(Action::End(main));
        }
        if service.stop != Some(Stage::Logger) && !main_busy {
            service.stop = Some(Stage::Logger);
            if log_up {
                service.told = true;
                todo.push(Action::Drain(id));
            }
        }
        service.stop == Some(Stage::Logger) && !main_busy && !log_busy
    }

    /// A supervise runs, perhaps in the place of one that was killed while its service was stopped.
    pub(super) fn back(&mut self, which: SuperviseId, todo: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(&which.id) else { return };
        match (service.stop, which.part) {
            (None, _) => {}
            (Some(_), Part::Service) => {
                service.stop = Some(Stage::Waiting);
                self.proceed(which.id, todo);
            }
            (Some(Stage::Logger), Part::Logger) => todo.push(Action::Drain(which.id)),
            (Some(Stage::Waiting | Stage::Service), Part::Logger) => {}
        }
    }

    /// The service is down. If it was stopped only to make room, or is present again, life goes on.
    fn down(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(&id) else { return };
        service.stop = None;
        self.stopping -= 1;
        if std::mem::take(&mut service.told) {
            todo.push(Action::Say(id, Remark::Down(service.name.clone())));
        }
        match (self.is_present(id), self.closing) {
            (true, false) => todo.push(Action::GoOn(id)),
            (true, true) => todo.extend(self.name(id).map(|name| Action::Say(id, Remark::Gone(name.to_os_string())))),
            (false, true | false) => self.forget(id, now, todo),
        }
        self.resume(id, now);
        self.unblock(id, now);
    }
}
