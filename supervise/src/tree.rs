//! Finding and signalling the processes that stopping a service reaches: its main process, its process group, or all of
//! its processes.
//!
//! The tree of a service is all of its processes, wherever they moved: the descendants of its main process, and those
//! of supervise, which is the parent of all whose parents died (a child subreaper). After a supervise was killed, such
//! orphans have another parent: they are known by a tag in their environment.

use crate::service_process::ServiceProcess;
use crate::strangers::Strangers;
use daemontools::report::errno_of;
use daemontools::service::policy::Scope;
use daemontools::service::{
    Identity, Inquiry, MARK, Part, Process, are_proven_by_mark, is_proven_by_mark, is_without_pidfd, mark_of,
    mark_of_logger,
};
use daemontools::sys::exec::Change;
use daemontools::sys::process::{
    Ancestry, PidFd, ancestry, has_gained_rights, has_proc, is_apart, is_hidden, is_living, known_path,
    known_processes, process_numbers, start_ticks, ticks_at,
};
use daemontools::tai64::Moment;
use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpid};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// How long supervise looks for processes to kill before it leaves the rest alone.
const LONGEST: Duration = Duration::from_secs(2);

/// The variable that tags the processes of a service, or of its logger.
pub fn environment_tag(part: Part) -> Option<Change> {
    tag_value(part).map(|mark| (MARK.into(), Some(mark.into())))
}

fn tag_value(part: Part) -> Option<String> {
    match part {
        Part::Service => mark_of(Path::new("")),
        Part::Logger => mark_of_logger(Path::new("")),
    }
}

/// The living processes of the service but for the main one. `inquiry` knows
/// the processes that gave no answer before.
///
/// Any account may give the tag to a program that it starts, even to a set-uid program. So if only the tag of a process, or
/// that of an ancestor, says that the process belongs to the service, supervise believes this only if the process gained no
/// rights when it was executed. Otherwise an account could have supervise kill processes that it cannot kill itself.
fn members(main: Option<Process>, strangers: &Strangers, inquiry: &mut Inquiry) -> Vec<Member> {
    // What a process is must be known before its parent is: then no later process is taken for it.
    let processes: HashMap<Pid, Process> = process_numbers().into_iter().map(|pid| (pid, Process::of(pid))).collect();
    // The main process of an earlier supervise may have ended, and another one may have got its number.
    let is_there = |main: &Process| processes.get(&main.pid).is_some_and(|now| now.is_same_as(main));
    let main = main.filter(is_there).map(|main| main.pid);
    let known = processes.keys().filter(|pid| !strangers.have(**pid));
    let table: Vec<Ancestry> = known.filter_map(|pid| ancestry(*pid)).collect();
    let mut found: HashSet<Pid> = HashSet::from_iter(main.into_iter().chain([getpid()]));
    add_descendants(&mut found, &table, |pids| pids.to_vec());
    let others: Vec<Pid> = table.iter().map(|process| process.pid).filter(|pid| !found.contains(pid)).collect();
    let mut by_tag = HashSet::from_iter(tagged(&others, inquiry).unwrap_or_default());
    add_descendants(&mut by_tag, &table, |pids| {
        // As with the tag: what gives no answer is not believed, nor is anything while the system cannot tell.
        inquiry.those(pids, |pid| has_gained_rights(pid) != Some(true)).unwrap_or_default()
    });
    found.extend(by_tag);
    let is_other = |process: &Ancestry| !process.zombie && process.pid != getpid() && Some(process.pid) != main;
    let others = table.into_iter().filter(|process| is_other(process) && found.contains(&process.pid));
    let member = |process: Ancestry| Some(Member { process: *processes.get(&process.pid)?, parent: process.parent });
    others.filter_map(member).collect()
}

/// A process of the tree.
struct Member {
    process: Process,
    parent: Pid,
}

impl Member {
    /// Sends the process a signal. It took time to find it, in which it may have ended, and another one may have got its
    /// number; but only supervise itself could wait for a child of supervise.
    fn send(&self, signal: Signal) {
        if self.parent == getpid() {
            let _ = kill(self.process.pid, signal);
        } else {
            self.process.send(&[signal]);
        }
    }
}

