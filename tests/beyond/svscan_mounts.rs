//! Services on a mount whose server does not answer. The other services are not affected.

use crate::svscan::{SCANNED, service, supervise_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::symlink;
use std::thread::Builder;
use std::time::{Duration, Instant};
use tests::{
    Daemon, Fuse, Node, REQUESTS, Request, Scratch, Service, Status, children_of, has, is_alive, is_root, processes_in,
    skip, state_of, wait_until,
};

/// svscan in a mount namespace of its own. There, `remote` is a FUSE mount whose server never answers.
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

    /// Unmounts it. The directory below the mount appears.
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
fn a_dead_mount_holds_no_service_up_and_is_served_when_it_is_back() {
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
    // Other services are started, restarted and found as usual.
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
fn svscan_killed_while_a_mount_is_dead_leaves_no_process_that_keeps_its_place() {
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

/// svscan itself only checks that a setting exists. Everything else that leads to the mount is touched by a child
/// process.
#[test]
fn what_leads_from_a_service_or_from_svscan_to_a_dead_mount_holds_no_service_up() {
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
    // Scripts that cannot be reached count as absent.
    hung.svscan.signal(Signal::SIGTERM);
    assert_eq!(hung.svscan.wait(), 0, "{}", hung.svscan.errors());
    assert!(!pids.into_iter().any(is_alive));
}

/// A mount namespace in which a service `web` lies on a remote mount whose server answers. Its `supervise/` is a link
/// to `kept`, which is not on the mount.
struct Remote<'a> {
    scratch: &'a Scratch,
    fuse: Fuse,
    /// The process that keeps the namespace alive.
    holder: Daemon,
}

impl Remote<'_> {
    fn mount(scratch: &Scratch) -> Remote<'_> {
        scratch.dir(SCANNED);
        symlink("../remote/web", scratch.path().join(SCANNED).join("web")).expect("make a link");
        Remote::mount_alone(scratch)
    }

    /// Mounts it, but nothing leads there.
    fn mount_alone(scratch: &Scratch) -> Remote<'_> {
        ["remote", "kept", "overlay", SCANNED].iter().for_each(|name| scratch.dir(name));
        let fuse = Fuse::serve(vec![
            (None, "web", Node::Directory),
            (Some(0), "run", Node::Program("#!/bin/sh\nexec sleep 1000\n".into())),
            (Some(0), "supervise", Node::Link(scratch.path().join("kept"))),
            (None, "setting", Node::Program("5\n".into())),
        ]);
        let script = format!("{} remote && echo >mounted; exec sleep 1000 </dev/null", Fuse::MOUNT);
        let mut command = scratch.command("unshare");
        command.args(["-m", "/bin/sh", "-c", &script]).stdin(fuse.device());
        let holder = Daemon::start(&mut command, scratch);
        wait_until("it is mounted", || scratch.path().join("mounted").exists());
        Remote { scratch, fuse, holder }
    }

    /// Starts svscan in that namespace, directly or through another program.
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

/// The standard output or input of a process may be a file on the mount. The next svscan looks there for the pipe between
/// the service and its logger.
#[test]
fn a_service_or_a_logger_that_has_a_file_of_a_dead_mount_open_holds_no_next_svscan_up() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let elsewhere = "exec sleep 1000 <../../remote/web/run >&0";
    let service_elsewhere = service(&scratch, "a", elsewhere);
    let its_logger = Service::new(&scratch, &format!("{SCANNED}/a/log"), "exec cat");
    let its_service = service(&scratch, "b", "while sleep 0.05; do echo line; done");
    let logger_elsewhere = Service::new(&scratch, &format!("{SCANNED}/b/log"), &elsewhere.replace("../..", "../../.."));
    let remote = Remote::mount(&scratch);
    let first = remote.svscan("");
    let pids = [service_elsewhere.up(), logger_elsewhere.up()];
    let leads_there = |pid: &i32| {
        let link = |number| fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap_or_default();
        [0, 1].iter().all(|number| link(*number).ends_with("web/run"))
    };
    wait_until("both have the file open", || pids.iter().all(leads_there));
    remote.fuse.fall_silent();
    // As long as their supervises run, svscan asks these.
    let services = [&service_elsewhere, &its_logger, &its_service, &logger_elsewhere];
    wait_until("all are supervised", || services.iter().all(|service| service.is_supervised()));
    let supervises = services.map(supervise_of);
    let writer = its_service.up();
    first.kill();
    for pid in supervises.into_iter().chain([writer]) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill it");
    }
    let mut second = remote.svscan("");
    service(&scratch, "c", "exec sleep 1000").up();
    wait_until("all are served", || services.iter().all(|service| service.is_supervised()));
    assert_eq!([service_elsewhere.up(), logger_elsewhere.up()], pids);
    remote.fuse.answer_again();
    second.signal(Signal::SIGTERM);
    assert_eq!(second.wait(), 0, "{}", second.errors());
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
}

