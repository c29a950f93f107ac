//! Time in which nothing could run. No clock, no I/O.
//!
//! A container can be paused, and a machine suspended: nothing runs then, but the clocks of most systems go on. A service
//! that has so long to be ready, to say that it is alive, or to end, must not be killed for time that it did not have.
//! Nobody tells supervise of such a pause, but supervise was paused too: it wakes later than it asked to. It cannot know when
//! the pause began while it slept, so all of that sleep counts as lost; and it sleeps for a part of the time only, where a
//! service's time runs, so that what is lost is never much more than the pause.

use std::time::Duration;

/// A busy machine wakes us late as well, but not by so much.
const LATE: Duration = Duration::from_millis(250);

/// How long to sleep at most where so long is left until something is due.
pub fn at_most(left: Duration) -> Duration {
    // Each sleep is a part of what is left, and not shorter than what would be noticed.
    if left > 2 * LATE { (left / 4).max(LATE) } else { left }
}

/// How much of the time that supervise slept counts as lost, if it wanted to sleep for so long; `None` if it woke in time.
pub fn time_lost(wanted: Duration, slept: Duration) -> Option<Duration> {
    (slept > wanted + LATE).then_some(slept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_sleep_that_ends_late_is_lost_as_a_whole() {
        assert_eq!(time_lost(SECOND, SECOND / 2), None);
        assert_eq!(time_lost(SECOND, SECOND + LATE), None);
        assert_eq!(time_lost(SECOND, 3 * SECOND), Some(3 * SECOND));
    }

    #[test]
    fn the_sleeps_are_parts_of_the_time_that_is_left_and_come_to_its_end() {
        let (mut left, mut sleeps) = (30 * SECOND, 0);
        while !left.is_zero() {
            let sleep = at_most(left);
            assert!(sleep <= left && sleep <= (left / 4).max(2 * LATE), "{sleep:?} of {left:?}");
            left -= sleep;
            sleeps += 1;
        }
        assert!(sleeps < 25, "{sleeps}");
    }
}
