//! Durations as people write them: in settings ([`parse`], [`with_units`]) and in options of command lines
//! ([`of_option`]).

use std::time::Duration;

/// A bare number of milliseconds, as s6 has it, or numbers with units: `5s`, `1m 30s`.
///
/// # Errors
/// What is wrong with it, in a few words.
pub fn parse(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        Err(_) => humantime::parse_duration(text).map_err(|_| "not a duration"),
    }
}

/// Numbers with units alone: where a bare number could be taken for seconds or days.
///
/// # Errors
/// What is wrong with it, in a few words.
pub fn with_units(text: &str) -> Result<Duration, &'static str> {
    // A bare zero would be taken too.
    if is_bare(text) {
        return Err("a number without a unit, such as s, h or d");
    }
    humantime::parse_duration(text).map_err(|_| "not a duration")
}

/// The value of an option on a command line: numbers with units, or 0. Who types `5` may mean seconds, and who types `5000`
/// milliseconds: neither is guessed.
///
/// # Errors
/// What is wrong with it, and how to say it.
pub fn of_option(text: &str) -> Result<Duration, String> {
    match with_units(text) {
        Err(_) if is_bare(text) && text.bytes().all(|digit| digit == b'0') => Ok(Duration::ZERO),
        Err(_) if is_bare(text) => Err(format!("a number without a unit: say {text}s or {text}ms")),
        read => read.map_err(String::from),
    }
}

/// Whether it is a number and nothing else.
fn is_bare(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// How long it is in whole seconds, rounded up, as [`parse`] reads it: `1h 30m`.
pub fn in_seconds(length: Duration) -> String {
    let seconds = length.as_secs() + u64::from(length.subsec_nanos() > 0);
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_can_be_demanded() {
        assert_eq!(with_units("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(with_units("5"), Err("a number without a unit, such as s, h or d"));
        assert_eq!(with_units("0"), Err("a number without a unit, such as s, h or d"));
        assert_eq!(with_units("week"), Err("not a duration"));
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
            ("", Err("not a duration".into())),
            ("-5", Err("not a duration".into())),
            ("soon", Err("not a duration".into())),
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
            ("", Err("not a duration")),
            ("-5", Err("not a duration")),
            ("soon", Err("not a duration")),
            ("99999999999999999999", Err("not a duration")),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_left_is_never_less_than_it_is() {
        for (milliseconds, text) in [(0, "0s"), (1, "1s"), (1000, "1s"), (3_599_001, "1h")] {
            assert_eq!(in_seconds(Duration::from_millis(milliseconds)), text);
        }
    }
}
