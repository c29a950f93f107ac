//! supervise is killed at each system call of a complete run: the service is started and told t, p, c, d and u, and
//! then supervise is told to exit. strace does the killing. A successor is started, as svscan would do. Whatever the
//! killed supervise was doing, the successor runs one process of the service, or none when it is told so.

use crate::every_call::{Drill, Subject, calls};
use nix::libc::O_NONBLOCK;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};
use tests::{Daemon, Scratch, Service, wait_until};

pub const SUPERVISES: Subject =
    Subject { test: "kill_supervise::a_sample_of_supervises", kinds: &KINDS, killed: true, drills, run };

/// This is longer than the pause before a restart that the services have.
const WHILE: Duration = Duration::from_millis(60);

/// The services that are tested: one with only `run`; one with every program and setting; one that goes into the background
/// by two forks; and a state, which has no process. Another program holds back the starts and ends of all but the first.
const KINDS: [&str; 4] = ["plain", "full", "background", "state"];

/// The programs of a service but for `run` and the logger's.
const OTHERS: [&str; 7] = ["start", "pre-start", "post-start", "pre-stop", "reload", "finish", "stop"];

/// The `run` of the service that goes into the background.
const FORKS: &str =
    "echo $$ >>others\nsetsid sh -c \"echo \\$\\$ >>others; sh -c 'echo \\$\\$ >>starts; exec sleep 1000' &\" &";

fn service<'a>(scratch: &'a Scratch, kind: &str) -> Service<'a> {
    // The descriptor for notifications exists only where the service is to say that it is ready.
    let run = "echo $$ >>starts; { echo >&3; } 2>/dev/null; exec sleep 1000";
    let run = if kind == "background" { FORKS } else { run };
    let service = Service::new(scratch, "web", run).file("restart-delay", "10");
    match kind {
        "background" => service.file("expect", "daemon").script("finish", "echo $$ >>others").hold(),
        "full" => with_all_programs(service)
            .script("log", "echo $$ >>loggers; exec cat >>out")
            .file("kill-scope", "group")
            .file("notification-fd", "3")
            .hold(),
        "state" => {
            fs::remove_file(service.path("run")).unwrap();
            with_all_programs(service).file("abstract", "").hold()
        }
        _ => service,
    }
}

fn with_all_programs(service: Service) -> Service {
    OTHERS.into_iter().fold(service, |service, program| {
        let more = match program {
            "pre-start" => "; echo >>lives",
            "reload" => "; echo >>reloads",
            _ => "",
        };
        service.script(program, &format!("echo $$ >>others{more}"))
    })
}

fn is_state(service: &Service) -> bool {
    service.path("abstract").exists()
}

/// Does this while another program holds back each start and each end for a moment, if the service has a FIFO for that.
fn with_holder<R>(service: &Service, then: impl FnOnce() -> R) -> R {
    let Ok(_held) = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(service.path("supervise/hold")) else {
        return then();
    };
    let (ended, has_ended) = channel::<()>();
    scope(|scope| {
        scope.spawn(move || {
            while has_ended.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                if !service.state("held").is_empty() {
                    let _ = service.try_control(b"g");
                }
            }
        });
        let _ended = ended;
        then()
    })
}

/// Whether supervise has taken the process of the service that is in the background now.
fn is_taken(service: &Service) -> bool {
    service.state("taken").len() == 1
        && service.state("pid") == service.alive("starts").iter().map(i32::to_string).collect::<Vec<_>>()
}

fn run(scratch: &Scratch, drill: &Drill) -> bool {
    let service = service(scratch, &drill.kind);
    with_holder(&service, || {
        let mut first = strace(scratch, &drill.options());
        let told = live(&service, &mut first);
        let came = drill.came(first.wait(), &scratch.path().join("trace"));
        check(scratch, &service, told);
        came
    })
}

fn strace(scratch: &Scratch, options: &[String]) -> Daemon {
    let supervise = scratch.programs().join("supervise");
    let trace = scratch.path().join("trace");
    let mut command = scratch.command("strace");
    Daemon::start(command.args(["-qq", "-o"]).arg(trace).args(options).arg(supervise).arg("web"), scratch)
}

/// How far a run has come: the last command that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// No command that changes whether the service shall be up.
    Nothing,
    /// A command to be down, to be up again, or to exit. It is not known whether supervise has read it.
    Something,
}

