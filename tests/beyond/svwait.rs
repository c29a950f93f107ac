//! svwait and svup: waiting for services, and asking whether they are up.

use nix::libc::O_NONBLOCK;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use tests::{Daemon, Scratch, Service, fails, fifo, has, is_root, others, prints, skip, state_of, wait_until};

/// Starts a program in the background that waits for this number of services. When this returns, the program has looked
/// at them and sleeps.
pub fn waiting(scratch: &Scratch, line: &str, services: usize) -> Daemon {
    let mut words = line.split(' ');
    let daemon = Daemon::start(scratch.command(words.next().unwrap()).args(words), scratch);
    wait_until("it waits", || state_of(daemon.pid()) == Some('S') && watches(daemon.pid()) >= services);
    daemon
}

/// The number of inotify watches of a process.
fn watches(pid: i32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    texts.map(|text| text.matches("inotify wd:").count()).sum()
}

fn sleeper<'a>(scratch: &'a Scratch, name: &str) -> Service<'a> {
    Service::new(scratch, name, "exec sleep 1000")
}

#[test]
fn what_is_so_already_is_not_waited_for() {
    let scratch = Scratch::new();
    let service = sleeper(&scratch, "web").down();
    let _supervise = service.supervise();
    for line in ["svwait down web", "svwait finished web", "svwait -T 0 down web"] {
        assert_eq!(scratch.run(line), prints(""), "{line}");
    }
    service.svc("-u");
    for line in ["svwait ready web", "svwait up web", "svwait -T 0 up web"] {
        assert_eq!(scratch.run(line), prints(""), "{line}");
    }
}

#[test]
fn what_becomes_so_wakes_it() {
    let scratch = Scratch::new();
    let service = sleeper(&scratch, "web").down();
    let _supervise = service.supervise();
    for (goal, command) in
        [("up", "-u"), ("restarted", "-k"), ("down", "-d"), ("ready", "-o"), ("finished", "-t"), ("restarted", "-u")]
    {
        let mut wait = waiting(&scratch, &format!("svwait {goal} web"), 1);
        assert!(!wait.has_ended(), "{goal}");
        service.svc(command);
        assert_eq!((wait.wait(), wait.errors().as_str()), (0, ""), "{goal}");
    }
}

#[test]
fn the_time_may_be_over_before() {
    let scratch = Scratch::new();
    let (up, down) = (sleeper(&scratch, "up"), sleeper(&scratch, "down").down());
    let _supervises = (up.supervise(), down.supervise());
    up.up();
    wait_until("it is ready", || !up.state("ready").is_empty());
    let late = |what: &str, seen: &str| fails(99, &format!("svwait: warning: {what}: timed out: {seen}\n"));
    assert_eq!(scratch.run("svwait -T 30ms up down"), late("down is not up", "down"));
    assert_eq!(scratch.run("svwait --timeout=30ms ready up down"), late("down is not ready", "down"));
    assert_eq!(scratch.run("svwait -T0 restarted up"), late("up is not restarted", "up"));
    let both = "svwait: warning: up is not down: timed out: up\n".repeat(2);
    assert_eq!(scratch.run("svwait --any -T 30ms down up up"), fails(99, &both));
}

#[test]
fn what_was_seen_last_is_said_when_the_time_is_over() {
    let scratch = Scratch::new();
    let run = "case $(cat how) in exit) exit 7;; silent) exec sleep 1000;; esac; trap '' TERM; echo >>deaf; while :; do sleep 0.01; done";
    let service = Service::new(&scratch, "web", run).file("how", "exit").file("notification-fd", "3");
    let service = service.file("restart-delay", "1h");
    let said = |goal: &str| {
        let late = scratch.run(&format!("svwait -T 20ms {goal} web"));
        assert_eq!(late.code, 99);
        late.stderr.trim_end().split_once("timed out: ").unwrap().1.to_string()
    };
    assert_eq!(said("up"), "supervise not running");
    let supervise = service.supervise();
    wait_until("it waits", || !service.state("next-start").is_empty());
    assert_eq!(said("ready"), "waits for its next start, last exited 7");
    scratch.file("web/how", "silent");
    assert_eq!(scratch.run("svc -u -W up web"), prints(""));
    assert_eq!(said("ready"), "up, not ready, last exited 7");
    scratch.file("web/how", "deaf");
    assert_eq!(scratch.run("svc -k -W down -T 0 web").code, 99);
    service.svc("-u");
    service.lines("deaf", 1);
    service.svc("-d");
    wait_until("it is told to end", || !service.state("ending").is_empty());
    assert_eq!(said("down"), "up, told to end, last killed by SIGKILL; svc -k kills it");
    supervise.kill();
    assert_eq!(said("down"), "supervise not running, last seen up, told to end, last killed by SIGKILL");
}

