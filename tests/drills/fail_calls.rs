//! A system call of a program fails: with each error that it may have, at each of its calls in a run, once and several
//! times in a row. No program crashes because of it. Afterwards the state is at worst what it would be if the program
//! had been killed there: no service is lost or runs twice, and no line is lost.

use crate::every_call::{Drill, Subject};
use crate::kill_logdir::LOG_DIRECTORIES;
use crate::kill_multilog::MULTILOGS;
use crate::kill_supervise::SUPERVISES;
use crate::kill_svscan::SVSCANS;
use std::collections::BTreeMap;
use tests::Scratch;

/// How many calls in a row fail in one of the drills for each call.
const BURST: usize = 4;

/// The errors that a system call may have without a fault of the program.
fn errors(syscall: &str) -> &'static [&'static str] {
    match syscall {
        "openat" | "open" => &["ENOSPC", "EIO", "EMFILE", "ENOMEM", "EINTR"],
        "read" | "readv" | "pread64" => &["EIO", "EAGAIN", "EINTR", "ENOMEM"],
        "write" | "writev" | "pwrite64" => &["ENOSPC", "EIO", "EAGAIN", "EINTR"],
        "rename" | "renameat" | "renameat2" | "mkdir" | "mkdirat" | "mknod" | "mknodat" | "unlink" | "unlinkat"
        | "link" | "linkat" | "symlink" | "symlinkat" | "ftruncate" | "truncate" | "fallocate" => {
            &["ENOSPC", "EIO", "ENOMEM"]
        }
        "fsync" | "fdatasync" | "msync" | "sync_file_range" => &["ENOSPC", "EIO", "EINTR"],
        "stat" | "lstat" | "fstat" | "newfstatat" | "statx" | "statfs" | "fstatfs" | "access" | "faccessat"
        | "faccessat2" | "readlink" | "readlinkat" | "getdents64" | "chdir" | "fchdir" | "fchmod" | "chmod" => {
            &["EIO", "ENOMEM"]
        }
        "clone" | "clone3" | "fork" | "vfork" => &["EAGAIN", "ENOMEM"],
        "poll" | "ppoll" | "epoll_wait" | "epoll_pwait" => &["EINTR", "EAGAIN", "ENOMEM"],
        "pipe2" | "socket" | "eventfd2" | "signalfd4" | "pidfd_open" | "inotify_init1" | "epoll_create1"
        | "timerfd_create" | "memfd_create" => &["EMFILE", "ENOMEM"],
        "dup" | "dup2" | "dup3" => &["EMFILE", "EINTR"],
        "epoll_ctl" | "inotify_add_watch" => &["ENOSPC", "ENOMEM"],
        "flock" => &["EINTR", "ENOLCK"],
        "tee" | "splice" => &["EAGAIN", "EINTR", "ENOMEM"],
        "sendto" | "recvfrom" => &["EINTR"],
        // brk(2) and mprotect(2) are left out, because a dynamic program cannot start without them.
        "mmap" | "mremap" => &["ENOMEM"],
        _ => &[],
    }
}

/// The drills with errors, for the places where the program could be killed.
fn failures(kills: Vec<Drill>) -> Vec<Drill> {
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for Drill { kind, syscall, .. } in kills {
        *counts.entry((kind, syscall)).or_insert(0) += 1;
    }
    let mut drills = Vec::new();
    for ((kind, syscall), count) in counts {
        let places = (1..=count).map(|when| when.to_string());
        let middle = count.div_ceil(2);
        let burst = (count > 1).then(|| format!("{middle}..{}", middle + BURST - 1));
        for when in places.chain(burst) {
            let drill = |error: &&str| Drill {
                kind: kind.clone(),
                syscall: syscall.clone(),
                when: when.clone(),
                fault: (*error).into(),
            };
            drills.extend(errors(&syscall).iter().map(drill));
        }
    }
    drills
}

/// A refused fork is left out: after it the original waits a minute, and so does our supervise.
fn supervises(scratch: &Scratch, kind: &str) -> Vec<Drill> {
    let mut drills = failures((SUPERVISES.drills)(scratch, kind));
    drills.retain(|drill| drill.syscall != "clone");
    drills
}

/// Errors of reading the input are left out: they end multilog, as they end the original, and cut a line in two.
fn failures_but_of_input(kills: Vec<Drill>) -> Vec<Drill> {
    let mut drills = failures(kills);
    drills.retain(|drill| drill.syscall != "read" || ["EINTR", "EAGAIN"].contains(&drill.fault.as_str()));
    drills
}

fn multilogs(scratch: &Scratch, kind: &str) -> Vec<Drill> {
    let mut drills = failures_but_of_input((MULTILOGS.drills)(scratch, kind));
    // A line that cannot be forwarded is still in the log.
    drills.retain(|drill| drill.kind != "forward");
    drills
}

/// A full disk is left out where it is meant to cost old or new lines.
fn log_directories(scratch: &Scratch, kind: &str) -> Vec<Drill> {
    let mut drills = failures_but_of_input((LOG_DIRECTORIES.drills)(scratch, kind));
    drills.retain(|drill| drill.fault != "ENOSPC" || !["durable", "dropping"].contains(&kind));
    drills
}

fn svscans(scratch: &Scratch, kind: &str) -> Vec<Drill> {
    failures((SVSCANS.drills)(scratch, kind))
}

/// For a state, supervise makes only calls that it makes for other services too.
const SUPERVISES_FAILURES: Subject = Subject {
    test: "fail_calls::a_sample_of_supervises_failures",
    kinds: &["plain", "full", "background"],
    killed: false,
    drills: supervises,
    ..SUPERVISES
};
const MULTILOGS_FAILURES: Subject =
    Subject { test: "fail_calls::a_sample_of_multilogs_failures", killed: false, drills: multilogs, ..MULTILOGS };
const LOG_DIRECTORIES_FAILURES: Subject = Subject {
    test: "fail_calls::a_sample_of_log_directories_failures",
    killed: false,
    drills: log_directories,
    ..LOG_DIRECTORIES
};
const SVSCANS_FAILURES: Subject =
    Subject { test: "fail_calls::a_sample_of_svscans_failures", killed: false, drills: svscans, ..SVSCANS };

#[test]
fn a_sample_of_supervises_failures() {
    SUPERVISES_FAILURES.a_sample();
}

#[test]
fn a_sample_of_multilogs_failures() {
    MULTILOGS_FAILURES.a_sample();
}

#[test]
fn a_sample_of_log_directories_failures() {
    LOG_DIRECTORIES_FAILURES.a_sample();
}

#[test]
fn a_sample_of_svscans_failures() {
    SVSCANS_FAILURES.a_sample();
}

#[test]
#[ignore = "takes minutes"]
fn every_one_of_supervises_failures() {
    SUPERVISES_FAILURES.every_one();
}

#[test]
#[ignore = "takes minutes"]
fn every_one_of_multilogs_failures() {
    MULTILOGS_FAILURES.every_one();
}

#[test]
#[ignore = "takes minutes"]
fn every_one_of_log_directories_failures() {
    LOG_DIRECTORIES_FAILURES.every_one();
}

#[test]
#[ignore = "takes minutes"]
fn every_one_of_svscans_failures() {
    SVSCANS_FAILURES.every_one();
}
