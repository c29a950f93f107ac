//! What the user searches for. No I/O.
//!
//! svlog does not search each line by itself. It searches a block of many lines for the first place at which a line may
//! match, and looks only at the line there. The regular expression for blocks is made from the user's: it matches in
//! each line in which the user's does, and never across the end of a line. So the newline is taken out of all classes of
//! characters, as no line contains it. Anchors and the boundaries of words are left out, as a line in a block is not
//! the whole text, and has a stamp in front. Where that changes nothing, a match in the block is a match of the line.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Capture, Class, ClassBytesRange, ClassUnicodeRange, Hir, HirKind, Literal, Repetition};
use std::ops::Range;

/// A regular expression that is searched for in lines and in blocks of lines.
#[derive(Debug, Clone)]
pub struct Pattern {
    line: Regex,
    block: Option<Block>,
}

#[derive(Debug, Clone)]
struct Block {
    regex: Regex,
    /// Whether each match in a line, behind its stamp, is a match of the line.
    is_exact: bool,
}

/// A place in a block at which a line may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub at: usize,
    /// Whether the line matches if this place is not in its stamp.
    pub is_exact: bool,
}

impl Pattern {
    /// Compiles a pattern that matches bytes, not letters, as a log may be in any encoding.
    ///
    /// # Errors
    /// The text is not a regular expression, or too large a one.
    pub fn new(text: &str) -> Result<Pattern, regex::Error> {
        let line = RegexBuilder::new(text).unicode(false).build()?;
        Ok(Pattern { line, block: Block::new(text) })
    }

    /// Whether a line matches, of which this is the text behind the stamp.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.line.is_match(text)
    }

    /// All places in a text at which the pattern matches.
    pub fn matches(&self, text: &[u8]) -> impl Iterator<Item = Range<usize>> {
        self.line.find_iter(text).map(|found| found.range())
    }

    /// The first place in these lines at which a line may match. `None`: no line matches.
    pub fn find(&self, lines: &[u8]) -> Option<Place> {
        match &self.block {
            Some(block) => block.regex.find(lines).map(|found| Place { at: found.start(), is_exact: block.is_exact }),
            // Each line must be looked at.
            None => Some(Place { at: 0, is_exact: false }),
        }
    }
}

impl Block {
    fn new(text: &str) -> Option<Block> {
        let hir = ParserBuilder::new().unicode(false).utf8(false).build().parse(text).ok()?;
        let mut is_exact = true;
        let hir = within_lines(&hir, &mut is_exact);
        let regex = RegexBuilder::new(&hir.to_string()).build().ok()?;
        Some(Block { regex, is_exact })
    }
}

/// Removes newlines from an expression, and conditions on what is beside a place. `is_exact` becomes false if the
/// expression had such conditions.
fn within_lines(hir: &Hir, is_exact: &mut bool) -> Hir {
    match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(Literal(bytes)) if bytes.contains(&b'\n') => Hir::fail(),
        HirKind::Literal(Literal(bytes)) => Hir::literal(bytes.clone()),
        HirKind::Class(class) => Hir::class(without_newline(class.clone())),
        HirKind::Look(_) => {
            *is_exact = false;
            Hir::empty()
        }
        HirKind::Repetition(repetition) => {
            let sub = Box::new(within_lines(&repetition.sub, is_exact));
            Hir::repetition(Repetition { sub, ..repetition.clone() })
        }
        HirKind::Capture(capture) => {
            let sub = Box::new(within_lines(&capture.sub, is_exact));
            Hir::capture(Capture { sub, ..capture.clone() })
        }
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(|part| within_lines(part, is_exact)).collect()),
        HirKind::Alternation(parts) => {
            Hir::alternation(parts.iter().map(|part| within_lines(part, is_exact)).collect())
        }
    }
}

fn without_newline(class: Class) -> Class {
    let newline = [ClassBytesRange::new(b'\n', b'\n')];
    match class {
        Class::Bytes(mut bytes) => {
            bytes.difference(&regex_syntax::hir::ClassBytes::new(newline));
            Class::Bytes(bytes)
        }
        Class::Unicode(mut letters) => {
            let newline = [ClassUnicodeRange::new('\n', '\n')];
            letters.difference(&regex_syntax::hir::ClassUnicode::new(newline));
            Class::Unicode(letters)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memchr::memrchr;
    use proptest::prelude::*;

    /// The first line that matches, found line by line.
    fn one_by_one(pattern: &Pattern, lines: &[u8]) -> Option<usize> {
        lines.split_terminator_lines().position(|line| pattern.is_match(line))
    }

    /// The first line that matches, found by blocks.
    fn by_blocks(pattern: &Pattern, lines: &[u8]) -> Option<usize> {
        let mut start = 0;
        while let Some(place) = pattern.find(&lines[start..]).filter(|_| start < lines.len()) {
            let at = start + place.at;
            let begin = memrchr(b'\n', &lines[..at]).map_or(0, |newline| newline + 1);
            let end = begin + memchr::memchr(b'\n', &lines[begin..])?;
            let is_match = pattern.is_match(&lines[begin..end]);
            assert!(is_match || !place.is_exact, "{pattern:?} in {:?}", String::from_utf8_lossy(lines));
            if is_match {
                return Some(memchr::memchr_iter(b'\n', &lines[..begin]).count());
            }
            start = end + 1;
        }
        None
    }

    trait Lines {
        fn split_terminator_lines(&self) -> impl Iterator<Item = &[u8]>;
    }

    impl Lines for [u8] {
        fn split_terminator_lines(&self) -> impl Iterator<Item = &[u8]> {
            self.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
        }
    }

    #[test]
    fn what_is_found_in_a_block_is_what_is_found_line_by_line() {
        let lines = b"\na b\nab\n\xff\xc3\xa9\nerror: x\nERROR\n  b\nab ab\n";
        for text in [
            "",
            "a",
            "b$",
            "^b",
            r"^\s*b",
            "a b|b a",
            r"a\sb",
            r"a[^x]b",
            "(?s)b.a",
            "(?i)error",
            r"\berror\b",
            r"\Bb",
            r"^$",
            r"\xff",
            "a\nb",
            "[^a]",
            r"(?-u)\xff",
            r"(?:ab ?){2}",
            r"\z",
            r"(?m)^ab$",
            "nothing",
            "(a|b|)x",
            "é",
        ] {
            let pattern = Pattern::new(text).unwrap();
            assert!(pattern.block.is_some(), "{text}");
            assert_eq!(by_blocks(&pattern, lines), one_by_one(&pattern, lines), "{text}");
        }
    }

    #[test]
    fn a_match_in_a_block_is_one_of_a_line_unless_the_pattern_looks_at_what_is_beside() {
        for (text, expected) in [("ab", true), ("(?i)a[^b]", true), ("^ab", false), (r"ab\b", false), ("(a|b$)", false)]
        {
            assert_eq!(Pattern::new(text).unwrap().block.map(|block| block.is_exact), Some(expected), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn any_pattern_finds_in_blocks_what_it_finds_line_by_line(
            text in r"([ab\^$.|()*+?]|\[\^a\]|\\b|\\B|\\s|\(\?s\)|\(\?m\)|\\n|\(\?i\)){0,8}",
            lines in "[aAb \n]{0,30}\n",
        ) {
            let Ok(pattern) = Pattern::new(&text) else { return Ok(()) };
            prop_assert_eq!(by_blocks(&pattern, lines.as_bytes()), one_by_one(&pattern, lines.as_bytes()));
        }
    }
}
