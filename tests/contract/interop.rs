//! Programs of ours and of the original together: the judged programs with the other ones.

use nix::libc::O_NONBLOCK;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;
use tests::{Daemon, Outcome, Scratch, Service, differs, is_alive, others, prints, programs, wait_until};

fn run(scratch: &Scratch, program: PathBuf, arguments: &[&str]) -> Outcome {
    scratch.outcome_of(scratch.command(program.to_str().unwrap()).args(arguments))
}

/// A folder with the judged programs, in which those named come from the other implementation.
fn mixed(scratch: &Scratch, others: &std::path::Path, from_others: &[&str]) -> PathBuf {
    let folder = scratch.path().join("mixed");
    fs::create_dir(&folder).unwrap();
    for name in ["svscan", "supervise", "svc", "svok", "svstat"] {
        let from = if from_others.contains(&name) { others } else { programs() };
        // The programs are copied, because a program starts others from its own folder. Another process copies them;
        // see `Scratch::script`.
        assert!(Command::new("cp").arg(from.join(name)).arg(&folder).status().unwrap().success());
    }
    folder
}

fn svscan_of(scratch: &Scratch, folder: &std::path::Path) -> Daemon {
    let path = format!("{}:/usr/bin:/bin", folder.display());
    Daemon::start(scratch.command(folder.join("svscan").to_str().unwrap()).arg("scan").env("PATH", path), scratch)
}

fn program_of(pid: i32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default()
}

#[test]
fn their_svc_svstat_and_svok_on_this_supervise() {
    let Some(others) = others() else { return };
    let scratch = Scratch::new();
    let service =
        Service::new(&scratch, "web", "trap 'echo HUP >>heard' HUP; echo >ready; while :; do sleep 0.01; done");
    let mut daemon = service.supervise();
    service.lines("ready", 1);
    let told =
        |letters: &str| assert_eq!(run(&scratch, others.join("svc"), &[letters, "web"]), prints(""), "{letters}");
    let line = || run(&scratch, others.join("svstat"), &["web"]).stdout;
    let pid = service.up();
    assert_eq!(run(&scratch, others.join("svok"), &["web"]), prints(""));
    assert!(line().starts_with(&format!("web: up (pid {pid}) ")), "{}", line());
    told("-h");
    assert_eq!(service.lines("heard", 1), ["HUP"]);
    told("-p");
    wait_until("it is paused", || line().ends_with("seconds, paused\n"));
    told("-c");
    wait_until("it goes on", || line().ends_with("seconds\n"));
    told("-t");
    service.another(pid);
    told("-o");
    service.wait_for("is wanted once", |status| status.want == 0);
    told("-d");
    wait_until("it is down", || line().starts_with("web: down ") && line().ends_with("seconds, normally up\n"));
    told("-u");
    wait_until("it is up", || line().starts_with("web: up "));
    told("-dx");
    assert_eq!(daemon.wait(), 0);
    assert_eq!(run(&scratch, others.join("svok"), &["web"]).code, 100);
    assert_eq!(line(), "web: supervise not running\n");
}

#[test]
fn both_svstats_say_the_same() {
    let Some(others) = others() else { return };
    let scratch = Scratch::new();
    for (name, commands) in
        [("up", "-u"), ("paused", "-p"), ("down", "-d"), ("once", "-o"), ("both", "-pd"), ("again", "-t")]
    {
        let service = Service::new(&scratch, name, "exec sleep 1000");
        let _daemon = service.supervise();
        service.up();
        service.svc(commands);
        let both = || {
            ["svstat"].map(|svstat| {
                (run(&scratch, others.join(svstat), &[name]), run(&scratch, programs().join(svstat), &[name]))
            })
        };
        // The two may differ if a second passes between them.
        wait_until(&format!("{name}: {:?}", both()), || both().iter().all(|(theirs, ours)| theirs == ours));
    }
}

/// A svscan starts the supervise in the same folder, which restarts the service and is started again when it has exited. The
/// programs that `from_others` names come from the other implementation.
fn svscan_starts_supervise(from_others: &str) {
    let Some(others) = others() else { return };
    let scratch = Scratch::new();
    let log = Service::new(&scratch, "scan/web/log", "exec cat >>out");
    let service = Service::new(&scratch, "scan/web", "echo hello; exec sleep 1000");
    let folder = mixed(&scratch, &others, &[from_others]);
    let _svscan = svscan_of(&scratch, &folder);
    assert_eq!(log.lines("out", 1), ["hello"]);
    let pid = service.up();
    assert_eq!(program_of(tests::parent_of(pid).unwrap()), fs::canonicalize(folder.join("supervise")).unwrap());
    service.svc("-t");
    service.another(pid);
    assert_eq!(log.lines("out", 2), ["hello", "hello"]);
    service.svc("-dx");
    service.svc_when_supervised("-u");
    log.lines("out", 3);
}

#[test]
fn this_svscan_starts_their_supervise() {
    svscan_starts_supervise("supervise");
}

#[test]
fn their_svscan_starts_this_supervise() {
    svscan_starts_supervise("svscan");
}

/// After an upgrade, or after the way back, supervise takes over the directory of the other implementation.
#[test]
fn each_supervise_takes_over_what_the_other_left() {
    let Some(others) = others() else { return };
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let others_supervise = others.join("supervise");
    for round in 0..4 {
        let mut daemon = if round % 2 == 0 {
            service.supervise()
        } else {
            Daemon::start(scratch.command(others_supervise.to_str().unwrap()).arg("web"), &scratch)
        };
        wait_until("it is supervised", || service.is_supervised());
        let pid = service.wait_for("is up", |status| status.pid != 0 && is_alive(status.pid)).pid;
        service.up();
        service.svc("-dx");
        assert_eq!(daemon.wait(), 0);
        assert!(!is_alive(pid));
        assert_eq!(daemon.errors(), "");
    }
}

#[test]
fn one_does_not_start_beside_the_other() {
    let Some(others) = others() else { return };
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let _daemon = service.supervise();
    let seen = run(&scratch, others.join("supervise"), &["web"]);
    // The second supervise is refused.
    let cause = differs("", ": another supervise has it");
    let words = format!("supervise: fatal: unable to acquire web/supervise/lock: temporary failure{cause}\n");
    assert_eq!(seen, tests::fails(111, &words));
}

/// 0.76 ignores the bytes of runit and encore that it does not know, and their programs accept ours.
#[test]
fn control_takes_what_others_write() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let _daemon = service.supervise();
    let pid = service.up();
    let fifo = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(service.path("supervise/control"));
    // encore's svc begins with `l`. runit's sv may end with a newline.
    std::io::Write::write_all(&mut fifo.unwrap(), b"lt").unwrap();
    service.another(pid);
}
