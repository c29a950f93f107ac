//! What `/proc` shows of processes, if it is mounted and does not hide them from us.

use crate::report::errno_of;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, readlink};
use nix::sys::stat::Mode;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, SysconfVar, geteuid, getpid, sysconf};
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The path of a process's file in `/proc`; with an empty `name`, of its directory there. The numbers in `/proc` belong
/// to the pid namespace for which it was mounted. If that is not ours, they are other processes' numbers, and the path
/// leads nowhere, as without `/proc`.
pub fn proc_path(pid: Pid, name: &str) -> PathBuf {
    known_path(pid, name).unwrap_or_else(|_| nowhere(name))
}

fn nowhere(name: &str) -> PathBuf {
    PathBuf::from("/proc/-").join(name)
}

/// The path that [`proc_path`] returns, unless the system does not tell now whether `/proc` is there.
///
/// # Errors
/// EMFILE, EIO and others: whether `/proc` is there cannot be told now.
pub fn known_path(pid: Pid, name: &str) -> nix::Result<PathBuf> {
    Ok(if is_proc_known()? { PathBuf::from(format!("/proc/{pid}/{name}")) } else { nowhere(name) })
}

/// Whether an error means that `/proc` does not have this, or does not show it to us. Any other error leaves open
/// whether there is such a thing.
pub fn is_hidden(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENOENT | Errno::ENOTDIR | Errno::ESRCH | Errno::EPERM | Errno::EACCES | Errno::ELOOP | Errno::ENOSYS
    )
}

/// Whether `/proc` is mounted and shows the processes of our pid namespace.
pub fn has_proc() -> bool {
    is_proc_known().unwrap_or(false)
}

fn is_proc_known() -> nix::Result<bool> {
    match readlink("/proc/self") {
        Ok(number) => Ok(number.to_str() == Some(&getpid().to_string())),
        // EINVAL: it is no link, so that this is no /proc.
        Err(errno) if is_hidden(errno) || errno == Errno::EINVAL => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// When a process was started, in clock ticks since boot (field 22 of `/proc/PID/stat`). Together with its number, this
/// identifies it among all processes since boot. `None` if there is no such process, or if the time cannot be read.
pub fn start_ticks(pid: Pid) -> Option<u64> {
    ticks_of(pid).ok().flatten()
}

/// How many clock ticks a second has; `None` if the system does not tell.
pub fn ticks_per_second() -> Option<u64> {
    sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|rate| u64::try_from(rate).ok())
}

/// A time since boot in clock ticks, as [`start_ticks`] tells times; `None` if the system does not tell how long a tick is.
pub fn ticks_at(time: Duration) -> Option<u64> {
    u64::try_from(time.as_nanos() * u128::from(ticks_per_second()?) / 1_000_000_000).ok()
}

/// When a process was started, in clock ticks since boot; `None` if `/proc` shows no such process, or does not show us
/// this one because it is mounted with `hidepid`.
///
/// # Errors
/// EMFILE, EIO and others: the time cannot be read now.
pub fn ticks_of(pid: Pid) -> nix::Result<Option<u64>> {
    let fields = known_fields(pid)?;
    Ok(fields.and_then(|fields| fields.split_ascii_whitespace().nth(START_TICKS - FIRST)?.parse().ok()))
}

/// The fields of a process; `None` if it has ended, or is hidden from us. A process of our own account is hidden if its
/// program file may not be read.
fn known_fields(pid: Pid) -> nix::Result<Option<String>> {
    match stat_text(pid) {
        Err(errno) if is_hidden(errno) => Ok(None),
        fields => fields.map(Some),
    }
}

/// The status, as from `wait(2)`, of a process that has ended and was not waited for yet. `None` if it is alive or
/// gone, or if `/proc` hides the status from us. It does so for another account's process, whose status it shows as 0.
/// Another process may have got the number since.
pub fn zombie_status(pid: Pid) -> Option<i32> {
    if state(pid) != Some('Z') {
        return None;
    }
    let fields = stat_text(pid).ok()?;
    let field = |number: usize| fields.split_ascii_whitespace().nth(number - FIRST);
    let ours = || std::fs::metadata(proc_path(pid, "")).is_ok_and(|file| file.uid() == geteuid().as_raw());
    let is_zombie = field(STATE) == Some("Z");
    let status = field(EXIT_CODE)?.parse().ok()?;
    (is_zombie && (status != 0 || ours())).then_some(status)
}

/// What a process has in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Its resident memory, in bytes. A process that is ending has none any more.
    pub resident: u64,
    /// How many threads it has.
    pub threads: u64,
}

