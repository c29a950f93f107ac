//! Reads what the supervise before this one left behind, and decides how much of it can be believed.
//!
//! A supervise that takes over a process will signal that process. So it must not take over a process that only a
//! forged record names. There are two records:
//!
//! 1. supervise believes the page in svscan's ledger. Only svscan and its supervises can write it, and it belongs to
//!    this boot and this service.
//! 2. supervise believes `supervise/state` only in the directory and the boot that this file names. The directory may
//!    be a copy, and the processes of another boot are gone.
//!
//! The function [`choose`] decides which of the two records counts.
//!
//! If another account than root and supervise's own owns `supervise/`, it could have forged `supervise/state`. Then
//! supervise takes over a process from that file only if the process belongs to that account, which could signal it
//! anyway, or if the process has the tag that supervise gives to the processes of such services. supervise takes over
//! the pipe to the logger only if a service that it takes over can both read and write the pipe. It takes nothing else
//! from such a file that it would signal or open.

use crate::choose_record::{Predecessor, choose};
use crate::elsewhere::Elsewhere;
use crate::pipe::Pipe;
use crate::settings;
use crate::tree;
use daemontools::report;
use daemontools::service::ledger::Page;
use daemontools::service::{Directory, Identity, Part, Place, Process, Record, STATE, Unread};
use daemontools::sys::boot::Boot;
use daemontools::sys::is_passing;
use daemontools::sys::process::proc_path;
use nix::errno::Errno;
use nix::unistd::geteuid;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;

/// The service directory and the boot in which this supervise runs.
pub struct ServiceContext<'a> {
    /// The service's name in messages.
    pub name: &'a OsStr,
    pub place: &'a Place,
    pub boot: &'a Boot,
    /// The service directory's identity, where the file system tells it.
    pub directory: Option<&'a Directory>,
}

impl ServiceContext<'_> {
    /// Reads both records of the supervise before this one, and returns the one that counts.
    ///
    /// # Errors
    /// EMFILE, EIO …: there is a record, but it cannot be read now.
    pub fn predecessor(&self, page: Option<&Page>) -> nix::Result<Predecessor> {
        let on_page = page.and_then(Page::read).map(|text| Record::decode(&text));
        choose(on_page, self.on_disk(), || settings::read(&[], &mut Elsewhere::default()).settings.files)
    }

    fn on_disk(&self) -> nix::Result<Option<Predecessor>> {
        let (record, owner) = match Record::read_with_owner(self.place) {
            Ok(read) => read,
            Err(Unread::System(errno)) if !matches!(errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {
                return Err(errno);
            }
            Err(_) => return Ok(None),
        };
        // Version 0.1.0 did not record the directory.
        let directories = record.directory.as_ref().zip(self.directory);
        if directories.is_some_and(|(written, here)| !written.is_same_as(here)) {
            return Ok(None);
        }
        let same_boot = match record.boot.is_same(self.boot) {
            Some(same) => same,
            // If boots cannot be told apart, a record whose process still exists belongs to this boot.
            None => {
                record.process.map_or(Ok(false), |(_, process)| is_same(&process))?
                    || record.beside.map_or(Ok(false), |(_, process)| is_same(&process))?
            }
        };
        let record = match owner {
            None => record,
            Some(owner) => self.without_claims(record, owner)?,
        };
        let resumes = same_boot && !record.has_left();
        Ok(Some(Predecessor { record, resumes, may_be_forged: owner.is_some() }))
    }

    /// Removes from a record that may be forged everything that supervise would signal or open, except processes that
    /// are proven to belong to the service.
    ///
    /// # Errors
    /// EMFILE, EIO …: the system cannot prove it now.
    fn without_claims(&self, record: Record, owner: u32) -> nix::Result<Record> {
        let process = self.believed(record.process, Part::Service, owner)?;
        let beside = self.believed(record.beside, Part::Service, owner)?;
        // The number of a process that has ended may be the number of another service's process group, so only a living
        // process counts.
        let alive = match process {
            Some((_, process)) if is_same(&process)? => Some(process),
            Some(_) | None => None,
        };
        let last_run = record.last_run.filter(|run| alive.is_some_and(|process| process.is_same_as(run)));
        let logger = match record.logger {
            Some(logger) => {
                let process = self.believed(logger.process, Part::Logger, owner)?;
                Some(Box::new(Record { process, last_run: None, notify_socket: None, ..*logger }))
            }
            None => None,
        };
        // The settings come from the service's files, not from the record.
        let settings = settings::read(&[], &mut Elsewhere::default()).settings.files;
        let is_at_hand = |inode: &u64| process.is_some_and(|(_, process)| Pipe::is_at_hand_of(process, *inode));
        let pipe = record.pipe.filter(is_at_hand);
        Ok(Record { process, beside, last_run, logger, settings, pipe, notify_socket: None, ..record })
    }

    fn believed<R>(&self, process: Option<(R, Process)>, part: Part, owner: u32) -> nix::Result<Option<(R, Process)>> {
        Ok(match process {
            Some((role, process)) if self.is_believed(&process, part, owner)? => Some((role, process)),
            Some(_) | None => None,
        })
    }

    fn is_believed(&self, process: &Process, part: Part, owner: u32) -> nix::Result<bool> {
        match process.identity() {
            // supervise takes the process over as one that has ended, and never signals it.
            Ok(Identity::Gone) => return Ok(true),
            Ok(Identity::Same) => {}
            Err(errno) if is_passing(errno) => return Err(errno),
            Ok(Identity::Unknown) | Err(_) => return Ok(false),
        }
        let uid = std::fs::metadata(proc_path(process.pid, "")).ok().map(|file| file.uid());
        // If root or supervise's account owns the file, the owner proves nothing: a link may lead to any of their
        // files.
        let may_be_forged = owner != 0 && owner != geteuid().as_raw();
        if (may_be_forged && uid == Some(owner)) || tree::is_marked(process.pid, part)? {
            return Ok(true);
        }
        let pid = process.pid.to_string();
        let words = b", which is not proven to be the service's: not taken over";
        report::warning(&[&self.place.name(self.name, STATE), b" names process ", pid.as_bytes(), words]);
        Ok(false)
    }
}

/// Whether the process that has this number now is proven to be the recorded one.
///
/// # Errors
/// EMFILE, EIO …: the system cannot prove it now.
fn is_same(process: &Process) -> nix::Result<bool> {
    match process.identity() {
        Err(errno) if is_passing(errno) => Err(errno),
        identity => Ok(identity == Ok(Identity::Same)),
    }
}
