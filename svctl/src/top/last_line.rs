//! The last line of a log directory, without its stamp. svlog finds it in every case, but takes a process of its own for
//! that; here the end of one file is read.

use crate::text::shown;
use daemontools::files::open_file_at;
use daemontools::logdir::stamp::{StampKind, Zone};
use daemontools::logdir::{CURRENT, Compression, Finished, in_order};
use daemontools::sys::directory::for_each_name;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};
use nix::sys::uio::pread;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// No more of the end of a file is read. What is longer has lost its beginning.
const MOST: usize = 4096;

/// The last line, as a terminal may have it; `None` if there is none, or if it lies in a compressed file.
pub fn last_line(log: &Path) -> Option<String> {
    let directory = open(log, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let end = end_of(&directory, CURRENT.as_bytes()).filter(|end| !end.is_empty());
    // Just after a rotation, the file is empty.
    let end = end.or_else(|| end_of(&directory, &newest(log)?))?;
    let line = end.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = without_stamp(line);
    (!text.is_empty()).then(|| shown(text))
}

/// The name of the old file that was finished last, unless it is compressed.
fn newest(log: &Path) -> Option<Vec<u8>> {
    let mut finished = Vec::new();
    let visit = |name: &[u8]| {
        finished.extend(Finished::parse(name));
        ControlFlow::Continue(())
    };
    for_each_name(log, visit).ok()?;
    let newest = in_order(finished).pop()?;
    Some(newest.name).filter(|name| Compression::of_name(name).is_none())
}

/// The last bytes of a file.
fn end_of(directory: &OwnedFd, name: &[u8]) -> Option<Vec<u8>> {
    let file = open_file_at(directory.as_fd(), Path::new(OsStr::from_bytes(name))).ok()?;
    let size = fstat(&file).ok()?.st_size;
    let from = size.saturating_sub(i64::try_from(MOST).ok()?).max(0);
    let mut bytes = vec![0; MOST];
    let length = pread(&file, &mut bytes, from).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

/// The line without what multilog has put in front of it.
fn without_stamp(line: &[u8]) -> &[u8] {
    let kinds = [StampKind::Tai64n, StampKind::Unix, StampKind::Iso(Zone::Utc), StampKind::Iso(Zone::Local)];
    let is_whole = |kind: &StampKind| line.len() >= kind.shape().len() && kind.can_begin_with(line);
    let length = kinds.iter().find(|kind| is_whole(kind)).map_or(0, |kind| kind.shape().len());
    line.get(length..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_left_out() {
        for (line, text) in [
            ("@400000004d5a0e2c1f1e1d1c text", "text"),
            ("1795243987.123456 text", "text"),
            ("2026-11-21T06:53:07.123456Z text", "text"),
            ("2026-11-21T07:53:07.123456+01:00 text", "text"),
            ("text without a stamp", "text without a stamp"),
            ("2026-11-21 text", "2026-11-21 text"),
            ("@400000004d5a", "@400000004d5a"),
            ("", ""),
        ] {
            assert_eq!(without_stamp(line.as_bytes()), text.as_bytes(), "{line}");
        }
    }

    #[test]
    fn the_last_line_is_found_in_the_newest_file() {
        let scratch = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(scratch.path().join(name), text).unwrap();
        let last = || last_line(scratch.path());
        assert_eq!(last(), None);
        write("current", "");
        assert_eq!(last(), None);
        write("@400000004d5a0e2c00000000.s", "older\n");
        write("@400000004d5a0e2d00000000.s", "old\n");
        assert_eq!(last().as_deref(), Some("old"));
        write("current", "one\n@400000004d5a0e2c1f1e1d1c two\x1b[2J\n");
        assert_eq!(last().as_deref(), Some("two\\x1b[2J"));
        write("current", &format!("one\n{}\n", "x".repeat(9000)));
        assert_eq!(last().map(|line| line.len()), Some(MOST - 1));
        write("current", "");
        write("@400000004d5a0e2e00000000.s.zst", "compressed");
        assert_eq!(last(), None);
        // What is no regular file is not opened.
        std::fs::remove_file(scratch.path().join("current")).unwrap();
        nix::unistd::mkfifo(&scratch.path().join("current"), Mode::S_IRWXU).unwrap();
        assert_eq!(last(), None);
    }
}
