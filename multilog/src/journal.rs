//! The input buffer in a file. What multilog has read from the pipe and not yet written to a log directory outlives
//! multilog, however it ends, and the next multilog goes on with it.
//!
//! The file `journal` in a log directory, the first one unless another was left with one, is mapped into
//! memory, and input is read right into it. `layout` says what lies where in it.
//!
//! A checkpoint says how far the input was read, how much of it is in the directories, and how long the files there
//! were at that moment. It names the directories, as the next multilog may have another script. multilog writes a
//! checkpoint while the other one counts, and then makes the new one count by one store: whenever multilog is killed,
//! one of the two is whole. What a directory's file has beyond the noted length was being written when multilog was
//! killed; the next multilog cuts it off and writes it again.
//!
//! Before a read, multilog sets the last bytes of its destination to a value that the read cannot bring. If multilog is
//! killed in the read, these bytes show whether the read has happened.
//!
//! multilog also works without a journal. Where the file cannot be made, or others truncate or remove it, or its disk
//! has no room for what is stored there, the buffer is in memory only, and is lost when multilog is killed.
//!
//! | file | what it has | does I/O |
//! |---|---|---|
//! | `journal/checkpoint.rs` | what a checkpoint says | no |
//! | `journal/layout.rs` | what lies where in the file | no |
//! | `journal/buffer.rs` | what is stored when | no |
//! | `journal/verdict.rs` | what becomes of a journal that is found | no |
//! | `journal/hashed.rs` | the hashes by which the first format knew directories, inputs and boots | no |
//! | `journal/first_format.rs` | journals of the first format | no |
//! | `journal/place.rs` | how the file is found, made, and distinguished from other files | yes |

pub mod buffer;
pub mod checkpoint;
mod first_format;
mod hashed;
pub mod layout;
pub mod place;
pub mod verdict;

use crate::files;
use crate::router::Line;
use buffer::Buffer;
pub use checkpoint::{Checkpoint, CurrentFile, File, Id};
use daemontools::logdir::{self, CURRENT, JOURNAL};
use daemontools::sys::mapping::{self, Mapping};
use daemontools::sys::memory;
use daemontools::tai64::Moment;
use layout::{ROOM, START, Words};
use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::os::fd::{AsFd, OwnedFd};

/// Where there is little memory, the buffer has fewer bytes for input: the largest of these that there is.
const ROOMS: [usize; 4] = [ROOM, 64 * 1024, 16 * 1024, 4096];

impl Id {
    /// The identity of an open file.
    ///
    /// # Errors
    /// fstat(2) refuses.
    pub fn of(fd: impl AsFd) -> nix::Result<Id> {
        let stat = fstat(fd)?;
        Ok(Id { device: stat.st_dev, inode: stat.st_ino })
    }
}

impl From<&FileStat> for CurrentFile {
    fn from(stat: &FileStat) -> CurrentFile {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        CurrentFile {
            inode: stat.st_ino,
            size,
            is_complete: logdir::is_complete(stat),
            has_other_names: files::is_regular(stat) && stat.st_nlink != 1,
        }
    }
}

/// Where the bytes are.
enum Memory {
    /// In the file, or in what took its place.
    Mapped(Mapping),
    /// In this process only.
    Own(Vec<u8>),
}

impl Words for Memory {
    fn load(&self, index: usize) -> u64 {
        if let Memory::Mapped(map) = self { map.load(index) } else { 0 }
    }

    fn store(&mut self, index: usize, value: u64) {
        if let Memory::Mapped(map) = self {
            map.store(index, value);
        }
    }

    fn room(&self) -> &[u8] {
        match self {
            Memory::Mapped(map) => &map.bytes()[START..],
            Memory::Own(bytes) => bytes,
        }
    }

    fn room_mut(&mut self) -> &mut [u8] {
        match self {
            Memory::Mapped(map) => &mut map.bytes_mut()[START..],
            Memory::Own(bytes) => bytes,
        }
    }

    fn mend(&mut self) {
        if let Memory::Mapped(map) = self {
            map.touch_mut();
        }
    }
}

/// The input buffer.
pub struct Journal {
    buffer: Buffer<Memory>,
    /// The directory of the file; none if the buffer does not outlive multilog.
    folder: Option<OwnedFd>,
    /// How many bytes were lost with the file when it was given up, if that was not reported yet.
    lost: Option<usize>,
}

