//! How many lines there are in each minute, hour or day, whichever suits the time between the first and the last line.
//! Minutes without lines are left out.

use crate::arguments::Request;
use crate::last::Memory;
use crate::logs::Logs;
use crate::output;
use crate::show::{Show, Unit};
use crate::source::{Mode, Next, Source};
use daemontools::tai64::Tai64N;
use daemontools::{Fatal, report};
use std::collections::BTreeMap;

/// Up to how many minutes between the first and the last line there is a number for each minute, and for each hour.
const MINUTES: i64 = 2 * 60;
const HOURS: i64 = 3 * 24 * 60;
/// With more different minutes than this, svlog counts by quarters of an hour. All time zones of today differ by whole
/// quarters, so that a day has its lines then too.
const MOST_MINUTES: usize = 50_000;
const QUARTER: i64 = 15;

/// How many lines there are in each minute, by its number since 1970.
#[derive(Debug, Default)]
struct Minutes {
    counts: BTreeMap<i64, u64>,
    are_quarters: bool,
}

/// Shows how many lines all logs have together, and returns the exit code.
///
/// # Errors
/// The output cannot be written.
pub fn show(request: &Request, logs: &Logs, mut show: Show) -> Result<i32, Fatal> {
    let (mut minutes, mut code) = (Minutes::default(), 0);
    for (folder, selection) in logs.with_selections(request) {
        let mut source = Source::new(folder, selection, Mode::Once, Memory::for_each_of(1).room);
        while let Next::Line(time) = source.next() {
            if source.begins() {
                minutes.add(time);
            }
            source.take();
            source.show_run(|line| {
                minutes.add(line.time);
                true
            });
        }
        if source.failed {
            code = report::TEMPORARY;
        }
    }
    show.histogram(minutes.unit(), minutes.counts);
    output::write(&show.output)?;
    Ok(code)
}

impl Minutes {
    fn add(&mut self, time: Tai64N) {
        let minute = time.0.to_unix().div_euclid(60);
        *self.counts.entry(self.key(minute)).or_default() += 1;
        if self.counts.len() > MOST_MINUTES && !self.are_quarters {
            self.are_quarters = true;
            for (minute, count) in std::mem::take(&mut self.counts) {
                *self.counts.entry(self.key(minute)).or_default() += count;
            }
        }
    }

    fn key(&self, minute: i64) -> i64 {
        if self.are_quarters { minute.div_euclid(QUARTER) * QUARTER } else { minute }
    }

    fn unit(&self) -> Unit {
        let first = self.counts.first_key_value().map_or(0, |(minute, _)| *minute);
        let last = self.counts.last_key_value().map_or(0, |(minute, _)| *minute);
        match last.saturating_sub(first) {
            minutes if minutes <= MINUTES => Unit::Minute,
            minutes if minutes <= HOURS => Unit::Hour,
            _ => Unit::Day,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::tai64::Tai64;

    fn of(minutes: impl Iterator<Item = i64>) -> Minutes {
        let mut counted = Minutes::default();
        minutes.for_each(|minute| counted.add(Tai64N(Tai64::from_unix(minute * 60 + 59), 999_999_999)));
        counted
    }

    #[test]
    fn the_unit_suits_the_time_between_the_first_and_the_last_line() {
        for (minutes, unit) in [
            (vec![], Unit::Minute),
            (vec![-1, 119], Unit::Minute),
            (vec![0, 121], Unit::Hour),
            (vec![3 * 24 * 60, 0], Unit::Hour),
            (vec![0, 3 * 24 * 60 + 1], Unit::Day),
        ] {
            assert_eq!(of(minutes.iter().copied()).unit(), unit, "{minutes:?}");
        }
    }

    #[test]
    fn no_line_is_lost_where_there_are_too_many_minutes() {
        let most = i64::try_from(MOST_MINUTES).unwrap();
        let counted = of(-30..most + 30);
        assert!(counted.counts.len() <= MOST_MINUTES / 15 + 6);
        assert_eq!(counted.counts.get(&-30), Some(&15));
        assert_eq!(counted.counts.values().sum::<u64>(), MOST_MINUTES as u64 + 60);
    }
}