/// Adds the descendants of all these processes that `choose` returns when it is given them, and whose parents it has
/// returned too.
fn add_descendants(found: &mut HashSet<Pid>, table: &[Ancestry], mut choose: impl FnMut(&[Pid]) -> Vec<Pid>) {
    let mut refused = HashSet::new();
    loop {
        // Each round finds the children of those found before.
        let children = table.iter().filter(|process| found.contains(&process.parent)).map(|process| process.pid);
        let new: Vec<Pid> = children.filter(|pid| !found.contains(pid) && !refused.contains(pid)).collect();
        if new.is_empty() {
            return;
        }
        found.extend(choose(&new));
        refused.extend(new);
    }
}

/// The processes that are proven by their tag to be the service's, and whose parents are not.
///
/// # Errors
/// EMFILE, EIO and others: they cannot be told now.
pub fn tagged_orphans(strangers: &Strangers) -> nix::Result<Vec<Pid>> {
    let table = known_processes()?;
    let is_other = |process: &&Ancestry| !process.zombie && process.pid != getpid() && !strangers.have(process.pid);
    let others: Vec<Pid> = table.iter().filter(is_other).map(|process| process.pid).collect();
    let found = tagged(&others, &mut Inquiry::default())?;
    let is_orphan = |process: &&Ancestry| {
        found.contains(&process.pid) && !found.contains(&process.parent) && !strangers.have(process.parent)
    };
    Ok(table.iter().filter(is_orphan).map(|process| process.pid).collect())
}

/// The processes among `pids` whose tag proves that they are the service's.
fn tagged(pids: &[Pid], inquiry: &mut Inquiry) -> nix::Result<Vec<Pid>> {
    let Some(mark) = mark_of(Path::new("")) else { return Ok(Vec::new()) };
    are_proven_by_mark(pids, &[&mark], inquiry)
}

/// Whether a process is proven by its tag to be of the service in the current directory, or of its logger.
///
/// # Errors
/// EAGAIN, ENOMEM, EMFILE: that cannot be told now.
pub fn is_marked(pid: Pid, part: Part) -> nix::Result<bool> {
    tag_value(part).map_or(Ok(false), |mark| is_proven_by_mark(pid, &[&mark]))
}

/// Sends a signal to all processes that stopping the service reaches.
pub fn send_scope(scope: Scope, process: &ServiceProcess, signal: Signal, strangers: &Strangers) {
    match scope {
        Scope::Main => process.send(signal),
        Scope::Group => process.send_group(signal),
        Scope::Tree => send(Some(process), signal, strangers),
    }
}

/// Kills what is left of the processes that stopping the service reaches, now that the main one has ended.
///
/// # Errors
/// As for [`kill_all`].
pub fn kill_rest(scope: Scope, last_run: Option<Process>, strangers: &Strangers) -> nix::Result<()> {
    match scope {
        Scope::Main => Ok(()),
        Scope::Group => {
            last_run.iter().for_each(|run| kill_group(*run));
            Ok(())
        }
        Scope::Tree => kill_all(last_run.map(|run| run.pid), strangers),
    }
}

/// Whether a process that has lost its parent is the service's still: a child of supervise, or one that is known by its tag.
pub fn is_orphan_still(pid: Pid) -> bool {
    is_living_child(pid) || is_marked(pid, Part::Service) == Ok(true)
}

/// Sends a signal to a process that has lost its parent. It is held while that it is the service's is proven, so that no other
/// process gets the signal.
pub fn send_orphan(pid: Pid, signal: Signal) {
    let _ = match PidFd::open(pid) {
        Ok(held) if is_orphan_still(pid) => held.signal(signal),
        Err(_) if is_living_child(pid) => kill(pid, signal),
        Err(errno) if is_without_pidfd(errno) && is_orphan_still(pid) => kill(pid, signal),
        Ok(_) | Err(_) => Ok(()),
    };
}

