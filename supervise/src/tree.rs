//! All processes of a service, or of its group, are found and killed.
//!
//! The tree is all of them, wherever they moved: its process's descendants, and, as supervise is the
//! parent of those whose parents died (a child subreaper), its own. After a supervise was killed, the
//! orphans among them are somebody else's; they are known by a mark in their environment.

use daemontools::service::Process;
use daemontools::sys::exec::Change;
use daemontools::sys::process::{Ancestry, process_table, start_ticks};
use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::stat::stat;
use nix::unistd::{Pid, getpid};
use std::collections::HashSet;

/// The variable that marks a service's processes.
const MARK: &str = "SUPERVISE_TREE";

/// How often what is killed is looked for again, a millisecond apart, before the rest is left alone.
const PASSES: u32 = 100;

/// The mark for a service's environment.
pub fn mark() -> Option<Change> {
    let directory = stat(".").ok()?;
    Some((MARK.into(), Some(format!("{}/{}", directory.st_dev, directory.st_ino).into())))
}

/// The living processes of the service, the main one first if there is one. `bystanders` are children of
/// ours that are not of the service.
fn members(main: Option<Pid>, bystanders: &[Pid]) -> Vec<Pid> {
    let table = process_table();
    let marked = marked(&table);
    let mut found: HashSet<Pid> = HashSet::from_iter(marked.into_iter().chain([getpid()]).chain(main));
    // Each round finds the children of those found before.
    let candidates: Vec<&Ancestry> = table.iter().filter(|process| !bystanders.contains(&process.pid)).collect();
    loop {
        let children = candidates.iter().filter(|process| found.contains(&process.parent)).map(|process| process.pid);
        let children: Vec<Pid> = children.filter(|pid| !found.contains(pid)).collect();
        if children.is_empty() {
            break;
        }
        found.extend(children);
    }
    let living = table.iter().filter(|process| !process.zombie && process.pid != getpid()).map(|process| process.pid);
    let others = living.filter(|pid| found.contains(pid) && Some(*pid) != main);
    main.into_iter().chain(others).collect()
}

fn marked(table: &[Ancestry]) -> Vec<Pid> {
    let Some((name, Some(value))) = mark() else { return Vec::new() };
    let wanted = [name.as_encoded_bytes(), b"=", value.as_encoded_bytes()].concat();
    let is_marked = |pid: Pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
    };
    table.iter().map(|process| process.pid).filter(|pid| is_marked(*pid)).collect()
}

/// Sends a signal to all of them.
pub fn send(main: Option<Pid>, signal: Signal, bystanders: &[Pid]) {
    for pid in members(main, bystanders) {
        let _ = kill(pid, signal);
    }
}

/// Kills all that is left, also what is born meanwhile.
pub fn kill_all(bystanders: &[Pid]) {
    for _ in 0..PASSES {
        let members = members(None, bystanders);
        if members.is_empty() {
            return;
        }
        for pid in members {
            let _ = kill(pid, Signal::SIGKILL);
        }
        // They die while we wait.
        if poll(&mut [], PollTimeout::from(1u8)) == Err(Errno::ENOMEM) {
            return;
        }
    }
}

/// Kills what is left of the process group that `run` led, if it led one.
pub fn kill_group(run: Process) {
    // While the group has members, its number is nobody else's: whoever has it now got it when none was left.
    if start_ticks(run.pid).is_none_or(|ticks| ticks == run.ticks) {
        let _ = killpg(run.pid, Signal::SIGKILL);
    }
}
