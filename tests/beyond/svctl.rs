//! svctl: the table of services, one service in full, and commands that wait for their outcome.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use tests::{Daemon, Disk, Outcome, Scratch, Service, fails, is_root, prints, skip, wait_until};

fn svscan(scratch: &Scratch) -> Daemon {
    Daemon::start(scratch.command("svscan").arg("sv"), scratch)
}

/// A scan directory `sv` with these services, and an svscan for it.
fn scanned<'a>(scratch: &'a Scratch, services: &[(&str, &str)]) -> (Vec<Service<'a>>, Daemon) {
    scratch.dir("sv");
    let services = services.iter().map(|(name, run)| Service::new(scratch, &format!("sv/{name}"), run)).collect();
    (services, svscan(scratch))
}

/// What svctl answers about the services in `sv`.
fn svctl(scratch: &Scratch, words: &str) -> Outcome {
    scratch.shell(&format!("LC_ALL=C.UTF-8 exec svctl -d sv {words}"))
}

/// The row of a service in the table, in words.
fn row(scratch: &Scratch, name: &str) -> Vec<String> {
    let table = svctl(scratch, "").stdout;
    let row = table.lines().map(|line| line.split_whitespace().map(str::to_string).collect::<Vec<_>>());
    row.into_iter().find(|words| words.get(1).is_some_and(|word| word == name)).unwrap_or_default()
}

fn wait_for_state(scratch: &Scratch, name: &str, state: &str) {
    wait_until(&format!("{name} is {state}"), || row(scratch, name).get(2).is_some_and(|word| word == state));
}

#[test]
fn every_service_has_a_row_that_says_how_it_is() {
    let scratch = Scratch::new();
    let (services, _svscan) = scanned(
        &scratch,
        &[("web", "exec sleep 1000"), ("crash", "exit 3"), ("gaveup", "exit 100"), ("off", "exec sleep 1000")],
    );
    for service in services.iter().filter(|service| service.name() == "sv/off") {
        fs::write(service.path("down"), "").unwrap();
    }
    scratch.run("svc -d sv/off");
    for (name, state, mark) in
        [("web", "up", "●"), ("crash", "restarting", "↻"), ("gaveup", "failed", "✗"), ("off", "down", "○")]
    {
        wait_for_state(&scratch, name, state);
        assert_eq!(row(&scratch, name)[0], mark, "{name}");
    }
    let table = svctl(&scratch, "").stdout;
    assert!(table.contains("exited 100, which means not to restart it"), "{table}");
    assert!(table.lines().last().unwrap().starts_with("4 services: "), "{table}");
    let failed = svctl(&scratch, "--failed").stdout;
    assert!(failed.contains("gaveup") && !failed.contains("web") && !failed.contains("off"), "{failed}");
}

#[test]
fn status_has_the_codes_of_init_scripts() {
    let scratch = Scratch::new();
    let (_services, mut svscan) = scanned(&scratch, &[("web", "exec sleep 1000"), ("off", "exec sleep 1000")]);
    wait_for_state(&scratch, "web", "up");
    wait_for_state(&scratch, "off", "up");
    assert_eq!(svctl(&scratch, "stop off").code, 0);
    for (words, code) in [
        ("status web", 0),
        ("status off", 3),
        ("status", 3),
        ("status --wanted", 0),
        ("status nothing", 4),
        ("status web nothing", 4),
    ] {
        assert_eq!(svctl(&scratch, words).code, code, "{words}");
    }
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    wait_for_state(&scratch, "web", "unsupervised");
    assert_eq!(svctl(&scratch, "status web").code, 4);
}

#[test]
fn status_says_why_and_what_it_said_last() {
    let scratch = Scratch::new();
    scratch.dir("sv");
    let service = Service::new(&scratch, "sv/crash", "echo 'cannot open the file'; exit 3");
    fs::create_dir(service.path("log")).unwrap();
    scratch.script("sv/crash/log/run", "#!/bin/sh\nexec multilog t ./main\n");
    let _svscan = svscan(&scratch);
    wait_until("it has ended twice", || svctl(&scratch, "status crash").stdout.contains("the last 2 ends: "));
    let outcome = svctl(&scratch, "status crash");
    assert_eq!(outcome.code, 3);
    for words in
        ["crash — restarting: exited 3", "exited 3 each time", "cannot open the file", "svctl -d sv stop crash"]
    {
        assert!(outcome.stdout.contains(words), "{words} in {}", outcome.stdout);
    }
}

