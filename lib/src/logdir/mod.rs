//! The log directory: the names, modes and labels of its files, and the stamps in front of their lines. No other module
//! defines them.
//!
//! | file | what it is |
//! |---|---|
//! | `current` | what multilog writes to; mode 0644, and 0744 once multilog has ended it in order |
//! | `previous` | a full file that waits for its processor or for its final name |
//! | `processed` | what a processor makes of `previous`; mode 0744 once it is whole |
//! | `state`, `newstate` | what a processor remembers, and what it is writing to remember |
//! | `lock` | locked with flock(2) for as long as a multilog serves the directory |
//! | `journal` | what multilog has read from its input and has not yet written to `current` |
//! | `@LABEL.CODE` | an old file, finished at the time that LABEL tells; CODE is `s` if it is safe on the disk, `u` if not, or what multilog's action `w` says |
//! | `@LABEL.CODE.zst`, `.gz` | the same file, compressed |
//! | `compressing`, `compressing.lock` | what logcompress is writing, and the lock against a second logcompress |
//!
//! multilog and logcompress write these files, and svlog reads them. Opening them is [`files`](crate::files)' work.
//!
//! Source: daemontools 0.76 for all but `journal`, the suffixes and logcompress's two files.

pub mod locate;
mod old;
pub mod script;
pub mod stamp;

use nix::sys::stat::{FileStat, Mode};
pub use old::{Finished, Old, finished_name, in_order, is_old, label_of, last_fall, plain_name};

/// The file to which multilog writes lines.
pub const CURRENT: &str = "current";
/// A full file that waits for its processor or its final name.
pub const PREVIOUS: &str = "previous";
/// The file that a processor makes from [`PREVIOUS`].
pub const PROCESSED: &str = "processed";
/// The file in which a processor remembers things from one log file to the next.
pub const STATE: &str = "state";
/// The file that a processor writes to remember things. multilog renames it to [`STATE`] when the processor has
/// succeeded.
pub const NEW_STATE: &str = "newstate";
/// The file that a multilog locks with flock(2) for as long as it serves the directory. multilog opens it before all
/// other files.
pub const LOCK: &str = "lock";
/// The file with the lines that multilog has read and not yet written.
pub const JOURNAL: &str = "journal";
/// The file that logcompress is writing.
pub const COMPRESSING: &str = "compressing";
/// The file that a logcompress locks with flock(2) while it works in the directory, and removes at its end. logcompress
/// does not lock the directory itself, because any account that may read a directory may lock it.
pub const COMPRESSING_LOCK: &str = "compressing.lock";

/// The code of an old file that was safely on the disk when it got its name.
pub const SAFE: &[u8] = b"s";
/// The code of an old file that may not have been on the disk then: its last line may be cut off.
pub const UNSAFE: &[u8] = b"u";

/// The mode of a file that its writer has ended in order.
pub const COMPLETE: Mode = Mode::from_bits_truncate(0o744);
/// The mode of a file that is being written.
pub const INCOMPLETE: Mode = Mode::from_bits_truncate(0o644);

/// Whether the mode of a file says that its writer has ended it in order.
pub fn is_complete(file: &FileStat) -> bool {
    file.st_mode & Mode::S_IXUSR.bits() != 0
}

/// How old files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// zstd(1).
    Zstd,
    /// gzip(1).
    Gzip,
}

impl Compression {
    /// Both kinds, in the order in which a reader looks for a file that was compressed meanwhile.
    pub const ALL: [Compression; 2] = [Compression::Zstd, Compression::Gzip];

    /// Returns the suffix of the name of a file that is compressed in this way.
    pub const fn suffix(self) -> &'static str {
        match self {
            Compression::Zstd => ".zst",
            Compression::Gzip => ".gz",
        }
    }

    /// Returns the word for this compression, which logcompress and multilog's action `z` take as an argument.
    pub const fn word(self) -> &'static str {
        match self {
            Compression::Zstd => "zstd",
            Compression::Gzip => "gzip",
        }
    }

    /// Returns the compression that this word names.
    pub fn from_word(word: &[u8]) -> Option<Compression> {
        Compression::ALL.into_iter().find(|compression| compression.word().as_bytes() == word)
    }

    /// Returns the compression of a file by the suffix of its name; `None` if the name has no such suffix.
    pub fn of_name(name: &[u8]) -> Option<Compression> {
        Compression::ALL.into_iter().find(|compression| name.ends_with(compression.suffix().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compression_is_known_by_its_word_and_its_suffix() {
        for compression in Compression::ALL {
            assert_eq!(Compression::from_word(compression.word().as_bytes()), Some(compression));
            let name = format!("@400000000000000b000001f4.s{}", compression.suffix());
            assert_eq!(Compression::of_name(name.as_bytes()), Some(compression));
        }
        assert_eq!((Compression::from_word(b"xz"), Compression::of_name(b"@400000000000000b000001f4.s")), (None, None));
    }
}
