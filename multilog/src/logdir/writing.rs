//! Writes lines to the current file, synchronizes them with the disk, and deals with a full disk.

use super::LogDirectory;
use super::old;
use crate::dropped::{Dropped, LONGEST_ACCOUNT};
use crate::retry::{Retry, Stop};
use crate::settings::{Directory, Durability, WhenFull};
use daemontools::logdir::CURRENT;
use daemontools::logdir::stamp;
use daemontools::logdir::stamp::write::Stamper;
use daemontools::report::{reason, warning};
use daemontools::sys::mapping;
use daemontools::tai64::{self, Moment};
use nix::errno::Errno;
use nix::sys::statvfs::fstatvfs;
use nix::sys::uio::pread;
use nix::unistd::{fdatasync, ftruncate, write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The time between two checks of how full the disk is.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The room on the disk.
pub struct Space {
    when_full: WhenFull,
    reserve: u64,
    /// When to check it again, and whether there was too little at the last check.
    look_at: Duration,
    is_short: bool,
    /// Dropped lines that were not reported yet.
    dropped: Option<Dropped>,
    /// When to try again to report them.
    tell_at: Duration,
}

impl Space {
    /// The room as the script sets it.
    pub fn new(settings: &Directory) -> Space {
        Space {
            when_full: settings.when_full,
            reserve: settings.reserve,
            look_at: Duration::ZERO,
            is_short: false,
            dropped: None,
            tell_at: Duration::ZERO,
        }
    }

    /// Takes over the dropped lines of another directory, which it had not reported.
    pub(super) fn go_on(&mut self, before: Space) {
        (self.dropped, self.tell_at) = (before.dropped, before.tell_at);
    }

    /// Appends bytes. With `doldest`, the oldest files make room for them.
    fn put(&mut self, folder: &OwnedFd, current: &OwnedFd, bytes: &[u8]) -> nix::Result<usize> {
        if self.reserve > 0 {
            self.look(folder)?;
        }
        self.making_room(folder, || match write(current, bytes) {
            // The bytes are in a journal that has become unreadable. After a touch they are in memory.
            Err(Errno::EFAULT) => {
                mapping::touch(bytes);
                write(current, bytes)
            }
            written => written,
        })
    }

    /// Does `act`. With `doldest`, the oldest file makes room for it.
    pub(super) fn making_room<T>(&self, folder: &OwnedFd, mut act: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
        match act() {
            // One file at a time, as some disks have the room of a removed file only later.
            Err(errno) if is_full(errno) && self.when_full == WhenFull::RemoveOldest => {
                if old::remove_oldest(folder, 1)? { act() } else { Err(errno) }
            }
            done => done,
        }
    }

    /// Fails if less than the reserve is free. With `doldest`, old files make room for the reserve.
    fn look(&mut self, folder: &OwnedFd) -> nix::Result<()> {
        let now = Moment::now().uptime;
        if now >= self.look_at {
            self.look_at = now + LOOK_AGAIN;
            let shortage = shortage(folder, self.reserve);
            self.is_short = shortage > 0 && self.when_full != WhenFull::RemoveOldest;
            if shortage > 0 && !self.is_short {
                old::remove_oldest(folder, shortage)?;
            }
        }
        if self.is_short { Err(Errno::ENOSPC) } else { Ok(()) }
    }
}

impl LogDirectory {
    /// Writes all of `bytes` to the current file, or drops lines of it with `ddrop`.
    ///
    /// # Errors
    /// [`Stop`]: part of it may have been written.
    pub fn write(&mut self, bytes: &[u8], retry: &mut Retry) -> Result<(), Stop> {
        match self.settings.when_full {
            WhenFull::Block | WhenFull::RemoveOldest => self.write_all(bytes, retry)?,
            WhenFull::Drop => self.write_or_drop(bytes, retry)?,
        }
        match self.settings.durability {
            Durability::Rotation => Ok(()),
            Durability::Line => self.sync(retry),
            Durability::Within(time) => {
                if self.sync_at.is_none() && self.size > self.synced {
                    self.sync_at = Some(Moment::now().uptime.saturating_add(time));
                }
                Ok(())
            }
        }
    }

    /// Writes what the router has put out for this directory, and forgets it.
    ///
    /// # Errors
    /// [`Stop`]: part of it may have been written. The output is as before.
    pub fn write_output(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        // The memory is kept for the next lines.
        let mut pending = std::mem::take(&mut self.output.pending);
        let written = self.write(&pending, retry);
        if written.is_ok() {
            pending.clear();
        }
        self.output.pending = pending;
        written
    }

    fn write_all(&mut self, mut bytes: &[u8], retry: &mut Retry) -> Result<(), Stop> {
        while !bytes.is_empty() {
            let LogDirectory { settings, folder, current, space, .. } = self;
            let object = [settings.path.as_bytes(), b"/", CURRENT.as_bytes()];
            let written = retry.retry_until_done("write to", &object, || space.put(folder, current, bytes))?;
            self.size += written as u64;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    fn write_or_drop(&mut self, mut bytes: &[u8], retry: &mut Retry) -> Result<(), Stop> {
        if let Some(mut dropped) = self.space.dropped.take() {
            bytes = dropped.end_line(bytes);
            if !self.tell(&dropped, bytes) {
                dropped.add(bytes);
                self.space.dropped = Some(dropped);
                return Ok(());
            }
        }
        let mut written = 0;
        while written < bytes.len() {
            let LogDirectory { settings, folder, current, space, .. } = self;
            let object = [settings.path.as_bytes(), b"/", CURRENT.as_bytes()];
            let put = || match space.put(folder, current, &bytes[written..]) {
                Err(errno) if is_full(errno) => Ok(Err(errno)),
                other => other.map(Ok),
            };
            match retry.retry_until_done("write to", &object, put)? {
                Ok(more) => written += more,
                Err(errno) => {
                    // Lines are written whole or not at all.
                    let whole = memchr::memrchr(b'\n', &bytes[..written]).map_or(0, |at| at + 1);
                    let end = (self.size + whole as u64) as i64;
                    retry.retry_until_done("write to", &object, || ftruncate(&self.current, end))?;
                    written = whole;
                    self.begin_to_drop(&bytes[whole..], errno);
                    break;
                }
            }
        }
        self.size += written as u64;
        Ok(())
    }

    fn begin_to_drop(&mut self, bytes: &[u8], errno: Errno) {
        let path = self.path_of(CURRENT);
        warning(&[b"unable to write to ", path.as_bytes(), b", dropping lines: ", reason(errno).as_bytes()]);
        let mut dropped = Dropped::default();
        dropped.add(bytes);
        self.space.dropped = Some(dropped);
        self.space.tell_at = Moment::now().uptime + LOOK_AGAIN;
    }

    /// Reports dropped lines in the log and on standard error, before `bytes` are written. Returns false if there is no
    /// room for that yet.
    fn tell(&mut self, dropped: &Dropped, bytes: &[u8]) -> bool {
        let now = Moment::now().uptime;
        if now < self.space.tell_at {
            return false;
        }
        self.space.tell_at = now + LOOK_AGAIN;
        if dropped.is_within() {
            return false;
        }
        let account = dropped.account();
        let newline: &[u8] = if self.ends_in_a_line() { b"\n" } else { b"" };
        let told = [newline, &self.stamp_like(bytes), b"multilog: warning: ", account.as_bytes(), b"\n"].concat();
        if self.space.put(&self.folder, &self.current, &told) != Ok(told.len()) {
            // Part of the message may be there. If it cannot be cut off now, it is cut off the next time.
            let _ = ftruncate(&self.current, self.size as i64);
            return false;
        }
        self.size += told.len() as u64;
        self.tell_without_room(dropped);
        true
    }

    fn tell_without_room(&self, dropped: &Dropped) {
        warning(&[dropped.account().as_bytes(), b": ", self.settings.path.as_bytes()]);
    }

    /// Whether the last line of the current file has no newline, because the rest of it was dropped.
    fn ends_in_a_line(&self) -> bool {
        let mut last = [b'\n'];
        let Some(at) = self.size.checked_sub(1) else { return false };
        pread(&self.current, &mut last, at as i64) == Ok(1) && last != *b"\n"
    }

    /// The stamp that these lines begin with. Without lines, it is that of this moment, or of the file's period.
    fn stamp_like(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stamper = Stamper::new(self.settings.stamp);
        stamper.batch(self.time.filter(|_| self.period.is_some()).unwrap_or_else(tai64::now));
        let mut now = Vec::new();
        stamper.put(&mut now);
        match memchr::memchr(b' ', bytes) {
            Some(at) if !now.is_empty() && at < stamp::LONGEST => bytes[..=at].to_vec(),
            _ => now,
        }
    }

    /// What multilog would have to wait for, if the disk has no room at all.
    pub fn trouble(&self) -> Option<Vec<u8>> {
        let waits = self.settings.when_full == WhenFull::Block && shortage(&self.folder, 1) > 0;
        waits.then(|| [b"write to ", self.path_of(CURRENT).as_bytes()].concat())
    }

    /// How many bytes an account of dropped lines may take beside the lines themselves.
    pub(super) fn account_size(&self) -> usize {
        if self.space.dropped.is_some() { stamp::LONGEST + LONGEST_ACCOUNT } else { 0 }
    }

    /// When to try again to report dropped lines.
    pub fn tell_at(&self) -> Option<Duration> {
        self.space.dropped.as_ref().map(|_| self.space.tell_at)
    }

    /// Reports dropped lines a last time, at least on standard error.
    pub(super) fn tell_or_give_up(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        self.space.tell_at = Duration::ZERO;
        self.write(b"", retry)?;
        self.give_up_telling();
        Ok(())
    }

    /// Reports dropped lines on standard error, and forgets them.
    pub fn give_up_telling(&mut self) {
        if let Some(dropped) = self.space.dropped.take() {
            self.tell_without_room(&dropped);
        }
    }

    /// Synchronizes what was written with the disk.
    pub(super) fn sync(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        if self.size > self.synced {
            let (path, current) = (self.settings.path.as_bytes(), &self.current);
            retry.retry_until_done("write", &[path, b"/", CURRENT.as_bytes(), b" to disk"], || fdatasync(current))?;
            self.synced = self.size;
        }
        self.sync_at = None;
        Ok(())
    }
}

fn is_full(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSPC | Errno::EDQUOT)
}

/// How many bytes of the reserve are not free.
fn shortage(folder: &OwnedFd, reserve: u64) -> u64 {
    fstatvfs(folder).map_or(0, |disk| reserve.saturating_sub(disk.blocks_available() * disk.fragment_size()))
}
