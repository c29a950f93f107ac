//! Programs that are killed at every single step. The only consequence may be that another one takes their place.

// A test reports a failure by a panic, and prints how to repeat it.
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
