//! An alarm by the wall clock. What multilog has to do at midnight is done at midnight, even if the clock is set or
//! the machine sleeps until then.

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// An alarm whose descriptor is readable once its moment has come.
pub struct Alarm {
    timer: TimerFd,
    set: Option<Duration>,
}

impl Alarm {
    /// Makes an alarm that is not set.
    ///
    /// # Errors
    /// EMFILE, ENFILE: no descriptor is free.
    pub fn new() -> nix::Result<Alarm> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Alarm { timer: TimerFd::new(ClockId::CLOCK_REALTIME, flags)?, set: None })
    }

    /// Sets the alarm to a moment, given as time since 1970, or to none.
    pub fn set(&mut self, at: Option<Duration>) {
        if at != self.set {
            let done = match at {
                // The kernel takes 1970 itself for "never".
                Some(at) => {
                    let at = Expiration::OneShot(TimeSpec::from_duration(at.max(Duration::from_nanos(1))));
                    self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)
                }
                None => self.timer.unset(),
            };
            // The kernel refuses a moment beyond its clock: such a moment never comes.
            self.set = at.filter(|_| done.is_ok());
        }
    }

    /// Clears the alarm after its moment has come.
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
