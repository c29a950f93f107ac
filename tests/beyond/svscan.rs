//! svscan beyond the original: the death of one program takes no other with it, changes are noticed at once, and
//! problems are reported once.

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use tests::{Daemon, Scratch, Service, children_of, has, is_alive, parent_of, processes_in, wait_until};

/// The scan directory, in the scratch directory.
pub const SCANNED: &str = "services";

pub fn svscan(scratch: &Scratch) -> Daemon {
    scratch.dir(SCANNED);
    // A test that runs in the background has SIGINT ignored, which svscan would inherit.
    Daemon::start(scratch.command("env").args(["--default-signal=INT", "svscan", SCANNED]), scratch)
}

/// A service in the scan directory.
pub fn service<'a>(scratch: &'a Scratch, name: &str, run: &str) -> Service<'a> {
    Service::new(scratch, &format!("{SCANNED}/{name}"), run)
}

/// A service with a logger that keeps the lines in a file `lines` of its own.
fn logged<'a>(scratch: &'a Scratch, name: &str, run: &str) -> Service<'a> {
    scratch.dir(format!("{SCANNED}/{name}/log"));
    scratch.script(format!("{SCANNED}/{name}/log/run"), "#!/bin/sh\nexec cat >>lines\n");
    service(scratch, name, run)
}

/// A `run` that writes numbered lines until it is told to end, and then a last one.
pub const COUNT: &str = "trap 'echo end; exit' TERM; i=0; while sleep 0.002; do echo $i; i=$((i+1)); done";

pub fn supervise_of(service: &Service) -> i32 {
    let state = service.state("supervise");
    state.first().and_then(|line| line.split(' ').next()?.parse().ok()).expect("a supervise in the state")
}

/// Sends a signal. A process that is killed has ended when this returns: until then it may still read a line, which is lost
/// with it.
fn terminate(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("send a signal");
    wait_until("it is dead", || signal != Signal::SIGKILL || !is_alive(pid));
}

#[test]
fn a_killed_svscan_is_replaced_and_no_service_notices() {
    let scratch = Scratch::new();
    let (a, b) = (service(&scratch, "a", "exec sleep 1000"), logged(&scratch, "b", COUNT));
    let first = svscan(&scratch);
    let pids = [a.up(), b.up()];
    let supervises = [supervise_of(&a), supervise_of(&b)];
    let before = b.lines("log/lines", 10).len();
    first.kill();
    let mut second = svscan(&scratch);
    b.lines("log/lines", before + 100);
    assert_eq!((pids, supervises), ([a.up(), b.up()], [supervise_of(&a), supervise_of(&b)]));
    // The new svscan keeps both supervises, and the pipe too.
    for supervise in supervises {
        terminate(supervise, Signal::SIGKILL);
    }
    wait_until("both have a new supervise", || {
        [&a, &b].iter().zip(supervises).all(|(service, old)| service.is_supervised() && supervise_of(service) != old)
    });
    assert_eq!(pids, [a.up(), b.up()]);
    assert_eq!(parent_of(supervise_of(&a)), Some(second.pid()));
    second.signal(Signal::SIGTERM);
    assert_eq!(second.wait(), 0);
    let lines = b.lines("log/lines", 100);
    let expected = (0..lines.len() - 1).map(|number| number.to_string()).chain(["end".into()]);
    assert_eq!(lines, expected.collect::<Vec<_>>(), "every line, once");
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
    assert!(!second.errors().contains("unable"), "{}", second.errors());
}

#[test]
fn the_bytes_in_a_pipe_outlive_svscan_and_both_supervises_one_after_another() {
    let scratch = Scratch::new();
    let a = logged(&scratch, "a", "echo kept; echo >>said; exec sleep 1000");
    scratch.file(format!("{SCANNED}/a/log/down"), "");
    let first = svscan(&scratch);
    let pid = a.up();
    a.lines("said", 1);
    first.kill();
    let second = svscan(&scratch);
    let old = supervise_of(&a);
    terminate(old, Signal::SIGKILL);
    wait_until("there is a new supervise", || a.is_supervised() && supervise_of(&a) != old);
    assert_eq!(a.up(), pid);
    Service::at(&scratch, &format!("{}/log", a.name())).svc_when_supervised("-u");
    assert_eq!(a.lines("log/lines", 1), ["kept"]);
    drop(second);
}

