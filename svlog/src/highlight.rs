//! Colours what matches in a line. No I/O.

use crate::pattern::Pattern;
use crate::style::Text;
use daemontools::terminal::visible;
use std::ops::Range;

/// The colour of a match, as grep has it: bold and red.
const ON: &[u8] = b"\x1b[1;31m";
const OFF: &[u8] = b"\x1b[0m";

/// Appends a text, with colours where the pattern matches.
pub fn put(output: &mut Vec<u8>, text: &[u8], pattern: &Pattern, form: Text) {
    let mut done = 0;
    for found in pattern.matches(text) {
        let Range { start, end } = whole_characters(text, found);
        let start = start.max(done);
        if start < end {
            put_part(output, &text[done..start], form);
            output.extend_from_slice(ON);
            put_part(output, &text[start..end], form);
            output.extend_from_slice(OFF);
            done = end;
        }
    }
    put_part(output, &text[done..], form);
}

fn put_part(output: &mut Vec<u8>, part: &[u8], form: Text) {
    match form {
        Text::Raw => output.extend_from_slice(part),
        Text::Visible => output.extend_from_slice(&visible(part)),
    }
}

/// The match with the whole of the characters of UTF-8 at its ends, as a pattern matches bytes. An empty match stays
/// empty.
fn whole_characters(text: &[u8], found: Range<usize>) -> Range<usize> {
    if found.is_empty() {
        return found;
    }
    let is_within = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let start = (0..=3).filter_map(|back| found.start.checked_sub(back)).find(|at| !is_within(*at));
    let end = (0..=3).map(|more| found.end + more).find(|at| !is_within(*at));
    start.unwrap_or(found.start)..end.unwrap_or(found.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &[u8], pattern: &str, form: Text) -> Vec<u8> {
        let mut output = Vec::new();
        put(&mut output, text, &Pattern::new(pattern).unwrap(), form);
        output
    }

    fn readable(shown: &[u8]) -> String {
        String::from_utf8_lossy(shown).replace("\x1b[1;31m", "<").replace("\x1b[0m", ">")
    }

    #[test]
    fn what_matches_is_coloured_in_whole_characters() {
        let table: [(&[u8], &str, &str); 11] = [
            (b"a b a", "a", "<a> b <a>"),
            (b"a b a", "x", "a b a"),
            (b"a b a", "x*", "a b a"),
            (b"aaa", "a", "<a><a><a>"),
            (b"aaa", "a+", "<aaa>"),
            (b"abc", "^a|c$", "<a>b<c>"),
            (b"", "a*", ""),
            ("gr\u{fc}n".as_bytes(), r"r.", "g<r\u{fc}>n"),
            ("gr\u{fc}n".as_bytes(), r"\xbc", "gr<\u{fc}>n"),
            ("\u{fc}\u{fc}".as_bytes(), ".", "<\u{fc}><\u{fc}>"),
            (b"\x1b[2J\xff", r"\x1b.|\xff", "<\\x1b[>2J<\\xff>"),
        ];
        for (text, pattern, expected) in table {
            assert_eq!(readable(&shown(text, pattern, Text::Visible)), expected, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn without_the_colours_the_text_is_unchanged(
            text in proptest::collection::vec(any::<u8>().prop_filter("no escape", |byte| *byte != 0x1b), 0..20),
            pattern in r"[\xc3-\xff]|.|\xc3.|[a-f]+|\W*",
        ) {
            let Ok(compiled) = Pattern::new(&pattern) else { return Ok(()) };
            let mut output = Vec::new();
            put(&mut output, &text, &compiled, Text::Raw);
            let mut rest = &output[..];
            let mut plain = Vec::new();
            while let Some(byte) = rest.first() {
                match rest.strip_prefix(ON).or_else(|| rest.strip_prefix(OFF)) {
                    Some(behind) => rest = behind,
                    None => {
                        plain.push(*byte);
                        rest = &rest[1..];
                    }
                }
            }
            prop_assert_eq!(plain, text);
        }
    }
}
