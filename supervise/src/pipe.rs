//! The pipe between a service and the `log` that the same supervise runs.

use daemontools::service::{Part, Process, open_pipe_in_time};
use daemontools::sys::process::{self, duplicate_to};
use daemontools::sys::{self, reopen_read_write};
use nix::fcntl::OFlag;
use nix::sys::stat::fstat;
use nix::unistd::pipe2;
use std::os::fd::OwnedFd;

/// The pipe between the service and its logger. supervise keeps both ends open, so that one program's end does not end
/// the other: the service writes while its logger is restarted, and no line is lost. The writing end, which is the
/// service's standard output, can be read too: the service can go on writing even if supervise and the logger are gone.
pub struct Pipe {
    reader: OwnedFd,
    /// The writing end, which is closed when the service is gone and its logger is to see the end of its input.
    writer: Option<OwnedFd>,
}

impl Pipe {
    /// Makes a new pipe.
    ///
    /// # Errors
    /// EMFILE, ENFILE: no descriptors.
    pub fn new() -> nix::Result<Pipe> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(Pipe { reader, writer: Some(reopen_read_write(writer)) })
    }

    /// Opens the pipe that a killed supervise left behind, with all that is in it, if the logger still has it as its
    /// standard input, or the service as its standard output.
    pub fn recover(inode: u64, logger: Option<Process>, service: Option<Process>) -> Option<Pipe> {
        let ends = logger.map(|process| (process, 0)).into_iter().chain(service.map(|process| (process, 1)));
        ends.into_iter().find_map(|(process, number)| Pipe::open(process, number, inode).ok())
    }

    fn open(process: Process, number: i32, inode: u64) -> nix::Result<Pipe> {
        let end = |access: OFlag| open_pipe_in_time(process.pid, number, inode, access);
        Ok(Pipe { reader: end(OFlag::O_RDONLY)?, writer: Some(end(OFlag::O_RDWR)?) })
    }

    /// Whether a process has this pipe as its standard output, and has it open for reading as well, as a service with a
    /// logger does. The owner of such a process can read and write the pipe anyway.
    pub fn is_at_hand_of(process: Process, inode: u64) -> bool {
        let pipe = open_pipe_in_time(process.pid, 1, inode, OFlag::O_RDONLY);
        pipe.is_ok() && process::access_mode(process.pid, 1) == Some(OFlag::O_RDWR)
    }

    /// The inode number, which tells this pipe from others.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    pub fn inode(&self) -> nix::Result<u64> {
        Ok(fstat(&self.reader)?.st_ino)
    }

    /// Closes the writing end: the logger sees the end of its input once all other processes have closed it too.
    pub fn end_input(&mut self) {
        self.writer = None;
    }

    /// How many bytes the logger has yet to read.
    pub fn unread(&self) -> usize {
        sys::unread(&self.reader).unwrap_or(0)
    }

    /// Makes an end of the pipe the standard input of a logger, or the standard output of a service. Called in a new
    /// process.
    ///
    /// # Errors
    /// Those of `dup2(2)`.
    pub fn give(&self, part: Part) -> nix::Result<()> {
        match part {
            Part::Service => match &self.writer {
                Some(writer) => blocking(writer).and_then(|()| duplicate_to(writer, 1)),
                // The service was told up again after its end was shown to the logger.
                None => duplicate_to(&sys::both_ends(&self.reader)?, 1),
            },
            Part::Logger => blocking(&self.reader).and_then(|()| duplicate_to(&self.reader, 0)),
        }
    }
}

/// Makes reads and writes wait, as programs expect. A pipe that was recovered was opened not to wait.
fn blocking(end: &OwnedFd) -> nix::Result<()> {
    nix::fcntl::fcntl(end, nix::fcntl::FcntlArg::F_SETFL(OFlag::empty())).map(drop)
}
