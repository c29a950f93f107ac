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
    self, Commands, Identity, Place, Process, Record, Unread, has_supervise_at, is_supervised_at, is_without_pidfd,
    open_fifo_of, open_file_itself_at, open_pipe_of,
};
use daemontools::sys::kind::is_regular;
use daemontools::sys::lock::try_to_lock;
use daemontools::sys::process::{PidFd, access_mode, ancestry, ended_child_status, send_commands};
use daemontools::sys::{is_passing, stdout};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{FileStat, fstat, lstat, stat};
use nix::unistd::{Pid, getpgid};
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
    /// There may be one, but the system does not tell which, or whether there is any, for this reason.
    Unknown(Errno),
}

/// Which process is in charge of the service in this directory; `page` is what its last supervise wrote on its page.
pub fn in_charge(folder: &Path, page: Option<&Record>) -> InCharge {
    look_for(folder, page).unwrap_or_else(InCharge::Unknown)
}

/// The same. An error, as of svscan having no descriptors left, is no proof that no process is in charge.
fn look_for(folder: &Path, page: Option<&Record>) -> nix::Result<InCharge> {
    if let Some(process) = page.map(|page| page.supervise)
        && is_running(&process)?
    {
        return Ok(InCharge::Supervise(process));
    }
    if !has_supervise_at(folder)? {
        return Ok(InCharge::Nobody);
    }
    let directory = identity::of(folder)?;
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
    Ok(match writer.or_else(holder) {
        Some(process) => InCharge::Supervise(process),
        // Any process that may open `ok` may read it.
        None if is_unlocked(folder)? => InCharge::Nobody,
        None => InCharge::Unknown(Errno::ESRCH),
    })
}

/// Whether it is proven that no process holds the lock that every supervise in charge holds.
fn is_unlocked(folder: &Path) -> nix::Result<bool> {
    // No supervise has locked what is missing, or is no file.
    let Some((path, _)) = lock_file(folder)? else { return Ok(true) };
    // The file is closed at the end of this function, and so unlocked again.
    Ok(try_to_lock(&open_file_itself_at(AT_FDCWD, &path)?.into()).is_ok())
}

