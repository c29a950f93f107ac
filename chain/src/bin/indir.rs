//! indir: runs a program in another directory.
//!
//! `indir DIR PROGRAM [ ARG ... ]`
//!
//! 1. Changes the current directory to DIR, as the account that runs it: behind setuidgid, as the account of the
//!    service.
//! 2. Runs PROGRAM.
//!
//! Usage: 100. DIR cannot be entered, PROGRAM cannot be run: 111.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::{Args, Attempt, Fatal, Help};
use nix::unistd::chdir;
use std::ffi::OsStr;

chain::main!(indir, HELP);

const HELP: Help = Help {
    usage: "indir: usage: indir dir child",
    text: "\
Runs child, a program and its arguments, in the directory dir.

Exit codes: 100, wrong usage; 111, dir cannot be entered, or child cannot be run; else child's.
",
};

fn indir(args: Args) -> Result<i32, Fatal> {
    let [dir, program @ ..] = args.as_slice() else { return Err(Fatal::usage(HELP.usage)) };
    if program.is_empty() {
        return Err(Fatal::usage(HELP.usage));
    }
    enter(dir)?;
    Err(chain::run(program, &[]))
}

fn enter(dir: &OsStr) -> Result<(), Fatal> {
    let entered = chdir(dir).unable_to("switch to directory", dir);
    entered.map_err(|unable| unable.where_missing(dir.as_ref()).into())
}