/// The working directory of the service's supervise is on the mount.
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
    wait_until("it is said", || next.errors().contains("unable to stat web: timed out"));
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

/// A container may have an old filter of system calls.
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
        // svscan asks again, and waits for another child.
        service(&scratch, "new", "exec sleep 1000").up();
        assert_eq!(strace.errors(), "", "{refusal}");
        for svscan in children_of(strace.pid()) {
            kill(Pid::from_raw(svscan), Signal::SIGTERM).expect("tell it to stop");
        }
        assert_eq!(strace.wait(), 0, "{refusal}: {}", strace.errors());
        assert!(!is_alive(pid), "{refusal}");
    }
}

/// A process that has given a request to a server is ended by no signal before that server answers or is gone.
#[test]
fn a_second_interrupt_waits_only_some_time_for_a_process_that_no_signal_ends() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    scratch.dir("remote");
    let fuse = Fuse::serve(vec![(None, "file", Node::Program("text".into()))]);
    let good = service(&scratch, "good", "exec sleep 1000");
    let run = "exec 3<../../remote/file; echo $$ >opened; while [ ! -e go ]; do sleep 0.01; done; exec cat <&3";
    let stuck = service(&scratch, "stuck", run);
    let script = format!("{} remote && exec svscan {SCANNED} </dev/null", Fuse::MOUNT);
    let mut unshare = scratch.command("unshare");
    unshare.args(["-m", "--propagation", "private", "sh", "-c", &script]).stdin(fuse.device());
    let mut svscan = Daemon::start(&mut unshare, &scratch);
    good.up();
    let pid: i32 = stuck.lines("opened", 1)[0].parse().unwrap();
    fuse.swallow();
    fs::write(stuck.path("go"), "").unwrap();
    wait_until("it waits for the server", || fuse.has_swallowed());
    svscan.signal(Signal::SIGTERM);
    good.wait_down();
    svscan.signal(Signal::SIGINT);
    // Two signals that wait together would count as one.
    let status = format!("/proc/{}/status", svscan.pid());
    let is_pending = |line: &str| line.strip_prefix("ShdPnd:").is_some_and(|set| !set.trim().ends_with('0'));
    wait_until("it has taken the first", || !fs::read_to_string(&status).unwrap().lines().any(is_pending));
    svscan.signal(Signal::SIGINT);
    assert_eq!(svscan.wait(), 0);
    let said = format!("svscan: warning: stuck: no signal ends process {pid}: leaving it\n");
    assert!(svscan.errors().ends_with(&said), "{}", svscan.errors());
    assert_eq!(state_of(pid), Some('D'));
    drop((fuse, unshare));
    wait_until("it has ended", || !is_alive(pid) && processes_in(&scratch.path().join(SCANNED)).is_empty());
}

/// What must hold although something that svscan looks at never answers: svscan starts other services, and it ends.
fn goes_on(remote: &Remote) {
    let good = service(remote.scratch, "good", "exec sleep 1000");
    let mut svscan = remote.svscan("");
    good.up();
    svscan.signal(Signal::SIGHUP);
    service(remote.scratch, "late", "exec sleep 1000").up();
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
}

