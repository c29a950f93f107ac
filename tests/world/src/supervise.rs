//! supervise in the world: its machine, unchanged, and the code that performs the machine's actions, one system call at
//! a time.
//!
//! Between any two calls, supervise may be killed and other processes may run. The calls that supervise still has to
//! make wait in a queue. When the queue is empty, supervise sleeps until there is an event for it. Then it looks for
//! events in the order of the real program's loop: children that have ended, the gate, the adopted process, its
//! deadline, commands.

use crate::kernel::{GateId, Kernel, Kind, Place, State, Written};
use crate::real::plan::SystemCall;
use daemontools::service::{
    Beside, Command, Exit, Identity, Part, Process, Record, Role, STATE_NEW, STATUS_NEW, Status, Want,
};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::collections::VecDeque;
use std::time::Duration;
use supervise::choose_record::{Predecessor, choose};
use supervise::commands::{Batch, Meaning, Target};
use supervise::disk_record::{Facts, Found, believe};
use supervise::exec_answer::{ExecAnswer, ExecResult, Received};
use supervise::kept_lines::{KeptLines, Step};
use supervise::machine::{Action, Event, Gated, Machine, SearchOutcome};
use supervise::missing_files::{FilesFound, Repair, repair};
use supervise::suspend_credit;
use supervise::unwritten::{Failure, Unwritten};

/// A process that supervise runs: one of the programs of the service's life, or one beside `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held<R> {
    role: R,
    process: Process,
    is_child: bool,
    /// The gate, as long as supervise has its end open.
    gate: Option<GateId>,
    /// What the process has told at its gate.
    answer: ExecAnswer,
    /// Whether an adopted process may still be at its gate.
    gated: Gated,
}

/// All files of a supervise are at their places.
const WHOLE: FilesFound = FilesFound { lock: true, control: true, ok: true, written: true };

/// The bytes of `supervise/status` behind its time: the process, and what is wanted of it.
type Shown = [u8; Status::LENGTH - 12];

impl<R> Held<R> {
    fn child(role: R, process: Process, gate: GateId) -> Held<R> {
        Held { role, process, is_child: true, gate: Some(gate), answer: ExecAnswer::default(), gated: Gated::No }
    }

    fn is_child_of(&self, pid: i32) -> bool {
        self.is_child && self.process.pid.as_raw() == pid
    }

    /// An adopted process.
    fn adopted(role: R, process: Process, gated: Gated) -> Held<R> {
        Held { role, process, is_child: false, gate: None, answer: ExecAnswer::default(), gated }
    }

    /// Whether the child has executed its program, or has told that it cannot, of which supervise does not know yet.
    fn has_told(&self, kernel: &Kernel) -> bool {
        let gate = self.gate.and_then(|gate| kernel.gates.get(gate)).filter(|_| !self.answer.is_refused());
        gate.is_some_and(|gate| !gate.process || gate.refused.is_some())
    }

    /// What has become of the child at its gate, as far as supervise can read it.
    fn exec_result(&mut self, kernel: &mut Kernel) -> ExecResult {
        let Some(gate) = self.gate.and_then(|gate| kernel.gates.get_mut(gate)) else { return ExecResult::Pending };
        self.answer.take(|| match gate.refused.take() {
            Some(errno) => Received::Reason(Errno::from_raw(errno)),
            None if !gate.process => Received::Closed,
            None => Received::Nothing,
        })
    }

    /// Whether the child has executed its program. Its gate is not looked at any more then.
    fn has_begun(&mut self, kernel: &mut Kernel) -> bool {
        let has_begun = self.exec_result(kernel) == ExecResult::Executed;
        self.gate = self.gate.filter(|_| !has_begun);
        has_begun
    }

    /// Why the child, which has ended, could not execute its program.
    fn refused(&mut self, kernel: &mut Kernel) -> Option<Exit> {
        match self.exec_result(kernel) {
            ExecResult::Refused(errno) => Some(Exit::Unstarted(errno as i32)),
            ExecResult::Executed | ExecResult::Pending => None,
        }
    }

    /// Whether an adopted process has ended, or has passed its gate.
    fn adopted_has_news(&self, kernel: &Kernel) -> bool {
        match kernel.find(&self.process).map(|task| (task.state, task.kind)) {
            _ if self.is_child => false,
            None | Some((State::Zombie(_), _)) => true,
            Some((State::Alive, Kind::AtGate(..) | Kind::BesideAtGate(..))) => false,
            Some((State::Alive, _)) => self.gated == Gated::Maybe,
        }
    }
}

