//! Durations as people write them, in settings and in arguments.

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
    let bare = text.bytes().all(|byte| byte.is_ascii_digit());
    humantime::parse_duration(text).ok().filter(|_| !bare).ok_or("not a duration")
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
        assert_eq!(with_units("5"), Err("not a duration"));
        assert_eq!(with_units("0"), Err("not a duration"));
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
