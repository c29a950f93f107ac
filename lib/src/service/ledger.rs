//! svscan's ledger: what each supervise knows of its processes, kept in memory that outlives it.
//!
//! `supervise/state` lies on a disk that may be full, read-only or somebody else's, and may be removed. Were it all
//! that is known, a supervise that is killed then would be followed by a second copy of the service. So svscan makes a
//! file in memory with a page for each supervise that it starts, and supervise writes there what it writes into
//! `supervise/state`. Nobody but the two has the file: it has no name, and is closed in whatever supervise executes.
//! What is in it ends with the last of them, so that it never speaks of another boot, nor of a copied directory.
//!
//! A page is written by one pwrite(2) that stays within one page of memory, which a signal cannot cut short. But it may be
//! read in that moment, and then it is partly the text before. So the last eight bytes are a checksum of the text, and what
//! does not have the one that it says is read again. A supervise of an earlier version writes none.

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

/// The environment variable by which supervise knows its page: the number of the descriptor, a space, and the number of
/// the page.
pub const VARIABLE: &str = "SVSCAN_LEDGER";

/// The environment variable by which the supervise of a logger knows what its service is called in svscan's directory: it is
/// started with `log` for a name, as the original starts it.
pub const SERVICE: &str = "SVSCAN_SERVICE";

/// What is ours alone among the variables, and is taken away from what supervise executes.
pub fn taken_away() -> [(OsString, Option<OsString>); 3] {
    [VARIABLE, SERVICE, pocket::VARIABLE].map(|variable| (variable.into(), None))
}

/// Bytes of a page.
const PAGE: usize = 4096;
/// Of these the text has so many. After it are one NUL at least, and the checksum.
const TEXT: usize = PAGE - SUM - 1;
const SUM: usize = size_of::<u64>();
/// How often a page is read that is just being written, a millisecond apart: the writer has to get back to the processor.
const TRIES: u32 = 200;

/// The file, as svscan has it.
#[derive(Debug)]
pub struct Ledger {
    file: OwnedFd,
    /// Pages that were used and are free again, and how many were ever used.
    free: Vec<u32>,
    used: u32,
}

impl Ledger {
    /// A new one, without a page in use.
    ///
    /// # Errors
    /// EMFILE, ENOMEM; ENOSYS or EPERM where such files are not to be had.
    pub fn create() -> nix::Result<Ledger> {
        let file = memfd_create("svscan-ledger", MFdFlags::MFD_CLOEXEC)?;
        Ok(Ledger { file, free: Vec::new(), used: 0 })
    }

    /// One that an earlier svscan has made, with the pages that are in use.
    pub fn resume(file: OwnedFd, in_use: &[u32]) -> Ledger {
        let used = in_use.iter().max().map_or(0, |last| last + 1);
        let free = (0..used).filter(|page| !in_use.contains(page)).collect();
        Ledger { file, free, used }
    }

    /// A page that is empty, for a supervise.
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

    /// The supervise is gone, and with it its service.
    pub fn give_back(&mut self, page: u32) {
        self.free.push(page);
    }

    /// What is written on a page, if anything is.
    pub fn read(&self, page: u32) -> Option<String> {
        read(self.file.as_fd(), page)
    }

    /// The value of [`VARIABLE`] for a supervise that has the file as descriptor `number`.
    pub fn variable(number: i32, page: u32) -> String {
        format!("{number} {page}")
    }
}

impl AsFd for Ledger {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// One page, as supervise has it.
#[derive(Debug)]
pub struct Page {
    file: OwnedFd,
    page: u32,
}

impl Page {
    /// The one that svscan has given us, if it has; the descriptor is close-on-exec from now on.
    pub fn from_environment() -> Option<Page> {
        let value = std::env::var(VARIABLE).ok()?;
        let (number, page) = value.split_once(' ')?;
        let (number, page) = (number.parse().ok()?, page.parse().ok()?);
        let file = inherited_descriptor(number).ok()?;
        // A variable that was passed on by mistake must not make us write into another file.
        is_in_memory(file.as_fd()).then_some(Page { file, page })
    }

    /// What the supervise before this one has written.
    pub fn read(&self) -> Option<String> {
        read(self.file.as_fd(), self.page)
    }

    /// Writes what is to be known after us.
    ///
    /// # Errors
    /// EMSGSIZE: it is longer than a page. ENOSPC, ENOMEM: there is no memory. Then nothing is written there, as what was
    /// written before would be believed though it is not so any more.
    pub fn write(&self, text: &str) -> nix::Result<()> {
        write_or_blank(self.file.as_fd(), self.page, text)
    }
}

/// Whether it is a file that lies in memory and has no name.
fn is_in_memory(file: BorrowedFd) -> bool {
    let in_memory = file_system(file).is_ok_and(|found| found.kind == TMPFS_MAGIC);
    in_memory && fstat(file).is_ok_and(|file| file.st_nlink == 0)
}

/// The kind of the file system that the kernel's own memory files lie on.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// Whether a text has room on a page.
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

/// The text of a page, unless it was read while it was written.
fn whole_text(page: &[u8]) -> Option<&[u8]> {
    let text = page.split(|byte| *byte == 0).next()?;
    let sum = page.get(PAGE - SUM..).and_then(|sum| sum.try_into().ok()).map_or(0, u64::from_ne_bytes);
    // An earlier version's text may be as long as the page.
    let is_earlier = sum == 0 || text.len() > TEXT;
    (is_earlier || sum == checksum(text)).then_some(text)
}

/// Never 0.
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

    /// As the kernel copies a page: from its beginning on.
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
