//! What services have written, and names that others have chosen, shown on a terminal.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tests::{Scratch, Service, has};

/// Clears the screen, sets the title, and asks for an answer: with 7-bit controls, with 8-bit controls, and with bytes
/// that are not UTF-8.
const EVIL: &str = "\x1b[2J\x1b]0;title\x07\x1b[6n\u{9b}2J\u{85}\x08\x7f \u{202e}evil gr\u{fc}n";
const SPELLED: &str = "\\x1b[2J\\x1b]0;title\\x07\\x1b[6n\\u009b2J\\u0085\\x08\\x7f \\u202eevil grün";

#[test]
fn lines_of_a_log_command_no_terminal() {
    if !has("script") {
        return;
    }
    let scratch = Scratch::new();
    let raw = [EVIL.as_bytes(), b" \x9b2J\xff\n"].concat();
    scratch.file("web/current", &raw);
    scratch.file("d\x1bb/current", "a line\n");
    let spelled = format!("{SPELLED} \\x9b2J\\xff\n");
    assert_eq!(scratch.on_terminal("svlog web"), spelled);
    assert_eq!(scratch.on_terminal("svlog -n 1 web"), spelled);
    // Only svlog itself may colour names and matches.
    let both = scratch.on_terminal("svlog --grep line d*b web");
    assert_eq!(both, "\x1b[36md\\x1bb:\x1b[0m a \x1b[1;31mline\x1b[0m\n");
    let json = scratch.on_terminal("svlog --json web");
    assert!(json.contains("\\u009b2J") && !json.contains(['\u{9b}', '\x1b', '\u{202e}', '\x7f']), "{json:?}");
    // With --raw the bytes are written unchanged, and so they are if standard output is no terminal.
    assert!(scratch.on_terminal("svlog --raw web").contains(EVIL));
    let shown = scratch.run("svlog web").stdout;
    assert!(shown.starts_with(EVIL), "{shown:?}");
}

#[test]
fn names_and_words_of_services_command_no_terminal() {
    if !has("script") {
        return;
    }
    let scratch = Scratch::new();
    let name = format!("w{EVIL}\nfake: up (pid 1) 5 seconds");
    let service = Service::new(&scratch, &name, "exec sleep 1000").down();
    let _supervise = service.supervise();
    for line in ["svstat w*", "svstat -l w*", "svstat -j w*", "svstat w*/nothing", "svstat -j w*/nothing"] {
        let shown = scratch.on_terminal(line);
        assert!(!shown.contains(['\x1b', '\u{9b}', '\u{85}', '\x08', '\x7f', '\u{202e}']), "{line}: {shown:?}");
        assert!(!shown.contains("\nfake"), "{line}: {shown:?}");
    }
    let spelled = format!("w{SPELLED}\\x0afake: up (pid 1) 5 seconds: down ");
    assert!(scratch.on_terminal("svstat w*").starts_with(&spelled));
    let shown = scratch.outcome_of(scratch.command("svstat").arg(Path::new(OsStr::from_bytes(name.as_bytes())))).stdout;
    assert!(shown.starts_with(&format!("{name}: down ")), "{shown:?}");
    // This is the text that a service reports about itself.
    let state = service.says("supervise/state");
    scratch.file(Path::new(&name).join("supervise/state"), format!("{state}status-text a \u{202e}b\u{9b}c\n"));
    let long = scratch.on_terminal("svstat -l w*");
    assert!(long.contains("says       a \\u202eb c\n"), "{long:?}");
}

/// sv has runit's words, and its lines go to programs unchanged.
/// The pager is a command of the shell. It ends before svlog has written all, or shows all.
#[test]
fn on_a_terminal_svlog_shows_its_lines_through_a_pager() {
    let scratch = Scratch::new();
    scratch.dir("log");
    let lines: String = (0..100_000).map(|number| format!("@4000000065{number:06x}00000000 line {number}\n")).collect();
    scratch.file("log/current", &lines);
    for (variables, shown) in [
        ("SVLOG_PAGER='head -n 1 | sed s/^/first:/' PAGER=false", "first:"),
        ("PAGER='tail -n 1 | sed s/^/last:/'", "last:"),
    ] {
        let said = scratch.on_terminal(&format!("unset SVLOG_PAGER; {variables} svlog --utc log; echo code $?"));
        assert!(
            said.starts_with(shown) && said.lines().count() == 2 && said.ends_with("code 0\n"),
            "{variables}: {said}"
        );
    }
    let straight = "svlog --utc -n 1 --no-pager log; svlog --utc -n 1 log >file; svlog --count log; cat file";
    let said = scratch.on_terminal(&format!("export SVLOG_PAGER='sed s/^/paged:/'; {straight}"));
    assert!(said.contains("line 99999") && !said.contains("paged:"), "{said}");
    let missing = scratch.on_terminal("SVLOG_PAGER=/nowhere/pager svlog log; echo code $?");
    assert!(missing.contains("cannot be run: say --no-pager") && missing.ends_with("code 111\n"), "{missing}");
    // Who has got the rights of another account for this command alone gets no program that starts others.
    let borrowed = scratch.on_terminal("export SUDO_UID=1000; SVLOG_PAGER='sed s/^/paged:/' svlog -n 1 log");
    assert!(!borrowed.contains("paged:"), "{borrowed}");
    assert_eq!(scratch.shell("SVLOG_PAGER=false svlog -n 1 log").code, 0);
}

#[test]
fn lines_of_sv_command_no_terminal() {
    if !has("script") {
        return;
    }
    let scratch = Scratch::new();
    scratch.dir("compat");
    std::os::unix::fs::symlink(scratch.programs().join("svctl"), scratch.path().join("compat/sv")).unwrap();
    let name = format!("w{EVIL}");
    let service = Service::new(&scratch, &format!("services/{name}"), "exec sleep 1000");
    let _supervise = service.supervise();
    service.up();
    // What is no service is told as one that failed.
    let line = |words: &str| format!("sh -c 'SVDIR=$PWD/services compat/sv {words}'");
    let typed = "\"$(ls -d services/w* | cut -c 10-)\"";
    for (words, begins) in [("status", "run: "), ("check", "ok: run: "), ("down", ""), ("start", "ok: run: ")] {
        let shown = scratch.on_terminal(&line(&format!("{words} {typed}")));
        let expected = if begins.is_empty() { String::new() } else { format!("{begins}w{SPELLED}: (pid ") };
        assert!(shown.starts_with(&expected) && shown.lines().count() <= 1, "{words}: {shown:?}");
        assert!(!shown.contains(['\x1b', '\u{9b}', '\u{202e}']), "{words}: {shown:?}");
    }
    let missing = scratch.on_terminal(&line(&format!("status no{typed}")));
    let expected = format!("fail: now{SPELLED}: unable to change to service directory: file does not exist\n");
    assert_eq!(missing, expected);
    let mut status = scratch.command("compat/sv");
    let shown = scratch.outcome_of(status.arg("status").arg(scratch.path().join("services").join(&name))).stdout;
    assert!(shown.contains(&name), "{shown:?}");
}
