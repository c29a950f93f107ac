//! The long form: the short line, then one line for each further fact, with its name in front.

use super::{View, local_time};
use crate::service::{Death, Ending, Phase, Record, Role, SOON, SearchGoal};
use crate::tai64::seconds_between;
use humantime::format_duration;
use std::time::Duration;

/// What is shown of a supervise of daemontools 0.76, and of a supervise whose record cannot be read.
const NO_RECORD: &str = "no supervise/state, as with daemontools 0.76: no more is known";

/// The name of a fact, and its text.
type Line = (&'static str, String);

impl View {
    /// The original's line, then one indented line for each further fact.
    pub fn long(&self) -> String {
        let diagnosis = self.diagnosis.as_ref().map(|words| words.replace(char::is_control, " "));
        let diagnosis = diagnosis.map(|words| format!("\n    {:<11}run: {words}", "cause"));
        let service = block(self, "\n    ") + &diagnosis.unwrap_or_default();
        match self.logger() {
            Some(logger) => format!("{service}\n    log: {}", block(&logger, "\n        ")),
            None => service,
        }
    }
}

fn block(view: &View, indent: &str) -> String {
    let status = &view.seen.status;
    let mut lines = vec![("since", format!("{}, for {}", local_time(status.since), length(view.seconds())))];
    match view.record() {
        Some(record) => lines.extend(known(view, record)),
        None => lines.extend([("want", status.want.word().into()), ("supervise", NO_RECORD.into())]),
    }
    let mut text = view.line();
    for (name, words) in lines {
        text.push_str(&format!("{indent}{name:<11}{words}"));
    }
    text
}

/// The facts from `supervise/state`.
fn known(view: &View, record: &Record) -> Vec<Line> {
    let mut lines = Vec::new();
    match (record.process, record.ready) {
        (Some((Role::Run, _)), Some(ready)) => {
            lines.push(("ready", format!("{}, for {}", local_time(ready.label), length(view.since(ready).as_secs()))));
        }
        (Some((Role::Run, _)), None) => lines.push(("ready", "not yet".into())),
        (None, Some(ready)) if record.active => {
            lines.push(("ready", format!("{}, for {}", local_time(ready.label), length(view.since(ready).as_secs()))));
        }
        (None, None) if record.active => lines.push(("ready", "not yet".into())),
        (Some((role, _)), _) => lines.push(("runs", role.program().into())),
        (None, _) => {}
    }
    lines.extend(record.search.map(|search| ("looks for", looked_for(search.purpose).into())));
    if let Some((beside, process)) = record.beside {
        lines.push(("runs", format!("{} (pid {})", beside.program(), process.pid)));
    }
    if let Some(held) = record.held {
        lines.push(("held", format!("{}; svc -g lets it go", held.word())));
    }
    if let Some(why) = record.failure_words() {
        lines.push(("gave up", why));
    }
    let ahead = [("killed", record.kill_at), ("killed", record.beside_kill_at), ("next start", record.next_start)];
    for (name, at) in ahead.into_iter().filter_map(|(name, at)| Some((name, at?))) {
        let wait = view.until(at).as_nanos().div_ceil(1_000_000_000);
        lines.push((name, format!("{}, in {}", local_time(at.label), length(wait.try_into().unwrap_or(u64::MAX)))));
    }
    if !record.status_text.is_empty() {
        lines.push(("says", record.status_text.replace(char::is_control, " ")));
    }
    lines.extend([("phase", phase(record).into()), ("want", wants(record)), ("starts", record.starts.to_string())]);
    if record.supervise.pid.as_raw() != 0 {
        lines.push(("supervise", format!("pid {}", record.supervise.pid)));
    }
    let names = std::iter::once("last exit").chain(std::iter::repeat("before it"));
    lines.extend(names.zip(record.deaths.chunk_by(is_like).rev().filter_map(|alike| ends(record, alike))));
    lines
}

/// Whether two ends are shown on one line. The ends of a service that dies again and again would fill a screen and hide
/// the ends before them.
fn is_like(one: &Death, other: &Death) -> bool {
    let kind = |death: &Death| {
        let lived = seconds_between(death.started, death.ended);
        // The runs of a service that dies at once do not all last equally long, so their durations are ignored.
        (death.exit, if lived < SOON.as_secs() { 0 } else { lived })
    };
    kind(one) == kind(other)
}

/// A line about ends that are alike: the last one, how many there are, and since when.
fn ends(record: &Record, alike: &[Death]) -> Option<String> {
    let (first, last) = (alike.first()?, alike.last()?);
    Some(match alike.len() {
        1 => end(record, last),
        times => format!("{} ({times} times, since {})", end(record, last), local_time(first.ended)),
    })
}

/// The phase of the service's life. Between two runs the status says only `stopped`, or `started` if `start` has run.
/// The words here distinguish that from a service that is really down.
fn phase(record: &Record) -> &'static str {
    match (record.process, record.next_start) {
        (None, _) if record.active && record.phase == Phase::Running => "active",
        (None, Some(_)) => "waits",
        (None, None) | (Some(_), _) => record.phase.word(),
    }
}

