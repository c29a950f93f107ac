//! Reading a file that others may own. It must be a regular file, it is read up to a limit, and the reader never waits.

use super::open::{Unread, open_as, open_found, open_made_up, open_on_mount};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Reads a regular file. Symbolic links are followed.
///
/// # Errors
/// The file does not exist, is no regular file, or has more than `most` bytes.
pub fn read_file(path: &Path, most: usize) -> Result<Vec<u8>, Unread> {
    read(open_as(path, SFlag::S_IFREG, OFlag::O_RDONLY, OFlag::empty())?, most).map(|(bytes, _)| bytes)
}

/// Reads a file that the kernel makes up, for example `/proc/PID/status`. Every other function here refuses such files. The
/// caller must know that the kernel waits for no other process there.
///
/// # Errors
/// As for [`read_file`].
pub fn read_made_up(path: &Path, most: usize) -> Result<Vec<u8>, Unread> {
    read(open_made_up(path)?, most).map(|(bytes, _)| bytes)
}

/// Reads a regular file on the mount of the current directory. Symbolic links are followed.
///
/// # Errors
/// As for [`read_file`]. EXDEV: the path leads to another mount, which was not asked. ENOSYS, EPERM: the kernel cannot
/// tell.
pub fn read_file_on_mount(path: &Path, most: usize) -> Result<Vec<u8>, Unread> {
    let found = open_on_mount(path, OFlag::empty())?;
    // Without /proc the file cannot be opened by the descriptor, and its name may lead elsewhere by now.
    let opened = open_found(found, SFlag::S_IFREG, OFlag::O_RDONLY, |_| Err(Errno::ENOSYS))?;
    read(opened, most).map(|(bytes, _)| bytes)
}

/// Reads a regular file, and returns it with what fstat(2) says of it, its owner among others. A symbolic link is
/// refused: the files in `supervise/` are never links.
///
/// # Errors
/// As for [`read_file`]. A link is [`Unread::WrongKind`].
pub fn read_file_itself(path: &Path, most: usize) -> Result<(Vec<u8>, FileStat), Unread> {
    read(open_as(path, SFlag::S_IFREG, OFlag::O_RDONLY, OFlag::O_NOFOLLOW)?, most)
}