/// A server sees who asks. What svscan does after a helper has looked must not ask the server either.
#[test]
fn a_server_that_answers_everybody_but_svscan_holds_no_other_service_up() {
    if !possible() {
        return;
    }
    for (is_logger, is_up_before) in [(false, false), (false, true), (true, false), (true, true)] {
        let case = format!("logger {is_logger}, up before {is_up_before}");
        let scratch = Scratch::new();
        let remote = Remote::mount_alone(&scratch);
        let good = service(&scratch, "good", "exec sleep 1000");
        let there = scratch.path().join("remote/web");
        let logged = Service::new(&scratch, "logged", "exec sleep 1000");
        symlink(&there, logged.path("log")).expect("make a link");
        let link = || {
            let to = if is_logger { logged.path("") } else { there.clone() };
            symlink(to, scratch.path().join(SCANNED).join("web")).expect("make a link");
        };
        if is_up_before {
            link();
        }
        let mut svscan = remote.svscan("");
        good.up();
        let mut before = if is_up_before { vec![remote.web()] } else { Vec::new() };
        remote.fuse.never_answer_to(svscan.pid());
        if !is_up_before {
            link();
        }
        svscan.signal(Signal::SIGHUP);
        before.push(service(&scratch, "late", "exec sleep 1000").up());
        if is_up_before {
            // The next one is started there too.
            let supervise: i32 = remote.supervise().parse().expect("a number");
            kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill it");
            wait_until("it has another", || remote.supervise() != supervise.to_string());
        }
        before.push(service(&scratch, "later", "exec sleep 1000").up());
        before.push(remote.web());
        svscan.signal(Signal::SIGTERM);
        assert_eq!(svscan.wait(), 0, "{case}: {}", svscan.errors());
        assert!(!before.into_iter().any(is_alive), "{case}");
    }
}

/// No table shows such a mount, and the link to the working directory of a process has any text.
#[test]
fn a_mount_that_was_detached_and_falls_silent_holds_no_service_up() {
    if !possible() {
        return;
    }
    for (file, request) in [("after", "read"), ("essential", "lookup"), ("log", "getattr"), ("", "lookup")] {
        let scratch = Scratch::new();
        let remote = Remote::mount_alone(&scratch);
        let pid = remote.holder.pid().to_string();
        let inside = format!("cd '{}' && cd remote && exec sleep 1000", scratch.path().display());
        let mut nsenter = scratch.command("nsenter");
        let there = Daemon::start(nsenter.args(["-t", &pid, "-m", "/bin/sh", "-c", &inside]), &scratch);
        let is_there = || fs::read_link(format!("/proc/{}/cwd", there.pid())).is_ok_and(|cwd| cwd.ends_with("remote"));
        wait_until("it works there", is_there);
        let mut nsenter = scratch.command("nsenter");
        let unmount = nsenter.args(["-t", &pid, "-m", "umount", "-l"]).arg(scratch.path().join("remote"));
        assert_eq!(scratch.outcome_of(unmount).code, 0);
        let to = format!("/proc/{}/cwd/{}", there.pid(), if file.is_empty() { "web" } else { "setting" });
        if !file.is_empty() {
            service(&scratch, "web", "exec sleep 1000");
        }
        let from = if file.is_empty() { "web".into() } else { format!("web/{file}") };
        symlink(to, scratch.path().join(SCANNED).join(from)).expect("make a link");
        remote.fuse.never_answer(named(request, if file.is_empty() { "web" } else { "setting" }));
        goes_on(&remote);
    }
}

/// Ten mounts are asked one after the other, each of which is silent. Nothing else waits ten seconds for that.
#[test]
fn many_mounts_that_fall_silent_together_hold_a_service_up_no_longer_than_one() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let remote = Remote::mount_alone(&scratch);
    let fuses: Vec<Fuse> = (0..10)
        .map(|number| {
            let fuse = Fuse::serve(vec![(None, "setting", Node::Program("5\n".into()))]);
            scratch.dir(format!("remote{number}"));
            let line = format!("cd '{}' && {} remote{number}", scratch.path().display(), Fuse::MOUNT);
            let mut nsenter = scratch.command("nsenter");
            nsenter.args(["-t", &remote.holder.pid().to_string(), "-m", "/bin/sh", "-c", &line]).stdin(fuse.device());
            assert!(Daemon::start(&mut nsenter, &scratch).wait() == 0, "it is mounted");
            fuse
        })
        .collect();
    let good = service(&scratch, "good", "exec sleep 1000");
    let mut svscan = remote.svscan("");
    good.up();
    fuses.iter().for_each(Fuse::fall_silent);
    let began = Instant::now();
    for number in 0..fuses.len() {
        let to = scratch.path().join(format!("remote{number}/setting"));
        symlink(to, scratch.path().join(SCANNED).join(format!("x{number}"))).expect("make a link");
    }
    wait_until("all are complained of", || svscan.errors().matches(": timed out").count() >= fuses.len());
    service(&scratch, "late", "exec sleep 1000").up();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
}

