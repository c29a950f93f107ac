//! Transitions that another program holds back.

use super::*;
use daemontools::service::policy::Expect;
use daemontools::service::{BackgroundFailure, Beside, Held, SearchGoal};

const SECOND: u64 = 1000;

/// What the machine does when somebody holds back what it asks for.
fn held(life: &mut Life, event: Event) -> Vec<Action> {
    let mut done = life.happens_while_held(event);
    assert!(matches!(done.pop(), Some(Action::AskHolder(_))), "{done:?}");
    done.extend(life.happens_while_held(Event::Held));
    done
}

/// A service whose start is held.
fn starting(policy: Policy) -> Life {
    let mut life = Life::of(policy);
    let expected = [Announce('s'), Publish, Announce('h')];
    assert_eq!(held(&mut life, Event::Begun), expected);
    assert_eq!((life.machine.stage, life.machine.record().held), (Stage::Preparing, Some(Held::Starting)));
    life
}

/// A service that was told to end, which is held.
fn stopping(policy: Policy) -> Life {
    let mut life = Life::running(policy);
    assert_eq!(held(&mut life, Event::Told(Command::Down)), [Publish, Announce('H')]);
    let record = life.machine.record();
    assert_eq!((record.held, record.phase, record.ending), (Some(Held::Stopping), Phase::Stopping, None));
    life
}

/// A service that has ended by itself, and what follows is held.
fn ended() -> Life {
    let mut life = Life::running(Policy { has_finish: true, ..plain() });
    life.passes(2 * SECOND);
    assert_eq!(held(&mut life, Event::Ended(Exit::Code(3))), [Announce('d'), Publish, Announce('H')]);
    assert_eq!((life.machine.stage, life.machine.record().held), (Stage::Outlived, Some(Held::Stopping)));
    life
}

fn end() -> [Action; 3] {
    [SendScope(SIGTERM), SendScope(SIGCONT), Publish]
}

/// The next supervise, after a kill.
fn next(life: &Life) -> Life {
    let mut record = life.machine.record();
    if let Stage::Alive(role) = life.machine.stage {
        let process = Process { pid: nix::unistd::Pid::from_raw(7), ticks: 1, serial: 0 };
        record.process = Some((role, process));
    }
    Life { machine: Machine::resume(life.machine.policy.clone(), &record, life.now), now: life.now }
}

#[test]
fn each_start_and_each_end_is_asked_for_once() {
    let mut life = Life::of(Policy { has_pre_start: true, has_pre_stop: true, has_finish: true, ..plain() });
    let mut asked = Vec::new();
    let events = [
        Event::Begun,
        Event::Ended(Exit::Code(0)),
        Event::Executed,
        Event::Told(Command::Down),
        Event::BesideEnded(Exit::Code(0)),
        Event::Ended(Exit::Signal(15)),
        Event::Ended(Exit::Code(0)),
        Event::Told(Command::Up),
        // pre-start fails.
        Event::Ended(Exit::Code(1)),
        Event::Ended(Exit::Code(0)),
    ];
    for event in events {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let policy = life.machine.policy.clone();
            next = match life.happens_while_held(event).last() {
                Some(Action::AskHolder(which)) => {
                    asked.push(*which);
                    Some(Event::NotHeld)
                }
                Some(Configure) => Some(Event::Configured(Box::new(policy))),
                Some(Launch(_)) => Some(Event::Launched),
                Some(Action::LaunchBeside(_)) => Some(Event::BesideLaunched),
                _ => None,
            };
        }
    }
    assert_eq!(asked, [Held::Starting, Held::Stopping, Held::Starting, Held::Stopping]);
    assert_eq!(life.machine.record().phase, Phase::Failed);
}

#[test]
fn a_held_start_goes_on_when_it_is_let_go_or_told_again() {
    for command in [Command::LetGo, Command::Up, Command::Once] {
        let mut life = starting(plain());
        assert_eq!(life.told(command).last(), Some(&Configure), "{command:?}");
        assert_eq!(life.machine.record().held, None);
    }
    for command in [Command::Down, Command::Exit] {
        let mut life = starting(plain());
        life.told(command);
        assert_eq!(life.machine.stage, Stage::Idle(IdleReason::Stopped), "{command:?}");
    }
    for command in [Command::Kill, Command::Terminate, Command::Pause, Command::Reload] {
        let mut life = starting(plain());
        assert_eq!(life.told(command), [], "{command:?}");
        assert_eq!(life.machine.stage, Stage::Preparing, "{command:?}");
    }
}

#[test]
fn a_held_stop_goes_on_when_it_is_let_go_or_told_again() {
    for command in [Command::LetGo, Command::Down, Command::Exit] {
        let mut life = stopping(plain());
        assert_eq!(life.told(command), end(), "{command:?}");
        // What follows its end is the same end, which was let go.
        let done = life.happens_while_held(Event::Ended(Exit::Signal(15)));
        assert!(!done.iter().any(|action| matches!(action, Action::AskHolder(_))), "{done:?}");
        assert_eq!(life.machine.stage, Stage::Idle(IdleReason::Stopped));
    }
}

