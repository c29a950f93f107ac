//! Directories that cannot be written to because of their disk: what is wrong, and what to do.

use crate::text::shown;
use daemontools::service::answers;
use nix::sys::statvfs::statvfs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What to do about a full disk.
pub const MAKE_ROOM: &str = "make room there";

/// That the disk of this directory is full, in words; `None` if it takes more bytes, or does not tell.
pub fn full_disk(directory: &Path) -> Option<String> {
    let disk = answers(directory).then(|| statvfs(directory).ok()).flatten()?;
    let is_full = disk.blocks() > 0 && disk.blocks_available() == 0;
    is_full.then(|| format!("the disk of {} is full", shown(directory.as_os_str().as_bytes())))
}
