//! svscan in the world: its table and its orphans, unchanged, and what performs the table's actions, one system call at
//! a time. There is one service, without a logger. Told to stop everything, it has the supervise stop the service and end, and
//! ends itself once nothing is left.

use crate::kernel::{Kernel, Kind, State};
use daemontools::service::{OrphanEnd, Process, Record};
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::time::{Duration, Instant};
use svscan::leftover::{Death, Facts, Left, Wanted, leftover};
use svscan::orphans::Orphans;
use svscan::table::{Action, Contents, Id, Part, SuperviseId, Table};

const SERVICE: Id = Id { device: 1, inode: 1 };
const MAIN: SuperviseId = SuperviseId { id: SERVICE, part: Part::Service };
/// The service's entry in the scan directory.
const NAME: &str = "web";
/// The commands by which a supervise stops its service and ends.
const END: &[u8] = b"dx";
/// How soon svscan tries again to tell a supervise that does not listen yet.
const AGAIN: Duration = Duration::from_millis(20);
/// How many supervises are started before svscan looks at other things.
const BATCH: usize = 16;

/// A system call that svscan is about to make, with the decisions before it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    Scan,
    Inspect(Id),
    Close,
    TellOwed,
    Reap,
    ReapHeld,
    Starts,
    Start(SuperviseId),
    WaitFor(i32),
    SeeWhetherOver,
    Exit,
}

/// Which process is in charge of the service.
enum InCharge {
    Nobody,
    Supervise(Process),
}

/// A svscan.
#[derive(Debug, Clone)]
pub struct Svscan {
    /// The number of its process.
    pub pid: i32,
    table: Table,
    orphans: Orphans,
    calls: VecDeque<Call>,
    /// Supervises that are not its children, by descriptors that tell of their end.
    held: Vec<Process>,
    /// TERM has come, and was not taken in yet.
    pub told_to_stop: bool,
    /// The supervise that is still to be told to stop its service and end.
    owed: Option<i32>,
    /// When it is tried again to tell it, in time since boot.
    again: Option<Duration>,
    /// The moment of boot.
    epoch: Instant,
}

impl Svscan {
    /// A svscan that has just been started. `epoch` is when the world was booted.
    pub fn new(pid: i32, epoch: Instant) -> Svscan {
        Svscan {
            pid,
            table: Table::default(),
            orphans: Orphans::default(),
            calls: [Call::Scan].into(),
            held: Vec::new(),
            told_to_stop: false,
            owed: None,
            again: None,
            epoch,
        }
    }

    fn now(&self, kernel: &Kernel) -> Instant {
        self.epoch + kernel.uptime
    }

