//! Whether a service has come to where it is waited for. No clock, no I/O: a picture from before, one of
//! now, and what it was told in between.
//!
//! At any moment a service is in one of these stages:
//!
//! - **Rest**: nothing runs, and nothing is going to; or it **failed**, which is the same but for the
//!   reason.
//! - **Between**: nothing runs, but `run` is going to: it is wanted up, or waits for its next start.
//! - **Starting**: its `start` runs.
//! - **Running**: its `run` runs, and was not told to end.
//! - **Ending**: its `run` runs, and was.
//! - **After**: its `finish` or `stop` runs; what comes then is known.
//!
//! A supervise other than ours writes no more than the status: there, what runs is `run`, being ready is
//! running, and being finished is being down.
//!
//! Pictures are taken when something has changed, so a short life may lie between two of them: a start
//! counts also if it has been seen only by the number of starts.

use daemontools::Fatal;
use daemontools::report::PERMANENT;
use daemontools::service::{Exit, Phase, Record, Role, Snapshot, Status, Want};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// `run` has been started.
    Up,
    /// It is ready.
    Ready,
    /// `run` has ended, and is not started again.
    Down,
    /// So have `finish` and `stop`.
    Finished,
    /// `run` has been started since.
    Restarted,
}

const GOALS: [(&str, Goal, &str); 5] = [
    ("up", Goal::Up, "not up"),
    ("ready", Goal::Ready, "not ready"),
    ("down", Goal::Down, "not down"),
    ("finished", Goal::Finished, "not finished"),
    ("restarted", Goal::Restarted, "not restarted"),
];

impl Goal {
    /// What a word asks for.
    ///
    /// # Errors
    /// Nothing that can be waited for: exit 100.
    pub fn parse(word: &OsStr) -> Result<Goal, Fatal> {
        let known = GOALS.into_iter().find(|(known, _, _)| word == *known);
        known.map(|(_, goal, _)| goal).ok_or_else(|| {
            let choices: Vec<&str> = GOALS.iter().map(|(known, _, _)| *known).collect();
            Fatal::new(
                PERMANENT,
                &[b"unable to wait for ", word.as_bytes(), b": not one of ", choices.join(" ").as_bytes()],
            )
        })
    }

    /// What a service is that has not come there: `not up`.
    pub fn missed(self) -> &'static str {
        GOALS.into_iter().find(|(_, goal, _)| *goal == self).map_or("", |(_, _, missed)| missed)
    }
}

/// What the service has been told since the first picture, as far as it matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// To start: neither its having been down nor its having failed before counts.
    pub to_start: bool,
    /// To end: its having been up before does not count.
    pub to_end: bool,
    /// That its supervise is to exit, and nothing else that could end or start it: what runs and is wanted up runs on.
    pub only_to_exit: bool,
}

impl Told {
    /// What the bytes of commands mean.
    pub fn by(commands: &[u8]) -> Told {
        let any = |letters: &[u8]| commands.iter().any(|command| letters.contains(command));
        let only_to_exit = any(b"x") && !any(b"uodtkhaiq12w");
        Told { to_start: any(b"uo"), to_end: any(b"dtk"), only_to_exit }
    }
}

/// Whether somebody is in charge of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// A supervise is.
    Here,
    /// None is, but one may still come: svscan starts another where one was killed.
    Away,
    /// None has come.
    Gone,
}

/// What is seen of a service at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Whether somebody is in charge.
    pub presence: Presence,
    /// What its files say; `None`: there are none yet.
    pub seen: Option<Snapshot>,
}

impl Picture {
    /// What is seen, in words, for those who wait in vain: `up, not ready, last exited 1`.
    pub fn words(&self) -> String {
        let seen = self.seen.as_ref().map(|seen| {
            let last = last_exit(seen).map(|exit| format!(", last {}", exit.words()));
            words_of_stage(seen) + &last.unwrap_or_default()
        });
        match (self.presence, seen) {
            (Presence::Here, Some(seen)) => seen,
            (Presence::Here, None) => "supervise has written nothing yet".into(),
            (Presence::Away | Presence::Gone, Some(seen)) => format!("supervise not running, last seen {seen}"),
            (Presence::Away | Presence::Gone, None) => "supervise not running".into(),
        }
    }
}

impl Picture {
    /// Why the service gave up, where its supervise tells.
    fn failure(&self) -> Option<String> {
        self.seen.as_ref()?.record.as_ref()?.failure_words()
    }
}

