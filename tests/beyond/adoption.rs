//! A supervise that is killed leaves everything as it is; the next one goes on where it was.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::thread::sleep;
use std::time::Duration;
use tests::{Daemon, Scratch, Service, fails, has, is_alive, parent_of, prints, state_of, wait_until};

/// What has not happened by then is taken not to happen: longer than the pause before a restart.
const WHILE: Duration = Duration::from_millis(1300);
/// What a `run` does first, to be counted.
const COUNTED: &str = "echo $$ >>starts";

/// Kills the supervise and starts the next.
fn succeed(service: &Service, supervise: Daemon) -> Daemon {
    supervise.kill();
    service.supervise()
}

fn pids(service: &Service, file: &str) -> Vec<i32> {
    service.says(file).lines().map(|line| line.parse().unwrap()).collect()
}

fn alive(service: &Service) -> Vec<i32> {
    pids(service, "starts").into_iter().filter(|pid| is_alive(*pid)).collect()
}

#[test]
fn a_running_service_is_the_same_afterwards() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{COUNTED}; exec sleep 1000"));
    let mut supervise = service.supervise();
    service.lines("starts", 1);
    // The status is written while it is executed.
    service.up();
    let before = service.status();
    for _ in 0..5 {
        supervise = succeed(&service, supervise);
        assert_eq!(service.status().bytes[..18], before.bytes[..18]);
    }
    sleep(WHILE);
    assert_eq!(pids(&service, "starts"), [before.pid]);
    assert_eq!((service.state("starts"), service.state("death").len()), (vec!["1".into()], 0));
    // It is commanded as ever.
    service.svc("-t");
    let next = service.another(before.pid);
    service.lines("starts", 2);
    assert_eq!(alive(&service), [next]);
    assert_eq!(parent_of(next), Some(supervise.pid()));
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    assert_eq!(alive(&service), []);
    assert_eq!(supervise.errors(), "");
}

#[test]
fn told_down_afterwards_it_stays_down() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{COUNTED}; exec sleep 1000"));
    let supervise = service.supervise();
    service.lines("starts", 1);
    let supervise = succeed(&service, supervise);
    service.svc("-d");
    service.wait_down();
    let _supervise = succeed(&service, supervise);
    sleep(WHILE);
    assert_eq!((service.status().pid, service.status().want), (0, b'd'));
    assert_eq!(service.says("starts").lines().count(), 1);
    service.svc("-u");
    service.lines("starts", 2);
}

#[test]
fn paused_once_and_leaving_are_remembered() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{COUNTED}; exec sleep 1000"));
    let supervise = service.supervise();
    service.lines("starts", 1);
    service.svc("-po");
    let before = service.wait_for("is paused, wanted once", |status| status.paused == 1 && status.want == 0);
    let supervise = succeed(&service, supervise);
    assert_eq!((service.status().paused, service.status().want), (1, 0));
    assert_eq!(state_of(before.pid), Some('T'));
    service.svc("-cx");
    service.wait_for("goes on", |status| status.paused == 0);
    wait_until("leaving is written down", || service.says("supervise/state").contains("leaving"));
    let mut supervise = succeed(&service, supervise);
    service.svc("-k");
    assert_eq!(supervise.wait(), 0);
    assert_eq!(pids(&service, "starts"), [before.pid]);
}

#[test]
fn a_finish_goes_on_and_is_the_only_one() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{COUNTED}; exec sleep 1000"))
        .file("timeout-finish", "0")
        .script("finish", "echo $$ \"$@\" >>finishes; while [ ! -e go ]; do sleep 0.01; done");
    let supervise = service.supervise();
    service.lines("starts", 1);
    service.svc("-k");
    service.lines("finishes", 1);
    let _supervise = succeed(&service, supervise);
    assert_eq!(service.state("role"), ["finish"]);
    sleep(WHILE);
    assert_eq!(service.says("finishes").lines().count(), 1);
    assert_eq!(service.says("starts").lines().count(), 1);
    fs::write(service.path("go"), "").unwrap();
    service.lines("starts", 2);
    assert!(service.says("finishes").contains(" 256 9 web "), "{}", service.says("finishes"));
}

