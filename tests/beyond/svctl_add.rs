//! `svctl add` and `svctl remove`: a service comes, and goes for good without losing a line.

use nix::fcntl::{FcntlArg, fcntl};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tests::{Daemon, Disk, Outcome, Scratch, Service, children_of, fails, has, is_alive, processes_in, wait_until};

/// A service that writes `last 1` to `last 20` when it is told to end, which takes a while.
const TALKER: &str = "trap 'for number in $(seq 20); do echo last $number; sleep 0.02; done; exit' TERM
    echo begun; while :; do sleep 0.01; done";

fn svscan(scratch: &Scratch) -> Daemon {
    scratch.dir("sv");
    Daemon::start(scratch.command("svscan").arg("sv"), scratch)
}

fn svctl(scratch: &Scratch, words: &str) -> Outcome {
    svctl_of(scratch, "sv", words)
}

/// svctl of this scan directory.
fn svctl_of(scratch: &Scratch, directory: &str, words: &str) -> Outcome {
    scratch.shell(&format!("LC_ALL=C.UTF-8 exec svctl -d {directory} {words}"))
}

/// A service outside the scan directory, with a logger.
fn logged<'a>(scratch: &'a Scratch, name: &str, run: &str) -> Service<'a> {
    scratch.script(format!("etc/{name}/log/run"), "#!/bin/sh\nexec multilog ./main\n");
    Service::new(scratch, &format!("etc/{name}"), run)
}

fn entry(scratch: &Scratch, name: &str) -> PathBuf {
    scratch.path().join("sv").join(name)
}

fn nothing_runs(scratch: &Scratch) -> bool {
    processes_in(&scratch.path().join("etc")).is_empty()
}

#[test]
fn what_is_added_is_supervised_and_ready_when_svctl_ends() {
    let scratch = Scratch::new();
    let service = logged(&scratch, "web", TALKER);
    let _svscan = svscan(&scratch);
    let added = svctl(&scratch, "add etc/web/");
    assert_eq!((added.code, added.stderr.as_str()), (0, ""));
    assert!(added.stdout.starts_with("● web up (pid "), "{}", added.stdout);
    assert_eq!(fs::read_link(entry(&scratch, "web")).unwrap(), scratch.path().join("etc/web"));
    service.up();
    // One that is not to be started is only supervised.
    let idle = Service::new(&scratch, "etc/idle", "exec sleep 1000").down();
    let added = svctl(&scratch, "add etc/idle other");
    assert_eq!((added.code, added.stderr.as_str()), (0, ""));
    assert!(added.stdout.starts_with("○ other down"), "{}", added.stdout);
    assert!(idle.is_supervised());
}

#[test]
fn what_does_not_run_is_told_with_its_last_words_and_stays() {
    let scratch = Scratch::new();
    logged(&scratch, "crash", "echo 'cannot open the file'; exit 3");
    let _svscan = svscan(&scratch);
    let added = svctl(&scratch, "add etc/crash");
    assert_eq!(added.code, 1, "{}", added.stderr);
    assert!(added.stderr.contains("svctl: warning: crash is not ready: exited 3 after 0."), "{}", added.stderr);
    assert!(entry(&scratch, "crash").exists());
}

#[test]
fn nothing_that_is_there_is_touched() {
    let scratch = Scratch::new();
    Service::new(&scratch, "etc/web", "exec sleep 1000");
    Service::new(&scratch, "etc/db", "exec sleep 1000");
    scratch.dir("etc/empty");
    scratch.dir("sv");
    assert_eq!(svctl(&scratch, "add --no-wait etc/web"), tests::prints(""));
    scratch.file("sv/db", "a file");
    let here = scratch.path().join("sv").display().to_string();
    for (words, why) in [
        ("add etc/web www", "etc/web is in the scan directory already, as web".to_string()),
        ("add etc/web", "etc/web is in the scan directory already, as web".into()),
        ("add sv/web other", "sv/web is in the scan directory already, as web".into()),
        ("add etc/db", format!("{here}/db is there already: give another name")),
        ("add etc/nothing", "no directory etc/nothing".into()),
        ("add etc/empty", "etc/empty is no service: it contains no run".into()),
        ("add etc/db .db", "\".db\" is no name for a service: it is empty, begins with a dot or has a slash".into()),
        ("add etc/db a/b", "\"a/b\" is no name for a service: it is empty, begins with a dot or has a slash".into()),
    ] {
        assert_eq!(svctl(&scratch, words), fails(100, &format!("svctl: fatal: {why}\n")), "{words}");
    }
    assert_eq!(fs::read(entry(&scratch, "db")).unwrap(), b"a file");
}