/// A system call that supervise is about to make, with the decisions before it.
#[derive(Debug, Clone)]
enum Call {
    Lock,
    ReadRecords,
    WriteStateAtStart,
    WriteStatusAtStart,
    OpenOk,
    Handle(Event),
    Act(Action),
    WritePage(String),
    WriteState(Box<Record>),
    WriteStatus(Shown),
    Reap,
    TryAgain,
    PollGate,
    PollAdopted,
    PollBeside,
    Wake,
    ReadControl,
    ReadSignals,
    Tell(Written, Told),
    Release,
    Mend,
    WaitFor(i32),
    Exit(i32),
    /// The exit of a supervise that can exit, unless it keeps lines.
    Leave,
}

/// Commands that came together, as far as they were taken: which part of the service the next one is for.
#[derive(Debug, Clone, Copy)]
struct Told {
    batch: Batch,
    target: Target,
}

/// A sleep of a supervise for whose program time counts.
#[derive(Debug, Clone, Copy)]
struct Sleep {
    since: Duration,
    wanted: Duration,
}

/// What svscan has started a supervise for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartReason {
    /// To run the service.
    Run,
    /// To end what the supervise before it has left, as svscan stops the service.
    Stop,
}

/// A supervise.
#[derive(Debug, Clone)]
pub struct Supervise {
    /// The number of its process.
    pub pid: i32,
    /// The directory that it is for.
    pub place: Place,
    /// Its own process, in the form in which it records it.
    own: Process,
    /// Whether it has a page of svscan's ledger open.
    pub has_page: bool,
    /// What svscan has started it for.
    pub reason: StartReason,
    /// Its machine, once it is in charge.
    pub machine: Option<Machine>,
    calls: VecDeque<Call>,
    /// The boot and the directory, which each of its records has.
    base: Record,
    held: Option<Held<Role>>,
    beside: Option<Held<Beside>>,
    /// A child that has ended, and for which supervise has not waited because the status still shows it.
    ended: Option<i32>,
    first: Vec<Event>,
    done: bool,
    kept: KeptLines,
    written: Option<Record>,
    /// What `supervise/status` has, without its time.
    shown: Option<Shown>,
    unwritten: Unwritten,
    /// When its machine was told of something, in time in which the machine was not suspended.
    decided_at: Duration,
    /// Its sleep, if time counts for its program.
    sleep: Option<Sleep>,
    /// Whether it has shown that the service is supervised.
    pub is_in_charge: bool,
    /// A process that it has killed because that took too long, until the world takes note of it.
    pub killed: Option<i32>,
    /// A command that it has taken for one for another part of the service, until the world takes note of it.
    pub misdirected: Option<Command>,
    /// The last command that was read, until the world takes note of it.
    pub told: Option<Command>,
    /// Whether a command has changed what is wanted, and no record contains that yet.
    pub unwritten_want: bool,
    /// Whether it has recorded that it is to run `reload`, until the world takes note of it.
    pub has_recorded_reload: bool,
    /// Whether a second `d` ends programs that take too long, until the world takes note of it.
    pub ends_programs: bool,
}

impl Supervise {
    /// A supervise that svscan has just started for this directory.
    pub fn new(own: Process, place: Place, reason: StartReason) -> Supervise {
        Supervise {
            pid: own.pid.as_raw(),
            place,
            own,
            has_page: true,
            reason,
            machine: None,
            calls: [Call::Lock, Call::ReadRecords].into(),
            base: Record::blank(),
            held: None,
            beside: None,
            ended: None,
            first: Vec::new(),
            done: false,
            kept: KeptLines::default(),
            written: None,
            shown: None,
            unwritten: Unwritten::default(),
            decided_at: Duration::ZERO,
            sleep: None,
            is_in_charge: false,
            killed: None,
            misdirected: None,
            told: None,
            unwritten_want: false,
            has_recorded_reload: false,
            ends_programs: false,
        }
    }

    /// Whether this supervise has something to do.
    pub fn is_ready(&self, kernel: &Kernel) -> bool {
        match self.calls.front() {
            // supervise asks again while a child of the previous supervise is about to close the lock.
            Some(Call::Lock) => {
                let mut holders = kernel.lock_holders(self.place).peekable();
                holders.peek().is_none() || holders.any(|task| !matches!(task.kind, Kind::AtGate(..)))
            }
            Some(_) => true,
            None => self.has_news(kernel),
        }
    }

