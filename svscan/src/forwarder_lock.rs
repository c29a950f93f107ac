//! One process at a time forwards lines: it holds a lock on a FIFO that only svscan's own account can open. A
//! service can lock, fill and empty its own pipe as it likes; a service can neither take nor keep this lock.
//!
//! The next process requests the lock by a byte in the FIFO, again and again until it has it. The kernel releases the lock
//! when its holder has ended for any reason, so that svscan need not know or believe the number of a process.

use daemontools::service::open_fifo;
use daemontools::sys::lock::lock_within;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, fchmod, fstat, stat};
use nix::unistd::{geteuid, mkfifo, read, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

const FIFO: &str = ".svscan/forwarder";
/// How long the lock is waited for after each request.
const PATIENCE: Duration = Duration::from_millis(100);
/// The FIFO can be opened by svscan's own account only.
const OWNER_ONLY: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// The FIFO, open, and locked once [`ForwarderLock::acquire`] has said so.
pub struct ForwarderLock(OwnedFd);

impl ForwarderLock {
    /// Opens the FIFO, which is made if it is not there.
    ///
    /// # Errors
    /// The FIFO cannot be made, or something else is in its place. EPERM: it is another account's.
    pub fn open() -> nix::Result<ForwarderLock> {
        match mkfifo(FIFO, OWNER_ONLY) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        // A FIFO that is open in both directions never shows an end.
        let fifo = open_fifo(Path::new(FIFO), OFlag::O_RDWR)?;
        let found = fstat(&fifo)?;
        // Another account that owns it can keep it locked.
        if found.st_uid != 0 && found.st_uid != geteuid().as_raw() {
            return Err(Errno::EPERM);
        }
        let mode = Mode::from_bits_truncate(found.st_mode);
        if mode.intersects(Mode::S_IRWXG | Mode::S_IRWXO) {
            fchmod(&fifo, OWNER_ONLY)?;
        }
        Ok(ForwarderLock(fifo))
    }

    /// Requests the lock, and takes it if its holder releases it within a tenth of a second.
    ///
    /// # Errors
    /// EAGAIN: another one still has it. Others: the file system has no locks.
    pub fn acquire(&self) -> nix::Result<()> {
        // A FIFO that is full tells the holder as well.
        let _ = write(&self.0, b"?");
        lock_within(self.0.as_fd().try_clone_to_owned().map_err(|_| Errno::EMFILE)?, PATIENCE)?;
        // These requests were for the holder before this process. A third process that has written one meanwhile writes
        // another.
        let mut requests = [0; 512];
        while read(&self.0, &mut requests).is_ok_and(|count| count > 0) {}
        Ok(())
    }

    /// Whether another process requests the lock, or would lock another FIFO, as this one does not lie in its place any more.
    pub fn is_requested(&self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::ZERO) == Ok(1) {
            return true;
        }
        let (Ok(held), found) = (fstat(&self.0), stat(FIFO)) else { return false };
        match found {
            Ok(found) => (found.st_dev, found.st_ino) != (held.st_dev, held.st_ino),
            Err(errno) => matches!(errno, Errno::ENOENT | Errno::ENOTDIR),
        }
    }
}

impl AsFd for ForwarderLock {
    /// Readable when another process requests the lock.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
