//! Looking at the scan directory's entries and at service directories. All that svscan reads there, it reads through this.
//!
//! A directory may lie on a mount whose server is gone, and a process that touches it waits for ever. So each look is a value
//! (see [`look`](crate::look)): svscan looks itself at what lies on the scan directory's mount, and lets a helper process look
//! at everything else (see [`RemoteMounts`]). `look/contents.rs` is about what a service directory has in it
//! before its supervise is started, `look/written.rs` about what the supervise has written there. Both read files by the
//! bounded reader.

use crate::identity;
pub use crate::look::contents::{Completeness, ESSENTIAL, ExaminedService, Logger};
use crate::look::entry::EntryKind;
use crate::look::files::{FoundFiles, Stamp};
use crate::look::signs::Signs;
pub use crate::look::written::Written;
use crate::look::{
    self, CommandItself, Examine, FILES, FindCompleteness, FindDescriptor, FindFiles, FindLogger, FindPlaces,
    FindWorkingDirectory, IsExecutable, IsNewFile, IsSupervised, IsThere, IsUnlocked, MaySpeak, ReadAfter, ReadRecord,
    ReadSetting, ReadSigns, ReadStamp, ReadTrustedRecord, ReadWritten, ResolveEntry, SendCommands, StillThere, Watch,
    WatchedPlace, WriteEnd,
};
use crate::pockets::Speech;
use crate::procfs::{Locks, process_path};
use crate::removed::RemovedDirectories;
use crate::table::{Id, Part, SuperviseId, Table, label};
use daemontools::Unable;
use daemontools::service::policy::ABSTRACT;
use daemontools::service::{
    AFTER, Commands, LOG, LOG_RUN, LOG_SUPERVISE, Look, OrphanEnd, Place, RUN, Record, RemoteMounts, SPEAKS, SUPERVISE,
    Unread, setting,
};
use daemontools::sys::is_passing;
use daemontools::sys::process::duplicate_above;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, Inotify};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// What is wrong with a link to nothing, and what to do.
fn dead_link(target: &Path) -> Vec<u8> {
    let target = target.as_os_str().as_bytes();
    [b"it is a link to ", target, b", which does not exist: make that, or remove the link"].concat()
}

/// All that looks at service directories.
#[derive(Debug)]
pub struct Probe {
    mounts: RemoteMounts,
    removed: RemovedDirectories,
    locks: Locks,
    /// Whether the numbers of files are kept on the mount of the scan directory.
    are_numbers_kept: bool,
}

impl Default for Probe {
    fn default() -> Probe {
        Probe {
            mounts: RemoteMounts::new(look::answer),
            removed: RemovedDirectories::default(),
            locks: Locks::default(),
            are_numbers_kept: false,
        }
    }
}

