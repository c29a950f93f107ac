//! Asking file systems by a child: whoever touches a mount whose server is gone, of NFS or FUSE, waits, perhaps for ever.

use super::{Identity, Process};
use crate::sys::process::{PidFd, close_from, ended_child_status, fork, wait_for};
use crate::sys::timeout;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::statfs::statfs;
use nix::unistd::{Pid, setpgid};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two looks at a child that cannot be held.
const PAUSE: Duration = Duration::from_millis(2);

/// A child that touches what some paths lead to, one after the other.
#[derive(Debug)]
pub struct Toucher {
    pid: Pid,
    hold: Hold,
}

#[derive(Debug)]
enum Hold {
    Held(PidFd),
    /// The kernel, or a filter, has no descriptors for processes.
    Known(Process),
}

impl Toucher {
    /// Lets a child touch what these paths lead to.
    ///
    /// # Errors
    /// EAGAIN or ENOMEM: no more processes for now.
    pub fn start<'a>(paths: impl IntoIterator<Item = &'a Path>) -> nix::Result<Toucher> {
        let pid = fork(|| touch(paths))?;
        Ok(Toucher { pid, hold: PidFd::open(pid).map_or_else(|_| Hold::Known(Process::of(pid)), Hold::Held) })
    }

    /// Whether it ends, or has ended, before the time is over.
    pub fn has_ended(&self, patience: Duration) -> bool {
        match &self.hold {
            Hold::Held(held) => {
                let mut fds = [PollFd::new(held.as_fd(), PollFlags::POLLIN)];
                poll(&mut fds, timeout(Some(patience))) == Ok(1)
            }
            Hold::Known(process) => has_ended_by(process, Instant::now() + patience),
        }
    }

    /// Waits for its end; whether all has answered. One that was killed has not touched anything, and says nothing.
    ///
    /// # Errors
    /// ECHILD: somebody else has waited for it.
    pub fn has_answer(&self) -> nix::Result<bool> {
        wait_for(self.pid).map(|status| status == 0)
    }
}

/// In the child. It ends with its parent if it can, and keeps nothing of it open, a lock least of all.
fn touch<'a>(paths: impl IntoIterator<Item = &'a Path>) -> i32 {
    let _ = set_pdeathsig(Signal::SIGKILL);
    // What is sent to the process group of its parent is for that.
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    close_from(3);
    for path in paths {
        // Unlike attributes, this is not kept from an earlier answer. A refusal is an answer too.
        let _ = statfs(path);
    }
    0
}

/// Whether a child ends before this time, as far as asking again and again tells.
fn has_ended_by(process: &Process, until: Instant) -> bool {
    // Once its parent has waited for it, as for all its children, another child may have its number.
    let runs = || ended_child_status(Some(process.pid)) == Ok(None) && process.identity() != Ok(Identity::Gone);
    while runs() {
        if until <= Instant::now() {
            return false;
        }
        let _ = poll(&mut [], timeout(Some(PAUSE)));
    }
    true
}