fn read((file, stat): (OwnedFd, FileStat), most: usize) -> Result<(Vec<u8>, FileStat), Unread> {
    // The size is only a guess: the file may grow, and the kernel reports 0 for files that it generates, as in `/proc`.
    let size = usize::try_from(stat.st_size).unwrap_or(0);
    let expected = size.min(most);
    let mut bytes = vec![0; expected + 1];
    let mut length = 0;
    loop {
        if length == bytes.len() {
            if length > most {
                return Err(Unread::TooLong);
            }
            bytes.resize((2 * length).max(512).min(most + 1), 0);
        }
        match nix::unistd::read(&file, bytes.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            // The first read asks for one byte more than a file on a disk has. If it gets all but that one, the file ends
            // there.
            Ok(count) if length == 0 && count == size => {
                length = count;
                break;
            }
            Ok(count) => length += count,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    if length > most {
        return Err(Unread::TooLong);
    }
    bytes.truncate(length);
    Ok((bytes, stat))
}

/// Reads the beginning of a regular file: `most` bytes, or the whole file if it is shorter. Symbolic links are
/// followed.
///
/// # Errors
/// The file does not exist, or is no regular file.
pub fn read_beginning(path: &Path, most: usize) -> Result<Vec<u8>, Unread> {
    let (file, _) = open_as(path, SFlag::S_IFREG, OFlag::O_RDONLY, OFlag::empty())?;
    let mut bytes = vec![0; most];
    let mut length = 0;
    while length < most {
        match nix::unistd::read(&file, bytes.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::open_file_itself_at;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;

    const MOST: usize = 100;

    /// Makes a directory with one file of each kind. The table says which of them can be read; all others are refused
    /// at once.
    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::write(at("good"), "text").unwrap();
        fs::write(at("full"), [b'x'; MOST]).unwrap();
        fs::write(at("long"), [b'x'; MOST + 1]).unwrap();
        fs::File::create(at("huge")).unwrap().set_len(1 << 40).unwrap();
        fs::create_dir(at("directory")).unwrap();
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        let listening = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).unwrap();
        bind(listening.as_raw_fd(), &UnixAddr::new(&at("socket")).unwrap()).unwrap();
        for (link, to) in [
            ("to-good", "good"),
            ("to-fifo", "fifo"),
            ("to-zero", "/dev/zero"),
            ("to-null", "/dev/null"),
            ("to-nothing", "x"),
        ] {
            symlink(to, at(link)).unwrap();
        }
        symlink("loop", at("loop")).unwrap();
        let directory = fs::File::open(scratch.path()).unwrap();
        let table: [(&str, Result<&[u8], Unread>); 13] = [
            ("good", Ok(b"text")),
            ("to-good", Ok(b"text")),
            ("full", Ok(&[b'x'; MOST])),
            ("long", Err(Unread::TooLong)),
            ("huge", Err(Unread::TooLong)),
            ("directory", Err(Unread::WrongKind)),
            ("fifo", Err(Unread::WrongKind)),
            ("to-fifo", Err(Unread::WrongKind)),
            ("socket", Err(Unread::WrongKind)),
            ("to-zero", Err(Unread::WrongKind)),
            ("to-null", Err(Unread::WrongKind)),
            ("to-nothing", Err(Unread::System(Errno::ENOENT))),
            ("loop", Err(Unread::System(Errno::ELOOP))),
        ];
        for (name, expected) in table {
            assert_eq!(read_file(&at(name), MOST), expected.map(<[u8]>::to_vec), "{name}");
            let itself = read_file_itself(&at(name), MOST).map(|(bytes, _)| bytes);
            let is_link = name.starts_with("to-") || name == "loop";
            let expected = if is_link { Err(Unread::WrongKind) } else { expected };
            assert_eq!(itself, expected.map(<[u8]>::to_vec), "{name}");
            // This function opens the file but does not read it, so a file of any length is accepted. A link is
            // refused.
            let itself = match expected {
                Ok(_) | Err(Unread::TooLong) if !name.starts_with("to-") => Ok(()),
                _ => Err(Unread::WrongKind),
            };
            assert_eq!(open_file_itself_at(&directory, Path::new(name)).map(drop), itself, "{name}");
        }
        assert_eq!(open_file_itself_at(&directory, Path::new("x")).map(drop), Err(Unread::System(Errno::ENOENT)));
    }

    #[test]
    fn the_beginning_is_as_much_as_there_is() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("run");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        assert_eq!(read_beginning(&path, 5).unwrap(), b"#!/bi");
        assert_eq!(read_beginning(&path, 50).unwrap(), b"#!/bin/sh\n");
        assert_eq!(read_beginning(Path::new("/dev/zero"), 5), Err(Unread::WrongKind));
    }

    #[test]
    fn what_the_kernel_makes_up_is_read_on_demand_only_though_it_says_that_it_is_empty() {
        let made_up = Path::new("/proc/self/stat");
        assert!(!read_made_up(made_up, 4096).unwrap().is_empty());
        assert_eq!(read_made_up(made_up, 3), Err(Unread::TooLong));
        let scratch = tempfile::tempdir().unwrap();
        let link = scratch.path().join("link");
        for file in ["/proc/self/environ", "/proc/self/stat", "/sys/kernel/uevent_seqnum", "/proc/sys/kernel/ostype"] {
            let _ = fs::remove_file(&link);
            symlink(file, &link).unwrap();
            if link.exists() {
                assert_eq!(read_file(&link, 4096), Err(Unread::WrongKind), "{file}");
                assert_eq!(read_beginning(&link, 1), Err(Unread::WrongKind), "{file}");
                assert_eq!(read_file_itself(Path::new(file), 4096).map(drop), Err(Unread::WrongKind), "{file}");
            }
        }
    }
}
