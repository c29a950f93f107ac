//! A program that svscanboot keeps running.

use crate::errors::Pipe;
use daemontools::sys::exec::{c_string, execute};
use daemontools::sys::{self, process};
use daemontools::{Attempt, Fatal, Unable, report};
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, getpid, getppid, setpgid};
use std::ffi::{CString, OsString};
use std::time::{Duration, Instant};

const PATH: &str = "PATH=/command:/usr/local/bin:/usr/local/sbin:/bin:/sbin:/usr/bin:/usr/sbin:/usr/X11R6/bin";
/// The least time between two starts of the same program.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether a program reads from the pipe or writes to it.
#[derive(Debug, Clone, Copy)]
pub enum Role {
    Complains,
    Shows,
}

/// One of the two programs that svscanboot keeps running.
pub struct Child {
    name: String,
    candidates: Vec<CString>,
    argv: Vec<CString>,
    role: Role,
    pid: Option<Pid>,
    started: Option<Instant>,
    /// The last time at which svscanboot reported that it could not start the program.
    failed: bool,
}

impl Child {
    /// A program that has not been started yet.
    ///
    /// # Errors
    /// An argument contains a NUL byte.
    pub fn new(argv: &[OsString], role: Role) -> Result<Child, Fatal> {
        let name = argv.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let argv: nix::Result<Vec<CString>> = argv.iter().map(|argument| c_string(argument)).collect();
        let argv = argv.unable_to("start", &name)?;
        let beside = sys::companion(&name);
        let folders = PATH.trim_start_matches("PATH=").split(':').map(|folder| format!("{folder}/{name}").into());
        let files = Some(beside.into_os_string()).into_iter().filter(|file| *file != *name).chain(folders);
        let candidates = files.filter_map(|file: OsString| c_string(&file).ok()).collect();
        Ok(Child { name, candidates, argv, role, pid: None, started: None, failed: false })
    }

    /// Starts the program if it does not run, or returns when it is to be started.
    pub fn keep(&mut self, pipe: &Pipe) -> Option<Instant> {
        if self.pid.is_some() {
            return None;
        }
        let now = Instant::now();
        match self.started.map(|started| started + PAUSE) {
            Some(next) if next > now => Some(next),
            _ => {
                self.started = Some(now);
                let parent = getpid();
                self.pid = process::fork(|| self.become_program(parent, pipe)).ok();
                self.pid.is_none().then_some(now + PAUSE)
            }
        }
    }

    /// Whether the program runs.
    pub fn runs(&self) -> bool {
        self.pid.is_some()
    }

    /// Executes the program in the child. Returns only on failure, with the exit code.
    fn become_program(&self, parent: Pid, pipe: &Pipe) -> i32 {
        // A signal to svscanboot's process group, such as that of ^C at a terminal, must reach svscanboot alone:
        // readproctitle must not end before svscan has written its last errors, and svscanboot passes signals on to
        // svscan.
        let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
        let connected = match self.role {
            Role::Complains => dup2_stdout(&pipe.writer).and_then(|()| dup2_stderr(&pipe.writer)),
            Role::Shows => dup2_stdin(&pipe.reader),
        };
        // An svscan that outlives svscanboot would keep the next one from taking over its supervises.
        let tied = set_pdeathsig(Signal::SIGKILL);
        if tied.is_err() || getppid() != parent {
            return report::TEMPORARY;
        }
        if connected.is_err() {
            return report::TEMPORARY;
        }
        self.set_signal_mask();
        let environment: Vec<CString> = c_string(PATH.as_ref()).into_iter().collect();
        let mut refusal = Errno::ENOENT;
        for file in &self.candidates {
            match execute(file, &self.argv, &environment) {
                Errno::ENOENT => {}
                errno @ (Errno::EACCES | Errno::EPERM | Errno::EISDIR) => refusal = errno,
                errno => {
                    refusal = errno;
                    break;
                }
            }
        }
        // The next readproctitle shows this message, if this child was to become one.
        if !self.failed && dup2_stderr(&pipe.writer).is_ok() {
            Fatal::from(Unable::new("start", &self.name, refusal)).print();
        }
        report::TEMPORARY
    }

    /// An init that ends all processes sends TERM to readproctitle before svscan and the services have written their
    /// last errors. What a readproctitle has read and shown is lost with it, so that the next one could not show it.
    /// Therefore readproctitle blocks TERM: it ends with svscanboot, which kills it, and before that only if it is sent
    /// KILL.
    fn set_signal_mask(&self) {
        match self.role {
            Role::Complains => process::unblock_signals(),
            Role::Shows => {
                // This fails only for a signal set that cannot be read.
                let _ = SigSet::from_iter([Signal::SIGTERM]).thread_set_mask();
            }
        }
    }

    /// Whether the process that has ended was this program.
    pub fn ended(&mut self, pid: Pid, status: i32) -> bool {
        let it = self.pid == Some(pid);
        if it {
            self.pid = None;
            self.failed = status == report::TEMPORARY << 8;
        }
        it
    }

    /// Sends the program a signal that svscanboot has received, unless that signal was only for svscanboot.
    ///
    /// # Errors
    /// ESRCH: the program does not run.
    pub fn pass_on(&self, number: i32) -> nix::Result<()> {
        if number == Signal::SIGCHLD as i32 {
            return Ok(());
        }
        process::send_signal(self.pid.ok_or(Errno::ESRCH)?, number)
    }
}
