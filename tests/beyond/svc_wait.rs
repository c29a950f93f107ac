//! svc that waits for the effect of its commands, or that fails if it could not command every service.

use crate::svwait::waiting;
use nix::libc::O_NONBLOCK;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use tests::{Daemon, Scratch, Service, fails, fifo, has, is_alive, others, prints, state_of, wait_until};

const SLEEPS: &str = "echo >>starts; exec sleep 1000";

#[test]
fn strict_it_fails_where_it_cannot_command() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", SLEEPS).down();
    let _supervise = service.supervise();
    let missing = "svc: warning: unable to chdir to missing: file does not exist\n";
    assert_eq!(scratch.run("svc -u missing"), fails(0, missing));
    // The other services are commanded all the same.
    assert_eq!(scratch.run("svc -s -u missing web"), fails(1, missing));
    service.up();
    assert_eq!(scratch.run("svc -ds web"), prints(""));
    assert_eq!(scratch.run("svc -s").code, 0);
    scratch.dir("empty");
    let empty = "svc: warning: unable to control empty: file does not exist\n";
    assert_eq!(scratch.run("svc -su empty"), fails(1, empty));
}

#[test]
fn one_that_does_not_listen_does_not_keep_it_from_the_others() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", SLEEPS).down();
    let _supervise = service.supervise();
    // A process holds the FIFO open, has filled it, and never reads.
    scratch.dir("deaf/supervise");
    let control = scratch.path().join("deaf/supervise/control");
    fifo(&control).unwrap();
    let mut held = File::options().read(true).write(true).custom_flags(O_NONBLOCK).open(&control).unwrap();
    while held.write_all(&[b'z'; 4096]).is_ok() {}
    let late = "svc: warning: error writing commands to deaf: timed out\n";
    assert_eq!(scratch.run("svc -s -u deaf web"), fails(1, late));
    let pid = service.up();
    // svc waits for it as long as it may still read.
    let mut waits = Daemon::start(scratch.command("svc").args(["-s", "-u", "deaf"]), &scratch);
    wait_until("it waits", || state_of(waits.pid()) == Some('S'));
    let mut byte = [0];
    while byte != *b"u" {
        held.read_exact(&mut byte).unwrap_or_else(|error| assert_eq!(error.kind(), ErrorKind::WouldBlock));
    }
    assert_eq!((waits.wait(), waits.errors().as_str()), (0, ""));
    if has("strace") {
        // The reader goes away meanwhile.
        let gone = "svc: warning: error writing commands to deaf: broken pipe\n";
        let inject = "strace -o trace -e inject=write:error=EPIPE:signal=SIGPIPE:when=1 svc -s -k deaf web";
        assert_eq!(scratch.run(inject), fails(1, gone));
        service.another(pid);
    }
}

/// A supervise that is stopped stands for one that is killed before it has read its commands.
#[test]
fn what_was_acknowledged_is_obeyed_though_supervise_is_killed_before_it_has_read_it() {
    for tells in ["svc -s -d web", "svc -W down -d web", "svctl -d . --no-wait stop web", "svctl -d . stop web"] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", SLEEPS);
        let supervise = service.supervise();
        service.up();
        supervise.signal(Signal::SIGSTOP);
        let words: Vec<&str> = tells.split(' ').collect();
        let mut told = Daemon::start(scratch.command(words[0]).args(&words[1..]), &scratch);
        wait_until_written(&scratch, "web");
        supervise.kill();
        let _next = service.supervise();
        assert_eq!((told.wait(), told.errors().as_str()), (0, ""), "{tells}");
        wait_until("it is down", || service.status().pid == 0);
    }
}

#[test]
fn strict_it_fails_where_commands_are_not_read() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", SLEEPS);
    let supervise = service.supervise();
    service.up();
    supervise.signal(Signal::SIGSTOP);
    // The original does not look whether they are read.
    assert_eq!(scratch.run("svc -c web"), prints(""));
    let unread = "svc: warning: commands to web are written, but not read yet\n";
    assert_eq!(scratch.run("svc -s -d web"), fails(1, unread));
    supervise.signal(Signal::SIGCONT);
    wait_until("it is obeyed late", || service.status().pid == 0);
    supervise.signal(Signal::SIGSTOP);
    let mut told = Daemon::start(scratch.command("svc").args(["-s", "-u", "web"]), &scratch);
    wait_until_written(&scratch, "web");
    supervise.kill();
    let lost = "svc: warning: commands to web are lost: its supervise has ended without reading them\n";
    assert_eq!((told.wait(), told.errors().as_str()), (1, lost));
}

