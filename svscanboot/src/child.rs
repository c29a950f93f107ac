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
/// Between two starts of the same program.
const PAUSE: Duration = Duration::from_secs(1);

/// What a program does with the pipe.
#[derive(Debug, Clone, Copy)]
pub enum Role {
    Complains,
    Shows,
}

/// One of the two programs that we keep running.
pub struct Child {
    name: String,
    candidates: Vec<CString>,
    argv: Vec<CString>,
    role: Role,
    pid: Option<Pid>,
    started: Option<Instant>,
    /// The last time it could not be started, and that was said.
    failed: bool,
}

impl Child {
    /// Not started yet.
    ///
    /// # Errors
    /// A NUL byte in an argument.
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

    /// Starts it if it does not run, or says when it is to be started.
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

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.pid.is_some()
    }

    /// In the child. Returns only with the exit code of a failure.
    fn become_program(&self, parent: Pid, pipe: &Pipe) -> i32 {
        // What is sent to svscanboot's process group, as ^C is by a terminal, is for svscanboot alone: readproctitle
        // must not end before svscan has said its last words, and svscan hears of it from us.
        let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
        let connected = match self.role {
            Role::Complains => dup2_stdout(&pipe.writer).and_then(|()| dup2_stderr(&pipe.writer)),
            Role::Shows => dup2_stdin(&pipe.reader),
        };
        // An svscan without us would be in the way of the next one, which takes over its supervises.
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
        // For the next readproctitle, if this was to be one.
        if !self.failed && dup2_stderr(&pipe.writer).is_ok() {
            Fatal::from(Unable::new("start", &self.name, refusal)).tell();
        }
        report::TEMPORARY
    }

    /// An init that ends all processes sends TERM to readproctitle before svscan and the services have said their last
    /// words. What a readproctitle has read and shown is gone with it, so that the next one could not show it. So
    /// readproctitle ends with svscanboot, by its KILL, and before that only by a KILL of its own.
    fn set_signal_mask(&self) {
        match self.role {
            Role::Complains => process::unblock_signals(),
            Role::Shows => {
                // Fails only for a set that cannot be read.
                let _ = SigSet::from_iter([Signal::SIGTERM]).thread_set_mask();
            }
        }
    }

    /// Whether it was this one that has ended.
    pub fn ended(&mut self, pid: Pid, status: i32) -> bool {
        let it = self.pid == Some(pid);
        if it {
            self.pid = None;
            self.failed = status == report::TEMPORARY << 8;
        }
        it
    }

    /// Sends it a signal that we were sent, unless that was only for us.
    ///
    /// # Errors
    /// ESRCH: it does not run.
    pub fn pass_on(&self, number: i32) -> nix::Result<()> {
        if number == Signal::SIGCHLD as i32 {
            return Ok(());
        }
        process::send_signal(self.pid.ok_or(Errno::ESRCH)?, number)
    }
}
