//! The program that runs beside `run`: a runner starts it, follows it, and tells the machine what becomes of it, as it does
//! for the programs that make up the service's life.

use super::{Runner, refusal};
use crate::launch::launch;
use crate::machine::{Event, Gated};
use crate::running::{InheritedProgram, LiveProgram};
use crate::shared::Shared;
use daemontools::Unable;
use daemontools::service::{Beside, Exit, Place, Record};
use daemontools::tai64::Moment;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

impl Runner {
    /// Takes over the program that ran beside `run` when the supervise before this one was killed. If it has ended, returns
    /// what is to be told to the machine.
    ///
    /// # Errors
    /// The system does not tell what became of the process.
    pub(super) fn adopt_beside(&mut self, record: &Record, place: &Place) -> Result<Option<Event>, Unable> {
        let Some((which, process)) = record.beside else { return Ok(None) };
        let gated = if record.beside_gated { Gated::Maybe } else { Gated::No };
        Ok(match LiveProgram::adopt(which, process, place, gated, Moment::now().uptime)? {
            InheritedProgram::Alive(program) => {
                self.beside = Some(program);
                None
            }
            InheritedProgram::Ended(event) => {
                let event = of_beside(event);
                if let Event::BesideEnded(exit) = event {
                    self.notify(which.into(), process.pid, Some(exit));
                }
                Some(event)
            }
        })
    }

    pub(super) fn launch_beside(&mut self, which: Beside, shared: &mut Shared) -> Event {
        self.read_stop_inputs(which.into(), shared);
        let socket = self.listener.variable();
        match launch(&self.launch_context(which.into(), socket.as_deref(), shared)) {
            Ok((process, gate)) => {
                self.beside = Some(LiveProgram::at_gate(which, process, gate));
                Event::BesideLaunched
            }
            Err(errno) => {
                self.messages.no_process(which, errno, shared.control_files.name());
                Event::BesideNotLaunched
            }
        }
    }

    pub(super) fn open_beside_gate(&mut self, shared: &mut Shared) {
        shared.publisher.see_it_written();
        self.beside.iter().for_each(LiveProgram::open_gate);
        shared.publisher.tidy();
        if let Some(program) = &self.beside {
            self.notify(program.role.into(), program.process.id.pid, None);
        }
    }

    pub(super) fn send_beside(&self, signal: Signal) {
        self.beside.iter().for_each(|program| program.process.send(signal));
    }

    /// Looks for news of the program that SIGCHLD does not tell.
    pub(super) fn poll_beside(&mut self, shared: &mut Shared) {
        let Some(program) = &mut self.beside else { return };
        if program.has_begun() {
            self.messages.executed(program.role);
            program.complete();
            self.handle(Event::BesideExecuted, shared);
        }
        let Some(program) = &mut self.beside else { return };
        match program.poll_adopted(&shared.control_files.place, Moment::now().uptime).map(of_beside) {
            Some(Event::BesideEnded(exit)) => self.beside_has_ended(exit, shared),
            Some(event @ Event::BesideNeverBegan) => {
                self.beside = None;
                self.handle(event, shared);
            }
            Some(event) => self.handle(event, shared),
            None => {}
        }
    }

    /// Handles the end of a child, if that is the process that runs beside `run`. Returns whether it is.
    pub(super) fn beside_child_ended(&mut self, pid: Pid, exit: Exit, shared: &mut Shared) -> bool {
        let Some(program) = self.beside.as_ref().filter(|program| program.process.id.pid == pid) else { return false };
        let refused = refusal(program, &mut self.messages, shared);
        self.beside_has_ended(refused.unwrap_or(exit), shared);
        true
    }

    fn beside_has_ended(&mut self, exit: Exit, shared: &mut Shared) {
        if let Some(program) = self.beside.take() {
            self.notify(program.role.into(), program.process.id.pid, Some(exit));
        }
        self.handle(Event::BesideEnded(exit), shared);
    }
}

/// What an event of an adopted process means, where it is the one beside `run`.
fn of_beside(event: Event) -> Event {
    match event {
        Event::Executed => Event::BesideExecuted,
        Event::Ended(exit) => Event::BesideEnded(exit),
        Event::NeverBegan => Event::BesideNeverBegan,
        event => event,
    }
}
