//! Waiting until a log directory changes.
//!
//! svlog learns of changes by inotify(7). A user has a limited number of instances (128 by default) and of watches.
//! When there are no more, svlog looks at all directories five times a second, as if each had changed and a multilog
//! had been started in each. Both only make svlog look at the files, and only what it sees there counts. But svlog then
//! takes a program that truncates a log for a multilog, and notices the truncation only when the file is longer than
//! before.

use crate::folder::Folder;
use daemontools::logdir::LOCK;
use daemontools::sys::inotify::for_each_event;
use daemontools::{Attempt, Unable, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// What has happened to the watched directories.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// The directories of these numbers have changed, and in some of them a multilog was started.
    In { changed: Vec<usize>, started: Vec<usize> },
    /// The reader of svlog's output is gone.
    Unread,
}

/// The time between two looks when svlog has no instance of inotify(7).
const ASKING: Duration = Duration::from_millis(200);

/// Watches log directories.
pub struct Watch {
    /// The instance of inotify(7). None: the system has no more of them for this user.
    inotify: Option<Inotify>,
    watched: Vec<(WatchDescriptor, usize)>,
    folders: usize,
}

impl Watch {
    /// Watches the directories from now on. The caller must look at their files after this call, so as to miss no
    /// change.
    pub fn new(folders: &[Folder]) -> Watch {
        let (inotify, watched) =
            watch(folders).map_or((None, Vec::new()), |(inotify, watched)| (Some(inotify), watched));
        Watch { inotify, watched, folders: folders.len() }
    }

    /// Returns what has changed since the last call. If nothing has, it waits for a change, at most for `timeout`.
    ///
    /// # Errors
    /// poll(2) or read(2) fails.
    pub fn changes(&self, timeout: PollTimeout) -> Result<Change, Unable> {
        let stdout = PollFd::new(sys::stdout(), PollFlags::empty());
        let inotify = self.inotify.as_ref().map(|inotify| PollFd::new(inotify.as_fd(), PollFlags::POLLIN));
        let timeout = if inotify.is_none() && timeout.is_none() { sys::timeout(Some(ASKING)) } else { timeout };
        let mut polled: Vec<PollFd> = [stdout].into_iter().chain(inotify).collect();
        while let Err(errno) = poll(&mut polled, timeout) {
            if errno != Errno::EINTR {
                return Err(Unable::new("poll", "", errno));
            }
        }
        if polled[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR)) {
            return Ok(Change::Unread);
        }
        match &self.inotify {
            Some(inotify) => self.read(inotify),
            None => Ok(Change::In { changed: (0..self.folders).collect(), started: (0..self.folders).collect() }),
        }
    }

    fn read(&self, inotify: &Inotify) -> Result<Change, Unable> {
        let (mut changed, mut started, mut lost) = (HashSet::new(), HashSet::new(), false);
        // All events that wait now are read: an event from before the look at a file must not be missed.
        let read = for_each_event(inotify, |event| {
            lost |= event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
            // Opening a file changes nothing, and svlog does it too. But a multilog opens the lock before all other
            // files.
            if !event.mask.contains(AddWatchFlags::IN_OPEN) {
                changed.insert(event.wd);
            } else if event.name.as_deref() == Some(OsStr::new(LOCK)) {
                started.insert(event.wd);
            }
        });
        read.unable_to("read what changed", "")?;
        // Two names of one directory share one watch.
        let numbers = |told: HashSet<WatchDescriptor>| {
            let concerned = |wd: &WatchDescriptor| lost || told.contains(wd);
            self.watched.iter().filter(|(wd, _)| concerned(wd)).map(|(_, number)| *number).collect()
        };
        Ok(Change::In { changed: numbers(changed), started: numbers(started) })
    }
}

/// EMFILE, ENOSPC: the user has too many instances or watches. ENOENT: there is no /proc.
fn watch(folders: &[Folder]) -> nix::Result<(Inotify, Vec<(WatchDescriptor, usize)>)> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let flags = AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_OPEN;
    let mut watched = Vec::new();
    for (number, folder) in folders.iter().enumerate() {
        // The directory is named by its descriptor, as another directory may have its path now.
        let path = format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd());
        watched.push((inotify.add_watch(path.as_str(), flags)?, number));
    }
    Ok((inotify, watched))
}
