//! Runs one part of a service, the service itself or its logger. The runner does what the machine decides, and tells
//! the machine what happens to the process.

mod background;
mod beside;
mod giving;
mod holding;
mod listening;

use crate::background::{AtEnd, Background};
use crate::event_fifos::announce;
use crate::given::LifeInputs;
use crate::inbox::Address;
use crate::launch::{LaunchContext, launch};
use crate::listener::Listener;
use crate::lookout::Lookout;
use crate::machine::{Action, Event, Gated, Machine};
use crate::messages::{self, Messages};
use crate::program::Program;
use crate::ready::Origin;
use crate::running::{InheritedProgram, LiveProgram};
use crate::service_process::ServiceProcess;
use crate::settings::Configuration;
use crate::shared::Shared;
use crate::{hooks, tree};
use daemontools::Unable;
use daemontools::service::policy::Scope;
use daemontools::service::{Beside, Command, Exit, Part, Place, Process, Record, Role, Shown, Want};
use daemontools::sys::pocket::Pocket;
use daemontools::sys::process::has_proc;
use daemontools::tai64::Moment;
use nix::poll::{PollFd, PollFlags};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::mem::{replace, take};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// No more hooks run at once: one that hangs must not be started again and again until the system has no processes.
const MOST_HOOKS: usize = 100;

/// How often supervise looks for what is left of a life while `/proc` is away.
const LOOK_FOR_REST: Duration = Duration::from_secs(1);

/// A machine and what belongs to it: its process, the channels on which supervise listens to that process, and the
/// messages that supervise has written about it.
pub struct Runner {
    part: Part,
    machine: Machine,
    configuration: Configuration,
    /// The program that runs.
    program: Option<LiveProgram<Role>>,
    /// The program that runs beside `run`, or has outlived it.
    beside: Option<LiveProgram<Beside>>,
    listener: Listener,
    messages: Messages,
    background: Background,
    /// Looks for what a `run` has left that goes into the background.
    lookout: Option<Box<Lookout>>,
    /// The last `run` was started by a supervise that was killed.
    is_inherited: bool,
    /// supervise is a child subreaper: the parent of its descendants whose own parents have ended.
    is_subreaper: bool,
    /// A child that has ended and is not waited for yet, as `supervise/status` may still show its number.
    ended: Option<Pid>,
    /// The last `run`, whose number its process group has, where it led one.
    last_run: Option<Process>,
    /// When to look again for what is left of the last life, as `/proc` was away, in time since boot.
    rest_due: Option<Duration>,
    /// Why the last `run` that has ended did not become the program of the service, in the words of a chain program.
    refusal: Option<String>,
    /// The writing end of the FIFO `supervise/hold`, which is kept open while another program holds a transition back.
    holder: Option<OwnedFd>,
    /// What the programs of this life are given.
    inputs: LifeInputs,
    /// The service was at rest when its state was written the last time.
    is_at_rest: bool,
    /// The letters of transitions that are to be announced.
    pending_events: Vec<u8>,
    /// The starts and ends of processes that `notify` has yet to be told. A start has no exit.
    pending_notices: Vec<(Program, Pid, Option<Exit>)>,
    /// The machine has come to its end.
    pub done: bool,
}

/// The events with which the machine of a runner begins.
pub struct FirstEvents {
    /// The event of the program that made the life of the service.
    pub main: Event,
    /// The event of the program beside `run`, if it has ended.
    pub beside: Option<Event>,
}

impl FirstEvents {
    /// The first events when there is nothing else to tell the machine than that supervise has begun.
    pub const BEGUN: FirstEvents = FirstEvents { main: Event::Begun, beside: None };
}

impl Runner {
    /// Makes the runner of a service that begins. The history comes from the record.
    pub fn new(part: Part, want: Want, record: &Record) -> Box<Runner> {
        let configuration = Configuration::read(part, want);
        let machine = Machine::remember(configuration.policy().clone(), want, record, Moment::now());
        let mut runner = Runner::with(part, machine, configuration);
        runner.refusal = record.refusal.clone();
        runner
    }

