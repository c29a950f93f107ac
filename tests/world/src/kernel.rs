//! What a kernel provides for the programs, as plain values: processes, service directories with the files of their
//! supervises, pipes, and the clock.
//!
//! Process numbers come from a range of eight, or twelve for two supervises, so that they are reused soon. A process that has ended stays a zombie
//! until its parent has waited for it. A process whose parent ends becomes a child of svscan, which is a subreaper, or
//! of process 1.

use daemontools::service::policy::Policy;
use daemontools::service::{Beside, Directory, Part, Process, Record, Role};
use daemontools::sys::boot::Boot;
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
/// The serial number before that of the first process.
const FIRST_SERIAL: u64 = 100;
/// How many numbers there are for each supervise and its processes, and how many for svscan and strangers.
const NUMBERS: [i32; 2] = [4, 4];
/// Lines that no logger has taken for this time may be given up.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The label of the wall clock at the first boot, in 2026.
const BOOTED: Tai64N = Tai64N(Tai64(0x4000_0000_6a00_0000), 0);
/// The time since boot when the machine begins.
const BEGUN: Duration = Duration::from_secs(100);
/// The time between two boots.
const BETWEEN_BOOTS: Duration = Duration::from_secs(1_000_000);
/// The inode number of the directory of a logger is that of its service's and this number.
const OF_LOGGER: u64 = 1000;

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
    /// The account that owns `supervise/`, if it is neither root nor that of supervise.
    pub owner: Option<u32>,
}

impl Debug for Service {
    fn fmt(&self, to: &mut Formatter) -> fmt::Result {
        write!(to, "{}", self.name)
    }
}

impl Service {
    /// The service directory with this inode.
    pub fn new(name: &'static str, inode: u64, policy: Policy) -> Service {
        Service { name, id: Id { device: 1, inode }, policy, has_logger: false, after: None, owner: None }
    }

    /// The same with a logger.
    pub fn logged(self) -> Service {
        Service { has_logger: true, ..self }
    }

    /// The same, to be started after the service of this name.
    pub fn after(self, name: &'static str) -> Service {
        Service { after: Some(name), ..self }
    }

    /// The same, whose `supervise/` belongs to this account.
    pub fn owned_by(self, account: u32) -> Service {
        Service { owner: Some(account), ..self }
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
    /// The file that holds the lock of its directory, if it has a descriptor of it, or a copy of that.
    pub lock: Option<u32>,
    /// When its supervise decided to tell it to end, in time in which the machine was not suspended.
    pub told_at: Option<Duration>,
    /// Whether its supervise cannot know how much time it had: a part of it was lost that no supervise slept through.
    pub has_lost_time: bool,
    /// Its descriptors of pipes.
    pub ends: Vec<End>,
    /// The file that holds the lock of the scan directory, if it has locked that.
    pub scan_lock: Option<u32>,
}

/// `.svscan/lock`, the lock of the scan directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanLock {
    /// Which file it is.
    pub file: u32,
    /// Whether other accounts can open it.
    pub is_exposed: bool,
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

/// A byte that was written into `supervise/control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The byte.
    pub byte: u8,
    /// The part of the service that it was written for.
    pub part: Part,
}

impl Written {
    /// A byte for the service itself.
    pub fn for_service(byte: u8) -> Written {
        Written { byte, part: Part::Service }
    }
}

/// What others do to the files in `supervise/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meddling {
    /// They remove the whole directory.
    Remove,
    /// They put another FIFO in the place of `supervise/control`.
    ReplaceControl,
    /// They remove `supervise/ok`.
    RemoveOk,
    /// They remove `supervise/lock`.
    RemoveLock,
    /// They remove `supervise/status` and `supervise/state`.
    RemoveStatus,
}

impl Meddling {
    /// All of it.
    pub const ALL: [Meddling; 5] =
        [Meddling::Remove, Meddling::ReplaceControl, Meddling::RemoveOk, Meddling::RemoveLock, Meddling::RemoveStatus];
}

