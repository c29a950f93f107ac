//! envdir: runs a program with the variables that a directory holds, one a file.
//!
//! `envdir DIR PROGRAM [ ARG ... ]`
//!
//! 1. Reads every file in DIR whose name does not begin with a dot. The file's name is the
//!    variable's, its first line the value: spaces and tabs at the end are cut off, and NUL bytes
//!    stand for newlines. A file without a single byte removes the variable, and so does a symbolic
//!    link to nothing.
//! 2. Runs PROGRAM with these variables added to its environment.
//!
//! Usage, DIR or a file in it cannot be read, PROGRAM cannot be run: 111.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use chain::variable::value;
use daemontools::files::{Unread, open_file_at};
use daemontools::sys::exec::Change;
use daemontools::{Args, Attempt, Fatal, Help, Unable};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, faccessat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

chain::main!(envdir, HELP);

const HELP: Help = Help {
    usage: "envdir: usage: envdir dir child",
    text: "\
Runs child, a program and its arguments, with the variables that dir holds: each
file is a variable, its first line the value; an empty file removes the variable.

Exit codes: 111, wrong usage, dir cannot be read or child not be run; else child's.
",
};

fn envdir(args: Args) -> Result<i32, Fatal> {
    let [dir, program @ ..] = args.as_slice() else { return Err(usage()) };
    if program.is_empty() {
        return Err(usage());
    }
    let changes = read_directory(dir)?;
    Err(chain::run(program, &changes))
}

fn usage() -> Fatal {
    Fatal::usage(HELP.usage).with_code(111)
}

fn read_directory(dir: &OsStr) -> Result<Vec<Change>, Unable> {
    let mut entries = Dir::from_fd(open_directory(dir)?).unable_to("read directory", dir)?;
    let mut names = Vec::new();
    for entry in entries.iter() {
        let name = entry.unable_to("read directory", dir)?.file_name().to_bytes().to_vec();
        if !name.starts_with(b".") {
            names.push(OsString::from_vec(name));
        }
    }
    let change = |name: OsString| {
        let path = || OsString::from_vec([dir.as_bytes(), b"/", name.as_bytes()].concat());
        let line = first_line(&entries, &name).unable_to("read", path());
        let line = line.map_err(|unable| unable.where_denied(path().as_ref()))?;
        Ok((name, value(line).map(OsString::from_vec)))
    };
    names.into_iter().map(change).collect()
}

/// Opens `dir` without leaving the current directory, as the program might not be allowed to enter that again.
fn open_directory(dir: &OsStr) -> Result<OwnedFd, Unable> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = || {
        let place = open(dir, flags | OFlag::O_PATH, Mode::empty()).unable_to("switch to directory", dir)?;
        faccessat(&place, ".", AccessFlags::X_OK, AtFlags::AT_EACCESS).unable_to("switch to directory", dir)?;
        openat(&place, ".", flags | OFlag::O_RDONLY, Mode::empty()).unable_to("read directory", dir)
    };
    opened().map_err(|unable| unable.where_denied(dir.as_ref()))
}

/// The first line of a file with its newline, or as much of it as a variable can hold. It is empty if the file has
/// vanished, if it is a symbolic link to nothing, or if it is a FIFO, socket or device, which envdir does not open.
fn first_line(directory: impl AsFd, name: &OsStr) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    match open_file_at(directory.as_fd(), Path::new(name)) {
        Ok(file) => BufReader::new(File::from(file).take(LONGEST)).read_until(b'\n', &mut line)?,
        Err(Unread::System(Errno::ENOENT)) => 0,
        Err(Unread::System(errno)) => return Err(errno.into()),
        Err(Unread::WrongKind | Unread::TooLong) if is_directory(&directory, name) => return Err(Errno::EISDIR.into()),
        Err(Unread::WrongKind | Unread::TooLong) => 0,
    };
    Ok(line)
}

fn is_directory(directory: impl AsFd, name: &OsStr) -> bool {
    openat(directory, name, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).is_ok()
}

/// More bytes than the kernel accepts for one variable.
const LONGEST: u64 = 1 << 20;
