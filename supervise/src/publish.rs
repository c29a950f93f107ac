//! Writing `supervise/status` and `supervise/state`, and the page in svscan's ledger.
//!
//! What the next supervise must know if this one is killed is written to two places: the disk, which may be full,
//! read-only or cleaned up by an administrator, and a page of svscan's memory, which there is only under svscan. One of
//! them is enough. Where neither can be written the service runs all the same, as it would under daemontools, and
//! supervise says what that costs.

use crate::unwritten::{Failure, SecondCopy, Unwritten};
use daemontools::service::ledger::{Page, has_room};
use daemontools::service::{Part, Place, Record, STATE, STATE_NEW, STATUS, STATUS_NEW, Status};
use daemontools::service::{Replaced, put_file, put_file_first};
use daemontools::tai64::Moment;
use daemontools::{Unable, report};
use nix::errno::Errno;
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Writes `supervise/status`, `supervise/state` and the page, and knows what is in them.
pub struct Publisher {
    /// The service's name, for warnings.
    name: OsString,
    place: Place,
    page: Option<Page>,
    record: Record,
    /// What `supervise/state` has, where it could be written.
    written: Option<String>,
    /// The file that `supervise/state` has taken the place of, if it is to be removed yet.
    replaced: Option<Replaced>,
    /// What `supervise/status` has: most changes of the record do not change it.
    shown: Vec<u8>,
    /// The files that could not be written.
    unwritten: Unwritten,
    /// Whether the page has the record.
    on_page: bool,
}

fn state_failure((verb, errno): (&'static str, Errno)) -> Failure {
    Failure { verb, new: STATE_NEW, errno }
}

/// What came of putting a file in its place: the old file, where it is to be removed later; or what the system refused,
/// and why.
type Put = Result<Option<Replaced>, (&'static str, Errno)>;

impl Publisher {
    /// A publisher that has written nothing yet. `record` has what never changes: the supervise, its boot and
    /// directory, the pipe.
    pub fn new(name: OsString, place: Place, page: Option<Page>, record: Record) -> Publisher {
        Publisher {
            name,
            place,
            page,
            record,
            written: None,
            replaced: None,
            shown: Vec::new(),
            unwritten: Unwritten::default(),
            on_page: false,
        }
    }

    /// Notes how the service or its logger is now, without writing it.
    pub fn note(&mut self, part: Part, record: Record) {
        match part {
            Part::Service => {
                let Record { supervise, change, pipe, .. } = self.record;
                let (boot, directory, logger) =
                    (self.record.boot.clone(), self.record.directory.clone(), self.record.logger.take());
                // What is compared has no logger: that is noted by itself.
                let record = Record { supervise, boot, directory, change, pipe, ..record };
                let is_news = u64::from(record != self.record);
                self.record = Record { change: change + is_news, logger, ..record };
            }
            Part::Logger => {
                let is_news = self.record.logger.as_deref() != Some(&record);
                self.record.change += u64::from(is_news);
                self.record.logger = Some(Box::new(record));
            }
        }
    }

    /// Notes how the service or its logger is now, and writes `supervise/state`, the page and `supervise/status` as far
    /// as they have changed. A file that cannot be written is a warning, and is tried again later: the service runs on
    /// though a disk is full.
    pub fn publish(&mut self, part: Part, record: Record) {
        self.note(part, record);
        self.write();
    }

    /// Notes how the service or its logger is now, and writes `supervise/state` and the page, but not
    /// `supervise/status`. What is to be done afterwards and nothing waits for is left to [`Publisher::tidy`].
    pub fn write_down(&mut self, part: Part, record: Record) {
        self.note(part, record);
        let text = self.record.encode();
        let failure = self.write_record(text, |new, old, bytes| put_file_first(new, old, bytes).map(Some));
        self.take_in_of(STATE_NEW, failure);
    }

    /// Removes what [`Publisher::write_down`] has left beside `supervise/state`.
    pub fn tidy(&mut self) {
        let failure = self.replaced.take().and_then(|replaced| replaced.tidy().err()).map(state_failure);
        if failure.is_some() {
            self.written = None;
            self.take_in_of(STATE_NEW, failure);
        }
    }

    /// Writes what was noted of the service and its logger to `supervise/state` and the page alone.
    pub fn write_state(&mut self) {
        let failure = self.put_state(self.record.encode());
        self.take_in_of(STATE_NEW, failure);
    }

    /// Writes all files, though they were written before.
    pub fn write_anew(&mut self) {
        self.shown.clear();
        self.written = None;
        self.write();
    }

    fn write(&mut self) {
        let text = self.record.encode();
        let failed = if self.written.as_ref() == Some(&text) { None } else { self.put_state(text) };
        let failed: Vec<Failure> = [failed, self.put_status()].into_iter().flatten().collect();
        let news = self.unwritten.take_in(failed, Moment::now().uptime);
        self.say(news);
    }

    fn put_state(&mut self, text: String) -> Option<Failure> {
        self.tidy();
        self.write_record(text, |new, old, bytes| put_file(new, old, bytes).map(|()| None))
    }

    /// Writes the page, and the `text` of the record to `supervise/state` by `put`, which returns the old file if that is to
    /// be removed later.
    fn write_record(&mut self, text: String, put: impl FnOnce(&Path, &Path, &[u8]) -> Put) -> Option<Failure> {
        self.on_page = self.page.as_ref().is_some_and(|page| page.write(&short_text(&self.record, &text)).is_ok());
        let put = put(&self.place.path(STATE_NEW), &self.place.path(STATE), text.as_bytes());
        let failure = put.map(|replaced| self.replaced = replaced).err().map(state_failure);
        self.written = failure.is_none().then_some(text);
        failure
    }

    /// Says once, if the process that is about to become a program could not be written down, what that means. The page is
    /// in svscan's memory, which ends with svscan and its supervises.
    pub fn see_it_written(&mut self) {
        let Some(killed) = self.unwritten.second_copy(STATE_NEW, self.on_page) else { return };
        let state = self.place.name(&self.name, STATE);
        let (which, they) = match killed {
            SecondCopy::IfAllAreKilled => ("svscan and all supervises are killed together", "next ones"),
            SecondCopy::IfThisIsKilled => ("this supervise is killed", "next one"),
        };
        let words = format!(" cannot be written: if {which}, the {they} will start a second copy");
        report::warning(&[&state, words.as_bytes()]);
    }

    /// Whether `supervise/` seems to be gone.
    pub fn misses_directory(&self) -> bool {
        self.unwritten.misses_directory()
    }

    /// When [`Publisher::try_again`] is due, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        self.unwritten.deadline()
    }

    /// Writes what could not be written, if it is time.
    pub fn try_again(&mut self, now: Duration) {
        if self.unwritten.is_due(now) {
            self.write();
        }
    }

    /// Writes `supervise/status` alone.
    pub fn publish_status(&mut self) {
        let failure = self.put_status();
        self.take_in_of(STATUS_NEW, failure);
    }

    /// Takes in whether one file could be written. What is known of the other file stays known.
    fn take_in_of(&mut self, new: &str, failure: Option<Failure>) {
        let news = self.unwritten.take_in_of(new, failure, Moment::now().uptime);
        self.say(news);
    }

    /// Says which files could not be written.
    fn say(&self, failed: Vec<Failure>) {
        for Failure { verb, new, errno } in failed {
            let onto =
                if verb == "rename" { new.strip_suffix(".new").and_then(|old| old.rsplit('/').next()) } else { None };
            let onto = onto.map(|old| format!(" to {old}")).unwrap_or_default();
            let object = [&self.place.name(&self.name, new), onto.as_bytes()].concat();
            Unable::new(verb, OsStr::from_bytes(&object), errno).warn();
        }
    }

    /// Writes `supervise/status`, if it has changed: twenty bytes for the service, and twenty for a logger.
    fn put_status(&mut self) -> Option<Failure> {
        let mut bytes = Status::of(&self.record).encode().to_vec();
        bytes.extend(self.record.logger.iter().flat_map(|logger| Status::of(logger).encode()));
        if bytes == self.shown {
            return None;
        }
        let put = put_file(&self.place.path(STATUS_NEW), &self.place.path(STATUS), &bytes);
        self.shown = if put.is_ok() { bytes } else { Vec::new() };
        put.err().map(|(verb, errno)| Failure { verb, new: STATUS_NEW, errno })
    }
}

/// As much of a record, whose whole text is given, as has room on a page. The status text, which is only shown, is left
/// out first, then the oldest deaths, then the settings. The next supervise looks for what is missing on the disk, and
/// for settings also in their files.
fn short_text<'a>(record: &Record, text: &'a str) -> Cow<'a, str> {
    if has_room(text) {
        return Cow::Borrowed(text);
    }
    let mut most = record.deaths.len();
    while most > 1 {
        most /= 2;
        let text = with_last_deaths(record, most).encode();
        if has_room(&text) {
            return Cow::Owned(text);
        }
    }
    Cow::Owned(Record { settings: Vec::new(), settings_left_out: true, ..with_last_deaths(record, 1) }.encode())
}