#[test]
fn without_svscan_the_link_stays_and_that_is_told() {
    let scratch = Scratch::new();
    Service::new(&scratch, "etc/web", "exec sleep 1000");
    scratch.dir("sv/.svscan");
    let added = svctl(&scratch, "add -T 300ms etc/web");
    assert_eq!((added.code, added.stdout.as_str()), (99, ""));
    let here = scratch.path().join("sv").display().to_string();
    let why = format!("no svscan runs in {here}: start it: svscan {here}\n");
    let warning = format!("svctl: warning: web is linked, but not supervised yet: {why}");
    assert_eq!(added.stderr, warning);
    assert!(entry(&scratch, "web").exists());
    let status = svctl(&scratch, "status web").stdout;
    assert!(status.contains(&format!("  cause       {why}")), "{status}");
}

/// svscan runs, and what keeps supervise from its files is told, as svscan's standard error may be anywhere.
#[test]
fn what_keeps_a_supervise_from_its_files_is_told() {
    let scratch = Scratch::new();
    let _svscan = svscan(&scratch);
    wait_until("svscan has its lock", || entry(&scratch, ".svscan/lock").exists());
    Service::new(&scratch, "etc/odd", "exec sleep 1000").file("supervise", "");
    Service::new(&scratch, "etc/taken", "exec sleep 1000").file("supervise/lock", "");
    let lock = fs::File::open(scratch.path().join("etc/taken/supervise/lock")).unwrap();
    lock.lock().unwrap();
    for (name, code, why) in
        [("odd", 1, "supervise is no directory: remove it"), ("taken", 99, "another process has the lock of ")]
    {
        let added = svctl(&scratch, &format!("add -T 300ms etc/{name}"));
        assert!(added.code == code && added.stderr.contains(why), "{added:?}");
    }
    if !tests::is_root() {
        return tests::skip("a read-only disk needs root, to mount it");
    }
    let disk = Disk::new(&scratch, 128);
    Service::new(&scratch, "disk/full", "exec sleep 1000");
    assert_eq!(scratch.shell("mount -o remount,ro disk"), tests::prints(""));
    let added = svctl(&scratch, "add -T 300ms disk/full");
    let why = "its disk is read-only: let $SUPERVISEDIR name a place elsewhere";
    assert!(added.code == 99 && added.stderr.contains(why), "{added:?}");
    drop(disk);
}

/// svscan may be started later than a supervise is awaited that was killed: only `-T` counts.
#[test]
fn what_is_added_is_waited_for_as_long_as_the_user_says() {
    let scratch = Scratch::new();
    Service::new(&scratch, "etc/web", "exec sleep 1000");
    scratch.dir("sv");
    let begin = Instant::now();
    assert_eq!(svctl(&scratch, "add -T 6500ms etc/web").code, 99);
    assert!(begin.elapsed() >= Duration::from_millis(6500), "{:?}", begin.elapsed());
}

#[test]
fn links_to_nothing_are_removed_too() {
    let scratch = Scratch::new();
    let service = logged(&scratch, "web", "exec sleep 1000");
    let _svscan = svscan(&scratch);
    assert_eq!(svctl(&scratch, "add etc/web").code, 0);
    for name in ["old-1", "old-2", "gone"] {
        symlink("../nowhere", entry(&scratch, name)).unwrap();
    }
    symlink("circle", entry(&scratch, "circle")).unwrap();
    let removed = svctl(&scratch, "remove gone/ circle");
    let told = |name: &str, target: &str| format!("{name} is removed: it was a link to nothing: {target}\n");
    assert_eq!(removed, tests::prints(&[told("gone", "../nowhere"), told("circle", "circle")].concat()));
    // Nothing is done unless all can be done.
    assert_eq!(svctl(&scratch, "remove 'old-*' nothing").code, 100);
    assert!(entry(&scratch, "old-1").is_symlink());
    let removed = svctl(&scratch, "remove 'old-*' web");
    assert_eq!((removed.code, removed.stderr.as_str()), (0, ""));
    for words in [&told("old-1", "../nowhere"), &told("old-2", "../nowhere"), "web is removed: its directory is "] {
        assert!(removed.stdout.contains(words), "{words} in {}", removed.stdout);
    }
    assert!(!service.is_supervised() && nothing_runs(&scratch));
    let names = fs::read_dir(scratch.path().join("sv")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), [".svscan"]);
}

