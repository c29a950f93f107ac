//! The log directory may belong to another account. Whatever that account puts there, multilog does not hang, and
//! touches nothing outside.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use tests::{Log, Multilog, Running, Scratch, fails, has, is_root, lines, prints, skip, wait_until};

const NOBODY: u32 = 65534;

/// What the owner puts in place of a file, as a shell command with the file's path.
const HARMS: [&str; 9] = [
    "mkfifo $f",
    "mkfifo -m 744 $f",
    "ln -s ../outside $f",
    "ln -s /dev/zero $f",
    "ln -s ../missing $f",
    "mkdir $f",
    "mkdir $f; echo >$f/file",
    "ln outside $f",
    "ln finished $f",
];

const OLD: &str = "@400000006500000000000000.s";

fn untouched(scratch: &Scratch, harm: &str) {
    let outside = scratch.path().join("outside");
    let metadata = fs::metadata(&outside).unwrap();
    assert_eq!((fs::read(&outside).unwrap(), metadata.mode() & 0o7777), (b"outside\n".to_vec(), 0o600), "{harm}");
    assert_eq!(fs::read(scratch.path().join("finished")).unwrap(), b"finished\n", "{harm}");
    assert_eq!(fs::metadata(scratch.path().join("finished")).unwrap().mode() & 0o7777, 0o744, "{harm}");
    assert!(!scratch.path().join("missing").exists(), "{harm}");
}

/// The files outside, which must not be touched.
fn outside(scratch: &Scratch) {
    scratch.file("outside", "outside\n");
    scratch.mode("outside", 0o600);
    // This file looks like a finished log file.
    scratch.file("finished", "finished\n");
    scratch.mode("finished", 0o744);
}

#[test]
fn multilog_writes_and_reads_nothing_but_files_of_its_own() {
    let device = is_root().then_some("mknod $f c 1 7");
    for name in ["current", "lock", "state", "newstate", "previous", "processed", "journal", OLD, "current.1"] {
        for harm in HARMS.into_iter().chain(device) {
            let scratch = Scratch::new();
            outside(&scratch);
            scratch.dir("log");
            let harm = format!("f=log/{name}; {harm}");
            assert_eq!(scratch.shell(&harm).code, 0, "{harm}");
            scratch.file("in", lines(400, 50));
            let outcome = scratch.shell("multilog s4096 n3 a1000d b1M '!cat <&4 >/dev/null; echo >&5; cat' ./log <in");
            untouched(&scratch, &harm);
            let refused = (name == "current" || name == "lock") && outcome.code == 111;
            assert!(refused || outcome.code == 0, "{harm}: {outcome:?}");
            if !refused {
                assert!(lines(400, 50).ends_with(&Log::of(&scratch, "log").content("current")), "{harm}");
                assert_eq!(
                    Log::of(&scratch, "log").names().iter().filter(|name| **name == "previous").count(),
                    0,
                    "{harm}"
                );
            }
        }
    }
}

/// The owner does this while multilog runs, before it begins the next file.
#[test]
fn multilog_goes_on_whatever_is_put_there_while_it_runs() {
    for name in ["state", "newstate", "previous", "processed", "journal", OLD, "current", "lock"] {
        for harm in HARMS {
            let scratch = Scratch::new();
            outside(&scratch);
            let log = Log::of(&scratch, "log");
            let mut multilog = tests::Multilog::start(&scratch, "s4096 n1000 !cat ./log");
            multilog.feed("before\n");
            wait_until("it is logged", || log.all() == b"before\n");
            let harm = format!("f=log/{name}; rm -f $f; {harm}");
            assert_eq!(scratch.shell(&harm).code, 0, "{harm}");
            multilog.feed(lines(400, 50));
            multilog.end();
            untouched(&scratch, &harm);
            let old = log.old().into_iter().filter(|file| file != OLD);
            let all: Vec<u8> = old.chain(["current".into()]).flat_map(|name| log.content(&name)).collect();
            assert!(all.ends_with(&lines(400, 50)), "{harm}: {}", all.len());
        }
    }
}