#[test]
fn a_start_goes_on_and_run_follows() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{COUNTED}; exec sleep 1000"))
        .script("start", "echo $$ >>begins; while [ ! -e go ]; do sleep 0.01; done");
    let supervise = service.supervise();
    let begin = service.lines("begins", 1)[0].parse().unwrap();
    let supervise = succeed(&service, supervise);
    assert_eq!((service.status().pid, service.state("role")), (begin, vec!["start".into()]));
    fs::write(service.path("go"), "").unwrap();
    service.lines("starts", 1);
    // How it ended only its parent knows on kernels before 6.15: then it is started again.
    assert!(service.says("begins").lines().count() <= 2);
    drop(supervise);
}

#[test]
fn a_stop_goes_on_and_is_the_only_one() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{COUNTED}; exec sleep 1000"))
        .script("stop", "echo $$ >>stops; while [ ! -e go ]; do sleep 0.01; done");
    let supervise = service.supervise();
    service.lines("starts", 1);
    service.svc("-d");
    service.lines("stops", 1);
    let _supervise = succeed(&service, supervise);
    assert_eq!(service.state("role"), ["stop"]);
    fs::write(service.path("go"), "").unwrap();
    wait_until("it has stopped", || service.state("phase") == ["stopped"]);
    sleep(WHILE);
    assert_eq!((service.says("stops").lines().count(), service.says("starts").lines().count()), (1, 1));
    service.svc("-u");
    service.lines("starts", 2);
}

#[test]
fn a_pause_before_a_restart_goes_on() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", COUNTED).file("restart-delay", "3s");
    let supervise = service.supervise();
    service.lines("starts", 1);
    wait_until("it waits", || !service.state("next-start").is_empty());
    let when = service.state("next-start");
    let _supervise = succeed(&service, supervise);
    assert_eq!(service.state("next-start"), when);
    assert_eq!(service.says("starts").lines().count(), 1);
    service.lines("starts", 2);
    assert_eq!(service.state("starts"), ["2"]);
}

#[test]
fn what_has_failed_stays_failed() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{COUNTED}; exit 100"));
    let supervise = service.supervise();
    wait_until("it has failed", || service.state("phase") == ["failed"]);
    let _supervise = succeed(&service, supervise);
    sleep(WHILE);
    assert_eq!((service.status().phase, service.says("starts").lines().count()), (Some(5), 1));
    service.svc("-u");
    service.lines("starts", 2);
}

/// svscan, whose child the service has become, keeps how it ended.
#[test]
fn how_it_ended_is_known_though_nobody_supervised_it() {
    for (end, expected) in [(None, "signal 15"), (Some(7), "exit 7")] {
        let scratch = Scratch::new();
        let service =
            Service::new(&scratch, "scan/web", &format!("trap 'exit 7' HUP; {COUNTED}; while :; do sleep 0.01; done"));
        let _svscan = Daemon::start(scratch.command("svscan").arg("scan"), &scratch);
        service.lines("starts", 1);
        let pid = service.up();
        let supervise = parent_of(pid).unwrap();
        // It ends while its supervise cannot see it, and never will.
        kill(Pid::from_raw(supervise), Signal::SIGSTOP).unwrap();
        kill(Pid::from_raw(pid), if end.is_some() { Signal::SIGHUP } else { Signal::SIGTERM }).unwrap();
        wait_until("it has ended", || !is_alive(pid));
        kill(Pid::from_raw(supervise), Signal::SIGKILL).unwrap();
        service.lines("starts", 2);
        let deaths = service.state("death");
        assert_eq!(deaths.len(), 1, "{deaths:?}");
        assert!(deaths[0].ends_with(expected), "{deaths:?}");
    }
}

