//! Services that go into the background (`expect` with `fork` or `daemon`, `pidfile`), and those that raise SIGSTOP when
//! they are ready (`expect` with `stop`). No clock, no I/O.
//!
//! The process that supervise starts is only the first one of a service that goes into the background. When it has ended
//! well, supervise looks for the process that is the service's: the one that the pid file names, or without a pid file
//! the only one that is left. supervise takes it in the place of the first one, and the service is ready.
//!
//! | what has ended | how | what supervise looks for ([`SearchGoal`]) |
//! |---|---|---|
//! | the first process | well | the service's process, until the time is over |
//! | the first process | otherwise, or it was told to end | all that is left, which is told to end |
//! | the process that was taken | well, before it was stable | once more the service's process: what was taken had a fork to do yet |
//! | the process that was taken | otherwise, or it was told to end, before it was stable | all that is left, which is told to end |
//! | the process that was taken | by itself, when it was stable, and there is a pid file | the process that the pid file names by now, once |
//! | the process that was taken | otherwise | nothing: the life is over |
//!
//! A process is stable once it has been the service's for [`SOON`], whatever `restart-delay` says: a daemon that is slow to
//! fork must not run beside the next one. If nothing is left,
//! the life of the service is over. If the time is over and it is still not known which process is the service's, all that
//! is left is told to end, and killed later: the next life must not begin beside it. What is left of a service that was
//! stable is the business of `kill-scope`, as with a service in the foreground.

use super::{Action, KILL_OVERDUE, Machine, SearchOutcome, Stage, earlier};
use crate::suspend_credit::Deadline;
use daemontools::service::policy::Expect;
use daemontools::service::{BackgroundFailure, Ending, Exit, Held, Role, SOON, Search, SearchGoal};
use daemontools::tai64::Moment;
use nix::sys::signal::Signal;
use std::time::Duration;

/// Without a pid file several processes may be left for a moment, until those end that only had to fork. After this time
/// they count as several.
const SETTLE: Duration = Duration::from_secs(5);

