//! `sv`: svctl under that name. The same words go to our sv about our supervise, and to Debian's sv about Debian's runsv, and the
//! lines and exit codes must be the same but for numbers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tests::{Daemon, Outcome, Scratch, Service, has, wait_until};

/// A service that tells its starts and the signals it gets.
const LISTENS: &str = "trap 'echo HUP >>heard' HUP; trap 'echo USR1 >>heard' USR1
    echo $$ >>started; while :; do sleep 0.05; done";
const STUBBORN: &str = "trap '' TERM; echo $$ >>started; while :; do sleep 0.05; done";

/// The verbs after which a service that was up has a new process.
const RESTARTS: [&str; 6] = ["restart", "try-restart", "force-reload", "force-restart", "term", "kill"];

/// Services under one supervisor, and the sv for them.
struct Side {
    scratch: Scratch,
    /// The programs that supervise, and sv.
    supervise: &'static str,
    sv: PathBuf,
    daemons: Vec<Daemon>,
}

impl Side {
    fn new(supervise: &'static str) -> Side {
        let scratch = Scratch::new();
        scratch.dir("services");
        let sv = if supervise == "runsv" { "/usr/bin/sv".into() } else { our_sv(&scratch) };
        Side { scratch, supervise, sv, daemons: Vec::new() }
    }

    fn make(&mut self, name: &str, run: &str, files: &[(&str, &str)]) {
        let path = format!("services/{name}");
        let mut service = Service::new(&self.scratch, &path, run);
        for (file, content) in files {
            service = if content.is_empty() { service.file(file, "") } else { service.script(file, content) };
        }
        let start = |path: &str| Daemon::start(self.scratch.command(self.supervise).arg(path), &self.scratch);
        self.daemons.push(start(&path));
        // runsv also supervises the logger.
        if self.scratch.path().join(&path).join("log").is_dir() && self.supervise == "supervise" {
            self.daemons.push(start(&format!("{path}/log")));
        }
    }

    fn service(&self, name: &str) -> Service<'_> {
        Service::at(&self.scratch, &format!("services/{name}"))
    }

    /// Waits until the process of the service, if it has one, has come so far that it takes signals.
    fn has_begun(&self, name: &str) {
        let service = self.service(name);
        let pid = service.status().pid;
        let is_there = || pid == 0 || service.says("started").lines().any(|line| line == pid.to_string());
        wait_until("the process has begun", is_there);
    }

    fn command(&self, words: &str) -> Command {
        let mut command = self.scratch.command(self.sv.to_str().unwrap());
        command.env("SVDIR", self.scratch.path().join("services"));
        command.args(words.split(' ').filter(|word| !word.is_empty()));
        command
    }

    fn sv(&self, words: &str) -> Outcome {
        without_numbers(self.scratch.outcome_of(&mut self.command(words)))
    }
}

/// A link `sv` to svctl.
fn our_sv(scratch: &Scratch) -> PathBuf {
    scratch.dir("compat");
    let sv = scratch.path().join("compat/sv");
    symlink(scratch.programs().join("svctl"), &sv).unwrap();
    sv
}

/// The pids and seconds replaced.
fn without_numbers(outcome: Outcome) -> Outcome {
    let replaced = |text: &str| {
        let words = text.split_inclusive([' ', '\n']).map(|word| {
            let end = word.trim_start_matches(|letter: char| letter.is_ascii_digit());
            let is_replaced = end.len() < word.len() && end.starts_with([')', 's']);
            if is_replaced { format!("N{end}") } else { word.to_string() }
        });
        words.collect::<String>()
    };
    Outcome { stdout: replaced(&outcome.stdout), ..outcome }
}

/// Our side, and Debian's.
fn both(prepare: impl Fn(&mut Side)) -> Option<[Side; 2]> {
    (has("runsv") && has("sv")).then(|| {
        ["supervise", "runsv"].map(|supervise| {
            let mut side = Side::new(supervise);
            prepare(&mut side);
            side
        })
    })
}

/// Waits until both sides show the same line about a service, which is not about something that is under way.
fn settle(sides: &[Side; 2], name: &str) {
    settle_with(sides, name, |said| !said.contains("want up") && !said.contains("got TERM"));
}

