//! What is counted of the ends of `run`, and which of them are too many or well.

use super::*;
use daemontools::service::policy::Expect;
use daemontools::service::{EndReason, Failure};

fn counted(life: &Life) -> Vec<(EndReason, u64)> {
    life.machine.record().ends.all().filter(|(_, times)| *times > 0).collect()
}

#[test]
fn ends_are_counted_by_reason_also_by_the_next_supervise() {
    let mut life = Life::running(Policy { ready_within: Some(Duration::from_secs(5)), notify_socket: true, ..plain() });
    let again = |life: &mut Life, exit| {
        life.passes(2000);
        life.follow(Event::Ended(exit));
    };
    again(&mut life, Exit::Code(0));
    again(&mut life, Exit::Code(3));
    again(&mut life, Exit::Signal(11));
    life.passes(5000);
    life.happens(Event::Woken);
    life.follow(Event::Ended(Exit::Signal(15)));
    let record = life.machine.record();
    let mut life = Life { machine: Machine::remember(plain(), Want::Up, &record, life.now), now: life.now };
    life.follow(Event::Begun);
    life.told(Command::Down);
    life.follow(Event::Ended(Exit::Signal(15)));
    let reasons = [EndReason::Well, EndReason::Failed, EndReason::Killed, EndReason::Told, EndReason::Late];
    assert_eq!(counted(&life), reasons.map(|reason| (reason, 1)));
}

/// `run` has failed for good, or done its work, but its life is not over: `u` comes after that, and starts the service.
#[test]
fn a_command_that_comes_after_run_has_ended_is_not_lost() {
    use Command::{Once, Up};
    let success = Policy { success: vec![0], ..plain() };
    let beside = |code| {
        let mut life = Life::running(Policy { has_post_start: true, ..success.clone() });
        life.happens(Event::BesideExecuted);
        life.happens(Event::Ended(Exit::Code(code)));
        assert_eq!(life.machine.stage, Stage::Outlived);
        life
    };
    let left = |code| {
        let mut life = Life::running(Policy { expect: Some(Expect::Daemon), ..success.clone() });
        life.happens(Event::Ended(Exit::Code(code)));
        life.happens(Event::Searched(SearchOutcome::Undecided(BackgroundFailure::Several)));
        assert!(life.machine.is_ending_search());
        life
    };
    let finish = |code| {
        let mut life = Life::running(Policy { has_finish: true, ..success.clone() });
        life.follow(Event::Ended(Exit::Code(code)));
        assert_eq!(life.machine.stage, Stage::Alive(Role::Finish));
        life
    };
    let over = |mut life: Life, told: Option<Command>| {
        told.map(|command| life.told(command));
        let ended = match life.machine.stage {
            Stage::Outlived => Event::BesideEnded(Exit::Code(0)),
            Stage::Looking(_) => Event::Searched(SearchOutcome::Nothing),
            _ => Event::Ended(Exit::Code(0)),
        };
        life.follow(ended).contains(&Launch(Role::Run))
    };
    for code in [100, 0] {
        for told in [Up, Once] {
            assert!(over(beside(code), Some(told)) && over(finish(code), Some(told)), "{code} {told:?}");
        }
        assert!(!over(beside(code), None) && !over(finish(code), None), "{code}");
    }
    // A first process that ends well has only gone into the background.
    assert!(over(left(100), Some(Up)) && over(left(100), Some(Once)) && !over(left(100), None));
}

/// A service dies at these milliseconds; is it given up at the last of them?
fn gives_up(count: usize, deaths: &[u64], kill_supervise: bool) -> bool {
    let limit = Limit { count, within: Duration::from_secs(5) };
    let policy = || Policy { respawn_limit: Some(limit), deaths_kept: 1, ..plain() };
    let mut life = Life::running(policy());
    for (number, at) in deaths.iter().enumerate() {
        if kill_supervise {
            let mut record = life.machine.record();
            let process = daemontools::service::Process { pid: nix::unistd::Pid::from_raw(7), ticks: 1, serial: 0 };
            record.process = Some((Role::Run, process));
            life.machine = Machine::resume(policy(), &record, life.now);
        }
        life.passes(at - u64::try_from(life.now.uptime.as_millis()).unwrap());
        life.follow(Event::Ended(Exit::Code(1)));
        if life.machine.failure == Some(Failure::RestartLimit) {
            assert_eq!(number + 1, deaths.len(), "given up early: {deaths:?}");
            return true;
        }
        if matches!(life.machine.stage, Stage::Waiting(_)) {
            life.told(Command::Once);
            life.machine.want = Want::Up;
            life.follow(Event::Configured(Box::new(policy())));
        }
    }
    false
}

#[test]
fn restarts_are_counted_as_by_upstart() {
    let table: [(usize, &[u64], bool); 6] = [
        (2, &[1000, 2000], false),
        (2, &[1000, 2000, 3000], true),
        // Only whole seconds count: 1.9 is 1, and 5.9 is 5, which is less than five seconds later.
        (2, &[1900, 3000, 5900], true),
        // The window of five seconds is over, and the next begins with that death.
        (2, &[1000, 2000, 6000, 7000, 10_999], true),
        (2, &[1000, 2000, 6000, 7000, 11_000], false),
        (1, &[1000, 2000], true),
    ];
    for (count, deaths, expected) in table {
        for kill_supervise in [false, true] {
            assert_eq!(gives_up(count, deaths, kill_supervise), expected, "{count} {deaths:?} {kill_supervise}");
        }
    }
}

#[test]
fn a_signal_may_mean_that_the_work_is_done() {
    for (exit, is_done) in
        [(Exit::Signal(15), true), (Exit::Core(15), true), (Exit::Signal(9), false), (Exit::Code(15), false)]
    {
        let mut life = Life::running(Policy { success_signals: vec![15], ..plain() });
        life.passes(2000);
        life.follow(Event::Ended(exit));
        assert_eq!(life.machine.stage == Stage::Idle(IdleReason::Stopped), is_done, "{exit}");
    }
}
