//! What to do with the files that an earlier multilog left in a log directory. No I/O.
//!
//! | file | mode 0744 | mode 0644 |
//! |---|---|---|
//! | `current` | ended in order: written on | its multilog was killed or crashed |
//! | `processed` | a processor's whole result | half of one |
//! | `previous` | | full, waiting for the processor or its final name |
//!
//! Source: daemontools 0.76, for what its own multilog, or a crash of the machine, left; but it leaves a complete
//! `previous` beside a complete `current` where it is, until the next one replaces it. Ours ends so when it is told to
//! while a processor is busy, and goes on with that. Where ours was killed, its journal proves the files good, and they
//! are carried on.

use daemontools::logdir::{CURRENT, NEW_STATE, PREVIOUS, PROCESSED, STATE};

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Not there.
    Missing,
    /// Mode 0744.
    Complete,
    /// Any other mode.
    Incomplete,
}

/// The three files, and whether a journal vouches for `current`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directory {
    /// What is written to.
    pub current: Found,
    /// What is full.
    pub previous: Found,
    /// What a processor makes of it.
    pub processed: Found,
    /// Ours was killed and has left a journal about `current`.
    pub vouched: bool,
}

/// Done in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Removes a file, if there is one.
    Remove(&'static str),
    /// Gives a file its final name, as safely written.
    FinishSafe(&'static str),
    /// Gives a file its final name, if there is such a file, as maybe not safely written.
    FinishUnsafe(&'static str),
    /// Makes an empty `state`.
    EmptyState,
    /// Does what was to be done with a full file.
    Process,
}

/// What to do before `current` is appended to.
pub fn plan(directory: Directory) -> Vec<Step> {
    let carried_on = directory.current == Found::Complete || directory.vouched;
    let mut steps = Vec::new();
    if !carried_on {
        steps.extend([Step::Remove(STATE), Step::Remove(NEW_STATE)]);
    }
    match (directory.processed, directory.previous) {
        (Found::Complete, _) => steps.extend([Step::Remove(PREVIOUS), Step::FinishSafe(PROCESSED)]),
        (Found::Incomplete | Found::Missing, Found::Complete) if carried_on => {
            steps.extend([Step::Remove(PROCESSED), Step::Remove(NEW_STATE), Step::Process]);
        }
        (Found::Incomplete | Found::Missing, Found::Missing) => steps.push(Step::Remove(PROCESSED)),
        (Found::Incomplete | Found::Missing, _) => {
            steps.extend([Step::Remove(PROCESSED), Step::FinishUnsafe(PREVIOUS)]);
        }
    }
    if !carried_on {
        steps.extend([Step::FinishUnsafe(CURRENT), Step::EmptyState]);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::Found::{Complete, Incomplete, Missing};
    use super::Step::{EmptyState, FinishSafe, FinishUnsafe, Process, Remove};
    use super::*;

    fn planned(current: Found, previous: Found, processed: Found) -> Vec<Step> {
        plan(Directory { current, previous, processed, vouched: false })
    }

    #[test]
    fn what_ended_in_order_is_written_on() {
        assert_eq!(planned(Complete, Missing, Missing), [Remove(PROCESSED)]);
        // A processor was busy with it.
        let process = [Remove(PROCESSED), Remove(NEW_STATE), Process];
        assert_eq!(planned(Complete, Complete, Incomplete), process);
        assert_eq!(planned(Complete, Incomplete, Missing), [Remove(PROCESSED), FinishUnsafe(PREVIOUS)]);
    }

    #[test]
    fn what_the_original_left_unfinished_is_finished_as_unsafe() {
        let clear = [Remove(STATE), Remove(NEW_STATE), Remove(PROCESSED)];
        let end = [FinishUnsafe(CURRENT), EmptyState];
        assert_eq!(planned(Incomplete, Missing, Missing), [&clear[..], &end].concat());
        assert_eq!(planned(Missing, Missing, Missing), [&clear[..], &end].concat());
        let previous = [FinishUnsafe(PREVIOUS)];
        for mode in [Complete, Incomplete] {
            assert_eq!(planned(Incomplete, mode, Incomplete), [&clear[..], &previous, &end].concat());
        }
    }

    #[test]
    fn a_whole_result_of_a_processor_is_safe() {
        let expected = [
            Remove(STATE),
            Remove(NEW_STATE),
            Remove(PREVIOUS),
            FinishSafe(PROCESSED),
            FinishUnsafe(CURRENT),
            EmptyState,
        ];
        assert_eq!(planned(Incomplete, Incomplete, Complete), expected);
    }

    #[test]
    fn what_ours_left_when_killed_is_carried_on() {
        let vouched = |previous| plan(Directory { current: Incomplete, previous, processed: Missing, vouched: true });
        assert_eq!(vouched(Missing), [Remove(PROCESSED)]);
        assert_eq!(vouched(Complete), [Remove(PROCESSED), Remove(NEW_STATE), Process]);
    }

    /// Nothing that holds lines is ever removed: `previous` only where its lines are in `processed`.
    #[test]
    fn no_lines_are_removed() {
        let all = [Missing, Complete, Incomplete];
        for (current, previous, processed) in
            (0..27).map(|number| (all[number / 9], all[number / 3 % 3], all[number % 3]))
        {
            for vouched in [false, true] {
                let steps = plan(Directory { current, previous, processed, vouched });
                assert!(!steps.contains(&Remove(CURRENT)));
                assert!(!steps.contains(&Remove(PREVIOUS)) || processed == Complete);
                let kept = steps.contains(&FinishUnsafe(PREVIOUS)) || steps.contains(&Process);
                assert!(previous == Missing || processed == Complete || kept);
            }
        }
    }
}
