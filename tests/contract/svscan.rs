//! svscan: a supervise for each entry of a directory, and one for its logger.

use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpgid, getsid};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;
use tests::{Daemon, Scratch, Service, differs, fails, is_alive, original, parent_of, processes_in, wait_until};

/// A test that expects nothing to happen waits this long, which is longer than the interval between two scans.
const TWO_SCANS: Duration = Duration::from_millis(5500);

fn svscan(scratch: &Scratch) -> Daemon {
    scratch.dir("scan");
    Daemon::start(scratch.command("svscan").arg("scan"), scratch)
}

/// The supervises that a svscan runs, identified by their arguments.
fn supervises(svscan: &Daemon) -> Vec<String> {
    let children = |pid: &i32| parent_of(*pid) == Some(svscan.pid());
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut names: Vec<_> = all.filter(children).filter_map(|pid| argument(pid, "supervise")).collect();
    names.sort();
    names
}

/// The argument of a process, if it runs this program.
fn argument(pid: i32, program: &str) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0);
    let name = words.next()?;
    let name = name.rsplit(|byte| *byte == b'/').next()?;
    (name == program.as_bytes()).then(|| String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned())
}

#[test]
fn what_is_no_directory_is_refused() {
    let scratch = Scratch::new();
    scratch.file("file", "");
    for (line, words) in [
        ("svscan missing", "svscan: fatal: unable to chdir to missing: file does not exist\n"),
        ("svscan file", "svscan: fatal: unable to chdir to file: not a directory\n"),
    ] {
        assert_eq!(scratch.run(line), fails(111, words), "{line}");
    }
    if tests::is_root() {
        scratch.dir("closed");
        scratch.mode("closed", 0o700);
        let seen = scratch.outcome_of(scratch.as_nobody("svscan").arg("closed"));
        let whose = differs(": it belongs to root, and this is nobody", "");
        assert_eq!(seen, fails(111, &format!("svscan: fatal: unable to chdir to closed: access denied{whose}\n")));
    }
}

#[test]
fn without_a_directory_it_serves_the_current_one_and_more_words_mean_nothing() {
    for arguments in [&[][..], &[".", "extra", "words"]] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "scan/web", "exec sleep 1000");
        let mut command = scratch.command("svscan");
        let _svscan = Daemon::start(command.args(arguments).current_dir(scratch.path().join("scan")), &scratch);
        service.up();
    }
}

#[test]
fn there_is_one_supervise_for_each_directory() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "scan/web", "exec sleep 1000");
    let down = Service::new(&scratch, "scan/down", "exec sleep 1000").down();
    let elsewhere = Service::new(&scratch, "elsewhere", "exec sleep 1000");
    Service::new(&scratch, "scan/.hidden", "exec sleep 1000");
    for link in ["link", "other"] {
        symlink("../elsewhere", scratch.path().join("scan").join(link)).unwrap();
    }
    let svscan = svscan(&scratch);
    web.up();
    elsewhere.up();
    wait_until("it is supervised", || down.is_supervised());
    sleep(TWO_SCANS);
    let seen = supervises(&svscan);
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(seen.contains(&"web".into()) && seen.contains(&"down".into()), "{seen:?}");
    assert!(seen.contains(&"link".into()) != seen.contains(&"other".into()), "{seen:?}");
    // Our svscan reports which name it does not use.
    assert_eq!(svscan.errors().contains("is the same directory as"), differs(true, false), "{}", svscan.errors());
    is_still_served(&scratch);
}

/// svscan still runs: it finds a service that is added.
fn is_still_served(scratch: &Scratch) {
    Service::new(scratch, "added", "exec sleep 1000");
    symlink("../added", scratch.path().join("scan/added")).unwrap();
    Service::at(scratch, "added").up();
}

/// The original ignores files without a message, and writes its other messages at every scan.
#[test]
fn files_are_no_services() {
    let scratch = Scratch::new();
    scratch.file("scan/file", "");
    symlink("nowhere", scratch.path().join("scan/dangling")).unwrap();
    let svscan = svscan(&scratch);
    let cause = ": it is a link to nowhere, which does not exist: make that, or remove the link";
    let dangling = format!("svscan: warning: unable to stat dangling: file does not exist{}\n", differs(cause, ""));
    wait_until("it complains", || svscan.errors().contains(&dangling));
    sleep(TWO_SCANS);
    assert_eq!(svscan.errors().matches(&dangling).count(), differs(1, 2));
    let file = svscan.errors().contains("svscan: warning: unable to supervise file: not a directory\n");
    assert_eq!(file, differs(true, false));
    assert_eq!(supervises(&svscan), [""; 0]);
    is_still_served(&scratch);
}

