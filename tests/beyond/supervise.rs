//! The effect of a service directory's settings, valid ones and malformed ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::Duration;
use tests::{Scratch, Service, is_alive, wait_until};

/// Waits until both files show the phase, because supervise writes the state before the status.
fn has_phase(service: &Service, phase: &str) {
    let phases = ["stopped", "starting", "started", "running", "stopping", "failed"];
    let byte = phases.iter().position(|known| *known == phase).and_then(|number| u8::try_from(number).ok());
    wait_until(&format!("it is {phase}"), || service.state("phase") == [phase]);
    service.wait_for(&format!("it is {phase}"), |status| status.phase == byte);
}

fn starts(service: &Service) -> usize {
    service.says("starts").lines().count()
}

#[test]
fn finish_is_told_how_run_ended() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; trap 'exit 7' HUP; while :; do sleep 0.01; done")
        .script("finish", "echo \"$0:$*\" >>finishes");
    let _supervise = service.supervise();
    service.lines("starts", 1);
    service.svc("-h");
    let finish = service.lines("finishes", 1);
    assert!(finish[0].contains(":7 0 web "), "{finish:?}");
    service.lines("starts", 2);
    service.svc("-k");
    let finish = service.lines("finishes", 2);
    assert!(finish[1].contains(":256 9 web "), "{finish:?}");
    service.lines("starts", 3);
    let deaths = service.state("death");
    assert!(deaths[0].ends_with("exit 7") && deaths[1].ends_with("signal 9"), "{deaths:?}");
}

/// A finish script can kill the processes that `run` has left by their group. The group of supervise itself, with all
/// its members, is not that of `run`.
#[test]
fn the_group_that_finish_is_told_of_is_that_of_run_or_none() {
    for (setsid, left_alive) in [(None, true), (Some("setsid"), false)] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", "sleep 1000 & echo $! >>left; echo $$ >>starts; exec sleep 1000")
            .script("finish", "kill -9 -$4; echo $4 $? >>finishes");
        if let Some(file) = setsid {
            fs::write(service.path(file), "").unwrap();
        }
        let supervise = service.supervise();
        let (run, left) = (service.lines("starts", 1)[0].clone(), service.lines("left", 1)[0].parse().unwrap());
        service.svc("-k");
        let code = if left_alive { 1 } else { 0 };
        assert_eq!(service.lines("finishes", 1)[0], format!("{run} {code}"));
        service.lines("starts", 2);
        wait_until("only what is in the group is killed", || is_alive(left) == left_alive);
        assert!(is_alive(supervise.pid()));
    }
}

#[test]
fn start_comes_before_run_and_stop_after_it() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo run >>order; exec sleep 1000")
        .script("start", "echo start >>order")
        .script("stop", "echo stop >>order")
        .script("finish", "echo finish >>order");
    let _supervise = service.supervise();
    service.lines("order", 2);
    service.svc("-k");
    service.lines("order", 4);
    service.svc("-d");
    service.lines("order", 6);
    has_phase(&service, "stopped");
    service.svc("-u");
    service.lines("order", 8);
    let order: Vec<_> = service.says("order").lines().map(str::to_string).collect();
    assert_eq!(order, ["start", "run", "finish", "run", "finish", "stop", "start", "run"]);
}

#[test]
fn a_start_that_fails_is_a_failure() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts").script("start", "exit 1");
    let _supervise = service.supervise();
    has_phase(&service, "failed");
    assert_eq!((service.status().pid, service.status().phase, starts(&service)), (0, Some(5), 0));
}

#[test]
fn some_exits_end_it_for_good() {
    for (run, finish, code, phase) in [
        ("exit 100", "exit 0", "", "failed"),
        ("exit 1", "exit 125", "", "failed"),
        ("exit 3", "exit 0", "0 3", "stopped"),
        ("exit 0", "exit 0", "0,3", "stopped"),
    ] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", &format!("echo >>starts; {run}"))
            .script("finish", finish)
            .file("success-codes", code)
            .file("restart-delay", "10");
        let _supervise = service.supervise();
        service.lines("starts", 1);
        has_phase(&service, phase);
        sleep(Duration::from_millis(100));
        assert_eq!((starts(&service), service.status().want), (1, b'd'), "{run}, {finish}, {code}");
        // A command starts the service again.
        service.svc("-u");
        service.lines("starts", 2);
    }
}

