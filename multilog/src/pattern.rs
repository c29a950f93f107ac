//! The patterns of `+` and `-`. No I/O.

use daemontools::logdir::stamp::CHARACTERS;
use daemontools::sys::fnmatch::fnmatch;
use regex::bytes::{Regex, RegexBuilder};

/// How the patterns that follow are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Patterns as daemontools has them.
    Simple,
    /// `F`: patterns of fnmatch(3).
    Fnmatch,
    /// `R`: regular expressions, which may match anywhere in a line.
    Regex,
}

/// Which part of a line the patterns that follow are matched against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchScope {
    /// The stamp of the line and its text.
    All,
    /// `x`: its text alone.
    Text,
}

/// What `+` and `-` look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// How the pattern is read.
    pub dialect: Dialect,
    /// Which part of a line the pattern is matched against.
    pub scope: MatchScope,
    /// The pattern as the script has it.
    pub text: Vec<u8>,
}

/// How many bytes of memory a regular expression may take; one that needs more is refused.
const MOST_MEMORY: usize = 256 * 1024;

/// A pattern, ready to be matched.
#[derive(Debug)]
pub struct Matcher {
    kind: Kind,
    scope: MatchScope,
    matches_all: bool,
}

#[derive(Debug)]
enum Kind {
    Simple(Vec<u8>),
    Fnmatch(Vec<u8>),
    Regex(Box<Regex>),
}

impl Matcher {
    /// Makes a pattern ready.
    ///
    /// # Errors
    /// A few words say what is wrong with a regular expression.
    pub fn new(pattern: &Pattern) -> Result<Matcher, String> {
        let kind = match pattern.dialect {
            Dialect::Simple => Kind::Simple(pattern.text.clone()),
            Dialect::Fnmatch => Kind::Fnmatch(pattern.text.clone()),
            Dialect::Regex => Kind::Regex(Box::new(regex(&pattern.text)?)),
        };
        Ok(Matcher { kind, scope: pattern.scope, matches_all: matches_all(pattern) })
    }

    /// Whether the pattern matches every line.
    pub fn matches_all(&self) -> bool {
        self.matches_all
    }

    /// A text that every matching line has behind its stamp; none if there may be no such text.
    pub fn needle(&self) -> Option<&[u8]> {
        let Kind::Simple(pattern) = &self.kind else { return None };
        pattern.split(|byte| *byte == b'*').filter_map(behind_stamp).max_by_key(|part| part.len())
    }

    /// Whether the pattern matches a line whose stamp has `stamp` bytes.
    pub fn matches(&self, line: &[u8], stamp: usize) -> bool {
        let line = match self.scope {
            MatchScope::All => line,
            MatchScope::Text => &line[stamp..],
        };
        match &self.kind {
            Kind::Simple(pattern) => matches(pattern, line),
            Kind::Fnmatch(pattern) => fnmatch(pattern, line),
            Kind::Regex(regex) => regex.is_match(line),
        }
    }
}

/// Whether a pattern plainly matches every line.
pub fn matches_all(pattern: &Pattern) -> bool {
    match pattern.dialect {
        Dialect::Simple => pattern.text == b"*",
        Dialect::Fnmatch => !pattern.text.is_empty() && pattern.text.iter().all(|byte| *byte == b'*'),
        Dialect::Regex => matches!(&pattern.text[..], b"" | b"^" | b"$" | b".*" | b"^.*" | b".*$" | b"^.*$"),
    }
}

/// The rest of `part` that cannot lie in a stamp, nor begin there, if `part` is in a stamped line: a stamp ends in a
/// space and has no others of these characters.
fn behind_stamp(part: &[u8]) -> Option<&[u8]> {
    let foreign = part.iter().position(|byte| !CHARACTERS.contains(byte))?;
    let space = part[..foreign].iter().rposition(|byte| *byte == b' ');
    Some(&part[space.map_or(0, |at| at + 1)..])
}

