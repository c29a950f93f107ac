//! Gives back to a process with a deadline the time in which the machine was suspended. No clock, no I/O.
//!
//! A container can be paused, and a machine suspended. No process runs then, but the clocks of most systems go on. A
//! service that has a time in which to be ready, to say that it is alive, or to end, must not be killed for time that
//! it did not have. The kernel does not tell supervise of such a pause, but supervise was paused too: it wakes later
//! than it asked to. supervise cannot know at which moment of its sleep the pause began, so it gives back all of that
//! sleep. Where a service's time runs, supervise sleeps only for a part of it, so that what is given back is never much
//! more than the pause.
//!
//! On a machine that is overloaded or throttled supervise also wakes late, again and again, while the service does run.
//! A service that must be killed is to be killed there too. So the rule is: a process that has a time in which to do
//! something gets at most that time back, however often supervise wakes late. One pause that is longer than that time
//! is given back as a whole, and uses up all that could still be given back. A process is therefore killed, at the
//! latest, after twice its time and one such pause. A time that begins anew, as with each sign of life, can be given
//! back as a whole again.

use daemontools::tai64::Moment;
use std::time::Duration;

/// If supervise wakes later than it asked to by more than this, supervise was paused. A busy machine delays it by less.
const WAKEUP_DELAY: Duration = Duration::from_millis(250);

/// How long supervise may sleep at most if something is due after the time `left`.
pub fn longest_sleep(left: Duration) -> Duration {
    // Each sleep is a part of the time that is left, but not shorter than a delay that would be noticed.
    if left > 2 * WAKEUP_DELAY { (left / 4).max(WAKEUP_DELAY) } else { left }
}

/// Returns the time to give back if supervise wanted to sleep for the time `wanted` and slept for the time `slept`.
pub fn time_lost(wanted: Duration, slept: Duration) -> Option<Duration> {
    (slept > wanted + WAKEUP_DELAY).then_some(slept)
}

/// When a process must have done something, and how much time may still be given back to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When the process must have done it.
    pub at: Moment,
    /// How much time the process was given at first.
    within: Duration,
    /// How much time may still be given back.
    reserve: Duration,
}

impl Deadline {
    /// Makes a deadline for a process that has the time `within` from `now` on.
    pub fn new(now: Moment, within: Duration) -> Deadline {
        Deadline::resume(now.after(within), within)
    }

    /// Takes over a deadline of an earlier supervise, which gave the process the time `within` at first.
    pub fn resume(at: Moment, within: Duration) -> Deadline {
        Deadline { at, within, reserve: within }
    }

    /// Whether the process has no time left.
    pub fn has_passed(&self, now: Moment) -> bool {
        self.at.uptime <= now.uptime
    }

    /// Gives the process the time back that supervise slept, as far as any may still be given back.
    pub fn give_back(&mut self, slept: Duration) {
        let claimed = slept.min(self.within);
        let missing = claimed.saturating_sub(self.reserve);
        self.reserve = self.reserve.saturating_sub(claimed);
        self.at = self.at.after(slept - missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seconds(seconds: u64) -> Moment {
        Moment::ZERO.after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_sleep_that_ends_late_is_lost_as_a_whole() {
        assert_eq!(time_lost(SECOND, SECOND / 2), None);
        assert_eq!(time_lost(SECOND, SECOND + WAKEUP_DELAY), None);
        assert_eq!(time_lost(SECOND, 3 * SECOND), Some(3 * SECOND));
    }

    #[test]
    fn the_sleeps_are_parts_of_the_time_that_is_left_and_come_to_its_end() {
        let (mut left, mut sleeps) = (30 * SECOND, 0);
        while !left.is_zero() {
            let sleep = longest_sleep(left);
            assert!(sleep <= left && sleep <= (left / 4).max(2 * WAKEUP_DELAY), "{sleep:?} of {left:?}");
            left -= sleep;
            sleeps += 1;
        }
        assert!(sleeps < 25, "{sleeps}");
    }

    #[test]
    fn what_is_given_back_is_bounded_by_the_time_that_there_was() {
        // The process has ten seconds from the moment 0. Sleeps that ended late, and when its time is over after them.
        let table: [(&[u64], u64); 9] = [
            (&[], 10),
            (&[4], 14),
            (&[4, 6], 20),
            // Ten seconds are given back, and no more.
            (&[4, 6, 1], 20),
            (&[4, 4, 4, 4], 20),
            // A long pause is given back as a whole, once.
            (&[3600], 3610),
            (&[3600, 4], 3610),
            (&[3600, 3600], 7200),
            // Two seconds of the long pause are missing.
            (&[2, 3600], 3610),
        ];
        for (sleeps, over) in table {
            let mut deadline = Deadline::new(Moment::ZERO, 10 * SECOND);
            sleeps.iter().for_each(|slept| deadline.give_back(Duration::from_secs(*slept)));
            assert_eq!(deadline.at, seconds(over), "{sleeps:?}");
            assert!(deadline.has_passed(seconds(over)) && !deadline.has_passed(seconds(over - 1)));
        }
    }

    #[test]
    fn a_pause_leaves_the_process_what_it_had_left() {
        // Nine of ten seconds are left when an hour passes.
        let mut deadline = Deadline::new(Moment::ZERO, 10 * SECOND);
        deadline.give_back(3600 * SECOND);
        assert_eq!(deadline.at, seconds(1).after(3600 * SECOND).after(9 * SECOND));
    }

    proptest! {
        /// However late and often supervise wakes, the process is killed, at the latest, after twice its time, the
        /// longest sleep, and the sleep that was under way.
        #[test]
        fn a_deadline_is_reached(within in 1u64..60_000, lateness in proptest::collection::vec(0u64..20_000, 1..20)) {
            let within = Duration::from_millis(within);
            let mut deadline = Deadline::new(Moment::ZERO, within);
            let (mut now, mut longest) = (Moment::ZERO, Duration::ZERO);
            for late in lateness.iter().cycle() {
                let wanted = longest_sleep(deadline.at.uptime.saturating_sub(now.uptime));
                let slept = wanted + Duration::from_millis(*late);
                now = now.after(slept);
                longest = longest.max(slept);
                if let Some(lost) = time_lost(wanted, slept) {
                    deadline.give_back(lost);
                }
                if deadline.has_passed(now) {
                    break;
                }
                prop_assert!(now.uptime <= 2 * within + longest);
            }
            prop_assert!(now.uptime <= 2 * within + 2 * longest);
        }
    }
}
