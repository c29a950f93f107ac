//! A log directory: its files, their names and modes.

mod old;
mod processor;
mod writing;

use crate::hold::{Hold, Stop, may_pass};
use crate::journal::{self, File, Journal};
use crate::recovery::{self, Found, Step};
use crate::router::{Line, is_full};
use crate::schedule::Turn;
use crate::script::Zone;
use crate::settings::{Directory, Durability};
use daemontools::sys::{self, localtime};
use daemontools::tai64::{Moment, Tai64N};
use daemontools::{Attempt, Fatal, Unable, report};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, fstatat};
use nix::unistd::{Pid, UnlinkatFlags, fsync, ftruncate, mkdir, unlinkat};
use old::Compressor;
pub use old::put_aside;
use processor::Processing;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use writing::Space;

const COMPLETE: Mode = Mode::from_bits_truncate(0o744);
const INCOMPLETE: Mode = Mode::from_bits_truncate(0o644);

/// An open log directory.
pub struct LogDirectory {
    settings: Directory,
    folder: OwnedFd,
    /// Which directory it is, in the journal's notes.
    id: u64,
    _lock: OwnedFd,
    current: OwnedFd,
    /// `current` is full at so many bytes.
    pub limit: u64,
    /// Bytes in `current`.
    pub size: u64,
    inode: u64,
    /// Rotation by time.
    turn: Option<Turn>,
    /// Bytes of `current` that are on the disk; when the others are to be there.
    synced: u64,
    sync_at: Option<Duration>,
    space: Space,
    processing: Option<Processing>,
    compressor: Compressor,
    /// The largest label of an old file, once somebody has looked.
    newest: Option<Tai64N>,
    /// When an old file is too old, as time since 1970.
    expiry: Option<Duration>,
}

