//! The lines that a logger has not read while it is being stopped, and how long svscan waits until it reads them. No I/O.

use std::time::{Duration, Instant};

/// After this time, svscan does not wait any longer for a logger that does not read what is left, nor for a supervise that
/// cannot be started although nothing is known to be left.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What a logger has not read from its pipe.
#[derive(Debug, Clone)]
pub struct UnreadLines {
    /// The bytes at the last look.
    unread: usize,
    /// The last time at which there were fewer bytes than before.
    since: Instant,
    /// The first time at which there were more bytes than before.
    added: Option<Instant>,
}

impl UnreadLines {
    /// This number of bytes is unread at the first look.
    pub fn new(unread: usize, now: Instant) -> UnreadLines {
        UnreadLines { unread, since: now, added: None }
    }

    /// This number of bytes is unread now. Returns whether the logger may still read them. svscan gives them up if the
    /// logger has taken nothing for some time, and some time after more lines have come: a process that has outlived its
    /// service may write without end.
    pub fn may_be_read(&mut self, unread: usize, now: Instant) -> bool {
        if unread < self.unread {
            self.since = now;
        } else if unread > self.unread {
            self.added.get_or_insert(now);
        }
        self.unread = unread;
        let until = self.added.map_or(self.since, |added| added.min(self.since)) + PATIENCE;
        unread > 0 && now < until
    }
}
