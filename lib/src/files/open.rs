//! Opening, making and removing named files in a directory that others may own. A file is opened only if it is of the
//! expected kind. The functions never wait, and follow links only where that is wanted.

use crate::reason::reason;
use crate::sys::{file_systems, kind};
use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// Why a file, whose owner may be another account, was not opened or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The system refused.
    System(Errno),
    /// The file is not of the kind that belongs there.
    WrongKind,
    /// The file is longer than anything that belongs there.
    TooLong,
}

impl Unread {
    /// Whether the reason is that no such file exists.
    pub fn is_missing(self) -> bool {
        self == Unread::System(Errno::ENOENT)
    }

    /// What was read, or `None` if no such file exists.
    ///
    /// # Errors
    /// Why a file that exists, or may, was not read.
    pub fn unless_missing<T>(read: Result<T, Unread>) -> Result<Option<T>, Unread> {
        match read {
            Err(unread) if unread.is_missing() => Ok(None),
            read => read.map(Some),
        }
    }

    /// The reason in words.
    pub fn reason(self) -> &'static str {
        match self {
            Unread::System(errno) => reason(errno),
            Unread::WrongKind => "not a file",
            Unread::TooLong => "too long",
        }
    }
}

impl From<Errno> for Unread {
    fn from(errno: Errno) -> Unread {
        Unread::System(errno)
    }
}

/// The error number that stands for the reason: EINVAL for a wrong kind, EFBIG for a file that is too long.
impl From<Unread> for Errno {
    fn from(unread: Unread) -> Errno {
        match unread {
            Unread::System(errno) => errno,
            Unread::WrongKind => Errno::EINVAL,
            Unread::TooLong => Errno::EFBIG,
        }
    }
}

/// Opens a regular file in an open directory for reading. Symbolic links are followed, also to files that the kernel
/// makes up, which may make their reader wait. So only a program may call this for which no other process waits than
/// the one that started it.
///
/// # Errors
/// The file does not exist, or is no regular file.
pub fn open_file_at(directory: impl AsFd, name: &Path) -> Result<OwnedFd, Unread> {
    let directory = directory.as_fd();
    let found = openat(directory, name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let again = |flags| openat(directory, name, flags, Mode::empty());
    let stat = fstat(&found)?;
    open_of_kind((found, stat), SFlag::S_IFREG, OFlag::O_RDONLY, again).map(|(file, _)| file)
}

/// Opens a regular file for reading that the kernel makes up, for example in `/proc`. The caller must know that the
/// kernel waits for no other process there.
///
/// # Errors
/// The file does not exist, or is no regular file.
pub(super) fn open_made_up(path: &Path) -> Result<(OwnedFd, FileStat), Unread> {
    let found = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let stat = fstat(&found)?;
    open_of_kind((found, stat), SFlag::S_IFREG, OFlag::O_RDONLY, |flags| open(path, flags, Mode::empty()))
}

/// Opens a regular file for reading, as [`open_existing_at`] does, in an open directory that [`is_only_ours`]. No other
/// account can put anything else there, so the file is opened at once and then examined. That takes half the time.
///
/// # Errors
/// The file does not exist, or is no regular file.
pub fn open_existing_in_ours(directory: impl AsFd, name: &Path) -> Result<(OwnedFd, FileStat), Unread> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_XDEV);
    let file = match openat2(&directory, name, how) {
        Ok(file) => file,
        Err(Errno::ENOENT) => return Err(Unread::System(Errno::ENOENT)),
        // It is a link, lies on another mount, or cannot be opened.
        Err(_) => return open_existing_at(directory, name, OFlag::O_RDONLY),
    };
    let stat = fstat(&file)?;
    match kind::of(&stat) == SFlag::S_IFREG && !file_systems::is_made_up(&file, &stat)? {
        true => Ok((file, stat)),
        false => Err(Unread::WrongKind),
    }
}

/// Opens a regular file in an open directory for reading. A symbolic link is refused.
///
/// # Errors
/// The file does not exist, or is no regular file. EAGAIN: a process has a lease on it.
pub fn open_file_itself_at(directory: impl AsFd, name: &Path) -> Result<OwnedFd, Unread> {
    open_existing_at(directory, name, OFlag::O_RDONLY).map(|(file, _)| file)
}

/// Opens a regular file in an open directory, and returns it with what fstat(2) says of it. A symbolic link is refused.
/// `access` is O_RDONLY, O_WRONLY or O_RDWR, with O_APPEND or without.
///
/// # Errors
/// The file does not exist, or is no regular file.
pub fn open_existing_at(directory: impl AsFd, name: &Path, access: OFlag) -> Result<(OwnedFd, FileStat), Unread> {
    open_at(directory, name, SFlag::S_IFREG, access, OFlag::O_NOFOLLOW)
}

