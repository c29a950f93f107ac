//! supervise, killed at each system call of a whole life: the service is started, told t, p, c, d, u, and supervise
//! told to exit. strace does the killing. A successor is started, as svscan would; whatever the killed one was at, it
//! goes on with one instance of the service, and with none when it is told so.

use crate::every_call::{Drill, Subject, calls};
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tests::{Daemon, Scratch, Service, wait_until};

pub const SUPERVISES: Subject =
    Subject { test: "kill_supervise::a_sample_of_supervises", kinds: &KINDS, killed: true, drills, run };

/// Longer than the pause before a restart that the services have.
const WHILE: Duration = Duration::from_millis(60);

/// The services that are tried: with nothing but `run`, and with all there is.
const KINDS: [&str; 2] = ["plain", "full"];

fn service<'a>(scratch: &'a Scratch, kind: &str) -> Service<'a> {
    let service = Service::new(scratch, "web", "echo $$ >>starts; exec sleep 1000").file("restart-delay", "10");
    match kind {
        "full" => service
            .script("start", "echo $$ >>others")
            .script("finish", "echo $$ >>others")
            .script("stop", "echo $$ >>others")
            .script("log", "echo $$ >>loggers; exec cat >>out")
            .file("kill-scope", "group")
            .file("notification-fd", "3"),
        _ => service,
    }
}

fn run(scratch: &Scratch, drill: &Drill) -> bool {
    let service = service(scratch, &drill.kind);
    let mut first = strace(scratch, &drill.options());
    let told = live(&service, &mut first);
    let came = drill.came(first.wait(), &scratch.path().join("trace"));
    check(scratch, &service, told);
    came
}

fn strace(scratch: &Scratch, options: &[String]) -> Daemon {
    let supervise = scratch.programs().join("supervise");
    let trace = scratch.path().join("trace");
    let mut command = scratch.command("strace");
    Daemon::start(command.args(["-qq", "-o"]).arg(trace).args(options).arg(supervise).arg("web"), scratch)
}

/// How far a life has come: what the service has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Nothing that changes whether it is to be up.
    Nothing,
    /// To be down, or to be up again, or to exit; whether that was heard is not known.
    Something,
}

/// A whole life, or what comes of it before supervise is killed.
fn live(service: &Service, supervise: &mut Daemon) -> Told {
    let starts = |count| move |service: &Service| service.says("starts").lines().count() >= count;
    let status = |byte: usize, value: u8| move |service: &Service| service.status_byte(byte) == Some(value);
    let down = |service: &Service| service.status_byte(17) == Some(b'd') && service.state("pid").is_empty();
    let over = |_: &Service| false;
    type Condition<'a> = &'a dyn Fn(&Service) -> bool;
    let life: [(&[u8], Condition, Told); 7] = [
        (b"", &starts(1), Told::Nothing),
        (b"t", &starts(2), Told::Nothing),
        (b"p", &status(16, 1), Told::Nothing),
        (b"c", &status(16, 0), Told::Nothing),
        (b"d", &down, Told::Something),
        (b"u", &starts(3), Told::Something),
        (b"dx", &over, Told::Something),
    ];
    let mut last = Told::Nothing;
    for (bytes, condition, told) in life {
        last = told;
        if !bytes.is_empty() && service.try_control(bytes).is_err() {
            break;
        }
        wait_until(&format!("{bytes:?} is done"), || supervise.has_ended() || condition(service));
        if supervise.has_ended() {
            break;
        }
    }
    last
}

/// What must hold, whatever happened before.
fn check(scratch: &Scratch, service: &Service, told: Told) {
    let mut next = successor(scratch, service);
    if told == Told::Something {
        while !is_told_up(service, &mut next) {
            next = successor(scratch, service);
        }
    }
    // There are never two.
    let is_up = || {
        let instances = service.alive("starts");
        assert!(instances.len() <= 1, "instances: {instances:?}");
        service.status_byte(17) == Some(b'u') && instances == [service.status().pid]
    };
    wait_until("it is up", is_up);
    // What the killed one was told and had not read may be done yet.
    let end = Instant::now() + WHILE;
    while Instant::now() < end {
        is_up();
        sleep(Duration::from_millis(5));
    }
    wait_until("it is up still", is_up);
    if service.path("log").exists() {
        // A logger that was told to end is started again no sooner than a second after its last start.
        wait_until("its logger is up", || service.alive("loggers").len() == 1);
    }
    assert_eq!(service.alive("others"), [], "start, finish and stop");
    service.svc("-dx");
    assert_eq!(next.wait(), 0, "{}", next.errors());
    for file in ["starts", "others", "loggers"] {
        assert_eq!(service.alive(file), [], "{file} after the end");
    }
    let left = tests::processes_in(scratch.path());
    assert_eq!(left, [], "what is left in the end");
    assert_eq!(next.errors(), "");
}

/// The next supervise, in charge: as svscan would, tried again until there is one. What was about to become a process
/// of the service holds the lock until it notices that its supervise is gone.
fn successor(scratch: &Scratch, service: &Service) -> Daemon {
    loop {
        let mut next = Daemon::start(scratch.command("supervise").arg(service.name()), scratch);
        let ok = service.path("supervise/ok");
        wait_until("the next supervise is in charge, or gone", || next.has_ended() || has_open(next.pid(), &ok));
        if !next.has_ended() {
            return next;
        }
        let in_vain = next.errors().is_empty() || next.errors().contains(": temporary failure");
        assert!(in_vain, "{}", next.errors());
        sleep(Duration::from_millis(5));
    }
}

fn has_open(pid: i32, file: &Path) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    descriptors.flatten().any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|path| path == file))
}

/// Tells it up, unless it was told to exit before, and does.
fn is_told_up(service: &Service, supervise: &mut Daemon) -> bool {
    let mut tell = |byte: u8, want: u8| {
        wait_until("it is told", || {
            let _ = service.try_control(&[byte]);
            supervise.has_ended() || service.status_byte(17) == Some(want)
        });
    };
    // First what nobody has told it before: then all that came earlier is done.
    tell(b'o', 0);
    tell(b'u', b'u');
    if service.says("supervise/state").contains("leaving") {
        tell(b'd', 0xff);
    }
    !supervise.has_ended()
}

/// One drill for each system call that a life is seen to make.
fn drills(scratch: &Scratch, kind: &str) -> Vec<Drill> {
    let service = service(scratch, kind);
    let mut supervise = strace(scratch, &[]);
    live(&service, &mut supervise);
    assert_eq!(supervise.wait(), 0, "{}", supervise.errors());
    calls(kind, &scratch.path().join("trace"))
}

#[test]
fn a_sample_of_supervises() {
    SUPERVISES.a_sample();
}

#[test]
#[ignore = "takes minutes"]
fn every_one_of_supervises() {
    SUPERVISES.every_one();
}

/// The next supervise starts another instance beside the one that was left.
#[test]
fn two_instances_are_found_with_the_original() {
    SUPERVISES.finds_in_the_original("plain", "instances: [");
}
