//! Making sure that only one instance of a program runs, with flock(2) from the standard library. The lock belongs to
//! the open file. All descriptors of that open file share it, including those that other programs have inherited, and
//! it is released when the last one is closed.
//!
//! A *claim* is such a lock too, but one that others only see: an open file is claimed or not, and a claim keeps no
//! process from anything.

use crate::report::errno_of;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollTimeout, poll};
use std::fs::{File, TryLockError};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a program waits for its lock when it starts. After a program was killed, a child that it has forked and
/// that has not yet executed its own program holds the lock for a moment longer. On a loaded machine that moment may be
/// long.
pub const AT_START: Duration = Duration::from_secs(2);

/// Locks `file` against others until it is closed. The lock is tried every five milliseconds until this time is over.
///
/// # Errors
/// EAGAIN: another process has the lock. ENOLCK: no memory.
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

/// Locks `file` against others, unless another process has the lock.
///
/// # Errors
/// As for [`lock_within`].
pub fn try_to_lock(file: &File) -> nix::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Errno::EAGAIN,
        TryLockError::Error(error) => errno_of(&error),
    })
}

/// Locks `file` against others, and waits as long as another process has the lock.
///
/// # Errors
/// ENOLCK: no memory. Other errors: the file system has no locks.
pub fn wait_to_lock(file: &File) -> nix::Result<()> {
    loop {
        match file.lock().map_err(|error| errno_of(&error)) {
            Err(Errno::EINTR) => {}
            locked => return locked,
        }
    }
}

/// Claims a file that is open for reading, until the last descriptor of this open file is closed. A file can be claimed
/// through several open files.
///
/// # Errors
/// EAGAIN: another process has locked the file. EINVAL: the kernel has no such locks. ENOLCK: no memory.
pub fn claim(file: impl AsFd) -> nix::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_RDLCK))).map(drop)
}

/// Whether a file is claimed through another open file than this one.
///
/// # Errors
/// EINVAL: the kernel has no such locks.
pub fn is_claimed(file: impl AsFd) -> nix::Result<bool> {
    let mut found = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok(i32::from(found.l_type) != libc::F_UNLCK)
}

/// A lock of this kind from the beginning of a file to its end.
fn whole_file(kind: libc::c_int) -> libc::flock {
    let kind = libc::c_short::try_from(kind).unwrap_or(0);
    libc::flock { l_type: kind, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::fork;
    use nix::sys::wait::waitpid;
    use std::thread::sleep;

    #[test]
    fn a_pipe_is_claimed_until_the_last_descriptor_of_its_claimed_end_is_closed() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let writer = crate::sys::reopen_read_write(writer);
        assert_eq!(is_claimed(&writer), Ok(false));
        claim(&reader).unwrap();
        assert_eq!(is_claimed(&writer), Ok(true));
        assert_eq!(is_claimed(&reader), Ok(false), "by itself");
        let copy = reader.try_clone().unwrap();
        drop(reader);
        assert_eq!(is_claimed(&writer), Ok(true));
        drop(copy);
        assert_eq!(is_claimed(&writer), Ok(false));
    }

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
