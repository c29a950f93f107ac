//! What the standard library and nix lack or leave unsafe. All `unsafe` code of the workspace is here, except for the
//! entry point that [`main!`](crate::main!) gives each program.
//!
//! This module makes no policy: each function is one system call, or the shortest useful sequence of them, and returns
//! their errors.

#![allow(unsafe_code)]

pub mod boot;
pub mod datagram;
pub mod directory;
pub mod exec;
pub mod file_numbers;
pub mod file_systems;
pub mod fnmatch;
pub mod inotify;
pub mod kind;
pub mod localtime;
pub mod lock;
pub mod mapping;
pub mod memory;
pub mod open_files;
pub mod pocket;
pub mod process;
pub mod proctitle;
pub mod scheduling;
pub mod spawn;
pub mod write_now;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fstat};
use std::ffi::{CStr, OsStr, OsString, c_char};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// The program's arguments without its own name.
///
/// # Safety
/// `argv` must be what the C library gave `main`: `argc` pointers to strings that stay valid. Only `main` may call
/// this, and only once, because the last string is handed out for writing later ([`proctitle::last_argument`]).
pub unsafe fn arguments(argc: i32, argv: *const *const c_char) -> crate::Args {
    let count = usize::try_from(argc).unwrap_or(0);
    if count > 1 {
        // SAFETY: count - 1 < argc.
        proctitle::remember(unsafe { *argv.add(count - 1) });
    }
    let argument = |index: usize| {
        // SAFETY: index < argc, and the C library ends every argument with NUL.
        let string = unsafe { CStr::from_ptr(*argv.add(index)) };
        OsStr::from_bytes(string.to_bytes()).to_os_string()
    };
    (1..count).map(argument).collect::<Vec<OsString>>().into_iter()
}

/// The name by which the program was called; empty if it was given none.
///
/// # Safety
/// As for [`arguments`], except that it may be called more than once.
pub unsafe fn own_name(argc: i32, argv: *const *const c_char) -> OsString {
    if argc < 1 {
        return OsString::new();
    }
    // SAFETY: there is at least one argument, and the C library ends it with NUL.
    let name = unsafe { CStr::from_ptr(*argv) };
    OsStr::from_bytes(name.to_bytes()).to_os_string()
}

/// Standard input, borrowed. If it is closed, its first use fails with EBADF.
pub fn stdin() -> BorrowedFd<'static> {
    // SAFETY: we never close descriptor 0. The process that started us may have closed it. Then the number is unused,
    // or belongs to a file that we have opened, as in any program in C: the result may be wrong, but no memory is
    // touched.
    unsafe { BorrowedFd::borrow_raw(0) }
}

/// Standard output, borrowed as [`stdin`] is.
pub fn stdout() -> BorrowedFd<'static> {
    // SAFETY: as for stdin.
    unsafe { BorrowedFd::borrow_raw(1) }
}

/// Standard error, borrowed as [`stdin`] is.
pub fn stderr() -> BorrowedFd<'static> {
    // SAFETY: as for stdin.
    unsafe { BorrowedFd::borrow_raw(2) }
}

/// Opens `/dev/null` for each standard descriptor that is closed at the start of the program. Otherwise a file that we
/// open would get its number and be taken for standard input, or receive our messages. The descriptors are
/// close-on-exec, so a program that we execute finds them closed as they were.
pub fn open_missing_stdio() {
    for standard in [stdin(), stdout(), stderr()] {
        if fcntl(standard, FcntlArg::F_GETFD) == Err(Errno::EBADF) {
            // open(2) returns the lowest free number, which is this one.
            let _ = null().map(IntoRawFd::into_raw_fd);
        }
    }
}

/// Opens `/dev/null`, close-on-exec. Where it is missing, the result is an empty file in memory that cannot grow:
/// reading finds its end, and writing fails.
///
/// # Errors
/// EMFILE, ENFILE: no descriptors. ENOMEM: no memory.
pub fn null() -> nix::Result<OwnedFd> {
    null_device().or_else(|_| {
        let file = memfd_create("null", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL))?;
        Ok(file)
    })
}

/// Opens `/dev/null` if it exists and is a device. A regular file in its place would grow.
///
/// # Errors
/// ENOENT: it does not exist. ENODEV: it is something else.
pub fn null_device() -> nix::Result<OwnedFd> {
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    if kind::is_character_device(&fstat(&null)?) { Ok(null) } else { Err(Errno::ENODEV) }
}

