//! What a service directory is known by: its device and inode, so that it is the same when it is renamed. But some file
//! systems, many of FUSE, may give a file another number each time they are asked. There it is known by its path and the
//! mount it is on: a directory that stays where it is stays the same. A directory that is renamed counts as another one,
//! whose supervise is found to run already. A directory that takes the place of another is served when the supervise of that
//! has ended.

use crate::procfs::process_path;
use crate::table::Id;
use daemontools::files::stat_on_mount;
use daemontools::hash::hash;
use daemontools::sys::file_numbers::keeps_numbers;
use daemontools::sys::kind::is_directory;
use daemontools::sys::process::mount_of;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, stat};
use nix::sys::statfs::statfs;
use nix::unistd::{Pid, getpid};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What the kernel adds to the path of a directory that was removed, or whose number is not the one it had.
const DELETED: &[u8] = b" (deleted)";

/// The identity of the directory that a path leads to.
///
/// # Errors
/// ENOTDIR: it leads to something else. Others: it cannot be told where it leads.
pub fn of(path: &Path) -> nix::Result<Id> {
    let file = stat(path)?;
    if !is_directory(&file) {
        return Err(Errno::ENOTDIR);
    }
    known_by(path, &file, || {
        let resolved = fs::canonicalize(path).map_err(|error| daemontools::report::errno_of(&error))?;
        Ok(resolved.into_os_string().as_bytes().to_vec())
    })
}

/// The identity of the directory that a path leads to, without a step on another mount than that of the current directory, on
/// which the numbers of files are kept; `None` if the path leads elsewhere, or to nothing, or the kernel does not tell.
pub fn of_on_mount(path: &Path) -> Option<nix::Result<Id>> {
    let file = stat_on_mount(path).ok()?;
    Some(if is_directory(&file) { Ok(id_of(&file)) } else { Err(Errno::ENOTDIR) })
}

/// Whether the numbers of files are kept on the mount of the current directory.
pub fn are_numbers_kept_here() -> bool {
    are_numbers_kept_at(Path::new(".")) == Ok(true)
}

fn are_numbers_kept_at(path: &Path) -> nix::Result<bool> {
    // The type of this number is not the same on all machines.
    Ok(keeps_numbers(statfs(path)?.filesystem_type().0 as i64))
}

/// The identity of the directory that a process works in.
///
/// # Errors
/// The kernel does not tell.
pub fn of_working_directory(pid: Pid) -> nix::Result<Id> {
    let path = process_path(pid, "cwd");
    known_by(&path, &stat(&path)?, || {
        let path = fs::read_link(&path).map_err(|error| daemontools::report::errno_of(&error))?;
        let path = path.as_os_str().as_bytes();
        Ok(path.strip_suffix(DELETED).unwrap_or(path).to_vec())
    })
}

/// The identity of a directory, from what stat(2) says of it.
pub fn id_of(file: &FileStat) -> Id {
    Id { device: file.st_dev, inode: file.st_ino }
}

fn known_by(path: &Path, file: &FileStat, resolved: impl FnOnce() -> nix::Result<Vec<u8>>) -> nix::Result<Id> {
    if are_numbers_kept_at(path)? {
        return Ok(id_of(file));
    }
    Ok(Id { device: file.st_dev, inode: hash(&[mount(path)?.to_string().as_bytes(), b" ", &resolved()?].concat()) })
}

/// The number of the mount that a path leads to; 0 where the kernel does not tell.
fn mount(path: &Path) -> nix::Result<u64> {
    let place = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(mount_of(getpid(), place.as_raw_fd()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_identity_by_each_of_its_names_and_for_a_process_in_it() {
        let here = of(Path::new(".")).unwrap();
        let other_name = std::env::current_dir().unwrap().join("src/..");
        assert_eq!([of(&other_name).unwrap(), of_working_directory(getpid()).unwrap()], [here, here]);
        assert_ne!(of(Path::new("src")).unwrap(), here);
        assert_eq!(of(Path::new("Cargo.toml")), Err(Errno::ENOTDIR));
    }
}
