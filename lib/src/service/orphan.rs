//! `supervise/orphan`: how processes ended after their supervise had been killed. svscan inherits such processes, and
//! records each end before it waits for the process. The supervise that comes next reads there how its process ended.
//!
//! The file is text with one end on each line, the newest first. There are at most three lines, because the service may
//! have left three processes: that of its program, that of one that ran beside it, and its logger's. A malformed line is
//! ignored.
//!
//! ```text
//! PID TICKS WSTATUS SERIAL   the process (see [`Process`]), and its status as `wait(2)` has it
//! ```
//!
//! In a line without SERIAL, as an older svscan wrote it, SERIAL counts as 0.

use super::{Exit, ORPHAN, ORPHAN_NEW, Place, Process, put_file, read_file_itself};
use crate::encoding::Encode;
use crate::report::Unable;
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fmt::{self, Display};

/// The number of ends that are kept.
const MOST: usize = 3;

/// The longest file that is read, in bytes. [`MOST`] lines of four numbers are shorter.
const LONGEST: usize = 1024;

/// The end of a process whose supervise had been killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrphanEnd {
    /// The process.
    pub process: Process,
    /// The status that `wait(2)` returns for it.
    pub status: i32,
}

impl Encode for OrphanEnd {
    fn encode(&self, bytes: &mut Vec<u8>) {
        OsString::from(self.to_string()).encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<OrphanEnd> {
        OrphanEnd::parse(OsString::decode(bytes)?.to_str()?)
    }
}

impl OrphanEnd {
    /// Records this end for the next supervise of the service that has this `supervise/`. The end that was recorded
    /// before it is kept.
    ///
    /// # Errors
    /// The system refuses to make the file or to rename it. The old file is unchanged then.
    pub fn write(&self, place: &Place) -> Result<(), Unable> {
        let (path, new) = (place.path(ORPHAN), place.path(ORPHAN_NEW));
        let before = read_file_itself(&path, LONGEST).map(|(bytes, _)| bytes).unwrap_or_default();
        put_file(&new, &path, &self.in_front_of(&before)).map_err(|(verb, errno)| {
            let path = if verb == "rename" { &path } else { &new };
            Unable::new(verb, path, errno)
        })
    }

    /// Reads one line of the file. Further words, which a newer svscan may have added, are ignored.
    fn parse(line: &str) -> Option<OrphanEnd> {
        let mut words = line.split_ascii_whitespace();
        let pid = Pid::from_raw(words.next()?.parse().ok()?);
        let (ticks, status) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let serial = words.next().and_then(|serial| serial.parse().ok()).unwrap_or(0);
        Some(OrphanEnd { process: Process { pid, ticks, serial }, status })
    }

    /// The text of the file with this end as the newest. `before` is the text without it.
    fn in_front_of(&self, before: &[u8]) -> Vec<u8> {
        let newest: Vec<&[u8]> = before.split_inclusive(|byte| *byte == b'\n').take(MOST - 1).collect();
        [format!("{self}\n").as_bytes(), &newest.concat()].concat()
    }
}

impl Display for OrphanEnd {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        let OrphanEnd { process: Process { pid, ticks, serial }, status } = self;
        write!(to, "{pid} {ticks} {status} {serial}")
    }
}

/// How a process ended whose supervise had been killed, if svscan has recorded that in this `supervise/`.
pub fn orphan_exit(process: Process, place: &Place) -> Option<Exit> {
    let (bytes, _) = read_file_itself(&place.path(ORPHAN), LONGEST).ok()?;
    exit_in(&bytes, process)
}

/// How a process ended, according to the text of the file.
fn exit_in(text: &[u8], process: Process) -> Option<Exit> {
    let ends = str::from_utf8(text).ok()?.lines().filter_map(OrphanEnd::parse);
    let mut its = ends.filter(|end| end.process.is_same_as(&process));
    its.next().map(|end| Exit::from_wait_status(end.status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn process(pid: i32, ticks: u64, serial: u64) -> Process {
        Process { pid: Pid::from_raw(pid), ticks, serial }
    }

    #[test]
    fn an_end_is_a_line_of_four_numbers() {
        let table = [
            (process(7, 80, 900), 7 << 8, "7 80 1792 900"),
            (process(1, 0, 0), 9, "1 0 9 0"),
            (process(i32::MAX, u64::MAX, u64::MAX), 139, "2147483647 18446744073709551615 139 18446744073709551615"),
        ];
        for (process, status, line) in table {
            let end = OrphanEnd { process, status };
            assert_eq!((end.to_string().as_str(), OrphanEnd::parse(line)), (line, Some(end)));
        }
    }

    #[test]
    fn a_line_without_a_serial_is_read_and_a_malformed_one_is_not() {
        let end = OrphanEnd { process: process(7, 80, 0), status: 9 };
        for read in ["7 80 9", "7 80 9 ", "7 80 9 x", " 7\t80 9 0", "7 80 9 0 newer"] {
            assert_eq!(OrphanEnd::parse(read), Some(end), "{read:?}");
        }
        for malformed in
            ["", " ", "7", "7 80", "x 80 9 0", "7 -1 9 0", "7 80 x 0", "7 80 9999999999 0", "2147483648 80 9"]
        {
            assert_eq!(OrphanEnd::parse(malformed), None, "{malformed:?}");
        }
    }

    #[test]
    fn the_end_of_a_process_is_found_behind_those_of_others_and_behind_malformed_lines() {
        let exit = |text: &[u8]| exit_in(text, process(7, 80, 900));
        for told in [
            &b"7 80 256 900\n"[..],
            b"7 80 256 900",
            b"7 80 256\n",
            b"7 0 256 900\n",
            b"8 80 512 901\n7 80 256 900\n",
            b"7 80 512 901\n7 80 256 900\n",
            b"\n7 80\nnonsense\n7 80 256 900\n",
            b"7 80 256 900\n7 80 512 900\n",
        ] {
            assert_eq!(exit(told), Some(Exit::Code(1)), "{}", String::from_utf8_lossy(told));
        }
        for silent in
            [&b""[..], b"8 80 256 900\n", b"7 81 256\n", b"7 80 256 901\n", b"7 80\n", b"\xff\n7 80 256 900\n"]
        {
            assert_eq!(exit(silent), None, "{}", String::from_utf8_lossy(silent));
        }
    }

    #[test]
    fn the_newest_end_stands_before_the_one_before_it() {
        let end = |pid| OrphanEnd { process: process(pid, 80, 900), status: 9 };
        let one = end(1).in_front_of(b"");
        let two = end(2).in_front_of(&one);
        let three = end(3).in_front_of(&two);
        assert_eq!(one, b"1 80 9 900\n");
        assert_eq!(two, b"2 80 9 900\n1 80 9 900\n");
        assert_eq!(three, b"3 80 9 900\n2 80 9 900\n1 80 9 900\n");
        assert_eq!(end(4).in_front_of(&three), b"4 80 9 900\n3 80 9 900\n2 80 9 900\n");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(pid in 1..i32::MAX, ticks: u64, serial: u64, status: i32, before: Vec<u8>) {
            let end = OrphanEnd { process: process(pid, ticks, serial), status };
            prop_assert_eq!(OrphanEnd::parse(&end.to_string()), Some(end));
            let text = end.in_front_of(&before);
            let expected = str::from_utf8(&text).is_ok().then(|| Exit::from_wait_status(status));
            prop_assert_eq!(exit_in(&text, end.process), expected);
        }
    }
}