/// Writes all of `bytes`, beginning with a single `write(2)`. It goes on after EINTR and after short writes.
///
/// # Errors
/// Any other error of `write(2)`. What was written until then stays written.
pub fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> nix::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(fd.as_fd(), bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Takes over a descriptor above 2 that an earlier program in this process left open for us and told us by number. It
/// is close-on-exec from now on.
///
/// # Errors
/// EBADF: no such descriptor was left open, or it was taken over before.
pub fn inherited_descriptor(number: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: the argument is an integer, which the kernel checks.
    let flags = Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if number <= 2 || flags & libc::FD_CLOEXEC != 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: the arguments are integers, which the kernel checks.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: the descriptor is open and was not close-on-exec, while all that we open ourselves are. So it came
    // through an exec, nothing in this program owns it, and it is not handed out again.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Makes the writing end of a pipe a reading end as well. A process that has it can write while all readers are dead,
/// until the pipe is full. Where `/proc` is missing, the end is returned unchanged.
pub fn reopen_read_write(writer: OwnedFd) -> OwnedFd {
    both_ends(&writer).unwrap_or(writer)
}

/// Opens another end of a pipe of ours, for reading and writing, close-on-exec.
///
/// # Errors
/// ENOENT: `/proc` is missing. EMFILE, ENFILE: no descriptors.
pub fn both_ends(end: &OwnedFd) -> nix::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", end.as_raw_fd());
    open(path.as_str(), OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
}

/// Whether a descriptor can be read as well as written.
///
/// # Errors
/// EBADF: it is not open.
pub fn is_both_ends(fd: impl AsFd) -> nix::Result<bool> {
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL)?);
    Ok(flags & OFlag::O_ACCMODE == OFlag::O_RDWR)
}

/// Where standard error is a FIFO that can also be read, replaces it by an end that can only be written to. Does the same
/// for standard output if that is the same FIFO; another FIFO there is the pipe to the service's own logger. A program that
/// is about to be executed needs this: supervise and svscan keep the reading end of svscanboot's FIFO, so that writers
/// find a reader even when readproctitle is killed, but a service with that end could read what other services write.
/// Where `/proc` is missing, nothing is changed.
pub fn make_stderr_write_only() {
    let Some(errors) = file_of_fifo(stderr()) else { return };
    for (number, end) in [(1, stdout()), (2, stderr())] {
        let is_both = is_both_ends(end) == Ok(true);
        if is_both && file_of_fifo(end) == Some(errors) {
            let _ = writing_end(number).and_then(|writer| process::duplicate_to(&writer, number));
        }
    }
}

/// The device and inode of a FIFO or pipe; `None` if the descriptor is something else.
fn file_of_fifo(fd: BorrowedFd) -> Option<(u64, u64)> {
    fstat(fd).ok().filter(kind::is_fifo).map(|file| (file.st_dev, file.st_ino))
}

/// Opens another end of the FIFO that has this descriptor, only for writing.
fn writing_end(number: RawFd) -> nix::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{number}");
    // Without O_NONBLOCK, open(2) could wait. The flag is then removed, because the program does not expect it.
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let writer = open(path.as_str(), flags, Mode::empty())?;
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(writer)
}

/// How many columns the terminal has; `None` if the file is no terminal, or its size is not known.
pub fn columns(terminal: impl AsFd) -> Option<usize> {
    window_size(terminal).map(|(_, columns)| columns)
}

/// How many lines and columns the terminal has; `None` if the file is no terminal, or its size is not known.
pub fn window_size(terminal: impl AsFd) -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, and `size` is one. The descriptor is open during the call.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    Errno::result(result).ok()?;
    Some((usize::from(size.ws_row), usize::from(size.ws_col))).filter(|(_, columns)| *columns > 0)
}

/// The number of bytes in a pipe that can be read without waiting.
///
/// # Errors
/// ENOTTY: the descriptor is neither a pipe nor another file that knows this number.
pub fn unread(fd: impl AsFd) -> nix::Result<usize> {
    let mut count: std::ffi::c_int = 0;
    // SAFETY: the descriptor is open, and the request writes one integer.
    Errno::result(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::FIONREAD, &mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Whether a pipe is empty and no process has it open for writing, so that reading finds its end.
pub fn is_at_end(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    let asked = poll(&mut fds, PollTimeout::ZERO);
    let news = fds.first().and_then(PollFd::revents).unwrap_or(PollFlags::empty());
    asked.is_ok() && news == PollFlags::POLLHUP
}

/// Whether a process has a pipe open for reading; `fd` is open for writing. If the kernel does not tell, it counts as so.
pub fn has_reader(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::empty())];
    let asked = poll(&mut fds, PollTimeout::ZERO);
    let news = fds.first().and_then(PollFd::revents).unwrap_or(PollFlags::empty());
    asked.is_err() || !news.contains(PollFlags::POLLERR)
}

