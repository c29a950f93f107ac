//! The lines of services without a logger on svscan's standard output, their names in front.

use crate::svscan::{COUNT, SCANNED, service, supervise_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use tests::{Daemon, Scratch, parent_of, processes_in, wait_until};

fn svscan(scratch: &Scratch) -> Daemon {
    scratch.file(format!("{SCANNED}/.svscan/forward"), "");
    let output = File::options().append(true).create(true).open(scratch.path().join("output")).expect("a file");
    Daemon::start(scratch.command("svscan").arg(SCANNED).stdout(output), scratch)
}

fn output(scratch: &Scratch) -> String {
    fs::read_to_string(scratch.path().join("output")).unwrap_or_default()
}

/// What a service said.
fn lines(scratch: &Scratch, name: &str) -> Vec<String> {
    let prefix = format!("{name}: ");
    output(scratch).lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_string).collect()
}

/// The process that forwards: svscan's child of the same program.
fn helper(svscan: i32) -> Option<i32> {
    let own = fs::read_link(format!("/proc/{svscan}/exe")).ok()?;
    let children = fs::read_to_string(format!("/proc/{svscan}/task/{svscan}/children")).ok()?;
    let mut children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    children.find(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == own))
}

#[test]
fn lines_are_forwarded_with_names_and_loggers_keep_theirs() {
    let scratch = Scratch::new();
    service(
        &scratch,
        "a",
        "echo one; printf 't'; sleep 0.05; printf 'wo\\n\\n'; trap 'printf end; exit' TERM; echo >ready
        while :; do sleep 0.01; done",
    );
    let b = service(&scratch, "b", "echo kept; exec sleep 1000");
    scratch.dir(format!("{SCANNED}/b/log"));
    scratch.script(format!("{SCANNED}/b/log/run"), "#!/bin/sh\nexec cat >>lines\n");
    let mut svscan = svscan(&scratch);
    b.lines("log/lines", 1);
    wait_until("a has spoken", || lines(&scratch, "a") == ["one", "two", ""]);
    // One that comes later is heard as well.
    let long = "x".repeat(100_000);
    let c = service(&scratch, "c", &format!("echo {long}; echo >ready; exec sleep 1000"));
    c.lines("ready", 1);
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    assert_eq!(lines(&scratch, "a"), ["one", "two", "", "end"]);
    // Cut where a pipe can hold no more of it.
    let pieces = lines(&scratch, "c");
    assert_eq!((pieces.concat(), pieces.len()), (long, 2));
    assert_eq!(lines(&scratch, "b"), [""; 0]);
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
    assert!(!svscan.errors().contains("unable"), "{}", svscan.errors());
}

#[test]
fn whoever_is_killed_no_line_is_lost_or_torn() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", COUNT);
    let first = svscan(&scratch);
    let pid = a.up();
    let more = || {
        let before = lines(&scratch, "a").len();
        wait_until("there are more lines", || lines(&scratch, "a").len() > before + 30);
    };
    more();
    let old = helper(first.pid()).expect("a helper");
    kill(Pid::from_raw(old), Signal::SIGKILL).expect("kill the helper");
    wait_until("there is another", || helper(first.pid()).is_some_and(|pid| pid != old));
    more();
    first.kill();
    more();
    let mut second = svscan(&scratch);
    wait_until("it has a helper of its own", || helper(second.pid()).is_some());
    more();
    // And without its supervise.
    let supervise = supervise_of(&a);
    kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill supervise");
    wait_until("there is another", || supervise_of(&a) != supervise);
    more();
    second.signal(Signal::SIGUSR2);
    more();
    assert_eq!((a.up(), parent_of(supervise_of(&a))), (pid, Some(second.pid())));
    second.signal(Signal::SIGTERM);
    assert_eq!(second.wait(), 0);
    let mut lines = lines(&scratch, "a");
    assert_eq!(lines.pop().as_deref(), Some("end"));
    assert_eq!(output(&scratch).lines().count(), lines.len() + 1, "no line without its name");
    let mut numbers: Vec<usize> = lines.iter().map(|line| line.parse().expect("a whole line")).collect();
    // The helper that was killed may have written some lines that the next one wrote again.
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
}
