//! The programs that run beside `run`: `post-start`, `pre-stop` and `reload`. No clock, no I/O.
//!
//! Only one of them runs at a time. What is to run next is asked again whenever one has ended:
//!
//! | what is so | what runs |
//! |---|---|
//! | the service is wanted down, or is restarted by `du` in one write | `pre-stop`; after it, `run` is told to end |
//! | `run` is up by its own word, or runs, where it gives none | `post-start`; after it, the service is ready |
//! | the service was told to load its configuration again | `reload` |
//!
//! So `d` waits for a `post-start` that runs, and `u` cancels a stop as long as `pre-stop` runs. A `reload` is ended by the
//! first `d`. Once `run` was told to end, says that it ends, or was sent KILL, none of them is started. Their exits count for
//! nothing, except that 125 of `post-start` fails the service. One for which the system has no process to give counts as
//! having ended.
//!
//! If `run` ends while one of them runs, `finish` waits for that ([`Stage::Outlived`]). A second `d` that comes without `x`,
//! `k`, or the program's own limit ends one that takes too long.

use super::{Action, KILL_OVERDUE, Machine, MissedDeadline, Stage, earlier};
use crate::suspend_credit::Deadline;
use daemontools::service::{Beside, Ending, Exit, Failure, Role, Verdict, Want};
use daemontools::tai64::Moment;
use nix::sys::signal::Signal;
use std::time::Duration;

/// A program that runs beside `run`, or has outlived it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BesideRun {
    pub which: Beside,
    /// The process was not seen to become the program yet.
    pub gated: bool,
    /// When it is killed if it has not ended.
    pub kill_at: Option<Deadline>,
    /// It was told to end, so that its own limit is not the reason if it is killed.
    pub is_told: bool,
}

impl Machine {
    /// Has the next program run beside `run`, if there is one to run. If the service is wanted down and nothing is to run
    /// before that, `run` is told to end.
    pub(super) fn next_beside(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let may_act = self.is_up_or_active() && self.beside.is_none() && self.hold.is_none();
        if !may_act || self.ending == Some(Ending::Told) {
            return;
        }
        let may_launch = self.ending.is_none() && !self.progress.killed;
        if self.stage == Stage::Active && self.is_condemned() {
            self.end_activity(now, todo);
        } else if self.is_to_stop() {
            if self.policy.has_pre_stop && !self.progress.pre_stopped && may_launch {
                self.launch_beside(Beside::PreStop, todo);
            } else {
                self.stop_run(now, todo);
            }
        } else if !may_launch {
            // `run` is about to end.
        } else if self.progress.post_start {
            self.launch_beside(Beside::PostStart, todo);
        } else if self.progress.reload {
            self.launch_beside(Beside::Reload, todo);
        }
    }

    pub(super) fn runs_pre_stop(&self) -> bool {
        self.beside.is_some_and(|beside| beside.which == Beside::PreStop)
    }

    /// Whether a command asks for the end of `run`.
    pub(super) fn is_to_stop(&self) -> bool {
        self.want == Want::Down || self.progress.restart
    }

    /// Restarts the service: a `u` came in one write with the `d` before it, so the `u` does not cancel the stop that
    /// has begun.
    pub(super) fn restart(&mut self, now: Moment, todo: &mut Vec<Action>) {
        if self.is_up_or_active() && self.ending != Some(Ending::Told) {
            self.progress.restart = true;
            todo.push(Action::Publish);
            self.next_beside(now, todo);
        }
    }

    fn launch_beside(&mut self, which: Beside, todo: &mut Vec<Action>) {
        self.beside = Some(BesideRun { which, gated: false, kill_at: None, is_told: false });
        todo.push(Action::LaunchBeside(which));
    }

    pub(super) fn beside_launched(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let Some(beside) = &mut self.beside else { return };
        // The record that names the process is the first that does not ask for `reload` any more.
        self.progress.reload &= beside.which != Beside::Reload;
        beside.gated = true;
        beside.kill_at = self.policy.timeouts.of_beside(beside.which).map(|wait| Deadline::new(now, wait));
        todo.extend([Action::Record, Action::OpenBesideGate, Action::Publish]);
    }

    /// Handles that the process beside `run` has become its program, and has that written down: from now on, the end of
    /// the process is the end of the program.
    pub(super) fn beside_executed(&mut self, todo: &mut Vec<Action>) {
        let Some(beside) = &mut self.beside else { return };
        beside.gated = false;
        todo.push(Action::Publish);
    }

    /// Handles that the process beside `run` was never let through its gate, or that supervise does not know whether it
    /// was. The program is started again, if it is still to run.
    pub(super) fn beside_never_began(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let Some(beside) = self.beside.take() else { return };
        match beside.which {
            Beside::Reload => self.progress.reload = true,
            Beside::PostStart | Beside::PreStop => {}
        }
        self.go_on(now, todo);
    }

