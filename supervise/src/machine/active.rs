//! A service that is up without a process: a state, such as "the network is there", which others wait for. No clock, no
//! I/O.
//!
//! Its directory has a file `abstract` and no `run`. All its other programs run as those of any service: [`Stage::Active`]
//! stands where another service's `run` would run. Only commands end it. There is no process that a signal could reach, that
//! could say that it is ready, or that could die: so the service is ready once it is active and its `post-start` has ended,
//! and no death is recorded of it. `finish` is told that the life ended with code 0.

use super::{Action, Machine, Stage};
use daemontools::service::{Exit, LifeEnd, LifeProgress, Role, Verdict};
use daemontools::tai64::Moment;

impl Machine {
    /// Whether `run` runs, or the service is up without it.
    pub(super) fn is_up_or_active(&self) -> bool {
        matches!(self.stage, Stage::Alive(Role::Run) | Stage::Active)
    }

    /// Makes the service, which is a state, active. The record says so, so that the next supervise knows it too.
    pub(super) fn become_active(&mut self, now: Moment, todo: &mut Vec<Action>) {
        self.forget_process();
        (self.stage, self.since, self.started) = (Stage::Active, now, now);
        self.starts += 1;
        self.start_done = true;
        self.progress = LifeProgress::default();
        todo.push(Action::Announce('u'));
        self.came_up(now, todo);
    }

    /// Ends the life of a state, because a command asks for that, or because its `post-start` has exited with 125.
    pub(super) fn end_activity(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let is_condemned = self.is_condemned();
        if !is_condemned {
            self.verdict = Verdict::AsWanted;
        }
        self.since = now;
        self.forget_process();
        todo.push(Action::Announce('d'));
        let end = LifeEnd {
            role: Role::Run,
            exit: Exit::Code(0),
            is_told: !is_condemned,
            has_pre_stop: self.progress.pre_stopped,
        };
        self.end_life(now, end, todo);
    }
}
