//! Which process runs for a service, as far as that can be proven by one who is not its supervise.
//!
//! `supervise/status` has only a number. Where the supervise was killed with all that it ran, another process may have
//! the number by now; where the service runs in a container and is looked at from outside, the number counts there, and
//! here it is another process's or nobody's. So a number alone is nothing to act on. `supervise/state` tells more, and is
//! believed only of the directory and the boot that it names: a copied directory has the state of the original, and a
//! container has a boot of its own. Where others than root and our own account could have written it, the process must
//! belong to the one who did, or have the mark that supervise gives in such a case (see [`is_proven_by_mark`]): else whoever owns
//! `supervise/` could have us look at any process.

use super::{
    Directory, Identity, Illegible, Place, Process, Record, Status, is_proven_by_mark, mark_of, mark_of_logger,
    read_status_at,
};
use crate::sys::boot::Boot;
use crate::sys::process::proc_path;
use nix::sys::stat::stat;
use nix::unistd::{Pid, geteuid};
use std::path::Path;

/// What is proven of the process of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// There is none.
    Nothing,
    /// This is it.
    Proven(Pid),
    /// It had this number, and has ended.
    Ended(Pid),
    /// It has this number in another pid namespace.
    Elsewhere(Pid),
    /// It has this number, if the status is right; nothing proves that the process which has it here is the service's.
    Unproven(Pid),
}

/// What runs for the service in this directory, and for the logger that the same supervise runs, if it runs one.
///
/// # Errors
/// Why the status says nothing.
pub fn proof_at(service: &Path) -> Result<(Proof, Option<Proof>), Illegible> {
    // In this order: supervise writes the state first.
    let (status, logger) = read_status_at(service)?;
    let known = Known::at(service);
    let of_service = known.record.as_ref();
    let of_logger = of_service.and_then(|record| record.logger.as_deref());
    let of = |status: Status, record: Option<&Record>| {
        // One that has just ended is shown until its second is over.
        let shown = record.and_then(|record| record.shown).map(|shown| shown.pid);
        let (_, process) = record.and_then(|record| record.process).unzip();
        let process = process.map(|process| (process, known.identity_of(service, &process)));
        proof(status.pid.filter(|pid| Some(*pid) != shown), known.life, process)
    };
    Ok((of(status, of_service), logger.map(|logger| of(logger, of_logger))))
}

/// In which life of the system a state was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// In this one, as far as is known.
    Same,
    /// In another one of process 1, under the same kernel: in another pid namespace, or in a container that is gone.
    OfAnotherInit,
    /// In another boot.
    OfAnotherKernel,
}

/// What the state says of the directory in which it lies.
struct Known {
    record: Option<Record>,
    life: Life,
    /// Whose the state is, where others than root and we could have written it.
    owner: Option<u32>,
}

impl Known {
    fn at(service: &Path) -> Known {
        let read = || Record::read_with_owner(&Place::of(service).ok()?).ok();
        let here = Directory::at(service).ok();
        let is_copied = |record: &Record| {
            record.directory.as_ref().zip(here.as_ref()).is_some_and(|(written, here)| !written.is_same_as(here))
        };
        let (record, owner) = read().filter(|(record, _)| !is_copied(record)).unzip();
        let now = Boot::current().unwrap_or_default();
        let life = record.as_ref().map_or(Life::Same, |record| Life::of(&record.boot, &now));
        Known { record, life, owner: owner.flatten() }
    }

    /// Whether the process is still the one that was written down; not known if others may have made that up.
    fn identity_of(&self, service: &Path, process: &Process) -> Identity {
        match (process.identity(), self.owner) {
            (Ok(Identity::Same), Some(owner)) if !is_believed(process.pid, owner, service) => Identity::Unknown,
            (identity, _) => identity.unwrap_or(Identity::Unknown),
        }
    }
}

/// Whether a process that `owner` may have written down is the service's. A link may lead to a file of root's or ours that
/// says what somebody else has chosen.
fn is_believed(pid: Pid, owner: u32, service: &Path) -> bool {
    let is_others = owner != 0 && owner != geteuid().as_raw();
    let is_his = || stat(&proc_path(pid, "")).is_ok_and(|process| process.st_uid == owner);
    let marks = [mark_of(service), mark_of_logger(service)];
    (is_others && is_his()) || marks.into_iter().flatten().any(|mark| is_proven_by_mark(pid, &mark))
}

