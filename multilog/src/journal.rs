//! The input buffer, in a file: what was read from the pipe and is not yet safely in a log directory
//! outlives multilog, however it ends, and the next one goes on with it.
//!
//! The file `journal` in a log directory, the first one unless another was left with one, is mapped into
//! memory, and input is read right into it:
//!
//! ```text
//! word 0      not ours if it is not as expected
//! word 1      which of the two notes counts
//! word 2, 3   a read of so many bytes into so far an offset may be under way
//! word 4, 5   what lies at the end of that place until the read has happened
//! word 6      the boot: worth nothing after another one
//! word 7, 8   the input that was read, and since when
//! word 64…    note 0, word 384…: note 1 (see `Note`)
//! byte 8192…  the bytes read
//! ```
//!
//! A note says how far the input was read, how far it is in the directories, and how long the files there
//! were at that moment. It names the directories: the next multilog may have another script. A note is written while the other one counts, and then one store makes it count:
//! whenever multilog is killed, one of them is whole. What a directory's file has beyond the noted length
//! was being written when multilog was killed; it is cut off and written again.
//!
//! Whether a read has happened that multilog was killed in is told by its destination: before, the
//! place's last bytes are set to what cannot come.

use crate::router::Line;
use crate::steps::{MOST_DIRECTORIES, OUTPUT};
use daemontools::report::errno_of;
use daemontools::sys::mapping::Mapping;
use daemontools::sys::process::boot_id;
use daemontools::tai64::Moment;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, FallocateFlags, OFlag, fallocate, openat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::sys::uio::pread;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, OwnedFd};

/// The file's name in the log directory.
pub const JOURNAL: &str = "journal";

/// Bytes for input.
const ROOM: usize = 256 * 1024;
const START: usize = 8192;

const KIND: usize = 0;
const COUNTS: usize = 1;
const READING: usize = 2;
const OFFSET: usize = 3;
const SENTINEL: usize = 4;
const BOOT: usize = 6;
const INPUT: usize = 7;
const SINCE: usize = 8;
const NOTES: [usize; 2] = [64, 384];

/// In front of every journal of this kind.
const OURS: u64 = u64::from_ne_bytes(*b"\x7fjournal");

/// Bytes of a sentinel that random ones make safe.
const SAFE: usize = 16;

/// A directory's current file at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct File {
    /// Which directory it is in, as [`id`] has it.
    pub folder: u64,
    /// Which file it is.
    pub inode: u64,
    /// Its length.
    pub size: u64,
    /// At most so many bytes are being written beyond its size.
    pub underway: u64,
}

impl File {
    /// Whether nobody has written to it since, but whoever noted it.
    pub fn is_still(&self, inode: u64, size: u64) -> bool {
        inode == self.inode && (self.size..=self.size.saturating_add(self.underway)).contains(&size)
    }
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// So much of the room is filled.
    pub filled: usize,
    /// So much of it is in the directories.
    pub done: usize,
    /// Where in a line that is.
    pub line: Line,
    /// The directories' files, in the script's order.
    pub files: Vec<File>,
}

impl Note {
    fn blank() -> Note {
        Note { filled: 0, done: 0, line: Line::Fresh, files: Vec::new() }
    }
}

/// The input buffer.
pub struct Journal {
    map: Mapping,
    note: Note,
    /// Where it is still there after we are killed.
    folder: Option<OwnedFd>,
}

