//! What multilog does while it has no journal: when it tries again to make one, and how often it warns of what its
//! absence costs.

use daemontools::logdir::JOURNAL;
use daemontools::report::{joined, notice, reason, warning};
use nix::errno::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The times until the next try: after there was no room, and after any other failure.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(60);
/// The time between two messages, even if there was a journal in between.
const SAY_AGAIN: Duration = Duration::from_secs(600);

/// Why multilog has no journal, and when it tries again to make one.
#[derive(Debug, Default)]
pub struct JournalRetry {
    why: Option<&'static str>,
    /// When to try again.
    retry_at: Duration,
    /// Whether multilog has said so, and when it may say so again if there was a journal meanwhile.
    is_said: bool,
    say_at: Duration,
}

impl JournalRetry {
    /// Takes in that a journal could not be made.
    pub fn failed(&mut self, errno: Errno, now: Duration) {
        let is_short = matches!(errno, Errno::ENOSPC | Errno::EDQUOT | Errno::EMFILE | Errno::ENFILE);
        (self.why, self.retry_at) = (Some(reason(errno)), now + if is_short { SOON } else { LATER });
    }

    /// Takes in that the journal could not be used any more.
    pub fn broke(&mut self, now: Duration) {
        (self.why, self.retry_at) = (Some("its file was changed by others, or has no room"), now + SOON);
    }

    /// Whether it is time to try again to make a journal.
    pub fn is_due(&self, now: Duration) -> bool {
        self.why.is_some() && now >= self.retry_at
    }

    /// Takes in that there is a journal in this directory, and says so if multilog has said that there is none.
    pub fn is_over(&mut self, directory: &OsStr) {
        if self.is_said {
            let words = b" is there again: if multilog is killed, no line is lost";
            notice(&[directory.as_bytes(), b"/", JOURNAL.as_bytes(), words]);
        }
        (self.why, self.is_said) = (None, false);
    }

    /// Says once what it costs that there is no journal in this directory.
    pub fn say(&mut self, directory: &OsStr, now: Duration) {
        let Some(why) = self.why.filter(|_| !self.is_said && now >= self.say_at) else { return };
        (self.is_said, self.say_at) = (true, now + SAY_AGAIN);
        let cost = b": if multilog is killed, lines that it has read and not yet written are lost";
        let journal = joined(directory, JOURNAL);
        warning(&[b"going on without ", journal.as_bytes(), b": ", why.as_bytes(), cost]);
    }
}
