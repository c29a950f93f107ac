//! One of the two things that a supervise may keep running, the service and its logger: what its
//! machine decides, done; what happens to it, told to its machine.

use crate::charge::Charge;
use crate::child::{self, Found, Gate, Gated, Held, Order, Passage};
use crate::machine::{Action, Event, Late, Machine, RETRY_FORK};
use crate::network::Unheard;
use crate::notify::Message;
use crate::pipe::Pipe;
use crate::policy::Scope;
use crate::publish::{Publisher, announce};
use crate::ready::{self, Address, Ears, Heard, Past};
use crate::repeated::Repeated;
use crate::settings::{self, Complaint, Links, Settings};
use crate::side::{self, Check};
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
pub struct Common {
    pub charge: Charge,
    pub publisher: Publisher,
    pub pipe: Option<Pipe>,
    /// Children of ours that are not of the service and were not waited for: notifications, the logger.
    pub bystanders: Vec<Pid>,
    /// The logger's process, which need not be a child of ours.
    pub logger: Option<Pid>,
    /// Processes of the service are marked, as `supervise/` does not prove who they are.
    pub marks: bool,
    /// Where svscan keeps the socket that the service speaks through, when we are killed.
    pub pocket: Option<Pocket>,
}

impl Common {
    /// Processes that have to do with us, but are not of the service.
    pub fn strangers(&self) -> Vec<Pid> {
        self.bystanders.iter().copied().chain(self.logger).collect()
    }

    /// Makes `supervise/` again if somebody has removed it, and what else is gone in there that others reach us by.
    pub fn mend(&mut self) {
        let is_new = self.charge.see_files() || (self.publisher.misses_directory() && self.charge.make_again());
        if is_new {
            self.publisher.write_anew();
        }
    }
}

/// A machine and what it has in the world.
pub struct Slot {
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
    fresh: Option<Vec<Complaint>>,
    /// The process of the service.
    held: Option<Held>,
    /// The gate it waits at, or has not been seen to pass.
    gate: Option<Gate>,
    /// A child that has ended and is not waited for yet, as `supervise/status` may still show its number.
    ended: Option<Pid>,
    /// The last `run`, whose number its process group has, where it led one.
    last_run: Option<Process>,
    /// What the service tells of itself, and what it last said.
    ears: Ears,
    status_text: String,
    /// The machine knows that nothing that the service says to its socket is heard.
    is_deaf: bool,
    /// What was last said that it cannot be heard through.
    deaf_to: Vec<ready::Complaint>,
    /// It is asked where it is until it was heard of, and whether it was said that it is too far away.
    unheard: Option<Unheard>,
    was_far: bool,
    /// Asks whether the service is ready, where it does not tell.
    check: Option<Check>,
    /// Whether an adopted process has yet to be seen as a program.
    gated: Gated,
    /// How often that, or the end of an adopted process, was asked for in vain, and when to ask again.
    asked: u32,
    ask_again: Option<Duration>,
    /// To be announced.
    letters: Vec<u8>,
    /// The machine has come to its end.
    pub done: bool,
}

impl Slot {
    /// One that begins, with the past of its record.
    pub fn new(part: Part, want: Want, record: &Record) -> Box<Slot> {
        let mut links = Links::default();
        let (settings, complaints) = settings_of(part, &mut links);
        let machine = Machine::remember(settings.policy.clone(), want, record, Moment::now());
        // Wanted down, it may be started long after this.
        let fresh = (want == Want::Up).then_some(complaints);
        let mut slot = Slot::with(part, machine, settings, None);
        (slot.fresh, slot.links) = (fresh, links);
        slot
    }

    /// One that goes on after a supervise that was killed, and the first thing to happen to it.
    ///
    /// # Errors
    /// What became of its process cannot be told.
    pub fn resume(part: Part, record: &Record, place: &Place) -> Result<(Box<Slot>, Event), Unable> {
        // Of what runs those count with which it was started.
        let settings = match record.process {
            Some(_) => Settings::recall(&record.settings),
            None => settings_of(part, &mut Links::default()).0,
        };
        let machine = Machine::resume(settings.policy.clone(), record, Moment::now());
        // What is ready was seen to have passed.
        let gated = if record.ready.is_none() { Gated::Maybe } else { Gated::No };
        let adopted = record.process.map(|(role, process)| child::adopt(role, process, place, gated));
        let (held, first) = match adopted.transpose()? {
            Some(Found::Alive(held)) => (Some(held), Event::Begun),
            Some(Found::Ended(event)) => (None, event),
            None => (None, Event::Begun),
        };
        let mut slot = Slot::with(part, machine, settings, held);
        if slot.held.is_some() && gated == Gated::Maybe {
            (slot.gated, slot.ask_again) = (gated, Some(Moment::now().uptime));
        }
        slot.status_text.clone_from(&record.status_text);
        slot.ears = Ears::remember(record.notify_socket.as_deref().map(Address::parse));
        slot.last_run = record.last_run;
        Ok((slot, first))
    }

