//! svctl, and the programs that are given paths, where something of a service lies on a mount whose server does not answer.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};
use tests::{Daemon, Fuse, Node, Outcome, REQUESTS, Request, Scratch, Service, Tree, is_root, skip, wait_until};

/// Requests to a server, by their numbers in linux/fuse.h.
const LOOKUP: u32 = 1;
const READ: u32 = 15;
const READ_DIRECTORY: u32 = 28;

/// What svctl answers in a mount namespace where `remote` is a FUSE mount whose server never answers.
fn svctl(scratch: &Scratch, words: &str) -> Outcome {
    program(scratch, &format!("svctl {words}"))
}

/// What any program answers there.
fn program(scratch: &Scratch, words: &str) -> Outcome {
    let mount = "exec 3<>/dev/fuse || exit; mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none remote";
    let script = format!("{mount} || exit; LC_ALL=C.UTF-8 exec timeout -s KILL 20 {words}");
    scratch.outcome_of(scratch.command("unshare").args(["-m", "/bin/sh", "-c", &script]))
}

#[test]
fn a_service_that_does_not_answer_is_told_and_the_others_are_shown() {
    if !is_root() || !std::fs::exists("/dev/fuse").is_ok_and(|there| there) {
        return skip("only root mounts, and only where there is FUSE");
    }
    let scratch = Scratch::new();
    ["remote", "sv"].iter().for_each(|name| scratch.dir(name));
    let web = Service::new(&scratch, "sv/web", "exec sleep 1000");
    Service::new(&scratch, "sv/half", "exec sleep 1000");
    symlink("../remote/x", scratch.path().join("sv/x")).unwrap();
    symlink("../../remote/log", web.path("../half/log")).unwrap();
    let _supervise = web.supervise();
    web.up();
    wait_until("it is ready", || !web.state("ready").is_empty());
    let begin = Instant::now();
    let table = svctl(&scratch, "-d sv");
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    assert!(table.code == 0 && table.stdout.contains("● web      up "), "{table:?}");
    for name in ["half", "x"] {
        let row = table.stdout.lines().find(|line| line.contains(&format!(" {name} "))).unwrap_or_default();
        assert!(row.contains(" unknown ") && row.ends_with("its file system does not answer"), "{table:?}");
    }
    let hangs = "does not answer: the server of its file system may be gone\n";
    for (words, code, part) in [
        ("-d sv status", 4, "its file system does not answer"),
        ("-d sv -j", 0, "its file system does not answer"),
        ("-d sv status web", 0, "web — up"),
        ("-d sv check", 1, "x: its file system does not answer"),
        ("-d sv metrics", 0, "service_up{service=\"web\"} 1\n"),
        ("-d sv list --names", 0, "half\nweb\nx\n"),
    ] {
        let outcome = svctl(&scratch, words);
        assert!(outcome.code == code && outcome.stdout.contains(part), "{words}: {outcome:?}");
    }
    for (words, name) in
        [("-d sv stop web x", "x"), ("-d sv remove x", "x"), ("-d sv log half", "half"), ("-d remote", "remote")]
    {
        let outcome = svctl(&scratch, words);
        assert!(outcome.code == 111 && outcome.stderr.ends_with(&format!("{name} {hangs}")), "{words}: {outcome:?}");
    }
    // Nothing was done to the service that answers.
    web.up();
}

