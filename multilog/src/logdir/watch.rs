//! Checks whether the names still lead to the files that are open. People and programs remove log files, move them
//! away, and put others in their place. Then multilog goes on in the files to which the names lead.
//!
//! | what is gone | what is done |
//! |---|---|
//! | `current`, moved away or replaced | it is completed where it is, and a new one is begun |
//! | `current`, removed | the same; what was written to it since it was last seen is written again |
//! | `lock` | it is made and locked again; while another multilog has it, it is waited for |
//! | the directory, moved away or replaced | its `current` is completed, and lines go on in the one that is there now, made if need be; where that cannot be, they go on in the old one |
//! | the directory, removed | the same, but without the old one they have to wait |
//!
//! The names are looked at once a second. A file without any name is noticed with the next line that is written to it.
//!
//! On a file system that gives a file another number each time only what is missing counts.

use super::locking::{lock_now, open_lock};
use super::{Locked, LogDirectory};
use crate::files;
use crate::retry::{Retry, RetryFailure, Stop};
use daemontools::logdir::{CURRENT, LOCK};
use daemontools::report::{self, warning};
use daemontools::sys::{file_numbers, memory};
use daemontools::{Attempt, Unable, sys};
use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat, stat};
use nix::sys::uio::pread;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Whether the file system there gives a file the same number each time.
pub fn has_numbers(folder: &OwnedFd) -> bool {
    sys::file_system(folder).is_ok_and(|system| file_numbers::keeps_numbers(system.kind))
}

