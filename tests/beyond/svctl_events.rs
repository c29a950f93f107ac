//! `svctl events`: one line for each change of a service, when it happens.

use nix::sys::signal::Signal;
use std::fs;
use tests::{Daemon, Scratch, Service, wait_until};

/// A `svctl events` whose output goes to a file.
struct Events<'a> {
    daemon: Daemon,
    scratch: &'a Scratch,
    output: String,
}

impl<'a> Events<'a> {
    fn start(scratch: &'a Scratch, words: &str) -> Events<'a> {
        let output = format!("events.{}", scratch.next());
        let file = fs::File::create(scratch.path().join(&output)).unwrap();
        let mut command = scratch.command("svctl");
        command.args(["-d", "sv", "events"]).args(words.split_whitespace()).stdout(file);
        Events { daemon: Daemon::start(&mut command, scratch), scratch, output }
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.scratch.path().join(&self.output)).unwrap();
        text.lines().map(str::to_string).collect()
    }

    /// Waits until a line has all these parts, and returns it.
    fn wait_for(&self, parts: &[&str]) -> String {
        let mut found = None;
        wait_until(&format!("{parts:?} is told"), || {
            found = self.lines().into_iter().find(|line| parts.iter().all(|part| line.contains(part)));
            found.is_some()
        });
        found.unwrap()
    }
}

fn svscan(scratch: &Scratch) -> Daemon {
    scratch.dir("sv");
    Daemon::start(scratch.command("svscan").arg("sv"), scratch)
}

/// The value of a key in a document, as text.
fn value<'a>(document: &'a str, key: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{document}"));
    rest.split([',', '}']).next().unwrap()
}

