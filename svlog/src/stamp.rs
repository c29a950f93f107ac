//! The stamps that multilog puts in front of lines, read back. No I/O.

use daemontools::tai64::{self, DIGITS, Tai64, Tai64N};
use jiff::Timestamp;

/// No stamp, its blank included, is longer.
pub const LONGEST: usize = 40;
/// Seconds since 1970 with fewer digits than this are some number, not a time.
const FEWEST_SECONDS: usize = 9;

/// The time that a line begins with, and how many bytes tell it, the blank after it among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When multilog read the line.
    pub time: Tai64N,
    /// Of the stamp and its blank.
    pub length: usize,
}

/// Reads `@` and a label, seconds with microseconds, or ISO 8601 with an offset or `Z`.
pub fn of(line: &[u8]) -> Option<Stamp> {
    match line.first()? {
        b'@' => label(line),
        b'0'..=b'9' if line.get(4) == Some(&b'-') => word(line, iso),
        b'0'..=b'9' => word(line, seconds),
        _ => None,
    }
}

/// What the crate calls TAI, from the time that everybody else has.
pub fn from_timestamp(time: Timestamp) -> Tai64N {
    tai64::at(time.into())
}

fn label(line: &[u8]) -> Option<Stamp> {
    let time = tai64::parse(line.get(..=DIGITS)?).filter(is_a_time)?;
    let rest = line.get(DIGITS + 1..)?;
    match rest.first() {
        Some(digit) if digit.is_ascii_hexdigit() => None,
        Some(b' ') => Some(Stamp { time, length: DIGITS + 2 }),
        _ => Some(Stamp { time, length: DIGITS + 1 }),
    }
}

/// Labels from 2^63 on and a second of two thousand million nanoseconds are nothing a clock has said.
fn is_a_time(label: &Tai64N) -> bool {
    label.0.0 < 1 << 63 && label.1 <= 999_999_999
}

fn word(line: &[u8], read: fn(&str) -> Option<Tai64N>) -> Option<Stamp> {
    let start = line.get(..LONGEST).unwrap_or(line);
    let end = memchr::memchr2(b' ', b'\n', start).unwrap_or(start.len());
    let time = read(std::str::from_utf8(start.get(..end)?).ok()?)?;
    Some(Stamp { time, length: end + usize::from(line.get(end) == Some(&b' ')) })
}

fn seconds(word: &str) -> Option<Tai64N> {
    let (seconds, micros) = word.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.len() < FEWEST_SECONDS || micros.len() != 6 || !digits(seconds) || !digits(micros) {
        return None;
    }
    // Beyond, labels would be: there the crate's addition would overflow.
    let second = seconds.parse().ok().filter(|second: &i64| *second < (1 << 62) - 10)?;
    Some(Tai64N(Tai64::from_unix(second), micros.parse::<u32>().ok()? * 1000)).filter(is_a_time)
}

fn iso(word: &str) -> Option<Tai64N> {
    word.parse().ok().map(from_timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

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
