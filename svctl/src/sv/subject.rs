//! The services that are named, and what is seen of each.

use super::line::{Refusal, Shown, state};
use crate::services::{Reach, Service, Services, is_path};
use daemontools::report::errno_of;
use daemontools::service::{DOWN, Snapshot, Status, is_supervised};
use daemontools::tai64::Moment;
use daemontools::{Fatal, report};
use nix::errno::Errno;
use nix::unistd::chdir;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A service, by the name that the user gave.
#[derive(Debug)]
pub struct Subject {
    /// The name.
    pub name: OsString,
    /// Its directory, or why there is none.
    place: Result<PathBuf, Errno>,
}

/// The services of these names.
///
/// # Errors
/// A name begins in the current directory, which has no path.
pub fn find(names: Vec<OsString>) -> Result<Vec<Subject>, Fatal> {
    // Where there is no such directory, the names are what cannot be entered.
    let scanned = Services::find(None).ok();
    let place = |name: &OsStr| {
        let path = match &scanned {
            _ if is_path_for_runit(name) => PathBuf::from(name),
            Some(scanned) => scanned.directory().join(name),
            None => return Ok(Err(Errno::ENOENT)),
        };
        Ok(match Service::at_path(path.as_os_str())? {
            Some(Service { reach: Reach::Hangs, .. }) => Err(Errno::ETIMEDOUT),
            Some(Service { path, .. }) => Ok(path),
            None => Err(why_no_directory(&path)),
        })
    };
    names.into_iter().map(|name| place(&name).map(|place| Subject { name, place })).collect()
}

/// runit takes for a path also what ends with a slash.
fn is_path_for_runit(name: &OsStr) -> bool {
    is_path(name) || name.is_empty() || name.as_bytes().ends_with(b"/")
}

fn why_no_directory(path: &Path) -> Errno {
    std::fs::metadata(path).map_or_else(|error| errno_of(&error), |_| Errno::ENOTDIR)
}

impl Subject {
    /// The path of its directory.
    ///
    /// # Errors
    /// There is none.
    pub fn path(&self) -> Result<&Path, Refusal> {
        self.place.as_deref().map_err(|errno| Refusal::Directory(*errno))
    }

    /// Enters its directory, and sees how it is.
    ///
    /// # Errors
    /// Why that cannot be seen.
    pub fn look(&self) -> Result<Snapshot, Refusal> {
        chdir(self.path()?).map_err(Refusal::Directory)?;
        look_here()
    }
}

/// Sees how the service in the current directory is.
///
/// # Errors
/// Why that cannot be seen.
pub fn look_here() -> Result<Snapshot, Refusal> {
    if !is_supervised().map_err(Refusal::Ok)? {
        return Err(Refusal::NotRunning);
    }
    Snapshot::take().map_err(Refusal::Status)
}

/// The line about the service in the current directory. `None`: it cannot be said whether it is normally up, and a message
/// says why.
pub fn line_here(name: &OsStr, status: &Status) -> Option<Vec<u8>> {
    let is_normally_up = match std::fs::metadata(DOWN).map_err(|error| errno_of(&error)) {
        Ok(_) => false,
        // A logger that is no directory of its own has no files.
        Err(Errno::ENOENT | Errno::ENOTDIR) => true,
        Err(errno) => {
            warn("unable to stat", name, DOWN, errno);
            return None;
        }
    };
    Some(state(&Shown { name, status, is_normally_up, now: Moment::now().label }))
}

/// `warning: unable to stat web/down: access denied`
pub fn warn(what: &str, name: &OsStr, file: &str, errno: Errno) {
    let what = [b"warning: ", what.as_bytes(), b" ", name.as_bytes(), b"/", file.as_bytes()].concat();
    report::pass_on(&[&what, &b": "[..], report::reason(errno).as_bytes(), b"\n"].concat());
}
