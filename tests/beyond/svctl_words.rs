//! The words that people type to svctl by habit, and how it says how it is used.

use std::fs;
use tests::{Daemon, Outcome, Scratch, Service, fails, has, is_root, prints, skip, wait_until};

fn svctl(scratch: &Scratch, words: &str) -> Outcome {
    scratch.shell(&format!("LC_ALL=C.UTF-8 exec svctl -d sv {words}"))
}

/// A scan directory `sv` with the services `web`, which runs, and an svscan for it.
fn running(scratch: &Scratch) -> (Service<'_>, Daemon) {
    scratch.dir("sv");
    let service = Service::new(scratch, "sv/web", "exec sleep 1000");
    let svscan = Daemon::start(scratch.command("svscan").arg("sv"), scratch);
    wait_until("it is up", || svctl(scratch, "status web").code == 0);
    (service, svscan)
}

#[test]
fn words_of_other_tools_work_or_are_told_what_is_here_instead() {
    let scratch = Scratch::new();
    let (service, _svscan) = running(&scratch);
    assert_eq!(svctl(&scratch, "down web").code, 0);
    service.wait_down();
    assert_eq!(svctl(&scratch, "up web").code, 0);
    service.up();
    assert!(svctl(&scratch, "show web").stdout.contains("web — up"));
    assert!(svctl(&scratch, "avail").stdout.ends_with("\n1 service\n"));
    for (words, instead) in [
        ("tail web", "tail: use svctl log -n 20 NAME, or svctl log -f NAME"),
        ("is-active web", "is-active: use svctl status NAME: it exits 0 if the service is up, and 3 if it is not"),
        ("is-enabled web", "is-enabled: use svctl status NAME: it says normally up or normally down"),
        ("-k web", "-k: use svctl kill NAME"),
        ("enable --now web", "--now: use svctl enable NAME and svctl start NAME, or disable and stop"),
        ("signal HUP web", "signal: use svctl kill -s SIGNAL NAME"),
    ] {
        assert_eq!(svctl(&scratch, words), fails(100, &format!("svctl: fatal: svctl has no {instead}\n")), "{words}");
    }
    for word in ["update", "reread", "daemon-reload"] {
        let told = svctl(&scratch, word);
        let start = format!("svctl: fatal: svctl has no {word}: svscan sees new and removed entries by itself, ");
        assert!(told.code == 100 && told.stderr.starts_with(&start), "{told:?}");
    }
    // A service may have such a name.
    scratch.dir("sv/tail");
    assert!(svctl(&scratch, "list tail").stdout.contains("tail"));
}

#[test]
fn a_command_says_how_it_is_used() {
    let scratch = Scratch::new();
    let start = scratch.run("svctl start --help");
    let head =
        "usage: svctl [ options ] start name ...\n\nkeep it up, and wait until it is ready\n\n  -d, --directory dir";
    assert!(start.code == 0 && start.stdout.starts_with(head) && start.stderr.is_empty(), "{start:?}");
    assert!(start.stdout.contains("--no-wait") && !start.stdout.contains("--textfile"), "{start:?}");
    for words in ["start web --help", "help start", "up --help", "--json start --help"] {
        assert_eq!(scratch.run(&format!("svctl {words}")), start, "{words}");
    }
    assert_eq!(scratch.run("svctl help"), scratch.run("svctl --help"));
    assert!(scratch.run("svctl log --help").stdout.contains("svlog --help"));
}

/// `script` gives svctl a terminal, and stty its width.
#[test]
fn the_table_is_as_wide_as_the_terminal() {
    let scratch = Scratch::new();
    scratch.dir("sv/a-service-with-quite-a-long-name-1");
    let full = svctl(&scratch, "").stdout;
    let row = |text: &str| text.lines().find(|line| line.contains("a-serv")).unwrap_or_default().to_string();
    assert!(row(&full).ends_with("never supervised"), "{full}");
    for (columns, shown) in [(40, "ame-1  "), (60, "a-service-with-quite-a-long-name-1")] {
        let line = format!("sh -c 'stty cols {columns}; LC_ALL=C.UTF-8 svctl -d sv --color=never'");
        let table = scratch.on_terminal(&line);
        assert!(row(&table).contains(shown) && row(&table).chars().count() <= columns, "{columns}: {table}");
    }
}

