//! What a kernel provides for the programs, as plain values: processes, service directories with the files of their
//! supervises, pipes, and the clock.
//!
//! Process numbers come from a range of eight, or twelve for two supervises, so that they are reused soon. A process that has ended stays a zombie
//! until its parent has waited for it. A process whose parent ends becomes a child of svscan, which is a subreaper, or
//! of process 1.

use daemontools::service::policy::Policy;
use daemontools::service::{Beside, Part, Process, Record, Role};
use daemontools::tai64::{Moment, Tai64, Tai64N};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Debug, Formatter};
use std::time::Duration;
use svscan::table::Id;
/// A directory in which one supervise at a time is in charge: that of a service, or that of its logger.
pub use svscan::table::SuperviseId as Place;

/// The number of process 1, which starts svscan and waits for orphans.
pub const INIT: i32 = 1;
/// The first number that another process gets.
const FIRST: i32 = 2;
/// How many numbers there are for each supervise and its processes, and how many for svscan and strangers.
const NUMBERS: [i32; 2] = [4, 4];
/// Lines that no logger has taken for this time may be given up.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The label of the wall clock at boot, in 2026.
const BOOTED: Tai64N = Tai64N(Tai64(0x4000_0000_6a00_0000), 0);

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// svscan, whose state is in [`World`](crate::world::World).
    Svscan,
    /// A supervise, whose state is in [`World`](crate::world::World).
    Supervise,
    /// A child of supervise that has not executed its program yet.
    AtGate(Role, GateId),
    /// One of the service's programs.
    Program(Role),
    /// A child of supervise that is to become a program beside `run`, and has not executed it yet.
    BesideAtGate(Beside, GateId),
    /// A program that runs beside `run`, or has outlived it.
    Beside(Beside),
    /// A process that does not belong to the service.
    Stranger,
}

/// A service directory, as its owner has made it. It never changes, so that it is no part of a state.
#[derive(Clone)]
pub struct Service {
    /// Its entry in the scan directory.
    pub name: &'static str,
    /// Its device and inode.
    pub id: Id,
    /// Its settings. A logger has none.
    pub policy: Policy,
    /// Whether it has a logger, in `log`.
    pub has_logger: bool,
    /// The service that must be ready before it starts, by `after`.
    pub after: Option<&'static str>,
}

impl Debug for Service {
    fn fmt(&self, to: &mut Formatter) -> fmt::Result {
        write!(to, "{}", self.name)
    }
}

impl Service {
    /// The service directory with this inode.
    pub fn new(name: &'static str, inode: u64, policy: Policy) -> Service {
        Service { name, id: Id { device: 1, inode }, policy, has_logger: false, after: None }
    }

    /// The same with a logger.
    pub fn logged(self) -> Service {
        Service { has_logger: true, ..self }
    }

    /// The same, to be started after the service of this name.
    pub fn after(self, name: &'static str) -> Service {
        Service { after: Some(name), ..self }
    }

    /// Whether it has programs that run beside `run`.
    pub fn has_beside(&self) -> bool {
        self.policy.has_post_start || self.policy.has_pre_stop || self.policy.has_reload
    }

    /// The service in words.
    pub fn words(&self) -> String {
        let logger = if self.has_logger { " with its logger" } else { "" };
        let after = self.after.map_or_else(String::new, |name| format!(" after {name}"));
        let beside = if self.has_beside() { " with programs beside run" } else { "" };
        format!("{}{logger}{after}{beside}", self.name)
    }

    /// The directories in it where a supervise is in charge.
    pub fn places(&self) -> Vec<Place> {
        let parts = if self.has_logger { &[Part::Service, Part::Logger][..] } else { &[Part::Service] };
        parts.iter().map(|part| Place { id: self.id, part: *part }).collect()
    }
}

/// The number of a gate, which is a pair of sockets.
pub type GateId = usize;

/// The number of a pipe between a service and its logger.
pub type PipeId = usize;

/// A descriptor of a pipe. One that writes can also read, as the standard output of services can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The pipe.
    pub pipe: PipeId,
    /// Whether it writes.
    pub writes: bool,
}

/// A pipe between a service and its logger.
#[derive(Debug, Clone, Default)]
pub struct Pipe {
    /// The lines in it, by their numbers.
    pub lines: VecDeque<usize>,
    /// While there are lines in it: when a line was written or taken, the service's end of the pipe was closed, or svscan
    /// was told to stop, whichever was the last.
    pub changed: Duration,
}

/// Whether a process is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs, or waits for something.
    Alive,
    /// It has ended with this status of wait(2), and its parent has not waited for it.
    Zombie(i32),
}

