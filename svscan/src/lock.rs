//! There is one svscan for a directory; the next one waits until it can take over.
//!
//! svscan locks `.svscan/lock`, which only its own account and root can open. The directory itself could be locked by every
//! account that may read it. A lock that another account owns, or may open, would let that account keep svscan from its
//! directory: it is replaced, unless a process of svscan's own account holds it, which may be an svscan.

use crate::lock_step::{Attempt, LockStep, lock_step};
use crate::procfs::{Locks, is_of_our_account, may_be_svscan_here};
use crate::signals::{self, Request};
use daemontools::service::{Unread, make_at, open_lock_at};
use daemontools::sys::is_shortage;
use daemontools::sys::kind::is_regular;
use daemontools::sys::lock::{try_to_lock, wait_to_lock};
use daemontools::sys::process::{close_all_but, ended_child_status, fork, wait_for};
use daemontools::{Unable, report, sys};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, renameat};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::stat::{Mode, fstat, lstat};
use nix::unistd::{AccessFlags, Pid, UnlinkatFlags, access, geteuid, getpid, getppid, mkdir, setpgid, unlinkat};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const DIRECTORY: &str = ".svscan";
const LOCK: &str = "lock";
/// The file that replaces the lock.
const NEW: &str = "lock.new";
/// The lock can be opened by its owner only.
const OWNERS: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
/// Where the system has no process that can wait for the lock, svscan tries again after this time.
const AGAIN: Duration = Duration::from_secs(1);
/// After this number of locks that were replaced svscan serves the directory with the lock that it has, or without one. The
/// owner of `.svscan` could go on for ever, and can take each lock away that svscan has.
const MOST_CHANGES: u32 = 4;

/// How long svscan still tries to lock the directory once it is told to end: a child of a killed svscan keeps the lock
/// until it has become a supervise, which this svscan has to stop.
const GRACE: Duration = Duration::from_millis(500);
/// The pause between two of these attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// What became of the attempt to lock the directory.
pub enum LockOutcome {
    /// The directory is locked until this is closed.
    Acquired(OwnedFd),
    /// The directory cannot be locked: it is on a read-only file system, or one without locks, or is another account's.
    Unavailable,
    /// svscan was told to end while it waited for another svscan, which still serves the directory.
    ToldToStop,
}

/// The lock, open.
struct OpenLock {
    file: File,
    inode: u64,
    /// Another account owns the lock, or may open it.
    is_exposed: bool,
}

/// Locks the current directory.
pub fn lock(signals: &SignalFd) -> LockOutcome {
    let mut changes = 0;
    loop {
        let found = match open_lock() {
            Ok(Some(found)) => found,
            Ok(None) => break,
            // Another svscan may serve the directory. A shortage passes.
            Err(errno) if is_told_to_end_after(errno, signals) => return LockOutcome::ToldToStop,
            Err(_) => continue,
        };
        let mut attempt = attempt_of(try_to_lock(&found.file));
        let mut step = lock_step(attempt, found.is_exposed, || is_held_by_ours(found.inode));
        if step == LockStep::Wait {
            report::warning(&[b"another svscan serves this directory: waiting for its end"]);
            attempt = match wait(&found.file, signals) {
                Ok(false) => return LockOutcome::ToldToStop,
                waited => waited.map_or(Attempt::Refused, |_| Attempt::Locked),
            };
            step = lock_step(attempt, found.is_exposed, || false);
        }
        if step == LockStep::Replace && changes < MOST_CHANGES {
            report::warning(&[b".svscan/lock can be locked by other accounts: replacing it"]);
            match replace() {
                Ok(()) if is_told_to_end_after_change(&mut changes, signals) => return LockOutcome::ToldToStop,
                Ok(()) => continue,
                Err(errno) => Unable::new("replace", ".svscan/lock", errno).warn(),
            }
        }
        if attempt != Attempt::Locked {
            break;
        }
        // A lock that was removed while svscan waited for it is not what the next svscan locks.
        match open_lock() {
            Ok(now) if changes >= MOST_CHANGES || now.as_ref().is_none_or(|now| now.inode == found.inode) => {
                return LockOutcome::Acquired(found.file.into());
            }
            Ok(_) if is_told_to_end_after_change(&mut changes, signals) => return LockOutcome::ToldToStop,
            Err(errno) if is_told_to_end_after(errno, signals) => return LockOutcome::ToldToStop,
            Ok(_) | Err(_) => {}
        }
    }
    LockOutcome::Unavailable
}

