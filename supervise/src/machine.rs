//! The life of a service: what to do when something happens. No clock, no I/O.
//!
//! At any moment one of the service's programs is running, or none is:
//!
//! - **Idle**: nothing runs, and nothing is started until the command `u` or `o` comes. The service is either
//!   *stopped*, which is how every life ends, or *failed*: supervise gave it up (exit 100 of `run` or 125 of `finish`,
//!   a `start` or `pre-start` that failed, exit 125 of `post-start`, too many deaths), and only a command starts it again.
//! - **Waiting**: nothing runs, and `run` is started at a known time. The pause after a short run is this state and
//!   nothing more: commands are obeyed in it as in any other. Until the pause ends, `supervise/status` shows the `run`
//!   that has ended, as the original's does (see [`Machine::shows_ended`]). A logger that has nothing to read, and that
//!   nothing can write to, goes on waiting.
//! - **Preparing**: `run` is about to start. The settings are being read, so that changed ones count now.
//! - **Launching**: a process was asked for. It is held at a gate before it becomes one of the service's programs.
//!   supervise writes down who the process is, and only then lets it through. A supervise that is killed in between
//!   leaves no process behind, as a gate whose supervise is dead never opens.
//! - **Alive**: the process runs. Beside `run`, one more program may run: see [`beside`].
//! - **Looking**: `run` has gone into the background, and which process is the service's is not known: see [`background`].
//! - **Active**: the service is a state, which is up without a process: see [`active`].
//! - **Outlived**: `run` has ended, and the program beside it still runs, or what follows is held back. What follows waits
//!   for that.
//!
//! Another program may hold back the start and the end of a life: see [`hold`].
//!
//! ```text
//!                    u, o                        start ends well                     ends well
//!   Idle ─────────► Preparing ──► start (if any) ───────────────► pre-start (if any) ─────────► run
//!     ▲                                │ fails                     ▲         │ fails, or the     │ ends
//!     │◄───────────────────────────────┘                           │         │ service is wanted │
//!     │                                                            │         ▼ down by now       ▼
//!     │◄───────────── stop (if any) ◄──────────────────────────────┼──────── finish (if any) ◄───┘
//!           wanted down, once, leaving, success, given up          │            │ wanted up
//!                                                                  └── Waiting ◄┘
//! ```
//!
//! A *life* is what lies between two pauses: `pre-start`, `run` and `finish`. `finish` is told how the life has ended. `start`
//! and `stop` stand before the first life and after the last.
//!
//! `d` does not signal `pre-start`: when that has ended, `run` is not started. A second `d` that comes without `x` ends a
//! `pre-start` that takes too long, and so does `timeout-pre-start`, or `k`. Other signals that are commanded do not reach it. A
//! `d` never cuts `finish` and `stop` short, however often it comes, as those who wrote them for other supervisors rely on that.
//!
//! What is wanted (up, down, once) is not a state. It is kept in all states, and decides what follows when a process
//! ends. A supervise that is killed and started again continues from its record: the machine is the same, and the
//! process is adopted instead of launched.
//!
//! `machine/table.txt` says what every event does in every state. A test compares it with the code.
//!
//! Each file in `machine/` has one subject: the events and actions, the signs that `run` gives of itself, its deaths,
//! and the record from which the next supervise goes on. All of them are about the one [`Machine`].

mod active;
mod background;
mod beside;
mod deaths;
mod event;
mod hold;
mod resume;
mod signs;

use crate::suspend_credit::Deadline;
use beside::BesideRun;
use daemontools::service::policy::Policy;
use daemontools::service::{
    BackgroundFailure, Beside, Command, Death, EndReason, Ending, Ends, Exit, Failure, Held, LifeEnd, LifeProgress,
    Role, Search, Verdict, Want,
};
use daemontools::tai64::{Moment, Tai64N};
pub use event::{Action, EXIT_GATE_CLOSED, Event, Gated, MissedDeadline, SearchOutcome};
use hold::Hold;
use nix::sys::signal::Signal;
use std::mem::replace;
use std::time::Duration;

/// supervise looks this often whether a logger that had nothing to read has something to read now.
const STARVED: Duration = Duration::from_secs(1);

/// supervise tries again after this time if the system had no process to give. The original waits as long, and says so.
pub const RETRY_FORK: Duration = Duration::from_secs(60);

/// A process that was not ready in time, or gives no sign of life, is killed this long after it was told to end, unless
/// `timeout-kill` says otherwise.
const KILL_OVERDUE: Duration = Duration::from_secs(5);