/// Each request of a file system may be the one that its server does not answer, after it has answered all before.
#[test]
fn a_request_that_is_not_answered_about_a_service_directory_holds_no_other_service_up() {
    if !possible() {
        return;
    }
    let directory = ["lookup", "getattr", "access", "statfs"].map(|request| (request, "web"));
    let files = ["run", "log", "after", "essential", "supervise"].map(|name| ("lookup", name));
    let table = directory.into_iter().chain(files).chain([("getattr", "run"), ("access", "run")]);
    std::thread::scope(|scope| {
        for (request, name) in table {
            let run = move || {
                let scratch = Scratch::new();
                let remote = Remote::mount(&scratch);
                remote.fuse.never_answer(named(request, name));
                goes_on(&remote);
            };
            Builder::new().name(format!("{request} {name}")).spawn_scoped(scope, run).expect("start a thread");
        }
    });
}

#[test]
fn a_request_that_is_not_answered_about_a_setting_holds_no_other_service_up() {
    if !possible() {
        return;
    }
    let settings = ["web/after", "web/essential", "web/timeout-kill", "web/log", ".svscan/starts-at-a-time"];
    let settings = settings.into_iter().chain([".svscan/on-remove", ".svscan/forward", ".svscan/finish"]);
    std::thread::scope(|scope| {
        for setting in settings {
            let run = move || {
                for request in ["lookup", "getattr", "open", "read"] {
                    let scratch = Scratch::new();
                    let remote = Remote::mount_alone(&scratch);
                    service(&scratch, "web", "exec sleep 1000");
                    scratch.dir(format!("{SCANNED}/.svscan"));
                    let link = scratch.path().join(SCANNED).join(setting);
                    symlink(scratch.path().join("remote/setting"), link).expect("make a link");
                    remote.fuse.never_answer(named(request, "setting"));
                    // Only what is executed is more than looked at.
                    if setting != ".svscan/finish" || request == "lookup" {
                        goes_on(&remote);
                    }
                }
            };
            Builder::new().name(setting.into()).spawn_scoped(scope, run).expect("start a thread");
        }
    });
}

fn named(request: &str, name: &'static str) -> Request {
    let number = REQUESTS.iter().find(|(known, _)| *known == request).map(|(_, number)| *number);
    (number.expect("a known request"), name)
}

/// The type of a file system does not tell what it depends on.
#[test]
fn an_overlay_over_a_dead_mount_holds_no_service_up() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let remote = Remote::mount_alone(&scratch);
    scratch.dir("lower");
    let script = "mount -t overlay -o lowerdir=remote:lower overlay overlay";
    let pid = remote.holder.pid().to_string();
    let mut command = scratch.command("nsenter");
    let line = format!("cd '{}' && {script}", scratch.path().display());
    let outcome = scratch.outcome_of(command.args(["-t", &pid, "-m", "/bin/sh", "-c", &line]));
    if outcome.code != 0 {
        return skip("there is no overlay here");
    }
    symlink("../overlay/web", scratch.path().join(SCANNED).join("web")).expect("make a link");
    remote.fuse.fall_silent();
    goes_on(&remote);
}

/// The helper that looks may wait for ever. It must not keep open what it has from its parent.
#[test]
fn a_logger_sees_the_end_of_its_input_though_a_helper_of_its_supervise_waits() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let remote = Remote::mount_alone(&scratch);
    let web = service(&scratch, "web", "exec sleep 1000");
    let log = Service::new(&scratch, &format!("{SCANNED}/web/log"), "exec cat >/dev/null");
    symlink(scratch.path().join("remote/setting"), web.path("timeout-kill")).expect("make a link");
    let mut svscan = remote.svscan("");
    let (pid, logger) = (web.up(), log.up());
    remote.fuse.fall_silent();
    web.svc("-t");
    web.another(pid);
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert!(!is_alive(logger));
}
