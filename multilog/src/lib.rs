//! What multilog and tai64nlocal make of bytes, apart from where these come from and go to.

#![forbid(unsafe_code)]

pub mod calendar;
pub mod check;
pub mod dropped;
pub mod files;
pub mod journal;
pub mod limit;
pub mod losses;
pub mod pattern;
pub mod prefilter;
pub mod reach;
pub mod recovery;
pub mod retention;
pub mod router;
pub mod schedule;
pub mod script;
pub mod settings;
pub mod status_file;
pub mod steps;
pub mod syslog;
