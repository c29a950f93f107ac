//! Runs the program itself in its quick form, without building a release.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

fn bench() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bench"))
}

#[test]
fn what_is_not_known_is_refused_with_the_names_of_what_is() {
    for arguments in [&["--quick"][..], &["logs"], &["--loud", "log"]] {
        let output = bench().args(arguments).output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(100), "{words}");
        assert!(words.contains("names: log control footprint boot recover query"), "{words}");
    }
}

/// A bench in a scratch directory, about to measure this workspace's programs, built like this test.
fn on_debug_build(scratch: &Path) -> Command {
    let built = Path::new(env!("CARGO_BIN_EXE_bench")).parent().unwrap();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--workspace", "--bins", "--target-dir"]).arg(built.parent().unwrap());
    assert!(cargo.status().unwrap().success());
    let mut command = bench();
    command.args(["--quick", "--scratch"]).arg(scratch).env("BIN", built);
    command
}

/// The output of a measurement.
fn measured(name: &str) -> Value {
    let scratch = tempfile::tempdir().unwrap();
    let output = on_debug_build(scratch.path()).args(["--json", name]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The median of a figure for each column that it has in a case.
fn medians<'a>(json: &'a Value, figure: &str, case: &str) -> Vec<(&'a str, Option<f64>)> {
    let figure = json["figures"].as_array().unwrap().iter().find(|one| one["name"] == figure).unwrap();
    let cells = figure["cells"].as_array().unwrap().iter().filter(|cell| cell["case"] == case);
    cells.map(|cell| (cell["who"].as_str().unwrap(), cell["median"].as_f64())).collect()
}

fn entries(folder: &Path) -> Vec<OsString> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn boot_is_measured_drawn_and_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let pictures = scratch.path().join("pictures");
    let mut command = on_debug_build(scratch.path());
    let output = command.args(["--json", "--svg"]).arg(&pictures).arg("boot").output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let picture = fs::read_to_string(pictures.join("boot.svg")).unwrap();
    assert!(picture.starts_with("<svg"));
    assert!(picture.contains(json["date"].as_str().unwrap()), "{json}");
    assert!(json["machine"]["cores"].as_u64().unwrap() > 0, "{json}");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(json["kernel"], kernel.trim_end());
    for case in ["10", "10, with loggers"] {
        assert_all_measured(&json, "boot", case, &["fork+exec"]);
    }
    assert_eq!(entries(scratch.path()), ["pictures"]);
}

/// Checks that each installed suite, and each of these other columns, has a measured value in a case.
fn assert_all_measured(json: &Value, figure: &str, case: &str, others: &[&str]) {
    let suites = json["versions"].as_object().unwrap();
    let found = medians(json, figure, case);
    assert_eq!(found.len(), suites.len() + others.len(), "{figure}, {case}: {json:#}");
    for who in suites.keys().map(String::as_str).chain(others.iter().copied()) {
        let is_measured =
            |(name, median): &(&str, Option<f64>)| *name == who && median.is_some_and(|value| value > 0.0);
        assert!(found.iter().any(is_measured), "{figure}, {case}, {who}: {json:#}");
    }
}

#[test]
fn every_log_writer_is_measured_at_every_pace_for_which_there_are_lines_enough() {
    let json = measured("log");
    for line in ["20 bytes", "127 bytes", "2000 bytes", "127 bytes, one a write"] {
        for style in ["plain", "t", "t, patterns"] {
            for figure in ["log-speed", "log-cpu"] {
                assert_all_measured(&json, figure, &format!("{line}, {style}"), &["cat", "read+write"]);
            }
        }
        assert_all_measured(&json, "log-memory", line, &["cat", "read+write"]);
    }
    for case in ["1/s, p50", "100/s, p50", "100/s, p99", "10000/s, p50", "10000/s, p99", "10000/s, p99.9"] {
        assert_all_measured(&json, "log-latency", case, &[]);
    }
    for case in ["1/s, p99", "1/s, p99.9"] {
        assert!(medians(&json, "log-latency", case).iter().all(|(_, median)| median.is_none()), "{json:#}");
    }
}

#[test]
fn control_is_measured_in_each_case_that_its_suite_has_a_program_for() {
    let json = measured("control");
    for case in [
        "command until the signal",
        "byte in control until the signal",
        "death until it runs again",
        "down, right after a start, until TERM",
        "up, right after the end, until it runs",
    ] {
        assert_all_measured(&json, "control", case, &[]);
    }
    let measured = |figure: &str, case: &str| {
        let all = medians(&json, figure, case).into_iter();
        all.filter(|(_, median)| median.is_some_and(|value| value > 0.0)).map(|(who, _)| who).collect::<Vec<_>>()
    };
    let there = |suites: &[&'static str]| -> Vec<&str> {
        suites.iter().copied().filter(|suite| json["versions"].get(suite).is_some()).collect()
    };
    assert_eq!(measured("control", "end until who waits for it knows"), there(&["ours", "s6"]));
    for case in ["ask", "command"] {
        assert_eq!(measured("control-many", case), there(&["ours", "daemontools", "runit"]), "{case}: {json:#}");
    }
}

