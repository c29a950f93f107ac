//! Datagrams with descriptors attached, which nobody has asked for.
//!
//! Whoever reaches the socket of a service can attach what takes long to be closed: a connection whose other end reads
//! nothing lingers for as long as its owner has set. The kernel closes it when the datagram is taken off. So a child takes
//! such a datagram off, and is killed if that takes long, which ends the wait.

use daemontools::sys::datagram;
use daemontools::sys::process::{close_from, duplicate_to, fork};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, getppid, pipe2};
use std::os::fd::{AsFd, BorrowedFd};

/// So many milliseconds the child has. What takes longer waits for what is attached, or for a processor; the datagram may
/// then still be there, and is dealt with once more.
const LONGEST: u8 = 20;

/// Has the first datagram taken off; what is attached to it is closed. The child is ours to wait for.
///
/// # Errors
/// EMFILE, EAGAIN, ENOMEM: no descriptors or processes. The datagram is still there.
pub fn discard_first(socket: BorrowedFd) -> nix::Result<Pid> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    let parent = getpid();
    let child = fork(|| {
        let _ = set_pdeathsig(Some(Signal::SIGKILL));
        // Of ours it keeps nothing open that it may hold for long, the lock least of all.
        if getppid() != parent || duplicate_to(socket, 0).and(duplicate_to(&writer, 1)).is_err() {
            return 0;
        }
        close_from(2);
        let _ = datagram::take(std::io::stdin().as_fd(), &mut []);
        0
    })?;
    drop(writer);
    // Its end of the pipe is closed when it ends.
    let mut end = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    if poll(&mut end, PollTimeout::from(LONGEST)) != Ok(1) {
        let _ = kill(child, Signal::SIGKILL);
    }
    Ok(child)
}
