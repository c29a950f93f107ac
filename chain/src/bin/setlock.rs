//! setlock: runs a program with a file locked.
//!
//! `setlock [ -nNxX ] FILE PROGRAM [ ARG ... ]`
//!
//! 1. Opens FILE for appending, creating it (mode 0600) if it does not exist.
//! 2. Locks it with flock(2): waiting (`-N`, the default), or giving up at once (`-n`).
//! 3. Runs PROGRAM, which inherits the locked descriptor: the lock lasts until it and all that it
//!    started have ended or have closed it.
//!
//! If FILE cannot be opened or locked: a message and exit 111 (`-X`, the default), or exit 0 without
//! a message (`-x`). Usage: 100. PROGRAM cannot be run: 111.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::sys::lock::{try_to_lock, wait_to_lock};
use daemontools::{Args, Attempt, Fatal, Help, Unable};
use lexopt::Arg;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::IntoRawFd;

chain::main!(setlock, HELP);

const USAGE: &str = "setlock: usage: setlock [ -nNxX ] file program [ arg ... ]";

const HELP: Help = Help {
    usage: USAGE,
    text: "\
Runs program with file locked, for as long as it and what it starts keep the lock.

  -n  give up if the file is locked          -N  wait until it is not (the default)
  -x  exit 0 in silence if it cannot be had  -X  exit 111 then, and say why (the default)

Exit codes: 100, wrong usage; 111, file cannot be locked or program not be run; else program's.
",
};

fn setlock(args: Args) -> Result<i32, Fatal> {
    let Options { take, on_failure, file, program } = parse(args)?;
    match lock(&file, take) {
        // The descriptor stays open and is not close-on-exec, so that the program keeps the lock.
        Ok(locked) => drop(locked.into_raw_fd()),
        Err(refusal) => return on_failure(refusal),
    }
    Err(chain::run(&program, &[]))
}

fn lock(file: &OsStr, take: Take) -> Result<File, Unable> {
    let append = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_APPEND | OFlag::O_CREAT;
    let opened = open(file, append, Mode::from_bits_truncate(0o600)).unable_to("open", file);
    let opened = opened.map_err(|unable| unable.where_missing(file.as_ref()))?;
    let opened = File::from(opened);
    match take(&opened).unable_to("lock", file) {
        Err(unable) if unable.errno == Errno::EAGAIN => Err(unable.because("another process has it")),
        taken => taken.map(|()| opened),
    }
}

/// Whether setlock waits for a lock that another process holds.
type Take = fn(&File) -> nix::Result<()>;

struct Options {
    take: Take,
    on_failure: fn(Unable) -> Result<i32, Fatal>,
    file: OsString,
    program: Vec<OsString>,
}

fn parse(args: Args) -> Result<Options, Fatal> {
    let misused = |error: lexopt::Error| Fatal::option(&error, USAGE);
    let mut options = Options { take: wait_to_lock, on_failure: say_why, file: OsString::new(), program: Vec::new() };
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(argument) = parser.next().map_err(misused)? {
        match argument {
            Arg::Short('n') => options.take = try_to_lock,
            Arg::Short('N') => options.take = wait_to_lock,
            Arg::Short('x') => options.on_failure = give_up_quietly,
            Arg::Short('X') => options.on_failure = say_why,
            Arg::Value(file) => {
                options.file = file;
                options.program = parser.raw_args().map_err(misused)?.collect();
            }
            other @ (Arg::Short(_) | Arg::Long(_)) => return Err(misused(other.unexpected())),
        }
    }
    if options.program.is_empty() {
        return Err(Fatal::usage(USAGE));
    }
    Ok(options)
}

fn say_why(refusal: Unable) -> Result<i32, Fatal> {
    Err(refusal.into())
}

fn give_up_quietly(_: Unable) -> Result<i32, Fatal> {
    Ok(0)
}
