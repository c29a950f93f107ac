//! Where in a journal's file what lies, in words of eight bytes. No I/O: a file is whatever has its words ([`Words`]).
//!
//! ```text
//! word 0       the format's version; with any other value, the file is no journal
//! word 16      which of the two checkpoints counts
//! word 17, 18  a read may be under way: how many bytes, and into which offset
//! word 19, 20  what lies at the end of that place until the read has happened
//! word 21      1: multilog has ended in order, and this is on the disk: it is good after another boot, too
//! word 22–24   the input that was read, by device and inode, and since when
//! word 32…     the boot, in words: worth nothing after another one, unless multilog has ended in order
//! word 64…     checkpoint 0, word 384…: checkpoint 1 (see `Checkpoint`)
//! word 704…    for each file of checkpoint 0: its inode, and a moment of its period; word 832…: of checkpoint 1
//! byte 8192…   the bytes read
//! ```
//!
//! Where an earlier version of this format has nothing but zeros, the periods were put: they are believed of the file
//! that they name, so that it does not matter if a multilog of that version has left them as they were.

use super::checkpoint::{Checkpoint, File, Id};
use crate::router::Line;
use crate::steps::MOST_DIRECTORIES;
use std::ops::Range;

/// How many bytes a journal has for input.
pub const ROOM: usize = 256 * 1024;
/// How many bytes of the file lie in front of the bytes for input.
pub const START: usize = 8192;
/// The size of the whole file in bytes.
pub const SIZE: usize = START + ROOM;
/// A checkpoint has no more files than that.
pub const MOST_FILES: usize = MOST_DIRECTORIES;

const KIND: usize = 0;
const ACTIVE: usize = 16;
const READING: usize = 17;
const OFFSET: usize = 18;
const SENTINEL: usize = 19;
const CLOSED: usize = 21;
const INPUT: usize = 22;
const SINCE: usize = 24;
const BOOT: Range<usize> = 32..48;
/// Where the two checkpoints are.
pub const CHECKPOINTS: [usize; 2] = [64, 384];
/// Where the periods of the files in the two checkpoints are.
const PERIODS: [usize; 2] = [704, 832];
/// No moment that a clock tells comes later, in seconds since 1970.
const LAST_MOMENT: i64 = 1 << 40;

/// The first word of every journal of this format: its version.
pub const OURS: u64 = u64::from_ne_bytes(*b"\x7fjourna2");

/// How many random bytes a sentinel needs to be one that the input does not bring by chance.
pub const SAFE: usize = 16;

/// What a journal is written to: the mapped file, memory that took its place, or anything that behaves like them.
pub trait Words {
    /// Word number `index`; 0 where there is none.
    fn load(&self, index: usize) -> u64;
    /// Stores a word: all of it or nothing, after everything that was stored before.
    fn store(&mut self, index: usize, value: u64);
    /// The bytes for input.
    fn room(&self) -> &[u8];
    /// The bytes for input, to be written.
    fn room_mut(&mut self) -> &mut [u8];
    /// The kernel could not write to the bytes for input (EFAULT): if the file has no room for them, memory takes its
    /// place.
    fn mend(&mut self);
}

/// Whether these are the words of a journal.
pub fn is_journal(words: &impl Words) -> bool {
    words.load(KIND) == OURS
}

/// Marks the words as those of a journal.
pub fn set_journal(words: &mut impl Words) {
    words.store(KIND, OURS);
}

/// Marks the words as not being those of a journal.
pub fn clear_journal(words: &mut impl Words) {
    words.store(KIND, 0);
}

/// Whether multilog has ended in order, and all of the journal was on the disk then.
pub fn is_closed(words: &impl Words) -> bool {
    words.load(CLOSED) == 1
}

/// Says whether all of the journal is on the disk and stays as it is.
pub fn set_closed(words: &mut impl Words, is_closed: bool) {
    words.store(CLOSED, u64::from(is_closed));
}

/// The input that was read, and since when.
pub fn input(words: &impl Words) -> (Id, u64) {
    (Id { device: words.load(INPUT), inode: words.load(INPUT + 1) }, words.load(SINCE))
}

