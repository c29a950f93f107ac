//! Writing to a descriptor that other processes share, without waiting for its reader and without being killed by a
//! signal.
//!
//! `O_NONBLOCK` would do this, but it belongs to the open file, which our services share with us, so they would get
//! EAGAIN from then on. So a file that may block its writer is opened once more for each message, or the bytes are
//! written by a call that can be told not to wait:
//!
//! | what it is | how it is written to |
//! |---|---|
//! | a socket | `send(2)`, told not to wait |
//! | a pipe, a FIFO | through `/proc/self/fd/N`, opened without waiting; else by `splice(2)` from a pipe of our own |
//! | a terminal | through `/proc/self/fd/N`, opened without waiting; else if `poll(2)` says that there is room |
//! | all else | `write(2)`: regular files and the devices in memory do not wait |
//!
//! A pipe of another account cannot be opened through `/proc`. `splice(2)` is for that case, and for systems without
//! `/proc`. It uses one of the pipe's 16 buffers for each message, however short, and is therefore the second choice.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, open, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{pipe2, write};
use std::io::IsTerminal;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Writes as much of `bytes` as fits now, and returns how much that is. Into a pipe, `PIPE_BUF` (4096) bytes or fewer
/// are written completely or not at all. The call causes neither SIGPIPE, SIGXFSZ nor SIGTTOU, and does not change how
/// these are handled.
///
/// # Errors
/// EAGAIN: nothing fits now. EPIPE: there is no reader. EBADF: the descriptor is not open for writing. Otherwise the
/// errors of `write(2)`.
pub fn write_now(fd: BorrowedFd, bytes: &[u8]) -> nix::Result<usize> {
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL)?);
    if flags & OFlag::O_ACCMODE == OFlag::O_RDONLY {
        return Err(Errno::EBADF);
    }
    let kind = super::kind::of(&fstat(fd)?);
    without_signals(|| match kind {
        SFlag::S_IFSOCK => send(fd.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL),
        _ if flags.contains(OFlag::O_NONBLOCK) => write(fd, bytes),
        SFlag::S_IFIFO => match open_again(fd) {
            Ok(own) => write(own, bytes),
            Err(Errno::ENXIO) => Err(Errno::EPIPE),
            Err(_) => through_pipe(fd, bytes),
        },
        SFlag::S_IFCHR if fd.is_terminal() => match open_again(fd) {
            Ok(own) => write(own, bytes),
            Err(_) => if_room(fd, bytes),
        },
        _ => write(fd, bytes),
    })
}

/// Opens the same file once more, for writing without waiting. Only this process has the new open file.
///
/// # Errors
/// ENXIO: a FIFO has no reader. EACCES: the file belongs to another account. ENOENT: there is no `/proc`.
fn open_again(fd: BorrowedFd) -> nix::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let own = open(path.as_str(), flags, Mode::empty())?;
    let (ours, its) = (fstat(&own)?, fstat(fd)?);
    // The directory `/proc` may contain something else than a proc file system, so the files are compared.
    if (ours.st_dev, ours.st_ino) == (its.st_dev, its.st_ino) { Ok(own) } else { Err(Errno::ENOENT) }
}

/// Moves `bytes` into the pipe from one of our own. For this call the kernel obeys the call's own flag, so the open
/// file's flags need not be changed.
fn through_pipe(fd: BorrowedFd, bytes: &[u8]) -> nix::Result<usize> {
    let Ok((reader, writer)) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK) else { return if_room(fd, bytes) };
    let length = write(&writer, bytes)?;
    match splice(&reader, None, fd, None, length, SpliceFFlags::SPLICE_F_NONBLOCK) {
        // A filter forbids the call, or an emulated kernel does not have it.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => if_room(fd, bytes),
        moved => moved,
    }
}