/// Says that the lock cannot be opened now, and pauses. Returns whether svscan is told to end meanwhile.
fn is_told_to_end_after(errno: Errno, signals: &SignalFd) -> bool {
    Unable::new("open", ".svscan/lock", errno).warn();
    is_told_to_end(signals, None)
}

/// Counts a lock that was replaced, and pauses unless it was the first one. Returns whether svscan is told to end meanwhile.
fn is_told_to_end_after_change(changes: &mut u32, signals: &SignalFd) -> bool {
    *changes += 1;
    if *changes == MOST_CHANGES {
        report::warning(&[b".svscan/lock is replaced again and again: serving this directory all the same"]);
    }
    *changes > 1 && is_told_to_end(signals, None)
}

/// What came of an attempt to lock a file.
fn attempt_of(locked: nix::Result<()>) -> Attempt {
    match locked {
        Ok(()) => Attempt::Locked,
        Err(Errno::EAGAIN) => Attempt::Held,
        Err(_) => Attempt::Refused,
    }
}

/// Whether a svscan may have served this directory before: its lock is there, or none can be made.
pub fn may_follow_another() -> bool {
    lstat(&Path::new(DIRECTORY).join(LOCK)).is_ok() || access(".", AccessFlags::W_OK).is_err()
}

/// Whether what an earlier svscan in this process has locked is what this svscan locks: version 0.1.0 locked the directory.
pub fn is_lock(file: &OwnedFd) -> bool {
    fstat(file).is_ok_and(|file| is_regular(&file))
}

/// Waits until the file is locked. Returns false if svscan is told to end before, and another process keeps the lock.
/// If no process does, svscan is told again, and goes on: it has to stop what an earlier svscan may have left. A child
/// waits in svscan's place, which shares the open file with it, and so has the lock as soon as the child has: svscan
/// itself could not be told anything meanwhile.
fn wait(file: &File, signals: &SignalFd) -> nix::Result<bool> {
    let parent = getpid();
    loop {
        let child = fork(|| lock_for(parent, file)).ok();
        if is_told_to_end(signals, child) {
            if let Some(child) = child {
                let _ = kill(child, Signal::SIGKILL);
                let _ = wait_for(child);
            }
            let is_locked = is_locked_within(GRACE, file)?;
            if is_locked {
                kill(getpid(), Signal::SIGTERM)?;
            }
            return Ok(is_locked);
        }
        match try_to_lock(file) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            locked => return locked.map(|()| true),
        }
    }
}

/// Locks the file, if no other process keeps the lock for longer than this time.
fn is_locked_within(time: Duration, file: &File) -> nix::Result<bool> {
    let until = Instant::now() + time;
    loop {
        match try_to_lock(file) {
            Err(Errno::EAGAIN | Errno::EINTR) if Instant::now() < until => {
                let _ = poll(&mut [], sys::timeout(Some(PAUSE)));
            }
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            locked => return locked.map(|()| true),
        }
    }
}

/// What the child does that waits for the lock. It ends with its parent, and keeps nothing else of it open.
fn lock_for(parent: Pid, file: &File) -> i32 {
    let _ = set_pdeathsig(Signal::SIGKILL);
    // What is sent to svscan's process group is for svscan.
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    close_all_but(&[file.as_raw_fd()]);
    i32::from(getppid() != parent || wait_to_lock(file).is_err())
}

