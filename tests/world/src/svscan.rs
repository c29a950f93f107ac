//! svscan in the world: its table and its orphans, unchanged, and the code that performs the table's actions, one
//! system call at a time. When svscan is told to stop everything, it tells each supervise to stop its service and to
//! exit, and ends itself once no process is left.

use crate::kernel::{End, Kernel, Kind, PipeId, Place, ScanLock, State, Written};
use crate::supervise::StartReason;
use daemontools::service::{Command, OrphanEnd, Part, Process, Record};
use nix::errno::Errno;
use nix::unistd::Pid;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::time::{Duration, Instant};
use svscan::in_charge::InCharge;
use svscan::leftover::{EndFacts, ExitKind, RemainingProcess, Wanted, leftover};
use svscan::lock_step::{Attempt, LockStep, lock_step};
use svscan::orphans::Orphans;
use svscan::readiness;
use svscan::start::{Start, StartFacts, start};
use svscan::stopping::{PendingCommands, Pipes, Stopping, leaves_lines};
use svscan::table::{Action, Contents, Id, Message, Readiness, Table};

/// How many supervises are started before svscan does something else.
const BATCH: usize = 16;

/// A system call that svscan is about to make, with the decisions before it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    FindSurvivors,
    Scan,
    Inspect(Id),
    Look(Id),
    Close,
    TellToStop,
    Reap,
    ReapHeld,
    Starts,
    Start(Place),
    WaitFor(i32),
    SeeWhetherOver,
    Exit,
}

/// A supervise that svscan has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// The number of its process.
    pub pid: i32,
    /// The directory that it is for.
    pub place: Place,
    /// What svscan has started it for.
    pub reason: StartReason,
}

/// A svscan.
#[derive(Debug, Clone)]
pub struct Svscan {
    /// The number of its process.
    pub pid: i32,
    table: Table,
    orphans: Orphans,
    calls: VecDeque<Call>,
    /// The supervises of earlier svscans that ran when this svscan began.
    survivors: Vec<(Place, Process)>,
    /// Supervises that are not its children. It has descriptors that report their end.
    held: Vec<Process>,
    /// Whether a TERM is pending.
    pub told_to_stop: bool,
    stopping: Stopping,
    /// The descriptors that svscan has of the pipe of each service with a logger: it can always read.
    pipes: BTreeMap<Id, End>,
    /// The services whose readiness is waited for, and what svscan has seen of it last.
    watched: BTreeMap<Id, Option<Readiness>>,
    /// The moment of boot.
    epoch: Instant,
}

impl Svscan {
    /// A svscan that has just been started. `epoch` is the moment of boot.
    pub fn new(pid: i32, epoch: Instant) -> Svscan {
        Svscan {
            pid,
            table: Table::default(),
            orphans: Orphans::default(),
            calls: [Call::FindSurvivors, Call::Scan].into(),
            survivors: Vec::new(),
            held: Vec::new(),
            told_to_stop: false,
            stopping: Stopping::default(),
            pipes: BTreeMap::new(),
            watched: BTreeMap::new(),
            epoch,
        }
    }

    fn now(&self, kernel: &Kernel) -> Instant {
        self.epoch + kernel.uptime
    }

    /// The pipe that svscan has for a service.
    pub fn pipe(&self, id: Id) -> Option<PipeId> {
        self.pipes.get(&id).map(|end| end.pipe)
    }

