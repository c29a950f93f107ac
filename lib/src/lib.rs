//! What the programs of the toolkit share.
//!
//! - [`report`]: how a program starts, warns, fails and ends;
//! - [`Help`]: what each program answers to `--help` and `--version`;
//! - [`suggest`]: which of our options a word of another supervisor's commands stands for;
//! - [`files`]: the one opener, reader and writer of files that may belong to other accounts;
//! - [`service`]: the service directory, the only place that knows its names and bytes;
//! - [`logdir`]: the log directory, the only place that knows its names, modes and stamps;
//! - [`interpreter`]: why a script could not be executed;
//! - [`tai64`]: the time labels;
//! - [`duration`], [`size`]: durations and sizes as people write them;
//! - [`terminal`]: how text from elsewhere is made safe for a terminal;
//! - [`hash`]: a hash function that never changes;
//! - [`sys`]: what the standard library and nix lack. All `unsafe` code is there, except for the C entry point that
//!   [`main!`] puts into each program.

#[forbid(unsafe_code)]
pub mod duration;
#[forbid(unsafe_code)]
pub mod encoding;
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
pub mod spelling;
pub mod suggest;
pub mod sys;
#[forbid(unsafe_code)]
pub mod tai64;
#[forbid(unsafe_code)]
pub mod terminal;

pub use help::Help;
pub use report::{Args, Attempt, Fatal, Unable, program};
