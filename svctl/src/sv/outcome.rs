//! Whether a service has come where a verb of sv wants it. No clock, no I/O.

use super::verb::Condition;
use daemontools::service::goal::{Goal, GoalState, Reason, Sent, evaluate};
use daemontools::service::{Observation, Presence, RunitState, Snapshot, Want};

/// What an observation means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The service has come there.
    Reached,
    /// It may still.
    NotYet,
    /// It has no supervise.
    NotRunning,
    /// It will not come there; why, in words.
    Never(String),
}

/// What is tried.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// What the service must show.
    pub conditions: &'a [Condition],
    /// What it was told.
    pub sent: Sent,
    /// How it was before.
    pub before: Observation,
}

impl Attempt<'_> {
    /// What this observation means. The first condition that is not met decides.
    pub fn judge(&self, now: &Observation) -> Outcome {
        if now.presence == Presence::Gone && !self.conditions.contains(&Condition::Gone) {
            return Outcome::NotRunning;
        }
        let outcomes = self.conditions.iter().map(|condition| self.meets(*condition, now));
        let outcome = outcomes.into_iter().find(|outcome| *outcome != Outcome::Reached);
        outcome.unwrap_or(Outcome::Reached)
    }

    fn meets(&self, condition: Condition, now: &Observation) -> Outcome {
        let evaluated = |goal: Goal| outcome_of(evaluate(goal, self.sent, &self.before, now), now);
        let Some(seen) = &now.seen else {
            return if condition == Condition::Gone { self.is_gone(now, None) } else { Outcome::NotYet };
        };
        let status = &seen.status;
        let if_so = |is_so: bool| if is_so { Outcome::Reached } else { Outcome::NotYet };
        match condition {
            // A service that ends at once, again and again, is ready each time that it is started.
            Condition::Up => both(evaluated(Goal::Ready), if_so(runs(seen))),
            Condition::Down => evaluated(Goal::Finished),
            Condition::Once => both(evaluated(Goal::Up), if_so(status.want != Want::Up)),
            Condition::Restarted if status.pid.is_none() && status.want != Want::Up => Outcome::Reached,
            Condition::Restarted => both(evaluated(Goal::Restarted), if_so(runs(seen))),
            Condition::Paused => if_so(status.pid.is_none() || status.paused),
            Condition::Continued => if_so(status.pid.is_none() || !status.paused),
            Condition::Gone => self.is_gone(now, Some(seen)),
            Condition::Ready => if_so(status.pid.is_none() || !seen.is_known_unready()),
        }
    }

    /// svscan starts another supervise for a service that is still in its directory.
    fn is_gone(&self, now: &Observation, seen: Option<&Snapshot>) -> Outcome {
        let by = |seen: Option<&Snapshot>| seen.and_then(|seen| seen.record.as_ref()).map(|record| record.supervise);
        let (before, now_by) = (by(self.before.seen.as_ref()), by(seen));
        let is_another = before.zip(now_by).is_some_and(|(before, now)| before != now);
        if now.presence != Presence::Here || is_another { Outcome::Reached } else { Outcome::NotYet }
    }
}

fn runs(seen: &Snapshot) -> bool {
    seen.status.running == RunitState::Run
}

/// The first that is not reached.
fn both(one: Outcome, other: Outcome) -> Outcome {
    if one == Outcome::Reached { other } else { one }
}

