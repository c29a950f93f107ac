//! What must always hold, whatever the adversary does. Each promise has a name, under which `tests/README.md` lists it.

use crate::broken::Broken;
use crate::kernel::{End, Kernel, Kind, Place, State, Task};
use crate::supervise::{StartReason, Supervise};
use crate::svscan::Svscan;
use daemontools::report::TEMPORARY;
use daemontools::service::{Command, Exit, Failure, Part, Phase, Process, Role, Want};
use std::collections::BTreeMap;
use std::time::Duration;
use supervise::machine::{EXIT_GATE_CLOSED, Machine};

/// How long a program that is to end has until it is killed, without `timeout-kill`.
const KILL_OVERDUE: Duration = Duration::from_secs(5);

/// What the world remembers of one supervised directory in order to check the promises.
#[derive(Debug, Clone, Default)]
struct Remembered {
    /// The last command that was read and that says whether the service shall run.
    last: Option<Command>,
    /// Whether that command is recorded.
    settled: bool,
    /// Whether the last record of a supervise is lost: the disk refused it, and all processes that had it in memory
    /// were killed. The service may then run twice.
    may_be_doubled: bool,
    /// Whether the service was ready at some time.
    was_ready: bool,
    /// The processes that `k` or a second `d` is to end.
    to_be_killed: Vec<Process>,
    /// The `run` beside which `reload` is to run, as is recorded.
    to_reload: Option<Process>,
    /// Whether a supervise of it has ended: the next one cannot know why a process could not be executed.
    has_lost_supervise: bool,
    /// How often `reload` may run, as it was told to.
    reloads_told: u32,
}

/// What the world remembers in order to check the promises.
#[derive(Debug, Clone, Default)]
pub struct Promises {
    of: BTreeMap<Place, Remembered>,
    /// Whether svscan was told to stop everything, and was not killed since.
    pub is_to_stop: bool,
    /// Whether svscan has stopped everything, and has ended.
    pub has_stopped: bool,
    /// Whether svscan was killed at least once, or could not record how a process has ended.
    pub may_be_untold: bool,
    /// How many lines services have written.
    written: usize,
}

/// What a world is at one moment, as far as the promises are about it.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// svscan, if it runs.
    pub svscan: Option<&'a Svscan>,
    /// All supervises that have not ended.
    pub supervises: &'a [Supervise],
    /// What has happened so far.
    pub promises: &'a Promises,
}

impl Promises {
    /// Nothing has happened yet in these directories.
    pub fn new(places: impl Iterator<Item = Place>) -> Promises {
        Promises { of: places.map(|place| (place, Remembered::default())).collect(), ..Promises::default() }
    }

    /// Notes that the machine is booted: what was wanted of services before does not count any more. How a process has ended
    /// may be unknown.
    pub fn reboot(&mut self, places: impl Iterator<Item = Place>) {
        let known = Remembered { has_lost_supervise: true, ..Remembered::default() };
        let of = places.map(|place| (place, known.clone())).collect();
        *self = Promises { of, may_be_untold: true, written: self.written, ..Promises::default() };
    }

    /// Notes that the supervise of a directory has read this command. `unwritten` tells whether it still has to record
    /// what the command changed.
    pub fn told(&mut self, place: Place, command: Option<Command>, unwritten: bool, kernel: &Kernel) {
        let Some(known) = self.of.get_mut(&place) else { return };
        if command == Some(Command::Kill) {
            let is_killed = |kind| matches!(kind, Kind::Program(_) | Kind::Beside(_));
            known.to_be_killed.extend(alive(kernel, place, is_killed));
        }
        if matches!(command, Some(Command::Kill | Command::Down | Command::Once)) {
            known.to_reload = None;
        }
        known.reloads_told += u32::from(command == Some(Command::Reload));
        if let Some(command @ (Command::Up | Command::Down | Command::Once)) = command {
            (known.last, known.settled) = (Some(command), false);
        }
        known.settled |= !unwritten;
    }

