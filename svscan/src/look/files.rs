//! Which files of a supervise in charge are there, and what tells whether their directory has changed since. The caller has
//! made sure that the directory can be touched.

use crate::identity::id_of;
use crate::table::Id;
use daemontools::encoding::Encode;
use daemontools::files::stat_on_mount;
use daemontools::service::{self, Place};
use nix::errno::Errno;
use nix::sys::stat::{FileStat, lstat, stat};
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
    /// The stamp of the directory in which the files lie, if that exists. It was taken before the files were looked at.
    pub stamp: Option<Stamp>,
    /// All of them are there, and `ok` has a reader.
    pub all_are_there: bool,
    /// One of the files is missing, or `ok` has no reader. Both members are false if the system does not tell of some
    /// file whether it exists, and none is known to be missing.
    pub one_is_missing: bool,
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
    /// The stamp of the `supervise/` of the service in `folder`, which can be touched.
    ///
    /// # Errors
    /// There is none, or it cannot be looked at.
    pub fn of(folder: &Path) -> nix::Result<Stamp> {
        Ok(Stamp::from(&stat(Place::of(folder)?.directory())?))
    }

    /// The stamp that [`Stamp::of`] returns, found without a step on another mount than that of the current directory;
    /// `None` where that is not possible.
    pub fn of_here(folder: &Path) -> Option<nix::Result<Stamp>> {
        if Place::moved().is_some() {
            return None;
        }
        stat_on_mount(Place::of(folder).ok()?.directory()).ok().map(|file| Ok(Stamp::from(&file)))
    }

    /// Whether each change from now on gives the directory another time than it has, however coarse the times of its
    /// file system are.
    pub fn is_old(&self, now: SystemTime) -> bool {
        let changed =
            u64::try_from(self.seconds).ok().map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let age = changed.and_then(|changed| now.duration_since(changed).ok());
        age.is_some_and(|age| age >= COARSE)
    }
}

impl Encode for Stamp {
    fn encode(&self, bytes: &mut Vec<u8>) {
        (self.id, (self.seconds.cast_unsigned(), self.nanoseconds.cast_unsigned())).encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Stamp> {
        let (id, (seconds, nanoseconds)) = <(Id, (u64, u64))>::decode(bytes)?;
        Some(Stamp { id, seconds: seconds.cast_signed(), nanoseconds: nanoseconds.cast_signed() })
    }
}

impl Encode for FoundFiles {
    fn encode(&self, bytes: &mut Vec<u8>) {
        (self.stamp, (self.all_are_there, self.one_is_missing)).encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<FoundFiles> {
        let (stamp, (all_are_there, one_is_missing)) = <(Option<Stamp>, (bool, bool))>::decode(bytes)?;
        Some(FoundFiles { stamp, all_are_there, one_is_missing })
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