    /// Makes the runner of a service that goes on after its supervise was killed. Returns also the first events for its
    /// machine: one, and one more about the program beside `run` if that has ended.
    ///
    /// # Errors
    /// The system does not tell what became of the process.
    pub fn resume(part: Part, record: &Record, place: &Place) -> Result<(Box<Runner>, FirstEvents), Unable> {
        let configuration = Configuration::of_record(part, record);
        let now = Moment::now();
        let machine = Machine::resume(configuration.policy().clone(), record, now);
        // A process that was ready has passed its gate.
        let gated = if record.ready.is_none() && record.taken.is_none() { Gated::Maybe } else { Gated::No };
        let adopt = |(role, process)| LiveProgram::adopt(role, process, place, gated, now.uptime);
        let adopted = record.process.map(adopt);
        let mut runner = Runner::with(part, machine, configuration);
        let first = match adopted.transpose()? {
            Some(InheritedProgram::Alive(program)) => {
                runner.program = Some(program);
                Event::Begun
            }
            Some(InheritedProgram::Ended(event)) => event,
            None => Event::Begun,
        };
        (runner.listener, runner.last_run) = (Listener::remember(record), record.last_run);
        runner.refusal = record.refusal.clone();
        runner.is_at_rest = runner.machine.is_at_rest();
        if part == Part::Service && !runner.is_at_rest {
            runner.inputs = LifeInputs::of_life(place);
        }
        runner.is_inherited = true;
        let beside = runner.adopt_beside(record, place)?;
        Ok((runner, FirstEvents { main: first, beside }))
    }

    /// Makes a runner in the heap. On the stack, each move of a runner would leave a copy there.
    fn with(part: Part, machine: Machine, configuration: Configuration) -> Box<Runner> {
        Box::new(Runner {
            part,
            machine,
            configuration,
            program: None,
            beside: None,
            listener: Listener::NONE,
            messages: Messages::of(part),
            background: Background::Unsuspected,
            lookout: None,
            is_inherited: false,
            is_subreaper: false,
            ended: None,
            last_run: None,
            rest_due: None,
            refusal: None,
            holder: None,
            inputs: LifeInputs::default(),
            is_at_rest: true,
            pending_events: Vec::new(),
            pending_notices: Vec::new(),
            done: false,
        })
    }

    /// Whether nothing runs, and it is time to start `run`.
    pub fn is_due(&self) -> bool {
        self.machine.is_due(Moment::now())
    }

    /// Whether `d` has come, and another one would end a program that takes too long.
    pub fn would_end_a_program(&self) -> bool {
        self.machine.would_end_a_program()
    }

    /// Tells the machine of a logger that there is nothing to read, and that nothing is left that could write.
    pub fn starve(&mut self, shared: &mut Shared) {
        self.handle(Event::Starved, shared);
    }

    /// Has the kernel make supervise the parent of descendants whose parents die, if the settings of the service need
    /// that, or if the service is suspected to go into the background. A logger never needs it.
    fn become_subreaper(&mut self) {
        if self.part == Part::Service {
            let policy = self.configuration.policy();
            let is_suspected = self.background.is_suspected();
            let is_needed =
                policy.scope == Scope::Tree || policy.listens() || policy.goes_into_background() || is_suspected;
            if replace(&mut self.is_subreaper, is_needed) != is_needed {
                let _ = set_child_subreaper(is_needed);
            }
        }
    }

