//! Unusual file systems, processors that misbehave, and several multilogs in one directory.

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use tests::{
    Daemon, Disk, Log, Multilog, Scratch, children_of, fails, has, is_alive, is_root, lines, skip, state_of, wait_until,
};

/// Some network and FUSE file systems have neither.
#[test]
fn neither_hard_links_nor_an_exclusive_rename_are_needed() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let program = tests::programs().join("multilog");
    let words = [
        "strace",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "inject=renameat2:error=EINVAL",
        "-e",
        "inject=link,linkat:error=EPERM",
        program.to_str().unwrap(),
    ];
    let mut multilog = Multilog::by(&scratch, &words, "s4096 n1000 ./log");
    multilog.feed(lines(500, 50));
    assert_eq!(multilog.end(), "");
    assert!(log.old().len() > 5);
    assert!(log.all() == lines(500, 50));
}

#[test]
fn a_second_multilog_goes_and_the_first_does_not_notice() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let mut multilog = Multilog::start(&scratch, "s4096 n1000 ./log");
    multilog.feed(lines(300, 50));
    wait_until("it is at work", || log.all() == lines(300, 50));
    let refused = |name: &str, cause: &str| {
        fails(111, &format!("multilog: fatal: unable to lock directory {name}: temporary failure: {cause}\n"))
    };
    let busy = refused("./log", "it is in use by another multilog");
    assert_eq!(scratch.run("multilog ./log"), busy);
    assert_eq!(scratch.run("multilog ./other ./log"), busy);
    assert_eq!(scratch.run("multilog zzstd b1 a1s r1s ./log"), busy);
    // Even one multilog must not name the directory twice.
    assert_eq!(scratch.run("multilog ./twice ./twice"), refused("./twice", "it is named twice"));
    assert_eq!(scratch.run("multilog ./twice ./log"), busy);
    multilog.feed("last\n");
    assert_eq!(multilog.end(), "");
    assert!(log.all() == [lines(300, 50), b"last\n".to_vec()].concat());
}

/// On a loaded machine, a child may not yet have executed its program long after its multilog was killed.
#[test]
fn a_child_that_is_still_to_execute_its_program_keeps_no_lock() {
    if !has("strace") {
        return;
    }
    for script in ["./other s4096 n9 zgzip ./log", "./other s4096 n9 !cat ./log"] {
        let scratch = Scratch::new();
        let log = Log::of(&scratch, "log");
        let program = tests::programs().join("multilog");
        let delay = ["-e", "trace=fchdir", "-e", "inject=fchdir:delay_enter=60000000"];
        let words = [&["strace", "-f", "-qq", "-o", "/dev/null"], &delay[..], &[program.to_str().unwrap()]].concat();
        let mut killed = Multilog::by(&scratch, &words, script);
        killed.feed(lines(60, 50));
        wait_until("all is logged", || Log::of(&scratch, "other").all() == lines(60, 50));
        let mut child = None;
        wait_until("a child is there", || {
            child = children_of(killed.pid()).first().copied();
            child.is_some()
        });
        kill(Pid::from_raw(killed.pid()), Signal::SIGKILL).unwrap();
        let mut next = Multilog::start(&scratch, script);
        next.feed("last\n");
        assert_eq!(next.end(), "", "{script}");
        // A logcompress may still be running.
        wait_until("no line is lost", || log.all() == [lines(60, 50), b"last\n".to_vec()].concat());
        assert!(child.is_some_and(is_alive), "{script}: the child had executed its program already");
    }
}

/// multilog stops reading when a second file is full. It obeys TERM: all lines that were read are in the log then, and
/// the next multilog runs the processor again.
#[test]
fn a_processor_that_never_ends_holds_up_nothing_but_input() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let mut multilog =
        Multilog::start(&scratch, "s4096 n1000 !exec\u{a0}sleep\u{a0}1000 ./log".replace('\u{a0}', "\t").as_str());
    multilog.feed(lines(500, 50));
    wait_until("a second file is full", || {
        log.content("current").len() > 2000 && log.names().contains(&"previous".into())
    });
    // The rest of the lines is in the pipe.
    let rest = fs::File::open(format!("/proc/{}/fd/0", multilog.pid())).unwrap();
    assert_eq!(multilog.terminate(), "");
    assert!(!log.names().contains(&"journal".into()), "nothing is left to the next one");
    let rest = std::io::read_to_string(rest).unwrap();
    let all = [log.content("previous"), log.content("current"), rest.clone().into_bytes()].concat();
    assert!(all == lines(500, 50));
    let mut multilog = Multilog::start(&scratch, "s4096 n1000 !cat ./log");
    multilog.feed(rest);
    assert_eq!(multilog.end(), "");
    assert!(log.all() == lines(500, 50) && log.old().iter().all(|name| name.ends_with(".s")), "{:?}", log.old());
}

