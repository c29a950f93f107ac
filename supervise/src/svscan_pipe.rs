//! The pipe to the logger that svscan has given to the supervise of a service as its standard output.

use daemontools::files::is_same;
use daemontools::sys::kind::is_fifo;
use daemontools::sys::{self, is_both_ends, lock};
use nix::poll::{PollTimeout, poll};
use nix::sys::stat::{FileStat, fstat};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// A claim is believed if it lasts so long. A child that svscan or the logger's supervise has made just before they were
/// killed holds theirs for a moment longer, and then nothing holds the pipe.
const LASTING: Duration = Duration::from_millis(500);

/// How many bytes are in that pipe that no other process keeps. If the system does not tell, or if this supervise was not
/// started by svscan, or for a service without a logger, there are none. Where another process claims the pipe and does not
/// read it, this takes half a second.
pub fn lines_kept_only_here() -> usize {
    let output = sys::stdout();
    let until = Instant::now() + LASTING;
    loop {
        let unread = match sys::unread(output) {
            Ok(unread) if unread > 0 && is_svscans(output) => unread,
            Ok(_) | Err(_) => return 0,
        };
        match lock::is_claimed(output) {
            Ok(false) => return unread,
            Ok(true) if Instant::now() < until => {}
            Ok(true) | Err(_) => return 0,
        }
        let _ = poll(&mut [], PollTimeout::from(5u8));
    }
}

/// Whether this is a pipe of svscan's for a service. svscan gives the service a pipe that it can also read, which a shell
/// does not. svscanboot does that with the pipe to readproctitle, which is also the standard error.
fn is_svscans(output: BorrowedFd) -> bool {
    let is_messages = |file: &FileStat| fstat(sys::stderr()).is_ok_and(|errors| is_same(file, &errors));
    let is_pipe = fstat(output).is_ok_and(|file| is_fifo(&file) && !is_messages(&file));
    is_pipe && is_both_ends(output) == Ok(true)
}
