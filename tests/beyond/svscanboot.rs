//! svscanboot keeps running what it has started.

use crate::svscan::{SCANNED, service};
use crate::svscan_as_init::send;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use tests::{
    Daemon, Scratch, Service, children_of, is_alive, is_root, parent_of, prints, processes_in, skip, wait_until,
};

fn svscanboot(scratch: &Scratch) -> Daemon {
    scratch.dir(SCANNED);
    // Its environment does not contain the scratch directory, so its arguments show to which test it belongs.
    Daemon::start(scratch.command("svscanboot").arg(scratch.path().join(SCANNED)), scratch)
}

fn child(boot: i32, name: &str) -> Option<i32> {
    let is_it = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name);
    children_of(boot).into_iter().find(is_it)
}

fn find(boot: i32, name: &str) -> i32 {
    let mut found = None;
    wait_until(name, || {
        found = child(boot, name);
        found.is_some()
    });
    found.expect("a child")
}

/// Waits until the readproctitle of this svscanboot shows the words.
fn shows(boot: i32, words: &str) {
    wait_until(&format!("{words:?} is shown"), || {
        child(boot, "readproctitle").is_some_and(|readproctitle| title(readproctitle).contains(words))
    });
}

/// A service that writes the content of a file `say` to standard error, and records that it was started.
const SAYS: &str =
    "echo >>started; while :; do if mv say saying 2>/dev/null; then cat saying >&2; fi; sleep 0.01; done";

fn say(service: &Service, words: &str) {
    fs::write(service.path(".say"), words).expect("write a file");
    fs::rename(service.path(".say"), service.path("say")).expect("rename a file");
}

/// Has the service write the words, wherever they go.
fn has_said(service: &Service, words: &str) {
    say(service, words);
    wait_until("it has said it", || service.says("saying") == words && !service.path("say").exists());
    // The service is given another line. When it takes that line, it has written the one before.
    say(service, "");
    wait_until("it goes on", || service.says("saying").is_empty());
}

/// Kills these processes, and waits for their end: until then a readproctitle may still read a line, which is lost with it.
fn kill_all(pids: &[i32]) {
    for pid in pids {
        kill(Pid::from_raw(*pid), Signal::SIGKILL).expect("kill it");
    }
    wait_until("they are dead", || !pids.iter().any(|pid| is_alive(*pid)));
}

fn title(pid: i32) -> String {
    fs::read(format!("/proc/{pid}/cmdline"))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

#[test]
fn what_is_killed_is_started_again_and_told_to_stop_it_stops() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "echo complaint; exec sleep 1000");
    let mut boot = svscanboot(&scratch);
    let pid = a.up();
    let find = |name| find(boot.pid(), name);
    let (svscan, readproctitle) = (find("svscan"), find("readproctitle"));
    wait_until("the complaint is shown", || title(readproctitle).contains("complaint"));
    for killed in [svscan, readproctitle] {
        kill(Pid::from_raw(killed), Signal::SIGKILL).expect("kill it");
    }
    wait_until("both are there again", || {
        [("svscan", svscan), ("readproctitle", readproctitle)]
            .into_iter()
            .all(|(name, old)| child(boot.pid(), name).is_some_and(|new| new != old))
    });
    assert_eq!((a.up(), is_alive(pid)), (pid, true));
    // What is written from now on goes to the new readproctitle.
    let (svscan, readproctitle) = (find("svscan"), find("readproctitle"));
    scratch.file(format!("{SCANNED}/file"), "");
    wait_until("a new complaint is shown", || title(readproctitle).contains("unable to supervise file"));
    assert_eq!(parent_of(svscan), Some(boot.pid()));
    boot.signal(Signal::SIGTERM);
    assert_eq!(boot.wait(), 0);
    assert!(!is_alive(pid));
    wait_until("nothing is left", || {
        !is_alive(readproctitle) && processes_in(&scratch.path().join(SCANNED)).is_empty()
    });
}

#[test]
fn whatever_tells_svscan_to_stop_may_be_told_to_svscanboot() {
    let signals = [Signal::SIGINT as i32, Signal::SIGPWR as i32, nix::libc::SIGRTMIN() + 3];
    for signal in signals {
        let scratch = Scratch::new();
        let a = service(&scratch, "a", "exec sleep 1000");
        let mut boot = svscanboot(&scratch);
        let pid = a.up();
        send(&scratch, signal, boot.pid());
        assert_eq!((boot.wait(), is_alive(pid)), (0, false), "{signal}");
    }
}