#[test]
fn a_start_that_fails_says_so_at_once_with_the_last_words() {
    let scratch = Scratch::new();
    scratch.dir("sv");
    let service = Service::new(&scratch, "sv/crash", "echo 'cannot open the file'; exit 3").down();
    fs::create_dir(service.path("log")).unwrap();
    scratch.script("sv/crash/log/run", "#!/bin/sh\nexec multilog t ./main\n");
    let _svscan = svscan(&scratch);
    wait_for_state(&scratch, "crash", "down");
    let outcome = svctl(&scratch, "start crash");
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("svctl: warning: crash is not ready: exited 3 after 0."), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("cannot open the file"), "{}", outcome.stderr);
}

#[test]
fn commands_wait_for_their_outcome() {
    let scratch = Scratch::new();
    let (services, _svscan) =
        scanned(&scratch, &[("web", "echo >>starts; exec sleep 1000"), ("db", "exec sleep 1000")]);
    wait_for_state(&scratch, "web", "up");
    wait_for_state(&scratch, "db", "up");
    let pid = services[0].status().pid;
    // What is there already is not waited for.
    let started = svctl(&scratch, "start web");
    assert_eq!((started.code, started.stderr.as_str(), services[0].status().pid), (0, "", pid));
    let restarted = svctl(&scratch, "restart web");
    assert_eq!(restarted.code, 0, "{}", restarted.stderr);
    assert!(restarted.stdout.starts_with("● web up (pid "), "{}", restarted.stdout);
    assert_ne!(services[0].status().pid, pid);
    assert_eq!(services[0].lines("starts", 2).len(), 2);
    let stopped = svctl(&scratch, "stop '*'");
    assert_eq!((stopped.code, stopped.stdout.lines().count()), (0, 2));
    assert!(stopped.stdout.starts_with("○ db down"), "{}", stopped.stdout);
    assert_eq!(svctl(&scratch, "stop '*'").code, 0);
    // One that is down is started by a restart.
    assert_eq!(svctl(&scratch, "restart web").code, 0);
    assert_eq!(svctl(&scratch, "wait up web -T 30s").code, 0);
    assert_eq!(svctl(&scratch, "wait up db -T 0").code, 99);
    assert_eq!(svctl(&scratch, "kill --signal TERM web").code, 0);
    services[0].lines("starts", 4);
    // A service that is restarted again and again by commands is not one that fails again and again.
    for _ in 0..3 {
        assert_eq!(svctl(&scratch, "restart web").code, 0);
    }
    assert!(svctl(&scratch, "status web").stdout.contains("web — up"), "{}", svctl(&scratch, "status web").stdout);
}

#[test]
fn a_stop_that_takes_too_long_is_told() {
    let scratch = Scratch::new();
    let (services, _svscan) = scanned(&scratch, &[("deaf", "trap '' TERM; echo >>ready; while :; do sleep 0.1; done")]);
    services[0].lines("ready", 1);
    let outcome = svctl(&scratch, "stop -T 300ms deaf");
    assert_eq!(outcome.code, 99);
    assert!(outcome.stderr.contains("deaf is not finished: the time is over"), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("deaf stopping (pid "), "{}", outcome.stdout);
    let hint = "try: svctl -d sv kill deaf (ends it at once); echo 10s >";
    assert!(outcome.stderr.contains(hint), "{}", outcome.stderr);
    let status = svctl(&scratch, "status deaf").stdout;
    assert!(status.contains("svctl -d sv kill deaf (ends it at once); echo 10s >"), "{status}");
    assert_eq!(svctl(&scratch, "kill deaf").code, 0);
    wait_for_state(&scratch, "deaf", "down");
}

#[test]
fn a_failing_logger_is_seen() {
    let scratch = Scratch::new();
    scratch.dir("sv");
    let service = Service::new(&scratch, "sv/web", "exec sleep 1000");
    fs::create_dir(service.path("log")).unwrap();
    scratch.script("sv/web/log/run", "#!/bin/sh\nexit 1\n");
    let _svscan = svscan(&scratch);
    wait_for_state(&scratch, "web/log", "restarting");
    assert!(svctl(&scratch, "status web").stdout.contains("restarting: exited 1"));
}

