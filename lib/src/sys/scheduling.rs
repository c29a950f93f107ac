//! How the kernel treats this process beside others: its nice value, its scheduling policy, its I/O priority; and its
//! controlling terminal. A program that this process executes inherits all of them.

use nix::errno::Errno;
use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd};

// From linux/ioprio.h; libc does not have them.
const IOPRIO_WHO_PROCESS: c_int = 1;
const IOPRIO_CLASS_SHIFT: c_int = 13;

/// The nice value with which a process gets least of the processor.
const NICEST: i32 = 19;

/// How the kernel chooses the process that runs next. A real-time priority is 1, the lowest, to 99.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The usual one, by nice values.
    Other,
    /// As `Other`, for work that never waits for input.
    Batch,
    /// Only when nothing else is to be done.
    Idle,
    /// In real time, until the process waits.
    Fifo(u8),
    /// In real time, by turns with others of that priority.
    RoundRobin(u8),
}

/// When the requests of a process for the disk are served. A level is 0, the highest, to 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoPriority {
    /// As the nice value says.
    ByNice,
    /// Before all others.
    RealTime(u8),
    /// The usual class.
    BestEffort(u8),
    /// Only when no other process wants the disk.
    Idle,
}

/// Sets the nice value, from -20 to 19.
///
/// # Errors
/// EACCES: it is lower than the value before, and the process has neither the right (CAP_SYS_NICE) nor the limit
/// (RLIMIT_NICE) for that.
pub fn set_nice(nice: i32) -> nix::Result<()> {
    // SAFETY: the arguments are integers. 0 means this process.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

/// Sets the scheduling policy.
///
/// # Errors
/// EPERM: the process has neither the right (CAP_SYS_NICE) nor the limit (RLIMIT_RTPRIO) for that, or the kernel gives no
/// time to processes in real time of its control group.
pub fn set_policy(policy: Policy) -> nix::Result<()> {
    let (policy, priority) = match policy {
        Policy::Other => (libc::SCHED_OTHER, 0),
        Policy::Batch => (libc::SCHED_BATCH, 0),
        Policy::Idle => (libc::SCHED_IDLE, 0),
        Policy::Fifo(priority) => (libc::SCHED_FIFO, priority),
        Policy::RoundRobin(priority) => (libc::SCHED_RR, priority),
    };
    // The kernel's structure `sched_param` is one integer. musl's function of this name refuses everything.
    let priority = c_int::from(priority);
    // SAFETY: the kernel reads one integer, which lives during the call. 0 means this process.
    let result = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const priority) };
    Errno::result(result).map(drop)
}

/// Sets the I/O priority.
///
/// # Errors
/// EPERM: the class is that of real time, and the process has not the right to it (CAP_SYS_ADMIN or CAP_SYS_NICE).
/// ENOSYS: the kernel has no I/O priorities.
pub fn set_io_priority(priority: IoPriority) -> nix::Result<()> {
    let (class, level) = match priority {
        IoPriority::ByNice => (0, 0),
        IoPriority::RealTime(level) => (1, level),
        IoPriority::BestEffort(level) => (2, level),
        IoPriority::Idle => (3, 0),
    };
    let priority = class << IOPRIO_CLASS_SHIFT | c_int::from(level);
    // SAFETY: the arguments are integers. 0 means this process.
    Errno::result(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority) }).map(drop)
}

/// Lowers this process to the lowest priority for the processor and for the disk.
pub fn lower_priority() {
    // An error, as on a kernel that lacks this, has no other effect.
    let _ = (set_nice(NICEST), set_io_priority(IoPriority::Idle));
}

/// Makes a terminal the controlling terminal of the session that this process leads.
///
/// # Errors
/// ENOTTY: it is no terminal. EPERM: this process leads no session, or has another controlling terminal, or the terminal
/// is that of another session.
pub fn take_terminal(terminal: impl AsFd) -> nix::Result<()> {
    // SAFETY: 0 asks not to take the terminal away from another session. The descriptor is open during the call.
    Errno::result(unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}
