//! Opening a directory by a path in which other accounts may have put links.
//!
//! An account that may write to a directory of the path can rename what is there and put a link in its place, which
//! leads to a directory where only root may write. Our program would then create its files there with our rights. So a
//! link that another account has made is followed only to a directory of that same account, which could write there
//! itself.
//!
//! A link that root has made is no better where another account can move it: a relative link leads elsewhere from
//! another place, and a link of any kind that root made for another purpose can get the name of our directory. So a link
//! is trusted only as far as the directories in which it lies. The owner of a directory may rename all that is in it,
//! and so may all who may write to it, unless its sticky bit is set. A link that such an account can move, alone or
//! together with a directory above it, counts as a link of that account.
//!
//! An account that may write to a directory can also give a link of root's from elsewhere a second name there, if the
//! kernel allows it (`fs.protected_hardlinks` is 0). So a link with a second name counts as a link of that account, also
//! in a directory with the sticky bit.

use crate::sys::kind::is_link;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, stat};
use nix::unistd::{getegid, geteuid};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

/// The longest chain of links that is followed; the kernel has the same limit.
const MOST_LINKS: usize = 40;

/// An account that is not known. No account has this number.
const UNKNOWN: u32 = u32::MAX;

const PLACE: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Opens a directory with O_PATH, which identifies it but gives no access to it. A relative path begins in the
/// directory `start`.
///
/// # Errors
/// As for [`PathWalk::go`].
pub fn open_directory(start: impl AsFd, path: &Path) -> nix::Result<OwnedFd> {
    let mut way = PathWalk::from(start)?;
    way.go(path)?;
    Ok(way.at)
}

/// Whether only root and the account that runs us decide which file is found at this path: no other account can move a
/// directory on the way, has made a link there, or may write to the last directory.
///
/// # Errors
/// The way cannot be gone.
pub fn is_way_only_ours(path: &Path) -> nix::Result<bool> {
    let mut way = PathWalk::from(AT_FDCWD)?;
    way.walk(path.parent().unwrap_or(Path::new("")))?;
    way.note_movers()?;
    let is_ours = other_writer(&fstat(&way.at)?).is_none();
    Ok(is_ours && way.movers.is_empty() && way.strangers.is_empty())
}

/// Why [`open_directory`] does not follow a link in this path, in words; `None` if it follows all of them.
pub fn distrusted_link(path: &Path) -> Option<&'static str> {
    let mut way = PathWalk::from(AT_FDCWD).ok()?;
    way.walk(path).ok()?;
    let distrust = way.distrust().ok()??;
    Some(match distrust {
        Link::Made(_) => "a link in its path belongs to another account",
        Link::Movable(_) => "a link in its path lies where another account can move it",
    })
}

/// Why a link that was followed counts as the link of another account, and of which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// The account has made it, or has given it the name.
    Made(u32),
    /// The account can move it.
    Movable(u32),
}

impl Link {
    fn account(self) -> u32 {
        match self {
            Link::Made(account) | Link::Movable(account) => account,
        }
    }
}

/// A way through directories and links, and the accounts on which it depends where it leads.
pub struct PathWalk {
    at: OwnedFd,
    /// The accounts, other than the trusted ones, that can move the directory `at` or a directory above it.
    movers: Vec<u32>,
    /// Why the links that were followed count as those of other accounts.
    strangers: Vec<Link>,
    followed: usize,
}

impl PathWalk {
    /// A way that begins in this directory. That the directory itself is the right one is taken for granted.
    ///
    /// # Errors
    /// It is no directory, or may not be searched.
    pub fn from(start: impl AsFd) -> nix::Result<PathWalk> {
        let at = open_part(start, OsStr::new("."))?;
        Ok(PathWalk { at, movers: Vec::new(), strangers: Vec::new(), followed: 0 })
    }

