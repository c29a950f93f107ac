//! How a program starts, warns, fails and ends.
//!
//! Every message is one line in one `write(2)`, so that lines of several processes on one
//! descriptor never mix, and carries paths as the raw bytes they are, but for newlines:
//!
//! ```text
//! prog: fatal: unable to VERB OBJECT: reason
//! prog: warning: unable to VERB OBJECT: reason
//! ```
//!
//! A program of which many work at once can end its messages with the directory that it works in, see [`name_directory`].
//!
//! On a terminal, control characters in what comes from outside are shown as `\x1b` and the like. Elsewhere a newline is
//! shown as `\x0a`, so that no name makes two messages of one; all other bytes are as they are.
//!
//! Whoever reads standard error cannot hold a program up, nor end it: a message is not waited for longer than
//! [`PATIENCE`], and SIGPIPE does not come of it. What could not be written is counted, and the count is written before
//! the next message, by [`retry_lost`] in a daemon's loop, or at the program's end:
//!
//! ```text
//! prog: warning: 37 messages lost
//! ```
//!
//! Exit codes: 100, asking again is useless; 111, the system refused; 101, a bug of ours.

pub use crate::reason::reason;

use crate::Help;
use crate::interpreter;
use crate::service::RUN;
use crate::sys;
use crate::sys::write_now::{wait_for_room, write_now};
use crate::terminal::visible;
use nix::errno::Errno;
use nix::sys::stat::lstat;
use nix::unistd::{Pid, getpid};
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{OnceLock, RwLock};
use std::time::{Duration, Instant};

/// A program's arguments, its own name taken off.
pub type Args = std::vec::IntoIter<OsString>;

/// The name in front of every message, set once by [`program`]. Zero at first, unlike a `OnceLock`: with that,
/// it would be the only thing a small program writes on the first page of its data.
static NAME: RwLock<Option<&'static str>> = RwLock::new(None);

/// See [`name_directory`].
static NAMES_DIRECTORY: AtomicBool = AtomicBool::new(false);

/// Messages that could not be written, in the lower half, and in the upper half the process that counted them: a child
/// that was forked has a copy, and must not say the same again.
static LOST: AtomicU64 = AtomicU64::new(0);

/// The last thing written was the beginning of a line, for want of room.
static TORN: AtomicBool = AtomicBool::new(false);

/// So long a message waits for a reader that is only slow. As long as messages are lost, none waits.
const PATIENCE: Duration = Duration::from_millis(100);

/// See [`at_bug`].
static LAST_RESORT: OnceLock<(Pid, fn())> = OnceLock::new();

/// Exit code when asking again is useless: bad usage, bad name.
pub const PERMANENT: i32 = 100;
/// Exit code of a bug: a panic.
pub const BUG: i32 = 101;
/// Exit code when the system refused; the same call may succeed later.
pub const TEMPORARY: i32 = 111;

/// Runs `body` as the program `name`, unless its arguments ask for `help`; what it returns is the exit code.
///
/// Called by [`main!`](crate::main), which is how every program of the toolkit starts.
pub fn program(name: &'static str, args: Args, help: &Help, body: fn(Args) -> Result<i32, Fatal>) -> i32 {
    let _ = NAME.write().map(|mut written| *written = Some(name));
    std::panic::set_hook(Box::new(say_bug_and_exit));
    let answered = help.give(name, args.as_slice());
    let code = answered.and_then(|code| code.map_or_else(|| body(args), Ok)).unwrap_or_else(|fatal| fatal.tell());
    retry_lost();
    code
}

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

/// What a program does after a panic was reported, before it exits: become another program, if it can. Not what a process
/// does that it has forked: the program itself goes on.
pub fn at_bug(last_resort: fn()) {
    LAST_RESORT.get_or_init(|| (getpid(), last_resort));
}

/// Starts a program: `daemontools::main!(setlock, HELP);` runs `fn setlock(Args) -> Result<i32, Fatal>`, unless it is
/// asked for its [`HELP`](crate::Help).
///
/// The program's crate says `#![cfg_attr(not(test), no_main)]`. Rust's own start-up is left out
/// because it ignores SIGPIPE, which every program that we execute would inherit, and because it
/// touches a quarter of a small program's private memory.
#[macro_export]
macro_rules! main {
    ($body:path, $help:path) => {
        const _: (fn($crate::Args) -> Result<i32, $crate::Fatal>, $crate::Help) = ($body, $help);

        #[cfg(not(test))]
        #[allow(missing_docs)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn main(argc: i32, argv: *const *const std::ffi::c_char) -> i32 {
            // SAFETY: the C library calls main once, with argc strings that live as long as we do.
            let args = unsafe { $crate::sys::arguments(argc, argv) };
            $crate::program(env!("CARGO_BIN_NAME"), args, &$help, $body)
        }
    };
}

