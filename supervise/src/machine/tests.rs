use super::Action::{Announce, Configure, Launch, Leave, OpenGate, Publish, Send, SendScope};
use super::*;
use daemontools::service::policy::{Limit, Restart, Scope, Timeouts};
use daemontools::service::{Beside, Phase, Process, Record, SearchGoal};
use nix::sys::signal::Signal::{
    SIGABRT, SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};

mod active;
mod background;
mod beside;
mod ends;
mod hold;

/// A machine and a clock that stands still unless told.
struct Life {
    machine: Machine,
    now: Moment,
}

impl Life {
    fn of(policy: Policy) -> Life {
        Life { machine: Machine::new(policy, Want::Up, Moment::ZERO), now: Moment::ZERO }
    }

    fn happens(&mut self, event: Event) -> Vec<Action> {
        let mut todo = self.happens_while_held(event);
        while let Some(Action::AskHolder(_)) = todo.last() {
            // Nobody holds it.
            todo.pop();
            todo.extend(self.happens_while_held(Event::NotHeld));
        }
        todo
    }

    /// The same where a question for a holder is not answered.
    fn happens_while_held(&mut self, event: Event) -> Vec<Action> {
        let mut todo = Vec::new();
        self.machine.step(self.now, event, &mut todo);
        todo
    }

    fn told(&mut self, command: Command) -> Vec<Action> {
        self.happens(Event::Told(command))
    }

    fn passes(&mut self, milliseconds: u64) {
        self.now = self.now.after(Duration::from_millis(milliseconds));
    }

    /// Does what the machine says until it waits for something from outside; what it did.
    fn follow(&mut self, event: Event) -> Vec<Action> {
        let mut done = self.happens(event);
        loop {
            let policy = self.machine.policy.clone();
            let next = match done.last() {
                Some(Configure) => Event::Configured(Box::new(policy)),
                Some(Launch(..)) => Event::Launched,
                Some(Action::LaunchBeside(_)) => Event::BesideLaunched,
                Some(Action::Look) => Event::Searched(SearchOutcome::Nothing),
                _ => return done,
            };
            done.extend(self.happens(next));
        }
    }

    fn running(policy: Policy) -> Life {
        let mut life = Life::of(policy);
        life.follow(Event::Begun);
        life.happens(Event::Executed);
        assert_eq!(life.machine.stage, Stage::Alive(Role::Run));
        life
    }

    fn down() -> Life {
        let mut life = Life::of(Policy::default());
        life.machine.want = Want::Down;
        life.happens(Event::Begun);
        life
    }

    fn waiting() -> Life {
        let mut life = Life::running(Policy::default());
        life.passes(10);
        life.happens(Event::Ended(Exit::Code(1)));
        assert!(matches!(life.machine.stage, Stage::Waiting(_)));
        life
    }
}

fn plain() -> Policy {
    Policy::default()
}

#[test]
fn a_service_is_recorded_before_it_is_let_loose() {
    let mut life = Life::of(plain());
    let done = life.follow(Event::Begun);
    assert_eq!(done, [Announce('s'), Configure, Launch(Role::Run), Action::Record, OpenGate, Publish, Announce('u')]);
}

#[test]
fn down_wakes_a_paused_child_so_that_it_can_die() {
    let mut life = Life::running(plain());
    assert_eq!(life.told(Command::Pause), [Publish, Send(SIGSTOP)]);
    assert!(life.machine.record().paused);
    assert_eq!(life.told(Command::Down), [SendScope(SIGTERM), SendScope(SIGCONT), Publish]);
    assert!(!life.machine.record().paused);
    let end = life.happens(Event::Ended(Exit::Signal(15)));
    assert_eq!(end, [Announce('d'), Action::KillRest, Announce('D'), Publish]);
    assert_eq!(life.machine.record().phase, Phase::Stopped);
}

/// Every command in every state that lasts.
#[test]
fn commands() {
    use Command::*;
    let up = || Life::running(plain());
    let (down, waiting) = (Life::down, Life::waiting);
    let stopping = || {
        let mut life = Life::running(plain());
        life.told(Down);
        life
    };
    let end = || vec![SendScope(SIGTERM), SendScope(SIGCONT), Publish];
    let leave = || vec![Publish, Announce('x'), Leave];
    let start = || vec![Publish, Configure];
    let publish = || vec![Publish];
    let nothing = Vec::new;
    let send = |signal| vec![Send(signal)];
    // command, then: down, waiting, up, stopping
    type Row = (Command, [Vec<Action>; 4]);
    let table: Vec<Row> = vec![
        (Up, [start(), start(), publish(), publish()]),
        (Once, [start(), start(), publish(), publish()]),
        (Down, [publish(), publish(), end(), end()]),
        (Exit, [leave(), leave(), publish(), publish()]),
        (Pause, [nothing(), nothing(), vec![Publish, Send(SIGSTOP)], vec![Publish, Send(SIGSTOP)]]),
        (Continue, [nothing(), nothing(), vec![Publish, Send(SIGCONT)], vec![Publish, Send(SIGCONT)]]),
        (Hangup, [nothing(), nothing(), send(SIGHUP), send(SIGHUP)]),
        (Alarm, [nothing(), nothing(), send(SIGALRM), send(SIGALRM)]),
        (Interrupt, [nothing(), nothing(), send(SIGINT), send(SIGINT)]),
        (Terminate, [nothing(), nothing(), send(SIGTERM), send(SIGTERM)]),
        (Kill, [nothing(), nothing(), send(SIGKILL), send(SIGKILL)]),
        (Quit, [nothing(), nothing(), send(SIGQUIT), send(SIGQUIT)]),
        (User1, [nothing(), nothing(), send(SIGUSR1), send(SIGUSR1)]),
        (User2, [nothing(), nothing(), send(SIGUSR2), send(SIGUSR2)]),
        (Window, [nothing(), nothing(), send(SIGWINCH), send(SIGWINCH)]),
        (Reload, [nothing(), nothing(), send(SIGHUP), send(SIGHUP)]),
        (LetGo, [nothing(), nothing(), nothing(), nothing()]),
        (ToGroup, [publish(), publish(), publish(), publish()]),
        (ToProcess, [publish(), publish(), publish(), publish()]),
        (ForService, [nothing(), nothing(), nothing(), nothing()]),
        (ForLogger, [nothing(), nothing(), nothing(), nothing()]),
    ];
    assert_eq!(table.len(), Command::ALL.len());
    for (command, expected) in table {
        let states: [(&str, &dyn Fn() -> Life); 4] =
            [("down", &down), ("waiting", &waiting), ("up", &up), ("stopping", &stopping)];
        for ((state, life), expected) in states.iter().zip(expected) {
            assert_eq!(life().told(command), expected, "{command:?} while {state}");
        }
    }
}