/// A process.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its process number.
    pub pid: i32,
    /// Its serial number among all processes since boot.
    pub serial: u64,
    /// The process number of its parent.
    pub parent: i32,
    /// What the process is.
    pub kind: Kind,
    /// The directory in which it works, if it belongs to a service.
    pub place: Option<Place>,
    /// Whether the process is alive.
    pub state: State,
    /// Whether it was stopped by a signal.
    pub stopped: bool,
    /// Whether it ignores TERM.
    pub ignores_term: bool,
    /// Whether it does not end by itself, although it should.
    pub hangs: bool,
    /// Whether a TERM is pending.
    pub told_to_end: bool,
    /// Whether it has the descriptor that holds the lock of its directory, or a copy of it.
    pub holds_lock: bool,
    /// Its descriptors of pipes.
    pub ends: Vec<End>,
}

/// The two ends of a gate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gate {
    /// Whether supervise has let the process through.
    pub passed: bool,
    /// Whether supervise's end is open.
    pub keeper: bool,
    /// Whether the process's end is open.
    pub process: bool,
    /// The reason why the process could not execute its program, until supervise reads it.
    pub refused: Option<i32>,
    /// Whether the process could not execute its program.
    pub has_failed: bool,
}

/// The files in `supervise/` of one directory, and the page that svscan keeps for its supervise in memory.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The text of `supervise/state`.
    pub state: Option<String>,
    /// The process in `supervise/status`.
    pub status: Option<i32>,
    /// The bytes in `supervise/control` that were not read yet.
    pub control: Vec<u8>,
    /// The supervise that reads `supervise/ok`. While there is one, the service counts as supervised.
    pub ok_reader: Option<i32>,
    /// The ends of processes for which svscan has waited: the process and its status.
    pub orphan: Vec<(Process, i32)>,
    /// The text of the page, if the page exists. It exists as long as a process has it open.
    pub page: Option<String>,
}

/// The kernel.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The time since boot.
    pub uptime: Duration,
    /// All processes except process 1.
    pub tasks: Vec<Task>,
    /// All gates, by their number.
    pub gates: Vec<Gate>,
    /// All pipes, by their number.
    pub pipes: Vec<Pipe>,
    /// The service directories.
    pub services: Vec<Service>,
    /// The files of each supervise.
    pub files: BTreeMap<Place, Files>,
    /// Whether the disk refuses writes.
    pub read_only: bool,
    /// Commands that were sent by signal and not read yet: the process and the command.
    pub told: Vec<(i32, u8)>,
    /// Whether everything written to `supervise/state` and to the page is lost. A test uses this to check that the
    /// world finds such a fault.
    pub forgets: bool,
    next_pid: i32,
    last_pid: i32,
    next_serial: u64,
}

impl Files {
    /// No files.
    const NONE: &Files =
        &Files { state: None, status: None, control: Vec::new(), ok_reader: None, orphan: Vec::new(), page: None };
}

impl Kernel {
    /// The kernel of a machine that has just been booted, with these service directories.
    pub fn new(services: Vec<Service>) -> Kernel {
        let files: BTreeMap<Place, Files> =
            services.iter().flat_map(Service::places).map(|place| (place, Files::default())).collect();
        let beside = services.iter().filter(|service| service.has_beside()).count();
        let last_pid = files.keys().fold(FIRST - 1 + NUMBERS[1], |last, _| last + NUMBERS[0]);
        let last_pid = last_pid + i32::try_from(beside).unwrap_or(0);
        Kernel {
            uptime: Duration::from_secs(100),
            tasks: Vec::with_capacity(8),
            gates: Vec::new(),
            pipes: Vec::new(),
            services,
            files,
            read_only: false,
            told: Vec::new(),
            forgets: false,
            next_pid: FIRST,
            last_pid,
            next_serial: 100,
        }
    }

    /// The service directory with this device and inode.
    pub fn service(&self, id: Id) -> Option<&Service> {
        self.services.iter().find(|service| service.id == id)
    }

    /// The service that a service comes after.
    pub fn earlier(&self, id: Id) -> Option<&Service> {
        let name = self.service(id)?.after?;
        self.services.iter().find(|service| service.name == name)
    }

    /// Whether the service has a logger.
    pub fn has_logger(&self, id: Id) -> bool {
        self.service(id).is_some_and(|service| service.has_logger)
    }

    /// The settings that the supervise of a directory reads.
    pub fn policy(&self, place: Place) -> Policy {
        let service = self.service(place.id).filter(|_| place.part == Part::Service);
        service.map_or_else(Policy::default, |service| service.policy.clone())
    }