fn say_bug_and_exit(info: &PanicHookInfo) {
    let mut words = info.to_string().into_bytes();
    words.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    say(&line(b": bug: ", &[&words]));
    let last_resort = LAST_RESORT.get().filter(|(program, _)| *program == getpid());
    last_resort.into_iter().for_each(|(_, last_resort)| last_resort());
    sys::exit_now(BUG);
}

fn name() -> &'static str {
    NAME.try_read().ok().and_then(|name| *name).unwrap_or("daemontools")
}

/// Why a program ends before its work is done: what to write, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Fatal {
    code: i32,
    text: Vec<u8>,
}

impl Fatal {
    /// `prog: fatal: WORDS`, with an exit code of one's own.
    pub fn new(code: i32, words: &[&[u8]]) -> Fatal {
        Fatal { code, text: line(b": fatal: ", words) }
    }

    /// A usage line, exit 100. `usage` is the whole line without its newline, as the original's
    /// programs do not agree on its beginning.
    pub fn usage(usage: &str) -> Fatal {
        Fatal { code: PERMANENT, text: [usage.as_bytes(), b"\n"].concat() }
    }

    /// Two lines: `prog: WORDS` says what is wrong, then `usage` as in [`Fatal::usage`]. Exit 100.
    pub fn misuse(words: &[&[u8]], usage: &str) -> Fatal {
        Fatal { code: PERMANENT, text: [&line(b": ", words), usage.as_bytes(), b"\n"].concat() }
    }

    /// The two lines that getopt's users expect: `prog: illegal option -- z`, then `usage` as in
    /// [`Fatal::usage`]. Exit 100.
    pub fn option(error: &lexopt::Error, usage: &str) -> Fatal {
        let complaint: (&str, String) = match error {
            lexopt::Error::MissingValue { option: Some(option) } => {
                ("option requires an argument -- ", option.trim_start_matches('-').into())
            }
            lexopt::Error::UnexpectedOption(option) if option.starts_with("--") => ("illegal option -- ", "-".into()),
            lexopt::Error::UnexpectedOption(option) => ("illegal option -- ", option.trim_start_matches('-').into()),
            // `-n=`: to getopt one more option, named `=`.
            lexopt::Error::UnexpectedValue { .. } => ("illegal option -- ", "=".into()),
            other => ("", other.to_string()),
        };
        Fatal::misuse(&[complaint.0.as_bytes(), complaint.1.as_bytes()], usage)
    }

    /// No message at all, only an exit code.
    pub fn silent(code: i32) -> Fatal {
        Fatal { code, text: Vec::new() }
    }

    /// Writes the message; returns the exit code. For a child that cannot go on; a program returns
    /// the error instead.
    pub fn tell(&self) -> i32 {
        say(&self.text);
        self.code
    }

    /// The same message with another exit code.
    pub fn with_code(self, code: i32) -> Fatal {
        Fatal { code, ..self }
    }
}

/// Something the system refused: `unable to VERB OBJECT: reason`.
///
/// In a program that may end it becomes a [`Fatal`] with exit 111 by `?`; a daemon warns and goes on.
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