#[test]
fn whichever_is_killed_no_service_ends_and_the_next_shows_what_is_said() {
    for killed in 1..8 {
        let scratch = Scratch::new();
        let (a, b) = (service(&scratch, "a", SAYS), service(&scratch, "b", "echo >>started; exec sleep 1000"));
        let mut boot = svscanboot(&scratch);
        let pids = [a.up(), b.up()];
        has_said(&a, "before\n");
        shows(boot.pid(), "before");
        let all = [boot.pid(), find(boot.pid(), "svscan"), find(boot.pid(), "readproctitle")];
        let victims: Vec<i32> = (0..3).filter(|bit| killed >> bit & 1 == 1).map(|bit| all[bit]).collect();
        kill_all(&victims);
        if killed & 1 == 1 {
            wait_until("all three are gone", || !all.iter().any(|pid| is_alive(*pid)));
            has_said(&a, "meanwhile\n");
            boot = svscanboot(&scratch);
        } else {
            has_said(&a, "meanwhile\n");
        }
        shows(boot.pid(), "meanwhile");
        has_said(&a, "afterwards\n");
        shows(boot.pid(), "afterwards");
        // This also holds for supervises that ran before.
        scratch.file(format!("{SCANNED}/b/timeout-kill"), "nonsense\n");
        kill_all(&[pids[1]]);
        b.another(pids[1]);
        shows(boot.pid(), "supervise: warning: b/timeout-kill");
        assert_eq!((a.says("started").len(), a.up()), (1, pids[0]), "{killed}");
        boot.signal(Signal::SIGTERM);
        assert_eq!(boot.wait(), 0, "{killed}");
    }
}

#[test]
fn the_fifo_is_for_its_account_alone() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", SAYS);
    let _boot = svscanboot(&scratch);
    a.up();
    let file = scratch.path().join(SCANNED).join(".svscan/errors");
    assert_eq!(fs::metadata(&file).expect("the FIFO").mode() & 0o177_777, 0o010_600);
    assert_eq!(fs::metadata(file.parent().expect("a folder")).expect("its folder").mode() & 0o777, 0o755);
}

/// Whatever has happened to the FIFO's name, the processes that have it open keep writing to it.
#[test]
fn one_that_was_removed_renamed_or_replaced_is_taken_up_again() {
    for harm in [
        "rm -r .svscan",
        "mv .svscan/errors .svscan/old",
        "mv .svscan .svscan.old",
        "rm .svscan/errors; mkfifo -m 600 .svscan/errors",
        "chmod 775 .svscan",
    ] {
        let scratch = Scratch::new();
        let a = service(&scratch, "a", SAYS);
        let boot = svscanboot(&scratch);
        let pid = a.up();
        assert_eq!(scratch.shell(&format!("cd {SCANNED}; {harm}")), prints(""), "{harm}");
        let readproctitle = find(boot.pid(), "readproctitle");
        boot.kill();
        wait_until("its readproctitle is gone", || !is_alive(readproctitle));
        has_said(&a, "meanwhile\n");
        let boot = svscanboot(&scratch);
        shows(boot.pid(), "meanwhile");
        has_said(&a, "afterwards\n");
        shows(boot.pid(), "afterwards");
        assert_eq!(a.up(), pid, "{harm}");
    }
}

/// A shell in namespaces of its own. It prepares them, and then acts as an init that starts svscanboot again and again.
fn init(scratch: &Scratch, namespaces: &[&str], prepare: &str) -> Option<Daemon> {
    if !is_root() {
        skip("needs root, for namespaces");
        return None;
    }
    let script = format!("{prepare} && while :; do svscanboot \"$0\"; sleep 0.1; done");
    let mut command = scratch.command("unshare");
    command.args(namespaces).args(["--kill-child", "/bin/sh", "-c", &script]).arg(scratch.path().join(SCANNED));
    Some(Daemon::start(&mut command, scratch))
}

/// The svscanboot that the init runs now, if it is another than `before`.
fn next_boot(scratch: &Scratch, before: i32) -> i32 {
    let is_it = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "svscanboot\n");
    let mut found = None;
    wait_until("svscanboot runs", || {
        // A child that was just forked has the same name until it executes another program.
        found = processes_in(scratch.path())
            .into_iter()
            .find(|pid| is_it(pid) && *pid != before && child(*pid, "svscan").is_some());
        found.is_some()
    });
    found.expect("svscanboot")
}

