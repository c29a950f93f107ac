//! svscanboot keeps what it started.

use crate::svscan::{SCANNED, service};
use crate::svscan_first::send;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use tests::{Daemon, Scratch, is_alive, parent_of, processes_in, wait_until};

fn svscanboot(scratch: &Scratch) -> Daemon {
    scratch.dir(SCANNED);
    // Its environment is clean, so that only its arguments say whose it is.
    Daemon::start(scratch.command("svscanboot").arg(scratch.path().join(SCANNED)), scratch)
}

fn child(scratch: &Scratch, boot: &Daemon, name: &str) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", boot.pid())).unwrap_or_default();
    let mut pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    let _ = scratch;
    pids.find(|pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name))
}

fn title(pid: i32) -> String {
    fs::read(format!("/proc/{pid}/cmdline"))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

#[test]
fn what_is_killed_is_started_again_and_told_to_stop_it_stops() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "echo complaint; exec sleep 1000");
    let mut boot = svscanboot(&scratch);
    let pid = a.up();
    let find = |name| {
        let mut found = None;
        wait_until(name, || {
            found = child(&scratch, &boot, name);
            found.is_some()
        });
        found.expect("a child")
    };
    let (svscan, readproctitle) = (find("svscan"), find("readproctitle"));
    wait_until("the complaint is shown", || title(readproctitle).contains("complaint"));
    for killed in [svscan, readproctitle] {
        kill(Pid::from_raw(killed), Signal::SIGKILL).expect("kill it");
    }
    wait_until("both are there again", || {
        [("svscan", svscan), ("readproctitle", readproctitle)]
            .into_iter()
            .all(|(name, old)| child(&scratch, &boot, name).is_some_and(|new| new != old))
    });
    assert_eq!((a.up(), is_alive(pid)), (pid, true));
    // What is still written goes to the new one.
    let (svscan, readproctitle) = (find("svscan"), find("readproctitle"));
    scratch.file(format!("{SCANNED}/file"), "");
    wait_until("a new complaint is shown", || title(readproctitle).contains("unable to supervise file"));
    assert_eq!(parent_of(svscan), Some(boot.pid()));
    boot.signal(Signal::SIGTERM);
    assert_eq!(boot.wait(), 0);
    assert!(!is_alive(pid));
    wait_until("nothing is left", || {
        !is_alive(readproctitle) && processes_in(&scratch.path().join(SCANNED)).is_empty()
    });
}

#[test]
fn whatever_tells_svscan_to_stop_may_be_told_to_svscanboot() {
    let signals = [Signal::SIGINT as i32, Signal::SIGPWR as i32, nix::libc::SIGRTMIN() + 3];
    for signal in signals {
        let scratch = Scratch::new();
        let a = service(&scratch, "a", "exec sleep 1000");
        let mut boot = svscanboot(&scratch);
        let pid = a.up();
        send(&scratch, signal, boot.pid());
        assert_eq!((boot.wait(), is_alive(pid)), (0, false), "{signal}");
    }
}
