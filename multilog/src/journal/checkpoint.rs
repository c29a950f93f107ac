//! What a checkpoint says: how far the input was read, how much of it is in the log directories, and how long the files
//! there are. No I/O.

use super::hashed::hash_of_numbers;
use crate::router::Line;
use crate::steps::OUTPUT;

/// The identity of a directory or of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Id {
    /// The number of the device.
    pub device: u64,
    /// The number of the inode.
    pub inode: u64,
}

/// In the place of a device: the inode is a hash of both. In the place of a device that may have another number now.
const HASHED: u64 = u64::MAX;
const ANY: u64 = u64::MAX - 1;

impl Id {
    pub(super) fn hashed(hash: u64) -> Id {
        Id { device: HASHED, inode: hash }
    }

    /// Whether this identity, read from a journal, is that of `known`, which was asked of an open file.
    pub fn is(&self, known: &Id) -> bool {
        match self.device {
            HASHED => self.inode == hash_of_numbers(known.device, known.inode),
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
    /// A moment of the period whose lines are in it, in seconds since 1970; `None` without rotation by time, and from a
    /// multilog that did not write it down.
    pub begun: Option<i64>,
}

impl File {
    /// Whether no other program has written to the file since the checkpoint.
    pub fn is_still(&self, inode: u64, size: u64) -> bool {
        inode == self.inode && (self.size..=self.size.saturating_add(self.underway)).contains(&size)
    }
}

/// What is called `current`, as stat(2) tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentFile {
    /// The number of its inode.
    pub inode: u64,
    /// Its length.
    pub size: u64,
    /// Whether its mode says that its writer has ended in order.
    pub is_complete: bool,
    /// Whether it is a file that has other names as well: it may be another account's.
    pub has_other_names: bool,
}

/// How far the input was read and written at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many bytes of the room are filled.
    pub filled: usize,
    /// How many of these bytes are in the directories.
    pub done: usize,
    /// Where in a line the input stands behind these bytes.
    pub line: Line,
    /// The directories' files, in the script's order.
    pub files: Vec<File>,
}

impl Checkpoint {
    /// The checkpoint of a journal into which nothing was read yet.
    pub fn blank() -> Checkpoint {
        Checkpoint { filled: 0, done: 0, line: Line::Fresh, files: Vec::new() }
    }

    /// Whether a journal with this much room for input can have come to this.
    pub fn is_possible(&self, room: usize) -> bool {
        self.done <= self.filled && self.filled <= room
    }

    /// Whether input was read that is in no directory yet.
    pub fn has_input(&self) -> bool {
        self.done < self.filled
    }

    /// After another boot a device may have another number: directories are known by their inodes alone.
    pub fn forget_devices(&mut self) {
        self.files.iter_mut().for_each(|file| file.folder.device = ANY);
    }

    /// What is known of the current file in a directory.
    pub fn file_in(&self, folder: &Id) -> Option<&File> {
        self.files.iter().find(|file| file.folder.is(folder))
    }

    /// Where in a line the input stands once the directories have these files. If none of them has the beginning of the
    /// line, the rest of it counts as a line, or it would be lost.
    pub fn line_among(&self, files: &[File]) -> Line {
        match self.line {
            Line::Within(to) if to != 0 => {
                let went = self.files.iter().enumerate().filter(|(number, _)| to >> number & 1 == 1);
                let now = went.filter_map(|(_, file)| files.iter().position(|other| file.folder.is(&other.folder)));
                match now.fold(to & OUTPUT, |all, number| all | 1 << number) {
                    0 => Line::Fresh,
                    to => Line::Within(to),
                }
            }
            line @ (Line::Fresh | Line::Within(_)) => line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: u64) -> File {
        File { folder: Id { device: 1, inode: folder }, ..File::default() }
    }

    #[test]
    fn a_line_goes_on_in_the_directories_that_have_its_beginning() {
        let within = Line::Within;
        let table = [
            (Line::Fresh, [1, 2], Line::Fresh),
            (within(0), [1, 2], within(0)),
            (within(0b11), [1, 2], within(0b11)),
            // The other script names them in the other order.
            (within(0b01), [2, 1], within(0b10)),
            (within(0b10), [2, 3], within(0b01)),
            (within(0b10), [1, 3], Line::Fresh),
            (within(OUTPUT | 0b10), [1, 3], within(OUTPUT)),
        ];
        for (line, now, expected) in table {
            let then = Checkpoint { line, files: vec![file(1), file(2)], ..Checkpoint::blank() };
            assert_eq!(then.line_among(&now.map(file)), expected, "{line:?} {now:?}");
        }
    }

    #[test]
    fn after_another_boot_a_directory_is_known_by_its_inode() {
        let mut then = Checkpoint { files: vec![file(1)], ..Checkpoint::blank() };
        let other_device = Id { device: 7, inode: 1 };
        assert_eq!(then.file_in(&other_device), None);
        then.forget_devices();
        assert!(then.file_in(&other_device).is_some());
        assert_eq!(then.file_in(&Id { device: 7, inode: 2 }), None);
    }

    #[test]
    fn a_file_is_still_the_same_within_what_was_being_written() {
        let noted = File { inode: 3, size: 10, underway: 5, ..File::default() };
        for (inode, size, expected) in [(3, 10, true), (3, 15, true), (3, 9, false), (3, 16, false), (4, 10, false)] {
            assert_eq!(noted.is_still(inode, size), expected, "{inode} {size}");
        }
    }
}
