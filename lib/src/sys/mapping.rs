//! A file mapped into memory and shared with later processes that map it. What is stored there survives this process,
//! however it ends.
//!
//! An access to a mapping can fail long after the mapping was made: the file was truncated, or the disk has no room for
//! a page (copy on write), or cannot be read. The kernel then sends SIGBUS, which would end the program. Here a signal
//! handler replaces the whole mapping by memory of this process, copies into it as much of the file as can be read, and
//! the failed access is repeated. From then on, nothing that is stored survives this process; [`Mapping::readable`]
//! tells.
//!
//! A system call that is given such memory does not cause SIGBUS but fails with EFAULT. The caller then lets the
//! handler do its work with [`touch`] or [`Mapping::touch_mut`], and repeats the call.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::fsync;
use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

/// The maximum number of mappings at a time.
const MOST: usize = 64;
/// The smallest page size.
const PAGE: usize = 4096;
/// Marks a place in the table that is being filled in.
const TAKEN: usize = 1;
/// Says that the mapping still shows the file.
const WHOLE: usize = usize::MAX;

/// What the handler must know of one mapping.
struct Entry {
    /// The address of the mapping; 0 if the entry is free.
    start: AtomicUsize,
    length: AtomicUsize,
    file: AtomicI32,
    /// [`WHOLE`]; or, once memory has replaced the file, how many bytes of the file could be read.
    readable: AtomicUsize,
}

static MAPPINGS: [Entry; MOST] = [const { Entry::new() }; MOST];

impl Entry {
    const fn new() -> Entry {
        Entry {
            start: AtomicUsize::new(0),
            length: AtomicUsize::new(0),
            file: AtomicI32::new(-1),
            readable: AtomicUsize::new(WHOLE),
        }
    }

    fn contains(&self, address: usize) -> bool {
        let start = self.start.load(Ordering::SeqCst);
        start > TAKEN && address >= start && address - start < self.length.load(Ordering::SeqCst)
    }

    /// Replaces the mapping by memory that contains what can be read of the file. A signal handler runs this, so it
    /// only makes system calls. Returns false if there is no memory.
    fn detach(&self) -> bool {
        let (start, length) = (self.start.load(Ordering::SeqCst), self.length.load(Ordering::SeqCst));
        let (protection, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: the kernel chooses the address, so nothing of ours is replaced.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, kind, -1, 0) };
        if memory == libc::MAP_FAILED {
            return false;
        }
        let readable = self.read_file(memory.cast(), length);
        let fixed = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: both are mappings of ours of this length. References into the old one stay valid for the new one,
        // which has the same address and is readable and writable.
        let moved = unsafe { libc::mremap(memory, length, length, fixed, start as *mut c_void) };
        if moved == libc::MAP_FAILED {
            return false;
        }
        self.readable.store(readable, Ordering::SeqCst);
        true
    }

    /// Reads the file into memory of this length, and returns how many bytes came before the first part that could not
    /// be read. Such parts are left as zeros.
    fn read_file(&self, memory: *mut u8, length: usize) -> usize {
        let (mut at, mut readable) = (0, WHOLE);
        while at < length {
            let file = self.file.load(Ordering::SeqCst);
            // SAFETY: the memory has this many bytes from `at` on, and nothing else refers to it.
            let read = unsafe { libc::pread(file, memory.add(at).cast(), length - at, at as libc::off_t) };
            match usize::try_from(read) {
                Ok(0) => return readable.min(at),
                Ok(read) => at += read,
                Err(_) if Errno::last() == Errno::EINTR => {}
                Err(_) => {
                    readable = readable.min(at);
                    at = (at / PAGE + 1) * PAGE;
                }
            }
        }
        readable.min(length)
    }
}

/// Handles a failed access to memory. If the address is in a mapping of ours, memory replaces the mapping and the
/// access is repeated. Otherwise the program ends as it would have without this handler.
extern "C" fn on_fault(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    let errno = Errno::last_raw();
    // SAFETY: a handler with SA_SIGINFO receives what is known of the signal. If an access has caused the signal (a
    // code above 0), and no process has sent it, this includes the address.
    let (is_access, address) = unsafe { ((*info).si_code > 0, (*info).si_addr() as usize) };
    let mended = is_access && MAPPINGS.iter().any(|entry| entry.contains(address) && entry.detach());
    if !mended {
        // SAFETY: no memory is touched. An access fails again, a signal that was sent is sent again, and either ends
        // the program.
        unsafe {
            libc::signal(libc::SIGBUS, libc::SIG_DFL);
            if !is_access {
                libc::raise(libc::SIGBUS);
            }
        }
    }
    Errno::set_raw(errno);
}

