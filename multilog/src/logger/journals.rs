//! Checks whether the journal and the files of the log directories are still where they were, and goes on elsewhere if
//! they are not.

use super::{Logger, input};
use crate::journal::place;
use crate::logdir::{LogDirectory, rename_away};
use crate::retry::Stop;
use daemontools::Unable;
use daemontools::logdir::JOURNAL;
use daemontools::report::{joined, reason, warning};
use daemontools::tai64::Moment;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The time between two checks, while lines come.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Logger {
    /// Tries again to make a journal that outlives multilog. While the disk has no room at all, multilog leaves the
    /// input in the pipe, where it is safe, so that TERM can end multilog.
    pub(super) fn wait_for_room(&mut self) -> Result<(), Stop> {
        loop {
            let now = Moment::now().uptime;
            self.retry.unwritten = self.journal.data().len();
            if self.journal_retry.is_due(now) {
                self.renew_journal(now);
            }
            let trouble = self.directories.iter().find_map(LogDirectory::trouble);
            match trouble.filter(|_| self.journal.data().is_empty() && !self.journal.survives()) {
                Some(trouble) if !self.may_leave() => self.retry.pause(trouble, reason(Errno::ENOSPC))?,
                Some(_) => return Ok(()),
                None => {
                    self.retry.go_on();
                    if let Some(directory) = self.directories.first().filter(|_| !self.journal.survives()) {
                        self.journal_retry.say(directory.path(), now);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Makes a journal in the first directory, and moves the input of the present one to it.
    fn renew_journal(&mut self, now: Duration) {
        let Some(directory) = self.directories.first() else { return };
        make_way(directory.folder(), directory.path());
        match place::make(directory.folder(), &self.boot) {
            Ok(mut journal) => {
                journal.begin(input());
                self.journal.move_to(journal);
                self.journal_retry.is_over(directory.path());
                self.journal.commit(0, self.router.line, self.files());
            }
            Err(errno) => {
                self.journal.leave_place();
                self.journal_retry.failed(errno, now);
            }
        }
        self.retry.may_stop = self.journal.survives();
    }

    /// Checks whether the journal can still be used and, at most once a second, whether the names still lead to the
    /// files that are written to.
    pub(super) fn check_files_if_due(&mut self) -> Result<(), Stop> {
        self.check_journal();
        let now = Moment::now().uptime;
        if now < self.look_at {
            return Ok(());
        }
        self.check_files(now, 0).map(drop)
    }

    /// Checks the names at once, after the first `taken` bytes of the journal were written. Returns whether these were
    /// committed, because files have changed.
    pub(super) fn check_files(&mut self, now: Duration, taken: usize) -> Result<bool, Stop> {
        (self.look_at, self.unlooked) = (now + LOOK_AGAIN, false);
        let mut changed = false;
        for directory in &mut self.directories {
            changed |= directory.check_files(&mut self.retry)?;
        }
        if changed {
            self.commit(taken)?;
        }
        let folder = self.journal.folder();
        let is_elsewhere = folder.is_some_and(|folder| !self.directories.iter().any(|directory| directory.is(folder)));
        if is_elsewhere || !self.journal.is_in_place() {
            self.renew_journal(now);
        }
        Ok(changed)
    }

    /// Reports the loss if the journal has become unusable. The buffer is then in memory.
    pub(super) fn check_journal(&mut self) {
        let Some(lost) = self.journal.look_after() else { return };
        let now = Moment::now().uptime;
        self.journal_retry.broke(now);
        self.retry.may_stop = false;
        let Some(directory) = self.directories.first() else { return };
        if lost > 0 {
            let bytes =
                format!("/{JOURNAL} was destroyed by others, and with it {lost} bytes that were not yet written");
            warning(&[directory.path().as_bytes(), bytes.as_bytes()]);
        }
    }
}

/// Renames what is called `journal` and is no journal of multilog's.
pub(super) fn make_way(folder: &OwnedFd, path: &OsStr) {
    let path = joined(path, JOURNAL);
    match place::is_blocked(folder) {
        Ok(false) => {}
        Ok(true) => rename(folder, path.as_bytes(), b"it is not mine"),
        Err(errno) => Unable::new("open", path, errno).warn(),
    }
}

pub(super) fn rename(folder: &OwnedFd, path: &[u8], why: &[u8]) {
    match rename_away(folder, JOURNAL) {
        Ok(name) => warning(&[b"renaming ", path, b" to ", name.as_bytes(), b": ", why]),
        Err(errno) => Unable::new("rename", OsStr::from_bytes(path), errno).warn(),
    }
}
