//! What a kernel gives to the programs, as plain values: processes, the files of one service directory, the clock.
//!
//! Numbers of processes come from a range of eight, so that they come again soon. A process that has ended stays as a
//! zombie until its parent has waited for it. A process whose parent ends becomes a child of svscan, which is a
//! subreaper, or of process 1.

use daemontools::service::{Process, Record, Role};
use daemontools::tai64::{Moment, Tai64, Tai64N};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::time::Duration;

/// The number of process 1, which starts svscan and waits for orphans.
pub const INIT: i32 = 1;
/// The numbers that all other processes get in turn.
pub const NUMBERS: std::ops::RangeInclusive<i32> = 2..=9;
/// The wall clock's label at boot: 2026.
const BOOTED: Tai64N = Tai64N(Tai64(0x4000_0000_6a00_0000), 0);

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// svscan, which the world keeps beside the kernel.
    Svscan,
    /// A supervise, which the world keeps beside the kernel.
    Supervise,
    /// A child of supervise before it has become its program.
    AtGate(Role, GateId),
    /// One of the service's programs.
    Program(Role),
    /// A process that has nothing to do with the service.
    Stranger,
}

/// The number of a pair of sockets.
pub type GateId = usize;

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs, or waits for something.
    Alive,
    /// It has ended, with this status as wait(2) has it, and its parent has not waited for it.
    Zombie(i32),
}

/// A process.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its number.
    pub pid: i32,
    /// Its number among all processes since boot.
    pub serial: u64,
    /// The number of its parent.
    pub parent: i32,
    /// What it is.
    pub kind: Kind,
    /// How it is.
    pub state: State,
    /// It was told to pause.
    pub stopped: bool,
    /// It does not end at TERM.
    pub ignores_term: bool,
    /// TERM has come and was not obeyed yet.
    pub told_to_end: bool,
    /// It holds the lock of the service directory, or a copy of the descriptor that does.
    pub holds_lock: bool,
}

/// The two ends of a gate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gate {
    /// supervise has let the process through.
    pub passed: bool,
    /// supervise's end is open.
    pub keeper: bool,
    /// The process's end is open.
    pub process: bool,
    /// The reason that the process has given because it could not be executed, until it is read.
    pub refused: Option<i32>,
}

/// The files of the service directory, and the page that svscan keeps of it in memory.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// `supervise/state`, as text.
    pub state: Option<String>,
    /// The process in `supervise/status`, and since when.
    pub status: Option<i32>,
    /// What was written into `supervise/control` and was not read.
    pub control: Vec<u8>,
    /// The supervise that reads `supervise/ok`: the service counts as supervised.
    pub ok_reader: Option<i32>,
    /// How processes ended that svscan has waited for: number among all processes, status.
    pub orphan: Vec<(Process, i32)>,
    /// The page: its text, where it exists. Who has it open keeps it alive.
    pub page: Option<String>,
    /// The disk takes no writes.
    pub read_only: bool,
}

/// The kernel.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Time since boot.
    pub uptime: Duration,
    /// All processes but process 1.
    pub tasks: Vec<Task>,
    /// All gates, by their number.
    pub gates: Vec<Gate>,
    /// The files.
    pub files: Files,
    /// Commands that were sent by signal and not taken in: to which process, and which.
    pub told: Vec<(i32, u8)>,
    /// What is written to `supervise/state` and to the page is lost: for a test that the world finds that.
    pub forgets: bool,
    next_pid: i32,
    next_serial: u64,
}

impl Default for Kernel {
    fn default() -> Kernel {
        Kernel {
            uptime: Duration::from_secs(100),
            tasks: Vec::with_capacity(8),
            gates: Vec::new(),
            files: Files::default(),
            told: Vec::new(),
            forgets: false,
            next_pid: *NUMBERS.start(),
            next_serial: 100,
        }
    }
}

impl Kernel {
    /// This moment by both clocks.
    pub fn now(&self) -> Moment {
        Moment { uptime: Duration::ZERO, label: BOOTED }.after(self.uptime)
    }

    /// The process of this number, dead or alive.
    pub fn task(&self, pid: i32) -> Option<&Task> {
        self.tasks.iter().find(|task| task.pid == pid)
    }

