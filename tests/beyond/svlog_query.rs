//! svlog as a query tool: how many lines, which of them, and in which form.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use tests::{Daemon, Outcome, Scratch, fails, has, prints, wait_until};

/// 2026-11-21 06:53:07 UTC.
const SECOND: u64 = 1_795_243_987;

fn label(second: u64) -> String {
    format!("@{:016x}{:08x}", (1 << 62) + 10 + SECOND + second, 0)
}

/// Makes a log directory whose `current` has these lines, one in each second.
fn written(scratch: &Scratch, folder: &str, lines: &[&str]) {
    scratch.file(format!("{folder}/lock"), "");
    let stamped = lines.iter().zip(0..).map(|(line, second)| format!("{} {line}\n", label(second)));
    scratch.file(format!("{folder}/current"), stamped.collect::<String>());
}

fn svlog(scratch: &Scratch, line: &str) -> Outcome {
    let mut command = scratch.command("svlog");
    scratch.outcome_of(command.env("TZ", "XYZ-1").args(line.split(' ')))
}

/// The texts of the lines that svlog shows, if it succeeds without a message.
fn texts(scratch: &Scratch, line: &str) -> String {
    let outcome = svlog(scratch, line);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "svlog {line}");
    let text = |line: &str| line.strip_prefix("2026-11-21 ").map_or(line.to_string(), |rest| rest[19..].to_string());
    outcome.stdout.lines().map(text).collect::<Vec<_>>().join("|")
}

#[test]
fn the_first_lines_are_those_of_all_logs_together() {
    let scratch = Scratch::new();
    written(&scratch, "web", &["a", "b", "c", "b", "b"]);
    written(&scratch, "db", &["x", "y"]);
    for (line, expected) in [
        ("--head 2 web", "a|b"),
        ("--head 0 web", ""),
        ("--head 9 db", "x|y"),
        ("--head 3 web db", "web: a|db: x|web: b"),
        ("--head 2 --grep b web", "b|b"),
        ("--head 1 --since 2026-11-21T06:53:09Z web", "c"),
        ("-f --head 4 web", "a|b|c|b"),
    ] {
        assert_eq!(texts(&scratch, line), expected, "svlog {line}");
    }
}

/// A line of more than a megabyte is shown in pieces, which are one line.
#[test]
fn the_first_line_may_be_very_long() {
    let scratch = Scratch::new();
    written(&scratch, "web", &[&"x".repeat(5 << 20), "b"]);
    let shown = scratch.shell("svlog --head 1 web | wc -c; svlog --head 2 web | wc -l; svlog --count web");
    assert_eq!(shown, prints(&format!("{}\n2\n2\n", (5 << 20) + 31)));
}

#[test]
fn following_ends_with_the_line_that_was_waited_for() {
    let scratch = Scratch::new();
    written(&scratch, "web", &["starts"]);
    let output = scratch.path().join("shown");
    let mut command = scratch.command("svlog");
    command.args(["-f", "--head", "2", "--grep", "starts|ready", "web"]).stdout(File::create(&output).unwrap());
    let mut svlog = Daemon::start(&mut command, &scratch);
    let shown = || fs::read_to_string(&output).unwrap().lines().count();
    wait_until("the first line is shown", || shown() == 1);
    let mut current = OpenOptions::new().append(true).open(scratch.path().join("web/current")).unwrap();
    current.write_all(format!("{} not yet\n", label(5)).as_bytes()).unwrap();
    assert!(!svlog.has_ended());
    current.write_all(format!("{0} ready\n{0} ready too\n", label(6)).as_bytes()).unwrap();
    wait_until("svlog ends", || svlog.has_ended());
    assert_eq!(shown(), 2);
}

#[test]
fn lines_are_counted_for_each_log_and_for_all() {
    let scratch = Scratch::new();
    written(&scratch, "web", &["a", "b", "ab"]);
    written(&scratch, "db", &["x", "a"]);
    for (line, expected) in [
        ("--count web", "3\n"),
        ("--count --grep a web", "2\n"),
        ("--count --grep nothing web", "0\n"),
        ("--count --grep a --not b web db", "web: 1\ndb: 1\ntotal: 2\n"),
        ("--count --json db", "{\"service\":\"db\",\"count\":2}\n"),
        (
            "--count --json web db",
            "{\"service\":\"web\",\"count\":3}\n{\"service\":\"db\",\"count\":2}\n{\"total\":5}\n",
        ),
        ("--count --until 2026-11-21T06:53:07Z web", "1\n"),
    ] {
        assert_eq!(svlog(&scratch, line), prints(expected), "svlog {line}");
    }
    // What cannot be read is said, and all else is counted.
    std::os::unix::fs::symlink("current", scratch.path().join(format!("db/{}.s", label(0)))).unwrap();
    let Outcome { code, stdout, stderr } = svlog(&scratch, "--count web db");
    assert_eq!((code, stdout.as_str()), (111, "web: 3\ndb: 2\ntotal: 5\n"));
    assert!(stderr.contains("is not a regular file: it is not read"), "{stderr}");
}