#[test]
fn all_of_ten_or_any_of_them() {
    let scratch = Scratch::new();
    let names: Vec<String> = (0..10).map(|number| format!("s{number}")).collect();
    let services: Vec<Service> = names.iter().map(|name| sleeper(&scratch, name).down()).collect();
    let _supervises: Vec<Daemon> = services.iter().map(Service::supervise).collect();
    let line = |options: &str| format!("svwait {options} {}", names.join(" "));
    let (mut all, mut any) = (waiting(&scratch, &line("-a up"), 10), waiting(&scratch, &line("-o up"), 10));
    let mut of_any_two = waiting(&scratch, "svwait -o ready s7 s8", 2);
    services[3].svc("-u");
    assert_eq!(any.wait(), 0);
    for service in services.iter().filter(|service| !["s3", "s7"].contains(&service.name())) {
        assert!(!all.has_ended());
        service.svc("-u");
    }
    assert_eq!(of_any_two.wait(), 0);
    assert!(!all.has_ended());
    services[7].svc("-u");
    assert_eq!((all.wait(), all.errors().as_str()), (0, ""));
}

#[test]
fn what_fails_fails_at_once() {
    let scratch = Scratch::new();
    let bad = Service::new(&scratch, "bad", "exit 100").down();
    let good = sleeper(&scratch, "good").down();
    let _supervises = (bad.supervise(), good.supervise());
    let mut waits = ["svwait -a ready good bad", "svwait -o up bad good", "svwait -o restarted bad"]
        .map(|line| waiting(&scratch, line, 1));
    bad.svc("-u");
    bad.wait_for("has failed", |status| status.phase == Some(5));
    let said = "svwait: warning: bad is not ready: failed: exited 100, which means not to restart it\n";
    let [all, any, alone] = &mut waits;
    assert_eq!((all.wait(), all.errors().as_str()), (1, said));
    // The service was up for a moment, and svwait may have seen that.
    assert!(matches!(alone.wait(), 0 | 1));
    good.svc("-u");
    assert_eq!(any.wait(), 0);
    // A service that has failed before will not come up by itself.
    let failed = "svwait: warning: bad is not up: failed: exited 100, which means not to restart it\n";
    assert_eq!(scratch.run("svwait up bad"), fails(1, failed));
    assert_eq!(scratch.run("svwait finished bad"), prints(""));
}

#[test]
fn what_ends_and_is_not_started_again_will_not_be_ready() {
    let scratch = Scratch::new();
    let run = "while [ ! -e go ]; do sleep 0.01; done; exit 3";
    let service = Service::new(&scratch, "job", run).file("notification-fd", "3").down();
    let _supervise = service.supervise();
    let mut wait = waiting(&scratch, "svwait ready job", 1);
    service.svc("-o");
    service.up();
    scratch.file("job/go", "");
    assert_eq!((wait.wait(), wait.errors().as_str()), (1, "svwait: warning: job is not ready: ended: exited 3\n"));
}

#[test]
fn a_supervise_that_comes_later_is_waited_for() {
    let scratch = Scratch::new();
    let service = sleeper(&scratch, "web");
    // Nothing of the service exists yet.
    let mut wait = waiting(&scratch, "svwait ready web", 1);
    let supervise = service.supervise();
    assert_eq!((wait.wait(), wait.errors().as_str()), (0, ""));
    // All files exist, but no supervise is in charge.
    supervise.kill();
    let mut wait = waiting(&scratch, "svwait ready web", 1);
    let _supervise = service.supervise();
    assert_eq!((wait.wait(), wait.errors().as_str()), (0, ""));
}

#[test]
fn a_killed_supervise_may_be_replaced_meanwhile() {
    let scratch = Scratch::new();
    let service = sleeper(&scratch, "web");
    let supervise = service.supervise();
    service.up();
    let mut wait = waiting(&scratch, "svwait restarted web", 1);
    supervise.kill();
    let _supervise = service.supervise();
    // The process is the same, so this is no restart.
    assert!(!wait.has_ended());
    service.svc("-t");
    assert_eq!((wait.wait(), wait.errors().as_str()), (0, ""));
}

