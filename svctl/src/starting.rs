//! Whether a supervise is starting, or just leaving: it works in the service directory, but its files show no supervise.
//!
//! svscan may have started it just before the entry was removed. `/proc` tells where each process works. Only the text of
//! the link is read, so that no file system is asked. A supervise that svscan is about to start, and that is no process yet,
//! is not seen.

use daemontools::service::Inquiry;
use daemontools::sys::process::{accounts, is_living, name, proc_path, process_numbers};
use nix::fcntl::readlink;
use nix::sys::stat::stat;
use nix::unistd::{Pid, geteuid};
use std::path::Path;

/// The names of a supervise, and of the process of svscan's that is about to become one.
const NAMES: [&str; 2] = ["supervise", "svscan"];

/// Whether a process that is or will be a supervise works in this directory, which is named without links. Only processes of
/// root's, of this account and of the directory's owner count: no other account can keep a service from being removed.
pub fn is_starting(directory: &Path) -> bool {
    let owner = stat(directory).ok().map(|found| found.st_uid);
    let is_trusted = |account: u32| account == 0 || account == geteuid().as_raw() || Some(account) == owner;
    let may_be_one = |pid: &Pid| {
        name(*pid).is_some_and(|name| NAMES.contains(&name.as_str()))
            && accounts(*pid).is_some_and(|accounts| accounts.into_iter().all(is_trusted))
            && is_living(*pid)
    };
    let pids: Vec<Pid> = process_numbers().into_iter().filter(may_be_one).collect();
    // A process may keep back where it works.
    let works_there = |pid| readlink(&proc_path(pid, "cwd")).is_ok_and(|place| Path::new(&place) == directory);
    !pids.is_empty() && Inquiry::default().those(&pids, works_there).is_ok_and(|found| !found.is_empty())
}