    /// In the heap, where it lies once; on the stack it would leave a copy for every move.
    fn with(part: Part, machine: Machine, settings: Settings, held: Option<Held>) -> Box<Slot> {
        Box::new(Slot {
            part,
            ended: None,
            last_run: None,
            machine,
            settings,
            links: Links::default(),
            complaints: Vec::new(),
            refusals: Vec::new(),
            late: Repeated::NEVER,
            fresh: None,
            held,
            gate: None,
            ears: Ears::DEAF,
            status_text: String::new(),
            is_deaf: false,
            deaf_to: Vec::new(),
            unheard: None,
            was_far: false,
            check: None,
            gated: Gated::No,
            asked: 0,
            ask_again: None,
            letters: Vec::new(),
            done: false,
        })
    }

    /// Whether nothing runs, and it is time to start `run`.
    pub fn is_due(&self) -> bool {
        self.machine.is_due(Moment::now())
    }

    /// There is nothing to read for a logger, and nothing is left that could write.
    pub fn starve(&mut self, common: &mut Common) {
        self.happen(Event::Starved, common);
    }

    /// Listens again to what an adopted process has to tell.
    pub fn take_up(&mut self, common: &Common) {
        // For what it starts from now on; orphans of the process itself go to the parent that it has by now.
        self.become_subreaper();
        if self.held.as_ref().is_some_and(|held| held.role == Role::Run) {
            let address = self.ears.address().cloned();
            self.listen(Past::Counts(address), common);
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
        fds.extend(self.ears.descriptors().map(|ear| PollFd::new(ear, PollFlags::POLLIN)));
        if let Some(end) = self.held.as_ref().and_then(Held::end_watch) {
            // Once it has ended, only being waited for by its parent is news.
            let ended = self.held.as_ref().is_some_and(Held::has_ended);
            let news = if ended { PollFlags::empty() } else { PollFlags::POLLIN };
            fds.push(PollFd::new(end, news));
        }
    }

    /// When to look again at the latest, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        let check = self.check.as_ref().map(Check::deadline);
        let unheard = self.unheard.as_ref().and_then(Unheard::deadline);
        [self.machine.deadline(), self.ask_again, self.ears.deadline(), check, unheard].into_iter().flatten().min()
    }

    /// Whether its process has a time within which it must do something.
    pub fn is_timing(&self) -> bool {
        self.machine.is_timing()
    }

    /// Looks at everything that is not told by SIGCHLD.
    pub fn look(&mut self, common: &mut Common) {
        self.look_at_gate(common);
        self.look_at_adopted(common);
        self.see_socket(common);
        self.listen_to_service(common);
        self.look_whether_it_is_far(common);
        if let Some(check) = &mut self.check {
            check.look(Moment::now().uptime);
        }
        self.happen(Event::Woken, common);
    }

