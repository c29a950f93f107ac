//! Looking at service directories: all that svscan reads in them, and whether their names still lead to them.
//!
//! A directory may lie on a mount whose server is gone, where whatever touches it waits for ever. So each look begins with
//! the question whether the mount answers (see [`remote_mounts`](crate::remote_mounts)), and files are read by the bounded
//! reader.

use crate::attach::processes;
use crate::identity::{self, id_of};
use crate::readiness;
use crate::remote_mounts::RemoteMounts;
use crate::removed::Removed;
use crate::table::{Id, Part, Readiness, SuperviseId, Table, label};
use daemontools::Unable;
use daemontools::service::{
    Identity, LOG, LOG_RUN, LOG_SUPERVISE, OK, Place, RUN, Record, STATE, SUPERVISE, Status, Unread, has_supervise_at,
    is_supervised_at, read_file, setting,
};
use daemontools::sys::is_passing;
use daemontools::sys::kind::is_directory;
use daemontools::tai64::Moment;
use nix::errno::Errno;
use nix::sys::stat::{lstat, stat};
use nix::unistd::{AccessFlags, Pid, SysconfVar, access, sysconf};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file that names the services that are to be ready before this one starts, and down after it: one name a line.
pub const AFTER: &str = "after";
/// The file whose presence makes everything stop when this service ends for good.
pub const ESSENTIAL: &str = "essential";

/// The longest list of names that is read, in bytes.
const LONGEST_LIST: usize = 1 << 20;
/// How many names of a list count. More would cost svscan's time with every service.
pub const MOST_NAMES: usize = 1000;

/// What an entry of the scan directory leads to.
#[derive(Debug)]
pub enum Entry {
    /// A directory.
    Directory(Id),
    /// Something that is no directory.
    File,
    /// Nothing: the entry is gone, or changes just now.
    Gone,
    /// Nothing, though the entry is there: a link that leads nowhere.
    Dangling(Unable),
    /// The system does not tell.
    Unknown(Unable),
}

/// What is found in a service directory before its supervise is started.
#[derive(Debug)]
pub struct Found {
    pub logger: Logger,
    /// Everything is to stop when this service ends for good.
    pub essential: bool,
    /// The services that are to be ready before this one starts, if their list can be read.
    pub after: Result<After, Unread>,
    /// The service runs already, whether or not a supervise is in charge of it; asked only where it would wait for others.
    pub running: bool,
}

/// What `log` in a service directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logger {
    /// There is none, or it is a program that the service's own supervise runs.
    None,
    /// It is a service directory.
    Directory,
    /// It is a file that cannot be executed.
    Unusable,
}

/// The services that are to be ready before another one starts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct After {
    /// Their names, each once, no more than [`MOST_NAMES`].
    pub names: Vec<OsString>,
    /// How many names more are in the file.
    pub surplus: usize,
}

/// Whether a service directory has all that it needs to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completeness {
    /// `run` can be executed, and so can `log/run` if there is a directory `log`.
    pub is_complete: bool,
    /// There is a directory `log`.
    pub has_logger: bool,
}

/// What a supervise has written about its service.
#[derive(Debug)]
pub struct Written {
    /// Where the service lies.
    pub folder: PathBuf,
    /// What `supervise/status` says. A supervise of this toolkit writes it after its record: read before that, it does not say
    /// more than the record.
    pub status: Option<Status>,
    pub record: Option<Record>,
}

impl Written {
    /// How far the service is whose supervise is `pid`.
    pub fn readiness(&self, pid: Pid) -> Readiness {
        readiness::of(self.status.as_ref(), self.record.as_ref(), pid)
    }

    /// With what code the service whose supervise is `pid` has ended for good; `None` if it has not.
    pub fn final_exit(&self, pid: Pid) -> Option<i32> {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok());
        readiness::final_exit(self.record.as_ref(), pid, Moment::now(), ticks)
    }
}

/// All that looks at service directories.
#[derive(Debug, Default)]
pub struct Probe {
    mounts: RemoteMounts,
    removed: Removed,
}

impl Probe {
    /// Looks for mounts that are new or gone; returns whether there may be any.
    pub fn refresh(&mut self) -> bool {
        self.mounts.refresh()
    }

    /// Whether the kernel tells when something is mounted.
    pub fn is_told_of_mounts(&self) -> bool {
        self.mounts.is_told_of_mounts()
    }

