//! supervise with a directory that has something wrong or unusual.

use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;
use tests::{Daemon, Outcome, Scratch, Service, differs, fails, has, is_alive, original, prints, wait_until};

/// A test that expects nothing to happen waits this long.
const WHILE: Duration = Duration::from_millis(300);

fn supervise(scratch: &Scratch, name: &str) -> Daemon {
    Daemon::start(scratch.command("supervise").arg(name), scratch)
}

fn errors_become(daemon: &Daemon, expected: &str) {
    wait_until(&format!("supervise says {expected:?}, not {:?}", daemon.errors()), || {
        daemon.errors().contains(expected)
    });
}

#[test]
fn the_command_line_is_one_directory() {
    let scratch = Scratch::new();
    scratch.file("file", "");
    for (line, expected) in [
        ("supervise", fails(100, "supervise: usage: supervise dir\n")),
        ("supervise a b", fails(100, "supervise: usage: supervise dir\n")),
        ("supervise missing", fails(111, "supervise: fatal: unable to chdir to missing: file does not exist\n")),
        ("supervise file", fails(111, "supervise: fatal: unable to chdir to file: not a directory\n")),
        ("supervise -x", fails(111, "supervise: fatal: unable to chdir to -x: file does not exist\n")),
    ] {
        assert_eq!(scratch.run(line), expected, "{line}");
    }
}

#[test]
fn a_directory_without_rights_is_refused() {
    if !tests::is_root() {
        return tests::skip("needs root");
    }
    let scratch = Scratch::new();
    scratch.dir("closed");
    scratch.mode("closed", 0o700);
    let seen = scratch.outcome_of(scratch.as_nobody("supervise").arg("closed"));
    let whose = differs(": it belongs to root, and this is nobody", "");
    assert_eq!(seen, fails(111, &format!("supervise: fatal: unable to chdir to closed: access denied{whose}\n")));
    scratch.dir("open");
    let seen = scratch.outcome_of(scratch.as_nobody("supervise").arg("open"));
    // The directory that contains the lock cannot be made.
    let words = differs(
        "supervise: fatal: unable to create directory open/supervise: access denied: its parent directory belongs to \
         root, and this is nobody\n",
        "supervise: fatal: unable to acquire open/supervise/lock: file does not exist\n",
    );
    assert_eq!((seen.code, seen.stderr.as_str()), (111, words));
}

#[test]
fn a_locked_service_is_left_alone() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000").down();
    fs::create_dir(service.path("supervise")).unwrap();
    let lock = File::create(service.path("supervise/lock")).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).unwrap();
    let cause = differs(": another supervise has it", "");
    let words = format!("supervise: fatal: unable to acquire web/supervise/lock: temporary failure{cause}\n");
    assert_eq!(scratch.run("supervise web"), fails(111, &words));
    assert!(!service.path("supervise/status").exists(), "it has changed a file that is not its own");
}

/// Our supervise replaces a file that has the name of a FIFO, because such a file is of no use. It does not replace a
/// directory.
#[test]
fn a_directory_in_the_place_of_a_fifo() {
    let scratch = Scratch::new();
    let _service = Service::new(&scratch, "web", "exec sleep 1000").down();
    scratch.dir("web/supervise/control");
    let words = "supervise: fatal: unable to write web/supervise/control: is a directory\n";
    assert_eq!(scratch.run("supervise web"), fails(111, words));
}

/// The original reads the end of the file for ever, and cannot be commanded.
#[test]
fn a_file_in_the_place_of_a_fifo() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    scratch.file("web/supervise/control", "");
    scratch.file("web/supervise/ok", "");
    let mut daemon = supervise(&scratch, "web");
    if original() {
        service.up();
        assert_eq!(scratch.run("svc -dx web"), prints(""));
        sleep(WHILE);
        return assert!(!daemon.has_ended());
    }
    wait_until("it is supervised", || service.is_supervised());
    service.up();
    service.svc("-dx");
    assert_eq!(daemon.wait(), 0);
    let words = "supervise: warning: web/supervise/control was not a FIFO: replaced\n\
                 supervise: warning: web/supervise/ok was not a FIFO: replaced\n";
    assert_eq!(daemon.errors(), words);
}

/// Only root can write into a directory without permissions. A file in its place stops root too.
#[test]
fn a_file_in_the_place_of_its_directory_is_refused() {
    let scratch = Scratch::new();
    let _service = Service::new(&scratch, "web", "exec sleep 1000").file("supervise", "");
    let words = "supervise: fatal: unable to acquire web/supervise/lock: not a directory\n";
    assert_eq!(scratch.run("supervise web"), fails(111, words));
}

#[test]
fn what_cannot_be_run_is_tried_again_every_second() {
    // The file that does not exist is the interpreter.
    let lost = differs(
        "unable to start lost/run: interpreter /no/such/shell does not exist",
        "unable to start lost/run: file does not exist",
    );
    // The original's words, followed by what is wrong with the file.
    let closed = differs(": it is not executable (chmod +x)", "");
    let plain = differs(": it does not begin with #! and is no program", "");
    let [closed, plain] = [("closed", "access denied", closed), ("plain", "exec format error", plain)]
        .map(|(name, reason, lack)| format!("unable to start {name}/run: {reason}{lack}"));
    for (name, mode, content, words) in [
        ("missing", 0, None, "unable to start missing/run: file does not exist"),
        ("closed", 0o644, Some("#!/bin/sh\n"), closed.as_str()),
        ("plain", 0o755, Some("exec sleep 1000\n"), plain.as_str()),
        ("lost", 0o755, Some("#!/no/such/shell\n"), lost),
    ] {
        let scratch = Scratch::new();
        scratch.dir(name);
        if let Some(content) = content {
            scratch.script(format!("{name}/run"), content);
            scratch.mode(format!("{name}/run"), mode);
        }
        let daemon = supervise(&scratch, name);
        let line = format!("supervise: fatal: {words}\n");
        let service = Service::at(&scratch, name);
        let tried_twice = || match original() {
            true => daemon.errors() == line.repeat(2),
            // supervise writes the message once.
            false => daemon.errors() == line && service.state("starts") == ["2"],
        };
        wait_until(&format!("{name} was tried twice: {}", daemon.errors()), tried_twice);
        // Once it is repaired, the next try succeeds.
        let service = Service::new(&scratch, name, "exec sleep 1000");
        wait_until("it runs", || {
            service.status().pid != 0
                && fs::read_link(format!("/proc/{}/exe", service.status().pid)).is_ok_and(|exe| exe.ends_with("sleep"))
        });
    }
}

