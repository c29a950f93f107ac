//! The input buffer: in which order it stores what, so that the stored words are right whenever multilog is killed. No
//! I/O: the caller gives the functions that read input and look at it.

use super::checkpoint::{Checkpoint, File, Id};
use super::layout::{self, SAFE, Words};
use crate::router::Line;
use nix::errno::Errno;
use std::ops::Range;

/// The words of a journal, and the checkpoint in them that counts.
#[derive(Debug, Clone)]
pub struct Buffer<W> {
    /// What the journal is written to.
    pub words: W,
    pub(super) checkpoint: Checkpoint,
    /// The input that was read; none after another boot.
    input: Option<Id>,
    since: u64,
}

impl<W: Words> Buffer<W> {
    /// A buffer that has read nothing. Nothing is stored yet.
    pub fn new(words: W) -> Buffer<W> {
        Buffer { words, checkpoint: Checkpoint::blank(), input: None, since: 0 }
    }

    /// Makes the words of a new journal. They are those of a journal from the last store on.
    pub fn make(words: W, boot: &str) -> Buffer<W> {
        let mut buffer = Buffer::new(words);
        buffer.write_checkpoint();
        layout::set_boot(&mut buffer.words, boot);
        layout::set_journal(&mut buffer.words);
        buffer
    }

    /// Goes on where a multilog was killed. `input` is the input that this multilog has read, and since when.
    pub fn carry_on(words: W, checkpoint: Checkpoint, input: Option<(Id, u64)>) -> Buffer<W> {
        let (input, since) = input.map_or((None, 0), |(input, since)| (Some(input), since));
        let mut buffer = Buffer { words, checkpoint, input, since };
        buffer.write_checkpoint();
        layout::end_read(&mut buffer.words);
        buffer
    }

    /// Begins to read this input. Returns whether the journal was closed until now. If so, the caller must synchronize
    /// it before it reads anything: otherwise, after a power cut, the next multilog would believe the journal as it was
    /// when it was closed.
    pub fn begin(&mut self, input: Id, since: u64) -> bool {
        (self.input, self.since) = (Some(input), since);
        layout::set_input(&mut self.words, input, since);
        let was_closed = layout::is_closed(&self.words);
        if was_closed {
            layout::set_closed(&mut self.words, false);
        }
        was_closed
    }

    /// Since when its input was read, to put it before or after others.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// Whether the buffer's bytes were read from this input.
    pub fn is_of(&self, input: &Id) -> bool {
        self.input.is_some_and(|read| read.is(input))
    }

    /// The checkpoint that counts.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The input that was read and is in no log directory yet.
    pub fn data(&self) -> &[u8] {
        &self.words.room()[self.checkpoint.done..self.checkpoint.filled]
    }

    /// Takes over these files as those of the directories.
    pub fn adopt(&mut self, files: Vec<File>) {
        self.commit(0, self.checkpoint.line_among(&files), files);
    }

    /// Takes in that `done` more bytes have been dealt with, and how long the directories' files are now.
    pub fn commit(&mut self, done: usize, line: Line, files: Vec<File>) {
        self.checkpoint = Checkpoint { filled: self.checkpoint.filled, done: self.checkpoint.done + done, line, files };
        self.write_checkpoint();
    }

    /// How many bytes may be read now. What is left of a line is moved to the front to make room for them.
    pub fn room(&mut self) -> usize {
        let room = self.words.room().len();
        let left = self.checkpoint.filled - self.checkpoint.done;
        if left == 0 && self.checkpoint.filled > 0
            || room - self.checkpoint.filled < room / 2 && left <= self.checkpoint.done
        {
            let from = self.checkpoint.done;
            // Without overlap: what counts until the next checkpoint is not touched.
            self.words.room_mut().copy_within(from..from + left, 0);
            (self.checkpoint.done, self.checkpoint.filled) = (0, left);
            self.write_checkpoint();
        }
        room - self.checkpoint.filled
    }

    /// Reads exactly `length` bytes, which are known to be there, by `read`. `peek` shows the first few without taking
    /// them. `unlikely` are bytes that do not come by chance.
    ///
    /// # Errors
    /// What `read` or `peek` says.
    pub fn read(
        &mut self,
        length: usize,
        unlikely: impl FnOnce() -> [u8; SAFE],
        peek: impl FnOnce(&mut [u8]) -> nix::Result<usize>,
        read: impl FnMut(&mut [u8]) -> nix::Result<usize>,
    ) -> nix::Result<usize> {
        let place = self.checkpoint.filled..self.checkpoint.filled + length;
        match sentinel(length, unlikely, peek) {
            Ok(sentinel) => layout::begin_read(&mut self.words, place.clone(), &sentinel[..length.min(SAFE)]),
            Err(errno @ (Errno::EAGAIN | Errno::EINTR)) => return Err(errno),
            // What fails is to look at the input, not to read it.
            Err(_) => return self.read_unlogged(length, read),
        }
        self.read_into(place, read)?;
        // The checkpoint first: until then the read is still under way, and told by its destination.
        self.write_checkpoint();
        layout::end_read(&mut self.words);
        Ok(length)
    }

