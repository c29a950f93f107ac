//! How many datagrams of strangers are read from a service's socket. No clock, no I/O.
//!
//! Any account may send datagrams to a socket that has a name. Those of strangers are ignored, but to find out that the
//! sender is a stranger costs time. So after many of them the socket is not read for a moment. Its queue is short: a
//! process that sends more must wait, or is refused. The service's own datagrams wait in the same queue.

use std::time::Duration;

/// How long the socket is not read after many datagrams of strangers.
pub const PAUSE: Duration = Duration::from_millis(20);

/// The socket is not read for a moment after this many datagrams of strangers within [`PAUSE`].
const MESSAGES: u32 = 16;
/// The socket is not read for a moment after this much time was spent on datagrams of strangers within [`PAUSE`].
const TIME: Duration = Duration::from_millis(1);

/// How much of supervise's time strangers have used up.
#[derive(Debug, Clone, Copy)]
pub struct DatagramLimit {
    /// Since when `messages` and `spent` count, in time since boot.
    since: Duration,
    messages: u32,
    spent: Duration,
    /// Until when the socket is not read, in time since boot; `None` if it is read.
    until: Option<Duration>,
}

impl DatagramLimit {
    /// The limit of a socket to which strangers have sent nothing yet.
    pub const NONE: DatagramLimit =
        DatagramLimit { since: Duration::ZERO, messages: 0, spent: Duration::ZERO, until: None };

    /// Counts a datagram of a stranger, which was dealt with from `began` until `now`.
    pub fn count_stranger(&mut self, began: Duration, now: Duration) {
        if began.saturating_sub(self.since) >= PAUSE {
            *self = DatagramLimit { since: began, until: self.until, ..DatagramLimit::NONE };
        }
        self.messages += 1;
        self.spent += now.saturating_sub(began);
        if self.messages >= MESSAGES || self.spent >= TIME {
            self.pause(now);
        }
    }

    /// Has the socket not read for the time [`PAUSE`] from `now` on.
    pub fn pause(&mut self, now: Duration) {
        *self = DatagramLimit { until: Some(now + PAUSE), ..DatagramLimit::NONE };
    }

    /// Until when the socket is not read; `None` if it may be read.
    pub fn paused_until(&self) -> Option<Duration> {
        self.until
    }

    /// Whether the socket may be read at `now`.
    pub fn may_read(&mut self, now: Duration) -> bool {
        self.until = self.until.filter(|until| *until > now);
        self.until.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOMENT: Duration = Duration::from_micros(10);

    /// How many datagrams are read within a time, and how long that takes, if there is always one, and each takes the
    /// same time.
    fn read_within(within: Duration, takes: Duration) -> (u32, Duration) {
        let (mut limit, mut now, mut messages, mut busy) = (DatagramLimit::NONE, PAUSE, 0, Duration::ZERO);
        let end = now + within;
        while now < end {
            match limit.paused_until() {
                Some(until) if !limit.may_read(now) => now = until,
                Some(_) | None => {
                    limit.count_stranger(now, now + takes);
                    (now, messages, busy) = (now + takes, messages + 1, busy + takes);
                }
            }
        }
        (messages, busy)
    }

    #[test]
    fn few_words_of_strangers_are_read_at_once() {
        let mut limit = DatagramLimit::NONE;
        for count in 1..1000 {
            let now = PAUSE * count / (MESSAGES - 1) + PAUSE;
            limit.count_stranger(now, now + MOMENT);
            assert_eq!(limit.paused_until(), None, "{count}");
        }
    }

    #[test]
    fn many_are_read_after_a_pause() {
        let mut limit = DatagramLimit::NONE;
        (1..MESSAGES).for_each(|_| limit.count_stranger(PAUSE, PAUSE + MOMENT));
        assert_eq!(limit.paused_until(), None);
        limit.count_stranger(PAUSE, PAUSE + MOMENT);
        assert_eq!(limit.paused_until(), Some(PAUSE * 2 + MOMENT));
        assert!(!limit.may_read(PAUSE * 2) && limit.may_read(PAUSE * 2 + MOMENT));
        assert_eq!(limit.paused_until(), None, "they have their words again");
        let (messages, _) = read_within(Duration::from_secs(1), MOMENT);
        assert!((700..=816).contains(&messages), "{messages}");
    }

    #[test]
    fn few_that_cost_much_are_enough() {
        let mut limit = DatagramLimit::NONE;
        limit.count_stranger(PAUSE, PAUSE + TIME);
        assert_eq!(limit.paused_until(), Some(PAUSE * 2 + TIME));
    }

    proptest! {
        /// Strangers get a twentieth of a processor, beside the last datagram before each pause.
        #[test]
        fn strangers_cost_little(takes in 1u64..1000) {
            let takes = Duration::from_micros(takes);
            let (_, busy) = read_within(Duration::from_secs(10), takes);
            prop_assert!(busy <= Duration::from_secs(10) * 2 / 20, "{busy:?}");
        }
    }
}
