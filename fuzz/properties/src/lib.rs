//! What must hold for any bytes from outside. Each function takes bytes and panics if its property does not hold. The
//! fuzz targets call these functions, and so does a test that needs no fuzzer.

#![forbid(unsafe_code)]

mod control;
mod envdir;
mod input;
mod journal;
mod notify;
mod pattern;
mod recovery;
mod retention;
mod route;
mod schedule;
mod script;
mod settings;
mod state;
mod status;
mod svlog;
mod tai64nlocal;

/// A property, with the name that its fuzz target and its corpus have.
pub type Property = (&'static str, fn(&[u8]));

/// All properties.
pub const ALL: [Property; 15] = [
    ("control", control::obeyed),
    ("envdir", envdir::value),
    ("journal", journal::nothing_lost),
    ("notify", notify::datagram),
    ("pattern", pattern::as_the_reference),
    ("recovery", recovery::no_line_lost),
    ("retention", retention::within_limits),
    ("route", route::bytes_unchanged),
    ("schedule", schedule::ahead),
    ("script", script::in_range),
    ("settings", settings::in_range),
    ("state", state::read_as_written),
    ("status", status::read_as_written),
    ("svlog", svlog::lines_and_times),
    ("tai64nlocal", tai64nlocal::labels_only),
];

/// Checks the property of this name.
///
/// # Panics
/// The property does not hold, or there is none of this name.
pub fn check(name: &str, data: &[u8]) {
    let property = ALL.into_iter().find(|(known, _)| *known == name);
    assert!(property.is_some(), "no property {name}");
    property.iter().for_each(|(_, property)| property(data));
}
