//! Rotation by time, and the clocks and time zones that rotation and stamps depend on.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tests::{Log, Multilog, Scratch, has, lines, prints, skip, state_of, wait_until};

#[test]
fn a_file_is_finished_though_nothing_comes() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let mut multilog = Multilog::start(&scratch, "r1s ./log");
    for (count, line) in ["first\n", "second\n"].into_iter().enumerate() {
        multilog.feed(line);
        wait_until("it is finished", || log.old().len() == count + 1);
        assert_eq!(log.content(&log.old()[count]), line.as_bytes());
        assert!(log.content("current").is_empty());
    }
    assert_eq!(multilog.end(), "");
    assert_eq!(log.old().len(), 2, "an empty file is not finished");
}

#[test]
fn lines_of_one_file_are_of_one_period() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let mut multilog = Multilog::start(&scratch, "t s50000 n1000 r2s,utc ./log r2s ./copy");
    let mut fed = 0;
    wait_until("three periods have passed", || {
        multilog.feed(lines(10, 50));
        fed += 10;
        Log::of(&scratch, "copy").old().len() >= 3
    });
    assert_eq!(multilog.end(), "");
    assert_each_file_is_of_one_period(&log);
    assert_eq!(count_lines(&log), fed);
}

/// Checks that the lines of each file begin with TAI64N stamps of the same period of two seconds.
fn assert_each_file_is_of_one_period(log: &Log) {
    for name in log.old().into_iter().chain(["current".into()]) {
        let text = String::from_utf8(log.content(&name)).unwrap();
        let stamped = text.lines().filter_map(|line| line.strip_prefix('@'));
        let periods: Vec<_> = stamped.map(|line| (u64::from_str_radix(&line[..16], 16).unwrap() - 10) / 2).collect();
        assert!(periods.iter().all(|period| *period == periods[0]), "{name}: {periods:?}");
    }
}

fn count_lines(log: &Log) -> usize {
    log.all().iter().filter(|byte| **byte == b'\n').count()
}

/// Waits until a period of two seconds is over.
fn wait_for_the_next_period() {
    let period = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 2;
    let begun = period();
    wait_until("the period is over", || period() > begun);
}

/// The rest of the line comes in the next period: with other lines, or alone before the end of the input.
#[test]
fn the_line_in_which_a_period_ends_is_the_last_of_its_file() {
    let table = [
        ("t s1M r2s,utc ./log", "end\nnext\n", 3),
        ("t s1M r2s,utc ./log", "end\n", 2),
        ("t s1M r2s,utc -nothing ./log", "end\nnext\n", 3),
        // When multilog ends, it writes how many lines were suppressed. That line has the stamp of this moment.
        ("t s1M -* +*s l0/1h -* +*x* +*m* r2s,utc ./log", "", 2),
    ];
    for (script, rest, count) in table {
        let scratch = Scratch::new();
        let log = Log::of(&scratch, "log");
        let mut multilog = Multilog::start(&scratch, script);
        multilog.feed(format!("s\n{}", "x".repeat(1500)));
        wait_until("its beginning is logged", || !log.content("current").is_empty());
        wait_for_the_next_period();
        multilog.feed(rest);
        assert_eq!(multilog.end(), "");
        assert_eq!(count_lines(&log), count, "{script}: {rest:?}");
        assert_each_file_is_of_one_period(&log);
    }
}

/// A slow disk delays multilog while it finishes a full file, in the middle of lines that were read together.
#[test]
fn a_file_that_a_slow_disk_has_made_late_is_of_the_time_of_its_lines() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let program = tests::programs().join("multilog");
    let delay = ["-e", "trace=fsync", "-e", "inject=fsync:delay_enter=2500000:when=1"];
    let words = [&["strace", "-qq", "-o", "/dev/null"], &delay[..], &[program.to_str().unwrap()]].concat();
    let mut multilog = Multilog::by(&scratch, &words, "t s4096 n1000 r2s,utc ./log");
    multilog.feed(lines(200, 50));
    wait_until("they are logged", || count_lines(&log) == 200);
    multilog.feed(lines(1, 50));
    assert_eq!(multilog.end(), "");
    assert_eq!(count_lines(&log), 201);
    assert_each_file_is_of_one_period(&log);
}

