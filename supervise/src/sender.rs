//! Whether the sender of a datagram may speak for the service, and may name another process as the service.

use crate::adoption::{Found, adopt};
use crate::machine::Gated;
use crate::service_process::ServiceProcess;
use daemontools::service::{Place, Process};
use daemontools::sys::datagram::Sender;
use daemontools::sys::process::{self, proc_path};
use nix::unistd::{Pid, getpid};
use std::os::unix::fs::MetadataExt;

/// Whether what `sender` says is taken as said by the service. The sender is one of the service's processes, or root,
/// or a process of the service's account, which could as well make the service say it.
pub fn speaks_for(process: &ServiceProcess, sender: &Sender) -> bool {
    let service = process.id.pid;
    let owner = std::fs::metadata(proc_path(service, "")).ok().map(|file| file.uid());
    let trusted = sender.uid == 0 || owner == Some(sender.uid);
    trusted || line(Pid::from_raw(sender.pid)).any(|above| above == service)
}

/// Takes the process `pid` as the service's process from now on, if `sender` may say so and that process is the
/// service's. `strangers` are children of this supervise that are not of the service.
pub fn moved_to(
    service: &ServiceProcess,
    pid: Pid,
    sender: &Sender,
    strangers: &[Pid],
    place: &Place,
) -> Option<ServiceProcess> {
    if pid == service.id.pid {
        return None;
    }
    // The process is held first, and then looked at: what is held cannot become another process.
    let held = match adopt(service.role, Process::of(pid), place, Gated::No) {
        Ok(Found::Alive(held)) => held,
        Ok(Found::Ended(_)) | Err(_) => return None,
    };
    let is_ours = match descent(line(pid), service.id.pid, getpid(), strangers) {
        Descent::Service => true,
        Descent::Orphan => may_signal(sender, pid),
        Descent::Stranger => false,
    };
    (is_ours && !held.has_ended()).then_some(held)
}

/// A process, its parent, and so on. The number of steps is limited, as the processes change while they are looked at.
fn line(pid: Pid) -> impl Iterator<Item = Pid> {
    let parents = std::iter::successors(Some(pid), |pid| Some(process::ancestry(*pid)?.parent));
    parents.take(1000).take_while(|pid| pid.as_raw() > 0)
}

/// What a process is to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Descent {
    /// It is the service's process, or a descendant of it.
    Service,
    /// It is a descendant of supervise whose parent has ended: it may be of the service, as a process that went into
    /// the background, or of another child of supervise.
    Orphan,
    /// It is supervise itself, another of its children or a descendant of that, or none of supervise's descendants.
    Stranger,
}

/// What the first process of `line` is to the service. Each process of the line is the parent of the one before.
fn descent(line: impl Iterator<Item = Pid>, service: Pid, supervise: Pid, strangers: &[Pid]) -> Descent {
    for (generation, pid) in line.enumerate() {
        if pid == service {
            return Descent::Service;
        }
        if strangers.contains(&pid) || (pid == supervise && generation == 0) {
            return Descent::Stranger;
        }
        if pid == supervise {
            return Descent::Orphan;
        }
    }
    Descent::Stranger
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
        let table: [(&[i32], Descent); 9] = [
            (&[20, 10, 1], Descent::Service),
            (&[22, 21, 20, 10, 1], Descent::Service),
            // supervise was killed, and the next one is not above the service.
            (&[22, 20, 1], Descent::Service),
            (&[40, 10, 1], Descent::Orphan),
            (&[41, 40, 10, 1], Descent::Orphan),
            (&[10, 1], Descent::Stranger),
            (&[30, 10, 1], Descent::Stranger),
            (&[31, 30, 10, 1], Descent::Stranger),
            (&[50, 1], Descent::Stranger),
        ];
        for (line, expected) in table {
            let [service, supervise, logger] = [20, 10, 30].map(Pid::from_raw);
            let found = descent(line.iter().copied().map(Pid::from_raw), service, supervise, &[logger]);
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
