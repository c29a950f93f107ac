//! The form of a message: one line that begins with the program's name and contains text from outside as raw bytes.

use crate::Help;
use crate::service::may_be_service;
use crate::sys;
use crate::terminal::visible;
use std::borrow::Cow;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The name at the beginning of every message, and what the program answers to `--help`, both set once by
/// [`program`](crate::program). The value is all zeros at first, so it costs no memory page. A `OnceLock` is not all
/// zeros, and would be the only thing that a small program writes on the first page of its data.
static PROGRAM: RwLock<Option<(&'static str, Help)>> = RwLock::new(None);

/// Whether messages end with the directory in which the program works; [`name_directory`] sets this.
static NAMES_DIRECTORY: AtomicBool = AtomicBool::new(false);

/// Makes every message from now on end with the directory that the program works in: `prog: warning: WORDS (in
/// /service/web/log)`. Where many instances of a program write to one standard error, a relative path does not tell
/// which of them wrote the message.
pub fn name_directory() {
    NAMES_DIRECTORY.store(true, Ordering::Relaxed);
}

/// Does what [`name_directory`] does, but only if the program works in a service directory, or in one that we may not search.
/// supervise starts programs in such a directory. A user who starts a program by hand knows the current directory.
pub fn name_service_directory() {
    if may_be_service(Path::new("")) {
        name_directory();
    }
}

pub(super) fn line(kind: &[u8], words: &[&[u8]]) -> Vec<u8> {
    let mut line = [name().as_bytes(), kind].concat();
    let terminal = sys::stderr().is_terminal();
    let directory = directory();
    let place = directory.iter().flat_map(|directory| [&b" (in "[..], directory.as_os_str().as_bytes(), b")"]);
    for word in words.iter().copied().chain(place) {
        if terminal { line.extend_from_slice(&visible(word)) } else { line.extend_from_slice(&one_line(word)) }
    }
    line.push(b'\n');
    line
}

/// Returns the raw bytes without newlines. After a newline in a name or a text from outside, the rest would look like a
/// message of its own, and the account that chose the name could forge messages.
fn one_line(word: &[u8]) -> Cow<'_, [u8]> {
    if !word.contains(&b'\n') {
        return Cow::Borrowed(word);
    }
    Cow::Owned(word.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&br"\x0a"[..]))
}

/// The current path of the directory that messages name.
fn directory() -> Option<PathBuf> {
    NAMES_DIRECTORY.load(Ordering::Relaxed).then(|| std::env::current_dir().ok()).flatten()
}

pub(super) fn name() -> &'static str {
    program().map_or("daemontools", |(name, _)| name)
}

/// What the program answers to `--help`: its usage line, and all its options.
pub(super) fn help() -> Option<Help> {
    program().map(|(_, help)| help)
}

fn program() -> Option<(&'static str, Help)> {
    PROGRAM.try_read().ok().and_then(|program| *program)
}

/// Sets the name with which every message begins from now on, and what the program answers to `--help`.
pub(super) fn set_program(name: &'static str, help: Help) {
    let _ = PROGRAM.write().map(|mut written| *written = Some((name, help)));
}