/// The file itself was written to in the period after that of its lines: the last of them came a moment before its end,
/// or something else has changed the file's time, as the multilog does that cuts off what was being written.
#[test]
fn a_file_is_of_the_period_of_its_lines_whenever_its_multilog_was_killed() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    for round in 0..4 {
        let mut multilog = Multilog::start(&scratch, "t s50000 n1000 r2s,utc ./log");
        multilog.feed("early\n");
        wait_until("it is logged", || count_lines(&log) == 2 * round + 1);
        wait_until("it has noted that", || state_of(multilog.pid()) == Some('S'));
        kill(Pid::from_raw(multilog.pid()), Signal::SIGKILL).unwrap();
        drop(multilog);
        wait_for_the_next_period();
        let current = File::options().write(true).open(scratch.path().join("log/current")).unwrap();
        current.set_modified(SystemTime::now()).unwrap();
        assert_eq!(scratch.shell("echo late | multilog t s50000 n1000 r2s,utc ./log"), prints(""));
        assert_each_file_is_of_one_period(&log);
        assert_eq!(count_lines(&log), 2 * round + 2);
    }
}

/// The end of a long line that the input breaks off is written in the next period, and nothing comes after it.
#[test]
fn a_file_is_of_the_period_of_its_lines_also_if_its_end_was_written_late() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let program = tests::programs().join("multilog");
    let delay = ["-e", "trace=write", "-e", "inject=write:delay_enter=2500000:when=2"];
    let words = [&["strace", "-qq", "-o", "/dev/null"], &delay[..], &[program.to_str().unwrap()]].concat();
    let mut multilog = Multilog::by(&scratch, &words, "t s50000 n1000 r2s,utc ./log");
    multilog.feed("x".repeat(1500));
    wait_until("its beginning is logged", || !log.content("current").is_empty());
    assert_eq!(multilog.end(), "");
    assert_eq!(count_lines(&log), 1);
    assert_eq!(scratch.shell("echo late | multilog t s50000 n1000 r2s,utc ./log"), prints(""));
    assert_each_file_is_of_one_period(&log);
    assert_eq!(count_lines(&log), 2);
}

#[test]
fn lines_of_yesterday_are_finished_before_those_of_today() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    Multilog::start(&scratch, "./log").end();
    for (when, age) in [("rday", 86_400), ("rhour,utc", 3_600), ("r7m", 420)] {
        let mut multilog = Multilog::start(&scratch, "./log");
        multilog.feed("old\n");
        multilog.end();
        let before = SystemTime::now() - Duration::from_secs(age);
        File::options().write(true).open(scratch.path().join("log/current")).unwrap().set_modified(before).unwrap();
        let old = log.old().len();
        let mut multilog = Multilog::start(&scratch, &format!("{when} ./log"));
        multilog.feed("new\n");
        multilog.end();
        let name = &log.old()[old];
        assert_eq!((log.content(name), log.content("current")), (b"old\n".to_vec(), b"new\n".to_vec()), "{when}");
        std::fs::remove_file(scratch.path().join("log/current")).unwrap();
    }
}

/// In the first time zone it is now a minute after midnight, in the second it is noon.
#[test]
fn a_day_begins_at_the_zones_midnight_or_at_utcs() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let program = tests::programs().join("multilog");
    let ago = |seconds| SystemTime::now() - Duration::from_secs(seconds);
    for (when, after_midnight) in [("rday", 60), ("rday", 43_200), ("rday,utc", 60)] {
        let _ = std::fs::remove_dir_all(scratch.path().join("log"));
        let mut before = Multilog::start(&scratch, "./log");
        before.feed("old\n");
        before.end();
        let current = File::options().write(true).open(scratch.path().join("log/current")).unwrap();
        current.set_modified(ago(600)).unwrap();
        // The seconds since midnight UTC, at that time and now.
        let [then, now] =
            [ago(600), ago(0)].map(|moment| moment.duration_since(UNIX_EPOCH).unwrap().as_secs() % 86_400);
        // A zone can be this far behind UTC.
        let west = (now + 86_400 - after_midnight) % 86_400;
        let zone = format!("TZ=XYZ{:02}:{:02}:{:02}", west / 3600, west / 60 % 60, west % 60);
        let mut multilog =
            Multilog::by(&scratch, &["/usr/bin/env", &zone, program.to_str().unwrap()], &format!("{when} ./log"));
        multilog.feed("new\n");
        multilog.end();
        let is_yesterday = if when == "rday" { after_midnight < 600 } else { then > now };
        assert_eq!(log.old().len(), usize::from(is_yesterday), "{when} {zone}");
    }
}

