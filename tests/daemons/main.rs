//! The service directories of `examples/`, with the daemons that they are for. svscan starts them, and the test talks
//! to them over loopback, reads their logs, restarts them and stops them. No process is left.
//!
//! Not tested: ports below 1024 except tinydns's, addresses outside 127.0.0.0/8, and accounts if the test does not run
//! as root.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod background;
mod daemons;
mod services_dir;

use daemons::Daemon;
use services_dir::ServicesDir;

#[test]
fn real_daemons_live_under_svscan() {
    let daemons: Vec<Daemon> = daemons::installed();
    let services = ServicesDir::open(&daemons);
    for daemon in &daemons {
        services.until(daemon.name, "the first answer", || (daemon.works)(&services));
        services.until(daemon.name, "its log", || logged_as_selected(&services, daemon));

        let before = services.pid(daemon.name).unwrap();
        services.svc("-t", daemon.name);
        services.until(daemon.name, "a new process", || services.pid(daemon.name).is_some_and(|pid| pid != before));
        services.until(daemon.name, "an answer of the new process", || (daemon.works)(&services));

        services.svc("-d", daemon.name);
        services.until(daemon.name, "its end", || services.pid(daemon.name).is_none());
        assert!(!(daemon.works)(&services), "{} answers although it is down", daemon.name);
        assert!(services.svstat(daemon.name).contains("normally up"), "{}", services.svstat(daemon.name));
    }
    services.close();
}

/// Whether the log, read through tai64nlocal, contains the line of an ordinary question, and not the line of an earlier
/// question that the logger must drop.
fn logged_as_selected(services: &ServicesDir, daemon: &Daemon) -> bool {
    let log = services.log(daemon.name);
    let dated = log.lines().all(|line| line.starts_with("20") && line.as_bytes().get(10) == Some(&b' '));
    assert!(dated && !log.contains(daemon.dropped), "{}: {log}", daemon.name);
    log.contains(daemon.kept)
}
