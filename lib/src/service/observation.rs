//! What a service looks like at one moment, and which stage of its life that shows. No clock, no I/O.
//!
//! At any moment a service is in one of these stages:
//!
//! - **Down**: nothing runs, and nothing is going to run. A service that has **failed** is in the same stage for
//!   another reason.
//! - **Waiting**: nothing runs, but supervise is going to start `run`: the service is wanted up, or waits for its next
//!   start.
//! - **Starting**: `start` runs, or a process is about to execute `run`, which may still fail.
//! - **Up**: `run` runs, and was not told to end; or a state is up, which needs no process. `run` may be about to go into the
//!   background: for a moment, its process is not known then.
//! - **Ending**: `run` runs, and was told to end, or what it has left is.
//! - **Finishing**: `finish` or `stop` runs. What comes next is known.
//!
//! A supervise of other software writes only the status. For its services, a process is assumed to be `run` and to be
//! ready, and a service that is down is assumed to have finished.

use super::{Exit, Held, Phase, Record, Role, SearchGoal, Snapshot, Status, Want};

/// Whether a supervise is in charge of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// A supervise is in charge.
    Here,
    /// No supervise is in charge, but one may still come: svscan starts another when one was killed.
    Away,
    /// No supervise has come for so long that none is expected any more.
    Gone,
}

/// A service at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Whether a supervise is in charge.
    pub presence: Presence,
    /// What the service's files say, or `None` if there are none yet.
    pub seen: Option<Snapshot>,
    /// If these files name a process that has ended, what is known instead, in words.
    pub unwritten: Option<String>,
}

impl Observation {
    /// The observation in words: `up, not ready, last exited 1`.
    pub fn words(&self) -> String {
        if let Some(words) = &self.unwritten {
            return words.clone();
        }
        let seen = self.seen.as_ref().map(|seen| {
            let last = seen.last_exit_words().map(|words| format!(", last {words}"));
            words_of_stage(seen) + &last.unwrap_or_default()
        });
        match (self.presence, seen) {
            (Presence::Here, Some(seen)) if self.ends_when_it_likes() => seen + "; svc -k kills it",
            (Presence::Here, Some(seen)) => seen,
            (Presence::Here, None) => "supervise has written nothing yet".into(),
            (Presence::Away | Presence::Gone, Some(seen)) => format!("supervise not running, last seen {seen}"),
            (Presence::Away | Presence::Gone, None) => "supervise not running".into(),
        }
    }

    /// Whether the service was told to end, and supervise is not going to kill it.
    fn ends_when_it_likes(&self) -> bool {
        let is_ending = |seen: &&Snapshot| matches!(Stage::of(seen), Stage::Ending);
        let record = self.seen.as_ref().filter(is_ending).and_then(|seen| seen.record.as_ref());
        record.is_some_and(|record| record.kill_at.is_none())
    }

    /// Why the service failed, if its supervise reports it.
    pub fn failure(&self) -> Option<String> {
        self.seen.as_ref()?.record.as_ref()?.failure_words()
    }
}

fn words_of_stage(seen: &Snapshot) -> String {
    let record = seen.record.as_ref();
    let role = record.and_then(|record| record.process).map(|(role, _)| role);
    match Stage::of(seen) {
        Stage::Down => "down".into(),
        Stage::Failed => "failed".into(),
        Stage::Waiting if record.is_some_and(|record| record.held.is_some()) => {
            "its start is held back; svc -g lets it go".into()
        }
        Stage::Waiting => "waits for its next start".into(),
        Stage::Starting if role == Some(Role::Run) => "about to run".into(),
        Stage::Starting => format!("{} runs", role.map_or("start", Role::program)),
        Stage::Up if seen.is_known_unready() => "up, not ready".into(),
        Stage::Up => "up".into(),
        Stage::Ending => match record.and_then(|record| record.beside) {
            Some((beside, _)) => format!("up, to be told to end: {} runs", beside.program()),
            None => "up, told to end".into(),
        },
        Stage::Finishing(_) => {
            if record.is_some_and(|record| record.held.is_some()) {
                return "its end is held back; svc -g lets it go".into();
            }
            let beside = record.and_then(|record| record.beside).map(|(beside, _)| beside.program());
            format!("{} runs", role.map(Role::program).or(beside).unwrap_or("finish"))
        }
    }
}

/// The stage of a service's life; the list at the top of this file explains each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing runs, and nothing is going to run.
    Down,
    /// Nothing runs, and only a command starts the service again.
    Failed,
    /// Nothing runs, but supervise is going to start `run`.
    Waiting,
    /// `start` or `pre-start` runs, or a process is about to execute `run`.
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
            Some(Role::Start | Role::PreStart) => Stage::Starting,
            Some(Role::Run) if record.phase == Phase::Running && record.gated => Stage::Starting,
            Some(Role::Run) if record.phase == Phase::Running => Stage::Up,
            Some(Role::Run) => Stage::Ending,
            Some(Role::Finish | Role::Stop) if wanted => Stage::Finishing(Next::Start),
            Some(Role::Finish | Role::Stop) => Stage::Finishing(Next::Down),
            None if record.active && record.phase == Phase::Running => Stage::Up,
            None if record.active => Stage::Ending,
            None if record.held == Some(Held::Starting) => Stage::Waiting,
            None if record.held.is_some() && wanted => Stage::Finishing(Next::Start),
            None if record.held.is_some() => Stage::Finishing(Next::Down),
            None if record.search.is_some_and(|search| search.purpose == SearchGoal::End) => Stage::Ending,
            None if record.search.is_some() => Stage::Up,
            // What ran beside `run` has outlived it, and `finish` comes next.
            None if record.beside.is_some() && wanted => Stage::Finishing(Next::Start),
            None if record.beside.is_some() => Stage::Finishing(Next::Down),
            None if record.phase == Phase::Failed => Stage::Failed,
            None if record.next_start.is_some() || wanted => Stage::Waiting,
            None => Stage::Down,
        }
    }

    fn of_status(status: &Status) -> Stage {
        match (status.pid, status.phase) {
            (None, Phase::Stopping) if status.is_active() => Stage::Ending,
            (None, _) if status.is_active() => Stage::Up,
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
    /// Whether the supervise reports readiness and says that the service is not ready.
    pub fn is_known_unready(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.ready.is_none())
    }

    /// How `run` ended the last time, in words, if the supervise reports it.
    pub fn last_exit_words(&self) -> Option<String> {
        self.record.as_ref()?.last_exit_words()
    }

    /// How `run` ended the last time, if the supervise reports it.
    pub fn last_exit(&self) -> Option<Exit> {
        self.record.as_ref()?.deaths.last().map(|death| death.exit)
    }
}