/// Replaces the C library's clock: the number of seconds in a file is added to the time.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    char text[32] = "";
    int file, result = syscall(SYS_clock_gettime, clock, time);
    if (clock == CLOCK_REALTIME && (file = open(getenv("AHEAD"), O_RDONLY)) >= 0) {
        if (read(file, text, sizeof text - 1) > 0) time->tv_sec += atol(text);
        close(file);
    }
    return result;
}
"#;

/// The clock was ahead when multilog started, and is corrected while it runs.
#[test]
fn a_line_has_the_time_at_which_it_was_read_though_the_clock_was_put_back() {
    if !has("cc") {
        return;
    }
    let scratch = Scratch::new();
    scratch.file("clock.c", CLOCK);
    assert_eq!(scratch.shell("cc -shared -fPIC -o clock.so clock.c"), prints(""));
    let program = tests::programs().join("multilog");
    let here = scratch.path().display().to_string();
    for stamp in ["t", "T", "I", "L"] {
        scratch.file("ahead", "86400");
        let words = ["/usr/bin/env", "TZ=UTC0", &format!("LD_PRELOAD={here}/clock.so"), &format!("AHEAD={here}/ahead")];
        let words = [&words[..], &[program.to_str().unwrap()]].concat();
        let mut multilog = Multilog::by(&scratch, &words, &format!("{stamp} s1M n9 ./log-{stamp}"));
        let log = Log::of(&scratch, &format!("log-{stamp}"));
        let second = || -> u64 {
            let text = String::from_utf8(log.content("current")).unwrap();
            let stamp = text.lines().last().unwrap().split(' ').next().unwrap().to_string();
            match stamp.as_bytes()[0] {
                b'@' => u64::from_str_radix(&stamp[1..17], 16).unwrap() - (1 << 62) - 10,
                _ if stamp.contains('T') => {
                    let date = scratch.shell(&format!("date -d {stamp} +%s")).stdout;
                    date.trim().parse().unwrap()
                }
                _ => stamp.split('.').next().unwrap().parse().unwrap(),
            }
        };
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut count = 0;
        for (ahead, name) in [(86_400, "ahead of time"), (0, "set right"), (43_200, "ahead again")] {
            scratch.file("ahead", ahead.to_string());
            let before = now() + ahead;
            multilog.feed("line\n");
            count += 1;
            wait_until("it is logged", || {
                log.content("current").iter().filter(|byte| **byte == b'\n').count() == count
            });
            if count == 1 && second() < before {
                return skip("the programs are static, so their clock cannot be replaced");
            }
            assert!((before..=now() + ahead).contains(&second()), "{stamp}, {name}");
        }
        multilog.end();
    }
}

/// The contents of a time zone's file for a zone that is this many hours ahead of UTC.
fn zone_ahead(hours: u32) -> Vec<u8> {
    let block = [&b"TZif2"[..], &[0; 15], &[0, 0, 0, 0].repeat(4), &[0, 0, 0, 1, 0, 0, 0, 4]].concat();
    let kind = [&(hours * 3600).to_be_bytes()[..], &[0, 0], b"XXX\0"].concat();
    [&block[..], &kind, &block, &kind, format!("\nXXX-{hours}\n").as_bytes()].concat()
}

#[test]
#[ignore = "takes more than a minute"]
fn another_time_zone_is_followed_within_a_minute() {
    let scratch = Scratch::new();
    [1, 5].iter().for_each(|hours| scratch.file(format!("zone{hours}"), zone_ahead(*hours)));
    let zone = scratch.path().join("zone");
    symlink("zone1", &zone).unwrap();
    let program = tests::programs().join("multilog");
    let words = ["/usr/bin/env", &format!("TZ=:{}", zone.display()), program.to_str().unwrap()];
    let mut multilog = Multilog::by(&scratch, &words, "L ./log");
    let log = Log::of(&scratch, "log");
    multilog.feed("line\n");
    wait_until("it is logged", || !log.content("current").is_empty());
    assert!(String::from_utf8(log.content("current")).unwrap().contains("+01:00 line"));
    fs::remove_file(&zone).unwrap();
    symlink("zone5", &zone).unwrap();
    std::thread::sleep(Duration::from_secs(61));
    multilog.feed("line\n");
    wait_until("it has the other time", || {
        String::from_utf8(log.content("current")).unwrap().ends_with("+05:00 line\n")
    });
    multilog.end();
}
