//! Messages about what the system refused: `unable to VERB OBJECT: reason`.

use super::output::warning;
use crate::files::{distrusted_link, is_only_ours, read_file};
use crate::interpreter;
use crate::reason::reason;
use crate::service::Place;
use nix::errno::Errno;
use nix::sys::stat::stat;
use nix::unistd::geteuid;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// In a longer `/etc/passwd`, no name is looked for.
const LONGEST_PASSWD: usize = 1 << 20;

/// An action that the system refused: `unable to VERB OBJECT: reason`.
///
/// In a program that may end because of it, `?` makes it a [`Fatal`](crate::Fatal) with exit code 111. A daemon writes
/// a warning and goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unable {
    verb: &'static str,
    object: Option<Vec<u8>>,
    /// The system's error number.
    pub errno: Errno,
    /// The reason in words, where the system's error number names the wrong cause.
    reason: Option<Vec<u8>>,
}

impl Unable {
    /// `verb` completes "unable to"; `object` is what the verb applies to.
    pub fn new(verb: &'static str, object: impl Object, errno: Errno) -> Unable {
        Unable { verb, object: object.object().map(<[u8]>::to_vec), errno, reason: None }
    }

    /// A program at `file` that could not be executed. If its interpreter is the reason, the message says so.
    pub fn execute(verb: &'static str, object: impl Object, file: &Path, errno: Errno) -> Unable {
        Unable { reason: interpreter::interpreter_error(file, errno), ..Unable::new(verb, object, errno) }
    }

    /// A service's own program at `file` that could not be executed. Behind the system's reason, the message adds what
    /// is wrong with the file.
    pub fn execute_own(verb: &'static str, object: impl Object, file: &Path, errno: Errno) -> Unable {
        let unable = Unable::execute(verb, object, file, errno);
        match interpreter::remedy(file, errno) {
            Some(remedy) if unable.reason.is_none() => unable.because(remedy),
            Some(_) | None => unable,
        }
    }

    /// Adds more words to the reason, as `reason: CAUSE`, where the system's words alone do not say what is wrong.
    #[must_use]
    pub fn because(self, cause: &str) -> Unable {
        self.because_of(cause.as_bytes())
    }

    /// Does what [`Unable::because`] does, with a cause that contains a path.
    #[must_use]
    pub fn because_of(self, cause: &[u8]) -> Unable {
        let reason = [self.reason_bytes(), b": ", cause].concat();
        Unable { reason: Some(reason), ..self }
    }

    /// Adds the cause where a file or directory at `path` could not be opened or made. If a directory above it is
    /// missing, the system says only that a file does not exist; and for a link that is not followed because another
    /// account has made it or can move it, the error is that of a loop of links, although there is none.
    /// Where access is denied, the system does not say which account owns the file or directory.
    #[must_use]
    pub fn where_missing(self, path: &Path) -> Unable {
        let above = above(path);
        match self.errno {
            Errno::ENOENT if path.is_symlink() => self.because("it is a link to nothing"),
            Errno::ENOENT if !above.exists() => self.because("its parent directory does not exist"),
            Errno::EACCES => self.where_denied(path),
            Errno::ELOOP => match why_not_followed(path, above) {
                Some(why) => self.because(why),
                None => self,
            },
            _ => self,
        }
    }

    /// Adds which account owns the file or directory at `path`, if access to it was denied to another account.
    #[must_use]
    pub fn where_denied(self, path: &Path) -> Unable {
        match stranger(path).filter(|_| self.errno == Errno::EACCES) {
            Some(whose) => self.because_of(&whose),
            None => self,
        }
    }

    /// Does what [`Unable::where_denied`] does, for this file of `supervise/` of the service in the current directory.
    #[must_use]
    pub fn where_own_is_denied(self, file: &str) -> Unable {
        match Place::here() {
            Ok(place) => self.where_denied(&place.path(file)),
            Err(_) => self,
        }
    }

    fn reason_bytes(&self) -> &[u8] {
        self.reason.as_deref().unwrap_or(reason(self.errno).as_bytes())
    }

    /// `unable to VERB OBJECT: reason`, without the program's name.
    pub fn to_bytes(&self) -> Vec<u8> {
        [b"unable to ", &self.what()[..], b": ", self.reason_bytes()].concat()
    }