    /// The name of a directory: the service's, or `NAME/log`.
    pub fn name(&self, place: Place) -> String {
        let name = self.service(place.id).map_or("", |service| service.name);
        match place.part {
            Part::Service => name.into(),
            Part::Logger => format!("{name}/log"),
        }
    }

    /// All directories in which a supervise can be in charge.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.files.keys().copied()
    }

    /// The files of the supervise of this directory.
    pub fn files(&self, place: Place) -> &Files {
        self.files.get(&place).unwrap_or(Files::NONE)
    }

    /// The files of the supervise of this directory, to be changed.
    pub fn files_mut(&mut self, place: Place) -> &mut Files {
        self.files.entry(place).or_default()
    }

    /// The current moment by both clocks.
    pub fn now(&self) -> Moment {
        Moment { uptime: Duration::ZERO, label: BOOTED }.after(self.uptime)
    }

    /// The process with this number, alive or a zombie.
    pub fn task(&self, pid: i32) -> Option<&Task> {
        self.tasks.iter().find(|task| task.pid == pid)
    }

    /// The process with this number, to be changed.
    pub fn task_mut(&mut self, pid: i32) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.pid == pid)
    }

    /// Whether the process with this number is alive.
    pub fn is_alive(&self, pid: i32) -> bool {
        self.task(pid).is_some_and(|task| task.state == State::Alive)
    }

    /// The process that has this number now, as [`Process::of`] returns it.
    pub fn identify(&self, pid: i32) -> Option<Process> {
        self.task(pid).map(|task| Process { pid: Pid::from_raw(pid), ticks: 0, serial: task.serial })
    }

    /// The process that was recorded, if it still exists, alive or as a zombie.
    pub fn find(&self, process: &Process) -> Option<&Task> {
        self.tasks.iter().find(|task| task.pid == process.pid.as_raw() && task.serial == process.serial)
    }

    /// Makes a process that works in this directory; `None` if there is no free number.
    pub fn fork(&mut self, parent: i32, kind: Kind, place: Option<Place>) -> Option<i32> {
        let free = |pid: &i32| self.task(*pid).is_none();
        let pid = (self.next_pid..=self.last_pid).chain(FIRST..=self.last_pid).find(free)?;
        self.next_pid = if pid == self.last_pid { FIRST } else { pid + 1 };
        self.next_serial += 1;
        // The child gets a copy of all descriptors, including that of the lock. A supervise has only what svscan gives it.
        let holds_lock = self.task(parent).is_some_and(|task| task.holds_lock);
        let ends = self.task(parent).filter(|_| kind != Kind::Supervise).map_or(Vec::new(), |task| task.ends.clone());
        self.tasks.push(Task {
            pid,
            serial: self.next_serial,
            parent,
            kind,
            place,
            state: State::Alive,
            stopped: false,
            ignores_term: false,
            hangs: false,
            told_to_end: false,
            holds_lock,
            ends,
        });
        Some(pid)
    }

    /// Makes a gate with both ends open.
    pub fn make_gate(&mut self) -> GateId {
        self.gates.push(Gate { keeper: true, process: true, ..Gate::default() });
        self.gates.len() - 1
    }

    /// Ends a process: its descriptors are closed, and its children get another parent. Each supervise leads a session, so that
    /// the kernel sends no HUP to a process group with a stopped process, whose parent has ended.
    pub fn end(&mut self, pid: i32, status: i32) {
        let heir = self.tasks.iter().find(|task| task.kind == Kind::Svscan && task.state == State::Alive);
        let heir = heir.map(|task| task.pid).filter(|heir| *heir != pid).unwrap_or(INIT);
        for task in self.tasks.iter_mut().filter(|task| task.parent == pid) {
            task.parent = heir;
        }
        let Some(task) = self.task_mut(pid) else { return };
        (task.state, task.holds_lock, task.stopped) = (State::Zombie(status), false, false);
        let (kind, ends) = (task.kind, std::mem::take(&mut task.ends));
        if let Kind::AtGate(_, gate) | Kind::BesideAtGate(_, gate) = kind {
            self.close_process_end(gate);
        }
        if kind != Kind::Svscan {
            ends.iter().filter(|end| end.writes).for_each(|end| self.pipe_has_changed(end.pipe));
        }
        self.told.retain(|(to, _)| *to != pid);
        for files in self.files.values_mut().filter(|files| files.ok_reader == Some(pid)) {
            files.ok_reader = None;
            // No process has the FIFO open any more, so its content is gone.
            files.control.clear();
        }
    }

    /// Closes the process's end of a gate, when the process executes its program or ends.
    pub fn close_process_end(&mut self, gate: GateId) {
        if let Some(gate) = self.gates.get_mut(gate) {
            gate.process = false;
        }
    }

    /// Closes supervise's end of a gate.
    pub fn close_keeper_end(&mut self, gate: GateId) {
        if let Some(gate) = self.gates.get_mut(gate) {
            gate.keeper = false;
        }
    }

    /// Makes a pipe, to which no process has a descriptor yet.
    pub fn make_pipe(&mut self) -> PipeId {
        self.pipes.push(Pipe::default());
        self.pipes.len() - 1
    }

    /// Gives a process a descriptor of a pipe, if it has none like it.
    pub fn open_end(&mut self, pid: i32, end: End) {
        if let Some(task) = self.task_mut(pid).filter(|task| !task.ends.contains(&end)) {
            task.ends.push(end);
        }
    }

    /// Closes a descriptor of a process.
    pub fn close_end(&mut self, pid: i32, end: End) {
        if let Some(task) = self.task_mut(pid) {
            task.ends.retain(|held| *held != end);
        }
    }

    /// The first descriptor of a pipe that this process has.
    pub fn end_of(&self, pid: i32) -> Option<End> {
        self.task(pid).and_then(|task| task.ends.first().copied())
    }

    /// Whether a process has a descriptor of the pipe.
    pub fn is_held(&self, pipe: PipeId) -> bool {
        self.tasks.iter().any(|task| task.ends.iter().any(|end| end.pipe == pipe))
    }

    /// Notes the time of something after which a logger may take the lines in the pipe.
    pub fn pipe_has_changed(&mut self, pipe: PipeId) {
        let now = self.uptime;
        if let Some(pipe) = self.pipes.get_mut(pipe) {
            pipe.changed = if pipe.lines.is_empty() { Duration::ZERO } else { now };
        }
    }

    /// Whether svscan has the pipe, or a process of the logger, as svscan's claim to the reading end shows.
    pub fn is_claimed(&self, pipe: PipeId) -> bool {
        self.tasks.iter().any(|task| task.ends.contains(&End { pipe, writes: false }))
    }

    /// Whether there are lines in the pipe.
    pub fn has_lines(&self, pipe: PipeId) -> bool {
        self.pipes.get(pipe).is_some_and(|pipe| !pipe.lines.is_empty())
    }

    /// Whether the pipe is empty and no process can write to it, so that reading finds its end.
    pub fn is_at_end(&self, pipe: PipeId) -> bool {
        !self.has_lines(pipe) && !self.tasks.iter().any(|task| task.ends.contains(&End { pipe, writes: true }))
    }

    /// Sends a signal. It has no effect on a process that has ended.
    pub fn signal(&mut self, pid: i32, signal: Signal) {
        let Some(task) = self.task_mut(pid).filter(|task| task.state == State::Alive) else { return };
        match signal {
            Signal::SIGKILL => self.end(pid, Signal::SIGKILL as i32),
            Signal::SIGSTOP => task.stopped = true,
            Signal::SIGCONT => task.stopped = false,
            // A child at its gate, or a program, ends because of TERM unless it ignores it. That is a step of its own.
            Signal::SIGTERM => task.told_to_end = true,
            _ => {}
        }
    }

    /// A child of `parent` that has ended, other than `but`.
    pub fn ended_child(&self, parent: i32, but: Option<i32>) -> Option<(i32, i32)> {
        let of = |task: &Task| match task.state {
            State::Zombie(status) if task.parent == parent && Some(task.pid) != but => Some((task.pid, status)),
            State::Zombie(_) | State::Alive => None,
        };
        self.tasks.iter().find_map(of)
    }

    /// Waits for a child that has ended, which frees its number.
    pub fn wait_for(&mut self, pid: i32) {
        self.tasks.retain(|task| task.pid != pid || task.state == State::Alive);
    }

    /// The processes that hold the lock of this directory.
    pub fn lock_holders(&self, place: Place) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(move |task| task.holds_lock && task.place == Some(place))
    }

    /// The content of `supervise/state`, as its readers parse it.
    pub fn read_state(&self, place: Place) -> Option<Record> {
        self.files(place).state.as_deref().map(Record::decode)
    }

    /// What the last supervise of this directory has recorded, on its page or else in `supervise/state`.
    pub fn read_record(&self, place: Place) -> Option<Record> {
        self.read_page(place).or_else(|| self.read_state(place))
    }

    /// The content of the page, as its readers parse it.
    pub fn read_page(&self, place: Place) -> Option<Record> {
        self.files(place).page.as_deref().filter(|text| !text.is_empty()).map(Record::decode)
    }
}
