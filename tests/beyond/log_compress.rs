//! Compression of old files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use tests::{Log, Multilog, Scratch, fails, has, is_root, lines, parent_of, prints, skip, state_of, wait_until};

#[test]
fn finished_files_are_compressed_and_count_as_before() {
    for (format, suffix) in [("zzstd", ".s.zst"), ("zgzip", ".s.gz")] {
        let scratch = Scratch::new();
        let log = Log::of(&scratch, "log");
        let compressed = || log.old().iter().all(|name| name.ends_with(suffix));
        let mut multilog = Multilog::start(&scratch, &format!("s4096 n1000 {format} ./log"));
        multilog.feed(lines(1000, 50));
        wait_until("all is compressed", || compressed() && log.all() == lines(1000, 50));
        let mode = |name: &str| fs::metadata(scratch.path().join("log").join(name)).unwrap().mode() & 0o777;
        assert_eq!((log.old().len() > 15, mode(&log.old()[0])), (true, 0o744));
        assert_eq!(multilog.end(), "");
        // The last logcompress may be about to end.
        let is_other = |name: &&String| !name.starts_with('@') && *name != "compressing.lock";
        assert_eq!(log.names().iter().filter(is_other).count(), 3, "{:?}", log.names());
        // The next multilog keeps fewer files, and removed ones do not come back.
        let mut multilog = Multilog::start(&scratch, &format!("s4096 n4 {format} ./log"));
        multilog.feed(lines(1000, 50));
        wait_until("the last are compressed", || {
            let last = log.content("current");
            lines(1000, 50).ends_with(&last) && !last.is_empty() && compressed() && log.old().len() == 3
        });
        let left = log.all();
        assert_eq!(multilog.end(), "");
        assert!(left.len() > 6_000 && lines(1000, 50).ends_with(&left));
    }
}

#[test]
fn what_is_there_from_before_is_compressed_too() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let mut multilog = Multilog::start(&scratch, "s4096 n1000 ./log");
    multilog.feed(lines(500, 50));
    multilog.end();
    let multilog = Multilog::start(&scratch, "s4096 n1000 zzstd ./log");
    wait_until("all are compressed", || log.old().iter().all(|name| name.ends_with(".zst")));
    assert_eq!(multilog.end(), "");
    assert!(log.all() == lines(500, 50));
}

/// logcompress is stopped in the middle of its work, as on a disk that hangs.
#[test]
fn input_does_not_wait_for_it() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    scratch.script("bin/logcompress", "#!/bin/sh\nexec sleep 1000\n");
    scratch.copy_program(tests::programs().join("multilog"), "bin/multilog");
    let program = scratch.path().join("bin/multilog");
    let mut multilog = Multilog::by(&scratch, &[program.to_str().unwrap()], "s4096 n1000 zzstd ./log");
    multilog.feed(lines(2000, 50));
    wait_until("all is logged", || log.all().len() == 2000 * 50);
    // There is only one logcompress, and no process waits for it.
    let sleepers =
        tests::processes_in(scratch.path()).into_iter().filter(|pid| parent_of(*pid) == Some(multilog.pid()));
    assert_eq!(sleepers.count(), 1);
    assert_eq!(multilog.end(), "");
    assert!(log.all() == lines(2000, 50));
}

#[test]
fn without_the_program_files_stay_as_they_are() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    scratch.copy_program(tests::programs().join("multilog"), "alone");
    let mut multilog = Multilog::by(&scratch, &["/usr/bin/env", "PATH=/bin", "./alone"], "s4096 n1000 zgzip ./log");
    multilog.feed(lines(500, 50));
    multilog.complains("multilog: fatal: unable to run logcompress: file does not exist");
    multilog.end();
    assert!(log.all() == lines(500, 50) && log.old().iter().all(|name| name.ends_with(".s")));
}

#[test]
fn by_hand() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let names = ["a", "b", "c", "d"].map(|letter| format!("@4000000065{:014}.{letter}", 0));
    scratch.file(format!("log/{}", names[0]), "");
    scratch.file(format!("log/{}", names[1]), "second\n");
    // This file was compressed before, and only the original remains to be removed.
    assert_eq!(scratch.run("logcompress zstd log"), prints(""));
    scratch.file(format!("log/{}", names[1]), "second\n");
    scratch.file(format!("log/{}.gz", names[2]), "not touched");
    // Neither of these is an old log file.
    scratch.dir(format!("log/{}", names[3]));
    std::os::unix::fs::symlink("../in", scratch.path().join("log/@400000006500000000000000000")).unwrap();
    scratch.file("log/@short", "x");
    scratch.file("log/compressing", "half of one");
    assert_eq!(scratch.run("logcompress gzip log"), prints(""));
    let expected =
        [format!("{}.zst", names[0]), format!("{}.zst", names[1]), format!("{}.gz", names[2]), names[3].clone()];
    for name in &expected {
        assert!(log.names().contains(name), "{name} in {:?}", log.names());
    }
    assert!(!log.names().contains(&names[1]));
    assert_eq!(log.content(&expected[0]), b"");
    assert_eq!(log.content(&expected[1]), b"second\n");
}