#[test]
fn logcompress_writes_and_reads_nothing_but_files_of_its_own() {
    for format in ["zstd", "gzip"] {
        for name in ["compressing", OLD, "current"] {
            for harm in HARMS {
                let scratch = Scratch::new();
                outside(&scratch);
                scratch.file("log/@400000006400000000000000.s", "old\n");
                let harm = format!("f=log/{name}; {harm}");
                assert_eq!(scratch.shell(&harm).code, 0, "{harm}");
                let outcome = scratch.run(&format!("logcompress {format} log"));
                untouched(&scratch, &harm);
                let is_blocked = name == "compressing" && harm.contains("mkdir");
                assert_eq!(outcome.code, if is_blocked { 111 } else { 0 }, "{harm}: {outcome:?}");
                let log = Log::of(&scratch, "log");
                assert_eq!(log.content(&log.old()[0]), b"old\n", "{harm}");
                let mode = fs::metadata(scratch.path().join("log").join(&log.old()[0])).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o644, "{harm}");
            }
        }
    }
}

/// Such a file was made immutable, for example, or lies in another account's directory with the sticky bit.
#[test]
fn an_old_file_that_cannot_be_removed_is_said_once_and_stops_nothing() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path().join("log").join(OLD);
    scratch.file(&path, "old\n");
    let program = tests::programs().join("multilog");
    let inject = ["strace", "-qq", "-o", "/dev/null", "-P", OLD, "-e", "inject=unlinkat:error=EPERM"];
    let words = [&inject[..], &[program.to_str().unwrap()]].concat();
    let mut multilog = tests::Multilog::by(&scratch, &words, "s4096 n3 ./log");
    multilog.feed(lines(1000, 50));
    let said = multilog.end();
    assert_eq!(said, format!("multilog: warning: unable to remove ./log/{OLD}: permission denied\n"));
    assert!(lines(1000, 50).ends_with(&Log::of(&scratch, "log").content("current")) && path.exists());
}

/// Between the old `current` and the new one, the owner of the directory gives its name to another account's file.
#[test]
fn multilog_writes_into_no_file_that_is_linked_in_between_two_files() {
    if !has("strace") {
        return skip("strace is not installed");
    }
    let scratch = Scratch::new();
    outside(&scratch);
    let log = Log::of(&scratch, "log");
    let program = tests::programs().join("multilog");
    let slow = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=renameat,renameat2:delay_exit=300000"];
    let words = [&slow[..], &[program.to_str().unwrap()]].concat();
    let mut multilog = tests::Multilog::by(&scratch, &words, "s4096 n9 ./log");
    wait_until("it has begun", || log.names().contains(&"current".into()));
    let between = "until ln outside log/current 2>/dev/null; do :; done";
    let linker = Running(scratch.command("sh").args(["-c", between]).spawn().unwrap());
    multilog.feed(lines(100, 50));
    wait_until("it is linked in", || fs::metadata(scratch.path().join("outside")).unwrap().nlink() > 1);
    drop(linker);
    let said = multilog.end();
    untouched(&scratch, "ln outside");
    assert_eq!(log.all(), lines(100, 50));
    assert!(said.contains("it is not mine"), "{said}");
}

/// The owner of the directory makes `lock` a second name of another program's lock. If root's multilog locked it, that
/// program could not.
#[test]
fn no_lock_of_something_else_is_locked_by_multilog() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    let scratch = Scratch::new();
    scratch.file("other", "");
    scratch.dir("log");
    chown(scratch.path().join("log"), Some(NOBODY), None).unwrap();
    assert_eq!(scratch.shell("ln other log/lock; ln other log/compressing.lock").code, 0);
    let log = Log::of(&scratch, "log");
    let mut multilog = tests::Multilog::start(&scratch, "zzstd ./log");
    multilog.feed("line\n");
    wait_until("it is logged", || log.all() == b"line\n");
    assert_eq!(scratch.run("setlock -n other true"), prints(""));
    assert_eq!(multilog.end(), "multilog: warning: ./log/lock was another file as well: replaced\n");
    assert!(fs::metadata(scratch.path().join("other")).unwrap().is_file());
}

