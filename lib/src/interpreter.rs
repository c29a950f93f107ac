//! The interpreter of a script: where it is missing, the system says of the script that it does not exist.

use crate::files::read_beginning;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// As much of the first line as the kernel looks at.
const LONGEST_FIRST_LINE: usize = 256;

/// Why a program that is there could not be executed, in words, where its interpreter is the reason. `errno` is what
/// execve(2) said; ELIBACC stands for ENOENT of a program that is there.
pub fn fault(program: &Path, errno: Errno) -> Option<Vec<u8>> {
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

/// Why a program that is there could not be executed, as far as its file tells: [`fault`], or else [`cure`].
pub fn lack(program: &Path, errno: Errno) -> Option<Vec<u8>> {
    fault(program, errno).or_else(|| cure(program, errno).map(|words| words.as_bytes().to_vec()))
}

/// What is wrong with a program that is there and could not be executed, and how it is mended, where its file tells.
/// `errno` is what execve(2) said, whose word alone leaves people to guess.
pub fn cure(program: &Path, errno: Errno) -> Option<&'static str> {
    let file = std::fs::metadata(program).ok()?;
    match errno {
        Errno::EACCES if !file.is_file() => Some("it is no regular file"),
        Errno::EACCES if file.permissions().mode() & 0o111 == 0 => Some("it is not executable (chmod +x)"),
        Errno::ENOEXEC if file.len() == 0 => Some("it is empty"),
        Errno::ENOEXEC if read_beginning(program, 2).is_ok_and(|beginning| beginning != b"#!") => {
            Some("it does not begin with #! and is no program")
        }
        _ => None,
    }
}

/// Whether a script is there and names an interpreter that is there too.
pub fn is_there(program: &Path) -> bool {
    of(program).is_some_and(|interpreter| std::fs::metadata(OsStr::from_bytes(&interpreter)).is_ok())
}

/// The interpreter that the first line of a script names, as a text for people: a carriage return at its end, which an
/// editor of another system has left there, is what makes it another file's name.
fn of(program: &Path) -> Option<Vec<u8>> {
    let beginning = read_beginning(program, LONGEST_FIRST_LINE).ok()?;
    let line = beginning.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let interpreter = line.trim_ascii_start().split(|byte| matches!(byte, b' ' | b'\t')).next()?;
    match interpreter.strip_suffix(b"\r") {
        Some(name) => Some([name, b" followed by a carriage return"].concat()),
        None => Some(interpreter.to_vec()),
    }
}

/// The file that PATH, as it is now, has for `name`, or `name` itself if it has a slash.
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
        let (closed, format) = ("it is not executable (chmod +x)", "it does not begin with #! and is no program");
        let table = [
            (0o644, "#!/bin/sh\n", Errno::EACCES, Some(closed)),
            // The file is right: something else denies it.
            (0o755, "#!/bin/sh\n", Errno::EACCES, None),
            (0o755, "exec sleep 1000\n", Errno::ENOEXEC, Some(format)),
            (0o755, "", Errno::ENOEXEC, Some("it is empty")),
            // Mended since.
            (0o755, "#!/bin/sh\n", Errno::ENOEXEC, None),
            (0o644, "#!/bin/sh\n", Errno::ENOMEM, None),
        ];
        for (number, (mode, text, errno, words)) in table.into_iter().enumerate() {
            let program = scratch.path().join(number.to_string());
            std::fs::write(&program, text).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(cure(&program, errno), words, "{mode:o} {text:?} {errno}");
        }
        assert_eq!(cure(scratch.path(), Errno::EACCES), Some("it is no regular file"));
        assert_eq!(cure(&scratch.path().join("missing"), Errno::EACCES), None);
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
            assert_eq!(fault(&script, Errno::EACCES), None, "it cannot be executed itself");
            std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(fault(&script, errno), words.map(String::into_bytes), "{text:?}");
        }
        assert_eq!(fault(&scratch.path().join("missing"), Errno::ENOENT), None);
    }
}