/// The state of the service. The module's introduction explains the states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle(IdleReason),
    Waiting(Pause),
    Preparing,
    Launching(Role),
    Alive(Role),
    Active,
    Looking(Search),
    Outlived,
}

/// A time in which nothing runs. `run` is started after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pause {
    until: Moment,
    /// Until then, `supervise/status` still shows the `run` that has just ended.
    shows_ended: bool,
}

impl Pause {
    fn until(until: Moment) -> Pause {
        Pause { until, shows_ended: false }
    }
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
    /// What is wanted after the restart of which the `d` was obeyed, but not yet what follows in the same write.
    foretold: Option<Want>,
    stage: Stage,
    /// When the process last changed.
    since: Moment,
    /// Since when the process is ready.
    ready: Option<Moment>,
    /// The process was told to pause.
    paused: bool,
    /// The program that runs beside `run`, or has outlived it.
    beside: Option<BesideRun>,
    /// Which programs are still to run beside `run`, and which have.
    progress: LifeProgress,
    /// The transition that is held back, or may be.
    hold: Option<Hold>,
    /// Why the process is expected to end.
    ending: Option<Ending>,
    /// Since when the process is the one that was taken for the service's, or has raised SIGSTOP as expected.
    taken: Option<Moment>,
    /// Until when, in time since boot, the process that was taken is not believed to stay.
    unstable_until: Option<Duration>,
    /// Why the last start failed of a service that goes into the background.
    astray: Option<BackgroundFailure>,
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
    /// How the life has ended that the `finish` that runs is about.
    life_end: Option<LifeEnd>,
    /// What comes after the `finish` or `stop` that runs.
    verdict: Verdict,
    /// Why the service has failed, or will have failed after the `finish` that runs.
    failure: Option<Failure>,
    /// When `run` was last started, from which the pause to the next start counts.
    started: Moment,
    starts: u64,
    /// How often `run` has ended, by reason.
    ends: Ends,
    /// The logger waits for something to read, and supervise has said so.
    starved: bool,
    /// How many runs in a row were short.
    short_runs: u32,
    deaths: Vec<Death>,
    /// When `run` died, in time since boot, as far back as the restart limit looks.
    recent_deaths: Vec<Duration>,
}

impl Machine {
    /// A service at rest. Nothing but what is wanted of it is known.
    pub fn new(policy: Policy, want: Want, now: Moment) -> Machine {
        Machine {
            policy,
            want,
            foretold: None,
            stage: Stage::Idle(IdleReason::Stopped),
            since: now,
            ready: None,
            paused: false,
            beside: None,
            progress: LifeProgress::default(),
            hold: None,
            ending: None,
            taken: None,
            unstable_until: None,
            astray: None,
            gated: false,
            kill_at: None,
            ready_by: None,
            alive_by: None,
            again: false,
            to_group: false,
            leaving: false,
            start_done: false,
            life_end: None,
            verdict: Verdict::AsWanted,
            failure: None,
            started: now,
            starts: 0,
            ends: Ends::default(),
            starved: false,
            short_runs: 0,
            deaths: Vec::new(),
            recent_deaths: Vec::new(),
        }
    }

    /// Takes in what happened at `now`; adds to `todo` what is to be done.
    pub fn step(&mut self, now: Moment, event: Event, todo: &mut Vec<Action>) {
        match event {
            Event::StartNothing => self.leaving = true,
            Event::Begun => self.begin(now, todo),
            Event::Told(command) => self.told(now, command, todo),
            Event::Restart => self.restart(now, todo),
            Event::RestartFollows(want) => self.foretold = Some(want).filter(|_| !self.leaving),
            Event::Configured(policy) => self.configured(now, *policy, todo),
            Event::Launched => self.launched(now, todo),
            Event::NotLaunched => self.not_launched(now, todo),
            Event::Executed => self.executed(now, todo),
            Event::Ended(exit) => self.ended(now, exit, todo),
            // What runs beside `run` shows that `run` has begun.
            Event::NeverBegan if self.beside.is_some() => self.ended(now, Exit::Unknown, todo),
            Event::NeverBegan => self.never_began(todo),
            Event::Stopped => self.stopped(now, todo),
            Event::Searched(outcome) => self.searched(now, outcome, todo),
            Event::BesideLaunched => self.beside_launched(now, todo),
            Event::BesideNotLaunched => self.beside_not_launched(now, todo),
            Event::BesideExecuted => self.beside_executed(todo),
            // A supervise was killed before it had seen the process pass its gate, and it is not known how the process ended.
            Event::BesideEnded(Exit::Unknown) if self.beside.is_some_and(|beside| beside.gated) => {
                self.beside_never_began(now, todo)
            }
            Event::BesideEnded(exit) => self.beside_ended(now, exit, todo),
            Event::BesideNeverBegan => self.beside_never_began(now, todo),
            Event::Ready => self.became_ready(now, todo),
            Event::Stopping => self.says_it_stops(todo),
            Event::Alive => self.says_it_lives(now),
            Event::NotifySocketFailed => self.notify_socket_failed(),
            Event::NotifySocketWorks => self.notify_socket_works(now),
            Event::Changed => todo.push(Action::Publish),
            Event::Frozen(lost) => self.was_frozen(lost, todo),
            Event::Starved => self.starve(now, todo),
            Event::Held => self.was_held(todo),
            Event::NotHeld => self.was_not_held(now, todo),
            Event::HolderGone => self.holder_left(now),
            Event::Woken => self.woken(now, todo),
        }
    }

