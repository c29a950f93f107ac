//! Opening FIFOs and pipes, by their name or as a descriptor of a process. The functions never wait for the other side,
//! and refuse everything that is no FIFO or pipe.

use super::open::{Unread, open_as, open_at};
use crate::sys::process::proc_path;
use crate::sys::{self, kind};
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::Pid;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// Opens a FIFO without waiting for the other side. The function refuses a symbolic link and a FIFO with a second name.
/// `access` is O_RDONLY, O_WRONLY or O_RDWR. The descriptor is close-on-exec.
///
/// # Errors
/// ENXIO, for writing: the FIFO has no reader. Any other error: the FIFO does not exist, or the file is no FIFO.
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

/// Opens the FIFO that a process has open as descriptor `number`, as a further end that does not wait. This works even
/// after the FIFO was renamed or removed. The descriptor is close-on-exec.
///
/// # Errors
/// The process or the descriptor does not exist, we may not open it, or it is no FIFO.
pub fn open_fifo_of(pid: Pid, number: i32, access: OFlag) -> Result<OwnedFd, Unread> {
    // The links in `/proc/PID/fd` are resolved by the kernel itself, not by a path.
    let path = proc_path(pid, &format!("fd/{number}"));
    open_as(&path, SFlag::S_IFIFO, access, OFlag::empty()).map(|(fifo, _)| fifo)
}

/// Opens the pipe that a process has open as descriptor `number`, as a further end that does not wait. The pipe must
/// have this inode. A FIFO with a name is refused: it may be another account's, which lets the process only read it.
/// The descriptor is close-on-exec.
///
/// # Errors
/// The process or the descriptor does not exist, we may not open it, or it is not this pipe.
pub fn open_pipe_of(pid: Pid, number: i32, inode: u64, access: OFlag) -> Result<OwnedFd, Unread> {
    // The links in `/proc/PID/fd` are resolved by the kernel itself, not by a path.
    let path = proc_path(pid, &format!("fd/{number}"));
    let found = open(&path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    if fstat(&found)?.st_ino != inode || sys::file_system(&found)?.kind != PIPE_FS_MAGIC {
        return Err(Unread::WrongKind);
    }
    let itself = format!("/proc/self/fd/{}", found.as_raw_fd());
    Ok(open(itself.as_str(), access | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// The type of the file system on which the kernel keeps pipes without a name, as fstatfs(2) reports it.
const PIPE_FS_MAGIC: i64 = 0x5049_5045;

/// Whether `fd` is a FIFO or a pipe.
///
/// # Errors
/// The errors of `fstat(2)`.
pub fn is_fifo(fd: impl AsFd) -> nix::Result<bool> {
    Ok(kind::is_fifo(&fstat(fd)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use nix::unistd::{getpid, mkfifo};
    use std::fs;
    use std::os::unix::fs::symlink;

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
}
