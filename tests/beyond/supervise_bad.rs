//! supervise with bad input: meaningless settings, programs that misbehave, floods, a system that refuses calls. In
//! every case supervise reports it, tries again after a pause, and obeys commands.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread::Builder;
use tests::{
    Daemon, Disk, Fuse, Node, REQUESTS, Scratch, Service, has, is_alive, is_root, prints, processes_in, skip,
    wait_until,
};

const SETTINGS: [&str; 11] = [
    "down-signal",
    "timeout-kill",
    "timeout-finish",
    "kill-scope",
    "restart-delay",
    "restart-limit",
    "success-codes",
    "max-death-tally",
    "notification-fd",
    "timeout-up",
    "watchdog",
];

type Make = fn(&Path);

/// Ways in which a file can be invalid, and the message for each.
const KINDS: [(&str, Make, &str); 7] = [
    ("huge", |path| File::create(path).unwrap().set_len(100 << 20).unwrap(), "too long"),
    ("a directory", |path| fs::create_dir(path).unwrap(), "not a file"),
    ("binary", |path| fs::write(path, [0xff, 0, 0x80, b'\n', 0xfe]).unwrap(), "not text"),
    ("a FIFO", |path| tests::fifo(path).unwrap(), "not a file"),
    ("a link to itself", |path| symlink(path, path).unwrap(), "symbolic link loop"),
    ("a device", |path| symlink("/dev/zero", path).unwrap(), "not a file"),
    ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()), "not a file"),
];

/// The service starts, restarts and ends, and supervise reports each setting once.
fn lives(service: &Service, mut supervise: Daemon, reason: &str, kind: &str) {
    service.lines("starts", 1);
    service.svc("-t");
    service.lines("starts", 2);
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0, "{kind}");
    let expected = SETTINGS.map(|setting| format!("supervise: warning: web/{setting}: line 1: {reason}; ignored\n"));
    assert_eq!(supervise.errors(), expected.concat(), "{kind}");
}

#[test]
fn settings_that_are_no_settings() {
    for (kind, make, reason) in KINDS {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000");
        SETTINGS.iter().for_each(|setting| make(&service.path(setting)));
        let supervise = service.supervise();
        lives(&service, supervise, reason, kind);
    }
}

#[test]
fn settings_that_are_empty_or_lead_nowhere() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000");
    SETTINGS.iter().for_each(|setting| fs::write(service.path(setting), "").unwrap());
    let mut supervise = service.supervise();
    service.lines("starts", 1);
    // `success-codes` without codes is valid.
    assert_eq!(supervise.errors().lines().count(), SETTINGS.len() - 1, "{}", supervise.errors());
    for setting in SETTINGS {
        fs::remove_file(service.path(setting)).unwrap();
        symlink("/nonexistent", service.path(setting)).unwrap();
    }
    service.svc("-t");
    service.lines("starts", 2);
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    assert_eq!(supervise.errors().lines().count(), SETTINGS.len() - 1, "{}", supervise.errors());
}

/// The error comes at the first reading, before supervise is in charge, and at the reading for the second run.
#[test]
fn settings_that_cannot_be_read_for_a_moment_count_as_they_are_or_were() {
    if !has("strace") {
        return;
    }
    // At each reading supervise finds each file once, on the mount of the service directory.
    for (setting, calls, error, reason, [first, second]) in [
        ("down-signal", "openat2", "EMFILE", "process cannot open more files", [1, 2]),
        ("down-signal", "openat2", "EIO", "input/output error", [1, 2]),
        ("finish", "openat2", "ENOMEM", "out of memory", [1, 2]),
        ("setsid", "openat2", "EIO", "input/output error", [1, 3]),
    ] {
        for (life, when) in [(1, first), (2, second)] {
            let scratch = Scratch::new();
            let run = "trap 'echo >>heard; exit' USR1; cut -d' ' -f6 /proc/$$/stat >session; echo $$ >>starts
                while :; do sleep 0.01; done";
            let web = Service::new(&scratch, "web", run).script("finish", "echo >>finished");
            let web = web.file("down-signal", "USR1").file("setsid", "").file("restart-delay", "10ms");
            let mut command = scratch.command("strace");
            command.args(["-qq", "-o", "/dev/null", "-I3", "-P", setting, "-e"]);
            command.arg(format!("inject={calls}:error={error}:when={when}"));
            let mut supervise = Daemon::start(command.arg(scratch.programs().join("supervise")).arg("web"), &scratch);
            let mut pid = web.lines("starts", 1)[0].clone();
            if life == 2 {
                web.svc("-k");
                pid = web.lines("starts", 2)[1].clone();
            }
            assert_eq!(web.says("session").trim(), pid, "{setting} {life}: it leads a session");
            web.svc("-dx");
            assert_eq!(supervise.wait(), 0);
            assert_eq!((web.says("heard"), web.says("finished")), ("\n".into(), "\n".repeat(life)), "{setting} {life}");
            let said = format!("supervise: warning: web/{setting}: line 1: {reason}; what it said before counts\n");
            assert_eq!(supervise.errors(), if life == 2 { said } else { String::new() }, "{setting}");
        }
    }
}