    /// The same, to be changed.
    pub fn task_mut(&mut self, pid: i32) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.pid == pid)
    }

    /// Whether the process of this number is alive.
    pub fn is_alive(&self, pid: i32) -> bool {
        self.task(pid).is_some_and(|task| task.state == State::Alive)
    }

    /// Who has this number now, as [`Process::of`] tells.
    pub fn identify(&self, pid: i32) -> Option<Process> {
        self.task(pid).map(|task| Process { pid: Pid::from_raw(pid), ticks: 0, serial: task.serial })
    }

    /// The process that was written down, if it is still there, be it as a zombie.
    pub fn find(&self, process: &Process) -> Option<&Task> {
        self.tasks.iter().find(|task| task.pid == process.pid.as_raw() && task.serial == process.serial)
    }

    /// Makes a process. `None`: there are no more numbers.
    pub fn fork(&mut self, parent: i32, kind: Kind) -> Option<i32> {
        let free = |pid: &i32| self.task(*pid).is_none();
        let pid = (self.next_pid..=*NUMBERS.end()).chain(NUMBERS).find(free)?;
        self.next_pid = if pid == *NUMBERS.end() { *NUMBERS.start() } else { pid + 1 };
        self.next_serial += 1;
        // A copy of all descriptors, that of the lock among them.
        let holds_lock = self.task(parent).is_some_and(|task| task.holds_lock);
        self.tasks.push(Task {
            pid,
            serial: self.next_serial,
            parent,
            kind,
            state: State::Alive,
            stopped: false,
            ignores_term: false,
            told_to_end: false,
            holds_lock,
        });
        Some(pid)
    }

    /// Makes a gate, both ends open.
    pub fn make_gate(&mut self) -> GateId {
        self.gates.push(Gate { keeper: true, process: true, ..Gate::default() });
        self.gates.len() - 1
    }

    /// A process ends: its descriptors are closed, its children get another parent.
    pub fn end(&mut self, pid: i32, status: i32) {
        let heir = self.tasks.iter().find(|task| task.kind == Kind::Svscan && task.state == State::Alive);
        let heir = heir.map(|task| task.pid).filter(|heir| *heir != pid).unwrap_or(INIT);
        for task in self.tasks.iter_mut().filter(|task| task.parent == pid) {
            task.parent = heir;
        }
        let Some(task) = self.task_mut(pid) else { return };
        (task.state, task.holds_lock, task.stopped) = (State::Zombie(status), false, false);
        let kind = task.kind;
        if let Kind::AtGate(_, gate) = kind {
            self.close_process_end(gate);
        }
        self.told.retain(|(to, _)| *to != pid);
        if self.files.ok_reader == Some(pid) {
            self.files.ok_reader = None;
            // The last one who had the FIFO open is gone, and with it what is in it.
            self.files.control.clear();
        }
    }

    /// The process's end of a gate is closed, by its execution or its end.
    pub fn close_process_end(&mut self, gate: GateId) {
        if let Some(gate) = self.gates.get_mut(gate) {
            gate.process = false;
        }
    }

    /// supervise's end of a gate is closed.
    pub fn close_keeper_end(&mut self, gate: GateId) {
        if let Some(gate) = self.gates.get_mut(gate) {
            gate.keeper = false;
        }
    }

    /// Sends a signal. What is no process any more is not reached.
    pub fn signal(&mut self, pid: i32, signal: Signal) {
        let Some(task) = self.task_mut(pid).filter(|task| task.state == State::Alive) else { return };
        match signal {
            Signal::SIGKILL => self.end(pid, Signal::SIGKILL as i32),
            Signal::SIGSTOP => task.stopped = true,
            Signal::SIGCONT => task.stopped = false,
            // A process at its gate, or a program, ends at TERM unless it does not want to. That is its own step.
            Signal::SIGTERM => task.told_to_end = true,
            _ => {}
        }
    }

    /// A child of `parent` that has ended, other than those in `but`.
    pub fn ended_child(&self, parent: i32, but: Option<i32>) -> Option<(i32, i32)> {
        let of = |task: &Task| match task.state {
            State::Zombie(status) if task.parent == parent && Some(task.pid) != but => Some((task.pid, status)),
            State::Zombie(_) | State::Alive => None,
        };
        self.tasks.iter().find_map(of)
    }

    /// Waits for a child that has ended: its number is free.
    pub fn wait_for(&mut self, pid: i32) {
        self.tasks.retain(|task| task.pid != pid || task.state == State::Alive);
    }

    /// Whether a process other than `pid` holds the lock of the service directory.
    pub fn is_locked_against(&self, pid: i32) -> bool {
        self.tasks.iter().any(|task| task.holds_lock && task.pid != pid)
    }

    /// Whether a process that holds the lock is about to close it.
    pub fn lock_is_about_to_go(&self) -> bool {
        let at_gate = |task: &Task| matches!(task.kind, Kind::AtGate(..));
        self.tasks.iter().filter(|task| task.holds_lock).all(at_gate)
    }

    /// `supervise/state`, as its readers read it.
    pub fn read_state(&self) -> Option<Record> {
        self.files.state.as_deref().map(Record::decode)
    }

    /// The page, as its readers read it.
    pub fn read_page(&self) -> Option<Record> {
        self.files.page.as_deref().filter(|text| !text.is_empty()).map(Record::decode)
    }
}
