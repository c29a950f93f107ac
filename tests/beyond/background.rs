//! Services that go into the background, with `expect` or `pidfile`.

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use std::fs;
use std::os::unix::fs::symlink;
use tests::{Scratch, Service, is_alive, parent_of, wait_until};

/// The life of the process that stays: it writes its number into `daemons`.
const STAYS: &str = "sh -c 'echo $$ >>daemons; exec sleep 1000'";

/// A `run` that forks once.
pub fn forks_once() -> String {
    format!("{STAYS} >/dev/null 2>&1 </dev/null &\nexit 0")
}

/// A `run` that forks twice, and of which the middle process ends a little later than the first one.
fn forks_twice() -> String {
    format!("setsid sh -c \"{} & sleep 0.05\" >/dev/null 2>&1 </dev/null &\nexit 0", STAYS.replace('$', "\\$"))
}

fn service<'a>(scratch: &'a Scratch, run: &str) -> Service<'a> {
    Service::new(scratch, "web", run).file("restart-delay", "10ms 10ms 1s")
}

/// The one process of the service that is alive, once there is one and the status names it.
fn the_one(service: &Service) -> i32 {
    let is_it = || matches!(service.alive("daemons")[..], [pid] if pid == service.status().pid);
    wait_until("one process is the service's", is_it);
    assert_eq!(service.alive("daemons").len(), 1);
    service.status().pid
}

fn wait_ready(scratch: &Scratch) {
    wait_until("it is ready", || scratch.run("svwait -T 0 ready web").code == 0);
}

fn wait_stopped(service: &Service) {
    wait_until("it is stopped", || service.state("phase") == ["stopped"]);
}

fn process(pid: i32) -> Pid {
    Pid::from_raw(pid)
}

#[test]
fn the_process_that_is_left_is_the_service() {
    for (expect, run) in [("fork", forks_once()), ("daemon", forks_twice()), ("fork", forks_twice())] {
        let scratch = Scratch::new();
        let service = service(&scratch, &run).file("expect", expect);
        let supervise = service.supervise();
        wait_ready(&scratch);
        let pid = the_one(&service);
        assert_eq!(parent_of(pid), Some(supervise.pid()));
        assert_eq!(service.state("starts"), ["1"]);
        // Commands are for this process, and its end is the service's.
        service.svc("-k");
        wait_until("another one runs", || matches!(service.alive("daemons")[..], [other] if other != pid));
        the_one(&service);
        service.svc("-d");
        wait_stopped(&service);
        assert_eq!((service.alive("daemons"), service.state("starts")), (vec![], vec!["2".to_string()]));
        assert_eq!(supervise.errors(), "");
    }
}

/// Other programs of the service directory leave processes, too: the parent of those is supervise as well.
#[test]
fn what_other_programs_leave_is_not_the_service() {
    const LEAVES: &str = "sh -c 'echo $$ >>others; exec sleep 1000' >/dev/null 2>&1 </dev/null &\nexit 0";
    for program in ["pre-start", "finish", "notify"] {
        let scratch = Scratch::new();
        let service = service(&scratch, &forks_once()).file("expect", "daemon");
        let service = service.script(program, LEAVES);
        let supervise = service.supervise();
        for _ in 0..3 {
            let pid = the_one(&service);
            wait_ready(&scratch);
            kill(process(pid), Signal::SIGKILL).expect("kill the service");
            wait_until(
                "another one is the service's",
                || matches!(service.alive("daemons")[..], [other] if other != pid),
            );
        }
        the_one(&service);
        service.svc("-d");
        wait_stopped(&service);
        assert_eq!((service.alive("daemons"), supervise.errors()), (vec![], String::new()), "{program}");
        let left = service.alive("others");
        assert!(!left.is_empty(), "{program}");
        left.into_iter().for_each(|pid| kill(process(pid), Signal::SIGKILL).expect("end it"));
    }
}

