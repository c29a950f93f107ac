//! svscanboot: what init starts: svscan, and readproctitle to show its complaints.
//!
//! `svscanboot [ DIRECTORY ]`
//!
//! 1. Takes nothing over from whoever started it: standard input, output and error are `/dev/null`,
//!    the environment is one line, `PATH=/command:/usr/local/bin:...`.
//! 2. Starts `svscan DIRECTORY` (`/service` if none is given), and `readproctitle service errors:`
//!    followed by 400 dots, with a pipe from the one's standard output and error to the other: the last
//!    complaints of svscan, of its supervises and of services without a logger are seen in `ps`.
//! 3. Stays their parent. Either is started again when it is killed, no more often than once a second;
//!    the pipe and what is in it stay.
//! 4. Passes on to svscan the signals TERM, INT, HUP, QUIT, USR1, USR2, ALRM, PWR, WINCH and RTMIN+3.
//!    Killed itself, it takes both along (not their supervises): the next svscan goes on where this one was,
//!    and does not wait for it.
//! 5. When svscan exits of its own, exits with the same code; with 0 when told to stop while there is none.
//!
//! Both programs are those beside svscanboot's own file, else the first in its PATH.

#![cfg_attr(not(test), no_main)]

use daemontools::sys::exec::{c_string, execute};
use daemontools::sys::{self, process};
use daemontools::{Args, Attempt, Fatal, report};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc::SIGRTMIN;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, getpid, getppid, pipe2};
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

daemontools::main!(svscanboot);

const PATH: &str = "PATH=/command:/usr/local/bin:/usr/local/sbin:/bin:/sbin:/usr/bin:/usr/sbin:/usr/X11R6/bin";
const DOTS: usize = 400;
/// Between two starts of the same program.
const PAUSE: Duration = Duration::from_secs(1);

/// What svscan is to hear of when we do, beside what tells it to stop.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGALRM, Signal::SIGWINCH];

/// What tells it to stop.
fn stops() -> [i32; 4] {
    [Signal::SIGTERM as i32, Signal::SIGINT as i32, Signal::SIGPWR as i32, SIGRTMIN() + 3]
}

fn svscanboot(mut args: Args) -> Result<i32, Fatal> {
    let directory = args.next().unwrap_or_else(|| "/service".into());
    let (signals, mask) = take_signals().unable_to("set up signals", "")?;
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).unable_to("open", "/dev/null")?;
    for redirected in [dup2_stdin(&null), dup2_stdout(&null), dup2_stderr(&null)] {
        redirected.unable_to("set up descriptors", "")?;
    }
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unable_to("create pipe", "")?;
    let dots = OsString::from(".".repeat(DOTS));
    let mut svscan = Child::new(vec!["svscan".into(), directory], Role::Complains(writer))?;
    let mut title =
        Child::new(vec!["readproctitle".into(), "service".into(), "errors:".into(), dots], Role::Shows(reader))?;
    let mut told_to_end = false;
    loop {
        let deadlines = [svscan.keep(&mask), title.keep(&mask)];
        wait(&signals, deadlines.into_iter().flatten().min());
        while let Ok(Some(signal)) = signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            told_to_end |= stops().contains(&number);
            if svscan.pass_on(number) == Err(Errno::ESRCH) && told_to_end {
                return Ok(0);
            }
        }
        while let Ok(Some((pid, status))) = process::reap() {
            title.ended(pid);
            // Killed, it is started again; otherwise it has said what it wanted to say.
            match svscan.ended(pid).then_some(status & 0x7f) {
                Some(0) => return Ok((status >> 8) & 0xff),
                Some(signal) if told_to_end && stops().contains(&signal) => return Ok(0),
                Some(_) | None => {}
            }
        }
    }
}

/// A child's end of the pipe.
enum Role {
    Complains(OwnedFd),
    Shows(OwnedFd),
}

/// One of the two programs that we keep running.
struct Child {
    candidates: Vec<CString>,
    argv: Vec<CString>,
    role: Role,
    pid: Option<Pid>,
    started: Option<Instant>,
}

impl Child {
    fn new(argv: Vec<OsString>, role: Role) -> Result<Child, Fatal> {
        let argv: nix::Result<Vec<CString>> = argv.iter().map(|argument| c_string(argument)).collect();
        let argv = argv.unable_to("start", "")?;
        let name = argv.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let beside = sys::companion(&name);
        let folders = PATH.trim_start_matches("PATH=").split(':').map(|folder| format!("{folder}/{name}").into());
        let files = Some(beside.into_os_string()).into_iter().filter(|file| *file != *name).chain(folders);
        let candidates = files.filter_map(|file: OsString| c_string(&file).ok()).collect();
        Ok(Child { candidates, argv, role, pid: None, started: None })
    }

    /// Starts it if it does not run, or says when it is to be started.
    fn keep(&mut self, mask: &SigSet) -> Option<Instant> {
        if self.pid.is_some() {
            return None;
        }
        let now = Instant::now();
        match self.started.map(|started| started + PAUSE) {
            Some(next) if next > now => Some(next),
            _ => {
                self.started = Some(now);
                let parent = getpid();
                self.pid = process::fork(|| self.become_program(parent, mask)).ok();
                self.pid.is_none().then_some(now + PAUSE)
            }
        }
    }

    /// In the child. Returns only with the exit code of a failure.
    fn become_program(&self, parent: Pid, mask: &SigSet) -> i32 {
        let connected = match &self.role {
            Role::Complains(writer) => dup2_stdout(writer).and_then(|()| dup2_stderr(writer)),
            Role::Shows(reader) => dup2_stdin(reader),
        };
        // An svscan without us would be in the way of the next one, which takes over its supervises.
        let tied = set_pdeathsig(Signal::SIGKILL);
        if tied.is_err() || getppid() != parent {
            return report::TEMPORARY;
        }
        if connected.is_err() || mask.thread_set_mask().is_err() {
            return report::TEMPORARY;
        }
        let environment: Vec<CString> = c_string(PATH.as_ref()).into_iter().collect();
        for file in &self.candidates {
            match execute(file, &self.argv, &environment) {
                Errno::ENOENT | Errno::EACCES | Errno::EPERM | Errno::EISDIR => {}
                _ => break,
            }
        }
        report::TEMPORARY
    }

    /// Whether it was this one that has ended.
    fn ended(&mut self, pid: Pid) -> bool {
        let it = self.pid == Some(pid);
        self.pid = self.pid.filter(|own| *own != pid);
        it
    }

    /// Sends it a signal that we were sent, unless that was only for us.
    fn pass_on(&self, number: i32) -> nix::Result<()> {
        if number == Signal::SIGCHLD as i32 {
            return Ok(());
        }
        process::send_signal(self.pid.ok_or(Errno::ESRCH)?, number)
    }
}

fn take_signals() -> nix::Result<(SignalFd, SigSet)> {
    let others = PASSED_ON.into_iter().chain([Signal::SIGCHLD]).map(|signal| signal as i32);
    let wanted = process::signal_set(&others.chain(stops()).collect::<Vec<_>>());
    process::default_action(Signal::SIGCHLD)?;
    let mask = SigSet::thread_get_mask()?;
    wanted.thread_block()?;
    Ok((SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?, mask))
}

/// Waits for a signal until the deadline. Whatever else wakes us does no harm.
fn wait(signals: &SignalFd, deadline: Option<Instant>) {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
    let timeout = left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
    let _ = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout);
}
