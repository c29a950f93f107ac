//! Opening FIFOs and pipes, by a name or as a descriptor of a process: without waiting for the other side, and nothing else
//! that may lie there.

use super::open::{Unread, open_as, open_at};
use crate::sys::process::proc_path;
use crate::sys::{self, kind};
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::Pid;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

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
