//! Black-box tests beside which no other test runs: what they make also holds up others that look at all processes, such as
//! ps(1).

#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use tests::{
    Daemon, Scratch, Service, executing_for_ever, is_alive, is_executing_for_ever, let_them_execute, wait_until,
};

/// The scan directory, in the scratch directory.
const SCANNED: &str = "services";

fn service<'a>(scratch: &'a Scratch, name: &str, run: &str) -> Service<'a> {
    Service::new(scratch, &format!("{SCANNED}/{name}"), run)
}

fn supervise_of(service: &Service) -> i32 {
    let state = service.state("supervise");
    state.first().and_then(|line| line.split(' ').next()?.parse().ok()).unwrap_or(0)
}

/// A service, a logger, and what a service has left in the background, each execute a program for ever. The kernel tells their
/// readers next to nothing meanwhile.
#[test]
fn no_program_waits_for_a_process_that_executes_a_program_for_ever() {
    let scratch = Scratch::new();
    let Some(program) = executing_for_ever(&scratch, "mount.web") else { return };
    let another = |name: &str| executing_for_ever(&scratch, &format!("mount.{name}")).expect("another");
    let web = service(&scratch, "web", &program).file("notify-socket", "");
    scratch.dir(format!("{SCANNED}/web/log"));
    let web = web.script("log/run", "exec multilog t ./main");
    let logged = service(&scratch, "logged", "exec sleep 1000");
    scratch.dir(format!("{SCANNED}/logged/log"));
    logged.script("log/run", &another("log"));
    let own = service(&scratch, "own", &another("own")).script("log", "exec multilog t ./main");
    let daemon = service(&scratch, "daemon", &format!("({}) & exit 0", another("daemon"))).file("expect", "daemon");
    let other = service(&scratch, "other", "exec sleep 1000");
    let mut svscan = Daemon::start(scratch.command("svscan").arg(SCANNED), &scratch);
    let log = Service::at(&scratch, &format!("{SCANNED}/logged/log"));
    let stay = [&web, &log, &own, &daemon];
    let is_there = |service: &Service| service.is_supervised() && is_executing_for_ever(&scratch, service.status().pid);
    for service in stay {
        wait_until("it executes a program for ever", || is_there(service));
    }
    let pids = stay.map(|service| service.status().pid);
    // Supervises that were killed are followed by others, which take over what they have left.
    for service in stay {
        let supervise = supervise_of(service);
        kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill supervise");
        wait_until("there is another", || service.is_supervised() && supervise_of(service) != supervise);
    }
    for (service, pid) in stay.into_iter().zip(pids) {
        wait_until("it is taken over", || service.status().pid == pid);
    }
    let said = scratch.path().join("said");
    for words in [
        "svctl list",
        "svctl -j list",
        "svctl status '*'",
        "svctl check",
        "svctl metrics --processes --logs",
        "svstat service/*",
        "svlog -n 5 service/web",
        "svlog -n 5 service/logged",
        "svctl log -n 5 '*'",
    ] {
        let asked = format!("timeout -s KILL 25 sh -c \"SVDIR=$PWD/{SCANNED} {words}\" >{} 2>&1", said.display());
        let outcome = scratch.shell(&format!("{asked}; test $? != 137"));
        let text = fs::read_to_string(&said).unwrap_or_default();
        assert_eq!(outcome.code, 0, "{words} waits: {text}");
    }
    // What is not kept back is told.
    let metrics = scratch.shell(&format!("SVDIR=$PWD/{SCANNED} svctl metrics --processes")).stdout;
    assert!(metrics.contains("daemontools_service_memory_bytes{service=\"web\"}"), "{metrics}");
    let_them_execute(&scratch);
    for service in [&web, &own, &daemon] {
        service.svc("-d");
        wait_until("it is down", || service.status().pid == 0);
    }
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert!(!other.is_supervised() && pids.iter().all(|pid| !is_alive(*pid)));
}
