//! Writing a file that others read: the new file is made beside the one that it replaces, and renamed over it.

use crate::sys;
use crate::sys::exec::c_string;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, open, renameat, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Writes a file as `new` and renames it to `path`, so that a reader sees the old file or the new one, each complete.
/// Neither name is written through if it is a link, and a file that existed before is never written to.
///
/// # Errors
/// The step that the system refused ("open", "write" or "rename") and why. The old file is unchanged then.
pub fn put_file(new: &Path, path: &Path, bytes: &[u8]) -> Result<(), (&'static str, Errno)> {
    put_file_first(new, path, bytes)?.tidy()
}

/// Does what [`put_file`] does, but leaves the old file beside the new one until [`Replaced::tidy`] is called. To
/// remove the old file takes as long as everything else together, and no reader depends on it. If `tidy` is never
/// called, the next call removes the old file.
///
/// # Errors
/// As for [`put_file`].
pub fn put_file_first(new: &Path, path: &Path, bytes: &[u8]) -> Result<Replaced, (&'static str, Errno)> {
    // nix copies short paths to the stack. C strings made here need no such copy.
    let string = |path: &Path| c_string(path.as_os_str()).map_err(|errno| ("open", errno));
    let (new, path) = (string(new)?, string(path)?);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let create = || open(new.as_c_str(), flags, Mode::from_bits_truncate(0o644));
    let created = match create() {
        // A writer that was killed has left this file. It may be the old version of `path`, which a reader may still
        // have open, so it is removed and not written to.
        Err(Errno::EEXIST) => unlinkat(AT_FDCWD, new.as_c_str(), UnlinkatFlags::NoRemoveDir).and_then(|()| create()),
        created => created,
    };
    let file = created.map_err(|errno| ("open", errno))?;
    sys::write_all(&file, bytes).map_err(|errno| ("write", errno))?;
    // When a file is renamed over another one, ext4 writes the new one to disk at once, which takes as long as a dozen
    // of the system calls here. It does not do so when the two files are exchanged and the old one is removed. The
    // contents need not reach the disk, because they are of no use after this boot.
    if exchange(&new, &path).is_ok() {
        return Ok(Replaced { beside: Some(new), path, _file: file });
    }
    // The exchange fails if there is no old file yet, or if the file system does not support it.
    renameat(AT_FDCWD, new.as_c_str(), AT_FDCWD, path.as_c_str()).map_err(|errno| ("rename", errno))?;
    Ok(Replaced { beside: None, path, _file: file })
}

/// A file that was put in place while the old version still exists under the other name.
#[derive(Debug)]
#[must_use]
pub struct Replaced {
    /// The name of the old file, if there was one.
    beside: Option<CString>,
    path: CString,
    /// The new file is closed only in `tidy`, because closing takes time too.
    _file: OwnedFd,
}

impl Replaced {
    /// Removes the old file.
    ///
    /// # Errors
    /// "rename", with the reason. If the old file is a directory, for example, it is put back in its place.
    pub fn tidy(self) -> Result<(), (&'static str, Errno)> {
        let Some(old) = self.beside else { return Ok(()) };
        if unlinkat(AT_FDCWD, old.as_c_str(), UnlinkatFlags::NoRemoveDir).is_ok() {
            return Ok(());
        }
        // If the old file is a directory, it is renamed back to its place.
        let rename = || renameat(AT_FDCWD, old.as_c_str(), AT_FDCWD, self.path.as_c_str());
        exchange(&old, &self.path).and_then(|()| rename()).map_err(|errno| ("rename", errno))
    }
}

/// Exchanges the names of two files.
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
