//! The world: the kernel, the programs in it, and everything that can happen next.

use crate::broken::Broken;
use crate::kernel::{
    Files, GateId, INIT, Kernel, Kind, Meddling, PATIENCE, PipeId, Place, Service, State, Task, Written,
};
use crate::promises::{Promises, Snapshot};
use crate::simulated::{Actor, Simulated};
use crate::supervise::Supervise;
use crate::svscan::{Started, Svscan};
use daemontools::report::TEMPORARY;
use daemontools::service::policy::{Limit, Policy, Timeouts};
use daemontools::service::{Beside, Command, Commands, Part, Record, Role, Want};
use fastrand::Rng;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};
use supervise::machine::EXIT_GATE_CLOSED;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// A process makes its next step.
    Step(i32),
    /// One of our programs makes its next call, and the system refuses it.
    Refuse(i32),
    /// A process is killed.
    Kill(i32),
    /// svscan and all supervises are killed at once.
    KillOurs,
    /// A program of the service ends by itself with this exit code.
    Exit(i32, i32),
    /// A child at its gate cannot execute its program.
    NotExecuted(i32),
    /// A program of the service ignores TERM from now on.
    Ignore(i32),
    /// A program that should end by itself does not.
    Hang(i32),
    /// A service writes a line for its logger.
    Write(i32),
    /// An operator writes a command for the supervise of this directory.
    Tell(Place, u8),
    /// An operator uses svc to command the logger that the same supervise could run.
    TellLogger(Place, Command),
    /// svscan is told to stop everything.
    Stop,
    /// A process that does not belong to the service starts, which takes a number, or ends.
    Stranger,
    /// The disk refuses writes from now on, or accepts them again.
    Disk,
    /// The machine is suspended: no process runs for an hour.
    Suspend,
    /// An administrator, or the owner, does something to the files of a supervise.
    Meddle(Place, Meddling),
    /// An administrator copies the directory of a service, with the files of its supervise, into the place of another one that
    /// does not run.
    Copy(Place, Place),
    /// The owner of the `supervise/` of a service that does not run writes a state that names this process as its `run`.
    Forge(Place, i32),
    /// A process of another account locks the scan directory: the directory itself, or the lock in it, as far as that account can
    /// open it.
    LockScan,
    /// `/proc` goes away, or comes back.
    Proc,
    /// The machine is booted.
    Reboot,
    /// Time passes until the next deadline.
    Pass,
}

/// How often the adversary may still act. The steps of the programs are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How many processes it kills.
    pub kills: u32,
    /// How often it kills svscan and all supervises at once.
    pub sweeps: u32,
    /// How many calls it makes fail.
    pub refusals: u32,
    /// How often it makes a program of the service end, fail or ignore TERM.
    pub deeds: u32,
    /// How many commands it writes.
    pub commands: u32,
    /// How many lines it makes services write.
    pub lines: u32,
    /// How often it starts or ends a stranger.
    pub strangers: u32,
    /// How often it makes the disk refuse or accept writes.
    pub disk: u32,
    /// How often it tells svscan to stop everything.
    pub stops: u32,
    /// How often it suspends the machine.
    pub suspensions: u32,
    /// How often it does something to the files of supervises.
    pub meddlings: u32,
    /// How often it copies a service directory or, where it owns one, forges its state.
    pub forgeries: u32,
    /// How often it commands loggers, as far as `commands` allows.
    pub to_loggers: u32,
    /// How often it locks the scan directory.
    pub scan_locks: u32,
    /// How often it takes `/proc` away or brings it back.
    pub procs: u32,
    /// How often it boots the machine.
    pub boots: u32,
}

impl Budget {
    /// The budget of an adversary that rests.
    pub const NONE: Budget = Budget {
        kills: 0,
        sweeps: 0,
        refusals: 0,
        deeds: 0,
        commands: 0,
        lines: 0,
        strangers: 0,
        disk: 0,
        stops: 0,
        suspensions: 0,
        meddlings: 0,
        forgeries: 0,
        to_loggers: 0,
        scan_locks: 0,
        procs: 0,
        boots: 0,
    };
}

/// The longest pauses of our programs together: a minute after a refused fork, and svscan's pause after a supervise
/// that could not serve.
const LONGEST: Duration = Duration::from_secs(60 + 80);

/// How many lines a pipe holds.
const CAPACITY: usize = 3;

/// How long the machine is suspended.
const SUSPENSION: Duration = Duration::from_secs(3600);

/// When a program is killed that was told to end, where there is such a limit.
const KILL_AFTER: Duration = Duration::from_secs(3);

/// The account that owns the `supervise/` of some services.
const OWNER: u32 = 1000;

/// The commands that are written: up, down, once, terminate, exit when down, kill.
const COMMANDS: &[u8] = b"udotxk";

/// The world.
#[derive(Debug, Clone)]
pub struct World {
    /// The kernel.
    pub kernel: Kernel,
    /// svscan, if it runs.
    pub svscan: Option<Svscan>,
    /// All supervises that have not ended.
    pub supervises: Vec<Supervise>,
    /// What the adversary may still do.
    pub budget: Budget,
    /// Whether time passes only while no program has anything to do. Otherwise a program may be kept waiting for ever,
    /// and schedules have no end. Then calls that concern only the program itself are no transitions of their own.
    pub is_fast: bool,
    /// Whether process 1 starts svscan before it waits for orphans. Otherwise it waits for them first.
    pub is_init_late: bool,
    /// What must hold, judged by what has happened so far.
    pub promises: Promises,
    epoch: Instant,
}