/// A complete run, or the part of it before supervise is killed.
fn live(service: &Service, supervise: &mut Daemon) -> Told {
    // In the background it is found a little later. Until then, a signal could only reach the first process.
    let is_found = |service: &Service| !service.path("expect").exists() || is_taken(service);
    // A state is not told t, which is for processes: its second life is the third of others.
    let starts = |count: usize| {
        move |service: &Service| {
            if is_state(service) {
                service.says("lives").lines().count() + 1 >= count && is_active(service)
            } else {
                service.says("starts").lines().count() >= count && is_found(service)
            }
        }
    };
    let status = |byte: usize, value: u8| move |service: &Service| service.status_byte(byte) == Some(value);
    let down = |service: &Service| {
        let has_ended =
            if is_state(service) { service.state("phase") == ["stopped"] } else { service.state("pid").is_empty() };
        service.status_byte(17) == Some(b'd') && has_ended
    };
    let reloaded = |service: &Service| service.says("reloads").lines().count() >= 1;
    let over = |_: &Service| false;
    type Condition<'a> = &'a dyn Fn(&Service) -> bool;
    let life: [(&[u8], Condition, Told); 8] = [
        (b"", &starts(1), Told::Nothing),
        (b"t", &starts(2), Told::Nothing),
        (b"R", &reloaded, Told::Nothing),
        (b"p", &status(16, 1), Told::Nothing),
        (b"c", &status(16, 0), Told::Nothing),
        (b"d", &down, Told::Something),
        (b"u", &starts(3), Told::Something),
        (b"dx", &over, Told::Something),
    ];
    let mut last = Told::Nothing;
    for (bytes, condition, told) in life {
        // Without a reload, this sends HUP, which other signals test as well. A state takes no signals.
        if bytes == b"R" && !service.path("reload").exists() || is_state(service) && matches!(bytes, b"t" | b"p" | b"c")
        {
            continue;
        }
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

/// Checks what must hold, whatever happened before.
fn check(scratch: &Scratch, service: &Service, told: Told) {
    let mut next = successor(scratch, service);
    if told == Told::Something {
        while !is_told_up(service, &mut next) {
            next = successor(scratch, service);
        }
    }
    // There are never two processes of the service.
    let is_up = || {
        let instances = service.alive("starts");
        assert!(instances.len() <= 1, "instances: {instances:?}");
        let runs = if is_state(service) { is_active(service) } else { instances == [service.status().pid] };
        service.status_byte(17) == Some(b'u') && runs
    };
    wait_until("it is up", is_up);
    // The successor may still obey a command that the killed supervise had not read.
    let end = Instant::now() + WHILE;
    while Instant::now() < end {
        is_up();
        sleep(Duration::from_millis(5));
    }
    wait_until("it is up still", is_up);
    if service.path("log").exists() {
        // A logger that was told to end is started again at the earliest a second after its last start.
        wait_until("its logger is up", || service.alive("loggers").len() == 1);
    }
    // A program beside `run` may take its time.
    wait_until("no other program runs", || service.alive("others").is_empty());
    service.svc("-dx");
    assert_eq!(next.wait(), 0, "{}", next.errors());
    for file in ["starts", "others", "loggers"] {
        assert_eq!(service.alive(file), [], "{file} after the end");
    }
    let left = tests::processes_in(scratch.path());
    assert_eq!(left, [], "processes are left in the end");
    assert_eq!(next.errors(), "");
}

/// Starts the next supervise, and tries again until one is in charge, as svscan would. A child that had not executed
/// its program yet holds the lock until it notices that its supervise is gone.
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

fn is_active(service: &Service) -> bool {
    service.says("supervise/state").lines().any(|line| line == "active")
}

fn has_open(pid: i32, file: &Path) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    descriptors.flatten().any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|path| path == file))
}

/// Tells the service to be up, unless supervise was told to exit before and obeys.
fn is_told_up(service: &Service, supervise: &mut Daemon) -> bool {
    let mut tell = |byte: u8, want: u8| {
        wait_until("it is told", || {
            let _ = service.try_control(&[byte]);
            supervise.has_ended() || service.status_byte(17) == Some(want)
        });
    };
    // The test has not sent this command before. When it has been obeyed, so have all earlier commands.
    tell(b'o', 0);
    tell(b'u', b'u');
    if service.says("supervise/state").contains("leaving") {
        tell(b'd', 0xff);
    }
    !supervise.has_ended()
}

/// One drill for each system call that a traced run makes.
fn drills(scratch: &Scratch, kind: &str) -> Vec<Drill> {
    let service = service(scratch, kind);
    with_holder(&service, || {
        let mut supervise = strace(scratch, &[]);
        live(&service, &mut supervise);
        assert_eq!(supervise.wait(), 0, "{}", supervise.errors());
    });
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

/// The original's next supervise starts another process beside the one that was left.
#[test]
fn two_instances_are_found_with_the_original() {
    SUPERVISES.finds_in_the_original("plain", "instances: [");
}
