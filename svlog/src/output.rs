//! Writing to standard output.

use daemontools::{Fatal, Unable, sys};
use nix::errno::Errno;

/// How many bytes svlog gathers before it writes them, unless there are no more lines for the moment.
pub const GATHERED: usize = 64 * 1024;

/// Writes all these bytes.
///
/// # Errors
/// They cannot be written. If the reader of the output has gone, svlog ends without a message and with code 0.
pub fn write(bytes: &[u8]) -> Result<(), Fatal> {
    match sys::write_all(sys::stdout(), bytes) {
        Err(Errno::EPIPE) => Err(Fatal::silent(0)),
        Err(errno) => Err(Unable::new("write output", "", errno).into()),
        Ok(()) => Ok(()),
    }
}