/// A file system as fstatfs(2) describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// Its type, one of the numbers in linux/magic.h.
    pub kind: i64,
    /// Its identity among the mounted file systems; 0 if it has none.
    pub id: u64,
}

/// The file system on which an open file lies.
///
/// # Errors
/// ENOSYS: the file system does not support the call.
pub fn file_system(file: impl AsFd) -> nix::Result<FileSystem> {
    // SAFETY: this is a struct of integers, for which all zeros is a valid value.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the kernel fills the struct.
    Errno::result(unsafe { libc::fstatfs(file.as_fd().as_raw_fd(), &mut found) })?;
    // SAFETY: the type consists of two integers of 32 bits, whose names libc keeps private.
    let [low, high] = unsafe { std::mem::transmute::<libc::fsid_t, [u32; 2]>(found.f_fsid) };
    // All types fit into 32 bits, but on some machines fstatfs(2) extends their sign.
    Ok(FileSystem { kind: found.f_type as i64 & 0xffff_ffff, id: u64::from(high) << 32 | u64::from(low) })
}

/// Whether the error may pass, so that the same call may succeed later.
pub fn is_passing(errno: Errno) -> bool {
    is_shortage(errno) || matches!(errno, Errno::EIO | Errno::ENOSPC)
}

/// Whether the system lacks some resource at present, or the call was interrupted.
pub fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EINTR | Errno::EAGAIN)
}

/// The timeout for poll(2) until something is due; `None` waits for ever. The time is rounded up, because a program
/// that woke too early would only have to wait again.
pub fn timeout(left: Option<Duration>) -> PollTimeout {
    left.map_or(PollTimeout::NONE, |left| {
        PollTimeout::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
    })
}

/// Ends the process at once: no destructors, no buffers, no exit handlers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// The program `name` in the same directory as the running program, if it exists there; otherwise just `name`, which is
/// then searched in PATH. So each installation of the toolkit starts its own programs. Call this before the current
/// directory changes: where `/proc` is missing, the path of the running program may be relative to it.
pub fn companion(name: &str) -> PathBuf {
    let own = std::fs::read_link("/proc/self/exe").ok().or_else(executed_file);
    let beside = own.and_then(|own| Some(own.parent()?.join(name)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name))
}

/// The file that the kernel executed as this program, found without `/proc`.
fn executed_file() -> Option<PathBuf> {
    // SAFETY: the argument is an integer. The answer is 0 or points to a string that stays valid.
    let path = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const c_char;
    if path.is_null() {
        return None;
    }
    // SAFETY: as above.
    let path = unsafe { CStr::from_ptr(path) };
    std::fs::canonicalize(OsStr::from_bytes(path.to_bytes())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::FdFlag;
    use std::io::Write;

    #[test]
    fn what_comes_through_an_exec_is_taken_once() {
        let (_reader, mut writer) = std::io::pipe().unwrap();
        let ours = inherited_descriptor(writer.as_raw_fd());
        assert_eq!(ours.map(drop), Err(Errno::EBADF), "it is close-on-exec, so it is somebody's here");
        writer.write_all(b"still open").unwrap();
        fcntl(&writer, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let number = writer.into_raw_fd();
        let taken = inherited_descriptor(number).unwrap();
        assert_eq!(taken.as_raw_fd(), number);
        assert_eq!(inherited_descriptor(number).map(drop), Err(Errno::EBADF));
        assert_eq!(inherited_descriptor(0).map(drop), Err(Errno::EBADF));
    }

    #[test]
    fn poll_is_not_to_end_too_early() {
        assert_eq!(timeout(None), PollTimeout::NONE);
        assert_eq!(timeout(Some(Duration::ZERO)), PollTimeout::ZERO);
        assert_eq!(timeout(Some(Duration::from_nanos(1))), PollTimeout::from(1_u8));
        assert_eq!(timeout(Some(Duration::from_millis(5))), PollTimeout::from(5_u8));
        assert_eq!(timeout(Some(Duration::MAX)), PollTimeout::MAX);
    }

    #[test]
    fn the_kernel_tells_the_executed_file_without_proc() {
        assert_eq!(executed_file(), std::fs::read_link("/proc/self/exe").ok());
    }

    #[test]
    fn what_is_unread_is_counted() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"seven..").unwrap();
        assert_eq!(unread(&reader), Ok(7));
        assert_eq!(
            unread(tempfile::tempdir().map(|dir| std::fs::File::open(dir.path()).unwrap()).unwrap()),
            Err(Errno::ENOTTY)
        );
    }
}
