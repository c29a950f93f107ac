//! A log directory and its files, opened so that a rotation at the same time cannot hide a file.
//!
//! The directory may belong to an account without other rights, while svlog runs as root. So svlog reads only regular
//! files, follows no link, and reads no file of another account to which the owner of the directory may have given a name
//! there. If something else has the name of a log file, svlog says so once and takes the file as
//! missing.

use crate::log_file::{Id, LogFile, Place};
use daemontools::files::{Unread, is_only_ours, may_be_anothers, open_existing_at, open_existing_in_ours};
use daemontools::logdir::{Compression, Finished, in_order};
use daemontools::tai64::Tai64N;
use daemontools::{Attempt, Unable, report};
use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::libc::{dev_t, ino_t};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, stat};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How often svlog looks at a directory again because a file was renamed in between. A program that renames files
/// without end is not multilog.
const LOOKS: usize = 1000;
/// How many names of log files that are not read svlog warns of.
const NAMED_AT_MOST: usize = 8;

/// The files of a directory at one moment, each once, from the oldest to the newest.
pub struct Look {
    pub finished: Vec<Finished>,
    /// The full file that has no name of its own yet: `previous`, or the result of a processor.
    pub full: Option<LogFile>,
    pub current: Option<LogFile>,
}

/// A log directory.
#[derive(Debug)]
pub struct Folder {
    path: OsString,
    folder: OwnedFd,
    /// Its device and inode. No other directory gets them while it is open.
    id: Option<(dev_t, ino_t)>,
    /// Whether only we and root can put files there.
    is_ours: bool,
    /// Names of log files that belong to something other than a regular file, or to a file of another account.
    foreign: RefCell<BTreeSet<Vec<u8>>>,
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

/// The device and inode of a directory; none if svlog may not look at it.
fn id(file: nix::Result<FileStat>) -> Option<(dev_t, ino_t)> {
    file.map(|file| (file.st_dev, file.st_ino)).ok()
}

/// The words for what is wrong with a compressed file.
fn why(error: &io::Error) -> &'static [u8] {
    match error.kind() {
        io::ErrorKind::FileTooLarge => b"unpacks to more than 64 MB and a thousand times its length",
        // These are the words of libzstd, whose errors have no kinds.
        _ if error.to_string().contains("too much memory") => b"needs more than 8 MB of memory to be unpacked",
        _ => b"is cut short or damaged",
    }
}

