//! A chain program that cannot do its work says so to supervise: its service was not started, as where `run` itself cannot
//! be executed.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::thread::sleep;
use std::time::Duration;
use tests::{Daemon, Scratch, Service, fails, has, is_alive, is_root, parent_of, prints, skip, wait_until};

/// The variable that tells a chain program where supervise hears it.
const VARIABLE: &str = "SUPERVISE_REPORT";

/// How a `run` has ended, and what a chain program has said.
type End = (String, Option<String>);

/// How the last `run` that has ended did so: the end of its line in `supervise/state`, and what a chain program has said.
fn last_end(service: &Service) -> End {
    let deaths = service.state("death");
    let exit = deaths.last().map(|death| death.split(' ').skip(2).collect::<Vec<_>>().join(" ")).unwrap_or_default();
    (exit, service.state("refusal").into_iter().next())
}

/// Waits until a `run` has ended, and says how: see [`last_end`].
fn end(service: &Service) -> End {
    wait_until("it has ended", || !service.state("death").is_empty());
    last_end(service)
}

fn unstarted(errno: i32, words: &str) -> End {
    (format!("unstarted {errno}"), Some(words.into()))
}

fn exited(code: i32) -> End {
    (format!("exit {code}"), None)
}

/// A service that is run once.
fn once<'a>(scratch: &'a Scratch, name: &str, run: &str) -> (Service<'a>, Daemon) {
    let service = Service::new(scratch, name, run).down();
    let supervise = service.supervise();
    service.svc("-o");
    (service, supervise)
}

/// A program that sends these datagrams to supervise as the process of `run`, and exits with this code.
fn sender(datagrams: &[&str], code: i32) -> String {
    let sent: String = datagrams.iter().map(|text| format!("speak.sendto(b\"{text}\", name)\n")).collect();
    format!(
        "exec python3 -c '\nimport os, socket\nname = os.environ[\"{VARIABLE}\"].split(\":\", 1)[1].replace(\"@\", chr(0), 1)\n\
         speak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n{sent}os._exit({code})\n'"
    )
}

#[test]
fn each_chain_program_says_what_it_could_not_do() {
    let run = "unable to run no-such-program: file does not exist";
    let table = [
        ("exec setuidgid no-such-account sleep 1000", "setuidgid", "unknown account no-such-account", 22),
        ("exec envuidgid no-such-account sleep 1000", "envuidgid", "unknown account no-such-account", 22),
        ("exec envuidgid :1:1 no-such-program", "envuidgid", run, 2),
        (
            "exec envdir no-such-dir sleep 1000",
            "envdir",
            "unable to switch to directory no-such-dir: file does not exist",
            2,
        ),
        ("mkdir env; exec envdir env no-such-program", "envdir", run, 2),
        ("exec softlimit -o 100 no-such-program", "softlimit", run, 2),
        ("exec softlimit -o 100 ./run/x", "softlimit", "unable to run ./run/x: not a directory", 20),
        (
            "exec setlock held setlock -n held sleep 1000",
            "setlock",
            "unable to lock held: temporary failure: another process has it",
            11,
        ),
        ("exec setlock held no-such-program", "setlock", run, 2),
        (
            "exec setlock no-such-dir/held sleep 1000",
            "setlock",
            "unable to open no-such-dir/held: file does not exist: its parent directory does not exist",
            2,
        ),
        ("exec pgrphack no-such-program", "pgrphack", run, 2),
        ("exec fghack no-such-program", "fghack", run, 2),
        ("exec pgrphack -t /dev/no-such sleep 1000", "pgrphack", "unable to open /dev/no-such: file does not exist", 2),
        ("exec pgrphack -t /dev/null sleep 1000", "pgrphack", "unable to take terminal /dev/null: not a tty", 25),
        ("exec setuidgid root:no-such-group sleep 1000", "setuidgid", "unknown group no-such-group", 22),
        (
            "exec setuidgid -s root:0 sleep 1000",
            "setuidgid",
            "unknown group 0: for numbers say :UID:GID, as in :1000:1000",
            22,
        ),
        ("exec softlimit -o 5:100 no-such-program", "softlimit", run, 2),
        ("exec setpriority -n 19 no-such-program", "setpriority", run, 2),
        ("exec indir . no-such-program", "indir", run, 2),
        (
            "exec indir no-such-dir sleep 1000",
            "indir",
            "unable to switch to directory no-such-dir: file does not exist",
            2,
        ),
        ("exec indir run sleep 1000", "indir", "unable to switch to directory run: not a directory", 20),
        ("exec privatedir no-such-account made sleep 1000", "privatedir", "unknown account no-such-account", 22),
        (
            "exec privatedir :0:0 no/made sleep 1000",
            "privatedir",
            "unable to make directory no/made: file does not exist: its parent directory does not exist",
            2,
        ),
        (
            "ln -s . link; exec privatedir :0:0 link sleep 1000",
            "privatedir",
            "unable to open directory link: not a directory: it is a link",
            20,
        ),
        // The last of a chain says it.
        ("exec envuidgid :1:1 softlimit -c 0 setlock held fghack no-such-program", "fghack", run, 2),
    ];
    for (run, program, words, errno) in table {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", run)
            .script("finish", "echo \"$1 $2 $ENDED $TOLD $STARTED $SUPERVISE_REPORT\" >>finished")
            .down();
        let supervise = service.supervise();
        service.svc("-o");
        assert_eq!(service.lines("finished", 1), ["111 0 run 0 0 "], "{run}");
        assert_eq!(end(&service), unstarted(errno, &format!("{program}: {words}")), "{run}");
        assert_eq!(service.state("ends"), ["unstarted 1"], "{run}");
        // The message is as ever.
        let message = format!("{program}: fatal: {words} (in {})\n", service.path("").display());
        assert_eq!(supervise.errors(), message.replace("/)", ")"), "{run}");
    }
}

