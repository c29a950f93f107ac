//! Converts local times as people write them into seconds, by a function that gives the local time of a second. No I/O.
//!
//! The function asks the C library, as all programs of ours do, so that a `TZ` means the same to each of them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The date and time that clocks show at a second since 1970; `None` beyond the calendar.
pub type Local = fn(i64) -> Option<DateTime>;

const DAY: i64 = 24 * 3600;

/// The second since 1970 at which clocks show this date and time: the first, if there are two. If clocks were put
/// forward over this time, the result is the second at which they would show it without that change.
pub fn second_of(shown: DateTime, local: Local) -> Option<i64> {
    let as_utc = as_if_utc(shown)?;
    // Leap seconds count as well, where the time zone has them.
    let ahead = |second: i64| Some(as_if_utc(local(second)?)? - second);
    let (before, after) = (ahead(as_utc - DAY)?, ahead(as_utc + DAY)?);
    let is_shown = |second: &i64| local(*second).and_then(as_if_utc) == Some(as_utc);
    [as_utc - before, as_utc - after].into_iter().find(is_shown).or(Some(as_utc - before))
}

/// The second since 1970 at which a clock in UTC shows this date and time.
fn as_if_utc(shown: DateTime) -> Option<i64> {
    shown.to_zoned(TimeZone::UTC).ok().map(|moment| moment.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;

    /// 2026-07-01 00:00:00 UTC and 2026-10-01 00:00:00 UTC: summer, in which clocks are an hour more ahead.
    const SUMMER: std::ops::Range<i64> = 1_782_864_000..1_790_812_800;

    fn shown_at(second: i64) -> Option<DateTime> {
        Timestamp::from_second(second).ok().map(|moment| TimeZone::UTC.to_datetime(moment))
    }

    /// One hour ahead of UTC, two in summer.
    fn with_summer(second: i64) -> Option<DateTime> {
        shown_at(second + if SUMMER.contains(&second) { 7200 } else { 3600 })
    }

    /// As zones below `right/` have it: 27 leap seconds, and UTC otherwise.
    fn with_leap_seconds(second: i64) -> Option<DateTime> {
        shown_at(second - 27)
    }

    #[test]
    fn a_local_time_is_the_second_at_which_clocks_show_it() {
        let table: [(Local, &str, &str); 6] = [
            (with_summer, "2026-01-01T12:00:00", "2026-01-01T11:00:00Z"),
            (with_summer, "2026-08-01T12:00:00", "2026-08-01T10:00:00Z"),
            // Clocks go from 01:00 to 02:00.
            (with_summer, "2026-07-01T01:30:00", "2026-07-01T00:30:00Z"),
            // Clocks go from 02:00 back to 01:00, so that it is 01:30 twice.
            (with_summer, "2026-10-01T01:30:00", "2026-09-30T23:30:00Z"),
            (with_summer, "2026-10-01T02:00:00", "2026-10-01T01:00:00Z"),
            (with_leap_seconds, "2026-08-01T12:00:00", "2026-08-01T12:00:27Z"),
        ];
        for (local, shown, expected) in table {
            let expected: Timestamp = expected.parse().unwrap();
            assert_eq!(second_of(shown.parse().unwrap(), local), Some(expected.as_second()), "{shown}");
        }
    }

    #[test]
    fn what_is_beyond_all_calendars_is_no_second() {
        assert_eq!(second_of(DateTime::MAX, with_summer), None);
        assert_eq!(second_of(DateTime::MIN, with_summer), None);
    }

    proptest! {
        #[test]
        fn a_second_is_found_again_or_another_that_looks_the_same(second in 1_782_500_000..1_791_000_000_i64) {
            let found = second_of(with_summer(second).unwrap(), with_summer).unwrap();
            prop_assert!(found <= second && with_summer(found) == with_summer(second));
        }
    }
}