impl World {
    /// A machine that has just been booted, with these services.
    pub fn new(services: Vec<Service>, budget: Budget, epoch: Instant) -> World {
        let kernel = Kernel::new(services);
        World {
            promises: Promises::new(kernel.places()),
            kernel,
            svscan: None,
            supervises: Vec::new(),
            budget,
            is_fast: false,
            is_init_late: false,
            epoch,
        }
    }

    /// The same machine after its programs have come to rest, before the adversary begins.
    ///
    /// # Errors
    /// The promise that is broken on the way.
    pub fn at_rest(mut self) -> Result<World, Broken> {
        let budget = self.budget;
        self.rest()?;
        Ok(World { budget, ..self })
    }

    /// The same machine at rest, after the first of its services was told to run its `reload`.
    ///
    /// # Errors
    /// The promise that is broken on the way.
    fn told_to_reload(self) -> Result<World, Broken> {
        let mut world = self.at_rest()?;
        let place = world.kernel.places().find(|place| world.kernel.policy(*place).has_reload);
        let written = Written::for_service(Command::Reload.byte());
        place.into_iter().for_each(|place| world.kernel.write_control(place, [written]));
        Ok(world)
    }

    /// The same machine at rest, after the first of its services was told to end by `d`, which its `run` does not obey.
    ///
    /// # Errors
    /// The promise that is broken on the way.
    fn told_down(self) -> Result<World, Broken> {
        let mut world = self.at_rest()?;
        let is_run = |task: &&mut Task| task.kind == Kind::Program(Role::Run);
        let run = world.kernel.tasks.iter_mut().find(is_run);
        let place = run.and_then(|task| {
            task.ignores_term = true;
            task.place
        });
        let written = Written::for_service(Command::Down.byte());
        place.into_iter().for_each(|place| world.kernel.write_control(place, [written]));
        Ok(world)
    }

