//! Starting another program at the least cost, however large the starter and many its descriptors.
//!
//! A fork copies page tables and takes a reference to every open descriptor, which the exec then
//! closes one by one: with ten thousand pipes open that costs more than the exec. Here the child
//! shares the memory until it has become the program, the parent waiting meanwhile, and of the
//! descriptors it is given only the first few. It leads a process group of its own.

use super::process::duplicate_to;
use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// What to start, and how it differs from us.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// Files to try to execute, in this order, as [`exec`](super::exec::exec) goes through PATH.
    pub candidates: &'a [CString],
    /// Its arguments, its own name first.
    pub argv: &'a [CString],
    /// Its environment, as `NAME=VALUE`.
    pub environment: &'a [CString],
    /// Its working directory, if not ours.
    pub directory: Option<&'a CString>,
    /// Descriptors that become others of its own: `(ours, its)`; both may be the same number. Of ours it gets those up
    /// to the highest of these, or up to 2; what is close-on-exec is closed as ever. They are set up in this order, so
    /// that none of its numbers may be one of ours that comes later.
    pub descriptors: &'a [(BorrowedFd<'a>, RawFd)],
    /// Its signal mask.
    pub mask: &'a SigSet,
    /// Its soft limit of open files, if not ours, and the hard one.
    pub open_files: Option<(u64, u64)>,
}

/// A program that could not be started: which step the system refused, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No process to be had.
    Process(Errno),
    /// Its descriptors or limits could not be set up.
    Descriptors(Errno),
    /// Its working directory could not be entered.
    Directory(Errno),
    /// None of the files could be executed.
    Program(Errno),
}

impl Refused {
    /// Why.
    pub fn errno(self) -> Errno {
        match self {
            Refused::Process(errno) | Refused::Descriptors(errno) => errno,
            Refused::Directory(errno) | Refused::Program(errno) => errno,
        }
    }
}

/// What the child reads, and where it leaves why it failed. It runs in our memory while we wait.
struct Shared<'a> {
    order: &'a Spawn<'a>,
    argv: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    refused: Option<Refused>,
}

/// Enough for a few system calls in a row; the child must not use the stack that we return on.
const STACK: usize = 32 * 1024;

#[repr(align(16))]
struct Stack(MaybeUninit<[u8; STACK]>);

