//! Processes: making them, and waiting for their end. What is in `process/` holds them, signals them, and looks them up in
//! `/proc`.

mod pidfd;
mod proc;
mod signals;

use super::directory::for_each_name;
use super::open_files;
use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};
pub use pidfd::{Ended, PidFd};
pub use proc::{
    Ancestry, access_mode, accounts, ancestry, boot_id, has_gained_rights, has_proc, mount_of, proc_path,
    process_numbers, process_table, start_ticks, ticks_of, zombie_status,
};
pub use signals::{
    COMMANDS, MOST_COMMANDS, commands_of, default_action, is_ignored, send_commands, send_signal, signal_set,
    unblock_signals,
};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Forks. The child runs `child`, and exits with the code it returns unless it became another program. Only for
/// programs with one thread, as all of ours are.
///
/// # Errors
/// EAGAIN or ENOMEM: no more processes for now.
pub fn fork(child: impl FnOnce() -> i32) -> nix::Result<Pid> {
    // SAFETY: one thread, so the child may do anything the parent could: nobody holds a lock that stays locked in
    // it. It never returns from here into what the parent was doing; a panic ends it.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => super::exit_now(child()),
        ForkResult::Parent { child } => Ok(child),
    }
}

/// Closes all descriptors numbered `first` and above, whoever owns them: only for a child of [`fork`] that is to keep
/// nothing of its parent's open.
pub fn close_from(first: u32) {
    close_range(first, u32::MAX);
}

/// Closes the descriptors numbered `first` to `last`, for such a child.
fn close_range(first: u32, last: u32) {
    // SAFETY: integers. What owned them in the parent's memory is never dropped or used in the child, which ends by
    // exiting at once; what it opens from now on is its own.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    // A kernel before 5.9 has no such call, and a filter may refuse it.
    if Errno::result(closed).is_err() {
        close_each(first, last);
    }
}

/// The same, one by one: those that `/proc` shows, or without it all that there can be.
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
        // SAFETY: as above. That it is not open any more, as the one by which they were listed, changes nothing.
        let _ = RawFd::try_from(number).map(|number| unsafe { libc::close(number) });
    }
}

/// The limit of open files where nothing else was said.
const FEW: u64 = 1024;

/// The same, without descriptors below 3 and without those to be kept.
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

/// Waits for any child that has ended, without blocking; `None` if there is none. The number is as
/// `wait(2)` has it: nix's `waitpid` reaps a child killed by a real-time signal and then fails.
///
/// # Errors
/// ECHILD: no children at all.
pub fn reap() -> nix::Result<Option<(Pid, i32)>> {
    let mut status = 0;
    // SAFETY: writes one integer.
    let pid = Errno::result(unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) })?;
    Ok((pid > 0).then(|| (Pid::from_raw(pid), status)))
}

/// Waits until the child `pid` has ended. The number is as `wait(2)` has it, for the reason given at [`reap`].
///
/// # Errors
/// ECHILD: no such child, or SIGCHLD is ignored and its end was thrown away.
pub fn wait_for(pid: Pid) -> nix::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: writes one integer.
        match Errno::result(unsafe { libc::waitpid(pid.as_raw(), &mut status, 0) }) {
            Err(Errno::EINTR) => {}
            ended => return ended.map(|_| status),
        }
    }
}

/// A child that has ended, left as it is until [`wait_for`] is asked for it, and how it ended, as `wait(2)` has it; `None`
/// if there is none now. Any child, or only the one with the number `pid`.
///
/// # Errors
/// ECHILD: no such child.
pub fn ended_child_status(pid: Option<Pid>) -> nix::Result<Option<(Pid, i32)>> {
    // SAFETY: a struct of integers, for which zero is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let (kind, number) = pid.map_or((libc::P_ALL, 0), |pid| (libc::P_PID, pid.as_raw().unsigned_abs()));
    // SAFETY: writes one struct.
    Errno::result(unsafe { libc::waitid(kind, number, &mut info, flags) })?;
    // SAFETY: filled by waitid, which has these fields; zero if it found nothing.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let status = match info.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    };
    Ok((pid > 0).then(|| (Pid::from_raw(pid), status)))
}

/// Makes descriptor `number` the same as `fd`, to be kept across execution.
///
/// # Errors
/// EBADF: more than the limit on descriptors.
pub fn duplicate_to(fd: impl AsFd, number: RawFd) -> nix::Result<()> {
    if fd.as_fd().as_raw_fd() == number {
        // SAFETY: integers, one of them an open descriptor.
        return Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: only for a child that is about to execute: what `number` was before, nobody misses there.
    Errno::result(unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) }).map(drop)
}

/// Another descriptor for the same as `fd`, close-on-exec, numbered `least` or above.
///
/// # Errors
/// EMFILE: none left.
pub fn duplicate_above(fd: impl AsFd, least: RawFd) -> nix::Result<OwnedFd> {
    let duplicate = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(least))?;
    // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(duplicate) })
}

/// From here on everybody else goes first, at the processor and at the disk.
pub fn be_last() {
    // Being refused, as on a kernel that cannot, changes nothing else.
    // SAFETY: integers; 0 is this process.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT);
    }
}

// Of linux/ioprio.h, which libc lacks.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const IOPRIO_CLASS_IDLE: libc::c_int = 3;
const IOPRIO_CLASS_SHIFT: libc::c_int = 13;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::IntoRawFd;

    /// In a child, as the tests beside this one have descriptors too.
    #[test]
    fn descriptors_are_closed_one_by_one_where_the_kernel_has_no_call_for_all() {
        let [first, kept, last] =
            [30, 40, 50].map(|least| duplicate_above(crate::sys::stderr(), least).map(IntoRawFd::into_raw_fd).unwrap());
        // SAFETY: an integer.
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