    /// The children of ours that this slot has made and waits for.
    pub fn children(&self) -> impl Iterator<Item = Pid> {
        let program = self.held.as_ref().filter(|held| held.is_child()).map(|held| held.process.pid);
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
    pub fn child_ended(&mut self, pid: Pid, status: i32, common: &mut Common) {
        let exit = Exit::from_wait_status(status);
        if self.held.as_ref().is_some_and(|held| held.process.pid == pid) {
            let refused = match self.gate.as_ref().map(Gate::passage) {
                Some(Passage::Refused(errno)) => {
                    self.say_refusal(errno, common.charge.name());
                    Some(Exit::Unstarted(errno as i32))
                }
                // It may have ended before we have looked.
                Some(Passage::Executed) => {
                    self.forget_refusal();
                    None
                }
                Some(Passage::Underway) | None => None,
            };
            self.ended = Some(pid);
            self.has_ended(refused.unwrap_or(exit), common);
        } else if let Some(check) = &mut self.check
            && check.ended(pid, exit, Moment::now().uptime)
        {
            self.check = None;
            self.happen(Event::Ready, common);
        }
    }

    fn look_at_gate(&mut self, common: &mut Common) {
        match self.gate.as_ref().map(Gate::passage) {
            Some(Passage::Executed) => {
                self.gate = None;
                self.forget_refusal();
                self.happen(Event::Executed, common);
                self.check_if_needed();
            }
            // Said again by its end, which is not far.
            Some(Passage::Refused(_) | Passage::Underway) | None => {}
        }
    }

    /// The program was executed: that it cannot be would be news again.
    fn forget_refusal(&mut self) {
        let role = self.held.as_ref().map(|held| held.role);
        self.refusals.retain(|(refused, _)| Some(*refused) != role);
    }

    /// Says why a program could not be executed, in the original's words, unless that was said the last time.
    fn say_refusal(&mut self, errno: Errno, name: &[u8]) {
        let Some(role) = self.held.as_ref().map(|held| held.role) else { return };
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

    fn look_at_adopted(&mut self, common: &mut Common) {
        let Some(held) = &self.held else { return };
        if held.is_unheld() && self.ask_again.is_none() {
            self.ask_again = Some(Moment::now().uptime + ASK_UNHELD);
        }
        if held.has_ended() {
            let give_up = (self.asked >= ASK_TIMES).then_some(Event::Ended(Exit::Unknown));
            return match held.adopted_end(&common.charge.place, self.gated).or(give_up) {
                Some(Event::Ended(exit)) => self.has_ended(exit, common),
                Some(event) => {
                    self.forget_process(common);
                    self.happen(event, common);
                }
                None => self.ask_again(),
            };
        }
        match self.gated {
            Gated::No if held.is_unheld() => {
                if self.ask_again.is_some_and(|due| due <= Moment::now().uptime) {
                    self.ask_again = Some(Moment::now().uptime + ASK_UNHELD);
                }
            }
            Gated::No => {}
            // What takes so long is no child of ours at a gate, whatever it is.
            Gated::Maybe if held.has_executed() || self.asked >= ASK_TIMES => {
                (self.gated, self.asked, self.ask_again) = (Gated::No, 0, None);
                self.happen(Event::Executed, common);
            }
            Gated::Maybe => self.ask_again(),
        }
    }

    fn ask_again(&mut self) {
        self.asked += 1;
        self.ask_again = Some(Moment::now().uptime + ASK_AGAIN);
    }

    fn has_ended(&mut self, exit: Exit, common: &mut Common) {
        if let Some(held) = &self.held {
            self.notify(held.role, held.process.pid, Some(exit), common);
        }
        self.forget_process(common);
        self.happen(Event::Ended(exit), common);
    }

    fn forget_process(&mut self, common: &mut Common) {
        if self.part == Part::Logger {
            common.logger = None;
        }
        (self.held, self.gate) = (None, None);
        (self.gated, self.asked, self.ask_again) = (Gated::No, 0, None);
        (self.ears, self.is_deaf, self.check, self.unheard) = (Ears::DEAF, false, None, None);
        if self.part == Part::Service {
            common.pocket.iter().for_each(Pocket::empty);
        }
        self.status_text.clear();
    }

    fn listen(&mut self, past: Past, common: &Common) {
        let pocket = common.pocket.as_ref();
        let (ears, complaints) = Ears::open(&self.settings.policy, past, &common.charge.place, pocket);
        self.ears = ears;
        let has_name = matches!(self.ears.address(), Some(Address::Name(_)));
        self.unheard = has_name.then(|| Unheard::from(Moment::now().uptime));
        self.say_deaf_to(complaints, common);
    }

    fn say_deaf_to(&mut self, complaints: Vec<ready::Complaint>, common: &Common) {
        if complaints == self.deaf_to {
            return;
        }
        for (what, errno) in &complaints {
            let object = [common.charge.name(), b"/", what.as_bytes()].concat();
            Unable::new("listen for", OsStr::from_bytes(&object), *errno).warn();
        }
        self.deaf_to = complaints;
    }

    /// Sees to it that the service reaches its socket, which somebody may have removed, or taken from us. Nothing that it may
    /// have said meanwhile counts against it.
    fn see_socket(&mut self, common: &mut Common) {
        if !self.ears.misses_messages() {
            if replace(&mut self.is_deaf, false) {
                self.happen(Event::Heard, common);
            }
            return;
        }
        self.is_deaf = true;
        self.happen(Event::Deaf, common);
        if !self.ears.is_to_retry(Moment::now().uptime) {
            return;
        }
        common.mend();
        match self.ears.open_socket(&common.charge.place, common.pocket.as_ref()) {
            Ok(()) => {
                self.is_deaf = false;
                self.happen(Event::Heard, common);
            }
            Err(complaint) => self.say_deaf_to(vec![complaint], common),
        }
    }

    /// Says once that a service cannot reach its socket, unless it was heard of, or need not be any more.
    fn look_whether_it_is_far(&mut self, common: &Common) {
        let (Some(unheard), Some(held)) = (&mut self.unheard, &self.held) else { return };
        if self.settings.policy.watchdog.is_none() && self.machine.record().ready.is_some() {
            self.unheard = None;
        } else if unheard.is_far(held.process.pid, Moment::now().uptime) && !replace(&mut self.was_far, true) {
            let words =
                b": is in another network namespace, where its NOTIFY_SOCKET cannot be reached: write \"path\" into ";
            let name = common.charge.name();
            report::warning(&[name, words, name, b"/notify-socket"]);
        }
    }

    fn listen_to_service(&mut self, common: &mut Common) {
        if self.ears.hear_newline() {
            self.happen(Event::Ready, common);
        }
        // Somebody may send them faster than they are dealt with: then there is a time for other things.
        for _ in 0..MESSAGES_AT_ONCE {
            let began = Moment::now().uptime;
            let Some(Heard { said, child }) = self.ears.hear_message() else { return };
            common.bystanders.extend(child);
            let is_believed = |sender: &Sender| self.held.as_ref().is_some_and(|held| held.speaks_through(sender));
            let believed = said.filter(|(_, sender)| is_believed(sender));
            if believed.is_none() || child.is_some() {
                self.ears.heard_stranger(began);
            }
            if let Some((message, sender)) = believed {
                self.take_in(message, &sender, common);
            }
        }
    }

    /// Takes in what the service says.
    fn take_in(&mut self, message: Message, sender: &Sender, common: &mut Common) {
        self.unheard = None;
        let moved = message.main_pid.zip(self.held.as_ref()).and_then(|(pid, held)| {
            let mut strangers = common.strangers();
            strangers.extend(self.check.as_ref().and_then(Check::running));
            held.moved_to(Pid::from_raw(pid), sender, &strangers, &common.charge.place)
        });
        if let Some(moved) = moved {
            self.held = Some(moved);
            self.happen(Event::Changed, common);
        }
        if let Some(text) = message.status {
            self.status_text = text;
            self.happen(Event::Changed, common);
        }
        let told = [(message.alive, Event::Alive), (message.ready, Event::Ready), (message.stopping, Event::Stopping)];
        told.into_iter().filter(|(said, _)| *said).for_each(|(_, event)| self.happen(event, common));
    }

    fn check_if_needed(&mut self) {
        let runs = self.held.as_ref().is_some_and(|held| held.role == Role::Run);
        if runs && self.settings.policy.has_check && self.machine.record().ready.is_none() {
            self.check = Some(Check::from(Moment::now().uptime));
        }
    }

    /// Tells the machine, and does what it says. What is announced of it comes last: a restart does not wait for
    /// those who listen.
    pub fn happen(&mut self, event: Event, common: &mut Common) {
        // Whoever starts it wants to know why it does not run.
        if matches!(event, Event::Told(Command::Up | Command::Once)) {
            self.refusals.clear();
            self.late = Repeated::NEVER;
        }
        self.follow(event, common);
        if !self.letters.is_empty() {
            announce(&std::mem::take(&mut self.letters), &common.charge.place);
        }
    }

    fn follow(&mut self, event: Event, common: &mut Common) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let mut todo = Vec::new();
            self.machine.step(Moment::now(), event, &mut todo);
            // Only the last thing to do has a consequence.
            for action in todo {
                next = self.perform(action, common);
            }
        }
    }