impl Folder {
    /// Opens the directory, which may be renamed later.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(path: &OsStr) -> Result<Folder, Unable> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = open(path, flags, Mode::empty()).unable_to("open directory", path)?;
        Ok(Folder::new(path, folder))
    }

    /// Takes a directory that was opened under this path.
    pub fn new(path: &OsStr, folder: OwnedFd) -> Folder {
        let stat = fstat(&folder);
        let is_ours = stat.is_ok_and(|stat| is_only_ours(&stat));
        Folder { path: path.to_os_string(), id: id(stat), is_ours, folder, foreign: RefCell::default() }
    }

    /// Whether something other than a regular file, or a file of another account, has the name of a log file. multilog has not put it there, and svlog
    /// cannot know what happens to this log.
    pub fn is_foreign(&self) -> bool {
        !self.foreign.borrow().is_empty()
    }

    /// The path under which the directory was opened.
    pub fn path(&self) -> &OsStr {
        &self.path
    }

    /// Whether the path of the directory leads to another directory now, or nowhere.
    pub fn is_elsewhere(&self) -> bool {
        id(stat(&*self.path)) != self.id
    }

    /// Whether the two are one directory. Each of many logs is compared with each, so this asks the system nothing.
    pub fn is_same_as(&self, other: &Folder) -> bool {
        self.id.is_some() && self.id == other.id
    }

    /// The path of a file in the directory, for messages.
    pub fn path_of(&self, name: &[u8]) -> OsString {
        OsStr::from_bytes(&[self.path.as_bytes(), b"/", name].concat()).to_os_string()
    }

    /// All files of the directory. svlog opens the newer file before the older one and reads the names last, so that it
    /// sees a file that is rotated at the same time under both names, never under none. Then it looks again.
    ///
    /// # Errors
    /// The directory or one of the newest files cannot be read.
    pub fn look(&self) -> Result<Look, Unable> {
        self.look_with(self.current()?)
    }

    /// The file `current`, if there is one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn current(&self) -> Result<Option<LogFile>, Unable> {
        self.file(Place::Current.name(), Place::Current)
    }

    /// All files of the directory, as [`Folder::look`], of which `current` was opened before.
    ///
    /// # Errors
    /// The directory or one of the newest files cannot be read.
    pub fn look_with(&self, mut current: Option<LogFile>) -> Result<Look, Unable> {
        let mut tries = 0..LOOKS;
        loop {
            let full = self.full()?;
            let mut entries = Dir::openat(self, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
                .unable_to("read directory", &self.path)?;
            let names = entries.iter().flatten();
            let finished = in_order(names.filter_map(|entry| Finished::parse(entry.file_name().to_bytes())).collect());
            let is_still = |file: &LogFile| self.id_of(file.place.name()) == Some(file.id);
            if current.iter().chain(&full).all(is_still) || tries.next().is_none() {
                // The multilog of daemontools 0.76 gives a file its new name before it removes the old name.
                let newest = finished.last().and_then(|finished| self.id_of(&finished.name));
                return Ok(Look { finished, full: full.filter(|full| Some(full.id) != newest), current });
            }
            current = self.current()?;
        }
    }

    /// The result of a processor is a log file, and replaces `previous`, once multilog has found it complete and has
    /// set its mode. In the next instant `previous` is gone, and the result has no name yet.
    fn full(&self) -> Result<Option<LogFile>, Unable> {
        if let Some(previous) = self.file(Place::Previous.name(), Place::Previous)? {
            return Ok(Some(previous));
        }
        let processed = self.file(Place::Processed.name(), Place::Processed)?;
        Ok(processed.filter(LogFile::is_complete))
    }

    /// Opens a finished file; none if it is gone. If it was compressed in between, opens the compressed file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn finished_file(&self, finished: &Finished) -> Result<Option<LogFile>, Unable> {
        for suffix in [""].into_iter().chain(Compression::ALL.map(Compression::suffix)) {
            let name = [&finished.name, suffix.as_bytes()].concat();
            if let Some(file) = self.file(&name, Place::Finished(finished.clone()))? {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// The name of the last file that was finished before `since`.
    pub fn last_before(&self, finished: &[Finished], since: Option<Tai64N>) -> Option<LogFile> {
        let last = finished.iter().rev().find(|file| since.is_some_and(|since| file.label < since));
        self.finished_file(last?).unwrap_or(None)
    }

    fn file(&self, name: &[u8], place: Place) -> Result<Option<LogFile>, Unable> {
        let path = Path::new(OsStr::from_bytes(name));
        let opened = match self.is_ours {
            true => open_existing_in_ours(&self.folder, path),
            false => open_existing_at(&self.folder, path, OFlag::O_RDONLY),
        };
        match opened {
            Ok((_, stat)) if self.is_anothers(&stat).unable_to("stat", &self.path)? => {
                self.complain_of(name, b" has a second name, and another owner than its directory: it is not read");
                Ok(None)
            }
            Ok((file, stat)) => LogFile::new(file.into(), &stat, place)
                .map(Some)
                .map_err(|error| Unable::new("read", self.path_of(name), report::errno_of(&error))),
            Err(unread) if unread.is_missing() => Ok(None),
            Err(Unread::System(errno)) => Err(Unable::new("open", self.path_of(name), errno)),
            Err(Unread::WrongKind | Unread::TooLong) => {
                self.complain_of(name, b" is not a regular file: it is not read");
                Ok(None)
            }
        }
    }

    /// Whether the account that owns the directory may have given another account's file the name of a log file.
    fn is_anothers(&self, file: &FileStat) -> nix::Result<bool> {
        Ok(may_be_anothers(&self.folder, file)? && fstat(&self.folder)?.st_uid != file.st_uid)
    }

    /// Says why a file could not be read to its end.
    pub fn complain_of_reading(&self, file: &LogFile, error: &io::Error) {
        let path = self.path_of(file.place.name());
        match error.raw_os_error() {
            Some(_) => Unable::new("read", path, report::errno_of(error)).warn(),
            None => report::warning(&[path.as_bytes(), b" ", why(error), b": the rest is not shown"]),
        }
    }

    /// Warns of a file once, and of a limited number of files.
    fn complain_of(&self, name: &[u8], words: &[u8]) {
        let mut foreign = self.foreign.borrow_mut();
        if foreign.len() > NAMED_AT_MOST || !foreign.insert(name.to_vec()) {
            return;
        }
        match foreign.len() {
            ..=NAMED_AT_MOST => {
                report::warning(&[self.path_of(name).as_bytes(), words]);
            }
            _ => report::warning(&[self.path.as_bytes(), b" has more that are not read"]),
        }
    }

    /// The identity of the file that has a name at this moment.
    pub fn id_of(&self, name: &[u8]) -> Option<Id> {
        let stat = fstatat(&self.folder, OsStr::from_bytes(name), AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_dev, stat.st_ino))
    }
}