#[test]
fn up_cancels_a_stop_that_is_held_unless_it_is_a_restart() {
    let mut life = stopping(plain());
    assert_eq!(life.told(Command::Up), [Publish]);
    assert_eq!((life.machine.record().held, life.machine.record().phase), (None, Phase::Running));
    let mut life = stopping(plain());
    life.happens(Event::Restart);
    life.told(Command::Up);
    assert_eq!(life.machine.record().held, Some(Held::Stopping));
    assert_eq!(life.told(Command::LetGo), end());
    life.passes(2 * SECOND);
    assert!(life.follow(Event::Ended(Exit::Signal(15))).contains(&Launch(Role::Run)));
}

#[test]
fn pre_stop_comes_before_the_hold() {
    let mut life = Life::running(Policy { has_pre_stop: true, ..plain() });
    assert_eq!(life.told(Command::Down), [Publish, Action::LaunchBeside(Beside::PreStop)]);
    life.happens(Event::BesideLaunched);
    assert_eq!(held(&mut life, Event::BesideEnded(Exit::Code(0))), [Publish, Announce('H')]);
    assert_eq!(life.told(Command::LetGo), end());
}

/// A service that goes into the background: its first process may end well, and its daemon be found, while its stop is held.
#[test]
fn what_goes_into_the_background_is_not_told_to_end_while_that_is_held() {
    let several = Event::Searched(SearchOutcome::Undecided(BackgroundFailure::Several));
    let purpose = |life: &Life| life.machine.search().map(|search| search.purpose);
    let policy = || Policy { expect: Some(Expect::Daemon), ..plain() };
    // The stop comes while the first process runs.
    let mut life = stopping(policy());
    assert_eq!(life.happens_while_held(Event::Ended(Exit::Code(0))), [Action::Look]);
    assert_eq!((purpose(&life), life.machine.record().held), (Some(SearchGoal::Start), Some(Held::Stopping)));
    assert_eq!(life.happens_while_held(several.clone()), [Publish]);
    assert_eq!(life.told(Command::LetGo), [Publish, Action::Look]);
    assert_eq!((purpose(&life), life.machine.record().held), (Some(SearchGoal::End), None));
    // It comes while the daemon is looked for.
    let looking = || {
        let mut life = Life::running(policy());
        life.happens(Event::Ended(Exit::Code(0)));
        life.happens(several.clone());
        assert_eq!(held(&mut life, Event::Told(Command::Down)), [Publish, Announce('H')]);
        life
    };
    for command in [Command::LetGo, Command::Down, Command::Exit] {
        let mut life = looking();
        assert_eq!(life.told(command), [Publish, Action::Look], "{command:?}");
        assert_eq!((purpose(&life), life.machine.record().held), (Some(SearchGoal::End), None), "{command:?}");
    }
    let mut killed = looking();
    assert_eq!(killed.told(Command::Kill), [Action::KillLeft, Publish, Action::Look]);
    assert_eq!(killed.machine.record().held, None);
    let mut wanted = looking();
    assert_eq!(wanted.told(Command::Up), [Publish]);
    assert_eq!((purpose(&wanted), wanted.machine.record().held), (Some(SearchGoal::Start), None));
    assert_eq!(next(&looking()).machine.held(), Some(Held::Stopping));
    // It is found while the stop is held.
    let mut found = looking();
    assert_eq!(found.happens_while_held(Event::Searched(SearchOutcome::Taken)), [Publish, Announce('U')]);
    assert_eq!(found.told(Command::LetGo), end());
    // None is left.
    let mut over = looking();
    over.happens_while_held(Event::Searched(SearchOutcome::Nothing));
    assert_eq!((over.machine.stage, over.machine.held()), (Stage::Outlived, Some(Held::Stopping)));
}

#[test]
fn what_goes_into_the_background_is_not_told_to_end_while_pre_stop_runs() {
    let mut life = Life::running(Policy { expect: Some(Expect::Daemon), has_pre_stop: true, ..plain() });
    life.told(Command::Down);
    life.happens(Event::BesideLaunched);
    assert_eq!(life.happens(Event::Ended(Exit::Code(0))), [Action::Look]);
    let several = || Event::Searched(SearchOutcome::Undecided(BackgroundFailure::Several));
    assert_eq!(life.happens(several()), [Publish]);
    assert_eq!(held(&mut life, Event::BesideEnded(Exit::Code(0))), [Publish, Announce('H')]);
    assert_eq!(life.told(Command::LetGo), [Publish, Action::Look]);
    assert_eq!(life.happens(several())[0], Action::SendLeft(SIGTERM));
}