/// Waits until commands are in the FIFO of a service.
fn wait_until_written(scratch: &Scratch, service: &str) {
    let control = scratch.path().join(service).join("supervise/control");
    let commands = File::options().read(true).custom_flags(O_NONBLOCK).open(control).unwrap();
    wait_until("the command is written", || {
        let mut fds = [PollFd::new(commands.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO) == Ok(1)
    });
}

#[test]
fn when_it_returns_it_is_so() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", SLEEPS).file("restart-delay", "1").down();
    let _supervise = service.supervise();
    for _ in 0..10 {
        assert_eq!(scratch.run("svc -u -W ready web"), prints(""));
        let pid = service.status().pid;
        assert!(is_alive(pid));
        assert_eq!(scratch.run("svc -t -W restarted web"), prints(""));
        let next = service.status().pid;
        assert!(next != pid && next != 0 && !is_alive(pid));
        // The `run` before the restart counts neither as ready nor as up.
        assert_eq!(scratch.run("svc -k -W ready -T 20s web"), prints(""));
        assert!(service.status().pid != next && !service.state("ready").is_empty());
        let last = service.status().pid;
        assert_eq!(scratch.run("svc -du -Wup web"), prints(""));
        assert!(service.status().pid != last);
        assert_eq!(scratch.run("svc -d -W down web"), prints(""));
        assert_eq!(service.status().pid, 0);
        assert_eq!(scratch.run("svc -d -W down web"), prints(""));
    }
}

#[test]
fn a_job_is_finished_after_it_was_begun() {
    let scratch = Scratch::new();
    let service =
        Service::new(&scratch, "job", "echo >>starts").script("finish", "echo >>finishes").file("restart-delay", "1");
    let service = service.down();
    let _supervise = service.supervise();
    for count in 1..=10 {
        assert_eq!(scratch.run("svc -o -W finished job"), prints(""));
        let counts = ["starts", "finishes"].map(|file| service.says(file).lines().count());
        assert_eq!(counts, [count, count]);
    }
    // The run was too short to be seen up, but it counts.
    for _ in 0..10 {
        assert_eq!(scratch.run("svc -o -W up job"), prints(""));
        assert_eq!(scratch.run("svc -W finished job"), prints(""));
        assert_eq!(scratch.run("svc -o -W restarted job"), prints(""));
        assert_eq!(scratch.run("svwait finished job"), prints(""));
    }
    assert_eq!(service.says("starts").lines().count(), 30);
}

#[test]
fn down_comes_before_finished() {
    let scratch = Scratch::new();
    let finish = "while [ ! -e go ]; do sleep 0.01; done; echo >finished";
    let service = Service::new(&scratch, "web", SLEEPS).script("finish", finish).file("timeout-finish", "0");
    let _supervise = service.supervise();
    service.lines("starts", 1);
    let mut finished = waiting(&scratch, "svwait finished web", 1);
    assert_eq!(scratch.run("svc -d -W down web"), prints(""));
    assert!(!finished.has_ended());
    assert_eq!(scratch.run("svc -W finished -T 30ms web").code, 99);
    scratch.file("web/go", "");
    assert_eq!(finished.wait(), 0);
    assert_eq!(service.says("finished"), "\n");
}

#[test]
fn up_comes_before_ready() {
    let scratch = Scratch::new();
    let run = "echo >>starts; while [ ! -e go ]; do sleep 0.01; done; echo >&3; exec sleep 1000";
    let service = Service::new(&scratch, "web", run).file("notification-fd", "3").down();
    let _supervise = service.supervise();
    assert_eq!(scratch.run("svc -u -W up web"), prints(""));
    assert_eq!(
        scratch.run("svc -W ready -T 30ms web"),
        fails(99, "svc: warning: web is not ready: timed out: up, not ready\n")
    );
    let mut ready = waiting(&scratch, "svc -u -W ready web", 1);
    scratch.file("web/go", "");
    assert_eq!((ready.wait(), ready.errors().as_str()), (0, ""));
    assert_eq!(service.says("starts").lines().count(), 1);
}

