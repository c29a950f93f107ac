use crate::input::Input;
use crate::settings;
use daemontools::service::{Command, Exit, Phase, Process, Record, Role, Want};
use daemontools::tai64::Moment;
use nix::unistd::Pid;
use std::time::Duration;
use supervise::machine::{Action, Event, Machine};
use supervise::policy::Policy;

/// A service under any settings, told anything, that does anything, by a supervise that is killed anywhere: there
/// is never a second process, none that is not written down, and nothing is done to one that is not there. Told to
/// be up, in the end it is; told to exit, supervise does.
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
    /// The process that there is, and whether it may run.
    process: Option<(Role, Process)>,
    gate_is_open: bool,
    /// What the next supervise would find.
    written: Record,
    left: bool,
    /// supervise is killed after so many actions.
    lives: Option<usize>,
    /// The next process cannot be had.
    refused: bool,
    pids: i32,
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
            written: Record { want, ..Record::blank() },
            left: false,
            lives: None,
            refused: false,
            pids: 100,
        }
    }

    /// What a byte means: a command, or else something that happens by itself.
    fn live_on(&mut self, input: &mut Input) {
        let byte = input.byte();
        if let Some(command) = Command::from_byte(byte) {
            assert_eq!(command.byte(), byte);
            return self.happens(Event::Told(command));
        }
        match byte % 10 {
            0 if self.process.is_some() => self.ends(exit(input.byte())),
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
            _ => self.happens(Event::Woken),
        }
    }

    /// Until the machine wants to be woken.
    fn waits(&mut self) {
        if let Some(deadline) = self.machine.deadline() {
            self.now = self.now.after(deadline.saturating_sub(self.now.uptime));
        }
        self.happens(Event::Woken);
    }

    fn ends(&mut self, exit: Exit) {
        self.process = None;
        self.happens(Event::Ended(exit));
    }

    fn happens(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let mut todo = Vec::new();
            self.machine.step(self.now, event, &mut todo);
            for (index, action) in todo.iter().enumerate() {
                if self.lives.as_mut().is_some_and(|lives| {
                    let dead = *lives == 0;
                    *lives = lives.saturating_sub(1);
                    dead
                }) {
                    next = Some(self.killed());
                    break;
                }
                next = self.perform(*action);
                assert!(next.is_none() || index + 1 == todo.len(), "{todo:?}");
                assert!(!self.left || index + 1 == todo.len(), "{todo:?}");
            }
        }
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Configure => return Some(Event::Configured(self.policy.clone())),
            Action::Launch(role, exit) => {
                assert!(self.process.is_none(), "a second process");
                assert_eq!(exit.is_some(), role == Role::Finish);
                if std::mem::take(&mut self.refused) {
                    return Some(Event::NotLaunched);
                }
                self.pids += 1;
                self.process = Some((role, Process { pid: Pid::from_raw(self.pids), ticks: 7, serial: 0 }));
                self.gate_is_open = false;
                return Some(Event::Launched);
            }
            Action::Record | Action::Publish => self.written = self.record(),
            Action::OpenGate => {
                assert!(self.process.is_some() && !self.gate_is_open);
                assert_eq!(self.written.process, self.process, "lives, and nobody after us would know");
                self.gate_is_open = true;
            }
            Action::Send(_) | Action::SendGroup(_) | Action::SendScope(_) => assert!(self.process.is_some()),
            Action::KillRest => assert!(self.process.is_none()),
            Action::Announce(letter) => assert!("suUdDOx".contains(letter)),
            Action::GiveUp => assert!(self.machine.record().failure.is_some(), "nobody would know why"),
            Action::SayLate(_) => assert!(self.process.is_some()),
            Action::SayStarved => assert!(self.process.is_none()),
            Action::Leave => {
                assert!(self.process.is_none());
                self.left = true;
            }
        }
        None
    }

    /// Another supervise comes, and finds what was written down.
    fn killed(&mut self) -> Event {
        self.lives = None;
        if !self.gate_is_open {
            self.process = None;
        }
        let found = Record::decode(&self.written.encode());
        assert_eq!(found, self.written);
        assert!(self.process.is_none() || self.process == found.process, "lives, and nobody knows");
        self.machine = Machine::resume(self.policy.clone(), &found, self.now);
        if found.process.is_some() && self.process.is_none() { Event::Ended(Exit::Unknown) } else { Event::Begun }
    }

    fn record(&self) -> Record {
        Record { process: self.process, ..self.machine.record() }
    }

    fn check(&self) {
        let record = self.record();
        assert_eq!(Record::decode(&record.encode()), record);
        let alive = self.process.is_some();
        match record.phase {
            Phase::Starting | Phase::Running | Phase::Stopping => assert!(alive, "{record:?}"),
            Phase::Stopped | Phase::Started | Phase::Failed => assert!(!alive, "{record:?}"),
        }
        let gave_up = record.failure.is_some();
        assert!(gave_up || record.phase != Phase::Failed, "{record:?}");
        assert!(!gave_up || matches!(record.phase, Phase::Stopping | Phase::Failed), "{record:?}");
        assert!(alive || !record.paused && record.ending.is_none() && record.ready.is_none(), "{record:?}");
        assert!(record.next_start.is_none() || !alive && self.machine.deadline().is_some(), "{record:?}");
        assert!(record.deaths.len() <= self.policy.deaths_kept, "{record:?}");
        assert!(!alive || self.gate_is_open);
    }

    /// Told to be up, it is, unless it dies too often for that.
    fn comes_up(&mut self) {
        let leaving = self.machine.record().leaving;
        (self.lives, self.refused) = (None, false);
        self.happens(Event::Told(Command::Up));
        for _ in 0..10 {
            let record = self.machine.record();
            match self.process {
                Some((Role::Run, _)) if record.ending.is_none() => return,
                Some((Role::Run, _)) => self.ends(Exit::Signal(9)),
                Some(_) => self.ends(Exit::Code(0)),
                None => self.waits(),
            }
            if self.left {
                return assert!(leaving);
            }
        }
        assert!(leaving || self.policy.restart_limit.is_some(), "{:?}", self.machine);
    }

    /// Told to go down and to exit, it does.
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
                Some(_) => self.ends(Exit::Signal(9)),
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
