//! Supervises that run already, started by a svscan that was killed or by hand: finding them, being
//! told of their end, and recovering the pipe between a service and its logger.
//!
//! A process is taken for the supervise of a service only where that is proven: it is the one that wrote the page that
//! svscan keeps for the service and is still the same; or `supervise/ok` has a reader, the process works in the service
//! directory, and it either wrote `supervise/state`, where only root and svscan's own account could have written that, or
//! holds the lock on `supervise/lock`, and root or svscan's own account runs it.

use crate::identity;
use crate::identity::id_of;
use crate::procfs::{is_of_our_account, locks, process_path};
use crate::table::{Id, SuperviseId};
use daemontools::service::{
    self, Commands, Identity, Place, Process, Record, is_supervised_at, is_without_pidfd, open_fifo_of,
    open_file_itself_at, open_pipe_of,
};
use daemontools::sys::lock::try_to_lock;
use daemontools::sys::process::{PidFd, access_mode, ancestry, send_commands};
use daemontools::sys::stdout;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{FileStat, SFlag, fstat, lstat, stat};
use nix::unistd::{Pid, getpgid, getpid};
use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Which process is in charge of a service.
pub enum InCharge {
    /// None.
    Nobody,
    /// This supervise.
    Supervise(Process),
    /// There is one, but the system does not tell which.
    Unknown,
}

/// Which process is in charge of the service in this directory; `page` is what its last supervise wrote on its page.
pub fn in_charge(folder: &Path, page: Option<&Record>) -> InCharge {
    if let Some(process) = page.map(|page| page.supervise).filter(is_running) {
        return InCharge::Supervise(process);
    }
    if is_supervised_at(folder) != Ok(true) {
        return InCharge::Nobody;
    }
    let Ok(directory) = identity::of(folder) else { return InCharge::Unknown };
    let writer = trusted_record(folder).map(|record| record.supervise).filter(|writer| match writer.identity() {
        // Where there is no /proc, the system does not tell that the process works elsewhere.
        Ok(Identity::Same) => works_in(writer.pid, directory) != Some(false),
        // On an old kernel without /proc: the process that reads `ok` has written its state before.
        Ok(Identity::Unknown) => works_in(writer.pid, directory).is_none() && leads_its_group(writer.pid),
        Ok(Identity::Gone) | Err(_) => false,
    });
    // Another account may lock a file of its own there, read `ok`, and work in the directory. Of its processes svscan does
    // not ask where they work: that could be a mount whose server is gone.
    let is_supervise =
        |process: &Process| is_of_our_account(process.pid) && works_in(process.pid, directory) == Some(true);
    let holder = || lock_holders(folder).into_iter().map(Process::of).find(is_supervise);
    match writer.or_else(holder) {
        Some(process) => InCharge::Supervise(process),
        // Any process that may open `ok` may read it.
        None if is_unlocked(folder) => InCharge::Nobody,
        None => InCharge::Unknown,
    }
}

/// Whether it is proven that no process holds the lock that every supervise in charge holds.
fn is_unlocked(folder: &Path) -> bool {
    // No supervise has locked what is missing, or is no file.
    let Some((path, _)) = lock_file(folder) else { return true };
    // The file is closed at the end of this function, and so unlocked again.
    open_file_itself_at(AT_FDCWD, &path).is_ok_and(|file| try_to_lock(&file.into()).is_ok())
}

/// `supervise/lock`, if it is a file. No link is followed.
fn lock_file(folder: &Path) -> Option<(PathBuf, FileStat)> {
    let path = Place::of(folder).ok()?.path(service::LOCK);
    let file = lstat(&path).ok()?;
    (file.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits()).then_some((path, file))
}

/// Whether this supervise is in charge, as far as the system tells. One that has only just been started may wait to see
/// whether the one before goes.
pub fn may_be_in_charge(folder: &Path, page: Option<&Record>, pid: Pid) -> bool {
    match in_charge(folder, page) {
        InCharge::Supervise(other) => other.pid == pid,
        InCharge::Nobody => !matches!(is_supervised_at(folder), Ok(false) | Err(Errno::ENOENT)),
        InCharge::Unknown => true,
    }
}

