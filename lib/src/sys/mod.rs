//! What the standard library and nix lack or leave unsafe; all `unsafe` is here, whoever needs it, but for the entry
//! point that [`main!`](crate::main!) gives each program.
//!
//! Nothing here makes policy: each function is one system call, or the shortest sequence of them that makes sense,
//! with its errors handed back.

#![allow(unsafe_code)]

pub mod boot;
pub mod datagram;
pub mod directory;
pub mod events;
pub mod exec;
pub mod file_numbers;
pub mod fnmatch;
pub mod kind;
pub mod localtime;
pub mod lock;
pub mod mapping;
pub mod memory;
pub mod open_files;
pub mod pocket;
pub mod process;
pub mod proctitle;
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
/// `argv` must be what the C library gave `main`: `argc` pointers to strings that stay. Called once, by `main`
/// alone: the last string is handed out for writing later ([`proctitle::last_argument`]).
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

/// Standard input, borrowed: it may be closed, and the first use says so with EBADF.
pub fn stdin() -> BorrowedFd<'static> {
    // SAFETY: descriptor 0 is never closed by us. Whoever started us may have closed it; then it is nobody's,
    // or a file of ours that got its number, as in any program in C: a wrong answer, but no memory is touched.
    unsafe { BorrowedFd::borrow_raw(0) }
}

/// Standard output, borrowed likewise.
pub fn stdout() -> BorrowedFd<'static> {
    // SAFETY: as for stdin.
    unsafe { BorrowedFd::borrow_raw(1) }
}

/// Standard error, borrowed likewise.
pub fn stderr() -> BorrowedFd<'static> {
    // SAFETY: as for stdin.
    unsafe { BorrowedFd::borrow_raw(2) }
}

/// Opens `/dev/null` for each of the standard descriptors that whoever started us has closed: else a file of ours gets
/// its number, is taken for input, or gets the complaints that are for people. Close-on-exec: what we start finds
/// closed what was closed.
pub fn fill_standard_descriptors() {
    for standard in [stdin(), stdout(), stderr()] {
        if fcntl(standard, FcntlArg::F_GETFD) == Err(Errno::EBADF) {
            // It gets the lowest number that is free, which is this one.
            let _ = null().map(IntoRawFd::into_raw_fd);
        }
    }
}

/// `/dev/null`, close-on-exec. Where that is missing, a file in memory that stays empty: reading from it finds the end,
/// writing to it fails.
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

/// `/dev/null`, if it is there and is a device: a file made in its place would grow.
///
/// # Errors
/// ENOENT: it is not there. ENODEV: it is something else.
pub fn null_device() -> nix::Result<OwnedFd> {
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    if kind::is_character_device(&fstat(&null)?) { Ok(null) } else { Err(Errno::ENODEV) }
}

/// Writes all of `bytes`, beginning with a single `write(2)`; goes on after EINTR and short writes.
///
/// # Errors
/// Whatever `write(2)` says otherwise; what was written until then stays written.
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