/// Events that a state does not expect do nothing.
#[test]
fn illegal_pairs() {
    let events = [
        Event::Launched,
        Event::NotLaunched,
        Event::Ended(Exit::Code(0)),
        Event::NeverBegan,
        Event::Ready,
        Event::Stopping,
    ];
    for event in events {
        for mut life in [Life::down(), Life::waiting()] {
            let before = life.machine.record();
            assert_eq!(life.happens(event.clone()), [], "{event:?}");
            assert_eq!(life.machine.record(), before, "{event:?}");
        }
    }
    let mut up = Life::running(plain());
    assert_eq!(up.happens(Event::Configured(Box::new(plain()))), []);
    assert_eq!(up.happens(Event::Launched), []);
    assert_eq!(up.happens(Event::NotLaunched), []);
    assert_eq!(up.happens(Event::Woken), []);
}

#[test]
fn a_short_life_is_followed_by_a_pause_counted_from_its_start() {
    let mut life = Life::running(plain());
    life.passes(300);
    assert_eq!(life.follow(Event::Ended(Exit::Code(0))), [Announce('d'), Action::KillRest, Announce('D'), Publish]);
    assert_eq!(life.machine.deadline(), Some(Duration::from_secs(1)));
    life.passes(699);
    assert_eq!(life.happens(Event::Woken), []);
    life.passes(1);
    assert_eq!(life.follow(Event::Woken)[..2], [Configure, Launch(Role::Run)]);
}

#[test]
fn a_long_life_is_followed_by_the_next_at_once() {
    let mut life = Life::running(plain());
    life.passes(1000);
    assert!(life.follow(Event::Ended(Exit::Signal(11))).contains(&Launch(Role::Run)));
    assert_eq!(life.machine.record().starts, 2);
}

#[test]
fn once_is_not_restarted_and_wants_nothing() {
    let mut life = Life::running(plain());
    life.told(Command::Once);
    life.passes(5000);
    life.follow(Event::Ended(Exit::Code(0)));
    assert_eq!((life.machine.stage, life.machine.record().want), (Stage::Idle(IdleReason::Stopped), Want::Once));
    assert!(life.follow(Event::Told(Command::Once)).contains(&Launch(Role::Run)));
}

#[test]
fn exit_waits_for_the_child_and_does_not_kill_it() {
    let mut life = Life::running(plain());
    assert_eq!(life.told(Command::Exit), [Publish]);
    assert_eq!(life.follow(Event::Ended(Exit::Code(0))).last(), Some(&Leave));
}

#[test]
fn signals_go_to_the_group_when_told() {
    let mut life = Life::running(plain());
    life.told(Command::ToGroup);
    assert_eq!(life.told(Command::Hangup), [Action::SendGroup(SIGHUP)]);
    life.told(Command::ToProcess);
    assert_eq!(life.told(Command::Hangup), [Send(SIGHUP)]);
}

#[test]
fn a_fork_that_fails_is_tried_again_later_or_when_told() {
    let mut life = Life::of(plain());
    life.happens(Event::Begun);
    life.happens(Event::Configured(Box::new(plain())));
    assert_eq!(life.happens(Event::NotLaunched), [Publish]);
    assert_eq!(life.machine.deadline(), Some(RETRY_FORK));
    assert_eq!(life.told(Command::Up), [Publish, Configure]);
}

#[test]
fn the_whole_way_through_start_run_finish_stop() {
    let policy = Policy { has_start: true, has_finish: true, has_stop: true, ..plain() };
    let mut life = Life::of(policy);
    assert!(life.follow(Event::Begun).contains(&Launch(Role::Start)));
    assert_eq!(life.machine.record().phase, Phase::Starting);
    assert!(life.follow(Event::Ended(Exit::Code(0))).contains(&Launch(Role::Run)));
    life.passes(2000);
    assert!(life.follow(Event::Ended(Exit::Code(7))).contains(&Launch(Role::Finish)));
    assert_eq!(life.machine.record().phase, Phase::Stopping);
    // start is not run again for a restart.
    assert!(life.follow(Event::Ended(Exit::Code(0))).contains(&Launch(Role::Run)));
    life.told(Command::Down);
    life.follow(Event::Ended(Exit::Signal(15)));
    assert!(life.follow(Event::Ended(Exit::Code(0))).contains(&Launch(Role::Stop)));
    assert_eq!(life.follow(Event::Ended(Exit::Code(0))), [Publish]);
    assert_eq!(life.machine.record().phase, Phase::Stopped);
    // It is stopped once, however often it is told.
    assert_eq!(life.told(Command::Down), [Publish]);
}

#[test]
fn a_start_that_fails_fails_the_service() {
    let mut life = Life::of(Policy { has_start: true, ..plain() });
    life.follow(Event::Begun);
    assert_eq!(life.follow(Event::Ended(Exit::Code(1))), [Action::ReportGivenUp, Announce('O'), Publish]);
    assert_eq!((life.machine.record().phase, life.machine.record().want), (Phase::Failed, Want::Down));
    assert!(life.follow(Event::Told(Command::Up)).contains(&Launch(Role::Start)));
}

/// A service with `pre-start` and `finish`, whose `pre-start` runs.
fn in_pre_start(policy: Policy) -> Life {
    let mut life = Life::of(Policy { has_pre_start: true, has_finish: true, ..policy });
    assert!(life.follow(Event::Begun).contains(&Launch(Role::PreStart)));
    assert_eq!((life.machine.record().phase, life.machine.starts), (Phase::Starting, 0));
    life
}

#[test]
fn pre_start_runs_before_each_run() {
    let mut life = in_pre_start(plain());
    for starts in 1..4 {
        assert!(life.follow(Event::Ended(Exit::Code(0))).contains(&Launch(Role::Run)));
        assert_eq!(life.machine.starts, starts);
        life.passes(2000);
        assert!(life.follow(Event::Ended(Exit::Code(7))).contains(&Launch(Role::Finish)));
        let end = LifeEnd { role: Role::Run, exit: Exit::Code(7), is_told: false, has_pre_stop: false };
        assert_eq!(life.machine.life_end(), Some(end));
        assert!(life.follow(Event::Ended(Exit::Code(0))).contains(&Launch(Role::PreStart)));
        assert_eq!(life.machine.life_end(), None);
    }
}

