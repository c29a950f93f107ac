//! What `/proc` tells of processes, where it is mounted and does not hide them from us.

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, readlink};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, geteuid, getpid};
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

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
    fn how_a_descriptor_may_be_used_is_told() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let both = crate::sys::also_reading(writer.try_clone().unwrap());
        let table = [(&reader, OFlag::O_RDONLY), (&writer, OFlag::O_WRONLY), (&both, OFlag::O_RDWR)];
        for (fd, mode) in table {
            assert_eq!(access_mode(getpid(), fd.as_raw_fd()), Some(mode));
        }
        assert_eq!(access_mode(getpid(), both.as_raw_fd() + 900), None);
    }
}
