//! An open file of a log directory: its kind, and its bytes, which are unpacked if they are compressed.

use crate::bisect::{ReadAt, line_start, read_full};
use crate::{stamp, tail};
use daemontools::logdir::{self, CURRENT, Finished, PREVIOUS, PROCESSED};
use daemontools::tai64::{self, Tai64N};
use memchr::memchr;
use nix::sys::stat::{FileStat, fstat};
use std::fs::File;
use std::io::{self, Read};
use std::rc::Rc;

/// The first bytes of compressed files. Their names do not tell: a processor `!gzip` leaves a file `@….s`.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const GZIP: &[u8] = &[0x1f, 0x8b, 8];
/// svlog reads at most this many bytes of a compressed file, or this many times its length, whichever is more. A log of
/// equal lines is within this limit; a file that unpacks to more is no log.
const UNPACKED_AT_MOST: u64 = 64 << 20;
const RATIO_AT_MOST: u64 = 1000;
/// How many bytes of a file are read at a time in which something is looked for.
const BLOCK: usize = 64 * 1024;
/// The largest window of zstd: 8 MB, for which every decoder should have memory (RFC 8878, 3.1.1.1.2).
const ZSTD_WINDOW_BITS: u32 = 23;

/// Device and inode, which stay the same as long as a process has the file open, under any name.
pub type Id = (u64, u64);

/// The kind of a file in its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Finished(Finished),
    /// A full file that waits for its name, or for a processor.
    Previous,
    /// The result of a processor, which waits for its name.
    Processed,
    Current,
}

impl Place {
    /// The name of a file there.
    pub fn name(&self) -> &[u8] {
        match self {
            Place::Finished(finished) => &finished.name,
            Place::Previous => PREVIOUS.as_bytes(),
            Place::Processed => PROCESSED.as_bytes(),
            Place::Current => CURRENT.as_bytes(),
        }
    }

    /// Whether the last line of a file there may be torn: the machine crashed while it was written.
    pub fn is_cut(&self) -> bool {
        matches!(self, Place::Finished(finished) if finished.is_cut())
    }
}

/// A file of a log directory, open.
pub struct LogFile {
    pub place: Place,
    pub id: Id,
    /// How many bytes of it were read, uncompressed.
    pub offset: u64,
    /// Whether a hole was skipped, so that the bytes read before and after it do not lie side by side.
    pub has_skipped: bool,
    /// How long it was when it was opened.
    pub first_length: u64,
    /// All readers of the file share one descriptor, and each has a position of its own.
    file: Rc<File>,
    unpacked: Option<Box<dyn Read>>,
    unpacked_at_most: u64,
}