impl From<Unable> for Fatal {
    fn from(unable: Unable) -> Fatal {
        Fatal::new(TEMPORARY, &[&unable.to_bytes()])
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

/// Writes `prog: WORDS` as one line: news, and nothing is wrong.
pub fn notice(words: &[&[u8]]) {
    say(&line(b": ", words));
}

/// Writes `prog: warning: WORDS` as one line.
pub fn warning(words: &[&[u8]]) {
    say(&line(b": warning: ", words));
}

/// Writes whole lines that are not messages of ours, with no program's name in front.
pub fn pass_on(lines: &[u8]) {
    if lines.is_empty() {
        // Most of the time: a logger need not ask the kernel for that.
    } else if sys::stderr().is_terminal() {
        let lines = lines.split_inclusive(|byte| *byte == b'\n');
        let shown = lines.flat_map(|line| match line.strip_suffix(b"\n") {
            Some(line) => [&visible(line)[..], b"\n"].concat(),
            None => visible(line).into_owned(),
        });
        say(&shown.collect::<Vec<u8>>());
    } else {
        say(lines);
    }
}

/// Says how many messages were lost, if any were, once there is room for that. For a daemon's loop, each time it wakes.
pub fn retry_lost() {
    if lost() > 0 {
        say_lost();
    }
}

fn line(kind: &[u8], words: &[&[u8]]) -> Vec<u8> {
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

/// Writes lines to standard error. What there is no room for is lost, and counted.
fn say(lines: &[u8]) {
    let patience = if lost() == 0 { PATIENCE } else { Duration::ZERO };
    let unwritten = if say_lost() { put(lines, patience) } else { lines };
    let count = unwritten.split_inclusive(|byte| *byte == b'\n').count();
    if count > 0 {
        lose(count);
    }
}

/// Whether no message is lost that was not told of.
fn say_lost() -> bool {
    let count = lost();
    let words = if count == 1 { " message lost" } else { " messages lost" };
    if count == 0 {
        return true;
    }
    let told = put(&line(b": warning: ", &[count.to_string().as_bytes(), words.as_bytes()]), Duration::ZERO).is_empty();
    if told {
        LOST.store(0, Ordering::Relaxed);
    }
    told
}

/// Messages that this process has lost.
fn lost() -> u64 {
    match LOST.load(Ordering::Relaxed) {
        0 => 0,
        counted if counted >> 32 == own_number() => counted & u64::from(u32::MAX),
        _ => 0,
    }
}

fn lose(more: usize) {
    let more = u64::try_from(more).unwrap_or(u64::MAX);
    let count = lost().saturating_add(more).min(u64::from(u32::MAX));
    LOST.store(own_number() << 32 | count, Ordering::Relaxed);
}

fn own_number() -> u64 {
    u64::try_from(getpid().as_raw()).unwrap_or(0)
}

/// Writes lines, and returns what could not be written of them. A line that was torn before is ended first.
fn put(lines: &[u8], patience: Duration) -> &[u8] {
    if TORN.load(Ordering::Relaxed) {
        if !put_bytes(b"\n", Duration::ZERO).is_empty() {
            return lines;
        }
        TORN.store(false, Ordering::Relaxed);
    }
    let left = put_bytes(lines, patience);
    let written = lines.len() - left.len();
    if lines.get(..written).is_some_and(|written| !written.is_empty() && !written.ends_with(b"\n")) {
        TORN.store(true, Ordering::Relaxed);
    }
    left
}

fn put_bytes(mut bytes: &[u8], patience: Duration) -> &[u8] {
    let until = Instant::now() + patience;
    while !bytes.is_empty() {
        match write_now(sys::stderr(), bytes) {
            Ok(written @ 1..) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() || !wait_for_room(sys::stderr(), sys::timeout(Some(left))) {
                    break;
                }
            }
            Ok(0) | Err(_) => break,
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_with_the_raw_path() {
        let unable = Unable::new("open", OsStr::from_bytes(b"/log/\xff a"), Errno::ENOENT);
        assert_eq!(unable.to_bytes(), b"unable to open /log/\xff a: file does not exist");
        assert_eq!(Fatal::from(unable).code, TEMPORARY);
    }

    #[test]
    fn a_newline_in_a_name_makes_no_second_message() {
        let unable = Unable::new("open", OsStr::from_bytes(b"a\nprog: fatal: \x1b\xff\n"), Errno::ENOENT);
        let expected = b"daemontools: fatal: unable to open a\\x0aprog: fatal: \x1b\xff\\x0a: file does not exist\n";
        assert_eq!(Fatal::from(unable).text, expected);
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

    #[test]
    fn reasons_the_original_has_no_words_for_are_the_c_librarys() {
        assert_eq!(reason(Errno::ENOMEDIUM), "No medium found");
    }

    #[test]
    fn bad_options_are_named_as_getopt_names_them() {
        let unknown = lexopt::Error::UnexpectedOption("-z".into());
        assert_eq!(Fatal::option(&unknown, "use: it").text, b"daemontools: illegal option -- z\nuse: it\n");
        let value = lexopt::Error::UnexpectedValue { option: "-n".into(), value: "".into() };
        assert_eq!(Fatal::option(&value, "use").text, b"daemontools: illegal option -- =\nuse\n");
        let unfinished = lexopt::Error::MissingValue { option: Some("-m".into()) };
        assert_eq!(Fatal::option(&unfinished, "use").text, b"daemontools: option requires an argument -- m\nuse\n");
    }
}
