//! The world: the kernel, the programs in it, and all that can happen next.

use crate::kernel::{INIT, Kernel, Kind, State};
use crate::promises::{Broken, Promises};
use crate::supervise::Supervise;
use crate::svscan::Svscan;
use daemontools::report::TEMPORARY;
use daemontools::service::Role;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};
use supervise::machine::EXIT_GATE_CLOSED;
use supervise::policy::Policy;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// A process makes its next step.
    Step(i32),
    /// A program of ours makes its next step, and the system refuses it.
    Refuse(i32),
    /// A process is killed.
    Kill(i32),
    /// A program of the service ends by itself with this exit code.
    Exit(i32, i32),
    /// What a child at its gate would become cannot be executed.
    NotExecuted(i32),
    /// A program of the service does not obey TERM.
    Ignore(i32),
    /// An operator writes a command.
    Tell(u8),
    /// svscan is told to stop everything.
    Stop,
    /// A process that has nothing to do with all this is made, which takes a number, or ends.
    Stranger,
    /// The disk takes no writes from now on, or takes them again.
    Disk,
    /// Time passes until the next thing is due.
    Pass,
}

/// How often the adversary may still do what is not a step of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Processes that it kills.
    pub kills: u32,
    /// Calls that it makes fail.
    pub refusals: u32,
    /// What it has the programs of the service do.
    pub deeds: u32,
    /// Commands that it writes.
    pub commands: u32,
    /// Strangers that it makes.
    pub strangers: u32,
    /// How often it turns the disk.
    pub disk: u32,
    /// How often it tells svscan to stop everything.
    pub stops: u32,
}

impl Budget {
    /// The adversary rests.
    pub const NONE: Budget = Budget { kills: 0, refusals: 0, deeds: 0, commands: 0, strangers: 0, disk: 0, stops: 0 };
}

/// So many moves are enough for everything to come to rest.
const MOST_MOVES: usize = 2000;
/// The longest pauses of ours, one after the other: a minute after a refused fork, and svscan's after a supervise that
/// could not serve.
const LONGEST: Duration = Duration::from_secs(60 + 80);

/// The commands that are written: up, down, once, terminate, exit when down.
const COMMANDS: &[u8] = b"udotx";

/// The world.
#[derive(Debug, Clone)]
pub struct World {
    /// The kernel.
    pub kernel: Kernel,
    /// svscan, if there is one.
    pub svscan: Option<Svscan>,
    /// All supervises that have not ended.
    pub supervises: Vec<Supervise>,
    /// What the adversary may still do.
    pub budget: Budget,
    /// Time passes only while no program has anything to do. Otherwise a program may be kept waiting for ever, and the
    /// schedules have no end.
    pub is_fast: bool,
    /// What must always hold, as far as it is known by now.
    pub promises: Promises,
    /// The service's settings.
    pub policy: Policy,
    epoch: Instant,
}

impl World {
    /// A machine that has just been booted, with a service of this policy.
    pub fn new(policy: Policy, budget: Budget, epoch: Instant) -> World {
        World {
            kernel: Kernel::default(),
            svscan: None,
            supervises: Vec::new(),
            budget,
            is_fast: false,
            promises: Promises::default(),
            policy,
            epoch,
        }
    }

    /// All that can happen next. `into` is emptied first.
    pub fn moves(&self, into: &mut Vec<Move>) {
        into.clear();
        if self.init_is_ready() {
            into.push(Move::Step(INIT));
        }
        for task in self.kernel.tasks.iter().filter(|task| task.state == State::Alive) {
            self.moves_of(task.pid, task.kind, into);
        }
        let may_pass = !self.is_fast || !into.iter().any(|chosen| matches!(chosen, Move::Step(_)));
        if may_pass && self.next_deadline().is_some() {
            into.push(Move::Pass);
        }
        if self.budget.commands > 0 && self.kernel.files.ok_reader.is_some() {
            into.extend(COMMANDS.iter().map(|byte| Move::Tell(*byte)));
        }
        if self.budget.stops > 0 && self.svscan.is_some() {
            into.push(Move::Stop);
        }
        if self.budget.strangers > 0 {
            into.push(Move::Stranger);
        }
        if self.budget.disk > 0 {
            into.push(Move::Disk);
        }
    }

