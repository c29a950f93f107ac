//! How a runner listens to its process: it opens the channels and handles the messages. Where the process cannot tell
//! that it is ready, it runs `check`.

use super::Runner;
use crate::listener::{Datagram, Listener, SocketNews};
use crate::machine::Event;
use crate::notify::Message;
use crate::ready::Origin;
use crate::sender_check::moved_to;
use crate::shared::Shared;
use daemontools::report;
use daemontools::service::{Exit, Process, Role};
use daemontools::sys::datagram::Sender;
use nix::unistd::Pid;
use std::mem::replace;

/// supervise handles at most this number of datagrams before it looks at commands and other news.
const MESSAGES_AT_ONCE: u32 = 64;

impl Runner {
    /// Listens again to what an adopted process has to tell.
    pub fn reattach(&mut self, shared: &Shared) {
        // This holds for processes that the service starts from now on. Those whose parents have died have another
        // parent.
        self.become_subreaper();
        if self.run().is_some() {
            let address = self.listener.address().cloned();
            self.listen(Origin::Adopted(address), shared);
            self.check_if_needed();
        } else if !self.configuration.policy().listens() {
            // The socket that is only for chain programs is made anew with the next `run`.
            self.listener.forget();
        }
    }

    pub(super) fn listen(&mut self, origin: Origin, shared: &Shared) {
        let complaints = self.listener.listen(self.configuration.policy(), origin, shared);
        self.messages.channels(complaints, shared.control_files.name());
    }

    /// Opens the socket of the service again if the service cannot reach it. The service is not ended for messages that
    /// supervise has missed.
    pub(super) fn see_socket(&mut self, shared: &mut Shared) {
        let SocketNews { events, complaint } = self.listener.see_socket(shared);
        if let Some(complaint) = complaint {
            self.messages.channels(vec![complaint], shared.control_files.name());
        }
        events.into_iter().for_each(|event| self.handle(event, shared));
    }

    /// Says once that a service cannot reach its socket, unless it has said all that it must.
    pub(super) fn say_if_far(&mut self, shared: &Shared) {
        let Some(program) = &self.program else { return };
        let needs_socket = self.configuration.policy().watchdog.is_some() || !self.machine.is_ready();
        if self.listener.is_far(&program.process, needs_socket) {
            self.messages.far(shared.control_files.name());
        }
    }

    pub(super) fn listen_to_service(&mut self, shared: &mut Shared) {
        if self.listener.receive_newline() {
            self.handle(Event::Ready, shared);
        }
        // Datagrams may come faster than supervise handles them. It must also find time for other things.
        for _ in 0..MESSAGES_AT_ONCE {
            match self
                .listener
                .receive_message(self.program.as_ref().map(|program| &program.process), &mut shared.helpers)
            {
                Some(Datagram::Said(message, sender)) => self.take_in(message, &sender, shared),
                Some(Datagram::Ignored) => {}
                None => return,
            }
        }
    }

    /// Handles a message of the service.
    fn take_in(&mut self, message: Message, sender: &Sender, shared: &mut Shared) {
        let moved = message.main_pid.zip(self.program.as_ref()).and_then(|(pid, program)| {
            let strangers = shared.strangers().and(self.listener.running_check());
            moved_to(&program.process, Pid::from_raw(pid), sender, &strangers, &shared.control_files.place)
        });
        if let Some((program, moved)) = self.program.as_mut().zip(moved) {
            program.process = moved;
            self.handle(Event::Changed, shared);
        }
        if let Some(text) = message.status {
            self.listener.set_status_text(text);
            self.handle(Event::Changed, shared);
        }
        let told = [(message.alive, Event::Alive), (message.ready, Event::Ready), (message.stopping, Event::Stopping)];
        told.into_iter().filter(|(said, _)| *said).for_each(|(_, event)| self.handle(event, shared));
    }

    /// How `run`, the process `pid`, has ended. Its exit code says `exit`, but a chain program may have said that it could not
    /// execute what comes after it.
    ///
    /// An end that was not seen may be of such a program too. Where the settings call its exit code a success, that counts.
    pub(super) fn end_of_run(&mut self, pid: Pid, exit: Exit, shared: &mut Shared) -> Exit {
        let is_possible = match exit {
            Exit::Code(code) => code == report::TEMPORARY && !self.configuration.policy().success.contains(&code),
            Exit::Unknown => true,
            Exit::Signal(_) | Exit::Core(_) | Exit::Unstarted(_) => false,
        };
        let refusal = is_possible.then(|| self.listener.last_refusal(pid, &mut shared.helpers)).flatten();
        let errno = refusal.as_ref().map(|refusal| refusal.errno);
        self.refusal = refusal.map(|refusal| refusal.words);
        errno.map_or(exit, Exit::Unstarted)
    }

    /// The event of a process that has ended before this supervise could take it over: see [`Runner::end_of_run`].
    pub fn first_event(&mut self, event: Event, left: Option<(Role, Process)>, shared: &mut Shared) -> Event {
        let (Event::Ended(exit), Some((Role::Run, process))) = (&event, left) else { return event };
        let mut kept = Listener::NONE;
        // What cannot be opened has no message that was kept.
        let _ = kept.listen(self.configuration.policy(), Origin::Adopted(self.listener.address().cloned()), shared);
        let own = replace(&mut self.listener, kept);
        let exit = self.end_of_run(process.pid, *exit, shared);
        self.listener = own;
        Event::Ended(exit)
    }

    pub(super) fn check_if_needed(&mut self) {
        if self.run().is_some() && self.configuration.policy().has_check && !self.machine.is_ready() {
            self.listener.start_check();
        }
    }
}
