//! The service directories of `examples/`, with the daemons that they are for: started by svscan, talked to
//! over loopback, logged, restarted, taken down. Nothing is left running.
//!
//! Not tested: ports below 1024 but tinydns's, addresses but 127.0.0.0/8, accounts where the test is not root.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod hall;
mod talk;

use hall::Hall;
use talk::Daemon;

#[test]
fn real_daemons_live_under_svscan() {
    let daemons: Vec<Daemon> = talk::installed();
    let hall = Hall::open(&daemons);
    for daemon in &daemons {
        hall.until(daemon.name, "the first answer", || (daemon.works)(&hall));
        hall.until(daemon.name, "its log", || logged_as_selected(&hall, daemon));

        let before = hall.pid(daemon.name).unwrap();
        hall.svc("-t", daemon.name);
        hall.until(daemon.name, "a new process", || hall.pid(daemon.name).is_some_and(|pid| pid != before));
        hall.until(daemon.name, "an answer of the new process", || (daemon.works)(&hall));

        hall.svc("-d", daemon.name);
        hall.until(daemon.name, "its end", || hall.pid(daemon.name).is_none());
        assert!(!(daemon.works)(&hall), "{} answers although it is down", daemon.name);
        assert!(hall.svstat(daemon.name).contains("normally up"), "{}", hall.svstat(daemon.name));
    }
    hall.close();
}

/// Whether the log, read through tai64nlocal, has the line of an ordinary question and not that of one
/// asked before it which the logger is to drop.
fn logged_as_selected(hall: &Hall, daemon: &Daemon) -> bool {
    let log = hall.log(daemon.name);
    let dated = log.lines().all(|line| line.starts_with("20") && line.as_bytes().get(10) == Some(&b' '));
    assert!(dated && !log.contains(daemon.dropped), "{}: {log}", daemon.name);
    log.contains(daemon.kept)
}
