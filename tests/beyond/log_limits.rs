//! The limits on old files.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tests::{Log, Multilog, Scratch, lines, wait_until};

/// The name of a file that was finished this long ago.
fn finished(ago: Duration) -> String {
    let moment = (SystemTime::now() - ago).duration_since(UNIX_EPOCH).unwrap();
    format!("@{:016x}{:08x}.s", (1 << 62) + 10 + moment.as_secs(), moment.subsec_nanos())
}

#[test]
fn there_are_never_more_bytes_than_that() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    for _ in 0..20 {
        let mut multilog = Multilog::start(&scratch, "s5000 n1000 b20k ./log");
        multilog.feed(lines(100, 50));
        assert_eq!(multilog.end(), "");
        assert!(log.size() <= 20 << 10, "{}", log.size());
    }
    let left = log.all();
    assert!(left.len() > 15_000 && lines(100, 50).repeat(20).ends_with(&left), "{}", left.len());
    // The lines that were just logged are kept, however small the limit is.
    let mut multilog = Multilog::start(&scratch, "b100 ./little");
    multilog.feed(lines(100, 50));
    assert_eq!(multilog.end(), "");
    let left = Log::of(&scratch, "little").all();
    assert!(left.len() > 2000 && lines(100, 50).ends_with(&left), "{}", left.len());
    // A new limit applies as soon as multilog starts.
    Multilog::start(&scratch, "s5000 n1000 b10k ./log").end();
    assert!(log.size() <= 10 << 10, "{}", log.size());
}

#[test]
fn files_go_when_they_are_too_old_though_nothing_comes() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let [old, aging, young] = [3601, 3599, 3500].map(|seconds| finished(Duration::from_secs(seconds)));
    for name in [&old, &aging, &young] {
        scratch.file(format!("log/{name}"), "line\n");
    }
    let multilog = Multilog::start(&scratch, "a1h ./log");
    wait_until("the older ones are gone", || log.old() == [young.clone()]);
    assert_eq!(multilog.end(), "");
}

/// Without another limit, multilog removes a file only when it finishes the next one.
#[test]
fn the_number_counts_when_a_file_is_finished() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    for seconds in 1..6 {
        scratch.file(format!("log/{}", finished(Duration::from_secs(seconds))), "line\n");
    }
    Multilog::start(&scratch, "n3 ./log").end();
    assert_eq!(log.old().len(), 5);
    let mut multilog = Multilog::start(&scratch, "s4096 n4 ./log");
    multilog.feed(lines(500, 50));
    multilog.end();
    assert_eq!(log.old().len(), 3);
}

/// Otherwise a file that is finished now would count as the oldest.
#[test]
fn a_clock_that_was_put_back_does_not_make_new_files_old() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let in_an_hour = (SystemTime::now() + Duration::from_secs(3600)).duration_since(UNIX_EPOCH).unwrap().as_secs();
    for number in 0..3 {
        scratch.file(format!("log/@{:016x}{number:08x}.s", (1 << 62) + 10 + in_an_hour), "line\n");
    }
    scratch.file(format!("log/@{}.s", "f".repeat(24)), "no clock's\n");
    let mut multilog = Multilog::start(&scratch, "s4096 n5 ./log");
    multilog.feed(lines(500, 50));
    multilog.end();
    let old = log.old();
    assert_eq!(old.len(), 4);
    let names = old[..3].iter().map(String::as_str).chain(["current"]);
    let new: Vec<u8> = names.flat_map(|name| log.content(name)).collect();
    assert!(new.len() > 6_000 && lines(500, 50).ends_with(&new), "{old:?}");
}
