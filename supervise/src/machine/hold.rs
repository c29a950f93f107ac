//! Transitions that another program holds back: the start of a life, before any of its programs runs, and the end of one,
//! before `run` is told to end by a command, or otherwise before what follows its end. No clock, no I/O.
//!
//! Before each, supervise asks ([`Action::AskHolder`]). Usually no program holds it back, and the machine goes on at once.
//! Otherwise it goes on when it is let go:
//!
//! - by the command `g`, or by the same command once more: `u` or `o` for a start, a second `d` for an end;
//! - by `x`, with which svscan stops everything, and, for an end, by `k`: neither ever waits for a holder;
//! - when the holder is gone and no other has come for ten seconds.
//!
//! `d` cancels a start that is held, and `u` an end that was commanded, as long as `run` was not told to end. What is held is
//! in the record. The next supervise takes the holder for gone, asks at once, and so finds it again.

use super::{Action, Machine, Stage};
use daemontools::service::{Ending, Held, Role, Verdict};
use daemontools::tai64::Moment;
use std::time::Duration;

/// supervise waits for another holder for this time after the program that held a transition back is gone.
const LONGEST_WITHOUT_HOLDER: Duration = Duration::from_secs(10);
/// The pause between two looks for another holder.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A transition that is, or may be, held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    which: Held,
    holder: Holder,
}

/// What is known of the holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// supervise has asked whether a program holds the transition back.
    Asked,
    /// A program holds the transition back.
    Holds,
    /// The program that held the transition back is gone. supervise asks for another one at `ask_at`, and goes on at
    /// `until` if there is none.
    Gone { until: Moment, ask_at: Moment },
}

impl Hold {
    /// The transition in the record of the supervise before this one.
    pub fn of_record(which: Held, now: Moment) -> Hold {
        Hold { which, holder: Holder::gone(now) }
    }
}

impl Holder {
    fn gone(now: Moment) -> Holder {
        Holder::Gone { until: now.after(LONGEST_WITHOUT_HOLDER), ask_at: now }
    }
}

impl Machine {
    /// The transition that is held back.
    pub fn held(&self) -> Option<Held> {
        self.hold.filter(|hold| hold.holder != Holder::Asked).map(|hold| hold.which)
    }

    /// Asks whether a program holds this transition back. The caller must add no action after this one.
    pub(super) fn ask_holder(&mut self, which: Held, todo: &mut Vec<Action>) {
        self.hold = Some(Hold { which, holder: Holder::Asked });
        todo.push(Action::AskHolder(which));
    }

    /// Whether the end of this life may be held back, and supervise has not asked yet.
    pub(super) fn may_hold_end(&self) -> bool {
        self.hold.is_none() && !self.leaving && !self.progress.killed && !self.progress.let_go
    }

    /// A command ends the life: `run` is told to end, unless that is held back.
    pub(super) fn stop_run(&mut self, now: Moment, todo: &mut Vec<Action>) {
        if self.ending.is_none() && self.may_hold_end() {
            self.ask_holder(Held::Stopping, todo);
        } else if self.stage == Stage::Active {
            self.end_activity(now, todo);
        } else {
            self.end(now, Ending::Told, self.policy.down_signal, todo);
        }
    }

    /// A program holds the transition back.
    pub(super) fn was_held(&mut self, todo: &mut Vec<Action>) {
        let Some(hold) = &mut self.hold else { return };
        match std::mem::replace(&mut hold.holder, Holder::Holds) {
            Holder::Asked => {
                let letter = match hold.which {
                    Held::Starting => 'h',
                    Held::Stopping => 'H',
                };
                todo.extend([Action::Publish, Action::Announce(letter)]);
            }
            Holder::Holds | Holder::Gone { .. } => {}
        }
    }

