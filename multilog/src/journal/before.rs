//! Journals of the first format, which a multilog of before may have left when this one takes its place.
//!
//! They name boots, directories and inputs by hashes. The standard library's hash made them, which it may change; so
//! here is that hash as it was. A journal of that format is read, changed to today's where it lies, and never made.

use super::{Checkpoint, File, Id, MOST_FILES, ROOM, START, checkpoint_line};
use daemontools::sys::mapping::Mapping;

const ACTIVE: usize = 1;
const READING: usize = 2;
const OFFSET: usize = 3;
const SENTINEL: usize = 4;
const BOOT: usize = 6;
const INPUT: usize = 7;
const SINCE: usize = 8;
const CHECKPOINTS: [usize; 2] = [64, 384];

/// In front of every journal of that format.
pub const OURS: u64 = u64::from_ne_bytes(*b"\x7fjournal");

/// Whether the journal is of the boot that has this boot id; `None` where the boot id was not known then or is not
/// known now.
pub fn is_of_boot(map: &Mapping, boot_id: &str) -> Option<bool> {
    let known = |hash: u64| hash != hash_of_text("");
    let (then, now) = (map.load(BOOT), hash_of_text(boot_id));
    (known(then) && known(now)).then_some(then == now)
}

/// The input that was read, and since when.
pub fn input(map: &Mapping) -> (Id, u64) {
    (Id::hashed(map.load(INPUT)), map.load(SINCE))
}

/// How things stand, and at which of the two places that is written.
pub fn checkpoint(map: &Mapping) -> (Checkpoint, usize) {
    let place = (map.load(ACTIVE) % 2) as usize;
    let at = |index: usize| map.load(CHECKPOINTS[place] + index);
    let files = (0..usize::try_from(at(4)).unwrap_or(0).min(MOST_FILES)).map(|file| 5 + 4 * file);
    let file = |i| File { folder: Id::hashed(at(i)), inode: at(i + 1), size: at(i + 2), underway: at(i + 3) };
    let mut checkpoint = Checkpoint {
        filled: at(0) as usize,
        done: at(1) as usize,
        line: checkpoint_line(at(2), at(3)),
        files: files.map(file).collect(),
    };
    let words = [map.load(SENTINEL), map.load(SENTINEL + 1)];
    if checkpoint.done <= checkpoint.filled && checkpoint.filled <= ROOM {
        let read = super::read_happened(map.bytes(), (map.load(READING), map.load(OFFSET)), words, checkpoint.filled);
        checkpoint.filled += read.unwrap_or(0);
    }
    (checkpoint, place)
}

/// Where bytes lie in front of which there is nothing of a journal of before whose checkpoint is at this place.
pub const fn other_place(place: usize) -> usize {
    1 - place
}

const _: () =
    assert!(CHECKPOINTS[0] == super::CHECKPOINTS[0] && CHECKPOINTS[1] == super::CHECKPOINTS[1] && START == 8192);

/// The hash of two numbers, a device's and an inode's.
pub fn hash_of_numbers(one: u64, two: u64) -> u64 {
    hash(&[one.to_ne_bytes(), two.to_ne_bytes()].concat())
}

/// The hash of a text.
fn hash_of_text(text: &str) -> u64 {
    hash(&[text.as_bytes(), &[0xff]].concat())
}

/// SipHash-1-3 with a key of zeros, which was the standard library's `DefaultHasher` when such journals were made.
fn hash(bytes: &[u8]) -> u64 {
    let mut v: [u64; 4] = [0x736f_6d65_7073_6575, 0x646f_7261_6e64_6f6d, 0x6c79_6765_6e65_7261, 0x7465_6462_7974_6573];
    let chunks = bytes.chunks_exact(8);
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    last[7] = bytes.len() as u8;
    for chunk in chunks.chain([&last[..]]) {
        let word = u64::from_le_bytes(super::eight(chunk));
        v[3] ^= word;
        mix(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..3).for_each(|_| mix(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn mix(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::super::{Left, SIZE, find, make};
    use super::*;
    use crate::router::Line;
    use daemontools::logdir::JOURNAL;
    use daemontools::sys::boot::Boot;
    use daemontools::sys::process::boot_id;
    use std::fs;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::{FileExt, MetadataExt};

    /// What a multilog of before left that had read `one\ntwo-begins ` from a FIFO (device 65024, inode 10011926), had
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
    fn what_it_says_is_understood() {
        let scratch = tempfile::tempdir().unwrap();
        let map = Mapping::new(recorded(scratch.path()).into(), SIZE).unwrap();
        assert_eq!(is_of_boot(&map, BOOT_ID), Some(true));
        assert_eq!(is_of_boot(&map, "another"), Some(false));
        assert_eq!(is_of_boot(&map, ""), None);
        assert!(input(&map).0.is(&Id { device: 65024, inode: 10_011_926 }));
        let (checkpoint, place) = checkpoint(&map);
        assert_eq!((checkpoint.filled, checkpoint.done, checkpoint.line, place), (15, 4, Line::Fresh, 1));
        let [file] = checkpoint.files[..] else { panic!("{checkpoint:?}") };
        assert_eq!((file.inode, file.size, file.underway), (10_011_931, 4, 0));
        assert!(file.folder.is(&Id { device: 65024, inode: 10_011_927 }));
        assert!(!file.folder.is(&Id { device: 65024, inode: 10_011_928 }));
    }

    #[test]
    fn one_of_this_boot_is_carried_on_in_todays_format() {
        let scratch = tempfile::tempdir().unwrap();
        let file = recorded(scratch.path());
        put(&file, BOOT, hash_of_text(&boot_id()));
        let place = fs::metadata(scratch.path()).unwrap();
        put(&file, 389, hash_of_numbers(place.dev(), place.ino()));
        // Killed in a read of two bytes that has happened.
        [(READING, 2), (OFFSET, 15), (SENTINEL, 0x0101)].iter().for_each(|(word, value)| put(&file, *word, *value));
        file.write_all_at(b"!\n", (START + 15) as u64).unwrap();
        let boot = Boot::current().unwrap();
        for _ in 0..2 {
            let Ok(Left::Journal(journal)) = find(&opened(scratch.path()), &boot) else { panic!("it is not found") };
            assert_eq!(journal.data(), b"two-begins !\n");
            assert!(journal.is_of(&Id { device: 65024, inode: 10_011_926 }));
            assert!(journal.checkpoint().files[0].folder.is(&Id::of(opened(scratch.path())).unwrap()));
        }
    }

    #[test]
    fn one_of_another_boot_goes_and_one_that_cannot_be_told_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let boot = Boot::current().unwrap();
        put(&recorded(scratch.path()), BOOT, hash_of_text(""));
        assert!(matches!(find(&opened(scratch.path()), &boot), Ok(Left::Doubtful)));
        let file = fs::File::options().write(true).open(scratch.path().join(JOURNAL)).unwrap();
        put(&file, BOOT, hash_of_text("another"));
        assert!(matches!(find(&opened(scratch.path()), &boot), Ok(Left::Nothing)));
        assert!(!scratch.path().join(JOURNAL).exists());
        drop(make(&opened(scratch.path()), &boot));
        assert!(scratch.path().join(JOURNAL).exists());
    }
}
