//! Services on a mount whose server does not answer: the others do not notice.

use crate::svscan::{SCANNED, service, supervise_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::symlink;
use tests::{
    Daemon, Fuse, Node, Scratch, Service, Status, children_of, has, is_alive, is_root, processes_in, skip, wait_until,
};

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

/// Only that a setting is there counts for svscan, and what else leads there is touched by a child.
#[test]
fn what_leads_from_a_service_or_from_svscan_to_a_dead_mount_holds_nobody_up() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let link = |from: String| symlink(scratch.path().join("remote/x"), from).expect("make a link");
    let speaks = ["watchdog", "notify-socket"].map(|setting| {
        let speaks = service(&scratch, setting, "exec sleep 1000");
        link(speaks.path(setting).display().to_string());
        speaks
    });
    scratch.dir(format!("{SCANNED}/run"));
    scratch.dir(format!("{SCANNED}/.svscan"));
    for name in ["run/run", ".svscan/SIGTERM", ".svscan/SIGHUP"] {
        link(scratch.path().join(SCANNED).join(name).display().to_string());
    }
    let mut hung = Hung::start(&scratch);
    let mut pids: Vec<i32> = speaks.iter().map(Service::up).collect();
    wait_until("it is complained of", || hung.svscan.errors().contains("unable to stat run/log: timed out\n"));
    let supervise = supervise_of(&speaks[0]);
    kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill it");
    wait_until("it has another", || speaks[0].is_supervised() && supervise_of(&speaks[0]) != supervise);
    hung.svscan.signal(Signal::SIGHUP);
    pids.push(service(&scratch, "late", "exec sleep 1000").up());
    // The scripts that cannot be touched are none.
    hung.svscan.signal(Signal::SIGTERM);
    assert_eq!(hung.svscan.wait(), 0, "{}", hung.svscan.errors());
    assert!(!pids.into_iter().any(is_alive));
}

/// A mount namespace in which a service `web` lies on a remote mount whose server answers, but for its `supervise/`, which is
/// a link to `kept`.
struct Remote<'a> {
    scratch: &'a Scratch,
    fuse: Fuse,
    /// It keeps the namespace.
    holder: Daemon,
}

impl Remote<'_> {
    fn mount(scratch: &Scratch) -> Remote<'_> {
        ["remote", "kept", SCANNED].iter().for_each(|name| scratch.dir(name));
        symlink("../remote/web", scratch.path().join(SCANNED).join("web")).expect("make a link");
        let fuse = Fuse::serve(vec![
            (None, "web", Node::Directory),
            (Some(0), "run", Node::Program("#!/bin/sh\nexec sleep 1000\n".into())),
            (Some(0), "supervise", Node::Link(scratch.path().join("kept"))),
        ]);
        let script = format!("{} remote && echo >mounted; exec sleep 1000 </dev/null", Fuse::MOUNT);
        let mut command = scratch.command("unshare");
        command.args(["-m", "/bin/sh", "-c", &script]).stdin(fuse.device());
        let holder = Daemon::start(&mut command, scratch);
        wait_until("it is mounted", || scratch.path().join("mounted").exists());
        Remote { scratch, fuse, holder }
    }

    /// svscan there, or a program that runs it.
    fn svscan(&self, before: &str) -> Daemon {
        let script = format!("cd '{}' && exec {before} svscan {SCANNED}", self.scratch.path().display());
        let pid = self.holder.pid().to_string();
        let mut command = self.scratch.command("nsenter");
        Daemon::start(command.args(["-t", &pid, "-m", "/bin/sh", "-c", &script]), self.scratch)
    }

    fn supervise(&self) -> String {
        let state = fs::read_to_string(self.scratch.path().join("kept/state")).expect("its state");
        let supervise = state.lines().find_map(|line| line.strip_prefix("supervise ")?.split(' ').next());
        supervise.expect("a supervise").to_string()
    }

    /// The process of `web`, once it is up.
    fn web(&self) -> i32 {
        let mut pid = 0;
        wait_until("web is up", || {
            pid = Status::read(&self.scratch.path().join("kept/status")).map_or(0, |status| status.pid);
            pid != 0
        });
        pid
    }
}

/// Its supervise works on the mount.
#[test]
fn a_supervise_on_a_dead_mount_holds_no_next_svscan_up() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let local = service(&scratch, "local", "exec sleep 1000");
    let remote = Remote::mount(&scratch);
    let first = remote.svscan("");
    let pids = [local.up(), remote.web()];
    remote.fuse.fall_silent();
    first.kill();
    let mut next = remote.svscan("");
    service(&scratch, "new", "exec sleep 1000").up();
    assert!(next.errors().contains("unable to stat web: timed out"), "{}", next.errors());
    remote.fuse.answer_again();
    next.signal(Signal::SIGHUP);
    let supervise = format!("Pid:\t{}\n", remote.supervise());
    let holds = |file: fs::DirEntry| fs::read_to_string(file.path()).is_ok_and(|info| info.contains(&supervise));
    let held = || fs::read_dir(format!("/proc/{}/fdinfo", next.pid())).expect("its descriptors").flatten().any(holds);
    wait_until("it has found the supervise of web", held);
    next.signal(Signal::SIGTERM);
    assert_eq!(next.wait(), 0, "{}", next.errors());
    assert_eq!(pids.map(is_alive), [false; 2], "web was not started a second time, and was stopped");
}

/// As in a container whose filter of system calls is old.
#[test]
fn a_mount_that_answers_is_served_without_descriptors_for_processes() {
    if !possible() || !has("strace") {
        return;
    }
    for refusal in ["EPERM", "ENOSYS"] {
        let scratch = Scratch::new();
        let remote = Remote::mount(&scratch);
        let refused = format!("-e trace=pidfd_open -e inject=pidfd_open:error={refusal}");
        let mut strace = remote.svscan(&format!("strace -qq -o /dev/null -I3 {refused}"));
        let pid = remote.web();
        // Asked again, another child is waited for.
        service(&scratch, "new", "exec sleep 1000").up();
        assert_eq!(strace.errors(), "", "{refusal}");
        for svscan in children_of(strace.pid()) {
            kill(Pid::from_raw(svscan), Signal::SIGTERM).expect("tell it to stop");
        }
        assert_eq!(strace.wait(), 0, "{refusal}: {}", strace.errors());
        assert!(!is_alive(pid), "{refusal}");
    }
}
