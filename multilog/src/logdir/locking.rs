//! Opens log directories, makes those that are missing, and locks them against other multilogs.

use super::LogDirectory;
use crate::files;
use crate::journal::Id;
use crate::retry::{Retry, RetryFailure, may_pass};
use daemontools::files::open_directory;
use daemontools::logdir::LOCK;
use daemontools::{Attempt, Unable, report, sys};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, mkdirat};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// A log directory that this multilog has locked.
pub struct Locked {
    /// The directory.
    pub folder: OwnedFd,
    /// The open lock of the directory, and which file that is.
    pub(super) lock: (OwnedFd, FileStat),
}

impl Locked {
    /// Whether this is the directory.
    fn is(&self, id: Id) -> bool {
        Id::of(&self.folder) == Ok(id)
    }
}

impl LogDirectory {
    /// Opens the directory, makes it if it is missing, and locks it against other multilogs. Waits for trouble to end
    /// that may end by itself. `ours` are the directories that this multilog has locked before.
    ///
    /// # Errors
    /// The directory cannot be opened or is another's.
    pub fn lock(path: &OsStr, ours: &[Locked], retry: &mut Retry) -> Result<Locked, RetryFailure> {
        let opened = retry.retry_at_start("open directory", path, || open_or_make(path));
        let opened = opened.map_err(|failure| failure.where_missing(path))?;
        let made = opened.unable_to("create directory", path);
        let folder = made.map_err(|unable| unable.where_missing(path.as_ref()))?;
        let lock = retry.retry_at_start("lock directory", path, || open_lock(&folder, path));
        let lock = lock.map_err(|failure| failure.where_missing(path))?;
        let is_named_twice = Id::of(&folder).is_ok_and(|id| ours.iter().any(|other| other.is(id)));
        let time = if is_named_twice { Duration::ZERO } else { sys::lock::AT_START };
        let lock = lock_file(lock, time).unable_to("lock directory", path).map_err(|unable| match unable.errno {
            Errno::EAGAIN if is_named_twice => unable.because("it is named twice"),
            Errno::EAGAIN => unable.because("it is in use by another multilog"),
            _ => unable,
        })?;
        retry.keep_from_children(&lock.0);
        Ok(Locked { folder, lock })
    }

    /// Opens and locks the directory without waiting.
    ///
    /// # Errors
    /// The directory cannot be opened or is another's.
    pub(super) fn try_to_lock(path: &OsStr) -> Result<Locked, Unable> {
        let opened = open_or_make(path).unable_to("open directory", path);
        let folder =
            opened.map_err(|unable| unable.where_missing(path.as_ref()))?.unable_to("create directory", path)?;
        let lock = open_lock(&folder, path).and_then(lock_now).unable_to("lock directory", path)?;
        Ok(Locked { folder, lock })
    }
}

/// Opens a directory, and makes it if it is missing. The inner error says why it cannot be made, now or later. A link
/// in the path that another account has made, or can move, leads only to places where that account may write.
fn open_or_make(path: &OsStr) -> nix::Result<nix::Result<OwnedFd>> {
    let path = Path::new(path);
    let open = || {
        let place = open_directory(AT_FDCWD, path)?;
        openat(&place, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return open().map(Ok);
    };
    let above = open_directory(AT_FDCWD, parent)?;
    // A directory that was there before keeps its mode.
    let made = mkdirat(&above, name, Mode::from_bits_truncate(0o700));
    // The whole path counts, as an account that can move the directory above can move a link there with it.
    match (open(), made) {
        // The directory is missing only because it cannot be made now.
        (Err(Errno::ENOENT), Err(errno)) if may_pass(errno) => Err(errno),
        // It is a link that leads nowhere, or it was removed just now.
        (Err(Errno::ENOENT), Ok(()) | Err(Errno::ENOENT | Errno::EEXIST)) => Err(Errno::ENOENT),
        (Err(Errno::ENOENT), Err(errno)) => Ok(Err(errno)),
        (opened, _) => opened.map(Ok),
    }
}

/// Opens the lock. The owner of the directory may give its name to another program's lock, so that multilog locks that:
/// where others may write, a file with two names is no lock, and is replaced.
pub(super) fn open_lock(folder: &OwnedFd, path: &OsStr) -> nix::Result<(OwnedFd, FileStat)> {
    match files::open_lock(folder, LOCK) {
        Err(Errno::EMLINK) => {
            files::remove_at(folder, LOCK)?;
            report::warning(&[path.as_bytes(), b"/", LOCK.as_bytes(), b" was another file as well: replaced"]);
            files::open_lock(folder, LOCK)
        }
        opened => opened,
    }
}

fn lock_file((file, stat): (OwnedFd, FileStat), time: Duration) -> nix::Result<(OwnedFd, FileStat)> {
    sys::lock::lock_within(file, time).map(|locked| (locked, stat))
}

/// Locks without waiting, as a multilog that is at work tries again later.
pub(super) fn lock_now(opened: (OwnedFd, FileStat)) -> nix::Result<(OwnedFd, FileStat)> {
    lock_file(opened, Duration::ZERO)
}
