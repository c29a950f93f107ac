//! What a supervise knows of its service beyond the status bytes. Users read it, and so does the supervise that comes
//! after a killed one. It is kept in `supervise/state`, in the form that [`text`] describes.

mod text;

use super::exit::{not_executed, signal_name};
use super::{Directory, Ends, Exit, Phase, Process, Want};
use crate::sys::boot::Boot;
use crate::tai64::{Moment, Tai64N};
use nix::unistd::Pid;
use std::time::Duration;

/// Which of the service's programs a process executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `start`, once before the first `run`.
    Start,
    /// `pre-start`, before each `run`.
    PreStart,
    /// `run`, the service itself.
    Run,
    /// `finish`, after each `run`.
    Finish,
    /// `stop`, once after the last `run`.
    Stop,
}

impl Role {
    const ALL: [Role; 5] = [Role::Start, Role::PreStart, Role::Run, Role::Finish, Role::Stop];

    /// The role of the program with this file name.
    pub fn of_program(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.program() == name)
    }

    /// The program's file name in the service directory.
    pub fn program(self) -> &'static str {
        match self {
            Role::Start => "start",
            Role::PreStart => "pre-start",
            Role::Run => "run",
            Role::Finish => "finish",
            Role::Stop => "stop",
        }
    }
}

/// Which of the programs that run beside `run` a process executes. Only one of them runs at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// `post-start`, once `run` runs. The service is ready when it has ended.
    PostStart,
    /// `pre-stop`, before `run` is told to end.
    PreStop,
    /// `reload`, when the service is told to load its configuration again.
    Reload,
}

impl Beside {
    const ALL: [Beside; 3] = [Beside::PostStart, Beside::PreStop, Beside::Reload];

    /// The role of the program with this file name.
    pub fn of_program(name: &str) -> Option<Beside> {
        Beside::ALL.into_iter().find(|beside| beside.program() == name)
    }

    /// The program's file name in the service directory.
    pub fn program(self) -> &'static str {
        match self {
            Beside::PostStart => "post-start",
            Beside::PreStop => "pre-stop",
            Beside::Reload => "reload",
        }
    }
}

/// A `run` that ends within this time after its start counts as having ended at once.
pub const SOON: Duration = Duration::from_secs(5);

/// What the exit code of `run` or `finish` means for what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// supervise goes on as wanted.
    AsWanted,
    /// The service has done its work and is not restarted.
    Done,
    /// The service cannot work and is not restarted.
    GiveUp,
}

/// Why a service failed, so that only a command starts it again. As text: `restart-limit`, `run`, `finish`, `start
/// EXIT`, `pre-start EXIT`, `post-start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// `run` has ended as often as `restart-limit` allows.
    RestartLimit,
    /// `run` exited with code 100.
    Run,
    /// `finish` exited with code 125.
    Finish,
    /// `start` failed, with this exit.
    Start(Exit),
    /// `pre-start` failed, with this exit.
    PreStart(Exit),
    /// `post-start` exited with code 125.
    PostStart,
}

/// Why a process is expected to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// supervise told it to end. Its exit is no failure.
    Told,
    /// The service itself announced it.
    OfItself,
    /// It was not ready in time, or its watchdog expired.
    Overdue,
}

/// A transition of a service that another program may hold back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The start of a life: none of its programs has run yet.
    Starting,
    /// The end of a life: `run` is to be told to end, or has ended by itself, and `finish` comes next.
    Stopping,
}

/// One exit of `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// When `run` was started.
    pub started: Tai64N,
    /// When `run` ended.
    pub ended: Tai64N,
    /// How `run` ended.
    pub exit: Exit,
    /// Whether this death counts as a failed attempt, for `restart-limit` and for all who ask whether the service ends again
    /// and again. Deaths before a command that gives the service all its attempts again do not count, nor does `restart-limit`
    /// count a `run` that was told to end.
    pub counts: bool,
    /// Whether `run` was told to end.
    pub is_told: bool,
}

/// Which programs are still to run beside a `run`, and which have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LifeProgress {
    /// The service is up by its own word, or runs: `post-start` runs or is still to run, and then the service is ready.
    pub post_start: bool,
    /// `pre-stop` has run, so that `run` is told to end.
    pub pre_stopped: bool,
    /// The service was told to load its configuration again: `reload` is still to run.
    pub reload: bool,
    /// The service is restarted: `run` is to end though the service is wanted up.
    pub restart: bool,
    /// The end of this life may go on: no program holds it back, or it was let go.
    pub let_go: bool,
    /// `run` was sent KILL: nothing more is started beside it.
    pub killed: bool,
}

/// What supervise looks for where the first process of a service that goes into the background has ended, or the process
/// that it took for the service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchGoal {
    /// The process that is to be the service's, which may not be known at once.
    Start,
    /// The process that has taken the place of the one that has ended. It has written its number into the pid file by now.
    Successor,
    /// All that was left, which is told to end.
    End,
}

/// A search for processes that `run` has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Search {
    /// What supervise looks for.
    pub purpose: SearchGoal,
    /// How the process ended that has left these processes. This is how the life ends if supervise finds none of them.
    pub exit: Exit,
}