    /// No program holds the transition back, as far as supervise has found now.
    pub(super) fn was_not_held(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let Some(hold) = &mut self.hold else { return };
        match &mut hold.holder {
            Holder::Asked => self.let_go(now, todo),
            Holder::Holds => {}
            Holder::Gone { until, .. } if until.uptime <= now.uptime => self.let_go(now, todo),
            Holder::Gone { ask_at, .. } => *ask_at = now.after(ASK_AGAIN),
        }
    }

    pub(super) fn holder_left(&mut self, now: Moment) {
        let Some(hold) = &mut self.hold else { return };
        match hold.holder {
            Holder::Holds => hold.holder = Holder::gone(now),
            Holder::Asked | Holder::Gone { .. } => {}
        }
    }

    /// Asks again, if it is time.
    pub(super) fn hold_woken(&mut self, now: Moment, todo: &mut Vec<Action>) {
        match self.hold {
            Some(_) if self.leaving => self.let_go(now, todo),
            Some(Hold { which, holder: Holder::Gone { ask_at, .. } }) if ask_at.uptime <= now.uptime => {
                todo.push(Action::AskHolder(which));
            }
            Some(_) | None => {}
        }
    }

    pub(super) fn hold_deadline(&self) -> Option<Duration> {
        match self.hold?.holder {
            Holder::Gone { ask_at, .. } => Some(ask_at.uptime),
            Holder::Asked | Holder::Holds => None,
        }
    }

    /// Goes on with the transition.
    pub(super) fn let_go(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let Some(Hold { which, .. }) = self.hold.take() else { return };
        match (which, self.stage) {
            (Held::Starting, Stage::Preparing) if self.is_wanted() => todo.push(Action::Configure),
            (Held::Starting, _) => self.wind_down(Verdict::AsWanted, todo),
            (Held::Stopping, stage) => {
                self.progress.let_go = true;
                match (stage, self.life_end) {
                    (Stage::Alive(Role::Run) | Stage::Active, _) if self.is_to_stop() => self.stop_run(now, todo),
                    (Stage::Looking(_), _) if self.is_to_stop() && !self.is_ending_search() => self.end_search(todo),
                    (Stage::Outlived, Some(end)) => self.end_life(now, end, todo),
                    (Stage::Outlived, None) => self.finished(now, self.verdict, todo),
                    (Stage::Alive(_) | Stage::Active | Stage::Looking(_), _)
                    | (Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_), _) => {
                        todo.push(Action::Publish);
                    }
                }
            }
        }
    }

    /// Whether the service still runs, or its process is looked for, so that its end can be cancelled.
    fn was_not_told_to_end(&self) -> bool {
        self.is_up_or_active() || (self.search().is_some() && !self.is_ending_search())
    }

    /// `u` or `o` came.
    pub(super) fn wants_up_though_held(&mut self, now: Moment, todo: &mut Vec<Action>) {
        match self.hold.map(|hold| hold.which) {
            Some(Held::Starting) => self.let_go(now, todo),
            Some(Held::Stopping) if self.was_not_told_to_end() && !self.is_to_stop() => {
                self.hold = None;
                self.progress.pre_stopped = false;
            }
            Some(Held::Stopping) | None => {}
        }
    }

    /// `d` came, perhaps once more. A held end goes on only at the second one.
    pub(super) fn wants_down_though_held(&mut self, now: Moment, is_told_again: bool, todo: &mut Vec<Action>) {
        match self.hold.map(|hold| hold.which) {
            Some(Held::Stopping) if !is_told_again => todo.push(Action::Publish),
            Some(Held::Starting | Held::Stopping) => self.let_go(now, todo),
            None => {}
        }
    }

    /// `k` came: it never waits for a holder.
    pub(super) fn killed_though_held(&mut self, now: Moment, todo: &mut Vec<Action>) {
        match (self.hold.map(|hold| hold.which), self.stage) {
            // The end of `run`, or of what it has left, follows.
            (Some(Held::Stopping), Stage::Alive(_) | Stage::Looking(_)) => self.hold = None,
            (Some(Held::Stopping), _) => self.let_go(now, todo),
            (Some(Held::Starting) | None, _) => {}
        }
    }
}
