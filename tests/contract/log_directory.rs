//! The files in a log directory, for programs that read them directly. CONTRACT.md names these tests.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::SystemTime;
use tests::{Running, Scratch, differs, fails, prints, wait_until};

/// The log directory after `multilog ACTIONS ./log` has read `input`.
fn logged(actions: &[&str], input: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.file("input", input);
    let mut command = scratch.command("multilog");
    let input = fs::File::open(scratch.path().join("input")).unwrap();
    assert_eq!(scratch.outcome_of(command.args(actions).arg("./log").stdin(input)), prints(""));
    scratch
}

fn names(scratch: &Scratch) -> Vec<String> {
    let names = fs::read_dir(scratch.path().join("log")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_log_directory_is_its_owners_and_a_finished_current_is_executable() {
    let scratch = logged(&[], "line\nwithout an end");
    assert_eq!(names(&scratch), ["current", "lock", "state"]);
    let mode = |name: &str| fs::metadata(scratch.path().join("log").join(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("."), mode("current"), mode("lock")), (0o700, 0o744, 0o600));
    let current = fs::read_to_string(scratch.path().join("log/current")).unwrap();
    assert_eq!(current, "line\nwithout an end\n");
}

#[test]
fn a_current_in_use_is_not_executable_and_its_directory_locked() {
    let scratch = Scratch::new();
    let mut command = scratch.command("multilog");
    let child = command.arg("./log").stdin(Stdio::piped()).spawn().unwrap();
    let mut multilog = Running(child);
    multilog.0.stdin.as_ref().unwrap().write_all(b"line\n").unwrap();
    let current = scratch.path().join("log/current");
    wait_until("the line is written", || fs::read_to_string(&current).is_ok_and(|text| text == "line\n"));
    assert_eq!(fs::metadata(&current).unwrap().mode() & 0o777, 0o644);
    // The original's words, followed by the cause.
    let cause = differs(": it is in use by another multilog", "");
    let words = format!("multilog: fatal: unable to lock directory ./log: temporary failure{cause}\n");
    assert_eq!(scratch.run("multilog ./log"), fails(111, &words));
    drop(multilog.0.stdin.take());
    assert_eq!(multilog.wait().code(), Some(0));
}

/// A program that reads the directory sees an empty `current` until the next line comes.
#[test]
fn a_full_log_is_finished_before_the_next_line_comes() {
    let scratch = Scratch::new();
    let mut command = scratch.command("multilog");
    let child = command.args(["s4096", "./log"]).stdin(Stdio::piped()).spawn().unwrap();
    let multilog = Running(child);
    // The file is full, because less than 2000 bytes of it are left.
    let full = format!("{:041}\n", 0).repeat(50);
    multilog.0.stdin.as_ref().unwrap().write_all(full.as_bytes()).unwrap();
    wait_until("it is at work", || scratch.path().join("log/current").exists());
    let old = || names(&scratch).into_iter().find(|name| name.starts_with('@'));
    wait_until("it is finished", || old().is_some() && names(&scratch).contains(&"current".into()));
    let content = |name: &str| fs::read_to_string(scratch.path().join("log").join(name)).unwrap();
    assert_eq!((content(&old().unwrap()), content("current")), (full, String::new()));
}

#[test]
fn old_logs_are_named_by_time_and_one_less_than_n_is_kept() {
    let line = format!("{}\n", "x".repeat(99));
    let scratch = logged(&["s4096", "n3"], &line.repeat(400));
    let old: Vec<String> = names(&scratch).into_iter().filter(|name| name.starts_with('@')).collect();
    assert_eq!(old.len(), 2, "{old:?}");
    for name in old {
        let digits = name.strip_prefix('@').unwrap().strip_suffix(".s").unwrap();
        assert!(digits.len() == 24 && digits.bytes().all(|byte| b"0123456789abcdef".contains(&byte)), "{name}");
        let metadata = fs::metadata(scratch.path().join("log").join(&name)).unwrap();
        assert!(metadata.mode() & 0o777 == 0o744 && metadata.len() <= 4096, "{name}");
    }
}

#[test]
fn a_line_is_stamped_with_its_time_and_tai64nlocal_reads_it() {
    let scratch = logged(&["t"], "line\n");
    let current = fs::read_to_string(scratch.path().join("log/current")).unwrap();
    let (label, rest) = current.split_once(' ').unwrap();
    assert_eq!(rest, "line\n");
    let seconds = u64::from_str_radix(&label[1..17], 16).unwrap() - (1 << 62) - 10;
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(label.starts_with('@') && label.len() == 25 && (now - 60..=now).contains(&seconds), "{label}");
    let mut local = scratch.command("tai64nlocal");
    let input = fs::File::open(scratch.path().join("log/current")).unwrap();
    let read = scratch.outcome_of(local.env("TZ", "UTC").stdin(input)).stdout;
    assert!(read.starts_with("20") && read.ends_with(" line\n"), "{read}");
}

#[test]
fn what_was_not_finished_is_kept_under_a_name_of_its_own() {
    let scratch = Scratch::new();
    scratch.file("log/current", "half a li");
    scratch.mode("log/current", 0o644);
    scratch.mode("log", 0o700);
    assert_eq!(scratch.run("multilog ./log").code, 0);
    let unfinished = names(&scratch).into_iter().find(|name| name.ends_with(".u")).unwrap();
    assert_eq!(fs::read_to_string(scratch.path().join("log").join(unfinished)).unwrap(), "half a li");
}