#[test]
fn how_it_ends_under_the_next_supervise_is_known() {
    for (commands, expected) in [("-t", "signal 15"), ("-h", "exit 7")] {
        let scratch = Scratch::new();
        let service =
            Service::new(&scratch, "scan/web", &format!("trap 'exit 7' HUP; {COUNTED}; while :; do sleep 0.01; done"));
        let _svscan = Daemon::start(scratch.command("svscan").arg("scan"), &scratch);
        service.lines("starts", 1);
        let pid = service.up();
        let supervise = parent_of(pid).unwrap();
        kill(Pid::from_raw(supervise), Signal::SIGKILL).unwrap();
        wait_until("it is supervised again", || !is_alive(supervise) && service.is_supervised());
        assert_eq!(service.status().pid, pid);
        service.svc_when_supervised(commands);
        service.lines("starts", 2);
        let deaths = service.state("death");
        assert!(deaths.len() == 1 && deaths[0].ends_with(expected), "{deaths:?}");
    }
}

/// A pid that now is somebody else's is left alone.
#[test]
fn somebody_else_with_the_number_is_not_taken_for_the_service() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{COUNTED}; exec sleep 1000"));
    let supervise = service.supervise();
    service.lines("starts", 1);
    let (pid, state) = (service.up(), service.says("supervise/state"));
    supervise.kill();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_until("it has ended", || !is_alive(pid));
    // Processes are told apart by the clock tick they were started in.
    sleep(Duration::from_millis(50));
    let mut bystander = scratch.command("sleep").arg("1000").spawn().unwrap();
    let number = bystander.id();
    fs::write(service.path("supervise/state"), state.replace(&format!("\npid {pid}\n"), &format!("\npid {number}\n")))
        .unwrap();
    let _supervise = service.supervise();
    service.lines("starts", 2);
    assert_eq!(scratch.run("svc -d web"), prints(""));
    service.wait_down();
    assert!(is_alive(number as i32), "a stranger was killed");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

/// Killed at its gate together with its supervise, a program has not run: the next supervise runs it, once. Killed at
/// any time, at which its supervise writes something down.
#[test]
fn each_program_runs_once_wherever_supervise_is_killed() {
    if !has("strace") {
        return;
    }
    for number in 2..=11 {
        let scratch = Scratch::new();
        let service = ["start", "finish", "stop"]
            .into_iter()
            .fold(Service::new(&scratch, "scan/web", "echo $$ >>starts; exec sleep 1000"), |service, program| {
                service.script(program, &format!("echo >>{program}-ran"))
            });
        scratch.file("scan/web/restart-delay", "10");
        // svscan starts the supervise beside it: the first of these is killed at a call by its number.
        let real = tests::programs();
        let first = format!("inject=rename,renameat,renameat2:signal=KILL:when={number}");
        let wrapper = format!(
            "#!/bin/sh\nmkdir ../first 2>/dev/null || exec {0}/supervise \"$@\"\n\
             exec strace -D -qq -o /dev/null -e trace=rename,renameat,renameat2 -e {first} {0}/supervise \"$@\"\n",
            real.display()
        );
        scratch.script("bin/supervise", &wrapper);
        // By another process: a descriptor of ours, inherited elsewhere, would keep it from being executed.
        let copied = scratch.command("cp").arg(real.join("svscan")).arg("bin/svscan").status();
        assert!(copied.unwrap().success());
        let svscan = scratch.path().join("bin/svscan");
        let mut svscan = Daemon::start(scratch.command(svscan.to_str().unwrap()).arg("scan"), &scratch);
        service.lines("starts", 1);
        // What it is told in its last moment, it may not have heard.
        wait_until("it has stopped", || {
            let _ = service.try_control(b"d");
            service.state("phase") == ["stopped"] && service.state("pid").is_empty() && service.is_supervised()
        });
        let [start, finish, stop] =
            ["start-ran", "finish-ran", "stop-ran"].map(|file| service.says(file).lines().count());
        let deaths = service.state("death").len();
        assert_eq!((start, finish, stop), (1, deaths, 1), "killed at {number}: start, finish for each run, stop");
        // Once more if it was told to end, and supervise was killed before it had written down why.
        assert!((1..=2).contains(&deaths), "killed at {number}: {deaths}");
        svscan.signal(Signal::SIGTERM);
        assert_eq!(svscan.wait(), 0);
    }
}