    /// Notes that a supervise has recorded that it is to run `reload`.
    pub fn is_to_reload(&mut self, place: Place, kernel: &Kernel) {
        let run = alive(kernel, place, |kind| kind == Kind::Program(Role::Run)).next();
        self.of.entry(place).or_default().to_reload = run;
    }

    /// Notes that a second `d` has come, which ends the programs that take too long.
    pub fn is_to_end_programs(&mut self, place: Place, kernel: &Kernel) {
        let is_ended = |kind| matches!(kind, Kind::Program(Role::PreStart) | Kind::Beside(_));
        self.of.entry(place).or_default().to_be_killed.extend(alive(kernel, place, is_ended));
    }

    /// How often `reload` was told to run in this directory, and has not run yet.
    pub fn reloads_told(&self, place: Place) -> u32 {
        self.of.get(&place).map_or(0, |known| known.reloads_told)
    }

    /// Notes that `reload` was executed.
    ///
    /// # Errors
    /// It was told to run less often. If svscan was killed, the end of a `reload` may be unknown that was not seen to be
    /// executed: it is run once more.
    pub fn executes_reload(&mut self, place: Place, pid: i32) -> Result<(), Broken> {
        self.reloads(place);
        let known = self.of.entry(place).or_default();
        let is_told = known.reloads_told > 0 || known.may_be_doubled || self.may_be_untold;
        known.reloads_told = known.reloads_told.saturating_sub(1);
        if is_told { Ok(()) } else { Err(Broken::ReloadedTwice(pid)) }
    }

    /// Notes that `reload` runs, or that the system has refused it.
    pub fn reloads(&mut self, place: Place) {
        self.of.entry(place).or_default().to_reload = None;
    }

    /// Notes that the supervise of a directory has ended. A command that it had not recorded may be forgotten. If it
    /// `has_left` as it was told to, the next supervise begins anew.
    pub fn supervise_has_ended(&mut self, place: Place, has_left: bool) {
        let Some(known) = self.of.get_mut(&place) else { return };
        known.to_be_killed.clear();
        known.has_lost_supervise = true;
        if has_left || !known.settled {
            (known.last, known.to_reload) = (None, None);
        }
    }

    /// Notes that another state was put in the place of that of a directory: what was recorded there is gone.
    pub fn state_is_replaced(&mut self, place: Place) {
        let known = self.of.entry(place).or_default();
        (known.last, known.to_reload) = (None, None);
        self.may_be_untold = true;
    }

    /// Notes that `run` of this directory was executed, with which it is ready.
    pub fn is_ready(&mut self, place: Place) {
        self.of.entry(place).or_default().was_ready = true;
    }

    /// Notes that the page of a directory is gone, and that the disk does not have what was on it.
    pub fn record_is_lost(&mut self, place: Place) {
        self.of.entry(place).or_default().may_be_doubled = true;
    }

    /// Returns the number of a line that a service writes.
    pub fn write_line(&mut self) -> usize {
        self.written += 1;
        self.written
    }

    fn may_be_doubled(&self, place: Place) -> bool {
        self.of.get(&place).is_some_and(|known| known.may_be_doubled)
    }

