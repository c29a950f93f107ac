//! A log directory: its files, their names and modes.

mod locking;
mod old;
mod period;
mod processor;
mod restart;
mod watch;
mod writing;

use crate::files;
use crate::journal::{File, Id};
use crate::retry::{Retry, Stop};
use crate::rotation::{self, RotationState};
use crate::router::{HasOutput, Output};
use crate::schedule::Period;
use crate::settings::{Directory, Durability};
use daemontools::logdir::{COMPLETE, CURRENT, INCOMPLETE, PREVIOUS};
use daemontools::sys::{self};
use daemontools::tai64::{Moment, Tai64N};
use daemontools::{Unable, report};
pub use locking::Locked;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, renameat};
use nix::poll::PollTimeout;
use nix::sys::stat::{FileStat, fchmod, fstat, fstatat};
use nix::unistd::{Pid, fsync};
use old::Compressor;
pub use old::rename_away;
use processor::Processing;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use writing::Space;

/// An open log directory.
pub struct LogDirectory {
    settings: Directory,
    folder: OwnedFd,
    /// Which directory it is, in the journal's checkpoints.
    id: Id,
    /// The open lock of the directory, and which file that is.
    lock: (OwnedFd, FileStat),
    current: OwnedFd,
    /// `current` is full at this many bytes.
    pub limit: u64,
    /// Bytes in `current`.
    pub size: u64,
    /// What the router has put out for this directory, and is not written yet.
    pub output: Output,
    inode: u64,
    /// The size of `current` when its name last led to it; what was last said about a name that leads elsewhere.
    seen: u64,
    said: Option<&'static str>,
    /// Whether multilog has said that it cannot remove an old file.
    is_stuck: bool,
    /// Whether the file system gives a file the same number each time.
    has_numbers: bool,
    /// The period of the lines in `current`; how often the time zone had changed when the period was computed.
    period: Option<Period>,
    zone_changes: u64,
    /// The time of the lines that come next; none before the first.
    time: Option<Tai64N>,
    /// How many bytes of `current` are on the disk; when the others must be there.
    synced: u64,
    sync_at: Option<Duration>,
    space: Space,
    processing: Option<Processing>,
    /// When the processor failed, if it has not worked since.
    failing_since: Option<Duration>,
    compressor: Compressor,
    /// The largest label of an old file; none before the first look at them.
    newest: Option<Tai64N>,
    /// When an old file is too old, as time since 1970.
    expiry: Option<Duration>,
}

impl HasOutput for LogDirectory {
    fn output(&self) -> &Output {
        &self.output
    }

    fn output_mut(&mut self) -> &mut Output {
        &mut self.output
    }
}

impl LogDirectory {
    /// Makes a new file in the place of what has its name.
    fn create(&self, name: &str) -> nix::Result<OwnedFd> {
        files::replace_at(&self.folder, name, OFlag::O_WRONLY, INCOMPLETE)
    }

    /// Renames what has the name of one of multilog's files and cannot be used, so that its content is kept.
    fn make_way(&self, name: &str) {
        let path = self.path_of(name);
        match rename_away(&self.folder, name) {
            Ok(new) => report::warning(&[b"renaming ", path.as_bytes(), b" to ", new.as_bytes(), b": it is not mine"]),
            Err(Errno::ENOENT) => {}
            Err(errno) => Unable::new("rename", path, errno).warn(),
        }
    }

    fn path_of(&self, name: &str) -> OsString {
        report::joined(&self.settings.path, name)
    }

    fn append(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        loop {
            let object = [self.settings.path.as_bytes(), b"/", CURRENT.as_bytes()];
            let opened = retry.retry_until_done("create", &object, || match self.open_current(|_| false) {
                Err(Errno::ENOENT) => Ok(None),
                opened => opened.map(Some),
            })?;
            match opened {
                Some(current) => return self.take_current(current, retry),
                // The directory is gone.
                None if self.go_on_elsewhere(retry)? => return Ok(()),
                None => retry.signals.wait(PollTimeout::from(100_u8)),
            }
        }
    }

    /// Opens `current`, also for reading: if it is removed, multilog writes its lines again. A file that has a second
    /// name may be another account's: unless it `is_known`, multilog renames it, and changes neither its content nor
    /// its mode.
    fn open_current(&self, is_known: impl Fn(&FileStat) -> bool) -> nix::Result<(OwnedFd, FileStat)> {
        let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT;
        let open = || match files::open_regular(&self.folder, CURRENT, flags, INCOMPLETE) {
            // The original would follow the link. The error is therefore that of the file to which the link leads.
            Err(Errno::ELOOP) => fstatat(&self.folder, CURRENT, AtFlags::empty()).and(Err(Errno::ELOOP)),
            opened => opened,
        };
        for _ in 0..files::TRIES {
            let (current, stat) = self.space.making_room(&self.folder, open)?;
            if stat.st_nlink == 1 || is_known(&stat) {
                fchmod(&current, INCOMPLETE)?;
                let stat = fstat(&current)?;
                return Ok((current, stat));
            }
            drop(current);
            self.make_way(CURRENT);
        }
        Err(Errno::EMLINK)
    }

