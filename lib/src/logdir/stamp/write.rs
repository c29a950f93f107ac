//! Makes the stamps in front of lines. The clock is read once for a batch of lines, and each line still gets a later
//! label than the line before, unless the clock was put back. The C library converts times to those of a time zone.

use super::{StampKind, Zone};
use crate::sys::localtime::{self, Calendar};
use crate::tai64::{self, Label, Tai64, Tai64N};
use std::io::Write;

/// The length of a stamp such as `@400000000000000a00000000 `, whose last eight digits are the nanoseconds.
const LABEL: usize = 26;

/// Makes stamps that rise strictly from line to line, as long as the clock does not fall.
pub struct Stamper {
    kind: StampKind,
    /// The time that the clock showed last.
    clock: Tai64N,
    /// The label of the next line.
    next: Tai64N,
    /// The label of the last line.
    last: Tai64N,
    /// The second for which `text` was made.
    second: Option<Tai64>,
    /// The stamp of that second. Only the fraction is still to be filled in.
    text: Vec<u8>,
    /// The position of the fraction in `text`, if it is decimal.
    fraction: usize,
}

impl Stamper {
    /// A stamper that has made no stamp yet.
    pub fn new(kind: StampKind) -> Stamper {
        let never = Tai64N(Tai64(0), 0);
        Stamper { kind, clock: never, next: never, last: never, second: None, text: Vec::new(), fraction: 0 }
    }

    /// Begins a batch of lines that was read at `now`. Each line's label is a nanosecond later than the one before, so
    /// labels can be later than `now` if lines come very fast. If the clock was put back, the stamps go back too,
    /// because they say when a line was read.
    pub fn batch(&mut self, now: Tai64N) {
        self.next = if now < self.clock { now } else { self.next.max(now) };
        self.clock = now;
    }

    /// Returns the moment of the last stamp.
    pub fn last(&self) -> Tai64N {
        self.last
    }

    /// Appends the stamp of the next line. As this is done for every line, it formats only the fraction of the second,
    /// and copies the usual kind of stamp without calling a function.
    #[inline(always)]
    pub fn put(&mut self, to: &mut Vec<u8>) {
        let Tai64N(second, nanos) = self.next;
        if self.second != Some(second) {
            self.begin_second(second);
        }
        self.last = self.next;
        self.next = tai64::next_nanosecond(self.next);
        let begin = to.len();
        match self.text.first_chunk::<LABEL>() {
            Some(label) if self.kind == StampKind::Tai64n => {
                to.extend_from_slice(label);
                to[begin + 17..begin + 25].copy_from_slice(&hex(nanos));
            }
            _ => self.put_other(nanos, to),
        }
    }

    fn put_other(&self, nanos: u32, to: &mut Vec<u8>) {
        let fraction = to.len() + self.fraction;
        to.extend_from_slice(&self.text);
        if self.kind != StampKind::None {
            write_decimal(nanos / 1000, &mut to[fraction..fraction + 6]);
        }
    }

    #[cold]
    fn begin_second(&mut self, second: Tai64) {
        self.second = Some(second);
        self.text.clear();
        let moment = Tai64N(second, 0);
        // Writing to a Vec cannot fail.
        let _ = match self.kind {
            StampKind::None => Ok(()),
            StampKind::Tai64n => write!(self.text, "{} ", Label(moment)),
            StampKind::Unix => write!(self.text, "{}.000000 ", second.to_unix()),
            StampKind::Iso(zone) => {
                write_iso(moment, zone, &mut self.text);
                write!(self.text, " ")
            }
        };
        self.fraction = self.text.iter().position(|byte| *byte == b'.').map_or(0, |point| point + 1);
    }
}

/// Appends a moment in the format of ISO 8601, with microseconds. A moment beyond the calendar gets the date and time
/// of the first second of 1970.
pub fn write_iso(Tai64N(seconds, nanos): Tai64N, zone: Zone, text: &mut Vec<u8>) {
    let first = Calendar { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, offset: 0 };
    let calendar = match zone {
        Zone::Utc => localtime::utc(seconds.to_unix()),
        Zone::Local => localtime::local(seconds.to_unix()),
    };
    let calendar = calendar.unwrap_or(first);
    let offset = match zone {
        Zone::Utc => "Z".into(),
        Zone::Local => calendar.offset_from_utc(),
    };
    // Writing to a Vec cannot fail.
    let _ = write!(text, "{}.{:06}{offset}", calendar.date_and_time('T'), nanos / 1000);
}

