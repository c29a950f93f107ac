//! The life of a service: what to do when something happens. No clock, no I/O.
//!
//! At any moment one of the service's programs is running, or none is:
//!
//! - **Idle**: nothing runs, and nothing is started until the command `u` or `o` comes. The service is either
//!   *stopped*, which is how every life ends, or *failed*: supervise gave it up (exit 100 of `run` or 125 of `finish`,
//!   a `start` that failed, too many deaths), and only a command starts it again.
//! - **Waiting**: nothing runs, and `run` is started at a known time. The pause after a short run is this state and
//!   nothing more: commands are obeyed in it as in any other. Until the pause ends, `supervise/status` shows the `run`
//!   that has ended, as the original's does (see [`Machine::shows_ended`]). A logger that has nothing to read, and that
//!   nothing can write to, goes on waiting.
//! - **Preparing**: `run` is about to start. The settings are being read, so that changed ones count now.
//! - **Launching**: a process was asked for. It is held at a gate before it becomes `start`, `run`, `finish` or `stop`.
//!   supervise writes down who the process is, and only then lets it through. A supervise that is killed in between
//!   leaves no process behind, as a gate whose supervise is dead never opens.
//! - **Alive**: the process runs.
//!
//! ```text
//!                    u, o                        start ends well
//!   Idle ─────────► Preparing ──► start (if any) ───────────────► run ◄─────────┐
//!     ▲                                │ fails                     │ ends       │ time has come
//!     │◄───────────────────────────────┘                           ▼            │
//!     │◄───────────── stop (if any) ◄─────────────────── finish (if any) ──► Waiting
//!           wanted down, once, leaving, success, given up                wanted up
//! ```
//!
//! What is wanted (up, down, once) is not a state. It is kept in all states, and decides what follows when a process
//! ends. A supervise that is killed and started again continues from its record: the machine is the same, and the
//! process is adopted instead of launched.
//!
//! `machine/table.txt` says what every event does in every state. A test compares it with the code.

use crate::frozen::Deadline;
use crate::policy::Policy;
use daemontools::service::{Command, Death, Ending, Exit, Failure, Phase, Record, Role, Verdict, Want};
use daemontools::tai64::{self, Moment, Tai64N};
use nix::sys::signal::Signal;
use std::mem::replace;
use std::time::Duration;

/// What happens to a service.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// supervise has started, be it the first one or the next one after a supervise that was killed.
    Begun,
    /// A command came, through `supervise/control` or from svscan.
    Told(Command),
    /// These are the settings that [`Action::Configure`] asked for.
    Configured(Policy),
    /// The process asked for by [`Action::Launch`] waits at its gate.
    Launched,
    /// The process asked for by [`Action::Launch`] could not be made.
    NotLaunched,
    /// The process has become the program.
    Executed,
    /// The process has ended.
    Ended(Exit),
    /// The process that an earlier supervise had made never passed its gate.
    NeverBegan,
    /// The service says that it is ready, or `check` has found it to be.
    Ready,
    /// The service says that it is about to end.
    Stopping,
    /// The service says that it is alive.
    Alive,
    /// What the service says to its socket does not reach supervise.
    NotifySocketFailed,
    /// What the service says to its socket reaches supervise again.
    NotifySocketWorks,
    /// The service is another process now, or says something new of itself.
    Changed,
    /// For this time nothing could run, though the clock went on: the machine was suspended, or the container was
    /// paused.
    Frozen(Duration),
    /// The logger has nothing to read, and nothing is left that could write to it.
    Starved,
    /// The deadline may have passed.
    Woken,
}

/// Whether an adopted process may have been at its gate when its supervise was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gated {
    /// It was not seen to be ready.
    Maybe,
    /// It has passed its gate.
    No,
}

/// Exit code of a process whose gate never opened. The next supervise does what the process was to do. No known program
/// exits with it.
pub const EXIT_GATE_CLOSED: i32 = 213;

impl Event {
    /// What the end of an adopted process means.
    pub fn of_adopted(exit: Exit, gated: Gated) -> Event {
        if exit == Exit::Code(EXIT_GATE_CLOSED) && gated == Gated::Maybe {
            Event::NeverBegan
        } else {
            Event::Ended(exit)
        }
    }
}