/// Starts a program and returns its process, which by then has become the program.
///
/// # Errors
/// Which step failed. There is no process left behind then.
pub fn spawn(order: &Spawn) -> Result<Pid, Refused> {
    let pointers = |strings: &[CString]| {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let mut shared =
        Shared { order, argv: pointers(order.argv), environment: pointers(order.environment), refused: None };
    let mut stack = Stack(MaybeUninit::uninit());
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES | libc::SIGCHLD;
    // SAFETY: the stack is aligned and large enough, and grows down from its end. With CLONE_VFORK
    // we do not run until the child has executed or exited, so all that it points to stays. Our
    // programs have one thread and no signal handlers, so nobody else runs in our memory either.
    let pid = unsafe {
        let top = stack.0.as_mut_ptr().cast::<u8>().add(STACK);
        libc::clone(child, top.cast(), flags, (&raw mut shared).cast())
    };
    let pid = Errno::result(pid).map(Pid::from_raw).map_err(Refused::Process)?;
    // SAFETY: the child wrote it through the pointer that we gave away; read it as it is now.
    match unsafe { std::ptr::read_volatile(&raw const shared.refused) } {
        None => Ok(pid),
        Some(refused) => {
            // SAFETY: no status is asked for. The child has exited, so that this does not wait.
            while Errno::result(unsafe { libc::waitpid(pid.as_raw(), std::ptr::null_mut(), 0) }) == Err(Errno::EINTR) {}
            Err(refused)
        }
    }
}

/// The child: system calls only, no allocation, no panic.
extern "C" fn child(shared: *mut c_void) -> c_int {
    // SAFETY: `spawn` gave us this pointer, and waits.
    let shared = unsafe { &mut *shared.cast::<Shared>() };
    shared.refused = Some(become_program(shared));
    super::exit_now(crate::report::TEMPORARY)
}

fn become_program(shared: &Shared) -> Refused {
    let order = shared.order;
    if let Err(errno) = own_descriptors(order) {
        return Refused::Descriptors(errno);
    }
    if let Some(directory) = order.directory
        // SAFETY: a string ended by NUL.
        && let Err(errno) = Errno::result(unsafe { libc::chdir(directory.as_ptr()) })
    {
        return Refused::Directory(errno);
    }
    // A signal that a terminal or an init sends to the group of the starter is not meant for what it starts.
    // SAFETY: integers; nothing is refused to a process that has not executed anything yet.
    unsafe { libc::setpgid(0, 0) };
    // SAFETY: sets the mask of the only thread of this process.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, order.mask.as_ref(), std::ptr::null_mut()) };
    Refused::Program(execute(shared))
}

/// Until here the descriptors are the parent's own: first of all they are made ours, those that we
/// need and no more.
fn own_descriptors(order: &Spawn) -> nix::Result<()> {
    let last = order.descriptors.iter().map(|(ours, _)| ours.as_raw_fd()).fold(2, RawFd::max);
    let first_unwanted = c_uint::try_from(last + 1).map_err(|_| Errno::EBADF)?;
    // SAFETY: integers. Other than in the flags, the kernel knows nothing of who owns what.
    let ranged =
        unsafe { libc::syscall(libc::SYS_close_range, first_unwanted, c_uint::MAX, libc::CLOSE_RANGE_UNSHARE) };
    if Errno::result(ranged).is_err() {
        // A kernel before 5.9: all of them then; the exec closes what is not wanted.
        // SAFETY: an integer.
        Errno::result(unsafe { libc::unshare(libc::CLONE_FILES) })?;
    }
    for (ours, its) in order.descriptors {
        duplicate_to(ours, *its)?;
    }
    if let Some((soft, hard)) = order.open_files {
        let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        // SAFETY: a pointer to a valid struct.
        Errno::result(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    }
    Ok(())
}

fn execute(shared: &Shared) -> Errno {
    let mut refusal = Errno::ENOENT;
    for file in shared.order.candidates {
        // SAFETY: strings ended by NUL, in arrays ended by null, all of which live in the parent.
        unsafe { libc::execve(file.as_ptr(), shared.argv.as_ptr(), shared.environment.as_ptr()) };
        match Errno::last() {
            Errno::ENOENT => {}
            errno @ (Errno::EACCES | Errno::EPERM | Errno::EISDIR) => refusal = errno,
            errno => return errno,
        }
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::duplicate_above;
    use nix::sys::wait::{WaitStatus, waitpid};
    use std::io::Read;
    use std::os::fd::AsFd;

    fn strings(texts: &[&str]) -> Vec<CString> {
        texts.iter().map(|text| CString::new(*text).unwrap()).collect()
    }

    const SHOW: &str = "pwd; ulimit -n; echo $A; read -r pid name state parent group rest </proc/$$/stat
        [ $pid = $group ] && echo leads its group";

    #[test]
    fn a_program_gets_its_descriptors_directory_limit_environment_and_group() {
        let (reader, writer) = std::io::pipe().unwrap();
        let (candidates, argv) = (strings(&["/nowhere/sh", "/bin/sh"]), strings(&["sh", "-c", SHOW]));
        let environment = strings(&["A=b"]);
        let directory = CString::new("/").unwrap();
        let kept = duplicate_above(&reader, 3).unwrap();
        let order = Spawn {
            candidates: &candidates,
            argv: &argv,
            environment: &environment,
            directory: Some(&directory),
            descriptors: &[(writer.as_fd(), 1), (kept.as_fd(), kept.as_raw_fd())],
            mask: &SigSet::empty(),
            open_files: Some((17, 20)),
        };
        let pid = spawn(&order).unwrap();
        drop(writer);
        let mut said = String::new();
        (&reader).read_to_string(&mut said).unwrap();
        assert_eq!(said, "/\n17\nb\nleads its group\n");
        assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 0)));
    }

    #[test]
    fn what_fails_is_told_and_leaves_no_process() {
        let (candidates, argv) = (strings(&["/nowhere/sh", "/"]), strings(&["sh"]));
        let directory = CString::new("/nowhere").unwrap();
        let mut order = Spawn {
            candidates: &candidates,
            argv: &argv,
            environment: &[],
            directory: None,
            descriptors: &[],
            mask: &SigSet::empty(),
            open_files: None,
        };
        assert_eq!(spawn(&order), Err(Refused::Program(Errno::EACCES)));
        order.directory = Some(&directory);
        assert_eq!(spawn(&order), Err(Refused::Directory(Errno::ENOENT)));
    }
}