#[test]
fn every_scanner_and_supervisor_has_a_footprint() {
    let json = measured("footprint");
    for role in ["supervisor", "scanner of 10"] {
        for kind in ["private", "private, written", "proportional", "resident"] {
            assert_all_measured(&json, "footprint-memory", &format!("{role}: {kind}"), &[]);
        }
        assert_all_measured(&json, "footprint-objects", &format!("{role}: descriptors"), &[]);
        for (figure, case) in [
            ("footprint-objects", format!("{role}: inotify watches")),
            ("footprint-wakes", role.into()),
            ("footprint-cpu", role.into()),
        ] {
            // A value of 0 is a measured value too.
            assert!(medians(&json, figure, &case).iter().all(|(_, median)| median.is_some()), "{json:#}");
        }
    }
}

#[test]
fn a_kill_costs_ours_no_line_and_no_second_copy_but_the_others_do_start_one() {
    let json = measured("recover");
    for case in ["lost", "doubled"] {
        assert!(medians(&json, "recover-lines", case).contains(&("ours", Some(0.0))), "{json:#}");
    }
    for case in ["supervisor", "scanner, then supervisor"] {
        let copies = medians(&json, "recover-copies", case);
        assert_eq!(copies.len(), json["versions"].as_object().unwrap().len());
        for (who, median) in copies {
            assert_eq!(median, Some(if who == "ours" { 1.0 } else { 2.0 }), "{who}, {case}: {json:#}");
        }
    }
}

#[test]
fn questions_to_a_log_are_measured_beside_cat() {
    let json = measured("query");
    for case in ["text", "--json"] {
        let who = medians(&json, "query-all", case);
        assert!(who.iter().any(|(name, cpu)| *name == "svlog" && cpu.is_some()), "{who:?}");
        assert!(who.iter().any(|(name, cpu)| *name == "cat" && cpu.is_some()), "{who:?}");
    }
}

#[test]
fn what_was_measured_before_a_failure_is_shown() {
    let scratch = tempfile::tempdir().unwrap();
    let programs = scratch.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let built = Path::new(env!("CARGO_BIN_EXE_bench")).parent().unwrap();
    for name in ["svscan", "supervise", "svc", "svstat", "probe"] {
        symlink(built.join(name), programs.join(name)).unwrap();
    }
    symlink("/bin/false", programs.join("multilog")).unwrap();
    let mut command = on_debug_build(scratch.path());
    let output = command.env("BIN", &programs).args(["--json", "boot", "log"]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(111), "{words}");
    assert!(words.contains("bench: measure log: "), "{words}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = json["figures"].as_array().unwrap().iter().map(|figure| &figure["name"]).collect();
    assert_eq!(names, ["boot"]);
}

#[test]
fn a_service_that_finds_the_fifo_of_events_full_waits() {
    let scratch = tempfile::tempdir().unwrap();
    let fifo = scratch.path().join("events");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let nonblocking = nix::libc::O_NONBLOCK;
    let mut events = OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(&fifo).unwrap();
    while events.write(&[0; 16]).is_ok() {}
    let mut probe = Command::new(env!("CARGO_BIN_EXE_probe")).arg(&fifo).arg("./run").spawn().unwrap();
    let status = format!("/proc/{}/status", probe.id());
    let limit = Instant::now() + Duration::from_secs(30);
    while !fs::read_to_string(&status).unwrap().contains("State:\tS") && probe.try_wait().unwrap().is_none() {
        assert!(Instant::now() < limit, "the probe neither sleeps nor ends");
        sleep(Duration::from_millis(1));
    }
    assert_eq!(probe.try_wait().unwrap(), None);
    let mut event = [0; 16];
    while event[4..8] != probe.id().to_ne_bytes() {
        assert!(Instant::now() < limit, "the probe reports nothing");
        let _ = events.read(&mut event);
    }
    probe.kill().unwrap();
    probe.wait().unwrap();
}

#[test]
fn interrupted_it_ends_all_that_it_started() {
    let scratch = tempfile::tempdir().unwrap();
    let mut command = on_debug_build(scratch.path());
    let mut bench = command.arg("footprint").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let limit = Instant::now() + Duration::from_secs(30);
    let runs = |entry: &OsString| scratch.path().join(entry).join("0/services/9/supervise/status").exists();
    while !entries(scratch.path()).iter().any(runs) {
        assert!(Instant::now() < limit, "nothing was started");
        sleep(Duration::from_millis(1));
    }
    let pid = Pid::from_raw(bench.id().cast_signed());
    kill(pid, Signal::SIGINT).unwrap();
    assert_eq!(bench.wait().unwrap().code(), Some(130));
    assert_eq!(entries(scratch.path()), Vec::<OsString>::new());
    let inside =
        |entry: fs::DirEntry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&scratch));
    assert!(!fs::read_dir("/proc").unwrap().any(|entry| inside(entry.unwrap())));
}