/// A service whose daemon does not come up is not taken for up because of something else.
#[test]
fn a_service_that_leaves_nothing_is_not_up_though_notify_leaves_something() {
    let scratch = Scratch::new();
    let notify = "sh -c 'echo $$ >>others; exec sleep 1000' >/dev/null 2>&1 </dev/null &\nexit 0";
    let service = service(&scratch, "exit 0").file("expect", "fork").script("notify", notify);
    let supervise = service.supervise();
    wait_until("it was started three times", || {
        service.state("starts").iter().any(|starts| starts.len() > 1 || **starts > *"2")
    });
    assert!(
        supervise.errors().contains("has ended well and left no process in the background"),
        "{}",
        supervise.errors()
    );
    assert!(service.state("taken").is_empty() && service.state("ready").is_empty());
    service.svc("-d");
    wait_stopped(&service);
    service.alive("others").into_iter().for_each(|pid| kill(process(pid), Signal::SIGKILL).expect("end it"));
}

/// The process that the pid file names is the service's, also if its parent lives, or if it is written late.
#[test]
fn the_process_in_the_pid_file_is_the_service() {
    let two = "sh -c 'echo $$ >>others; sh -c \"echo \\$\\$ >>daemons; echo \\$\\$ >pid; exec sleep 1000\" & exec sleep 1000' &\nexit 0";
    let late =
        "sh -c 'echo $$ >>daemons; while ! test -e go; do sleep 0.01; done; echo $$ >pid; exec sleep 1000' &\nexit 0";
    for (run, is_late) in [(two, false), (late, true)] {
        let scratch = Scratch::new();
        // A pid file of a life before names a process that is none of the service's.
        let service = service(&scratch, run).file("pidfile", "pid").file("pid", "1\n").file("kill-scope", "tree");
        let supervise = service.supervise();
        if is_late {
            wait_until("it waits", || service.state("search") == ["start exit 0"]);
            let long = scratch.run("svstat -l web").stdout;
            assert!(long.contains("looks for  the process of the service that run has left"), "{long}");
            assert_ne!(scratch.run("svwait -T 0 ready web").code, 0);
            fs::write(service.path("go"), "").unwrap();
        }
        wait_ready(&scratch);
        let pid = the_one(&service);
        assert_eq!(service.says("pid").trim(), pid.to_string());
        service.svc("-d");
        wait_stopped(&service);
        assert_eq!((service.alive("daemons"), service.alive("others")), (vec![], vec![]));
        assert_eq!(supervise.errors(), "");
    }
}

/// A service may move to another process, as nginx does when it is upgraded, if it says so in the pid file.
#[test]
fn a_service_moves_to_the_process_that_its_pid_file_names_when_the_one_before_ends() {
    let scratch = Scratch::new();
    let run = "sh -c 'echo $$ >>daemons; echo $$ >pid; while ! test -e move; do sleep 0.01; done; \
               sh -c \"echo \\$\\$ >>moved; echo \\$\\$ >pid; exec sleep 1000\" & \
               while ! test -s moved; do sleep 0.01; done; while ! test -e end; do sleep 0.01; done; exit 3' &\nexit 0";
    let service = service(&scratch, run).file("pidfile", "pid").file("restart-delay", "10ms 10ms 20ms");
    let _supervise = service.supervise();
    wait_ready(&scratch);
    the_one(&service);
    wait_until("it is believed to stay", || !service.says("supervise/state").contains("\nunstable"));
    fs::write(service.path("move"), "").unwrap();
    service.lines("moved", 1);
    fs::write(service.path("end"), "").unwrap();
    wait_until("it has moved", || service.alive("moved") == [service.status().pid]);
    assert_eq!((service.state("starts"), service.alive("daemons")), (vec!["1".to_string()], vec![]));
}

