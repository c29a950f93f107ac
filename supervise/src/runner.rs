//! One of the two things that a supervise may keep running, the service and its logger: what its
//! machine decides, done; what happens to it, told to its machine.

use crate::child::{self, ExecResult, Found, Gate, Gated, Order, ServiceProcess};
use crate::control_files::ControlFiles;
use crate::hooks::{self, Check};
use crate::machine::{Action, Event, Late, Machine, RETRY_FORK};
use crate::network::NamespaceWatch;
use crate::notify::Message;
use crate::pipe::Pipe;
use crate::policy::Scope;
use crate::publish::{Publisher, announce};
use crate::ready::{self, Address, Incoming, Past, ReadinessChannels};
use crate::repeated::Repeated;
use crate::settings::{self, Complaint, Links, Settings};
use crate::tree;
use daemontools::service::{Command, Exit, Part, Place, Process, Record, Role, Shown, Want};
use daemontools::sys::datagram::Sender;
use daemontools::sys::pocket::Pocket;
use daemontools::tai64::Moment;
use daemontools::{Fatal, Unable, report};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::mem::replace;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// An adopted process has ended, and its parent is not in a hurry to say how: asked again this often …
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// … and so many times.
const ASK_TIMES: u32 = 100;
/// On a kernel that does not tell when an adopted process ends, it is asked for this often.
const ASK_UNHELD: Duration = Duration::from_millis(500);

/// So many datagrams are dealt with before commands and other news are.
const MESSAGES_AT_ONCE: u32 = 64;

/// What the service and its logger have in common.
pub struct Shared {
    pub control_files: ControlFiles,
    pub publisher: Publisher,
    pub pipe: Option<Pipe>,
    /// Children of ours that are not of the service and were not waited for: notifications, the logger.
    pub helpers: Vec<Pid>,
    /// The logger's process, which need not be a child of ours.
    pub logger: Option<Pid>,
    /// Processes of the service are marked, as `supervise/` does not prove who they are.
    pub tags_processes: bool,
    /// Where svscan keeps the socket that the service speaks through, when we are killed.
    pub pocket: Option<Pocket>,
}

impl Shared {
    /// Processes that have to do with us, but are not of the service.
    pub fn strangers(&self) -> Vec<Pid> {
        self.helpers.iter().copied().chain(self.logger).collect()
    }

    /// Makes `supervise/` again if somebody has removed it, and what else is gone in there that others reach us by.
    pub fn mend(&mut self) {
        let is_new =
            self.control_files.see_files() || (self.publisher.misses_directory() && self.control_files.make_again());
        if is_new {
            self.publisher.write_anew();
        }
    }
}

/// A machine and what it has in the world.
pub struct Runner {
    part: Part,
    machine: Machine,
    settings: Settings,
    links: Links,
    complaints: Vec<Complaint>,
    /// Programs that could not be executed the last time, and what was said of them.
    refusals: Vec<(Role, Vec<u8>)>,
    /// That the service was too late.
    late: Repeated<Late>,
    /// The settings were read just now, before the first start.
    first_complaints: Option<Vec<Complaint>>,
    /// The process of the service.
    process: Option<ServiceProcess>,
    /// The gate it waits at, or has not been seen to pass.
    gate: Option<Gate>,
    /// A child that has ended and is not waited for yet, as `supervise/status` may still show its number.
    ended: Option<Pid>,
    /// The last `run`, whose number its process group has, where it led one.
    last_run: Option<Process>,
    /// What the service tells of itself, and what it last said.
    channels: ReadinessChannels,
    status_text: String,
    /// The machine knows that nothing that the service says to its socket is heard.
    socket_failed: bool,
    /// What was last said that it cannot be heard through.
    channel_complaints: Vec<ready::Complaint>,
    /// It is asked where it is until it was heard of, and whether it was said that it is too far away.
    namespace_watch: Option<NamespaceWatch>,
    was_far: bool,
    /// Asks whether the service is ready, where it does not tell.
    check: Option<Check>,
    /// Whether an adopted process has yet to be seen as a program.
    gated: Gated,
    /// How often that, or the end of an adopted process, was asked for in vain, and when to ask again.
    asked: u32,
    ask_again: Option<Duration>,
    /// To be announced.
    pending_events: Vec<u8>,
    /// The machine has come to its end.
    pub done: bool,
}

