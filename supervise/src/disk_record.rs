//! Decides how much of `supervise/state` counts. No I/O.
//!
//! The record there counts only in the directory and the boot that it names. The directory may be a copy, and the processes
//! of another boot are gone; then only the history in the record counts.
//!
//! If another account than root and supervise's own owns `supervise/`, it could have forged the record. Then supervise takes
//! over a process from it only if the process belongs to that account, which could signal it anyway, or if the process has
//! the tag that supervise gives to the processes of such services. supervise takes over the pipe to the logger only if a
//! service that it takes over can both read and write the pipe. It takes nothing else from such a record that it would
//! signal or open.

use crate::choose_record::Predecessor;
use daemontools::service::{Directory, Identity, Part, Process, Record};

/// A record that was read from `supervise/state`.
#[derive(Debug)]
pub struct Found<'a> {
    /// The record.
    pub record: Record,
    /// The account that could have forged the record, if another one than root and supervise's own could.
    pub owner: Option<u32>,
    /// The service directory in which the record was found, where the file system tells which one it is.
    pub here: Option<&'a Directory>,
    /// Whether the record names this boot; `None` if boots cannot be told apart.
    pub is_of_this_boot: Option<bool>,
}

/// What the system tells of the processes that a record names.
///
/// # Errors
/// EMFILE, EIO …: the system cannot tell it now, but will later.
pub trait Facts {
    /// Whether the process that has this number now is the recorded one. It is unknown where the system never tells.
    fn identity(&self, process: &Process) -> nix::Result<Identity>;
    /// Whether the process belongs to this account, and supervise would not trust that account with another's process.
    fn belongs_to(&self, process: &Process, owner: u32) -> bool;
    /// Whether the process has the tag of this part of the service.
    fn is_tagged(&self, process: &Process, part: Part) -> nix::Result<bool>;
    /// Whether the process can read and write the pipe with this inode.
    fn has_pipe(&self, process: &Process, inode: u64) -> bool;
    /// The settings in the files of the service.
    fn settings(&self) -> Vec<(String, String)>;
    /// Takes note of a process that is not taken over, as nothing proves that it is the service's.
    fn refuse(&self, process: &Process);
}

/// Returns the part of the record that counts; `None` if the whole record belongs to another directory.
///
/// # Errors
/// EMFILE, EIO …: the system cannot tell now what is needed to decide.
pub fn believe(found: Found, facts: &impl Facts) -> nix::Result<Option<Predecessor>> {
    let Found { record, owner, here, is_of_this_boot } = found;
    // Version 0.1.0 did not record the directory.
    let directories = record.directory.as_ref().zip(here);
    if directories.is_some_and(|(written, here)| !written.is_same_as(here)) {
        return Ok(None);
    }
    let same_boot = match is_of_this_boot {
        Some(same) => same,
        // If boots cannot be told apart, a record whose process still exists belongs to this boot.
        None => {
            record.process.map_or(Ok(false), |(_, process)| is_same(facts, &process))?
                || record.beside.map_or(Ok(false), |(_, process)| is_same(facts, &process))?
        }
    };
    let record = match owner {
        None => record,
        Some(owner) => without_claims(record, owner, facts)?,
    };
    let resumes = same_boot && !record.has_left();
    Ok(Some(Predecessor { record, resumes, may_be_forged: owner.is_some() }))
}

/// Removes from a record that may be forged everything that supervise would signal or open, except processes that are
/// proven to belong to the service.
fn without_claims(record: Record, owner: u32, facts: &impl Facts) -> nix::Result<Record> {
    let process = believed(record.process, Part::Service, owner, facts)?;
    let beside = believed(record.beside, Part::Service, owner, facts)?;
    // The number of a process that has ended may be the number of another service's process group, so only a living
    // process counts.
    let alive = match process {
        Some((_, process)) if is_same(facts, &process)? => Some(process),
        Some(_) | None => None,
    };
    let last_run = record.last_run.filter(|run| alive.is_some_and(|process| process.is_same_as(run)));
    let logger = match record.logger {
        Some(logger) => {
            let process = believed(logger.process, Part::Logger, owner, facts)?;
            Some(Box::new(Record { process, last_run: None, notify_socket: None, ..*logger }))
        }
        None => None,
    };
    // The settings come from the service's files, not from the record.
    let settings = facts.settings();
    let pipe = record.pipe.filter(|inode| process.is_some_and(|(_, process)| facts.has_pipe(&process, *inode)));
    Ok(Record { process, beside, last_run, logger, settings, pipe, notify_socket: None, ..record })
}

fn believed<R>(
    process: Option<(R, Process)>,
    part: Part,
    owner: u32,
    facts: &impl Facts,
) -> nix::Result<Option<(R, Process)>> {
    Ok(match process {
        Some((role, process)) if is_believed(&process, part, owner, facts)? => Some((role, process)),
        Some(_) | None => None,
    })
}

fn is_believed(process: &Process, part: Part, owner: u32, facts: &impl Facts) -> nix::Result<bool> {
    match facts.identity(process)? {
        // supervise takes the process over as one that has ended, and never signals it.
        Identity::Gone => return Ok(true),
        Identity::Same => {}
        Identity::Unknown => return Ok(false),
    }
    if facts.belongs_to(process, owner) || facts.is_tagged(process, part)? {
        return Ok(true);
    }
    facts.refuse(process);
    Ok(false)
}

