//! Writing a file that others read: beside the one that it replaces, and put in its place at once.

use crate::sys;
use crate::sys::exec::c_string;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, open, renameat, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Writes a file beside the one it is to replace, as `new`, and puts it in its place: a reader sees one or the other,
/// whole. Neither place is ever written through a link, nor a file that was there before written to.
///
/// # Errors
/// Which step the system refused, "open", "write" or "rename", and why; then the old file is as it was.
pub fn put_file(new: &Path, path: &Path, bytes: &[u8]) -> Result<(), (&'static str, Errno)> {
    put_file_first(new, path, bytes)?.tidy()
}

/// Does what [`put_file`] does, but leaves the old file beside the new one until [`Replaced::tidy`] is called. That takes as
/// long as all the rest, and matters to no reader. Never tidied, the old file is removed when the next one is put.
///
/// # Errors
/// As for [`put_file`].
pub fn put_file_first(new: &Path, path: &Path, bytes: &[u8]) -> Result<Replaced, (&'static str, Errno)> {
    // Strings as the kernel wants them need no room in the stack.
    let string = |path: &Path| c_string(path.as_os_str()).map_err(|errno| ("open", errno));
    let (new, path) = (string(new)?, string(path)?);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let create = || open(new.as_c_str(), flags, Mode::from_bits_truncate(0o644));
    let created = match create() {
        // A writer that was killed has left it: perhaps what was in place before, which a process may be reading.
        Err(Errno::EEXIST) => unlinkat(AT_FDCWD, new.as_c_str(), UnlinkatFlags::NoRemoveDir).and_then(|()| create()),
        created => created,
    };
    let file = created.map_err(|errno| ("open", errno))?;
    sys::write_all(&file, bytes).map_err(|errno| ("write", errno))?;
    // A file that is renamed over another one is sent to the disk at once by ext4, which takes as long as a dozen of the
    // calls here. Exchanged with the other one, which is removed then, it is not: what is in it is of no use after this
    // boot.
    if exchange(&new, &path).is_ok() {
        return Ok(Replaced { beside: Some(new), path, _file: file });
    }
    // There may be no other one yet, or a file system that cannot.
    renameat(AT_FDCWD, new.as_c_str(), AT_FDCWD, path.as_c_str()).map_err(|errno| ("rename", errno))?;
    Ok(Replaced { beside: None, path, _file: file })
}

/// A file that was put in its place, while the old one is still beside it.
#[derive(Debug)]
#[must_use]
pub struct Replaced {
    /// Where the old file is, if there was one.
    beside: Option<CString>,
    path: CString,
    /// It is closed late as well: that too takes time.
    _file: OwnedFd,
}

impl Replaced {
    /// Removes the old file.
    ///
    /// # Errors
    /// "rename", and why: the old file is a directory, for example; then it is in its place again.
    pub fn tidy(self) -> Result<(), (&'static str, Errno)> {
        let Some(old) = self.beside else { return Ok(()) };
        if unlinkat(AT_FDCWD, old.as_c_str(), UnlinkatFlags::NoRemoveDir).is_ok() {
            return Ok(());
        }
        // The old file is a directory.
        let rename = || renameat(AT_FDCWD, old.as_c_str(), AT_FDCWD, self.path.as_c_str());
        exchange(&old, &self.path).and_then(|()| rename()).map_err(|errno| ("rename", errno))
    }
}

/// Has two files change places.
fn exchange(one: &CStr, other: &CStr) -> nix::Result<()> {
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::mkfifo;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_put_in_place_of_anything_and_never_through_a_link() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let put = |text: &str| put_file(&at("new"), &at("file"), text.as_bytes());
        fs::write(at("victim"), "kept").unwrap();
        assert_eq!(put("1"), Ok(()));
        assert_eq!(put("2"), Ok(()));
        symlink("victim", at("new")).unwrap();
        assert_eq!(put("3"), Ok(()));
        fs::remove_file(at("file")).unwrap();
        symlink("victim", at("file")).unwrap();
        assert_eq!(put("4"), Ok(()));
        mkfifo(&at("new"), Mode::S_IRWXU).unwrap();
        assert_eq!(put("5"), Ok(()));
        fs::create_dir(at("new")).unwrap();
        fs::write(at("new/x"), "").unwrap();
        assert_eq!(put("6"), Err(("open", Errno::EISDIR)));
        assert_eq!(fs::read(at("file")).unwrap(), b"5");
        fs::remove_dir_all(at("new")).unwrap();
        fs::remove_file(at("file")).unwrap();
        fs::create_dir(at("file")).unwrap();
        fs::write(at("file/x"), "").unwrap();
        assert_eq!(put("7"), Err(("rename", Errno::EISDIR)));
        assert_eq!(fs::read(at("victim")).unwrap(), b"kept");
    }
}