    /// Checks what must hold at every moment.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn check(world: Snapshot) -> Result<(), Broken> {
        for place in world.kernel.places().filter(|place| !world.promises.may_be_doubled(*place)) {
            let mut programs = programs_of(world, place);
            if let (Some(one), Some(other)) = (programs.next(), programs.next()) {
                return Err(Broken::Twice(one.pid, other.pid));
            }
            let mut beside = beside_of(world, place);
            if let (Some(one), Some(other)) = (beside.next(), beside.next()) {
                return Err(Broken::TwiceBeside(one.pid, other.pid));
            }
        }
        if let Some(other) = world.supervises.iter().find_map(|supervise| other_process(world, supervise)) {
            return Err(Broken::OtherProcess(other));
        }
        if let Some(run) = told_too_early(world) {
            return Err(Broken::LoggerToldTooEarly(run.pid));
        }
        check_order(world)?;
        let starts_nothing = |pid| {
            world.supervises.iter().any(|supervise| supervise.pid == pid && supervise.reason == StartReason::Stop)
        };
        let is_run = |task: &&Task| matches!(task.kind, Kind::AtGate(Role::Start | Role::PreStart | Role::Run, _));
        match world.kernel.tasks.iter().find(|task| is_run(task) && starts_nothing(task.parent)) {
            Some(run) => Err(Broken::StartedAtStop(run.pid)),
            None => Ok(()),
        }
    }

    /// Checks what must hold when the adversary rests and the programs have finished their work.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn check_at_rest(world: Snapshot) -> Result<(), Broken> {
        if world.promises.of.values().any(|known| known.may_be_doubled) {
            return Ok(());
        }
        let ours = world.kernel.tasks.iter().find(|task| task.kind != Kind::Stranger && task.state == State::Alive);
        match ours {
            Some(task) if world.promises.has_stopped => return Err(Broken::LeftAtStop(task.pid)),
            None if world.promises.has_stopped => return Ok(()),
            Some(_) | None => {}
        }
        let is_there = |process: &&Process| world.kernel.find(process).is_some_and(|task| task.state == State::Alive);
        let mut to_be_killed = world.promises.of.values().flat_map(|known| &known.to_be_killed);
        if let Some(process) = to_be_killed.find(is_there) {
            return Err(Broken::KillBlocked(process.pid.as_raw()));
        }
        let stays = world.kernel.tasks.iter().any(|task| task.hangs || (task.ignores_term && !is_killed(world, task)));
        match world.promises.is_to_stop {
            true if !stays => return Err(Broken::StopNotOver),
            true => return Ok(()),
            false => {}
        }
        if let Some(zombie) = world.kernel.tasks.iter().find(|task| task.state != State::Alive) {
            return Err(Broken::Zombie(zombie.pid));
        }
        world.promises.of.iter().try_for_each(|(place, known)| known.check_at_rest(world, *place))
    }
}

impl Remembered {
    fn check_at_rest(&self, world: Snapshot, place: Place) -> Result<(), Broken> {
        let files = world.kernel.files(place);
        let is_its = |supervise: &&Supervise| supervise.place == place && supervise.is_in_charge;
        let in_charge = world.supervises.iter().find(is_its);
        let earlier = world.kernel.earlier(place.id).map(|service| Place { id: service.id, part: Part::Service });
        let is_earlier_up =
            earlier.is_none_or(|place| programs_of(world, place).any(|task| task.kind == Kind::Program(Role::Run)));
        if in_charge.is_none() && place.part == Part::Service && !is_earlier_up {
            // It still waits.
            return Ok(());
        }
        let machine = in_charge.and_then(|supervise| supervise.machine.as_ref()).ok_or(Broken::Unsupervised)?;
        let record = machine.record();
        let program = programs_of(world, place).next();
        let runs = program.map(|task| task.pid);
        // What has no limit may hang for ever, until `k` or a second `d` comes.
        let hangs = |task: &Task| task.place == Some(place) && task.hangs && task.state == State::Alive;
        let is_held_up = world.kernel.tasks.iter().any(hangs);
        match (record.want, program) {
            _ if is_held_up => {}
            (Want::Up, None) if record.phase != Phase::Failed && !record.leaving => return Err(Broken::NotUp),
            (Want::Down, Some(task)) if !task.ignores_term || is_killed(world, task) => {
                return Err(Broken::NotDown(task.pid));
            }
            (Want::Up | Want::Down | Want::Once, _) => {}
        }
        // supervise sees what others have done to its files when it wakes.
        if !files.is_touched {
            check_files(world, place, in_charge)?;
            if files.status != runs {
                return Err(Broken::WrongStatus(files.status, runs));
            }
        }
        check_pipe(world, place, in_charge.map_or(0, |supervise| supervise.pid), program)?;
        let is_of_gate = |exit| exit == Exit::Code(EXIT_GATE_CLOSED);
        let failed_at_gate = matches!(record.failure, Some(Failure::Start(exit)) if is_of_gate(exit));
        if failed_at_gate || record.deaths.iter().any(|death| is_of_gate(death.exit)) {
            return Err(Broken::GateTakenForDeath);
        }
        let is_of_refusal = |exit| exit == Exit::Code(TEMPORARY);
        if !self.has_lost_supervise && record.deaths.iter().any(|death| is_of_refusal(death.exit)) {
            return Err(Broken::RefusalTakenForRun);
        }
        if !world.promises.may_be_untold && record.deaths.iter().any(|death| death.exit == Exit::Unknown) {
            return Err(Broken::EndNotTold);
        }
        let is_run = |process: &Process| world.kernel.find(process).is_some_and(|task| task.state == State::Alive);
        // A `run` that was told to end, as its `post-start` has failed, may ignore that.
        let goes_on = record.want == Want::Up && record.ending.is_none() && !record.leaving && !is_held_up;
        if goes_on && self.to_reload.as_ref().is_some_and(is_run) {
            return Err(Broken::CommandForgotten(Command::Reload, record.want));
        }
        match (self.last, record.want) {
            (Some(command @ Command::Down), want @ (Want::Up | Want::Once)) => {
                Err(Broken::CommandForgotten(command, want))
            }
            (Some(_) | None, _) => Ok(()),
        }
    }
}