#[test]
fn settings_that_may_not_be_read() {
    if !is_root() {
        return skip("needs root");
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>../out/starts; exec sleep 1000");
    for setting in SETTINGS {
        scratch.file(format!("web/{setting}"), "5s");
        scratch.mode(format!("web/{setting}"), 0);
    }
    for directory in ["web/supervise", "out"] {
        scratch.dir(directory);
        scratch.mode(directory, 0o777);
    }
    let supervise = Daemon::start(scratch.as_nobody("supervise").arg("web"), &scratch);
    wait_until("it is supervised", || service.is_supervised());
    let out = Service::at(&scratch, "out");
    out.lines("starts", 1);
    service.svc("-t");
    out.lines("starts", 2);
    let expected =
        SETTINGS.map(|setting| format!("supervise: warning: web/{setting}: line 1: access denied; ignored\n"));
    assert_eq!(supervise.errors(), expected.concat());
}

/// A program that exists but cannot be executed is reported, and the service goes on.
#[test]
fn programs_that_are_no_programs() {
    let refused: [(&str, Make, bool); 5] = [
        ("empty", |path| fs::write(path, "").unwrap(), true),
        ("binary", |path| fs::write(path, [0xff; 4096]).unwrap(), true),
        ("a directory", |path| fs::create_dir(path).unwrap(), false),
        ("a FIFO", |path| tests::fifo(path).unwrap(), false),
        ("a link to itself", |path| symlink(path, path).unwrap(), false),
    ];
    for (kind, make, is_tried) in refused {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000").file("restart-delay", "10");
        for program in ["finish", "stop", "notify"] {
            make(&service.path(program));
            // A link to itself has no mode.
            let _ = Command::new("chmod").arg("755").arg(service.path(program)).output();
        }
        let mut supervise = service.supervise();
        service.lines("starts", 1);
        service.svc("-t");
        service.lines("starts", 2);
        service.svc("-dx");
        assert_eq!(supervise.wait(), 0, "{kind}");
        for program in ["finish", "stop", "notify"] {
            assert_eq!(supervise.errors().contains(program), is_tried, "{kind}: {}", supervise.errors());
        }
    }
}

#[test]
fn a_finish_that_hangs_is_killed_and_commands_are_obeyed_meanwhile() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000")
        .script("finish", "trap '' TERM; echo $$ >>finishes; while :; do sleep 0.01; done")
        .file("restart-delay", "10");
    let mut supervise = service.supervise();
    service.lines("starts", 1);
    service.svc("-t");
    let finish: i32 = service.lines("finishes", 1)[0].parse().unwrap();
    service.svc("-p");
    service.wait_for("finish is paused", |status| status.paused == 1);
    service.svc("-c");
    service.wait_for("finish goes on", |status| status.paused == 0);
    assert!(is_alive(finish));
    // Without a setting the timeout is five seconds.
    service.lines("starts", 2);
    assert!(!is_alive(finish));
    fs::write(service.path("timeout-finish"), "50").unwrap();
    service.svc("-t");
    service.lines("starts", 3);
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
}