#[test]
fn after_too_many_deaths_it_has_failed() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; exit 1")
        .file("restart-limit", "3 in 10m")
        .file("restart-delay", "10");
    let _supervise = service.supervise();
    has_phase(&service, "failed");
    assert_eq!((starts(&service), service.state("death").len()), (3, 3));
    sleep(Duration::from_millis(100));
    assert_eq!(starts(&service), 3);
    // A command gives the service all its attempts again.
    service.svc("-u");
    service.lines("starts", 6);
    has_phase(&service, "failed");
}

#[test]
fn a_command_gives_it_all_its_attempts_again_also_when_supervise_is_killed_then() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; [ -e stay ] || exit 1; rm stay; exec sleep 1000")
        .file("restart-limit", "3 in 10m")
        .file("restart-delay", "10");
    let supervise = service.supervise();
    has_phase(&service, "failed");
    assert_eq!(starts(&service), 3);
    fs::write(service.path("stay"), "").unwrap();
    service.svc("-u");
    service.lines("starts", 4);
    wait_until("it stays", || !service.path("stay").exists());
    // The supervise is killed and reaped.
    drop(supervise);
    let _next = service.supervise();
    service.svc("-t");
    has_phase(&service, "failed");
    // The service has died three more times.
    assert_eq!(starts(&service), 6);
}

/// The next supervise counts from what the one before it has remembered.
#[test]
fn too_many_deaths_are_counted_across_kills_however_few_are_to_be_remembered() {
    let scratch = Scratch::new();
    let run = "echo >>starts; [ -e stay ] || exit 1; rm stay; exec sleep 1000";
    let service = Service::new(&scratch, "web", run)
        .file("restart-limit", "3 in 10m")
        .file("restart-delay", "10")
        .file("max-death-tally", "0");
    let stays = || wait_until("it stays", || !service.path("stay").exists());
    let dies = || {
        fs::write(service.path("stay"), "").unwrap();
        service.svc("-t");
        stays();
    };
    fs::write(service.path("stay"), "").unwrap();
    let supervise = service.supervise();
    stays();
    // Each supervise sees one death, and is killed while the service runs.
    dies();
    drop(supervise);
    let supervise = service.supervise();
    dies();
    drop(supervise);
    let _last = service.supervise();
    service.svc("-t");
    has_phase(&service, "failed");
    assert_eq!((starts(&service), service.state("death").len()), (3, 0));
}

#[test]
fn deaths_are_remembered_so_many() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; exit $(wc -l <starts)")
        .file("restart-delay", "10")
        .file("max-death-tally", "2")
        .file("restart-limit", "5 in 10m");
    let _supervise = service.supervise();
    has_phase(&service, "failed");
    let deaths: Vec<_> =
        service.state("death").iter().map(|death| death.split(' ').skip(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(deaths, ["exit 4", "exit 5"]);
    assert_eq!(service.state("starts"), ["5"]);
}

#[test]
fn the_down_signal_is_another_and_kill_follows() {
    let scratch = Scratch::new();
    let run = "trap 'echo HUP >>heard' HUP; trap '' TERM; echo >>starts; while :; do sleep 0.01; done";
    let service = Service::new(&scratch, "web", run).file("down-signal", "hup\n").file("timeout-kill", "2s");
    let _supervise = service.supervise();
    service.lines("starts", 1);
    service.svc("-d");
    service.wait_down();
    assert_eq!(service.says("heard"), "HUP\n");
    assert!(service.state("death")[0].ends_with("signal 9 told"), "{:?}", service.state("death"));
    // -t sends TERM, whatever `signal-down` says.
    service.svc("-u");
    service.lines("starts", 2);
    service.svc("-t");
    sleep(Duration::from_millis(300));
    let pid = service.status().pid;
    assert_ne!(pid, 0);
    service.svc("-k");
    service.another(pid);
}

#[test]
fn a_finish_that_takes_too_long_is_killed() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000")
        .file("timeout-finish", "1s")
        .script("finish", "echo $$ >>finishes; exec sleep 1000");
    let _supervise = service.supervise();
    service.lines("starts", 1);
    service.svc("-k");
    let finish: i32 = service.lines("finishes", 1)[0].parse().unwrap();
    service.lines("starts", 2);
    assert!(!is_alive(finish));
}