    /// What the promises are checked against.
    fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            kernel: &self.kernel,
            svscan: self.svscan.as_ref(),
            supervises: &self.supervises,
            promises: &self.promises,
        }
    }

    fn transitions_of(&self, pid: i32, kind: Kind, into: &mut Vec<Transition>) {
        let (ready, may_fail) = match kind {
            Kind::Svscan => {
                let svscan = self.svscan.as_ref().filter(|svscan| svscan.pid == pid);
                (svscan.is_some_and(|svscan| svscan.is_ready(&self.kernel)), svscan.is_some_and(Svscan::may_fail))
            }
            Kind::Supervise => {
                let supervise = self.supervises.iter().find(|supervise| supervise.pid == pid);
                let ready = supervise.is_some_and(|supervise| supervise.is_ready(&self.kernel));
                (ready, supervise.is_some_and(Supervise::may_fail))
            }
            Kind::AtGate(..) | Kind::BesideAtGate(..) | Kind::Program(_) | Kind::Beside(_) | Kind::Stranger => {
                (self.child_is_ready(pid), false)
            }
        };
        if ready {
            into.push(Transition::Step(pid));
        }
        if ready && may_fail && self.budget.refusals > 0 {
            into.push(Transition::Refuse(pid));
        }
        if self.budget.kills > 0 {
            into.push(Transition::Kill(pid));
        }
        if self.budget.lines > 0 && kind == Kind::Program(Role::Run) && self.writes(pid).is_some() {
            into.push(Transition::Write(pid));
        }
        if self.budget.deeds > 0 {
            match kind {
                Kind::AtGate(..) | Kind::BesideAtGate(..) if self.has_passed(pid) => {
                    into.push(Transition::NotExecuted(pid))
                }
                Kind::Program(_) => {
                    into.extend([Transition::Exit(pid, 0), Transition::Exit(pid, 100), Transition::Ignore(pid)]);
                    into.extend((kind == Kind::Program(Role::PreStart)).then_some(Transition::Hang(pid)));
                }
                Kind::Beside(_) => into.extend([
                    Transition::Exit(pid, 100),
                    Transition::Exit(pid, 125),
                    Transition::Ignore(pid),
                    Transition::Hang(pid),
                ]),
                Kind::AtGate(..) | Kind::BesideAtGate(..) | Kind::Svscan | Kind::Supervise | Kind::Stranger => {}
            }
        }
    }

    fn init_is_ready(&self) -> bool {
        (self.svscan.is_none() && !self.promises.has_stopped) || self.kernel.ended_child(INIT, None).is_some()
    }

    /// Whether a child at its gate, or a program of the service, has something to do.
    fn child_is_ready(&self, pid: i32) -> bool {
        let Some(task) = self.kernel.task(pid) else { return false };
        if task.stopped {
            return false;
        }
        match task.kind {
            Kind::AtGate(_, gate) | Kind::BesideAtGate(_, gate) => {
                let gate = self.kernel.gates.get(gate).copied().unwrap_or_default();
                task.lock.is_some() || task.told_to_end || gate.passed || !gate.keeper
            }
            // All others end by themselves, unless they hang.
            Kind::Program(Role::Run) => (task.told_to_end && !task.ignores_term) || self.reads(pid).is_some(),
            Kind::Program(Role::Start | Role::PreStart | Role::Finish | Role::Stop) | Kind::Beside(_) => {
                !task.hangs || (task.told_to_end && !task.ignores_term)
            }
            Kind::Svscan | Kind::Supervise | Kind::Stranger => false,
        }
    }

    fn has_passed(&self, pid: i32) -> bool {
        match self.kernel.task(pid).map(|task| (task.kind, task.lock)) {
            Some((Kind::AtGate(_, gate) | Kind::BesideAtGate(_, gate), None)) => {
                self.kernel.gates.get(gate).is_some_and(|gate| gate.passed && gate.process && !gate.has_failed)
            }
            _ => false,
        }
    }

    /// The earliest deadline of our programs, as time since boot. Programs that have something to do are not counted.
    fn next_deadline(&self) -> Option<Duration> {
        let supervises = self.supervises.iter().filter_map(Supervise::deadline);
        let svscan = self.svscan.iter().filter_map(Svscan::deadline);
        supervises.chain(svscan).filter(|deadline| *deadline > self.kernel.uptime).min()
    }

    /// Notes the commands that a supervise has read, and those that it has recorded since.
    fn see_commands(&mut self) -> Result<(), Broken> {
        for supervise in &mut self.supervises {
            if let Some(command) = supervise.misdirected.take() {
                return Err(Broken::Misdirected(command));
            }
            if let Some(pid) = supervise.killed.take() {
                crate::promises::was_killed_for_time(&self.kernel, pid)?;
            }
            let (place, told) = (supervise.place, supervise.told.take());
            self.promises.told(place, told, supervise.unwritten_want, &self.kernel);
            if std::mem::take(&mut supervise.ends_programs) {
                self.promises.is_to_end_programs(place, &self.kernel);
            }
            if std::mem::take(&mut supervise.has_recorded_reload) {
                self.promises.is_to_reload(place, &self.kernel);
            }
        }
        Ok(())
    }

    /// The machine is suspended. A supervise that waits notices that when it wakes; one that does something does not.
    fn suspend(&mut self) {
        let World { kernel, supervises, .. } = self;
        let sleeps = |place: Option<Place>| {
            let mut its = supervises.iter().filter(|supervise| Some(supervise.place) == place);
            its.any(|supervise| supervise.is_in_charge && supervise.is_asleep())
        };
        for task in &mut kernel.tasks {
            task.has_lost_time |= !sleeps(task.place);
        }
        kernel.uptime += SUSPENSION;
        kernel.suspended += SUSPENSION;
    }

    /// The directories of services of which nothing runs.
    fn idle_places(&self) -> impl Iterator<Item = Place> {
        let is_idle = |place: &Place| !self.kernel.tasks.iter().any(|task| task.place == Some(*place));
        self.kernel.places().filter(|place| place.part == Part::Service).filter(is_idle)
    }

    /// What an administrator or the owner can do to the files of supervises.
    fn meddlings(&self, into: &mut Vec<Transition>) {
        if self.budget.meddlings > 0 {
            let supervised = self.supervises.iter().filter(|supervise| supervise.is_in_charge);
            let all = |place: Place| Meddling::ALL.into_iter().map(move |what| Transition::Meddle(place, what));
            into.extend(supervised.flat_map(|supervise| all(supervise.place)));
        }
        if self.budget.forgeries > 0 {
            for place in self.idle_places() {
                let has_state = |from: &Place| *from != place && self.kernel.files(*from).state.is_some();
                let others = self.kernel.places().filter(|from| from.part == Part::Service).filter(has_state);
                into.extend(others.map(|from| Transition::Copy(from, place)));
                let named = self.kernel.tasks.iter().filter(|task| task.state == State::Alive);
                let named = named.filter(|_| self.kernel.owner(place).is_some());
                into.extend(named.map(|task| Transition::Forge(place, task.pid)));
            }
        }
        if self.budget.to_loggers > 0 && self.budget.commands > 0 {
            let services = self.supervises.iter().filter(|supervise| supervise.place.part == Part::Service);
            let read = services.filter(|supervise| self.kernel.files(supervise.place).control_reader.is_some());
            into.extend(read.map(|supervise| Transition::TellLogger(supervise.place, Command::Terminate)));
        }
        let is_free = self.kernel.scan_lock.is_exposed && self.kernel.scan_lock_holder().is_none();
        let may_lock = self.budget.scan_locks > 0 && is_free && self.stranger().is_some();
        into.extend(may_lock.then_some(Transition::LockScan));
        into.extend((self.budget.suspensions > 0).then_some(Transition::Suspend));
        into.extend((self.budget.procs > 0).then_some(Transition::Proc));
        into.extend((self.budget.boots > 0).then_some(Transition::Reboot));
    }

    /// Copies a service directory that may be in use.
    fn copy(&mut self, from: Place, to: Place) {
        let Files { state, status, has_status, .. } = self.kernel.files(from).clone();
        let files = self.kernel.files_mut(to);
        (files.state, files.status, files.has_status, files.is_removed) = (state, status, has_status, false);
    }

    /// Writes a state that names this process as the `run` of a service.
    fn forge(&mut self, place: Place, pid: i32) {
        let record = Record {
            boot: self.kernel.boot(),
            directory: Some(self.kernel.directory(place)),
            want: Want::Up,
            process: self.kernel.identify(pid).map(|process| (Role::Run, process)),
            ..Record::blank()
        };
        self.kernel.files_mut(place).state = Some(record.encode());
    }

    /// Boots the machine.
    fn reboot(&mut self) {
        self.kernel.reboot();
        (self.svscan, self.supervises) = (None, Vec::new());
        self.promises.reboot(self.kernel.places());
    }

    fn step_of_init(&mut self) {
        let is_to_start = self.svscan.is_none() && !self.promises.has_stopped;
        let ended = self.kernel.ended_child(INIT, None).filter(|_| !(self.is_init_late && is_to_start));
        if let Some((pid, _)) = ended {
            self.kernel.wait_for(pid);
        } else if is_to_start && let Some(pid) = self.kernel.fork(INIT, Kind::Svscan, None) {
            self.svscan = Some(Svscan::new(pid, self.epoch));
        }
    }

    /// A process makes its next call. Where all schedules are run, calls that concern nothing outside of the program
    /// are made together with the call before: it makes no difference what happens between them.
    fn step(&mut self, pid: i32, fails: bool) -> Result<(), Broken> {
        self.step_once(pid, fails)?;
        while self.is_fast && self.is_next_internal(pid) {
            self.see_commands()?;
            self.step_once(pid, false)?;
        }
        Ok(())
    }

    fn is_next_internal(&self, pid: i32) -> bool {
        let mut supervises = self.supervises.iter().filter(|supervise| supervise.pid == pid);
        let svscan = self.svscan.iter().find(|svscan| svscan.pid == pid);
        supervises.any(Supervise::is_next_internal) || svscan.is_some_and(Svscan::is_next_internal)
    }

    fn step_once(&mut self, pid: i32, fails: bool) -> Result<(), Broken> {
        let World { kernel, svscan, supervises, .. } = self;
        if let Some(svscan) = svscan.as_mut().filter(|svscan| svscan.pid == pid) {
            let started = svscan.step(kernel, fails);
            supervises.extend(
                started.and_then(|Started { pid, place, reason }| {
                    Some(Supervise::new(kernel.identify(pid)?, place, reason))
                }),
            );
        } else if let Some(supervise) = supervises.iter_mut().find(|supervise| supervise.pid == pid) {
            supervise.step(kernel, fails);
        } else {
            return self.step_of_child(pid);
        }
        Ok(())
    }

    /// A child of supervise makes its next step: it closes the lock, waits for its gate, and executes its program. Or a
    /// program ends.
    fn step_of_child(&mut self, pid: i32) -> Result<(), Broken> {
        let Some(task) = self.kernel.task_mut(pid) else { return Ok(()) };
        let told_to_end = std::mem::take(&mut task.told_to_end);
        if told_to_end {
            self.note_end_at_gate(pid);
        }
        let Some(task) = self.kernel.task_mut(pid) else { return Ok(()) };
        match task.kind {
            Kind::AtGate(..) | Kind::BesideAtGate(..) if told_to_end => self.kernel.end(pid, Signal::SIGTERM as i32),
            Kind::AtGate(..) | Kind::BesideAtGate(..) if task.lock.is_some() => task.lock = None,
            Kind::AtGate(role, gate) => {
                let place = task.place.filter(|_| role == Role::Run);
                if self.leaves_gate(pid, gate, Kind::Program(role)) {
                    place.into_iter().for_each(|place| self.promises.is_ready(place));
                }
            }
            Kind::BesideAtGate(which, gate) => {
                let place = task.place.filter(|_| which == Beside::Reload);
                if self.leaves_gate(pid, gate, Kind::Beside(which)) {
                    place.map_or(Ok(()), |place| self.promises.executes_reload(place, pid))?;
                }
            }
            Kind::Program(Role::Run) if told_to_end && !task.ignores_term => {
                self.kernel.end(pid, Signal::SIGTERM as i32);
            }
            Kind::Program(Role::Run) => self.step_of_logger(pid),
            Kind::Program(Role::Start | Role::PreStart | Role::Finish | Role::Stop) | Kind::Beside(_) => {
                let status = if told_to_end && !task.ignores_term { Signal::SIGTERM as i32 } else { 0 };
                self.kernel.end(pid, status)
            }
            Kind::Svscan | Kind::Supervise | Kind::Stranger => {}
        }
        Ok(())
    }

    /// A child of supervise leaves its gate: it executes its program, or ends. Returns whether it executes its program.
    fn leaves_gate(&mut self, pid: i32, gate: GateId, program: Kind) -> bool {
        let state = self.kernel.gates.get(gate).copied().unwrap_or_default();
        if state.has_failed {
            self.kernel.end(pid, TEMPORARY << 8);
        } else if !state.passed {
            self.kernel.end(pid, EXIT_GATE_CLOSED << 8);
        } else {
            self.kernel.task_mut(pid).into_iter().for_each(|task| task.kind = program);
            self.kernel.close_process_end(gate);
            return true;
        }
        false
    }

    /// The pipe that a logger reads, if there are lines in it, or its end.
    fn reads(&self, pid: i32) -> Option<PipeId> {
        let task = self.kernel.task(pid).filter(|task| task.place.is_some_and(|place| place.part == Part::Logger))?;
        let pipe = task.ends.first()?.pipe;
        (self.kernel.has_lines(pipe) || self.kernel.is_at_end(pipe)).then_some(pipe)
    }

    /// A logger takes a line, which it writes into its log at once, or ends at the end of its input.
    fn step_of_logger(&mut self, pid: i32) {
        let Some(pipe) = self.reads(pid) else { return };
        if self.kernel.pipes.get_mut(pipe).and_then(|pipe| pipe.lines.pop_front()).is_none() {
            self.kernel.end(pid, 0);
        }
        self.kernel.pipe_has_changed(pipe);
    }

    /// The pipe into which a service can write a line.
    fn writes(&self, pid: i32) -> Option<PipeId> {
        let is_service = |task: &&Task| !task.stopped && task.place.is_some_and(|place| place.part == Part::Service);
        let pipe = self.kernel.task(pid).filter(is_service)?.ends.first()?.pipe;
        self.kernel.pipes.get(pipe).filter(|pipe| pipe.lines.len() < CAPACITY).map(|_| pipe)
    }

    /// The stranger locks the scan directory, if it can open the lock.
    fn lock_scan(&mut self) {
        let lock = self.kernel.scan_lock;
        let stranger = self.stranger().filter(|_| lock.is_exposed).and_then(|pid| self.kernel.task_mut(pid));
        stranger.into_iter().for_each(|task| task.scan_lock = Some(lock.file));
    }

    fn stranger(&self) -> Option<i32> {
        let mut tasks = self.kernel.tasks.iter();
        tasks.find(|task| task.kind == Kind::Stranger && task.state == State::Alive).map(|task| task.pid)
    }

    /// Ends the stranger if there is one, and starts one otherwise.
    fn turn_stranger(&mut self) {
        match self.stranger() {
            Some(pid) => self.kernel.end(pid, 0),
            None => drop(self.kernel.fork(INIT, Kind::Stranger, None)),
        }
    }

    /// A process that is killed at its gate closes its end of it, as one does that executes its program. So its supervise
    /// takes it for executed until it reads how it ended, and the service was ready for that moment.
    fn note_end_at_gate(&mut self, pid: i32) {
        let task = self.kernel.task(pid).filter(|task| matches!(task.kind, Kind::AtGate(Role::Run, _)));
        if let Some(place) = task.and_then(|task| task.place) {
            self.promises.is_ready(place);
        }
        // A `reload` that is killed at its gate has failed, as one that is killed later.
        let reload = self.kernel.task(pid).filter(|task| matches!(task.kind, Kind::BesideAtGate(Beside::Reload, _)));
        reload.and_then(|task| task.place).into_iter().for_each(|place| self.promises.reloads(place));
    }

    fn refuse_execution(&mut self, pid: i32) {
        if let Some(Kind::AtGate(_, gate) | Kind::BesideAtGate(_, gate)) = self.kernel.task(pid).map(|task| task.kind)
            && let Some(gate) = self.kernel.gates.get_mut(gate)
        {
            (gate.refused, gate.has_failed) = (Some(Errno::ENOENT as i32), true);
        }
    }

    /// Whether svscan or a supervise makes a step. If one of them is the last process that has a pipe, it must not end, or
    /// close the pipe, while there are lines in it. If the last such process is killed, the lines are lost.
    fn is_step_of_ours(&self, chosen: Transition) -> bool {
        let (Transition::Step(pid) | Transition::Refuse(pid)) = chosen else { return false };
        self.kernel.task(pid).is_some_and(|task| matches!(task.kind, Kind::Svscan | Kind::Supervise))
    }

    /// Removes what is in pipes that no process holds any more. Returns a line that is lost before it may be given up.
    fn remove_pipes(&mut self) -> Option<usize> {
        let mut lost = None;
        let now = self.kernel.uptime;
        for pipe in 0..self.kernel.pipes.len() {
            if !self.kernel.is_held(pipe)
                && let Some(pipe) = self.kernel.pipes.get_mut(pipe)
            {
                let line = pipe.lines.front().filter(|_| now < pipe.changed + PATIENCE).copied();
                lost = lost.or(line);
                pipe.lines.clear();
                pipe.changed = Duration::ZERO;
            }
        }
        lost
    }

    /// Removes the state of programs that have ended.
    fn remove_ended(&mut self) {
        let World { kernel, svscan, supervises, promises, .. } = self;
        if svscan.as_ref().is_some_and(|svscan| !kernel.is_alive(svscan.pid)) {
            // If svscan was killed, it is started again, and the next one does not know of a stop.
            let ended = svscan.take().and_then(|svscan| kernel.task(svscan.pid)).map(|task| task.state);
            promises.has_stopped = ended == Some(State::Zombie(0));
            promises.is_to_stop = false;
            promises.may_be_untold = true;
        }
        supervises.retain(|supervise| {
            let lives = kernel.is_alive(supervise.pid);
            if !lives {
                // A command that was not recorded is lost with its supervise. A recorded command to exit makes the next
                // supervise begin anew. A supervise that was killed after it had recorded that it exits has exited as
                // told.
                let has_left = kernel.read_record(supervise.place).is_some_and(|record| record.has_left());
                promises.supervise_has_ended(supervise.place, has_left);
                let its = kernel.tasks.iter_mut().filter(|task| task.place == Some(supervise.place));
                its.for_each(|task| task.has_lost_time |= task.told_at.is_some());
                supervise.gates().for_each(|gate| kernel.close_keeper_end(gate));
            }
            lives
        });
        // A page is memory, so it is gone with the last process that has it open, or that leads the next svscan to it.
        // What was only on the page and not on the disk is then unknown, as supervise has reported.
        let is_gone = |place: &Place| svscan.is_none() && !supervises.iter().any(|supervise| supervise.place == *place);
        for (place, files) in kernel.files.iter_mut().filter(|(place, _)| is_gone(place)) {
            let page = files.page.take().filter(|page| !page.is_empty());
            if page.is_some() && page != files.state {
                promises.record_is_lost(*place);
            }
        }
    }
}

