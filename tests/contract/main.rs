//! What daemontools 0.76 promises, judged by what a user can see.

// A test reports a failure by a panic.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod chain;
mod chain_account;
mod chain_envdir;
mod chain_fghack;
mod chain_setlock;
mod chain_softlimit;
mod interop;
mod log_directory;
mod multilog;
mod odd;
mod on_disk;
mod readproctitle;
mod supervise;
mod supervise_wrong;
mod svc;
mod svscan;
mod svscanboot;
mod svstat;
mod tai64;