#[test]
fn a_finish_that_forks_does_not_hold_up_the_next_run() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000")
        .script("finish", "sleep 1000 & echo $! >>children")
        .file("restart-delay", "10");
    let mut supervise = service.supervise();
    service.lines("starts", 1);
    for number in 2..5 {
        service.svc("-t");
        service.lines("starts", number);
    }
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    let children = service.lines("children", 4);
    assert!(children.iter().all(|pid| is_alive(pid.parse().unwrap())), "supervise has killed what finish left");
}

#[test]
fn a_service_that_ignores_term_is_killed_in_time() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "trap '' TERM; echo >>starts; while :; do sleep 0.01; done")
        .file("timeout-kill", "100");
    let mut supervise = service.supervise();
    service.lines("starts", 1);
    service.svc("-d");
    service.wait_down();
    assert!(service.state("death")[0].ends_with("signal 9 told"));
    service.svc("-u");
    service.lines("starts", 2);
    // If the service is told up again, it is not killed although it takes long to end.
    service.svc("-du");
    assert!(service.state("death").len() == 1 && service.up() != 0);
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
}

fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The memory of a process that does not belong to a file, in kB.
fn own_memory(pid: i32) -> usize {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The nanoseconds of a label.
fn nanoseconds(label: &str) -> u64 {
    let seconds = u64::from_str_radix(&label[1..17], 16).unwrap() & 0xffff_ffff;
    seconds * 1_000_000_000 + u64::from_str_radix(&label[17..25], 16).unwrap()
}

#[test]
fn what_dies_at_once_for_hours_costs_nothing_in_the_long_run() {
    let scratch = Scratch::new();
    scratch.dir("web");
    let service = Service::at(&scratch, "web").file("restart-delay", "3").file("notification-fd", "5");
    symlink("/bin/true", service.path("run")).unwrap();
    let mut supervise = service.supervise();
    let starts = || service.state("starts").first().map_or(0, |starts| starts.parse().unwrap());
    let has_started = |count: u64| wait_until(&format!("it has started {count} times"), || starts() >= count);
    // Measured while the service is down, because a child that has not executed `run` yet shares memory and has
    // descriptors.
    let costs = |most: usize| {
        service.svc("-d");
        service.wait_for("is down", |status| status.pid == 0 && status.want == b'd');
        // supervise closes the files that it was writing at that moment.
        wait_until("there are no more descriptors", || descriptors(supervise.pid()) <= most);
        let costs = (own_memory(supervise.pid()), descriptors(supervise.pid()));
        service.svc("-u");
        costs
    };
    // The test waits in steps, because the machine may be busy. After these starts supervise has done everything that
    // it does, and has allocated the memory for it.
    let warmed_up = |count: u64| {
        has_started(count);
        costs(20)
    };
    (100..=1400).step_by(100).map(warmed_up).for_each(drop);
    let before = warmed_up(1500);
    (1600..=4700).step_by(100).for_each(has_started);
    let after = costs(before.1);
    // A program that was not optimized touches a few more pages now and then, until it has touched all: some twenty of
    // them up to the thousandth start, a few more up to the five thousandth, and none after it. A leak in each of 3200
    // starts would add up to more, if it is of more than sixty bytes.
    assert!(after.0 <= before.0 + 192, "{before:?} {after:?}");
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    // supervise never starts `run` before its time. The labels may differ a little, because they are of another clock
    // than the one that supervise waits by.
    let began: Vec<u64> =
        service.state("death").iter().map(|death| nanoseconds(death.split(' ').next().unwrap())).collect();
    assert_eq!(began.len(), 16);
    // The last start but one was caused by the test.
    let soonest = began[..10].windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(soonest >= 2_500_000, "{soonest} ns");
    assert_eq!(supervise.errors(), "");
}

/// A service that sends this many bytes to $NOTIFY_SOCKET, and then READY=1.
fn speaker(saying: &str) -> String {
    format!(
        "exec python3 -c '\nimport array, os, socket, time\n\
         name = os.environ[\"NOTIFY_SOCKET\"].replace(\"@\", chr(0), 1)\n\
         speak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\nspeak.connect(name)\n{saying}\n\
         open(\"said\", \"w\").write(chr(10))\n\
         while not os.path.exists(\"go\"): time.sleep(0.01)\nspeak.send(b\"READY=1\")\ntime.sleep(1000)\n'"
    )
}

#[test]
fn datagrams_that_make_no_sense() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let saying = "for text in [b\"\", b\"READY=1\" + b\" \" * 5000, b\"READY=1 \", b\"=\", bytes(range(256)), b\"READY=1\\0\",\n\
                  b\"MAINPID=1\", b\"MAINPID=99999999999999999999\", b\"WATCHDOG=1\" * 300, b\"STATUS=\" + b\"x\" * 100000]:\n    \
                  speak.send(text)\n\
                  for number in range(50):\n    \
                  speak.sendmsg([b\"FDSTORE=1\"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array(\"i\", [0, 1, 2]))])";
    let service = Service::new(&scratch, "web", &speaker(saying)).file("notify-socket", "");
    let supervise = service.supervise();
    let pid = service.up();
    service.lines("said", 1);
    let before = descriptors(supervise.pid());
    assert!(service.state("ready").is_empty() && service.state("status-text").is_empty());
    fs::write(service.path("go"), "").unwrap();
    wait_until("it is ready", || !service.state("ready").is_empty());
    // supervise may have one more descriptor while it reads them.
    wait_until("no descriptor is kept", || descriptors(supervise.pid()) <= before);
    assert_eq!(service.up(), pid);
    assert!(before < 20, "{before}");
}