impl Simulated for World {
    type Transition = Transition;

    fn of_seed(seed: u64, epoch: Instant) -> World {
        let mut rng = Rng::with_seed(seed);
        let policy = Policy {
            has_finish: rng.u8(..4) == 0,
            has_start: rng.u8(..8) == 0,
            has_pre_start: rng.u8(..4) == 0,
            has_stop: rng.u8(..8) == 0,
            kill_after: (rng.u8(..4) == 0).then_some(KILL_AFTER),
            restart_limit: (rng.u8(..8) == 0).then(|| Limit { count: 3, within: Duration::from_secs(30) }),
            ..Policy::default()
        };
        let budget = Budget {
            kills: rng.u32(..6),
            sweeps: 0,
            refusals: rng.u32(..3),
            deeds: rng.u32(..4),
            commands: rng.u32(..4),
            strangers: rng.u32(..6),
            disk: rng.u32(..3),
            stops: rng.u32(..4) / 3,
            lines: 0,
            ..Budget::NONE
        };
        let mut rng_beside = Rng::with_seed(seed ^ 0xbe51de);
        let mut has = |one_in: u8| rng_beside.u8(..one_in) == 0;
        let has_any = has(2);
        let policy = Policy {
            has_post_start: has_any && has(2),
            has_pre_stop: has_any && has(2),
            has_reload: has_any && has(2),
            timeouts: Timeouts {
                post_start: has(4).then(|| Duration::from_secs(2)),
                pre_stop: has(4).then(|| Duration::from_secs(2)),
                ..policy.timeouts
            },
            ..policy
        };
        // Chance alone seldom tells a service to reload that is up and has a `reload`.
        let is_told_to_reload = policy.has_reload && has(2);
        let budget = Budget { sweeps: rng_beside.u32(..3), ..budget };
        let mut rng_outside = Rng::with_seed(seed ^ 0x0007_51de);
        let mut up_to = |most: u32| rng_outside.u32(..=most);
        let is_outside = up_to(2) == 0;
        let outside = Budget {
            suspensions: up_to(1),
            meddlings: up_to(2),
            forgeries: up_to(2),
            to_loggers: up_to(2),
            scan_locks: up_to(1),
            procs: up_to(2),
            boots: up_to(3) / 3,
            ..budget
        };
        let budget = if is_outside { outside } else { budget };
        let kill_after = policy.kill_after.or((outside.suspensions > 0 && is_outside).then_some(KILL_AFTER));
        let web = Service::new("web", 1, Policy { kill_after, ..policy });
        let web = if is_outside && up_to(2) == 0 { web.owned_by(OWNER) } else { web };
        let world = match rng.u8(..2) {
            0 => World::new(vec![web.logged()], Budget { lines: rng.u32(..6), ..budget }, epoch),
            _ if rng.u8(..3) == 0 => {
                let services = vec![Service::new("db", 2, Policy::default()), web.after("db")];
                World::new(services, budget, epoch)
            }
            _ => World::new(vec![web], budget, epoch),
        };
        let mut world = world;
        world.kernel.scan_lock.is_exposed = is_outside && up_to(1) == 0;
        if world.kernel.scan_lock.is_exposed && up_to(1) == 0 {
            world.turn_stranger();
            world.lock_scan();
        }
        // Chance alone seldom suspends the machine while a program is to end within some time.
        let is_told_down = world.budget.suspensions > 0 && up_to(3) == 0;
        if is_told_down {
            return world.clone().told_down().unwrap_or(world);
        }
        if is_told_to_reload { world.clone().told_to_reload().unwrap_or(world) } else { world }
    }