/// Writes if there is room now. Another process may fill the room first, and then this call waits after all, so it is
/// only used where nothing else is possible.
fn if_room(fd: BorrowedFd, bytes: &[u8]) -> nix::Result<usize> {
    let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
    match poll(&mut fds, PollTimeout::ZERO) {
        Ok(0) => Err(Errno::EAGAIN),
        Ok(_) => write(fd, bytes.get(..PIPE_BUF).unwrap_or(bytes)),
        Err(errno) => Err(errno),
    }
}

/// A pipe that has room at all has room for this many bytes.
const PIPE_BUF: usize = 4096;

/// Runs `call` with the signals blocked that a write may cause, and discards those that it has caused. Signals that
/// were pending before stay pending. (Where SIGTTOU is blocked, a background process can write to a terminal with
/// `tostop`, and no signal is sent.)
fn without_signals<T>(call: impl FnOnce() -> T) -> T {
    let signals = SigSet::from_iter([Signal::SIGPIPE, Signal::SIGXFSZ, Signal::SIGTTOU]);
    let before = pending();
    let mask = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let result = call();
    let caused = SigSet::from_iter(signals.iter().filter(|signal| !before.contains(*signal)));
    take_away(&caused);
    if let Ok(mask) = mask {
        let _ = mask.thread_set_mask();
    }
    result
}

/// The signals that are waiting to be delivered.
fn pending() -> SigSet {
    // SAFETY: this is plain memory, for which all zeros is a valid value and which sigpending fills.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigpending(&mut set);
        SigSet::from_sigset_t_unchecked(set)
    }
}

/// Discards the waiting signals of this set, which must be blocked. Of each there is at most one.
pub fn take_away(set: &SigSet) {
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the set and the time are valid, and the call writes nothing.
    while unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), &at_once) } > 0 {}
}