    /// The text `VERB OBJECT`.
    pub fn what(&self) -> Vec<u8> {
        let object = self.object.as_ref().map(|object| [b" ", object.as_slice()].concat()).unwrap_or_default();
        [self.verb.as_bytes(), &object].concat()
    }

    /// Writes `prog: warning: unable to VERB OBJECT: reason`.
    pub fn warn(&self) {
        warning(&[&self.to_bytes()]);
    }
}

/// Whose a file or directory is that belongs to another account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    /// What belongs to that account: `it`, `its parent directory`, or a path.
    pub what: Vec<u8>,
    /// The account: `root`, or `account 1000` if it has no name in `/etc/passwd`.
    pub owner: String,
    /// The account of this process.
    pub own: String,
}

/// The text of [`whose`]: `it belongs to root, and this is nobody`.
pub fn stranger(path: &Path) -> Option<Vec<u8>> {
    let Whose { what, owner, own } = whose(path)?;
    Some([&what[..], format!(" belongs to {owner}, and this is {own}").as_bytes()].concat())
}

/// Which account owns the file at `path`; or the directory above it, if there is no such file; or the directory that keeps
/// this process from looking at it. `None` if it is the account of this process.
pub fn whose(path: &Path) -> Option<Whose> {
    let (what, owner) = match path.metadata() {
        Ok(file) => (b"it".to_vec(), file.uid()),
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => {
            (b"its parent directory".to_vec(), above(path).metadata().ok()?.uid())
        }
        Err(_) => {
            // Of all directories above, the nearest one that can be looked at is the one that may not be searched.
            let mut seen = path.ancestors().skip(1).map(|above| (shown(above), shown(above).metadata()));
            match seen.find_map(|(above, found)| Some((above, found.ok()?))) {
                Some((closed, directory)) => (closed.as_os_str().as_bytes().to_vec(), directory.uid()),
                // The current directory itself may not be searched.
                None if path.is_relative() => return whose(&std::path::absolute(shown(path)).ok()?),
                None => return None,
            }
        }
    };
    let own = geteuid().as_raw();
    (owner != own).then(|| Whose { what, owner: account_name(owner), own: account_name(own) })
}

/// The name of an account in `/etc/passwd`, or else `account NUMBER`. The C library would perhaps ask a server, for which a
/// message must not wait.
pub fn account_name(number: u32) -> String {
    let known = read_file(Path::new("/etc/passwd"), LONGEST_PASSWD).unwrap_or_default();
    let name = |line: &[u8]| {
        let mut fields = std::str::from_utf8(line).ok()?.split(':');
        let name = fields.next().filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()))?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_string())
    };
    known.split(|byte| *byte == b'\n').find_map(name).unwrap_or_else(|| format!("account {number}"))
}

/// The directory above a path.
fn above(path: &Path) -> &Path {
    shown(path.parent().unwrap_or(Path::new("")))
}

/// The path itself, or `.` where it is empty.
fn shown(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Why a link in this path, or at its end, is not followed.
fn why_not_followed(path: &Path, above: &Path) -> Option<&'static str> {
    let is_refused = || path.is_symlink() && stat(above).is_ok_and(|above| !is_only_ours(&above));
    let at_its_end = || is_refused().then_some("it is a link, and other accounts may write to its directory");
    distrusted_link(path).or_else(|| distrusted_link(above)).or_else(at_its_end)
}

/// What a verb applies to. An `OsStr` is a name from outside, and is written even if it is empty. A `str` is our own
/// text, and an empty one means that there is no object.
pub trait Object {
    /// The raw bytes of the object, if there is one.
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

/// The path of a file in a directory, as messages show it: the bytes of both, with a slash between them.
pub fn joined(directory: impl AsRef<OsStr>, name: impl AsRef<OsStr>) -> OsString {
    OsString::from_vec([directory.as_ref().as_bytes(), b"/", name.as_ref().as_bytes()].concat())
}

/// Adds to a system call's error what the program attempted.
pub trait Attempt<T> {
    /// Example: `open(path).unable_to("open", path)?`
    ///
    /// # Errors
    /// The same error, with the verb and the object.
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

/// The system's error number. An error that did not come from the system is EINVAL.
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
