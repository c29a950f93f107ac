//! svstat's long form and its JSON.

use nix::libc::O_NONBLOCK;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tests::{Outcome, Scratch, Service, fails, fifo, has, others, prints, wait_until};

/// The text of one line of the long form; empty if there is none.
fn said(scratch: &Scratch, name: &str) -> String {
    let text = scratch.run("svstat -l web").stdout;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name)).unwrap_or_default();
    line.trim_start().to_string()
}

/// A value of the JSON document, as Python prints it.
fn value(scratch: &Scratch, path: &str) -> String {
    let program = format!(
        "import json, subprocess; d = json.loads(subprocess.check_output(['svstat', '-j', 'web'])); print(d{path})"
    );
    let outcome = scratch.outcome_of(scratch.command("python3").args(["-c", &program]));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    outcome.stdout.trim_end().to_string()
}

fn has_date(words: &str) -> bool {
    words.chars().filter(|c| *c == '-').count() >= 2 && words.chars().filter(|c| *c == ':').count() >= 2
}

#[test]
fn the_first_line_is_the_short_one_and_the_others_say_more() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000").file("restart-delay", "1");
    let supervise = service.supervise();
    wait_until("it is ready", || !service.state("ready").is_empty());
    assert_eq!(scratch.run("svc -k -W restarted web"), prints(""));
    wait_until("it is ready", || !service.state("ready").is_empty());
    let text = scratch.run("svstat -l web").stdout;
    assert!(text.starts_with(&format!("web: up (pid {}) ", service.status().pid)), "{text}");
    for (name, expected) in [("phase", "running"), ("want", "up"), ("starts", "2")] {
        assert_eq!(said(&scratch, name), expected, "{text}");
    }
    assert_eq!(said(&scratch, "supervise"), format!("pid {}", supervise.pid()));
    for name in ["since", "ready"] {
        let words = said(&scratch, name);
        assert!(has_date(&words) && words.contains(", for "), "{words}");
    }
    let exit = said(&scratch, "last exit");
    assert!(exit.starts_with("killed by SIGKILL, ") && has_date(&exit) && exit.contains(", after "), "{exit}");
    assert_eq!(scratch.run("svstat --long web").code, 0);
    // The short form is unchanged.
    assert_eq!(scratch.run("svstat web").stdout.lines().count(), 1);
}

#[test]
fn every_kind_of_end_has_its_words() {
    let scratch = Scratch::new();
    let run = "case $(cat how) in code) exit 7;; term) kill -TERM $$;; esac; ulimit -c 0; kill -SEGV $$";
    let service = Service::new(&scratch, "web", run).file("how", "code").file("restart-delay", "1h").down();
    let _supervise = service.supervise();
    for (how, expected) in [("code", "exited 7, "), ("term", "killed by SIGTERM, "), ("segv", "killed by SIGSEGV")] {
        scratch.file("web/how", how);
        assert_eq!(scratch.run("svc -o -W finished web"), prints(""));
        assert!(said(&scratch, "last exit").starts_with(expected), "{}", said(&scratch, "last exit"));
    }
    assert_eq!(scratch.run("svstat -l web").stdout.matches("before it").count(), 2);
}

#[test]
fn what_waits_tells_until_when() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exit 1").file("restart-delay", "1h");
    let _supervise = service.supervise();
    wait_until("it waits", || !service.state("next-start").is_empty());
    let next = said(&scratch, "next start");
    assert!(has_date(&next) && (next.ends_with(", in 1h") || next.contains(", in 59m ")), "{next}");
    assert!(scratch.run("svstat -l web").stdout.starts_with("web: down "));
    assert_eq!(said(&scratch, "ready"), "");
    service.svc("-d");
    service.wait_for("is wanted down", |status| status.want == b'd');
    assert_eq!((said(&scratch, "next start").as_str(), said(&scratch, "want").as_str()), ("", "down"));
}

