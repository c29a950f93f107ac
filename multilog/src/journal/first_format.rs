//! Journals of the first format. An earlier version of multilog has made them, and may have left one when it was killed.
//! This version reads such a journal, and changes it to today's format where it lies. It makes no new ones. No I/O.
//!
//! ```text
//! word 0       the format's version
//! word 1       which of the two checkpoints counts
//! word 2, 3    a read may be under way: how many bytes, and into which offset
//! word 4, 5    what lies at the end of that place until the read has happened
//! word 6       the boot, as a hash
//! word 7, 8    the input that was read, as a hash, and since when
//! word 64…     checkpoint 0, word 384…: checkpoint 1, in which directories are hashes
//! byte 8192…   the bytes read
//! ```
//!
//! The hash function was that of the standard library, which may change it: `hashed` has it as it was.

use super::checkpoint::{Checkpoint, File, Id};
use super::hashed::hash_of_text;
use super::layout::{self, MOST_FILES, Words, checkpoint_line};

const ACTIVE: usize = 1;
const READING: usize = 2;
const OFFSET: usize = 3;
const SENTINEL: usize = 4;
const BOOT: usize = 6;
const INPUT: usize = 7;
const SINCE: usize = 8;
const CHECKPOINTS: [usize; 2] = [64, 384];
/// The files of a checkpoint begin at this word of it, and take this number of words each.
const FILES: usize = 5;
const WORDS_OF_FILE: usize = 4;

/// The version in front of every journal of this format.
pub const OURS: u64 = u64::from_ne_bytes(*b"\x7fjournal");

/// Whether the journal is of the boot that has this boot id; `None` where the boot id was not known when the journal was
/// made, or is not known now.
pub fn is_of_boot(words: &impl Words, boot_id: &str) -> Option<bool> {
    let is_known = |hash: u64| hash != hash_of_text("");
    let (journals, this) = (words.load(BOOT), hash_of_text(boot_id));
    (is_known(journals) && is_known(this)).then_some(journals == this)
}

/// The input that was read, and since when.
pub fn input(words: &impl Words) -> (Id, u64) {
    (Id::hashed(words.load(INPUT)), words.load(SINCE))
}

/// The checkpoint that counts, and in it a read that it does not know of but that has happened.
pub fn read_checkpoint(words: &impl Words) -> Checkpoint {
    let checkpoint = CHECKPOINTS[active(words)];
    let at = |index: usize| words.load(checkpoint + index);
    let count = usize::try_from(at(4)).unwrap_or(0).min(MOST_FILES);
    let file = |number: usize| {
        let i = FILES + WORDS_OF_FILE * number;
        File { folder: Id::hashed(at(i)), inode: at(i + 1), size: at(i + 2), underway: at(i + 3), begun: None }
    };
    let mut checkpoint = Checkpoint {
        filled: at(0) as usize,
        done: at(1) as usize,
        line: checkpoint_line(at(2), at(3)),
        files: (0..count).map(file).collect(),
    };
    if checkpoint.is_possible(words.room().len()) {
        let sentinel = [words.load(SENTINEL), words.load(SENTINEL + 1)];
        let reading = (words.load(READING), words.load(OFFSET));
        let read = layout::read_that_happened(words.room(), reading, sentinel, checkpoint.filled);
        checkpoint.filled += read.unwrap_or(0);
    }
    checkpoint
}

/// Changes the journal to today's format, with this checkpoint, this input, and the boot of today.
///
/// Until the last store the journal is one of the first format: today's words lie where that format has nothing, and
/// today's checkpoint lies in the place of the one that does not count. So the journal is whole in one of the two formats
/// whenever multilog is killed.
pub fn change_to_todays_format(words: &mut impl Words, checkpoint: &Checkpoint, (input, since): (Id, u64), boot: &str) {
    let inactive = 1 - active(words);
    layout::write_active_checkpoint(words, checkpoint, inactive);
    layout::set_input(words, input, since);
    layout::set_boot(words, boot);
    layout::set_closed(words, false);
    layout::end_read(words);
    layout::set_journal(words);
}

/// Which of the two checkpoints counts.
fn active(words: &impl Words) -> usize {
    (words.load(ACTIVE) % 2) as usize
}

