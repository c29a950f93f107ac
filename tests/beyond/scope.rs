//! Which processes a stop reaches: the group, the tree, and no others; also after supervise was killed.

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, chown};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::thread::sleep;
use std::time::Duration;
use tests::{Daemon, Scratch, Service, is_alive, is_root, skip, wait_until};

/// Starts a daemon as daemons start themselves: in a session of its own, after its parents have ended. It ignores TERM.
const DAEMON: &str =
    "(setsid sh -c 'trap \"\" TERM; echo $$ >>daemons; while :; do sleep 0.1; done' </dev/null >/dev/null 2>&1 &)";

/// The process numbers in a file.
fn pids(service: &Service, file: &str, count: usize) -> Vec<i32> {
    service.lines(file, count).iter().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn a_daemon_of_its_own_ends_with_its_service_under_the_next_supervise_too() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{DAEMON}; echo >>starts; exec sleep 1000"))
        .file("kill-scope", "tree")
        .file("timeout-kill", "100");
    let supervise = service.supervise();
    let first = pids(&service, "daemons", 1)[0];
    service.lines("starts", 1);
    supervise.kill();
    let mut supervise = service.supervise();
    assert!(is_alive(first));
    service.svc("-t");
    let second = pids(&service, "daemons", 2)[1];
    assert!(!is_alive(first), "a process of the last run lives beside the next run");
    service.lines("starts", 2);
    supervise.kill();
    supervise = service.supervise();
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    assert!(!is_alive(second));
}

/// A `finish` that hangs would otherwise leave a process behind at each restart.
#[test]
fn what_a_finish_has_started_is_killed_with_it_where_the_scope_says_so() {
    for (scope, is_killed) in [("main", false), ("group", true), ("tree", true)] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000")
            .script("finish", "sleep 1000 & echo $! >>left; exec sleep 1000")
            .file("kill-scope", scope)
            .file("timeout-finish", "100");
        let supervise = service.supervise();
        service.lines("starts", 1);
        service.svc("-t");
        let left = pids(&service, "left", 1)[0];
        wait_until("finish is killed", || supervise.errors().contains("finish still runs after 100ms: killed"));
        service.lines("starts", 2);
        if is_killed {
            wait_until("what it has left is killed", || !is_alive(left));
        } else {
            assert!(is_alive(left));
            kill(Pid::from_raw(left), Signal::SIGKILL).unwrap();
        }
    }
}

#[test]
fn what_a_crash_leaves_is_gone_before_the_next_run() {
    for (scope, leave) in [("tree", DAEMON), ("group", "sleep 1000 & echo $! >>daemons")] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", &format!("{leave}; echo >>starts; exec sleep 1000"))
            .file("kill-scope", scope)
            .file("restart-delay", "10");
        let mut supervise = service.supervise();
        for number in 1..4 {
            let daemons = pids(&service, "daemons", number);
            service.lines("starts", number);
            let gone = || daemons[..number - 1].iter().all(|pid| !is_alive(*pid));
            // One signal kills the whole group, but its members may take a moment to end.
            if scope == "group" {
                wait_until("those before are gone", gone);
            }
            assert!(gone(), "{scope}: {daemons:?}");
            assert!(is_alive(daemons[number - 1]), "{scope}");
            kill(Pid::from_raw(service.up()), Signal::SIGKILL).unwrap();
        }
        service.svc("-dx");
        assert_eq!(supervise.wait(), 0);
        wait_until("none is left", || service.says("daemons").lines().all(|pid| !is_alive(pid.parse().unwrap())));
    }
}