#[test]
fn floods_do_not_keep_it_from_obeying() {
    let flood = speaker("count = 0\nwhile True:\n    count += 1\n    speak.send(b\"STATUS=%d\" % count)");
    for (name, run) in [("notify-socket", flood.as_str()), ("notification-fd", "exec cat /dev/zero >&3")] {
        if name == "notify-socket" && !has("python3") {
            continue;
        }
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", run).file(name, "3");
        let mut supervise = service.supervise();
        if name == "notify-socket" {
            wait_until("it speaks", || !service.state("status-text").is_empty());
        }
        let pid = service.up();
        service.svc("-t");
        service.another(pid);
        assert!(service.state("ready").is_empty());
        service.svc("-dx");
        assert_eq!(supervise.wait(), 0, "{name}");
    }
}

#[test]
fn ten_thousand_commands_at_once() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "trap '' HUP; echo >>starts; while :; do sleep 0.1; done");
    let mut strace = scratch.command("strace");
    strace.args(["-D", "-qq", "-o", "trace", "-e", "trace=kill"]);
    let mut supervise = Daemon::start(strace.arg(tests::programs().join("supervise")).arg("web"), &scratch);
    wait_until("it is supervised", || service.is_supervised());
    service.lines("starts", 1);
    // Bytes without a meaning lie between the commands.
    service.control(&b"h\0".repeat(10_000));
    service.svc("-p");
    service.wait_for("the last is obeyed too", |status| status.paused == 1);
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    let sent = || fs::read_to_string(scratch.path().join("trace")).unwrap_or_default().matches("SIGHUP").count();
    wait_until("each was acted on", || sent() == 10_000);
    assert_eq!(service.says("starts").lines().count(), 1);
}

/// Commands for the logger must not reach the service where one read ends and the next begins.
#[test]
fn a_selection_holds_for_all_commands_that_come_with_it() {
    for before in [253, 254, 255, 256] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", "trap '' HUP; echo >>starts; while :; do sleep 0.1; done")
            .script("log", "echo >>loggers; exec cat");
        let _supervise = service.supervise();
        service.lines("starts", 1);
        service.lines("loggers", 1);
        let pid = service.up();
        service.control(&[&b"h".repeat(before)[..], b"Lt"].concat());
        service.lines("loggers", 2);
        assert_eq!(service.up(), pid, "{before} before");
    }
}

