//! Signals: sending those for which nix has no name, what a program does when it receives one, and the signal that
//! carries commands.

use super::pidfd::PidFd;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getpid};
use std::os::fd::{AsFd, AsRawFd};

/// Unblocks all signals. A child of [`fork`](super::fork) calls this before it executes a program of the user's.
/// Blocked signals stay blocked through exec(2), and a service with blocked signals could not be told to end.
pub fn unblock_signals() {
    // The call fails only for a set that cannot be read.
    let _ = SigSet::empty().thread_set_mask();
}

/// A set of signals by number. It may contain real-time signals, which nix's own sets cannot.
pub fn signal_set(numbers: &[i32]) -> SigSet {
    // SAFETY: sigemptyset fills this plain memory, and sigaddset refuses a number that is no signal.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for number in numbers {
            libc::sigaddset(&mut set, *number);
        }
        SigSet::from_sigset_t_unchecked(set)
    }
}

/// Resets a signal to its default action. The process that executed us may have changed it.
///
/// # Errors
/// EINVAL: the signal's action cannot be set.
pub fn default_action(signal: Signal) -> nix::Result<()> {
    // SAFETY: the default action runs no code of ours.
    unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) }.map(drop)
}

/// Ignores a signal from now on. Programs that are executed later ignore it too, unless they set an action for it.
pub fn ignore_signal(signal: Signal) {
    // SAFETY: to ignore a signal runs no code of ours.
    let _ = unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigIgn) };
}

/// Whether a signal is ignored. The process that executed us may have made it so.
pub fn is_ignored(number: i32) -> bool {
    // SAFETY: all zeros is a valid value of this type. Without a new action, the call only writes the present one.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(number, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Sends a signal by number. It may be a real-time signal, which nix's own `kill` does not accept.
///
/// # Errors
/// ESRCH: there is no such process. EPERM: we may not signal it. EINVAL: the number is no signal.
pub fn send_signal(pid: Pid, number: i32) -> nix::Result<()> {
    // SAFETY: the arguments are integers.
    Errno::result(unsafe { libc::kill(pid.as_raw(), number) }).map(drop)
}

/// The signal that carries svscan's commands to a supervise. svscan uses it for each supervise that has written its
/// page, and for any other only if its FIFO cannot be used. The bytes of the commands are the value of the signal.
/// svscan starts every supervise with this signal blocked, so that it never kills one that does not read it yet.
pub const COMMANDS: i32 = 62;

/// The maximum number of commands in one signal [`COMMANDS`].
pub const MOST_COMMANDS: usize = 4;

/// Sends [`COMMANDS`] to a child that was not waited for, or to the process that `held` holds.
///
/// # Errors
/// ESRCH: the process has ended. EPERM: we may not signal it. EAGAIN: too many signals are waiting already. EMSGSIZE:
/// there are more commands than [`MOST_COMMANDS`].
pub fn send_commands(pid: Pid, held: Option<&PidFd>, commands: &[u8]) -> nix::Result<()> {
    let mut value = [0; MOST_COMMANDS];
    value.get_mut(..commands.len()).ok_or(Errno::EMSGSIZE)?.copy_from_slice(commands);
    // The kernel's siginfo_t has 128 bytes, of which any value is valid.
    let mut info: [u8; 128] = [0; 128];
    let mut put = |offset: usize, number: i32| {
        info.iter_mut().skip(offset).zip(number.to_ne_bytes()).for_each(|(to, from)| *to = from);
    };
    // The number, the code, then the sender and the value, as sigqueue(3) fills them in.
    put(0, COMMANDS);
    put(8, libc::SI_QUEUE);
    let sender = size_of::<libc::c_int>() * 2 + if cfg!(target_pointer_width = "64") { 8 } else { 4 };
    put(sender, getpid().as_raw());
    put(sender + 4, i32::from_ne_bytes(nix::unistd::getuid().as_raw().to_ne_bytes()));
    put(sender + 8, i32::from_ne_bytes(value));
    let info = info.as_ptr();
    let sent = match held {
        // SAFETY: the arguments are integers and a siginfo_t, which the kernel only reads. It refuses a code that only
        // itself may use.
        Some(held) => unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, held.as_fd().as_raw_fd(), COMMANDS, info, 0)
        },
        // SAFETY: the arguments are integers and a siginfo_t, which the kernel only reads.
        None => unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid.as_raw(), COMMANDS, info) },
    };
    Errno::result(sent).map(drop)
}

/// The commands that came with a signal [`COMMANDS`]; none if it carries none.
///
/// The sender's number in the signal proves nothing, because the sender has written it. The commands are obeyed because
/// the kernel has delivered the signal: it lets only those processes signal us that could as well kill us.
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
    fn commands_come_with_the_signal_of_commands_and_every_sender_of_it_is_obeyed() {
        let table = [
            (COMMANDS, libc::SI_QUEUE, 0, &b"dx"[..]),
            // The sender's number is ignored, whether it is true or not.
            (COMMANDS, libc::SI_QUEUE, 4_000_000_000, b"dx"),
            (COMMANDS, libc::SI_USER, 0, b""),
            (libc::SIGTERM, libc::SI_QUEUE, 0, b""),
        ];
        for (number, code, account, commands) in table {
            // SAFETY: this is a struct of integers, for which all zeros is a valid value.
            let mut signal: nix::sys::signalfd::siginfo = unsafe { std::mem::zeroed() };
            (signal.ssi_signo, signal.ssi_code, signal.ssi_uid) = (number as u32, code, account);
            signal.ssi_int = i32::from_ne_bytes(*b"dx\0\0");
            assert_eq!(commands_of(&signal), commands, "{number} {code} {account}");
        }
    }
}
