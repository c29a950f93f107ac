//! The names whose change may be the coming or going of a service: those in the scan directory, that of the scan directory
//! itself, which may be moved away and made anew, and `log` in each service.
//!
//! inotify tells of them. Where it cannot, or where there is no scan directory at the moment, all of them count as changed
//! once a second.

use crate::services::Service;
use daemontools::service::LOG;
use daemontools::service::observe::LISTENING;
use daemontools::sys::inotify::for_each_event;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Which names in a directory are of interest.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Interest {
    All,
    Only(OsString),
}

/// The names that are watched.
pub struct Names {
    directory: PathBuf,
    /// `None` if the system gives us no inotify instance.
    inotify: Option<Inotify>,
    /// One directory may be watched for two reasons.
    watches: BTreeMap<WatchDescriptor, Vec<Interest>>,
    /// When all names count as changed although nothing was told.
    look_again: Option<Instant>,
}

impl Names {
    /// Watches the names in the scan directory.
    pub fn new(directory: &Path) -> Names {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok();
        let mut names =
            Names { directory: directory.to_path_buf(), inotify, watches: BTreeMap::new(), look_again: None };
        names.watch(&[]);
        names
    }

    /// Watches the names that matter when these are the services, and no others. What changes from now on is told.
    pub fn watch(&mut self, services: &[Service]) {
        let own = self.directory.file_name().map(|name| Interest::Only(name.to_os_string()));
        let above = self.directory.parent().zip(own);
        let logs = services.iter().map(|service| (service.path.as_path(), Interest::Only(LOG.into())));
        let all = [(self.directory.as_path(), Interest::All)].into_iter().chain(above).chain(logs);
        let mut watches: BTreeMap<WatchDescriptor, Vec<Interest>> = BTreeMap::new();
        let mut is_deaf = false;
        for (path, interest) in all {
            // The kernel returns the same number for the same directory.
            match self.inotify.as_ref().map(|inotify| inotify.add_watch(path, changes())) {
                Some(Ok(watch)) => watches.entry(watch).or_default().push(interest),
                Some(Err(_)) | None => is_deaf = true,
            }
        }
        for (watch, _) in std::mem::replace(&mut self.watches, watches) {
            if let (false, Some(inotify)) = (self.watches.contains_key(&watch), &self.inotify) {
                // The kernel has removed it already if the directory is gone.
                let _ = inotify.rm_watch(watch);
            }
        }
        self.look_again = is_deaf.then(|| Instant::now() + LISTENING);
    }

    /// Whether a name may have changed since the last call.
    pub fn have_changed(&mut self) -> bool {
        let mut have_changed = self.look_again.is_some_and(|time| time <= Instant::now());
        if let Some(inotify) = &self.inotify {
            let read = for_each_event(inotify, |event| have_changed |= is_telling(&self.watches, &event));
            have_changed |= read.is_err();
        }
        have_changed
    }

    /// Readable when a name may have changed.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(Inotify::as_fd)
    }

    /// When to ask although nothing was told.
    pub fn look_again(&self) -> Option<Instant> {
        self.look_again
    }
}

fn changes() -> AddWatchFlags {
    let names =
        AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM | AddWatchFlags::IN_MOVED_TO;
    names | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_ONLYDIR
}

/// Whether an event is about a name of interest. One without a name is about the directory itself.
fn is_telling(watches: &BTreeMap<WatchDescriptor, Vec<Interest>>, event: &InotifyEvent) -> bool {
    if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
        return true;
    }
    let is_of_interest = |interest: &Interest| match (interest, &event.name) {
        (Interest::All, _) | (Interest::Only(_), None) => true,
        (Interest::Only(wanted), Some(name)) => wanted == name,
    };
    watches.get(&event.wd).is_some_and(|interests| interests.iter().any(is_of_interest))
}
