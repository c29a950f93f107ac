//! Another program removes, moves or replaces the files of a running multilog.

use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::Duration;
use tests::{Log, Multilog, Scratch, has, lines, prints, wait_until};

/// Feeds lines one by one until the condition holds, and returns how many there were.
fn feed_until(multilog: &mut Multilog, from: usize, mut condition: impl FnMut() -> bool) -> usize {
    let mut number = from;
    wait_until("it goes on elsewhere", || {
        multilog.feed(format!("{number:09}\n"));
        number += 1;
        std::thread::yield_now();
        condition()
    });
    number
}

fn numbered(count: usize) -> Vec<u8> {
    lines(count, 10)
}

/// A multilog that has logged a first line.
fn begun(scratch: &Scratch) -> (Log, Multilog<'_>) {
    let log = Log::of(scratch, "log");
    let mut multilog = Multilog::start(scratch, "s1M ./log");
    multilog.feed("before\n");
    wait_until("it is logged", || log.all() == b"before\n");
    (log, multilog)
}

/// Whether these are all numbered lines. The lines before the removal are gone with the file, unless multilog had no
/// time to notice.
fn is_all(logged: &[u8], count: usize, is_kept: bool) -> bool {
    let rest = logged.strip_prefix(b"before\n");
    if is_kept { rest == Some(&numbered(count)[..]) } else { rest.unwrap_or(logged) == numbered(count) }
}

#[test]
fn a_current_that_is_removed_or_moved_away_is_begun_anew_and_no_line_is_lost() {
    for (harm, word, moved) in [
        ("rm log/current", "was removed", None),
        ("mv log/current log/current.1", "was moved away", Some("log/current.1")),
        ("mv log/current elsewhere; : >log/current", "was replaced", Some("elsewhere")),
        ("mv log/current elsewhere; mkdir log/current", "was replaced", Some("elsewhere")),
        ("mv log/current elsewhere; ln -s ../outside log/current", "was replaced", Some("elsewhere")),
        ("mv log/current elsewhere; mkfifo log/current", "was replaced", Some("elsewhere")),
    ] {
        let scratch = Scratch::new();
        scratch.file("outside", "outside");
        let (log, mut multilog) = begun(&scratch);
        assert_eq!(scratch.shell(harm), prints(""), "{harm}");
        let is_file = || {
            fs::symlink_metadata(scratch.path().join("log/current")).is_ok_and(|file| file.is_file() && file.len() > 0)
        };
        let count = feed_until(&mut multilog, 0, is_file);
        let errors = multilog.end();
        assert_eq!(errors.matches(&format!("./log/current {word}: going on with a new one")).count(), 1, "{errors}");
        let kept = moved.map(|name| fs::read(scratch.path().join(name)).unwrap()).unwrap_or_default();
        let all = [kept, log.content("current")].concat();
        assert!(is_all(&all, count, moved.is_some()), "{harm}: {}", String::from_utf8_lossy(&all));
        assert_eq!(fs::read(scratch.path().join("outside")).unwrap(), b"outside");
        if let Some(name) = moved {
            let mode = fs::metadata(scratch.path().join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o744, "it is complete");
        }
    }
}

fn has_read_all(pid: i32) -> bool {
    let pipe = File::open(format!("/proc/{pid}/fd/0")).unwrap();
    poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(0)
}

fn is_at_rest(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") S "))
}

/// Lines that were written to a removed file would be lost when multilog is killed, unless it has noticed the removal.
#[test]
fn a_multilog_that_is_killed_just_after_current_was_removed_loses_no_line() {
    for (script, harm) in [("s1M ./log", "rm log/current"), ("t s1M ./log", "rm log/current"), ("./log", "rm -rf log")]
    {
        for count in [1, 2, 100] {
            let scratch = Scratch::new();
            let log = Log::of(&scratch, "log");
            let mut multilog = Multilog::start(&scratch, script);
            multilog.feed("before\n");
            wait_until("it is logged", || log.all().ends_with(b"before\n"));
            assert_eq!(scratch.shell(harm), prints(""), "{harm}");
            for number in 0..count {
                multilog.feed(format!("{number:09}\n"));
            }
            let pid = multilog.pid();
            wait_until("it has read all and is at rest", || has_read_all(pid) && is_at_rest(pid));
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
            assert!(multilog.errors().contains("was removed: going on"), "{}", multilog.errors());
            drop(multilog);
            assert_eq!(scratch.run(&format!("multilog {script}")), prints(""));
            let all = String::from_utf8(log.all()).unwrap();
            let logged: Vec<&str> = all.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
            let expected: Vec<String> = (0..count).map(|number| format!("{number:09}")).collect();
            let rest = logged.strip_prefix(&["before"][..]).unwrap_or(&logged);
            assert_eq!(rest, expected, "{script}, {harm}");
        }
    }
}

