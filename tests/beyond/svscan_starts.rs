//! svscan's limit on the number of services that start at the same time.

use crate::svscan::{SCANNED, service, supervise_of, svscan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use tests::{Scratch, wait_until};

/// Writes the limit's setting in this scan directory.
fn limit(scratch: &Scratch, text: &str) {
    scratch.file(format!("{SCANNED}/.svscan/starts-at-a-time"), text);
}

#[test]
fn no_more_services_start_at_a_time_than_are_wanted() {
    let scratch = Scratch::new();
    limit(&scratch, "2\n");
    let run = "echo begins >>../../story; sleep 0.05; echo ready >>../../story; echo >&3; exec sleep 1000";
    for number in 0..7 {
        service(&scratch, &format!("s{number}"), run).file("notification-fd", "3\n");
    }
    // These services do not become ready for now, and must not keep the others from starting.
    for number in 0..3 {
        service(&scratch, &format!("down{number}"), run).down();
        service(&scratch, &format!("fails{number}"), "exit 1").file("notification-fd", "3\n");
    }
    let svscan = svscan(&scratch);
    let story = || fs::read_to_string(scratch.path().join("story")).unwrap_or_default();
    wait_until("all are ready", || story().matches("ready\n").count() == 7);
    let (mut at_a_time, mut most) = (0, 0);
    for line in story().lines() {
        at_a_time = if line == "begins" { at_a_time + 1 } else { at_a_time - 1 };
        most = most.max(at_a_time);
    }
    assert_eq!((most, svscan.errors().as_str()), (2, ""));
}

#[test]
fn a_limit_that_makes_no_sense_is_none_and_is_said_once() {
    let scratch = Scratch::new();
    limit(&scratch, "few\n");
    let svscan = svscan(&scratch);
    for number in 0..3 {
        service(&scratch, &format!("s{number}"), "exec sleep 1000").up();
        svscan.signal(Signal::SIGHUP);
    }
    let words = "svscan: warning: .svscan/starts-at-a-time: \"few\" is no number above 0; ignored\n";
    wait_until("it is said", || !svscan.errors().is_empty());
    assert_eq!(svscan.errors(), words);
}

/// A supervise that an earlier svscan has started runs already, so it does not count as a start for long.
#[test]
fn what_runs_already_is_no_start() {
    let scratch = Scratch::new();
    for number in 0..5 {
        service(&scratch, &format!("s{number}"), "exec sleep 1000");
    }
    let first = svscan(&scratch);
    for number in 0..5 {
        tests::Service::at(&scratch, &format!("{SCANNED}/s{number}")).up();
    }
    first.kill();
    limit(&scratch, "1\n");
    let _second = svscan(&scratch);
    service(&scratch, "new", "exec sleep 1000").up();
}

/// A service that does not become ready has the only slot.
#[test]
fn a_killed_supervise_is_replaced_though_no_slot_is_free() {
    let scratch = Scratch::new();
    limit(&scratch, "1\n");
    let web = service(&scratch, "web", "exec sleep 1000");
    let _svscan = svscan(&scratch);
    let pid = web.up();
    wait_until("it is ready", || !web.state("ready").is_empty());
    let never = service(&scratch, "never", "exec sleep 1000").file("notification-fd", "3\n");
    never.up();
    let supervise = supervise_of(&web);
    kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill supervise");
    wait_until("it has another supervise", || web.is_supervised() && supervise_of(&web) != supervise);
    assert_eq!((web.up(), never.state("ready").is_empty()), (pid, true));
}
