//! A service at a glance: its state in one word, and the reason for that state.
//!
//! | stage of its life | state |
//! |---|---|
//! | nothing runs, and nothing is going to | `down`; `failed` if it gave up |
//! | nothing runs, but `run` is going to | `restarting` if `run` has ended before, else `waiting` |
//! | its `start` runs, or `run` is about to be executed | `starting`, or `restarting` as below |
//! | its `run` runs | `up`; `paused` if it was told to pause; `restarting` as below |
//! | its `run` was told to end, or `finish` or `stop` runs before it is down | `stopping` |
//! | `finish` runs, and `run` is started again after it | `restarting` |
//!
//! A service that ends at once, again and again, runs for a moment between its restarts. A reader who sees just that
//! moment must not take it for a service that is up. So a service is also `restarting` if its `run` was started less than
//! five seconds ago, and the last two before it ended by themselves within five seconds of their start, and no command has
//! started it since.

use super::{Normally, View};
use crate::duration::brief;
use crate::service::policy::{Policy, SUCCESS_CODES};
use crate::service::{Beside, Death, Exit, Next, RUN, Record, Role, SOON, Snapshot, Stage};
use crate::tai64;
use std::time::Duration;

/// The state of a service in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its `run` runs.
    Up,
    /// The service was told to pause.
    Paused,
    /// Its `start` runs, or its first `run` is about to be executed.
    Starting,
    /// The service has ended, and is started again; or it was started again just now, after it had ended at once.
    Restarting,
    /// The service is wanted up, and has not run yet.
    Waiting,
    /// The service was told to end, and has not ended yet.
    Stopping,
    /// supervise has given the service up: only a command starts it again.
    Failed,
    /// It is down.
    Down,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Paused => "paused",
            State::Starting => "starting",
            State::Restarting => "restarting",
            State::Waiting => "waiting",
            State::Stopping => "stopping",
            State::Failed => "failed",
            State::Down => "down",
        }
    }
}

impl View {
    /// The state of the service.
    pub fn state(&self) -> State {
        let ends_at_once = self.record().is_some_and(|record| self.ends_at_once(record));
        let has_run = self.record().is_some_and(|record| record.starts > 0 || !record.deaths.is_empty());
        match Stage::of(&self.seen) {
            Stage::Down => State::Down,
            Stage::Failed => State::Failed,
            Stage::Waiting | Stage::Finishing(Next::Start) if has_run => State::Restarting,
            Stage::Waiting | Stage::Finishing(Next::Start) => State::Waiting,
            Stage::Up if self.seen.status.paused => State::Paused,
            Stage::Starting | Stage::Up if ends_at_once => State::Restarting,
            Stage::Starting => State::Starting,
            Stage::Up => State::Up,
            Stage::Ending | Stage::Finishing(Next::Down) => State::Stopping,
        }
    }

    fn ends_at_once(&self, record: &Record) -> bool {
        let is_short = |death: &Death| death.counts && !death.is_told && lifetime(death) < SOON;
        let last_two_are_short = matches!(&record.deaths[..], [.., one, other] if is_short(one) && is_short(other));
        self.since(record.since) < SOON && last_two_are_short
    }

    /// Why the service is in this state, where there is something to say: `exited 3, again in 0.8s`.
    pub fn reason(&self) -> Option<String> {
        let record = self.record()?;
        let last = record.deaths.last();
        if let Some(held) = record.held {
            return Some(format!("held {}; svc -g lets it go", held.word()));
        }
        match self.state() {
            State::Up if record.active => Some("a state, without a process".into()),
            State::Up => last.map(|death| self.past(death)),
            State::Paused => Some("told to pause".into()),
            State::Starting | State::Waiting => self.runs(),
            State::Restarting => {
                let why = self.diagnosis.as_deref().map(about_run).or_else(|| record.last_exit_words());
                let wait = record.next_start.map(|next| format!("again in {}", brief(self.until(next))));
                listed([why, self.runs(), wait])
            }
            State::Stopping => {
                let kill = record.kill_at.map(|kill| format!("killed in {}", brief(self.until(kill))));
                listed([Some("told to end".into()), self.runs(), kill])
            }
            State::Failed => record.failure_words(),
            State::Down => match (self.normally, last) {
                (_, Some(death)) if is_done(record, death) => {
                    let (words, ago) = (record.words_of(death), self.ago(death));
                    Some(format!("its work is done ({words}, one of {SUCCESS_CODES}), {ago}"))
                }
                (_, Some(death)) => Some(self.past(death)),
                (Normally::Down, None) => Some("normally down".into()),
                (Normally::Up, None) => None,
            },
        }
    }

