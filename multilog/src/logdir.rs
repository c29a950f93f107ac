//! A log directory: its files, their names and modes.

mod old;
mod processor;
mod watch;
mod writing;

use crate::files;
use crate::journal::{File, Id};
use crate::recovery::{self, Found, Step};
use crate::retry::{Retry, Stop, Trouble, may_pass};
use crate::router::{Line, is_full};
use crate::schedule::Period;
use crate::settings::{Directory, Durability};
use daemontools::files::open_directory;
use daemontools::logdir::stamp::Zone;
use daemontools::logdir::{self, COMPLETE, CURRENT, INCOMPLETE, LOCK, PREVIOUS, PROCESSED, STATE, UNSAFE};
use daemontools::sys::{self, localtime};
use daemontools::tai64::{Moment, Tai64N};
use daemontools::{Attempt, Unable, report};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::poll::PollTimeout;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Pid, fsync, ftruncate};
use old::Compressor;
pub use old::rename_away;
use processor::Processing;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;
use writing::Space;

/// A log directory that is ours alone.
pub struct Locked {
    /// The directory.
    pub folder: OwnedFd,
    /// The open lock of the directory, and which file that is.
    lock: (OwnedFd, FileStat),
}

/// An open log directory.
pub struct LogDirectory {
    settings: Directory,
    folder: OwnedFd,
    /// Which directory it is, in the journal's checkpoints.
    id: Id,
    /// The open lock of the directory, and which file that is.
    lock: (OwnedFd, FileStat),
    current: OwnedFd,
    /// `current` is full at this many bytes.
    pub limit: u64,
    /// Bytes in `current`.
    pub size: u64,
    inode: u64,
    /// The size of `current` when its name last led to it; what was last said about a name that leads elsewhere.
    seen: u64,
    said: Option<&'static str>,
    /// Whether multilog has said that an old file cannot be removed.
    is_stuck: bool,
    /// A file has the same number each time.
    has_numbers: bool,
    /// Rotation by time; how often the time zone had changed when it was reckoned.
    period: Option<Period>,
    zone_changes: u64,
    /// The time of the lines that come next; none before the first.
    time: Option<Tai64N>,
    /// Bytes of `current` that are on the disk; when the others are to be there.
    synced: u64,
    sync_at: Option<Duration>,
    space: Space,
    processing: Option<Processing>,
    /// When the processor failed, if it has not worked since.
    failing_since: Option<Duration>,
    compressor: Compressor,
    /// The largest label of an old file; none before the first look at them.
    newest: Option<Tai64N>,
    /// When an old file is too old, as time since 1970.
    expiry: Option<Duration>,
}

impl Locked {
    /// Whether this is the directory.
    fn is(&self, id: Id) -> bool {
        Id::of(&self.folder) == Ok(id)
    }
}

impl LogDirectory {
    /// Opens the directory, made if need be, and locks it against other multilogs. What may pass by itself is waited
    /// for.
    /// `ours` are the directories that this multilog has locked before.
    ///
    /// # Errors
    /// The directory cannot be opened or is another's.
    pub fn lock(path: &OsStr, ours: &[Locked], retry: &mut Retry) -> Result<Locked, Trouble> {
        let opened = retry.retry_at_start("open directory", path, || open_or_make(path));
        let opened = opened.map_err(|trouble| trouble.where_missing(path))?;
        let folder = opened.unable_to("create directory", path)?;
        let lock = retry.retry_at_start("lock directory", path, || open_lock(&folder, path))?;
        let is_named_twice = Id::of(&folder).is_ok_and(|id| ours.iter().any(|other| other.is(id)));
        let time = if is_named_twice { Duration::ZERO } else { sys::lock::AT_START };
        let lock = lock_file(lock, time).unable_to("lock directory", path).map_err(|unable| match unable.errno {
            Errno::EAGAIN if is_named_twice => unable.because("it is named twice"),
            Errno::EAGAIN => unable.because("it is in use by another multilog"),
            _ => unable,
        })?;
        retry.keep_from_children(&lock.0);
        Ok(Locked { folder, lock })
    }

