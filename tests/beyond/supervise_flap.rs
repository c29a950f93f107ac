//! A service that dies at once and is started again. `supervise/status` shows it as daemontools' supervise does, and
//! everything else shows its real state.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Scratch, Service, is_alive, parent_of, prints, state_of, wait_until};

/// A `run` that writes its process number to a file and dies.
const DIES: &str = "echo $$ >>starts; exit 3";

/// Waits until supervise shows a `run` that has ended, other than the one before, and returns its number.
fn ended_and_shown(web: &Service, before: i32) -> i32 {
    let is_over = |pid: i32| web.state("shown-pid").iter().any(|shown| shown.starts_with(&format!("{pid} ")));
    web.wait_for("it has ended and is shown", |status| {
        status.pid != 0 && status.pid != before && is_over(status.pid) && status.pid == web.status().pid
    })
    .pid
}

#[test]
fn readers_of_the_status_never_see_it_down() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", DIES);
    let _supervise = web.supervise();
    web.lines("starts", 1);
    web.wait_for("is shown", |status| status.pid != 0);
    let mut seen = Vec::new();
    wait_until("it was started four times", || {
        seen.push(web.status());
        web.says("starts").lines().count() >= 4
    });
    let starts: Vec<i32> = web.says("starts").lines().map(|pid| pid.parse().expect("a number")).collect();
    for status in seen {
        // supervise may show the last one before it has written its number.
        assert!(starts.contains(&status.pid) || status.pid == web.status().pid, "{status:?}, {starts:?}");
        assert_eq!((status.paused, status.want, &status.bytes[18..]), (0, b'u', &[3, 1][..]), "{status:?}");
    }
}

#[test]
fn its_number_is_no_other_process_and_everything_else_tells_the_truth() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", DIES);
    let supervise = web.supervise();
    let mut pid = 0;
    // All of this is read within the second in which one `run` is shown. If it took longer, the test tries again with
    // the next `run`.
    wait_until("all was seen of one life", || {
        pid = ended_and_shown(&web, pid);
        let zombie = (state_of(pid), parent_of(pid));
        let plain = web.svstat();
        let long = scratch.run("svstat -l web").stdout;
        let json = scratch.run("svstat -j web").stdout;
        let state = (web.state("pid"), web.state("next-start").len());
        if web.status().pid != pid || web.state("shown-pid").is_empty() {
            return false;
        }
        assert_eq!(zombie, (Some('Z'), Some(supervise.pid())));
        assert_eq!(plain, "up (pid N) N seconds");
        assert!(long.starts_with("web: down 0 seconds, normally up, want up\n") && long.contains("exited 3"), "{long}");
        assert!(json.contains(r#""up":false,"pid":null"#) && json.contains(r#""want":"up""#), "{json}");
        assert_eq!(state, (Vec::new(), 1));
        true
    });
    assert_eq!(scratch.run("svc -W down -d web"), prints(""));
    web.wait_down();
    assert_eq!(state_of(web.lines("starts", 1).last().and_then(|pid| pid.parse().ok()).expect("a number")), None);
}

/// If the service has settings that the original does not have, the status shows it down at once.
#[test]
fn with_settings_of_ours_it_is_down_at_once() {
    for (file, content) in [("finish", "#!/bin/sh\n"), ("restart-delay", "1500ms\n"), ("kill-scope", "tree\n")] {
        let scratch = Scratch::new();
        let web = Service::new(&scratch, "web", DIES).file(file, content);
        if file == "finish" {
            scratch.mode("web/finish", 0o755);
        }
        let _supervise = web.supervise();
        web.lines("starts", 2);
        web.wait_for(file, |status| status.pid == 0 && status.want == b'u');
        assert!(web.state("shown-pid").is_empty(), "{file}");
    }
}

#[test]
fn told_down_or_to_exit_in_its_pause_it_is_down_and_nothing_is_left() {
    for commands in ["-d", "-dx", "-x"] {
        let scratch = Scratch::new();
        let web = Service::new(&scratch, "web", DIES);
        let mut supervise = web.supervise();
        let pid = ended_and_shown(&web, 0);
        web.svc(commands);
        web.wait_down();
        wait_until(commands, || !is_alive(pid) && state_of(pid).is_none());
        if commands != "-d" {
            assert_eq!(supervise.wait(), 0);
        }
        assert!(web.state("shown-pid").is_empty(), "{commands}");
    }
}

/// The next supervise is not the parent of the process, whose number may be used again at any time, so it does not show
/// the process.
#[test]
fn the_supervise_after_one_that_was_killed_does_not_show_it() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", "echo $$ >>starts; [ -e live ] && exec sleep 1000; exit 3");
    let supervise = web.supervise();
    ended_and_shown(&web, 0);
    supervise.kill();
    scratch.file("web/live", "");
    let _next = web.supervise();
    let starts = |pid: i32| web.says("starts").lines().any(|start| start == pid.to_string());
    let shown = web.wait_for("down, or the next", |status| status.pid == 0 || is_alive(status.pid));
    assert!(shown.pid == 0 || state_of(shown.pid) != Some('Z'), "{shown:?}");
    let next = web.up();
    wait_until("the next has said its number", || starts(next));
}

