//! One program at a time.

use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use std::os::fd::{AsRawFd, OwnedFd};

/// How often a lock is tried for, five milliseconds apart.
const TRIES: u32 = 20;

/// Locks `file` against others, without waiting for one that keeps it, until it is closed. But the lock of a program
/// that was killed is held for an instant more by a child of its that was about to become another program; that is
/// waited for. nix's `Flock` panics where a file system refuses to unlock.
///
/// # Errors
/// EAGAIN: it is another's. ENOLCK: no memory.
pub fn lock(file: OwnedFd) -> nix::Result<OwnedFd> {
    for _ in 1..TRIES {
        match try_to_lock(&file) {
            Ok(()) => return Ok(file),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let _ = poll(&mut [], PollTimeout::from(5u8));
    }
    try_to_lock(&file).map(|()| file)
}

/// The same, once.
///
/// # Errors
/// As for [`lock`].
pub fn try_to_lock(file: &OwnedFd) -> nix::Result<()> {
    flock(file, libc::LOCK_EX | libc::LOCK_NB)
}

/// The same, however long another one keeps it.
///
/// # Errors
/// ENOLCK: no memory. Others: the file system has no locks.
pub fn wait_to_lock(file: &OwnedFd) -> nix::Result<()> {
    loop {
        match flock(file, libc::LOCK_EX) {
            Err(Errno::EINTR) => {}
            locked => return locked,
        }
    }
}

fn flock(file: &OwnedFd, operation: i32) -> nix::Result<()> {
    // SAFETY: a descriptor that is open; no memory is touched.
    Errno::result(unsafe { libc::flock(file.as_raw_fd(), operation) }).map(drop)
}