/// What is to be done about an event. Of the actions that answer one event, only the last one has an event as its
/// consequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read the settings, then say [`Event::Configured`].
    Configure,
    /// Make a process for this program and hold it at its gate, then say [`Event::Launched`]. `finish` gets the exit of
    /// `run` as an argument.
    Launch(Role, Option<Exit>),
    /// Write `supervise/state`, which has what the next supervise must know.
    Record,
    /// Write `supervise/status`, for readers, and `supervise/state`.
    Publish,
    /// Let the process through the gate.
    OpenGate,
    /// Send a signal to the process.
    Send(Signal),
    /// Send a signal to the process's group.
    SendGroup(Signal),
    /// Send a signal to the processes that stopping reaches: those of the setting `kill-scope`.
    SendScope(Signal),
    /// Kill what is left of the processes that stopping reaches, now that the main one has ended.
    KillRest,
    /// Tell the listeners in `supervise/event` of a transition, by one of s6's letters.
    Announce(char),
    /// Say why supervise gives the service up.
    GiveUp,
    /// Say that the service is told to end because it is too late.
    SayLate(Late),
    /// Say that the logger is not started as long as it has nothing to read.
    SayStarved,
    /// End supervise.
    Leave,
}

/// What a service did not do in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// It was not ready within this time.
    NotReady(Duration),
    /// It gave no sign of life for this time.
    Silent(Duration),
    /// It was told to end, and still runs after this time.
    Stays(Duration),
    /// Its `finish` still runs after this time.
    Finishes(Duration),
}

/// supervise looks this often whether a logger that had nothing to read has something to read now.
const STARVED: Duration = Duration::from_secs(1);

/// supervise tries again after this time if the system had no process to give. The original waits as long, and says so.
pub const RETRY_FORK: Duration = Duration::from_secs(60);

/// A process that was not ready in time, or gives no sign of life, is killed this long after it was told to end, unless
/// `timeout-kill` says otherwise.
const KILL_OVERDUE: Duration = Duration::from_secs(5);

/// In which of its states the service is; see the module's introduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle(IdleReason),
    Waiting(Moment),
    Preparing,
    Launching(Role),
    Alive(Role),
}

/// Why nothing runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdleReason {
    Stopped,
    Failed,
}

/// The life of one service.
#[derive(Debug, Clone)]
pub struct Machine {
    policy: Policy,
    want: Want,
    stage: Stage,
    /// When the process last changed.
    since: Moment,
    /// Since when the process is ready.
    ready: Option<Moment>,
    /// The process was told to pause.
    paused: bool,
    /// Why the process is expected to end.
    ending: Option<Ending>,
    /// The process was not seen to become `run` yet.
    gated: bool,
    /// When the process is killed if it has not ended.
    kill_at: Option<Deadline>,
    /// When the process must have said that it is ready.
    ready_by: Option<Deadline>,
    /// When the process must have said that it is alive.
    alive_by: Option<Deadline>,
    /// `u` or `o` came while `finish` or `stop` ran: the service starts once more after them.
    again: bool,
    /// Signals that are commanded go to the group of the process.
    to_group: bool,
    /// supervise ends once the service is down.
    leaving: bool,
    /// `start` has succeeded, so that `stop` is to be run at the end.
    start_done: bool,
    /// What comes after the `finish` or `stop` that runs.
    verdict: Verdict,
    /// Why the service has failed, or will have failed after the `finish` that runs.
    failure: Option<Failure>,
    /// When `run` was last started, from which the pause to the next start counts.
    started: Moment,
    starts: u64,
    /// As long as the pause lasts, `supervise/status` still shows the `run` that has just ended.
    shows_ended: bool,
    /// The logger waits for something to read, and that was said.
    starved: bool,
    /// How many runs in a row were short.
    short_runs: u32,
    deaths: Vec<Death>,
    /// When `run` died, in time since boot, as far back as the restart limit looks.
    recent_deaths: Vec<Duration>,
}

impl Machine {
    /// A service at rest. All that is known of it is what is wanted.
    pub fn new(policy: Policy, want: Want, now: Moment) -> Machine {
        Machine {
            policy,
            want,
            stage: Stage::Idle(IdleReason::Stopped),
            since: now,
            ready: None,
            paused: false,
            ending: None,
            gated: false,
            kill_at: None,
            ready_by: None,
            alive_by: None,
            again: false,
            to_group: false,
            leaving: false,
            start_done: false,
            verdict: Verdict::AsWanted,
            failure: None,
            started: now,
            starts: 0,
            shows_ended: false,
            starved: false,
            short_runs: 0,
            deaths: Vec::new(),
            recent_deaths: Vec::new(),
        }
    }

