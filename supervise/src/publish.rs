//! Writing `supervise/status` and `supervise/state`, and telling listeners of transitions.

use crate::slot::Which;
use daemontools::service::{EVENT, Place, Record, STATE, STATE_NEW, STATUS, STATUS_NEW, Status};
use daemontools::sys::directory::for_each_name;
use daemontools::sys::exec::c_string;
use daemontools::tai64::Moment;
use daemontools::{Unable, sys};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, open, renameat, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, ftruncate, unlinkat};
use std::ffi::{CStr, OsStr, OsString};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Keeps what is written there.
pub struct Publisher {
    /// The service's name, for warnings.
    name: OsString,
    place: Place,
    record: Record,
    written: Option<Record>,
    /// What the status file has of us: most changes do not show there.
    shown: Vec<u8>,
    /// What could not be written, and when to try again.
    failed: Vec<Failure>,
    again: Option<Duration>,
}

/// A file that could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failure {
    verb: &'static str,
    new: &'static str,
    errno: Errno,
}

/// A disk that is full, or descriptors that are used up, are tried again this often.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl Publisher {
    /// Nothing is written yet; `record` has what stays: the supervise, its boot, the pipe.
    pub fn new(name: OsString, place: Place, record: Record) -> Publisher {
        Publisher { name, place, record, written: None, shown: Vec::new(), failed: Vec::new(), again: None }
    }

    /// Takes in how the service or its logger is now, without writing it.
    pub fn note(&mut self, which: Which, record: Record) {
        match which {
            Which::Service => {
                let Record { supervise, pipe, .. } = self.record;
                let (boot, directory) = (std::mem::take(&mut self.record.boot), self.record.directory.take());
                let logger = self.record.logger.take();
                self.record = Record { supervise, boot, directory, pipe, logger, ..record };
            }
            Which::Logger => self.record.logger = Some(Box::new(record)),
        }
    }

    /// Writes who the service is, then how it is, if that has changed. What cannot be written is a
    /// warning, and tried again later: what runs runs on though a disk is full.
    pub fn publish(&mut self, which: Which, record: Record) {
        self.note(which, record);
        if self.written.as_ref() != Some(&self.record) {
            self.write();
        }
    }

    fn write(&mut self) {
        let failed: Vec<Failure> = [self.put_state(), self.put_status()].into_iter().flatten().collect();
        self.written = failed.is_empty().then(|| self.record.clone());
        self.take_in(failed);
    }

    /// Whether the next supervise would know what was published last.
    pub fn is_written_down(&self) -> bool {
        self.failed.iter().all(|failure| failure.new != STATE_NEW)
    }

    /// When [`Publisher::try_again`] is due.
    pub fn deadline(&self) -> Option<Duration> {
        self.again
    }

    /// Writes what could not be written, if it is time.
    pub fn try_again(&mut self, now: Duration) {
        if self.again.is_some_and(|again| again <= now) {
            self.write();
        }
    }

    /// Only `supervise/status`.
    pub fn publish_status(&mut self) {
        let failed = self.put_status().into_iter().collect();
        self.take_in(failed);
    }

    /// Complains of what is new, once as long as it lasts.
    fn take_in(&mut self, failed: Vec<Failure>) {
        for failure in failed.iter().filter(|failure| !self.failed.contains(failure)) {
            let Failure { verb, new, errno } = *failure;
            let onto =
                if verb == "rename" { new.strip_suffix(".new").and_then(|old| old.rsplit('/').next()) } else { None };
            let onto = onto.map(|old| format!(" to {old}")).unwrap_or_default();
            let object = [&self.place.name(&self.name, new), onto.as_bytes()].concat();
            Unable::new(verb, OsStr::from_bytes(&object), errno).warn();
        }
        self.again = (!failed.is_empty()).then(|| Moment::now().uptime + TRY_AGAIN);
        self.failed = failed;
    }

    fn put_state(&self) -> Option<Failure> {
        self.put(self.record.encode().as_bytes(), STATE_NEW, STATE)
    }

    /// Twenty bytes for the service, and as many for a logger.
    fn put_status(&mut self) -> Option<Failure> {
        let mut bytes = status(&self.record).to_vec();
        bytes.extend(self.record.logger.iter().flat_map(|logger| status(logger)));
        if bytes == self.shown {
            return None;
        }
        let failure = self.put(&bytes, STATUS_NEW, STATUS);
        self.shown = if failure.is_none() { bytes } else { Vec::new() };
        failure
    }

    /// Writes a file beside itself and renames it into place. Where there is no room for a second
    /// file, the first one's room is used again.
    fn put(&self, bytes: &[u8], new: &'static str, old: &str) -> Option<Failure> {
        // Strings as the kernel wants them need no room in the stack.
        let path = |file| c_string(self.place.path(file).as_os_str());
        let (from, to) = (path(new).ok()?, path(old).ok()?);
        let (verb, errno) = replace(bytes, &from, &to).err()?;
        overwrite(bytes, &to).err().map(|_| Failure { verb, new, errno })
    }
}