/// This holds for multilog itself, and for the files that a processor of root's is given to read and write.
#[test]
fn no_file_of_another_account_is_processed_compressed_or_given_another_mode() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    for processor in [
        "cat; rm newstate; ln ../outside newstate",
        "cat; rm processed; ln ../outside processed",
        "cat; rm state; ln ../outside state",
        "cat; cat <&4",
    ] {
        let scratch = Scratch::new();
        outside(&scratch);
        scratch.dir("log");
        chown(scratch.path().join("log"), Some(NOBODY), None).unwrap();
        scratch.mode("log", 0o755);
        assert_eq!(scratch.shell("ln outside log/state; ln outside log/@400000006400000000000000.s").code, 0);
        let outcome = scratch.run("logcompress gzip log");
        assert!(outcome.stderr.ends_with(": too many links\n"), "{outcome:?}");
        let mut command = scratch.command("multilog");
        command.args(["s4096", "n1000", &format!("!{processor}"), "./log"]);
        scratch.file("in", lines(400, 50));
        command.stdin(fs::File::open(scratch.path().join("in")).unwrap());
        assert_eq!(scratch.outcome_of(&mut command).code, 0, "{processor}");
        untouched(&scratch, processor);
        let log = Log::of(&scratch, "log");
        let has_it = |name: &&String| {
            *name != "@400000006400000000000000.s" && !name.contains('.')
                || name.starts_with('@') && !name.starts_with("@400000006400000000000000")
        };
        for name in log.names().iter().filter(has_it) {
            let bytes = fs::read(scratch.path().join("log").join(name)).unwrap();
            assert!(!bytes.windows(7).any(|window| window == b"outside"), "{processor}: {name}");
        }
        assert!(!scratch.path().join("log/@400000006400000000000000.s.gz").exists(), "{processor}");
    }
}

/// The status file lies in the log directory, whose owner has put something else in its place.
#[test]
fn no_file_of_another_account_is_written_to_as_a_status_file() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    for harm in ["ln -s ../outside $f", "ln -s ../missing $f", "ln outside $f", "ln -s /dev/zero $f"] {
        let scratch = Scratch::new();
        outside(&scratch);
        scratch.dir("log");
        chown(scratch.path().join("log"), Some(NOBODY), None).unwrap();
        let mut multilog = tests::Multilog::start(&scratch, "./log =./log/status");
        wait_until("it has begun", || scratch.path().join("log/status").exists());
        let harm = format!("f=log/status; rm -f $f; {harm}");
        assert_eq!(scratch.shell(&harm).code, 0, "{harm}");
        multilog.feed("line\n");
        let said = multilog.end();
        assert!(said.starts_with("multilog: warning: unable to write to ./log/status: "), "{harm}: {said}");
        untouched(&scratch, &harm);
        assert_eq!(Log::of(&scratch, "log").all(), b"line\n", "{harm}");
        assert_eq!(scratch.shell("echo line | multilog ./log =./log/status").code, 111, "{harm}");
        untouched(&scratch, &harm);
    }
}