/// The logger does not run, so that only svscan and the two supervises have the pipe.
#[test]
fn a_supervise_that_exits_while_svscan_and_the_loggers_supervise_are_dead_costs_no_line() {
    let scratch = Scratch::new();
    let a = logged(&scratch, "a", "echo $$; echo >>said; exec sleep 1000");
    scratch.file(format!("{SCANNED}/a/log/down"), "");
    let log = Service::new(&scratch, &format!("{SCANNED}/a/log"), "exec cat >>lines");
    let first = svscan(&scratch);
    let pid = a.up();
    a.lines("said", 1);
    wait_until("the logger has a supervise", || log.is_supervised());
    let supervise = supervise_of(&a);
    first.kill();
    terminate(supervise_of(&log), Signal::SIGKILL);
    a.control(b"dx");
    let is_down = || !is_alive(pid) && a.state("pid").is_empty();
    wait_until("the service is down", || is_down() && a.says("supervise/state").contains("leaving"));
    let second = svscan(&scratch);
    wait_until("its supervise has ended", || !is_alive(supervise));
    log.svc_when_supervised("-u");
    assert_eq!(log.lines("lines", 1).first(), Some(&pid.to_string()));
    drop(second);
}

#[test]
fn with_all_of_ours_dead_a_service_writes_on_and_no_line_is_lost() {
    let scratch = Scratch::new();
    let count = "trap 'echo end; exit' TERM; i=0; while sleep 0.002; do echo $i; i=$((i+1)); echo $i >>written; done";
    let a = logged(&scratch, "a", count);
    let log = Service::new(&scratch, &format!("{SCANNED}/a/log"), "exec multilog ./main");
    let first = svscan(&scratch);
    let before = log.lines("main/current", 10).len();
    let (pid, multilog) = (a.up(), log.up());
    let supervises = [supervise_of(&a), supervise_of(&log)];
    first.kill();
    for pid in supervises.into_iter().chain([multilog]) {
        terminate(pid, Signal::SIGKILL);
    }
    let alone = a.lines("written", before).len();
    a.lines("written", alone + 20);
    let mut second = svscan(&scratch);
    log.lines("main/current", alone + 50);
    assert_eq!(a.up(), pid);
    second.signal(Signal::SIGTERM);
    assert_eq!(second.wait(), 0);
    let lines = log.lines("main/current", alone + 50);
    let expected = (0..lines.len() - 1).map(|number| number.to_string()).chain(["end".into()]);
    assert_eq!(lines, expected.collect::<Vec<_>>(), "every line, once");
}

/// In this case the standard output of the recorded process is the pipe to the filter.
#[test]
fn the_pipe_of_a_service_that_sends_its_lines_through_a_filter_is_not_the_filters() {
    if !has("bash") {
        return;
    }
    let scratch = Scratch::new();
    let run = "exec bash -c 'exec > >(exec sed -u s/^/x/); while sleep 0.002; do echo; done'";
    let a = logged(&scratch, "a", run);
    let first = svscan(&scratch);
    a.lines("log/lines", 3);
    let (pid, old) = (a.up(), supervise_of(&a));
    first.kill();
    terminate(old, Signal::SIGKILL);
    let _second = svscan(&scratch);
    wait_until("there is a new supervise", || a.is_supervised() && supervise_of(&a) != old);
    let log = Service::at(&scratch, &format!("{SCANNED}/a/log"));
    terminate(log.up(), Signal::SIGKILL);
    let before = a.lines("log/lines", 3).len();
    let lines = a.lines("log/lines", before + 20);
    assert!(lines.iter().all(|line| line == "x"), "{lines:?}");
    assert_eq!(a.up(), pid);
}