#[test]
fn what_does_not_obey_is_late() {
    let scratch = Scratch::new();
    let run = "trap '' TERM; echo >started; while :; do sleep 0.01; done";
    let service = Service::new(&scratch, "deaf", run);
    let _supervise = service.supervise();
    service.lines("started", 1);
    service.svc("-d");
    wait_until("it is told to end", || !service.state("ending").is_empty());
    for goal in ["down", "finished"] {
        let late = format!("svc: warning: deaf is not {goal}: timed out: up, told to end; svc -k kills it\n");
        assert_eq!(scratch.run(&format!("svc -d -W {goal} -T 50ms deaf")), fails(99, &late));
    }
    assert_eq!(scratch.run("svc -k -W down -T 20s deaf"), prints(""));
}

#[test]
fn an_earlier_failure_does_not_count_a_new_one_does() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "[ -e well ] && exec sleep 1000; exit 100");
    let service = service.file("notification-fd", "3");
    let _supervise = service.supervise();
    service.wait_for("has failed", |status| status.phase == Some(5));
    for _ in 0..10 {
        let failed = "svc: warning: web is not ready: failed: exited 100, which means not to restart it\n";
        assert_eq!(scratch.run("svc -u -W ready web"), fails(1, failed));
    }
    // Without a command that starts it, the service stays failed.
    assert_eq!(scratch.run("svc -h -W ready web").code, 1);
    scratch.file("web/well", "");
    for _ in 0..3 {
        assert_eq!(scratch.run("svc -u -W up web"), prints(""));
        assert_eq!(scratch.run("svc -d -W finished web"), prints(""));
    }
}

#[test]
fn all_of_several_must_come_there() {
    let scratch = Scratch::new();
    let names = ["a", "b", "c"];
    let services = names.map(|name| Service::new(&scratch, name, SLEEPS).down());
    let _supervises = services.each_ref().map(Service::supervise);
    assert_eq!(scratch.run("svc -u -W ready a b c"), prints(""));
    assert!(services.iter().all(|service| is_alive(service.status().pid)));
    let missing = "svc: warning: unable to chdir to missing: file does not exist\n";
    assert_eq!(scratch.run("svc -d -W down a missing c"), fails(1, missing));
    services[0].wait_down();
    services[2].wait_down();
    assert_eq!(scratch.run("svc -u -W up -T 20s").code, 0);
}

#[test]
fn a_supervise_told_to_exit_leaves_it_down() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", SLEEPS);
    for _ in 0..5 {
        let mut supervise = service.supervise();
        service.up();
        assert_eq!(scratch.run("svc -dx -W finished web"), prints(""));
        assert_eq!(supervise.wait(), 0);
    }
    assert_eq!(
        scratch.run("svc -u -W up web"),
        fails(1, "svc: warning: unable to control web: supervise not running\n")
    );
    // The service was wanted up until its supervise went away.
    let mut supervise = service.supervise();
    service.up();
    assert_eq!(scratch.run("svc -xt -W down web"), prints(""));
    assert_eq!(supervise.wait(), 0);
}

#[test]
fn what_is_told_only_that_its_supervise_is_to_exit_is_not_waited_for() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", SLEEPS);
    let mut supervise = service.supervise();
    let pid = service.up();
    for goal in ["down", "finished", "restarted"] {
        let on = format!(
            "svc: warning: web is not {goal}: runs on, as -x alone ends nothing: say -dx; supervise exits when it is next down\n"
        );
        assert_eq!(scratch.run(&format!("svc -x -W {goal} web")), fails(1, &on));
    }
    // supervise has been told all the same, and obeys when the service is down.
    wait_until("it is written down", || service.says("supervise/state").contains("\nleaving\n"));
    assert!(is_alive(pid));
    assert_eq!(scratch.run("svc -x -W up web"), prints(""));
    assert_eq!(scratch.run("svc -dx -W finished web"), prints(""));
    assert_eq!(supervise.wait(), 0);
    // A command to exit reaches its goal if the service is down, or runs only once.
    let job = Service::new(&scratch, "job", "while [ ! -e go ]; do sleep 0.01; done").down();
    let mut supervise = job.supervise();
    job.svc("-o");
    job.up();
    let mut wait = waiting(&scratch, "svc -x -W finished job", 1);
    scratch.file("job/go", "");
    assert_eq!((wait.wait(), wait.errors().as_str(), supervise.wait()), (0, "", 0));
    let idle = Service::new(&scratch, "idle", SLEEPS).down();
    let mut supervise = idle.supervise();
    assert_eq!(scratch.run("svc -x -W finished idle"), prints(""));
    assert_eq!(supervise.wait(), 0);
}

