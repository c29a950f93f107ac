//! Finds out from the script that runs a logger where the logger may write.

use super::CURRENT;
use crate::service::answers;
use crate::{files, report};
use nix::errno::Errno;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A script that runs multilog is never longer.
pub const SCRIPT_AT_MOST: usize = 64 * 1024;
/// After these words of a script a path means something else than it does to us.
const MOVES: [&[u8]; 4] = [b"cd", b"chroot", b"nsenter", b"unshare"];

/// The script that runs a logger.
pub struct Script {
    /// The text of the script, as far as it can be read; none if there is no script.
    text: Option<Vec<u8>>,
    /// The directory in which it runs.
    base: PathBuf,
}

impl Script {
    /// Reads the script of the logger that works in the directory `base`. A script that cannot be read may say
    /// anything.
    pub fn read(script: &Path, base: &Path) -> Script {
        if !answers(script) {
            return Script { text: Some(Vec::new()), base: base.to_path_buf() };
        }
        let text = match files::read_beginning(script, SCRIPT_AT_MOST) {
            Ok(text) => Some(text),
            Err(unread) if unread.is_missing() => None,
            Err(_) => Some(Vec::new()),
        };
        Script { text, base: base.to_path_buf() }
    }

    /// Whether multilog may write elsewhere than into the log that was found. A script that names it does not, nor
    /// one that names only directories in which there is no log.
    pub fn may_name_another(&self, found: &Path) -> bool {
        let Some(text) = &self.text else { return false };
        let directories: Vec<PathBuf> =
            multilog_directories(text).into_iter().map(|name| self.base.join(name)).collect();
        let is_silent = |directory: &PathBuf| !answers(&directory.join(CURRENT));
        if directories.is_empty()
            || directories.iter().any(is_silent)
            || words(text).any(|word| MOVES.contains(&word.as_slice()))
        {
            return true;
        }
        if directories.iter().any(|directory| is_same(fs::metadata(directory), fs::metadata(found))) {
            return false;
        }
        let is_computed = after_multilog(text).any(|word| word.iter().any(|byte| b"$`".contains(byte)));
        let may_be_log = |directory: &PathBuf| match fs::metadata(directory.join(CURRENT)) {
            Ok(_) => true,
            Err(error) => is_denied(report::errno_of(&error)),
        };
        is_computed || directories.iter().any(may_be_log)
    }
}

/// The words after `multilog` that it would take for directories.
pub fn multilog_directories(script: &[u8]) -> Vec<OsString> {
    after_multilog(script)
        .filter(|word| word.starts_with(b".") || word.starts_with(b"/"))
        .map(OsString::from_vec)
        .collect()
}

fn after_multilog(script: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    words(script).skip_while(|word| word != b"multilog" && !word.ends_with(b"/multilog")).skip(1)
}

/// The words of a script, without quotation marks.
fn words(script: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let words = script.split(u8::is_ascii_whitespace);
    words.map(|word| word.iter().filter(|byte| !b"'\"".contains(byte)).copied().collect())
}

/// Whether this error says that the kernel forbids something to this account.
pub fn is_denied(errno: Errno) -> bool {
    matches!(errno, Errno::EACCES | Errno::EPERM)
}

/// Whether these two are one file.
pub fn is_same(one: io::Result<Metadata>, other: io::Result<Metadata>) -> bool {
    let id = |file: Metadata| (file.dev(), file.ino());
    one.ok().map(id).is_some_and(|one| other.ok().map(id) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_told_from_the_words_of_a_script() {
        let script =
            b"#!/bin/sh\nexec setuidgid log /command/multilog t '-*' '+* fatal *' \\\n\t./main /var/log/\"web\"\n";
        assert_eq!(multilog_directories(script), ["./main", "/var/log/web"]);
        assert_eq!(multilog_directories(b"#!/bin/sh\nexec logger -t ./x\n"), [""; 0]);
    }

    #[test]
    fn a_script_may_name_another_log_unless_it_says_otherwise() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path();
        for name in ["main", "other"] {
            fs::create_dir(base.join(name)).unwrap();
            fs::write(base.join(name).join("current"), "").unwrap();
        }
        let absolute = format!("exec multilog {}/main\n", base.display());
        for (text, expected) in [
            ("exec multilog t ./main\n", false),
            ("exec multilog t '-*' \"+$x\" ./other ./main\n", false),
            (&absolute, false),
            ("exec multilog t ./nowhere\n", false),
            ("exec multilog t ./other\n", true),
            ("D=/tmp/x\nexec multilog t $D\n", true),
            ("exec multilog t ./nowhere $D\n", true),
            ("exec multilog t ./$D\n", true),
            ("cd /tmp/x\nexec multilog t ./main\n", true),
            ("exec unshare -m multilog t ./main\n", true),
            ("exec logger -t web\n", true),
            ("", true),
        ] {
            let script = Script { text: Some(text.into()), base: base.to_path_buf() };
            assert_eq!(script.may_name_another(&base.join("main")), expected, "{text}");
        }
        assert!(!Script::read(&base.join("run"), base).may_name_another(&base.join("main")));
    }
}