#[test]
fn lines_have_the_form_that_was_asked_for() {
    let scratch = Scratch::new();
    written(&scratch, "web", &["a"]);
    scratch.file("web/current", format!("{}: a\x1b\nno stamp\n", label(0)));
    written(&scratch, "db", &["x"]);
    let short = "2026-11-21 07:53:07.000000000 : a\x1b\nno stamp\n";
    let raw = format!("{}: a\x1b\nno stamp\n", label(0));
    let iso = "2026-11-21T07:53:07.000000000+01:00 db: x\n";
    for (line, expected) in [
        ("web", short),
        ("-o short web", short),
        ("-o iso --utc -n 1 db", "2026-11-21T06:53:07.000000000Z x\n"),
        ("-o iso --grep x web db", iso),
        ("-o raw web", &raw),
        // What is kept from a search from the end has its stamp too.
        ("-o raw -n 2 --grep . web", &raw),
        ("-o cat web", ": a\x1b\nno stamp\n"),
        ("-o cat --not stamp web db", ": a\x1b\nx\n"),
        ("-o json db", "{\"time\":\"2026-11-21T07:53:07.000000000+01:00\",\"service\":\"db\",\"text\":\"x\"}\n"),
    ] {
        assert_eq!(svlog(&scratch, line), prints(expected), "svlog {line}");
    }
    if !has("script") {
        return;
    }
    // The bytes of a file are not for a terminal, unless --raw says so.
    assert!(scratch.on_terminal("svlog -o raw web").contains(": a\\x1b"));
    assert!(scratch.on_terminal("svlog -o raw --raw web").contains(": a\x1b"));
}

#[test]
fn what_matches_is_coloured_where_colours_are_on() {
    let scratch = Scratch::new();
    written(&scratch, "web", &["an error, an ERROR", "fine"]);
    let coloured = "an \x1b[1;31merror\x1b[0m, an \x1b[1;31mERROR\x1b[0m\n";
    let plain = "an error, an ERROR\n";
    for (line, expected) in [
        ("--color", coloured),
        ("--color=always -n 1", coloured),
        ("--color=never", plain),
        ("", plain),
        ("--color --raw", plain),
    ] {
        let line = format!("-o cat --grep (?i)error {line} web").replace("  ", " ");
        assert_eq!(svlog(&scratch, &line), prints(expected), "svlog {line}");
    }
    // The stamp is no part of the text, and without a pattern nothing matches.
    assert_eq!(svlog(&scratch, "-o cat --color --not fine web"), prints(plain));
    if !has("script") {
        return;
    }
    // A terminal has colours, unless the user wants none.
    for (environment, expected) in [("TERM=xterm", coloured), ("TERM=xterm NO_COLOR=1", plain), ("TERM=dumb", plain)] {
        let shown = scratch.on_terminal(&format!("env {environment} svlog -o cat --grep '(?i)error' web"));
        assert_eq!(shown, expected, "{environment}");
    }
}

#[test]
fn lines_are_chosen_by_their_fields_and_their_level() {
    let scratch = Scratch::new();
    let lines = [
        r#"{"level":"info","http":{"status":200},"user":"a b"}"#,
        r#"{"level":"error","http":{"status":500},"user":"c"}"#,
        "level=warn status=500 user=\"a b\"",
        "an ERROR: status=500",
        "error in words",
        "<2>syslog",
    ];
    written(&scratch, "web", &lines);
    for (line, expected) in [
        ("--field http.status=500", "2"),
        ("--field status=500", "3 4"),
        ("--field status=500 --field level=warn", "3"),
        ("--field status=500 --not ERROR", "3"),
        ("--field status=500 --grep ERROR", "4"),
        ("--level warning", "2 3 4 6"),
        ("--level error", "2 4 6"),
        ("--level 3", "2 4 6"),
        ("--level crit", "6"),
        ("--level info -n 2", "4 6"),
        ("--level error --field user=c", "2"),
        ("--level emergency", ""),
    ] {
        let shown = texts(&scratch, &format!("-o cat {line} web"));
        let numbers = shown.split('|').filter_map(|text| lines.iter().position(|line| *line == text));
        let numbers: Vec<String> = numbers.map(|number| (number + 1).to_string()).collect();
        assert_eq!(numbers.join(" "), expected, "svlog {line}: {shown}");
    }
    assert_eq!(
        svlog(&scratch, "--field status web"),
        fails(100, "svlog: fatal: not a field as in --field status=500: status\n")
    );
    let levels = "not a level: trace, debug, info, notice, warning, error, critical, alert or emergency: loud";
    assert_eq!(svlog(&scratch, "--level loud web"), fails(100, &format!("svlog: fatal: {levels}\n")));
}

