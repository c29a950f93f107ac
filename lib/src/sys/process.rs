//! Making processes and waiting for their end. The modules in `process/` hold processes by descriptors, signal them,
//! and read about them in `/proc`.

mod pidfd;
mod proc;
mod signals;

use super::directory::for_each_name;
use super::open_files;
use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};
pub use pidfd::{Ended, PidFd};
pub use proc::{
    Ancestry, CpuTicks, Footprint, Proc, access_mode, accounts, ancestors, ancestry, ancestry_of, cpu_ticks,
    has_gained_rights, has_no_memory, has_proc, is_apart, is_hidden, is_living, is_stopped, is_uninterruptible,
    is_waiting, known_path, known_processes, mount_of, name, proc_path, process_numbers, process_table, start_ticks,
    ticks_at, ticks_of, ticks_per_second, zombie_status,
};
pub use signals::{
    COMMANDS, MOST_COMMANDS, commands_of, default_action, ignore_signal, is_ignored, send_commands, send_signal,
    signal_set, unblock_signals,
};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Forks. The child runs `child` and exits with the code that it returns, unless it became another program. Only
/// programs with one thread may call this, which all of ours have.
///
/// # Errors
/// EAGAIN or ENOMEM: there can be no more processes now.
pub fn fork(child: impl FnOnce() -> i32) -> nix::Result<Pid> {
    // SAFETY: there is one thread, so no other thread can hold a lock that would stay locked in the child, and the
    // child may do anything that the parent could. It never returns from here into the parent's code, and a panic ends
    // it.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => super::exit_now(child()),
        ForkResult::Parent { child } => Ok(child),
    }
}

/// Forks as [`fork`] does. But the child's end sends no SIGCHLD, and no waiting for any child finds it: the parent waits
/// for it by [`wait_for_apart`] or [`has_ended_apart`].
///
/// # Errors
/// EAGAIN or ENOMEM: there can be no more processes now.
pub fn fork_apart(child: impl FnOnce() -> i32) -> nix::Result<Pid> {
    let (no_flags, nothing): (libc::c_ulong, libc::c_ulong) = (0, 0);
    // SAFETY: without flags the call is a fork. As for `fork`, there is one thread, and the child never returns from here
    // into the parent's code.
    let pid = unsafe { libc::syscall(libc::SYS_clone, no_flags, nothing, nothing, nothing, nothing) };
    match Errno::result(pid)? {
        0 => super::exit_now(child()),
        pid => i32::try_from(pid).map(Pid::from_raw).map_err(|_| Errno::EINVAL),
    }
}

/// Waits until a child of [`fork_apart`] has ended.
///
/// # Errors
/// ECHILD: there is no such child.
pub fn wait_for_apart(pid: Pid) -> nix::Result<()> {
    while wait_apart(pid, 0)? != pid.as_raw() {}
    Ok(())
}

/// Whether a child of [`fork_apart`] has ended. If it has, its number may be that of another process from now on.
///
/// # Errors
/// ECHILD: there is no such child.
pub fn has_ended_apart(pid: Pid) -> nix::Result<bool> {
    Ok(wait_apart(pid, libc::WNOHANG)? == pid.as_raw())
}

fn wait_apart(pid: Pid, flags: i32) -> nix::Result<i32> {
    loop {
        // SAFETY: no status is requested.
        match Errno::result(unsafe { libc::waitpid(pid.as_raw(), std::ptr::null_mut(), flags | libc::__WALL) }) {
            Err(Errno::EINTR) => {}
            waited => return waited,
        }
    }
}

/// Closes all descriptors from number `first` on, whatever owns them. Only a child of [`fork`] that keeps none of its
/// parent's descriptors may call this.
pub fn close_from(first: u32) {
    close_range(first, u32::MAX);
}

/// Closes the descriptors with the numbers `first` to `last`. Only a child of [`fork`] that does not use them any more
/// may call this.
fn close_range(first: u32, last: u32) {
    // SAFETY: the arguments are integers. The values that owned the descriptors in the parent's memory are never
    // dropped or used in the child, which ends by exiting at once. What it opens from now on is its own.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    // Kernels before 5.9 do not have this call, and a filter may refuse it.
    if Errno::result(closed).is_err() {
        close_each(first, last);
    }
}

/// Closes the descriptors one by one: those that `/proc` shows, or without `/proc` all numbers up to the limit.
fn close_each(first: u32, last: u32) {
    let mut open = Vec::new();
    let listed = for_each_name(c"/proc/self/fd", |name| {
        open.extend(std::str::from_utf8(name).ok().and_then(|name| name.parse::<u32>().ok()));
        ControlFlow::Continue(())
    });
    if listed.is_err() {
        let limit = open_files::limit().unwrap_or(FEW);
        open.extend(first..u32::try_from(limit).unwrap_or(u32::MAX));
    }
    for number in open.into_iter().filter(|number| (first..=last).contains(number)) {
        // SAFETY: as above. The descriptor by which they were listed is closed already, and closing it again has no
        // effect.
        let _ = RawFd::try_from(number).map(|number| unsafe { libc::close(number) });
    }
}