#[test]
fn a_service_that_ends_while_its_stop_is_held_waits_too() {
    let mut life = stopping(Policy { has_finish: true, ..plain() });
    assert_eq!(life.happens_while_held(Event::Ended(Exit::Code(0))), [Announce('d'), Publish]);
    assert_eq!(life.machine.record().held, Some(Held::Stopping));
    assert_eq!(life.told(Command::LetGo), [Launch(Role::Finish)]);
    assert!(life.machine.life_end().unwrap().is_told);
}

#[test]
fn what_has_ended_by_itself_is_held_before_finish() {
    for command in [Command::LetGo, Command::Exit, Command::Kill] {
        assert_eq!(ended().told(command), [Launch(Role::Finish)], "{command:?}");
    }
    let mut life = ended();
    assert_eq!(life.told(Command::Down), [Publish], "the first one");
    assert_eq!(life.told(Command::Down), [Launch(Role::Finish)]);
}

#[test]
fn k_never_waits() {
    let mut life = stopping(plain());
    assert_eq!(life.told(Command::Kill), [Send(SIGKILL)]);
    let done = life.happens_while_held(Event::Ended(Exit::Signal(9)));
    assert_eq!(done, [Announce('d'), Action::KillRest, Announce('D'), Publish]);
    let mut life = Life::running(plain());
    life.told(Command::Kill);
    let done = life.happens_while_held(Event::Ended(Exit::Signal(9)));
    assert!(done.contains(&Announce('D')), "{done:?}");
}

#[test]
fn a_stop_of_everything_asks_nobody() {
    let mut life = Life::running(plain());
    life.told(Command::Exit);
    assert_eq!(life.happens_while_held(Event::Told(Command::Down)), end());
}

/// A logger that was told to exit is started once more for the last lines of its service.
#[test]
fn what_starts_though_it_is_to_leave_asks_nobody() {
    let mut life = Life::down();
    life.told(Command::Exit);
    assert_eq!(life.happens_while_held(Event::Told(Command::Once)), [Publish, Configure]);
}

#[test]
fn without_a_holder_it_waits_ten_seconds_for_another() {
    for mut life in [starting(plain()), stopping(plain()), ended(), next(&stopping(plain())), next(&ended())] {
        life.happens_while_held(Event::HolderGone);
        for second in 0..10 {
            assert_eq!(life.happens_while_held(Event::Woken).len(), 1, "it asks, {second}");
            assert_eq!(life.happens_while_held(Event::NotHeld), []);
            life.passes(SECOND);
        }
        // Another one comes.
        let mut other = Life { machine: life.machine.clone(), now: life.now };
        other.happens_while_held(Event::Woken);
        assert_eq!(other.happens_while_held(Event::Held), []);
        other.passes(60 * SECOND);
        assert_eq!((other.happens_while_held(Event::Woken), other.machine.deadline()), (vec![], None));
        life.happens_while_held(Event::Woken);
        assert_ne!(life.happens_while_held(Event::NotHeld), []);
        assert_eq!(life.machine.record().held, None);
    }
}

#[test]
fn the_next_supervise_finds_the_hold() {
    for life in [starting(plain()), stopping(plain()), ended()] {
        let mut found = next(&life);
        assert_eq!((found.machine.stage, found.machine.record()), (life.machine.stage, life.machine.record()));
        assert_eq!(found.happens_while_held(Event::Begun), [Announce('s'), Publish]);
        let which = life.machine.held().unwrap();
        assert_eq!(found.happens_while_held(Event::Woken), [Action::AskHolder(which)]);
        assert_eq!(found.happens_while_held(Event::Held), []);
        assert_eq!(found.machine.record(), life.machine.record());
    }
    // The process of the first one has ended meanwhile.
    let mut found = next(&stopping(plain()));
    assert_eq!(found.happens_while_held(Event::Ended(Exit::Signal(15))), [Announce('d'), Publish]);
    assert_eq!(found.machine.stage, Stage::Outlived);
    // svscan has started it only to end what is left.
    for life in [starting(plain()), ended()] {
        let mut found = next(&life);
        found.happens_while_held(Event::StartNothing);
        found.happens_while_held(Event::Begun);
        assert_ne!(found.happens_while_held(Event::Woken), []);
        assert_eq!(found.machine.held(), None);
    }
}

#[test]
fn a_state_is_held_too() {
    let mut life = Life::of(Policy { is_state: true, ..plain() });
    life.follow(Event::Begun);
    assert_eq!(held(&mut life, Event::Told(Command::Down)), [Publish, Publish, Announce('H')]);
    assert!(life.machine.record().active);
    let found = next(&life);
    assert_eq!((found.machine.stage, found.machine.held()), (Stage::Active, Some(Held::Stopping)));
    life.told(Command::LetGo);
    assert_eq!(life.machine.stage, Stage::Idle(IdleReason::Stopped));
}
