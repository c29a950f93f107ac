//! Looking at files through a child process. A process that touches a mount whose server is gone, of NFS or FUSE, or a
//! device that is gone, waits, perhaps for ever. So a supervisor never looks at such files itself: its child looks, and
//! the answer comes back as a value, if it comes before a deadline.

use crate::sys::process::{self, close_all_but, duplicate_to, fork_apart, has_ended_apart, wait_for_apart};
use crate::sys::timeout;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, close, setpgid};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// The longest request or answer, in bytes.
const LONGEST: usize = 1 << 24;

/// The number of the descriptor that is the helper's own end of the socket.
const SOCKET: RawFd = 0;

/// A child process that answers requests, one after the other. It ends when this value is dropped, or as soon as the
/// kernel lets it. Its end is not told to the parent by SIGCHLD, so that it wakes no loop.
#[derive(Debug)]
pub struct Helper {
    pid: Pid,
    socket: OwnedFd,
    /// Whether a request was sent to the helper whose answer was not read yet.
    owes_answer: bool,
    /// Whether [`Leaving`] has ended the helper, so that dropping this value does not end it once more.
    has_left: bool,
}

impl Helper {
    /// Starts a child process that answers each request with what `answer` returns. If that is `None`, the child ends.
    ///
    /// # Errors
    /// EAGAIN, ENOMEM or EMFILE: there can be no more processes or descriptors now.
    pub fn start(answer: impl Fn(&[u8]) -> Option<Vec<u8>>) -> nix::Result<Helper> {
        Helper::start_with(None, answer)
    }

    /// Starts a child process that has this descriptor of ours, whose number is above 2, under the same number.
    ///
    /// # Errors
    /// As for [`start`](Helper::start).
    pub fn start_with(kept: Option<BorrowedFd>, answer: impl Fn(&[u8]) -> Option<Vec<u8>>) -> nix::Result<Helper> {
        let (socket, its) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let pid = fork_apart(|| serve(&its, kept, answer))?;
        Ok(Helper { pid, socket, owes_answer: false, has_left: false })
    }

    /// Sends a request. The helper must owe no answer.
    ///
    /// # Errors
    /// EPIPE, ECONNRESET: the helper has ended. ETIMEDOUT: it does not read the request before the deadline.
    pub fn request(&mut self, request: &[u8], deadline: Instant) -> nix::Result<()> {
        let length = u32::try_from(request.len()).map_err(|_| Errno::EMSGSIZE)?;
        self.owes_answer = true;
        let message = [&length.to_ne_bytes(), request].concat();
        send_all(self.socket.as_raw_fd(), &message, || self.wait(PollFlags::POLLOUT, deadline))
    }