/// A process that a supervise runs and that is not of its directory.
fn other_process(world: Snapshot, supervise: &Supervise) -> Option<i32> {
    let mut its = supervise.processes().filter_map(|process| world.kernel.find(&process));
    its.find(|task| task.place != Some(supervise.place)).map(|task| task.pid)
}

/// Checks that others reach the supervise in charge through its files, and that no second one could start.
fn check_files(world: Snapshot, place: Place, in_charge: Option<&Supervise>) -> Result<(), Broken> {
    let (files, Some(pid)) = (world.kernel.files(place), in_charge.map(|supervise| supervise.pid)) else {
        return Ok(());
    };
    let is_locked = world.kernel.lock_holders(place).any(|task| task.pid == pid);
    let is_read = (files.ok_reader, files.control_reader) == (Some(pid), Some(pid));
    if is_locked && is_read && files.has_status && files.state.is_some() { Ok(()) } else { Err(Broken::Unreachable) }
}

/// Checks that a process that its supervise has killed, as it took too long, had the time that it may take.
///
/// # Errors
/// The promise is broken.
pub fn was_killed_for_time(kernel: &Kernel, pid: i32) -> Result<(), Broken> {
    let Some(task) = kernel.task(pid).filter(|task| !task.has_lost_time) else { return Ok(()) };
    let within = task.place.and_then(|place| kernel.policy(place).kill_after).unwrap_or(KILL_OVERDUE).min(KILL_OVERDUE);
    let had = task.told_at.map(|told| kernel.time_to_run().saturating_sub(told));
    if had.is_some_and(|had| had < within) { Err(Broken::KilledTooEarly(pid)) } else { Ok(()) }
}

/// The programs of a directory's service that are alive.
fn programs_of(world: Snapshot<'_>, place: Place) -> impl Iterator<Item = &Task> {
    world.kernel.tasks.iter().filter(move |task| task.place == Some(place) && is_program(task))
}

/// The processes of a directory of such a kind that are alive.
fn alive(kernel: &Kernel, place: Place, is_kind: impl Fn(Kind) -> bool) -> impl Iterator<Item = Process> {
    let tasks = kernel.tasks.iter().filter(move |task| task.place == Some(place) && is_kind(task.kind));
    tasks.filter(|task| task.state == State::Alive).filter_map(|task| kernel.identify(task.pid))
}

/// The programs beside `run` that are alive.
fn beside_of(world: Snapshot<'_>, place: Place) -> impl Iterator<Item = &Task> {
    let is_beside = |task: &&Task| matches!(task.kind, Kind::Beside(_)) && task.state == State::Alive;
    world.kernel.tasks.iter().filter(move |task| task.place == Some(place)).filter(is_beside)
}