/// The end of the processor and the input that fills the next file arrive together, and the kernel reports neither
/// again.
#[test]
fn a_processor_that_ends_when_input_comes_is_not_waited_for() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    scratch.script("slow", "#!/bin/sh\nwhile [ ! -e ../go ]; do sleep 0.01; done\nexec cat");
    let mut multilog = Multilog::start(&scratch, "s4096 n1000 !../slow ./log");
    multilog.feed(lines(60, 50));
    wait_until("a file is processed", || log.names().contains(&"processed".into()));
    wait_until("the rest is in the next", || log.content("current").ends_with(b"59\n"));
    let signal = |signal| kill(Pid::from_raw(multilog.pid()), signal).unwrap();
    signal(Signal::SIGSTOP);
    scratch.file("go", "");
    let child = || fs::read_to_string(format!("/proc/{0}/task/{0}/children", multilog.pid())).unwrap();
    wait_until("it has ended", || child().trim().parse().ok().and_then(state_of) == Some('Z'));
    multilog.feed(lines(500, 50));
    kill(Pid::from_raw(multilog.pid()), Signal::SIGCONT).unwrap();
    wait_until("all is written", || log.all() == [lines(60, 50), lines(500, 50)].concat());
    assert_eq!(multilog.end(), "");
}

/// The room for input is full, and a line continues beyond it; multilog still reads its rest. There is no room for its
/// journal either, so it reads nothing more from the pipe until there is.
#[test]
fn started_on_a_full_disk_it_can_be_told_to_end_and_loses_nothing() {
    if !is_root() {
        return skip("a full disk needs root, to mount a small one");
    }
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, 1024);
    disk.fill(0);
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&lines(1000, 30)).unwrap();
    let mut command = scratch.command("multilog");
    let mut multilog = Daemon::start(command.arg("./disk/log").stdin(reader.try_clone().unwrap()), &scratch);
    let complaint = "multilog: warning: unable to write to ./disk/log/current, pausing: out of disk space\n";
    wait_until("it complains", || multilog.errors() == complaint);
    multilog.signal(Signal::SIGTERM);
    assert_eq!(multilog.wait(), 0);
    // The disk is full again. When there is room, multilog goes on by itself and makes its journal then.
    let mut command = scratch.command("multilog");
    let mut next = Daemon::start(command.arg("./disk/log").stdin(reader), &scratch);
    wait_until("the next complains", || next.errors() == complaint);
    disk.free();
    let log = Log::of(&scratch, "disk/log");
    wait_until("all is logged", || log.all() == lines(1000, 30));
    assert!(scratch.path().join("disk/log/journal").exists());
    drop(writer);
    assert_eq!(next.wait(), 0);
    assert!(log.all() == lines(1000, 30));
}

/// A pipe that contains more lines than multilog reads at once.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1 << 20)).unwrap();
    writer.write_all(&lines(50_000, 7)).unwrap();
    (reader, writer)
}

#[test]
fn told_to_end_with_a_full_buffer_it_ends_at_the_end_of_the_line() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let (reader, writer) = full_pipe();
    let program = tests::programs().join("multilog");
    let mut command = scratch.command("strace");
    // multilog asks how many bytes the pipe holds just before it reads from it for the first time.
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=ioctl", "-e", "inject=ioctl:signal=SIGTERM:when=1"]);
    command.arg(program).args(["s1M", "./log"]).stdin(reader.try_clone().unwrap());
    let mut multilog = Daemon::start(&mut command, &scratch);
    assert_eq!((multilog.wait(), multilog.errors().as_str()), (0, ""));
    let first = log.all();
    assert!(first.len() > 200_000 && first.len() < 350_000 && first.ends_with(b"\n"), "{}", first.len());
    drop(writer);
    let next = scratch.command("multilog").arg("./log").stdin(reader).spawn().unwrap();
    assert_eq!(tests::Running(next).wait().code(), Some(0));
    assert!(log.all() == lines(50_000, 7));
}

/// The rest of a line may be long, and each read is followed by writes, and by a sync with `y`.
#[test]
fn told_to_end_in_a_long_line_it_reads_the_rest_in_a_few_steps() {
    if !has("strace") {
        return skip("there is no strace");
    }
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let (reader, mut writer) = std::io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1 << 20)).unwrap();
    let line = [vec![b'x'; 900_000], b" end\n".to_vec()].concat();
    writer.write_all(&[&line[..], b"next\n"].concat()).unwrap();
    let program = tests::programs().join("multilog");
    let mut command = scratch.command("strace");
    // The signal comes with the first read.
    command.args(["-qq", "-o", "calls", "-e", "trace=ioctl,read", "-e", "inject=ioctl:signal=SIGTERM:when=1"]);
    command.arg(program).args(["s16777215", "./log"]).stdin(reader.try_clone().unwrap());
    let mut multilog = Daemon::start(&mut command, &scratch);
    assert_eq!((multilog.wait(), multilog.errors().as_str()), (0, ""));
    assert!(log.all() == line, "{}", log.all().len());
    let calls = fs::read_to_string(scratch.path().join("calls")).unwrap();
    assert!(calls.lines().filter(|call| call.starts_with("read(0, ")).count() < 100, "{calls}");
    drop(writer);
    let next = scratch.command("multilog").arg("./log").stdin(reader).spawn().unwrap();
    assert_eq!(tests::Running(next).wait().code(), Some(0));
    assert!(log.all() == [&line[..], b"next\n"].concat());
}