#[test]
fn a_supervise_that_cannot_serve_is_not_started_every_second() {
    let scratch = Scratch::new();
    service(&scratch, "a", "exec sleep 1000").file("supervise", "");
    let svscan = svscan(&scratch);
    let complaints = || svscan.errors().matches("supervise: fatal: ").count();
    wait_until("it complains", || complaints() > 0);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(complaints(), 1, "{}", svscan.errors());
    // svscan has not given up the service: it starts a supervise once that can serve.
    fs::remove_file(scratch.path().join(SCANNED).join("a/supervise")).unwrap();
    Service::at(&scratch, &format!("{SCANNED}/a")).up();
}

#[test]
fn the_exit_of_a_service_whose_supervise_was_killed_is_known() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "trap 'exit 42' TERM; echo >ready; while :; do sleep 0.01; done");
    let _svscan = svscan(&scratch);
    a.lines("ready", 1);
    let pid = a.up();
    let supervise = supervise_of(&a);
    // The supervise must not see the end of the service itself.
    terminate(supervise, Signal::SIGSTOP);
    terminate(pid, Signal::SIGTERM);
    wait_until("the service ends", || !is_alive(pid));
    terminate(supervise, Signal::SIGKILL);
    a.another(pid);
    assert_eq!(a.state("death").len(), 1);
    assert!(a.state("death")[0].ends_with(" exit 42"), "{:?}", a.state("death"));
}

#[test]
fn a_second_svscan_waits_for_the_end_of_the_first() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    let first = svscan(&scratch);
    let pid = a.up();
    let second = svscan(&scratch);
    wait_until("it says that it waits", || second.errors().contains("waiting for its end"));
    first.kill();
    let old = supervise_of(&a);
    terminate(old, Signal::SIGKILL);
    wait_until("it has taken over", || a.is_supervised() && supervise_of(&a) != old);
    assert_eq!((a.up(), parent_of(supervise_of(&a))), (pid, Some(second.pid())));
}

/// It searches for what the first svscan has left when that one has ended, not before.
#[test]
fn an_svscan_that_waited_finds_supervises_that_were_started_meanwhile() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    let first = svscan(&scratch);
    a.up();
    let mut second = svscan(&scratch);
    wait_until("it says that it waits", || second.errors().contains("waiting for its end"));
    let b = service(&scratch, "b", "echo $$ >>starts; exec sleep 1000");
    let pid = b.up();
    // Everything has been written by now.
    wait_until("it is ready", || !b.state("ready").is_empty());
    // The first svscan would have the file made again.
    first.signal(Signal::SIGSTOP);
    assert_eq!(scratch.shell(&format!("rm -r {SCANNED}/b/supervise")).code, 0);
    first.kill();
    wait_until("it is reached again", || b.is_supervised());
    assert_eq!((b.up(), b.lines("starts", 1)), (pid, vec![pid.to_string()]));
    second.signal(Signal::SIGTERM);
    assert_eq!(second.wait(), 0, "{}", second.errors());
    assert_eq!(b.alive("starts"), [0; 0]);
}

#[test]
fn an_svscan_that_waits_for_another_one_ends_when_it_is_told_to() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let scratch = Scratch::new();
        let a = service(&scratch, "a", "exec sleep 1000");
        let first = svscan(&scratch);
        let pid = a.up();
        let mut second = svscan(&scratch);
        wait_until("it says that it waits", || second.errors().contains("waiting for its end"));
        second.signal(signal);
        assert_eq!(second.wait(), 0, "{signal}");
        assert_eq!(children_of(second.pid()), [], "{signal}");
        // The first svscan has not left a process that holds the lock.
        first.kill();
        let third = svscan(&scratch);
        service(&scratch, "late", "exec sleep 1000").up();
        assert_eq!((third.errors(), a.up()), (String::new(), pid), "{signal}");
    }
}

/// Every account that may read the directory can lock it.
#[test]
fn an_account_that_can_only_read_the_directory_cannot_keep_svscan_from_it() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    let directory = fs::File::open(scratch.path().join(SCANNED)).expect("open the directory");
    let _locked = Flock::lock(directory, FlockArg::LockExclusiveNonblock).expect("lock it");
    let svscan = svscan(&scratch);
    a.up();
    assert_eq!(svscan.complaints(), "");
    let lock = scratch.path().join(SCANNED).join(".svscan/lock");
    assert_eq!(fs::metadata(lock).expect("its lock").permissions().mode() & 0o777, 0o600);
}

