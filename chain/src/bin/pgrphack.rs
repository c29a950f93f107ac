//! pgrphack: runs a program in a session and process group of its own.
//!
//! `pgrphack PROGRAM [ ARG ... ]`
//!
//! 1. Starts a new session, in which it leads a new process group: signals from the terminal no
//!    longer reach PROGRAM, and PROGRAM may send signals to its whole group. A process that leads a
//!    group already starts no session.
//! 2. Runs PROGRAM.
//!
//! Usage: 100. PROGRAM cannot be run: 111.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::{Args, Fatal, Help};
use nix::unistd::setsid;

chain::main!(pgrphack, HELP);

const HELP: Help = Help {
    usage: "pgrphack: usage: pgrphack child",
    text: "\
Runs child, a program and its arguments, in a session and a process group of its own.

Exit codes: 100, wrong usage; 111, child cannot be run; else child's.
",
};

fn pgrphack(args: Args) -> Result<i32, Fatal> {
    let program = args.as_slice();
    if program.is_empty() {
        return Err(Fatal::usage(HELP.usage));
    }
    // The kernel refuses this only to the leader of a group, which the process was to become anyway.
    let _ = setsid();
    Err(chain::run(program, &[]))
}
