//! The programs that run beside `run`.

use super::*;
use daemontools::service::{Beside, Failure};

/// A service whose `run` runs, with these programs beside it.
fn running(policy: Policy) -> Life {
    let mut life = Life::of(policy);
    life.follow(Event::Begun);
    life
}

fn with_post_start() -> Policy {
    Policy { has_post_start: true, ..plain() }
}

fn with_pre_stop() -> Policy {
    Policy { has_pre_stop: true, ..plain() }
}

fn beside(life: &Life) -> Option<Beside> {
    life.machine.beside.map(|beside| beside.which)
}

fn end() -> [Action; 3] {
    [SendScope(SIGTERM), SendScope(SIGCONT), Publish]
}

#[test]
fn a_program_beside_run_is_recorded_before_it_is_let_loose() {
    let mut life = running(with_post_start());
    let done = life.follow(Event::Executed);
    let expected = [Publish, Action::LaunchBeside(Beside::PostStart), Action::Record, Action::OpenBesideGate, Publish];
    assert_eq!(done, expected);
}

#[test]
fn a_service_is_ready_when_post_start_has_ended_whatever_with() {
    for exit in [Exit::Code(0), Exit::Code(1), Exit::Signal(9), Exit::Unstarted(2), Exit::Unknown] {
        let mut life = running(with_post_start());
        life.follow(Event::Executed);
        assert_eq!((beside(&life), life.machine.ready), (Some(Beside::PostStart), None));
        life.follow(Event::BesideExecuted);
        life.passes(300);
        assert_eq!(life.follow(Event::BesideEnded(exit)), [Announce('U'), Publish], "{exit:?}");
        assert_eq!((beside(&life), life.machine.ready), (None, Some(life.now)));
    }
    // Without a process for it, the service is ready at once.
    let mut life = running(with_post_start());
    life.happens(Event::Executed);
    life.happens(Event::BesideNotLaunched);
    assert!(life.machine.is_ready());
}

#[test]
fn post_start_begins_at_the_services_own_word_where_it_has_one() {
    let mut life =
        running(Policy { notification_fd: Some(3), ready_within: Some(Duration::from_secs(9)), ..with_post_start() });
    assert_eq!(life.follow(Event::Executed), [Publish]);
    assert_eq!(beside(&life), None);
    life.follow(Event::Ready);
    assert_eq!((beside(&life), life.machine.deadline()), (Some(Beside::PostStart), None), "it was ready in time");
    // A second word changes nothing.
    assert_eq!(life.follow(Event::Ready), []);
    life.follow(Event::BesideEnded(Exit::Code(0)));
    assert!(life.machine.is_ready());
}

#[test]
fn exit_125_of_post_start_fails_the_service() {
    let mut life = running(Policy { has_finish: true, ..with_post_start() });
    life.follow(Event::Executed);
    let done = life.follow(Event::BesideEnded(Exit::Code(125)));
    assert!(done.starts_with(&end()), "{done:?}");
    assert!(life.follow(Event::Ended(Exit::Signal(15))).contains(&Launch(Role::Finish)));
    assert!(!life.machine.life_end().unwrap().is_told, "nobody told it to go down");
    life.follow(Event::Ended(Exit::Code(0)));
    let record = life.machine.record();
    assert_eq!((record.phase, record.failure), (Phase::Failed, Some(Failure::PostStart)));

    // A command that comes while it ends starts it once more.
    let mut life = running(with_post_start());
    life.follow(Event::Executed);
    life.follow(Event::BesideEnded(Exit::Code(125)));
    life.told(Command::Up);
    assert!(life.follow(Event::Ended(Exit::Signal(15))).contains(&Launch(Role::Run)));
}

#[test]
fn pre_stop_runs_before_run_is_told_to_end() {
    let mut life = running(Policy { has_finish: true, ..with_pre_stop() });
    life.happens(Event::Executed);
    let done = life.follow(Event::Told(Command::Down));
    assert_eq!(done[..2], [Publish, Action::LaunchBeside(Beside::PreStop)]);
    assert_eq!((life.machine.record().phase, life.machine.record().want), (Phase::Stopping, Want::Down));
    let done = life.follow(Event::BesideEnded(Exit::Code(1)));
    assert!(done.ends_with(&end()), "{done:?}");
    life.follow(Event::Ended(Exit::Signal(15)));
    let told = LifeEnd { role: Role::Run, exit: Exit::Signal(15), is_told: true, has_pre_stop: true };
    assert_eq!(life.machine.life_end(), Some(told));
}

