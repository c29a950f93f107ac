//! What has happened to a service between two looks at it. No clock, no I/O.
//!
//! A program that is woken by changes may sleep through some of them: a `run` that was started and has ended again
//! before the next look leaves the same state as before. supervise counts the starts and remembers the last ends, so
//! nothing of that is lost here. [`since`] tells, in the order of time:
//!
//! 1. of each `run` that has ended since the look before: that it was up, unless the look before has seen it, and how
//!    it has ended;
//! 2. the present state, if it is another one, or if another `run` is in it.
//!
//! The end that has led to the present state is told together with it, in one transition.

use super::{State, View};
use crate::duration::brief;
use crate::service::{Death, Exit, Record, Role, SOON};
use crate::tai64::{Tai64N, between};
use nix::unistd::Pid;
use std::time::Duration;

/// How a service is, also where no supervise tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Its supervise tells.
    Told(State),
    /// No supervise is in charge of it.
    Unsupervised,
    /// Its state cannot be read.
    Unknown,
    /// It is no longer among the services.
    Removed,
}

impl Condition {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Condition::Told(state) => state.word(),
            Condition::Unsupervised => "unsupervised",
            Condition::Unknown => "unknown",
            Condition::Removed => "removed",
        }
    }
}

/// One change of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// When it happened, as exactly as that is known.
    pub time: Tai64N,
    /// The condition of the service since then.
    pub condition: Condition,
    /// The process of the service since then, if there is one and it is known.
    pub pid: Option<Pid>,
    /// Why the service is in this condition, in words.
    pub reason: Option<String>,
    /// Whether the service is ready; `None` if its supervise does not tell.
    pub ready: Option<bool>,
    /// How often `run` has been started by now.
    pub starts: Option<u64>,
    /// The end of `run` that this change is, and how it came about, in words.
    pub end: Option<(Death, String)>,
    /// How many starts before this change are not told, because supervise has forgotten their ends.
    pub forgotten: u64,
}

impl Transition {
    /// A change of which only the time, the state and the reason are known.
    pub fn bare(time: Tai64N, condition: Condition, reason: Option<String>) -> Transition {
        Transition { time, condition, pid: None, reason, ready: None, starts: None, end: None, forgotten: 0 }
    }
}

/// What has happened since the look `before`; without one, the present state.
pub fn since(before: Option<&View>, view: &View) -> Vec<Transition> {
    let Some(before) = before else { return vec![present(view, start_of_state(view), None)] };
    let ended = new_ends(before, view);
    let has_ended = !ended.is_empty();
    let is_new_activity = active_start(view).is_some() && active_start(view) != active_start(before);
    let is_new_run = is_new_activity || (run_of(view).is_some() && (has_ended || run_of(before).is_none()));
    let (mut told, mut untold_starts) = (Vec::new(), u64::from(is_new_run));
    for (number, death) in ended.iter().enumerate() {
        let was_seen = number == 0 && run_of(before).is_some() && start_of_state(before) == death.started;
        if !was_seen {
            untold_starts += 1;
        }
        if !was_seen && !matches!(death.exit, Exit::Unstarted(_)) {
            told.push(Transition::bare(death.started, Condition::Told(State::Up), None));
        }
        let is_last = number + 1 == ended.len();
        if !is_last || is_being_started(view) {
            told.push(past_end(view, death));
        }
    }
    if has_ended || key(before) != key(view) {
        let end = ended.last().filter(|_| !is_being_started(view)).copied();
        let time = end.map_or_else(|| time_of_change(before, view), |death| death.ended);
        told.push(present(view, time, end));
    }
    let starts = view.seen.starts().unwrap_or(0).saturating_sub(before.seen.starts().unwrap_or(0));
    if let Some(first) = told.first_mut() {
        first.forgotten = starts.saturating_sub(untold_starts);
    }
    told
}

impl View {
    /// After what time the state may be another one although no file has changed: a service that is `restarting` while
    /// its `run` runs is `up` once that has run for five seconds.
    pub fn changes_within(&self) -> Option<Duration> {
        let record = self.record().filter(|_| self.state() == State::Restarting && self.process().is_some())?;
        Some(SOON.saturating_sub(self.since(record.since)))
    }

