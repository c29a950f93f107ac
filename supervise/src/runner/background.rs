//! How a runner follows a service that goes into the background: it looks for what `run` has left, and takes the process
//! that is the service's.

use super::Runner;
use crate::lookout::{Look, Lookout, Traces};
use crate::machine::{Event, SearchOutcome};
use crate::running::LiveProgram;
use crate::shared::Shared;
use daemontools::service::{Role, SearchGoal};
use daemontools::tai64::Moment;
use nix::sys::signal::Signal;
use std::time::Duration;

/// How often supervise asks whether an adopted process has raised SIGSTOP.
const ASK_AGAIN: Duration = Duration::from_millis(100);

impl Runner {
    /// Looks for what `run` has left, and takes the process that is the service's if that is what is looked for.
    pub(super) fn look(&mut self, shared: &mut Shared) -> Event {
        let now = Moment::now().uptime;
        let mut lookout = self.lookout.take().unwrap_or_else(|| Box::new(Lookout::new(now)));
        let traces = self.traces(shared);
        let is_end = self.machine.search().is_none_or(|search| search.purpose == SearchGoal::End);
        let outcome = match is_end {
            true if lookout.look_for_any(&traces, now) => SearchOutcome::Undecided(lookout.astray()),
            true => SearchOutcome::Nothing,
            false => match lookout.look(&traces, now) {
                Look::Nothing => SearchOutcome::Nothing,
                Look::Undecided(astray) => SearchOutcome::Undecided(astray),
                Look::Process(process) => {
                    self.last_run = Some(process.id);
                    self.messages.is_in_background();
                    self.program = Some(LiveProgram::taken(Role::Run, process, now));
                    SearchOutcome::Taken
                }
            },
        };
        // The words for a message are kept until it is said.
        self.lookout = Some(lookout).filter(|_| outcome != SearchOutcome::Taken);
        Event::Searched(outcome)
    }

    /// Listens no more to a service whose life is over. As long as its process is looked for, what it says may still come.
    pub(super) fn stop_listening(&mut self, shared: &Shared) {
        if self.machine.search().is_none() && self.run().is_none() {
            self.forget_channels(shared);
        }
    }

    fn traces<'a>(&'a self, shared: &'a Shared) -> Traces<'a> {
        let beside = self.beside.iter().map(|program| program.process.id.pid);
        Traces {
            run: self.last_run,
            started: self.machine.started(),
            is_inherited: self.is_inherited,
            strangers: shared.strangers().and(self.children()).and(beside),
            pidfile: self.configuration.policy().pidfile.as_deref(),
            place: &shared.control_files.place,
        }
    }

    /// Looks again, if that is to be done now.
    pub(super) fn poll_background(&mut self, shared: &mut Shared) {
        if self.machine.awaits_stop() {
            self.see_stop(shared);
        }
        let Some(lookout) = &self.lookout else { return };
        if self.machine.search().is_none() {
            self.lookout = None;
            return;
        }
        // The end of a child decides at once. To look for the processes of an earlier supervise takes longer.
        if !self.is_inherited || lookout.deadline() <= Moment::now().uptime {
            let event = self.look(shared);
            self.handle(event, shared);
            self.stop_listening(shared);
        }
    }

    /// Sees whether `run` has raised SIGSTOP. SIGCHLD tells it of a child. For an adopted process supervise asks again.
    fn see_stop(&mut self, shared: &mut Shared) {
        if self.run().is_some_and(|process| process.is_stopped()) {
            self.handle(Event::Stopped, shared);
        }
    }

    /// When to ask again whether an adopted `run` has raised SIGSTOP, in time since boot.
    pub(super) fn stop_deadline(&self) -> Option<Duration> {
        let is_asked = self.machine.awaits_stop() && self.run().is_some_and(|process| !process.is_child());
        is_asked.then(|| Moment::now().uptime + ASK_AGAIN)
    }

    pub(super) fn send_left(&self, signal: Signal, shared: &Shared) {
        self.traces(shared).send(self.configuration.policy().scope, signal);
    }

    pub(super) fn kill_left(&self, shared: &Shared) {
        self.traces(shared).kill();
    }

    pub(super) fn say_astray(&mut self, shared: &Shared) {
        let words = self.lookout.as_ref().map(|lookout| lookout.words());
        if let (Some(words), Some(astray)) = (words, self.machine.astray()) {
            self.messages.astray(astray, &words, shared.control_files.name());
        }
    }
}
