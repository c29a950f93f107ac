use crate::input::Input;
use multilog::schedule::{Period, Schedule};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The next time at which a file begins is in the future, by at most a day, whatever happens to the wall clock. If the
/// clock is not changed, it is the first such time of that day.
pub fn ahead(data: &[u8]) {
    let mut input = Input(data);
    let Ok(text) = std::str::from_utf8(input.piece()) else { return };
    let Ok(schedule) = Schedule::parse(text) else { return };
    let mut number = |below: i64| i64::try_from(input.number()).unwrap_or(0) % below;
    let second = number(30_000) * DAY + number(48) * HOUR / 2 + number(HOUR);
    let zone = (number(113) - 56) * HOUR / 4;
    let (changed_at, change) = (second - HOUR + number(27) * HOUR, (number(9) - 4) * HOUR / 2);
    let steady = schedule.next(second, |_| zone);
    assert!(steady > second && steady <= second + DAY, "{text} {second} {zone}: {steady}");
    let midnight = steady - (steady + zone).rem_euclid(DAY);
    let period = schedule.next(midnight, |_| zone) - midnight;
    assert!((1..=DAY).contains(&period));
    assert_eq!((steady - midnight) % period, 0, "{text} {second} {zone}: {steady}");
    assert!(steady - period <= second || steady == midnight, "{text} {second} {zone}: {steady} is not the first");
    let offset = |moment: i64| if moment < changed_at { zone } else { zone + change };
    let next = schedule.next(second, offset);
    assert!(
        next > second && next <= second + DAY + change.abs(),
        "{text} {second} {zone} {changed_at} {change}: {next}"
    );
    let period = Period::begin(&schedule, second, offset);
    assert!(period.end == next && period.is_over(next) && !period.is_over(second) && !period.is_ahead(second));
}