/// svscan has not even started a supervise for such a service, so no other program knows of the wait.
#[test]
fn a_service_that_svscan_has_not_started_yet_says_for_what_it_waits() {
    let scratch = Scratch::new();
    scratch.file("sv/.svscan/starts-at-a-time", "1\n");
    Service::new(&scratch, "sv/db", "exec sleep 1000").script("check", "exec test -e ../../open");
    Service::new(&scratch, "sv/web", "exec sleep 1000").file("after", "db\nnosuch\n");
    let _svscan = svscan(&scratch);
    wait_for_state(&scratch, "db", "up");
    let why = "waiting: for db, which is not ready (after)";
    wait_until("the table says so", || row(&scratch, "web").join(" ").ends_with(why));
    let status = svctl(&scratch, "status web").stdout;
    let cause = format!("cause       {why}: svctl -d sv status db says why\n");
    assert!(status.contains(&format!("web — unsupervised: {why}\n")) && status.contains(&cause), "{status}");
    scratch.file("open", "");
    wait_for_state(&scratch, "web", "up");
    assert!(!svctl(&scratch, "status web").stdout.contains("waiting"));

    // A service of which a list says no more waits for its turn.
    Service::new(&scratch, "new/slow", "exec sleep 1000").script("check", "exit 1");
    fs::rename(scratch.path().join("new/slow"), scratch.path().join("sv/slow")).unwrap();
    wait_for_state(&scratch, "slow", "up");
    Service::new(&scratch, "new/next", "exec sleep 1000");
    fs::rename(scratch.path().join("new/next"), scratch.path().join("sv/next")).unwrap();
    let turn = "perhaps waiting: svscan starts at most 1 services at a time (.svscan/starts-at-a-time)";
    wait_until("the table says so", || row(&scratch, "next").join(" ").ends_with(turn));
    assert!(svctl(&scratch, "status next").stdout.contains(&format!("cause       {turn}\n")));
}

/// A logger that runs and keeps nothing looks like any other.
#[test]
fn a_logger_that_does_not_write_says_why() {
    let scratch = Scratch::new();
    scratch.dir("sv");
    for (name, command) in
        [("word", "multilog t main"), ("lost", "multilogg t ./main"), ("away", "multilog t ./no/main")]
    {
        Service::new(&scratch, &format!("sv/{name}"), "while echo line; do sleep 0.1; done");
        scratch.script(format!("sv/{name}/log/run"), &format!("#!/bin/sh\nexec {command}\n"));
    }
    let _svscan = svscan(&scratch);
    for (name, expected) in [
        ("word", &["log         unable to find a log in ", "has no log open", "log/run: main: no such action"][..]),
        ("lost", &["try         a command in log/run was not found", "svctl -d sv status lost/log"]),
        ("away", &["logger      restarting: not executed: multilog: unable to ", "svctl -d sv status away/log"]),
    ] {
        let status = || svctl(&scratch, &format!("status {name}")).stdout;
        wait_until(&format!("{name}: {expected:?}"), || expected.iter().all(|words| status().contains(words)));
    }
    let own = svctl(&scratch, "status lost/log").stdout;
    assert!(own.contains("try         a command in run was not found") && !own.contains("svctl -d sv log"), "{own}");
}

#[test]
fn a_logger_whose_disk_is_full_says_so() {
    if !is_root() {
        return skip("a full disk needs root, to mount a small one");
    }
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, 128);
    scratch.dir("sv");
    let service = Service::new(&scratch, "sv/web", "exec sleep 1000");
    let log = scratch.path().join("disk/log").display().to_string();
    scratch.script("sv/web/log/run", &format!("#!/bin/sh\nexec multilog t {log}\n"));
    let _svscan = svscan(&scratch);
    let current = scratch.path().join("disk/log/current");
    wait_until("multilog runs", || current.exists());
    assert!(!svctl(&scratch, "status web").stdout.contains("is full"));
    disk.fill(0);
    // Until the logger is known to be up, only its start is shown.
    let line = format!("  log         the disk of {log} is full\n");
    wait_until("the disk is said to be full", || svctl(&scratch, "status web").stdout.contains(&line));
    let check = svctl(&scratch, "check web");
    let line = format!("web/log/run: the disk of {log} is full: make room there\n");
    assert_eq!(check, Outcome { code: 1, stdout: line, stderr: String::new() });
    drop(service);
}