#[test]
fn what_the_account_of_a_service_may_not_execute_is_said_as_that_account() {
    if !is_root() {
        return skip("needs root");
    }
    let scratch = Scratch::new();
    scratch.mode(".", 0o755);
    let (service, _supervise) = once(&scratch, "web", "exec setuidgid :65534:65534 ./closed");
    scratch.script("web/closed", "#!/bin/sh\n");
    scratch.mode("web/closed", 0o700);
    service.svc("-o");
    wait_until("that was said", || {
        service.state("refusal")[..] == ["setuidgid: unable to run ./closed: access denied"]
    });
    assert_eq!(last_end(&service).0, "unstarted 13");
}

#[test]
fn what_only_root_may_have_is_said_as_the_account_of_the_service() {
    if !is_root() {
        return skip("needs root");
    }
    let right = "only root can take more than it has";
    for (program, words, errno) in [
        ("setpriority -n -5", format!("setpriority: unable to set nice value -5: access denied: {right}"), 13),
        (
            "softlimit -o 5:unlimited",
            "softlimit: unable to raise hard limit RLIMIT_NOFILE to unlimited: permission denied: only root can raise it"
                .into(),
            1,
        ),
        ("indir closed", "indir: unable to switch to directory closed: access denied: it belongs to root, and this is nobody".into(), 13),
        ("setuidgid root", "setuidgid: unable to setgid: permission denied: only root can change the account".into(), 1),
    ] {
        let scratch = Scratch::new();
        scratch.dir("web/closed");
        scratch.mode("web/closed", 0o700);
        let (service, _supervise) =
            once(&scratch, "web", &format!("exec softlimit -o 100:100 setuidgid :65534:65534 ./{program} sleep 1000"));
        let name = program.split(' ').next().unwrap();
        scratch.copy_program(scratch.programs().join(name), format!("web/{name}"));
        service.svc("-o");
        wait_until("it is refused", || last_end(&service) == unstarted(errno, &words));
    }
}

