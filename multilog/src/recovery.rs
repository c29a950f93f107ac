//! What to do with the files that an earlier multilog left in a log directory. No I/O.
//!
//! | file | mode 0744 | mode 0644 |
//! |---|---|---|
//! | `current` | ended in order: written on | its multilog was killed or crashed |
//! | `processed` | a processor's whole result | half of one |
//! | `previous` | | full, waiting for the processor or its final name |
//!
//! Source: daemontools 0.76, for what its own multilog, or a crash of the machine, left; but it leaves a complete
//! `previous` beside a complete `current` where it is, until the next one replaces it. This multilog leaves such a file
//! when TERM comes while a processor is busy, and the next one gives it to the processor. Where this multilog was
//! killed, its journal shows that the files are whole, and the next one goes on with them.

use crate::journal::{CurrentFile, File, Id};
use daemontools::logdir::{CURRENT, NEW_STATE, PREVIOUS, PROCESSED, STATE};

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// There is no such file.
    Missing,
    /// Mode 0744.
    Complete,
    /// Any other mode.
    Incomplete,
}

/// The three files, and whether a journal vouches for `current`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directory {
    /// The file that is written to.
    pub current: FileState,
    /// The full file.
    pub previous: FileState,
    /// The processor's result.
    pub processed: FileState,
    /// A killed multilog has left a journal that knows `current`.
    pub has_journal: bool,
}

/// A step of recovery; the steps are done in the order of the plan.
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
    /// Renames `newstate` to `state`, if it is there: the processor has written it together with its whole result.
    KeepState,
    /// Does what was to be done with a full file.
    Process,
}

/// What the journals' checkpoints say of the file `current` in one directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// What the newest checkpoint says that knows of the directory; rather one that knows of this very file.
    file: Option<File>,
    /// Whether any checkpoint knows of this very file.
    is_known: bool,
}

impl Noted {
    /// Looks for the directory in checkpoints, the newest last; `current` is what is there now.
    pub fn of(folder: &Id, current: Option<CurrentFile>, checkpoints: &[File]) -> Noted {
        let noted = || checkpoints.iter().filter(|noted| noted.folder.is(folder));
        let is_still = |noted: &&File| current.is_some_and(|now| noted.is_still(now.inode, now.size));
        let is_known = |inode| noted().any(|noted| noted.inode == inode);
        Noted { file: noted().max_by_key(is_still).copied(), is_known: current.is_some_and(|now| is_known(now.inode)) }
    }

    /// Whether the file may be another account's: it has a second name, and no checkpoint knows of it.
    pub fn may_be_anothers(&self, current: Option<CurrentFile>) -> bool {
        !self.is_known && current.is_some_and(|now| now.has_other_names)
    }

    /// Whether a file of this number is one that a checkpoint knows of.
    pub fn is_of(&self, inode: u64, current: Option<CurrentFile>) -> bool {
        self.is_known && current.is_some_and(|now| now.inode == inode)
    }

    /// Whether a journal vouches for the file: it is the file of the checkpoint, or, if it was replaced since, one that
    /// nothing was written to yet.
    pub fn vouches_for(&self, current: Option<CurrentFile>) -> bool {
        let is_noted =
            |noted: File| current.is_none_or(|now| now.size == 0 || now.inode == noted.inode && now.size >= noted.size);
        !self.may_be_anothers(current) && self.file.is_some_and(is_noted)
    }

    /// Where the file is to be cut off: what lies beyond was being written when multilog was killed, and is in the
    /// journal.
    pub fn cut(&self, inode: u64, size: u64) -> Option<u64> {
        self.file.filter(|noted| noted.is_still(inode, size)).map(|noted| noted.size)
    }

    /// A moment of the period whose lines are in the file, in seconds since 1970. The time at which the file was
    /// written to last does not tell it: a line of the last moment of a period may be written in the next one.
    pub fn begun(&self, inode: u64) -> Option<i64> {
        self.file.filter(|noted| noted.inode == inode)?.begun
    }
}

