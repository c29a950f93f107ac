//! The gate at which a new process waits before it becomes a program.
//!
//! supervise writes down who the process is, and only then opens the gate. If supervise is killed before, the gate
//! never opens: the process exits, and the next supervise starts the program anew. So no second copy runs beside the
//! first one.
//!
//! The gate is a pair of sockets. The process's end is closed by its execution, which is how supervise sees that it has
//! become the program; if it cannot be executed, the process says why before it exits.

use daemontools::report::errno_of;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, recv, send, shutdown, socketpair};
use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// supervise's end of the gate.
pub struct Gate {
    socket: OwnedFd,
    /// Why the program could not be executed. The process tells that only once, so it is kept here.
    refused: Cell<Option<Errno>>,
}

/// The end of the gate that the process has.
pub struct ProcessEnd(OwnedFd);

/// What has become of the process behind its gate.
pub enum ExecResult {
    /// It is not known yet.
    Pending,
    /// The process has become the program, or has ended.
    Executed,
    /// The program could not be executed, for this reason.
    Refused(Errno),
}

impl Gate {
    /// Both ends of a new gate, which is closed.
    ///
    /// # Errors
    /// EMFILE, ENFILE: no descriptors.
    pub fn new() -> nix::Result<(Gate, ProcessEnd)> {
        let (ours, its) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Gate { socket: ours, refused: Cell::new(None) }, ProcessEnd(its)))
    }

    /// Lets the process through. If the process is dead, its end tells; if it cannot be let through, it is made to
    /// exit.
    pub fn open(&self) {
        loop {
            match send(self.socket.as_raw_fd(), b"g", MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EINTR) => {}
                Ok(_) | Err(Errno::EPIPE) => return,
                Err(_) => {
                    let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
                    return;
                }
            }
        }
    }

    /// What has become of the process; does not block. After [`ExecResult::Refused`] the answer stays that: the
    /// process's end is closed next, which would otherwise look like an execution.
    pub fn exec_result(&self) -> ExecResult {
        if let Some(errno) = self.refused.get() {
            return ExecResult::Refused(errno);
        }
        let mut errno = [0; 4];
        match recv(self.socket.as_raw_fd(), &mut errno, MsgFlags::MSG_DONTWAIT) {
            Ok(4) => {
                let errno = Errno::from_raw(i32::from_ne_bytes(errno));
                self.refused.set(Some(errno));
                ExecResult::Refused(errno)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => ExecResult::Pending,
            // Closed by its execution, or by its end, which is noticed elsewhere.
            Ok(_) | Err(_) => ExecResult::Executed,
        }
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl ProcessEnd {
    /// Another descriptor for this end, if it has a number on which the service expects something else.
    ///
    /// # Errors
    /// EMFILE: no descriptors.
    pub fn away_from(self, number: Option<i32>) -> nix::Result<ProcessEnd> {
        match number {
            Some(number) if number == self.0.as_raw_fd() => {
                self.0.try_clone().map(ProcessEnd).map_err(|error| errno_of(&error))
            }
            Some(_) | None => Ok(self),
        }
    }

    /// Waits until the gate opens; false if it never will, as the supervise that would have opened it was killed.
    pub fn wait(&self) -> bool {
        let mut pass = [0];
        loop {
            match recv(self.0.as_raw_fd(), &mut pass, MsgFlags::empty()) {
                Ok(1) => return true,
                Err(Errno::EINTR) => {}
                Ok(_) | Err(_) => return false,
            }
        }
    }

    /// Tells supervise why the program could not be executed. supervise may be dead: that must not kill this process
    /// before it has exited.
    pub fn refuse(&self, errno: Errno) {
        let _ = send(self.0.as_raw_fd(), &(errno as i32).to_ne_bytes(), MsgFlags::MSG_NOSIGNAL);
    }
}
