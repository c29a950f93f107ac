//! Processes of other accounts that keep every reader of their arguments and of their environment waiting, and accounts
//! that hold very many locks. None of our programs waits for them.

use crate::svscan::{SCANNED, service, svscan};
use nix::sys::signal::Signal;
use nix::unistd::chown;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};
use tests::{Daemon, Scratch, Service, Unanswering, has, is_alive, is_root, skip, wait_until};

/// Each process has the name of the programs for which an svscan looks that follows another one.
#[test]
fn no_svscan_waits_for_a_process_that_has_the_name_of_a_supervise() {
    for name in ["supervise", "svscan"] {
        let scratch = Scratch::new();
        let web = service(&scratch, "web", "exec sleep 1000");
        let first = svscan(&scratch);
        let pid = web.up();
        let Some(process) = Unanswering::start(&scratch, name) else { return };
        first.kill();
        let mut next = svscan(&scratch);
        service(&scratch, "late", "exec sleep 1000").up();
        next.signal(Signal::SIGUSR2);
        wait_until("it is executed anew", || next.errors().contains("executed"));
        service(&scratch, "later", "exec sleep 1000").up();
        assert_eq!(web.up(), pid);
        next.signal(Signal::SIGTERM);
        assert_eq!(next.wait(), 0);
        assert!(!is_alive(pid) && is_alive(process.pid()));
    }
}

#[test]
fn the_tree_of_a_service_is_killed_though_another_process_does_not_say_whether_it_is_of_the_tree() {
    let scratch = Scratch::new();
    let daemon = "(setsid sh -c 'echo $$ >>daemons; exec sleep 1000' </dev/null >/dev/null 2>&1 &)";
    let web = Service::new(&scratch, "web", &format!("{daemon}; echo >>starts; exec sleep 1000"));
    let web = web.file("kill-scope", "tree");
    let first = web.supervise();
    web.lines("starts", 1);
    let orphan: i32 = web.lines("daemons", 1)[0].parse().unwrap();
    // The next supervise is not above the orphan, and knows it by its environment only.
    first.kill();
    let mut next = web.supervise();
    web.up();
    let Some(process) = Unanswering::start(&scratch, "nobody") else { return };
    web.svc("-dx");
    assert_eq!(next.wait(), 0);
    assert!(!is_alive(orphan) && is_alive(process.pid()));
}

/// A file of a service directory is a link to what such a process says of itself.
#[test]
fn no_program_reads_what_another_process_says_of_itself_as_a_file_of_a_service() {
    let scratch = Scratch::new();
    let Some(process) = Unanswering::start(&scratch, "nobody") else { return };
    let environment = format!("/proc/{}/environ", process.pid());
    let link = |file: &str| {
        let path = scratch.path().join(SCANNED).join(file);
        let _ = fs::remove_file(&path);
        symlink(&environment, path).unwrap();
    };
    for name in ["web", "kill"] {
        service(&scratch, name, "exec sleep 1000");
    }
    let logged = service(&scratch, "logged", "exec sleep 1000");
    scratch.dir(format!("{SCANNED}/logged/log"));
    let logged = logged.script("log/run", "exec multilog t ./main");
    scratch.dir(format!("{SCANNED}/.svscan"));
    for file in ["web/after", "kill/timeout-kill", "kill/notify-socket", "kill/environment", ".svscan/on-remove"] {
        link(file);
    }
    let mut svscan = svscan(&scratch);
    for name in ["web", "kill", "logged"] {
        Service::at(&scratch, &format!("{SCANNED}/{name}")).up();
    }
    wait_until("there is a log", || logged.path("log/main/current").exists());
    service(&scratch, "late", "exec sleep 1000").up();
    for said in ["unable to read web/after: not a file", "unable to read .svscan/on-remove: not a file"] {
        assert!(svscan.errors().contains(said), "{}", svscan.errors());
    }
    link("logged/log/run");
    link("logged/timeout-kill");
    let clients = [
        "svlog scanned/logged",
        "svctl -d scanned metrics --logs",
        "svctl -d scanned log logged",
        "svctl -d scanned status logged",
        "svstat -l scanned/logged",
        "svctl -d scanned check",
    ];
    for client in clients.map(|client| client.replace("scanned", SCANNED)) {
        let outcome = scratch.shell(&format!("timeout 20 {client} >/dev/null; test $? != 124"));
        assert_eq!(outcome.code, 0, "{client} waits: {outcome:?}");
    }
    link("logged/run");
    let outcome = scratch.shell(&format!("timeout 20 svctl -d {SCANNED} check; test $? != 124"));
    assert_eq!(outcome.code, 0, "check waits: {outcome:?}");
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    assert!(is_alive(process.pid()));
}

