//! The input buffer, in a file: what was read from the pipe and is not yet safely in a log directory
//! outlives multilog, however it ends, and the next one goes on with it.
//!
//! The file `journal` in a log directory, the first one unless another was left with one, is mapped into
//! memory, and input is read right into it:
//!
//! ```text
//! word 0       not ours if it is not as expected; it has the format's version
//! word 16      which of the two checkpoints counts
//! word 17, 18  a read may be under way: how many bytes, and into which offset
//! word 19, 20  what lies at the end of that place until the read has happened
//! word 21      1: multilog has ended in order, and this is on the disk: it is good after another boot, too
//! word 22–24   the input that was read, by device and inode, and since when
//! word 32…     the boot, in words: worth nothing after another one, unless multilog has ended in order
//! word 64…     checkpoint 0, word 384…: checkpoint 1 (see `Checkpoint`)
//! byte 8192…   the bytes read
//! ```
//!
//! A checkpoint says how far the input was read, how far it is in the directories, and how long the files there
//! were at that moment. It names the directories: the next multilog may have another script. A checkpoint is written
//! while the other one counts, and then one store makes it count:
//! whenever multilog is killed, one of them is whole. What a directory's file has beyond the noted length
//! was being written when multilog was killed; it is cut off and written again.
//!
//! Whether a read has happened that multilog was killed in is told by its destination: before, the
//! place's last bytes are set to what cannot come.
//!
//! The journal is a help, not a condition. Where it cannot be made, or is truncated or removed by others, or its disk
//! has no room for what is stored there, the buffer is in memory only, and dies with multilog.

mod before;
mod place;

use crate::files;
use crate::router::Line;
use crate::steps::{MOST_DIRECTORIES, OUTPUT};
use daemontools::logdir::{self, CURRENT, JOURNAL};
use daemontools::sys::mapping::{self, Mapping};
use daemontools::sys::memory;
use daemontools::tai64::Moment;
use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::unistd::{UnlinkatFlags, unlinkat};
pub use place::{Left, find, is_blocked, make};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

/// Bytes for input.
const ROOM: usize = 256 * 1024;
const START: usize = 8192;
const SIZE: usize = START + ROOM;
/// Where there is little memory, the buffer has fewer: the largest of these that there is.
const ROOMS: [usize; 4] = [ROOM, 64 * 1024, 16 * 1024, 4096];
const MOST_FILES: usize = MOST_DIRECTORIES;

const KIND: usize = 0;
const ACTIVE: usize = 16;
const READING: usize = 17;
const OFFSET: usize = 18;
const SENTINEL: usize = 19;
const CLOSED: usize = 21;
const INPUT: usize = 22;
const SINCE: usize = 24;
const BOOT: Range<usize> = 32..48;
const CHECKPOINTS: [usize; 2] = [64, 384];

/// In front of every journal of this format.
const OURS: u64 = u64::from_ne_bytes(*b"\x7fjourna2");

/// Bytes of a sentinel that random ones make safe.
const SAFE: usize = 16;

/// Which directory or which input it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Id {
    device: u64,
    inode: u64,
}

/// In the place of a device: the inode is a hash of both. In the place of a device that may have another number now.
const HASHED: u64 = u64::MAX;
const ANY: u64 = u64::MAX - 1;

impl Id {
    /// The identity of an open file.
    ///
    /// # Errors
    /// fstat(2) refuses.
    pub fn of(fd: impl AsFd) -> nix::Result<Id> {
        let stat = fstat(fd)?;
        Ok(Id { device: stat.st_dev, inode: stat.st_ino })
    }

    fn hashed(hash: u64) -> Id {
        Id { device: HASHED, inode: hash }
    }

    /// Whether this identity, read from a journal, is that of `known`, which was asked of an open file.
    pub fn is(&self, known: &Id) -> bool {
        match self.device {
            HASHED => self.inode == before::hash_of_numbers(known.device, known.inode),
            ANY => self.inode == known.inode,
            _ => self == known,
        }
    }
}

