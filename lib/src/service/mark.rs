//! The mark in the environment of a service's processes, by which they are known whoever their parent is by now.
//!
//! supervise gives it to processes that it may have to find or to prove to be the service's later: where all of a service
//! is killed, and where `supervise/` is not its own.

use crate::files::read_file;
use crate::sys::process::{has_gained_rights, proc_path};
use nix::sys::stat::stat;
use nix::unistd::Pid;
use std::path::Path;

/// The variable that marks a service's processes.
pub const MARK: &str = "SUPERVISE_TREE";

/// The kernel lets no program have a larger environment.
const LONGEST_ENVIRONMENT: usize = 8 << 20;

/// Its value for the processes of the service in this directory; none if that is gone.
pub fn mark_of(service: &Path) -> Option<String> {
    let directory = stat(if service == Path::new("") { Path::new(".") } else { service }).ok()?;
    Some(format!("{}/{}", directory.st_dev, directory.st_ino))
}

/// The same for the processes of its logger, where the same supervise runs that: they are not the service's.
pub fn mark_of_logger(service: &Path) -> Option<String> {
    mark_of(service).map(|mark| mark + "/log")
}

/// Whether a process has a mark of this value, and lets us see it.
pub fn has_mark(pid: Pid, mark: &str) -> bool {
    let environment = read_file(&proc_path(pid, "environ"), LONGEST_ENVIRONMENT).unwrap_or_default();
    let wanted = format!("{MARK}={mark}");
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

/// Whether a process is proven to be of the service by a mark of this value. Whoever starts a set-uid program chooses the
/// environment of another account's process: there the mark proves nothing.
pub fn is_proven_by_mark(pid: Pid, mark: &str) -> bool {
    has_mark(pid, mark) && has_gained_rights(pid) == Some(false)
}