    /// The process of the service. `supervise/state` is written before `supervise/status`, so it knows first.
    fn process(&self) -> Option<Pid> {
        match self.record() {
            Some(record) => record.process.map(|(_, process)| process.pid),
            None => self.seen.status.pid,
        }
    }
}

/// The facts by which two states are told apart. `start`, `pre-start`, `finish` and `stop` are not among them, because
/// they are parts of one state.
fn key(view: &View) -> (State, Option<Pid>, Option<u64>, Option<bool>) {
    (view.state(), run_of(view), active_start(view), view.ready())
}

/// Which start of a service that is up without a process has made it so.
fn active_start(view: &View) -> Option<u64> {
    view.record().filter(|record| record.active).map(|record| record.starts)
}

/// The process of `run`. A supervise of other software does not tell which program its process executes; the process
/// counts as that of `run`.
fn run_of(view: &View) -> Option<Pid> {
    match view.record().map(|record| record.process) {
        Some(Some((Role::Run, process))) => Some(process.pid),
        Some(Some((Role::Start | Role::PreStart | Role::Finish | Role::Stop, _)) | None) => None,
        None => view.seen.status.pid,
    }
}

/// Whether what runs now was started after the last end.
fn is_being_started(view: &View) -> bool {
    let role = view.record().and_then(|record| record.process).map(|(role, _)| role);
    matches!(role, Some(Role::Run | Role::PreStart | Role::Start))
}

/// The ends that the look before has not seen, oldest first.
fn new_ends(before: &View, view: &View) -> Vec<Death> {
    let deaths = |record: Option<&Record>| record.map(|record| record.deaths.clone()).unwrap_or_default();
    let (known, all) = (deaths(before.record()), deaths(view.record()));
    let Some(last) = known.last() else { return all };
    let is_last = |death: &Death| (death.started, death.ended) == (last.started, last.ended);
    match all.iter().rposition(is_last) {
        Some(place) => all.into_iter().skip(place + 1).collect(),
        // supervise has forgotten it, so all that it remembers is new.
        None => all.into_iter().filter(|death| between(last.ended, death.ended) > Duration::ZERO).collect(),
    }
}

fn past_end(view: &View, death: &Death) -> Transition {
    let lived = brief(between(death.started, death.ended));
    let words = view.words_of(death);
    let reason = format!("{words} after {lived}");
    let end = Some((*death, words));
    Transition { end, ..Transition::bare(death.ended, Condition::Told(State::Restarting), Some(reason)) }
}

fn present(view: &View, time: Tai64N, end: Option<Death>) -> Transition {
    Transition {
        time,
        condition: Condition::Told(view.state()),
        pid: view.process(),
        reason: view.reason(),
        ready: view.ready(),
        starts: view.seen.starts(),
        end: end.map(|death| (death, view.words_of(&death))),
        forgotten: 0,
    }
}

/// Since when its process runs, or since when it has none.
fn start_of_state(view: &View) -> Tai64N {
    view.record().map_or(view.seen.status.since, |record| record.since.label)
}