#[test]
fn metrics_say_what_this_account_could_not_read() {
    if !is_root() {
        return skip("the files of root cannot be made without root");
    }
    let scratch = Scratch::new();
    let (service, _svscan) = running(&scratch);
    scratch.mode("", 0o755);
    scratch.mode("sv", 0o755);
    fs::create_dir(service.path("log")).unwrap();
    scratch.mode("sv/web", 0o755);
    scratch.mode("sv/web/supervise", 0o700);
    let metrics = || scratch.outcome_of(scratch.as_nobody("svctl").args(["-d", "sv", "metrics", "--logs"]));
    let told = metrics();
    let words = "svctl: warning: unable to read as this account: state of web";
    assert!(told.code == 0 && told.stderr.starts_with(words), "{told:?}");
    assert_eq!(told.stderr.lines().count(), 1, "{told:?}");
    assert!(told.stdout.contains("daemontools_build_info"), "{told:?}");
    // Root reads it.
    assert_eq!(svctl(&scratch, "metrics").stderr, "");
}

#[test]
fn status_names_settings_that_are_ignored_or_doubtful() {
    let scratch = Scratch::new();
    let (service, _svscan) = running(&scratch);
    assert!(!svctl(&scratch, "status web").stdout.contains("settings"));
    fs::write(service.path("timeout-kill"), "5\n").unwrap();
    fs::write(service.path("kill-scope"), "everything\n").unwrap();
    fs::write(service.path("restart_limit"), "5 in 1m\n").unwrap();
    let status = svctl(&scratch, "status web").stdout;
    let line =
        "  settings    ignored or doubtful: timeout-kill, kill-scope, restart_limit: svctl -d sv check web says more\n";
    assert!(status.contains(line), "{status}");
    let check = svctl(&scratch, "check web").stdout;
    let line = "web/timeout-kill: 5 means 5 milliseconds: write 5s for seconds, or 5ms\n";
    assert!(check.contains(line) && check.lines().count() == 3, "{check}");
    fs::remove_file(service.path("kill-scope")).unwrap();
    fs::remove_file(service.path("restart_limit")).unwrap();
    fs::write(service.path("timeout-kill"), "5s\n").unwrap();
    assert_eq!(svctl(&scratch, "check web"), prints("1 service: nothing is wrong\n"));
}

/// A user who forgets sudo is told so, once, and not of loggers too.
#[test]
fn another_account_is_told_whose_the_services_are() {
    if !is_root() {
        return skip("the files of root cannot be made without root");
    }
    let scratch = Scratch::new();
    scratch.script("sv/web/log/run", "#!/bin/sh\nexec cat >/dev/null\n");
    let (service, _svscan) = running(&scratch);
    ["", "sv", "sv/web", "sv/web/log"].into_iter().for_each(|name| scratch.mode(name, 0o755));
    wait_until("the logger is supervised", || service.path("log/supervise/ok").exists());
    let nobody = |words: &str| {
        let mut command = scratch.as_nobody("svctl");
        scratch.outcome_of(command.args(["-d", "sv"]).args(words.split_whitespace()))
    };
    let table = nobody("list");
    let end = "\n1 service: 1 unknown; see: svctl -d sv status web\n1 service belongs to root, and this is nobody: run it as root\n";
    assert!(table.code == 0 && table.stdout.ends_with(end) && !table.stdout.contains("web/log"), "{table:?}");
    let status = nobody("status web");
    let cause = "\n  cause       it belongs to root, and this is nobody: run it as root\n";
    assert!(status.code == 4 && status.stdout.contains(cause), "{status:?}");
    for words in ["restart web", "kill web", "reload web"] {
        let refused = nobody(words);
        let is_told = refused.stderr.contains("access denied: ")
            && refused.stderr.contains("belongs to root, and this is nobody");
        assert!(refused.code != 0 && is_told, "{words}: {refused:?}");
    }
    let directory = scratch.path().join("sv").display().to_string();
    let enabled = nobody("enable web");
    let words = "web is already enabled: it is unknown: unable to open supervise/ok: access denied: it belongs to root, and this is nobody: run it as root\n";
    assert_eq!(enabled, prints(words));
    let denied = "access denied: its directory belongs to root, and this is nobody: run it as root\n";
    let words = format!("svctl: fatal: unable to make {directory}/web/down: {denied}");
    assert_eq!(nobody("disable web"), fails(111, &words));
    assert!(!svctl(&scratch, "list").stdout.contains("belong"));
}

