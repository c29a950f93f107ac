//! `svctl check`: what would keep a service from working is told before it is started.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use tests::{Daemon, Outcome, Scratch, Service, fails, is_root, prints, skip, wait_until};

const RUNS: &str = "exec sleep 1000";

/// What svctl answers about the scan directory `sv`.
fn check(scratch: &Scratch, names: &str) -> Outcome {
    scratch.shell(&format!("exec svctl -d sv check {names}"))
}

fn found(lines: &[&str]) -> Outcome {
    let stdout = lines.iter().map(|line| format!("{line}\n")).collect();
    Outcome { code: 1, stdout, stderr: String::new() }
}

#[test]
fn nothing_is_said_of_services_that_work() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "sv/web", RUNS).file("timeout-kill", "5s\n").file("notes", "any");
    Service::new(&scratch, "sv/web/log", RUNS);
    Service::new(&scratch, "sv/db", RUNS).script("finish", "exit 0");
    scratch.dir("sv/.draft");
    assert_eq!(check(&scratch, ""), prints("2 services: nothing is wrong\n"));
    assert_eq!(check(&scratch, "web"), prints("1 service: nothing is wrong\n"));
    drop(service);
}

#[test]
fn a_program_that_cannot_be_executed_is_told_with_the_cure() {
    let scratch = Scratch::new();
    Service::new(&scratch, "sv/closed", RUNS);
    scratch.mode("sv/closed/run", 0o644);
    scratch.script("sv/crlf/run", "#!/bin/sh\r\nexec sleep 1000\r\n");
    scratch.dir("sv/empty");
    Service::new(&scratch, "sv/hook", RUNS).file("finish", "#!/bin/sh\n");
    scratch.script("sv/lost/run", "#!/no/such/shell\n");
    scratch.file("sv/named/Run", "#!/bin/sh\n");
    Service::new(&scratch, "sv/talks", RUNS);
    scratch.script("sv/talks/log/run", "exec multilog ./main\n");
    Service::new(&scratch, "sv/talks2", RUNS).file("log", "#!/bin/sh\n");
    let expected = found(&[
        "closed/run: it is not executable: chmod +x",
        "crlf/run: its lines end in CR LF, so that its first line names no interpreter: remove the carriage returns: sed -i 's/\\r$//'",
        "empty/run: it is missing: write a script that executes the program in the foreground",
        "hook/finish: it is not executable: chmod +x",
        "lost/run: interpreter /no/such/shell does not exist: install it, or correct the first line",
        "named/run: it is missing: rename Run",
        "talks/log/run: it does not begin with #! and is no program: let it begin with #!/bin/sh or another interpreter",
        "talks2/log: it is not executable: make it a directory with a run, or a program (chmod +x)",
    ]);
    assert_eq!(check(&scratch, ""), expected);
}

/// What `check` refuses is what supervise refuses: the two agree, setting by setting.
#[test]
fn settings_that_supervise_would_ignore_are_told() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "sv/web", "echo >>started; exec sleep 1000")
        .file("timeout-kill", "soon\n")
        .file("kill-scope", "everything\n")
        .file("restart_limit", "5 in 1m\n")
        .file("down-signal", "HUP\n");
    fs::create_dir(service.path("watchdog")).unwrap();
    let outcome = check(&scratch, "web");
    assert_eq!(outcome.code, 1);
    for start in [
        "web/kill-scope: neither main nor group nor tree: ",
        "web/restart_limit: it is no setting, so supervise ignores it: did you mean restart-limit?",
        "web/timeout-kill: not a duration",
        "web/watchdog: not a file: ",
    ] {
        assert!(outcome.stdout.lines().any(|line| line.starts_with(start)), "{start} in {}", outcome.stdout);
    }
    assert_eq!(outcome.stdout.lines().count(), 4, "{}", outcome.stdout);
    let daemon = service.supervise();
    service.lines("started", 1);
    let said = daemon.errors();
    for file in ["kill-scope", "restart_limit", "timeout-kill", "watchdog"] {
        assert!(said.contains(&format!("/{file}")), "{file} in {said}");
    }
    assert_eq!(said.lines().count(), 4, "{said}");
}

