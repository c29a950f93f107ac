//! The script `check` of a service, which says whether the service works.

use super::subject::warn;
use daemontools::interpreter;
use daemontools::report::errno_of;
use daemontools::sys;
use daemontools::sys::exec::environment;
use daemontools::sys::process::{PidFd, wait_for};
use daemontools::sys::spawn::{Spawn, spawn};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;
use std::ffi::{CString, OsStr};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// The name of the script.
const CHECK: &str = "check";
/// How long a script may run at least, also when the time is over.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long a script that was killed may take to end. One that waits for a mount whose server does not answer never ends.
const LONGEST_END: Duration = Duration::from_millis(500);

/// Whether the script of the service in the current directory finds that it works. A service without the script does. A
/// script that has not ended at the deadline is killed, and finds nothing, and neither does one that must not be touched.
pub fn finds_that_it_works(name: &OsStr, deadline: Instant) -> bool {
    if !interpreter::answers(Path::new(CHECK)) {
        warn("unable to stat", name, CHECK, Errno::ETIMEDOUT);
        return false;
    }
    match std::fs::metadata(CHECK).map_err(|error| errno_of(&error)) {
        Err(Errno::ENOENT) => return true,
        Err(errno) => {
            warn("unable to stat", name, CHECK, errno);
            return false;
        }
        Ok(_) => {}
    }
    match start() {
        Ok(script) => ended_well(script, deadline.max(Instant::now() + SHORTEST)),
        Err(errno) => {
            warn("unable to run", name, CHECK, errno);
            // runit takes a script that cannot be run for one that finds nothing wrong.
            true
        }
    }
}

fn start() -> nix::Result<Pid> {
    let string = |text: &str| CString::new(text).map_err(|_| Errno::EINVAL);
    let null = sys::null()?;
    let order = Spawn {
        candidates: &[string(CHECK)?],
        argv: &[string(&format!("./{CHECK}"))?],
        environment: &environment(&[])?,
        directory: None,
        descriptors: &[(null.as_fd(), 1)],
        kept_until_exec: None,
        mask: &SigSet::empty(),
        open_files: None,
    };
    spawn(&order).map_err(|refused| refused.errno())
}

/// Whether a script succeeds by then. One that does not even end when it is killed is left.
fn ended_well(script: Pid, until: Instant) -> bool {
    let Ok(held) = PidFd::open(script) else { return wait_for(script) == Ok(0) };
    if !ends_by(&held, until) {
        // It leads a group of its own, and has not been waited for, so the number is still its own.
        let _ = killpg(script, Signal::SIGKILL);
        if !ends_by(&held, Instant::now() + LONGEST_END) {
            return false;
        }
    }
    wait_for(script) == Ok(0)
}

/// Waits for the end of a process, no longer than until then. Returns whether it has ended.
fn ends_by(process: &PidFd, until: Instant) -> bool {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], sys::timeout(Some(left))) {
            Ok(0) => return false,
            Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => return true,
        }
    }
}