    /// When svscan wakes without an event, as time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        let deadlines = self.table.deadline().into_iter().chain(self.stopping.deadline());
        deadlines.min().map(|deadline| deadline.duration_since(self.epoch))
    }

    /// Whether svscan has something to do.
    pub fn is_ready(&self, kernel: &Kernel) -> bool {
        if self.calls.front() == Some(&Call::FindSurvivors) {
            return self.lock_step(kernel) != LockStep::Wait;
        }
        !self.calls.is_empty()
            || self.told_to_stop
            || kernel.ended_child(self.pid, None).is_some()
            || self.watched.iter().any(|(id, seen)| self.has_new_state(kernel, *id, *seen))
            || self.held.iter().any(|held| has_ended(kernel, held))
            || self.deadline().is_some_and(|deadline| deadline <= kernel.uptime)
    }

    /// Whether the system may refuse the next call, in a way that svscan must handle.
    pub fn may_fail(&self) -> bool {
        matches!(self.calls.front(), Some(Call::Start(_)))
    }

    /// Whether the next call neither changes nor sees anything outside of this svscan.
    pub fn is_next_internal(&self) -> bool {
        match self.calls.front() {
            // The scan directory never changes.
            Some(Call::Scan | Call::Starts | Call::SeeWhetherOver) => true,
            Some(Call::ReapHeld) => self.held.is_empty(),
            Some(
                Call::FindSurvivors
                | Call::Inspect(_)
                | Call::Look(_)
                | Call::Close
                | Call::TellToStop
                | Call::Reap
                | Call::Start(_)
                | Call::WaitFor(_)
                | Call::Exit,
            )
            | None => false,
        }
    }

    /// The next call in words.
    pub fn next(&self) -> String {
        self.calls.front().map_or_else(|| "wakes".into(), |call| format!("{call:?}"))
    }

    /// Makes the next call. It fails if `fails` is true and the system may refuse it. Returns a supervise that was
    /// started.
    pub fn step(&mut self, kernel: &mut Kernel, fails: bool) -> Option<Started> {
        let Some(call) = self.calls.pop_front() else {
            if std::mem::take(&mut self.told_to_stop) {
                self.calls.push_back(Call::Close);
            }
            let news = self.watched.iter().filter(|(id, seen)| self.has_new_state(kernel, **id, **seen));
            self.calls.extend(news.map(|(id, _)| Call::Look(*id)).collect::<Vec<_>>());
            self.calls.extend([Call::Reap, Call::ReapHeld, Call::Starts, Call::TellToStop, Call::SeeWhetherOver]);
            return None;
        };
        let now = self.now(kernel);
        match call {
            Call::FindSurvivors => {
                if !self.lock(kernel) {
                    self.calls.push_front(Call::FindSurvivors);
                    return None;
                }
                let supervises = kernel.tasks.iter().filter(|task| task.kind == Kind::Supervise);
                let alive = supervises.filter(|task| task.state == State::Alive);
                self.survivors = alive.filter_map(|task| Some((task.place?, kernel.identify(task.pid)?))).collect();
            }
            Call::Scan => {
                let mut todo = Vec::new();
                self.table.begin_scan();
                for service in &kernel.services {
                    self.table.entry_seen(OsStr::new(service.name), service.id);
                }
                self.table.end_scan();
                self.table.settle(None, now, &mut todo);
                self.perform(kernel, todo, now);
            }
            Call::Close => {
                let mut todo = Vec::new();
                self.table.stop_all(now, &mut todo);
                self.perform(kernel, todo, now);
            }
            Call::TellToStop => self.tell_to_stop(kernel, now),
            Call::SeeWhetherOver => {
                if self.table.has_stopped_all() {
                    self.calls.push_back(Call::Exit);
                }
            }
            Call::Exit => kernel.end(self.pid, 0),
            Call::Inspect(id) => {
                let record = kernel.read_record(Place { id, part: Part::Service });
                let process = record.and_then(|record| record.process);
                let running = process.is_some_and(|(_, process)| kernel.find(&process).is_some());
                let is_supervised = kernel.files(Place { id, part: Part::Service }).ok_reader.is_some();
                let running = running || is_supervised;
                let logger = kernel.has_logger(id);
                let after = kernel.service(id).and_then(|service| service.after).map(Into::into).into_iter().collect();
                let contents = Contents { running, logger, after };
                let mut todo = Vec::new();
                self.table.inspected(id, &contents, now, &mut todo);
                self.perform(kernel, todo, now);
            }
            Call::Look(id) => self.look(kernel, id, now),
            Call::Reap => self.reap(kernel, now),
            Call::ReapHeld => self.reap_held(kernel, now),
            Call::Starts => {
                let starts = self.table.starts(now, BATCH);
                starts.into_iter().rev().for_each(|place| self.calls.push_front(Call::Start(place)));
            }
            Call::Start(place) => return self.start(kernel, place, now, fails),
            Call::WaitFor(pid) => kernel.wait_for(pid),
        }
        None
    }

    /// What svscan does about the lock of its directory, as it is now.
    fn lock_step(&self, kernel: &Kernel) -> LockStep {
        let holder = kernel.scan_lock_holder();
        let attempt = if holder.is_some() { Attempt::Held } else { Attempt::Locked };
        let is_ours = || holder.is_some_and(|task| task.kind != Kind::Stranger);
        lock_step(attempt, kernel.scan_lock.is_exposed, is_ours)
    }

    /// Locks the directory. Returns whether svscan goes on to serve it.
    fn lock(&mut self, kernel: &mut Kernel) -> bool {
        match self.lock_step(kernel) {
            LockStep::Wait => return false,
            LockStep::Replace if !kernel.read_only => {
                kernel.scan_lock = ScanLock { file: kernel.scan_lock.file + 1, is_exposed: false };
            }
            LockStep::Replace | LockStep::ServeUnlocked => {}
            LockStep::Serve => {}
        }
        let file = kernel.scan_lock.file;
        let is_free = kernel.scan_lock_holder().is_none();
        kernel.task_mut(self.pid).into_iter().filter(|_| is_free).for_each(|task| task.scan_lock = Some(file));
        true
    }

    fn perform(&mut self, kernel: &mut Kernel, todo: Vec<Action>, now: Instant) {
        for action in todo {
            match action {
                Action::Inspect(id) => self.calls.push_back(Call::Inspect(id)),
                Action::EndSupervise(place) => {
                    self.table.pid(place).into_iter().for_each(|pid| self.stopping.end_supervise((place, pid), now));
                }
                Action::DrainLogger(id) => self.drain(kernel, id, now),
                Action::ReleaseDirectory(id) | Action::ForgetStop(id) => self.stopping.has_come_back(id),
                Action::Forget(id) => {
                    self.close_pipe(kernel, id);
                    self.watched.remove(&id);
                    self.stopping.forget(id);
                    self.orphans.forget(id);
                }
                Action::Say(id, Message::Down(_) | Message::Gone(_)) => {
                    self.close_pipe(kernel, id);
                }
                Action::WatchReady(id) => drop(self.watched.insert(id, None)),
                Action::EndInput(_) | Action::HoldDirectory(_) | Action::Say(..) => {}
            }
        }
    }

    /// How far a watched service is, by what its supervise has written; `None` if there is none.
    fn readiness(&self, kernel: &Kernel, id: Id) -> Option<Readiness> {
        let place = Place { id, part: Part::Service };
        let supervise = kernel.identify(self.table.pid(place)?.as_raw())?;
        Some(readiness::of(None, kernel.read_record(place).as_ref(), &supervise))
    }

    /// Whether the kernel has reported a new state of a watched service. The world's kernel reports only those that say
    /// another thing of the readiness.
    fn has_new_state(&self, kernel: &Kernel, id: Id, seen: Option<Readiness>) -> bool {
        let readiness = self.readiness(kernel, id);
        readiness.is_some() && readiness != seen
    }

    /// Looks whether a watched service is ready.
    fn look(&mut self, kernel: &Kernel, id: Id, now: Instant) {
        let Some(readiness) = self.readiness(kernel, id) else { return };
        if self.table.told_readiness(id, readiness, now) {
            self.watched.insert(id, Some(readiness));
        } else {
            self.watched.remove(&id);
        }
    }

    /// A logger reads what is left, and then ends.
    fn drain(&mut self, kernel: &mut Kernel, id: Id, now: Instant) {
        if let Some(end) = self.pipes.get_mut(&id) {
            end.writes = false;
            kernel.close_end(self.pid, End { writes: true, ..*end });
        }
        let unread = self.pipes(kernel).unread(id);
        if let Some(pid) = self.table.pid(Place { id, part: Part::Logger }) {
            self.stopping.drain_logger((id, pid), unread, now);
        }
    }

    /// Tells the supervises that must stop. Those that do not read commands yet are told again soon.
    fn tell_to_stop(&mut self, kernel: &mut Kernel, now: Instant) {
        let unread: BTreeMap<Id, usize> = self.pipes.keys().map(|id| (*id, self.pipes(kernel).unread(*id))).collect();
        let unread = |id| unread.get(&id).copied().unwrap_or(0);
        self.stopping.carry_on(&self.table, unread, now, |owed| tell(kernel, owed));
    }

    fn pipes<'a>(&'a self, kernel: &'a Kernel) -> PipesOf<'a> {
        PipesOf { kernel, pipes: &self.pipes }
    }

    fn put_pipe(&mut self, kernel: &mut Kernel, id: Id, pipe: PipeId) {
        self.close_pipe(kernel, id);
        self.pipes.insert(id, End { pipe, writes: true });
        [true, false].into_iter().for_each(|writes| kernel.open_end(self.pid, End { pipe, writes }));
    }

    fn close_pipe(&mut self, kernel: &mut Kernel, id: Id) {
        if let Some(End { pipe, .. }) = self.pipes.remove(&id) {
            [true, false].into_iter().for_each(|writes| kernel.close_end(self.pid, End { pipe, writes }));
        }
    }

    /// The pipe of a service that an earlier svscan started lives on in its processes: in the supervise in charge, or in
    /// the processes that were recorded; of the service, or else of its logger.
    fn recover_pipe(&mut self, kernel: &mut Kernel, id: Id) {
        let owners = [Part::Service, Part::Logger].into_iter().flat_map(|part| {
            let place = Place { id, part };
            let supervise = match in_charge(kernel, &self.survivors, place) {
                InCharge::Supervise(process) => Some(process),
                InCharge::NoSupervise | InCharge::Unknown(_) => None,
            };
            let record = kernel.read_record(place);
            let processes: Vec<Process> = record.iter().flat_map(Record::processes).collect();
            supervise.into_iter().chain(processes)
        });
        let found = owners.filter_map(|owner| kernel.find(&owner)?.ends.first().copied()).next();
        if let Some(end) = found {
            self.put_pipe(kernel, id, end.pipe);
        }
    }

    /// svscan takes over a supervise that may have another pipe than the one that svscan has made meanwhile. svscan
    /// takes the pipe of the service's supervise. A logger that reads another pipe is told to end.
    fn settle_pipe(&mut self, kernel: &mut Kernel, place: Place, pid: Pid, now: Instant) {
        let known = self.pipe(place.id);
        let its = kernel.end_of(pid.as_raw()).map(|end| end.pipe);
        if let Some(pipe) = its.filter(|its| place.part == Part::Service && Some(*its) != known) {
            self.put_pipe(kernel, place.id, pipe);
        }
        let logger = Place { part: Part::Logger, ..place };
        let reader = if place == logger { Some(pid) } else { self.table.pid(logger) };
        let known = self.pipe(place.id);
        let is_other = |reader: &Pid| kernel.end_of(reader.as_raw()).is_some_and(|end| Some(end.pipe) != known);
        if let Some(reader) = reader.filter(is_other) {
            self.stopping.let_end((logger, reader), now);
        }
    }

    /// Gives a new supervise its end of the pipe, which is made first if there is none.
    fn give_end(&mut self, kernel: &mut Kernel, place: Place, pid: i32) {
        if !self.pipes.contains_key(&place.id) {
            let pipe = kernel.make_pipe();
            self.put_pipe(kernel, place.id, pipe);
        }
        let Some(end) = self.pipes.get_mut(&place.id) else { return };
        // A service that has come back: svscan opens its writing end again.
        end.writes |= place.part == Part::Service;
        let its = End { writes: place.part == Part::Service, ..*end };
        kernel.open_end(self.pid, its);
        kernel.open_end(pid, its);
    }

    fn reap(&mut self, kernel: &mut Kernel, now: Instant) {
        let Some((pid, status)) = kernel.ended_child(self.pid, None) else { return };
        self.calls.push_front(Call::Reap);
        self.calls.push_front(Call::WaitFor(pid));
        if self.supervise_ended(kernel, pid, status, now) {
            return;
        }
        let Some(process) = kernel.identify(pid) else { return };
        if let Some(place) = self.orphans.ended(OrphanEnd { process, status }) {
            write_end(kernel, place, OrphanEnd { process, status });
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

    /// Handles the end of a process, and returns whether it was a supervise.
    fn supervise_ended(&mut self, kernel: &mut Kernel, pid: i32, status: i32, now: Instant) -> bool {
        let pid = Pid::from_raw(pid);
        let Some(place) = self.table.supervise_of(pid) else { return false };
        let death = ExitKind::of(status);
        let is_killed_logger = place.part == Part::Logger && death == ExitKind::Killed;
        if is_killed_logger && !was_told(kernel, place, pid.as_raw()) {
            self.stopping.logger_was_killed(place.id);
        }
        let wanted = if self.table.is_stopping(place.id) { Wanted::Stopped } else { Wanted::Present };
        let left = leftover(death, wanted, &mut Asked { seen: self.seen(kernel, place, now), pid: pid.as_raw() });
        let mut todo = Vec::new();
        self.table.process_ended(pid, left, now, &mut todo);
        self.perform(kernel, todo, now);
        true
    }

    fn seen<'a>(&'a mut self, kernel: &'a Kernel, place: Place, now: Instant) -> Seen<'a> {
        let Svscan { pipes, table, stopping, survivors, .. } = self;
        Seen { pipes: PipesOf { kernel, pipes }, table, stopping, survivors, place, now }
    }

    fn start(&mut self, kernel: &mut Kernel, place: Place, now: Instant, fails: bool) -> Option<Started> {
        let is_logged = self.table.has_logger(place.id);
        if is_logged && !self.pipes.contains_key(&place.id) {
            self.recover_pipe(kernel, place.id);
        }
        let is_stopping = self.table.is_stopping(place.id);
        match start(is_stopping, &mut Due(self.seen(kernel, place, now))) {
            Start::TakeOver(process) => {
                self.held.push(process);
                if is_logged {
                    self.settle_pipe(kernel, place, process.pid, now);
                }
                self.has_started(kernel, place, process.pid, now);
                None
            }
            Start::NotNeeded => {
                let mut todo = Vec::new();
                self.table.not_needed(place, now, &mut todo);
                self.perform(kernel, todo, now);
                None
            }
            Start::Later(_) => {
                self.table.not_started(place, now);
                None
            }
            Start::New => self.start_new(kernel, place, now, fails),
        }
    }

    fn start_new(&mut self, kernel: &mut Kernel, place: Place, now: Instant, fails: bool) -> Option<Started> {
        self.write_ends(kernel, place);
        let child = if fails { None } else { kernel.fork(self.pid, Kind::Supervise, Some(place)) };
        let Some(pid) = child else {
            self.table.not_started(place, now);
            return None;
        };
        if self.table.has_logger(place.id) {
            self.give_end(kernel, place, pid);
        }
        kernel.files_mut(place).page.get_or_insert_default();
        // A logger is started even while its service is being stopped, because there may be lines to read.
        let is_to_stop = self.table.is_stopping(place.id) && place.part == Part::Service;
        self.has_started(kernel, place, Pid::from_raw(pid), now);
        Some(Started { pid, place, reason: if is_to_stop { StartReason::Stop } else { StartReason::Run } })
    }

    fn has_started(&mut self, kernel: &mut Kernel, place: Place, pid: Pid, now: Instant) {
        let mut todo = Vec::new();
        self.table.started(place, pid, now, &mut todo);
        self.perform(kernel, todo, now);
        self.stopping.has_started(place);
    }

    /// Records how processes have ended, before the next supervise asks for that.
    fn write_ends(&mut self, kernel: &mut Kernel, place: Place) {
        let record = kernel.read_record(place);
        let left = record.iter().flat_map(Record::processes);
        let ends: Vec<OrphanEnd> = left.filter_map(|process| self.orphans.left_behind(process, place)).collect();
        ends.into_iter().for_each(|end| write_end(kernel, place, end));
    }
}

/// Tells a supervise what it is owed: by signal, if it has written its page; otherwise through its FIFO, once it is in
/// charge.
fn tell(kernel: &mut Kernel, owed: &PendingCommands) -> nix::Result<()> {
    let (place, pid) = (owed.which, owed.pid.as_raw());
    let bytes = owed.commands.iter().copied().map(Command::byte);
    if !kernel.is_alive(pid) {
        return Err(Errno::ESRCH);
    }
    if kernel.read_page(place).is_some_and(|page| page.supervise.pid.as_raw() == pid) {
        kernel.told.extend(bytes.map(|byte| (pid, byte)));
    } else if (kernel.files(place).ok_reader, kernel.files(place).control_reader) == (Some(pid), Some(pid)) {
        kernel.write_control(place, bytes.map(Written::for_service));
    } else {
        return Err(Errno::ENXIO);
    }
    Ok(())
}

/// The pipes that svscan has.
struct PipesOf<'a> {
    kernel: &'a Kernel,
    pipes: &'a BTreeMap<Id, End>,
}

