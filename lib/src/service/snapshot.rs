//! What the files in `supervise/` together say of a service at one moment.

use super::{Directory, Place, Record, RunitState, STATE, STATUS, Status};
use crate::files::{Unread, is_only_ours, read_file_itself};
use nix::errno::Errno;
use std::path::Path;

/// The longest state that is read, in bytes. A state with as many deaths as supervise can be told to remember has half
/// of that.
const LONGEST_STATE: usize = 1 << 20;
/// The longest status that is read, in bytes. No supervise writes a longer one.
const LONGEST_STATUS: usize = 4096;

impl Status {
    /// Reads the status of the service that has this `supervise/`, without that of its logger.
    ///
    /// # Errors
    /// The file does not exist or cannot be read.
    pub fn read(place: &Place) -> Result<Status, Unread> {
        let (bytes, _) = read_file_itself(&place.path(STATUS), LONGEST_STATUS)?;
        Status::decode(&bytes).map_err(|_| Unread::System(Errno::EINVAL))
    }
}

impl Record {
    /// Reads the record that the last supervise has written.
    ///
    /// # Errors
    /// The file does not exist or cannot be read.
    pub fn read(place: &Place) -> Result<Record, Unread> {
        let (bytes, _) = read_file_itself(&place.path(STATE), LONGEST_STATE)?;
        Ok(Record::decode(&String::from_utf8_lossy(&bytes)))
    }

    /// Reads the record that the last supervise has written. If other accounts than root and the one that runs us could
    /// have written it, the file's owner is returned too.
    ///
    /// # Errors
    /// The file does not exist or cannot be read.
    pub fn read_with_owner(place: &Place) -> Result<(Record, Option<u32>), Unread> {
        let (bytes, file) = read_file_itself(&place.path(STATE), LONGEST_STATE)?;
        let record = Record::decode(&String::from_utf8_lossy(&bytes));
        Ok((record, (!is_only_ours(&file) || !place.is_only_ours()?).then_some(file.st_uid)))
    }

    /// Reads the record that the last supervise of this service directory has written, if no other account could have written
    /// it, and it was not copied from another directory. `None`: there is no such record.
    ///
    /// # Errors
    /// EMFILE, EIO and others: that cannot be told now.
    pub fn read_trusted(service: &Path) -> Result<Option<Record>, Unread> {
        match Record::read_with_owner(&Place::of(service)?) {
            Ok((record, None)) if !record.is_copied_to(service)? => Ok(Some(record)),
            Ok(_) => Ok(None),
            Err(Unread::System(errno)) if errno != Errno::ENOENT => Err(Unread::System(errno)),
            // There is no record, or no supervise has written it.
            Err(Unread::System(_) | Unread::WrongKind | Unread::TooLong) => Ok(None),
        }
    }

    /// Whether the supervise that wrote the record was in charge of another directory than this one: `cp -r` takes the record
    /// along. Version 0.1.0 did not record the directory.
    ///
    /// # Errors
    /// EMFILE, EIO and others: that cannot be told now.
    pub fn is_copied_to(&self, service: &Path) -> nix::Result<bool> {
        let Some(written) = &self.directory else { return Ok(false) };
        Ok(!written.is_same_as(&Directory::at(service)?))
    }
}

/// Why `supervise/status` could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusError {
    /// The file cannot be opened.
    Closed(Errno),
    /// The file cannot be read.
    Unread(Errno),
    /// The file is shorter than the original's eighteen bytes.
    TooShort,
}

/// The present status of a service, and its history where that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The service's real status. It differs from `supervise/status` only while that still shows a `run` that has
    /// ended.
    pub status: Status,
    /// What `supervise/status` says.
    pub shown: Status,
    /// What `supervise/status` says of a logger that the same supervise runs.
    pub logger: Option<Status>,
    /// What `supervise/state` says, if it describes the same service at the same time. A state that is left over from
    /// before a supervise that writes none is ignored.
    pub record: Option<Record>,
    /// The owner of `supervise/state`, if other accounts than root and the one that runs us could have written the record.
    pub writer: Option<u32>,
}

impl Snapshot {
    /// Reads the snapshot of the service in the current directory.
    ///
    /// # Errors
    /// There is no readable status. If the state cannot be read, the snapshot has none.
    pub fn take() -> Result<Snapshot, StatusError> {
        let (shown, logger) = read_status()?;
        let state = read_state().filter(|(record, _)| is_same(record, &shown) || is_kept(record));
        let (record, writer) = state.unzip();
        Ok(Snapshot { writer: writer.flatten(), ..Snapshot::of(shown, logger, record) })
    }

    /// Makes the snapshot from the contents of the two files.
    pub fn of(shown: Status, logger: Option<Status>, record: Option<Record>) -> Snapshot {
        let ended = record.as_ref().filter(|record| record.shown.is_some() && is_same(record, &shown));
        Snapshot { status: ended.map_or(shown, Status::actual), shown, logger, record, writer: None }
    }