#[test]
fn what_gave_up_tells_why() {
    for (run, finish, start, why) in [
        ("exit 100", "exit 0", "exit 0", "exited 100, which means not to restart it"),
        ("exit 1", "exit 125", "exit 0", "finish exited 125, which means not to restart it"),
        ("exit 1", "exit 0", "exit 3", "start failed: exited 3"),
        ("exit 1", "exit 0", "exit 0", "restart-limit 2 in 10m reached, last exited 1"),
    ] {
        let scratch = Scratch::new();
        let service = Service::new(&scratch, "web", run).script("finish", finish).script("start", start);
        let service = service.file("restart-limit", "2 in 10m").file("restart-delay", "10");
        let _supervise = service.supervise();
        service.wait_for("has failed", |status| status.phase == Some(5));
        wait_until("it says why", || said(&scratch, "gave up") == why);
        assert_eq!(said(&scratch, "phase"), "failed");
        scratch.script("web/run", "#!/bin/sh\nexec sleep 1000\n");
        scratch.script("web/start", "#!/bin/sh\n");
        assert_eq!(scratch.run("svc -u -W up web"), prints(""));
        assert_eq!(said(&scratch, "gave up"), "");
    }
}

#[test]
fn what_is_told_is_told() {
    let scratch = Scratch::new();
    let run = "trap '' TERM; echo >started; while :; do sleep 0.01; done";
    let service = Service::new(&scratch, "web", run);
    let _supervise = service.supervise();
    service.lines("started", 1);
    service.svc("-p");
    wait_until("it is paused", || said(&scratch, "want") == "up, paused");
    service.svc("-dx");
    wait_until("it is to end", || said(&scratch, "want") == "down, told to end, supervise to exit");
    assert_eq!(said(&scratch, "phase"), "stopping");
}

#[test]
fn a_logger_is_told_of_too() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000").script("log", "exec cat >/dev/null");
    let _supervise = service.supervise();
    service.up();
    wait_until("the logger is ready", || !service.state("log-ready").is_empty());
    assert!(said(&scratch, "log:").starts_with("up (pid "), "{}", said(&scratch, "log:"));
    if has("python3") {
        assert_eq!(value(&scratch, "['log']['phase']"), "running");
        assert_eq!(value(&scratch, "['log']['pid']"), service.state("log-pid")[0]);
    }
}

#[test]
fn of_the_logger_alone_there_is_a_line_too() {
    let scratch = Scratch::new();
    let plain = Service::new(&scratch, "plain", "exec sleep 1000");
    let both = Service::new(&scratch, "both", "exec sleep 1000").script("log", "exec cat >/dev/null");
    let (own, its_log) =
        (Service::new(&scratch, "own", "exec sleep 1000"), Service::new(&scratch, "own/log", "exec sleep 1000"));
    let supervises = [&plain, &both, &own, &its_log].map(Service::supervise);
    wait_until("the loggers are up", || !both.state("log-ready").is_empty() && its_log.status().pid != 0);
    let (one, other) = (&both.state("log-pid")[0], its_log.status().pid);
    let said = scratch.run("svstat -L plain both own missing");
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    let lines: Vec<&str> = said.stdout.lines().collect();
    // These are the lines of daemontools-encore, except the third, where encore sees no logger.
    assert_eq!(lines[0], "plain: no log service");
    assert!(lines[1].starts_with(&format!("both log: up (pid {one}) ")) && lines[1].ends_with(" seconds"), "{said:?}");
    assert!(lines[2].starts_with(&format!("own log: up (pid {other}) ")), "{said:?}");
    assert_eq!(lines[3..], ["missing: unable to chdir: file does not exist"]);
    both.svc("-Ld");
    wait_until("the logger is down", || scratch.run("svstat -L both").stdout.starts_with("both log: down "));
    // Each of the two has a supervise of its own.
    drop(supervises);
    wait_until("nobody is in charge", || {
        scratch.run("svstat -L both own").stdout == "both: supervise not running\nown log: supervise not running\n"
    });
    // A `log` in the current directory does not belong to a service that does not exist.
    scratch.dir("log");
    assert_eq!(scratch.run("svstat -L missing").stdout, "missing: unable to chdir: file does not exist\n");
}

