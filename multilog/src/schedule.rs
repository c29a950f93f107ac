//! Rotation by time: the moments of a day at which files are finished, and which of them comes next. No I/O and no
//! clock: the caller's function says what the clocks on the wall show.
//!
//! A day is cut into equal periods from midnight on; the last of them is shorter where they do not fit. A
//! boundary is a time on the wall: where clocks are put forward over it, it is the moment at
//! which it would have come, and where they are put back over it, an hour's or shorter period has it twice.

use daemontools::duration;
use daemontools::logdir::stamp::Zone;
use std::time::Duration;

const DAY: i64 = 86_400;
const HOUR: i64 = 3600;

/// When a file is finished though it is not full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Seconds, from 1 to a day.
    period: i64,
    /// The time zone in whose midnight the periods of a day begin.
    pub zone: Zone,
}

impl Schedule {
    /// `hour`, `day`, or a duration of at most a day in whole seconds (`15m`); then `,utc` for UTC.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Schedule, &'static str> {
        let (when, zone) = match text.split_once(',') {
            None => (text, Zone::Local),
            Some((when, "utc")) => (when, Zone::Utc),
            Some(_) => return Err("after the comma comes utc, or nothing"),
        };
        let period = match when {
            "hour" => Duration::from_secs(HOUR as u64),
            "day" => Duration::from_secs(DAY as u64),
            other => duration::with_units(other).map_err(|_| "neither hour, nor day, nor a duration")?,
        };
        match i64::try_from(period.as_secs()) {
            Ok(seconds @ 1..=DAY) if period.subsec_nanos() == 0 => Ok(Schedule { period: seconds, zone }),
            _ => Err("not whole seconds from one to a day"),
        }
    }

    /// The first boundary after `second`, both in seconds since 1970. `offset` says how far the clocks on the wall
    /// are ahead of UTC at a moment.
    pub fn next(&self, second: i64, offset: impl Fn(i64) -> i64) -> i64 {
        let ahead = offset(second);
        let wall = second + ahead;
        let midnight = wall - wall.rem_euclid(DAY);
        let period = (wall - midnight) / self.period;
        let boundary = midnight + ((period + 1) * self.period).min(DAY);
        let plain = boundary - ahead;
        // Clocks that are changed before then show it at another moment, or never, or show another boundary.
        let changed = boundary - offset(plain);
        let shows_one = |moment: &i64| {
            let wall = *moment + offset(*moment);
            *moment > second && wall.rem_euclid(DAY) % self.period == 0
        };
        [plain.min(changed), plain.max(changed)].into_iter().find(shows_one).unwrap_or(plain)
    }
}

/// When a file is to be finished by time: for its first line, and from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// No line in the file is older.
    begun: i64,
    /// No line in it is to be younger.
    pub end: i64,
}

impl Period {
    /// The moment from which on its lines were read.
    pub fn begun(&self) -> i64 {
        self.begun
    }

    /// The period of a file whose first line was read at a moment.
    pub fn begin(schedule: &Schedule, begun: i64, offset: impl Fn(i64) -> i64) -> Period {
        Period { begun, end: schedule.next(begun, offset) }
    }

    /// Whether the period is over. A clock that was put back to before its beginning says nothing of it.
    pub fn is_over(&self, now: i64) -> bool {
        now >= self.end
    }

    /// The moment of the period that is nearest to `moment`.
    pub fn nearest(&self, moment: i64) -> i64 {
        moment.min(self.end - 1).max(self.begun)
    }

