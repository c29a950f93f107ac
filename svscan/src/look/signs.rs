//! What in a service directory tells which supervise is in charge, and whether its lock is held. The caller has made sure
//! that the directory can be touched.

use crate::identity;
use crate::table::Id;
use daemontools::encoding::Encode;
use daemontools::service::{self, Place, Record, has_supervise_at, open_file_itself_at};
use daemontools::sys::kind::is_regular;
use daemontools::sys::lock::try_to_lock;
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FileStat, lstat};
use std::path::{Path, PathBuf};

/// What in a service directory tells which supervise is in charge.
#[derive(Debug, Clone)]
pub struct Signs {
    /// The directory.
    pub directory: Id,
    /// What the last supervise wrote down, if no other account could have written it.
    pub writer: Option<Record>,
    /// The inode of the file that a supervise in charge has locked.
    pub lock: Option<u64>,
}

/// What tells which supervise is in charge, in a directory that can be touched; `None` if `supervise/ok` has no reader.
///
/// # Errors
/// That cannot be told now.
pub fn signs(folder: &Path) -> nix::Result<Option<Signs>> {
    if !has_supervise_at(folder)? {
        return Ok(None);
    }
    let lock = lock_file(folder).ok().flatten().map(|(_, lock)| lock.st_ino);
    // Only a record that no other account could have written is believed when it names processes.
    let writer = Record::read_trusted(folder).unwrap_or_default();
    Ok(Some(Signs { directory: identity::of(folder)?, writer, lock }))
}

/// Whether it is proven that no process holds the lock that every supervise in charge holds.
///
/// # Errors
/// That cannot be told now.
pub fn is_unlocked(folder: &Path) -> nix::Result<bool> {
    // If the lock is missing or no file, no supervise has locked it.
    let Some((path, _)) = lock_file(folder)? else { return Ok(true) };
    // The file is closed at the end of this function, and so unlocked again.
    Ok(try_to_lock(&open_file_itself_at(AT_FDCWD, &path)?.into()).is_ok())
}

/// `supervise/lock`, if it is a file. No link is followed.
fn lock_file(folder: &Path) -> nix::Result<Option<(PathBuf, FileStat)>> {
    let path = Place::of(folder)?.path(service::LOCK);
    match lstat(&path) {
        Ok(file) => Ok(is_regular(&file).then_some((path, file))),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

impl Encode for Signs {
    fn encode(&self, bytes: &mut Vec<u8>) {
        (self.directory, self.writer.clone()).encode(bytes);
        self.lock.encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Signs> {
        let (directory, writer) = <(Id, Option<Record>)>::decode(bytes)?;
        Some(Signs { directory, writer, lock: Option::decode(bytes)? })
    }
}