    /// Readable when [`refresh`](Probe::refresh) is to be called, if the kernel tells.
    pub fn changes(&self) -> Option<BorrowedFd<'_>> {
        self.mounts.changes()
    }

    /// Where an entry of the scan directory leads.
    pub fn entry(&mut self, name: &OsStr) -> Entry {
        let path = Path::new(name);
        let unable = |errno| Unable::new("stat", name, errno);
        let refusal = match self.mounts.probe(path).and_then(|()| identity::of(path)) {
            Ok(id) => return Entry::Directory(id),
            Err(Errno::ENOTDIR) if stat(name).is_ok() => return Entry::File,
            Err(errno @ (Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP)) => unable(errno),
            Err(errno) => return Entry::Unknown(unable(errno)),
        };
        // A link that comes or goes just now is another one at the second look.
        let link = || lstat(name).map(|file| id_of(&file));
        let before = link();
        let dangles = before.is_ok() && stat(name).is_err() && link() == before;
        if dangles { Entry::Dangling(refusal) } else { Entry::Gone }
    }

    /// What there is to supervise in the directory of this name; `page` is what its last supervise has written in svscan's
    /// memory. svscan asks this once for each service. So an error that passes, as of svscan having no descriptors left, is
    /// not taken for an answer.
    ///
    /// # Errors
    /// The directory cannot be touched (ETIMEDOUT), or this file in it cannot be looked at now.
    pub fn service(&mut self, name: &OsStr, page: Option<Record>) -> Result<Found, (&'static str, Errno)> {
        let folder = Path::new(name);
        let logger = self.logger(folder).map_err(|errno| (LOG, errno))?;
        let after = match after(folder) {
            Err(Unread::System(errno)) if is_passing(errno) => return Err((AFTER, errno)),
            after => after,
        };
        let waits = after.as_ref().is_ok_and(|after| !after.names.is_empty());
        let running = waits && is_running(folder, page)?;
        let essential = is_there(&folder.join(ESSENTIAL)).map_err(|errno| (ESSENTIAL, errno))?;
        Ok(Found { logger, essential, after, running })
    }

    /// What `log` in this service directory is.
    ///
    /// # Errors
    /// The directory cannot be touched (ETIMEDOUT), or `log` cannot be looked at.
    pub fn logger(&mut self, folder: &Path) -> nix::Result<Logger> {
        self.reach(folder)?;
        let log = folder.join(LOG);
        match stat(&log) {
            Ok(file) if is_directory(&file) => Ok(Logger::Directory),
            Ok(_) if access(&log, AccessFlags::X_OK).is_ok() => Ok(Logger::None),
            Ok(_) => Ok(Logger::Unusable),
            Err(Errno::ENOENT) => Ok(Logger::None),
            Err(errno) => Err(errno),
        }
    }

    /// Whether a service directory has all that it needs, or is supervised already. One that cannot be touched has not.
    pub fn completeness(&mut self, folder: &Path) -> Completeness {
        if self.reach(folder).is_err() {
            return Completeness { is_complete: false, has_logger: false };
        }
        let runs = |directory: &Path| access(&directory.join(RUN), AccessFlags::X_OK).is_ok();
        let log = folder.join(LOG);
        let has_logger = log.is_dir();
        let is_supervised = || [folder, &log].into_iter().any(|folder| is_supervised_at(folder) == Ok(true));
        let is_complete = runs(folder) && (!has_logger || runs(&log));
        Completeness { is_complete: is_complete || is_supervised(), has_logger }
    }

    /// Whether a file that was just created in a service directory is one that is being written, not a link to another.
    pub fn is_new_file(&mut self, path: &Path) -> bool {
        let is_new = |file: std::fs::Metadata| file.is_file() && file.nlink() == 1;
        self.mounts.probe(path).is_ok() && path.symlink_metadata().is_ok_and(is_new)
    }

    /// Whether `place` leads to the service, and may be entered.
    ///
    /// # Errors
    /// It does not (ENOENT), may not be entered, or cannot be touched (ETIMEDOUT).
    pub fn leads_to(&mut self, place: &OsStr, id: Id) -> nix::Result<()> {
        self.reach(Path::new(place))?;
        still_there(place, id)
    }

    /// Makes sure that a service directory can be touched, and what svscan looks at in it.
    fn reach(&mut self, folder: &Path) -> nix::Result<()> {
        let names = [SUPERVISE, RUN, AFTER, ESSENTIAL, LOG, LOG_RUN, LOG_SUPERVISE];
        self.mounts.probe_with(folder, &names)
    }

    /// Where the service, or its logger, lies; `None` if that cannot be touched.
    pub fn folder(&mut self, table: &Table, which: SuperviseId) -> Option<PathBuf> {
        let folder = PathBuf::from(label(which.part, &self.place(table, which)?));
        self.reach(&folder).ok().map(|()| folder)
    }

    /// The same, where that is certain to be the directory of this service, and not of one that has its name now.
    pub fn own_folder(&mut self, table: &Table, which: SuperviseId) -> Option<PathBuf> {
        let place = self.place(table, which)?;
        self.leads_to(&place, which.id).ok().map(|()| PathBuf::from(label(which.part, &place)))
    }

    /// The directory of a service: its entry, and where that is gone, for its logger, the directory that is held.
    pub fn place(&self, table: &Table, which: SuperviseId) -> Option<OsString> {
        let is_left = which.part == Part::Logger && !table.is_present(which.id);
        let held = self.removed.path(which.id).filter(|_| is_left).map(PathBuf::into_os_string);
        held.or_else(|| table.name(which.id).map(OsStr::to_os_string))
    }

    /// What the last supervise of a part has written into `supervise/state`, where others may have written as well.
    pub fn record(&mut self, table: &Table, which: SuperviseId) -> Option<Record> {
        record(&self.folder(table, which)?)
    }

    /// What the last supervise of a part has written into `supervise/state`, if no other account could have written it.
    ///
    /// # Errors
    /// That cannot be told now. Where no entry leads to the service any more, nothing is known, which is no error.
    pub fn trusted_record(&mut self, table: &Table, which: SuperviseId) -> Result<Option<Record>, Unread> {
        let Some(place) = self.place(table, which) else { return Ok(None) };
        match self.leads_to(&place, which.id) {
            Err(Errno::ENOENT) => return Ok(None),
            leads => leads.map_err(Unread::System)?,
        }
        let place = Place::of(Path::new(&label(which.part, &place))).map_err(Unread::System)?;
        match Record::read_with_owner(&place) {
            Ok((record, other_owner)) => Ok(other_owner.is_none().then_some(record)),
            Err(Unread::System(errno)) if errno != Errno::ENOENT => Err(Unread::System(errno)),
            // There is none, or it is not one that a supervise has written.
            Err(Unread::System(_) | Unread::WrongKind | Unread::TooLong) => Ok(None),
        }
    }

    /// What the supervise of a service has written about it; `page` is what it has written in svscan's memory.
    pub fn written(&mut self, table: &Table, id: Id, page: impl FnOnce() -> Option<Record>) -> Option<Written> {
        let folder = self.folder(table, SuperviseId { id, part: Part::Service })?;
        let status = Place::of(&folder).ok().and_then(|place| Status::read(&place).ok());
        let record = page().or_else(|| record(&folder));
        Some(Written { folder, status, record })
    }

    /// The services that each service comes after, as its directory says now, or said when it could last be read.
    pub fn order(&mut self, table: &Table) -> Vec<(Id, Vec<OsString>)> {
        let mut order = table.order();
        for (id, names) in &mut order {
            let Some(folder) = self.folder(table, SuperviseId { id: *id, part: Part::Service }) else { continue };
            if still_there(folder.as_os_str(), *id).is_ok()
                && let Ok(now) = after(&folder)
            {
                *names = now.names;
            }
        }
        order
    }

    /// How long a service may take to stop, if it is killed after that.
    pub fn time_to_stop(&mut self, folder: &Path) -> Option<Duration> {
        let file = folder.join(setting::TIMEOUT_KILL);
        self.mounts.probe(&file).ok()?;
        let text = String::from_utf8(read_file(&file, setting::LONGEST).ok()?).ok()?;
        setting::timeout(setting::value(&text)).ok().flatten()
    }

    /// What a file of the scan directory says, which is a setting of svscan; `None` if there is no such file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn setting(&mut self, file: &Path) -> Result<Option<Vec<u8>>, Unread> {
        self.mounts.probe(file).map_err(Unread::System)?;
        match read_file(file, setting::LONGEST) {
            Ok(text) => Ok(Some(text)),
            Err(unread) if unread.is_missing() => Ok(None),
            Err(unread) => Err(unread),
        }
    }

    /// Whether the scan directory has this file, which turns something on.
    ///
    /// # Errors
    /// ETIMEDOUT, EMFILE, EIO …: that cannot be told now.
    pub fn is_set(&mut self, file: &Path) -> nix::Result<bool> {
        self.mounts.probe(file)?;
        is_there(file)
    }

    /// Whether a file is there, can be executed, and lies where it can be touched.
    pub fn is_program(&mut self, file: &Path) -> bool {
        self.mounts.probe(file).is_ok() && access(file, AccessFlags::X_OK).is_ok()
    }

    /// Finds out through its supervises where a service lies that has no entry any more, and holds the directory.
    pub fn hold(&mut self, table: &Table, id: Id) {
        let parts = [Part::Service, Part::Logger].into_iter();
        let supervises = parts.filter_map(|part| Some((part, table.pid(SuperviseId { id, part })?)));
        self.removed.hold(id, supervises, &mut self.mounts);
    }

    /// Looks again for the directories that were not found.
    pub fn hold_others(&mut self, table: &Table) {
        self.removed.sought().into_iter().for_each(|id| self.hold(table, id));
    }

    /// The service has an entry again, or is forgotten.
    pub fn let_go(&mut self, id: Id) {
        self.removed.let_go(id);
    }
}

