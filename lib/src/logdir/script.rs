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

/// The longest script that is read, in bytes. A script that runs multilog is never that long.
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

/// The command of a script by which multilog is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultilogCommand {
    /// The words behind `multilog`.
    pub words: Vec<OsString>,
    /// The account as which setuidgid(8) runs it.
    pub account: Option<OsString>,
    /// It runs in the directory of the script, as far as the script tells.
    pub stays: bool,
}

impl MultilogCommand {
    /// The command of a script for a shell; `None` if there is none, or if the shell computes one of its words.
    pub fn of(script: &[u8]) -> Option<MultilogCommand> {
        let first = script.split(|byte| *byte == b'\n').next()?.strip_prefix(b"#!")?;
        if !first.split(u8::is_ascii_whitespace).any(|word| word.ends_with(b"sh")) {
            return None;
        }
        let commands = commands(script);
        let is_multilog = |word: &Option<Vec<u8>>| {
            word.as_ref().is_some_and(|word| word == b"multilog" || word.ends_with(b"/multilog"))
        };
        let (before, rest) = commands.iter().find_map(|words| {
            let place = words.iter().position(is_multilog)?;
            words.split_at_checked(place)
        })?;
        let words = rest.get(1..)?.iter().cloned().collect::<Option<Vec<_>>>()?;
        let is_setuidgid = |word: &Option<Vec<u8>>| word.as_ref().is_some_and(|word| word.ends_with(b"setuidgid"));
        let account = before.iter().position(is_setuidgid).and_then(|place| before.get(place + 1)?.clone());
        let moves = |word: &Option<Vec<u8>>| word.as_ref().is_some_and(|word| MOVES.contains(&word.as_slice()));
        Some(MultilogCommand {
            words: words.into_iter().map(OsString::from_vec).collect(),
            account: account.map(OsString::from_vec),
            stays: !commands.iter().flatten().any(moves),
        })
    }
}

/// The commands of a script for a shell, in words; `None` for a word that the shell computes.
fn commands(script: &[u8]) -> Vec<Vec<Option<Vec<u8>>>> {
    let mut reader = ShellReader::default();
    let mut bytes = script.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'#' if reader.word.is_none() => while bytes.next_if(|byte| *byte != b'\n').is_some() {},
            b'\\' => match bytes.next() {
                Some(b'\n') | None => {}
                Some(byte) => reader.push(byte),
            },
            b'\'' => reader.add(std::iter::from_fn(|| bytes.next().filter(|byte| *byte != b'\''))),
            b'"' => {
                reader.add([]);
                while let Some(byte) = bytes.next().filter(|byte| *byte != b'"') {
                    match byte {
                        b'\\' => bytes.next().into_iter().for_each(|byte| reader.push(byte)),
                        b'$' | b'`' => reader.is_computed = true,
                        _ => reader.push(byte),
                    }
                }
            }
            b'$' | b'`' => {
                reader.push(byte);
                reader.is_computed = true;
            }
            b'<' | b'>' => {
                reader.redirect();
                while bytes.next_if(|byte| b"<>&|".contains(byte)).is_some() {}
            }
            b' ' | b'\t' | b'\r' => reader.end_word(),
            b'\n' | b';' | b'&' | b'|' | b'(' | b')' => reader.end_command(),
            _ => reader.push(byte),
        }
    }
    reader.end_command();
    reader.commands
}

/// Divides a shell script into commands, and these into words.
#[derive(Default)]
struct ShellReader {
    commands: Vec<Vec<Option<Vec<u8>>>>,
    words: Vec<Option<Vec<u8>>>,
    word: Option<Vec<u8>>,
    is_computed: bool,
    /// The next word is the target of a redirection.
    is_target: bool,
}

impl ShellReader {
    fn push(&mut self, byte: u8) {
        self.add([byte]);
    }

    fn add(&mut self, bytes: impl IntoIterator<Item = u8>) {
        self.word.get_or_insert_default().extend(bytes);
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        let word = if std::mem::take(&mut self.is_computed) { None } else { Some(word) };
        if !std::mem::take(&mut self.is_target) {
            self.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.is_target = false;
        if !self.words.is_empty() {
            self.commands.push(std::mem::take(&mut self.words));
        }
    }

    /// A number in front of a redirection is that of a descriptor.
    fn redirect(&mut self) {
        if self.word.as_ref().is_some_and(|word| word.iter().all(u8::is_ascii_digit)) {
            self.word = None;
        }
        self.end_word();
        self.is_target = true;
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
    use proptest::prelude::*;

    #[test]
    fn directories_are_told_from_the_words_of_a_script() {
        let script =
            b"#!/bin/sh\nexec setuidgid log /command/multilog t '-*' '+* fatal *' \\\n\t./main /var/log/\"web\"\n";
        assert_eq!(multilog_directories(script), ["./main", "/var/log/web"]);
        assert_eq!(multilog_directories(b"#!/bin/sh\nexec logger -t ./x\n"), [""; 0]);
    }

    #[test]
    fn the_command_that_runs_multilog_is_read_as_a_shell_reads_it() {
        let command = |words: &[&str], account: Option<&str>, stays| {
            let words = words.iter().map(OsString::from).collect();
            Some(MultilogCommand { words, account: account.map(OsString::from), stays })
        };
        for (text, expected) in [
            ("exec multilog t ./main", command(&["t", "./main"], None, true)),
            ("# multilog x\nexec 2>&1\nexec multilog t './a b' 2>/dev/null <x", command(&["t", "./a b"], None, true)),
            ("exec setuidgid log \\\n /command/multilog t '-*' \"+* a *\" ./main; echo", {
                command(&["t", "-*", "+* a *", "./main"], Some("log"), true)
            }),
            ("exec setuidgid $WHO multilog t ./main", command(&["t", "./main"], None, true)),
            ("cd /x && exec multilog t \"\" ./a\\ b", command(&["t", "", "./a b"], None, false)),
            ("multilog s5 ./main | multilog t ./other", command(&["s5", "./main"], None, true)),
            ("exec multilog", command(&[], None, true)),
            ("exec multilog t $DIR", None),
            ("exec multilog t \"./$DIR\"", None),
            ("exec logger -t web", None),
            ("", None),
        ] {
            assert_eq!(MultilogCommand::of(format!("#!/bin/sh\n{text}\n").as_bytes()), expected, "{text}");
        }
        assert_eq!(MultilogCommand::of(b"#!/usr/bin/execlineb -P\nmultilog t ./main\n"), None);
        assert_eq!(MultilogCommand::of(b"exec multilog t ./main\n"), None);
    }

    proptest! {
        #[test]
        fn any_script_is_taken_apart(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            MultilogCommand::of(&[b"#!/bin/sh\nmultilog ", &text[..]].concat());
        }
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
