//! One program at a time: flock(2), by the standard library. The lock belongs to the open file: all its descriptors share
//! it, also those that other programs have inherited, and the last one that is closed releases it.

use crate::report::errno_of;
use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use std::fs::{File, TryLockError};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long a program that starts waits for its lock. The lock of a program that was killed is held for an instant more by a
/// child of its that was about to become another program; on a machine under load the instant may be long.
pub const AT_START: Duration = Duration::from_secs(2);

/// Locks `file` against others until it is closed, if that can be done within a time; it is tried every five milliseconds.
///
/// # Errors
/// EAGAIN: another one has the lock. ENOLCK: no memory.
pub fn lock_within(file: OwnedFd, time: Duration) -> nix::Result<OwnedFd> {
    let file = File::from(file);
    let until = Instant::now() + time;
    loop {
        match try_to_lock(&file) {
            Ok(()) => return Ok(file.into()),
            Err(Errno::EAGAIN | Errno::EINTR) if Instant::now() < until => {}
            Err(errno) => return Err(errno),
        }
        let _ = poll(&mut [], PollTimeout::from(5u8));
    }
}

/// Locks `file` against others, if no other one has it.
///
/// # Errors
/// As for [`lock_within`].
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::fork;
    use nix::sys::wait::waitpid;
    use std::thread::sleep;

    #[test]
    fn a_lock_that_a_child_of_a_killed_program_still_has_is_waited_for() {
        let scratch = tempfile::tempdir().unwrap();
        let open = || OwnedFd::from(File::create(scratch.path().join("lock")).unwrap());
        let first = lock_within(open(), Duration::ZERO).unwrap();
        let child = fork(|| {
            sleep(Duration::from_millis(500));
            0
        });
        drop(first);
        assert_eq!(lock_within(open(), Duration::ZERO).err(), Some(Errno::EAGAIN));
        assert!(lock_within(open(), AT_START).is_ok());
        waitpid(child.unwrap(), None).unwrap();
    }
}