/// What cannot be taken is said in one line and ended, and never is there one beside the next.
#[test]
fn what_is_left_and_cannot_be_taken_is_said_and_ended() {
    let stays = format!("{STAYS} >/dev/null 2>&1 </dev/null &\n");
    let two = format!("{stays}{stays}exit 0");
    let one = format!("{stays}exit 0");
    type Make = fn(&Service);
    let no_file: Make = |_| {};
    let table: [(&str, &str, Make, &str); 11] = [
        (&two, "", no_file, "in the background, and no pidfile says which one is the service's: told to end\n"),
        ("exit 0", "", no_file, "web/run has ended well and left no process in the background\n"),
        ("exit 0", "pid", no_file, "web/run has ended well and left no process in the background\n"),
        (&one, "pid", no_file, "in the background, but pid does not exist: told to end\n"),
        (
            &one,
            "pid",
            |service| fs::write(service.path("pid"), "").unwrap(),
            "but pid has no process number: told to end\n",
        ),
        (
            &one,
            "pid",
            |service| fs::write(service.path("pid"), "-1").unwrap(),
            "but pid has no process number: told to end\n",
        ),
        (
            &one,
            "pid",
            |service| fs::write(service.path("pid"), "1\n").unwrap(),
            "but pid names process 1, which the service has not left: told to end\n",
        ),
        (
            &one,
            "pid",
            |service| mkfifo(&service.path("pid"), Mode::S_IRWXU).unwrap(),
            "but pid cannot be read: not a file: told to end\n",
        ),
        (
            &one,
            "pid",
            |service| symlink("/dev/zero", service.path("pid")).unwrap(),
            "but pid cannot be read: not a file: told to end\n",
        ),
        (
            &one,
            "pid",
            |service| fs::File::create(service.path("pid")).unwrap().set_len(1 << 40).unwrap(),
            "but pid cannot be read: too long: told to end\n",
        ),
        (
            &one,
            "pid",
            |service| fs::create_dir(service.path("pid")).unwrap(),
            "but pid cannot be read: not a file: told to end\n",
        ),
    ];
    for (run, pidfile, make, words) in table {
        let scratch = Scratch::new();
        let service = service(&scratch, run).file("timeout-up", "300ms");
        let service =
            if pidfile.is_empty() { service.file("expect", "fork") } else { service.file("pidfile", pidfile) };
        make(&service);
        let supervise = service.supervise();
        wait_until("it is said", || supervise.errors().ends_with(words));
        let starts = || service.state("starts").first().map_or(0, |starts| starts.parse().unwrap());
        let before: u32 = starts();
        let most = run.matches("daemons").count();
        wait_until("it is started again, twice", || {
            assert!(service.alive("daemons").len() <= most, "{words}");
            starts() >= before + 2
        });
        assert_eq!(supervise.errors().lines().count(), 1, "{}", supervise.errors());
        let cause = scratch.run("svstat -l web").stdout;
        assert!(cause.contains("cause      run: left "), "{words}: {cause}");
        service.svc("-d");
        wait_stopped(&service);
        assert_eq!(service.alive("daemons"), [], "{words}");
    }
}

/// A process that ignores TERM is killed.
#[test]
fn what_is_left_and_does_not_end_is_killed() {
    let scratch = Scratch::new();
    let stays = "sh -c 'trap \"\" TERM; echo $$ >>daemons; while :; do sleep 0.05; done' &\n";
    let service = service(&scratch, &format!("{stays}{stays}exit 0"));
    let service = service.file("expect", "daemon").file("timeout-up", "100ms").file("timeout-kill", "100ms");
    let _supervise = service.supervise();
    let first = service.lines("daemons", 2);
    service.lines("daemons", 3);
    assert!(first.iter().take(2).all(|pid| !is_alive(pid.parse().unwrap())));
}

#[test]
fn a_first_process_that_lingers_is_ended_and_so_is_what_it_has_left() {
    let scratch = Scratch::new();
    let run = format!("echo $$ >>daemons; {STAYS} & exec sleep 1000");
    let service = service(&scratch, &run).file("expect", "fork").file("timeout-up", "200ms");
    let supervise = service.supervise();
    let first = service.lines("daemons", 2);
    wait_until("it is said", || supervise.errors().contains("not ready within 200ms: told to end"));
    service.lines("daemons", 4);
    assert!(first.iter().take(2).all(|pid| !is_alive(pid.parse().unwrap())));
}

