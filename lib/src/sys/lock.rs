//! One program at a time: flock(2), by the standard library. The lock belongs to the open file: all its descriptors share
//! it, also those that other programs have inherited, and the last one that is closed releases it.

use crate::report::errno_of;
use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use std::fs::{File, TryLockError};
use std::os::fd::OwnedFd;

/// How often a lock is tried for, five milliseconds apart.
const TRIES: u32 = 20;

/// Locks `file` against others, without waiting for one that keeps it, until it is closed. But the lock of a program
/// that was killed is held for an instant more by a child of its that was about to become another program; that is
/// waited for.
///
/// # Errors
/// EAGAIN: it is another's. ENOLCK: no memory.
pub fn lock(file: OwnedFd) -> nix::Result<OwnedFd> {
    let file = File::from(file);
    for _ in 1..TRIES {
        match try_to_lock(&file) {
            Ok(()) => return Ok(file.into()),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let _ = poll(&mut [], PollTimeout::from(5u8));
    }
    try_to_lock(&file).map(|()| file.into())
}

/// Locks `file` against others, if no other one has it.
///
/// # Errors
/// As for [`lock`].
pub fn try_to_lock(file: &File) -> nix::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Errno::EAGAIN,
        TryLockError::Error(error) => errno_of(&error),
    })
}

/// Locks `file` against others, however long another one keeps it.
///
/// # Errors
/// ENOLCK: no memory. Others: the file system has no locks.
pub fn wait_to_lock(file: &File) -> nix::Result<()> {
    loop {
        match file.lock().map_err(|error| errno_of(&error)) {
            Err(Errno::EINTR) => {}
            locked => return locked,
        }
    }
}
