//! Which record of the supervise before this one counts: that on its page, or that on the disk. No I/O.
//!
//! Of the two records that of the younger supervise counts. The page is short. Where the disk has a record of the same
//! supervise, the deaths and settings that had no room on the page are taken from there.

use daemontools::service::{Death, Process, Record};
use daemontools::sys::is_shortage;

/// What is left of the supervise before this one.
#[derive(Debug)]
pub struct Past {
    /// What the supervise before this one wrote down last.
    pub record: Record,
    /// Whether this supervise goes on where that one ended. Otherwise only the history in the record counts.
    pub resumes: bool,
    /// Accounts other than root and supervise's own could have written the record.
    pub may_be_forged: bool,
}

/// Chooses between the record on the page and that on the disk. `settings` reads what the files of the service say now.
///
/// # Errors
/// The disk cannot be read, and the page alone must not decide.
pub fn choose(
    page: Option<Record>,
    disk: nix::Result<Option<Past>>,
    settings: impl FnOnce() -> Vec<(String, String)>,
) -> nix::Result<Past> {
    let disk = match disk {
        // A shortage passes: then the next attempt can read both. Any other error, as EIO, leaves the page.
        Err(errno) if page.is_some() && !is_shortage(errno) => None,
        disk => disk?,
    };
    let is_newer = |disk: &Past, page| disk.resumes && !disk.may_be_forged && is_younger(&disk.record, page);
    match page {
        Some(page) if !disk.as_ref().is_some_and(|disk| is_newer(disk, &page)) => {
            let record = completed(page, disk.map(|disk| disk.record), settings);
            let resumes = !was_told_to_leave(&record);
            Ok(Past { record, resumes, may_be_forged: false })
        }
        Some(_) | None => {
            Ok(disk.unwrap_or_else(|| Past { record: Record::blank(), resumes: false, may_be_forged: false }))
        }
    }
}

/// The record of a page. What had no room there is taken from the disk, if the same supervise has written both.
fn completed(page: Record, disk: Option<Record>, settings: impl FnOnce() -> Vec<(String, String)>) -> Record {
    let disk = disk.filter(|disk| disk.supervise.is_same_as(&page.supervise));
    let logger_on_disk = disk.as_ref().and_then(|disk| disk.logger.as_ref());
    let logger = page.logger.map(|logger| {
        let deaths = with_earlier(&logger.deaths, logger_on_disk.map(|disk| &disk.deaths[..]).unwrap_or_default());
        Box::new(Record { deaths, ..*logger })
    });
    let deaths = with_earlier(&page.deaths, disk.as_ref().map(|disk| &disk.deaths[..]).unwrap_or_default());
    // The record on the disk may be older than the page: its settings are those of the process that it names.
    let of_this_process = disk.filter(|disk| disk.process == page.process).map(|disk| disk.settings);
    let settings = match page.settings_left_out {
        true => of_this_process.unwrap_or_else(settings),
        false => page.settings,
    };
    Record { logger, deaths, settings, settings_left_out: false, ..page }
}

/// Deaths, with earlier ones put before them; deaths that are in both lists are taken once, as the first list has them.
fn with_earlier(deaths: &[Death], earlier: &[Death]) -> Vec<Death> {
    let is_known = |death: &Death| deaths.iter().any(|known| Death { counts: death.counts, ..*known } == *death);
    earlier.iter().filter(|death| !is_known(death)).chain(deaths).copied().collect()
}

/// Whether the supervise of a record was told to exit, and its service was down: then the next supervise begins anew.
pub fn was_told_to_leave(record: &Record) -> bool {
    record.leaving && record.process.is_none()
}

