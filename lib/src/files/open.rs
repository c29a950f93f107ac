//! Opening, making and removing what has a name in a directory that others may own: only what is of the kind that belongs
//! there, without following links where there are to be none, and without waiting.

use crate::reason::reason;
use crate::sys::kind;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// Why a file that may belong to anybody was not opened or read.
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
    /// Whether there is no such file.
    pub fn is_missing(self) -> bool {
        self == Unread::System(Errno::ENOENT)
    }

    /// In words.
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

/// The system's word for it, where an error number is wanted: a wrong kind is EINVAL, too long is EFBIG.
impl From<Unread> for Errno {
    fn from(unread: Unread) -> Errno {
        match unread {
            Unread::System(errno) => errno,
            Unread::WrongKind => Errno::EINVAL,
            Unread::TooLong => Errno::EFBIG,
        }
    }
}

/// Opens a regular file in an open directory, which links may lead to, for reading.
///
/// # Errors
/// The file is not there, or is no regular file.
pub fn open_file_at(directory: impl AsFd, name: &Path) -> Result<OwnedFd, Unread> {
    open_at(directory, name, SFlag::S_IFREG, OFlag::O_RDONLY, OFlag::empty()).map(|(file, _)| file)
}

/// Opens a regular file in an open directory, which no link may lead to, for reading.
///
/// # Errors
/// The file is not there, or is no regular file. EAGAIN: a process has a lease on it.
pub fn open_file_itself_at(directory: impl AsFd, name: &Path) -> Result<OwnedFd, Unread> {
    open_existing_at(directory, name, OFlag::O_RDONLY).map(|(file, _)| file)
}

/// Opens a regular file in an open directory, which no link may lead to, and tells what it is. `access` is O_RDONLY,
/// O_WRONLY or O_RDWR, with O_APPEND or without.
///
/// # Errors
/// The file is not there, or is no regular file.
pub fn open_existing_at(directory: impl AsFd, name: &Path, access: OFlag) -> Result<(OwnedFd, FileStat), Unread> {
    open_at(directory, name, SFlag::S_IFREG, access, OFlag::O_NOFOLLOW)
}

/// Opens a regular file as [`open_existing_at`] does; where there is none, makes it with this mode.
///
/// # Errors
/// It can neither be opened nor made, or is no regular file. EEXIST: others make it and remove it again and again.
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
/// EEXIST: something has the name already, be it a link that leads nowhere.
pub fn make_at(directory: impl AsFd, name: &Path, access: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
    let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    openat(directory, name, access | new, mode)
}

/// How often a name is tried for that others fill or remove again and again.
pub const TRIES: usize = 10;

/// Makes a regular file in an open directory, with this mode, and opens it. What had the name is removed, unless it
/// is a directory.
///
/// # Errors
/// EISDIR: a directory has the name. EEXIST: others make it again and again. ENOSPC and others: no room for it.
pub fn replace_at(directory: impl AsFd, name: impl AsRef<Path>, access: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
    for _ in 0..TRIES {
        match make_at(&directory, name.as_ref(), access, mode) {
            Err(Errno::EEXIST) => remove_at(&directory, &name)?,
            made => return made,
        }
    }
    Err(Errno::EEXIST)
}

/// Removes what has this name in an open directory, if there is anything.
///
/// # Errors
/// EISDIR: a directory has the name.
pub fn remove_at(directory: impl AsFd, name: impl AsRef<Path>) -> nix::Result<()> {
    match unlinkat(directory, name.as_ref(), UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        removed => removed,
    }
}

/// What has this name in an open directory, links not followed; `None` if nothing has it.
///
/// # Errors
/// EACCES, EIO: it cannot be told.
pub fn stat_at(directory: impl AsFd, name: impl AsRef<Path>) -> nix::Result<Option<FileStat>> {
    match fstatat(directory, name.as_ref(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(None),
        other => other.map(Some),
    }
}

/// Whether both are the same file.
pub fn is_same(one: &FileStat, other: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

pub(super) fn open_as(path: &Path, wanted: SFlag, access: OFlag, links: OFlag) -> Result<(OwnedFd, FileStat), Unread> {
    open_at(AT_FDCWD, path, wanted, access, links)
}

/// Opens what is of this kind, and nothing else: first only as a place in the file system, which does nothing to it.
pub(super) fn open_at(
    directory: impl AsFd,
    path: &Path,
    wanted: SFlag,
    access: OFlag,
    links: OFlag,
) -> Result<(OwnedFd, FileStat), Unread> {
    let directory = directory.as_fd();
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let found = openat(directory, path, OFlag::O_PATH | links | OFlag::O_CLOEXEC, Mode::empty())?;
    let stat = fstat(&found)?;
    match kind::of(&stat) {
        found if found == wanted => {}
        // As open(2) has it.
        SFlag::S_IFDIR if access != OFlag::O_RDONLY => return Err(Unread::System(Errno::EISDIR)),
        _ => return Err(Unread::WrongKind),
    }
    let itself = format!("/proc/self/fd/{}", found.as_raw_fd());
    let opened = match open(itself.as_str(), flags, Mode::empty()) {
        // Without /proc by its name again, which may be another's by now.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP) => {
            openat(directory, path, flags | links, Mode::empty())?
        }
        opened => opened?,
    };
    let opened_stat = fstat(&opened)?;
    if !is_same(&opened_stat, &stat) {
        return Err(Unread::WrongKind);
    }
    Ok((opened, opened_stat))
}

/// Whether only root and the account that runs us own a file or directory and may write to it.
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
