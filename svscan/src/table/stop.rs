//! Stopping services in order: all of them, those that were removed, those that were replaced.
//!
//! A service goes through three stages. First it waits until the services that come after it and are to be stopped as
//! well are down, with their loggers, whose last lines it may have to take. Then its supervise is told to stop it and
//! to end, which takes as long as the service's own settings allow. Then its logger reads what is left in the pipe, and
//! ends. A supervise that is killed meanwhile and leaves its service running is started again and told again. So is the
//! supervise of a logger for as long as the service runs, or has left lines: an init may send TERM to all processes at
//! once.
//!
//! Six files make up a stop. In the order in which a stop goes through them:
//!
//! 1. `table/stop.rs`, this one, decides at which stage each service is. It asks for [`Action::EndSupervise`], and later for
//!    [`Action::DrainLogger`].
//! 2. `stopping.rs` keeps what the table need not know: which commands each supervise is still to be sent, and which loggers
//!    read what is left. It decides when a logger is told to end, and how long svscan waits for one that does not read.
//! 3. `supervises/commanding.rs` sends the commands, by a signal or through the FIFO. What it cannot send is sent again.
//! 4. `leftover.rs` decides, once a supervise has ended, what that has left: a process or lines for which svscan is to start
//!    another supervise, or nothing. `supervises/left.rs` answers its questions. With the result, `Table::process_ended`
//!    comes back to this file.
//! 5. `supervises/ending.rs` ends the processes of a service for which no supervise can be started.
//! 6. `unkillable.rs` gives up what no signal ends, once svscan was told to kill. Otherwise a stop takes as long as it takes.

use super::Table;
use super::parts::{Action, Id, Message, Part, SuperviseId, both};
use super::records::StopStage;
use super::supervise::SuperviseState;
use nix::unistd::Pid;
use std::time::Instant;

impl Table {
    /// svscan is to stop all services, and starts no more.
    pub fn stop_all(&mut self, now: Instant, todo: &mut Vec<Action>) {
        self.stopping_all = true;
        self.start_queue.limit(None);
        let ids: Vec<Id> = self.services.keys().copied().collect();
        for id in &ids {
            self.mark_stopping(*id, now);
        }
        ids.into_iter().for_each(|id| self.advance_stop(id, now, todo));
    }

    /// Whether svscan was to stop all services, and all are down.
    pub fn has_stopped_all(&self) -> bool {
        self.stopping_all && self.stopping == 0
    }

    /// Whether svscan is to stop all services.
    pub fn is_stopping_all(&self) -> bool {
        self.stopping_all
    }

    /// Whether the next svscan in this process could go on from here. It could not while a service is being stopped: a
    /// handover does not say how far that has come.
    pub fn may_be_handed_on(&self) -> bool {
        !self.stopping_all && self.stopping == 0
    }

    /// Whether this service is being stopped.
    pub fn is_stopping(&self, id: Id) -> bool {
        self.services.get(&id).is_some_and(|service| service.stop.is_some())
    }

    /// How many services are being stopped, and at most `few` of them: first those that svscan has told to stop.
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

    /// Stops a service. If none of its supervises is busy, the stop is over at once: no event would end it later.
    pub(super) fn stop(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) {
        if self.mark_stopping(id, now) {
            self.advance_stop(id, now, todo);
        }
    }

    /// A service has ended and has no entry any more, but its logger has lines to read. svscan starts the supervise of the
    /// logger, if it does not run, and tells it to end when the logger has read the lines.
    pub(super) fn read_rest(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) {
        self.mark_stopping(id, now);
        let log = SuperviseId { id, part: Part::Logger };
        if self.state(log) == Some(SuperviseState::Idle) {
            self.set(log, SuperviseState::Due(now));
        }
        self.advance_stop(id, now, todo);
        if let Some(service) = self.services.get_mut(&id) {
            // It was not svscan that stopped the service.
            service.told = false;
        }
    }

