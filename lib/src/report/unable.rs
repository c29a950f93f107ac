//! What the system refused, in words: `unable to VERB OBJECT: reason`.

use super::output::warning;
use crate::interpreter;
use crate::reason::reason;
use nix::errno::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Something the system refused: `unable to VERB OBJECT: reason`.
///
/// In a program that may end it becomes a [`Fatal`](crate::Fatal) with exit 111 by `?`; a daemon warns and goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unable {
    verb: &'static str,
    object: Option<Vec<u8>>,
    /// What the system said.
    pub errno: Errno,
    /// The reason in words, where what the system said names the wrong cause.
    reason: Option<Vec<u8>>,
}

impl Unable {
    /// `verb` completes "unable to"; `object` is what it was done to.
    pub fn new(verb: &'static str, object: impl Object, errno: Errno) -> Unable {
        Unable { verb, object: object.object().map(<[u8]>::to_vec), errno, reason: None }
    }

    /// The same of a program that could not be executed, and lies at `file`: its interpreter may be the reason.
    pub fn execute(verb: &'static str, object: impl Object, file: &Path, errno: Errno) -> Unable {
        Unable { reason: interpreter::fault(file, errno), ..Unable::new(verb, object, errno) }
    }

    /// The same of a program of a service: what its file lacks is said too, behind the system's word.
    pub fn execute_own(verb: &'static str, object: impl Object, file: &Path, errno: Errno) -> Unable {
        let unable = Unable::execute(verb, object, file, errno);
        match interpreter::cure(file, errno) {
            Some(cure) if unable.reason.is_none() => unable.because(cure),
            Some(_) | None => unable,
        }
    }

    /// The same with more words behind the reason: `reason: CAUSE`, where the system's word alone does not tell what is wrong.
    #[must_use]
    pub fn because(self, cause: &str) -> Unable {
        let reason = [self.reason_bytes(), b": ", cause.as_bytes()].concat();
        Unable { reason: Some(reason), ..self }
    }

    /// The same of a file or directory that was to be opened or made at `path`: of a directory that is missing above it the system
    /// says no more than that a file does not exist; and a link that is not followed, as another account has made it, makes no
    /// loop.
    #[must_use]
    pub fn where_missing(self, path: &Path) -> Unable {
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match self.errno {
            Errno::ENOENT if path.is_symlink() => self.because("it is a link to nothing"),
            Errno::ENOENT if !above.exists() => self.because("its parent directory does not exist"),
            Errno::ELOOP if path.exists() || (!path.is_symlink() && above.exists()) => {
                self.because("a link in its path belongs to another account")
            }
            _ => self,
        }
    }

    fn reason_bytes(&self) -> &[u8] {
        self.reason.as_deref().unwrap_or(reason(self.errno).as_bytes())
    }

    /// `unable to VERB OBJECT: reason`, without the program's name.
    pub fn to_bytes(&self) -> Vec<u8> {
        [b"unable to ", &self.what()[..], b": ", self.reason_bytes()].concat()
    }

    /// `VERB OBJECT`.
    pub fn what(&self) -> Vec<u8> {
        let object = self.object.as_ref().map(|object| [b" ", object.as_slice()].concat()).unwrap_or_default();
        [self.verb.as_bytes(), &object].concat()
    }

    /// Writes `prog: warning: unable to VERB OBJECT: reason`.
    pub fn warn(&self) {
        warning(&[&self.to_bytes()]);
    }
}

/// What a verb is done to: a name from outside, be it empty, or a text of ours, which is none if it is empty.
pub trait Object {
    /// Its raw bytes, if there is one.
    fn object(&self) -> Option<&[u8]>;
}

macro_rules! from_outside {
    ($($name:ty)*) => {
        $(impl Object for $name {
            fn object(&self) -> Option<&[u8]> {
                Some(AsRef::<OsStr>::as_ref(self).as_bytes())
            }
        })*
    };
}

from_outside! { OsStr OsString Path PathBuf }

impl Object for str {
    fn object(&self) -> Option<&[u8]> {
        Some(self.as_bytes()).filter(|text| !text.is_empty())
    }
}

impl Object for String {
    fn object(&self) -> Option<&[u8]> {
        self.as_str().object()
    }
}

impl<T: Object + ?Sized> Object for &T {
    fn object(&self) -> Option<&[u8]> {
        (**self).object()
    }
}

/// Says what was being attempted when a system call fails.
pub trait Attempt<T> {
    /// `open(path).unable_to("open", path)?`
    ///
    /// # Errors
    /// The same failure, now with its verb and object.
    fn unable_to(self, verb: &'static str, object: impl Object) -> Result<T, Unable>;
}

impl<T> Attempt<T> for io::Result<T> {
    fn unable_to(self, verb: &'static str, object: impl Object) -> Result<T, Unable> {
        self.map_err(|error| Unable::new(verb, object, errno_of(&error)))
    }
}

impl<T> Attempt<T> for nix::Result<T> {
    fn unable_to(self, verb: &'static str, object: impl Object) -> Result<T, Unable> {
        self.map_err(|errno| Unable::new(verb, object, errno))
    }
}

/// The system's error number; one that never came from the system counts as bad data (EINVAL).
pub fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_with_the_raw_path() {
        let unable = Unable::new("open", OsStr::from_bytes(b"/log/\xff a"), Errno::ENOENT);
        assert_eq!(unable.to_bytes(), b"unable to open /log/\xff a: file does not exist");
    }

    #[test]
    fn a_verb_may_stand_alone() {
        let unable = Unable::new("read input", "", Errno::EIO);
        assert_eq!(unable.to_bytes(), b"unable to read input: input/output error");
        let nameless = Unable::new("open", OsStr::new(""), Errno::ENOENT);
        assert_eq!(nameless.to_bytes(), b"unable to open : file does not exist");
    }

    #[test]
    fn what_is_missing_above_a_file_that_cannot_be_made_is_said() {
        for (path, errno, cause) in [
            ("/proc/no-such/log", Errno::ENOENT, ": its parent directory does not exist"),
            ("/proc/no-such", Errno::ENOENT, ""),
            ("no-such", Errno::ENOENT, ""),
            ("", Errno::ENOENT, ""),
            ("/proc/no-such/log", Errno::EACCES, ""),
        ] {
            let unable = Unable::new("open", OsStr::new(path), errno).where_missing(Path::new(path));
            let expected = format!("unable to open {path}: {}{cause}", reason(errno));
            assert_eq!(unable.to_bytes(), expected.as_bytes());
        }
    }
}
