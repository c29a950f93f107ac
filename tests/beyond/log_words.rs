//! multilog's messages: which service they are about, what the problem is, and that multilog goes on.

use std::fs;
use tests::{Daemon, Disk, Log, Multilog, Scratch, Service, fails, has, is_root, lines, prints, skip, wait_until};

/// Every logger on a machine may have a directory `./main`, so the message names the service directory.
#[test]
fn in_a_service_directory_a_message_names_it_by_its_path_of_now() {
    let scratch = Scratch::new();
    let path = |name: &str| scratch.path().canonicalize().unwrap().join(name).display().to_string();
    let service = Service::new(&scratch, "web/log", "exec multilog ./no/main");
    let supervise = service.supervise();
    let refused = "multilog: fatal: unable to open directory ./no/main: file does not exist: \
                   its parent directory does not exist";
    let said = format!("{refused} (in {})\n", path("web/log"));
    wait_until("it says where", || supervise.errors().contains(&said));
    drop(supervise);

    // The service directory is renamed while multilog runs.
    scratch.file("db/log/run", "");
    let mut command = scratch.command("multilog");
    let (reader, writer) = std::io::pipe().unwrap();
    let script = ["=../status", "./main"];
    let mut multilog =
        Daemon::start(command.args(script).current_dir(scratch.path().join("db/log")).stdin(reader), &scratch);
    let log = Log::of(&scratch, "db/log/main");
    wait_until("it is at work", || log.names().contains(&"current".into()));
    fs::rename(scratch.path().join("db"), scratch.path().join("moved")).unwrap();
    fs::remove_file(scratch.path().join("moved/status")).unwrap();
    scratch.dir("moved/status");
    std::io::Write::write_all(&mut { writer }, b"line\n").unwrap();
    assert_eq!(multilog.wait(), 0);
    let said = format!("multilog: warning: unable to write to ../status: is a directory (in {})\n", path("moved/log"));
    assert_eq!(multilog.errors(), said);

    // A user who runs multilog by hand knows the current directory.
    let by_hand = fails(111, &format!("{refused}\n"));
    assert_eq!(scratch.run("multilog ./no/main"), by_hand);
}

/// multilog runs logcompress with `.` as the name of the directory.
#[test]
fn logcompress_names_a_directory_that_is_called_a_point() {
    let scratch = Scratch::new();
    let hole = "@400000000000000a00000000.s";
    scratch.file(format!("log/{hole}"), "");
    assert_eq!(scratch.shell(&format!("truncate -s 5G log/{hole}")), prints(""));
    let path = scratch.path().canonicalize().unwrap().join("log").display().to_string();
    let complaint = |directory: &str, place: &str| {
        let words = format!("logcompress: warning: unable to compress {directory}/{hole}: file too big{place}\n");
        fails(111, &words)
    };
    assert_eq!(scratch.shell("cd log && logcompress zstd ."), complaint(".", &format!(" (in {path})")));
    assert_eq!(scratch.run("logcompress zstd log"), complaint("log", ""));
}

#[test]
fn a_directory_that_cannot_be_made_is_named_with_what_is_in_the_way() {
    let scratch = Scratch::new();
    let whose = |what: &str| match is_root() {
        true => format!(": {what} belongs to root, and this is nobody"),
        false => String::new(),
    };
    let (owner, closed) = (whose("its parent directory"), whose("./parent"));
    for (mode, words) in [
        (0o555, format!("create directory ./parent/log: access denied{owner}")),
        (0, format!("open directory ./parent/log: access denied{closed}")),
    ] {
        scratch.dir("parent");
        scratch.mode("parent", mode);
        let outcome = scratch.outcome_of(scratch.as_nobody("multilog").arg("./parent/log"));
        assert_eq!(outcome, fails(111, &format!("multilog: fatal: unable to {words}\n")));
    }
    scratch.mode("parent", 0o755);
    // The link exists, but the file to which it leads does not.
    assert_eq!(scratch.shell("ln -s nowhere parent/log"), prints(""));
    let nowhere =
        "multilog: fatal: unable to open directory ./parent/log: file does not exist: it is a link to nothing\n";
    assert_eq!(scratch.run("multilog ./parent/log"), fails(111, nowhere));
}

/// Checks the messages from the beginning of a pause to its end.
fn paused_once(errors: &str, complaint: &str, going_on: &str) {
    let said: Vec<&str> = errors.lines().collect();
    assert!(said.len() == 2 && said[0] == format!("multilog: warning: {complaint}"), "{errors}");
    let after = said[1].strip_prefix(&format!("multilog: {going_on} again after "));
    assert!(after.is_some_and(|after| after.ends_with("s: going on")), "{errors}");
}

