//! The stamps in front of lines: their kinds, and what each kind looks like. The module [`write`](mod@write) makes
//! stamps, and the module [`read`] parses them.

pub mod read;
pub mod write;

/// What multilog puts in front of each line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StampKind {
    /// Lines have no stamp.
    None,
    /// `t`: `@`, 24 digits, a blank.
    Tai64n,
    /// `T`: seconds since 1970, a point, microseconds, a blank.
    Unix,
    /// `I`, `L`: date and time to microseconds as ISO 8601 has it, a blank.
    Iso(Zone),
}

/// The time zone in which a stamp shows a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// Coordinated Universal Time.
    Utc,
    /// The time zone that $TZ names.
    Local,
}

/// The length in bytes of the longest stamp, its blank included.
pub const LONGEST: usize = 40;

/// The characters of which stamps are made. The blank is always the last one of a stamp.
pub const CHARACTERS: &[u8] = b"@0123456789abcdef:+-.TZ ";

impl StampKind {
    /// What each stamp of this kind looks like: `0` stands for any digit, `x` for a hexadecimal one, `+` for either
    /// sign, and all else for itself.
    pub fn shape(self) -> &'static [u8] {
        match self {
            StampKind::None => b"",
            StampKind::Tai64n => b"@xxxxxxxxxxxxxxxxxxxxxxxx ",
            // Seconds have ten digits until the year 2286.
            StampKind::Unix => b"0000000000.000000 ",
            StampKind::Iso(Zone::Utc) => b"0000-00-00T00:00:00.000000Z ",
            StampKind::Iso(Zone::Local) => b"0000-00-00T00:00:00.000000+00:00 ",
        }
    }

    /// Whether a line that begins with a stamp of this kind can begin with `start`. Bytes of `start` behind the stamp
    /// are ignored.
    pub fn can_begin_with(self, start: &[u8]) -> bool {
        self.shape().iter().zip(start).all(|(shape, byte)| match shape {
            b'x' => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
            b'0' => byte.is_ascii_digit(),
            b'+' => matches!(byte, b'+' | b'-'),
            other => byte == other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::write::Stamper;
    use super::*;
    use crate::tai64::{Tai64, Tai64N};

    #[test]
    fn each_stamp_has_the_shape_of_its_kind() {
        let zones = [Zone::Utc, Zone::Local];
        for kind in [StampKind::None, StampKind::Tai64n, StampKind::Unix].into_iter().chain(zones.map(StampKind::Iso)) {
            let (mut stamper, mut stamp) = (Stamper::new(kind), Vec::new());
            stamper.batch(Tai64N(Tai64::from_unix(1_795_243_987), 123_456_789));
            stamper.put(&mut stamp);
            assert_eq!(stamp.len(), kind.shape().len(), "{kind:?}");
            assert!(kind.can_begin_with(&stamp) && stamp.len() <= LONGEST, "{kind:?}");
            assert!(stamp.iter().all(|byte| CHARACTERS.contains(byte)), "{kind:?}");
            assert!(!stamp.iter().rev().skip(1).any(|byte| *byte == b' '), "{kind:?}");
        }
    }
}
