//! Which lines a place in a script can see, as far as its patterns tell. No I/O.

use crate::pattern::matches_all;
use crate::pattern::{Dialect, MatchScope, Pattern};
use daemontools::logdir::stamp::StampKind;

/// What is selected at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Selectable {
    /// Every line.
    #[default]
    All,
    /// No line.
    None,
    /// Some lines perhaps.
    Some,
}

/// Goes through a script's patterns, one after the other.
#[derive(Debug, Default)]
pub struct Lint {
    /// What is selected here.
    pub state: Selectable,
}

impl Lint {
    /// Goes through a pattern that selects, or else deselects, lines with this stamp. Returns what is wrong with it.
    pub fn pattern(&mut self, selects: bool, pattern: &Pattern, stamp: Option<StampKind>) -> Vec<&'static str> {
        let mut complaints = Vec::new();
        let never = matches_none(pattern, stamp);
        complaints.extend(never);
        if pattern.dialect == Dialect::Simple && pattern.text.windows(2).any(|pair| pair == b"**") {
            complaints.push("in a simple pattern the second of two stars is looked for in the line");
        }
        let all = matches_all(pattern);
        self.state = match (self.state, selects) {
            (Selectable::All, true) => {
                complaints.push("all lines are selected here already, so it does nothing");
                Selectable::All
            }
            (Selectable::None, false) => {
                complaints.push("no line is selected here, so it does nothing");
                Selectable::None
            }
            (state, _) if never.is_some() => state,
            (_, true) if all => Selectable::All,
            (_, false) if all => Selectable::None,
            _ => Selectable::Some,
        };
        complaints
    }

    /// Takes in a rate limit, and returns what was selected before it.
    pub fn limit(&mut self) -> Selectable {
        let before = self.state;
        if before == Selectable::All {
            self.state = Selectable::Some;
        }
        before
    }
}

/// Why no line can match.
fn matches_none(pattern: &Pattern, stamp: Option<StampKind>) -> Option<&'static str> {
    let start = literal_start(pattern);
    if pattern.dialect != Dialect::Regex && pattern.text.contains(&b'\n') {
        return Some("it can never match, as no line contains a newline");
    }
    if pattern.dialect == Dialect::Fnmatch && pattern.text.ends_with(b"\\") && !pattern.text.ends_with(b"\\\\") {
        return Some("it can never match, as it ends in a backslash");
    }
    if start.is_some_and(|(text, _)| text.len() > crate::steps::SEEN) {
        return Some("it can never match, as only 1000 bytes of a line are looked at");
    }
    let stamp = stamp.filter(|_| pattern.scope == MatchScope::All)?;
    start.filter(|start| !can_begin(stamp, *start)).map(|_| "it can never match, as each line begins with its stamp")
}

/// The bytes that a line must begin with, and whether it must end there.
fn literal_start(pattern: &Pattern) -> Option<(&[u8], bool)> {
    let until = |text: &'static [u8]| {
        let end = pattern.text.iter().position(|byte| text.contains(byte));
        Some((&pattern.text[..end.unwrap_or(pattern.text.len())], end.is_none()))
    };
    match pattern.dialect {
        Dialect::Simple => until(b"*"),
        Dialect::Fnmatch => until(b"*?[\\"),
        Dialect::Regex if pattern.text.contains(&b'|') => None,
        Dialect::Regex => {
            let text = pattern.text.strip_prefix(b"^")?;
            let end = text.iter().position(|byte| b".+*?()|[]{}^$\\ #".contains(byte)).unwrap_or(text.len());
            // What comes before a repetition may be missing.
            let repeated = text.get(end).is_some_and(|byte| b"*?{".contains(byte));
            Some((&text[..end.saturating_sub(usize::from(repeated))], false))
        }
    }
}

/// Whether a line with a stamp of this kind can begin with these bytes.
fn can_begin(stamp: StampKind, (start, must_end): (&[u8], bool)) -> bool {
    stamp.can_begin_with(start) && !(must_end && start.len() < stamp.shape().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::logdir::stamp::Zone;

    #[test]
    fn patterns_that_cannot_match_stamped_lines_are_found() {
        let t = Some(StampKind::Tai64n);
        let iso = Some(StampKind::Iso(Zone::Local));
        let table = [
            (Dialect::Simple, "fatal*", t, true),
            (Dialect::Simple, "fatal*", None, false),
            (Dialect::Simple, "*fatal*", t, false),
            (Dialect::Simple, "", t, true),
            (Dialect::Simple, "@4*", t, false),
            (Dialect::Simple, "@4", t, true),
            (Dialect::Simple, "@4g*", t, true),
            (Dialect::Simple, "@400000000000000000000000 a", t, false),
            (Dialect::Fnmatch, "fatal*", t, true),
            (Dialect::Fnmatch, "?*", t, false),
            (Dialect::Fnmatch, "a\\", None, true),
            (Dialect::Regex, "^fatal", t, true),
            (Dialect::Regex, "^a?@", t, false),
            (Dialect::Regex, "^a|b", t, false),
            (Dialect::Regex, "^a*", t, false),
            (Dialect::Regex, "^ab*", t, true),
            (Dialect::Regex, "fatal", t, false),
            (Dialect::Simple, "2026-11-21T06:53:07.123456-01:00 *", iso, false),
            (Dialect::Simple, "2026-11-21 06:*", iso, true),
            (Dialect::Simple, "a\nb", None, true),
        ];
        for (dialect, text, stamp, expected) in table {
            let pattern = Pattern { dialect, scope: MatchScope::All, text: text.into() };
            assert_eq!(matches_none(&pattern, stamp).is_some(), expected, "{text}");
            let pattern = Pattern { scope: MatchScope::Text, ..pattern };
            assert_eq!(matches_none(&pattern, stamp).is_some(), matches_none(&pattern, None).is_some(), "{text}");
        }
    }
}
