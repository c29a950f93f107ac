//! Whether a command has had its effect, as its user means it. No clock, no I/O.
//!
//! The goals of svwait are about one moment: a service that ends at once, again and again, is `ready` each time it is
//! executed. A user who starts a service wants to know whether it works. So a start is only reached if `run` has run
//! for a second, and it has failed with the first `run` that ended by itself before that, though supervise starts it
//! again. A service that is run once may have done its work by then: it has succeeded if it exits 0.

use super::goal::{Goal, GoalState, Sent, evaluate};
use super::{Death, Exit, Observation, Stage};
use crate::duration::brief;
use crate::tai64::{Moment, Tai64N, between};
use std::time::Duration;

/// How long `run` must have run. Source: supervisord's `startsecs`.
pub const STABLE: Duration = Duration::from_secs(1);

/// What a service must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// The service comes to the goal.
    Comes,
    /// The service comes to the goal, and stays there for [`STABLE`].
    Stays,
    /// The service does what [`Test::Stays`] demands, or its `run` exits 0 before.
    StaysOrIsDone,
}

/// A command that a service was given, and what the service must show for it to have had its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial<'a> {
    /// What the service is to come to.
    pub goal: Goal,
    /// The commands that the service was given.
    pub sent: Sent,
    /// What the service must show.
    pub test: Test,
    /// The observation of the service before the commands.
    pub before: &'a Observation,
    /// When the service was given the commands.
    pub told_at: Tai64N,
}

/// What an observation means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The service has come there.
    Reached,
    /// The service may still come there. The caller is to look at it after this time, if no change of it is reported
    /// before.
    NotYet(Option<Duration>),
    /// The service will not come there, or has failed once. The text says why.
    Failed(String),
}

impl Trial<'_> {
    /// What this observation means.
    pub fn judge(&self, seen: &Observation, now: Moment) -> Outcome {
        match (self.test, self.new_end(seen)) {
            (Test::Comes, _) | (Test::Stays | Test::StaysOrIsDone, None) => {}
            (Test::StaysOrIsDone, Some(Death { exit: Exit::Code(0), .. })) => return Outcome::Reached,
            (Test::Stays | Test::StaysOrIsDone, Some(death)) => {
                let lived = brief(between(death.started, death.ended));
                let record = seen.seen.as_ref().and_then(|seen| seen.record.as_ref());
                let words = record.map_or_else(|| death.exit.words(), |record| record.words_of(&death));
                return Outcome::Failed(format!("{words} after {lived}"));
            }
        }
        match evaluate(self.goal, self.sent, self.before, seen) {
            GoalState::NotYet => Outcome::NotYet(None),
            GoalState::Never(reason) => Outcome::Failed(reason.words(seen)),
            GoalState::Reached if self.test != Test::Comes => match still_to_run(seen, now) {
                Some(left) => Outcome::NotYet(Some(left)),
                None => Outcome::Reached,
            },
            GoalState::Reached => Outcome::Reached,
        }
    }

    /// The last end of a `run` that was started after the command. The end of the `run` before does not count, because
    /// the command may have asked for it.
    fn new_end(&self, seen: &Observation) -> Option<Death> {
        let last = *seen.seen.as_ref()?.record.as_ref()?.deaths.last()?;
        let is_new = between(self.told_at, last.started) > Duration::ZERO;
        is_new.then_some(last)
    }
}