fn time_of_change(before: &View, view: &View) -> Tai64N {
    let became_ready = view.record().and_then(|record| record.ready).filter(|_| before.ready() != view.ready());
    match became_ready {
        _ if (run_of(before), active_start(before)) != (run_of(view), active_start(view)) => start_of_state(view),
        Some(ready) if before.state() == view.state() => ready.label,
        Some(_) | None => view.now.label,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::view::Normally;
    use crate::service::{Phase, Process, Snapshot, Status, Want};
    use crate::tai64::{Moment, Tai64};

    fn at(second: u64) -> Moment {
        let label = Tai64N(Tai64::from_unix(i64::try_from(second).unwrap()), 0);
        Moment { uptime: Duration::from_secs(second), label }
    }

    fn view(record: Record, now: u64) -> View {
        let seen = Snapshot::of(Status::actual(&record), None, Some(record));
        View { seen, normally: Normally::Up, diagnosis: None, now: at(now), alive: None }
    }

    fn running(pid: i32, since: u64, starts: u64, deaths: Vec<Death>) -> Record {
        let process = Process { pid: Pid::from_raw(pid), ticks: 1, serial: 0 };
        Record {
            since: at(since),
            process: Some((Role::Run, process)),
            phase: Phase::Running,
            want: Want::Up,
            starts,
            deaths,
            ..Record::blank()
        }
    }

    fn waiting(since: u64, starts: u64, deaths: Vec<Death>) -> Record {
        Record { since: at(since), want: Want::Up, starts, deaths, ..Record::blank() }
    }

    fn death(started: u64, ended: u64) -> Death {
        Death { started: at(started).label, ended: at(ended).label, exit: Exit::Code(3), counts: true, is_told: false }
    }

    /// `10 up 7; 12 restarting END`
    fn told(before: &View, view: &View) -> String {
        let words = since(Some(before), view).into_iter().map(|told| {
            let second = crate::tai64::unix_second(told.time).unwrap();
            let pid = told.pid.map(|pid| format!(" {pid}")).unwrap_or_default();
            let end = told.end.as_ref().map_or("", |_| " END");
            let forgotten = if told.forgotten > 0 { format!(" -{}", told.forgotten) } else { String::new() };
            format!("{second} {}{pid}{end}{forgotten}", told.condition.word())
        });
        words.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn nothing_is_missed_between_two_looks() {
        let up = view(running(7, 10, 1, vec![]), 11);
        let down = view(Record { since: at(5), ..Record::blank() }, 6);
        let table = [
            ("nothing", &up, view(running(7, 10, 1, vec![]), 12), ""),
            ("a start", &down, view(running(7, 10, 1, vec![]), 11), "10 up 7"),
            ("an end", &up, view(waiting(12, 1, vec![death(10, 12)]), 12), "12 restarting END"),
            ("an end and a start", &up, view(running(8, 13, 2, vec![death(10, 12)]), 13), "12 restarting END; 13 up 8"),
            (
                "a start that has ended",
                &down,
                view(waiting(12, 1, vec![death(10, 12)]), 12),
                "10 up; 12 restarting END",
            ),
            (
                "a start that has ended, after an end",
                &up,
                view(waiting(14, 2, vec![death(10, 12), death(13, 14)]), 14),
                "12 restarting END; 13 up; 14 restarting END",
            ),
            (
                "more ends than supervise remembers",
                &up,
                view(running(9, 40, 9, vec![death(37, 38)]), 40),
                "37 up -6; 38 restarting END; 40 up 9",
            ),
            (
                "one that was never executed",
                &down,
                view(waiting(10, 1, vec![Death { exit: Exit::Unstarted(2), ..death(10, 10) }]), 10),
                "10 restarting END",
            ),
        ];
        for (what, before, now, expected) in table {
            assert_eq!(told(before, &now), expected, "{what}");
        }
    }

    #[test]
    fn a_state_that_was_restarted_between_two_looks_has_changed() {
        let active = |since, starts| Record { active: true, process: None, ..running(7, since, starts, vec![]) };
        let (down, once) = (view(Record::blank(), 5), view(active(10, 1), 11));
        assert_eq!(told(&down, &once), "10 up");
        assert_eq!(told(&once, &view(active(20, 2), 21)), "20 up");
        assert_eq!(told(&once, &view(active(10, 1), 30)), "");
    }

    #[test]
    fn readiness_and_commands_are_changes_too() {
        let up = view(running(7, 10, 1, vec![]), 11);
        let ready = Record { ready: Some(at(15)), ..running(7, 10, 1, vec![]) };
        assert_eq!(told(&up, &view(ready, 16)), "15 up 7");
        let stopping = Record { phase: Phase::Stopping, want: Want::Down, ..running(7, 10, 1, vec![]) };
        assert_eq!(told(&up, &view(stopping, 20)), "20 stopping 7");
    }

    #[test]
    fn what_ends_at_once_is_up_again_only_after_some_time() {
        let short = vec![death(10, 11), death(12, 13)];
        let early = view(running(9, 14, 3, short.clone()), 15);
        assert_eq!((early.state(), early.changes_within()), (State::Restarting, Some(Duration::from_secs(4))));
        let late = view(running(9, 14, 3, short), 19);
        assert_eq!((told(&early, &late).as_str(), late.changes_within()), ("19 up 9", None));
    }

    #[test]
    fn the_first_look_tells_the_present_state() {
        let up = view(running(7, 10, 1, vec![death(1, 9)]), 30);
        let told = since(None, &up);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].time, told[0].condition.word(), told[0].end.clone()), (at(10).label, "up", None));
    }
}
