//! There is one svscan for a directory; the next one waits until it can take over.
//!
//! What is locked is `.svscan/lock`, which nobody but its owner can open. The directory itself can be locked by everybody
//! who may read it.

use daemontools::report;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, lstat};
use nix::unistd::{AccessFlags, access, mkdir};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

const DIRECTORY: &str = ".svscan";
const LOCK: &str = "lock";

/// Locks the current directory. `None` where that cannot be: on a read-only file system, or one without locks, or in
/// another's directory.
pub fn lock() -> Option<OwnedFd> {
    loop {
        let (file, inode) = open_lock()?;
        // Locked until we end, also through another svscan in this process.
        let locked = file.try_clone().ok()?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => std::mem::forget(lock),
            Err((file, Errno::EAGAIN)) => {
                report::warning(&[b"another svscan serves this directory: waiting for its end"]);
                std::mem::forget(Flock::lock(file, FlockArg::LockExclusive).ok()?);
            }
            Err(_) => return None,
        }
        // Removed while it was waited for, it is not what the next one locks.
        if open_lock().is_none_or(|(_, found)| found == inode) {
            return Some(locked);
        }
    }
}

/// Whether a svscan may have served this directory before: its lock is there, or none can be made.
pub fn may_follow_another() -> bool {
    lstat(&Path::new(DIRECTORY).join(LOCK)).is_ok() || access(".", AccessFlags::W_OK).is_err()
}

/// Whether what an earlier svscan in this process has locked is what we lock: version 0.1.0 locked the directory.
pub fn is_lock(file: &OwnedFd) -> bool {
    fstat(file).is_ok_and(|file| is_file(&file))
}

/// No link is followed, which could have a file made elsewhere, and nothing is opened but a file: to open a device may do
/// something.
fn open_lock() -> Option<(OwnedFd, u64)> {
    // Being refused, or that it is there, is told by what follows.
    let _ = mkdir(DIRECTORY, Mode::from_bits_truncate(0o755));
    let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = open(DIRECTORY, flags | OFlag::O_DIRECTORY | OFlag::O_PATH, Mode::empty()).ok()?;
    if fstatat(&directory, LOCK, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|file| !is_file(&file)) {
        report::warning(&[b"unable to lock .svscan/lock: not a file"]);
        return None;
    }
    let flags = flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let owners = Mode::from_bits_truncate(0o600);
    let file = match openat(&directory, LOCK, flags | OFlag::O_RDWR | OFlag::O_CREAT, owners) {
        // It can be locked all the same.
        Err(Errno::EROFS) => openat(directory.as_fd(), LOCK, flags | OFlag::O_RDONLY, Mode::empty()).ok()?,
        opened => opened.ok()?,
    };
    let found = fstat(&file).ok().filter(is_file)?;
    Some((file, found.st_ino))
}

fn is_file(file: &FileStat) -> bool {
    SFlag::from_bits_truncate(file.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}
