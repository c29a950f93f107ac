//! Service directories on mounts that may hang: NFS, FUSE and the like, whose server is gone.
//!
//! A process that touches such a directory waits, perhaps for ever. If that was svscan, all other services would wait with it.
//! So before svscan touches such a directory it lets a child do so. If the child does not come back within a second, the mount
//! counts as hung until the child does. Where nothing of the kind is mounted, none of this costs anything. Where a path leads
//! through links, svscan looks only at those that lie before such a mount.

use daemontools::service::Toucher;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::stat::Mode;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// The file systems whose answer depends on another machine or process. So does that of all that begin with `fuse.`.
const REMOTE: [&str; 18] = [
    "9p",
    "afs",
    "autofs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "fuse",
    "fuseblk",
    "gfs2",
    "glusterfs",
    "lustre",
    "nfs",
    "nfs4",
    "ocfs2",
    "smb3",
    "smbfs",
    "virtiofs",
];
const MOUNTS: &str = "/proc/self/mountinfo";
/// How long svscan waits for the child to come back.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long svscan relies on a mount that has answered.
const FRESH: Duration = Duration::from_secs(1);
/// How many links in a path svscan follows, which is as many as the kernel does.
const LINKS: usize = 40;
/// How many links svscan remembers from one path to the next: most services lie in the same few directories.
const KNOWN: usize = 1000;

#[derive(Debug, Default)]
struct Mount {
    answered: Option<Instant>,
    /// The child that has not come back.
    hung: Option<Toucher>,
}

/// The mounts that may hang.
#[derive(Debug, Default)]
pub struct RemoteMounts {
    table: Option<File>,
    /// Readable when the table has changed. This takes a file of its own, because the kernel tells each change once to each
    /// file.
    changes: Option<(Epoll, OwnedFd)>,
    /// The table has changed and was not read since. The kernel tells each change once, and it may have no memory then.
    is_stale: bool,
    mounts: HashMap<PathBuf, Mount>,
    /// The scan directory, asked for once per refresh, because there may be thousands of paths to probe.
    directory: PathBuf,
    /// Where paths lead that are links, and which are none, as seen since the last refresh.
    links: HashMap<PathBuf, Option<PathBuf>>,
}

impl RemoteMounts {
    /// Looks for mounts that are new or gone. Returns whether there may be any.
    pub fn refresh(&mut self) -> bool {
        let changed = self.has_changed();
        self.is_stale |= changed;
        let is_read = self.is_stale && self.read();
        self.links.clear();
        if !self.mounts.is_empty() {
            self.directory = std::env::current_dir().unwrap_or_default();
        }
        changed || is_read
    }

    /// Reads the table. What is known stays until that succeeds. Returns whether it has.
    fn read(&mut self) -> bool {
        let Some(table) = self.table.as_mut() else { return false };
        let mut text = Vec::new();
        let read = table.rewind().and_then(|()| table.read_to_end(&mut text));
        if read.is_ok() {
            self.mounts = updated(std::mem::take(&mut self.mounts), &text);
            self.is_stale = false;
        }
        read.is_ok()
    }

    /// Whether the kernel tells when something is mounted.
    pub fn is_told_of_mounts(&self) -> bool {
        self.table.is_some()
    }

