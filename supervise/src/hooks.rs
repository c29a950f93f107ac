//! The programs of a service directory that run beside the service: `check` finds out whether it is ready, and `notify`
//! is told when a program starts and ends. Neither is supervised, and a supervise that is killed forgets them.

use daemontools::service::{Exit, ledger};
use daemontools::sys::exec::{c_string, environment, execute};
use daemontools::sys::process;
use daemontools::{Attempt, Fatal, Unable, sys};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpid, getppid, setsid};
use std::ffi::OsString;
use std::time::Duration;

/// What becomes of a program when supervise is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It runs on, as it has its own work to do.
    Independent,
    /// It is killed, because its answer is for this supervise. The next supervise starts another.
    DiesWithSupervise,
}

/// Starts `./PROGRAM ARGS…` as the leader of a session of its own: what it leaves in the background is known by that, and no
/// process of the service can join it. supervise must wait for the child that is returned.
///
/// # Errors
/// The system has no process to give.
fn start(program: &'static str, arguments: &[OsString], lifetime: Lifetime) -> Result<Pid, Unable> {
    let argv = [&[program.into()], arguments].concat();
    let parent = getpid();
    let child = || {
        let _ = setsid();
        if lifetime == Lifetime::DiesWithSupervise {
            let _ = set_pdeathsig(Some(Signal::SIGKILL));
            if getppid() != parent {
                return 0;
            }
        }
        process::unblock_signals();
        sys::make_stderr_write_only();
        let strings = argv.iter().map(|argument| c_string(argument)).collect::<Result<Vec<_>, _>>();
        let errno = match (c_string(program.as_ref()), strings, environment(&ledger::taken_away())) {
            (Ok(program), Ok(argv), Ok(environment)) => execute(&program, &argv, &environment),
            (Err(errno), _, _) | (_, Err(errno), _) | (_, _, Err(errno)) => errno,
        };
        Fatal::from(Unable::execute_own("start", program, program.as_ref(), errno)).print()
    };
    process::fork(child).unable_to("fork for", program)
}

/// Runs `notify NAME EVENT PID CODE` for the start (no exit) or the end of a program. If `notify` cannot be started,
/// supervise warns, and the notification is lost. supervise must wait for the child that is returned.
///
/// Source: daemontools-encore.
pub fn notify(program: &str, pid: Pid, exit: Option<Exit>) -> Option<Pid> {
    let (event, code) = match exit {
        None => ("start", 0),
        Some(Exit::Code(code)) => ("exit", code),
        Some(Exit::Signal(signal) | Exit::Core(signal)) => ("killed", signal),
        Some(Exit::Unstarted(_)) => ("exit", daemontools::report::TEMPORARY),
        Some(Exit::Unknown) => ("exit", 0),
    };
    let arguments = [program.into(), event.into(), pid.to_string().into(), code.to_string().into()];
    start("./notify", &arguments, Lifetime::Independent).map_err(|unable| unable.warn()).ok()
}

/// The pause before the first `check`, which is short, as most services are quick. Each later one is twice as long.
const FIRST: Duration = Duration::from_millis(10);
/// The longest pause between two runs of `check`.
const RAREST: Duration = Duration::from_secs(1);

/// A `check` that takes longer than this is killed, and the next one is tried.
const LONGEST: Duration = Duration::from_secs(10);

/// Runs `check` again and again until it succeeds.
pub struct Check {
    /// The `check` that runs, and when it is killed, in time since boot.
    running: Option<(Pid, Duration)>,
    pause: Duration,
    /// When the next `check` is due, in time since boot.
    due: Duration,
}

impl Check {
    /// Begins to ask `check`, for the first time shortly after `now`, in time since boot.
    pub fn from(now: Duration) -> Check {
        Check { running: None, pause: FIRST, due: now + FIRST }
    }

    /// The `check` that runs.
    pub fn running(&self) -> Option<Pid> {
        self.running.map(|(pid, _)| pid)
    }

    /// When to call [`Check::poll`] at the latest, in time since boot.
    pub fn deadline(&self) -> Duration {
        self.running.map_or(self.due, |(_, kill_at)| kill_at)
    }

    /// Starts the next `check` if it is due, or kills one that takes too long.
    pub fn poll(&mut self, now: Duration) {
        if self.deadline() > now {
            return;
        }
        if let Some((pid, kill_at)) = &mut self.running {
            // What it has started hangs, too.
            let _ = killpg(*pid, Signal::SIGKILL);
            *kill_at = now + LONGEST;
            return;
        }
        match start("./check", &[], Lifetime::DiesWithSupervise) {
            Ok(pid) => self.running = Some((pid, now + LONGEST)),
            Err(unable) => {
                unable.warn();
                self.again(now);
            }
        }
    }

    /// Takes in that a child has ended. Returns whether it was a `check` that succeeded.
    pub fn ended(&mut self, pid: Pid, exit: Exit, now: Duration) -> bool {
        if self.running.is_some_and(|(running, _)| running == pid) {
            self.running = None;
            self.again(now);
            return exit == Exit::Code(0);
        }
        false
    }

    fn again(&mut self, now: Duration) {
        self.due = now + self.pause;
        self.pause = (self.pause * 2).min(RAREST);
    }
}

/// Ends the `check` that runs: a service that has ended is not asked any more.
impl Drop for Check {
    fn drop(&mut self) {
        if let Some((pid, _)) = self.running {
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }
}
