//! What is written down of a machine, and how the machine of the next supervise goes on from that. No clock, no I/O.

use super::beside::BesideRun;
use super::hold::Hold;
use super::{IdleReason, KILL_OVERDUE, Machine, Pause, Stage};
use crate::suspend_credit::Deadline;
use daemontools::service::policy::Policy;
use daemontools::service::{Death, Exit, Held, LifeEnd, Phase, Record, Role, SOON, Want};
use daemontools::tai64::{self, Moment};
use std::time::Duration;

impl Machine {
    /// A service at rest, whose past is remembered.
    pub fn remember(policy: Policy, want: Want, record: &Record, now: Moment) -> Machine {
        let mut machine = Machine {
            starts: record.starts,
            ends: record.ends,
            deaths: record.deaths.clone(),
            ..Machine::new(policy, want, now)
        };
        machine.forgive_deaths();
        machine
    }

    /// The service as the supervise before this one left it when it was killed. A process in the record is taken to be
    /// alive: if it is not, [`Event::Ended`] must be the first event.
    pub fn resume(policy: Policy, record: &Record, now: Moment) -> Machine {
        let stage = match (record.process, record.search, record.next_start, record.phase) {
            (Some((role, _)), _, _, _) => Stage::Alive(role),
            (None, _, _, _) if record.active => Stage::Active,
            (None, Some(search), _, _) => Stage::Looking(search),
            (None, None, _, _) if record.beside.is_some() || record.held == Some(Held::Stopping) => Stage::Outlived,
            (None, None, None, _) if record.held == Some(Held::Starting) => Stage::Preparing,
            (None, None, Some(moment), _) => Stage::Waiting(Pause::until(moment)),
            (None, None, None, Phase::Failed) => Stage::Idle(IdleReason::Failed),
            (None, None, None, _) => Stage::Idle(IdleReason::Stopped),
        };
        let ending = record.ending.filter(|_| record.process.is_some() || record.search.is_some());
        // Only a `run` that was not told to end has something to do in time.
        let runs = matches!(stage, Stage::Alive(Role::Run)) && ending.is_none() && !record.paused;
        let watchdog = policy.watchdog.filter(|_| runs);
        let ready_within =
            policy.start_limit().filter(|_| runs && record.ready.is_none() && !record.progress.post_start);
        let ago = |death: &Death| Duration::from_secs(tai64::seconds_between(death.ended, now.label));
        let gated = record.beside_gated;
        let beside = record.beside.map(|(which, _)| BesideRun { which, gated, kill_at: None, is_told: false });
        let is_possible = |held: &Held| match held {
            Held::Starting => stage == Stage::Preparing,
            Held::Stopping => {
                matches!(stage, Stage::Outlived | Stage::Active | Stage::Looking(_) | Stage::Alive(Role::Run))
            }
        };
        let mut machine = Machine {
            stage,
            hold: record.held.filter(is_possible).map(|held| Hold::of_record(held, now)),
            beside,
            progress: record.progress,
            ready_by: ready_within.map(|within| Deadline::new(record.since, within)),
            alive_by: watchdog.map(|within| Deadline::new(now, within)),
            recent_deaths: record
                .deaths
                .iter()
                .filter(|death| death.counts)
                .map(|death| now.uptime.saturating_sub(ago(death)))
                .collect(),
            since: record.since,
            ready: record.ready,
            paused: record.paused,
            ending,
            gated: record.process.is_some() && record.gated,
            kill_at: record
                .process
                .map(|(role, _)| role)
                .or(record.search.map(|_| Role::Run))
                .zip(record.kill_at)
                .map(|(role, at)| Deadline::resume(at, time_to_end(&policy, role))),
            taken: record.taken,
            unstable_until: record.unstable.then(|| now.uptime.saturating_add(SOON)),
            astray: record.astray,
            to_group: record.to_group,
            leaving: record.leaving,
            start_done: record.begun,
            again: record.again,
            // A supervise of version 0.1.0 did not write it down.
            life_end: record.life_end.or_else(|| life_end_by_death(record)),
            verdict: record.verdict,
            failure: record.failure,
            started: record.since,
            ends: record.ends,
            starts: record.starts,
            short_runs: record.streak,
            deaths: record.deaths.clone(),
            ..Machine::new(policy, record.want, now)
        };
        let time = machine.beside.map(|beside| machine.time_of_beside(beside.which));
        let kill_at = record.beside_kill_at.zip(time).map(|(at, time)| Deadline::resume(at, time));
        machine.beside.iter_mut().for_each(|beside| beside.kill_at = kill_at);
        machine.resume_search(now);
        machine
    }

