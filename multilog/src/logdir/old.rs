//! Gives full files their final names, has them compressed, and removes them when there are too many.

use super::LogDirectory;
use crate::files;
use crate::retention::{self, Limits};
use crate::retry::{ChildStart, Retry, Stop};
use daemontools::logdir::{self, CURRENT, Compression, Old};
use daemontools::sys::process::{self, duplicate_to};
use daemontools::sys::{self, exec};
use daemontools::tai64::{self, Tai64N};
use daemontools::{Fatal, Unable};
use nix::dir::{Dir, Entry, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, renameat, renameat2};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{Pid, fchdir};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The program that compresses all old files of a directory.
const COMPRESSOR: &str = "logcompress";

/// The process that compresses old files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressor {
    Idle,
    Running(Pid),
    /// It runs, and there are files that it may not have seen.
    RunningAndWanted(Pid),
}

/// Whether the sizes of files are needed, which costs a call for each file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sizes {
    Asked,
    Unasked,
}

impl LogDirectory {
    /// Gives a file its final name, and removes old files beyond what is to be kept.
    pub(super) fn finish(&mut self, name: &str, code: &[u8], retry: &mut Retry) -> Result<(), Stop> {
        let (path, folder) = (self.settings.path.as_bytes(), &self.folder);
        let object: [&[u8]; 3] = [path, b"/", name.as_bytes()];
        match retry.retry_until_done("stat", &object, || files::stat_at(folder, name))? {
            None => return Ok(()),
            // Opening a link for `current` says what is wrong.
            Some(stat) if files::is_link(&stat) && name == CURRENT => return Ok(()),
            Some(stat) if !files::is_regular(&stat) => {
                self.make_way(name);
                return Ok(());
            }
            // The file has its final name already: only the old name is left to be removed.
            Some(stat) if stat.st_nlink != 1 && name != CURRENT => {
                retry.retry_until_done("remove", &object, || files::remove_at(folder, name))?;
            }
            Some(_) => {
                let newest = match self.newest {
                    Some(known) => known,
                    None => retry.retry_until_done("read directory", &[path], || {
                        Ok(retention::newest(&old_files(folder, Sizes::Unasked)?))
                    })?,
                };
                retry.retry_until_done("rename", &object, || rename_to_label(folder, name, code, newest))?;
            }
        }
        self.tidy(retry)?;
        self.compress(retry);
        Ok(())
    }

    /// Removes and compresses old files at the start; the original waits for the next full file.
    pub(super) fn tend_old_files(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        if self.settings.bytes.is_some() || self.settings.age.is_some() {
            self.tidy(retry)?;
        }
        self.compress(retry);
        Ok(())
    }

    /// Removes what is too much or too old.
    pub(super) fn tidy(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        let (path, folder, age) = (self.settings.path.as_bytes(), &self.folder, self.settings.age);
        let limits = Limits {
            count: self.settings.count,
            // The current file may become full.
            bytes: self.settings.bytes.map(|most| most.saturating_sub(self.limit)),
            age,
        };
        let sizes = if limits.bytes.is_some() { Sizes::Asked } else { Sizes::Unasked };
        let files = retry.retry_until_done("read directory", &[path], || old_files(folder, sizes))?;
        let surplus = retention::surplus(files.clone(), &limits, now());
        let mut stays = None;
        for name in &surplus {
            let object = [path, b"/", &name[..]].concat();
            let remove = || match files::remove_at(folder, OsStr::from_bytes(name)) {
                // Waiting does not help, and the file does no harm there.
                Err(errno @ (Errno::EISDIR | Errno::EPERM | Errno::EACCES)) => Ok(Some(errno)),
                removed => removed.map(|()| None),
            };
            let errno = retry.retry_until_done("remove", &[&object], remove)?;
            stays = errno.map(|errno| Unable::new("remove", OsStr::from_bytes(&object), errno)).or(stays);
        }
        let stuck = stays.is_some();
        if let Some(unable) = stays.filter(|_| !self.is_stuck) {
            unable.warn();
        }
        let left = files.iter().map(|file| &file.name[..]).filter(|name| !surplus.iter().any(|gone| gone == name));
        let expiry = age.and_then(|age| retention::next_expiry(left, age));
        self.is_stuck = stuck;
        (self.newest, self.expiry) = (Some(retention::newest(&files)), expiry);
        Ok(())
    }

    /// Removes what is too old, if it is time.
    pub(super) fn tidy_expired(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        if self.expiry.is_some_and(|at| at <= now()) { self.tidy(retry) } else { Ok(()) }
    }

    /// Has another process compress all old files. If that fails, it is tried again after the next file.
    pub(super) fn compress(&mut self, retry: &Retry) {
        let Some(format) = self.settings.compression else { return };
        if let Compressor::Running(pid) | Compressor::RunningAndWanted(pid) = self.compressor {
            self.compressor = Compressor::RunningAndWanted(pid);
            return;
        }
        let start = retry.child_start();
        match process::fork(|| self.run_compressor(format, &start)) {
            Ok(pid) => self.compressor = Compressor::Running(pid),
            Err(errno) => Unable::new("fork for compressor in", &self.settings.path, errno).warn(),
        }
    }