#[test]
fn a_supervise_gone_for_good_ends_the_wait() {
    let scratch = Scratch::new();
    let (killed, left) = (sleeper(&scratch, "killed"), sleeper(&scratch, "left"));
    let (supervise, _left) = (killed.supervise(), left.supervise());
    killed.up();
    left.up();
    let nobody = |what: &str, seen: &str| format!("svwait: warning: {what}: supervise not running, last seen {seen}\n");
    let mut waits = [waiting(&scratch, "svwait down killed", 1), waiting(&scratch, "svwait -o down killed", 1)];
    let mut told = waiting(&scratch, "svwait restarted left", 1);
    supervise.kill();
    left.svc("-dx");
    assert!(told.wait() == 1);
    let ends = ["supervise not running, last seen down, last killed by SIGTERM\n", "ended: killed by SIGTERM\n"];
    assert!(ends.iter().any(|end| told.errors().ends_with(end)), "{}", told.errors());
    assert_eq!(waits.each_mut().map(Daemon::wait), [1, 1]);
    let said = nobody("killed is not down", "up");
    assert_eq!(waits.map(|wait| wait.errors()), [said.clone(), said]);
    // A service whose supervise exited as told counts as down.
    assert_eq!(scratch.run("svwait finished left"), prints(""));
    let nobody = nobody("left is not up", "down, last killed by SIGTERM");
    assert_eq!(scratch.run("svwait up left"), fails(1, &nobody));
}

#[test]
fn any_state_is_read_as_far_as_it_makes_sense() {
    let scratch = Scratch::new();
    let service = sleeper(&scratch, "web").down();
    let _supervise = service.supervise();
    let state = service.path("supervise/state");
    let huge = format!("{}\n", "death @ @ exit 0\n".repeat(1 << 17));
    for garbage in ["", "\0\u{ff}\n\n \n", "starts 99999999999999999999\nphase failed\n", huge.as_str()] {
        fs::write(&state, garbage).unwrap();
        // svwait decides this by the status.
        assert_eq!(scratch.run("svwait -T 0 finished web"), prints(""));
        assert_eq!(scratch.run("svwait -T 0 up web").code, 99);
    }
    fs::remove_file(&state).unwrap();
    assert_eq!(scratch.run("svwait -T 0 finished web"), prints(""));
    fs::create_dir(&state).unwrap();
    assert_eq!(scratch.run("svwait -T 0 finished web"), prints(""));
    fs::remove_dir(&state).unwrap();
    fifo(&state).unwrap();
    assert_eq!(scratch.run("svwait -T 0 finished web"), prints(""));
}

#[test]
fn what_cannot_be_watched_is_said() {
    let scratch = Scratch::new();
    scratch.file("file", "");
    let missing = "svwait: fatal: unable to chdir to missing: file does not exist\n";
    assert_eq!(scratch.run("svwait up missing"), fails(111, missing));
    assert_eq!(scratch.run("svwait up file"), fails(111, "svwait: fatal: unable to chdir to file: not a directory\n"));
    if is_root() {
        let service = sleeper(&scratch, "web");
        let _supervise = service.supervise();
        let whose = "it belongs to root, and this is nobody";
        let denied = format!("svwait: fatal: unable to watch web/supervise: access denied: {whose}\n");
        let seen = scratch.outcome_of(scratch.as_nobody("svwait").args(["up", "web"]));
        assert_eq!(seen, fails(111, &denied));
    }
}

#[test]
fn usage() {
    let scratch = Scratch::new();
    scratch.dir("web");
    let usage = "svwait: usage: svwait [ -ao ] [ -T timeout ] up|ready|down|finished|restarted service ...\n";
    for (line, first) in [
        ("svwait", ""),
        ("svwait up", ""),
        ("svwait -x up web", "svwait: illegal option -- x\n"),
        ("svwait -T", "svwait: option requires an argument -- T\n"),
    ] {
        assert_eq!(scratch.run(line), fails(100, &format!("{first}{usage}")), "{line}");
    }
    let goal = "svwait: fatal: unable to wait for sideways: not one of up ready down finished restarted\n";
    assert_eq!(scratch.run("svwait sideways web"), fails(100, goal));
    assert_eq!(
        scratch.run("svwait -T soon up web"),
        fails(100, "svwait: fatal: timeout soon: not a duration, as in 5s or 1m 30s\n")
    );
}