/// Wrong usage has another code, which says not to try again; and setlock was told not to say anything.
#[test]
fn what_is_no_refusal_ends_as_ever() {
    let table = [
        ("exec setuidgid", exited(100)),
        ("exec softlimit -o x sleep 1000", exited(100)),
        ("exec softlimit -o 9:5 sleep 1000", exited(100)),
        ("exec setpriority -n 20 sleep 1000", exited(100)),
        ("exec privatedir -m 8 root made sleep 1000", exited(100)),
        ("exec indir .", exited(100)),
        ("exec pgrphack -t /dev/tty", exited(100)),
        ("exec envdir", exited(111)),
        ("exec setlock held setlock -nx held sleep 1000", exited(0)),
        ("exec softlimit -o 100 sh -c 'exit 111'", exited(111)),
        ("exec fghack sh -c 'exit 111'", exited(111)),
        ("exec fghack sh -c 'kill $$'", ("unstarted 22".into(), Some("fghack: child crashed".into()))),
        // The service goes on without it, or takes its code for its own.
        ("setuidgid no-such-account true; exit 3", exited(3)),
        ("setuidgid no-such-account true; exit 111", exited(111)),
        // What was built before there was the variable does not say it.
        ("unset SUPERVISE_REPORT; exec setuidgid no-such-account true", exited(111)),
        ("SUPERVISE_REPORT=1:@x; export SUPERVISE_REPORT; exec setuidgid no-such-account true", exited(111)),
        ("SUPERVISE_REPORT=$$:/no/such; export SUPERVISE_REPORT; exec setuidgid no-such-account true", exited(111)),
    ];
    for (run, expected) in table {
        let scratch = Scratch::new();
        let (service, _supervise) = once(&scratch, "web", run);
        assert_eq!(end(&service), expected, "{run}");
    }
}

#[test]
fn every_view_says_why() {
    let scratch = Scratch::new();
    let run = "[ -e go ] && exec setuidgid no-such-account sleep 1000; exit 3";
    let (service, _supervise) = once(&scratch, "web", run);
    assert_eq!(end(&service), exited(3));
    fs::write(service.path("go"), "").unwrap();
    service.svc("-o");
    wait_until("both ends are known", || service.state("death").len() == 2);
    let why = "not executed: setuidgid: unknown account no-such-account";
    for (line, words) in [
        ("svstat -l web", format!("    last exit  {why}, ")),
        ("svstat -l web", "    before it  exited 3, ".into()),
        (
            "svstat -j web",
            format!(
                "\"exit\":\"unstarted\",\"code\":null,\"signal\":null,\"core\":false,\"errno\":22,\"text\":\"{why}\""
            ),
        ),
        ("svstat -j web", format!("\"reason\":\"{why}, ")),
        ("svctl -d . status web", format!("{why} after ")),
        ("svctl -d . status", why.into()),
    ] {
        let outcome = scratch.run(line);
        assert!(outcome.stdout.contains(&words), "{line}: {outcome:?}");
    }
    scratch.file("web/notification-fd", "5");
    let failed = scratch.run("svc -o -T 5s -W ready web");
    assert!(failed.code != 0 && failed.stderr.contains(&format!("web is not ready: ended: {why}\n")), "{failed:?}");
    // It is not said of an end that has nothing to do with it.
    fs::remove_file(service.path("go")).unwrap();
    service.svc("-o");
    wait_until("it has ended", || last_end(&service) == exited(3));
    assert!(!scratch.run("svstat -l web").stdout.contains("setuidgid"));
}

#[test]
fn what_says_when_it_is_ready_never_was() {
    for setting in [
        ("notification-fd", "5"),
        ("notify-socket", ""),
        ("notify-socket", "path"),
        ("expect", "stop"),
        ("expect", "fork"),
    ] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", "exec setuidgid no-such-account sleep 1000")
            .file(setting.0, setting.1)
            .file("restart-delay", "1ms")
            .file("max-death-tally", "4096");
        let _supervise = service.supervise();
        wait_until("it has been tried often", || {
            assert_eq!(service.state("ready"), [""; 0], "{setting:?}");
            service.state("death").len() > 50
        });
        let deaths = service.state("death");
        assert!(deaths.iter().all(|death| death.ends_with(" unstarted 22")), "{setting:?}: {deaths:?}");
        assert_eq!(scratch.run("svwait -T 200ms ready web").code, 99, "{setting:?}");
        assert_eq!(scratch.run("svc -u -T 200ms -W ready web").code, 99, "{setting:?}");
    }
}

