use super::Goal::{Down, Finished, Ready, Restarted, Up};
use super::GoalState::{Never, NotYet, Reached};
use super::*;
use crate::service::{Death, Failure, Phase, Process, Record, Role};
use crate::tai64::{Moment, Tai64, Tai64N};

const NOTHING: Sent = Sent { to_start: false, to_end: false, only_to_exit: false };
const START: Sent = Sent { to_start: true, ..NOTHING };
const END: Sent = Sent { to_end: true, ..NOTHING };
const BOTH: Sent = Sent { to_start: true, to_end: true, ..NOTHING };
const EXIT: Sent = Sent { only_to_exit: true, ..NOTHING };

const GOALS: [Goal; 5] = [Up, Ready, Down, Finished, Restarted];

fn here(record: Record) -> Observation {
    Observation {
        presence: Presence::Here,
        seen: Some(Snapshot::of(Status::of(&record), None, Some(record))),
        unwritten: None,
    }
}

/// The same observation from a supervise that writes no state.
fn bare(observation: Observation) -> Observation {
    let seen = observation.seen.map(|seen| Snapshot { record: None, ..seen });
    Observation { seen, ..observation }
}

fn with(presence: Presence, observation: Observation) -> Observation {
    Observation { presence, ..observation }
}

/// The record of a service after its `count`th start, made at second `count`.
fn record(count: u64) -> Record {
    let since = Moment { label: Tai64N(Tai64(count), 0), ..Moment::ZERO };
    Record { starts: count, since, want: Want::Up, ..Record::blank() }
}

fn process(role: Role, pid: u64) -> Option<(Role, Process)> {
    Some((role, Process { pid: Pid::from_raw(i32::try_from(pid).unwrap()), ticks: 1, serial: 0 }))
}

fn up(count: u64) -> Record {
    Record { phase: Phase::Running, process: process(Role::Run, count), ..record(count) }
}

fn ready(count: u64) -> Record {
    Record { ready: Some(Moment::ZERO), ..up(count) }
}

/// The record of a service whose process has not become `run` yet.
fn gated(count: u64) -> Record {
    Record { gated: true, ..up(count) }
}

fn ending(count: u64) -> Record {
    Record { phase: Phase::Stopping, want: Want::Down, ..ready(count) }
}

fn between(count: u64, exit: Exit) -> Record {
    Record { next_start: Some(Moment::ZERO), deaths: vec![death(exit)], ..record(count) }
}

fn finishing(count: u64, want: Want) -> Record {
    let deaths = vec![death(Exit::Code(1))];
    Record { phase: Phase::Stopping, process: process(Role::Finish, 100 + count), want, deaths, ..record(count) }
}

fn rest(count: u64, exit: Exit) -> Record {
    Record { want: Want::Down, deaths: vec![death(exit)], ..record(count) }
}

fn failed(count: u64) -> Record {
    Record { phase: Phase::Failed, ..rest(count, Exit::Code(100)) }
}

fn death(exit: Exit) -> Death {
    let label = Moment::ZERO.label;
    Death { started: label, ended: label, exit, counts: true, is_told: false }
}

const CODE: Exit = Exit::Code(1);
const MISSING: Exit = Exit::Unstarted(2);

/// The record after the process has changed once more.
fn later(record: Record) -> Record {
    Record { since: Moment { label: Tai64N(Tai64(record.since.label.0.0), 9), ..Moment::ZERO }, ..record }
}

#[test]
fn words_mean_goals() {
    for goal in GOALS {
        let missed = goal.missed().strip_prefix("not ").unwrap();
        assert_eq!(Goal::parse(OsStr::new(missed)), Ok(goal));
    }
    assert!(Goal::parse(OsStr::new("")).is_err());
    assert!(Goal::parse(OsStr::from_bytes(b"up\xff")).is_err());
}

#[test]
fn commands_start_or_end_or_do_neither() {
    for (letters, told) in [
        ("u", START),
        ("o", START),
        ("dx", END),
        ("t", END),
        ("du", BOTH),
        ("hw", NOTHING),
        ("x", EXIT),
        ("cxp", EXIT),
        ("xi", NOTHING),
    ] {
        let commands: Vec<Command> = letters.bytes().filter_map(Command::from_byte).collect();
        assert_eq!(Sent::by(&Commands::from(&commands[..])), told, "{letters}");
    }
}

