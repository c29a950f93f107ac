//! Opening a directory by a path in which other accounts may have put links.
//!
//! Who may write to a directory of the path can rename what is there, and put a link in its place, to a directory in which
//! only root may write. What our program then makes in that directory is made with our rights. So a link that another
//! account has made is followed only to a directory of that same account, which can write there itself.

use crate::sys::kind::is_link;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, fstat, stat};
use nix::unistd::geteuid;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The program follows this many links at most, as the kernel does.
const MOST_LINKS: usize = 40;

const PLACE: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Opens a directory, by a path that begins in the directory `start` unless it is absolute, as a place in the file system.
///
/// # Errors
/// ELOOP: a link in the path belongs to neither root, nor the account that runs us, nor the owner of the directory to which
/// the path leads; or there are too many links. Otherwise the path leads to no directory.
pub fn open_directory(start: impl AsFd, path: &Path) -> nix::Result<OwnedFd> {
    let mut ahead = reversed(path);
    let mut at = open_part(start, OsStr::new(if path.is_absolute() { "/" } else { "." }))?;
    let (mut followed, mut strangers) = (0, Vec::new());
    while let Some(part) = ahead.pop() {
        match open_part(&at, &part) {
            Ok(next) => at = next,
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                let (owner, target) = read_link(&at, &part)?;
                followed += 1;
                if followed > MOST_LINKS {
                    return Err(Errno::ELOOP);
                }
                strangers.extend(Some(owner).filter(|owner| !is_trusted(*owner)));
                ahead.extend(reversed(Path::new(&target)));
            }
            Err(errno) => return Err(errno),
        }
    }
    let owner = fstat(&at)?.st_uid;
    if strangers.iter().all(|stranger| *stranger == owner) { Ok(at) } else { Err(Errno::ELOOP) }
}

/// The parts of a path, the first one last. The part of an absolute path that stands for the root leads there from anywhere.
fn reversed(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|part| part.as_os_str().to_os_string()).collect()
}

/// That the kernel is told to open a directory makes it mount what is to be mounted there on demand.
fn open_part(directory: impl AsFd, part: &OsStr) -> nix::Result<OwnedFd> {
    openat(directory, part, PLACE | OFlag::O_DIRECTORY, Mode::empty())
}

/// The owner of a link, and where it leads. Both are of one link, though another one may have its name by now.
fn read_link(directory: impl AsFd, part: &OsStr) -> nix::Result<(u32, OsString)> {
    let link = openat(directory, part, PLACE, Mode::empty())?;
    let stat = fstat(&link)?;
    if is_link(&stat) { Ok((stat.st_uid, readlinkat(&link, "")?)) } else { Err(Errno::ENOTDIR) }
}

/// Whether the links of an account are followed to anywhere: those of root, of the account that runs us, and of the owner of
/// the root directory, who is root under another number in a user namespace that does not know root.
fn is_trusted(account: u32) -> bool {
    account == 0 || account == geteuid().as_raw() || stat("/").is_ok_and(|root| root.st_uid == account)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::AT_FDCWD;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};

    const STRANGER: u32 = 65533;

    #[test]
    fn a_path_is_followed_as_by_the_kernel_where_all_links_are_ours() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("file"), "").unwrap();
        for (link, to) in [("to-b", "a/b"), ("a/up", ".."), ("a/absolute", at("a").to_str().unwrap()), ("loop", "loop")]
        {
            symlink(to, at(link)).unwrap();
        }
        symlink("nowhere", at("dangling")).unwrap();
        symlink("file", at("to-file")).unwrap();
        let start = fs::File::open(scratch.path()).unwrap();
        let inode = |opened: nix::Result<OwnedFd>| opened.map(|opened| fstat(&opened).unwrap().st_ino);
        let b = Ok(fs::metadata(at("a/b")).unwrap().ino());
        for path in ["a/b", "./a//b/", "to-b", "a/b/.", "a/up/to-b/../b", "a/absolute/b", "to-b/../up/a/b"] {
            assert_eq!(inode(open_directory(&start, Path::new(path))), b, "{path}");
            assert_eq!(inode(open_directory(AT_FDCWD, &at(path))), b, "{path}");
        }
        let table = [
            ("file", Errno::ENOTDIR),
            ("to-file", Errno::ENOTDIR),
            ("file/x", Errno::ENOTDIR),
            ("missing", Errno::ENOENT),
            ("dangling", Errno::ENOENT),
            ("loop/x", Errno::ELOOP),
        ];
        for (path, errno) in table {
            assert_eq!(inode(open_directory(&start, Path::new(path))), Err(errno), "{path}");
        }
    }

    #[test]
    fn the_link_of_another_account_leads_only_to_a_directory_of_that_account() {
        if !geteuid().is_root() {
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        for directory in ["theirs", "ours", "ours/inner", "ours/theirs"] {
            fs::create_dir(at(directory)).unwrap();
        }
        for theirs in ["theirs", "ours/theirs"] {
            chown(at(theirs), Some(STRANGER), None).unwrap();
        }
        for (link, to, owner) in [
            ("theirs/link", "../ours", STRANGER),
            ("theirs/home", "../ours/theirs", STRANGER),
            ("theirs/roots", "../ours", 0),
            ("ours/onward", "inner", 0),
        ] {
            symlink(to, at(link)).unwrap();
            lchown(at(link), Some(owner), None).unwrap();
        }
        let table = [
            ("theirs", Ok(())),
            ("theirs/link", Err(Errno::ELOOP)),
            ("theirs/link/inner", Err(Errno::ELOOP)),
            ("theirs/link/onward", Err(Errno::ELOOP)),
            ("theirs/link/theirs", Ok(())),
            ("theirs/home", Ok(())),
            ("theirs/roots", Ok(())),
            ("ours/onward", Ok(())),
        ];
        for (path, expected) in table {
            assert_eq!(open_directory(AT_FDCWD, &at(path)).map(drop), expected, "{path}");
        }
    }
}
