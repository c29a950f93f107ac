//! What identifies a service directory. It differs from that of any directory that has the same path later, and from
//! that of a copy.

use super::policy::ABSTRACT;
use super::{LOCK, RUN};
use crate::files::stays_on_mount;
use crate::report::errno_of;
use crate::sys;
use crate::sys::file_numbers::{copies_on_write, keeps_number_of};
use crate::sys::kind::{is_directory, is_link};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, lstat};
use nix::unistd::chown;
use std::fmt::{self, Display};
use std::path::Path;

/// Every directory of a service has one of these files.
const FILES: [&str; 2] = [RUN, LOCK];

/// Whether a directory contains a `run`, or is that of a state, or may contain one that this account cannot see. An empty path is
/// the current directory.
pub fn may_be_service(directory: &Path) -> bool {
    may_be_program(&directory.join(RUN)) || lstat(&directory.join(ABSTRACT)) != Err(Errno::ENOENT)
}

/// Whether a path may lead to a file. The system has a directory `/run`, and often a link to it. A link to another mount
/// is not followed.
fn may_be_program(path: &Path) -> bool {
    match lstat(path) {
        Ok(file) if is_link(&file) => stays_on_mount(path) != Some(true) || !path.is_dir(),
        Ok(file) => !is_directory(&file),
        Err(errno) => errno != Errno::ENOENT,
    }
}

/// The identity of a directory. As text: `inode DEVICE INODE BORN`, or `path PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directory {
    /// The directory is identified by its inode number and the time when it was made.
    Inode {
        /// The device number of the file system.
        device: u64,
        /// The inode number, which another directory may get once this one is removed.
        inode: u64,
        /// When the directory was made, in nanoseconds since 1970; 0 where the file system does not report it.
        born: u64,
    },
    /// The directory is identified by its path, on a file system that does not keep inode numbers.
    Path(String),
}

impl Directory {
    /// The identity of the directory at this path, or of the current directory if the path is empty.
    ///
    /// # Errors
    /// The directory does not exist or cannot be examined. EILSEQ: its path is not UTF-8.
    pub fn at(path: &Path) -> nix::Result<Directory> {
        let path = if path == Path::new("") { Path::new(".") } else { path };
        let file = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        if !keeps_number_of(&file, sys::file_system(&file)?.kind, &FILES)? {
            let resolved = std::fs::canonicalize(path).map_err(|error| errno_of(&error))?;
            return resolved.into_os_string().into_string().map(Directory::Path).map_err(|_| Errno::EILSEQ);
        }
        let found = nix::sys::stat::fstat(&file)?;
        Ok(Directory::Inode {
            device: found.st_dev,
            inode: found.st_ino,
            born: match sys::directory::born(&file) {
                Err(Errno::ENOSYS | Errno::EPERM) => 0,
                born => born?.unwrap_or(0),
            },
        })
    }

    /// The identity that the directory at this path keeps also after its first change. On an overlay, the first change
    /// copies the directory into the upper layer, and the copy has another time at which it was made. So this function
    /// has the copy made now; if that is not possible, it leaves the time out.
    ///
    /// # Errors
    /// As for [`Directory::at`].
    pub fn lasting_at(path: &Path) -> nix::Result<Directory> {
        let path = if path == Path::new("") { Path::new(".") } else { path };
        let file = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        if !copies_on_write(sys::file_system(&file)?.kind) {
            return Directory::at(path);
        }
        // A change of owner that names none changes nothing, and needs no right to the directory.
        let is_copied = chown(path, None, None).is_ok();
        Ok(match Directory::at(path)? {
            Directory::Inode { device, inode, .. } if !is_copied => Directory::Inode { device, inode, born: 0 },
            directory => directory,
        })
    }

    /// Whether both are the same directory, judged by what is known of both.
    pub fn is_same_as(&self, other: &Directory) -> bool {
        use Directory::{Inode, Path};
        let differ = |one: u64, other: u64| one != 0 && other != 0 && one != other;
        match (self, other) {
            (Inode { device, inode, born }, Inode { device: its_device, inode: its_inode, born: its_born }) => {
                (device, inode) == (its_device, its_inode) && !differ(*born, *its_born)
            }
            (Path(path), Path(its_path)) => path == its_path,
            (Inode { .. }, Path(_)) | (Path(_), Inode { .. }) => false,
        }
    }