#[test]
fn without_an_svscan_each_command_says_that_there_is_none() {
    let scratch = Scratch::new();
    scratch.dir("sv");
    let service = Service::new(&scratch, "sv/web", "exec sleep 1000");
    let directory = scratch.path().join("sv").display().to_string();
    let cause = format!("no svscan runs in {directory}, and none ever has: is it the right directory?\n");
    let table = svctl(&scratch, "list");
    assert!(table.stdout.contains("  never supervised\n") && table.stdout.ends_with(&cause), "{table:?}");
    for words in ["start web", "stop web", "restart web", "kill web"] {
        let told = svctl(&scratch, words);
        assert!(told.code == 1 && told.stderr.ends_with(&format!("svctl: cause: {cause}")), "{words}: {told:?}");
    }
    let status = svctl(&scratch, "status web").stdout;
    assert!(status.starts_with("? web — unsupervised: never supervised\n") && status.contains(&cause), "{status}");
    // Programs are told in the words of svstat.
    let document = svctl(&scratch, "-j list").stdout;
    assert!(document.contains("unable to open supervise/ok: file does not exist"), "{document}");
    // A supervise without an svscan is right.
    let _supervise = service.supervise();
    service.up();
    wait_until("it is up, and that is all", || svctl(&scratch, "list").stdout.ends_with("\n1 service\n"));
    // Where one has been, it is missed.
    scratch.dir("sv/.svscan");
    let cause = format!("no svscan runs in {directory}: start it: svscan {directory}\n");
    let list = svctl(&scratch, "list").stdout;
    assert!(list.ends_with(&format!("\n1 service\n{cause}")), "{list}");
    assert!(svctl(&scratch, "list --failed").stdout.ends_with(&cause));
    assert!(svctl(&scratch, "status web").stdout.contains(&format!("  svscan      {cause}")));
    let check = svctl(&scratch, "check");
    assert_eq!((check.code, check.stderr), (0, format!("svctl: warning: {cause}")));
    fs::remove_dir(scratch.path().join("sv/.svscan")).unwrap();
    if has("script") {
        scratch.dir("compat");
        std::os::unix::fs::symlink(scratch.programs().join("svctl"), scratch.path().join("compat/sv")).unwrap();
        Service::new(&scratch, "sv/new", "exec sleep 1000");
        let told = scratch.on_terminal("sh -c 'SVDIR=$PWD/sv compat/sv start new'");
        assert!(told.contains("/sv/new was never supervised: does svscan run, "), "{told}");
        // runit says nothing of it.
        let script = scratch.shell("SVDIR=$PWD/sv compat/sv start new");
        assert_eq!(script.stderr, "");
    }
}

#[test]
fn words_that_mean_no_service_are_told_what_they_are() {
    let scratch = Scratch::new();
    let (_service, _svscan) = running(&scratch);
    scratch.file("sv/README.txt", "text");
    std::os::unix::fs::symlink("/nowhere", scratch.path().join("sv/dangling")).unwrap();
    std::os::unix::fs::symlink("README.txt", scratch.path().join("sv/linked")).unwrap();
    let directory = scratch.path().join("sv").display().to_string();
    for (words, word, more) in [
        ("stat", "stat", "did you mean status?"),
        ("stat web", "stat", "did you mean status?"),
        ("web restart", "restart", "the command comes first: svctl restart web"),
        ("web status", "status", "the command comes first: svctl status web"),
        ("stop all", "all", "'*' means all services"),
        ("status dangling", "dangling", "it is a link to /nowhere, where nothing is"),
        ("status linked", "linked", "it is a link to README.txt, which is no directory"),
        ("status README.txt", "README.txt", "it is no directory"),
        ("restart web.service", "web.service", "did you mean web?"),
        ("status WEB", "WEB", "did you mean web?"),
    ] {
        let told = svctl(&scratch, words);
        assert!(told.stderr.ends_with(&format!("no service {word} in {directory}: {more}\n")), "{words}: {told:?}");
        assert!([4, 100].contains(&told.code), "{words}: {told:?}");
    }
    let all = svctl(&scratch, "restart --all");
    assert_eq!(all, fails(100, "svctl: fatal: svctl has no --all: use '*' as the name: svctl restart '*'\n"));
    assert_eq!(svctl(&scratch, "restart '*'").code, 0);
    // What is in a service is no service.
    let within = scratch.run("svctl -d sv/web list");
    let words = format!("svctl: fatal: {directory}/web is a service: name the directory that it is in\n");
    assert_eq!(within, fails(100, &words));
    for (words, usage) in [
        ("start", "svctl: no service is named\nsvctl: usage: svctl [ options ] start name ...\n"),
        ("wait up", "svctl: wait needs a goal and a service\nsvctl: usage: svctl [ options ] wait goal name ...\n"),
        (
            "start --failed web",
            "svctl: --failed does not belong here\nsvctl: usage: svctl [ options ] start name ...\n",
        ),
    ] {
        assert_eq!(svctl(&scratch, words), fails(100, usage), "{words}");
    }
    if has("script") {
        // The system has a directory /run.
        let told = scratch.on_terminal("svstat /etc");
        assert!(told.contains("/etc is no service: it contains no run\n"), "{told}");
    }
}