#[test]
fn json_is_a_document_a_line() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000").file("restart-delay", "1");
    let supervise = service.supervise();
    assert_eq!(scratch.run("svc -t -W restarted web"), prints(""));
    wait_until("it is ready", || !service.state("ready").is_empty());
    let pid = service.status().pid.to_string();
    for (path, expected) in [
        ("['service']", "web"),
        ("['service_bytes']", "None"),
        ("['error']", "None"),
        ("['up']", "True"),
        ("['pid']", pid.as_str()),
        ("['want']", "up"),
        ("['normally']", "up"),
        ("['phase']", "running"),
        ("['state']", "up"),
        ("['reason'].split(',')[0]", "killed by SIGTERM"),
        ("['program']", "run"),
        ("['ready']", "True"),
        ("['ready_seconds'] >= 0", "True"),
        ("['since'] > 1.7e9", "True"),
        ("['starts']", "2"),
        ("['supervise_pid']", &supervise.pid().to_string()),
        ("['deaths'][-1]['signal']", "15"),
        ("['deaths'][-1]['text']", "killed by SIGTERM"),
        ("['log']", "None"),
    ] {
        assert_eq!(value(&scratch, path), expected, "{path}");
    }
    let many = scratch.run("svstat -j web missing web").stdout;
    assert_eq!(many.lines().filter(|line| line.starts_with('{') && line.ends_with('}')).count(), 3);
    assert!(
        many.contains(r#""service":"missing","service_bytes":null,"error":"unable to chdir: file does not exist""#)
    );
}

#[test]
fn a_name_that_is_not_text_survives() {
    if !has("python3") {
        return;
    }
    let scratch = Scratch::new();
    let name = Path::new(std::ffi::OsStr::from_bytes(b"w\xffb\n\""));
    fs::create_dir(scratch.path().join(name)).unwrap();
    let program = "import json, subprocess; name = b'w\\xffb\\n\"'; \
                   d = json.loads(subprocess.check_output(['svstat', '--json', name])); \
                   print(bytes(d['service_bytes']) == name, d['service'] == name.decode(errors='replace'))";
    let outcome = scratch.outcome_of(scratch.command("python3").args(["-c", program]));
    assert_eq!(outcome, prints("True True\n"));
}

#[test]
fn without_a_state_it_says_so() {
    let Some(others) = others() else { return };
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let supervise = scratch.command(others.join("supervise").to_str().unwrap()).arg("web").spawn().unwrap();
    let _supervise = tests::Running(supervise);
    let pid = service.up();
    let check = || {
        let text = scratch.run("svstat -l web").stdout;
        assert!(text.starts_with(&format!("web: up (pid {pid}) ")), "{text}");
        assert_eq!((said(&scratch, "want"), said(&scratch, "supervise")), {
            ("up".into(), "no supervise/state, as with daemontools 0.76: no more is known".into())
        });
    };
    check();
    // A supervise of ours has left this state long ago, so it is not about the present process.
    for state in ["starts 7\nphase failed\n".to_string(), "x".repeat(5000), "\0".repeat(3 << 20)] {
        scratch.file("web/supervise/state", &state);
        check();
    }
}

#[test]
fn what_is_wrong_is_said_as_in_the_short_form() {
    let scratch = Scratch::new();
    scratch.dir("empty");
    scratch.dir("short/supervise");
    scratch.file("short/supervise/status", "short");
    let ok = scratch.path().join("short/supervise/ok");
    fifo(&ok).unwrap();
    let _reader = File::options().read(true).custom_flags(O_NONBLOCK).open(ok).unwrap();
    let plain = scratch.run("svstat missing empty short");
    assert_eq!(scratch.run("svstat -l missing empty short"), plain);
    assert_eq!(plain.stdout.lines().count(), 3);
    // Behind the first service, or glued to another letter, the options are names, as in the original.
    let name = "unable to chdir: file does not exist\n";
    let hint = |word: &str| format!("svstat: {word} is no service here: options come before the services\n");
    let hinted = |printed: &str, stderr: String| Outcome { stderr, ..prints(printed) };
    let one = hinted(&format!("missing: {name}-l: {name}"), hint("-l"));
    assert_eq!(scratch.run("svstat missing -l"), one);
    let two = hinted(
        &format!("-lj: {name}--: {name}"),
        "svstat: -lj is no option, and no service here\n".to_string() + &hint("--"),
    );
    assert_eq!(scratch.run("svstat -lj --"), two);
    assert_eq!(scratch.run("svstat -l"), fails(0, "svstat: usage: svstat [ -l | -j | -L ] service ...\n"));
}

/// What the owner of `supervise/` may put in place of a file, as a line of shell. `$f` is the file.
const INSTEAD: [&str; 8] = [
    "mkfifo $f",
    "mkdir $f",
    "ln -s /dev/zero $f",
    "ln -s /dev/full $f",
    "ln -s $f $f",
    "ln -s ../run $f",
    "truncate -s 1T $f",
    "head -c 3000000 /dev/urandom >$f",
];

