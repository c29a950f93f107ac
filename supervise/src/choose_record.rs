//! Decides which record of the supervise before this one counts: the one on its page, or the one on the disk. No I/O.
//!
//! The record of the younger supervise counts. A page is short, so deaths and settings may have no room on it. If the
//! disk has a record of the same supervise, they are taken from there.

use daemontools::service::{Death, Process, Record};
use daemontools::sys::is_shortage;

/// The supervise before this one, as its records show it.
#[derive(Debug)]
pub struct Predecessor {
    /// The last record of that supervise.
    pub record: Record,
    /// Whether this supervise continues where that one ended. Otherwise only the history in the record counts.
    pub resumes: bool,
    /// Whether an account other than root and supervise's own could have written the record.
    pub may_be_forged: bool,
}

/// Chooses between the record on the page and the record on the disk. `settings` reads the service's settings from its
/// files.
///
/// # Errors
/// The disk cannot be read, and the page alone must not decide.
pub fn choose(
    page: Option<Record>,
    disk: nix::Result<Option<Predecessor>>,
    settings: impl FnOnce() -> Vec<(String, String)>,
) -> nix::Result<Predecessor> {
    let disk = match disk {
        // A shortage passes, so a later attempt can read both records. After any other error, such as EIO, the page
        // alone counts.
        Err(errno) if page.is_some() && !is_shortage(errno) => None,
        disk => disk?,
    };
    let is_newer = |disk: &Predecessor, page| disk.resumes && !disk.may_be_forged && is_younger(&disk.record, page);
    match page {
        Some(page) if !disk.as_ref().is_some_and(|disk| is_newer(disk, &page)) => {
            let record = completed(page, disk.map(|disk| disk.record), settings);
            let resumes = !record.has_left();
            Ok(Predecessor { record, resumes, may_be_forged: false })
        }
        Some(_) | None => {
            Ok(disk.unwrap_or_else(|| Predecessor { record: Record::blank(), resumes: false, may_be_forged: false }))
        }
    }
}

/// Completes the record of a page with what had no room there, from the disk if the same supervise has written both.
fn completed(page: Record, disk: Option<Record>, settings: impl FnOnce() -> Vec<(String, String)>) -> Record {
    let disk = disk.filter(|disk| disk.supervise.is_same_as(&page.supervise));
    let logger_on_disk = disk.as_ref().and_then(|disk| disk.logger.as_ref());
    let logger = page.logger.map(|logger| {
        let deaths = with_earlier(&logger.deaths, logger_on_disk.map(|disk| &disk.deaths[..]).unwrap_or_default());
        Box::new(Record { deaths, ..*logger })
    });
    let deaths = with_earlier(&page.deaths, disk.as_ref().map(|disk| &disk.deaths[..]).unwrap_or_default());
    // The record on the disk may be older than the page, so its settings count only for the process that it names.
    let of_this_process = disk.filter(|disk| disk.process == page.process).map(|disk| disk.settings);
    let settings = match page.settings_left_out {
        true => of_this_process.unwrap_or_else(settings),
        false => page.settings,
    };
    Record { logger, deaths, settings, settings_left_out: false, ..page }
}

/// Puts the deaths of `earlier` that are not in `deaths` before those. A death in both lists is taken from `deaths`.
fn with_earlier(deaths: &[Death], earlier: &[Death]) -> Vec<Death> {
    let is_known = |death: &Death| deaths.iter().any(|known| Death { counts: death.counts, ..*known } == *death);
    earlier.iter().filter(|death| !is_known(death)).chain(deaths).copied().collect()
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

    /// Makes a record that the tests recognize by its number of starts.
    fn known(serial: u64, starts: u64) -> Record {
        Record { starts, ..by(serial, 5) }
    }

    #[test]
    fn the_page_counts_unless_the_disk_knows_of_a_younger_supervise() {
        let on_disk = |record| Ok(Some(Predecessor { record, resumes: true, may_be_forged: false }));
        let of_another_boot = || Ok(Some(Predecessor { record: known(8, 2), resumes: false, may_be_forged: false }));
        let left = Record { leaving: true, ..known(7, 1) };
        type Row = (Option<Record>, nix::Result<Option<Predecessor>>, nix::Result<(u64, bool)>);
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
            // The disk cannot be read, in the first two rows for ever, in the last one for a moment.
            (Some(known(7, 1)), Err(Errno::EIO), Ok((1, true))),
            (Some(known(7, 1)), Err(Errno::EACCES), Ok((1, true))),
            (Some(known(7, 1)), Err(Errno::EMFILE), Err(Errno::EMFILE)),
        ];
        for (number, (page, disk, expected)) in table.into_iter().enumerate() {
            let found = choose(page, disk, Vec::new).map(|chosen| (chosen.record.starts, chosen.resumes));
            assert_eq!(found, expected, "row {number}");
        }
    }

    fn deaths(numbers: std::ops::Range<u64>) -> Vec<Death> {
        let at = |number| Moment::ZERO.after(Duration::from_secs(number)).label;
        numbers
            .map(|number| Death {
                started: at(number),
                ended: at(number),
                exit: Exit::Code(1),
                counts: true,
                is_told: false,
            })
            .collect()
    }

    #[test]
    fn deaths_that_had_no_room_on_the_page_are_those_of_the_disk() {
        let page = || Record { deaths: deaths(60..70), ..by(7, 5) };
        let table = [
            (None, deaths(60..70)),
            (Some(Record { deaths: deaths(0..70), ..by(7, 5) }), deaths(0..70)),
            // The page has the deaths that supervise could not write to the disk.
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

    /// The page has what supervise could not write to the disk since a command.
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