    /// The program that the process of the service executes, if that is not `run`; or the program that runs beside
    /// `run`, as long as `run` was not told to end.
    pub fn other_program(&self) -> Option<&'static str> {
        let record = self.record()?;
        match (record.process, record.beside) {
            (Some((role @ (Role::Start | Role::PreStart | Role::Finish | Role::Stop), _)), _) => Some(role.program()),
            (Some((Role::Run, _)), Some((beside @ Beside::PreStop, _))) | (None, Some((beside, _))) => {
                Some(beside.program())
            }
            (Some((Role::Run, _)), Some((Beside::PostStart | Beside::Reload, _)) | None) | (None, None) => None,
        }
    }

    /// Whether `run` runs. A process of which no more is known counts as `run`.
    pub fn runs_run(&self) -> bool {
        let is_run = |record: &Record| matches!(record.process, Some((Role::Run, _)));
        self.record().map_or(self.seen.status.pid.is_some(), is_run)
    }

    fn runs(&self) -> Option<String> {
        self.other_program().map(|program| format!("{program} runs"))
    }

    /// `exited 3, 2h 5m ago`.
    fn past(&self, death: &Death) -> String {
        let words = self.record().map_or_else(|| self.words_of(death), |record| record.end_words(death));
        format!("{words}, {}", self.ago(death))
    }

    /// `2h 5m ago`.
    fn ago(&self, death: &Death) -> String {
        format!("{} ago", brief(tai64::between(death.ended, self.now.label)))
    }

    /// How long the service has been in this state, as far as its last start or end tells.
    pub fn lasting(&self) -> Duration {
        match self.record() {
            Some(record) => self.since(record.since),
            None => tai64::between(self.seen.status.since, self.now.label),
        }
    }

    /// Whether it is ready; `None` if it does not run, or its supervise does not tell.
    pub fn ready(&self) -> Option<bool> {
        let status = &self.seen.status;
        let runs =
            (status.pid.is_some() || status.is_active()) && matches!(Stage::of(&self.seen), Stage::Up | Stage::Ending);
        self.record().filter(|_| runs).map(|record| record.ready.is_some())
    }

    /// What the ends that supervise remembers have in common: `exited 3 each time, and none lived longer than 0.3s`.
    pub fn pattern(&self) -> Option<String> {
        let deaths = &self.record()?.deaths;
        let [first, _, ..] = &deaths[..] else { return None };
        let is_alike = deaths.iter().all(|death| death.exit == first.exit);
        let longest = deaths.iter().map(lifetime).max()?;
        let lived = match first.exit {
            Exit::Unstarted(_) if is_alike => String::new(),
            _ if longest < SOON => format!("none lived longer than {}", brief(longest)),
            _ => String::new(),
        };
        let alike = if is_alike { format!("{} each time", first.exit.words()) } else { String::new() };
        let words = [alike, lived].into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(", and ");
        (!words.is_empty()).then(|| format!("the last {} ends: {words}", deaths.len()))
    }
}