    /// Readable when [`refresh`](RemoteMounts::refresh) is to be called, if the kernel tells.
    pub fn changes(&self) -> Option<BorrowedFd<'_>> {
        self.changes.as_ref().map(|(changes, _)| changes.0.as_fd())
    }

    /// Whether the table has changed. The kernel tells by an exceptional condition on the file.
    fn has_changed(&mut self) -> bool {
        if self.changes.is_none() {
            self.changes = watch().ok();
        }
        let Some(table) = &self.table else {
            self.table = File::open(MOUNTS).ok();
            return self.table.is_some();
        };
        let mut fds = [PollFd::new(table.as_fd(), PollFlags::POLLPRI)];
        poll(&mut fds, PollTimeout::ZERO) == Ok(1)
    }

    /// Whether a directory can be touched, and these files in it: any of them may be a link to elsewhere.
    ///
    /// # Errors
    /// ETIMEDOUT: a process that touches it waits.
    pub fn probe_with(&mut self, folder: &Path, names: &[&str]) -> nix::Result<()> {
        self.probe(folder)?;
        if self.mounts.is_empty() {
            return Ok(());
        }
        names.iter().try_for_each(|name| self.probe(&folder.join(name)))
    }

    /// Whether a path, relative to the scan directory, can be touched.
    ///
    /// # Errors
    /// ETIMEDOUT: a process that touches it waits.
    pub fn probe(&mut self, path: &Path) -> nix::Result<()> {
        if self.mounts.is_empty() {
            return Ok(());
        }
        let is_remote = |path: &Path| self.mounts.contains_key(path);
        let link = |path: &Path| match self.links.get(path) {
            Some(known) => known.clone(),
            None => {
                let target = fs::read_link(path).ok();
                if self.links.len() < KNOWN {
                    self.links.insert(path.to_path_buf(), target.clone());
                }
                target
            }
        };
        let point = crossed(&self.directory, path, is_remote, link);
        match point.and_then(|point| self.mounts.get_mut(&point)) {
            Some(mount) => mount.probe(path),
            None => Ok(()),
        }
    }
}

fn watch() -> nix::Result<(Epoll, OwnedFd)> {
    let table = open(MOUNTS, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let changes = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    changes.add(&table, EpollEvent::new(EpollFlags::EPOLLPRI, 0))?;
    Ok((changes, table))
}

impl Mount {
    fn probe(&mut self, path: &Path) -> nix::Result<()> {
        if let Some(child) = &self.hung
            && !child.has_ended(Duration::ZERO)
        {
            return Err(Errno::ETIMEDOUT);
        }
        self.hung = None;
        if self.answered.is_some_and(|answered| answered.elapsed() < FRESH) {
            return Ok(());
        }
        let child = Toucher::start([path])?;
        if !child.has_ended(PATIENCE) {
            self.hung = Some(child);
            return Err(Errno::ETIMEDOUT);
        }
        if !child.has_answer()? {
            return Err(Errno::ETIMEDOUT);
        }
        self.answered = Some(Instant::now());
        Ok(())
    }
}

/// The mounts that the kernel's table has now, and what is known of those that were there before. One point may be in several
/// lines, as that of `autofs` and of what it has mounted there.
fn updated(mut before: HashMap<PathBuf, Mount>, table: &[u8]) -> HashMap<PathBuf, Mount> {
    let mut now = HashMap::new();
    for point in table.split(|byte| *byte == b'\n').filter_map(remote) {
        let known = before.remove(&point);
        now.entry(point).or_insert_with(|| known.unwrap_or_default());
    }
    now
}

/// The mount point in a line of the kernel's table, if what is mounted there is remote.
///
/// ```text
/// 36 35 98:0 /root /mount\040point rw,noatime master:1 - nfs4 server:/export rw
/// ```
fn remote(line: &[u8]) -> Option<PathBuf> {
    let mut words = line.split(|byte| *byte == b' ');
    let point = words.nth(4)?;
    let kind = words.skip_while(|word| *word != b"-").nth(1)?;
    let remote = kind.starts_with(b"fuse.") || REMOTE.iter().any(|known| known.as_bytes() == kind);
    remote.then(|| PathBuf::from(OsString::from_vec(unescaped(point))))
}

/// The text with octal escapes such as `\040`, which is a blank, replaced by what they stand for.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut parts = text.split(|byte| *byte == b'\\');
    let mut plain = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(3).unwrap_or((b"", part));
        let byte = std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.extend(byte);
        plain.extend(rest);
    }
    plain
}

