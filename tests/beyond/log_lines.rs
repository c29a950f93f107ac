//! What multilog does to lines with actions that the original does not have.

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use std::io::Write;
use std::process::Stdio;
use tests::{Running, Scratch, prints, wait_until};

/// Whether a line begins with a time of this century. `pattern` shows its characters; `0` stands for any digit.
fn is_like(pattern: &str, line: &str) -> bool {
    let alike = |(wanted, found): (char, char)| if wanted == '0' { found.is_ascii_digit() } else { wanted == found };
    line.len() == pattern.len() && pattern.chars().zip(line.chars()).all(alike)
}

#[test]
fn lines_have_iso_stamps_of_utc_or_local_time() {
    let scratch = Scratch::new();
    let table = [
        ("I", "UTC", "0000-00-00T00:00:00.000000Z one"),
        ("L", "UTC", "0000-00-00T00:00:00.000000+00:00 one"),
        ("L", "TST-5:30", "0000-00-00T00:00:00.000000+05:30 one"),
        ("L", "TST3", "0000-00-00T00:00:00.000000-03:00 one"),
    ];
    for (stamp, zone, pattern) in table {
        let outcome = scratch.shell(&format!("printf 'one\\n' | TZ={zone} multilog {stamp} e"));
        assert!(is_like(pattern, outcome.stderr.trim_end()), "{outcome:?}");
    }
    // Behind the first word, these words mean nothing.
    assert_eq!(scratch.shell("printf 'one\\n' | multilog F I L e 2>&1"), prints("one\n"));
}

/// multilog's standard output and messages, given lines that the shell's printf writes.
fn output(scratch: &Scratch, lines: &str, script: &str) -> tests::Outcome {
    scratch.shell(&format!("printf '{lines}' | multilog {script}"))
}

#[test]
fn regular_expressions_select_and_so_do_patterns_that_leave_out_the_stamp() {
    let scratch = Scratch::new();
    let table = [
        (r"-* R '+err(or)?[0-9]+' o", "an error1\\nan err2\\n"),
        (r"-* R '+^an? ' S -*1 o", "an err2\\n"),
        (r"t -* '+an err*' x '+an err*' X '-an err2' p# -* x R '+^an err2$' e", ""),
        (r"R -^an x '-^\w+\d\s' o", "no\\n"),
    ];
    for (script, expected) in table {
        let outcome = output(&scratch, "an error1\\nan err2\\nno\\n", script);
        assert_eq!(outcome.stdout, expected.replace("\\n", "\n"), "{script}");
    }
    let stamped = output(&scratch, "a\\nb\\n", "t -* x R '+^b$' e").stderr;
    assert!(stamped.ends_with(" b\n") && stamped.lines().count() == 1, "{stamped}");
}

#[test]
fn an_action_that_cannot_be_done_is_named_and_left_out() {
    let scratch = Scratch::new();
    let outcome = output(&scratch, "a\\n", "R '-a(' -* S -b l5 unowhere o");
    let complaints = "multilog: warning: ignoring -a(: unclosed group\n\
        multilog: warning: ignoring -*: repetition operator missing expression\n\
        multilog: warning: ignoring l5: no duration behind a slash, as in l100/1s\n\
        multilog: warning: ignoring unowhere: neither a path nor an address, as in u/dev/log or u127.0.0.1:514\n";
    assert_eq!(outcome, tests::Outcome { code: 0, stdout: "a\n".into(), stderr: complaints.into() });
}

#[test]
fn a_prefix_is_written_behind_the_stamp_from_there_on() {
    let scratch = Scratch::new();
    let outcome =
        scratch.shell("printf 'a\\nb\\n' | multilog T ./main 'pweb: ' ./marked =last o && cut -d. -f2 main/current");
    let texts: Vec<&str> = outcome.stdout.lines().map(|line| &line[line.len() - 6..]).collect();
    assert_eq!((&texts[..2], outcome.code), (&["web: a", "web: b"][..], 0));
    assert!(!outcome.stdout.lines().skip(2).any(|line| line.contains("web")), "{outcome:?}");
    let marked = std::fs::read_to_string(scratch.path().join("marked/current")).unwrap();
    assert!(marked.ends_with(" web: b\n"), "{marked}");
    let last = std::fs::read_to_string(scratch.path().join("last")).unwrap();
    assert!(last.trim_end().ends_with(" web: b") && last.len() == 1001, "{last}");
}

