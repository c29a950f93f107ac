//! The system refuses a call of svscan's for a moment. An error proves nothing, so svscan asks again, starts no second
//! supervise meanwhile, and forgets nothing.

use crate::svscan::{COUNT, SCANNED, service, supervise_of};
use crate::svscan_forward::lines;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;
use tests::{Daemon, Scratch, Service, children_of, has, is_alive, is_root, processes_in, skip, wait_until};

/// Starts svscan under strace. Its calls that touch one of these paths, in the form that svscan uses, have this fault.
fn refused(scratch: &Scratch, paths: &[&str], fault: &str) -> Daemon {
    let mut command = scratch.command("strace");
    command.args(["-qq", "-o", "/dev/null", "-I3"]);
    for path in paths {
        command.args(["-P", path]);
    }
    command.args(["-e", &format!("inject={fault}")]);
    let output = File::options().append(true).create(true).open(scratch.path().join("output")).expect("a file");
    Daemon::start(command.arg(scratch.programs().join("svscan")).arg(SCANNED).stdout(output), scratch)
}

fn signal(strace: &Daemon, signal: Signal) {
    for svscan in children_of(strace.pid()) {
        kill(Pid::from_raw(svscan), signal).expect("send a signal");
    }
}

/// Stops svscan, and checks that no process is left.
fn stop(scratch: &Scratch, mut strace: Daemon) {
    signal(&strace, Signal::SIGTERM);
    assert_eq!(strace.wait(), 0, "{}", strace.errors());
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
}

#[test]
fn a_supervise_that_cannot_be_asked_for_now_is_found_later_and_no_second_one_is_started() {
    if !has("strace") {
        return;
    }
    for (error, words) in
        [("EMFILE", "process cannot open more files"), ("EACCES", "access denied"), ("EIO", "input/output error")]
    {
        let scratch = Scratch::new();
        let a = service(&scratch, "a", "exec sleep 1000");
        // supervise is started by hand, so only its files show that it runs.
        let by_hand = a.supervise();
        let (pid, supervise) = (a.up(), supervise_of(&a));
        let svscan = refused(&scratch, &["a/supervise/ok"], &format!("openat:error={error}:when=1"));
        let said = format!("svscan: warning: unable to find supervise of a: {words}\n");
        wait_until("it is said", || svscan.errors().contains(&said));
        // Another service is served meanwhile.
        service(&scratch, "b", "exec sleep 1000").up();
        signal(&svscan, Signal::SIGALRM);
        assert_eq!((a.up(), supervise_of(&a), svscan.errors()), (pid, supervise, said), "{error}");
        stop(&scratch, svscan);
        assert!(!is_alive(pid) && !is_alive(supervise), "{error}: the supervise was not found and stopped");
        drop(by_hand);
    }
}

/// svscan reads each of these settings once, when it first sees the service. A wrong answer then would count for ever.
#[test]
fn a_setting_that_cannot_be_read_now_is_read_later_and_counts_before_its_service_starts() {
    if !has("strace") {
        return;
    }
    for (setting, fault) in [
        ("a/after", "openat:error=EMFILE:when=1"),
        ("a/after", "openat:error=ENOMEM:when=1"),
        ("a/after", "openat:error=EIO:when=1"),
        ("a/essential", "access,faccessat,faccessat2:error=EIO:when=1"),
        (".svscan/forward", "access,faccessat,faccessat2:error=ENOMEM:when=1"),
    ] {
        let scratch = Scratch::new();
        let run =
            "test -e ../b/runs || echo >alone; echo said; echo >started; while ! test -e end; do sleep 0.01; done";
        let a = service(&scratch, "a", run).file("after", "b\n").file("essential", "").file("success-codes", "0");
        service(&scratch, "b", "sleep 0.2; echo >runs; exec sleep 1000").script("check", "test -e runs");
        scratch.file(format!("{SCANNED}/.svscan/forward"), "");
        let mut svscan = refused(&scratch, &[setting], fault);
        wait_until("it is said", || svscan.errors().contains(&format!(" {setting}: ")));
        signal(&svscan, Signal::SIGALRM);
        a.lines("started", 1);
        assert!(!a.path("alone").exists(), "{setting}: b was ready before");
        wait_until("its line is forwarded", || lines(&scratch, "a") == ["said"]);
        scratch.file(a.path("end"), "");
        assert_eq!(svscan.wait(), 0, "{setting}: as it is essential, all was stopped: {}", svscan.errors());
        assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
    }
}