/// A program of a service that runs although svscan, which stops everything, has told the service's logger to end. Only
/// svscan tells loggers in this world to end.
fn told_too_early(world: Snapshot<'_>) -> Option<&Task> {
    let leaves = |supervise: &&Supervise| {
        let record = supervise.machine.as_ref().map(Machine::record);
        supervise.place.part == Part::Logger && record.is_some_and(|record| record.leaving)
    };
    let told = world.supervises.iter().filter(|_| world.promises.is_to_stop).filter(leaves);
    let services = told.map(|logger| Place { part: Part::Service, ..logger.place });
    services.filter(|place| !world.promises.may_be_doubled(*place)).flat_map(|place| programs_of(world, place)).next()
}

/// Checks that a service which comes after another is started after that one and stopped before it.
fn check_order(world: Snapshot) -> Result<(), Broken> {
    let kernel = world.kernel;
    for later in kernel.places().filter(|place| place.part == Part::Service) {
        let Some(service) = kernel.earlier(later.id) else { continue };
        let earlier = Place { id: service.id, part: Part::Service };
        let was_ready = world.promises.of.get(&earlier).is_some_and(|known| known.was_ready);
        let is_run = |task: &&Task| matches!(task.kind, Kind::AtGate(Role::Run, _) | Kind::Program(Role::Run));
        let run = kernel.tasks.iter().filter(|task| task.place == Some(later)).find(is_run);
        if let Some(run) = run.filter(|_| !was_ready) {
            return Err(Broken::BeforeItsTurn(run.pid));
        }
        // Only svscan sends commands by signal.
        let of_earlier = |pid: i32| kernel.task(pid).is_some_and(|task| task.place == Some(earlier));
        let is_told = world.promises.is_to_stop && kernel.told.iter().any(|(pid, _)| of_earlier(*pid));
        let program = programs_of(world, later).find(|_| is_told && !world.promises.may_be_doubled(later));
        program.map_or(Ok(()), |task| Err(Broken::StoppedTooEarly(task.pid)))?;
    }
    Ok(())
}

/// Checks that svscan, the supervise of a directory, and its program have the ends of one pipe, and that no line is in it
/// that a logger could read.
fn check_pipe(world: Snapshot, place: Place, supervise: i32, program: Option<&Task>) -> Result<(), Broken> {
    let Some(svscan) = world.svscan else { return Ok(()) };
    let known = svscan.pipe(place.id).filter(|_| world.kernel.has_logger(place.id));
    let wanted = known.map(|pipe| End { pipe, writes: place.part == Part::Service });
    let holds = |pid: i32| world.kernel.end_of(pid) == wanted;
    let others = program.map(|task| task.pid).into_iter().chain([supervise]);
    if let Some(pid) = others.into_iter().find(|pid| !holds(*pid)) {
        return Err(Broken::WrongPipe(pid));
    }
    let is_read = place.part == Part::Logger && program.is_some_and(|task| !task.stopped);
    let lines = known.and_then(|pipe| world.kernel.pipes.get(pipe)).map_or(0, |pipe| pipe.lines.len());
    if is_read && lines > 0 { Err(Broken::LinesUnread(lines)) } else { Ok(()) }
}

/// Whether a process that ignores TERM is killed some time later: without `timeout-kill`, it stays alive.
fn is_killed(world: Snapshot, task: &Task) -> bool {
    task.place.is_some_and(|place| world.kernel.policy(place).kill_after.is_some())
}

/// Whether this is one of the service's programs, and alive.
fn is_program(task: &Task) -> bool {
    match task.kind {
        Kind::Program(Role::Start | Role::PreStart | Role::Run | Role::Finish | Role::Stop) => {
            task.state == State::Alive
        }
        Kind::AtGate(..)
        | Kind::BesideAtGate(..)
        | Kind::Beside(_)
        | Kind::Svscan
        | Kind::Supervise
        | Kind::Stranger => false,
    }
}