impl Journal {
    /// Makes a buffer in memory only, which is lost when multilog is killed.
    ///
    /// # Errors
    /// ENOMEM: there is no memory for it.
    pub fn in_memory() -> nix::Result<Journal> {
        let reserve = |room: usize| {
            let mut bytes = Vec::new();
            memory::may_fail(|| bytes.try_reserve_exact(room)).ok()?;
            bytes.resize(room, 0);
            Some(bytes)
        };
        let bytes = ROOMS.into_iter().find_map(reserve).ok_or(Errno::ENOMEM)?;
        Ok(Journal { buffer: Buffer::new(Memory::Own(bytes)), folder: None, lost: None })
    }

    /// Whether a multilog that did not use this journal has ended in order in its directory since.
    pub fn is_outdated(&self) -> bool {
        let Some(folder) = &self.folder else { return false };
        let Ok(current) = files::stat_at(folder, CURRENT) else { return false };
        let known = Id::of(folder).ok().and_then(|here| self.checkpoint().file_in(&here));
        verdict::is_outdated(known, current.as_ref().map(CurrentFile::from))
    }

    /// Since when its input was read, to put it before or after others.
    pub fn since(&self) -> u64 {
        self.buffer.since()
    }

    /// Whether the journal's bytes were read from this input.
    pub fn is_of(&self, input: &Id) -> bool {
        self.buffer.is_of(input)
    }

    /// Begins to read this input.
    pub fn begin(&mut self, input: Id) {
        let since = u64::try_from(Moment::now().uptime.as_nanos()).unwrap_or(u64::MAX);
        if self.buffer.begin(input, since) {
            let _ = self.sync();
        }
    }

    /// Marks the journal as complete and on the disk, so that the next multilog uses it also after another boot.
    ///
    /// # Errors
    /// EIO, ENOSPC, EDQUOT: the journal may not be on the disk.
    pub fn close(&mut self) -> nix::Result<()> {
        if !self.survives() {
            return Ok(());
        }
        self.sync()?;
        layout::set_closed(&mut self.buffer.words, true);
        self.sync()?;
        self.folder().map_or(Ok(()), daemontools::sys::directory::sync)
    }

    /// Whether a multilog has closed the journal, so that it is believed after another boot.
    pub fn is_closed(&self) -> bool {
        self.survives() && layout::is_closed(&self.buffer.words)
    }

    /// Synchronizes the journal.
    ///
    /// # Errors
    /// EIO, ENOSPC, EDQUOT: it may not be.
    pub fn sync(&self) -> nix::Result<()> {
        if let Memory::Mapped(map) = &self.buffer.words { map.sync() } else { Ok(()) }
    }

    /// Takes over the directories' files, after the log directories were put in order.
    pub fn adopt(&mut self, files: Vec<File>) {
        self.buffer.adopt(files);
    }

    /// Removes the file, after all that was in it is in the directories.
    pub fn remove(&self) {
        if let Some(folder) = &self.folder {
            let _ = unlinkat(folder, JOURNAL, UnlinkatFlags::NoRemoveDir);
        }
    }

    /// The checkpoint that counts.
    pub fn checkpoint(&self) -> &Checkpoint {
        self.buffer.checkpoint()
    }

    /// Whether its input outlives multilog.
    pub fn survives(&self) -> bool {
        self.folder.is_some() && matches!(self.buffer.words, Memory::Mapped(_))
    }

    /// The directory of the file, if the journal outlives multilog.
    pub fn folder(&self) -> Option<&OwnedFd> {
        self.folder.as_ref().filter(|_| self.survives())
    }

    /// Whether the journal's name still leads to its file. Where that cannot be told, it counts as in place.
    pub fn is_in_place(&self) -> bool {
        let (Some(folder), Memory::Mapped(map)) = (self.folder(), &self.buffer.words) else { return true };
        match (files::stat_at(folder, JOURNAL), fstat(map.file())) {
            (Ok(found), Ok(known)) => found.is_some_and(|found| files::is_same(&found, &known)),
            (Err(_), _) | (_, Err(_)) => true,
        }
    }

