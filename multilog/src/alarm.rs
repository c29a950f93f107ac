//! The wall clock, where it matters: what is to be done at midnight is done at midnight, though the clock is set or
//! the machine sleeps until then.

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Readable once a moment has come.
pub struct Alarm {
    timer: TimerFd,
    set: Option<Duration>,
}

impl Alarm {
    /// Not set.
    ///
    /// # Errors
    /// No descriptors.
    pub fn new() -> nix::Result<Alarm> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Alarm { timer: TimerFd::new(ClockId::CLOCK_REALTIME, flags)?, set: None })
    }

    /// Sets it to a moment, as time since 1970, or to none.
    pub fn set(&mut self, at: Option<Duration>) {
        if at != self.set {
            let done = match at {
                // 1970 itself would mean never.
                Some(at) => {
                    let at = Expiration::OneShot(TimeSpec::from_duration(at.max(Duration::from_nanos(1))));
                    self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)
                }
                None => self.timer.unset(),
            };
            // What lies beyond the kernel's clock does not come.
            self.set = at.filter(|_| done.is_ok());
        }
    }

    /// Takes in that the time has come.
    pub fn heard(&mut self) {
        let _ = self.timer.wait();
        self.set = None;
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