    /// A service at rest, whose past is remembered.
    pub fn remember(policy: Policy, want: Want, record: &Record, now: Moment) -> Machine {
        let mut machine =
            Machine { starts: record.starts, deaths: record.deaths.clone(), ..Machine::new(policy, want, now) };
        machine.forgive_deaths();
        machine
    }

    /// The service as the supervise before this one left it when it was killed. A process in the record is taken to be
    /// alive: if it is not, [`Event::Ended`] must be the first event.
    pub fn resume(policy: Policy, record: &Record, now: Moment) -> Machine {
        let stage = match (record.process, record.next_start, record.phase) {
            (Some((role, _)), _, _) => Stage::Alive(role),
            (None, Some(moment), _) => Stage::Waiting(moment),
            (None, None, Phase::Failed) => Stage::Idle(IdleReason::Failed),
            (None, None, _) => Stage::Idle(IdleReason::Stopped),
        };
        let ending = record.process.and(record.ending);
        // Only a `run` that was not told to end has something to do in time.
        let runs = matches!(stage, Stage::Alive(Role::Run)) && ending.is_none() && !record.paused;
        let watchdog = policy.watchdog.filter(|_| runs);
        let ready_within = policy.ready_within.filter(|_| runs && record.ready.is_none());
        let ago = |death: &Death| Duration::from_secs(tai64::seconds_between(death.ended, now.label));
        Machine {
            stage,
            ready_by: ready_within.map(|within| Deadline::new(record.since, within)),
            alive_by: watchdog.map(|within| Deadline::new(now, within)),
            recent_deaths: record
                .deaths
                .iter()
                .filter(|death| death.counts)
                .map(|death| now.uptime.saturating_sub(ago(death)))
                .collect(),
            since: record.since,
            ready: record.ready,
            paused: record.paused,
            ending,
            gated: record.process.is_some() && record.gated,
            kill_at: record
                .process
                .zip(record.kill_at)
                .map(|((role, _), at)| Deadline::resume(at, time_to_end(&policy, role))),
            to_group: record.to_group,
            leaving: record.leaving,
            start_done: record.begun,
            again: record.again,
            verdict: record.verdict,
            failure: record.failure,
            started: record.since,
            starts: record.starts,
            short_runs: record.streak,
            deaths: record.deaths.clone(),
            ..Machine::new(policy, record.want, now)
        }
    }

    /// Takes in what happened at `now`; adds to `todo` what is to be done.
    pub fn step(&mut self, now: Moment, event: Event, todo: &mut Vec<Action>) {
        match event {
            Event::Begun => self.begin(todo),
            Event::Told(command) => self.told(now, command, todo),
            Event::Configured(policy) => self.configured(policy, todo),
            Event::Launched => self.launched(now, todo),
            Event::NotLaunched => self.not_launched(now, todo),
            Event::Executed => self.executed(now, todo),
            Event::Ended(exit) => self.ended(now, exit, todo),
            Event::NeverBegan => self.never_began(todo),
            Event::Ready => self.is_ready(now, todo),
            Event::Stopping => self.is_stopping(todo),
            Event::Alive => self.is_alive(now),
            Event::NotifySocketFailed => self.notify_socket_failed(),
            Event::NotifySocketWorks => self.notify_socket_works(now),
            Event::Changed => todo.push(Action::Publish),
            Event::Frozen(lost) => self.was_frozen(lost, todo),
            Event::Starved => self.starve(now, todo),
            Event::Woken => self.woken(now, todo),
        }
    }

    /// When [`Event::Woken`] is due at the latest, in time since boot; `None` if only another event can change
    /// anything.
    pub fn deadline(&self) -> Option<Duration> {
        match self.stage {
            Stage::Waiting(moment) => Some(moment.uptime),
            Stage::Alive(_) => {
                let deadlines = [self.kill_at, self.ready_by, self.alive_by];
                deadlines.into_iter().flatten().map(|deadline| deadline.at.uptime).min()
            }
            Stage::Idle(_) | Stage::Preparing | Stage::Launching(_) => None,
        }
    }

