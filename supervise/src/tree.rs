//! All processes of a service, or of its group, are found and killed.
//!
//! The tree is all of them, wherever they moved: its process's descendants, and, as supervise is the
//! parent of those whose parents died (a child subreaper), its own. After a supervise was killed, the
//! orphans among them are somebody else's; they are known by a mark in their environment.

use crate::policy::Scope;
use crate::service_process::ServiceProcess;
use daemontools::service::{Identity, MARK, Part, Process, has_mark, is_proven_by_mark, mark_of, mark_of_logger};
use daemontools::sys::exec::Change;
use daemontools::sys::process::{Ancestry, ancestry, process_table};
use daemontools::tai64::Moment;
use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpid};
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

/// How long what is to be killed is looked for before the rest is left alone.
const LONGEST: Duration = Duration::from_secs(2);

/// The mark for the environment of a service, or of its logger.
pub fn environment_tag(part: Part) -> Option<Change> {
    tag_value(part).map(|mark| (MARK.into(), Some(mark.into())))
}

fn tag_value(part: Part) -> Option<String> {
    match part {
        Part::Service => mark_of(Path::new("")),
        Part::Logger => mark_of_logger(Path::new("")),
    }
}

/// The living processes of the service, the main one first if there is one. `bystanders` have to do with us, but are not
/// of the service.
fn members(main: Option<Pid>, helpers: &[Pid]) -> Vec<Pid> {
    let table = process_table();
    let marked = marked(&table).into_iter().filter(|pid| !helpers.contains(pid));
    let mut found: HashSet<Pid> = HashSet::from_iter(marked.chain([getpid()]).chain(main));
    // Each round finds the children of those found before.
    let candidates: Vec<&Ancestry> = table.iter().filter(|process| !helpers.contains(&process.pid)).collect();
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
    let Some(mark) = mark_of(Path::new("")) else { return Vec::new() };
    table.iter().map(|process| process.pid).filter(|pid| has_mark(*pid, &mark)).collect()
}

/// Whether a process is proven by its mark to be of the service in the current directory, or of its logger.
pub fn is_marked(pid: Pid, part: Part) -> bool {
    tag_value(part).is_some_and(|mark| is_proven_by_mark(pid, &mark))
}

/// Sends a signal to all whom stopping the service reaches. `helpers` have to do with supervise, but are not of the service.
pub fn send_scope(scope: Scope, process: &ServiceProcess, signal: Signal, helpers: &[Pid]) {
    match scope {
        Scope::Main => process.send(signal),
        Scope::Group => process.send_group(signal),
        Scope::Tree => send(Some(process.id.pid), signal, helpers),
    }
}

/// Kills what is left of all whom stopping the service reaches, now that its process has ended.
pub fn kill_rest(scope: Scope, last_run: Option<Process>, helpers: &[Pid]) {
    match scope {
        Scope::Main => {}
        Scope::Group => last_run.iter().for_each(|run| kill_group(*run)),
        Scope::Tree => kill_all(last_run.map(|run| run.pid), helpers),
    }
}

/// Sends a signal to all processes of the tree.
fn send(main: Option<Pid>, signal: Signal, helpers: &[Pid]) {
    for pid in members(main, helpers) {
        let _ = kill(pid, signal);
    }
}

/// Kills all that is left, also what is born meanwhile; `main` has ended and is not waited for yet.
///
/// A process that forks and exits over and over is gone by the time that it is looked at. So all are stopped first, the
/// orphans among them, which are our children by then, by a look that takes a few microseconds; only when nothing new is
/// found any more are they killed.
fn kill_all(main: Option<Pid>, helpers: &[Pid]) {
    let spared: Vec<Pid> = main.into_iter().chain(helpers.iter().copied()).collect();
    let until = Moment::now().uptime + LONGEST;
    let mut dying = HashSet::new();
    loop {
        stop_all(&spared, until);
        let members = members(None, &spared);
        // One that is about to end is not seen any more to be a member.
        dying.retain(|pid| ancestry(*pid).is_some_and(|process| !process.zombie));
        if (members.is_empty() && dying.is_empty()) || Moment::now().uptime > until {
            return;
        }
        for pid in members {
            let _ = kill(pid, Signal::SIGKILL);
            dying.insert(pid);
        }
        // They die while we wait.
        if poll(&mut [], PollTimeout::from(1u8)) == Err(Errno::ENOMEM) {
            return;
        }
    }
}

/// Stops all members until there is none that is new, or until it takes too long.
fn stop_all(spared: &[Pid], until: Duration) {
    let mut stopped = HashSet::new();
    loop {
        let new: Vec<Pid> = members(None, spared).into_iter().filter(|pid| stopped.insert(*pid)).collect();
        for pid in &new {
            let _ = kill(*pid, Signal::SIGSTOP);
        }
        let hopped = stop_orphans(&mut stopped, spared, until);
        if (new.is_empty() && !hopped) || Moment::now().uptime > until {
            return;
        }
    }
}

/// Stops our children, looking for them again and again until there is none that is new; whether there was one.
fn stop_orphans(stopped: &mut HashSet<Pid>, spared: &[Pid], until: Duration) -> bool {
    let (mut any, mut calm) = (false, 0);
    while calm < CALM && Moment::now().uptime < until {
        calm += 1;
        for pid in own_children().into_iter().filter(|pid| !spared.contains(pid)) {
            // Waited for, its number may be another's soon.
            let gone = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
            let is_new = if matches!(gone, Ok(WaitStatus::StillAlive)) {
                let _ = kill(pid, Signal::SIGSTOP);
                stopped.insert(pid)
            } else {
                !stopped.remove(&pid)
            };
            if is_new {
                (any, calm) = (true, 0);
            }
        }
    }
    any
}

/// Looks in a row that find nothing new before it is believed that there is nothing.
const CALM: u32 = 20;

/// Our children, as the kernel lists them; none where it does not.
pub fn own_children() -> Vec<Pid> {
    let list = std::fs::read_to_string(format!("/proc/self/task/{}/children", getpid())).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

/// Kills what is left of the process group that `run` led, if it led one.
fn kill_group(run: Process) {
    // While the group has members, its number is no other process': whichever has it now got it when none was left.
    if !matches!(run.identity(), Ok(Identity::Unknown) | Err(_)) && !is_anothers(&run) {
        let _ = killpg(run.pid, Signal::SIGKILL);
    }
}

/// Whether another process than this one has its number.
fn is_anothers(process: &Process) -> bool {
    process.identity() == Ok(Identity::Gone) && kill(process.pid, None) != Err(Errno::ESRCH)
}