#[test]
fn every_change_is_told_with_its_reason() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "sv/web", "exec sleep 1000");
    let _svscan = svscan(&scratch);
    let pid = service.up().to_string();
    // Until supervise has seen that it was executed, it is starting.
    wait_until("it is ready", || !service.state("ready").is_empty());
    let events = Events::start(&scratch, "-j");
    let first = events.wait_for(&[r#""service":"web""#, r#""state":"up""#]);
    assert_eq!((value(&first, "before"), value(&first, "pid")), ("null", pid.as_str()), "{first}");
    assert_eq!(service.status().unix_seconds().to_string(), value(&first, "time").split('.').next().unwrap());
    assert_eq!(scratch.run("svctl -d sv stop web").code, 0);
    let down = events.wait_for(&[r#""state":"down""#]);
    assert_eq!(
        (value(&down, "pid"), value(&down, "signal"), value(&down, "text")),
        ("null", "15", "\"killed by SIGTERM\"")
    );
    assert_eq!(value(&down, "ended"), value(&down, "time"), "{down}");
    assert_eq!(scratch.run("svctl -d sv start web").code, 0);
    assert_eq!(scratch.run("svctl -d sv kill -s STOP web").code, 0);
    let paused = events.wait_for(&[r#""state":"paused""#]);
    assert_eq!((value(&paused, "before"), value(&paused, "starts")), ("\"up\"", "2"), "{paused}");
}

#[test]
fn ends_that_it_has_slept_through_are_told() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "sv/crash", "exit 3");
    let _svscan = svscan(&scratch);
    wait_until("it has ended once", || !service.state("death").is_empty());
    let events = Events::start(&scratch, "-j");
    events.wait_for(&["crash"]);
    let starts = || service.state("starts").concat().parse::<u64>().unwrap_or(0);
    events.daemon.signal(Signal::SIGSTOP);
    let before = starts();
    wait_until("it was started three times meanwhile", || starts() >= before + 3);
    events.daemon.signal(Signal::SIGCONT);
    wait_until("it was started once more", || starts() >= before + 4);
    let told = || events.lines().iter().filter(|line| line.contains(r#""end":{"#)).count() as u64;
    wait_until("all ends are told", || told() >= 4);
    let lines = events.lines();
    let ends: Vec<&str> =
        lines.iter().filter(|line| line.contains(r#""end":{"#)).map(|line| value(line, "ended")).collect();
    assert!(ends.is_sorted() && ends.windows(2).all(|pair| pair[0] != pair[1]), "{ends:?}");
    assert!(lines.iter().all(|line| value(line, "forgotten") == "0"), "{lines:?}");
    // Each start that it has slept through is told too, without a process.
    let unseen = |line: &&String| line.contains(r#""state":"up""#) && value(line, "pid") == "null";
    assert!(lines.iter().filter(unseen).count() >= 2, "{lines:?}");
}

#[test]
fn services_that_come_and_go_are_told_and_the_others_are_not() {
    let scratch = Scratch::new();
    let _svscan = svscan(&scratch);
    Service::new(&scratch, "sv/web", "exec sleep 1000").up();
    let (all, one) = (Events::start(&scratch, ""), Events::start(&scratch, "web"));
    [&all, &one].iter().for_each(|events| drop(events.wait_for(&["web up (pid "])));
    let new = Service::new(&scratch, "new", "exec sleep 1000");
    fs::rename(new.path(""), scratch.path().join("sv/new")).unwrap();
    all.wait_for(&["new up (pid "]);
    fs::rename(scratch.path().join("sv/new"), scratch.path().join("gone")).unwrap();
    all.wait_for(&["new removed"]);
    // The same name means another directory now.
    Service::new(&scratch, "other", "exec sleep 1000").down();
    fs::rename(scratch.path().join("other"), scratch.path().join("sv/new")).unwrap();
    all.wait_for(&["new down: normally down"]);
    assert_eq!(scratch.run("svctl -d sv stop web").code, 0);
    all.wait_for(&["web down"]);
    one.wait_for(&["web down"]);
    assert!(one.lines().iter().all(|line| line.contains(" web ")), "{:?}", one.lines());
}

/// How many inotify watches a process has.
fn watches(pid: i32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let text: String = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap_or_default()).collect();
    text.lines().filter(|line| line.starts_with("inotify ")).count()
}

#[test]
fn a_service_that_went_is_watched_no_more() {
    let scratch = Scratch::new();
    let _svscan = svscan(&scratch);
    Service::new(&scratch, "sv/web", "exec sleep 1000").up();
    let events = Events::start(&scratch, "");
    events.wait_for(&["web up (pid "]);
    wait_until("it has watches", || watches(events.daemon.pid()) >= 4);
    let before = watches(events.daemon.pid());
    for round in 0..3 {
        let name = format!("new{round}");
        Service::new(&scratch, &name, "exec sleep 1000");
        fs::rename(scratch.path().join(&name), scratch.path().join("sv").join(&name)).unwrap();
        events.wait_for(&[&format!("{name} up (pid ")]);
        // The directory is still there, under another name.
        fs::rename(scratch.path().join("sv").join(&name), scratch.path().join(&name)).unwrap();
        events.wait_for(&[&format!("{name} removed")]);
        wait_until("its watches are gone", || watches(events.daemon.pid()) == before);
    }
}

#[test]
fn a_scan_directory_that_is_moved_away_and_made_anew_is_watched_again() {
    let scratch = Scratch::new();
    scratch.dir("sv/web");
    let events = Events::start(&scratch, "");
    events.wait_for(&["web unsupervised"]);
    fs::rename(scratch.path().join("sv"), scratch.path().join("old")).unwrap();
    events.wait_for(&["web removed"]);
    scratch.dir("new/db");
    fs::rename(scratch.path().join("new"), scratch.path().join("sv")).unwrap();
    events.wait_for(&["db unsupervised"]);
    scratch.dir("sv/later");
    events.wait_for(&["later unsupervised"]);
    // What happens in the one before is none of its business any more.
    scratch.dir("old/other");
    scratch.dir("sv/last");
    events.wait_for(&["last unsupervised"]);
    assert!(events.lines().iter().all(|line| !line.contains("other")), "{:?}", events.lines());
}

#[test]
fn a_logger_that_is_made_later_is_told() {
    let scratch = Scratch::new();
    scratch.dir("sv/web");
    let events = Events::start(&scratch, "");
    events.wait_for(&["web unsupervised"]);
    scratch.dir("sv/web/log");
    events.wait_for(&["web/log unsupervised"]);
    fs::remove_dir(scratch.path().join("sv/web/log")).unwrap();
    events.wait_for(&["web/log removed"]);
}

#[test]
fn the_logger_of_a_service_is_told_too() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "sv/web", "exec sleep 1000");
    scratch.script("sv/web/log/run", "#!/bin/sh\nexit 1\n");
    let _svscan = svscan(&scratch);
    service.up();
    let events = Events::start(&scratch, "web");
    events.wait_for(&["web/log restarting: exited 1"]);
    events.wait_for(&["web up (pid "]);
}

#[test]
fn it_sleeps_while_nothing_happens() {
    let scratch = Scratch::new();
    let _svscan = svscan(&scratch);
    Service::new(&scratch, "sv/web", "exec sleep 1000").up();
    let crash = Service::new(&scratch, "sv/crash", "echo >>starts; exit 3");
    let events = Events::start(&scratch, "web");
    events.wait_for(&["web up (pid "]);
    let status = format!("/proc/{}/status", events.daemon.pid());
    let wakes = || {
        let text = fs::read_to_string(&status).unwrap();
        text.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap().to_string()
    };
    wait_until("it sleeps", || fs::read_to_string(&status).unwrap().contains("State:\tS"));
    let before = wakes();
    let starts = crash.lines("starts", 1).len();
    crash.lines("starts", starts + 3);
    assert_eq!(wakes(), before);
}

#[test]
fn it_ends_quietly() {
    let scratch = Scratch::new();
    let _svscan = svscan(&scratch);
    Service::new(&scratch, "sv/web", "exec sleep 1000").up();
    let mut events = Events::start(&scratch, "web");
    events.wait_for(&["web up"]);
    events.daemon.signal(Signal::SIGINT);
    assert_eq!((events.daemon.wait(), events.daemon.errors().as_str()), (130, ""));
    // It does not wait for the next change to see that its reader is gone.
    let outcome = scratch.shell("svctl -d sv events web | head -n 1");
    assert!(outcome.code == 0 && outcome.stdout.contains("web up (pid ") && outcome.stderr.is_empty(), "{outcome:?}");
    assert_eq!(scratch.run("svctl -d sv events wbe").code, 100);
}
