//! svscan's ledger: the page of each supervise, and what supervise has written there (see
//! [`ledger`](daemontools::service::ledger)).
//!
//! A page is kept for as long as its service is known: each supervise of a service, or of its logger, reads what the one
//! before wrote. svscan reads it too, and believes it more than `supervise/state`, which may be missing, out of date or
//! forged.
//!
//! A supervise that an earlier svscan started in another process has its page in that svscan's ledger. svscan opens
//! that ledger through the supervise, and the next supervise gets the same page.

use crate::procfs::{process_path, variable_of};
use crate::table::{Id, Part, SuperviseId};
use daemontools::service::Record;
use daemontools::service::ledger::{self, Ledger};
use daemontools::sys::process::duplicate_above;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{Pid, dup3, geteuid};
use std::collections::HashMap;
use std::fs::read_link;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// What `/proc` says of a descriptor that is a ledger.
const LINK: &str = "/memfd:svscan-ledger";

/// A page, and the number of the file that is its ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PagePosition {
    ledger: u64,
    page: u32,
}

/// All ledgers in use, by the numbers of their files, and all pages.
#[derive(Debug)]
pub struct Pages {
    ledgers: HashMap<u64, Ledger>,
    /// The ledger of which new pages are taken.
    own: u64,
    pages: HashMap<SuperviseId, PagePosition>,
    /// What a supervise gets its ledger through: a descriptor with a low number, which is the same in svscan and in the
    /// supervise, so that it is no number of a descriptor that both have inherited.
    low_fd: OwnedFd,
}

/// What svscan gives a supervise.
pub struct Loan<'a> {
    /// The ledger, as this number.
    pub ledger: BorrowedFd<'a>,
    /// The value of the environment variable [`ledger::VARIABLE`].
    pub variable: String,
}

impl Pages {
    /// A new ledger, without a page in use.
    ///
    /// # Errors
    /// The system has no such files, or no memory, or no descriptor.
    pub fn new() -> nix::Result<Pages> {
        let ledger = Ledger::create()?;
        let low_fd = duplicate_above(&ledger, 3)?;
        let own = fstat(&ledger)?.st_ino;
        Ok(Pages { ledgers: HashMap::from([(own, ledger)]), own, pages: HashMap::new(), low_fd })
    }

    /// The ledgers of an earlier svscan in this process, its own first, and the pages in use: supervise, descriptor of
    /// the ledger, page.
    ///
    /// # Errors
    /// There is none.
    pub fn resume(files: Vec<OwnedFd>, pages: &[(SuperviseId, RawFd, u32)]) -> nix::Result<Pages> {
        let first = files.first().ok_or(nix::errno::Errno::EBADF)?;
        let low_fd = duplicate_above(first, 3)?;
        let own = fstat(first)?.st_ino;
        let mut resumed = Pages { ledgers: HashMap::new(), own, pages: HashMap::new(), low_fd };
        for file in files {
            let (number, ledger) = (file.as_raw_fd(), fstat(&file)?.st_ino);
            let of_it = pages.iter().filter(|(_, of, _)| *of == number);
            resumed.pages.extend(of_it.clone().map(|(which, _, page)| (*which, PagePosition { ledger, page: *page })));
            let in_use: Vec<u32> = of_it.map(|(_, _, page)| *page).collect();
            resumed.ledgers.insert(ledger, Ledger::resume(file, &in_use));
        }
        Ok(resumed)
    }

    /// The page that the next supervise of this part gets.
    ///
    /// # Errors
    /// There is no memory.
    pub fn lend(&mut self, which: SuperviseId) -> nix::Result<Loan<'_>> {
        let place = match self.pages.get(&which) {
            Some(place) => *place,
            None => {
                let ledger = self.ledgers.get_mut(&self.own).ok_or(nix::errno::Errno::ENOMEM)?;
                let place = PagePosition { ledger: self.own, page: ledger.take_page()? };
                self.pages.insert(which, place);
                place
            }
        };
        let ledger = self.ledgers.get(&place.ledger).ok_or(nix::errno::Errno::EBADF)?;
        dup3(ledger, &mut self.low_fd, OFlag::O_CLOEXEC)?;
        let variable = Ledger::variable(self.low_fd.as_raw_fd(), place.page);
        Ok(Loan { ledger: self.low_fd.as_fd(), variable })
    }

    /// What the last supervise of this part has written, if that supervise writes a record.
    pub fn record(&self, which: SuperviseId) -> Option<Record> {
        let place = self.pages.get(&which)?;
        let text = self.ledgers.get(&place.ledger)?.read(place.page)?;
        Some(Record::decode(&text)).filter(|record| record.supervise.pid.as_raw() > 0)
    }

    /// Looks for the page of a supervise that another svscan has started. It must be proven that it is a supervise: what
    /// it has is believed.
    pub fn find(&mut self, which: SuperviseId, pid: Pid) {
        if self.record(which).is_none_or(|record| record.supervise.pid != pid)
            && let Some((file, page)) = ledger_of(pid)
            && let Ok(ledger) = fstat(&file).map(|file| file.st_ino)
            // The supervise may not have written on its page yet.
            && self.pages.get(&which) != Some(&PagePosition { ledger, page })
        {
            self.release(which);
            self.ledgers.entry(ledger).or_insert_with(|| Ledger::resume(file, &[])).claim(page);
            self.pages.insert(which, PagePosition { ledger, page });
        }
    }

    /// Forgets what is kept for a service that is gone.
    pub fn forget(&mut self, id: Id) {
        [Part::Service, Part::Logger].into_iter().for_each(|part| self.release(SuperviseId { id, part }));
    }

    fn release(&mut self, which: SuperviseId) {
        let Some(PagePosition { ledger, page }) = self.pages.remove(&which) else { return };
        if ledger == self.own {
            if let Some(own) = self.ledgers.get_mut(&ledger) {
                own.give_back(page);
            }
        } else if !self.pages.values().any(|other| other.ledger == ledger) {
            self.ledgers.remove(&ledger);
        }
    }

    /// All ledgers, the own one first.
    pub fn ledgers(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let others = self.ledgers.iter().filter(|(number, _)| **number != self.own).map(|(_, ledger)| ledger);
        self.ledgers.get(&self.own).into_iter().chain(others).map(AsFd::as_fd)
    }

    /// All pages in use, and the descriptors of their ledgers.
    pub fn pages(&self) -> impl Iterator<Item = (SuperviseId, RawFd, u32)> {
        self.pages.iter().filter_map(|(which, place)| {
            Some((*which, self.ledgers.get(&place.ledger)?.as_fd().as_raw_fd(), place.page))
        })
    }
}