    /// Adds the descriptors that are to be polled.
    pub fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        self.program.iter().for_each(|program| program.watch(fds));
        self.beside.iter().for_each(|program| program.watch(fds));
        // That no reader is left is always told.
        fds.extend(self.holder.iter().map(|holder| PollFd::new(holder.as_fd(), PollFlags::empty())));
        fds.extend(self.listener.descriptors().map(|channel| PollFd::new(channel, PollFlags::POLLIN)));
    }

    /// Takes in which of the descriptors that were polled are readable.
    pub fn note_readable(&mut self, readable: &[RawFd]) {
        self.listener.note_readable(readable);
    }

    /// When to look again at the latest, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        let adoption = self.program.as_ref().and_then(LiveProgram::deadline);
        let beside = self.beside.as_ref().and_then(LiveProgram::deadline);
        let look = self.lookout.as_ref().map(|lookout| lookout.deadline());
        let deadlines = [
            self.machine.deadline(),
            adoption,
            beside,
            self.listener.deadline(),
            look,
            self.stop_deadline(),
            self.rest_due,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Whether the process has a time within which it must do something.
    pub fn is_timing(&self) -> bool {
        self.machine.is_timing()
    }

    /// Looks for all news that SIGCHLD does not tell.
    pub fn poll(&mut self, shared: &mut Shared) {
        self.poll_gate(shared);
        self.poll_adopted(shared);
        self.poll_beside(shared);
        self.poll_holder(shared);
        self.poll_background(shared);
        self.poll_rest(shared);
        self.see_socket(shared);
        self.listen_to_service(shared);
        self.say_if_far(shared);
        self.listener.poll_check();
        self.listener.running_check().into_iter().for_each(|check| shared.add_hook(check));
        self.handle(Event::Woken, shared);
    }

    /// The children of supervise that this runner has made and has yet to wait for.
    pub fn children(&self) -> impl Iterator<Item = Pid> {
        let program = self.program.iter().map(|program| &program.process);
        let programs = program.chain(self.beside.iter().map(|program| &program.process));
        programs.filter(|process| process.is_child()).map(|process| process.id.pid).chain(self.listener.running_check())
    }

    /// The child that has ended and is to be waited for later.
    pub fn ended(&self) -> Option<Pid> {
        self.ended
    }

    /// The child that has ended and is now to be waited for, as `supervise/status` does not show it any more.
    pub fn release_ended(&mut self) -> Option<Pid> {
        if self.machine.shows_ended().is_none() { self.ended.take() } else { None }
    }

    /// Handles the end of a child of supervise. Does nothing if this runner has not made that child.
    pub fn child_ended(&mut self, pid: Pid, status: i32, shared: &mut Shared) {
        let exit = Exit::from_wait_status(status);
        if self.beside_child_ended(pid, exit, shared) {
            return;
        }
        match &self.program {
            Some(program) if program.process.id.pid == pid => {
                let refused = refusal(program, &mut self.messages, shared);
                self.ended = Some(pid);
                self.has_ended(refused.unwrap_or(exit), shared);
            }
            Some(_) | None if self.listener.check_ended(pid, exit) => self.handle(Event::Ready, shared),
            Some(_) | None => {}
        }
    }

    fn poll_gate(&mut self, shared: &mut Shared) {
        let Some(program) = &mut self.program else { return };
        if !program.has_begun() {
            return;
        }
        self.messages.executed(program.role);
        let known = program.complete();
        self.last_run = self.last_run.map(|run| if run == known { program.process.id } else { run });
        self.handle(Event::Executed, shared);
        self.check_if_needed();
    }

    fn poll_adopted(&mut self, shared: &mut Shared) {
        let Some(program) = &mut self.program else { return };
        match program.poll_adopted(&shared.control_files.place, Moment::now().uptime) {
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
        let run = self.run().map(|run| run.id.pid);
        let exit = run.map_or(exit, |run| self.end_of_run(run, exit, shared));
        if let Some(program) = &self.program {
            self.notify(program.role.into(), program.process.id.pid, Some(exit));
        }
        self.see_background(exit, shared);
        if self.run().is_some() && self.configuration.policy().goes_into_background() {
            self.program = None;
            self.handle(Event::Ended(exit), shared);
            self.stop_listening(shared);
        } else {
            self.forget_process(shared);
            self.handle(Event::Ended(exit), shared);
        }
    }

    /// Writes once that the service goes into the background, or may have, if the `run` that has just ended has shown that.
    fn see_background(&mut self, exit: Exit, shared: &Shared) {
        let Some(run) = self.run().map(|process| process.id) else { return };
        // What a program beside `run` has left cannot be told from what `run` has left.
        let policy = self.configuration.policy();
        if self.part == Part::Logger
            || policy.has_post_start
            || policy.has_pre_stop
            || policy.has_reload
            || policy.expects()
        {
            return;
        }
        match self.background.ended(exit, self.machine.lived(Moment::now()), self.machine.is_ending()) {
            AtEnd::Nothing => {}
            AtEnd::Look => {
                let strangers = shared.strangers().and(self.children());
                if let Some(left) = tree::left_behind(run, self.machine.started(), &strangers) {
                    self.background.notice();
                    messages::in_background(left, shared.control_files.name());
                }
            }
            AtEnd::SayPresumed => messages::presumed_in_background(shared.control_files.name()),
        }
    }

    fn forget_process(&mut self, shared: &mut Shared) {
        if self.part == Part::Logger {
            shared.logger = None;
        }
        self.program = None;
        self.forget_channels(shared);
    }

    fn forget_channels(&mut self, shared: &Shared) {
        self.listener.forget();
        if self.part == Part::Service {
            shared.pocket.iter().for_each(Pocket::empty);
        }
    }

    /// Tells the machine of an event, and does what the machine answers. Listeners and `notify` are told last, so that a
    /// restart does not wait for them.
    pub fn handle(&mut self, event: Event, shared: &mut Shared) {
        // A person who starts the service wants to know why it does not run.
        if matches!(event, Event::Told(Command::Up | Command::Once)) {
            self.messages.start_again();
        }
        if let Event::Told(command) = event {
            self.background.told(command);
        }
        self.follow(event, shared);
        self.forget_holder();
        if !self.pending_events.is_empty() {
            announce(&take(&mut self.pending_events), &shared.control_files.place);
        }
        for (program, pid, exit) in take(&mut self.pending_notices) {
            let too_many = Some(shared.running_hooks()).filter(|running| *running >= MOST_HOOKS);
            self.messages.too_many_hooks(too_many, shared.control_files.name());
            if too_many.is_some() {
                continue;
            }
            if let Some(notify) = hooks::notify(program.file(self.part), pid, exit) {
                shared.helpers.push(notify);
                shared.add_hook(notify);
            }
        }
    }

    fn follow(&mut self, event: Event, shared: &mut Shared) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut todo = Vec::new();
            self.machine.step(Moment::now(), event, &mut todo);
            for action in todo {
                events.extend(self.perform(action, shared));
            }
        }
    }

    fn perform(&mut self, action: Action, shared: &mut Shared) -> Option<Event> {
        match action {
            Action::Configure => {
                let complaints = self.configuration.renew();
                if self.configuration.policy().is_state {
                    // Nothing is left of a `run` that was there before.
                    self.last_run = None;
                }
                self.read_inputs(shared);
                self.messages.settings(complaints, shared.control_files.name());
                return Some(Event::Configured(Box::new(self.configuration.policy().clone())));
            }
            Action::AskHolder(_) => return Some(self.ask_holder(shared)),
            Action::Launch(role) => return Some(self.launch(role, shared)),
            Action::LaunchBeside(which) => return Some(self.launch_beside(which, shared)),
            Action::Look => return Some(self.look(shared)),
            Action::SendLeft(signal) => self.send_left(signal, shared),
            Action::KillLeft => self.kill_left(shared),
            Action::ReportBackgroundFailure => self.say_astray(shared),
            Action::Record => shared.publisher.write_down(self.part, self.record()),
            Action::Publish => {
                self.remove_inputs(shared);
                shared.publisher.publish(self.part, self.record());
            }
            Action::OpenGate => self.open_gate(shared),
            Action::OpenBesideGate => self.open_beside_gate(shared),
            Action::SendBeside(signal) => self.send_beside(signal),
            Action::Send(signal) => self.program.iter().for_each(|program| program.process.send(signal)),
            Action::SendGroup(signal) => self.program.iter().for_each(|program| program.process.send_group(signal)),
            Action::SendScope(signal) => self.send_scope(signal, shared),
            Action::KillRest => {
                self.kill_rest(shared);
            }
            Action::Announce(letter) if self.part == Part::Service => self.pending_events.push(letter as u8),
            Action::Announce(_) => {}
            Action::ReportGivenUp => self.messages.gives_up(&self.record(), shared.control_files.name()),
            Action::ReportMissedDeadline(missed) => {
                self.messages.missed_deadline(missed, Moment::now().uptime, shared.control_files.name())
            }
            Action::ReportStarved => messages::starved(shared.control_files.name()),
            Action::Leave => self.done = true,
        }
        None
    }

    /// Kills what is left of a life that is over. What cannot be found, as `/proc` is away, is looked for again.
    fn kill_rest(&mut self, shared: &Shared) {
        let killed = tree::kill_rest(self.configuration.policy().scope, self.last_run, &shared.strangers());
        self.rest_due = (killed.is_err() && !has_proc()).then(|| Moment::now().uptime + LOOK_FOR_REST);
        self.messages.killed_rest(killed, shared.control_files.name());
    }

    /// Kills what was left of the last life, once `/proc` shows it.
    fn poll_rest(&mut self, shared: &Shared) {
        let now = Moment::now().uptime;
        match self.rest_due {
            // A program that runs is of this life or the next one.
            Some(due) if due <= now && has_proc() && self.program.is_none() => self.kill_rest(shared),
            Some(due) if due <= now => self.rest_due = Some(now + LOOK_FOR_REST),
            Some(_) | None => {}
        }
    }

    fn launch(&mut self, role: Role, shared: &mut Shared) -> Event {
        // What is left of the last life cannot be told from the processes of the next one.
        if !matches!(role, Role::Finish | Role::Stop) && self.rest_due.take().is_some() && has_proc() {
            self.kill_rest(shared);
        }
        // A logger may be started once more though it was told to exit.
        self.done = false;
        if role == Role::Run {
            self.listen(Origin::New, shared);
        }
        self.become_subreaper();
        self.read_stop_inputs(role.into(), shared);
        let socket = self.listener.variable();
        match launch(&self.launch_context(role.into(), socket.as_deref(), shared)) {
            Ok((process, gate)) => {
                if self.part == Part::Logger {
                    shared.helpers.push(process.id.pid);
                    shared.logger = Some(process.id.pid);
                }
                if role == Role::Run {
                    self.is_inherited = false;
                    self.last_run = Some(process.id);
                }
                self.program = Some(LiveProgram::at_gate(role, process, gate));
                Event::Launched
            }
            Err(errno) => {
                self.messages.no_process(role, errno, shared.control_files.name());
                Event::NotLaunched
            }
        }
    }

    /// What the process that is to become this program needs to know.
    fn launch_context<'a>(
        &'a self,
        program: Program,
        socket: Option<&'a OsStr>,
        shared: &'a Shared,
    ) -> LaunchContext<'a> {
        LaunchContext {
            program,
            part: self.part,
            pipe: shared.pipe.as_ref(),
            life_end: self.machine.life_end(),
            last_run: self.last_run,
            main: self.process(),
            inputs: &self.inputs,
            policy: self.configuration.policy(),
            socket,
            tags_processes: shared.tags_processes,
            name: shared.control_files.given.as_bytes(),
            place: &shared.control_files.place,
            lock: shared.control_files.lock.as_fd(),
        }
    }

    /// Opens the gate once the record names the process. If supervise were killed before that, the next one would start
    /// a second process beside this one. If the record can be written nowhere, the service is started all the same.
    fn open_gate(&mut self, shared: &mut Shared) {
        if shared.publisher.misses_directory() {
            shared.mend();
        }
        shared.publisher.see_it_written();
        self.program.iter().for_each(LiveProgram::open_gate);
        shared.publisher.tidy();
        if let Some(program) = &self.program {
            self.notify(program.role.into(), program.process.id.pid, None);
        }
    }

    /// Has `notify` run, if there is one, for the start (no exit) or the end of a process, once the machine's answer to the
    /// next event is done.
    pub fn notify(&mut self, program: Program, pid: Pid, exit: Option<Exit>) {
        if self.configuration.policy().has_notify {
            self.pending_notices.push((program, pid, exit));
        }
    }

    fn send_scope(&self, signal: Signal, shared: &Shared) {
        if let Some(program) = &self.program {
            tree::send_scope(self.configuration.policy().scope, &program.process, signal, &shared.strangers());
        }
    }

    /// The process that is alive.
    pub fn process(&self) -> Option<Process> {
        self.program.as_ref().map(|program| program.process.id)
    }

    /// The process of `run`, if that is what runs.
    fn run(&self) -> Option<&ServiceProcess> {
        self.program.as_ref().filter(|program| program.role == Role::Run).map(|program| &program.process)
    }

    /// The record of this part of the service as it is now.
    pub fn record(&self) -> Record {
        let since = self.machine.shows_ended();
        Record {
            shown: self.ended.zip(since).map(|(pid, since)| Shown { pid, since }),
            settings: self.configuration.files().to_vec(),
            notify_socket: self.listener.address().and_then(Address::word),
            status_text: self.listener.status_text().to_string(),
            last_run: self.last_run,
            refusal: self.refusal.clone(),
            in_background: self.background.known(),
            process: self.program.as_ref().map(|program| (program.role, program.process.id)),
            beside: self.beside.as_ref().map(|program| (program.role, program.process.id)),
            ..self.machine.record()
        }
    }
}

/// Returns how a child ended that never became its program, and writes a message about that. Returns `None` if the child has
/// become its program.
fn refusal<R: Copy + Into<Program>>(
    program: &LiveProgram<R>,
    messages: &mut Messages,
    shared: &Shared,
) -> Option<Exit> {
    match program.beginning()? {
        Err(errno) => {
            messages.refused(program.role, errno, shared.control_files.name());
            Some(Exit::Unstarted(errno as i32))
        }
        Ok(()) => {
            messages.executed(program.role);
            None
        }
    }
}
