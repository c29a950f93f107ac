//! supervise: how it runs a service, in every state that its users meet.

use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tests::{Daemon, Scratch, Service, differs, is_alive, original, parent_of, state_of, wait_until};

/// A test that expects nothing to happen waits this long.
const WHILE: Duration = Duration::from_millis(300);

/// `run` is executed without a search in PATH and without a shell. It gets supervise's environment and only its own
/// name as an argument.
#[test]
fn run_has_no_arguments_and_the_environment_of_supervise() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", r#"echo "$#:$0:$PWD:$MARK" >out; env >env; exec sleep 1000"#);
    let mut command = scratch.command("supervise");
    let daemon = Daemon::start(command.arg("web").env("MARK", "a b"), &scratch);
    service.lines("out", 1);
    let here = fs::canonicalize(scratch.path().join("web")).unwrap();
    assert_eq!(service.says("out"), format!("0:./run:{}:a b\n", here.display()));
    service.up();
    assert!(tests::environment(daemon.pid()).iter().any(|entry| entry == "MARK=a b"));
}

#[test]
fn run_has_no_descriptors_but_those_of_supervise() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let _daemon = service.supervise();
    let pid = service.up();
    // Until then the process is a shell that has the script open.
    wait_until("run is sleep", || fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n"));
    let mut fds: Vec<i32> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    fds.sort_unstable();
    assert!(fds.starts_with(&[0, 1, 2]), "{fds:?}");
    // The descriptors of this test may be inherited, but no descriptor of ours for the service directory.
    for fd in &fds[3..] {
        let target = fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
        assert!(!target.starts_with(scratch.path()), "{fd} is {}", target.display());
    }
}

/// ^C at a terminal reaches all processes.
#[test]
fn no_session_and_no_group_is_made() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let daemon = service.supervise();
    let of = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.split(' ').skip(2).take(2).map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(of(service.up()), of(daemon.pid()));
    assert_eq!(parent_of(service.up()), Some(daemon.pid()));
}

#[test]
fn it_is_restarted_when_it_ends_but_not_more_than_once_a_second() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo start >>starts");
    let start = Instant::now();
    let _daemon = service.supervise();
    service.lines("starts", 4);
    assert!(start.elapsed() >= Duration::from_millis(2900), "four starts within {:?}", start.elapsed());
}

#[test]
fn down_keeps_it_down_and_is_looked_at_once() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo start >>starts; exec sleep 1000").down();
    let _daemon = service.supervise();
    assert_eq!(service.svstat(), "down N seconds");
    service.svc("-u");
    let pid = service.up();
    assert_eq!(service.svstat(), "up (pid N) N seconds, normally down");
    // The file `down` only counts when supervise starts, not when the service ends.
    service.svc("-k");
    service.another(pid);
    fs::remove_file(service.path("down")).unwrap();
    assert_eq!(service.svstat(), "up (pid N) N seconds");
}

#[test]
fn once_runs_it_once_and_wants_nothing() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo start >>starts; exec sleep 1000").down();
    let _daemon = service.supervise();
    service.svc("-o");
    let pid = service.up();
    assert_eq!((service.status().want, service.svstat().as_str()), (0, "up (pid N) N seconds, normally down"));
    service.svc("-k");
    service.wait_down();
    sleep(Duration::from_millis(1200));
    assert!(!is_alive(pid) && service.status().pid == 0);
    assert_eq!(service.says("starts"), "start\n");
}

#[test]
fn once_leaves_a_running_service_running() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let _daemon = service.supervise();
    let pid = service.up();
    service.svc("-o");
    service.wait_for("is wanted once", |status| status.want == 0);
    assert_eq!(service.status().pid, pid);
    service.svc("-k");
    service.wait_down();
}

#[test]
fn down_is_term_and_continue_and_ends_a_pause() {
    let scratch = Scratch::new();
    let service =
        Service::new(&scratch, "web", "trap 'echo TERM >>heard; exit' TERM; echo >ready; while :; do sleep 0.01; done");
    let _daemon = service.supervise();
    service.lines("ready", 1);
    service.svc("-p");
    let paused = service.wait_for("is paused", |status| status.paused == 1);
    wait_until("it is stopped", || state_of(paused.pid) == Some('T'));
    assert_eq!(service.svstat(), "up (pid N) N seconds, paused");
    service.svc("-d");
    service.wait_down();
    assert_eq!(service.says("heard"), "TERM\n");
    assert_eq!((service.status().paused, service.svstat().as_str()), (0, "down N seconds, normally up"));
}

#[test]
fn pause_and_continue_change_no_times() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let _daemon = service.supervise();
    service.up();
    let before = service.status();
    service.svc("-p");
    let paused = service.wait_for("is paused", |status| status.paused == 1);
    assert_eq!(before.bytes[..16], paused.bytes[..16]);
    service.svc("-c");
    service.wait_for("goes on", |status| status.paused == 0);
    wait_until("it goes on", || state_of(before.pid) == Some('S'));
    assert_eq!(before.bytes[..16], service.status().bytes[..16]);
}

/// The original remembers a pause that was commanded while the service was down. It then shows the service as paused
/// when it is up, although it is not.
#[test]
fn a_pause_of_what_is_down_is_nothing() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000").down();
    let _daemon = service.supervise();
    service.svc("-p");
    sleep(WHILE);
    assert_eq!(service.status().paused, 0);
    service.svc("-u");
    service.up();
    assert_eq!(service.status().paused, 0);
}

