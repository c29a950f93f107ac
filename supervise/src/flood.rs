//! How much is read from a socket of what strangers say. No clock, no I/O.
//!
//! Any account may send datagrams to a socket that has a name. What strangers say is not believed, but to find out that they
//! are strangers costs time. So once they have said much, the socket is not read for a moment. Its queue is short: those who
//! send more wait, or are refused. The service's own words wait in the same queue, for that moment and for their turn.

use std::time::Duration;

/// For so long the socket is not read.
pub const PAUSE: Duration = Duration::from_millis(20);

/// After so many messages of strangers within [`PAUSE`], or so much time spent on them.
const MESSAGES: u32 = 16;
const TIME: Duration = Duration::from_millis(1);

/// What strangers have used up.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    /// Since when, in time since boot, they have said so much, which has taken so long.
    since: Duration,
    messages: u32,
    spent: Duration,
    /// The socket is not read until then.
    until: Option<Duration>,
}

impl Flood {
    /// They have said nothing.
    pub const NONE: Flood = Flood { since: Duration::ZERO, messages: 0, spent: Duration::ZERO, until: None };

    /// A message of a stranger was dealt with from `began` until `now`.
    pub fn count_stranger(&mut self, began: Duration, now: Duration) {
        if began.saturating_sub(self.since) >= PAUSE {
            *self = Flood { since: began, until: self.until, ..Flood::NONE };
        }
        self.messages += 1;
        self.spent += now.saturating_sub(began);
        if self.messages >= MESSAGES || self.spent >= TIME {
            self.pause(now);
        }
    }

    /// Whatever is said is left in the queue for a moment.
    pub fn pause(&mut self, now: Duration) {
        *self = Flood { until: Some(now + PAUSE), ..Flood::NONE };
    }

    /// Until when the socket is not read, if it is not.
    pub fn until(&self) -> Option<Duration> {
        self.until
    }

    /// Whether the socket may be read now.
    pub fn is_over(&mut self, now: Duration) -> bool {
        self.until = self.until.filter(|until| *until > now);
        self.until.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOMENT: Duration = Duration::from_micros(10);

    /// How many messages are read within a time, if there is always one that takes so long.
    fn read_within(within: Duration, takes: Duration) -> (u32, Duration) {
        let (mut flood, mut now, mut messages, mut busy) = (Flood::NONE, PAUSE, 0, Duration::ZERO);
        let end = now + within;
        while now < end {
            match flood.until() {
                Some(until) if !flood.is_over(now) => now = until,
                Some(_) | None => {
                    flood.count_stranger(now, now + takes);
                    (now, messages, busy) = (now + takes, messages + 1, busy + takes);
                }
            }
        }
        (messages, busy)
    }

    #[test]
    fn few_words_of_strangers_are_read_at_once() {
        let mut flood = Flood::NONE;
        for count in 1..1000 {
            let now = PAUSE * count / (MESSAGES - 1) + PAUSE;
            flood.count_stranger(now, now + MOMENT);
            assert_eq!(flood.until(), None, "{count}");
        }
    }

    #[test]
    fn many_are_read_after_a_pause() {
        let mut flood = Flood::NONE;
        (1..MESSAGES).for_each(|_| flood.count_stranger(PAUSE, PAUSE + MOMENT));
        assert_eq!(flood.until(), None);
        flood.count_stranger(PAUSE, PAUSE + MOMENT);
        assert_eq!(flood.until(), Some(PAUSE * 2 + MOMENT));
        assert!(!flood.is_over(PAUSE * 2) && flood.is_over(PAUSE * 2 + MOMENT));
        assert_eq!(flood.until(), None, "they have their words again");
        let (messages, _) = read_within(Duration::from_secs(1), MOMENT);
        assert!((700..=816).contains(&messages), "{messages}");
    }

    #[test]
    fn few_that_cost_much_are_enough() {
        let mut flood = Flood::NONE;
        flood.count_stranger(PAUSE, PAUSE + TIME);
        assert_eq!(flood.until(), Some(PAUSE * 2 + TIME));
    }

    proptest! {
        /// Of a processor they get a twentieth, but for the message that is the last one before a pause.
        #[test]
        fn strangers_cost_little(takes in 1u64..1000) {
            let takes = Duration::from_micros(takes);
            let (_, busy) = read_within(Duration::from_secs(10), takes);
            prop_assert!(busy <= Duration::from_secs(10) * 2 / 20, "{busy:?}");
        }
    }
}
