//! multilog, judged by the files in its directories and by its messages.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use tests::{Running, Scratch, differs, fails, is_root, original, prints, skip, state_of, wait_until};

/// A log directory, examined through its files.
struct Log(PathBuf);

impl Log {
    fn of(scratch: &Scratch, name: &str) -> Log {
        Log(scratch.path().join(name))
    }

    /// All names, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("a log directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().expect("a name in UTF-8")).collect();
        names.sort();
        names
    }

    fn old(&self) -> Vec<String> {
        self.names().into_iter().filter(|name| name.starts_with('@')).collect()
    }

    fn content(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.0.join(name)).expect("a file").permissions().mode() & 0o7777
    }

    /// All lines of the log, in order.
    fn all(&self) -> Vec<u8> {
        let files = self.old().into_iter().chain(["current".to_string()]);
        files.flat_map(|name| self.content(&name)).collect()
    }
}

/// Lines of `length` bytes, including the newline, all different.
fn lines(count: usize, length: usize) -> Vec<u8> {
    (0..count).flat_map(|number| format!("{number:0width$}\n", width = length - 1).into_bytes()).collect()
}

/// A stamped line without its stamp.
fn without_stamp(line: &str) -> &str {
    let (stamp, rest) = line.split_once(' ').expect("a stamp and a line");
    let digits = stamp.strip_prefix('@').expect("an at sign");
    assert_eq!(digits.len(), 24, "{line}");
    assert!(digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{line}");
    rest
}

#[test]
fn a_directory_is_made_and_left_complete() {
    let scratch = Scratch::new();
    assert_eq!(scratch.shell("umask 077; printf 'a\\nb' | multilog ./log"), prints(""));
    let log = Log::of(&scratch, "log");
    assert_eq!(log.names(), ["current", "lock", "state"]);
    // A last line without a newline gets one.
    assert_eq!(log.content("current"), b"a\nb\n");
    assert_eq!((log.mode("current"), log.mode("lock"), log.mode("state")), (0o744, 0o600, 0o644));
    assert_eq!(log.mode("."), 0o700);
}

#[test]
fn lines_are_selected_by_patterns_in_turn() {
    for (script, expected) in [
        ("./log", "apple\nbanana\ncherry a\n"),
        ("'-*' ./log", ""),
        ("'-*' '+b*' ./log", "banana\n"),
        ("'-a*' ./log", "banana\ncherry a\n"),
        ("'-*a' ./log", "apple\nbanana\n"),
        ("'-* a' ./log", "apple\nbanana\n"),
        // A star matches up to the first occurrence of what follows it, and does not try another.
        ("'-*na' ./log", "apple\nbanana\ncherry a\n"),
        ("'-**' ./log", "apple\nbanana\ncherry a\n"),
        ("'-ch*y*' ./log", "apple\nbanana\n"),
        ("- ./log", "apple\nbanana\ncherry a\n"),
        // Words without a meaning are ignored.
        ("zzz '' ./log", "apple\nbanana\ncherry a\n"),
        ("./log t", "apple\nbanana\ncherry a\n"),
    ] {
        let scratch = Scratch::new();
        assert_eq!(scratch.shell(&format!("printf 'apple\\nbanana\\ncherry a\\n' | multilog {script}")), prints(""));
        let logged = String::from_utf8(Log::of(&scratch, "log").all()).unwrap();
        assert_eq!(logged, expected, "{script}");
    }
}

#[test]
fn labels_rise_and_are_part_of_what_patterns_see() {
    let scratch = Scratch::new();
    scratch.shell("printf 'x 1\\ny 2\\nx 3\\n' | multilog t '-*' '+@* x *' ./log '+*' ./all");
    let logged = String::from_utf8(Log::of(&scratch, "log").all()).unwrap();
    assert_eq!(logged.lines().map(without_stamp).collect::<Vec<_>>(), ["x 1", "x 3"]);
    let all = String::from_utf8(Log::of(&scratch, "all").all()).unwrap();
    let stamps: Vec<&str> = all.lines().map(|line| &line[..25]).collect();
    assert_eq!(stamps.len(), 3);
    assert!(stamps.is_sorted());
}

#[test]
fn the_first_thousand_bytes_are_seen() {
    for (length, seen) in [(999, true), (1000, true), (1001, false)] {
        let scratch = Scratch::new();
        scratch.file("in", [vec![b'x'; length - 1], b"!\n".to_vec()].concat());
        scratch.shell("multilog '-*' '+*!' ./log < in");
        assert_eq!(!Log::of(&scratch, "log").all().is_empty(), seen, "{length}");
        // Lines of any length are written completely.
        scratch.shell("multilog ./whole < in");
        assert_eq!(Log::of(&scratch, "whole").all(), fs::read(scratch.path().join("in")).unwrap());
    }
}

#[test]
fn alerts_show_two_hundred_bytes_on_standard_error() {
    let scratch = Scratch::new();
    let (short, long) = ("s".repeat(200), "l".repeat(201));
    scratch.file("in", format!("{short}\n{long}\nend"));
    let shown = format!("{short}\n{}...\nend\n", "l".repeat(200));
    assert_eq!(scratch.shell("multilog e < in"), fails(0, &shown));
    assert_eq!(scratch.shell("multilog '-*' '+end' e < in"), fails(0, "end\n"));
}

#[test]
fn a_status_file_shows_the_last_selected_line() {
    let scratch = Scratch::new();
    scratch.shell("printf 'one\\ntwo\\nthree\\n' | multilog '-three' =status");
    let status = fs::read(scratch.path().join("status")).unwrap();
    assert_eq!(status.len(), 1001);
    assert_eq!(status.strip_prefix(b"two"), Some(&[b'\n'; 998][..]));
    let mode = fs::metadata(scratch.path().join("status")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
}

#[test]
fn full_files_are_rotated_within_two_thousand_bytes() {
    let scratch = Scratch::new();
    scratch.file("in", lines(1000, 30));
    assert_eq!(scratch.shell("multilog s5000 n100 ./log < in"), prints(""));
    let log = Log::of(&scratch, "log");
    assert_eq!(log.all(), lines(1000, 30));
    assert!(log.old().len() > 3);
    for name in log.old() {
        let content = log.content(&name);
        assert!((3000..=5000).contains(&content.len()), "{name}: {}", content.len());
        assert!(content.ends_with(b"\n"));
        assert_eq!((name.len(), &name[25..], log.mode(&name)), (27, ".s", 0o744));
    }
}

#[test]
fn one_file_fewer_than_n_is_kept_beside_current() {
    for (setting, kept) in [("n5", 4), ("n2", 1), ("n0", 1), ("nx", 1)] {
        let scratch = Scratch::new();
        scratch.file("in", lines(1000, 30));
        scratch.shell(&format!("multilog s4096 {setting} ./log < in"));
        let log = Log::of(&scratch, "log");
        assert_eq!(log.old().len(), kept, "{setting}");
        assert!(lines(1000, 30).ends_with(&log.all()), "the newest are kept");
    }
}

#[test]
fn a_line_longer_than_a_file_goes_on_in_the_next() {
    let scratch = Scratch::new();
    scratch.file("in", [vec![b'x'; 10_000], b"\nend\n".to_vec()].concat());
    scratch.shell("multilog s4096 n100 ./log < in");
    let log = Log::of(&scratch, "log");
    assert_eq!(log.all(), fs::read(scratch.path().join("in")).unwrap());
    assert_eq!(log.old().iter().map(|name| log.content(name).len()).collect::<Vec<_>>()[..2], [4096, 4096]);
}

#[test]
fn ten_megabytes_in_one_line_nul_bytes_and_all() {
    let scratch = Scratch::new();
    let long: Vec<u8> = (0..10_000_000u32).map(|n| if n % 251 == 10 { 0 } else { (n % 251) as u8 }).collect();
    scratch.file("in", &long);
    scratch.shell("multilog s16777215 ./log < in");
    assert!(Log::of(&scratch, "log").all() == [long, b"\n".to_vec()].concat());
}

#[test]
fn every_full_file_goes_through_the_processor() {
    let scratch = Scratch::new();
    scratch.file("in", lines(300, 30));
    let processor = r"tr 0-9 a-j; (cat <&4; printf +) >&5";
    assert_eq!(scratch.shell(&format!("multilog s4096 n100 '!{processor}' ./log < in")), prints(""));
    let log = Log::of(&scratch, "log");
    let letters = |bytes: Vec<u8>| -> Vec<u8> {
        bytes.into_iter().map(|b| if b.is_ascii_digit() { b - b'0' + b'a' } else { b }).collect()
    };
    assert_eq!(letters(log.all()), letters(lines(300, 30)));
    assert!(log.old().iter().all(|name| !log.content(name).iter().any(u8::is_ascii_digit) && name.ends_with(".s")));
    assert_eq!(log.content("state"), vec![b'+'; log.old().len()], "each has the state that the one before left");
    assert_eq!(log.names().len(), log.old().len() + 3, "nothing else is left");
}

#[test]
fn a_processor_that_fails_is_tried_again() {
    let scratch = Scratch::new();
    scratch.file("in", lines(150, 30));
    let outcome = scratch.shell("multilog s4096 n100 '!test -e ../again || { : >../again; exit 1; }; cat' ./log < in");
    let said: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!((outcome.code, said[0]), (0, "multilog: warning: processor failed in ./log, pausing"));
    // The original does not report that it goes on.
    assert_eq!(said.len(), differs(2, 1), "{said:?}");
    assert!(
        said[1..].iter().all(|line| line.starts_with("multilog: processor works in ./log again after ")),
        "{said:?}"
    );
    assert_eq!(Log::of(&scratch, "log").all(), lines(150, 30));
}

/// Sends a signal while multilog sleeps. The original forgets a signal that comes between its last check and its read.
fn send(multilog: &Child, signal: nix::sys::signal::Signal) {
    let pid = i32::try_from(multilog.id()).unwrap();
    wait_until("it may be told", || !original() || state_of(pid) == Some('S'));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("send a signal");
}

/// A multilog that reads what the test writes.
struct Open {
    child: Child,
}

impl Open {
    fn start(scratch: &Scratch, script: &[&str]) -> Open {
        let child = scratch.command("multilog").args(script).stdin(Stdio::piped()).spawn().expect("start multilog");
        Open { child }
    }

    fn says(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().expect("a pipe").write_all(bytes).expect("write to multilog");
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        send(&self.child, signal);
    }

    /// Waits for the end while the pipe is still open. What is left in the pipe is lost.
    fn ends(mut self) -> Option<i32> {
        let keep = self.child.stdin.take();
        let status = Running(self.child).wait();
        drop(keep);
        status.code()
    }
}

#[test]
fn each_line_can_be_read_as_soon_as_it_is_written() {
    let scratch = Scratch::new();
    let mut multilog = Open::start(&scratch, &["./log"]);
    let current = scratch.path().join("log/current");
    for (said, read) in [("one\n", "one\n"), ("two\nthr", "one\ntwo\n"), ("ee\n", "one\ntwo\nthree\n")] {
        multilog.says(said.as_bytes());
        wait_until("the line is in the file", || fs::read(&current).is_ok_and(|content| content == read.as_bytes()));
    }
    let mode = fs::metadata(&current).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o644, "while it is written");
    multilog.signal(nix::sys::signal::SIGTERM);
    assert_eq!(multilog.ends(), Some(0));
}

#[test]
fn a_closed_input_has_ended() {
    assert_eq!(Scratch::new().shell("exec <&-; multilog e"), prints(""));
}

#[test]
fn term_ends_it_at_the_end_of_the_line() {
    let scratch = Scratch::new();
    let mut multilog = Open::start(&scratch, &["./log"]);
    multilog.says(b"one\ntw");
    wait_until("it has read", || fs::read(scratch.path().join("log/current")).is_ok_and(|content| content == b"one\n"));
    multilog.signal(nix::sys::signal::SIGTERM);
    multilog.says(b"o\n");
    assert_eq!(multilog.ends(), Some(0));
    let log = Log::of(&scratch, "log");
    assert_eq!((log.content("current"), log.mode("current")), (b"one\ntwo\n".to_vec(), 0o744));
}

#[test]
fn signals_that_its_parent_ignores_are_obeyed_by_it_and_its_processor() {
    let scratch = Scratch::new();
    let mut multilog = scratch.command("sh");
    multilog.args(["-c", "trap '' TERM ALRM; exec multilog '!grep SigIgn /proc/self/status' ./log"]);
    let mut multilog = Open { child: multilog.stdin(Stdio::piped()).spawn().expect("start multilog") };
    let log = Log::of(&scratch, "log");
    multilog.says(b"one\n");
    let current = scratch.path().join("log/current");
    wait_until("it has read", || fs::read(&current).is_ok_and(|content| content == b"one\n"));
    multilog.signal(nix::sys::signal::SIGALRM);
    wait_until("the file is processed", || log.names().iter().any(|name| name.ends_with(".s")));
    multilog.signal(nix::sys::signal::SIGTERM);
    assert_eq!(multilog.ends(), Some(0));
    let old = log.names().into_iter().find(|name| name.ends_with(".s")).unwrap();
    let text = String::from_utf8(log.content(&old)).unwrap();
    let ignored = u64::from_str_radix(text.trim_end().strip_prefix("SigIgn:\t").unwrap(), 16).unwrap();
    let bit = |signal: i32| 1 << (signal - 1);
    let both = bit(nix::libc::SIGTERM) | bit(nix::libc::SIGALRM);
    assert_eq!(ignored & both, 0, "{text}");
}

#[test]
fn what_term_left_in_the_pipe_is_the_next_ones() {
    let scratch = Scratch::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let input = reader.try_clone().unwrap();
    let mut multilog = Running(scratch.command("multilog").arg("./log").stdin(input).spawn().expect("start multilog"));
    let log = Log::of(&scratch, "log");
    writer.write_all(b"one\na").unwrap();
    wait_until("it has read", || fs::read(scratch.path().join("log/current")).is_ok_and(|content| content == b"one\n"));
    send(&multilog.0, nix::sys::signal::SIGTERM);
    writer.write_all(b"b\nrest\n").unwrap();
    assert!(multilog.0.wait().unwrap().success());
    drop(writer);
    // multilog may have read a line that was in the pipe when the signal came. Every line that it has read is in the
    // log.
    let (logged, left) = (String::from_utf8(log.content("current")).unwrap(), std::io::read_to_string(reader).unwrap());
    assert!(logged.starts_with("one\nab\n"), "{logged}");
    assert_eq!(logged + &left, "one\nab\nrest\n");
}

#[test]
fn alrm_rotates_what_there_is() {
    let scratch = Scratch::new();
    let mut multilog = Open::start(&scratch, &["./log"]);
    let log = Log::of(&scratch, "log");
    multilog.says(b"one\n");
    let current = scratch.path().join("log/current");
    wait_until("the line is in the file", || fs::read(&current).is_ok_and(|content| content == b"one\n"));
    multilog.signal(nix::sys::signal::SIGALRM);
    wait_until("the file is rotated", || log.old().len() == 1 && log.names().contains(&"current".to_string()));
    multilog.says(b"two\n");
    wait_until("the next line is in a new file", || log.content("current") == b"two\n");
    multilog.signal(nix::sys::signal::SIGTERM);
    multilog.ends();
    assert_eq!(log.content(&log.old()[0]), b"one\n");
}

#[test]
fn a_directory_in_use_is_refused() {
    let scratch = Scratch::new();
    let multilog = Open::start(&scratch, &["./log"]);
    wait_until("it is ready", || scratch.path().join("log/current").exists());
    // The original's words, followed by the cause.
    let cause = differs(": it is in use by another multilog", "");
    let message = format!("multilog: fatal: unable to lock directory ./log: temporary failure{cause}\n");
    assert_eq!(scratch.run("multilog ./log"), fails(111, &message));
    multilog.signal(nix::sys::signal::SIGTERM);
    multilog.ends();
}

#[test]
fn what_cannot_be_opened_is_named_with_the_reason() {
    let scratch = Scratch::new();
    scratch.file("file", "");
    let [log, status] = ["open directory ./no/log", "create no/status"].map(|what| {
        let cause = differs(": its parent directory does not exist", "");
        format!("unable to {what}: file does not exist{cause}")
    });
    for (script, message) in [
        ("./no/log", log.as_str()),
        ("./file", "unable to open directory ./file: not a directory"),
        ("=no/status", status.as_str()),
    ] {
        let message = format!("multilog: fatal: {message}\n");
        assert_eq!(scratch.run(&format!("multilog {script}")), fails(111, &message), "{script}");
    }
    assert_eq!(scratch.run("multilog"), prints(""));
}

/// The files and modes that an earlier multilog may have left, and what the next one does with them.
#[test]
fn what_was_left_is_carried_on_or_put_aside() {
    type Case = (&'static str, &'static [(&'static str, u32, &'static str)], &'static [(&'static str, &'static str)]);
    let table: [Case; 4] = [
        ("complete", &[("current", 0o744, "old\n")], &[("current", "old\nnew\n")]),
        ("unfinished", &[("current", 0o644, "ol")], &[("u", "ol"), ("current", "new\n")]),
        (
            "in the middle of a rotation",
            &[("previous", 0o644, "older\n"), ("current", 0o644, "old\n")],
            &[("u", "older\n"), ("u", "old\n"), ("current", "new\n")],
        ),
        (
            "after a processor",
            &[
                ("previous", 0o744, "raw\n"),
                ("processed", 0o744, "done\n"),
                ("current", 0o644, "old\n"),
                ("state", 0o644, "s"),
            ],
            &[("s", "done\n"), ("u", "old\n"), ("current", "new\n"), ("state", "")],
        ),
    ];
    for (what, before, after) in table {
        let scratch = Scratch::new();
        for (name, mode, content) in before {
            let path = format!("log/{name}");
            scratch.file(&path, content);
            scratch.mode(&path, *mode);
        }
        assert_eq!(scratch.shell("echo new | multilog ./log"), prints(""), "{what}");
        let log = Log::of(&scratch, "log");
        let mut old = log.old().into_iter();
        for (name, content) in after {
            let name = match *name {
                "u" | "s" => {
                    let file = old.next().unwrap_or_else(|| panic!("{what}: another old file"));
                    assert!(file.ends_with(&format!(".{name}")), "{what}: {file}");
                    file
                }
                name => name.to_string(),
            };
            assert_eq!(String::from_utf8(log.content(&name)).unwrap(), *content, "{what}: {name}");
        }
        assert_eq!(old.next(), None, "{what}");
    }
}

/// A logger that waits for ever would not be noticed, so multilog ends.
#[test]
fn a_current_that_cannot_be_written_to_is_fatal() {
    for (make, verb, reason) in [
        ("mkdir -p log/current", "append to", "is a directory"),
        ("mkdir log; ln -s nowhere/file log/current", "write to", "file does not exist"),
        ("mkdir log; mkfifo -m 744 log/current", "append to", "device not configured"),
    ] {
        let scratch = Scratch::new();
        assert_eq!(scratch.shell(make), prints(""));
        let said = format!("multilog: fatal: unable to {verb} ./log/current: {reason}\n");
        assert_eq!(scratch.shell("echo line | multilog ./log"), fails(111, &said), "{make}");
    }
}

/// The original waits five seconds before it tries again, and does not obey TERM meanwhile.
#[test]
fn a_full_disk_is_waited_for_and_nothing_is_lost() {
    if !is_root() {
        return skip("a full disk needs root, to mount a small one");
    }
    let scratch = Scratch::new();
    scratch.dir("disk");
    let mount = format!("mount -t tmpfs -o size=1m none {0}/disk", scratch.path().display());
    assert_eq!(scratch.shell(&mount), prints(""));
    let unmount = Unmount(&scratch);
    scratch.file("in", lines(20_000, 30));
    scratch.shell("head -c 700000 /dev/zero > disk/hog");
    let errors = scratch.path().join("errors");
    let mut command = scratch.command("multilog");
    let input = fs::File::open(scratch.path().join("in")).unwrap();
    let cat = scratch.command("cat").stdin(input).stdout(Stdio::piped()).spawn().expect("start cat");
    let cat = Running(cat);
    let mut cat = cat;
    let pipe = cat.0.stdout.take().expect("a pipe");
    let child =
        command.args(["s16777215", "./disk/log"]).stdin(pipe).stderr(fs::File::create(&errors).unwrap()).spawn();
    let multilog = Running(child.expect("start multilog"));
    let complaint = "multilog: warning: unable to write to ./disk/log/current, pausing: out of disk space\n";
    wait_until("it complains", || fs::read_to_string(&errors).is_ok_and(|said| said.starts_with(complaint)));
    fs::remove_file(scratch.path().join("disk/hog")).unwrap();
    assert_eq!(multilog.wait().code(), Some(0));
    assert!(cat.wait().success());
    assert!(Log::of(&scratch, "disk/log").all() == lines(20_000, 30));
    drop(unmount);
}

struct Unmount<'a>(&'a Scratch);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        self.0.shell("umount -l disk");
    }
}

/// These are encore's additions. The original ignores words that it does not know.
#[test]
fn encores_additions() {
    let run = |script: &str| {
        let scratch = Scratch::new();
        scratch.shell(&format!("printf 'err 5\\nerr x\\n' | multilog {script} ./log"));
        let log = Log::of(&scratch, "log");
        String::from_utf8(log.all()).unwrap()
    };
    assert_eq!(run("F '-*[0-9]'"), differs("err x\n", "err 5\nerr x\n"));
    let stamped = run("T");
    if !tests::original() {
        let (stamp, rest) = stamped.split_once(' ').unwrap();
        let (seconds, micros) = stamp.split_once('.').unwrap();
        assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds > 1_700_000_000) && micros.len() == 6, "{stamp}");
        assert!(rest.starts_with("err 5\n"));
    }
    let scratch = Scratch::new();
    scratch.file("in", lines(200, 30));
    scratch.shell("multilog s4096 n100 wdone ./log < in");
    let ending = differs(".done", ".s");
    assert!(Log::of(&scratch, "log").old().iter().all(|name| name.ends_with(ending)));
}