impl Life {
    fn of(boot: &Boot, now: &Boot) -> Life {
        match (boot.is_same_kernel(now), boot.is_same(now)) {
            (Some(false), _) => Life::OfAnotherKernel,
            (_, Some(false)) => Life::OfAnotherInit,
            (_, Some(true) | None) => Life::Same,
        }
    }
}

/// By the number in the status, and what is known of the process in the state.
fn proof(pid: Option<Pid>, life: Life, process: Option<(Process, Identity)>) -> Proof {
    match (pid, life, process) {
        // Started since the status was read, perhaps: what is proven counts.
        (_, Life::Same, Some((process, Identity::Same))) => Proof::Proven(process.pid),
        (None, _, _) => Proof::Nothing,
        (Some(pid), Life::Same, Some((process, Identity::Gone))) if process.pid == pid => Proof::Ended(pid),
        (Some(pid), Life::OfAnotherKernel, Some((process, _))) if process.pid == pid => Proof::Ended(pid),
        (Some(pid), Life::OfAnotherInit, Some((process, _))) if process.pid == pid => Proof::Elsewhere(pid),
        (Some(pid), Life::Same | Life::OfAnotherInit | Life::OfAnotherKernel, _) => Proof::Unproven(pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Role, STATE, STATUS, Shown};
    use nix::unistd::getpid;

    #[test]
    fn a_process_counts_only_if_it_proves_itself() {
        let this = Process::of(getpid());
        let pid = this.pid;
        let stranger = Process { ticks: this.ticks + 1, serial: this.serial + 1, ..this };
        let unknown = Process { ticks: 0, serial: 0, ..this };
        let (same, init, kernel) = (Life::Same, Life::OfAnotherInit, Life::OfAnotherKernel);
        let one = Pid::from_raw(1);
        let table = [
            (Some(pid), same, Some(this), Proof::Proven(pid)),
            (Some(pid), same, Some(stranger), Proof::Ended(pid)),
            (Some(pid), same, Some(unknown), Proof::Unproven(pid)),
            (Some(pid), same, None, Proof::Unproven(pid)),
            // The state is newer than the status.
            (None, same, Some(this), Proof::Proven(pid)),
            (Some(one), same, Some(this), Proof::Proven(pid)),
            // The state is of an older supervise than the status.
            (Some(one), same, Some(stranger), Proof::Unproven(one)),
            (None, same, Some(stranger), Proof::Nothing),
            (Some(pid), init, Some(this), Proof::Elsewhere(pid)),
            (Some(one), init, Some(this), Proof::Unproven(one)),
            (Some(pid), kernel, Some(this), Proof::Ended(pid)),
            (Some(pid), kernel, None, Proof::Unproven(pid)),
            (None, kernel, Some(this), Proof::Nothing),
        ];
        for (number, life, process, expected) in table {
            let process = process.map(|process| (process, process.identity().unwrap()));
            assert_eq!(proof(number, life, process), expected, "{number:?} {life:?} {process:?}");
        }
    }

    #[test]
    fn another_boot_is_told_from_another_container() {
        let boot = Boot::from_words;
        for (one, other, expected) in [
            ("a 1 2 3", "a 1 2 3", Life::Same),
            ("a 1 2 3", "a 1 9 8", Life::OfAnotherInit),
            ("a 1 2 3", "b 9 2 3", Life::OfAnotherKernel),
            ("- - 2 3", "a 1 2 9", Life::OfAnotherInit),
            ("", "a 1 2 3", Life::Same),
        ] {
            assert_eq!(Life::of(&boot(one), &boot(other)), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn the_state_of_a_copied_directory_proves_nothing_nor_what_is_only_shown() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let this = Process::of(getpid());
        let write = |name: &str, record: &Record| {
            std::fs::write(at(name).join(STATE), record.encode()).unwrap();
            std::fs::write(at(name).join(STATUS), Status::of(record).encode()).unwrap();
        };
        for name in ["web", "copy"] {
            std::fs::create_dir_all(at(name).join("supervise")).unwrap();
        }
        let record = Record {
            process: Some((Role::Run, this)),
            boot: Boot::current().unwrap(),
            directory: Directory::at(&at("web")).ok(),
            ..Record::blank()
        };
        for name in ["web", "copy"] {
            write(name, &record);
        }
        assert_eq!(proof_at(&at("web")), Ok((Proof::Proven(this.pid), None)));
        assert_eq!(proof_at(&at("copy")), Ok((Proof::Unproven(this.pid), None)));
        let shown = Some(Shown { pid: this.pid, since: record.since.label });
        write("web", &Record { process: None, shown, ..record });
        assert_eq!(proof_at(&at("web")), Ok((Proof::Nothing, None)));
    }
}
