//! Looks at what lies on other mounts than the current directory. A file system may wait for ever: NFS and FUSE for a server
//! that is gone, an overlay for the file systems that it is made of, any other for its device.
//!
//! A process that touches such a file waits as well. If that was the program, all services would wait with it. So the program looks
//! itself only at what lies on the mount of the current directory, or on a file system that is all in memory. At everything else
//! a helper process looks, and sends what it has found. If the helper does not answer within a second, the program asks nothing
//! more about these mounts until it does. Where a path leads through links, the program looks only at those that lie before such
//! a mount.
//!
//! What helpers are waited for does not add up: neither for several mounts that fall silent together, nor for a server that
//! answers each look, but slowly (see [`Patience`]).

use super::Helper;
use super::helper::Leaving;
use super::mount_points::MountPoints;
use super::patience::{Patience, REST};
use crate::encoding::Encode;
use crate::files::{read_beginning, stays_on_mount, stays_on_mount_at};
use crate::sys::directory::for_each_name;
use crate::sys::process::{mount_of, proc_path};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::stat::{Mode, stat};
use nix::sys::statfs::statfs;
use nix::unistd::{AccessFlags, access, getpid};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

const MOUNTS: &str = "/proc/self/mountinfo";
/// How many links the program remembers from one path to the next: most services lie in the same few directories.
const KNOWN: usize = 1000;
/// How many names `/proc/PID/fd/N` has, with the root.
const HELD_NAMES: usize = 5;

/// A look, by the program itself or by a helper.
pub trait Look {
    /// What is found.
    type Answer: Encode;

    /// Looks.
    fn look(&self) -> Self::Answer;

    /// Looks without any step on another mount than that of the current directory, however the path is changed meanwhile;
    /// `None` where that is not possible.
    fn look_here(&self) -> Option<Self::Answer> {
        None
    }

    /// The look as a request to a helper. It does not begin with a zero.
    fn request(&self) -> Vec<u8>;
}

/// A function that answers requests in the helper process. It returns `None` for bytes that are no request.
pub type Answerer = fn(&[u8]) -> Option<Vec<u8>>;

/// The first byte of a request to touch paths.
const TOUCH: u8 = 0;

/// Touches each path in the ways in which the program itself may touch it next.
struct Touch(Vec<PathBuf>);

impl Look for Touch {
    type Answer = ();

    fn look(&self) {
        self.0.iter().for_each(|path| touch(path));
    }

    fn request(&self) -> Vec<u8> {
        let mut bytes = vec![TOUCH];
        self.0.encode(&mut bytes);
        bytes
    }
}

/// Touches a path, and lets the server of its file system answer each kind of request. An error is an answer too.
fn touch(path: &Path) {
    // This asks the server each time, while attributes may come from a cache.
    let _ = statfs(path);
    let _ = stat(path);
    let _ = access(path, AccessFlags::X_OK);
    let _ = read_beginning(path, 1);
    let _ = for_each_name(path, |_| ControlFlow::Break(()));
}

/// A look that was not answered in time.
#[derive(Debug)]
struct Unanswered {
    /// The mounts that the look leads to. Any of them may be the one that does not answer.
    points: BTreeSet<PathBuf>,
    /// The process that looks.
    helper: Helper,
    /// Nothing is asked about these mounts before this time.
    until: Instant,
}

impl Unanswered {
    fn is_over(&self, now: Instant) -> bool {
        self.until <= now && !self.helper.is_waiting()
    }
}

/// The mounts that may hang.
#[derive(Debug, Default)]
pub struct RemoteMounts {
    /// The kernel's table of mounts.
    table: Option<File>,
    /// Readable when the table has changed. This needs the table opened a second time, because the kernel reports each change
    /// once for each time that the table is open.
    changes: Option<(Epoll, OwnedFd)>,
    /// The table has changed, and the program has not been able to read it since. The kernel does not report the change again.
    is_stale: bool,
    points: MountPoints,
    /// Where each path leads that is a link; `None` for a path that is no link. Forgotten at each refresh.
    links: HashMap<PathBuf, Option<PathBuf>>,
    /// The process that looks at other mounts, if the program has asked for that since the last [`rest`](RemoteMounts::rest).
    helper: Option<Helper>,
    unanswered: Vec<Unanswered>,
    patience: Patience,
    /// The helpers that may never end.
    leaving: Leaving,
    /// What answers the program's own looks.
    answerer: Option<Answerer>,
    /// What each helper has of the program's descriptors.
    kept: Option<OwnedFd>,
}

impl RemoteMounts {
    /// Makes a value that knows no mount yet. In the helper process, `answer` answers the requests that
    /// [`Look::request`] makes.
    pub fn new(answer: Answerer) -> RemoteMounts {
        RemoteMounts { answerer: Some(answer), ..RemoteMounts::default() }
    }

    /// Sets the descriptor of the program that each helper gets, under the number that it has in the program. The
    /// helper that there is, which does not have it, is ended.
    pub fn keep(&mut self, kept: Option<OwnedFd>) {
        self.helper = None;
        self.kept = kept;
    }