    /// Reads up to `length` bytes from something that is no pipe, or at its end. If multilog is killed in the middle of
    /// that they are lost, as nothing tells whether they were read.
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
        let got = match read(&mut self.words.room_mut()[place.clone()]) {
            Err(Errno::EFAULT) => {
                self.words.mend();
                read(&mut self.words.room_mut()[place])?
            }
            got => got?,
        };
        self.checkpoint.filled += got;
        Ok(got)
    }

    /// Of the bytes that were read before the last `fresh` ones, only the first `readable` are left: those that came
    /// later follow them. How many bytes are lost with that.
    pub fn lose_all_but(&mut self, readable: usize, fresh: usize) -> usize {
        let before = self.checkpoint.filled - fresh;
        let whole = readable.clamp(self.checkpoint.done, before);
        self.words.room_mut().copy_within(before..before + fresh, whole);
        self.checkpoint.filled = whole + fresh;
        before - whole
    }

    /// Takes over the input of another buffer that is in no log directory yet. This buffer is new, and has as much room
    /// as any.
    pub fn take_over<V: Words>(&mut self, before: &Buffer<V>) {
        let left = before.data();
        self.words.room_mut()[..left.len()].copy_from_slice(left);
        self.checkpoint = Checkpoint { filled: left.len(), done: 0, ..before.checkpoint.clone() };
        self.write_checkpoint();
    }

    fn write_checkpoint(&mut self) {
        layout::write_checkpoint(&mut self.words, &self.checkpoint);
    }
}

/// What a place of this length is to end in until it is read into.
fn sentinel(
    length: usize,
    unlikely: impl FnOnce() -> [u8; SAFE],
    peek: impl FnOnce(&mut [u8]) -> nix::Result<usize>,
) -> nix::Result<[u8; SAFE]> {
    if length >= SAFE {
        return Ok(unlikely());
    }
    // Too few bytes for chance: they are looked at, and the last one is made another.
    let mut last = [0; SAFE];
    if peek(&mut last[..length])? != length {
        return Err(Errno::EAGAIN);
    }
    if let Some(byte) = last[..length].last_mut() {
        *byte = !*byte;
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOM: usize = 64;

    /// Words that outlive their multilog, which is killed once it has stored this many more words.
    struct Mortal<'a> {
        words: &'a mut Vec<u64>,
        bytes: &'a mut Vec<u8>,
        life: usize,
        scrap: Vec<u8>,
    }

    impl Words for Mortal<'_> {
        fn load(&self, index: usize) -> u64 {
            self.words[index]
        }

        fn store(&mut self, index: usize, value: u64) {
            if self.life > 0 {
                self.life -= 1;
                self.words[index] = value;
                if self.life == 0 {
                    self.scrap.clone_from(self.bytes);
                }
            }
        }

        fn room(&self) -> &[u8] {
            self.bytes
        }

        fn room_mut(&mut self) -> &mut [u8] {
            if self.life > 0 { self.bytes } else { &mut self.scrap }
        }

        fn mend(&mut self) {}
    }

    #[derive(Debug, Clone, Copy)]
    enum Deed {
        Read(usize),
        Done(usize),
    }

    fn deeds() -> impl Strategy<Value = Vec<Deed>> {
        let deed = prop_oneof![(1usize..40).prop_map(Deed::Read), (0usize..40).prop_map(Deed::Done)];
        proptest::collection::vec(deed, 1..12)
    }

    /// Does it until multilog is killed; how many bytes were taken from the input, and how many are known to be done.
    fn live(words: Mortal, deeds: &[Deed], input: &[u8]) -> (usize, usize) {
        let mut buffer = Buffer::make(words, "boot");
        let (mut taken, mut done) = (0, 0);
        for deed in deeds {
            match *deed {
                Deed::Read(length) => {
                    let length = length.min(buffer.room());
                    if length == 0 || buffer.words.life == 0 {
                        continue;
                    }
                    let next = &input[taken..taken + length];
                    let peek = |place: &mut [u8]| {
                        place.copy_from_slice(&next[..place.len()]);
                        Ok(place.len())
                    };
                    let killed = buffer.words.life <= 4;
                    let read = |place: &mut [u8]| {
                        // Killed before the read, the input keeps it.
                        if !killed {
                            place.copy_from_slice(next);
                            taken += place.len();
                        }
                        Ok(place.len())
                    };
                    buffer.read(length, || [0xee; SAFE], peek, read).unwrap();
                }
                Deed::Done(count) => {
                    let count = count.min(buffer.data().len());
                    let life = buffer.words.life;
                    buffer.commit(count, Line::Fresh, Vec::new());
                    done += if life > 0 && buffer.words.life > 0 { count } else { 0 };
                }
            }
        }
        (taken, done)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8192))]

        /// Whatever multilog stores last: what was read and is not done is there, and is followed by what the input
        /// still has. A commit that it was killed in has happened, or has not.
        #[test]
        fn killed_after_any_store_it_loses_and_doubles_nothing(deeds in deeds(), life in 1usize..160) {
            let input: Vec<u8> = (0..1024_usize).map(|number| (number * 7 % 200) as u8).collect();
            let (mut words, mut bytes) = (vec![0; 1024], vec![0; ROOM]);
            let mortal = Mortal { words: &mut words, bytes: &mut bytes, life, scrap: vec![0; ROOM] };
            let (taken, done) = live(mortal, &deeds, &input);
            let left = Mortal { words: &mut words, bytes: &mut bytes, life: 1, scrap: Vec::new() };
            if layout::is_journal(&left) {
                let checkpoint = layout::read_checkpoint(&left);
                prop_assert!(checkpoint.is_possible(ROOM));
                let data = &bytes[checkpoint.done..checkpoint.filled];
                prop_assert!(done <= taken - data.len());
                prop_assert_eq!(data, &input[taken - data.len()..taken]);
            } else {
                prop_assert_eq!((taken, done), (0, 0));
            }
        }
    }
}