/// Waits until both sides show this line about a service.
fn settle_as(sides: &[Side; 2], name: &str, shown: &str) {
    settle_with(sides, name, |said| said == shown);
}

fn settle_with(sides: &[Side; 2], name: &str, is_right: impl Fn(&str) -> bool) {
    let show = |side: &Side| side.sv(&format!("status {name}")).stdout;
    let mut said = [String::new(), String::new()];
    wait_until(&format!("both sides say the right thing of {name}"), || {
        said = [show(&sides[0]), show(&sides[1])];
        said[0] == said[1] && is_right(&said[0])
    });
    sides.iter().for_each(|side| side.has_begun(name));
}

fn pids(sides: &[Side; 2], name: &str) -> [i32; 2] {
    [&sides[0], &sides[1]].map(|side| side.service(name).status().pid)
}

/// The same words on both sides must have the same outcome, which is returned.
fn same(sides: &[Side; 2], words: &str) -> Outcome {
    let [ours, theirs] = [&sides[0], &sides[1]].map(|side| side.sv(words));
    assert_eq!(ours, theirs, "sv {words}");
    ours
}

#[test]
fn each_verb_says_and_does_what_runits_does() {
    let prepared = both(|side| {
        side.make("web", LISTENS, &[]);
        side.make("idle", LISTENS, &[("down", "")]);
        side.make("log", LISTENS, &[("log/run", "exec cat >/dev/null")]);
    });
    let Some(sides) = prepared else { return };
    for side in &sides {
        side.service("web").lines("started", 1);
        side.service("log").lines("started", 1);
        wait_until("idle is supervised", || side.sv("status idle").code == 0);
    }
    settle_as(&sides, "web", "run: web: (pid N) Ns\n");
    settle_as(&sides, "log", "run: log: (pid N) Ns; run: log: (pid N) Ns\n");
    for (words, name, shown) in [
        ("status web idle", "idle", "down: idle: Ns\n"),
        ("start web", "web", "run: web: (pid N) Ns\n"),
        ("stop web", "web", "down: web: Ns, normally up\n"),
        ("stop web", "web", "down: web: Ns, normally up\n"),
        ("start web", "web", "run: web: (pid N) Ns\n"),
        ("start idle", "idle", "run: idle: (pid N) Ns, normally down\n"),
        ("pause idle", "idle", "run: idle: (pid N) Ns, normally down, paused\n"),
        ("-v cont idle", "idle", "run: idle: (pid N) Ns, normally down\n"),
        ("-w 5 pause idle", "idle", "run: idle: (pid N) Ns, normally down, paused\n"),
        ("stop idle", "idle", "down: idle: Ns\n"),
        ("once idle", "idle", "run: idle: (pid N) Ns, normally down, want down\n"),
        ("force-stop idle", "idle", "down: idle: Ns\n"),
        ("restart web", "web", "run: web: (pid N) Ns\n"),
        ("restart idle", "idle", "run: idle: (pid N) Ns, normally down\n"),
        ("down idle", "idle", "down: idle: Ns\n"),
        ("try-restart idle", "idle", "down: idle: Ns\n"),
        ("try-restart web", "web", "run: web: (pid N) Ns\n"),
        ("force-reload web", "web", "run: web: (pid N) Ns\n"),
        ("force-restart web", "web", "run: web: (pid N) Ns\n"),
        ("check web idle", "web", "run: web: (pid N) Ns\n"),
        ("reload web", "web", "run: web: (pid N) Ns\n"),
        ("-v 1 web", "web", "run: web: (pid N) Ns\n"),
        ("term web", "web", "run: web: (pid N) Ns\n"),
        ("kill web", "web", "run: web: (pid N) Ns\n"),
        ("u idle", "idle", "run: idle: (pid N) Ns, normally down\n"),
        ("D idle", "idle", "down: idle: Ns\n"),
    ] {
        let before = pids(&sides, name);
        same(&sides, words);
        // For runit's sv a restart in the second of the start is over before runsv has heard of it.
        let is_restart = RESTARTS.iter().any(|verb| words.split(' ').next() == Some(verb));
        let is_new =
            || before.iter().zip(pids(&sides, name)).all(|(before, now)| *before == 0 || ![0, *before].contains(&now));
        wait_until("there are new processes", || !is_restart || is_new());
        settle_as(&sides, name, shown);
        for (_, heard) in
            [("reload web", vec!["HUP"]), ("-v 1 web", vec!["HUP", "USR1"])].iter().filter(|(of, _)| *of == words)
        {
            sides.iter().for_each(|side| assert_eq!(side.service("web").lines("heard", heard.len()), *heard));
        }
    }
}

