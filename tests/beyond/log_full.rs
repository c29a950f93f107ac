//! A disk that is full or almost full.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use tests::{Disk, Log, Multilog, Scratch, has, is_root, lines, skip, wait_until};

#[test]
fn dropped_lines_are_counted_and_told() {
    if !is_root() {
        return skip("a full disk needs root, to mount a small one");
    }
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, 1024);
    let log = Log::of(&scratch, "disk/log");
    let mut multilog = Multilog::start(&scratch, "s1M ddrop ./disk/log ./other");
    multilog.feed("before\n");
    wait_until("it is logged", || log.all() == b"before\n");
    disk.fill(8192);
    // The writer does not wait: multilog reads everything that is fed.
    multilog.feed(lines(10_000, 50));
    multilog.complains("unable to write to ./disk/log/current, dropping lines: out of disk space\n");
    multilog.feed("unended");
    wait_until("the other one has all", || Log::of(&scratch, "other").all().len() == 7 + 500_000);
    multilog.feed(" line\n");
    disk.free();
    // multilog reports the end of the trouble although no further line comes.
    multilog.complains("as the disk was full: ./disk/log\n");
    multilog.feed("after\n");
    multilog.end();
    let text = String::from_utf8(log.all()).unwrap();
    let whole = String::from_utf8(lines(10_000, 50)).unwrap();
    let mut kept: Vec<&str> = text.lines().collect();
    assert_eq!((kept.remove(0), kept.pop()), ("before", Some("after")));
    let told = kept.iter().position(|line| line.contains("warning")).unwrap();
    let account = kept.remove(told);
    assert!(kept.len() < 10_001, "something was dropped");
    assert!(kept.iter().zip(whole.lines()).all(|(kept, line)| *kept == line), "lines are whole, and the first ones");
    let kept = kept.iter().filter(|line| **line != "unended line").count();
    let counts: Vec<usize> = account.split(' ').filter_map(|word| word.parse().ok()).collect();
    let unended = usize::from(!text.contains("unended line"));
    assert_eq!(counts, [10_000 - kept + unended, (10_000 - kept) * 50 + unended * 13], "{account}");
}

#[test]
fn the_oldest_make_room() {
    if !is_root() {
        return skip("a full disk needs root, to mount a small one");
    }
    let scratch = Scratch::new();
    let _disk = Disk::new(&scratch, 1024);
    let log = Log::of(&scratch, "disk/log");
    let mut multilog = Multilog::start(&scratch, "s64k n1000 doldest ./disk/log");
    multilog.feed(lines(60_000, 50));
    assert_eq!(multilog.end(), "");
    let left = log.all();
    assert!(left.len() > 400_000 && lines(60_000, 50).ends_with(&left), "{}", left.len());
}

/// The oldest file cannot be removed, for example because it was made immutable. multilog removes the next one.
#[test]
fn an_oldest_file_that_cannot_be_removed_is_passed_over() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let log = Log::of(&scratch, "log");
    let mut before = Multilog::start(&scratch, "s4096 n1000 ./log");
    before.feed(lines(500, 50));
    before.end();
    let oldest = log.old().remove(0);
    let program = tests::programs().join("multilog");
    let inject = ["strace", "-qq", "-o", "/dev/null", "-P", &oldest, "-e", "inject=unlinkat:error=EPERM"];
    let words = [&inject[..], &[program.to_str().unwrap()]].concat();
    // No disk has this much room, so all other files are removed.
    let mut multilog = Multilog::by(&scratch, &words, "s4096 n1000 doldest:1000000000G ./log");
    multilog.feed("line\n");
    wait_until("all others are gone", || log.old() == [oldest.clone()]);
    multilog.terminate();
    assert_eq!(log.old(), [oldest]);
}

/// The setting leaves room for others, however large the disk is.
#[test]
fn a_reserve_is_left_to_others() {
    if !is_root() {
        return skip("a full disk needs root, to mount a small one");
    }
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, 4096);
    let free = || {
        let disk = nix::sys::statvfs::statvfs(&scratch.path().join("disk")).unwrap();
        disk.blocks_available() * disk.fragment_size()
    };
    scratch.dir("disk/log");
    let log = Log::of(&scratch, "disk/log");
    let mut multilog = Multilog::start(&scratch, "s16k n1000 ./disk/log");
    multilog.feed(lines(20_000, 50));
    multilog.end();
    let before = free();
    disk.fill(before - (1 << 20));
    disk.free();
    // multilog removes the oldest files without a message. In the end there is nothing left to remove.
    let reserve = free() + 200_000;
    let mut multilog = Multilog::start(&scratch, &format!("s16k n1000 doldest:{reserve} ./disk/log"));
    multilog.feed("line\n");
    wait_until("there is as much", || free() >= reserve);
    assert_eq!(multilog.end(), "");
    assert!([lines(20_000, 50), b"line\n".to_vec()].concat().ends_with(&log.all()));
    let mut multilog = Multilog::start(&scratch, "n1000 doldest:1G ./disk/log");
    multilog.feed("line\n");
    wait_until("there is nothing left", || log.old().is_empty());
    assert_eq!(multilog.end(), "");
    // With `dblock`, multilog waits for more room than this disk has, although its line would fit.
    let mut multilog = Multilog::start(&scratch, "dblock:1G ./disk/log");
    multilog.feed("waits\n");
    multilog.complains("unable to write to ./disk/log/current, pausing: out of disk space\n");
    multilog.terminate();
    let mut multilog = Multilog::start(&scratch, "ddrop:1G ./disk/log");
    multilog.feed("never\n");
    multilog.complains("dropping lines");
    assert!(multilog.end().ends_with("warning: dropped 2 lines, 12 bytes, as the disk was full: ./disk/log\n"));
    assert!(!String::from_utf8(log.all()).unwrap().contains("never"));
    assert!(fs::read(scratch.path().join("disk/log/state")).is_ok());
}