#[test]
fn whatever_lies_in_the_place_of_a_file_of_supervise_is_answered_at_once() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000").down();
    let _supervise = service.supervise();
    for file in ["status", "state", "ok", "control"] {
        for instead in INSTEAD {
            let script = format!(
                "f=web/supervise/{file}; mv $f kept; {instead}; ulimit -v 100000; \
                 for asked in 'svstat' 'svstat -l' 'svstat -j' svup svok 'svwait -T 0 ready' 'svc -h'; do \
                 $asked web >out 2>&1; code=$?; [ $code -le 100 ] || [ $code -eq 111 ] || echo $asked: $code; \
                 [ $(wc -c <out) -lt 2000 ] || echo $asked: says too much; done; \
                 for try in $(seq 100); do {{ rm -rf $f && mv -fT kept $f; }} 2>/dev/null && break; done"
            );
            // supervise may put its own file back at any moment.
            assert_eq!(scratch.shell(&script), prints(""), "{file}: {instead}");
        }
    }
}

#[test]
fn what_a_run_lacks_that_cannot_be_executed_is_said() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000").file("restart-delay", "10");
    scratch.mode("web/run", 0o644);
    let _supervise = service.supervise();
    wait_until("it is tried", || said(&scratch, "last exit").starts_with("not executed: access denied"));
    assert_eq!(said(&scratch, "cause"), "run: it is not executable (chmod +x)");
    // One line for each attempt would hide the cause, so equal ends share a line.
    let tries = || {
        let exit = said(&scratch, "last exit");
        exit.split_once(" times, since ").and_then(|(before, _)| before.rsplit_once('(')?.1.parse::<u32>().ok())
    };
    wait_until("it was tried often", || tries() >= Some(9));
    assert!(!scratch.run("svstat -l web").stdout.contains("before it"));
    scratch.script("web/new", "exec sleep 1000\n");
    fs::rename(service.path("new"), service.path("run")).unwrap();
    wait_until("that is said", || said(&scratch, "cause") == "run: it does not begin with #! and is no program");
    // After the repair, the cause is not shown any more.
    scratch.script("web/new", "#!/bin/sh\nexec sleep 1000\n");
    fs::rename(service.path("new"), service.path("run")).unwrap();
    service.up();
    wait_until("it is mended", || said(&scratch, "cause").is_empty());
    assert_eq!(said(&scratch, "want"), "up");
    // It is not shown either if the same file is repaired, although its interpreter could cause the same error of
    // execve(2).
    scratch.mode("web/run", 0o644);
    service.svc("-k");
    wait_until("that is said", || said(&scratch, "cause") == "run: it is not executable (chmod +x)");
    scratch.mode("web/run", 0o755);
    wait_until("it is mended", || said(&scratch, "cause").is_empty());
    assert!(said(&scratch, "last exit").starts_with("not executed: access denied"));
}

/// How many system calls one more service costs.
fn calls_per_service(scratch: &Scratch, options: &str) -> f64 {
    let calls = |count: usize| {
        let services = format!(" {}/web", scratch.path().display()).repeat(count);
        let program = scratch.programs().join("svstat");
        let line = format!("exec strace -qq -o calls {} {options} {services}", program.display());
        assert_eq!(scratch.shell(&line).code, 0);
        let calls = fs::read_to_string(scratch.path().join("calls")).unwrap();
        // Without optimization, the standard library looks at each descriptor before it closes it.
        calls.lines().filter(|call| !call.starts_with("fcntl(")).count()
    };
    (calls(30) - calls(10)) as f64 / 20.0
}

/// An administrator may ask for thousands of services at a time. A file is examined before it is opened, so that each of the
/// two files takes five calls. Three tell whether the process has ended, and four whether what is touched lies on a mount that
/// may not answer.
#[test]
fn a_service_costs_few_system_calls() {
    let scratch = Scratch::new();
    if !has("strace") {
        return;
    }
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let _supervise = service.supervise();
    service.up();
    // A buffer of answers that is written, or grows, is a call that all of them share.
    let calls = calls_per_service(&scratch, "");
    assert!(calls < 20.0, "{calls}");
}
