//! Whom stopping reaches: the group, the tree, and nobody else; also after supervise was killed.

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, chown};
use std::fs;
use std::os::unix::process::CommandExt;
use std::thread::sleep;
use std::time::Duration;
use tests::{Scratch, Service, is_alive, is_root, skip, wait_until};

/// Starts a daemon as daemons start themselves: in a session of its own, its parents gone. It does not heed TERM.
const DAEMON: &str =
    "(setsid sh -c 'trap \"\" TERM; echo $$ >>daemons; while :; do sleep 0.1; done' </dev/null >/dev/null 2>&1 &)";

/// The pids in a file.
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
    assert!(!is_alive(first), "one of the run before lives beside the next");
    service.lines("starts", 2);
    supervise.kill();
    supervise = service.supervise();
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    assert!(!is_alive(second));
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
            // A group is killed at one stroke, which those in it may take a moment to feel.
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

/// The group is that of `run`, also for a supervise that finds only `finish`.
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

/// By the time that `finish` has ended, the number of `run` may be somebody else's, and his group's.
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
    // Processes are told apart by the clock tick they were started in.
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
    // Each that is told to end leaves another.
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

/// Its logger, what notifies, and supervise itself are not of the tree.
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

/// There the processes of the service have a mark. Its logger goes on, whichever supervise has started it.
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
        assert!(is_alive(logger), "killed after {count} lives: {}", supervise.errors());
        assert!(!is_alive(daemons[count - 1]), "what is of the tree is not found");
    }
    assert_eq!(pids(&service, "loggers", 1), [logger]);
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
}

/// The settings that make supervise the parent of orphans are the service's: its logger has none.
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
