//! Tries again what must be done and cannot be done now: with a warning, a pause, and a message when it is done.

use crate::signals::Signals;
use daemontools::report::{notice, reason, warning};
use daemontools::{Attempt, Fatal, Unable, duration, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::unistd::close;
use std::ffi::OsStr;
use std::mem::replace;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// The pause between two tries.
const PAUSE_MILLISECONDS: u16 = 1000;
/// The time between two warnings of the same trouble.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// TERM has come while something could not be done, and the next multilog can do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop;

/// Why [`Retry`] gave up.
#[derive(Debug, PartialEq, Eq)]
pub enum RetryFailure {
    /// TERM came while multilog waited.
    Stopped,
    /// The system refused, and trying again would not help.
    Unable(Unable),
}

impl RetryFailure {
    /// Adds to a failure to make a file or directory at `path` which directory above it is missing.
    pub fn where_missing(self, path: &OsStr) -> RetryFailure {
        match self {
            RetryFailure::Stopped => RetryFailure::Stopped,
            RetryFailure::Unable(unable) => RetryFailure::Unable(unable.where_missing(path.as_ref())),
        }
    }
}

impl From<Stop> for RetryFailure {
    fn from(Stop: Stop) -> RetryFailure {
        RetryFailure::Stopped
    }
}

impl From<Unable> for RetryFailure {
    fn from(unable: Unable) -> RetryFailure {
        RetryFailure::Unable(unable)
    }
}

impl From<RetryFailure> for Fatal {
    fn from(failure: RetryFailure) -> Fatal {
        match failure {
            RetryFailure::Stopped => Fatal::silent(0),
            RetryFailure::Unable(unable) => unable.into(),
        }
    }
}

/// Tries again what cannot be done now, and says so.
pub struct Retry {
    /// What signals have said.
    pub signals: Signals,
    /// Whether what cannot be done may be left to the next multilog. It may before anything is read.
    pub may_stop: bool,
    /// The bytes that were read and are not known to be written. They are lost with multilog if it may not stop, but for
    /// those of a batch of which a part was written.
    pub unwritten: usize,
    /// multilog has said why it does not end although it was told to.
    has_said_why_it_stays: bool,
    /// The locks of the log directories, by the numbers of their descriptors.
    locks: Vec<RawFd>,
    pause: Option<Pause>,
}

/// What a child of multilog does before anything else.
pub struct ChildStart {
    locks: Vec<RawFd>,
    mask: SigSet,
}

impl ChildStart {
    /// Closes the locks, and sets the signal mask that multilog was started with; in the child only, which ends without
    /// what owns the descriptors in its copy of the memory.
    pub fn begin(&self) {
        for lock in &self.locks {
            let _ = close(*lock);
        }
        let _ = self.mask.thread_set_mask();
    }
}

/// What could not be done, as multilog has said.
struct Pause {
    /// The words behind "unable to".
    what: Vec<u8>,
    why: &'static str,
    since: Instant,
    said: Instant,
}

impl Retry {
    /// Begins without trouble.
    pub fn new(signals: Signals) -> Retry {
        Retry { signals, may_stop: true, unwritten: 0, has_said_why_it_stays: false, locks: Vec::new(), pause: None }
    }

    /// Has children close this lock from now on.
    pub fn keep_from_children(&mut self, lock: &OwnedFd) {
        self.locks.push(lock.as_raw_fd());
    }

    /// Forgets a lock that is about to be closed.
    pub fn forget_lock(&mut self, lock: RawFd) {
        self.locks.retain(|known| *known != lock);
    }

    /// What a child does first. A child must not hold the locks of a multilog that is dead.
    pub fn child_start(&self) -> ChildStart {
        ChildStart { locks: self.locks.clone(), mask: self.signals.original_mask }
    }

    /// Does `act` until it succeeds: a warning and a pause after every failure, and a word when it goes on.
    ///
    /// # Errors
    /// [`Stop`], if TERM has come meanwhile and it may be left undone.
    pub fn retry_until_done<T>(
        &mut self,
        verb: &str,
        object: &[&[u8]],
        mut act: impl FnMut() -> nix::Result<T>,
    ) -> Result<T, Stop> {
        loop {
            match act() {
                Ok(done) => {
                    self.go_on();
                    return Ok(done);
                }
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    self.pause([verb.as_bytes(), b" ", &object.concat()].concat(), reason(errno))?;
                }
            }
        }
    }

    /// Does `act` at the start of multilog, where only trouble that may pass by itself is waited out.
    ///
    /// # Errors
    /// Any other failure, or TERM.
    pub fn retry_at_start<T>(
        &mut self,
        verb: &'static str,
        object: &OsStr,
        mut act: impl FnMut() -> nix::Result<T>,
    ) -> Result<T, RetryFailure> {
        let try_it = || match act() {
            Err(errno) if !may_pass(errno) => Ok(Err(errno)),
            other => other.map(Ok),
        };
        Ok(self.retry_until_done(verb, &[object.as_bytes()], try_it)?.unable_to(verb, object)?)
    }

    /// Says what cannot be done and why, not more often than once a minute, and waits a while.
    ///
    /// # Errors
    /// [`Stop`], if TERM has come meanwhile and what is to be done may be left undone.
    pub fn pause(&mut self, what: Vec<u8>, why: &'static str) -> Result<(), Stop> {
        let still = [b"still unable to ", &what[..], b": ", why.as_bytes()].concat();
        self.say_and_wait(what, why);
        self.obey(&still)
    }

    /// Pauses as [`Retry::pause`] does where the trouble may never end and what was read has no other place: after
    /// TERM, or once no more input can come, multilog leaves it undone.
    ///
    /// # Errors
    /// [`Stop`], if TERM has come, or if every process that may write to standard input has ended.
    pub fn pause_in_vain(&mut self, what: Vec<u8>, why: &'static str) -> Result<(), Stop> {
        self.say_and_wait(what, why);
        let mut input = [PollFd::new(sys::stdin(), PollFlags::empty())];
        let _ = poll(&mut input, PollTimeout::ZERO);
        let ended = input[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP));
        if self.signals.leaving || ended { Err(Stop) } else { Ok(()) }
    }

    /// Ends what is being done if TERM has come, or says once why multilog does not obey: it is `still` in this trouble.
    fn obey(&mut self, still: &[u8]) -> Result<(), Stop> {
        if self.signals.leaving && self.may_stop {
            return Err(Stop);
        }
        if self.signals.leaving && !replace(&mut self.has_said_why_it_stays, true) {
            let stake = match self.unwritten {
                0 => "it is in the middle of a line".into(),
                count => format!("up to {count} bytes that were read would be lost"),
            };
            let words = [b": waiting, as ", stake.as_bytes(), b"; kill -KILL ends it all the same"].concat();
            warning(&[b"told to end, but ", still, &words]);
        }
        Ok(())
    }

    fn say_and_wait(&mut self, what: Vec<u8>, why: &'static str) {
        let known = self.pause.as_ref().filter(|pause| pause.what == what);
        if !known.is_some_and(|pause| pause.why == why && pause.said.elapsed() < SAY_AGAIN) {
            warning(&[b"unable to ", &what, b", pausing: ", why.as_bytes()]);
            let now = Instant::now();
            self.pause = Some(Pause { since: known.map_or(now, |pause| pause.since), what, why, said: now });
        }
        self.signals.wait(PollTimeout::from(PAUSE_MILLISECONDS));
    }

    /// Says, if there was a pause, that what could not be done can be done again.
    pub fn go_on(&mut self) {
        if let Some(Pause { what, since, .. }) = self.pause.take() {
            let length = duration::in_seconds(since.elapsed());
            notice(&[b"able to ", &what, b" again after ", length.as_bytes(), b": going on"]);
        }
    }

    /// Waits until more can be written, a signal comes, or `timeout` is over; whether more can be written.
    ///
    /// # Errors
    /// [`Stop`], if TERM has come meanwhile and the rest may be left unwritten.
    pub fn wait_to_write(&mut self, fd: BorrowedFd, timeout: PollTimeout) -> Result<bool, Stop> {
        let ready = self.signals.wait_to_write(fd, timeout);
        if !ready {
            self.obey(b"standard output is not read")?;
        }
        Ok(ready)
    }
}

/// Whether the trouble may end by itself, while nothing is wrong with the script.
pub fn may_pass(errno: Errno) -> bool {
    matches!(errno, Errno::EINTR | Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS | Errno::EMFILE | Errno::ENFILE)
}
