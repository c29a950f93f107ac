//! envdir: a directory of variables.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use tests::{Scratch, differs, fails, fifo, is_root, original, prints};

/// The environment that a directory with one file makes of `V=old`.
fn with_file(name: &str, content: &[u8]) -> String {
    let scratch = Scratch::new();
    scratch.file(format!("env/{name}"), content);
    environment(&scratch)
}

fn environment(scratch: &Scratch) -> String {
    let mut command = scratch.command("envdir");
    let command = command.args(["env", "/usr/bin/env", "-0"]).env_clear().env("V", "old");
    let outcome = scratch.outcome_of(command);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    let mut variables: Vec<&str> = outcome.stdout.split_terminator('\0').collect();
    variables.sort_unstable();
    variables.join("|")
}

#[test]
fn the_first_line_is_the_value() {
    for (content, environment) in [
        (&b"new"[..], "V=new"),
        (b"new\n", "V=new"),
        (b"new\nsecond\n", "V=new"),
        (b"new \t \n", "V=new"),
        (b"new \t ", "V=new"),
        (b" new w", "V= new w"),
        (b"new\r\n", "V=new\r"),
        (b"a=b", "V=a=b"),
        // An empty first line makes the variable empty, and an empty file removes it.
        (b"\n", "V="),
        (b" \t\n", "V="),
        (b"\nsecond", "V="),
        (b"", ""),
        // A NUL in the file stands for a newline.
        (b"a\0b\n", "V=a\nb"),
        (b"a\0\n", "V=a\n"),
        (b"a \0 \n", "V=a \n"),
        (b"\0", "V=\n"),
        (b"\xff\xfe", "V=\\xff\\xfe"),
    ] {
        assert_eq!(with_file("V", content), environment, "{}", content.escape_ascii());
    }
}

#[test]
fn the_name_is_the_files_whatever_it_is() {
    for (name, content, environment) in [
        ("W", "w", "V=old|W=w"),
        ("two words", "w", "V=old|two words=w"),
        ("-n", "w", "-n=w|V=old"),
        (".hidden", "w", "V=old"),
        ("W", "", "V=old"),
        // The name of a variable ends at the first `=`.
        ("V=x", "y", "V=x=y"),
        ("V=x", "", "V=x"),
        ("=", "w", "==w|V=old"),
    ] {
        assert_eq!(with_file(name, content.as_bytes()), environment, "{name}");
    }
}

#[test]
fn a_large_value_is_taken_whole_and_a_line_too_long_for_the_system_is_refused() {
    assert_eq!(with_file("V", &[b'a'; 100_000]).len(), 100_002);
    let scratch = Scratch::new();
    scratch.file("env/V", vec![b'a'; 10_000_000]);
    let refusal = fails(111, "envdir: fatal: unable to run true: argument list too long\n");
    assert_eq!(scratch.run("envdir env true"), refusal);
}

#[test]
fn a_fifo_is_an_empty_file_and_does_not_block() {
    let scratch = Scratch::new();
    scratch.dir("env");
    fifo(&scratch.path().join("env/V")).unwrap();
    assert_eq!(environment(&scratch), "");
}