/// The number of FIFOs in `supervise/event`.
fn listeners(service: &Service) -> usize {
    let names = fs::read_dir(service.path("supervise/event")).into_iter().flatten().flatten();
    names.filter(|name| name.file_name().as_bytes().starts_with(b"ftrig1:")).count()
}

/// Starts a program in the background for which an inotify system call fails. `trace` records what it reads and waits
/// for.
fn refused(scratch: &Scratch, fault: &str, line: &str) -> Daemon {
    let inject = format!("inject={fault}");
    let mut command = scratch.command("strace");
    command.args(["-f", "-o", "trace", "-e", "trace=read,poll,ppoll,inotify_init1,inotify_add_watch", "-e", &inject]);
    Daemon::start(command.args(line.split(' ')), scratch)
}

const REFUSED: [&str; 2] = ["inotify_init1:error=EMFILE", "inotify_add_watch:error=ENOSPC"];

fn sleeps(scratch: &Scratch) -> bool {
    let trace = fs::read_to_string(scratch.path().join("trace")).unwrap_or_default();
    trace.lines().last().is_some_and(|line| line.contains("poll(") && !line.contains(") ="))
}

#[test]
fn without_inotify_supervise_itself_tells() {
    if !has("strace") {
        return;
    }
    for fault in REFUSED {
        let scratch = Scratch::new();
        let service = sleeper(&scratch, "web").down();
        let _supervise = service.supervise();
        let steps =
            [("up", "-u"), ("restarted", "-k"), ("down", "-d"), ("ready", "-o"), ("finished", "-t"), ("up", "-u")];
        for (goal, command) in steps {
            let mut wait = refused(&scratch, fault, &format!("svwait {goal} web"));
            wait_until("it listens", || listeners(&service) == 1 && sleeps(&scratch));
            assert!(!wait.has_ended(), "{goal}");
            service.svc(command);
            assert_eq!((wait.wait(), wait.errors().as_str()), (0, ""), "{goal}");
            assert_eq!(listeners(&service), 0);
        }
        // A letter in the FIFO has woken it.
        let trace = fs::read_to_string(scratch.path().join("trace")).unwrap();
        assert!(trace.lines().any(|line| line.contains("read(") && line.contains("\"u")), "{trace}");
        // This also holds for one service of two, and for svc itself.
        assert_eq!(scratch.run(&format!("strace -f -o trace -e inject={fault} svc -t -W restarted web")), prints(""));
        assert_eq!(scratch.run(&format!("strace -f -o trace -e inject={fault} svwait -T 30ms down web")).code, 99);
    }
}

#[test]
fn where_nothing_tells_it_asks() {
    if !has("strace") {
        return;
    }
    for fault in REFUSED {
        let scratch = Scratch::new();
        // At first nothing of the service exists; then everything except the place to listen; then there is a logger,
        // whose transitions are not reported there.
        let service = sleeper(&scratch, "web").script("log", "exec cat >/dev/null");
        let mut wait = refused(&scratch, fault, "svwait ready web");
        wait_until("it asks", || sleeps(&scratch));
        let supervise = service.supervise();
        assert_eq!((wait.wait(), wait.errors().as_str()), (0, ""));
        fs::remove_dir_all(service.path("supervise/event")).unwrap();
        for (goal, command) in [("restarted", "-k"), ("down", "-d"), ("ready", "-u")] {
            let mut wait = refused(&scratch, fault, &format!("svwait {goal} web"));
            wait_until("it asks", || sleeps(&scratch));
            service.svc(command);
            assert_eq!((wait.wait(), wait.errors().as_str()), (0, ""), "{goal}");
        }
        assert_eq!(scratch.run(&format!("strace -f -o trace -e inject={fault} svc -Lk -W restarted web")), prints(""));
        // Another supervise may still come.
        supervise.kill();
        let mut wait = refused(&scratch, fault, "svwait restarted web");
        wait_until("it asks", || sleeps(&scratch));
        let _supervise = service.supervise();
        service.svc("-k");
        assert_eq!((wait.wait(), wait.errors().as_str()), (0, ""));
    }
}

