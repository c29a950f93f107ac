//! The signals that multilog has been sent.

use daemontools::sys::process::default_action;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// The signals that have come.
pub struct Signals {
    descriptor: SignalFd,
    /// The signal mask that multilog was started with, which its children get back.
    pub original_mask: SigSet,
    /// TERM has come.
    pub leaving: bool,
    /// ALRM has come.
    pub rotate: bool,
    /// CHLD has come, and multilog has not yet looked which child has ended.
    pub child: bool,
}

impl Signals {
    /// Has TERM, ALRM and CHLD arrive through a descriptor from now on. PIPE and XFSZ do not kill multilog any more:
    /// the call that caused them fails.
    ///
    /// # Errors
    /// EMFILE, ENFILE: no descriptor is free.
    pub fn new() -> nix::Result<Signals> {
        let blocked =
            SigSet::from_iter([Signal::SIGTERM, Signal::SIGALRM, Signal::SIGCHLD, Signal::SIGPIPE, Signal::SIGXFSZ]);
        let mut original_mask = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        blocked.iter().for_each(|signal| original_mask.remove(signal));
        // What the parent ignores would be ignored by the processors too. The original has handlers for TERM and ALRM, and a
        // program that is executed begins with the default action of a signal that was handled.
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGALRM] {
            default_action(signal)?;
        }
        let descriptor = SignalFd::with_flags(&blocked, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Signals { descriptor, original_mask, leaving: false, rotate: false, child: false })
    }

    /// Reads all signals that have come.
    pub fn drain(&mut self) {
        while let Ok(Some(signal)) = self.descriptor.read_signal() {
            match i32::try_from(signal.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGTERM)) => self.leaving = true,
                Ok(Ok(Signal::SIGALRM)) => self.rotate = true,
                Ok(Ok(Signal::SIGCHLD)) => self.child = true,
                _ => {}
            }
        }
    }

    /// Waits for a signal, but no longer than `timeout`.
    pub fn wait(&mut self, timeout: PollTimeout) {
        let mut fds = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, timeout);
        self.drain();
    }

    /// Waits until more can be written to `fd`, a signal comes, or `timeout` is over. Returns whether more can be
    /// written.
    pub fn wait_to_write(&mut self, fd: BorrowedFd, timeout: PollTimeout) -> bool {
        let mut fds = [PollFd::new(fd, PollFlags::POLLOUT), PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, timeout);
        let is_ready = fds[0].any().unwrap_or(false);
        self.drain();
        is_ready
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
