//! The lines that the user asks for: by their time, and by what is in them. No I/O.

use crate::context::Around;
use crate::fields::Field;
use crate::level::AtLeast;
use crate::pattern::Pattern;
use daemontools::tai64::Tai64N;

/// The lines that the user asks for. All conditions must hold.
#[derive(Debug, Default, Clone)]
pub struct Selection {
    pub since: Option<Tai64N>,
    pub until: Option<Tai64N>,
    pub pattern: Option<Pattern>,
    /// Lines that match this pattern are left out.
    pub unwanted: Option<Pattern>,
    /// The fields that a line must have, all of them.
    pub fields: Vec<Field>,
    /// How grave a line must be.
    pub level: Option<AtLeast>,
    /// How many lines around those that match are shown.
    pub around: Around,
}

impl Selection {
    /// Whether the user asks only for lines of some time.
    pub fn has_bounds(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// Whether a time is later than all times that the user asks for.
    pub fn is_too_late(&self, time: Tai64N) -> bool {
        self.until.is_some_and(|until| time > until)
    }

    /// Whether the user asks for lines of this time.
    pub fn is_of_the_time(&self, time: Tai64N) -> bool {
        self.since.is_none_or(|since| time >= since) && !self.is_too_late(time)
    }

    /// All lines of the time that the user asks for.
    pub fn without_conditions(&self) -> Selection {
        Selection { since: self.since, until: self.until, ..Selection::default() }
    }

    /// Whether the user asks only for some of the lines of a time.
    pub fn has_conditions(&self) -> bool {
        self.pattern.is_some() || self.unwanted.is_some() || !self.fields.is_empty() || self.level.is_some()
    }

    /// What blocks of lines are searched for: where it finds nothing, no line is asked for. `None`: each line must be
    /// looked at.
    pub fn for_blocks(&self) -> Option<&Pattern> {
        let field = || self.fields.first().map(Field::for_blocks);
        self.pattern.as_ref().or_else(field).or_else(|| self.level.as_ref().map(AtLeast::for_blocks))
    }

    /// Whether the conditions hold for a line, of which this is the text behind the stamp. `is_found`: the search of
    /// the block has shown that the pattern matches, if there is one.
    pub fn is_match(&self, text: &[u8], is_found: bool) -> bool {
        (is_found || self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text)))
            && !self.unwanted.as_ref().is_some_and(|pattern| pattern.is_match(text))
            && self.fields.iter().all(|field| field.is_in(text))
            && self.level.as_ref().is_none_or(|level| level.is_match(text))
    }
}
