//! What people use to command services and to look at them, unchanged, on real directories of ours: Debian's `sv`,
//! node_exporter and svtools, and the modules of Ansible, Salt and Puppet. What was written for daemontools is to say of ours what it
//! says of Debian's daemontools; what was written for runit, what it says of Debian's runit. Where it does not, the
//! difference stands in README.md, and beside its test.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::unwrap_used)]

mod ansible;
mod driver;
mod machine;
mod node_exporter;
mod puppet;
mod salt;
mod sv;
mod svtools;