/// To guess would be to have the service twice, or unsupervised.
#[test]
fn what_cannot_be_told_of_it_is_not_guessed() {
    if !has("strace") {
        return;
    }
    for mode in [0o755, 0o777] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", &format!("{COUNTED}; exec sleep 1000"));
        scratch.dir("web/supervise");
        scratch.mode("web/supervise", mode);
        let supervise = service.supervise();
        wait_until("it runs and is ready", || !service.state("ready").is_empty());
        let pid = service.up();
        supervise.kill();
        let refused = |calls: &str, path: &str, from: &str| {
            let mut strace = scratch.command("strace");
            strace.args(["-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
            if !path.is_empty() {
                strace.args(["-P", path]);
            }
            strace.args(["-e", &format!("inject={calls}:error=EMFILE{from}")]);
            scratch.outcome_of(strace.arg(tests::programs().join("supervise")).arg("web"))
        };
        let reason = "process cannot open more files";
        // Where others may have written down the process, it is asked for proof first.
        let held = if mode == 0o777 { "read web/supervise/state".into() } else { format!("hold process {pid}") };
        for (calls, path, from, what) in [
            ("open,openat", "supervise/state", "", "read web/supervise/state".to_string()),
            ("open,openat", "/proc/sys/kernel/random/boot_id", "", "tell this boot from others".into()),
            ("pidfd_open", "", "", "tell this boot from others".into()),
            ("pidfd_open", "", ":when=2+", held),
        ] {
            let said = format!("supervise: fatal: unable to {what}: {reason}\n");
            assert_eq!(refused(calls, path, from), fails(111, &said), "{path}");
            assert!(is_alive(pid));
        }
        let _next = service.supervise();
        assert_eq!((service.up(), alive(&service)), (pid, vec![pid]));
    }
}

/// Killed before it has seen that its process has become `run`, which the next one must find out by itself.
#[test]
fn what_was_let_through_the_gate_is_ready_under_the_next_supervise() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{COUNTED}; exec sleep 1000")).file("timeout-up", "200");
    let mut strace = scratch.command("strace");
    strace.args(["-qq", "-o", "/dev/null", "-e", "trace=poll", "-e", "inject=poll:signal=KILL:when=1"]);
    let first = Daemon::start(strace.arg(tests::programs().join("supervise")).arg("web"), &scratch);
    service.lines("starts", 1);
    wait_until("the first is gone", || !service.is_supervised());
    drop(first);
    assert!(service.state("ready").is_empty());
    let _next = service.supervise();
    wait_until("it is ready", || !service.state("ready").is_empty());
    sleep(WHILE);
    assert_eq!(alive(&service), pids(&service, "starts"));
    let started = pids(&service, "starts").len();
    service.svc("-t");
    service.lines("starts", started + 1);
}

/// What supervise makes of it tells a process that never became `run` from one that exits with the same code.
#[test]
fn a_run_may_exit_with_any_code() {
    let scratch = Scratch::new();
    let run = format!("{COUNTED}; trap 'exit 213' TERM; while :; do sleep 0.01; done");
    let service = Service::new(&scratch, "web", &run).file("notification-fd", "3");
    let supervise = service.supervise();
    service.lines("starts", 1);
    let _next = succeed(&service, supervise);
    service.svc("-t");
    service.lines("starts", 2);
    let deaths = service.state("death");
    assert!(deaths.len() == 1 && deaths[0].ends_with(" exit 213"), "{deaths:?}");
}

/// Settings count from the next start on, whoever supervises.
#[test]
fn what_runs_keeps_the_settings_it_was_started_with() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{COUNTED}; trap '' TERM; while :; do sleep 0.01; done"))
        .file("timeout-kill", "10");
    let supervise = service.supervise();
    service.lines("starts", 1);
    fs::write(service.path("watchdog"), "1").unwrap();
    fs::write(service.path("timeout-kill"), "0").unwrap();
    let _next = succeed(&service, supervise);
    sleep(WHILE);
    assert_eq!((alive(&service).len(), service.state("death").len()), (1, 0));
    service.svc("-d");
    service.wait_down();
}