#[test]
fn what_lies_among_listeners_does_no_harm() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let service = sleeper(&scratch, "web").down();
    let _supervise = service.supervise();
    for instead in
        ["mkfifo $f", "ln -s /etc $f", "ln -s /dev/full $f", "echo >$f", "mkdir -m 0 $f", "mkdir $f; chmod 1777 $f"]
    {
        let script = format!("f=web/supervise/event; rm -rf $f; {instead}");
        assert_eq!(scratch.shell(&script), prints(""));
        let mut wait = refused(&scratch, REFUSED[0], "svwait restarted web");
        wait_until("it waits", || sleeps(&scratch));
        service.svc("-ku");
        assert_eq!((wait.wait(), wait.errors().as_str()), (0, ""), "{instead}");
    }
    assert!(!fs::read_dir("/etc").unwrap().flatten().any(|entry| entry.file_name().as_bytes().starts_with(b"ftrig1:")));
}

/// In a user namespace of its own, in which two processes may use inotify.
#[test]
fn any_number_may_wait_though_few_may_use_inotify() {
    let scratch = Scratch::new();
    let limit = "echo 2 >/proc/sys/user/max_inotify_instances";
    if scratch.outcome_of(scratch.command("unshare").args(["-Ur", "/bin/sh", "-c", limit])) != prints("") {
        return skip("there are no user namespaces");
    }
    let service = sleeper(&scratch, "web").down();
    let _supervise = service.supervise();
    let script = format!(
        "{limit}; for number in $(seq 40); do svwait -T 30s ready web & pids=\"$pids $!\"; done; \
         for pid in $pids; do wait $pid; echo $?; done >codes"
    );
    let mut all = Daemon::start(scratch.command("unshare").args(["-Ur", "/bin/sh", "-c", &script]), &scratch);
    wait_until("most listen", || listeners(&service) == 38);
    service.svc("-u");
    assert_eq!((all.wait(), all.errors().as_str()), (0, ""));
    assert_eq!(fs::read_to_string(scratch.path().join("codes")).unwrap(), "0\n".repeat(40));
    assert_eq!(listeners(&service), 0);
}

#[test]
fn it_sleeps_while_nothing_happens() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let (web, up) = (sleeper(&scratch, "web").down(), sleeper(&scratch, "up"));
    let _supervises = (web.supervise(), up.supervise());
    // No supervise is in charge of the service any more, and none comes.
    let left = sleeper(&scratch, "left").down();
    let mut supervise = left.supervise();
    left.svc("-x");
    assert_eq!(supervise.wait(), 0);
    for (line, most) in [("svwait -T 1s up web", 3), ("svwait -T 8s finished left up", 5)] {
        assert_eq!(scratch.shell(&format!("strace -o trace -e trace=poll,ppoll {line}")).code, 99, "{line}");
        let trace = fs::read_to_string(scratch.path().join("trace")).unwrap();
        let sleeps = trace.matches("poll(").count();
        // svwait sleeps once. It may wake once more because of its own first look, or because its patience ends.
        assert!(sleeps <= most, "{line}: {trace}");
    }
}

#[test]
fn the_originals_supervise_is_waited_for_as_far_as_its_bytes_tell() {
    let Some(others) = others() else { return };
    let scratch = Scratch::new();
    let service = sleeper(&scratch, "web").down();
    let mut supervise = Daemon::start(scratch.command(others.join("supervise").to_str().unwrap()).arg("web"), &scratch);
    wait_until("it is in charge", || service.is_supervised());
    for (goal, command) in [("up", "-u"), ("restarted", "-t"), ("down", "-d"), ("ready", "-u"), ("finished", "-d")] {
        let mut wait = waiting(&scratch, &format!("svwait {goal} web"), 1);
        service.svc(command);
        assert_eq!((wait.wait(), wait.errors().as_str()), (0, ""), "{goal}");
    }
    // This state was left by a supervise of ours, so it is not about the present process.
    scratch.file("web/supervise/state", "starts 7\nphase failed\n");
    assert_eq!(scratch.run("svwait -T 30ms up web").code, 99);
    let mut wait = waiting(&scratch, "svwait up web", 1);
    service.svc("-x");
    assert_eq!(supervise.wait(), 0);
    assert_eq!(
        (wait.wait(), wait.errors().as_str()),
        (1, "svwait: warning: web is not up: supervise not running, last seen down\n")
    );
}