#[test]
fn names_are_found_and_misspelt_ones_are_told() {
    let scratch = Scratch::new();
    let (_services, _svscan) = scanned(&scratch, &[("web", "exec sleep 1000")]);
    wait_for_state(&scratch, "web", "up");
    let directory = scratch.path().join("sv").display().to_string();
    let unknown = format!("svctl: fatal: no service wbe in {directory}: did you mean web?\n");
    assert_eq!(svctl(&scratch, "stop wbe"), fails(100, &unknown));
    assert_eq!(svctl(&scratch, "stop").code, 100);
    let path = scratch.path().join("sv/web").display().to_string();
    assert_eq!(svctl(&scratch, &format!("status {path}")).code, 0);
    // $SVDIR says where the services are, as for runit's sv.
    assert_eq!(scratch.shell("SVDIR=sv svctl status web").code, 0);
    let missing = format!("svctl: fatal: no directory {directory}/nothing\n");
    assert_eq!(scratch.shell("SVDIR=sv/nothing svctl status web"), fails(100, &missing));
}

#[test]
fn json_is_that_of_svstat() {
    let scratch = Scratch::new();
    let (_services, _svscan) = scanned(&scratch, &[("web", "exec sleep 1000")]);
    wait_for_state(&scratch, "web", "up");
    let keys = |text: &str| text.matches("\":").count();
    let (own, other) = (svctl(&scratch, "-j web").stdout, scratch.shell("cd sv; svstat -j web").stdout);
    assert!(own.starts_with("{\"service\":\"web\",") && keys(&own) == keys(&other), "{own}{other}");
}

/// What is typed again must mean the same service, and a shell must read it so.
#[test]
fn what_to_type_next_names_the_directory_that_the_user_has_named() {
    let scratch = Scratch::new();
    scratch.dir("sv");
    let service = Service::new(&scratch, "sv/a b", "exec 2>&1\nexit 100");
    scratch.script("sv/a b/log/run", "#!/bin/sh\nexec multilog ./main\n");
    let _svscan = svscan(&scratch);
    wait_until("its logger runs", || service.path("log/main/current").exists());
    wait_until("it has failed, and nothing else", || {
        let table = svctl(&scratch, "").stdout;
        table.contains(" failed") && !table.contains("a b/log")
    });
    let table = svctl(&scratch, "").stdout;
    assert!(table.ends_with("see: svctl -d sv status 'a b'\n"), "{table}");
    let (_, next) = table.split_once("see: ").unwrap();
    let status = scratch.shell(next);
    let start = status.stdout.lines().find_map(|line| line.trim_start().strip_prefix("try ")).unwrap();
    assert_eq!((status.code, start.trim()), (3, "svctl -d sv log -n 50 'a b'; svctl -d sv start 'a b'"));
    fs::write(service.path("down"), "").unwrap();
    let check = svctl(&scratch, "check").stdout;
    assert!(check.contains(": svctl -d sv enable 'a b'\n"), "{check}");
    let enabled = svctl(&scratch, "enable 'a b'").stdout;
    assert!(enabled.ends_with(", and stays so until svctl -d sv start 'a b'\n"), "{enabled}");
    // $SVDIR is there for the next command too.
    let table = scratch.shell("SVDIR=sv svctl").stdout;
    assert!(table.ends_with("see: svctl status 'a b'\n"), "{table}");
}

#[test]
fn a_service_that_is_paused_is_not_up() {
    let scratch = Scratch::new();
    let (_services, _svscan) = scanned(&scratch, &[("web", "exec sleep 1000")]);
    wait_for_state(&scratch, "web", "up");
    assert_eq!(svctl(&scratch, "kill -s PAUSE web").code, 0);
    wait_for_state(&scratch, "web", "paused");
    let summary = "1 service: 1 paused; see: svctl -d sv status web\n";
    for words in ["", "--failed"] {
        let table = svctl(&scratch, words).stdout;
        assert!(table.ends_with(summary), "{table}");
    }
    assert_eq!(["status web", "status --wanted web"].map(|words| svctl(&scratch, words).code), [3, 3]);
    let metrics = svctl(&scratch, "metrics").stdout;
    assert!(metrics.contains("_service_up{service=\"web\"} 0\n"), "{metrics}");
    assert_eq!(svctl(&scratch, "kill -s CONT web").code, 0);
    wait_for_state(&scratch, "web", "up");
}