#[test]
fn stopping_reaches_the_processes_of_its_kill_scope() {
    for (scope, child, survives) in [
        ("main", "sleep 1000", true),
        ("group", "sleep 1000", false),
        ("group", "setsid sleep 1000", true),
        ("tree", "sleep 1000", false),
        ("tree", "setsid sleep 1000", false),
    ] {
        let scratch = Scratch::new();
        let service =
            Service::new(&scratch, "web", &format!("{child} & echo $! >child; wait")).file("kill-scope", scope);
        let _supervise = service.supervise();
        let pid = service.up();
        let child: i32 = service.lines("child", 1)[0].parse().unwrap();
        // setsid forks if it leads a process group, and is then another process.
        wait_until("its child sleeps", || {
            fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|comm| comm == "sleep\n")
        });
        service.svc("-d");
        service.wait_down();
        assert!(!is_alive(pid));
        if survives {
            assert!(is_alive(child), "{scope}");
        } else {
            wait_until(&format!("{scope}: its child ends"), || !is_alive(child));
        }
    }
}

#[test]
fn with_tree_not_even_a_daemon_of_its_own_survives() {
    let scratch = Scratch::new();
    let run = "(trap '' TERM; setsid sh -c 'echo $$ >daemon; exec sleep 1000' </dev/null >/dev/null 2>&1 &) ; exec sleep 1000";
    let service = Service::new(&scratch, "web", run).file("kill-scope", "tree");
    let _supervise = service.supervise();
    let daemon: i32 = service.lines("daemon", 1)[0].parse().unwrap();
    service.svc("-d");
    service.wait_down();
    wait_until("it ends", || !is_alive(daemon));
}

#[test]
fn a_session_of_its_own_where_it_is_asked_for() {
    for (file, own) in [("setsid", true), ("no-setsid", false), ("unrelated", false)] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", "exec sleep 1000").file(file, "");
        let _supervise = service.supervise();
        let pid = service.up();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let session: i32 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap().parse().unwrap();
        assert_eq!(session == pid, own, "{file}");
    }
}

#[test]
fn a_changed_setting_counts_from_the_next_start() {
    let scratch = Scratch::new();
    let service =
        Service::new(&scratch, "web", "trap 'echo HUP >>heard; exit' HUP; echo >>starts; while :; do sleep 0.01; done");
    let _supervise = service.supervise();
    service.lines("starts", 1);
    fs::write(service.path("down-signal"), "HUP").unwrap();
    service.svc("-k");
    service.lines("starts", 2);
    service.svc("-d");
    service.wait_down();
    assert_eq!(service.says("heard"), "HUP\n");
}

#[test]
fn what_cannot_be_understood_is_said_once_and_the_default_counts() {
    for (file, content, why) in [
        ("down-signal", "NONSENSE", "not a signal, as in INT or HUP"),
        ("timeout-kill", "soon", "not a duration, as in 5s or 1m 30s"),
        ("timeout-finish", "-1", "not a duration, as in 5s or 1m 30s"),
        ("kill-scope", "everybody", "neither main nor group nor tree"),
        ("restart-delay", "1s 2s 3s 4s", "more than FIRST, CAP and STABLE, as in 1s 1m 5m"),
        ("restart-limit", "5", "not COUNT in TIME, as in 5 in 1m"),
        ("restart-limit", "many in 1m", "not COUNT in TIME, as in 5 in 1m"),
        ("success-codes", "256", "not exit codes from 0 to 255 or names of signals, as in 0 3 TERM"),
        ("max-death-tally", "many", "not a number, as in 16"),
        ("notification-fd", "2", "not a descriptor from 3 to 1023, as in 3"),
        ("timeout-up", "", "not a duration, as in 5s or 1m 30s"),
        ("watchdog", "\u{0}\u{0}", "not a duration, as in 5s or 1m 30s"),
    ] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000").file(file, content);
        let supervise = service.supervise();
        service.lines("starts", 1);
        service.svc("-k");
        service.lines("starts", 2);
        service.svc("-d");
        service.wait_down();
        assert_eq!(supervise.errors(), format!("supervise: warning: web/{file}: line 1: {why}; ignored\n"));
        assert!(service.state("death").iter().any(|death| death.ends_with(" signal 15 told")), "{file}");
    }
}

#[test]
fn a_misspelt_setting_is_said_once() {
    let scratch = Scratch::new();
    let mut service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000").file("restart_limit", "1 in 1m");
    // Copies of files, names that other supervisors use, names with a mistake whose right name also exists, and entries
    // that are no files.
    for name in ["watchdog~", "timeout-kill.bak", "nosetsid", "kill-scop", "essential", "stops", "ready"] {
        service = service.file(name, "0");
    }
    let service = service.file("kill-scope", "main");
    fs::create_dir(service.path("success-code")).unwrap();
    let supervise = service.supervise();
    service.lines("starts", 1);
    service.svc("-k");
    service.lines("starts", 2);
    assert_eq!(
        supervise.errors(),
        "supervise: warning: web/restart_limit is no setting: did you mean restart-limit?\n"
    );
    // A cause that is new is reported at the next start.
    fs::rename(service.path("restart_limit"), service.path("notify-sockets")).unwrap();
    service.svc("-k");
    service.lines("starts", 3);
    let said = supervise.errors();
    assert_eq!(
        said.lines().nth(1),
        Some("supervise: warning: web/notify-sockets is no setting: did you mean notify-socket?")
    );
}