    /// When [`Event::Woken`] is due at the latest, in time since boot; `None` if only another event can change
    /// anything.
    pub fn deadline(&self) -> Option<Duration> {
        let own = match self.stage {
            Stage::Waiting(pause) => Some(pause.until.uptime),
            Stage::Alive(_) | Stage::Active | Stage::Looking(_) | Stage::Outlived => {
                self.deadlines().map(|deadline| deadline.at.uptime).chain(self.unstable_until).min()
            }
            Stage::Idle(_) | Stage::Preparing | Stage::Launching(_) => None,
        };
        own.into_iter().chain(self.hold_deadline()).min()
    }

    /// Whether the process has a time within which it must do something.
    pub fn is_timing(&self) -> bool {
        match self.stage {
            Stage::Alive(_) | Stage::Active | Stage::Looking(_) | Stage::Outlived => self.deadlines().next().is_some(),
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) => false,
        }
    }

    /// The times by which the process, or the one beside it, must have done something.
    fn deadlines(&self) -> impl Iterator<Item = Deadline> {
        let beside = self.beside.and_then(|beside| beside.kill_at);
        [self.kill_at, self.ready_by, self.alive_by, beside].into_iter().flatten()
    }

    /// Whether nothing runs, and it is time to start `run`.
    pub fn is_due(&self, now: Moment) -> bool {
        match self.stage {
            Stage::Waiting(pause) => pause.until.uptime <= now.uptime,
            Stage::Idle(_) | Stage::Preparing | Stage::Launching(_) => false,
            Stage::Alive(_) | Stage::Active | Stage::Looking(_) | Stage::Outlived => false,
        }
    }

    /// Whether the process that runs is known to be ready.
    pub fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// Whether the end of the process that runs is expected: it was told to end, or has said that it is about to end.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// For how long the process has run that runs now.
    pub fn lived(&self, now: Moment) -> Duration {
        now.uptime.saturating_sub(self.since.uptime)
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
        let shows_ended = matches!(self.stage, Stage::Waiting(Pause { shows_ended: true, .. }));
        shows_ended.then_some(self.started.label)
    }

    /// Whether `d` has come, and another one would end a program that takes too long.
    pub fn would_end_a_program(&self) -> bool {
        let is_other = match self.stage {
            Stage::Alive(Role::PreStart) => true,
            Stage::Alive(Role::Run) | Stage::Active | Stage::Looking(_) | Stage::Outlived => self.beside.is_some(),
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) | Stage::Alive(_) => false,
        };
        is_other && self.want == Want::Down
    }

    /// Whether nothing runs, and nothing is started until a command comes.
    pub fn is_at_rest(&self) -> bool {
        matches!(self.stage, Stage::Idle(_))
    }

    /// How the life has ended that the `finish` that runs, or is about to, is about.
    pub fn life_end(&self) -> Option<LifeEnd> {
        self.life_end
    }

    fn begin(&mut self, now: Moment, todo: &mut Vec<Action>) {
        todo.push(Action::Announce('s'));
        self.continue_stopped(todo);
        match self.stage {
            Stage::Idle(_) | Stage::Waiting(_) if self.leaving => self.exit_when_down(now, todo),
            Stage::Idle(IdleReason::Stopped) if self.want == Want::Up => self.prepare(todo),
            Stage::Alive(Role::Run) if self.awaits_beside() => self.next_or_publish(now, todo),
            Stage::Active => self.go_on(now, todo),
            Stage::Looking(_) => todo.extend([Action::Publish, Action::Look]),
            Stage::Idle(_)
            | Stage::Waiting(_)
            | Stage::Preparing
            | Stage::Launching(_)
            | Stage::Alive(_)
            | Stage::Outlived => todo.push(Action::Publish),
        }
    }

    /// Whether a program was to run beside `run` when the supervise before this one was killed, and had not begun.
    fn awaits_beside(&self) -> bool {
        let has_any = self.policy.has_pre_stop || self.policy.has_post_start || self.policy.has_reload;
        (has_any && self.is_to_stop()) || (!self.leaving && (self.progress.post_start || self.progress.reload))
    }

    fn told(&mut self, now: Moment, command: Command, todo: &mut Vec<Action>) {
        match command {
            Command::Up => self.want_up(now, Want::Up, todo),
            Command::Once => self.want_up(now, Want::Once, todo),
            Command::Down => self.want_down(now, todo),
            Command::Exit => self.exit_when_down(now, todo),
            Command::Pause => self.pause(todo),
            Command::Continue => self.continue_process(now, todo),
            Command::Hangup => self.send(Signal::SIGHUP, todo),
            Command::Alarm => self.send(Signal::SIGALRM, todo),
            Command::Interrupt => self.send(Signal::SIGINT, todo),
            Command::Terminate => self.send(Signal::SIGTERM, todo),
            Command::Kill => {
                self.send(Signal::SIGKILL, todo);
                self.killed_though_held(now, todo);
            }
            Command::LetGo => self.let_go(now, todo),
            Command::Quit => self.send(Signal::SIGQUIT, todo),
            Command::User1 => self.send(Signal::SIGUSR1, todo),
            Command::User2 => self.send(Signal::SIGUSR2, todo),
            Command::Window => self.send(Signal::SIGWINCH, todo),
            Command::Reload => self.reload(now, todo),
            Command::ToGroup => self.set_target(true, todo),
            Command::ToProcess => self.set_target(false, todo),
            // These two choose the machine that obeys the next command. The caller has done that.
            Command::ForService | Command::ForLogger => {}
        }
    }

    fn want_up(&mut self, now: Moment, want: Want, todo: &mut Vec<Action>) {
        // A supervise that was told `dx` ends: no later command cancels the stop, as svscan waits for its end.
        self.progress.restart |= self.leaving && self.is_up_or_active() && self.is_to_stop();
        (self.want, self.foretold) = (want, None);
        todo.push(Action::Publish);
        self.wants_up_though_held(now, todo);
        match self.stage {
            // The restart limit counts from zero again. Also who does not wait for the end of a pause expects that the next
            // `run` does better.
            Stage::Idle(_) | Stage::Waiting(_) => {
                self.forgive_deaths();
                self.prepare(todo);
            }
            // It fails, whatever `run` does. It starts once more after that.
            Stage::Alive(Role::Run) | Stage::Active | Stage::Looking(_) if self.is_condemned() => self.again = true,
            // A process that was told to end will end or be killed. Only then can the service be started again.
            Stage::Alive(Role::Start | Role::PreStart | Role::Run) | Stage::Preparing | Stage::Launching(_) => {}
            Stage::Active => {}
            // `run` has ended. However it has, also if the service fails or has done its work, this command comes later.
            Stage::Looking(_) if self.is_ending_search() => self.again = true,
            Stage::Looking(_) => {}
            Stage::Outlived | Stage::Alive(Role::Finish | Role::Stop) => self.again = true,
        }
    }

    fn want_down(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let is_told_again = replace(&mut self.want, Want::Down) == Want::Down;
        self.again = false;
        if self.hold.is_some() {
            return self.wants_down_though_held(now, is_told_again, todo);
        }
        match self.stage {
            Stage::Alive(Role::PreStart) if is_told_again => {
                self.kill_by(now, Some(KILL_OVERDUE));
                self.end(now, Ending::Told, Signal::SIGTERM, todo);
            }
            Stage::Alive(Role::PreStart) => todo.push(Action::Publish),
            Stage::Looking(_) => {
                if is_told_again {
                    self.end_beside(now, todo);
                }
                if self.runs_pre_stop() { todo.push(Action::Publish) } else { self.stop_search(todo) }
            }
            Stage::Alive(Role::Run) | Stage::Active | Stage::Outlived if self.beside.is_some() => {
                let is_reload = self.beside.is_some_and(|beside| beside.which == Beside::Reload);
                if is_told_again || is_reload { self.end_beside(now, todo) } else { todo.push(Action::Publish) }
            }
            Stage::Active => self.go_on(now, todo),
            Stage::Outlived => todo.push(Action::Publish),
            Stage::Alive(Role::Run) if self.policy.has_pre_stop && self.ending.is_none() => {
                if replace(&mut self.paused, false) {
                    // `pre-stop` may have to talk to it.
                    todo.push(Action::SendScope(Signal::SIGCONT));
                }
                todo.push(Action::Publish);
                self.next_beside(now, todo);
            }
            Stage::Alive(Role::Start) => self.end(now, Ending::Told, self.policy.down_signal, todo),
            Stage::Alive(Role::Run) => self.stop_run(now, todo),
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
        self.kill_by(now, self.policy.kill_after);
        todo.push(Action::Publish);
    }

    /// Has the process killed after this time, unless it is to be killed earlier.
    fn kill_by(&mut self, now: Moment, wait: Option<Duration>) {
        self.kill_at = earlier(self.kill_at, wait.map(|wait| Deadline::new(now, wait)));
    }

    fn exit_when_down(&mut self, now: Moment, todo: &mut Vec<Action>) {
        self.leaving = true;
        if self.hold.is_some() {
            return self.let_go(now, todo);
        }
        match self.stage {
            Stage::Idle(_) => todo.extend([Action::Publish, Action::Announce('x'), Action::Leave]),
            Stage::Waiting(_) => self.wind_down(Verdict::AsWanted, todo),
            Stage::Preparing
            | Stage::Launching(_)
            | Stage::Alive(_)
            | Stage::Active
            | Stage::Looking(_)
            | Stage::Outlived => {
                todo.push(Action::Publish);
            }
        }
    }

    fn pause(&mut self, todo: &mut Vec<Action>) {
        match self.stage {
            Stage::Alive(Role::PreStart) => {}
            Stage::Alive(_) => {
                self.paused = true;
                // A paused process cannot do anything in time.
                (self.ready_by, self.alive_by) = (None, None);
                todo.push(Action::Publish);
                self.send(Signal::SIGSTOP, todo);
            }
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) => {}
            Stage::Active | Stage::Looking(_) | Stage::Outlived => {}
        }
    }

    fn continue_process(&mut self, now: Moment, todo: &mut Vec<Action>) {
        match self.stage {
            Stage::Alive(Role::PreStart) => {}
            Stage::Alive(role) => {
                if self.paused && role == Role::Run && self.ending.is_none() {
                    self.expect(now);
                }
                self.paused = false;
                todo.push(Action::Publish);
                self.send(Signal::SIGCONT, todo);
            }
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) => {}
            Stage::Active | Stage::Looking(_) | Stage::Outlived => {}
        }
    }

    fn send(&mut self, signal: Signal, todo: &mut Vec<Action>) {
        if signal == Signal::SIGKILL {
            // A state has no process that would end by it.
            self.progress.killed |= self.stage != Stage::Active;
            todo.extend(self.beside.map(|_| Action::SendBeside(signal)));
        }
        match self.stage {
            Stage::Alive(Role::PreStart) if signal != Signal::SIGKILL => {}
            Stage::Alive(_) if self.to_group => todo.push(Action::SendGroup(signal)),
            Stage::Alive(_) => todo.push(Action::Send(signal)),
            Stage::Looking(_) if signal == Signal::SIGKILL => self.kill_search(todo),
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Launching(_) => {}
            Stage::Active | Stage::Looking(_) | Stage::Outlived => {}
        }
    }

    /// Has `run` load its configuration again. In other states there is nothing to do: a `run` that starts loads it anyway.
    fn reload(&mut self, now: Moment, todo: &mut Vec<Action>) {
        if !self.is_up_or_active() {
            return;
        }
        if !self.policy.has_reload {
            return self.send(Signal::SIGHUP, todo);
        }
        self.progress.reload = true;
        todo.push(Action::Publish);
        self.next_beside(now, todo);
    }

    fn set_target(&mut self, to_group: bool, todo: &mut Vec<Action>) {
        self.to_group = to_group;
        todo.push(Action::Publish);
    }

    fn prepare(&mut self, todo: &mut Vec<Action>) {
        (self.stage, self.again) = (Stage::Preparing, false);
        (self.failure, self.starved) = (None, false);
        self.progress = LifeProgress::default();
        // A logger that was told to exit is started for the last lines of its service.
        if self.leaving { todo.push(Action::Configure) } else { self.ask_holder(Held::Starting, todo) }
    }

    fn configured(&mut self, now: Moment, policy: Policy, todo: &mut Vec<Action>) {
        self.policy = policy;
        match self.stage {
            Stage::Preparing if self.policy.has_start && !self.start_done => self.launch(Role::Start, todo),
            Stage::Preparing => self.begin_life(now, todo),
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Launching(_) | Stage::Alive(_) => {}
            Stage::Active | Stage::Looking(_) | Stage::Outlived => {}
        }
    }

    fn begin_life(&mut self, now: Moment, todo: &mut Vec<Action>) {
        if self.policy.has_pre_start { self.launch(Role::PreStart, todo) } else { self.begin_run(now, todo) }
    }

    /// Starts `run`, or makes a state active, now that the programs that come before it have ended.
    fn begin_run(&mut self, now: Moment, todo: &mut Vec<Action>) {
        if self.policy.is_state { self.become_active(now, todo) } else { self.launch(Role::Run, todo) }
    }

    fn launch(&mut self, role: Role, todo: &mut Vec<Action>) {
        self.stage = Stage::Launching(role);
        todo.push(Action::Launch(role));
    }

    fn launched(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let Stage::Launching(role) = self.stage else { return };
        self.stage = Stage::Alive(role);
        self.since = now;
        self.forget_process();
        self.kill_by(now, self.policy.timeouts.of(role));
        match role {
            Role::Start | Role::Finish | Role::Stop => {}
            Role::PreStart => self.start_done = true,
            Role::Run => {
                self.starts += 1;
                self.started = now;
                self.start_done = true;
                self.gated = true;
                self.progress = LifeProgress::default();
                self.astray = self.astray.filter(|_| self.policy.goes_into_background());
                self.expect(now);
            }
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
        (self.taken, self.unstable_until) = (None, None);
    }

    /// The system had no process for a program. `run`, and the programs that come before it, are tried again later.
    /// `finish` and `stop`, which only follow a `run`, are left out.
    fn not_launched(&mut self, now: Moment, todo: &mut Vec<Action>) {
        match self.stage {
            Stage::Launching(Role::Start | Role::PreStart | Role::Run) => {
                self.stage = Stage::Waiting(Pause::until(now.after(RETRY_FORK)));
                todo.push(Action::Publish);
            }
            Stage::Launching(Role::Finish) => self.finished(now, self.verdict, todo),
            Stage::Launching(Role::Stop) => self.rest(self.rest_after(self.verdict), todo),
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Preparing | Stage::Alive(_) => {}
            Stage::Active | Stage::Looking(_) | Stage::Outlived => {}
        }
    }

    fn ended(&mut self, now: Moment, exit: Exit, todo: &mut Vec<Action>) {
        let Stage::Alive(role) = self.stage else { return };
        if let Some(purpose) = self.purpose_after(exit).filter(|_| role == Role::Run) {
            return self.look_for(now, Search { purpose, exit }, todo);
        }
        let ending = if role == Role::Run { self.ending_of_run() } else { self.ending };
        self.since = now;
        self.forget_process();
        match role {
            Role::Start => self.start_ended(now, exit, ending == Some(Ending::Told), todo),
            Role::PreStart => self.pre_start_ended(now, exit, todo),
            Role::Run => self.run_ended(now, exit, ending, todo),
            Role::Finish if exit == Exit::Code(125) => {
                let verdict = self.give_up(Failure::Finish);
                self.finished(now, verdict, todo);
            }
            Role::Finish => self.finished(now, self.verdict, todo),
            Role::Stop => self.rest(self.rest_after(self.verdict), todo),
        }
    }

    /// Why `run` is expected to end. It may end after the command, but before it was told so, as `pre-stop` comes first.
    fn ending_of_run(&self) -> Option<Ending> {
        if self.is_to_stop() { Some(Ending::Told) } else { self.ending }
    }

    /// `run`, or the process that was taken for the service's, has ended, and with it the life of the service.
    fn run_ended(&mut self, now: Moment, exit: Exit, ending: Option<Ending>, todo: &mut Vec<Action>) {
        todo.push(Action::Announce('d'));
        let (told_to_end, is_condemned) = (ending == Some(Ending::Told), self.is_condemned());
        let is_told = told_to_end && !is_condemned;
        self.ends.count(EndReason::of(exit, is_told, ending == Some(Ending::Overdue)));
        let verdict = self.record_death(now, exit, told_to_end);
        self.verdict = if is_condemned { Verdict::GiveUp } else { verdict };
        let end = LifeEnd { role: Role::Run, exit, is_told, has_pre_stop: self.progress.pre_stopped };
        if self.beside.is_some() {
            (self.stage, self.life_end) = (Stage::Outlived, Some(end));
            todo.push(Action::Publish);
        } else {
            self.end_life(now, end, todo);
        }
    }

    /// The process that an earlier supervise had made was never let through its gate. Its program is started now, if it
    /// is still to run.
    fn never_began(&mut self, todo: &mut Vec<Action>) {
        let Stage::Alive(role) = self.stage else { return };
        self.forget_process();
        let wanted = self.is_wanted();
        match role {
            Role::Run => {
                self.starts = self.starts.saturating_sub(1);
                if wanted { self.prepare(todo) } else { self.wind_down(Verdict::AsWanted, todo) }
            }
            Role::Start | Role::PreStart if wanted => self.prepare(todo),
            Role::Start => self.rest(IdleReason::Stopped, todo),
            Role::PreStart => self.wind_down(Verdict::AsWanted, todo),
            Role::Finish => self.launch(Role::Finish, todo),
            Role::Stop => self.launch(Role::Stop, todo),
        }
    }

    fn start_ended(&mut self, now: Moment, exit: Exit, told_to_end: bool, todo: &mut Vec<Action>) {
        match exit {
            Exit::Code(0) if self.want == Want::Down || self.leaving => {
                self.start_done = true;
                self.wind_down(Verdict::AsWanted, todo);
            }
            Exit::Code(0) => {
                self.start_done = true;
                self.begin_life(now, todo);
            }
            Exit::Code(_) | Exit::Signal(_) | Exit::Core(_) | Exit::Unstarted(_) if !told_to_end => {
                self.failure = Some(Failure::Start(exit));
                self.rest(IdleReason::Failed, todo);
            }
            // A `start` that was told to end has not failed, and the service may have been told up since. Of a `start`
            // whose end was not seen it is not known whether it did its work, so that it is run once more.
            Exit::Unknown | Exit::Code(_) | Exit::Signal(_) | Exit::Core(_) | Exit::Unstarted(_) => {
                if self.want == Want::Down || self.leaving {
                    self.rest(IdleReason::Stopped, todo)
                } else {
                    self.prepare(todo)
                }
            }
        }
    }

    /// Handles the end of `pre-start`. If it has failed, `run` does not start. If the service is wanted down by now,
    /// that is what was wanted; otherwise the service has failed.
    fn pre_start_ended(&mut self, now: Moment, exit: Exit, todo: &mut Vec<Action>) {
        let wanted = self.is_wanted();
        match exit {
            Exit::Code(0) if wanted => return self.begin_run(now, todo),
            // Of a `pre-start` whose end was not seen it is not known whether it did its work, so that it is run once more.
            Exit::Unknown if wanted => return self.prepare(todo),
            Exit::Code(_) | Exit::Signal(_) | Exit::Core(_) | Exit::Unstarted(_) if wanted => {
                self.verdict = self.give_up(Failure::PreStart(exit));
            }
            Exit::Unknown | Exit::Code(_) | Exit::Signal(_) | Exit::Core(_) | Exit::Unstarted(_) => {
                self.verdict = Verdict::AsWanted;
            }
        }
        let end = LifeEnd { role: Role::PreStart, exit, is_told: !wanted, has_pre_stop: false };
        self.end_life(now, end, todo);
    }

    fn is_wanted(&self) -> bool {
        self.want != Want::Down && !self.leaving
    }

    /// The last program of a life has ended: `finish` comes next, if there is one.
    fn end_life(&mut self, now: Moment, end: LifeEnd, todo: &mut Vec<Action>) {
        self.life_end = Some(end);
        if self.hold.is_some() {
            self.stage = Stage::Outlived;
            todo.push(Action::Publish);
        } else if self.may_hold_end() {
            self.stage = Stage::Outlived;
            self.ask_holder(Held::Stopping, todo);
        } else if self.policy.has_finish {
            self.launch(Role::Finish, todo);
        } else {
            self.finished(now, self.verdict, todo);
        }
    }

    /// Decides what comes next, now that a life and its `finish` are over.
    fn finished(&mut self, now: Moment, verdict: Verdict, todo: &mut Vec<Action>) {
        self.life_end = None;
        todo.extend([Action::KillRest, Action::Announce('D')]);
        let stay_down = verdict != Verdict::AsWanted || self.want != Want::Up || self.leaving;
        if stay_down {
            return self.wind_down(verdict, todo);
        }
        let at = self.started.after(self.policy.restart.pause(self.short_runs));
        if at.uptime <= now.uptime {
            self.prepare(todo);
        } else {
            let shows_ended = self.policy.pauses_as_the_original();
            self.stage = Stage::Waiting(Pause { until: at, shows_ended });
            todo.push(Action::Publish);
        }
    }

    /// Goes from the last `run` to rest: through `stop`, if there is one and `start` has succeeded.
    fn wind_down(&mut self, verdict: Verdict, todo: &mut Vec<Action>) {
        (self.verdict, self.hold) = (verdict, None);
        if self.policy.has_stop && self.start_done {
            self.launch(Role::Stop, todo);
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

    /// Comes to rest, unless a command has come that starts the service again.
    fn rest(&mut self, rest: IdleReason, todo: &mut Vec<Action>) {
        let (again, verdict) = (self.again, self.verdict);
        (self.start_done, self.again, self.verdict) = (false, false, Verdict::AsWanted);
        self.stage = Stage::Idle(rest);
        if again && !self.leaving {
            self.forgive_deaths();
            return self.prepare(todo);
        }
        match rest {
            IdleReason::Failed if self.leaving => todo.push(Action::Announce('O')),
            IdleReason::Failed => todo.extend([Action::ReportGivenUp, Action::Announce('O')]),
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

    fn woken(&mut self, now: Moment, todo: &mut Vec<Action>) {
        self.stage_woken(now, todo);
        self.hold_woken(now, todo);
    }

    fn stage_woken(&mut self, now: Moment, todo: &mut Vec<Action>) {
        self.beside_woken(now, todo);
        self.become_stable(now, todo);
        let passed = |deadline: Option<Deadline>| deadline.is_some_and(|deadline| deadline.has_passed(now));
        match self.stage {
            Stage::Waiting(pause) if pause.until.uptime <= now.uptime => self.prepare(todo),
            Stage::Alive(role) if passed(self.kill_at) => {
                self.kill_at = None;
                let after_start = self.policy.timeouts.of(role).filter(|_| self.ending.is_none());
                let missed = match after_start {
                    Some(within) => Some(MissedDeadline::ProgramStillRuns(role, within)),
                    None => self.policy.kill_after.map(MissedDeadline::StillRuns),
                };
                todo.extend(missed.map(Action::ReportMissedDeadline));
                todo.push(Action::SendScope(Signal::SIGKILL));
            }
            Stage::Alive(_) if passed(self.alive_by) => {
                todo.extend(
                    self.policy.watchdog.map(|within| Action::ReportMissedDeadline(MissedDeadline::Silent(within))),
                );
                self.overdue(now, Signal::SIGABRT, todo);
            }
            Stage::Alive(_) if passed(self.ready_by) => {
                todo.extend(
                    self.policy
                        .start_limit()
                        .map(|within| Action::ReportMissedDeadline(MissedDeadline::NotReady(within))),
                );
                self.overdue(now, self.policy.down_signal, todo);
            }
            Stage::Looking(_) => self.search_woken(now, todo),
            Stage::Idle(_)
            | Stage::Waiting(_)
            | Stage::Preparing
            | Stage::Launching(_)
            | Stage::Alive(_)
            | Stage::Active
            | Stage::Outlived => {}
        }
    }

    /// Does not start a logger that would find the end of its input and nothing to read: it would end at once, and
    /// again a second later. supervise looks again each second, as the service may come back.
    fn starve(&mut self, now: Moment, todo: &mut Vec<Action>) {
        if !self.is_due(now) {
            return;
        }
        self.stage = Stage::Waiting(Pause::until(now.after(STARVED)));
        if !replace(&mut self.starved, true) {
            todo.extend([Action::ReportStarved, Action::Publish]);
        }
    }
}

/// The earlier of two deadlines; `None` if there is neither.
fn earlier(one: Option<Deadline>, other: Option<Deadline>) -> Option<Deadline> {
    one.into_iter().chain(other).min_by_key(|deadline| deadline.at.uptime)
}

#[cfg(test)]
mod tests;
