//! What is to be written to a log directory, and how much its current file takes. No I/O.

use crate::steps::{Destinations, OUTPUT, SideOutput};

/// A file that lacks no more than this many bytes is full at the end of a line.
pub(super) const NEARLY_FULL: u64 = 2000;

/// Where in a line the input stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// At the beginning of a line.
    Fresh,
    /// In the middle of a long line, which goes to these places.
    Within(Destinations),
}

/// Whether there may be more input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// There may be more.
    Open,
    /// There is no more.
    Ended,
}

/// What is to be written to a log directory, and how much its current file takes.
#[derive(Debug, Default)]
pub struct Output {
    /// What is not written yet.
    pub pending: Vec<u8>,
    /// The size of the current file once everything is written.
    pub size: u64,
    /// The file is full at this many bytes.
    pub limit: u64,
}

/// What has an [`Output`]: a log directory, or the output itself.
pub trait HasOutput {
    /// The output.
    fn output(&self) -> &Output;
    /// The output, to add to it.
    fn output_mut(&mut self) -> &mut Output;
}

impl HasOutput for Output {
    fn output(&self) -> &Output {
        self
    }

    fn output_mut(&mut self) -> &mut Output {
        self
    }
}

impl Output {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        self.size += bytes.len() as u64;
    }

    pub(super) fn room(&self) -> usize {
        usize::try_from(self.limit.saturating_sub(self.size)).unwrap_or(usize::MAX)
    }

    pub(super) fn is_full(&self, line: Line) -> bool {
        is_full(self.size, self.limit, line)
    }
}

/// Whether a file of `size` bytes is to be replaced by a new one: at the end of a line a little early.
pub fn is_full(size: u64, limit: u64, line: Line) -> bool {
    let margin = if line == Line::Fresh { NEARLY_FULL } else { 0 };
    size > 0 && size + margin >= limit
}

pub(super) fn is_any_full(outputs: &[impl HasOutput]) -> bool {
    outputs.iter().any(|place| place.output().is_full(Line::Fresh))
}

pub(super) fn put(to: Destinations, bytes: &[u8], outputs: &mut [impl HasOutput], side: &mut SideOutput) {
    each(to, outputs, |_, output| output.add(bytes));
    if to & OUTPUT != 0 {
        side.lines.extend_from_slice(bytes);
    }
}

pub(super) fn each(set: Destinations, outputs: &mut [impl HasOutput], mut act: impl FnMut(usize, &mut Output)) {
    let chosen = outputs.iter_mut().enumerate().filter(|(number, _)| set >> number & 1 == 1);
    chosen.for_each(|(number, place)| act(number, place.output_mut()));
}
