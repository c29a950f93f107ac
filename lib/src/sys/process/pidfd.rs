//! Holding a process by a descriptor, so that no other process is mistaken for it.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The type of the kernel's file system of process descriptors, as fstatfs(2) reports it. That file system gives each
/// process a unique number.
const PID_FS_MAGIC: i64 = 0x5049_4446;

/// A process that is held by a descriptor. A signal reaches this process or fails with ESRCH; it never reaches a
/// process that got the number later. The descriptor is readable in `poll(2)` once the process has ended.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens a descriptor for the process that has the number `pid` now, close-on-exec.
    ///
    /// # Errors
    /// ESRCH: there is no such process. ENOSYS: the kernel is older than 5.3. EMFILE: there are no descriptors.
    pub fn open(pid: Pid) -> nix::Result<PidFd> {
        // SAFETY: the call takes two integers. The result is checked before it is used as a descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just given us this descriptor, and no other code knows it.
        Ok(PidFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The serial number of the process among all that were started since the kernel's boot. No other process has it or
    /// will have it, and the kernel reports it without `/proc`. `None` before Linux 6.9.
    ///
    /// # Errors
    /// The errors of fstat(2), of which none is expected.
    pub fn serial(&self) -> nix::Result<Option<u64>> {
        if crate::sys::file_system(self)?.kind != PID_FS_MAGIC {
            return Ok(None);
        }
        Ok(Some(nix::sys::stat::fstat(self)?.st_ino))
    }

    /// A duplicate of the descriptor `number` of the held process, close-on-exec.
    ///
    /// # Errors
    /// EBADF: the process has no such descriptor. EPERM: we may not trace the process. ENOSYS: the kernel is older than
    /// 5.6.
    pub fn descriptor(&self, number: RawFd) -> nix::Result<OwnedFd> {
        // SAFETY: the call takes three integers. The result is checked before it is used as a descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.0.as_raw_fd(), number, 0) };
        let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just given us this descriptor, and no other code knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Sends a signal to the held process.
    ///
    /// # Errors
    /// ESRCH: the process has ended and was reaped. EPERM: we may not signal it.
    pub fn signal(&self, signal: Signal) -> nix::Result<()> {
        // SAFETY: the call takes an open descriptor, an integer, no siginfo and no flags.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal as libc::c_int,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        Errno::result(result).map(drop)
    }
}

/// What is known of the exit of a held process that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its status as from `wait(2)`.
    Status(i32),
    /// Its parent has not waited for it yet, so the caller must ask again.
    NotReaped,
    /// The kernel does not report it (before Linux 6.15).
    Untold,
}

impl PidFd {
    /// Whether the held process has ended. It may not have been waited for.
    pub fn has_ended(&self) -> bool {
        poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1)
    }

    /// How the held process ended. Call this after it has ended. The caller need not be its parent.
    pub fn ended(&self) -> Ended {
        // SAFETY: this is a struct of integers, for which all zeros is a valid value.
        let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
        info.mask = u64::from(libc::PIDFD_INFO_EXIT);
        // SAFETY: the descriptor is open, and the kernel writes at most the size that the request names.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::PIDFD_GET_INFO, &mut info) };
        match Errno::result(result) {
            Ok(_) if info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0 => Ended::Status(info.exit_code),
            Ok(_) => Ended::NotReaped,
            // The process was reaped before the kernel could be asked, or the kernel has no such request.
            Err(_) => Ended::Untold,
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
