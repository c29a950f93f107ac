//! An entry is taken out of the scan directory only if it still is what svctl has looked at: a deployment may put another
//! link in its place at any time.
//!
//! No system call removes a link on such a condition. So svctl gives the entry a name that begins with a dot, which svscan
//! ignores, looks at it there, where no other program replaces it, and removes it or puts it back. If svctl is killed in
//! between, the entry keeps that name, until the next `svctl remove` of the service puts it back first.

use daemontools::service::{Directory, answers};
use daemontools::sys::directory::rename_to_new;
use daemontools::sys::kind::is_link;
use daemontools::{Attempt, Unable};
use nix::errno::Errno;
use nix::sys::stat::lstat;
use nix::unistd::unlink;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// How the name of an entry begins that is being removed.
const ASIDE: &[u8] = b".removing.";
/// The longest name of a file, in bytes.
const LONGEST_NAME: usize = 255;

/// A link in the scan directory, and where it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    device: u64,
    inode: u64,
    /// `None` if it leads to no directory, or if that does not answer.
    directory: Option<Directory>,
}

impl Entry {
    /// The entry at this path.
    ///
    /// # Errors
    /// ENOENT: there is none. EINVAL: it is no link.
    pub fn at(path: &Path) -> nix::Result<Entry> {
        let found = lstat(path)?;
        if !is_link(&found) {
            return Err(Errno::EINVAL);
        }
        let directory = if answers(path) { Directory::at(path).ok() } else { None };
        Ok(Entry { device: found.st_dev, inode: found.st_ino, directory })
    }

    /// Removes this entry from this path. Returns false if another entry is there by now, which stays.
    ///
    /// # Errors
    /// The system refuses to remove the entry, or to put back what is not this entry.
    pub fn remove_from(&self, path: &Path) -> Result<bool, Unable> {
        let aside = aside(path);
        let moved = match rename_to_new(path, &aside) {
            // It was left there by an svctl that was killed, and has got a successor since.
            Err(Errno::EEXIST) => unlink(&aside).and_then(|()| rename_to_new(path, &aside)),
            moved => moved,
        };
        moved.unable_to("remove", path)?;
        if Entry::at(&aside).as_ref() != Ok(self) {
            return put_back(&aside, path).map(|()| false);
        }
        if let Err(errno) = unlink(&aside) {
            put_back(&aside, path)?;
            return Err(Unable::new("remove", path, errno));
        }
        Ok(true)
    }
}

/// Puts an entry back that an svctl has left aside which was killed. Returns whether there was one. An entry that has come
/// since stays.
///
/// # Errors
/// The system refuses to rename it.
pub fn restore(path: &Path) -> Result<bool, Unable> {
    let aside = aside(path);
    if lstat(path) != Err(Errno::ENOENT) || !lstat(&aside).is_ok_and(|found| is_link(&found)) {
        return Ok(false);
    }
    put_back(&aside, path).map(|()| true)
}

/// Puts an entry back, unless there is another one at its path by now: that has replaced it.
fn put_back(aside: &Path, path: &Path) -> Result<(), Unable> {
    match rename_to_new(aside, path) {
        Err(Errno::EEXIST) => unlink(aside).unable_to("remove", aside),
        // Another svctl has put it back, or has removed it.
        Err(Errno::ENOENT) => Ok(()),
        renamed => renamed.unable_to("rename", aside),
    }
}

/// The path to which an entry is moved before it is removed. A very long name is cut.
fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let name: Vec<u8> = ASIDE.iter().chain(name).copied().take(LONGEST_NAME).collect();
    path.with_file_name(OsString::from_vec(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn scratch() -> tempfile::TempDir {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["v1", "v2"] {
            fs::create_dir(scratch.path().join(name)).unwrap();
        }
        scratch
    }

    fn names(directory: &Path) -> Vec<OsString> {
        let mut names: Vec<OsString> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_the_entry_that_was_seen_is_removed() {
        for long in [3, 250, 255] {
            let scratch = scratch();
            let web = scratch.path().join("w".repeat(long));
            symlink("v1", &web).unwrap();
            let seen = Entry::at(&web).unwrap();
            symlink("v2", scratch.path().join("new")).unwrap();
            fs::rename(scratch.path().join("new"), &web).unwrap();
            assert!(!seen.remove_from(&web).unwrap());
            assert_eq!(fs::read_link(&web).unwrap(), Path::new("v2"));
            assert!(Entry::at(&web).unwrap().remove_from(&web).unwrap());
            assert_eq!(names(scratch.path()), ["v1", "v2"]);
        }
    }

    #[test]
    fn an_entry_that_leads_elsewhere_by_now_is_another_one() {
        let scratch = scratch();
        let web = scratch.path().join("web");
        let current = scratch.path().join("current");
        symlink("v1", &current).unwrap();
        symlink("current", &web).unwrap();
        let seen = Entry::at(&web).unwrap();
        fs::remove_file(&current).unwrap();
        for target in ["v2", "nothing"] {
            symlink(target, &current).unwrap();
            assert!(!seen.remove_from(&web).unwrap(), "{target}");
            fs::remove_file(&current).unwrap();
        }
        assert_eq!(Entry::at(&web.join("nothing")), Err(Errno::ENOENT));
        fs::remove_file(&web).unwrap();
        fs::create_dir(&web).unwrap();
        assert!(!seen.remove_from(&web).unwrap());
        assert!(web.is_dir());
        assert_eq!(Entry::at(&web), Err(Errno::EINVAL));
    }

    #[test]
    fn what_a_killed_svctl_has_left_is_put_back_or_gives_way() {
        let scratch = scratch();
        let web = scratch.path().join("web");
        symlink("v1", aside(&web)).unwrap();
        assert!(restore(&web).unwrap());
        assert!(!restore(&web).unwrap());
        assert_eq!(fs::read_link(&web).unwrap(), Path::new("v1"));
        symlink("v2", aside(&web)).unwrap();
        assert!(!restore(&web).unwrap());
        assert!(Entry::at(&web).unwrap().remove_from(&web).unwrap());
        assert_eq!(names(scratch.path()), ["v1", "v2"]);
    }
}