/// A directory's current file at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct File {
    /// Which directory it is in.
    pub folder: Id,
    /// Which file it is.
    pub inode: u64,
    /// The length of the file.
    pub size: u64,
    /// At most this many bytes are being written beyond its size.
    pub underway: u64,
}

impl File {
    /// Whether no other program has written to the file since the checkpoint.
    pub fn is_still(&self, inode: u64, size: u64) -> bool {
        inode == self.inode && (self.size..=self.size.saturating_add(self.underway)).contains(&size)
    }
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many bytes of the room are filled.
    pub filled: usize,
    /// How many of these bytes are in the directories.
    pub done: usize,
    /// Where in a line that is.
    pub line: Line,
    /// The directories' files, in the script's order.
    pub files: Vec<File>,
}

impl Checkpoint {
    fn blank() -> Checkpoint {
        Checkpoint { filled: 0, done: 0, line: Line::Fresh, files: Vec::new() }
    }
}

/// Where the bytes are.
enum Memory {
    /// In the file, or in what took its place.
    Mapped(Mapping),
    /// In this process only.
    Own(Vec<u8>),
}

/// The input buffer.
pub struct Journal {
    memory: Memory,
    checkpoint: Checkpoint,
    /// Where it is still there after we are killed.
    folder: Option<OwnedFd>,
    /// How many bytes went with the file when it was given up, if that is not told yet.
    lost: Option<usize>,
    /// The input that was read; none after another boot.
    input: Option<Id>,
    since: u64,
}

impl Journal {
    /// One that dies with us.
    ///
    /// # Errors
    /// No memory.
    pub fn in_memory() -> nix::Result<Journal> {
        let reserve = |room: usize| {
            let mut bytes = Vec::new();
            memory::may_fail(|| bytes.try_reserve_exact(room)).ok()?;
            bytes.resize(room, 0);
            Some(bytes)
        };
        let bytes = ROOMS.into_iter().find_map(reserve).ok_or(Errno::ENOMEM)?;
        Ok(Journal {
            memory: Memory::Own(bytes),
            checkpoint: Checkpoint::blank(),
            folder: None,
            lost: None,
            input: None,
            since: 0,
        })
    }

    /// Whether a multilog that knows nothing of it has ended in order in its directory since.
    pub fn is_outdated(&self) -> bool {
        let Some(folder) = &self.folder else { return false };
        let Ok(Some(current)) = files::stat_at(folder, CURRENT) else { return false };
        let here = Id::of(folder);
        let known = self.checkpoint.files.iter().find(|file| here.is_ok_and(|here| file.folder.is(&here)));
        let is_known = known.is_none_or(|known| known.is_still(current.st_ino, current.st_size as u64));
        logdir::is_complete(&current) && !is_known
    }

    /// Since when its input was read, to put it before or after others.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// Whether the journal's bytes were read from this input.
    pub fn is_of(&self, input: &Id) -> bool {
        self.input.is_some_and(|read| read.is(input))
    }

    /// From now on it is this input that is read.
    pub fn begin(&mut self, input: Id) {
        self.input = Some(input);
        self.since = u64::try_from(Moment::now().uptime.as_nanos()).unwrap_or(u64::MAX);
        let since = self.since;
        if let Memory::Mapped(map) = &mut self.memory {
            map.store(INPUT, input.device);
            map.store(INPUT + 1, input.inode);
            map.store(SINCE, since);
            if map.load(CLOSED) != 0 {
                map.store(CLOSED, 0);
                // Else it would be believed after a power cut, as it was when it was closed.
                let _ = map.sync();
            }
        }
    }

