//! Waiting until a log directory changes, by inotify(7): no polling.

use crate::folder::Folder;
use daemontools::{Attempt, Unable, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};

/// What has happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// In the directories of these numbers; in some a multilog was started.
    In { changed: Vec<usize>, started: Vec<usize> },
    /// Nobody reads what we write any more.
    Unread,
}

/// Watches log directories.
pub struct Watch {
    inotify: Inotify,
    watched: Vec<(WatchDescriptor, usize)>,
}

impl Watch {
    /// Watches them from now on; so their files are to be looked at after this.
    ///
    /// # Errors
    /// EMFILE, ENOSPC: the user watches too much already.
    pub fn new(folders: &[Folder]) -> Result<Watch, Unable> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unable_to("watch", "")?;
        let flags = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_OPEN;
        let mut watched = Vec::new();
        for (number, folder) in folders.iter().enumerate() {
            // By its descriptor: the directory that was opened, whatever is at that path by now.
            let path = format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd());
            watched.push((inotify.add_watch(path.as_str(), flags).unable_to("watch", folder.path())?, number));
        }
        Ok(Watch { inotify, watched })
    }

    /// What has changed since it was asked last; waits for something if nothing has and `timeout` lets it.
    ///
    /// # Errors
    /// poll(2) and read(2) refuse.
    pub fn changes(&self, timeout: PollTimeout) -> Result<Change, Unable> {
        let stdout = sys::stdout();
        loop {
            let mut polled =
                [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN), PollFd::new(stdout, PollFlags::empty())];
            match poll(&mut polled, timeout) {
                Err(Errno::EINTR) => continue,
                other => other.unable_to("poll", "")?,
            };
            if polled[1].revents().is_some_and(|events| events.contains(PollFlags::POLLERR)) {
                return Ok(Change::Unread);
            }
            return self.read();
        }
    }

    fn read(&self) -> Result<Change, Unable> {
        let mut events = Vec::new();
        // All of them: none that was there before a file was looked at may be missing.
        loop {
            match self.inotify.read_events() {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                more => events.extend(more.unable_to("read what changed", "")?),
            }
        }
        let lost = events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW));
        // Opening changes nothing; we do it too. But the lock is what a multilog opens first.
        let (opened, changed): (Vec<_>, Vec<_>) =
            events.iter().partition(|event| event.mask.contains(AddWatchFlags::IN_OPEN));
        let started = opened.into_iter().filter(|event| event.name.as_deref() == Some(OsStr::new("lock"))).collect();
        // Two names of one directory share one watch.
        let numbers = |events: Vec<&InotifyEvent>| {
            let concerned = |wd: &WatchDescriptor| lost || events.iter().any(|event| event.wd == *wd);
            self.watched.iter().filter(|(wd, _)| concerned(wd)).map(|(_, number)| *number).collect()
        };
        Ok(Change::In { changed: numbers(changed), started: numbers(started) })
    }
}