/// A command that comes before the process of the service is known.
#[test]
fn down_and_kill_during_the_start_leave_nothing() {
    for command in ["-d", "-dk"] {
        for run in [format!("{STAYS} & exec sleep 1000"), format!("{STAYS} & {STAYS} & exit 0")] {
            let scratch = Scratch::new();
            let service = service(&scratch, &run).file("expect", "fork");
            let supervise = service.supervise();
            service.lines("daemons", 1);
            service.svc(command);
            wait_stopped(&service);
            assert_eq!((service.alive("daemons"), supervise.errors()), (vec![], String::new()), "{command} {run}");
        }
    }
}

#[test]
fn a_service_that_stops_itself_is_continued_and_ready() {
    let scratch = Scratch::new();
    let run =
        "echo $$ >>daemons; while ! test -e go; do sleep 0.01; done; kill -STOP $$; echo >>continued; exec sleep 1000";
    let service = service(&scratch, run).file("expect", "stop");
    let supervise = service.supervise();
    let pid = the_one(&service);
    assert_ne!(scratch.run("svwait -T 0 ready web").code, 0);
    // A successor sees it too, though the process is not its child.
    supervise.kill();
    let _next = service.supervise();
    fs::write(service.path("go"), "").unwrap();
    service.lines("continued", 1);
    wait_ready(&scratch);
    assert_eq!((the_one(&service), service.state("starts")), (pid, vec!["1".to_string()]));
}

/// supervise is killed when the service runs, and while it waits for the pid file; the parent is process 1 for a while, or
/// whatever inherits here.
#[test]
fn a_service_in_the_background_is_taken_over() {
    let waits =
        "sh -c 'echo $$ >>daemons; while ! test -e go; do sleep 0.01; done; echo $$ >pid; exec sleep 1000' &\nexit 0";
    // A program may overwrite its environment, by which it would be known again. Then the pid file proves who it is.
    let hides = waits.replacen("sh -c", "env -i sh -c", 1);
    let table = [(forks_once(), "expect", "fork"), (waits.into(), "pidfile", "pid"), (hides.clone(), "pidfile", "pid")];
    for (run, file, content) in table {
        let scratch = Scratch::new();
        let service = service(&scratch, &run).file(file, content);
        let supervise = service.supervise();
        let old = supervise.pid();
        if file == "pidfile" {
            wait_until("it waits", || service.state("search") == ["start exit 0"]);
        } else {
            wait_ready(&scratch);
        }
        let pid: i32 = service.lines("daemons", 1)[0].parse().unwrap();
        supervise.kill();
        assert_ne!(parent_of(pid), Some(old));
        if run == hides && parent_of(pid) != Some(1) {
            tests::skip("process 1 does not inherit here");
            continue;
        }
        let next = service.supervise();
        fs::write(service.path("go"), "").unwrap();
        wait_ready(&scratch);
        assert_eq!((the_one(&service), service.state("starts")), (pid, vec!["1".to_string()]));
        // Its end is learnt though it is no child.
        kill(process(pid), Signal::SIGKILL).unwrap();
        wait_until("another one runs", || matches!(service.alive("daemons")[..], [other] if other != pid));
        service.svc("-dx");
        wait_until("it has ended", || !service.is_supervised());
        assert_eq!((service.alive("daemons"), next.errors()), (vec![], String::new()));
    }
}

/// What runs keeps its settings, also while its process is still looked for.
#[test]
fn the_next_supervise_looks_for_the_process_with_the_settings_of_its_start() {
    let scratch = Scratch::new();
    let run =
        "sh -c 'while ! test -e go; do sleep 0.01; done; echo $$ >>daemons; echo $$ >pid; exec sleep 1000' &\nexit 0";
    let service = service(&scratch, run).file("pidfile", "pid");
    let supervise = service.supervise();
    wait_until("it waits", || service.state("search") == ["start exit 0"]);
    supervise.kill();
    fs::write(service.path("pidfile"), "another\n").unwrap();
    let _next = service.supervise();
    fs::write(service.path("go"), "").unwrap();
    wait_ready(&scratch);
    assert_eq!(service.says("pid").trim(), the_one(&service).to_string());
}