#[test]
fn a_full_disk_that_has_room_again_is_told() {
    if !is_root() {
        return skip("a full disk needs root, to mount a small one");
    }
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, 1024);
    let mut multilog = Multilog::start(&scratch, "s16M ./disk/log");
    let log = Log::of(&scratch, "disk/log");
    multilog.feed("first\n");
    wait_until("it is logged", || log.all() == b"first\n");
    disk.fill(0);
    multilog.feed(lines(200, 50));
    let complaint = "unable to write to ./disk/log/current, pausing: out of disk space";
    multilog.complains(complaint);
    disk.free();
    wait_until("it goes on", || multilog.errors().lines().count() == 2);
    multilog.feed("last\n");
    paused_once(&multilog.end(), complaint, "able to write to ./disk/log/current");
    assert!(log.all() == [b"first\n".to_vec(), lines(200, 50), b"last\n".to_vec()].concat());
}

/// multilog reads nothing before there is room for its journal.
#[test]
fn a_disk_that_was_full_at_the_start_and_has_room_is_told() {
    if !is_root() {
        return skip("a full disk needs root, to mount a small one");
    }
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, 1024);
    disk.fill(0);
    let mut multilog = Multilog::start(&scratch, "./disk/log");
    multilog.feed("line\n");
    let complaint = "unable to write to ./disk/log/current, pausing: out of disk space";
    multilog.complains(complaint);
    disk.free();
    paused_once(&multilog.end(), complaint, "able to write to ./disk/log/current");
}

#[test]
fn an_error_that_passes_is_told_when_it_has() {
    if !has("strace") {
        return;
    }
    let program = tests::programs().join("multilog");
    for (inject, complaint, going_on) in [
        (
            "fsync:error=EIO:when=1..2",
            "unable to write ./log/current to disk, pausing: input/output error",
            "able to write ./log/current to disk",
        ),
        (
            "renameat2:error=EROFS:when=1",
            "unable to rename ./log/previous, pausing: read-only file system",
            "able to rename ./log/previous",
        ),
    ] {
        let scratch = Scratch::new();
        let inject = format!("inject={inject}");
        let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject, program.to_str().unwrap()];
        let mut multilog = Multilog::by(&scratch, &words, "s4096 n1000 ./log");
        multilog.feed(lines(100, 50));
        paused_once(&multilog.end(), complaint, going_on);
        assert!(Log::of(&scratch, "log").all() == lines(100, 50));
    }
}

#[test]
fn a_processor_that_works_again_is_told() {
    let scratch = Scratch::new();
    scratch.script("processor", "#!/bin/sh\n[ -e ../works ] || exit 1\nexec cat\n");
    let mut multilog = Multilog::start(&scratch, "s4096 n1000 !../processor ./log");
    multilog.feed(lines(100, 50));
    let complaint = "processor failed in ./log, pausing";
    multilog.complains(complaint);
    scratch.file("works", "");
    paused_once(&multilog.end(), complaint, "processor works in ./log");
    assert!(Log::of(&scratch, "log").all() == lines(100, 50));
}

#[test]
fn a_reader_of_standard_output_that_reads_again_is_told() {
    let scratch = Scratch::new();
    let (reader, output) = std::io::pipe().unwrap();
    scratch.file("in", lines(4000, 50));
    let input = fs::File::open(scratch.path().join("in")).unwrap();
    let mut command = scratch.command("multilog");
    let mut multilog = Daemon::start(command.arg("o").stdin(input).stdout(output), &scratch);
    drop(command);
    let complaint = "nobody reads from standard output, pausing";
    wait_until("it complains", || multilog.errors().contains(complaint));
    assert!(std::io::read_to_string(reader).unwrap().into_bytes() == lines(4000, 50));
    assert_eq!(multilog.wait(), 0);
    paused_once(&multilog.errors(), complaint, "standard output is read");
}

/// The original discards the lines without a message.
#[test]
fn a_word_by_which_all_lines_are_lost_is_said_at_the_start() {
    let scratch = Scratch::new();
    scratch.dir("errors");
    let beginning = "a log directory begins with . or /";
    let thrown = "multilog: warning: no action writes lines: they all are thrown away\n";
    let main = format!("multilog: warning: main is no action and is ignored: {beginning}\n");
    let errors = format!("multilog: warning: errors is not taken for the directory of that name: {beginning}\n");
    for (script, said) in [
        ("t main", format!("{main}{thrown}")),
        ("main ./main", main),
        ("errors ./main", errors),
        ("-* +a", thrown.into()),
        ("''", String::new()),
        ("t ./main", String::new()),
    ] {
        let outcome = scratch.shell(&format!("set -f; multilog {script} </dev/null"));
        assert_eq!(outcome, fails(0, &said), "{script}");
    }
}
