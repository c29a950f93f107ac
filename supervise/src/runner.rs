//! Runs one part of a service, the service itself or its logger. What the machine decides is done here, and what
//! happens to the process is told to the machine.

use crate::adoption::{AdoptionWatch, Found, adopt};
use crate::background::Background;
use crate::events::announce;
use crate::gate::{ExecResult, Gate};
use crate::launch::{Order, launch};
use crate::listener::{Datagram, Listener, SocketNews};
use crate::machine::{Action, Event, Gated, Machine};
use crate::messages::{self, Messages};
use crate::notify::Message;
use crate::policy::Scope;
use crate::ready::{Address, Origin};
use crate::sender::moved_to;
use crate::service_process::ServiceProcess;
use crate::settings::Configuration;
use crate::shared::Shared;
use crate::{hooks, tree};
use daemontools::Unable;
use daemontools::service::{Command, Exit, Part, Place, Process, Record, Role, Shown, Want};
use daemontools::sys::datagram::Sender;
use daemontools::sys::pocket::Pocket;
use daemontools::tai64::Moment;
use nix::poll::{PollFd, PollFlags};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::mem::replace;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// At most this many datagrams are dealt with before supervise looks at commands and other news.
const MESSAGES_AT_ONCE: u32 = 64;

/// A machine, and what belongs to it: its process, what listens to that, and what was said of it.
pub struct Runner {
    part: Part,
    machine: Machine,
    configuration: Configuration,
    process: Option<ServiceProcess>,
    /// The gate at which the process waits, or which it was not seen to pass.
    gate: Option<Gate>,
    adoption: AdoptionWatch,
    listener: Listener,
    messages: Messages,
    background: Background,
    /// supervise is the parent of descendants whose parents die.
    is_subreaper: bool,
    /// A child that has ended and is not waited for yet, as `supervise/status` may still show its number.
    ended: Option<Pid>,
    /// The last `run`, whose number its process group has, where it led one.
    last_run: Option<Process>,
    /// The letters of transitions that are to be announced.
    pending_events: Vec<u8>,
    /// The machine has come to its end.
    pub done: bool,
}

impl Runner {
    /// A part of a service that begins, with the past of its record.
    pub fn new(part: Part, want: Want, record: &Record) -> Box<Runner> {
        let configuration = Configuration::read(part, want);
        let machine = Machine::remember(configuration.policy().clone(), want, record, Moment::now());
        Runner::with(part, machine, configuration)
    }

    /// A part of a service that goes on after a supervise that was killed, and the first thing to happen to it.
    ///
    /// # Errors
    /// What became of its process cannot be told.
    pub fn resume(part: Part, record: &Record, place: &Place) -> Result<(Box<Runner>, Event), Unable> {
        let configuration = Configuration::of_record(part, record);
        let now = Moment::now();
        let machine = Machine::resume(configuration.policy().clone(), record, now);
        // A process that was ready has passed its gate.
        let gated = if record.ready.is_none() { Gated::Maybe } else { Gated::No };
        let adopted = record.process.map(|(role, process)| adopt(role, process, place, gated));
        let mut runner = Runner::with(part, machine, configuration);
        let first = match adopted.transpose()? {
            Some(Found::Alive(process)) => {
                (runner.process, runner.adoption) = (Some(process), AdoptionWatch::new(gated, now.uptime));
                Event::Begun
            }
            Some(Found::Ended(event)) => event,
            None => Event::Begun,
        };
        (runner.listener, runner.last_run) = (Listener::remember(record), record.last_run);
        Ok((runner, first))
    }

    /// In the heap, where it lies once; on the stack it would leave a copy for every move.
    fn with(part: Part, machine: Machine, configuration: Configuration) -> Box<Runner> {
        Box::new(Runner {
            part,
            machine,
            configuration,
            process: None,
            gate: None,
            adoption: AdoptionWatch::NONE,
            listener: Listener::NONE,
            messages: Messages::of(part),
            background: Background::Unsuspected,
            is_subreaper: false,
            ended: None,
            last_run: None,
            pending_events: Vec::new(),
            done: false,
        })
    }