/// As Upstart does with a job whose process could not be set up.
#[test]
fn finish_may_give_up_what_was_not_started() {
    let scratch = Scratch::new();
    let service =
        Service::new(&scratch, "web", "[ -e go ] && exec setuidgid no-such-account sleep 1000; touch go; exit 111")
            .script("finish", "[ $STARTED = 1 ] || exit 125")
            .file("restart-delay", "1ms");
    let supervise = service.supervise();
    wait_until("it has failed", || service.state("phase") == ["failed"]);
    let deaths: Vec<String> = service.state("death").iter().map(|death| death.split(' ').skip(2).collect()).collect();
    assert_eq!(deaths, ["exit111", "unstarted22"]);
    assert!(supervise.errors().contains("web: gives up: finish exited 125"), "{}", supervise.errors());
}

#[test]
fn where_the_code_is_a_success_it_is_one() {
    let scratch = Scratch::new();
    let service =
        Service::new(&scratch, "web", "exec setuidgid no-such-account sleep 1000").file("success-codes", "111");
    let _supervise = service.supervise();
    service.wait_down();
    assert_eq!(end(&service), exited(111));
    assert_eq!((service.state("phase"), service.state("death").len()), (vec!["stopped".into()], 1));
}

#[test]
fn the_restart_limit_counts_it() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec envdir no-such-dir sleep 1000")
        .file("restart-limit", "3 in 1m")
        .file("restart-delay", "1ms");
    let _supervise = service.supervise();
    wait_until("it has failed", || service.state("phase") == ["failed"]);
    let words = "gave up    restart-limit 3 in 1m reached, last not executed: envdir: unable to switch to directory no-such-dir";
    let long = scratch.run("svstat -l web").stdout;
    assert!(long.contains(words), "{long}");
}

#[test]
fn a_logger_that_cannot_be_started_is_told_so_too() {
    let scratch = Scratch::new();
    let service =
        Service::new(&scratch, "web", "exec sleep 1000").script("log", "exec setuidgid no-such-account multilog t");
    let _supervise = service.supervise();
    wait_until("that is known", || service.state("log-refusal")[..] == ["setuidgid: unknown account no-such-account"]);
    assert!(service.state("log-death")[0].ends_with(" unstarted 22"));
    assert_eq!(service.state("refusal"), [""; 0]);
}

/// What a logger says does not reach its log, so each way in which it cannot start is told.
#[test]
fn a_multilog_that_cannot_open_its_log_says_why() {
    let scratch = Scratch::new();
    let table = [
        ("exec multilog t ./no/main", "multilog: unable to open directory ./no/main: file does not exist", 2),
        ("exec multilog t ./run", "multilog: unable to open directory ./run: not a directory", 20),
        ("exec multilog t ./main =./no/status", "multilog: unable to create ./no/status: ", 2),
        (
            "exec setlock held multilog t ./no/main",
            "multilog: unable to open directory ./no/main: file does not exist",
            2,
        ),
    ];
    for (number, (run, words, errno)) in table.into_iter().enumerate() {
        let (service, _supervise) = once(&scratch, &format!("log{number}"), run);
        let (exit, refusal) = end(&service);
        assert_eq!(exit, format!("unstarted {errno}"), "{run}: {refusal:?}");
        assert!(refusal.as_ref().is_some_and(|said| said.starts_with(words)), "{run}: {refusal:?}");
    }
    // What comes after the start is an end as ever.
    let (service, _supervise) = once(&scratch, "ends", "echo line | multilog t ./main; exit 111");
    assert_eq!(end(&service), exited(111));
}

/// The datagram counts as the last word of the process that has sent it, if that exits with the code of such an end.
#[test]
fn only_an_end_with_the_code_of_a_refusal_is_one() {
    if !has("python3") {
        return;
    }
    let refusal = "NOT_STARTED=own: words\\nERRNO=5\\n";
    for (code, expected) in [(111, unstarted(5, "own: words")), (0, exited(0)), (3, exited(3)), (100, exited(100))] {
        let scratch = Scratch::new();
        let (service, _supervise) = once(&scratch, "web", &sender(&[refusal], code));
        assert_eq!(end(&service), expected, "{code}");
    }
}