#[test]
fn each_wrong_name_and_usage_is_told_in_runits_words() {
    let prepared = both(|side| {
        side.make("web", LISTENS, &[]);
        side.scratch.dir("services/unsupervised");
        side.scratch.file("services/file", "");
        side.scratch.dir("services/left/supervise");
        for name in ["ok", "control"] {
            tests::fifo(&side.scratch.path().join("services/left/supervise").join(name)).unwrap();
        }
    });
    let Some(sides) = prepared else { return };
    sides.iter().for_each(|side| drop(side.service("web").lines("started", 1)));
    settle(&sides, "web");
    for (words, code, said) in [
        ("", 100, ""),
        ("web", 100, ""),
        ("status", 100, ""),
        ("-z status web", 100, ""),
        ("-w", 100, ""),
        ("restarting web", 100, ""),
        ("force web", 100, ""),
        ("status nothing", 1, "fail: nothing: unable to change to service directory: file does not exist\n"),
        ("start file", 1, "fail: file: unable to change to service directory: not a directory\n"),
        ("up unsupervised", 1, "warning: unsupervised: unable to open supervise/ok: file does not exist\n"),
        ("start left", 1, "fail: left: runsv not running\n"),
        ("status left", 1, "fail: left: runsv not running\n"),
        ("exit left", 0, "ok: left: runsv not running\n"),
        ("shutdown left", 0, "ok: left: runsv not running\n"),
        (
            "status web nothing left ./web",
            3,
            "run: web: (pid N) Ns\nfail: nothing: unable to change to service \
         directory: file does not exist\nfail: left: runsv not running\nfail: ./web: unable to change to service \
         directory: file does not exist\n",
        ),
        ("status services/web", 1, "fail: services/web: unable to change to service directory: file does not exist\n"),
        ("status ./services/web", 0, "run: ./services/web: (pid N) Ns\n"),
        ("status services/web/", 0, "run: services/web/: (pid N) Ns\n"),
    ] {
        let outcome = same(&sides, words);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (code, said), "sv {words}");
        assert_eq!(outcome.stderr.contains("usage: sv [-v] [-w sec] command service ...\n\n"), code == 100, "{words}");
    }
}

#[test]
fn a_service_that_does_not_end_in_time_is_told_and_killed_where_that_is_asked() {
    let prepared = both(|side| {
        side.make("stubborn", STUBBORN, &[]);
        side.make("flapping", "exit 1", &[]);
    });
    let Some(sides) = prepared else { return };
    sides.iter().for_each(|side| drop(side.service("stubborn").lines("started", 1)));
    settle(&sides, "stubborn");
    let late = "run: stubborn: (pid N) Ns, want down, got TERM\n";
    let outcome = same(&sides, "-w 1 stop stubborn");
    assert_eq!((outcome.code, outcome.stdout), (1, format!("timeout: {late}")));
    let outcome = same(&sides, "-w 1 force-stop stubborn");
    assert_eq!((outcome.code, outcome.stdout), (1, format!("kill: {late}")));
    settle_as(&sides, "stubborn", "down: stubborn: Ns, normally up\n");
    for side in &sides {
        let begun = Instant::now();
        let outcome = side.sv("-w 2 restart flapping");
        // At some moments it runs.
        assert!(["timeout: ", "ok: run: "].iter().any(|word| outcome.stdout.starts_with(word)), "{outcome:?}");
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn the_script_check_says_whether_a_service_works() {
    let check = "[ -e works ]";
    let prepared = both(|side| side.make("web", LISTENS, &[("check", check)]));
    let Some(sides) = prepared else { return };
    sides.iter().for_each(|side| drop(side.service("web").lines("started", 1)));
    settle(&sides, "web");
    for words in ["-w 1 start web", "-w 1 check web"] {
        let outcome = same(&sides, words);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, "timeout: run: web: (pid N) Ns\n"), "{words}");
    }
    sides.iter().for_each(|side| side.scratch.file("services/web/works", ""));
    for words in ["start web", "check web", "restart web"] {
        assert_eq!(same(&sides, words).stdout, "ok: run: web: (pid N) Ns\n", "{words}");
    }
    assert_eq!(same(&sides, "stop web").code, 0);
    sides.iter().for_each(|side| fs::remove_file(side.service("web").path("works")).unwrap());
    // Nothing runs, so there is nothing to check.
    assert_eq!(same(&sides, "check web").stdout, "ok: down: web: Ns, normally up\n");
}