#[test]
fn a_pre_start_that_fails_fails_the_service_after_finish() {
    for exit in [Exit::Code(1), Exit::Signal(9), Exit::Unstarted(2)] {
        let mut life = in_pre_start(plain());
        assert!(life.follow(Event::Ended(exit)).contains(&Launch(Role::Finish)), "{exit:?}");
        assert_eq!(
            life.machine.life_end(),
            Some(LifeEnd { role: Role::PreStart, exit, is_told: false, has_pre_stop: false })
        );
        assert!(life.follow(Event::Ended(Exit::Code(0))).ends_with(&[Action::ReportGivenUp, Announce('O'), Publish]));
        let record = life.machine.record();
        assert_eq!((record.phase, record.failure), (Phase::Failed, Some(Failure::PreStart(exit))));
        assert_eq!((record.starts, record.deaths), (0, Vec::new()), "run did not run");
        assert!(life.follow(Event::Told(Command::Up)).contains(&Launch(Role::PreStart)));
    }
}

#[test]
fn down_cancels_the_start_when_pre_start_has_ended() {
    for exit in [Exit::Code(0), Exit::Code(1), Exit::Unknown] {
        let mut life = in_pre_start(plain());
        assert_eq!(life.told(Command::Down), [Publish], "pre-start is not signalled");
        assert!(life.follow(Event::Ended(exit)).contains(&Launch(Role::Finish)), "{exit:?}");
        assert_eq!(
            life.machine.life_end(),
            Some(LifeEnd { role: Role::PreStart, exit, is_told: true, has_pre_stop: false })
        );
        life.follow(Event::Ended(Exit::Code(0)));
        assert_eq!((life.machine.record().phase, life.machine.record().failure), (Phase::Stopped, None));
    }
    // Told up again in time, the service starts.
    let mut life = in_pre_start(plain());
    life.told(Command::Down);
    life.told(Command::Up);
    assert!(life.follow(Event::Ended(Exit::Code(0))).contains(&Launch(Role::Run)));
}

#[test]
fn a_pre_start_that_hangs_is_ended_by_a_second_down_by_kill_or_by_its_limit() {
    let mut life = in_pre_start(plain());
    life.told(Command::Down);
    assert_eq!(life.told(Command::Down), [SendScope(SIGTERM), SendScope(SIGCONT), Publish]);
    life.passes(5000);
    assert_eq!(life.happens(Event::Woken), [SendScope(SIGKILL)]);

    let mut life = in_pre_start(plain());
    assert_eq!(life.told(Command::Kill), [Send(SIGKILL)]);

    let limit = Duration::from_secs(3);
    let mut life =
        in_pre_start(Policy { timeouts: Timeouts { pre_start: Some(limit), ..Timeouts::default() }, ..plain() });
    life.passes(3000);
    let missed = Action::ReportMissedDeadline(MissedDeadline::ProgramStillRuns(Role::PreStart, limit));
    assert_eq!(life.happens(Event::Woken), [missed, SendScope(SIGKILL)]);
}

#[test]
fn a_pre_start_whose_end_was_not_seen_runs_once_more() {
    let mut life = in_pre_start(plain());
    assert!(life.follow(Event::Ended(Exit::Unknown)).contains(&Launch(Role::PreStart)));
    assert!(life.follow(Event::NeverBegan).contains(&Launch(Role::PreStart)));
    life.told(Command::Down);
    assert_eq!(life.follow(Event::NeverBegan), [Publish]);
    assert_eq!(life.machine.record().phase, Phase::Stopped);
}

#[test]
fn start_and_stop_have_limits_too() {
    let limit = Some(Duration::from_secs(2));
    let timeouts = Timeouts { start: limit, stop: limit, ..Timeouts::default() };
    let policy = Policy { has_start: true, has_stop: true, timeouts, ..plain() };
    let mut life = Life::of(policy);
    life.follow(Event::Begun);
    life.passes(2000);
    assert!(life.happens(Event::Woken).ends_with(&[SendScope(SIGKILL)]));
    let mut life = Life { machine: life.machine.clone(), now: life.now };
    life.machine.stage = Stage::Alive(Role::Run);
    life.machine.start_done = true;
    life.told(Command::Down);
    life.follow(Event::Ended(Exit::Signal(15)));
    assert_eq!(life.machine.stage, Stage::Alive(Role::Stop));
    life.passes(2000);
    assert!(life.happens(Event::Woken).ends_with(&[SendScope(SIGKILL)]));
}

#[test]
fn exit_codes_that_mean_do_not_restart() {
    let success = Policy { success: vec![0, 3], ..plain() };
    let limit = Policy { restart_limit: Some(Limit { count: 1, within: Duration::from_secs(9) }), ..plain() };
    let table = [
        (plain(), Exit::Code(100), Phase::Failed),
        (success.clone(), Exit::Code(3), Phase::Stopped),
        (limit, Exit::Code(1), Phase::Failed),
    ];
    for (policy, exit, phase) in table {
        let mut life = Life::running(policy);
        life.passes(5000);
        life.follow(Event::Ended(exit));
        assert_eq!((life.machine.record().phase, life.machine.record().want), (phase, Want::Down), "{exit:?}");
    }
    let mut other = Life::running(success);
    other.passes(5000);
    assert!(other.follow(Event::Ended(Exit::Code(4))).contains(&Launch(Role::Run)));
}

#[test]
fn finish_may_say_that_restarting_is_useless() {
    let mut life = Life::running(Policy { has_finish: true, ..plain() });
    life.passes(5000);
    life.follow(Event::Ended(Exit::Code(1)));
    assert_eq!(life.machine.deadline(), Some(Duration::from_secs(10)), "finish is killed after 5 s");
    life.follow(Event::Ended(Exit::Code(125)));
    assert_eq!(life.machine.record().phase, Phase::Failed);
}

#[test]
fn what_is_told_while_finish_or_stop_runs_counts_afterwards() {
    for role in [Role::Finish, Role::Stop] {
        let policy = Policy { has_finish: role == Role::Finish, has_stop: role == Role::Stop, ..plain() };
        let mut life = Life::running(policy);
        life.told(Command::Down);
        life.passes(1500);
        life.follow(Event::Ended(Exit::Signal(15)));
        assert_eq!(life.machine.stage, Stage::Alive(role));
        life.told(Command::Once);
        assert!(life.follow(Event::Ended(Exit::Code(0))).contains(&Launch(Role::Run)), "{role:?}");
    }
}

#[test]
fn what_does_not_end_in_time_is_killed() {
    let mut life = Life::running(Policy { kill_after: Some(Duration::from_secs(3)), ..plain() });
    life.told(Command::Down);
    assert_eq!(life.machine.deadline(), Some(Duration::from_secs(3)));
    life.passes(3000);
    assert_eq!(
        life.happens(Event::Woken),
        [Action::ReportMissedDeadline(MissedDeadline::StillRuns(Duration::from_secs(3))), SendScope(SIGKILL)]
    );
    assert_eq!(life.machine.deadline(), None);
}

