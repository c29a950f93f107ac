//! What is seen of a service at one moment, and what stage of its life that shows. No clock, no I/O.
//!
//! At any moment a service is in one of these stages:
//!
//! - **Down**: nothing runs, and nothing is going to; or it has **failed**, which is the same but for the reason.
//! - **Waiting**: nothing runs, but `run` is going to: the service is wanted up, or waits for its next start.
//! - **Starting**: its `start` runs, or a process is about to become `run`, which may turn out not to be possible.
//! - **Up**: its `run` runs, and was not told to end.
//! - **Ending**: its `run` runs, and was told to end.
//! - **Finishing**: its `finish` or `stop` runs; what comes then is known.
//!
//! A supervise other than ours writes no more than the status. Of its services what runs is taken for `run`, what runs
//! is taken to be ready, and a service that is down has finished.

use super::{Exit, Phase, Record, Role, Snapshot, Status, Want};

/// Whether a supervise is in charge of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// A supervise is.
    Here,
    /// None is, but one may still come: svscan starts another where one was killed.
    Away,
    /// None has come for so long that none is expected.
    Gone,
}

/// What is seen of a service at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Whether a supervise is in charge.
    pub presence: Presence,
    /// What the service's files say; `None`: there are none yet.
    pub seen: Option<Snapshot>,
}

impl Observation {
    /// What is seen, in words: `up, not ready, last exited 1`.
    pub fn words(&self) -> String {
        let seen = self.seen.as_ref().map(|seen| {
            let last = seen.last_exit().map(|exit| format!(", last {}", exit.words()));
            words_of_stage(seen) + &last.unwrap_or_default()
        });
        match (self.presence, seen) {
            (Presence::Here, Some(seen)) => seen,
            (Presence::Here, None) => "supervise has written nothing yet".into(),
            (Presence::Away | Presence::Gone, Some(seen)) => format!("supervise not running, last seen {seen}"),
            (Presence::Away | Presence::Gone, None) => "supervise not running".into(),
        }
    }

    /// Why the service gave up, where its supervise tells.
    pub fn failure(&self) -> Option<String> {
        self.seen.as_ref()?.record.as_ref()?.failure_words()
    }
}

fn words_of_stage(seen: &Snapshot) -> String {
    let record = seen.record.as_ref();
    let role = record.and_then(|record| record.process).map(|(role, _)| role);
    let program = role.map_or("finish", Role::program);
    match Stage::of(seen) {
        Stage::Down => "down".into(),
        Stage::Failed => "failed".into(),
        Stage::Waiting => "waits for its next start".into(),
        Stage::Starting if role == Some(Role::Run) => "about to run".into(),
        Stage::Starting => "start runs".into(),
        Stage::Up if seen.is_known_unready() => "up, not ready".into(),
        Stage::Up => "up".into(),
        Stage::Ending => "up, told to end".into(),
        Stage::Finishing(_) => format!("{program} runs"),
    }
}

/// Where a service is in its life: see the list at the top of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing runs, and nothing is going to.
    Down,
    /// Nothing runs, and only a command starts it again.
    Failed,
    /// Nothing runs, but `run` is going to.
    Waiting,
    /// `start` runs, or a process is about to become `run`.
    Starting,
    /// `run` runs, and was not told to end.
    Up,
    /// `run` runs, and was told to end.
    Ending,
    /// `finish` or `stop` runs.
    Finishing(Next),
}

/// What comes after `finish` or `stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The service is down.
    Down,
    /// `run` is started again.
    Start,
}

impl Stage {
    /// The stage that a snapshot shows.
    pub fn of(seen: &Snapshot) -> Stage {
        match &seen.record {
            Some(record) => Stage::of_record(record),
            None => Stage::of_status(&seen.status),
        }
    }

    fn of_record(record: &Record) -> Stage {
        let wanted = record.want == Want::Up && !record.leaving;
        match record.process.map(|(role, _)| role) {
            Some(Role::Start) => Stage::Starting,
            Some(Role::Run) if record.phase == Phase::Running && record.gated => Stage::Starting,
            Some(Role::Run) if record.phase == Phase::Running => Stage::Up,
            Some(Role::Run) => Stage::Ending,
            Some(Role::Finish | Role::Stop) if wanted => Stage::Finishing(Next::Start),
            Some(Role::Finish | Role::Stop) => Stage::Finishing(Next::Down),
            None if record.phase == Phase::Failed => Stage::Failed,
            None if record.next_start.is_some() || wanted => Stage::Waiting,
            None => Stage::Down,
        }
    }

    fn of_status(status: &Status) -> Stage {
        match (status.pid, status.phase) {
            (None, Phase::Failed) => Stage::Failed,
            (None, _) if status.want == Want::Up => Stage::Waiting,
            (None, _) => Stage::Down,
            (Some(_), Phase::Starting | Phase::Started) => Stage::Starting,
            (Some(_), Phase::Stopping) => Stage::Ending,
            (Some(_), Phase::Running | Phase::Stopped | Phase::Failed) => Stage::Up,
        }
    }
}

impl Snapshot {
    /// Whether its supervise tells of readiness, and says that the service is not ready.
    pub fn is_known_unready(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.ready.is_none())
    }

    /// How `run` ended the last time, where its supervise tells.
    pub fn last_exit(&self) -> Option<Exit> {
        self.record.as_ref()?.deaths.last().map(|death| death.exit)
    }
}
