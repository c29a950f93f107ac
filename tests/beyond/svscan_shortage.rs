//! svscan when the system refuses for a moment what it asks: an error is a proof of nothing. svscan asks again, starts no
//! second supervise meanwhile, and forgets nothing.

use crate::svscan::{SCANNED, service, supervise_of};
use crate::svscan_forward::lines;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use tests::{Daemon, Scratch, children_of, has, is_alive, processes_in, wait_until};

/// svscan, whose calls that touch one of these paths, written as svscan writes them, have this fault.
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

/// Stops it, with nothing left.
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
        // By hand, so that only its files tell of it.
        let by_hand = a.supervise();
        let (pid, supervise) = (a.up(), supervise_of(&a));
        let svscan = refused(&scratch, &["a/supervise/ok"], &format!("openat:error={error}:when=1"));
        let said = format!("svscan: warning: unable to find supervise of a: {words}\n");
        wait_until("it is said", || svscan.errors().contains(&said));
        // Another one is served meanwhile.
        service(&scratch, "b", "exec sleep 1000").up();
        signal(&svscan, Signal::SIGALRM);
        assert_eq!((a.up(), supervise_of(&a), svscan.errors()), (pid, supervise, said), "{error}");
        stop(&scratch, svscan);
        assert!(!is_alive(pid) && !is_alive(supervise), "{error}: it was found, and stopped");
        drop(by_hand);
    }
}

/// Each is read once, when the service is first seen: an answer that was wrong then would count for ever.
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