fn status(record: &Record) -> [u8; Status::LENGTH] {
    let Record { since, paused, want, phase, .. } = *record;
    let pid = record.process.map(|(_, process)| process.pid);
    Status { since: since.label, pid, paused, want, phase }.encode()
}

fn replace(bytes: &[u8], new: &CStr, old: &CStr) -> Result<(), (&'static str, Errno)> {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let create = || open(new, flags, Mode::from_bits_truncate(0o644));
    let created = match create() {
        // A killed supervise left it: perhaps what was in place before, which somebody may be reading.
        Err(Errno::EEXIST) => unlinkat(AT_FDCWD, new, UnlinkatFlags::NoRemoveDir).and_then(|()| create()),
        created => created,
    };
    let file = created.map_err(|errno| ("open", errno))?;
    sys::write_all(&file, bytes).map_err(|errno| ("write", errno))?;
    put_in_place(new, old).map_err(|errno| ("rename", errno))
}

/// A file that is renamed over another one is sent to the disk at once by ext4, which takes as long as a dozen of the
/// calls here. Exchanged with the other one, which is removed then, it is not: what is in it is of no use after this boot.
fn put_in_place(new: &CStr, old: &CStr) -> nix::Result<()> {
    let exchange = || renameat2(AT_FDCWD, new, AT_FDCWD, old, RenameFlags::RENAME_EXCHANGE);
    // There may be no other one yet, or a file system that cannot.
    if exchange().is_err() {
        return renameat(AT_FDCWD, new, AT_FDCWD, old);
    }
    if unlinkat(AT_FDCWD, new, UnlinkatFlags::NoRemoveDir).is_ok() {
        return Ok(());
    }
    // It is a directory.
    exchange().and_then(|()| renameat(AT_FDCWD, new, AT_FDCWD, old))
}

fn overwrite(bytes: &[u8], old: &CStr) -> nix::Result<()> {
    let file = open(old, OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())?;
    sys::write_all(&file, bytes)?;
    ftruncate(&file, i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}

/// Writes letters to every FIFO in `supervise/event`, as s6-supervise does to those who listen
/// there; removes those whose listener is gone.
pub fn announce(letters: &[u8], place: &Place) {
    let event = place.path(EVENT);
    // Nobody is there to listen where it cannot be read.
    let _ = for_each_name(&event, |name| {
        if name.starts_with(b"ftrig1:") {
            tell(&event.join(OsStr::from_bytes(name)), letters);
        }
        ControlFlow::Continue(())
    });
}

fn tell(listener: &Path, letters: &[u8]) {
    match open(listener, OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(fifo) => drop(nix::unistd::write(&fifo, letters)),
        Err(Errno::ENXIO) => drop(std::fs::remove_file(listener)),
        Err(_) => {}
    }
}