/// svscan makes its lock only in its own directory.
#[test]
fn a_link_to_another_place_makes_no_lock_there() {
    for (link, to) in [(".svscan", "elsewhere"), (".svscan/lock", "elsewhere/lock")] {
        let scratch = Scratch::new();
        let a = service(&scratch, "a", "exec sleep 1000");
        scratch.dir("elsewhere");
        let path = scratch.path().join(SCANNED).join(link);
        fs::create_dir_all(path.parent().expect("a directory")).expect("make it");
        symlink(scratch.path().join(to), &path).expect("make a link");
        let _svscan = svscan(&scratch);
        a.up();
        assert_eq!(fs::read_dir(scratch.path().join("elsewhere")).expect("read it").count(), 0);
    }
}

#[test]
fn a_directory_made_in_place_is_started_when_it_is_complete() {
    let scratch = Scratch::new();
    let svscan = svscan(&scratch);
    for name in ["a", "b"] {
        scratch.dir(format!("{SCANNED}/{name}"));
    }
    let a = service(&scratch, "a", "exec sleep 1000");
    let b = logged(&scratch, "b", "echo line; exec sleep 1000");
    a.up();
    b.lines("log/lines", 1);
    assert_eq!(svscan.complaints(), "");
}

#[test]
fn what_is_wrong_is_said_once() {
    let scratch = Scratch::new();
    scratch.dir(SCANNED);
    let directory = scratch.path().join(SCANNED);
    scratch.file(format!("{SCANNED}/file"), "");
    for (target, link) in [("nowhere", "dangling"), ("loop", "loop"), ("a", "same")] {
        symlink(target, directory.join(link)).expect("make a link");
    }
    service(&scratch, "a", "exec sleep 1000").file("log", "not a directory");
    service(&scratch, "b", "exec sleep 1000").file("after", "nobody\nb\n\na\n");
    let svscan = svscan(&scratch);
    wait_until("b runs", || directory.join("b/supervise/ok").exists());
    for round in 0..3 {
        svscan.signal(Signal::SIGHUP);
        let made = service(&scratch, &format!("round{round}"), "exec sleep 1000");
        made.up();
    }
    let errors = svscan.errors();
    let mut lines: Vec<&str> = errors.lines().collect();
    lines.sort_unstable();
    let same = if errors.contains("a is the same") {
        "a is the same directory as same"
    } else {
        "same is the same directory as a"
    };
    let log = if errors.contains("same/log") { "same/log" } else { "a/log" };
    let dead = "it is a link to nowhere, which does not exist: make that, or remove the link";
    let logger = "make it a directory with a run, or a program (chmod +x)";
    let mut expected = vec![
        format!("svscan: warning: {same}"),
        "svscan: warning: b: after b: goes in a circle".into(),
        "svscan: warning: b: after nobody: no such service".into(),
        format!("svscan: warning: unable to stat dangling: file does not exist: {dead}"),
        "svscan: warning: unable to stat loop: symbolic link loop".into(),
        format!("svscan: warning: unable to supervise {log}: not a directory: {logger}"),
        "svscan: warning: unable to supervise file: not a directory".into(),
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

/// A program that has a bug may fill the directory like this.
#[test]
fn what_is_wrong_with_many_names_is_one_warning_and_only_some_names_count() {
    let scratch = Scratch::new();
    let names: String = (0..100_000).map(|number| format!("{number}\n")).collect();
    let circle: String = (0..10).map(|number| format!("c{number}\n")).collect();
    service(&scratch, "a", "exec sleep 1000").file("after", &names);
    service(&scratch, "b", "exec sleep 1000").file("after", &"x".repeat(1 << 21));
    for number in 0..10 {
        service(&scratch, &format!("c{number}"), "exec sleep 1000").file("after", "d\n");
    }
    scratch.file(format!("{SCANNED}/.svscan/on-remove"), "stopp\n");
    scratch.file(format!("{SCANNED}/.svscan/starts-at-a-time"), &names);
    let mut svscan = svscan(&scratch);
    let (a, b) = (Service::at(&scratch, &format!("{SCANNED}/a")), Service::at(&scratch, &format!("{SCANNED}/b")));
    [a, b].iter().for_each(|service| assert!(is_alive(service.up())));
    wait_until("the ten run", || (0..10).all(|n| is_alive(Service::at(&scratch, &format!("{SCANNED}/c{n}")).up())));
    service(&scratch, "../d", "exec sleep 1000").file("after", &circle);
    fs::rename(scratch.path().join("d"), scratch.path().join(SCANNED).join("d")).expect("move it here");
    Service::at(&scratch, &format!("{SCANNED}/d")).up();
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    let errors = svscan.errors();
    let about = |what: &str| errors.lines().filter(|line| line.contains(what)).collect::<Vec<_>>();
    let names = "svscan: warning: a/after: 100000 names: only the first 1000 count";
    let unknown = "svscan: warning: a: after 0, 1, 2, 3, 4 and 995 more: no such service";
    assert_eq!(about("warning: a"), [names, unknown]);
    assert_eq!(about("b/after"), ["svscan: warning: unable to read b/after: too long"]);
    assert_eq!(about("d: after"), ["svscan: warning: d: after c0, c1, c2, c3, c4 and 5 more: goes in a circle"]);
    assert_eq!(about(".svscan/").len(), 2, "{errors}");
}

#[test]
fn entries_that_come_and_go_leave_nothing_behind() {
    let scratch = Scratch::new();
    let svscan = svscan(&scratch);
    let directory = scratch.path().join(SCANNED);
    service(&scratch, "../elsewhere", "exec sleep 1000").down();
    for round in 0..300 {
        let link = directory.join(format!("entry{}", round % 7));
        symlink("../elsewhere", &link).expect("make a link");
        fs::remove_file(&link).expect("remove a link");
    }
    service(&scratch, "last", "exec sleep 1000").up();
    let words = svscan.errors();
    assert!(words.lines().all(|line| line.contains("same directory") || line.contains("entry")), "{words}");
}

#[test]
fn a_directory_that_takes_anothers_name_is_started_when_that_one_is_down() {
    let scratch = Scratch::new();
    let old = service(&scratch, "a", "exec sleep 1000");
    let svscan = svscan(&scratch);
    let pid = old.up();
    service(&scratch, "../new", "exec sleep 1000");
    let directory = scratch.path().join(SCANNED);
    fs::rename(directory.join("a"), scratch.path().join("old")).expect("move the old one away");
    fs::rename(scratch.path().join("new"), directory.join("a")).expect("move the new one in");
    let next = old.another(pid);
    assert!(!is_alive(pid) && is_alive(next));
    wait_until("it is said", || svscan.errors().contains("a is another directory now"));
}

#[test]
fn a_removed_service_is_stopped_where_that_is_wanted_and_only_there() {
    for wanted in [true, false] {
        let scratch = Scratch::new();
        let a = logged(&scratch, "a", COUNT);
        service(&scratch, "b", "exec sleep 1000");
        if wanted {
            scratch.file(format!("{SCANNED}/.svscan/on-remove"), "stop\n");
        }
        let _svscan = svscan(&scratch);
        let pid = a.up();
        a.lines("log/lines", 3);
        let directory = scratch.path().join(SCANNED);
        fs::rename(directory.join("a"), scratch.path().join("away")).expect("move it away");
        // svscan has processed the removal completely before this.
        fs::rename(directory.join("b"), directory.join("c")).expect("rename another");
        let away = scratch.path().join("away");
        if wanted {
            wait_until("both supervises have ended", || {
                processes_in(&away).is_empty()
                    && fs::read_to_string(away.join("log/lines")).is_ok_and(|lines| lines.ends_with("end\n"))
            });
        } else {
            service(&scratch, "d", "exec sleep 1000").up();
            assert!(is_alive(pid));
        }
    }
}

#[test]
fn descriptors_running_out_is_one_warning_a_service_and_what_runs_runs_on() {
    let scratch = Scratch::new();
    for number in 0..12 {
        logged(&scratch, &format!("s{number}"), "exec sleep 1000");
    }
    let limited = format!("ulimit -n 30; exec svscan {SCANNED}");
    let mut svscan = Daemon::start(scratch.command("/bin/sh").args(["-c", &limited]), &scratch);
    wait_until("it runs out of descriptors", || svscan.errors().contains("process cannot open more files"));
    let refused = || svscan.errors().matches("unable to create pipe for ").count();
    let running = || (0..12).filter(|number| directory(&scratch, *number).join("supervise/ok").exists()).count();
    wait_until("each runs or is complained of", || refused() + running() == 12);
    assert!(running() > 0);
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
}

fn directory(scratch: &Scratch, number: usize) -> std::path::PathBuf {
    scratch.path().join(format!("{SCANNED}/s{number}"))
}

#[test]
fn an_upgrade_replaces_the_program_and_no_service_notices() {
    let scratch = Scratch::new();
    let (a, b) = (logged(&scratch, "a", COUNT), logged(&scratch, "b", "echo kept; exec sleep 1000"));
    scratch.file(format!("{SCANNED}/b/log/down"), "");
    let mut svscan = svscan(&scratch);
    let (pids, supervise) = ([a.up(), b.up()], supervise_of(&a));
    a.lines("log/lines", 10);
    let program = || fs::read(format!("/proc/{}/environ", svscan.pid())).unwrap_or_default();
    assert!(!program().windows(7).any(|part| part == b"SVSCAN_"));
    for times in 1..=3 {
        svscan.signal(Signal::SIGUSR2);
        let words = format!(
            "svscan: executed anew: version {} runs, from {}\n",
            env!("CARGO_PKG_VERSION"),
            fs::canonicalize(scratch.programs()).expect("the programs").join("svscan").display()
        );
        wait_until("svscan says that it is executed anew", || svscan.errors() == words.repeat(times));
        assert!(program().windows(7).any(|part| part == b"SVSCAN_"));
    }
    terminate(supervise, Signal::SIGKILL);
    wait_until("a has a new supervise", || a.is_supervised() && supervise_of(&a) != supervise);
    assert_eq!((pids, parent_of(supervise_of(&a))), ([a.up(), b.up()], Some(svscan.pid())));
    let leaks = |pid| tests::environment(pid).iter().any(|entry| entry.starts_with("SVSCAN_"));
    assert!(tests::environment(supervise_of(&a)).iter().all(|entry| !entry.starts_with("SVSCAN_HERITAGE=")));
    let c = service(&scratch, "c", "exec sleep 1000");
    let status = format!("/proc/{}/status", c.up());
    assert!(!leaks(c.up()));
    wait_until("a new service has no signals blocked", || {
        fs::read_to_string(&status)
            .is_ok_and(|text| text.contains("sleep") && text.contains("SigBlk:\t0000000000000000"))
    });
    scratch.outcome_of(scratch.command("svc").args(["-u", &format!("{}/log", b.name())]));
    assert_eq!(b.lines("log/lines", 1), ["kept"]);
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    let lines = a.lines("log/lines", 10);
    let expected = (0..lines.len() - 1).map(|number| number.to_string()).chain(["end".into()]);
    assert_eq!(lines, expected.collect::<Vec<_>>(), "every line, once");
    assert!(!svscan.errors().contains("unable"), "{}", svscan.errors());
}

#[test]
fn an_upgrade_waits_for_a_service_that_makes_room_for_another() {
    let scratch = Scratch::new();
    let run = "trap 'until [ -e go ]; do sleep 0.01; done; echo old ends >>../story; exit' TERM
        echo >ready; while :; do sleep 0.01; done";
    let old = service(&scratch, "a", run);
    let svscan = svscan(&scratch);
    old.lines("ready", 1);
    let pid = old.up();
    let new = "trap 'exit' TERM; echo new starts >>../story; while :; do sleep 0.01; done";
    service(&scratch, "../new", new);
    let directory = scratch.path().join(SCANNED);
    fs::rename(directory.join("a"), directory.join(".old")).expect("move the old one away");
    fs::rename(scratch.path().join("new"), directory.join("a")).expect("move the new one in");
    wait_until("it is said", || svscan.errors().contains("a is another directory now"));
    svscan.signal(Signal::SIGUSR2);
    wait_until("it waits", || svscan.errors().contains("executed anew when what is being stopped is down"));
    scratch.file(format!("{SCANNED}/.old/go"), "");
    wait_until("it is executed anew", || is_renewed(&svscan));
    old.another(pid);
    let story = || fs::read_to_string(directory.join("story")).unwrap_or_default();
    wait_until("the new one starts", || story().contains("new starts"));
    assert_eq!(story(), "old ends\nnew starts\n");
}

fn is_renewed(svscan: &Daemon) -> bool {
    fs::read(format!("/proc/{}/environ", svscan.pid())).is_ok_and(|text| text.windows(7).any(|part| part == b"SVSCAN_"))
}

#[test]
fn an_upgrade_remembers_services_whose_entries_were_removed() {
    let scratch = Scratch::new();
    let (a, b) = (logged(&scratch, "a", COUNT), logged(&scratch, "b", "exec sleep 1000"));
    let mut svscan = svscan(&scratch);
    let pid = a.up();
    b.up();
    let supervise = supervise_of(&b);
    Service::at(&scratch, &format!("{SCANNED}/b/log")).up();
    let directory = scratch.path().join(SCANNED);
    for name in ["a", "b"] {
        fs::rename(directory.join(name), directory.join(format!(".{name}"))).expect("move it away");
    }
    svscan.signal(Signal::SIGUSR2);
    wait_until("it is executed anew", || is_renewed(&svscan));
    let pipes = || {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", svscan.pid())).expect("its descriptors");
        let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.filter(|to| to.to_string_lossy().starts_with("pipe:")).count()
    };
    let before = pipes();
    scratch.outcome_of(scratch.command("svc").args(["-dx", "services/.b", "services/.b/log"]));
    wait_until("it ends", || !is_alive(supervise));
    wait_until("its pipe is closed", || pipes() == before - 2);
    // The other service makes room for one of its name.
    service(&scratch, "../new", "exec sleep 1000");
    fs::rename(scratch.path().join("new"), directory.join("a")).expect("move the new one in");
    Service::at(&scratch, &format!("{SCANNED}/a")).up();
    assert!(!is_alive(pid));
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    assert_eq!(processes_in(&directory), []);
    assert!(fs::read_to_string(directory.join(".a/log/lines")).is_ok_and(|lines| lines.ends_with("end\n")));
}

/// svscan is killed while a supervise that it started has the service's lock and does not read commands yet. The next
/// svscan starts another supervise in vain, and a logger.
#[test]
fn a_supervise_that_was_starting_when_its_svscan_was_killed_keeps_its_logger() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let web = logged(&scratch, "web", COUNT);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = scratch.command("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", "inject=flock:delay_exit=300000:when=1"]);
    command.arg(tests::programs().join("supervise")).arg("web").current_dir(scratch.path().join(SCANNED));
    let mut starting = Daemon::start(command.stdout(writer), &scratch);
    drop(command);
    wait_until("it has the lock", || web.path("supervise/lock").exists());
    let mut svscan = svscan(&scratch);
    let lines = web.lines("log/lines", 20);
    drop(reader);
    assert_eq!(lines[..20], (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert_eq!(starting.wait(), 0);
    assert!(web.says("log/lines").ends_with("end\n"));
}

/// If the logger's supervise were told to end with the service at that moment, the lines in the pipe would be lost.
#[test]
fn a_logger_that_waits_to_be_started_again_reads_what_is_left_before_the_stop() {
    let scratch = Scratch::new();
    let web = logged(&scratch, "web", COUNT);
    let mut svscan = svscan(&scratch);
    web.lines("log/lines", 5);
    terminate(Service::at(&scratch, "services/web/log").status().pid, Signal::SIGKILL);
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert!(web.says("log/lines").ends_with("end\n"), "{}", web.says("log/lines"));
}
