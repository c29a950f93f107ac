//! tai64n: puts a TAI64N label in front of each line.
//!
//! `tai64n`
//!
//! Reads standard input, writes each line to standard output behind `@`, 24 hexadecimal digits and a blank: the
//! time at which the line's beginning was read, each later than the one before unless the clock is put back. All that
//! was read is written before more is waited for. A last line without newline stays without.
//!
//! Exit codes: 0; 111, input cannot be read or output not written.

use daemontools::logdir::stamp::StampKind;
use daemontools::logdir::stamp::write::Stamper;
use daemontools::tai64::{self, Tai64N};
use daemontools::{Args, Attempt, Fatal, Help, sys};
use nix::errno::Errno;
use nix::unistd::read;

/// What the program answers when it is asked for help.
pub const HELP: Help = Help {
    usage: "tai64n: usage: tai64n",
    text: "\
Copies standard input to standard output, with a TAI64N label, the time, in front of each
line.

Exit codes: 0; 111, input cannot be read or output not written.
",
};

/// Bytes read at a time.
const ROOM: usize = 64 * 1024;

/// The program, from its arguments to its exit code.
///
/// # Errors
/// Its exit codes say which: input or output cannot be used.
pub fn tai64n(_: Args) -> Result<i32, Fatal> {
    let mut input = vec![0; ROOM];
    let mut lines = Lines::new();
    loop {
        let length = match read(sys::stdin(), &mut input) {
            Ok(0) => return Ok(0),
            Ok(length) => length,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(daemontools::Unable::new("read input", "", errno).into()),
        };
        lines.take(&input[..length], tai64::now());
        sys::write_all(sys::stdout(), &lines.output).unable_to("write output", "")?;
    }
}

/// Lines, each stamped where it begins.
struct Lines {
    stamper: Stamper,
    within_line: bool,
    output: Vec<u8>,
}

impl Lines {
    fn new() -> Lines {
        Lines { stamper: Stamper::new(StampKind::Tai64n), within_line: false, output: Vec::with_capacity(2 * ROOM) }
    }

    fn take(&mut self, data: &[u8], now: Tai64N) {
        self.stamper.batch(now);
        self.output.clear();
        let mut taken = 0;
        for newline in memchr::memchr_iter(b'\n', data) {
            self.put(&data[taken..=newline]);
            self.within_line = false;
            taken = newline + 1;
        }
        if taken < data.len() {
            self.put(&data[taken..]);
            self.within_line = true;
        }
    }

    fn put(&mut self, piece: &[u8]) {
        if !self.within_line {
            self.stamper.put(&mut self.output);
        }
        self.output.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::tai64::Tai64;

    #[test]
    fn a_line_is_stamped_at_its_beginning_only() {
        let mut lines = Lines::new();
        lines.take(b"a\nb", Tai64N(Tai64(0x4000_0000_0000_000a), 999_999_999));
        assert_eq!(lines.output, b"@400000000000000a3b9ac9ff a\n@400000000000000b00000000 b");
        lines.take(b"c\n", Tai64N(Tai64(0), 0));
        assert_eq!(lines.output, b"c\n");
    }
}
