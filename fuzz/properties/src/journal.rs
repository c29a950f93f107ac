use crate::input::Input;
use daemontools::logdir::JOURNAL;
use daemontools::sys::boot::Boot;
use multilog::journal::Journal;
use multilog::journal::place::{LeftJournal, find, make};
use multilog::router::Line;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::collections::VecDeque;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use tempfile::TempDir;

/// The bytes in the pipe, and the bytes that were read and not committed yet.
struct World {
    folder: TempDir,
    opened: OwnedFd,
    pipe: VecDeque<u8>,
    read: VecDeque<u8>,
    next: u64,
}

/// Reads, commits, and kills the program before or after a read. Each time, the next journal contains exactly the bytes
/// that were read and not committed. Then the journal's words are overwritten with any bytes, and it must still open as
/// a journal.
pub fn nothing_lost(data: &[u8]) {
    let Some(mut world) = World::new() else { return };
    let mut input = Input(data);
    let mut journal = world.open();
    for _ in 0..64 {
        if !input.has_more() {
            break;
        }
        match input.byte() % 5 {
            0 => world.read(&mut journal, input.number(), Killed::Never),
            1 => {
                world.read(&mut journal, input.number(), Killed::After);
                journal = world.open();
            }
            2 => {
                world.read(&mut journal, input.number(), Killed::Before);
                journal = world.open();
            }
            3 => {
                let done = input.number().min(world.read.len());
                world.read.drain(..done);
                let line = if done % 2 == 0 { Line::Fresh } else { Line::Within(done as u64) };
                journal.commit(done, line, Vec::new());
            }
            _ => break,
        }
        let known = [world.read.as_slices().0, world.read.as_slices().1].concat();
        assert!(journal.data() == known, "{} bytes instead of {}", journal.data().len(), known.len());
    }
    drop(journal);
    world.overwrite(&mut input);
    let mut journal = world.open();
    assert!(journal.data().len() + journal.room() <= 256 * 1024);
    let room = journal.room();
    assert!(journal.read_unlogged(room, |place| Ok(place.len())) == Ok(room));
}

#[derive(PartialEq)]
enum Killed {
    Never,
    Before,
    After,
}

impl World {
    fn new() -> Option<World> {
        let memory = std::path::Path::new("/dev/shm");
        let folder = TempDir::new_in(memory).or_else(|_| TempDir::new()).ok()?;
        let opened = open(folder.path(), OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).ok()?;
        Some(World { folder, opened, pipe: VecDeque::new(), read: VecDeque::new(), next: 0 })
    }

    #[track_caller]
    fn open(&self) -> Journal {
        let boot = Boot::current().unwrap_or_default();
        let found = match find(&self.opened, &boot) {
            Ok(LeftJournal::Usable(journal)) => Ok(journal),
            Ok(LeftJournal::None | LeftJournal::Doubtful) => make(&self.opened, &boot),
            Err(errno) => Err(errno),
        };
        match found {
            Ok(journal) => journal,
            Err(errno) => unreachable!("{errno}"),
        }
    }

    fn read(&mut self, journal: &mut Journal, length: usize, killed: Killed) {
        let length = length.min(journal.room());
        while self.pipe.len() < length {
            // Neighbouring bytes differ, so that a shifted copy is noticed.
            self.next += 1;
            self.pipe.push_back((self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8);
        }
        let front: Vec<u8> = self.pipe.iter().take(length).copied().collect();
        if length == 0 {
            return;
        }
        let peek = |place: &mut [u8]| {
            // The journal is shown the last part of the bytes that it will read.
            let shown = place.len();
            place.copy_from_slice(&front[..shown]);
            Ok(shown)
        };
        let read = |place: &mut [u8]| match killed {
            Killed::Before => Err(Errno::EINTR),
            Killed::Never | Killed::After => {
                place.copy_from_slice(&front);
                if killed == Killed::After { Err(Errno::EINTR) } else { Ok(length) }
            }
        };
        let _ = journal.read(length, peek, read);
        if killed != Killed::Before {
            self.pipe.drain(..length);
            self.read.extend(front);
        }
    }

    /// Overwrites words of the journal's first page, except the word that identifies its owner.
    fn overwrite(&self, input: &mut Input) {
        let file = std::fs::File::options().write(true).open(self.folder.path().join(JOURNAL));
        let Ok(mut file) = file else { return };
        while input.has_more() {
            let word = 1 + input.number() as u64 % 511;
            let value = [(); 8].map(|()| input.byte());
            let _ = file.seek(SeekFrom::Start(8 * word)).and_then(|_| file.write_all(&value));
        }
    }
}
