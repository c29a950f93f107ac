//! Standard output, to which the forwarder writes: writing without waiting, and waiting until a reader takes something.

use super::lines::ATOMIC;
use daemontools::sys::write_now::write_now;
use daemontools::{report, sys};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::time::Duration;

/// Once the reader of standard output has taken nothing for this time, the forwarder keeps no other forwarder waiting for
/// the lock.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Writes some of these lines without waiting for a reader. A pipe that has room for anything takes `PIPE_BUF` bytes at
/// once. More than that is written in pieces, as there is room: otherwise the forwarder would obey nothing until the last
/// of it is taken.
pub fn write_some(lines: &[u8], whole: bool) -> nix::Result<usize> {
    if whole && lines.len() <= ATOMIC {
        nix::unistd::write(sys::stdout(), lines)
    } else {
        write_now(sys::stdout(), lines)
    }
}

/// Says how much of the lines is lost, if anything is.
pub fn say_dropped(bytes: usize) {
    if bytes > 0 {
        report::warning(
            &[format!("dropped {bytes} bytes of services' lines: nobody reads standard output").as_bytes()],
        );
    }
}

/// Whether standard output takes something, or tells why not.
pub fn is_taken_within(time: Duration) -> bool {
    poll(&mut [PollFd::new(sys::stdout(), PollFlags::POLLOUT)], sys::timeout(Some(time))) != Ok(0)
}

/// Waits until standard output takes something, as long as that takes. svscan ends the forwarder where that is too long.
pub fn wait_until_taken() {
    let _ = poll(&mut [PollFd::new(sys::stdout(), PollFlags::POLLOUT)], PollTimeout::NONE);
}