impl LogFile {
    /// Takes an open file, of which fstat(2) says this, and which is read from its start.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn new(file: File, stat: &FileStat, place: Place) -> io::Result<LogFile> {
        let file = Rc::new(file);
        let unpacked = match place {
            Place::Finished(_) | Place::Processed => unpacked(&file)?,
            Place::Previous | Place::Current => None,
        };
        let first_length = u64::try_from(stat.st_size).unwrap_or(0);
        let unpacked_at_most = UNPACKED_AT_MOST.max(first_length.saturating_mul(RATIO_AT_MOST));
        Ok(LogFile {
            place,
            id: (stat.st_dev, stat.st_ino),
            offset: 0,
            has_skipped: false,
            first_length,
            file,
            unpacked,
            unpacked_at_most,
        })
    }

    /// Reads more bytes and returns their number; 0 at the end. A hole, which has a length but no bytes on the disk, is
    /// skipped.
    ///
    /// # Errors
    /// The error of the system; UnexpectedEof or InvalidData if a compressed file is cut short or damaged;
    /// FileTooLarge if it unpacks to more than a log file may have.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = match &mut self.unpacked {
            Some(_) if self.offset >= self.unpacked_at_most => return Err(io::ErrorKind::FileTooLarge.into()),
            Some(unpacked) => unpacked.read(buffer)?,
            None => self.read_plain(buffer)?,
        };
        self.offset += length as u64;
        Ok(length)
    }

    fn read_plain(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.offset)?;
        if !is_blank(&buffer[..length]) {
            return Ok(length);
        }
        let data = self.file.next_data(self.offset);
        if data == self.offset {
            return Ok(length);
        }
        (self.offset, self.has_skipped) = (data, true);
        self.file.read_at(buffer, data)
    }

    /// Returns another reader of this file, which begins at a position, or at the beginning if the file is compressed.
    ///
    /// # Errors
    /// The file is compressed, and cannot be read.
    pub fn at(&self, offset: u64) -> io::Result<LogFile> {
        let LogFile { id, first_length, unpacked_at_most, .. } = *self;
        let (place, file) = (self.place.clone(), Rc::clone(&self.file));
        let (offset, unpacked) = match self.unpacked {
            Some(_) => (0, unpacked(&file)?),
            None => (offset, None),
        };
        Ok(LogFile { place, id, offset, has_skipped: false, first_length, file, unpacked, unpacked_at_most })
    }

    /// Returns another reader of this file, which begins at a position. If the file is compressed, that is its end.
    ///
    /// # Errors
    /// As for [`LogFile::at`].
    pub fn resumed_at(&self, offset: u64) -> io::Result<LogFile> {
        let mut file = self.at(offset)?;
        if file.unpacked.is_some() {
            file.unpacked = Some(Box::new(io::empty()));
        }
        Ok(file)
    }

    /// Returns another reader of this file, which begins at a position, also if the file is compressed.
    ///
    /// # Errors
    /// The file cannot be read up to there.
    pub fn moved_to(&self, offset: u64) -> io::Result<LogFile> {
        let mut file = self.at(offset)?;
        file.pass_to(offset)?;
        Ok(file)
    }

    /// The bytes before a position, up to `length` of them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn before(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let length = length.min(offset);
        let mut bytes = vec![0; usize::try_from(length.min(tail::TAIL as u64)).unwrap_or(0)];
        let read = self.moved_to(offset - length)?.fill(&mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// The label in the finished name of the file.
    pub fn label(&self) -> Option<Tai64N> {
        match &self.place {
            Place::Finished(finished) => Some(finished.label),
            Place::Previous | Place::Processed | Place::Current => None,
        }
    }

    /// The file `other`, from the position up to which this one was read, if both have the same bytes before that
    /// position. None if nothing was read.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn go_on_in(&self, other: &LogFile) -> io::Result<Option<LogFile>> {
        let Some(plain) = self.plain().filter(|_| self.offset > 0) else { return Ok(None) };
        let length = self.offset.min(tail::TAIL as u64);
        let mut ours = vec![0; usize::try_from(length).unwrap_or(0)];
        let mut theirs = ours.clone();
        let mut other = other.at(self.offset - length)?;
        other.pass_to(self.offset - length)?;
        let is_read = read_full(plain, &mut ours, self.offset - length)? == ours.len();
        let is_same = is_read && other.fill(&mut theirs)? == ours.len() && ours == theirs;
        Ok(is_same.then_some(other))
    }

    /// Reads up to a position, or to the end.
    fn pass_to(&mut self, offset: u64) -> io::Result<()> {
        let mut passed = vec![0; BLOCK];
        while let Some(left) = offset.checked_sub(self.offset).filter(|left| *left > 0) {
            let length = passed.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if self.read(&mut passed[..length])? == 0 {
                break;
            }
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = 0;
        while length < buffer.len() {
            match self.read(&mut buffer[length..])? {
                0 => break,
                more => length += more,
            }
        }
        Ok(length)
    }

    /// Whether multilog has marked it as complete.
    pub fn is_complete(&self) -> bool {
        fstat(&*self.file).is_ok_and(|stat| logdir::is_complete(&stat))
    }

    /// The file, if its bytes can be read in any order.
    pub fn plain(&self) -> Option<&File> {
        self.unpacked.is_none().then_some(&*self.file)
    }

    /// The position of the first line: not 0 if the file begins with the rest of a line of the file before.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn first_line(&self, before: Option<&LogFile>) -> io::Result<u64> {
        let Some(before) = before else { return Ok(0) };
        let mut start = [0; stamp::LONGEST];
        let length = match self.plain() {
            Some(plain) => plain.read_at(&mut start, 0)?,
            None => self.at(0)?.fill(&mut start)?,
        };
        // The end of a compressed file is known only when all of it was read, so it is asked for last.
        match self.plain() {
            _ if stamp::of(&start[..length]).is_some() || !before.goes_on() => Ok(0),
            Some(plain) => line_start(plain, 1, self.length()),
            None => self.at(0)?.end_of_line(),
        }
    }

    /// Whether the last line of this file goes on in the file after it, unless that begins with a stamp. If this file
    /// cannot be read, its last line ends where it is damaged.
    pub fn goes_on(&self) -> bool {
        !self.place.is_cut() && self.ends_within_line().unwrap_or(false)
    }

    fn ends_within_line(&self) -> io::Result<bool> {
        let mut end = [b'\n'];
        match (self.plain(), self.length().checked_sub(1)) {
            (Some(plain), Some(last)) => _ = plain.read_at(&mut end, last)?,
            (Some(_), None) => {}
            (None, _) => {
                let (mut file, mut block) = (self.at(0)?, vec![0; BLOCK]);
                loop {
                    match file.read(&mut block) {
                        Ok(0) => break,
                        Ok(length) => end = [block[length - 1]],
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(end != [b'\n'])
    }

    /// The position behind the next newline, or the end of the file.
    fn end_of_line(&mut self) -> io::Result<u64> {
        let mut block = vec![0; BLOCK];
        loop {
            let length = self.read(&mut block)?;
            match memchr(b'\n', &block[..length]) {
                Some(newline) => return Ok(self.offset - (length - newline - 1) as u64),
                None if length == 0 => return Ok(self.offset),
                None => {}
            }
        }
    }

    /// The length of the file on the disk.
    pub fn length(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    /// The time of lines without stamps: when the file was finished, or last written to.
    pub fn time(&self) -> Tai64N {
        match &self.place {
            Place::Finished(finished) => finished.label,
            Place::Previous | Place::Processed | Place::Current => {
                self.file.metadata().and_then(|metadata| metadata.modified()).map_or_else(|_| tai64::now(), tai64::at)
            }
        }
    }
}

/// Whether these are many bytes that are all NUL, as in a part of a file that was never written.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.len() >= 4096 && bytes.iter().all(|byte| *byte == 0)
}

fn unpacked(file: &Rc<File>) -> io::Result<Option<Box<dyn Read>>> {
    let mut start = [0; 4];
    let length = file.read_at(&mut start, 0)?;
    let start = &start[..length];
    if !start.starts_with(ZSTD) && !start.starts_with(GZIP) {
        return Ok(None);
    }
    let packed = Packed { file: Rc::clone(file), offset: 0 };
    let unpacked: Box<dyn Read> = match start.starts_with(ZSTD) {
        true => {
            let mut decoder = zstd::Decoder::new(packed)?;
            decoder.window_log_max(ZSTD_WINDOW_BITS)?;
            Box::new(decoder)
        }
        false => Box::new(flate2::bufread::MultiGzDecoder::new(io::BufReader::new(packed))),
    };
    Ok(Some(unpacked))
}

/// A compressed file that is read from its beginning. Two decoders may read one file by turns, so each reader has a
/// position of its own.
struct Packed {
    file: Rc<File>,
    offset: u64,
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}