    /// Goes on in memory, as the place of the file is not usable any more. Removes the file, if it is there.
    pub fn leave_place(&mut self) {
        if self.is_in_place() {
            self.remove();
        }
        if self.survives() {
            // If another program has moved the file away and puts it back, the next multilog must not use it.
            layout::clear_journal(&mut self.buffer.words);
            if let Memory::Mapped(map) = &mut self.buffer.words {
                let _ = map.detach();
            }
        }
        self.folder = None;
    }

    /// The input that was read and is in no directory yet.
    pub fn data(&self) -> &[u8] {
        self.buffer.data()
    }

    /// Checks whether the file can still be used. If it cannot, the buffer is in memory from now on. Returns how many
    /// bytes of input were lost with the file, if any of this is new.
    pub fn look_after(&mut self) -> Option<usize> {
        if self.survives() {
            mapping::touch(self.data());
            let is_journal = layout::is_journal(&self.buffer.words);
            let Memory::Mapped(map) = &mut self.buffer.words else { return None };
            if !is_journal || map.readable().is_some() {
                // Where there is no memory the file stays mapped, as unusable as it is.
                let _ = map.detach();
                let readable = map.readable().filter(|_| is_journal);
                self.give_up_file(readable.unwrap_or(0), 0);
            }
        }
        self.lost.take()
    }

    /// Memory has taken the place of the file, of which `readable` bytes were readable. The last `fresh` of those
    /// that were read came later and are whole.
    fn give_up_file(&mut self, readable: usize, fresh: usize) {
        // What the file says is not true any more.
        self.remove();
        self.folder = None;
        self.lost = Some(self.buffer.lose_all_but(readable.saturating_sub(START), fresh));
    }

    /// Replaces this file, or the memory, by another file, which gets all of its input. `file` is a new journal, which
    /// has as much room as any.
    pub fn move_to(&mut self, mut file: Journal) {
        file.buffer.take_over(&self.buffer);
        // If the new journal has the same name, it has replaced this one already.
        if self.is_in_place() {
            self.remove();
        }
        // If another program has moved the file away and puts it back, the next multilog must not use it.
        layout::clear_journal(&mut self.buffer.words);
        *self = file;
    }

    /// How many bytes may be read now. What is left of a line is moved to the front to make room.
    pub fn room(&mut self) -> usize {
        self.buffer.room()
    }

    /// Reads exactly `length` bytes, which are known to be there, by `read`. `peek` shows the first few
    /// without taking them.
    ///
    /// # Errors
    /// What `read` or `peek` says.
    pub fn read(
        &mut self,
        length: usize,
        peek: impl FnOnce(&mut [u8]) -> nix::Result<usize>,
        read: impl FnMut(&mut [u8]) -> nix::Result<usize>,
    ) -> nix::Result<usize> {
        if !self.survives() {
            return self.buffer.read_unlogged(length, read);
        }
        let got = self.buffer.read(length, unlikely, peek, read);
        self.look_after_read(got)
    }

    /// Reads up to `length` bytes from an input that is no pipe, or is at its end. If multilog is killed in the read,
    /// the bytes are lost, as nothing shows whether they were read.
    ///
    /// # Errors
    /// What `read` says.
    pub fn read_unlogged(
        &mut self,
        length: usize,
        read: impl FnMut(&mut [u8]) -> nix::Result<usize>,
    ) -> nix::Result<usize> {
        let got = self.buffer.read_unlogged(length, read);
        self.look_after_read(got)
    }

    /// A read may have found that the file has no room for what was read, so that memory has taken its place.
    fn look_after_read(&mut self, got: nix::Result<usize>) -> nix::Result<usize> {
        let readable = if let Memory::Mapped(map) = &self.buffer.words { map.readable() } else { None };
        if let (Ok(fresh), Some(readable)) = (got, readable.filter(|_| self.survives())) {
            self.give_up_file(readable, fresh);
        }
        got
    }

    /// Takes in that `done` more bytes have been dealt with, and how long the directories' files are now.
    pub fn commit(&mut self, done: usize, line: Line, files: Vec<File>) {
        self.buffer.commit(done, line, files);
    }
}

/// Random bytes, which the input does not bring by chance.
fn unlikely() -> [u8; layout::SAFE] {
    let mut bytes = [0; layout::SAFE];
    for part in bytes.chunks_exact_mut(8) {
        part.copy_from_slice(&RandomState::new().hash_one(0).to_ne_bytes());
    }
    bytes
}
