//! TAI64N labels as daemontools, runit and s6 write them: 2^62 + 10 + seconds since 1970.
//!
//! The crate `tai64` adds 37 in `Tai64::now()` and in `From<SystemTime>`, but 10 in `Tai64::from_unix`. All our labels
//! are made with `from_unix`.

use nix::time::{ClockId, clock_gettime};
use std::fmt::{self, Display};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
pub use tai64::{Tai64, Tai64N};

/// The number of hexadecimal digits in a label.
pub const DIGITS: usize = 24;

/// The label of a moment of the wall clock.
pub fn at(moment: SystemTime) -> Tai64N {
    match moment.duration_since(UNIX_EPOCH) {
        Ok(since) => Tai64N(Tai64::from_unix(i64::try_from(since.as_secs()).unwrap_or(i64::MAX)), since.subsec_nanos()),
        Err(before) => {
            // Rounds down: a quarter of a second before 1970 is second -1 and 750 million nanoseconds.
            let before = before.duration();
            let (borrow, nanos) = match before.subsec_nanos() {
                0 => (0, 0),
                nanos => (1, 1_000_000_000 - nanos),
            };
            let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            Tai64N(Tai64::from_unix(-seconds - borrow), nanos)
        }
    }
}

/// The label of the current moment.
pub fn now() -> Tai64N {
    at(SystemTime::now())
}

/// Seconds from `earlier` to `later`. Only the whole seconds are compared, as the original does. The result is zero if
/// the clock was set back between the two.
pub fn seconds_between(earlier: Tai64N, later: Tai64N) -> u64 {
    later.0.0.saturating_sub(earlier.0.0)
}

/// The time from `earlier` to `later`; zero if the clock went back between them.
pub fn between(earlier: Tai64N, later: Tai64N) -> Duration {
    let since = |label: Tai64N| Duration::new(label.0.0, label.1.min(999_999_999));
    since(later).saturating_sub(since(earlier))
}

/// The second since 1970 of a label; `None` from 2^63 on, where labels have no meaning.
pub fn unix_second(label: Tai64N) -> Option<i64> {
    // Beyond that, the crate's subtraction would overflow.
    i64::try_from(label.0.0).ok().map(|_| label.0.to_unix())
}

/// The time since 1970 of a label; `None` for a time before 1970, and for a label without meaning.
pub fn since_1970(label: Tai64N) -> Option<Duration> {
    let seconds = u64::try_from(unix_second(label)?).ok()?;
    Some(Duration::new(seconds, label.1.min(999_999_999)))
}

/// Parses a label: `@` and 24 hexadecimal digits, nothing else. svlog does this for each line, so it looks up all digits
/// without asking of each whether it is one.
#[inline]
pub fn parse(label: &[u8]) -> Option<Tai64N> {
    let digits: &[u8; DIGITS] = label.strip_prefix(b"@")?.try_into().ok()?;
    let (mut parts, mut all) = ([0; 3], 0);
    for (part, digits) in parts.iter_mut().zip(digits.chunks_exact(8)) {
        for digit in digits {
            let value = VALUES[usize::from(*digit)];
            all |= value;
            *part = *part << 4 | u32::from(value);
        }
    }
    (all != NO_DIGIT).then(|| joined(parts))
}

/// The value of each byte as a hexadecimal digit. Only [`NO_DIGIT`] has more than four bits.
static VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value: u8 = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    values
};
const NO_DIGIT: u8 = 0xff;

/// Parses a label whose digits are in lower case, as multilog and tai64n write them, nothing else.
#[inline]
pub fn parse_lower_case(label: &[u8]) -> Option<Tai64N> {
    parse_by(label, |digit| match digit {
        b'0'..=b'9' => Some(u32::from(digit - b'0')),
        b'a'..=b'f' => Some(u32::from(digit - b'a') + 10),
        _ => None,
    })
}

#[inline(always)]
fn parse_by(label: &[u8], value: impl Fn(u8) -> Option<u32>) -> Option<Tai64N> {
    let digits: &[u8; DIGITS] = label.strip_prefix(b"@")?.try_into().ok()?;
    let mut parts = [0; 3];
    for (part, digits) in parts.iter_mut().zip(digits.chunks_exact(8)) {
        for digit in digits {
            *part = *part << 4 | value(*digit)?;
        }
    }
    Some(joined(parts))
}

fn joined([high, low, nanos]: [u32; 3]) -> Tai64N {
    Tai64N(Tai64(u64::from(high) << 32 | u64::from(low)), nanos)
}

/// A label as text, with its `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(pub Tai64N);

impl Display for Label {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        write!(to, "@{:016x}{:08x}", self.0.0.0, self.0.1)
    }
}

/// A moment by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time since boot, including time in suspend. This clock is never set, so durations are computed from it.
    pub uptime: Duration,
    /// The label of the wall clock, which is shown to people.
    pub label: Tai64N,
}

impl Moment {
    /// The earliest moment.
    pub const ZERO: Moment = Moment { uptime: Duration::ZERO, label: Tai64N(Tai64(0), 0) };