/// How long a process has computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTicks {
    /// The time that it and those of its children for which it has waited have computed, in clock ticks.
    pub user: u64,
    /// The time that the kernel has computed for them, in clock ticks.
    pub system: u64,
}

/// How long a process has computed; `None` if `/proc` does not show it. To ask this may take for ever (see
/// [`Witness`](crate::service::Witness)).
pub fn cpu_ticks(pid: Pid) -> Option<CpuTicks> {
    cpu_ticks_in(&stat_text(pid).ok()?)
}

/// A `/proc` that shows the processes of our pid namespace. Where much is asked of it, this is found out only once.
#[derive(Debug, Clone, Copy)]
pub struct Proc(());

impl Proc {
    /// The `/proc` that is mounted; `None` if none is mounted, or only one that shows another pid namespace.
    pub fn here() -> Option<Proc> {
        has_proc().then_some(Proc(()))
    }

    fn path(self, pid: Pid, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{pid}/{name}"))
    }

    /// What a process has in use; `None` if there is no such process.
    pub fn footprint(self, pid: Pid) -> Option<Footprint> {
        let path = self.path(pid, "status");
        let status = |most| bytes_of(&path, most).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).ok();
        // With a great many groups it is longer than what one read returns.
        footprint_in(&status(ONE_READ)?).or_else(|| footprint_in(&status(STATUS_AT_MOST)?))
    }

    /// The children that any thread of a process has made, without those of which it is not the parent any more. `threads`
    /// is how many threads it has: there is no need to list a single one.
    pub fn children(self, pid: Pid, threads: u64) -> Vec<Pid> {
        let task = self.path(pid, "task");
        let own = || vec![task.join(pid.to_string())];
        let list = || std::fs::read_dir(&task).map(|threads| threads.flatten().map(|thread| thread.path()).collect());
        let tasks: Vec<PathBuf> = if threads == 1 { own() } else { list().unwrap_or_default() };
        let lists = tasks.into_iter().filter_map(|task| text_of(&task.join("children"), CHILDREN_AT_MOST).ok());
        let numbers = |list: String| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>();
        lists.flat_map(numbers).map(Pid::from_raw).collect()
    }
}

fn footprint_in(status: &str) -> Option<Footprint> {
    let resident = status_value(status, "VmRSS:").map_or(Some(0), |size| size.strip_suffix(" kB")?.parse::<u64>().ok());
    Some(Footprint { resident: resident? * 1024, threads: status_value(status, "Threads:")?.parse().ok()? })
}

fn cpu_ticks_in(fields: &str) -> Option<CpuTicks> {
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - FIRST)?.parse::<u64>().ok();
    Some(CpuTicks {
        user: field(USER_TICKS)? + field(WAITED_USER_TICKS)?,
        system: field(SYSTEM_TICKS)? + field(WAITED_SYSTEM_TICKS)?,
    })
}

/// No longer list of children is read.
const CHILDREN_AT_MOST: usize = 1 << 16;

/// A file of the kernel as text, without what lies beyond `most` bytes.
fn text_of(path: &Path, most: usize) -> nix::Result<String> {
    String::from_utf8(bytes_of(path, most)?).map_err(|_| Errno::EINVAL)
}

fn bytes_of(path: &Path, most: usize) -> nix::Result<Vec<u8>> {
    let file = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while bytes.len() < most {
        match nix::unistd::read(&file, &mut buffer)? {
            0 => break,
            length => bytes.extend(buffer.iter().take(length)),
        }
    }
    Ok(bytes)
}

// The numbers of fields in /proc/PID/stat, counted from 1 as in proc(5).
const FIRST: usize = 3;
const STATE: usize = 3;
const USER_TICKS: usize = 14;
const SYSTEM_TICKS: usize = 15;
const WAITED_USER_TICKS: usize = 16;
const WAITED_SYSTEM_TICKS: usize = 17;
const START_TICKS: usize = 22;
const EXIT_CODE: usize = 52;

/// The text of the file from the third field on. The second field is the program's name in parentheses, which may
/// contain anything.
fn stat_text(pid: Pid) -> nix::Result<String> {
    stat_text_at(&known_path(pid, "stat")?)
}