/// Opens a regular file as [`open_existing_at`] does. Where there is none, makes it with this mode.
///
/// # Errors
/// The file can be neither opened nor made, or is no regular file. EEXIST: another process keeps making and removing
/// it.
pub fn open_or_make_at(
    directory: impl AsFd,
    name: &Path,
    access: OFlag,
    mode: Mode,
) -> Result<(OwnedFd, FileStat), Unread> {
    for _ in 0..TRIES {
        match open_existing_at(&directory, name, access) {
            Err(unread) if unread.is_missing() => {}
            opened => return opened,
        }
        match make_at(&directory, name, access, mode) {
            Err(Errno::EEXIST) => {}
            made => return made.and_then(|file| fstat(&file).map(|stat| (file, stat))).map_err(Unread::from),
        }
    }
    Err(Unread::System(Errno::EEXIST))
}

/// Makes a regular file in an open directory, with this mode, and opens it.
///
/// # Errors
/// EEXIST: the name is taken, even if only by a link that leads nowhere.
pub fn make_at(directory: impl AsFd, name: &Path, access: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
    let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    openat(directory, name, access | new, mode)
}

/// How often an operation on a name is tried while another process keeps making or removing the file.
pub const TRIES: usize = 10;

/// Makes a regular file in an open directory, with this mode, and opens it. A file that had the name is removed first;
/// a directory is not.
///
/// # Errors
/// EISDIR: a directory has the name. EEXIST: another process keeps making the file. ENOSPC and others: no room for it.
pub fn replace_at(directory: impl AsFd, name: impl AsRef<Path>, access: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
    for _ in 0..TRIES {
        match make_at(&directory, name.as_ref(), access, mode) {
            Err(Errno::EEXIST) => remove_at(&directory, &name)?,
            made => return made,
        }
    }
    Err(Errno::EEXIST)
}

/// Removes the file with this name from an open directory, if there is one.
///
/// # Errors
/// EISDIR: a directory has the name.
pub fn remove_at(directory: impl AsFd, name: impl AsRef<Path>) -> nix::Result<()> {
    match unlinkat(directory, name.as_ref(), UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        removed => removed,
    }
}

/// What fstatat(2) says of the file with this name in an open directory, without following links; `None` if there is no
/// such file.
///
/// # Errors
/// EACCES, EIO: the file cannot be examined.
pub fn stat_at(directory: impl AsFd, name: impl AsRef<Path>) -> nix::Result<Option<FileStat>> {
    match fstatat(directory, name.as_ref(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(None),
        other => other.map(Some),
    }
}

/// Whether a path leads from the current directory to a file on the same mount, or to nothing, without a step on
/// another mount. No other mount is asked for that, so this waits for none. `None`: the kernel does not tell.
pub fn stays_on_mount(path: &Path) -> Option<bool> {
    stays_on_mount_at(AT_FDCWD, path)
}

/// Whether a path leads from the open directory `directory` to a file on the mount of that directory, or to nothing,
/// without a step on another mount. No other mount is asked for that. `None`: the kernel does not tell.
pub fn stays_on_mount_at(directory: impl AsFd, path: &Path) -> Option<bool> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_XDEV);
    match openat2(directory, path, how) {
        Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES | Errno::ENAMETOOLONG) => Some(true),
        Err(Errno::EXDEV) => Some(false),
        Err(_) => None,
    }
}

/// Opens a directory to read its names, on the mount of an open directory from which the path leads to it. No other mount
/// is asked for that.
///
/// # Errors
/// EXDEV: the path leads to another mount. ENOTDIR: it leads to no directory. ENOSYS, EPERM: the kernel cannot tell.
pub fn open_directory_on_mount_at(directory: impl AsFd, path: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat2(directory, path, OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_XDEV))
}

/// What stat(2) says of a file on the mount of the current directory.
///
/// # Errors
/// EXDEV: the path leads to another mount, which was not asked. ENOSYS, EPERM: the kernel cannot tell.
pub fn stat_on_mount<P: ?Sized + NixPath>(path: &P) -> nix::Result<FileStat> {
    fstat(open_on_mount(path, OFlag::empty())?)
}

/// What lstat(2) says of a file on the mount of the current directory.
///
/// # Errors
/// As for [`stat_on_mount`].
pub fn lstat_on_mount<P: ?Sized + NixPath>(path: &P) -> nix::Result<FileStat> {
    fstat(open_on_mount(path, OFlag::O_NOFOLLOW)?)
}

/// Finds a directory on the mount of the current directory, and holds it as a place (O_PATH).
///
/// # Errors
/// As for [`stat_on_mount`]. ENOTDIR: the path leads to a file that is no directory.
pub fn hold_on_mount<P: ?Sized + NixPath>(path: &P) -> nix::Result<OwnedFd> {
    open_on_mount(path, OFlag::O_DIRECTORY)
}

