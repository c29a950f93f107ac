//! How lines are shown: what of them, with which colours. No I/O.

/// What is shown of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The time, the name of the service if there are several, and the text.
    Short,
    /// The same, with the time by RFC 3339.
    Iso,
    /// The stamp as it is in the file, and the text.
    Raw,
    /// An object.
    Json,
    /// Only the text.
    Cat,
}

/// What has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    None,
    Names,
    /// Names, and in the texts what matches.
    NamesAndMatches,
}

/// How lines are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    pub form: Form,
    pub colours: Colours,
    pub text: Text,
}

/// How svlog shows bytes that other accounts may have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// The bytes are shown unchanged.
    Raw,
    /// Control characters are escaped.
    Visible,
}