#[test]
fn a_service_that_is_not_started_by_itself_is_told() {
    let scratch = Scratch::new();
    Service::new(&scratch, "sv/web", RUNS).down();
    assert_eq!(check(&scratch, ""), found(&["web/down: the service is not started by itself: svctl -d sv enable web"]));
}

#[test]
fn entries_that_svscan_ignores_and_two_names_for_one_service_are_told() {
    let scratch = Scratch::new();
    Service::new(&scratch, "etc/web", RUNS);
    Service::new(&scratch, "sv/.draft", RUNS);
    scratch.file("sv/README", "no service");
    for (name, target) in [("web", "../etc/web"), ("www", "../etc/web"), ("dead", "../etc/dead")] {
        symlink(target, scratch.path().join("sv").join(name)).unwrap();
    }
    let dead = "dead: it is a link to nothing: ../etc/dead: make that directory, or remove the link";
    let twin = "www: it is the same directory as web: remove one of the two entries";
    let all = [
        ".draft: svscan ignores names that begin with a dot: rename it when it is ready to run",
        "README: it is no directory, so svscan ignores it: move it to another place",
        dead,
        twin,
    ];
    assert_eq!(check(&scratch, ""), found(&all));
    // Only what is named is told; the first of two names for one service is right.
    assert_eq!(check(&scratch, "dead"), found(&[dead]));
    assert_eq!(check(&scratch, "www"), found(&[twin]));
    assert_eq!(check(&scratch, "web"), prints("1 service: nothing is wrong\n"));
}

#[test]
fn a_path_needs_no_scan_directory_and_an_unknown_name_is_refused() {
    let scratch = Scratch::new();
    Service::new(&scratch, "etc/web", RUNS).file("success-codes", "0 256");
    let outcome = scratch.shell("SVDIR=sv exec svctl check ./etc/web");
    let expected = "./etc/web/success-codes: not exit codes from 0 to 255 or names of signals, as in 0 3 TERM: correct it, or supervise ignores it";
    assert_eq!(outcome, found(&[expected]));
    scratch.dir("sv/web");
    let missing = format!("svctl: fatal: no service wbe in {}/sv: did you mean web?\n", scratch.path().display());
    assert_eq!(check(&scratch, "wbe"), fails(100, &missing));
}

/// What svscan would ignore in these lists is told before it does.
#[test]
fn names_that_svscan_ignores_in_after_are_told() {
    let scratch = Scratch::new();
    for (name, after) in
        [("app", "db\nnosuch\n../db\n"), ("db", ""), ("one", "two\n"), ("three", "one\ndb\n"), ("two", "three\n")]
    {
        Service::new(&scratch, &format!("sv/{name}"), RUNS).file("after", after);
    }
    Service::new(&scratch, "sv/self", RUNS).file("after", "self\n");
    let circle = |name: &str, way: &str| {
        format!("{name}/after: it goes in a circle ({way}), so svscan ignores a part of it: remove one of the names")
    };
    let unknown = |name: &str| format!("app/after: no service {name}, so svscan ignores the name: {REMOVE}");
    let lines = [
        unknown("nosuch"),
        unknown("../db"),
        circle("one", "one, two, three, one"),
        circle("self", "self, self"),
        circle("three", "three, one, two, three"),
        circle("two", "two, three, one, two"),
    ];
    assert_eq!(check(&scratch, ""), found(&lines.each_ref().map(String::as_str)));
    assert_eq!(check(&scratch, "db"), prints("1 service: nothing is wrong\n"));
}