/// multilog is told to end while it waits for another directory. It still reports how many lines it has dropped.
#[test]
fn what_was_dropped_is_told_though_another_directory_waits() {
    let scratch = Scratch::new();
    // No disk has this much room.
    let mut multilog = Multilog::start(&scratch, "ddrop:1000000000G ./dropping dblock:1000000000G ./waiting");
    multilog.feed("one\ntwo\n");
    multilog.complains("unable to write to ./waiting/current, pausing");
    assert!(multilog.terminate().contains("dropped 2 lines, 8 bytes"));
}

/// The disk has no room for a journal, so what was read has no other place: multilog waits after TERM, and says why.
#[test]
fn told_to_end_without_a_journal_it_says_why_it_waits() {
    if !is_root() {
        return skip("a full disk needs root, to mount a small one");
    }
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, 1024);
    disk.fill(32 << 10);
    let log = Log::of(&scratch, "disk/log");
    let mut multilog = Multilog::start(&scratch, "s1M ./disk/log");
    multilog.feed(lines(1000, 50));
    multilog.complains("unable to write to ./disk/log/current, pausing: out of disk space\n");
    assert!(!scratch.path().join("disk/log/journal").exists());
    let stays = "multilog: warning: told to end, but still unable to write to ./disk/log/current: out of disk space: waiting, as ";
    kill(Pid::from_raw(multilog.pid()), Signal::SIGTERM).expect("tell multilog to end");
    multilog.complains(stays);
    let written = log.size() as usize;
    // The next tries do not repeat it.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    disk.free();
    let errors = multilog.terminate();
    let said: Vec<&str> = errors.lines().filter_map(|line| line.strip_prefix(stays)).collect();
    let count = |words: &str| {
        let rest = words.strip_prefix("up to ")?;
        rest.strip_suffix(" bytes that were read would be lost; kill -KILL ends it all the same")?.parse().ok()
    };
    let all = log.all();
    let may_be_lost: Vec<Option<usize>> = said.into_iter().map(count).collect();
    assert!(matches!(may_be_lost[..], [Some(count)] if (all.len() - written..=50_000).contains(&count)), "{errors}");
    assert!(
        lines(1000, 50).starts_with(&all) && all.ends_with(b"\n"),
        "what was read is written, to the end of a line"
    );
}

/// multilog waits on a full quota and on a failing disk, and obeys TERM meanwhile.
#[test]
fn whatever_the_trouble_nothing_is_lost_and_term_is_heard() {
    if !has("strace") {
        return;
    }
    let program = tests::programs().join("multilog");
    let program = program.to_str().unwrap();
    for (call, errno, words) in [
        ("write", "EDQUOT", "unable to write to ./log/current, pausing: "),
        ("write", "EIO", "unable to write to ./log/current, pausing: input/output error"),
        ("write", "EROFS", "unable to write to ./log/current, pausing: "),
        ("fsync", "EIO", "unable to write ./log/current to disk, pausing: input/output error"),
        ("rename", "EROFS", "unable to rename current to previous in directory ./log, pausing: "),
        ("renameat2", "EROFS", "unable to rename ./log/previous, pausing: "),
    ] {
        let scratch = Scratch::new();
        let log = Log::of(&scratch, "log");
        let script = "s4096 n1000 ./log";
        let mut before = Multilog::start(&scratch, script);
        before.feed(lines(10, 50));
        before.end();
        let inject = format!("inject={call},{call}at:error={errno}");
        let call = if call == "rename" { "renameat" } else { call };
        let inject = inject
            .replace("fsync,fsyncat", "fsync")
            .replace("write,writeat", "write")
            .replace("renameat2,renameat2at", "renameat2");
        let path = scratch.path().join("log/current");
        let mut words_before = vec!["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
        if call == "write" {
            words_before.extend(["-P", path.to_str().unwrap()]);
        }
        words_before.push(program);
        let mut multilog = Multilog::by(&scratch, &words_before, script);
        // This is no more than multilog reads at once.
        multilog.feed(lines(75, 50));
        multilog.complains(words);
        let errors = multilog.terminate();
        assert_eq!(errors.matches("pausing").count(), 1, "{errors}");
        assert_eq!(errors.contains("leaving 3750 bytes that cannot be written now"), call == "write", "{errors}");
        assert_eq!(Multilog::start(&scratch, script).end(), "", "{call} {errno}");
        assert!(log.all() == [lines(10, 50), lines(75, 50)].concat(), "{call} {errno}");
    }
}