/// The group is that of `run`, even for a supervise that finds only `finish` running.
#[test]
fn a_group_is_remembered_while_finish_runs() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "sleep 1000 & echo $! >>daemons; echo $$ >>starts; exec sleep 1000")
        .script("finish", "echo $4 >>groups; while [ ! -e go ]; do sleep 0.01; done")
        .file("timeout-finish", "0")
        .file("kill-scope", "group");
    let supervise = service.supervise();
    let run = pids(&service, "starts", 1)[0];
    let left = pids(&service, "daemons", 1)[0];
    kill(Pid::from_raw(run), Signal::SIGKILL).unwrap();
    assert_eq!(pids(&service, "groups", 1), [run]);
    supervise.kill();
    let mut supervise = service.supervise();
    assert!(is_alive(left));
    service.svc("-d");
    fs::write(service.path("go"), "").unwrap();
    service.svc("-x");
    assert_eq!(supervise.wait(), 0);
    wait_until("what run left is killed", || !is_alive(left));
}

/// When `finish` has ended, the number of `run` may belong to another process and to its group.
#[test]
fn a_group_that_got_the_number_later_is_not_killed() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo $$ >>starts; exec sleep 1000")
        .script("finish", "echo $$ >>finishes; exec sleep 1000")
        .file("timeout-finish", "0")
        .file("kill-scope", "group");
    let supervise = service.supervise();
    let run = pids(&service, "starts", 1)[0];
    kill(Pid::from_raw(run), Signal::SIGKILL).unwrap();
    let finish = pids(&service, "finishes", 1)[0];
    // Two processes with the same pid differ by the clock tick in which they were started.
    sleep(Duration::from_millis(50));
    let mut stranger = scratch.command("sleep").arg("1000").process_group(0).spawn().unwrap();
    let (number, state) = (stranger.id(), service.says("supervise/state"));
    supervise.kill();
    let made_up = state.replace(&format!("\nlast-run {run} "), &format!("\nlast-run {number} "));
    assert_ne!(made_up, state);
    fs::write(service.path("supervise/state"), made_up).unwrap();
    let _supervise = service.supervise();
    kill(Pid::from_raw(finish), Signal::SIGKILL).unwrap();
    pids(&service, "starts", 2);
    assert!(stranger.try_wait().unwrap().is_none(), "a stranger was killed");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn what_is_born_while_the_tree_is_felled_falls_too() {
    let scratch = Scratch::new();
    // Each process that is told to end leaves another one.
    let heirs = "heir() { trap 'heir & exit' TERM; echo >>heirs; while :; do sleep 0.01; done; }; heir & heir & wait";
    let service = Service::new(&scratch, "web", heirs).file("kill-scope", "tree").file("timeout-kill", "200");
    let mut supervise = service.supervise();
    service.lines("heirs", 2);
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    let left = || {
        let all = tests::processes_in(scratch.path());
        all.into_iter().filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == service.path("")))
    };
    wait_until("none is left", || left().next().is_none());
}

/// The logger, the `notify` program and supervise itself do not belong to the tree.
#[test]
fn a_tree_has_no_other_members() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo line; echo >>starts; exec sleep 1000")
        .script("log", "echo $$ >>loggers; exec cat >>out")
        .script("notify", "echo $$ >>notifiers; exec sleep 1000")
        .file("kill-scope", "tree")
        .file("restart-delay", "10");
    let mut supervise = service.supervise();
    service.lines("starts", 1);
    let logger = pids(&service, "loggers", 1)[0];
    let before = pids(&service, "notifiers", 2);
    service.svc("-t");
    service.lines("starts", 2);
    service.svc("-d");
    service.wait_down();
    assert!(is_alive(logger) && before.iter().all(|pid| is_alive(*pid)));
    service.svc("-x");
    assert_eq!(supervise.wait(), 0);
    assert!(before.iter().all(|pid| is_alive(*pid)));
    assert_eq!(pids(&service, "loggers", 1), [logger]);
}