/// What the last supervise of this directory wrote down, if no other account could have written it. Only such a record is
/// believed when it names processes.
pub fn trusted_record(folder: &Path) -> Option<Record> {
    let (record, other_owner) = Record::read_with_owner(&Place::of(folder).ok()?).ok()?;
    other_owner.is_none().then_some(record)
}

/// The processes of a service that its supervise wrote down.
pub fn processes(record: &Record) -> impl Iterator<Item = Process> {
    let logger = record.logger.as_ref().and_then(|logger| logger.process);
    [record.process, logger].into_iter().flatten().map(|(_, process)| process)
}

/// Whether the process that had this number and start time still has them, and has not ended.
pub fn is_running(process: &Process) -> bool {
    match PidFd::open(process.pid) {
        Ok(held) => process.identity_of(&held) == Ok(Identity::Same) && !has_ended(&held),
        Err(errno) if is_without_pidfd(errno) => {
            process.is_there() && ancestry(process.pid).is_some_and(|found| !found.zombie)
        }
        Err(_) => false,
    }
}

fn has_ended(process: &PidFd) -> bool {
    poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1)
}

/// Whether a process leads its process group, as every supervise does that svscan starts.
fn leads_its_group(pid: Pid) -> bool {
    getpgid(Some(pid)) == Ok(pid)
}

/// Whether a process works in this directory; `None` if that cannot be told.
fn works_in(pid: Pid, directory: Id) -> Option<bool> {
    identity::of_working_directory(pid).ok().map(|found| found == directory)
}

/// The processes that hold a lock on a file with the inode of `supervise/lock`.
fn lock_holders(folder: &Path) -> Vec<Pid> {
    let Some((_, lock)) = lock_file(folder) else { return Vec::new() };
    // The device is not compared, because for file systems that are made of others the kernel tells another one here.
    let locks = locks().unwrap_or_default();
    locks.into_iter().filter(|(file, _)| file.inode == lock.st_ino).map(|(_, pid)| pid).collect()
}

/// Both ends of the pipe that is some descriptor of some process: that of the first of these that is
/// alive and has a pipe there.
pub fn recover_pipe(sources: impl Iterator<Item = (Pid, u8)>) -> Option<(OwnedFd, OwnedFd)> {
    sources.into_iter().find_map(|(pid, number)| {
        let inode = stat(&process_path(pid, &format!("fd/{number}"))).ok()?.st_ino;
        let open = |access| open_end(pid, number, inode, access);
        Some((open(OFlag::O_RDONLY)?, open(OFlag::O_RDWR)?))
    })
}

/// Opens an end of the pipe with this inode anew, which waits as a service expects.
fn open_end(pid: Pid, number: u8, inode: u64, access: OFlag) -> Option<OwnedFd> {
    let end = open_pipe_of(pid, i32::from(number), inode, access).ok()?;
    fcntl(&end, FcntlArg::F_SETFL(OFlag::empty())).is_ok().then_some(end)
}

/// Whether a descriptor of a process writes as well as it reads, as svscan's pipes do for a service, and is not
/// where svscan's own lines go.
pub fn is_own_pipe(pid: Pid, number: u8) -> bool {
    let path = process_path(pid, &format!("fd/{number}"));
    let both = lstat(&path).is_ok_and(|link| link.st_mode & 0o600 == 0o600);
    let ours = fstat(stdout()).is_ok_and(|file| stat(&path).is_ok_and(|other| id_of(&other) == id_of(&file)));
    both && !ours
}

