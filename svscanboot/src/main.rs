//! svscanboot: the program that init starts. It starts svscan, and readproctitle, which shows svscan's errors.
//!
//! `svscanboot [ DIRECTORY ]`
//!
//! 1. Keeps nothing of the environment in which it was started: standard input, output and error become `/dev/null`,
//!    and the environment is one line, `PATH=/command:/usr/local/bin:...`. If there is no `/dev/null`, it says so
//!    on standard error and works without it.
//! 2. Opens the pipe for errors, the FIFO `DIRECTORY/.svscan/errors` (see [`errors`]), or makes it.
//! 3. Starts `svscan DIRECTORY` (`/service` if none is given) with the pipe as standard output and error, and
//!    `readproctitle service errors:` followed by 400 dots, which reads it: `ps` shows the last errors of svscan, of
//!    its supervises and of services without a logger. Each of the two programs has a process group of its own.
//!    readproctitle blocks TERM, so that it shows errors until the end.
//! 4. Stays their parent. When one of them is killed, svscanboot starts it again, at most once a second; the pipe and
//!    its content stay. While readproctitle cannot be started, svscanboot keeps only the last bytes of a full pipe, so
//!    that no writer waits.
//! 5. Passes on to svscan the signals TERM, INT, HUP, QUIT, USR1, USR2, ALRM, PWR, WINCH and RTMIN+3.
//!    When svscanboot is killed, both programs end with it, but the supervises do not. The next svscanboot finds the
//!    pipe, and its svscan takes over the supervises at once.
//! 6. When svscan exits by itself, svscanboot exits with the same code; it exits with 0 if it is told to stop while
//!    there is no svscan.
//!
//! Both programs are those beside svscanboot's own file, else the first in its PATH.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

mod child;
mod errors;

use child::{Child, Role};
use daemontools::files::open_file_at;
use daemontools::service::Exit;
use daemontools::sys::{self, process};
use daemontools::{Args, Attempt, Fatal, Help, Unable, report};
use errors::Pipe;
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::libc::SIGRTMIN;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, getpid};
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

daemontools::main!(svscanboot, HELP);

const HELP: Help = Help {
    usage: "svscanboot: usage: svscanboot [ directory ]",
    text: "\
Starts svscan for directory, or /service, and readproctitle, which shows the complaints in
the list of processes; restarts either when it is killed. It is what init starts.

Exit codes: that of svscan when it ends by itself; 0, told to stop; 111, directory or the
pipe cannot be had.
",
};

const DOTS: usize = 400;
/// The lock that svscan holds while it serves a directory.
const LOCK: &str = ".svscan/lock";
/// How often svscanboot looks at a pipe that has no reader.
const LOOK: Duration = Duration::from_millis(50);

/// The signals that svscanboot passes on to svscan, besides those that tell it to stop.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGALRM, Signal::SIGWINCH];

/// The signals that tell svscan to stop.
fn stops() -> [i32; 4] {
    [Signal::SIGTERM as i32, Signal::SIGINT as i32, Signal::SIGPWR as i32, SIGRTMIN() + 3]
}

fn svscanboot(mut args: Args) -> Result<i32, Fatal> {
    // The kernel's command line may add more words.
    let directory = args.next().unwrap_or_else(|| "/service".into());
    // The message is written while standard error still leads somewhere.
    if let Err(errno) = nix::sys::stat::stat(directory.as_os_str()) {
        let unable = Unable::new("stat", &directory, errno);
        // The first process must not end because of this.
        if getpid().as_raw() != 1 {
            return Err(unable.into());
        }
        unable.warn();
    }
    if is_served(Path::new(&directory)) {
        // svscan says so too, but to the readproctitle that this svscanboot starts.
        report::warning(&[b"another svscan serves ", directory.as_bytes(), b": waiting for its end"]);
    }
    sys::open_missing_stdio();
    let signals = take_signals().unable_to("set up signals", "")?;
    leave_standard_descriptors()?;
    let pipe = Pipe::open(Path::new(&directory)).unable_to("create pipe", "")?;
    let dots = OsString::from(".".repeat(DOTS));
    let mut svscan = Child::new(&["svscan".into(), directory], Role::Complains)?;
    let mut title = Child::new(&["readproctitle".into(), "service".into(), "errors:".into(), dots], Role::Shows)?;
    let mut told_to_end = false;
    loop {
        let deadlines = [svscan.keep(&pipe), title.keep(&pipe)];
        let look = (!title.runs()).then(|| {
            pipe.make_room();
            Instant::now() + LOOK
        });
        wait(&signals, deadlines.into_iter().flatten().chain(look).min());
        while let Ok(Some(signal)) = signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            told_to_end |= stops().contains(&number);
            if svscan.pass_on(number) == Err(Errno::ESRCH) && told_to_end {
                return Ok(0);
            }
        }
        while let Ok(Some((pid, status))) = process::reap() {
            title.ended(pid, status);
            // svscanboot starts an svscan that was killed again; one that exits by itself has written its reason.
            match svscan.ended(pid, status).then(|| Exit::from_wait_status(status)) {
                Some(Exit::Code(code)) => return Ok(code),
                Some(Exit::Signal(signal) | Exit::Core(signal)) if told_to_end && stops().contains(&signal) => {
                    return Ok(0);
                }
                Some(Exit::Signal(_) | Exit::Core(_) | Exit::Unstarted(_) | Exit::Unknown) | None => {}
            }
        }
    }
}

/// Whether another svscan has the lock of this directory. The lock is only asked for, together with others, and let go at
/// once.
fn is_served(directory: &Path) -> bool {
    let lock = open_file_at(AT_FDCWD, &directory.join(LOCK)).map(File::from);
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Makes standard input, output and error lead to `/dev/null`.
fn leave_standard_descriptors() -> Result<(), Fatal> {
    if let Err(unable) = sys::null_device().unable_to("open", "/dev/null") {
        // The first process must not end because of this.
        unable.warn();
    }
    let null = sys::null().unable_to("open", "/dev/null")?;
    for redirected in [dup2_stdin(&null), dup2_stdout(&null), dup2_stderr(&null)] {
        redirected.unable_to("set up descriptors", "")?;
    }
    Ok(())
}

fn take_signals() -> nix::Result<SignalFd> {
    let others = PASSED_ON.into_iter().chain([Signal::SIGCHLD]).map(|signal| signal as i32);
    let wanted = process::signal_set(&others.chain(stops()).collect::<Vec<_>>());
    process::default_action(Signal::SIGCHLD)?;
    wanted.thread_block()?;
    SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Waits for a signal until the deadline. Other reasons to wake up do no harm.
fn wait(signals: &SignalFd, deadline: Option<Instant>) {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let timeout = sys::timeout(left);
    let _ = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout);
}