    /// Multilog ends in order, and what is in here is for the next one, be it after another boot.
    ///
    /// # Errors
    /// EIO, ENOSPC, EDQUOT: it may not be on the disk.
    pub fn close(&mut self) -> nix::Result<()> {
        if let (Some(folder), Memory::Mapped(map)) = (&self.folder, &mut self.memory) {
            map.sync()?;
            map.store(CLOSED, 1);
            map.sync()?;
            daemontools::sys::directory::sync(folder)?;
        }
        Ok(())
    }

    /// From now on these are the directories' files. Of a line of which none of them has the beginning, the rest
    /// counts as a line, or it would be lost.
    pub fn adopt(&mut self, files: Vec<File>) {
        let line = match self.checkpoint.line {
            Line::Within(to) if to != 0 => {
                let went = self.checkpoint.files.iter().enumerate().filter(|(number, _)| to >> number & 1 == 1);
                let now = went.filter_map(|(_, file)| files.iter().position(|other| file.folder.is(&other.folder)));
                match now.fold(to & OUTPUT, |all, number| all | 1 << number) {
                    0 => Line::Fresh,
                    to => Line::Within(to),
                }
            }
            line => line,
        };
        self.commit(0, line, files);
    }

    /// Takes it away: all that was in it is in the directories.
    pub fn remove(&self) {
        if let Some(folder) = &self.folder {
            let _ = unlinkat(folder, JOURNAL, UnlinkatFlags::NoRemoveDir);
        }
    }

    /// How things stand.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Whether input in it is safe though it is in no directory yet.
    pub fn survives(&self) -> bool {
        self.folder.is_some() && matches!(self.memory, Memory::Mapped(_))
    }

    /// Where it lies, if it survives.
    pub fn folder(&self) -> Option<&OwnedFd> {
        self.folder.as_ref().filter(|_| self.survives())
    }

    /// Whether the journal's name still leads to its file. Where that cannot be told, it counts as in place.
    pub fn is_in_place(&self) -> bool {
        let (Some(folder), Memory::Mapped(map)) = (self.folder(), &self.memory) else { return true };
        match (files::stat_at(folder, JOURNAL), fstat(map.file())) {
            (Ok(found), Ok(known)) => found.is_some_and(|found| files::is_same(&found, &known)),
            (Err(_), _) | (_, Err(_)) => true,
        }
    }

    /// The file's place is no good any more: from now on it is in memory. Takes the file away, if it is there.
    pub fn leave_place(&mut self) {
        if self.is_in_place() {
            self.remove();
        }
        if let (true, Memory::Mapped(map)) = (self.survives(), &mut self.memory) {
            // Who has moved the file away may put it back: the next multilog must not take it for its journal.
            map.store(KIND, 0);
            let _ = map.detach();
        }
        self.folder = None;
    }

    /// What was read and is not done.
    pub fn data(&self) -> &[u8] {
        &self.bytes()[self.checkpoint.done..self.checkpoint.filled]
    }

    fn bytes(&self) -> &[u8] {
        match &self.memory {
            Memory::Mapped(map) => &map.bytes()[START..],
            Memory::Own(bytes) => bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Mapped(map) => &mut map.bytes_mut()[START..],
            Memory::Own(bytes) => bytes,
        }
    }

    fn store(&mut self, word: usize, value: u64) {
        if let Memory::Mapped(map) = &mut self.memory {
            map.store(word, value);
        }
    }