/// Otherwise a second svscan would serve the directory beside the first one.
#[test]
fn a_lock_that_cannot_be_opened_now_is_opened_later() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let mut first = crate::svscan::svscan(&scratch);
    service(&scratch, "a", "exec sleep 1000").up();
    let second = refused(&scratch, &["lock"], "openat:error=EMFILE:when=1");
    let waits = "svscan: warning: unable to open .svscan/lock: process cannot open more files
svscan: warning: another svscan serves this directory: waiting for its end\n";
    wait_until("it waits", || second.errors() == waits);
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait(), 0);
    stop(&scratch, second);
}

/// svscan looks twice: once it has locked a file, whether that still is the lock. It pauses after each look that fails, and
/// ends when it is told to.
#[test]
fn a_lock_that_cannot_be_opened_again_is_opened_later() {
    if !has("strace") {
        return;
    }
    let words = "svscan: warning: unable to open .svscan/lock: process cannot open more files\n";
    for (fault, fails_always) in [("openat:error=EMFILE:when=2", false), ("openat:error=EMFILE:when=2+", true)] {
        let scratch = Scratch::new();
        let a = service(&scratch, "a", "exec sleep 1000");
        scratch.file(format!("{SCANNED}/.svscan/lock"), "");
        scratch.mode(format!("{SCANNED}/.svscan/lock"), 0o600);
        let svscan = refused(&scratch, &["lock"], fault);
        wait_until("it is said", || svscan.errors().starts_with(words));
        if fails_always {
            assert!(!a.is_supervised());
        } else {
            a.up();
            assert_eq!(svscan.errors(), words);
        }
        stop(&scratch, svscan);
    }
}

/// The owner of `.svscan` may replace the lock for ever.
#[test]
fn a_lock_that_is_replaced_again_and_again_keeps_no_service_from_starting() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    let directory = scratch.path().join(SCANNED).join(".svscan");
    fs::create_dir_all(&directory).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                fs::write(directory.join("next"), "").unwrap();
                fs::rename(directory.join("next"), directory.join("lock")).unwrap();
                sleep(Duration::from_millis(2));
            }
        });
        let _end = End(&is_over);
        let svscan = refused(&scratch, &["lock"], "openat:delay_exit=100000");
        a.up();
        stop(&scratch, svscan);
    });
}

/// Ends a thread, also when a test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// svscan cannot find out whether another svscan runs, and says so.
#[test]
fn a_lock_that_may_not_be_opened_is_said() {
    if !is_root() {
        return skip("needs root, and another account");
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    scratch.mode(SCANNED, 0o755);
    scratch.dir(a.path("supervise"));
    scratch.mode(a.path("supervise"), 0o777);
    scratch.file(format!("{SCANNED}/.svscan/lock"), "");
    scratch.mode(format!("{SCANNED}/.svscan/lock"), 0o600);
    scratch.as_nobody("supervise");
    let mut svscan = Daemon::start(scratch.as_nobody("svscan").arg(SCANNED), &scratch);
    a.up();
    let said = "svscan: warning: unable to open .svscan/lock: access denied: whether another svscan serves this directory is not known\n";
    assert_eq!(svscan.errors(), said);
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
}

/// A service whose entry is removed, and its logger; both run.
fn removed<'a>(scratch: &'a Scratch) -> [Service<'a>; 2] {
    let log = Service::new(scratch, "etc/a/log", "exec multilog ./main");
    let a = Service::new(scratch, "etc/a", COUNT);
    scratch.dir(SCANNED);
    symlink("../etc/a", scratch.path().join(SCANNED).join("a")).expect("link it");
    [a, log]
}

fn unlink(scratch: &Scratch) {
    fs::remove_file(scratch.path().join(SCANNED).join("a")).expect("remove the entry");
}

/// Kills the supervise of the logger together with it, then ends the service. The service's last lines must be in the
/// log.
fn is_read_to_the_end([a, log]: &[Service; 2], refused: impl FnOnce()) {
    let (supervise, logger) = (supervise_of(log), log.up());
    [supervise, logger].iter().for_each(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL).expect("kill it"));
    refused();
    wait_until("it has another", || log.is_supervised() && supervise_of(log) != supervise);
    a.svc("-dx");
    let lines = || log.says("main/current").lines().map(str::to_string).collect::<Vec<_>>();
    wait_until("the last line is written", || lines().last().is_some_and(|line| line == "end"));
    let numbers = (0..lines().len() - 1).map(|number| number.to_string());
    assert!(lines().into_iter().eq(numbers.chain(["end".into()])), "every line, once");
}