#[test]
fn lines_around_matches_are_shown_as_by_grep() {
    let scratch = Scratch::new();
    let lines: Vec<String> =
        (1..=40).map(|number| format!("{}{number}", if number % 9 == 0 { "x" } else { "o" })).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    written(&scratch, "web", &lines);
    scratch.file("plain", lines.join("\n") + "\n");
    for options in ["-A 1", "-B 2", "-C 1", "-C 4", "-A 3 -B 1", "-C 2 -A 0", "-C 100"] {
        let grep = scratch.shell(&format!("grep {options} x plain"));
        assert_eq!(svlog(&scratch, &format!("-o cat {options} --grep x web")), grep, "{options}");
    }
    for (line, expected) in [
        ("-n 1 -C 1 --grep x", "o35|x36|o37"),
        ("-n 2 -B 1 --grep x", "o26|x27|--|o35|x36"),
        ("-n 1 -B 9 --grep x", "x27|o28|o29|o30|o31|o32|o33|o34|o35|x36"),
        ("--head 1 -C 1 --grep x", "o8|x9|o10"),
        ("--head 2 -A 1 --grep x", "x9|o10|--|x18|o19"),
        (
            "--not o[123] -C 1 --since 2026-11-21T06:53:10Z",
            "o4|o5|o6|o7|o8|x9|o10|--|o17|x18|o19|--|o26|x27|o28|--|o35|x36|o37|--|o39|o40",
        ),
        // Lines of another time are not shown.
        ("-C 3 --grep x9 --since 2026-11-21T06:53:14Z --until 2026-11-21T06:53:16Z", "o8|x9|o10"),
    ] {
        assert_eq!(texts(&scratch, &format!("{line} web")), expected, "svlog {line}");
    }
}

#[test]
fn lines_around_matches_of_several_logs_stand_by_their_matches() {
    let scratch = Scratch::new();
    written(&scratch, "web", &["a", "b", "x1", "c", "d", "e", "x2"]);
    written(&scratch, "db", &["f", "x3", "g", "h", "i"]);
    let expected = "db- f|db: x3|web- b|web: x1|db- g|web- c|web: --|web- e|web: x2";
    assert_eq!(texts(&scratch, "-C 1 --grep x web db"), expected);
    let json = svlog(&scratch, "-C 1 --json --grep x1 web").stdout;
    let context: Vec<bool> = json.lines().map(|line| line.ends_with("\"context\":true}")).collect();
    assert_eq!(context, [true, false, true], "{json}");
    // The first two lines that match, each with its lines around.
    assert_eq!(texts(&scratch, "--head 2 -C 1 --grep x web db"), "db- f|db: x3|web- b|web: x1|db- g|web- c");
}

