//! pgrphack: runs a program in a session and process group of its own.
//!
//! `pgrphack [ -t TERMINAL ] PROGRAM [ ARG ... ]`
//!
//! 1. Starts a new session, in which it leads a new process group: signals from the terminal no
//!    longer reach PROGRAM, and PROGRAM may send signals to its whole group. A process that leads a
//!    group already starts no session.
//! 2. With `-t`, opens TERMINAL, makes it the controlling terminal of the session, and the standard input, output and
//!    error of PROGRAM. It takes no terminal away from another session.
//! 3. Runs PROGRAM.
//!
//! Usage: 100. TERMINAL cannot be had, PROGRAM cannot be run: 111.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::sys::process::{duplicate_above, duplicate_to};
use daemontools::sys::scheduling::take_terminal;
use daemontools::{Args, Attempt, Fatal, Help, Unable, sys};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::unistd::{getpid, getsid, setsid};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;

chain::main!(pgrphack, HELP);

const HELP: Help = Help {
    usage: "pgrphack: usage: pgrphack [ -t terminal ] child",
    text: "\
Runs child, a program and its arguments, in a session and a process group of its own.

  -t  this terminal, as /dev/tty1, is that of the session, and child's input, output and error

Exit codes: 100, wrong usage; 111, the terminal cannot be had, or child cannot be run; else
child's.
",
};

/// What a service reads from and writes to.
const STANDARD: [i32; 3] = [0, 1, 2];

fn pgrphack(args: Args) -> Result<i32, Fatal> {
    // These words are not parsed as options: the original takes any first word for the program.
    let (terminal, program) = match args.as_slice() {
        [first, terminal, program @ ..] if first == "-t" => (Some(terminal), program),
        [first] if first == "-t" => (None, &[][..]),
        program => (None, program),
    };
    if program.is_empty() {
        return Err(Fatal::usage(HELP.usage));
    }
    // The kernel refuses this only to the leader of a group, which the process was to become anyway.
    let _ = setsid();
    match terminal {
        Some(terminal) => run_on(&open_terminal(terminal)?, terminal, program),
        None => Err(chain::run(program, &[])),
    }
}

/// Opens the terminal without waiting for what a serial line may lack, and takes it for this session.
fn open_terminal(path: &OsStr) -> Result<OwnedFd, Unable> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let opened = open(path, flags, Mode::empty()).unable_to("open", path);
    let terminal = opened.map_err(|unable| unable.where_missing(path.as_ref()))?;
    take_terminal(&terminal).unable_to("take terminal", path).map_err(|unable| match unable.errno {
        Errno::EPERM if getsid(None) != Ok(getpid()) => unable.because("this process leads a group, but no session"),
        Errno::EPERM => unable.because("it is that of another session, or this session has one"),
        _ => unable,
    })?;
    fcntl(&terminal, FcntlArg::F_SETFL(OFlag::O_RDWR)).unable_to("open", path)?;
    Ok(terminal)
}

/// Runs the program on the terminal. What is refused is said where it was before.
fn run_on(terminal: &OwnedFd, path: &OsStr, program: &[OsString]) -> Result<i32, Fatal> {
    let before = duplicate_above(sys::stderr(), 3);
    let moved = STANDARD.iter().try_for_each(|number| duplicate_to(terminal, *number));
    let fatal = moved.unable_to("open", path).map_or_else(Fatal::from, |()| chain::run(program, &[]));
    let _ = before.and_then(|before| duplicate_to(before, 2));
    Err(fatal)
}