/// Sends commands to a supervise through the FIFO that it has open itself, be that gone from its directory: one of
/// version 0.1.0, which takes no commands by signal.
///
/// # Errors
/// ENOENT: it has none. Otherwise those of [`service::send_commands`].
pub fn command_itself(pid: Pid, commands: &Commands) -> nix::Result<()> {
    let control = open_fifo_of(pid, own_control(pid).ok_or(Errno::ENOENT)?, OFlag::O_WRONLY)?;
    nix::unistd::write(control, &commands.bytes()).map(drop)
}

/// The number of the descriptor by which a supervise writes to its control FIFO. What it has open only as a place in the file
/// system may be a FIFO that it could not open: opened by way of `/proc`, that would be written to with svscan's rights.
fn own_control(pid: Pid) -> Option<i32> {
    let descriptors = fs::read_dir(process_path(pid, "fd")).ok()?;
    let is_control = |path: &PathBuf| fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("/control"));
    let controls = descriptors.filter_map(|entry| Some(entry.ok()?.path())).filter(is_control);
    let mut numbers = controls.filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    numbers.find(|number| matches!(access_mode(pid, *number), Some(OFlag::O_WRONLY | OFlag::O_RDWR)))
}

/// What tells that a supervise has ended that is not svscan's child.
enum Hold {
    Process(PidFd),
    /// Its `supervise/ok`, where the kernel has no descriptors for processes, or does not tell one process from another.
    Ok(OwnedFd),
}

/// Supervises that are not svscan's children, held so that svscan notices their end.
pub struct Attached {
    epoll: Epoll,
    held: HashMap<Pid, Hold>,
    /// Children of an earlier svscan in this process.
    expected: HashMap<SuperviseId, Pid>,
}

