//! tai64n and tai64nlocal.

use std::process::{Command, Stdio};
use tests::{Outcome, Scratch, differs, others, prints, skip};

#[test]
fn each_line_gets_a_label_and_nothing_else() {
    let scratch = Scratch::new();
    let stamped = scratch.shell("printf 'a\\n\\nb' | tai64n").stdout;
    let lines: Vec<&str> = stamped.split('\n').collect();
    let labels: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(lines.iter().map(|line| &line[26..]).collect::<Vec<_>>(), ["a", "", "b"]);
    assert!(labels.iter().all(|label| label.len() == 25 && label.starts_with("@40000000")), "{labels:?}");
    assert!(labels.is_sorted());
    // The last line has no newline.
    assert!(stamped.ends_with(" b"));
}

#[test]
fn a_label_is_ten_seconds_ahead_of_unix_time() {
    let scratch = Scratch::new();
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let before = now();
    let label = scratch.shell("echo x | tai64n").stdout;
    let seconds = u64::from_str_radix(&label[1..17], 16).unwrap() - (1 << 62);
    assert!((before + 10..=now() + 10).contains(&seconds), "{label}");
}

#[test]
fn labels_at_the_beginning_of_lines_are_shown_as_local_time() {
    let scratch = Scratch::new();
    scratch.file("in", "@400000000000000a00000000 x @400000000000000a00000000\nno label\n @400000000000000a00000000\n");
    let shown = "1970-01-01 00:00:00.000000000 x @400000000000000a00000000\nno label\n @400000000000000a00000000\n";
    assert_eq!(scratch.shell("TZ=UTC tai64nlocal < in"), prints(shown));
    scratch.file("in", "@4000000065a0b1c23b9ac9ff\n");
    assert_eq!(scratch.shell("TZ=UTC tai64nlocal < in"), prints("2024-01-12 03:27:52.999999999\n"));
    assert_eq!(scratch.shell("TZ=UTC-9 tai64nlocal < in"), prints("2024-01-12 12:27:52.999999999\n"));
}

/// SIGSEGV kills the original, unless the line has no end.
#[test]
fn what_is_no_label_is_left_as_it_is() {
    let scratch = Scratch::new();
    for line in [
        "@\n",
        "@4\n",
        "@400000000000000g00000000 x\n",
        "@400000000000000a000000000 x\n",
        "@ffffffffffffffff00000000\n",
        "@4fffffffffffffff00000000 x\n",
    ] {
        scratch.file("in", line);
        let Outcome { code, stdout, .. } = scratch.shell("TZ=UTC tai64nlocal < in");
        assert_eq!((code, stdout.as_str()), differs((0, line), (139, "")), "{line}");
    }
    let cut_short = "@400000000000000a";
    scratch.file("in", cut_short);
    assert_eq!(scratch.shell("TZ=UTC tai64nlocal < in").stdout, differs(cut_short, ""));
}

/// Each tai64nlocal reads the other's labels.
#[test]
fn labels_are_read_by_the_other_implementation() {
    let Some(folder) = others() else { return skip("the other implementation is not installed") };
    let scratch = Scratch::new();
    let stamped = scratch.shell("printf 'a\\nb\\n' | tai64n | tee labels").stdout;
    assert_eq!(stamped.lines().count(), 2);
    let ours = scratch.shell("TZ=UTC tai64nlocal < labels").stdout;
    let input = std::fs::File::open(scratch.path().join("labels")).unwrap();
    let other = Command::new(folder.join("tai64nlocal")).env("TZ", "UTC").stdin(input).stderr(Stdio::null()).output();
    assert_eq!(String::from_utf8(other.unwrap().stdout).unwrap(), ours);
    assert!(ours.starts_with("20"));
}