/// `supervise/lock`, if it is a file. No link is followed.
fn lock_file(folder: &Path) -> nix::Result<Option<(PathBuf, FileStat)>> {
    let path = Place::of(folder)?.path(service::LOCK);
    match lstat(&path) {
        Ok(file) => Ok(is_regular(&file).then_some((path, file))),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Whether this supervise is in charge, as far as the system tells. One that has only just been started may wait to see
/// whether the one before goes.
pub fn may_be_in_charge(folder: &Path, page: Option<&Record>, pid: Pid) -> bool {
    match in_charge(folder, page) {
        InCharge::Supervise(other) => other.pid == pid,
        InCharge::Nobody => !matches!(is_supervised_at(folder), Ok(false) | Err(Errno::ENOENT)),
        InCharge::Unknown(_) => true,
    }
}

/// What the last supervise of this directory wrote down, if no other account could have written it. Only such a record is
/// believed when it names processes.
pub fn trusted_record(folder: &Path) -> Option<Record> {
    trusted_record_now(folder).ok().flatten()
}

/// The same.
///
/// # Errors
/// EMFILE, EIO …: there may be a record, but it cannot be read now.
pub fn trusted_record_now(folder: &Path) -> nix::Result<Option<Record>> {
    let read = Place::of(folder).map_err(Unread::System).and_then(|place| Record::read_with_owner(&place));
    match read {
        Ok((record, other_owner)) => Ok(other_owner.is_none().then_some(record)),
        Err(Unread::System(errno)) if is_passing(errno) => Err(errno),
        Err(_) => Ok(None),
    }
}

/// The processes of a service that its supervise wrote down.
pub fn processes(record: &Record) -> impl Iterator<Item = Process> {
    let logger = record.logger.as_ref().and_then(|logger| logger.process);
    [record.process, logger].into_iter().flatten().map(|(_, process)| process)
}

/// Whether the process that had this number and start time still has them, and has not ended.
///
/// # Errors
/// EMFILE, EIO …: that cannot be told now.
pub fn is_running(process: &Process) -> nix::Result<bool> {
    match PidFd::open(process.pid) {
        Ok(held) => Ok(process.identity_of(&held)? == Identity::Same && !has_ended(&held)),
        Err(errno) if is_without_pidfd(errno) => {
            Ok(process.identity()? == Identity::Same && !ancestry(process.pid).is_some_and(|found| found.zombie))
        }
        // No process has the number.
        Err(Errno::ESRCH | Errno::EINVAL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether a process is svscan's child, and was not waited for. To ask that takes neither a descriptor nor `/proc`.
fn is_child(pid: Pid) -> bool {
    ended_child_status(Some(pid)).is_ok()
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
    let Ok(Some((_, lock))) = lock_file(folder) else { return Vec::new() };
    // The device is not compared, because for file systems that are made of others the kernel tells another one here.
    let locks = locks().unwrap_or_default();
    locks.into_iter().filter(|(file, _)| file.inode == lock.st_ino).map(|(_, pid)| pid).collect()
}

/// Both ends of the pipe that is some descriptor of some process: that of the first of these that is
/// alive and has a pipe there.
///
/// # Errors
/// EMFILE, EIO …: it cannot be told now whether there is one.
pub fn recover_pipe(sources: impl Iterator<Item = (Pid, u8)>) -> nix::Result<Option<(OwnedFd, OwnedFd)>> {
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
    let inode = stat(&process_path(pid, &format!("fd/{number}")))?.st_ino;
    let open = |access| open_end(pid, number, inode, access);
    Ok((open(OFlag::O_RDONLY)?, open(OFlag::O_RDWR)?))
}

/// Both ends of the pipe between a service and its logger, where there is no `/proc` by which they could be opened anew: the
/// very ends that these supervises have. A supervise has there what svscan gave it. What a service or a logger has there
/// may be anything, which it could take for ever to look at or to close.
///
/// # Errors
/// EMFILE, ENOMEM …: it cannot be told now whether there is one.
pub fn pipe_between(service: &Process, logger: &Process) -> nix::Result<Option<(OwnedFd, OwnedFd)>> {
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
    let is_control = |path: &PathBuf| fs::read_link(path).is_ok_and(|to| service::is_control(&to));
    let controls = descriptors.filter_map(|entry| Some(entry.ok()?.path())).filter(is_control);
    let mut numbers = controls.filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    numbers.find(|number| matches!(access_mode(pid, *number), Some(OFlag::O_WRONLY | OFlag::O_RDWR)))
}

/// What tells that a supervise has ended that is not svscan's child.
enum Hold {
    Process(PidFd),
    /// Its `supervise/ok`, where the kernel has no descriptors for processes, or does not tell one process from another.
    Ok(OwnedFd),
    /// Nothing yet: the system has refused a descriptor, and is asked again.
    Later(Process),
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
        self.expected.remove(&which).filter(|pid| is_child(*pid))
    }

    /// The supervise of this part that an earlier svscan in this process has started, for a service without an entry; it need
    /// not be svscan's child. `written` is the process that has written the page of this part.
    pub fn expected_unseen(&mut self, which: SuperviseId, written: Option<Process>) -> Option<Pid> {
        let pid = self.expected.remove(&which)?;
        if !is_child(pid) {
            let process = written.filter(|process| process.pid == pid).unwrap_or(Process { pid, ..Process::NONE });
            match self.hold_by_number(process) {
                Ok(()) => {}
                Err(Errno::ESRCH) => return None,
                Err(_) => drop(self.held.insert(pid, Hold::Later(process))),
            }
        }
        Some(pid)
    }

    /// Takes hold of a process.
    ///
    /// # Errors
    /// ESRCH: it has ended. Others: it cannot be held now.
    fn hold_by_number(&mut self, process: Process) -> nix::Result<()> {
        match PidFd::open(process.pid) {
            Ok(held) if process.identity_of(&held)? == Identity::Gone => Err(Errno::ESRCH),
            Ok(held) => self.insert(process.pid, Hold::Process(held)),
            // No process has the number; it may be that of a thread.
            Err(Errno::EINVAL) => Err(Errno::ESRCH),
            Err(errno) if is_without_pidfd(errno) && process.identity()? == Identity::Gone => Err(Errno::ESRCH),
            Err(errno) => Err(errno),
        }
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
            Hold::Later(_) => {}
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
            Hold::Later(_) => Ok(()),
        };
        true
    }

    /// What a supervise, svscan's child or not, has as this descriptor.
    ///
    /// # Errors
    /// EBADF: nothing. EPERM: it may not be asked. ESRCH, ENOSYS: it cannot be asked.
    pub fn descriptor_of(&self, pid: Pid, number: i32) -> nix::Result<OwnedFd> {
        match self.held.get(&pid) {
            Some(Hold::Process(process)) => process.descriptor(number),
            Some(Hold::Ok(_) | Hold::Later(_)) => Err(Errno::ENOSYS),
            None if is_child(pid) => PidFd::open(pid)?.descriptor(number),
            None => Err(Errno::ESRCH),
        }
    }

    /// Whether this supervise is held, and so is not svscan's child.
    pub fn includes(&self, pid: Pid) -> bool {
        self.held.contains_key(&pid)
    }

    /// Sends commands to a supervise by the signal that it has for that purpose, be it svscan's child or not.
    ///
    /// # Errors
    /// ESRCH: it has ended. EAGAIN: too many signals wait already, or it is not held yet. ENOSYS: it could be another process
    /// by now.
    pub fn signal(&self, pid: Pid, commands: &Commands) -> nix::Result<()> {
        match self.held.get(&pid) {
            None => send_commands(pid, None, &commands.bytes()),
            Some(Hold::Process(process)) => send_commands(pid, Some(process), &commands.bytes()),
            Some(Hold::Ok(_)) => Err(Errno::ENOSYS),
            Some(Hold::Later(_)) => Err(Errno::EAGAIN),
        }
    }

    /// Sends SIGCONT to a supervise, which could not stop its service while it is stopped itself.
    pub fn wake(&self, pid: Pid) {
        let _ = match self.held.get(&pid) {
            None => kill(pid, Signal::SIGCONT),
            Some(Hold::Process(process)) => process.signal(Signal::SIGCONT),
            Some(Hold::Ok(_) | Hold::Later(_)) => Ok(()),
        };
    }

    /// The supervises that have ended since the last call.
    pub fn ended(&mut self) -> Vec<Pid> {
        let mut events = [EpollEvent::empty(); 64];
        if self.held.is_empty() {
            return Vec::new();
        }
        let mut ended = self.ended_before_they_were_held();
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

    /// Takes hold of those that could not be held before; those that have ended meanwhile.
    fn ended_before_they_were_held(&mut self) -> Vec<Pid> {
        let later = self.held.values().filter_map(|hold| match hold {
            Hold::Later(process) => Some(*process),
            Hold::Process(_) | Hold::Ok(_) => None,
        });
        let mut ended = later.collect::<Vec<_>>();
        ended.retain(|process| self.hold_by_number(*process) == Err(Errno::ESRCH));
        ended.into_iter().map(|process| process.pid).filter(|pid| self.take_out(*pid)).collect()
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
    use nix::fcntl::{Flock, FlockArg};
    use nix::sys::stat::Mode;
    use nix::unistd::{getpid, mkfifo};
    use std::os::unix::fs::symlink;

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

    /// An error is a proof of nothing, least of all that no supervise is in charge.
    #[test]
    fn only_where_there_is_no_such_fifo_or_no_reader_of_it_no_supervise_is_in_charge() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("web");
        let presence = || match in_charge(&folder, None) {
            InCharge::Nobody => Ok(false),
            InCharge::Supervise(_) => Ok(true),
            InCharge::Unknown(errno) => Err(errno),
        };
        assert_eq!(presence(), Ok(false), "there is no service directory");
        fs::create_dir(&folder).unwrap();
        assert_eq!(presence(), Ok(false), "there is no supervise/");
        fs::write(folder.join("supervise"), "").unwrap();
        assert_eq!(presence(), Ok(false), "supervise is a file");
        fs::remove_file(folder.join("supervise")).unwrap();
        symlink("supervise", folder.join("supervise")).unwrap();
        assert_eq!(presence(), Err(Errno::ELOOP));
        fs::remove_file(folder.join("supervise")).unwrap();
        fs::create_dir(folder.join("supervise")).unwrap();
        assert_eq!(presence(), Ok(false), "there is no ok");
        let ok = folder.join(service::OK);
        mkfifo(&ok, Mode::S_IRWXU).unwrap();
        assert_eq!(presence(), Ok(false), "ok has no reader");
        let _reader = fs::File::options().read(true).write(true).open(&ok).unwrap();
        assert_eq!(presence(), Ok(false), "ok has a reader, and there is no lock");
        let lock = fs::File::create(folder.join(service::LOCK)).unwrap();
        assert_eq!(presence(), Ok(false), "the lock is free");
        let _locked = Flock::lock(lock, FlockArg::LockExclusiveNonblock).unwrap();
        assert_eq!(presence(), Err(Errno::ESRCH), "this process works elsewhere");
    }

    /// To ask for that takes no descriptor, so that none can be missing.
    #[test]
    fn a_supervise_that_is_expected_is_one_of_the_children() {
        let mut attached = Attached::new().unwrap();
        let [child, stranger] =
            [1, 2].map(|inode| SuperviseId { id: Id { device: 1, inode }, part: crate::table::Part::Service });
        let mut sleep = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(sleep.id()).unwrap());
        attached.expect(child, pid);
        attached.expect(stranger, Pid::from_raw(1));
        assert_eq!([attached.expected(child), attached.expected(stranger)], [Some(pid), None]);
        attached.expect(child, pid);
        assert_eq!((attached.expected_unseen(child, None), attached.includes(pid)), (Some(pid), false));
        sleep.kill().unwrap();
        sleep.wait().unwrap();
        attached.expect(child, pid);
        assert_eq!((attached.expected_unseen(child, None), attached.expects(child)), (None, false));
    }

    #[test]
    fn a_supervise_that_could_not_be_held_is_held_later_and_its_end_is_told() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::of(Pid::from_raw(i32::try_from(child.id()).unwrap()));
        let mut attached = Attached::new().unwrap();
        attached.held.insert(process.pid, Hold::Later(process));
        assert_eq!(attached.signal(process.pid, &service::Command::Exit.into()), Err(Errno::EAGAIN));
        assert_eq!(attached.ended(), []);
        assert!(matches!(attached.held.get(&process.pid), Some(Hold::Process(_))));
        attached.held.insert(process.pid, Hold::Later(process));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!([attached.ended(), attached.ended()], [vec![process.pid], vec![]]);
    }
}