    /// Whether the clock was put back to before the period began, so that its end may be far away.
    pub fn is_ahead(&self, now: i64) -> bool {
        now < self.begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// This time of a day, in UTC.
    fn at(hours: i64, minutes: i64) -> i64 {
        20_000 * DAY + hours * HOUR + minutes * 60
    }

    fn next(when: &str, second: i64, offset: impl Fn(i64) -> i64) -> i64 {
        Schedule::parse(when).unwrap().next(second, offset)
    }

    #[test]
    fn boundaries_are_whole_periods_from_midnight() {
        let table = [
            ("hour", at(3, 0), at(4, 0)),
            ("hour", at(3, 59), at(4, 0)),
            ("day", at(0, 0), at(24, 0)),
            ("15m", at(3, 14), at(3, 15)),
            ("15m", at(23, 46), at(24, 0)),
            ("7h", at(20, 0), at(21, 0)),
            // Three hours are left of the day.
            ("7h", at(21, 0), at(24, 0)),
            ("1s", at(3, 0), at(3, 0) + 1),
            ("24h", at(3, 0), at(24, 0)),
        ];
        for (when, now, expected) in table {
            assert_eq!(next(when, now, |_| 0), expected, "{when}");
        }
    }

    #[test]
    fn midnight_is_the_zones() {
        // India: five and a half hours ahead.
        assert_eq!(next("day", at(3, 0), |_| 5 * HOUR + 1800), at(18, 30));
        assert_eq!(next("hour", at(3, 0), |_| 5 * HOUR + 1800), at(3, 30));
        assert_eq!(next("day", at(3, 0), |_| -5 * HOUR), at(5, 0));
    }

    #[test]
    fn where_clocks_are_put_forward_a_skipped_boundary_comes_when_it_would_have() {
        // At 2:00, 1:00 UTC, they are put to 3:00.
        let offset = |second| if second < at(1, 0) { HOUR } else { 2 * HOUR };
        let table = [
            ("hour", at(0, 30), at(1, 0)),
            ("hour", at(1, 0), at(2, 0)),
            ("2h", at(0, 30), at(1, 0)),
            ("6h", at(0, 30), at(4, 0)),
            ("day", at(0, 30), at(22, 0)),
        ];
        for (when, now, expected) in table {
            assert_eq!(next(when, now, offset), expected, "{when}");
        }
        // At midnight to 1:00.
        assert_eq!(next("day", at(-5, 0), |second| if second < at(0, 0) { 0 } else { HOUR }), at(0, 0));
    }

    #[test]
    fn where_clocks_are_put_back_an_hour_comes_twice_and_a_day_is_longer() {
        // At 3:00, 1:00 UTC, they are put to 2:00.
        let offset = |second| if second < at(1, 0) { 2 * HOUR } else { HOUR };
        let table = [
            ("hour", at(0, 30), at(1, 0)),
            ("hour", at(1, 0), at(2, 0)),
            ("6h", at(0, 30), at(5, 0)),
            ("day", at(0, 30), at(23, 0)),
        ];
        for (when, now, expected) in table {
            assert_eq!(next(when, now, offset), expected, "{when}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_said() {
        for wrong in ["", "0s", "25h", "fortnight", "15", "hour,", "hour,cet", "1500ms", "day,utc,utc"] {
            assert!(Schedule::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Schedule::parse("24h,utc"), Schedule::parse("day,utc"));
    }

    #[test]
    fn a_period_is_over_at_its_end_and_is_ahead_of_a_clock_that_was_put_back() {
        let period = Period::begin(&Schedule::parse("hour").unwrap(), at(3, 30), |_| 0);
        assert!(!period.is_over(at(4, 0) - 1) && period.is_over(at(4, 0)));
        assert!(period.is_ahead(at(3, 29)) && !period.is_ahead(at(3, 30)));
        for (moment, nearest) in [(at(3, 29), at(3, 30)), (at(3, 45), at(3, 45)), (at(4, 0), at(4, 0) - 1)] {
            assert_eq!(period.nearest(moment), nearest);
        }
    }

    proptest! {
        /// Whatever the clocks do, there is a next boundary, it is later, and it is not too far away.
        #[test]
        fn there_is_always_a_next(
            period in 1i64..=DAY, second in -1_000_000_000i64..4_000_000_000, change in -200_000i64..200_000,
            before in -50_000i64..50_000, jump in -HOUR..=HOUR,
        ) {
            let schedule = Schedule { period, zone: Zone::Utc };
            let offset = |moment| if moment < second + change { before } else { before + jump };
            let next = schedule.next(second, offset);
            prop_assert!(second < next && next <= second + period + HOUR);
        }
    }
}