/// How supervise knows that a `run` goes into the background that is to stay in the foreground.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InBackground {
    /// The last `run` has ended well at once, and has left processes.
    Noticed,
    /// One `run` has ended well at once, and those after it fail at once: the first may have left a process that holds
    /// what they need.
    Presumed,
}

/// Why a service that goes into the background could not be started the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackgroundFailure {
    /// Its first process ended well and left no process.
    Nothing,
    /// Several processes were left, and no pid file says which of them is the service's.
    Several,
    /// The pid file named none of the processes that were left.
    PidFile,
}

/// How a life of the service has ended. `finish` is told this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LifeEnd {
    /// The last program of the life.
    pub role: Role,
    /// How it ended.
    pub exit: Exit,
    /// Whether the service was told to go down, so that the end was not of itself.
    pub is_told: bool,
    /// Whether `pre-stop` has run.
    pub has_pre_stop: bool,
}

/// What `supervise/status` still shows of a `run` that has ended.
///
/// daemontools' supervise sleeps for a second after each start. A `run` that dies in that second stays "up" for readers
/// of the status until the second is over and the next `run` has started. Users rely on this: a script that asks
/// whether such a service is "up", in order to take it down, must find it up. Our supervise learns of the death at
/// once, but leaves the status bytes unchanged for the rest of the second. It also waits for the process only then, so
/// that no other process can get its number meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The process that has ended.
    pub pid: Pid,
    /// When the process was started.
    pub since: Tai64N,
}

/// The contents of `supervise/state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The supervise that wrote this record.
    pub supervise: Process,
    /// The boot in which it was written.
    pub boot: Boot,
    /// The service directory, if it is known.
    pub directory: Option<Directory>,
    /// How many changes of this record its writer has made. It is kept once for the service and its logger.
    pub change: u64,
    /// What the service was told to achieve.
    pub want: Want,
    /// The phase of the service's life.
    pub phase: Phase,
    /// Whether the service is up without a process, as a state is.
    pub active: bool,
    /// The process of the service, if there is one.
    pub process: Option<(Role, Process)>,
    /// The process of the program that runs beside `run`, or that has outlived it, if there is one.
    pub beside: Option<(Beside, Process)>,
    /// Whether that process was not seen to become its program yet.
    pub beside_gated: bool,
    /// When supervise kills that process if it has not ended by then.
    pub beside_kill_at: Option<Moment>,
    /// Which programs are still to run beside this `run`, and which have.
    pub progress: LifeProgress,
    /// When the service's process last changed.
    pub since: Moment,
    /// Since when the service is ready, if it is.
    pub ready: Option<Moment>,
    /// The transition that another program holds back.
    pub held: Option<Held>,
    /// Whether the service was told to pause.
    pub paused: bool,
    /// Why the process is expected to end, if it is.
    pub ending: Option<Ending>,
    /// When supervise kills the process if it has not ended by then.
    pub kill_at: Option<Moment>,
    /// Whether signals go to the process group.
    pub to_group: bool,
    /// Whether supervise exits as soon as the service is down.
    pub leaving: bool,
    /// Whether the process has not yet been seen to execute `run`.
    pub gated: bool,
    /// Whether `start` has succeeded, so that `stop` must run later.
    pub begun: bool,
    /// Whether a command to start came while `finish` or `stop` ran.
    pub again: bool,
    /// How the life has ended that the `finish` that runs now is about.
    pub life_end: Option<LifeEnd>,
    /// How supervise knows that `run`, contrary to its settings, goes into the background, if it does.
    pub in_background: Option<InBackground>,
    /// Since when the process is the one that was taken for the service's: `run` has gone into the background, or has
    /// raised SIGSTOP as was expected.
    pub taken: Option<Moment>,
    /// Whether the process that was taken has not lived long enough yet to be believed to stay.
    pub unstable: bool,
    /// The search for processes that `run` has left in the background.
    pub search: Option<Search>,
    /// Why the last attempt to start the service, which goes into the background, failed.
    pub astray: Option<BackgroundFailure>,
    /// What comes after the `finish` or `stop` that runs now.
    pub verdict: Verdict,
    /// The `run` that has ended and that `supervise/status` still shows.
    pub shown: Option<Shown>,
    /// Why the service failed, if it did.
    pub failure: Option<Failure>,
    /// The last `run`. Its process group has the same number, if it led one.
    pub last_run: Option<Process>,
    /// When `run` is started next, if nothing runs now.
    pub next_start: Option<Moment>,
    /// The address in NOTIFY_SOCKET, or the one at which only chain programs are heard: a name in the abstract namespace, or a
    /// path, which begins with a slash.
    pub notify_socket: Option<String>,
    /// The settings that apply to the process, each with its file and first line.
    pub settings: Vec<(String, String)>,
    /// Whether the settings were left out because the ledger's page had no room for them.
    pub settings_left_out: bool,
    /// How many short runs have followed each other.
    pub streak: u32,
    /// How often `run` was started.
    pub starts: u64,
    /// How often `run` has ended, by reason.
    pub ends: Ends,
    /// What the service last reported about itself (STATUS= of sd_notify), as one line.
    pub status_text: String,
    /// The last exits of `run`, oldest first.
    pub deaths: Vec<Death>,
    /// Why a chain program of the last `run` that has ended could not execute what comes after it, in its words.
    pub refusal: Option<String>,
    /// The inode of the pipe between the service and its logger.
    pub pipe: Option<u64>,
    /// The record of the logger that the same supervise runs, if it runs one.
    pub logger: Option<Box<Record>>,
}

