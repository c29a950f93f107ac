//! What can happen to a service, and what can be done about it. No clock, no I/O.

use daemontools::service::policy::Policy;
use daemontools::service::{BackgroundFailure, Beside, Command, Exit, Held, Role, Want};
use nix::sys::signal::Signal;
use std::time::Duration;

/// What happens to a service.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// svscan stops the service, and has started this supervise only to end what the supervise before it has left. This
    /// is the first event, before any other tells what became of the process.
    StartNothing,
    /// supervise has started. It may be the first one, or the one after a supervise that was killed.
    Begun,
    /// A command came, through `supervise/control` or from svscan.
    Told(Command),
    /// The last command was `d`, and `u` or `o` follows, which came in the same write.
    Restart,
    /// The next command is the `d` of a restart, after which this is wanted.
    RestartFollows(Want),
    /// These are the settings that [`Action::Configure`] asked for.
    Configured(Box<Policy>),
    /// The process asked for by [`Action::Launch`] waits at its gate.
    Launched,
    /// The process asked for by [`Action::Launch`] could not be made.
    NotLaunched,
    /// The process has become the program.
    Executed,
    /// The process has ended.
    Ended(Exit),
    /// The process that an earlier supervise had made never passed its gate.
    NeverBegan,
    /// `run` has stopped itself by SIGSTOP.
    Stopped,
    /// What [`Action::Look`] asked for.
    Searched(SearchOutcome),
    /// The process asked for by [`Action::LaunchBeside`] waits at its gate.
    BesideLaunched,
    /// The process asked for by [`Action::LaunchBeside`] could not be made.
    BesideNotLaunched,
    /// The process beside `run` has become its program.
    BesideExecuted,
    /// The process beside `run` has ended.
    BesideEnded(Exit),
    /// The process beside `run` that an earlier supervise had made never passed its gate.
    BesideNeverBegan,
    /// The service says that it is ready, or `check` has found it to be.
    Ready,
    /// The service says that it is about to end.
    Stopping,
    /// The service says that it is alive.
    Alive,
    /// What the service says to its socket does not reach supervise.
    NotifySocketFailed,
    /// What the service says to its socket reaches supervise again.
    NotifySocketWorks,
    /// The service is another process now, or says something new of itself.
    Changed,
    /// For this time nothing could run, though the clock went on: the machine was suspended, or the container was
    /// paused.
    Frozen(Duration),
    /// The logger has nothing to read, and nothing is left that could write to it.
    Starved,
    /// Another program holds back the transition that [`Action::AskHolder`] names.
    Held,
    /// No other program holds it back.
    NotHeld,
    /// The program that held a transition back has gone.
    HolderGone,
    /// The deadline may have passed.
    Woken,
}

/// What supervise has found of the processes that a `run` has left which goes into the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchOutcome {
    /// None is left.
    Nothing,
    /// This one is the service's process, and supervise has taken it.
    Taken,
    /// Some are left, of which none can be taken, for this reason.
    Undecided(BackgroundFailure),
}

/// Whether an adopted process may have been at its gate when its supervise was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gated {
    /// It is not known whether the process has passed its gate.
    Maybe,
    /// The process has passed its gate.
    No,
}

/// Exit code of a process whose gate never opened. The next supervise does what the process was to do. No known program
/// exits with it.
pub const EXIT_GATE_CLOSED: i32 = 213;

impl Event {
    /// What the end of an adopted process means.
    pub fn of_adopted(exit: Exit, gated: Gated) -> Event {
        if exit == Exit::Code(EXIT_GATE_CLOSED) && gated == Gated::Maybe {
            Event::NeverBegan
        } else {
            Event::Ended(exit)
        }
    }
}

/// What is to be done about an event. The events that are the consequences of the actions follow in the order of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read the settings, then say [`Event::Configured`].
    Configure,
    /// Ask whether another program holds this transition back, then say [`Event::Held`] or [`Event::NotHeld`].
    AskHolder(Held),
    /// Make a process for this program and hold it at its gate, then say [`Event::Launched`]. `finish` is told how the life
    /// ended (see [`super::Machine::life_end`]).
    Launch(Role),
    /// Make a process for this program, which runs beside `run`, and hold it at its gate, then say
    /// [`Event::BesideLaunched`].
    LaunchBeside(Beside),
    /// Look for the processes that `run` has left, take the one that is the service's, unless all are to end, and say
    /// [`Event::Searched`].
    Look,
    /// Send a signal to the processes that `run` has left.
    SendLeft(Signal),
    /// Kill the processes that `run` has left, and all that they start meanwhile.
    KillLeft,
    /// Say why the service, which goes into the background, could not be started.
    ReportBackgroundFailure,
    /// Write `supervise/state`, which has what the next supervise must know.
    Record,
    /// Write `supervise/status`, for readers, and `supervise/state`.
    Publish,
    /// Let the process through the gate.
    OpenGate,
    /// Let the process beside `run` through its gate.
    OpenBesideGate,
    /// Send a signal to the process beside `run`.
    SendBeside(Signal),
    /// Send a signal to the process.
    Send(Signal),
    /// Send a signal to the process's group.
    SendGroup(Signal),
    /// Send a signal to the processes that stopping reaches: those of the setting `kill-scope`.
    SendScope(Signal),
    /// Kill what is left of the processes that stopping reaches, now that the main one has ended.
    KillRest,
    /// Tell the listeners in `supervise/event` of a transition, by one of s6's letters.
    Announce(char),
    /// Say why supervise gives the service up.
    ReportGivenUp,
    /// Say that the service has missed a deadline, and is told to end or killed.
    ReportMissedDeadline(MissedDeadline),
    /// Say that the logger is not started as long as it has nothing to read.
    ReportStarved,
    /// End supervise.
    Leave,
}

/// A deadline that the service did not meet. Each variant has the time that the service had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissedDeadline {
    /// The service was not ready within this time.
    NotReady(Duration),
    /// The service gave no sign of life for this time.
    Silent(Duration),
    /// The service was told to end, and still runs after this time.
    StillRuns(Duration),
    /// This program, which is not `run`, still runs after this time.
    ProgramStillRuns(Role, Duration),
    /// This program, which runs beside `run`, still runs after this time.
    BesideStillRuns(Beside, Duration),
}
