//! Services that are removed for good. Their last lines are in their logs.

use crate::svscan::{SCANNED, service, supervise_of, svscan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;
use tests::{Daemon, Scratch, Service, is_alive, is_root, prints, processes_in, skip, wait_until};

/// A service that writes `last 1` to `last 20` when it is told to end, which takes a while.
const TALKER: &str = "trap 'for number in $(seq 20); do echo last $number; sleep 0.02; done; exit' TERM
    echo begun; while :; do sleep 0.01; done";

/// The commands below "away with it for good" in README, for another scan directory.
fn readme_recipe(scratch: &Scratch) -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).expect("README");
    let (_, after) = readme.split_once("away with it for good:").expect("the recipe");
    let line = after.lines().find(|line| line.starts_with("    ")).expect("its commands").trim();
    line.replace("/service/", &format!("{}/{SCANNED}/", scratch.path().display()))
}

/// A service that runs TALKER, with its logger, linked into the scan directory as `clock`.
fn clock<'a>(scratch: &'a Scratch, logger: &str) -> Service<'a> {
    scratch.script("etc/clock/log/run", &format!("#!/bin/sh\n{logger}\n"));
    let service = Service::new(scratch, "etc/clock", TALKER);
    scratch.dir(SCANNED);
    symlink("../etc/clock", scratch.path().join(SCANNED).join("clock")).expect("link it");
    service
}

fn ends_with_last_words(service: &Service, log: &str) -> bool {
    let expected: String = (1..=20).map(|number| format!("last {number}\n")).collect();
    service.says(log).ends_with(&expected)
}

/// Waits until no process is left, and checks that all last lines are in the log. `case` names the case in the message.
fn ends_with_all_lines(scratch: &Scratch, service: &Service, log: &str, case: &str) {
    wait_until("nothing is left", || processes_in(&scratch.path().join("etc")).is_empty());
    assert!(ends_with_last_words(service, log), "{case}: {}", service.says(log));
}

#[test]
fn by_readmes_commands_no_last_line_is_lost() {
    let scratch = Scratch::new();
    let service = clock(&scratch, "exec multilog ./main");
    let svscan = svscan(&scratch);
    service.lines("log/main/current", 1);
    let outcome = scratch.shell(&readme_recipe(&scratch));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    ends_with_all_lines(&scratch, &service, "log/main/current", "");
    assert_eq!(svscan.complaints(), "");
}

/// A user who waits for the logger is not told that it will never end.
#[test]
fn a_logger_that_is_only_told_to_exit_is_waited_for_where_its_service_leaves() {
    let scratch = Scratch::new();
    let service = clock(&scratch, "exec multilog ./main");
    let _svscan = svscan(&scratch);
    service.lines("log/main/current", 1);
    let on = "svc: warning: log is not finished: runs on, as -x alone ends nothing: say -dx; supervise exits when it is next down\n";
    let alone = format!("cd {SCANNED}/clock && svc -x -W finished log");
    assert_eq!(scratch.shell(&alone), tests::fails(1, on));
    let away = format!("cd {SCANNED}/clock && rm ../../{SCANNED}/clock && svc -dx . && svc -x -W finished log");
    assert_eq!(scratch.shell(&away), tests::prints(""));
    assert!(ends_with_last_words(&service, "log/main/current"), "{}", service.says("log/main/current"));
}

/// Uninstall scripts give these commands, in any order.
#[test]
fn a_logger_that_is_told_down_with_its_service_reads_to_the_end() {
    for told in [". log", "log .", "./log"] {
        let scratch = Scratch::new();
        let service = clock(&scratch, "echo $$ >>starts; exec multilog ./main");
        let svscan = svscan(&scratch);
        service.lines("log/main/current", 1);
        let told = if told == "./log" { "svc -dx .; svc -dx ./log".into() } else { format!("svc -dx {told}") };
        let outcome = scratch.shell(&format!("cd {SCANNED}/clock && rm ../../{SCANNED}/clock && {told}"));
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
        ends_with_all_lines(&scratch, &service, "log/main/current", &told);
        assert_eq!(service.says("log/starts").lines().count(), 2, "the logger was ended at once, and started again");
        assert_eq!(svscan.complaints(), "");
    }
}

