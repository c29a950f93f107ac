//! A file mapped into memory and shared with whoever maps it later: what is stored there survives this
//! process, however it ends.

use nix::errno::Errno;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// A shared mapping of the beginning of a file.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// Maps the first `length` bytes of a file, which must have them: beyond its end, or where the disk has
    /// no room for them, touching the memory would be the end of us (SIGBUS). Nobody else may map or write it
    /// meanwhile: whoever calls this holds a lock that all who know the file respect.
    ///
    /// # Errors
    /// ENODEV: a file that cannot be mapped. ENOMEM: no room in the address space.
    pub fn new(file: impl AsFd, length: usize) -> nix::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let fd = file.as_fd().as_raw_fd();
        // SAFETY: the kernel chooses where; nothing of ours is replaced.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Mapping { start: NonNull::new(start.cast()).ok_or(Errno::ENOMEM)?, length })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped, readable, for as long as we live; nobody writes to it but we, by `&mut self`: see `new`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: mapped, writable, for as long as we live; `&mut self`, so nobody else here has a reference, and
        // nobody elsewhere may have one: see `new`.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// Word number `index` of eight bytes; 0 beyond the end.
    pub fn load(&self, index: usize) -> u64 {
        self.word(index).map_or(0, |word| word.load(Ordering::SeqCst))
    }

    /// Stores a word: all of it or nothing, after all that was stored before and before all that is after.
    pub fn store(&mut self, index: usize, value: u64) {
        if let Some(word) = self.word(index) {
            word.store(value, Ordering::SeqCst);
        }
    }

    fn word(&self, index: usize) -> Option<&AtomicU64> {
        let inside = index.checked_add(1)?.checked_mul(8)? <= self.length;
        // SAFETY: inside the mapping, which begins at a page, so that every eighth byte is aligned for a word. Where
        // it is stored to there is `&mut self`; so no slice of these bytes is there then.
        inside.then(|| unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(index * 8).cast()) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by us, and no reference into it is left.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_in_the_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        let mut mapping = Mapping::new(&file, 4096).unwrap();
        mapping.store(1, 0x0102);
        mapping.bytes_mut()[4095] = 7;
        drop(mapping);
        let again = Mapping::new(&file, 4096).unwrap();
        assert_eq!((again.load(1), again.load(511) >> 56, again.load(512)), (0x0102, 7, 0));
        assert_eq!(again.bytes()[8], 2);
    }
}