/// A container's processes are gone though the machine was not started anew.
#[test]
fn in_another_container_a_service_begins_anew() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{COUNTED}; exec sleep 1000"));
    let supervise = service.supervise();
    service.svc("-d");
    service.wait_down();
    supervise.kill();
    let state = service.says("supervise/state");
    let (before, facts) = state.split_once("\nboot-facts ").unwrap();
    let (facts, after) = facts.split_once('\n').unwrap();
    let [kernel, memory, first, serial] = facts.split(' ').collect::<Vec<_>>().try_into().unwrap();
    assert!(u64::from_str_radix(first, 16).is_ok(), "{facts}");
    let facts = format!("{kernel} {memory} {first}1 {serial}");
    fs::write(service.path("supervise/state"), format!("{before}\nboot-facts {facts}\n{after}")).unwrap();
    let before = service.says("starts").lines().count();
    let _next = service.supervise();
    service.lines("starts", before + 1);
}

/// A kernel that does not remember, and nobody who was there: that is all that is known, and enough to go on.
#[test]
fn how_it_ended_may_be_unknown() {
    if !has("strace") || !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{COUNTED}; exec sleep 1000"));
    // Whose child the service becomes, and who waits for it at once.
    let reaper = "import ctypes, os, subprocess, sys, time\nctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n\
                  subprocess.Popen(sys.argv[1:])\nwhile True:\n    try: os.wait()\n    except ChildProcessError: time.sleep(0.01)\n";
    let supervise = tests::programs().join("supervise");
    let mut command = scratch.command("python3");
    let _reaper = Daemon::start(command.args(["-c", reaper]).arg(&supervise).arg("web"), &scratch);
    service.lines("starts", 1);
    let pid = service.up();
    let first = parent_of(pid).unwrap();
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    wait_until("the first is gone", || !is_alive(first));
    let mut strace = scratch.command("strace");
    strace.args(["-D", "-qq", "-o", "/dev/null", "-e", "trace=ioctl", "-e", "inject=ioctl:error=ENOTTY"]);
    let next = Daemon::start(strace.arg(&supervise).arg("web"), &scratch);
    wait_until("the next is in charge", || service.is_supervised());
    assert_eq!(service.status().pid, pid);
    next.signal(Signal::SIGSTOP);
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    wait_until("it is gone", || state_of(pid).is_none());
    next.signal(Signal::SIGCONT);
    service.lines("starts", 2);
    let deaths = service.state("death");
    assert!(deaths.len() == 1 && deaths[0].ends_with(" unknown"), "{deaths:?}");
    assert!(service.up() != pid && service.svstat().starts_with("up "));
}

#[test]
fn ends_that_nobody_saw_are_notified_and_what_notifies_is_not_the_service() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "scan/web", &format!("{COUNTED}; exec sleep 1000"))
        .script("notify", "echo \"$*\" >>notes; while [ ! -e go ]; do sleep 0.01; done")
        .file("kill-scope", "tree");
    let _svscan = Daemon::start(scratch.command("svscan").arg("scan"), &scratch);
    service.lines("notes", 1);
    let pid = service.up();
    let supervise = parent_of(pid).unwrap();
    kill(Pid::from_raw(supervise), Signal::SIGSTOP).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    kill(Pid::from_raw(supervise), Signal::SIGKILL).unwrap();
    let next = service.another(pid);
    let notes = service.lines("notes", 3);
    let expected = [format!("run start {pid} 0"), format!("run killed {pid} 9"), format!("run start {next} 0")];
    let mut sorted = notes.clone();
    sorted.sort();
    let mut wanted = expected.to_vec();
    wanted.sort();
    // Nobody waits for them, so they may come in any order; and there are no more.
    assert_eq!(sorted, wanted);
    fs::write(service.path("go"), "").unwrap();
    service.svc("-d");
    service.wait_down();
    assert_eq!(service.lines("notes", 4).len(), 4);
}
