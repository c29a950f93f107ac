//! How many lines there are in each minute, hour or day, whichever suits the time between the first and the last line, and
//! how many of them each service has. Minutes without lines are left out.

use crate::arguments::Request;
use crate::course::Mode;
use crate::last::Memory;
use crate::logs::Logs;
use crate::output;
use crate::show::{Counts, Show, Unit};
use crate::source::{Next, Source};
use daemontools::tai64::Tai64N;
use daemontools::{Fatal, report};

/// Up to how many minutes between the first and the last line there is a number for each minute, and for each hour.
const MINUTES: i64 = 2 * 60;
const HOURS: i64 = 3 * 24 * 60;
/// With more numbers than this, svlog counts by quarters of an hour, if the lines are shown by hours or days. All time zones
/// of today differ by whole quarters, so that a day has its lines then too.
const MOST_BY_MINUTE: usize = 50_000;
const QUARTER: i64 = 15;
/// With more numbers than this, svlog counts the lines of all services together.
const MOST_BY_SERVICE: usize = 400_000;

/// How many lines there are in each minute, by its number since 1970, and of each service, by its number.
#[derive(Debug, Default)]
struct Minutes {
    counts: Counts,
    are_quarters: bool,
    are_together: bool,
}

/// Shows how many lines the logs have, and returns the exit code.
///
/// # Errors
/// The output cannot be written.
pub fn show(request: &Request, logs: &Logs, mut show: Show) -> Result<i32, Fatal> {
    let (mut minutes, mut code) = (Minutes::default(), 0);
    for (service, (folder, selection)) in logs.with_selections(request).enumerate() {
        let mut source = Source::new(folder, selection, Mode::Once, Memory::for_each_of(1).room);
        while let Next::Line(time) = source.next() {
            if source.begins() {
                minutes.add(time, service);
            }
            source.take();
            source.show_run(|line| {
                minutes.add(line.time, service);
                true
            });
        }
        if source.failed {
            code = report::TEMPORARY;
        }
    }
    let counts = if minutes.are_together { None } else { Some(logs.folders.len()).filter(|count| *count > 1) };
    show.histogram(minutes.unit(), minutes.counts, counts.is_some());
    output::write(&show.output)?;
    Ok(code)
}

impl Minutes {
    fn add(&mut self, time: Tai64N, service: usize) {
        let minute = time.0.to_unix().div_euclid(60);
        *self.counts.entry(self.key(minute, service)).or_default() += 1;
        let count = self.counts.len();
        if count > MOST_BY_MINUTE && !self.are_quarters && self.unit() != Unit::Minute {
            self.are_quarters = true;
            self.count_anew();
        }
        if count > MOST_BY_SERVICE && !self.are_together {
            self.are_together = true;
            self.count_anew();
        }
    }

    /// Adds up the numbers that are one number from now on.
    fn count_anew(&mut self) {
        for ((minute, service), count) in std::mem::take(&mut self.counts) {
            *self.counts.entry(self.key(minute, service)).or_default() += count;
        }
    }

    fn key(&self, minute: i64, service: usize) -> (i64, usize) {
        let minute = if self.are_quarters { minute.div_euclid(QUARTER) * QUARTER } else { minute };
        (minute, if self.are_together { 0 } else { service })
    }

    fn unit(&self) -> Unit {
        let first = self.counts.first_key_value().map_or(0, |((minute, _), _)| *minute);
        let last = self.counts.last_key_value().map_or(0, |((minute, _), _)| *minute);
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

    fn of(minutes: impl Iterator<Item = (i64, usize)>) -> Minutes {
        let mut counted = Minutes::default();
        let time = |minute| Tai64N(Tai64::from_unix(minute * 60 + 59), 999_999_999);
        minutes.for_each(|(minute, service)| counted.add(time(minute), service));
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
            assert_eq!(of(minutes.iter().map(|minute| (*minute, 0))).unit(), unit, "{minutes:?}");
        }
    }

    #[test]
    fn no_line_is_lost_where_there_are_too_many_minutes() {
        let most = i64::try_from(MOST_BY_MINUTE).unwrap();
        let counted = of((-30..most + 30).map(|minute| (minute, 0)));
        assert!(counted.counts.len() <= MOST_BY_MINUTE / 15 + 6);
        assert_eq!(counted.counts.get(&(-30, 0)), Some(&15));
        assert_eq!(counted.counts.values().sum::<u64>(), MOST_BY_MINUTE as u64 + 60);
    }

    #[test]
    fn each_service_has_its_lines_as_long_as_that_is_not_too_much() {
        // A thousand services in an hour are many numbers, but each minute is shown.
        let counted = of((0..60).flat_map(|minute| (0..1000).map(move |service| (minute, service))));
        assert!(!counted.are_quarters && !counted.are_together && counted.counts.len() == 60_000);
        let counted = of((0..200).flat_map(|day| (0..3000).map(move |service| (day * 24 * 60, service))));
        assert!(counted.are_quarters && counted.are_together);
        assert_eq!(counted.counts.get(&(24 * 60, 0)), Some(&3000));
        assert_eq!(counted.counts.values().sum::<u64>(), 600_000);
    }
}
