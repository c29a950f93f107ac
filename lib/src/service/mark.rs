//! The mark in the environment of a service's processes. It identifies them even after their parent has changed.
//!
//! supervise sets it for processes that it may have to find later, or may have to prove to be the service's: where all
//! processes of a service are killed together, and where `supervise/` belongs to another account.

use super::Inquiry;
use crate::files::read_made_up;
use crate::sys::process::{has_gained_rights, proc_path};
use nix::sys::stat::stat;
use nix::unistd::Pid;
use std::path::Path;

/// The environment variable that marks a service's processes.
pub const MARK: &str = "SUPERVISE_TREE";

/// The kernel allows no program a larger environment.
const LONGEST_ENVIRONMENT: usize = 8 << 20;

/// The value of the mark for the processes of the service in this directory; `None` if the directory is gone.
pub fn mark_of(service: &Path) -> Option<String> {
    let directory = stat(if service == Path::new("") { Path::new(".") } else { service }).ok()?;
    Some(format!("{}/{}", directory.st_dev, directory.st_ino))
}

/// The value of the mark for the processes of the logger that the same supervise runs. It differs from the service's,
/// so that the logger's processes do not count as the service's.
pub fn mark_of_logger(service: &Path) -> Option<String> {
    mark_of(service).map(|mark| mark + "/log")
}

/// Whether a process has a mark of one of these values. If we may not read the process's environment, the answer is no.
fn has_mark(pid: Pid, marks: &[&str]) -> bool {
    let environment = read_made_up(&proc_path(pid, "environ"), LONGEST_ENVIRONMENT).unwrap_or_default();
    let marks: Vec<String> = marks.iter().map(|mark| format!("{MARK}={mark}")).collect();
    environment.split(|byte| *byte == 0).any(|variable| marks.iter().any(|mark| mark.as_bytes() == variable))
}

/// Those of these processes that a mark of one of these values proves to be the service's. The user who starts a set-uid
/// program chooses the environment of another account's process, so there the mark proves nothing. A process can keep the
/// reader of its environment waiting for ever: then the mark proves nothing either.
///
/// # Errors
/// EAGAIN, ENOMEM, EMFILE: that cannot be told now.
pub fn are_proven_by_mark(pids: &[Pid], marks: &[&str], inquiry: &mut Inquiry) -> nix::Result<Vec<Pid>> {
    inquiry.those(pids, |pid| has_mark(pid, marks) && has_gained_rights(pid) == Some(false))
}

/// Whether a mark of one of these values proves that a process is the service's (see [`are_proven_by_mark`]).
///
/// # Errors
/// EAGAIN, ENOMEM, EMFILE: that cannot be told now.
pub fn is_proven_by_mark(pid: Pid, marks: &[&str]) -> nix::Result<bool> {
    Ok(!are_proven_by_mark(&[pid], marks, &mut Inquiry::default())?.is_empty())
}