#[test]
fn what_is_wrong_is_said() {
    let scratch = Scratch::new();
    let usage = fails(100, "logcompress: usage: logcompress zstd|gzip dir\n");
    let said = |line: &str| scratch.run(line);
    for line in ["logcompress", "logcompress zstd", "logcompress lzma log", "logcompress zstd log log"] {
        assert_eq!(said(line), usage, "{line}");
    }
    let missing = "logcompress: fatal: unable to open directory nowhere: file does not exist\n";
    assert_eq!(said("logcompress zstd nowhere"), fails(111, missing));
}

#[test]
fn a_file_that_cannot_be_read_does_not_keep_the_others_from_being_compressed() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let names = [1, 2, 3].map(|number| format!("@{number:024}.s"));
    names.iter().for_each(|name| scratch.file(format!("log/{name}"), "line\n"));
    let program = tests::programs().join("logcompress");
    let run = |path: &str, inject: &str| {
        let path = scratch.path().join(path);
        let mut command = scratch.command("strace");
        command.args(["-qq", "-o", "/dev/null", "-P"]).arg(path).args(["-e", inject]).arg(&program);
        scratch.outcome_of(command.args(["gzip", "log"]))
    };
    let failed = run("log/compressing", "inject=write:error=ENOSPC");
    let words = format!("logcompress: fatal: unable to compress log/{}: out of disk space\n", names[0]);
    assert_eq!(failed, fails(111, &words));
    assert_eq!(log.names(), names);
    let failed = run(&format!("log/{}", names[1]), "inject=read:error=EIO");
    let words = format!("logcompress: warning: unable to compress log/{}: input/output error\n", names[1]);
    assert_eq!(failed, fails(111, &words));
    assert_eq!(log.names(), [format!("{}.gz", names[0]), names[1].clone(), format!("{}.gz", names[2])]);
}

/// Users name the service, or its logger, in place of the log directory.
#[test]
fn a_directory_without_logs_is_refused_with_the_one_that_was_meant() {
    let scratch = Scratch::new();
    scratch.dir("web/log");
    let refused = |name: &str, meant: &str| {
        let words = format!("{name} is no log directory: it has neither current nor old files{meant}");
        fails(100, &format!("logcompress: fatal: {words}\n"))
    };
    assert_eq!(scratch.run("logcompress gzip web"), refused("web", ""));
    assert_eq!(scratch.shell("echo line | multilog t ./web/log/main"), prints(""));
    let meant = ": did you mean web/log/main?";
    assert_eq!(scratch.run("logcompress gzip web"), refused("web", meant));
    assert_eq!(scratch.run("logcompress gzip web/log"), refused("web/log", meant));
    assert!(!scratch.path().join("web/compressing.lock").exists());
    assert_eq!(scratch.run("logcompress gzip web/log/main"), prints(""));
    // Old files alone are enough.
    scratch.file("old/@400000000000000000000001.s", "line\n");
    assert_eq!(scratch.run("logcompress gzip old"), prints(""));
    assert!(scratch.path().join("old/@400000000000000000000001.s.gz").exists());
}

#[test]
fn a_directory_of_another_account_is_said_to_be_one() {
    if !is_root() {
        return skip("another account needs root");
    }
    let scratch = Scratch::new();
    assert_eq!(scratch.shell("echo line | multilog t ./log"), prints(""));
    let whose = |what: &str| format!("{what} belongs to root, and this is nobody");
    for (mode, words) in [
        (0o700, format!("unable to open directory log: access denied: {}", whose("it"))),
        (0o755, format!("unable to lock directory log: access denied: {}", whose("its parent directory"))),
    ] {
        scratch.mode("log", mode);
        let outcome = scratch.outcome_of(scratch.as_nobody("logcompress").args(["gzip", "log"]));
        assert_eq!(outcome, fails(111, &format!("logcompress: fatal: {words}\n")), "{mode:o}");
    }
}

