//! fghack: keeps a program in the foreground that always goes into the background.
//!
//! `fghack PROGRAM [ ARG ... ]`
//!
//! 1. Makes a pipe and runs PROGRAM as a child that holds the writing end on many descriptors, so that
//!    one stays open even if the program closes a few descriptors that it does not know.
//! 2. Waits until no process holds the writing end: until PROGRAM and all processes that it left behind have
//!    ended, or have closed all their descriptors.
//! 3. Exits with PROGRAM's exit code. If PROGRAM cannot be run, fghack tells supervise that, as the child is not the
//!    process that supervise has started.
//!
//! Signals sent to fghack do not reach PROGRAM.
//!
//! Usage: 100. PROGRAM cannot be run, was killed by a signal, or cannot be waited for: 111.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::service::refusal::Refusal;
use daemontools::sys::process;
use daemontools::{Args, Attempt, Fatal, Help, report};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::{close, dup, pipe, pipe2, read};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

chain::main!(fghack, HELP);

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
    let program = args.as_slice();
    if program.is_empty() {
        return Err(Fatal::usage(HELP.usage));
    }
    let (reading, writing) = pipe().unable_to("create pipe", "")?;
    // The program gets only the writing end.
    fcntl(&reading, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unable_to("create pipe", "")?;
    let refusal = RefusalPipe::new();
    let child = process::fork(|| {
        let refusal = refusal.in_child();
        // Closed first, so that a copy takes its number: if standard output was closed, it becomes the pipe.
        let _ = close(reading.as_raw_fd());
        hold_copies(&writing);
        let fatal = chain::run(program, &[]);
        refusal.into_iter().for_each(|refusal| write_refusal(&refusal, &fatal));
        fatal.print()
    });
    let child = child.unable_to("fork", "")?;
    drop(writing);
    daemontools::service::tell_supervise(refusal.read());
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

/// A pipe through which the child says why it could not become PROGRAM. That it has become PROGRAM closes the pipe. Without
/// descriptors there is none, and nothing is said.
struct RefusalPipe(Option<(OwnedFd, OwnedFd)>);

impl RefusalPipe {
    fn new() -> RefusalPipe {
        RefusalPipe(pipe2(OFlag::O_CLOEXEC).ok())
    }

    /// The end of the child, which closes both ends that it has inherited. No end keeps the number of a standard descriptor
    /// from the copies.
    fn in_child(&self) -> Option<File> {
        let (reading, writing) = self.0.as_ref()?;
        let moved = writing.try_clone().ok();
        let _ = (close(reading.as_raw_fd()), close(writing.as_raw_fd()));
        moved.map(File::from)
    }

    /// Waits until the child has become PROGRAM, or has said why it could not.
    fn read(self) -> Option<Refusal> {
        let (reading, writing) = self.0?;
        drop(writing);
        let mut datagram = Vec::new();
        File::from(reading).read_to_end(&mut datagram).ok()?;
        Refusal::parse(&datagram)
    }
}

fn write_refusal(mut pipe: &File, fatal: &Fatal) {
    // fghack has no other way to learn of it, and goes on without.
    let _ = fatal.refusal().map(|refusal| pipe.write_all(&refusal.encode()));
}

fn wait_failed(errno: Errno) -> Fatal {
    Fatal::new(report::TEMPORARY, &[b"wait failed: ", report::reason(errno).as_bytes()])
}