    /// Whether nothing runs, and it is time to start `run`.
    pub fn is_due(&self) -> bool {
        self.machine.is_due(Moment::now())
    }

    /// Tells the machine of a logger that there is nothing to read, and that nothing is left that could write.
    pub fn starve(&mut self, shared: &mut Shared) {
        self.handle(Event::Starved, shared);
    }

    /// Listens again to what an adopted process has to tell.
    pub fn reattach(&mut self, shared: &Shared) {
        // This holds for processes that the service starts from now on. Those whose parents have died have another
        // parent.
        self.become_subreaper();
        if self.process.as_ref().is_some_and(|process| process.role == Role::Run) {
            let address = self.listener.address().cloned();
            self.listen(Origin::Adopted(address), shared);
            self.check_if_needed();
        }
    }

    /// Has the kernel make supervise the parent of descendants whose parents die, where the settings of the service,
    /// not of its logger, or what it did need that.
    fn become_subreaper(&mut self) {
        if self.part == Part::Service {
            let policy = self.configuration.policy();
            let is_suspected = self.background == Background::Suspected;
            let is_needed = policy.scope == Scope::Tree || policy.listens() || is_suspected;
            if replace(&mut self.is_subreaper, is_needed) != is_needed {
                let _ = set_child_subreaper(is_needed);
            }
        }
    }

    /// Adds the descriptors that are to be polled.
    pub fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        fds.extend(self.gate.iter().map(|gate| PollFd::new(gate.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.listener.descriptors().map(|channel| PollFd::new(channel, PollFlags::POLLIN)));
        if let Some(end) = self.process.as_ref().and_then(ServiceProcess::end_watch) {
            // The descriptor of a process that has ended is always readable. Only that its parent waits for it is news.
            let ended = self.process.as_ref().is_some_and(ServiceProcess::has_ended);
            let news = if ended { PollFlags::empty() } else { PollFlags::POLLIN };
            fds.push(PollFd::new(end, news));
        }
    }

    /// When to look again at the latest, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        [self.machine.deadline(), self.adoption.deadline(), self.listener.deadline()].into_iter().flatten().min()
    }

    /// Whether the process has a time within which it must do something.
    pub fn is_timing(&self) -> bool {
        self.machine.is_timing()
    }

    /// Looks for all news that SIGCHLD does not tell.
    pub fn poll(&mut self, shared: &mut Shared) {
        self.poll_gate(shared);
        self.poll_adopted(shared);
        self.see_socket(shared);
        self.listen_to_service(shared);
        self.say_if_far(shared);
        self.listener.poll_check();
        self.handle(Event::Woken, shared);
    }

    /// The children of supervise that this runner has made and has yet to wait for.
    pub fn children(&self) -> impl Iterator<Item = Pid> {
        let program = self.process.as_ref().filter(|process| process.is_child()).map(|process| process.id.pid);
        program.into_iter().chain(self.listener.running_check())
    }

    /// The child that has ended and is to be waited for later.
    pub fn ended(&self) -> Option<Pid> {
        self.ended
    }

    /// The child that has ended and is now to be waited for, as `supervise/status` does not show it any more.
    pub fn release_ended(&mut self) -> Option<Pid> {
        if self.machine.shows_ended().is_none() { self.ended.take() } else { None }
    }

    /// Takes in that a child of supervise has ended; does nothing if it is none of this runner's.
    pub fn child_ended(&mut self, pid: Pid, status: i32, shared: &mut Shared) {
        let exit = Exit::from_wait_status(status);
        match &self.process {
            Some(process) if process.id.pid == pid => {
                let refused = self.refusal(process.role, shared);
                self.ended = Some(pid);
                self.has_ended(refused.unwrap_or(exit), shared);
            }
            Some(_) | None if self.listener.check_ended(pid, exit) => self.handle(Event::Ready, shared),
            Some(_) | None => {}
        }
    }