/// Each row: an observation of now, and the verdict for each of up, ready, down, finished and restarted.
type Row = (Record, [GoalState; 5]);

#[track_caller]
fn check(told: Sent, before: Record, rows: &[Row]) {
    for (now, expected) in rows {
        let verdicts = GOALS.map(|goal| evaluate(goal, told, &here(before.clone()), &here(now.clone())));
        assert_eq!(verdicts, *expected, "{told:?}\n{before:#?}\n{now:#?}");
    }
}

const GAVE_UP: GoalState = Never(Reason::Failed(Some(Exit::Code(100))));
const OVER: GoalState = Never(Reason::Ended(Some(CODE)));

#[test]
fn only_waiting_for_what_was_ready() {
    check(
        NOTHING,
        ready(3),
        &[
            (ready(3), [Reached, Reached, NotYet, NotYet, NotYet]),
            (ending(3), [NotYet, NotYet, NotYet, NotYet, NotYet]),
            (later(between(3, CODE)), [NotYet, NotYet, NotYet, NotYet, NotYet]),
            (finishing(3, Want::Up), [NotYet, NotYet, NotYet, NotYet, NotYet]),
            (finishing(3, Want::Down), [NotYet, NotYet, Reached, NotYet, NotYet]),
            (later(rest(3, CODE)), [OVER, OVER, Reached, Reached, OVER]),
            (later(failed(3)), [GAVE_UP, GAVE_UP, Reached, Reached, GAVE_UP]),
            (up(4), [Reached, NotYet, NotYet, NotYet, Reached]),
            (ready(4), [Reached, Reached, NotYet, NotYet, Reached]),
        ],
    );
}

#[test]
fn only_waiting_for_what_was_at_rest_or_had_failed() {
    let start = Record { phase: Phase::Starting, process: process(Role::Start, 50), ..record(3) };
    for before in [rest(3, CODE), failed(3)] {
        check(
            NOTHING,
            before,
            &[
                (rest(3, CODE), [NotYet, NotYet, Reached, Reached, NotYet]),
                (failed(3), [GAVE_UP, GAVE_UP, Reached, Reached, GAVE_UP]),
                (start.clone(), [NotYet, NotYet, NotYet, NotYet, NotYet]),
                (up(4), [Reached, NotYet, NotYet, NotYet, Reached]),
            ],
        );
    }
}

#[test]
fn told_to_start_what_was_down_before_does_not_count() {
    let start = Record { phase: Phase::Starting, process: process(Role::Start, 50), ..record(3) };
    check(
        START,
        rest(3, CODE),
        &[
            (rest(3, CODE), [NotYet, NotYet, NotYet, NotYet, NotYet]),
            (Record { want: Want::Up, ..rest(3, CODE) }, [NotYet, NotYet, NotYet, NotYet, NotYet]),
            (start, [NotYet, NotYet, NotYet, NotYet, NotYet]),
            (up(4), [Reached, NotYet, NotYet, NotYet, Reached]),
            (ready(4), [Reached, Reached, NotYet, NotYet, Reached]),
            // A run that was too short to be observed.
            (between(4, CODE), [Reached, NotYet, NotYet, NotYet, Reached]),
            (finishing(4, Want::Once), [Reached, NotYet, Reached, NotYet, Reached]),
            (rest(4, CODE), [Reached, OVER, Reached, Reached, Reached]),
            // The program was not executed, or it is not known whether it was.
            (gated(4), [NotYet, NotYet, NotYet, NotYet, NotYet]),
            (between(4, MISSING), [NotYet, NotYet, NotYet, NotYet, NotYet]),
            (failed(4), [GAVE_UP, GAVE_UP, Reached, Reached, GAVE_UP]),
            // `start` failed.
            (later(failed(3)), [GAVE_UP, GAVE_UP, Reached, Reached, GAVE_UP]),
        ],
    );
}