/// Regular expressions match bytes, not characters, as multilog contains no tables of Unicode. Bytes that are not UTF-8
/// stand for themselves.
fn regex(text: &[u8]) -> Result<Regex, String> {
    let text: String = text.utf8_chunks().map(|chunk| chunk.valid().to_string() + &escaped(chunk.invalid())).collect();
    let built = RegexBuilder::new(&text).unicode(false).size_limit(MOST_MEMORY).dfa_size_limit(MOST_MEMORY).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it takes too much memory".to_string(),
        // The error has several lines, and the last one says the reason.
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_string()
        }
    })
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// Whether `pattern` matches the whole of `line`, in daemontools' own way: `*` stands for everything up
/// to the first occurrence of the character after it, and never goes back to look for another one. At
/// the end of a pattern it stands for all the rest.
///
/// Source: daemontools 0.76; so `**` first looks for a star.
pub fn matches(pattern: &[u8], line: &[u8]) -> bool {
    let (mut pattern, mut line) = (pattern, line);
    loop {
        match (pattern, line) {
            ([], []) => return true,
            ([b'*'], _) => return true,
            ([b'*', next, ..], _) => match memchr::memchr(*next, line) {
                Some(at) => (pattern, line) = (&pattern[1..], &line[at..]),
                None => return false,
            },
            ([wanted, rest @ ..], [found, after @ ..]) if wanted == found => (pattern, line) = (rest, after),
            _ => return false,
        }
    }
}

