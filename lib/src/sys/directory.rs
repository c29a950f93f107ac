//! Listing a directory without the C library's buffer of 32 kB, which would be half of a small program's private
//! memory.

use crate::report::errno_of;
use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, lstat};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

/// The number of bytes per system call. An entry with the longest name needs less than 300.
const BUFFER: usize = 1024;
/// The offsets of the length and of the name in a `linux_dirent64`.
const LENGTH: usize = 16;
const NAME: usize = 19;

/// Room for entries, aligned as the kernel writes them.
#[repr(align(8))]
struct Entries([u8; BUFFER]);

/// Makes sure that the names in an open directory are on the disk. On a file system that cannot do this, nothing
/// happens.
///
/// # Errors
/// EIO: the names may not be on the disk.
pub fn sync(directory: impl AsFd) -> nix::Result<()> {
    match nix::unistd::fsync(directory) {
        // The file system does not keep directories on a disk.
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(()),
        synced => synced,
    }
}

/// When a file or directory was made, in nanoseconds since 1970; `None` if the file system does not report it.
///
/// # Errors
/// ENOSYS: the kernel is older than 4.11, or a filter forbids the call.
pub fn born(file: impl AsFd) -> nix::Result<Option<u64>> {
    // SAFETY: this is a struct of integers, for which all zeros is a valid value.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, the path is empty, and the kernel fills the struct.
    let asked = unsafe {
        libc::statx(file.as_fd().as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_BTIME, &mut found)
    };
    Errno::result(asked)?;
    if found.stx_mask & libc::STATX_BTIME == 0 {
        return Ok(None);
    }
    let seconds = u64::try_from(found.stx_btime.tv_sec).unwrap_or(0);
    Ok(Some(seconds.saturating_mul(1_000_000_000).saturating_add(u64::from(found.stx_btime.tv_nsec))))
}

/// Gives a file or a link a new path on the same file system, unless something is there already. A file system that cannot do
/// both in one step is asked first whether something is there.
///
/// # Errors
/// EEXIST: something is there. ENOENT: there is no such file. EXDEV: the paths are on two file systems.
pub fn rename_to_new(from: &Path, to: &Path) -> nix::Result<()> {
    let renamed = from.with_nix_path(|from| {
        to.with_nix_path(|to| {
            let (from, to) = (from.as_ptr(), to.as_ptr());
            let (here, flags) = (libc::AT_FDCWD, libc::RENAME_NOREPLACE);
            // SAFETY: both paths end with a zero byte, and outlive the call.
            Errno::result(unsafe { libc::syscall(libc::SYS_renameat2, here, from, here, to, flags) }).map(drop)
        })
    })??;
    match renamed {
        Err(Errno::EINVAL | Errno::ENOSYS) => match lstat(to) {
            Ok(_) => Err(Errno::EEXIST),
            Err(Errno::ENOENT) => std::fs::rename(from, to).map_err(|error| errno_of(&error)),
            Err(errno) => Err(errno),
        },
        renamed => renamed,
    }
}

/// Calls `visit` with every name in the directory `path`, including `.` and `..`, until `visit` breaks off.
///
/// # Errors
/// ENOENT, ENOTDIR, EACCES: the directory does not exist, or we may not read it.
pub fn for_each_name(path: &(impl NixPath + ?Sized), visit: impl FnMut(&[u8]) -> ControlFlow<()>) -> nix::Result<()> {
    for_each_name_in(open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?, visit)
}

/// Calls `visit` with every name in an open directory from which nothing was read yet.
///
/// # Errors
/// ENOTDIR: it is not a directory. ENOENT: it was removed.
pub fn for_each_name_in(directory: impl AsFd, mut visit: impl FnMut(&[u8]) -> ControlFlow<()>) -> nix::Result<()> {
    let directory = directory.as_fd();
    let mut entries = Entries([0; BUFFER]);
    loop {
        // SAFETY: the descriptor is open, and the buffer has the stated size.
        let filled =
            unsafe { libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), entries.0.as_mut_ptr(), BUFFER) };
        let filled = usize::try_from(Errno::result(filled)?).unwrap_or(0);
        if filled == 0 {
            return Ok(());
        }
        let mut rest = entries.0.get(..filled).unwrap_or_default();
        while let Some(length) = rest.get(LENGTH..LENGTH + 2) {
            let (entry, next) = rest.split_at(usize::from(u16::from_ne_bytes([length[0], length[1]])).min(rest.len()));
            let name = entry.get(NAME..).unwrap_or_default();
            if visit(name.split(|byte| *byte == 0).next().unwrap_or_default()).is_break() {
                return Ok(());
            }
            rest = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_replaced_by_a_rename() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        std::os::unix::fs::symlink("nowhere", at("link")).unwrap();
        std::fs::write(at("file"), "").unwrap();
        assert_eq!(rename_to_new(&at("link"), &at("file")), Err(Errno::EEXIST));
        assert_eq!(rename_to_new(&at("nothing"), &at("new")), Err(Errno::ENOENT));
        assert_eq!(rename_to_new(&at("link"), &at("new")), Ok(()));
        assert_eq!(std::fs::read_link(at("new")).unwrap(), Path::new("nowhere"));
        assert!(at("file").is_file() && !at("link").is_symlink());
    }

    #[test]
    fn every_name_is_visited_once() {
        let scratch = tempfile::tempdir().unwrap();
        let mut expected: Vec<String> = (0..200).map(|n| format!("{n}-{}", "x".repeat(n))).collect();
        for name in &expected {
            std::fs::write(scratch.path().join(name), "").unwrap();
        }
        let mut found = Vec::new();
        let path = scratch.path().to_str().unwrap();
        for_each_name(path, |name| {
            found.push(String::from_utf8(name.to_vec()).unwrap());
            ControlFlow::Continue(())
        })
        .unwrap();
        expected.extend([".".into(), "..".into()]);
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(for_each_name("/nonexistent", |_| ControlFlow::Continue(())), Err(Errno::ENOENT));
    }
}
