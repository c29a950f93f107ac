use crate::input::Input;
use crate::settings;
use daemontools::service::policy::Policy;
use daemontools::service::{
    BackgroundFailure, Beside, Command, Ending, Exit, Phase, Process, Record, Role, SearchGoal, Want,
};
use daemontools::tai64::Moment;
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::time::Duration;
use supervise::machine::{Action, Event, Machine, SearchOutcome};

/// Runs a service with any settings under any commands. The service behaves in any way, and supervise is killed at any
/// time. There must never be a second process, nor one that is not recorded, and supervise must never act on a process
/// that does not exist. In the end, a service that was told to be up is up, and a supervise that was told to exit has
/// exited.
pub fn obeyed(data: &[u8]) {
    let mut input = Input(data);
    let mut world = World::new(&mut input);
    world.happens(Event::Begun);
    while input.has_more() && !world.left {
        world.live_on(&mut input);
        world.check();
    }
    if !world.left {
        world.comes_up();
        world.leaves();
    }
}

struct World {
    policy: Policy,
    machine: Machine,
    now: Moment,
    /// The process that exists, with the program that it executes.
    process: Option<(Role, Process)>,
    gate_is_open: bool,
    /// The process that runs beside it, or has outlived it.
    beside: Option<(Beside, Process)>,
    beside_gate_is_open: bool,
    /// The record that the next supervise would read.
    written: Record,
    left: bool,
    /// supervise is killed after this number of actions.
    lives: Option<usize>,
    /// The system refuses the next process.
    refused: bool,
    /// supervise was killed, and what ran beside `run` did not outlive it. The machine is told after its first event.
    beside_was_lost: bool,
    pids: i32,
    /// How many processes `run` has left in the background, of which supervise has taken none.
    daemons: u8,
    /// supervise has taken the process from among those.
    is_taken: bool,
    /// The process that was taken had become stable before it ended: what it has left is the business of `kill-scope`.
    left_to_scope: bool,
    /// A program holds back starts and ends.
    has_holder: bool,
}

impl World {
    fn new(input: &mut Input) -> World {
        let flags = input.byte();
        let settings = usize::from(input.byte() % 4);
        let policy = Policy {
            has_start: flags & 1 != 0,
            has_finish: flags & 2 != 0,
            has_stop: flags & 4 != 0,
            has_check: flags & 8 != 0,
            has_pre_start: flags & 32 != 0,
            has_post_start: flags & 64 != 0,
            has_pre_stop: flags & 128 != 0,
            has_reload: flags & 64 != 0,
            ..settings::policy(input, settings)
        };
        let now = Moment { uptime: Duration::from_secs(1000), label: daemontools::tai64::at(std::time::UNIX_EPOCH) };
        let want = if flags & 16 == 0 { Want::Up } else { Want::Down };
        World {
            machine: Machine::new(policy.clone(), want, now),
            policy,
            now,
            process: None,
            gate_is_open: false,
            beside: None,
            beside_gate_is_open: false,
            written: Record { want, ..Record::blank() },
            left: false,
            lives: None,
            refused: false,
            beside_was_lost: false,
            pids: 100,
            daemons: 0,
            is_taken: false,
            left_to_scope: false,
            has_holder: false,
        }
    }

    /// Lets one byte decide what happens: a command, or an event of the world.
    fn live_on(&mut self, input: &mut Input) {
        let byte = input.byte();
        if let Some(command) = Command::from_byte(byte) {
            assert_eq!(command.byte(), byte);
            return self.happens(Event::Told(command));
        }
        match byte % 14 {
            0 if self.process.is_some() => self.ends_and_leaves(exit(input.byte()), input.byte() % 4),
            1 if self.process.is_some() => self.happens(Event::Executed),
            2 if self.process.is_some() => self.happens(Event::Ready),
            3 if self.process.is_some() => self.happens(Event::Stopping),
            4 if self.process.is_some() => self.happens(Event::Alive),
            5 => self.waits(),
            6 => {
                self.now = self.now.after(Duration::from_millis(input.number() as u64));
                self.happens(Event::Woken);
            }
            7 => self.lives = Some(usize::from(input.byte() % 8)),
            8 => self.refused = true,
            9 if self.beside.is_some() => self.beside_ends(exit(input.byte())),
            10 if self.daemons > 0 => {
                self.daemons -= 1;
                self.look();
            }
            11 if self.machine.awaits_stop() => self.happens(Event::Stopped),
            12 if self.beside.is_some() => self.happens(Event::BesideExecuted),
            13 => {
                self.has_holder = !self.has_holder;
                if !self.has_holder {
                    self.happens(Event::HolderGone);
                }
            }
            _ => self.look(),
        }
    }

    /// Lets supervise look for what `run` has left, or wake.
    fn look(&mut self) {
        let left = self.machine.search().map(|_| self.found());
        self.happens(left.map_or(Event::Woken, Event::Searched));
    }

