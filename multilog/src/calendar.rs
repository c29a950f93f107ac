//! TAI64N labels at the beginning of lines, shown as dates and times: no I/O.

use daemontools::tai64::{self, DIGITS};
use std::ops::RangeInclusive;

/// The length of a label: `@` and its digits.
const LABEL: usize = 1 + DIGITS;

/// The place in a line that the input has reached.
enum LinePosition {
    /// Within what may be a label; this much of it was read.
    Label(Vec<u8>),
    /// Behind the label, or in a line that has none.
    Text,
}

/// Reads lines in pieces of any size.
pub struct Reader<Local> {
    place: LinePosition,
    /// The output, in which labels are shown as dates. The caller writes and clears it.
    pub output: Vec<u8>,
    /// Writes a second since 1970 as date and time.
    local: Local,
    /// The text of the last label's minute, as most labels share it with the label before.
    known: NamedSeconds,
}

/// Seconds whose names differ in their last two digits alone.
struct NamedSeconds {
    /// The name of these seconds, but for the last two digits; empty as long as nothing is known.
    name: Vec<u8>,
    seconds: RangeInclusive<i64>,
    /// Whether the seconds are a whole minute, from 00 to 59.
    is_minute: bool,
}

impl<Local: Fn(i64) -> Option<Vec<u8>>> Reader<Local> {
    /// Makes a reader that is at the beginning of a line. `local` names a second since 1970, if it has a name.
    pub fn new(local: Local) -> Self {
        Reader {
            place: LinePosition::Label(Vec::new()),
            output: Vec::new(),
            local,
            known: NamedSeconds { name: Vec::new(), seconds: 0..=0, is_minute: false },
        }
    }

    /// Reads the next piece of the input.
    pub fn take(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            data = match &mut self.place {
                LinePosition::Text => {
                    let end = memchr::memchr(b'\n', data).map_or(data.len(), |at| at + 1);
                    self.output.extend_from_slice(&data[..end]);
                    if data[..end].ends_with(b"\n") {
                        self.place = LinePosition::Label(Vec::new());
                    }
                    &data[end..]
                }
                LinePosition::Label(label) if label.is_empty() && data.len() > LABEL && !is_digit(data[LABEL]) => {
                    self.place = LinePosition::Text;
                    if self.show(&data[..LABEL]) { &data[LABEL..] } else { data }
                }
                LinePosition::Label(label) => {
                    let belongs = match label.first() {
                        None => data[0] == b'@',
                        Some(_) => is_digit(data[0]) && label.len() <= LABEL,
                    };
                    if belongs {
                        label.push(data[0]);
                        &data[1..]
                    } else {
                        self.end();
                        data
                    }
                }
            };
        }
    }

    /// Ends the input, and with it a label that is not complete.
    pub fn end(&mut self) {
        if let LinePosition::Label(label) = std::mem::replace(&mut self.place, LinePosition::Text)
            && !self.show(&label)
        {
            self.output.extend(label);
        }
    }

    /// Writes the time that a label says; returns false if the bytes are no label.
    fn show(&mut self, label: &[u8]) -> bool {
        let Some((second, nanos)) = parse(label) else { return false };
        if !self.known.seconds.contains(&second) || self.known.name.is_empty() {
            match NamedSeconds::about(second, &self.local) {
                Some(known) => self.known = known,
                None => return false,
            }
        }
        self.known.write(second, &mut self.output);
        let mut fraction = *b".000000000";
        let mut rest = nanos;
        for digit in fraction[1..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.output.extend_from_slice(&fraction);
        true
    }
}

impl NamedSeconds {
    /// The names of all seconds of a minute, unless the clocks are changed within it.
    fn about(second: i64, local: impl Fn(i64) -> Option<Vec<u8>>) -> Option<NamedSeconds> {
        let name = local(second)?;
        let (minute, digits) = split(&name);
        if let Some(digits) = digits.filter(|digits| *digits < 60) {
            let first = second.saturating_sub(i64::from(digits));
            let is_whole = [0u8, 59].into_iter().all(|digits| {
                local(first.saturating_add(i64::from(digits)))
                    .is_some_and(|other| split(&other) == (minute, Some(digits)))
            });
            if is_whole {
                return Some(NamedSeconds { seconds: first..=first + 59, is_minute: true, name });
            }
        }
        Some(NamedSeconds { seconds: second..=second, is_minute: false, name })
    }

    fn write(&self, second: i64, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.name);
        if self.is_minute {
            let digits = (second - self.seconds.start()) as u8;
            let at = output.len() - 2;
            output[at..].copy_from_slice(&[b'0' + digits / 10, b'0' + digits % 10]);
        }
    }
}

/// Splits a name into what precedes its last two digits, and these digits.
fn split(name: &[u8]) -> (&[u8], Option<u8>) {
    match name {
        [minute @ .., tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => (minute, Some((tens - b'0') * 10 + ones - b'0')),
        _ => (name, None),
    }
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// A label as a second since 1970 and nanoseconds.
fn parse(label: &[u8]) -> Option<(i64, u32)> {
    let label = tai64::parse_lower_case(label)?;
    (label.1 <= 999_999_999).then_some((tai64::unix_second(label)?, label.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let mut reader = Reader::new(|second: i64| (second < 1000).then(|| format!("[{second}]").into_bytes()));
        pieces.iter().for_each(|piece| reader.take(piece));
        reader.end();
        String::from_utf8_lossy(&reader.output).into_owned()
    }

    #[test]
    fn labels_at_the_beginning_of_lines_are_shown() {
        let line = "@400000000000000b000001f4 x @400000000000000b000001f4\n";
        assert_eq!(shown(&[line.as_bytes()]), "[1].000000500 x @400000000000000b000001f4\n");
    }

    #[test]
    fn a_minute_is_asked_for_once_unless_clocks_are_changed_in_it() {
        let asked = std::cell::Cell::new(0);
        let shown = |seconds: &[u64], change: i64| {
            asked.set(0);
            let mut reader = Reader::new(|second: i64| {
                asked.set(asked.get() + 1);
                let wall = if second >= change { second + 7 } else { second };
                Some(format!("{:02}:{:02}", wall / 60, wall % 60).into_bytes())
            });
            seconds
                .iter()
                .for_each(|second| reader.take(format!("@{:016x}00000001 \n", second + (1 << 62) + 10).as_bytes()));
            (String::from_utf8(reader.output).unwrap().replace(".000000001 \n", " "), asked.get())
        };
        assert_eq!(shown(&[65, 119, 60, 120, 59], i64::MAX), ("01:05 01:59 01:00 02:00 00:59 ".into(), 9));
        assert_eq!(shown(&[65, 119, 113, 112, 120], 113).0, "01:05 02:06 02:00 01:52 02:07 ");
    }

    #[test]
    fn what_is_no_label_is_left() {
        for line in [
            "@",
            "@\n",
            "@40\n",
            "@400000000000000b000001f40 x",
            "@400000000000000B000001F4 x",
            "@40000000000000 b000001f4 x",
            "@4fffffffffffffff00000000\n",
            "@400000000000000bffffffff ",
        ] {
            assert_eq!(shown(&[line.as_bytes()]), line);
        }
    }

    proptest! {
        #[test]
        fn cutting_the_input_changes_nothing(text in "(@400000000000000[0-9b]000001f4|[@0-9a-f x\n]){0,9}", at in 0usize..99) {
            let at = at.min(text.len());
            prop_assert_eq!(shown(&[&text.as_bytes()[..at], &text.as_bytes()[at..]]), shown(&[text.as_bytes()]));
        }
    }
}