#[test]
fn the_logger_of_a_removed_service_is_started_again_though_that_fails_once() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let both = removed(&scratch);
    // The first calls are those for the service and for its logger.
    let mut command = scratch.command("strace");
    command.args(["-qq", "-o", "/dev/null", "-I3", "-e", "inject=clone,clone3,fork,vfork:error=EAGAIN:when=3"]);
    let svscan = Daemon::start(command.arg(scratch.programs().join("svscan")).arg(SCANNED), &scratch);
    both[1].lines("main/current", 10);
    unlink(&scratch);
    is_read_to_the_end(&both, || {
        wait_until("it is said", || svscan.errors().contains("svscan: warning: unable to fork for a/log: "));
    });
    stop(&scratch, svscan);
}

#[test]
fn the_directory_of_a_removed_service_that_cannot_be_opened_now_is_opened_later() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let both = removed(&scratch);
    let mut svscan = crate::svscan::svscan(&scratch);
    both[1].lines("main/current", 10);
    let mut command = scratch.command("strace");
    command.args(["-qq", "-o", "/dev/null", "-p", &svscan.pid().to_string()]);
    for (service, path) in both.iter().zip(["cwd", "cwd/.."]) {
        command.args(["-P", &format!("/proc/{}/{path}", supervise_of(service))]);
    }
    let strace = Daemon::start(command.args(["-e", "inject=openat:error=EMFILE:when=1..2"]), &scratch);
    let status = || fs::read_to_string(format!("/proc/{}/status", svscan.pid())).unwrap_or_default();
    wait_until("it is traced", || status().contains(&format!("TracerPid:\t{}\n", strace.pid())));
    unlink(&scratch);
    // svscan has a descriptor for the directory when it has tried to open it.
    let folder = scratch.path().join("etc/a");
    let is_held = || {
        let held = fs::read_dir(format!("/proc/{}/fd", svscan.pid())).expect("its descriptors").flatten();
        held.into_iter().any(|held| fs::read_link(held.path()).is_ok_and(|to| to == folder))
    };
    wait_until("it is held", || {
        svscan.signal(Signal::SIGALRM);
        is_held()
    });
    is_read_to_the_end(&both, || {});
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert_eq!(svscan.complaints(), "");
    drop(strace);
}

/// Where svscan cannot wait for what happens, it looks from time to time, and says so once.
#[test]
fn svscan_serves_on_while_the_system_does_not_let_it_wait() {
    if !has("strace") || !has("prlimit") {
        return skip("there is no strace or no prlimit");
    }
    let scratch = Scratch::new();
    let a =
        service(&scratch, "a", "trap 'echo end >>ends; exit' TERM; echo start >>starts; while sleep 0.01; do :; done");
    // poll(2) refuses more descriptors than may be open.
    let limited = crate::svscan::svscan(&scratch);
    a.up();
    let limit = |limit: &str| {
        let mut prlimit = scratch.command("prlimit");
        let pid = limited.pid().to_string();
        let outcome = scratch.outcome_of(prlimit.args(["--pid", &pid, &format!("--nofile={limit}")]));
        assert_eq!(outcome.code, 0, "{outcome:?}");
    };
    limit("2:");
    limited.signal(Signal::SIGALRM);
    let said = "svscan: warning: unable to poll: invalid argument\n";
    wait_until("it is said", || limited.errors().contains(said));
    limit("1024:");
    a.svc("-t");
    a.lines("ends", 1);
    a.lines("starts", 2);
    end(limited, said);

    let b = service(&scratch, "b", "echo start >>starts; exec sleep 1000");
    let mut strace = refused(&scratch, &[], "poll:error=ENOMEM");
    b.lines("starts", 1);
    kill(Pid::from_raw(supervise_of(&b)), Signal::SIGKILL).expect("kill it");
    b.lines("starts", 1);
    wait_until("its supervise is back", || b.is_supervised());
    signal(&strace, Signal::SIGTERM);
    assert_eq!(strace.wait(), 0, "{}", strace.errors());
    assert_eq!(strace.errors().matches("svscan: warning: unable to poll: out of memory\n").count(), 1);
}

/// Stops it, which has said this once.
fn end(mut svscan: Daemon, said: &str) {
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert_eq!(svscan.errors().matches(said).count(), 1, "{}", svscan.errors());
}