// The two formats have their checkpoints and the bytes read in the same places.
const _: () = assert!(
    CHECKPOINTS[0] == layout::CHECKPOINTS[0] && CHECKPOINTS[1] == layout::CHECKPOINTS[1] && layout::START == 8192
);

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::super::hashed::hash_of_numbers;
    use super::super::layout::{SIZE, START};
    use super::super::place::{LeftJournal, find, make};
    use super::*;
    use crate::router::Line;
    use daemontools::logdir::JOURNAL;
    use daemontools::sys::boot::Boot;
    use daemontools::sys::mapping::Mapping;
    use std::fs;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::{FileExt, MetadataExt};

    /// The journal of a multilog of an earlier version. It had read `one\ntwo-begins ` from a FIFO (device 65024, inode 10011926), had
    /// written the first line to `current` (inode 10011931) in the directory of inode 10011927, and was killed: all
    /// words that are not zero, and the boot id of then.
    const RECORDED: [(usize, u64); 20] = [
        (0, 0x6c61_6e72_756f_6a7f),
        (1, 1),
        (4, 0x2d6f_7774_0a65_6e6f),
        (5, 0x00df_736e_6967_6562),
        (6, 0xf970_a37f_15a4_14c9),
        (7, 0x4a40_f1ed_2df2_d780),
        (8, 0x0000_013e_91a1_a604),
        (64, 15),
        (68, 1),
        (69, 0x675b_60fe_e04c_81f8),
        (70, 10_011_931),
        (72, 4),
        (384, 15),
        (385, 4),
        (388, 1),
        (389, 0x675b_60fe_e04c_81f8),
        (390, 10_011_931),
        (391, 4),
        (1024, u64::from_ne_bytes(*b"one\ntwo-")),
        (1025, u64::from_ne_bytes(*b"begins \0")),
    ];
    const BOOT_ID: &str = "89e1ccf4-885d-42a6-b9c8-5b343b8bab8a";

    fn recorded(folder: &std::path::Path) -> fs::File {
        let file = fs::File::options().read(true).write(true).create_new(true).open(folder.join(JOURNAL)).unwrap();
        file.set_len(SIZE as u64).unwrap();
        RECORDED.iter().for_each(|(word, value)| put(&file, *word, *value));
        file
    }

    fn put(file: &fs::File, word: usize, value: u64) {
        file.write_all_at(&value.to_ne_bytes(), 8 * word as u64).unwrap();
    }

    fn opened(folder: &std::path::Path) -> OwnedFd {
        fs::File::open(folder).unwrap().into()
    }

    #[test]
    fn a_journal_of_the_first_format_is_understood() {
        let scratch = tempfile::tempdir().unwrap();
        let map = Memory::Mapped(Mapping::new(recorded(scratch.path()).into(), SIZE).unwrap());
        assert_eq!(is_of_boot(&map, BOOT_ID), Some(true));
        assert_eq!(is_of_boot(&map, "another"), Some(false));
        assert_eq!(is_of_boot(&map, ""), None);
        assert!(input(&map).0.is(&Id { device: 65024, inode: 10_011_926 }));
        let (checkpoint, place) = (read_checkpoint(&map), active(&map));
        assert_eq!((checkpoint.filled, checkpoint.done, checkpoint.line, place), (15, 4, Line::Fresh, 1));
        let [file] = checkpoint.files[..] else { panic!("{checkpoint:?}") };
        assert_eq!((file.inode, file.size, file.underway), (10_011_931, 4, 0));
        assert!(file.folder.is(&Id { device: 65024, inode: 10_011_927 }));
        assert!(!file.folder.is(&Id { device: 65024, inode: 10_011_928 }));
    }

    #[test]
    fn a_journal_of_this_boot_is_carried_on_in_todays_format() {
        let scratch = tempfile::tempdir().unwrap();
        let file = recorded(scratch.path());
        let boot = Boot::current().unwrap();
        put(&file, BOOT, hash_of_text(boot.kernel_id().unwrap()));
        let place = fs::metadata(scratch.path()).unwrap();
        put(&file, 389, hash_of_numbers(place.dev(), place.ino()));
        // Killed in a read of two bytes that has happened.
        [(READING, 2), (OFFSET, 15), (SENTINEL, 0x0101)].iter().for_each(|(word, value)| put(&file, *word, *value));
        file.write_all_at(b"!\n", (START + 15) as u64).unwrap();
        for _ in 0..2 {
            let Ok(LeftJournal::Usable(journal)) = find(&opened(scratch.path()), &boot) else {
                panic!("it is not found")
            };
            assert_eq!(journal.data(), b"two-begins !\n");
            assert!(journal.is_of(&Id { device: 65024, inode: 10_011_926 }));
            assert!(journal.checkpoint().files[0].folder.is(&Id::of(opened(scratch.path())).unwrap()));
        }
    }

    #[test]
    fn a_journal_of_another_boot_is_removed_and_one_of_an_unknown_boot_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let boot = Boot::current().unwrap();
        put(&recorded(scratch.path()), BOOT, hash_of_text(""));
        assert!(matches!(find(&opened(scratch.path()), &boot), Ok(LeftJournal::Doubtful)));
        let file = fs::File::options().write(true).open(scratch.path().join(JOURNAL)).unwrap();
        put(&file, BOOT, hash_of_text("another"));
        assert!(matches!(find(&opened(scratch.path()), &boot), Ok(LeftJournal::None)));
        assert!(!scratch.path().join(JOURNAL).exists());
        drop(make(&opened(scratch.path()), &boot));
        assert!(scratch.path().join(JOURNAL).exists());
    }
}
