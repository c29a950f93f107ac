//! What the supervise of a service does before it exits: it keeps the lines that no logger has read until another process
//! has the pipe between the service and its logger. No clock, no I/O.
//!
//! svscan has both ends of that pipe, and the logger and its supervise have the reading end. A supervise that was told to
//! exit, and whose service is down, exits at once while one of these processes is there. If all of them were killed, the
//! pipe and the lines in it would be gone with the supervise. It waits for the next svscan, which takes the pipe over from
//! it. If none comes in time, the supervise says how many bytes are lost, and exits.

use std::time::Duration;

/// The longest time for which supervise waits for the next svscan. A program that starts svscan again does so at once,
/// or after some seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks at whether the next svscan has the pipe.
const AGAIN: Duration = Duration::from_millis(20);

/// What supervise does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It stays for now.
    Stay,
    /// It exits.
    Exit,
    /// It says that the lines are lost, and exits.
    GiveUp,
}

/// Since when a supervise stays only because of the lines that it keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptLines {
    /// The time since boot; `None` if supervise has not looked yet.
    since: Option<Duration>,
    /// When to look again, in time since boot.
    next: Option<Duration>,
}

impl KeptLines {
    /// When to look again, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        self.next
    }

    /// Decides what to do at `now`, in time since boot. `unread` is the number of bytes in the pipe that no other process
    /// keeps.
    pub fn step(&mut self, now: Duration, unread: usize) -> Step {
        let since = *self.since.get_or_insert(now);
        self.next = Some(now + AGAIN);
        match unread {
            0 => Step::Exit,
            _ if now < since + PATIENCE => Step::Stay,
            _ => Step::GiveUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervise_stays_as_long_as_only_it_keeps_lines_but_not_for_ever() {
        use Step::{Exit, GiveUp, Stay};
        let table: [&[(u64, usize, Step)]; 4] = [
            // The milliseconds since boot, the bytes that no other process keeps, and what is done.
            &[(7, 0, Exit)],
            &[(7, 5, Stay), (27, 5, Stay), (47, 0, Exit)],
            &[(7, 5, Stay), (60_006, 5, Stay), (60_007, 5, GiveUp)],
            &[(7, 5, Stay), (60_006, 3, Stay), (60_007, 3, GiveUp)],
        ];
        for story in table {
            let mut kept = KeptLines::default();
            assert_eq!(kept.deadline(), None);
            for (now, unread, step) in story {
                let now = Duration::from_millis(*now);
                assert_eq!(kept.step(now, *unread), *step, "{story:?}");
                assert_eq!(kept.deadline(), Some(now + AGAIN));
            }
        }
    }
}