    /// Opens and locks the directory without waiting.
    ///
    /// # Errors
    /// The directory cannot be opened or is another's.
    fn try_to_lock(path: &OsStr) -> Result<Locked, Unable> {
        let opened = open_or_make(path).unable_to("open directory", path);
        let folder =
            opened.map_err(|unable| unable.where_missing(path.as_ref()))?.unable_to("create directory", path)?;
        let lock = open_lock(&folder, path).and_then(lock_now).unable_to("lock directory", path)?;
        Ok(Locked { folder, lock })
    }

    /// Puts in order what an earlier multilog left; `checkpoints` is what journals, the newest last, say of
    /// directories' files.
    ///
    /// # Errors
    /// Files that cannot be dealt with.
    pub fn restart(
        settings: Directory,
        Locked { folder, lock }: Locked,
        checkpoints: &[File],
        retry: &mut Retry,
    ) -> Result<LogDirectory, Trouble> {
        let id = Id::of(&folder).unable_to("stat", &settings.path)?;
        let at = |name: &str| [settings.path.as_bytes(), b"/", name.as_bytes()].concat();
        let look = |name: &str| files::stat_at(&folder, name).unable_to("stat", OsStr::from_bytes(&at(name)));
        let (current, previous, processed) = (look(CURRENT)?, look(PREVIOUS)?, look(PROCESSED)?);
        // A file that has a second name may be another account's.
        let is_known =
            |now: &FileStat| checkpoints.iter().any(|noted| noted.folder.is(&id) && noted.inode == now.st_ino);
        let is_linked = current.is_some_and(|now| now.st_nlink != 1 && files::is_regular(&now) && !is_known(&now));
        let is_still = |noted: &File| current.is_some_and(|now| noted.is_still(now.st_ino, now.st_size as u64));
        let noted = checkpoints.iter().copied().filter(|noted| noted.folder.is(&id)).max_by_key(is_still);
        // The file of the checkpoint, or, if it was replaced since, one that nothing was written to yet.
        let vouched = !is_linked
            && noted.is_some_and(|noted| {
                current.is_none_or(|now| {
                    now.st_size == 0 || (now.st_ino == noted.inode && now.st_size as u64 >= noted.size)
                })
            });
        let found = |stat: Option<FileStat>| match stat {
            None => Found::Missing,
            // A link is refused when `current` is opened.
            Some(stat) if files::is_link(&stat) => Found::Missing,
            Some(stat) if logdir::is_complete(&stat) => Found::Complete,
            Some(_) => Found::Incomplete,
        };
        let files = recovery::Directory {
            current: if is_linked { Found::Incomplete } else { found(current) },
            previous: found(previous),
            processed: found(processed),
            vouched,
        };
        let has_numbers = watch::has_numbers(&folder);
        let mut directory = LogDirectory {
            current: retry.retry_at_start("open directory", &settings.path, || {
                folder.try_clone().map_err(|error| report::errno_of(&error))
            })?,
            limit: settings.full_at().min(longest_file()),
            space: Space::new(&settings),
            settings,
            folder,
            id,
            lock,
            size: 0,
            inode: 0,
            seen: 0,
            said: None,
            is_stuck: false,
            has_numbers,
            period: None,
            zone_changes: 0,
            time: None,
            synced: 0,
            sync_at: None,
            processing: None,
            failing_since: None,
            compressor: Compressor::Idle,
            newest: None,
            expiry: None,
        };
        for step in recovery::plan(files) {
            directory.recover(step, retry)?;
        }
        // In the original's words: nothing but the administrator helps against most of what can be wrong here.
        let verb = if files.current == Found::Complete { "append to" } else { "write to" };
        let object = directory.path_of(CURRENT);
        let current = retry.retry_at_start(verb, &object, || directory.open_current(is_known))?;
        directory.take_current(current, retry)?;
        if let Some(noted) = noted.filter(|noted| noted.is_still(directory.inode, directory.size)) {
            directory.cut_to(noted.size, retry)?;
        }
        directory.tend_old_files(retry)?;
        Ok(directory)
    }

