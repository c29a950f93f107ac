//! Holding on to a process by a descriptor, so that no other one is taken for it.

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The kind of the file system of descriptors of processes, which numbers them.
const PID_FS_MAGIC: i64 = 0x5049_4446;

/// A process held by a descriptor: signals reach this process or fail with ESRCH, never another
/// one that got its number later. Readable in `poll(2)` once the process has ended.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Takes hold of the process that has the number `pid` now. Close-on-exec.
    ///
    /// # Errors
    /// ESRCH: no such process. ENOSYS: a kernel before 5.3. EMFILE: out of descriptors.
    pub fn open(pid: Pid) -> nix::Result<PidFd> {
        // SAFETY: takes two integers; the result is checked before it is taken for a descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
        Ok(PidFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The number of the process among all that were started since the kernel's boot: no other process has it or will
    /// have it, and the kernel tells it without `/proc`. `None` before Linux 6.9.
    ///
    /// # Errors
    /// Those of fstat(2), of which none is known.
    pub fn serial(&self) -> nix::Result<Option<u64>> {
        if crate::sys::file_system(self)?.kind != PID_FS_MAGIC {
            return Ok(None);
        }
        Ok(Some(nix::sys::stat::fstat(self)?.st_ino))
    }

    /// Another descriptor of what the process has open as `number`, close-on-exec.
    ///
    /// # Errors
    /// EBADF: it has no such one. EPERM: we may not trace it. ENOSYS: a kernel before 5.6.
    pub fn descriptor(&self, number: RawFd) -> nix::Result<OwnedFd> {
        // SAFETY: takes three integers; the result is checked before it is taken for a descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.0.as_raw_fd(), number, 0) };
        let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Sends a signal to the process held.
    ///
    /// # Errors
    /// ESRCH: it has ended and was reaped. EPERM: not allowed.
    pub fn signal(&self, signal: Signal) -> nix::Result<()> {
        // SAFETY: an open descriptor, an integer, no siginfo, no flags.
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

/// What is known of the end of a process that is held by its [`PidFd`] and has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As `wait(2)` has it: to be taken apart by the usual rules.
    Status(i32),
    /// Its parent has not waited for it yet: ask again.
    NotReaped,
    /// The kernel does not tell (before 6.15).
    Untold,
}

impl PidFd {
    /// How the process ended, to be asked once it has. For this the kernel need not be asked by the
    /// parent of the process.
    pub fn ended(&self) -> Ended {
        // SAFETY: a struct of integers, for which zero is a value.
        let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
        info.mask = u64::from(libc::PIDFD_INFO_EXIT);
        // SAFETY: the descriptor is open, and the kernel writes at most the size that the request names.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::PIDFD_GET_INFO, &mut info) };
        match Errno::result(result) {
            Ok(_) if info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0 => Ended::Status(info.exit_code),
            Ok(_) => Ended::NotReaped,
            // Reaped before a kernel that remembers could be asked, or no such request.
            Err(_) => Ended::Untold,
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
