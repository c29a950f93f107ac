//! Reads input into the journal.

use super::Logger;
use daemontools::{Unable, sys};
use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, tee};
use nix::unistd::read;
use std::os::fd::{AsFd, OwnedFd};

impl Logger {
    /// Reads what there is. After TERM, it reads only to the end of the line.
    pub(super) fn read(&mut self) {
        let room = self.journal.room();
        let most = if self.retry.signals.leaving { self.to_line_end(room) } else { room.min(self.most) };
        let read_input = |place: &mut [u8]| read(sys::stdin(), place);
        let result = match (&self.peek_pipe, sys::unread(sys::stdin())) {
            (Some(peek_pipe), Ok(waiting @ 1..)) => {
                self.journal.read(waiting.min(most), |place| peek(peek_pipe, place), read_input)
            }
            // The pipe is at its end, or the input is no pipe.
            (Some(_), _) | (None, _) => self.journal.read_unlogged(most, read_input),
        };
        match result {
            Ok(0) => self.ended = true,
            Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => {
                Unable::new("read input", "", errno).warn();
                self.ended = true;
            }
        }
    }

    /// How many bytes can be read without one of the next line. Where the input does not show what comes, it is one.
    fn to_line_end(&self, room: usize) -> usize {
        let (Some(peek_pipe), Ok(waiting @ 1..)) = (&self.peek_pipe, sys::unread(sys::stdin())) else {
            return room.min(1);
        };
        let mut next = vec![0; waiting.min(room).min(self.most)];
        let shown = peek(peek_pipe, &mut next).map_or(&[][..], |shown| &next[..shown]);
        let line = shown.iter().position(|byte| *byte == b'\n').map_or(shown.len(), |end| end + 1);
        line.max(room.min(1))
    }
}

/// Copies the first bytes of standard input through a pipe, without taking them from the input.
fn peek((reader, writer): &(OwnedFd, OwnedFd), place: &mut [u8]) -> nix::Result<usize> {
    let shown = tee(sys::stdin(), writer.as_fd(), place.len(), SpliceFFlags::SPLICE_F_NONBLOCK)?;
    let mut seen = 0;
    // The pipe must be emptied, or the next call would return bytes of this one.
    while seen < shown {
        match read(reader, &mut place[seen..shown]) {
            Err(Errno::EINTR) => {}
            Ok(0) => return Err(Errno::EIO),
            more => seen += more?,
        }
    }
    Ok(shown)
}
