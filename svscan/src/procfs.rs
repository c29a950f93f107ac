//! What `/proc` says of processes.

use crate::table::Id;
use daemontools::service::{ask, read_made_up};
use daemontools::sys::process::{accounts, has_gained_rights, process_numbers};
use nix::fcntl::readlink;
use nix::sys::stat::makedev;
use nix::unistd::{Pid, geteuid, getpid};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// The longest `/proc/PID/status`, in bytes.
const LONGEST_STATUS: usize = 1 << 16;

/// The name of an svscan, as `/proc` tells it.
pub const SVSCAN: &[u8] = b"svscan\n";

/// The longest environment that svscan reads, in bytes.
const LONGEST_ENVIRONMENT: usize = 1 << 21;

const LOCKS: &str = "/proc/locks";
/// How long svscan waits for the locks of all processes.
const PATIENCE: Duration = Duration::from_millis(300);
/// For this long, svscan does not ask again for locks that the kernel has told too slowly.
const REST: Duration = Duration::from_secs(30);

/// A file of a process under `/proc`, and whether that has the processes of our namespace.
pub use daemontools::sys::process::{has_proc as is_there, proc_path as process_path};

/// Whether root or svscan's own account runs a process, as far as `/proc` tells.
///
/// Any account may execute a set-uid program, which is then root's, with files open and locked in a directory of its choice.
/// So a process that gained rights when it was executed does not count, nor one of which that is not known.
pub fn is_of_our_account(pid: Pid) -> bool {
    has_our_account(pid) && has_gained_rights(pid) == Some(false)
}

/// Whether root or svscan's own account runs a process, be it a set-uid program of root's or not. To ask that waits for no
/// process.
fn has_our_account(pid: Pid) -> bool {
    let is_ours = |account: u32| account == 0 || account == geteuid().as_raw();
    accounts(pid).is_some_and(|accounts| accounts.into_iter().all(is_ours))
}

/// A file of a process that root or svscan's own account runs. svscan reads the arguments and the environment of no other
/// process: a process can keep their reader waiting for ever.
pub fn file_of_ours(pid: Pid, name: &str) -> Option<Vec<u8>> {
    if !has_our_account(pid) {
        return None;
    }
    read_made_up(&process_path(pid, name), LONGEST_ENVIRONMENT).ok()
}

/// The number of the pipe without a name that a process has as this descriptor; `None` if it has something else there. svscan
/// reads the text of the link and does not follow it: the descriptor may be a file on a mount whose server is gone.
///
/// # Errors
/// ENOENT: there is no such process or descriptor. EACCES: svscan may not ask. EMFILE, ENOMEM …: that cannot be told now.
pub fn pipe_of(pid: Pid, number: u8) -> nix::Result<Option<u64>> {
    let link = readlink(&process_path(pid, &format!("fd/{number}")))?;
    Ok(pipe_number(link.as_bytes()))
}

/// The number in `pipe:[12345]`.
fn pipe_number(link: &[u8]) -> Option<u64> {
    let digits = link.strip_prefix(b"pipe:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether a signal waits for the process to take it, rather than ending it; `None` if that cannot be told.
pub fn blocks(pid: Pid, signal: i32) -> Option<bool> {
    let status = read_made_up(&process_path(pid, "status"), LONGEST_STATUS).ok()?;
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"SigBlk:\t"))?;
    let blocked = u64::from_str_radix(std::str::from_utf8(line).ok()?, 16).ok()?;
    Some(blocked >> (signal - 1) & 1 == 1)
}

/// Whether another svscan of root's or of our account works in the current directory, as far as `/proc` tells.
pub fn may_be_svscan_here() -> bool {
    let here = |pid: Pid| fs::read_link(process_path(pid, "cwd")).ok();
    let (own, itself) = (here(getpid()), getpid());
    let others = process_numbers().into_iter().filter(|pid| *pid != itself);
    let mut svscans = others.filter(|pid| file_of_ours(*pid, "comm").as_deref() == Some(SVSCAN));
    !is_there() || svscans.any(|pid| is_of_our_account(pid) && here(pid) == own)
}