/// The first mount point in question on the way from `start` along `path`; `link` tells where a link leads.
fn crossed(
    start: &Path,
    path: &Path,
    is_mount: impl Fn(&Path) -> bool,
    mut link: impl FnMut(&Path) -> Option<PathBuf>,
) -> Option<PathBuf> {
    let reversed = |path: &Path| -> Vec<OsString> {
        path.components().rev().map(|part| part.as_os_str().to_os_string()).collect()
    };
    let (mut at, mut ahead, mut links) = (start.to_path_buf(), reversed(path), 0);
    while let Some(part) = ahead.pop() {
        match Path::new(&part).components().next() {
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::CurDir) | None => {}
            // An absolute part takes the place of all parts before it.
            Some(_) => at.push(OsStr::from_bytes(part.as_bytes())),
        }
        if is_mount(&at) {
            return Some(at);
        }
        let target = if part == ".." || part == "." { None } else { link(&at) };
        if let Some(target) = target {
            links += 1;
            if links > LINKS {
                return None;
            }
            at.pop();
            ahead.extend(reversed(&target));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::io::Write;

    #[test]
    fn lines_tell_where_remote_file_systems_are() {
        let table = [
            (r"36 35 98:0 / /mnt rw - nfs4 server:/x rw", Some("/mnt")),
            (r"36 35 98:0 / /a\040b\134c rw master:1 shared:2 - fuse.sshfs x rw", Some(r"/a b\c")),
            ("36 35 98:0 / /mnt rw master:1 - ext4 /dev/nfs rw", None),
            ("36 35 98:0 / /mnt rw - fuse x rw", Some("/mnt")),
            ("36 35 98:0 / /mnt rw - fuseblk x rw", Some("/mnt")),
            ("36 35 98:0 / /sys/fs/fuse/connections rw - fusectl x rw", None),
            ("36 35 98:0 / /mnt rw", None),
            ("", None),
        ];
        for (line, point) in table {
            assert_eq!(remote(line.as_bytes()), point.map(PathBuf::from), "{line}");
        }
    }

    fn line(point: &str, kind: &str) -> String {
        format!("36 35 98:0 / {point} rw - {kind} x rw\n")
    }

    fn answered() -> Mount {
        Mount { answered: Some(Instant::now()), hung: None }
    }

    #[test]
    fn what_is_known_of_a_mount_stays_for_as_long_as_it_is_there() {
        let before = ["/net", "/old"].map(|point| (PathBuf::from(point), answered())).into();
        let table = [line("/net", "autofs"), line("/new", "nfs"), line("/net", "nfs4"), line("/", "ext4")].concat();
        let now = updated(before, table.as_bytes());
        let mut known: Vec<_> = now.iter().map(|(point, mount)| (point.as_path(), mount.answered.is_some())).collect();
        known.sort_unstable();
        assert_eq!(known, [(Path::new("/net"), true), (Path::new("/new"), false)]);
    }

    #[test]
    fn a_table_that_cannot_be_read_is_read_later_and_leaves_what_is_known() {
        let unreadable = File::options().write(true).open("/dev/null").unwrap();
        let mounts = HashMap::from([(PathBuf::from("/old"), answered())]);
        let mut remote = RemoteMounts { table: Some(unreadable), is_stale: true, mounts, ..RemoteMounts::default() };
        for _ in 0..2 {
            assert!(!remote.refresh());
            assert!(remote.mounts.contains_key(Path::new("/old")) && remote.is_stale);
        }
        let mut readable = File::from(memfd_create("table", MFdFlags::empty()).unwrap());
        readable.write_all(line("/new", "nfs").as_bytes()).unwrap();
        remote.table = Some(readable);
        assert!(remote.refresh(), "what is new is looked for");
        assert_eq!(remote.mounts.keys().collect::<Vec<_>>(), [Path::new("/new")]);
        assert!(!remote.refresh());
    }

    #[test]
    fn a_path_is_followed_up_to_the_mount_and_no_further() {
        let links = [("/s/link", "/etc/x"), ("/etc/x", "../net/y"), ("/s/circle", "circle"), ("/s/up", "..")];
        let link = |path: &Path| {
            assert!(!path.starts_with("/net"), "touched {path:?}");
            links.iter().find(|(name, _)| Path::new(name) == path).map(|(_, target)| PathBuf::from(target))
        };
        let table = [
            ("plain", None),
            ("link", Some("/net")),
            ("link/log", Some("/net")),
            ("circle", None),
            ("up/net/z", Some("/net")),
            ("./../net", Some("/net")),
            ("/nets/a", None),
            ("/net/../x", Some("/net")),
        ];
        for (path, point) in table {
            let crossed = crossed(Path::new("/s"), Path::new(path), |at| at == Path::new("/net"), link);
            assert_eq!(crossed, point.map(PathBuf::from), "{path}");
        }
    }
}