#[test]
fn told_to_start_an_earlier_failure_does_not_count() {
    check(
        START,
        failed(3),
        &[
            (failed(3), [NotYet, NotYet, NotYet, NotYet, NotYet]),
            (later(failed(3)), [GAVE_UP, GAVE_UP, Reached, Reached, GAVE_UP]),
            (failed(4), [GAVE_UP, GAVE_UP, Reached, Reached, GAVE_UP]),
            (gated(4), [NotYet, NotYet, NotYet, NotYet, NotYet]),
            (up(4), [Reached, NotYet, NotYet, NotYet, Reached]),
        ],
    );
}

#[test]
fn told_to_end_what_was_up_before_does_not_count() {
    check(
        END,
        ready(3),
        &[
            (ready(3), [NotYet, NotYet, NotYet, NotYet, NotYet]),
            (ending(3), [NotYet, NotYet, NotYet, NotYet, NotYet]),
            (later(rest(3, CODE)), [OVER, OVER, Reached, Reached, OVER]),
            (ready(4), [Reached, Reached, NotYet, NotYet, Reached]),
        ],
    );
    // With -du, the service starts again after its end.
    check(BOTH, ready(3), &[(later(rest(3, CODE)), [NotYet, NotYet, Reached, Reached, NotYet])]);
}

#[test]
fn told_only_to_exit_what_runs_on_is_not_waited_for() {
    let on = Never(Reason::RunsOn);
    let once = Record { want: Want::Once, ..ready(3) };
    check(
        EXIT,
        ready(3),
        &[
            (ready(3), [Reached, Reached, on, on, on]),
            (Record { leaving: true, ..up(3) }, [Reached, NotYet, on, on, on]),
            // These services end by themselves.
            (once, [Reached, Reached, NotYet, NotYet, NotYet]),
            (ending(3), [NotYet, NotYet, NotYet, NotYet, NotYet]),
            (finishing(3, Want::Down), [NotYet, NotYet, Reached, NotYet, NotYet]),
            (later(rest(3, CODE)), [OVER, OVER, Reached, Reached, OVER]),
            (ready(4), [Reached, Reached, on, on, Reached]),
        ],
    );
    let verdict = evaluate(Finished, EXIT, &bare(here(up(3))), &bare(here(up(3))));
    assert_eq!(verdict, on);
}

#[test]
fn where_only_the_status_tells_up_is_ready_and_down_is_finished() {
    let rows = [
        (ready(3), [Reached, Reached, NotYet, NotYet, NotYet]),
        (up(4), [Reached, Reached, NotYet, NotYet, Reached]),
        (later(up(3)), [Reached, Reached, NotYet, NotYet, Reached]),
        (later(between(3, CODE)), [NotYet, NotYet, NotYet, NotYet, NotYet]),
        (
            later(rest(3, CODE)),
            [Never(Reason::Ended(None)), Never(Reason::Ended(None)), Reached, Reached, Never(Reason::Ended(None))],
        ),
        (
            later(failed(3)),
            [Never(Reason::Failed(None)), Never(Reason::Failed(None)), Reached, Reached, Never(Reason::Failed(None))],
        ),
    ];
    for (now, expected) in rows {
        let verdicts = GOALS.map(|goal| evaluate(goal, NOTHING, &bare(here(up(3))), &bare(here(now.clone()))));
        assert_eq!(verdicts, expected, "{now:#?}");
    }
}

#[test]
fn a_supervise_that_is_away_may_come_back() {
    let nobody = Never(Reason::Unsupervised);
    let left = Record { leaving: true, ..rest(3, CODE) };
    let left_wanted_up = Record { leaving: true, next_start: None, ..between(3, CODE) };
    let rows = [
        (ready(3), [NotYet; 5], [nobody; 5]),
        (between(3, CODE), [NotYet; 5], [nobody, nobody, Reached, Reached, nobody]),
        (rest(3, CODE), [NotYet, NotYet, Reached, Reached, NotYet], [nobody, nobody, Reached, Reached, nobody]),
        (left, [nobody, nobody, Reached, Reached, nobody], [nobody, nobody, Reached, Reached, nobody]),
        (left_wanted_up, [nobody, nobody, Reached, Reached, nobody], [nobody, nobody, Reached, Reached, nobody]),
    ];
    for (now, away, gone) in rows {
        for (presence, expected) in [(Presence::Away, away), (Presence::Gone, gone)] {
            let now = with(presence, here(now.clone()));
            let verdicts = GOALS.map(|goal| evaluate(goal, NOTHING, &here(ready(3)), &now));
            assert_eq!(verdicts, expected, "{now:#?}");
        }
    }
    // This one had left before the wait began, so that svscan may be about to start another.
    let left = || here(Record { leaving: true, ..rest(3, CODE) });
    for (presence, expected) in [
        (Presence::Away, [NotYet, NotYet, Reached, Reached, NotYet]),
        (Presence::Gone, [nobody, nobody, Reached, Reached, nobody]),
    ] {
        let before = with(Presence::Away, left());
        let verdicts = GOALS.map(|goal| evaluate(goal, NOTHING, &before, &with(presence, left())));
        assert_eq!(verdicts, expected, "{presence:?}");
    }
}

