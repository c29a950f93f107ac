//! Journals of the first format, which a multilog of before may have left when this one takes its place.
//!
//! They name boots, directories and inputs by hashes. The standard library's hash made them, which it may change; so
//! here is that hash as it was. A journal of that format is read, changed to today's where it lies, and never made.

use super::{File, Id, MOST_FILES, Note, ROOM, START, note_line};
use daemontools::sys::mapping::Mapping;

const COUNTS: usize = 1;
const READING: usize = 2;
const OFFSET: usize = 3;
const SENTINEL: usize = 4;
const BOOT: usize = 6;
const INPUT: usize = 7;
const SINCE: usize = 8;
const NOTES: [usize; 2] = [64, 384];

/// In front of every journal of that format.
pub const OURS: u64 = u64::from_ne_bytes(*b"\x7fjournal");

/// Whether it is of the boot that has this boot id; `None` where that was not known then or is not known now.
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
pub fn note(map: &Mapping) -> (Note, usize) {
    let place = (map.load(COUNTS) % 2) as usize;
    let at = |index: usize| map.load(NOTES[place] + index);
    let files = (0..usize::try_from(at(4)).unwrap_or(0).min(MOST_FILES)).map(|file| 5 + 4 * file);
    let file = |i| File { folder: Id::hashed(at(i)), inode: at(i + 1), size: at(i + 2), underway: at(i + 3) };
    let mut note = Note {
        filled: at(0) as usize,
        done: at(1) as usize,
        line: note_line(at(2), at(3)),
        files: files.map(file).collect(),
    };
    let words = [map.load(SENTINEL), map.load(SENTINEL + 1)];
    if note.done <= note.filled && note.filled <= ROOM {
        let read = super::read_happened(map.bytes(), (map.load(READING), map.load(OFFSET)), words, note.filled);
        note.filled += read.unwrap_or(0);
    }
    (note, place)
}

/// Where bytes lie in front of which there is nothing of a journal of before whose note is at this place.
pub const fn other_place(place: usize) -> usize {
    1 - place
}

const _: () = assert!(NOTES[0] == super::NOTES[0] && NOTES[1] == super::NOTES[1] && START == 8192);

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
