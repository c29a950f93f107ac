//! Writing messages to standard error, whose reader can neither block the program nor end it. Messages that could not
//! be written are counted, and the count is written before the next message.

use super::line::line;
use crate::sys;
use crate::sys::write_now::{wait_for_room, write_now};
use crate::terminal::visible;
use nix::errno::Errno;
use nix::unistd::getpid;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The number of messages that could not be written, in the lower half, and the pid of the process that counted them,
/// in the upper half. A forked child has a copy of the count and must not report it again.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Whether the last write ended within a line, for lack of room.
static TORN: AtomicBool = AtomicBool::new(false);

/// How long a message waits for a slow reader. While messages are being lost, none waits.
const PATIENCE: Duration = Duration::from_millis(100);

/// Writes `prog: WORDS` as one line, for news that is no problem.
pub fn notice(words: &[&[u8]]) {
    say(&line(b": ", words));
}

/// Writes `prog: warning: WORDS` as one line.
pub fn warning(words: &[&[u8]]) {
    say(&line(b": warning: ", words));
}

/// Writes whole lines that are not our messages, without the program's name in front.
pub fn pass_on(lines: &[u8]) {
    if lines.is_empty() {
        // Usually everything has been written by now, and the program need not ask the kernel whether this is a
        // terminal.
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

/// Writes how many messages were lost, if any were and there is room now. A daemon's loop calls this each time it
/// wakes.
pub fn retry_lost() {
    if lost() > 0 {
        say_lost();
    }
}

/// Writes lines to standard error. A line for which there is no room is dropped and counted.
pub(super) fn say(lines: &[u8]) {
    let patience = if lost() == 0 { PATIENCE } else { Duration::ZERO };
    let unwritten = if say_lost() { put(lines, patience) } else { lines };
    let count = unwritten.split_inclusive(|byte| *byte == b'\n').count();
    if count > 0 {
        lose(count);
    }
}

/// Whether every lost message has been reported.
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

/// How many messages this process has lost.
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

/// Writes lines, and returns what could not be written of them. If the last write ended within a line, that line is
/// ended first.
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