/// Sends a signal to all processes of the tree.
pub fn send(main: Option<&ServiceProcess>, signal: Signal, strangers: &Strangers) {
    if let Some(main) = main {
        main.send(signal);
    }
    let main = main.map(|main| main.id);
    members(main, strangers, &mut Inquiry::default()).iter().for_each(|member| member.send(signal));
}

/// Kills all processes of the tree, including those that are made while this runs. `main` has ended, and supervise has
/// not waited for it yet.
///
/// A process that forks and exits over and over is gone by the time that it is looked at. So all processes are stopped
/// first, and killed only when no new one is found any more. The orphans among them are children of supervise by then,
/// and are found by a look that takes a few microseconds.
///
/// # Errors
/// ETIMEDOUT: some may be left, as they did not end in two seconds, or as `/proc` does not show them.
pub fn kill_all(main: Option<Pid>, strangers: &Strangers) -> nix::Result<()> {
    let spared = strangers.clone().and(main);
    let until = Moment::now().uptime + LONGEST;
    let (mut dying, mut inquiry) = (HashSet::new(), Inquiry::default());
    loop {
        stop_all(&spared, &mut inquiry, until);
        let members = members(None, &spared, &mut inquiry);
        // A process that is about to end is not found as a member any more.
        dying.retain(|pid| is_living(*pid));
        let is_done = members.is_empty() && dying.is_empty() && !inquiry.was_hindered() && !is_blind();
        if is_done {
            return Ok(());
        }
        if Moment::now().uptime > until {
            return Err(Errno::ETIMEDOUT);
        }
        for member in members {
            member.send(Signal::SIGKILL);
            dying.insert(member.process.pid);
        }
        // The processes die during this wait.
        if poll(&mut [], PollTimeout::from(1u8)) == Err(Errno::ENOMEM) {
            return Err(Errno::ENOMEM);
        }
    }
}

/// Stops all processes of the tree until no new one is found, or until it takes too long.
fn stop_all(spared: &Strangers, inquiry: &mut Inquiry, until: Duration) {
    let mut stopped = HashSet::new();
    loop {
        let mut new = members(None, spared, inquiry);
        new.retain(|member| stopped.insert(member.process.pid));
        new.iter().for_each(|member| member.send(Signal::SIGSTOP));
        let hopped = stop_orphans(&mut stopped, spared, until);
        if (new.is_empty() && !hopped) || Moment::now().uptime > until {
            return;
        }
    }
}