/// The record with at most `most` of the last deaths, of the service and of its logger, and without texts that are only shown.
fn with_last_deaths(record: &Record, most: usize) -> Record {
    let deaths = record.deaths.iter().skip(record.deaths.len().saturating_sub(most)).copied().collect();
    let logger = record.logger.as_ref().map(|logger| Box::new(with_last_deaths(logger, most)));
    Record { deaths, logger, status_text: String::new(), refusal: None, ..record.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::service::{Death, Exit};

    fn death() -> Death {
        Death {
            started: Moment::ZERO.label,
            ended: Moment::ZERO.label,
            exit: Exit::Code(1),
            counts: true,
            is_told: false,
        }
    }

    #[test]
    fn a_page_has_as_much_as_has_room_and_says_what_is_missing() {
        let setting = |length| ("restart-limit".to_string(), "x".repeat(length));
        // The number of deaths and the bytes of a setting; then the number of deaths that are left, and whether the
        // settings are.
        let table = [(16, 10, 16, true), (70, 10, 35, true), (70, 3000, 8, true), (3, 5000, 1, false)];
        for (deaths, length, left, has_settings) in table {
            let logger = Some(Box::new(Record { deaths: vec![death(); 2], ..Record::blank() }));
            let record = Record {
                deaths: vec![death(); deaths],
                settings: vec![setting(length)],
                status_text: "busy".into(),
                logger,
                ..Record::blank()
            };
            let whole = record.encode();
            let text = short_text(&record, &whole);
            assert!(has_room(&text), "{}", text.len());
            let found = Record::decode(&text);
            assert_eq!(
                (found.deaths.len(), found.settings == record.settings),
                (left, has_settings),
                "{deaths} {length}"
            );
            assert_eq!(found.settings_left_out, !has_settings);
        }
    }
}
