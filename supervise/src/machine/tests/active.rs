//! A service that is up without a process.

use super::*;
use daemontools::service::{Beside, Failure};

fn state() -> Policy {
    Policy { is_state: true, ..plain() }
}

fn active(policy: Policy) -> Life {
    let mut life = Life::of(policy);
    life.follow(Event::Begun);
    assert_eq!(life.machine.stage, Stage::Active);
    life
}

#[test]
fn a_state_is_up_and_ready_at_once() {
    let mut life = Life::of(state());
    assert_eq!(life.follow(Event::Begun), [Announce('s'), Configure, Announce('u'), Publish]);
    let record = life.machine.record();
    assert!(record.active && record.ready.is_some());
    assert_eq!((record.phase, record.starts), (Phase::Running, 1));
}

#[test]
fn a_state_has_all_programs_but_run() {
    let mut life = Life::of(Policy {
        has_start: true,
        has_pre_start: true,
        has_post_start: true,
        has_pre_stop: true,
        has_finish: true,
        has_stop: true,
        ..state()
    });
    assert!(life.follow(Event::Begun).contains(&Launch(Role::Start)));
    assert!(life.follow(Event::Ended(Exit::Code(0))).contains(&Launch(Role::PreStart)));
    assert!(life.follow(Event::Ended(Exit::Code(0))).contains(&Action::LaunchBeside(Beside::PostStart)));
    assert!(!life.machine.is_ready() && life.machine.record().active);
    assert_eq!(life.follow(Event::BesideEnded(Exit::Code(1))), [Announce('U'), Publish]);
    assert!(life.machine.is_ready());
    assert!(life.follow(Event::Told(Command::Down)).contains(&Action::LaunchBeside(Beside::PreStop)));
    assert_eq!(life.machine.record().phase, Phase::Stopping);
    assert!(life.follow(Event::BesideEnded(Exit::Code(0))).contains(&Launch(Role::Finish)));
    let end = LifeEnd { role: Role::Run, exit: Exit::Code(0), is_told: true, has_pre_stop: true };
    assert_eq!((life.machine.life_end(), life.machine.record().active), (Some(end), false));
    assert!(life.follow(Event::Ended(Exit::Code(0))).contains(&Launch(Role::Stop)));
    life.follow(Event::Ended(Exit::Code(0)));
    assert_eq!((life.machine.stage, life.machine.record().deaths), (Stage::Idle(IdleReason::Stopped), vec![]));
}

#[test]
fn a_stop_is_written_down_before_it_is_done() {
    let mut life = active(state());
    let expected = [Publish, Announce('d'), Action::KillRest, Announce('D'), Publish];
    assert_eq!(life.told(Command::Down), expected);
    assert_eq!(life.machine.stage, Stage::Idle(IdleReason::Stopped));
}

#[test]
fn no_signal_ends_it() {
    for command in Command::ALL.into_iter().filter(|command| *command != Command::Down) {
        let mut life = active(state());
        life.follow(Event::Told(command));
        assert_eq!(life.machine.stage, Stage::Active, "{command:?}");
        assert!(!life.machine.record().paused);
    }
}

#[test]
fn it_is_started_again_by_down_and_up_in_one_write() {
    for has_pre_stop in [false, true] {
        let mut life = active(Policy { has_pre_stop, ..state() });
        life.passes(2000);
        life.follow(Event::Told(Command::Down));
        life.follow(Event::Restart);
        life.follow(Event::Told(Command::Up));
        if has_pre_stop {
            life.follow(Event::BesideEnded(Exit::Code(0)));
        }
        assert_eq!((life.machine.stage, life.machine.record().starts), (Stage::Active, 2), "{has_pre_stop}");
    }
}

#[test]
fn exit_125_of_post_start_fails_it() {
    let mut life = active(Policy { has_post_start: true, has_finish: true, ..state() });
    assert!(life.follow(Event::BesideEnded(Exit::Code(125))).contains(&Launch(Role::Finish)));
    assert!(!life.machine.life_end().unwrap().is_told);
    life.follow(Event::Ended(Exit::Code(0)));
    let record = life.machine.record();
    assert_eq!((record.phase, record.failure), (Phase::Failed, Some(Failure::PostStart)));
}

#[test]
fn the_next_supervise_finds_it_active() {
    let mut life = active(state());
    let record = life.machine.record();
    let mut next = Life { machine: Machine::resume(state(), &record, life.now), now: life.now };
    assert_eq!(next.follow(Event::Begun), [Announce('s'), Publish]);
    assert_eq!(next.machine.record(), record);
    // Killed as soon as it has written down that the service is to go down.
    let down = Record { want: Want::Down, ..record };
    let mut next = Life { machine: Machine::resume(state(), &down, life.now), now: life.now };
    next.follow(Event::Begun);
    assert_eq!(next.machine.stage, Stage::Idle(IdleReason::Stopped));
    // svscan stops, and this supervise is only to end what is left.
    life.follow(Event::StartNothing);
    life.follow(Event::Told(Command::Down));
    assert_eq!(life.machine.stage, Stage::Idle(IdleReason::Stopped));
}
