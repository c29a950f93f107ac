//! Reading a file that others may own: a regular one, up to a limit, without waiting.

use super::open::{Unread, open_as};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Reads a regular file, which links may lead to.
///
/// # Errors
/// The file is not there, is no regular file, or has more than `most` bytes.
pub fn read_file(path: &Path, most: usize) -> Result<Vec<u8>, Unread> {
    read(open_as(path, SFlag::S_IFREG, OFlag::O_RDONLY, OFlag::empty())?, most).map(|(bytes, _)| bytes)
}

/// Reads a regular file that no link may lead to, and tells whose it is: what lies in `supervise/` is there itself.
///
/// # Errors
/// As for [`read_file`]; a link is of a wrong kind.
pub fn read_file_itself(path: &Path, most: usize) -> Result<(Vec<u8>, FileStat), Unread> {
    read(open_as(path, SFlag::S_IFREG, OFlag::O_RDONLY, OFlag::O_NOFOLLOW)?, most)
}

fn read((file, stat): (OwnedFd, FileStat), most: usize) -> Result<(Vec<u8>, FileStat), Unread> {
    // Only a guess of how much there is: the file may grow, or say 0 of what the kernel makes up.
    let expected = usize::try_from(stat.st_size).unwrap_or(0).min(most);
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

/// Reads the beginning of a regular file, which links may lead to: `most` bytes, or all of it if it has fewer.
///
/// # Errors
/// The file is not there, or is no regular file.
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

    /// A directory with one of each: what is `good` can be read, everything else is refused at once.
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
            // However long it is, it is only opened; a link is not followed.
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
    fn what_the_kernel_makes_up_is_read_though_it_says_that_it_is_empty() {
        assert!(!read_file(Path::new("/proc/self/stat"), 4096).unwrap().is_empty());
        assert_eq!(read_file(Path::new("/proc/self/stat"), 3), Err(Unread::TooLong));
    }
}
