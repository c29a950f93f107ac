//! multilog is killed at each system call of a complete run: from its start through input, rotations and processors to
//! its end. A successor reads the same pipe, as under svscan. Every byte is then in the log, once and in order.

use crate::every_call::{Drill, Subject, calls};
use std::fs;
use std::io::{PipeReader, Write};
use std::process::Command;
use std::thread::{JoinHandle, spawn};
use tests::{Daemon, Running, Scratch, wait_until};

pub const MULTILOGS: Subject =
    Subject { test: "kill_multilog::a_sample_of_multilogs", kinds: &KINDS, killed: true, drills, run };

/// The kinds of runs. Each has a script and an input, which comes in several writes.
const KINDS: [&str; 5] = ["plain", "stamped", "processor", "long", "forward"];

fn script(kind: &str) -> &'static [&'static str] {
    match kind {
        "stamped" => &["t", "s4096", "n1000", "./log"],
        // It remembers one letter for each file that it has processed.
        "processor" => &["s4096", "n1000", "!cat; echo \"$(cat <&4)x\" >&5", "./log"],
        "long" => &["-nothing", "s9000", "n1000", "./log", "./copy"],
        "forward" => &["R", "-^nothing", "l1000000/1h", "s4096", "n1000", "./log", "o", "u./socket"],
        _ => &["s4096", "n1000", "./log"],
    }
}

fn pieces(kind: &str) -> Vec<Vec<u8>> {
    let lines =
        |range: std::ops::Range<u32>| range.flat_map(|n| format!("{n:029}\n").into_bytes()).collect::<Vec<u8>>();
    match kind {
        "long" => vec![
            lines(0..9),
            vec![b'x'; 70_000],
            b"y\n".to_vec(),
            lines(10..20),
            b"begun".to_vec(),
            b" ended\n".to_vec(),
        ],
        _ => vec![
            lines(0..150),
            b"a".to_vec(),
            b"b\n".to_vec(),
            b"a line in".to_vec(),
            b" two pieces\n".to_vec(),
            lines(150..400),
        ],
    }
}

/// Writes all input, piece by piece, as fast as it is read.
fn feed(kind: &str) -> (PipeReader, JoinHandle<()>) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let pieces = pieces(kind);
    (reader, spawn(move || pieces.iter().for_each(|piece| writer.write_all(piece).expect("write to the pipe"))))
}

fn strace(scratch: &Scratch, kind: &str, options: &[String], input: &PipeReader) -> Command {
    let mut command = scratch.command("strace");
    command.args(["-qq", "-o"]).arg(scratch.path().join("trace")).args(options);
    command
        .arg(scratch.programs().join("multilog"))
        .args(script(kind))
        .stdin(input.try_clone().expect("the pipe again"))
        .stdout(output(scratch));
    command
}

/// The file to which one multilog after the other writes.
fn output(scratch: &Scratch) -> fs::File {
    fs::File::options().create(true).append(true).open(scratch.path().join("output")).expect("a file for its output")
}

/// Whether all expected lines are there in order; some may be repeated.
fn holds_each_line(shown: &[u8], expected: &[u8]) -> bool {
    let mut shown = shown.split_inclusive(|byte| *byte == b'\n');
    expected.split_inclusive(|byte| *byte == b'\n').all(|line| shown.any(|other| other == line))
}

fn run(scratch: &Scratch, drill: &Drill) -> bool {
    let (input, writer) = feed(&drill.kind);
    let mut first = Daemon::start(&mut strace(scratch, &drill.kind, &drill.options(), &input), scratch);
    wait_until("it is killed or done", || first.has_ended());
    // The successor does the work that the killed one was doing, even if the killed one had itself recovered from a
    // kill.
    let mut next = scratch.command("multilog");
    let next = next.args(script(&drill.kind)).stdin(input).stdout(output(scratch)).spawn().expect("start a successor");
    assert_eq!(Running(next).wait().code(), Some(0));
    writer.join().expect("all is written");
    let expected = pieces(&drill.kind).concat();
    assert!(logged(scratch, "log", &drill.kind) == expected, "the log differs from the lines that were written");
    if drill.kind == "forward" {
        let shown = fs::read(scratch.path().join("output")).expect("what it put out");
        assert!(holds_each_line(&shown, &expected), "lines are missing on standard output");
    }
    if drill.kind == "processor" {
        let remembered = fs::read(scratch.path().join("log/state")).expect("what the processor remembers");
        let files = fs::read_dir(scratch.path().join("log")).expect("a log directory");
        let is_processed = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().ends_with(b".s");
        let processed = files.map(|entry| entry.expect("an entry")).filter(is_processed).count();
        assert_eq!(remembered.len(), processed + 1, "the processor has forgotten a file, or knows it twice");
    }
    if drill.kind == "long" {
        assert!(logged(scratch, "copy", &drill.kind) == expected, "the second directory");
    }
    drill.came(first.wait(), &scratch.path().join("trace"))
}

/// The content of a log directory, without stamps.
fn logged(scratch: &Scratch, name: &str, kind: &str) -> Vec<u8> {
    let folder = scratch.path().join(name);
    let names = fs::read_dir(&folder).expect("a log directory").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().expect("a plain name")).collect();
    names.retain(|name| name.starts_with('@') || name == "current");
    // `@` comes before `current`.
    names.sort();
    let all: Vec<u8> = names.iter().flat_map(|name| fs::read(folder.join(name)).expect("a log file")).collect();
    match kind {
        "stamped" => all.split_inclusive(|byte| *byte == b'\n').flat_map(|line| line[26..].to_vec()).collect(),
        _ => all,
    }
}

fn drills(scratch: &Scratch, kind: &str) -> Vec<Drill> {
    let (input, writer) = feed(kind);
    let mut whole = Daemon::start(&mut strace(scratch, kind, &[], &input), scratch);
    assert_eq!(whole.wait(), 0, "{}", whole.errors());
    writer.join().expect("all is written");
    calls(kind, &scratch.path().join("trace"))
}

#[test]
fn a_sample_of_multilogs() {
    MULTILOGS.a_sample();
}

#[test]
#[ignore = "takes minutes"]
fn every_one_of_multilogs() {
    MULTILOGS.every_one();
}

/// The lines that the killed multilog had read and not written are lost.
#[test]
fn lost_lines_are_found_with_the_original() {
    MULTILOGS.finds_in_the_original("plain", "the log differs from the lines that were written");
}
