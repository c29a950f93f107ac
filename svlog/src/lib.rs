//! What svlog knows of lines and times, without I/O.

#![forbid(unsafe_code)]

pub mod bisect;
pub mod lines;
pub mod merge;
pub mod stamp;
pub mod tail;
pub mod when;
pub mod zone;
