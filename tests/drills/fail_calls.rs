//! The programs, and a system call that fails: the errors that it may have, at each of its calls in a life, one time and
//! several times in a row. No program crashes of it; and when it is over, all must be as if the program had been killed
//! there at worst: no service lost or doubled, no line lost.

use crate::every_call::{Drill, Subject};
use crate::kill_logdir::LOG_DIRECTORIES;
use crate::kill_multilog::MULTILOGS;
use crate::kill_supervise::SUPERVISES;
use crate::kill_svscan::SVSCANS;
use std::collections::BTreeMap;
use tests::Scratch;

/// How many in a row fail, once for each.
const BURST: usize = 4;

/// What may go wrong with a system call through no fault of the program.
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
        // But brk(2) and mprotect(2), without which a dynamic program cannot begin.
        "mmap" | "mremap" => &["ENOMEM"],
        _ => &[],
    }
}

/// Errors where the program could be killed.
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

/// But for a refused fork, after which the original waits a minute and so do we.
fn supervises(scratch: &Scratch, kind: &str) -> Vec<Drill> {
    let mut drills = failures((SUPERVISES.drills)(scratch, kind));
    drills.retain(|drill| drill.syscall != "clone");
    drills
}

/// But for an input that cannot be read: that ends it, as it ends the original, and with it a line in two pieces.
fn failures_but_of_input(kills: Vec<Drill>) -> Vec<Drill> {
    let mut drills = failures(kills);
    drills.retain(|drill| drill.syscall != "read" || ["EINTR", "EAGAIN"].contains(&drill.fault.as_str()));
    drills
}

fn multilogs(scratch: &Scratch, kind: &str) -> Vec<Drill> {
    let mut drills = failures_but_of_input((MULTILOGS.drills)(scratch, kind));
    // What it cannot forward is in the log all the same.
    drills.retain(|drill| drill.kind != "forward");
    drills
}

/// But for a full disk where that is to cost old lines or new ones.
fn log_directories(scratch: &Scratch, kind: &str) -> Vec<Drill> {
    let mut drills = failures_but_of_input((LOG_DIRECTORIES.drills)(scratch, kind));
    drills.retain(|drill| drill.fault != "ENOSPC" || !["durable", "dropping"].contains(&kind));
    drills
}

fn svscans(scratch: &Scratch, kind: &str) -> Vec<Drill> {
    failures((SVSCANS.drills)(scratch, kind))
}

const SUPERVISES_FAILURES: Subject =
    Subject { test: "fail_calls::a_sample_of_supervises_failures", killed: false, drills: supervises, ..SUPERVISES };
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