#[test]
fn readiness_is_told_or_the_same_as_running() {
    assert!(Life::running(plain()).machine.record().ready.is_some());
    let telling = Policy { notification_fd: Some(3), ready_within: Some(Duration::from_secs(2)), ..plain() };
    let mut life = Life::running(telling);
    assert_eq!(life.machine.record().ready, None);
    assert_eq!(life.happens(Event::Ready), [Publish, Announce('U')]);
    assert_eq!(life.happens(Event::Ready), []);
    assert_eq!(life.machine.deadline(), None);
}

#[test]
fn what_is_not_ready_in_time_is_started_again() {
    let policy = Policy { notify_socket: true, ready_within: Some(Duration::from_secs(2)), ..plain() };
    let mut life = Life::running(policy);
    life.passes(2000);
    let missed = Action::ReportMissedDeadline(MissedDeadline::NotReady(Duration::from_secs(2)));
    assert_eq!(life.happens(Event::Woken), [missed, SendScope(SIGTERM), SendScope(SIGCONT), Publish]);
    assert_eq!(life.machine.deadline(), Some(Duration::from_secs(7)));
    assert!(life.follow(Event::Ended(Exit::Signal(15))).contains(&Launch(Role::Run)));
}

#[test]
fn what_does_not_say_that_it_is_alive_is_aborted() {
    let mut life = Life::running(Policy { watchdog: Some(Duration::from_secs(2)), ..plain() });
    life.passes(1500);
    life.happens(Event::Alive);
    life.passes(1500);
    assert_eq!(life.happens(Event::Woken), []);
    life.passes(500);
    let missed = Action::ReportMissedDeadline(MissedDeadline::Silent(Duration::from_secs(2)));
    assert_eq!(life.happens(Event::Woken)[..2], [missed, SendScope(SIGABRT)]);
}

#[test]
fn time_in_which_nothing_could_run_does_not_count() {
    let policy = Policy {
        watchdog: Some(Duration::from_secs(2)),
        kill_after: Some(Duration::from_secs(3)),
        notification_fd: Some(3),
        ready_within: Some(Duration::from_secs(4)),
        ..plain()
    };
    let mut life = Life::running(policy);
    assert!(life.machine.is_timing());
    life.passes(60_000);
    assert_eq!(life.happens(Event::Frozen(Duration::from_secs(60))), []);
    assert_eq!(life.happens(Event::Woken), []);
    assert_eq!(life.machine.deadline(), Some(Duration::from_secs(62)));
    life.told(Command::Down);
    life.passes(60_000);
    assert_eq!(life.happens(Event::Frozen(Duration::from_secs(60))), [Publish]);
    assert_eq!(life.happens(Event::Woken), []);
    assert_eq!(life.machine.deadline(), Some(Duration::from_secs(123)));
    // It has had its time twice.
    life.passes(3_000);
    assert_eq!(life.happens(Event::Frozen(Duration::from_secs(3))), []);
    assert_eq!(
        life.happens(Event::Woken),
        [Action::ReportMissedDeadline(MissedDeadline::StillRuns(Duration::from_secs(3))), SendScope(SIGKILL)]
    );
    life.happens(Event::Ended(Exit::Signal(15)));
    assert!(!life.machine.is_timing());
}

#[test]
fn history_is_kept_short() {
    let mut life = Life::running(plain());
    for _ in 0..20 {
        life.passes(1000);
        life.follow(Event::Ended(Exit::Code(1)));
    }
    assert_eq!((life.machine.record().deaths.len(), life.machine.record().starts), (16, 21));
}

/// A machine in whose record this process is, as the next supervise has it.
fn resumed(life: &Life, role: Role) -> Life {
    let process = daemontools::service::Process { pid: nix::unistd::Pid::from_raw(7), ticks: 1, serial: 0 };
    let record = Record { process: Some((role, process)), ..life.machine.record() };
    Life { machine: Machine::resume(life.machine.policy.clone(), &record, life.now), now: life.now }
}

#[test]
fn what_never_passed_its_gate_is_done_by_the_next_supervise() {
    let policy = Policy { has_start: true, has_finish: true, has_stop: true, ..plain() };
    let mut life = Life::of(policy);
    life.follow(Event::Begun);
    life = resumed(&life, Role::Start);
    assert_eq!(life.follow(Event::NeverBegan)[..2], [Configure, Launch(Role::Start)]);
    life.follow(Event::Ended(Exit::Code(0)));
    life = resumed(&life, Role::Run);
    assert_eq!(life.follow(Event::NeverBegan)[..2], [Configure, Launch(Role::Run)]);
    assert_eq!((life.machine.record().starts, life.machine.record().deaths.len()), (1, 0));
    life.follow(Event::Ended(Exit::Code(7)));
    life = resumed(&life, Role::Finish);
    assert_eq!(life.follow(Event::NeverBegan)[0], Launch(Role::Finish));
    life.told(Command::Down);
    life.follow(Event::Ended(Exit::Code(0)));
    life = resumed(&life, Role::Stop);
    assert_eq!(life.follow(Event::NeverBegan)[0], Launch(Role::Stop));
    life.follow(Event::Ended(Exit::Code(0)));
    assert_eq!(life.machine.record().phase, Phase::Stopped);
}

#[test]
fn what_never_began_and_is_not_wanted_any_more_is_not_done() {
    for (role, expected) in [(Role::Start, vec![Publish]), (Role::Run, vec![Launch(Role::Stop)])] {
        let mut life = Life::of(Policy { has_start: role == Role::Start, has_stop: true, ..plain() });
        life.follow(Event::Begun);
        life.told(Command::Down);
        assert_eq!(resumed(&life, role).happens(Event::NeverBegan), expected, "{role:?}");
    }
}

/// Whatever the supervise before it has left, in whatever state.
#[test]
fn a_supervise_that_is_to_start_nothing_runs_finish_and_stop_only_and_leaves() {
    let policy = || Policy { has_start: true, has_finish: true, has_stop: true, ..plain() };
    let [finish, stop] = [Role::Finish, Role::Stop].map(Some);
    let ended = || Event::Ended(Exit::Code(0));
    let table = [
        (Stage::Idle(IdleReason::Stopped), Event::Begun, vec![]),
        (Stage::Idle(IdleReason::Failed), Event::Begun, vec![]),
        (Stage::Waiting(Pause::until(Moment::ZERO)), Event::Begun, vec![stop]),
        (Stage::Alive(Role::Start), ended(), vec![stop]),
        (Stage::Alive(Role::Start), Event::NeverBegan, vec![]),
        (Stage::Alive(Role::Run), ended(), vec![finish, stop]),
        (Stage::Alive(Role::Run), Event::NeverBegan, vec![stop]),
        (Stage::Alive(Role::Finish), ended(), vec![stop]),
        (Stage::Alive(Role::Stop), ended(), vec![]),
    ];
    for (stage, first, expected) in table {
        let mut life = Life::of(policy());
        (life.machine.stage, life.machine.again) = (stage, true);
        life.machine.start_done = !matches!(stage, Stage::Idle(_) | Stage::Alive(Role::Start));
        assert_eq!(life.happens(Event::StartNothing), []);
        let mut done = life.follow(first.clone());
        while let Stage::Alive(_) = life.machine.stage {
            done.extend(life.follow(Event::Ended(Exit::Code(0))));
        }
        let launched = done.iter().filter_map(|action| match action {
            Launch(role) => Some(Some(*role)),
            _ => None,
        });
        assert_eq!(launched.collect::<Vec<_>>(), expected, "{stage:?} {first:?}");
        assert_eq!(done.last(), Some(&Leave), "{stage:?} {first:?}");
    }
}