#[test]
fn lines_are_counted_for_each_minute_hour_or_day() {
    let scratch = Scratch::new();
    let at = |seconds: &[u64]| seconds.iter().map(|second| format!("{} x\n", label(*second))).collect::<String>();
    for (folder, seconds) in [("web", &[0, 1, 52, 53, 120][..]), ("db", &[54, 7200]), ("old", &[0, 90_000, 400_000])] {
        scratch.file(format!("{folder}/lock"), "");
        scratch.file(format!("{folder}/current"), at(seconds) + "no stamp\n");
    }
    for (line, expected) in [
        ("web", "2026-11-21 07:53 3\n2026-11-21 07:54 1\n2026-11-21 07:55 2\n"),
        ("--since 2026-11-21T06:54:00Z --utc web", "2026-11-21 06:54 1\n2026-11-21 06:55 2\n"),
        ("--grep nothing web", ""),
        ("web db --grep x", "2026-11-21 07:53 3\n2026-11-21 07:54 2\n2026-11-21 07:55 1\n2026-11-21 09:53 1\n"),
        ("old", "2026-11-21 1\n2026-11-22 1\n2026-11-25 2\n"),
        ("--json old --until 2026-11-21T07:00:00Z", "{\"time\":\"2026-11-21T07:53:00+01:00\",\"count\":1}\n"),
    ] {
        assert_eq!(svlog(&scratch, &format!("--histogram {line}")), prints(expected), "{line}");
    }
    let bars =
        scratch.shell("TZ=XYZ-1 SVLOG_PAGER= script -qec 'svlog --histogram web' /dev/null </dev/null | tr -d '\\r'");
    let [half, third] = ["#".repeat(17), "#".repeat(34)];
    let expected =
        format!("2026-11-21 07:53 3 {0}\n2026-11-21 07:54 1 {half}\n2026-11-21 07:55 2 {third}\n", "#".repeat(50));
    assert_eq!(bars, prints(&expected));
}

#[test]
fn a_histogram_tells_how_many_lines_each_of_several_services_has() {
    let scratch = Scratch::new();
    let at = |seconds: &[u64]| seconds.iter().map(|second| format!("{} x\n", label(*second))).collect::<String>();
    for (folder, seconds) in [("web", &[0, 60][..]), ("d\x1bb", &[0, 1, 2, 61, 62, 120]), ("empty", &[])] {
        scratch.file(format!("{folder}/lock"), "");
        scratch.file(format!("{folder}/current"), at(seconds));
    }
    let json = svlog(&scratch, "--histogram --json --utc web d\x1bb empty");
    let expected = r#"{"time":"2026-11-21T06:53:00Z","count":4,"services":{"web":1,"d\u001bb":3}}
{"time":"2026-11-21T06:54:00Z","count":3,"services":{"web":1,"d\u001bb":2}}
{"time":"2026-11-21T06:55:00Z","count":1,"services":{"d\u001bb":1}}
"#;
    assert_eq!(json, prints(expected));
    // The numbers of a pipe have no bars, as those of one log.
    let plain = "2026-11-21 06:53 4\n2026-11-21 06:54 3\n2026-11-21 06:55 1\n";
    assert_eq!(svlog(&scratch, "--histogram --utc web d\x1bb empty"), prints(plain));
    let bars = scratch.on_terminal("svlog --histogram --color=never --utc web d*b empty");
    let bar =
        |letters: &[(&str, usize)]| letters.iter().map(|(letter, count)| letter.repeat(*count)).collect::<String>();
    let [all, most, one] = [bar(&[("a", 38), ("b", 12)]), bar(&[("a", 25), ("b", 13)]), bar(&[("a", 13)])];
    let expected = format!(
        "a d\\x1bb 6\nb web 2\n2026-11-21 06:53 4 {all}\n2026-11-21 06:54 3 {most}\n2026-11-21 06:55 1 {one}\n"
    );
    assert_eq!(bars, expected);
    let coloured = scratch.on_terminal("svlog --histogram --utc web d*b empty");
    assert!(coloured.starts_with("\x1b[33ma\x1b[0m d\\x1bb 6\n\x1b[36mb\x1b[0m web 2\n"), "{coloured:?}");
    // Only so many services have a letter of their own.
    for number in 0..10 {
        scratch.file(format!("w{number}/lock"), "");
        scratch.file(format!("w{number}/current"), at(&vec![0; 20 - number]));
    }
    let many = scratch.on_terminal("svlog --histogram --color=never --utc w0 w1 w2 w3 w4 w5 w6 w7 w8 w9");
    let lines: Vec<&str> = many.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[8]), (10, "a w0 20", "+ 2 others 23"), "{many}");
    assert!(lines[9].starts_with("2026-11-21 06:53 155 aaaaaa") && lines[9].ends_with("+++++++"), "{many}");
}

#[test]
fn the_newest_lines_come_first_if_this_is_asked_for() {
    let scratch = Scratch::new();
    written(&scratch, "web", &["a", "b", "c", "b", "b"]);
    written(&scratch, "db", &["x", "y"]);
    for (line, expected) in [
        ("-r web", "b|b|c|b|a"),
        ("-r -n 2 web", "b|b"),
        ("-r -n 0 web", ""),
        ("-r -n 9 db", "y|x"),
        ("--reverse --grep [ac] web", "c|a"),
        ("-r --since 2026-11-21T06:53:09Z web", "b|b|c"),
        ("-r --until 2026-11-21T06:53:09Z web", "c|b|a"),
        ("-r web db", "web: b|web: b|web: c|db: y|web: b|db: x|web: a"),
        ("-r -o cat -n 3 db web", "b|b|c"),
    ] {
        assert_eq!(texts(&scratch, line), expected, "svlog {line}");
    }
}