/// What a process of root's or of svscan's own account has found in its environment by this name.
pub fn variable_of(pid: Pid, name: &str) -> Option<String> {
    let environment = file_of_ours(pid, "environ")?;
    let variables = environment.split(|byte| *byte == 0);
    let mut values = variables.filter_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    String::from_utf8(values.next()?.to_vec()).ok()
}

/// The locks of all processes. The time to read them grows with the square of their number, and any account can hold a
/// great many.
#[derive(Debug, Default)]
pub struct Locks {
    /// When the kernel has told them too slowly.
    slow: Option<Instant>,
}

impl Locks {
    /// The processes that hold a lock of flock(2) on a file with this inode; `None` if the kernel does not tell, or not in
    /// time. The device is not compared, because for file systems that are made of others the kernel tells another one
    /// here.
    pub fn holders(&mut self, inode: u64) -> Option<Vec<Pid>> {
        // The processes are named by the numbers that they have in `/proc`.
        if !is_there() || self.slow.is_some_and(|slow| slow.elapsed() < REST) || fs::File::open(LOCKS).is_err() {
            return None;
        }
        let told = ask(PATIENCE, || holders_in_bytes(inode)).ok()?;
        self.slow = told.is_none().then(Instant::now);
        let (holders, _) = told.as_deref()?.as_chunks();
        Some(holders.iter().map(|pid| Pid::from_raw(i32::from_ne_bytes(*pid))).collect())
    }
}

/// The numbers of these processes, one after the other.
fn holders_in_bytes(inode: u64) -> Vec<u8> {
    let locks = fs::File::open(LOCKS).into_iter();
    let lines = locks.flat_map(|locks| BufReader::new(locks).split(b'\n').map_while(Result::ok));
    let holders = lines.filter_map(|line| holder(std::str::from_utf8(&line).ok()?));
    holders.filter(|(file, _)| file.inode == inode).flat_map(|(_, pid)| pid.as_raw().to_ne_bytes()).collect()
}

/// The file and the process in a line of `/proc/locks`.
///
/// ```text
/// 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
/// ```
fn holder(line: &str) -> Option<(Id, Pid)> {
    let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "FLOCK").skip(3);
    let pid = words.next()?.parse().ok().filter(|pid| *pid > 0)?;
    let mut file = words.next()?.split(':');
    let mut hexadecimal = || u64::from_str_radix(file.next()?, 16).ok();
    let device = makedev(hexadecimal()?, hexadecimal()?);
    Some((Id { device, inode: file.next()?.parse().ok()? }, Pid::from_raw(pid)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use nix::sys::stat::fstat;
    use std::os::fd::{AsRawFd, OwnedFd};

    #[test]
    fn a_pipe_is_known_by_the_text_of_its_link() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let number = |fd: &OwnedFd| pipe_of(getpid(), u8::try_from(fd.as_raw_fd()).unwrap());
        let inode = fstat(&reader).unwrap().st_ino;
        assert_eq!([number(&reader), number(&writer)], [Ok(Some(inode)), Ok(Some(inode))]);
        assert_eq!(number(&fs::File::open("/dev/null").unwrap().into()), Ok(None));
        assert_eq!(pipe_of(Pid::from_raw(i32::MAX), 0), Err(Errno::ENOENT));
        for other in ["pipe:[]", "pipe:[1", "/pipe:[1]", "socket:[1]"] {
            assert_eq!(pipe_number(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_lock_is_found_by_its_inode_unless_the_kernel_was_slow() {
        let file = tempfile::tempfile().unwrap();
        let inode = fstat(&file).unwrap().st_ino;
        let held = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusive).unwrap();
        let mut locks = Locks::default();
        let mut found = || {
            locks.slow = None;
            locks.holders(inode)
        };
        let limit = Instant::now() + Duration::from_secs(30);
        while found() != Some(vec![getpid()]) {
            assert!(Instant::now() < limit, "the lock is not found");
        }
        drop(held);
        // A process that another test has forked at this moment also has the lock, until it ends.
        while found() != Some(Vec::new()) {
            assert!(Instant::now() < limit, "the lock is still found");
        }
        locks.slow = Some(Instant::now());
        assert_eq!(locks.holders(inode), None);
        locks.slow = Instant::now().checked_sub(REST);
        assert!(locks.slow.is_some());
    }

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