    /// Reads the text that [`Display`] writes.
    pub fn parse(text: &str) -> Option<Directory> {
        let (kind, rest) = text.split_once(' ')?;
        match kind {
            "path" => Some(Directory::Path(without_escapes(rest)?)),
            "inode" => {
                let mut numbers = rest.split(' ').map(|number| number.parse().ok());
                let mut number = || numbers.next().flatten();
                Some(Directory::Inode { device: number()?, inode: number()?, born: number()? })
            }
            _ => None,
        }
    }
}

impl Display for Directory {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Directory::Inode { device, inode, born } => write!(to, "inode {device} {inode} {born}"),
            // A line cannot contain a newline, so it is escaped.
            Directory::Path(path) => write!(to, "path {}", path.replace('\\', r"\\").replace('\n', r"\n")),
        }
    }
}

/// Replaces the two-character escapes of backslashes and newlines in a path.
fn without_escapes(text: &str) -> Option<String> {
    let mut path = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => path.push(if characters.next()? == 'n' { '\n' } else { '\\' }),
            character => path.push(character),
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_itself_under_another_name_and_its_copy_is_not() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        std::fs::create_dir(at("one")).unwrap();
        let one = Directory::at(&at("one")).unwrap();
        std::fs::rename(at("one"), at("renamed")).unwrap();
        assert_eq!(Directory::at(&at("renamed")).unwrap(), one);
        assert_eq!(Directory::parse(&one.to_string()), Some(one.clone()));
        std::fs::create_dir(at("one")).unwrap();
        assert_ne!(Directory::at(&at("one")).unwrap(), one);
        // A file system may give the inode number of a removed directory to the next one, which must still count as
        // another directory.
        std::fs::remove_dir(at("renamed")).unwrap();
        std::fs::create_dir(at("renamed")).unwrap();
        assert_ne!(Directory::at(&at("renamed")).unwrap(), one);
    }

    #[test]
    fn a_directory_of_the_name_run_makes_no_service() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        for name in ["none", "directory/run", "link", "file", "dangling"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        std::fs::write(at("file/run"), "").unwrap();
        for (name, target) in [("link/run", "../directory"), ("dangling/run", "nowhere")] {
            std::os::unix::fs::symlink(target, at(name)).unwrap();
        }
        for (name, expected) in
            [("none", false), ("directory", false), ("link", false), ("file", true), ("dangling", true)]
        {
            assert_eq!(may_be_service(&at(name)), expected, "{name}");
        }
    }

    #[test]
    fn what_is_not_known_of_a_directory_makes_it_no_other() {
        let table = [
            ("inode 1 2 3", "inode 1 2 3", true),
            ("inode 1 2 3", "inode 1 2 0", true),
            ("inode 1 2 0", "inode 1 2 3", true),
            ("inode 1 2 3", "inode 1 2 4", false),
            ("inode 1 2 0", "inode 1 3 0", false),
            ("inode 1 2 0", "inode 4 2 0", false),
            ("path /a", "path /a", true),
            ("path /a", "path /b", false),
            ("path /a", "inode 1 2 3", false),
        ];
        for (one, other, same) in table {
            let [one, other] = [one, other].map(|text| Directory::parse(text).unwrap());
            assert_eq!((one.is_same_as(&other), other.is_same_as(&one)), (same, same), "{one} {other}");
        }
    }

    #[test]
    fn texts_that_make_no_sense_are_no_directory() {
        for path in ["/a b", "/a\nb", r"/a\nb\\", "/a?b\r"] {
            let path = Directory::Path(path.into());
            assert!(!path.to_string().contains('\n'));
            assert_eq!(Directory::parse(&path.to_string()), Some(path));
        }
        for text in ["", "inode", "inode 1 2", "inode 1 x 3", "other 1 2 3", "inode  1 2 3", r"path /a\"] {
            assert_eq!(Directory::parse(text), None, "{text:?}");
        }
    }
}
