//! Odd inputs for both implementations, whose outputs must be equal. Inputs for which a difference is intended are
//! tested elsewhere.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tests::{Outcome, Scratch, fifo, others, programs};

/// Makes the same files for both.
fn world() -> Scratch {
    let scratch = Scratch::new();
    for (file, content) in [
        ("env/A", &b"1\n"[..]),
        ("env/B", b"  x \t\nrest"),
        ("env/EMPTY", b""),
        ("env/N", b"a\0b\n"),
        ("env/C=D", b"cd\n"),
        ("env/sp ace", b"s"),
        ("env/.hidden", b"h"),
        ("env2/PATH", b"/nonexistent\n"),
        ("env2/HOME", b""),
        ("plain", b"text"),
        ("bin1/prog", b"#!/bin/sh\necho one\n"),
        ("file:with:colons", b""),
    ] {
        scratch.file(file, content);
    }
    for folder in ["empty", "bin3/prog", "env4/sub", "closed", "s1/supervise", "s2"] {
        scratch.dir(folder);
    }
    scratch.mode("closed", 0);
    scratch.script("script", "#!/bin/sh\necho \"$#:$*\"\nexit 3\n");
    scratch.script("text", "echo hi\n");
    scratch.script("nothing", "");
    scratch.script("bin2/prog", "#!/bin/sh\necho two\n");
    symlink("loop", scratch.path().join("loop")).unwrap();
    fifo(&scratch.path().join("fifo")).unwrap();
    fifo(&scratch.path().join("s1/supervise/ok")).unwrap();
    fifo(&scratch.path().join("s1/supervise/control")).unwrap();
    scratch.file("s1/supervise/status", b"\x40\0\0\0\x65\0\0\0\0\0\0\x01\x67\x12\0\0\0u");
    scratch
}

/// The output of a shell line with the programs of a folder, and the files that exist afterwards.
fn outcome(scratch: &Scratch, folder: &Path, line: &str) -> Outcome {
    let mut path = OsString::from(folder);
    path.push(":/usr/bin:/bin");
    let story =
        format!("{line}\ncode=$?\n[ ! -e L ] || {{ /bin/ls -l L | /usr/bin/cut -c 1-10; /bin/rm -f L; }}\nexit $code");
    let mut command = scratch.command("/bin/sh");
    scratch.outcome_of(command.args(["-c", &story]).env("PATH", path).env("B", folder))
}

/// Whether our program says what the original says. Behind the original's words ours may add a cause, after a colon; it may
/// warn of what the original does without a word; and its usage may name more options.
fn says_the_same(ours: &Outcome, original: &Outcome) -> bool {
    ours.code == original.code
        && has_the_same_lines(&ours.stdout, &original.stdout)
        && has_the_same_lines(&ours.stderr, &original.stderr)
}

fn has_the_same_lines(ours: &str, original: &str) -> bool {
    let is_hint = |line: &&str| line.contains(": warning: ") && line.contains("did you mean");
    let said: Vec<&str> = ours.split('\n').filter(|line| !is_hint(line)).collect();
    let expected: Vec<&str> = original.split('\n').collect();
    let is_same = |(said, expected): (&&str, &&str)| {
        let may_have_cause = expected.contains(": fatal: ") || expected.contains(": warning: ");
        let usage = expected.strip_suffix(" child").filter(|usage| usage.contains(": usage: "));
        let more_options = usage.and_then(|usage| said.strip_prefix(usage)?.strip_suffix(" child"));
        let more = more_options.filter(|more| more.starts_with(" [-")).map(|_| "").or(said.strip_prefix(*expected));
        more.is_some_and(|more| more.is_empty() || (may_have_cause && more.starts_with(": ")))
    };
    said.len() == expected.len() && said.iter().zip(&expected).all(is_same)
}

fn both_say_the_same(lines: &[String]) {
    let Some(other) = others() else { return };
    let (here, there) = (world(), world());
    let mut different = String::new();
    for line in lines {
        let said = [outcome(&here, programs(), line), outcome(&there, &other, line)];
        if !says_the_same(&said[0], &said[1]) {
            different += &format!("{line}\n  {:?}\n  {:?}\n", said[0], said[1]);
        }
    }
    assert!(different.is_empty(), "{different}");
    let left = [here, there].map(|scratch| fs::read_dir(scratch.path()).unwrap().count());
    assert_eq!(left[0], left[1]);
}

fn each(forms: &[&str], ends: &[&str]) -> Vec<String> {
    forms.iter().flat_map(|form| ends.iter().map(move |end| form.replace("{}", end))).collect()
}

const FORMS: [&str; 6] =
    ["envdir empty {}", "envuidgid root {}", "pgrphack {}", "softlimit -c0 {}", "setlock L {}", "fghack {}"];

#[test]
#[ignore = "many programs are run"]
fn programs_that_run_another() {
    let ends = [
        "true",
        "false",
        "nosuch",
        "./plain",
        "./text",
        "./nothing",
        "./script a '' b",
        "./loop",
        "./closed/x",
        "./plain/x",
        ".",
        "/",
        "''",
        "script",
        "\"$(printf '%300s' x)\"",
        "sh -c 'exit 77'",
        "sh -c 'exit 256'",
        "sh -c 'echo out; echo err >&2; exit 1'",
        "sh -c 'grep -E Sig.Blk:..Ign /proc/self/status'",
        "cat <plain",
        "env A=b sh -c 'echo $A $0 $*' zero one",
    ];
    both_say_the_same(&each(&FORMS, &ends));
}

