//! What `/proc` says of processes.

use crate::table::Id;
use daemontools::service::read_file;
use daemontools::sys::process::{accounts, has_gained_rights};
use nix::sys::stat::makedev;
use nix::unistd::{Pid, geteuid};
use std::fs;

/// The longest `/proc/PID/status`, in bytes.
const LONGEST_STATUS: usize = 1 << 16;

/// The longest environment that svscan reads, in bytes.
pub const LONGEST_ENVIRONMENT: usize = 1 << 21;

/// A file of a process under `/proc`, and whether that has the processes of our namespace.
pub use daemontools::sys::process::{has_proc as is_there, proc_path as process_path};

/// Whether root or svscan's own account runs a process, as far as `/proc` tells.
///
/// Any account may execute a set-uid program, which is then root's, with files open and locked in a directory of its choice.
/// So a process that gained rights when it was executed does not count, nor one of which that is not known.
pub fn is_of_our_account(pid: Pid) -> bool {
    let is_ours = |account: u32| account == 0 || account == geteuid().as_raw();
    accounts(pid).is_some_and(|accounts| accounts.into_iter().all(is_ours)) && has_gained_rights(pid) == Some(false)
}

/// Whether a signal waits for the process to take it, rather than ending it; `None` if that cannot be told.
pub fn blocks(pid: Pid, signal: i32) -> Option<bool> {
    let status = read_file(&process_path(pid, "status"), LONGEST_STATUS).ok()?;
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"SigBlk:\t"))?;
    let blocked = u64::from_str_radix(std::str::from_utf8(line).ok()?, 16).ok()?;
    Some(blocked >> (signal - 1) & 1 == 1)
}

/// What a process has found in its environment by this name.
pub fn variable_of(pid: Pid, name: &str) -> Option<String> {
    let environment = read_file(&process_path(pid, "environ"), LONGEST_ENVIRONMENT).ok()?;
    let variables = environment.split(|byte| *byte == 0);
    let mut values = variables.filter_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    String::from_utf8(values.next()?.to_vec()).ok()
}

/// All locks of flock(2), and the processes that hold them; `None` if the kernel does not tell.
///
/// ```text
/// 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
/// ```
pub fn locks() -> Option<Vec<(Id, Pid)>> {
    // The processes are named by the numbers that they have in `/proc`.
    let locks = if is_there() { fs::read_to_string("/proc/locks").ok()? } else { return None };
    Some(locks.lines().filter_map(holder).collect())
}

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
