//! The process that runs one of the service's programs: signalled, and watched for its end.
//!
//! It is a child of this supervise, or a process that was adopted from a supervise that was killed. A child keeps its
//! number until supervise waits for it. An adopted process is held by a descriptor; on a kernel that has no such
//! descriptors it is known by its number and its start time.

use daemontools::service::{Exit, Identity, Process, is_without_pidfd};
use daemontools::sys::process::{self, Ended, PidFd};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpgid, getpid};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The process that runs one of the service's programs.
pub struct ServiceProcess {
    /// Its number, and what tells it from other processes that have had that number.
    pub id: Process,
    handle: Handle,
}

enum Handle {
    /// A child of this supervise: no other process can have its number until supervise has waited for it.
    Child,
    /// Another process' child, which is held by a descriptor.
    Adopted(PidFd),
    /// Another process' child, on a kernel without such descriptors: supervise asks again and again whether it is
    /// there.
    Unheld,
}

impl ServiceProcess {
    /// A child that this supervise has made between these two times since boot. It waits at its gate.
    pub fn made_between(pid: Pid, before: Duration, after: Duration) -> ServiceProcess {
        ServiceProcess { id: Process::made_between(pid, before, after), handle: Handle::Child }
    }

    /// A child of this supervise. It may have been made by another process, whose parent has ended.
    pub fn child(pid: Pid) -> ServiceProcess {
        ServiceProcess { id: Process::of(pid).with_start(), handle: Handle::Child }
    }

    /// Holds a process that is not a child of this supervise; `None` if no process has its number. Which process is
    /// held is to be looked at afterwards, by [`ServiceProcess::identity`]: what is held cannot become another.
    ///
    /// # Errors
    /// EMFILE, ENFILE: no descriptors.
    pub fn hold(id: Process) -> nix::Result<Option<ServiceProcess>> {
        let handle = match PidFd::open(id.pid) {
            Ok(pidfd) => Handle::Adopted(pidfd),
            // No process has the number, or only a thread of another.
            Err(Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => return Ok(None),
            Err(errno) if is_without_pidfd(errno) => Handle::Unheld,
            Err(errno) => return Err(errno),
        };
        Ok(Some(ServiceProcess { id, handle }))
    }

    /// Whether what is held is the process that [`ServiceProcess::id`] names.
    ///
    /// # Errors
    /// Those of reading `/proc`: it cannot be told now.
    pub fn identity(&self) -> nix::Result<Identity> {
        match &self.handle {
            Handle::Adopted(pidfd) => self.id.identity_of(pidfd),
            Handle::Child | Handle::Unheld => self.id.identity(),
        }
    }

    /// A descriptor that is readable once the process has ended; `None` if SIGCHLD tells that, or supervise has to ask.
    pub fn end_watch(&self) -> Option<BorrowedFd<'_>> {
        match &self.handle {
            Handle::Child | Handle::Unheld => None,
            Handle::Adopted(pidfd) => Some(pidfd.as_fd()),
        }
    }

    /// Whether the process is a child of supervise, which supervise must wait for.
    pub fn is_child(&self) -> bool {
        matches!(self.handle, Handle::Child)
    }

    /// Whether supervise has to ask again and again whether the process has ended.
    pub fn is_unheld(&self) -> bool {
        matches!(self.handle, Handle::Unheld)
    }

    /// Whether the process is an adopted one that has ended.
    pub fn has_ended(&self) -> bool {
        match &self.handle {
            Handle::Child => false,
            Handle::Unheld => {
                let gone = matches!(self.id.identity(), Ok(Identity::Gone));
                gone || process::ancestry(self.id.pid).is_some_and(|process| process.zombie)
            }
            Handle::Adopted(pidfd) => pidfd.has_ended(),
        }
    }

    /// How an adopted process ended, if its parent has waited for it and the kernel is new enough to tell.
    pub fn exit_told_by_kernel(&self) -> Option<Exit> {
        match &self.handle {
            Handle::Child | Handle::Unheld => None,
            Handle::Adopted(pidfd) => match pidfd.ended() {
                Ended::Status(status) => Some(Exit::from_wait_status(status)),
                Ended::NotReaped | Ended::Untold => None,
            },
        }
    }

    /// Whether the process was stopped by SIGSTOP, as far as the system tells.
    pub fn is_stopped(&self) -> bool {
        match &self.handle {
            Handle::Child => {
                let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
                matches!(waitid(Id::Pid(self.id.pid), flags), Ok(WaitStatus::Stopped(_, Signal::SIGSTOP)))
            }
            Handle::Adopted(_) | Handle::Unheld => process::is_stopped(self.id.pid),
        }
    }

    /// Whether the process is known to have become another program than supervise: it has another name. The programs of
    /// services have names of their own, such as `run`.
    pub fn has_executed(&self) -> bool {
        process::name(self.id.pid).is_some_and(|its| Some(its) != process::name(getpid()))
    }

    /// Sends a signal to the process. A process that has ended cannot be reached, which is no failure.
    pub fn send(&self, signal: Signal) {
        let _ = match &self.handle {
            Handle::Child => kill(self.id.pid, signal),
            Handle::Adopted(pidfd) => pidfd.signal(signal),
            Handle::Unheld if self.id.identity() == Ok(Identity::Gone) => Ok(()),
            Handle::Unheld => kill(self.id.pid, signal),
        };
    }

    /// Sends a signal to the group that the process leads, or to the process alone if it leads none.
    pub fn send_group(&self, signal: Signal) {
        match getpgid(Some(self.id.pid)) {
            Ok(group) if group == self.id.pid => drop(killpg(group, signal)),
            Ok(_) | Err(_) => self.send(signal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_taken_for_one_that_was_executed_while_it_is_there() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::of(Pid::from_raw(i32::try_from(child.id()).unwrap()));
        let held = ServiceProcess::hold(process).unwrap().unwrap();
        assert!(held.has_executed());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!held.has_executed());
    }
}