impl Attached {
    /// No supervise is held yet.
    ///
    /// # Errors
    /// No descriptor to be had.
    pub fn new() -> nix::Result<Attached> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Attached { epoll, held: HashMap::new(), expected: HashMap::new() })
    }

    /// An earlier svscan in this process had this supervise.
    pub fn expect(&mut self, which: SuperviseId, pid: Pid) {
        self.expected.insert(which, pid);
    }

    /// Whether an earlier svscan in this process had a supervise of this part.
    pub fn expects(&self, which: SuperviseId) -> bool {
        self.expected.contains_key(&which)
    }

    /// An earlier svscan in this process had started this supervise, and it has ended before this svscan saw it.
    pub fn expected_to_run(&mut self, pid: Pid) -> Option<SuperviseId> {
        let which = self.expected.iter().find(|(_, expected)| **expected == pid).map(|(which, _)| *which)?;
        self.expected.remove(&which);
        Some(which)
    }

    /// The supervise of this part that an earlier svscan in this process has started, if it is svscan's child still.
    pub fn expected(&mut self, which: SuperviseId) -> Option<Pid> {
        let pid = self.expected.remove(&which)?;
        ancestry(pid).filter(|found| found.parent == getpid()).map(|_| pid)
    }

    /// The supervise of this part that an earlier svscan in this process has started, for a service without an entry. Holds
    /// it by a pidfd, because it need not be svscan's child.
    pub fn expected_unseen(&mut self, which: SuperviseId) -> Option<Pid> {
        let pid = self.expected.remove(&which)?;
        let process = PidFd::open(pid).ok()?;
        self.insert(pid, Hold::Process(process)).ok().map(|()| pid)
    }

    /// Takes hold of the supervise in charge of the service in `folder`.
    ///
    /// # Errors
    /// ESRCH: it has ended meanwhile, and another process may have its number. Others: it cannot be watched.
    pub fn hold(&mut self, process: &Process, folder: &Path) -> nix::Result<()> {
        let hold = match PidFd::open(process.pid) {
            // What cannot be compared on an old kernel was proven in another way.
            Ok(held) if process.identity_of(&held)? == Identity::Gone => return Err(Errno::ESRCH),
            Ok(held) => Hold::Process(held),
            Err(errno) if is_without_pidfd(errno) => Hold::Ok(service::hold_ok_at(folder)?),
            Err(errno) => return Err(errno),
        };
        self.insert(process.pid, hold)
    }

    fn insert(&mut self, pid: Pid, hold: Hold) -> nix::Result<()> {
        let data = u64::try_from(pid.as_raw()).map_err(|_| Errno::EINVAL)?;
        match &hold {
            Hold::Process(process) => self.epoll.add(process, EpollEvent::new(EpollFlags::EPOLLIN, data))?,
            // An error is told in any case.
            Hold::Ok(ok) => self.epoll.add(ok, EpollEvent::new(EpollFlags::empty(), data))?,
        }
        self.take_out(pid);
        self.held.insert(pid, hold);
        Ok(())
    }

    /// Lets go of a supervise, if it is held. Closed, a descriptor leaves the set by itself only where no other process has
    /// a copy of it.
    fn take_out(&mut self, pid: Pid) -> bool {
        let Some(hold) = self.held.remove(&pid) else { return false };
        let _ = match hold {
            Hold::Process(process) => self.epoll.delete(process),
            Hold::Ok(ok) => self.epoll.delete(ok),
        };
        true
    }

    /// Whether this supervise is held, and so is not svscan's child.
    pub fn includes(&self, pid: Pid) -> bool {
        self.held.contains_key(&pid)
    }

    /// Sends commands to a supervise by the signal that it has for that purpose, be it svscan's child or not.
    ///
    /// # Errors
    /// ESRCH: it has ended. EAGAIN: too many signals wait already. ENOSYS: it could be another process by now.
    pub fn signal(&self, pid: Pid, commands: &Commands) -> nix::Result<()> {
        match self.held.get(&pid) {
            None => send_commands(pid, None, &commands.bytes()),
            Some(Hold::Process(process)) => send_commands(pid, Some(process), &commands.bytes()),
            Some(Hold::Ok(_)) => Err(Errno::ENOSYS),
        }
    }

    /// Sends SIGCONT to a supervise, which could not stop its service while it is stopped itself.
    pub fn wake(&self, pid: Pid) {
        let _ = match self.held.get(&pid) {
            None => kill(pid, Signal::SIGCONT),
            Some(Hold::Process(process)) => process.signal(Signal::SIGCONT),
            Some(Hold::Ok(_)) => Ok(()),
        };
    }

    /// The supervises that have ended since the last call.
    pub fn ended(&mut self) -> Vec<Pid> {
        let mut events = [EpollEvent::empty(); 64];
        let mut ended = Vec::new();
        if self.held.is_empty() {
            return ended;
        }
        while let Ok(count @ 1..) = self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            let before = ended.len();
            let told =
                events.iter().take(count).filter_map(|event| i32::try_from(event.data()).ok()).map(Pid::from_raw);
            ended.extend(told.filter(|pid| self.take_out(*pid)));
            // What is in the set and is not held would be told again and again.
            if ended.len() == before {
                break;
            }
        }
        ended
    }

    /// This supervise turns out to be svscan's child, and has been waited for.
    pub fn release(&mut self, pid: Pid) {
        self.take_out(pid);
    }

    /// Readable when a supervise that is held has ended.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_once_though_somebody_has_a_copy_of_the_descriptor() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::of(Pid::from_raw(i32::try_from(child.id()).unwrap()));
        let mut attached = Attached::new().unwrap();
        attached.hold(&process, Path::new(".")).unwrap();
        let Some(Hold::Process(held)) = attached.held.get(&process.pid) else { panic!("it is not held") };
        let _copy = held.as_fd().try_clone_to_owned().unwrap();
        assert_eq!(attached.ended(), []);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!([attached.ended(), attached.ended()], [vec![process.pid], vec![]]);
        let mut epoll = [PollFd::new(attached.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut epoll, PollTimeout::ZERO), Ok(0));
    }

    #[test]
    fn another_process_that_has_got_the_number_is_not_held() {
        let process = Process { ticks: 1, serial: 1, ..Process::of(getpid()) };
        assert_eq!(Attached::new().unwrap().hold(&process, Path::new(".")), Err(Errno::ESRCH));
    }
}
