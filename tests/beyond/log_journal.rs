//! Lines that multilog has read and not yet logged: after it ends in order, after a reboot, and where it cannot make a
//! journal.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{PipeReader, Write};
use tests::{Disk, Log, Multilog, Running, Scratch, fails, has, is_root, lines, prints, skip, state_of, wait_until};

const COST: &str = ": if multilog is killed, lines that it has read and not yet written are lost\n";

/// Makes a multilog read `one\nbegun` from a pipe, kills it, and returns the pipe.
fn killed(scratch: &Scratch) -> (PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut command = scratch.command("multilog");
    let multilog = Running(command.arg("./log").stdin(reader.try_clone().unwrap()).spawn().unwrap());
    writer.write_all(b"one\nbegun").unwrap();
    wait_until("it has read", || Log::of(scratch, "log").all() == b"one\n");
    wait_until("it has noted that", || state_of(multilog.0.id() as i32) == Some('S'));
    kill(Pid::from_raw(multilog.0.id() as i32), Signal::SIGKILL).unwrap();
    multilog.wait();
    (reader, writer)
}

/// Runs a shell line in a mount namespace of its own, in which everything looks as after a reboot.
fn after_boot(scratch: &Scratch, line: &str) -> tests::Outcome {
    let mount = "mount --bind boot /proc/sys/kernel/random/boot_id";
    scratch.file("boot", "01234567-89ab-cdef-0123-456789abcdef\n");
    scratch.shell(&format!("exec unshare -m --propagation private sh -c '{mount}; {line}'"))
}

fn may_unshare() -> bool {
    if !is_root() {
        skip("another boot needs root, to mount its name");
    }
    is_root() && has("unshare")
}

#[test]
fn told_to_end_it_writes_all_that_it_has_read() {
    if !has("strace") {
        return;
    }
    // multilog is told to end while it finishes a file on a slow disk, and while a processor is busy.
    for script in ["s4096 n1000", "s1M", "s4096 n1000 !exec\tsleep\t1000", "yline dblock:1 n1000"] {
        let scratch = Scratch::new();
        let log = Log::of(&scratch, "log");
        let program = tests::programs().join("multilog");
        let words = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=50000"];
        let mut multilog =
            Multilog::by(&scratch, &[&words[..], &[program.to_str().unwrap()]].concat(), &format!("{script} ./log"));
        multilog.feed(lines(1000, 50));
        wait_until("it is at work", || !log.content("current").is_empty());
        let rest = fs::File::open(format!("/proc/{}/fd/0", multilog.pid())).unwrap();
        assert_eq!(multilog.terminate(), "", "{script}");
        let rest = std::io::read_to_string(rest).unwrap();
        let all = [
            log.old().iter().flat_map(|name| log.content(name)).collect(),
            log.content("previous"),
            log.content("current"),
        ];
        assert!([all.concat(), rest.into_bytes()].concat() == lines(1000, 50), "{script}");
        assert!(!log.names().contains(&"journal".into()), "{script}");
    }
}

/// multilog is told to end on a full disk. After the reboot, the next multilog logs the lines that could not be
/// written.
#[test]
fn what_a_full_disk_kept_from_the_log_is_there_after_the_boot() {
    if !may_unshare() {
        return;
    }
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, 1024);
    let log = Log::of(&scratch, "disk/log");
    let mut multilog = Multilog::start(&scratch, "s1M ./disk/log");
    multilog.feed("before\n");
    wait_until("it is logged", || log.all() == b"before\n");
    disk.fill(0);
    multilog.feed(lines(4000, 50));
    multilog.complains("unable to write to ./disk/log/current, pausing: out of disk space\n");
    let errors = multilog.terminate();
    assert_eq!(errors.matches("leaving ").count(), 1, "{errors}");
    disk.free();
    assert_eq!(after_boot(&scratch, "multilog s1M ./disk/log </dev/null"), prints(""));
    // The lines that multilog had not read were lost with the pipe.
    let all = log.all();
    let read = all.strip_prefix(b"before\n").unwrap();
    assert!(read.len() > 8192 && lines(4000, 50).starts_with(read), "{}", read.len());
    assert_eq!(log.old(), [""; 0], "the file is continued");
    assert!(!log.names().contains(&"journal".into()));
}