/// A line that does not match, though it would if each `*` stood for whatever fits: a `*` stops at the first of the
/// character after it. None where no `*` is followed by what may begin too early, or where a blank follows: to stop
/// at the first blank is what counts words, `* * fatal: *`.
pub fn stops_too_early(pattern: &[u8]) -> Option<(u8, Vec<u8>)> {
    let parts: Vec<&[u8]> = pattern.split(|byte| *byte == b'*').collect();
    let is_last = |number: usize| number + 1 == parts.len();
    let may_miss = |number: usize, part: &[u8]| match part {
        [] | [b' ' | b'\t', ..] => false,
        // Wherever the star stops, the next star takes the rest.
        [_] => is_last(number),
        [_, _, ..] => true,
    };
    let (number, part) = parts.iter().enumerate().skip(1).find(|(number, part)| may_miss(*number, part))?;
    let first = *part.first()?;
    // What follows the first of the character is not to go on as the pattern does.
    let lines = [&b" "[..], b"", b"-", b"."].into_iter().map(|between| {
        let (before, after) = (parts.get(..number).unwrap_or_default(), parts.get(number..).unwrap_or_default());
        [&before.concat()[..], &[first], between, &after.concat()].concat()
    });
    lines.into_iter().find(|line| !matches(pattern, line)).map(|line| (first, line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What most people take a star for.
    fn is_like(pattern: &[u8], line: &[u8]) -> bool {
        match (pattern, line) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=line.len()).any(|at| is_like(rest, &line[at..])),
            ([wanted, rest @ ..], [found, after @ ..]) => wanted == found && is_like(rest, after),
            _ => false,
        }
    }

    #[test]
    fn a_star_that_stops_too_early_is_shown_by_a_line() {
        let table: [(&str, Option<&str>); 11] = [
            ("*fatal*", Some("f fatal")),
            ("* * fatal: *", None),
            ("* fatal: *", None),
            ("@*", None),
            ("*", None),
            ("exact", None),
            ("*x*", None),
            ("*.", Some(". .")),
            ("a*bc*d*", Some("ab bcd")),
            ("*f x*", Some("f f x")),
            ("**", None),
        ];
        for (pattern, line) in table {
            let found = stops_too_early(pattern.as_bytes()).map(|(_, line)| String::from_utf8(line).unwrap());
            assert_eq!(found.as_deref(), line, "{pattern}");
        }
    }

    #[test]
    fn as_the_original_matches() {
        let table: [(&str, &str, bool); 12] = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "abcc", false),
            ("*c", "acc", false),
            ("* fatal: *", "@4000 fatal: x", true),
            ("**", "ab", false),
            ("**", "a*b", true),
            ("a", "ab", false),
        ];
        for (pattern, line, expected) in table {
            assert_eq!(matches(pattern.as_bytes(), line.as_bytes()), expected, "{pattern} on {line}");
        }
    }

    #[test]
    fn patterns_that_match_everything_are_known() {
        for (dialect, text) in [(Dialect::Simple, "*"), (Dialect::Fnmatch, "**"), (Dialect::Regex, ".*")] {
            let pattern = Pattern { dialect, scope: MatchScope::All, text: text.into() };
            assert!(matches_all(&pattern), "{text}");
        }
        assert!(!matches_all(&Pattern { dialect: Dialect::Simple, scope: MatchScope::All, text: b"**".to_vec() }));
    }

    #[test]
    fn what_a_pattern_says_is_searched_for_where_no_stamp_can_have_it() {
        let table: [(&str, Option<&str>); 9] = [
            ("*debug*", Some("debug")),
            ("* fatal: *", Some("fatal: ")),
            ("a b c x y*", Some("x y")),
            ("*error*warning*", Some("warning")),
            ("**d*u*", Some("u")),
            ("exact", Some("exact")),
            ("*400*", None),
            ("* *", None),
            ("", None),
        ];
        for (pattern, expected) in table {
            let pattern = Pattern { dialect: Dialect::Simple, scope: MatchScope::All, text: pattern.into() };
            assert_eq!(Matcher::new(&pattern).unwrap().needle(), expected.map(str::as_bytes), "{expected:?}");
        }
    }

    fn regex_matches(pattern: &[u8], line: &[u8]) -> bool {
        let pattern = Pattern { dialect: Dialect::Regex, scope: MatchScope::All, text: pattern.to_vec() };
        Matcher::new(&pattern).unwrap().matches(line, 0)
    }

    #[test]
    fn regular_expressions_are_searched_for_in_bytes() {
        let table: [(&[u8], &[u8], bool); 10] = [
            (b"", b"", true),
            (b"err(or)?:", b"an err: here", true),
            (b"^err", b"an err", false),
            (b"[0-9]{3}$", b"HTTP 404", true),
            (b"(?i)FATAL", b"fatal", true),
            (b"a.c", b"a\xffc", true),
            (b"a\0c", b"a\0c", true),
            (b"\xff+$", b"\xff\xff", true),
            ("é$".as_bytes(), "café".as_bytes(), true),
            (b"\\w\\d\\s", b"a1 ", true),
        ];
        for (pattern, line, expected) in table {
            assert_eq!(regex_matches(pattern, line), expected, "{}", pattern.escape_ascii());
        }
    }

    #[test]
    fn what_is_wrong_with_a_regular_expression_is_said_in_a_few_words() {
        let table = [("a(", "unclosed group"), ("*", "repetition operator missing expression")];
        for (text, expected) in table {
            assert_eq!(regex(text.as_bytes()).unwrap_err(), expected);
        }
        assert_eq!(regex(b"((a{99}){99}){99}").unwrap_err(), "it takes too much memory");
    }

    #[test]
    fn a_pattern_may_leave_out_the_stamp() {
        for (scope, line) in [(MatchScope::All, "12 ab"), (MatchScope::Text, "ab")] {
            let text = line.as_bytes().to_vec();
            let pattern = Matcher::new(&Pattern { dialect: Dialect::Simple, scope, text }).unwrap();
            assert!(pattern.matches(b"12 ab", 3));
        }
    }

    proptest! {
        #[test]
        fn a_line_that_is_missed_looks_like_the_pattern(pattern in "[ab *]{0,7}") {
            if let Some((_, line)) = stops_too_early(pattern.as_bytes()) {
                prop_assert!(!matches(pattern.as_bytes(), &line) && is_like(pattern.as_bytes(), &line));
            }
        }

        /// Patterns that are not warned of find what they seem to, in lines without blanks.
        #[test]
        fn what_is_not_shown_misses_nothing(pattern in "[ab*]{0,7}", line in "[ab]{0,9}") {
            if stops_too_early(pattern.as_bytes()).is_none() && !pattern.contains("**") {
                prop_assert_eq!(matches(pattern.as_bytes(), line.as_bytes()), is_like(pattern.as_bytes(), line.as_bytes()));
            }
        }

        #[test]
        fn without_a_star_it_is_equality(pattern in "[a-c]{0,4}", line in "[a-c]{0,4}") {
            prop_assert_eq!(matches(pattern.as_bytes(), line.as_bytes()), pattern == line);
        }

        #[test]
        fn a_star_at_the_end_takes_every_rest(start in "[a-c]{0,4}", rest in "[a-c]{0,9}") {
            let (pattern, line) = (format!("{start}*"), format!("{start}{rest}"));
            prop_assert!(matches(pattern.as_bytes(), line.as_bytes()));
        }
    }
}
