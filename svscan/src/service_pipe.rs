//! Recovering the pipe between a service and its logger, which lives on in their processes when svscan was killed.

use crate::identity::id_of;
use crate::procfs::{pipe_of, process_path};
use daemontools::service::{Identity, Process, open_pipe_of};
use daemontools::sys::is_passing;
use daemontools::sys::process::PidFd;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{fstat, lstat};
use nix::unistd::{Pid, getpid};
use std::os::fd::OwnedFd;

/// Both ends of the pipe that is some descriptor of some process: that of the first of these that is
/// alive and has a pipe there.
///
/// # Errors
/// EMFILE, EIO …: it cannot be told now whether there is one.
pub fn recover(sources: impl Iterator<Item = (Pid, u8)>) -> nix::Result<Option<(OwnedFd, OwnedFd)>> {
    for (pid, number) in sources {
        match both_ends_of(pid, number) {
            Ok(pipe) => return Ok(Some(pipe)),
            Err(errno) if is_passing(errno) => return Err(errno),
            // The process has ended, or has something else there.
            Err(_) => {}
        }
    }
    Ok(None)
}

fn both_ends_of(pid: Pid, number: u8) -> nix::Result<(OwnedFd, OwnedFd)> {
    let inode = pipe_of(pid, number)?.ok_or(Errno::EINVAL)?;
    let open = |access| open_end(pid, number, inode, access);
    Ok((open(OFlag::O_RDONLY)?, open(OFlag::O_RDWR)?))
}

/// Both ends of the pipe between a service and its logger, where there is no `/proc` by which they could be opened anew: the
/// very ends that these supervises have. A supervise has there what svscan gave it. What a service or a logger has there
/// may be anything, which it could take for ever to look at or to close.
///
/// # Errors
/// EMFILE, ENOMEM …: it cannot be told now whether there is one.
pub fn between(service: &Process, logger: &Process) -> nix::Result<Option<(OwnedFd, OwnedFd)>> {
    let ends = || {
        let (reader, writer) = (end_of(logger, 0)?, end_of(service, 1)?);
        let is_pipe = |end: &OwnedFd| fcntl(end, FcntlArg::F_GETPIPE_SZ).is_ok();
        let access = |end: &OwnedFd| fcntl(end, FcntlArg::F_GETFL).map(|flags| flags & OFlag::O_ACCMODE.bits());
        let are_ends = is_pipe(&reader)
            && is_pipe(&writer)
            && access(&reader)? == OFlag::O_RDONLY.bits()
            && access(&writer)? != OFlag::O_RDONLY.bits()
            && id_of(&fstat(&reader)?) == id_of(&fstat(&writer)?);
        Ok(are_ends.then_some((reader, writer)))
    };
    match ends() {
        Err(errno) if is_passing(errno) => Err(errno),
        // One of them has ended, or may not be asked.
        ends => Ok(ends.unwrap_or(None)),
    }
}

/// What a supervise has as this descriptor.
fn end_of(supervise: &Process, number: i32) -> nix::Result<OwnedFd> {
    let held = PidFd::open(supervise.pid)?;
    match supervise.identity_of(&held)? {
        Identity::Same => held.descriptor(number),
        Identity::Gone | Identity::Unknown => Err(Errno::ESRCH),
    }
}

/// Opens an end of the pipe with this inode anew, which waits as a service expects.
fn open_end(pid: Pid, number: u8, inode: u64, access: OFlag) -> nix::Result<OwnedFd> {
    let end = open_pipe_of(pid, i32::from(number), inode, access)?;
    fcntl(&end, FcntlArg::F_SETFL(OFlag::empty())).map(|_| end)
}

/// Whether a descriptor of a process is a pipe without a name, writes as well as it reads, as svscan's pipes do for a
/// service, and is not where svscan's own lines go.
pub fn is_own(pid: Pid, number: u8) -> bool {
    let link = lstat(&process_path(pid, &format!("fd/{number}")));
    let both = link.is_ok_and(|link| link.st_mode & 0o600 == 0o600);
    let its = pipe_of(pid, number).ok().flatten();
    both && its.is_some() && its != pipe_of(getpid(), 1).ok().flatten()
}
