//! Services that go into the background, and those that raise SIGSTOP.

use super::*;
use crate::machine::Action::{KillLeft, Look, ReportBackgroundFailure, SendLeft};
use crate::machine::SearchOutcome::{Nothing, Taken, Undecided};
use daemontools::service::policy::Expect;

fn daemon() -> Policy {
    Policy { expect: Some(Expect::Daemon), ..plain() }
}

fn with_pidfile() -> Policy {
    Policy { pidfile: Some("pid".into()), ..plain() }
}

/// The events of a life, as a word for each.
fn after(policy: &Policy, ends: &[(u64, i32, SearchOutcome)]) -> Life {
    let mut life = Life::running(policy.clone());
    for (milliseconds, code, left) in ends {
        life.passes(*milliseconds);
        life.happens(Event::Woken);
        life.happens(Event::Ended(Exit::Code(*code)));
        if life.machine.search().is_some() {
            life.happens(Event::Searched(*left));
        }
    }
    life
}

fn purpose(life: &Life) -> Option<SearchGoal> {
    life.machine.search().map(|search| search.purpose)
}

#[test]
fn the_service_is_ready_once_the_process_that_is_left_was_taken() {
    let mut life = Life::running(daemon());
    assert_eq!(life.machine.record().ready, None);
    assert_eq!(life.happens(Event::Ended(Exit::Code(0))), [Look], "nothing is written before");
    assert_eq!(life.happens(Event::Searched(Taken)), [Publish, Announce('U')]);
    let record = life.machine.record();
    assert_eq!((record.phase, record.starts, record.ready.is_some()), (Phase::Running, 1, true));
    assert_eq!(life.told(Command::Terminate), [Send(SIGTERM)]);
}