    fn recover(&mut self, step: Step, retry: &mut Retry) -> Result<(), Trouble> {
        match step {
            Step::Remove(name) => {
                if files::remove_at(&self.folder, name) == Err(Errno::EISDIR) {
                    self.make_way(name);
                }
            }
            Step::FinishSafe(name) => self.finish(name, &self.settings.code.clone(), retry)?,
            Step::FinishUnsafe(name) => self.finish(name, UNSAFE, retry)?,
            Step::EmptyState => {
                let object = self.path_of(STATE);
                retry.retry_at_start("write to", &object, || match self.create(STATE) {
                    Err(Errno::EISDIR) => {
                        self.make_way(STATE);
                        self.create(STATE)
                    }
                    made => made,
                })?;
            }
            Step::Process => self.process(retry)?,
        }
        Ok(())
    }

    /// A new file, in the place of what has its name.
    fn create(&self, name: &str) -> nix::Result<OwnedFd> {
        files::replace_at(&self.folder, name, OFlag::O_WRONLY, INCOMPLETE)
    }

    /// What has the name of a file of ours and is none that we can use keeps what is in it, by another name.
    fn make_way(&self, name: &str) {
        let path = self.path_of(name);
        match rename_away(&self.folder, name) {
            Ok(new) => report::warning(&[b"renaming ", path.as_bytes(), b" to ", new.as_bytes(), b": it is not mine"]),
            Err(Errno::ENOENT) => {}
            Err(errno) => Unable::new("rename", path, errno).warn(),
        }
    }

    /// What lies beyond the noted size was being written when our predecessor was killed.
    fn cut_to(&mut self, size: u64, retry: &mut Retry) -> Result<(), Trouble> {
        if self.size > size {
            retry.retry_at_start("write to", &self.path_of(CURRENT), || ftruncate(&self.current, size as i64))?;
            self.size = size;
        }
        Ok(())
    }

    fn path_of(&self, name: &str) -> OsString {
        let path = [self.settings.path.as_bytes(), b"/", name.as_bytes()].concat();
        OsStr::from_bytes(&path).to_os_string()
    }

    fn append(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        loop {
            let object = [self.settings.path.as_bytes(), b"/", CURRENT.as_bytes()];
            let opened = retry.retry_until_done("create", &object, || match self.open_current(|_| false) {
                Err(Errno::ENOENT) => Ok(None),
                opened => opened.map(Some),
            })?;
            match opened {
                Some(current) => return self.take_current(current, retry),
                // The directory is gone.
                None if self.go_on_elsewhere(retry)? => return Ok(()),
                None => retry.signals.wait(PollTimeout::from(100_u8)),
            }
        }
    }

    /// To be read too: what was written to a file that was removed is written again. A file that has a second name
    /// may be another's: unless it `is_known`, nothing is written into it, its mode stays as it is, and it is renamed.
    fn open_current(&self, is_known: impl Fn(&FileStat) -> bool) -> nix::Result<(OwnedFd, FileStat)> {
        let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT;
        let open = || match files::open_regular(&self.folder, CURRENT, flags, INCOMPLETE) {
            // The original would follow a link: so what is wrong with where it leads is what is wrong.
            Err(Errno::ELOOP) => fstatat(&self.folder, CURRENT, AtFlags::empty()).and(Err(Errno::ELOOP)),
            opened => opened,
        };
        for _ in 0..files::TRIES {
            let (current, stat) = self.space.making_room(&self.folder, open)?;
            if stat.st_nlink == 1 || is_known(&stat) {
                fchmod(&current, INCOMPLETE)?;
                let stat = fstat(&current)?;
                return Ok((current, stat));
            }
            drop(current);
            self.make_way(CURRENT);
        }
        Err(Errno::EMLINK)
    }

    fn take_current(&mut self, (current, stat): (OwnedFd, FileStat), retry: &mut Retry) -> Result<(), Stop> {
        let (path, folder) = (self.settings.path.as_bytes(), &self.folder);
        (self.current, self.inode, self.size) = (current, stat.st_ino, stat.st_size as u64);
        (self.synced, self.sync_at, self.seen) = (self.size, None, self.size);
        if self.settings.durability != Durability::Rotation {
            // What is there already may have been written by one that was killed before it could ask for it.
            let sync = || fsync(&self.current).and_then(|()| sys::directory::sync(folder));
            retry.retry_until_done("write", &[path, b"/", CURRENT.as_bytes(), b" to disk"], sync)?;
        }
        // The last line decides which period the file is of: no line in it is from a later one. A new file is of the time
        // of the lines that come next, which may have been read before it was made.
        let time = self.time.filter(|_| self.size == 0);
        self.begin_period(time.map_or(stat.st_mtime, |time| time.0.to_unix()));
        Ok(())
    }