#[test]
fn a_rotation_does_not_wait_for_what_was_removed() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let mut multilog = Multilog::start(&scratch, "s4096 n1000 !cat ./log");
    multilog.feed(lines(30, 50));
    wait_until("it is logged", || log.all() == lines(30, 50));
    assert_eq!(scratch.shell("rm -f log/*"), prints(""));
    // These lines are more than fit into one file and into one read.
    multilog.feed(lines(1000, 50));
    assert!(multilog.end().contains("./log/current was removed"));
    let all = log.all();
    assert!(all.ends_with(&lines(1000, 50)) && lines(30, 50).len() + 50_000 >= all.len(), "{}", all.len());
    assert!(log.names().contains(&"lock".into()), "it is locked again");
}

#[test]
fn a_directory_that_is_removed_moved_away_or_replaced_is_made_anew() {
    for (harm, word, moved) in [
        ("rm -rf log", "was removed", false),
        ("mv log moved", "was moved away or replaced", true),
        ("mv log moved; mkdir log; echo old >log/current; chmod 744 log/current", "was moved away or replaced", true),
    ] {
        let scratch = Scratch::new();
        let (log, mut multilog) = begun(&scratch);
        assert_eq!(scratch.shell(harm), prints(""), "{harm}");
        let is_there = || log.content("current").len() > 4 && log.names().contains(&"journal".into());
        let count = feed_until(&mut multilog, 0, is_there);
        assert_eq!(scratch.run("multilog ./log").code, 111, "it is locked");
        // multilog is killed, and the next one continues in the new directory.
        kill(Pid::from_raw(multilog.pid()), Signal::SIGKILL).unwrap();
        wait_until("it says so", || {
            multilog.errors().contains(&format!("./log {word}: going on in the one that is there now"))
        });
        drop(multilog);
        assert_eq!(scratch.run("multilog ./log"), prints(""));
        let old = if harm.contains("echo") { "old\n" } else { "" };
        let kept = if moved { Log::of(&scratch, "moved").all() } else { Vec::new() };
        let new = log.content("current").strip_prefix(old.as_bytes()).unwrap().to_vec();
        assert!(is_all(&[kept, new].concat(), count, moved), "{harm}");
        assert!(log.old().is_empty());
        assert!(!moved || !Log::of(&scratch, "moved").names().contains(&"journal".into()), "the log has moved too");
    }
}

/// multilog cannot write the lines anywhere, and says so.
#[test]
fn without_a_place_lines_wait_until_there_is_one() {
    let scratch = Scratch::new();
    scratch.dir("parent");
    let mut multilog = Multilog::start(&scratch, "s1M ./parent/log");
    multilog.feed("before\n");
    let log = Log::of(&scratch, "parent/log");
    wait_until("it is logged", || log.all() == b"before\n");
    fs::remove_dir_all(scratch.path().join("parent")).unwrap();
    let waits = "unable to open directory ./parent/log, pausing: file does not exist\n";
    let mut count = 0;
    wait_until("it waits", || {
        if !multilog.errors().contains(waits) && count < 6000 {
            multilog.feed(format!("{count:09}\n"));
            count += 1;
        }
        multilog.errors().contains(waits)
    });
    scratch.dir("parent");
    wait_until("all is logged", || is_all(&log.all(), count, false));
    let errors = multilog.end();
    assert_eq!(errors.matches("unable to").count(), 1, "{errors}");
    assert!(errors.contains("multilog: able to open directory ./parent/log again after "), "{errors}");
    let waits_without_directory = || {
        let mut multilog = Multilog::start(&scratch, "s1M ./parent/log");
        multilog.feed("line\n");
        wait_until("it has begun", || log.content("current").ends_with(b"line\n"));
        fs::remove_dir_all(scratch.path().join("parent")).unwrap();
        wait_until("it waits", || {
            if !multilog.errors().contains(waits) {
                multilog.feed("line\n");
            }
            multilog.errors().contains(waits)
        });
        multilog
    };
    // multilog is told to end, obeys, and says which lines are lost.
    let multilog = waits_without_directory();
    assert!(multilog.terminate().contains("losing "));
    // The same happens when the directory is no longer writable.
    scratch.dir("parent");
    let multilog = waits_without_directory();
    assert!(multilog.end().contains("losing "));
}

/// multilog writes to the directory as long as it exists, under any name.
#[test]
fn a_directory_that_was_moved_away_is_better_than_none() {
    let scratch = Scratch::new();
    scratch.dir("parent");
    let mut multilog = Multilog::start(&scratch, "s1M ./parent/log");
    multilog.feed("before\n");
    wait_until("it is logged", || Log::of(&scratch, "parent/log").all() == b"before\n");
    assert_eq!(scratch.shell("mv parent moved"), prints(""));
    let count = {
        let mut count = 0;
        wait_until("it says so", || {
            multilog.feed(format!("{count:09}\n"));
            count += 1;
            multilog.errors().contains("it goes on in the directory that was moved away")
        });
        count
    };
    wait_until("all is there", || {
        Log::of(&scratch, "moved/log").all() == [b"before\n".to_vec(), numbered(count)].concat()
    });
    assert_eq!(multilog.end().matches("unable to").count(), 1);
}