impl Runner {
    /// One that begins, with the past of its record.
    pub fn new(part: Part, want: Want, record: &Record) -> Box<Runner> {
        let mut links = Links::default();
        let (settings, complaints) = settings_of(part, &mut links);
        let machine = Machine::remember(settings.policy.clone(), want, record, Moment::now());
        // Wanted down, it may be started long after this.
        let first_complaints = (want == Want::Up).then_some(complaints);
        let mut runner = Runner::with(part, machine, settings, None);
        (runner.first_complaints, runner.links) = (first_complaints, links);
        runner
    }

    /// One that goes on after a supervise that was killed, and the first thing to happen to it.
    ///
    /// # Errors
    /// What became of its process cannot be told.
    pub fn resume(part: Part, record: &Record, place: &Place) -> Result<(Box<Runner>, Event), Unable> {
        // Of what runs those count with which it was started.
        let settings = match record.process {
            Some(_) => Settings::recall(&record.settings),
            None => settings_of(part, &mut Links::default()).0,
        };
        let machine = Machine::resume(settings.policy.clone(), record, Moment::now());
        // What is ready was seen to have passed.
        let gated = if record.ready.is_none() { Gated::Maybe } else { Gated::No };
        let adopted = record.process.map(|(role, process)| child::adopt(role, process, place, gated));
        let (process, first) = match adopted.transpose()? {
            Some(Found::Alive(process)) => (Some(process), Event::Begun),
            Some(Found::Ended(event)) => (None, event),
            None => (None, Event::Begun),
        };
        let mut runner = Runner::with(part, machine, settings, process);
        if runner.process.is_some() && gated == Gated::Maybe {
            (runner.gated, runner.ask_again) = (gated, Some(Moment::now().uptime));
        }
        runner.status_text.clone_from(&record.status_text);
        runner.channels = ReadinessChannels::remember(record.notify_socket.as_deref().map(Address::parse));
        runner.last_run = record.last_run;
        Ok((runner, first))
    }

    /// In the heap, where it lies once; on the stack it would leave a copy for every move.
    fn with(part: Part, machine: Machine, settings: Settings, process: Option<ServiceProcess>) -> Box<Runner> {
        Box::new(Runner {
            part,
            ended: None,
            last_run: None,
            machine,
            settings,
            links: Links::default(),
            complaints: Vec::new(),
            refusals: Vec::new(),
            late: Repeated::NEVER,
            first_complaints: None,
            process,
            gate: None,
            channels: ReadinessChannels::NONE,
            status_text: String::new(),
            socket_failed: false,
            channel_complaints: Vec::new(),
            namespace_watch: None,
            was_far: false,
            check: None,
            gated: Gated::No,
            asked: 0,
            ask_again: None,
            pending_events: Vec::new(),
            done: false,
        })
    }

    /// Whether nothing runs, and it is time to start `run`.
    pub fn is_due(&self) -> bool {
        self.machine.is_due(Moment::now())
    }

    /// There is nothing to read for a logger, and nothing is left that could write.
    pub fn starve(&mut self, shared: &mut Shared) {
        self.handle(Event::Starved, shared);
    }

    /// Listens again to what an adopted process has to tell.
    pub fn reattach(&mut self, shared: &Shared) {
        // For what it starts from now on; orphans of the process itself go to the parent that it has by now.
        self.become_subreaper();
        if self.process.as_ref().is_some_and(|process| process.role == Role::Run) {
            let address = self.channels.address().cloned();
            self.listen(Past::Counts(address), shared);
            self.check_if_needed();
        }
    }