#[test]
fn hostile_datagrams_are_ignored_or_escaped() {
    if !has("python3") {
        return;
    }
    let long = format!("NOT_STARTED={}", "x".repeat(5000));
    let whole = format!("NOT_STARTED={}", "x".repeat(4000));
    let table: [(&[&str], End); 11] = [
        (&["NOT_STARTED=\\x1b[2J\\x07\\x9b\\xff\\0\\r", "x"], unstarted(22, "\\x1b[2J\\x07\\x9b\\xff\\x00\\x0d")),
        (&["NOT_STARTED=a\\nERRNO=-5"], unstarted(22, "a")),
        (&["NOT_STARTED=a\\nERRNO=99999999999"], unstarted(22, "a")),
        (&["NOT_STARTED=a\\nphase running\\npid 1"], unstarted(22, "a")),
        (&["NOT_STARTED=a", "NOT_STARTED=b"], unstarted(22, "b")),
        (&[&whole], unstarted(22, &"x".repeat(300))),
        (&[&long], exited(111)),
        (&["NOT_STARTED="], exited(111)),
        (&[""], exited(111)),
        // Nothing else is heard there.
        (&["READY=1\\nSTATUS=told\\nMAINPID=1\\nSTOPPING=1"], exited(111)),
        (&[&long, "NOT_STARTED=a"], unstarted(22, "a")),
    ];
    for (datagrams, expected) in table {
        let scratch = Scratch::new();
        let (service, _supervise) = once(&scratch, "web", &sender(datagrams, 111));
        assert_eq!(end(&service), expected, "{datagrams:?}");
        assert_eq!(service.state("status-text"), [""; 0]);
    }
}

/// The socket without a setting `notify-socket` is no NOTIFY_SOCKET.
#[test]
fn nothing_but_refusals_is_heard_without_notify_socket() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let say = sender(&["READY=1\\nSTATUS=told\\nSTOPPING=1"], 0)
        .replace("os._exit(0)", "open(\"said\", \"w\").write(chr(10)); import time; time.sleep(1000)");
    let service = Service::new(&scratch, "web", &say).file("notification-fd", "5");
    let _supervise = service.supervise();
    service.lines("said", 1);
    // supervise has read it once it has obeyed a command that came later.
    service.svc("-p");
    wait_until("it is paused", || service.says("supervise/state").contains("\npaused\n"));
    for key in ["ready", "status-text", "ending"] {
        assert_eq!(service.state(key), [""; 0], "{key}");
    }
}

/// Neither another process of the service nor another account speaks for the process of `run`.
#[test]
fn a_forged_refusal_is_not_believed() {
    if !has("python3") {
        return;
    }
    let forge = "import os, socket, sys\naddress = sys.argv[1].split(':', 1)[1].replace('@', chr(0), 1)\n\
                 if os.getuid() == 0: os.setgid(65534); os.setuid(int(sys.argv[2]))\n\
                 socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'NOT_STARTED=forged', address)\n";
    for setting in ["", "notify-socket"] {
        let scratch = Scratch::new();
        scratch.file("forge.py", forge);
        // First a child of the service, then processes of others, and then the service ends as a chain program would.
        let run = "echo $SUPERVISE_REPORT >address; python3 ../forge.py $SUPERVISE_REPORT 0; echo >forged; \
                   while [ ! -e go ]; do sleep 0.01; done; exit 111";
        let service = Service::new(&scratch, "web", run).down();
        let service = if setting.is_empty() { service } else { service.file(setting, "") };
        let _supervise = service.supervise();
        service.svc("-o");
        service.lines("forged", 1);
        let address = service.lines("address", 1)[0].clone();
        for account in ["0", "65534"] {
            let forged = scratch.outcome_of(scratch.command("python3").args(["forge.py", &address, account]));
            assert_eq!(forged, prints(""));
        }
        fs::write(service.path("go"), "").unwrap();
        assert_eq!(end(&service), exited(111), "{setting:?}");
    }
}

/// What was left of an earlier `run` knows the address, which stays the same, but has another number than the next `run`.
#[test]
fn a_refusal_that_comes_late_is_of_no_other_run() {
    let scratch = Scratch::new();
    let run =
        "echo $SUPERVISE_REPORT >>addresses; [ -e go ] && exit 111; touch go; exec setuidgid no-such-account true";
    let (service, _supervise) = once(&scratch, "web", run);
    assert_eq!(end(&service).0, "unstarted 22");
    service.svc("-o");
    wait_until("it has ended again", || service.state("death").len() == 2);
    assert_eq!(last_end(&service), exited(111));
    let addresses = service.lines("addresses", 2);
    let parts: Vec<(&str, &str)> = addresses.iter().filter_map(|address| address.split_once(':')).collect();
    assert!(parts[0].0 != parts[1].0 && parts[0].1 == parts[1].1, "{parts:?}");
}

