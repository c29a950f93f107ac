//! Taking datagrams off the socket to which descriptors are attached: no service needs to attach any.
//!
//! A process that reaches the socket of a service can attach a descriptor that takes long to be closed: a connection
//! whose other end reads nothing lingers for as long as its owner has set. The kernel closes the descriptor when the
//! datagram is taken off. So a child takes such a datagram off, and is killed if that takes long, which ends the wait.

use daemontools::sys::datagram;
use daemontools::sys::process::{close_from, duplicate_to, fork};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, getppid, pipe2};
use std::os::fd::{AsFd, BorrowedFd};

/// How long the child has, in milliseconds. If it takes longer, it waits for a descriptor to be closed, or for a
/// processor; in the second case the datagram is still there, and is taken off the next time.
const LONGEST: u8 = 20;

/// Has a child take the first datagram off, and close the descriptors that are attached to it. supervise must wait for
/// the child that is returned.
///
/// # Errors
/// EMFILE, EAGAIN, ENOMEM: no descriptors or processes. The datagram is still there.
pub fn discard_first(socket: BorrowedFd) -> nix::Result<Pid> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    let parent = getpid();
    let child = fork(|| {
        let _ = set_pdeathsig(Some(Signal::SIGKILL));
        // The child may take long: it must hold no descriptor of supervise's, above all not the lock.
        if getppid() != parent || duplicate_to(socket, 0).and(duplicate_to(&writer, 1)).is_err() {
            return 0;
        }
        close_from(2);
        let _ = datagram::take(std::io::stdin().as_fd(), &mut []);
        0
    })?;
    drop(writer);
    // The child's end of the pipe is closed when the child ends.
    let mut end = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    if poll(&mut end, PollTimeout::from(LONGEST)) != Ok(1) {
        let _ = kill(child, Signal::SIGKILL);
    }
    Ok(child)
}
