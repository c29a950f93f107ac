//! A program that runs for the service, and all by which supervise follows it: its process, the gate at which that waits
//! until the program may begin, and what is still to be found out about a process that was adopted.

use crate::adoption::{Adopted, AdoptionWatch, adopt};
use crate::exec_answer::ExecResult;
use crate::gate::Gate;
use crate::machine::{Event, Gated};
use crate::service_process::ServiceProcess;
use daemontools::Unable;
use daemontools::service::{Place, Process};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use std::os::fd::AsFd;
use std::time::Duration;

/// A program that runs. `R` says which of the service's programs it is.
pub struct LiveProgram<R> {
    pub role: R,
    pub process: ServiceProcess,
    /// The gate at which the process waits. It is kept until supervise has seen the process pass it.
    gate: Option<Gate>,
    adoption: AdoptionWatch,
}

/// What became of a program that a killed supervise left behind.
pub enum InheritedProgram<R> {
    /// The program still runs.
    Alive(LiveProgram<R>),
    /// The program has ended. This event tells the machine how.
    Ended(Event),
}

impl<R: Copy> LiveProgram<R> {
    /// A program whose process was made just now, and waits at its gate.
    pub fn at_gate(role: R, process: ServiceProcess, gate: Gate) -> LiveProgram<R> {
        LiveProgram { role, process, gate: Some(gate), adoption: AdoptionWatch::NONE }
    }

    /// A process that has taken the place of another one at `now`, in time since boot.
    pub fn taken(role: R, process: ServiceProcess, now: Duration) -> LiveProgram<R> {
        let adoption = if process.is_child() { AdoptionWatch::NONE } else { AdoptionWatch::new(Gated::No, now) };
        LiveProgram { role, process, gate: None, adoption }
    }

    /// Takes over the process in the record of an earlier supervise.
    ///
    /// # Errors
    /// The system does not tell what became of the process.
    pub fn adopt(
        role: R,
        process: Process,
        place: &Place,
        gated: Gated,
        now: Duration,
    ) -> Result<InheritedProgram<R>, Unable> {
        Ok(match adopt(process, place, gated)? {
            Adopted::Alive(process) => InheritedProgram::Alive(LiveProgram {
                role,
                process,
                gate: None,
                adoption: AdoptionWatch::new(gated, now),
            }),
            Adopted::Ended(event) => InheritedProgram::Ended(event),
        })
    }

    /// Adds the descriptors that are to be polled.
    pub fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        fds.extend(self.gate.iter().map(|gate| PollFd::new(gate.as_fd(), PollFlags::POLLIN)));
        if let Some(end) = self.process.end_watch() {
            // The descriptor of a process that has ended is always readable. Once supervise has seen that, only that
            // its parent waits for it is news.
            let news = if self.adoption.end_was_seen() { PollFlags::empty() } else { PollFlags::POLLIN };
            fds.push(PollFd::new(end, news));
        }
    }

    /// When to call [`LiveProgram::poll_adopted`] at the latest, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        self.adoption.deadline()
    }

    /// What has happened to an adopted process.
    pub fn poll_adopted(&mut self, place: &Place, now: Duration) -> Option<Event> {
        self.adoption.poll(&self.process, place, now)
    }

    /// Lets the process become its program.
    pub fn open_gate(&self) {
        self.gate.iter().for_each(Gate::open);
    }

    /// Whether the process has passed its gate since the last call, and has become its program.
    pub fn has_begun(&mut self) -> bool {
        match self.gate.as_ref().map(Gate::exec_result) {
            Some(ExecResult::Executed) => {
                self.gate = None;
                true
            }
            // The exit that follows at once reports the refusal.
            Some(ExecResult::Refused(_) | ExecResult::Pending) | None => false,
        }
    }

    /// For a process that has ended: whether it has become its program, or why it could not; `None`: it is not known. The
    /// gate of a process that ends at once was not looked at before.
    pub fn beginning(&self) -> Option<Result<(), Errno>> {
        match self.gate.as_ref().map(Gate::exec_result)? {
            ExecResult::Refused(errno) => Some(Err(errno)),
            ExecResult::Executed => Some(Ok(())),
            ExecResult::Pending => None,
        }
    }

    /// Completes what `supervise/state` has of a process that has become its program. Before that, supervise did not take
    /// the time to ask for all of it. Returns what was known before.
    pub fn complete(&mut self) -> Process {
        let known = self.process.id;
        if self.process.is_child() {
            self.process.id = known.completed_child();
        }
        known
    }
}
