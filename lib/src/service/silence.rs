//! Which files a program that reads services must not touch, as they lie on a mount that does not answer.
//!
//! A program asks this before it touches what may be a link to elsewhere. Only about a path that leads to another mount which
//! may wait does a helper process look (see [`RemoteMounts`]); about every other path the kernel tells that it leads to no
//! such mount. All questions of a program share one helper and one [`Patience`](super::patience::Patience): however many
//! services lie on silent mounts, the program waits for about two seconds in all.
//!
//! A mount that falls silent between the question and what the program does next still makes it wait.

use super::{CONTROL, OK, Place, RemoteMounts, STATE, STATUS, SUPERVISE};
use crate::files::{open_directory_on_mount_at, stays_on_mount};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sys::stat::Mode;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What is said of a service that must not be touched.
pub const SILENT: &str = "its file system does not answer";

thread_local! {
    /// The mounts that this program knows, and its patience. A program has one of these values, because the programs
    /// that ask have one thread.
    static MOUNTS: RefCell<RemoteMounts> = RefCell::new({
        let mut mounts = RemoteMounts::default();
        mounts.refresh();
        mounts
    });
    /// The directory that was asked about last by [`open_directory`], and lies on no mount that may wait.
    static ABOVE: RefCell<Option<(PathBuf, OwnedFd)>> = const { RefCell::new(None) };
}

/// Whether a path can be touched. If a helper process would have to find that out, and the system cannot make one now,
/// the path counts as one that cannot be touched.
pub fn answers(path: &Path) -> bool {
    stays_on_mount(path) == Some(true) || MOUNTS.with_borrow_mut(|mounts| mounts.touch([absolute(path)]).is_ok())
}

/// Whether a service directory can be touched, these files in it, and the directory to which `$SUPERVISEDIR` moves its
/// `supervise/`. If `supervise` is among the files, the files that readers open in it must be such that they can be
/// touched, too.
pub fn service_answers(service: &Path, files: &[&str]) -> bool {
    let inner = inner(files);
    let paths = || files.iter().map(|file| service.join(file)).chain(Place::moved());
    // To find a file there is to step through the service directory.
    let is_on_mount = !files.is_empty() && paths().all(|path| stays_on_mount(&path) == Some(true));
    // No file in `supervise/` is a link, so that it leads elsewhere only if something is mounted on it. Where nothing in the
    // table of mounts has such a name, there is no need to ask about each file of each service.
    let is_mounted = MOUNTS.with_borrow(|mounts| mounts.has_any_named(&OPENED.map(name_of)));
    if is_on_mount && !is_mounted {
        return true;
    }
    let moved = Place::moved();
    let files = files.iter().copied().chain(moved.as_ref().and_then(|moved| moved.to_str()));
    let mounted = inner.iter().filter(|_| is_mounted).filter_map(|file| file.to_str());
    let files: Vec<&str> = files.chain(mounted).collect();
    MOUNTS.with_borrow_mut(|mounts| mounts.probe_with(&absolute(service), &files, &inner).is_ok())
}

/// The files that readers open in `supervise/`.
const OPENED: [&str; 4] = [STATUS, STATE, OK, CONTROL];

/// The name of a file of `supervise/` without the directory.
fn name_of(file: &str) -> &OsStr {
    Path::new(file).file_name().unwrap_or_default()
}

/// For each of these files that is a directory `supervise`: the files that readers open in it.
fn inner(files: &[&str]) -> Vec<PathBuf> {
    let is_supervise = |file: &&&str| Path::new(file).ends_with(SUPERVISE);
    let places = files.iter().filter(is_supervise);
    places.flat_map(|place| OPENED.map(|file| Path::new(place).join(name_of(file)))).collect()
}

/// Opens a directory of which it is known, without asking any other mount, that it can be touched: it lies on the mount
/// of the current directory, or on that of the directory above it, and that on none which may wait. Most logs lie side
/// by side, so the directory above is asked about once. `None`: that is not known, or the directory cannot be opened, or
/// something may be mounted at one of these names in it.
pub fn open_directory(path: &Path, names: &[&str]) -> Option<OwnedFd> {
    let names: Vec<&OsStr> = names.iter().map(OsStr::new).collect();
    if MOUNTS.with_borrow(|mounts| mounts.has_any_named(&names)) {
        return None;
    }
    let above = path.parent().filter(|above| above.is_absolute()).zip(path.file_name());
    ABOVE.with_borrow_mut(|known| {
        let is_known = |known: &Option<(PathBuf, OwnedFd)>| {
            above.is_some_and(|(above, _)| known.as_ref().is_some_and(|(known, _)| known == above))
        };
        if !is_known(known) {
            match (open_directory_on_mount_at(AT_FDCWD, path), above) {
                (Err(Errno::EXDEV), Some((above, _))) => *known = hold(above),
                (opened, _) => return opened.ok(),
            }
        }
        open_directory_on_mount_at(&known.as_ref()?.1, Path::new(above?.1)).ok()
    })
}

/// Holds a directory that lies on no mount which may wait.
fn hold(path: &Path) -> Option<(PathBuf, OwnedFd)> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let never_waits = MOUNTS.with_borrow_mut(|mounts| mounts.never_waits(path));
    let held = never_waits.then(|| open(path, flags, Mode::empty()).ok()).flatten()?;
    Some((path.to_path_buf(), held))
}

/// Looks for mounts that are new or gone, and lets the program wait for mounts as long as at first. A program that asks
/// about services for longer than a moment calls this before each round of questions.
pub fn look_for_mounts() {
    MOUNTS.with_borrow_mut(|mounts| {
        mounts.rest();
        mounts.refresh();
    });
    ABOVE.set(None);
}

/// The absolute path: the helper may work in another directory than the program by now, so it is sent no relative
/// paths.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
