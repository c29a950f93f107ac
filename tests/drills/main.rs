//! Programs killed at every single step: nothing may come of it but a successor.

// Tests say what went wrong by panicking, and how to see it again by printing.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::unwrap_used)]

mod every_call;
mod fail_calls;
mod full_btrfs;
mod kill_logdir;
mod kill_multilog;
mod kill_stop;
mod kill_supervise;
mod kill_svscan;
mod storm;