    /// Whether the process has a time within which it must do something.
    pub fn is_timing(&self) -> bool {
        match self.stage {
            Stage::Alive(_) => self.kill_at.is_some() || self.ready_by.is_some() || self.alive_by.is_some(),
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) => false,
        }
    }

    /// Whether nothing runs, and it is time to start `run`.
    pub fn is_due(&self, now: Moment) -> bool {
        match self.stage {
            Stage::Waiting(moment) => moment.uptime <= now.uptime,
            Stage::Idle(_) | Stage::Preparing | Stage::Launching(_) | Stage::Alive(_) => false,
        }
    }

    /// When the `run` was started that has ended, but that readers of `supervise/status` still find; `None` if they
    /// find none.
    ///
    /// The original hears of a death in the first second of a run only when that second is over, and then starts `run`
    /// again at once. Its users rely on that: a program that takes down what is "up" must find a service "up" that dies
    /// at once and is started again. This holds for a service that has only what the original knows: the pause of a
    /// second, and no `finish`. Nor does it hold with a `kill-scope` of `tree`, which waits for all children, so that
    /// another process could have the number.
    pub fn shows_ended(&self) -> Option<Tai64N> {
        let is_pause = matches!(self.stage, Stage::Waiting(_));
        (is_pause && self.shows_ended).then_some(self.started.label)
    }

    /// What is to be written down. The caller adds who the process is.
    pub fn record(&self) -> Record {
        Record {
            want: self.want,
            phase: self.phase(),
            since: self.since,
            ready: self.ready,
            paused: self.paused,
            ending: self.ending,
            gated: self.gated,
            kill_at: self.kill_at.map(|deadline| deadline.at),
            to_group: self.to_group,
            leaving: self.leaving,
            begun: self.start_done,
            again: self.again,
            verdict: self.verdict,
            failure: self.failure,
            next_start: match self.stage {
                Stage::Waiting(moment) => Some(moment),
                Stage::Idle(_) | Stage::Preparing | Stage::Launching(_) | Stage::Alive(_) => None,
            },
            streak: self.short_runs,
            starts: self.starts,
            deaths: self.deaths.clone(),
            ..Record::blank()
        }
    }

    fn phase(&self) -> Phase {
        match self.stage {
            Stage::Idle(IdleReason::Failed) => Phase::Failed,
            Stage::Idle(IdleReason::Stopped) => Phase::Stopped,
            Stage::Waiting(_) | Stage::Preparing if self.start_done => Phase::Started,
            Stage::Waiting(_) | Stage::Preparing => Phase::Stopped,
            Stage::Launching(Role::Start) | Stage::Alive(Role::Start) => Phase::Starting,
            Stage::Launching(Role::Run) | Stage::Alive(Role::Run) if self.ending.is_none() => Phase::Running,
            Stage::Launching(_) | Stage::Alive(_) => Phase::Stopping,
        }
    }

    fn begin(&mut self, todo: &mut Vec<Action>) {
        todo.push(Action::Announce('s'));
        match self.stage {
            Stage::Idle(IdleReason::Stopped) if self.want == Want::Up => self.prepare(todo),
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) | Stage::Alive(_) => {
                todo.push(Action::Publish);
            }
        }
    }

    fn told(&mut self, now: Moment, command: Command, todo: &mut Vec<Action>) {
        match command {
            Command::Up => self.want_up(Want::Up, todo),
            Command::Once => self.want_up(Want::Once, todo),
            Command::Down => self.want_down(now, todo),
            Command::Exit => self.exit_when_down(todo),
            Command::Pause => self.pause(todo),
            Command::Continue => self.continue_process(now, todo),
            Command::Hangup => self.send(Signal::SIGHUP, todo),
            Command::Alarm => self.send(Signal::SIGALRM, todo),
            Command::Interrupt => self.send(Signal::SIGINT, todo),
            Command::Terminate => self.send(Signal::SIGTERM, todo),
            Command::Kill => self.send(Signal::SIGKILL, todo),
            Command::Quit => self.send(Signal::SIGQUIT, todo),
            Command::User1 => self.send(Signal::SIGUSR1, todo),
            Command::User2 => self.send(Signal::SIGUSR2, todo),
            Command::Window => self.send(Signal::SIGWINCH, todo),
            Command::ToGroup => self.set_target(true, todo),
            Command::ToProcess => self.set_target(false, todo),
            // These say which machine the next command is for, which is decided by the caller.
            Command::ForService | Command::ForLogger => {}
        }
    }

    fn want_up(&mut self, want: Want, todo: &mut Vec<Action>) {
        self.want = want;
        todo.push(Action::Publish);
        match self.stage {
            Stage::Idle(_) => {
                // The restart limit counts from zero again.
                self.forgive_deaths();
                self.prepare(todo);
            }
            Stage::Waiting(_) => self.prepare(todo),
            // A process that was told to end ends, or is killed: only then can the service be started again.
            Stage::Alive(Role::Start | Role::Run) | Stage::Preparing | Stage::Launching(_) => {}
            Stage::Alive(Role::Finish | Role::Stop) => self.again = true,
        }
    }

    fn want_down(&mut self, now: Moment, todo: &mut Vec<Action>) {
        self.want = Want::Down;
        self.again = false;
        match self.stage {
            Stage::Alive(Role::Start | Role::Run) => {
                self.end(now, Ending::Told, self.policy.down_signal, todo);
            }
            Stage::Idle(_) | Stage::Waiting(_) => self.wind_down(Verdict::AsWanted, todo),
            Stage::Preparing | Stage::Launching(_) | Stage::Alive(Role::Finish | Role::Stop) => {
                todo.push(Action::Publish);
            }
        }
    }

    /// Tells the process to end, and wakes it if it is paused, so that it can.
    fn end(&mut self, now: Moment, why: Ending, signal: Signal, todo: &mut Vec<Action>) {
        todo.extend([Action::SendScope(signal), Action::SendScope(Signal::SIGCONT)]);
        (self.paused, self.ending, self.ready_by, self.alive_by) = (false, Some(why), None, None);
        self.kill_at = self.kill_at.or(self.policy.kill_after.map(|wait| Deadline::new(now, wait)));
        todo.push(Action::Publish);
    }

    fn exit_when_down(&mut self, todo: &mut Vec<Action>) {
        self.leaving = true;
        match self.stage {
            Stage::Idle(_) => todo.extend([Action::Publish, Action::Announce('x'), Action::Leave]),
            Stage::Waiting(_) => self.wind_down(Verdict::AsWanted, todo),
            Stage::Preparing | Stage::Launching(_) | Stage::Alive(_) => todo.push(Action::Publish),
        }
    }

    fn pause(&mut self, todo: &mut Vec<Action>) {
        match self.stage {
            Stage::Alive(_) => {
                self.paused = true;
                // A paused process cannot do anything in time.
                (self.ready_by, self.alive_by) = (None, None);
                todo.push(Action::Publish);
                self.send(Signal::SIGSTOP, todo);
            }
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) => {}
        }
    }

    fn continue_process(&mut self, now: Moment, todo: &mut Vec<Action>) {
        match self.stage {
            Stage::Alive(role) => {
                if self.paused && role == Role::Run && self.ending.is_none() {
                    self.expect(now);
                }
                self.paused = false;
                todo.push(Action::Publish);
                self.send(Signal::SIGCONT, todo);
            }
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) => {}
        }
    }

    /// From now on the time counts in which `run` must be ready, if it is not, and say that it is alive.
    fn expect(&mut self, now: Moment) {
        let by = |within: Option<Duration>| within.map(|within| Deadline::new(now, within));
        self.ready_by = by(self.policy.ready_within.filter(|_| self.ready.is_none()));
        self.alive_by = by(self.policy.watchdog);
    }

    fn send(&mut self, signal: Signal, todo: &mut Vec<Action>) {
        match self.stage {
            Stage::Alive(_) if self.to_group => todo.push(Action::SendGroup(signal)),
            Stage::Alive(_) => todo.push(Action::Send(signal)),
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) => {}
        }
    }

    fn set_target(&mut self, to_group: bool, todo: &mut Vec<Action>) {
        self.to_group = to_group;
        todo.push(Action::Publish);
    }

    fn prepare(&mut self, todo: &mut Vec<Action>) {
        (self.stage, self.again, self.shows_ended) = (Stage::Preparing, false, false);
        (self.failure, self.starved) = (None, false);
        todo.push(Action::Configure);
    }

    fn configured(&mut self, policy: Policy, todo: &mut Vec<Action>) {
        self.policy = policy;
        match self.stage {
            Stage::Preparing if self.policy.has_start && !self.start_done => self.launch(Role::Start, None, todo),
            Stage::Preparing => self.launch(Role::Run, None, todo),
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Launching(_) | Stage::Alive(_) => {}
        }
    }

    fn launch(&mut self, role: Role, exit: Option<Exit>, todo: &mut Vec<Action>) {
        self.stage = Stage::Launching(role);
        todo.push(Action::Launch(role, exit));
    }

    fn launched(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let Stage::Launching(role) = self.stage else { return };
        self.stage = Stage::Alive(role);
        self.since = now;
        self.forget_process();
        match role {
            Role::Start | Role::Stop => {}
            Role::Run => {
                self.starts += 1;
                self.started = now;
                self.start_done = true;
                self.gated = true;
                self.expect(now);
            }
            Role::Finish => self.kill_at = self.policy.kill_finish_after.map(|wait| Deadline::new(now, wait)),
        }
        // The status is written after the gate is open: a slow disk delays readers, not the service.
        todo.extend([Action::Record, Action::OpenGate, Action::Publish]);
        if role == Role::Run {
            todo.push(Action::Announce('u'));
        }
    }

    fn forget_process(&mut self) {
        (self.ready, self.paused, self.ending, self.gated) = (None, false, None, false);
        (self.kill_at, self.ready_by, self.alive_by) = (None, None, None);
    }

    /// `start` and `run` are tried again later. `finish` and `stop`, which only follow a `run`, are left out.
    fn not_launched(&mut self, now: Moment, todo: &mut Vec<Action>) {
        match self.stage {
            Stage::Launching(Role::Start | Role::Run) => {
                self.stage = Stage::Waiting(now.after(RETRY_FORK));
                todo.push(Action::Publish);
            }
            Stage::Launching(Role::Finish) => self.finished(now, self.verdict, todo),
            Stage::Launching(Role::Stop) => self.rest(self.rest_after(self.verdict), todo),
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Alive(_) => {}
        }
    }

    fn executed(&mut self, now: Moment, todo: &mut Vec<Action>) {
        if !self.policy.tells_when_ready() {
            self.is_ready(now, todo);
        }
        if replace(&mut self.gated, false) {
            todo.push(Action::Publish);
        }
    }

    fn is_ready(&mut self, now: Moment, todo: &mut Vec<Action>) {
        match self.stage {
            Stage::Alive(Role::Run) if self.ready.is_none() => {
                self.ready = Some(now);
                (self.ready_by, self.gated) = (None, false);
                todo.push(Action::Publish);
                if self.policy.tells_when_ready() {
                    todo.push(Action::Announce('U'));
                }
            }
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) | Stage::Alive(_) => {}
        }
    }

    fn is_stopping(&mut self, todo: &mut Vec<Action>) {
        match self.stage {
            Stage::Alive(Role::Run) if self.ending.is_none() => {
                self.ending = Some(Ending::OfItself);
                todo.push(Action::Publish);
            }
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) | Stage::Alive(_) => {}
        }
    }

    fn is_alive(&mut self, now: Moment) {
        if self.alive_by.is_some() {
            self.alive_by = self.policy.watchdog.map(|within| Deadline::new(now, within));
        }
    }

    /// The service is not killed for a message that supervise could not receive.
    fn notify_socket_failed(&mut self) {
        self.alive_by = None;
        if !self.policy.has_check && self.policy.notification_fd.is_none() {
            self.ready_by = None;
        }
    }

    /// The watchdog counts again. The service may have said meanwhile that it is ready, so that it is not killed for
    /// that.
    fn notify_socket_works(&mut self, now: Moment) {
        match self.stage {
            Stage::Alive(Role::Run) if self.ending.is_none() && !self.paused && self.alive_by.is_none() => {
                self.alive_by = self.policy.watchdog.map(|within| Deadline::new(now, within));
            }
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) | Stage::Alive(_) => {}
        }
    }

    fn ended(&mut self, now: Moment, exit: Exit, todo: &mut Vec<Action>) {
        let Stage::Alive(role) = self.stage else { return };
        let told_to_end = self.ending == Some(Ending::Told);
        self.since = now;
        self.forget_process();
        match role {
            Role::Start => self.start_ended(exit, told_to_end, todo),
            Role::Run => {
                todo.push(Action::Announce('d'));
                self.verdict = self.record_death(now, exit, told_to_end);
                if self.policy.has_finish {
                    self.launch(Role::Finish, Some(exit), todo);
                } else {
                    self.finished(now, self.verdict, todo);
                }
            }
            Role::Finish if exit == Exit::Code(125) => {
                let verdict = self.give_up(Failure::Finish);
                self.finished(now, verdict, todo);
            }
            Role::Finish => self.finished(now, self.verdict, todo),
            Role::Stop => self.rest(self.rest_after(self.verdict), todo),
        }
    }

    /// The process was never let through its gate: what it was to do is done now, if it is still to be done.
    fn never_began(&mut self, todo: &mut Vec<Action>) {
        let Stage::Alive(role) = self.stage else { return };
        self.forget_process();
        let wanted = self.want != Want::Down && !self.leaving;
        match role {
            Role::Run => {
                self.starts = self.starts.saturating_sub(1);
                if wanted { self.prepare(todo) } else { self.wind_down(Verdict::AsWanted, todo) }
            }
            Role::Start if wanted => self.prepare(todo),
            Role::Start => self.rest(IdleReason::Stopped, todo),
            Role::Finish => self.launch(Role::Finish, self.deaths.last().map(|death| death.exit), todo),
            Role::Stop => self.launch(Role::Stop, None, todo),
        }
    }

    fn start_ended(&mut self, exit: Exit, told_to_end: bool, todo: &mut Vec<Action>) {
        match exit {
            Exit::Code(0) if self.want == Want::Down || self.leaving => {
                self.start_done = true;
                self.wind_down(Verdict::AsWanted, todo);
            }
            Exit::Code(0) => {
                self.start_done = true;
                self.launch(Role::Run, None, todo);
            }
            // A `start` that was told to end has not failed, and the service may have been told up since. Of a `start`
            // whose end was not seen it is not known whether it did its work, so that it is run once more.
            _ if told_to_end || exit == Exit::Unknown => {
                if self.want == Want::Down || self.leaving {
                    self.rest(IdleReason::Stopped, todo)
                } else {
                    self.prepare(todo)
                }
            }
            Exit::Unknown | Exit::Code(_) | Exit::Signal(_) | Exit::Core(_) | Exit::Unstarted(_) => {
                self.failure = Some(Failure::Start(exit));
                self.rest(IdleReason::Failed, todo);
            }
        }
    }

    /// Records a death of `run`, and decides what follows from it.
    fn record_death(&mut self, now: Moment, exit: Exit, told_to_end: bool) -> Verdict {
        let counts = !(told_to_end && self.policy.restart_limit.is_some());
        self.deaths.push(Death { started: self.started.label, ended: now.label, exit, counts });
        let surplus = self.deaths.len().saturating_sub(self.policy.deaths_kept);
        self.deaths.drain(..surplus);
        let lived = now.uptime.saturating_sub(self.started.uptime);
        self.short_runs = if lived >= self.policy.restart.stable { 0 } else { self.short_runs.saturating_add(1) };
        if told_to_end {
            return Verdict::AsWanted;
        }
        match exit {
            Exit::Code(code) if self.policy.success.contains(&code) => Verdict::Done,
            Exit::Code(100) => self.give_up(Failure::Run),
            _ if self.dies_too_often(now) => self.give_up(Failure::RestartLimit),
            Exit::Code(_) | Exit::Signal(_) | Exit::Core(_) | Exit::Unstarted(_) | Exit::Unknown => Verdict::AsWanted,
        }
    }

    fn give_up(&mut self, why: Failure) -> Verdict {
        self.failure = Some(why);
        Verdict::GiveUp
    }

    /// The restart limit counts from zero again, also for a supervise that comes after this one.
    fn forgive_deaths(&mut self) {
        self.recent_deaths.clear();
        if self.policy.restart_limit.is_some() {
            self.deaths.iter_mut().for_each(|death| death.counts = false);
        }
    }

    fn dies_too_often(&mut self, now: Moment) -> bool {
        let Some(limit) = self.policy.restart_limit else { return false };
        self.recent_deaths.retain(|death| now.uptime.saturating_sub(*death) < limit.within);
        self.recent_deaths.push(now.uptime);
        self.recent_deaths.len() >= limit.count
    }

    /// `run` and its `finish` are over.
    fn finished(&mut self, now: Moment, verdict: Verdict, todo: &mut Vec<Action>) {
        todo.extend([Action::KillRest, Action::Announce('D')]);
        let stay_down = verdict != Verdict::AsWanted || self.want != Want::Up || self.leaving;
        if stay_down {
            return self.wind_down(verdict, todo);
        }
        let at = self.started.after(self.policy.restart.pause(self.short_runs));
        if at.uptime <= now.uptime {
            self.prepare(todo);
        } else {
            self.stage = Stage::Waiting(at);
            self.shows_ended = self.policy.pauses_as_the_original();
            todo.push(Action::Publish);
        }
    }

    /// Goes from the last `run` to rest: through `stop`, if there is one and `start` has succeeded.
    fn wind_down(&mut self, verdict: Verdict, todo: &mut Vec<Action>) {
        self.verdict = verdict;
        if self.policy.has_stop && self.start_done {
            self.launch(Role::Stop, None, todo);
        } else {
            self.rest(self.rest_after(verdict), todo);
        }
    }

    fn rest_after(&self, verdict: Verdict) -> IdleReason {
        match verdict {
            Verdict::AsWanted | Verdict::Done => IdleReason::Stopped,
            Verdict::GiveUp => IdleReason::Failed,
        }
    }

    /// Comes to rest, unless the service was told to start again meanwhile.
    fn rest(&mut self, rest: IdleReason, todo: &mut Vec<Action>) {
        let (again, verdict) = (self.again, self.verdict);
        (self.start_done, self.again, self.verdict) = (false, false, Verdict::AsWanted);
        self.stage = Stage::Idle(rest);
        if again && !self.leaving {
            return self.prepare(todo);
        }
        match rest {
            IdleReason::Failed if self.leaving => todo.push(Action::Announce('O')),
            IdleReason::Failed => todo.extend([Action::GiveUp, Action::Announce('O')]),
            IdleReason::Stopped => self.failure = None,
        }
        if rest == IdleReason::Failed || verdict == Verdict::Done {
            self.want = Want::Down;
        }
        todo.push(Action::Publish);
        if self.leaving {
            todo.extend([Action::Announce('x'), Action::Leave]);
        }
    }

    /// Moves the deadlines of the process by the time in which it could not run, as far as [`Deadline::give_back`]
    /// allows.
    fn was_frozen(&mut self, lost: Duration, todo: &mut Vec<Action>) {
        if !self.is_timing() {
            return;
        }
        let before = self.kill_at;
        let deadlines = [&mut self.kill_at, &mut self.ready_by, &mut self.alive_by];
        deadlines.into_iter().flatten().for_each(|deadline| deadline.give_back(lost));
        if self.kill_at != before {
            todo.push(Action::Publish);
        }
    }

    fn woken(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let passed = |deadline: Option<Deadline>| deadline.is_some_and(|deadline| deadline.has_passed(now));
        match self.stage {
            Stage::Waiting(moment) if moment.uptime <= now.uptime => self.prepare(todo),
            Stage::Alive(role) if passed(self.kill_at) => {
                self.kill_at = None;
                let late = match role {
                    Role::Finish => self.policy.kill_finish_after.map(Late::Finishes),
                    Role::Start | Role::Run | Role::Stop => self.policy.kill_after.map(Late::Stays),
                };
                todo.extend(late.map(Action::SayLate));
                todo.push(Action::SendScope(Signal::SIGKILL));
            }
            Stage::Alive(_) if passed(self.alive_by) => {
                todo.extend(self.policy.watchdog.map(|within| Action::SayLate(Late::Silent(within))));
                self.overdue(now, Signal::SIGABRT, todo);
            }
            Stage::Alive(_) if passed(self.ready_by) => {
                todo.extend(self.policy.ready_within.map(|within| Action::SayLate(Late::NotReady(within))));
                self.overdue(now, self.policy.down_signal, todo);
            }
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) | Stage::Alive(_) => {}
        }
    }

    /// Does not start a logger that would find the end of its input and nothing to read: it would end at once, and
    /// again a second later. supervise looks again each second, as the service may come back.
    fn starve(&mut self, now: Moment, todo: &mut Vec<Action>) {
        match self.stage {
            Stage::Waiting(moment) if moment.uptime <= now.uptime => {
                self.stage = Stage::Waiting(now.after(STARVED));
                if !replace(&mut self.starved, true) {
                    self.shows_ended = false;
                    todo.extend([Action::SayStarved, Action::Publish]);
                }
            }
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) | Stage::Alive(_) => {}
        }
    }

    /// The process was too late: it is told to end, and killed if it does not. Then it is started again.
    fn overdue(&mut self, now: Moment, signal: Signal, todo: &mut Vec<Action>) {
        self.kill_at = Some(Deadline::new(now, self.policy.kill_after.unwrap_or(KILL_OVERDUE)));
        self.end(now, Ending::Overdue, signal, todo);
    }
}

/// How long a process has from when it is told to end until it is killed.
fn time_to_end(policy: &Policy, role: Role) -> Duration {
    let time = match role {
        Role::Finish => policy.kill_finish_after,
        Role::Start | Role::Run | Role::Stop => policy.kill_after,
    };
    time.unwrap_or(KILL_OVERDUE)
}

#[cfg(test)]
mod tests;
