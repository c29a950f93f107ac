//! Processes: making them, holding on to them, knowing one from another.

use super::directory::for_each_name;
use super::open_files;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, readlink};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid, geteuid, getpid};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

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

/// Blocks no signal any more: for a child of [`fork`] that is to become a program of the user's. A signal that is blocked
/// stays so through exec(2); a service that is started so by whoever started us could not be told to end.
pub fn unblock_signals() {
    // Fails only for a set that cannot be read.
    let _ = SigSet::empty().thread_set_mask();
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

/// The kind of the file system of descriptors of processes, which numbers them.
const PID_FS_MAGIC: i64 = 0x5049_4446;

/// A process held by a descriptor: signals reach this process or fail with ESRCH, never another
/// one that got its number later. Readable in `poll(2)` once the process has ended.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Takes hold of the process that has the number `pid` now. Close-on-exec.
    ///
    /// # Errors
    /// ESRCH: no such process. ENOSYS: a kernel before 5.3. EMFILE: out of descriptors.
    pub fn open(pid: Pid) -> nix::Result<PidFd> {
        // SAFETY: takes two integers; the result is checked before it is taken for a descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
        Ok(PidFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The number of the process among all that were started since the kernel's boot: no other process has it or will
    /// have it, and the kernel tells it without `/proc`. `None` before Linux 6.9.
    ///
    /// # Errors
    /// Those of fstat(2), of which none is known.
    pub fn serial(&self) -> nix::Result<Option<u64>> {
        if super::file_system(self)?.kind != PID_FS_MAGIC {
            return Ok(None);
        }
        Ok(Some(nix::sys::stat::fstat(self)?.st_ino))
    }

    /// Another descriptor of what the process has open as `number`, close-on-exec.
    ///
    /// # Errors
    /// EBADF: it has no such one. EPERM: we may not trace it. ENOSYS: a kernel before 5.6.
    pub fn descriptor(&self, number: RawFd) -> nix::Result<OwnedFd> {
        // SAFETY: takes three integers; the result is checked before it is taken for a descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.0.as_raw_fd(), number, 0) };
        let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Sends a signal to the process held.
    ///
    /// # Errors
    /// ESRCH: it has ended and was reaped. EPERM: not allowed.
    pub fn signal(&self, signal: Signal) -> nix::Result<()> {
        // SAFETY: an open descriptor, an integer, no siginfo, no flags.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal as libc::c_int,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        Errno::result(result).map(drop)
    }
}

/// What is known of the end of a process that is held by its [`PidFd`] and has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As `wait(2)` has it: to be taken apart by the usual rules.
    Status(i32),
    /// Its parent has not waited for it yet: ask again.
    NotReaped,
    /// The kernel does not tell (before 6.15).
    Untold,
}

impl PidFd {
    /// How the process ended, to be asked once it has. For this the kernel need not be asked by the
    /// parent of the process.
    pub fn ended(&self) -> Ended {
        // SAFETY: a struct of integers, for which zero is a value.
        let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
        info.mask = u64::from(libc::PIDFD_INFO_EXIT);
        // SAFETY: the descriptor is open, and the kernel writes at most the size that the request names.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::PIDFD_GET_INFO, &mut info) };
        match Errno::result(result) {
            Ok(_) if info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0 => Ended::Status(info.exit_code),
            Ok(_) => Ended::NotReaped,
            // Reaped before a kernel that remembers could be asked, or no such request.
            Err(_) => Ended::Untold,
        }
    }
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

/// A file of a process in `/proc`; `name` is empty for its directory there. The numbers in `/proc` are those of the process
/// namespace for which it was mounted. If that is not ours, they are other processes' numbers: then the path leads nowhere, as
/// where there is no `/proc`.
pub fn proc_path(pid: Pid, name: &str) -> PathBuf {
    if has_proc() { PathBuf::from(format!("/proc/{pid}/{name}")) } else { PathBuf::from("/proc/-").join(name) }
}

/// Whether `/proc` is there, and has the processes of our namespace.
pub fn has_proc() -> bool {
    readlink("/proc/self").is_ok_and(|number| number.to_str() == Some(&getpid().to_string()))
}

/// When a process was started, in clock ticks since boot (field 22 of `/proc/PID/stat`): together with
/// its number, this names it among all processes since boot. `None` if there is no such process, or it cannot be told.
pub fn start_ticks(pid: Pid) -> Option<u64> {
    ticks_of(pid).ok().flatten()
}

/// The same; `None` if `/proc` shows no such process, or, mounted with `hidepid`, does not show us this one.
///
/// # Errors
/// EMFILE, EIO …: it cannot be told now.
pub fn ticks_of(pid: Pid) -> nix::Result<Option<u64>> {
    match stat_text(pid) {
        Ok(fields) => Ok(fields.split_ascii_whitespace().nth(START_TICKS - FIRST).and_then(|ticks| ticks.parse().ok())),
        // It ended while it was looked at, or before; or it is hidden from us, as one of ours is whose file may not be read.
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EPERM | Errno::EACCES) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// How a process ended that nobody has waited for yet, as `wait(2)` has it; `None` if it lives, is gone,
/// or hides it from us (as it does from another user; then the kernel says 0).
pub fn zombie_status(pid: Pid, ticks: u64) -> Option<i32> {
    let fields = stat_fields(pid)?;
    let field = |number: usize| fields.split_ascii_whitespace().nth(number - FIRST);
    let ours = || std::fs::metadata(proc_path(pid, "")).is_ok_and(|file| file.uid() == geteuid().as_raw());
    let is_it = field(STATE) == Some("Z") && field(START_TICKS)?.parse() == Ok(ticks);
    let status = field(EXIT_CODE)?.parse().ok()?;
    (is_it && (status != 0 || ours())).then_some(status)
}

// Fields of /proc/PID/stat, numbered from 1 as in proc(5).
const FIRST: usize = 3;
const STATE: usize = 3;
const START_TICKS: usize = 22;
const EXIT_CODE: usize = 52;

fn stat_fields(pid: Pid) -> Option<String> {
    stat_text(pid).ok()
}

/// From the third field on: the second is the program's name in parentheses, which may hold anything.
fn stat_text(pid: Pid) -> nix::Result<String> {
    let file = open(&proc_path(pid, "stat"), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    // Fifty-two numbers and a name of at most 64 bytes: one read has it all.
    let mut bytes = vec![0; 2048];
    let length = nix::unistd::read(&file, &mut bytes)?;
    let stat = bytes.get(..length).unwrap_or_default();
    let name_end = stat.iter().rposition(|byte| *byte == b')').ok_or(Errno::EINVAL)?;
    String::from_utf8(stat.get(name_end + 1..).unwrap_or_default().to_vec()).map_err(|_| Errno::EINVAL)
}

/// The accounts of a process: real, effective, saved, and that of its file accesses. `None` if `/proc` does not tell.
pub fn accounts(pid: Pid) -> Option<[u32; 4]> {
    let file = open(&proc_path(pid, "status"), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    // The line is among the first, and each line before it is short.
    let mut bytes = [0; 1024];
    let length = nix::unistd::read(&file, &mut bytes).ok()?;
    let text = String::from_utf8_lossy(bytes.get(..length)?);
    let mut words = text.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace();
    let mut account = || words.next()?.parse().ok();
    Some([account()?, account()?, account()?, account()?])
}

/// How a process may use one of its descriptors: to read, to write, or both. `None` if `/proc` does not tell, or the
/// descriptor is only a place in the file system (`O_PATH`).
pub fn access_mode(pid: Pid, number: i32) -> Option<OFlag> {
    let flags = descriptor_fact(pid, number, "flags:")?;
    let flags = OFlag::from_bits_truncate(i32::from_str_radix(&flags, 8).ok()?);
    (!flags.contains(OFlag::O_PATH)).then_some(flags & OFlag::O_ACCMODE)
}

/// What `/proc` tells of a descriptor of a process, under this key, without the blanks around it.
fn descriptor_fact(pid: Pid, number: RawFd, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(proc_path(pid, &format!("fdinfo/{number}"))).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)).map(|fact| fact.trim().to_string())
}

/// The number of the mount that an open file of a process lies on, which no other mount has, in whatever namespace; `None`
/// if the kernel does not tell.
pub fn mount_of(pid: Pid, number: RawFd) -> Option<u64> {
    descriptor_fact(pid, number, "mnt_id:")?.parse().ok()
}

/// Whether a process was executed with more rights than the one that gave it its environment, as a set-uid program is.
/// `None` if `/proc` does not tell.
pub fn has_gained_rights(pid: Pid) -> Option<bool> {
    has_gained_rights_by(&std::fs::read(proc_path(pid, "auxv")).ok()?)
}

/// The same by what the kernel tells a program when it begins: pairs of a kind and a value. The program may be of another
/// width than ours; read in the wrong width the kinds make no sense.
fn has_gained_rights_by(pairs: &[u8]) -> Option<bool> {
    let narrow = |word: &[u8]| Some(u64::from(u32::from_ne_bytes(word.try_into().ok()?)));
    let wide = |word: &[u8]| Some(u64::from_ne_bytes(word.try_into().ok()?));
    secure_word(pairs, 8, wide).or_else(|| secure_word(pairs, 4, narrow))
}

fn secure_word(pairs: &[u8], width: usize, number: impl Fn(&[u8]) -> Option<u64>) -> Option<bool> {
    for pair in pairs.chunks_exact(2 * width) {
        let (kind, value) = pair.split_at(width);
        match number(kind)? {
            libc::AT_NULL | HIGHEST_KIND.. => return None,
            libc::AT_SECURE => return Some(number(value)? != 0),
            _ => {}
        }
    }
    None
}

/// No kind of what a program is told when it begins has a number as high as this.
const HIGHEST_KIND: u64 = 1 << 16;

/// Who is whose child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ancestry {
    /// The process.
    pub pid: Pid,
    /// Its parent.
    pub parent: Pid,
    /// It has ended, and nobody has waited for it yet.
    pub zombie: bool,
}

/// All processes that `/proc` shows.
pub fn process_table() -> Vec<Ancestry> {
    process_numbers().into_iter().filter_map(ancestry).collect()
}

/// The numbers of all processes that `/proc` shows.
pub fn process_numbers() -> Vec<Pid> {
    let entries = if has_proc() { std::fs::read_dir("/proc").ok() } else { None };
    let names = entries.into_iter().flatten().flatten();
    names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw).collect()
}

/// Whose child a process is; `None` if there is no such process.
pub fn ancestry(pid: Pid) -> Option<Ancestry> {
    let fields = stat_fields(pid)?;
    let mut fields = fields.split_ascii_whitespace();
    let zombie = fields.next()? == "Z";
    Some(Ancestry { pid, parent: Pid::from_raw(fields.next()?.parse().ok()?), zombie })
}

/// The kernel's name for the time since it was booted; empty if it does not tell.
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_end().to_string()
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
        Some(held) => unsafe { libc::syscall(libc::SYS_pidfd_send_signal, held.0.as_raw_fd(), COMMANDS, info, 0) },
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

impl AsFd for PidFd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::IntoRawFd;

    #[test]
    fn a_path_in_proc_leads_to_the_process_that_has_the_number_here() {
        assert!(has_proc() && process_numbers().contains(&getpid()));
        let itself = std::fs::read_link(proc_path(getpid(), "exe")).unwrap();
        assert_eq!(itself, std::env::current_exe().unwrap());
        assert!(proc_path(getpid(), "").is_dir());
    }

    #[test]
    fn a_program_with_more_rights_is_known_by_what_it_is_told_when_it_begins() {
        let wide = |pairs: &[(u64, u64)]| -> Vec<u8> {
            pairs.iter().flat_map(|(kind, value)| [kind.to_ne_bytes(), value.to_ne_bytes()].concat()).collect()
        };
        let narrow = |pairs: &[(u32, u32)]| -> Vec<u8> {
            pairs.iter().flat_map(|(kind, value)| [kind.to_ne_bytes(), value.to_ne_bytes()].concat()).collect()
        };
        // The first word is an address, as in each program.
        let table = [
            (wide(&[(33, 0x7fff_0000_0000), (23, 0), (0, 0)]), Some(false)),
            (wide(&[(33, 0x7fff_0000_0000), (23, 1), (0, 0)]), Some(true)),
            (wide(&[(33, 0x7fff_0000_0000), (0, 0), (23, 0)]), None),
            (narrow(&[(33, 0xf7ff_0000), (16, 7), (23, 0), (0, 0)]), Some(false)),
            (narrow(&[(33, 0xf7ff_0000), (16, 7), (23, 1), (0, 0)]), Some(true)),
            (narrow(&[(33, 0xf7ff_0000), (0, 0)]), None),
            (Vec::new(), None),
        ];
        for (number, (pairs, expected)) in table.into_iter().enumerate() {
            assert_eq!(has_gained_rights_by(&pairs), expected, "row {number}");
        }
        assert_eq!(has_gained_rights(getpid()), Some(false));
        assert_eq!(has_gained_rights(Pid::from_raw(i32::MAX)), None);
    }

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

    #[test]
    fn how_a_descriptor_may_be_used_is_told() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let both = super::super::also_reading(writer.try_clone().unwrap());
        let table = [(&reader, OFlag::O_RDONLY), (&writer, OFlag::O_WRONLY), (&both, OFlag::O_RDWR)];
        for (fd, mode) in table {
            assert_eq!(access_mode(getpid(), fd.as_raw_fd()), Some(mode));
        }
        assert_eq!(access_mode(getpid(), both.as_raw_fd() + 900), None);
    }

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
