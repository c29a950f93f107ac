//! Opening the lock file of a program, and refusing a file that another account has put in its place.

use super::open::{Unread, is_only_ours, open_existing_at, open_or_make_at};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, fstat};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Opens the lock file of a program, or makes it with mode 0600. A symbolic link is refused. On a read-only file system
/// the file is opened for reading, which is enough to lock it.
///
/// # Errors
/// The file can be neither opened nor made, or is no regular file. EMLINK: the file has a second name, and other
/// accounts may write to its directory. They may have given it that name, and it may be the lock of another program,
/// which we must not lock. In a directory to which only we can write, we gave the file its name, so it is accepted
/// there even if another account has given it a second name elsewhere.
pub fn open_lock_at(directory: impl AsFd, name: &Path) -> Result<(OwnedFd, FileStat), Unread> {
    let access = OFlag::O_WRONLY | OFlag::O_APPEND;
    let (file, stat) = match open_or_make_at(&directory, name, access, Mode::S_IRUSR | Mode::S_IWUSR) {
        Err(Unread::System(Errno::EROFS)) => match open_existing_at(&directory, name, OFlag::O_RDONLY) {
            Err(unread) if unread.is_missing() => return Err(Unread::System(Errno::EROFS)),
            opened => opened?,
        },
        opened => opened?,
    };
    if may_be_anothers(&directory, &stat)? { Err(Unread::System(Errno::EMLINK)) } else { Ok((file, stat)) }
}

/// Whether a file that was found in an open directory may be another account's file from elsewhere: it has a second
/// name, and others may write to the directory. Where the kernel allows it (fs.protected_hardlinks), they can give any
/// file a name there.
///
/// # Errors
/// The errors of `fstat(2)` on the directory.
pub fn may_be_anothers(directory: impl AsFd, file: &FileStat) -> nix::Result<bool> {
    Ok(file.st_nlink > 1 && !is_only_ours(&fstat(directory)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::mkfifo;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Checks whether a file with two names, in a directory of this mode, is accepted as a program's lock.
    fn is_lock(mode: u32, make: impl Fn(&Path)) -> Result<(), Unread> {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("folder");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(scratch.path().join("other"), "").unwrap();
        make(&folder.join("lock"));
        let opened = open_lock_at(fs::File::open(&folder).unwrap(), Path::new("lock"));
        assert!(!scratch.path().join("nowhere").exists());
        opened.map(drop)
    }

    #[test]
    fn a_lock_is_a_regular_file_and_in_anothers_directory_has_no_second_name() {
        let other = |path: &Path| path.ancestors().nth(2).unwrap().join("other");
        for (mode, linked) in [(0o700, Ok(())), (0o755, Ok(())), (0o775, Err(Unread::System(Errno::EMLINK)))] {
            assert_eq!(is_lock(mode, |_| ()), Ok(()));
            assert_eq!(is_lock(mode, |path| fs::write(path, "").unwrap()), Ok(()));
            assert_eq!(is_lock(mode, |path| fs::hard_link(other(path), path).unwrap()), linked, "{mode:o}");
            let wrong = Err(Unread::WrongKind);
            assert_eq!(is_lock(mode, |path| symlink(other(path), path).unwrap()), wrong);
            assert_eq!(is_lock(mode, |path| symlink("../nowhere", path).unwrap()), wrong);
            assert_eq!(is_lock(mode, |path| mkfifo(path, Mode::S_IRWXU).unwrap()), wrong);
            let directory = is_lock(mode, |path| fs::create_dir(path).unwrap());
            assert_eq!(directory, Err(Unread::System(Errno::EISDIR)));
        }
    }
}
