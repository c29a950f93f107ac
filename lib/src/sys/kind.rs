//! What kind of file something is, as stat(2) tells it.

use nix::sys::stat::{FileStat, SFlag};

/// The file's type, without its permission bits.
pub fn of(file: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(file.st_mode) & SFlag::S_IFMT
}

/// Whether this is a regular file.
pub fn is_regular(file: &FileStat) -> bool {
    of(file) == SFlag::S_IFREG
}

/// Whether this is a directory.
pub fn is_directory(file: &FileStat) -> bool {
    of(file) == SFlag::S_IFDIR
}

/// Whether this is a symbolic link.
pub fn is_link(file: &FileStat) -> bool {
    of(file) == SFlag::S_IFLNK
}

/// Whether this is a FIFO, or a pipe without a name.
pub fn is_fifo(file: &FileStat) -> bool {
    of(file) == SFlag::S_IFIFO
}

/// Whether this is a character device, such as `/dev/null`.
pub fn is_character_device(file: &FileStat) -> bool {
    of(file) == SFlag::S_IFCHR
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::{Mode, fstat, lstat};
    use nix::unistd::{mkfifo, pipe};

    #[test]
    fn each_kind_is_known_and_no_other_is_taken_for_it() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        let (reader, _writer) = pipe().unwrap();
        let questions = [is_regular, is_directory, is_link, is_fifo, is_character_device];
        let table = [
            (lstat(&at("file")), 0),
            (lstat(scratch.path()), 1),
            (lstat(&at("link")), 2),
            (lstat(&at("fifo")), 3),
            (fstat(&reader), 3),
            (lstat("/dev/null"), 4),
        ];
        for (file, kind) in table {
            let file = file.unwrap();
            let answers = questions.map(|question| question(&file));
            assert_eq!(answers, std::array::from_fn(|number| number == kind), "{kind}");
        }
    }
}