/// Whether svscan is told to end before the child has done its work, or, without a child, before some time is over. If the
/// child has failed, that time begins then.
fn is_told_to_end(signals: &SignalFd, mut child: Option<Pid>) -> bool {
    loop {
        let timeout = sys::timeout(Some(AGAIN).filter(|_| child.is_none()));
        let told = match poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout) {
            // There is no memory, or the limit of open files was lowered: svscan looks from time to time.
            Err(errno) if errno != Errno::EINTR => {
                sleep(if child.is_some() { PAUSE } else { AGAIN });
                Ok(0)
            }
            told => told,
        };
        while let Ok(Some(signal)) = signals.read_signal() {
            match signals::request(signal.ssi_signo).0 {
                Request::Stop | Request::Interrupt => return true,
                Request::Reap | Request::Scan | Request::Reexec | Request::Nothing => {}
            }
        }
        match child {
            Some(pid) if ended_child_status(Some(pid)) == Ok(None) => {}
            Some(pid) if wait_for(pid) == Ok(0) => return false,
            // It could not wait for the lock, and the next one might not either.
            Some(_) => child = None,
            None if told == Ok(0) => return false,
            None => {}
        }
    }
}

/// Whether a process of svscan's own account may hold the lock with this inode. If the kernel does not tell, every other
/// svscan may that works in this directory.
fn is_held_by_ours(inode: u64) -> bool {
    match Locks::default().holders(inode) {
        Some(holders) => holders.into_iter().any(is_of_our_account),
        None => may_be_svscan_here(),
    }
}

/// Puts a lock in place that no other account can have open.
fn replace() -> nix::Result<()> {
    let directory = open_directory()?;
    let _ = unlinkat(&directory, NEW, UnlinkatFlags::NoRemoveDir);
    make_at(&directory, Path::new(NEW), OFlag::O_WRONLY, OWNERS)?;
    renameat(&directory, NEW, &directory, LOCK)
}

/// Opens `.svscan`. Follows no link, which could have a file made elsewhere.
fn open_directory() -> nix::Result<OwnedFd> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY | OFlag::O_PATH | OFlag::O_CLOEXEC;
    open(DIRECTORY, flags, Mode::empty())
}

/// Opens the lock, which is made if it is not there. Follows no link, and opens nothing but a file: to open a device
/// may do something. The owner of `.svscan` may link the lock of another svscan to this name, and this svscan would
/// wait for it for ever.
///
/// # Errors
/// EMFILE, ENOMEM …: there may be a lock, but it cannot be opened now.
fn open_lock() -> nix::Result<Option<OpenLock>> {
    // If this fails, what follows says so.
    let _ = mkdir(DIRECTORY, Mode::from_bits_truncate(0o755));
    let directory = match open_directory() {
        Err(errno) if is_shortage(errno) => return Err(errno),
        Err(_) => return Ok(None),
        Ok(directory) => directory,
    };
    let open = || open_lock_at(&directory, Path::new(LOCK));
    let opened = match open() {
        Err(Unread::System(Errno::EMLINK)) => {
            report::warning(&[b".svscan/lock was another file as well: replacing it"]);
            replace().map_err(Unread::from).and_then(|()| open())
        }
        opened => opened,
    };
    match opened {
        Ok((file, stat)) => {
            let is_ours = stat.st_uid == 0 || stat.st_uid == geteuid().as_raw();
            let is_exposed = !is_ours || stat.st_mode & 0o077 != 0;
            Ok(Some(OpenLock { file: file.into(), inode: stat.st_ino, is_exposed }))
        }
        Err(Unread::WrongKind | Unread::System(Errno::EISDIR)) => {
            report::warning(&[b"unable to lock .svscan/lock: not a file"]);
            Ok(None)
        }
        Err(Unread::System(errno)) if is_shortage(errno) => Err(errno),
        // A disk that is read-only, or full, keeps no lock: svscan serves all the same.
        Err(unread) => {
            if let Unread::System(errno @ (Errno::EACCES | Errno::EPERM | Errno::EIO)) = unread {
                let why = report::reason(errno).as_bytes();
                let words = b": whether another svscan serves this directory is not known";
                report::warning(&[b"unable to open .svscan/lock: ", why, words]);
            }
            Ok(None)
        }
    }
}
