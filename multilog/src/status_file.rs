//! Writes the file that `=FILE` names, which shows the last line.
//!
//! Only a regular file is written to, or made: a FIFO or a device may do anything when it is opened, and none of them
//! could show a line from its beginning on. `/dev/null`, which people name to have no such file, shows nothing. The
//! directory may belong to another account than multilog's, which can put anything there: where others may write,
//! no link is followed, and a file of two names is not written to, as it may be another account's. Nor is a link on the
//! way to the directory followed that another account has made or can move, but to a directory of that account.

use crate::files;
use daemontools::files::{PathWalk, is_only_ours, may_be_anothers};
use daemontools::sys;
use daemontools::sys::kind::is_character_device;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::stat::{Mode, fstat, makedev, stat};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The file at the path, 0600 if it has to be made, shows `content` from its beginning on.
///
/// # Errors
/// It cannot be written. ENXIO: it is a FIFO, a socket or a device. ELOOP, EMLINK: a link, or a file with a second
/// name, in a directory that others may write to; ELOOP also as [`PathWalk::go`] has it.
pub fn show(path: &OsStr, content: &[u8]) -> nix::Result<()> {
    match open(path) {
        Err(Errno::ENXIO) if is_null(path) => Ok(()),
        opened => sys::write_all(&opened?, content),
    }
}

fn is_null(path: &OsStr) -> bool {
    stat(path).is_ok_and(|file| is_character_device(&file) && file.st_rdev == makedev(1, 3))
}

fn open(path: &OsStr) -> nix::Result<OwnedFd> {
    let mut path = path.to_os_string();
    let mut way = PathWalk::from(AT_FDCWD)?;
    loop {
        let (directory, name) = split(&path)?;
        way.go(directory)?;
        let target: OsString = match files::open_regular(way.at(), name, OFlag::O_WRONLY | OFlag::O_CREAT, MODE) {
            Err(Errno::ELOOP) if is_only_ours(&fstat(way.at())?) => way.follow(name)?,
            Ok((_, stat)) if may_be_anothers(way.at(), &stat)? => return Err(Errno::EMLINK),
            opened => return opened.map(|(file, _)| file),
        };
        path = target;
    }
}

const MODE: Mode = Mode::from_bits_truncate(0o600);

/// The directory of a path, and the name in it.
fn split(path: &OsStr) -> nix::Result<(&Path, &OsStr)> {
    let is_directory = path.as_bytes().ends_with(b"/");
    let path = Path::new(path);
    match (path.parent(), path.file_name()) {
        _ if path.as_os_str().is_empty() => Err(Errno::ENOENT),
        (Some(parent), Some(name)) if !is_directory => {
            Ok((if parent.as_os_str().is_empty() { Path::new(".") } else { parent }, name))
        }
        // As open(2) has it for what ends so.
        _ => Err(Errno::EISDIR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::mkfifo;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_regular_files_show_a_line_and_links_are_refused_where_others_may_write() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let refused = |mode: u32, errno| if mode & 0o022 == 0 { Ok(()) } else { Err(errno) };
        for mode in [0o755, 0o775, 0o1777] {
            fs::create_dir(at("folder")).unwrap();
            fs::set_permissions(at("folder"), Permissions::from_mode(mode)).unwrap();
            fs::write(at("other"), "kept").unwrap();
            symlink("../made", at("folder/dangling")).unwrap();
            symlink("../other", at("folder/link")).unwrap();
            symlink("loop", at("folder/loop")).unwrap();
            fs::hard_link(at("other"), at("folder/second")).unwrap();
            mkfifo(&at("folder/fifo"), Mode::S_IRWXU).unwrap();
            let _reader = fs::File::options().read(true).write(true).open(at("folder/fifo")).unwrap();
            symlink("/dev/null", at("folder/null")).unwrap();
            symlink("/dev/zero", at("folder/device")).unwrap();
            let show = |name: &str| show(at(&format!("folder/{name}")).as_os_str(), b"line");
            assert_eq!((show("new"), fs::read(at("folder/new")).unwrap()), (Ok(()), b"line".to_vec()));
            assert_eq!(fs::metadata(at("folder/new")).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!((show("new"), show("fifo")), (Ok(()), Err(Errno::ENXIO)));
            assert_eq!((show("link"), show("second")), (refused(mode, Errno::ELOOP), refused(mode, Errno::EMLINK)));
            assert_eq!((show("dangling"), at("made").exists()), (refused(mode, Errno::ELOOP), mode & 0o022 == 0));
            let expected: &[u8] = if mode & 0o022 == 0 { b"line" } else { b"kept" };
            assert_eq!((fs::read(at("other")).unwrap(), show("loop")), (expected.to_vec(), Err(Errno::ELOOP)));
            assert_eq!((show("new/"), show("no/x")), (Err(Errno::EISDIR), Err(Errno::ENOENT)));
            assert_eq!(show("null"), refused(mode, Errno::ELOOP));
            let device = if mode & 0o022 == 0 { Errno::ENXIO } else { Errno::ELOOP };
            assert_eq!(show("device"), Err(device));
            fs::remove_dir_all(at("folder")).unwrap();
            let _ = fs::remove_file(at("made"));
        }
        assert_eq!(show(OsStr::new("/dev/null"), b"line"), Ok(()));
        assert_eq!(show(OsStr::new(""), b"line"), Err(Errno::ENOENT));
    }
}