    /// When it wakes by itself, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        let table = self.table.deadline().map(|deadline| deadline.duration_since(self.epoch));
        table.into_iter().chain(self.again).min()
    }

    /// Whether it has something to do.
    pub fn is_ready(&self, kernel: &Kernel) -> bool {
        !self.calls.is_empty()
            || self.told_to_stop
            || kernel.ended_child(self.pid, None).is_some()
            || self.held.iter().any(|held| has_ended(kernel, held))
            || self.deadline().is_some_and(|deadline| deadline <= kernel.uptime)
    }

    /// Whether the call that comes next is one that the system may refuse, and svscan must live with it.
    pub fn may_fail(&self) -> bool {
        matches!(self.calls.front(), Some(Call::Start(_)))
    }

    /// What it is about to do, in words.
    pub fn next(&self) -> String {
        self.calls.front().map_or_else(|| "wakes".into(), |call| format!("{call:?}"))
    }

    /// Makes the next call, which fails if it is to and can. Returns the number of a supervise that it has started.
    pub fn step(&mut self, kernel: &mut Kernel, fails: bool) -> Option<i32> {
        let Some(call) = self.calls.pop_front() else {
            if std::mem::take(&mut self.told_to_stop) {
                self.calls.push_back(Call::Close);
            }
            self.calls.extend([Call::Reap, Call::ReapHeld, Call::Starts, Call::TellOwed, Call::SeeWhetherOver]);
            return None;
        };
        let now = self.now(kernel);
        match call {
            Call::Scan => {
                let mut todo = Vec::new();
                self.table.begin_scan();
                self.table.seen(OsStr::new(NAME), SERVICE);
                self.table.end_scan();
                self.table.settle(None, now, &mut todo);
                self.perform(todo);
            }
            Call::Close => {
                let mut todo = Vec::new();
                self.table.close(now, &mut todo);
                self.perform(todo);
            }
            Call::TellOwed => self.tell_owed(kernel),
            Call::SeeWhetherOver => {
                if self.table.is_closed() {
                    self.calls.push_back(Call::Exit);
                }
            }
            Call::Exit => kernel.end(self.pid, 0),
            Call::Inspect(id) => {
                let record = kernel.read_page().or_else(|| kernel.read_state());
                let process = record.and_then(|record| record.process);
                let running = process.is_some_and(|(_, process)| kernel.find(&process).is_some());
                let contents = Contents { running, ..Contents::default() };
                let mut todo = Vec::new();
                self.table.inspected(id, &contents, now, &mut todo);
                self.perform(todo);
            }
            Call::Reap => self.reap(kernel, now),
            Call::ReapHeld => self.reap_held(kernel, now),
            Call::Starts => {
                let starts = self.table.starts(now, BATCH);
                starts.into_iter().rev().for_each(|which| self.calls.push_front(Call::Start(which)));
            }
            Call::Start(which) => return self.start(kernel, which, now, fails),
            Call::WaitFor(pid) => kernel.wait_for(pid),
        }
        None
    }

    fn perform(&mut self, todo: Vec<Action>) {
        for action in todo {
            match action {
                Action::Inspect(id) => self.calls.push_back(Call::Inspect(id)),
                Action::End(which) => self.owed = self.table.pid(which).map(Pid::as_raw),
                Action::Drain(_)
                | Action::EndInput(_)
                | Action::Hold(_)
                | Action::LetGo(_)
                | Action::GoOn(_)
                | Action::Forget(_)
                | Action::WatchReady(_)
                | Action::Say(..) => {}
            }
        }
    }

    /// Tells the supervise that is to end: by signal, if it has written its page, otherwise through its FIFO, once it is in
    /// charge.
    fn tell_owed(&mut self, kernel: &mut Kernel) {
        let Some(pid) = self.owed else { return };
        let has_page = kernel.read_page().is_some_and(|page| page.supervise.pid.as_raw() == pid);
        if has_page {
            kernel.told.extend(END.iter().map(|byte| (pid, *byte)));
        } else if kernel.files.ok_reader == Some(pid) {
            kernel.files.control.extend(END);
        }
        let is_told = has_page || kernel.files.ok_reader == Some(pid) || !kernel.is_alive(pid);
        (self.owed, self.again) = if is_told { (None, None) } else { (Some(pid), Some(kernel.uptime + AGAIN)) };
    }

    fn reap(&mut self, kernel: &mut Kernel, now: Instant) {
        let Some((pid, status)) = kernel.ended_child(self.pid, None) else { return };
        self.calls.push_front(Call::Reap);
        self.calls.push_front(Call::WaitFor(pid));
        if self.supervise_ended(kernel, pid, status, now) {
            return;
        }
        let Some(process) = kernel.identify(pid) else { return };
        if self.orphans.ended(OrphanEnd { process, status }).is_some() {
            write_end(kernel, OrphanEnd { process, status });
        }
    }

    fn reap_held(&mut self, kernel: &mut Kernel, now: Instant) {
        let (ended, held) = self.held.iter().partition(|held| has_ended(kernel, held));
        self.held = held;
        let ended: Vec<Process> = ended;
        for process in ended {
            self.supervise_ended(kernel, process.pid.as_raw(), nix::sys::signal::Signal::SIGKILL as i32, now);
        }
    }

    /// Whether it was a supervise that has ended.
    fn supervise_ended(&mut self, kernel: &mut Kernel, pid: i32, status: i32, now: Instant) -> bool {
        let pid = Pid::from_raw(pid);
        if self.table.supervise_of(pid).is_none() {
            return false;
        }
        let wanted = if self.table.is_stopping(SERVICE) { Wanted::Stopped } else { Wanted::Present };
        let left = leftover(Death::of(status), wanted, &mut Asked { kernel, pid: pid.as_raw() });
        let mut todo = Vec::new();
        self.table.died(pid, left, now, &mut todo);
        self.perform(todo);
        true
    }

    fn start(&mut self, kernel: &mut Kernel, which: SuperviseId, now: Instant, fails: bool) -> Option<i32> {
        let mut todo = Vec::new();
        if let InCharge::Supervise(process) = in_charge(kernel) {
            self.held.push(process);
            self.table.started(which, process.pid, now, &mut todo);
            self.perform(todo);
            return None;
        }
        if self.table.is_stopping(which.id) && !has_left(kernel) {
            self.table.not_needed(which, now, &mut todo);
            self.perform(todo);
            return None;
        }
        self.write_ends(kernel);
        let child = if fails { None } else { kernel.fork(self.pid, Kind::Supervise) };
        let Some(pid) = child else {
            self.table.not_started(which, now);
            return None;
        };
        kernel.files.page.get_or_insert_default();
        self.table.started(which, Pid::from_raw(pid), now, &mut todo);
        self.perform(todo);
        Some(pid)
    }

    /// Writes down how processes have ended that the next supervise will ask for, before it does.
    fn write_ends(&mut self, kernel: &mut Kernel) {
        let record = kernel.read_page().or_else(|| kernel.read_state());
        let process = record.and_then(|record| record.process).map(|(_, process)| process);
        let end = process.and_then(|process| self.orphans.left_behind(process, MAIN));
        end.into_iter().for_each(|end| write_end(kernel, end));
    }
}

