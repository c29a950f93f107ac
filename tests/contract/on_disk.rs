//! The files in a service directory, for programs that read and write them directly. CONTRACT.md names these tests.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::SystemTime;
use tests::{Outcome, Scratch, Service, differs, fails, original, prints, state_of, wait_until};

const FOREVER: &str = "exec sleep 1000";

#[test]
fn run_is_executed_in_the_service_directory_without_arguments() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", "echo \"$0 $#\" $(pwd) >said; exec sleep 1000");
    let _supervise = web.supervise();
    let directory = scratch.path().join("web").canonicalize().unwrap();
    assert_eq!(web.lines("said", 1), [format!("./run 0 {}", directory.display())]);
}

#[test]
fn down_keeps_it_from_being_started() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", FOREVER).down();
    let _supervise = web.supervise();
    assert_eq!(web.status().pid, 0);
    web.control(b"u");
    web.up();
}

#[test]
fn supervise_makes_a_lock_two_fifos_and_a_status_for_its_owner() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", FOREVER);
    let _supervise = web.supervise();
    let kind = |name: &str| {
        let metadata = fs::metadata(web.path("supervise").join(name)).unwrap();
        (metadata.file_type().is_fifo(), metadata.mode() & 0o777)
    };
    assert_eq!(kind("."), (false, 0o700));
    assert_eq!(kind("lock"), (false, 0o600));
    assert_eq!(kind("control"), (true, 0o600));
    assert_eq!(kind("ok"), (true, 0o600));
    assert_eq!(kind("status"), (false, 0o644));
}

#[test]
fn an_existing_supervise_directory_keeps_its_mode() {
    let scratch = Scratch::new();
    scratch.dir("web/supervise");
    scratch.mode("web/supervise", 0o755);
    let web = Service::new(&scratch, "web", FOREVER);
    let _supervise = web.supervise();
    assert_eq!(fs::metadata(web.path("supervise")).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn there_is_one_supervise_a_service() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", FOREVER);
    let _supervise = web.supervise();
    let cause = differs(": another supervise has it", "");
    let words = format!("supervise: fatal: unable to acquire web/supervise/lock: temporary failure{cause}\n");
    assert_eq!(scratch.run("supervise web"), fails(111, &words));
}

#[test]
fn the_status_has_the_pid_and_the_time_of_its_start() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", "echo $$ >pid; exec sleep 1000");
    let _supervise = web.supervise();
    assert_eq!(web.lines("pid", 1), [web.up().to_string()]);
    let status = web.status();
    assert_eq!(status.bytes.len(), differs(20, 18));
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs().cast_signed();
    assert!((now - 60..=now).contains(&status.unix_seconds()), "{status:?} {now}");
    assert!(u32::from_be_bytes(status.bytes[8..12].try_into().unwrap()) < 1_000_000_000);
    assert_eq!((status.paused, status.want), (0, b'u'));
    // Byte 18 is daemontools-encore's: started or running here, and stopped below. Byte 19 is runit's: run here, and
    // down below.
    assert!(original() || [2, 3].contains(&status.bytes[18]) && status.bytes[19] == 1);

    web.control(b"p");
    web.wait_for("is paused", |status| status.paused == 1);
    web.control(b"c");
    web.wait_for("goes on", |status| status.paused == 0);
    web.control(b"o");
    web.wait_for("is up once", |status| status.want == 0);
    web.control(b"d");
    web.wait_down();
    let status = web.status();
    assert_eq!((status.paused, status.want), (0, b'd'));
    assert!(original() || status.bytes[18..] == [0, 0]);
}

/// Clients that stop every service which is "up" rely on it.
#[test]
fn a_service_that_dies_at_once_is_up_in_the_status() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", "echo $$ >>pids; exit 3");
    let _supervise = web.supervise();
    for life in 1..=3 {
        let pids = web.lines("pids", life);
        // The last process has ended, or will end in a moment.
        let last: i32 = pids.last().unwrap().parse().unwrap();
        wait_until("it has ended", || state_of(last).is_none_or(|state| state == 'Z'));
        let shown = web.wait_for("is up", |status| status.pid != 0);
        assert_eq!((shown.paused, shown.want), (0, b'u'));
        let known = |pid: i32| web.says("pids").lines().any(|line| line == pid.to_string());
        wait_until("it is one of those that were started", || known(web.status().pid));
    }
}

#[test]
fn the_status_is_replaced_never_rewritten() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", FOREVER);
    let _supervise = web.supervise();
    web.up();
    let before = fs::File::open(web.path("supervise/status")).unwrap();
    web.control(b"d");
    web.wait_down();
    assert_eq!(before.metadata().unwrap().nlink(), 0);
}

#[test]
fn each_control_byte_sends_its_signal() {
    let bytes = [(b'h', "HUP"), (b'a', "ALRM"), (b'i', "INT"), (b't', "TERM")];
    let encore = [(b'q', "QUIT"), (b'1', "USR1"), (b'2', "USR2"), (b'w', "WINCH")];
    // The original ignores the bytes that only encore and our programs have.
    let all = bytes.into_iter().chain(encore.into_iter().filter(|_| !original()));
    let traps = "for name in HUP ALRM INT TERM QUIT USR1 USR2 WINCH; do trap \"echo $name >>heard\" $name; done";
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", &format!("{traps}; echo >ready; while :; do sleep 0.01; done"));
    let _supervise = web.supervise();
    web.lines("ready", 1);
    for (count, (byte, name)) in all.enumerate() {
        web.control(&[byte]);
        assert_eq!(web.lines("heard", count + 1)[count], name);
    }
}

#[test]
fn kill_is_kill_and_what_is_up_is_started_again() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", "trap '' TERM; exec sleep 1000");
    let _supervise = web.supervise();
    let before = web.up();
    web.control(b"k");
    web.another(before);
}

#[test]
fn unknown_control_bytes_are_ignored() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", FOREVER);
    let _supervise = web.supervise();
    let before = web.up();
    web.control(b"Zz\0\n \xff");
    web.control(b"p");
    assert_eq!(web.wait_for("is paused", |status| status.paused == 1).pid, before);
}

#[test]
fn told_to_exit_supervise_goes_when_the_service_is_down() {
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", FOREVER);
    let mut supervise = web.supervise();
    web.up();
    web.control(b"dx");
    assert_eq!(supervise.wait(), 0);
    assert_eq!(scratch.run("svok web").code, 100);
    assert_eq!(scratch.run("svstat web"), prints("web: supervise not running\n"));
}

#[test]
fn what_cannot_be_commanded_is_a_warning_and_exit_0() {
    let scratch = Scratch::new();
    scratch.dir("never");
    let warnings = "svc: warning: unable to control never: file does not exist\n\
                    svc: warning: unable to chdir to missing: file does not exist\n";
    assert_eq!(scratch.run("svc -d never missing"), Outcome { code: 0, ..fails(0, warnings) });
    let lines = "never: unable to open supervise/ok: file does not exist\n\
                 missing: unable to chdir: file does not exist\n";
    assert_eq!(scratch.run("svstat never missing"), prints(lines));
    assert_eq!(scratch.run("svok never"), fails(100, ""));
    let words = "svok: fatal: unable to chdir to missing: file does not exist\n";
    assert_eq!(scratch.run("svok missing"), fails(111, words));
}
