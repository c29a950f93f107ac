//! The service whose lines a logger reads: where it is, and how it is.
//!
//! svscan starts `supervise log` in the service directory, with the pipe that the service writes to as its standard
//! input.

use crate::last_lines::{Facts, Writer};
use daemontools::service::{CONTROL, Identity, LOG, Place, Record, Unread, is_fifo, is_supervised_at, open_fifo};
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
        let is_logger = name.file_name() == Some(OsStr::new(LOG)) && is_fifo(sys::stdin()) == Ok(true);
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
        let Ok(place) = Place::of(&self.0) else { return Writer::Untold };
        // The FIFO is looked at before the record: what was read from the FIFO by then is in the record soon.
        let commands = commands_in(&place);
        let supervised = is_supervised_at(&self.0);
        let record = match Record::read(&place) {
            Err(Unread::System(errno)) if errno != Errno::ENOENT => Err(errno),
            // There is no record, or no supervise has written it.
            read => Ok(read.ok()),
        };
        let seen = record.and_then(|record| {
            let process = record.as_ref().and_then(|record| record.process);
            let identity = process.map_or(Ok(Identity::Gone), |(_, process)| process.identity())?;
            Ok((record.is_some_and(|record| record.leaving), identity))
        });
        writer_of(supervised, commands, seen)
    }
}

/// Whether the service's supervise has commands to read. If no process reads its FIFO, it has none.
fn commands_in(place: &Place) -> nix::Result<bool> {
    match open_fifo(&place.path(CONTROL), OFlag::O_WRONLY) {
        Ok(control) => Ok(sys::unread(&control)? > 0),
        Err(Unread::System(Errno::ENXIO | Errno::ENOENT) | Unread::WrongKind | Unread::TooLong) => Ok(false),
        Err(Unread::System(errno)) => Err(errno),
    }
}

/// How the service is: whether a supervise is in charge of it, whether that has commands to read, and what it has
/// written, that it leaves and which process runs. If the system does not tell one of these facts, supervise must not
/// guess: it would exit, and leave behind the lines that its logger has not read.
fn writer_of(
    supervised: nix::Result<bool>,
    commands: nix::Result<bool>,
    seen: nix::Result<(bool, Identity)>,
) -> Writer {
    match (supervised, commands, seen) {
        (Ok(true), _, Ok((true, _))) => Writer::Leaves,
        (Ok(true), Ok(true), _) => Writer::Commanded,
        (Ok(true), Ok(false), Ok((false, _))) => Writer::Stays,
        (Ok(true), _, _) => Writer::Untold,
        // A supervise that was killed has left a process that goes on writing.
        (Ok(false) | Err(Errno::ENOENT), _, Ok((_, Identity::Same))) => Writer::Stays,
        (Ok(false), _, Ok((_, Identity::Gone | Identity::Unknown))) => Writer::Gone,
        (Ok(false) | Err(_), _, _) => Writer::Untold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_does_not_tell_is_no_answer() {
        let (leaves, runs) = (Ok((true, Identity::Same)), Ok((false, Identity::Same)));
        let (gone, no, refused) = (Ok((false, Identity::Gone)), Ok(false), Err(Errno::EMFILE));
        let table = [
            (Ok(true), no, leaves, Writer::Leaves),
            (Ok(true), Ok(true), leaves, Writer::Leaves),
            (Ok(true), refused, leaves, Writer::Leaves),
            (Ok(true), Ok(true), runs, Writer::Commanded),
            (Ok(true), Ok(true), Err(Errno::EMFILE), Writer::Commanded),
            (Ok(true), no, runs, Writer::Stays),
            (Ok(true), no, gone, Writer::Stays),
            (Ok(true), refused, runs, Writer::Untold),
            (Ok(true), no, Err(Errno::EIO), Writer::Untold),
            (Ok(false), no, runs, Writer::Stays),
            (Ok(false), no, gone, Writer::Gone),
            (Ok(false), no, Ok((true, Identity::Gone)), Writer::Gone),
            (Ok(false), no, Ok((false, Identity::Unknown)), Writer::Gone),
            (Ok(false), no, Err(Errno::EMFILE), Writer::Untold),
            (Err(Errno::ENOENT), no, runs, Writer::Stays),
            // A `supervise/` that was removed says nothing of the supervise that made it.
            (Err(Errno::ENOENT), no, gone, Writer::Untold),
            (Err(Errno::EACCES), refused, gone, Writer::Untold),
            (Err(Errno::EMFILE), refused, Err(Errno::EMFILE), Writer::Untold),
        ];
        for (supervised, commands, seen, writer) in table {
            assert_eq!(writer_of(supervised, commands, seen), writer, "{supervised:?} {commands:?} {seen:?}");
        }
    }
}
