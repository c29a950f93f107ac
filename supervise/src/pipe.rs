//! The pipe between a service and the `log` that the same supervise runs.

use daemontools::service::{Part, Process, open_pipe_of};
use daemontools::sys::process::{self, duplicate_to};
use daemontools::sys::{self, also_reading};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::fstat;
use nix::unistd::pipe2;
use std::os::fd::OwnedFd;

/// Both ends stay open here, so that neither side's end is the other's: the service writes while its
/// logger is restarted, and nothing in between is lost. The writing end is a reading end too, and with it the
/// service's standard output: it writes on even while nobody but itself is left.
pub struct Pipe {
    reader: OwnedFd,
    /// Closed when the service is gone and its logger is to see the end.
    writer: Option<OwnedFd>,
}

impl Pipe {
    /// A new one, empty.
    ///
    /// # Errors
    /// EMFILE, ENFILE: no descriptors.
    pub fn new() -> nix::Result<Pipe> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(Pipe { reader, writer: Some(also_reading(writer)) })
    }

    /// The pipe that a killed supervise left behind, with all that is in it, if one of the two still
    /// has it: the logger as its standard input, or the service as its standard output.
    pub fn recover(inode: u64, logger: Option<Process>, service: Option<Process>) -> Option<Pipe> {
        let ends = logger.map(|process| (process, 0)).into_iter().chain(service.map(|process| (process, 1)));
        ends.into_iter().find_map(|(process, number)| Pipe::open(process, number, inode).ok())
    }

    fn open(process: Process, number: i32, inode: u64) -> nix::Result<Pipe> {
        let end = |access: OFlag| open_pipe_of(process.pid, number, inode, access).map_err(Errno::from);
        Ok(Pipe { reader: end(OFlag::O_RDONLY)?, writer: Some(end(OFlag::O_RDWR)?) })
    }

    /// Whether a process has this pipe as its standard output, open to read from it as well, as a service with a logger
    /// has it: whoever owns the process can then do everything with the pipe by himself.
    pub fn is_at_hand_of(process: Process, inode: u64) -> bool {
        let pipe = open_pipe_of(process.pid, 1, inode, OFlag::O_RDONLY);
        pipe.is_ok() && process::access_mode(process.pid, 1) == Some(OFlag::O_RDWR)
    }

    /// What tells this pipe from others.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    pub fn inode(&self) -> nix::Result<u64> {
        Ok(fstat(&self.reader)?.st_ino)
    }

    /// The logger is to see the end once all others have closed it too.
    pub fn end_input(&mut self) {
        self.writer = None;
    }

    /// Bytes that the logger has not read.
    pub fn unread(&self) -> usize {
        sys::unread(&self.reader).unwrap_or(0)
    }

    /// In a child: makes an end its standard input or output.
    ///
    /// # Errors
    /// Those of `dup2(2)`.
    pub fn give(&self, part: Part) -> nix::Result<()> {
        match part {
            Part::Service => match &self.writer {
                Some(writer) => blocking(writer).and_then(|()| duplicate_to(writer, 1)),
                // Told up again meanwhile.
                None => duplicate_to(&sys::both_ends(&self.reader)?, 1),
            },
            Part::Logger => blocking(&self.reader).and_then(|()| duplicate_to(&self.reader, 0)),
        }
    }
}

/// An end recovered was opened without waiting for the other; its users expect to wait.
fn blocking(end: &OwnedFd) -> nix::Result<()> {
    nix::fcntl::fcntl(end, nix::fcntl::FcntlArg::F_SETFL(OFlag::empty())).map(drop)
}