    fn transitions(&self, into: &mut Vec<Transition>) {
        into.clear();
        if self.init_is_ready() {
            into.push(Transition::Step(INIT));
        }
        for task in self.kernel.tasks.iter().filter(|task| task.state == State::Alive) {
            self.transitions_of(task.pid, task.kind, into);
        }
        let may_pass = !self.is_fast || !into.iter().any(|chosen| matches!(chosen, Transition::Step(_)));
        if may_pass && self.next_deadline().is_some() {
            into.push(Transition::Pass);
        }
        let is_reached = |files: &Files| files.ok_reader.is_some() && files.control_reader.is_some();
        let supervised = self.kernel.files.iter().filter(|(_, files)| is_reached(files));
        for (place, _) in supervised.filter(|_| self.budget.commands > 0) {
            // The supervise of a logger that is told to exit has more to decide than the world has in it.
            let commands = COMMANDS.iter().filter(|byte| place.part == Part::Service || **byte != b'x');
            let has_reload = self.kernel.policy(*place).has_reload;
            let commands = commands.copied().chain(has_reload.then_some(Command::Reload.byte()));
            into.extend(commands.map(|byte| Transition::Tell(*place, byte)));
        }
        self.meddlings(into);
        if self.budget.stops > 0 && self.svscan.is_some() {
            into.push(Transition::Stop);
        }
        if self.budget.sweeps > 0 && self.svscan.is_some() && !self.supervises.is_empty() {
            into.push(Transition::KillOurs);
        }
        if self.budget.strangers > 0 {
            into.push(Transition::Stranger);
        }
        if self.budget.disk > 0 {
            into.push(Transition::Disk);
        }
    }

