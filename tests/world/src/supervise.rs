//! supervise in the world: its machine, unchanged, and what performs the machine's actions, one system call at a time.
//!
//! Between any two calls supervise may be killed, and others may run. What it still has to call waits in a queue. When
//! the queue is empty, supervise sleeps until there is news for it, and then asks in the order in which the program's
//! own loop does: children that have ended, the gate, the adopted process, its deadline, commands.

use crate::kernel::{GateId, Kernel, Kind, State};
use daemontools::service::{Command, Exit, Process, Record, Role, Want};
use std::collections::VecDeque;
use std::time::Duration;
use supervise::choice::{Past, choose, was_told_to_leave};
use supervise::machine::{Action, Event, Gated, Machine};
use supervise::policy::Policy;

/// How soon supervise tries again to write what it could not write.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// The process that supervise runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    role: Role,
    process: Process,
    is_child: bool,
    /// Whether it may be at its gate: an adopted one only.
    gated: Gated,
}

/// A system call that supervise is about to make, with the decisions before it.
#[derive(Debug, Clone)]
enum Call {
    Lock,
    ReadPast,
    WriteStateAtStart,
    WriteStatusAtStart,
    OpenOk,
    Handle(Event),
    Act(Action),
    WritePage(String),
    WriteState(Box<Record>),
    WriteStatus(Option<i32>),
    Reap,
    TryAgain,
    PollGate,
    PollAdopted,
    Wake,
    ReadControl,
    ReadSignals,
    Tell(u8),
    Release,
    WaitFor(i32),
    Exit(i32),
}

/// A supervise.
#[derive(Debug, Clone)]
pub struct Supervise {
    /// The number of its process.
    pub pid: i32,
    /// Its process, as it writes that down.
    own: Process,
    /// It has the page of svscan's memory open.
    pub has_page: bool,
    /// The machine, once supervise is in charge.
    pub machine: Option<Machine>,
    policy: Policy,
    calls: VecDeque<Call>,
    held: Option<Held>,
    gate: Option<GateId>,
    /// A child that has ended and is not waited for, as the status shows it.
    ended: Option<i32>,
    first: Option<Event>,
    done: bool,
    written: Option<Record>,
    shown: Option<Option<i32>>,
    again: Option<Duration>,
    /// The last command that was read, until the world takes note of it.
    pub told: Option<Command>,
    /// A command has changed what is wanted, and no record has that yet.
    pub unwritten_want: bool,
}

impl Supervise {
    /// A supervise that has just been started, for a service with this policy.
    pub fn new(own: Process, has_page: bool, policy: Policy) -> Supervise {
        Supervise {
            pid: own.pid.as_raw(),
            own,
            has_page,
            machine: None,
            policy,
            calls: [Call::Lock, Call::ReadPast].into(),
            held: None,
            gate: None,
            ended: None,
            first: None,
            done: false,
            written: None,
            shown: None,
            again: None,
            told: None,
            unwritten_want: false,
        }
    }

    /// Whether it has something to do.
    pub fn is_ready(&self, kernel: &Kernel) -> bool {
        match self.calls.front() {
            // supervise asks again as long as a child of the one before it is about to close the lock.
            Some(Call::Lock) => !kernel.is_locked_against(self.pid) || !kernel.lock_is_about_to_go(),
            Some(_) => true,
            None => self.has_news(kernel),
        }
    }