/// Whether `name` still leads to the service, and may be entered. The caller has made sure that it can be touched.
///
/// # Errors
/// It does not (ENOENT), or may not be entered.
pub fn still_there(name: &OsStr, id: Id) -> nix::Result<()> {
    match identity::of(Path::new(name)) {
        Ok(found) if found == id => access(name, AccessFlags::X_OK),
        Ok(_) | Err(Errno::ENOTDIR) => Err(Errno::ENOENT),
        Err(errno) => Err(errno),
    }
}

/// Whether a service runs already, be it without a supervise.
fn is_running(folder: &Path, page: Option<Record>) -> Result<bool, (&'static str, Errno)> {
    if has_supervise_at(folder).map_err(|errno| (OK, errno))? {
        return Ok(true);
    }
    let record = match page.map_or_else(|| Record::read(&Place::of(folder)?), Ok) {
        Ok(record) => record,
        Err(Unread::System(errno)) if is_passing(errno) => return Err((STATE, errno)),
        Err(_) => return Ok(false),
    };
    for process in processes(&record) {
        match process.identity() {
            Ok(Identity::Same) => return Ok(true),
            Err(errno) if is_passing(errno) => return Err((STATE, errno)),
            Ok(Identity::Gone | Identity::Unknown) | Err(_) => {}
        }
    }
    Ok(false)
}