/// Without svscan, no other process holds the pipe.
#[test]
fn without_svscan_it_is_so_too() {
    let scratch = Scratch::new();
    let service = clock(&scratch, "exec multilog ./main");
    let svscan = svscan(&scratch);
    service.lines("log/main/current", 1);
    svscan.kill();
    assert_eq!(scratch.shell("cd etc/clock && svc -dx . && svc -x log").code, 0);
    ends_with_all_lines(&scratch, &service, "log/main/current", "");
}

/// svscan tells the supervise of the logger from which directory its service's name counts.
#[test]
fn nor_where_the_scan_directory_is_on_another_mount() {
    if !is_root() {
        return skip("only root mounts");
    }
    let scratch = Scratch::new();
    let service = clock(&scratch, "exec multilog ./main");
    let log = Service::at(&scratch, "etc/clock/log");
    let link = format!("ln -s {} {SCANNED}/clock", service.path("").display());
    let script = format!("mount -t tmpfs none {SCANNED} && {link} && exec svscan {SCANNED}");
    let svscan = Daemon::start(scratch.command("unshare").args(["-m", "sh", "-c", &script]), &scratch);
    service.lines("log/main/current", 1);
    svscan.kill();
    log.svc("-d");
    log.wait_down();
    assert_eq!(scratch.shell("cd etc/clock && svc -dx . && svc -x log").code, 0);
    ends_with_all_lines(&scratch, &service, "log/main/current", "");
}

/// The logger is dead at that moment, and its first restart fails.
#[test]
fn a_logger_that_is_down_is_started_for_what_is_left() {
    let scratch = Scratch::new();
    let service = clock(&scratch, "echo >>starts; [ $(wc -l <starts) = 2 ] && exit 1; exec multilog ./main");
    let _svscan = svscan(&scratch);
    service.lines("log/main/current", 1);
    assert_eq!(scratch.shell("svc -d etc/clock/log").code, 0);
    Service::at(&scratch, "etc/clock/log").wait_down();
    assert_eq!(scratch.shell(&readme_recipe(&scratch)).code, 0);
    ends_with_all_lines(&scratch, &service, "log/main/current", "");
}

/// As with 0.76, the supervise of the logger exits, and svscan starts another one.
#[test]
fn a_logger_alone_is_told_down_at_once_while_its_service_goes_on() {
    let scratch = Scratch::new();
    scratch.script(format!("{SCANNED}/a/log/run"), "#!/bin/sh\nexec cat >>lines\n");
    let a = service(&scratch, "a", "echo begun; until [ -e go ]; do sleep 0.01; done; echo on; exec sleep 1000");
    let _svscan = svscan(&scratch);
    a.lines("log/lines", 1);
    let log = Service::at(&scratch, "services/a/log");
    for commands in ["-dx", "-xt"] {
        let (pid, logger, supervise) = (a.up(), log.up(), supervise_of(&log));
        log.svc(commands);
        wait_until("its supervise leaves", || !is_alive(supervise) && !is_alive(logger));
        log.another(logger);
        assert_eq!(a.up(), pid, "{commands}");
    }
    scratch.file(format!("{SCANNED}/a/go"), "");
    a.lines("log/lines", 2);
}

/// svscan opens again the end of the pipe that it had closed.
#[test]
fn a_service_whose_entry_comes_back_before_its_logger_has_left_is_logged_as_ever() {
    let scratch = Scratch::new();
    let service = clock(&scratch, "exec cat >>lines");
    let svscan = svscan(&scratch);
    service.lines("log/lines", 1);
    let log = Service::at(&scratch, "etc/clock/log");
    let (logger, keeper) = (log.up(), supervise_of(&log));
    let pid = service.up();
    fs::remove_file(scratch.path().join(SCANNED).join("clock")).expect("remove the entry");
    service.svc("-dx");
    // That logger sees the end of its input.
    wait_until("that logger has ended", || !is_alive(logger));
    symlink("../etc/clock", scratch.path().join(SCANNED).join("clock")).expect("link it again");
    service.another(pid);
    service.lines("log/lines", 22);
    assert_eq!(supervise_of(&log), keeper);
    let supervise = supervise_of(&service);
    kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill its supervise");
    wait_until("it has another", || service.is_supervised() && supervise_of(&service) != supervise);
    svscan.signal(Signal::SIGTERM);
    ends_with_all_lines(&scratch, &service, "log/lines", "");
}

