//! Whether a service has reached the state that a user waits for. The judgement needs an earlier observation, one of
//! now, and the commands that the service was given in between. No clock, no I/O.
//!
//! A service is observed when something has changed, so a short run may lie between two observations. A start therefore
//! also counts if only the number of starts shows it.

use super::{Command, Commands, Exit, Next, Observation, Presence, Record, Snapshot, Stage, Status, Want};
use crate::Fatal;
use crate::report::PERMANENT;
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The state that the user waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// `run` has been executed.
    Up,
    /// The service is ready.
    Ready,
    /// `run` has ended, and is not started again.
    Down,
    /// `run`, `finish` and `stop` have ended, and `run` is not started again.
    Finished,
    /// `run` has been started since the first observation.
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
    /// The goal that a word names.
    ///
    /// # Errors
    /// The word names no goal; exit code 100.
    pub fn parse(word: &OsStr) -> Result<Goal, Fatal> {
        let known = GOALS.into_iter().find(|(known, _, _)| word == *known);
        known.map(|(_, goal, _)| goal).ok_or_else(|| {
            Fatal::new(
                PERMANENT,
                &[b"unable to wait for ", word.as_bytes(), b": not one of ", Goal::words().join(" ").as_bytes()],
            )
        })
    }

    /// The words that name goals.
    pub fn words() -> Vec<&'static str> {
        GOALS.iter().map(|(word, _, _)| *word).collect()
    }

    /// What to say of a service that has not reached this goal: `not up`.
    pub fn missed(self) -> &'static str {
        GOALS.into_iter().find(|(_, goal, _)| *goal == self).map_or("", |(_, _, missed)| missed)
    }
}

/// The effect of the commands that the service was given since the first observation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// The service was told to start. That it was down or had failed before does not count then.
    pub to_start: bool,
    /// The service was told to end. That it was up before does not count then.
    pub to_end: bool,
    /// Its supervise was told to exit, and the service was told nothing that could end or start it. A service that runs
    /// and is wanted up goes on running.
    pub only_to_exit: bool,
}

impl Sent {
    /// The effect of these commands.
    pub fn by(commands: &Commands) -> Sent {
        let to_start = commands.has_any(&[Command::Up, Command::Once]);
        let to_end = commands.has_any(&[Command::Down, Command::Terminate, Command::Kill]);
        let only_to_exit = commands.has_any(&[Command::Exit]) && !to_start && !to_end && !commands.has_any(&SIGNALS);
        Sent { to_start, to_end, only_to_exit }
    }
}

/// All other commands that send a signal which may end a service.
const SIGNALS: [Command; 7] = [
    Command::Hangup,
    Command::Alarm,
    Command::Interrupt,
    Command::Quit,
    Command::User1,
    Command::User2,
    Command::Window,
];

/// What an observation means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoalState {
    /// The service has reached the goal.
    Reached,
    /// The service may still reach the goal.
    NotYet,
    /// The service will not reach the goal.
    Never(Reason),
}

/// Why a service will not reach the goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No supervise is in charge of it.
    Unsupervised,
    /// Its supervise gave up, after this exit of `run`.
    Failed(Option<Exit>),
    /// `run` ended this way, and is not started again.
    Ended(Option<Exit>),
    /// Its supervise was told to exit once the service is down, but nothing stops the service.
    RunsOn,
}

impl Reason {
    /// The reason in words, such as `failed: exited 100`. Where nothing more is known, the words describe the last
    /// observation.
    pub fn words(self, last: &Observation) -> String {
        let seen = last.seen.as_ref();
        let words = |exit: Exit| {
            let said = seen.filter(|seen| seen.last_exit() == Some(exit)).and_then(Snapshot::last_exit_words);
            said.unwrap_or_else(|| exit.words())
        };
        let with = |what: &str, exit: Option<Exit>| exit.map_or(what.into(), |exit| format!("{what}: {}", words(exit)));
        match self {
            Reason::Unsupervised => last.words(),
            Reason::Failed(exit) => last.failure().map_or_else(|| with("failed", exit), |why| format!("failed: {why}")),
            Reason::Ended(exit) => with("ended", exit),
            Reason::RunsOn => "runs on, as -x alone ends nothing: say -dx; supervise exits when it is next down".into(),
        }
    }
}

/// Judges the observation `now`. The observation `before` was made earlier, and `told` says what the service was told
/// after that.
pub fn evaluate(goal: Goal, told: Sent, before: &Observation, now: &Observation) -> GoalState {
    let Some(seen) = &now.seen else {
        return if now.presence == Presence::Gone { GoalState::Never(Reason::Unsupervised) } else { GoalState::NotYet };
    };
    // The status and the state must agree first, and name no process that has ended, so that svstat shows the same as svc
    // reports.
    if now.presence == Presence::Here && (!seen.is_settled() || now.unwritten.is_some()) {
        return GoalState::NotYet;
    }
    let then = before.seen.as_ref();
    match (now.presence, goal) {
        (Presence::Here, Goal::Up) => is_started(told.to_end, told, then, seen),
        (Presence::Here, Goal::Restarted) => unless_it_runs_on(is_started(true, told, then, seen), told, seen),
        (Presence::Here, Goal::Ready) => is_ready(told, then, seen),
        (_, Goal::Down | Goal::Finished) if is_down(goal, told, then, seen) => GoalState::Reached,
        (Presence::Here, Goal::Down | Goal::Finished) => unless_it_runs_on(GoalState::NotYet, told, seen),
        // A supervise that had left before may have been replaced since, as svscan does while it has the entry.
        (Presence::Away, _) if !has_left(seen) || then.is_some_and(has_left) => GoalState::NotYet,
        (Presence::Away | Presence::Gone, Goal::Down | Goal::Finished) if seen.status.pid.is_none() => {
            GoalState::Reached
        }
        (Presence::Away | Presence::Gone, _) => GoalState::Never(Reason::Unsupervised),
    }
}