/// A descriptor above 2 that an earlier program in this process left open for us by number; close-on-exec from
/// now on.
///
/// # Errors
/// EBADF: it did not, or it was asked for before.
pub fn inherited_descriptor(number: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: an integer; the kernel checks it.
    let flags = Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if number <= 2 || flags & libc::FD_CLOEXEC != 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: likewise.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open and was not close-on-exec, as all are that we open ourselves: so it came through an exec,
    // nothing in this program owns it, and it is not handed out again.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The writing end of a pipe, made a reading end as well: whoever has it can write though all readers are dead,
/// until the pipe is full. As it was where `/proc` is missing.
pub fn also_reading(writer: OwnedFd) -> OwnedFd {
    both_ends(&writer).unwrap_or(writer)
}

/// Another end of a pipe of ours, for reading and writing. Close-on-exec.
///
/// # Errors
/// ENOENT: `/proc` is missing. EMFILE, ENFILE: no descriptors.
pub fn both_ends(end: &OwnedFd) -> nix::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", end.as_raw_fd());
    open(path.as_str(), OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
}

/// Makes standard error an end that can only be written to, where it is a FIFO that could be read as well; for a program that
/// is about to be executed. supervise and svscan keep the reading end of svscanboot's FIFO, so that writers find a reader
/// though readproctitle is killed; a service that had it too could take what other services say. As it was where `/proc` is
/// missing.
pub fn let_errors_only_be_written() {
    let flags = fcntl(stderr(), FcntlArg::F_GETFL).map(OFlag::from_bits_truncate);
    let is_both = flags.is_ok_and(|flags| flags & OFlag::O_ACCMODE == OFlag::O_RDWR);
    let is_fifo = || fstat(stderr()).is_ok_and(|file| kind::is_fifo(&file));
    if !is_both || !is_fifo() {
        return;
    }
    // Without O_NONBLOCK, opening it could wait; the flag is not for the program.
    let open = || open("/proc/self/fd/2", OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty());
    let _ = open().and_then(|writer| {
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty()))?;
        process::duplicate_to(&writer, 2)
    });
}

/// Bytes in a pipe that nobody has read yet: so many can be read without waiting.
///
/// # Errors
/// ENOTTY: it is not a pipe, nor anything else that knows.
pub fn unread(fd: impl AsFd) -> nix::Result<usize> {
    let mut count: std::ffi::c_int = 0;
    // SAFETY: an open descriptor, and the request writes one integer.
    Errno::result(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::FIONREAD, &mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Whether a pipe is empty, and nothing has it open for writing: reading finds its end.
pub fn is_abandoned(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    let asked = poll(&mut fds, PollTimeout::ZERO);
    let news = fds.first().and_then(PollFd::revents).unwrap_or(PollFlags::empty());
    asked.is_ok() && news == PollFlags::POLLHUP
}

/// A file system, as fstatfs(2) tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// What kind it is: one of the numbers in linux/magic.h.
    pub kind: i64,
    /// What tells it from the others that are mounted; 0 where it has nothing of that.
    pub id: u64,
}

/// The file system that an open file lies on.
///
/// # Errors
/// ENOSYS: it has none.
pub fn file_system(file: impl AsFd) -> nix::Result<FileSystem> {
    // SAFETY: a struct of integers, for which zero is a value.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: an open descriptor, and a struct that the kernel fills.
    Errno::result(unsafe { libc::fstatfs(file.as_fd().as_raw_fd(), &mut found) })?;
    // SAFETY: two integers of 32 bits, whose names libc keeps to itself.
    let [low, high] = unsafe { std::mem::transmute::<libc::fsid_t, [u32; 2]>(found.f_fsid) };
    // The kinds of all file systems fit into 32 bits, which some machines sign.
    Ok(FileSystem { kind: found.f_type as i64 & 0xffff_ffff, id: u64::from(high) << 32 | u64::from(low) })
}

/// Whether the same question may be answered later.
pub fn is_passing(errno: Errno) -> bool {
    is_shortage(errno) || errno == Errno::EIO
}

/// Whether the system has too little of something for now, or was interrupted.
pub fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EINTR | Errno::EAGAIN)
}

/// How long poll(2) is to wait for what is due in so long; for ever, if nothing is. Rounded up: woken too early, one
/// would only wait again.
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

/// The program `name` that lies beside the running one, if there is one; else just `name`, to be
/// looked up in PATH. So one toolkit in a folder always starts its own companions. To be asked before the current
/// directory is left: where `/proc` is missing, the program may be known by a path that is relative to it.
pub fn companion(name: &str) -> PathBuf {
    let own = std::fs::read_link("/proc/self/exe").ok().or_else(executed_file);
    let beside = own.and_then(|own| Some(own.parent()?.join(name)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name))
}

/// The file that the kernel was told to execute as this program, as it tells without `/proc`.
fn executed_file() -> Option<PathBuf> {
    // SAFETY: an integer; the kernel's answer is 0, or points to a string that stays.
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