fn handle_faults() -> nix::Result<()> {
    // SAFETY: this is a struct of integers and a set, for which all zeros is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_flags = libc::SA_SIGINFO;
    action.sa_sigaction = on_fault as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
    // SAFETY: the handler makes system calls only, and touches no memory except atomics and what it has mapped itself.
    Errno::result(unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) })?;
    // If the signal were blocked, it would end the program without calling the handler.
    SigSet::from_iter([Signal::SIGBUS]).thread_unblock()
}

/// A shared mapping of the beginning of a file.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
    entry: usize,
    file: OwnedFd,
}

impl Mapping {
    /// Maps the first `length` bytes of a file, which should be that long. No other process may map or write the file
    /// meanwhile: the caller holds a lock that all programs which know the file respect.
    ///
    /// # Errors
    /// ENODEV, EINVAL, EOPNOTSUPP: the file cannot be mapped. ENOMEM: there is no room in the address space. EMFILE:
    /// there are too many mappings.
    pub fn new(file: OwnedFd, length: usize) -> nix::Result<Mapping> {
        handle_faults()?;
        let free = |entry: &Entry| entry.start.compare_exchange(0, TAKEN, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        let number = MAPPINGS.iter().position(free).ok_or(Errno::EMFILE)?;
        let entry = &MAPPINGS[number];
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the address, so nothing of ours is replaced.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        let mapped = if start == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(start) };
        let Some(start) = mapped.inspect_err(|_| entry.start.store(0, Ordering::SeqCst)).map(NonNull::new)? else {
            entry.start.store(0, Ordering::SeqCst);
            return Err(Errno::ENOMEM);
        };
        entry.length.store(length, Ordering::SeqCst);
        entry.file.store(file.as_raw_fd(), Ordering::SeqCst);
        entry.readable.store(WHOLE, Ordering::SeqCst);
        // This is stored last: it makes the entry valid.
        entry.start.store(start.as_ptr() as usize, Ordering::SeqCst);
        Ok(Mapping { start: start.cast(), length, entry: number, file })
    }

    /// `None` while stores go to the file. Once memory of this process has replaced the file, the number of bytes at
    /// its beginning that could be read then.
    pub fn readable(&self) -> Option<usize> {
        Some(MAPPINGS[self.entry].readable.load(Ordering::SeqCst)).filter(|readable| *readable != WHOLE)
    }

