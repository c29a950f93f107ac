//! The interpreter of a script. Where it is missing, execve(2) reports that the script does not exist, and this module
//! finds out what is really missing.

mod obstacle;

use crate::files::read_beginning;
use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access};
pub use obstacle::{Obstacle, obstacle};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The kernel reads this many bytes of a script's first line.
const LONGEST_FIRST_LINE: usize = 256;

// What both [`remedy`] and [`obstacle`] may find.
const DEAD_LINK: &str = "it is a link to nothing";
const NO_REGULAR_FILE: &str = "it is no regular file";
const ON_NOEXEC: &str = "its file system is mounted with noexec";
const EMPTY: &str = "it is empty";
/// The reason for a file that does not begin with `#!`. It is no compiled program either: the kernel would have
/// executed that.
const NO_SCRIPT: &str = "it does not begin with #! and is no program";

/// Why a program that exists could not be executed, in words, if its interpreter is the reason. `errno` is the error of
/// execve(2); ELIBACC stands for ENOENT of a program that exists.
pub fn interpreter_error(program: &Path, errno: Errno) -> Option<Vec<u8>> {
    match errno {
        Errno::ENOENT | Errno::ELIBACC => {
            std::fs::metadata(program).ok().filter(|_| !is_there(program))?;
            Some([b"interpreter ", &of(program)?[..], b" does not exist"].concat())
        }
        Errno::EACCES => {
            access(program, AccessFlags::X_OK).ok()?;
            Some([b"interpreter ", &of(program)?[..], b": access denied"].concat())
        }
        _ => None,
    }
}

/// Why a program that exists could not be executed, if its file tells the reason: the answer of
/// [`interpreter_error`], or else that of [`remedy`].
pub fn diagnosis(program: &Path, errno: Errno) -> Option<Vec<u8>> {
    interpreter_error(program, errno).or_else(|| remedy(program, errno).map(|words| words.as_bytes().to_vec()))
}

/// What is wrong with a program that exists and could not be executed, and how to repair it, if its file tells. `errno`
/// is the error of execve(2), whose text alone would leave the user guessing.
pub fn remedy(program: &Path, errno: Errno) -> Option<&'static str> {
    let Ok(file) = std::fs::metadata(program) else {
        return (errno == Errno::ENOENT && program.is_symlink()).then_some(DEAD_LINK);
    };
    match errno {
        Errno::EACCES if !file.is_file() => Some(NO_REGULAR_FILE),
        Errno::EACCES if file.permissions().mode() & 0o111 == 0 => Some("it is not executable (chmod +x)"),
        Errno::EACCES if is_on_noexec(program) => Some(ON_NOEXEC),
        Errno::ENOEXEC if file.len() == 0 => Some(EMPTY),
        Errno::ENOEXEC => read_beginning(program, LONGEST_FIRST_LINE).ok().and_then(|beginning| no_script(&beginning)),
        _ => None,
    }
}

/// Whether the program lies on a mount with the option `noexec`, from which the kernel executes no program.
fn is_on_noexec(program: &Path) -> bool {
    statvfs(program).is_ok_and(|mount| mount.flags().contains(FsFlags::ST_NOEXEC))
}

/// Why the kernel cannot execute a file with this beginning as a script, in words; `None` if its first line is in
/// order.
fn no_script(beginning: &[u8]) -> Option<&'static str> {
    let Some(rest) = beginning.strip_prefix(b"#!") else {
        let is_marked = beginning.strip_prefix(b"\xef\xbb\xbf").is_some_and(|rest| rest.starts_with(b"#!"));
        let words = if is_marked { "a byte order mark (ef bb bf) is in front of its #!" } else { NO_SCRIPT };
        return Some(words);
    };
    let line = rest.split(|byte| *byte == b'\n').next()?;
    let is_whole = beginning.len() < LONGEST_FIRST_LINE || line.len() < rest.len();
    let has_whole_name = || line.trim_ascii_start().iter().any(|byte| matches!(byte, b' ' | b'\t' | 0));
    match line.trim_ascii() {
        [] => Some("its first line names no interpreter behind #!"),
        _ if !is_whole && !has_whole_name() => Some("the name of its interpreter is too long (more than 250 bytes)"),
        _ => None,
    }
}

/// Whether a script exists and names an interpreter that exists too.
pub fn is_there(program: &Path) -> bool {
    of(program).is_some_and(|interpreter| std::fs::metadata(OsStr::from_bytes(&interpreter)).is_ok())
}

/// Whether a program can be touched, and its interpreter if it is a script (see [`answers`](crate::service::answers)).
pub fn answers(program: &Path) -> bool {
    let interpreter = || of(program).map(|name| program.with_file_name(OsStr::from_bytes(&name)));
    crate::service::answers(program) && interpreter().is_none_or(|interpreter| crate::service::answers(&interpreter))
}

