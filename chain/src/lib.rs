//! The common parts of the programs that change one thing about themselves and then run another program.

#![forbid(unsafe_code)]

pub mod account;
pub mod variable;

use daemontools::sys::exec::{Change, exec};
use daemontools::{Fatal, Unable, interpreter};
use nix::errno::Errno;
use std::ffi::{OsStr, OsString};

/// Executes `program`, which includes its arguments, with the changed environment. Returns only if that fails.
pub fn run(program: &[OsString], changes: &[Change]) -> Fatal {
    cannot_run(program, exec(program, changes))
}

/// `unable to run PROGRAM: reason`. If PROGRAM is a script whose interpreter is missing, the reason names the
/// interpreter.
pub fn cannot_run(program: &[OsString], errno: Errno) -> Fatal {
    let name = program.first().map_or(OsStr::new(""), OsString::as_os_str);
    match interpreter::file_of(name) {
        Some(file) => Unable::execute("run", name, &file, errno).into(),
        None => Unable::new("run", name, errno).into(),
    }
}