impl Machine {
    /// What supervise looks for, if anything.
    pub fn search(&self) -> Option<Search> {
        match self.stage {
            Stage::Looking(search) => Some(search),
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) | Stage::Alive(_) => None,
            Stage::Active | Stage::Outlived => None,
        }
    }

    fn searches_for(&self, goal: SearchGoal) -> bool {
        self.search().is_some_and(|search| search.purpose == goal)
    }

    /// When `run` was started, in time since boot.
    pub fn started(&self) -> Duration {
        self.started.uptime
    }

    /// Why the service could not be started.
    pub fn astray(&self) -> Option<BackgroundFailure> {
        self.astray
    }

    /// Whether `run` is expected to raise SIGSTOP.
    pub fn awaits_stop(&self) -> bool {
        let is_expected = self.policy.expect == Some(Expect::Stop) && self.taken.is_none();
        is_expected && self.stage == Stage::Alive(Role::Run) && !self.paused && self.ending.is_none()
    }

    /// What is to be looked for now that the process of `run` has ended; `None` if its life is over.
    pub(super) fn purpose_after(&self, exit: Exit) -> Option<SearchGoal> {
        if !self.policy.goes_into_background() {
            return None;
        }
        // As long as the end is held back, or `pre-stop` runs, the start goes on.
        let is_stopping = self.is_to_stop() && self.hold.is_none() && !self.runs_pre_stop();
        let is_told = matches!(self.ending, Some(Ending::Told | Ending::Overdue)) || is_stopping;
        let is_well = matches!(exit, Exit::Code(0) | Exit::Unknown);
        match self.taken {
            None if is_well && !is_told => Some(SearchGoal::Start),
            None => Some(SearchGoal::End),
            // It may have had a fork to do yet.
            Some(_) if is_told => self.is_unstable().then_some(SearchGoal::End),
            Some(_) if self.is_unstable() && is_well => Some(SearchGoal::Start),
            Some(_) if self.policy.pidfile.is_some() => Some(SearchGoal::Successor),
            Some(_) if self.is_unstable() => Some(SearchGoal::End),
            Some(_) => None,
        }
    }

    /// The process of `run` has ended. What it has left is looked for before anything is written down: if supervise is
    /// killed meanwhile, the next one finds the process in the record, and how it ended, and looks again.
    pub(super) fn look_for(&mut self, now: Moment, search: Search, todo: &mut Vec<Action>) {
        if self.taken.is_none() {
            self.astray = None;
        }
        self.stage = Stage::Looking(search);
        (self.paused, self.gated, self.kill_at, self.alive_by) = (false, false, None, None);
        self.ready_by = if search.purpose == SearchGoal::Start { self.time_to_find(now) } else { None };
        todo.push(Action::Look);
    }

    /// Until when the service's process must be found.
    fn time_to_find(&self, now: Moment) -> Option<Deadline> {
        // The first process has used up a part of the time.
        let first = self.ready_by.filter(|_| self.taken.is_none());
        let limit = first.or(self.policy.start_limit().map(|limit| Deadline::new(now, limit)));
        let settle = self.policy.pidfile.is_none().then(|| Deadline::new(now, SETTLE));
        earlier(limit, settle)
    }

    /// Goes on with the search of the supervise before this one.
    pub(super) fn resume_search(&mut self, now: Moment) {
        if self.searches_for(SearchGoal::Start) {
            let since = self.taken.unwrap_or(self.started);
            self.ready_by = self.policy.start_limit().map(|limit| Deadline::new(since, limit));
            self.ready_by = self.time_to_find(now);
        }
    }

    /// Whether what is left is told to end.
    pub(super) fn is_ending_search(&self) -> bool {
        self.searches_for(SearchGoal::End)
    }

    pub(super) fn searched(&mut self, now: Moment, outcome: SearchOutcome, todo: &mut Vec<Action>) {
        let Some(search) = self.search() else { return };
        match (search.purpose, outcome) {
            (SearchGoal::Start | SearchGoal::Successor, SearchOutcome::Taken) => self.take(now, todo),
            (SearchGoal::Start, SearchOutcome::Undecided(astray)) => {
                self.astray = Some(astray);
                todo.push(Action::Publish);
            }
            (SearchGoal::Start, SearchOutcome::Nothing) => {
                if self.taken.is_none() && search.exit == Exit::Code(0) {
                    self.astray = Some(BackgroundFailure::Nothing);
                    todo.push(Action::ReportBackgroundFailure);
                }
                self.end_of_search(now, search, todo);
            }
            (SearchGoal::Successor, SearchOutcome::Undecided(_) | SearchOutcome::Nothing) => {
                self.has_no_successor(now, search, todo)
            }
            (SearchGoal::End, SearchOutcome::Undecided(_) | SearchOutcome::Taken) => self.tell_left(now, todo),
            (SearchGoal::End, SearchOutcome::Nothing) => self.end_of_search(now, search, todo),
        }
    }

    fn is_unstable(&self) -> bool {
        self.unstable_until.is_some()
    }

    /// Believes that the process which was taken stays, once it has lived long enough. That is written down: if supervise
    /// is killed, the next one does not know how long the process had lived when it ended.
    pub(super) fn become_stable(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let is_over = self.unstable_until.is_some_and(|until| until <= now.uptime);
        if is_over && self.stage == Stage::Alive(Role::Run) {
            self.unstable_until = None;
            todo.push(Action::Publish);
        }
    }

    /// Takes the process that was found as the service's from now on.
    fn take(&mut self, now: Moment, todo: &mut Vec<Action>) {
        (self.stage, self.astray) = (Stage::Alive(Role::Run), None);
        (self.taken, self.ready_by) = (Some(now), None);
        self.unstable_until = Some(now.uptime.saturating_add(SOON));
        self.alive_by = self.policy.watchdog.map(|within| Deadline::new(now, within));
        if !self.came_up(now, todo) {
            todo.push(Action::Publish);
            self.next_beside(now, todo);
        }
    }

    /// Handles that the process which was taken has ended and that the pid file names no other one.
    fn has_no_successor(&mut self, now: Moment, search: Search, todo: &mut Vec<Action>) {
        if self.is_unstable() {
            self.stage = Stage::Looking(Search { purpose: SearchGoal::End, ..search });
            todo.push(Action::Look);
        } else {
            self.end_of_search(now, search, todo);
        }
    }

    fn end_of_search(&mut self, now: Moment, search: Search, todo: &mut Vec<Action>) {
        let ending = self.ending_of_run();
        self.since = now;
        self.forget_process();
        self.run_ended(now, search.exit, ending, todo);
    }

    /// Tells what is left to end, once.
    fn tell_left(&mut self, now: Moment, todo: &mut Vec<Action>) {
        if self.kill_at.is_none() {
            self.kill_by(now, Some(self.policy.kill_after.unwrap_or(KILL_OVERDUE)));
            let signals = [self.policy.down_signal, Signal::SIGCONT].map(Action::SendLeft);
            todo.extend(signals.into_iter().chain([Action::Publish]));
        }
    }

    /// Handles a command that ends the life during a search: what `run` has left is told to end, unless another program
    /// holds that back.
    pub(super) fn stop_search(&mut self, todo: &mut Vec<Action>) {
        if !self.is_ending_search() && self.may_hold_end() {
            self.ask_holder(Held::Stopping, todo);
        } else {
            self.end_search(todo);
        }
    }

    /// Gives up the search for the service's process: all that is left is told to end.
    pub(super) fn end_search(&mut self, todo: &mut Vec<Action>) {
        self.ending = Some(Ending::Told);
        self.end_all(todo);
    }

    /// Handles `k` during a search: kills all that `run` has left.
    pub(super) fn kill_search(&mut self, todo: &mut Vec<Action>) {
        todo.push(Action::KillLeft);
        self.end_all(todo);
    }

    fn end_all(&mut self, todo: &mut Vec<Action>) {
        self.ready_by = None;
        if let Stage::Looking(search) = &mut self.stage {
            search.purpose = SearchGoal::End;
        }
        todo.extend([Action::Publish, Action::Look]);
    }

    /// Handles a deadline of the search: the service's process was not found in time, or what was told to end has not
    /// ended.
    pub(super) fn search_woken(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let passed = |deadline: Option<Deadline>| deadline.is_some_and(|deadline| deadline.has_passed(now));
        if passed(self.kill_at) {
            self.kill_at = Some(Deadline::new(now, KILL_OVERDUE));
            todo.extend([Action::KillLeft, Action::Look]);
        } else if passed(self.ready_by) {
            self.ending = Some(Ending::Overdue);
            todo.push(Action::ReportBackgroundFailure);
            self.end_all(todo);
        }
    }

    /// Handles that `run` has raised SIGSTOP. supervise writes that down before it continues the process.
    pub(super) fn stopped(&mut self, now: Moment, todo: &mut Vec<Action>) {
        if !self.awaits_stop() {
            return;
        }
        (self.taken, self.ready_by) = (Some(now), None);
        todo.extend([Action::Record, Action::Send(Signal::SIGCONT)]);
        if !self.came_up(now, todo) {
            todo.push(Action::Publish);
        }
    }

    /// Continues a `run` that has raised SIGSTOP: the supervise before this one may have been killed before it sent
    /// SIGCONT.
    pub(super) fn continue_stopped(&self, todo: &mut Vec<Action>) {
        let has_stopped = self.policy.expect == Some(Expect::Stop) && self.taken.is_some();
        if has_stopped && self.stage == Stage::Alive(Role::Run) && !self.paused {
            todo.push(Action::Send(Signal::SIGCONT));
        }
    }
}