impl Pipes for PipesOf<'_> {
    fn has_pipe(&self, id: Id) -> bool {
        self.pipes.contains_key(&id)
    }

    fn unread(&self, id: Id) -> usize {
        self.pipes.get(&id).and_then(|end| self.kernel.pipes.get(end.pipe)).map_or(0, |pipe| pipe.lines.len())
    }
}

/// What both kinds of facts are taken from.
struct Seen<'a> {
    pipes: PipesOf<'a>,
    table: &'a Table,
    stopping: &'a mut Stopping,
    survivors: &'a [(Place, Process)],
    place: Place,
    now: Instant,
}

impl Seen<'_> {
    fn has_lines(&mut self) -> bool {
        self.stopping.has_lines_for(self.place, self.table, &self.pipes, self.now)
    }

    fn in_charge(&self) -> InCharge {
        in_charge(self.pipes.kernel, self.survivors, self.place)
    }

    fn has_left(&self) -> bool {
        has_left(self.pipes.kernel, self.place)
    }
}

/// The facts about a supervise that has ended.
struct Asked<'a> {
    seen: Seen<'a>,
    pid: i32,
}

impl EndFacts for Asked<'_> {
    fn has_lines(&mut self) -> bool {
        self.seen.has_lines()
    }

    fn leaves_lines(&mut self) -> bool {
        leaves_lines(self.seen.place, self.seen.table, &self.seen.pipes)
    }

    fn was_told(&mut self) -> bool {
        was_told(self.seen.pipes.kernel, self.seen.place, self.pid)
    }

    fn is_served(&mut self) -> bool {
        match self.seen.pipes.kernel.read_page(self.seen.place) {
            Some(page) if page.supervise.pid.as_raw() == self.pid => false,
            _ => matches!(self.seen.in_charge(), InCharge::Supervise(_)),
        }
    }

    fn remaining_process(&mut self) -> RemainingProcess {
        if self.seen.has_left() { RemainingProcess::Possible } else { RemainingProcess::None }
    }

    fn still_waits(&mut self) -> bool {
        self.seen.stopping.waits_for(self.seen.place, self.seen.now)
    }
}

