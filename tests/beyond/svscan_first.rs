//! svscan as the first process of a container, and with no more than containers have.

use crate::svscan::{SCANNED, service};
use nix::sys::signal::Signal;
use std::fs;
use std::process::Command;
use tests::{Daemon, Scratch, has, is_alive, is_root, parent_of, processes_in, skip, wait_until};

/// In a PID namespace of its own, as number 1.
fn first_process(scratch: &Scratch, more: &[&str]) -> Daemon {
    let program = scratch.command("svscan").get_program().to_os_string();
    let mut command = scratch.command("unshare");
    command.args(["--pid", "--fork", "--kill-child"]).args(more).arg(program).arg(SCANNED);
    Daemon::start(&mut command, scratch)
}

/// Its number here.
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
        // Its grandchild is nobody's child once the shell between them has ended.
        let run = "sh -c 'sh -c \"echo \\$\\$ >stranger; exec sleep 0.05\" &'; exec sleep 1000";
        let a = service(&scratch, "a", run);
        let mut unshare = first_process(&scratch, &["--mount-proc"]);
        a.lines("stranger", 1);
        let init = number(&scratch, &unshare);
        let children = || fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap_or_default();
        // The supervise is left, and no zombie.
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
    // In the place of svscan, so that it may end the machine.
    assert!(said().ends_with("\n1 .svscan/finish 0\n"), "{}", said());
}

/// The kernel refuses what svscan cannot do without.
#[test]
fn after_a_failure_the_first_process_becomes_the_script_for_that() {
    if !possible() || !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    scratch.script(format!("{SCANNED}/.svscan/crash"), "#!/bin/sh\necho $$ $0 $1 >.svscan/said; exit 9\n");
    let program = scratch.command("svscan").get_program().to_os_string();
    let mut command = scratch.command("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=poll:error=ENOMEM:when=9", "unshare"]);
    command.args(["--pid", "--fork", "--kill-child"]).arg(program).arg(SCANNED);
    let mut unshare = Daemon::start(&mut command, &scratch);
    a.up();
    wait_until("it has failed", || {
        // Each is a reason to poll again.
        service(&scratch, &format!("more{}", scratch.next()), "exec sleep 1000");
        unshare.errors().contains("svscan: fatal: unable to poll: out of memory\n")
    });
    assert_eq!(unshare.wait(), 9);
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

/// As containers are run: by an arbitrary user, where nothing but the service's own directory may be written.
#[test]
fn it_needs_no_rights_and_no_writable_directory() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    for name in [SCANNED, &format!("{SCANNED}/a")] {
        scratch.mode(name, if name == SCANNED { 0o555 } else { 0o777 });
    }
    scratch.without_rights("supervise");
    let mut command = scratch.without_rights("svscan");
    let mut svscan = Daemon::start(command.arg(SCANNED), &scratch);
    a.up();
    if !is_root() {
        scratch.mode(SCANNED, 0o755);
    }
    svscan.signal(Signal::SIGTERM);
    assert_eq!((svscan.wait(), svscan.errors().contains("unable")), (0, false), "{}", svscan.errors());
}

/// A root that cannot be written, nor can /run, and a user without any capability, nor the hope of one; only where
/// supervise keeps what it knows can be written.
#[test]
fn it_needs_no_capability_and_no_writable_root() {
    if !possible() || !has("setpriv") {
        return;
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    scratch.dir(format!("{SCANNED}/a/supervise"));
    for name in ["svscan", "supervise"] {
        scratch.without_rights(name);
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

/// In a user namespace, where root is nobody in particular.
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