/// svctl has looked at all entries, and waits until the test reads what it writes.
#[test]
fn an_entry_that_changes_while_svctl_is_at_it_stays() {
    let scratch = Scratch::new();
    for name in ["v1", "v2"] {
        Service::new(&scratch, &format!("etc/{name}"), "exec sleep 1000");
    }
    let _svscan = svscan(&scratch);
    symlink("../etc/v1", entry(&scratch, "web")).unwrap();
    symlink("../nowhere", entry(&scratch, "gone")).unwrap();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let size = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let filling = vec![b'.'; usize::try_from(size).unwrap()];
    writer.write_all(&filling).unwrap();
    let mut command = scratch.command("svctl");
    command.args(["-d", "sv", "remove", "gone", "web"]).stdout(writer).stderr(Stdio::piped());
    let svctl = command.spawn().unwrap();
    drop(command);
    wait_until("svctl is at it", || !entry(&scratch, "gone").is_symlink());
    symlink("../etc/v2", entry(&scratch, ".new")).unwrap();
    fs::rename(entry(&scratch, ".new"), entry(&scratch, "web")).unwrap();
    let mut told = String::new();
    reader.read_to_string(&mut told).unwrap();
    assert_eq!(&told[filling.len()..], "gone is removed: it was a link to nothing: ../nowhere\n");
    let ended = svctl.wait_with_output().unwrap();
    let words = "svctl: warning: web has changed meanwhile: it stays, and its service goes on\n";
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap().as_str()), (Some(1), words));
    assert_eq!(fs::read_link(entry(&scratch, "web")).unwrap(), Path::new("../etc/v2"));
    Service::at(&scratch, "etc/v2").up();
    assert_eq!(svctl_of(&scratch, "sv", "remove web").code, 0);
}

/// svctl is killed when it has put the entry aside, and is about to remove it.
#[test]
fn a_removal_that_was_interrupted_is_done_by_the_next_one() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "etc/web", "exec sleep 1000");
    let _svscan = svscan(&scratch);
    assert_eq!(svctl(&scratch, "add etc/web").code, 0);
    let left = || fs::rename(entry(&scratch, "web"), entry(&scratch, ".removing.web")).unwrap();
    if has("strace") {
        let fault = "strace -qq -o /dev/null -e inject=unlink,unlinkat:signal=KILL svctl -d sv remove web";
        assert_ne!(scratch.shell(fault).code, 0);
    } else {
        left();
    }
    assert!(entry(&scratch, ".removing.web").is_symlink() && !entry(&scratch, "web").is_symlink());
    service.up();
    let removed = svctl(&scratch, "remove web/");
    let words = "svctl: warning: web: an svctl remove was interrupted: its entry is put back first\n";
    assert_eq!((removed.code, removed.stderr.as_str()), (0, words));
    wait_until("nothing runs", || nothing_runs(&scratch));
    // What is left of an interrupted one does not come back in the place of an entry that was made since.
    Service::new(&scratch, "etc/old", "exec sleep 1000");
    symlink("../etc/old", entry(&scratch, ".removing.web")).unwrap();
    assert_eq!(svctl(&scratch, "add etc/web").code, 0);
    let removed = svctl(&scratch, "remove web");
    assert_eq!((removed.code, removed.stderr.as_str()), (0, ""));
    let names = fs::read_dir(scratch.path().join("sv")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), [".svscan"]);
}

