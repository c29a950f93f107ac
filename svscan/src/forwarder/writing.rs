//! Writing lines to standard output, while the forwarder may be told to end.

use super::output::{PATIENCE, is_taken_within, wait_until_taken, write_some};
use super::{AGAIN, End, Fate, Forwarder};
use daemontools::{report, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;

impl Forwarder {
    /// Writes lines. Never gives up, unless no process will ever read them: what waits in the pipes is not lost.
    pub(super) fn write(&mut self, lines: &[u8]) -> Fate {
        let before: &[u8] = if std::mem::take(&mut self.torn) { b"\n" } else { b"" };
        let lines = [before, lines].concat();
        let (all, mut lines) = (lines.len(), lines.as_slice());
        while !lines.is_empty() {
            let whole = lines.len() == all;
            if whole && !self.finishing && !self.wait_for_reader() {
                return Fate::Kept;
            }
            if !whole && !self.wait_to_continue() {
                self.torn = true;
                return Fate::Kept;
            }
            match write_some(lines, whole) {
                Ok(written) => lines = lines.get(written..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if whole && self.finishing => wait_until_taken(),
                // The forwarder waits above, where it may be told something.
                Err(Errno::EAGAIN) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET) if self.stopping => return Fate::Dropped,
                Err(errno) => {
                    if !std::mem::replace(&mut self.complained, true) {
                        report::warning(&[b"unable to forward lines: ", report::reason(errno).as_bytes()]);
                    }
                    let orders = PollFd::new(self.orders.0.as_fd(), PollFlags::POLLIN);
                    if whole && !self.finishing {
                        if poll(&mut [orders], sys::timeout(Some(AGAIN))) == Ok(1) {
                            return Fate::Kept;
                        }
                    } else {
                        let _ = poll(&mut [], sys::timeout(Some(AGAIN)));
                    }
                }
            }
        }
        Fate::Written
    }

    /// Waits until standard output takes more of a line that is begun. Returns false if it takes nothing for some time and
    /// the forwarder is to end: the next forwarder writes this line again.
    fn wait_to_continue(&mut self) -> bool {
        match self.end {
            None => {
                if !self.wait_for_reader() {
                    self.learn_orders();
                }
                true
            }
            // What lies in a pipe that svscan does not know any more is written by this forwarder, or never. But others
            // need not wait for that.
            Some(End::OnlyAbandoned) if self.finishing => {
                if self.lock.is_some() && is_taken_within(PATIENCE) {
                    return true;
                }
                self.lock = None;
                wait_until_taken();
                true
            }
            Some(End::OnlyAbandoned) => is_taken_within(PATIENCE),
            Some(End::Everything) => {
                wait_until_taken();
                true
            }
        }
    }

    /// Waits until standard output takes something. Returns false if the forwarder is told something before.
    fn wait_for_reader(&self) -> bool {
        loop {
            let output = PollFd::new(sys::stdout(), PollFlags::POLLOUT);
            let mut fds = [output, PollFd::new(self.orders.0.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::NONE) != Err(Errno::EINTR) {
                let [output, orders] = fds;
                return output.any() == Some(true) || orders.any() != Some(true);
            }
        }
    }
}