#[test]
fn forks_refused_are_said_and_control_answers() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000").file("restart-delay", "10");
    let mut strace = scratch.command("strace");
    let refuse = "inject=clone,clone3,fork,vfork:error=EAGAIN:when=2+";
    strace.args(["-D", "-qq", "-o", "/dev/null", "-e", "trace=clone,clone3,fork,vfork", "-e", refuse]);
    let mut supervise = Daemon::start(strace.arg(tests::programs().join("supervise")).arg("web"), &scratch);
    wait_until("it is supervised", || service.is_supervised());
    service.lines("starts", 1);
    service.svc("-k");
    let words = "supervise: warning: unable to fork for web, sleeping 60 seconds: temporary failure\n";
    wait_until("it says so", || supervise.errors() == words);
    wait_until("it waits", || !service.state("next-start").is_empty());
    service.wait_down();
    assert_eq!(service.svstat(), "down N seconds, normally up, want up");
    // When the service is told up, supervise tries at once.
    service.svc("-u");
    wait_until("it says so again", || supervise.errors() == words.repeat(2));
    service.svc("-d");
    service.wait_for("is wanted down", |status| status.want == b'd');
    service.svc("-x");
    assert_eq!(supervise.wait(), 0);
    assert_eq!(service.says("starts").lines().count(), 1);
}

fn limit_descriptors(pid: i32, limit: &str) {
    let done = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={limit}:1024")]).status();
    assert!(done.unwrap().success());
}

#[test]
fn descriptors_used_up_are_said_and_written_is_what_could_not_be_as_soon_as_it_can() {
    if !has("prlimit") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000").file("restart-delay", "10");
    let mut supervise = service.supervise();
    service.lines("starts", 1);
    let pid = service.up();
    limit_descriptors(supervise.pid(), "4");
    service.svc("-k");
    wait_until("it says so", || supervise.errors().contains("unable to fork for web, sleeping 60 seconds: "));
    let complaints = || supervise.errors().lines().filter(|line| line.contains("supervise/st")).count();
    // supervise could not write the status and the state either.
    wait_until("it has said all", || complaints() == 2);
    // supervise obeys the command, although there is no process to signal.
    service.control(b"d");
    limit_descriptors(supervise.pid(), "1024");
    service.wait_for("is down and wanted so", |status| status.pid == 0 && status.want == b'd');
    assert_eq!(complaints(), 2, "{}", supervise.errors());
    service.svc("-u");
    assert_ne!(service.up(), pid);
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
}

/// Even if the system refuses starts, supervise never runs two processes, and leaves none behind.
#[test]
fn a_system_that_refuses_now_and_then() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo $$ >>starts; exec sleep 1000")
        .script("finish", "echo >>finishes")
        .file("restart-delay", "10");
    let calls = "clone,clone3,openat,socketpair,renameat,waitid,fcntl,sendto";
    let mut strace = scratch.command("strace");
    strace.args(["-D", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={calls}"));
    strace.arg("-e").arg(format!("inject={calls}:error=ENOMEM:when=60+7"));
    let mut supervise = Daemon::start(strace.arg(tests::programs().join("supervise")).arg("web"), &scratch);
    wait_until("it is supervised", || service.is_supervised());
    service.lines("starts", 1);
    let alive = || {
        service
            .says("starts")
            .lines()
            .filter(|pid| pid.parse().is_ok_and(is_alive))
            .map(str::to_string)
            .collect::<Vec<_>>()
    };
    for _ in 0..10 {
        if let Some(pid) = alive().first() {
            let _ = kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL);
        }
        wait_until("one runs", || {
            service.control(b"u");
            let alive = alive();
            assert!(alive.len() <= 1, "{alive:?}");
            alive.len() == 1
        });
    }
    service.control(b"dx");
    assert_eq!(supervise.wait(), 0);
    wait_until("nothing is left", || processes_in(scratch.path()).is_empty());
    assert_eq!(scratch.run("svok web").code, 100);
    assert_eq!(scratch.run("svc -u missing").code, prints("").code);
}