    /// Handles that the system had no process for the program beside `run`: the program counts as having ended.
    pub(super) fn beside_not_launched(&mut self, now: Moment, todo: &mut Vec<Action>) {
        self.progress.reload &= self.beside.is_none_or(|beside| beside.which != Beside::Reload);
        self.beside_ended(now, Exit::Unknown, todo);
    }

    /// Handles that the program beside `run` has ended or could not be started. What follows is the same in both cases.
    pub(super) fn beside_ended(&mut self, now: Moment, exit: Exit, todo: &mut Vec<Action>) {
        let Some(beside) = self.beside.take() else { return };
        match beside.which {
            Beside::PostStart if exit == Exit::Code(125) => self.post_start_failed(now, todo),
            Beside::PostStart => self.post_started(now, todo),
            // The stop goes on, unless it was cancelled.
            Beside::PreStop => {
                self.progress.pre_stopped = self.is_to_stop();
                if let Some(end) = &mut self.life_end {
                    end.has_pre_stop = self.progress.pre_stopped;
                }
            }
            Beside::Reload => {}
        }
        self.go_on(now, todo);
    }

    pub(super) fn go_on(&mut self, now: Moment, todo: &mut Vec<Action>) {
        match (self.stage, self.life_end) {
            (Stage::Outlived, Some(end)) => self.end_life(now, end, todo),
            (Stage::Alive(Role::Run), _) => self.next_or_publish(now, todo),
            (Stage::Active, _) => {
                // What was decided is written down before it is done.
                todo.push(Action::Publish);
                self.next_beside(now, todo);
            }
            // `run` has ended meanwhile, and what it has left is looked for: a stop goes on now.
            (Stage::Looking(_), _) if self.is_to_stop() && self.hold.is_none() && !self.is_ending_search() => {
                self.stop_search(todo);
            }
            (Stage::Looking(_) | Stage::Outlived, _)
            | (Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) | Stage::Alive(_), _) => {
                todo.push(Action::Publish);
            }
        }
    }

    /// Does what comes next, and has the record written after that: that `run` was told to end is written down only once it
    /// was told so. If supervise is killed before, the next one finds the record from before, and does the same again.
    pub(super) fn next_or_publish(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let before = todo.len();
        self.next_beside(now, todo);
        if todo.len() == before {
            todo.push(Action::Publish);
        }
    }

    fn post_started(&mut self, now: Moment, todo: &mut Vec<Action>) {
        self.progress.post_start = false;
        let runs = self.is_up_or_active() || self.search().is_some();
        if runs && self.ending.is_none() && !self.is_to_stop() {
            self.ready = Some(now);
            todo.push(Action::Announce('U'));
        }
    }

    /// Fails the service because `post-start` has exited with 125: `run` is told to end, and is not started again.
    fn post_start_failed(&mut self, now: Moment, todo: &mut Vec<Action>) {
        self.progress.post_start = false;
        self.verdict = self.give_up(Failure::PostStart);
        if self.stage == Stage::Alive(Role::Run) && self.ending != Some(Ending::Told) {
            self.end(now, Ending::Told, self.policy.down_signal, todo);
        }
    }

    /// Ends the program that runs beside `run`: it has five seconds.
    pub(super) fn end_beside(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let Some(beside) = &mut self.beside else { return };
        beside.kill_at = earlier(beside.kill_at, Some(Deadline::new(now, KILL_OVERDUE)));
        beside.is_told = true;
        todo.extend([Action::SendBeside(Signal::SIGTERM), Action::SendBeside(Signal::SIGCONT), Action::Publish]);
    }

    /// Whether it is decided already that this life has failed the service, whatever `run` exits with.
    pub(super) fn is_condemned(&self) -> bool {
        self.verdict == Verdict::GiveUp
    }

    /// Kills the program if its time is over.
    pub(super) fn beside_woken(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let Some(beside) = self.beside.as_mut().filter(|beside| beside.kill_at.is_some_and(|at| at.has_passed(now)))
        else {
            return;
        };
        beside.kill_at = None;
        let within = self.policy.timeouts.of_beside(beside.which).filter(|_| !beside.is_told);
        let missed = within.map(|within| MissedDeadline::BesideStillRuns(beside.which, within));
        todo.extend(missed.map(Action::ReportMissedDeadline));
        todo.push(Action::SendBeside(Signal::SIGKILL));
    }

    /// How long a program that runs beside `run` has from when its time began until it is killed.
    pub(super) fn time_of_beside(&self, which: Beside) -> Duration {
        self.policy.timeouts.of_beside(which).unwrap_or(KILL_OVERDUE)
    }
}
