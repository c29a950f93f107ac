//! Programs that people use to command and to watch services run here, unchanged, on real service directories of ours:
//! Debian's `sv`, node_exporter and svtools, and the modules of Ansible, Salt and Puppet. A program that was written
//! for daemontools must report the same about our services as about those of Debian's daemontools. A program that was
//! written for runit must report the same as about those of Debian's runit. Where the reports differ, README.md
//! describes the difference, and so does a comment beside the test.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::unwrap_used)]

mod ansible;
mod driver;
mod machine;
mod node_exporter;
mod prometheus;
mod puppet;
mod salt;
mod sv;
mod svtools;
