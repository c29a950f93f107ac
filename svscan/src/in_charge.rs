//! Which supervise is in charge of a service, as far as svscan can prove that. The supervise may have been started by
//! an svscan that was killed, or by hand.
//!
//! A process is taken for the supervise of a service only where that is proven: it is the one that wrote the page that
//! svscan keeps for the service and is still the same; or `supervise/ok` has a reader, the process works in the service
//! directory, and it either wrote `supervise/state`, where only root and svscan's own account could have written that, or
//! holds the lock on `supervise/lock`, and root or svscan's own account runs it.

use crate::look::signs::Signs;
use crate::probe::Probe;
use crate::procfs::is_of_our_account;
use crate::table::Id;
use daemontools::service::{Identity, Process, Record, is_without_pidfd};
use daemontools::sys::process::{PidFd, ancestry};
use nix::errno::Errno;
use nix::unistd::{Pid, getpgid};
use std::path::Path;

/// Which process is in charge of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InCharge {
    /// No supervise is in charge.
    NoSupervise,
    /// This supervise is in charge.
    Supervise(Process),
    /// A supervise may be in charge, but the system does not tell whether one is, or which, for this reason.
    Unknown(Errno),
}

/// Which process is in charge of the service in this directory, which can be touched; `page` is what its last supervise
/// wrote on its page.
pub fn in_charge(folder: &Path, page: Option<&Record>, probe: &mut Probe) -> InCharge {
    look_for(folder, page, probe).unwrap_or_else(InCharge::Unknown)
}

/// Which process is in charge, or why that cannot be told. An error, for example that svscan has no descriptors left,
/// does not prove that no process is in charge.
fn look_for(folder: &Path, page: Option<&Record>, probe: &mut Probe) -> nix::Result<InCharge> {
    if let Some(process) = page.map(|page| page.supervise)
        && is_running(&process)?
    {
        return Ok(InCharge::Supervise(process));
    }
    let Some(Signs { directory, writer, lock }) = probe.signs(folder)? else { return Ok(InCharge::NoSupervise) };
    let writer = writer.map(|record| record.supervise).filter(|writer| match writer.identity() {
        // Where there is no /proc, the system does not tell that the process works elsewhere.
        Ok(Identity::Same) => works_in(writer.pid, directory, probe) != Some(false),
        // On an old kernel without /proc: the process that reads `ok` has written its state before.
        Ok(Identity::Unknown) => works_in(writer.pid, directory, probe).is_none() && leads_its_group(writer.pid),
        Ok(Identity::Gone) | Err(_) => false,
    });
    // Another account may lock a file of its own there, read `ok`, and work in the directory.
    let is_supervise = |process: &Process, probe: &mut Probe| {
        is_of_our_account(process.pid) && works_in(process.pid, directory, probe) == Some(true)
    };
    let holder = || {
        let holders = lock.map_or_else(Vec::new, |lock| probe.lock_holders(lock));
        holders.into_iter().map(Process::of).find(|process| is_supervise(process, probe))
    };
    Ok(match writer.or_else(holder) {
        Some(process) => InCharge::Supervise(process),
        // Any process that may open `ok` may read it.
        None if probe.is_unlocked(folder)? => InCharge::NoSupervise,
        None => InCharge::Unknown(Errno::ESRCH),
    })
}

/// Whether this supervise is in charge, as far as the system tells. A supervise that has only just been started may wait to
/// see whether the supervise before it ends.
pub fn may_be_in_charge(folder: &Path, page: Option<&Record>, pid: Pid, probe: &mut Probe) -> bool {
    match in_charge(folder, page, probe) {
        InCharge::Supervise(other) => other.pid == pid,
        InCharge::NoSupervise => !matches!(probe.is_supervised(folder), Ok(false) | Err(Errno::ENOENT)),
        InCharge::Unknown(_) => true,
    }
}

/// Whether the process that had this number and start time still has them, and has not ended.
///
/// # Errors
/// EMFILE, EIO …: that cannot be told now.
pub fn is_running(process: &Process) -> nix::Result<bool> {
    match PidFd::open(process.pid) {
        Ok(held) => Ok(process.identity_of(&held)? == Identity::Same && !held.has_ended()),
        Err(errno) if is_without_pidfd(errno) => {
            Ok(process.identity()? == Identity::Same && !ancestry(process.pid).is_some_and(|found| found.zombie))
        }
        // No process has the number.
        Err(Errno::ESRCH | Errno::EINVAL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether a process leads its process group, as every supervise does that svscan starts.
fn leads_its_group(pid: Pid) -> bool {
    getpgid(Some(pid)) == Ok(pid)
}

/// Whether a process works in this directory, which can be touched; `None` if that cannot be told. A process that works
/// on a mount whose server is gone works elsewhere: svscan may have to ask about any process, because a lock on a file
/// system that is made of others tells only the inode.
fn works_in(pid: Pid, directory: Id, probe: &mut Probe) -> Option<bool> {
    match probe.working_directory(pid) {
        Ok(found) => Some(found == directory),
        Err(Errno::ETIMEDOUT) => Some(false),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::service;
    use nix::fcntl::{Flock, FlockArg};
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// An error is a proof of nothing, least of all that no supervise is in charge.
    #[test]
    fn no_supervise_is_in_charge_only_where_the_fifo_is_missing_or_has_no_reader() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("web");
        let presence = || match in_charge(&folder, None, &mut Probe::default()) {
            InCharge::NoSupervise => Ok(false),
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
}