/// The facts about a supervise that is due.
struct Due<'a>(Seen<'a>);

impl StartFacts for Due<'_> {
    fn in_charge(&mut self) -> InCharge {
        self.0.in_charge()
    }

    fn may_be_given_up(&mut self, _: Errno) -> bool {
        false
    }

    fn is_wanted_to_stop(&mut self) -> bool {
        self.0.has_lines() || self.0.has_left()
    }
}

/// Whether the last record of a supervise says that it has stopped its service and exits, as it was told to.
fn was_told(kernel: &Kernel, place: Place, pid: i32) -> bool {
    let is_last = |record: Record| record.supervise.pid.as_raw() == pid && record.has_left();
    kernel.read_record(place).is_some_and(is_last)
}

/// Whether one of the processes that were recorded last still exists.
fn has_left(kernel: &Kernel, place: Place) -> bool {
    kernel.read_record(place).is_some_and(|record| record.processes().any(|process| kernel.find(&process).is_some()))
}

fn has_ended(kernel: &Kernel, process: &Process) -> bool {
    kernel.find(process).is_none_or(|task| task.state != State::Alive)
}

/// Which supervise is in charge of a directory: one that has written the page, or one that shows that it is in charge,
/// or else one that an earlier svscan has started, which is about to take charge.
fn in_charge(kernel: &Kernel, survivors: &[(Place, Process)], place: Place) -> InCharge {
    let is_running = |process: &Process| !has_ended(kernel, process);
    let of = |record: Option<Record>| record.map(|record| record.supervise).filter(is_running);
    let reader = || {
        kernel
            .files(place)
            .ok_reader
            .and_then(|reader| of(kernel.read_record(place)).or_else(|| kernel.identify(reader)))
    };
    let its = survivors.iter().filter(|(of, _)| *of == place);
    let survivor = || its.map(|(_, process)| *process).find(is_running);
    match of(kernel.read_page(place)).or_else(reader).or_else(survivor) {
        Some(process) => InCharge::Supervise(process),
        None => InCharge::NoSupervise,
    }
}

/// Records how a process ended. The newest record comes first, and at most two are kept.
fn write_end(kernel: &mut Kernel, place: Place, end: OrphanEnd) {
    if !kernel.read_only && !kernel.files(place).is_removed {
        let orphan = &mut kernel.files_mut(place).orphan;
        orphan.insert(0, (end.process, end.status));
        orphan.truncate(2);
    }
}
