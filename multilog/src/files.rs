//! Opens the files of a log directory. Another account may own the directory, and put anything in the place of a file.
//!
//! The files are opened by the one opener of the toolkit: it follows no link, waits for nothing, opens only regular
//! files, and makes new files instead of using those that it finds. The errors are those that the original would have
//! seen.

pub use daemontools::files::{
    TRIES, is_directory, is_link, is_regular, is_same, may_be_anothers, remove_at, replace_at, stat_at,
};
use daemontools::files::{Unread, open_existing_at, open_lock_at, open_or_make_at};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// A file of more bytes than this is no log if it has a thousand times as many as are stored of it.
const HOLES_FROM: u64 = 1 << 32;

/// Whether nearly all of a file is a hole. A hole costs its maker nothing, and takes very long to be read.
pub fn is_hole(stat: &FileStat) -> bool {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let stored = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
    size > HOLES_FROM.max(stored.saturating_mul(1000))
}

/// Opens the regular file of this name, with these flags and, if O_CREAT is among them, made with this mode.
///
/// # Errors
/// ENOENT: there is none. ELOOP: a link. EISDIR: a directory. ENXIO: a FIFO, a socket, a device.
pub fn open_regular(
    folder: impl AsFd,
    name: impl AsRef<OsStr>,
    flags: OFlag,
    mode: Mode,
) -> nix::Result<(OwnedFd, FileStat)> {
    let (path, access) = (Path::new(name.as_ref()), flags.difference(OFlag::O_CREAT));
    let opened = match flags.contains(OFlag::O_CREAT) {
        true => open_or_make_at(&folder, path, access, mode),
        false => open_existing_at(&folder, path, access),
    };
    opened.map_err(|unread| errno_of(unread, &folder, name))
}

/// Opens the lock of a log directory, or makes it.
///
/// # Errors
/// As for [`open_regular`]. EMLINK: see [`open_lock_at`].
pub fn open_lock(folder: impl AsFd, name: impl AsRef<OsStr>) -> nix::Result<(OwnedFd, FileStat)> {
    open_lock_at(&folder, Path::new(name.as_ref())).map_err(|unread| errno_of(unread, &folder, name))
}

/// The error that the original would have seen when it opened what is no regular file.
fn errno_of(unread: Unread, folder: impl AsFd, name: impl AsRef<OsStr>) -> Errno {
    match unread {
        Unread::System(errno) => errno,
        Unread::TooLong => Errno::EFBIG,
        Unread::WrongKind => match stat_at(folder, name.as_ref()) {
            Ok(Some(stat)) if is_link(&stat) => Errno::ELOOP,
            Ok(Some(stat)) if is_directory(&stat) => Errno::EISDIR,
            Ok(_) => Errno::ENXIO,
            Err(errno) => errno,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::fstat;
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
            let made = replace_at(&folder, name, OFlag::O_WRONLY, Mode::S_IRWXU).unwrap();
            assert_eq!(fstat(&made).unwrap().st_size, 0);
            assert!(is_regular(&stat_at(&folder, name).unwrap().unwrap()), "{name}");
        }
        assert!(!at("nowhere").exists());
        assert_eq!(replace_at(&folder, "directory", OFlag::O_WRONLY, Mode::S_IRWXU).err(), Some(Errno::EISDIR));
    }
}
