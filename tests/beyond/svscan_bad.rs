//! svscan with input that no user would choose. It reports each problem once, and serves all other services.

use crate::svscan::{SCANNED, service, svscan};
use nix::sys::signal::Signal;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use tests::{Daemon, Scratch, has, is_alive, is_root, processes_in, skip, wait_until};

/// How often a message with these words was written.
fn said(svscan: &Daemon, words: &str) -> usize {
    svscan.errors().matches(words).count()
}

/// Makes svscan look at everything several times.
fn look_again(scratch: &Scratch, svscan: &Daemon) {
    for _ in 0..3 {
        svscan.signal(Signal::SIGHUP);
        service(scratch, &format!("again{}", scratch.next()), "exec sleep 1000").up();
    }
}

/// Stops svscan, and checks that no process is left.
fn stop(scratch: &Scratch, mut svscan: Daemon) {
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
}

#[test]
fn a_directory_that_may_not_be_entered_is_said_once_and_started_when_it_may() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    scratch.mode(SCANNED, 0o777);
    scratch.mode(a.path(""), 0);
    scratch.as_nobody("supervise");
    let svscan = Daemon::start(scratch.as_nobody("svscan").arg(SCANNED), &scratch);
    let words = "svscan: warning: unable to stat a/log: access denied\n";
    wait_until("it is said", || said(&svscan, words) == 1);
    for _ in 0..3 {
        svscan.signal(Signal::SIGHUP);
        thread::sleep(Duration::from_millis(10));
    }
    scratch.mode(a.path(""), 0o777);
    a.up();
    assert_eq!(svscan.errors(), words);
    stop(&scratch, svscan);
}

#[test]
fn names_are_bytes() {
    let scratch = Scratch::new();
    let directory = PathBuf::from(SCANNED);
    let [service, file] =
        [&b"\xff\xfe service"[..], b"\xff\xfe the file"].map(|name| directory.join(OsStr::from_bytes(name)));
    scratch.script(service.join("run"), "#!/bin/sh\nexec sleep 1000\n");
    scratch.script(service.join("log/run"), "#!/bin/sh\nexec cat >>lines\n");
    scratch.file(&file, "");
    let svscan = svscan(&scratch);
    let path = scratch.path().join(&service);
    wait_until("it runs, and so does its logger", || {
        ["supervise/ok", "log/supervise/ok"].iter().all(|ok| path.join(ok).exists()) && processes_in(&path).len() >= 4
    });
    look_again(&scratch, &svscan);
    let errors = fs::read(scratch.path().join(".errors.0")).expect("what it said");
    assert_eq!(errors, b"svscan: warning: unable to supervise \xff\xfe the file: not a directory\n");
    stop(&scratch, svscan);
}

#[test]
fn control_bytes_in_a_name_are_said_in_words() {
    let scratch = Scratch::new();
    scratch.file(format!("{SCANNED}/a\nb\x1b[2J"), "");
    let svscan = svscan(&scratch);
    let words = "svscan: warning: unable to supervise a\\x0ab\\x1b[2J: not a directory\n";
    wait_until("it is said", || svscan.errors() == words);
    stop(&scratch, svscan);
}

/// Only every other scan finds this.
#[test]
fn what_comes_and_goes_between_scans_is_said_once() {
    let scratch = Scratch::new();
    let svscan = svscan(&scratch);
    let link = scratch.path().join(SCANNED).join("link");
    for _ in 0..3 {
        symlink("nowhere", &link).expect("make a link");
        wait_until("it is said", || said(&svscan, "unable to stat link: ") == 1);
        fs::remove_file(&link).expect("remove it");
        look_again(&scratch, &svscan);
    }
    symlink("nowhere", &link).expect("make a link");
    look_again(&scratch, &svscan);
    assert_eq!(said(&svscan, "unable to stat link: "), 1);
    stop(&scratch, svscan);
}

#[test]
fn a_scan_directory_that_is_removed_or_replaced_is_said_once_and_stopped_in_order() {
    for replaced in [false, true] {
        let scratch = Scratch::new();
        let a = service(&scratch, "a", "exec sleep 1000");
        let svscan = svscan(&scratch);
        let pid = a.up();
        // Until then the shell still has to read the script.
        let program = format!("/proc/{pid}/comm");
        wait_until("it sleeps", || fs::read_to_string(&program).is_ok_and(|name| name == "sleep\n"));
        let path = scratch.path().join(SCANNED);
        let words = if replaced {
            fs::rename(&path, scratch.path().join("away")).expect("move it away");
            service(&scratch, "other", "exec sleep 1000");
            "svscan: warning: directory was moved, and is still served\n"
        } else {
            // Files that supervise writes meanwhile can make the removal fail.
            wait_until("it is removed", || fs::remove_dir_all(&path).is_ok() || !path.exists());
            "svscan: warning: directory was removed\n"
        };
        wait_until("it is said", || {
            svscan.signal(Signal::SIGHUP);
            said(&svscan, words) == 1
        });
        assert!(is_alive(pid));
        assert!(!path.join("other/supervise").exists(), "it is another directory");
        // Messages of supervise are not counted.
        let warnings = said(&svscan, "svscan: warning");
        stop(&scratch, svscan);
        assert_eq!((warnings, is_alive(pid)), (1, false));
    }
}

