//! Service directories that are made, moved and linked while svscan watches.

use crate::svscan::{SCANNED, service, svscan};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::thread;
use std::time::{Duration, Instant};
use tests::{Daemon, Scratch, Service, wait_until};

/// Repeats an attempt that must be fast, until it was fast enough. The system may suspend this process in the middle of
/// one.
fn in_an_instant(mut attempt: impl FnMut() -> Option<()>) {
    assert!((0..50).any(|_| attempt().is_some()), "this machine is too busy");
}

/// The steps are those of a user, only faster. svscan sees each of them.
#[test]
fn a_logger_that_is_made_last_is_not_missed() {
    in_an_instant(|| {
        let scratch = Scratch::new();
        let svscan = svscan(&scratch);
        scratch.script("run", "#!/bin/sh\necho line; exec sleep 1000\n");
        scratch.script("logger", "#!/bin/sh\nexec cat >>lines\n");
        for name in ["a", "b", "c"] {
            let directory = scratch.path().join(SCANNED).join(name);
            let begun = Instant::now();
            for (program, directory) in [("run", directory.clone()), ("logger", directory.join("log"))] {
                thread::sleep(Duration::from_millis(1));
                fs::create_dir(&directory).expect("make a directory");
                fs::hard_link(scratch.path().join(program), directory.join("run")).expect("give it a program");
            }
            if begun.elapsed() > Duration::from_millis(50) {
                return None;
            }
            assert_eq!(Service::at(&scratch, &format!("{SCANNED}/{name}")).lines("log/lines", 1), ["line"]);
        }
        assert_eq!(svscan.complaints(), "");
        Some(())
    });
}

#[test]
fn a_log_that_comes_too_late_is_said_once() {
    let scratch = Scratch::new();
    let svscan = svscan(&scratch);
    let a = service(&scratch, "a", "exec sleep 1000");
    let pid = a.up();
    scratch.script(format!("{SCANNED}/a/log/run"), "#!/bin/sh\nexec cat\n");
    for round in 0..3 {
        svscan.signal(Signal::SIGHUP);
        wait_until("it is said", || svscan.errors().contains("svscan: warning: a/log came too late: "));
        service(&scratch, &format!("round{round}"), "exec sleep 1000").up();
    }
    assert_eq!((svscan.errors().lines().count(), a.up()), (1, pid), "{}", svscan.errors());
    assert!(!a.path("log/supervise").exists());
}

/// `ln -sf` makes the link under a temporary name and renames it immediately.
#[test]
fn a_link_that_is_replaced_is_never_seen_under_another_name() {
    in_an_instant(|| {
        let scratch = Scratch::new();
        let services = ["x", "y"].map(|name| Service::new(&scratch, name, "exec sleep 1000"));
        let [x, y] = &services;
        let svscan = svscan(&scratch);
        let entry = |name: &str| scratch.path().join(SCANNED).join(name);
        let mut expected = String::new();
        let mut before: Option<&Service> = None;
        for (round, service) in [x, y, y, y, x, x, x, y].into_iter().enumerate() {
            let (begun, temporary) = (Instant::now(), entry(&format!("temporary{round}")));
            symlink(format!("../{}", service.name()), &temporary).unwrap();
            fs::rename(&temporary, entry("a")).unwrap();
            if begun.elapsed() > Duration::from_millis(5) {
                return None;
            }
            service.up();
            if before.is_some_and(|before| before.name() != service.name()) {
                expected += "svscan: warning: a is another directory now: stopping the one before\n\
                             svscan: stopping a\nsvscan: a is down\n";
                wait_until("the other one is down", || svscan.errors() == expected);
            }
            before = Some(service);
        }
        assert_eq!(svscan.errors(), expected);
        Some(())
    });
}

/// An incomplete directory is started after five seconds, and one that becomes complete is started before that.
#[test]
fn a_directory_that_is_renamed_while_it_is_made_is_started_when_it_is_complete() {
    let scratch = Scratch::new();
    scratch.script("run", "#!/bin/sh\nexec sleep 1000\n");
    let svscan = svscan(&scratch);
    let directory = scratch.path().join(SCANNED);
    let made = ["never", "new"].map(|name| directory.join(name));
    for path in &made {
        scratch.dir(path);
        let inode = format!(" ino:{:x} ", fs::metadata(path).expect("look at it").ino());
        wait_until("it is watched", || watches(&svscan).contains(&inode));
    }
    fs::rename(&made[1], directory.join("a")).expect("rename it");
    fs::hard_link(scratch.path().join("run"), directory.join("a/run")).expect("give it a program");
    Service::at(&scratch, &format!("{SCANNED}/a")).up();
    assert!(!Service::at(&scratch, &format!("{SCANNED}/never")).is_supervised());
}

/// The inotify watches of svscan, as /proc shows them.
fn watches(svscan: &Daemon) -> String {
    let files = fs::read_dir(format!("/proc/{}/fdinfo", svscan.pid())).into_iter().flatten();
    files
        .filter_map(|file| fs::read_to_string(file.ok()?.path()).ok())
        .filter(|text| text.contains("inotify "))
        .collect()
}
