//! svlog --cursor-file: each line is shown once by one svlog after the other, whatever happens to the log and to svlog in
//! between.

use nix::unistd::chown;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use tests::{Daemon, Outcome, Running, Scratch, fails, fifo, has, is_root, prints, skip, wait_until};

const SECOND: u64 = 1_795_243_987;

fn label(second: u64) -> String {
    format!("@{:016x}{:08x}", (1 << 62) + 10 + SECOND + second, 0)
}

/// Appends lines with these numbers to `current`, one in each second.
fn log(scratch: &Scratch, folder: &str, numbers: impl IntoIterator<Item = u64>) {
    scratch.dir(folder);
    let path = scratch.path().join(folder).join("current");
    let mut current = OpenOptions::new().append(true).create(true).open(path).unwrap();
    let lines = numbers.into_iter().map(|number| format!("{} {number}\n", label(number)));
    current.write_all(lines.collect::<String>().as_bytes()).unwrap();
}

/// Finishes `current` as multilog does.
fn rotate(scratch: &Scratch, folder: &str, second: u64) {
    let folder = scratch.path().join(folder);
    fs::rename(folder.join("current"), folder.join(format!("{}.s", label(second)))).unwrap();
    fs::write(folder.join("current"), "").unwrap();
}

fn shown(scratch: &Scratch, line: &str) -> String {
    let Outcome { code, stdout, stderr } = scratch.run(&format!("svlog -o cat --cursor-file c {line}"));
    assert_eq!((code, stderr.as_str()), (0, ""), "svlog {line}");
    stdout.lines().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_next_svlog_goes_on_where_the_one_before_has_ended() {
    let scratch = Scratch::new();
    log(&scratch, "web", 1..4);
    assert_eq!(shown(&scratch, "web"), "1 2 3");
    assert_eq!(shown(&scratch, "web"), "");
    log(&scratch, "web", 4..6);
    // What does not match has been looked at.
    assert_eq!(shown(&scratch, "--grep nothing web"), "");
    assert_eq!(shown(&scratch, "web"), "");
    log(&scratch, "web", 6..9);
    assert_eq!(shown(&scratch, "--head 1 web"), "6");
    // The position in a log that is not asked for is kept.
    log(&scratch, "db", [1, 2, 10]);
    assert_eq!(shown(&scratch, "db"), "1 2 10");
    log(&scratch, "db", [11]);
    assert_eq!(shown(&scratch, "--head 2 web db"), "7 8");
    assert_eq!(shown(&scratch, "web db"), "11");
    // A line that is not complete is left to the next one.
    let mut current = OpenOptions::new().append(true).open(scratch.path().join("web/current")).unwrap();
    current.write_all(format!("{} be", label(20)).as_bytes()).unwrap();
    assert_eq!(shown(&scratch, "web"), "");
    current.write_all(b"gun\n").unwrap();
    assert_eq!(shown(&scratch, "web"), "begun");
}

#[test]
fn a_position_is_found_again_whatever_became_of_the_file() {
    for (name, what) in [
        ("renamed", ""),
        ("compressed", "logcompress zstd web"),
        ("copied", "for f in web/@*; do cp $f web/x; rm $f; mv web/x $f; done"),
    ] {
        for pause in [true, false] {
            let scratch = Scratch::new();
            log(&scratch, "web", 1..5);
            assert_eq!(shown(&scratch, "--head 3 web"), "1 2 3", "{name}");
            log(&scratch, "web", 5..7);
            rotate(&scratch, "web", 7);
            log(&scratch, "web", 8..10);
            assert_eq!(scratch.shell(what), prints(""), "{name}");
            if pause {
                assert_eq!(shown(&scratch, "--head 2 web"), "4 5", "{name}");
            }
            rotate(&scratch, "web", 10);
            log(&scratch, "web", [11]);
            assert_eq!(scratch.shell(what), prints(""), "{name}");
            let rest = "6 8 9 11";
            let expected = if pause { rest.to_string() } else { format!("4 5 {rest}") };
            assert_eq!(shown(&scratch, "web"), expected, "{name}");
            assert_eq!(shown(&scratch, "web"), "", "{name}");
        }
    }
}

/// If the file is gone, what came later is shown. If a processor has rewritten it, the stamps tell what came later; the
/// last line that was shown has such a stamp too.
#[test]
fn of_a_file_that_is_gone_no_later_line_is_lost() {
    for (what, expected) in [("rm web/@*", "8"), ("sed -i 's/$/ new/' web/@*", "3 new 4 new 5 new 8")] {
        let scratch = Scratch::new();
        log(&scratch, "web", 1..4);
        assert_eq!(shown(&scratch, "web"), "1 2 3");
        log(&scratch, "web", 4..6);
        rotate(&scratch, "web", 7);
        log(&scratch, "web", [8]);
        assert_eq!(scratch.shell(what), prints(""));
        assert_eq!(shown(&scratch, "web"), expected);
        assert_eq!(shown(&scratch, "web"), "");
    }
}

#[test]
fn following_keeps_the_position_too() {
    let scratch = Scratch::new();
    log(&scratch, "web", 1..3);
    let output = scratch.path().join("shown");
    let mut command = scratch.command("svlog");
    let words = "-f -o cat --head 4 --cursor-file c web";
    command.args(words.split(' ')).stdout(File::create(&output).unwrap());
    let mut svlog = Daemon::start(&mut command, &scratch);
    wait_until("lines are shown", || fs::read_to_string(&output).unwrap() == "1\n2\n");
    log(&scratch, "web", [3]);
    rotate(&scratch, "web", 3);
    log(&scratch, "web", [4, 5]);
    wait_until("svlog ends", || svlog.has_ended());
    assert_eq!(fs::read_to_string(&output).unwrap(), "1\n2\n3\n4\n");
    assert_eq!(shown(&scratch, "web"), "5");
}

#[test]
fn what_is_no_cursor_is_refused_in_words_and_left_alone() {
    let scratch = Scratch::new();
    log(&scratch, "web", 1..3);
    assert_eq!(shown(&scratch, "--head 1 web"), "1");
    let whole = fs::read_to_string(scratch.path().join("c")).unwrap();
    let refused = |why: &str| {
        let words = format!(
            "svlog: fatal: unable to use the cursor file c: {why}: remove the file to begin with the first line\n"
        );
        assert_eq!(scratch.run("svlog --cursor-file c web"), fails(111, &words));
    };
    let torn = &whole[..whole.len() - 3];
    for content in ["", "svlog cursor 1\n", "\0\0\0\0", "else\n", torn, &whole.replace("cursor 1", "cursor 2")] {
        scratch.file("c", content);
        refused("it is damaged, or no cursor of svlog's");
        assert_eq!(fs::read_to_string(scratch.path().join("c")).unwrap(), content);
    }
    scratch.file("c", "x".repeat(5 << 20));
    refused("too long");
    fs::remove_file(scratch.path().join("c")).unwrap();
    fifo(&scratch.path().join("c")).unwrap();
    refused("not a file");
    fs::remove_file(scratch.path().join("c")).unwrap();
    scratch.file("victim", &whole);
    symlink("victim", scratch.path().join("c")).unwrap();
    refused("not a file");
    fs::remove_file(scratch.path().join("c")).unwrap();
    scratch.dir("c");
    refused("not a file");
    // Nothing is written through a link that lies where the new file is made.
    fs::remove_dir(scratch.path().join("c")).unwrap();
    symlink("victim", scratch.path().join("c.new")).unwrap();
    scratch.file("c", &whole);
    assert_eq!(shown(&scratch, "web"), "2");
    assert_eq!(fs::read_to_string(scratch.path().join("victim")).unwrap(), whole);
    // A position that no file has is that of a file that is gone.
    let far = whole.lines().map(|line| line.replace(" 28 ", " 99999 ")).collect::<Vec<_>>().join("\n") + "\n";
    scratch.file("c", far);
    assert_eq!(shown(&scratch, "web"), "1 2");
}

/// svlog is killed at every call by which it writes a line, or that it was shown.
#[test]
fn a_killed_svlog_loses_no_line_and_the_next_one_shows_at_most_one_twice() {
    if !has("strace") {
        return skip("strace kills svlog at its system calls");
    }
    let scratch = Scratch::new();
    log(&scratch, "web", [1, 3, 5]);
    rotate(&scratch, "web", 5);
    log(&scratch, "web", [6, 8]);
    log(&scratch, "db", [2, 4, 7]);
    let mut killed = 0;
    for call in ["write", "openat", "renameat2", "renameat", "unlinkat", "close"] {
        for number in 1..40 {
            let _ = fs::remove_file(scratch.path().join("c"));
            let output = scratch.path().join("shown");
            let _ = fs::remove_file(&output);
            let append = || Stdio::from(OpenOptions::new().append(true).create(true).open(&output).unwrap());
            let words = ["-o", "cat", "--cursor-file", "c", "web", "db"];
            let mut strace = scratch.command("strace");
            strace.args(["-qq", "-o", "trace", "-e", &format!("inject={call}:signal=KILL:when={number}")]);
            let strace = strace.arg(scratch.programs().join("svlog")).args(words).stdout(append()).spawn().unwrap();
            let was_killed = !Running(strace).wait().success();
            killed += u32::from(was_killed);
            let before = fs::read_to_string(&output).unwrap();
            let next = scratch.command("svlog").args(words).stdout(append()).spawn().unwrap();
            assert!(Running(next).wait().success(), "after a kill at {call} {number}");
            let whole = fs::read_to_string(&output).unwrap();
            let mut lines: Vec<&str> = whole.lines().collect();
            let at = before.lines().count();
            if at > 0 && lines.get(at) == lines.get(at - 1) {
                lines.remove(at);
            }
            assert_eq!(lines.join(" "), "1 2 3 4 5 6 7 8", "{call} {number}, before: {before:?}");
            if !was_killed {
                break;
            }
        }
    }
    assert!(killed > 40, "{killed}");
}

/// The account that owns a directory could have root's svlog write into any other directory.
#[test]
fn the_link_of_another_account_to_the_directory_of_the_cursor_is_not_followed() {
    if !is_root() {
        return skip("only root gives links to another account");
    }
    let scratch = Scratch::new();
    log(&scratch, "web", 1..4);
    scratch.dir("anothers");
    scratch.dir("roots");
    for link in ["anothers/link", "link"] {
        symlink(scratch.path().join("roots"), scratch.path().join(link)).unwrap();
    }
    chown(&scratch.path().join("anothers"), Some(65534.into()), None).unwrap();
    let Outcome { code, stderr, .. } = scratch.run("svlog --cursor-file anothers/link/c web");
    let words = "svlog: fatal: unable to open directory anothers/link: ";
    assert!(code == 111 && stderr.starts_with(words), "{code} {stderr}");
    assert!(stderr.contains("a link in its path"), "{stderr}");
    assert_eq!(fs::read_dir(scratch.path().join("roots")).unwrap().count(), 0);
    // A link of root's in a directory of root's is as good as the directory.
    for cursor in ["link/c", "anothers/c"] {
        let outcome = scratch.run(&format!("svlog -o cat --cursor-file {cursor} web"));
        assert_eq!(outcome, prints("1\n2\n3\n"), "{cursor}");
    }
    assert!(scratch.path().join("roots/c").exists());
}
