//! Which files of supervise could not be written, what is to be said about that, and when they are tried again. No clock, no
//! I/O.

use nix::errno::Errno;
use std::time::Duration;

/// Files that could not be written are tried again this often: a disk may be full, or descriptors used up, for a time.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// A file that could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What the system has refused: "write", "rename" …
    pub verb: &'static str,
    /// The file under its name as a new one.
    pub new: &'static str,
    /// Why the system has refused it.
    pub errno: Errno,
}

/// Which processes must be killed so that a second copy of the service is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondCopy {
    /// This supervise.
    IfThisIsKilled,
    /// svscan and all supervises together: the page in svscan's memory has the record.
    IfAllAreKilled,
}

/// The files that could not be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unwritten {
    failed: Vec<Failure>,
    /// When to try again to write them, in time since boot.
    again: Option<Duration>,
    /// A warning has said that the next supervise would not know the service's process.
    has_warned: bool,
}

impl Unwritten {
    /// Takes in at `now` whether the file `new` could be written. What is known of other files stays known. Returns the failure
    /// if it is news.
    pub fn take_in_of(&mut self, new: &str, failure: Option<Failure>, now: Duration) -> Vec<Failure> {
        let others = self.failed.iter().copied().filter(|failure| failure.new != new);
        let failed = others.chain(failure).collect();
        self.take_in(failed, now)
    }

    /// Takes in at `now` which files could not be written. Returns those failures that are news.
    pub fn take_in(&mut self, failed: Vec<Failure>, now: Duration) -> Vec<Failure> {
        let news = failed.iter().copied().filter(|failure| !self.failed.contains(failure)).collect();
        self.again = (!failed.is_empty()).then(|| now + TRY_AGAIN);
        self.failed = failed;
        news
    }

    /// When the files are to be tried again, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        self.again
    }

    /// Whether the files are to be tried again now.
    pub fn is_due(&self, now: Duration) -> bool {
        self.again.is_some_and(|again| again <= now)
    }

    /// Whether the directory of the files seems to be gone.
    pub fn misses_directory(&self) -> bool {
        self.failed.iter().any(|failure| matches!(failure.errno, Errno::ENOENT | Errno::ENOTDIR))
    }

    /// A process is about to become a program, and was recorded in the file `state` under its new name, or could not be. `on_page`
    /// tells whether the page has the record. Returns what is to be said, if it was not said yet.
    pub fn second_copy(&mut self, state: &str, on_page: bool) -> Option<SecondCopy> {
        let is_on_disk = self.failed.iter().all(|failure| failure.new != state);
        let is_news = !is_on_disk && !self.has_warned;
        self.has_warned = !is_on_disk;
        is_news.then_some(if on_page { SecondCopy::IfAllAreKilled } else { SecondCopy::IfThisIsKilled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn of(new: &'static str, errno: Errno) -> Failure {
        Failure { verb: "write", new, errno }
    }

    #[test]
    fn what_could_not_be_written_is_tried_again_each_second_until_it_is_written() {
        let mut unwritten = Unwritten::default();
        assert_eq!((unwritten.deadline(), unwritten.is_due(SECOND)), (None, false));
        for errno in [Errno::ENOSPC, Errno::EROFS, Errno::EDQUOT, Errno::EMFILE, Errno::EIO, Errno::ENOENT] {
            unwritten.take_in_of("state.new", Some(of("state.new", errno)), SECOND);
            assert_eq!(unwritten.deadline(), Some(2 * SECOND), "{errno}");
            assert!(unwritten.is_due(2 * SECOND) && !unwritten.is_due(SECOND));
            assert_eq!(unwritten.misses_directory(), errno == Errno::ENOENT);
        }
        unwritten.take_in_of("status.new", Some(of("status.new", Errno::ENOSPC)), SECOND);
        unwritten.take_in_of("state.new", None, SECOND);
        assert!(unwritten.is_due(2 * SECOND) && !unwritten.misses_directory());
        unwritten.take_in(Vec::new(), 2 * SECOND);
        assert_eq!(unwritten, Unwritten::default());
    }

    #[test]
    fn a_failure_is_news_once() {
        let mut unwritten = Unwritten::default();
        let (full, broken) = (of("state.new", Errno::ENOSPC), of("state.new", Errno::EIO));
        assert_eq!(unwritten.take_in_of("state.new", Some(full), SECOND), [full]);
        assert_eq!(unwritten.take_in_of("state.new", Some(full), SECOND), []);
        assert_eq!(unwritten.take_in_of("state.new", Some(broken), SECOND), [broken]);
        let status = of("status.new", Errno::ENOSPC);
        assert_eq!(unwritten.take_in(vec![broken, status], SECOND), [status]);
    }

    #[test]
    fn that_a_second_copy_may_start_is_said_once_as_long_as_it_is_so() {
        let mut unwritten = Unwritten::default();
        assert_eq!(unwritten.second_copy("state.new", false), None);
        unwritten.take_in_of("status.new", Some(of("status.new", Errno::ENOSPC)), SECOND);
        assert_eq!(unwritten.second_copy("state.new", false), None);
        unwritten.take_in_of("state.new", Some(of("state.new", Errno::ENOSPC)), SECOND);
        assert_eq!(unwritten.second_copy("state.new", false), Some(SecondCopy::IfThisIsKilled));
        assert_eq!(unwritten.second_copy("state.new", false), None);
        unwritten.take_in_of("state.new", None, SECOND);
        assert_eq!(unwritten.second_copy("state.new", true), None);
        unwritten.take_in_of("state.new", Some(of("state.new", Errno::ENOSPC)), SECOND);
        assert_eq!(unwritten.second_copy("state.new", true), Some(SecondCopy::IfAllAreKilled));
    }
}