    fn actor(chosen: &Transition) -> Actor {
        match chosen {
            Transition::Step(_) => Actor::Program,
            Transition::Pass => Actor::Clock,
            Transition::Refuse(_)
            | Transition::Kill(_)
            | Transition::KillOurs
            | Transition::Exit(..)
            | Transition::NotExecuted(_)
            | Transition::Ignore(_)
            | Transition::Hang(_)
            | Transition::Write(_)
            | Transition::Tell(..)
            | Transition::TellLogger(..)
            | Transition::Stop
            | Transition::Stranger
            | Transition::Disk
            | Transition::Suspend
            | Transition::Meddle(..)
            | Transition::Copy(..)
            | Transition::Forge(..)
            | Transition::LockScan
            | Transition::Proc
            | Transition::Reboot => Actor::Adversary,
        }
    }

    fn apply(&mut self, chosen: Transition) -> Result<(), Broken> {
        let is_step_of_ours = self.is_step_of_ours(chosen);
        match chosen {
            Transition::Step(INIT) => self.step_of_init(),
            Transition::Step(pid) => self.step(pid, false)?,
            Transition::Refuse(pid) => {
                self.budget.refusals -= 1;
                self.kernel.task(pid).and_then(|task| task.place).into_iter().for_each(|at| self.promises.reloads(at));
                self.step(pid, true)?;
            }
            Transition::Kill(pid) => {
                self.budget.kills -= 1;
                self.note_end_at_gate(pid);
                self.kernel.end(pid, Signal::SIGKILL as i32);
            }
            Transition::KillOurs => {
                self.budget.sweeps -= 1;
                let supervises = self.supervises.iter().map(|supervise| supervise.pid);
                let ours: Vec<i32> = self.svscan.iter().map(|svscan| svscan.pid).chain(supervises).collect();
                ours.into_iter().for_each(|pid| self.kernel.end(pid, Signal::SIGKILL as i32));
            }
            Transition::Exit(pid, code) => {
                self.budget.deeds -= 1;
                self.kernel.end(pid, code << 8);
            }
            Transition::NotExecuted(pid) => {
                self.budget.deeds -= 1;
                self.kernel.task(pid).and_then(|task| task.place).into_iter().for_each(|at| self.promises.reloads(at));
                self.refuse_execution(pid);
            }
            Transition::Ignore(pid) => {
                self.budget.deeds -= 1;
                if let Some(task) = self.kernel.task_mut(pid) {
                    task.ignores_term = true;
                }
            }
            Transition::Hang(pid) => {
                self.budget.deeds -= 1;
                self.kernel.task_mut(pid).into_iter().for_each(|task| task.hangs = true);
            }
            Transition::Write(pid) => {
                self.budget.lines -= 1;
                let line = self.promises.write_line();
                let Some(pipe) = self.writes(pid) else { return Ok(()) };
                self.kernel.pipes.get_mut(pipe).into_iter().for_each(|pipe| pipe.lines.push_back(line));
                self.kernel.pipe_has_changed(pipe);
            }
            Transition::Tell(place, byte) => {
                self.budget.commands -= 1;
                self.kernel.write_control(place, [Written::for_service(byte)]);
            }
            Transition::TellLogger(place, command) => {
                (self.budget.commands, self.budget.to_loggers) = (self.budget.commands - 1, self.budget.to_loggers - 1);
                let mut commands = Commands::default();
                [Command::ForLogger, command].into_iter().for_each(|command| commands.add(command));
                let written = commands.bytes().into_iter().map(|byte| Written { byte, part: Part::Logger });
                self.kernel.write_control(place, written);
            }
            Transition::Stop => {
                self.budget.stops -= 1;
                self.svscan.iter_mut().for_each(|svscan| svscan.told_to_stop = true);
                self.promises.is_to_stop = true;
                (0..self.kernel.pipes.len()).for_each(|pipe| self.kernel.pipe_has_changed(pipe));
            }
            Transition::Stranger => {
                self.budget.strangers -= 1;
                self.turn_stranger();
            }
            Transition::Disk => {
                self.budget.disk -= 1;
                self.kernel.read_only = !self.kernel.read_only;
                self.promises.may_be_untold = true;
            }
            Transition::Suspend => {
                self.budget.suspensions -= 1;
                self.suspend();
            }
            Transition::Meddle(place, what) => {
                self.budget.meddlings -= 1;
                // A supervise that goes on after another one writes its page with the first change. Until then the record is only
                // in the files.
                let has_page = self.kernel.read_page(place).is_some();
                if matches!(what, Meddling::Remove | Meddling::RemoveStatus) && !has_page {
                    self.promises.record_is_lost(place);
                }
                self.kernel.meddle(place, what);
                self.promises.may_be_untold |= what == Meddling::Remove;
            }
            Transition::Copy(from, to) => {
                self.budget.forgeries -= 1;
                self.copy(from, to);
                self.promises.state_is_replaced(to);
            }
            Transition::Forge(place, pid) => {
                self.budget.forgeries -= 1;
                self.forge(place, pid);
                self.promises.state_is_replaced(place);
            }
            Transition::LockScan => {
                self.budget.scan_locks -= 1;
                self.lock_scan();
            }
            Transition::Proc => {
                self.budget.procs -= 1;
                self.kernel.hides_proc = !self.kernel.hides_proc;
            }
            Transition::Reboot => {
                self.budget.boots -= 1;
                self.reboot();
            }
            Transition::Pass => {
                self.kernel.uptime = self.next_deadline().unwrap_or(self.kernel.uptime);
            }
        }
        self.see_commands()?;
        self.remove_ended();
        let lost = self.remove_pipes();
        if let Some(line) = lost.filter(|_| is_step_of_ours) {
            return Err(Broken::LineLost(line));
        }
        Promises::check(self.snapshot())
    }

