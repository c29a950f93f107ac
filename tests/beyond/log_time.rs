//! Rotation by time.

use std::fs::File;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tests::{Log, Multilog, Scratch, lines, wait_until};

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
    for name in log.old().into_iter().chain(["current".into()]) {
        let text = String::from_utf8(log.content(&name)).unwrap();
        // The digits of the seconds, of periods of two.
        let periods: Vec<_> =
            text.lines().map(|line| (u64::from_str_radix(&line[1..17], 16).unwrap() - 10) / 2).collect();
        assert!(periods.iter().all(|period| *period == periods[0]), "{name}: {periods:?}");
    }
    assert_eq!(log.all().split(|byte| *byte == b'\n').count() - 1, fed);
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

/// Where it is always a minute after midnight, and where it is always noon.
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
        // Seconds after midnight of UTC, then and now.
        let [then, now] =
            [ago(600), ago(0)].map(|moment| moment.duration_since(UNIX_EPOCH).unwrap().as_secs() % 86_400);
        // Clocks there are so far behind.
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
