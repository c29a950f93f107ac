//! svc and svok: commanding services, and asking whether a supervise is in charge.

use nix::libc::O_NONBLOCK;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use tests::{Outcome, Scratch, Service, differs, fails, fifo, is_root, prints};

/// Our svc knows encore's letters, and some more.
fn usage(letter: char) -> Outcome {
    let more = differs(
        ", q quit, 1 usr1, 2 usr2, w winch, R reload, g let go, + to group, = to process, L to logger, l to service, s strict, W wait for \
         goal, T time to wait",
        "",
    );
    fails(
        100,
        &format!(
            "svc: illegal option -- {letter}\nsvc options: u up, d down, o once, x exit, p pause, c continue, h hup, a \
             alarm, i interrupt, t term, k kill{more}\n"
        ),
    )
}

/// A directory whose FIFO this test reads in place of a supervise.
fn listening(scratch: &Scratch, name: &str) -> File {
    scratch.dir(format!("{name}/supervise"));
    let path = scratch.path().join(name).join("supervise/control");
    fifo(&path).unwrap();
    File::options().read(true).custom_flags(O_NONBLOCK).open(path).unwrap()
}

fn heard(fifo: &mut File) -> String {
    let mut bytes = [0; 100];
    let length = fifo.read(&mut bytes).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[test]
fn letters_are_sent_once_each_in_their_order() {
    let scratch = Scratch::new();
    let mut control = listening(&scratch, "a");
    for (line, expected) in [
        ("svc -udu a", "ud"),
        ("svc -d -u -d a", "du"),
        ("svc -xkticaphodu a", "xkticaphodu"),
        ("svc -dx -- a", "dx"),
        ("svc a", ""),
    ] {
        assert_eq!((scratch.run(line), heard(&mut control).as_str()), (prints(""), expected), "{line}");
    }
}

#[test]
fn all_letters_arrive_in_one_write() {
    if !tests::has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let mut control = listening(&scratch, "a");
    scratch.shell("strace -o trace -e trace=write svc -duptx a");
    assert_eq!(heard(&mut control), "duptx");
    let trace = fs::read_to_string(scratch.path().join("trace")).unwrap();
    assert_eq!(trace.matches("write(").count(), 1, "{trace}");
    assert!(trace.contains(r#""duptx", 5)"#), "{trace}");
}

#[test]
fn every_service_named_is_commanded_in_its_order_and_relative_to_here() {
    let scratch = Scratch::new();
    let (mut a, mut b) = (listening(&scratch, "x/a"), listening(&scratch, "x/b"));
    assert_eq!(scratch.shell("svc -u x/a x/b \"$PWD/x/a\""), prints(""));
    assert_eq!((heard(&mut a).as_str(), heard(&mut b).as_str()), ("uu", "u"));
}

#[test]
fn unknown_letters_are_refused_before_anything_is_sent() {
    let scratch = Scratch::new();
    let mut control = listening(&scratch, "a");
    for (line, letter) in [("svc -z a", 'z'), ("svc -uz a", 'z'), ("svc -u -9 a", '9'), ("svc -u -D a", 'D')] {
        assert_eq!(scratch.run(line), usage(letter), "{line}");
    }
    // In the original, this word ends the options, and svc then does nothing without a message.
    let named = fails(100, &usage('-').stderr.replace("option -- -", "option --now"));
    assert_eq!(scratch.run("svc --now a"), differs(named, prints("")));
    assert_eq!(heard(&mut control), "");
    assert_eq!((scratch.run("svc -u a"), heard(&mut control).as_str()), (prints(""), "u"));
}

#[test]
fn without_services_there_is_nothing_to_do() {
    let scratch = Scratch::new();
    // Our svc says what is missing. A script that names no service goes on as with the original.
    let usage = "svc: usage: svc [ -udopchaitkxq12wRg+=lLs ] [ -W goal [ -T time ] ] service ...\n";
    for line in ["svc", "svc -u", "svc --"] {
        assert_eq!(scratch.run(line), differs(fails(0, usage), prints("")), "{line}");
    }
}

#[test]
fn what_cannot_be_commanded_is_a_warning_each() {
    let scratch = Scratch::new();
    scratch.file("file", "");
    scratch.dir("empty");
    scratch.dir("gone/supervise");
    fifo(&scratch.path().join("gone/supervise/control")).unwrap();
    let mut control = listening(&scratch, "last");
    let seen = scratch.run("svc -u missing file empty gone -x last");
    let expected = "svc: warning: unable to chdir to missing: file does not exist\n\
                    svc: warning: unable to chdir to file: not a directory\n\
                    svc: warning: unable to control empty: file does not exist\n\
                    svc: warning: unable to control gone: supervise not running\n\
                    svc: warning: unable to chdir to -x: file does not exist\n";
    // A message says that options must come before the services.
    let place = differs("svc: -x is no service here: options come before the services\n", "");
    assert_eq!(seen, fails(0, &format!("{expected}{place}")));
    assert_eq!(heard(&mut control), "u");
}

#[test]
fn a_file_or_a_directory_in_the_place_of_the_fifo_does_not_hang_it() {
    let scratch = Scratch::new();
    scratch.file("file/supervise/control", "");
    scratch.dir("dir/supervise/control");
    let seen = scratch.run("svc -u file dir");
    assert_eq!((seen.code, seen.stdout.as_str()), (0, ""));
    assert!(seen.stderr.ends_with("svc: warning: unable to control dir: is a directory\n"), "{seen:?}");
}

#[test]
fn a_service_of_another_account_is_refused() {
    let scratch = Scratch::new();
    let _control = listening(&scratch, "a");
    scratch.mode("a/supervise", 0o700);
    if !is_root() {
        return tests::skip("needs root");
    }
    let seen = scratch.outcome_of(scratch.as_nobody("svc").args(["-u", "a"]));
    let whose = differs(": supervise belongs to root, and this is nobody", "");
    assert_eq!(seen, fails(0, &format!("svc: warning: unable to control a: access denied{whose}\n")));
    let seen = scratch.outcome_of(scratch.as_nobody("svok").arg("a"));
    assert_eq!(seen, fails(111, &format!("svok: fatal: unable to open a/supervise/ok: access denied{whose}\n")));
    let seen = scratch.outcome_of(scratch.as_nobody("svstat").arg("a"));
    assert_eq!(seen, prints("a: unable to open supervise/ok: access denied\n"));
}

#[test]
fn names_are_bytes() {
    let scratch = Scratch::new();
    for name in [&b"with space"[..], b"new\nline", b"not-\xff-utf8", b"caf\xc3\xa9"] {
        let name = std::ffi::OsStr::from_bytes(name);
        let seen = scratch.outcome_of(scratch.command("svc").arg("-u").arg(name));
        let text: String =
            name.as_bytes().utf8_chunks().map(|c| format!("{}{}", c.valid(), c.invalid().escape_ascii())).collect();
        // Text after a newline must not look like a message of its own.
        let text = differs(text.replace('\n', r"\x0a"), text);
        assert_eq!(seen, fails(0, &format!("svc: warning: unable to chdir to {text}: file does not exist\n")));
    }
}

#[test]
fn svok_tells_by_its_exit_code() {
    let scratch = Scratch::new();
    scratch.file("file", "");
    scratch.dir("empty");
    scratch.dir("gone/supervise");
    fifo(&scratch.path().join("gone/supervise/ok")).unwrap();
    let service = Service::new(&scratch, "web", "exec sleep 1000").down();
    let supervise = service.supervise();
    symlink("web", scratch.path().join("link")).unwrap();
    for (line, expected) in [
        ("svok", fails(100, "svok: usage: svok dir\n")),
        ("svok web", prints("")),
        ("svok link", prints("")),
        ("svok empty", fails(100, "")),
        ("svok gone", fails(100, "")),
        ("svok web missing", prints("")),
        ("svok missing", fails(111, "svok: fatal: unable to chdir to missing: file does not exist\n")),
        ("svok file", fails(111, "svok: fatal: unable to chdir to file: not a directory\n")),
    ] {
        assert_eq!(scratch.run(line), expected, "{line}");
    }
    supervise.kill();
    assert_eq!(scratch.run("svok web"), fails(100, ""));
}