/// The state names such a process. Any account may own `supervise/`, and put a link to a file of root's there.
#[test]
fn a_process_that_does_not_prove_to_be_the_services_is_not_waited_for() {
    let scratch = Scratch::new();
    let Some(process) = Unanswering::start(&scratch, "nobody") else { return };
    let pid = process.pid();
    let web = Service::new(&scratch, "web", "exec sleep 1000");
    scratch.dir("web/supervise");
    let mut supervise = web.supervise();
    web.up();
    wait_until("it is ready", || !web.state("ready").is_empty());
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let ticks = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap();
    let forged = web.says("supervise/state").lines().fold(String::new(), |forged, line| match line.split_once(' ') {
        Some(("pid", _)) => format!("{forged}pid {pid}\n"),
        Some(("pid-start", _)) => format!("{forged}pid-start {ticks}\n"),
        Some(("pid-serial", _)) => format!("{forged}pid-serial 0\n"),
        Some(_) | None => format!("{forged}{line}\n"),
    });
    web.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    fs::write(web.path("supervise/state"), forged).unwrap();
    chown(&web.path("supervise"), Some(65533.into()), None).unwrap();
    let outcome = scratch.shell("timeout 20 svlog web; test $? != 124");
    assert_eq!(outcome.code, 0, "svlog waits: {outcome:?}");
    let mut supervise = web.supervise();
    assert_ne!(web.up(), pid);
    assert!(supervise.errors().contains("is not proven to be the service's: not taken over"), "{}", supervise.errors());
    web.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    assert!(is_alive(pid));
}

/// The time that the kernel takes to tell all locks grows with the square of their number. The account owns a
/// `supervise/` whose lock svscan looks for.
#[test]
fn no_service_waits_until_the_kernel_has_told_the_many_locks_of_an_account() {
    if !has("python3") {
        return;
    }
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "web", "exec sleep 1000");
    for folder in ["locks", "web/supervise"] {
        scratch.dir(folder);
        chown(&scratch.path().join(folder), Some(65534.into()), None).unwrap();
    }
    let hold = "import fcntl, os, resource, struct\n\
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\nos.setuid(65534)\n\
        os.mkfifo('web/supervise/ok')\nok = os.open('web/supervise/ok', os.O_RDONLY | os.O_NONBLOCK)\n\
        lock = os.open('web/supervise/lock', os.O_RDWR | os.O_CREAT)\nfcntl.flock(lock, fcntl.LOCK_EX)\nfiles = []\n\
        for number in range(250):\n    \
            files.append(os.open('locks/%d' % number, os.O_RDWR | os.O_CREAT))\n    \
            for place in range(400):\n        \
                what = struct.pack('hhqqixxxx', fcntl.F_WRLCK, 0, (399 - place) * 2, 1, 0)\n        \
                fcntl.fcntl(files[-1], 37, what)\n\
        os.mkdir('locks/all')\nimport time\ntime.sleep(1000)";
    let _holder = Daemon::start(scratch.command("python3").args(["-c", hold]), &scratch);
    wait_until("all is locked", || scratch.path().join("locks/all").exists());
    let began = Instant::now();
    fs::create_dir_all(scratch.path().join(SCANNED)).unwrap();
    symlink("../web", scratch.path().join(SCANNED).join("web")).unwrap();
    let mut svscan = svscan(&scratch);
    for name in ["one", "two", "three"] {
        service(&scratch, name, "exec sleep 1000").up();
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0);
    assert!(web.path("supervise").metadata().unwrap().permissions().mode() & 0o022 == 0);
}
