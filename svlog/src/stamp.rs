//! Reads the stamps in front of lines. Dates are parsed by the crate jiff. No I/O.

pub use daemontools::logdir::stamp::LONGEST;
use daemontools::logdir::stamp::read;
pub use daemontools::logdir::stamp::read::Stamp;
use daemontools::tai64::{self, Tai64N};
use jiff::Timestamp;

/// Reads `@` and a label, seconds with microseconds, or ISO 8601 with an offset or `Z`.
pub fn of(line: &[u8]) -> Option<Stamp> {
    read::of(line, |word| word.parse().ok().map(from_timestamp))
}

/// The label of a time in UTC.
pub fn from_timestamp(time: Timestamp) -> Tai64N {
    tai64::at(time.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::logdir::stamp::write::Stamper;
    use daemontools::logdir::stamp::{StampKind, Zone};
    use daemontools::tai64::Tai64;

    fn at(seconds: i64, nanos: u32) -> Tai64N {
        Tai64N(Tai64::from_unix(seconds), nanos)
    }

    #[test]
    fn every_stamp_of_multilog_is_read() {
        let table: [(&str, i64, u32, &str); 8] = [
            ("@400000000000000b000001f4 x", 1, 500, "x"),
            ("@400000000000000b000001f4 ", 1, 500, ""),
            ("@400000000000000b000001f4", 1, 500, ""),
            ("@400000000000000b000001f4: x", 1, 500, ": x"),
            ("1795243987.123456 x", 1_795_243_987, 123_456_000, "x"),
            ("2026-11-21T06:53:07.123456Z x", 1_795_243_987, 123_456_000, "x"),
            ("2026-11-21T07:53:07.123456+01:00 x", 1_795_243_987, 123_456_000, "x"),
            ("2026-11-21T06:53:07.123456+00:00 x y", 1_795_243_987, 123_456_000, "x y"),
        ];
        for (line, seconds, nanos, rest) in table {
            let stamp = of(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
            assert_eq!((stamp.time, &line[stamp.length..]), (at(seconds, nanos), rest), "{line}");
        }
    }

    #[test]
    fn what_multilog_writes_is_read_as_the_time_that_it_was_written_at() {
        let zones = [Zone::Utc, Zone::Local];
        for kind in [StampKind::Tai64n, StampKind::Unix].into_iter().chain(zones.map(StampKind::Iso)) {
            let (mut stamper, mut line) = (Stamper::new(kind), Vec::new());
            stamper.batch(at(1_795_243_987, 123_456_000));
            stamper.put(&mut line);
            let expected = Stamp { time: at(1_795_243_987, 123_456_000), length: line.len() };
            assert_eq!(of(&[&line, &b"text"[..]].concat()), Some(expected), "{kind:?}");
        }
    }

    #[test]
    fn what_only_looks_like_a_stamp_is_text() {
        for line in [
            "",
            "x",
            "@",
            "@400000000000000b000001f",
            "@400000000000000b000001f40 x",
            "@40000000000000zb000001f4 x",
            "@400000000000000bffffffff x",
            "@ffffffffffffffff00000000 x",
            "3.141592 is a number",
            "1795243987.1234567 x",
            "1795243987 x",
            "179524398a.123456 x",
            "9223372036854775807.123456 x",
            "99999999999999999999.123456 x",
            "2026-11-21 06:53:07 x",
            "2026-11-21T06:53:07 x",
            "2026-13-21T06:53:07Z x",
            "2026-\u{1f600}",
        ] {
            assert_eq!(of(line.as_bytes()), None, "{line}");
        }
        assert_eq!(of(b"2026-\xff\xff"), None);
    }
}