#[test]
fn what_is_run_once_has_succeeded_if_it_exits_0_at_once() {
    let scratch = Scratch::new();
    scratch.dir("sv");
    Service::new(&scratch, "sv/job", "echo >>done").down();
    Service::new(&scratch, "sv/bad", "exit 3").down();
    let _svscan = svscan(&scratch);
    ["job", "bad"].iter().for_each(|name| wait_for_state(&scratch, name, "down"));
    let once = svctl(&scratch, "once job");
    assert_eq!((once.code, once.stderr.as_str()), (0, ""));
    assert_eq!(Service::at(&scratch, "sv/job").lines("done", 1).len(), 1);
    let once = svctl(&scratch, "once bad");
    assert!(once.code == 1 && once.stderr.contains("bad is not up: exited 3 after 0."), "{once:?}");
    // A service that is to stay up has failed all the same.
    assert_eq!(svctl(&scratch, "start job").code, 1);
}

/// The record of the supervise before says that it was told to exit, and svscan starts another after five seconds.
#[test]
fn a_wait_outlasts_a_supervise_that_has_left_before() {
    let scratch = Scratch::new();
    let (services, _svscan) = scanned(&scratch, &[("web", "exec sleep 1000")]);
    wait_for_state(&scratch, "web", "up");
    assert_eq!(scratch.run("svc -dx -W finished sv/web").code, 0);
    wait_until("its supervise has left", || !services[0].is_supervised());
    let waited = svctl(&scratch, "wait up -T 30s web");
    assert_eq!((waited.code, waited.stderr.as_str()), (0, ""));
}

#[test]
fn json_is_written_where_there_is_an_answer_and_refused_elsewhere() {
    let scratch = Scratch::new();
    let (services, _svscan) = scanned(&scratch, &[("web", "echo one; exec sleep 1000")]);
    wait_for_state(&scratch, "web", "up");
    let document = r#"{"service":"web","service_bytes":null,"error":null,"up":true,"#;
    for words in ["wait -j up web", "kill -j -s CONT web", "-j start --no-wait web", "-j web"] {
        let outcome = svctl(&scratch, words);
        assert!(outcome.code == 0 && outcome.stdout.starts_with(document), "{words}: {outcome:?}");
    }
    fs::create_dir(services[0].path("main")).unwrap();
    fs::write(services[0].path("main/current"), "@400000004a32392b2aa21dac two\n").unwrap();
    let log = svctl(&scratch, "-j log ./sv/web/main");
    assert!(log.code == 0 && log.stdout.starts_with('{') && log.stdout.contains("two"), "{log:?}");
    for words in ["metrics -j", "check -j", "-j remove web", "enable -j web", "list -T 5s", "metrics -T 5s"] {
        let outcome = svctl(&scratch, words);
        assert!(outcome.code == 100 && outcome.stderr.contains("does not belong here"), "{words}: {outcome:?}");
    }
}

#[test]
fn log_is_svlog_in_the_scan_directory() {
    let scratch = Scratch::new();
    scratch.dir("sv");
    for name in ["web", "web2"] {
        let service = Service::new(&scratch, &format!("sv/{name}"), "echo one; echo two; exec sleep 1000");
        fs::create_dir(service.path("log")).unwrap();
        scratch.script(format!("sv/{name}/log/run"), "#!/bin/sh\nexec multilog ./main\n");
    }
    let _svscan = svscan(&scratch);
    for name in ["web", "web2"] {
        wait_until("both are logged", || svctl(&scratch, &format!("log {name}")).stdout.ends_with("two\n"));
    }
    assert_eq!(svctl(&scratch, "log --grep one web"), prints("one\n"));
    // A path begins where the user is.
    assert_eq!(svctl(&scratch, "log --grep one ./sv/web"), prints("one\n"));
    assert_eq!(svctl(&scratch, "log -n 1 ./sv/web/log/main"), prints("two\n"));
    // A pattern means services, whose names stand before their lines.
    let both = svctl(&scratch, "log 'web*'");
    assert!(both.stdout.contains("web: two\n") && both.stdout.contains("web2: two\n"), "{both:?}");
    let directory = scratch.path().join("sv").display().to_string();
    let unknown = format!("svctl: fatal: no service wbe in {directory}: did you mean web?\n");
    assert_eq!(svctl(&scratch, "log wbe"), fails(100, &unknown));
}

