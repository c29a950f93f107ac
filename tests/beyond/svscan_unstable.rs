//! A service on a file system that does not keep the numbers of its files. It counts as the same service as long as its
//! path is the same.

use crate::changing_inodes::ChangingInodes;
use crate::svscan::{SCANNED, service, supervise_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use tests::{Daemon, Scratch, Service, is_alive, is_root, processes_in, skip, wait_until};

const MOUNT: &str = "mount -i -t fuse -o fd=0,rootmode=40000,user_id=0,group_id=0,allow_other none changing";

fn started(scratch: &Scratch) -> String {
    fs::read_to_string(scratch.path().join("started")).unwrap_or_default()
}

/// The messages of svscan and supervise, without those of the shell, which complains about a directory whose number
/// changes.
fn said(svscan: &Daemon) -> String {
    svscan.errors().lines().filter(|line| !line.starts_with("sh: ")).collect()
}

/// Waits until svscan has looked at the directory: services that are added before and after that are started.
fn is_looked_at(scratch: &Scratch, svscan: &Daemon, round: &str) {
    service(scratch, round, "exec sleep 1000").up();
    svscan.signal(Signal::SIGHUP);
    service(scratch, &format!("{round}-again"), "exec sleep 1000").up();
}

#[test]
fn a_service_whose_number_changes_all_the_time_runs_on_after_kills() {
    if !is_root() || !fs::exists("/dev/fuse").is_ok_and(|there| there) {
        return skip("only root mounts, and only where there is FUSE");
    }
    let scratch = Scratch::new();
    let at = |name: &str| scratch.path().join(name).display().to_string();
    // The part of the file system that can be seen from outside the mount namespace.
    scratch.dir("kept");
    scratch.dir("changing/web");
    scratch.dir(SCANNED);
    symlink(at("kept"), at("changing/web/supervise")).expect("make a link");
    symlink(at("changing/web"), at(&format!("{SCANNED}/web"))).expect("make a link");
    let web = Service::at(&scratch, "changing/web");
    let device = File::options().read(true).write(true).open("/dev/fuse").expect("open FUSE");
    let run = format!("#!/bin/sh\necho >>{}\nexec sleep 1000\n", at("started"));
    let script = format!("{MOUNT}; exec </dev/null; exec svscan {SCANNED}");
    let mut unshare = scratch.command("unshare");
    unshare.args(["-m", "--propagation", "private", "/bin/sh", "-ec", &script]);
    let first = Daemon::start(unshare.stdin(device.try_clone().expect("the same")), &scratch);
    drop(unshare);
    ChangingInodes::serve(device, &run, &at("kept"));
    let pid = web.up();
    is_looked_at(&scratch, &first, "one");
    // The next supervise finds the service, and the next svscan finds the directory.
    let supervise = supervise_of(&web);
    kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill supervise");
    wait_until("it has another", || web.is_supervised() && supervise_of(&web) != supervise);
    let supervise = supervise_of(&web);
    is_looked_at(&scratch, &first, "two");
    assert_eq!((web.up(), said(&first)), (pid, String::new()));
    first.kill();
    let inside = ["-t", &pid.to_string(), "-m", "/bin/sh", "-ec", &format!("cd {}; exec svscan {SCANNED}", at(""))];
    let mut second = Daemon::start(scratch.command("nsenter").args(inside), &scratch);
    is_looked_at(&scratch, &second, "three");
    assert_eq!((web.up(), supervise_of(&web), said(&second)), (pid, supervise, String::new()));
    second.signal(Signal::SIGTERM);
    assert_eq!(second.wait(), 0);
    assert!(!is_alive(pid));
    assert_eq!((processes_in(scratch.path()), started(&scratch).lines().count()), (vec![], 1));
}
