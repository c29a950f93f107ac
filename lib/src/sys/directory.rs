//! Listing a directory without the C library's buffer of 32 kB, which would be half of a small program's private
//! memory.

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd};

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