#[test]
fn where_the_directory_cannot_be_written_to_the_fifo_lies_in_run() {
    let scratch = Scratch::new();
    let a = Service::new(&scratch, "a", SAYS);
    scratch.dir(SCANNED);
    symlink("../a", scratch.path().join(SCANNED).join("a")).expect("link the service");
    let prepare = format!(
        "mount -t tmpfs -o mode=755 none /run && mount --bind {SCANNED} {SCANNED} && mount -o remount,bind,ro {SCANNED}"
    );
    let Some(_init) = init(&scratch, &["-m", "-f"], &prepare) else { return };
    let pid = a.up();
    has_said(&a, "before\n");
    let boot = next_boot(&scratch, 0);
    shows(boot, "before");
    let readproctitle = find(boot, "readproctitle");
    kill_all(&[boot]);
    // Until then, the readproctitle may still read.
    wait_until("its readproctitle is gone", || !is_alive(readproctitle));
    has_said(&a, "meanwhile\n");
    let next = next_boot(&scratch, boot);
    shows(next, "meanwhile");
    has_said(&a, "afterwards\n");
    shows(next, "afterwards");
    assert_eq!((a.up(), a.says("started").len()), (pid, 1));
    assert!(!scratch.path().join(SCANNED).join(".svscan").exists());
}

#[test]
fn without_dev_null_the_first_process_does_without() {
    if !is_root() {
        return skip("needs root, for namespaces");
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", SAYS);
    let script = "mount -t tmpfs none /dev && exec svscanboot \"$0\"";
    let mut command = scratch.command("unshare");
    command.args(["-m", "-p", "-f", "--kill-child", "--mount-proc", "/bin/sh", "-c", script]);
    let boot = Daemon::start(command.arg(scratch.path().join(SCANNED)), &scratch);
    a.up();
    has_said(&a, "said\n");
    let first = find(boot.pid(), "svscanboot");
    shows(first, "said");
    assert_eq!(boot.errors(), "svscanboot: warning: unable to open /dev/null: file does not exist\n");
}

#[test]
fn without_readproctitle_services_do_not_wait_and_the_last_words_are_shown_when_there_is_one() {
    let scratch = Scratch::new();
    let folder = scratch.path().join("programs");
    scratch.dir("programs");
    // Another process writes the copies. If this process wrote them, a child of another test could inherit the
    // descriptor, and the program could not be executed.
    let copy = |name: &str, to: &str| {
        let line = format!("cp {} programs/{to}", scratch.programs().join(name).display());
        assert_eq!(scratch.shell(&line), prints(""));
    };
    ["svscanboot", "svscan", "supervise"].into_iter().for_each(|name| copy(name, name));
    // svscanboot does not search elsewhere, because the file exists. It is only no program.
    scratch.file("programs/readproctitle", "\x7fELF, but no more of it");
    scratch.mode("programs/readproctitle", 0o755);
    let a = service(&scratch, "a", SAYS);
    let mut command = scratch.command(folder.join("svscanboot").to_str().expect("a plain path"));
    let boot = Daemon::start(command.arg(scratch.path().join(SCANNED)), &scratch);
    a.up();
    has_said(&a, &format!("{}the end of it\n", "word\n".repeat(100_000)));
    copy("readproctitle", "other");
    fs::rename(folder.join("other"), folder.join("readproctitle")).expect("put it in its place");
    shows(boot.pid(), "the end of it");
}

#[test]
fn a_signal_for_its_process_group_is_for_svscanboot_alone() {
    let scratch = Scratch::new();
    scratch.dir(SCANNED);
    let (a, b) = (
        service(&scratch, "a", "trap 'echo last words >&2; exit' TERM; echo >ready; while :; do sleep 0.01; done"),
        service(&scratch, "b", "trap '' TERM; echo >ready; until [ -e release ]; do sleep 0.01; done; exec true"),
    );
    let mut command = scratch.command("env");
    // A test that runs in the background has SIGINT ignored, which svscanboot would inherit.
    command.args(["--default-signal=INT", "svscanboot"]).arg(scratch.path().join(SCANNED)).process_group(0);
    let mut boot = Daemon::start(&mut command, &scratch);
    a.lines("ready", 1);
    b.lines("ready", 1);
    let readproctitle = find(boot.pid(), "readproctitle");
    shows(boot.pid(), "......");
    killpg(Pid::from_raw(boot.pid()), Signal::SIGINT).expect("send it what a terminal sends for ^C");
    shows(boot.pid(), "last words");
    assert_eq!(child(boot.pid(), "readproctitle"), Some(readproctitle));
    scratch.file(format!("{SCANNED}/b/release"), "");
    assert_eq!(boot.wait(), 0);
}

#[test]
fn told_to_end_with_all_others_it_shows_the_last_words() {
    let scratch = Scratch::new();
    let (a, b) = (
        service(&scratch, "a", "trap 'echo last words >&2; exit' TERM; echo >ready; while :; do sleep 0.01; done"),
        service(
            &scratch,
            "b",
            "trap '' TERM; echo >ready; until [ -e speak ]; do sleep 0.01; done; echo more words >&2
            until [ -e release ]; do sleep 0.01; done; exec true",
        ),
    );
    let mut boot = svscanboot(&scratch);
    a.lines("ready", 1);
    b.lines("ready", 1);
    shows(boot.pid(), "......");
    let readproctitle = find(boot.pid(), "readproctitle");
    let tell = |pid: i32| kill(Pid::from_raw(pid), Signal::SIGTERM).expect("tell it to end");
    [find(boot.pid(), "svscan"), boot.pid()].into_iter().for_each(tell);
    shows(boot.pid(), "last words");
    // readproctitle is told once it has read and shown the words, while there are more to write.
    tell(readproctitle);
    scratch.file(format!("{SCANNED}/b/speak"), "");
    wait_until("the same one shows more", || {
        let shown = title(readproctitle);
        shown.contains("last words") && shown.contains("more words")
    });
    scratch.file(format!("{SCANNED}/b/release"), "");
    assert_eq!(boot.wait(), 0);
}

/// A path in a container leads to another file than the same path outside.
#[test]
fn the_fifo_of_another_directory_at_the_same_path_is_not_taken_up() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", SAYS);
    let inside = format!(
        "mount -t tmpfs none {SCANNED} && mkdir {SCANNED}/b && printf '#!/bin/sh\\nexec sleep 1000\\n' \
        >{SCANNED}/b/run && chmod 755 {SCANNED}/b/run"
    );
    let Some(init) = init(&scratch, &["-m"], &inside) else { return };
    let apart = next_boot(&scratch, 0);
    let errors = |pid: i32| {
        let file = fs::metadata(format!("/proc/{pid}/fd/2")).expect("its standard error");
        (file.dev(), file.ino())
    };
    let theirs = errors(find(apart, "svscan"));
    let boot = svscanboot(&scratch);
    a.up();
    has_said(&a, "said here\n");
    shows(boot.pid(), "said here");
    assert_ne!(errors(find(boot.pid(), "svscan")), theirs);
    assert!(!title(find(apart, "readproctitle")).contains("said here"));
    drop(init);
}