/// While a `run` is shown, supervise does not reap it, but reaps other children.
#[test]
fn other_children_are_waited_for_meanwhile() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", DIES).script("notify", "echo $* >>told");
    let supervise = web.supervise();
    ended_and_shown(&web, 0);
    // Each run causes two notifications.
    web.lines("told", 6);
    let zombies = || {
        let children = tests::children_of(supervise.pid());
        children.into_iter().filter(|pid| state_of(*pid) == Some('Z')).count()
    };
    wait_until("only what is shown is left", || zombies() <= 1);
    kill(Pid::from_raw(supervise.pid()), Signal::SIGSTOP).expect("stop it");
    let pid = web.status().pid;
    assert!(state_of(pid).is_some(), "the process that is shown has its number");
    kill(Pid::from_raw(supervise.pid()), Signal::SIGCONT).expect("let it go on");
    web.svc("-dx");
}

/// A service and its logger both die at once, so supervise always keeps the number of one of them.
#[test]
fn orphans_do_not_pile_up_while_a_service_and_its_logger_die_again_and_again() {
    let scratch = Scratch::new();
    let fork = "for i in 1 2 3 4 5; do (sleep 0.2 &); done";
    let web = Service::new(&scratch, "web", &format!("echo >>starts; {fork}; exit 1"))
        // The logger dies half a second after the service.
        .script("log", "[ -e again ] || { touch again; sleep 1.5; }; exit 1")
        .file("notify-socket", "");
    let supervise = web.supervise();
    web.lines("starts", 10);
    let zombies = || {
        let children = tests::children_of(supervise.pid());
        children.into_iter().filter(|pid| state_of(*pid) == Some('Z')).count()
    };
    // Ten runs would leave fifty zombies.
    assert!(zombies() <= 15, "{}", zombies());
    web.svc("-dx");
}

/// A program that finds supervise in charge must also find its state. Otherwise it would not notice a job that ends at
/// once.
#[test]
fn a_job_that_is_over_at_once_is_seen_though_supervise_has_just_begun() {
    if !tests::has("strace") {
        return tests::skip("strace is not installed");
    }
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", "exit 7").file("restart-delay", "1h").down();
    let program = tests::programs().join("supervise");
    let mut slow = scratch.command("strace");
    slow.args(["-qq", "-o", "/dev/null", "-P", "supervise/state.new", "-e", "inject=openat:delay_enter=400000"]);
    let mut supervise = tests::Daemon::start(slow.arg(&program).arg("web"), &scratch);
    wait_until("supervise is in charge", || web.is_supervised());
    assert_eq!(scratch.run("svc -o -W finished -T 20s web"), prints(""));
    web.svc("-dx");
    supervise.wait();
}