/// A wrong directory was named, or one directory has entries in two.
#[test]
fn a_service_of_another_svscan_is_neither_claimed_nor_ended() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "etc/web", "exec sleep 1000");
    let first = svscan(&scratch);
    assert_eq!(svctl(&scratch, "add etc/web").code, 0);
    let pid = service.up();
    scratch.dir("other");
    let has_it = format!("another svscan (pid {}) has it", first.pid());
    let etc = scratch.path().canonicalize().unwrap().join("etc/web").display().to_string();
    let check = |why: &str| {
        let added = svctl_of(&scratch, "other", "add etc/web two");
        let words =
            format!("svctl: warning: two is linked, but another svscan (pid {}) has its service{why}\n", first.pid());
        assert_eq!((added.code, added.stdout.as_str(), added.stderr), (1, "", words));
        let removed = svctl_of(&scratch, "other", "remove two");
        let told = format!("two has no entry any more: its directory is {etc}; it runs on: {has_it}\n");
        assert_eq!(removed, tests::prints(&told));
        assert!(!scratch.path().join("other/two").is_symlink());
        assert_eq!(service.up(), pid);
    };
    check(&format!("; no svscan runs in {}", scratch.path().join("other").display()));
    let other = Daemon::start(scratch.command("svscan").arg("other"), &scratch);
    wait_until("it serves", || scratch.path().join("other/.svscan/lock").exists());
    check("");
    // Once there is no first one, the service can be removed from anywhere.
    first.kill();
    symlink("../etc/web", scratch.path().join("other/two")).unwrap();
    let removed = svctl_of(&scratch, "other", "remove two");
    assert_eq!((removed.code, removed.stderr.as_str()), (0, ""));
    wait_until("nothing runs", || nothing_runs(&scratch));
    drop(other);
}

/// It has not made its FIFOs when svctl looks.
#[test]
fn a_supervise_that_is_just_starting_is_waited_for() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "etc/web", "exec sleep 1000");
    scratch.dir("sv");
    let mut command = scratch.command("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", "inject=flock:delay_enter=2000000:when=1"]);
    let strace = Daemon::start(command.args(["supervise", "."]).current_dir(service.path("")), &scratch);
    let is_supervise =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "supervise\n");
    let supervise = || children_of(strace.pid()).into_iter().find(is_supervise);
    wait_until("it is there", || supervise().is_some());
    symlink("../etc/web", entry(&scratch, "web")).unwrap();
    let removed = svctl(&scratch, "remove -T 20s web");
    assert_eq!(supervise().filter(|pid| is_alive(*pid)), None, "{}", removed.stdout);
    assert_eq!((removed.code, removed.stderr.as_str()), (0, ""));
}

/// A killed svscan leaves its supervises to another process.
#[test]
fn what_a_killed_svscan_has_left_is_removed_and_is_not_added_before_there_is_another_svscan() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "etc/web", "exec sleep 1000");
    let first = svscan(&scratch);
    assert_eq!(svctl(&scratch, "add etc/web").code, 0);
    first.kill();
    fs::remove_file(entry(&scratch, "web")).unwrap();
    let added = svctl(&scratch, "add -T 300ms etc/web");
    assert_eq!((added.code, added.stdout.as_str()), (99, ""));
    assert!(added.stderr.contains("no svscan runs in "), "{}", added.stderr);
    assert!(service.is_supervised());
    let removed = svctl(&scratch, "remove web");
    assert_eq!((removed.code, removed.stderr.as_str()), (0, ""));
    wait_until("nothing runs", || nothing_runs(&scratch));
}

/// When svctl ends, nothing runs any more, and the last line is in the log.
#[test]
fn what_is_removed_has_ended_and_lost_no_line() {
    let scratch = Scratch::new();
    let services = [logged(&scratch, "web", TALKER), logged(&scratch, "db", TALKER)];
    let svscan = svscan(&scratch);
    for name in ["web", "db"] {
        assert_eq!(svctl(&scratch, &format!("add etc/{name}")).code, 0);
    }
    services.iter().for_each(|service| drop(service.lines("log/main/current", 1)));
    let removed = svctl(&scratch, "remove web db");
    assert_eq!((removed.code, removed.stderr.as_str()), (0, ""));
    let etc = scratch.path().join("etc").canonicalize().unwrap().display().to_string();
    let told =
        |name: &str| format!("{name} is removed: its directory is {etc}/{name}, its log {etc}/{name}/log/main\n");
    assert_eq!(removed.stdout, [told("db"), told("web")].concat());
    assert!(nothing_runs(&scratch), "something runs");
    let last: String = (1..=20).map(|number| format!("last {number}\n")).collect();
    for service in &services {
        let log = service.says("log/main/current");
        assert!(log.ends_with(&last), "{log}");
        assert!(!service.is_supervised());
    }
    assert_eq!((svscan.errors(), fs::read_dir(scratch.path().join("sv")).unwrap().count()), (String::new(), 1));
    // It can come again.
    assert_eq!(svctl(&scratch, "add etc/web").code, 0);
    services[0].up();
}