impl Probe {
    /// Looks for mounts that are new or gone; returns whether there may be any.
    pub fn refresh(&mut self) -> bool {
        self.are_numbers_kept = identity::are_numbers_kept_here();
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

    /// Lets [`Probe::watch`] watch directories anywhere through this inotify, which the helper gets too.
    pub fn watch_through(&mut self, inotify: Option<&Inotify>) {
        self.mounts.keep(inotify.and_then(|inotify| duplicate_above(inotify, 3).ok()));
    }

    /// Watches a directory, and returns the number of the watch.
    ///
    /// # Errors
    /// ETIMEDOUT: a process that does that waits. Others: as for inotify_add_watch(2).
    pub fn watch(&mut self, place: WatchedPlace, changes: AddWatchFlags) -> nix::Result<i32> {
        let inotify = self.mounts.kept().ok_or(Errno::EBADF)?.as_raw_fd();
        let paths: Vec<PathBuf> = match &place {
            WatchedPlace::Itself(path) => vec![path.clone()],
            WatchedPlace::SuperviseOf(folder) => Probe::supervise_paths(folder).collect(),
        };
        self.mounts.look(paths, &Watch { inotify, place, changes: changes.bits() })?
    }

    /// The paths to a service directory and to its `supervise/`.
    fn supervise_paths(folder: &Path) -> impl Iterator<Item = PathBuf> {
        [folder.to_path_buf(), folder.join(SUPERVISE)].into_iter().chain(Place::moved())
    }

    /// What tells which supervise is in charge of a directory; `None` if `supervise/ok` has no reader.
    ///
    /// # Errors
    /// That cannot be told now, or a process that looks waits (ETIMEDOUT).
    pub fn signs(&mut self, folder: &Path) -> nix::Result<Option<Signs>> {
        self.mounts.look(Probe::supervise_paths(folder), &ReadSigns { folder: folder.into() })?
    }

    /// Whether it is proven that no process holds the lock that every supervise in charge holds.
    ///
    /// # Errors
    /// As for [`signs`](Probe::signs).
    pub fn is_unlocked(&mut self, folder: &Path) -> nix::Result<bool> {
        self.mounts.look(Probe::supervise_paths(folder), &IsUnlocked { folder: folder.into() })?
    }

    /// Whether a supervise is in charge and has written its status.
    ///
    /// # Errors
    /// As for [`signs`](Probe::signs).
    pub fn is_supervised(&mut self, folder: &Path) -> nix::Result<bool> {
        self.mounts.look(Probe::supervise_paths(folder), &IsSupervised { folder: folder.into() })?
    }

    /// The directory in which a process works.
    ///
    /// # Errors
    /// As for [`signs`](Probe::signs).
    pub fn working_directory(&mut self, pid: Pid) -> nix::Result<Id> {
        self.mounts.look([process_path(pid, "cwd")], &FindWorkingDirectory { pid: pid.as_raw() })?
    }

    /// What a directory is, and its path: without any link, and with a link only in the last part.
    ///
    /// # Errors
    /// As for [`signs`](Probe::signs).
    pub fn places(&mut self, folder: &Path) -> nix::Result<(Id, (PathBuf, PathBuf))> {
        self.mounts.look([folder.to_path_buf()], &FindPlaces { folder: folder.into() })?
    }

    /// What tells whether the `supervise/` of a service is as it was.
    ///
    /// # Errors
    /// As for [`signs`](Probe::signs).
    pub fn stamp(&mut self, folder: &Path) -> nix::Result<Stamp> {
        self.mounts.look(Probe::supervise_paths(folder), &ReadStamp { folder: folder.into() })?
    }

    /// Which files of the supervise in charge are there.
    ///
    /// # Errors
    /// ETIMEDOUT: a process that looks waits.
    pub fn supervise_files(&mut self, folder: &Path) -> nix::Result<FoundFiles> {
        self.mounts.look(Probe::supervise_paths(folder), &FindFiles { folder: folder.into() })
    }

    /// Writes commands into the FIFO of the supervise in charge.
    ///
    /// # Errors
    /// As for [`send_commands`](daemontools::service::send_commands). ETIMEDOUT: a process that does that waits.
    pub fn send_commands(&mut self, folder: &Path, commands: Commands) -> nix::Result<()> {
        self.mounts.look(Probe::supervise_paths(folder), &SendCommands { folder: folder.into(), commands })?
    }

    /// Writes commands into the FIFO that a supervise of version 0.1.0 has open itself, wherever that lies.
    ///
    /// # Errors
    /// It has none, or a process that does that waits (ETIMEDOUT).
    pub fn command_itself(&mut self, pid: Pid, commands: Commands) -> nix::Result<()> {
        let look = CommandItself { pid: pid.as_raw(), commands };
        self.mounts.look([process_path(pid, "fd")], &look)?
    }

    /// Writes down how a process ended, for the next supervise of its service.
    ///
    /// # Errors
    /// The system refuses to write that, or a process that does it waits (ETIMEDOUT).
    pub fn write_end(&mut self, folder: &Path, end: OrphanEnd) -> nix::Result<()> {
        self.mounts.look(Probe::supervise_paths(folder), &WriteEnd { folder: folder.into(), end })?
    }

    /// The file that a descriptor of a process leads to, and whether that is a FIFO.
    ///
    /// # Errors
    /// There is none, or a process that looks waits (ETIMEDOUT).
    pub fn descriptor(&mut self, path: &Path) -> nix::Result<(Id, bool)> {
        self.mounts.look([path.to_path_buf()], &FindDescriptor { path: path.into() })?
    }

    /// Whether a path leads to a place on the mount of the scan directory, so that a process can be started there at once.
    pub fn is_here(&self, path: &Path) -> bool {
        self.mounts.is_here(path)
    }

    /// What the last supervise in a directory has written, if no other account could have written it.
    ///
    /// # Errors
    /// EMFILE, EIO …: there may be a record, but it cannot be read now.
    pub fn trusted_record_in(&mut self, folder: &Path) -> nix::Result<Option<Record>> {
        match self.look_in(folder, &ReadTrustedRecord { folder: folder.into() })? {
            Ok(record) => Ok(record),
            Err(Unread::System(errno)) if is_passing(errno) => Err(errno),
            Err(_) => Ok(None),
        }
    }

    /// Takes in that svscan looks at nothing for a while: the helper may end.
    pub fn rest(&mut self) {
        self.mounts.rest();
    }

    /// The processes that hold a lock on a file with this inode, as far as the kernel tells in time.
    pub fn lock_holders(&mut self, inode: u64) -> Vec<Pid> {
        self.locks.holders(inode).unwrap_or_default()
    }

    /// Where an entry of the scan directory leads.
    pub fn resolve_entry(&mut self, name: &OsStr) -> Entry {
        let unable = |errno| Unable::new("stat", name, errno);
        let path = PathBuf::from(name);
        let are_numbers_kept = self.are_numbers_kept;
        match self.mounts.look([path.clone()], &ResolveEntry { name: path, are_numbers_kept }) {
            Ok(EntryKind::Directory(id)) => Entry::Directory(id),
            Ok(EntryKind::File) => Entry::File,
            Ok(EntryKind::Gone) => Entry::Gone,
            Ok(EntryKind::Dangling(errno)) => {
                // The link itself lies in the scan directory.
                let target = std::fs::read_link(name).ok().filter(|_| errno == Errno::ENOENT);
                Entry::Dangling(match target {
                    Some(target) => unable(errno).because_of(&dead_link(&target)),
                    None => unable(errno),
                })
            }
            Ok(EntryKind::Unknown(errno)) | Err(errno) => Entry::Unknown(unable(errno)),
        }
    }

    /// What there is to supervise in the directory of this name; `page` is what its last supervise has written in svscan's
    /// memory. svscan asks this once for each service. So an error that passes, as of svscan having no descriptors left, is
    /// not taken for an answer.
    ///
    /// # Errors
    /// The directory cannot be touched (ETIMEDOUT), or this file in it cannot be looked at now.
    pub fn examine_service(
        &mut self,
        name: &OsStr,
        page: Option<Record>,
    ) -> Result<ExaminedService, (&'static str, Errno)> {
        let folder = PathBuf::from(name);
        let found = self.look_in(Path::new(name), &Examine { folder, page }).map_err(|errno| (LOG, errno))?;
        let file = |index: u8| FILES.get(usize::from(index)).copied().unwrap_or(LOG);
        found.map_err(|(index, errno)| (file(index), errno))
    }

    /// What `log` in this service directory is.
    ///
    /// # Errors
    /// The directory cannot be touched (ETIMEDOUT), or `log` cannot be looked at.
    pub fn logger(&mut self, folder: &Path) -> nix::Result<Logger> {
        // svscan asks this of a hundred services in each scan.
        self.mounts.look([folder.join(LOG)], &FindLogger { folder: folder.into() })?
    }

    /// Whether a service directory has all that it needs, or is supervised already. A directory that cannot be
    /// touched does not count as complete.
    pub fn completeness(&mut self, folder: &Path) -> Completeness {
        let unknown = Completeness { is_complete: false, has_logger: false };
        self.look_in(folder, &FindCompleteness { folder: folder.into() }).unwrap_or(unknown)
    }

    /// Whether a file that was just created in a service directory is a file that is being written, not a link to
    /// another file.
    pub fn is_new_file(&mut self, path: &Path) -> bool {
        self.mounts.look([path.to_path_buf()], &IsNewFile { path: path.into() }) == Ok(true)
    }

    /// Whether `place` leads to the service, and may be entered.
    ///
    /// # Errors
    /// It does not (ENOENT), may not be entered, or cannot be touched (ETIMEDOUT).
    pub fn leads_to(&mut self, place: &OsStr, id: Id) -> nix::Result<()> {
        self.look_in(Path::new(place), &StillThere { place: place.into(), id })?
    }

    /// Makes sure that a service directory can be touched, and what svscan looks at in it.
    ///
    /// # Errors
    /// ETIMEDOUT: a process that touches it waits.
    pub fn reach(&mut self, folder: &Path) -> nix::Result<()> {
        self.mounts.probe_with(folder, &LOOKED_AT, &[])
    }

    /// Looks at a service directory, where the look touches nothing but [`names`].
    ///
    /// # Errors
    /// ETIMEDOUT: a process that looks waits.
    fn look_in<L: Look>(&mut self, folder: &Path, look: &L) -> nix::Result<L::Answer> {
        self.mounts.look_in(folder, names(), look)
    }

    /// Where the service, or its logger, lies; `None` if that cannot be touched.
    pub fn folder(&mut self, table: &Table, which: SuperviseId) -> Option<PathBuf> {
        let folder = self.path(table, which)?;
        self.reach(&folder).ok().map(|()| folder)
    }

    /// Where the service, or its logger, lies, whether or not that can be touched.
    pub fn path(&self, table: &Table, which: SuperviseId) -> Option<PathBuf> {
        Some(PathBuf::from(label(which.part, &self.place(table, which)?)))
    }

    /// Where the service, or its logger, lies, if that is certain to be the directory of this service, and not of
    /// another service that has its name now.
    pub fn own_folder(&mut self, table: &Table, which: SuperviseId) -> Option<PathBuf> {
        let place = self.place(table, which)?;
        self.leads_to(&place, which.id).ok()?;
        self.folder(table, which)
    }

    /// The directory of a service: its entry, and where that is gone, for its logger, the directory that is held.
    pub fn place(&self, table: &Table, which: SuperviseId) -> Option<OsString> {
        let is_left = which.part == Part::Logger && !table.is_present(which.id);
        let held = self.removed.path(which.id).filter(|_| is_left).map(PathBuf::into_os_string);
        held.or_else(|| table.name(which.id).map(OsStr::to_os_string))
    }

    /// What the last supervise of a part has written into `supervise/state`, where others may have written as well.
    pub fn record(&mut self, table: &Table, which: SuperviseId) -> Option<Record> {
        let folder = self.path(table, which)?;
        self.look_in(&folder, &ReadRecord { folder: folder.clone() }).ok().flatten()
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
        let folder = PathBuf::from(label(which.part, &place));
        self.look_in(&folder, &ReadTrustedRecord { folder: folder.clone() }).map_err(Unread::System)?
    }

    /// What the supervise of a service has written about it; `page` is what it has written in svscan's memory.
    pub fn written(&mut self, table: &Table, id: Id, page: impl Fn() -> Option<Record>) -> Option<Written> {
        let folder = self.path(table, SuperviseId { id, part: Part::Service })?;
        let has_page = page().is_some();
        let (status, record) = self.look_in(&folder, &ReadWritten { folder: folder.clone(), has_page }).ok()?;
        // The page is read after the status.
        Some(Written { folder, status, record: page().or(record) })
    }

    /// The services that each service comes after, as its directory says now, or said when it could last be read.
    pub fn order(&mut self, table: &Table) -> Vec<(Id, Vec<OsString>)> {
        let mut order = table.order();
        for (id, names) in &mut order {
            let Some(folder) = self.path(table, SuperviseId { id: *id, part: Part::Service }) else { continue };
            if let Ok(Some(now)) = self.look_in(&folder, &ReadAfter { folder: folder.clone(), id: *id }) {
                *names = now.names;
            }
        }
        order
    }

    /// How long a service may take to stop, if it is killed after that.
    pub fn time_to_stop(&mut self, folder: &Path) -> Option<Duration> {
        let text = String::from_utf8(self.setting(&folder.join(setting::TIMEOUT_KILL)).ok()??).ok()?;
        setting::timeout(setting::value(&text)).ok().flatten()
    }

    /// What a setting says, of svscan or of a service; `None` if there is no such file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn setting(&mut self, file: &Path) -> Result<Option<Vec<u8>>, Unread> {
        self.mounts.look([file.to_path_buf()], &ReadSetting { file: file.into() }).map_err(Unread::System)?
    }