/// How much longer `run` must run; `None`: it has run long enough, or its supervise does not tell.
fn still_to_run(seen: &Observation, now: Moment) -> Option<Duration> {
    let snapshot = seen.seen.as_ref()?;
    let since = snapshot.record.as_ref()?.since;
    let left = STABLE.checked_sub(now.uptime.saturating_sub(since.uptime))?;
    (Stage::of(snapshot) == Stage::Up && !left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Command, Phase, Presence, Process, Record, Role, Snapshot, Status, Want};
    use crate::tai64::Tai64;
    use nix::unistd::Pid;

    fn at(milliseconds: u64) -> Moment {
        let uptime = Duration::from_millis(milliseconds);
        let nanos = uptime.subsec_nanos();
        Moment { uptime, label: Tai64N(Tai64::from_unix(i64::try_from(uptime.as_secs()).unwrap()), nanos) }
    }

    fn seen(record: Record) -> Observation {
        let seen = Snapshot::of(Status::actual(&record), None, Some(record));
        Observation { presence: Presence::Here, seen: Some(seen), unwritten: None }
    }

    fn down() -> Record {
        Record { since: at(1000), ..Record::blank() }
    }

    fn up(since: u64, starts: u64) -> Record {
        let process = Process { pid: Pid::from_raw(7), ticks: 1, serial: 0 };
        Record {
            since: at(since),
            process: Some((Role::Run, process)),
            phase: Phase::Running,
            want: Want::Up,
            ready: Some(at(since)),
            starts,
            ..Record::blank()
        }
    }

    fn death(started: u64, ended: u64, exit: Exit) -> Vec<Death> {
        vec![Death { started: at(started).label, ended: at(ended).label, exit, counts: true, is_told: false }]
    }

    #[test]
    fn a_start_must_last() {
        let (before_start, before_restart) = (seen(down()), seen(up(1000, 1)));
        let start = Trial {
            goal: Goal::Ready,
            sent: Sent::by(&Command::Up.into()),
            test: Test::Stays,
            before: &before_start,
            told_at: at(5000).label,
        };
        let restart = Trial {
            sent: Sent { to_start: true, to_end: true, only_to_exit: false },
            before: &before_restart,
            ..start.clone()
        };
        let once =
            Trial { goal: Goal::Up, sent: Sent::by(&Command::Once.into()), test: Test::StaysOrIsDone, ..start.clone() };
        let left = |milliseconds| Outcome::NotYet(Some(Duration::from_millis(milliseconds)));
        let table = [
            (&start, down(), 5100, Outcome::NotYet(None)),
            (&start, up(5100, 1), 5200, left(900)),
            (&start, up(5100, 1), 6100, Outcome::Reached),
            (&start, Record { ready: None, ..up(5100, 1) }, 9000, Outcome::NotYet(None)),
            (
                &start,
                Record {
                    deaths: death(5100, 5300, Exit::Code(3)),
                    next_start: Some(at(6100)),
                    want: Want::Up,
                    ..down()
                },
                5300,
                Outcome::Failed("exited 3 after 0.2s".into()),
            ),
            // It was started again already.
            (
                &start,
                Record { deaths: death(5100, 5300, Exit::Code(3)), ..up(5400, 2) },
                5450,
                Outcome::Failed("exited 3 after 0.2s".into()),
            ),
            // What is run once may be done at once.
            (&once, up(5100, 1), 5200, left(900)),
            (&once, Record { deaths: death(5100, 5300, Exit::Code(0)), ..down() }, 5300, Outcome::Reached),
            (&start, Record { deaths: death(5100, 5300, Exit::Code(0)), ..down() }, 5300, {
                Outcome::Failed("exited 0 after 0.2s".into())
            }),
            (&once, Record { deaths: death(5100, 5300, Exit::Code(1)), ..down() }, 5300, {
                Outcome::Failed("exited 1 after 0.2s".into())
            }),
            (&restart, up(1000, 1), 5100, Outcome::NotYet(None)),
            (&restart, Record { deaths: death(1000, 5050, Exit::Signal(15)), ..up(5100, 2) }, 5200, left(900)),
            (&restart, Record { deaths: death(1000, 5050, Exit::Signal(15)), ..up(5100, 2) }, 7200, Outcome::Reached),
        ];
        for (number, (trial, record, now, outcome)) in table.into_iter().enumerate() {
            assert_eq!(trial.judge(&seen(record), at(now)), outcome, "row {number}");
        }
    }

    #[test]
    fn an_end_need_not_last() {
        let before = seen(up(1000, 1));
        let stop = Trial {
            goal: Goal::Finished,
            sent: Sent::by(&Command::Down.into()),
            test: Test::Comes,
            before: &before,
            told_at: at(5000).label,
        };
        let ended = Record { deaths: death(1000, 5050, Exit::Signal(15)), ..down() };
        assert_eq!(stop.judge(&seen(ended), at(5060)), Outcome::Reached);
    }
}
