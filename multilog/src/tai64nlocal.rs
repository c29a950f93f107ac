//! tai64nlocal: shows TAI64N labels as local time.
//!
//! `tai64nlocal`
//!
//! Copies standard input to standard output. Where a line begins with `@` and hexadecimal digits, a label, they
//! are written as `2026-11-21 05:13:07.123456789` by the time zone in $TZ. What looks like a label
//! but has too few digits or too many, or is beyond all calendars, is written unchanged. All that was read is
//! written before more is waited for.
//!
//! Exit codes: 0; 111, input cannot be read or output not written.

use crate::calendar::Reader;
use daemontools::sys::localtime::local_second;
use daemontools::{Args, Attempt, Fatal, Help, sys};
use nix::errno::Errno;
use nix::unistd::read;

/// What the program answers when it is asked for help.
pub const HELP: Help = Help {
    usage: "tai64nlocal: usage: tai64nlocal",
    text: "\
Copies standard input to standard output; a TAI64N label at the beginning of a line becomes
a date and time, by the time zone in $TZ.

Exit codes: 0; 111, input cannot be read or output not written.
",
};

/// Bytes read at a time.
const ROOM: usize = 64 * 1024;

/// The program, from its arguments to its exit code.
///
/// # Errors
/// Its exit codes say which: input or output cannot be used.
pub fn tai64nlocal(_: Args) -> Result<i32, Fatal> {
    let mut input = vec![0; ROOM];
    let mut reader = Reader::new(local_second);
    loop {
        let length = match read(sys::stdin(), &mut input) {
            Ok(length) => length,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(daemontools::Unable::new("read input", "", errno).into()),
        };
        reader.output.clear();
        if length == 0 {
            reader.end();
        }
        reader.take(&input[..length]);
        sys::write_all(sys::stdout(), &reader.output).unable_to("write output", "")?;
        if length == 0 {
            return Ok(0);
        }
    }
}
