//! How many of the lines that were found are shown: all, the first, or the last. No I/O.

use crate::line::{Line, Role};

/// What becomes of a line that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Show,
    Hide,
    /// As many lines as were asked for have been shown.
    Enough,
}

/// How many lines are still to be hidden and to be shown. Lines around matches do not count.
#[derive(Debug)]
pub struct Quota {
    /// How many lines come before the last lines that were asked for.
    surplus: u64,
    /// How many lines may still be begun. None: any number.
    left: Option<u64>,
    /// Of each log: whether the line that was begun is hidden, and whether any line was shown.
    logs: Vec<(bool, bool)>,
}

impl Quota {
    /// Of this many logs, all lines but the first `surplus` are shown, up to `left`.
    pub fn new(logs: usize, surplus: u64, left: Option<u64>) -> Quota {
        Quota { surplus, left, logs: vec![(false, false); logs] }
    }

    /// What becomes of the next line, or piece of one, of this log.
    #[inline]
    pub fn verdict(&mut self, log: usize, line: &Line) -> Verdict {
        let Some((is_hidden, is_any_shown)) = self.logs.get_mut(log) else { return Verdict::Show };
        match (line.begins, line.role) {
            (true, Role::Match | Role::Before) if self.left == Some(0) => return Verdict::Enough,
            (true, Role::Match) => {
                *is_hidden = self.surplus > 0;
                match *is_hidden {
                    true => self.surplus -= 1,
                    false => self.left = self.left.map(|left| left - 1),
                }
            }
            (true, Role::Before) => *is_hidden = self.surplus > 0,
            // What comes after a match is shown if the match was.
            (true, Role::After) | (false, _) => {}
        }
        if *is_hidden {
            return Verdict::Hide;
        }
        *is_any_shown = true;
        Verdict::Show
    }

    /// Whether all lines of this log are shown from now on, without being counted. Then some were shown.
    pub fn is_for_all(&mut self, log: usize) -> bool {
        match self.logs.get_mut(log) {
            Some((false, is_any_shown)) if self.surplus == 0 && self.left.is_none() => {
                *is_any_shown = true;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether a line of this log was shown.
    pub fn has_shown(&self, log: usize) -> bool {
        self.logs.get(log).is_some_and(|(_, is_any_shown)| *is_any_shown)
    }

    /// Whether no other line may be begun, except those around lines that were shown.
    pub fn is_used_up(&self) -> bool {
        self.left == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_or_the_last_matches_are_shown_with_the_lines_around_them() {
        // Each letter is a line: b before a match, m a match, p the rest of a line, a after a match. Small letters are
        // of the one log, capitals of the other.
        for (lines, surplus, left, expected) in [
            ("bmabma", 0, None, "bmabma"),
            ("bmpabmpa", 1, None, "....bmpa"),
            ("bmabma", 0, Some(1), "bma!!+"),
            ("mpMPm", 0, Some(2), "mpMP!"),
            ("mMaA", 0, Some(1), "m!a+"),
            ("mMaA", 1, None, ".M.A"),
            ("m", 0, Some(0), "!"),
        ] {
            let mut quota = Quota::new(2, surplus, left);
            let shown: String = lines
                .chars()
                .map(|letter| {
                    let role = match letter.to_ascii_lowercase() {
                        'b' => Role::Before,
                        'a' => Role::After,
                        _ => Role::Match,
                    };
                    let line = Line { role, begins: !letter.eq_ignore_ascii_case(&'p'), ..Line::default() };
                    match quota.verdict(usize::from(letter.is_uppercase()), &line) {
                        Verdict::Show => letter,
                        Verdict::Hide => '.',
                        Verdict::Enough => '!',
                    }
                })
                .collect();
            let expected: String =
                expected.chars().zip(lines.chars()).map(|(one, line)| if one == '+' { line } else { one }).collect();
            assert_eq!(shown, expected, "{lines}");
        }
    }
}