    /// Descendants whose parents die are ours where the service's own settings need that, whatever its logger needs.
    fn become_subreaper(&self) {
        if self.part == Part::Service {
            let policy = &self.settings.policy;
            let _ = set_child_subreaper(policy.scope == Scope::Tree || policy.listens());
        }
    }

    /// What to poll for.
    pub fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        fds.extend(self.gate.iter().map(|gate| PollFd::new(gate.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.channels.descriptors().map(|channel| PollFd::new(channel, PollFlags::POLLIN)));
        if let Some(end) = self.process.as_ref().and_then(ServiceProcess::end_watch) {
            // Once it has ended, only being waited for by its parent is news.
            let ended = self.process.as_ref().is_some_and(ServiceProcess::has_ended);
            let news = if ended { PollFlags::empty() } else { PollFlags::POLLIN };
            fds.push(PollFd::new(end, news));
        }
    }

    /// When to look again at the latest, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        let check = self.check.as_ref().map(Check::deadline);
        let namespace_watch = self.namespace_watch.as_ref().and_then(NamespaceWatch::deadline);
        [self.machine.deadline(), self.ask_again, self.channels.deadline(), check, namespace_watch]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether its process has a time within which it must do something.
    pub fn is_timing(&self) -> bool {
        self.machine.is_timing()
    }

    /// Looks at everything that is not told by SIGCHLD.
    pub fn poll(&mut self, shared: &mut Shared) {
        self.look_at_gate(shared);
        self.look_at_adopted(shared);
        self.see_socket(shared);
        self.listen_to_service(shared);
        self.look_whether_it_is_far(shared);
        if let Some(check) = &mut self.check {
            check.poll(Moment::now().uptime);
        }
        self.handle(Event::Woken, shared);
    }

    /// The children of ours that this slot has made and waits for.
    pub fn children(&self) -> impl Iterator<Item = Pid> {
        let program = self.process.as_ref().filter(|process| process.is_child()).map(|process| process.id.pid);
        program.into_iter().chain(self.check.as_ref().and_then(Check::running))
    }

    /// The child that has ended and is to be waited for later.
    pub fn ended(&self) -> Option<Pid> {
        self.ended
    }

    /// Gives up the child that has ended once `supervise/status` does not show it any more: then it is to be waited for.
    pub fn release_ended(&mut self) -> Option<Pid> {
        if self.machine.shows_ended().is_none() { self.ended.take() } else { None }
    }

    /// Takes in that a child of ours has ended; does nothing if it is none of this slot's.
    pub fn child_ended(&mut self, pid: Pid, status: i32, shared: &mut Shared) {
        let exit = Exit::from_wait_status(status);
        if self.process.as_ref().is_some_and(|process| process.id.pid == pid) {
            let refused = match self.gate.as_ref().map(Gate::exec_result) {
                Some(ExecResult::Refused(errno)) => {
                    self.say_refusal(errno, shared.control_files.name());
                    Some(Exit::Unstarted(errno as i32))
                }
                // It may have ended before we have looked.
                Some(ExecResult::Executed) => {
                    self.forget_refusal();
                    None
                }
                Some(ExecResult::Pending) | None => None,
            };
            self.ended = Some(pid);
            self.has_ended(refused.unwrap_or(exit), shared);
        } else if let Some(check) = &mut self.check
            && check.ended(pid, exit, Moment::now().uptime)
        {
            self.check = None;
            self.handle(Event::Ready, shared);
        }
    }

    fn look_at_gate(&mut self, shared: &mut Shared) {
        match self.gate.as_ref().map(Gate::exec_result) {
            Some(ExecResult::Executed) => {
                self.gate = None;
                self.forget_refusal();
                self.handle(Event::Executed, shared);
                self.check_if_needed();
            }
            // Said again by its end, which is not far.
            Some(ExecResult::Refused(_) | ExecResult::Pending) | None => {}
        }
    }

    /// The program was executed: that it cannot be would be news again.
    fn forget_refusal(&mut self) {
        let role = self.process.as_ref().map(|process| process.role);
        self.refusals.retain(|(refused, _)| Some(*refused) != role);
    }

    /// Says why a program could not be executed, in the original's words, unless that was said the last time.
    fn say_refusal(&mut self, errno: Errno, name: &[u8]) {
        let Some(role) = self.process.as_ref().map(|process| process.role) else { return };
        let program = self.part.program(role);
        let object = [name, b"/", program.as_bytes()].concat();
        let unable = Unable::execute_own("start", OsStr::from_bytes(&object), Path::new(program), errno);
        let words = unable.to_bytes();
        if self.refusals.iter().any(|said| *said == (role, words.clone())) {
            return;
        }
        self.refusals.retain(|(refused, _)| *refused != role);
        self.refusals.push((role, words));
        Fatal::from(unable).tell();
    }

    fn look_at_adopted(&mut self, shared: &mut Shared) {
        let Some(process) = &self.process else { return };
        if process.is_unheld() && self.ask_again.is_none() {
            self.ask_again = Some(Moment::now().uptime + ASK_UNHELD);
        }
        if process.has_ended() {
            let give_up = (self.asked >= ASK_TIMES).then_some(Event::Ended(Exit::Unknown));
            return match process.adopted_end(&shared.control_files.place, self.gated).or(give_up) {
                Some(Event::Ended(exit)) => self.has_ended(exit, shared),
                Some(event) => {
                    self.forget_process(shared);
                    self.handle(event, shared);
                }
                None => self.ask_again(),
            };
        }
        match self.gated {
            Gated::No if process.is_unheld() => {
                if self.ask_again.is_some_and(|due| due <= Moment::now().uptime) {
                    self.ask_again = Some(Moment::now().uptime + ASK_UNHELD);
                }
            }
            Gated::No => {}
            // What takes so long is no child of ours at a gate, whatever it is.
            Gated::Maybe if process.has_executed() || self.asked >= ASK_TIMES => {
                (self.gated, self.asked, self.ask_again) = (Gated::No, 0, None);
                self.handle(Event::Executed, shared);
            }
            Gated::Maybe => self.ask_again(),
        }
    }

    fn ask_again(&mut self) {
        self.asked += 1;
        self.ask_again = Some(Moment::now().uptime + ASK_AGAIN);
    }

    fn has_ended(&mut self, exit: Exit, shared: &mut Shared) {
        if let Some(process) = &self.process {
            self.notify(process.role, process.id.pid, Some(exit), shared);
        }
        self.forget_process(shared);
        self.handle(Event::Ended(exit), shared);
    }

    fn forget_process(&mut self, shared: &mut Shared) {
        if self.part == Part::Logger {
            shared.logger = None;
        }
        (self.process, self.gate) = (None, None);
        (self.gated, self.asked, self.ask_again) = (Gated::No, 0, None);
        (self.channels, self.socket_failed, self.check, self.namespace_watch) =
            (ReadinessChannels::NONE, false, None, None);
        if self.part == Part::Service {
            shared.pocket.iter().for_each(Pocket::empty);
        }
        self.status_text.clear();
    }

    fn listen(&mut self, past: Past, shared: &Shared) {
        let pocket = shared.pocket.as_ref();
        let (channels, complaints) =
            ReadinessChannels::open(&self.settings.policy, past, &shared.control_files.place, pocket);
        self.channels = channels;
        let has_name = matches!(self.channels.address(), Some(Address::Name(_)));
        self.namespace_watch = has_name.then(|| NamespaceWatch::from(Moment::now().uptime));
        self.say_channel_complaints(complaints, shared);
    }

    fn say_channel_complaints(&mut self, complaints: Vec<ready::Complaint>, shared: &Shared) {
        if complaints == self.channel_complaints {
            return;
        }
        for (what, errno) in &complaints {
            let object = [shared.control_files.name(), b"/", what.as_bytes()].concat();
            Unable::new("listen for", OsStr::from_bytes(&object), *errno).warn();
        }
        self.channel_complaints = complaints;
    }

    /// Sees to it that the service reaches its socket, which somebody may have removed, or taken from us. Nothing that it may
    /// have said meanwhile counts against it.
    fn see_socket(&mut self, shared: &mut Shared) {
        if !self.channels.misses_messages() {
            if replace(&mut self.socket_failed, false) {
                self.handle(Event::NotifySocketWorks, shared);
            }
            return;
        }
        self.socket_failed = true;
        self.handle(Event::NotifySocketFailed, shared);
        if !self.channels.is_to_retry(Moment::now().uptime) {
            return;
        }
        shared.mend();
        match self.channels.open_socket(&shared.control_files.place, shared.pocket.as_ref()) {
            Ok(()) => {
                self.socket_failed = false;
                self.handle(Event::NotifySocketWorks, shared);
            }
            Err(complaint) => self.say_channel_complaints(vec![complaint], shared),
        }
    }

    /// Says once that a service cannot reach its socket, unless it was heard of, or need not be any more.
    fn look_whether_it_is_far(&mut self, shared: &Shared) {
        let (Some(namespace_watch), Some(process)) = (&mut self.namespace_watch, &self.process) else { return };
        if self.settings.policy.watchdog.is_none() && self.machine.record().ready.is_some() {
            self.namespace_watch = None;
        } else if namespace_watch.is_far(process.id.pid, Moment::now().uptime) && !replace(&mut self.was_far, true) {
            let words =
                b": is in another network namespace, where its NOTIFY_SOCKET cannot be reached: write \"path\" into ";
            let name = shared.control_files.name();
            report::warning(&[name, words, name, b"/notify-socket"]);
        }
    }

    fn listen_to_service(&mut self, shared: &mut Shared) {
        if self.channels.receive_newline() {
            self.handle(Event::Ready, shared);
        }
        // Somebody may send them faster than they are dealt with: then there is a time for other things.
        for _ in 0..MESSAGES_AT_ONCE {
            let began = Moment::now().uptime;
            let Some(Incoming { said, child }) = self.channels.receive_message() else { return };
            shared.helpers.extend(child);
            let is_believed =
                |sender: &Sender| self.process.as_ref().is_some_and(|process| process.speaks_through(sender));
            let believed = said.filter(|(_, sender)| is_believed(sender));
            if believed.is_none() || child.is_some() {
                self.channels.count_stranger(began);
            }
            if let Some((message, sender)) = believed {
                self.take_in(message, &sender, shared);
            }
        }
    }

    /// Takes in what the service says.
    fn take_in(&mut self, message: Message, sender: &Sender, shared: &mut Shared) {
        self.namespace_watch = None;
        let moved = message.main_pid.zip(self.process.as_ref()).and_then(|(pid, process)| {
            let mut strangers = shared.strangers();
            strangers.extend(self.check.as_ref().and_then(Check::running));
            process.moved_to(Pid::from_raw(pid), sender, &strangers, &shared.control_files.place)
        });
        if let Some(moved) = moved {
            self.process = Some(moved);
            self.handle(Event::Changed, shared);
        }
        if let Some(text) = message.status {
            self.status_text = text;
            self.handle(Event::Changed, shared);
        }
        let told = [(message.alive, Event::Alive), (message.ready, Event::Ready), (message.stopping, Event::Stopping)];
        told.into_iter().filter(|(said, _)| *said).for_each(|(_, event)| self.handle(event, shared));
    }

    fn check_if_needed(&mut self) {
        let runs = self.process.as_ref().is_some_and(|process| process.role == Role::Run);
        if runs && self.settings.policy.has_check && self.machine.record().ready.is_none() {
            self.check = Some(Check::from(Moment::now().uptime));
        }
    }

    /// Tells the machine, and does what it says. What is announced of it comes last: a restart does not wait for
    /// those who listen.
    pub fn handle(&mut self, event: Event, shared: &mut Shared) {
        // Whoever starts it wants to know why it does not run.
        if matches!(event, Event::Told(Command::Up | Command::Once)) {
            self.refusals.clear();
            self.late = Repeated::NEVER;
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
            // Only the last thing to do has a consequence.
            for action in todo {
                next = self.perform(action, shared);
            }
        }
    }

    fn perform(&mut self, action: Action, shared: &mut Shared) -> Option<Event> {
        match action {
            Action::Configure => {
                self.configure(shared);
                return Some(Event::Configured(self.settings.policy.clone()));
            }
            Action::Launch(role, exit) => return Some(self.launch(role, exit, shared)),
            Action::Record => shared.publisher.write_down(self.part, self.record()),
            Action::Publish => shared.publisher.publish(self.part, self.record()),
            Action::OpenGate => self.open_gate(shared),
            Action::Send(signal) => self.process.iter().for_each(|process| process.send(signal)),
            Action::SendGroup(signal) => self.process.iter().for_each(|process| process.send_group(signal)),
            Action::SendScope(signal) => self.send_scope(signal, shared),
            Action::KillRest => self.kill_rest(shared),
            Action::Announce(letter) if self.part == Part::Service => self.pending_events.push(letter as u8),
            Action::Announce(_) => {}
            Action::GiveUp => self.say_that_it_gives_up(shared.control_files.name()),
            Action::SayLate(late) => self.say_that_it_is_late(late, shared.control_files.name()),
            Action::SayStarved => say_that_it_starves(shared.control_files.name()),
            Action::Leave => self.done = true,
        }
        None
    }

    /// Nothing else happens to it from now on: whoever looks for the reason later finds it where it was said.
    fn say_that_it_gives_up(&self, name: &[u8]) {
        let why = self.record().failure_words().unwrap_or_default();
        let (logger, up) = match self.part {
            Part::Service => (&b""[..], &b"svc -u"[..]),
            Part::Logger => (&b"/log"[..], &b"svc -Lu"[..]),
        };
        report::warning(&[name, logger, b": gives up: ", why.as_bytes(), b"; ", up, b" starts it again"]);
    }

    /// A service that is too late is told to end, and started again, maybe for ever.
    fn say_that_it_is_late(&mut self, late: Late, name: &[u8]) {
        let Some(times) = self.late.happens(late, Moment::now().uptime) else { return };
        let (what, within, file) = match late {
            Late::NotReady(within) => ("not ready within", within, "timeout-up"),
            Late::Silent(within) => ("no sign of life for", within, "watchdog"),
        };
        let often = if times == 1 { String::new() } else { format!(", {times} times since this was said") };
        let words = format!(": {what} {within:?}{often}: told to end; the limit is in ");
        report::warning(&[name, words.as_bytes(), name, b"/", file.as_bytes()]);
    }

    /// Complains of settings once, not at every restart.
    fn configure(&mut self, shared: &Shared) {
        let complaints = match self.first_complaints.take() {
            Some(complaints) => complaints,
            None => {
                let (settings, complaints) = settings_of(self.part, &mut self.links);
                self.settings = settings;
                complaints
            }
        };
        if complaints != self.complaints {
            for (setting, why) in &complaints {
                let name = shared.control_files.name();
                report::warning(&[name, b"/", setting.as_bytes(), b": line 1: ", why.as_bytes(), b"; ignored"]);
            }
            self.complaints = complaints;
        }
    }

    fn launch(&mut self, role: Role, exit: Option<Exit>, shared: &mut Shared) -> Event {
        // A logger may be started once more though it was told to leave.
        self.done = false;
        if role == Role::Run {
            self.listen(Past::Forgotten, shared);
        }
        self.become_subreaper();
        let socket = self.channels.variable();
        let order = Order {
            role,
            part: self.part,
            pipe: shared.pipe.as_ref(),
            exit,
            last_run: self.last_run,
            policy: &self.settings.policy,
            socket: socket.as_deref(),
            tags_processes: shared.tags_processes,
            name: shared.control_files.given.as_bytes(),
            place: &shared.control_files.place,
            lock: shared.control_files.lock.as_fd(),
        };
        match child::launch(&order) {
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
                self.complain_of_fork(role, errno, shared.control_files.name());
                Event::NotLaunched
            }
        }
    }

