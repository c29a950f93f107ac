//! svscan is told to stop while it is executed anew and while its supervises, services and loggers are killed at
//! random. The stop ends, with the last line of every service in its log, and no process is left. `STOPS=SEED` makes
//! the same choices again, though not at the same moments.

use crate::storm::{Random, seed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::thread::sleep;
use std::time::Duration;
use tests::{Daemon, Scratch, Service, children_of, processes_in, wait_until};

const SCANNED: &str = "services";
const SERVICES: usize = 6;
/// The maximum number of events before the stop, and the maximum during it.
const DEEDS: usize = 12;

/// A `run` that writes a line when it begins and when it is told to end, and records that it has done so.
const RUN: &str =
    "trap 'echo told; echo told >>said; exit' TERM; echo begun; echo begun >>said; while :; do sleep 0.01; done";

fn services(scratch: &Scratch) -> Vec<Service<'_>> {
    let make = |number: usize| {
        let name = format!("{SCANNED}/s{number}");
        let service = Service::new(scratch, &name, RUN).file("restart-delay", "10");
        // Half of the services have loggers, a third are started after another service, and one is down.
        let service =
            if number.is_multiple_of(2) { service.script("log/run", "exec multilog ./main") } else { service };
        let service = if number.is_multiple_of(3) { service.file("after", "s1\n") } else { service };
        if number == 5 { service.down() } else { service }
    };
    (0..SERVICES).map(make).collect()
}

fn kill_one(of: i32, random: &mut Random) {
    let children = children_of(of);
    if !children.is_empty() {
        let _ = kill(Pid::from_raw(children[random.below(children.len())]), Signal::SIGKILL);
    }
}

/// Does one thing to svscan or to a process that it has started.
fn befall(svscan: i32, random: &mut Random) {
    // The process may be gone already.
    let send = |pid, signal| {
        let _ = kill(Pid::from_raw(pid), signal);
    };
    match random.below(10) {
        0..3 => send(svscan, Signal::SIGUSR2),
        3..7 => kill_one(svscan, random),
        7 => children_of(svscan).into_iter().for_each(|supervise| kill_one(supervise, random)),
        8 => children_of(svscan).into_iter().for_each(|child| send(child, Signal::SIGKILL)),
        _ => send(svscan, Signal::SIGHUP),
    }
    sleep(Duration::from_millis(random.below(30) as u64));
}

fn round(random: &mut Random) {
    let scratch = Scratch::new();
    let services = services(&scratch);
    let mut svscan = Daemon::start(scratch.command("svscan").arg(SCANNED), &scratch);
    wait_until("they are up", || services.iter().all(Service::is_supervised));
    for _ in 0..random.below(DEEDS) {
        befall(svscan.pid(), random);
    }
    svscan.signal(Signal::SIGTERM);
    for _ in 0..random.below(DEEDS) {
        if !svscan.has_ended() {
            befall(svscan.pid(), random);
        }
    }
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    // A child whose supervise was killed before it executed its program ends a moment later.
    let left = || processes_in(&scratch.path().join(SCANNED));
    wait_until(&format!("nothing is left: {}", svscan.errors()), || left().is_empty());
    for service in services.iter().filter(|service| service.path("log").exists()) {
        let lines = service.says("log/main/current").lines().count();
        let said = service.says("said").lines().count();
        // A service that was killed in between has not recorded its last line.
        assert!(lines >= said, "{}: {lines} lines of {said}: {}", service.name(), svscan.errors());
    }
}

fn rounds(count: usize) {
    let mut random = Random(seed("STOPS"));
    (0..count).for_each(|_| round(&mut random));
}

#[test]
fn a_few_stops_come_to_their_end() {
    rounds(5);
}

#[test]
#[ignore = "takes minutes"]
fn many_stops_come_to_their_end() {
    rounds(200);
}