/// Any account may start a set-uid program with the mark of any service in its environment. The program is not of
/// the service, and no process that the program starts is.
#[test]
fn a_tree_has_no_members_that_another_account_has_marked_and_could_not_kill() {
    if !is_root() {
        return skip("only root can make a set-uid program of root");
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000").file("kill-scope", "tree");
    scratch.copy_program("/bin/sleep", "sleep");
    scratch.mode("sleep", 0o4755);
    let directory = fs::metadata(service.path("")).unwrap();
    let mark = format!("{}/{}", directory.dev(), directory.ino());
    let start = |program: &str, arguments: &[&str]| {
        let mut command = scratch.command(program);
        Daemon::start(command.args(arguments).uid(65534).env("SUPERVISE_TREE", &mark), &scratch)
    };
    let set_uid = scratch.path().join("sleep").to_str().unwrap().to_string();
    let stranger = start(&set_uid, &["1000"]);
    // The parent has the mark too, and has gained no rights, so supervise takes it for a process of the service.
    let parent = start("sh", &["-c", &format!("{set_uid} 1000 & wait")]);
    let mut child = None;
    wait_until("both are executed", || {
        child = tests::children_of(parent.pid()).first().copied();
        let is_one = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n");
        child.is_some_and(|child| [child, stranger.pid()].iter().all(is_one))
    });
    let child = child.unwrap();
    let status = |pid: i32| fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    if !status(stranger.pid()).contains("Uid:\t65534\t0\t0") {
        return skip("the file system of the scratch directory ignores the set-uid bit");
    }
    let mut supervise = service.supervise();
    for (number, command) in ["-t", "-k", "-dx"].into_iter().enumerate() {
        service.lines("starts", number + 1);
        service.svc(command);
    }
    assert_eq!(supervise.wait(), 0);
    assert!(is_alive(stranger.pid()) && is_alive(child));
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
}

/// In this case the processes of the service have a mark. The logger goes on, whichever supervise has started it.
#[test]
fn the_logger_is_not_of_the_tree_where_supervise_is_anothers() {
    if !is_root() {
        return skip("only root can give a directory away");
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{DAEMON}; echo $$ >>starts; exec sleep 1000"))
        .script("log", "echo $$ >>loggers; exec cat >>out")
        .file("kill-scope", "tree")
        .file("restart-delay", "10");
    fs::create_dir(service.path("supervise")).unwrap();
    chown(&service.path("supervise"), Some(65534.into()), None).unwrap();
    let mut supervise = service.supervise();
    let logger = pids(&service, "loggers", 1)[0];
    for count in 1..5 {
        let daemons = pids(&service, "daemons", count);
        service.lines("starts", count);
        if count == 3 {
            wait_until("it is ready", || !service.state("ready").is_empty());
            supervise.kill();
            supervise = service.supervise();
        }
        service.svc("-t");
        service.lines("starts", count + 1);
        assert!(is_alive(logger), "killed after {count} runs: {}", supervise.errors());
        assert!(!is_alive(daemons[count - 1]), "a process of the tree was not found");
    }
    assert_eq!(pids(&service, "loggers", 1), [logger]);
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
}

/// The settings that make supervise the parent of orphans belong to the service; its logger has none.
#[test]
fn orphans_stay_the_services_though_its_logger_is_started_again() {
    let scratch = Scratch::new();
    let orphan = "(env -i sh -c 'sleep 0.3; setsid sleep 1000 & echo $! >>../orphans' &)".replace('\'', "'\\''");
    let run = format!("trap '{orphan}' HUP; echo $$ >>starts; while :; do sleep 0.1; done");
    let service = Service::new(&scratch, "web", &run).script("log", "exec cat >>out").file("kill-scope", "tree\n");
    let mut supervise = service.supervise();
    service.lines("starts", 1);
    wait_until("it is ready", || !service.state("ready").is_empty());
    let logger = service.state("log-pid");
    service.svc("-Lt");
    wait_until("there is another logger", || {
        let next = service.state("log-pid");
        !next.is_empty() && next != logger
    });
    service.svc("-h");
    let mut orphans = String::new();
    wait_until("there is an orphan", || {
        orphans = std::fs::read_to_string(scratch.path().join("orphans")).unwrap_or_default();
        orphans.ends_with('\n')
    });
    let orphan: i32 = orphans.trim().parse().unwrap();
    wait_until("it is supervise's", || tests::parent_of(orphan) == Some(supervise.pid()));
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    assert!(!tests::is_alive(orphan));
}
