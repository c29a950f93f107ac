//! supervise: keeps one service running.
//!
//! `supervise SERVICE`
//!
//! 1. supervise changes into SERVICE and locks `supervise/lock`: a service has only one supervise.
//! 2. It opens `supervise/control` for commands, writes `supervise/status` and `supervise/state`, and opens
//!    `supervise/ok`, by which others know that the service is supervised.
//! 3. If an earlier supervise was killed, it takes over the process that was left behind. Otherwise it starts `./run`,
//!    unless there is a file `down`.
//! 4. It starts `./run` again when that ends: at once if it ran for a second, else one second after its last start. It
//!    obeys commands at any moment, and writes every change down before it counts.
//! 5. When it was told to exit, it does so once the service is down. If the service is a logger, that reads the last
//!    lines first. The supervise of a service waits until another process has the lines that no logger has read.
//!
//! [`policy`] and [`machine`] say what else runs (`start`, `finish`, `stop`) and what can be set. What decides is kept
//! apart from what acts, so that it can be tried in every way: [`machine`], [`policy`], [`notify`] and others open
//! nothing and ask no clock.
//!
//! Exit codes: 0, it was told to exit; 100, wrong usage; 111, there is another supervise, or the service directory
//! cannot be used.

#![forbid(unsafe_code)]

mod adoption;
mod background;
pub mod choose_record;
pub mod commands;
mod control_files;
mod datagram_limit;
mod discard;
pub mod disk_record;
mod elsewhere;
mod event_fifos;
pub mod exec_answer;
mod gate;
mod given;
mod hooks;
mod inbox;
pub mod kept_lines;
mod label;
mod last_lines;
mod launch;
mod listener;
mod logged_service;
mod lookout;
pub mod machine;
mod messages;
pub mod missing_files;
mod network;
pub mod notify;
mod pipe;
mod predecessor;
mod program;
mod publish;
mod rate_limited_message;
mod ready;
mod refusal_socket;
mod runner;
mod running;
mod sender_check;
mod service_process;
mod settings;
mod shared;
mod strangers;
mod supervisor;
pub mod suspend_credit;
mod svscan_pipe;
mod tree;
pub mod unwritten;

use daemontools::{Args, Fatal, Help, sys};
use supervisor::Supervisor;

/// How supervise is used, and what `--help` says.
pub const HELP: Help = Help {
    usage: "supervise: usage: supervise dir",
    text: "\
Keeps the service in dir running: starts dir/run, restarts it when it ends, and obeys what
svc tells. A file dir/down keeps it from being started at first.

Exit codes: 0, told to exit; 100, wrong usage; 111, there is another supervise, or dir
cannot be used.
",
};

/// The program supervise: runs the service that its argument names until it is told to exit.
///
/// # Errors
/// Wrong usage, another supervise, or a service directory that cannot be used.
pub fn supervise(mut args: Args) -> Result<i32, Fatal> {
    let (Some(service), None) = (args.next(), args.next()) else {
        return Err(Fatal::usage(HELP.usage));
    };
    sys::open_missing_stdio();
    let (mut supervisor, first) = Supervisor::take_charge(service)?;
    supervisor.begin(first);
    while !supervisor.is_done() {
        supervisor.wait_and_act()?;
    }
    Ok(0)
}
