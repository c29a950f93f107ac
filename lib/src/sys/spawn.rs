//! Starting another program at the least cost, however large the parent is and however many descriptors it has.
//!
//! A fork copies page tables and takes a reference to every open descriptor, and the exec then closes the descriptors
//! one by one. With ten thousand open pipes that costs more than the exec itself. Here the child shares the parent's
//! memory until it has executed the program, while the parent waits, and it gets only the first few descriptors. The
//! child leads a session of its own.

use super::process::duplicate_to;
use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// The program to start, and how its environment differs from ours.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// The files that are tried in this order, as [`exec`](super::exec::exec) tries those of PATH.
    pub candidates: &'a [CString],
    /// The arguments, the program's own name first.
    pub argv: &'a [CString],
    /// The environment, as `NAME=VALUE` strings.
    pub environment: &'a [CString],
    /// The working directory, if it differs from ours.
    pub directory: Option<&'a CString>,
    /// The program's descriptors as pairs `(ours, its)`; both may be the same number. Of our own descriptors the child
    /// gets those up to the highest of these and of `kept_until_exec`, or up to 2, and those that are close-on-exec are
    /// closed as usual. The pairs are set up in this order, so no `its` may be an `ours` of a later pair.
    pub descriptors: &'a [(BorrowedFd<'a>, RawFd)],
    /// A descriptor of ours, close-on-exec, that the child keeps open until it has become the program.
    pub kept_until_exec: Option<BorrowedFd<'a>>,
    /// The signal mask.
    pub mask: &'a SigSet,
    /// The soft and the hard limit of open files, if the soft one differs from ours.
    pub open_files: Option<(u64, u64)>,
}

/// A program could not be started: the step that the system refused, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There can be no more processes now.
    Process(Errno),
    /// The descriptors or the limits could not be set up.
    Descriptors(Errno),
    /// The working directory could not be entered.
    Directory(Errno),
    /// None of the files could be executed.
    Program(Errno),
}

impl Refused {
    /// The error number of the step.
    pub fn errno(self) -> Errno {
        match self {
            Refused::Process(errno) | Refused::Descriptors(errno) => errno,
            Refused::Directory(errno) | Refused::Program(errno) => errno,
        }
    }
}

/// What the child reads, and where it leaves the error. The child runs in our memory while we wait.
struct Shared<'a> {
    order: &'a Spawn<'a>,
    argv: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    refused: Option<Refused>,
}

/// The size of the child's stack. It is enough for a few system calls. The child must not use our own stack, on which
/// we return.
const STACK: usize = 32 * 1024;

#[repr(align(16))]
struct Stack(MaybeUninit<[u8; STACK]>);

/// Starts a program and returns its process, which has executed the program by then.
///
/// # Errors
/// The step that failed. No process is left then.
pub fn spawn(order: &Spawn) -> Result<Pid, Refused> {
    let pointers = |strings: &[CString]| {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let mut shared =
        Shared { order, argv: pointers(order.argv), environment: pointers(order.environment), refused: None };
    let mut stack = Stack(MaybeUninit::uninit());
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES | libc::SIGCHLD;
    // SAFETY: the stack is aligned and large enough, and grows down from its end. With CLONE_VFORK we do not run until
    // the child has executed or exited, so everything that it refers to stays. Our programs have one thread, so no
    // other code runs in our memory either.
    let pid = unsafe {
        let top = stack.0.as_mut_ptr().cast::<u8>().add(STACK);
        libc::clone(child, top.cast(), flags, (&raw mut shared).cast())
    };
    let pid = Errno::result(pid).map(Pid::from_raw).map_err(Refused::Process)?;
    // SAFETY: the child wrote this through the pointer that we passed, so it is read as it is now.
    match unsafe { std::ptr::read_volatile(&raw const shared.refused) } {
        None => Ok(pid),
        Some(refused) => {
            // SAFETY: no status is requested. The child has exited, so this does not wait.
            while Errno::result(unsafe { libc::waitpid(pid.as_raw(), std::ptr::null_mut(), 0) }) == Err(Errno::EINTR) {}
            Err(refused)
        }
    }
}

/// The code of the child. It makes system calls only; it must not allocate or panic.
extern "C" fn child(shared: *mut c_void) -> c_int {
    // SAFETY: `spawn` passed this pointer, and waits.
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
        // SAFETY: the string ends with NUL.
        && let Err(errno) = Errno::result(unsafe { libc::chdir(directory.as_ptr()) })
    {
        return Refused::Directory(errno);
    }
    // A signal that a terminal or an init sends to the parent's process group is not meant for the child. A process group
    // of its own would prevent that too. But if the parent ended while a process of that group is stopped, the kernel would
    // send HUP to the group, as no process of its session could continue it. It does this only if the parent is of the same
    // session. SAFETY: the call has no arguments; it succeeds, as a new process leads no group.
    unsafe { libc::setsid() };
    // SAFETY: this sets the mask of the only thread of this process.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, order.mask.as_ref(), std::ptr::null_mut()) };
    Refused::Program(execute(shared))
}

/// The child has shared the parent's table of descriptors until here. This gives it a table of its own, with only the
/// descriptors that it needs.
fn own_descriptors(order: &Spawn) -> nix::Result<()> {
    let ours = order.descriptors.iter().map(|(ours, _)| ours).chain(&order.kept_until_exec);
    let last = ours.map(AsRawFd::as_raw_fd).fold(2, RawFd::max);
    let first_unwanted = c_uint::try_from(last + 1).map_err(|_| Errno::EBADF)?;
    // SAFETY: the arguments are integers. Except for the flags, the call changes only this child's table.
    let ranged =
        unsafe { libc::syscall(libc::SYS_close_range, first_unwanted, c_uint::MAX, libc::CLOSE_RANGE_UNSHARE) };
    if Errno::result(ranged).is_err() {
        // Before Linux 5.9 the whole table is copied, and the exec closes what is not wanted. SAFETY: the argument is
        // an integer.
        Errno::result(unsafe { libc::unshare(libc::CLONE_FILES) })?;
    }
    for (ours, its) in order.descriptors {
        duplicate_to(ours, *its)?;
    }
    if let Some((soft, hard)) = order.open_files {
        let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        // SAFETY: this is a pointer to a valid struct.
        Errno::result(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    }
    Ok(())
}

fn execute(shared: &Shared) -> Errno {
    let mut refusal = Errno::ENOENT;
    for file in shared.order.candidates {
        // SAFETY: the strings end with NUL, the arrays end with null, and all of them live in the parent.
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
            kept_until_exec: None,
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
            kept_until_exec: None,
            mask: &SigSet::empty(),
            open_files: None,
        };
        assert_eq!(spawn(&order), Err(Refused::Program(Errno::EACCES)));
        order.directory = Some(&directory);
        assert_eq!(spawn(&order), Err(Refused::Directory(Errno::ENOENT)));
    }
}
