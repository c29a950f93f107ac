//! The signs that `run` gives of itself: that it has been executed, that it is ready, alive or about to end, and within
//! which time it must give them. No clock, no I/O.

use super::{Action, KILL_OVERDUE, Machine, Stage};
use crate::suspend_credit::Deadline;
use daemontools::service::{Ending, Role};
use daemontools::tai64::Moment;
use nix::sys::signal::Signal;
use std::mem::replace;
use std::time::Duration;

impl Machine {
    /// Begins the time in which `run` must be ready, if it is not ready yet, and the time in which it must say that it
    /// is alive.
    pub(super) fn expect(&mut self, now: Moment) {
        let by = |within: Option<Duration>| within.map(|within| Deadline::new(now, within));
        self.ready_by = by(self.policy.start_limit().filter(|_| !self.has_given_word()));
        self.alive_by = by(self.policy.watchdog);
    }

    pub(super) fn executed(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let was_gated = replace(&mut self.gated, false);
        if !self.policy.tells_when_ready() && self.came_up(now, todo) {
            return;
        }
        if was_gated {
            todo.push(Action::Publish);
        }
    }

    /// The service says that it is ready, or was found to be.
    pub(super) fn became_ready(&mut self, now: Moment, todo: &mut Vec<Action>) {
        self.gated &= self.stage != Stage::Alive(Role::Run);
        self.came_up(now, todo);
    }

    /// Whether `run` is up by its own word, or runs where it gives none. It is ready, or `post-start` comes first.
    fn has_given_word(&self) -> bool {
        self.ready.is_some() || self.progress.post_start
    }

    /// `run` is up by its own word, or it runs and gives none. The service is ready, or `post-start` comes first. Returns
    /// whether that is news, which is written then.
    pub(super) fn came_up(&mut self, now: Moment, todo: &mut Vec<Action>) -> bool {
        let is_news = self.is_up_or_active() && !self.has_given_word();
        // One that is about to end does not become ready: its `post-start` does not run any more.
        if !is_news || (self.policy.has_post_start && self.ending.is_some()) {
            return false;
        }
        self.ready_by = None;
        if self.policy.has_post_start {
            self.progress.post_start = true;
            todo.push(Action::Publish);
            self.next_beside(now, todo);
            return true;
        }
        self.ready = Some(now);
        todo.push(Action::Publish);
        if self.policy.tells_when_ready() {
            todo.push(Action::Announce('U'));
        }
        true
    }

    pub(super) fn says_it_stops(&mut self, todo: &mut Vec<Action>) {
        if self.stage == Stage::Alive(Role::Run) && self.ending.is_none() {
            self.ending = Some(Ending::OfItself);
            todo.push(Action::Publish);
        }
    }

    pub(super) fn says_it_lives(&mut self, now: Moment) {
        if self.alive_by.is_some() {
            self.alive_by = self.policy.watchdog.map(|within| Deadline::new(now, within));
        }
    }

    /// Handles that what the service says does not reach supervise: the time in which the service must say something
    /// does not count any more.
    pub(super) fn notify_socket_failed(&mut self) {
        self.alive_by = None;
        if !self.policy.has_check && self.policy.notification_fd.is_none() && !self.policy.expects() {
            self.ready_by = None;
        }
    }

    /// The watchdog counts again. The limit for readiness does not: the service may have said that it is ready while
    /// supervise could not hear it.
    pub(super) fn notify_socket_works(&mut self, now: Moment) {
        let is_expected = self.stage == Stage::Alive(Role::Run) && self.ending.is_none() && !self.paused;
        if is_expected && self.alive_by.is_none() {
            self.alive_by = self.policy.watchdog.map(|within| Deadline::new(now, within));
        }
    }

    /// Handles that the process has missed a deadline: it is told to end, and is killed if it does not. Then it is
    /// started again.
    pub(super) fn overdue(&mut self, now: Moment, signal: Signal, todo: &mut Vec<Action>) {
        self.kill_at = Some(Deadline::new(now, self.policy.kill_after.unwrap_or(KILL_OVERDUE)));
        self.end(now, Ending::Overdue, signal, todo);
    }

    /// Moves the deadlines of the process by the time in which it could not run, as far as [`Deadline::give_back`]
    /// allows.
    pub(super) fn was_frozen(&mut self, lost: Duration, todo: &mut Vec<Action>) {
        if !self.is_timing() {
            return;
        }
        let before = (self.kill_at, self.beside);
        let beside = self.beside.as_mut().and_then(|beside| beside.kill_at.as_mut());
        let deadlines = [&mut self.kill_at, &mut self.ready_by, &mut self.alive_by];
        deadlines.into_iter().flatten().chain(beside).for_each(|deadline| deadline.give_back(lost));
        if (self.kill_at, self.beside) != before {
            todo.push(Action::Publish);
        }
    }
}
