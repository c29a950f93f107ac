//! The common parts of the programs that change one thing about themselves and then run another program.

#![forbid(unsafe_code)]

pub mod account;
pub mod variable;

use daemontools::report::errno_of;
use daemontools::sys::exec::{self, Change};
use daemontools::{Fatal, Unable, interpreter, suggest};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Defines the entry point of a chain program, as [`daemontools::main!`] does. What the program could not do it also tells
/// supervise.
#[macro_export]
macro_rules! main {
    ($body:path, $help:path) => {
        fn telling(args: daemontools::Args) -> Result<i32, daemontools::Fatal> {
            daemontools::report::name_service_directory();
            let ended = $body(args);
            ended.inspect_err(|fatal| daemontools::service::tell_supervise(fatal.refusal()))
        }

        daemontools::main!(telling, $help);
    };
}

/// Executes `program`, which includes its arguments, with the changed environment. Returns only if that fails.
pub fn run(program: &[OsString], changes: &[Change]) -> Fatal {
    cannot_run(program, exec::exec(program, changes))
}

/// `unable to run PROGRAM: reason`. The reason adds what the system's words leave out: an interpreter that is missing, what
/// is wrong with PROGRAM's file, or which directory cannot be searched.
pub fn cannot_run(program: &[OsString], errno: Errno) -> Fatal {
    let name = program.first().map_or(OsStr::new(""), OsString::as_os_str);
    let unable = Unable::new("run", name, errno);
    let unable = match interpreter::file_of(name) {
        None if suggest::looks_like_option(name) => unable.because("a program is expected here, not an option"),
        None => match denied_folder(name).filter(|_| errno == Errno::EACCES) {
            Some(folder) => {
                unable.because_of(&[b"not found in PATH, and ", &folder[..], b" may not be searched"].concat())
            }
            None => unable,
        },
        Some(file) if file.as_os_str() == name => match file.metadata() {
            Err(error) if errno == Errno::EACCES && errno_of(&error) == errno => {
                unable.because("a directory above it may not be searched")
            }
            Err(_) | Ok(_) => Unable::execute_own("run", name, &file, errno),
        },
        Some(file) => match interpreter::remedy(&file, errno) {
            Some(remedy) => unable.because_of(&[file.as_os_str().as_bytes(), b": ", remedy.as_bytes()].concat()),
            None => Unable::execute("run", name, &file, errno),
        },
    };
    unable.into()
}

/// The first folder of PATH in which this account may not search for a program.
fn denied_folder(name: &OsStr) -> Option<Vec<u8>> {
    let folders = exec::candidates(&exec::c_string(name).ok()?).into_iter().filter_map(|candidate| {
        let folder = candidate.as_bytes().strip_suffix(name.as_bytes())?;
        Some(if folder == b"/" { folder } else { folder.strip_suffix(b"/")? }.to_vec())
    });
    folders.into_iter().find(|folder| access(OsStr::from_bytes(folder), AccessFlags::X_OK) == Err(Errno::EACCES))
}