fn stat_text_at(path: &Path) -> nix::Result<String> {
    let file = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    // The file has fifty-two numbers and a name of at most 64 bytes, so one read returns all of it.
    let mut bytes = vec![0; 2048];
    let length = nix::unistd::read(&file, &mut bytes)?;
    let stat = bytes.get(..length).unwrap_or_default();
    let name_end = stat.iter().rposition(|byte| *byte == b')').ok_or(Errno::EINVAL)?;
    String::from_utf8(stat.get(name_end + 1..).unwrap_or_default().to_vec()).map_err(|_| Errno::EINVAL)
}

/// The accounts of a process: real, effective, saved, and the one for file accesses. `None` if `/proc` does not show
/// them.
pub fn accounts(pid: Pid) -> Option<[u32; 4]> {
    let text = status_text(pid, ONE_READ).ok()??;
    let mut words = status_value(&text, "Uid:")?.split_ascii_whitespace();
    let mut account = || words.next()?.parse().ok();
    Some([account()?, account()?, account()?, account()?])
}

/// How a process may use one of its descriptors: for reading, for writing, or for both. `None` if `/proc` does not show
/// it, or if the descriptor gives no access (`O_PATH`).
pub fn access_mode(pid: Pid, number: i32) -> Option<OFlag> {
    let flags = descriptor_fact(pid, number, "flags:")?;
    let flags = OFlag::from_bits_truncate(i32::from_str_radix(&flags, 8).ok()?);
    (!flags.contains(OFlag::O_PATH)).then_some(flags & OFlag::O_ACCMODE)
}

/// What `/proc` shows of a process's descriptor under this key, without the blanks around it.
fn descriptor_fact(pid: Pid, number: RawFd, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(proc_path(pid, &format!("fdinfo/{number}"))).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)).map(|fact| fact.trim().to_string())
}

/// The number of the mount on which an open file of a process lies. It is unique over all mount namespaces. `None` if
/// the kernel does not report it.
pub fn mount_of(pid: Pid, number: RawFd) -> Option<u64> {
    descriptor_fact(pid, number, "mnt_id:")?.parse().ok()
}

/// Whether a process was executed with more rights than the process that chose its environment, as a set-uid program
/// is. `None` if `/proc` does not show it.
pub fn has_gained_rights(pid: Pid) -> Option<bool> {
    has_gained_rights_by(&std::fs::read(proc_path(pid, "auxv")).ok()?)
}

/// Whether a process has given up its memory, as one does that is just ending and is not a zombie yet. A process that is
/// hidden from us counts as one that has not.
pub fn has_no_memory(pid: Pid) -> bool {
    let text = status_text(pid, STATUS_AT_MOST).ok().flatten();
    text.is_some_and(|text| status_value(&text, "State:").is_some() && status_value(&text, "VmSize:").is_none())
}

/// The name of a process: the beginning of that of the file that it executes, unless it has given itself another one.
/// `None` if `/proc` does not show it.
pub fn name(pid: Pid) -> Option<String> {
    Some(status_value(&status_text(pid, ONE_READ).ok()??, "Name:")?.to_string())
}

/// The answer according to the auxiliary vector, pairs of a type and a value that the kernel gives a program at its
/// start. The program may be a 32-bit one, or a 64-bit one where ours is not. Read with the wrong width, the types make
/// no sense.
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

/// No type in the auxiliary vector has a number as high as this.
const HIGHEST_KIND: u64 = 1 << 16;

/// A process and its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ancestry {
    /// The process.
    pub pid: Pid,
    /// Its parent.
    pub parent: Pid,
    /// Whether it has ended and was not waited for yet.
    pub zombie: bool,
}

/// All processes that `/proc` shows, as far as that can be told now.
pub fn process_table() -> Vec<Ancestry> {
    process_numbers().into_iter().filter_map(ancestry).collect()
}

/// All processes that `/proc` shows; none without it.
///
/// # Errors
/// EMFILE, EIO and others: they cannot be told now.
pub fn known_processes() -> nix::Result<Vec<Ancestry>> {
    if !is_proc_known()? {
        return Ok(Vec::new());
    }
    let errno = |error: std::io::Error| errno_of(&error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(errno)? {
        let name = entry.map_err(errno)?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) {
            found.extend(ancestry_of(Pid::from_raw(pid))?);
        }
    }
    Ok(found)
}

/// The numbers of all processes that `/proc` shows.
pub fn process_numbers() -> Vec<Pid> {
    let entries = if has_proc() { std::fs::read_dir("/proc").ok() } else { None };
    let names = entries.into_iter().flatten().flatten();
    names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw).collect()
}

/// A process and its parent; `None` if there is no such process, as far as that can be told now.
pub fn ancestry(pid: Pid) -> Option<Ancestry> {
    ancestry_of(pid).ok().flatten()
}