    /// What each helper has of the program's descriptors.
    pub fn kept(&self) -> Option<BorrowedFd<'_>> {
        self.kept.as_ref().map(AsFd::as_fd)
    }

    /// Whether a path leads to a place on the mount of the current directory, as far as the kernel tells.
    pub fn is_here(&self, path: &Path) -> bool {
        stays_on_mount(path) == Some(true)
    }

    /// Looks for mounts that are new or gone. Returns whether some may be.
    pub fn refresh(&mut self) -> bool {
        self.leaving.reap();
        let changed = self.has_changed();
        self.is_stale |= changed;
        let is_read = self.is_stale && self.read();
        self.links.clear();
        let directory = std::env::current_dir().unwrap_or_default();
        if directory != self.points.directory() {
            self.points.move_to(&directory);
        }
        changed || is_read
    }

    /// Reads the table of mounts. Returns whether that has succeeded. If not, the program goes on with the mounts that it knows.
    fn read(&mut self) -> bool {
        let Some(table) = self.table.as_mut() else { return false };
        let mut text = Vec::new();
        let read = table.rewind().and_then(|()| table.read_to_end(&mut text));
        if read.is_ok() {
            let points = MountPoints::of(&text, self.points.directory());
            // A helper that waits for a mount that is gone may wait for ever.
            let is_gone = |look: &mut Unanswered| !look.points.iter().all(|point| points.includes(point));
            self.unanswered.extract_if(.., is_gone).for_each(|look| self.leaving.end(look.helper));
            self.points = points;
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

    /// Whether the table has changed. The kernel reports that as an exceptional condition of the open table.
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

    /// Nothing is looked at for a while: ends the helper, and a round of looks.
    pub fn rest(&mut self) {
        self.helper = None;
        self.patience.end_round();
    }

    /// Looks, by a helper where one of these paths leads to another mount. The look touches nothing else.
    ///
    /// # Errors
    /// ETIMEDOUT: a process that looks waits. EAGAIN, ENOMEM, EMFILE: there can be no helper now.
    pub fn look<L: Look>(&mut self, paths: impl IntoIterator<Item = PathBuf>, look: &L) -> nix::Result<L::Answer> {
        if let Some(answer) = look.look_here() {
            return Ok(answer);
        }
        let points = self.crossed(paths);
        if points.is_empty() { Ok(look.look()) } else { self.ask(points, look) }
    }

    /// Makes sure that some paths, relative to the current directory, can be touched.
    ///
    /// # Errors
    /// As for [`look`](RemoteMounts::look).
    pub fn touch(&mut self, paths: impl IntoIterator<Item = PathBuf>) -> nix::Result<()> {
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        let points = self.crossed(paths.iter().cloned());
        if points.is_empty() { Ok(()) } else { self.ask(points, &Touch(paths)) }
    }

    /// Looks at a directory, by a helper where it or one of these files in it leads to another mount.
    ///
    /// # Errors
    /// As for [`look`](RemoteMounts::look).
    pub fn look_in<L: Look>(
        &mut self,
        folder: &Path,
        names: impl IntoIterator<Item = PathBuf>,
        look: &L,
    ) -> nix::Result<L::Answer> {
        let points = self.crossed_in(folder, names);
        if points.is_empty() { Ok(look.look()) } else { self.ask(points, look) }
    }

    /// Makes sure that a directory can be touched, and these files in it, each of which may be a link to elsewhere. If one of
    /// them is elsewhere, that it lies where each of the files `inner` can be touched too.
    ///
    /// # Errors
    /// As for [`look`](RemoteMounts::look).
    pub fn probe_with(&mut self, folder: &Path, names: &[&str], inner: &[PathBuf]) -> nix::Result<()> {
        let points = self.crossed_in(folder, names.iter().map(PathBuf::from));
        let files = || names.iter().map(PathBuf::from).chain(inner.iter().cloned()).map(|name| folder.join(name));
        let paths = || [folder.to_path_buf()].into_iter().chain(files()).collect();
        if points.is_empty() { Ok(()) } else { self.ask(points, &Touch(paths())) }
    }

    /// Whether a path leads to no mount that may wait.
    pub fn never_waits(&mut self, path: &Path) -> bool {
        self.crossed_by(path).is_none()
    }

    /// Whether something that may wait is mounted at a file or directory with one of these names.
    pub fn has_any_named(&self, names: &[&OsStr]) -> bool {
        self.points.has_any_named(names)
    }

    /// The other mounts to which a directory and these files in it lead. Where the directory leads is found out once.
    fn crossed_in(&mut self, folder: &Path, names: impl IntoIterator<Item = PathBuf>) -> BTreeSet<PathBuf> {
        let mut points: BTreeSet<PathBuf> = self.crossed_by(folder).into_iter().collect();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let held = if points.is_empty() { open(folder, flags, Mode::empty()).ok() } else { None };
        for name in names {
            if held.as_ref().is_none_or(|held| stays_on_mount_at(held, &name) != Some(true)) {
                points.extend(self.crossed_by(&folder.join(name)));
            }
        }
        points
    }

    fn ask<L: Look>(&mut self, points: BTreeSet<PathBuf>, look: &L) -> nix::Result<L::Answer> {
        let now = Instant::now();
        self.unanswered.retain(|look| !look.is_over(now));
        let is_asked = self.unanswered.iter().any(|look| look.points.is_subset(&points));
        let Some(patience) = self.patience.for_mounts(&points, now).filter(|_| !is_asked) else {
            return Err(Errno::ETIMEDOUT);
        };
        let answerer = self.answerer;
        let answer = move |request: &[u8]| match request.split_first()? {
            (&TOUCH, mut rest) => {
                Touch(Vec::<PathBuf>::decode(&mut rest)?).look();
                Some(Vec::new())
            }
            _ => answerer?(request),
        };
        let mut helper =
            self.helper.take().map_or_else(|| Helper::start_with(self.kept.as_ref().map(AsFd::as_fd), answer), Ok)?;
        let began = Instant::now();
        let deadline = began + patience;
        let answer = helper.request(&look.request(), deadline).and_then(|()| helper.answer(deadline));
        let now = Instant::now();
        self.patience.waited(&points, now.duration_since(began), now);
        match answer {
            Ok(answer) => {
                self.helper = Some(helper);
                L::Answer::decode(&mut answer.as_slice()).ok_or(Errno::EIO)
            }
            Err(Errno::ETIMEDOUT) => {
                self.unanswered.push(Unanswered { points, helper, until: now + REST });
                Err(Errno::ETIMEDOUT)
            }
            // The helper was killed.
            Err(_) => Err(Errno::ETIMEDOUT),
        }
    }

    /// The other mounts to which these paths lead, if they may wait.
    fn crossed(&mut self, paths: impl IntoIterator<Item = PathBuf>) -> BTreeSet<PathBuf> {
        paths.into_iter().filter_map(|path| self.crossed_by(&path)).collect()
    }

    fn crossed_by(&mut self, path: &Path) -> Option<PathBuf> {
        let stays = stays_on_mount(path);
        if stays == Some(true) || path.starts_with("/proc") && stays_below_held(path) {
            return None;
        }
        if self.table.is_none() {
            // The kernel does not tell which mount it is.
            return (stays == Some(false)).then(PathBuf::new);
        }
        let RemoteMounts { points, links, .. } = self;
        points.crossed(path, |path| match links.get(path) {
            Some(known) => known.clone(),
            None => {
                let target = fs::read_link(path).ok();
                if links.len() < KNOWN {
                    links.insert(path.to_path_buf(), target.clone());
                }
                target
            }
        })
    }
}

/// Whether a path leads through a descriptor of ours (`/proc/PID/fd/N`) to a place on the mount of the current directory.
fn stays_below_held(path: &Path) -> bool {
    let mut rest = path.components();
    let held: PathBuf = rest.by_ref().take(HELD_NAMES).collect();
    let number = held.strip_prefix(proc_path(getpid(), "fd")).ok().and_then(|number| number.to_str()?.parse().ok());
    // What `/proc` says of a descriptor is known without any step on the mount.
    let is_here = |number| {
        let here = open(".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
        let mount = mount_of(getpid(), number)?;
        (mount_of(getpid(), here.as_raw_fd())? == mount).then_some(())
    };
    if number.and_then(is_here).is_none() {
        return false;
    }
    let Ok(place) = open(&held, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) else { return false };
    rest.as_path() == Path::new("") || stays_on_mount_at(&place, rest.as_path()) == Some(true)
}

/// Opens the table of mounts, and what is readable when the table has changed.
fn watch() -> nix::Result<(Epoll, OwnedFd)> {
    let table = open(MOUNTS, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let changes = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    changes.add(&table, EpollEvent::new(EpollFlags::EPOLLPRI, 0))?;
    Ok((changes, table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::io::Write;

    #[test]
    fn a_table_that_cannot_be_read_is_read_later_and_the_known_mounts_stay_known() {
        let line = |point: &str| format!("36 35 98:0 / {point} rw - nfs x rw\n");
        let points = MountPoints::of(line("/old").as_bytes(), Path::new("/s"));
        let unreadable = File::options().write(true).open("/dev/null").unwrap();
        let mut remote = RemoteMounts { table: Some(unreadable), is_stale: true, points, ..RemoteMounts::default() };
        for _ in 0..2 {
            assert!(!remote.refresh());
            assert!(remote.points.includes(Path::new("/old")) && remote.is_stale);
        }
        let mut readable = File::from(memfd_create("table", MFdFlags::empty()).unwrap());
        readable.write_all(line("/new").as_bytes()).unwrap();
        remote.table = Some(readable);
        assert!(remote.refresh(), "what is new is looked for");
        assert!(remote.points.includes(Path::new("/new")) && !remote.points.includes(Path::new("/old")));
        assert!(!remote.refresh());
    }
}