    /// When this supervise wakes without an event, as time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        let machine = self.machine.as_ref().and_then(Machine::deadline);
        let deadline = [machine, self.unwritten.deadline(), self.kept.deadline()].into_iter().flatten().min();
        // Where time counts for its program, it sleeps only for a part of the time that is left.
        self.sleep.map(|sleep| sleep.since + sleep.wanted).or(deadline)
    }

    /// Whether the system may refuse the next call, in a way that supervise must handle.
    pub fn may_fail(&self) -> bool {
        matches!(
            self.calls.front(),
            Some(Call::Act(Action::Launch(..) | Action::LaunchBeside(_)) | Call::WriteState(_) | Call::WriteStatus(_))
        )
    }

    /// Whether the next call neither changes nor sees anything outside of this supervise.
    pub fn is_next_internal(&self) -> bool {
        match self.calls.front() {
            Some(Call::Act(action)) => !matches!(
                action,
                Action::Launch(..)
                    | Action::LaunchBeside(_)
                    | Action::OpenGate
                    | Action::OpenBesideGate
                    | Action::Send(_)
                    | Action::SendBeside(_)
                    | Action::SendGroup(_)
                    | Action::SendScope(_)
            ),
            Some(
                Call::Handle(_) | Call::WriteStateAtStart | Call::WriteStatusAtStart | Call::TryAgain | Call::Tell(..),
            ) => true,
            // The supervise of a logger also looks at the pipe.
            Some(Call::Wake) => self.place.part == Part::Service,
            Some(Call::Release) => self.ended.is_none(),
            Some(
                Call::Lock
                | Call::ReadRecords
                | Call::OpenOk
                | Call::WritePage(_)
                | Call::WriteState(_)
                | Call::WriteStatus(_)
                | Call::Reap
                | Call::PollGate
                | Call::PollAdopted
                | Call::PollBeside
                | Call::ReadControl
                | Call::ReadSignals
                | Call::Mend
                | Call::WaitFor(_)
                | Call::Exit(_)
                | Call::Leave,
            )
            | None => false,
        }
    }

    /// The system call that the real program makes for the next call, if there is one by which a schedule of the real
    /// programs can strike it.
    pub fn next_system_call(&self) -> Option<SystemCall> {
        match self.calls.front()? {
            Call::WritePage(_) => Some(SystemCall::WritePage),
            Call::WriteState(_) | Call::WriteStatus(_) => Some(SystemCall::Rename),
            Call::WaitFor(_) => Some(SystemCall::Wait),
            Call::Release => self.ended.filter(|_| !self.shows_ended()).map(|_| SystemCall::Wait),
            Call::Act(Action::Launch(_) | Action::LaunchBeside(_)) => Some(SystemCall::Fork),
            Call::Act(Action::OpenGate) => self.held.and_then(|held| held.gate).map(|_| SystemCall::OpenGate),
            Call::Act(Action::Send(_) | Action::SendGroup(_) | Action::SendScope(_)) => Some(SystemCall::Signal),
            Call::Act(_)
            | Call::Lock
            | Call::ReadRecords
            | Call::WriteStateAtStart
            | Call::WriteStatusAtStart
            | Call::OpenOk
            | Call::Handle(_)
            | Call::Reap
            | Call::TryAgain
            | Call::PollGate
            | Call::PollAdopted
            | Call::PollBeside
            | Call::Wake
            | Call::ReadControl
            | Call::ReadSignals
            | Call::Tell(..)
            | Call::Mend
            | Call::Exit(_)
            | Call::Leave => None,
        }
    }

    fn shows_ended(&self) -> bool {
        self.machine.as_ref().is_some_and(|machine| machine.shows_ended().is_some())
    }

    /// The processes that it runs, as far as it knows.
    pub fn processes(&self) -> impl Iterator<Item = Process> + use<> {
        let beside = self.beside.map(|beside| beside.process);
        self.held.map(|held| held.process).into_iter().chain(beside)
    }

    /// The gates of which supervise has its end open.
    pub fn gates(&self) -> impl Iterator<Item = GateId> + use<> {
        let beside = self.beside.and_then(|beside| beside.gate);
        self.held.and_then(|held| held.gate).into_iter().chain(beside)
    }

    /// The next call in words.
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
        let executed = self.held.is_some_and(|held| held.has_told(kernel));
        let beside = self.beside.is_some_and(|beside| beside.has_told(kernel) || beside.adopted_has_news(kernel));
        let due = self.deadline().is_some_and(|deadline| deadline <= kernel.uptime);
        let command = !self.readable(kernel).is_empty() || kernel.told.iter().any(|(to, _)| *to == self.pid);
        let adopted = self.held.is_some_and(|held| held.adopted_has_news(kernel));
        child || (self.ended.is_some() && !shows_ended) || executed || beside || due || command || adopted
    }

    /// Whether a logger is due that would find nothing but the end of its input.
    fn is_starved(&self, kernel: &Kernel) -> bool {
        let machine = self.machine.as_ref().filter(|_| self.place.part == Part::Logger);
        let deadline = machine.filter(|machine| !machine.record().leaving).and_then(Machine::deadline);
        let end = kernel.end_of(self.pid);
        deadline.is_some_and(|at| at <= kernel.uptime) && end.is_some_and(|end| kernel.is_at_end(end.pipe))
    }

    /// Makes the next call. It fails if `fails` is true and the system may refuse it.
    pub fn step(&mut self, kernel: &mut Kernel, fails: bool) {
        let Some(call) = self.calls.pop_front() else {
            self.credit_sleep(kernel);
            self.calls.extend([
                Call::Reap,
                Call::TryAgain,
                Call::PollGate,
                Call::PollAdopted,
                Call::PollBeside,
                Call::Wake,
                Call::ReadControl,
                Call::ReadSignals,
                Call::Release,
            ]);
            return;
        };
        match call {
            Call::Lock => self.lock(kernel),
            Call::ReadRecords => self.read_records(kernel),
            Call::WriteStateAtStart => self.write_state_first(),
            Call::WriteStatusAtStart => self.write_status_first(),
            Call::OpenOk => self.open_ok(kernel),
            Call::Handle(event) => self.handle(kernel, event),
            Call::Act(action) => self.act(kernel, action, fails),
            Call::WritePage(text) => {
                if self.has_page && !kernel.forgets {
                    kernel.files_mut(self.place).page = Some(text);
                }
            }
            Call::WriteState(record) => self.write_state(kernel, *record, fails),
            Call::WriteStatus(shown) => self.write_status(kernel, shown, fails),
            Call::Reap => self.reap(kernel),
            Call::TryAgain => {
                if self.unwritten.is_due(kernel.uptime) {
                    self.push_front([Call::Act(Action::Publish)]);
                }
            }
            Call::PollGate => self.poll_gate(kernel),
            Call::PollAdopted => self.poll_adopted(kernel),
            Call::PollBeside => self.poll_beside(kernel),
            Call::Wake => {
                if self.is_starved(kernel) {
                    self.push_front([Call::Handle(Event::Starved), Call::Handle(Event::Woken)]);
                } else {
                    self.handle(kernel, Event::Woken);
                }
            }
            Call::ReadControl => {
                let commands = self.readable(kernel);
                let files = kernel.files_mut(self.place);
                files.former.clear();
                if files.control_reader == Some(self.pid) {
                    files.control.clear();
                }
                self.read(&commands);
            }
            Call::ReadSignals => {
                let (ours, others) = std::mem::take(&mut kernel.told).into_iter().partition(|(to, _)| *to == self.pid);
                kernel.told = others;
                let ours: Vec<(i32, u8)> = ours;
                self.read(&ours.into_iter().map(|(_, byte)| Written::for_service(byte)).collect::<Vec<Written>>());
            }
            Call::Tell(written, told) => self.tell(written, told),
            Call::Release => {
                self.release(kernel);
                let is_whole = self.found(kernel) == WHOLE;
                self.push_front((!is_whole).then_some(Call::Mend));
                kernel.files_mut(self.place).is_touched &= !is_whole;
            }
            Call::Mend => {
                self.mend(kernel);
                kernel.files_mut(self.place).is_touched &= kernel.read_only;
            }
            Call::WaitFor(pid) => kernel.wait_for(pid),
            Call::Exit(code) => kernel.end(self.pid, code << 8),
            Call::Leave => match self.kept.step(kernel.uptime, self.lines_kept_only_here(kernel)) {
                Step::Stay => {}
                Step::Exit | Step::GiveUp => kernel.end(self.pid, 0),
            },
        }
        if self.done && self.calls.is_empty() && self.kept.deadline().is_none_or(|at| at <= kernel.uptime) {
            self.calls.push_back(Call::Leave);
        }
        if self.calls.is_empty() {
            self.fall_asleep(kernel);
        }
    }

    /// supervise begins to wait. It notes for how long it wants to, if time counts for its program.
    fn fall_asleep(&mut self, kernel: &Kernel) {
        let is_timing = self.machine.as_ref().is_some_and(Machine::is_timing);
        self.sleep = None;
        let left = self.deadline().filter(|_| is_timing).map(|deadline| deadline.saturating_sub(kernel.uptime));
        self.sleep = left.map(|left| Sleep { since: kernel.uptime, wanted: suspend_credit::longest_sleep(left) });
    }

    /// supervise wakes. Its program gets the time back that was lost, if supervise has slept for longer than it wanted to.
    fn credit_sleep(&mut self, kernel: &Kernel) {
        let lost = self
            .sleep
            .take()
            .and_then(|Sleep { since, wanted }| suspend_credit::time_lost(wanted, kernel.uptime.saturating_sub(since)));
        lost.into_iter().for_each(|lost| self.handle(kernel, Event::Frozen(lost)));
    }

    /// Whether supervise waits, and will notice how long.
    pub fn is_asleep(&self) -> bool {
        self.calls.is_empty()
    }

    /// What supervise can read from its FIFOs.
    fn readable(&self, kernel: &Kernel) -> Vec<Written> {
        let files = kernel.files(self.place);
        let control = files.control.iter().filter(|_| files.control_reader == Some(self.pid));
        control.chain(&files.former).copied().collect()
    }

    /// Which of its files are at their places.
    fn found(&self, kernel: &Kernel) -> FilesFound {
        let files = kernel.files(self.place);
        FilesFound {
            lock: kernel.task(self.pid).is_some_and(|task| task.lock == Some(files.lock)),
            control: files.control_reader == Some(self.pid),
            ok: !self.is_in_charge || files.ok_reader == Some(self.pid),
            written: !self.is_in_charge || (files.state.is_some() && files.has_status),
        }
    }

    /// Makes again what is missing.
    fn mend(&mut self, kernel: &mut Kernel) {
        let is_removed = kernel.files(self.place).is_removed;
        let found = match repair(self.found(kernel), || is_removed) {
            Repair::Nothing => return,
            Repair::Directory => FilesFound { lock: false, control: false, ok: false, written: false },
            Repair::Files(found) => found,
        };
        if kernel.read_only {
            return;
        }
        if !found.lock && kernel.lock_holders(self.place).next().is_none() {
            let lock = kernel.files(self.place).lock;
            kernel.task_mut(self.pid).into_iter().for_each(|task| task.lock = Some(lock));
        }
        let files = kernel.files_mut(self.place);
        files.is_removed = false;
        if !found.control {
            files.control_reader = Some(self.pid);
        }
        if !found.ok && self.is_in_charge {
            files.ok_reader = Some(self.pid);
        }
        if !found.written {
            (self.written, self.shown) = (None, None);
            self.push_front([Call::Act(Action::Publish)]);
        }
    }

    /// The lines in the pipe to the logger that no other process keeps.
    fn lines_kept_only_here(&self, kernel: &Kernel) -> usize {
        let pipe = kernel.end_of(self.pid).filter(|end| end.writes && !kernel.is_claimed(end.pipe));
        pipe.and_then(|end| kernel.pipes.get(end.pipe)).map_or(0, |pipe| pipe.lines.len())
    }

    /// Reads commands that came together.
    fn read(&mut self, commands: &[Written]) {
        let bytes: Vec<u8> = commands.iter().map(|written| written.byte).collect();
        let told = Told { batch: Batch::of(&bytes), target: Target::SERVICE };
        self.push_front(commands.iter().map(|written| Call::Tell(*written, told)));
    }

    /// Obeys the first of the commands that came together.
    fn tell(&mut self, written: Written, mut told: Told) {
        let Some((part, command)) = told.target.take(written.byte, self.done) else {
            return self.go_on_with(told);
        };
        if part != written.part {
            self.misdirected = Some(command);
        }
        // A supervise that svscan has started runs no logger itself.
        if part == Part::Logger {
            return self.go_on_with(told);
        }
        let would_end_a_program = self.machine.as_ref().is_some_and(Machine::would_end_a_program);
        let next =
            self.calls.front().and_then(|call| if let Call::Tell(next, _) = call { Some(next.byte) } else { None });
        let meaning = told.batch.take(command, next, would_end_a_program);
        self.go_on_with(told);
        if meaning == Meaning::Nothing {
            return;
        }
        // What is written down while the `d` of a restart is obeyed is what the command after it asks for.
        self.told = match meaning {
            Meaning::ObeyBefore(_) => next.and_then(Command::from_byte),
            Meaning::Obey | Meaning::ObeyAsRestart | Meaning::Nothing => Some(command),
        };
        self.ends_programs = command == Command::Down && would_end_a_program;
        self.unwritten_want |= matches!(command, Command::Up | Command::Down | Command::Once);
        self.push_front(meaning.events(command).map(Call::Handle));
    }

    /// The rest of the commands that came together is for the part of the service that was chosen last.
    fn go_on_with(&mut self, told: Told) {
        for call in &mut self.calls {
            let Call::Tell(_, of) = call else { break };
            *of = told;
        }
    }

    fn push_front(&mut self, calls: impl IntoIterator<Item = Call>) {
        let calls: Vec<Call> = calls.into_iter().collect();
        calls.into_iter().rev().for_each(|call| self.calls.push_front(call));
    }

    fn lock(&mut self, kernel: &mut Kernel) {
        if kernel.lock_holders(self.place).next().is_some() {
            self.calls = [Call::Exit(111)].into();
            return;
        }
        if kernel.files(self.place).is_removed && kernel.read_only {
            self.calls = [Call::Exit(111)].into();
            return;
        }
        let files = kernel.files_mut(self.place);
        (files.is_removed, files.control_reader) = (false, Some(self.pid));
        let lock = files.lock;
        kernel.task_mut(self.pid).into_iter().for_each(|task| task.lock = Some(lock));
    }

    fn read_records(&mut self, kernel: &Kernel) {
        let page = kernel.read_page(self.place).filter(|_| self.has_page);
        let on_disk = kernel.read_state(self.place).map(|record| {
            let is_of_this_boot = record.boot.is_same(&kernel.boot());
            let here = kernel.directory(self.place);
            let found = Found { record, owner: kernel.owner(self.place), here: Some(&here), is_of_this_boot };
            believe(found, &Known { kernel, place: self.place })
        });
        let on_disk = on_disk.transpose().map(Option::flatten);
        let Ok(Predecessor { record, resumes, .. }) = choose(page, on_disk, Vec::new) else { return };
        self.base = Record { boot: kernel.boot(), directory: Some(kernel.directory(self.place)), ..Record::blank() };
        let now = kernel.now();
        let machine = if resumes {
            Machine::resume(kernel.policy(self.place), &record, now)
        } else {
            Machine::remember(kernel.policy(self.place), Want::Up, &record, now)
        };
        self.machine = Some(machine);
        if resumes {
            self.adopt(kernel, &record);
        } else {
            self.first.push(Event::Begun);
        }
        if !resumes {
            self.calls.push_back(Call::WriteStateAtStart);
        }
        self.calls.extend([Call::WriteStatusAtStart, Call::OpenOk]);
    }

    /// Adopts the processes that still exist, and notes with which events the machine begins.
    fn adopt(&mut self, kernel: &Kernel, record: &Record) {
        let gated = if record.ready.is_none() { Gated::Maybe } else { Gated::No };
        let beside_gated = if record.beside_gated { Gated::Maybe } else { Gated::No };
        let is_there = |process: &Process| kernel.find(process).is_some();
        let end = |process| Event::of_adopted(self.told_by_svscan(kernel, &process).unwrap_or(Exit::Unknown), gated);
        let main = record.process.filter(|(_, process)| !is_there(process));
        let first = main.map_or(Event::Begun, |(_, process)| end(process));
        let beside = record.beside.filter(|(_, process)| !is_there(process)).map(|(_, process)| {
            let exit = self.told_by_svscan(kernel, &process).unwrap_or(Exit::Unknown);
            of_beside(Event::of_adopted(exit, beside_gated))
        });
        self.first = [Some(first), beside].into_iter().flatten().collect();
        let there = record.process.filter(|(_, process)| is_there(process));
        self.held = there.map(|(role, process)| Held::adopted(role, process, gated));
        let there = record.beside.filter(|(_, process)| is_there(process));
        self.beside = there.map(|(role, process)| Held::adopted(role, process, beside_gated));
    }

    fn write_state_first(&mut self) {
        let record = self.record();
        self.push_front([Call::WritePage(record.encode()), Call::WriteState(Box::new(record))]);
    }

    fn write_status_first(&mut self) {
        let shown = self.shown();
        self.push_front([Call::WriteStatus(shown)]);
    }

    fn open_ok(&mut self, kernel: &mut Kernel) {
        kernel.files_mut(self.place).ok_reader = Some(self.pid);
        self.is_in_charge = true;
        let (first, is_to_stop) = (std::mem::take(&mut self.first), self.reason == StartReason::Stop);
        let start_nothing = is_to_stop.then_some(Event::StartNothing);
        self.calls.extend(start_nothing.into_iter().chain(first).map(Call::Handle));
    }

    fn handle(&mut self, kernel: &Kernel, event: Event) {
        let Some(machine) = &mut self.machine else { return };
        let mut todo = Vec::new();
        self.decided_at = kernel.time_to_run();
        machine.step(kernel.now(), event, &mut todo);
        self.push_front(todo.into_iter().map(Call::Act));
    }

    fn act(&mut self, kernel: &mut Kernel, action: Action, fails: bool) {
        match action {
            Action::Configure => self.handle(kernel, Event::Configured(Box::new(kernel.policy(self.place)))),
            // Nobody holds anything in this world.
            Action::AskHolder(_) => self.handle(kernel, Event::NotHeld),
            Action::Launch(role) => self.launch(kernel, role, fails),
            Action::LaunchBeside(which) => self.launch_beside(kernel, which, fails),
            // The services of this world do not go into the background.
            Action::Look => self.handle(kernel, Event::Searched(SearchOutcome::Nothing)),
            Action::SendLeft(_) | Action::KillLeft | Action::ReportBackgroundFailure => {}
            Action::Record => {
                let record = self.record();
                self.push_front([Call::WritePage(record.encode()), Call::WriteState(Box::new(record))]);
            }
            Action::Publish => {
                let (record, shown) = (self.record(), self.shown());
                let mut calls = Vec::new();
                if self.written.as_ref() != Some(&record) {
                    calls.extend([Call::WritePage(record.encode()), Call::WriteState(Box::new(record))]);
                }
                if self.shown != Some(shown) {
                    calls.push(Call::WriteStatus(shown));
                }
                self.push_front(calls);
            }
            Action::OpenGate => open(kernel, self.held.and_then(|held| held.gate)),
            Action::OpenBesideGate => open(kernel, self.beside.and_then(|beside| beside.gate)),
            Action::SendBeside(signal) => {
                if let Some(beside) = self.beside.filter(|beside| kernel.find(&beside.process).is_some()) {
                    kernel.signal(beside.process.pid.as_raw(), signal);
                }
            }
            Action::Send(signal) | Action::SendGroup(signal) | Action::SendScope(signal) => {
                // A child keeps its number until supervise waits for it, and an adopted process is held by a
                // descriptor.
                if let Some(held) = self.held.filter(|held| kernel.find(&held.process).is_some()) {
                    let pid = held.process.pid.as_raw();
                    let is_late = signal == Signal::SIGKILL && matches!(action, Action::SendScope(_));
                    self.killed = self.killed.or(is_late.then_some(pid));
                    let told = kernel.task_mut(pid).filter(|_| signal == Signal::SIGTERM);
                    told.into_iter().for_each(|task| task.told_at = task.told_at.or(Some(self.decided_at)));
                    kernel.signal(pid, signal);
                }
            }
            Action::Leave => self.done = true,
            Action::KillRest
            | Action::Announce(_)
            | Action::ReportGivenUp
            | Action::ReportMissedDeadline(_)
            | Action::ReportStarved => {}
        }
    }

    fn launch(&mut self, kernel: &mut Kernel, role: Role, fails: bool) {
        self.done = false;
        let gate = kernel.make_gate();
        let child = if fails { None } else { kernel.fork(self.pid, Kind::AtGate(role, gate), Some(self.place)) };
        match child.and_then(|pid| kernel.identify(pid)) {
            Some(process) => {
                self.held = Some(Held::child(role, process, gate));
                self.handle(kernel, Event::Launched);
            }
            None => self.handle(kernel, Event::NotLaunched),
        }
    }

    fn launch_beside(&mut self, kernel: &mut Kernel, which: Beside, fails: bool) {
        let gate = kernel.make_gate();
        let kind = Kind::BesideAtGate(which, gate);
        let child = if fails { None } else { kernel.fork(self.pid, kind, Some(self.place)) };
        match child.and_then(|pid| kernel.identify(pid)) {
            Some(process) => {
                self.beside = Some(Held::child(which, process, gate));
                self.handle(kernel, Event::BesideLaunched);
            }
            None => self.handle(kernel, Event::BesideNotLaunched),
        }
    }

    fn write_state(&mut self, kernel: &mut Kernel, record: Record, fails: bool) {
        let refused = self.refused(kernel, STATE_NEW, fails);
        self.unwritten.take_in_of(STATE_NEW, refused, kernel.uptime);
        if refused.is_some() {
            self.written = None;
            return;
        }
        if !kernel.forgets {
            kernel.files_mut(self.place).state = Some(record.encode());
        }
        self.has_recorded_reload |= record.progress.reload;
        (self.written, self.unwritten_want) = (Some(record), false);
    }

    /// What the system refuses of a file, if it does.
    fn refused(&self, kernel: &Kernel, new: &'static str, fails: bool) -> Option<Failure> {
        let errno = match kernel.files(self.place) {
            _ if kernel.read_only => Errno::EROFS,
            files if files.is_removed => Errno::ENOENT,
            _ if fails => Errno::ENOSPC,
            _ => return None,
        };
        Some(Failure { verb: "write", new, errno })
    }

    fn write_status(&mut self, kernel: &mut Kernel, shown: Shown, fails: bool) {
        let refused = self.refused(kernel, STATUS_NEW, fails);
        self.unwritten.take_in_of(STATUS_NEW, refused, kernel.uptime);
        if refused.is_some() {
            self.shown = None;
            return;
        }
        let files = kernel.files_mut(self.place);
        files.status = shown.first_chunk().copied().map(i32::from_le_bytes).filter(|pid| *pid != 0);
        files.has_status = true;
        self.shown = Some(shown);
    }

    fn reap(&mut self, kernel: &mut Kernel) {
        let Some((pid, status)) = kernel.ended_child(self.pid, self.ended) else { return };
        if let Some(mut beside) = self.beside.filter(|beside| beside.is_child_of(pid)) {
            let exit = beside.refused(kernel).unwrap_or_else(|| Exit::from_wait_status(status));
            self.push_front([Call::WaitFor(pid), Call::Reap]);
            self.beside = None;
            return self.handle(kernel, Event::BesideEnded(exit));
        }
        let Some(mut held) = self.held.filter(|held| held.is_child_of(pid)) else {
            return self.push_front([Call::WaitFor(pid), Call::Reap]);
        };
        let exit = held.refused(kernel).unwrap_or_else(|| Exit::from_wait_status(status));
        self.ended = Some(pid);
        self.push_front([Call::Release, Call::Reap]);
        self.has_ended(kernel, exit);
    }

    fn has_ended(&mut self, kernel: &Kernel, exit: Exit) {
        self.held = None;
        self.handle(kernel, Event::Ended(exit));
    }

    fn release(&mut self, kernel: &mut Kernel) {
        let shows = self.machine.as_ref().is_some_and(|machine| machine.shows_ended().is_some());
        if !shows && let Some(pid) = self.ended.take() {
            kernel.wait_for(pid);
        }
    }

    fn poll_gate(&mut self, kernel: &mut Kernel) {
        if self.held.as_mut().is_some_and(|held| held.has_begun(kernel)) {
            self.handle(kernel, Event::Executed);
        }
    }

    fn poll_adopted(&mut self, kernel: &Kernel) {
        let Some(held) = self.held.filter(|held| held.adopted_has_news(kernel)) else { return };
        match self.end_of_adopted(kernel, &held.process) {
            None => {
                self.held = Some(Held { gated: Gated::No, ..held });
                self.handle(kernel, Event::Executed);
            }
            Some(exit) => {
                self.held = None;
                self.handle(kernel, Event::of_adopted(exit, held.gated));
            }
        }
    }

    /// Looks for news of the program beside `run`.
    fn poll_beside(&mut self, kernel: &mut Kernel) {
        let has_begun = self.beside.as_mut().is_some_and(|beside| beside.has_begun(kernel));
        let Some(beside) = self.beside else { return };
        if has_begun {
            self.handle(kernel, Event::BesideExecuted);
        } else if beside.adopted_has_news(kernel) {
            match self.end_of_adopted(kernel, &beside.process) {
                None => {
                    self.beside = Some(Held { gated: Gated::No, ..beside });
                    self.handle(kernel, Event::BesideExecuted);
                }
                Some(exit) => {
                    self.beside = None;
                    self.handle(kernel, of_beside(Event::of_adopted(exit, beside.gated)));
                }
            }
        }
    }

    /// How an adopted process has ended; `None` if it is alive.
    fn end_of_adopted(&self, kernel: &Kernel, process: &Process) -> Option<Exit> {
        let seen = match kernel.find(process).map(|task| task.state) {
            Some(State::Alive) => return None,
            Some(State::Zombie(status)) => Some(Exit::from_wait_status(status)),
            None => None,
        };
        Some(self.told_by_svscan(kernel, process).or(seen).unwrap_or(Exit::Unknown))
    }

    /// The record that supervise would write now.
    fn record(&self) -> Record {
        let machine = self.machine.as_ref().map_or_else(Record::blank, Machine::record);
        let beside = self.beside.map(|beside| (beside.role, beside.process));
        let process = self.held.map(|held| (held.role, held.process));
        let (boot, directory) = (self.base.boot.clone(), self.base.directory.clone());
        Record { supervise: self.own, boot, directory, process, beside, ..machine }
    }

    /// What `supervise/status` must show.
    fn shown(&self) -> Shown {
        let status = Status::of(&self.record()).encode();
        status.last_chunk().copied().unwrap_or_default()
    }

    /// The end of an inherited process, as svscan has recorded it.
    fn told_by_svscan(&self, kernel: &Kernel, process: &Process) -> Option<Exit> {
        let of = |(ended, status): &(Process, i32)| ended.is_same_as(process).then(|| Exit::from_wait_status(*status));
        kernel.files(self.place).orphan.iter().find_map(of)
    }
}