#[test]
fn what_finish_and_stop_are_followed_by_outlives_supervise() {
    let policy = Policy { has_finish: true, has_stop: true, ..plain() };
    let mut life = Life::running(policy.clone());
    life.follow(Event::Ended(Exit::Code(100)));
    life = resumed(&life, Role::Finish);
    life.follow(Event::Ended(Exit::Code(0)));
    life = resumed(&life, Role::Stop);
    life.follow(Event::Ended(Exit::Code(0)));
    assert_eq!((life.machine.record().phase, life.machine.record().want), (Phase::Failed, Want::Down));
    let mut told = Life::running(policy);
    told.told(Command::Down);
    told.follow(Event::Ended(Exit::Signal(15)));
    told.follow(Event::Ended(Exit::Code(0)));
    told.told(Command::Once);
    told = resumed(&told, Role::Stop);
    assert!(told.follow(Event::Ended(Exit::Code(0))).contains(&Launch(Role::Run)));
    // That is done with: the next end is the last.
    assert!(!told.machine.record().again);
}

#[test]
fn what_is_expected_of_a_process_is_expected_by_the_next_supervise_too() {
    let policy = Policy {
        notify_socket: true,
        has_finish: true,
        ready_within: Some(Duration::from_secs(3)),
        watchdog: Some(Duration::from_secs(9)),
        timeouts: Timeouts { finish: None, ..Timeouts::default() },
        ..plain()
    };
    let mut life = Life::running(policy);
    life.passes(2000);
    let mut next = resumed(&life, Role::Run);
    assert_eq!(next.machine.deadline(), Some(Duration::from_secs(3)));
    next.passes(1000);
    let missed = Action::ReportMissedDeadline(MissedDeadline::NotReady(Duration::from_secs(3)));
    assert_eq!(next.happens(Event::Woken), [missed, SendScope(SIGTERM), SendScope(SIGCONT), Publish]);
    // Of a finish neither readiness nor signs of life.
    life.follow(Event::Ended(Exit::Code(1)));
    assert_eq!(resumed(&life, Role::Finish).machine.deadline(), None);
}

#[test]
fn deaths_before_count_for_the_limit() {
    let limit = Limit { count: 3, within: Duration::from_secs(60) };
    let mut life = Life::running(Policy { restart_limit: Some(limit), ..plain() });
    for _ in 0..2 {
        life.passes(5000);
        life.follow(Event::Ended(Exit::Code(1)));
        life = resumed(&life, Role::Run);
    }
    life.passes(5000);
    life.follow(Event::Ended(Exit::Code(1)));
    assert_eq!(life.machine.record().phase, Phase::Failed);
}

#[test]
fn told_up_what_has_failed_has_all_its_attempts_again() {
    let limit = Limit { count: 2, within: Duration::from_secs(60) };
    let mut life = Life::running(Policy { restart_limit: Some(limit), ..plain() });
    let dies = |life: &mut Life| {
        life.passes(5000);
        life.follow(Event::Ended(Exit::Code(1)));
        life.machine.record().phase
    };
    assert_eq!([dies(&mut life), dies(&mut life)], [Phase::Running, Phase::Failed]);
    life.follow(Event::Told(Command::Up));
    assert_eq!([dies(&mut life), dies(&mut life)], [Phase::Running, Phase::Failed]);
}

/// What the limit counts, one supervise and the one after it count alike.
#[test]
fn the_next_supervise_counts_the_deaths_that_this_one_would() {
    let limit = Limit { count: 3, within: Duration::from_secs(60) };
    let dies = |life: &mut Life| {
        life.passes(5000);
        life.follow(Event::Ended(Exit::Code(1)));
    };
    let told_down_and_up = |life: &mut Life| {
        life.told(Command::Down);
        life.told(Command::Up);
        dies(life);
    };
    let fails_and_is_told_up = |life: &mut Life| {
        (0..3).for_each(|_| dies(life));
        life.follow(Event::Told(Command::Up));
    };
    type Row<'a> = (&'a str, &'a dyn Fn(&mut Life), usize);
    let table: [Row; 4] = [
        ("nothing", &|_| {}, 3),
        ("it died", &dies, 2),
        ("it was told to end", &told_down_and_up, 3),
        ("it was told up after it had failed", &fails_and_is_told_up, 3),
    ];
    let both = |is_killed| [0, 1, 16].map(|deaths_kept| (is_killed, deaths_kept));
    for (name, happens, attempts) in table {
        for (is_killed, deaths_kept) in [false, true].into_iter().flat_map(both) {
            let mut life = Life::running(Policy { restart_limit: Some(limit), deaths_kept, ..plain() });
            happens(&mut life);
            if is_killed {
                life = resumed(&life, Role::Run);
            }
            let fails = |life: &mut Life| {
                dies(life);
                life.machine.record().phase == Phase::Failed
            };
            let left = (1..9).find(|_| fails(&mut life));
            assert_eq!(left, Some(attempts), "{name}, killed: {is_killed}, max-death-tally {deaths_kept}");
        }
    }
}

#[test]
fn of_old_deaths_only_those_are_kept_that_are_asked_for_or_that_the_limit_counts() {
    let limit = |count| Some(Limit { count, within: Duration::from_secs(60) });
    // The limit, the number of deaths to be kept, and the number that is kept after nine deaths, five seconds apart.
    let table = [(None, 0, 0), (None, 4, 4), (None, 16, 9), (limit(20), 0, 9), (limit(20), 16, 9), (limit(9), 2, 2)];
    for (restart_limit, deaths_kept, kept) in table {
        let mut life = Life::running(Policy { restart_limit, deaths_kept, ..plain() });
        for _ in 0..9 {
            life.passes(5000);
            life.follow(Event::Ended(Exit::Code(1)));
        }
        assert_eq!(life.machine.record().deaths.len(), kept, "{restart_limit:?} {deaths_kept}");
    }
    // After more than a minute the limit counts none of those before.
    let mut life = Life::running(Policy { restart_limit: limit(20), deaths_kept: 1, ..plain() });
    for pause in [5000, 5000, 70_000] {
        life.passes(pause);
        life.follow(Event::Ended(Exit::Code(1)));
    }
    assert_eq!(life.machine.record().deaths.len(), 1);
}

