//! svstat: its line for every state, and for every possible fault.

use nix::libc::O_NONBLOCK;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{SystemTime, UNIX_EPOCH};
use tests::{Outcome, Scratch, differs, fails, fifo, prints};

/// A directory that looks supervised, with this status.
fn told(scratch: &Scratch, name: &str, status: &[u8]) -> File {
    scratch.file(format!("{name}/supervise/status"), status);
    let path = scratch.path().join(name).join("supervise/ok");
    let _ = fifo(&path);
    File::options().read(true).custom_flags(O_NONBLOCK).open(path).unwrap()
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A status that changed `ago` seconds before now.
fn status(ago: i64, pid: u32, paused: u8, want: u8) -> Vec<u8> {
    let mut bytes = ((1i64 << 62) + 10 + now() - ago).to_be_bytes().to_vec();
    bytes.extend([0; 4]);
    bytes.extend(pid.to_le_bytes());
    bytes.extend([paused, want]);
    bytes
}

#[test]
fn every_state_has_its_words() {
    let scratch = Scratch::new();
    // The change was long ago, so a second more makes no difference. Only the words are compared.
    for (pid, paused, want, down, expected) in [
        (77, 0, b'u', false, "up (pid 77) N seconds"),
        (77, 0, b'd', false, "up (pid 77) N seconds, want down"),
        (77, 0, 0, false, "up (pid 77) N seconds"),
        (77, 1, b'u', false, "up (pid 77) N seconds, paused"),
        (77, 1, b'd', true, "up (pid 77) N seconds, normally down, paused, want down"),
        (0, 0, b'u', false, "down N seconds, normally up, want up"),
        (0, 0, b'd', false, "down N seconds, normally up"),
        (0, 0, 0, false, "down N seconds, normally up"),
        (0, 0, b'u', true, "down N seconds, want up"),
        (0, 1, b'd', true, "down N seconds"),
        (u32::MAX, 0, b'u', false, "up (pid 4294967295) N seconds"),
    ] {
        let name = format!("{pid}-{paused}-{want}-{down}");
        let _ok = told(&scratch, &name, &status(1_000_000, pid, paused, want));
        if down {
            scratch.dir(format!("{name}/down"));
        }
        let line = scratch.run(&format!("svstat {name}")).stdout;
        let seconds: i64 = line.split(' ').rev().find_map(|word| word.parse().ok()).unwrap();
        // The time(2) of the original counts clock ticks, and may be one second behind ours when a second begins.
        assert!((999_999..1_000_900).contains(&seconds), "{line}");
        assert_eq!(line.replace(&format!(" {seconds} "), " N "), format!("{name}: {expected}\n"));
    }
}

#[test]
fn a_clock_behind_counts_as_no_time() {
    let scratch = Scratch::new();
    let _ok = told(&scratch, "future", &status(-1000, 77, 0, b'u'));
    assert_eq!(scratch.run("svstat future"), prints("future: up (pid 77) 0 seconds\n"));
}

#[test]
fn any_status_is_read_or_called_bad() {
    let scratch = Scratch::new();
    let good = status(0, 0, 0, b'd');
    for length in 0..18 {
        let _ok = told(&scratch, "short", &good[..length]);
        let words = "short: unable to read supervise/status: bad format\n";
        assert_eq!(scratch.run("svstat short"), prints(words), "{length} bytes");
    }
    for longer in [19, 20, 35, 1000] {
        let mut bytes = good.clone();
        bytes.resize(longer, 0xff);
        let _ok = told(&scratch, "long", &bytes);
        let seen = scratch.run("svstat long");
        assert!(seen.stdout.starts_with("long: down ") && seen.code == 0, "{longer} bytes: {seen:?}");
    }
    for garbage in [[0; 18], [0xff; 18], [b'x'; 18]] {
        let _ok = told(&scratch, "garbage", &garbage);
        let seen = scratch.run("svstat garbage");
        assert!(seen.code == 0 && seen.stderr.is_empty() && seen.stdout.starts_with("garbage: "), "{seen:?}");
    }
}

#[test]
fn what_is_wrong_is_said_in_the_line() {
    let scratch = Scratch::new();
    scratch.file("file", "");
    scratch.dir("empty");
    scratch.dir("gone/supervise");
    fifo(&scratch.path().join("gone/supervise/ok")).unwrap();
    let ok = told(&scratch, "bare", b"");
    std::fs::remove_file(scratch.path().join("bare/supervise/status")).unwrap();
    let expected = "missing: unable to chdir: file does not exist\n\
                    file: unable to chdir: not a directory\n\
                    empty: unable to open supervise/ok: file does not exist\n\
                    gone: supervise not running\n\
                    bare: unable to open supervise/status: file does not exist\n\
                    -x: unable to chdir: file does not exist\n";
    // A message says that options must come before the services.
    let place = differs("svstat: -x is no service here: options come before the services\n", "");
    let said = Outcome { code: 0, stdout: expected.into(), stderr: place.into() };
    assert_eq!(scratch.run("svstat missing file empty gone bare -x"), said);
    drop(ok);
    // Our svstat says what is missing. A script that names no service goes on as with the original.
    let usage = "svstat: usage: svstat [ -l | -j | -L ] service ...\n";
    assert_eq!(scratch.run("svstat"), differs(fails(0, usage), prints("")));
}

/// svstat checks the FIFO first. Without a supervise, the status is not worth reading.
#[test]
fn a_status_without_a_supervise_is_not_believed() {
    let scratch = Scratch::new();
    drop(told(&scratch, "dead", &status(5, 77, 0, b'u')));
    assert_eq!(scratch.run("svstat dead"), prints("dead: supervise not running\n"));
}