/// Whether there is a file.
///
/// # Errors
/// EIO, ENOMEM …: that cannot be told now.
fn is_there(file: &Path) -> nix::Result<bool> {
    match access(file, AccessFlags::F_OK) {
        Err(errno) if is_passing(errno) => Err(errno),
        answer => Ok(answer.is_ok()),
    }
}

fn record(folder: &Path) -> Option<Record> {
    Record::read(&Place::of(folder).ok()?).ok()
}

fn after(folder: &Path) -> Result<After, Unread> {
    match read_file(&folder.join(AFTER), LONGEST_LIST) {
        Err(unread) if unread.is_missing() => Ok(After::default()),
        read => read.map(|text| names_of(&text)),
    }
}

fn names_of(text: &[u8]) -> After {
    let names = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
    let mut known = HashSet::new();
    let mut names = names.filter(|name| known.insert(*name));
    let counted = names.by_ref().take(MOST_NAMES).map(|name| OsStr::from_bytes(name).to_os_string()).collect();
    After { names: counted, surplus: names.count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_counts_once_and_too_many_do_not() {
        let After { names, surplus } = names_of(b" b \n\na\nb\n\ta");
        assert_eq!((names, surplus), (vec!["b".into(), "a".into()], 0));
        let text: String = (0..MOST_NAMES + 7).map(|number| format!("{number}\n{number}\n")).collect();
        let After { names, surplus } = names_of(text.as_bytes());
        assert_eq!((names.len(), surplus), (MOST_NAMES, 7));
        assert_eq!(names.last(), Some(&OsString::from((MOST_NAMES - 1).to_string())));
    }
}
