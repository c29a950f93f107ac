//! Text from elsewhere, made safe for a terminal: nothing in it may control the terminal or deceive the reader. No I/O.
//!
//! A terminal does not only show characters. Some move the cursor, set the title, make the terminal send input as if
//! the user had typed it, or reverse the order of other characters. In text that services wrote, and in names that
//! others have chosen, such characters are written in a visible form:
//!
//! | character | shown as |
//! |---|---|
//! | U+0000 to U+001F but for the tab, U+007F | `\x1b` |
//! | a byte that is not part of UTF-8 | `\xff` |
//! | U+0080 to U+009F: the controls C1 | `\u009b` |
//! | U+2028, U+2029: line and paragraph separator | `\u2028` |
//! | U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069: the controls of bidirectional text | `\u202e` |
//!
//! A backslash in the text stays as it is, because this form is for people to read, not for programs to parse. The
//! terminal is assumed to use UTF-8.

use std::borrow::Cow;
use std::io::Write;

/// The text in a form that is safe for a terminal. A text without such characters is returned unchanged.
pub fn visible(text: &[u8]) -> Cow<'_, [u8]> {
    if is_harmless(text) {
        return Cow::Borrowed(text);
    }
    let mut shown = Vec::with_capacity(text.len() + text.len() / 4);
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            // Writing to a Vec cannot fail.
            let _ = match (commands(character), u32::from(character)) {
                (false, _) => write!(shown, "{character}"),
                (true, code @ ..0x80) => write!(shown, "\\x{code:02x}"),
                (true, code) => write!(shown, "\\u{code:04x}"),
            };
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    Cow::Owned(shown)
}

/// The text of a JSON document in a form that is safe for a terminal. It stays valid JSON: such characters occur only
/// within its strings, and are escaped there as JSON allows for any character.
pub fn visible_json(document: &str) -> Cow<'_, str> {
    if !document.contains(commands) {
        return Cow::Borrowed(document);
    }
    let spelled = |character: char| match commands(character) {
        true => format!("\\u{:04x}", u32::from(character)),
        false => character.to_string(),
    };
    Cow::Owned(document.chars().map(spelled).collect())
}

/// Whether the text certainly contains no such character. Ordinary text passes this check quickly.
fn is_harmless(text: &[u8]) -> bool {
    text.iter().all(|byte| (b' '..=b'~').contains(byte) || *byte == b'\t')
}

/// Whether the character has another effect on a terminal than to be shown.
fn commands(character: char) -> bool {
    match character {
        '\t' => false,
        '\u{2028}' | '\u{2029}' => true,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_commands_a_terminal_is_spelled_out() {
        for (text, shown) in [
            (&b""[..], ""),
            (b"plain text\twith a tab and a \\", "plain text\twith a tab and a \\"),
            ("gr\u{fc}\u{df}e \u{65e5}\u{672c} \u{1f600} \u{627}\u{644}".as_bytes(), "grüße 日本 😀 ال"),
            (b"\x1b[2J", "\\x1b[2J"),
            (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            (b"a\nb\r\x08\0\x7f", "a\\x0ab\\x0d\\x08\\x00\\x7f"),
            ("\u{80}\u{9b}31m\u{9f}\u{a0}".as_bytes(), "\\u0080\\u009b31m\\u009f\u{a0}"),
            (b"\x9b2J \xff \xc3", "\\x9b2J \\xff \\xc3"),
            // An overlong ESC and a surrogate are not valid UTF-8.
            (b"\xc0\x9b \xed\xa0\x80", "\\xc0\\x9b \\xed\\xa0\\x80"),
            ("a\u{2028}b\u{2029}".as_bytes(), "a\\u2028b\\u2029"),
            ("\u{202e}txt.exe\u{2066}\u{200f}\u{61c}".as_bytes(), "\\u202etxt.exe\\u2066\\u200f\\u061c"),
            // Some languages need the characters that join others.
            ("\u{200c}\u{200d}".as_bytes(), "\u{200c}\u{200d}"),
        ] {
            assert_eq!(String::from_utf8_lossy(&visible(text)), shown, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn json_stays_json() {
        let document = "{\"text\":\"\u{9b}2J\u{7f}\u{202e} gr\u{fc}n\"}";
        assert_eq!(visible_json(document), "{\"text\":\"\\u009b2J\\u007f\\u202e grün\"}");
        assert!(matches!(visible_json("{\"text\":\"\\u001b\"}"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn nothing_is_left_that_commands_a_terminal(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let shown = visible(&text);
            let shown = std::str::from_utf8(&shown).unwrap();
            prop_assert!(!shown.contains(commands));
            let again = visible(shown.as_bytes());
            prop_assert_eq!(again, shown.as_bytes());
        }

        #[test]
        fn harmless_text_is_the_same(text in "[ -~\tä-ü一-丁]{0,40}") {
            let shown = visible(text.as_bytes());
            prop_assert_eq!(shown, text.as_bytes());
        }
    }
}
