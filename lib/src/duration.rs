//! Durations as people write them: in settings ([`parse`], [`with_units`]) and in options of command lines
//! ([`of_option`]).

use std::time::Duration;

/// What is wrong with a text that is no duration, with what it should look like.
pub const NO_DURATION: &str = "not a duration, as in 5s or 1m 30s";

/// Reads a bare number of milliseconds, as s6 writes durations, or numbers with units: `5s`, `1m 30s`.
///
/// # Errors
/// The error says in a few words what is wrong with the text.
pub fn parse(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        Err(_) => humantime::parse_duration(text).map_err(|_| NO_DURATION),
    }
}

/// Reads numbers with units only. It is for places where a reader could take a bare number for seconds or days.
///
/// # Errors
/// The error says in a few words what is wrong with the text.
pub fn with_units(text: &str) -> Result<Duration, &'static str> {
    // [`parse`] would accept a bare zero too.
    if is_bare(text) {
        return Err("a number without a unit, such as s, h or d");
    }
    humantime::parse_duration(text).map_err(|_| NO_DURATION)
}

/// Reads the value of a command line's option: numbers with units, or 0. A user who types `5` may mean seconds, and one
/// who types `5000` milliseconds; this function guesses neither.
///
/// # Errors
/// The error says what is wrong with the text, and how to write it.
pub fn of_option(text: &str) -> Result<Duration, String> {
    match with_units(text) {
        Err(_) if is_bare(text) && text.bytes().all(|digit| digit == b'0') => Ok(Duration::ZERO),
        Err(_) if is_bare(text) => Err(format!("a number without a unit: say {text}s or {text}ms")),
        read => read.map_err(String::from),
    }
}

/// Whether the text is a number and nothing else.
fn is_bare(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The duration in whole seconds, rounded up, in the form that [`parse`] reads: `1h 30m`.
pub fn in_seconds(length: Duration) -> String {
    let seconds = length.as_secs() + u64::from(length.subsec_nanos() > 0);
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// How long it is, in at most seven characters: `0.2s`, `42s`, `15m`, `2h 5m`, `3d 4h`. What is smaller than the last unit
/// is left out.
pub fn brief(length: Duration) -> String {
    let seconds = length.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..10 => format!("{}.{}s", seconds, length.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m"),
        3600..86400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_can_be_demanded() {
        assert_eq!(with_units("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(with_units("5"), Err("a number without a unit, such as s, h or d"));
        assert_eq!(with_units("0"), Err("a number without a unit, such as s, h or d"));
        assert_eq!(with_units("week"), Err(NO_DURATION));
    }

    #[test]
    fn an_option_has_units_or_is_nothing() {
        let unclear = |number: &str| Err(format!("a number without a unit: say {number}s or {number}ms"));
        for (text, expected) in [
            ("5s", Ok(Duration::from_secs(5))),
            ("5000ms", Ok(Duration::from_secs(5))),
            ("1m 30s", Ok(Duration::from_secs(90))),
            ("0", Ok(Duration::ZERO)),
            ("00", Ok(Duration::ZERO)),
            ("0s", Ok(Duration::ZERO)),
            ("5", unclear("5")),
            ("5000", unclear("5000")),
            ("99999999999999999999", unclear("99999999999999999999")),
            ("", Err(NO_DURATION.into())),
            ("-5", Err(NO_DURATION.into())),
            ("soon", Err(NO_DURATION.into())),
        ] {
            assert_eq!(of_option(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_milliseconds_or_have_units() {
        let table = [
            ("1500", Ok(Duration::from_millis(1500))),
            ("0", Ok(Duration::ZERO)),
            ("5s", Ok(Duration::from_secs(5))),
            ("1m 30s", Ok(Duration::from_secs(90))),
            ("", Err(NO_DURATION)),
            ("-5", Err(NO_DURATION)),
            ("soon", Err(NO_DURATION)),
            ("99999999999999999999", Err(NO_DURATION)),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_brief_length_has_two_units_at_most() {
        for (milliseconds, text) in [
            (0, "0.0s"),
            (299, "0.2s"),
            (9_999, "9.9s"),
            (10_000, "10s"),
            (59_999, "59s"),
            (60_000, "1m"),
            (3_599_999, "59m"),
            (3_600_000, "1h 0m"),
            (86_399_999, "23h 59m"),
            (86_400_000, "1d 0h"),
            (273_600_000, "3d 4h"),
        ] {
            assert_eq!(brief(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn what_is_left_is_never_less_than_it_is() {
        for (milliseconds, text) in [(0, "0s"), (1, "1s"), (1000, "1s"), (3_599_001, "1h")] {
            assert_eq!(in_seconds(Duration::from_millis(milliseconds)), text);
        }
    }
}
