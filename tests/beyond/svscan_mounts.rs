//! Services on a mount whose server does not answer: the others do not notice.

use crate::svscan::{SCANNED, service, supervise_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::symlink;
use tests::{Daemon, Scratch, Service, is_alive, is_root, processes_in, skip, wait_until};

/// svscan in a mount namespace of its own, where nobody answers for what lies on `remote`: a FUSE mount
/// whose other end is never read.
struct Hung<'a> {
    scratch: &'a Scratch,
    svscan: Daemon,
}

impl Hung<'_> {
    fn start(scratch: &Scratch) -> Hung<'_> {
        scratch.dir("remote");
        let mount =
            "exec 3<>/dev/fuse || exit; mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none remote";
        let script = format!("{mount} || exit; exec svscan {SCANNED}");
        let svscan = Daemon::start(scratch.command("unshare").args(["-m", "/bin/sh", "-c", &script]), scratch);
        Hung { scratch, svscan }
    }

    /// What lies beneath the mount appears.
    fn unmount(&self) {
        let pid = self.svscan.pid().to_string();
        let inside = ["-t", &pid, "-m", "umount", "-l"];
        let remote = self.scratch.path().join("remote");
        let outcome = self.scratch.outcome_of(self.scratch.command("nsenter").args(inside).arg(remote));
        assert_eq!(outcome.code, 0, "{outcome:?}");
    }
}

fn possible() -> bool {
    if !is_root() || !fs::exists("/dev/fuse").is_ok_and(|there| there) {
        skip("only root mounts, and only where there is FUSE");
        return false;
    }
    true
}

#[test]
fn a_dead_mount_holds_nobody_up_and_is_served_when_it_is_back() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    for name in ["x", "y"] {
        Service::new(&scratch, &format!("remote/{name}"), "exec sleep 1000");
        symlink(format!("../remote/{name}"), scratch.path().join(SCANNED).join(name)).expect("make a link");
    }
    let mut hung = Hung::start(&scratch);
    let pid = a.up();
    let said = |name: &str| format!("svscan: warning: unable to stat {name}: timed out\n");
    wait_until("both are complained of", || ["x", "y"].iter().all(|name| hung.svscan.errors().contains(&said(name))));
    // Others are started, restarted, and looked for, as ever.
    for round in 0..3 {
        service(&scratch, &format!("round{round}"), "exec sleep 1000").up();
        hung.svscan.signal(Signal::SIGHUP);
    }
    let supervise = supervise_of(&a);
    kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill it");
    wait_until("it has another", || supervise_of(&a) != supervise);
    assert_eq!(a.up(), pid);
    assert_eq!(hung.svscan.errors().lines().count(), 2, "{}", hung.svscan.errors());
    hung.unmount();
    hung.svscan.signal(Signal::SIGHUP);
    for name in ["x", "y"] {
        Service::at(&scratch, &format!("remote/{name}")).up();
    }
    hung.svscan.signal(Signal::SIGTERM);
    assert_eq!(hung.svscan.wait(), 0);
    assert_eq!(processes_in(&scratch.path().join("remote")), []);
    assert!(!is_alive(pid));
}

#[test]
fn svscan_killed_while_a_mount_is_dead_leaves_nobody_who_keeps_its_place() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    symlink("../remote/x", scratch.path().join(SCANNED).join("x")).expect("make a link");
    let hung = Hung::start(&scratch);
    let pid = a.up();
    wait_until("it is complained of", || hung.svscan.errors().contains("timed out"));
    hung.svscan.kill();
    let mut second = crate::svscan::svscan(&scratch);
    service(&scratch, "b", "exec sleep 1000").up();
    assert!(is_alive(pid));
    second.signal(Signal::SIGTERM);
    assert_eq!(second.wait(), 0);
}
