//! What must always hold, whatever the adversary does. Each promise has a name, by which `tests/README.md` lists it.

use crate::kernel::{Kind, State, Task};
use crate::world::World;
use daemontools::service::{Command, Exit, Failure, Phase, Role, Want};
use std::fmt::{self, Display};
use std::time::Duration;
use supervise::machine::EXIT_GATE_CLOSED;

/// A promise that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// Two programs of the service run at once.
    Twice(i32, i32),
    /// The service is wanted up, nothing keeps it from running, and it does not run.
    NotUp,
    /// The service is wanted down, and still runs.
    NotDown(i32),
    /// A command that was written down is forgotten.
    CommandForgotten(Command, Want),
    /// At rest, no supervise is in charge.
    Unsupervised,
    /// At rest, `supervise/status` does not say what is so.
    WrongStatus(Option<i32>, Option<i32>),
    /// At rest, a process has ended and nothing waits for it.
    Zombie(i32),
    /// svscan was told to stop everything, and has not ended.
    StopNotOver,
    /// svscan has stopped everything, and this process is left.
    LeftAtStop(i32),
    /// A process that was never let through its gate counts as a life of the service that has ended.
    GateTakenForDeath,
    /// It is not known how a `run` has ended, though svscan, which could tell, was there all the time.
    EndNotTold,
    /// There is always something to do.
    NeverAtRest,
    /// It takes so long until nothing is left to be done, though no pause of ours is as long.
    TooLate(Duration),
}

impl Display for Broken {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Broken::Twice(one, other) => write!(to, "two programs of the service run at once: {one} and {other}"),
            Broken::NotUp => write!(to, "the service is wanted up and does not run"),
            Broken::NotDown(pid) => write!(to, "the service is wanted down and process {pid} runs"),
            Broken::CommandForgotten(command, want) => {
                write!(to, "{command:?} was obeyed, and later {want:?} is wanted")
            }
            Broken::Unsupervised => write!(to, "no supervise is in charge"),
            Broken::WrongStatus(shown, real) => write!(to, "supervise/status shows {shown:?}, and {real:?} runs"),
            Broken::Zombie(pid) => write!(to, "process {pid} has ended and is not waited for"),
            Broken::GateTakenForDeath => {
                write!(to, "a process that never passed its gate counts as a life that has ended")
            }
            Broken::StopNotOver => write!(to, "svscan was told to stop everything, and has not ended"),
            Broken::LeftAtStop(pid) => write!(to, "svscan has stopped everything, and process {pid} is left"),
            Broken::EndNotTold => write!(to, "it is not known how a run has ended"),
            Broken::NeverAtRest => write!(to, "there is always something to do"),
            Broken::TooLate(time) => write!(to, "it takes {time:?} until nothing is left to be done"),
        }
    }
}

/// What is remembered to see whether the promises are kept.
#[derive(Debug, Clone, Default)]
pub struct Promises {
    /// The last command that says what is wanted, once it was read.
    last: Option<Command>,
    /// The command is written down.
    settled: bool,
    /// What a supervise wrote down last is lost: the disk did not take it, and all who had it in memory were killed.
    pub may_be_doubled: bool,
    /// svscan was told to stop everything, and was not killed since.
    pub is_to_stop: bool,
    /// svscan has stopped everything, and has ended.
    pub has_stopped: bool,
    /// svscan was killed just after it had started a supervise, which had not written its page yet: the next svscan does not
    /// know of it. Told to stop at this moment, it ends too early. That is a fault, which is yet to be mended.
    pub may_be_left: bool,
    /// svscan was killed once, or could not write down how a process has ended.
    pub may_be_untold: bool,
}

impl Promises {
    /// A supervise has read this command since the last time, and has what it changed still to write down, or not.
    pub fn told(&mut self, command: Option<Command>, unwritten: bool) {
        if let Some(command @ (Command::Up | Command::Down | Command::Once)) = command {
            (self.last, self.settled) = (Some(command), false);
        }
        self.settled |= !unwritten;
    }