impl Record {
    /// A record of a service that is down and was never started.
    pub fn blank() -> Record {
        Record {
            supervise: Process::NONE,
            boot: Boot::default(),
            directory: None,
            change: 0,
            want: Want::Down,
            phase: Phase::Stopped,
            active: false,
            process: None,
            beside: None,
            beside_gated: false,
            beside_kill_at: None,
            progress: LifeProgress::default(),
            since: Moment::ZERO,
            ready: None,
            held: None,
            paused: false,
            ending: None,
            kill_at: None,
            to_group: false,
            leaving: false,
            gated: false,
            begun: false,
            again: false,
            life_end: None,
            in_background: None,
            taken: None,
            unstable: false,
            search: None,
            astray: None,
            verdict: Verdict::AsWanted,
            shown: None,
            failure: None,
            last_run: None,
            next_start: None,
            notify_socket: None,
            settings: Vec::new(),
            settings_left_out: false,
            streak: 0,
            starts: 0,
            ends: Ends::default(),
            status_text: String::new(),
            deaths: Vec::new(),
            refusal: None,
            pipe: None,
            logger: None,
        }
    }

    /// All processes of the service and its logger in this record.
    pub fn processes(&self) -> impl Iterator<Item = Process> {
        let logger = self.logger.as_ref().and_then(|logger| logger.process);
        let beside = self.beside.map(|(_, process)| process);
        [self.process, logger].into_iter().flatten().map(|(_, process)| process).chain(beside)
    }

    /// Whether the supervise was told to exit, and nothing of the service ran any more: it has ended, or is about to.
    pub fn has_left(&self) -> bool {
        self.leaving && !self.active && self.held.is_none() && !self.has_any()
    }

    /// Whether a process of the service runs, or may run: one in this record, or one that is looked for.
    pub fn has_any(&self) -> bool {
        self.process.is_some() || self.beside.is_some() || self.search.is_some()
    }

    /// Whether the recorded process never executed `run`, as far as is known: it has not done so yet, or the execution
    /// failed.
    pub fn is_unexecuted(&self) -> bool {
        match (self.process, self.deaths.last().map(|death| death.exit)) {
            (Some((Role::Run, _)), _) => self.gated,
            (None, Some(Exit::Unstarted(_))) => true,
            (Some((Role::Start | Role::PreStart | Role::Finish | Role::Stop, _)), _) | (None, _) => false,
        }
    }

    /// How one of the recorded ends came about, in words for people. Of the last one, what a chain program has said counts.
    pub fn words_of(&self, death: &Death) -> String {
        let is_unstarted = matches!(death.exit, Exit::Unstarted(_));
        match self.refusal.as_deref().filter(|_| is_unstarted && self.deaths.last() == Some(death)) {
            Some(why) => not_executed(why),
            None => death.exit.words(),
        }
    }

    /// How one of the recorded ends came about, in words that tell an end that was commanded from others: `told to end
    /// (SIGTERM)`.
    pub fn end_words(&self, death: &Death) -> String {
        match death.exit {
            _ if !death.is_told => self.words_of(death),
            Exit::Signal(signal) => format!("told to end ({})", signal_name(signal)),
            Exit::Core(signal) => format!("told to end ({}, core dumped)", signal_name(signal)),
            Exit::Code(_) | Exit::Unstarted(_) | Exit::Unknown => format!("told to end ({})", self.words_of(death)),
        }
    }

    /// How the last `run` ended, in words for people, if one has ended.
    pub fn last_exit_words(&self) -> Option<String> {
        self.deaths.last().map(|death| self.words_of(death))
    }

    /// Why the service failed, in words for people: `restart-limit 3 in 5m reached, last exited 1`. `None` if it did
    /// not fail, or if the record does not say why.
    pub fn failure_words(&self) -> Option<String> {
        let last = || self.last_exit_words().map(|words| format!(", last {words}")).unwrap_or_default();
        let limit = self.settings.iter().find(|(file, _)| file == "restart-limit");
        let limit = limit.map(|(_, limit)| format!(" {limit}")).unwrap_or_default();
        Some(match self.failure? {
            Failure::RestartLimit => format!("restart-limit{limit} reached{}", last()),
            Failure::Run => "exited 100, which means not to restart it".into(),
            Failure::Finish => "finish exited 125, which means not to restart it".into(),
            Failure::Start(exit) => format!("start failed: {}", exit.words()),
            Failure::PreStart(exit) => format!("pre-start failed: {}", exit.words()),
            Failure::PostStart => "post-start exited 125, which means that the service has failed".into(),
        })
    }
}
