//! Waiting until a log directory changes.
//!
//! inotify(7) tells. A user has only so many instances of it, 128 where nobody has set more, and as many watches; where
//! there are no more, all directories are looked at five times a second, as if each had changed and a multilog had been
//! started in each: both make us look, and only what is seen counts. Who truncates a log is then noticed only when it
//! is longer than before, as multilog is taken for him.

use crate::folder::Folder;
use daemontools::logdir::LOCK;
use daemontools::sys::events::for_each_event;
use daemontools::{Attempt, Unable, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// What has happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// In the directories of these numbers; in some a multilog was started.
    In { changed: Vec<usize>, started: Vec<usize> },
    /// The reader of svlog's output is gone.
    Unread,
}

/// How often it is looked where nothing tells.
const ASKING: Duration = Duration::from_millis(200);

/// Watches log directories.
pub struct Watch {
    /// None: the system does not tell us.
    inotify: Option<Inotify>,
    watched: Vec<(WatchDescriptor, usize)>,
    folders: usize,
}

impl Watch {
    /// Watches them from now on; so their files are to be looked at after this.
    pub fn new(folders: &[Folder]) -> Watch {
        let (inotify, watched) =
            watch(folders).map_or((None, Vec::new()), |(inotify, watched)| (Some(inotify), watched));
        Watch { inotify, watched, folders: folders.len() }
    }

    /// What has changed since it was asked last; waits for something if nothing has and `timeout` lets it.
    ///
    /// # Errors
    /// poll(2) and read(2) refuse.
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
        // All that wait by now: none that was there before a file was looked at may be missing.
        let read = for_each_event(inotify, |event| {
            lost |= event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
            // Opening changes nothing; we do it too. But the lock is what a multilog opens first.
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

/// EMFILE, ENOSPC: the user watches too much already. ENOENT: there is no /proc.
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
        // By its descriptor: another directory may be at that path by now.
        let path = format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd());
        watched.push((inotify.add_watch(path.as_str(), flags)?, number));
    }
    Ok((inotify, watched))
}
