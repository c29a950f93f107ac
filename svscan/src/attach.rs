//! Supervises that run already, started by a svscan that was killed or by hand: finding them, being
//! told of their end, and recovering the pipe between a service and its logger.
//!
//! A process is taken for the supervise of a service if the service's `supervise/ok` has a reader, and
//! the process either wrote `supervise/state` and is still the same (number and start time), or holds
//! a lock on `supervise/lock`; in any case its working directory must be the service.

use crate::identity;
use crate::inspect::id_of;
use crate::table::{Id, Post};
use daemontools::service::{self, Place, Process, Record, is_supervised_at};
use daemontools::sys::process::{PidFd, ancestry};
use daemontools::sys::stdout;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::stat::{Mode, fstat, lstat, makedev, stat};
use nix::unistd::{Pid, getpid};
use std::collections::HashMap;
use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Who is in charge of a service.
pub enum InCharge {
    Nobody,
    Supervise(Pid),
    /// Somebody, but the system does not tell who.
    Unknown,
}

/// Who is in charge of the service in this directory.
pub fn in_charge(folder: &Path) -> InCharge {
    if is_supervised_at(folder) != Ok(true) {
        return InCharge::Nobody;
    }
    let Ok(directory) = identity::of(folder) else { return InCharge::Unknown };
    let is_there = |pid: &Pid| works_in(*pid, directory);
    let writer = record(folder).map(|record| record.supervise).filter(is_same).map(|process| process.pid);
    let found = writer.filter(is_there).or_else(|| lock_holders(folder).into_iter().find(is_there));
    found.map_or(InCharge::Unknown, InCharge::Supervise)
}

/// Whether this supervise is in charge, as far as the system tells. One that has only just been started may wait to see
/// whether the one before goes.
pub fn may_be_in_charge(folder: &Path, pid: Pid) -> bool {
    match in_charge(folder) {
        InCharge::Supervise(other) => other == pid,
        InCharge::Nobody => !matches!(is_supervised_at(folder), Ok(false) | Err(Errno::ENOENT)),
        InCharge::Unknown => true,
    }
}

/// What the last supervise of this directory wrote down.
pub fn record(folder: &Path) -> Option<Record> {
    Record::read(&Place::of(folder).ok()?).ok()
}

/// Whether the process that had this number and start time still has.
pub fn is_same(process: &Process) -> bool {
    process.is_there()
}

fn works_in(pid: Pid, directory: Id) -> bool {
    identity::of_working_directory(pid) == Ok(directory)
}

/// A file of a process under `/proc`.
pub fn process_path(pid: Pid, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// The processes that hold a lock on a file with the inode of `supervise/lock`.
fn lock_holders(folder: &Path) -> Vec<Pid> {
    let lock = Place::of(folder).and_then(|place| stat(&place.path(service::LOCK)));
    let Ok(lock) = lock else { return Vec::new() };
    // The device is not compared: file systems that are made of others tell another one here.
    locks().into_iter().filter(|(file, _)| file.inode == lock.st_ino).map(|(_, pid)| pid).collect()
}

/// All locks of flock(2), and the processes that hold them.
///
/// ```text
/// 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
/// ```
pub fn locks() -> Vec<(Id, Pid)> {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    locks.lines().filter_map(holder).collect()
}

fn holder(line: &str) -> Option<(Id, Pid)> {
    let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "FLOCK").skip(3);
    let pid = words.next()?.parse().ok().filter(|pid| *pid > 0)?;
    let mut file = words.next()?.split(':');
    let mut hexadecimal = || u64::from_str_radix(file.next()?, 16).ok();
    let device = makedev(hexadecimal()?, hexadecimal()?);
    Some((Id { device, inode: file.next()?.parse().ok()? }, Pid::from_raw(pid)))
}

/// Both ends of the pipe that is some descriptor of some process: that of the first of these that is
/// alive and has a pipe there.
pub fn recover_pipe(sources: impl Iterator<Item = (Pid, u8)>) -> Option<(OwnedFd, OwnedFd)> {
    sources.into_iter().find_map(|(pid, number)| {
        let path = process_path(pid, &format!("fd/{number}"));
        fs::read_link(&path).ok()?.to_str()?.strip_prefix("pipe:")?;
        let end = |direction| open(&path, direction | OFlag::O_CLOEXEC, Mode::empty()).ok();
        Some((end(OFlag::O_RDONLY)?, end(OFlag::O_RDWR)?))
    })
}