    /// The directory that was reached, as an O_PATH descriptor.
    pub fn at(&self) -> BorrowedFd<'_> {
        self.at.as_fd()
    }

    /// Goes on along the path to a directory.
    ///
    /// # Errors
    /// ELOOP: a link that was followed belongs, or may belong, to neither root, nor the account that runs us, nor the
    /// owner of the directory to which the way leads; or such an account can move a link; or there are too many links.
    /// Any other error: the path does not lead to a directory.
    pub fn go(&mut self, path: &Path) -> nix::Result<()> {
        self.walk(path)?;
        if self.distrust()?.is_some() { Err(Errno::ELOOP) } else { Ok(()) }
    }

    /// Where the link with this name leads. It counts as followed.
    ///
    /// # Errors
    /// ENOTDIR: it is no link. ELOOP: there are too many links.
    pub fn follow(&mut self, name: &OsStr) -> nix::Result<OsString> {
        self.note_movers()?;
        self.read_link(name)
    }

    /// Whether an account that is neither root nor the one that runs us can move the directory that was reached, one above
    /// it, or what is in it; or has made a link that was followed, or can move it.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn depends_on_others(&mut self) -> nix::Result<bool> {
        self.note_movers()?;
        Ok(!self.movers.is_empty() || !self.strangers.is_empty())
    }

    /// A link that was followed and is not trusted to lead where it has led.
    fn distrust(&self) -> nix::Result<Option<Link>> {
        let owner = fstat(&self.at)?.st_uid;
        Ok(self.strangers.iter().copied().find(|link| link.account() != owner))
    }

    fn walk(&mut self, path: &Path) -> nix::Result<()> {
        let mut ahead = reversed(path);
        while let Some(part) = ahead.pop() {
            match Path::new(&part).components().next() {
                Some(Component::RootDir) => self.movers.clear(),
                Some(Component::Normal(_)) => self.note_movers()?,
                Some(Component::CurDir | Component::ParentDir | Component::Prefix(_)) | None => {}
            }
            match open_part(&self.at, &part) {
                Ok(next) => self.at = next,
                Err(Errno::ENOTDIR | Errno::ELOOP) => ahead.extend(reversed(Path::new(&self.read_link(&part)?))),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Notes who can move what is in the directory that was reached.
    fn note_movers(&mut self) -> nix::Result<()> {
        let directory = fstat(&self.at)?;
        let mover = mover_in(&directory).filter(|mover| !self.movers.contains(mover));
        self.movers.extend(mover);
        Ok(())
    }

    /// Where a link here leads. That, and who has put it here, are read from the same link, even if another one has its
    /// name by now.
    fn read_link(&mut self, part: &OsStr) -> nix::Result<OsString> {
        let link = openat(&self.at, part, PLACE, Mode::empty())?;
        let stat = fstat(&link)?;
        if !is_link(&stat) {
            return Err(Errno::ENOTDIR);
        }
        self.followed += 1;
        if self.followed > MOST_LINKS {
            return Err(Errno::ELOOP);
        }
        let other = if stat.st_nlink > 1 { other_writer(&fstat(&self.at)?) } else { None };
        let maker = other.or_else(|| Some(stat.st_uid).filter(|owner| !is_trusted(*owner)));
        self.strangers.extend(maker.map(Link::Made));
        self.strangers.extend(self.movers.iter().copied().map(Link::Movable));
        readlinkat(&link, "")
    }
}

/// The components of a path, in reverse order. In an absolute path, the component that stands for the root leads to the
/// root directory whatever the directory before it is.
fn reversed(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|part| part.as_os_str().to_os_string()).collect()
}

/// O_DIRECTORY makes the kernel mount what an automounter offers at this place.
fn open_part(directory: impl AsFd, part: &OsStr) -> nix::Result<OwnedFd> {
    openat(directory, part, PLACE | OFlag::O_DIRECTORY, Mode::empty())
}

/// An account that is not trusted and may write to this directory: the owner, or else one that is not known.
fn other_writer(directory: &FileStat) -> Option<u32> {
    let is_owner_trusted = is_trusted(directory.st_uid);
    let is_open = directory.st_mode & 0o022 != 0;
    (!is_owner_trusted || is_open).then_some(if is_owner_trusted { UNKNOWN } else { directory.st_uid })
}

/// An account that is not trusted and may rename what others have in this directory: the owner, or else one that is not
/// known. Members of our own group are trusted, because where each account has a group for itself, all its directories
/// are usually writable for that group.
fn mover_in(directory: &FileStat) -> Option<u32> {
    let is_sticky = directory.st_mode & 0o1000 != 0;
    let is_our_group = directory.st_gid == getegid().as_raw();
    let is_open = !is_sticky && directory.st_mode & if is_our_group { 0o002 } else { 0o022 } != 0;
    if is_trusted(directory.st_uid) { is_open.then_some(UNKNOWN) } else { Some(directory.st_uid) }
}

/// Whether links of this account are followed to any place. Trusted are root, the account that runs us, and the owner
/// of the root directory, who is root under another number in a user namespace that does not map root.
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
            // This account can move root's link, and so chooses where it leads.
            ("theirs/roots", Err(Errno::ELOOP)),
            ("ours/onward", Ok(())),
        ];
        for (path, expected) in table {
            assert_eq!(open_directory(AT_FDCWD, &at(path)).map(drop), expected, "{path}");
        }
    }

    #[test]
    fn a_link_that_another_account_can_move_leads_only_to_a_directory_of_that_account() {
        use std::os::unix::fs::PermissionsExt;
        if !geteuid().is_root() {
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let ours = getegid().as_raw();
        let directories = [
            ("logs", 0, ours, 0o755),
            ("logs/roots", 0, ours, 0o755),
            ("logs/theirs", STRANGER, ours, 0o755),
            ("safe", 0, ours, 0o755),
            ("group", 0, ours, 0o775),
            ("others", 0, STRANGER, 0o775),
            ("open", 0, ours, 0o777),
            ("sticky", 0, STRANGER, 0o1777),
            ("home", STRANGER, STRANGER, 0o755),
            ("home/sticky", STRANGER, ours, 0o1755),
            ("home/ours", 0, ours, 0o755),
        ];
        for (name, owner, group, mode) in directories {
            fs::create_dir(at(name)).unwrap();
            chown(at(name), Some(owner), Some(group)).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let (right, made, moved) = (
            None,
            "a link in its path belongs to another account",
            "a link in its path lies where another account can move it",
        );
        let table = [
            ("safe", right, right),
            ("group", right, right),
            ("others", Some(moved), Some(moved)),
            ("open", Some(moved), Some(moved)),
            ("sticky", right, right),
            ("home", Some(moved), right),
            ("home/sticky", Some(moved), right),
            // The account can move the directory in which the link lies.
            ("home/ours", Some(moved), right),
        ];
        for (directory, to_roots, to_theirs) in table {
            for (name, expected) in [("roots", to_roots), ("theirs", to_theirs)] {
                let link = at(directory).join(name);
                symlink(at("logs").join(name), &link).unwrap();
                let refused = expected.map_or(Ok(()), |_| Err(Errno::ELOOP));
                assert_eq!(open_directory(AT_FDCWD, &link).map(drop), refused, "{link:?}");
                assert_eq!(distrusted_link(&link), expected, "{link:?}");
                // What lies there is reached by its own path.
                assert_eq!(open_directory(AT_FDCWD, &at(directory)).map(drop), Ok(()), "{directory}");
            }
        }
        lchown(at("safe/roots"), Some(STRANGER), None).unwrap();
        assert_eq!(distrusted_link(&at("safe/roots")), Some(made));
    }

    #[test]
    fn a_way_on_from_a_link_depends_on_the_account_that_can_move_the_link() {
        if !geteuid().is_root() {
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        for directory in ["home", "home/ours", "safe"] {
            fs::create_dir(at(directory)).unwrap();
        }
        chown(at("home"), Some(STRANGER), None).unwrap();
        for (directory, expected) in [("home/ours", Err(Errno::ELOOP)), ("safe", Ok(()))] {
            symlink("..", at(directory).join("up")).unwrap();
            let mut way = PathWalk::from(AT_FDCWD).unwrap();
            way.go(&at(directory)).unwrap();
            assert_eq!(way.follow(OsStr::new("up")), Ok(OsString::from("..")));
            assert_eq!(way.go(Path::new("../safe")).or_else(|_| way.go(&at("safe"))), expected, "{directory}");
        }
    }

    #[test]
    fn a_link_with_a_second_name_counts_as_of_the_account_that_may_write_where_it_lies() {
        use std::os::unix::fs::PermissionsExt;
        if !geteuid().is_root() {
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        for (directory, owner, mode) in
            [("ours", 0, 0o755), ("shared", 0, 0o1777), ("theirs", STRANGER, 0o755), ("theirs/home", STRANGER, 0o755)]
        {
            fs::create_dir(at(directory)).unwrap();
            chown(at(directory), Some(owner), None).unwrap();
            fs::set_permissions(at(directory), fs::Permissions::from_mode(mode)).unwrap();
        }
        for (link, to) in [("to-ours", at("ours")), ("to-home", at("theirs/home"))] {
            symlink(to, at(link)).unwrap();
            for directory in ["ours", "shared", "theirs"] {
                fs::hard_link(at(link), at(directory).join(link)).unwrap();
            }
        }
        let table = [
            ("ours/to-ours", Ok(())),
            ("ours/to-home", Ok(())),
            ("theirs/to-ours", Err(Errno::ELOOP)),
            ("theirs/to-home", Ok(())),
            ("shared/to-ours", Err(Errno::ELOOP)),
            ("shared/to-home", Err(Errno::ELOOP)),
        ];
        for (path, expected) in table {
            assert_eq!(open_directory(AT_FDCWD, &at(path)).map(drop), expected, "{path}");
        }
    }
}
