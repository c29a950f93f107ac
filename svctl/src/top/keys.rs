//! The bytes that a terminal sends, as keys. No I/O.
//!
//! The key Escape is the first byte of what other keys send, so a lone ESC byte stays undecided until more comes, or until
//! [`Decoder::finish`] says that nothing does. A sequence that means nothing here is ignored as a whole.

/// A key that was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A character that can be shown.
    Char(char),
    /// Enter.
    Enter,
    /// Escape.
    Escape,
    /// Backspace.
    Backspace,
    /// Up, or ^P.
    Up,
    /// Down, or ^N.
    Down,
    /// Page up, or ^B.
    PageUp,
    /// Page down, or ^F.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
    /// ^L: the screen is drawn anew.
    Redraw,
    /// ^U: the line that is typed is emptied.
    Clear,
}

/// What has come and is no key yet.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
}

/// No sequence that means something is longer than this many bytes.
const LONGEST: usize = 32;

/// What stands at the beginning of the bytes.
enum Found {
    /// A key, or nothing that means one, of this many bytes.
    Whole(usize, Option<Key>),
    /// The beginning of something.
    Part,
}

impl Decoder {
    /// Takes in bytes, and returns the keys that are complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.pending.extend_from_slice(bytes);
        let mut keys = Vec::new();
        while !self.pending.is_empty() {
            match first(&self.pending) {
                Found::Whole(length, key) => {
                    keys.extend(key);
                    self.pending.drain(..length.clamp(1, self.pending.len()));
                }
                Found::Part => break,
            }
        }
        keys
    }

    /// Whether bytes have come that are no key yet.
    pub fn is_undecided(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Nothing more has come: a lone ESC was the key Escape, and what else is not complete is dropped.
    pub fn finish(&mut self) -> Option<Key> {
        let pending = std::mem::take(&mut self.pending);
        (pending == [ESC]).then_some(Key::Escape)
    }
}

const ESC: u8 = 0x1b;

fn first(bytes: &[u8]) -> Found {
    match bytes {
        [ESC, b'[', rest @ ..] => match rest.iter().position(|byte| (0x40..=0x7e).contains(byte)) {
            Some(end) => Found::Whole(end + 3, sequence(rest.get(..=end).unwrap_or_default())),
            None if bytes.len() < LONGEST => Found::Part,
            None => Found::Whole(bytes.len(), None),
        },
        [ESC, b'O', last, ..] => Found::Whole(3, sequence(&[*last])),
        [ESC] | [ESC, b'O'] => Found::Part,
        [ESC, ..] => Found::Whole(1, Some(Key::Escape)),
        [first @ 0x80..=0xff, ..] => character(bytes, *first),
        [first, ..] => Found::Whole(1, single(*first)),
        [] => Found::Part,
    }
}

fn single(byte: u8) -> Option<Key> {
    match byte {
        b'\r' | b'\n' => Some(Key::Enter),
        0x08 | 0x7f => Some(Key::Backspace),
        0x02 => Some(Key::PageUp),
        0x06 => Some(Key::PageDown),
        0x0c => Some(Key::Redraw),
        0x0e => Some(Key::Down),
        0x10 => Some(Key::Up),
        0x15 => Some(Key::Clear),
        b' '..=b'~' => Some(Key::Char(char::from(byte))),
        _ => None,
    }
}

/// What follows `ESC [` or `ESC O`.
fn sequence(rest: &[u8]) -> Option<Key> {
    match rest {
        b"A" => Some(Key::Up),
        b"B" => Some(Key::Down),
        b"H" | b"1~" | b"7~" => Some(Key::Home),
        b"F" | b"4~" | b"8~" => Some(Key::End),
        b"5~" => Some(Key::PageUp),
        b"6~" => Some(Key::PageDown),
        b"M" => Some(Key::Enter),
        _ => None,
    }
}

/// A character of more than one byte.
fn character(bytes: &[u8], first: u8) -> Found {
    let length = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Found::Whole(1, None),
    };
    let Some(whole) = bytes.get(..length) else {
        let is_possible = bytes.iter().skip(1).all(|byte| (0x80..0xc0).contains(byte));
        return if is_possible { Found::Part } else { Found::Whole(1, None) };
    };
    match std::str::from_utf8(whole).ok().and_then(|text| text.chars().next()) {
        Some(character) => Found::Whole(length, (!character.is_control()).then_some(Key::Char(character))),
        None => Found::Whole(1, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Key::*;

    #[test]
    fn what_a_terminal_sends_is_a_key() {
        for (bytes, keys) in [
            (&b"q"[..], &[Char('q')][..]),
            (b"\x1b[A\x1b[B", &[Up, Down]),
            (b"\x1bOA\x1bOB", &[Up, Down]),
            (b"\x1b[H\x1b[F\x1b[1~\x1b[4~\x1b[5~\x1b[6~", &[Home, End, Home, End, PageUp, PageDown]),
            (b"\r\n\x7f\x08", &[Enter, Enter, Backspace, Backspace]),
            (b"\x0c\x15\x0e\x10\x02\x06", &[Redraw, Clear, Down, Up, PageUp, PageDown]),
            ("ü日".as_bytes(), &[Char('ü'), Char('日')]),
            // What means nothing here is ignored as a whole: a mouse, an answer to a question, a pasted text's frame.
            (b"\x1b[<0;1;2Mq", &[Char('q')]),
            (b"\x1b[12;40Rq", &[Char('q')]),
            (b"\x1b[200~ab\x1b[201~", &[Char('a'), Char('b')]),
            (b"\t\x00\x01\x1f", &[]),
            // Not UTF-8, a control of C1, an overlong ESC.
            (b"\xff\xc2\x9b\xc0\x9ba", &[Char('a')]),
            (b"\x1bx", &[Escape, Char('x')]),
            (b"\x1b\x1b[A", &[Escape, Up]),
        ] {
            let mut decoder = Decoder::default();
            assert_eq!(decoder.push(bytes), keys, "{}", bytes.escape_ascii());
            assert!(!decoder.is_undecided(), "{}", bytes.escape_ascii());
            // The same, byte by byte.
            let slowly: Vec<Key> = bytes.iter().flat_map(|byte| decoder.push(&[*byte])).collect();
            assert_eq!(slowly, keys, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_lone_escape_is_the_key_once_nothing_follows() {
        let mut decoder = Decoder::default();
        assert_eq!((decoder.push(b"\x1b"), decoder.is_undecided()), (vec![], true));
        assert_eq!((decoder.finish(), decoder.is_undecided()), (Some(Escape), false));
        for part in [&b"\x1b["[..], b"\x1b[12", b"\x1bO", b"\xe6\x97"] {
            assert_eq!((decoder.push(part), decoder.is_undecided()), (vec![], true), "{}", part.escape_ascii());
            assert_eq!((decoder.finish(), decoder.is_undecided()), (None, false), "{}", part.escape_ascii());
        }
        // What is too long is no sequence.
        assert_eq!(decoder.push(&[b"\x1b[".as_slice(), &[b'1'; 100]].concat()), []);
        assert_eq!(decoder.push(b"q"), [Char('q')]);
    }
}
