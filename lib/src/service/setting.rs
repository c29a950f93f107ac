//! The value in the file of a setting: the first line, without the blanks around it. No I/O.

use crate::duration;
use std::time::Duration;

/// The setting that says how long after the first signal of `svc -d` supervise kills the service. svscan reads it too,
/// to know how long a stop may take.
pub const TIMEOUT_KILL: &str = "timeout-kill";

/// The longest file that is read, in bytes. No setting needs that many.
pub const LONGEST: usize = 4096;

/// The value in the text of a setting.
pub fn value(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}

/// Reads a setting that is a timeout: a duration, of which zero means no timeout.
///
/// # Errors
/// The error says in a few words what is wrong with the value.
pub fn timeout(value: &str) -> Result<Option<Duration>, &'static str> {
    Ok(Some(duration::parse(value)?).filter(|duration| !duration.is_zero()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_the_first_line_and_zero_is_none() {
        let table = [
            ("5000", Ok(Some(Duration::from_secs(5)))),
            (" 1m 30s \nsecond line", Ok(Some(Duration::from_secs(90)))),
            ("5s\r\n", Ok(Some(Duration::from_secs(5)))),
            ("0", Ok(None)),
            ("0s\n5s", Ok(None)),
            ("", Err(crate::duration::NO_DURATION)),
            ("\n5s", Err(crate::duration::NO_DURATION)),
            ("-5", Err(crate::duration::NO_DURATION)),
            ("soon", Err(crate::duration::NO_DURATION)),
        ];
        for (text, expected) in table {
            assert_eq!(timeout(value(text)), expected, "{text:?}");
        }
    }
}