    /// Replaces the file by memory of this process. From then on nothing is read from the file or written to it.
    ///
    /// # Errors
    /// ENOMEM: the file is still mapped.
    pub fn detach(&mut self) -> nix::Result<()> {
        if self.readable().is_some() || MAPPINGS[self.entry].detach() { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// Writes what is stored to the disk, and waits for that.
    ///
    /// # Errors
    /// EIO, ENOSPC, EDQUOT: it may not be on the disk.
    pub fn sync(&self) -> nix::Result<()> {
        fsync(&self.file)
    }

    /// The mapped file.
    pub fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// The mapped bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the memory is mapped and readable as long as `self` lives. Only this process writes to it, by `&mut
        // self`; see `new`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// The mapped bytes, for writing.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the memory is mapped and writable as long as `self` lives. Because of `&mut self`, no other reference
        // exists in this process, and no other process may have one; see `new`.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// Makes each page writable. If that is not possible, memory replaces the mapping.
    pub fn touch_mut(&mut self) {
        for page in self.bytes_mut().chunks_mut(PAGE) {
            // SAFETY: this is a reference to a byte, which is given the value that it has.
            page.first_mut().into_iter().for_each(|byte| unsafe {
                std::ptr::from_mut(byte).write_volatile(std::ptr::from_ref(byte).read_volatile());
            });
        }
    }

    /// The word of eight bytes with the number `index`; 0 beyond the end.
    pub fn load(&self, index: usize) -> u64 {
        self.word(index).map_or(0, |word| word.load(Ordering::SeqCst))
    }

    /// Stores a whole word at once, after all earlier stores and before all later ones.
    pub fn store(&mut self, index: usize, value: u64) {
        if let Some(word) = self.word(index) {
            word.store(value, Ordering::SeqCst);
        }
    }

    fn word(&self, index: usize) -> Option<&AtomicU64> {
        let inside = index.checked_add(1)?.checked_mul(8)? <= self.length;
        // SAFETY: the word is inside the mapping, which begins at a page, so every eighth byte is aligned for a word. A
        // store needs `&mut self`, so no slice of these bytes exists then.
        inside.then(|| unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(index * 8).cast()) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        MAPPINGS[self.entry].start.store(TAKEN, Ordering::SeqCst);
        // SAFETY: this mapping is ours, and no reference into it is left.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
        MAPPINGS[self.entry].start.store(0, Ordering::SeqCst);
    }
}

/// Reads one byte of each page of these bytes. If they belong to a mapping and cannot be read, memory replaces the
/// mapping.
pub fn touch(bytes: &[u8]) {
    let ends = bytes.chunks(PAGE).map(|page| &page[0]).chain(bytes.last());
    for byte in ends {
        // SAFETY: this is a reference to a byte.
        let _ = unsafe { std::ptr::from_ref(byte).read_volatile() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn mapped() -> (File, Mapping) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 * PAGE as u64).unwrap();
        let mapping = Mapping::new(file.try_clone().unwrap().into(), 3 * PAGE).unwrap();
        (file, mapping)
    }

    #[test]
    fn what_is_stored_is_in_the_file() {
        let (file, mut mapping) = mapped();
        mapping.store(1, 0x0102);
        mapping.bytes_mut()[4095] = 7;
        assert_eq!(mapping.readable(), None);
        drop(mapping);
        let again = Mapping::new(file.into(), 4096).unwrap();
        assert_eq!((again.load(1), again.load(511) >> 56, again.load(512)), (0x0102, 7, 0));
        assert_eq!(again.bytes()[8], 2);
    }

    /// The file is truncated before a load, before a store, and before a system call that is repeated after a touch.
    #[test]
    fn a_file_that_is_truncated_leaves_what_is_left_of_it() {
        for way in 0..3 {
            let (file, mut mapping) = mapped();
            mapping.bytes_mut().fill(7);
            file.set_len(PAGE as u64 + 5).unwrap();
            match way {
                0 => assert_eq!(mapping.bytes()[2 * PAGE], 0),
                1 => mapping.store(2 * PAGE / 8, 1),
                _ => {
                    let (reader, writer) = std::io::pipe().unwrap();
                    assert_eq!(nix::unistd::write(&writer, &mapping.bytes()[2 * PAGE..]), Err(Errno::EFAULT));
                    touch(&mapping.bytes()[2 * PAGE..]);
                    assert_eq!(nix::unistd::write(&writer, &mapping.bytes()[2 * PAGE..]), Ok(PAGE));
                    drop(reader);
                }
            }
            assert_eq!(mapping.readable(), Some(PAGE + 5), "{way}");
            assert_eq!((mapping.bytes()[PAGE + 4], mapping.bytes()[PAGE + 5]), (7, 0));
            mapping.bytes_mut()[0] = 8;
            mapping.touch_mut();
            assert_eq!((mapping.bytes()[0], file.metadata().unwrap().len()), (8, PAGE as u64 + 5));
        }
    }

    #[test]
    fn a_mapping_that_is_detached_is_the_files_no_more() {
        let (file, mut mapping) = mapped();
        mapping.store(0, 5);
        mapping.detach().unwrap();
        mapping.store(1, 6);
        assert_eq!((mapping.readable(), mapping.load(0), mapping.load(1)), (Some(3 * PAGE), 5, 6));
        let again = Mapping::new(file.into(), PAGE).unwrap();
        assert_eq!((again.load(0), again.load(1)), (5, 0));
    }

    #[test]
    fn there_may_be_many_and_places_are_free_again() {
        for _ in 0..3 {
            let all: Vec<_> = (0..20).map(|_| mapped()).collect();
            assert!(all.iter().all(|(_, mapping)| mapping.readable().is_none()));
        }
    }
}