    fn found(&mut self) -> SearchOutcome {
        let is_end = self.machine.search().is_none_or(|search| search.purpose == SearchGoal::End);
        match self.daemons {
            0 => SearchOutcome::Nothing,
            1 if !is_end => {
                assert!(self.process.is_none(), "a second process");
                self.pids += 1;
                self.process = Some((Role::Run, Process { pid: Pid::from_raw(self.pids), ticks: 7, serial: 0 }));
                (self.daemons, self.gate_is_open, self.is_taken) = (0, true, true);
                SearchOutcome::Taken
            }
            _ => SearchOutcome::Undecided(BackgroundFailure::Several),
        }
    }

    /// Lets time pass until the machine wants to wake.
    fn waits(&mut self) {
        if let Some(deadline) = self.machine.deadline() {
            self.now = self.now.after(deadline.saturating_sub(self.now.uptime));
        }
        self.happens(Event::Woken);
    }

    fn ends_and_leaves(&mut self, exit: Exit, daemons: u8) {
        let is_run = matches!(self.process, Some((Role::Run, _))) && self.gate_is_open;
        self.daemons += if is_run && self.policy.goes_into_background() { daemons } else { 0 };
        self.ends(exit);
    }

    fn ends(&mut self, exit: Exit) {
        if matches!(self.process, Some((Role::Run, _))) {
            let record = self.machine.record();
            self.left_to_scope = record.taken.is_some() && !record.unstable;
        }
        self.process = None;
        self.happens(Event::Ended(exit));
    }

    fn beside_ends(&mut self, exit: Exit) {
        self.beside = None;
        self.happens(Event::BesideEnded(exit));
    }