#[test]
fn a_service_that_is_down_or_not_supervised_can_be_removed() {
    let scratch = Scratch::new();
    logged(&scratch, "idle", "exec sleep 1000").down();
    Service::new(&scratch, "etc/never", "exec sleep 1000");
    let svscan = svscan(&scratch);
    assert_eq!(svctl(&scratch, "add etc/idle").code, 0);
    assert_eq!(svctl(&scratch, "remove idle").code, 0);
    wait_until("nothing runs", || nothing_runs(&scratch));
    svscan.kill();
    assert_eq!(svctl(&scratch, "add --no-wait etc/never").code, 0);
    let removed = svctl(&scratch, "remove never");
    assert_eq!((removed.code, removed.stderr.as_str()), (0, ""));
    assert!(!entry(&scratch, "never").is_symlink());
}

/// Either all is done, or nothing.
#[test]
fn what_cannot_be_removed_is_refused_before_anything_is_done() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "etc/web", "exec sleep 1000");
    Service::new(&scratch, "sv/real/log", "exec cat");
    Service::new(&scratch, "sv/real", "exec sleep 1000");
    let _svscan = svscan(&scratch);
    assert_eq!(svctl(&scratch, "add etc/web").code, 0);
    let pid = web.up();
    symlink("../etc/web", entry(&scratch, "www")).unwrap();
    let here = scratch.path().join("sv").display().to_string();
    let real = format!(
        "real is a directory, not a link: move it out yourself, and end it there: cd {here}/real; \
         mv {here}/real ELSEWHERE; svc -dx .; svc -x log"
    );
    let path = scratch.path().join("etc/web").display().to_string();
    for (words, why) in [
        ("remove 'real' 'web'", real.as_str()),
        ("remove web", "web is the same directory as www, which stays: remove both, or only the link"),
        ("remove real/log", "real/log is no name in the scan directory: name its entry there"),
        (&format!("remove {path}"), &format!("{path} is no name in the scan directory: name its entry there")),
        ("remove nothing", &format!("no service nothing in {here}")),
    ] {
        assert_eq!(svctl(&scratch, words), fails(100, &format!("svctl: fatal: {why}\n")), "{words}");
    }
    assert!(entry(&scratch, "web").exists() && web.up() == pid);
    let removed = svctl(&scratch, "remove web www");
    assert_eq!((removed.code, removed.stderr.as_str()), (0, ""));
    assert!(!web.is_supervised());
}

/// The words that svctl refuses a directory with are commands that work.
#[test]
fn a_directory_that_is_no_link_is_moved_out_by_the_commands_that_are_told() {
    let scratch = Scratch::new();
    Service::new(&scratch, "sv/real/log", "exec multilog ./main");
    let service = Service::new(&scratch, "sv/real", TALKER);
    scratch.dir("etc");
    let _svscan = svscan(&scratch);
    service.lines("log/main/current", 1);
    let refused = svctl(&scratch, "remove real").stderr;
    let (_, commands) = refused.trim_end().split_once(" end it there: ").unwrap();
    let elsewhere = scratch.path().join("etc/real").display().to_string();
    assert_eq!(scratch.shell(&commands.replace("ELSEWHERE", &elsewhere)).code, 0);
    let moved = Service::at(&scratch, "etc/real");
    wait_until("all is read", || moved.says("log/main/current").ends_with("last 20\n") && nothing_runs(&scratch));
}

#[test]
fn a_service_that_does_not_end_in_time_is_told_with_what_is_left_to_do() {
    let scratch = Scratch::new();
    let service = logged(&scratch, "deaf", "trap '' TERM; echo >>ready; while :; do sleep 0.1; done");
    let _svscan = svscan(&scratch);
    assert_eq!(svctl(&scratch, "add etc/deaf").code, 0);
    let removed = svctl(&scratch, "remove -T 300ms deaf");
    assert_eq!(removed.code, 99);
    let path = service.path("").canonicalize().unwrap().display().to_string();
    for words in [
        format!("{path} has not ended: the time is over: up, told to end; svc -k kills it"),
        format!("{path}/log was not told to exit: when the service has ended, svc -x {path}/log"),
    ] {
        assert!(removed.stderr.contains(&words), "{words} in {}", removed.stderr);
    }
    assert!(removed.stdout.starts_with("deaf has no entry any more: "), "{}", removed.stdout);
    assert_eq!(scratch.shell(&format!("svc -k {path}; svc -x {path}/log")).code, 0);
    wait_until("nothing runs", || nothing_runs(&scratch));
}