/// svctl must know which options of svlog have a value behind them: that is no name of a service.
#[test]
fn the_values_of_all_options_of_svlog_are_left_alone() {
    let scratch = Scratch::new();
    scratch.dir("sv/web");
    scratch.dir("bin");
    scratch.copy_program(tests::programs().join("svctl"), "bin/svctl");
    scratch.script("bin/svlog", "#!/bin/sh\nprintf '<%s>' \"$@\"\n");
    let help = scratch.run("svlog --help").stdout;
    // A line is `  -n, --lines LINES  only …`.
    let is_value = |word: &str| word.chars().all(|letter| letter.is_ascii_uppercase());
    let heads = help.lines().filter_map(|line| line.strip_prefix("  ")?.split("  ").next());
    let valued = heads.filter(|head| head.split(' ').next_back().is_some_and(is_value));
    let words = valued.flat_map(|head| head.split([' ', ',']).filter(|word| word.starts_with('-')));
    let options: Vec<&str> = words.collect();
    assert!(options.len() >= 6, "{help}");
    for option in &options {
        let seen = scratch.shell(&format!("bin/svctl -d sv log {option} ./value web")).stdout;
        // A path from the user's directory stays that.
        let value = if *option == "--cursor-file" { "/value>" } else { "./value>" };
        assert!(seen.contains(value) && seen.ends_with("<--><web>"), "{option}: {seen}");
    }
}

#[test]
fn what_commands_a_terminal_is_escaped() {
    let scratch = Scratch::new();
    scratch.dir("sv");
    scratch.dir("sv/a\x1b[2Jb");
    let table = svctl(&scratch, "").stdout;
    assert!(table.contains("a\\x1b[2Jb") && !table.contains('\x1b'), "{table}");
    let colored = svctl(&scratch, "--color=always").stdout;
    assert!(colored.contains("\x1b[31m?\x1b[0m"), "{colored}");
}

#[test]
fn metrics_tell_all_services_and_replace_a_file_at_once() {
    let scratch = Scratch::new();
    let (_services, _svscan) = scanned(&scratch, &[("web", "exec sleep 1000"), ("off", "exec sleep 1000")]);
    wait_for_state(&scratch, "web", "up");
    wait_for_state(&scratch, "off", "up");
    assert_eq!(svctl(&scratch, "stop off").code, 0);
    let metrics = svctl(&scratch, "metrics");
    assert_eq!(metrics.code, 0);
    for sample in [
        "service_up{service=\"web\"} 1",
        "service_up{service=\"off\"} 0",
        "service_last_exit_status{service=\"off\"} 143",
    ] {
        assert!(metrics.stdout.contains(&format!("\ndaemontools_{sample}\n")), "{sample}: {}", metrics.stdout);
    }
    // What costs time is told only if it is asked for.
    assert!(!metrics.stdout.contains("cpu_seconds") && !metrics.stdout.contains("log_bytes"), "{}", metrics.stdout);
    // The file before is another one, which a reader may have open.
    scratch.file("x.prom", "old\n");
    let old = fs::File::open(scratch.path().join("x.prom")).unwrap();
    assert_eq!(svctl(&scratch, "metrics --textfile x.prom web web"), prints(""));
    assert_eq!(std::io::read_to_string(old).unwrap(), "old\n");
    let written = fs::read_to_string(scratch.path().join("x.prom")).unwrap();
    assert_eq!(written.matches("service_up{service=\"web\"}").count(), 1, "{written}");
    assert!(!written.contains("off"), "{written}");
    let names = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.contains("x.prom")).count(), 1);
    assert_eq!(svctl(&scratch, "metrics --textfile nowhere/x.prom").code, 111);
    assert_eq!(svctl(&scratch, "metrics wbe").code, 4);
}

#[test]
fn a_restart_ends_the_service_as_its_settings_say() {
    let scratch = Scratch::new();
    let (services, _svscan) =
        scanned(&scratch, &[("deaf", "trap '' TERM; echo >>starts; while :; do sleep 0.1; done")]);
    fs::write(services[0].path("timeout-kill"), "300").unwrap();
    services[0].lines("starts", 1);
    let outcome = svctl(&scratch, "restart deaf deaf");
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(services[0].lines("starts", 2).len(), 2);
}

