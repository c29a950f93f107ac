//! The gate at which a new process waits before it becomes a program.
//!
//! supervise writes down who the process is, and only then opens the gate. If supervise is killed before, the gate
//! never opens: the process exits, and the next supervise starts the program anew. So no second copy runs beside the
//! first one.
//!
//! The gate is a pair of sockets. The process's end is closed by its execution, which is how supervise sees that it has
//! become the program; if it cannot be executed, the process says why before it exits.

use crate::exec_answer::{ExecAnswer, ExecResult, Received};
use daemontools::report::errno_of;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, recv, send, shutdown, socketpair};
use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// supervise's end of the gate.
pub struct Gate {
    socket: OwnedFd,
    answer: Cell<ExecAnswer>,
}

/// The end of the gate that the process has.
pub struct ProcessEnd(OwnedFd);

impl Gate {
    /// Both ends of a new gate, which is closed.
    ///
    /// # Errors
    /// EMFILE, ENFILE: no descriptors.
    pub fn new() -> nix::Result<(Gate, ProcessEnd)> {
        let (ours, its) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Gate { socket: ours, answer: Cell::default() }, ProcessEnd(its)))
    }

    /// Lets the process through. If the process is dead already, supervise learns that from its end. If the process
    /// cannot be let through, this makes it exit.
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

    /// What has become of the process; does not block.
    pub fn exec_result(&self) -> ExecResult {
        let mut answer = self.answer.get();
        let result = answer.take(|| self.receive());
        self.answer.set(answer);
        result
    }

    fn receive(&self) -> Received {
        let mut errno = [0; 4];
        match recv(self.socket.as_raw_fd(), &mut errno, MsgFlags::MSG_DONTWAIT) {
            Ok(4) => Received::Reason(Errno::from_raw(i32::from_ne_bytes(errno))),
            Err(Errno::EAGAIN | Errno::EINTR) => Received::Nothing,
            // Closed by its execution, or by its end, which is noticed elsewhere.
            Ok(_) | Err(_) => Received::Closed,
        }
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl ProcessEnd {
    /// Returns the same end with a descriptor of another number, if the service expects something else under the number
    /// `number`, which this end has now.
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

    /// Waits until the gate opens. Returns false if the gate never opens, because the supervise that would have opened
    /// it was killed.
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