/// Whether the supervise that wrote `one` was started after the one that wrote `other`.
fn is_younger(one: &Record, other: &Record) -> bool {
    let age = |process: &Process| (process.serial, process.ticks);
    match (age(&one.supervise), age(&other.supervise)) {
        ((one, _), (other, _)) if one != 0 && other != 0 => one > other,
        ((_, one), (_, other)) => one > other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::service::{Exit, Role};
    use daemontools::tai64::Moment;
    use nix::errno::Errno;
    use nix::unistd::Pid;
    use std::time::Duration;

    fn by(serial: u64, ticks: u64) -> Record {
        Record { supervise: Process { pid: Pid::from_raw(9), ticks, serial }, ..Record::blank() }
    }

    #[test]
    fn the_record_of_the_younger_supervise_counts() {
        assert!(is_younger(&by(8, 5), &by(7, 5)));
        assert!(!is_younger(&by(7, 5), &by(7, 5)));
        assert!(is_younger(&by(0, 6), &by(7, 5)));
        assert!(!is_younger(&by(0, 0), &by(0, 0)));
    }

    /// A record that the tests know by its number of starts.
    fn known(serial: u64, starts: u64) -> Record {
        Record { starts, ..by(serial, 5) }
    }

    #[test]
    fn the_page_counts_unless_the_disk_knows_of_a_younger_supervise() {
        let on_disk = |record| Ok(Some(Past { record, resumes: true, may_be_forged: false }));
        let of_another_boot = || Ok(Some(Past { record: known(8, 2), resumes: false, may_be_forged: false }));
        let left = Record { leaving: true, ..known(7, 1) };
        type Row = (Option<Record>, nix::Result<Option<Past>>, nix::Result<(u64, bool)>);
        let table: Vec<Row> = vec![
            (None, Ok(None), Ok((0, false))),
            (None, on_disk(known(7, 2)), Ok((2, true))),
            (None, of_another_boot(), Ok((2, false))),
            (None, Err(Errno::EIO), Err(Errno::EIO)),
            (Some(known(7, 1)), Ok(None), Ok((1, true))),
            (Some(known(7, 1)), on_disk(known(7, 2)), Ok((1, true))),
            (Some(known(7, 1)), on_disk(known(6, 2)), Ok((1, true))),
            (Some(known(7, 1)), on_disk(known(8, 2)), Ok((2, true))),
            (Some(known(7, 1)), of_another_boot(), Ok((1, true))),
            (Some(left), Ok(None), Ok((1, false))),
            // The disk cannot be read: for ever, or for a moment.
            (Some(known(7, 1)), Err(Errno::EIO), Ok((1, true))),
            (Some(known(7, 1)), Err(Errno::EACCES), Ok((1, true))),
            (Some(known(7, 1)), Err(Errno::EMFILE), Err(Errno::EMFILE)),
        ];
        for (number, (page, disk, expected)) in table.into_iter().enumerate() {
            let found = choose(page, disk, Vec::new).map(|past| (past.record.starts, past.resumes));
            assert_eq!(found, expected, "row {number}");
        }
    }

    fn deaths(numbers: std::ops::Range<u64>) -> Vec<Death> {
        let at = |number| Moment::ZERO.after(Duration::from_secs(number)).label;
        numbers
            .map(|number| Death { started: at(number), ended: at(number), exit: Exit::Code(1), counts: true })
            .collect()
    }

    #[test]
    fn deaths_that_had_no_room_on_the_page_are_those_of_the_disk() {
        let page = || Record { deaths: deaths(60..70), ..by(7, 5) };
        let table = [
            (None, deaths(60..70)),
            (Some(Record { deaths: deaths(0..70), ..by(7, 5) }), deaths(0..70)),
            // What could not be written to the disk is on the page.
            (Some(Record { deaths: deaths(0..65), ..by(7, 5) }), deaths(0..70)),
            (Some(Record { deaths: deaths(0..70), ..by(6, 5) }), deaths(60..70)),
        ];
        for (disk, expected) in table {
            assert_eq!(completed(page(), disk.clone(), Vec::new).deaths, expected);
            let logger = |record| Record { logger: Some(Box::new(record)), ..by(7, 5) };
            let disk = disk.map(|disk| Record { logger: Some(Box::new(disk.clone())), ..disk });
            let both = completed(logger(page()), disk, Vec::new);
            assert_eq!(both.logger.map(|logger| logger.deaths), Some(expected));
        }
    }

    /// What could not be written to the disk since a command is on the page.
    #[test]
    fn whether_a_death_counts_is_taken_from_the_page() {
        let forgiven = |deaths: Vec<Death>| deaths.into_iter().map(|death| Death { counts: false, ..death });
        let page = Record { deaths: forgiven(deaths(3..6)).collect(), ..by(7, 5) };
        let disk = Record { deaths: deaths(0..6), ..by(7, 5) };
        let expected: Vec<Death> = deaths(0..3).into_iter().chain(forgiven(deaths(3..6))).collect();
        assert_eq!(completed(page, Some(disk), Vec::new).deaths, expected);
    }

    #[test]
    fn settings_that_had_no_room_on_the_page_are_those_of_the_disk_or_of_the_files() {
        let runs = |pid| Some((Role::Run, Process { pid: Pid::from_raw(pid), ticks: 1, serial: 1 }));
        let settings = |text: &str| vec![("watchdog".to_string(), text.to_string())];
        let page =
            |text, left_out| Record { process: runs(20), settings: text, settings_left_out: left_out, ..by(7, 5) };
        let disk = |pid, serial| Some(Record { process: runs(pid), settings: settings("disk"), ..by(serial, 5) });
        let table = [
            (page(settings("page"), false), disk(20, 7), "page"),
            (page(Vec::new(), true), disk(20, 7), "disk"),
            // The disk does not know of this process, or not of this supervise.
            (page(Vec::new(), true), disk(19, 7), "files"),
            (page(Vec::new(), true), disk(20, 6), "files"),
            (page(Vec::new(), true), None, "files"),
        ];
        for (page, disk, expected) in table {
            let found = completed(page, disk, || settings("files"));
            assert_eq!((found.settings, found.settings_left_out), (settings(expected), false));
        }
        // A page without settings is not a page from which settings were left out.
        assert_eq!(completed(page(Vec::new(), false), None, || settings("files")).settings, Vec::new());
    }
}
