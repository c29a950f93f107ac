//! Executing another program in place of this one.

use nix::errno::Errno;
use std::convert::Infallible;
use std::env;
use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt;

/// The search path when PATH is not set.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// One change to the environment: a name, and its new value, or `None` to remove it.
pub type Change = (OsString, Option<OsString>);

/// Replaces this process by the program `argv`, with the environment changed by `changes`. It returns only if that
/// fails.
///
/// A name without a slash is searched in the current PATH, not in one that `changes` sets. An empty part of PATH is the
/// current directory. The search goes on past directories that lack the program or deny access to it.
///
/// # Errors
/// ENOENT if no part of PATH has the program; otherwise the last denial (EACCES, EPERM, EISDIR). Any other error of
/// `execve(2)` ends the search at once. A NUL byte inside an argument is EINVAL.
///
/// Source: daemontools 0.76, `pathexec`.
pub fn exec(argv: &[OsString], changes: &[Change]) -> Errno {
    match Program::new(argv, changes) {
        Ok(program) => program.run(),
        Err(errno) => errno,
    }
}

/// Everything that [`exec`] needs, allocated beforehand, for a caller that may have little memory later.
#[derive(Debug)]
pub struct Program {
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    /// Prepares the program with the environment of this moment.
    ///
    /// # Errors
    /// EINVAL: an argument, name or value contains a NUL byte.
    pub fn new(argv: &[OsString], changes: &[Change]) -> Result<Program, Errno> {
        let argv = argv.iter().map(|arg| c_string(arg)).collect::<Result<Vec<_>, _>>()?;
        Ok(Program { argv, env: environment(changes)? })
    }

    /// Replaces this process by the prepared program, as [`exec`] does. Returns only if that fails, with the error that
    /// [`exec`] would return.
    pub fn run(&self) -> Errno {
        search(&self.argv, &self.env)
    }
}

/// The environment with `changes` applied, as `NAME=VALUE` strings. A later change overrides an earlier one.
///
/// A name ends at its first `=`, even in a changed name. Strings that are not changed are passed on as they are, even
/// malformed ones.
///
/// # Errors
/// EINVAL: a name or value contains a NUL byte.
pub fn environment(changes: &[Change]) -> Result<Vec<CString>, Errno> {
    change(inherited(), changes)
}

fn change(mut environment: Vec<CString>, changes: &[Change]) -> Result<Vec<CString>, Errno> {
    for (name, value) in changes {
        let string = match value {
            Some(value) => [name.as_bytes(), b"=", value.as_bytes()].concat(),
            None => name.as_bytes().to_vec(),
        };
        let string = bytes_to_c(string)?;
        let changed = string.as_bytes().split(|byte| *byte == b'=').next();
        environment.retain(|known| name_of(known) != changed);
        if name_of(&string).is_some() {
            environment.push(string);
        }
    }
    Ok(environment)
}

/// The name in a `NAME=VALUE` string.
fn name_of(string: &CStr) -> Option<&[u8]> {
    let bytes = string.to_bytes();
    bytes.get(..bytes.iter().position(|byte| *byte == b'=')?)
}

/// The environment as this program received it, including strings without `=`.
fn inherited() -> Vec<CString> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    let mut strings = Vec::new();
    // SAFETY: the C library set this before main: pointers to strings, then a null pointer. None of our programs
    // changes its own environment, and this is read before another thread could exist.
    unsafe {
        let mut next = environ;
        while !next.is_null() && !(*next).is_null() {
            strings.push(CStr::from_ptr(*next).to_owned());
            next = next.add(1);
        }
    }
    strings
}

fn search(argv: &[CString], env: &[CString]) -> Errno {
    let Some(file) = argv.first() else { return Errno::ENOENT };
    if file.as_bytes().contains(&b'/') {
        return execute(file, argv, env);
    }
    let mut refusal = Errno::ENOENT;
    for candidate in candidates(file) {
        match execute(&candidate, argv, env) {
            Errno::ENOENT => {}
            errno @ (Errno::EACCES | Errno::EPERM | Errno::EISDIR) => refusal = errno,
            errno => return errno,
        }
    }
    refusal
}

/// The files that a search of the current PATH would try for the program `file`.
pub fn candidates(file: &CStr) -> Vec<CString> {
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let parts = path.as_bytes().split(|byte| *byte == b':');
    let folders = parts.map(|part| if part.is_empty() { b"." } else { part });
    folders.filter_map(|folder| bytes_to_c([folder, b"/", file.to_bytes()].concat()).ok()).collect()
}

/// Calls `execve(2)` alone, without a search and without a shell. It returns only if that fails.
pub fn execute(file: &CString, argv: &[CString], env: &[CString]) -> Errno {
    let refused: nix::Result<Infallible> = nix::unistd::execve(file, argv, env);
    match refused {
        Err(errno) => errno,
        Ok(never) => match never {},
    }
}

/// The C string for a system call.
///
/// # Errors
/// EINVAL: the string contains a NUL byte.
pub fn c_string(string: &OsStr) -> Result<CString, Errno> {
    bytes_to_c(string.as_bytes().to_vec())
}

fn bytes_to_c(bytes: Vec<u8>) -> Result<CString, Errno> {
    CString::new(bytes).map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(environment: &[&str], changes: &[(&str, Option<&str>)]) -> Result<Vec<String>, Errno> {
        let environment = environment.iter().map(|string| CString::new(*string).unwrap()).collect();
        let changes: Vec<Change> =
            changes.iter().map(|(name, value)| (name.into(), value.map(OsString::from))).collect();
        let strings = change(environment, &changes)?;
        Ok(strings.into_iter().map(|string| string.into_string().unwrap()).collect())
    }

    #[test]
    fn a_change_replaces_every_string_of_that_name_and_no_other() {
        for (before, name, value, after) in [
            ("A=1", "B", Some("2"), "A=1 B=2"),
            ("A=1 AB=2 A=3", "A", Some("4"), "AB=2 A=4"),
            ("A=1 AB=2 A=3", "A", None, "AB=2"),
            ("A=1", "B", None, "A=1"),
            ("A=1", "A", Some(""), "A="),
            // A string without `=` is no variable, and is passed on.
            ("A", "A", Some("1"), "A A=1"),
            ("A", "A", None, "A"),
            // If the changed name contains `=`, the name is the part before it, as in the original.
            ("A=1", "A=B", Some("2"), "A=B=2"),
            ("A=1", "A=B", None, "A=B"),
        ] {
            let strings: Vec<&str> = before.split(' ').collect();
            let result = changed(&strings, &[(name, value)]).map(|strings| strings.join(" "));
            assert_eq!(result, Ok(after.into()), "{before:?} {name} {value:?}");
        }
    }

    #[test]
    fn later_changes_win() {
        assert_eq!(changed(&[], &[("A", Some("1")), ("A", None), ("A", Some("2"))]), Ok(vec!["A=2".into()]));
    }

    #[test]
    fn a_nul_byte_is_refused() {
        assert_eq!(changed(&[], &[("A", Some("nul\0"))]), Err(Errno::EINVAL));
    }
}
