//! Finds the lines that no pattern can match. What a pattern says literally is searched for in many lines at once,
//! which is many times faster than to look at each line. No I/O.

use crate::pattern::Matcher;
use memchr::memmem::Finder;

/// Finds the lines that a script's patterns have to be tried on.
#[derive(Debug)]
pub struct Prefilter {
    needles: Vec<Needle>,
}

#[derive(Debug)]
struct Needle {
    finder: Finder<'static>,
    /// Where the needle occurs next in the data, or the end of the data; none before the first search.
    next: Option<usize>,
}

impl Prefilter {
    /// Makes a prefilter for all patterns but `*`, if each of them has a text to be searched for.
    pub fn new<'a>(patterns: impl Iterator<Item = &'a Matcher>) -> Option<Prefilter> {
        let finder = |pattern: &Matcher| Some(Finder::new(pattern.needle()?).into_owned());
        let needle = |pattern| Some(Needle { finder: finder(pattern)?, next: None });
        let needles = patterns.filter(|pattern| !pattern.matches_all()).map(needle).collect::<Option<_>>()?;
        Some(Prefilter { needles })
    }

    /// Begins with other data.
    pub fn begin(&mut self) {
        self.needles.iter_mut().for_each(|needle| needle.next = None);
    }

    /// The end of the lines, from the beginning of a line at `from` on, that match no pattern but `*`.
    pub fn unmatched(&mut self, data: &[u8], from: usize) -> usize {
        let mut end = data.len();
        for needle in &mut self.needles {
            let next = match needle.next {
                Some(next) if next >= from => next,
                _ => needle.finder.find(&data[from..]).map_or(data.len(), |at| from + at),
            };
            needle.next = Some(next);
            end = end.min(next);
        }
        memchr::memrchr(b'\n', &data[from..end]).map_or(from, |newline| from + newline + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{Dialect, MatchScope, Pattern};
    use proptest::prelude::*;

    fn matcher(pattern: &str) -> Matcher {
        Matcher::new(&Pattern { dialect: Dialect::Simple, scope: MatchScope::All, text: pattern.into() }).unwrap()
    }

    fn unmatched(patterns: &[&str], data: &[u8]) -> Vec<usize> {
        let patterns: Vec<Matcher> = patterns.iter().map(|pattern| matcher(pattern)).collect();
        let mut filter = Prefilter::new(patterns.iter()).unwrap();
        let begins = memchr::memchr_iter(b'\n', data).map(|newline| newline + 1);
        [0].into_iter().chain(begins).map(|begin| filter.unmatched(data, begin)).collect()
    }

    #[test]
    fn whole_lines_before_the_first_that_may_match() {
        assert_eq!(unmatched(&["*one*", "*", "*two*"], b"x\ny\ntwo\nx\none\nx"), [4, 4, 4, 10, 10, 14]);
        assert_eq!(unmatched(&[], b"x\ny"), [2, 2]);
    }

    #[test]
    fn it_forgets_other_data() {
        let mut filter = Prefilter::new([matcher("*one*")].iter()).unwrap();
        assert_eq!(filter.unmatched(b"abc\n", 0), 4);
        filter.begin();
        assert_eq!(filter.unmatched(b"one\n", 0), 0);
    }

    #[test]
    fn a_pattern_that_a_stamp_may_match_has_to_be_tried() {
        for pattern in ["", "**", "*400*", "*: *", "*T*"] {
            assert!(Prefilter::new([matcher("*one*"), matcher(pattern)].iter()).is_none(), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_matches_is_passed_over(pattern in "[*ax ]{0,6}", line in "[*ax ]{0,9}") {
            let matcher = matcher(&pattern);
            if let Some(mut filter) = Prefilter::new([&matcher].into_iter()).filter(|_| !matcher.matches_all()) {
                for stamp in ["", "@4a ", "2000 12:00+01:00 ", "aa "] {
                    let matched = matcher.matches(format!("{stamp}{line}").as_bytes(), stamp.len());
                    filter.begin();
                    let passed = filter.unmatched(format!("{line}\n").as_bytes(), 0) > 0;
                    prop_assert!(!(matched && passed), "{} on {}", pattern, stamp);
                }
            }
        }
    }
}
