//! Opening, reading and writing what lies in a service directory or a log directory, all of which may belong to another
//! account than the one that runs us.
//!
//! The owner of a directory can put anything there: a FIFO that lets a reader wait for ever, a device that does
//! something as soon as it is opened, a link to a file of root's, a file without end. So nothing is opened before it is
//! known what it is, nothing is read beyond a limit, nothing is opened in a way that waits, and nothing is written but
//! new files, which are then put in place.
//!
//! Readers follow links, as a service may be made of links; writers and those who open FIFOs follow none at the last
//! step of the path.

use crate::reason::reason;
use crate::sys;
use crate::sys::exec::c_string;
use crate::sys::kind;
pub use crate::sys::kind::{is_directory, is_link, is_regular};
use crate::sys::process::proc_path;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags, open, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{Pid, UnlinkatFlags, geteuid, unlinkat};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

mod links;

pub use links::open_directory;

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

/// Reads a regular file, which links may lead to.
///
/// # Errors
/// The file is not there, is no regular file, or has more than `most` bytes.
pub fn read_file(path: &Path, most: usize) -> Result<Vec<u8>, Unread> {
    read(open_as(path, SFlag::S_IFREG, OFlag::O_RDONLY, OFlag::empty())?, most).map(|(bytes, _)| bytes)
}

/// Reads a regular file that no link may lead to, and tells whose it is: what lies in `supervise/` is there itself.
///
/// # Errors
/// As for [`read_file`]; a link is of a wrong kind.
pub fn read_file_itself(path: &Path, most: usize) -> Result<(Vec<u8>, FileStat), Unread> {
    read(open_as(path, SFlag::S_IFREG, OFlag::O_RDONLY, OFlag::O_NOFOLLOW)?, most)
}

