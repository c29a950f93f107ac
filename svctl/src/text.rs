//! Text from outside, as it may be written to a terminal or typed into a shell.

use daemontools::terminal::visible;

/// A word as a shell reads it, to be typed again.
pub fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "_@%+:,./-".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Text from outside, as a terminal may have it.
pub fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(&visible(text)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_can_be_typed_again() {
        for (word, typed) in [
            ("web", "web"),
            ("/etc/a-b.c", "/etc/a-b.c"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("*", "'*'"),
        ] {
            assert_eq!(quoted(word), typed);
        }
    }
}