/// The command came too early for the state in which it would have been obeyed at once.
#[test]
fn told_up_while_finish_runs_it_has_all_its_attempts_again() {
    let limit = Limit { count: 2, within: Duration::from_secs(60) };
    let mut life = Life::running(Policy { restart_limit: Some(limit), has_finish: true, ..plain() });
    let dies = |life: &mut Life| {
        life.passes(5000);
        life.follow(Event::Ended(Exit::Code(1)));
    };
    let finishes = |life: &mut Life| {
        life.follow(Event::Ended(Exit::Code(0)));
        life.machine.record().phase
    };
    dies(&mut life);
    assert_eq!(finishes(&mut life), Phase::Running);
    dies(&mut life);
    life.told(Command::Up);
    assert_eq!(finishes(&mut life), Phase::Running);
    dies(&mut life);
    assert_eq!(finishes(&mut life), Phase::Running);
}

#[test]
fn a_command_to_start_forgives_the_deaths_before_it_with_and_without_a_limit() {
    let limit = Limit { count: 9, within: Duration::from_secs(60) };
    for policy in [plain(), Policy { restart_limit: Some(limit), ..plain() }] {
        for (commands, forgives) in [
            (vec![], false),
            (vec![Command::Up], true),
            (vec![Command::Once], true),
            (vec![Command::Down, Command::Up], true),
            (vec![Command::Down], false),
        ] {
            let mut life = Life::running(policy.clone());
            life.follow(Event::Ended(Exit::Code(3)));
            assert!(matches!(life.machine.stage, Stage::Waiting(_)));
            commands.iter().for_each(|command| drop(life.told(*command)));
            let counts: Vec<bool> = life.machine.record().deaths.iter().map(|death| death.counts).collect();
            assert_eq!(counts, [!forgives], "{commands:?}");
        }
    }
}

/// A supervise that was told to exit is over, and so are the attempts that it counted.
#[test]
fn what_a_new_supervise_remembers_counts_for_none_after_it() {
    let limit = Limit { count: 2, within: Duration::from_secs(60) };
    let policy = Policy { restart_limit: Some(limit), ..plain() };
    let mut life = Life::running(policy.clone());
    life.passes(5000);
    life.follow(Event::Ended(Exit::Code(1)));
    let next = Machine::remember(policy, Want::Up, &life.machine.record(), life.now);
    assert!(next.record().deaths.iter().all(|death| !death.counts));
    assert_eq!(next.record().deaths.len(), 1);
}

#[test]
fn told_up_while_start_is_ending_it_starts_again() {
    let mut life = Life::of(Policy { has_start: true, ..plain() });
    life.follow(Event::Begun);
    life.told(Command::Down);
    life.told(Command::Up);
    assert!(life.follow(Event::Ended(Exit::Signal(15))).contains(&Launch(Role::Start)));
    life.told(Command::Down);
    life.follow(Event::Ended(Exit::Signal(15)));
    assert_eq!(life.machine.stage, Stage::Idle(IdleReason::Stopped));
}

#[test]
fn told_up_what_hangs_is_killed_all_the_same() {
    let mut life = Life::running(Policy { kill_after: Some(Duration::from_secs(3)), ..plain() });
    life.told(Command::Down);
    life.told(Command::Up);
    life.passes(3000);
    assert_eq!(
        life.happens(Event::Woken),
        [Action::ReportMissedDeadline(MissedDeadline::StillRuns(Duration::from_secs(3))), SendScope(SIGKILL)]
    );
    assert!(life.follow(Event::Ended(Exit::Signal(9))).contains(&Launch(Role::Run)));
}

#[test]
fn it_is_not_killed_for_what_cannot_be_heard() {
    let within = Some(Duration::from_secs(2));
    let mute = Policy { watchdog: within, ready_within: within, notify_socket: true, ..plain() };
    for (policy, expected) in [(mute.clone(), None), (Policy { has_check: true, ..mute }, within)] {
        let mut life = Life::running(policy);
        life.happens(Event::NotifySocketFailed);
        assert_eq!(life.machine.deadline(), expected);
    }
}

#[test]
fn signs_of_life_are_expected_again_once_they_can_be_heard() {
    let within = Some(Duration::from_secs(2));
    let mute = || Life::running(Policy { watchdog: within, ready_within: within, notify_socket: true, ..plain() });
    let mut life = mute();
    life.happens(Event::NotifySocketFailed);
    life.passes(60_000);
    life.happens(Event::NotifySocketWorks);
    assert_eq!(life.machine.deadline(), Some(Duration::from_secs(62)));
    life.happens(Event::Alive);
    life.passes(2000);
    assert_eq!(
        life.happens(Event::Woken)[..2],
        [Action::ReportMissedDeadline(MissedDeadline::Silent(Duration::from_secs(2))), SendScope(SIGABRT)]
    );
    for command in [Command::Pause, Command::Down] {
        let mut life = mute();
        life.told(command);
        life.happens(Event::NotifySocketFailed);
        life.happens(Event::NotifySocketWorks);
        assert_eq!(life.machine.deadline(), None, "{command:?}");
    }
}

#[test]
fn nothing_is_expected_of_a_paused_one() {
    let mut life = Life::running(Policy {
        watchdog: Some(Duration::from_secs(2)),
        ready_within: Some(Duration::from_secs(5)),
        notify_socket: true,
        ..plain()
    });
    life.passes(1500);
    life.told(Command::Pause);
    assert_eq!(life.machine.deadline(), None);
    assert_eq!(resumed(&life, Role::Run).machine.deadline(), None);
    life.passes(60_000);
    life.told(Command::Continue);
    assert_eq!(life.machine.deadline(), Some(Duration::from_millis(63_500)));
    life.happens(Event::Alive);
    life.happens(Event::Ready);
    life.told(Command::Down);
    life.told(Command::Pause);
    life.told(Command::Continue);
    assert_eq!(life.machine.deadline(), None);
}

#[test]
fn a_machine_goes_on_from_its_record() {
    for mut life in [Life::down(), Life::waiting(), Life::running(plain())] {
        let mut record = life.machine.record();
        if let Stage::Alive(role) = life.machine.stage {
            let process = daemontools::service::Process { pid: nix::unistd::Pid::from_raw(7), ticks: 1, serial: 0 };
            record.process = Some((role, process));
        }
        let resumed = Machine::resume(plain(), &record, life.now);
        assert_eq!(kind(resumed.stage), kind(life.machine.stage));
        assert_eq!(resumed.record(), life.machine.record());
        assert_eq!(life.happens(Event::Begun).first(), Some(&Announce('s')));
    }
}

