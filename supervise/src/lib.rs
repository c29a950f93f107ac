//! supervise: keeps one service running.
//!
//! `supervise SERVICE`
//!
//! 1. Changes into SERVICE and locks `supervise/lock`: there is one supervise a service.
//! 2. Opens `supervise/control` for commands, writes `supervise/status` and `supervise/state`, and
//!    opens `supervise/ok`, by which others know that it is in charge.
//! 3. If an earlier supervise was killed, takes over the process it left behind; else starts `./run`,
//!    unless there is a file `down`.
//! 4. Restarts it when it ends: at once if it lived a second, else one second after its last start.
//!    Obeys commands at any moment, and writes every change down before it counts.
//! 5. Told to exit, does so when the service is down, and, if that is a logger, the last lines are read.
//!
//! What else runs (`start`, `finish`, `stop`) and what can be set: see [`policy`] and [`machine`]. What decides is kept
//! apart from what acts, so that it can be tried in every way: [`machine`], [`policy`], [`notify`] and others that say so
//! have no clock and do no I/O.
//!
//! Exit codes: 0, told to; 100, usage; 111, the service cannot be taken charge of.

#![forbid(unsafe_code)]

mod adoption;
mod control_files;
mod discard;
mod events;
mod flood;
mod frozen;
mod gate;
mod hooks;
mod label;
mod last_lines;
mod launch;
mod listener;
mod logged_service;
pub mod machine;
mod messages;
mod network;
pub mod notify;
mod past;
mod pipe;
pub mod policy;
mod publish;
mod ready;
mod repeated;
mod runner;
mod sender;
mod service_process;
mod settings;
mod shared;
mod supervisor;
mod tree;

use daemontools::{Args, Fatal, Help, sys};
use supervisor::Supervisor;

/// How it is used, and what `--help` says.
pub const HELP: Help = Help {
    usage: "supervise: usage: supervise dir",
    text: "\
Keeps the service in dir running: starts dir/run, restarts it when it ends, and obeys what
svc tells. A file dir/down keeps it from being started at first.

Exit codes: 0, told to exit; 100, wrong usage; 111, there is another supervise, or dir
cannot be used.
",
};

/// The program: takes charge of the service that its argument names, and returns when it was told to exit.
///
/// # Errors
/// Wrong usage, or the service cannot be taken charge of.
pub fn supervise(mut args: Args) -> Result<i32, Fatal> {
    let (Some(service), None) = (args.next(), args.next()) else {
        return Err(Fatal::usage(HELP.usage));
    };
    sys::fill_standard_descriptors();
    let (mut supervisor, first) = Supervisor::take_charge(service)?;
    supervisor.begin(first);
    while !supervisor.is_done() {
        supervisor.wait_and_act()?;
    }
    Ok(0)
}
