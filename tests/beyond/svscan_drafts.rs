//! Service directories that are made, moved and linked while svscan looks.

use crate::svscan::{SCANNED, service, svscan};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;
use tests::{Scratch, Service, wait_until};

/// As by hand, though faster: svscan sees every step.
#[test]
fn a_logger_that_is_made_last_is_not_missed() {
    let scratch = Scratch::new();
    let svscan = svscan(&scratch);
    scratch.script("run", "#!/bin/sh\necho line; exec sleep 1000\n");
    scratch.script("logger", "#!/bin/sh\nexec cat >>lines\n");
    for name in ["a", "b", "c"] {
        let directory = scratch.path().join(SCANNED).join(name);
        for (program, directory) in [("run", directory.clone()), ("logger", directory.join("log"))] {
            thread::sleep(Duration::from_millis(1));
            fs::create_dir(&directory).expect("make a directory");
            fs::hard_link(scratch.path().join(program), directory.join("run")).expect("give it a program");
        }
        assert_eq!(Service::at(&scratch, &format!("{SCANNED}/{name}")).lines("log/lines", 1), ["line"]);
    }
    assert_eq!(svscan.errors(), "");
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

/// `ln -sf` makes the link under another name first.
#[test]
fn a_link_that_is_replaced_is_never_seen_under_another_name() {
    let scratch = Scratch::new();
    let (x, y) = (Service::new(&scratch, "x", "exec sleep 1000"), Service::new(&scratch, "y", "exec sleep 1000"));
    let svscan = svscan(&scratch);
    let mut expected = String::new();
    for (round, service) in [&x, &y, &y, &y, &x, &x, &x, &y].into_iter().enumerate() {
        let before = if round == 0 {
            None
        } else {
            Some(fs::read_link(scratch.path().join(SCANNED).join("a")).expect("a link"))
        };
        let target = format!("../{}", service.name());
        assert_eq!(scratch.shell(&format!("ln -sfn {target} {SCANNED}/a")), tests::prints(""));
        service.up();
        if before.is_some_and(|before| before != Path::new(&target)) {
            expected += "svscan: warning: a is another directory now: stopping the one before\n\
                         svscan: stopping a\nsvscan: a is down\n";
            wait_until("the other one is down", || svscan.errors() == expected);
        }
    }
    assert_eq!(svscan.errors(), expected);
}