    fn moves_of(&self, pid: i32, kind: Kind, into: &mut Vec<Move>) {
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
            Kind::AtGate(..) | Kind::Program(_) | Kind::Stranger => (self.child_is_ready(pid), false),
        };
        if ready {
            into.push(Move::Step(pid));
        }
        if ready && may_fail && self.budget.refusals > 0 {
            into.push(Move::Refuse(pid));
        }
        if self.budget.kills > 0 {
            into.push(Move::Kill(pid));
        }
        if self.budget.deeds > 0 {
            match kind {
                Kind::AtGate(..) if self.has_passed(pid) => into.push(Move::NotExecuted(pid)),
                Kind::Program(_) => into.extend([Move::Exit(pid, 0), Move::Exit(pid, 100), Move::Ignore(pid)]),
                Kind::AtGate(..) | Kind::Svscan | Kind::Supervise | Kind::Stranger => {}
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
            Kind::AtGate(_, gate) => {
                let gate = self.kernel.gates.get(gate).copied().unwrap_or_default();
                task.holds_lock || task.told_to_end || gate.passed || !gate.keeper
            }
            // `start`, `finish` and `stop` end by themselves.
            Kind::Program(Role::Run) => task.told_to_end && !task.ignores_term,
            Kind::Program(Role::Start | Role::Finish | Role::Stop) => true,
            Kind::Svscan | Kind::Supervise | Kind::Stranger => false,
        }
    }

    fn has_passed(&self, pid: i32) -> bool {
        match self.kernel.task(pid).map(|task| (task.kind, task.holds_lock)) {
            Some((Kind::AtGate(_, gate), false)) => {
                self.kernel.gates.get(gate).is_some_and(|gate| gate.passed && gate.process && gate.refused.is_none())
            }
            _ => false,
        }
    }

    /// When the first of our programs is due that is not ready yet, in time since boot.
    fn next_deadline(&self) -> Option<Duration> {
        let supervises = self.supervises.iter().filter_map(Supervise::deadline);
        let svscan = self.svscan.iter().filter_map(Svscan::deadline);
        supervises.chain(svscan).filter(|deadline| *deadline > self.kernel.uptime).min()
    }

    /// Lets the adversary rest, and all that is left to be done be done, each in its turn.
    ///
    /// # Errors
    /// Which promise is broken on the way, or in the end.
    pub fn rest(&mut self) -> Result<(), Broken> {
        self.rest_and_tell(|_, _| {})
    }

    /// The same; `tell` hears of each move before it is made.
    ///
    /// # Errors
    /// Which promise is broken on the way, or in the end.
    pub fn rest_and_tell(&mut self, mut tell: impl FnMut(&World, Move)) -> Result<(), Broken> {
        self.budget = Budget::NONE;
        self.kernel.files.read_only = false;
        let (mut moves, began) = (Vec::new(), self.kernel.uptime);
        for turn in 0..MOST_MOVES {
            self.moves(&mut moves);
            let steps = moves.iter().filter(|chosen| matches!(chosen, Move::Step(_))).count();
            let Some(chosen) = moves.get(turn % steps.max(1)).copied() else {
                let took = self.kernel.uptime - began;
                return if took > LONGEST { Err(Broken::TooLate(took)) } else { Promises::check_at_rest(self) };
            };
            tell(self, chosen);
            self.play(chosen)?;
        }
        Err(Broken::NeverAtRest)
    }