    fn perform(&mut self, action: Action, common: &mut Common) -> Option<Event> {
        match action {
            Action::Configure => {
                self.configure(common);
                return Some(Event::Configured(self.settings.policy.clone()));
            }
            Action::Launch(role, exit) => return Some(self.launch(role, exit, common)),
            Action::Record => common.publisher.write_down(self.part, self.record()),
            Action::Publish => common.publisher.publish(self.part, self.record()),
            Action::OpenGate => self.open_gate(common),
            Action::Send(signal) => self.held.iter().for_each(|held| held.send(signal)),
            Action::SendGroup(signal) => self.held.iter().for_each(|held| held.send_group(signal)),
            Action::SendScope(signal) => self.send_scope(signal, common),
            Action::KillRest => self.kill_rest(common),
            Action::Announce(letter) if self.part == Part::Service => self.letters.push(letter as u8),
            Action::Announce(_) => {}
            Action::GiveUp => self.say_that_it_gives_up(common.charge.name()),
            Action::SayLate(late) => self.say_that_it_is_late(late, common.charge.name()),
            Action::SayStarved => say_that_it_starves(common.charge.name()),
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
    fn configure(&mut self, common: &Common) {
        let complaints = match self.fresh.take() {
            Some(complaints) => complaints,
            None => {
                let (settings, complaints) = settings_of(self.part, &mut self.links);
                self.settings = settings;
                complaints
            }
        };
        if complaints != self.complaints {
            for (setting, why) in &complaints {
                let name = common.charge.name();
                report::warning(&[name, b"/", setting.as_bytes(), b": line 1: ", why.as_bytes(), b"; ignored"]);
            }
            self.complaints = complaints;
        }
    }

    fn launch(&mut self, role: Role, exit: Option<Exit>, common: &mut Common) -> Event {
        // A logger may be started once more though it was told to leave.
        self.done = false;
        if role == Role::Run {
            self.listen(Past::Forgotten, common);
        }
        self.become_subreaper();
        let socket = self.ears.variable();
        let order = Order {
            role,
            part: self.part,
            pipe: common.pipe.as_ref(),
            exit,
            last_run: self.last_run,
            policy: &self.settings.policy,
            socket: socket.as_deref(),
            marks: common.marks,
            name: common.charge.given.as_bytes(),
            place: &common.charge.place,
            lock: common.charge.lock.as_fd(),
        };
        match child::launch(&order) {
            Ok((held, gate)) => {
                if self.part == Part::Logger {
                    common.bystanders.push(held.process.pid);
                    common.logger = Some(held.process.pid);
                }
                if role == Role::Run {
                    self.last_run = Some(held.process);
                }
                (self.held, self.gate) = (Some(held), Some(gate));
                Event::Launched
            }
            Err(errno) => {
                self.complain_of_fork(role, errno, common.charge.name());
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
    fn open_gate(&mut self, common: &mut Common) {
        if common.publisher.misses_directory() {
            common.mend();
        }
        common.publisher.see_it_written();
        self.gate.iter().for_each(Gate::open);
        if let Some(held) = &self.held {
            self.notify(held.role, held.process.pid, None, common);
        }
    }

    /// Tells whom it concerns of the start (no exit) or end of a process.
    pub fn notify(&self, role: Role, pid: Pid, exit: Option<Exit>, common: &mut Common) {
        if self.settings.policy.has_notify {
            let program = self.part.program(role);
            common.bystanders.extend(side::notify(program, pid, exit));
        }
    }

    fn send_scope(&self, signal: Signal, common: &Common) {
        let Some(held) = &self.held else { return };
        match self.settings.policy.scope {
            Scope::Main => held.send(signal),
            Scope::Group => held.send_group(signal),
            Scope::Tree => tree::send(Some(held.process.pid), signal, &common.strangers()),
        }
    }

    fn kill_rest(&self, common: &Common) {
        match self.settings.policy.scope {
            Scope::Main => {}
            Scope::Group => self.last_run.iter().for_each(|run| tree::kill_group(*run)),
            Scope::Tree => tree::kill_all(self.last_run.map(|run| run.pid), &common.strangers()),
        }
    }

    /// The process that is alive.
    pub fn process(&self) -> Option<Process> {
        self.held.as_ref().map(|held| held.process)
    }

    /// How it is now.
    pub fn record(&self) -> Record {
        let since = self.machine.shows_ended();
        Record {
            shown: self.ended.zip(since).map(|(pid, since)| Shown { pid, since }),
            settings: self.settings.files.clone(),
            notify_socket: self.ears.address().and_then(Address::word),
            status_text: self.status_text.clone(),
            last_run: self.last_run,
            process: self.held.as_ref().map(|held| (held.role, held.process)),
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