/// What there is to be known of a supervise that has ended.
struct Asked<'a> {
    kernel: &'a Kernel,
    pid: i32,
}

impl Facts for Asked<'_> {
    fn has_lines(&mut self) -> bool {
        false
    }

    fn leaves_lines(&mut self) -> bool {
        false
    }

    fn was_told(&mut self) -> bool {
        let record = self.kernel.read_page().or_else(|| self.kernel.read_state());
        record.is_some_and(|record| {
            record.supervise.pid.as_raw() == self.pid && record.leaving && record.process.is_none()
        })
    }

    fn is_served(&mut self) -> bool {
        match self.kernel.read_page() {
            Some(page) if page.supervise.pid.as_raw() == self.pid => false,
            _ => matches!(in_charge(self.kernel), InCharge::Supervise(_)),
        }
    }

    fn left(&mut self) -> Left {
        if has_left(self.kernel) { Left::Process } else { Left::Nothing }
    }

    fn still_waits(&mut self) -> bool {
        false
    }
}

/// Whether the process that was written down last is still there.
fn has_left(kernel: &Kernel) -> bool {
    let record = kernel.read_page().or_else(|| kernel.read_state());
    record.and_then(|record| record.process).is_some_and(|(_, process)| kernel.find(&process).is_some())
}

fn has_ended(kernel: &Kernel, process: &Process) -> bool {
    kernel.find(process).is_none_or(|task| task.state != State::Alive)
}

/// Whose the service is: of a supervise that has written the page, or of one that shows that it is in charge.
fn in_charge(kernel: &Kernel) -> InCharge {
    let is_running = |process: &Process| !has_ended(kernel, process);
    let of = |record: Option<Record>| record.map(|record| record.supervise).filter(is_running);
    if let Some(process) = of(kernel.read_page()) {
        return InCharge::Supervise(process);
    }
    let Some(reader) = kernel.files.ok_reader else { return InCharge::Nobody };
    match of(kernel.read_state()).or_else(|| kernel.identify(reader)) {
        Some(process) => InCharge::Supervise(process),
        None => InCharge::Nobody,
    }
}

/// Writes down how a process ended: newest first, of two at most.
fn write_end(kernel: &mut Kernel, end: OrphanEnd) {
    if !kernel.files.read_only {
        kernel.files.orphan.insert(0, (end.process, end.status));
        kernel.files.orphan.truncate(2);
    }
}