    /// The record that is to be written down. The caller adds who the process is.
    pub fn record(&self) -> Record {
        Record {
            want: self.foretold.unwrap_or(self.want),
            phase: self.phase(),
            active: self.stage == Stage::Active,
            beside_gated: self.beside.is_some_and(|beside| beside.gated),
            beside_kill_at: self.beside.and_then(|beside| beside.kill_at).map(|deadline| deadline.at),
            progress: self.progress,
            since: self.since,
            ready: self.ready,
            held: self.held(),
            paused: self.paused,
            ending: self.ending,
            gated: self.gated,
            kill_at: self.kill_at.map(|deadline| deadline.at),
            to_group: self.to_group,
            leaving: self.leaving,
            begun: self.start_done,
            again: self.again,
            life_end: self.life_end,
            taken: self.taken,
            unstable: self.unstable_until.is_some(),
            search: self.search(),
            astray: self.astray,
            verdict: self.verdict,
            failure: self.failure,
            next_start: match self.stage {
                Stage::Waiting(pause) => Some(pause.until),
                Stage::Idle(_) | Stage::Preparing | Stage::Launching(_) | Stage::Alive(_) => None,
                Stage::Active | Stage::Looking(_) | Stage::Outlived => None,
            },
            streak: self.short_runs,
            starts: self.starts,
            ends: self.ends,
            deaths: self.deaths.clone(),
            ..Record::blank()
        }
    }

    /// Whether `run` was told to end, or will be once what runs beside it has ended.
    fn is_to_end(&self) -> bool {
        self.ending.is_some()
            || (self.is_to_stop() && (self.beside.is_some() || self.hold.is_some() || self.policy.has_pre_stop))
    }

    fn phase(&self) -> Phase {
        match self.stage {
            Stage::Idle(IdleReason::Failed) => Phase::Failed,
            Stage::Idle(IdleReason::Stopped) => Phase::Stopped,
            Stage::Waiting(_) | Stage::Preparing if self.start_done => Phase::Started,
            Stage::Waiting(_) | Stage::Preparing => Phase::Stopped,
            Stage::Launching(Role::Start | Role::PreStart) | Stage::Alive(Role::Start | Role::PreStart) => {
                Phase::Starting
            }
            Stage::Launching(Role::Run) | Stage::Alive(Role::Run) | Stage::Active if !self.is_to_end() => {
                Phase::Running
            }
            Stage::Looking(_) if !self.is_ending_search() && !self.is_to_end() => Phase::Starting,
            Stage::Launching(_) | Stage::Alive(_) | Stage::Active | Stage::Looking(_) | Stage::Outlived => {
                Phase::Stopping
            }
        }
    }
}

/// How the life has ended that the `finish` in this record, or the one that comes next, is about, as far as is known.
fn life_end_by_death(record: &Record) -> Option<LifeEnd> {
    let exit = match (record.process, record.beside) {
        (Some((Role::Finish, _)), _) => record.deaths.last()?.exit,
        (None, Some(_)) if record.active => return None,
        // The record named a process of `run` that was not believed.
        (None, Some(_)) => Exit::Unknown,
        (Some(_) | None, _) => return None,
    };
    Some(LifeEnd { role: Role::Run, exit, is_told: record.want == Want::Down, has_pre_stop: false })
}

/// How long a process has from when it is told to end until it is killed.
fn time_to_end(policy: &Policy, role: Role) -> Duration {
    policy.timeouts.of(role).or(policy.kill_after).unwrap_or(KILL_OVERDUE)
}
