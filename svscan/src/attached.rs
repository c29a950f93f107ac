//! Supervises that are not svscan's children. svscan holds each of them by a descriptor: so it learns when the supervise
//! ends, and signals no other process. svscan commands a supervise of version 0.1.0 through the FIFO that this has open.

use crate::procfs::process_path;
use crate::table::SuperviseId;
use daemontools::service::{self, Commands, Identity, Process, is_without_pidfd, open_fifo_of};
use daemontools::sys::process::{PidFd, access_mode, ended_child_status, send_commands};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// By what svscan learns that a supervise that is not its child has ended.
enum EndWatch {
    Process(PidFd),
    /// The `supervise/ok` of its service, where the kernel has no descriptors for processes, or does not tell one
    /// process from another.
    Ok(OwnedFd),
    /// Nothing yet: the system has refused a descriptor, and svscan asks again.
    Later(Process),
}

/// Supervises that are not svscan's children, held so that svscan notices their end.
pub struct Attached {
    epoll: Epoll,
    held: HashMap<Pid, EndWatch>,
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

    /// Takes in that an earlier svscan in this process had this supervise.
    pub fn expect(&mut self, which: SuperviseId, pid: Pid) {
        self.expected.insert(which, pid);
    }

    /// Whether an earlier svscan in this process had a supervise of this part.
    pub fn expects(&self, which: SuperviseId) -> bool {
        self.expected.contains_key(&which)
    }

