//! svscanboot: the processes and the environment that init's users rely on. The original's svscanboot has its directory
//! built in and stops what runs there. So the test does not run it, but reads it.

use std::fs;
use tests::{Daemon, Scratch, Service, environment, original, parent_of, processes_in, programs, wait_until};

const PATH: &str = "/command:/usr/local/bin:/usr/local/sbin:/bin:/sbin:/usr/bin:/usr/sbin:/usr/X11R6/bin";

#[test]
fn svscan_and_readproctitle_run_under_it_with_a_path_and_nothing_else() {
    if original() {
        let script = fs::read_to_string(programs().join("svscanboot")).expect("the original is a script");
        assert!(script.lines().any(|line| line == format!("PATH={PATH}")));
        assert!(script.contains(&format!("readproctitle service errors: {}\n", ".".repeat(400))));
        return;
    }
    let scratch = Scratch::new();
    let directory = scratch.path().join("services");
    let a = Service::new(&scratch, "services/a", "env >environment; exec sleep 1000");
    let boot = Daemon::start(scratch.command("svscanboot").arg(&directory).env("FOREIGN", "1"), &scratch);
    let pid = a.up();
    let supervise = parent_of(pid).expect("its supervise");
    let svscan = parent_of(supervise).expect("its svscan");
    assert_eq!(parent_of(svscan), Some(boot.pid()));
    assert_eq!(
        environment(svscan).iter().filter(|entry| !entry.is_empty()).collect::<Vec<_>>(),
        [&format!("PATH={PATH}")]
    );
    assert!(!a.says("environment").contains("FOREIGN"));
    let arguments =
        |pid| String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).into_owned();
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", boot.pid())).expect("its children");
    let other = children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid| *pid != svscan);
    let title = other.expect("another child");
    wait_until("it is readproctitle", || arguments(title).starts_with("readproctitle\0service\0errors:\0..."));
    assert_eq!(arguments(title).trim_end_matches('\0').rsplit('\0').next().map(str::len), Some(400));
    let null = |pid, number: u8| fs::read_link(format!("/proc/{pid}/fd/{number}")).expect("a descriptor");
    for (pid, number) in [(boot.pid(), 0), (boot.pid(), 1), (boot.pid(), 2), (svscan, 0), (title, 1), (title, 2)] {
        assert_eq!(null(pid, number).to_str(), Some("/dev/null"), "{number} of {}", arguments(pid));
    }
    assert_eq!(null(svscan, 1), null(svscan, 2));
    assert_eq!(null(svscan, 1), null(title, 0));
    // When svscanboot is killed, it takes svscan and readproctitle along, but no service. The next svscan takes over
    // the supervises.
    drop(boot);
    wait_until("svscan is gone too", || !processes_in(&directory).contains(&svscan));
    assert_eq!(parent_of(pid), Some(supervise));
}
