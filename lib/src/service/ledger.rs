//! svscan's ledger: what each supervise knows of its processes, kept in memory that outlives the supervise.
//!
//! `supervise/state` lies on a disk that may be full, read-only or another account's, and the file may be removed. If
//! it were the only record, the supervise that follows a killed one could start a second copy of the service. So svscan
//! makes a file in memory with one page for each supervise that it starts, and supervise writes there the same text as
//! into `supervise/state`. Only svscan and its supervises have the file open: it has no name, and is closed in every
//! program that supervise executes. The contents vanish with the last of these processes, so a page never describes
//! another boot or a copied directory.
//!
//! A page is written by one pwrite(2) that stays within one page of memory, so a signal cannot cut it short. But a
//! reader may read the page during the write and get a part of the old text. So the last eight bytes of the page are a
//! checksum of the text, and a page whose checksum does not match is read again. A supervise of an earlier version
//! writes no checksum.

use crate::hash::hash;
use crate::sys::pocket;
use crate::sys::{file_system, inherited_descriptor};
use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;
use nix::sys::uio::{pread, pwrite};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The environment variable that tells supervise its page: the descriptor's number, a space, and the page's number.
pub const VARIABLE: &str = "SVSCAN_LEDGER";

/// The environment variable that tells a logger's supervise the name of its service in svscan's directory. svscan
/// starts that supervise with the argument `log`, as the original svscan does.
pub const SERVICE: &str = "SVSCAN_SERVICE";

/// The environment variable that tells a supervise that svscan stops its service: the supervise takes charge of the
/// processes that the supervise before it has left, and starts nothing.
pub const STOPS: &str = "SVSCAN_STOPS";

/// The environment variable that tells a logger's supervise the directory to which it changes before all else. svscan gives
/// it where it cannot be sure that this takes no time, as the directory lies on another mount.
pub const FROM: &str = "SVSCAN_FROM";

/// The variables that only our programs use, and that supervise removes from the environment of the programs that it
/// executes.
pub fn taken_away() -> [(OsString, Option<OsString>); 5] {
    [VARIABLE, SERVICE, STOPS, FROM, pocket::VARIABLE].map(|variable| (variable.into(), None))
}

/// The size of a page in bytes.
const PAGE: usize = 4096;
/// The longest text on a page, in bytes. At least one NUL and the checksum follow it.
const TEXT: usize = PAGE - SUM - 1;
const SUM: usize = size_of::<u64>();
/// How often a reader tries to read a page that is being written, at intervals of a millisecond. The writer may have to
/// wait for the processor.
const TRIES: u32 = 200;

/// The file as svscan holds it.
#[derive(Debug)]
pub struct Ledger {
    file: OwnedFd,
    /// The pages that were used and are free again.
    free: Vec<u32>,
    used: u32,
}

impl Ledger {
    /// Makes a new ledger, with no page in use.
    ///
    /// # Errors
    /// EMFILE, ENOMEM; ENOSYS or EPERM where the system offers no such files.
    pub fn create() -> nix::Result<Ledger> {
        let file = memfd_create("svscan-ledger", MFdFlags::MFD_CLOEXEC)?;
        Ok(Ledger { file, free: Vec::new(), used: 0 })
    }

    /// Takes over a ledger that an earlier svscan has made. `in_use` lists the pages in use.
    pub fn resume(file: OwnedFd, in_use: &[u32]) -> Ledger {
        let mut ledger = Ledger { file, free: Vec::new(), used: 0 };
        in_use.iter().for_each(|page| ledger.claim(*page));
        ledger
    }

    /// Takes an empty page for a supervise.
    ///
    /// # Errors
    /// ENOMEM, ENOSPC: there is no memory.
    pub fn take_page(&mut self) -> nix::Result<u32> {
        let page = self.free.pop().unwrap_or_else(|| {
            self.used += 1;
            self.used - 1
        });
        match write(self.file.as_fd(), page, b"") {
            Ok(()) => Ok(page),
            Err(errno) => {
                self.free.push(page);
                Err(errno)
            }
        }
    }

    /// Notes that a page is in use which was not taken here.
    pub fn claim(&mut self, page: u32) {
        self.free.retain(|free| *free != page);
        self.free.extend(self.used..page);
        self.used = self.used.max(page + 1);
    }

    /// Frees a page whose supervise, and with it its service, is gone.
    pub fn give_back(&mut self, page: u32) {
        self.free.push(page);
    }

