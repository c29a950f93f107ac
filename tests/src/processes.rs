//! The processes of this machine, from /proc.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// The state of a process as a letter, as in `ps`: `Z` is a zombie, `T` is stopped. `None` if there is no such process.
pub fn state_of(pid: i32) -> Option<char> {
    after_name(pid)?.chars().next()
}

pub fn parent_of(pid: i32) -> Option<i32> {
    after_name(pid)?.split(' ').nth(1)?.parse().ok()
}

pub fn children_of(pid: i32) -> Vec<i32> {
    all().filter(|child| parent_of(*child) == Some(pid)).collect()
}

/// The children of these processes, without zombies.
pub fn children_of_any(parents: &[i32]) -> Vec<i32> {
    let is_child = |pid: &i32| parent_of(*pid).is_some_and(|parent| parents.contains(&parent));
    all().filter(|pid| is_child(pid) && is_alive(*pid)).collect()
}

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").expect("read /proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The fields of `/proc/PID/stat` behind the name, which may contain any bytes.
fn after_name(pid: i32) -> Option<String> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(") ").map(|(_, rest)| rest.to_string())
}

/// Whether a process runs. A zombie does not.
pub fn is_alive(pid: i32) -> bool {
    state_of(pid).is_some_and(|state| state != 'Z')
}

pub fn environment(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|entry| String::from_utf8_lossy(entry).into_owned()).collect()
}

/// The processes that belong to a directory: their current directory or program lies in it, or their arguments or
/// environment name it. Zombies and this process are left out.
pub fn processes_in(directory: &Path) -> Vec<i32> {
    all().filter(|pid| *pid != std::process::id() as i32 && is_alive(*pid) && has_to_do_with(*pid, directory)).collect()
}

fn has_to_do_with(pid: i32, directory: &Path) -> bool {
    let file = |name| format!("/proc/{pid}/{name}");
    let lies_in = |name| fs::read_link(file(name)).is_ok_and(|path| path.starts_with(directory));
    let name = directory.as_os_str().as_bytes();
    let names = |what| fs::read(file(what)).is_ok_and(|bytes| bytes.windows(name.len()).any(|part| part == name));
    lies_in("cwd") || lies_in("exe") || names("cmdline") || names("environ")
}

/// Kills the processes of a directory until none is left, whatever their parents are and whatever they start in
/// between.
pub fn kill_all_in(directory: &Path) {
    let mut quiet = 0;
    while quiet < 2 {
        let found = processes_in(directory);
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        for pid in found {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        sleep(Duration::from_millis(1));
    }
}