#[test]
fn a_service_added_later_is_found() {
    let scratch = Scratch::new();
    let svscan = svscan(&scratch);
    sleep(Duration::from_millis(100));
    let service = Service::new(&scratch, "elsewhere", "exec sleep 1000");
    symlink("../elsewhere", scratch.path().join("scan/web")).unwrap();
    service.up();
    assert_eq!(supervises(&svscan), ["web"]);
    assert_eq!(svscan.errors(), "");
}

fn logged<'a>(scratch: &'a Scratch, run: &str) -> (Service<'a>, Service<'a>) {
    let log = Service::new(
        scratch,
        "scan/web/log",
        "echo \"$PWD\" >>where; while read -r line; do echo \"$line\" >>out; done",
    );
    (Service::new(scratch, "scan/web", run), log)
}

#[test]
fn a_directory_log_is_a_service_of_its_own_that_reads_the_first_ones_output() {
    let scratch = Scratch::new();
    let (web, log) = logged(&scratch, "echo hello; echo world >&2; exec sleep 1000");
    let svscan = svscan(&scratch);
    assert_eq!(log.lines("out", 1), ["hello"]);
    let here = fs::canonicalize(scratch.path().join("scan/web/log")).unwrap();
    assert_eq!(log.lines("where", 1), [here.to_str().unwrap()]);
    wait_until("it has said the other too", || svscan.errors() == "world\n");
    assert_eq!(supervises(&svscan), ["log", "web"]);
    assert!(web.up() != log.up());
}

#[test]
fn the_pipe_outlives_both_ends() {
    let scratch = Scratch::new();
    let (web, log) = logged(&scratch, "echo start; exec sleep 1000");
    let _svscan = svscan(&scratch);
    log.lines("out", 1);
    // When the service dies, the logger does not see the end of its input.
    let (pid, logger) = (web.up(), log.up());
    web.svc("-k");
    web.another(pid);
    log.lines("out", 2);
    assert_eq!(log.up(), logger);
    // When the logger dies, no line is lost: the next logger reads what was written meanwhile.
    log.svc("-d");
    log.wait_down();
    let pid = web.up();
    web.svc("-k");
    web.another(pid);
    log.svc("-u");
    log.lines("out", 3);
    // When the logger's supervise exits, the next one gets the same pipe.
    log.svc("-dx");
    let pid = web.up();
    web.svc("-k");
    web.another(pid);
    log.svc_when_supervised("-u");
    log.lines("out", 4);
}

/// Any file `log` makes the original start a supervise for it, again and again.
#[test]
fn a_file_log_is_no_logger() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "scan/web", "exec sleep 1000").file("log", "");
    let svscan = svscan(&scratch);
    service.up();
    let words = differs(
        "svscan: warning: unable to supervise web/log: not a directory: make it a directory with a run, or a program \
         (chmod +x)\n",
        "supervise: fatal: unable to chdir to log: not a directory\n",
    );
    wait_until("it complains", || svscan.errors().contains(words));
}

#[test]
fn a_supervise_that_died_is_started_again() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "scan/web", "exec sleep 1000").down();
    let svscan = svscan(&scratch);
    wait_until("it is supervised", || service.is_supervised());
    for _ in 0..2 {
        service.svc("-x");
        wait_until("it is gone", || !service.is_supervised());
        wait_until("it is supervised again", || service.is_supervised());
    }
    assert_eq!(supervises(&svscan), ["web"]);
    assert_eq!(svscan.errors(), "");
}

#[test]
fn a_renamed_entry_is_the_same_service() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "scan/web", "exec sleep 1000");
    let svscan = svscan(&scratch);
    let pid = service.up();
    fs::rename(scratch.path().join("scan/web"), scratch.path().join("scan/new")).unwrap();
    sleep(TWO_SCANS);
    assert_eq!(supervises(&svscan), ["web"]);
    assert!(is_alive(pid));
    assert_eq!(svscan.errors(), "");
    let renamed = Service::at(&scratch, "scan/new");
    renamed.svc("-k");
    renamed.another(pid);
    is_still_served(&scratch);
}

/// The default is that the service goes on; a setting can change that.
#[test]
fn a_removed_entry_stops_nothing() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "elsewhere", "exec sleep 1000");
    scratch.dir("scan");
    symlink("../elsewhere", scratch.path().join("scan/web")).unwrap();
    let svscan = svscan(&scratch);
    let pid = service.up();
    fs::remove_file(scratch.path().join("scan/web")).unwrap();
    sleep(TWO_SCANS);
    assert!(is_alive(pid) && service.is_supervised());
    service.svc("-k");
    service.another(pid);
    // When its supervise has exited too, svscan starts no other.
    service.svc("-dx");
    sleep(TWO_SCANS);
    assert!(!service.is_supervised());
    assert_eq!(supervises(&svscan), [""; 0]);
    is_still_served(&scratch);
}

