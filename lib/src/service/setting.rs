//! What the file of a setting says: its first line counts, without the blanks around it. No I/O.

use crate::duration;
use std::time::Duration;

/// The setting that says how long after the first signal of `svc -d` a service is killed. supervise obeys it, and svscan
/// asks it how long a stop may take.
pub const TIMEOUT_KILL: &str = "timeout-kill";

/// The longest file that is read, in bytes. No setting needs as much.
pub const LONGEST: usize = 4096;

/// What counts of the text of a setting.
pub fn value(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}

/// Reads the value of a setting that is a timeout: a duration, of which zero is no timeout.
///
/// # Errors
/// What is wrong with it, in a few words.
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
            ("", Err("not a duration")),
            ("\n5s", Err("not a duration")),
            ("-5", Err("not a duration")),
            ("soon", Err("not a duration")),
        ];
        for (text, expected) in table {
            assert_eq!(timeout(value(text)), expected, "{text:?}");
        }
    }
}