fn words_of_stage(seen: &Snapshot) -> String {
    let record = seen.record.as_ref();
    let role = record.and_then(|record| record.process).map(|(role, _)| role);
    let program = role.map_or("finish", Role::program);
    match stage(seen) {
        Stage::Rest => "down".into(),
        Stage::Failed => "failed".into(),
        Stage::Between => "waits for its next start".into(),
        Stage::Starting => "start runs".into(),
        Stage::Running if is_not_ready(seen) => "up, not ready".into(),
        Stage::Running => "up".into(),
        Stage::Ending => "up, told to end".into(),
        Stage::After(_) => format!("{program} runs"),
    }
}

/// What a picture means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The service has come there.
    Reached,
    /// It may still.
    NotYet,
    /// It will not.
    Never(Reason),
}

/// Why a service will not come to where it is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nobody is in charge of it.
    Unsupervised,
    /// It gave up, after this end of its `run`.
    Failed(Option<Exit>),
    /// It ended like this, and is not to be started again.
    Ended(Option<Exit>),
    /// Its supervise was told to exit once it is down, and nothing takes it down.
    RunsOn,
}

impl Reason {
    /// In words: `failed: exited 100`; with what was seen last where nothing more is known.
    pub fn words(self, last: &Picture) -> String {
        let with =
            |what: &str, exit: Option<Exit>| exit.map_or(what.into(), |exit| format!("{what}: {}", exit.words()));
        match self {
            Reason::Unsupervised => last.words(),
            Reason::Failed(exit) => last.failure().map_or_else(|| with("failed", exit), |why| format!("failed: {why}")),
            Reason::Ended(exit) => with("ended", exit),
            Reason::RunsOn => "runs on, as -x alone ends nothing: say -dx".into(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Rest,
    Failed,
    Between,
    Starting,
    Running,
    Ending,
    After(Then),
}

/// What comes after `finish`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Rest,
    Start,
}

/// Says what a picture means, taken after `before` and what the service was `told` then.
pub fn judge(goal: Goal, told: Told, before: &Picture, now: &Picture) -> Verdict {
    let Some(seen) = &now.seen else {
        return if now.presence == Presence::Gone { Verdict::Never(Reason::Unsupervised) } else { Verdict::NotYet };
    };
    // Nobody is told that a service is somewhere before everybody can see it.
    if now.presence == Presence::Here && !seen.is_settled() {
        return Verdict::NotYet;
    }
    let then = before.seen.as_ref();
    match (now.presence, goal) {
        (Presence::Here, Goal::Up) => is_started(told.to_end, told, then, seen),
        (Presence::Here, Goal::Restarted) => unless_it_runs_on(is_started(true, told, then, seen), told, seen),
        (Presence::Here, Goal::Ready) => is_ready(told, then, seen),
        (_, Goal::Down | Goal::Finished) if is_down(goal, told, then, seen) => Verdict::Reached,
        (Presence::Here, Goal::Down | Goal::Finished) => unless_it_runs_on(Verdict::NotYet, told, seen),
        (Presence::Away, _) if !has_left(seen) => Verdict::NotYet,
        (Presence::Away | Presence::Gone, Goal::Down | Goal::Finished) if seen.status.pid.is_none() => Verdict::Reached,
        (Presence::Away | Presence::Gone, _) => Verdict::Never(Reason::Unsupervised),
    }
}

/// A service that is wanted up and runs may still end by itself, but nothing is known that would make it, and waiting for
/// that may take for ever. One that is wanted once has an end.
fn unless_it_runs_on(verdict: Verdict, told: Told, seen: &Snapshot) -> Verdict {
    match verdict {
        Verdict::NotYet if told.only_to_exit && stage(seen) == Stage::Running && seen.status.want == Want::Up => {
            Verdict::Never(Reason::RunsOn)
        }
        Verdict::NotYet | Verdict::Reached | Verdict::Never(_) => verdict,
    }
}

fn is_started(anew: bool, told: Told, then: Option<&Snapshot>, seen: &Snapshot) -> Verdict {
    let newer = is_newer(then, seen);
    let was_executed = !matches!(last_exit(seen), Some(Exit::Unstarted(_)));
    match stage(seen) {
        Stage::Failed => failed(told, then, seen),
        Stage::Running if newer || !anew => Verdict::Reached,
        Stage::Rest | Stage::Between | Stage::Ending | Stage::After(_) if newer && was_executed => Verdict::Reached,
        Stage::Rest => ended(told, then, seen),
        Stage::Between | Stage::Starting | Stage::Running | Stage::Ending | Stage::After(_) => Verdict::NotYet,
    }
}

fn is_ready(told: Told, then: Option<&Snapshot>, seen: &Snapshot) -> Verdict {
    match stage(seen) {
        Stage::Failed => failed(told, then, seen),
        Stage::Running if !is_not_ready(seen) && (!told.to_end || is_newer(then, seen)) => Verdict::Reached,
        Stage::Rest => ended(told, then, seen),
        Stage::Between | Stage::Starting | Stage::Running | Stage::Ending | Stage::After(_) => Verdict::NotYet,
    }
}

fn is_not_ready(seen: &Snapshot) -> bool {
    seen.record.as_ref().is_some_and(|record| record.ready.is_none())
}

/// Told to start, it was down before: that does not count, only that it has been up since.
fn is_down(goal: Goal, told: Told, then: Option<&Snapshot>, seen: &Snapshot) -> bool {
    let counts = !told.to_start || was_up(then) || is_newer(then, seen);
    match stage(seen) {
        Stage::Failed => counts || has_changed(then, seen),
        Stage::Rest => counts,
        Stage::After(Then::Rest) => counts && goal == Goal::Down,
        Stage::After(Then::Start) | Stage::Between | Stage::Starting | Stage::Running | Stage::Ending => false,
    }
}

/// Told to start, it had failed before: that does not count.
fn failed(told: Told, then: Option<&Snapshot>, seen: &Snapshot) -> Verdict {
    if told.to_start && then.is_some_and(|then| stage(then) == Stage::Failed) && !has_changed(then, seen) {
        return Verdict::NotYet;
    }
    Verdict::Never(Reason::Failed(last_exit(seen)))
}

/// At rest, it may still be told to start; but where it has been up, that was it.
fn ended(told: Told, then: Option<&Snapshot>, seen: &Snapshot) -> Verdict {
    if is_newer(then, seen) || (was_up(then) && !told.to_start) {
        return Verdict::Never(Reason::Ended(last_exit(seen)));
    }
    Verdict::NotYet
}

fn stage(seen: &Snapshot) -> Stage {
    match &seen.record {
        Some(record) => stage_of_record(record),
        None => stage_of_status(&seen.status),
    }
}

fn stage_of_record(record: &Record) -> Stage {
    let wanted = record.want == Want::Up && !record.leaving;
    match record.process.map(|(role, _)| role) {
        Some(Role::Start) => Stage::Starting,
        Some(Role::Run) if record.phase == Phase::Running => Stage::Running,
        Some(Role::Run) => Stage::Ending,
        Some(Role::Finish | Role::Stop) if wanted => Stage::After(Then::Start),
        Some(Role::Finish | Role::Stop) => Stage::After(Then::Rest),
        None if record.phase == Phase::Failed => Stage::Failed,
        None if record.next_start.is_some() || wanted => Stage::Between,
        None => Stage::Rest,
    }
}

fn stage_of_status(status: &Status) -> Stage {
    match (status.pid, status.phase) {
        (None, Phase::Failed) => Stage::Failed,
        (None, _) if status.want == Want::Up => Stage::Between,
        (None, _) => Stage::Rest,
        (Some(_), Phase::Starting | Phase::Started) => Stage::Starting,
        (Some(_), Phase::Stopping) => Stage::Ending,
        (Some(_), Phase::Running | Phase::Stopped | Phase::Failed) => Stage::Running,
    }
}

/// Whether `run` was started between the two pictures.
fn is_newer(then: Option<&Snapshot>, seen: &Snapshot) -> bool {
    let Some(then) = then else { return runs(seen) || starts(seen).is_some_and(|starts| starts > 0) };
    match (starts(then), starts(seen)) {
        (Some(then), Some(now)) => then != now,
        (None, _) | (_, None) => runs(seen) && is_other(&then.status, &seen.status),
    }
}

fn is_other(then: &Status, now: &Status) -> bool {
    let identity = |status: &Status| (status.pid.map(Pid::as_raw), status.since);
    identity(then) != identity(now)
}

fn starts(seen: &Snapshot) -> Option<u64> {
    seen.record.as_ref().map(|record| record.starts)
}

fn runs(seen: &Snapshot) -> bool {
    matches!(stage(seen), Stage::Running | Stage::Ending)
}

fn was_up(then: Option<&Snapshot>) -> bool {
    then.is_some_and(|then| runs(then) || stage(then) == Stage::Starting)
}

fn has_changed(then: Option<&Snapshot>, seen: &Snapshot) -> bool {
    then.is_none_or(|then| then.status.since != seen.status.since)
}

/// Whether its supervise went because it was told to.
fn has_left(seen: &Snapshot) -> bool {
    seen.record.as_ref().is_some_and(|record| record.leaving && record.process.is_none())
}

fn last_exit(seen: &Snapshot) -> Option<Exit> {
    seen.record.as_ref()?.deaths.last().map(|death| death.exit)
}

#[cfg(test)]
mod tests;