#[test]
fn up_cancels_a_stop_as_long_as_pre_stop_runs() {
    let mut life = running(with_pre_stop());
    life.happens(Event::Executed);
    life.follow(Event::Told(Command::Down));
    life.follow(Event::Told(Command::Up));
    assert_eq!(life.follow(Event::BesideEnded(Exit::Code(0))), [Publish]);
    assert_eq!((life.machine.record().phase, life.machine.record().want), (Phase::Running, Want::Up));
    // The next stop runs it again.
    life.follow(Event::Told(Command::Down));
    assert_eq!(beside(&life), Some(Beside::PreStop));
}

#[test]
fn down_and_up_in_one_write_restart_a_service_that_has_a_pre_stop() {
    let mut life = running(with_pre_stop());
    life.happens(Event::Executed);
    life.follow(Event::Told(Command::Down));
    life.follow(Event::Restart);
    life.follow(Event::Told(Command::Up));
    life.passes(2000);
    assert!(life.follow(Event::BesideEnded(Exit::Code(0))).ends_with(&end()));
    assert!(life.follow(Event::Ended(Exit::Signal(15))).contains(&Launch(Role::Run)));
    assert!(!life.machine.progress.restart);
    // Without a pre-stop the d has told it to end already.
    let mut life = running(plain());
    life.follow(Event::Told(Command::Down));
    assert_eq!(life.follow(Event::Restart), []);
    // One that is down is only started.
    assert_eq!(Life::down().follow(Event::Restart), []);
}

#[test]
fn a_service_that_has_given_its_word_has_been_ready_in_time() {
    let policy = Policy { has_check: true, ready_within: Some(Duration::from_secs(3)), ..with_post_start() };
    let mut life = running(policy.clone());
    life.happens(Event::Executed);
    life.follow(Event::Ready);
    life.told(Command::Pause);
    life.told(Command::Continue);
    assert_eq!(life.machine.deadline(), None);
    let process = Process { pid: nix::unistd::Pid::from_raw(7), ticks: 1, serial: 1 };
    let record = Record { process: Some((Role::Run, process)), ..life.machine.record() };
    let record = Record { beside: Some((Beside::PostStart, process)), ..record };
    assert_eq!(Machine::resume(policy, &record, life.now).deadline(), None);
}

#[test]
fn after_kill_nothing_more_is_started_beside_run() {
    let mut life = running(Policy { has_reload: true, ..with_pre_stop() });
    life.happens(Event::Executed);
    life.follow(Event::Told(Command::Reload));
    life.follow(Event::Told(Command::Down));
    life.told(Command::Kill);
    let done = life.follow(Event::BesideEnded(Exit::Signal(9)));
    assert!(done.ends_with(&end()), "{done:?}");
    assert_eq!(beside(&life), None);
}

#[test]
fn down_is_obeyed_after_run_has_said_that_it_ends_and_the_end_counts_as_commanded() {
    let mut life = running(Policy { notification_fd: Some(3), has_finish: true, ..with_post_start() });
    life.happens(Event::Executed);
    life.follow(Event::Ready);
    life.happens(Event::Stopping);
    life.follow(Event::Told(Command::Down));
    assert!(life.follow(Event::BesideEnded(Exit::Code(0))).ends_with(&end()));
    assert!(!life.machine.is_ready(), "it was told down before its post-start had ended");
    life.follow(Event::Ended(Exit::Code(1)));
    assert!(life.machine.life_end().unwrap().is_told);

    // So it does where the watchdog comes between, and finish learns of a pre-stop that has ended after run.
    let mut life = running(Policy { watchdog: Some(Duration::from_secs(1)), has_finish: true, ..with_pre_stop() });
    life.happens(Event::Executed);
    life.follow(Event::Told(Command::Down));
    life.passes(1000);
    life.happens(Event::Woken);
    life.follow(Event::Ended(Exit::Signal(6)));
    life.follow(Event::BesideEnded(Exit::Code(0)));
    let told = LifeEnd { role: Role::Run, exit: Exit::Signal(6), is_told: true, has_pre_stop: true };
    assert_eq!(life.machine.life_end(), Some(told));
}

