//! When lines are guaranteed to be on the disk.

use std::fs;
use tests::{Log, Multilog, Scratch, has, lines, wait_until};

/// A multilog, and a function that counts how often it has called fsync(2) or the like.
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
        // All lines are synchronized together, although they arrive one by one.
        for _ in 0..5 {
            multilog.feed("line\n");
        }
        wait_until("it is on the disk, though nothing comes", || asked() >= count);
    }
    assert_eq!(multilog.end(), "");
    assert_eq!(Log::of(&scratch, "log").all().len(), 75);
}

/// Without the setting, multilog synchronizes only when it finishes a file, as the original does. That is not counted
/// here.
#[test]
fn otherwise_multilog_does_not_wait_for_the_disk() {
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