/// The interpreter that the first line of a script names, as text for people. A carriage return at the end, which
/// editors of other systems write, is shown too: with it, the kernel looks for a file of another name.
fn of(program: &Path) -> Option<Vec<u8>> {
    let beginning = read_beginning(program, LONGEST_FIRST_LINE).ok()?;
    let line = beginning.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let interpreter = line.trim_ascii_start().split(|byte| matches!(byte, b' ' | b'\t')).next()?;
    match interpreter.strip_suffix(b"\r") {
        Some(name) => Some([name, b" followed by a carriage return"].concat()),
        None => Some(interpreter.to_vec()),
    }
}

/// The file that a search of PATH finds for `name`, or `name` itself if it has a slash.
pub fn file_of(name: &OsStr) -> Option<std::path::PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(name.into());
    }
    let name = crate::sys::exec::c_string(name).ok()?;
    let candidates = crate::sys::exec::candidates(&name).into_iter();
    let mut paths = candidates.map(|candidate| OsStr::from_bytes(candidate.as_bytes()).into());
    paths.find(|path: &std::path::PathBuf| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_lacks_is_said_where_that_is_the_reason() {
        let scratch = tempfile::tempdir().unwrap();
        let (long, blank) = (&format!("#!/{}/sh\n", "x".repeat(250)), &format!("#!{}/bin/sh\n", " ".repeat(254)));
        let long_argument = &format!("#!/bin/sh {}\n", "x".repeat(300));
        // The kernel refuses the first two, and executes the third one.
        for (text, errno) in [(long, Some(Errno::ENOEXEC)), (blank, Some(Errno::ENOEXEC)), (long_argument, None)] {
            let program = scratch.path().join("program");
            std::fs::write(&program, text).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            let executed = std::process::Command::new(&program).output().err();
            assert_eq!(executed.map(|error| crate::report::errno_of(&error)), errno, "{text:?}");
        }
        let (closed, format) = ("it is not executable (chmod +x)", "it does not begin with #! and is no program");
        let table = [
            (0o644, "#!/bin/sh\n", Errno::EACCES, Some(closed)),
            // The file itself is right; something else denies the execution.
            (0o755, "#!/bin/sh\n", Errno::EACCES, None),
            (0o755, "exec sleep 1000\n", Errno::ENOEXEC, Some(format)),
            (0o755, "", Errno::ENOEXEC, Some("it is empty")),
            (0o755, "#!\n#!/bin/sh\n", Errno::ENOEXEC, Some("its first line names no interpreter behind #!")),
            (0o755, "#! \t\n", Errno::ENOEXEC, Some("its first line names no interpreter behind #!")),
            (0o755, "\u{feff}#!/bin/sh\n", Errno::ENOEXEC, Some("a byte order mark (ef bb bf) is in front of its #!")),
            (0o755, "\u{feff}exec sleep 1000\n", Errno::ENOEXEC, Some(format)),
            (0o755, long, Errno::ENOEXEC, Some("the name of its interpreter is too long (more than 250 bytes)")),
            (0o755, blank, Errno::ENOEXEC, Some("its first line names no interpreter behind #!")),
            (0o755, long_argument, Errno::ENOEXEC, None),
            // The file was repaired after the failure.
            (0o755, "#!/bin/sh\n", Errno::ENOEXEC, None),
            (0o644, "#!/bin/sh\n", Errno::ENOMEM, None),
        ];
        for (number, (mode, text, errno, words)) in table.into_iter().enumerate() {
            let program = scratch.path().join(number.to_string());
            std::fs::write(&program, text).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(remedy(&program, errno), words, "{mode:o} {text:?} {errno}");
        }
        assert_eq!(remedy(scratch.path(), Errno::EACCES), Some("it is no regular file"));
        assert_eq!(remedy(&scratch.path().join("missing"), Errno::EACCES), None);
        assert_eq!(remedy(&scratch.path().join("missing"), Errno::ENOENT), None);
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink("missing", &link).unwrap();
        assert_eq!(remedy(&link, Errno::ENOENT), Some("it is a link to nothing"));
    }

    #[test]
    fn the_interpreter_is_blamed_where_it_is_the_reason_and_nowhere_else() {
        let scratch = tempfile::tempdir().unwrap();
        let denied = scratch.path().join("denied");
        std::fs::write(&denied, "").unwrap();
        let denied = denied.to_str().unwrap();
        let table = [
            ("#!/no/such -x\n", Errno::ENOENT, Some("interpreter /no/such does not exist".to_string())),
            ("#! /no/such\r\n", Errno::ELIBACC, {
                Some("interpreter /no/such followed by a carriage return does not exist".into())
            }),
            (&format!("#!{denied}\n"), Errno::EACCES, Some(format!("interpreter {denied}: access denied"))),
            ("no script", Errno::ENOENT, None),
            ("#!/no/such\n", Errno::ENOEXEC, None),
        ];
        for (number, (text, errno, words)) in table.into_iter().enumerate() {
            let script = scratch.path().join(number.to_string());
            std::fs::write(&script, text).unwrap();
            assert_eq!(interpreter_error(&script, Errno::EACCES), None, "it cannot be executed itself");
            std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(interpreter_error(&script, errno), words.map(String::into_bytes), "{text:?}");
        }
        assert_eq!(interpreter_error(&scratch.path().join("missing"), Errno::ENOENT), None);
    }
}