#[test]
fn a_service_whose_post_start_has_failed_never_becomes_ready() {
    let mut life = running(Policy { notification_fd: Some(3), ..with_post_start() });
    life.happens(Event::Executed);
    life.follow(Event::Ready);
    life.follow(Event::BesideEnded(Exit::Code(125)));
    assert_eq!(life.follow(Event::Ready), []);
    assert!(!life.machine.is_ready());
}

#[test]
fn a_process_that_is_not_believed_leaves_no_service_that_waits_for_ever() {
    let process = Process { pid: nix::unistd::Pid::from_raw(8), ticks: 1, serial: 1 };
    let record =
        Record { want: Want::Up, phase: Phase::Running, beside: Some((Beside::PostStart, process)), ..Record::blank() };
    let mut life = Life { machine: Machine::resume(with_post_start(), &record, Moment::ZERO), now: Moment::ZERO };
    life.follow(Event::Begun);
    life.passes(2000);
    assert!(life.follow(Event::BesideEnded(Exit::Unknown)).contains(&Launch(Role::Run)));
}

#[test]
fn signals_that_are_commanded_need_no_pre_stop() {
    let mut life = running(with_pre_stop());
    life.happens(Event::Executed);
    assert_eq!(life.told(Command::Terminate), [Send(SIGTERM)]);
    life.passes(2000);
    assert!(life.follow(Event::Ended(Exit::Signal(15))).contains(&Launch(Role::Run)));
}

#[test]
fn down_waits_for_a_post_start_that_runs_and_skips_one_that_does_not() {
    let policy = Policy { has_post_start: true, notification_fd: Some(3), ..with_pre_stop() };
    let mut life = running(policy.clone());
    life.happens(Event::Executed);
    life.follow(Event::Ready);
    assert_eq!(life.follow(Event::Told(Command::Down)), [Publish]);
    life.follow(Event::BesideEnded(Exit::Code(0)));
    assert_eq!(beside(&life), Some(Beside::PreStop));

    let mut life = running(policy);
    life.happens(Event::Executed);
    life.follow(Event::Told(Command::Down));
    assert_eq!(beside(&life), Some(Beside::PreStop));
    life.follow(Event::Ready);
    life.follow(Event::BesideEnded(Exit::Code(0)));
    assert_eq!((beside(&life), life.machine.ending), (None, Some(Ending::Told)));
}

#[test]
fn one_that_hangs_is_ended_by_a_second_down_by_kill_or_by_its_limit() {
    let hanging = |policy: Policy| {
        let mut life = running(policy);
        life.happens(Event::Executed);
        life.follow(Event::Told(Command::Down));
        life
    };
    let mut life = hanging(with_pre_stop());
    let term = [Action::SendBeside(SIGTERM), Action::SendBeside(SIGCONT), Publish];
    assert_eq!(life.told(Command::Down), term);
    assert_eq!(life.machine.record().beside_kill_at, Some(life.now.after(Duration::from_secs(5))));
    life.passes(5000);
    assert_eq!(life.happens(Event::Woken), [Action::SendBeside(SIGKILL)]);

    let mut life = hanging(with_pre_stop());
    assert_eq!(life.told(Command::Kill), [Action::SendBeside(SIGKILL), Send(SIGKILL)]);

    let limit = Duration::from_secs(3);
    let mut life =
        hanging(Policy { timeouts: Timeouts { pre_stop: Some(limit), ..Timeouts::default() }, ..with_pre_stop() });
    assert_eq!(life.machine.deadline(), Some(limit));
    life.passes(3000);
    let missed = Action::ReportMissedDeadline(MissedDeadline::BesideStillRuns(Beside::PreStop, limit));
    assert_eq!(life.happens(Event::Woken), [missed, Action::SendBeside(SIGKILL)]);
}

