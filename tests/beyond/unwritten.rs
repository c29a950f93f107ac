//! Processes that have ended, where their supervise has not written that down: its disk is full, or it is stopped.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use tests::{Daemon, Disk, Outcome, Scratch, Service, is_alive, is_root, skip, wait_until};

/// What each reader says of a service whose process has ended, which its files still name. `why` is what the words end with.
fn no_reader_says_that_it_is_up(scratch: &Scratch, service: &str, pid: i32, why: &str) {
    let words = format!("process {pid} has ended, but its supervise {why}");
    let line = format!("{service}: {words}\n");
    let said = |command: &str| scratch.shell(&format!("exec timeout -s KILL 20 {command} {service}"));
    for command in ["svstat", "svstat -l"] {
        let Outcome { stdout, code, .. } = said(command);
        assert_eq!((stdout.as_str(), code), (line.as_str(), 0), "{command}");
    }
    let document = said("svstat -j").stdout;
    assert!(document.contains(&words) && !document.contains("\"up\":true"), "{document}");
    let up = said("svup");
    assert_eq!((up.code, up.stderr.as_str()), (111, format!("svup: fatal: {line}").as_str()));
    for command in ["svwait -T 300ms up", "svwait -T 300ms ready", "svc -W up -T 300ms -u"] {
        let waited = said(command);
        assert!(waited.code == 99 && waited.stderr.contains(&format!("timed out: {words}\n")), "{command}: {waited:?}");
    }
    // A supervise is in charge all the same.
    assert_eq!(said("svok").code, 0);
}

/// Stops a supervise. It may still run for a moment after the signal was sent.
fn stop(supervise: &Daemon) {
    supervise.signal(Signal::SIGSTOP);
    let stat = format!("/proc/{}/stat", supervise.pid());
    wait_until("supervise is stopped", || fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T ")));
}

#[test]
fn on_a_full_disk_no_reader_calls_a_process_up_that_has_ended() {
    if !is_root() {
        return skip("a full disk needs root, to mount a small one");
    }
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, 128);
    let service = Service::new(&scratch, "disk/sv/web", "echo $$ >>../../../starts; exec sleep 1000");
    let _svscan = Daemon::start(scratch.command("svscan").arg("disk/sv"), &scratch);
    let pid = service.up();
    wait_until("it is ready", || !service.state("ready").is_empty());
    assert_eq!(scratch.run("svup disk/sv/web").code, 0);
    disk.fill(0);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let starts = || fs::read_to_string(scratch.path().join("starts")).unwrap_or_default();
    wait_until("it is started again", || starts().lines().count() == 2);
    let why = "cannot write that down: is its disk full or read-only?";
    no_reader_says_that_it_is_up(&scratch, "disk/sv/web", pid, why);
    disk.free();
    wait_until("it is written down", || scratch.run("svup disk/sv/web").code == 0);
    assert!(service.svstat().starts_with("up (pid "), "{}", service.svstat());
    assert_eq!(scratch.run("svwait -T 20s ready disk/sv/web").code, 0);
}

/// The process is a zombie then.
#[test]
fn under_a_stopped_supervise_no_reader_calls_a_process_up_that_has_ended() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let supervise = service.supervise();
    let pid = service.up();
    wait_until("it is ready", || !service.state("ready").is_empty());
    stop(&supervise);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_until("the process has ended", || !is_alive(pid));
    let why = format!("is stopped: kill -CONT {}", supervise.pid());
    no_reader_says_that_it_is_up(&scratch, "web", pid, &why);
    supervise.signal(Signal::SIGCONT);
    assert_ne!(service.another(pid), pid);
    assert_eq!(scratch.run("svwait -T 20s ready web").code, 0);
}

/// Only the part that has ended is not known.
#[test]
fn of_a_service_and_its_logger_only_what_has_ended_is_unknown() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000").script("log", "exec sleep 1000");
    let supervise = service.supervise();
    let pid = service.up();
    wait_until("the logger is up", || scratch.run("svup -L web").code == 0);
    stop(&supervise);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_until("the process has ended", || !is_alive(pid));
    let codes = ["svup web", "svup -l web", "svup -L web"].map(|command| scratch.run(command).code);
    assert_eq!(codes, [111, 111, 0]);
    let logger = scratch.run("svstat -L web").stdout;
    assert!(logger.starts_with("web log: up (pid "), "{logger}");
    let own = scratch.run("svstat web").stdout;
    assert!(own.starts_with(&format!("web: process {pid} has ended, but its supervise is stopped")), "{own}");
    supervise.signal(Signal::SIGCONT);
    assert_ne!(service.another(pid), pid);
}