/// runit's sv would wait for it for ever.
#[test]
fn a_script_check_that_hangs_is_killed_when_the_time_is_over() {
    let mut side = Side::new("supervise");
    // supervise itself asks it until the service is ready.
    side.make("web", LISTENS, &[("check", "[ -e hangs ] || exit 0; echo $$ >>checking; exec sleep 1000")]);
    side.service("web").up();
    assert_eq!(side.sv("start web").code, 0);
    side.scratch.file("services/web/hangs", "");
    let outcome = side.sv("-w 1 check web");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, "timeout: run: web: (pid N) Ns\n"));
    assert_eq!(side.service("web").alive("checking"), [0; 0]);
    assert!(!side.service("web").lines("checking", 1).is_empty());
}

#[test]
fn a_link_of_another_name_is_a_script_for_that_service() {
    let prepared = both(|side| {
        side.make("web", LISTENS, &[]);
        side.scratch.dir("services/unsupervised");
        side.scratch.dir("init.d");
        for name in ["web", "unsupervised", "nothing"] {
            symlink(&side.sv, side.scratch.path().join("init.d").join(name)).unwrap();
        }
    });
    let Some(sides) = prepared else { return };
    sides.iter().for_each(|side| drop(side.service("web").lines("started", 1)));
    settle(&sides, "web");
    for (words, code, said) in [
        ("web status", 0, "run: web: (pid N) Ns\n"),
        ("web stop", 0, "ok: down: web: Ns, normally up\n"),
        ("web status", 3, "down: web: Ns, normally up\n"),
        ("web start", 0, "ok: run: web: (pid N) Ns\n"),
        ("web restart", 0, "ok: run: web: (pid N) Ns\n"),
        ("web -w 3 reload", 0, "ok: run: web: (pid N) Ns\n"),
        ("web stat", 2, ""),
        ("web", 2, ""),
        ("unsupervised status", 4, "warning: unsupervised: unable to open supervise/ok: file does not exist\n"),
        ("nothing status", 1, "fail: nothing: unable to change to service directory: file does not exist\n"),
    ] {
        let (name, words) = words.split_once(' ').unwrap_or((words, ""));
        if words == "-w 3 reload" {
            // It must not get HUP before it listens.
            sides.iter().for_each(|side| drop(side.service("web").lines("started", 3)));
        }
        let [ours, theirs] = [&sides[0], &sides[1]].map(|side| {
            let script = side.scratch.path().join("init.d").join(name);
            let mut command = side.scratch.command(script.to_str().unwrap());
            command.env("SVDIR", side.scratch.path().join("services"));
            command.args(words.split(' ').filter(|word| !word.is_empty()));
            without_numbers(side.scratch.outcome_of(&mut command))
        });
        if name == "web" {
            settle(&sides, "web");
        }
        assert_eq!(ours, theirs, "{name} {words}");
        assert_eq!((ours.code, ours.stdout.as_str()), (code, said), "{name} {words}");
    }
}

