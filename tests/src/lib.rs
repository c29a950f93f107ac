//! The harness: a scratch directory, services in it, and programs that work on them. When a test ends, passed or
//! failed, all processes that it has started are gone.

// Tests report a failure by a panic, and print where they have left their files.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::unwrap_used)]
#![allow(missing_docs)]

mod executing;
mod fuse;
mod log;
mod processes;
mod programs;
mod scene;
mod scratch;
mod service;
mod unanswering;

pub use executing::{executing_for_ever, is_executing_for_ever, let_them_execute};
pub use fuse::{Fuse, Node, REQUESTS, Request, Tree};
pub use log::{Disk, Log, Multilog, lines};
pub use processes::{children_of, children_of_any, environment, is_alive, parent_of, processes_in, state_of};
pub use programs::{differs, golden, has, is_root, original, others, programs, skip};
pub use scratch::{Outcome, Running, Scratch, copy_program, fails, fifo, prints, wait_until};
pub use service::{Daemon, Service, Status};
pub use unanswering::Unanswering;