/// Stops the children of supervise, and looks for them again and again until no new one is found. Returns whether there
/// was a new one.
fn stop_orphans(stopped: &mut HashSet<Pid>, spared: &Strangers, until: Duration) -> bool {
    let (mut any, mut calm) = (false, 0);
    while calm < CALM && Moment::now().uptime < until {
        calm += 1;
        for pid in own_children().unwrap_or_default().into_iter().filter(|pid| !spared.have(*pid)) {
            // Once supervise has waited for a child, its number may soon be that of another process.
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

/// supervise concludes that there is no new child once this number of looks in a row has found none.
const CALM: u32 = 20;

/// The children of supervise, as the kernel lists them; none where it does not. The helpers that look at files are not
/// among them (see [`Helper`](daemontools::service::Helper)).
///
/// # Errors
/// EMFILE, EIO and others: they cannot be told now.
pub fn own_children() -> nix::Result<Vec<Pid>> {
    let list = match std::fs::read_to_string(known_path(getpid(), &format!("task/{}/children", getpid()))?) {
        Ok(list) => list,
        Err(error) => {
            let errno = errno_of(&error);
            return if is_hidden(errno) { Ok(Vec::new()) } else { Err(errno) };
        }
    };
    let mut found = Vec::new();
    for pid in list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw) {
        if !is_apart(pid)? {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Whether a child of supervise lives, whether `/proc` shows it or not. The helpers that look at files do not count.
pub fn has_living_child() -> bool {
    lives(Id::All)
}

/// Whether this process is a child of supervise and lives, whether `/proc` shows it or not.
pub fn is_living_child(pid: Pid) -> bool {
    lives(Id::Pid(pid))
}

/// The living children of supervise that have numbers such as processes get which this `run` makes. Where `/proc` does not
/// show them, the kernel is asked about each number.
pub fn children_with_numbers_near(run: Option<Pid>) -> Vec<Pid> {
    let run = run.map_or(0, Pid::as_raw);
    // After the highest number, which is at least this one, the kernel begins again.
    let begun_again = if run <= LEAST_HIGHEST { 2..run } else { 0..0 };
    let numbers = (run + 1..run.saturating_add(2 * LEAST_HIGHEST)).chain(begun_again);
    numbers.map(Pid::from_raw).filter(|pid| is_living_child(*pid)).collect()
}

/// The least highest number of a process that a system with usual settings has.
const LEAST_HIGHEST: i32 = 32_768;

/// waitid(2) fails if there is no child that could still do what it is asked about. One that has ended cannot stop.
fn lives(children: Id) -> bool {
    let may_stop = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(children, may_stop) != Err(Errno::ECHILD)
}

/// Whether `/proc` was there when this was first asked, which is when supervise begins. If it is away later, it may come
/// back; if it has never been there, supervise does what it can without.
pub fn had_proc() -> bool {
    static HAD: OnceLock<bool> = OnceLock::new();
    *HAD.get_or_init(has_proc)
}

/// Whether supervise cannot tell which processes the service has, because `/proc` is away.
fn is_blind() -> bool {
    !has_proc() && had_proc() && has_living_child()
}

/// A process that this `run` has left, and whose parent is supervise by now. `run` was started at `started`, in time since
/// boot; a process that is older does not count.
pub fn left_behind(run: Process, started: Duration, strangers: &Strangers) -> Option<Pid> {
    let others = own_children().unwrap_or_default().into_iter();
    let others: Vec<Pid> =
        others.filter(|child| *child != run.pid && !strangers.have(*child) && is_living(*child)).collect();
    let older = if others.is_empty() { Vec::new() } else { those_older(&others, started, Some(run)).ok()? };
    others.into_iter().filter(|child| !older.contains(child)).min()
}

/// Those among these processes that were made before `run`, which was started at `started`, in time since boot, and those
/// whose age `/proc` does not show. A process that keeps its age back is not among them.
///
/// The system tells hundredths of a second. Of processes of one hundredth, the one with the higher serial number is the
/// younger one.
///
/// # Errors
/// EAGAIN, ENOMEM, EMFILE: that cannot be told now.
pub fn those_older(pids: &[Pid], started: Duration, run: Option<Process>) -> nix::Result<Vec<Pid>> {
    let earliest = ticks_at(started).unwrap_or(0);
    let of_run = run.map_or(0, |run| run.serial);
    let is_older = |pid: Pid| match start_ticks(pid) {
        Some(ticks) if ticks == earliest => (1..of_run).contains(&Process::of(pid).serial),
        ticks => ticks.is_none_or(|ticks| ticks < earliest),
    };
    Inquiry::default().those(pids, is_older)
}

/// Kills what is left of the process group that `run` led, if it led one.
fn kill_group(run: Process) {
    // As long as the group has members, no other process gets its number. If another process has the number, the group
    // is gone.
    if !matches!(run.identity(), Ok(Identity::Unknown) | Err(_)) && !is_anothers(&run) {
        let _ = killpg(run.pid, Signal::SIGKILL);
    }
}

/// Whether another process than this one has its number.
fn is_anothers(process: &Process) -> bool {
    process.identity() == Ok(Identity::Gone) && kill(process.pid, None) != Err(Errno::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_whose_number_is_anothers_by_now_gets_no_signal() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::of(Pid::from_raw(i32::try_from(child.id()).unwrap()));
        let member = |process| Member { process, parent: Pid::from_raw(1) };
        member(Process { ticks: process.ticks + 1, serial: process.serial + 1, ..process }).send(Signal::SIGKILL);
        assert!(child.try_wait().unwrap().is_none());
        member(process).send(Signal::SIGKILL);
        assert!(!child.wait().unwrap().success());
    }
}