#[test]
fn what_is_to_last_for_ever_may() {
    let for_ever = Some(Duration::MAX);
    let policy = Policy {
        kill_after: for_ever,
        timeouts: Timeouts { finish: for_ever, ..Timeouts::default() },
        ready_within: for_ever,
        watchdog: for_ever,
        has_finish: true,
        ..Policy::default()
    };
    let mut life = Life::running(policy);
    life.passes(1);
    life.happens(Event::Alive);
    life.told(Command::Down);
    life.follow(Event::Ended(Exit::Signal(15)));
    assert_eq!(life.machine.deadline(), for_ever);
}

/// Compares every event in every state with the table beside this file. After a change `UPDATE=1` writes the table anew,
/// which is then to be read.
#[test]
fn every_event_in_every_state() {
    let table = table();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/machine/table.txt");
    if std::env::var_os("UPDATE").is_some() {
        assert!(std::env::var_os("CI").is_none(), "with CI set no file is updated");
        std::fs::write(path, &table).unwrap();
    }
    assert_eq!(table, std::fs::read_to_string(path).unwrap());
}

fn table() -> String {
    let states = states();
    let head = states.iter().map(|(name, _)| name.to_string());
    let mut rows = vec![std::iter::once(String::new()).chain(head).collect::<Vec<_>>()];
    for (name, event) in events() {
        let cells = states.iter().map(|(_, state)| cell(*state, event.clone()));
        rows.push(std::iter::once(name).chain(cells).collect());
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..=states.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect::<Vec<_>>();
        cells.join(" | ").trim_end().to_string()
    };
    format!("{LEGEND}\n{}\n", rows.iter().map(line).collect::<Vec<_>>().join("\n"))
}

const LEGEND: &str = "\
Every event (down) in every state (across) of a service that has all programs, and is wanted up, but where pre-stop runs:
what is done, and where it leads, if no program holds it back. Nothing: an event that a state does not expect, or that changes nothing.

P publish  W write down  C read settings  Lrun launch  G open the gate  s15 signal to the process
Breload launch beside run  O open its gate  b15 signal to it
S15 to all whom stopping reaches  R kill the rest  au announce  F say that it gives up  T say that it is too late
N say that it has nothing to read  X leave  >state  + remember to start the service once more after this life
K look for what run has left in the background  l15 signal to that  Y kill that  A say that run has gone astray
";

/// A state, and what runs beside `run` in it.
type State = (Stage, Option<Beside>);

fn states() -> Vec<(&'static str, State)> {
    let roles = [Role::Start, Role::PreStart, Role::Run, Role::Finish, Role::Stop];
    let still = [
        ("stopped", Stage::Idle(IdleReason::Stopped)),
        ("failed", Stage::Idle(IdleReason::Failed)),
        ("waiting", Stage::Waiting(Pause::until(Moment::ZERO))),
        ("preparing", Stage::Preparing),
    ];
    let launching = ["~start", "~pre-start", "~run", "~finish", "~stop"].into_iter().zip(roles.map(Stage::Launching));
    let alive = ["start", "pre-start", "run", "finish", "stop"].into_iter().zip(roles.map(Stage::Alive));
    let beside = [
        ("run, post-start", (Stage::Alive(Role::Run), Some(Beside::PostStart))),
        ("run, pre-stop", (Stage::Alive(Role::Run), Some(Beside::PreStop))),
        ("run, reload", (Stage::Alive(Role::Run), Some(Beside::Reload))),
        ("active", (Stage::Active, None)),
        ("active, post-start", (Stage::Active, Some(Beside::PostStart))),
        ("active, pre-stop", (Stage::Active, Some(Beside::PreStop))),
        ("active, reload", (Stage::Active, Some(Beside::Reload))),
        ("outlived", (Stage::Outlived, Some(Beside::PostStart))),
    ];
    let looking = [("looking", LOOKING)];
    let alone = still.into_iter().chain(launching).chain(alive).chain(looking);
    let alone = alone.map(|(name, stage)| (name, (stage, None)));
    alone.chain(beside).collect()
}

fn policy_of_the_table() -> Policy {
    Policy {
        has_start: true,
        has_pre_start: true,
        has_post_start: true,
        has_pre_stop: true,
        has_reload: true,
        has_finish: true,
        has_stop: true,
        notify_socket: true,
        ..plain()
    }
}

fn events() -> Vec<(String, Event)> {
    let commands = Command::ALL.map(|command| (format!("told {}", char::from(command.byte())), Event::Told(command)));
    let exits =
        [0, 1, 100, 125].map(Exit::Code).into_iter().chain([Exit::Signal(9), Exit::Unstarted(2), Exit::Unknown]);
    let ends = exits.map(|exit| (exit.to_string(), Event::Ended(exit)));
    let others = [
        ("start nothing", Event::StartNothing),
        ("begun", Event::Begun),
        ("restart", Event::Restart),
        ("restart follows", Event::RestartFollows(Want::Up)),
        ("configured", Event::Configured(Box::new(policy_of_the_table()))),
        ("launched", Event::Launched),
        ("not launched", Event::NotLaunched),
        ("executed", Event::Executed),
        ("never began", Event::NeverBegan),
        ("stopped", Event::Stopped),
        ("left nothing", Event::Searched(SearchOutcome::Nothing)),
        ("left the service", Event::Searched(SearchOutcome::Taken)),
        ("left several", Event::Searched(SearchOutcome::Undecided(BackgroundFailure::Several))),
        ("beside launched", Event::BesideLaunched),
        ("beside not launched", Event::BesideNotLaunched),
        ("beside executed", Event::BesideExecuted),
        ("beside exit 0", Event::BesideEnded(Exit::Code(0))),
        ("beside exit 125", Event::BesideEnded(Exit::Code(125))),
        ("beside never began", Event::BesideNeverBegan),
        ("ready", Event::Ready),
        ("stopping", Event::Stopping),
        ("alive", Event::Alive),
        ("socket failed", Event::NotifySocketFailed),
        ("socket works", Event::NotifySocketWorks),
        ("changed", Event::Changed),
        ("frozen", Event::Frozen(Duration::from_secs(1))),
        ("starved", Event::Starved),
        ("held", Event::Held),
        ("not held", Event::NotHeld),
        ("holder gone", Event::HolderGone),
        ("woken", Event::Woken),
    ];
    others.map(|(name, event)| (name.to_string(), event)).into_iter().chain(ends).chain(commands).collect()
}