#[test]
fn a_lock_that_another_took_is_waited_for() {
    let scratch = Scratch::new();
    let mut multilog = Multilog::start(&scratch, "s1M ./log");
    multilog.feed("before\n");
    let log = Log::of(&scratch, "log");
    wait_until("it is logged", || log.all() == b"before\n");
    let lock = scratch.path().join("log/lock");
    fs::remove_file(&lock).unwrap();
    let other = Flock::lock(File::create(&lock).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
    let waits = "unable to lock directory ./log, pausing: it is another's now";
    let mut count = 0;
    wait_until("it waits", || {
        if !multilog.errors().contains(waits) {
            multilog.feed(format!("{count:09}\n"));
            count += 1;
        }
        multilog.errors().contains(waits)
    });
    drop(other);
    // multilog may have written all lines before it looked at the lock.
    wait_until("it goes on", || multilog.errors().contains("multilog: able to lock directory ./log again after "));
    wait_until("it is logged", || log.all() == [b"before\n".to_vec(), numbered(count)].concat());
    multilog.end();
}

/// logrotate's `copytruncate` truncates a file this way.
#[test]
fn a_current_that_is_truncated_is_written_on() {
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let mut multilog = Multilog::start(&scratch, "s4096 n1000 ./log");
    multilog.feed(lines(30, 50));
    wait_until("it is logged", || log.all() == lines(30, 50));
    scratch.file("log/current", "");
    multilog.feed(lines(500, 50));
    assert_eq!(multilog.end(), "");
    assert!(log.all() == lines(500, 50));
}

/// multilog looks once a second. The lines that it has written since the last look are in the removed file too.
#[test]
fn what_was_written_since_the_last_look_is_written_again_before_it_ends() {
    for harm in ["rm log/current", "rm -r log"] {
        let scratch = Scratch::new();
        let (log, mut multilog) = begun(&scratch);
        assert_eq!(scratch.shell(harm), prints(""), "{harm}");
        multilog.feed("after\n");
        multilog.end();
        assert!(log.all().ends_with(b"after\n"), "{harm}: {}", String::from_utf8_lossy(&log.all()));
    }
}

/// This also holds if no further line comes.
#[test]
fn a_removal_is_noticed_though_nothing_comes_after_it() {
    let scratch = Scratch::new();
    let (log, mut multilog) = begun(&scratch);
    assert_eq!(scratch.shell("rm log/current"), prints(""));
    multilog.feed("after\n");
    wait_until("it is in a log that is there", || log.all().ends_with(b"after\n"));
    multilog.end();
}

/// On such a file system, a file's number may change by itself. Only a missing file is a reason to begin a new one.
#[test]
fn where_numbers_say_nothing_another_one_is_no_reason_to_begin_a_new_file() {
    if !has("strace") {
        return;
    }
    // The types that statfs(2) reports for 9P, SMB and the shared folders of Parallels.
    for kind in [0x0102_1997_u64, 0xfe53_4d42, 0x7c7c_6673] {
        let scratch = Scratch::new();
        let log = Log::of(&scratch, "log");
        let program = tests::programs().join("multilog");
        let kind: String = kind.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let told = format!("inject=fstatfs:poke_exit=@arg2={kind}");
        let words = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=fstatfs", "-e", &told, program.to_str().unwrap()];
        let mut multilog = Multilog::by(&scratch, &words, "./log");
        multilog.feed("one\n");
        wait_until("it is logged", || log.content("current") == b"one\n");
        fs::rename(scratch.path().join("log/current"), scratch.path().join("log/kept")).unwrap();
        scratch.file("log/current", "");
        // multilog looks at least once in this time.
        sleep(Duration::from_millis(1200));
        for line in ["two\n", "three\n"] {
            multilog.feed(line);
            sleep(Duration::from_millis(1200));
        }
        assert_eq!((multilog.errors(), log.content("kept")), (String::new(), b"one\ntwo\nthree\n".to_vec()), "{kind}");
        fs::remove_file(scratch.path().join("log/current")).unwrap();
        multilog.feed("four\n");
        wait_until("it goes on in a new file", || {
            log.content("current") == b"four\n" || log.content("kept").ends_with(b"four\n")
        });
        sleep(Duration::from_millis(1200));
        multilog.feed("five\n");
        wait_until("it goes on in a new file", || log.content("current").ends_with(b"five\n"));
        multilog.end();
    }
}