    /// Looks whether the file can still be used. If it cannot, the buffer is in memory from now on: how many bytes that
    /// were read and are in no directory are lost with that.
    pub fn look_after(&mut self) -> Option<usize> {
        if self.survives() {
            mapping::touch(self.data());
            let Memory::Mapped(map) = &mut self.memory else { return None };
            let is_journal = map.load(KIND) == OURS;
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
        // What the file says is not so any more.
        self.remove();
        self.folder = None;
        let before = self.checkpoint.filled - fresh;
        let whole = readable.saturating_sub(START).clamp(self.checkpoint.done, before);
        self.bytes_mut().copy_within(before..before + fresh, whole);
        self.checkpoint.filled = whole + fresh;
        self.lost = Some(before - whole);
    }

    /// Another file takes the place of this one, or of the memory, with all that is in it; `file` is a new journal,
    /// which has as much room as any.
    pub fn move_to(&mut self, mut file: Journal) {
        let left = self.data();
        file.bytes_mut()[..left.len()].copy_from_slice(left);
        file.checkpoint = Checkpoint { filled: left.len(), done: 0, ..self.checkpoint.clone() };
        file.write_checkpoint();
        // If the new journal has the same name, it has replaced this one already.
        if self.is_in_place() {
            self.remove();
        }
        // Who has moved it away may put it back: the next multilog must not take it for the journal.
        self.store(KIND, 0);
        *self = file;
    }

    /// How much may be read now. What little is left of a line is moved to the front for that.
    pub fn room(&mut self) -> usize {
        let room = self.bytes().len();
        let left = self.checkpoint.filled - self.checkpoint.done;
        if left == 0 && self.checkpoint.filled > 0
            || room - self.checkpoint.filled < room / 2 && left <= self.checkpoint.done
        {
            let from = self.checkpoint.done;
            // Without overlap: what counts until the next checkpoint is not touched.
            self.bytes_mut().copy_within(from..from + left, 0);
            (self.checkpoint.done, self.checkpoint.filled) = (0, left);
            self.write_checkpoint();
        }
        room - self.checkpoint.filled
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
        let place = self.checkpoint.filled..self.checkpoint.filled + length;
        if self.survives() {
            match self.expect(place.clone(), peek) {
                Ok(()) => {}
                Err(errno @ (Errno::EAGAIN | Errno::EINTR)) => return Err(errno),
                // What fails is to look at the input, not to read it.
                Err(_) => return self.read_unlogged(length, read),
            }
        }
        self.read_into(place, read)?;
        // The checkpoint first: until then the read is still under way, and told by its destination.
        self.write_checkpoint();
        self.store(READING, 0);
        Ok(length)
    }

    /// Reads up to `length` bytes from something that is no pipe, or at its end; killed in the middle of that,
    /// they are lost, as nothing tells whether they were read.
    ///
    /// # Errors
    /// What `read` says.
    pub fn read_unlogged(
        &mut self,
        length: usize,
        read: impl FnMut(&mut [u8]) -> nix::Result<usize>,
    ) -> nix::Result<usize> {
        let got = self.read_into(self.checkpoint.filled..self.checkpoint.filled + length, read)?;
        self.write_checkpoint();
        Ok(got)
    }

    fn read_into(
        &mut self,
        place: Range<usize>,
        mut read: impl FnMut(&mut [u8]) -> nix::Result<usize>,
    ) -> nix::Result<usize> {
        let got = match read(&mut self.bytes_mut()[place.clone()]) {
            Err(Errno::EFAULT) => {
                // The file has no room for it: memory takes its place.
                if let Memory::Mapped(map) = &mut self.memory {
                    map.touch_mut();
                }
                read(&mut self.bytes_mut()[place])?
            }
            got => got?,
        };
        self.checkpoint.filled += got;
        let readable = if let Memory::Mapped(map) = &self.memory { map.readable() } else { None };
        if let Some(readable) = readable.filter(|_| self.survives()) {
            self.give_up_file(readable, got);
        }
        Ok(got)
    }

    /// Writes down how a read can be told to have happened.
    fn expect(&mut self, place: Range<usize>, peek: impl FnOnce(&mut [u8]) -> nix::Result<usize>) -> nix::Result<()> {
        let length = place.len();
        let shown = length.min(SAFE);
        let mut last = [0; SAFE];
        if length < SAFE {
            // Too few bytes for chance: they are looked at, and the last one is made another.
            if peek(&mut last[..shown])? != shown {
                return Err(Errno::EAGAIN);
            }
            last[shown - 1] = !last[shown - 1];
        } else {
            let random = [RandomState::new().hash_one(0), RandomState::new().hash_one(1)];
            last[..8].copy_from_slice(&random[0].to_ne_bytes());
            last[8..].copy_from_slice(&random[1].to_ne_bytes());
        }
        self.bytes_mut()[place.end - shown..place.end].copy_from_slice(&last[..shown]);
        self.store(SENTINEL, u64::from_ne_bytes(eight(&last[..8])));
        self.store(SENTINEL + 1, u64::from_ne_bytes(eight(&last[8..])));
        self.store(OFFSET, place.start as u64);
        self.store(READING, length as u64);
        Ok(())
    }

    /// Takes in that `done` more bytes have been dealt with, and how long the directories' files are now.
    pub fn commit(&mut self, done: usize, line: Line, files: Vec<File>) {
        self.checkpoint = Checkpoint { filled: self.checkpoint.filled, done: self.checkpoint.done + done, line, files };
        self.write_checkpoint();
    }

    fn write_checkpoint(&mut self) {
        if !self.survives() {
            return;
        }
        let Memory::Mapped(map) = &mut self.memory else { return };
        let next = 1 - map.load(ACTIVE) % 2;
        write_checkpoint_to(map, &self.checkpoint, next as usize);
        map.store(ACTIVE, next);
    }
}

/// Writes a checkpoint to one of the two places. It does not count yet.
fn write_checkpoint_to(map: &mut Mapping, checkpoint: &Checkpoint, place: usize) {
    let (within, to) = match checkpoint.line {
        Line::Fresh => (0, 0),
        Line::Within(to) => (1, to),
    };
    let fixed = [checkpoint.filled as u64, checkpoint.done as u64, within, to, checkpoint.files.len() as u64];
    let words = |file: &File| [file.folder.device, file.folder.inode, file.inode, file.size, file.underway];
    let words = fixed.into_iter().chain(checkpoint.files.iter().flat_map(words));
    words.enumerate().for_each(|(index, value)| map.store(CHECKPOINTS[place] + index, value));
}

/// The checkpoint that counts, and a read that it does not know of but that has happened.
fn read_checkpoint(map: &Mapping) -> Checkpoint {
    let word = CHECKPOINTS[(map.load(ACTIVE) % 2) as usize];
    let at = |index: usize| map.load(word + index);
    let files = (0..usize::try_from(at(4)).unwrap_or(0).min(MOST_FILES)).map(|file| 5 + 5 * file);
    let file = |i| File {
        folder: Id { device: at(i), inode: at(i + 1) },
        inode: at(i + 2),
        size: at(i + 3),
        underway: at(i + 4),
    };
    let mut checkpoint = Checkpoint {
        filled: at(0) as usize,
        done: at(1) as usize,
        line: checkpoint_line(at(2), at(3)),
        files: files.map(file).collect(),
    };
    let words = [map.load(SENTINEL), map.load(SENTINEL + 1)];
    checkpoint.filled +=
        read_happened(map.bytes(), (map.load(READING), map.load(OFFSET)), words, checkpoint.filled).unwrap_or(0);
    checkpoint
}

fn checkpoint_line(within: u64, to: u64) -> Line {
    if within == 1 { Line::Within(to) } else { Line::Fresh }
}

/// How much a read took that the checkpoint does not know of, but that has changed its destination.
fn read_happened(bytes: &[u8], (length, offset): (u64, u64), sentinel: [u64; 2], filled: usize) -> Option<usize> {
    let (length, offset) = (usize::try_from(length).ok()?, usize::try_from(offset).ok()?);
    if length == 0 || offset != filled || offset.checked_add(length)? > ROOM {
        return None;
    }
    let end = START + offset + length;
    let shown = length.min(SAFE);
    let words = sentinel.map(u64::to_ne_bytes).concat();
    (bytes.get(end - shown..end)? != &words[..shown]).then_some(length)
}

fn eight(bytes: &[u8]) -> [u8; 8] {
    bytes.try_into().unwrap_or_default()
}