#[test]
fn finish_waits_for_one_that_outlives_run() {
    let mut life = running(Policy { has_finish: true, ..with_post_start() });
    life.follow(Event::Executed);
    assert_eq!(life.follow(Event::Ended(Exit::Code(3))), [Announce('d'), Publish]);
    let record = life.machine.record();
    assert_eq!((life.machine.stage, record.phase), (Stage::Outlived, Phase::Stopping));
    assert!(life.follow(Event::BesideEnded(Exit::Code(0))).contains(&Launch(Role::Finish)));
    assert_eq!(life.machine.life_end().unwrap().exit, Exit::Code(3));
    assert!(!life.machine.is_ready());

    // So it does where the service goes down: the end counts as commanded.
    let mut life = running(Policy { has_finish: true, ..with_pre_stop() });
    life.happens(Event::Executed);
    life.follow(Event::Told(Command::Down));
    life.follow(Event::Ended(Exit::Code(3)));
    assert_eq!(life.machine.stage, Stage::Outlived);
    let term = [Action::SendBeside(SIGTERM), Action::SendBeside(SIGCONT), Publish];
    assert_eq!(life.told(Command::Down), term);
    life.follow(Event::BesideEnded(Exit::Signal(15)));
    assert!(life.machine.life_end().unwrap().is_told);
    life.follow(Event::Ended(Exit::Code(0)));
    assert_eq!(life.machine.record().phase, Phase::Stopped);
}

#[test]
fn reload_runs_beside_run_and_hup_is_sent_where_there_is_none() {
    let mut life = running(plain());
    life.happens(Event::Executed);
    assert_eq!(life.told(Command::Reload), [Send(SIGHUP)]);

    let mut life = running(Policy { has_reload: true, ..with_post_start() });
    // A service that only starts loads its configuration anyway, but one whose `run` runs may have done so already.
    life.follow(Event::Told(Command::Reload));
    assert_eq!(beside(&life), Some(Beside::Reload));
    life.follow(Event::Executed);
    life.follow(Event::Told(Command::Reload));
    life.follow(Event::BesideEnded(Exit::Code(1)));
    assert_eq!(beside(&life), Some(Beside::PostStart), "that comes first");
    life.follow(Event::BesideEnded(Exit::Code(0)));
    assert_eq!(beside(&life), Some(Beside::Reload), "the second one was not forgotten");
    life.follow(Event::BesideEnded(Exit::Code(0)));
    assert_eq!((beside(&life), life.machine.progress.reload), (None, false));
    assert_eq!(Life::down().told(Command::Reload), []);
}

#[test]
fn the_next_supervise_goes_on_with_what_runs_beside_run() {
    let resume = |life: &Life| {
        let mut record = life.machine.record();
        let process = |pid| Process { pid: nix::unistd::Pid::from_raw(pid), ticks: 1, serial: 1 };
        record.process = matches!(life.machine.stage, Stage::Alive(_)).then(|| (Role::Run, process(7)));
        record.beside = beside(life).map(|which| (which, process(8)));
        let machine = Machine::resume(life.machine.policy.clone(), &record, life.now);
        assert_eq!(
            (machine.stage, machine.beside, machine.progress),
            (life.machine.stage, life.machine.beside, life.machine.progress)
        );
        Life { machine, now: life.now }
    };
    // What was never let through its gate is started again, and so is what was not seen to pass it, if its end is unknown.
    let mut life = running(Policy {
        timeouts: Timeouts { pre_stop: Some(Duration::from_secs(3)), ..Timeouts::default() },
        ..with_pre_stop()
    });
    life.happens(Event::Executed);
    life.follow(Event::Told(Command::Down));
    for end in [Event::BesideNeverBegan, Event::BesideEnded(Exit::Unknown)] {
        let mut next = resume(&life);
        next.follow(Event::Begun);
        assert!(next.follow(end).contains(&Action::LaunchBeside(Beside::PreStop)));
    }
    let mut next = resume(&life);
    next.follow(Event::Begun);
    assert!(next.follow(Event::BesideEnded(Exit::Code(1))).ends_with(&end()), "it has passed its gate");
    // What was executed and had ended meanwhile has its effect.
    assert_eq!(life.happens(Event::BesideExecuted), [Publish]);
    let mut next = resume(&life);
    assert_eq!(next.follow(Event::Begun), [Announce('s'), Publish]);
    assert!(next.follow(Event::BesideEnded(Exit::Unknown)).ends_with(&end()));
    // What was written down as wanted, but had not begun, is begun.
    life.machine.beside = None;
    let mut next = resume(&life);
    assert!(next.follow(Event::Begun).contains(&Action::LaunchBeside(Beside::PreStop)));
    // What has outlived `run`, with and without having ended since.
    let mut life = running(Policy { has_finish: true, ..with_post_start() });
    life.follow(Event::Executed);
    life.follow(Event::Ended(Exit::Code(3)));
    let mut next = resume(&life);
    next.follow(Event::Begun);
    assert!(next.follow(Event::BesideEnded(Exit::Code(0))).contains(&Launch(Role::Finish)));
    assert_eq!(next.machine.life_end().unwrap().exit, Exit::Code(3));
}

