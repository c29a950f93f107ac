//! Moments as people write them, for `--since` and `--until`. No I/O.

use crate::stamp;
use crate::zone::{Local, second_of};
use daemontools::tai64::Tai64N;
use jiff::{Span, Timestamp, civil};

/// The present moment, and the local time of every second.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The moment from which durations are counted back.
    pub now: Timestamp,
    /// The local time of a second.
    pub local: Local,
}

/// The moment that `text` means:
///
/// - a stamp as multilog writes it: a TAI64N label, seconds with microseconds, ISO 8601;
/// - a date with or without a time, by local time unless it has an offset;
/// - a time of today; `now`, `today`, `yesterday` (both at midnight);
/// - a duration, counted back from now: `1h`, `-1h`, `2 days 3h ago`.
pub fn moment(text: &str, clock: &Clock) -> Option<Tai64N> {
    let stamp = stamp::of(text.as_bytes()).filter(|stamp| stamp.length == text.len());
    if let Some(stamp) = stamp {
        return Some(stamp.time);
    }
    timestamp(text, clock).map(stamp::from_timestamp)
}

/// What is said of a moment that `text` means and that is still to come; `None` if it has come. A time alone is one of today,
/// though shortly after midnight people may mean the one of yesterday.
pub fn still_to_come(text: &str, clock: &Clock) -> Option<String> {
    moment(text, clock).filter(|moment| *moment > stamp::from_timestamp(clock.now))?;
    let is_time_alone = text.contains(':') && !text.contains('-') && text.parse::<civil::Time>().is_ok();
    let yesterday = || clock.shown()?.date().yesterday().ok();
    let cure = yesterday().filter(|_| is_time_alone).map(|date| format!(": yesterday's is \"{date} {text}\""));
    Some(format!("{text} has not come yet{}", cure.unwrap_or_default()))
}

fn timestamp(text: &str, clock: &Clock) -> Option<Timestamp> {
    match text {
        "now" => return Some(clock.now),
        "today" => return clock.at(clock.shown()?.date().into()),
        "yesterday" => return clock.at(clock.shown()?.date().yesterday().ok()?.into()),
        _ => {}
    }
    if let Ok(timestamp) = text.parse() {
        return Some(timestamp);
    }
    // With an offset, the text would have been a timestamp. The offset must not be dropped silently.
    let has_offset = text.get(10..).is_some_and(|time| time.contains(['+', '-', 'Z', 'z', '[']));
    if let Some(moment) = text.parse::<civil::DateTime>().ok().filter(|_| !has_offset) {
        return clock.at(moment);
    }
    if let Some(time) = text.parse::<civil::Time>().ok().filter(|_| text.contains(':')) {
        return clock.at(clock.shown()?.date().to_datetime(time));
    }
    let span: Span = text.parse().ok().filter(|_| !text.starts_with('+'))?;
    clock.before(span.abs())
}

impl Clock {
    /// The date and time that clocks show now.
    fn shown(&self) -> Option<civil::DateTime> {
        (self.local)(self.now.as_second())
    }

    fn at(&self, shown: civil::DateTime) -> Option<Timestamp> {
        Timestamp::new(second_of(shown, self.local)?, shown.subsec_nanosecond()).ok()
    }

