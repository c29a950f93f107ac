//! svscan serves what is mounted at an entry of the scan directory now.

use crate::svscan::{SCANNED, service};
use nix::sys::signal::Signal;
use std::fs;
use tests::{Daemon, Outcome, Scratch, Service, is_root, processes_in, skip, wait_until};

/// svscan in a mount namespace of its own. Mounts there have no effect outside.
struct Apart<'a> {
    scratch: &'a Scratch,
    svscan: Daemon,
}

impl Apart<'_> {
    /// Starts svscan in that namespace, after the lines of shell in `before`.
    fn start<'a>(scratch: &'a Scratch, before: &str) -> Apart<'a> {
        let script = format!("{before}\nexec svscan {SCANNED}");
        let unshare = ["-m", "--propagation", "private", "/bin/sh", "-ec", &script];
        Apart { scratch, svscan: Daemon::start(scratch.command("unshare").args(unshare), scratch) }
    }

    /// Runs a line of shell in that namespace.
    fn inside(&self, line: &str) -> Outcome {
        let pid = self.svscan.pid().to_string();
        let directory = self.scratch.path().to_str().expect("a path of text");
        let inside = ["-t", &pid, "-m", "/bin/sh", "-ec", &format!("cd {directory}; {line}")];
        self.scratch.outcome_of(self.scratch.command("nsenter").args(inside))
    }

    fn does(&self, line: &str) {
        let outcome = self.inside(line);
        assert_eq!(outcome.code, 0, "{line}: {outcome:?}");
    }

    fn end(mut self) -> String {
        self.svscan.signal(Signal::SIGTERM);
        assert_eq!(self.svscan.wait(), 0);
        assert_eq!(processes_in(&self.scratch.path().join(SCANNED)), []);
        self.svscan.errors()
    }
}

fn possible() -> bool {
    if !is_root() {
        skip("only root mounts");
    }
    is_root()
}

/// The names of the services that were started, in order.
fn started(scratch: &Scratch) -> String {
    fs::read_to_string(scratch.path().join("started")).unwrap_or_default()
}

fn says(scratch: &Scratch, what: &str) -> String {
    format!("echo {what} >>{}/started; exec sleep 1000", scratch.path().display())
}

/// A service `web`, and the service that is mounted over it.
fn versions<'a>(scratch: &'a Scratch) -> [Service<'a>; 2] {
    [service(scratch, "web", &says(scratch, "old")), Service::new(scratch, "new/web", &says(scratch, "new"))]
}

#[test]
fn a_directory_that_is_mounted_over_another_is_served_in_its_place_and_the_other_way_round() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let [web, _] = versions(&scratch);
    let other = service(&scratch, "other", "exec sleep 1000");
    let apart = Apart::start(&scratch, "");
    let untouched = (web.up(), other.up()).1;
    apart.does("mount --bind new/web services/web");
    wait_until("the new one is started", || started(&scratch) == "old\nnew\n");
    // A mount that is in use can only be unmounted lazily.
    apart.does("umount -l services/web");
    wait_until("the old one is started", || started(&scratch) == "old\nnew\nold\n");
    web.up();
    // Other mounts have no effect on svscan.
    apart.does("mkdir elsewhere; mount --bind new elsewhere; umount elsewhere");
    apart.does("mount --bind new/web services/web");
    wait_until("the new one is started", || started(&scratch) == "old\nnew\nold\nnew\n");
    assert_eq!(other.up(), untouched);
    let said = apart.end();
    assert_eq!(said.matches("web is another directory now: stopping the one before").count(), 3, "{said}");
}

#[test]
fn without_proc_it_is_noticed_at_a_scan() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let [_, _] = versions(&scratch);
    fs::write(scratch.path().join(SCANNED).join("web/down"), "").expect("write down");
    let apart = Apart::start(&scratch, "mount -t tmpfs none /proc");
    let web = scratch.path().join(SCANNED).join("web");
    wait_until("it is supervised", || web.join("supervise/status").exists());
    apart.does("mount --bind new/web services/web");
    wait_until("it is noticed", || apart.svscan.errors().contains("web is another directory now"));
}
