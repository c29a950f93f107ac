//! Which process runs for a service, as far as a program that is not its supervise can prove it.
//!
//! `supervise/status` contains only a number. If the supervise and all its processes were killed, another process may
//! have the number by now. If the service runs in a container and is looked at from outside, the number belongs to the
//! container's pid namespace, and here it may be another process's or no process's. So no program may act on the number
//! alone. `supervise/state` says more, and is believed only for the directory and the boot that it names: a copied
//! directory contains the state of the original, and a container has a boot of its own. If other accounts than root and
//! our own could have written the state, the process must belong to the account that wrote it, or have the mark that
//! supervise sets in such a case (see [`is_proven_by_mark`]). Otherwise the owner of `supervise/` could make us look at
//! any process.

use super::{
    Identity, Liveness, Place, Process, Record, Snapshot, Status, StatusError, is_proven_by_mark, mark_of,
    mark_of_logger, read_status_at,
};
use crate::sys::boot::Boot;
use crate::sys::process::{is_stopped, proc_path};
use nix::sys::stat::stat;
use nix::unistd::{Pid, geteuid};
use std::path::Path;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What is proven about the process of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The service has no process.
    Nothing,
    /// This is the service's process.
    Proven(Pid),
    /// The service's process had this number and has ended.
    Ended(Pid),
    /// The service's process has this number in another pid namespace.
    Elsewhere(Pid),
    /// The service's process has this number if the status is right, but nothing proves that the process with this
    /// number here is the service's.
    Unproven(Pid),
}

/// The process of the service in this directory, and that of the logger that the same supervise runs, if it runs one.
///
/// # Errors
/// Why the status could not be read.
pub fn proof_at(service: &Path) -> Result<(Proof, Option<Proof>), StatusError> {
    // The status is read before the state, because supervise writes the state first.
    let (status, logger) = read_status_at(service)?;
    let read = || Record::read_with_owner(&Place::of(service).ok()?).ok();
    Ok(proofs(service, (status, logger), RecordedState::of(service, read())))
}

/// Finds out what [`proof_at`] does, but from a snapshot `seen` that was taken before. `alive` is the process of the
/// service, if it is known to be alive.
pub fn proof_of(service: &Path, seen: &Snapshot, alive: Option<Process>) -> (Proof, Option<Proof>) {
    let read = seen.record.clone().map(|record| (record, seen.writer));
    proofs(service, (seen.shown, seen.logger), RecordedState { alive, ..RecordedState::of(service, read) })
}

/// How long a supervise may take to write down that a process has ended.
const WRITES: Duration = Duration::from_millis(200);
/// The pause between two looks at what the supervise has written.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Processes that have ended although a snapshot still names them. A snapshot names such a process for a moment after
/// each end, and for as long as the supervise is stopped or cannot write to its disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unwritten {
    /// The process of the service.
    pub service: Option<Pid>,
    /// The process of the logger that the same supervise runs.
    pub logger: Option<Pid>,
    /// The supervise, if it is stopped.
    stopped: Option<Pid>,
    /// The recorded process of the service, if it is alive.
    pub alive: Option<Process>,
}

impl Unwritten {
    /// The processes of the service in the directory `service` that have ended although the snapshot `seen` still names
    /// them.
    pub fn of(service: &Path, seen: &Snapshot) -> Unwritten {
        let Some(record) = &seen.record else { return Unwritten::default() };
        let process = |record: &Record| record.process.map(|(_, process)| process);
        let of_service = process(record).map(|process| (process, process.liveness()));
        let with = |liveness| of_service.filter(|(_, known)| *known == liveness).map(|(process, _)| process);
        let (own, alive) = (with(Liveness::Ended), with(Liveness::Alive));
        let logger = record.logger.as_deref().and_then(process).filter(Process::has_ended);
        // The full proof takes several system calls more, and nearly every process is still there.
        if own.is_none() && logger.is_none() {
            return Unwritten { alive, ..Unwritten::default() };
        }
        let (proof, proof_of_logger) = proof_of(service, seen, alive);
        let proven = |ended: Option<Process>, proof: Proof| match proof {
            Proof::Ended(pid) => Some(pid),
            // It was not waited for.
            Proof::Proven(pid) => ended.map(|ended| ended.pid).filter(|ended| *ended == pid),
            Proof::Nothing | Proof::Elsewhere(_) | Proof::Unproven(_) => None,
        };
        Unwritten {
            service: proven(own, proof),
            logger: proof_of_logger.and_then(|proof| proven(logger, proof)),
            stopped: Some(record.supervise.pid).filter(|pid| pid.as_raw() > 0 && is_stopped(*pid)),
            alive,
        }
    }

    /// One of the processes that have ended, the service's own first; `None` if none has.
    pub fn any(&self) -> Option<Pid> {
        self.service.or(self.logger)
    }

    /// What is known instead of a state, in words for a user: `process 7 has ended, but its supervise …`.
    pub fn words(&self) -> Option<String> {
        self.any().map(|pid| self.words_of(pid))
    }

    /// What [`Unwritten::words`] says, about the process `pid`, which is one of those that have ended.
    pub fn words_of(&self, pid: Pid) -> String {
        let why = match self.stopped {
            Some(supervise) => format!("is stopped: kill -CONT {supervise}"),
            None => "cannot write that down: is its disk full or read-only?".into(),
        };
        format!("process {pid} has ended, but its supervise {why}")
    }
}

