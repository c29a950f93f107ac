//! The service whose lines a logger reads: where it is, and how it is.
//!
//! svscan starts `supervise log` in the service directory, with the pipe that the service writes to as its standard
//! input.

use crate::last_lines::{Facts, Writer};
use daemontools::service::{CONTROL, Place, Record, is_fifo, is_supervised_at, open_fifo};
use daemontools::sys;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, stat};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The directory of the service whose lines a logger reads.
#[derive(Debug)]
pub struct LoggedService(PathBuf);

/// The directory of the service whose lines a logger reads, found before supervise changes into the logger's directory.
pub struct BeforeChdir {
    folder: PathBuf,
    file: FileStat,
}

impl BeforeChdir {
    /// Finds the service directory, if `name` is a logger's: a directory `log`, with a pipe as standard input.
    pub fn of(name: &OsStr) -> Option<BeforeChdir> {
        let name = Path::new(name);
        let is_logger = name.file_name() == Some(OsStr::new("log")) && is_fifo(sys::stdin()) == Ok(true);
        let folder = name.parent().filter(|_| is_logger)?;
        let folder = std::fs::canonicalize(if folder == Path::new("") { Path::new(".") } else { folder }).ok()?;
        let file = stat(&folder).ok()?;
        Some(BeforeChdir { folder, file })
    }

    /// Names the service directory from within the logger's. It is the one above, which may be renamed, unless `log` is
    /// a link.
    pub fn entered(self) -> LoggedService {
        let same = |above: &FileStat| (above.st_dev, above.st_ino) == (self.file.st_dev, self.file.st_ino);
        if stat("..").is_ok_and(|above| same(&above)) { LoggedService("..".into()) } else { LoggedService(self.folder) }
    }
}

impl LoggedService {
    /// How the service and its pipe are now; `logger` is the record of the logger.
    pub fn facts(&self, logger: &Record) -> Facts {
        Facts::of(logger, self.writer(), sys::unread(sys::stdin()).unwrap_or(0))
    }

    /// How the service is. The owner of its `supervise/` may write anything there, but can only keep this supervise
    /// from exiting.
    fn writer(&self) -> Writer {
        let place = || Place::of(&self.0).ok();
        let record = || place().and_then(|place| Record::read(&place).ok());
        // The FIFO is looked at before the record: what was read from the FIFO by then is in the record soon.
        let control = place().and_then(|place| open_fifo(&place.path(CONTROL), OFlag::O_WRONLY).ok());
        let is_commanded = control.is_some_and(|control| sys::unread(&control).is_ok_and(|unread| unread > 0));
        match is_supervised_at(&self.0) {
            Ok(true) if record().is_some_and(|record| record.leaving) => Writer::Leaves,
            Ok(true) if is_commanded => Writer::Commanded,
            Ok(true) => Writer::Stays,
            // A supervise that was killed has left a process that goes on writing.
            Err(Errno::ENOENT | Errno::ENXIO) | Ok(false)
                if record().and_then(|record| record.process).is_some_and(|(_, process)| process.is_there()) =>
            {
                Writer::Stays
            }
            Ok(false) => Writer::Gone,
            Err(_) => Writer::Stays,
        }
    }
}