    /// Where the current file stands; `underway` more bytes are about to be written.
    pub fn file(&self, underway: usize) -> File {
        File { folder: self.id, inode: self.inode, size: self.size, underway: (underway + self.account_size()) as u64 }
    }

    /// Whether the current file is to be replaced, given where in a line it ends.
    pub fn is_full(&self, line: Line) -> bool {
        is_full(self.size, self.limit, line)
    }

    /// Whether the current file takes what is left however full it is: we were told to leave, and there is no telling
    /// when the processor will be done with the file before.
    pub fn takes_all(&self, leaving: bool) -> bool {
        leaving && self.is_processing()
    }

    /// Replaces the current file by an empty one, and begins to deal with the full one.
    ///
    /// # Errors
    /// [`Stop`]: the next multilog goes on.
    pub fn rotate(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        let is_there = files::stat_at(&self.folder, CURRENT)
            .is_ok_and(|found| found.is_some_and(|found| found.st_ino == self.inode || !self.has_numbers));
        if !is_there && self.look_around(retry)? {
            // A new file was begun meanwhile.
            return Ok(());
        }
        self.close(retry)?;
        let object = self.settings.path.clone();
        retry.retry_until_done("rename current to previous in directory", &[object.as_bytes()], || {
            match renameat(&self.folder, CURRENT, &self.folder, PREVIOUS) {
                Err(Errno::EISDIR | Errno::ENOTEMPTY | Errno::EEXIST) => {
                    self.make_way(PREVIOUS);
                    renameat(&self.folder, CURRENT, &self.folder, PREVIOUS)
                }
                // Removed this very moment: a new one is begun all the same.
                Err(Errno::ENOENT) => Ok(()),
                renamed => renamed,
            }
        })?;
        self.append(retry)?;
        self.process(retry)
    }

    /// Ends in the middle of trouble, in order as far as that can be: what was written is on the disk, as the journal
    /// says.
    pub fn leave(&mut self) {
        self.give_up_telling();
        let _ = fsync(&self.current);
    }

    /// Marks the current file as complete, for the multilog that goes on.
    ///
    /// # Errors
    /// [`Stop`]: it is not.
    pub fn end(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        self.tell_or_give_up(retry)?;
        self.close(retry)
    }

    /// Marks the current file as complete, on the disk too.
    ///
    /// # Errors
    /// [`Stop`]: it is not.
    fn close(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        let (path, current, folder) = (self.settings.path.as_bytes(), &self.current, &self.folder);
        let sync = || self.space.making_room(folder, || fsync(current));
        retry.retry_until_done("write", &[path, b"/", CURRENT.as_bytes(), b" to disk"], sync)?;
        retry.retry_until_done("set mode of", &[path, b"/", CURRENT.as_bytes()], || fchmod(current, COMPLETE))
    }

    /// Takes in that a child has ended.
    ///
    /// # Errors
    /// [`Stop`]: the next multilog goes on.
    pub fn child_ended(&mut self, pid: Pid, status: i32, retry: &mut Retry) -> Result<(), Stop> {
        self.compressor_ended(pid, retry)?;
        self.processor_ended(pid, status, retry)
    }

    /// When something is to be done though nothing happens.
    pub fn deadline(&self) -> Option<Duration> {
        [self.retry_at(), self.sync_at, self.tell_at()].into_iter().flatten().min()
    }

    /// When something is to be done by the wall clock, as time since 1970.
    pub fn wall_deadline(&self, line: Line) -> Option<Duration> {
        let period = self.period.filter(|_| self.size > 0 && !self.is_processing() && line == Line::Fresh);
        let end = period.map(|period| Duration::from_secs(u64::try_from(period.end).unwrap_or(0)));
        [end, self.expiry].into_iter().flatten().min()
    }

    /// Does what is to be done at its time.
    ///
    /// # Errors
    /// [`Stop`]: the next multilog does it.
    pub fn tend(&mut self, retry: &mut Retry) -> Result<(), Stop> {
        self.retry(retry)?;
        if self.sync_at.is_some_and(|at| at <= Moment::now().uptime) {
            self.sync(retry)?;
        }
        self.tidy_expired(retry)
    }

