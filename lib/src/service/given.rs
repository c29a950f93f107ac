//! What a life of a service is given: arguments and variables for its programs, in `supervise/given`, and for those that run at
//! its end also in `supervise/given-stop`.
//!
//! Each entry ends with a NUL. An entry `NAME=VALUE` is a variable; one without `=` is an argument. A file that is too
//! long, whose last entry has no end, in which a name is none (letters, digits and `_`, with no digit in front), or
//! that another account could have written, counts for nothing. Otherwise such an account could have the service's
//! account execute code, by a variable such as LD_PRELOAD.

use super::{Place, read_file_itself};
use crate::files::{Unread, is_only_ours, put_file};
use nix::errno::Errno;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// The most bytes that such a file may have. The kernel takes up to 128 kB for one argument or variable.
pub const LONGEST_GIVEN: usize = 64 << 10;

/// Arguments and variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// The arguments that follow a program's own.
    pub arguments: Vec<OsString>,
    /// The variables, each with its name and value.
    pub variables: Vec<(OsString, OsString)>,
}

impl Given {
    /// Reads the file of this name, one of [`GIVEN`](super::GIVEN) and [`GIVEN_STOP`](super::GIVEN_STOP). `None`: there is
    /// none.
    ///
    /// # Errors
    /// Why it counts for nothing, in words.
    pub fn read(place: &Place, file: &str) -> Result<Option<Given>, &'static str> {
        let read = read_file_itself(&place.path(file), LONGEST_GIVEN);
        let Some((bytes, stat)) = Unread::unless_missing(read).map_err(Unread::reason)? else { return Ok(None) };
        if !is_only_ours(&stat) || place.is_only_ours() != Ok(true) {
            return Err("another account may have written it");
        }
        Given::decode(&bytes).map(Some)
    }

    /// Writes the file of this name.
    ///
    /// # Errors
    /// The step that the system refused ("open", "write" or "rename") and why.
    pub fn put(&self, place: &Place, file: &str) -> Result<(), (&'static str, Errno)> {
        let path = place.path(file);
        let mut new = path.as_os_str().to_os_string();
        new.push(".new");
        put_file(&PathBuf::from(new), &path, &self.encode())
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let arguments = self.arguments.iter().map(|argument| argument.as_bytes().to_vec());
        let variable = |(name, value): &(OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes()].concat();
        let entries = arguments.chain(self.variables.iter().map(variable));
        entries.flat_map(|entry| entry.into_iter().chain([0])).collect()
    }

    /// Reads the bytes of the file.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn decode(bytes: &[u8]) -> Result<Given, &'static str> {
        let mut given = Given::default();
        let Some(entries) = bytes.strip_suffix(&[0]) else {
            return if bytes.is_empty() { Ok(given) } else { Err("its last entry has no end") };
        };
        for entry in entries.split(|byte| *byte == 0) {
            match entry.iter().position(|byte| *byte == b'=').and_then(|at| entry.split_at_checked(at)) {
                None => given.arguments.push(owned(entry)),
                Some((name, value)) if is_name(name) => {
                    given.variables.push((owned(name), owned(value.get(1..).unwrap_or_default())));
                }
                Some(_) => return Err("a name in it is no name of a variable"),
            }
        }
        Ok(given)
    }
}

fn owned(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

fn is_name(name: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    name.first().is_some_and(is_letter) && name.iter().all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn given(arguments: &[&str], variables: &[(&str, &str)]) -> Given {
        Given {
            arguments: arguments.iter().map(OsString::from).collect(),
            variables: variables.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }

    #[test]
    fn entries_are_arguments_and_variables() {
        let table: [(&[u8], Result<Given, &str>); 9] = [
            (b"", Ok(given(&[], &[]))),
            (b"A=1\0", Ok(given(&[], &[("A", "1")]))),
            (b"x\0A=b=c\0\0_2=\0", Ok(given(&["x", ""], &[("A", "b=c"), ("_2", "")]))),
            (b"A=1", Err("its last entry has no end")),
            (b"A=1\0B", Err("its last entry has no end")),
            (b"=1\0", Err("a name in it is no name of a variable")),
            (b"2=1\0", Err("a name in it is no name of a variable")),
            (b"a-b=1\0", Err("a name in it is no name of a variable")),
            (b"a b=1\0", Err("a name in it is no name of a variable")),
        ];
        for (bytes, expected) in table {
            assert_eq!(Given::decode(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn only_a_short_file_of_ours_is_read() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("supervise")).unwrap();
        let place = Place::of(scratch.path()).unwrap();
        let path = place.path(super::super::GIVEN);
        let read = || Given::read(&place, super::super::GIVEN);
        assert_eq!(read(), Ok(None));
        let some = given(&["x"], &[("A", "1")]);
        some.put(&place, super::super::GIVEN).unwrap();
        assert_eq!(read(), Ok(Some(some)));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(read(), Err("another account may have written it"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&path, vec![0; LONGEST_GIVEN + 1]).unwrap();
        assert_eq!(read(), Err("too long"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            arguments in proptest::collection::vec("[^\0=]{0,5}", 0..4),
            variables in proptest::collection::vec(("[A-Za-z_][A-Za-z0-9_]{0,5}", "[^\0]{0,5}"), 0..4),
        ) {
            let some = Given {
                arguments: arguments.into_iter().map(OsString::from).collect(),
                variables: variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            };
            prop_assert_eq!(Given::decode(&some.encode()), Ok(some));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Given::decode(&bytes);
        }
    }
}
