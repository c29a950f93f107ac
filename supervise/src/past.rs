//! What the supervise before this one left behind, as far as it is believed.
//!
//! A supervise that takes over a process will signal it, so it must not take one from a record that was made up. There
//! are two records:
//!
//! 1. The page in svscan's ledger is believed. Only svscan and its supervises can write it, and it is of this boot and
//!    of this service.
//! 2. `supervise/state` is believed only in the directory and the boot that it names: the directory may be a copy, and
//!    the processes of another boot are gone.
//!
//! Which of the two counts is chosen by [`choose`].
//!
//! Where accounts other than root and supervise's own could have written `supervise/state`, as `supervise/` is theirs,
//! a process in it must prove itself: it belongs to that owner, who could signal it anyway, or it has the tag that
//! supervise gives to the processes of such services. The pipe to the logger counts only if a service that has proven
//! itself can both read and write it. Nothing else that would be signalled or opened is taken from that record.

use crate::choice::{Past, choose, was_told_to_leave};
use crate::pipe::Pipe;
use crate::settings::{self, Links};
use crate::tree;
use daemontools::report;
use daemontools::service::ledger::Page;
use daemontools::service::{Directory, Identity, Part, Place, Process, Record, Role, STATE, Unread};
use daemontools::sys::boot::Boot;
use daemontools::sys::is_passing;
use daemontools::sys::process::proc_path;
use nix::errno::Errno;
use nix::unistd::geteuid;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;

/// What tells in which directory and in which boot this supervise runs.
pub struct Here<'a> {
    /// The service's name in messages.
    pub name: &'a OsStr,
    pub place: &'a Place,
    pub boot: &'a Boot,
    /// The service directory's identity, where the file system tells it.
    pub directory: Option<&'a Directory>,
}

impl Here<'_> {
    /// Finds what the supervise before this one left.
    ///
    /// # Errors
    /// EMFILE, EIO …: there is a record, but it cannot be read now.
    pub fn past(&self, page: Option<&Page>) -> nix::Result<Past> {
        let on_page = page.and_then(Page::read).map(|text| Record::decode(&text));
        choose(on_page, self.on_disk(), || settings::read(&[], &mut Links::default()).settings.files)
    }

    fn on_disk(&self) -> nix::Result<Option<Past>> {
        let (record, owner) = match Record::read_with_owner(self.place) {
            Ok(read) => read,
            Err(Unread::System(errno)) if !matches!(errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {
                return Err(errno);
            }
            Err(_) => return Ok(None),
        };
        // Version 0.1.0 did not write down which directory it was.
        let directories = record.directory.as_ref().zip(self.directory);
        if directories.is_some_and(|(written, here)| !written.is_same_as(here)) {
            return Ok(None);
        }
        let same_boot = match record.boot.is_same(self.boot) {
            Some(same) => same,
            // Where boots cannot be told apart, the record is of this boot if its process is still there.
            None => record.process.map_or(Ok(false), |(_, process)| is_same(&process))?,
        };
        let record = match owner {
            None => record,
            Some(owner) => self.without_claims(record, owner)?,
        };
        let resumes = same_boot && !was_told_to_leave(&record);
        Ok(Some(Past { record, resumes, may_be_forged: owner.is_some() }))
    }

    /// Removes from a record that may be made up all that would be signalled or opened, except processes that prove
    /// themselves.
    ///
    /// # Errors
    /// EMFILE, EIO …: whether they do cannot be told now.
    fn without_claims(&self, record: Record, owner: u32) -> nix::Result<Record> {
        let process = self.believed(record.process, Part::Service, owner)?;
        // The number of a process that has ended may be that of another's group: the process must be alive to prove
        // itself.
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
        // The settings are those of the service's files, not those of the record.
        let settings = settings::read(&[], &mut Links::default()).settings.files;
        let is_at_hand = |inode: &u64| process.is_some_and(|(_, process)| Pipe::is_at_hand_of(process, *inode));
        let pipe = record.pipe.filter(is_at_hand);
        Ok(Record { process, last_run, logger, settings, pipe, notify_socket: None, ..record })
    }

    fn believed(
        &self,
        process: Option<(Role, Process)>,
        part: Part,
        owner: u32,
    ) -> nix::Result<Option<(Role, Process)>> {
        Ok(match process {
            Some((role, process)) if self.is_believed(&process, part, owner)? => Some((role, process)),
            Some(_) | None => None,
        })
    }

    fn is_believed(&self, process: &Process, part: Part, owner: u32) -> nix::Result<bool> {
        match process.identity() {
            // The process is taken over as one that has ended, so that it is not signalled.
            Ok(Identity::Gone) => return Ok(true),
            Ok(Identity::Same) => {}
            Err(errno) if is_passing(errno) => return Err(errno),
            Ok(Identity::Unknown) | Err(_) => return Ok(false),
        }
        let uid = std::fs::metadata(proc_path(process.pid, "")).ok().map(|file| file.uid());
        // Where root or supervise's account owns the file, that proves nothing: a link may lead to any file of theirs.
        let may_be_forged = owner != 0 && owner != geteuid().as_raw();
        if (may_be_forged && uid == Some(owner)) || tree::is_marked(process.pid, part) {
            return Ok(true);
        }
        let pid = process.pid.to_string();
        let words = b", which is not proven to be the service's: not taken over";
        report::warning(&[&self.place.name(self.name, STATE), b" names process ", pid.as_bytes(), words]);
        Ok(false)
    }
}

/// Whether it is proven to be the process that has its number.
///
/// # Errors
/// EMFILE, EIO …: that cannot be told now.
fn is_same(process: &Process) -> nix::Result<bool> {
    match process.identity() {
        Err(errno) if is_passing(errno) => Err(errno),
        identity => Ok(identity == Ok(Identity::Same)),
    }
}
