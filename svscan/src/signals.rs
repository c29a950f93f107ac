//! What a signal means to svscan.

use daemontools::sys::process::{default_action, is_ignored, signal_set};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::getpid;
use std::path::PathBuf;

/// What a signal asks svscan to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Children have ended.
    Reap,
    /// Everything is to be stopped in order.
    Stop,
    /// Everything is to be stopped in order; the second time, it is to be killed.
    Interrupt,
    /// The directory is to be looked at.
    Scan,
    /// svscan's file is to be executed anew.
    Reexec,
    /// Nothing, unless a script says what.
    Nothing,
}

/// Number, name and meaning of every signal that svscan reads.
fn table() -> [(i32, &'static str, Request); 11] {
    [
        (Signal::SIGCHLD as i32, "SIGCHLD", Request::Reap),
        (Signal::SIGTERM as i32, "SIGTERM", Request::Stop),
        (Signal::SIGPWR as i32, "SIGPWR", Request::Stop),
        (nix::libc::SIGRTMIN() + 3, "SIGRTMIN+3", Request::Stop),
        (Signal::SIGINT as i32, "SIGINT", Request::Interrupt),
        (Signal::SIGHUP as i32, "SIGHUP", Request::Scan),
        (Signal::SIGALRM as i32, "SIGALRM", Request::Scan),
        (Signal::SIGQUIT as i32, "SIGQUIT", Request::Nothing),
        (Signal::SIGUSR1 as i32, "SIGUSR1", Request::Nothing),
        (Signal::SIGUSR2 as i32, "SIGUSR2", Request::Reexec),
        (Signal::SIGWINCH as i32, "SIGWINCH", Request::Nothing),
    ]
}

/// What a signal asks for, and its name.
pub fn request(number: u32) -> (Request, &'static str) {
    let known = table().into_iter().find(|(known, _, _)| u32::try_from(*known) == Ok(number));
    known.map_or((Request::Nothing, ""), |(_, name, request)| (request, name))
}

/// The script that is run instead of doing what the signal asks for.
pub fn script(name: &str) -> PathBuf {
    PathBuf::from(format!(".svscan/{name}"))
}

/// The signals that a write of svscan may cause.
pub fn of_writes() -> SigSet {
    SigSet::from_iter([Signal::SIGPIPE, Signal::SIGXFSZ])
}

/// The signals that svscan reads instead of being interrupted. Those of writes are blocked too: a supervise that ends
/// while it is told something must not end svscan. A signal that was ignored stays ignored, as SIGINT is in the
/// background of a script; but what the first process is sent is always meant for it.
///
/// # Errors
/// No descriptor to be had.
pub fn take() -> nix::Result<SignalFd> {
    // If SIGCHLD was ignored, the kernel would reap the children and not tell svscan.
    default_action(Signal::SIGCHLD)?;
    let first = getpid().as_raw() == 1;
    let numbers = table().map(|(number, _, _)| number).into_iter().filter(|number| first || !is_ignored(*number));
    let wanted = signal_set(&numbers.collect::<Vec<_>>());
    wanted.thread_block()?;
    of_writes().thread_block()?;
    SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}