/// At most five services are named below the table, and those that have failed are among them.
#[test]
fn what_has_failed_is_named_first() {
    let scratch = Scratch::new();
    (1..7).for_each(|number| scratch.dir(format!("sv/a{number}")));
    let service = Service::new(&scratch, "sv/z", "exit 1").file("restart-limit", "1 in 10s");
    let _supervise = service.supervise();
    wait_until("it has failed", || svctl(&scratch, "list z").stdout.contains(" failed "));
    let table = svctl(&scratch, "list").stdout;
    assert!(
        table.contains("\n7 services: 1 failed, 6 unsupervised; see: svctl -d sv status z a1 a2 a3 a4 …\n"),
        "{table}"
    );
}

/// svscan has not seen the link yet, or its supervise has not made its files.
#[test]
fn what_was_linked_just_now_can_be_started() {
    let scratch = Scratch::new();
    let (service, _svscan) = running(&scratch);
    let etc = Service::new(&scratch, "etc/new", "exec sleep 1000");
    std::os::unix::fs::symlink("../etc/new", scratch.path().join("sv/new")).unwrap();
    let started = svctl(&scratch, "start new");
    assert!(started.code == 0 && started.stderr.is_empty(), "{started:?}");
    drop((service, etc));
}

#[test]
fn a_service_that_was_mended_and_restarted_is_up() {
    let scratch = Scratch::new();
    scratch.dir("sv");
    let service = Service::new(&scratch, "sv/web", "exit 3");
    let _svscan = Daemon::start(scratch.command("svscan").arg("sv"), &scratch);
    wait_until("it has ended at once twice", || service.is_supervised() && service.state("death").len() >= 2);
    let _service = service.script("run", "exec sleep 1000");
    // A run that has started just before the command is told to end by it, and svctl may take that for a failure.
    wait_until("it is restarted", || svctl(&scratch, "restart web").code == 0);
    let status = svctl(&scratch, "status web");
    assert!(status.code == 0 && status.stdout.starts_with("● web — up"), "{status:?}");
    wait_until("it is restarted again", || svctl(&scratch, "restart web").code == 0);
    let status = svctl(&scratch, "status web").stdout;
    assert!(status.contains(" told to end (SIGTERM) after "), "{status}");
}

#[test]
fn what_is_wrong_with_run_names_it_and_says_what_to_do() {
    let scratch = Scratch::new();
    scratch.dir("sv/norun");
    Service::new(&scratch, "sv/empty", "").file("run", "");
    scratch.mode("sv/empty/run", 0o755);
    let _svscan = Daemon::start(scratch.command("svscan").arg("sv"), &scratch);
    for (name, reason, cure) in [
        ("norun", "run is missing", "norun/run: write a script that executes the program in the foreground"),
        ("empty", "run is empty", "empty/run: write a script that begins with #!/bin/sh"),
    ] {
        wait_until("the reason is told", || svctl(&scratch, &format!("list {name}")).stdout.contains(reason));
        wait_until("the cure is told", || svctl(&scratch, &format!("status {name}")).stdout.contains(cure));
    }
}

/// All options of svlog are known to `svctl log`, which tells their values from names.
#[test]
fn svctl_log_knows_the_options_of_svlog_and_asks_it_about_others() {
    let scratch = Scratch::new();
    let (service, _svscan) = running(&scratch);
    let help = scratch.run("svlog --help").stdout;
    let options: Vec<&str> = help
        .lines()
        .filter(|line| line.starts_with("  -"))
        .flat_map(|line| line.split([' ', ',']))
        .filter(|word| word.starts_with("--") && *word != "--help")
        .map(|word| word.split(['[', '=']).next().unwrap_or_default())
        .collect();
    assert!(options.len() > 15, "{options:?}");
    for option in options {
        // With a value behind it, `nosuch` is the name; without, `1` is one too.
        let told = svctl(&scratch, &format!("log {option} 1 nosuch"));
        assert!(told.code == 100 && told.stderr.contains("no service nosuch in "), "{option}: {told:?}");
    }
    for (words, expected) in [
        ("log -g fatal web", "svlog: fatal: svlog has no -g: use --grep PATTERN\n"),
        ("log --greep fatal web", "svlog: illegal option --greep: did you mean --grep?\n"),
        ("log -n 2", "svctl: no service is named\n"),
        ("wait web up", "svctl: the goal comes first: svctl wait up web\n"),
    ] {
        let told = svctl(&scratch, words);
        assert!(told.code == 100 && told.stderr.starts_with(expected), "{words}: {told:?}");
    }
    drop(service);
}
