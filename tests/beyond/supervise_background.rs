//! A `run` that goes into the background.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use tests::{Scratch, Service, is_alive, parent_of, wait_until};

/// Waits until `run` was started this many more times.
fn started_again(service: &Service, count: usize) {
    let starts = || service.state("starts").first().and_then(|starts| starts.parse().ok()).unwrap_or(0);
    let before: usize = starts();
    wait_until("it is started again", || starts() >= before + count);
}

fn cause(scratch: &Scratch) -> String {
    let lines = scratch.run("svstat -l web").stdout;
    let line = lines.lines().find_map(|line| line.trim_start().strip_prefix("cause "));
    line.unwrap_or_default().trim().to_string()
}

const LEAVES: &str = "run: goes into the background: it ends at once, leaves processes, and is started again";

/// The process number in the message.
fn named_in(said: &str) -> Option<i32> {
    let (_, rest) =
        said.split_once("supervise: warning: web/run goes into the background: it ends at once, has left process ")?;
    let (pid, rest) = rest.split_once(", and is started again; ")?;
    let cure = "a run stays in the foreground, without & or an option such as --daemonize: see README\n";
    (rest == cure).then(|| pid.parse().expect("a number"))
}

#[test]
fn a_run_that_goes_into_the_background_is_told_once_with_the_cure() {
    for leaves in ["sleep 1000 &", "setsid sleep 1000 >/dev/null 2>&1 </dev/null &", "(setsid sleep 1000 &)"] {
        for settings in [&[][..], &["restart-delay"], &["notify-socket", "restart-delay"]] {
            let scratch = Scratch::new();
            let service = Service::new(&scratch, "web", leaves).script("notify", "exit 0").script("log", "exec cat");
            settings.iter().for_each(|setting| scratch.file(format!("web/{setting}"), "10"));
            let supervise = service.supervise();
            wait_until("it is said", || named_in(&supervise.errors()).is_some());
            let left = named_in(&supervise.errors()).expect("a process");
            assert!(is_alive(left) && parent_of(left) == Some(supervise.pid()), "{leaves}: {left}");
            // This is the second time, and the message is not repeated.
            started_again(&service, 2);
            wait_until("svstat tells", || cause(&scratch) == LEAVES);
            assert_eq!(named_in(&supervise.errors()), Some(left));
            // A user who starts the service gets the message again.
            service.svc("-u");
            wait_until("it is said again", || supervise.errors().matches("goes into the background").count() == 2);
        }
    }
}

/// A `run` that behaves like a daemon which listens at a port: the copy that the first one leaves holds a lock, and the next
/// ones find it held and fail.
const HOLDS: &str = "exec 9>lock\nflock -n 9 || { echo 'bind failed: address already in use' >&2; exit 1; }\n\
                     setsid sh -c 'echo $$ >>copies; exec sleep 1000' >/dev/null 2>&1 </dev/null &\nexit 0";

#[test]
fn a_daemon_that_holds_what_the_next_one_needs_is_presumed_in_the_background() {
    const SAID: &str = "supervise: warning: web/run exited 0 at once, and fails at once since then: \
                        it may have gone into the background, where its first copy may hold what the next ones need, \
                        such as a port; a run stays in the foreground, without & or an option such as --daemonize: see README\n";
    const CAUSE: &str = "run: exited 0 at once, and fails at once since then: it may have gone into the background, \
                         where its first copy may hold what the next ones need";
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", HOLDS).file("restart-delay", "10ms 10ms 20ms");
    let supervise = service.supervise();
    let said = || supervise.errors().matches(SAID).count();
    wait_until("it is said", || said() == 1);
    started_again(&service, 3);
    wait_until("svstat tells", || cause(&scratch) == CAUSE);
    wait_until("svctl tells", || {
        let table = scratch.run("svctl -d . status web").stdout;
        table.contains("restarting") && table.contains("it may have gone into the background")
    });
    assert_eq!((said(), service.state("in-background")), (1, vec!["presumed".to_string()]));
    // As soon as the first copy has ended, the next one takes its place, and supervise sees what it leaves. On a busy machine
    // that `run` may not have ended at once, so that its copy is no sign.
    let is_seen = || named_in(&supervise.errors().replace(SAID, "")).is_some();
    wait_until("supervise sees what it leaves", || {
        let count = service.lines("copies", 1).len();
        let kill_it = |copy| kill(Pid::from_raw(copy), Signal::SIGKILL).expect("kill it");
        service.alive("copies").into_iter().for_each(kill_it);
        service.lines("copies", count + 1);
        started_again(&service, 1);
        is_seen()
    });
    started_again(&service, 3);
    assert_eq!((said(), cause(&scratch)), (1, LEAVES.to_string()));
    // A user who starts the service gets the message again only when the same has happened again.
    service.svc("-u");
    started_again(&service, 3);
    assert_eq!((said(), cause(&scratch)), (1, String::new()));
}

