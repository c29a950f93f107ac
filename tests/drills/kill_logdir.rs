//! multilog with rotation by time, compression and durability, and logcompress, are killed at each system call. A
//! successor finishes their work. Every byte is then in the log once and in order, in complete files.

use crate::every_call::{Drill, Subject, calls};
use std::io::{PipeReader, Write};
use std::process::Command;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;
use tests::{Daemon, Log, Running, Scratch, lines, wait_until};

pub const LOG_DIRECTORIES: Subject =
    Subject { test: "kill_logdir::a_sample_of_log_directories", kinds: &KINDS, killed: true, drills, run };
const KINDS: [&str; 5] = ["timed", "durable", "dropping", "zstd", "gzip"];

/// The command that is killed, and the command of its successor.
fn words(kind: &str) -> &'static [&'static str] {
    match kind {
        "timed" => &["multilog", "t", "s4096", "n1000", "a9d", "b9M", "r1s,utc", "./log"],
        "durable" => &["multilog", "s4096", "n1000", "zzstd", "yline", "doldest:1", "./log"],
        "dropping" => &["multilog", "s4096", "n1000", "y1s", "ddrop:1", "./log"],
        "zstd" => &["logcompress", "zstd", "log"],
        _ => &["logcompress", "gzip", "log"],
    }
}

fn pieces(kind: &str) -> Vec<Vec<u8>> {
    match kind {
        "timed" | "durable" | "dropping" => vec![lines(150, 30), b"a".to_vec(), b"b\n".to_vec(), lines(300, 30)],
        _ => Vec::new(),
    }
}

/// Makes the files that exist before.
fn prepare(scratch: &Scratch, kind: &str) {
    if words(kind)[0] == "logcompress" {
        for number in 0..4 {
            let file = format!("log/@4000000065{number:014x}.{}", if number == 0 { 'u' } else { 's' });
            scratch.file(&file, lines(number * 90, 30));
            scratch.mode(&file, 0o744);
        }
        scratch.file("log/current", "");
    }
}

fn expected(kind: &str) -> Vec<u8> {
    match words(kind)[0] {
        "logcompress" => (0..4).flat_map(|number| lines(number * 90, 30)).collect(),
        _ => pieces(kind).concat(),
    }
}

fn feed(kind: &str) -> (PipeReader, JoinHandle<()>) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let (kind, pieces) = (kind.to_string(), pieces(kind));
    let write = move || {
        for piece in &pieces {
            writer.write_all(piece).expect("write to the pipe");
            if kind == "timed" {
                // Nothing waits for this time to pass. It only makes the input span several periods.
                sleep(Duration::from_millis(400));
            }
        }
    };
    (reader, spawn(write))
}

fn strace(scratch: &Scratch, kind: &str, options: &[String], input: &PipeReader) -> Command {
    let mut command = scratch.command("strace");
    command.args(["-qq", "-o"]).arg(scratch.path().join("trace")).args(options);
    command.arg(scratch.programs().join(words(kind)[0])).args(&words(kind)[1..]);
    command.stdin(input.try_clone().expect("the pipe again"));
    command
}

fn run(scratch: &Scratch, drill: &Drill) -> bool {
    let kind = drill.kind.as_str();
    let (input, writer) = feed(kind);
    prepare(scratch, kind);
    let mut first = Daemon::start(&mut strace(scratch, kind, &drill.options(), &input), scratch);
    wait_until("it is killed or done", || first.has_ended());
    let log = Log::of(scratch, "log");
    if words(kind)[0] == "logcompress" {
        // This holds before the successor runs too: every file with the name of a compressed one is complete.
        assert!(log.all() == expected(kind), "before the successor");
    }
    let mut next = scratch.command(words(kind)[0]);
    let next = next.args(&words(kind)[1..]).stdin(input).spawn().expect("start a successor");
    assert_eq!(Running(next).wait().code(), Some(0));
    writer.join().expect("all is written");
    // The logcompress that multilog has started may go on without it. A file is read under one of its two names.
    let logged = || if kind == "timed" { unstamped(&log.all()) } else { log.all() };

    wait_until("all is there that was said, once", || logged() == expected(kind));
    if words(kind)[0] == "logcompress" {
        let old = log.old();
        assert!(old.len() == 4 && old.iter().all(|name| name.ends_with(".zst") || name.ends_with(".gz")), "{old:?}");
        assert!(!log.names().contains(&"compressing".to_string()), "nothing is left");
    }
    drill.came(first.wait(), &scratch.path().join("trace"))
}

/// The log without its stamps, which never go backwards.
fn unstamped(logged: &[u8]) -> Vec<u8> {
    let stamped = || logged.split_inclusive(|byte| *byte == b'\n');
    assert!(stamped().map(|line| &line[..25]).is_sorted(), "stamps go backwards");
    assert!(stamped().all(|line| line.starts_with(b"@4")), "the stamps have the present time");
    stamped().flat_map(|line| line[26..].to_vec()).collect()
}

fn drills(scratch: &Scratch, kind: &str) -> Vec<Drill> {
    let (input, writer) = feed(kind);
    prepare(scratch, kind);
    let mut whole = Daemon::start(&mut strace(scratch, kind, &[], &input), scratch);
    assert_eq!(whole.wait(), 0, "{}", whole.errors());
    writer.join().expect("all is written");
    calls(kind, &scratch.path().join("trace"))
}

#[test]
fn a_sample_of_log_directories() {
    LOG_DIRECTORIES.a_sample();
}

#[test]
#[ignore = "takes minutes"]
fn every_one_of_log_directories() {
    LOG_DIRECTORIES.every_one();
}
