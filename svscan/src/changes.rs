//! The kernel's reports of changes: in the scan directory, in directories that are being made, in those of services whose
//! readiness is waited for. All of them come through one descriptor.

use daemontools::{Attempt, Unable};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::os::fd::{AsFd, BorrowedFd};

/// The reports.
#[derive(Debug)]
pub struct Changes {
    /// What tells them; others add what they watch.
    pub inotify: Inotify,
    /// The watch of the scan directory.
    pub directory: WatchDescriptor,
}

impl Changes {
    /// Watches the current directory, which is the scan directory.
    ///
    /// # Errors
    /// The kernel does not tell of changes there.
    pub fn watch() -> Result<Changes, Unable> {
        let changes = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unable_to("watch directory", "")?;
        let directory = inotify.add_watch(".", changes).unable_to("watch directory", "")?;
        Ok(Changes { inotify, directory })
    }
}

impl AsFd for Changes {
    /// Readable when there is a report.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
