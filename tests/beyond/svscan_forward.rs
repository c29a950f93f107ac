//! svscan writes the lines of services without a logger to its standard output, with their names in front.

use crate::svscan::{COUNT, SCANNED, service, supervise_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use tests::{Daemon, Scratch, Service, is_alive, parent_of, processes_in, wait_until};

pub fn svscan(scratch: &Scratch) -> Daemon {
    let output = File::options().append(true).create(true).open(scratch.path().join("output")).expect("a file");
    svscan_to(scratch, output)
}

fn svscan_to(scratch: &Scratch, output: impl Into<Stdio>) -> Daemon {
    scratch.file(format!("{SCANNED}/.svscan/forward"), "");
    Daemon::start(scratch.command("svscan").arg(SCANNED).stdout(output), scratch)
}

fn output(scratch: &Scratch) -> String {
    fs::read_to_string(scratch.path().join("output")).unwrap_or_default()
}

/// The lines of a service.
pub fn lines(scratch: &Scratch, name: &str) -> Vec<String> {
    let prefix = format!("{name}: ");
    output(scratch).lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_string).collect()
}

/// The process that forwards lines: a child of svscan that runs the same program.
pub fn forwarder(svscan: i32) -> Option<i32> {
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
    // The lines of a service that is added later are forwarded too.
    let long = "x".repeat(100_000);
    let c = service(&scratch, "c", &format!("echo {long}; echo >ready; exec sleep 1000"));
    c.lines("ready", 1);
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    assert_eq!(lines(&scratch, "a"), ["one", "two", "", "end"]);
    // A line is cut where the pipe can hold no more of it.
    let pieces = lines(&scratch, "c");
    assert_eq!((pieces.concat(), pieces.len()), (long, 2));
    assert_eq!(lines(&scratch, "b"), [""; 0]);
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
    assert!(!svscan.errors().contains("unable"), "{}", svscan.errors());
}

#[test]
fn no_line_is_lost_or_torn_when_any_of_the_processes_is_killed() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", COUNT);
    let first = svscan(&scratch);
    let pid = a.up();
    let more = || {
        let before = lines(&scratch, "a").len();
        wait_until("there are more lines", || lines(&scratch, "a").len() > before + 30);
    };
    more();
    let old = forwarder(first.pid()).expect("a forwarder");
    kill(Pid::from_raw(old), Signal::SIGKILL).expect("kill the forwarder");
    wait_until("there is another", || forwarder(first.pid()).is_some_and(|pid| pid != old));
    more();
    first.kill();
    more();
    let mut second = svscan(&scratch);
    wait_until("it has a forwarder of its own", || forwarder(second.pid()).is_some());
    more();
    // The supervise is killed too.
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
    // A forwarder that was killed may have written some lines that the next one wrote again.
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
}

/// A service that writes a last line after its pipe was full, and one more service, whose arrival replaces the
/// forwarder.
fn chatty(scratch: &Scratch) -> Service<'_> {
    service(scratch, "quiet", "exec sleep 1000");
    let line = "x".repeat(100);
    service(scratch, "chatty", &format!("trap 'echo end; exit' TERM; while :; do echo {line}; echo >>said; done"))
}

/// Waits until the service cannot write any more.
fn is_stuck(chatty: &Service) {
    chatty.up();
    let (mut before, mut quiet) = (0, 0);
    wait_until("its pipe is full", || {
        let said = chatty.says("said").len();
        quiet = if said == before { quiet + 1 } else { 0 };
        before = said;
        said > 0 && quiet > 100
    });
}

/// The command `svscan | head -2` does this.
#[test]
fn without_a_reader_a_stop_drops_what_cannot_be_read_any_more() {
    let scratch = Scratch::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let chatty = chatty(&scratch);
    let mut svscan = svscan_to(&scratch, writer);
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).expect("a line");
    assert!(line.starts_with("chatty: xxx"), "{line}");
    wait_until("it is said", || svscan.errors().contains("unable to forward lines: broken pipe\n"));
    is_stuck(&chatty);
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    let said = svscan.errors();
    let dropped = said.lines().find(|line| line.starts_with("svscan: warning: dropped ")).expect("what is dropped");
    assert!(dropped.ends_with(" bytes of services' lines: nobody reads standard output"), "{dropped}");
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
}

#[test]
fn a_reader_that_does_not_read_holds_up_no_stop_for_long() {
    let scratch = Scratch::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let chatty = chatty(&scratch);
    let mut svscan = svscan_to(&scratch, writer);
    is_stuck(&chatty);
    let pid = chatty.up();
    svscan.signal(Signal::SIGTERM);
    // A service that cannot write its last line is ended by its own `timeout-kill`. This one has none.
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill it");
    assert_eq!(svscan.wait(), 0);
    assert!(!is_alive(pid) && svscan.errors().contains("svscan: warning: dropped "), "{}", svscan.errors());
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
    drop(reader);
}

/// All services are down. The process that forwards their last lines is killed while the pipe still contains some.
#[test]
fn a_forwarder_that_is_killed_at_the_very_end_costs_no_line() {
    let scratch = Scratch::new();
    let a =
        service(&scratch, "a", "trap 'echo last; exit' TERM; echo first; echo >ready; while :; do sleep 0.01; done");
    let mut svscan = svscan(&scratch);
    a.lines("ready", 1);
    wait_until("it is heard", || lines(&scratch, "a") == ["first"]);
    let before = forwarder(svscan.pid()).expect("a forwarder");
    kill(Pid::from_raw(before), Signal::SIGSTOP).expect("stop the forwarder");
    svscan.signal(Signal::SIGTERM);
    wait_until("svscan has told it to write all there is", || {
        let status = fs::read_to_string(format!("/proc/{before}/status")).expect("its status");
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:\t")).expect("its signals");
        u64::from_str_radix(pending, 16).expect("a number") >> (Signal::SIGINT as i32 - 1) & 1 == 1
    });
    kill(Pid::from_raw(before), Signal::SIGKILL).expect("kill the forwarder");
    assert_eq!(svscan.wait(), 0);
    assert_eq!(lines(&scratch, "a"), ["first", "last"], "{}", svscan.errors());
    assert!(!svscan.errors().contains("dropped"), "{}", svscan.errors());
}

/// The line is too long to be written at once, and the reader has read a part of it.
#[test]
fn a_reader_that_stops_within_a_line_holds_up_no_next_svscan() {
    let scratch = Scratch::new();
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let long = "head -c 200000 /dev/zero | tr '\\0' x; echo; echo >said; exec sleep 1000";
    let line = service(&scratch, "long", long);
    let first = svscan_to(&scratch, writer);
    line.up();
    let mut begun = [0; 100];
    std::io::Read::read_exact(&mut reader, &mut begun).expect("the beginning of the line");
    assert!(begun.starts_with(b"long: xxx"));
    let before = forwarder(first.pid()).expect("its forwarder");
    first.kill();
    let mut next = svscan(&scratch);
    wait_until("the next one forwards", || forwarder(next.pid()).is_some() && !is_alive(before));
    let written = || lines(&scratch, "long").iter().map(String::len).sum::<usize>();
    line.lines("said", 1);
    wait_until("the line is written", || written() >= 50_000);
    next.signal(Signal::SIGTERM);
    assert_eq!(next.wait(), 0, "{}", next.errors());
    drop(reader);
}