/// Whether the process that has this number now is proven to be the recorded one.
fn is_same(facts: &impl Facts, process: &Process) -> nix::Result<bool> {
    Ok(facts.identity(process)? == Identity::Same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::service::Role;
    use nix::errno::Errno;
    use nix::unistd::Pid;
    use std::cell::Cell;

    /// The process 7 is alive, of the account 1000, and can read and write the pipe 3; 8 is alive, and 9 has the tag; nothing is
    /// known of 10 now, and never of 11. All others are gone.
    #[derive(Default)]
    struct Known {
        refused: Cell<usize>,
    }

    impl Facts for Known {
        fn identity(&self, process: &Process) -> nix::Result<Identity> {
            match process.pid.as_raw() {
                7..=9 => Ok(Identity::Same),
                10 => Err(Errno::EMFILE),
                11 => Ok(Identity::Unknown),
                _ => Ok(Identity::Gone),
            }
        }

        fn belongs_to(&self, process: &Process, owner: u32) -> bool {
            process.pid.as_raw() == 7 && owner == 1000
        }

        fn is_tagged(&self, process: &Process, part: Part) -> nix::Result<bool> {
            Ok(process.pid.as_raw() == 9 && part == Part::Service)
        }

        fn has_pipe(&self, process: &Process, inode: u64) -> bool {
            (process.pid.as_raw(), inode) == (7, 3)
        }

        fn settings(&self) -> Vec<(String, String)> {
            vec![("true".into(), "1".into())]
        }

        fn refuse(&self, _: &Process) {
            self.refused.set(self.refused.get() + 1);
        }
    }

    fn process(pid: i32) -> Process {
        Process { pid: Pid::from_raw(pid), ticks: 1, serial: 1 }
    }

    fn of(pid: i32) -> Record {
        let settings = vec![("made-up".into(), "1".into())];
        let (run, last_run) = (Some((Role::Run, process(pid))), Some(process(pid)));
        let notify_socket = Some("/made/up".into());
        Record { process: run, last_run, settings, pipe: Some(3), notify_socket, ..Record::blank() }
    }

    #[test]
    fn a_record_counts_in_the_directory_and_the_boot_that_it_names() {
        let directory = |inode| Directory::Inode { device: 1, inode, born: 5 };
        let (here, copy) = (directory(2), directory(3));
        // The directory that the record names, the one in which it is, the boot, and the process; then whether the record
        // counts at all, and whether supervise goes on from it.
        let table = [
            (Some(&here), Some(&here), Some(true), 7, Some(true)),
            (Some(&here), Some(&here), Some(false), 7, Some(false)),
            (Some(&here), Some(&copy), Some(true), 7, None),
            (None, Some(&here), Some(true), 7, Some(true)),
            (Some(&here), None, Some(true), 7, Some(true)),
            (Some(&here), Some(&here), None, 7, Some(true)),
            (Some(&here), Some(&here), None, 5, Some(false)),
            (Some(&here), Some(&here), None, 11, Some(false)),
        ];
        for (number, (named, here, is_of_this_boot, pid, expected)) in table.into_iter().enumerate() {
            let record = Record { directory: named.cloned(), ..of(pid) };
            let found = Found { record, owner: None, here, is_of_this_boot };
            let believed = believe(found, &Known::default()).unwrap();
            assert_eq!(believed.map(|known| known.resumes), expected, "row {number}");
        }
        let found = Found { record: of(10), owner: None, here: None, is_of_this_boot: None };
        assert_eq!(believe(found, &Known::default()).unwrap_err(), Errno::EMFILE);
    }

    #[test]
    fn what_another_account_could_have_forged_names_no_process_that_is_not_proven() {
        // The owner and the process; then the process that is believed, with its pipe, and how many were refused.
        let table = [
            (Some(1000), 7, Some(7), Some(3), 0),
            (Some(1001), 7, None, None, 1),
            (Some(1000), 8, None, None, 1),
            (Some(1000), 9, Some(9), None, 0),
            (Some(1000), 5, Some(5), None, 0),
            (Some(1000), 11, None, None, 0),
            (None, 8, Some(8), Some(3), 0),
        ];
        for (owner, pid, expected, pipe, refused) in table {
            let known = Known::default();
            let found = Found { record: of(pid), owner, here: None, is_of_this_boot: Some(true) };
            let Predecessor { record, may_be_forged, .. } = believe(found, &known).unwrap().unwrap();
            let believed = record.process.map(|(_, process)| process.pid.as_raw());
            assert_eq!((believed, record.pipe, known.refused.get()), (expected, pipe, refused), "{owner:?} {pid}");
            assert_eq!(may_be_forged, owner.is_some());
            let is_made_up = record.notify_socket.is_some() || record.settings == of(pid).settings;
            assert_eq!(is_made_up, owner.is_none(), "{owner:?} {pid}");
            let alive = record.last_run.is_some();
            assert_eq!(alive, expected.is_some_and(|pid| pid != 5), "{owner:?} {pid}");
        }
        let found = Found { record: of(10), owner: Some(1000), here: None, is_of_this_boot: Some(true) };
        assert_eq!(believe(found, &Known::default()).unwrap_err(), Errno::EMFILE);
    }
}