/// Those of the three texts that there are, joined to one text; `None` if there are none.
fn listed(texts: [Option<String>; 3]) -> Option<String> {
    let texts: Vec<String> = texts.into_iter().flatten().collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

/// Whether the work of a service that is down is done: its last `run` ended by itself, in a way that `success-codes` names.
fn is_done(record: &Record, last: &Death) -> bool {
    let policy = Policy::of(&record.settings);
    let is_success = match last.exit {
        Exit::Code(code) => policy.success.contains(&code),
        Exit::Signal(signal) | Exit::Core(signal) => policy.success_signals.contains(&signal),
        Exit::Unstarted(_) | Exit::Unknown => false,
    };
    is_success && !last.is_told && record.astray.is_none()
}

/// The words about the file `run`, where no name stands in front of them.
fn about_run(words: &str) -> String {
    match (words.strip_prefix("it "), words.starts_with("its ")) {
        (Some(rest), _) => format!("{RUN} {rest}"),
        (None, true) => format!("{RUN}: {words}"),
        (None, false) => words.into(),
    }
}

fn lifetime(death: &Death) -> Duration {
    tai64::between(death.started, death.ended)
}

impl Snapshot {
    /// How often `run` was started, where its supervise tells.
    pub fn starts(&self) -> Option<u64> {
        self.record.as_ref().map(|record| record.starts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Ending, Failure, Held, Phase, Process, Status, Want};
    use crate::tai64::{Moment, Tai64, Tai64N};
    use nix::unistd::Pid;

    const NOW: u64 = 1000;

    fn at(second: u64) -> Moment {
        Moment { uptime: Duration::from_secs(second), label: label(second) }
    }

    fn label(second: u64) -> Tai64N {
        Tai64N(Tai64::from_unix(i64::try_from(second).unwrap()), 0)
    }

    fn death(started: u64, ended: u64, exit: Exit) -> Death {
        Death { started: label(started), ended: label(ended), exit, counts: true, is_told: false }
    }

    fn down() -> Record {
        Record { since: at(NOW - 60), ..Record::blank() }
    }

    fn running(since: u64) -> Record {
        let process = Process { pid: Pid::from_raw(7), ticks: 1, serial: 0 };
        Record {
            since: at(since),
            process: Some((Role::Run, process)),
            phase: Phase::Running,
            want: Want::Up,
            starts: 1,
            ..Record::blank()
        }
    }

    fn view(record: Record, normally: Normally) -> View {
        let seen = Snapshot::of(Status::actual(&record), None, Some(record));
        View { seen, normally, diagnosis: None, now: at(NOW), alive: None }
    }

    #[test]
    fn every_state_and_its_reason() {
        let exited = |started, ended| vec![death(started, ended, Exit::Code(3))];
        let twice = |started, ended| [exited(started, ended), exited(started, ended)].concat();
        let waiting = Record { want: Want::Up, next_start: Some(at(NOW + 1)), starts: 9, ..down() };
        let finishing = |want| Record {
            process: running(NOW).process.map(|(_, process)| (Role::Finish, process)),
            want,
            ..running(NOW)
        };
        let beside = |program| running(NOW).process.map(|(_, process)| (program, process));
        let active = Record { active: true, process: None, ready: Some(at(900)), ..running(900) };
        let table: [(Record, State, Option<&str>); 24] = [
            (down(), State::Down, None),
            (Record { deaths: exited(100, 880), ..down() }, State::Down, Some("exited 3, 2m ago")),
            (Record { phase: Phase::Failed, failure: Some(Failure::Run), ..down() }, State::Failed, {
                Some("exited 100, which means not to restart it")
            }),
            (Record { starts: 0, ..waiting.clone() }, State::Waiting, None),
            (Record { deaths: exited(999, 1000), ..waiting.clone() }, State::Restarting, {
                Some("exited 3, again in 1.0s")
            }),
            (Record { want: Want::Up, starts: 0, ..down() }, State::Waiting, None),
            (
                Record { want: Want::Once, held: Some(Held::Starting), ..down() },
                State::Waiting,
                Some("held starting; svc -g lets it go"),
            ),
            (
                Record { want: Want::Down, held: Some(Held::Stopping), phase: Phase::Stopping, ..running(900) },
                State::Stopping,
                Some("held stopping; svc -g lets it go"),
            ),
            (
                Record { held: Some(Held::Stopping), phase: Phase::Stopping, ..down() },
                State::Stopping,
                Some("held stopping; svc -g lets it go"),
            ),
            (running(900), State::Up, None),
            (active.clone(), State::Up, Some("a state, without a process")),
            (Record { phase: Phase::Stopping, want: Want::Down, ..active }, State::Stopping, Some("told to end")),
            (Record { deaths: exited(100, 900), ..running(900) }, State::Up, Some("exited 3, 1m ago")),
            // It was started again just now, and had ended at once twice.
            (Record { deaths: twice(997, 998), ..running(998) }, State::Restarting, Some("exited 3")),
            (Record { deaths: exited(997, 998), ..running(998) }, State::Up, Some("exited 3, 2.0s ago")),
            (Record { deaths: twice(900, 998), ..running(998) }, State::Up, Some("exited 3, 2.0s ago")),
            (Record { gated: true, ..running(999) }, State::Starting, None),
            (Record { gated: true, deaths: twice(997, 998), ..running(998) }, State::Restarting, Some("exited 3")),
            (Record { paused: true, ..running(900) }, State::Paused, Some("told to pause")),
            (
                Record {
                    phase: Phase::Stopping,
                    want: Want::Down,
                    ending: Some(Ending::Told),
                    kill_at: Some(at(NOW + 5)),
                    ..running(900)
                },
                State::Stopping,
                Some("told to end, killed in 5.0s"),
            ),
            (finishing(Want::Down), State::Stopping, Some("told to end, finish runs")),
            (Record { deaths: exited(999, 1000), ..finishing(Want::Up) }, State::Restarting, {
                Some("exited 3, finish runs")
            }),
            (Record { beside: beside(Beside::PreStop), phase: Phase::Stopping, ..running(900) }, State::Stopping, {
                Some("told to end, pre-stop runs")
            }),
            (Record { beside: beside(Beside::PostStart), ..running(900) }, State::Up, None),
        ];
        for (record, state, reason) in table {
            let view = view(record, Normally::Up);
            assert_eq!((view.state(), view.reason().as_deref()), (state, reason), "{:?}", view.seen.record);
        }
    }

    #[test]
    fn what_is_down_on_purpose_says_so() {
        assert_eq!(view(down(), Normally::Down).reason().as_deref(), Some("normally down"));
    }

    #[test]
    fn an_end_that_was_commanded_makes_no_service_restarting() {
        let death = death(997, 998, Exit::Signal(15));
        for told in [Death { counts: false, ..death }, Death { is_told: true, ..death }] {
            let view = view(Record { deaths: vec![told, told], ..running(998) }, Normally::Up);
            assert_eq!(view.state(), State::Up);
        }
    }

    #[test]
    fn an_end_before_a_command_to_start_makes_no_service_restarting() {
        let short = death(997, 998, Exit::Code(3));
        let forgiven = Death { counts: false, ..short };
        for (deaths, state) in [
            (vec![short, short], State::Restarting),
            (vec![forgiven, forgiven], State::Up),
            (vec![forgiven, short], State::Up),
            (vec![forgiven, short, short], State::Restarting),
        ] {
            assert_eq!(view(Record { deaths, ..running(998) }, Normally::Up).state(), state);
        }
    }

    #[test]
    fn what_is_down_says_whether_its_work_is_done() {
        let settings = || vec![(SUCCESS_CODES.to_string(), "0 TERM".to_string())];
        let ended = |exit| death(900, 998, exit);
        let done = |words| format!("its work is done ({words}, one of success-codes), 2.0s ago");
        for (death, words) in [
            (ended(Exit::Code(0)), done("exited 0")),
            (ended(Exit::Signal(15)), done("killed by SIGTERM")),
            (ended(Exit::Code(1)), "exited 1, 2.0s ago".into()),
            (Death { is_told: true, ..ended(Exit::Code(0)) }, "told to end (exited 0), 2.0s ago".into()),
            (Death { is_told: true, ..ended(Exit::Signal(15)) }, "told to end (SIGTERM), 2.0s ago".into()),
        ] {
            let record = Record { deaths: vec![death], settings: settings(), ..down() };
            assert_eq!(view(record.clone(), Normally::Up).reason(), Some(words));
            // Without the setting, no work is known to be done.
            let plain = view(Record { settings: Vec::new(), ..record }, Normally::Up).reason();
            assert!(plain.is_some_and(|words| !words.contains("work")));
        }
    }

    #[test]
    fn words_about_run_name_it() {
        for (words, expected) in [
            ("it is empty", "run is empty"),
            ("it is missing", "run is missing"),
            ("its first line names no interpreter behind #!", "run: its first line names no interpreter behind #!"),
            ("interpreter /no/such does not exist", "interpreter /no/such does not exist"),
        ] {
            assert_eq!(about_run(words), expected);
        }
    }

    #[test]
    fn ends_that_are_alike_have_a_pattern() {
        let short = |exit| death(10, 12, exit);
        let table: [(Vec<Death>, Option<&str>); 6] = [
            (vec![], None),
            (vec![short(Exit::Code(3))], None),
            (
                vec![short(Exit::Code(3)), short(Exit::Code(3))],
                Some("the last 2 ends: exited 3 each time, and none lived longer than 2.0s"),
            ),
            (vec![short(Exit::Code(3)), short(Exit::Code(4))], Some("the last 2 ends: none lived longer than 2.0s")),
            (vec![death(10, 90, Exit::Code(3)), short(Exit::Code(3))], Some("the last 2 ends: exited 3 each time")),
            (vec![death(10, 90, Exit::Code(3)), short(Exit::Code(4))], None),
        ];
        for (deaths, words) in table {
            let view = view(Record { deaths, ..down() }, Normally::Up);
            assert_eq!(view.pattern().as_deref(), words);
        }
    }

    #[test]
    fn readiness_is_of_what_runs() {
        let table = [
            (down(), None),
            (running(900), Some(false)),
            (Record { ready: Some(at(950)), ..running(900) }, Some(true)),
        ];
        for (record, ready) in table {
            assert_eq!(view(record, Normally::Up).ready(), ready);
        }
    }
}