/// What the system tells a supervise of the processes that a record names.
struct Known<'a> {
    kernel: &'a Kernel,
    place: Place,
}

impl Facts for Known<'_> {
    fn identity(&self, process: &Process) -> nix::Result<Identity> {
        Ok(if self.kernel.find(process).is_some() { Identity::Same } else { Identity::Gone })
    }

    /// All processes of this world are root's.
    fn belongs_to(&self, _: &Process, _: u32) -> bool {
        false
    }

    fn is_tagged(&self, process: &Process, _: Part) -> nix::Result<bool> {
        Ok(self.kernel.is_tagged(process, self.place))
    }

    fn has_pipe(&self, _: &Process, _: u64) -> bool {
        false
    }

    fn settings(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn refuse(&self, _: &Process) {}
}

/// Lets a child through its gate.
fn open(kernel: &mut Kernel, gate: Option<GateId>) {
    if let Some(gate) = gate.and_then(|gate| kernel.gates.get_mut(gate)) {
        gate.passed = true;
    }
}

/// What the end of an adopted process means, if it is the one beside `run`.
fn of_beside(event: Event) -> Event {
    match event {
        Event::Executed => Event::BesideExecuted,
        Event::Ended(exit) => Event::BesideEnded(exit),
        Event::NeverBegan => Event::BesideNeverBegan,
        event => event,
    }
}