#[test]
fn a_link_is_followed_and_one_to_nothing_removes_the_variable() {
    let scratch = Scratch::new();
    scratch.file("value", "linked");
    scratch.dir("env");
    symlink("../value", scratch.path().join("env/V")).unwrap();
    assert_eq!(environment(&scratch), "V=linked");

    // If there is another file, the original may use that file's value, depending on the order of the directory.
    let scratch = Scratch::new();
    scratch.file("env/A", "a");
    symlink("nothing", scratch.path().join("env/V")).unwrap();
    scratch.file("env/Z", "z");
    let environment = environment(&scratch);
    if original() {
        assert!(["A=a|Z=z", "A=a|V=a\n|Z=z", "A=a|V=z\n|Z=z"].contains(&environment.as_str()), "{environment}");
    } else {
        assert_eq!(environment, "A=a|Z=z");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let scratch = Scratch::new();
    scratch.dir("with/sub");
    scratch.dir("looped");
    symlink("L", scratch.path().join("looped/L")).unwrap();
    scratch.file("plain", "");
    for (line, reason) in [
        ("envdir with env", "read with/sub: is a directory"),
        ("envdir with/ env", "read with//sub: is a directory"),
        ("envdir looped env", "read looped/L: symbolic link loop"),
        ("envdir nosuch env", "switch to directory nosuch: file does not exist"),
        ("envdir plain env", "switch to directory plain: not a directory"),
        ("envdir looped/L env", "switch to directory looped/L: symbolic link loop"),
        // envdir has no options.
        ("envdir -x env", "switch to directory -x: file does not exist"),
        ("envdir -- env", "switch to directory --: file does not exist"),
        ("envdir '' env", "switch to directory : file does not exist"),
    ] {
        assert_eq!(scratch.run(line), fails(111, &format!("envdir: fatal: unable to {reason}\n")), "{line}");
    }
}

#[test]
fn what_must_not_be_read_is_named() {
    for (file, mode, reason) in [
        ("env/A", 0o000, "read env/A: access denied"),
        ("env", 0o000, "switch to directory env: access denied"),
        ("env", 0o444, "switch to directory env: access denied"),
        ("env", 0o111, "read directory env: access denied"),
    ] {
        let scratch = Scratch::new();
        scratch.file("env/A", "a");
        scratch.mode(file, mode);
        let outcome = scratch.outcome_of(scratch.as_nobody("envdir").args(["env", "env"]));
        scratch.mode("env", 0o755);
        let whose = if is_root() { ": it belongs to root, and this is nobody" } else { "" };
        let message = format!("envdir: fatal: unable to {reason}{}\n", differs(whose, ""));
        assert_eq!(outcome, fails(111, &message), "{mode:o} {file}");
    }
}

#[test]
fn a_current_directory_that_cannot_be_entered_again_is_no_obstacle() {
    let scratch = Scratch::new();
    scratch.file("env/A", "a");
    scratch.dir("closed");
    let env = scratch.path().join("env");
    let mut command = scratch.as_nobody("envdir");
    command.current_dir(scratch.path().join("closed")).arg(env).args(["printenv", "A"]);
    scratch.mode("closed", 0o711);
    // The original opens the current directory, in order to come back to it.
    let switch = "envdir: fatal: unable to switch to current directory: access denied\n";
    assert_eq!(scratch.outcome_of(&mut command), differs(prints("a\n"), fails(111, switch)));
    scratch.mode("closed", 0o755);
}

/// The manual's description of the files in a directory, programmed a second time and as plainly as possible.
fn model(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let mut environment = BTreeMap::from([("V".to_string(), b"old".to_vec())]);
    for (name, content) in files {
        environment.remove(name);
        let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let end = line.iter().rposition(|byte| !b" \t".contains(byte)).map_or(0, |last| last + 1);
        let value = line[..end].iter().map(|byte| if *byte == 0 { b'\n' } else { *byte });
        if !content.is_empty() {
            environment.insert(name.clone(), value.collect());
        }
    }
    environment
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_directory_of_files_makes_the_environment_that_the_manual_promises(
        files in btree_map(
            "[VWX_ -]{1,3}",
            // Mostly bytes that have a meaning.
            vec(prop_oneof![Just(0), Just(b' '), Just(b'\t'), Just(b'\n'), Just(b'='), 1..128u8], 0..30),
            0..8,
        ),
    ) {
        let scratch = Scratch::new();
        scratch.dir("env");
        files.iter().for_each(|(name, content)| scratch.file(format!("env/{name}"), content));
        let expected: Vec<String> = model(&files)
            .into_iter()
            .map(|(name, value)| format!("{name}={}", String::from_utf8(value).unwrap()))
            .collect();
        let mut shown: Vec<String> = environment(&scratch).split('|').map(String::from).collect();
        shown.sort_unstable();
        let mut expected: Vec<String> = expected.join("|").split('|').map(String::from).collect();
        expected.sort_unstable();
        prop_assert_eq!(shown, expected);
    }
}
