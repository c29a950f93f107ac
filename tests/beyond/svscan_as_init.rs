//! svscan as the first process of a container, with only what containers have.

use crate::svscan::{SCANNED, service};
use nix::sys::signal::Signal;
use std::fs;
use std::process::Command;
use tests::{Daemon, Scratch, has, is_alive, is_root, parent_of, processes_in, skip, wait_until};

/// Starts svscan in a PID namespace of its own, as process 1.
fn first_process(scratch: &Scratch, more: &[&str]) -> Daemon {
    let program = scratch.command("svscan").get_program().to_os_string();
    let mut command = scratch.command("unshare");
    command.args(["--pid", "--fork", "--kill-child"]).args(more).arg(program).arg(SCANNED);
    Daemon::start(&mut command, scratch)
}

/// The number of svscan in the test's own namespace.
fn number(scratch: &Scratch, unshare: &Daemon) -> i32 {
    let is_it = |pid: &i32| {
        parent_of(*pid) == Some(unshare.pid())
            && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "svscan\n")
    };
    let find = || processes_in(&scratch.path().join(SCANNED)).into_iter().find(is_it);
    wait_until("svscan runs", || find().is_some());
    find().expect("svscan")
}

pub fn send(scratch: &Scratch, number: i32, pid: i32) {
    let outcome = scratch.outcome_of(scratch.command("kill").args([format!("-{number}"), pid.to_string()]));
    assert_eq!(outcome.code, 0, "{outcome:?}");
}

fn possible() -> bool {
    if !is_root() {
        skip("only root makes PID namespaces");
    }
    is_root()
}

#[test]
fn as_the_first_process_it_reaps_strangers_and_stops_on_every_signal_that_says_so() {
    if !possible() {
        return;
    }
    let signals = [Signal::SIGTERM as i32, Signal::SIGINT as i32, Signal::SIGPWR as i32, nix::libc::SIGRTMIN() + 3];
    for signal in signals {
        let scratch = Scratch::new();
        // When the shell between them has ended, the grandchild of `run` is an orphan.
        let run = "sh -c 'sh -c \"echo \\$\\$ >stranger; exec sleep 0.05\" &'; exec sleep 1000";
        let a = service(&scratch, "a", run);
        let mut unshare = first_process(&scratch, &["--mount-proc"]);
        a.lines("stranger", 1);
        let init = number(&scratch, &unshare);
        let children = || fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap_or_default();
        // Only the supervise is left as a child, and no zombie.
        wait_until("the stranger is reaped", || children().split_whitespace().count() == 1);
        send(&scratch, signal, init);
        assert_eq!(unshare.wait(), 0, "{signal}: {}", unshare.errors());
        assert_eq!(unshare.errors(), "svscan: stopping a\nsvscan: a is down\n");
    }
}

#[test]
fn as_the_first_process_it_runs_scripts_instead_and_one_at_the_end() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    for name in ["SIGPWR", "SIGRTMIN+3", "SIGHUP", "finish"] {
        scratch.script(format!("{SCANNED}/.svscan/{name}"), "#!/bin/sh\necho $$ $0 $1 >>.svscan/said\n");
    }
    let said = || fs::read_to_string(scratch.path().join(SCANNED).join(".svscan/said")).unwrap_or_default();
    let mut unshare = first_process(&scratch, &["--mount-proc"]);
    a.up();
    let init = number(&scratch, &unshare);
    let signals = [("SIGPWR", Signal::SIGPWR as i32), ("SIGRTMIN+3", nix::libc::SIGRTMIN() + 3), ("SIGHUP", 1)];
    for (name, signal) in signals {
        send(&scratch, signal, init);
        wait_until("the script has run", || said().contains(&format!(" .svscan/{name} {name}\n")));
    }
    assert!(!unshare.has_ended());
    send(&scratch, Signal::SIGTERM as i32, init);
    assert_eq!(unshare.wait(), 0);
    // The script takes the place of svscan, so that it can shut the machine down.
    assert!(said().ends_with("\n1 .svscan/finish 0\n"), "{}", said());
}

/// The kernel refuses something that svscan cannot do without.
#[test]
fn after_a_failure_the_first_process_becomes_the_script_for_that() {
    if !possible() || !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    scratch.script(format!("{SCANNED}/.svscan/crash"), "#!/bin/sh\necho $$ $0 $1 >.svscan/said; exit 9\n");
    let program = scratch.command("svscan").get_program().to_os_string();
    let mut command = scratch.command("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=epoll_create1:error=ENOMEM:when=1", "unshare"]);
    command.args(["--pid", "--fork", "--kill-child"]).arg(program).arg(SCANNED);
    let mut unshare = Daemon::start(&mut command, &scratch);
    assert_eq!(unshare.wait(), 9);
    assert_eq!(unshare.errors(), "svscan: fatal: unable to start: out of memory\n");
    let said = fs::read_to_string(scratch.path().join(SCANNED).join(".svscan/said"));
    assert_eq!(said.expect("what the script said"), "1 .svscan/crash 111\n");
}