    /// In the original's words where we do what it does; `finish` and `stop` are left out.
    fn complain_of_fork(&self, role: Role, errno: Errno, name: &[u8]) {
        let (seconds, reason) = (RETRY_FORK.as_secs().to_string(), report::reason(errno).as_bytes());
        let program = [b"/", self.part.program(role).as_bytes()].concat();
        let (program, sleeping) = match role {
            Role::Finish | Role::Stop => (&program[..], String::new()),
            Role::Start | Role::Run if self.part == Part::Logger => (&program[..], seconds),
            Role::Start | Role::Run => (&[][..], seconds),
        };
        let sleeping = if sleeping.is_empty() { sleeping } else { format!(", sleeping {sleeping} seconds") };
        report::warning(&[b"unable to fork for ", name, program, sleeping.as_bytes(), b": ", reason]);
    }

    /// Not before it is written down who the process is: otherwise, were we killed, the next supervise would start a
    /// second one beside it. Where that can be written nowhere, the service is not to stay down for it.
    fn open_gate(&mut self, shared: &mut Shared) {
        if shared.publisher.misses_directory() {
            shared.mend();
        }
        shared.publisher.see_it_written();
        self.gate.iter().for_each(Gate::open);
        if let Some(process) = &self.process {
            self.notify(process.role, process.id.pid, None, shared);
        }
    }