fn read((file, stat): (OwnedFd, FileStat), most: usize) -> Result<(Vec<u8>, FileStat), Unread> {
    // Only a guess of how much there is: the file may grow, or say 0 of what the kernel makes up.
    let expected = usize::try_from(stat.st_size).unwrap_or(0).min(most);
    let mut bytes = vec![0; expected + 1];
    let mut length = 0;
    loop {
        if length == bytes.len() {
            if length > most {
                return Err(Unread::TooLong);
            }
            bytes.resize((2 * length).max(512).min(most + 1), 0);
        }
        match nix::unistd::read(&file, bytes.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    if length > most {
        return Err(Unread::TooLong);
    }
    bytes.truncate(length);
    Ok((bytes, stat))
}

/// Reads the beginning of a regular file, which links may lead to: `most` bytes, or all of it if it has fewer.
///
/// # Errors
/// The file is not there, or is no regular file.
pub fn read_beginning(path: &Path, most: usize) -> Result<Vec<u8>, Unread> {
    let (file, _) = open_as(path, SFlag::S_IFREG, OFlag::O_RDONLY, OFlag::empty())?;
    let mut bytes = vec![0; most];
    let mut length = 0;
    while length < most {
        match nix::unistd::read(&file, bytes.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Opens a FIFO, which no link may lead to and no second name, without waiting for the other side. `access` is
/// O_RDONLY, O_WRONLY or O_RDWR. Close-on-exec.
///
/// # Errors
/// ENXIO, for writing: it has no reader. Otherwise it is not there, or is no FIFO.
pub fn open_fifo(path: &Path, access: OFlag) -> Result<OwnedFd, Unread> {
    open_fifo_at(AT_FDCWD, path, access)
}

/// Opens a FIFO in an open directory as [`open_fifo`] does.
///
/// # Errors
/// As for [`open_fifo`].
pub fn open_fifo_at(directory: impl AsFd, name: &Path, access: OFlag) -> Result<OwnedFd, Unread> {
    let (fifo, stat) = open_at(directory, name, SFlag::S_IFIFO, access, OFlag::O_NOFOLLOW)?;
    if stat.st_nlink > 1 { Err(Unread::WrongKind) } else { Ok(fifo) }
}

/// Opens the pipe that is a descriptor of a process, as another end of it, which does not wait. Close-on-exec. Only the
/// pipe with this inode, and never a FIFO that has a name: that may be another account's, which lets the process only
/// read it.
///
/// # Errors
/// There is no such process or descriptor, or it is not ours to open, or is not this pipe.
pub fn open_pipe_of(pid: Pid, number: i32, inode: u64, access: OFlag) -> Result<OwnedFd, Unread> {
    // What the kernel shows there is no link that leads to a path.
    let path = proc_path(pid, &format!("fd/{number}"));
    let found = open(&path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    if fstat(&found)?.st_ino != inode || sys::file_system(&found)?.kind != PIPE_FS_MAGIC {
        return Err(Unread::WrongKind);
    }
    let itself = format!("/proc/self/fd/{}", found.as_raw_fd());
    Ok(open(itself.as_str(), access | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// The kind of the file system of pipes without a name.
const PIPE_FS_MAGIC: i64 = 0x5049_5045;

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

/// Opens the FIFO that is a descriptor of a process, as another end of it, which does not wait, whatever became of its
/// name. Close-on-exec.
///
/// # Errors
/// There is no such process or descriptor, or it is not ours to open, or is no FIFO.
pub fn open_fifo_of(pid: Pid, number: i32, access: OFlag) -> Result<OwnedFd, Unread> {
    // What the kernel shows there is no link that leads to a path.
    let path = proc_path(pid, &format!("fd/{number}"));
    open_as(&path, SFlag::S_IFIFO, access, OFlag::empty()).map(|(fifo, _)| fifo)
}

fn open_as(path: &Path, wanted: SFlag, access: OFlag, links: OFlag) -> Result<(OwnedFd, FileStat), Unread> {
    open_at(AT_FDCWD, path, wanted, access, links)
}

/// Opens what is of this kind, and nothing else: first only as a place in the file system, which does nothing to it.
fn open_at(
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

/// Writes a file beside the one it is to replace, as `new`, and puts it in its place: a reader sees one or the other,
/// whole. Neither place is ever written through a link, nor a file that was there before written to.
///
/// # Errors
/// Which step the system refused, "open", "write" or "rename", and why; then the old file is as it was.
pub fn put_file(new: &Path, path: &Path, bytes: &[u8]) -> Result<(), (&'static str, Errno)> {
    put_file_first(new, path, bytes)?.tidy()
}

/// Does what [`put_file`] does, but leaves the old file beside the new one until [`Replaced::tidy`] is called. That takes as
/// long as all the rest, and matters to no reader. Never tidied, the old file is removed when the next one is put.
///
/// # Errors
/// As for [`put_file`].
pub fn put_file_first(new: &Path, path: &Path, bytes: &[u8]) -> Result<Replaced, (&'static str, Errno)> {
    // Strings as the kernel wants them need no room in the stack.
    let string = |path: &Path| c_string(path.as_os_str()).map_err(|errno| ("open", errno));
    let (new, path) = (string(new)?, string(path)?);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let create = || open(new.as_c_str(), flags, Mode::from_bits_truncate(0o644));
    let created = match create() {
        // A writer that was killed has left it: perhaps what was in place before, which a process may be reading.
        Err(Errno::EEXIST) => unlinkat(AT_FDCWD, new.as_c_str(), UnlinkatFlags::NoRemoveDir).and_then(|()| create()),
        created => created,
    };
    let file = created.map_err(|errno| ("open", errno))?;
    sys::write_all(&file, bytes).map_err(|errno| ("write", errno))?;
    // A file that is renamed over another one is sent to the disk at once by ext4, which takes as long as a dozen of the
    // calls here. Exchanged with the other one, which is removed then, it is not: what is in it is of no use after this
    // boot.
    if exchange(&new, &path).is_ok() {
        return Ok(Replaced { beside: Some(new), path, _file: file });
    }
    // There may be no other one yet, or a file system that cannot.
    renameat(AT_FDCWD, new.as_c_str(), AT_FDCWD, path.as_c_str()).map_err(|errno| ("rename", errno))?;
    Ok(Replaced { beside: None, path, _file: file })
}

/// A file that was put in its place, while the old one is still beside it.
#[derive(Debug)]
#[must_use]
pub struct Replaced {
    /// Where the old file is, if there was one.
    beside: Option<CString>,
    path: CString,
    /// It is closed late as well: that too takes time.
    _file: OwnedFd,
}

impl Replaced {
    /// Removes the old file.
    ///
    /// # Errors
    /// "rename", and why: the old file is a directory, for example; then it is in its place again.
    pub fn tidy(self) -> Result<(), (&'static str, Errno)> {
        let Some(old) = self.beside else { return Ok(()) };
        if unlinkat(AT_FDCWD, old.as_c_str(), UnlinkatFlags::NoRemoveDir).is_ok() {
            return Ok(());
        }
        // The old file is a directory.
        let rename = || renameat(AT_FDCWD, old.as_c_str(), AT_FDCWD, self.path.as_c_str());
        exchange(&old, &self.path).and_then(|()| rename()).map_err(|errno| ("rename", errno))
    }
}

/// Has two files change places.
fn exchange(one: &CStr, other: &CStr) -> nix::Result<()> {
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE)
}

/// Whether only root and the account that runs us own a file or directory and may write to it.
pub fn is_only_ours(file: &FileStat) -> bool {
    let own = geteuid().as_raw();
    (file.st_uid == 0 || file.st_uid == own) && file.st_mode & 0o022 == 0
}

/// Whether `fd` is a FIFO or a pipe.
///
/// # Errors
/// Those of `fstat(2)`.
pub fn is_fifo(fd: impl AsFd) -> nix::Result<bool> {
    Ok(kind::is_fifo(&fstat(fd)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
    use nix::unistd::getpid;
    use nix::unistd::mkfifo;
    use std::fs;
    use std::os::unix::fs::symlink;

    const MOST: usize = 100;

    /// A directory with one of each: what is `good` can be read, everything else is refused at once.
    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::write(at("good"), "text").unwrap();
        fs::write(at("full"), [b'x'; MOST]).unwrap();
        fs::write(at("long"), [b'x'; MOST + 1]).unwrap();
        fs::File::create(at("huge")).unwrap().set_len(1 << 40).unwrap();
        fs::create_dir(at("directory")).unwrap();
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        let listening = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).unwrap();
        bind(listening.as_raw_fd(), &UnixAddr::new(&at("socket")).unwrap()).unwrap();
        for (link, to) in [
            ("to-good", "good"),
            ("to-fifo", "fifo"),
            ("to-zero", "/dev/zero"),
            ("to-null", "/dev/null"),
            ("to-nothing", "x"),
        ] {
            symlink(to, at(link)).unwrap();
        }
        symlink("loop", at("loop")).unwrap();
        let directory = fs::File::open(scratch.path()).unwrap();
        let table: [(&str, Result<&[u8], Unread>); 13] = [
            ("good", Ok(b"text")),
            ("to-good", Ok(b"text")),
            ("full", Ok(&[b'x'; MOST])),
            ("long", Err(Unread::TooLong)),
            ("huge", Err(Unread::TooLong)),
            ("directory", Err(Unread::WrongKind)),
            ("fifo", Err(Unread::WrongKind)),
            ("to-fifo", Err(Unread::WrongKind)),
            ("socket", Err(Unread::WrongKind)),
            ("to-zero", Err(Unread::WrongKind)),
            ("to-null", Err(Unread::WrongKind)),
            ("to-nothing", Err(Unread::System(Errno::ENOENT))),
            ("loop", Err(Unread::System(Errno::ELOOP))),
        ];
        for (name, expected) in table {
            assert_eq!(read_file(&at(name), MOST), expected.map(<[u8]>::to_vec), "{name}");
            let itself = read_file_itself(&at(name), MOST).map(|(bytes, _)| bytes);
            let is_link = name.starts_with("to-") || name == "loop";
            let expected = if is_link { Err(Unread::WrongKind) } else { expected };
            assert_eq!(itself, expected.map(<[u8]>::to_vec), "{name}");
            // However long it is, it is only opened; a link is not followed.
            let itself = match expected {
                Ok(_) | Err(Unread::TooLong) if !name.starts_with("to-") => Ok(()),
                _ => Err(Unread::WrongKind),
            };
            assert_eq!(open_file_itself_at(&directory, Path::new(name)).map(drop), itself, "{name}");
        }
        assert_eq!(open_file_itself_at(&directory, Path::new("x")).map(drop), Err(Unread::System(Errno::ENOENT)));
    }

    #[test]
    fn the_beginning_is_as_much_as_there_is() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("run");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        assert_eq!(read_beginning(&path, 5).unwrap(), b"#!/bi");
        assert_eq!(read_beginning(&path, 50).unwrap(), b"#!/bin/sh\n");
        assert_eq!(read_beginning(Path::new("/dev/zero"), 5), Err(Unread::WrongKind));
    }

    #[test]
    fn only_the_pipe_that_is_meant_is_opened_as_the_end_of_one() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let inode = |fd: &OwnedFd| fstat(fd).unwrap().st_ino;
        let opened = |fd: &OwnedFd, inode| open_pipe_of(getpid(), fd.as_raw_fd(), inode, OFlag::O_WRONLY);
        nix::unistd::write(opened(&reader, inode(&writer)).unwrap(), b"x").unwrap();
        assert_eq!(sys::unread(&reader), Ok(1));
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("fifo");
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o644)).unwrap();
        let fifo = open(&path, OFlag::O_RDWR, Mode::empty()).unwrap();
        let null = open("/dev/null", OFlag::O_PATH, Mode::empty()).unwrap();
        let (other, _writer) = nix::unistd::pipe().unwrap();
        for (fd, inode) in [(&null, inode(&null)), (&fifo, inode(&fifo)), (&other, inode(&reader))] {
            assert_eq!(opened(fd, inode).map(drop), Err(Unread::WrongKind));
        }
        let closed = writer.as_raw_fd();
        drop(writer);
        assert!(open_pipe_of(getpid(), closed + 900, inode(&reader), OFlag::O_RDONLY).is_err());
    }

    #[test]
    fn what_the_kernel_makes_up_is_read_though_it_says_that_it_is_empty() {
        assert!(!read_file(Path::new("/proc/self/stat"), 4096).unwrap().is_empty());
        assert_eq!(read_file(Path::new("/proc/self/stat"), 3), Err(Unread::TooLong));
    }

    #[test]
    fn only_a_fifo_that_no_link_leads_to_is_opened() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        symlink("fifo", at("link")).unwrap();
        fs::write(at("file"), "").unwrap();
        symlink("/dev/null", at("device")).unwrap();
        assert_eq!(open_fifo(&at("fifo"), OFlag::O_WRONLY).map(drop), Err(Unread::System(Errno::ENXIO)));
        let reader = open_fifo(&at("fifo"), OFlag::O_RDONLY).unwrap();
        assert!(open_fifo(&at("fifo"), OFlag::O_WRONLY).is_ok());
        drop(reader);
        for name in ["link", "file", "device"] {
            assert_eq!(open_fifo(&at(name), OFlag::O_RDWR).map(drop), Err(Unread::WrongKind), "{name}");
        }
        fs::hard_link(at("fifo"), at("second")).unwrap();
        assert_eq!(open_fifo(&at("fifo"), OFlag::O_RDONLY).map(drop), Err(Unread::WrongKind));
    }

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
    fn a_fifo_is_opened_though_its_name_is_gone() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("fifo");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let held = open_fifo(&path, OFlag::O_RDWR).unwrap();
        fs::remove_file(&path).unwrap();
        let opened = open_fifo_of(getpid(), held.as_raw_fd(), OFlag::O_WRONLY).unwrap();
        nix::unistd::write(&opened, b"x").unwrap();
        assert_eq!(sys::unread(&held), Ok(1));
        let null = open("/dev/null", OFlag::O_PATH, Mode::empty()).unwrap();
        assert_eq!(open_fifo_of(getpid(), null.as_raw_fd(), OFlag::O_RDONLY).map(drop), Err(Unread::WrongKind));
    }

    #[test]
    fn a_file_is_put_in_place_of_anything_and_never_through_a_link() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let put = |text: &str| put_file(&at("new"), &at("file"), text.as_bytes());
        fs::write(at("victim"), "kept").unwrap();
        assert_eq!(put("1"), Ok(()));
        assert_eq!(put("2"), Ok(()));
        symlink("victim", at("new")).unwrap();
        assert_eq!(put("3"), Ok(()));
        fs::remove_file(at("file")).unwrap();
        symlink("victim", at("file")).unwrap();
        assert_eq!(put("4"), Ok(()));
        mkfifo(&at("new"), Mode::S_IRWXU).unwrap();
        assert_eq!(put("5"), Ok(()));
        fs::create_dir(at("new")).unwrap();
        fs::write(at("new/x"), "").unwrap();
        assert_eq!(put("6"), Err(("open", Errno::EISDIR)));
        assert_eq!(fs::read(at("file")).unwrap(), b"5");
        fs::remove_dir_all(at("new")).unwrap();
        fs::remove_file(at("file")).unwrap();
        fs::create_dir(at("file")).unwrap();
        fs::write(at("file/x"), "").unwrap();
        assert_eq!(put("7"), Err(("rename", Errno::EISDIR)));
        assert_eq!(fs::read(at("victim")).unwrap(), b"kept");
    }

    #[test]
    fn what_others_may_write_is_not_only_ours() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("state");
        fs::write(&path, "").unwrap();
        for (mode, ours) in [(0o644, true), (0o600, true), (0o664, false), (0o646, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_only_ours(&read_file_itself(&path, MOST).unwrap().1), ours, "{mode:o}");
        }
    }
}