fn outcome_of(state: GoalState, now: &Observation) -> Outcome {
    match state {
        GoalState::Reached => Outcome::Reached,
        GoalState::NotYet => Outcome::NotYet,
        GoalState::Never(Reason::Unsupervised) => Outcome::NotRunning,
        GoalState::Never(reason) => Outcome::Never(reason.words(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::service::{Command, Commands, Phase, Process, Record, Role, Status};
    use nix::unistd::Pid;

    fn record(number: i32) -> Record {
        let supervise = Process { pid: Pid::from_raw(number), ticks: 1, serial: 0 };
        Record { supervise, want: Want::Down, ..Record::blank() }
    }

    fn down() -> Record {
        record(2)
    }

    fn up(starts: u64) -> Record {
        let process = Process { pid: Pid::from_raw(7), ticks: 1, serial: 0 };
        let process = Some((Role::Run, process));
        let ready = Some(daemontools::tai64::Moment::ZERO);
        Record { process, phase: Phase::Running, want: Want::Up, ready, starts, ..down() }
    }

    fn seen(presence: Presence, record: Record) -> Observation {
        let seen = Snapshot::of(Status::actual(&record), None, Some(record));
        Observation { presence, seen: Some(seen), unwritten: None }
    }

    fn judged(condition: Condition, commands: &[Command], before: Record, now: Observation) -> Outcome {
        let before = seen(Presence::Here, before);
        Attempt { conditions: &[condition], sent: Sent::by(&Commands::from(commands)), before }.judge(&now)
    }

    #[test]
    fn each_condition_is_met_by_what_it_names() {
        use Command::{Continue, Down, Exit, Once, Pause, Terminate, Up};
        use Outcome::{NotRunning, NotYet, Reached};
        let here = |record: Record| seen(Presence::Here, record);
        let stopping = || Record { phase: Phase::Stopping, ..up(1) };
        let waiting = || Record { process: None, phase: Phase::Stopped, starts: 2, ..up(2) };
        let paused = || Record { paused: true, ..up(1) };
        let unready = || Record { ready: None, ..up(1) };
        let once = || Record { want: Want::Once, ..up(1) };
        let away = |record: Record| seen(Presence::Away, record);
        let gone = |record: Record| seen(Presence::Gone, record);
        for (number, (condition, commands, before, now, expected)) in [
            (Condition::Up, &[Up][..], down(), here(down()), NotYet),
            (Condition::Up, &[Up], down(), here(up(1)), Reached),
            (Condition::Up, &[Up], up(1), here(up(1)), Reached),
            (Condition::Up, &[Up], down(), here(unready()), NotYet),
            (Condition::Up, &[Up], down(), here(waiting()), NotYet),
            (Condition::Up, &[Down, Up], up(1), here(up(1)), NotYet),
            (Condition::Up, &[Down, Up], up(1), here(up(2)), Reached),
            (Condition::Up, &[Up], down(), away(down()), NotYet),
            (Condition::Up, &[Up], down(), gone(down()), NotRunning),
            (Condition::Down, &[Down], up(1), here(up(1)), NotYet),
            (Condition::Down, &[Down], up(1), here(stopping()), NotYet),
            (Condition::Down, &[Down], up(1), here(down()), Reached),
            (Condition::Down, &[Down], down(), here(down()), Reached),
            (Condition::Once, &[Once], down(), here(down()), NotYet),
            (Condition::Once, &[Once], up(1), here(up(1)), NotYet),
            (Condition::Once, &[Once], up(1), here(once()), Reached),
            (Condition::Once, &[Once], down(), here(once()), Reached),
            (Condition::Restarted, &[Terminate, Continue], up(1), here(up(1)), NotYet),
            (Condition::Restarted, &[Terminate, Continue], up(1), here(waiting()), NotYet),
            (Condition::Restarted, &[Terminate, Continue], up(1), here(up(2)), Reached),
            (Condition::Restarted, &[Terminate, Continue], down(), here(down()), Reached),
            (Condition::Paused, &[Pause], up(1), here(up(1)), NotYet),
            (Condition::Paused, &[Pause], up(1), here(paused()), Reached),
            (Condition::Paused, &[Pause], down(), here(down()), Reached),
            (Condition::Continued, &[Continue], paused(), here(paused()), NotYet),
            (Condition::Continued, &[Continue], paused(), here(up(1)), Reached),
            (Condition::Gone, &[Down, Exit], up(1), here(up(1)), NotYet),
            (Condition::Gone, &[Down, Exit], up(1), here(down()), NotYet),
            (Condition::Gone, &[Down, Exit], up(1), away(down()), Reached),
            (Condition::Gone, &[Down, Exit], up(1), gone(down()), Reached),
            // svscan has started another supervise.
            (Condition::Gone, &[Down, Exit], up(1), here(record(3)), Reached),
            (Condition::Ready, &[], up(1), here(up(1)), Reached),
            (Condition::Ready, &[], up(1), here(unready()), NotYet),
            (Condition::Ready, &[], down(), here(down()), Reached),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(judged(condition, commands, before, now), expected, "case {number}: {condition:?}");
        }
    }

    #[test]
    fn a_service_that_has_failed_is_not_waited_for() {
        let failed = Record { phase: Phase::Failed, starts: 2, want: Want::Up, ..down() };
        let outcome = judged(Condition::Up, &[Command::Up], down(), seen(Presence::Here, failed));
        assert_eq!(outcome, Outcome::Never("failed".into()));
    }

    #[test]
    fn without_conditions_nothing_is_waited_for() {
        let attempt = Attempt { conditions: &[], sent: Sent::default(), before: seen(Presence::Here, up(1)) };
        assert_eq!(attempt.judge(&seen(Presence::Here, up(1))), Outcome::Reached);
    }
}