/// supervise is started without svscan, as the original starts it. If it were killed now, the next one would start a
/// second copy; it says so.
#[test]
fn a_full_disk_keeps_no_service_down() {
    if !is_root() {
        return skip("a full disk needs root, to mount a small one");
    }
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, 128);
    let service = Service::new(&scratch, "disk/web", "echo $$ >>../../starts; exec sleep 1000");
    disk.fill(0);
    let mut supervise = service.supervise();
    wait_until("it runs", || fs::read_to_string(scratch.path().join("starts")).is_ok_and(|text| text.ends_with('\n')));
    let said = |words: &str| supervise.errors().matches(words).count();
    wait_until("it says what failed", || said("unable to write disk/web/supervise/state.new: out of disk space") == 1);
    wait_until("it says what that means", || said("the next one will start a second copy") == 1);
    let starts = || fs::read_to_string(scratch.path().join("starts")).unwrap_or_default();
    let pid: i32 = starts().trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_until("it is started again", || starts().lines().count() == 2);
    disk.free();
    wait_until("it is written down", || !service.state("ready").is_empty());
    assert_eq!((said("state.new: out of disk space"), said("a second copy")), (1, 1));
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
}

/// svscan remembers the process, but not if it is killed together with its supervises.
#[test]
fn on_a_full_disk_it_is_said_under_svscan_too_what_that_means() {
    if !is_root() {
        return skip("a full disk needs root, to mount a small one");
    }
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, 128);
    let service = Service::new(&scratch, "disk/scan/web", "exec sleep 1000");
    disk.fill(0);
    let svscan = Daemon::start(scratch.command("svscan").arg("disk/scan"), &scratch);
    let means = "supervise: warning: web/supervise/state cannot be written: if svscan and all supervises are killed together, \
                 the next ones will start a second copy\n";
    wait_until("it says what that means", || svscan.errors().matches(means).count() == 1);
    disk.free();
    wait_until("it is written down", || !service.state("ready").is_empty());
    service.svc("-d");
    service.wait_down();
    assert_eq!(svscan.errors().matches("a second copy").count(), 1, "{}", svscan.errors());
}

#[test]
fn a_descriptor_beyond_the_limit_keeps_nothing_from_starting() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000").file("notification-fd", "1000");
    let mut command = scratch.command("prlimit");
    let supervise =
        Daemon::start(command.arg("--nofile=64").arg(tests::programs().join("supervise")).arg("web"), &scratch);
    service.lines("starts", 1);
    let complaint = "supervise: warning: web/notification-fd: line 1: beyond the limit of open files; ignored\n";
    assert_eq!(supervise.errors(), complaint);
}

/// A supervise that was killed may have left the old status under the name of the next new one.
#[test]
fn a_status_that_was_in_place_is_not_written_to() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000");
    for name in ["status.new", "state.new"] {
        scratch.file(format!("web/supervise/{name}"), "a process reads this file");
    }
    let read = |name| File::open(service.path(name)).unwrap();
    let held = ["supervise/status.new", "supervise/state.new"].map(read);
    let mut supervise = service.supervise();
    service.lines("starts", 1);
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    for file in held {
        assert_eq!(std::io::read_to_string(file).unwrap(), "a process reads this file");
    }
}

/// The owner of a service directory may mount over its files, which are no links then. Each request may be the one that is
/// not answered, after all before were.
#[test]
fn settings_that_fall_silent_do_not_keep_it_from_restarting_and_obeying() {
    if !is_root() || !fs::exists("/dev/fuse").is_ok_and(|there| there) || !has("unshare") {
        return skip("only root mounts, and only where there is FUSE");
    }
    let requests = REQUESTS.into_iter().filter(|(name, _)| ["lookup", "getattr", "open", "read"].contains(name));
    let files = ["timeout-kill", "no-setsid"].into_iter();
    let cases = requests.flat_map(|request| files.clone().map(move |file| (request, file)));
    std::thread::scope(|scope| {
        for ((request, number), file) in cases {
            let case = Builder::new().name(format!("{request} of {file}"));
            let run = move || {
                let scratch = Scratch::new();
                scratch.dir("remote");
                let web = Service::new(&scratch, "web", "exec sleep 1000").file("restart-delay", "10ms");
                symlink("../remote/setting", web.path(file)).expect("make a link");
                let fuse = Fuse::serve(vec![(None, "setting", Node::Program("5\n".into()))]);
                let script = format!("{} remote && exec supervise web </dev/null", Fuse::MOUNT);
                let mut command = scratch.command("unshare");
                let command = command.args(["-m", "/bin/sh", "-c", &script]).stdin(fuse.device());
                let mut supervise = Daemon::start(command, &scratch);
                let pid = web.up();
                fuse.never_answer((number, "setting"));
                kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill it");
                web.another(pid);
                web.svc("-dx");
                assert_eq!(supervise.wait(), 0, "{}", supervise.errors());
            };
            case.spawn_scoped(scope, run).expect("start a thread");
        }
    });
}