/// The supervise of the logger was killed meanwhile, so svscan tells the next one to end once it has read everything.
/// That must not affect the supervise that serves after the entry is there again.
#[test]
fn a_service_whose_entry_comes_back_while_svscan_ends_its_logger_is_logged_as_ever() {
    let scratch = Scratch::new();
    let slow = "while read -r line; do sleep 0.03; echo \"$line\" >>lines; done";
    let service = clock(&scratch, slow);
    let svscan = svscan(&scratch);
    service.lines("log/lines", 1);
    let log = Service::at(&scratch, "etc/clock/log");
    let (pid, before) = (service.up(), supervise_of(&log));
    let entry = scratch.path().join(SCANNED).join("clock");
    fs::remove_file(&entry).expect("remove the entry");
    kill(Pid::from_raw(before), Signal::SIGKILL).expect("kill the logger's supervise");
    wait_until("it has another", || log.is_supervised() && supervise_of(&log) != before);
    let ended = supervise_of(&log);
    service.svc("-dx");
    wait_until("its supervise is gone", || !service.is_supervised());
    symlink("../etc/clock", &entry).expect("link it again");
    service.another(pid);
    wait_until("the logger has a new supervise", || log.is_supervised() && supervise_of(&log) != ended);
    let serves = supervise_of(&log);
    // This is longer than svscan waits between the two steps by which it ends a logger.
    sleep(Duration::from_millis(2500));
    service.lines("log/lines", 22);
    assert_eq!((supervise_of(&log), is_alive(serves)), (serves, true));
    assert!(service.says("log/lines").ends_with("last 20\nbegun\n"), "{}", service.says("log/lines"));
    assert_eq!(svscan.complaints(), "");
}

/// A supervise that is not scheduled for a while after it was told to exit. Here it is stopped by a signal.
#[test]
fn a_supervise_that_hears_late_that_it_is_to_leave_costs_no_line() {
    for with_svscan in [true, false] {
        for told in [". log", "log ."] {
            let scratch = Scratch::new();
            let service = clock(&scratch, "exec multilog ./main");
            let mut svscan = Some(svscan(&scratch));
            service.lines("log/main/current", 1);
            let log = Service::at(&scratch, "etc/clock/log");
            let (supervise, logger) = (Pid::from_raw(supervise_of(&service)), log.up());
            if !with_svscan {
                svscan.take().expect("svscan").kill();
            }
            kill(supervise, Signal::SIGSTOP).expect("stop its supervise");
            let outcome = scratch.shell(&format!("cd etc/clock && rm ../../{SCANNED}/clock && svc -dx {told}"));
            assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
            wait_until("its logger is told", || !is_alive(logger));
            // This is longer than any of our programs waits for another.
            std::thread::sleep(Duration::from_millis(1500));
            kill(supervise, Signal::SIGCONT).expect("let it go on");
            ends_with_all_lines(&scratch, &service, "log/main/current", told);
        }
    }
}

/// Both supervise and the logger are killed at that moment. svscan has the pipe, and starts a supervise that reads what
/// is in it.
#[test]
fn a_logger_that_is_killed_with_its_supervise_while_its_service_is_removed_costs_no_line() {
    for killed in ["before", "after", "twice", "late"] {
        let scratch = Scratch::new();
        let service = clock(&scratch, "exec multilog ./main");
        let mut svscan = svscan(&scratch);
        service.lines("log/main/current", 1);
        let log = Service::at(&scratch, "etc/clock/log");
        let kill_both = || {
            let logger = log.up();
            let supervise = supervise_of(&log);
            [supervise, logger].iter().for_each(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL).expect("kill it"));
            wait_until("both are dead", || !is_alive(supervise) && !is_alive(logger));
            supervise
        };
        fs::remove_file(scratch.path().join(SCANNED).join("clock")).expect("remove the entry");
        if killed == "before" {
            kill_both();
        }
        service.svc("-d");
        let count = if killed == "late" { 10 } else { 2 };
        service.lines("log/main/current", count);
        service.svc("-x");
        if killed != "before" {
            let before = kill_both();
            if killed == "twice" {
                wait_until("there is another", || log.is_supervised() && supervise_of(&log) != before);
                kill_both();
            }
        }
        // A supervise that was killed twice in a row is started again a second later, if nothing runs.
        wait_until("the last line is written", || ends_with_last_words(&service, "log/main/current"));
        wait_until("nothing is left", || processes_in(&scratch.path().join("etc")).is_empty());
        svscan.signal(Signal::SIGTERM);
        assert_eq!(svscan.wait(), 0);
        // svscan may be about to start the supervise once more that was killed twice.
        let stops = ["svscan: stopping clock", "svscan: clock is down"];
        assert!(svscan.errors().lines().all(|line| stops.contains(&line)), "{killed}: {}", svscan.errors());
    }
}