    /// How a child ended that never became its program, which is said; `None` if it became it. Its gate may not have
    /// been looked at before.
    fn refusal(&mut self, role: Role, shared: &Shared) -> Option<Exit> {
        match self.gate.as_ref().map(Gate::exec_result) {
            Some(ExecResult::Refused(errno)) => {
                self.messages.refused(role, errno, shared.control_files.name());
                Some(Exit::Unstarted(errno as i32))
            }
            Some(ExecResult::Executed) => {
                self.messages.executed(role);
                None
            }
            Some(ExecResult::Pending) | None => None,
        }
    }

    fn poll_gate(&mut self, shared: &mut Shared) {
        match self.gate.as_ref().map(Gate::exec_result) {
            Some(ExecResult::Executed) => {
                self.gate = None;
                self.process.iter().for_each(|process| self.messages.executed(process.role));
                self.complete_process();
                self.handle(Event::Executed, shared);
                self.check_if_needed();
            }
            // The exit that follows at once reports the refusal.
            Some(ExecResult::Refused(_) | ExecResult::Pending) | None => {}
        }
    }

    /// Asks for what `supervise/state` is to have of a child that has become its program, and had no time to be asked before.
    fn complete_process(&mut self) {
        let Some(process) = &mut self.process else { return };
        let known = process.id;
        process.id = if process.is_child() { known.completed_child() } else { known.completed() };
        self.last_run = self.last_run.map(|run| if run == known { process.id } else { run });
    }

    fn poll_adopted(&mut self, shared: &mut Shared) {
        let Some(process) = &self.process else { return };
        match self.adoption.poll(process, &shared.control_files.place, Moment::now().uptime) {
            Some(Event::Ended(exit)) => self.has_ended(exit, shared),
            Some(event @ Event::NeverBegan) => {
                self.forget_process(shared);
                self.handle(event, shared);
            }
            Some(event) => self.handle(event, shared),
            None => {}
        }
    }

    fn has_ended(&mut self, exit: Exit, shared: &mut Shared) {
        if let Some(process) = &self.process {
            self.notify(process.role, process.id.pid, Some(exit), shared);
        }
        self.see_background(exit, shared);
        self.forget_process(shared);
        self.handle(Event::Ended(exit), shared);
    }

    /// Says once of a service that it goes into the background, which its `run`, which has just ended, has shown.
    fn see_background(&mut self, exit: Exit, shared: &Shared) {
        let Some(run) = self.process.as_ref().filter(|process| process.role == Role::Run) else { return };
        if self.part == Part::Logger {
            return;
        }
        let run = run.id;
        let Record { since, ending, .. } = self.machine.record();
        let lived = Moment::now().uptime.saturating_sub(since.uptime);
        if self.background.ended(exit, lived, ending.is_some()) {
            let known: Vec<Pid> = shared.strangers().into_iter().chain(self.children()).collect();
            if let Some(left) = tree::left_behind(run, &known) {
                self.background = Background::Noticed;
                messages::in_background(left, shared.control_files.name());
            }
        }
    }

    fn forget_process(&mut self, shared: &mut Shared) {
        if self.part == Part::Logger {
            shared.logger = None;
        }
        (self.process, self.gate, self.adoption) = (None, None, AdoptionWatch::NONE);
        self.listener = Listener::NONE;
        if self.part == Part::Service {
            shared.pocket.iter().for_each(Pocket::empty);
        }
    }

    fn listen(&mut self, origin: Origin, shared: &Shared) {
        let complaints = self.listener.listen(self.configuration.policy(), origin, shared);
        self.messages.channels(complaints, shared.control_files.name());
    }

