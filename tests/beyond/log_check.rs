//! `multilog --check`.

use tests::{Outcome, Scratch, fails, prints};

#[test]
fn a_script_is_explained_and_nothing_is_done() {
    let scratch = Scratch::new();
    let expected = "t: each line begins with a TAI64N label\n\
        s16M: files in directories that follow are full at 16777216 bytes\n\
        ./main: selected lines go to the log directory ./main, in at most 10 files of 16777216 bytes\n\
        -*: deselects every line\n\
        R: patterns that follow are regular expressions\n\
        + 5[0-9][0-9] : selects lines in which there is a match of \" 5[0-9][0-9] \"\n\
        u/dev/log,local0.err: selected lines go to syslog at /dev/log as local0.err\n";
    let outcome = scratch.shell("multilog --check t s16M ./main '-*' R '+ 5[0-9][0-9] ' u/dev/log,local0.err");
    assert_eq!(outcome, prints(expected));
    assert!(!scratch.path().join("main").exists());
}

#[test]
fn what_the_original_ignores_without_a_word_is_warned_of() {
    let scratch = Scratch::new();
    let outcome = scratch.shell("multilog --check ./main t s5000 '-*' e Q");
    let stdout = "./main: selected lines go to the log directory ./main, in at most 10 files of 99999 bytes\n\
        t: nothing\n\
        s5000: files in directories that follow are full at 5000 bytes\n\
        -*: deselects every line\n\
        e: the first 200 bytes of selected lines go to standard error\n\
        Q: nothing\n";
    let stderr = "multilog: warning: t: not the first action, so it is ignored\n\
        multilog: warning: s5000: no directory follows, so it sets nothing\n\
        multilog: warning: e: no line is selected here, so nothing goes there\n\
        multilog: warning: Q: no such action, so it is ignored: a log directory begins with . or /\n";
    assert_eq!(outcome, Outcome { code: 1, stdout: stdout.into(), stderr: stderr.into() });
}

/// What newcomers write in place of actions and directories.
#[test]
fn what_was_probably_meant_is_said() {
    let scratch = Scratch::new();
    let stop = "multilog will not start";
    for (script, warning) in [
        ("t main ./main", "main: no such action, so it is ignored: a log directory begins with . or /".into()),
        ("-t ./main", "-t: it deselects the line \"t\" alone: did you mean t?".into()),
        ("t /nonexistent/dir", format!("/nonexistent/dir: its parent directory does not exist: {stop}")),
        // R counts for the pattern, though that is none.
        ("R '-[' ./main", "-[: ignored: unclosed character class".to_string()),
    ] {
        let outcome = scratch.shell(&format!("multilog --check {script}"));
        assert_eq!((outcome.code, outcome.stderr), (1, format!("multilog: warning: {warning}\n")), "{script}");
    }
    // It is a pattern for the original, and so it remains one.
    let meant = "multilog: warning: --chekc is a pattern that deselects a line: did you mean --check?\n";
    assert_eq!(scratch.shell("printf 'one\n-chekc\n' | multilog --chekc ./main"), fails(0, meant));
    assert_eq!(scratch.run("cat main/current"), prints("one\n"));
}

/// A star stops at the first occurrence of the letter after it, and does not try a later one.
#[test]
fn what_a_star_misses_is_warned_of() {
    let scratch = Scratch::new();
    for (pattern, first, missed) in [("*fatal*", "f", "f fatal"), ("*!", "!", "! !"), ("a*error", "e", "ae error")] {
        let outcome = scratch.shell(&format!("multilog --check '-*' '+{pattern}' ./main"));
        let warning = format!(
            "multilog: warning: +{pattern}: a star stops at the first \"{first}\", so it misses \"{missed}\"; after F it does not\n"
        );
        assert_eq!((outcome.code, outcome.stderr), (1, warning), "{pattern}");
        // multilog really behaves as the warning says.
        let logged =
            |script: &str| scratch.shell(&format!("rm -rf m; echo '{missed}' | multilog {script} ./m; cat m/current"));
        assert_eq!(logged(&format!("'-*' '+{pattern}'")), prints(""), "{pattern}");
        assert_eq!(logged(&format!("'-*' F '+{pattern}'")), prints(&format!("{missed}\n")), "{pattern}");
    }
    for script in
        ["t '-*' '+* * fatal: *'", "'-*' '+* fatal: *'", "F '-*debug*'", "R '-debug'", "'-exact'", "'-begin*'"]
    {
        assert_eq!(scratch.shell(&format!("multilog --check {script} ./main")).stderr, "", "{script}");
    }
}

#[test]
fn no_script_is_bad_usage() {
    let usage = "multilog: usage: multilog --check action ...\n";
    assert_eq!(Scratch::new().run("multilog --check"), fails(100, usage));
}

#[test]
fn a_name_that_a_terminal_would_obey_is_not_shown_as_it_is() {
    let outcome = Scratch::new().shell("multilog --check \"$(printf './a\\033[2J\\377')\"");
    assert_eq!((outcome.code, outcome.stdout.contains('\u{1b}')), (0, false), "{outcome:?}");
}