/// Kills a multilog, and tells the next one to end before it can begin. Returns the pipe that the first one has read.
fn killed_and_followed(scratch: &Scratch) -> (PipeReader, std::io::PipeWriter) {
    let pipe = killed(scratch);
    let program = tests::programs().join("multilog");
    let inject = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=openat:error=ENOSPC", "-P"];
    let path = scratch.path().join("log/current");
    let words = [&inject[..], &[path.to_str().unwrap(), "-P", "current", program.to_str().unwrap()]].concat();
    let multilog = Multilog::by(scratch, &words, "./log");
    multilog.complains("unable to write to ./log/current, pausing: out of disk space");
    multilog.terminate();
    pipe
}

/// The first multilog was killed. The next one is told to end before it can begin.
#[test]
fn what_one_left_that_was_killed_is_kept_by_one_that_cannot_begin() {
    if !may_unshare() || !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let _pipe = killed_and_followed(&scratch);
    assert_eq!(after_boot(&scratch, "echo two | multilog ./log"), prints(""));
    assert_eq!(Log::of(&scratch, "log").all(), b"one\nbegun\ntwo\n");
}

/// The journal that was left is believed until this multilog begins with its own input. If the power is cut meanwhile, its
/// disk may have either of the two as it was, and the other one as it is: then lines would be lost or doubled.
#[test]
fn what_was_left_goes_to_the_disk_step_by_step() {
    if !may_unshare() || !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let _pipe = killed_and_followed(&scratch);
    let traced = "echo two | strace -qq -y -o trace -e trace=write,fsync multilog ./log";
    assert_eq!(after_boot(&scratch, traced), prints(""));
    assert_eq!(Log::of(&scratch, "log").all(), b"one\nbegun\ntwo\n");
    let trace = fs::read_to_string(scratch.path().join("trace")).unwrap();
    let step = |line: &str| {
        let call = line.split_once('(')?.0;
        let file = ["current", "journal"].into_iter().find(|name| line.contains(&format!("/{name}>")))?;
        Some(format!("{call} {file}"))
    };
    let steps: Vec<String> = trace.lines().filter_map(step).collect();
    let first = steps.iter().position(|step| step == "write current").expect(&trace);
    assert_eq!(steps[..first], ["fsync current", "fsync journal"], "{trace}");
    assert_eq!(steps[first + 1], "fsync current", "{trace}");
}

#[test]
fn the_journal_of_another_boot_is_not_believed() {
    if !may_unshare() {
        return;
    }
    let scratch = Scratch::new();
    let _pipe = killed(&scratch);
    assert_eq!(after_boot(&scratch, "echo two | multilog ./log"), prints(""));
    let log = Log::of(&scratch, "log");
    assert_eq!(log.all(), b"one\ntwo\n");
    assert!(log.old()[0].ends_with(".u"), "{:?}", log.old());
    assert_eq!(log.names().iter().filter(|name| name.starts_with("journal")).count(), 0);
}

/// Without /proc/sys, a reboot is recognized by the other facts. Without any fact, no line is discarded.
#[test]
fn where_no_boot_id_can_be_read_nothing_is_doubled_and_nothing_thrown_away() {
    if !may_unshare() || !has("strace") {
        return;
    }
    let without =
        |line: &str| format!("exec unshare -m --propagation private sh -c 'mount -t tmpfs none /proc/sys; {line}'");
    let scratch = Scratch::new();
    let (_reader, _writer) = killed(&scratch);
    assert_eq!(scratch.shell(&without("echo two | multilog ./log")), prints(""));
    let log = Log::of(&scratch, "log");
    // This is the same boot: one fact is known of both.
    assert_eq!(log.all(), b"one\nbegun\ntwo\n");
    let scratch = Scratch::new();
    let (_reader, _writer) = killed(&scratch);
    let blind = "strace -qq -o /dev/null -e inject=memfd_create:error=ENOSYS";
    let outcome = scratch.shell(&without(&format!("echo two | {blind} multilog ./log")));
    let words = "multilog: warning: renaming ./log/journal to journal.1: it cannot be told whether it is of this boot, and what is in it may be in the log\n";
    assert_eq!(outcome, fails(0, words));
    let log = Log::of(&scratch, "log");
    assert_eq!(log.all(), b"one\ntwo\n");
    assert!(fs::read(scratch.path().join("log/journal.1")).unwrap().windows(5).any(|text| text == b"begun"));
}

