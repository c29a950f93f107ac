//! The form of a message: one line, with the program's name in front, and the raw bytes of what comes from outside.

use crate::service::RUN;
use crate::sys;
use crate::terminal::visible;
use nix::errno::Errno;
use nix::sys::stat::lstat;
use std::borrow::Cow;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The name in front of every message, set once by [`program`](crate::program). Zero at first, unlike a `OnceLock`: with that,
/// it would be the only thing a small program writes on the first page of its data.
static NAME: RwLock<Option<&'static str>> = RwLock::new(None);

/// See [`name_directory`].
static NAMES_DIRECTORY: AtomicBool = AtomicBool::new(false);

/// From here on every message ends with the directory that the program works in, `prog: warning: WORDS (in /service/web/log)`:
/// where many instances of a program say the same to one standard error, relative paths do not tell which of them it is.
pub fn name_directory() {
    NAMES_DIRECTORY.store(true, Ordering::Relaxed);
}

/// The same where the program works in a service directory: one in which a `run` is, or we may not look. That is what
/// supervise starts programs in; by hand, people know where they are.
pub fn name_service_directory() {
    if lstat(RUN) != Err(Errno::ENOENT) {
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

/// The raw bytes, but for newlines: after one in a name or a text from outside, the rest would be a message of its own,
/// in whatever words whoever made the name likes.
fn one_line(word: &[u8]) -> Cow<'_, [u8]> {
    if !word.contains(&b'\n') {
        return Cow::Borrowed(word);
    }
    Cow::Owned(word.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&br"\x0a"[..]))
}

/// The directory that messages name, by the path that it has now.
fn directory() -> Option<PathBuf> {
    NAMES_DIRECTORY.load(Ordering::Relaxed).then(|| std::env::current_dir().ok()).flatten()
}

fn name() -> &'static str {
    NAME.try_read().ok().and_then(|name| *name).unwrap_or("daemontools")
}

/// From here on every message has this name in front.
pub(super) fn set_name(name: &'static str) {
    let _ = NAME.write().map(|mut written| *written = Some(name));
}