    /// The moment that lies a duration before now. A day ago, clocks showed the same time, whether that is 24 hours or
    /// not.
    fn before(&self, span: Span) -> Option<Timestamp> {
        let days = span.hours(0).minutes(0).seconds(0).milliseconds(0).microseconds(0).nanoseconds(0);
        let time = span.years(0).months(0).weeks(0).days(0);
        let begin = match days.is_zero() {
            true => self.now,
            false => {
                let nanos = self.now.subsec_nanosecond();
                let shown = self.shown()?.with().subsec_nanosecond(nanos).build().ok()?;
                self.at(shown.checked_sub(days).ok()?)?
            }
        };
        begin.checked_sub(time).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::{Offset, offset};

    /// 2026-11-21 08:30:00 in a zone two hours ahead of UTC.
    fn clock() -> Clock {
        Clock { now: "2026-11-21T06:30:00Z".parse().unwrap(), local: |second| shown(second, offset(2)) }
    }

    fn shown(second: i64, offset: Offset) -> Option<civil::DateTime> {
        Timestamp::from_second(second).ok().map(|moment| offset.to_datetime(moment))
    }

    #[test]
    fn moments_are_written_in_many_ways() {
        let table = [
            ("now", "2026-11-21T06:30:00Z"),
            ("today", "2026-11-20T22:00:00Z"),
            ("yesterday", "2026-11-19T22:00:00Z"),
            ("2026-11-21 06:53", "2026-11-21T04:53:00Z"),
            ("2026-11-21T06:53:07.5", "2026-11-21T04:53:07.5Z"),
            ("2026-11-21", "2026-11-20T22:00:00Z"),
            ("2026-11-21T06:53:07Z", "2026-11-21T06:53:07Z"),
            ("2026-11-21 06:53:07+01:00", "2026-11-21T05:53:07Z"),
            ("2026-11-21T06:53:07.123456-01:00", "2026-11-21T07:53:07.123456Z"),
            ("06:53", "2026-11-21T04:53:00Z"),
            ("06:53:07", "2026-11-21T04:53:07Z"),
            ("1h", "2026-11-21T05:30:00Z"),
            ("-1h", "2026-11-21T05:30:00Z"),
            ("1h ago", "2026-11-21T05:30:00Z"),
            ("90 minutes ago", "2026-11-21T05:00:00Z"),
            ("1 day 2h", "2026-11-20T04:30:00Z"),
            ("1h30m", "2026-11-21T05:00:00Z"),
            ("@400000000000000b000001f4", "1970-01-01T00:00:01.0000005Z"),
            ("1795243987.123456", "2026-11-21T06:53:07.123456Z"),
        ];
        for (text, expected) in table {
            let expected = stamp::from_timestamp(expected.parse().unwrap());
            assert_eq!(moment(text, &clock()), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_time_that_has_not_come_yet_is_told_and_yesterdays_is_understood() {
        for (text, expected) in [
            ("06:53", None),
            ("now", None),
            ("1h", None),
            ("23:00", Some("23:00 has not come yet: yesterday's is \"2026-11-20 23:00\"")),
            ("08:30:01", Some("08:30:01 has not come yet: yesterday's is \"2026-11-20 08:30:01\"")),
            ("2026-11-22", Some("2026-11-22 has not come yet")),
            ("2026-11-21 23:00", Some("2026-11-21 23:00 has not come yet")),
            ("soon", None),
        ] {
            assert_eq!(still_to_come(text, &clock()).as_deref(), expected, "{text}");
        }
        let last_night = moment("2026-11-20 23:00", &clock());
        assert_eq!(last_night, Some(stamp::from_timestamp("2026-11-20T21:00:00Z".parse().unwrap())));
    }

    /// Clocks were put back by an hour at two o'clock.
    #[test]
    fn a_day_ago_clocks_showed_the_same_time() {
        let local = |second| shown(second, offset(if second < 1_795_219_200 { 2 } else { 1 }));
        let clock = Clock { now: "2026-11-21T06:30:00Z".parse().unwrap(), local };
        for (text, expected) in [
            ("1 day ago", "2026-11-20T05:30:00Z"),
            ("24h ago", "2026-11-20T06:30:00Z"),
            ("1 day 1h", "2026-11-20T04:30:00Z"),
            ("1 week", "2026-11-14T05:30:00Z"),
            ("today", "2026-11-20T22:00:00Z"),
        ] {
            assert_eq!(moment(text, &clock), Some(stamp::from_timestamp(expected.parse().unwrap())), "{text}");
        }
    }

    #[test]
    fn what_means_no_moment_is_refused() {
        for text in [
            "",
            "soon",
            "5",
            "+1h",
            "1",
            "@40",
            "25:00",
            "2026-13-01",
            "2026-11-21 06:53+99:00",
            "99999999999y",
            "1h x",
        ] {
            assert_eq!(moment(text, &clock()), None, "{text}");
        }
    }
}