    /// Waits for the answer to the request.
    ///
    /// # Errors
    /// ETIMEDOUT: the helper does not answer before the deadline. EPIPE, ECONNRESET: it has ended.
    pub fn answer(&mut self, deadline: Instant) -> nix::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.read(&mut length, deadline)?;
        let length = usize::try_from(u32::from_ne_bytes(length)).map_err(|_| Errno::EMSGSIZE)?;
        if length > LONGEST {
            return Err(Errno::EMSGSIZE);
        }
        let mut answer = vec![0; length];
        self.read(&mut answer, deadline)?;
        self.owes_answer = false;
        Ok(answer)
    }

    /// Sends a request and waits for its answer as long as the helper gets on. A helper that has waited in the kernel for
    /// the time `silence` gives no answer any more.
    ///
    /// # Errors
    /// ETIMEDOUT: there is no answer, or none until the time `until`. EPIPE, ECONNRESET: the helper has ended.
    pub fn ask(&mut self, request: &[u8], silence: Duration, until: Instant) -> nix::Result<Vec<u8>> {
        self.request(request, until)?;
        loop {
            let moment = until.min(Instant::now() + silence);
            match self.wait_for_answer(moment) {
                // Where the processors are busy, it may not have had its turn.
                Err(Errno::ETIMEDOUT) if Instant::now() < until && !process::is_waiting(self.pid) => {}
                Err(errno) => return Err(errno),
                Ok(()) => return self.answer(until),
            }
        }
    }

    /// Waits until the answer begins to come.
    fn wait_for_answer(&self, until: Instant) -> nix::Result<()> {
        while self.is_waiting() {
            self.wait(PollFlags::POLLIN, until)?;
        }
        Ok(())
    }

    /// Ends the helper. If the kernel does not let it end yet, its number is returned, for which [`Leaving`] waits.
    fn end(&self) -> Option<Pid> {
        let is_waiting = self.is_waiting();
        // The number is the helper's until it is waited for, which happens only here and in `Leaving`.
        let _ = kill(self.pid, Signal::SIGKILL);
        if is_waiting {
            has_ended_apart(self.pid).is_ok_and(|ended| !ended).then_some(self.pid)
        } else {
            let _ = wait_for_apart(self.pid);
            None
        }
    }

    /// Whether the helper was asked something, and still waits for what it looks at.
    pub fn is_waiting(&self) -> bool {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        self.owes_answer && poll(&mut fds, PollTimeout::ZERO) == Ok(0)
    }

    fn read(&self, buffer: &mut [u8], deadline: Instant) -> nix::Result<()> {
        receive_all(self.socket.as_raw_fd(), buffer, || self.wait(PollFlags::POLLIN, deadline))
    }

    fn wait(&self, what: PollFlags, deadline: Instant) -> nix::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(&mut [PollFd::new(self.socket.as_fd(), what)], timeout(Some(left))) {
            Ok(0) => Err(Errno::ETIMEDOUT),
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// A helper that waits for what it looks at may not end at SIGKILL, and the parent does not wait for it: where the parent lives
/// on, it lets [`Leaving`] end such a helper.
impl Drop for Helper {
    fn drop(&mut self) {
        if !self.has_left {
            let _ = self.end();
        }
    }
}

/// Helpers that were ended while they waited for what they look at. Each becomes a zombie as soon as the kernel lets it end.
#[derive(Debug, Default)]
pub struct Leaving(Vec<Pid>);

impl Leaving {
    /// Ends a helper.
    pub fn end(&mut self, mut helper: Helper) {
        helper.has_left = true;
        self.0.extend(helper.end());
    }

    /// Waits for those that have ended.
    pub fn reap(&mut self) {
        self.0.retain(|pid| has_ended_apart(*pid).is_ok_and(|ended| !ended));
    }
}

/// The code of the helper. It ends when its parent ends, and closes all other descriptors of the parent: its locks, and the
/// pipes at whose other end a process waits for the end of its input.
fn serve(socket: &OwnedFd, kept: Option<BorrowedFd>, answer: impl Fn(&[u8]) -> Option<Vec<u8>>) -> i32 {
    let _ = set_pdeathsig(Signal::SIGKILL);
    // Signals to the parent's process group are meant for the parent, so the helper leaves the group.
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    if duplicate_to(socket, SOCKET).is_err() {
        return 1;
    }
    let _ = [1, 2].map(close);
    close_all_but(kept.map(|kept| kept.as_raw_fd()).as_slice());
    // No file that the helper opens is to be its standard output. Where there is no such device, nothing is written.
    let _ = [1, 2].map(|_| open("/dev/null", OFlag::O_RDWR, Mode::empty()).map(std::mem::forget));
    while let Some(request) = receive() {
        let Some(answer) = answer(&request) else { return 1 };
        if transmit(&answer).is_none() {
            return 1;
        }
    }
    0
}

/// The next request; `None` once the parent has closed its end.
fn receive() -> Option<Vec<u8>> {
    let mut length = [0; 4];
    receive_all(SOCKET, &mut length, never_waits).ok()?;
    let mut request = vec![0; usize::try_from(u32::from_ne_bytes(length)).ok().filter(|length| *length <= LONGEST)?];
    receive_all(SOCKET, &mut request, never_waits).ok()?;
    Some(request)
}

/// Sends an answer; `None` if that is not possible.
fn transmit(answer: &[u8]) -> Option<()> {
    let message = [&u32::try_from(answer.len()).ok()?.to_ne_bytes(), answer].concat();
    send_all(SOCKET, &message, never_waits).ok()
}

/// The helper's own end of the socket waits by itself, so that the kernel never asks the helper to wait.
fn never_waits() -> nix::Result<()> {
    Err(Errno::EAGAIN)
}

/// Sends all bytes. `wait` waits where the socket does not, until it can take more.
fn send_all(socket: RawFd, mut rest: &[u8], wait: impl Fn() -> nix::Result<()>) -> nix::Result<()> {
    while !rest.is_empty() {
        match send(socket, rest, MsgFlags::MSG_NOSIGNAL) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(Errno::EAGAIN) => wait()?,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Fills the buffer. `wait` waits where the socket does not, until there is more to receive. EPIPE: the other end is closed.
fn receive_all(socket: RawFd, mut rest: &mut [u8], wait: impl Fn() -> nix::Result<()>) -> nix::Result<()> {
    while !rest.is_empty() {
        match recv(socket, rest, MsgFlags::empty()) {
            Ok(0) => return Err(Errno::EPIPE),
            Ok(count) => rest = rest.get_mut(count..).unwrap_or_default(),
            Err(Errno::EAGAIN) => wait()?,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_was_ended_while_it_waited_is_waited_for_later() {
        let mut helper = Helper::start(|_| {
            std::thread::sleep(Duration::from_secs(1000));
            None
        })
        .unwrap();
        let soon = Instant::now() + Duration::from_secs(5);
        helper.request(b"x", soon).unwrap();
        assert!(helper.is_waiting());
        let (pid, mut leaving) = (helper.pid, Leaving::default());
        leaving.end(helper);
        while !leaving.0.is_empty() {
            leaving.reap();
        }
        assert_eq!(has_ended_apart(pid), Err(Errno::ECHILD));
    }
}
