//! A process, and what distinguishes it from every other process that has or had the same number.

use super::ask;
use crate::sys::process::{self, PidFd};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};
use std::time::Duration;

/// How long the start time of a process is waited for that may keep it back.
const PATIENCE: Duration = Duration::from_secs(1);

/// A process, and what distinguishes it from every other process that has or had the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its process number.
    pub pid: Pid,
    /// When it was started, in clock ticks since boot; 0 where `/proc` does not show it.
    pub ticks: u64,
    /// Its serial number among all processes since boot; 0 where the kernel does not report it (before Linux 6.9).
    pub serial: u64,
}

/// Whether a recorded process is still the one that has its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// It is the same process. It may run, or may have ended without having been waited for.
    Same,
    /// It is gone: no process has the number, or another one has it.
    Gone,
    /// A process has this number, but no fact is known of both that could be compared.
    Unknown,
}

/// Whether a recorded process is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// The process is alive: the process that has its number now is proven to be the recorded one.
    Alive,
    /// The process has ended. It may not have been waited for.
    Ended,
    /// It cannot be found out whether the process is alive.
    Unknown,
}

impl Process {
    /// No process.
    pub const NONE: Process = Process { pid: Pid::from_raw(0), ticks: 0, serial: 0 };

    /// Describes the process that executes this. Its start time is always among the facts.
    pub fn itself() -> Process {
        let pid = getpid();
        Process { ticks: process::start_ticks(pid).unwrap_or(0), ..Process::of(pid) }
    }

    /// Describes the process that has this number now. It must be one that cannot end unnoticed, as a child that was not
    /// waited for, or be looked at afterwards.
    ///
    /// If the kernel gives processes serial numbers, the start time is left out. To read it from `/proc` takes as long as
    /// everything else that supervise does before a child becomes its program, and it takes for ever while a process
    /// executes a program and closes a file whose server does not answer.
    pub fn of(pid: Pid) -> Process {
        let serial = PidFd::open(pid).and_then(|held| held.serial()).ok().flatten().unwrap_or(0);
        let ticks = if serial == 0 { process::start_ticks(pid) } else { None };
        Process { pid, ticks: ticks.unwrap_or(0), serial }
    }

    /// Describes a child that was made between these two times since boot. The start time, by which those know the process who
    /// may not hold it by a descriptor, is not asked for: it is known if both times are in one tick of the clock.
    pub fn made_between(child: Pid, before: Duration, after: Duration) -> Process {
        let known = Process::of(child);
        let one = process::ticks_at(before).filter(|ticks| Some(*ticks) == process::ticks_at(after));
        let start = if known.ticks == 0 { one.or_else(|| process::start_ticks(child)) } else { Some(known.ticks) };
        Process { ticks: start.unwrap_or(0), ..known }
    }

    /// Adds the start time to the description of a process that may keep it back. It is waited for a moment only.
    #[must_use]
    pub fn with_start(self) -> Process {
        if self.ticks != 0 {
            return self;
        }
        Process { ticks: start_in_time(self.pid).ok().flatten().unwrap_or(0), ..self }
    }

    /// Adds the facts that are missing in this description of a child, which must not have been waited for. supervise
    /// could not read them when it made the child, for lack of descriptors.
    #[must_use]
    pub fn completed_child(self) -> Process {
        if self.serial != 0 {
            return self;
        }
        let known = Process::of(self.pid);
        let ticks = if self.ticks == 0 { known.ticks } else { self.ticks };
        Process { serial: known.serial, ticks, ..self }
    }

