//! Moments as people write them, for `--since` and `--until`. No I/O.

use crate::stamp;
use daemontools::tai64::Tai64N;
use jiff::{Span, Timestamp, Zoned, civil};

/// The moment that `text` means:
///
/// - a stamp as multilog writes it: a TAI64N label, seconds with microseconds, ISO 8601;
/// - a date with or without a time, by the time zone of `now` unless it has an offset;
/// - a time of today; `now`, `today`, `yesterday` (both at midnight);
/// - a duration, counted back from now: `1h`, `-1h`, `2 days 3h ago`.
pub fn moment(text: &str, now: &Zoned) -> Option<Tai64N> {
    let stamp = stamp::of(text.as_bytes()).filter(|stamp| stamp.length == text.len());
    if let Some(stamp) = stamp {
        return Some(stamp.time);
    }
    timestamp(text, now).map(stamp::from_timestamp)
}

fn timestamp(text: &str, now: &Zoned) -> Option<Timestamp> {
    let local = |moment: civil::DateTime| moment.to_zoned(now.time_zone().clone()).ok().map(Timestamp::from);
    match text {
        "now" => return Some(now.timestamp()),
        "today" => return local(now.date().into()),
        "yesterday" => return local(now.date().yesterday().ok()?.into()),
        _ => {}
    }
    if let Ok(timestamp) = text.parse() {
        return Some(timestamp);
    }
    // With an offset it would have been a timestamp: it is not to be dropped silently.
    let has_offset = text.get(10..).is_some_and(|time| time.contains(['+', '-', 'Z', 'z', '[']));
    if let Some(moment) = text.parse::<civil::DateTime>().ok().filter(|_| !has_offset) {
        return local(moment);
    }
    if let Some(time) = text.parse::<civil::Time>().ok().filter(|_| text.contains(':')) {
        return local(now.date().to_datetime(time));
    }
    let span: Span = text.parse().ok().filter(|_| !text.starts_with('+'))?;
    now.checked_sub(span.abs()).ok().map(Timestamp::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::{TimeZone, offset};

    /// 2026-11-21 08:30:00 in a zone two hours ahead of UTC.
    fn now() -> Zoned {
        civil::date(2026, 11, 21).at(8, 30, 0, 0).to_zoned(TimeZone::fixed(offset(2))).unwrap()
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
            assert_eq!(moment(text, &now()), Some(expected), "{text}");
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
            assert_eq!(moment(text, &now()), None, "{text}");
        }
    }
}