#[test]
fn a_flood_of_strangers_keeps_no_chain_program_from_being_heard() {
    if !has("python3") {
        return;
    }
    if !is_root() {
        return skip("needs root");
    }
    let scratch = Scratch::new();
    let run =
        "echo $SUPERVISE_REPORT >address; while [ ! -e go ]; do sleep 0.01; done; exec setuidgid no-such-account true";
    let service = Service::new(&scratch, "web", run).file("restart-delay", "1ms").file("max-death-tally", "4096");
    let _supervise = service.supervise();
    let address = service.lines("address", 1)[0].clone();
    let flood = "import os, socket, sys\naddress = sys.argv[1].split(':', 1)[1].replace('@', chr(0), 1)\n\
                 file = open('flood', 'w')\nos.setuid(65534)\nspeak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
                 while True:\n    for _ in range(100): speak.sendto(b'NOT_STARTED=forged', address)\n    file.write(chr(10))\n    file.flush()";
    let _flood = Daemon::start(scratch.command("python3").args(["-c", flood, &address]), &scratch);
    wait_until("it has begun", || {
        fs::read_to_string(scratch.path().join("flood")).is_ok_and(|lines| !lines.is_empty())
    });
    fs::write(service.path("go"), "").unwrap();
    // On a busy machine a single one may find no room in its time.
    let words = "setuidgid: unknown account no-such-account";
    wait_until("it is heard", || last_end(&service) == unstarted(22, words));
    let deaths = service.state("death");
    assert!(deaths.iter().all(|death| death.ends_with(" unstarted 22") || death.ends_with(" exit 111")), "{deaths:?}");
}

/// supervise does not listen for ever, so that strangers cannot make it work; but it looks at what waits for it.
#[test]
fn a_chain_program_that_fails_late_is_heard_and_strangers_cost_nothing() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let run =
        "echo $SUPERVISE_REPORT >address; while [ ! -e go ]; do sleep 0.01; done; exec setuidgid no-such-account true";
    let (service, supervise) = once(&scratch, "web", run);
    let address = service.lines("address", 1)[0].clone();
    sleep(Duration::from_secs(6));
    let say = "import socket, sys\nspeak = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\nspeak.setblocking(False)\n\
               address = sys.argv[1].split(':', 1)[1].replace('@', chr(0), 1)\nsent = 0\n\
               for _ in range(3): speak.sendto(b'NOT_STARTED=forged', address)";
    let used = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", supervise.pid())).unwrap();
        fs::read_to_string(format!("/proc/{}/status", supervise.pid()))
            .unwrap()
            .lines()
            .find_map(|line| {
                line.strip_prefix("voluntary_ctxt_switches:").map(|number| number.trim().parse::<u64>().unwrap())
            })
            .unwrap_or_else(|| panic!("{stat}"))
    };
    // On a busy machine it may wait for other things. A stranger who wakes it does so each time.
    let is_woken = || {
        let before = used();
        assert_eq!(scratch.outcome_of(scratch.command("python3").args(["-c", say, &address])), prints(""));
        sleep(Duration::from_millis(100));
        used() != before
    };
    assert!((0..5).any(|_| !is_woken()), "supervise is woken by strangers");
    fs::write(service.path("go"), "").unwrap();
    assert_eq!(end(&service), unstarted(22, "setuidgid: unknown account no-such-account"));
}

#[test]
fn the_supervise_after_a_killed_one_hears_it() {
    for settings in [&[][..], &["notify-socket"]] {
        let scratch = Scratch::new();
        let run = "echo $$ >>starts; while [ ! -e go ]; do sleep 0.01; done; exec setuidgid no-such-account true";
        let service = settings
            .iter()
            .fold(Service::new(&scratch, "web", run).down(), |service, setting| service.file(setting, ""));
        let supervise = service.supervise();
        service.svc("-o");
        service.lines("starts", 1);
        supervise.kill();
        let _next = service.supervise();
        fs::write(service.path("go"), "").unwrap();
        assert_eq!(end(&service), unstarted(22, "setuidgid: unknown account no-such-account"), "{settings:?}");
        // What is known of the end outlives the next one too.
        let (after, before) = (service.says("supervise/state"), last_end(&service));
        drop(_next);
        let _third = service.supervise();
        assert_eq!(last_end(&service), before, "{after}");
    }
}