/// Waits until there may be room or the time is over, and returns whether there may be room.
pub fn wait_for_room(fd: BorrowedFd, timeout: PollTimeout) -> bool {
    matches!(poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)], timeout), Ok(1..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::FdFlag;
    use nix::pty::openpty;
    use nix::sys::signal::raise;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use nix::sys::termios::{FlowArg, tcflow};
    use nix::unistd::read;
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::time::{Duration, Instant};

    type Way = fn(BorrowedFd, &[u8]) -> nix::Result<usize>;
    /// The usual way to write a message, and the way without `/proc`.
    const WAYS: [Way; 2] = [write_now, |fd, bytes| without_signals(|| through_pipe(fd, bytes))];

    fn fill(writer: &OwnedFd) {
        let flags = OFlag::from_bits_retain(fcntl(writer, FcntlArg::F_GETFL).unwrap());
        fcntl(writer, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
        for piece in [&[b'x'; 4096][..], b"x"] {
            while write(writer, piece).is_ok() {}
        }
        fcntl(writer, FcntlArg::F_SETFL(flags)).unwrap();
    }

    /// Returns why nothing can be written any more. A process that another test has forked at this moment also has the
    /// other end, until it executes a program or ends.
    fn refusal(writer: &OwnedFd, way: Way) -> Errno {
        let limit = Instant::now() + Duration::from_secs(30);
        loop {
            match way(writer.as_fd(), b"line\n") {
                Ok(_) | Err(Errno::EAGAIN) if Instant::now() < limit => std::thread::sleep(Duration::from_millis(1)),
                Ok(_) => panic!("the other end is still open"),
                Err(errno) => return errno,
            }
        }
    }

    #[test]
    fn a_pipe_takes_what_fits_and_is_not_waited_for() {
        for way in WAYS {
            let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
            let flags = fcntl(&writer, FcntlArg::F_GETFL).unwrap();
            assert_eq!(way(writer.as_fd(), b"line\n"), Ok(5));
            let mut seen = [0; 8];
            assert_eq!((read(&reader, &mut seen), &seen[..5]), (Ok(5), &b"line\n"[..]));
            fill(&writer);
            assert_eq!(way(writer.as_fd(), b"line\n"), Err(Errno::EAGAIN));
            assert_eq!(fcntl(&writer, FcntlArg::F_GETFL), Ok(flags), "it is shared with others");
            assert!(!wait_for_room(writer.as_fd(), PollTimeout::ZERO));
        }
    }

    #[test]
    fn of_what_is_too_long_for_one_piece_a_part_is_written() {
        for way in WAYS {
            let (_reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
            let written = way(writer.as_fd(), &vec![b'y'; 100_000]).unwrap();
            assert!((4096..100_000).contains(&written), "{written}");
            assert_eq!(way(writer.as_fd(), b"line\n"), Err(Errno::EAGAIN));
        }
    }

    #[test]
    fn without_a_reader_it_is_an_error_and_no_signal() {
        for way in WAYS {
            let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
            drop(reader);
            let mask = SigSet::thread_get_mask().unwrap();
            assert_eq!(refusal(&writer, way), Errno::EPIPE);
            assert!(!pending().contains(Signal::SIGPIPE));
            assert_eq!(SigSet::thread_get_mask().unwrap(), mask);
        }
    }

    #[test]
    fn a_signal_that_waited_before_still_waits() {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
        drop(reader);
        let pipe = SigSet::from_iter([Signal::SIGPIPE]);
        let mask = pipe.thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap();
        raise(Signal::SIGPIPE).unwrap();
        assert_eq!(refusal(&writer, write_now), Errno::EPIPE);
        assert!(pending().contains(Signal::SIGPIPE));
        take_away(&pipe);
        mask.thread_set_mask().unwrap();
    }

    #[test]
    fn a_fifo_without_a_reader_is_like_a_pipe_without_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let both = open(&path, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        let writer = open(&path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        assert_eq!(write_now(writer.as_fd(), b"line\n"), Ok(5));
        drop(both);
        assert_eq!(refusal(&writer, write_now), Errno::EPIPE);
    }

    #[test]
    fn a_socket_is_not_waited_for_either() {
        for kind in [SockType::Stream, SockType::SeqPacket, SockType::Datagram] {
            let (ours, its) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).unwrap();
            assert_eq!(write_now(ours.as_fd(), b"line\n"), Ok(5));
            while write_now(ours.as_fd(), b"line\n").is_ok() {}
            assert_eq!(write_now(ours.as_fd(), b"line\n"), Err(Errno::EAGAIN));
            drop(its);
            let refused = [Errno::EPIPE, Errno::ECONNREFUSED, Errno::ECONNRESET];
            assert!(refused.contains(&refusal(&ours, write_now)));
        }
    }

    #[test]
    fn a_terminal_that_was_stopped_is_not_waited_for() {
        let ways: [Way; 2] = [write_now, |fd, bytes| without_signals(|| if_room(fd, bytes))];
        for way in ways {
            let terminal = openpty(None, None).unwrap();
            for fd in [&terminal.master, &terminal.slave] {
                fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
            }
            assert_eq!(way(terminal.slave.as_fd(), b"line\n"), Ok(5));
            tcflow(&terminal.slave, FlowArg::TCOOFF).unwrap();
            assert_eq!(way(terminal.slave.as_fd(), b"line\n"), Err(Errno::EAGAIN));
            tcflow(&terminal.slave, FlowArg::TCOON).unwrap();
            assert_eq!(way(terminal.slave.as_fd(), b"line\n"), Ok(5));
        }
    }

    #[test]
    fn a_file_is_written_where_its_description_stands() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before ").unwrap();
        assert_eq!(write_now(file.as_fd(), b"line\n"), Ok(5));
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "before line\n");
        assert_eq!(write_now(File::options().write(true).open("/dev/full").unwrap().as_fd(), b"x"), Err(Errno::ENOSPC));
        assert_eq!(write_now(File::open("/dev/null").unwrap().as_fd(), b"x"), Err(Errno::EBADF));
    }
}
