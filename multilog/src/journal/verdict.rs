//! What becomes of a journal that is found in a log directory. No I/O.
//!
//! | the journal is of | ended in order | has input | what becomes of it |
//! |---|---|---|---|
//! | this boot | either | either | it is carried on |
//! | another boot, or it cannot be told | yes | either | it is carried on: what is in it was on the disk |
//! | another boot | no | either | it is discarded: a crash of the machine may have left any mixture of old and new pages |
//! | it cannot be told which | no | no | it is discarded |
//! | it cannot be told which | no | yes | it is kept aside, and the administrator is told |

use super::checkpoint::{CurrentFile, File};

/// What is known of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalState {
    /// Whether it is of this boot; `None` where that cannot be told.
    pub is_of_this_boot: Option<bool>,
    /// Whether its multilog has ended in order, and all of the journal was on the disk then.
    pub is_closed: bool,
    /// Whether it has input that is in no log directory.
    pub has_input: bool,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// multilog goes on with the journal as if the multilog before had never ended.
    CarryOn,
    /// multilog goes on with the journal, but the numbers of devices in it, and the identity of its input, mean nothing
    /// any more.
    CarryOnAfterBoot,
    /// multilog removes the journal.
    Discard,
    /// multilog keeps the journal aside: what is in it may be in the log directories too, or be no lines.
    Doubt,
}

/// Decides what becomes of a journal.
pub fn verdict(found: JournalState) -> Verdict {
    match (found.is_of_this_boot, found.is_closed, found.has_input) {
        (Some(true), _, _) => Verdict::CarryOn,
        (Some(false) | None, true, _) => Verdict::CarryOnAfterBoot,
        (None, false, true) => Verdict::Doubt,
        (Some(false), false, _) | (None, false, false) => Verdict::Discard,
    }
}

/// Whether a multilog that knows nothing of the journal has ended in order in the journal's directory since: `known` is
/// what the journal says of the current file there.
pub fn is_outdated(known: Option<&File>, current: Option<CurrentFile>) -> bool {
    let Some(current) = current else { return false };
    current.is_complete && !known.is_none_or(|known| known.is_still(current.inode, current.size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_carried_on_where_what_it_says_is_so_for_certain() {
        use Verdict::{CarryOn, CarryOnAfterBoot, Discard, Doubt};
        let table = [
            (Some(true), [CarryOn, CarryOn, CarryOn, CarryOn]),
            (Some(false), [Discard, Discard, CarryOnAfterBoot, CarryOnAfterBoot]),
            (None, [Discard, Doubt, CarryOnAfterBoot, CarryOnAfterBoot]),
        ];
        for (is_of_this_boot, expected) in table {
            let all = [(false, false), (false, true), (true, false), (true, true)];
            let found =
                all.map(|(is_closed, has_input)| verdict(JournalState { is_of_this_boot, is_closed, has_input }));
            assert_eq!(found, expected, "{is_of_this_boot:?}");
        }
    }

    #[test]
    fn a_journal_is_outdated_once_another_multilog_has_ended_in_its_directory() {
        let known = File { inode: 3, size: 10, underway: 5, ..File::default() };
        let current = |inode, size, is_complete| Some(CurrentFile { inode, size, is_complete, has_other_names: false });
        for (known, current, expected) in [
            (Some(&known), None, false),
            (None, current(3, 10, true), false),
            (Some(&known), current(3, 12, true), false),
            (Some(&known), current(3, 99, false), false),
            (Some(&known), current(3, 99, true), true),
            (Some(&known), current(4, 10, true), true),
        ] {
            assert_eq!(is_outdated(known, current), expected, "{current:?}");
        }
    }
}