    /// The current moment.
    pub fn now() -> Moment {
        let boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        Moment { uptime: boot, label: now() }
    }

    /// This moment plus `wait`, by both clocks.
    pub fn after(self, wait: Duration) -> Moment {
        let nanos = u64::from(self.label.1) + u64::from(wait.subsec_nanos());
        let seconds = self.label.0.0.saturating_add(wait.as_secs()).saturating_add(nanos / 1_000_000_000);
        let rest = u32::try_from(nanos % 1_000_000_000).unwrap_or(0);
        Moment { uptime: self.uptime.saturating_add(wait), label: Tai64N(Tai64(seconds), rest) }
    }
}

/// Writes the label, then the nanoseconds since boot.
impl Display for Moment {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        write!(to, "{} {}", Label(self.label), self.uptime.as_nanos())
    }
}

/// The label one nanosecond earlier.
pub fn previous_nanosecond(label: Tai64N) -> Tai64N {
    match label.1.checked_sub(1) {
        Some(nanos) => Tai64N(label.0, nanos),
        None => Tai64N(Tai64(label.0.0.saturating_sub(1)), 999_999_999),
    }
}

/// The label that is one nanosecond later.
pub fn next_nanosecond(label: Tai64N) -> Tai64N {
    match label.1.checked_add(1) {
        Some(nanos @ ..1_000_000_000) => Tai64N(label.0, nanos),
        _ => Tai64N(Tai64(label.0.0.saturating_add(1)), 0),
    }
}

/// The 24 digits, lower case, without the `@`.
pub fn digits(label: Tai64N) -> [u8; DIGITS] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; DIGITS];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(label.to_bytes()) {
        pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_ten_seconds_ahead_of_unix_time() {
        let moment = UNIX_EPOCH + Duration::new(1, 500);
        assert_eq!(&digits(at(moment)), b"400000000000000b000001f4");
    }

    #[test]
    fn what_labels_nothing_is_no_time() {
        for (label, expected) in [(0x4000_0000_0000_000b, Some(1)), ((1 << 63) - 1, Some((1 << 62) - 11))] {
            assert_eq!(since_1970(Tai64N(Tai64(label), 0)), expected.map(Duration::from_secs), "{label:x}");
        }
        for label in [0, 0x4000_0000_0000_0009, 1 << 63, u64::MAX] {
            assert_eq!(since_1970(Tai64N(Tai64(label), 0)), None, "{label:x}");
        }
    }

    #[test]
    fn moments_before_1970_round_down() {
        let moment = UNIX_EPOCH - Duration::from_millis(250);
        assert_eq!(&digits(at(moment)), b"40000000000000092cb41780");
    }

    #[test]
    fn each_byte_of_a_label_is_read_as_the_digit_that_it_is() {
        for (at, byte) in (1..=DIGITS).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
            let mut label = *b"@400000006b014e9d075bcd15";
            label[at] = byte;
            let is_digit = byte.is_ascii_hexdigit();
            let value = is_digit.then(|| u128::from_str_radix(std::str::from_utf8(&label[1..]).unwrap(), 16).unwrap());
            let read = |label: Tai64N| u128::from(label.0.0) << 32 | u128::from(label.1);
            assert_eq!(parse(&label).map(read), value, "{byte} at {at}");
            let value = value.filter(|_| !byte.is_ascii_uppercase());
            assert_eq!(parse_lower_case(&label).map(read), value, "{byte} at {at}");
        }
    }

    #[test]
    fn a_label_is_read_as_it_is_written() {
        let label = at(UNIX_EPOCH + Duration::new(3, 999_999_999));
        assert_eq!(parse(Label(label).to_string().as_bytes()), Some(label));
        for malformed in
            ["", "@", "@400000000000000b000001f", "@400000000000000b000001f4 ", "@40000000000000gb000001f4"]
        {
            assert_eq!(parse(malformed.as_bytes()), None, "{malformed}");
            assert_eq!(parse_lower_case(malformed.as_bytes()), None, "{malformed}");
        }
        assert_eq!(parse_lower_case(Label(label).to_string().as_bytes()), Some(label));
        let upper = b"@400000000000000B000001F4";
        assert_eq!((parse(upper), parse_lower_case(upper)), (parse(&upper.to_ascii_lowercase()), None));
    }

    #[test]
    fn later_carries_nanoseconds() {
        let moment =
            Moment { uptime: Duration::new(1, 999_999_999), label: at(UNIX_EPOCH + Duration::new(1, 999_999_999)) };
        let later = moment.after(Duration::new(1, 1));
        assert_eq!((later.uptime, later.label), (Duration::from_secs(3), at(UNIX_EPOCH + Duration::from_secs(3))));
    }

    #[test]
    fn time_going_back_counts_as_no_time() {
        let (early, late) = (at(UNIX_EPOCH), at(UNIX_EPOCH + Duration::from_secs(3)));
        assert_eq!(seconds_between(early, late), 3);
        assert_eq!(seconds_between(late, early), 0);
    }
}