    /// Tells whom it concerns of the start (no exit) or end of a process.
    pub fn notify(&self, role: Role, pid: Pid, exit: Option<Exit>, shared: &mut Shared) {
        if self.settings.policy.has_notify {
            let program = self.part.program(role);
            shared.helpers.extend(hooks::notify(program, pid, exit));
        }
    }

    fn send_scope(&self, signal: Signal, shared: &Shared) {
        let Some(process) = &self.process else { return };
        match self.settings.policy.scope {
            Scope::Main => process.send(signal),
            Scope::Group => process.send_group(signal),
            Scope::Tree => tree::send(Some(process.id.pid), signal, &shared.strangers()),
        }
    }

    fn kill_rest(&self, shared: &Shared) {
        match self.settings.policy.scope {
            Scope::Main => {}
            Scope::Group => self.last_run.iter().for_each(|run| tree::kill_group(*run)),
            Scope::Tree => tree::kill_all(self.last_run.map(|run| run.pid), &shared.strangers()),
        }
    }

    /// The process that is alive.
    pub fn process(&self) -> Option<Process> {
        self.process.as_ref().map(|process| process.id)
    }

    /// How it is now.
    pub fn record(&self) -> Record {
        let since = self.machine.shows_ended();
        Record {
            shown: self.ended.zip(since).map(|(pid, since)| Shown { pid, since }),
            settings: self.settings.files.clone(),
            notify_socket: self.channels.address().and_then(Address::word),
            status_text: self.status_text.clone(),
            last_run: self.last_run,
            process: self.process.as_ref().map(|process| (process.role, process.id)),
            ..self.machine.record()
        }
    }
}

/// It is no fault, but whoever has removed the service may have forgotten its logger.
fn say_that_it_starves(name: &[u8]) {
    let words = b": not started as long as nothing writes to it; if its service was removed, svc -x removes it too";
    report::notice(&[name, words]);
}

/// The settings are the service's; of them its logger has only that somebody is to be notified.
fn settings_of(part: Part, links: &mut Links) -> (Settings, Vec<Complaint>) {
    let (settings, complaints) = settings::read(links);
    match part {
        Part::Service => (settings, complaints),
        Part::Logger => {
            let notify = settings.files.into_iter().filter(|(file, _)| file == "notify").collect::<Vec<_>>();
            (Settings::recall(&notify), Vec::new())
        }
    }
}
