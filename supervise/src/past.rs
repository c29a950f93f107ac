//! What the supervise before this one left behind, as far as it is to be believed.
//!
//! A supervise that takes over a process will signal it, so a record of one must not be made up. There are two records:
//!
//! 1. The page in svscan's ledger, which nobody but svscan and its supervises can write, and which is of this boot and of
//!    this service. It is believed.
//! 2. `supervise/state`. It is believed only of the directory and the boot that it names, as the directory may be a copy,
//!    and the processes of another boot are gone. Of the two records that of the younger supervise counts.
//!
//! Where others than root and our own account could have written `supervise/state`, as `supervise/` is theirs, a process in
//! it must prove itself: it belongs to that owner, who could signal it anyway, or it has the mark that supervise gives to
//! the processes of such services. Nothing else that would be signalled or opened is taken from there.

use crate::slot::Which;
use crate::{settings, tree};
use daemontools::report;
use daemontools::service::ledger::Page;
use daemontools::service::{Directory, Identity, Place, Process, Record, STATE, Unread};
use daemontools::sys::boot::Boot;
use nix::errno::Errno;
use nix::unistd::geteuid;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;

/// What is left of the supervise before.
pub struct Past {
    pub record: Record,
    /// Whether we go on where it ended. Otherwise only its history counts.
    pub goes_on: bool,
}

/// What tells where and when we are.
pub struct Here<'a> {
    /// The service's name in messages.
    pub name: &'a OsStr,
    pub place: &'a Place,
    pub boot: &'a Boot,
    /// The service directory, where it can be told from others.
    pub directory: Option<&'a Directory>,
}

impl Here<'_> {
    /// Finds what the supervise before us left.
    ///
    /// # Errors
    /// EMFILE, EIO …: something is there, but cannot be read now.
    pub fn past(&self, page: Option<&Page>) -> nix::Result<Past> {
        let on_page = page.and_then(Page::read).map(|text| Record::decode(&text));
        let on_disk = self.on_disk()?;
        if let Some(record) = on_page
            && !on_disk.as_ref().is_some_and(|disk| disk.goes_on && is_younger(&disk.record, &record))
        {
            let goes_on = !was_told_to_leave(&record);
            return Ok(Past { record, goes_on });
        }
        Ok(on_disk.unwrap_or_else(|| Past { record: Record::blank(), goes_on: false }))
    }

    fn on_disk(&self) -> nix::Result<Option<Past>> {
        let (record, owner) = match Record::read_with_owner(self.place) {
            Ok(read) => read,
            Err(Unread::System(errno)) if !matches!(errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {
                return Err(errno);
            }
            Err(_) => return Ok(None),
        };
        // Version 0.1.0 did not say which directory it was.
        if record.directory.as_ref().is_some_and(|directory| self.directory != Some(directory)) {
            return Ok(None);
        }
        let same_boot = match record.boot.is_same(self.boot) {
            Some(same) => same,
            // Where boots cannot be told apart, the process tells.
            None => record.process.is_some_and(|(_, process)| process.is_there()),
        };
        let record = match owner {
            None => record,
            Some(owner) => self.without_claims(record, owner),
        };
        let goes_on = same_boot && !was_told_to_leave(&record);
        Ok(Some(Past { record, goes_on }))
    }

    /// Takes from a record that may be made up what would be signalled or opened, but for processes that prove themselves.
    fn without_claims(&self, record: Record, owner: u32) -> Record {
        let process = record.process.filter(|(_, process)| self.is_believed(process, Which::Service, owner));
        let last_run = record.last_run.filter(|run| process.is_some_and(|(_, process)| process.is_same_as(run)));
        let logger = record.logger.map(|logger| {
            let process = logger.process.filter(|(_, process)| self.is_believed(process, Which::Logger, owner));
            Box::new(Record { process, last_run: None, notify_socket: None, ..*logger })
        });
        // As the files of the service say now.
        let settings = settings::read().0.files;
        Record { process, last_run, logger, settings, notify_socket: None, ..record }
    }

    fn is_believed(&self, process: &Process, which: Which, owner: u32) -> bool {
        match process.identity() {
            // It is taken over as one that has ended, which signals nothing.
            Ok(Identity::Gone) => return true,
            Ok(Identity::Same) => {}
            Ok(Identity::Unknown) | Err(_) => return false,
        }
        let uid = std::fs::metadata(format!("/proc/{}", process.pid)).ok().map(|file| file.uid());
        // A link may lead to a file of root's or ours that says what somebody else has chosen.
        let is_others = owner != 0 && owner != geteuid().as_raw();
        if (is_others && uid == Some(owner)) || tree::is_marked(process.pid, which) {
            return true;
        }
        let pid = process.pid.to_string();
        let words = b", which is not proven to be the service's: not taken over";
        report::warning(&[&self.place.name(self.name, STATE), b" names process ", pid.as_bytes(), words]);
        false
    }
}

/// Whether its supervise was told to leave, and had come to its end: the next one begins anew.
fn was_told_to_leave(record: &Record) -> bool {
    record.leaving && record.process.is_none()
}

/// Whether the supervise that wrote `one` was started after the one that wrote `other`.
fn is_younger(one: &Record, other: &Record) -> bool {
    let age = |process: &Process| (process.serial, process.ticks);
    match (age(&one.supervise), age(&other.supervise)) {
        ((one, _), (other, _)) if one != 0 && other != 0 => one > other,
        ((_, one), (_, other)) => one > other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Pid;

    fn by(serial: u64, ticks: u64) -> Record {
        Record { supervise: Process { pid: Pid::from_raw(9), ticks, serial }, ..Record::blank() }
    }

    #[test]
    fn the_record_of_the_younger_supervise_counts() {
        assert!(is_younger(&by(8, 5), &by(7, 5)));
        assert!(!is_younger(&by(7, 5), &by(7, 5)));
        assert!(is_younger(&by(0, 6), &by(7, 5)));
        assert!(!is_younger(&by(0, 0), &by(0, 0)));
    }
}