    fn begin_period(&mut self, begun: i64) {
        self.zone_changes = localtime::changes();
        self.period = self.settings.schedule.map(|schedule| {
            let offset = |second| match schedule.zone {
                Zone::Utc => 0,
                Zone::Local => localtime::local(second).map_or(0, |calendar| calendar.offset),
            };
            Period::begin(&schedule, begun, offset)
        });
    }

    /// Whether the current file is to be replaced for its age, before lines of now are written: all that is written until
    /// the next call is.
    pub fn period_is_over(&mut self, now: Tai64N) -> bool {
        self.time = Some(now);
        let now = now.0.to_unix();
        let is_local = self.settings.schedule.is_some_and(|schedule| schedule.zone == Zone::Local);
        if let Some(period) = self.period.filter(|_| is_local && self.zone_changes != localtime::changes()) {
            self.begin_period(period.begun());
        }
        let Some(period) = self.period else { return false };
        if period.is_ahead(now) || period.is_over(now) && self.size == 0 {
            self.begin_period(now);
            return false;
        }
        period.is_over(now) && !self.is_processing()
    }

    /// Lines that come next have this time, as in the directory before.
    fn go_on_at(&mut self, time: Option<Tai64N>) {
        self.time = time;
        if let Some(time) = time.filter(|_| self.size == 0) {
            self.begin_period(time.0.to_unix());
        }
    }

    /// As the script has it.
    pub fn path(&self) -> &OsStr {
        &self.settings.path
    }

    /// The directory itself.
    pub fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// Whether `folder` is this directory.
    pub fn is(&self, folder: &OwnedFd) -> bool {
        Id::of(folder).is_ok_and(|id| id == self.id)
    }

    /// Whether the clock on the wall matters to it.
    pub fn needs_clock(&self) -> bool {
        self.settings.schedule.is_some() || self.settings.age.is_some()
    }
}

/// Opens a directory; if it is not there it is made. The inner error says why it cannot be made, and never will be. No link
/// that another account has put in the path leads to a place where that account may not write itself.
fn open_or_make(path: &OsStr) -> nix::Result<nix::Result<OwnedFd>> {
    let path = Path::new(path);
    let open = |start: BorrowedFd, path: &Path| {
        let place = open_directory(start, path)?;
        openat(&place, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return open(AT_FDCWD, path).map(Ok);
    };
    let above = open_directory(AT_FDCWD, parent)?;
    // A directory that was there before keeps its mode.
    let made = mkdirat(&above, name, Mode::from_bits_truncate(0o700));
    match (open(above.as_fd(), Path::new(name)), made) {
        // The directory is missing only because it cannot be made now.
        (Err(Errno::ENOENT), Err(errno)) if may_pass(errno) => Err(errno),
        // It is a link that leads nowhere, or it was removed just now.
        (Err(Errno::ENOENT), Ok(()) | Err(Errno::ENOENT | Errno::EEXIST)) => Err(Errno::ENOENT),
        (Err(Errno::ENOENT), Err(errno)) => Ok(Err(errno)),
        (opened, _) => opened.map(Ok),
    }
}

/// Opens the lock. Who owns the directory may give another lock its name, to have it locked by us: where others may
/// write, a file of two names is no lock, and is replaced.
fn open_lock(folder: &OwnedFd, path: &OsStr) -> nix::Result<(OwnedFd, FileStat)> {
    match files::open_lock(folder, LOCK) {
        Err(Errno::EMLINK) => {
            files::remove_at(folder, LOCK)?;
            report::warning(&[path.as_bytes(), b"/", LOCK.as_bytes(), b" was another file as well: replaced"]);
            files::open_lock(folder, LOCK)
        }
        opened => opened,
    }
}

fn lock_file((file, stat): (OwnedFd, FileStat), time: Duration) -> nix::Result<(OwnedFd, FileStat)> {
    sys::lock::lock_within(file, time).map(|locked| (locked, stat))
}

/// Locks without waiting: multilog, which is at work, tries again.
fn lock_now(opened: (OwnedFd, FileStat)) -> nix::Result<(OwnedFd, FileStat)> {
    lock_file(opened, Duration::ZERO)
}

/// No file may be longer (`ulimit -f`).
fn longest_file() -> u64 {
    getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(limit, _)| limit)
}
