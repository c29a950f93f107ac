//! Whether a supervise in charge has all its files in `supervise/`. An entry of a directory is not removed or replaced
//! without a change of the directory itself. So the files are looked at once, and again when their directory has changed:
//! there may be thousands of services, and each scan asks.

use crate::identity::id_of;
use crate::probe::Probe;
use crate::table::{Id, SuperviseId};
use daemontools::files::stat_on_mount;
use daemontools::service::{self, Place};
use nix::errno::Errno;
use nix::sys::stat::{FileStat, lstat, stat};
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The files of a supervise in charge.
const FILES: [&str; 5] = [service::LOCK, service::CONTROL, service::OK, service::STATE, service::STATUS];
/// File systems may tell times so coarsely that two changes have the same one.
const COARSE: Duration = Duration::from_secs(2);

/// What tells whether a directory is the same, and has the same entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub id: Id,
    pub seconds: i64,
    pub nanoseconds: i64,
}

/// Which files of a supervise in charge are there.
#[derive(Debug)]
pub struct FoundFiles {
    /// Of their directory, if that is there.
    pub stamp: Option<Stamp>,
    /// All of them are there, and `ok` has a reader.
    pub all_are_there: bool,
    /// One of them is missing, or `ok` has no reader. There may be files of which neither is known.
    pub one_is_missing: bool,
}

/// The directories in which all files were there.
#[derive(Debug, Default)]
pub struct SuperviseFiles(HashMap<SuperviseId, Stamp>);

impl SuperviseFiles {
    /// Whether all files of this supervise were there at the last look, and `supervise/` of the service in `folder` is as it
    /// was then.
    pub fn is_unchanged(&self, which: SuperviseId, folder: &Path, probe: &mut Probe) -> bool {
        let known = self.0.get(&which);
        known.is_some() && probe.stamp(folder).ok().as_ref() == known
    }

    /// Whether a file is missing of this supervise, which is in charge of the service in `folder`.
    pub fn misses_files(&mut self, which: SuperviseId, folder: &Path, probe: &mut Probe) -> bool {
        self.0.remove(&which);
        let Ok(found) = probe.supervise_files(folder) else { return false };
        let stamp = found.stamp.filter(|stamp| found.all_are_there && stamp.is_old(SystemTime::now()));
        self.0.extend(stamp.map(|stamp| (which, stamp)));
        found.one_is_missing
    }

    /// The service is gone.
    pub fn forget(&mut self, id: Id) {
        self.0.retain(|which, _| which.id != id);
    }
}

impl FoundFiles {
    /// Looks at the files of the supervise in charge of the service in `folder`, which can be touched.
    pub fn of(folder: &Path) -> FoundFiles {
        let Ok(place) = Place::of(folder) else {
            return FoundFiles { stamp: None, all_are_there: false, one_is_missing: false };
        };
        // Before the files, so that a change after they were looked at is another one.
        let stamp = stat(place.directory()).ok().map(|file| Stamp::from(&file));
        let files = FILES.map(|file| lstat(&place.path(file)).map(drop));
        let supervised = service::is_supervised_at(folder);
        FoundFiles {
            stamp,
            all_are_there: files == FILES.map(|_| Ok(())) && supervised == Ok(true),
            one_is_missing: files.contains(&Err(Errno::ENOENT)) || supervised == Ok(false),
        }
    }
}

impl From<&FileStat> for Stamp {
    fn from(file: &FileStat) -> Stamp {
        Stamp { id: id_of(file), seconds: file.st_ctime, nanoseconds: file.st_ctime_nsec }
    }
}

impl Stamp {
    /// That of the `supervise/` of the service in `folder`, which can be touched.
    ///
    /// # Errors
    /// There is none, or it cannot be looked at.
    pub fn of(folder: &Path) -> nix::Result<Stamp> {
        Ok(Stamp::from(&stat(Place::of(folder)?.directory())?))
    }

    /// The same, without a step on another mount than that of the current directory; `None` where that does not tell.
    pub fn of_here(folder: &Path) -> Option<nix::Result<Stamp>> {
        if Place::moved().is_some() {
            return None;
        }
        stat_on_mount(Place::of(folder).ok()?.directory()).ok().map(|file| Ok(Stamp::from(&file)))
    }

    /// Whether a change from now on has another time.
    fn is_old(&self, now: SystemTime) -> bool {
        let changed =
            u64::try_from(self.seconds).ok().map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let age = changed.and_then(|changed| now.duration_since(changed).ok());
        age.is_some_and(|age| age >= COARSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_directory_that_changed_some_time_ago_is_remembered() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let stamp = |seconds| Stamp { id: Id { device: 1, inode: 2 }, seconds, nanoseconds: 0 };
        for (seconds, old) in [(900, true), (998, true), (999, false), (1000, false), (2000, false), (-1, false)] {
            assert_eq!(stamp(seconds).is_old(now), old, "{seconds}");
        }
    }
}