#[test]
fn a_service_that_cannot_be_told_does_not_keep_the_others_from_being_told_and_waited_for() {
    let scratch = Scratch::new();
    let (services, _svscan) = scanned(&scratch, &[("web", "echo >>starts; exec sleep 1000")]);
    services[0].lines("starts", 1);
    scratch.dir("alone/supervise");
    let outcome = svctl(&scratch, "restart ./alone web");
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("./alone is not ready: unable to control ./alone"), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("● web up (pid "), "{}", outcome.stdout);
    assert_eq!(services[0].lines("starts", 2).len(), 2);
}

/// The owner of `supervise/` may write the number of any process there. What that uses is none of the service's.
#[test]
fn memory_is_only_told_of_a_process_that_is_proven() {
    let scratch = Scratch::new();
    let (services, _svscan) = scanned(&scratch, &[("web", "exec sleep 1000")]);
    wait_for_state(&scratch, "web", "up");
    let is_told = || {
        let status = svctl(&scratch, "status web").stdout;
        let metrics = svctl(&scratch, "metrics --processes").stdout;
        let process = status.lines().find(|line| line.trim_start().starts_with("process ")).unwrap().to_string();
        [row(&scratch, "web")[7] != "-", process.contains(", for ") && process.matches(", ").count() == 2, {
            metrics.contains("service_memory_bytes{service=\"web\"}")
        }]
    };
    assert_eq!(is_told(), [true; 3]);
    let other = Daemon::start(scratch.command("sleep").arg("1000"), &scratch);
    let mut status = fs::read(services[0].path("supervise/status")).unwrap();
    status[12..16].copy_from_slice(&other.pid().to_le_bytes());
    // supervise writes its files anew when it was not awake for some time, as may happen on a busy machine.
    let mut told = [true; 3];
    wait_until("the made-up number is believed all the time", || {
        let _ = fs::remove_file(services[0].path("supervise/state"));
        fs::write(services[0].path("supervise/status"), &status).unwrap();
        told = is_told();
        row(&scratch, "web")[3] == other.pid().to_string() && !services[0].path("supervise/state").exists()
    });
    assert_eq!(told, [false; 3]);
}

/// The supervise of a service cannot write on a full disk, so what is there still names the process that was.
#[test]
fn on_a_full_disk_a_process_that_has_ended_is_not_shown_as_up() {
    if !is_root() {
        return skip("a full disk needs root, to mount a small one");
    }
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, 128);
    let service = Service::new(&scratch, "disk/sv/web", "echo $$ >>../../../starts; exec sleep 1000");
    let _svscan = Daemon::start(scratch.command("svscan").arg("disk/sv"), &scratch);
    let pid = service.up();
    let svctl = |words: &str| scratch.shell(&format!("LC_ALL=C.UTF-8 exec svctl -d disk/sv {words}"));
    wait_until("it is up", || svctl("status web").code == 0);
    disk.fill(0);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let starts = || fs::read_to_string(scratch.path().join("starts")).unwrap_or_default();
    wait_until("it is started again", || starts().lines().count() == 2);
    let status = svctl("status web");
    let why = format!("web — unknown: process {pid} has ended, but its supervise cannot write that down");
    assert!(status.code == 4 && status.stdout.contains(&why), "{status:?}");
    for words in ["", "metrics", "-j"] {
        let told = svctl(words).stdout;
        assert!(!told.contains("up    ") && !told.contains("service_up{") && !told.contains("\"up\":true"), "{told}");
    }
    disk.free();
    wait_until("it is written down", || svctl("status web").code == 0);
}

/// A process of `finish` is not the service's, and its number alone would be taken for it.
#[test]
fn a_program_that_is_not_run_is_named() {
    let scratch = Scratch::new();
    scratch.dir("sv");
    let _service = Service::new(&scratch, "sv/web", "exit 3").script("finish", "echo >>ready; exec sleep 1000");
    let _svscan = svscan(&scratch);
    wait_until("finish runs", || svctl(&scratch, "").stdout.contains("exited 3, finish runs"));
    let status = svctl(&scratch, "status web").stdout;
    assert!(
        status.contains("web — restarting: exited 3, finish runs") && status.contains(" (finish), for "),
        "{status}"
    );
    let metrics = svctl(&scratch, "metrics").stdout;
    assert!(metrics.contains("_service_up{service=\"web\"} 0\n"), "{metrics}");
}