    /// When it wakes by itself, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        let machine = self.machine.as_ref().and_then(Machine::deadline);
        [machine, self.again].into_iter().flatten().min()
    }

    /// Whether the call that comes next is one that the system may refuse, and supervise must live with it.
    pub fn may_fail(&self) -> bool {
        matches!(self.calls.front(), Some(Call::Act(Action::Launch(..)) | Call::WriteState(_) | Call::WriteStatus(_)))
    }

    /// The gate whose end it has.
    pub fn gate(&self) -> Option<GateId> {
        self.gate
    }

    /// What it is about to do, in words.
    pub fn next(&self) -> String {
        self.calls.front().map_or_else(
            || "wakes".into(),
            |call| match call {
                Call::WritePage(_) => "WritePage".into(),
                Call::WriteState(_) => "WriteState".into(),
                call => format!("{call:?}"),
            },
        )
    }

    fn has_news(&self, kernel: &Kernel) -> bool {
        let child = kernel.ended_child(self.pid, self.ended).is_some();
        let shows_ended = self.machine.as_ref().is_some_and(|machine| machine.shows_ended().is_some());
        let gate = self.gate.and_then(|gate| kernel.gates.get(gate));
        let executed = gate.is_some_and(|gate| !gate.process && gate.refused.is_none());
        let due = self.deadline().is_some_and(|deadline| deadline <= kernel.uptime);
        let command = !kernel.files.control.is_empty() || kernel.told.iter().any(|(to, _)| *to == self.pid);
        child || (self.ended.is_some() && !shows_ended) || executed || due || command || self.adopted_has_news(kernel)
    }

    fn adopted_has_news(&self, kernel: &Kernel) -> bool {
        let Some(held) = self.held.filter(|held| !held.is_child) else { return false };
        match kernel.find(&held.process) {
            None => true,
            Some(task) => match (task.state, task.kind) {
                (State::Zombie(_), _) => true,
                (State::Alive, Kind::AtGate(..)) => false,
                (State::Alive, _) => held.gated == Gated::Maybe,
            },
        }
    }

    /// Makes the next call, which fails if it is to and can.
    pub fn step(&mut self, kernel: &mut Kernel, fails: bool) {
        let Some(call) = self.calls.pop_front() else {
            self.calls.extend([
                Call::Reap,
                Call::TryAgain,
                Call::PollGate,
                Call::PollAdopted,
                Call::Wake,
                Call::ReadControl,
                Call::ReadSignals,
                Call::Release,
            ]);
            return;
        };
        match call {
            Call::Lock => self.lock(kernel),
            Call::ReadPast => self.read_past(kernel),
            Call::WriteStateAtStart => self.write_state_first(),
            Call::WriteStatusAtStart => self.write_status_first(),
            Call::OpenOk => self.open_ok(kernel),
            Call::Handle(event) => self.handle(kernel, event),
            Call::Act(action) => self.act(kernel, action, fails),
            Call::WritePage(text) => {
                if self.has_page && !kernel.forgets {
                    kernel.files.page = Some(text);
                }
            }
            Call::WriteState(record) => self.write_state(kernel, *record, fails),
            Call::WriteStatus(pid) => self.write_status(kernel, pid, fails),
            Call::Reap => self.reap(kernel),
            Call::TryAgain => {
                if self.again.is_some_and(|again| again <= kernel.uptime) {
                    self.push_front([Call::Act(Action::Publish)]);
                }
            }
            Call::PollGate => self.poll_gate(kernel),
            Call::PollAdopted => self.poll_adopted(kernel),
            Call::Wake => self.handle(kernel, Event::Woken),
            Call::ReadControl => {
                let commands = std::mem::take(&mut kernel.files.control);
                self.push_front(commands.into_iter().map(Call::Tell));
            }
            Call::ReadSignals => {
                let (ours, others) = std::mem::take(&mut kernel.told).into_iter().partition(|(to, _)| *to == self.pid);
                kernel.told = others;
                let ours: Vec<(i32, u8)> = ours;
                self.push_front(ours.into_iter().map(|(_, byte)| Call::Tell(byte)));
            }
            Call::Tell(byte) => {
                // What comes after it was told to exit, and can, is not obeyed.
                if let Some(command) = Command::from_byte(byte).filter(|_| !self.done) {
                    self.told = Some(command);
                    self.unwritten_want |= matches!(command, Command::Up | Command::Down | Command::Once);
                    self.handle(kernel, Event::Told(command));
                }
            }
            Call::Release => self.release(kernel),
            Call::WaitFor(pid) => kernel.wait_for(pid),
            Call::Exit(code) => kernel.end(self.pid, code << 8),
        }
        if self.done && self.calls.is_empty() {
            self.calls.push_back(Call::Exit(0));
        }
    }

    fn push_front(&mut self, calls: impl IntoIterator<Item = Call>) {
        let calls: Vec<Call> = calls.into_iter().collect();
        calls.into_iter().rev().for_each(|call| self.calls.push_front(call));
    }

    fn lock(&mut self, kernel: &mut Kernel) {
        if kernel.is_locked_against(self.pid) {
            self.calls = [Call::Exit(111)].into();
        } else if let Some(task) = kernel.task_mut(self.pid) {
            task.holds_lock = true;
        }
    }

    fn read_past(&mut self, kernel: &Kernel) {
        let page = kernel.read_page().filter(|_| self.has_page);
        let on_disk = kernel.read_state().map(|record| {
            let resumes = !was_told_to_leave(&record);
            Past { record, resumes, may_be_forged: false }
        });
        let Ok(Past { record, resumes, .. }) = choose(page, Ok(on_disk), Vec::new) else { return };
        let now = kernel.now();
        let machine = if resumes {
            Machine::resume(self.policy.clone(), &record, now)
        } else {
            Machine::remember(self.policy.clone(), Want::Up, &record, now)
        };
        self.machine = Some(machine);
        let adopted = record.process.filter(|_| resumes);
        self.first = Some(adopted.map_or(Event::Begun, |(role, process)| self.adopt(kernel, role, process, &record)));
        if !resumes {
            self.calls.push_back(Call::WriteStateAtStart);
        }
        self.calls.extend([Call::WriteStatusAtStart, Call::OpenOk]);
    }

    /// Takes over a process that is still there; otherwise what its end means.
    fn adopt(&mut self, kernel: &Kernel, role: Role, process: Process, record: &Record) -> Event {
        let gated = if record.ready.is_none() { Gated::Maybe } else { Gated::No };
        match kernel.find(&process) {
            Some(_) => {
                self.held = Some(Held { role, process, is_child: false, gated });
                Event::Begun
            }
            None => Event::of_adopted(told_by_svscan(kernel, &process).unwrap_or(Exit::Unknown), gated),
        }
    }

    fn write_state_first(&mut self) {
        let record = self.record();
        self.push_front([Call::WritePage(record.encode()), Call::WriteState(Box::new(record))]);
    }

    fn write_status_first(&mut self) {
        let pid = self.status();
        self.push_front([Call::WriteStatus(pid)]);
    }

    fn open_ok(&mut self, kernel: &mut Kernel) {
        kernel.files.ok_reader = Some(self.pid);
        let first = self.first.take();
        self.calls.extend(first.map(Call::Handle));
    }

    fn handle(&mut self, kernel: &Kernel, event: Event) {
        let Some(machine) = &mut self.machine else { return };
        let mut todo = Vec::new();
        machine.step(kernel.now(), event, &mut todo);
        self.push_front(todo.into_iter().map(Call::Act));
    }

    fn act(&mut self, kernel: &mut Kernel, action: Action, fails: bool) {
        match action {
            Action::Configure => self.handle(kernel, Event::Configured(self.policy.clone())),
            Action::Launch(role, _) => self.launch(kernel, role, fails),
            Action::Record => {
                let record = self.record();
                self.push_front([Call::WritePage(record.encode()), Call::WriteState(Box::new(record))]);
            }
            Action::Publish => {
                let (record, status) = (self.record(), self.status());
                let mut calls = Vec::new();
                if self.written.as_ref() != Some(&record) {
                    calls.extend([Call::WritePage(record.encode()), Call::WriteState(Box::new(record))]);
                }
                if self.shown != Some(status) {
                    calls.push(Call::WriteStatus(status));
                }
                self.push_front(calls);
            }
            Action::OpenGate => {
                if let Some(gate) = self.gate.and_then(|gate| kernel.gates.get_mut(gate)) {
                    gate.passed = true;
                }
            }
            Action::Send(signal) | Action::SendGroup(signal) | Action::SendScope(signal) => {
                // A child keeps its number until it is waited for; an adopted process is held by a descriptor.
                if let Some(held) = self.held.filter(|held| kernel.find(&held.process).is_some()) {
                    kernel.signal(held.process.pid.as_raw(), signal);
                }
            }
            Action::Leave => self.done = true,
            Action::KillRest | Action::Announce(_) | Action::GiveUp | Action::SayLate(_) | Action::SayStarved => {}
        }
    }

    fn launch(&mut self, kernel: &mut Kernel, role: Role, fails: bool) {
        self.done = false;
        let gate = kernel.make_gate();
        let child = if fails { None } else { kernel.fork(self.pid, Kind::AtGate(role, gate)) };
        match child.and_then(|pid| kernel.identify(pid)) {
            Some(process) => {
                self.held = Some(Held { role, process, is_child: true, gated: Gated::No });
                self.gate = Some(gate);
                self.handle(kernel, Event::Launched);
            }
            None => self.handle(kernel, Event::NotLaunched),
        }
    }

    fn write_state(&mut self, kernel: &mut Kernel, record: Record, fails: bool) {
        if fails || kernel.files.read_only {
            (self.written, self.again) = (None, Some(kernel.uptime + TRY_AGAIN));
            return;
        }
        if !kernel.forgets {
            kernel.files.state = Some(record.encode());
        }
        (self.written, self.unwritten_want) = (Some(record), false);
        self.again = self.again.filter(|_| self.shown.is_none());
    }

    fn write_status(&mut self, kernel: &mut Kernel, pid: Option<i32>, fails: bool) {
        if fails || kernel.files.read_only {
            (self.shown, self.again) = (None, Some(kernel.uptime + TRY_AGAIN));
            return;
        }
        kernel.files.status = pid;
        self.shown = Some(pid);
        self.again = self.again.filter(|_| self.written.is_none());
    }

    fn reap(&mut self, kernel: &Kernel) {
        let Some((pid, status)) = kernel.ended_child(self.pid, self.ended) else { return };
        let ours = self.held.is_some_and(|held| held.is_child && held.process.pid.as_raw() == pid);
        if !ours {
            return self.push_front([Call::WaitFor(pid), Call::Reap]);
        }
        let refused = self.gate.and_then(|gate| kernel.gates.get(gate)).and_then(|gate| gate.refused);
        let exit = refused.map_or_else(|| Exit::from_wait_status(status), Exit::Unstarted);
        self.ended = Some(pid);
        self.push_front([Call::Release, Call::Reap]);
        self.has_ended(kernel, exit);
    }

    fn has_ended(&mut self, kernel: &Kernel, exit: Exit) {
        (self.held, self.gate) = (None, None);
        self.handle(kernel, Event::Ended(exit));
    }

    fn release(&mut self, kernel: &mut Kernel) {
        let shows = self.machine.as_ref().is_some_and(|machine| machine.shows_ended().is_some());
        if !shows && let Some(pid) = self.ended.take() {
            kernel.wait_for(pid);
        }
    }

    fn poll_gate(&mut self, kernel: &Kernel) {
        let gate = self.gate.and_then(|gate| kernel.gates.get(gate));
        if gate.is_some_and(|gate| !gate.process && gate.refused.is_none()) {
            self.gate = None;
            self.handle(kernel, Event::Executed);
        }
    }

    fn poll_adopted(&mut self, kernel: &Kernel) {
        let Some(held) = self.held.filter(|_| self.adopted_has_news(kernel)) else { return };
        match kernel.find(&held.process).map(|task| task.state) {
            Some(State::Alive) => {
                self.held = Some(Held { gated: Gated::No, ..held });
                self.handle(kernel, Event::Executed);
            }
            found => {
                let seen = match found {
                    Some(State::Zombie(status)) => Some(Exit::from_wait_status(status)),
                    Some(State::Alive) | None => None,
                };
                let exit = told_by_svscan(kernel, &held.process).or(seen).unwrap_or(Exit::Unknown);
                match Event::of_adopted(exit, held.gated) {
                    Event::Ended(exit) => self.has_ended(kernel, exit),
                    event => {
                        (self.held, self.gate) = (None, None);
                        self.handle(kernel, event);
                    }
                }
            }
        }
    }

    /// What it would write down now.
    fn record(&self) -> Record {
        let machine = self.machine.as_ref().map_or_else(Record::blank, Machine::record);
        Record { supervise: self.own, process: self.held.map(|held| (held.role, held.process)), ..machine }
    }

    /// The number that `supervise/status` is to show.
    fn status(&self) -> Option<i32> {
        let shows = self.machine.as_ref().is_some_and(|machine| machine.shows_ended().is_some());
        let alive = self.held.map(|held| held.process.pid.as_raw());
        alive.or(self.ended.filter(|_| shows))
    }
}

/// What svscan has written down of the end of a process that it inherited.
fn told_by_svscan(kernel: &Kernel, process: &Process) -> Option<Exit> {
    let of = |(ended, status): &(Process, i32)| ended.is_same_as(process).then(|| Exit::from_wait_status(*status));
    kernel.files.orphan.iter().find_map(of)
}