#[test]
fn without_proc_services_are_started_restarted_and_stopped() {
    if !possible() {
        return;
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "trap 'echo end; exit' TERM; echo line; while :; do sleep 0.01; done");
    scratch.dir(format!("{SCANNED}/a/log"));
    scratch.script(format!("{SCANNED}/a/log/run"), "#!/bin/sh\nexec cat >>lines\n");
    let hidden = "mount -t tmpfs none /proc && exec \"$0\" \"$@\"";
    let mut unshare = first_process(&scratch, &["--mount", "/bin/sh", "-c", hidden]);
    a.lines("log/lines", 1);
    a.svc("-t");
    a.lines("log/lines", 3);
    let number = number(&scratch, &unshare);
    send(&scratch, Signal::SIGTERM as i32, number);
    assert_eq!(unshare.wait(), 0, "{}", unshare.errors());
    assert_eq!(a.lines("log/lines", 4), ["line", "end", "line", "end"]);
    assert!(!unshare.errors().contains("unable"), "{}", unshare.errors());
}

/// Containers are often run like this: by an arbitrary account, which may write only to the service's own directory.
#[test]
fn it_needs_no_rights_and_no_writable_directory() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    for name in [SCANNED, &format!("{SCANNED}/a")] {
        scratch.mode(name, if name == SCANNED { 0o555 } else { 0o777 });
    }
    scratch.as_nobody("supervise");
    let mut command = scratch.as_nobody("svscan");
    let mut svscan = Daemon::start(command.arg(SCANNED), &scratch);
    a.up();
    if !is_root() {
        scratch.mode(SCANNED, 0o755);
    }
    svscan.signal(Signal::SIGTERM);
    assert_eq!((svscan.wait(), svscan.errors().contains("unable")), (0, false), "{}", svscan.errors());
}

/// The root directory and /run are read-only, and the account has no capability and cannot gain any. Only the directory
/// in which supervise keeps its files is writable.
#[test]
fn it_needs_no_capability_and_no_writable_root() {
    if !possible() || !has("setpriv") {
        return;
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    scratch.dir(format!("{SCANNED}/a/supervise"));
    for name in ["svscan", "supervise"] {
        scratch.as_nobody(name);
    }
    let supervise = a.path("supervise");
    let script = "mount --make-rprivate / && mount -t tmpfs -o mode=777 none \"$1\" && mount -o remount,bind,ro / || exit
        ! touch here 2>/dev/null || exit
        exec setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all --inh-caps -all --no-new-privs \"$0\" services";
    let mut command: Command = scratch.command("unshare");
    command.args(["--mount", "/bin/sh", "-c", script]).arg(scratch.path().join("svscan")).arg(&supervise);
    let mut svscan = Daemon::start(&mut command, &scratch);
    let status = || fs::read_to_string(format!("/proc/{}/status", svscan.pid())).unwrap_or_default();
    let service_runs = || {
        processes_in(&a.path(""))
            .into_iter()
            .any(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n"))
    };
    wait_until("the service runs", service_runs);
    for words in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "Uid:\t65534\t65534\t65534\t65534"] {
        assert!(status().contains(words), "{words}: {}", status());
    }
    svscan.signal(Signal::SIGTERM);
    assert_eq!((svscan.wait(), svscan.errors().contains("unable")), (0, false), "{}", svscan.errors());
}

/// In a user namespace, root has no rights outside.
#[test]
fn it_runs_as_root_of_a_user_namespace() {
    let scratch = Scratch::new();
    let program = scratch.command("svscan").get_program().to_os_string();
    let try_it = scratch.outcome_of(scratch.command("unshare").args(["-Ur", "true"]));
    if try_it.code != 0 {
        return skip("no user namespaces here");
    }
    let a = service(&scratch, "a", "exec sleep 1000");
    let mut command = scratch.command("unshare");
    let mut svscan = Daemon::start(command.arg("-Ur").arg(program).arg(SCANNED), &scratch);
    let pid = a.up();
    svscan.signal(Signal::SIGTERM);
    assert_eq!((svscan.wait(), is_alive(pid)), (0, false), "{}", svscan.errors());
}