/// What has ended, after which time and with which code, and what was found; then what is looked for.
#[test]
fn what_is_looked_for_depends_on_what_has_ended_and_how() {
    use Undecided as U;
    let is_over: (Stage, Option<SearchGoal>) = (Stage::Waiting(Pause::until(Moment::ZERO)), None);
    let runs = (Stage::Alive(Role::Run), None);
    let looks = |purpose| (LOOKING, Some(purpose));
    type Row = (&'static [(u64, i32, SearchOutcome)], (Stage, Option<SearchGoal>), (Stage, Option<SearchGoal>));
    // The events; then the outcome with `expect`, and that with a pid file.
    let table: [Row; 11] = [
        (&[(0, 0, Taken)], runs, runs),
        (&[(0, 0, Nothing)], is_over, is_over),
        (&[(0, 0, U(BackgroundFailure::Several))], looks(SearchGoal::Start), looks(SearchGoal::Start)),
        (&[(0, 1, Nothing)], is_over, is_over),
        (&[(0, 1, U(BackgroundFailure::Several))], looks(SearchGoal::End), looks(SearchGoal::End)),
        (&[(0, 0, Taken), (10, 0, Taken)], runs, runs),
        (&[(0, 0, Taken), (10, 0, Nothing)], is_over, is_over),
        (&[(0, 0, Taken), (10, 0, U(BackgroundFailure::Several))], looks(SearchGoal::Start), looks(SearchGoal::Start)),
        (&[(0, 0, Taken), (10, 1, U(BackgroundFailure::Several))], looks(SearchGoal::End), looks(SearchGoal::End)),
        (&[(0, 0, Taken), (5000, 0, Taken)], is_over, runs),
        (&[(0, 0, Taken), (5000, 0, U(BackgroundFailure::Several))], is_over, is_over),
    ];
    for (ends, expected, with_file) in table {
        for (policy, expected) in [(daemon(), expected), (with_pidfile(), with_file)] {
            let slow = Policy {
                restart: Restart { first: Duration::from_secs(60), cap: Duration::from_secs(60), ..policy.restart },
                ..policy
            };
            let life = after(&slow, ends);
            assert_eq!((kind(life.machine.stage), purpose(&life)), expected, "{ends:?} {:?}", slow.pidfile);
        }
    }
}

#[test]
fn several_that_are_left_are_said_and_told_to_end_before_the_next_life() {
    let mut life = after(&daemon(), &[(0, 0, Undecided(BackgroundFailure::Several))]);
    assert_eq!(life.machine.deadline(), Some(Duration::from_secs(5)));
    life.passes(5000);
    assert_eq!(life.happens(Event::Woken), [ReportBackgroundFailure, Publish, Look]);
    let told = life.happens(Event::Searched(Undecided(BackgroundFailure::Several)));
    assert_eq!(told, [SendLeft(SIGTERM), SendLeft(SIGCONT), Publish]);
    assert_eq!(life.happens(Event::Searched(Undecided(BackgroundFailure::Several))), [], "they are told once");
    life.passes(5000);
    assert_eq!(life.happens(Event::Woken), [KillLeft, Look]);
    let over = life.follow(Event::Searched(Nothing));
    assert_eq!(over[..3], [Announce('d'), Action::KillRest, Announce('D')]);
    assert_eq!(life.machine.record().astray, Some(BackgroundFailure::Several));
}

#[test]
fn a_start_that_went_astray_is_no_success() {
    for policy in [daemon(), with_pidfile()] {
        let mut life = Life::running(Policy { success: vec![0], ..policy });
        life.happens(Event::Ended(Exit::Code(0)));
        let done = life.happens(Event::Searched(Nothing));
        assert_eq!(done[..2], [ReportBackgroundFailure, Announce('d')]);
        assert!(matches!(life.machine.stage, Stage::Waiting(_)), "{:?}", life.machine.stage);
    }
    // A service that was up, and has then ended well, is one.
    let life = after(&Policy { success: vec![0], ..daemon() }, &[(0, 0, Taken), (6000, 0, Nothing)]);
    assert_eq!(life.machine.stage, Stage::Idle(IdleReason::Stopped));
}

#[test]
fn a_pid_file_has_the_time_of_the_whole_start() {
    let mut life = Life::running(with_pidfile());
    life.passes(20_000);
    life.happens(Event::Ended(Exit::Code(0)));
    life.happens(Event::Searched(Undecided(BackgroundFailure::PidFile)));
    assert_eq!(life.machine.deadline(), Some(Duration::from_secs(90)));
    let limit = Policy { ready_within: None, has_timeout_up: true, ..with_pidfile() };
    let for_ever = after(&limit, &[(0, 0, Undecided(BackgroundFailure::PidFile))]);
    assert_eq!(for_ever.machine.deadline(), None);
}

#[test]
fn a_first_process_that_lingers_is_ended_with_what_it_has_left() {
    let mut life =
        Life::running(Policy { ready_within: Some(Duration::from_secs(3)), has_timeout_up: true, ..daemon() });
    life.passes(3000);
    assert!(life.happens(Event::Woken).contains(&SendScope(SIGTERM)));
    assert_eq!(life.happens(Event::Ended(Exit::Code(0))), [Look]);
    assert_eq!(purpose(&life), Some(SearchGoal::End));
}

#[test]
fn down_during_the_start_ends_what_is_left_and_takes_nothing() {
    let mut life = after(&daemon(), &[(0, 0, Undecided(BackgroundFailure::Several))]);
    assert_eq!(life.told(Command::Down), [Publish, Look]);
    assert_eq!(
        life.happens(Event::Searched(Undecided(BackgroundFailure::Several))),
        [SendLeft(SIGTERM), SendLeft(SIGCONT), Publish]
    );
    assert_eq!(life.machine.record().phase, Phase::Stopping);
    life.happens(Event::Searched(Nothing));
    assert_eq!(life.machine.stage, Stage::Idle(IdleReason::Stopped));
    let mut killed = after(&daemon(), &[(0, 0, Undecided(BackgroundFailure::Several))]);
    assert_eq!(killed.told(Command::Kill), [KillLeft, Publish, Look]);
}

/// Such a process may have had a fork to do yet, and the next life must not begin beside what that has made.
#[test]
fn what_a_process_leaves_is_ended_that_was_told_to_end_before_it_was_stable() {
    let told_down_after = |milliseconds: u64| {
        let mut life = after(&daemon(), &[(0, 0, Taken)]);
        life.passes(milliseconds);
        life.happens(Event::Woken);
        life.told(Command::Down);
        life.happens(Event::Ended(Exit::Signal(15)));
        (purpose(&life), life)
    };
    let (purpose, mut life) = told_down_after(10);
    assert_eq!(purpose, Some(SearchGoal::End));
    assert_eq!(
        life.happens(Event::Searched(Undecided(BackgroundFailure::Several))),
        [SendLeft(SIGTERM), SendLeft(SIGCONT), Publish]
    );
    life.happens(Event::Searched(Nothing));
    assert_eq!(life.machine.stage, Stage::Idle(IdleReason::Stopped));
    assert_eq!(told_down_after(5000).0, None);
}

/// If supervise is killed while it looks, the next one goes on; whether the process is believed to stay is written down.
#[test]
fn a_search_is_resumed() {
    let resumed = |life: &Life| Machine::resume(daemon(), &life.machine.record(), life.now);
    let mut searching = after(&daemon(), &[(0, 0, Undecided(BackgroundFailure::Several))]);
    let again = resumed(&searching);
    assert_eq!(again.stage, searching.machine.stage);
    searching.machine = again;
    assert_eq!(searching.happens(Event::Begun).last(), Some(&Look));
    let with_process = |life: &Life| {
        let process = Process { pid: nix::unistd::Pid::from_raw(7), ticks: 1, serial: 1 };
        let record = Record { process: Some((Role::Run, process)), ..life.machine.record() };
        let mut next = Life { machine: Machine::resume(daemon(), &record, life.now), now: life.now };
        next.passes(60_000);
        next.happens(Event::Ended(Exit::Unknown))
    };
    assert_eq!(with_process(&after(&daemon(), &[(0, 0, Taken)])), [Look]);
    let mut stable = after(&daemon(), &[(0, 0, Taken)]);
    stable.passes(5000);
    assert_eq!(stable.happens(Event::Woken), [Publish]);
    assert_ne!(with_process(&stable), [Look]);
}

#[test]
fn a_service_that_stops_itself_is_continued_and_ready() {
    let mut life = Life::running(Policy { expect: Some(Expect::Stop), ..plain() });
    assert!(life.machine.awaits_stop());
    assert_eq!(life.happens(Event::Stopped), [Action::Record, Send(SIGCONT), Publish, Announce('U')]);
    assert_eq!(life.happens(Event::Stopped), [], "another stop is its own business");
    // A supervise that was killed in between has not continued it.
    life.machine = Machine::resume(life.machine.policy.clone(), &life.machine.record(), life.now);
    life.machine.stage = Stage::Alive(Role::Run);
    assert!(life.happens(Event::Begun).contains(&Send(SIGCONT)));
    // A pause by a command is no sign.
    let mut paused = Life::running(Policy { expect: Some(Expect::Stop), ..plain() });
    paused.told(Command::Pause);
    assert_eq!(paused.happens(Event::Stopped), []);
}