#[test]
fn a_goal_without_a_supervise_is_open_until_none_can_come() {
    let unseen = |presence| Observation { presence, seen: None, unwritten: None };
    for goal in GOALS {
        for presence in [Presence::Here, Presence::Away] {
            assert_eq!(evaluate(goal, NOTHING, &unseen(Presence::Away), &unseen(presence)), NotYet);
        }
        let gone = evaluate(goal, NOTHING, &unseen(Presence::Away), &unseen(Presence::Gone));
        assert_eq!(gone, Never(Reason::Unsupervised));
    }
    // The first start after the supervise came counts as a restart.
    assert_eq!(evaluate(Restarted, NOTHING, &unseen(Presence::Away), &here(up(1))), Reached);
}

#[test]
fn between_two_files_nothing_is_said() {
    let Observation { presence, seen, .. } = here(ready(4));
    let unsettled = seen.map(|seen| Snapshot { shown: Status { pid: None, ..seen.shown }, ..seen });
    let verdicts = GOALS.map(|goal| {
        evaluate(goal, NOTHING, &here(ready(3)), &Observation { presence, seen: unsettled.clone(), unwritten: None })
    });
    assert_eq!(verdicts, [NotYet; 5]);
}

#[test]
fn reasons_have_words() {
    let last = here(ready(3));
    assert_eq!(Reason::Failed(Some(Exit::Code(100))).words(&last), "failed: exited 100");
    assert_eq!(Reason::Ended(Some(Exit::Signal(15))).words(&last), "ended: killed by SIGTERM");
    assert_eq!(Reason::Failed(None).words(&last), "failed");
    let limit = here(Record { failure: Some(Failure::RestartLimit), ..failed(3) });
    let words = "failed: restart-limit reached, last exited 100";
    assert_eq!(Reason::Failed(Some(Exit::Code(100))).words(&limit), words);
    assert_eq!(
        Reason::RunsOn.words(&last),
        "runs on, as -x alone ends nothing: say -dx; supervise exits when it is next down"
    );
    let gone = with(Presence::Gone, last);
    assert_eq!(Reason::Unsupervised.words(&gone), "supervise not running, last seen up");
}

#[test]
fn what_was_seen_last_has_words() {
    let start = Record { phase: Phase::Starting, process: process(Role::Start, 50), ..record(3) };
    for (seen, words) in [
        (ready(3), "up"),
        (up(3), "up, not ready"),
        (ending(3), "up, told to end"),
        (start, "start runs"),
        (finishing(3, Want::Up), "finish runs, last exited 1"),
        (between(3, Exit::Signal(9)), "waits for its next start, last killed by SIGKILL"),
        (rest(3, CODE), "down, last exited 1"),
        (failed(3), "failed, last exited 100"),
    ] {
        let remedy = if words == "up, told to end" { "; svc -k kills it" } else { "" };
        assert_eq!(here(seen.clone()).words(), format!("{words}{remedy}"));
        assert_eq!(with(Presence::Away, here(seen)).words(), format!("supervise not running, last seen {words}"));
    }
    assert_eq!(bare(here(ready(3))).words(), "up");
    let unseen = |presence| Observation { presence, seen: None, unwritten: None }.words();
    assert_eq!(unseen(Presence::Here), "supervise has written nothing yet");
    assert_eq!(unseen(Presence::Gone), "supervise not running");
}