impl Journal {
    /// Opens or makes the journal in a log directory, whose lock is held. Without a directory, or where
    /// there is no room, the buffer is in memory only and dies with us.
    ///
    /// # Errors
    /// No memory.
    pub fn open(directory: Option<&OwnedFd>) -> nix::Result<Journal> {
        if let Some(folder) = directory {
            if let Some(journal) = Journal::find(folder)? {
                return Ok(journal);
            }
            if let Ok(journal) = make(folder) {
                return Ok(journal);
            }
        }
        let memory = nix::sys::memfd::memfd_create("journal", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?;
        fill(&memory)?;
        Ok(Journal { map: Mapping::new(&memory, START + ROOM)?, note: Note::blank(), folder: None })
    }

    /// The journal that was left in a log directory, whose lock is held.
    ///
    /// # Errors
    /// There may be one, and it cannot be read now.
    pub fn find(directory: &OwnedFd) -> nix::Result<Option<Journal>> {
        let map = match open_file(directory) {
            Ok(Some(map)) if map.load(KIND) == OURS => map,
            Ok(_) => return Ok(None),
            // It is none, or not ours to write.
            Err(Errno::ENOENT | Errno::ELOOP | Errno::EISDIR | Errno::ENXIO | Errno::ENODEV) => return Ok(None),
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        if map.load(BOOT) != boot() {
            // Nobody will need it.
            let _ = unlinkat(directory, JOURNAL, UnlinkatFlags::NoRemoveDir);
            return Ok(None);
        }
        let mut journal = Journal { map, note: Note::blank(), folder: Some(again(directory)?) };
        journal.recover();
        Ok(Some(journal))
    }

    /// Whether a multilog that knows nothing of it has ended in order in its directory since.
    pub fn is_outdated(&self) -> bool {
        let Some(folder) = &self.folder else { return false };
        let Ok(current) = fstatat(folder, "current", AtFlags::empty()) else { return false };
        let known = self.note.files.iter().find(|file| Ok(file.folder) == id(folder));
        let is_known = known.is_none_or(|known| known.is_still(current.st_ino, current.st_size as u64));
        current.st_mode & 0o100 != 0 && !is_known
    }

    /// Since when its input was read, to put it before or after others.
    pub fn since(&self) -> u64 {
        self.map.load(SINCE)
    }

    /// Whether it is this input, by its [`id`], that was read.
    pub fn is_of(&self, input: u64) -> bool {
        self.map.load(INPUT) == input
    }

    /// From now on it is this input that is read.
    pub fn begin(&mut self, input: u64) {
        self.map.store(INPUT, input);
        self.map.store(SINCE, u64::try_from(Moment::now().uptime.as_nanos()).unwrap_or(u64::MAX));
    }

    /// From now on these are the directories' files. Of a line of which none of them has the beginning, the rest
    /// counts as a line, or nobody would have it.
    pub fn adopt(&mut self, files: Vec<File>) {
        let line = match self.note.line {
            Line::Within(to) if to != 0 => {
                let went = self.note.files.iter().enumerate().filter(|(number, _)| to >> number & 1 == 1);
                let now = went.filter_map(|(_, file)| files.iter().position(|other| other.folder == file.folder));
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
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Whether input in it is safe though it is in no directory yet.
    pub fn survives(&self) -> bool {
        self.folder.is_some()
    }

    /// What was read and is not done.
    pub fn data(&self) -> &[u8] {
        &self.map.bytes()[START + self.note.done..START + self.note.filled]
    }

    /// How much may be read now. What little is left of a line is moved to the front for that.
    pub fn room(&mut self) -> usize {
        let left = self.note.filled - self.note.done;
        if left == 0 && self.note.filled > 0 || ROOM - self.note.filled < ROOM / 2 && left <= self.note.done {
            let (from, bytes) = (START + self.note.done, self.map.bytes_mut());
            // Without overlap: what counts until the next note is not touched.
            bytes.copy_within(from..from + left, START);
            (self.note.done, self.note.filled) = (0, left);
            self.write_note();
        }
        ROOM - self.note.filled
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
        read: impl FnOnce(&mut [u8]) -> nix::Result<usize>,
    ) -> nix::Result<usize> {
        let place = START + self.note.filled..START + self.note.filled + length;
        if self.survives() {
            match self.expect(place.clone(), peek) {
                Ok(()) => {}
                Err(errno @ (Errno::EAGAIN | Errno::EINTR)) => return Err(errno),
                // What fails is to look at the input, not to read it.
                Err(_) => return self.read_unproven(length, read),
            }
        }
        let got = read(&mut self.map.bytes_mut()[place])?;
        self.note.filled += got;
        // The note first: until then the read is still under way, and told by its destination.
        self.write_note();
        self.map.store(READING, 0);
        Ok(got)
    }

    /// Reads up to `length` bytes from something that is no pipe, or at its end; killed in the middle of that,
    /// they are lost, as nothing tells whether they were read.
    ///
    /// # Errors
    /// What `read` says.
    pub fn read_unproven(
        &mut self,
        length: usize,
        read: impl FnOnce(&mut [u8]) -> nix::Result<usize>,
    ) -> nix::Result<usize> {
        let place = START + self.note.filled..START + self.note.filled + length;
        let got = read(&mut self.map.bytes_mut()[place])?;
        self.note.filled += got;
        self.write_note();
        Ok(got)
    }

    /// Writes down how a read can be told to have happened.
    fn expect(
        &mut self,
        place: std::ops::Range<usize>,
        peek: impl FnOnce(&mut [u8]) -> nix::Result<usize>,
    ) -> nix::Result<()> {
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
        self.map.bytes_mut()[place.end - shown..place.end].copy_from_slice(&last[..shown]);
        let words: [u64; 2] = [u64::from_ne_bytes(eight(&last[..8])), u64::from_ne_bytes(eight(&last[8..]))];
        self.map.store(SENTINEL, words[0]);
        self.map.store(SENTINEL + 1, words[1]);
        self.map.store(OFFSET, (place.start - START) as u64);
        self.map.store(READING, length as u64);
        Ok(())
    }

    /// So much has been dealt with; the directories' files are so long.
    pub fn commit(&mut self, done: usize, line: Line, files: Vec<File>) {
        self.note = Note { filled: self.note.filled, done: self.note.done + done, line, files };
        self.write_note();
    }

    fn write_note(&mut self) {
        if !self.survives() {
            return;
        }
        let next = 1 - self.map.load(COUNTS) % 2;
        let word = NOTES[next as usize];
        let (within, to) = match self.note.line {
            Line::Fresh => (0, 0),
            Line::Within(to) => (1, to),
        };
        let fixed = [self.note.filled as u64, self.note.done as u64, within, to, self.note.files.len() as u64];
        let files = self.note.files.iter().flat_map(|file| [file.folder, file.inode, file.size, file.underway]);
        let words: Vec<u64> = fixed.into_iter().chain(files).collect();
        words.into_iter().enumerate().for_each(|(index, value)| self.map.store(word + index, value));
        self.map.store(COUNTS, next);
    }

    fn recover(&mut self) {
        let word = NOTES[(self.map.load(COUNTS) % 2) as usize];
        let at = |index: usize| self.map.load(word + index);
        let files = (0..usize::try_from(at(4)).unwrap_or(0).min(MOST_DIRECTORIES)).map(|file| 5 + 4 * file);
        let files = files.map(|i| File { folder: at(i), inode: at(i + 1), size: at(i + 2), underway: at(i + 3) });
        let note = Note {
            filled: at(0) as usize,
            done: at(1) as usize,
            line: if at(2) == 1 { Line::Within(at(3)) } else { Line::Fresh },
            files: files.collect(),
        };
        let sound = note.done <= note.filled && note.filled <= ROOM;
        self.note = if sound { note } else { Note::blank() };
        let (length, offset) = (self.map.load(READING) as usize, self.map.load(OFFSET) as usize);
        // A read that the note does not know of, but that has changed its destination.
        if length > 0 && offset == self.note.filled && offset.saturating_add(length) <= ROOM {
            let end = START + offset + length;
            let shown = length.min(SAFE);
            let words = [self.map.load(SENTINEL).to_ne_bytes(), self.map.load(SENTINEL + 1).to_ne_bytes()].concat();
            if self.map.bytes()[end - shown..end] != words[..shown] {
                self.note.filled += length;
            }
        }
        self.write_note();
        self.map.store(READING, 0);
    }
}

fn eight(bytes: &[u8]) -> [u8; 8] {
    bytes.try_into().unwrap_or_default()
}

/// The same for every journal since boot.
fn boot() -> u64 {
    let mut hasher = DefaultHasher::new();
    boot_id().hash(&mut hasher);
    hasher.finish()
}

/// Which directory it is, or which input.
///
/// # Errors
/// Nobody knows.
pub fn id(fd: impl AsFd) -> nix::Result<u64> {
    let stat = fstat(fd)?;
    let mut hasher = DefaultHasher::new();
    (stat.st_dev, stat.st_ino).hash(&mut hasher);
    Ok(hasher.finish())
}

fn again(directory: &OwnedFd) -> nix::Result<OwnedFd> {
    directory.try_clone().map_err(|error| errno_of(&error))
}

/// Whether something that is no journal has its name in this directory. Half made ones have nothing but zeros.
///
/// # Errors
/// It cannot be told.
pub fn is_blocked(directory: &OwnedFd) -> nix::Result<bool> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = match openat(directory, JOURNAL, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::ENOENT) => return Ok(false),
        // A link; somebody else's; a socket.
        Err(Errno::ELOOP | Errno::EACCES | Errno::ENXIO) => return Ok(true),
        Err(errno) => return Err(errno),
    };
    if fstat(&file)?.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
        return Ok(true);
    }
    let mut start = [0; START];
    let read = pread(&file, &mut start, 0)?;
    Ok(start[..8] != OURS.to_ne_bytes() && start[..read].iter().any(|byte| *byte != 0))
}

const FLAGS: OFlag = OFlag::O_RDWR.union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);

/// One that is there in its whole size.
fn open_file(directory: &OwnedFd) -> nix::Result<Option<Mapping>> {
    let file = openat(directory, JOURNAL, FLAGS, Mode::empty())?;
    let is_whole = fstat(&file)?.st_size == (START + ROOM) as i64;
    is_whole.then(|| Mapping::new(&file, START + ROOM)).transpose()
}

/// A new one in a log directory, whose lock is held.
///
/// # Errors
/// ENOSPC: no room for it; whatever else the file system says.
pub fn make(directory: &OwnedFd) -> nix::Result<Journal> {
    if is_blocked(directory)? {
        return Err(Errno::EEXIST);
    }
    let file = openat(directory, JOURNAL, FLAGS | OFlag::O_CREAT, Mode::from_bits_truncate(0o600))?;
    if fstat(&file)?.st_size != (START + ROOM) as i64 {
        nix::unistd::ftruncate(&file, 0)?;
        fill(&file)?;
    }
    let map = Mapping::new(&file, START + ROOM)?;
    let mut journal = Journal { map, note: Note::blank(), folder: Some(again(directory)?) };
    journal.map.store(READING, 0);
    journal.write_note();
    journal.map.store(KIND, OURS);
    // The last: from here on it counts.
    journal.map.store(BOOT, boot());
    Ok(journal)
}

/// Every byte gets its place on the disk now: later it would be too late to hear that there is none.
fn fill(file: impl AsFd) -> nix::Result<()> {
    match fallocate(&file, FallocateFlags::empty(), 0, (START + ROOM) as i64) {
        // A file system that cannot is given the bytes.
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => daemontools::sys::write_all(file, &vec![0; START + ROOM]),
        filled => filled,
    }
}