/// supervise may be killed between the `d` and the `u`. The command was read by then, so that no other supervise obeys it.
#[test]
fn a_restart_that_is_cut_short_leaves_no_service_down() {
    for (want, policy) in [(Want::Up, plain()), (Want::Once, plain()), (Want::Up, with_pre_stop())] {
        let mut life = Life::running(policy.clone());
        assert_eq!(life.happens(Event::RestartFollows(want)), []);
        life.follow(Event::Told(Command::Down));
        assert_eq!(life.machine.record().want, want, "{policy:?}");
        let next = Machine::resume(policy, &life.machine.record(), life.now);
        assert_eq!(next.want, want);
        // Where supervise lives on, the `d` counts until the `u` comes.
        assert_eq!(life.machine.want, Want::Down);
        life.happens(Event::Restart);
        life.told(Command::Up);
        life.told(Command::Down);
        assert_eq!(life.machine.record().want, Want::Down);
    }
    let mut leaving = Life::running(plain());
    leaving.told(Command::Down);
    leaving.told(Command::Exit);
    leaving.happens(Event::RestartFollows(Want::Up));
    assert_eq!(leaving.machine.record().want, Want::Down);
}

#[test]
fn what_comes_after_down_and_exit_cancels_no_stop() {
    for again in [Command::Up, Command::Once] {
        let mut life = running(with_pre_stop());
        life.follow(Event::Executed);
        life.follow(Event::Told(Command::Down));
        life.follow(Event::Told(Command::Exit));
        life.follow(Event::Told(again));
        assert_eq!(beside(&life), Some(Beside::PreStop));
        assert_eq!(life.follow(Event::BesideEnded(Exit::Code(0))), end(), "{again:?}");
        let done = life.follow(Event::Ended(Exit::Signal(15)));
        assert!(done.contains(&Action::Leave) && !done.contains(&Action::Configure), "{again:?}: {done:?}");
    }
}

/// Otherwise the next supervise would believe that `run` was told to end, if this one is killed in between.
#[test]
fn that_run_was_told_to_end_is_written_down_only_after_that() {
    let mut life = running(with_post_start());
    life.follow(Event::Executed);
    assert_eq!(life.follow(Event::Told(Command::Down)), [Publish]);
    assert_eq!(life.follow(Event::BesideEnded(Exit::Code(0))), end());
}

/// svscan and supervise are killed together before the gate is open, so that neither knows how the process has ended.
#[test]
fn a_reload_that_was_not_let_through_its_gate_is_run_by_the_next_supervise() {
    let mut life = running(Policy { has_reload: true, ..plain() });
    life.happens(Event::Executed);
    life.happens(Event::Told(Command::Reload));
    life.happens(Event::BesideLaunched);
    let process = |pid| Process { pid: nix::unistd::Pid::from_raw(pid), ticks: 1, serial: 1 };
    let resume = |life: &Life| {
        let record = Record {
            process: Some((Role::Run, process(7))),
            beside: Some((Beside::Reload, process(8))),
            ..life.machine.record()
        };
        let record = Record::decode(&record.encode());
        let mut next = Life { machine: Machine::resume(life.machine.policy.clone(), &record, life.now), now: life.now };
        next.follow(Event::Begun);
        next
    };
    assert!(resume(&life).follow(Event::BesideEnded(Exit::Unknown)).contains(&Action::LaunchBeside(Beside::Reload)));
    // `run` was sent KILL: nothing is started beside it any more.
    let mut killed = resume(&life);
    killed.told(Command::Kill);
    assert_eq!(killed.follow(Event::BesideEnded(Exit::Unknown)), [Publish]);
    // Once it was seen to run, it is never run twice.
    life.happens(Event::BesideExecuted);
    let mut next = resume(&life);
    assert_eq!(next.follow(Event::BesideEnded(Exit::Unknown)), [Publish]);
    assert_eq!(beside(&next), None);
}