impl LogDirectory {
    /// Opens the directory, made if need be, and locks it against other multilogs.
    ///
    /// # Errors
    /// The directory cannot be opened or is another's.
    pub fn lock(path: &OsStr, hold: &mut Hold) -> Result<(OwnedFd, OwnedFd), Fatal> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = hold.begin("open directory", path, || {
            // Whoever made it before decided on its mode.
            let made = mkdir(path, Mode::from_bits_truncate(0o700));
            match open(path, flags, Mode::empty()) {
                // It is missing only because it cannot be made now.
                Err(Errno::ENOENT) => Err(made.err().filter(|errno| may_pass(*errno)).unwrap_or(Errno::ENOENT)),
                opened => opened,
            }
        })?;
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_CLOEXEC;
        let lock =
            hold.begin("lock directory", path, || openat(&folder, "lock", flags, Mode::from_bits_truncate(0o600)))?;
        let lock = sys::lock::lock(lock).unable_to("lock directory", path)?;
        Ok((folder, lock))
    }

    /// Puts in order what an earlier multilog left; `notes` is what journals, the newest last, say of directories'
    /// files.
    ///
    /// # Errors
    /// Files that cannot be dealt with.
    pub fn restart(
        settings: Directory,
        (folder, lock): (OwnedFd, OwnedFd),
        notes: &[File],
        hold: &mut Hold,
    ) -> Result<LogDirectory, Fatal> {
        let id = journal::id(&folder).unable_to("stat", &settings.path)?;
        let at = |name: &str| [settings.path.as_bytes(), b"/", name.as_bytes()].concat();
        let look = |name: &str| match fstatat(&folder, name, AtFlags::empty()) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Unable::new("stat", OsStr::from_bytes(&at(name)), errno)),
        };
        let (current, previous, processed) = (look("current")?, look("previous")?, look("processed")?);
        let is_still = |noted: &File| current.is_some_and(|now| noted.is_still(now.st_ino, now.st_size as u64));
        let noted = notes.iter().copied().filter(|noted| noted.folder == id).max_by_key(is_still);
        // The file of the note, or, if it was replaced since, one that nothing was written to yet.
        let vouched = noted.is_some_and(|noted| {
            current
                .is_none_or(|now| now.st_size == 0 || (now.st_ino == noted.inode && now.st_size as u64 >= noted.size))
        });
        let found = |stat: Option<FileStat>| match stat {
            None => Found::Missing,
            Some(stat) if stat.st_mode & 0o100 != 0 => Found::Complete,
            Some(_) => Found::Incomplete,
        };
        let files = recovery::Directory {
            current: found(current),
            previous: found(previous),
            processed: found(processed),
            vouched,
        };
        let mut directory = LogDirectory {
            current: hold.begin("open directory", &settings.path, || {
                folder.try_clone().map_err(|error| report::errno_of(&error))
            })?,
            limit: settings.full_at(),
            space: Space::new(&settings),
            settings,
            folder,
            id,
            _lock: lock,
            size: 0,
            inode: 0,
            turn: None,
            synced: 0,
            sync_at: None,
            processing: None,
            compressor: Compressor::Idle,
            newest: None,
            expiry: None,
        };
        for step in recovery::plan(files) {
            directory.recover(step, hold)?;
        }
        // In the original's words: nothing but the administrator helps against most of what can be wrong here.
        let verb = if files.current == Found::Complete { "append to" } else { "write to" };
        let object = directory.path_of("current");
        let current = hold.begin(verb, &object, || directory.open_current())?;
        directory.take_current(current, hold).map_err(|Stop| Fatal::silent(0))?;
        if let Some(noted) = noted.filter(|noted| noted.is_still(directory.inode, directory.size)) {
            directory.cut_to(noted.size, hold)?;
        }
        directory.tend_old_files(hold).map_err(|Stop| Fatal::silent(0))?;
        Ok(directory)
    }

    fn recover(&mut self, step: Step, hold: &mut Hold) -> Result<(), Fatal> {
        let done = match step {
            Step::Remove(name) => {
                let _ = unlinkat(&self.folder, name, UnlinkatFlags::NoRemoveDir);
                Ok(())
            }
            Step::FinishSafe(name) => self.finish(name, &self.settings.code.clone(), hold),
            Step::FinishUnsafe(name) => self.finish(name, b"u", hold),
            Step::EmptyState => {
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
                hold.begin("write to", &self.path_of("state"), || openat(&self.folder, "state", flags, INCOMPLETE))?;
                Ok(())
            }
            Step::Process => self.process(hold),
        };
        done.map_err(|Stop| Fatal::silent(0))
    }

    /// What lies beyond the noted size was being written when our predecessor was killed.
    fn cut_to(&mut self, size: u64, hold: &mut Hold) -> Result<(), Fatal> {
        if self.size > size {
            hold.begin("write to", &self.path_of("current"), || ftruncate(&self.current, size as i64))?;
            self.size = size;
        }
        Ok(())
    }

    fn path_of(&self, name: &str) -> OsString {
        let path = [self.settings.path.as_bytes(), b"/", name.as_bytes()].concat();
        OsStr::from_bytes(&path).to_os_string()
    }

    fn append(&mut self, hold: &mut Hold) -> Result<(), Stop> {
        let object = [self.settings.path.as_bytes(), b"/current"];
        let current = hold.insist("create", &object, || self.open_current())?;
        self.take_current(current, hold)
    }

    fn open_current(&self) -> nix::Result<(OwnedFd, FileStat)> {
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_CLOEXEC;
        let open = || openat(&self.folder, "current", flags, INCOMPLETE);
        let current = self.space.making_room(&self.folder, open)?;
        fchmod(&current, INCOMPLETE)?;
        let stat = fstat(&current)?;
        Ok((current, stat))
    }

    fn take_current(&mut self, (current, stat): (OwnedFd, FileStat), hold: &mut Hold) -> Result<(), Stop> {
        let (path, folder) = (self.settings.path.as_bytes(), &self.folder);
        (self.current, self.inode, self.size) = (current, stat.st_ino, stat.st_size as u64);
        (self.synced, self.sync_at) = (self.size, None);
        if self.settings.durability != Durability::Rotation {
            // What is there already may have been written by one that was killed before it could ask for it.
            let sync = || fsync(&self.current).and_then(|()| sys::directory::sync(folder));
            hold.insist("write", &[path, b"/current to disk"], sync)?;
        }
        // Of lines that are there already the last one counts: none is from a later turn.
        self.begin_turn(stat.st_mtime);
        Ok(())
    }

    /// Where the current file stands; so many bytes more are about to be written.
    pub fn file(&self, underway: usize) -> File {
        File { folder: self.id, inode: self.inode, size: self.size, underway: (underway + self.account_size()) as u64 }
    }

    /// Whether the current file is to be replaced, given where in a line it ends.
    pub fn is_full(&self, line: Line) -> bool {
        is_full(self.size, self.limit, line)
    }

    /// Replaces the current file by an empty one, and begins to deal with the full one.
    ///
    /// # Errors
    /// [`Stop`]: the next multilog goes on.
    pub fn rotate(&mut self, hold: &mut Hold) -> Result<(), Stop> {
        self.close(hold)?;
        let (path, folder) = (self.settings.path.as_bytes(), &self.folder);
        hold.insist("rename current to previous in directory", &[path], || {
            renameat(folder, "current", folder, "previous")
        })?;
        self.append(hold)?;
        self.process(hold)
    }

    /// Marks the current file as complete, for whoever goes on.
    ///
    /// # Errors
    /// [`Stop`]: it is not.
    pub fn end(&mut self, hold: &mut Hold) -> Result<(), Stop> {
        self.tell_or_give_up(hold)?;
        self.close(hold)
    }

    /// Marks the current file as complete, on the disk too.
    ///
    /// # Errors
    /// [`Stop`]: it is not.
    fn close(&mut self, hold: &mut Hold) -> Result<(), Stop> {
        let (path, current, folder) = (self.settings.path.as_bytes(), &self.current, &self.folder);
        let sync = || self.space.making_room(folder, || fsync(current));
        hold.insist("write", &[path, b"/current to disk"], sync)?;
        hold.insist("set mode of", &[path, b"/current"], || fchmod(current, COMPLETE))
    }

    /// Takes in that a child has ended.
    ///
    /// # Errors
    /// [`Stop`]: the next multilog goes on.
    pub fn child_ended(&mut self, pid: Pid, status: i32, hold: &mut Hold) -> Result<(), Stop> {
        self.compressor_ended(pid, hold)?;
        self.processor_ended(pid, status, hold)
    }

    /// When something is to be done though nothing happens.
    pub fn deadline(&self) -> Option<Duration> {
        [self.retry_at(), self.sync_at, self.tell_at()].into_iter().flatten().min()
    }

    /// The same by the wall clock, as time since 1970.
    pub fn wall_deadline(&self, line: Line) -> Option<Duration> {
        let turn = self.turn.filter(|_| self.size > 0 && !self.is_processing() && line == Line::Fresh);
        let end = turn.map(|turn| Duration::from_secs(u64::try_from(turn.end).unwrap_or(0)));
        [end, self.expiry].into_iter().flatten().min()
    }

    /// Does what is to be done at its time.
    ///
    /// # Errors
    /// [`Stop`]: the next multilog does it.
    pub fn tend(&mut self, hold: &mut Hold) -> Result<(), Stop> {
        self.retry(hold)?;
        if self.sync_at.is_some_and(|at| at <= Moment::now().uptime) {
            self.sync(hold)?;
        }
        self.tidy_expired(hold)
    }

    fn begin_turn(&mut self, begun: i64) {
        self.turn = self.settings.schedule.map(|schedule| {
            let offset = |second| match schedule.zone {
                Zone::Utc => 0,
                Zone::Local => localtime::local(second).map_or(0, |calendar| calendar.offset),
            };
            Turn::begin(&schedule, begun, offset)
        });
    }

    /// Whether the current file is to be replaced for its age, before lines of now are written.
    pub fn turn_is_over(&mut self, now: Tai64N) -> bool {
        let now = now.0.to_unix();
        let Some(turn) = self.turn else { return false };
        if turn.is_ahead(now) || turn.is_over(now) && self.size == 0 {
            self.begin_turn(now);
            return false;
        }
        turn.is_over(now) && !self.is_processing()
    }

    /// A journal here.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn make_journal(&self) -> nix::Result<Journal> {
        journal::make(&self.folder)
    }

    /// Whether the clock on the wall matters to it.
    pub fn needs_clock(&self) -> bool {
        self.settings.schedule.is_some() || self.settings.age.is_some()
    }
}

/// The file at the path, 0600 if it has to be made, shows `content` from its beginning on.
///
/// # Errors
/// It cannot be written.
pub fn show(path: &OsStr, content: &[u8]) -> nix::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CREAT | OFlag::O_CLOEXEC;
    let file = open(path, flags, Mode::from_bits_truncate(0o600))?;
    sys::write_all(&file, content)
}
