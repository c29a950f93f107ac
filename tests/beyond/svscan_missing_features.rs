//! svscan on systems without something that others have: `/proc`, PATH, `/dev/null`, or descriptors for processes.

use crate::svscan::{COUNT, SCANNED, service, supervise_of, svscan};
use crate::svscan_forward::forwarder;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use tests::{Daemon, Scratch, Service, children_of, has, is_alive, is_root, processes_in, skip, wait_until};

/// Runs svscan on the scan directory in a mount namespace of its own, after these lines of shell. The process that this
/// starts is svscan itself, and processes have the same numbers inside and outside.
fn svscan_after(scratch: &Scratch, lines: &str) -> Daemon {
    let mut command = scratch.command("unshare");
    let script = format!("{lines}\nexec svscan {SCANNED}");
    Daemon::start(command.args(["--mount", "--propagation", "private", "sh", "-c", &script]), scratch)
}

fn possible() -> bool {
    if !is_root() {
        skip("only root makes mount namespaces");
    }
    is_root() && has("unshare")
}

const WITHOUT_PROC: &str = "while umount -l /proc 2>/dev/null; do :; done; [ ! -e /proc/self ] || exit 99";

/// Tells a svscan to stop, which it must do without a fault.
fn stops(svscan: &mut Daemon) {
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
}

/// A service that writes numbered lines, and its logger, a multilog.
fn counting(scratch: &Scratch) -> (Service<'_>, Service<'_>) {
    let a = service(scratch, "a", COUNT);
    let log = Service::new(scratch, &format!("{SCANNED}/a/log"), "exec multilog ./main");
    (a, log)
}

/// Copies svscan and supervise into `bin`.
fn copy_programs(scratch: &Scratch) {
    scratch.dir("bin");
    for name in ["svscan", "supervise"] {
        let copied = Command::new("cp").arg(scratch.programs().join(name)).arg(scratch.path().join("bin")).status();
        assert!(copied.expect("start cp").success());
    }
}

#[test]
fn without_proc_the_next_svscan_has_the_supervises_of_a_killed_one() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let (a, b) = (service(&scratch, "a", "exec sleep 1000"), service(&scratch, "b", COUNT));
    let b = b.script("log/run", "exec cat >>lines");
    let first = svscan_after(&scratch, WITHOUT_PROC);
    let pids = [a.up(), b.up()];
    let supervises = [supervise_of(&a), supervise_of(&b)];
    first.kill();
    let mut second = svscan_after(&scratch, WITHOUT_PROC);
    service(&scratch, "late", "exec sleep 1000").up();
    assert_eq!((pids, supervises), ([a.up(), b.up()], [supervise_of(&a), supervise_of(&b)]));
    // svscan learns of the end of a supervise that is not its child.
    kill(Pid::from_raw(supervises[0]), Signal::SIGKILL).expect("kill a supervise");
    wait_until("it has another", || a.is_supervised() && supervise_of(&a) != supervises[0]);
    assert_eq!(a.up(), pids[0]);
    stops(&mut second);
    assert!(b.says("log/lines").ends_with("end\n"));
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
}

/// svscan gets the two ends of the pipe from the two supervises.
#[test]
fn without_proc_the_next_svscan_has_the_pipe_to_the_logger() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let (a, log) = counting(&scratch);
    let first = svscan_after(&scratch, WITHOUT_PROC);
    let (pid, multilog) = (a.up(), log.up());
    log.lines("main/current", 10);
    first.kill();
    let mut second = svscan_after(&scratch, WITHOUT_PROC);
    service(&scratch, "late", "exec sleep 1000").up();
    for pid in [supervise_of(&log), multilog] {
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill the logger and its supervise");
    }
    log.another(multilog);
    let before = log.lines("main/current", 1).len();
    log.lines("main/current", before + 50);
    assert_eq!(a.up(), pid);
    stops(&mut second);
    let lines = log.lines("main/current", 1);
    let expected = (0..lines.len() - 1).map(|number| number.to_string()).chain(["end".into()]);
    assert!(lines.iter().map(String::as_str).eq(expected.collect::<Vec<_>>()), "every line, once: {}", lines.len());
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
}

/// svscan asks only a supervise for its end of the pipe. Without one, svscan makes a new pipe, to which the logger
/// changes when it has read everything that the service writes into the old one.
#[test]
fn without_proc_and_a_supervise_no_line_is_lost_between_two_pipes() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let (a, log) = counting(&scratch);
    let first = svscan_after(&scratch, WITHOUT_PROC);
    let pid = a.up();
    log.lines("main/current", 10);
    let supervise = supervise_of(&a);
    first.kill();
    kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill the supervise");
    let mut second = svscan_after(&scratch, WITHOUT_PROC);
    wait_until("it has another", || a.is_supervised() && supervise_of(&a) != supervise);
    let before = log.lines("main/current", 1).len();
    log.lines("main/current", before + 20);
    assert_eq!(a.up(), pid);
    a.svc("-t");
    a.another(pid);
    wait_until("what the next one says is read", || {
        let said = log.says("main/current");
        said.split_once("end\n").is_some_and(|(_, said)| said.matches('\n').count() > 20)
    });
    stops(&mut second);
    let said = log.says("main/current");
    let lives: Vec<&str> = said.split_terminator("end\n").collect();
    for life in &lives {
        assert!(life.lines().enumerate().all(|(number, line)| line == number.to_string()), "every line, once");
    }
    assert_eq!((lives.len(), processes_in(&scratch.path().join(SCANNED))), (2, vec![]));
}