    /// The part whose supervise this process was, if an earlier svscan in this process had started it, and it has ended
    /// before this svscan saw it.
    pub fn expected_that_ended(&mut self, pid: Pid) -> Option<SuperviseId> {
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
            match self.attach_by_number(process) {
                Ok(()) => {}
                Err(Errno::ESRCH) => return None,
                Err(_) => drop(self.held.insert(pid, EndWatch::Later(process))),
            }
        }
        Some(pid)
    }

    /// Takes hold of a process.
    ///
    /// # Errors
    /// ESRCH: it has ended. Others: it cannot be held now.
    fn attach_by_number(&mut self, process: Process) -> nix::Result<()> {
        match PidFd::open(process.pid) {
            Ok(held) if process.identity_of(&held)? == Identity::Gone => Err(Errno::ESRCH),
            Ok(held) => self.insert(process.pid, EndWatch::Process(held)),
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
    pub fn attach(&mut self, process: &Process, folder: &Path) -> nix::Result<()> {
        let watch = match PidFd::open(process.pid) {
            // On an old kernel the process cannot be compared, and was proven in another way.
            Ok(held) if process.identity_of(&held)? == Identity::Gone => return Err(Errno::ESRCH),
            Ok(held) => EndWatch::Process(held),
            Err(errno) if is_without_pidfd(errno) => EndWatch::Ok(service::hold_ok_at(folder)?),
            Err(errno) => return Err(errno),
        };
        self.insert(process.pid, watch)
    }

    fn insert(&mut self, pid: Pid, watch: EndWatch) -> nix::Result<()> {
        let data = u64::try_from(pid.as_raw()).map_err(|_| Errno::EINVAL)?;
        match &watch {
            EndWatch::Process(process) => self.epoll.add(process, EpollEvent::new(EpollFlags::EPOLLIN, data))?,
            // The kernel reports an error even if no event is asked for.
            EndWatch::Ok(ok) => self.epoll.add(ok, EpollEvent::new(EpollFlags::empty(), data))?,
            EndWatch::Later(_) => {}
        }
        self.take_out(pid);
        self.held.insert(pid, watch);
        Ok(())
    }

    /// Lets go of a supervise, if it is held. The descriptor is taken out of the set explicitly: closing it does that
    /// only if no other process has a copy of it.
    fn take_out(&mut self, pid: Pid) -> bool {
        let Some(watch) = self.held.remove(&pid) else { return false };
        let _ = match watch {
            EndWatch::Process(process) => self.epoll.delete(process),
            EndWatch::Ok(ok) => self.epoll.delete(ok),
            EndWatch::Later(_) => Ok(()),
        };
        true
    }

    /// A duplicate of the descriptor `number` of a supervise, be it svscan's child or not.
    ///
    /// # Errors
    /// EBADF: nothing. EPERM: it may not be asked. ESRCH, ENOSYS: it cannot be asked.
    pub fn descriptor_of(&self, pid: Pid, number: i32) -> nix::Result<OwnedFd> {
        match self.held.get(&pid) {
            Some(EndWatch::Process(process)) => process.descriptor(number),
            Some(EndWatch::Ok(_) | EndWatch::Later(_)) => Err(Errno::ENOSYS),
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
            Some(EndWatch::Process(process)) => send_commands(pid, Some(process), &commands.bytes()),
            Some(EndWatch::Ok(_)) => Err(Errno::ENOSYS),
            Some(EndWatch::Later(_)) => Err(Errno::EAGAIN),
        }
    }

    /// Sends SIGCONT to a supervise, which could not stop its service while it is stopped itself.
    pub fn wake(&self, pid: Pid) {
        let _ = match self.held.get(&pid) {
            None => kill(pid, Signal::SIGCONT),
            Some(EndWatch::Process(process)) => process.signal(Signal::SIGCONT),
            Some(EndWatch::Ok(_) | EndWatch::Later(_)) => Ok(()),
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
            // The kernel would report again and again a descriptor that is in the set and not held.
            if ended.len() == before {
                break;
            }
        }
        ended
    }

    /// Takes hold of the supervises that could not be held before. Returns those of them that have ended meanwhile.
    fn ended_before_they_were_held(&mut self) -> Vec<Pid> {
        let later = self.held.values().filter_map(|watch| match watch {
            EndWatch::Later(process) => Some(*process),
            EndWatch::Process(_) | EndWatch::Ok(_) => None,
        });
        let mut ended = later.collect::<Vec<_>>();
        ended.retain(|process| self.attach_by_number(*process) == Err(Errno::ESRCH));
        ended.into_iter().map(|process| process.pid).filter(|pid| self.take_out(*pid)).collect()
    }

    /// Lets go of a supervise that turned out to be svscan's child, for which svscan has waited.
    pub fn release(&mut self, pid: Pid) {
        self.take_out(pid);
    }

    /// Readable when a supervise that is held has ended.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

/// Whether a process is svscan's child, and was not waited for. To ask that takes neither a descriptor nor `/proc`.
fn is_child(pid: Pid) -> bool {
    ended_child_status(Some(pid)).is_ok()
}

/// Sends commands to a supervise of version 0.1.0, which takes no commands by signal, through the FIFO that it has open
/// itself, even if that is gone from its directory.
///
/// # Errors
/// ENOENT: it has none. Otherwise those of [`service::send_commands`].
pub fn command_itself(pid: Pid, commands: &Commands) -> nix::Result<()> {
    let control = open_fifo_of(pid, own_control(pid).ok_or(Errno::ENOENT)?, OFlag::O_WRONLY)?;
    nix::unistd::write(control, &commands.bytes()).map(drop)
}

/// The number of the descriptor by which a supervise writes to its control FIFO. A descriptor that is only a place in
/// the file system (O_PATH) does not count: it may be a FIFO that the supervise could not open, and svscan would write
/// to it with its own rights.
fn own_control(pid: Pid) -> Option<i32> {
    let descriptors = fs::read_dir(process_path(pid, "fd")).ok()?;
    let is_control = |path: &PathBuf| fs::read_link(path).is_ok_and(|to| service::is_control(&to));
    let controls = descriptors.filter_map(|entry| Some(entry.ok()?.path())).filter(is_control);
    let mut numbers = controls.filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    numbers.find(|number| matches!(access_mode(pid, *number), Some(OFlag::O_WRONLY | OFlag::O_RDWR)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Id;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::unistd::getpid;

    #[test]
    fn an_end_is_told_once_though_another_descriptor_leads_to_the_process() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::of(Pid::from_raw(i32::try_from(child.id()).unwrap()));
        let mut attached = Attached::new().unwrap();
        attached.attach(&process, Path::new(".")).unwrap();
        let Some(EndWatch::Process(held)) = attached.held.get(&process.pid) else { panic!("it is not held") };
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
        assert_eq!(Attached::new().unwrap().attach(&process, Path::new(".")), Err(Errno::ESRCH));
    }

    /// svscan needs no descriptor to ask for that, so the question does not fail when there are none.
    #[test]
    fn only_a_child_of_svscan_is_an_expected_supervise() {
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
        attached.held.insert(process.pid, EndWatch::Later(process));
        assert_eq!(attached.signal(process.pid, &service::Command::Exit.into()), Err(Errno::EAGAIN));
        assert_eq!(attached.ended(), []);
        assert!(matches!(attached.held.get(&process.pid), Some(EndWatch::Process(_))));
        attached.held.insert(process.pid, EndWatch::Later(process));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!([attached.ended(), attached.ended()], [vec![process.pid], vec![]]);
    }
}