    /// Sees to it that the service reaches its socket. What it may have said meanwhile does not count against it.
    fn see_socket(&mut self, shared: &mut Shared) {
        let SocketNews { events, complaint } = self.listener.see_socket(shared);
        if let Some(complaint) = complaint {
            self.messages.channels(vec![complaint], shared.control_files.name());
        }
        events.into_iter().for_each(|event| self.handle(event, shared));
    }

    /// Says once that a service cannot reach its socket, unless it has said all that it must.
    fn say_if_far(&mut self, shared: &Shared) {
        let Some(process) = &self.process else { return };
        let needs_socket = self.configuration.policy().watchdog.is_some() || self.machine.record().ready.is_none();
        if self.listener.is_far(process, needs_socket) {
            self.messages.far(shared.control_files.name());
        }
    }

    fn listen_to_service(&mut self, shared: &mut Shared) {
        if self.listener.receive_newline() {
            self.handle(Event::Ready, shared);
        }
        // Datagrams may come faster than they are dealt with: there is a time for other things.
        for _ in 0..MESSAGES_AT_ONCE {
            match self.listener.receive_message(self.process.as_ref(), &mut shared.helpers) {
                Some(Datagram::Said(message, sender)) => self.take_in(message, &sender, shared),
                Some(Datagram::Ignored) => {}
                None => return,
            }
        }
    }

    /// Takes in what the service says.
    fn take_in(&mut self, message: Message, sender: &Sender, shared: &mut Shared) {
        let moved = message.main_pid.zip(self.process.as_ref()).and_then(|(pid, process)| {
            let mut strangers = shared.strangers();
            strangers.extend(self.listener.running_check());
            moved_to(process, Pid::from_raw(pid), sender, &strangers, &shared.control_files.place)
        });
        if let Some(moved) = moved {
            self.process = Some(moved);
            self.handle(Event::Changed, shared);
        }
        if let Some(text) = message.status {
            self.listener.set_status_text(text);
            self.handle(Event::Changed, shared);
        }
        let told = [(message.alive, Event::Alive), (message.ready, Event::Ready), (message.stopping, Event::Stopping)];
        told.into_iter().filter(|(said, _)| *said).for_each(|(_, event)| self.handle(event, shared));
    }

    fn check_if_needed(&mut self) {
        let runs = self.process.as_ref().is_some_and(|process| process.role == Role::Run);
        if runs && self.configuration.policy().has_check && self.machine.record().ready.is_none() {
            self.listener.start_check();
        }
    }

    /// Tells the machine of an event, and does what the machine answers. Listeners are told last, so that a restart
    /// does not wait for them.
    pub fn handle(&mut self, event: Event, shared: &mut Shared) {
        // A person who starts the service wants to know why it does not run.
        if matches!(event, Event::Told(Command::Up | Command::Once)) {
            self.messages.start_again();
        }
        if let Event::Told(command) = event {
            self.background.told(command);
        }
        self.follow(event, shared);
        if !self.pending_events.is_empty() {
            announce(&std::mem::take(&mut self.pending_events), &shared.control_files.place);
        }
    }