/// A service that runs and is wanted up may end by itself, but nothing is known that would end it, so waiting could
/// take for ever. A service that is wanted once does end.
fn unless_it_runs_on(state: GoalState, told: Sent, seen: &Snapshot) -> GoalState {
    match state {
        GoalState::NotYet if told.only_to_exit && Stage::of(seen) == Stage::Up && seen.status.want == Want::Up => {
            GoalState::Never(Reason::RunsOn)
        }
        GoalState::NotYet | GoalState::Reached | GoalState::Never(_) => state,
    }
}

fn is_started(anew: bool, told: Sent, then: Option<&Snapshot>, seen: &Snapshot) -> GoalState {
    let newer = is_newer(then, seen);
    let was_executed = !matches!(seen.last_exit(), Some(Exit::Unstarted(_)));
    match Stage::of(seen) {
        Stage::Failed => failed(told, then, seen),
        Stage::Up if newer || !anew => GoalState::Reached,
        Stage::Down | Stage::Waiting | Stage::Ending | Stage::Finishing(_) if newer && was_executed => {
            GoalState::Reached
        }
        Stage::Down => ended(told, then, seen),
        Stage::Waiting | Stage::Starting | Stage::Up | Stage::Ending | Stage::Finishing(_) => GoalState::NotYet,
    }
}

fn is_ready(told: Sent, then: Option<&Snapshot>, seen: &Snapshot) -> GoalState {
    match Stage::of(seen) {
        Stage::Failed => failed(told, then, seen),
        Stage::Up if !seen.is_known_unready() && (!told.to_end || is_newer(then, seen)) => GoalState::Reached,
        Stage::Down => ended(told, then, seen),
        Stage::Waiting | Stage::Starting | Stage::Up | Stage::Ending | Stage::Finishing(_) => GoalState::NotYet,
    }
}

/// If the service was told to start, its having been down before is ignored; only what comes after it has been up counts.
fn is_down(goal: Goal, told: Sent, then: Option<&Snapshot>, seen: &Snapshot) -> bool {
    let counts = !told.to_start || was_up(then) || is_newer(then, seen);
    match Stage::of(seen) {
        Stage::Failed => counts || has_changed(then, seen),
        Stage::Down => counts,
        Stage::Finishing(Next::Down) => counts && goal == Goal::Down,
        Stage::Finishing(Next::Start) | Stage::Waiting | Stage::Starting | Stage::Up | Stage::Ending => false,
    }
}

/// If the service was told to start, its having failed before is ignored.
fn failed(told: Sent, then: Option<&Snapshot>, seen: &Snapshot) -> GoalState {
    if told.to_start && then.is_some_and(|then| Stage::of(then) == Stage::Failed) && !has_changed(then, seen) {
        return GoalState::NotYet;
    }
    GoalState::Never(Reason::Failed(seen.last_exit()))
}

/// A service that is down may still be told to start; but one that has been up since, or that was up and was not told to
/// start, has ended.
fn ended(told: Sent, then: Option<&Snapshot>, seen: &Snapshot) -> GoalState {
    if is_newer(then, seen) || (was_up(then) && !told.to_start) {
        return GoalState::Never(Reason::Ended(seen.last_exit()));
    }
    GoalState::NotYet
}

/// Whether `run` was started between the two observations.
fn is_newer(then: Option<&Snapshot>, seen: &Snapshot) -> bool {
    let Some(then) = then else { return runs(seen) || seen.starts().is_some_and(|starts| starts > 0) };
    match (then.starts(), seen.starts()) {
        (Some(then), Some(now)) => then != now,
        (None, _) | (_, None) => runs(seen) && is_other(&then.status, &seen.status),
    }
}

fn is_other(then: &Status, now: &Status) -> bool {
    let identity = |status: &Status| (status.pid.map(Pid::as_raw), status.since);
    identity(then) != identity(now)
}

fn runs(seen: &Snapshot) -> bool {
    matches!(Stage::of(seen), Stage::Up | Stage::Ending)
}

fn was_up(then: Option<&Snapshot>) -> bool {
    then.is_some_and(|then| runs(then) || Stage::of(then) == Stage::Starting)
}

fn has_changed(then: Option<&Snapshot>, seen: &Snapshot) -> bool {
    then.is_none_or(|then| then.status.since != seen.status.since)
}

/// Whether the supervise exited because it was told to.
fn has_left(seen: &Snapshot) -> bool {
    seen.record.as_ref().is_some_and(Record::has_left)
}

#[cfg(test)]
mod tests;
