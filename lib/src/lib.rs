//! What the programs of the toolkit share.
//!
//! - [`report`]: how a program starts, warns, fails and ends;
//! - [`Help`]: what it answers to `--help` and `--version`;
//! - [`suggest`]: what a word of other supervisors' commands is called here;
//! - [`files`]: the one opener, reader and writer of files that may belong to other accounts;
//! - [`service`]: the service directory, the only place that knows its names and bytes;
//! - [`logdir`]: the log directory, the only place that knows its names, modes and stamps;
//! - [`interpreter`]: why a script could not be executed;
//! - [`tai64`]: the time labels;
//! - [`duration`], [`size`]: durations and sizes as people write them;
//! - [`terminal`]: text from elsewhere for a terminal;
//! - [`hash`]: a hash that never changes;
//! - [`sys`]: what the standard library and nix lack, the only place for `unsafe`; what [`main!`] puts into each
//!   program, its C entry point, is the one exception.

#[forbid(unsafe_code)]
pub mod duration;
#[forbid(unsafe_code)]
pub mod files;
#[forbid(unsafe_code)]
pub mod hash;
#[forbid(unsafe_code)]
mod help;
#[forbid(unsafe_code)]
pub mod interpreter;
#[forbid(unsafe_code)]
pub mod logdir;
#[forbid(unsafe_code)]
mod reason;
#[forbid(unsafe_code)]
pub mod report;
#[forbid(unsafe_code)]
pub mod service;
#[forbid(unsafe_code)]
pub mod size;
#[forbid(unsafe_code)]
pub mod suggest;
pub mod sys;
#[forbid(unsafe_code)]
pub mod tai64;
#[forbid(unsafe_code)]
pub mod terminal;

pub use help::Help;
pub use report::{Args, Attempt, Fatal, Unable, program};