/// Whether a descriptor of a process writes as well as it reads, as our pipes do for a service, and is not where
/// our own lines go.
pub fn is_own_pipe(pid: Pid, number: u8) -> bool {
    let path = process_path(pid, &format!("fd/{number}"));
    let both = lstat(&path).is_ok_and(|link| link.st_mode & 0o600 == 0o600);
    let ours = fstat(stdout()).is_ok_and(|file| stat(&path).is_ok_and(|other| id_of(&other) == id_of(&file)));
    both && !ours
}

/// Sends commands to a supervise whose service directory may have been renamed or removed.
///
/// # Errors
/// Those of [`service::send_commands`].
pub fn command(pid: Pid, commands: &[u8]) -> nix::Result<()> {
    let place = Place::of(&process_path(pid, "cwd"));
    match place.and_then(|place| service::send_commands(&place.path(service::CONTROL), commands)) {
        Err(Errno::ENOENT) => command_itself(pid, commands),
        sent => sent,
    }
}

/// Sends commands to a supervise through the FIFO that it has open itself, be that gone from its directory.
///
/// # Errors
/// ENOENT: it has none. Otherwise those of [`service::send_commands`].
pub fn command_itself(pid: Pid, commands: &[u8]) -> nix::Result<()> {
    let control = own_control(pid).ok_or(Errno::ENOENT)?;
    let control = open(&control, OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())?;
    nix::unistd::write(control, commands).map(drop)
}

fn own_control(pid: Pid) -> Option<PathBuf> {
    let descriptors = fs::read_dir(process_path(pid, "fd")).ok()?;
    let is_control = |path: &PathBuf| fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("/control"));
    descriptors.filter_map(|entry| Some(entry.ok()?.path())).find(is_control)
}

/// Supervises that are not our children, held so that their end is noticed.
pub struct Attached {
    epoll: Epoll,
    held: HashMap<Pid, PidFd>,
    /// Children of an earlier svscan in this process.
    expected: HashMap<Post, Pid>,
}

impl Attached {
    /// Nobody yet.
    ///
    /// # Errors
    /// No descriptor to be had.
    pub fn new() -> nix::Result<Attached> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Attached { epoll, held: HashMap::new(), expected: HashMap::new() })
    }

    /// An earlier svscan in this process had this supervise.
    pub fn expect(&mut self, post: Post, pid: Pid) {
        self.expected.insert(post, pid);
    }

    /// The supervise of this post that an earlier svscan in this process has started, if it is our child still.
    pub fn expected(&mut self, post: Post) -> Option<Pid> {
        let pid = self.expected.remove(&post)?;
        ancestry(pid).filter(|found| found.parent == getpid()).map(|_| pid)
    }

    /// The same of a service that is not to be found any more; held, for it may be another's child.
    pub fn expected_unseen(&mut self, post: Post) -> Option<Pid> {
        let pid = self.expected.remove(&post)?;
        self.hold(pid).ok().map(|()| pid)
    }

    /// Takes hold of a supervise.
    ///
    /// # Errors
    /// ESRCH: it has ended meanwhile. Others: it cannot be watched.
    pub fn hold(&mut self, pid: Pid) -> nix::Result<()> {
        let held = PidFd::open(pid)?;
        let data = u64::try_from(pid.as_raw()).map_err(|_| Errno::EINVAL)?;
        self.epoll.add(&held, EpollEvent::new(EpollFlags::EPOLLIN, data))?;
        self.held.insert(pid, held);
        Ok(())
    }

    /// Those that have ended since the last time.
    pub fn ended(&mut self) -> Vec<Pid> {
        let mut events = [EpollEvent::empty(); 64];
        let mut ended = Vec::new();
        if self.held.is_empty() {
            return ended;
        }
        while let Ok(count @ 1..) = self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            for event in events.iter().take(count) {
                let Ok(pid) = i32::try_from(event.data()).map(Pid::from_raw) else { continue };
                // Closed, the descriptor leaves the set.
                self.held.remove(&pid);
                ended.push(pid);
            }
        }
        ended
    }

    /// It was our child after all and has been waited for.
    pub fn release(&mut self, pid: Pid) {
        self.held.remove(&pid);
    }

    /// Readable when one of them has ended.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.epoll.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_lines_tell_inode_and_process() {
        let held = |major, inode, pid| Some((Id { device: makedev(major, 0), inode }, Pid::from_raw(pid)));
        assert_eq!(holder("12: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF"), held(254, 5678, 1234));
        assert_eq!(holder("12: -> FLOCK  ADVISORY  WRITE 7 02:00:9 0 EOF"), held(2, 9, 7));
        for other in ["12: POSIX  ADVISORY  WRITE 1234 fe:00:5678 0 EOF", "1: FLOCK ADVISORY WRITE 0 0:0:9 0 EOF", ""] {
            assert_eq!(holder(other), None, "{other}");
        }
    }
}