    /// Whether the service in this directory may speak to its supervise. If that cannot be told, it may.
    pub fn speech(&mut self, folder: &Path) -> Speech {
        let paths = SPEAKS.into_iter().map(|setting| folder.join(setting)).chain([folder.to_path_buf()]);
        match self.mounts.look(paths, &MaySpeak { folder: folder.into() }) {
            Ok(false) => Speech::Impossible,
            Ok(true) | Err(_) => Speech::Possible,
        }
    }

    /// Whether the scan directory has this file, which turns something on.
    ///
    /// # Errors
    /// ETIMEDOUT, EMFILE, EIO …: that cannot be told now.
    pub fn is_set(&mut self, file: &Path) -> nix::Result<bool> {
        self.mounts.look([file.to_path_buf()], &IsThere { file: file.into() })?
    }

    /// Whether a file is there, can be executed, and lies where it can be touched.
    pub fn is_program(&mut self, file: &Path) -> bool {
        self.mounts.look([file.to_path_buf()], &IsExecutable { file: file.into() }) == Ok(true)
    }

    /// Finds out through its supervises where a service lies that has no entry any more, and holds the directory.
    pub fn keep_open(&mut self, table: &Table, id: Id) {
        let parts = [Part::Service, Part::Logger].into_iter();
        let supervises = parts.filter_map(|part| Some((part, table.pid(SuperviseId { id, part })?)));
        self.removed.keep_open(id, supervises, &mut self.mounts);
    }

    /// Looks again for the directories that were not found.
    pub fn keep_others_open(&mut self, table: &Table) {
        self.removed.sought().into_iter().for_each(|id| self.keep_open(table, id));
    }

    /// Closes the directory of a service that has an entry again, or is forgotten.
    pub fn close(&mut self, id: Id) {
        self.removed.close(id);
    }
}

/// What svscan looks at in a service directory. Each may lead to another mount.
const LOOKED_AT: [&str; 8] = [SUPERVISE, RUN, ABSTRACT, AFTER, ESSENTIAL, LOG, LOG_RUN, LOG_SUPERVISE];

/// The names in [`LOOKED_AT`], and the directory that `$SUPERVISEDIR` names.
fn names() -> impl Iterator<Item = PathBuf> {
    LOOKED_AT.into_iter().map(PathBuf::from).chain(Place::moved())
}
