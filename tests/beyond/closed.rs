//! Programs that are started with standard descriptors closed. None of the files that they open gets such a number.

use std::fs;
use tests::{Daemon, Scratch, Service, wait_until};

#[test]
fn a_log_takes_no_alerts_for_a_closed_standard_error() {
    let scratch = Scratch::new();
    assert_eq!(scratch.shell("exec 2>&-; echo line | multilog e ./main").code, 0);
    for (file, content) in [("lock", ""), ("state", ""), ("current", "line\n")] {
        assert_eq!(fs::read_to_string(scratch.path().join("main").join(file)).unwrap(), content, "{file}");
    }
}

#[test]
fn supervise_keeps_its_files_from_the_numbers_and_the_service_finds_them_closed() {
    let look = "open=; for fd in 0 1 2; do [ ! -e /proc/$$/fd/$fd ] || open=\"$open $fd\"; done
        echo \"open:$open\" >found; exec sleep 1000";
    for (closed, left) in [("<&- >&- 2>&-", "open:"), ("2>&-", "open: 0 1"), (">&- 2>&-", "open: 0")] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", look);
        let start = format!("exec supervise web {closed}");
        let supervise = Daemon::start(scratch.command("/bin/sh").args(["-c", &start]), &scratch);
        assert_eq!(service.lines("found", 1), [left], "{closed}");
        for standard in (0..3).filter(|number| !left.contains(&number.to_string())) {
            let file = format!("/proc/{}/fd/{standard}", supervise.pid());
            assert_eq!(fs::read_link(file).unwrap().to_str(), Some("/dev/null"), "{closed}");
        }
    }
}

#[test]
fn svscan_does_so_too() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "services/web", "echo >started; exec sleep 1000");
    let start = "exec svscan services <&- >&- 2>&-";
    let svscan = Daemon::start(scratch.command("/bin/sh").args(["-c", start]), &scratch);
    service.lines("started", 1);
    wait_until("it is supervised", || service.is_supervised());
    for standard in 0..3 {
        let file = fs::read_link(format!("/proc/{}/fd/{standard}", svscan.pid())).unwrap();
        assert_eq!(file.to_str(), Some("/dev/null"));
    }
}
