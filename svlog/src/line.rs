//! A line of a log, as it is shown.

use daemontools::tai64::{Tai64, Tai64N};

/// A line, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The time in the line's stamp, or else that of the line before it, or of its file.
    pub time: Tai64N,
    /// The stamp in front of the text, with its blank; empty if the line has none.
    pub stamp: &'a [u8],
    /// The text behind the stamp, without the newline.
    pub text: &'a [u8],
    /// Whether the line begins, and ends, with this piece.
    pub begins: bool,
    pub ends: bool,
    /// Why the line is shown.
    pub role: Role,
    /// Whether lines of this log were left out between this line and the one that was shown before. It is said only if
    /// lines around matches are shown.
    pub gap: bool,
}

/// A line without a text.
impl Default for Line<'_> {
    fn default() -> Self {
        let time = Tai64N(Tai64(0), 0);
        Line { time, stamp: b"", text: b"", begins: true, ends: true, role: Role::Match, gap: false }
    }
}

/// Why a line is shown.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It was asked for.
    #[default]
    Match,
    /// It is one of the lines before one that was asked for.
    Before,
    /// It is one of the lines after.
    After,
}