impl LogDirectory {
    /// Checks where the names lead, and goes on there. Returns whether the current file is another one now.
    ///
    /// # Errors
    /// [`Stop`]: TERM has come while there is no directory to go on in.
    pub fn check_files(&mut self, retry: &mut Retry) -> Result<bool, Stop> {
        let has_numbers = self.has_numbers;
        let is_another = |found: &FileStat, known: nix::Result<FileStat>| {
            has_numbers && known.is_ok_and(|known| !files::is_same(found, &known))
        };
        let has_moved = match stat(&*self.settings.path) {
            Ok(found) => is_another(&found, fstat(&self.folder)),
            Err(errno) => matches!(errno, Errno::ENOENT | Errno::ENOTDIR),
        };
        if has_moved {
            return self.go_on_elsewhere(retry);
        }
        match files::stat_at(&self.folder, LOCK) {
            Ok(Some(found)) if !is_another(&found, Ok(self.lock.1)) => self.said = None,
            Ok(_) => self.lock_again(retry)?,
            Err(_) => {}
        }
        match files::stat_at(&self.folder, CURRENT) {
            Ok(Some(found)) if !is_another(&found, fstat(&self.current)) => {
                // Others may have truncated it.
                self.size = self.size.min(u64::try_from(found.st_size).unwrap_or(0));
                self.seen = self.size;
                Ok(false)
            }
            Ok(found) => self.begin_another(found, retry).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Whether the current file has no name any more, so that it is lost when multilog ends.
    pub fn is_gone(&self) -> bool {
        self.has_numbers && fstat(&self.current).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Begins another file, as the name `current` leads nowhere, or to something else.
    fn begin_another(&mut self, found: Option<FileStat>, retry: &mut Retry) -> Result<(), Stop> {
        let lost = self.lost_since_seen();
        let how: &[u8] = match (&lost, &found) {
            (_, Some(_)) => b" was replaced",
            (Some(_), None) => b" was removed",
            (None, None) => b" was moved away",
        };
        warning(&[self.path_of(CURRENT).as_bytes(), how, b": going on with a new one"]);
        self.close(retry)?;
        if found.is_some_and(|found| !files::is_regular(&found) || found.st_nlink != 1) {
            self.make_way(CURRENT);
        }
        self.append(retry)?;
        self.write(&lost.unwrap_or_default(), retry)
    }

    /// What was written to the current file since its name last led to it, if the file was removed.
    fn lost_since_seen(&self) -> Option<Vec<u8>> {
        let is_gone = fstat(&self.current).is_ok_and(|stat| stat.st_nlink == 0);
        is_gone.then(|| {
            let length = self.size.saturating_sub(self.seen);
            let mut bytes = Vec::new();
            let reserved = usize::try_from(length)
                .is_ok_and(|length| memory::may_fail(|| bytes.try_reserve_exact(length)).is_ok());
            if reserved {
                bytes.resize(length as usize, 0);
                let mut read = 0;
                while read < bytes.len() {
                    match pread(&self.current, &mut bytes[read..], (self.seen as usize + read) as i64) {
                        Err(Errno::EINTR) => {}
                        Ok(more @ 1..) => read += more,
                        Ok(0) | Err(_) => break,
                    }
                }
                bytes.truncate(read);
            }
            bytes
        })
    }

    /// Reports what is lost at the end of multilog, in a file that was removed and has no successor.
    pub fn say_gone(&self) {
        let gone = self.lost_since_seen().filter(|gone| !gone.is_empty());
        if let Some(gone) = gone {
            let words = format!("losing {} bytes that were written to ", gone.len());
            warning(&[words.as_bytes(), self.path_of(CURRENT).as_bytes(), b", which was removed"]);
        }
    }

    /// Goes on elsewhere, as the directory's name leads nowhere, or to another directory. Returns whether lines go on in another
    /// directory now.
    pub(super) fn go_on_elsewhere(&mut self, retry: &mut Retry) -> Result<bool, Stop> {
        let is_removed = fstat(&self.folder).is_ok_and(|stat| stat.st_nlink == 0);
        loop {
            let next = LogDirectory::try_to_lock(&self.settings.path).map_err(RetryFailure::Unable);
            let failure = match next.and_then(|next| self.move_to(next, retry)) {
                Ok(()) => {
                    retry.go_on();
                    return Ok(true);
                }
                Err(RetryFailure::Stopped) => return Err(Stop),
                Err(RetryFailure::Unable(unable)) => unable,
            };
            if !is_removed {
                self.say_once("it goes on in the directory that was moved away", &failure);
                return Ok(false);
            }
            retry.pause_in_vain(failure.what(), report::reason(failure.errno))?;
        }
    }

    /// Goes on in another directory, whose files are put in order first.
    fn move_to(&mut self, next: Locked, retry: &mut Retry) -> Result<(), RetryFailure> {
        let lost = self.lost_since_seen();
        let number = next.lock.0.as_raw_fd();
        retry.keep_from_children(&next.lock.0);
        let next = LogDirectory::restart(self.settings.clone(), next, &[], retry);
        let next = next.inspect_err(|_| retry.forget_lock(number))?;
        let how: &[u8] = if lost.is_some() { b" was removed" } else { b" was moved away or replaced" };
        warning(&[self.settings.path.as_bytes(), how, b": going on in the one that is there now"]);
        self.close(retry)?;
        let before = std::mem::replace(self, next);
        retry.forget_lock(before.lock.0.as_raw_fd());
        self.space.go_on(before.space);
        self.go_on_at(before.time);
        Ok(self.write(&lost.unwrap_or_default(), retry)?)
    }

    fn lock_again(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        loop {
            let path = &self.settings.path;
            match open_lock(&self.folder, path).and_then(lock_now).unable_to("lock directory", path) {
                Ok(lock) => {
                    retry.forget_lock(self.lock.0.as_raw_fd());
                    self.lock = lock;
                    retry.keep_from_children(&self.lock.0);
                    retry.go_on();
                    return Ok(());
                }
                Err(unable) if unable.errno == Errno::EAGAIN => {
                    let path = self.settings.path.as_bytes();
                    retry.pause_in_vain([b"lock directory ", path].concat(), "it is another's now")?;
                }
                // Another multilog cannot lock the directory either.
                Err(unable) => {
                    self.say_once("nothing keeps another multilog away", &unable);
                    return Ok(());
                }
            }
        }
    }

    fn say_once(&mut self, what: &'static str, unable: &Unable) {
        if self.said != Some(what) {
            warning(&[&unable.to_bytes(), b"; ", what.as_bytes()]);
            self.said = Some(what);
        }
    }
}