#[test]
fn processes_running_out_is_one_warning_and_what_runs_runs_on() {
    if !is_root() || !has("prlimit") {
        return skip("needs root, to limit the processes of another account");
    }
    // An account that has only these processes. The limit applies to that account, not to svscan.
    let user = 1_000_000_000 + std::process::id();
    let scratch = Scratch::new();
    let services: Vec<_> = (0..8).map(|number| service(&scratch, &format!("s{number}"), "exec sleep 1000")).collect();
    for name in ["svscan", "supervise"] {
        scratch.as_nobody(name);
    }
    for path in services.iter().map(|service| service.path("")).chain([scratch.path().join(SCANNED)]) {
        chown(path, Some(user), Some(user)).expect("give it away");
    }
    let mut command = scratch.command("prlimit");
    command.arg("--nproc=5:1000").arg(scratch.path().join("svscan")).arg(SCANNED).uid(user).gid(user);
    let svscan = Daemon::start(&mut command, &scratch);
    let running = || services.iter().filter(|service| service.is_supervised()).count();
    let refused =
        || svscan.errors().lines().filter(|line| line.starts_with("svscan: warning: unable to fork for s")).count();
    wait_until("each runs or is complained of", || running() + refused() == 8 && refused() > 0);
    let before: Vec<_> = processes_in(&scratch.path().join(SCANNED));
    svscan.signal(Signal::SIGHUP);
    let pid = svscan.pid().to_string();
    let more =
        scratch.outcome_of(scratch.command("prlimit").args(["--nproc=1000:1000", "--pid", &pid]).uid(user).gid(user));
    assert_eq!(more.code, 0, "{more:?}");
    wait_until("all are supervised", || running() == 8);
    assert!(before.iter().all(|pid| is_alive(*pid)), "running services go on");
    let lines = svscan.errors();
    assert!(lines.matches("svscan: warning: unable to fork for").count() < 8, "each once: {lines}");
    stop(&scratch, svscan);
}

/// A shell that runs a script in the background ignores SIGINT for it, because ^C is meant for others.
#[test]
fn a_signal_that_was_ignored_when_svscan_was_started_stays_so() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    let ignoring = format!("trap '' INT QUIT; exec svscan {SCANNED}");
    let mut svscan = Daemon::start(scratch.command("/bin/sh").args(["-c", &ignoring]), &scratch);
    let pid = a.up();
    svscan.signal(Signal::SIGINT);
    svscan.signal(Signal::SIGINT);
    service(&scratch, "b", "exec sleep 1000").up();
    assert_eq!((a.up(), svscan.errors().as_str()), (pid, ""));
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
}

/// Makes and removes directories, links and files for this time. Each exists for about a millisecond.
fn come_and_go(scratch: &Scratch, time: Duration) {
    let directory = scratch.path().join(SCANNED);
    scratch.script("run", "#!/bin/sh\nexec sleep 1000\n");
    service(scratch, "../elsewhere", "exec sleep 1000").down();
    let end = Instant::now() + time;
    let mut round = 0;
    while Instant::now() < end {
        let name = |kind: &str| directory.join(format!("{kind}{}", round % 11));
        let made = [name("directory"), name("link"), name("file"), name("renamed")];
        let made: Vec<&Path> = made.iter().map(PathBuf::as_path).collect();
        let _ = fs::create_dir(made[0]).and_then(|()| fs::hard_link(scratch.path().join("run"), made[0].join("run")));
        let _ = symlink("../elsewhere", made[1]);
        let _ = fs::write(made[2], "");
        thread::sleep(Duration::from_micros(300));
        let _ = fs::rename(made[0], made[3]);
        thread::sleep(Duration::from_micros(300));
        for path in &made[1..3] {
            let _ = fs::remove_file(path);
        }
        let _ = fs::remove_dir_all(made[3]);
        round += 1;
    }
}

fn survives_what_comes_and_goes(time: Duration) {
    let scratch = Scratch::new();
    let steady = service(&scratch, "steady", "exec sleep 1000");
    let svscan = svscan(&scratch);
    let pid = steady.up();
    come_and_go(&scratch, time);
    service(&scratch, "last", "exec sleep 1000").up();
    assert_eq!(steady.up(), pid);
    stop(&scratch, svscan);
}

#[test]
fn entries_that_come_and_go_every_millisecond_harm_no_service() {
    survives_what_comes_and_goes(Duration::from_secs(1));
}

#[test]
#[ignore = "takes ten seconds and more"]
fn entries_that_come_and_go_for_long_harm_no_service() {
    survives_what_comes_and_goes(Duration::from_secs(10));
}

/// There are a hundred thousand files, with one message for each, and one service among them.
#[test]
#[ignore = "makes a hundred thousand files"]
fn a_hundred_thousand_entries_are_a_line_each_and_no_more() {
    let scratch = Scratch::new();
    scratch.dir(SCANNED);
    let directory = scratch.path().join(SCANNED);
    for number in 0..100_000 {
        fs::write(directory.join(format!("f{number}")), "").expect("write a file");
    }
    let a = service(&scratch, "a", "exec sleep 1000");
    let svscan = svscan(&scratch);
    a.up();
    let lines = || svscan.errors().lines().count();
    wait_until("each is complained of", || lines() >= 100_000);
    look_again(&scratch, &svscan);
    assert_eq!(lines(), 100_000);
    fs::remove_dir_all(directory.join("a")).ok();
    stop(&scratch, svscan);
}
