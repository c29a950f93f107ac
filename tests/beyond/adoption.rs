//! A supervise that is killed leaves its service running, and the next supervise continues from the recorded state.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::thread::sleep;
use std::time::Duration;
use tests::{Daemon, Scratch, Service, fails, has, is_alive, parent_of, prints, state_of, wait_until};

/// A test that expects nothing to happen waits this long, which is longer than the pause before a restart.
const WHILE: Duration = Duration::from_millis(1300);
/// The first line of a `run` whose starts are counted.
const COUNTED: &str = "echo $$ >>starts";

/// Kills the supervise and starts the next one.
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
    // supervise writes the status before `run` is executed, so the test waits for both.
    service.up();
    let before = service.status();
    for _ in 0..5 {
        supervise = succeed(&service, supervise);
        assert_eq!(service.status().bytes[..18], before.bytes[..18]);
    }
    sleep(WHILE);
    assert_eq!(pids(&service, "starts"), [before.pid]);
    assert_eq!((service.state("starts"), service.state("death").len()), (vec!["1".into()], 0));
    // The next supervise obeys commands.
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

/// The kernel sends HUP to a process group of which a process is stopped, when no parent in its session is left.
#[test]
fn what_is_paused_outlives_svscan_and_supervise() {
    for killed in ["svscan", "supervise"] {
        let scratch = Scratch::new();
        let service =
            Service::new(&scratch, "scan/web", &format!("{COUNTED}; while :; do sleep 0.01; echo >>beats; done"));
        // As under an init, svscan leads a session here. Its shell is gone when it is killed.
        let _svscan = Daemon::start(scratch.command("setsid").args(["-w", "svscan", "scan"]), &scratch);
        let pid = service.up();
        service.lines("beats", 1);
        service.svc("-p");
        wait_until("it is stopped", || state_of(pid) == Some('T'));
        let supervise = parent_of(pid).expect("its supervise");
        let its_svscan = parent_of(supervise).expect("its svscan");
        let victim = if killed == "svscan" { its_svscan } else { supervise };
        kill(Pid::from_raw(victim), Signal::SIGKILL).expect("kill it");
        wait_until("it is gone", || !is_alive(victim));
        // With svscan, the programs that it leaves are found by the next one.
        let next = (killed == "svscan").then(|| Daemon::start(scratch.command("svscan").arg("scan"), &scratch));
        if next.is_some() {
            Service::new(&scratch, "scan/late", "exec sleep 1000").up();
        }
        wait_until("a supervise is there", || service.is_supervised());
        let beats = service.says("beats").len();
        service.svc("-c");
        wait_until("it goes on", || service.says("beats").len() > beats);
        assert_eq!(pids(&service, "starts"), [pid], "{killed}");
        match &next {
            Some(next) => next.signal(Signal::SIGTERM),
            None => kill(Pid::from_raw(its_svscan), Signal::SIGTERM).expect("stop it"),
        }
        wait_until(&format!("all has ended: {killed}"), || !is_alive(pid));
    }
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
    // On a busy machine the process may not have come to the signal yet.
    wait_until("the process is stopped", || state_of(before.pid) == Some('T'));
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
    // Kernels before 6.15 tell only the parent how a process ended. The next supervise does not know it there, and
    // starts `run` again.
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

/// A service that svscan has started, and that exits with code 7 at HUP.
fn under_svscan(scratch: &Scratch) -> (Service<'_>, Daemon) {
    let run = format!("trap 'exit 7' HUP; {COUNTED}; while :; do sleep 0.01; done");
    let service = Service::new(scratch, "scan/web", &run);
    let svscan = Daemon::start(scratch.command("svscan").arg("scan"), scratch);
    service.lines("starts", 1);
    (service, svscan)
}

/// After supervise was killed, the service is a child of svscan, which records how it ended.
#[test]
fn how_it_ended_is_known_though_no_supervise_was_there() {
    for (end, expected) in [(None, "signal 15"), (Some(7), "exit 7")] {
        let scratch = Scratch::new();
        let (service, _svscan) = under_svscan(&scratch);
        let pid = service.up();
        let supervise = parent_of(pid).unwrap();
        // The service ends while its supervise is stopped. That supervise is then killed and never sees the end.
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
        let (service, _svscan) = under_svscan(&scratch);
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

/// The recorded pid belongs to another process now, which supervise leaves alone.
#[test]
fn another_process_with_the_number_is_not_taken_for_the_service() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{COUNTED}; exec sleep 1000"));
    let supervise = service.supervise();
    service.lines("starts", 1);
    let (pid, state) = (service.up(), service.says("supervise/state"));
    supervise.kill();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_until("it has ended", || !is_alive(pid));
    // Two processes with the same pid differ by the clock tick in which they were started.
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

/// A program that is killed before it was executed, together with its supervise, has not run: the next supervise runs
/// it, once. supervise is killed at each call by which it records something.
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
        // svscan starts the `supervise` in its own directory. That one is a wrapper, which has the first supervise
        // killed at the call with this number.
        let real = tests::programs();
        let first = format!("inject=rename,renameat,renameat2:signal=KILL:when={number}");
        let wrapper = format!(
            "#!/bin/sh\nmkdir ../first 2>/dev/null || exec {0}/supervise \"$@\"\n\
             exec strace -D -qq -o /dev/null -e trace=rename,renameat,renameat2 -e {first} {0}/supervise \"$@\"\n",
            real.display()
        );
        scratch.script("bin/supervise", &wrapper);
        // Another process copies the program. A descriptor of this test, open for writing and inherited by another
        // test's child, would keep the program from being executed.
        let copied = scratch.command("cp").arg(real.join("svscan")).arg("bin/svscan").status();
        assert!(copied.unwrap().success());
        let svscan = scratch.path().join("bin/svscan");
        let mut svscan = Daemon::start(scratch.command(svscan.to_str().unwrap()).arg("scan"), &scratch);
        service.lines("starts", 1);
        // A command that supervise was sent just before it was killed may be lost, so the test sends it again.
        wait_until("it has stopped", || {
            let _ = service.try_control(b"d");
            service.state("phase") == ["stopped"] && service.state("pid").is_empty() && service.is_supervised()
        });
        let [start, finish, stop] =
            ["start-ran", "finish-ran", "stop-ran"].map(|file| service.says(file).lines().count());
        let deaths = service.state("death").len();
        assert_eq!((start, finish, stop), (1, deaths, 1), "killed at {number}: start, finish for each run, stop");
        // `run` was started once more if supervise was told to stop it and was killed before it had recorded why.
        assert!((1..=2).contains(&deaths), "killed at {number}: {deaths}");
        svscan.signal(Signal::SIGTERM);
        assert_eq!(svscan.wait(), 0);
    }
}

/// If supervise guessed, the service could run twice, or without a supervise.
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
        // Where other accounts may have recorded the process, supervise first asks for proof that it is the service's.
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

/// supervise is killed before it has seen that its process executed `run`. The next one must find that out itself.
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

/// A child that could not execute `run` exits with this code too. supervise must know the difference.
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

/// New settings apply from the next start on, even under the next supervise.
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

/// After a restart of the container its processes are gone, although the machine was not rebooted.
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

/// The kernel does not remember how the process ended, and no parent was there to see it. supervise records the end as
/// unknown, and goes on.
#[test]
fn how_it_ended_may_be_unknown() {
    if !has("strace") || !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", &format!("{COUNTED}; exec sleep 1000"));
    // This program becomes the parent of the service, and waits for its end at once.
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
fn ends_that_no_supervise_saw_are_notified_and_what_notifies_is_not_the_service() {
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
    // The notifications run at the same time, so they may come in any order. There must be no further one.
    assert_eq!(sorted, wanted);
    fs::write(service.path("go"), "").unwrap();
    service.svc("-d");
    service.wait_down();
    assert_eq!(service.lines("notes", 4).len(), 4);
}