/// Only readproctitle may read what services write to standard error. The same FIFO is standard output of a service without a
/// logger, and of each logger.
#[test]
fn no_service_can_read_what_others_say() {
    let scratch = Scratch::new();
    // The shell gives sed another standard output, so sed looks at copies.
    let modes = "exec 5>&1 6>&2; sed -n 's/^flags:.*\\(.\\)$/\\1/p' /proc/self/fdinfo/[56] >$1.new; mv $1.new $1";
    let lone = service(&scratch, "lone", &format!("set -- modes; {modes}; exec sleep 1000"))
        .script("finish", &format!("set -- finish-modes; {modes}"));
    let logged = service(&scratch, "logged", "exec sleep 1000")
        .script("log/run", &format!("set -- modes; {modes}; exec cat >/dev/null"));
    let mut boot = svscanboot(&scratch);
    lone.up();
    wait_until("run has said so", || !lone.says("modes").is_empty());
    lone.svc("-t");
    wait_until("finish has said so", || !lone.says("finish-modes").is_empty());
    wait_until("the logger has said so", || !logged.says("log/modes").is_empty());
    for said in [lone.says("modes"), lone.says("finish-modes"), logged.says("log/modes")] {
        // The last digit is the access mode; 1 is O_WRONLY.
        assert_eq!(said, "1\n1\n");
    }
    boot.signal(Signal::SIGTERM);
    assert_eq!(boot.wait(), 0);
}

/// Its svscan says so too, but to readproctitle, which no terminal shows.
#[test]
fn a_second_one_says_at_its_start_that_another_svscan_serves_the_directory() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, &format!("{SCANNED}/web"), "exec sleep 1000");
    let first = svscanboot(&scratch);
    let pid = service.up();
    assert_eq!(first.complaints(), "");
    let mut second = svscanboot(&scratch);
    let directory = scratch.path().join(SCANNED).display().to_string();
    let words = format!("svscanboot: warning: another svscan serves {directory}: waiting for its end\n");
    wait_until("it says so", || second.errors() == words);
    // Its svscan waits, and it can be told to end.
    find(second.pid(), "svscan");
    second.signal(Signal::SIGTERM);
    assert_eq!(second.wait(), 0);
    assert_eq!(service.up(), pid);
}

/// init would not see a message that follows: standard error leads nowhere from then on.
#[test]
fn a_missing_directory_is_the_reason_of_its_end() {
    let expected = "svscanboot: fatal: unable to stat nowhere: file does not exist\n";
    assert_eq!(Scratch::new().run("svscanboot nowhere"), tests::fails(111, expected));
}