/// Here `log` is a program of the same supervise, and is dead when the service ends.
#[test]
fn a_logger_of_the_same_supervise_is_started_for_what_is_left() {
    let scratch = Scratch::new();
    let service =
        Service::new(&scratch, "web", TALKER).script("log", "echo >>loggers; read -r line && echo \"$line\" >>out");
    let mut supervise = service.supervise();
    assert_eq!(service.lines("out", 1), ["begun"]);
    service.svc("-Ld");
    wait_until("the logger is down", || service.state("log-pid").is_empty());
    let service = service.script("log", "exec cat >>out");
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    assert!(ends_with_last_words(&service, "out"), "{}", service.says("out"));
}

/// The logger of a removed service was left behind. It would end at once and be started again every second.
#[test]
fn a_logger_that_nothing_can_write_to_is_not_started_again_and_again() {
    let scratch = Scratch::new();
    let service = clock(&scratch, "echo >>starts; exec cat >>lines");
    let svscan = svscan(&scratch);
    service.lines("log/lines", 1);
    let log = Service::at(&scratch, "etc/clock/log");
    let entry = scratch.path().join(SCANNED).join("clock");
    let path = scratch.path().canonicalize().unwrap().join("etc/clock/log");
    let words = format!(
        "supervise: clock/log: not started as long as nothing writes to it; \
         if its service was removed, svc -x {} removes it too\n",
        path.display()
    );
    for count in 1..=2 {
        fs::remove_file(&entry).expect("remove the entry");
        service.svc("-dx");
        wait_until("it waits", || svscan.errors() == words.repeat(count));
        log.wait_down();
        assert!(ends_with_last_words(&service, "log/lines"), "{}", service.says("log/lines"));
        let starts = service.says("log/starts");
        sleep(Duration::from_millis(2500));
        assert_eq!(service.says("log/starts"), starts);
        if count == 1 {
            // The entry of its service comes back.
            let lines = service.says("log/lines").lines().count();
            symlink("../etc/clock", &entry).expect("link it again");
            service.lines("log/lines", lines + 1);
            log.up();
            assert_eq!(service.says("log/starts").lines().count(), starts.lines().count() + 1);
        }
    }
    assert_eq!(svscan.errors(), words.repeat(2));
    // This is the command that the message recommends.
    assert_eq!(scratch.outcome_of(scratch.command("svc").arg("-x").arg(&path)), prints(""));
    wait_until("nothing is left", || processes_in(&scratch.path().join("etc")).is_empty());
}

/// A command starts such a logger, and svscan's stop does not wait for it.
#[test]
fn a_logger_that_waits_for_something_to_read_is_left_and_stopped_as_any() {
    let scratch = Scratch::new();
    let service = clock(&scratch, "echo >>starts; exec cat >>lines");
    let mut svscan = svscan(&scratch);
    service.lines("log/lines", 1);
    let log = Service::at(&scratch, "etc/clock/log");
    fs::remove_file(scratch.path().join(SCANNED).join("clock")).expect("remove the entry");
    service.svc("-dx");
    wait_until("it waits", || svscan.errors().contains("clock/log: not started"));
    log.wait_down();
    // A user who starts the logger need not wait for input.
    let starts = service.says("log/starts").lines().count();
    log.svc("-u");
    service.lines("log/starts", starts + 1);
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    wait_until("nothing is left", || processes_in(&scratch.path().join("etc")).is_empty());
}
