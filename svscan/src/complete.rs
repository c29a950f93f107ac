//! Whether a supervise in charge has all its files in `supervise/`. An entry of a directory is not removed or replaced
//! without a change of the directory itself. So the files are looked at once, and again when their directory has changed:
//! there may be thousands of services, and each scan asks.

use crate::identity::id_of;
use crate::table::{Id, SuperviseId};
use daemontools::service::{self, Place};
use nix::errno::Errno;
use nix::sys::stat::{lstat, stat};
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The files of a supervise in charge.
const FILES: [&str; 5] = [service::LOCK, service::CONTROL, service::OK, service::STATE, service::STATUS];
/// File systems may tell times so coarsely that two changes have the same one.
const COARSE: Duration = Duration::from_secs(2);

/// What tells whether a directory is the same, and has the same entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    id: Id,
    seconds: i64,
    nanoseconds: i64,
}

/// The directories in which all files were there.
#[derive(Debug, Default)]
pub struct Complete(HashMap<SuperviseId, Stamp>);

impl Complete {
    /// Whether all files of this supervise were there at the last look, and `supervise/` of the service in `folder` is as it
    /// was then.
    pub fn is_unchanged(&self, which: SuperviseId, folder: &Path) -> bool {
        let known = self.0.get(&which);
        known.is_some() && Place::of(folder).is_ok_and(|place| Stamp::of(&place).ok().as_ref() == known)
    }

    /// Whether a file is missing of this supervise, which is in charge of the service in `folder`.
    pub fn misses_files(&mut self, which: SuperviseId, folder: &Path) -> bool {
        self.0.remove(&which);
        let Ok(place) = Place::of(folder) else { return false };
        // Before the files, so that a change after they were looked at is another one.
        let stamp = Stamp::of(&place);
        let files = FILES.map(|file| lstat(&place.path(file)).map(drop));
        let supervised = service::is_supervised_at(folder);
        match stamp {
            Ok(stamp)
                if files == FILES.map(|_| Ok(())) && supervised == Ok(true) && stamp.is_old(SystemTime::now()) =>
            {
                self.0.insert(which, stamp);
            }
            Ok(_) | Err(_) => {}
        }
        files.contains(&Err(Errno::ENOENT)) || supervised == Ok(false)
    }

    /// The service is gone.
    pub fn forget(&mut self, id: Id) {
        self.0.retain(|which, _| which.id != id);
    }
}

impl Stamp {
    fn of(place: &Place) -> nix::Result<Stamp> {
        let file = stat(place.directory())?;
        Ok(Stamp { id: id_of(&file), seconds: file.st_ctime, nanoseconds: file.st_ctime_nsec })
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
    fn only_what_changed_some_time_ago_is_remembered() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let stamp = |seconds| Stamp { id: Id { device: 1, inode: 2 }, seconds, nanoseconds: 0 };
        for (seconds, old) in [(900, true), (998, true), (999, false), (1000, false), (2000, false), (-1, false)] {
            assert_eq!(stamp(seconds).is_old(now), old, "{seconds}");
        }
    }
}