/// A slow disk delays each file, and multilog may have read many lines.
#[test]
fn told_to_end_it_does_not_go_through_all_that_it_has_read() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let (reader, writer) = full_pipe();
    let program = tests::programs().join("multilog");
    let mut command = scratch.command("strace");
    // The signal comes when the first file is full.
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:signal=SIGTERM:when=1"]);
    command.arg(program).args(["s4096", "n1000", "./log"]).stdin(reader.try_clone().unwrap());
    let mut multilog = Daemon::start(&mut command, &scratch);
    assert_eq!((multilog.wait(), multilog.errors().as_str()), (0, ""));
    let mode = || fs::metadata(scratch.path().join("log/current")).unwrap().permissions().mode() & 0o777;
    assert!((1..8192).contains(&log.all().len()) && mode() == 0o744, "{} {:o}", log.all().len(), mode());
    drop(writer);
    let next = scratch.command("multilog").args(["n1000", "./log"]).stdin(reader).spawn().unwrap();
    assert_eq!(tests::Running(next).wait().code(), Some(0));
    assert!(log.all() == lines(50_000, 7));
    assert!(log.old().iter().all(|name| name.ends_with(".s")) && mode() == 0o744, "{:?}", log.old());
}

/// multilog has not read anything yet, so there is nothing to save.
#[test]
fn term_is_heard_though_it_cannot_even_begin() {
    if !has("strace") {
        return;
    }
    let program = tests::programs().join("multilog");
    let scratch = Scratch::new();
    scratch.file("log/@400000000000000b00000000.s", "old\n");
    let inject = "inject=unlinkat:error=EROFS";
    let words = ["strace", "-qq", "-o", "/dev/null", "-e", inject, program.to_str().unwrap()];
    let multilog = Multilog::by(&scratch, &words, "a1s ./log");
    let trouble = "unable to remove ./log/@400000000000000b00000000.s, pausing: read-only file system\n";
    multilog.complains(trouble);
    assert_eq!(multilog.terminate(), format!("multilog: warning: {trouble}"));
}

/// Other processes may free what multilog needs. Only a mistake in the script ends it.
#[test]
fn what_may_pass_is_waited_for_at_the_start_too() {
    if !has("strace") {
        return;
    }
    let program = tests::programs().join("multilog");
    for (call, path, errno, words) in [
        ("mkdirat", "log", "ENOSPC", "open directory ./log, pausing: out of disk space"),
        ("mkdirat", "log", "EROFS", "open directory ./log, pausing: read-only file system"),
        ("openat", "lock", "EDQUOT", "lock directory ./log, pausing: "),
        ("openat", "lock", "EROFS", "lock directory ./log, pausing: read-only file system"),
        ("openat", "journal", "EMFILE", "open ./log/journal, pausing: process cannot open more files"),
        ("openat", "state", "ENOSPC", "write to ./log/state, pausing: out of disk space"),
        ("openat", "status", "ENFILE", "create status, pausing: system cannot open more files"),
    ] {
        let scratch = Scratch::new();
        let start = |when: &str| {
            let inject = format!("inject={call}:error={errno}{when}");
            let words = ["strace", "-qq", "-o", "/dev/null", "-P", path, "-e", &inject, program.to_str().unwrap()];
            Multilog::by(&scratch, &words, "=status ./log")
        };
        let waits = start("");
        waits.complains(words);
        let errors = waits.terminate();
        assert_eq!(errors.matches("unable to").count(), 1, "{errors}");
        let mut begins = start(":when=1");
        begins.feed("line\n");
        let errors = begins.end();
        assert!(errors.contains(words), "{call} {errno}: {errors}");
        let (what, _) = words.split_once(", pausing").unwrap();
        assert!(errors.contains(&format!("multilog: able to {what} again after ")), "{call} {errno}: {errors}");
        assert_eq!(Log::of(&scratch, "log").all(), b"line\n", "{call} {errno}");
    }
}

#[test]
fn the_owner_of_the_directory_that_denies_access_is_named() {
    if !is_root() {
        return skip("needs root");
    }
    let scratch = Scratch::new();
    scratch.dir("main");
    scratch.mode("main", 0o755);
    let whose = "belongs to root, and this is nobody";
    for (program, arguments, words) in [
        (
            "multilog",
            &["./main"][..],
            format!("multilog: fatal: unable to lock directory ./main: access denied: it {whose}\n"),
        ),
        ("multilog", &["./new"], {
            format!("multilog: fatal: unable to create directory ./new: access denied: its parent directory {whose}\n")
        }),
        ("setlock", &["new", "true"], {
            format!("setlock: fatal: unable to open new: access denied: its parent directory {whose}\n")
        }),
    ] {
        let seen = scratch.outcome_of(scratch.as_nobody(program).args(arguments));
        assert_eq!((seen.code, seen.stderr), (111, words), "{program} {arguments:?}");
    }
}