    /// A supervise has ended. A command that it had not written down may be forgotten, and once it `has_left`, as it was
    /// told to, the next supervise begins anew.
    pub fn supervise_has_ended(&mut self, has_left: bool) {
        if has_left || !self.settled {
            self.last = None;
        }
    }

    /// What holds at every moment.
    ///
    /// # Errors
    /// What does not.
    pub fn check(world: &World) -> Result<(), Broken> {
        let mut programs = world.kernel.tasks.iter().filter(|task| is_program(task));
        match (programs.next(), programs.next()) {
            (Some(one), Some(other)) if !world.promises.may_be_doubled => Err(Broken::Twice(one.pid, other.pid)),
            (_, _) => Ok(()),
        }
    }

    /// What holds once the adversary rests and nothing is left to be done.
    ///
    /// # Errors
    /// What does not.
    pub fn check_at_rest(world: &World) -> Result<(), Broken> {
        if world.promises.may_be_doubled {
            return Ok(());
        }
        let ours = world.kernel.tasks.iter().find(|task| task.kind != Kind::Stranger && task.state == State::Alive);
        match ours {
            Some(_) if world.promises.has_stopped && world.promises.may_be_left => return Ok(()),
            Some(task) if world.promises.has_stopped => return Err(Broken::LeftAtStop(task.pid)),
            None if world.promises.has_stopped => return Ok(()),
            Some(_) | None => {}
        }
        let stays = world.kernel.tasks.iter().any(|task| task.ignores_term) && world.policy.kill_after.is_none();
        match world.promises.is_to_stop {
            true if !stays => return Err(Broken::StopNotOver),
            true => return Ok(()),
            false => {}
        }
        let in_charge = world.supervises.iter().find(|supervise| world.kernel.files.ok_reader == Some(supervise.pid));
        let machine = in_charge.and_then(|supervise| supervise.machine.as_ref()).ok_or(Broken::Unsupervised)?;
        let record = machine.record();
        let program = world.kernel.tasks.iter().find(|task| is_program(task));
        let runs = program.map(|task| task.pid);
        match (record.want, program) {
            (Want::Up, None) if record.phase != Phase::Failed && !record.leaving => return Err(Broken::NotUp),
            // Without `timeout-kill` a process that does not obey TERM stays.
            (Want::Down, Some(task)) if !task.ignores_term || world.policy.kill_after.is_some() => {
                return Err(Broken::NotDown(task.pid));
            }
            (Want::Up | Want::Down | Want::Once, _) => {}
        }
        if world.kernel.files.status != runs {
            return Err(Broken::WrongStatus(world.kernel.files.status, runs));
        }
        if let Some(zombie) = world.kernel.tasks.iter().find(|task| task.state != State::Alive) {
            return Err(Broken::Zombie(zombie.pid));
        }
        let is_of_gate = |exit| exit == Exit::Code(EXIT_GATE_CLOSED);
        let failed_at_gate = matches!(record.failure, Some(Failure::Start(exit)) if is_of_gate(exit));
        if failed_at_gate || record.deaths.iter().any(|death| is_of_gate(death.exit)) {
            return Err(Broken::GateTakenForDeath);
        }
        if !world.promises.may_be_untold && record.deaths.iter().any(|death| death.exit == Exit::Unknown) {
            return Err(Broken::EndNotTold);
        }
        match (world.promises.last, record.want) {
            (Some(command @ Command::Down), want @ (Want::Up | Want::Once)) => {
                Err(Broken::CommandForgotten(command, want))
            }
            (Some(_) | None, _) => Ok(()),
        }
    }
}

/// Whether it is one of the service's programs, and alive.
fn is_program(task: &Task) -> bool {
    match task.kind {
        Kind::Program(Role::Start | Role::Run | Role::Finish | Role::Stop) => task.state == State::Alive,
        Kind::AtGate(..) | Kind::Svscan | Kind::Supervise | Kind::Stranger => false,
    }
}
