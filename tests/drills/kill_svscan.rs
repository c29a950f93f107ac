//! svscan is killed at each system call of a complete run: it starts a service with a logger, finds another service,
//! starts a supervise again, looks at the directory when it is told to, forgets a service that is removed, and stops
//! everything in order. strace does the killing. The next svscan runs exactly one process of each service, every line
//! that was written is in the log, and after its orderly stop no process is left.

use crate::every_call::{Drill, Subject, calls};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tests::{Daemon, Scratch, Service, children_of, wait_until};

pub const SVSCANS: Subject =
    Subject { test: "kill_svscan::a_sample_of_svscans", kinds: &["life"], killed: true, drills, run };

/// This is longer than the pause before a restart that the services have.
const WHILE: Duration = Duration::from_millis(60);

/// The scan directory, in the scratch directory.
const SCANNED: &str = "services";

/// A `run` that writes consecutive numbers over all of its processes, and ends only between two of them.
const COUNT: &str = "echo $$ >>starts; trap 'end=1' TERM; n=$(cat said || echo 0)
while [ ! \"$end\" ]; do n=$((n+1)); echo $n; echo $n >said; sleep 0.02; done 2>>errors";

fn service<'a>(scratch: &'a Scratch, path: &str, run: &str) -> Service<'a> {
    Service::new(scratch, path, run).file("restart-delay", "10")
}

/// A service with a logger, which exists from the beginning, and one that is added later.
struct Services<'a> {
    logged: Service<'a>,
    other: Service<'a>,
}

fn services(scratch: &Scratch) -> Services<'_> {
    let logged = service(scratch, "services/logged", COUNT).script("log/run", "echo $$ >>starts; exec multilog ./main");
    service(scratch, "other", "echo $$ >>starts; exec sleep 1000");
    Services { logged, other: Service::at(scratch, "services/other") }
}

impl Services<'_> {
    /// Adds the second service, unless it exists already.
    fn complete(&self, scratch: &Scratch) {
        let _ = fs::rename(scratch.path().join("other"), scratch.path().join(SCANNED).join("other"));
    }

    fn instances(&self) -> [Vec<i32>; 3] {
        [self.logged.alive("starts"), self.logged.alive("log/starts"), self.other.alive("starts")]
    }

    fn lines(&self) -> Vec<String> {
        self.logged.says("log/main/current").lines().map(str::to_string).collect()
    }
}

fn strace(scratch: &Scratch, options: &[String]) -> Daemon {
    let mut command = scratch.command("strace");
    command.args(["-qq", "-o"]).arg(scratch.path().join("trace")).args(options);
    Daemon::start(command.arg(scratch.programs().join("svscan")).arg(SCANNED), scratch)
}

/// Sends a signal to the process that strace runs, which may be gone.
fn signal(strace: i32, signal: Signal) {
    for pid in children_of(strace) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// A complete run, or the part of it before svscan is killed.
fn live(scratch: &Scratch, services: &Services, svscan: &mut Daemon) -> Option<()> {
    let strace = svscan.pid();
    let Services { logged, other } = services;
    let mut until = |what: &str, condition: &dyn Fn() -> bool| {
        wait_until(what, || svscan.has_ended() || condition());
        (!svscan.has_ended()).then_some(())
    };
    let starts = |service: &Service, count: usize| service.says("starts").lines().count() >= count;
    until("lines are logged", &|| services.lines().len() > 2)?;
    services.complete(scratch);
    until("the new service is up", &|| starts(other, 1))?;
    // The supervises of the service and of the logger are killed and started again.
    for service in [logged, &Service::at(scratch, "services/logged/log")] {
        let supervise = || service.state("supervise").first().and_then(|line| line.split(' ').next()?.parse().ok());
        let before = supervise()?;
        let _ = kill(Pid::from_raw(before), Signal::SIGKILL);
        until("there is another supervise", &|| service.is_supervised() && supervise() != Some(before))?;
    }
    let _ = logged.try_control(b"t");
    until("it is restarted", &|| starts(logged, 2))?;
    // svscan starts this service in the scan that it is told to make, or earlier, when it sees it.
    service(scratch, "services/late", "echo $$ >>starts; exec sleep 1000");
    signal(strace, Signal::SIGHUP);
    let late = Service::at(scratch, "services/late");
    until("the late one is up", &|| starts(&late, 1))?;
    // The removed service goes on, and its supervise is not started again, so the test must stop it.
    fs::rename(scratch.path().join("services/late"), scratch.path().join("late")).expect("take it away");
    let late = Service::at(scratch, "late");
    wait_until("its supervise goes", || late.try_control(b"dx").is_err());
    signal(strace, Signal::SIGTERM);
    Some(())
}

fn run(scratch: &Scratch, drill: &Drill) -> bool {
    let services = services(scratch);
    let mut first = strace(scratch, &drill.options());
    let _ = live(scratch, &services, &mut first);
    let came = drill.came(first.wait(), &scratch.path().join("trace"));
    check(scratch, &services);
    came
}

/// Checks what must hold, whatever happened before.
fn check(scratch: &Scratch, services: &Services) {
    // If the run ended early, the second service is added now.
    services.complete(scratch);
    let mut next = Daemon::start(scratch.command("svscan").arg(SCANNED), scratch);
    // A svscan that was told to end before it serves the directory ends.
    let last = service(scratch, "services/last", "echo $$ >>starts; exec sleep 1000");
    wait_until("it serves", || last.alive("starts").len() == 1);
    let is_one = || services.instances().iter().all(|instances| instances.len() == 1);
    // The services may have been told to end before; after they have ended, they are started again.
    wait_until("everything is up", || is_one() && has_status(&services.logged) && has_status(&services.other));
    let end = Instant::now() + WHILE;
    while Instant::now() < end {
        let instances = services.instances();
        assert!(instances.iter().all(|instances| instances.len() <= 1), "instances: {instances:?}");
        sleep(Duration::from_millis(5));
    }
    let before = services.lines().len();
    wait_until("lines are logged again", || services.lines().len() > before);
    next.signal(Signal::SIGTERM);
    assert_eq!(next.wait(), 0, "{}", next.errors());
    assert_eq!(services.instances(), [[]; 3], "after the end");
    let left = tests::processes_in(scratch.path());
    assert_eq!(left, [], "processes are left in the end");
    let said: usize = services.logged.says("said").trim().parse().expect("how many lines were said");
    let expected: Vec<String> = (1..=said).map(|number| number.to_string()).collect();
    assert_eq!(services.lines(), expected, "{}", services.logged.says("errors"));
}

fn has_status(service: &Service) -> bool {
    service.status_byte(17) == Some(b'u') && service.alive("starts") == [service.status().pid]
}

/// One drill for each system call that a traced run makes.
fn drills(scratch: &Scratch, kind: &str) -> Vec<Drill> {
    let services = services(scratch);
    let mut svscan = strace(scratch, &[]);
    live(scratch, &services, &mut svscan).expect("a whole life");
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    calls(kind, &scratch.path().join("trace"))
}

#[test]
fn a_sample_of_svscans() {
    SVSCANS.a_sample();
}

#[test]
#[ignore = "takes minutes"]
fn every_one_of_svscans() {
    SVSCANS.every_one();
}