/// svscan keeps the socket of a service with a `notify-socket`, and thus what was said while no supervise was there.
#[test]
fn what_was_said_while_no_supervise_was_there_is_heard() {
    let scratch = Scratch::new();
    let run = "echo $$ >>starts; [ -e once ] && exec sleep 1000; while [ ! -e go ]; do sleep 0.01; done; touch once; \
               exec setuidgid no-such-account true";
    let service = Service::new(&scratch, "scan/web", run).file("notify-socket", "");
    let _svscan = Daemon::start(scratch.command("svscan").arg("scan"), &scratch);
    let pid: i32 = service.lines("starts", 1)[0].parse().unwrap();
    let supervise = parent_of(pid).unwrap();
    kill(Pid::from_raw(supervise), Signal::SIGSTOP).unwrap();
    fs::write(service.path("go"), "").unwrap();
    wait_until("it has ended", || !is_alive(pid));
    kill(Pid::from_raw(supervise), Signal::SIGKILL).unwrap();
    service.lines("starts", 2);
    assert_eq!(last_end(&service), unstarted(22, "setuidgid: unknown account no-such-account"));
}

#[test]
fn a_name_that_another_process_has_taken_costs_only_the_reason() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let run =
        "echo $SUPERVISE_REPORT >>starts; while [ ! -e go ]; do sleep 0.01; done; exec setuidgid no-such-account true";
    let service = Service::new(&scratch, "web", run).file("restart-delay", "1ms");
    let supervise = service.supervise();
    let address = service.lines("starts", 1)[0].clone();
    supervise.kill();
    let squat = "import socket, sys, time\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
                 s.bind(sys.argv[1].split(':', 1)[1].replace('@', chr(0), 1))\nopen('squatted', 'w').write(chr(10)); time.sleep(1000)";
    let _squatter = Daemon::start(scratch.command("python3").args(["-c", squat, &address]), &scratch);
    wait_until("it has the name", || scratch.path().join("squatted").exists());
    let next = service.supervise();
    fs::write(service.path("go"), "").unwrap();
    wait_until("a later run is heard, under another name", || service.state("refusal").len() == 1);
    assert!(service.state("death")[0].ends_with(" unknown") || service.state("death")[0].ends_with(" exit 111"));
    assert!(
        service.says("starts").lines().all(|line| line.contains(":@"))
            && next.errors().lines().all(|line| line.contains("setuidgid"))
    );
}

/// What `supervise/state` says may be forged by the owner of `supervise/`.
#[test]
fn a_forged_state_says_nothing_raw() {
    let scratch = Scratch::new();
    let (service, supervise) = once(&scratch, "web", "exec setuidgid no-such-account true");
    assert_eq!(end(&service).0, "unstarted 22");
    service.wait_down();
    supervise.kill();
    let state = service.says("supervise/state").replace("unknown account", "\x1b[2J\x07");
    fs::write(service.path("supervise/state"), state).unwrap();
    let _next = service.supervise();
    for line in ["svstat -l web", "svstat -j web", "svctl -d . status web"] {
        let shown = scratch.run(line).stdout;
        assert!(shown.contains("x1b[2J") && !shown.contains('\x1b') && !shown.contains('\x07'), "{shown:?}");
    }
}

#[test]
fn a_service_that_another_supervise_has_started_has_its_own_address() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "env >environment; exec sleep 1000").script("finish", "env >finished");
    let mut supervise = scratch.command("supervise");
    let _supervise = Daemon::start(supervise.arg("web").env(VARIABLE, "1:@another"), &scratch);
    wait_until("it runs", || service.says("environment").contains(VARIABLE));
    assert!(!service.says("environment").contains("@another"));
    service.svc("-d");
    service.wait_down();
    assert!(!service.says("finished").contains(VARIABLE));
    assert_eq!(scratch.run("svup web"), fails(100, ""));
}