/// The logcompress that is running does the work of the second one too.
#[test]
fn there_is_one_at_a_time() {
    let scratch = Scratch::new();
    scratch.file(format!("log/@{:024}.s", 4), "line\n");
    scratch.script("hold", "#!/bin/sh\nexec 9>log/compressing.lock; flock 9; echo >held; exec sleep 1000\n");
    let holder = tests::Daemon::start(&mut scratch.command("./hold"), &scratch);
    wait_until("it is locked", || scratch.path().join("held").exists());
    assert_eq!(scratch.run("logcompress zstd log"), prints(""));
    assert!(Log::of(&scratch, "log").old()[0].ends_with(".s"));
    assert!(state_of(holder.pid()).is_some());
}

/// An account that may write to the directory can replace the lock each time logcompress opens it.
#[test]
fn a_lock_that_is_replaced_again_and_again_is_given_up() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    scratch.file("log/@400000000000000100000000.s", "line\n");
    scratch.file("other", "");
    fs::hard_link(scratch.path().join("other"), scratch.path().join("log/compressing.lock")).unwrap();
    scratch.mode("log", 0o777);
    let mut command = scratch.command("strace");
    // Each file that logcompress removes is made again at once.
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=unlinkat,unlink", "-e", "inject=unlinkat,unlink:retval=0"]);
    let outcome = scratch.outcome_of(command.arg(tests::programs().join("logcompress")).args(["gzip", "log"]));
    let words = "logcompress: fatal: unable to lock directory log: temporary failure: its lock is replaced \
        again and again\n";
    assert_eq!(outcome, fails(111, words));
    assert_eq!(Log::of(&scratch, "log").old().len(), 1);
}

/// Every account that may read a directory may lock it, and the directory's owner may put a sparse file there.
#[test]
fn neither_a_lock_of_another_account_nor_a_hole_keeps_it_from_its_work() {
    let scratch = Scratch::new();
    let [old, hole] = ["@400000000000000100000000.s", "@400000000000000200000000.s"];
    scratch.file(format!("log/{old}"), "old\n");
    scratch.file(format!("log/{hole}"), "");
    let path = scratch.path().join("log").join(hole);
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(1 << 42).unwrap();
    let directory = fs::File::open(scratch.path().join("log")).unwrap();
    let _lock = nix::fcntl::Flock::lock(directory, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let words = format!("logcompress: warning: unable to compress log/{hole}: file too big\n");
    assert_eq!(scratch.run("logcompress zstd log"), fails(111, &words));
    assert!(scratch.path().join("log").join(format!("{old}.zst")).exists());
    assert!(path.exists());
}

/// The compressed file of a logcompress that was killed is as good as one of its own. Any other file of that name is no
/// copy, and the old file stays.
#[test]
fn an_old_file_goes_only_where_its_compressed_file_has_every_byte_of_it() {
    const OLD: &str = "log/@400000006400000000000000.s";
    let table = [
        ("zstd -q -c $f >$f.zst", true),
        ("gzip -c $f >$f.gz", true),
        ("mkdir $f.zst", false),
        ("mkdir $f.gz; echo >$f.gz/x", false),
        (": >$f.zst", false),
        (": >$f.gz", false),
        ("zstd -q -c $f | head -c 100 >$f.zst", false),
        ("gzip -c $f | head -c 100 >$f.gz", false),
        ("head -c 5000 $f | zstd -q -c >$f.zst", false),
        ("(cat $f; echo more) | gzip -c >$f.gz", false),
        ("sed s/./X/ $f | zstd -q -c >$f.zst", false),
        ("mkfifo $f.zst", false),
        ("ln -s /dev/null $f.gz", false),
        ("zstd -q -c $f >copy; ln -s ../copy $f.zst", false),
    ];
    if !has("zstd") || !has("gzip") {
        return;
    }
    for (make, goes) in table {
        for format in ["zstd", "gzip"] {
            let scratch = Scratch::new();
            scratch.file(OLD, lines(200, 50));
            scratch.file("log/@400000006500000000000000.s", "next\n");
            assert_eq!(scratch.shell(&format!("f={OLD}; {make}")).code, 0, "{make}");
            let outcome = scratch.run(&format!("logcompress {format} log"));
            let is_there = scratch.path().join(OLD).exists();
            assert_eq!((outcome.code, is_there), (if goes { 0 } else { 111 }, !goes), "{make}: {outcome:?}");
            if is_there {
                assert_eq!(fs::read(scratch.path().join(OLD)).unwrap(), lines(200, 50), "{make}");
                assert!(outcome.stderr.ends_with(": file already exists\n"), "{make}: {outcome:?}");
            }
            assert!(
                !scratch.path().join("log/@400000006500000000000000.s").exists(),
                "the others are compressed: {make}"
            );
        }
    }
}