    fn stop_adversary(&mut self) {
        self.budget = Budget::NONE;
        self.kernel.read_only = false;
    }

    fn is_sound(&self) -> bool {
        !self.kernel.read_only
    }

    fn check_at_rest(&self) -> Result<(), Broken> {
        Promises::check_at_rest(self.snapshot())
    }

    fn longest_rest(&self) -> Duration {
        LONGEST
    }

    fn words(&self, chosen: Transition) -> String {
        let place = |pid: i32| self.kernel.task(pid).and_then(|task| task.place);
        let of = |pid: i32| place(pid).map_or_else(String::new, |place| format!(" of {}", self.kernel.name(place)));
        let who = |pid: i32| match self.kernel.task(pid).map(|task| task.kind) {
            Some(Kind::Svscan) => format!("svscan {pid}"),
            Some(Kind::Supervise) => format!("supervise {pid}{}", of(pid)),
            Some(Kind::AtGate(role, _)) => format!("{pid}, at the gate of {}{},", role.program(), of(pid)),
            Some(Kind::BesideAtGate(which, _)) => format!("{pid}, at the gate of {}{},", which.program(), of(pid)),
            Some(Kind::Program(role)) => format!("{} {pid}{}", role.program(), of(pid)),
            Some(Kind::Beside(which)) => format!("{} {pid}{}", which.program(), of(pid)),
            Some(Kind::Stranger) => format!("stranger {pid}"),
            None => format!("process {pid}"),
        };
        let next = |pid: i32| {
            let svscan = self.svscan.as_ref().filter(|svscan| svscan.pid == pid).map(Svscan::next);
            let supervise = || self.supervises.iter().find(|supervise| supervise.pid == pid).map(Supervise::next);
            svscan.or_else(supervise).unwrap_or_else(|| "goes on".into())
        };
        match chosen {
            Transition::Step(INIT) => "process 1 waits for orphans, or starts svscan".into(),
            Transition::Step(pid) => format!("{}: {}", who(pid), next(pid)),
            Transition::Refuse(pid) => format!("{}: {}, which is refused", who(pid), next(pid)),
            Transition::Kill(pid) => format!("{} is killed", who(pid)),
            Transition::KillOurs => "svscan and all supervises are killed".into(),
            Transition::Exit(pid, code) => format!("{} exits {code}", who(pid)),
            Transition::NotExecuted(pid) => format!("{} cannot be executed", who(pid)),
            Transition::Write(pid) => format!("{} writes a line", who(pid)),
            Transition::Ignore(pid) => format!("{} does not obey TERM from now on", who(pid)),
            Transition::Hang(pid) => format!("{} does not end by itself", who(pid)),
            Transition::Tell(place, byte) => {
                format!("an operator writes {} to {}", char::from(byte), self.kernel.name(place))
            }
            Transition::Stop => "svscan is told to stop everything".into(),
            Transition::Stranger => "a stranger comes or goes".into(),
            Transition::Disk => "the disk turns".into(),
            Transition::TellLogger(at, command) => {
                format!("an operator uses svc to tell the logger of {} {command:?}", self.kernel.name(at))
            }
            Transition::Suspend => "the machine is suspended for an hour".into(),
            Transition::Meddle(at, what) => {
                format!("others meddle with supervise/ of {}: {what:?}", self.kernel.name(at))
            }
            Transition::Copy(from, to) => {
                format!("{} is copied into the place of {}", self.kernel.name(from), self.kernel.name(to))
            }
            Transition::Forge(at, pid) => {
                format!("the owner of {} writes a state that names {}", self.kernel.name(at), who(pid))
            }
            Transition::LockScan => "a stranger locks the scan directory".into(),
            Transition::Proc => "/proc goes or comes".into(),
            Transition::Reboot => "the machine is booted".into(),
            Transition::Pass => "time passes".into(),
        }
    }

    fn uptime(&self) -> Duration {
        self.kernel.uptime
    }
}
