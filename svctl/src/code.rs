//! The exit codes of svctl that say how the services are. No I/O.

/// A service could not be told, will not come where it is wanted, or something is wrong with it.
pub const FAILED: i32 = 1;
/// A service is not up. Source: the Linux Standard Base, as of [`UNKNOWN`].
pub const NOT_UP: i32 = 3;
/// A service is unknown or not supervised.
pub const UNKNOWN: i32 = 4;
/// The time is over.
pub const TIMED_OUT: i32 = 99;
