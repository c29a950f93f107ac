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
//! [`believe`] decides what of `supervise/state` counts, which the owner of `supervise/` may have forged, and [`choose`] which
//! of the two records counts.

use crate::choose_record::{Predecessor, choose};
use crate::disk_record::{Facts, Found, believe};
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
        choose(on_page, self.on_disk(), || self.settings())
    }

    fn on_disk(&self) -> nix::Result<Option<Predecessor>> {
        let (record, owner) = match Record::read_with_owner(self.place) {
            Ok(read) => read,
            Err(Unread::System(errno)) if !matches!(errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {
                return Err(errno);
            }
            Err(_) => return Ok(None),
        };
        let is_of_this_boot = record.boot.is_same(self.boot);
        believe(Found { record, owner, here: self.directory, is_of_this_boot }, self)
    }
}

impl Facts for ServiceContext<'_> {
    fn identity(&self, process: &Process) -> nix::Result<Identity> {
        match process.identity() {
            Err(errno) if is_passing(errno) => Err(errno),
            identity => Ok(identity.unwrap_or(Identity::Unknown)),
        }
    }

    fn belongs_to(&self, process: &Process, owner: u32) -> bool {
        // If root or supervise's account owns the file, the owner proves nothing: a link may lead to any of their
        // files.
        let may_be_forged = owner != 0 && owner != geteuid().as_raw();
        let uid = || std::fs::metadata(proc_path(process.pid, "")).ok().map(|file| file.uid());
        may_be_forged && uid() == Some(owner)
    }

    fn is_tagged(&self, process: &Process, part: Part) -> nix::Result<bool> {
        tree::is_marked(process.pid, part)
    }

    fn has_pipe(&self, process: &Process, inode: u64) -> bool {
        Pipe::is_at_hand_of(*process, inode)
    }

    fn settings(&self) -> Vec<(String, String)> {
        settings::read(&[], &mut Elsewhere::default()).settings.files
    }

    fn refuse(&self, process: &Process) {
        let pid = process.pid.to_string();
        let words = b", which is not proven to be the service's: not taken over";
        report::warning(&[&self.place.name(self.name, STATE), b" names process ", pid.as_bytes(), words]);
    }
}