/// Says which input is read, and since when.
pub fn set_input(words: &mut impl Words, input: Id, since: u64) {
    words.store(INPUT, input.device);
    words.store(INPUT + 1, input.inode);
    words.store(SINCE, since);
}

/// The text that tells the boot.
pub fn boot(words: &impl Words) -> String {
    let bytes: Vec<u8> = BOOT.flat_map(|word| words.load(word).to_ne_bytes()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Writes the text that tells the boot.
pub fn set_boot(words: &mut impl Words, text: &str) {
    let mut text = text.as_bytes().to_vec();
    text.resize(8 * BOOT.len(), 0);
    let values = text.chunks_exact(8).map(|chunk| u64::from_ne_bytes(eight(chunk)));
    BOOT.zip(values).for_each(|(word, value)| words.store(word, value));
}

/// Writes a checkpoint to the place of the one that does not count, and then makes it count by one store.
pub fn write_checkpoint(words: &mut impl Words, checkpoint: &Checkpoint) {
    let next = 1 - words.load(ACTIVE) % 2;
    write_checkpoint_to(words, checkpoint, next as usize);
    words.store(ACTIVE, next);
}

/// Writes a checkpoint to one of the two places, and makes it count.
pub fn write_active_checkpoint(words: &mut impl Words, checkpoint: &Checkpoint, place: usize) {
    write_checkpoint_to(words, checkpoint, place);
    words.store(ACTIVE, place as u64);
}

fn write_checkpoint_to(words: &mut impl Words, checkpoint: &Checkpoint, place: usize) {
    let (within, to) = match checkpoint.line {
        Line::Fresh => (0, 0),
        Line::Within(to) => (1, to),
    };
    let fixed = [checkpoint.filled as u64, checkpoint.done as u64, within, to, checkpoint.files.len() as u64];
    let values = |file: &File| [file.folder.device, file.folder.inode, file.inode, file.size, file.underway];
    let values = fixed.into_iter().chain(checkpoint.files.iter().flat_map(values));
    values.enumerate().for_each(|(index, value)| words.store(CHECKPOINTS[place] + index, value));
    let periods = checkpoint.files.iter().zip((PERIODS[place]..).step_by(2));
    for (file, word) in periods {
        if begun(words, word, file.inode) != file.begun {
            words.store(word, file.inode);
            words.store(word + 1, file.begun.map_or(0, i64::cast_unsigned));
        }
    }
}

/// The moment at which the period of a file begins, as it stands from this word on.
fn begun(words: &impl Words, word: usize, inode: u64) -> Option<i64> {
    let begun = words.load(word + 1).cast_signed();
    (words.load(word) == inode && (1..LAST_MOMENT).contains(&begun)).then_some(begun)
}

/// The checkpoint that counts, and in it a read that it does not know of but that has happened.
pub fn read_checkpoint(words: &impl Words) -> Checkpoint {
    let place = (words.load(ACTIVE) % 2) as usize;
    let at = |index: usize| words.load(CHECKPOINTS[place] + index);
    let files = 0..usize::try_from(at(4)).unwrap_or(0).min(MOST_FILES);
    let file = |number: usize| {
        let i = 5 + 5 * number;
        File {
            folder: Id { device: at(i), inode: at(i + 1) },
            inode: at(i + 2),
            size: at(i + 3),
            underway: at(i + 4),
            begun: begun(words, PERIODS[place] + 2 * number, at(i + 2)),
        }
    };
    let mut checkpoint = Checkpoint {
        filled: at(0) as usize,
        done: at(1) as usize,
        line: checkpoint_line(at(2), at(3)),
        files: files.map(file).collect(),
    };
    let sentinel = [words.load(SENTINEL), words.load(SENTINEL + 1)];
    let reading = (words.load(READING), words.load(OFFSET));
    checkpoint.filled += read_that_happened(words.room(), reading, sentinel, checkpoint.filled).unwrap_or(0);
    checkpoint
}

/// Where in a line a checkpoint stands, from its two words.
pub fn checkpoint_line(within: u64, to: u64) -> Line {
    if within == 1 { Line::Within(to) } else { Line::Fresh }
}

/// Writes down how a read into `place` can be told to have happened: until then its last bytes are `sentinel`, which
/// cannot come there.
pub fn begin_read(words: &mut impl Words, place: Range<usize>, sentinel: &[u8]) {
    let mut last = [0; SAFE];
    last[..sentinel.len()].copy_from_slice(sentinel);
    words.room_mut()[place.end - sentinel.len()..place.end].copy_from_slice(sentinel);
    words.store(SENTINEL, u64::from_ne_bytes(eight(&last[..8])));
    words.store(SENTINEL + 1, u64::from_ne_bytes(eight(&last[8..])));
    words.store(OFFSET, place.start as u64);
    words.store(READING, place.len() as u64);
}

/// Notes that no read is under way any more.
pub fn end_read(words: &mut impl Words) {
    words.store(READING, 0);
}

/// How many bytes a read took that the checkpoint does not know of, but that has changed the end of its destination.
pub fn read_that_happened(
    room: &[u8],
    (length, offset): (u64, u64),
    sentinel: [u64; 2],
    filled: usize,
) -> Option<usize> {
    let (length, offset) = (usize::try_from(length).ok()?, usize::try_from(offset).ok()?);
    if length == 0 || offset != filled {
        return None;
    }
    let end = offset.checked_add(length)?;
    let shown = length.min(SAFE);
    let sentinel = sentinel.map(u64::to_ne_bytes).concat();
    (room.get(end - shown..end)? != &sentinel[..shown]).then_some(length)
}

/// The first eight of these bytes.
pub fn eight(bytes: &[u8]) -> [u8; 8] {
    bytes.try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Memory(Vec<u64>);

    impl Words for Memory {
        fn load(&self, index: usize) -> u64 {
            self.0[index]
        }

        fn store(&mut self, index: usize, value: u64) {
            self.0[index] = value;
        }

        fn room(&self) -> &[u8] {
            &[]
        }

        fn room_mut(&mut self) -> &mut [u8] {
            &mut []
        }

        fn mend(&mut self) {}
    }

    fn checkpoint(number: u64, files: usize) -> Checkpoint {
        let file = |index: u64| File {
            folder: Id { device: number, inode: 10 + index },
            inode: 20 + index,
            size: 30 + number,
            underway: 40 + index,
            begun: index.is_multiple_of(2).then_some(1_000_000 + number.cast_signed()),
        };
        let line = if number.is_multiple_of(2) { Line::Fresh } else { Line::Within(number) };
        Checkpoint { filled: 9, done: 5, line, files: (0..files as u64).map(file).collect() }
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written_and_nothing_lies_in_another_place() {
        let mut words = Memory(vec![0; START / 8]);
        for (number, files) in [(1, 63), (2, 1), (3, 0), (4, 63)] {
            let written = checkpoint(number, files);
            write_checkpoint(&mut words, &written);
            set_boot(&mut words, "a boot");
            set_input(&mut words, Id { device: 1, inode: 2 }, 3);
            assert_eq!((read_checkpoint(&words), boot(&words)), (written, "a boot".into()));
            assert_eq!(input(&words), (Id { device: 1, inode: 2 }, 3));
        }
    }

    #[test]
    fn a_period_is_believed_of_the_file_that_it_was_written_for() {
        let mut words = Memory(vec![0; START / 8]);
        write_checkpoint(&mut words, &checkpoint(2, 1));
        let place = (words.load(ACTIVE) % 2) as usize;
        // A version that knows nothing of periods has begun another file.
        words.store(CHECKPOINTS[place] + 5 + 2, 99);
        assert_eq!(read_checkpoint(&words).files[0].begun, None);
        words.store(PERIODS[place], 99);
        assert_eq!(read_checkpoint(&words).files[0].begun, Some(1_000_002));
        for nonsense in [0, 1 << 40, u64::MAX] {
            words.store(PERIODS[place] + 1, nonsense);
            assert_eq!(read_checkpoint(&words).files[0].begun, None);
        }
    }
}