/// What to do before `current` is appended to.
pub fn plan(directory: Directory) -> Vec<Step> {
    let carried_on = directory.current == FileState::Complete || directory.has_journal;
    let mut steps = Vec::new();
    if !carried_on {
        steps.extend([Step::Remove(STATE), Step::Remove(NEW_STATE)]);
    }
    match (directory.processed, directory.previous) {
        (FileState::Complete, _) => {
            if carried_on {
                steps.push(Step::KeepState);
            }
            steps.extend([Step::Remove(PREVIOUS), Step::FinishSafe(PROCESSED)]);
        }
        (FileState::Incomplete | FileState::Missing, FileState::Complete) if carried_on => {
            steps.extend([Step::Remove(PROCESSED), Step::Remove(NEW_STATE), Step::Process]);
        }
        (FileState::Incomplete | FileState::Missing, FileState::Missing) => steps.push(Step::Remove(PROCESSED)),
        (FileState::Incomplete | FileState::Missing, _) => {
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
    use super::FileState::{Complete, Incomplete, Missing};
    use super::Step::{EmptyState, FinishSafe, FinishUnsafe, KeepState, Process, Remove};
    use super::*;

    fn planned(current: FileState, previous: FileState, processed: FileState) -> Vec<Step> {
        plan(Directory { current, previous, processed, has_journal: false })
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

    /// multilog is killed after the result got its mode, which says that all is on the disk, and before what belongs to
    /// it has its place.
    #[test]
    fn what_a_processor_remembers_goes_with_its_whole_result() {
        let expected = [KeepState, Remove(PREVIOUS), FinishSafe(PROCESSED)];
        for previous in [Missing, Complete] {
            assert_eq!(planned(Complete, previous, Complete), expected);
            let carried_on = Directory { current: Incomplete, previous, processed: Complete, has_journal: true };
            assert_eq!(plan(carried_on), expected);
        }
    }

    #[test]
    fn what_ours_left_when_killed_is_carried_on() {
        let planned =
            |previous| plan(Directory { current: Incomplete, previous, processed: Missing, has_journal: true });
        assert_eq!(planned(Missing), [Remove(PROCESSED)]);
        assert_eq!(planned(Complete), [Remove(PROCESSED), Remove(NEW_STATE), Process]);
    }

    const FOLDER: Id = Id { device: 1, inode: 2 };

    fn noted(inode: u64, size: u64, underway: u64) -> File {
        File { folder: FOLDER, inode, size, underway, begun: Some(1000) }
    }

    fn current(inode: u64, size: u64) -> Option<CurrentFile> {
        Some(CurrentFile { inode, size, is_complete: false, has_other_names: false })
    }

    #[test]
    fn a_journal_vouches_for_the_file_of_its_checkpoint_and_says_where_it_is_cut() {
        let table = [
            // What is noted, what is there; whether a journal vouches for it, and how long it is then.
            (vec![], current(3, 10), false, None),
            (vec![noted(3, 10, 5)], None, true, None),
            (vec![noted(3, 10, 5)], current(3, 10), true, Some(10)),
            (vec![noted(3, 10, 5)], current(3, 15), true, Some(10)),
            // Another program has written to it: nothing is cut.
            (vec![noted(3, 10, 5)], current(3, 16), true, None),
            // Cut off by others.
            (vec![noted(3, 10, 5)], current(3, 9), false, None),
            // A new file was begun, and multilog was killed before it could say so.
            (vec![noted(3, 10, 5)], current(4, 0), true, None),
            (vec![noted(3, 10, 5)], current(4, 1), false, None),
            // Two journals know of the directory.
            (vec![noted(3, 10, 5), noted(4, 7, 0)], current(3, 12), true, Some(10)),
            (vec![noted(3, 10, 5), noted(4, 7, 0)], current(4, 7), true, Some(7)),
        ];
        for (checkpoints, current, vouches, cut) in table {
            let noted = Noted::of(&FOLDER, current, &checkpoints);
            assert_eq!(noted.vouches_for(current), vouches, "{checkpoints:?} {current:?}");
            assert_eq!(current.and_then(|now| noted.cut(now.inode, now.size)), cut, "{checkpoints:?} {current:?}");
            let is_known = |now: CurrentFile| checkpoints.iter().any(|noted| noted.inode == now.inode);
            let begun = current.is_some_and(is_known).then_some(1000);
            assert_eq!(current.and_then(|now| noted.begun(now.inode)), begun, "{checkpoints:?} {current:?}");
        }
        let elsewhere = File { folder: Id { device: 1, inode: 9 }, ..noted(3, 10, 0) };
        assert!(!Noted::of(&FOLDER, current(3, 10), &[elsewhere]).vouches_for(current(3, 10)));
    }

    #[test]
    fn a_file_with_a_second_name_is_believed_only_where_a_checkpoint_knows_it() {
        let linked = current(3, 10).map(|file| CurrentFile { has_other_names: true, ..file });
        for (checkpoints, is_anothers) in [(vec![], true), (vec![noted(3, 10, 0)], false), (vec![noted(4, 0, 0)], true)]
        {
            let noted = Noted::of(&FOLDER, linked, &checkpoints);
            assert_eq!(noted.may_be_anothers(linked), is_anothers);
            assert_eq!((noted.is_of(3, linked), noted.is_of(4, linked)), (!is_anothers, false));
            assert_eq!(noted.vouches_for(linked), !is_anothers);
        }
    }

    /// Nothing that holds lines is ever removed: `previous` only where its lines are in `processed`.
    #[test]
    fn no_lines_are_removed() {
        let all = [Missing, Complete, Incomplete];
        for (current, previous, processed) in
            (0..27).map(|number| (all[number / 9], all[number / 3 % 3], all[number % 3]))
        {
            for has_journal in [false, true] {
                let steps = plan(Directory { current, previous, processed, has_journal });
                assert!(!steps.contains(&Remove(CURRENT)));
                assert!(!steps.contains(&Remove(PREVIOUS)) || processed == Complete);
                let kept = steps.contains(&FinishUnsafe(PREVIOUS)) || steps.contains(&Process);
                assert!(previous == Missing || processed == Complete || kept);
            }
        }
    }
}
