//! setlock: the lock, and the processes that hold it.

use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use tests::{Running, Scratch, differs, fails, fifo, prints, wait_until};

const USAGE: &str = "setlock: usage: setlock [ -nNxX ] file program [ arg ... ]\n";

#[test]
fn the_file_is_made_for_its_owner_alone_and_kept_as_it_is() {
    let scratch = Scratch::new();
    assert_eq!(scratch.shell("umask 0; setlock new echo ran"), prints("ran\n"));
    assert_eq!(fs::metadata(scratch.path().join("new")).unwrap().permissions().mode() & 0o7777, 0o600);
    scratch.file("old", "kept");
    scratch.mode("old", 0o640);
    assert_eq!(scratch.run("setlock old cat old"), prints("kept"));
    assert_eq!(fs::metadata(scratch.path().join("old")).unwrap().permissions().mode() & 0o7777, 0o640);
}

/// What setlock says of a lock that another process has, if it does not wait.
fn held_by_another() -> String {
    let cause = differs(": another process has it", "");
    format!("setlock: fatal: unable to lock lock: temporary failure{cause}\n")
}

#[test]
fn the_program_holds_the_lock_by_a_descriptor_that_appends() {
    let scratch = Scratch::new();
    scratch.file("lock", "one\n");
    let held = "setlock lock sh -c 'echo two >&3; setlock -n lock echo never'";
    let outcome = scratch.shell(held);
    assert_eq!(outcome, fails(111, &held_by_another()));
    assert_eq!(fs::read_to_string(scratch.path().join("lock")).unwrap(), "one\ntwo\n");
    // The lock is released when the program ends.
    assert_eq!(scratch.run("setlock -n lock echo free"), prints("free\n"));
}

#[test]
fn the_lock_lasts_as_long_as_anything_that_was_started_holds_it() {
    let scratch = Scratch::new();
    fifo(&scratch.path().join("gate")).unwrap();
    // The child stays in the background until the gate opens.
    assert_eq!(scratch.shell("setlock lock sh -c 'read line <gate & exit 3'").code, 3);
    assert_eq!(scratch.run("setlock -nx lock echo locked?").stdout, "");
    scratch.file("gate", "go\n");
    wait_until("the lock is free", || scratch.run("setlock -nx lock echo free").stdout == "free\n");
}

#[test]
fn it_waits_for_the_lock() {
    for option in ["", "-N ", "-nN ", "-xN "] {
        let scratch = Scratch::new();
        let lock = File::create(scratch.path().join("lock")).unwrap();
        let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
        let mut command = scratch.command("setlock");
        let waiting = Running(command.args(format!("{option}lock touch ran").split(' ')).spawn().unwrap());
        let pid = waiting.0.id().to_string();
        wait_until("it waits", || {
            let locks = fs::read_to_string("/proc/locks").unwrap();
            locks.lines().any(|line| line.contains("->") && line.split_whitespace().any(|word| word == pid))
        });
        assert!(!scratch.path().join("ran").exists());
        drop(lock);
        assert!(waiting.wait().success());
        assert!(scratch.path().join("ran").exists());
    }
}

#[test]
fn it_gives_up_at_once_or_quietly_when_told_so_and_the_last_word_counts() {
    let loud = || fails(111, &held_by_another());
    let quiet = || prints("");
    for (options, expected) in [
        ("-n", loud()),
        ("-nX", loud()),
        ("-n -X", loud()),
        ("-nxX", loud()),
        ("-nx", quiet()),
        ("-xn", quiet()),
        ("-n -x", quiet()),
        ("-NXnx", quiet()),
        ("-nx --", quiet()),
    ] {
        let outcome = Scratch::new().run(&format!("setlock lock setlock {options} lock echo never"));
        assert_eq!(outcome, expected, "{options}");
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_named_unless_it_shall_be_quiet() {
    let scratch = Scratch::new();
    fifo(&scratch.path().join("fifo")).unwrap();
    scratch.dir("dir");
    for (file, reason) in [
        ("nosuch/lock", differs("file does not exist: its parent directory does not exist", "file does not exist")),
        ("dir", "is a directory"),
        // No process reads the FIFO, and setlock does not wait for one.
        ("fifo", "device not configured"),
    ] {
        let message = format!("setlock: fatal: unable to open {file}: {reason}\n");
        assert_eq!(scratch.run(&format!("setlock {file} echo never")), fails(111, &message), "{file}");
        assert_eq!(scratch.run(&format!("setlock -x {file} echo never")), prints(""), "{file}");
    }
    let message = "setlock: fatal: unable to open : file does not exist\n";
    assert_eq!(scratch.run("setlock '' echo never"), fails(111, message));
    // -x suppresses the message about the lock, not the one about the program.
    let message = "setlock: fatal: unable to run nosuch: file does not exist\n";
    assert_eq!(scratch.run("setlock -x lock nosuch"), fails(111, message));
}

#[test]
fn options_are_getopts() {
    for (line, complaint) in [
        ("setlock -z lock echo", "setlock: illegal option -- z\n"),
        ("setlock -nz lock echo", "setlock: illegal option -- z\n"),
        ("setlock -n- lock echo", "setlock: illegal option -- -\n"),
        ("setlock -n= lock echo", "setlock: illegal option -- =\n"),
        ("setlock -n", ""),
        ("setlock -n lock", ""),
    ] {
        assert_eq!(Scratch::new().run(line), fails(100, &format!("{complaint}{USAGE}")), "{line}");
    }
    // In the original, any word that begins with two dashes ends the options.
    let refused = fails(100, &format!("setlock: illegal option --now\n{USAGE}"));
    assert_eq!(Scratch::new().run("setlock --now lock echo ran"), differs(refused, prints("ran\n")));
    for (line, printed) in [
        ("setlock -- -lock echo ran", "ran\n"),
        ("setlock -n -- lock echo ran --", "ran --\n"),
        ("setlock lock echo ran -x", "ran -x\n"),
        ("setlock - echo ran", "ran\n"),
    ] {
        assert_eq!(Scratch::new().run(line), prints(printed), "{line}");
    }
}
