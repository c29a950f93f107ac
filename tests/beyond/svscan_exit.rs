//! A supervise that was told to exit by a script which is about to remove its entry; and signals that were blocked when
//! svscan was started.

use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};
use tests::{Daemon, Scratch, Service, is_alive, processes_in, skip, wait_until};

fn svscan(scratch: &Scratch) -> Daemon {
    Daemon::start(scratch.command("svscan").arg("scan"), scratch)
}

/// A service with a logger, linked into `scan`.
fn linked<'a>(scratch: &'a Scratch, name: &str) -> Service<'a> {
    scratch.dir("scan");
    symlink(format!("../{name}"), scratch.path().join("scan").join(name)).expect("link it");
    Service::new(scratch, name, "echo hello; exec sleep 1000").script("log/run", "exec cat >>out")
}

/// Dozens of uninstall scripts contain: `svc -dx SERVICE SERVICE/log; sleep 1; rm SERVICE`.
#[test]
fn a_service_whose_entry_is_removed_after_it_was_told_to_exit_is_not_started_again() {
    for killed in [false, true] {
        let scratch = Scratch::new();
        let (gone, stays) = (linked(&scratch, "gone"), linked(&scratch, "stays"));
        let mut first = Some(svscan(&scratch));
        gone.lines("log/out", 1);
        let pid = stays.up();
        let mut next = None;
        if killed {
            // The supervises are not children of the next svscan.
            first.take().expect("the first").kill();
            next = Some(svscan(&scratch));
            linked(&scratch, "late").up();
        }
        let logs = ["gone/log", "stays/log"].map(|name| Service::at(&scratch, name));
        wait_until("all are supervised", || {
            [&gone, &stays, &logs[0], &logs[1]].iter().all(|part| part.is_supervised())
        });
        let seen = scratch.shell("svc -dx scan/gone scan/gone/log scan/stays scan/stays/log");
        assert_eq!((seen.code, seen.stderr.as_str()), (0, ""));
        let [log, _] = logs;
        wait_until("both have ended", || !gone.is_supervised() && !log.is_supervised());
        fs::remove_file(scratch.path().join("scan/gone")).expect("remove its entry");
        // The other service, whose entry is still there, is started again as usual.
        stays.another(pid);
        assert!(!gone.is_supervised() && !log.is_supervised(), "killed: {killed}");
        wait_until("nothing of it is left", || processes_in(&scratch.path().join("gone")).is_empty());
        let mut svscan = next.or(first).expect("one of them");
        svscan.signal(Signal::SIGTERM);
        assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    }
}

/// A user who does not want to wait sends HUP.
#[test]
fn told_to_look_svscan_starts_it_again() {
    let scratch = Scratch::new();
    let web = linked(&scratch, "web");
    let svscan = svscan(&scratch);
    let pid = web.up();
    web.svc("-dx");
    wait_until("it has ended", || !web.is_supervised());
    svscan.signal(Signal::SIGHUP);
    web.another(pid);
}

/// An uninstall script waits a second before it removes the entry. An upgrade may happen in between.
#[test]
fn an_upgrade_does_not_start_it_again_before_its_time() {
    let scratch = Scratch::new();
    let (gone, stays) = (linked(&scratch, "gone"), linked(&scratch, "stays"));
    let mut svscan = svscan(&scratch);
    gone.lines("log/out", 1);
    let pid = stays.up();
    let ends = || Instant::now() + Duration::from_secs(4);
    let seen = scratch.shell("svc -dx scan/gone scan/gone/log scan/stays scan/stays/log");
    assert_eq!((seen.code, seen.stderr.as_str()), (0, ""));
    let (earliest, log) = (ends(), Service::at(&scratch, "gone/log"));
    wait_until("both have ended", || !gone.is_supervised() && !log.is_supervised() && !stays.is_supervised());
    for times in 1..=2 {
        svscan.signal(Signal::SIGUSR2);
        wait_until("it is executed anew", || svscan.errors().matches("executed anew").count() == times);
    }
    linked(&scratch, "late").up();
    let is_started = gone.is_supervised() || log.is_supervised();
    if Instant::now() >= earliest {
        // This machine is so slow that the five seconds are over already.
        return;
    }
    assert!(!is_started);
    fs::remove_file(scratch.path().join("scan/gone")).expect("remove its entry");
    stays.another(pid);
    assert!(Instant::now() >= earliest, "the other one, which still has its entry, is started at its time");
    wait_until("nothing of it is left", || processes_in(&scratch.path().join("gone")).is_empty());
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
}

/// The program that starts svscan may have blocked signals that services need.
#[test]
fn no_program_of_a_service_has_signals_blocked() {
    let scratch = Scratch::new();
    if !scratch.shell("env --block-signal=TERM true").stderr.is_empty() {
        return skip("env(1) does not block signals");
    }
    let look = "grep SigBlk /proc/self/status >>blocked";
    let web = Service::new(&scratch, "scan/web", &format!("{look}; exec sleep 1000"))
        .script("notify", look)
        .script("check", &format!("{look}; exit 0"))
        .script("start", look)
        .script("finish", look)
        .script("stop", look);
    let blocks = ["--block-signal=TERM", "--block-signal=HUP", "--block-signal=CHLD"];
    let mut svscan = Daemon::start(scratch.command("env").args(blocks).args(["svscan", "scan"]), &scratch);
    let pid = web.up();
    wait_until("it is ready", || !web.state("ready").is_empty());
    web.svc("-d");
    wait_until("it ends", || !is_alive(pid));
    web.wait_down();
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    let seen = web.says("blocked");
    // One line each from start, run, check, finish, stop and notify.
    assert!(seen.lines().count() >= 6, "{seen}");
    assert!(seen.lines().all(|line| line == "SigBlk:\t0000000000000000"), "{seen}");
}