#[test]
#[ignore = "many programs are run"]
fn the_search_in_path() {
    let paths = [
        "bin1:bin2",
        "bin1",
        "bin3:bin2",
        "bin3",
        ":bin2",
        "bin1:",
        "",
        "/nonexistent:bin2",
        "plain:bin2",
        "closed:bin2",
    ];
    let ends: Vec<String> = paths
        .iter()
        .flat_map(|path| ["prog", "script", "nosuch"].map(|program| format!("PATH={path} $B/<> {program}")))
        .collect();
    let lines = FORMS.iter().flat_map(|form| {
        let (name, rest) = form.split_once(' ').unwrap();
        let rest = rest.replace("{}", "");
        ends.iter().map(move |end| end.replace("<> ", &format!("{name} {rest} ")))
    });
    both_say_the_same(&lines.collect::<Vec<_>>());
}

#[test]
#[ignore = "many programs are run"]
fn standard_descriptors_that_are_closed() {
    let ends = ["sh -c 'echo out; echo err >&2; cat' <&-", "sh -c 'echo out' >&-", "sh -c 'echo err >&2' 2>&-"];
    both_say_the_same(&each(&FORMS, &ends));
}

#[test]
#[ignore = "many programs are run"]
fn directories_of_variables() {
    let folders = [
        "env", "env/", "./env//", "env2", "env4", "empty", "closed", "plain", "nosuch", "''", "loop", "fifo", "env/A",
        "--", "-x",
    ];
    both_say_the_same(&each(
        &["envdir {} /usr/bin/env -u B -u PATH -u PWD | sort", "envdir {} true", "envdir {}"],
        &folders,
    ));
}

#[test]
#[ignore = "many programs are run"]
fn limits() {
    let limits = [
        "-c0",
        "-c 0",
        "-o 10",
        "-o10",
        "-o=",
        "-o =",
        "-o 20 -o 10",
        "-c ''",
        "-z",
        "-z 5",
        "-",
        "-d 99999999",
        "-f 100",
        "-l 1000",
        "-m 99999999",
        "-p 100",
        "-r 1000000",
        "-s 1000000",
        "-t 5",
        "-a 100000000",
        "-c0 -- ",
        "-o 18446744073709551615",
        "-a1",
        "-f0",
        "-o3",
    ];
    both_say_the_same(&each(
        &["softlimit {} sh -c 'ulimit -c -n; ulimit -n; ulimit -t; ulimit -v'", "softlimit {} true"],
        &limits,
    ));
}

#[test]
#[ignore = "many programs are run"]
fn locks_and_accounts() {
    let options = ["", "-n", "-N", "-x", "-X", "-nx", "-xX", "-Xn", "-z", "-", "-n -x"];
    let mut lines = each(
        &[
            "setlock {} L echo ran",
            "setlock {} nosuch/L echo ran",
            "setlock {} empty echo ran",
            "setlock {} '' echo ran",
            "setlock {} fifo echo ran",
            "setlock {} L",
            "setlock {}",
        ],
        &options,
    );
    let accounts = ["root", "nobody", "nosuch", "''", "0", "65534", "roo", "nosuch:", "ROOT", "' root'", "--"];
    lines.extend(each(&["envuidgid {} sh -c 'echo $UID $GID'", "envuidgid {} nosuch", "envuidgid {}"], &accounts));
    lines.extend(each(&["setuidgid {} id", "setuidgid {} nosuch"], &accounts));
    both_say_the_same(&lines);
}

#[test]
#[ignore = "many programs are run"]
fn service_directories() {
    let services = ["s1", "s2", "s1/", "./s1", "nosuch", ".", "/", "plain", "fifo", "''", "s2 s1 nosuch", "/dev/null"];
    let mut lines = each(
        &["svstat {} | sed 's/[0-9]* seconds/N seconds/'", "svc -u {}", "svc -dx {}", "svc -u -d {}", "svc {}"],
        &services,
    );
    lines.extend(each(&["svok {}"], &["s1", "s2", "nosuch", "plain", "fifo", "''", "s1 s2"]));
    lines.extend(["svc u s1"].map(String::from));
    both_say_the_same(&lines);
}

#[test]
#[ignore = "many programs are run"]
fn scripts_and_lines() {
    let scripts = [
        "",
        "e",
        "t e",
        "e e",
        "'-*' e",
        "'-a*' e",
        "'-*' '+b*' e",
        "+a -a e",
        "'-**' e",
        "=L",
        "= e",
        "=nosuch/f",
        "./nosuch/x",
        "./plain",
        "''",
        "'' e",
        "zzz e",
        "./closed",
        "'-a b*' e",
    ];
    let inputs = ["", "a\\nb\\n", "a b c\\nbb", "a\\0b\\n\\0\\n", "\\n\\n", "*a\\n**\\n"];
    let stamps = "sed -E 's/@[0-9a-f]{24}/@/'";
    let mut lines: Vec<String> = inputs
        .iter()
        .flat_map(|input| {
            scripts
                .map(|script| format!("printf '{input}' | multilog {script} 2>&1 | {stamps}; [ ! -e L ] || wc -c <L"))
        })
        .collect();
    lines.extend(inputs.map(|input| format!("printf '{input}' | tai64n | {stamps}")));
    let labels = [
        "@400000000000000b000001f4 x\\n",
        "x @400000000000000b000001f4\\n",
        "\\n\\n",
        "@400000000000000b000001f4x\\n",
        " @40\\n",
    ];
    lines.extend(labels.map(|label| format!("printf '{label}' | TZ=Europe/Berlin tai64nlocal")));
    both_say_the_same(&lines);
}

#[test]
#[ignore = "many programs are run"]
fn titles() {
    let words = ["", "x", "....", "a b", "a ''", "x ......"];
    both_say_the_same(&each(
        &["readproctitle {} <plain", "readproctitle {}", "readproctitle {} <&-", "readproctitle {} <empty"],
        &words,
    ));
}