#[test]
fn svup_says_whether_it_is_up() {
    let scratch = Scratch::new();
    let service = sleeper(&scratch, "web").down();
    assert_eq!(scratch.run("svup web"), fails(100, ""));
    let supervise = service.supervise();
    assert_eq!(scratch.run("svup web"), fails(100, ""));
    service.svc("-u");
    service.up();
    assert_eq!(scratch.run("svup web"), prints(""));
    assert_eq!(scratch.run("svup -l web"), prints(""));
    // The service has no logger.
    assert_eq!(scratch.run("svup -L web"), fails(100, ""));
    // No supervise confirms the status any more.
    supervise.kill();
    assert_eq!(scratch.run("svup web"), fails(100, ""));
}

#[test]
fn svup_asks_for_the_logger_that_the_same_supervise_runs() {
    let scratch = Scratch::new();
    let service = sleeper(&scratch, "web").script("log", "exec cat >/dev/null");
    let _supervise = service.supervise();
    service.up();
    wait_until("both are up", || scratch.run("svup web") == prints(""));
    service.svc("-Ld");
    wait_until("the logger is down", || scratch.run("svup -L web") == fails(100, ""));
    assert_eq!(scratch.run("svup web"), fails(100, ""));
    assert_eq!(scratch.run("svup -l web"), prints(""));
}

#[test]
fn svup_asks_for_the_logger_that_has_a_supervise_of_its_own() {
    let scratch = Scratch::new();
    let (service, logger) = (sleeper(&scratch, "web"), sleeper(&scratch, "web/log").down());
    let supervise = service.supervise();
    service.up();
    assert_eq!(scratch.run("svup web"), prints(""));
    assert_eq!(scratch.run("svup -L web"), fails(100, ""));
    let _logger = logger.supervise();
    assert_eq!(scratch.run("svup -L web"), fails(100, ""));
    logger.svc("-u");
    logger.up();
    assert_eq!(scratch.run("svup -L web"), prints(""));
    // The answer about the logger does not depend on the service.
    supervise.kill();
    assert_eq!(scratch.run("svup -L web"), prints(""));
    assert_eq!(scratch.run("svup web"), fails(100, ""));
}

#[test]
fn svup_says_why_it_cannot() {
    let scratch = Scratch::new();
    let usage = "svup: usage: svup [ -lL ] service\n";
    assert_eq!(scratch.run("svup"), fails(100, usage));
    assert_eq!(scratch.run("svup -x web"), fails(100, &format!("svup: illegal option -- x\n{usage}")));
    assert_eq!(scratch.run("svup web"), fails(111, "svup: fatal: unable to chdir to web: file does not exist\n"));
    scratch.dir("web/supervise");
    let ok = scratch.path().join("web/supervise/ok");
    fifo(&ok).unwrap();
    let _reader = File::options().read(true).custom_flags(O_NONBLOCK).open(ok).unwrap();
    let missing = "svup: fatal: unable to open web/supervise/status: file does not exist\n";
    assert_eq!(scratch.run("svup web"), fails(111, missing));
    scratch.file("web/supervise/status", "short");
    assert_eq!(scratch.run("svup web"), fails(111, "svup: fatal: unable to read web/supervise/status: bad format\n"));
}

/// Each time the service has a process for a moment, and 0.76's readers see that process for a whole second.
#[test]
fn what_was_never_executed_is_not_up() {
    for delay in ["1", "1000"] {
        let scratch = Scratch::new();
        let service = sleeper(&scratch, "web").file("restart-delay", delay);
        scratch.mode("web/run", 0o644);
        let _supervise = service.supervise();
        let starts = || service.state("starts")[0].parse::<u64>().unwrap();
        wait_until("it was tried", || service.is_supervised() && starts() >= 1);
        while starts() < 3 {
            assert_eq!(scratch.run("svup web"), fails(100, ""));
        }
        assert_eq!(scratch.run("svwait -T 300ms up web").code, 99);
        assert_eq!(scratch.run("svc -u -T 300ms -W up web").code, 99);
        scratch.mode("web/run", 0o755);
        assert_eq!(scratch.run("svwait up web"), prints(""));
        assert_eq!(scratch.run("svup web"), prints(""));
    }
}

/// A service that has been executed is up, even if it has not yet reported that it is ready.
#[test]
fn what_is_executed_and_not_ready_is_up() {
    let scratch = Scratch::new();
    let service = sleeper(&scratch, "web").file("notification-fd", "5");
    let _supervise = service.supervise();
    wait_until("it is supervised", || service.is_supervised());
    assert_eq!(scratch.run("svwait up web"), prints(""));
    assert_eq!(scratch.run("svup web"), prints(""));
    assert!(service.state("ready").is_empty() && service.state("gated").is_empty());
}