/// The owner of the directory that contains the log directory or the status file can put a link in its place.
#[test]
fn no_link_of_another_account_leads_multilog_into_another_directory() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    let link = |scratch: &Scratch, name: &str| {
        let link = scratch.path().join(name);
        symlink("../ours", &link).unwrap();
        lchown(&link, Some(NOBODY), None).unwrap();
    };
    let begun = || {
        let scratch = Scratch::new();
        scratch.dir("theirs");
        scratch.dir("ours");
        scratch.file("ours/kept", "kept\n");
        chown(scratch.path().join("theirs"), Some(NOBODY), None).unwrap();
        scratch
    };
    let names = |scratch: &Scratch| Log::of(scratch, "ours").names();
    // The owner of a directory can give a link of root's a second name there, if the kernel allows it.
    let second_name = |scratch: &Scratch, name: &str| {
        symlink("../ours", scratch.path().join("roots")).unwrap();
        fs::hard_link(scratch.path().join("roots"), scratch.path().join(name)).unwrap();
    };
    // The link is there when multilog starts.
    let actions = ["./theirs/link", "./theirs/link/log", "=theirs/link/new", "=theirs/link/kept"];
    for (action, is_roots) in actions.into_iter().flat_map(|action| [(action, false), (action, true)]) {
        let scratch = begun();
        if is_roots {
            second_name(&scratch, "theirs/link")
        } else {
            link(&scratch, "theirs/link")
        }
        let outcome = scratch.shell(&format!("echo line | multilog {action}"));
        assert_eq!(outcome.code, 111, "{action}: {outcome:?}");
        let why = ": a link in its path belongs to another account\n";
        assert!(outcome.stderr.ends_with(why), "{action}: {outcome:?}");
        assert_eq!(
            (names(&scratch), Log::of(&scratch, "ours").content("kept")),
            (vec!["kept".into()], b"kept\n".to_vec())
        );
    }
    // The link is made while multilog runs.
    let scratch = begun();
    let mut multilog = tests::Multilog::start(&scratch, "./theirs/log");
    multilog.feed("before\n");
    wait_until("it is logged", || Log::of(&scratch, "theirs/log").all() == b"before\n");
    fs::rename(scratch.path().join("theirs/log"), scratch.path().join("theirs/moved")).unwrap();
    link(&scratch, "theirs/log");
    let mut expected = b"before\n".to_vec();
    wait_until("it looks where the name leads", || {
        multilog.feed("after\n");
        expected.extend(b"after\n");
        std::thread::yield_now();
        multilog.errors().contains("it goes on in the directory that was moved away")
    });
    multilog.end();
    assert_eq!(names(&scratch), ["kept"]);
    assert!(Log::of(&scratch, "theirs/moved").all() == expected);
    let outcome = scratch.shell("logcompress gzip theirs/log");
    assert_eq!((outcome.code, names(&scratch)), (111, vec!["kept".into()]), "{outcome:?}");
}

#[test]
fn no_link_that_another_account_can_move_leads_multilog_into_another_directory() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    let begun = |action: &str| {
        let scratch = Scratch::new();
        for name in ["home", "home/a", "home/a/b", "home/log", "home/logs", "home/logs/web"] {
            scratch.dir(name);
            chown(scratch.path().join(name), Some(NOBODY), None).unwrap();
        }
        scratch.dir("logs");
        scratch.dir("logs/web");
        symlink("../../logs/web", scratch.path().join("home/a/b/web")).unwrap();
        symlink("../../logs/web", scratch.path().join("home/log/roots")).unwrap();
        let outcome = scratch.shell(&format!("echo line | multilog {action}"));
        (scratch, outcome)
    };
    // Root's link leads to a directory of the account that can move it.
    let (scratch, outcome) = begun("./home/a/b/web");
    assert_eq!((outcome.code, Log::of(&scratch, "home/logs/web").all()), (0, b"line\n".to_vec()), "{outcome:?}");
    // From elsewhere it leads to a directory of root's. The owner has moved it, or a directory above it.
    let why = ": a link in its path lies where another account can move it\n";
    for action in ["./home/log/roots", "./home/log/roots/log", "=home/log/roots/new"] {
        let (scratch, outcome) = begun(action);
        let is_said = outcome.stderr.ends_with(why);
        assert_eq!((outcome.code, is_said, Log::of(&scratch, "logs/web").names()), (111, true, vec![]), "{outcome:?}");
    }
}