#[test]
fn settings_that_cannot_be_read_do_no_harm() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000").file("down-signal", &"x".repeat(1_000_000));
    fs::create_dir(service.path("kill-scope")).unwrap();
    tests::fifo(&service.path("timeout-kill")).unwrap();
    let mut supervise = service.supervise();
    service.up();
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    assert!(supervise.errors().contains("kill-scope"), "{}", supervise.errors());
}

/// A file that is not executable counts as absent.
#[test]
fn hooks_that_cannot_be_executed_are_not_there() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts").file("finish", "#!/bin/sh\necho >>finishes\n");
    fs::set_permissions(service.path("finish"), fs::Permissions::from_mode(0o644)).unwrap();
    let _supervise = service.supervise();
    service.lines("starts", 2);
    assert_eq!(service.says("finishes"), "");
}

#[test]
fn the_program_notify_is_told_of_starts_and_ends() {
    let scratch = Scratch::new();
    let service =
        Service::new(&scratch, "web", "echo $$ >>starts; exec sleep 1000").script("notify", "echo \"$*\" >>notes");
    let _supervise = service.supervise();
    let pid = service.lines("starts", 1)[0].clone();
    assert_eq!(service.lines("notes", 1), [format!("run start {pid} 0")]);
    service.svc("-d");
    assert_eq!(service.lines("notes", 2)[1], format!("run killed {pid} 15"));
}

#[test]
fn signals_go_to_the_group_when_told_so() {
    let scratch = Scratch::new();
    let child = "sh -c 'trap \"echo USR1 >>heard\" USR1; echo >>ready; while :; do sleep 0.01; done'";
    let run = format!("{child} & trap : USR1; while :; do wait; done");
    let service = Service::new(&scratch, "web", &run).file("setsid", "");
    let _supervise = service.supervise();
    service.lines("ready", 1);
    service.svc("-1");
    sleep(Duration::from_millis(200));
    assert_eq!(service.says("heard"), "");
    service.svc("-+1");
    service.lines("heard", 1);
    service.svc("-=");
    wait_until("it is written down", || !service.says("supervise/state").contains("to-group"));
    service.svc("-1");
    sleep(Duration::from_millis(200));
    assert_eq!(service.says("heard"), "USR1\n");
    service.svc("-+1");
    service.lines("heard", 2);
}

#[test]
fn settings_count_among_any_number_of_files() {
    let scratch = Scratch::new();
    let service =
        Service::new(&scratch, "web", "trap 'echo HUP >>heard; exit' HUP; echo >>starts; while :; do sleep 0.01; done")
            .file("down-signal", "HUP");
    (0..500).for_each(|number| scratch.file(format!("web/file-{number}"), ""));
    let _supervise = service.supervise();
    service.lines("starts", 1);
    service.svc("-d");
    service.wait_down();
    assert_eq!(service.says("heard"), "HUP\n");
}

/// Nothing happens and nothing wakes supervise, so it sleeps until the next deadline, if there is one.
#[test]
fn idle_it_sleeps() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >&3; exec sleep 1000")
        .script("log", "exec cat")
        .file("notification-fd", "3")
        .file("timeout-kill", "5s")
        .file("notify-socket", "")
        .file("timeout-up", "1m");
    let supervise = service.supervise();
    wait_until("it is ready", || !service.state("ready").is_empty());
    let sleeps = || {
        let status = fs::read_to_string(format!("/proc/{}/status", supervise.pid())).unwrap();
        status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:")).unwrap().to_string()
    };
    // supervise first finishes the work of the last event.
    let mut before = sleeps();
    wait_until("it has gone to sleep", || {
        sleep(Duration::from_millis(300));
        std::mem::replace(&mut before, sleeps()) == before
    });
    sleep(Duration::from_secs(3));
    assert_eq!(sleeps(), before);
    service.svc("-d");
    service.wait_down();
    wait_until("it sleeps again", || sleeps() != before);
}
