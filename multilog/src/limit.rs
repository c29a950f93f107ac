//! A rate limit: how many lines may pass in a while, and how many more there were. No I/O and no clock.

use std::time::Duration;

/// The argument of `l`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many lines may pass in a window.
    pub count: u64,
    /// How long a window is, from its first line on.
    pub window: Duration,
}

impl Rate {
    /// `COUNT/DURATION`: `100/1s`.
    ///
    /// # Errors
    /// A few words say what is wrong with the argument.
    pub fn parse(text: &[u8]) -> Result<Rate, &'static str> {
        let text = std::str::from_utf8(text).map_err(|_| "not a rate")?;
        let (count, window) = text.split_once('/').ok_or("no duration behind a slash, as in l100/1s")?;
        let count = count.parse().map_err(|_| "not a number of lines")?;
        let window = daemontools::duration::with_units(window)?;
        if window.is_zero() { Err("no time at all") } else { Ok(Rate { count, window }) }
    }
}

/// Lets lines pass, or counts those that it does not let pass.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    /// When the window ends, as time since boot; none has begun before the first line.
    end: Duration,
    passed: u64,
    suppressed: u64,
}

impl Limiter {
    /// Makes a limiter that has let no line pass.
    pub fn new(rate: Rate) -> Limiter {
        Limiter { rate, end: Duration::ZERO, passed: 0, suppressed: 0 }
    }

    /// Whether a line may pass. The first one after a window begins a new one.
    pub fn admits(&mut self, now: Duration) -> bool {
        if now >= self.end {
            (self.end, self.passed) = (now.saturating_add(self.rate.window), 0);
        }
        let admitted = self.passed < self.rate.count;
        *if admitted { &mut self.passed } else { &mut self.suppressed } += 1;
        admitted
    }

    /// When suppressed lines are to be reported.
    pub fn due(&self) -> Option<Duration> {
        (self.suppressed > 0).then_some(self.end)
    }

    /// How many lines were suppressed since this was last asked.
    pub fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_rate_is_a_count_and_a_duration() {
        assert_eq!(Rate::parse(b"100/1s"), Ok(Rate { count: 100, window: SECOND }));
        assert_eq!(Rate::parse(b"0/1m"), Ok(Rate { count: 0, window: 60 * SECOND }));
        for malformed in
            [&b""[..], b"100", b"/1s", b"x/1s", b"-1/1s", b"1/", b"1/0s", b"1/10", b"1/soon", b"1/1s/1s", b"\xff/1"]
        {
            assert!(Rate::parse(malformed).is_err(), "{}", malformed.escape_ascii());
        }
    }

    #[test]
    fn so_many_pass_and_the_rest_is_counted_until_the_window_ends() {
        let mut limiter = Limiter::new(Rate { count: 2, window: SECOND });
        let now = 5 * SECOND;
        assert_eq!([limiter.admits(now), limiter.admits(now)], [true, true]);
        assert_eq!(limiter.due(), None);
        assert!(!limiter.admits(now + SECOND / 2));
        assert_eq!(limiter.due(), Some(6 * SECOND));
        assert_eq!((limiter.take_suppressed(), limiter.take_suppressed()), (1, 0));
        assert!(!limiter.admits(now + SECOND - Duration::from_nanos(1)));
        // A new window, from its first line on.
        assert!(limiter.admits(9 * SECOND));
        assert!(limiter.admits(9 * SECOND + SECOND / 2));
        assert!(!limiter.admits(9 * SECOND + SECOND / 2));
        assert_eq!((limiter.due(), limiter.take_suppressed()), (Some(10 * SECOND), 2));
    }

    #[test]
    fn a_limit_of_none_lets_nothing_pass() {
        let mut limiter = Limiter::new(Rate { count: 0, window: SECOND });
        assert!(!limiter.admits(SECOND) && !limiter.admits(3 * SECOND));
        assert_eq!(limiter.take_suppressed(), 2);
    }
}