/// Each line is shown once, whether the files are compressed or not, and no more than a part of a file is in memory.
#[test]
fn a_long_log_is_shown_from_its_end_in_little_memory() {
    let scratch = Scratch::new();
    for file in 0..3 {
        let lines = (0..200_000).map(|line| format!("{} line {line} of file {file} {:64}\n", label(file * 10), ""));
        scratch.file(format!("web/{}.s", label(file * 10 + 1)), lines.collect::<String>());
    }
    scratch.file("web/lock", "");
    scratch.file("web/current", format!("{} the last line\n", label(40)));
    let forwards = scratch.shell("svlog web | tac | md5sum");
    assert_eq!(forwards.code, 0);
    let backwards = "ulimit -v 60000; svlog -r web | md5sum";
    assert_eq!(scratch.shell(backwards), forwards);
    let mut compress = scratch.command("logcompress");
    assert_eq!(scratch.outcome_of(compress.args(["zstd", "web"])).code, 0);
    assert!(!scratch.path().join(format!("web/{}.s", label(1))).exists());
    assert_eq!(scratch.shell(backwards), forwards);
    let few = scratch.shell("ulimit -v 60000; svlog -r -n 2 -o cat web | cut -c -26");
    assert_eq!(few, prints("the last line\nline 199999 of file 2     \n"));
}

/// Lines of megabytes before a match need no memory.
#[test]
fn memory_does_not_grow_with_the_lines_before_a_match() {
    let scratch = Scratch::new();
    let long = "o".repeat(16 << 20);
    written(&scratch, "web", &[&long, &long, &long, "near", "x"]);
    let shown = scratch.shell("ulimit -v 60000; svlog -o cat -B 4 --grep x web");
    assert_eq!(shown, prints("near\nx\n"));
}

#[test]
fn following_shows_lines_around_what_comes() {
    let scratch = Scratch::new();
    written(&scratch, "web", &["a", "b"]);
    let output = scratch.path().join("shown");
    let mut command = scratch.command("svlog");
    command.args("-f -o cat --head 1 -C 2 --grep x web".split(' ')).stdout(File::create(&output).unwrap());
    let mut svlog = Daemon::start(&mut command, &scratch);
    let shown = || fs::read_to_string(&output).unwrap();
    let mut current = OpenOptions::new().append(true).open(scratch.path().join("web/current")).unwrap();
    let mut log = |text: &str| current.write_all(format!("{} {text}\n", label(9)).as_bytes()).unwrap();
    log("x");
    wait_until("the match is shown", || shown() == "a\nb\nx\n");
    log("c");
    wait_until("the line after is shown", || shown() == "a\nb\nx\nc\n");
    assert!(!svlog.has_ended());
    log("x2");
    wait_until("svlog ends", || svlog.has_ended());
    assert_eq!(shown(), "a\nb\nx\nc\n");
}

#[test]
fn options_that_contradict_each_other_are_refused_in_words() {
    let scratch = Scratch::new();
    written(&scratch, "web", &["a"]);
    for (line, why) in [
        ("--head 1 -n 1", "--head contradicts -n: the first lines are not the last ones"),
        ("--count --follow", "--count contradicts -f: the number of lines is known only when there are no more"),
        ("--count --lines=3", "--count contradicts -n: all lines that match are counted"),
        ("--count -A 1", "--count contradicts -A: only lines that match are counted"),
        ("-n 3 --cursor-file c", "--cursor-file contradicts -n: what is shown begins where the svlog before has ended"),
        ("--json -o cat", "--json contradicts -o: these are two forms"),
        ("--count --output iso", "--count contradicts -o: a number is shown as text or by --json"),
        ("--histogram -r", "--histogram contradicts -r: the numbers stand in the order of time"),
        ("--reverse -f", "-r contradicts -f: lines that come later would stand after older ones"),
        ("-r --head 2", "-r contradicts --head: the first lines are the last ones then: say -n"),
        ("--head 2 --count", "--count contradicts --head: all lines that match are counted"),
    ] {
        assert_eq!(svlog(&scratch, &format!("{line} web")), fails(100, &format!("svlog: fatal: {why}\n")));
    }
}
