//! Words that were misspelt. No I/O.

use crate::Help;

/// Whether one word becomes the other when one character is inserted, removed or replaced, or two neighbours are
/// exchanged.
pub fn is_one_edit_away(one: &[u8], other: &[u8]) -> bool {
    let begin = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    match (&one[begin..], &other[begin..]) {
        ([_, one @ ..], other) | (other, [_, one @ ..]) if one == other => true,
        ([_, one @ ..], [_, other @ ..]) if one == other => true,
        ([a, b, one @ ..], [c, d, other @ ..]) => (a, b) == (d, c) && one == other,
        _ => false,
    }
}

/// The words that a message has behind the name of a long option that the program does not know: which option of `help`
/// the user probably meant, or, for `--help` and `--version`, that the option must be the first argument. The words are
/// empty if no option of `help` resembles it.
pub fn for_long_option(option: &str, help: Option<Help>) -> String {
    if ["--help", "--version"].contains(&option) {
        return ": it must be the first argument".into();
    }
    let texts = help.map(|help| [help.usage, help.text]).into_iter().flatten();
    let is_separator = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-';
    let mut known = texts.flat_map(|text| text.split(is_separator)).chain(["--help", "--version"]);
    let is_meant = |known: &&str| {
        let is_beginning = known.len() > option.len() && known.starts_with(option);
        known.len() > 2
            && known.starts_with("--")
            && (is_beginning || is_one_edit_away(known.as_bytes(), option.as_bytes()))
    };
    known.find(is_meant).map_or(String::new(), |known| format!(": did you mean {known}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_edit_is_told_from_none_and_from_two() {
        let table = [
            ("abc", "abcd", true),
            ("abc", "bc", true),
            ("abc", "axc", true),
            ("abc", "acb", true),
            ("a", "", true),
            ("aab", "ab", true),
            ("abc", "abc", false),
            ("", "", false),
            ("abc", "cba", false),
            ("abc", "abcde", false),
            ("abcd", "axcy", false),
            ("abcd", "badc", false),
        ];
        for (one, other, expected) in table {
            let there = is_one_edit_away(one.as_bytes(), other.as_bytes());
            let back = is_one_edit_away(other.as_bytes(), one.as_bytes());
            assert_eq!((there, back), (expected, expected), "{one} {other}");
        }
    }

    #[test]
    fn a_long_option_that_is_none_is_told_which_was_meant() {
        let help = Help { usage: "prog: usage: prog [ --grep pattern ] dir", text: "  -T, --timeout TIME  wait\n" };
        for (option, words) in [
            ("--greep", ": did you mean --grep?"),
            ("--timeot", ": did you mean --timeout?"),
            ("--time", ": did you mean --timeout?"),
            ("--hlep", ": did you mean --help?"),
            ("--help", ": it must be the first argument"),
            ("--version", ": it must be the first argument"),
            ("--now", ""),
            ("--prog", ""),
        ] {
            assert_eq!(for_long_option(option, Some(help)), words, "{option}");
        }
        assert_eq!(for_long_option("--greep", None), "");
    }
}