/// Whether a process is there and has not ended, as far as that can be told now. A zombie has ended.
pub fn is_living(pid: Pid) -> bool {
    ancestry(pid).is_some_and(|process| !process.zombie)
}

/// A process, its parent, and so on up to process 1, as far as that can be told now. There are at most 1000 of them, because
/// processes come and go meanwhile.
pub fn ancestors(pid: Pid) -> impl Iterator<Item = Pid> {
    let line = std::iter::successors(Some(pid), |pid| Some(ancestry(*pid)?.parent));
    line.take(1000).take_while(|pid| pid.as_raw() > 0)
}

/// A process and its parent; `None` if there is no such process, or if it is hidden from us.
///
/// # Errors
/// EMFILE, EIO and others: that cannot be told now.
pub fn ancestry_of(pid: Pid) -> nix::Result<Option<Ancestry>> {
    let Some(text) = status_text(pid, ONE_READ)? else { return Ok(None) };
    let parent = status_value(&text, "PPid:").and_then(|parent| parent.parse().ok()).map(Pid::from_raw);
    // The first thread of a process may have ended before the others.
    let zombie = state_in(&text) == Some('Z') && threads(pid, &text)? <= 1;
    Ok(parent.map(|parent| Ancestry { pid, parent, zombie }))
}

/// How many threads a process has. `text` is the beginning of its status: where the process has many groups, the number of
/// threads comes far behind.
fn threads(pid: Pid, text: &str) -> nix::Result<u64> {
    let number = |text: &str| status_value(text, "Threads:")?.parse().ok();
    match number(text) {
        Some(threads) => Ok(threads),
        None => Ok(status_text(pid, STATUS_AT_MOST)?.and_then(|text| number(&text)).unwrap_or(0)),
    }
}

/// Whether a process neither computes nor is ready to. Without `/proc`, the answer is yes.
pub fn is_waiting(pid: Pid) -> bool {
    state(pid) != Some('R')
}

/// Whether a process was stopped by a signal, as far as `/proc` tells.
pub fn is_stopped(pid: Pid) -> bool {
    state(pid) == Some('T')
}

/// Whether a process waits in the kernel and cannot be interrupted, as far as `/proc` tells. Some such waits are ended by
/// SIGKILL, others by no signal.
pub fn is_uninterruptible(pid: Pid) -> bool {
    state(pid) == Some('D')
}

/// The state of a process as a letter, as in ps(1); `None` if `/proc` does not show it.
fn state(pid: Pid) -> Option<char> {
    state_in(&status_text(pid, ONE_READ).ok()??)
}

fn state_in(text: &str) -> Option<char> {
    status_value(text, "State:")?.chars().next()
}

/// What the status of a process says under this key, without the blanks around it.
fn status_value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

/// At least the first `most` bytes of the status of a process, if there are as many; `None` if it has ended, or is hidden from
/// us. Unlike most other files of a process, the kernel also shows this one while the process executes a program, which may
/// take as long as another account likes: a descriptor that is closed then may be of a file whose server does not answer.
fn status_text(pid: Pid, most: usize) -> nix::Result<Option<String>> {
    match bytes_of(&known_path(pid, "status")?, most) {
        Err(errno) if is_hidden(errno) => Ok(None),
        bytes => Ok(Some(String::from_utf8_lossy(&bytes?).into_owned())),
    }
}

/// So few bytes that one read(2) returns them, and much more.
const ONE_READ: usize = 1;
/// A status is not longer, even with as many groups as a process can have.
const STATUS_AT_MOST: usize = 1 << 20;

/// Whether a child was made by [`fork_apart`](super::fork_apart), as its end sends no signal.
///
/// # Errors
/// EINVAL and others: that cannot be told.
pub fn is_apart(pid: Pid) -> nix::Result<bool> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::__WCLONE;
    match waitid(Id::Pid(pid), flags) {
        Ok(_) => Ok(true),
        Err(Errno::ECHILD) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

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
        // The first word of a real vector is an address, as in this table.
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
    fn how_a_descriptor_may_be_used_is_told() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let both = crate::sys::reopen_read_write(writer.try_clone().unwrap());
        let table = [(&reader, OFlag::O_RDONLY), (&writer, OFlag::O_WRONLY), (&both, OFlag::O_RDWR)];
        for (fd, mode) in table {
            assert_eq!(access_mode(getpid(), fd.as_raw_fd()), Some(mode));
        }
        assert_eq!(access_mode(getpid(), both.as_raw_fd() + 900), None);
    }
}
