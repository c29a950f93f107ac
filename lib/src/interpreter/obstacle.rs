//! What would keep a program from being executed, found out without executing it.

use super::{
    DEAD_LINK, EMPTY, LONGEST_FIRST_LINE, NO_REGULAR_FILE, ON_NOEXEC, file_of, interpreter_error, is_on_noexec,
    no_script,
};
use crate::files::{Unread, read_beginning};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// How an executable that a linker has made begins.
const ELF: &[u8] = b"\x7fELF";

/// Cures that are commands. They lack the name of the file.
const MAKE_EXECUTABLE: &str = "chmod +x";
const REMOVE_CARRIAGE_RETURNS: &str = "remove the carriage returns: sed -i 's/\\r$//'";

/// What is wrong with a program, and what to do, both in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// What is wrong: `it is not executable`.
    pub what: Vec<u8>,
    /// What to do: `chmod +x`.
    pub cure: &'static str,
}

impl Obstacle {
    fn new(what: &[u8], cure: &'static str) -> Obstacle {
        Obstacle { what: what.to_vec(), cure }
    }

    /// What to do to this file, whose name a shell can read: `chmod +x /service/web/run`.
    pub fn cure_of(&self, file: &str) -> String {
        match self.cure {
            MAKE_EXECUTABLE | REMOVE_CARRIAGE_RETURNS => format!("{} {file}", self.cure),
            words => format!("{file}: {words}"),
        }
    }
}

/// What would keep a program from being executed, as far as its file and the first line of a script tell. Of a program
/// that a linker has made, only its permissions are examined. Programs of other formats, which `binfmt_misc` can make
/// executable, count as none.
///
/// # Errors
/// The program does not exist, or its beginning cannot be read.
pub fn obstacle(program: &Path) -> Result<Option<Obstacle>, Unread> {
    let Ok(file) = std::fs::metadata(program) else {
        let is_dead_link = program.is_symlink();
        let link = Obstacle::new(DEAD_LINK.as_bytes(), "make what it leads to, or remove the link");
        return if is_dead_link { Ok(Some(link)) } else { Err(Unread::System(Errno::ENOENT)) };
    };
    if !file.is_file() {
        return Ok(Some(Obstacle::new(NO_REGULAR_FILE.as_bytes(), "put a program or a script in its place")));
    }
    if file.permissions().mode() & 0o111 == 0 {
        return Ok(Some(Obstacle::new(b"it is not executable", MAKE_EXECUTABLE)));
    }
    if is_on_noexec(program) {
        return Ok(Some(Obstacle::new(ON_NOEXEC.as_bytes(), "move the service directory to another file system")));
    }
    if file.len() == 0 {
        return Ok(Some(Obstacle::new(EMPTY.as_bytes(), "write a script that begins with #!/bin/sh")));
    }
    let beginning = read_beginning(program, LONGEST_FIRST_LINE)?;
    Ok(if beginning.starts_with(ELF) { None } else { of_script(program, &beginning) })
}

/// What would keep a script that begins so from being executed.
fn of_script(program: &Path, beginning: &[u8]) -> Option<Obstacle> {
    if let Some(words) = no_script(beginning) {
        return Some(Obstacle::new(words.as_bytes(), "let it begin with #!/bin/sh or another interpreter"));
    }
    let line = beginning.split(|byte| *byte == b'\n').next()?.strip_prefix(b"#!")?;
    if line.ends_with(b"\r") {
        let words = b"its lines end in CR LF, so that its first line names no interpreter";
        return Some(Obstacle::new(words, REMOVE_CARRIAGE_RETURNS));
    }
    if let Some(words) = interpreter_error(program, Errno::ENOENT) {
        return Some(Obstacle::new(&words, "install it, or correct the first line"));
    }
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let interpreter = Path::new(OsStr::from_bytes(words.next()?));
    if access(interpreter, AccessFlags::X_OK) == Err(Errno::EACCES) {
        let what = [b"interpreter ", interpreter.as_os_str().as_bytes(), b": access denied"].concat();
        return Some(Obstacle::new(&what, "correct the first line, or the mode of the interpreter"));
    }
    let name = words.next().filter(|_| interpreter.ends_with("env")).filter(|name| is_plain(name))?;
    let is_missing = file_of(OsStr::from_bytes(name)).is_none_or(|file| !file.exists());
    let what = || [b"env finds no ", name, b" in PATH"].concat();
    is_missing.then(|| Obstacle::new(&what(), "install it, or name the interpreter by its path"))
}

/// Whether env(1) takes this word for the program, and not for an option or a variable.
fn is_plain(word: &[u8]) -> bool {
    !word.starts_with(b"-") && !word.contains(&b'=')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions, write};

    fn found(text: &str, mode: u32) -> Option<String> {
        let scratch = tempfile::tempdir().unwrap();
        let program = scratch.path().join("run");
        write(&program, text).unwrap();
        set_permissions(&program, Permissions::from_mode(mode)).unwrap();
        obstacle(&program).unwrap().map(|found| String::from_utf8(found.what).unwrap())
    }

    #[test]
    fn what_would_fail_is_known_before() {
        for (text, mode, what) in [
            ("#!/bin/sh\nexec sleep 1\n", 0o755, None),
            ("#! /bin/sh -e\n", 0o755, None),
            ("#!/usr/bin/env sh\n", 0o755, None),
            ("#!/usr/bin/env -S no-such-program -x\n", 0o755, None),
            ("\x7fELF\u{2}\u{1}", 0o755, None),
            ("#!/bin/sh\n", 0o644, Some("it is not executable")),
            ("", 0o755, Some("it is empty")),
            ("exec sleep 1\n", 0o755, Some("it does not begin with #! and is no program")),
            ("#!\n", 0o755, Some("its first line names no interpreter behind #!")),
            ("#!/no/such -x\n", 0o755, Some("interpreter /no/such does not exist")),
            ("#!/bin/sh\r\n", 0o755, Some("its lines end in CR LF, so that its first line names no interpreter")),
            ("#!/bin/sh -e\r\n", 0o755, Some("its lines end in CR LF, so that its first line names no interpreter")),
            ("#!/etc/passwd\n", 0o755, Some("interpreter /etc/passwd: access denied")),
            ("#!/usr/bin/env no-such-program\n", 0o755, Some("env finds no no-such-program in PATH")),
        ] {
            assert_eq!(found(text, mode).as_deref(), what, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_file_is_no_program() {
        let scratch = tempfile::tempdir().unwrap();
        let what = |path: &Path| obstacle(path).unwrap().map(|found| found.what);
        assert_eq!(what(scratch.path()), Some(NO_REGULAR_FILE.into()));
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink("nothing", &link).unwrap();
        assert_eq!(what(&link), Some(b"it is a link to nothing".to_vec()));
        assert!(obstacle(&scratch.path().join("nothing")).unwrap_err().is_missing());
    }
}