    /// Marks a service as being stopped. Returns whether it was not before.
    fn mark_stopping(&mut self, id: Id, now: Instant) -> bool {
        let is_blocked = self.services.get(&id).is_some_and(|service| !service.blocked_by.is_empty());
        for which in both(id) {
            // A supervise that is due may have left a process, which only the next supervise can stop. A service that
            // waits for others before its first start may run still, as it did under an earlier svscan.
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
                service.stop = Some(StopStage::Waiting);
                self.stopping += 1;
                true
            }
            _ => false,
        }
    }

    /// A supervise of a service that is being stopped has ended for good: svscan goes on with the stop of this service, and
    /// of those that were waiting for it.
    pub(super) fn continue_stop_after(&mut self, which: SuperviseId, now: Instant, todo: &mut Vec<Action>) {
        let earlier = self.order.after(which.id).to_vec();
        self.advance_stop(which.id, now, todo);
        earlier.into_iter().for_each(|id| self.advance_stop(id, now, todo));
    }

    /// Takes the stop of a service as far as it can come now.
    fn advance_stop(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) {
        if self.is_stopping(id) && self.enter_next_stages(id, todo) {
            self.finish_stop(id, now, todo);
        }
    }

    /// Takes the stop of a service to its next stages, and tells the supervise of each. Returns whether the service and its
    /// logger are down.
    fn enter_next_stages(&mut self, id: Id, todo: &mut Vec<Action>) -> bool {
        let [main, log] = both(id);
        let is_up = |other: &Id| self.is_stopping(*other) && both(*other).into_iter().any(|which| self.is_busy(which));
        let waits = self.order.dependents(id).iter().any(is_up);
        let (main_busy, log_busy) = (self.is_busy(main), self.is_busy(log));
        let (main_up, log_up) = (self.pid(main).is_some(), self.pid(log).is_some());
        let Some(service) = self.services.get_mut(&id) else { return false };
        if service.stop == Some(StopStage::Waiting) && main_up && !waits {
            service.stop = Some(StopStage::Service);
            service.told = true;
            todo.push(Action::Say(id, Message::Stopping));
            todo.push(Action::EndSupervise(main));
        }
        if service.stop != Some(StopStage::Logger) && !main_busy {
            service.stop = Some(StopStage::Logger);
            if log_up {
                service.told = true;
                todo.push(Action::DrainLogger(id));
            }
        }
        service.stop == Some(StopStage::Logger) && !main_busy && !log_busy
    }

    /// Takes in that a supervise has started. If its service is being stopped, the supervise has taken the place of one
    /// that was killed, and svscan tells it again what it told that one.
    pub(super) fn resume_stop(&mut self, which: SuperviseId, todo: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(&which.id) else { return };
        match (service.stop, which.part) {
            (None, _) => {}
            (Some(_), Part::Service) => {
                service.stop = Some(StopStage::Waiting);
                self.enter_next_stages(which.id, todo);
            }
            (Some(StopStage::Logger), Part::Logger) => todo.push(Action::DrainLogger(which.id)),
            (Some(StopStage::Waiting | StopStage::Service), Part::Logger) => {}
        }
    }

    /// The stop of a service is over. If the service is present, as it was stopped to make room for another one or has come
    /// back, svscan starts it again; if not, the table forgets it.
    fn finish_stop(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(&id) else { return };
        service.stop = None;
        self.stopping -= 1;
        if std::mem::take(&mut service.told) {
            todo.push(Action::Say(id, Message::Down(service.name.clone())));
        }
        match (self.is_present(id), self.stopping_all) {
            (true, false) => todo.push(Action::ForgetStop(id)),
            (true, true) => todo.extend(self.name(id).map(|name| Action::Say(id, Message::Gone(name.to_os_string())))),
            (false, true | false) => self.remove_service(id, now, todo),
        }
        self.schedule_idle(id, now);
        self.unblock(id, now);
    }
}
