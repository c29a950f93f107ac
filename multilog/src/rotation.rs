//! When the current file makes way for a new one, and in which steps. No I/O and no clock.
//!
//! A file is replaced when it is full, when its period is over, or when multilog is told to (ALRM). It is replaced only
//! once the file before it is done with: there is one `previous`, and a processor may be busy with it. Then input
//! waits; but if multilog was told to end, the current file takes what is left, however full it is.

use crate::router::{Line, is_full};
use crate::schedule::Period;

/// A current file and its directory, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationState {
    /// Bytes in the file.
    pub size: u64,
    /// The file is full at this many bytes.
    pub limit: u64,
    /// A processor is busy with the file before.
    pub is_processing: bool,
}

/// What becomes of the current file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationDecision {
    /// The file stays.
    Stay,
    /// The file is to be replaced once the processor is done with the file before, and takes no lines until then.
    Wait,
    /// The file is replaced.
    Rotate,
    /// The file stays, and its period begins now: there is nothing in the file, or the clock was put back to before the
    /// beginning of the period.
    BeginPeriod,
}

impl RotationState {
    /// Whether the file takes all that is left, however full it is: multilog was told to end, and there is no telling
    /// when the processor will be done with the file before.
    pub fn takes_all(&self, is_leaving: bool) -> bool {
        is_leaving && self.is_processing
    }

    /// Whether the file has to be replaced because it is full, given where in a line it ends.
    pub fn when_full(&self, line: Line, is_leaving: bool) -> RotationDecision {
        if !is_full(self.size, self.limit, line) || self.takes_all(is_leaving) {
            RotationDecision::Stay
        } else if self.is_processing {
            RotationDecision::Wait
        } else {
            RotationDecision::Rotate
        }
    }

    /// Whether the file has to be replaced because its period is over, before lines of `now` (seconds since 1970) are
    /// written.
    pub fn by_time(&self, period: Option<Period>, now: i64) -> RotationDecision {
        let Some(period) = period else { return RotationDecision::Stay };
        if period.is_ahead(now) || period.is_over(now) && self.size == 0 {
            RotationDecision::BeginPeriod
        } else if period.is_over(now) && !self.is_processing {
            RotationDecision::Rotate
        } else {
            RotationDecision::Stay
        }
    }

    /// Whether the file is replaced because multilog was told to.
    pub fn on_demand(&self) -> RotationDecision {
        if self.size > 0 && !self.is_processing { RotationDecision::Rotate } else { RotationDecision::Stay }
    }
}

/// What is done to replace the current file. Whenever multilog is killed, `recovery` goes on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Writes `current` to the disk.
    Sync,
    /// Says by the mode of `current` that it is complete.
    Complete,
    /// Renames `current` to `previous`.
    Rename,
    /// Begins a new `current`.
    Begin,
    /// Gives `previous` to the processor, or its final name if there is no processor.
    Process,
}

/// The steps of a rotation, in their order.
pub const STEPS: [Step; 5] = [Step::Sync, Step::Complete, Step::Rename, Step::Begin, Step::Process];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;

    fn standing(size: u64, is_processing: bool) -> RotationState {
        RotationState { size, limit: 10_000, is_processing }
    }

    #[test]
    fn a_full_file_waits_for_the_processor_unless_multilog_is_to_end() {
        let within = Line::Within(1);
        for (size, line, is_processing, is_leaving, expected) in [
            (0, Line::Fresh, false, false, RotationDecision::Stay),
            (7_999, Line::Fresh, false, false, RotationDecision::Stay),
            (8_000, Line::Fresh, false, false, RotationDecision::Rotate),
            (8_000, Line::Fresh, false, true, RotationDecision::Rotate),
            (8_000, Line::Fresh, true, false, RotationDecision::Wait),
            (8_000, Line::Fresh, true, true, RotationDecision::Stay),
            (9_999, within, false, false, RotationDecision::Stay),
            (10_000, within, false, false, RotationDecision::Rotate),
            (10_000, within, true, false, RotationDecision::Wait),
            (10_000, within, true, true, RotationDecision::Stay),
        ] {
            let turn = standing(size, is_processing).when_full(line, is_leaving);
            assert_eq!(turn, expected, "{size} {line:?} {is_processing} {is_leaving}");
        }
    }

    #[test]
    fn a_file_is_replaced_when_its_period_is_over_unless_it_is_empty() {
        let period = Some(Period::begin(&Schedule::parse("hour,utc").unwrap(), 3_700, |_| 0));
        for (period, now, size, is_processing, expected) in [
            (None, 9_000, 5, false, RotationDecision::Stay),
            (period, 7_199, 5, false, RotationDecision::Stay),
            (period, 7_200, 5, false, RotationDecision::Rotate),
            (period, 7_200, 5, true, RotationDecision::Stay),
            (period, 7_200, 0, false, RotationDecision::BeginPeriod),
            (period, 7_200, 0, true, RotationDecision::BeginPeriod),
            (period, 3_699, 5, false, RotationDecision::BeginPeriod),
            (period, 3_699, 5, true, RotationDecision::BeginPeriod),
        ] {
            let turn = standing(size, is_processing).by_time(period, now);
            assert_eq!(turn, expected, "{now} {size} {is_processing}");
        }
    }

    #[test]
    fn an_empty_file_is_not_replaced_on_demand_nor_one_whose_processor_is_busy() {
        for (size, is_processing, expected) in [
            (0, false, RotationDecision::Stay),
            (5, false, RotationDecision::Rotate),
            (5, true, RotationDecision::Stay),
            (0, true, RotationDecision::Stay),
        ] {
            assert_eq!(standing(size, is_processing).on_demand(), expected);
        }
    }

    /// What is renamed is whole and on the disk, and says so: a `previous` is processed by the next multilog too.
    #[test]
    fn a_file_is_complete_before_it_is_renamed() {
        let at = |step| STEPS.iter().position(|other| *other == step);
        assert!(at(Step::Sync) < at(Step::Complete) && at(Step::Complete) < at(Step::Rename));
    }
}