#[test]
fn a_limit_lets_so_many_lines_pass_and_says_how_many_more_there_were() {
    let scratch = Scratch::new();
    // When the input ends, multilog reports the lines of the current window.
    let outcome = output(&scratch, "a\\nb\\nc\\nd\\n", "./all l2/1h p# o");
    assert_eq!(outcome, prints("#a\n#b\n#multilog: 2 lines suppressed\n"));
    assert_eq!(std::fs::read_to_string(scratch.path().join("all/current")).unwrap(), "a\nb\nc\nd\n");
    // It also reports them when the window is over, although no further line comes.
    let mut multilog = scratch.command("multilog");
    let mut multilog = multilog.args(["l1/10ms", "./d"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = multilog.stdin.take().unwrap();
    let _multilog = Running(multilog);
    input.write_all(b"a\nb\n").unwrap();
    let current = scratch.path().join("d/current");
    wait_until("it is told", || {
        std::fs::read_to_string(&current).is_ok_and(|text| text == "a\nmultilog: 1 line suppressed\n")
    });
}

#[test]
fn a_line_may_have_any_bytes() {
    let scratch = Scratch::new();
    let lines = r"a\000b\nc\r\377\033[2J\n\000\n";
    let table = [
        ("-* '+a*b'", "a\0b\n"),
        (r"R '-^\x00$' '-\xff'", "a\0b\n"),
        // These patterns see a line only up to its first NUL, as in the original.
        ("F -* +a", "a\0b\n"),
        ("-* '+c*'", "c\r\\xff\u{1b}[2J\n"),
    ];
    for (script, expected) in table {
        let outcome = output(&scratch, lines, &format!("{script} o ./log"));
        assert_eq!(outcome, prints(expected), "{script}");
    }
}

/// The largest amount of memory that a process has had, in KB.
fn peak(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Feeds a multilog that writes to `output` until that file has this length, and checks that the peak of its memory is
/// low.
fn feed(scratch: &Scratch, script: &[&str], data: &[u8], length: usize) {
    let output = std::fs::File::create(scratch.path().join("output")).unwrap();
    let mut multilog = scratch.command("multilog");
    let multilog = multilog.args(script).stdin(Stdio::piped()).stdout(output).stderr(Stdio::null());
    let mut child = multilog.spawn().unwrap();
    let (mut input, pid) = (child.stdin.take().unwrap(), child.id());
    let running = Running(child);
    input.write_all(data).unwrap();
    let path = scratch.path().join("output");
    wait_until("all is there", || std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() == length as u64));
    assert!(peak(pid) < 12_000, "{} KB", peak(pid));
    drop(input);
    assert_eq!(running.wait().code(), Some(0));
}

#[test]
fn a_line_may_be_as_long_as_it_likes_and_takes_no_memory() {
    let scratch = Scratch::new();
    let long = [&vec![b'x'; 10 << 20][..], b"\n"].concat();
    let script = ["T", "l99/1h", "R", "-^no", "s64M", "./log", "e", "pweb ", "o", "u./none", "./marked"];
    feed(&scratch, &script, &long, 18 + 4 + long.len());
    let log = std::fs::read(scratch.path().join("log/current")).unwrap();
    assert!(log[18..] == long[..]);
    let marked = std::fs::read(scratch.path().join("marked/current")).unwrap();
    assert!(&marked[18..22] == b"web " && marked[22..] == long[..]);
}

#[test]
fn lines_may_be_empty_and_take_little_memory() {
    let scratch = Scratch::new();
    feed(&scratch, &["t", "s64M", "./log", "o"], &vec![b'\n'; 300_000], 27 * 300_000);
}

#[test]
fn a_status_file_that_is_none_is_complained_about_and_stops_nothing() {
    let scratch = Scratch::new();
    scratch.dir("directory");
    let wrong = tests::fails(111, "multilog: fatal: unable to create directory: is a directory\n");
    assert_eq!(output(&scratch, "a\\n", "=directory"), wrong);
    tests::fifo(&scratch.path().join("fifo")).unwrap();
    let wrong = tests::fails(111, "multilog: fatal: unable to create fifo: device not configured\n");
    assert_eq!(output(&scratch, "a\\n", "=fifo"), wrong);
    // multilog also refuses the status file if a process reads there. Opening a file that is not a regular one could
    // have any effect.
    let reader = nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_NONBLOCK;
    let _reader = nix::fcntl::open(&scratch.path().join("fifo"), reader, nix::sys::stat::Mode::empty()).unwrap();
    let wrong = tests::fails(111, "multilog: fatal: unable to create fifo: device not configured\n");
    assert_eq!(output(&scratch, "a\\n", "=fifo"), wrong);
    // While multilog runs, the status file is replaced by something else. multilog writes one message, not one for each
    // line.
    let mut multilog = scratch.command("multilog");
    multilog.args(["./log", "=status"]);
    let (pipe, mut input) = std::io::pipe().unwrap();
    let mut daemon = tests::Daemon::start(multilog.stdin(pipe), &scratch);
    // multilog also holds the pipe, so it ends first.
    drop(multilog);
    wait_until("it is made", || scratch.path().join("status").exists());
    std::fs::remove_file(scratch.path().join("status")).unwrap();
    tests::fifo(&scratch.path().join("status")).unwrap();
    for number in 1..=200 {
        input.write_all(b"a\n").unwrap();
        let current = scratch.path().join("log/current");
        wait_until("it is logged", || std::fs::read(&current).is_ok_and(|text| text.len() == 2 * number));
    }
    drop(input);
    assert_eq!(daemon.wait(), 0);
    assert_eq!(daemon.errors(), "multilog: warning: unable to write to status: device not configured\n");
}

/// Of the packets that wait in a pipe, a read(2) returns only the first.
#[test]
fn packets_are_read_one_after_the_other() {
    let scratch = Scratch::new();
    let (reader, writer) = pipe2(OFlag::O_DIRECT | OFlag::O_CLOEXEC).unwrap();
    let packets: [&[u8]; 4] = [b"a\n", b"b\n", b"c\n", b"begun"];
    for packet in packets {
        assert_eq!(nix::unistd::write(&writer, packet), Ok(packet.len()));
    }
    drop(writer);
    let multilog = scratch.command("multilog").arg("./d").stdin(reader).spawn().unwrap();
    assert!(Running(multilog).wait().success());
    let logged = std::fs::read(scratch.path().join("d/current")).unwrap();
    assert_eq!(logged, b"a\nb\nc\nbegun\n");
}