    /// Whether the two files agree. supervise replaces one after the other, so there are moments when they do not
    /// agree; the second is about to follow then.
    pub fn is_settled(&self) -> bool {
        self.record.as_ref().is_none_or(|record| is_same(record, &self.shown))
    }

    /// The snapshot of the logger that the same supervise runs, if it runs one.
    pub fn of_logger(self) -> Option<Snapshot> {
        let record = self.record.and_then(|record| record.logger).map(|record| *record);
        self.logger.map(|status| Snapshot { writer: self.writer, ..Snapshot::of(status, None, record) })
    }
}

/// Reads the status of the service in the current directory, and of the logger that the same supervise runs.
///
/// # Errors
/// Why the status could not be used.
pub fn read_status() -> Result<(Status, Option<Status>), StatusError> {
    read_status_at(Path::new(""))
}

/// Reads the status of the service in the directory `service`, and of the logger that the same supervise runs.
///
/// # Errors
/// Why the status could not be used.
pub fn read_status_at(service: &Path) -> Result<(Status, Option<Status>), StatusError> {
    let place = Place::of(service).map_err(StatusError::Closed)?;
    let (bytes, _) = read_file_itself(&place.path(STATUS), LONGEST_STATUS).map_err(|unread| match unread {
        // The original can open a directory and then reports EISDIR, so this reader reports the same.
        Unread::WrongKind => StatusError::Unread(Errno::EISDIR),
        other => StatusError::Closed(other.into()),
    })?;
    let (service, logger) = bytes.split_at(bytes.len().min(Status::LENGTH));
    let status = Status::decode(service).map_err(|_| StatusError::TooShort)?;
    Ok((status, Status::decode(logger).ok()))
}

fn read_state() -> Option<(Record, Option<u32>)> {
    Record::read_with_owner(&Place::here().ok()?).ok()
}

/// runit's byte is not compared: a supervise of version 0.1.0, which may still run after an upgrade, does not write it.
fn is_same(record: &Record, status: &Status) -> bool {
    let status = Status { running: RunitState::Nothing, ..*status };
    Status { running: RunitState::Nothing, ..Status::of(record) }.encode() == status.encode()
}

/// Whether the supervise that wrote the record is alive. Its status is about to follow then.
fn is_kept(record: &Record) -> bool {
    record.supervise.is_there()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Phase, Process, Role, Shown, Want};
    use crate::tai64::{Moment, Tai64, Tai64N};
    use nix::unistd::Pid;

    fn status() -> Status {
        let since = Tai64N(Tai64(7), 5);
        Status {
            since,
            pid: Some(Pid::from_raw(9)),
            paused: false,
            want: Want::Up,
            phase: Phase::Running,
            running: RunitState::Run,
        }
    }

    fn record() -> Record {
        let process = Process { pid: Pid::from_raw(9), ticks: 1, serial: 0 };
        let since = Moment { label: status().since, ..Moment::ZERO };
        let process = Some((Role::Run, process));
        Record { since, process, want: Want::Up, phase: Phase::Running, ..Record::blank() }
    }

    #[test]
    fn a_state_is_about_the_status_that_says_the_same() {
        assert!(is_same(&record(), &status()));
        assert!(!is_same(&record(), &Status { pid: None, ..status() }));
        assert!(!is_same(&record(), &Status { since: Tai64N(Tai64(8), 5), ..status() }));
        assert!(!is_same(&record(), &Status { phase: Phase::Stopping, ..status() }));
        assert!(!is_same(&Record::blank(), &status()));
    }

    #[test]
    fn of_a_run_that_is_still_shown_the_state_tells_the_truth() {
        let shown = Some(Shown { pid: Pid::from_raw(9), since: status().since });
        let ended = Record { process: None, since: Moment::ZERO, phase: Phase::Started, shown, ..record() };
        let seen = Snapshot::of(status(), None, Some(ended.clone()));
        assert!(seen.is_settled());
        assert_eq!((seen.shown, seen.status.pid, seen.status.since), (status(), None, Moment::ZERO.label));
        // If the status is about another process, the status counts until the state follows.
        let other = Status { pid: Some(Pid::from_raw(10)), ..status() };
        let seen = Snapshot::of(other, None, Some(ended));
        assert!(!seen.is_settled());
        assert_eq!(seen.status, other);
    }

    #[test]
    fn a_state_is_kept_while_its_writer_lives() {
        let this = Process::itself();
        let by = |supervise| Record { supervise, ..Record::blank() };
        assert!(is_kept(&by(this)));
        assert!(!is_kept(&by(Process { ticks: this.ticks + 1, serial: 0, ..this })));
        assert!(!is_kept(&Record::blank()));
    }
}