#[test]
fn the_logger_that_the_same_supervise_runs_is_waited_for_if_it_is_told() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", SLEEPS).script("log", "exec cat >/dev/null");
    let _supervise = service.supervise();
    let pid = service.up();
    wait_until("the logger is ready", || !service.state("log-ready").is_empty());
    let logger = service.state("log-pid");
    assert_eq!(scratch.run("svc -Lk -W restarted web"), prints(""));
    assert_ne!(service.state("log-pid"), logger);
    assert_eq!(scratch.run("svc -Ld -W down web"), prints(""));
    assert!(service.state("log-pid").is_empty());
    assert_eq!(service.status().pid, pid);
}

#[test]
fn commands_for_the_logger_do_not_reach_what_others_command_behind_them() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", SLEEPS).script("log", "exec cat >/dev/null");
    let supervise = service.supervise();
    service.up();
    wait_until("the logger is ready", || !service.state("log-ready").is_empty());
    let logger = service.state("log-pid");
    // All commands wait in the FIFO when supervise reads again.
    supervise.signal(Signal::SIGSTOP);
    for options in ["-L -t", "-d"] {
        assert_eq!(scratch.run(&format!("svc {options} web")), prints(""));
    }
    supervise.signal(Signal::SIGCONT);
    service.wait_down();
    wait_until("the logger is up again", || !service.state("log-pid").is_empty() && service.state("log-pid") != logger);
    assert_eq!(scratch.run("svc -W finished web"), prints(""));
    assert_eq!((service.status().pid, service.state("log-want")), (0, vec!["up".to_string()]));
    // The commands before those for the logger are for the service.
    assert_eq!(scratch.run("svc -u -Ld -W down web"), prints(""));
    service.up();
}

#[test]
fn the_originals_supervise_is_commanded_and_waited_for() {
    let Some(others) = others() else { return };
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", SLEEPS).down();
    let mut supervise = Daemon::start(scratch.command(others.join("supervise").to_str().unwrap()).arg("web"), &scratch);
    wait_until("it is in charge", || service.is_supervised());
    for _ in 0..2 {
        assert_eq!(scratch.run("svc -u -W ready web"), prints(""));
        let pid = service.status().pid;
        assert_eq!(scratch.run("svc -t -W restarted web"), prints(""));
        assert!(service.status().pid != pid && service.status().pid != 0);
        assert_eq!(scratch.run("svc -d -W finished web"), prints(""));
        assert_eq!(service.status().pid, 0);
    }
    assert_eq!(scratch.run("svc -u -W up web"), prints(""));
    assert_eq!(scratch.run("svc -x -W down web").code, 1);
    assert_eq!(scratch.run("svc -dx -W down web"), prints(""));
    assert_eq!(supervise.wait(), 0);
}

#[test]
fn no_service_gets_a_command_for_a_goal_that_cannot_be_waited_for() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", SLEEPS).down();
    let _supervise = service.supervise();
    let goal = "svc: fatal: unable to wait for sideways: not one of up ready down finished restarted\n";
    assert_eq!(scratch.run("svc -u -W sideways web"), fails(100, goal));
    assert_eq!(
        scratch.run("svc -u -W up -T soon web"),
        fails(100, "svc: fatal: timeout soon: not a duration, as in 5s or 1m 30s\n")
    );
    assert_eq!(scratch.run("svc -u -W").code, 100);
    assert!(service.says("starts").is_empty() && service.state("starts") == ["0"]);
}
