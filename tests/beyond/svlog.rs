//! svlog reads what multilog has written, and follows while multilog writes.

use nix::sys::signal::Signal;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{PipeWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{SystemTime, UNIX_EPOCH};
use tests::{Daemon, Outcome, Scratch, fails, fifo, has, prints, state_of, wait_until};

/// 2026-11-21 06:53:07 UTC.
const SECOND: u64 = 1_795_243_987;

fn label(second: u64, nanos: u32) -> String {
    format!("@{:016x}{nanos:08x}", (1 << 62) + 10 + second)
}

/// Makes a log directory: the names of its files, and the seconds at which each has a line.
fn written(scratch: &Scratch, folder: &str, files: &[(&str, &[u64])]) {
    scratch.file(format!("{folder}/lock"), "");
    for (name, seconds) in files {
        let line = |second| format!("{} {folder} {second}\n", label(SECOND + second, 0));
        scratch.file(format!("{folder}/{name}"), seconds.iter().map(|second| line(*second)).collect::<String>());
    }
}

fn svlog(scratch: &Scratch, line: &str) -> Outcome {
    let mut command = scratch.command("svlog");
    scratch.outcome_of(command.env("TZ", "XYZ-1").args(line.split(' ')))
}

/// The last words of svlog's lines, if it succeeds without a message.
fn numbers(scratch: &Scratch, line: &str) -> String {
    let outcome = svlog(scratch, line);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "svlog {line}");
    let words = outcome.stdout.lines().map(|line| line.rsplit(' ').next().unwrap_or_default());
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_lines_of_several_logs_are_one_log_in_local_time() {
    let scratch = Scratch::new();
    let old = format!("{}.s", label(SECOND + 10, 0));
    written(&scratch, "web", &[(&old, &[1, 4, 9]), ("current", &[12, 15])]);
    written(&scratch, "db", &[("current", &[2, 11, 14])]);
    let expected = "2026-11-21 07:53:08.000000000 web: web 1
2026-11-21 07:53:09.000000000 db: db 2
2026-11-21 07:53:11.000000000 web: web 4
2026-11-21 07:53:16.000000000 web: web 9
2026-11-21 07:53:18.000000000 db: db 11
2026-11-21 07:53:19.000000000 web: web 12
2026-11-21 07:53:21.000000000 db: db 14
2026-11-21 07:53:22.000000000 web: web 15
";
    assert_eq!(svlog(&scratch, "web db"), prints(expected));
    assert_eq!(svlog(&scratch, "--utc -n 1 db"), prints("2026-11-21 06:53:21.000000000Z db 14\n"));
    let coloured = "2026-11-21 07:53:21.000000000 \x1b[33mdb:\x1b[0m db \x1b[1;31m14\x1b[0m\n";
    assert_eq!(svlog(&scratch, "--color --grep 14 web db"), prints(coloured));
    let json = "{\"time\":\"2026-11-21T07:53:22.000000000+01:00\",\"service\":\"web\",\"text\":\"web 15\"}\n";
    assert_eq!(svlog(&scratch, "--json -n1 web db"), prints(json));
}

/// The account that owns a log directory can give any file a name there.
#[test]
fn a_file_of_root_that_has_a_second_name_in_the_directory_of_another_account_is_not_read() {
    if !tests::is_root() {
        return tests::skip("only root reads what is not its own");
    }
    let scratch = Scratch::new();
    scratch.dir("web");
    scratch.file("secret", "secret\n");
    fs::hard_link(scratch.path().join("secret"), scratch.path().join("web/current")).unwrap();
    for options in ["-o cat", "-r", "-n 1", "--count"] {
        assert_eq!(svlog(&scratch, &format!("{options} web")).code, 0, "the directory is root's");
    }
    nix::unistd::chown(&scratch.path().join("web"), Some(65534.into()), None).unwrap();
    for options in ["-o cat", "-r", "-n 1", "--count", "-r -n 1"] {
        let Outcome { code, stdout, stderr } = svlog(&scratch, &format!("{options} web"));
        assert!(code == 111 && !stdout.contains("secret"), "{options}: {code} {stdout}");
        let words = "web/current has a second name, and another owner than its directory: it is not read\n";
        assert_eq!(stderr, format!("svlog: warning: {words}"), "{options}");
    }
    // The same account may give its own file two names.
    nix::unistd::chown(&scratch.path().join("secret"), Some(65534.into()), None).unwrap();
    assert_eq!(svlog(&scratch, "web").code, 0);
}

#[test]
fn one_log_by_two_names_is_shown_once() {
    let scratch = Scratch::new();
    written(&scratch, "shared", &[("current", &[1, 2])]);
    written(&scratch, "db", &[("current", &[3])]);
    // One entry is a link to another one, and two services log to the same directory.
    std::os::unix::fs::symlink("shared", scratch.path().join("link")).unwrap();
    for name in ["web", "www"] {
        scratch.dir(format!("{name}/log"));
        std::os::unix::fs::symlink("../../shared", scratch.path().join(name).join("log/main")).unwrap();
    }
    let time = "2026-11-21 07:53:08.000000000";
    for (one, other) in [("shared", "link"), ("web", "www"), ("web", "web"), ("./web", "web/log/main")] {
        let Outcome { code, stdout, stderr } = svlog(&scratch, &format!("{one} {other}"));
        let said = format!("svlog: {other} has the same log as {one}: shown once\n");
        assert_eq!((code, stdout.lines().count(), stderr), (0, 2, said));
        assert!(stdout.starts_with(&format!("{time} ")), "{stdout}");
        let Outcome { stdout, .. } = svlog(&scratch, &format!("{one} {other} db"));
        assert_eq!(stdout.lines().count(), 3, "{stdout}");
        assert!(stdout.starts_with(&format!("{time} {}: ", one.trim_start_matches("./"))), "{stdout}");
    }
}

#[test]
fn lines_are_chosen_by_time_by_number_and_by_pattern() {
    let scratch = Scratch::new();
    let [first, second, third] = [10, 20, 30].map(|end| format!("{}.s", label(SECOND + end, 0)));
    let current: Vec<u64> = (31..40).collect();
    let files: [(&str, &[u64]); 4] =
        [(&first, &[1, 5, 9]), (&second, &[11, 15, 19]), (&third, &[21, 25, 29]), ("current", &current)];
    written(&scratch, "web", &files);
    written(&scratch, "db", &[("current", &[8, 28])]);
    for (line, expected) in [
        ("web", "1 5 9 11 15 19 21 25 29 31 32 33 34 35 36 37 38 39"),
        ("--since 2026-11-21T06:53:22Z --until 2026-11-21T06:53:38Z web", "15 19 21 25 29 31"),
        ("--since 2026-11-21T07:53:40+01:00 web", "33 34 35 36 37 38 39"),
        ("--until 2026-11-21T07:53:12 --since 2026-11-21 web", "1 5"),
        ("-n 3 web", "37 38 39"),
        ("-n 12 web", "21 25 29 31 32 33 34 35 36 37 38 39"),
        ("-n 99 web", "1 5 9 11 15 19 21 25 29 31 32 33 34 35 36 37 38 39"),
        ("-n 0 web", ""),
        ("-n 12 web db", "25 28 29 31 32 33 34 35 36 37 38 39"),
        ("-n 4 --until 2026-11-21T06:53:26Z web db", "9 11 15 19"),
        ("-n 4 --since 2026-11-21T06:53:45Z web db", "38 39"),
        ("--grep [05]$ web", "5 15 25 35"),
        ("-n 2 --grep 5$ --until 2026-11-21T06:53:41Z web", "15 25"),
        ("--grep 5$ --grep 1$ web", "1 5 11 15 21 25 31 35"),
        ("--grep 5$ --grep (?i)1$ --not [12].$ web", "1 5 31 35"),
        ("-n 3 --not [5-9]$ web", "32 33 34"),
        ("-n 3 --grep 3 --not 5$ --not 9$ --not 8 web db", "34 36 37"),
        ("--since 1ns web", ""),
    ] {
        assert_eq!(numbers(&scratch, line), expected, "svlog {line}");
    }
}

#[test]
fn compressed_files_are_read_and_what_is_cut_short_is_shown_as_far_as_it_goes() {
    for format in ["zstd", "gzip"] {
        let scratch = Scratch::new();
        let old: Vec<String> = (1..4).map(|number| format!("{}.s", label(SECOND + 10_000 * number, 0))).collect();
        let lines: Vec<Vec<u64>> =
            (0..3).map(|number| (10_000 * number + 1..10_000 * number + 9_000).collect()).collect();
        let mut files: Vec<(&str, &[u64])> =
            old.iter().zip(&lines).map(|(name, lines)| (name.as_str(), &lines[..])).collect();
        files.push(("current", &[40_000]));
        written(&scratch, "web", &files);
        let before = svlog(&scratch, "web");
        let since = "--since 2026-11-21T09:40:00Z --until 2026-11-21T09:40:02Z web";
        let (chosen, last) = (svlog(&scratch, since), svlog(&scratch, "-n 9005 web"));
        assert_eq!((chosen.stdout.lines().count(), last.stdout.lines().count()), (3, 9005));
        assert_eq!(scratch.run(&format!("logcompress {format} web")), prints(""));
        assert!(!scratch.path().join("web").join(&old[0]).exists());
        assert!(
            svlog(&scratch, "web") == before
                && svlog(&scratch, since) == chosen
                && svlog(&scratch, "-n 9005 web") == last
        );

        let suffix = if format == "zstd" { "zst" } else { "gz" };
        let damaged = scratch.path().join("web").join(format!("{}.{suffix}", old[1]));
        let file = OpenOptions::new().write(true).open(damaged).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        let Outcome { code, stdout, stderr } = svlog(&scratch, "web");
        let warning =
            format!("svlog: warning: web/{}.{suffix} is cut short or damaged: the rest is not shown\n", old[1]);
        assert_eq!((code, stderr), (111, warning));
        let shown = stdout.lines().count();
        assert!((18_000..26_000).contains(&shown) && stdout.ends_with(" web 40000\n"), "{shown}");
    }
}

#[test]
fn lines_may_have_any_bytes_any_length_and_no_stamps() {
    let scratch = Scratch::new();
    let stamp = label(SECOND, 0);
    scratch.file(
        "web/current",
        [stamp.as_bytes(), b" a\0\xff\nb\n@40 c\n", stamp.as_bytes(), b" \n", stamp.as_bytes(), b" d"].concat(),
    );
    let time = "2026-11-21 07:53:07.000000000";
    assert_eq!(svlog(&scratch, "web"), prints(&format!("{time} a\0\\xff\nb\n@40 c\n{time} \n{time} d\n")));
    let json = svlog(&scratch, "--json --utc -n 5 web").stdout;
    let first = json.lines().next().unwrap();
    assert!(
        first.ends_with(r#""text":"a\u0000\ufffd","base64":"YQD/"}"#) || first.ends_with("\"base64\":\"YQD/\"}"),
        "{json}"
    );
    assert!(json.lines().nth(1).unwrap().contains(r#""time":"2026-11-21T06:53:07.000000000Z""#), "{json}");

    // A file without stamps has the time at which it was finished.
    scratch.file(format!("plain/{}.s", label(SECOND - 5, 0)), "old\nhal");
    scratch.file(format!("plain/{}.s", label(SECOND + 5, 0)), "f\nnew\n");
    // A line belongs to the file in which it begins.
    assert_eq!(svlog(&scratch, "plain").stdout, "old\nhalf\nnew\n");
    assert_eq!(svlog(&scratch, "-n 2 plain").stdout, "half\nnew\n");
    assert_eq!(svlog(&scratch, "--since 2026-11-21T06:53:07Z plain").stdout, "new\n");
    let both = format!(
        "plain: old\nplain: half\n{time} web: a\0\\xff\nweb: b\nweb: @40 c\n{time} web: \n{time} web: d\nplain: new\n"
    );
    assert_eq!(svlog(&scratch, "plain web"), prints(&both));

    // svlog's memory does not grow with the length of a line.
    let mut long = File::create(scratch.path().join("web/current")).unwrap();
    (0..64).for_each(|_| long.write_all(&[b'x'; 1 << 20]).unwrap());
    let shown = scratch.shell("ulimit -v 60000; svlog web | wc -c; svlog -n 1 web | wc -c");
    assert_eq!(shown, prints("67108865\n67108865\n"));
}

#[test]
fn every_stamp_of_multilog_is_understood() {
    let scratch = Scratch::new();
    for stamp in ["t", "T", "I", "L"] {
        let mut command = scratch.command("multilog");
        command.env("TZ", "XYZ-1:30").args([stamp, "./main"]);
        scratch.file("input", "a line\n");
        let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let logged = scratch.outcome_of(command.stdin(File::open(scratch.path().join("input")).unwrap()));
        assert_eq!(logged, prints(""));
        let found = svlog(&scratch, &format!("--since {} main", label(begun, 0)));
        assert!(found.stdout.ends_with(" a line\n"), "{stamp}: {found:?}");
        assert_eq!(svlog(&scratch, &format!("--until {} main", label(begun - 1, 0))), prints(""), "{stamp}");
        fs::remove_dir_all(scratch.path().join("main")).unwrap();
    }
}

#[test]
fn what_cannot_be_shown_is_one_line() {
    let scratch = Scratch::new();
    scratch.dir("empty");
    scratch.file("file", "");
    let nowhere = fails(111, "svlog: fatal: unable to open directory nowhere: file does not exist\n");
    assert_eq!(svlog(&scratch, "-f nowhere"), nowhere);
    let file = fails(111, "svlog: fatal: unable to open directory file: not a directory\n");
    assert_eq!(svlog(&scratch, "file"), file);
    let empty = fails(111, "svlog: fatal: unable to find a log in empty: no multilog wrote there\n");
    assert_eq!(svlog(&scratch, "empty"), empty);
    // If other logs can be shown, a log that cannot is only a warning.
    scratch.file("one/current", "a line\n");
    let warning = "svlog: warning: unable to find a log in empty: no multilog wrote there\n";
    let rest = Outcome { code: 111, stdout: "a line\n".into(), stderr: warning.into() };
    assert_eq!(svlog(&scratch, "empty one"), rest);
    assert_eq!(svlog(&scratch, "empty empty"), fails(111, &warning.repeat(2)));
    for (line, complaint) in [
        (
            "--since 10 empty",
            "svlog: fatal: not a time: 10: say for example --since 10m, --since 06:53 or --since \"2026-11-21 06:53\"\n",
        ),
        (
            "--until=soon empty",
            "svlog: fatal: not a time: soon: say for example --until 10m, --until 06:53 or --until \"2026-11-21 06:53\"\n",
        ),
        ("--grep ( empty", "svlog: fatal: not a regular expression: (: unclosed group\n"),
        ("-n few empty", "svlog: fatal: not a number of lines: few\n"),
        ("--color=red empty", "svlog: fatal: not auto, always or never: red\n"),
    ] {
        assert_eq!(svlog(&scratch, line), fails(100, complaint));
    }
    // svlog understands each of the examples in its usage.
    for time in ["10m", "06:53", "\"2026-11-21 06:53\""] {
        for option in ["--since", "--until"] {
            assert_eq!(scratch.shell(&format!("svlog {option} {time} one")).code, 0, "{option} {time}");
        }
    }
    let usage = svlog(&scratch, "-f");
    assert!(usage.code == 100 && usage.stderr.starts_with("svlog: usage: svlog [ -f ]"), "{usage:?}");
}

#[test]
fn it_ends_quietly_when_its_reader_has_gone() {
    let scratch = Scratch::new();
    written(&scratch, "web", &[("current", &(0..20_000).collect::<Vec<_>>())]);
    assert_eq!(scratch.shell("svlog web | head -n 1 | wc -l"), prints("1\n"));
    // svlog ends with its reader even if SIGPIPE is ignored, and even if it would never write again.
    assert_eq!(scratch.shell("trap '' PIPE; { svlog web; echo $? >&2; } | true").stderr, "0\n");
    assert_eq!(scratch.shell("{ svlog -f web; echo $? >&2; } | head -n 1 >/dev/null").stderr, "0\n");
}

/// How many bytes svlog reads from files of all kinds for this.
fn bytes_read(scratch: &Scratch, line: &str) -> u64 {
    let script = format!(
        "svlog {line} >shown; while read -r what bytes; do [ $what != rchar: ] || echo $bytes; done </proc/$$/io"
    );
    let Outcome { stdout, stderr, .. } = scratch.shell(&script);
    assert_eq!(stderr, "");
    stdout.trim().parse().expect("a number")
}

#[test]
fn of_a_large_log_little_is_read() {
    let scratch = Scratch::new();
    let text = "x".repeat(100);
    // The files' names are in the future, so the clock was set back.
    let begin = SECOND - 100_000_000;
    let mut second = begin;
    for number in 0..20 {
        let mut content = String::with_capacity(2 << 20);
        for _ in 0..15_000 {
            second += 1;
            writeln!(content, "{} {number} {text}", label(second, 0)).unwrap();
        }
        let name = if number < 19 { format!("{}.s", label(second, 1)) } else { "current".into() };
        scratch.file(format!("web/{name}"), content);
    }
    assert!(bytes_read(&scratch, "web") > 35 << 20);
    let from = |second| format!("{} {}", label(second, 0), "web");
    let lines = || fs::read_to_string(scratch.path().join("shown")).unwrap().lines().count();
    // A file of the usual size is read completely if the moment may lie in it, and so is the file after it. For the
    // last lines, files are read once more.
    for (line, expected, files) in [
        ("-n 10 web".to_string(), 10, 0),
        ("-n 1000 web".to_string(), 1000, 0),
        (format!("--since {}", from(second - 99)), 100, 1),
        (format!("-n 5 --until {}", from(begin + 100_000)), 5, 4),
        (format!("--since {} --until {}", label(begin + 100_000, 0), from(begin + 100_099)), 100, 2),
    ] {
        let read = bytes_read(&scratch, &line);
        assert!(read < (1 + 2 * files) << 20, "svlog {line} read {read} bytes");
        assert_eq!(lines(), expected, "svlog {line}");
    }
    // In a larger file, svlog searches for the moment.
    let mut large = File::create(scratch.path().join("large")).unwrap();
    let names = fs::read_dir(scratch.path().join("web")).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<PathBuf> = names.collect();
    names.sort();
    names.iter().for_each(|name| large.write_all(&fs::read(name).unwrap()).unwrap());
    names.iter().for_each(|name| fs::remove_file(name).unwrap());
    fs::rename(scratch.path().join("large"), scratch.path().join("web/current")).unwrap();
    for (line, expected) in [("-n 1000 web".to_string(), 1000), (format!("--since {}", from(second - 99)), 100)] {
        let read = bytes_read(&scratch, &line);
        assert!(read < 1 << 20, "svlog {line} read {read} bytes");
        assert_eq!(lines(), expected, "svlog {line}");
    }
}

/// What the owner of a log directory may put in place of a file, as a line of shell. `$f` is the file.
const INSTEAD: [&str; 8] = [
    "mkfifo $f",
    "mkdir $f",
    "ln -s /dev/zero $f",
    "ln -s /dev/full $f",
    "ln -s $f $f",
    "ln -s /etc/passwd $f",
    "python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' $f",
    "ln -s nothing $f",
];

#[test]
fn what_is_no_file_is_said_and_not_waited_for() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let (old, packed) = (format!("{}.s", label(SECOND + 10, 0)), format!("{}.u.zst", label(SECOND + 11, 0)));
    for place in ["current", "previous", "processed", &old, &packed] {
        for instead in INSTEAD {
            let _ = fs::remove_dir_all(scratch.path().join("web"));
            let first = format!("{}.s", label(SECOND, 0));
            written(&scratch, "web", &[(&first, &[0]), (&old, &[7]), ("current", &[12])]);
            assert_eq!(scratch.shell(&format!("f=web/{place}; rm -f $f; {instead}")), prints(""));
            let left = ["0", "7", "12"].iter().filter(|second| match **second {
                "7" => place != old,
                "12" => place != "current",
                _ => true,
            });
            let left: Vec<&str> = left.copied().collect();
            // If svlog followed the FIFO, it would wait for ever.
            for line in ["web", "-n 9 web", "--since 2026-11-21 web", "-f -n all web"] {
                let shown = scratch.shell(&format!("ulimit -v 60000; svlog {line}"));
                let numbers: Vec<&str> = shown.stdout.lines().filter_map(|line| line.rsplit(' ').next()).collect();
                assert_eq!((shown.code, &numbers), (111, &left), "{place}, {instead}, svlog {line}: {shown:?}");
                let warning = format!("svlog: warning: web/{place} is not a regular file: it is not read\n");
                assert_eq!(shown.stderr, warning, "{instead}, svlog {line}");
            }
        }
    }
    // If thousands of files are not readable, svlog writes no message for each of them, and shows the other log.
    written(&scratch, "many", &[("current", &[12])]);
    written(&scratch, "other", &[("current", &[13])]);
    assert_eq!(scratch.shell("mkfifo $(seq -f many/@4000000000000000%08g.s 1 300)"), prints(""));
    let shown = svlog(&scratch, "many other");
    assert_eq!((shown.code, shown.stdout.lines().count(), shown.stderr.lines().count()), (111, 2, 9), "{shown:?}");
    // If `current` becomes something else than a file while svlog follows it, svlog stops following this log.
    let follower = Follower::start(&scratch, "-f other");
    follower.wait_for(1);
    fs::remove_file(scratch.path().join("other/current")).unwrap();
    fifo(&scratch.path().join("other/current")).unwrap();
    let Follower { mut daemon, .. } = follower;
    assert_eq!(daemon.wait(), 111);
}

/// A zstd frame with a window of this many bits. Its blocks each repeat a byte 128 kB long.
fn repeated(bits: u8, byte: u8, blocks: usize) -> Vec<u8> {
    let block = |last: u8| [2 | last, 0, 0x10, byte];
    let start = [0x28, 0xb5, 0x2f, 0xfd, 0, (bits - 10) << 3];
    start.into_iter().chain(block(0).into_iter().cycle().take(4 * (blocks - 1))).chain(block(1)).collect()
}

#[test]
fn huge_files_and_bombs_take_neither_memory_nor_time() {
    let scratch = Scratch::new();
    let bomb = format!("{}.s.zst", label(SECOND, 0));
    let warning = |what: &str| format!("svlog: warning: bomb/{bomb} {what}: the rest is not shown\n");
    let shown = |line: &str| scratch.shell(&format!("ulimit -v 120000; svlog {line} | tail -c 20; true"));
    let time = "2026-11-21 06:53:19.000000000Z";
    // The frame has 64 kB and decompresses to 2 GB.
    for byte in [b'x', 0] {
        written(&scratch, "bomb", &[("current", &[12])]);
        scratch.file(format!("bomb/{bomb}"), repeated(23, byte, 1 << 14));
        for line in ["--utc bomb", "--utc -n 1 bomb", "--utc -n 3 bomb", "--utc --grep 12 bomb"] {
            let said = if line.contains("-n 1") {
                String::new()
            } else {
                warning("unpacks to more than 64 MB and a thousand times its length")
            };
            let seen = shown(line);
            assert!(seen.stdout.ends_with(" bomb 12\n"), "svlog {line}: {seen:?}");
            // svlog first searches for the last lines and then reads them, so the message may come twice.
            assert!(seen.stderr == said || seen.stderr == said.repeat(2), "svlog {line}: {seen:?}");
        }
    }
    // Decompressing this needs more memory than the file is worth.
    scratch.file(format!("bomb/{bomb}"), repeated(27, b'x', 2));
    let said = warning("needs more than 8 MB of memory to be unpacked");
    let expected = Outcome { code: 111, stdout: format!("{time} bomb 12\n"), stderr: said };
    assert_eq!(scratch.shell("ulimit -v 120000; svlog --utc bomb"), expected);
    // A long file that occupies little of the disk.
    let lines = format!("{} first\n{}\n", label(SECOND, 0), "x".repeat(100));
    for name in ["current".to_string(), format!("{}.s", label(SECOND, 0))] {
        let _ = fs::remove_dir_all(scratch.path().join("bomb"));
        written(&scratch, "bomb", &[("current", &[12])]);
        let path = scratch.path().join("bomb").join(&name);
        fs::write(&path, &lines).unwrap();
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        (&file).write_all(format!("\n{} last\n", label(SECOND + 13, 0)).as_bytes()).unwrap();
        for (line, number) in
            [("bomb", 3), ("-n 2 bomb", 1), ("--since 2026-11-21T06:53:19Z bomb", 1), ("--grep st$ bomb", 2)]
        {
            let seen = scratch.shell(&format!("ulimit -v 60000; svlog {line} | tr -d '\\0'"));
            let last = seen.stdout.lines().filter(|line| line.ends_with("last")).count();
            // Lines after a stamp have its time. A finished file without newer stamps counts as finished long ago.
            let expected = usize::from(name == "current" || !line.starts_with("--since"));
            assert_eq!((last, seen.stderr.as_str()), (expected, ""), "{name}: svlog {line}: {seen:?}");
            assert!(seen.stdout.lines().count() >= number, "{name}: svlog {line}: {seen:?}");
        }
    }
    // One line with a stamp, and then only newlines.
    scratch.file("empty/current", [lines.as_bytes(), &b"\n".repeat(20 << 20)].concat());
    let seen = shown("--since 2026-11-21T06:53:08Z empty");
    assert_eq!(seen, prints(""));
}

/// While lines were logged, the clock was ahead by more than an hour, and was then corrected.
#[test]
fn no_line_is_missed_though_the_clock_was_set_back() {
    let scratch = Scratch::new();
    let names = |seconds: &[(u64, u32)]| -> Vec<String> {
        seconds.iter().map(|(second, nanos)| format!("{}.s", label(SECOND + second, *nanos))).collect()
    };
    // The clock was set back within a file and has caught up when the file is finished. There are files before and
    // after it.
    let old = names(&[(100, 0), (9000, 0), (9100, 0)]);
    written(
        &scratch,
        "one",
        &[
            (&old[0], &[10, 90]),
            (&old[1], &[8000, 8001, 110, 200, 4000, 8500]),
            (&old[2], &[9001]),
            ("current", &[9101]),
        ],
    );
    // While the clock is behind the last name, each new name is a nanosecond later.
    let old = names(&[(100, 0), (8000, 0), (8000, 1), (8000, 2), (9000, 0)]);
    let files: [(&str, &[u64]); 6] = [
        (&old[0], &[10, 90]),
        (&old[1], &[7900]),
        (&old[2], &[7901, 110]),
        (&old[3], &[200, 4000]),
        (&old[4], &[8500]),
        ("current", &[9101]),
    ];
    written(&scratch, "two", &files);
    let at = |second: u64| label(SECOND + second, 0);
    for (line, expected) in [
        ("one".to_string(), "10 90 8000 8001 110 200 4000 8500 9001 9101"),
        (format!("--since {} one", at(150)), "8000 8001 200 4000 8500 9001 9101"),
        (format!("--since {} one", at(8001)), "8001 8500 9001 9101"),
        (format!("--until {} one", at(150)), "10 90 110"),
        (format!("--until {} one", at(5000)), "10 90 110 200 4000"),
        (format!("--since {} --until {} one", at(100), at(4000)), "110 200 4000"),
        (format!("-n 2 --until {} one", at(5000)), "200 4000"),
        (format!("-n 4 --since {} one", at(8001)), "8001 8500 9001 9101"),
        ("-n 9 one".to_string(), "90 8000 8001 110 200 4000 8500 9001 9101"),
        (format!("--until {} two", at(150)), "10 90 110"),
        (format!("--until {} two", at(5000)), "10 90 110 200 4000"),
        (format!("-n 3 --until {} two", at(5000)), "110 200 4000"),
        (format!("--since {} two", at(4000)), "7900 7901 4000 8500 9101"),
        (format!("-n 99 --since {} two", at(4000)), "7900 7901 4000 8500 9101"),
        ("-n 5 two".to_string(), "110 200 4000 8500 9101"),
    ] {
        assert_eq!(numbers(&scratch, &line), expected, "svlog {line}");
    }
    // The clock is still behind the names.
    let future = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - SECOND + 1_000_000;
    let old = names(&[(100, 0), (future, 0), (future, 1)]);
    written(&scratch, "three", &[(&old[0], &[10]), (&old[1], &[future]), (&old[2], &[110]), ("current", &[120])]);
    assert_eq!(numbers(&scratch, &format!("--until {} three", at(150))), "10 110 120");
    assert_eq!(numbers(&scratch, &format!("-n 2 --until {} three", at(150))), "110 120");
    assert_eq!(numbers(&scratch, &format!("--since {} three", at(115))), format!("{future} 120"));
    // Each log keeps its own order, and each line is shown once.
    let both = svlog(&scratch, "one two").stdout;
    for name in ["one", "two"] {
        let own = both.lines().filter_map(|line| line.split_once(&format!(" {name}: "))?.1.rsplit(' ').next());
        assert_eq!(own.collect::<Vec<_>>().join(" "), numbers(&scratch, name), "{both}");
    }
}

/// With -f, svlog also shows lines whose time is before that of the last line, and lines in files that were made anew
/// from others.
#[test]
fn what_is_logged_after_the_clock_was_set_back_is_followed() {
    let scratch = Scratch::new();
    let path = |name: &str| scratch.path().join("main").join(name);
    for made_anew in [false, true] {
        let _ = fs::remove_dir_all(path(""));
        let future: Vec<u64> = (9000..9040).collect();
        written(&scratch, "main", &[("current", &future)]);
        let follower = Follower::start(&scratch, "-f -n all main");
        follower.wait_for(40);
        let old = format!("{}.s", label(SECOND + 10_000, 0));
        let append = |seconds: std::ops::Range<u64>| {
            let mut current = OpenOptions::new().append(true).create(true).open(path("current")).unwrap();
            let line = |second| format!("{} main {second}\n", label(SECOND + second, 0));
            current.write_all(seconds.map(line).collect::<String>().as_bytes()).unwrap();
        };
        append(100..110);
        follower.wait_for(50);
        // The file was rotated and compressed before svlog looked at it.
        if made_anew {
            let bytes = fs::read(path("current")).unwrap();
            fs::write(path("new"), zstd::encode_all(&bytes[..], 3).unwrap()).unwrap();
            fs::rename(path("new"), path(&format!("{old}.zst"))).unwrap();
            fs::remove_file(path("current")).unwrap();
        } else {
            fs::rename(path("current"), path(&old)).unwrap();
        }
        append(110..120);
        let shown = follower.wait_for(60);
        let numbers: Vec<&str> = shown.iter().filter_map(|line| line.rsplit(' ').next()).collect();
        let expected: Vec<String> = (9000..9040).chain(100..120).map(|second: u64| second.to_string()).collect();
        assert_eq!(numbers, expected, "made anew: {made_anew}");
        assert_eq!(follower.daemon.errors(), "");
    }
}

/// A multilog that the test feeds through a pipe. The pipe outlives it.
struct Logger {
    command: Command,
    child: Child,
    input: Option<PipeWriter>,
}

impl Logger {
    fn start(scratch: &Scratch, script: &str) -> Logger {
        let mut command = scratch.command("multilog");
        let (reader, writer) = std::io::pipe().unwrap();
        let child = command.args(script.split(' ')).stdin(reader).spawn().unwrap();
        Logger { command, child, input: Some(writer) }
    }

    fn say(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits until the multilog has written everything, and ends it.
    fn end(mut self) {
        self.input = None;
        self.child.wait().unwrap();
    }

    fn kill_and_start_again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = self.command.spawn().unwrap();
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A svlog -f whose output goes to a file.
struct Follower {
    daemon: Daemon,
    output: PathBuf,
}

impl Follower {
    fn start(scratch: &Scratch, line: &str) -> Follower {
        Follower::by(scratch, &format!("svlog {line}"))
    }

    /// Starts svlog -f through another program.
    fn by(scratch: &Scratch, line: &str) -> Follower {
        let output = scratch.path().join("followed");
        let mut words = line.split(' ');
        let mut command = scratch.command(words.next().unwrap());
        command.args(words).stdout(File::create(&output).unwrap());
        Follower { daemon: Daemon::start(&mut command, scratch), output }
    }

    fn lines(&self) -> Vec<String> {
        let shown = fs::read(&self.output).unwrap();
        let whole = shown.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        String::from_utf8_lossy(&shown[..whole]).lines().map(str::to_string).collect()
    }

    /// Waits until this many lines are shown. The time limit is for each step, because a busy machine may need longer
    /// for all.
    fn wait_for(&self, number: usize) -> Vec<String> {
        loop {
            let lines = self.lines();
            if lines.len() >= number {
                return lines;
            }
            let shown = lines.len();
            wait_until(&format!("{number} lines are shown, not {shown}"), || self.lines().len() > shown);
        }
    }
}

fn exists(path: &Path) -> bool {
    path.exists()
}

/// With this many rotations, one certainly falls between any two steps of svlog.
const ROTATIONS: usize = 50;

/// Feeds numbered lines of this length through a multilog with this script, in portions, while svlog follows. Each line
/// must be shown once. If `paced` is true, the next portion, which is smaller than a file, comes when the last one is
/// shown.
fn followed(script: &str, length: usize, paced: bool) {
    let scratch = Scratch::new();
    let mut logger = Logger::start(&scratch, script);
    wait_until("there is a log", || exists(&scratch.path().join("main/current")));
    let follower = Follower::start(&scratch, "-f -n all main");
    let filler = "x".repeat(length);
    let portion = (1000 / length).max(1);
    let count = (ROTATIONS * 4096 / length + 1).next_multiple_of(portion);
    for first in (0..count).step_by(portion) {
        let lines: String = (first..first + portion).map(|number| format!("{filler} {number}\n")).collect();
        logger.say(&lines);
        if paced {
            follower.wait_for(first + portion);
        }
    }
    let shown = follower.wait_for(count);
    let numbers: Vec<usize> = shown.iter().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "{script}");
    assert!(shown.iter().all(|line| line.contains(&filler)), "{script}");
    assert_eq!(follower.daemon.errors(), "");
}

#[test]
fn every_line_is_shown_once_across_many_rotations() {
    followed("t s4096 n1000 ./main", 60, false);
}

#[test]
fn every_line_without_a_stamp_is_shown_once_across_many_rotations() {
    followed("s4096 n1000 ./main", 60, false);
}

#[test]
fn every_line_is_shown_once_though_files_are_removed_soon() {
    followed("t s4096 n2 ./main", 60, true);
    followed("s4096 n2 ./main", 60, true);
}

#[test]
fn every_line_is_shown_once_though_files_are_compressed() {
    followed("t s4096 n1000 zzstd ./main", 60, false);
    followed("t s4096 n1000 zgzip ./main", 60, true);
}

#[test]
fn every_line_is_shown_once_though_a_processor_rewrites_the_files() {
    followed("t s4096 n1000 !cat ./main", 60, false);
    followed("t s4096 n1000 !gzip ./main", 60, true);
}

/// With this many kills, some certainly come while a portion is written and shown.
const KILLS: usize = 60;

/// Does what [`followed`] does with lines of all these lengths, while multilog is killed within every portion.
fn followed_through_kills(script: &str, lengths: &[usize]) {
    let scratch = Scratch::new();
    let mut logger = Logger::start(&scratch, script);
    wait_until("there is a log", || exists(&scratch.path().join("main/current")));
    let follower = Follower::start(&scratch, "-f -n all main");
    let mut lines = Vec::new();
    for _ in 0..KILLS {
        let first = lines.len();
        while lines[first..].iter().map(String::len).sum::<usize>() < 12_000 {
            let length = lengths[lines.len() % lengths.len()];
            lines.push(format!("{} {}", "x".repeat(length), lines.len()));
        }
        logger.say(&(lines[first..].join("\n") + "\n"));
        logger.kill_and_start_again();
    }
    let words = if script.starts_with("t ") { 3 } else { 1 };
    let shown = follower.wait_for(lines.len());
    let shown: Vec<&str> = shown.iter().filter_map(|line| line.splitn(words, ' ').last()).collect();
    let wrong = shown.iter().zip(&lines).position(|(shown, line)| shown != line);
    let around = wrong.map(|number| &shown[number.saturating_sub(1)..(number + 2).min(shown.len())]);
    assert_eq!((around, shown.len()), (None, lines.len()), "{script}");
    assert_eq!(follower.daemon.errors(), "");
}

#[test]
fn every_line_is_shown_once_though_multilog_is_killed_again_and_again() {
    followed_through_kills("t s16M ./main", &[40]);
    followed_through_kills("t s4096 n1000 ./main", &[0, 10, 200, 3000, 9000]);
    followed_through_kills("s16M ./main", &[40]);
    followed_through_kills("s4096 n1000 ./main", &[0, 10, 200, 3000, 9000]);
}

/// The files that multilog, and daemontools' own, leave for a moment while a full file gets its name.
#[test]
fn no_line_is_missing_or_doubled_between_any_two_steps_of_a_rotation() {
    let (first, second) = (format!("{}.s", label(SECOND + 10, 0)), format!("{}.s", label(SECOND + 20, 0)));
    let full: &[u64] = &[11, 15];
    // Whether `processed` is marked as complete, and whether `previous` has its new name too.
    for (state, files, complete, linked) in [
        ("renamed to previous, no current yet", vec![("previous", full)], true, false),
        ("a processor runs", vec![("previous", full), ("processed", &full[..1]), ("current", &[21])], false, false),
        ("a processor has ended", vec![("previous", full), ("processed", full), ("current", &[21])], true, false),
        ("previous is removed", vec![("processed", full), ("current", &[21])], true, false),
        ("previous and current are missing", vec![("processed", full)], true, false),
        ("a result that nobody vouches for", vec![(&second, full), ("processed", &full[..1])], false, false),
        ("the result has its name", vec![(&second, full), ("current", &[21])], true, false),
        ("linked to its name", vec![("previous", full), ("current", &[21])], true, true),
    ] {
        let scratch = Scratch::new();
        written(&scratch, "main", &[(first.as_str(), &[1, 5])]);
        written(&scratch, "main", &files.iter().map(|(name, lines)| (*name, *lines)).collect::<Vec<_>>());
        let path = |name: &str| scratch.path().join("main").join(name);
        let mode = fs::Permissions::from_mode(if complete { 0o744 } else { 0o644 });
        let _ = fs::set_permissions(path("processed"), mode);
        if linked {
            fs::hard_link(path("previous"), path(&second)).unwrap();
        }
        let expected = if exists(&path("current")) { "1 5 11 15 21" } else { "1 5 11 15" };
        for line in ["main", "-n 99 main", "--since 2026-11-21 main"] {
            assert_eq!(numbers(&scratch, line), expected, "svlog {line}: {state}");
        }
        assert_eq!(numbers(&scratch, "-n 3 main"), expected[expected.len() - 8..].trim(), "{state}");
    }
}

/// svlog had gone on to `current` before the full file had its final name. It looks again while the next full file has
/// no final name either: multilog has removed its `previous` and has not yet renamed `processed`.
#[test]
fn a_full_file_is_shown_once_though_svlog_looks_when_neither_it_nor_the_one_before_has_a_new_name() {
    for make in ["cat", "gzip", "sed 's/ main / /'", "sed 's/ main / /' | gzip"] {
        let scratch = Scratch::new();
        written(&scratch, "main", &[("current", &[1, 2, 3])]);
        let follower = Follower::start(&scratch, "-f -n all main");
        let sh = |script: &str| assert_eq!(scratch.shell(&format!("cd main; {script}")), prints(""), "{make}");
        follower.wait_for(3);
        // svlog reaches the new `current` while `previous` exists.
        sh("mv current previous");
        written(&scratch, "main", &[("current", &[4, 5, 6])]);
        follower.wait_for(6);
        let name = |second| format!("{}.s", label(SECOND + second, 1));
        let process = format!("<previous {make} >processed; chmod 744 processed; rm previous");
        while_stopped(&follower.daemon, || {
            sh(&format!("{process}; mv processed {}", name(3)));
            sh("mv current previous");
            written(&scratch, "main", &[("current", &[7])]);
            sh(&process);
        });
        let is_last = |number: &str| follower.lines().last().is_some_and(|line| line.ends_with(number));
        wait_until("the next file is shown", || is_last(" 7"));
        sh(&format!("mv processed {}; echo {} main 8 >>current", name(6), label(SECOND + 8, 0)));
        wait_until("the next line is shown", || is_last(" 8"));
        let shown = follower.lines();
        let numbers: Vec<&str> = shown.iter().filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(numbers.join(" "), "1 2 3 4 5 6 7 8", "{make}");
        assert_eq!(follower.daemon.errors(), "", "{make}");
    }
}

/// Does something while the daemon is stopped.
fn while_stopped(daemon: &Daemon, act: impl FnOnce()) {
    daemon.signal(Signal::SIGSTOP);
    wait_until("it is stopped", || state_of(daemon.pid()) == Some('T'));
    act();
    daemon.signal(Signal::SIGCONT);
}

#[test]
fn every_line_is_shown_once_though_the_system_does_not_tell_of_changes() {
    if !has("strace") {
        return;
    }
    for fault in ["inotify_init1:error=EMFILE", "inotify_add_watch:error=ENOSPC"] {
        let scratch = Scratch::new();
        let mut logger = Logger::start(&scratch, "t s4096 n1000 ./main");
        wait_until("there is a log", || exists(&scratch.path().join("main/current")));
        let line = format!(
            "strace -f -o trace -e trace=inotify_init1,inotify_add_watch -e inject={fault} svlog -f -n all main"
        );
        let follower = Follower::by(&scratch, &line);
        let mut count = 0;
        for portion in 0..20 {
            let lines = count..count + 100;
            logger.say(&lines.clone().map(|number| format!("{} {number}\n", "x".repeat(60))).collect::<String>());
            if portion % 3 == 0 {
                logger.kill_and_start_again();
            }
            if portion % 5 == 0 {
                follower.wait_for(lines.end);
            }
            count = lines.end;
        }
        let shown = follower.wait_for(count);
        let numbers: Vec<usize> = shown.iter().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "{fault}");
        assert_eq!(follower.daemon.errors(), "");
        // Nothing reads svlog's output any more.
        let line = line.replace(" -n all", "");
        let shell = format!("{{ {line}; echo $? >&2; }} | head -n 1 >/dev/null");
        assert_eq!(scratch.shell(&shell).stderr, "0\n");
    }
}

#[test]
fn lines_that_go_on_in_the_next_files_are_whole() {
    followed("t s4096 n1000 ./main", 9000, false);
    followed("s4096 n1000 ./main", 9000, false);
}

#[test]
fn several_logs_are_followed_at_once() {
    let scratch = Scratch::new();
    let mut loggers = ["web", "db", "mail"].map(|name| Logger::start(&scratch, &format!("t s4096 n1000 ./{name}")));
    wait_until("there are logs", || {
        ["web", "db", "mail"].iter().all(|name| exists(&scratch.path().join(name).join("current")))
    });
    let follower = Follower::start(&scratch, "-f -n all --json web db mail");
    for number in 0..2000 {
        loggers.iter_mut().for_each(|logger| logger.say(&format!("{number}\n")));
    }
    let shown = follower.wait_for(6000);
    for name in ["web", "db", "mail"] {
        let own = shown.iter().filter(|line| line.contains(&format!("\"service\":\"{name}\"")));
        let numbers: Vec<String> = own
            .filter_map(|line| Some(line.split_once("\"text\":\"")?.1.trim_end_matches("\"}").to_string()))
            .collect();
        assert_eq!(numbers, (0..2000).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}

#[test]
fn following_begins_with_the_last_lines_and_shows_each_new_one_at_once() {
    let scratch = Scratch::new();
    written(&scratch, "main", &[("current", &(0..500).collect::<Vec<_>>())]);
    let follower = Follower::start(&scratch, "-f main");
    assert!(follower.wait_for(10)[0].ends_with(" 490"));
    // A line is shown only when it is complete.
    let mut current = OpenOptions::new().append(true).open(scratch.path().join("main/current")).unwrap();
    current.write_all(b"5").unwrap();
    assert_eq!(numbers(&scratch, "-n 1 main"), "5");
    assert_eq!(follower.lines().len(), 10);
    current.write_all(b"00\n").unwrap();
    assert!(follower.wait_for(11)[10] == "500");
}

/// A directory in its place is another log. multilog warns of the same.
#[test]
fn a_directory_that_is_moved_or_removed_is_said_once() {
    // In the last case, svlog has time to look after the files are removed and before the directory is.
    for harm in ["mv main away", "rm -r main", "rm main/*; sleep 0.5; rmdir main"] {
        let scratch = Scratch::new();
        let mut logger = Logger::start(&scratch, "t ./main");
        wait_until("there is a log", || exists(&scratch.path().join("main/current")));
        logger.say("line\n");
        wait_until("it is logged", || svlog(&scratch, "main").stdout.lines().count() == 1);
        // A running multilog would make the files again, and the directory could not be removed.
        let _running = if harm.contains("rmdir") {
            logger.end();
            None
        } else {
            Some(logger)
        };
        let follower = Follower::start(&scratch, "-f main");
        follower.wait_for(1);
        assert_eq!(scratch.shell(harm).code, 0, "{harm}");
        let words =
            "svlog: warning: main was moved or removed: what is logged in its place is shown by another svlog\n";
        wait_until("it is said", || follower.daemon.errors() == words);
    }
}

#[test]
fn a_log_that_is_truncated_or_removed_is_followed_on() {
    let scratch = Scratch::new();
    let mut logger = Logger::start(&scratch, "t s4096 ./main");
    wait_until("there is a log", || exists(&scratch.path().join("main/current")));
    logger.say(&"one line more\n".repeat(9));
    wait_until("they are logged", || svlog(&scratch, "main").stdout.lines().count() == 9);
    let follower = Follower::start(&scratch, "-f main");
    follower.wait_for(9);
    File::create(scratch.path().join("main/current")).unwrap();
    wait_until("it is noticed", || {
        follower.daemon.errors() == "svlog: warning: main/current was truncated: read from its start\n"
    });
    logger.say("after it was truncated\n");
    assert!(follower.wait_for(10)[9].ends_with(" after it was truncated"));
    // multilog writes again what it has written to the file since it last looked.
    fs::remove_file(scratch.path().join("main/current")).unwrap();
    logger.end();
    let mut logger = Logger::start(&scratch, "t s4096 ./main");
    logger.say("after it was removed\n");
    wait_until("it is followed", || {
        follower.lines().last().is_some_and(|line| line.ends_with(" after it was removed"))
    });
}

#[test]
fn what_multilog_cuts_off_and_writes_again_is_not_shown_again() {
    let scratch = Scratch::new();
    written(&scratch, "main", &[("current", &[1, 2, 3])]);
    written(&scratch, "other", &[("current", &[0])]);
    let path = |name: &str| scratch.path().join("main").join(name);
    let line = |number: &u64, nanos| format!("{} main {number}\n", label(SECOND + number, nanos));
    let append = |name: &str, text: &str| {
        let file = scratch.path().join(name).join("current");
        OpenOptions::new().append(true).create(true).open(file).unwrap().write_all(text.as_bytes()).unwrap();
    };
    let write = |numbers: &[u64], nanos| {
        append("main", &numbers.iter().map(|number| line(number, nanos)).collect::<String>());
    };
    let follower = Follower::start(&scratch, "-f -n all main other");
    let shown = |name: &str| follower.lines().into_iter().filter(|line| line.contains(name)).collect::<Vec<_>>();
    let numbers = || shown("main").iter().map(|line| line.rsplit(' ').next().unwrap().into()).collect::<Vec<String>>();
    // When a line of the other log is shown, svlog has seen what was done to this log before.
    let looked_at = || {
        let before = shown("other").len();
        append("other", "other\n");
        wait_until("it is looked at", || shown("other").len() > before);
    };
    // This is what multilog does: it takes the lock, truncates the file, and writes the lines again with new stamps.
    let start_again = |kept: usize| {
        let _lock = OpenOptions::new().append(true).open(path("lock")).unwrap();
        let current = OpenOptions::new().write(true).open(path("current")).unwrap();
        current.set_len((kept * line(&1, 0).len()) as u64).unwrap();
    };
    follower.wait_for(4);
    // svlog sees the short file or does not see it; the lines are written again from the beginning; and they are cut
    // once more before all are there.
    for (nanos, look) in [(1, true), (2, false)] {
        let between = || {
            if look {
                looked_at()
            }
        };
        start_again(2);
        between();
        write(&[3], nanos);
        looked_at();
        start_again(0);
        between();
        write(&[1, 2], nanos);
        between();
        start_again(0);
        write(&[1, 2, 3], nanos);
        looked_at();
    }
    assert_eq!(numbers(), ["1", "2", "3"]);
    // The cut is within a stamp, or within a line.
    for length in [20, 30] {
        append("main", &line(&4, 3)[..length]);
        looked_at();
        start_again(3);
    }
    write(&[4, 5], 5);
    wait_until("the lines are shown", || numbers() == ["1", "2", "3", "4", "5"]);
    assert!(shown("main")[3].contains(":11.000000005 "), "{:?}", shown("main"));
    // The next file begins before the lines are written again.
    start_again(4);
    fs::rename(path("current"), path(&format!("{}.s", label(SECOND + 5, 6)))).unwrap();
    looked_at();
    write(&[5, 6], 7);
    looked_at();
    write(&[7], 8);
    looked_at();
    assert_eq!(numbers(), ["1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(follower.daemon.errors(), "");
    // The file was emptied, and is longer than before when svlog looks at it. So another program has written it.
    written(&scratch, "main", &[("current", &[11, 12, 13, 14])]);
    wait_until("it is read", || numbers().len() == 11);
    assert_eq!(numbers()[7..], ["11", "12", "13", "14"]);
    assert_eq!(follower.daemon.errors(), "svlog: warning: main/current was truncated: read from its start\n");
}

#[test]
fn the_log_of_a_service_is_found() {
    let scratch = Scratch::new();
    let log = |folder: &str| written(&scratch, folder, &[("current", &[1])]);
    let finds = |service: &str, folder: &str| {
        let found = svlog(&scratch, service);
        assert!(found.stdout.ends_with(&format!(" {folder} 1\n")), "{service}: {found:?}");
        assert_eq!((found.code, found.stderr.as_str()), (0, ""), "{service}");
    };
    log("one/log/main");
    log("one/log/alerts");
    finds("one", "one/log/main");
    log("two/log");
    finds("two/", "two/log");
    log("three/log/b");
    scratch.file("three/log/a/current", "not one of multilog's");
    finds("three", "three/log/b");
    log("far/away");
    scratch.script("four/log/run", "#!/bin/sh\nexec setuidgid log multilog t '-*' ../../far/away\n");
    finds("four", "far/away");
    scratch.script("five/log", "#!/bin/sh\nexec multilog t ./logs\n");
    log("five/logs");
    finds("five", "five/logs");
    scratch.dir("six/log");
    let nothing = "svlog: fatal: unable to find a log in six: nothing is known of its logger: \
                   unable to open six/log/supervise/status: file does not exist\n";
    assert_eq!(svlog(&scratch, "six"), fails(111, nothing));
}

#[test]
fn the_log_of_a_running_logger_is_what_it_has_open() {
    for supervise_directory in ["", ".state", "/all"] {
        let scratch = Scratch::new();
        let directory = match supervise_directory {
            "/all" => scratch.path().join("all").into_os_string(),
            other => other.into(),
        };
        let command = |name: &str| {
            let mut command = scratch.command(name);
            command.env("SUPERVISEDIR", &directory);
            command
        };
        // svlog would show this log if no logger ran.
        written(&scratch, "web/log/main", &[("current", &[1])]);
        written(&scratch, "db/main", &[("current", &[1])]);
        let logger = "#!/bin/sh\nwhere=$(pwd)/../../far\nexec multilog \"$where\"\n";
        scratch.script("web/log/run", logger);
        // One supervise runs both the service and its logger.
        scratch.script("db/run", "#!/bin/sh\necho from db\nexec sleep 1000\n");
        scratch.script("db/log", &logger.replace("/../../far", "/../near"));
        let (reader, mut writer) = std::io::pipe().unwrap();
        let supervise_log = |stdin| Daemon::start(command("supervise").arg("web/log").stdin(stdin), &scratch);
        let _supervises = (supervise_log(reader), Daemon::start(command("supervise").arg("db"), &scratch));
        writer.write_all(b"hello\n").unwrap();
        for (log, line) in [("far", "hello\n"), ("near", "from db\n")] {
            let current = scratch.path().join(log).join("current");
            wait_until("it is logged", || fs::read(&current).is_ok_and(|log| log == line.as_bytes()));
        }
        assert_eq!(scratch.outcome_of(command("svlog").arg("web")), prints("hello\n"), "{supervise_directory}");
        assert_eq!(scratch.outcome_of(command("svlog").arg("db")), prints("from db\n"), "{supervise_directory}");
    }
}

#[test]
fn whatever_lies_in_a_service_directory_its_log_is_found_at_once() {
    let scratch = Scratch::new();
    for file in ["log/supervise/status", "log/run", "log/main", "log/main/current", "log", "supervise/status"] {
        for instead in INSTEAD.into_iter().chain(["truncate -s 1T $f", "head -c 300000 /dev/urandom >$f"]) {
            let _ = fs::remove_dir_all(scratch.path().join("web"));
            scratch.dir("web/log/supervise");
            scratch.dir("web/log/main");
            scratch.dir("web/supervise");
            let script = format!("f=web/{file}; rm -rf $f; {instead}; ulimit -v 60000; svlog web >shown; echo $?");
            let seen = scratch.shell(&script);
            // A long file may be a log.
            let is_log =
                file == "log/main/current" && ["truncate", "head"].iter().any(|long| instead.starts_with(long));
            let expected = if is_log { "0\n" } else { "111\n" };
            assert_eq!(seen.stdout, expected, "{file}, {instead}: {seen:?}");
            assert!(is_log || fs::read(scratch.path().join("shown")).unwrap().is_empty());
        }
    }
}

#[test]
fn what_may_not_be_read_is_said_and_the_rest_is_shown() {
    let scratch = Scratch::new();
    let old = format!("{}.s", label(SECOND + 10, 0));
    written(&scratch, "web", &[(&old, &[1]), ("current", &[12])]);
    fs::set_permissions(scratch.path().join("web").join(&old), fs::Permissions::from_mode(0o000)).unwrap();
    let outcome = scratch.outcome_of(scratch.as_nobody("svlog").args(["--utc", "web"]));
    let warning = format!("svlog: warning: unable to open web/{old}: access denied\n");
    let expected = Outcome { code: 111, stdout: "2026-11-21 06:53:19.000000000Z web 12\n".into(), stderr: warning };
    assert_eq!(outcome, expected);
}
