//! Whether the sender of a datagram may speak for the service, and may name another process as the service.

use crate::adoption::{Adopted, adopt};
use crate::machine::Gated;
use crate::service_process::ServiceProcess;
use crate::strangers::Strangers;
use daemontools::service::{Place, Process};
use daemontools::sys::datagram::Sender;
use daemontools::sys::process::{self, proc_path};
use nix::unistd::{Pid, getpid};
use std::os::unix::fs::MetadataExt;

/// Whether what `sender` says is taken as said by the service. The sender is one of the service's processes, or a process of
/// the service's account, which could as well make the service say it.
///
/// Any account can make a set-uid program of root's say something: the standard error of the program may be a socket that
/// is connected to supervise, and many programs repeat their arguments there. So root alone is not believed for a service of
/// another account, and for a service of root's such a program is not.
pub fn speaks_for(process: &ServiceProcess, sender: &Sender) -> bool {
    let (service, pid) = (process.id.pid, Pid::from_raw(sender.pid));
    if process::ancestors(pid).any(|above| above == service) {
        return true;
    }
    let is_of_its_account = std::fs::metadata(proc_path(service, "")).is_ok_and(|file| file.uid() == sender.uid);
    is_of_its_account && !(sender.uid == 0 && is_set_uid(pid))
}

/// Whether `sender` is the process `pid` itself. Only that may say that it cannot become the program of the service: of what
/// another process could not do, the service knows nothing, and goes on.
pub fn is_the_process(pid: Pid, sender: &Sender) -> bool {
    sender.pid == pid.as_raw()
}

/// Whether a process that spoke for root's account is, or may be, a set-uid program. The answer is no for one that has
/// ended: `systemd-notify`, and the process that started it, may have ended by the time that supervise looks.
fn is_set_uid(pid: Pid) -> bool {
    // Only of a process that root runs wholly, its rights are read: one of another account could make supervise wait.
    let is_roots = || process::accounts(pid) == Some([0; 4]) && process::has_gained_rights(pid) == Some(false);
    // It may begin to end while it is looked at.
    let has_ended = || !process::is_living(pid) || process::has_no_memory(pid);
    !has_ended() && !is_roots() && !has_ended()
}

/// Takes the process `pid` as the service's process from now on, if `sender` may say so and that process is the
/// service's. `strangers` are children of this supervise that are not of the service.
pub fn moved_to(
    service: &ServiceProcess,
    pid: Pid,
    sender: &Sender,
    strangers: &Strangers,
    place: &Place,
) -> Option<ServiceProcess> {
    if pid == service.id.pid {
        return None;
    }
    // The process is held first, and then looked at: what is held cannot become another process.
    let held = match adopt(Process::of(pid).with_start(), place, Gated::No) {
        Ok(Adopted::Alive(held)) => held,
        Ok(Adopted::Ended(_)) | Err(_) => return None,
    };
    let is_ours = match relation(process::ancestors(pid), service.id.pid, getpid(), |pid| strangers.have(pid)) {
        Relation::Service => true,
        Relation::Orphan => may_signal(sender, pid),
        Relation::Stranger => false,
    };
    (is_ours && !held.has_ended()).then_some(held)
}

/// What a process is to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// The process is the service's, or a descendant of that.
    Service,
    /// It is a descendant of supervise whose parent has ended: it may be of the service, as a process that went into
    /// the background, or of another child of supervise.
    Orphan,
    /// It is supervise itself, another of its children or a descendant of that, or none of supervise's descendants.
    Stranger,
}

/// What the first process of `line` is to the service. Each process of the line is the parent of the one before.
fn relation(
    line: impl Iterator<Item = Pid>,
    service: Pid,
    supervise: Pid,
    is_stranger: impl Fn(Pid) -> bool,
) -> Relation {
    for (generation, pid) in line.enumerate() {
        if pid == service {
            return Relation::Service;
        }
        if is_stranger(pid) || (pid == supervise && generation == 0) {
            return Relation::Stranger;
        }
        if pid == supervise {
            return Relation::Orphan;
        }
    }
    Relation::Stranger
}

/// Whether `sender` is the process `pid`, or could signal it.
fn may_signal(sender: &Sender, pid: Pid) -> bool {
    let is_its = |accounts: [u32; 4]| accounts[0] == sender.uid || accounts[2] == sender.uid;
    sender.uid == 0 || sender.pid == pid.as_raw() || process::accounts(pid).is_some_and(is_its)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_descends_from_the_service_or_has_lost_its_parent_may_become_it() {
        // 10 is supervise, 20 the service, 30 its logger.
        let table: [(&[i32], Relation); 9] = [
            (&[20, 10, 1], Relation::Service),
            (&[22, 21, 20, 10, 1], Relation::Service),
            // supervise was killed, and the next one is not above the service.
            (&[22, 20, 1], Relation::Service),
            (&[40, 10, 1], Relation::Orphan),
            (&[41, 40, 10, 1], Relation::Orphan),
            (&[10, 1], Relation::Stranger),
            (&[30, 10, 1], Relation::Stranger),
            (&[31, 30, 10, 1], Relation::Stranger),
            (&[50, 1], Relation::Stranger),
        ];
        for (line, expected) in table {
            let [service, supervise, logger] = [20, 10, 30].map(Pid::from_raw);
            let found = relation(line.iter().copied().map(Pid::from_raw), service, supervise, |pid| pid == logger);
            assert_eq!(found, expected, "{line:?}");
        }
    }

    #[test]
    fn the_accounts_of_a_process_are_those_that_it_has() {
        let [real, effective, saved] =
            nix::unistd::getresuid().map(|ids| [ids.real, ids.effective, ids.saved]).unwrap();
        let accounts = process::accounts(getpid()).unwrap();
        assert_eq!(accounts[..3], [real, effective, saved].map(|id| id.as_raw()));
        assert_eq!(process::accounts(Pid::from_raw(i32::MAX)), None);
    }
}