/// The links by which administrators place logs on another disk.
#[test]
fn links_that_only_root_or_the_account_itself_can_move_are_followed() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    let scratch = Scratch::new();
    for name in ["service", "etc", "etc/web", "etc/web/log", "var", "var/roots", "var/theirs"] {
        scratch.dir(name);
    }
    chown(scratch.path().join("var/theirs"), Some(NOBODY), Some(NOBODY)).unwrap();
    symlink("../etc/web", scratch.path().join("service/web")).unwrap();
    symlink(scratch.path().join("var/roots"), scratch.path().join("etc/web/log/main")).unwrap();
    symlink("../../../var/theirs", scratch.path().join("etc/web/log/theirs")).unwrap();
    // An account with a group for itself, whose directories are writable for that group.
    scratch.dir("etc/web/log/own");
    scratch.mode("etc/web/log/own", 0o775);
    chown(scratch.path().join("etc/web/log/own"), Some(NOBODY), Some(NOBODY)).unwrap();
    symlink("../theirs", scratch.path().join("etc/web/log/own/link")).unwrap();
    for (run, log) in [
        ("multilog ./main", "var/roots"),
        ("multilog ./theirs", "var/theirs"),
        ("multilog ./own/link", "var/theirs"),
        ("setpriv --reuid 65534 --regid 65534 --clear-groups multilog ./own/link", "var/theirs"),
    ] {
        let outcome = scratch.shell(&format!("cd service/web/log && echo line | {run}"));
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{run}");
        assert_eq!(Log::of(&scratch, log).all(), b"line\n", "{run}");
        assert_eq!(scratch.shell(&format!("rm -f {log}/*")).code, 0);
    }
}

/// A hole costs the owner of the directory nothing. A processor that copies it would run for hours, and fill the disk.
#[test]
fn a_hole_is_not_given_to_a_processor() {
    let scratch = Scratch::new();
    scratch.file("log/current", "");
    scratch.mode("log/current", 0o744);
    for name in ["previous", "state"] {
        fs::File::create(scratch.path().join("log").join(name)).unwrap().set_len(1 << 40).unwrap();
    }
    scratch.mode("log/previous", 0o744);
    scratch.file("in", lines(50, 50));
    let outcome = scratch.shell("multilog s4096 '!head -c 1 <&4; cat >&5; echo' ./log <in");
    let renamed = |name| format!("multilog: warning: renaming ./log/{name} to {name}.1: it is not mine\n");
    assert_eq!(outcome, fails(0, &[renamed("previous"), renamed("state")].concat()));
    let log = Log::of(&scratch, "log");
    assert_eq!(log.old().len(), 1);
    assert_eq!((log.content(&log.old()[0]), log.content("state").len()), (b"\n".to_vec(), 2100));
    for name in ["previous.1", "state.1"] {
        assert_eq!(fs::metadata(scratch.path().join("log").join(name)).unwrap().len(), 1 << 40);
    }
}

/// The owner waits until multilog has looked at the file, and exchanges it then.
#[test]
fn a_file_that_is_exchanged_before_the_processor_has_it_is_not_processed() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    outside(&scratch);
    scratch.dir("log");
    chown(scratch.path().join("log"), Some(NOBODY), None).unwrap();
    scratch.mode("log", 0o755);
    let log = Log::of(&scratch, "log");
    let program = tests::programs().join("multilog");
    // The processor's process closes the locks first of all.
    let delay = ["-f", "-e", "trace=close", "-e", "inject=close:delay_enter=1000000:when=1"];
    let words = [&["strace", "-qq", "-o", "/dev/null"], &delay[..], &[program.to_str().unwrap()]].concat();
    let mut multilog = Multilog::by(&scratch, &words, "s4096 n1000 !cat ./log");
    wait_until("it runs", || log.names().contains(&"current".to_string()));
    multilog.feed(lines(100, 50));
    let children = format!("/proc/{0}/task/{0}/children", multilog.pid());
    wait_until("the processor's process is there", || fs::read(&children).is_ok_and(|pids| !pids.is_empty()));
    let previous = scratch.path().join("log/previous");
    fs::rename(&previous, scratch.path().join("kept")).unwrap();
    fs::hard_link(scratch.path().join("outside"), &previous).unwrap();
    let errors = multilog.end();
    assert!(errors.contains("multilog: fatal: unable to open ./log/previous: too many links"), "{errors}");
    assert!(errors.contains("renaming ./log/previous to previous.1: it is not mine"), "{errors}");
    untouched(&scratch, "previous is exchanged");
    for name in log.names().iter().filter(|name| *name != "previous.1") {
        let bytes = fs::read(scratch.path().join("log").join(name)).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"outside"), "{name}");
    }
}
