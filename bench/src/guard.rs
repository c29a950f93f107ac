//! Makes sure that the benchmark leaves nothing behind: a guard process watches the one that measures.
//!
//! 1. The guard makes a scratch directory and starts this program anew in it. The guard is a subreaper: a descendant
//!    that loses its parent becomes its child.
//! 2. The guard waits until the process that measures ends in any way, or until ^C, TERM or HUP tells the guard to end.
//! 3. Then it kills its children until it has none, and removes the directory.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpid};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The first argument of the process that measures; the second is the scratch directory.
pub const INSIDE: &str = "--inside";

const SIGNALS: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD];

/// Measures under a guard, and returns the exit code.
pub fn guarded(args: impl Iterator<Item = OsString>, folder: &Path) -> Result<i32> {
    let scratch = tempfile::Builder::new().prefix("bench-").tempdir_in(folder).context("make a scratch directory")?;
    let signals: SigSet = SIGNALS.into_iter().collect();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&signals), None)?;
    prctl::set_child_subreaper(true)?;
    // The standard library gives the child an empty signal mask again.
    let mut inside = Command::new(std::env::current_exe()?);
    inside.arg(INSIDE).arg(scratch.path()).args(args);
    let pid = Pid::from_raw(inside.spawn().context("start the measuring")?.id().cast_signed());
    let code = wait_for(pid, &signals);
    end_children();
    scratch.close().context("remove the scratch directory")?;
    code
}

fn wait_for(pid: Pid, signals: &SigSet) -> Result<i32> {
    loop {
        let signal = signals.wait()?;
        if signal != Signal::SIGCHLD {
            return Ok(128 + signal as i32);
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(ended, code)) if ended == pid => return Ok(code),
                Ok(WaitStatus::Signaled(ended, signal, _)) if ended == pid => return Ok(128 + signal as i32),
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => {}
            }
        }
    }
}

/// The first step of the process that measures: it becomes a subreaper too, and will not outlive its guard.
pub fn inside() -> Result<()> {
    prctl::set_child_subreaper(true)?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    Ok(())
}

/// Kills the children of this process, then the descendants that become its children because of that, until none is
/// left. No other code may wait for them.
pub fn end_children() {
    loop {
        for child in children() {
            let _ = kill(child, Signal::SIGKILL);
        }
        // Dead children are reaped first, so that /proc no longer contains them when it is read again.
        match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Ok(_) => while !matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive) | Err(_)) {},
            Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

fn children() -> Vec<Pid> {
    let all = fs::read_dir("/proc").into_iter().flatten();
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent_of(*pid) == Some(getpid().as_raw())).map(Pid::from_raw).collect()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let behind = stat.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(stat.get(behind + 1..)?).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether `argument` says that this is the process that measures.
pub fn is_inside(argument: Option<&OsStr>) -> bool {
    argument.is_some_and(|argument| argument == INSIDE)
}