    fn happens(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut todo = Vec::new();
            self.machine.step(self.now, event, &mut todo);
            for (index, action) in todo.iter().enumerate() {
                if self.lives.as_mut().is_some_and(|lives| {
                    let dead = *lives == 0;
                    *lives = lives.saturating_sub(1);
                    dead
                }) {
                    events = VecDeque::from([self.killed()]);
                    break;
                }
                events.extend(self.perform(*action));
                assert!(!self.left || index + 1 == todo.len(), "{todo:?}");
            }
        }
        if std::mem::take(&mut self.beside_was_lost) {
            self.happens(Event::BesideEnded(Exit::Unknown));
        }
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Configure => return Some(Event::Configured(Box::new(self.policy.clone()))),
            Action::AskHolder(_) => return Some(if self.has_holder { Event::Held } else { Event::NotHeld }),
            Action::Launch(role) => {
                assert!(self.process.is_none(), "a second process");
                let is_to_be_killed = role == Role::Finish && self.left_to_scope;
                assert!(self.daemons == 0 || is_to_be_killed, "{role:?} beside what an earlier life has left");
                self.is_taken = false;
                assert_eq!(self.machine.life_end().is_some(), role == Role::Finish);
                if std::mem::take(&mut self.refused) {
                    return Some(Event::NotLaunched);
                }
                self.pids += 1;
                self.process = Some((role, Process { pid: Pid::from_raw(self.pids), ticks: 7, serial: 0 }));
                self.gate_is_open = false;
                return Some(Event::Launched);
            }
            Action::LaunchBeside(which) => {
                assert!(self.beside.is_none(), "a second process beside run");
                assert!(matches!(self.process, Some((Role::Run, _))), "beside what?");
                if std::mem::take(&mut self.refused) {
                    return Some(Event::BesideNotLaunched);
                }
                self.pids += 1;
                self.beside = Some((which, Process { pid: Pid::from_raw(self.pids), ticks: 7, serial: 0 }));
                self.beside_gate_is_open = false;
                return Some(Event::BesideLaunched);
            }
            Action::OpenBesideGate => {
                assert!(self.beside.is_some() && !self.beside_gate_is_open);
                assert_eq!(self.written.beside, self.beside, "a process lives that the next supervise would not know");
                self.beside_gate_is_open = true;
            }
            Action::Look => return Some(Event::Searched(self.found())),
            Action::SendLeft(_) => {
                assert!(self.process.is_none() && self.machine.search().is_some());
                let is_commanded = self.machine.record().ending == Some(Ending::Told);
                assert!(!is_commanded || self.machine.held().is_none(), "told to end though that is held");
            }
            Action::KillLeft => self.daemons = 0,
            Action::ReportBackgroundFailure => assert!(self.machine.record().astray.is_some()),
            Action::SendBeside(_) => assert!(self.beside.is_some()),
            Action::Record | Action::Publish => self.written = self.record(),
            Action::OpenGate => {
                assert!(self.process.is_some() && !self.gate_is_open);
                assert_eq!(
                    self.written.process, self.process,
                    "a process lives that the next supervise would not know"
                );
                self.gate_is_open = true;
            }
            Action::Send(_) | Action::SendGroup(_) | Action::SendScope(_) => assert!(self.process.is_some()),
            // What a service has left that was stable is left to its scope, which is all here.
            Action::KillRest => {
                assert!(self.process.is_none() && self.beside.is_none());
                self.daemons = 0;
            }
            Action::Announce(letter) => assert!("suUdDOxhH".contains(letter)),
            Action::ReportGivenUp => assert!(self.machine.record().failure.is_some(), "nobody would know why"),
            Action::ReportMissedDeadline(_) => assert!(self.process.is_some() || self.beside.is_some()),
            Action::ReportStarved => assert!(self.process.is_none()),
            Action::Leave => {
                assert!(self.process.is_none() && self.beside.is_none());
                self.left = true;
            }
        }
        None
    }

    /// Kills supervise and starts another, which reads the record.
    fn killed(&mut self) -> Event {
        self.lives = None;
        if !self.gate_is_open {
            self.process = None;
        }
        if !self.beside_gate_is_open {
            self.beside = None;
        }
        if self.is_taken && self.process != self.written.process {
            // It was not written down that it was taken. The next supervise looks again.
            (self.daemons, self.process, self.is_taken) = (self.daemons + 1, None, false);
        }
        let found = Record::decode(&self.written.encode());
        assert_eq!(found, self.written);
        assert!(self.process.is_none() || self.process == found.process, "a process lives that is not recorded");
        self.machine = Machine::resume(self.policy.clone(), &found, self.now);
        assert!(self.beside.is_none() || self.beside == found.beside, "a process lives that is not recorded");
        let first =
            if found.process.is_some() && self.process.is_none() { Event::Ended(Exit::Unknown) } else { Event::Begun };
        self.beside_was_lost = found.beside.is_some() && self.beside.is_none();
        first
    }

    fn record(&self) -> Record {
        Record { process: self.process, beside: self.beside, ..self.machine.record() }
    }

    fn check(&self) {
        let record = self.record();
        assert_eq!(Record::decode(&record.encode()), record);
        let alive = self.process.is_some() || record.search.is_some();
        let alone = self.process.is_none() || self.beside.is_none();
        assert!(alone || matches!(self.process, Some((Role::Run, _))), "{record:?}");
        match record.phase {
            Phase::Starting | Phase::Running => assert!(alive, "{record:?}"),
            Phase::Stopping => assert!(alive || self.beside.is_some() || record.held.is_some(), "{record:?}"),
            Phase::Stopped | Phase::Started | Phase::Failed => assert!(!alive && self.beside.is_none(), "{record:?}"),
        }
        let gave_up = record.failure.is_some();
        assert!(gave_up || record.phase != Phase::Failed, "{record:?}");
        assert!(!gave_up || matches!(record.phase, Phase::Stopping | Phase::Failed), "{record:?}");
        assert!(alive || !record.paused && record.ending.is_none() && record.ready.is_none(), "{record:?}");
        assert!(record.next_start.is_none() || !alive && self.machine.deadline().is_some(), "{record:?}");
        assert!(record.deaths.len() <= self.policy.deaths_kept, "{record:?}");
        assert!(self.process.is_none() || self.gate_is_open);
    }

    /// Tells the service to be up, and checks that it comes up, unless it dies too often for that.
    fn comes_up(&mut self) {
        let leaving = self.machine.record().leaving;
        (self.lives, self.refused, self.has_holder) = (None, false, false);
        self.happens(Event::Told(Command::Up));
        for _ in 0..16 {
            let record = self.machine.record();
            match self.process {
                _ if self.machine.held().is_some() => self.happens(Event::Told(Command::LetGo)),
                _ if self.beside.is_some() => self.beside_ends(Exit::Code(0)),
                Some((Role::Run, _)) if record.ending.is_none() => return,
                Some((Role::Run, _)) => self.ends(Exit::Signal(9)),
                Some(_) => self.ends(Exit::Code(0)),
                None if self.machine.search().is_some() => {
                    self.daemons = 0;
                    self.look();
                }
                None => self.waits(),
            }
            if self.left {
                return assert!(leaving);
            }
        }
        assert!(leaving || self.policy.restart_limit.is_some(), "{:?}", self.machine);
    }

    /// Tells the service to go down and supervise to exit, and checks that both happen.
    fn leaves(&mut self) {
        if self.left {
            return;
        }
        self.happens(Event::Told(Command::Down));
        if !self.left {
            self.happens(Event::Told(Command::Exit));
        }
        for _ in 0..10 {
            match self.process {
                _ if self.left => return,
                _ if self.machine.held().is_some() => self.happens(Event::Told(Command::LetGo)),
                _ if self.beside.is_some() => self.beside_ends(Exit::Signal(9)),
                Some(_) => self.ends(Exit::Signal(9)),
                None if self.machine.search().is_some() => {
                    self.daemons = 0;
                    self.look();
                }
                None => self.waits(),
            }
        }
        assert!(self.left, "{:?}", self.machine);
    }
}

fn exit(byte: u8) -> Exit {
    match byte % 8 {
        0 => Exit::Code(0),
        1 => Exit::Code(100),
        2 => Exit::Code(125),
        3 => Exit::Signal(15),
        4 => Exit::Core(11),
        5 => Exit::Unstarted(2),
        6 => Exit::Unknown,
        _ => Exit::Code(i32::from(byte)),
    }
}