fn cell((stage, beside): State, event: Event) -> String {
    let mut machine = Machine::new(policy_of_the_table(), Want::Up, Moment::ZERO);
    machine.stage = stage;
    machine.policy.is_state = stage == Stage::Active;
    machine.beside = beside.map(|which| BesideRun { which, gated: false, kill_at: None, is_told: false });
    match beside {
        Some(Beside::PreStop) => machine.want = Want::Down,
        Some(Beside::PostStart) => machine.progress.post_start = true,
        Some(Beside::Reload) => machine.ready = Some(Moment::ZERO),
        None => {}
    }
    if stage == Stage::Outlived {
        let exit = Exit::Code(0);
        machine.life_end = Some(LifeEnd { role: Role::Run, exit, is_told: false, has_pre_stop: false });
    }
    machine.start_done =
        !matches!(stage, Stage::Idle(_) | Stage::Preparing | Stage::Launching(Role::Start) | Stage::Alive(Role::Start));
    let mut todo = Vec::new();
    machine.step(Moment::ZERO, event, &mut todo);
    while let Some(Action::AskHolder(_)) = todo.last() {
        todo.pop();
        machine.step(Moment::ZERO, Event::NotHeld, &mut todo);
    }
    let mut text = todo.iter().map(code).collect::<Vec<_>>().join(" ");
    if machine.again {
        text.push_str(" +");
    }
    let which = |machine: &Machine| machine.beside.map(|beside| beside.which);
    // The outlived one may be any of them.
    let now = (kind(machine.stage), which(&machine).filter(|_| machine.stage != Stage::Outlived));
    let same = |other: &State| (kind(other.0), other.1.filter(|_| other.0 != Stage::Outlived)) == now;
    let (name, _) = states().into_iter().find(|(_, other)| same(other)).unwrap();
    if !same(&(stage, beside)) {
        text = format!("{text} >{name}");
    }
    text.trim().to_string()
}

/// A state without its time.
const LOOKING: Stage = Stage::Looking(Search { purpose: SearchGoal::Start, exit: Exit::Code(0) });

/// The stage without what differs from one moment to another.
fn kind(stage: Stage) -> Stage {
    match stage {
        Stage::Waiting(_) => Stage::Waiting(Pause::until(Moment::ZERO)),
        Stage::Looking(_) => LOOKING,
        other => other,
    }
}

fn code(action: &Action) -> String {
    match action {
        Configure => "C".into(),
        Action::AskHolder(_) => "?".into(),
        Launch(role) => format!("L{}", role.program()),
        Publish => "P".into(),
        Action::Record => "W".into(),
        OpenGate => "G".into(),
        Action::LaunchBeside(which) => format!("B{}", which.program()),
        Action::OpenBesideGate => "O".into(),
        Action::SendBeside(signal) => format!("b{}", *signal as i32),
        Send(signal) => format!("s{}", *signal as i32),
        Action::SendGroup(signal) => format!("g{}", *signal as i32),
        SendScope(signal) => format!("S{}", *signal as i32),
        Action::KillRest => "R".into(),
        Action::Look => "K".into(),
        Action::SendLeft(signal) => format!("l{}", *signal as i32),
        Action::KillLeft => "Y".into(),
        Action::ReportBackgroundFailure => "A".into(),
        Announce(letter) => format!("a{letter}"),
        Action::ReportGivenUp => "F".into(),
        Action::ReportMissedDeadline(_) => "T".into(),
        Action::ReportStarved => "N".into(),
        Leave => "X".into(),
    }
}

/// Only in the original's own pause is a `run` that has ended shown as the original shows it.
#[test]
fn what_has_ended_is_shown_in_the_originals_pause_alone() {
    let shown = |policy: Policy, lived: u64| {
        let mut life = Life::running(policy);
        life.passes(lived);
        life.follow(Event::Ended(Exit::Code(1)));
        life.machine.shows_ended()
    };
    let started = Some(Moment::ZERO.label);
    assert_eq!(shown(plain(), 10), started);
    assert_eq!(shown(plain(), 1000), None, "it runs again");
    assert_eq!(shown(Policy { has_finish: true, ..plain() }, 10), None);
    assert_eq!(shown(Policy { scope: Scope::Tree, ..plain() }, 10), None);
    assert_eq!(shown(Policy { scope: Scope::Group, ..plain() }, 10), started);
    let slower = Restart { first: Duration::from_secs(2), ..plain().restart };
    assert_eq!(shown(Policy { restart: slower, ..plain() }, 10), None);
    // Another reason to wait, or an end of the pause.
    let mut refused = Life::waiting();
    refused.passes(1000);
    assert_eq!(refused.happens(Event::Woken), [Configure]);
    refused.happens(Event::Configured(Box::new(plain())));
    assert_eq!(refused.happens(Event::NotLaunched), [Publish]);
    assert_eq!(refused.machine.shows_ended(), None);
    for command in [Command::Down, Command::Exit, Command::Up, Command::Once] {
        let mut life = Life::waiting();
        assert_eq!(life.machine.shows_ended(), started);
        life.told(command);
        assert_eq!(life.machine.shows_ended(), None, "{command:?}");
    }
}

#[test]
fn a_logger_with_nothing_to_read_is_not_started_until_there_is() {
    let mut life = Life::waiting();
    assert_eq!(life.happens(Event::Starved), [], "its pause is not over");
    life.passes(1000);
    assert!(life.machine.is_due(life.now));
    assert_eq!(life.happens(Event::Starved), [Action::ReportStarved, Publish]);
    assert_eq!(life.machine.shows_ended(), None);
    for _ in 0..3 {
        assert_eq!(life.happens(Event::Woken), []);
        life.passes(1000);
        assert_eq!(life.happens(Event::Starved), [], "that was said");
    }
    life.passes(1000);
    assert_eq!(life.happens(Event::Woken), [Configure]);
    // A command to start does not wait.
    for command in [Command::Up, Command::Once] {
        let mut life = Life::waiting();
        life.passes(1000);
        life.happens(Event::Starved);
        assert_eq!(life.told(command), [Publish, Configure]);
    }
}

#[test]
fn a_process_is_run_only_once_that_was_seen() {
    for policy in [plain(), Policy { notification_fd: Some(3), ..plain() }] {
        let mut life = Life::waiting();
        life.told(Command::Up);
        life.happens(Event::Configured(Box::new(policy)));
        life.happens(Event::Launched);
        assert!(life.machine.record().gated);
        assert_eq!(life.happens(Event::Executed), [Publish]);
        assert!(!life.machine.record().gated);
        life.follow(Event::Ended(Exit::Code(1)));
        assert!(!life.machine.record().gated);
    }
}