/// In a service, any file may be the link that leads to the mount. `timeout -s KILL 20` would exit 137.
#[test]
fn a_setting_a_program_or_a_log_that_does_not_answer_is_named_and_everything_else_is_shown() {
    if !is_root() || !std::fs::exists("/dev/fuse").is_ok_and(|there| there) {
        return skip("only root mounts, and only where there is FUSE");
    }
    let scratch = Scratch::new();
    ["remote", "sv"].iter().for_each(|name| scratch.dir(name));
    let names = ["check", "interp", "log", "run", "setting", "web"];
    let services = names.map(|name| Service::new(&scratch, &format!("sv/{name}"), "exec sleep 1000"));
    let _supervises = services.each_ref().map(Service::supervise);
    let _pids = services.each_ref().map(Service::up);
    let link = |to: &str, from: &str| symlink(scratch.path().join(to), scratch.path().join("sv").join(from)).unwrap();
    scratch.dir("sv/log/log");
    scratch.script("sv/log/log/run", "#!/bin/sh\nexec multilog ./main\n");
    link("remote/main", "log/log/main");
    link("remote/check", "check/check");
    link("remote/timeout", "setting/timeout-kill");
    for name in ["interp", "run"] {
        std::fs::remove_file(scratch.path().join(format!("sv/{name}/run"))).unwrap();
    }
    link("remote/run", "run/run");
    scratch.script("sv/interp/run", &format!("#!{}/remote/sh\n", scratch.path().display()));
    let begin = Instant::now();
    let check = svctl(&scratch, "-d sv check");
    let silent = |file: &str| format!("{file}: its file system does not answer: look at the server of its mount\n");
    for file in ["check/check", "interp/run", "run/run", "setting/timeout-kill"] {
        assert!(check.stdout.contains(&silent(file)), "{file}: {check:?}");
    }
    assert!(check.code == 1 && !check.stdout.contains("web/"), "{check:?}");
    let status = svctl(&scratch, "-d sv status");
    for name in names {
        assert!(status.stdout.contains(&format!("● {name} — up\n")), "{name}: {status:?}");
    }
    assert_eq!(status.code, 0, "{status:?}");
    let settings = "  settings    ignored or doubtful: timeout-kill: ";
    let log = format!("  log         {}/sv/log/log/main: its file system does not answer\n", scratch.path().display());
    assert!(status.stdout.contains(settings) && status.stdout.contains(&log), "{status:?}");
    let metrics = svctl(&scratch, "-d sv metrics --logs");
    assert!(metrics.code == 0 && metrics.stdout.contains("service_up{service=\"log\"} 1\n"), "{metrics:?}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

/// Runs programs in a mount namespace where the server of `remote` has answered until these are mounted, and then does not
/// answer `request`, or nothing. Returns those that do not end.
fn that_wait(scratch: &Scratch, tree: Tree, binds: &str, request: Option<Request>, programs: &[&str]) -> Vec<String> {
    let fuse = Fuse::serve(tree);
    let each: String = programs
        .iter()
        .map(|words| {
            format!("(timeout -s KILL 20 {words} >/dev/null 2>&1 </dev/null; [ $? != 137 ] || echo '{words}') &\n")
        })
        .collect();
    let mount = Fuse::MOUNT;
    let script = format!(
        "{mount} remote || exit\n{binds}\n: >mounted; while [ ! -e silent ]; do sleep 0.01; done\n{{\n{each}wait; }} >waited\n: >done"
    );
    let _shell =
        Daemon::start(scratch.command("unshare").args(["-m", "/bin/sh", "-c", &script]).stdin(fuse.device()), scratch);
    wait_until("all is mounted", || scratch.path().join("mounted").exists());
    match request {
        Some(request) => fuse.never_answer(request),
        None => fuse.fall_silent(),
    }
    scratch.file("silent", "");
    wait_until("all programs have ended", || scratch.path().join("done").exists());
    std::fs::read_to_string(scratch.path().join("waited")).unwrap().lines().map(String::from).collect()
}

/// Of a mount on `supervise/status` the directory `supervise` says nothing; and a server may answer for the directory, and
/// not for what is in it.
#[test]
fn no_reader_waits_for_a_file_of_supervise_that_does_not_answer() {
    if !is_root() || !std::fs::exists("/dev/fuse").is_ok_and(|there| there) {
        return skip("only root mounts, and only where there is FUSE");
    }
    let programs =
        ["svstat sv/web", "svstat -j sv/web", "svup sv/web", "svok sv/web", "svc -o sv/web", "svwait -T 1s up sv/web"];
    let svctl = ["svctl -d sv", "svctl -d sv status", "svctl -d sv metrics", "svctl -d sv check"];
    let programs = [&programs[..], &svctl[..]].concat();
    let file = |parent, name| (parent, name, Node::Program(String::new()));
    for name in ["status", "state", "ok", "control"] {
        let scratch = Scratch::new();
        ["remote", "sv"].iter().for_each(|name| scratch.dir(name));
        let web = Service::new(&scratch, "sv/web", "exec sleep 1000");
        let _supervise = web.supervise();
        web.up();
        wait_until("it is ready", || !web.state("ready").is_empty());
        let binds = format!("mount --bind remote/{name} sv/web/supervise/{name} || exit");
        assert_eq!(that_wait(&scratch, vec![file(None, name)], &binds, None, &programs), [""; 0], "{name}");
    }
    for name in ["status", "ok"] {
        let scratch = Scratch::new();
        ["remote", "sv/web/supervise"].iter().for_each(|name| scratch.dir(name));
        let _web = Service::new(&scratch, "sv/web", "exec sleep 1000");
        let tree = vec![(None, "supervise", Node::Directory), file(Some(0), name)];
        let binds = "mount --bind remote/supervise sv/web/supervise || exit";
        assert_eq!(that_wait(&scratch, tree, binds, Some((LOOKUP, name)), &programs), [""; 0], "{name}");
    }
}

/// The names of log files are found by listing.
#[test]
fn no_reader_waits_for_a_log_directory_that_does_not_answer() {
    if !is_root() || !std::fs::exists("/dev/fuse").is_ok_and(|there| there) {
        return skip("only root mounts, and only where there is FUSE");
    }
    let programs = [
        "svlog sv/web",
        "svlog sv/web/log/main",
        "svctl -d sv status",
        "svctl -d sv log web",
        "svctl -d sv metrics --logs",
    ];
    let tree = || {
        let current = || (Some(0), "current", Node::Program("line\n".into()));
        vec![(None, "main", Node::Directory), current(), (Some(0), "lock", Node::Program(String::new()))]
    };
    let directory = "mount --bind remote/main sv/web/log/main || exit";
    let current = "mount --bind remote/main/current sv/web/log/main/current || exit";
    for (binds, request) in [
        (directory, Some((READ_DIRECTORY, "main"))),
        (directory, Some((LOOKUP, "current"))),
        (current, Some((READ, "current"))),
        (current, None),
    ] {
        let scratch = Scratch::new();
        ["remote", "sv/web/log/main"].iter().for_each(|name| scratch.dir(name));
        let _web = Service::new(&scratch, "sv/web", "exec sleep 1000");
        scratch.script("sv/web/log/run", "#!/bin/sh\nexec multilog ./main\n");
        scratch.file("sv/web/log/main/current", "line\n");
        assert_eq!(that_wait(&scratch, tree(), binds, request, &programs), [""; 0], "{binds} {request:?}");
    }
}

/// One budget for all services, and for every program that is given paths.
#[test]
fn every_reader_of_services_passes_over_those_that_do_not_answer() {
    if !is_root() || !std::fs::exists("/dev/fuse").is_ok_and(|there| there) {
        return skip("only root mounts, and only where there is FUSE");
    }
    let scratch = Scratch::new();
    ["remote", "sv"].iter().for_each(|name| scratch.dir(name));
    let web = Service::new(&scratch, "sv/web", "exec sleep 1000");
    let down = Service::new(&scratch, "sv/down", "exec sleep 1000");
    let listens = Service::new(&scratch, "sv/listens", "exec sleep 1000");
    let _supervises = [web.supervise(), down.supervise()];
    web.up();
    down.up();
    wait_until("it is ready", || !web.state("ready").is_empty());
    symlink(scratch.path().join("remote/down"), down.path("down")).unwrap();
    scratch.dir("sv/listens/supervise");
    symlink(scratch.path().join("remote/ok"), listens.path("supervise/ok")).unwrap();
    let many: Vec<String> = (0..20).map(|number| format!("sv/x{number}")).collect();
    for name in &many {
        symlink(format!("../remote/{}", name.len()), scratch.path().join(name)).unwrap();
    }
    let many = many.join(" ");
    let silent = "its file system does not answer";
    for (words, code, part) in [
        ("svstat sv/down sv/x0 sv/web", 0, "sv/web: up (pid "),
        ("svstat -l sv/down sv/x0 sv/web", 0, "sv/web: up (pid "),
        ("svstat -j sv/down sv/x0 sv/web", 0, "\"up\":true"),
        ("svstat -L sv/x0 sv/web", 0, "sv/web: no log service\n"),
        ("svup sv/x0", 111, "svup: fatal: unable to chdir to sv/x0: timed out\n"),
        ("svok sv/x0", 111, "svok: fatal: unable to chdir to sv/x0: timed out\n"),
        ("svwait up sv/x0", 111, "svwait: fatal: unable to chdir to sv/x0: timed out\n"),
        ("svwait -T 1s up sv/listens", 99, "svwait: warning: sv/listens is not up: timed out"),
        ("svc -o sv/x0 sv/web", 0, "svc: warning: unable to chdir to sv/x0: timed out\n"),
        ("svc -W up -T 1s -u sv/x0 sv/web", 1, "svc: warning: unable to chdir to sv/x0: timed out\n"),
    ] {
        let begin = Instant::now();
        let outcome = program(&scratch, words);
        assert!(outcome.code == code && (outcome.stdout + &outcome.stderr).contains(part), "{words}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{words}: {:?}", begin.elapsed());
    }
    let begin = Instant::now();
    let all = program(&scratch, &format!("svstat {many} sv/down sv/web"));
    assert_eq!(all.stdout.matches(silent).count(), 21, "{all:?}");
    assert!(all.stdout.contains("sv/web: up (pid "), "{all:?}");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

/// The script `check` of sv may be a link to such a mount, or touch one: then not even KILL ends it.
#[test]
fn sv_waits_no_longer_than_it_is_told_for_a_check_that_does_not_answer() {
    if !is_root() || !std::fs::exists("/dev/fuse").is_ok_and(|there| there) {
        return skip("only root mounts, and only where there is FUSE");
    }
    let scratch = Scratch::new();
    ["remote", "compat"].iter().for_each(|name| scratch.dir(name));
    symlink(scratch.programs().join("svctl"), scratch.path().join("compat/sv")).unwrap();
    let services = ["link", "script"].map(|name| Service::new(&scratch, &format!("sv/{name}"), "exec sleep 1000"));
    let _supervises = services.each_ref().map(Service::supervise);
    let _pids = services.each_ref().map(Service::up);
    let remote = scratch.path().join("remote/check");
    symlink(&remote, services[0].path("check")).unwrap();
    // supervise asks it too, from the next start on.
    scratch.script("sv/script/check", &format!("#!/bin/sh\nexec cat {}\n", remote.display()));
    for (verb, name) in [("check", "link"), ("check", "script"), ("start", "link"), ("start", "script")] {
        let fuse = Fuse::serve(vec![(None, "check", Node::Program("5\n".into()))]);
        fuse.never_answer((REQUESTS[0].1, "check"));
        let words = format!("compat/sv -w 1 {verb} $PWD/sv/{name}");
        let script = format!("{} remote || exit; exec timeout -s KILL 20 {words} </dev/null", Fuse::MOUNT);
        let begin = Instant::now();
        let mut command = scratch.command("unshare");
        let outcome = scratch.outcome_of(command.args(["-m", "/bin/sh", "-c", &script]).stdin(fuse.device()));
        assert!(begin.elapsed() < Duration::from_secs(10), "{verb} {name}: {:?}", begin.elapsed());
        let is_told = outcome.stdout.starts_with("timeout: run: ") && outcome.stdout.lines().count() == 1;
        assert!(outcome.code == 1 && is_told, "{verb} {name}: {outcome:?}");
    }
}