/// What supervise looks for where `run` has gone into the background.
fn looked_for(purpose: SearchGoal) -> &'static str {
    match purpose {
        SearchGoal::Start => "the process of the service that run has left in the background",
        SearchGoal::Successor => "the process that has taken the place of the one that has ended",
        SearchGoal::End => "the end of the processes that run has left in the background",
    }
}

fn wants(record: &Record) -> String {
    let want = record.want.words();
    let ending = match record.ending {
        None => "",
        Some(Ending::Told) => ", told to end",
        Some(Ending::OfItself) => ", says that it ends",
        Some(Ending::Overdue) => ", too late and told to end",
    };
    let paused = if record.paused { ", paused" } else { "" };
    let leaving = if record.leaving { ", supervise to exit" } else { "" };
    format!("{want}{paused}{ending}{leaving}")
}

/// How a `run` ended, when, and how long it had run by the wall clock, the only one that is recorded for deaths.
fn end(record: &Record, death: &Death) -> String {
    let lived = seconds_between(death.started, death.ended);
    format!("{}, {}, after {}", record.end_words(death), local_time(death.ended), length(lived))
}

/// A duration such as `1day 2h 3m 4s`, in the form that `-T` of svc and svwait reads.
fn length(seconds: u64) -> String {
    format_duration(Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::view::Normally;
    use crate::service::{Exit, Failure, Process, Snapshot, Status, Want};
    use crate::tai64::{Moment, Tai64, Tai64N};
    use nix::unistd::Pid;

    fn at(second: i64) -> Moment {
        let uptime = Duration::from_secs(u64::try_from(second).unwrap());
        Moment { uptime, label: Tai64N(Tai64::from_unix(second + 86_400 * 365), 0) }
    }

    fn process(role: Role) -> Option<(Role, Process)> {
        Some((role, Process { pid: Pid::from_raw(7), ticks: 1, serial: 0 }))
    }

    fn record() -> Record {
        let supervise = Process { pid: Pid::from_raw(5), ticks: 1, serial: 0 };
        Record { supervise, since: at(100), want: Want::Up, starts: 3, ..Record::blank() }
    }

    fn lines(record: &Record, now: Moment) -> Vec<Line> {
        let seen = Snapshot::of(Status::actual(record), None, Some(record.clone()));
        known(&View { seen, normally: Normally::Up, diagnosis: None, now, alive: None }, record)
    }

    fn names(record: &Record) -> Vec<(&'static str, String)> {
        let without_times = |(name, words): Line| (name, words.split(", 19").next().unwrap().to_string());
        lines(record, at(160)).into_iter().map(without_times).collect()
    }

    fn line(name: &'static str, words: &str) -> Line {
        (name, words.into())
    }

    #[test]
    fn what_runs_is_ready_or_not() {
        let ready = Record { process: process(Role::Run), ready: Some(at(130)), ..record() };
        let (name, words) = &lines(&ready, at(160))[0];
        assert!(*name == "ready" && words.ends_with(", for 30s"), "{words}");
        let starting = Record { ready: None, ..ready };
        assert_eq!(names(&starting)[0], line("ready", "not yet"));
        assert_eq!(names(&Record { process: process(Role::Finish), ..starting })[0], line("runs", "finish"));
    }

    #[test]
    fn a_state_is_active() {
        let active = Record { active: true, phase: Phase::Running, ready: Some(at(130)), ..record() };
        assert!(names(&active).contains(&line("phase", "active")));
        assert_eq!(names(&Record { ready: None, ..active.clone() })[0], line("ready", "not yet"));
        assert!(names(&Record { phase: Phase::Stopping, ..active }).contains(&line("phase", "stopping")));
    }

    #[test]
    fn what_is_down_tells_when_it_is_started() {
        let waiting = Record { next_start: Some(at(161)), ..record() };
        let (name, words) = &lines(&waiting, Moment { uptime: Duration::from_millis(159_001), ..at(159) })[0];
        assert!(*name == "next start" && words.ends_with(", in 2s"), "{words}");
        for phase in [Phase::Stopped, Phase::Started] {
            assert!(names(&Record { phase, ..waiting.clone() }).contains(&line("phase", "waits")));
        }
    }

    #[test]
    fn what_gave_up_tells_why() {
        let failed = Record { phase: Phase::Failed, failure: Some(Failure::Start(Exit::Code(3))), ..record() };
        assert_eq!(names(&failed)[0], line("gave up", "start failed: exited 3"));
    }

    #[test]
    fn what_is_told_to_end_tells_when_it_is_killed() {
        let ending = Record { process: process(Role::Finish), kill_at: Some(at(3760)), ..record() };
        let (name, words) = &lines(&ending, at(160))[1];
        assert!(*name == "killed" && words.ends_with(", in 1h"), "{words}");
    }

    #[test]
    fn the_past_is_told_newest_first() {
        let exits = [Exit::Code(1), Exit::Unstarted(13), Exit::Core(11)];
        let deaths =
            exits.map(|exit| Death { started: at(1).label, ended: at(90).label, exit, counts: true, is_told: false });
        let told = Record { deaths: deaths.to_vec(), want: Want::Once, leaving: true, paused: true, ..record() };
        let expected = [
            line("phase", "stopped"),
            line("want", "up once, paused, supervise to exit"),
            line("starts", "3"),
            line("supervise", "pid 5"),
            line("last exit", "killed by SIGSEGV (core dumped)"),
            line("before it", "not executed: access denied"),
            line("before it", "exited 1"),
        ];
        assert_eq!(names(&told), expected);
        assert!(end(&record(), &deaths[0]).ends_with(", after 1m 29s"));
    }

    #[test]
    fn ends_that_are_alike_are_told_once_with_their_number() {
        let exit = |code| Exit::Code(code);
        /// How a run ended, when it was started, and how long it lasted.
        type Life = (Exit, i64, i64);
        /// What a line must begin with, what it must contain, and how it must end.
        type Told<'a> = (&'a str, &'a str, &'a str);
        let table: [(&[Life], &[Told]); 5] = [
            (&[], &[]),
            (&[(exit(1), 10, 1)], &[("exited 1", "after 1s", "")]),
            (
                &[(exit(1), 10, 0), (exit(1), 12, 4), (exit(1), 14, 1)],
                &[("exited 1", "after 1s", "(3 times, since TIME)")],
            ),
            // The next row has another end between the equal ones, and another duration.
            (
                &[(exit(1), 10, 1), (exit(2), 12, 1), (exit(1), 14, 1), (exit(1), 16, 1)],
                &[
                    ("exited 1", "after 1s", "(2 times, since TIME)"),
                    ("exited 2", "after 1s", ""),
                    ("exited 1", "after 1s", ""),
                ],
            ),
            (
                &[(exit(1), 10, 5), (exit(1), 20, 60), (exit(1), 90, 60)],
                &[("exited 1", "after 1m", "(2 times, since TIME)"), ("exited 1", "after 5s", "")],
            ),
        ];
        for (deaths, expected) in table {
            let deaths = deaths.iter().map(|(exit, started, lived)| Death {
                started: at(*started).label,
                ended: at(started + lived).label,
                exit: *exit,
                counts: true,
                is_told: false,
            });
            let told = Record { deaths: deaths.collect(), ..record() };
            let lines = lines(&told, at(200));
            let seen: Vec<&Line> = lines.iter().filter(|(name, _)| ["last exit", "before it"].contains(name)).collect();
            assert_eq!(seen.len(), expected.len(), "{seen:?}");
            for ((_, words), (exit, lived, times)) in seen.into_iter().zip(expected) {
                let since = words.split_once("since ").map(|(_, time)| time.trim_end_matches(')')).unwrap_or_default();
                let plain = words.replace(&format!("since {since}"), "since TIME");
                assert!(plain.starts_with(exit) && plain.contains(lived) && plain.ends_with(times), "{words}");
                assert_eq!(plain.contains("times"), !times.is_empty(), "{words}");
            }
        }
    }

    #[test]
    fn what_a_service_says_cannot_command_a_terminal() {
        let told = Record { status_text: "a\x1b[2Jb".into(), ..record() };
        assert_eq!(names(&told)[0], line("says", "a [2Jb"));
    }
}
