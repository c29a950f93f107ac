//! A FIFO in `supervise/event`, into which supervise writes a letter at each transition of its service.
//!
//! The directory is like one of s6's fifodirs. A listener makes a FIFO there, opens it, and then gives it a name that
//! begins with `ftrig1:`. supervise removes a FIFO of such a name that has no reader, and in this order it never sees
//! one. The owner of the directory can put anything there, so no link in it is followed, and the file that was opened
//! must be the one that was made.

use crate::files::open_fifo_at;
use crate::service::{EVENT, Place};
use crate::tai64::{self, Label};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, renameat};
use nix::sys::stat::{Mode, fstat, lstat, umask};
use nix::unistd::{UnlinkatFlags, getpid, mkfifoat, read, unlinkat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A program that listens for transitions. supervise reports them as long as this value lives.
pub struct Listener {
    directory: OwnedFd,
    name: String,
    reader: OwnedFd,
    /// A writing end of our own. Without it, the FIFO would reach its end each time supervise closes it.
    _writer: OwnedFd,
}

impl Listener {
    /// Listens to the supervise of the service in the current directory from now on.
    ///
    /// # Errors
    /// ENOENT: no supervise that reports transitions has run there. EACCES: only the owner of the service may listen.
    pub fn new() -> nix::Result<Listener> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let directory = open(&Place::here()?.path(EVENT), flags, Mode::empty())?;
        let name = format!("ftrig1:{}:{}", Label(tai64::now()), getpid());
        let hidden = format!(".{name}");
        make_fifo(&directory, &hidden)?;
        let opened = open_both(&directory, &hidden)
            .and_then(|both| renameat(&directory, hidden.as_str(), &directory, name.as_str()).map(|()| both));
        match opened {
            Ok((reader, writer)) => Ok(Listener { directory, name, reader, _writer: writer }),
            Err(errno) => {
                remove(&directory, &hidden);
                Err(errno)
            }
        }
    }

    /// Whether the FIFO still lies where supervise looks for listeners.
    pub fn is_in_place(&self) -> bool {
        let place = Place::here().map(|place| place.path(EVENT).join(&self.name));
        let there = place.and_then(|path| lstat(&path));
        there.is_ok_and(|there| {
            fstat(&self.reader).is_ok_and(|ours| (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino))
        })
    }

    /// Discards all reports until now. supervise writes a report in the moment in which the change can be seen in its
    /// files.
    pub fn drain(&self) {
        let mut letters = [0; 256];
        while read(&self.reader, &mut letters).is_ok_and(|length| length > 0) {}
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        remove(&self.directory, &self.name);
    }
}

/// Makes the FIFO writable for every account, because supervise may run as another account than ours. Only that account
/// and the owner of the directory can reach the FIFO.
fn make_fifo(directory: &OwnedFd, name: &str) -> nix::Result<()> {
    let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IWGRP | Mode::S_IWOTH;
    let before = umask(Mode::empty());
    let made = mkfifoat(directory, name, mode);
    umask(before);
    made
}

fn open_both(directory: &OwnedFd, name: &str) -> nix::Result<(OwnedFd, OwnedFd)> {
    let open = |access| open_fifo_at(directory, Path::new(name), access);
    let (reader, writer) = (open(OFlag::O_RDONLY)?, open(OFlag::O_WRONLY)?);
    let (read, written) = (fstat(&reader)?, fstat(&writer)?);
    let is_one = (read.st_dev, read.st_ino) == (written.st_dev, written.st_ino);
    if is_one { Ok((reader, writer)) } else { Err(Errno::EINVAL) }
}

fn remove(directory: &OwnedFd, name: &str) {
    // If the removal fails, supervise removes the FIFO when it has the next transition to report.
    let _ = unlinkat(directory, name, UnlinkatFlags::NoRemoveDir);
}