/// Finds a file on the mount of the current directory. It is neither read nor written through this descriptor.
pub(super) fn open_on_mount<P: ?Sized + NixPath>(path: &P, links: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC | links).resolve(ResolveFlag::RESOLVE_NO_XDEV);
    openat2(AT_FDCWD, path, how)
}

/// Whether both describe the same file.
pub fn is_same(one: &FileStat, other: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

pub(super) fn open_as(path: &Path, wanted: SFlag, access: OFlag, links: OFlag) -> Result<(OwnedFd, FileStat), Unread> {
    open_at(AT_FDCWD, path, wanted, access, links)
}

/// Opens a file only if it is of this kind. The file is first opened with O_PATH, which has no effect on it, and
/// examined.
pub(super) fn open_at(
    directory: impl AsFd,
    path: &Path,
    wanted: SFlag,
    access: OFlag,
    links: OFlag,
) -> Result<(OwnedFd, FileStat), Unread> {
    let directory = directory.as_fd();
    let found = openat(directory, path, OFlag::O_PATH | links | OFlag::O_CLOEXEC, Mode::empty())?;
    open_found(found, wanted, access, |flags| openat(directory, path, flags | links, Mode::empty()))
}

/// Opens the file that was found, for reading or writing, only if it is of this kind, and the kernel does not make it
/// up. `again` opens it by its name.
///
/// What the kernel makes up may be about a process, and may make its reader wait for that process for ever. It is found
/// out before the file is opened: to open it may be to wait already.
pub(super) fn open_found(
    found: OwnedFd,
    wanted: SFlag,
    access: OFlag,
    again: impl FnOnce(OFlag) -> nix::Result<OwnedFd>,
) -> Result<(OwnedFd, FileStat), Unread> {
    let stat = fstat(&found)?;
    if kind::of(&stat) == SFlag::S_IFREG && file_systems::is_made_up(&found, &stat)? {
        return Err(Unread::WrongKind);
    }
    open_of_kind((found, stat), wanted, access, again)
}

fn open_of_kind(
    (found, stat): (OwnedFd, FileStat),
    wanted: SFlag,
    access: OFlag,
    again: impl FnOnce(OFlag) -> nix::Result<OwnedFd>,
) -> Result<(OwnedFd, FileStat), Unread> {
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    match kind::of(&stat) {
        found if found == wanted => {}
        // open(2) reports EISDIR when a directory is opened for writing, and so does this function.
        SFlag::S_IFDIR if access != OFlag::O_RDONLY => return Err(Unread::System(Errno::EISDIR)),
        _ => return Err(Unread::WrongKind),
    }
    let itself = format!("/proc/self/fd/{}", found.as_raw_fd());
    let opened = match open(itself.as_str(), flags, Mode::empty()) {
        // Without /proc the file is opened by its name a second time. The name may belong to another file by now, so
        // the new descriptor is compared with the first.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP) => again(flags)?,
        // The kernel opens just the file that `found` holds, so there is nothing to compare.
        opened => return Ok((opened?, stat)),
    };
    let opened_stat = fstat(&opened)?;
    if !is_same(&opened_stat, &stat) {
        return Err(Unread::WrongKind);
    }
    Ok((opened, opened_stat))
}

/// Whether a file or directory belongs to root or to the account that runs us, and no other account may write to it.
pub fn is_only_ours(file: &FileStat) -> bool {
    let own = geteuid().as_raw();
    (file.st_uid == 0 || file.st_uid == own) && file.st_mode & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::read_file_itself;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_opened_or_made_and_no_link_is_followed_for_that() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = fs::File::open(scratch.path()).unwrap();
        let open = |name: &str| open_or_make_at(&folder, Path::new(name), OFlag::O_RDWR, Mode::S_IRUSR);
        assert_eq!(open("new").unwrap().1.st_mode & 0o7777, 0o400);
        fs::write(scratch.path().join("old"), "text").unwrap();
        assert_eq!(open("old").unwrap().1.st_size, 4);
        symlink("nowhere", scratch.path().join("link")).unwrap();
        assert_eq!(open("link").map(drop), Err(Unread::WrongKind));
        assert!(!scratch.path().join("nowhere").exists());
        let made = make_at(&folder, Path::new("link"), OFlag::O_WRONLY, Mode::S_IRUSR);
        assert_eq!(made.map(drop), Err(Errno::EEXIST));
    }

    #[test]
    fn what_others_may_write_is_not_only_ours() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("state");
        fs::write(&path, "").unwrap();
        for (mode, ours) in [(0o644, true), (0o600, true), (0o664, false), (0o646, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_only_ours(&read_file_itself(&path, 100).unwrap().1), ours, "{mode:o}");
        }
    }
}
