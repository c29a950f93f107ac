//! All programs show the same local time, by the C library's interpretation of $TZ.

use std::process::Command;
use tests::{Outcome, Scratch, prints};

/// 2026-07-07 16:32:42 UTC.
const LINE: &str = "@400000006a4d2a3412345678 a line\n";

/// Names, names in subdirectories and with wrong capital letters, rules, and values that have no rule.
const ZONES: [&str; 19] = [
    "",
    "UTC",
    "Europe/Berlin",
    ":Europe/Berlin",
    "posix/Europe/Berlin",
    "right/UTC",
    "europe/berlin",
    "Asia/Kathmandu",
    "America/St_Johns",
    "EST5EDT",
    "CET-1CEST",
    "MEZ-1MESZ",
    "JST-9",
    "<+03>-3",
    "<-0330>3:30",
    "CST6CDT,M3.2.0,M11.1.0",
    "NZST-12NZDT,M9.5.0,M4.1.0/3",
    "/nowhere",
    "no such zone",
];

fn run(scratch: &Scratch, zone: Option<&str>, line: &str) -> Outcome {
    let mut command: Command = scratch.command("/bin/sh");
    command.args(["-c", line]).envs(zone.map(|zone| ("TZ", zone)));
    scratch.outcome_of(&mut command)
}

#[test]
fn svlog_shows_the_time_that_tai64nlocal_shows() {
    let scratch = Scratch::new();
    scratch.file("m/lock", "");
    scratch.file("m/current", LINE);
    for zone in ZONES.into_iter().map(Some).chain([None]) {
        let expected = run(&scratch, zone, "tai64nlocal <m/current");
        assert!(expected.code == 0 && expected.stdout.starts_with("2026-07-0"), "{zone:?}: {expected:?}");
        assert_eq!(run(&scratch, zone, "svlog m"), expected, "{zone:?}");
        let (date, time) = (&expected.stdout[..10], &expected.stdout[11..29]);
        let json = run(&scratch, zone, "svlog --json m").stdout;
        assert!(json.starts_with(&format!("{{\"time\":\"{date}T{time}")), "{zone:?}: {json}");
        // A time that svlog shows can be given to it as an option.
        for (option, shown) in [("--since", true), ("--until", false)] {
            let asked = run(&scratch, zone, &format!("svlog {option} '{date} {}' m", &time[..8]));
            assert_eq!(asked, prints(if shown { &expected.stdout } else { "" }), "{zone:?} {option}");
        }
    }
}

#[test]
fn what_multilog_stamps_by_local_time_is_shown_as_it_was_stamped() {
    let scratch = Scratch::new();
    // The stamps of multilog do not count leap seconds.
    for zone in ZONES.into_iter().filter(|zone| !zone.starts_with("right/")) {
        assert_eq!(run(&scratch, Some(zone), "rm -rf m; echo a line | multilog L ./m"), prints(""));
        let stamped = String::from_utf8(std::fs::read(scratch.path().join("m/current")).unwrap()).unwrap();
        let shown = run(&scratch, Some(zone), "svlog m").stdout;
        assert_eq!(shown, format!("{} {}000 a line\n", &stamped[..10], &stamped[11..26]), "{zone}: {stamped}");
    }
}
