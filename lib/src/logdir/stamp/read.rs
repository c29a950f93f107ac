//! Finds and parses the stamps in front of lines. No I/O.
//!
//! Dates are read by the caller's function: svlog reads them with the crate jiff, which knows every form of ISO 8601
//! that people and programs write, and which no other program needs.

use super::LONGEST;
use crate::tai64::{self, DIGITS, Tai64, Tai64N};

/// A number with fewer digits than this is not taken for seconds since 1970.
const FEWEST_SECONDS: usize = 9;

/// The stamp at the beginning of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When multilog read the line.
    pub time: Tai64N,
    /// The length of the stamp in bytes, its blank included.
    pub length: usize,
}

/// Parses the stamp at the beginning of a line: `@` and a label, seconds with microseconds, or a date and time, which
/// `date` parses.
pub fn of(line: &[u8], date: fn(&str) -> Option<Tai64N>) -> Option<Stamp> {
    match line.first()? {
        b'@' => label(line),
        b'0'..=b'9' if line.get(4) == Some(&b'-') => word(line, date),
        b'0'..=b'9' => word(line, seconds),
        _ => None,
    }
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

/// Whether a clock can have shown this label. Labels from 2^63 on, and seconds with a thousand million nanoseconds or
/// more, do not come from a clock.
fn is_a_time(label: &Tai64N) -> bool {
    label.0.0 < 1 << 63 && label.1 <= 999_999_999
}

fn word(line: &[u8], read: fn(&str) -> Option<Tai64N>) -> Option<Stamp> {
    let start = line.get(..LONGEST).unwrap_or(line);
    let end = start.iter().position(|byte| matches!(byte, b' ' | b'\n')).unwrap_or(start.len());
    let time = read(std::str::from_utf8(start.get(..end)?).ok()?)?;
    Some(Stamp { time, length: end + usize::from(line.get(end) == Some(&b' ')) })
}

fn seconds(word: &str) -> Option<Tai64N> {
    let (seconds, micros) = word.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.len() < FEWEST_SECONDS || micros.len() != 6 || !digits(seconds) || !digits(micros) {
        return None;
    }
    // The crate's addition would overflow beyond this.
    let second = seconds.parse().ok().filter(|second: &i64| *second < (1 << 62) - 10)?;
    Some(Tai64N(Tai64::from_unix(second), micros.parse::<u32>().ok()? * 1000)).filter(is_a_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_seconds_are_read_and_a_date_is_the_callers() {
        let read = |line: &str| of(line.as_bytes(), |word| (word == "2026-11-21").then_some(Tai64N(Tai64(7), 8)));
        let stamp = |second, nanos, length| Some(Stamp { time: Tai64N(Tai64::from_unix(second), nanos), length });
        assert_eq!(read("@400000000000000b000001f4 x"), stamp(1, 500, 26));
        assert_eq!(read("1795243987.123456 x"), stamp(1_795_243_987, 123_456_000, 18));
        assert_eq!(read("2026-11-21 x"), Some(Stamp { time: Tai64N(Tai64(7), 8), length: 11 }));
        assert_eq!(read("2026-11-22 x"), None);
    }
}