/// svscan inherits the process that a killed supervise leaves, and tells the next supervise how it ended.
#[test]
fn without_proc_the_end_of_a_service_without_supervise_is_known() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "trap 'exit 42' TERM; echo >ready; while :; do sleep 0.01; done");
    let _svscan = svscan_after(&scratch, WITHOUT_PROC);
    a.lines("ready", 1);
    let (pid, supervise) = (a.up(), supervise_of(&a));
    // The supervise must not see the end of the service itself.
    kill(Pid::from_raw(supervise), Signal::SIGSTOP).expect("stop the supervise");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("end the service");
    wait_until("the service ends", || !is_alive(pid));
    kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill the supervise");
    a.another(pid);
    assert!(a.state("death")[0].ends_with(" exit 42"), "{:?}", a.state("death"));
}

/// The kernel, or an init that passes no environment on, starts svscan like this.
#[test]
fn without_path_and_proc_it_finds_the_supervise_beside_itself() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    copy_programs(&scratch);
    // svscan is started by a path that is relative to the directory in which it is started, not to the one into which
    // it changes.
    let svscan =
        svscan_after(&scratch, &format!("{WITHOUT_PROC}\ncd bin; exec env -i SCRATCH=$SCRATCH ./svscan ../{SCANNED}"));
    a.up();
    let program = fs::read_link(format!("/proc/{}/exe", supervise_of(&a))).expect("its program");
    assert_eq!(program, scratch.path().join("bin/supervise"));
    assert_eq!(svscan.complaints(), "");
}

#[test]
fn without_dev_null_it_says_so_and_goes_on() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000").script("log/run", "exec cat >>lines");
    let mut svscan = svscan_after(&scratch, "mount -t tmpfs none /dev || exit 99");
    a.up();
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    let said = "svscan: warning: unable to open /dev/null: file does not exist\n";
    assert_eq!(svscan.errors().matches(said).count(), 1, "{}", svscan.errors());
}

#[test]
fn without_descriptors_for_processes_it_has_the_supervises_of_a_killed_svscan() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    let first = svscan(&scratch);
    let (pid, supervise) = (a.up(), supervise_of(&a));
    first.kill();
    let mut command = scratch.command("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=pidfd_open", "-e", "inject=pidfd_open:error=ENOSYS", "-I3"]);
    let mut second = Daemon::start(command.arg(scratch.programs().join("svscan")).arg(SCANNED), &scratch);
    service(&scratch, "late", "exec sleep 1000").up();
    assert_eq!((a.up(), supervise_of(&a)), (pid, supervise));
    kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill the supervise");
    wait_until("it has another", || a.is_supervised() && supervise_of(&a) != supervise);
    assert_eq!(a.up(), pid);
    for svscan in children_of(second.pid()) {
        kill(Pid::from_raw(svscan), Signal::SIGTERM).expect("tell it to stop");
    }
    assert_eq!(second.wait(), 0, "{}", second.errors());
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
}

/// The svscan that is executed anew stops this service with all others.
#[test]
fn without_descriptors_for_processes_a_service_without_an_entry_is_known_after_an_upgrade() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let a = Service::new(&scratch, "etc/a", "exec sleep 1000");
    let entry = scratch.path().join(SCANNED).join("a");
    scratch.dir(SCANNED);
    symlink("../etc/a", &entry).expect("link it");
    let mut command = scratch.command("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=pidfd_open", "-e", "inject=pidfd_open:error=ENOSYS", "-I3"]);
    let mut strace = Daemon::start(command.arg(scratch.programs().join("svscan")).arg(SCANNED), &scratch);
    let pid = a.up();
    let tell = |signal| {
        for svscan in children_of(strace.pid()) {
            kill(Pid::from_raw(svscan), signal).expect("send it a signal");
        }
    };
    fs::remove_file(&entry).expect("remove the entry");
    service(&scratch, "late", "exec sleep 1000").up();
    tell(Signal::SIGUSR2);
    wait_until("it is executed anew", || strace.errors().contains("executed anew: version"));
    service(&scratch, "later", "exec sleep 1000").up();
    assert_eq!((a.up(), a.is_supervised()), (pid, true));
    tell(Signal::SIGTERM);
    assert_eq!(strace.wait(), 0, "{}", strace.errors());
    assert!(!is_alive(pid), "{}", strace.errors());
    assert_eq!(processes_in(scratch.path()), []);
}