    fn take_current(&mut self, (current, stat): (OwnedFd, FileStat), retry: &mut Retry) -> Result<(), Stop> {
        (self.current, self.inode, self.size) = (current, stat.st_ino, stat.st_size as u64);
        (self.synced, self.sync_at, self.seen) = (self.size, None, self.size);
        if self.settings.durability != Durability::Rotation {
            // A multilog that was killed may have written what is there, and not synchronized it.
            self.sync_with_names(retry)?;
        }
        // All lines of the file are of one period. The time at which the last of them was written tells which one,
        // unless a journal tells it. A new file is of the time of the lines that come next, which may have been read
        // before it was made.
        let time = self.time.filter(|_| self.size == 0);
        self.begin_period(time.map_or(stat.st_mtime, |time| time.0.to_unix()));
        Ok(())
    }

    /// Synchronizes the current file, and the names of all files.
    ///
    /// # Errors
    /// [`Stop`]: it may not be.
    pub fn sync_with_names(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        let (path, folder) = (self.settings.path.as_bytes(), &self.folder);
        let sync = || fsync(&self.current).and_then(|()| sys::directory::sync(folder));
        retry.retry_until_done("write", &[path, b"/", CURRENT.as_bytes(), b" to disk"], sync)
    }

    /// What a checkpoint says of the current file, when `underway` more bytes are about to be written.
    pub fn file(&self, underway: usize) -> File {
        File {
            folder: self.id,
            inode: self.inode,
            size: self.size,
            underway: (underway + self.account_size()) as u64,
            begun: self.period.map(|period| period.begun()),
        }
    }

    /// What decides whether the current file is replaced.
    pub fn standing(&self) -> RotationState {
        RotationState { size: self.size, limit: self.limit, is_processing: self.is_processing() }
    }

    /// Replaces the current file by an empty one, and begins to deal with the full one.
    ///
    /// # Errors
    /// [`Stop`]: the next multilog goes on.
    pub fn rotate(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        let is_there = files::stat_at(&self.folder, CURRENT)
            .is_ok_and(|found| found.is_some_and(|found| found.st_ino == self.inode || !self.has_numbers));
        if !is_there && self.check_files(retry)? {
            // A new file was begun meanwhile.
            return Ok(());
        }
        for step in rotation::STEPS {
            match step {
                rotation::Step::Sync => self.sync_current(retry)?,
                rotation::Step::Complete => self.complete_current(retry)?,
                rotation::Step::Rename => self.rename_current(retry)?,
                rotation::Step::Begin => self.append(retry)?,
                rotation::Step::Process => self.process(retry)?,
            }
        }
        Ok(())
    }

    fn rename_current(&self, retry: &mut Retry) -> Result<(), Stop> {
        let path = self.settings.path.as_bytes();
        retry.retry_until_done("rename current to previous in directory", &[path], || {
            match renameat(&self.folder, CURRENT, &self.folder, PREVIOUS) {
                Err(Errno::EISDIR | Errno::ENOTEMPTY | Errno::EEXIST) => {
                    self.make_way(PREVIOUS);
                    renameat(&self.folder, CURRENT, &self.folder, PREVIOUS)
                }
                // Another program has removed `current` just now. A new file is begun all the same.
                Err(Errno::ENOENT) => Ok(()),
                renamed => renamed,
            }
        })
    }

    /// Ends in the middle of trouble. What was written is on the disk then, as the journal says.
    pub fn leave(&mut self) {
        self.give_up_telling();
        let _ = fsync(&self.current);
    }

    /// Marks the current file as complete, for the multilog that goes on.
    ///
    /// # Errors
    /// [`Stop`]: it is not.
    pub fn end(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        self.tell_or_give_up(retry)?;
        self.keep_period();
        self.close(retry)
    }

    /// Marks the current file as complete, on the disk too.
    ///
    /// # Errors
    /// [`Stop`]: it is not.
    fn close(&self, retry: &mut Retry) -> Result<(), Stop> {
        self.sync_current(retry)?;
        self.complete_current(retry)
    }

    fn sync_current(&self, retry: &mut Retry) -> Result<(), Stop> {
        let (path, current, folder) = (self.settings.path.as_bytes(), &self.current, &self.folder);
        let sync = || self.space.making_room(folder, || fsync(current));
        retry.retry_until_done("write", &[path, b"/", CURRENT.as_bytes(), b" to disk"], sync)
    }

    fn complete_current(&self, retry: &mut Retry) -> Result<(), Stop> {
        let object = [self.settings.path.as_bytes(), b"/", CURRENT.as_bytes()];
        retry.retry_until_done("set mode of", &object, || fchmod(&self.current, COMPLETE))
    }

    /// Takes in that a child has ended.
    ///
    /// # Errors
    /// [`Stop`]: the next multilog goes on.
    pub fn child_ended(&mut self, pid: Pid, status: i32, retry: &mut Retry) -> Result<(), Stop> {
        self.compressor_ended(pid, retry)?;
        self.processor_ended(pid, status, retry)
    }

    /// When something is to be done even if nothing happens.
    pub fn deadline(&self) -> Option<Duration> {
        [self.retry_at(), self.sync_at, self.tell_at()].into_iter().flatten().min()
    }

    /// Does what is to be done at its time.
    ///
    /// # Errors
    /// [`Stop`]: the next multilog does it.
    pub fn tend(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        self.retry(retry)?;
        if self.sync_at.is_some_and(|at| at <= Moment::now().uptime) {
            self.sync(retry)?;
        }
        self.tidy_expired(retry)
    }

    /// The path of the directory, as the script has it.
    pub fn path(&self) -> &OsStr {
        &self.settings.path
    }

    /// The directory itself.
    pub fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// Whether `folder` is this directory.
    pub fn is(&self, folder: &OwnedFd) -> bool {
        Id::of(folder).is_ok_and(|id| id == self.id)
    }
}