    /// What a move is about to do, in words.
    pub fn words(&self, chosen: Move) -> String {
        let who = |pid: i32| match self.kernel.task(pid).map(|task| task.kind) {
            Some(Kind::Svscan) => format!("svscan {pid}"),
            Some(Kind::Supervise) => format!("supervise {pid}"),
            Some(Kind::AtGate(role, _)) => format!("{pid}, at the gate of {},", role.program()),
            Some(Kind::Program(role)) => format!("{} {pid}", role.program()),
            Some(Kind::Stranger) => format!("stranger {pid}"),
            None => format!("process {pid}"),
        };
        let next = |pid: i32| {
            let svscan = self.svscan.as_ref().filter(|svscan| svscan.pid == pid).map(Svscan::next);
            let supervise = || self.supervises.iter().find(|supervise| supervise.pid == pid).map(Supervise::next);
            svscan.or_else(supervise).unwrap_or_else(|| "goes on".into())
        };
        match chosen {
            Move::Step(INIT) => "process 1 waits for orphans, or starts svscan".into(),
            Move::Step(pid) => format!("{}: {}", who(pid), next(pid)),
            Move::Refuse(pid) => format!("{}: {}, which is refused", who(pid), next(pid)),
            Move::Kill(pid) => format!("{} is killed", who(pid)),
            Move::Exit(pid, code) => format!("{} exits {code}", who(pid)),
            Move::NotExecuted(pid) => format!("{} cannot be executed", who(pid)),
            Move::Ignore(pid) => format!("{} does not obey TERM from now on", who(pid)),
            Move::Tell(byte) => format!("an operator writes {}", char::from(byte)),
            Move::Stop => "svscan is told to stop everything".into(),
            Move::Stranger => "a stranger comes or goes".into(),
            Move::Disk => "the disk turns".into(),
            Move::Pass => "time passes".into(),
        }
    }

    /// Has something happen.
    ///
    /// # Errors
    /// Which promise is broken now.
    pub fn play(&mut self, chosen: Move) -> Result<(), Broken> {
        match chosen {
            Move::Step(INIT) => self.step_of_init(),
            Move::Step(pid) => self.step(pid, false),
            Move::Refuse(pid) => {
                self.budget.refusals -= 1;
                self.step(pid, true);
            }
            Move::Kill(pid) => {
                self.budget.kills -= 1;
                self.kernel.end(pid, Signal::SIGKILL as i32);
            }
            Move::Exit(pid, code) => {
                self.budget.deeds -= 1;
                self.kernel.end(pid, code << 8);
            }
            Move::NotExecuted(pid) => {
                self.budget.deeds -= 1;
                self.refuse_execution(pid);
            }
            Move::Ignore(pid) => {
                self.budget.deeds -= 1;
                if let Some(task) = self.kernel.task_mut(pid) {
                    task.ignores_term = true;
                }
            }
            Move::Tell(byte) => {
                self.budget.commands -= 1;
                self.kernel.files.control.push(byte);
            }
            Move::Stop => {
                self.budget.stops -= 1;
                self.svscan.iter_mut().for_each(|svscan| svscan.told_to_stop = true);
                self.promises.is_to_stop = true;
            }
            Move::Stranger => {
                self.budget.strangers -= 1;
                self.turn_stranger();
            }
            Move::Disk => {
                self.budget.disk -= 1;
                self.kernel.files.read_only = !self.kernel.files.read_only;
                self.promises.may_be_untold = true;
            }
            Move::Pass => {
                self.kernel.uptime = self.next_deadline().unwrap_or(self.kernel.uptime);
            }
        }
        self.see_commands();
        self.bury();
        Promises::check(self)
    }

    /// Takes note of commands that a supervise has read, and of those that it has written down since.
    fn see_commands(&mut self) {
        for supervise in &mut self.supervises {
            self.promises.told(supervise.told.take(), supervise.unwritten_want);
        }
    }

    fn step_of_init(&mut self) {
        if let Some((pid, _)) = self.kernel.ended_child(INIT, None) {
            self.kernel.wait_for(pid);
        } else if self.svscan.is_none()
            && !self.promises.has_stopped
            && let Some(pid) = self.kernel.fork(INIT, Kind::Svscan)
        {
            self.svscan = Some(Svscan::new(pid, self.epoch));
        }
    }

    fn step(&mut self, pid: i32, fails: bool) {
        let World { kernel, svscan, supervises, policy, .. } = self;
        if let Some(svscan) = svscan.as_mut().filter(|svscan| svscan.pid == pid) {
            let started = svscan.step(kernel, fails).and_then(|pid| kernel.identify(pid));
            supervises.extend(started.map(|process| Supervise::new(process, true, policy.clone())));
        } else if let Some(supervise) = supervises.iter_mut().find(|supervise| supervise.pid == pid) {
            supervise.step(kernel, fails);
        } else {
            self.step_of_child(pid);
        }
    }