    /// Runs logcompress, in the child, which must not hold multilog's input open.
    fn run_compressor(&self, format: Compression, start: &ChildStart) -> i32 {
        start.begin();
        let entered = sys::null().and_then(|null| {
            duplicate_to(&null, 0)?;
            duplicate_to(&null, 1)?;
            fchdir(&self.folder)
        });
        if let Err(errno) = entered {
            return Fatal::from(Unable::new("switch to", &self.settings.path, errno)).print();
        }
        let program = sys::companion(COMPRESSOR);
        let errno = exec::exec(&[program.clone().into(), format.word().into(), ".".into()], &[]);
        Fatal::from(Unable::new("run", program.as_os_str(), errno)).print()
    }

    /// Takes in that the compressor has ended, if it was this process.
    pub(super) fn compressor_ended(&mut self, ended: Pid, retry: &mut Retry) -> Result<(), Stop> {
        match self.compressor {
            Compressor::Running(pid) | Compressor::RunningAndWanted(pid) if pid == ended => {
                let wanted = self.compressor == Compressor::RunningAndWanted(pid);
                self.compressor = Compressor::Idle;
                // A file that was removed meanwhile may be back under the name of its compressed copy.
                self.tidy(retry)?;
                if wanted {
                    self.compress(retry);
                }
            }
            Compressor::Running(_) | Compressor::RunningAndWanted(_) | Compressor::Idle => {}
        }
        Ok(())
    }
}

fn now() -> Duration {
    tai64::since_1970(tai64::now()).unwrap_or(Duration::ZERO)
}

/// Renames a file to `@`, the label of this moment, a point and the code; never to a name that is taken. Where the
/// clock was put back, the label follows the newest one: among older names, the file would be out of order, and soon be
/// removed.
fn rename_to_label(folder: &OwnedFd, name: &str, code: &[u8], mut newest: Tai64N) -> nix::Result<()> {
    loop {
        newest = tai64::now().max(tai64::next_nanosecond(newest));
        let finished = logdir::finished_name(newest, code);
        let renamed = rename_to_new(folder, name, OsStr::from_bytes(&finished));
        if renamed != Err(Errno::EEXIST) {
            return renamed;
        }
    }
}

/// Gives a file a name that no other file has yet.
fn rename_to_new(folder: &OwnedFd, name: &str, new: &OsStr) -> nix::Result<()> {
    match renameat2(folder, name, folder, new, RenameFlags::RENAME_NOREPLACE) {
        // The file system cannot do that, or a filter forbids it. No other multilog makes names here, as this one holds
        // the lock.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => match fstatat(folder, new, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => renameat(folder, name, folder, new),
            other => other.and(Err(Errno::EEXIST)),
        },
        renamed => renamed,
    }
}

/// Renames something that has the name of one of multilog's files and is none of them; returns its new name.
pub fn rename_away(folder: &OwnedFd, name: &str) -> nix::Result<String> {
    let mut number = 1;
    loop {
        let new = format!("{name}.{number}");
        match rename_to_new(folder, name, OsStr::new(&new)) {
            Err(Errno::EEXIST) => number += 1,
            renamed => return renamed.map(|()| new),
        }
    }
}

/// The old files. A directory with such a name is not counted, as it could not be removed.
fn old_files(folder: &OwnedFd, sizes: Sizes) -> nix::Result<Vec<Old>> {
    let mut entries = Dir::openat(folder.as_fd(), ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let look = |name: &[u8]| files::stat_at(folder, OsStr::from_bytes(name)).ok().flatten();
    let old = |entry: Entry| {
        let name = entry.file_name().to_bytes().to_vec();
        let is_directory = || match entry.file_type() {
            Some(kind) => kind == Type::Directory,
            None => look(&name).is_some_and(|stat| files::is_directory(&stat)),
        };
        if !logdir::is_old(&name) || is_directory() {
            return None;
        }
        let size = if sizes == Sizes::Asked { look(&name).map_or(0, |stat| stat.st_size as u64) } else { 0 };
        Some(Old { size, name })
    };
    Ok(entries.iter().flatten().filter_map(old).collect())
}

/// Removes the oldest files that can be removed, until they are this large together. Returns whether one was removed.
pub fn remove_oldest(folder: &OwnedFd, size: u64) -> nix::Result<bool> {
    let mut left = old_files(folder, Sizes::Asked)?;
    let mut is_any_removed = false;
    while !is_any_removed && !left.is_empty() {
        let oldest = retention::oldest(left.clone(), size);
        left.retain(|file| !oldest.contains(&file.name));
        for name in &oldest {
            match files::remove_at(folder, OsStr::from_bytes(name)) {
                Ok(()) => is_any_removed = true,
                Err(Errno::EISDIR | Errno::EPERM | Errno::EACCES) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(is_any_removed)
}
