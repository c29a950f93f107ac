//! fghack: keeps a program in the foreground that always goes into the background.
//!
//! `fghack PROGRAM [ ARG ... ]`
//!
//! 1. Makes a pipe and runs PROGRAM as a child that holds the writing end on many descriptors, so that
//!    one stays open even if the program closes a few descriptors that it does not know.
//! 2. Waits until no process holds the writing end: until PROGRAM and all processes that it left behind have
//!    ended, or have closed all their descriptors.
//! 3. Exits with PROGRAM's exit code.
//!
//! Signals sent to fghack do not reach PROGRAM.
//!
//! Usage: 100. PROGRAM cannot be run, was killed by a signal, or cannot be waited for: 111.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::sys::process;
use daemontools::{Args, Attempt, Fatal, Help, report};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::{close, dup, pipe, read};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

daemontools::main!(fghack, HELP);

const HELP: Help = Help {
    usage: "fghack: usage: fghack child",
    text: "\
Runs child, a program and its arguments, and stays in the foreground until it and
all that it left in the background have ended.

Exit codes: child's; 100, wrong usage; 111, child cannot be run or was killed.
",
};

/// The number of additional writing ends that the program gets.
const COPIES: usize = 30;

fn fghack(args: Args) -> Result<i32, Fatal> {
    report::name_service_directory();
    let program = args.as_slice();
    if program.is_empty() {
        return Err(Fatal::usage(HELP.usage));
    }
    let (reading, writing) = pipe().unable_to("create pipe", "")?;
    // The program gets only the writing end.
    fcntl(&reading, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unable_to("create pipe", "")?;
    let child = process::fork(|| {
        // Closed first, so that a copy takes its number: if standard output was closed, it becomes the pipe.
        let _ = close(reading.as_raw_fd());
        hold_copies(&writing);
        chain::run(program, &[]).print()
    });
    let child = child.unable_to("fork", "")?;
    drop(writing);
    wait_until_no_process_writes(&reading);
    let status = process::wait_for(child).map_err(wait_failed)?;
    ExitStatus::from_raw(status).code().ok_or_else(|| Fatal::new(report::TEMPORARY, &[b"child crashed"]))
}

/// Gives the program fewer writing ends if there are no more descriptors.
fn hold_copies(writing: impl AsFd) {
    (0..COPIES).map_while(|_| dup(&writing).ok()).for_each(|copy| _ = copy.into_raw_fd());
}

fn wait_until_no_process_writes(reading: impl AsFd) {
    let mut ignored = [0; 512];
    while matches!(read(&reading, &mut ignored), Ok(1..) | Err(Errno::EINTR)) {}
}

fn wait_failed(errno: Errno) -> Fatal {
    Fatal::new(report::TEMPORARY, &[b"wait failed: ", report::reason(errno).as_bytes()])
}
