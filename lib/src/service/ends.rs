//! How often `run` has ended, by reason. No clock, no I/O.

use super::Exit;
use std::fmt::{self, Display};
use std::str::SplitAsciiWhitespace;

/// Why a `run` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// It exited with code 0, of itself.
    Well,
    /// It exited with another code, of itself.
    Failed,
    /// It was killed by a signal that no command has sent to end it.
    Killed,
    /// It was told to end.
    Told,
    /// It has missed a deadline, and supervise has ended it.
    Late,
    /// It could not be executed.
    Unstarted,
    /// Its end was not seen.
    Unseen,
}

impl EndReason {
    /// Every reason, in the order in which they are shown.
    pub const ALL: [EndReason; 7] = [
        EndReason::Well,
        EndReason::Failed,
        EndReason::Killed,
        EndReason::Told,
        EndReason::Late,
        EndReason::Unstarted,
        EndReason::Unseen,
    ];

    /// Why a `run` ended in this way. That it was told to end, or was late, explains every exit.
    pub fn of(exit: Exit, is_told: bool, is_late: bool) -> EndReason {
        match exit {
            _ if is_told => EndReason::Told,
            _ if is_late => EndReason::Late,
            Exit::Code(0) => EndReason::Well,
            Exit::Code(_) => EndReason::Failed,
            Exit::Signal(_) | Exit::Core(_) => EndReason::Killed,
            Exit::Unstarted(_) => EndReason::Unstarted,
            Exit::Unknown => EndReason::Unseen,
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            EndReason::Well => "well",
            EndReason::Failed => "failed",
            EndReason::Killed => "killed",
            EndReason::Told => "told",
            EndReason::Late => "late",
            EndReason::Unstarted => "unstarted",
            EndReason::Unseen => "unseen",
        }
    }
}

/// How often `run` has ended for each reason. As text: each reason that has occurred, and how often: `failed 3 told 1`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends([u64; EndReason::ALL.len()]);

impl Ends {
    /// Counts one more end.
    pub fn count(&mut self, reason: EndReason) {
        self.all_mut().filter(|(known, _)| *known == reason).for_each(|(_, times)| *times += 1);
    }

    /// Every reason, and how often `run` has ended for it.
    pub fn all(&self) -> impl Iterator<Item = (EndReason, u64)> {
        EndReason::ALL.into_iter().zip(self.0)
    }

    /// Whether no end was counted.
    pub fn is_empty(&self) -> bool {
        self.all().all(|(_, times)| times == 0)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = (EndReason, &mut u64)> {
        EndReason::ALL.into_iter().zip(&mut self.0)
    }

    /// Reads the text that [`Display`] writes. What makes no sense is left out.
    pub(super) fn parse(words: &mut SplitAsciiWhitespace) -> Ends {
        let mut ends = Ends::default();
        while let Some((word, times)) = words.next().zip(words.next()) {
            let Ok(times) = times.parse() else { continue };
            ends.all_mut().filter(|(reason, _)| reason.word() == word).for_each(|(_, known)| *known = times);
        }
        ends
    }
}

impl Display for Ends {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        let occurred = self.all().filter(|(_, times)| *times > 0);
        let words: Vec<String> = occurred.map(|(reason, times)| format!("{} {times}", reason.word())).collect();
        to.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_reason() {
        let table = [
            (Exit::Code(0), false, false, EndReason::Well),
            (Exit::Code(3), false, false, EndReason::Failed),
            (Exit::Signal(9), false, false, EndReason::Killed),
            (Exit::Core(11), false, false, EndReason::Killed),
            (Exit::Unstarted(2), false, false, EndReason::Unstarted),
            (Exit::Unknown, false, false, EndReason::Unseen),
            (Exit::Signal(15), true, false, EndReason::Told),
            (Exit::Code(0), true, true, EndReason::Told),
            (Exit::Signal(6), false, true, EndReason::Late),
        ];
        for (exit, is_told, is_late, reason) in table {
            assert_eq!(EndReason::of(exit, is_told, is_late), reason, "{exit:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_the_rest_left_out() {
        let mut ends = Ends::default();
        assert!(ends.is_empty());
        for reason in [EndReason::Told, EndReason::Failed, EndReason::Told] {
            ends.count(reason);
        }
        assert_eq!(ends.to_string(), "failed 1 told 2");
        for text in ["failed 1 told 2", "failed 1 odd 7 told 2", "told 2 killed x failed 1 late"] {
            assert_eq!(Ends::parse(&mut text.split_ascii_whitespace()), ends, "{text}");
        }
    }
}
