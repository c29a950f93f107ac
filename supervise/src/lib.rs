//! What supervise decides, apart from what it does: no clock and no I/O, so that it can be tried in every way.

#![forbid(unsafe_code)]

pub mod flood;
pub mod frozen;
pub mod machine;
pub mod notify;
pub mod policy;
pub mod repeated;
