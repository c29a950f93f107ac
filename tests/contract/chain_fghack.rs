//! fghack and pgrphack: what a program leaves in the background, and which processes its signals reach.

use std::fs;
use std::process::Stdio;
use tests::{Running, Scratch, fails, fifo, prints, wait_until};

#[test]
fn fghack_gives_the_programs_exit_code() {
    for code in [0, 1, 7, 100, 111, 255] {
        assert_eq!(Scratch::new().shell(&format!("fghack sh -c 'exit {code}'")).code, code);
    }
}

/// Standard output becomes fghack's own pipe, which has enough room for this line.
#[test]
fn a_program_can_write_though_fghack_was_started_without_standard_output() {
    let ran = Scratch::new().shell("exec >&-; fghack /bin/sh -c 'echo unheard'");
    assert_eq!(ran, prints(""));
}

#[test]
fn fghack_says_when_the_program_was_killed() {
    let crashed = fails(111, "fghack: fatal: child crashed\n");
    // 64 is the last real-time signal. Most programs have no name for it.
    for signal in ["TERM", "KILL", "ABRT", "64"] {
        assert_eq!(Scratch::new().shell(&format!("fghack /bin/sh -c 'kill -{signal} $$'")), crashed, "{signal}");
    }
}

#[test]
fn fghack_stays_until_the_background_has_ended() {
    // The program closes the descriptors that it may know, as a program does that goes into the background.
    for closes in ["", "<&- >&- 2>&-", "3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-"] {
        let scratch = Scratch::new();
        fifo(&scratch.path().join("gate")).unwrap();
        let go = format!("(read line <gate; echo done >mark) {closes} & exit 4");
        let mut command = scratch.command("fghack");
        let mut running = Running(command.args(["/bin/sh", "-c", &go]).stdout(Stdio::null()).spawn().unwrap());
        // The program itself has ended. fghack does not notice before the processes in the background have ended too.
        let children = format!("/proc/{0}/task/{0}/children", running.0.id());
        wait_until("only a zombie is left", || {
            let child = fs::read_to_string(&children).unwrap_or_default();
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
            stat.contains(") Z ")
        });
        assert!(running.0.try_wait().unwrap().is_none(), "{closes}");
        scratch.file("gate", "go\n");
        assert_eq!(running.wait().code(), Some(4), "{closes}");
        assert_eq!(fs::read_to_string(scratch.path().join("mark")).unwrap(), "done\n");
    }
}

#[test]
fn fghack_does_not_wait_for_what_holds_none_of_its_descriptors() {
    let scratch = Scratch::new();
    fifo(&scratch.path().join("gate")).unwrap();
    let close_all = "for fd in $(seq 3 60); do eval \"exec $fd>&-\"; done";
    scratch.script("daemon", &format!("#!/bin/bash\n({close_all}; read line <gate) &\nexit 5\n"));
    assert_eq!(scratch.run("fghack ./daemon").code, 5);
    scratch.file("gate", "go\n");
}

#[test]
fn fghack_throws_away_what_is_written_to_its_pipe() {
    let script = "for fd in /proc/self/fd/*; do
        case $(readlink $fd) in pipe:*) head -c 200000 /dev/zero >$fd; exit 6;; esac
    done";
    let scratch = Scratch::new();
    scratch.script("loud", &format!("#!/bin/sh\n{script}\n"));
    assert_eq!(scratch.run("fghack ./loud").code, 6);
}

#[test]
fn fghack_gives_the_program_thirty_one_descriptors() {
    let scratch = Scratch::new();
    let count = |line: &str| scratch.run(line).stdout.lines().count();
    assert_eq!(count("fghack ls /proc/self/fd"), count("ls /proc/self/fd") + 31);
}

#[test]
fn fghack_says_what_the_system_refused() {
    let limited = |limit: &str| Scratch::new().shell(&format!("exec prlimit --nofile={limit} fghack true"));
    // This limit is enough for a dynamic program to start, and one too low for a pipe.
    assert_eq!(limited("4"), fails(111, "fghack: fatal: unable to create pipe: process cannot open more files\n"));
}

#[test]
fn pgrphack_leads_a_session_of_its_own() {
    let scratch = Scratch::new();
    let show = r#"set -- $(cat /proc/$$/stat); [ $$ = "$5" ] && [ $$ = "$6" ] && echo leads"#;
    let mut command = scratch.command("pgrphack");
    assert_eq!(scratch.outcome_of(command.args(["/bin/sh", "-c", show])), prints("leads\n"));
}

#[test]
fn pgrphack_says_nothing_where_the_session_is_its_own_already() {
    assert_eq!(Scratch::new().run("setsid -w pgrphack echo ran"), prints("ran\n"));
}