    fn follow(&mut self, event: Event, shared: &mut Shared) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let mut todo = Vec::new();
            self.machine.step(Moment::now(), event, &mut todo);
            // Only the last action has an event as its consequence.
            for action in todo {
                next = self.perform(action, shared);
            }
        }
    }

    fn perform(&mut self, action: Action, shared: &mut Shared) -> Option<Event> {
        match action {
            Action::Configure => {
                let complaints = self.configuration.renew();
                self.messages.settings(complaints, shared.control_files.name());
                return Some(Event::Configured(self.configuration.policy().clone()));
            }
            Action::Launch(role, exit) => return Some(self.launch(role, exit, shared)),
            Action::Record => shared.publisher.write_down(self.part, self.record()),
            Action::Publish => shared.publisher.publish(self.part, self.record()),
            Action::OpenGate => self.open_gate(shared),
            Action::Send(signal) => self.process.iter().for_each(|process| process.send(signal)),
            Action::SendGroup(signal) => self.process.iter().for_each(|process| process.send_group(signal)),
            Action::SendScope(signal) => self.send_scope(signal, shared),
            Action::KillRest => {
                tree::kill_rest(self.configuration.policy().scope, self.last_run, &shared.strangers());
            }
            Action::Announce(letter) if self.part == Part::Service => self.pending_events.push(letter as u8),
            Action::Announce(_) => {}
            Action::GiveUp => self.messages.gives_up(&self.record(), shared.control_files.name()),
            Action::SayLate(late) => self.messages.late(late, Moment::now().uptime, shared.control_files.name()),
            Action::SayStarved => messages::starved(shared.control_files.name()),
            Action::Leave => self.done = true,
        }
        None
    }

    fn launch(&mut self, role: Role, exit: Option<Exit>, shared: &mut Shared) -> Event {
        // A logger may be started once more though it was told to exit.
        self.done = false;
        if role == Role::Run {
            self.listen(Origin::New, shared);
        }
        self.become_subreaper();
        let socket = self.listener.variable();
        let order = Order {
            role,
            part: self.part,
            pipe: shared.pipe.as_ref(),
            exit,
            last_run: self.last_run,
            policy: self.configuration.policy(),
            socket: socket.as_deref(),
            tags_processes: shared.tags_processes,
            name: shared.control_files.given.as_bytes(),
            place: &shared.control_files.place,
            lock: shared.control_files.lock.as_fd(),
        };
        match launch(&order) {
            Ok((process, gate)) => {
                if self.part == Part::Logger {
                    shared.helpers.push(process.id.pid);
                    shared.logger = Some(process.id.pid);
                }
                if role == Role::Run {
                    self.last_run = Some(process.id);
                }
                (self.process, self.gate) = (Some(process), Some(gate));
                Event::Launched
            }
            Err(errno) => {
                self.messages.no_process(role, errno, shared.control_files.name());
                Event::NotLaunched
            }
        }
    }

    /// Opens the gate, after it was written down who the process is: if supervise were killed before that, the next one
    /// would start a second process beside this one. Where that can be written nowhere, the service is started all the
    /// same.
    fn open_gate(&mut self, shared: &mut Shared) {
        if shared.publisher.misses_directory() {
            shared.mend();
        }
        shared.publisher.see_it_written();
        self.gate.iter().for_each(Gate::open);
        shared.publisher.tidy();
        if let Some(process) = &self.process {
            self.notify(process.role, process.id.pid, None, shared);
        }
    }

    /// Runs `notify`, if there is one, for the start (no exit) or the end of a process.
    pub fn notify(&self, role: Role, pid: Pid, exit: Option<Exit>, shared: &mut Shared) {
        if self.configuration.policy().has_notify {
            let program = self.part.program(role);
            shared.helpers.extend(hooks::notify(program, pid, exit));
        }
    }

    fn send_scope(&self, signal: Signal, shared: &Shared) {
        if let Some(process) = &self.process {
            tree::send_scope(self.configuration.policy().scope, process, signal, &shared.strangers());
        }
    }

    /// The process that is alive.
    pub fn process(&self) -> Option<Process> {
        self.process.as_ref().map(|process| process.id)
    }

    /// How this part of the service is now.
    pub fn record(&self) -> Record {
        let since = self.machine.shows_ended();
        Record {
            shown: self.ended.zip(since).map(|(pid, since)| Shown { pid, since }),
            settings: self.configuration.files().to_vec(),
            notify_socket: self.listener.address().and_then(Address::word),
            status_text: self.listener.status_text().to_string(),
            last_run: self.last_run,
            in_background: self.background == Background::Noticed,
            process: self.process.as_ref().map(|process| (process.role, process.id)),
            ..self.machine.record()
        }
    }
}