/// The kernel is older than Linux 5.9, or a filter does not know the call.
#[test]
fn without_a_call_that_closes_many_descriptors_no_child_keeps_what_is_svscans() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    scratch.file(format!("{SCANNED}/.svscan/forward"), "");
    let mut command = scratch.command("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=close_range", "-I3"]);
    command.args(["-e", "inject=close_range:error=ENOSYS"]).arg(scratch.programs().join("svscan")).arg(SCANNED);
    let strace = Daemon::start(&mut command, &scratch);
    let pid = a.up();
    let first = children_of(strace.pid());
    // The process that forwards lines outlives svscan.
    let forwarder = || first.iter().copied().find_map(forwarder);
    wait_until("lines are forwarded", || forwarder().is_some());
    first.iter().for_each(|svscan| kill(Pid::from_raw(*svscan), Signal::SIGKILL).expect("kill svscan"));
    let mut second = svscan(&scratch);
    service(&scratch, "late", "exec sleep 1000").up();
    assert_eq!(a.up(), pid);
    stops(&mut second);
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
}

/// An upgrade removes svscan's own `supervise`, and PATH leads to another program of that name.
#[test]
fn a_supervise_of_another_make_is_given_nothing_of_svscans() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    copy_programs(&scratch);
    let told = scratch.path().join("told").display().to_string();
    // The shell reads the state of its own signals itself, because it blocks all signals while it starts a program.
    let other = format!(
        "#!/bin/sh\nexec >'{told}'; while read -r line; do echo $line; done </proc/$$/status; ls -l /proc/$$/fd; env
        echo end; exec sleep 1000\n"
    );
    scratch.script("others/supervise", &other);
    let mut command = scratch.command(scratch.path().join("bin/svscan").to_str().expect("a plain path"));
    command.arg(SCANNED).env("PATH", format!("{}:/usr/bin:/bin", scratch.path().join("others").display()));
    let _svscan = Daemon::start(&mut command, &scratch);
    a.up();
    fs::remove_file(scratch.path().join("bin/supervise")).expect("remove it");
    service(&scratch, "b", "exec sleep 1000");
    let told = || fs::read_to_string(&told).unwrap_or_default();
    wait_until("the other one is started", || told().ends_with("end\n"));
    assert!(told().contains("SigBlk: 0000000000000000\n"), "{}", told());
    assert!(!told().contains("SVSCAN_") && !told().contains("memfd"), "{}", told());
}

/// Runs these lines of shell in a pid namespace of its own, while `/proc` still belongs to the namespace around it.
/// There, process 2 has the children 3 to 10. So the numbers in `/proc` are those of other processes.
fn misled(scratch: &Scratch, lines: &str) -> Daemon {
    let around = "sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait' &\n\
        exec unshare --pid --fork --kill-child sh -c \"$LINES\"";
    let mut command = scratch.command("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", around]).env("LINES", lines);
    Daemon::start(&mut command, scratch)
}

#[test]
fn with_the_proc_of_another_namespace_no_other_process_is_signalled() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let (a, b) = (Service::new(&scratch, "a", "exec sleep 1000"), Service::new(&scratch, "b", "exec sleep 1000"));
    let a = a.file("kill-scope", "tree");
    let _shell = misled(&scratch, "supervise a & supervise b & wait");
    let (_, pid) = (a.up(), b.up());
    assert_eq!(supervise_of(&a).min(supervise_of(&b)), 2, "supervise has the number of a process with children");
    a.svc("-d");
    a.wait_down();
    b.svc("-t");
    b.another(pid);
    assert!(b.is_supervised());
}

#[test]
fn with_the_proc_of_another_namespace_the_next_svscan_has_the_supervises_of_a_killed_one() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    let mut shell = misled(&scratch, &format!("svscan {SCANNED}; svscan {SCANNED}; echo $? >ended"));
    let (pid, supervise) = (a.up(), supervise_of(&a));
    let svscan = || {
        let all = processes_in(&scratch.path().join(SCANNED));
        all.into_iter().find(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "svscan\n"))
    };
    let first = svscan().expect("it runs");
    kill(Pid::from_raw(first), Signal::SIGKILL).expect("kill it");
    wait_until("there is another one", || svscan().is_some_and(|next| next != first));
    service(&scratch, "late", "exec sleep 1000").up();
    assert_eq!((a.up(), supervise_of(&a)), (pid, supervise));
    kill(Pid::from_raw(svscan().expect("it runs")), Signal::SIGTERM).expect("tell it to stop");
    shell.wait();
    assert_eq!(fs::read_to_string(scratch.path().join("ended")).unwrap_or_default(), "0\n", "{}", shell.errors());
    assert!(!shell.errors().contains("unable"), "{}", shell.errors());
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
}