fn write_decimal(mut value: u32, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Formats eight hexadecimal digits at once: it spreads the nibbles over the bytes of a word, and makes each byte a
/// character. It must be fast, because it is done for every line.
fn hex(value: u32) -> [u8; 8] {
    let mut nibbles = u64::from(value);
    nibbles = (nibbles << 16 | nibbles) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles << 8 | nibbles) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles << 4 | nibbles) & 0x0f0f_0f0f_0f0f_0f0f;
    // This is one in each byte that is 10 or more, whose character is a letter.
    let letters = (nibbles + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    (nibbles + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, nanos: u32) -> Tai64N {
        Tai64N(Tai64(0x4000_0000_0000_000a + seconds), nanos)
    }

    fn stamp(stamper: &mut Stamper) -> Vec<u8> {
        let mut text = Vec::new();
        stamper.put(&mut text);
        text
    }

    #[test]
    fn labels_rise_by_a_nanosecond_and_across_seconds() {
        let mut stamper = Stamper::new(StampKind::Tai64n);
        stamper.batch(at(1, 999_999_999));
        assert_eq!(stamp(&mut stamper), b"@400000000000000b3b9ac9ff ");
        assert_eq!(stamp(&mut stamper), b"@400000000000000c00000000 ");
        assert_eq!(stamp(&mut stamper), b"@400000000000000c00000001 ");
    }

    #[test]
    fn hexadecimal_digits_are_those_of_the_library() {
        for value in [0, 9, 10, 0x89ab_cdef, 0x0123_4567, 0xffff_ffff, 0xa0b0_c0d0, 999_999_999] {
            assert_eq!(hex(value), *format!("{value:08x}").as_bytes());
        }
    }

    #[test]
    fn a_line_is_stamped_with_the_time_that_is_though_the_clock_was_put_back() {
        let mut stamper = Stamper::new(StampKind::Tai64n);
        stamper.batch(at(5, 7));
        stamp(&mut stamper);
        stamper.batch(at(1, 0));
        assert_eq!(stamp(&mut stamper), b"@400000000000000b00000000 ");
        assert_eq!(stamp(&mut stamper), b"@400000000000000b00000001 ");
        // The clock was not put back, but read again before it reached the labels of the lines before.
        stamper.batch(at(1, 0));
        assert_eq!(stamp(&mut stamper), b"@400000000000000b00000002 ");
        stamper.batch(at(1, 1));
        assert_eq!(stamp(&mut stamper), b"@400000000000000b00000003 ");
    }

    #[test]
    fn the_iso_stamp_has_microseconds_and_a_zone() {
        let mut stamper = Stamper::new(StampKind::Iso(Zone::Utc));
        stamper.batch(at(951_868_799, 999_999_999));
        assert_eq!(stamp(&mut stamper), b"2000-02-29T23:59:59.999999Z ");
        assert_eq!(stamp(&mut stamper), b"2000-03-01T00:00:00.000000Z ");
        stamper.batch(at(951_868_800, 12_345_678));
        assert_eq!(stamp(&mut stamper), b"2000-03-01T00:00:00.012345Z ");
    }

    #[test]
    fn beyond_all_calendars_lines_still_have_stamps() {
        let mut text = Vec::new();
        write_iso(Tai64N(Tai64(u64::MAX), 5000), Zone::Utc, &mut text);
        assert_eq!(text, b"1970-01-01T00:00:00.000005Z");
    }

    #[test]
    fn the_unix_stamp_has_microseconds() {
        let mut stamper = Stamper::new(StampKind::Unix);
        stamper.batch(at(1_400_000_000, 12_345_678));
        assert_eq!(stamp(&mut stamper), b"1400000000.012345 ");
    }
}