/// Takes the snapshot of the service in the current directory. If it names a process that has ended, the supervise is given a
/// moment to write that down, unless it is stopped.
///
/// # Errors
/// As for [`Snapshot::take`].
pub fn take_written() -> Result<(Snapshot, Unwritten), StatusError> {
    let mut until = None;
    loop {
        let seen = Snapshot::take()?;
        let unwritten = Unwritten::of(Path::new(""), &seen);
        let now = Instant::now();
        let is_known = unwritten.any().is_none() || unwritten.stopped.is_some();
        if is_known || *until.get_or_insert(now + WRITES) <= now {
            return Ok((seen, unwritten));
        }
        // A supervise that can write does so at once.
        sleep(LOOK_AGAIN);
    }
}

fn proofs(service: &Path, (status, logger): (Status, Option<Status>), known: RecordedState) -> (Proof, Option<Proof>) {
    let of_service = known.record.as_ref();
    let of_logger = of_service.and_then(|record| record.logger.as_deref());
    let of = |status: Status, record: Option<&Record>| {
        // The status still shows a `run` that has just ended, until its second is over.
        let shown = record.and_then(|record| record.shown).map(|shown| shown.pid);
        let (_, process) = record.and_then(|record| record.process).unzip();
        let process = process.map(|process| (process, known.identity_of(service, &process)));
        proof(status.pid.filter(|pid| Some(*pid) != shown), known.life, process)
    };
    (of(status, of_service), logger.map(|logger| of(logger, of_logger)))
}

/// The life of the system in which a state was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// The current one, as far as is known.
    Same,
    /// Another life of process 1 under the same kernel: another pid namespace, or a container that is gone.
    OfAnotherInit,
    /// Another boot.
    OfAnotherKernel,
}

/// What the state says, together with the directory in which it lies.
struct RecordedState {
    record: Option<Record>,
    life: Life,
    /// The owner of the state, if other accounts than root and ours could have written it.
    owner: Option<u32>,
    /// A process that is known to be alive.
    alive: Option<Process>,
}

impl RecordedState {
    /// What counts of a record that was read in this directory, with the account that could have made it up.
    fn of(service: &Path, read: Option<(Record, Option<u32>)>) -> RecordedState {
        let (record, owner) = read.filter(|(record, _)| record.is_copied_to(service) != Ok(true)).unzip();
        let life = record.as_ref().map_or(Life::Same, |record| Life::of(&record.boot, &boot_now()));
        RecordedState { record, life, owner: owner.flatten(), alive: None }
    }

    /// Whether the process is still the recorded one. If others may have made the record up, it must also be proven to
    /// be the service's.
    fn identity_of(&self, service: &Path, process: &Process) -> Identity {
        let identity = if self.alive == Some(*process) { Ok(Identity::Same) } else { process.identity() };
        match (identity, self.owner) {
            (Ok(Identity::Same), Some(owner)) if !is_believed(process.pid, owner, service) => Identity::Unknown,
            (identity, _) => identity.unwrap_or(Identity::Unknown),
        }
    }
}

/// Whether a process that the account `owner` may have recorded is the service's. The state may be a link to a file of
/// root's or ours whose contents another account has chosen.
fn is_believed(pid: Pid, owner: u32, service: &Path) -> bool {
    let is_others = owner != 0 && owner != geteuid().as_raw();
    let is_his = || stat(&proc_path(pid, "")).is_ok_and(|process| process.st_uid == owner);
    let is_marked = || {
        let marks: Vec<String> = [mark_of(service), mark_of_logger(service)].into_iter().flatten().collect();
        let marks: Vec<&str> = marks.iter().map(String::as_str).collect();
        is_proven_by_mark(pid, &marks) == Ok(true)
    };
    (is_others && is_his()) || is_marked()
}

/// The boot in which this program runs, read once: there may be thousands of services.
fn boot_now() -> Boot {
    static NOW: OnceLock<Boot> = OnceLock::new();
    if let Some(now) = NOW.get() {
        return now.clone();
    }
    // What cannot be read now, for lack of descriptors, may be read for the next service.
    Boot::current().map(|now| NOW.get_or_init(|| now).clone()).unwrap_or_default()
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

/// What is proven, given the number in the status and what the state says of the process.
fn proof(pid: Option<Pid>, life: Life, process: Option<(Process, Identity)>) -> Proof {
    match (pid, life, process) {
        // The process may have been started after the status was read. The proven one counts.
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
    use crate::service::{Directory, Role, STATE, STATUS, Shown};

    #[test]
    fn a_process_counts_only_if_it_proves_itself() {
        let this = Process::itself();
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
            // The state is from an older supervise than the status.
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
        let this = Process::itself();
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
        let seen = |record: &Record| Snapshot::of(Status::of(record), None, Some(record.clone()));
        let unnoticed = |name: &str, record: &Record| Unwritten::of(&at(name), &seen(record)).any();
        assert_eq!(unnoticed("web", &record), None);
        let gone = Process { ticks: this.ticks + 1, serial: this.serial + 1, ..this };
        let ended = Record { process: Some((Role::Run, gone)), ..record.clone() };
        assert_eq!((unnoticed("web", &ended), unnoticed("copy", &ended)), (Some(this.pid), None));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let zombie = Process::of(Pid::from_raw(i32::try_from(child.id()).unwrap()));
        while !zombie.has_ended() {}
        let ended = Record { process: Some((Role::Run, zombie)), ..record.clone() };
        assert_eq!((unnoticed("web", &ended), unnoticed("copy", &ended)), (Some(zombie.pid), None));
        child.wait().unwrap();
        let shown = Some(Shown { pid: this.pid, since: record.since.label });
        write("web", &Record { process: None, shown, ..record });
        assert_eq!(proof_at(&at("web")), Ok((Proof::Nothing, None)));
    }
}
