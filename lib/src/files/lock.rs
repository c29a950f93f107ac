//! Opening the file that a program locks, and nothing that another account has put in its place.

use super::open::{Unread, is_only_ours, open_existing_at, open_or_make_at};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, fstat};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Opens the file that a program locks, which no link may lead to, or makes it with mode 0600. On a read-only file
/// system it is opened for reading, which is enough to lock it.
///
/// # Errors
/// It can neither be opened nor made, or is no regular file. EMLINK: it has a second name, and lies in a directory that
/// others may write to: they may have given it that name, and it may be the lock of something else, which is not ours
/// to lock. In a directory of our own the name is ours, also where another account has given the file a second one.
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

/// Whether a file that was found in an open directory may be another account's, from elsewhere: it has a second name,
/// and others may write to the directory. They can give any file a name there, where the kernel lets them
/// (fs.protected_hardlinks).
///
/// # Errors
/// The directory cannot be looked at.
pub fn may_be_anothers(directory: impl AsFd, file: &FileStat) -> nix::Result<bool> {
    Ok(file.st_nlink > 1 && !is_only_ours(&fstat(directory)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::mkfifo;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Whether a name in a directory of this mode is taken for the lock of a program.
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