    /// A child of supervise closes the lock, waits for its gate, and becomes its program; a program ends.
    fn step_of_child(&mut self, pid: i32) {
        let Some(task) = self.kernel.task_mut(pid) else { return };
        let told_to_end = std::mem::take(&mut task.told_to_end);
        match task.kind {
            Kind::AtGate(..) if told_to_end => self.kernel.end(pid, Signal::SIGTERM as i32),
            Kind::AtGate(..) if task.holds_lock => task.holds_lock = false,
            Kind::AtGate(role, gate) => {
                let state = self.kernel.gates.get(gate).copied().unwrap_or_default();
                if state.refused.is_some() {
                    self.kernel.end(pid, TEMPORARY << 8);
                } else if state.passed {
                    if let Some(task) = self.kernel.task_mut(pid) {
                        task.kind = Kind::Program(role);
                    }
                    self.kernel.close_process_end(gate);
                } else {
                    self.kernel.end(pid, EXIT_GATE_CLOSED << 8);
                }
            }
            Kind::Program(Role::Run) => self.kernel.end(pid, Signal::SIGTERM as i32),
            Kind::Program(Role::Start | Role::Finish | Role::Stop) => self.kernel.end(pid, 0),
            Kind::Svscan | Kind::Supervise | Kind::Stranger => {}
        }
    }

    /// The stranger that there is ends, or there is one from now on.
    fn turn_stranger(&mut self) {
        let stranger = self.kernel.tasks.iter().find(|task| task.kind == Kind::Stranger && task.state == State::Alive);
        match stranger.map(|task| task.pid) {
            Some(pid) => self.kernel.end(pid, 0),
            None => drop(self.kernel.fork(INIT, Kind::Stranger)),
        }
    }

    fn refuse_execution(&mut self, pid: i32) {
        if let Some(Kind::AtGate(_, gate)) = self.kernel.task(pid).map(|task| task.kind)
            && let Some(gate) = self.kernel.gates.get_mut(gate)
        {
            gate.refused = Some(Errno::ENOENT as i32);
        }
    }

    /// Removes what was in the memory of programs that have ended.
    fn bury(&mut self) {
        let World { kernel, svscan, supervises, promises, .. } = self;
        if svscan.as_ref().is_some_and(|svscan| !kernel.is_alive(svscan.pid)) {
            // Killed, svscan is started again, and the next one knows of no stop.
            let ended = svscan.take().and_then(|svscan| kernel.task(svscan.pid)).map(|task| task.state);
            promises.has_stopped = ended == Some(State::Zombie(0));
            promises.is_to_stop = false;
            let page = kernel.read_page().map(|page| page.supervise.pid.as_raw());
            let is_unknown = |pid| kernel.is_alive(pid) && page != Some(pid);
            promises.may_be_left |= supervises.iter().any(|supervise| is_unknown(supervise.pid));
            promises.may_be_untold = true;
        }
        supervises.retain(|supervise| {
            let lives = kernel.is_alive(supervise.pid);
            if !lives {
                // A command that was not written down is lost with it, and one to exit has the next supervise begin anew.
                // Killed as the last thing, once that was written down, it has left as well.
                let last = kernel.read_page().or_else(|| kernel.read_state());
                let has_left = last.is_some_and(|record| record.leaving && record.process.is_none());
                promises.supervise_has_ended(has_left);
                supervise.gate().into_iter().for_each(|gate| kernel.close_keeper_end(gate));
            }
            lives
        });
        // A page is memory: it is gone with the last process that has it open. What was on it and not on the disk is known
        // to no one then, as supervise has said.
        if svscan.is_none() && supervises.is_empty() {
            let page = kernel.files.page.take().filter(|page| !page.is_empty());
            promises.may_be_doubled |= page.is_some() && page != kernel.files.state;
        }
    }
}
