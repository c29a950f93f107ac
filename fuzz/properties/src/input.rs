//! Bytes of the fuzzer as a series of choices.

/// The rest of the input. At its end all further choices are zero.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// A number up to 65535.
    pub fn number(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()]))
    }

    /// Whether any input is left.
    pub fn has_more(&self) -> bool {
        !self.0.is_empty()
    }

    /// The bytes up to the next NUL, which is dropped.
    pub fn piece(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        let piece = &self.0[..end.unwrap_or(self.0.len())];
        self.0 = self.0.get(piece.len() + 1..).unwrap_or_default();
        piece
    }
}