/// The usual limit of open files, which is assumed if the limit cannot be read.
const FEW: u64 = 1024;

/// Closes all descriptors from 3 on, except those in `kept`. Only a child of [`fork`] may call this, as for
/// [`close_from`].
pub fn close_all_but(kept: &[RawFd]) {
    let mut kept: Vec<u32> = kept.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept {
        if first < fd {
            close_range(first, fd - 1);
        }
        first = first.max(fd + 1);
    }
    close_from(first);
}

/// Reaps any child that has ended, without blocking; `None` if there is none. The number is the status of `wait(2)`.
/// This does not use nix's `waitpid`, which reaps a child that was killed by a real-time signal and then fails.
///
/// # Errors
/// ECHILD: there are no children at all.
pub fn reap() -> nix::Result<Option<(Pid, i32)>> {
    let mut status = 0;
    // SAFETY: the call writes one integer.
    let pid = Errno::result(unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) })?;
    Ok((pid > 0).then(|| (Pid::from_raw(pid), status)))
}

/// Waits until the child `pid` has ended. The number is the status of `wait(2)`, for the reason given at [`reap`].
///
/// # Errors
/// ECHILD: there is no such child, or SIGCHLD is ignored and the kernel has discarded its status.
pub fn wait_for(pid: Pid) -> nix::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: the call writes one integer.
        match Errno::result(unsafe { libc::waitpid(pid.as_raw(), &mut status, 0) }) {
            Err(Errno::EINTR) => {}
            ended => return ended.map(|_| status),
        }
    }
}

/// A child that has ended, and its status as from `wait(2)`; `None` if there is none now. The child is not reaped until
/// [`wait_for`] is called. With `pid`, only that child is considered.
///
/// # Errors
/// ECHILD: there is no such child.
pub fn ended_child_status(pid: Option<Pid>) -> nix::Result<Option<(Pid, i32)>> {
    // SAFETY: this is a struct of integers, for which all zeros is a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let (kind, number) = pid.map_or((libc::P_ALL, 0), |pid| (libc::P_PID, pid.as_raw().unsigned_abs()));
    // SAFETY: the call writes one struct.
    Errno::result(unsafe { libc::waitid(kind, number, &mut info, flags) })?;
    // SAFETY: waitid has filled these fields; they are zero if it found nothing.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let status = match info.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    };
    Ok((pid > 0).then(|| (Pid::from_raw(pid), status)))
}

/// Makes descriptor `number` a duplicate of `fd` that stays open across exec.
///
/// # Errors
/// EBADF: `number` is above the limit on descriptors.
pub fn duplicate_to(fd: impl AsFd, number: RawFd) -> nix::Result<()> {
    if fd.as_fd().as_raw_fd() == number {
        // SAFETY: the arguments are integers, one of them an open descriptor.
        return Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: only a child that is about to execute a program calls this, so no code there uses what `number` was
    // before.
    Errno::result(unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) }).map(drop)
}

/// A duplicate of `fd`, close-on-exec, with the number `least` or above.
///
/// # Errors
/// EMFILE: no number is left.
pub fn duplicate_above(fd: impl AsFd, least: RawFd) -> nix::Result<OwnedFd> {
    let duplicate = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(least))?;
    // SAFETY: the kernel has just given us this descriptor, and no other code knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(duplicate) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::IntoRawFd;

    /// The test uses a child process, because other tests of this process have descriptors too.
    #[test]
    fn descriptors_are_closed_one_by_one_where_the_kernel_has_no_call_for_all() {
        let [first, kept, last] =
            [30, 40, 50].map(|least| duplicate_above(crate::sys::stderr(), least).map(IntoRawFd::into_raw_fd).unwrap());
        // SAFETY: the argument is an integer.
        let is_open = |number: RawFd| unsafe { libc::fcntl(number, libc::F_GETFD) } != -1;
        let child = fork(|| {
            let number = |number: RawFd| u32::try_from(number).unwrap_or(0);
            close_each(number(first), number(kept) - 1);
            close_each(number(kept) + 1, u32::MAX);
            i32::from([first, kept, last].map(is_open) != [false, true, false])
        });
        assert_eq!(wait_for(child.unwrap()), Ok(0));
        assert_eq!([first, kept, last].map(is_open), [true; 3]);
    }
}