#[test]
fn signals_reach_run_alone() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "sleep 1000 & echo $! >child; echo $$ >>starts; wait");
    let _daemon = service.supervise();
    let pid = service.lines("starts", 1)[0].parse().unwrap();
    assert_eq!(service.up(), pid);
    let child: i32 = service.lines("child", 1)[0].parse().unwrap();
    service.svc("-d");
    service.wait_down();
    assert!(!is_alive(pid) && is_alive(child), "its child must survive");
}

#[test]
fn exit_waits_for_the_service_and_kills_nothing() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo start >>starts; exec sleep 1000");
    let mut daemon = service.supervise();
    let pid = service.up();
    service.svc("-x");
    sleep(WHILE);
    assert!(is_alive(pid) && !daemon.has_ended());
    service.svc("-k");
    assert_eq!(daemon.wait(), 0);
    assert_eq!((service.says("starts").as_str(), daemon.errors().as_str()), ("start\n", ""));
    assert_eq!(service.svstat(), "supervise not running");
}

#[test]
fn exit_of_what_is_down_is_at_once() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000").down();
    let mut daemon = service.supervise();
    service.svc("-x");
    assert_eq!(daemon.wait(), 0);
    // Another supervise can be started.
    service.supervise();
}

/// If supervise obeyed, it would start a service although it was told to exit, and a shutdown would wait for that
/// service.
#[test]
fn commands_behind_an_exit_that_can_be_obeyed_are_not_obeyed() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo start >>starts; exec sleep 1000").down();
    let mut daemon = service.supervise();
    service.control(b"xu");
    assert_eq!(daemon.wait(), 0);
    assert!(!service.path("starts").exists());
    // Commands before the exit are obeyed.
    let mut daemon = service.supervise();
    service.control(b"ux");
    service.lines("starts", 1);
    service.svc("-d");
    assert_eq!(daemon.wait(), 0);
}

#[test]
fn down_and_exit_in_one_go() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let mut daemon = service.supervise();
    let pid = service.up();
    service.svc("-dx");
    assert_eq!(daemon.wait(), 0);
    assert!(!is_alive(pid));
}

/// supervise handles no signals. A signal ends it and has no other effect.
#[test]
fn a_killed_supervise_leaves_the_service_running() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", "exec sleep 1000");
        let mut daemon = service.supervise();
        let pid = service.up();
        daemon.signal(signal);
        assert_eq!(daemon.wait(), 128 + signal as i32);
        assert_eq!((is_alive(pid), service.svstat().as_str()), (true, "supervise not running"), "{signal}");
    }
}

/// The next supervise of the original starts a second process. Ours adopts the first one.
#[test]
fn after_a_killed_supervise() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let daemon = service.supervise();
    let pid = service.up();
    daemon.kill();
    let _next = service.supervise();
    wait_until("it is up", || service.status().pid != 0 && (service.status().pid != pid || !original()));
    assert!(is_alive(pid));
    assert_eq!(service.status().pid == pid, differs(true, false));
}

#[test]
fn the_status_is_written_before_svok_succeeds() {
    for _ in 0..10 {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", "exec sleep 1000");
        let _daemon = service.supervise();
        assert!(service.path("supervise/status").exists());
    }
}

#[test]
fn modes_of_its_files_follow_the_umask_only_where_others_read() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000").down();
    let mut command = scratch.command("/bin/sh");
    let _daemon = Daemon::start(command.args(["-c", "umask 077; exec supervise web"]), &scratch);
    wait_until("it is supervised", || service.is_supervised());
    for (file, mode) in [("", 0o700), ("lock", 0o600), ("control", 0o600), ("ok", 0o600), ("status", 0o600)] {
        let seen = fs::metadata(service.path("supervise").join(file)).unwrap().mode() & 0o777;
        assert_eq!(seen, mode, "supervise/{file}");
    }
}

/// supervise obeys all commands in order, including those that came before the first was finished.
#[test]
fn no_command_is_lost() {
    let scratch = Scratch::new();
    let service = Service::new(
        &scratch,
        "web",
        "trap 'echo H >>heard' HUP; trap 'echo A >>heard' ALRM; echo >ready; while :; do sleep 0.01; done",
    );
    let _daemon = service.supervise();
    service.lines("ready", 1);
    for count in 1..=20 {
        service.control(b"h");
        service.lines("heard", 2 * count - 1);
        service.control(b"a");
        service.lines("heard", 2 * count);
    }
    assert_eq!(service.says("heard"), "H\nA\n".repeat(20));
}

#[test]
fn bytes_that_mean_nothing_are_ignored() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let daemon = service.supervise();
    let before = service.wait_for("is up", |status| status.pid != 0);
    service.control(b"\0\n\xff\x80zZyY*/");
    service.control(&[b'?'; 4000]);
    sleep(WHILE);
    assert_eq!(service.status().bytes[..18], before.bytes[..18]);
    assert_eq!(daemon.errors(), "");
    service.svc("-d");
    service.wait_down();
}

/// supervise obeys a command within the first second too. The original sleeps for that second and then obeys.
#[test]
fn what_is_told_right_after_a_start_is_done() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo start >>starts; exec sleep 1000");
    let _daemon = service.supervise();
    service.svc("-d");
    service.wait_for("is down, as wanted", |status| status.pid == 0 && status.want == b'd');
    sleep(WHILE);
    assert_eq!(service.status().pid, 0);
    // supervise still obeys commands.
    service.svc("-u");
    service.up();
}