/// The ledger that a supervise has, opened anew, and its page there.
pub fn ledger_of(pid: Pid) -> Option<(OwnedFd, u32)> {
    let value = variable_of(pid, ledger::VARIABLE)?;
    let (number, page) = value.split_once(' ')?;
    let path = process_path(pid, &format!("fd/{}", number.parse::<u32>().ok()?));
    read_link(&path).ok()?.to_str().filter(|to| to.starts_with(LINK))?;
    let file = open(&path, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    // No other account has made it.
    let made = fstat(&file).ok()?;
    let ours = made.st_nlink == 0 && (made.st_uid == 0 || made.st_uid == geteuid().as_raw());
    let page = page.parse().ok().filter(|page| i64::from(*page) * 4096 < made.st_size)?;
    ours.then_some((file, page))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn which(inode: u64, part: Part) -> SuperviseId {
        SuperviseId { id: Id { device: 1, inode }, part }
    }

    /// What a supervise of an earlier version does with what it is given.
    fn write(pages: &mut Pages, which: SuperviseId, text: &str) -> u32 {
        let loan = pages.lend(which).unwrap();
        let (number, page) = loan.variable.split_once(' ').unwrap();
        assert_eq!(number, loan.ledger.as_raw_fd().to_string());
        let page: u32 = page.parse().unwrap();
        let bytes = [text.as_bytes(), &vec![0; 4096 - text.len()]].concat();
        nix::sys::uio::pwrite(loan.ledger, &bytes, i64::from(page) * 4096).unwrap();
        page
    }

    #[test]
    fn each_supervise_has_a_page_until_its_service_is_forgotten() {
        let mut pages = Pages::new().unwrap();
        let (main, log, other) = (which(1, Part::Service), which(1, Part::Logger), which(2, Part::Service));
        assert_eq!(pages.record(main), None);
        assert_eq!([write(&mut pages, main, "supervise 7 8 9\n"), write(&mut pages, log, "want up\n")], [0, 1]);
        assert_eq!(pages.record(main).unwrap().supervise.pid, Pid::from_raw(7));
        assert_eq!(pages.record(log), None, "not written by a supervise");
        assert_eq!(write(&mut pages, main, "supervise 10 11 12\n"), 0, "the next one has the same page");
        pages.forget(main.id);
        assert_eq!(pages.record(main), None);
        assert!(write(&mut pages, other, "") < 2, "a page that was given back");
        assert_eq!(pages.record(other), None);
    }

    #[test]
    fn pages_are_handed_on_with_ledgers_of_earlier_svscans() {
        let (mut earlier, mut before) = (Pages::new().unwrap(), Pages::new().unwrap());
        let (old, new) = (which(1, Part::Service), which(2, Part::Service));
        write(&mut earlier, old, "supervise 1 0 0\n");
        write(&mut before, new, "supervise 2 0 0\n");
        let files = [&before, &earlier].map(|pages| duplicate_above(pages.ledgers().next().unwrap(), 3).unwrap());
        let in_use = [(old, files[1].as_raw_fd(), 0), (new, files[0].as_raw_fd(), 0)];
        let mut after = Pages::resume(files.into(), &in_use).unwrap();
        let pid = |pages: &Pages, which| pages.record(which).map(|record| record.supervise.pid.as_raw());
        assert_eq!([old, new].map(|which| pid(&after, which)), [Some(1), Some(2)]);
        assert_eq!(write(&mut after, which(3, Part::Service), ""), 1, "pages that are in use are not taken");
        assert_eq!((after.ledgers().count(), after.pages().count()), (2, 3));
        after.forget(old.id);
        assert_eq!((after.ledgers().count(), after.pages().count()), (1, 2));
    }
}
