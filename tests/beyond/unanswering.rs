//! Processes of other accounts that keep every reader of their arguments and of their environment waiting, and accounts
//! that hold very many locks. None of our programs waits for them.

use crate::svscan::{SCANNED, service, supervise_of, svscan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, chown};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};
use tests::{
    Daemon, Scratch, Service, Unanswering, executing_for_ever, has, is_alive, is_executing_for_ever, is_root,
    let_them_execute, skip, wait_until,
};

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

/// A service, a logger, and what a service has left in the background, each execute a program for ever. The kernel tells their
/// readers next to nothing meanwhile.
#[test]
fn no_program_waits_for_a_process_that_executes_a_program_for_ever() {
    let scratch = Scratch::new();
    let Some(program) = executing_for_ever(&scratch, "mount.web") else { return };
    let another = |name: &str| executing_for_ever(&scratch, &format!("mount.{name}")).expect("another");
    let web = service(&scratch, "web", &program).file("notify-socket", "");
    scratch.dir(format!("{SCANNED}/web/log"));
    let web = web.script("log/run", "exec multilog t ./main");
    let logged = service(&scratch, "logged", "exec sleep 1000");
    scratch.dir(format!("{SCANNED}/logged/log"));
    logged.script("log/run", &another("log"));
    let own = service(&scratch, "own", &another("own")).script("log", "exec multilog t ./main");
    let daemon = service(&scratch, "daemon", &format!("({}) & exit 0", another("daemon"))).file("expect", "daemon");
    let other = service(&scratch, "other", "exec sleep 1000");
    let mut svscan = svscan(&scratch);
    let log = Service::at(&scratch, &format!("{SCANNED}/logged/log"));
    let stay = [&web, &log, &own, &daemon];
    let is_there = |service: &Service| service.is_supervised() && is_executing_for_ever(&scratch, service.status().pid);
    for service in stay {
        wait_until("it executes a program for ever", || is_there(service));
    }
    let pids = stay.map(|service| service.status().pid);
    // Supervises that were killed are followed by others, which take over what they have left.
    for service in stay {
        let supervise = supervise_of(service);
        kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill supervise");
        wait_until("there is another", || service.is_supervised() && supervise_of(service) != supervise);
    }
    for (service, pid) in stay.into_iter().zip(pids) {
        wait_until("it is taken over", || service.status().pid == pid);
    }
    let said = scratch.path().join("said");
    for words in [
        "svctl list",
        "svctl -j list",
        "svctl status '*'",
        "svctl check",
        "svctl metrics --processes --logs",
        "svstat service/*",
        "svlog -n 5 service/web",
        "svlog -n 5 service/logged",
        "svctl log -n 5 '*'",
    ] {
        let asked = format!("timeout -s KILL 25 sh -c \"SVDIR=$PWD/{SCANNED} {words}\" >{} 2>&1", said.display());
        let outcome = scratch.shell(&format!("{asked}; test $? != 137"));
        let text = fs::read_to_string(&said).unwrap_or_default();
        assert_eq!(outcome.code, 0, "{words} waits: {text}");
    }
    // What is not kept back is told.
    let metrics = scratch.shell(&format!("SVDIR=$PWD/{SCANNED} svctl metrics --processes")).stdout;
    assert!(metrics.contains("daemontools_service_memory_bytes{service=\"web\"}"), "{metrics}");
    let_them_execute(&scratch);
    for service in [&web, &own, &daemon] {
        service.svc("-d");
        wait_until("it is down", || service.status().pid == 0);
    }
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert!(!other.is_supervised() && pids.iter().all(|pid| !is_alive(*pid)));
}