/// The files in `supervise/` of one directory, and the page that svscan keeps for its supervise in memory.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The text of `supervise/state`.
    pub state: Option<String>,
    /// The process in `supervise/status`.
    pub status: Option<i32>,
    /// Whether there is a `supervise/status`.
    pub has_status: bool,
    /// The file that is `supervise/lock` now.
    pub lock: u32,
    /// Whether `supervise/` itself was removed.
    pub is_removed: bool,
    /// What was written into `supervise/control` and was not read yet.
    pub control: Vec<Written>,
    /// The same in the FIFO that was `supervise/control` when its supervise opened it, and was removed or replaced since.
    pub former: Vec<Written>,
    /// The supervise that reads `supervise/control`.
    pub control_reader: Option<i32>,
    /// The supervise that reads `supervise/ok`. While there is one, the service counts as supervised.
    pub ok_reader: Option<i32>,
    /// Whether others have changed the files since their supervise has looked at them.
    pub is_touched: bool,
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
    /// How much of it the machine was suspended.
    pub suspended: Duration,
    /// How often the machine was booted.
    pub boots: u32,
    /// Whether `/proc` is away.
    pub hides_proc: bool,
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
    /// The lock of the scan directory.
    pub scan_lock: ScanLock,
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
    const NONE: &Files = &Files {
        state: None,
        status: None,
        has_status: false,
        lock: 0,
        is_removed: false,
        control: Vec::new(),
        former: Vec::new(),
        control_reader: None,
        ok_reader: None,
        is_touched: false,
        orphan: Vec::new(),
        page: None,
    };
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
            uptime: BEGUN,
            suspended: Duration::ZERO,
            boots: 1,
            hides_proc: false,
            tasks: Vec::with_capacity(8),
            gates: Vec::new(),
            pipes: Vec::new(),
            services,
            files,
            read_only: false,
            scan_lock: ScanLock::default(),
            told: Vec::new(),
            forgets: false,
            next_pid: FIRST,
            last_pid,
            next_serial: FIRST_SERIAL,
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
        let since_first = Moment { uptime: Duration::ZERO, label: BOOTED }.after(BETWEEN_BOOTS * (self.boots - 1));
        Moment { uptime: Duration::ZERO, label: since_first.label }.after(self.uptime)
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
        let lock = self.task(parent).and_then(|task| task.lock);
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
            lock,
            told_at: None,
            has_lost_time: false,
            ends,
            scan_lock: None,
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
        (task.state, task.lock, task.scan_lock, task.stopped) = (State::Zombie(status), None, None, false);
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
        }
        for files in self.files.values_mut().filter(|files| files.control_reader == Some(pid)) {
            files.control_reader = None;
            // No process has the FIFO open any more, so its content is gone.
            files.control.clear();
        }
        let place = self.task(pid).filter(|_| kind == Kind::Supervise).and_then(|task| task.place);
        place.and_then(|place| self.files.get_mut(&place)).into_iter().for_each(|files| files.former.clear());
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

    /// The time in which programs could run since the first boot.
    pub fn time_to_run(&self) -> Duration {
        self.uptime.saturating_sub(self.suspended)
    }

    /// The facts about this boot that a process can find out now.
    pub fn boot(&self) -> Boot {
        let boots = self.boots;
        Boot::from_words(&match self.hides_proc {
            true => format!("- {boots} - {boots}"),
            false => format!("boot{boots} {boots} {boots} {boots}"),
        })
    }

    /// The identity of a service directory, or of that of its logger.
    pub fn directory(&self, place: Place) -> Directory {
        let Id { device, inode } = place.id;
        let inode = if place.part == Part::Logger { inode + OF_LOGGER } else { inode };
        Directory::Inode { device, inode, born: 0 }
    }

    /// The account that owns `supervise/`, if it is neither root nor that of supervise.
    pub fn owner(&self, place: Place) -> Option<u32> {
        self.service(place.id)?.owner
    }

    /// Writes to `supervise/control`, if a supervise reads it.
    pub fn write_control(&mut self, place: Place, bytes: impl IntoIterator<Item = Written>) {
        let files = self.files_mut(place);
        if files.control_reader.is_some() {
            files.control.extend(bytes);
        }
    }

    /// Does something to the files of a supervise.
    pub fn meddle(&mut self, place: Place, what: Meddling) {
        let files = self.files_mut(place);
        files.is_touched = true;
        if what == Meddling::Remove {
            files.is_removed = true;
            files.orphan.clear();
        }
        if matches!(what, Meddling::Remove | Meddling::ReplaceControl) {
            let unread = std::mem::take(&mut files.control);
            files.former.extend(unread);
            files.control_reader = None;
        }
        if matches!(what, Meddling::Remove | Meddling::RemoveOk) {
            files.ok_reader = None;
        }
        if matches!(what, Meddling::Remove | Meddling::RemoveLock) {
            files.lock += 1;
        }
        if matches!(what, Meddling::Remove | Meddling::RemoveStatus) {
            (files.status, files.has_status, files.state) = (None, false, None);
        }
    }

    /// Boots the machine: all processes are gone, and all that was only in memory. Numbers are given anew.
    pub fn reboot(&mut self) {
        self.tasks.clear();
        self.told.clear();
        self.pipes.iter_mut().for_each(|pipe| *pipe = Pipe::default());
        for files in self.files.values_mut() {
            let Files { state, status, has_status, lock, is_removed, orphan, .. } = std::mem::take(files);
            *files = Files { state, status, has_status, lock, is_removed, orphan, ..Files::default() };
        }
        (self.read_only, self.hides_proc, self.boots) = (false, false, self.boots + 1);
        (self.uptime, self.suspended) = (BEGUN, Duration::ZERO);
        (self.next_pid, self.next_serial) = (FIRST, FIRST_SERIAL);
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

    /// The process that holds the lock of the scan directory.
    pub fn scan_lock_holder(&self) -> Option<&Task> {
        self.tasks.iter().find(|task| task.scan_lock == Some(self.scan_lock.file))
    }

    /// The processes that hold the lock of this directory.
    pub fn lock_holders(&self, place: Place) -> impl Iterator<Item = &Task> {
        let lock = self.files(place).lock;
        self.tasks.iter().filter(move |task| task.lock == Some(lock) && task.place == Some(place))
    }

    /// The content of `supervise/state`, as its readers parse it.
    pub fn read_state(&self, place: Place) -> Option<Record> {
        self.files(place).state.as_deref().map(Record::decode)
    }

    /// The same, as svscan believes it: only in the directory and the boot that it names. If another account could have forged
    /// it, svscan believes nothing of processes that have no tag.
    fn read_proven_state(&self, place: Place) -> Option<Record> {
        let is_here = |record: &Record| {
            let here = record.directory.as_ref().is_none_or(|named| named.is_same_as(&self.directory(place)));
            here && record.boot.is_same(&self.boot()) != Some(false)
        };
        let record = self.read_state(place).filter(is_here)?;
        if self.owner(place).is_none() {
            return Some(record);
        }
        let is_its_supervise = |process: &Process| {
            self.find(process).is_none_or(|task| task.kind == Kind::Supervise && task.place == Some(place))
        };
        Some(Record {
            supervise: Some(record.supervise).filter(is_its_supervise).unwrap_or(Process::NONE),
            process: record.process.filter(|(_, process)| self.is_tagged(process, place)),
            beside: record.beside.filter(|(_, process)| self.is_tagged(process, place)),
            ..record
        })
    }

    /// Whether a process has the tag that a supervise gives to the processes of its service.
    pub fn is_tagged(&self, process: &Process, place: Place) -> bool {
        let is_service = |task: &Task| match task.kind {
            Kind::Program(_) | Kind::Beside(_) | Kind::AtGate(..) | Kind::BesideAtGate(..) => true,
            Kind::Svscan | Kind::Supervise | Kind::Stranger => false,
        };
        self.find(process).is_some_and(|task| task.place == Some(place) && is_service(task))
    }

    /// What the last supervise of this directory has recorded, on its page or else in `supervise/state`.
    pub fn read_record(&self, place: Place) -> Option<Record> {
        self.read_page(place).or_else(|| self.read_proven_state(place))
    }

    /// The content of the page, as its readers parse it.
    pub fn read_page(&self, place: Place) -> Option<Record> {
        self.files(place).page.as_deref().filter(|text| !text.is_empty()).map(Record::decode)
    }
}