/// A service that fails, that ends well now and then, or that is told to end, is not said to be in the background.
#[test]
fn a_service_that_fails_is_not_presumed_in_the_background() {
    let fails_twice_then_well = "echo >>runs; [ $(($(wc -l <runs) % 3)) = 0 ] || exit 1";
    let fails_once_after_well = "echo >>runs; exit $(($(wc -l <runs) % 2))";
    for run in ["exit 1", fails_once_after_well, "exit 0"] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", run).file("restart-delay", "10ms 10ms 20ms");
        let supervise = service.supervise();
        started_again(&service, 10);
        assert_eq!((supervise.errors(), cause(&scratch)), (String::new(), String::new()), "{run}");
    }
    // If supervise said it of all, it would be seen here.
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", fails_twice_then_well).file("restart-delay", "10ms 10ms 20ms");
    let supervise = service.supervise();
    wait_until("it is said", || supervise.errors().contains("it may have gone into the background"));
}

#[test]
fn a_run_that_stays_in_the_foreground_is_not_blamed() {
    let scratch = Scratch::new();
    // The supervise has a child that it did not make, and also a logger and hooks. None of them is a daemon that `run`
    // has left.
    let service = Service::new(&scratch, "web", "exit 0")
        .file("restart-delay", "10")
        .script("notify", "exec sleep 1000")
        .script("finish", "exit 0")
        .script("log", "exec cat");
    let mut command = scratch.command("sh");
    let supervise = command.args(["-c", "sleep 1000 & exec \"$0\" web"]).arg(scratch.programs().join("supervise"));
    let supervise = tests::Daemon::start(supervise, &scratch);
    wait_until("it is supervised", || service.is_supervised());
    started_again(&service, 10);
    assert_eq!((supervise.errors(), cause(&scratch)), (String::new(), String::new()));
    // A process that `run` leaves when it fails or is told to end causes no message either.
    for run in ["sleep 1000 & exit 1", "trap 'sleep 1000 & exit 0' TERM; echo >>up; while :; do sleep 0.01; done"] {
        scratch.script("web/new", &format!("#!/bin/sh\n{run}\n"));
        fs::rename(service.path("new"), service.path("run")).expect("replace run");
        for times in 1..=3 {
            let starts = service.state("starts");
            if run.contains("TERM") {
                service.lines("up", times);
                service.svc("-t");
            }
            wait_until("it is started again", || service.state("starts") != starts);
        }
    }
    assert_eq!((supervise.errors(), cause(&scratch)), (String::new(), String::new()));
    // If supervise wrote the message, it would be seen here.
    scratch.script("web/new", "#!/bin/sh\nsleep 1000 &\n");
    fs::rename(service.path("new"), service.path("run")).expect("replace run");
    service.svc("-k");
    wait_until("it is said", || named_in(&supervise.errors()).is_some());
    wait_until("svstat tells", || cause(&scratch) == LEAVES);
    // The `run` has been repaired, so its behaviour is no cause any more.
    scratch.script("web/new", "#!/bin/sh\nexec sleep 1000\n");
    fs::rename(service.path("new"), service.path("run")).expect("replace run");
    wait_until("it is mended", || cause(&scratch).is_empty());
}