#[test]
fn what_is_mounted_over_a_setting_does_not_keep_it_from_obeying() {
    if !is_root() || !fs::exists("/dev/fuse").is_ok_and(|there| there) || !has("unshare") {
        return skip("only root mounts, and only where there is FUSE");
    }
    let scratch = Scratch::new();
    let mounted = ["timeout-kill", "finish", "timeout-kil"];
    let web = mounted.iter().fold(Service::new(&scratch, "web", "exec sleep 1000"), |web, name| web.file(name, ""));
    let mount = |(number, name): (usize, &&str)| {
        let fd = number + 3;
        let options = format!("fd={fd},rootmode=100000,user_id=0,group_id=0");
        format!("exec {fd}<>/dev/fuse && mount -i -t fuse -o {options} none web/{name} && ")
    };
    let mounts: String = mounted.iter().enumerate().map(mount).collect();
    let script = format!("{mounts} exec supervise web");
    let mut supervise = Daemon::start(scratch.command("unshare").args(["-m", "/bin/sh", "-c", &script]), &scratch);
    let pid = web.up();
    web.svc("-t");
    web.another(pid);
    web.svc("-dx");
    assert_eq!(supervise.wait(), 0, "{}", supervise.errors());
    assert!(supervise.errors().contains("web/timeout-kill: line 1: timed out; ignored"), "{}", supervise.errors());
}

/// A mount whose server is gone, and links of the service that lead there.
#[test]
fn settings_on_a_dead_mount_are_said_and_do_not_keep_it_from_obeying() {
    if !is_root() || !fs::exists("/dev/fuse").is_ok_and(|there| there) || !has("unshare") {
        return skip("only root mounts, and only where there is FUSE");
    }
    let scratch = Scratch::new();
    scratch.dir("remote");
    let web = Service::new(&scratch, "web", "exec sleep 1000").file("restart-delay", "10ms");
    // A link that leads to a file system that answers is read.
    scratch.file("elsewhere", "INT");
    symlink("../elsewhere", web.path("down-signal")).expect("make a link");
    let dead = ["timeout-kill", "finish", "notify-socket"];
    dead.iter().for_each(|name| symlink(format!("../remote/{name}"), web.path(name)).expect("make a link"));
    let mount = "exec 3<>/dev/fuse || exit; mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none remote";
    let script = format!("{mount} || exit; exec supervise web");
    let mut supervise = Daemon::start(scratch.command("unshare").args(["-m", "/bin/sh", "-c", &script]), &scratch);
    let mut pid = web.up();
    let mut expected: Vec<String> =
        dead.iter().map(|name| format!("supervise: warning: web/{name}: line 1: timed out; ignored")).collect();
    expected.sort_unstable();
    for _ in 0..3 {
        web.svc("-t");
        pid = web.another(pid);
    }
    let errors = supervise.errors();
    let mut lines: Vec<&str> = errors.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, expected, "once, not at every start");
    // There is one helper for each path that waits.
    assert_eq!(tests::children_of(supervise.pid()).len(), 1 + dead.len());
    web.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    assert_eq!(
        web.state("death").last().map(|death| death.contains("signal 2")),
        Some(true),
        "{:?}",
        web.state("death")
    );
    // supervise does not guess whether the service is to be up when it starts.
    symlink("../remote/down", web.path("down")).expect("make a link");
    let outcome = scratch.outcome_of(scratch.command("unshare").args(["-m", "/bin/sh", "-c", &script]));
    assert_eq!(outcome, tests::fails(111, "supervise: fatal: unable to stat web/down: timed out\n"));
}
