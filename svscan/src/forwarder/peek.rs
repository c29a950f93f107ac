//! What lies in the pipe of a service: the forwarder looks at it without taking it, and takes it once it is written.
//!
//! tee(2) lets what lies in a pipe be seen in another one too, the *peek pipe*, from which it is read. splice(2) moves it
//! there, and so takes it. Neither call waits, even if the service changes its pipe meanwhile.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{pipe2, read};
use std::os::fd::{AsFd, OwnedFd};

/// How many bytes a pipe holds by default.
const CAPACITY: usize = 65536;

/// A pipe through which the forwarder looks at what lies in another one. It is empty between two calls.
pub struct PeekPipe {
    reader: OwnedFd,
    writer: OwnedFd,
    buffer: Vec<u8>,
}

impl PeekPipe {
    /// Makes one.
    ///
    /// # Errors
    /// EMFILE, ENFILE: no descriptors.
    pub fn new() -> nix::Result<PeekPipe> {
        let (reader, writer) = ends()?;
        Ok(PeekPipe { reader, writer, buffer: vec![0; CAPACITY] })
    }

    /// Lets what lies in a pipe be seen here too, to be read by [`PeekPipe::read`]. Returns how many bytes that is.
    ///
    /// # Errors
    /// EAGAIN: there is nothing in the pipe.
    pub fn show(&self, end: &OwnedFd) -> nix::Result<usize> {
        show(end, &self.writer)
    }

    /// Reads this many bytes, which are all that is here. `None` if they cannot be read, because a service has put something
    /// into its pipe that cannot be; then it is thrown away.
    pub fn read(&mut self, length: usize) -> Option<&[u8]> {
        let mut rest = self.buffer.get_mut(..length)?;
        while !rest.is_empty() {
            match read(&self.reader, rest) {
                Ok(count @ 1..) => rest = rest.get_mut(count..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Ok(_) | Err(_) => {
                    if let Ok(new) = ends() {
                        (self.reader, self.writer) = new;
                    }
                    return None;
                }
            }
        }
        self.buffer.get(..length)
    }

    /// Takes this many bytes from a pipe, or what is left of them if another process has read some meanwhile.
    pub fn take(&mut self, end: &OwnedFd, mut length: usize) {
        while length > 0 {
            match splice(end, None, &self.writer, None, length, SpliceFFlags::SPLICE_F_NONBLOCK) {
                Ok(0) => return,
                Ok(count) => {
                    length = length.saturating_sub(count);
                    self.read(count);
                }
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }
}

/// The ends of a pipe that nothing waits for.
fn ends() -> nix::Result<(OwnedFd, OwnedFd)> {
    pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
}

/// Lets what lies in a pipe be seen in another one too. Returns how many bytes that is.
fn show(end: &OwnedFd, to: &OwnedFd) -> nix::Result<usize> {
    loop {
        match tee(end, to, CAPACITY, SpliceFFlags::SPLICE_F_NONBLOCK) {
            Err(Errno::EINTR) => {}
            shown => return shown,
        }
    }
}

/// Whether no process can write into the pipe any more.
pub fn has_no_writer(end: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(end.as_fd(), PollFlags::empty())];
    let _ = poll(&mut fds, PollTimeout::ZERO);
    fds.iter().any(|fd| fd.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)))
}

/// Whether nothing can be added to a pipe although only a little was seen in it: each of its places is used, even if
/// little is in each. If that cannot be told, the pipe counts as full.
pub fn is_full(end: &OwnedFd) -> bool {
    let (Ok(size), Ok((_reader, writer))) = (fcntl(end, FcntlArg::F_GETPIPE_SZ), ends()) else { return true };
    let most = i32::try_from(CAPACITY).unwrap_or(i32::MAX);
    // With fewer places than the other pipe it looks full too soon, and a line is cut that is very long anyway.
    let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(size.min(most)));
    if show(end, &writer).is_err() {
        return false;
    }
    let mut fds = [PollFd::new(writer.as_fd(), PollFlags::POLLOUT)];
    poll(&mut fds, PollTimeout::ZERO) == Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::write;
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    #[test]
    fn peeked_lines_stay_in_the_pipe_until_they_are_taken() {
        let (end, writer) = ends().unwrap();
        let mut peek_pipe = PeekPipe::new().unwrap();
        assert_eq!(peek_pipe.show(&end), Err(Errno::EAGAIN));
        write(&writer, b"one\ntwo\n").unwrap();
        for _ in 0..2 {
            let shown = peek_pipe.show(&end).unwrap();
            assert_eq!(peek_pipe.read(shown), Some(&b"one\ntwo\n"[..]));
        }
        peek_pipe.take(&end, 4);
        let shown = peek_pipe.show(&end).unwrap();
        assert_eq!(peek_pipe.read(shown), Some(&b"two\n"[..]));
        // More than there is: another process may have read some.
        peek_pipe.take(&end, 100);
        assert_eq!(peek_pipe.show(&end), Err(Errno::EAGAIN));
    }

    #[test]
    fn a_pipe_is_abandoned_without_writers_and_full_when_its_places_are_used() {
        let (end, writer) = ends().unwrap();
        assert!(!has_no_writer(&end) && !is_full(&end));
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        write(&writer, &[b'x'; 4096]).unwrap();
        assert!(is_full(&end));
        drop(writer);
        // A process that another test has forked at this moment still has it.
        let until = Instant::now() + Duration::from_secs(30);
        while !has_no_writer(&end) {
            assert!(Instant::now() < until, "the pipe has a writer for ever");
            sleep(Duration::from_millis(1));
        }
    }
}
