//! What a supervise knows of its service that does not fit into the status bytes: for those who ask, and for the supervise
//! that comes after a killed one. It is kept in `supervise/state`, as [`text`] says.

mod text;

use super::{Directory, Exit, Phase, Process, Want};
use crate::sys::boot::Boot;
use crate::tai64::{Moment, Tai64N};
use nix::unistd::Pid;
use std::time::Duration;

/// Which of the service's programs a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `start`, once before the first `run`.
    Start,
    /// `run`, the service itself.
    Run,
    /// `finish`, after each `run`.
    Finish,
    /// `stop`, once after the last `run`.
    Stop,
}

impl Role {
    const ALL: [Role; 4] = [Role::Start, Role::Run, Role::Finish, Role::Stop];

    /// The program's file name in the service directory.
    pub fn program(self) -> &'static str {
        match self {
            Role::Start => "start",
            Role::Run => "run",
            Role::Finish => "finish",
            Role::Stop => "stop",
        }
    }
}

/// A `run` that ends within this time of its start has ended at once.
pub const SOON: Duration = Duration::from_secs(5);

/// What the end of `run` or `finish` means for what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on as wanted.
    AsWanted,
    /// It has done its work: do not restart.
    Done,
    /// It cannot work: do not restart.
    GiveUp,
}

/// Why a service gave up: only a command starts it again. As text: `restart-limit`, `run`, `finish`, `start EXIT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// `run` has ended as often as `restart-limit` allows.
    RestartLimit,
    /// `run` exited with code 100.
    Run,
    /// `finish` exited with code 125.
    Finish,
    /// `start` failed, and so it ended.
    Start(Exit),
}

/// Why a process is expected to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was told to: its exit is no failure.
    Told,
    /// It said so itself.
    OfItself,
    /// It was not ready in time, or not alive.
    Overdue,
}

/// One exit of `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// When it was started.
    pub started: Tai64N,
    /// When it ended.
    pub ended: Tai64N,
    /// How it ended.
    pub exit: Exit,
    /// `restart-limit` counts it. It does not count what was told to end, nor what was before a command that lets the service
    /// have all its attempts again.
    pub counts: bool,
}

/// What `supervise/status` still shows of a `run` that has ended.
///
/// daemontools' supervise sleeps for a second after each start. A `run` that dies in that second is "up" for its readers
/// until the second is over and the next `run` is there. Their users rely on it: who asks whether a service that dies at
/// once is "up", to take it down, must find it so. Our supervise hears the death at once, keeps the bytes as they were,
/// and waits for the process only when the second is over, so that no other process can have its number meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The process that has ended.
    pub pid: Pid,
    /// When it was started.
    pub since: Tai64N,
}

/// The contents of `supervise/state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The supervise that wrote this.
    pub supervise: Process,
    /// The boot in which that was.
    pub boot: Boot,
    /// The service directory, where that is known.
    pub directory: Option<Directory>,
    /// What is to be achieved.
    pub want: Want,
    /// Where the service is in its life.
    pub phase: Phase,
    /// The process of the service, if there is one.
    pub process: Option<(Role, Process)>,
    /// Last change of the process.
    pub since: Moment,
    /// Since when it is ready, if it is.
    pub ready: Option<Moment>,
    /// It was told to pause.
    pub paused: bool,
    /// Why it is expected to end, if it is.
    pub ending: Option<Ending>,
    /// When it is killed if it has not ended by then.
    pub kill_at: Option<Moment>,
    /// Signals go to its process group.
    pub to_group: bool,
    /// supervise exits as soon as the service is down.
    pub leaving: bool,
    /// The process was not seen to become `run` yet.
    pub gated: bool,
    /// `start` has succeeded, `stop` is owed.
    pub begun: bool,
    /// It was told up while `finish` or `stop` ran.
    pub again: bool,
    /// The last `run` that has ended seems to have gone into the background.
    pub in_background: bool,
    /// What comes after the `finish` or `stop` that runs.
    pub verdict: Verdict,
    /// The `run` that has ended and that `supervise/status` still shows.
    pub shown: Option<Shown>,
    /// Why it gave up, if it did.
    pub failure: Option<Failure>,
    /// The last `run`, whose number its process group has, where it led one.
    pub last_run: Option<Process>,
    /// When `run` is started next, where nothing runs but something will.
    pub next_start: Option<Moment>,
    /// What NOTIFY_SOCKET leads to: a name in the abstract namespace, or a path, which begins with a slash.
    pub notify_socket: Option<String>,
    /// The settings that count for the process: file and first line.
    pub settings: Vec<(String, String)>,
    /// There was no room for them where this was written.
    pub settings_left_out: bool,
    /// Short runs in a row.
    pub streak: u32,
    /// How often `run` was started.
    pub starts: u64,
    /// What the service last said of itself (STATUS= of sd_notify), one line.
    pub status_text: String,
    /// The last exits of `run`, oldest first.
    pub deaths: Vec<Death>,
    /// The inode of the pipe between the service and that logger.
    pub pipe: Option<u64>,
    /// The same of the logger that this supervise runs too, if it does.
    pub logger: Option<Box<Record>>,
}

impl Record {
    /// A record that says nothing: down, never started.
    pub fn blank() -> Record {
        Record {
            supervise: Process::NONE,
            boot: Boot::default(),
            directory: None,
            want: Want::Down,
            phase: Phase::Stopped,
            process: None,
            since: Moment::ZERO,
            ready: None,
            paused: false,
            ending: None,
            kill_at: None,
            to_group: false,
            leaving: false,
            gated: false,
            begun: false,
            again: false,
            in_background: false,
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
            status_text: String::new(),
            deaths: Vec::new(),
            pipe: None,
            logger: None,
        }
    }

    /// Whether what is shown of `run` was never executed, as far as is known: its process has not become `run` yet, or has
    /// ended and could not.
    pub fn is_unexecuted(&self) -> bool {
        match (self.process, self.deaths.last().map(|death| death.exit)) {
            (Some((Role::Run, _)), _) => self.gated,
            (None, Some(Exit::Unstarted(_))) => true,
            (Some((Role::Start | Role::Finish | Role::Stop, _)), _) | (None, _) => false,
        }
    }

    /// Why the service gave up, in words for people: `restart-limit 3 in 5m reached, last exited 1`. Nothing if it did
    /// not, or if whoever wrote this did not say.
    pub fn failure_words(&self) -> Option<String> {
        let last = || self.deaths.last().map(|death| format!(", last {}", death.exit.words())).unwrap_or_default();
        let limit = self.settings.iter().find(|(file, _)| file == "restart-limit");
        let limit = limit.map(|(_, limit)| format!(" {limit}")).unwrap_or_default();
        Some(match self.failure? {
            Failure::RestartLimit => format!("restart-limit{limit} reached{}", last()),
            Failure::Run => "exited 100, which means not to restart it".into(),
            Failure::Finish => "finish exited 125, which means not to restart it".into(),
            Failure::Start(exit) => format!("start failed: {}", exit.words()),
        })
    }
}
