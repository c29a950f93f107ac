//! When lines are on the disk.

use std::fs;
use tests::{Log, Multilog, Scratch, has, lines, wait_until};

/// multilog, and how often it has asked for that until now.
fn traced<'a>(scratch: &'a Scratch, script: &str) -> (Multilog<'a>, impl Fn() -> usize) {
    let trace = scratch.path().join("trace");
    let program = tests::programs().join("multilog");
    let words = ["strace", "-qq", "-e", "trace=fdatasync", "-o", trace.to_str().unwrap(), program.to_str().unwrap()];
    let multilog = Multilog::by(scratch, &words, script);
    (multilog, move || fs::read_to_string(&trace).unwrap_or_default().matches("fdatasync(").count())
}

#[test]
fn each_batch_of_lines_is_on_the_disk_before_the_next_is_read() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let (mut multilog, asked) = traced(&scratch, "yline ./log");
    for count in 1..6 {
        multilog.feed("line\n");
        wait_until("it is on the disk", || asked() == count && log.all().len() == 5 * count);
    }
    assert_eq!(multilog.end(), "");
}

#[test]
fn lines_are_on_the_disk_in_time() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let (mut multilog, asked) = traced(&scratch, "y300ms ./log");
    for count in 1..4 {
        // All of it at once, though it comes one by one.
        for _ in 0..5 {
            multilog.feed("line\n");
        }
        wait_until("it is on the disk, though nothing comes", || asked() >= count);
    }
    assert_eq!(multilog.end(), "");
    assert_eq!(Log::of(&scratch, "log").all().len(), 75);
}

/// As the original: with its file, which is not what is counted here.
#[test]
fn otherwise_nobody_waits_for_the_disk() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let (mut multilog, asked) = traced(&scratch, "yline yrotate s4096 n1000 ./log");
    multilog.feed(lines(1000, 50));
    wait_until("all is logged", || log.all().len() == 50_000);
    assert_eq!(multilog.end(), "");
    assert_eq!(asked(), 0);
}
