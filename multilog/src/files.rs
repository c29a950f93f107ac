//! The one way to open files of a log directory: another account may own it, and put anything in the place of a file.
//!
//! No link is followed, nothing is waited for, and only regular files are opened; new ones are made, not found.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};

/// How often a name is tried for that others fill again and again.
pub const TRIES: usize = 10;

/// Opens the regular file of this name, with these flags and, if they say that it is made, this mode.
///
/// # Errors
/// ENOENT: there is none. ELOOP: a link. EISDIR: a directory. ENXIO: a FIFO, a socket, a device.
pub fn open_regular(
    folder: impl AsFd,
    name: impl AsRef<OsStr>,
    flags: OFlag,
    mode: Mode,
) -> nix::Result<(OwnedFd, FileStat)> {
    let safe = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = openat(folder, name.as_ref(), flags | safe, mode)?;
    let stat = fstat(&file)?;
    match kind(&stat) {
        SFlag::S_IFREG => Ok((file, stat)),
        SFlag::S_IFDIR => Err(Errno::EISDIR),
        _ => Err(Errno::ENXIO),
    }
}

/// Makes a file of this name that was not there before. What had the name is removed, unless it is a directory.
///
/// # Errors
/// EISDIR: it is. EEXIST: others make it again and again. ENOSPC and others: no room for it.
pub fn create(folder: impl AsFd, name: impl AsRef<OsStr>, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
    let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    for _ in 0..TRIES {
        match openat(folder.as_fd(), name.as_ref(), flags | new, mode) {
            Err(Errno::EEXIST) => remove(folder.as_fd(), name.as_ref())?,
            made => return made,
        }
    }
    Err(Errno::EEXIST)
}

/// Removes what has this name, if there is anything.
///
/// # Errors
/// EISDIR: a directory.
pub fn remove(folder: impl AsFd, name: impl AsRef<OsStr>) -> nix::Result<()> {
    match unlinkat(folder, name.as_ref(), UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        removed => removed,
    }
}

/// What has this name, links not followed; `None` if nothing has it.
///
/// # Errors
/// EACCES, EIO: it cannot be told.
pub fn look(folder: impl AsFd, name: impl AsRef<OsStr>) -> nix::Result<Option<FileStat>> {
    match fstatat(folder, name.as_ref(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(None),
        other => other.map(Some),
    }
}

/// Whether it is a regular file.
pub fn is_regular(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFREG
}

/// Whether it is a directory.
pub fn is_directory(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFDIR
}

/// Whether it is a symbolic link.
pub fn is_link(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFLNK
}

/// Whether both are the same file.
pub fn is_same(one: &FileStat, other: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn nothing_but_regular_files_is_opened_and_nothing_is_waited_for() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::write(at("file"), "text").unwrap();
        symlink("file", at("link")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let folder = fs::File::open(scratch.path()).unwrap();
        for flags in [OFlag::O_RDONLY, OFlag::O_WRONLY, OFlag::O_RDWR | OFlag::O_CREAT] {
            let opened = |name: &str| open_regular(&folder, name, flags, Mode::S_IRWXU).map(|(_, stat)| stat.st_size);
            assert_eq!(opened("file"), Ok(4));
            assert_eq!((opened("link"), opened("dangling")), (Err(Errno::ELOOP), Err(Errno::ELOOP)));
            assert_eq!((opened("directory"), opened("fifo")), (Err(Errno::EISDIR), Err(Errno::ENXIO)));
            assert_eq!(opened("socket"), Err(Errno::ENXIO));
        }
        assert!(!at("nowhere").exists());
        for name in ["link", "dangling", "fifo", "socket", "file", "new"] {
            let made = create(&folder, name, OFlag::O_WRONLY, Mode::S_IRWXU).unwrap();
            assert_eq!(fstat(&made).unwrap().st_size, 0);
            assert!(is_regular(&look(&folder, name).unwrap().unwrap()), "{name}");
        }
        assert!(!at("nowhere").exists());
        assert_eq!(create(&folder, "directory", OFlag::O_WRONLY, Mode::S_IRWXU).err(), Some(Errno::EISDIR));
    }
}