#[test]
fn a_directory_in_the_place_of_run_is_no_program() {
    let scratch = Scratch::new();
    scratch.dir("web/run");
    let daemon = supervise(&scratch, "web");
    let lack = differs(": it is no regular file", "");
    errors_become(&daemon, &format!("supervise: fatal: unable to start web/run: access denied{lack}\n"));
}

#[test]
fn services_may_be_named_anything() {
    for name in ["with space", "new\nline", "caf\u{e9}", "-dash", "a:b"] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, name, "exec sleep 1000");
        let mut daemon = service.supervise();
        service.up();
        assert_eq!(scratch.outcome_of(scratch.command("svc").args(["-dx", "--", name])), prints(""));
        assert_eq!(daemon.wait(), 0);
        assert_eq!(daemon.errors(), "");
    }
}

/// supervise stays in the directory in which it was started, even if another directory gets the name.
#[test]
fn a_directory_replaced_while_supervised() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo old >>../starts; exec sleep 1000");
    let mut daemon = service.supervise();
    let pid = service.up();
    fs::rename(scratch.path().join("web"), scratch.path().join("moved")).unwrap();
    let new = Service::new(&scratch, "web", "echo new >>../starts; exec sleep 1000");
    assert_eq!(new.svstat(), "unable to open supervise/ok: file does not exist");
    let moved = Service::at(&scratch, "moved");
    moved.svc("-k");
    moved.another(pid);
    assert_eq!(scratch.run("svc -dx moved"), prints(""));
    assert_eq!(daemon.wait(), 0);
    assert!(!fs::read_to_string(scratch.path().join("starts")).unwrap().contains("new"));
}

/// supervise goes on without its files. A process that has the FIFO open can command it, and TERM ends it.
#[test]
fn a_directory_removed_while_supervised() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let mut daemon = service.supervise();
    let pid = service.up();
    let mut control = File::options().write(true).open(service.path("supervise/control")).unwrap();
    wait_until("it is removed", || fs::remove_dir_all(scratch.path().join("web")).is_ok());
    std::io::Write::write_all(&mut control, b"dx").unwrap();
    assert_eq!(daemon.wait(), 0);
    assert!(!is_alive(pid));
}

#[test]
fn a_status_that_cannot_be_written_is_a_warning() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000").down();
    let daemon = service.supervise();
    // The original may still be writing it.
    for path in ["supervise/status", "supervise/status.new"].map(|name| service.path(name)) {
        wait_until("a directory is in its place", || {
            let _ = fs::remove_file(&path);
            fs::create_dir(&path).is_ok()
        });
    }
    service.svc("-u");
    errors_become(&daemon, "supervise: warning: unable to ");
    errors_become(&daemon, "web/supervise/status");
}

/// Garbage in its directory does not keep supervise from running the service.
#[test]
fn what_lies_in_its_directory_already_does_no_harm() {
    for content in
        [&b""[..], b"short", &[0xff; 5000], b"pid 1\nphase running\nrole run\n", b"supervise 1 1\npid 1\npid-start 0\n"]
    {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", "exec sleep 1000");
        for file in ["status", "status.new", "state", "state.new", "lock"] {
            scratch.file(Path::new("web/supervise").join(file), content);
        }
        let _daemon = service.supervise();
        let pid =
            service.wait_for("is up", |status| status.bytes.len() <= 20 && status.pid > 1 && is_alive(status.pid)).pid;
        wait_until("it is the service", || {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
        });
    }
}

#[test]
fn a_link_leads_to_the_service() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "real", "exec sleep 1000");
    std::os::unix::fs::symlink("real", scratch.path().join("link")).unwrap();
    let mut daemon = supervise(&scratch, "link");
    wait_until("it is supervised", || service.is_supervised());
    let Outcome { code, stderr, .. } = scratch.run("supervise real");
    assert_eq!((code, stderr.contains("temporary failure")), (111, true));
    service.svc("-dx");
    assert_eq!(daemon.wait(), 0);
}

#[test]
fn a_fork_that_is_refused_is_said_and_tried_again() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000");
    let forks = "clone,clone3,fork,vfork";
    let mut command = scratch.command("strace");
    command.args(["-qq", "-o", "trace", "-e"]).arg(format!("trace={forks}"));
    command.arg("-e").arg(format!("inject={forks}:error=EAGAIN:when=1"));
    let daemon = Daemon::start(command.arg(tests::programs().join("supervise")).arg("web"), &scratch);
    let words = "supervise: warning: unable to fork for web, sleeping 60 seconds: temporary failure\n";
    wait_until("it says so", || daemon.errors() == words);
    // The original sleeps and obeys nothing. Our supervise waits, and obeys a new command.
    if !original() {
        service.svc_when_supervised("-u");
        service.up();
    }
}