    /// The text on a page, if there is one.
    pub fn read(&self, page: u32) -> Option<String> {
        read(self.file.as_fd(), page)
    }

    /// The value of [`VARIABLE`] for a supervise that holds the file as descriptor `number`.
    pub fn variable(number: i32, page: u32) -> String {
        format!("{number} {page}")
    }
}

impl AsFd for Ledger {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// One page, as its supervise holds it.
#[derive(Debug)]
pub struct Page {
    file: OwnedFd,
    page: u32,
}

impl Page {
    /// The page that svscan has given us, if it has given one. The descriptor is close-on-exec from now on.
    pub fn from_environment() -> Option<Page> {
        let value = std::env::var(VARIABLE).ok()?;
        let (number, page) = value.split_once(' ')?;
        let (number, page) = (number.parse().ok()?, page.parse().ok()?);
        let file = inherited_descriptor(number).ok()?;
        // If the variable was passed on by mistake, the number may belong to another file, into which we must not
        // write.
        is_in_memory(file.as_fd()).then_some(Page { file, page })
    }

    /// The text that the supervise before this one has written.
    pub fn read(&self) -> Option<String> {
        read(self.file.as_fd(), self.page)
    }

    /// Writes the text for the next supervise to read.
    ///
    /// # Errors
    /// EMSGSIZE: the text is longer than a page. ENOSPC, ENOMEM: there is no memory. In these cases the page is
    /// emptied, because the next supervise would believe the old text although it is outdated.
    pub fn write(&self, text: &str) -> nix::Result<()> {
        write_or_blank(self.file.as_fd(), self.page, text)
    }
}

/// Whether the file lies in memory and has no name.
fn is_in_memory(file: BorrowedFd) -> bool {
    let in_memory = file_system(file).is_ok_and(|found| found.kind == TMPFS_MAGIC);
    in_memory && fstat(file).is_ok_and(|file| file.st_nlink == 0)
}

/// The type of the file system on which the kernel keeps its memory files, as fstatfs(2) reports it.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// Whether a text fits on a page.
pub fn has_room(text: &str) -> bool {
    text.len() <= TEXT
}

fn read(file: BorrowedFd, page: u32) -> Option<String> {
    let mut bytes = vec![0; PAGE];
    for _ in 0..TRIES {
        let length = pread(file, &mut bytes, offset(page)).ok()?;
        let bytes = bytes.get(..length)?;
        if let Some(text) = whole_text(bytes) {
            return Some(String::from_utf8_lossy(text).into_owned()).filter(|text| !text.is_empty());
        }
        let _ = poll(&mut [], PollTimeout::from(1u8));
    }
    None
}

/// The text of a page, or `None` if the page was read during a write.
fn whole_text(page: &[u8]) -> Option<&[u8]> {
    let text = page.split(|byte| *byte == 0).next()?;
    let sum = page.get(PAGE - SUM..).and_then(|sum| sum.try_into().ok()).map_or(0, u64::from_ne_bytes);
    // The text of an earlier version may fill the whole page.
    let is_earlier = sum == 0 || text.len() > TEXT;
    (is_earlier || sum == checksum(text)).then_some(text)
}

/// The checksum is never 0, because 0 stands for a page without one.
fn checksum(text: &[u8]) -> u64 {
    hash(text) | 1
}

fn write_or_blank(file: BorrowedFd, page: u32, text: &str) -> nix::Result<()> {
    let written = write(file, page, text.as_bytes());
    if written.is_err() {
        let _ = write(file, page, b"");
    }
    written
}

fn write(file: BorrowedFd, page: u32, text: &[u8]) -> nix::Result<()> {
    let mut bytes = vec![0; PAGE];
    bytes.get_mut(..TEXT).and_then(|room| room.get_mut(..text.len())).ok_or(Errno::EMSGSIZE)?.copy_from_slice(text);
    bytes.get_mut(PAGE - SUM..).ok_or(Errno::EMSGSIZE)?.copy_from_slice(&checksum(text).to_ne_bytes());
    match pwrite(file, &bytes, offset(page))? {
        PAGE => Ok(()),
        _ => Err(Errno::ENOSPC),
    }
}

fn offset(page: u32) -> i64 {
    i64::from(page) * 4096
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(ledger: &Ledger, page: u32) -> Page {
        Page { file: ledger.file.try_clone().unwrap(), page }
    }

    #[test]
    fn what_a_supervise_writes_the_next_one_reads_and_svscan_too() {
        let mut ledger = Ledger::create().unwrap();
        let (one, other) = (ledger.take_page().unwrap(), ledger.take_page().unwrap());
        assert_eq!((one, other), (0, 1));
        assert_eq!(page(&ledger, one).read(), None);
        page(&ledger, one).write("want up\n").unwrap();
        page(&ledger, other).write(&"x".repeat(TEXT)).unwrap();
        page(&ledger, one).write("up\n").unwrap();
        assert_eq!(page(&ledger, one).read().as_deref(), Some("up\n"));
        assert_eq!(ledger.read(other), Some("x".repeat(TEXT)));
        assert_eq!(page(&ledger, one).write(&"x".repeat(TEXT + 1)), Err(Errno::EMSGSIZE));
        assert_eq!(ledger.read(one), None, "what is not so any more");
    }

    #[test]
    fn a_page_that_is_in_use_is_not_taken() {
        let mut ledger = Ledger::create().unwrap();
        assert_eq!([ledger.take_page(), ledger.take_page()], [Ok(0), Ok(1)]);
        ledger.give_back(0);
        ledger.claim(0);
        ledger.claim(3);
        assert_eq!([ledger.take_page(), ledger.take_page()], [Ok(2), Ok(4)]);
    }

    /// The test copies the page as the kernel does, from the beginning.
    #[test]
    fn a_page_that_is_read_while_it_is_written_is_read_again() {
        let mut ledger = Ledger::create().unwrap();
        let number = ledger.take_page().unwrap();
        let bytes = |text: &str| {
            page(&ledger, number).write(text).unwrap();
            let mut bytes = vec![0; PAGE];
            pread(&ledger.file, &mut bytes, offset(number)).unwrap();
            bytes
        };
        let (before, after) = (bytes("want up\nphase starting\n"), bytes("want up\nphase failed\ndeath\n"));
        for copied in 1..PAGE {
            let torn = [&after[..copied], &before[copied..]].concat();
            let text = whole_text(&torn).map(|text| String::from_utf8_lossy(text).into_owned());
            assert!(text.is_none() || torn == before || torn == after, "{copied}: {text:?}");
        }
        pwrite(&ledger.file, &[&after[..20], &before[20..]].concat(), offset(number)).unwrap();
        let writer = page(&ledger, number);
        let end = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            writer.write("up\n").unwrap();
        });
        assert_eq!(ledger.read(number).as_deref(), Some("up\n"));
        end.join().unwrap();
    }

    #[test]
    fn a_page_of_an_earlier_version_has_no_checksum() {
        let mut ledger = Ledger::create().unwrap();
        let number = ledger.take_page().unwrap();
        for length in [5, TEXT, TEXT + 1, PAGE] {
            let text = "x".repeat(length);
            let bytes = [text.as_bytes(), &vec![0; PAGE - length]].concat();
            pwrite(&ledger.file, &bytes, offset(number)).unwrap();
            assert_eq!(ledger.read(number), Some(text), "{length}");
        }
    }

    #[test]
    fn another_file_is_not_taken_for_one() {
        assert!(is_in_memory(Ledger::create().unwrap().as_fd()));
        let scratch = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(scratch.path().join("log")).unwrap();
        assert!(!is_in_memory(file.as_fd()));
        assert!(!is_in_memory(std::fs::File::open("/dev/null").unwrap().as_fd()));
    }

    #[test]
    fn a_page_that_is_given_back_is_used_again_and_empty() {
        let mut ledger = Ledger::create().unwrap();
        let pages = [ledger.take_page().unwrap(), ledger.take_page().unwrap(), ledger.take_page().unwrap()];
        page(&ledger, pages[1]).write("old").unwrap();
        ledger.give_back(pages[1]);
        assert_eq!(ledger.take_page(), Ok(pages[1]));
        assert_eq!(ledger.read(pages[1]), None);
    }

    #[test]
    fn an_svscan_that_goes_on_knows_which_pages_are_free() {
        let mut before = Ledger::create().unwrap();
        for _ in 0..4 {
            before.take_page().unwrap();
        }
        page(&before, 2).write("kept").unwrap();
        let mut after = Ledger::resume(before.file.try_clone().unwrap(), &[0, 2]);
        assert_eq!(after.read(2).as_deref(), Some("kept"));
        assert_eq!([after.take_page(), after.take_page()], [Ok(1), Ok(3)]);
    }
}
