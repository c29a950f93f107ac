//! Signals: those that nix cannot be given by number, what becomes of them in a program, and the one that carries commands.

use super::pidfd::PidFd;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getpid};
use std::os::fd::{AsFd, AsRawFd};

/// Blocks no signal any more: for a child of [`fork`](super::fork) that is to become a program of the user's. A signal that is blocked
/// stays so through exec(2); a service that is started so by whoever started us could not be told to end.
pub fn unblock_signals() {
    // Fails only for a set that cannot be read.
    let _ = SigSet::empty().thread_set_mask();
}

/// A set of signals by number, real-time signals included, which nix's own sets cannot be given.
pub fn signal_set(numbers: &[i32]) -> SigSet {
    // SAFETY: plain memory, which sigemptyset fills; a number that is no signal is refused by sigaddset.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for number in numbers {
            libc::sigaddset(&mut set, *number);
        }
        SigSet::from_sigset_t_unchecked(set)
    }
}

/// Gives a signal its default action, which it may have lost before we were executed.
///
/// # Errors
/// EINVAL: not a signal that has actions.
pub fn default_action(signal: Signal) -> nix::Result<()> {
    // SAFETY: the default action runs no code of ours.
    unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) }.map(drop)
}

/// Whether a signal is ignored, as it may have been since before we were executed.
pub fn is_ignored(number: i32) -> bool {
    // SAFETY: of this type, all bytes zero is a value; with no new action, the call only writes the present one.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(number, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Sends a signal by number, real-time signals included, which nix's own `kill` cannot be given.
///
/// # Errors
/// ESRCH: no such process. EPERM: not allowed. EINVAL: not a signal.
pub fn send_signal(pid: Pid, number: i32) -> nix::Result<()> {
    // SAFETY: integers.
    Errno::result(unsafe { libc::kill(pid.as_raw(), number) }).map(drop)
}

/// The signal by which svscan commands each supervise that has written its page, and another one only if that cannot be
/// reached through its FIFO: the bytes of the commands come with it. svscan starts every supervise with it blocked, so that it
/// never kills one that does not listen yet.
pub const COMMANDS: i32 = 62;

/// The most commands that come with one signal [`COMMANDS`].
pub const MOST_COMMANDS: usize = 4;

/// Sends [`COMMANDS`] to a child that was not waited for, or to the process that `held` holds.
///
/// # Errors
/// ESRCH: it has ended. EPERM: not allowed. EAGAIN: too many signals wait already. EMSGSIZE: more commands than
/// [`MOST_COMMANDS`].
pub fn send_commands(pid: Pid, held: Option<&PidFd>, commands: &[u8]) -> nix::Result<()> {
    let mut value = [0; MOST_COMMANDS];
    value.get_mut(..commands.len()).ok_or(Errno::EMSGSIZE)?.copy_from_slice(commands);
    // The kernel's siginfo_t: 128 bytes that may be anything.
    let mut info: [u8; 128] = [0; 128];
    let mut put = |offset: usize, number: i32| {
        info.iter_mut().skip(offset).zip(number.to_ne_bytes()).for_each(|(to, from)| *to = from);
    };
    // The number, the code, and after them who sent it and the value, as sigqueue(3) fills them in.
    put(0, COMMANDS);
    put(8, libc::SI_QUEUE);
    let sender = size_of::<libc::c_int>() * 2 + if cfg!(target_pointer_width = "64") { 8 } else { 4 };
    put(sender, getpid().as_raw());
    put(sender + 4, i32::from_ne_bytes(nix::unistd::getuid().as_raw().to_ne_bytes()));
    put(sender + 8, i32::from_ne_bytes(value));
    let info = info.as_ptr();
    let sent = match held {
        // SAFETY: integers, and a siginfo_t that the kernel reads; it refuses a code that only itself may use.
        Some(held) => unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, held.as_fd().as_raw_fd(), COMMANDS, info, 0)
        },
        // SAFETY: likewise integers, and a siginfo_t that the kernel only reads.
        None => unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid.as_raw(), COMMANDS, info) },
    };
    Errno::result(sent).map(drop)
}

/// The commands that came with a [`COMMANDS`]; none if it came without.
///
/// What the signal says of its sender proves nothing, as the sender has written it. The commands are obeyed because the
/// kernel has delivered the signal: it lets only those signal us who could as well kill us.
pub fn commands_of(signal: &nix::sys::signalfd::siginfo) -> Vec<u8> {
    if signal.ssi_signo != COMMANDS as u32 || signal.ssi_code != libc::SI_QUEUE {
        return Vec::new();
    }
    signal.ssi_int.to_ne_bytes().into_iter().filter(|byte| *byte != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_with_the_signal_of_commands_and_whoever_could_send_it_is_obeyed() {
        let table = [
            (COMMANDS, libc::SI_QUEUE, 0, &b"dx"[..]),
            // What the sender says of itself counts for nothing, be it true or not.
            (COMMANDS, libc::SI_QUEUE, 4_000_000_000, b"dx"),
            (COMMANDS, libc::SI_USER, 0, b""),
            (libc::SIGTERM, libc::SI_QUEUE, 0, b""),
        ];
        for (number, code, account, commands) in table {
            // SAFETY: a struct of integers, for which zero is a value.
            let mut signal: nix::sys::signalfd::siginfo = unsafe { std::mem::zeroed() };
            (signal.ssi_signo, signal.ssi_code, signal.ssi_uid) = (number as u32, code, account);
            signal.ssi_int = i32::from_ne_bytes(*b"dx\0\0");
            assert_eq!(commands_of(&signal), commands, "{number} {code} {account}");
        }
    }
}