/// A logger whose script is wrong runs all the same, and loses each line.
#[test]
fn loggers_that_would_write_nothing_are_told() {
    let scratch = Scratch::new();
    let script = |name: &str, text: &str| {
        Service::new(&scratch, &format!("sv/{name}"), RUNS);
        scratch.script(format!("sv/{name}/log/run"), &format!("#!/bin/sh\n{text}\n"));
    };
    script("fine", "exec setuidgid root multilog t '-*' '+* fatal *' ./main # main");
    script("moved", "cd /var/log; exec multilog t ./web");
    script("named", "exec multilog t $DIR");
    script("word", "exec multilog t main");
    script("file", "exec 2>&1\nexec multilog t ./main");
    scratch.file("sv/file/log/main", "");
    Service::new(&scratch, "sv/beside", RUNS).script("log", "exec multilog t main");
    let begins = "no such action, so it is ignored: a log directory begins with . or /: correct it";
    let none = "no action writes lines: they all are thrown away: correct it";
    let word = |file: &str| [format!("{file}: main: {begins}"), format!("{file}: {none}")];
    let file = "file/log/run: ./main is no directory, so multilog cannot write there: move it away";
    let lines = [&word("beside/log")[..], &[file.to_string()], &word("word/log/run")[..]].concat();
    assert_eq!(check(&scratch, ""), found(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
}

/// What the account may do, the kernel tells.
#[test]
fn a_log_directory_that_the_account_of_its_logger_cannot_write_to_is_told() {
    if !is_root() {
        return skip("only root may ask for another account");
    }
    let scratch = Scratch::new();
    for (name, account) in
        [("made", ":7777:7777"), ("lacks", ":7777:7777"), ("given", ":7777:7777"), ("odd", "no-such")]
    {
        Service::new(&scratch, &format!("sv/{name}"), RUNS);
        scratch
            .script(format!("sv/{name}/log/run"), &format!("#!/bin/sh\nexec setuidgid {account} multilog t ./main\n"));
    }
    for name in ["made", "given"] {
        scratch.dir(format!("sv/{name}/log/main"));
    }
    scratch.file("sv/given/log/main/current", "");
    let given = scratch.path().join("sv/given/log/main");
    chown(&given, Some(7777), Some(7777)).unwrap();
    let path = |name: &str| format!("{}/sv/{name}", scratch.path().display());
    let cannot = |name: &str, path: String| {
        format!("{name}/log/run: :7777:7777 cannot write to {path}: give it to that account: mkdir, chown")
    };
    let lines = [
        cannot("given", path("given/log/main/current")),
        cannot("lacks", path("lacks/log")),
        cannot("made", path("made/log/main")),
        "odd/log/run: unknown account no-such: correct it".into(),
    ];
    assert_eq!(check(&scratch, ""), found(&lines.each_ref().map(String::as_str)));
    chown(given.join("current"), Some(7777), Some(7777)).unwrap();
    assert_eq!(check(&scratch, "given"), prints("1 service: nothing is wrong\n"));
}

/// What `svctl add` would say when it is too late.
#[test]
fn what_keeps_a_supervise_from_taking_charge_is_told() {
    let scratch = Scratch::new();
    let odd = Service::new(&scratch, "sv/odd", RUNS).file("supervise", "");
    let taken = Service::new(&scratch, "sv/taken", RUNS);
    scratch.dir("sv/taken/log/supervise");
    Service::new(&scratch, "sv/taken/log", RUNS);
    let _holder =
        Daemon::start(scratch.command("setlock").args(["sv/taken/log/supervise/lock", "sleep", "1000"]), &scratch);
    let path = |file: &str| format!("{}/sv/{file}", scratch.path().display());
    let lock = path("taken/log/supervise");
    let lines = [
        format!("odd/supervise: {} is no directory: remove it", path("odd/supervise")),
        format!("taken/log/supervise: another process has the lock of {lock}: fuser {lock}/lock names it"),
    ];
    let expected = found(&lines.each_ref().map(String::as_str));
    wait_until("the lock is held", || check(&scratch, "") == expected);
    fs::remove_file(odd.path("supervise")).unwrap();
    // A supervise that is in charge is not in its own way.
    let _supervise = odd.supervise();
    odd.up();
    assert_eq!(check(&scratch, "odd"), prints("1 service: nothing is wrong\n"));
    drop(taken);
}

const REMOVE: &str = "correct it, or remove the name";

/// A name that commands a terminal is shown escaped.
#[test]
fn names_are_escaped() {
    let scratch = Scratch::new();
    scratch.dir("sv/a\x1b[2Jb");
    let outcome = check(&scratch, "");
    assert!(outcome.stdout.starts_with("a\\x1b[2Jb/run: it is missing: "), "{}", outcome.stdout);
}