/// Whatever prevents the journal, multilog logs the lines, and says once what is lost without a journal.
#[test]
fn it_does_without_a_journal() {
    if !has("strace") {
        return;
    }
    let program = tests::programs().join("multilog");
    for (injects, reason) in [
        (&["inject=mmap:error=ENODEV"][..], "device does not support operation"),
        (&["inject=mmap:error=EINVAL"], "invalid argument"),
        (&["inject=mmap:error=EOPNOTSUPP"], "operation not supported"),
        (&["inject=mmap:error=ENOMEM"], "out of memory"),
        (&["inject=fallocate:error=EFBIG"], "file too big"),
        (&["inject=fallocate:error=EPERM", "inject=pwrite64:error=EFBIG"], "file too big"),
    ] {
        let scratch = Scratch::new();
        let log = Log::of(&scratch, "log");
        let mut words = vec!["strace", "-qq", "-o", "/dev/null", "-P", "journal"];
        let path = scratch.path().join("log/journal");
        words.extend(["-P", path.to_str().unwrap()]);
        injects.iter().for_each(|inject| words.extend(["-e", inject]));
        words.push(program.to_str().unwrap());
        // The second round shows that the remains of the first one do not prevent it.
        for round in 1..=2 {
            let mut multilog = Multilog::by(&scratch, &words, "s4096 n1000 ./log");
            multilog.feed(lines(300, 50));
            let errors = multilog.end();
            let cost = format!("going on without ./log/journal: {reason}{COST}");
            assert!(errors.ends_with(&cost) && errors.matches(&cost).count() == 1, "{injects:?}: {errors}");
            assert!(log.all() == lines(300, 50).repeat(round), "{injects:?}");
            assert!(log.old().iter().all(|name| name.ends_with(".s")), "{:?}", log.old());
        }
    }
}

/// A filter of system calls may forbid what multilog would use.
#[test]
fn fallocate_is_not_needed() {
    if !has("strace") {
        return;
    }
    let program = tests::programs().join("multilog");
    for errno in ["EPERM", "ENOSYS", "EOPNOTSUPP"] {
        let scratch = Scratch::new();
        let inject = format!("inject=fallocate:error={errno}");
        let words = ["strace", "-qq", "-o", "/dev/null", "-e", &inject, program.to_str().unwrap()];
        let mut multilog = Multilog::by(&scratch, &words, "./log");
        multilog.feed("line\n");
        let size = || fs::metadata(scratch.path().join("log/journal")).map_or(0, |metadata| metadata.len());
        wait_until("it has a journal", || size() > 200_000);
        assert_eq!(multilog.end(), "", "{errno}");
    }
}

#[test]
fn files_may_have_a_limit_that_is_smaller_than_the_journal_or_than_a_log_file() {
    let scratch = Scratch::new();
    scratch.file("in", lines(1000, 50));
    for limit in [8192, 65_536, 200_000] {
        for size in ["s4096", "s99999"] {
            let name = format!("{limit}{size}");
            let outcome = scratch.shell(&format!("softlimit -f {limit} multilog {size} n1000 ./{name} <in"));
            assert_eq!(
                outcome,
                fails(0, &format!("multilog: warning: going on without ./{name}/journal: file too big{COST}"))
            );
            let log = Log::of(&scratch, &name);
            assert!(log.all() == lines(1000, 50), "{name}");
            assert!(log.old().iter().all(|name| log.content(name).len() <= limit && name.ends_with(".s")), "{name}");
        }
    }
    // A program that multilog starts still gets the signal for exceeding its file size limit.
    let processor = "!head -c 100000 /dev/zero >big; echo \\$? >../code; cat";
    scratch.shell(&format!("softlimit -f 8192 multilog s4096 n1000 \"{processor}\" ./log <in"));
    assert_eq!(fs::read_to_string(scratch.path().join("code")).unwrap(), "153\n");
}

/// This limit is enough for the original. Our programs must be static ones, as in a release, because a dynamic loader
/// needs more memory.
#[test]
fn little_memory_is_enough_or_said_to_be_too_little() {
    let scratch = Scratch::new();
    let starts = scratch.shell("softlimit -d 250000 multilog </dev/null").code == 0;
    let limits: &[u32] = if starts { &[250_000, 500_000, 1_000_000] } else { &[1_000_000, 2_000_000] };
    scratch.file("in", [vec![b'\n'; 200_000], lines(2000, 50), vec![b'x'; 100_000]].concat());
    for limit in limits {
        let line = format!("softlimit -d {limit} multilog t s1M n1000 ./{limit} <in");
        assert_eq!(scratch.shell(&line), prints(""), "{limit}");
        let all = Log::of(&scratch, &limit.to_string()).all();
        assert_eq!(all.iter().filter(|byte| **byte == b'\n').count(), 202_001);
    }
    // If nothing can be done, multilog writes one line.
    let pattern = "x{900}{900}".repeat(9);
    let outcome = scratch.shell(&format!("softlimit -d {} multilog R '-{pattern}' -** ./log <in", limits[0]));
    let is_one_line = outcome.stderr == "multilog: fatal: out of memory\n" && outcome.code == 111;
    assert!(is_one_line || outcome.code == 0, "{outcome:?}");
}

