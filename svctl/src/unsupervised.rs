//! Why a service has no supervise, as far as its files tell, and what to do.
//!
//! What a supervise said before it ended has gone to svscan's standard error, which svctl cannot read. So the causes are
//! looked for where they lie: is there an svscan, can supervise make its files, and does another process have its lock?

use crate::services::{Service, Services};
use crate::text::shown;
use daemontools::report::reason;
use daemontools::service::{LOCK, Place, Unread, open_file_itself_at};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, faccessat};
use std::fs::{File, TryLockError};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The lock of the svscan that serves a directory.
const SVSCAN_LOCK: &str = ".svscan/lock";

/// The cause and the cure in words: `no svscan runs in /service: start it: svscan /service`.
pub fn why(services: &Services, service: &Service) -> String {
    let is_entry = services.named(&service.name).path == service.path;
    let own = || obstacle(&service.path);
    no_svscan(services)
        .filter(|_| is_entry)
        .or_else(own)
        .unwrap_or_else(|| "svscan's standard error says why (svscanboot: ps -ww -C readproctitle -o args)".into())
}

/// That no svscan serves the directory, and the cure.
pub fn no_svscan(services: &Services) -> Option<String> {
    let directory = shown(services.directory().as_os_str().as_bytes());
    let is_none = matches!(is_locked(&services.directory().join(SVSCAN_LOCK)), Ok(false));
    is_none.then(|| format!("no svscan runs in {directory}: start it: svscan {directory}"))
}

/// What keeps a supervise from making its files in this service directory.
pub fn obstacle(service: &Path) -> Option<String> {
    let place = Place::of(service).ok()?;
    let directory = place.directory();
    let name = shown(directory.as_os_str().as_bytes());
    let made_in = if directory.symlink_metadata().is_ok() { directory } else { directory.parent()? };
    let access = faccessat(AT_FDCWD, made_in, AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS);
    let is_full = || statvfs(made_in).is_ok_and(|disk| disk.blocks() > 0 && disk.blocks_available() == 0);
    if made_in == directory && !directory.is_dir() {
        return Some(format!("{name} is no directory: remove it"));
    }
    match (access, is_locked(&place.path(LOCK))) {
        (Err(Errno::EROFS), _) => Some(format!(
            "{name} cannot be written to: its disk is read-only: let $SUPERVISEDIR name a place elsewhere"
        )),
        (Err(errno), _) => Some(format!("supervise cannot write to {name}: {}", reason(errno))),
        (Ok(()), Ok(true)) => Some(format!("another process has the lock of {name}: fuser {name}/lock names it")),
        (Ok(()), _) if is_full() => Some(format!("the disk of {name} is full")),
        (Ok(()), Ok(false) | Err(_)) => None,
    }
}

/// Whether a process has this lock. The lock is free again at once: who wants it meanwhile tries again.
fn is_locked(lock: &Path) -> Result<bool, Unread> {
    match open_file_itself_at(AT_FDCWD, lock) {
        Ok(file) => Ok(matches!(File::from(file).try_lock_shared(), Err(TryLockError::WouldBlock))),
        Err(unread) if unread.is_missing() => Ok(false),
        Err(unread) => Err(unread),
    }
}