#[test]
fn a_service_whose_errors_do_not_reach_its_log_is_told_how_they_do() {
    let scratch = Scratch::new();
    scratch.dir("sv");
    let service = Service::new(&scratch, "sv/web", "echo 'cannot open the file' >/dev/stderr; exit 3").down();
    fs::create_dir(service.path("log")).unwrap();
    scratch.script("sv/web/run", "#!/bin/sh\nls /no/such/file\n");
    scratch.script("sv/web/log/run", "#!/bin/sh\nexec multilog ./main\n");
    let _svscan = svscan(&scratch);
    wait_for_state(&scratch, "web", "down");
    wait_until("its log is there", || service.path("log/main/current").exists());
    let hint = "put exec 2>&1 below the first line of run, so that its error messages reach the log, which is empty";
    let started = svctl(&scratch, "start web");
    assert!(started.code == 1 && started.stderr.contains(&format!("svctl: try: {hint}\n")), "{started:?}");
    wait_until("it has ended twice", || svctl(&scratch, "status web").stdout.contains("the last 2 ends: "));
    let status = svctl(&scratch, "status web").stdout;
    assert!(status.contains(&format!("try         {hint}; svctl -d sv log")), "{status}");
    // What is said there is no longer said once a line is in the log.
    scratch.script("sv/web/run", "#!/bin/sh\nexec 2>&1\nls /no/such/file\n");
    wait_until("it is logged", || service.says("log/main/current").contains("/no/such/file"));
    assert!(!svctl(&scratch, "status web").stdout.contains("2>&1"));
}

/// The hint must fit the end: each of these is one kind, with what is said and what must not be.
#[test]
fn what_to_type_next_fits_the_way_in_which_the_service_ends() {
    let scratch = Scratch::new();
    scratch.dir("sv");
    let run = |name: &str| scratch.path().join(format!("sv/{name}/run")).display().to_string();
    let deaf = "put exec 2>&1 below the first line of run";
    let table = [
        ("speaks", "#!/bin/sh\necho 'cannot bind' >&2\nexit 1\n", 0o755, true, deaf.to_string(), "chmod"),
        ("closed", "#!/bin/sh\nexit 1\n", 0o644, true, format!("chmod +x {}", run("closed")), "2>&1"),
        ("crlf", "#!/bin/sh\r\nexit 1\r\n", 0o755, true, format!("sed -i 's/\\r$//' {}", run("crlf")), "2>&1"),
        (
            "lost",
            "#!/no/such\n",
            0o755,
            true,
            format!("{}: install it, or correct the first line", run("lost")),
            "log -n",
        ),
        (
            "mute",
            "#!/bin/sh\nexit 1\n",
            0o755,
            false,
            "it has no logger, so its lines are among".into(),
            "svctl -d sv log",
        ),
    ];
    for (name, text, mode, has_logger, ..) in &table {
        scratch.script(format!("new/{name}/run"), text);
        scratch.mode(format!("new/{name}/run"), *mode);
        if *has_logger {
            scratch.script(format!("new/{name}/log/run"), "#!/bin/sh\nexec multilog ./main\n");
        }
        fs::rename(scratch.path().join(format!("new/{name}")), scratch.path().join(format!("sv/{name}"))).unwrap();
    }
    let _svscan = svscan(&scratch);
    for (name, _, _, has_logger, said, unsaid) in table {
        wait_for_state(&scratch, name, "restarting");
        let current = scratch.path().join(format!("sv/{name}/log/main/current"));
        wait_until("its log is there", || !has_logger || current.exists());
        let status = svctl(&scratch, &format!("status {name}")).stdout;
        let next = status.lines().find(|line| line.starts_with("  try ")).unwrap_or_default();
        assert!(next.contains(&said) && !next.contains(unsaid), "{name}: {status}");
    }
}

#[test]
fn a_service_that_is_never_ready_is_told_what_is_missing() {
    let scratch = Scratch::new();
    let (services, _svscan) = scanned(&scratch, &[("web", "echo >>runs; exec sleep 1000")]);
    services[0].lines("runs", 1);
    assert_eq!(svctl(&scratch, "stop web").code, 0);
    fs::write(services[0].path("notification-fd"), "3\n").unwrap();
    let started = svctl(&scratch, "start -T 300ms web");
    let hint = "run has written no newline to descriptor 3 (notification-fd) yet; a file timeout-up (30s) limits";
    assert!(started.code == 99 && started.stderr.contains(&format!("svctl: try: {hint}")), "{started:?}");
    let status = svctl(&scratch, "status web").stdout;
    assert!(status.contains(&format!("try         {hint}")), "{status}");
}