/// runit's sv takes `enable` for `exit`, and `pid` for `pause`, by the first letter.
#[test]
fn a_word_of_another_tool_does_nothing() {
    let mut side = Side::new("supervise");
    side.make("web", LISTENS, &[]);
    let pid = side.service("web").up();
    for word in ["enable", "disable", "pid", "tail", "edit", "update"] {
        let refused = side.sv(&format!("{word} web"));
        let words = format!("sv: {word} is no command of sv; svctl --help lists those of svctl\nusage: sv ");
        assert!(refused.code == 100 && refused.stderr.starts_with(&words), "{refused:?}");
    }
    let status = side.service("web").status();
    assert_eq!((status.pid, status.paused), (pid, 0));
    assert_eq!(side.sv("exit web").code, 0);
    wait_until("its supervise has ended", || side.sv("status web").stdout == "fail: web: runsv not running\n");
}

#[test]
fn a_restart_returns_when_the_new_process_runs() {
    let mut side = Side::new("supervise");
    side.make("web", LISTENS, &[]);
    let service = side.service("web");
    let mut pid = service.up();
    for words in ["restart web", "try-restart web", "force-reload web", "-v term web", "-v kill web"] {
        assert_eq!(side.sv(words).stdout, "ok: run: web: (pid N) Ns\n", "{words}");
        assert_ne!(service.status().pid, pid, "{words}");
        pid = service.up();
    }
}

#[test]
fn shutdown_takes_the_service_down_and_returns_when_its_supervise_has_ended() {
    let prepared = both(|side| side.make("web", LISTENS, &[]));
    let Some(mut sides) = prepared else { return };
    sides.iter().for_each(|side| drop(side.service("web").lines("started", 1)));
    settle(&sides, "web");
    assert_eq!(same(&sides, "shutdown web").stdout, "ok: web: runsv not running\n");
    for side in &mut sides {
        assert_eq!(side.daemons[0].wait(), 0);
        assert_eq!(side.service("web").alive("started"), [0; 0]);
    }
}

/// runsv knows no failure.
#[test]
fn a_service_that_gives_up_is_not_waited_for() {
    let mut side = Side::new("supervise");
    side.make("web", LISTENS, &[("start", "[ ! -e bad ] || exit 7")]);
    side.service("web").lines("started", 1);
    side.scratch.file("services/web/bad", "");
    let begun = Instant::now();
    assert_eq!(side.sv("stop web").code, 0);
    let outcome = side.sv("-w 100 start web");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, "fail: web: failed: start failed: exited 7\n"));
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(side.sv("status web").stdout, "down: web: Ns, normally up, failed\n");
    fs::remove_file(side.service("web").path("bad")).unwrap();
    assert_eq!(side.sv("-v up web").code, 0);
}

/// With runsv, the logger always has a supervise of its own.
#[test]
fn a_logger_that_the_same_supervise_runs_is_shown() {
    let mut side = Side::new("supervise");
    side.make("web", LISTENS, &[("log", "exec cat >/dev/null")]);
    side.service("web").up();
    wait_until("both are shown", || side.sv("status web").stdout == "run: web: (pid N) Ns; run: log: (pid N) Ns\n");
}

/// runit's sv shows the service's own line again as that of the logger.
#[test]
fn a_logger_without_a_supervise_is_told() {
    let mut side = Side::new("supervise");
    side.make("web", LISTENS, &[]);
    side.service("web").up();
    side.scratch.dir("services/web/log");
    let outcome = side.sv("status web");
    let log = "warning: web/log: unable to open supervise/ok: file does not exist";
    assert_eq!((outcome.code, outcome.stdout), (1, format!("run: web: (pid N) Ns; {log}\n")));
}

#[test]
fn svctl_stays_svctl_under_a_link_of_another_name() {
    let scratch = Scratch::new();
    scratch.dir("services");
    symlink(scratch.programs().join("svctl"), scratch.path().join("s")).unwrap();
    let mut command = scratch.command("./s");
    let outcome = scratch.outcome_of(command.args(["-d", "services", "--color", "never"]));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{outcome:?}");
    let sv = our_sv(&scratch);
    let help = scratch.outcome_of(scratch.command(sv.to_str().unwrap()).arg("--help"));
    assert!(help.stdout.starts_with("usage: sv [-v] [-w sec] command service ...\n\n"), "{help:?}");
    assert!(help.stdout.ends_with("The manual page sv(8) says more.\n"), "{help:?}");
}