/// Another process that may write to the directory does this while multilog has the journal mapped.
#[test]
fn a_journal_that_is_truncated_overwritten_or_removed_does_no_harm() {
    for (harm, survives, destroyed) in [
        (": >log/journal", false, true),
        ("echo 12345 >log/journal", false, true),
        ("truncate -s 0 log/journal; truncate -s 270336 log/journal", false, true),
        ("rm log/journal", true, false),
        ("mv log/journal log/moved", true, false),
        ("rm log/journal; mkdir log/journal", true, false),
        ("rm log/journal; ln -s ../outside log/journal", true, false),
    ] {
        let scratch = Scratch::new();
        scratch.file("outside", "outside");
        let log = Log::of(&scratch, "log");
        let mut multilog = Multilog::start(&scratch, "s4096 n1000 ./log");
        multilog.feed("one\nbegun");
        wait_until("it is logged", || log.all() == b"one\n");
        wait_until("it waits", || state_of(multilog.pid()) == Some('S'));
        assert_eq!(scratch.shell(harm), prints(""), "{harm}");
        multilog.feed(" and ended\ntwo\n");
        let begun = if destroyed { "" } else { "begun" };
        let expected = format!("one\n{begun} and ended\ntwo\n");
        wait_until("it goes on", || log.all() == expected.as_bytes());
        let is_journal = || {
            fs::metadata(scratch.path().join("log/journal")).is_ok_and(|file| file.is_file() && file.len() > 200_000)
        };
        wait_until("it has a journal again", || {
            multilog.feed(".\n");
            is_journal()
        });
        assert!(fs::read_to_string(scratch.path().join("outside")).unwrap() == "outside", "{harm}");
        let errors = multilog.end();
        assert_eq!(errors.contains("was destroyed by others, and with it 5 bytes"), destroyed, "{harm}: {errors}");
        assert_eq!(errors.contains("going on without"), !survives, "{harm}: {errors}");
        assert_eq!(errors.contains("multilog: ./log/journal is there again"), !survives, "{harm}: {errors}");
    }
}

/// multilog runs as root here. The log directory is root's, but the journal belongs to another account.
#[test]
fn a_journal_of_another_account_is_not_believed() {
    if !is_root() {
        return skip("a file of another account needs root, to give it away");
    }
    let scratch = Scratch::new();
    let _pipe = killed(&scratch);
    std::os::unix::fs::chown(scratch.path().join("log/journal"), Some(65534), None).unwrap();
    let words = "multilog: warning: renaming ./log/journal to journal.1: it is not mine\n";
    assert_eq!(scratch.shell("echo two | multilog ./log"), fails(0, words));
    assert_eq!(Log::of(&scratch, "log").all(), b"one\ntwo\n");
}

/// The owner of the directory puts back a journal that multilog had given up.
#[test]
fn a_journal_that_was_moved_away_is_none_when_it_comes_back() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let mut multilog = Multilog::start(&scratch, "s4096 n1000 ./log");
    multilog.feed("one\nbegun");
    wait_until("it is logged", || log.all() == b"one\n");
    wait_until("it waits", || state_of(multilog.pid()) == Some('S'));
    assert_eq!(scratch.shell("mv log/journal log/saved"), prints(""));
    multilog.feed(" and ended\n");
    let is_there = || {
        multilog.feed(".\n");
        scratch.path().join("log/journal").exists()
    };
    wait_until("there is another", is_there);
    assert_eq!(scratch.shell("mv log/saved log/journal"), prints(""));
    kill(Pid::from_raw(multilog.pid()), Signal::SIGKILL).unwrap();
    let before = log.all();
    assert_eq!(scratch.shell("echo end | multilog s4096 n1000 ./log").code, 0);
    let after = String::from_utf8(log.all()).unwrap();
    assert_eq!(after.matches("begun").count(), 1, "{after}");
    assert!(after.starts_with(std::str::from_utf8(&before).unwrap()) && after.ends_with("end\n"), "{after}");
}