    /// Whether this is still the process that has its number.
    ///
    /// # Errors
    /// EMFILE, EIO and others: this cannot be found out now.
    pub fn identity(&self) -> nix::Result<Identity> {
        if self.pid.as_raw() <= 0 {
            return Ok(Identity::Gone);
        }
        match PidFd::open(self.pid) {
            Ok(held) => self.identity_of(&held),
            // No process has the number. A thread may have it.
            Err(Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => Ok(Identity::Gone),
            Err(errno) if is_without_pidfd(errno) => match kill(self.pid, None) {
                Err(Errno::ESRCH) => Ok(Identity::Gone),
                Ok(()) | Err(_) => self.identity_by_ticks(),
            },
            Err(errno) => Err(errno),
        }
    }

    /// Whether this is the process that `held` holds.
    ///
    /// # Errors
    /// EMFILE, EIO and others: this cannot be found out now.
    pub fn identity_of(&self, held: &PidFd) -> nix::Result<Identity> {
        match held.serial()? {
            Some(serial) if self.serial != 0 => Ok(same_if(serial == self.serial)),
            // Where the kernel gives serial numbers, a supervise does not leave one out: another account may have written this,
            // about a process that keeps its start time back.
            Some(_) => Ok(self.identity_by(start_in_time(self.pid)?)),
            None => self.identity_by_ticks(),
        }
    }

    fn identity_by_ticks(&self) -> nix::Result<Identity> {
        Ok(self.identity_by(process::ticks_of(self.pid)?))
    }

    /// Whether this is the process that was started at this time.
    fn identity_by(&self, start: Option<u64>) -> Identity {
        match start {
            Some(ticks) if self.ticks != 0 => same_if(ticks == self.ticks),
            Some(_) | None => Identity::Unknown,
        }
    }

    /// Whether it is known that the process has ended. It may not have been waited for.
    pub fn has_ended(&self) -> bool {
        self.liveness() == Liveness::Ended
    }

    /// Whether the process is alive, as far as that can be found out now.
    pub fn liveness(&self) -> Liveness {
        match PidFd::open(self.pid) {
            Ok(held) => match self.identity_of(&held) {
                Ok(Identity::Same) if held.has_ended() => Liveness::Ended,
                Ok(Identity::Same) => Liveness::Alive,
                Ok(Identity::Gone) => Liveness::Ended,
                Ok(Identity::Unknown) | Err(_) => Liveness::Unknown,
            },
            Err(_) if self.identity() == Ok(Identity::Gone) => Liveness::Ended,
            Err(_) => Liveness::Unknown,
        }
    }

    /// Whether both are the same process, judged by what is known of both.
    pub fn is_same_as(&self, other: &Process) -> bool {
        let differ = |one: u64, other: u64| one != 0 && other != 0 && one != other;
        self.pid == other.pid && !differ(self.ticks, other.ticks) && !differ(self.serial, other.serial)
    }

    /// Sends these signals to the process, if it is proven to be the one that has its number now: the process is held
    /// while that is proven. A process that has ended, or of which it cannot be proven, gets no signal.
    pub fn send(&self, signals: &[Signal]) {
        let held = PidFd::open(self.pid);
        for signal in signals.iter().copied() {
            let _ = match &held {
                Ok(held) if self.identity_of(held) == Ok(Identity::Same) => held.signal(signal),
                Err(errno) if is_without_pidfd(*errno) && self.is_there() => kill(self.pid, signal),
                Ok(_) | Err(_) => Ok(()),
            };
        }
    }

    /// Whether this is proven to be the process that has its number now.
    pub fn is_there(&self) -> bool {
        self.identity() == Ok(Identity::Same)
    }
}

/// Whether no process has this number, or only one that has ended and was not waited for.
pub fn has_ended(pid: Pid) -> bool {
    match PidFd::open(pid) {
        Ok(held) => held.has_ended(),
        Err(errno) => errno == Errno::ESRCH || is_without_pidfd(errno) && kill(pid, None) == Err(Errno::ESRCH),
    }
}

/// When a process was started that may keep that back, in clock ticks since boot; `None` if it is not told in time.
///
/// # Errors
/// EAGAIN, ENOMEM, EMFILE: the system cannot make a child that asks.
fn start_in_time(pid: Pid) -> nix::Result<Option<u64>> {
    let said = ask(PATIENCE, || process::start_ticks(pid).map_or(Vec::new(), |ticks| ticks.to_ne_bytes().to_vec()))?;
    Ok(said.and_then(|said| said.try_into().ok()).map(u64::from_ne_bytes))
}

fn same_if(same: bool) -> Identity {
    if same { Identity::Same } else { Identity::Gone }
}

/// Whether this error means that the kernel, or a filter, offers no descriptors for processes at all.
pub fn is_without_pidfd(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSYS | Errno::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child of which all facts are known.
    fn whole(pid: Pid) -> Process {
        Process { ticks: process::start_ticks(pid).unwrap(), ..Process::of(pid) }
    }

    #[test]
    fn only_the_process_itself_is_signalled() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let process = whole(Pid::from_raw(i32::try_from(child.id()).unwrap()));
        let later = Process { ticks: process.ticks + 1, serial: process.serial + 1, ..process };
        for other in [later, Process { serial: 0, ..later }, Process { ticks: 0, serial: 0, ..process }] {
            other.send(&[Signal::SIGKILL]);
            assert!(child.try_wait().unwrap().is_none(), "{other:?}");
        }
        Process { serial: 0, ..process }.send(&[Signal::SIGKILL]);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_child_of_which_nothing_could_be_asked_is_completed_later() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let whole = whole(Pid::from_raw(i32::try_from(child.id()).unwrap()));
        assert_eq!(Process { serial: 0, ..whole }.completed_child(), whole);
        for known in [whole, Process { ticks: 0, ..whole }] {
            assert_eq!(known.completed_child(), known);
        }
        let nothing = Process { serial: 0, ticks: 0, ..whole };
        assert_eq!(nothing.completed_child().identity(), Ok(Identity::Same));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_child_is_known_by_when_it_was_made() {
        for _ in 0..20 {
            let before = crate::tai64::Moment::now().uptime;
            let mut child = std::process::Command::new("true").spawn().unwrap();
            let after = crate::tai64::Moment::now().uptime;
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
            assert_eq!(Process::made_between(pid, before, after), whole(pid));
            assert_eq!(Process::of(pid).with_start(), whole(pid));
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_process_is_known_by_what_is_known_of_it() {
        let this = Process::itself();
        assert!(this.ticks > 0);
        let table = [
            (this, Identity::Same),
            (Process { serial: 0, ..this }, Identity::Same),
            (Process { serial: 0, ticks: this.ticks + 1, ..this }, Identity::Gone),
            (Process { serial: 0, ticks: 0, ..this }, Identity::Unknown),
            (Process { pid: Pid::from_raw(i32::MAX), ..this }, Identity::Gone),
            (Process::NONE, Identity::Gone),
        ];
        for (process, identity) in table {
            assert_eq!(process.identity(), Ok(identity), "{process:?}");
        }
        assert_eq!(Process::of(this.pid).identity(), Ok(Identity::Same));
        if this.serial != 0 {
            assert_eq!(Process { ticks: 0, ..this }.identity(), Ok(Identity::Same));
            assert_eq!(Process { serial: this.serial + 1, ..this }.identity(), Ok(Identity::Gone));
        }
    }
}