/// These commands end a service and its logger for good.
#[test]
fn removed_and_told_to_exit_both_end() {
    let scratch = Scratch::new();
    scratch.script("elsewhere/log/run", "#!/bin/sh\nexec cat >>out\n");
    let service = Service::new(&scratch, "elsewhere", "echo hello; exec sleep 1000");
    scratch.dir("scan");
    symlink("../elsewhere", scratch.path().join("scan/web")).unwrap();
    let svscan = svscan(&scratch);
    service.lines("log/out", 1);
    let seen = scratch.shell(r#"cd scan/web && rm "$OLDPWD/scan/web" && svc -dx . log"#);
    assert_eq!((seen.code, seen.stderr.as_str()), (0, ""));
    wait_until("nothing is left", || {
        supervises(&svscan).is_empty() && processes_in(&scratch.path().join("elsewhere")).is_empty()
    });
}

#[test]
fn a_log_added_later_is_not_noticed() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "scan/web", "exec sleep 1000");
    let svscan = svscan(&scratch);
    service.up();
    scratch.script("scan/web/log/run", "#!/bin/sh\nexec cat\n");
    sleep(TWO_SCANS);
    assert_eq!(supervises(&svscan), ["web"]);
    is_still_served(&scratch);
}

#[test]
fn names_are_bytes() {
    let scratch = Scratch::new();
    let names = [&b"with space"[..], b"new\nline", b"not-\xff-utf8", b"-dash", b"caf\xc3\xa9"];
    for name in names {
        let run = Path::new("scan").join(std::ffi::OsStr::from_bytes(name)).join("run");
        scratch.script(run, "#!/bin/sh\nexec sleep 1000\n");
    }
    let svscan = svscan(&scratch);
    wait_until("all are supervised", || supervises(&svscan).len() == names.len());
    for name in names {
        let name = std::ffi::OsStr::from_bytes(name);
        let svok = || scratch.outcome_of(scratch.command("svok").arg(Path::new("scan").join(name))).code == 0;
        wait_until(&format!("{name:?} is supervised"), svok);
    }
    assert_eq!(svscan.errors(), "");
}

#[test]
fn its_own_end_stops_nothing() {
    for signal in [Signal::SIGKILL, differs(Signal::SIGKILL, Signal::SIGTERM)] {
        let scratch = Scratch::new();
        let (web, log) = logged(&scratch, "echo start; exec sleep 1000");
        let mut svscan = svscan(&scratch);
        let (pid, logger) = (web.up(), log.up());
        svscan.signal(signal);
        assert_eq!(svscan.wait(), 128 + signal as i32);
        sleep(Duration::from_millis(200));
        assert!(is_alive(pid) && is_alive(logger) && web.is_supervised() && log.is_supervised());
        web.svc("-k");
        web.another(pid);
        log.lines("out", 2);
    }
}

/// In the original, all services are in the session and in the process group of svscan: a signal to the group, such as ^C at a
/// terminal, also reaches them.
#[test]
fn a_session_is_made_for_each_supervise() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "scan/web", "exec sleep 1000");
    let svscan = svscan(&scratch);
    let web = service.up();
    let supervise = parent_of(web).unwrap();
    let group = |pid| getpgid(Some(Pid::from_raw(pid))).unwrap();
    let session = |pid| getsid(Some(Pid::from_raw(pid))).unwrap();
    let supervise = Pid::from_raw(supervise);
    assert_eq!(session(web), differs(supervise, session(svscan.pid())));
    assert_eq!(group(web), differs(supervise, group(svscan.pid())));
}

/// The original's limit is 1000 services.
#[test]
fn more_than_a_thousand_services() {
    let scratch = Scratch::new();
    scratch.script("scan/run/run", "#!/bin/sh\nexec sleep 1000\n");
    scratch.file("scan/run/down", "");
    for number in 0..1001 {
        scratch.file(format!("scan/{number}/down"), "");
        symlink("../run/run", scratch.path().join(format!("scan/{number}/run"))).unwrap();
    }
    let svscan = svscan(&scratch);
    let expected = differs(1002, 1000);
    wait_until("all are supervised", || supervises(&svscan).len() >= expected || svscan.errors().contains("fork"));
    assert_eq!(supervises(&svscan).len(), expected);
    let refused = svscan.errors().matches(": running too many services\n").count();
    assert_eq!(refused >= 2, original(), "{}", svscan.errors());
}
