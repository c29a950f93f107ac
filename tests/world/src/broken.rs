//! How each promise can be broken, and the words for it. `tests/README.md` lists the promises.

use daemontools::service::{Command, Want};
use std::fmt::{self, Display};
use std::time::Duration;

/// A promise that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// Two programs of the service run at the same time.
    Twice(i32, i32),
    /// The service is wanted up and nothing keeps it from running, but it does not run.
    NotUp,
    /// The service is wanted down, but still runs.
    NotDown(i32),
    /// A command that was recorded is forgotten.
    CommandForgotten(Command, Want),
    /// Two programs run at the same time beside `run`.
    TwiceBeside(i32, i32),
    /// This `reload` runs, and was not told to.
    ReloadedTwice(i32),
    /// This process was to be killed, by `k` or a second `d`, and is still alive.
    KillBlocked(i32),
    /// At rest, no supervise is in charge.
    Unsupervised,
    /// At rest, `supervise/status` is wrong.
    WrongStatus(Option<i32>, Option<i32>),
    /// At rest, a process has ended and no process waits for it.
    Zombie(i32),
    /// svscan was told to stop everything, and has not ended.
    StopNotOver,
    /// svscan has stopped everything, but this process is left.
    LeftAtStop(i32),
    /// A supervise that svscan has started while it stops everything has started this `run`.
    StartedAtStop(i32),
    /// A logger was told to end while its service ran.
    LoggerToldTooEarly(i32),
    /// This `run` of a service was started before the service was ready that it comes after.
    BeforeItsTurn(i32),
    /// At a stop, the service before was told to stop while this program of a service ran that comes after it.
    StoppedTooEarly(i32),
    /// At rest, a process does not have the pipe between the service and its logger, or not its end of it.
    WrongPipe(i32),
    /// At rest, lines are in the pipe, and a logger runs.
    LinesUnread(usize),
    /// A process that never passed its gate is counted as a death of the service.
    GateTakenForDeath,
    /// A `run` that could not be executed is counted as one that has run and ended.
    RefusalTakenForRun,
    /// It is not known how a `run` has ended, although svscan, which could tell, was there all the time.
    EndNotTold,
    /// The programs never finish their work.
    NeverAtRest,
    /// The programs finish their work, but take longer than any pause of ours.
    TooLate(Duration),
    /// A line that multilog took is in no file, or a line that a service wrote for its logger is gone with the pipe.
    LineLost(usize),
    /// A line is there twice.
    LineDoubled(usize),
    /// Something that is no line of the service is in the log.
    LineTorn(String),
    /// A supervise runs this process as the one of its service, and it is another service's, or none's.
    OtherProcess(i32),
    /// At rest, others cannot reach the supervise in charge through its files, or a second one could start.
    Unreachable,
    /// A command was taken for one for another part of the service than it was written for.
    Misdirected(Command),
    /// This process was killed as it took too long, and had not had the time that it may take.
    KilledTooEarly(i32),
    /// A line stands behind a later one.
    LinesOutOfOrder(usize, usize),
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
            Broken::TwiceBeside(one, other) => write!(to, "two programs run beside run at once: {one} and {other}"),
            Broken::ReloadedTwice(pid) => write!(to, "reload {pid} runs once more, and was not told to"),
            Broken::KillBlocked(pid) => write!(to, "process {pid} was to be killed and is alive"),
            Broken::Unsupervised => write!(to, "no supervise is in charge"),
            Broken::WrongStatus(shown, real) => write!(to, "supervise/status shows {shown:?}, and {real:?} runs"),
            Broken::Zombie(pid) => write!(to, "process {pid} has ended and is not waited for"),
            Broken::GateTakenForDeath => {
                write!(to, "a process that never passed its gate counts as a life that has ended")
            }
            Broken::RefusalTakenForRun => write!(to, "a run that could not be executed counts as one that has run"),
            Broken::StopNotOver => write!(to, "svscan was told to stop everything, and has not ended"),
            Broken::LeftAtStop(pid) => write!(to, "svscan has stopped everything, and process {pid} is left"),
            Broken::StartedAtStop(pid) => {
                write!(to, "run {pid} was started by a supervise that was to end the service")
            }
            Broken::LoggerToldTooEarly(pid) => {
                write!(to, "the logger was told to end, and run {pid} of its service runs")
            }
            Broken::BeforeItsTurn(pid) => {
                write!(to, "run {pid} was started before the service was ready that it comes after")
            }
            Broken::StoppedTooEarly(pid) => {
                write!(to, "a service was told to stop while {pid} ran, of a service that comes after it")
            }
            Broken::WrongPipe(pid) => write!(to, "process {pid} does not have its end of the pipe"),
            Broken::LinesUnread(lines) => write!(to, "the logger runs, and {lines} lines are in its pipe"),
            Broken::EndNotTold => write!(to, "it is not known how a run has ended"),
            Broken::NeverAtRest => write!(to, "there is always something to do"),
            Broken::LineLost(line) => write!(to, "line {line} is lost"),
            Broken::LineDoubled(line) => write!(to, "line {line} is there twice"),
            Broken::LineTorn(text) => write!(to, "no line of the service is \"{text}\""),
            Broken::LinesOutOfOrder(one, other) => write!(to, "line {other} stands behind line {one}"),
            Broken::OtherProcess(pid) => write!(to, "process {pid} is none of the service, and its supervise runs it"),
            Broken::Unreachable => write!(to, "the supervise in charge is not reached through its files"),
            Broken::Misdirected(command) => write!(to, "{command:?} was written for another part of the service"),
            Broken::KilledTooEarly(pid) => write!(to, "process {pid} was killed before its time was over"),
            Broken::TooLate(time) => write!(to, "it takes {time:?} until nothing is left to be done"),
        }
    }
}
