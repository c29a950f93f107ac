//! Programs that cannot be executed, and files that cannot be made: said once, with the cause.

use crate::svscan::{SCANNED, service, svscan};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::symlink;
use tests::{Daemon, Outcome, Scratch, Service, fails, has, is_root, skip, wait_until};

/// Waits until `run` was tried `count` times more.
fn tried(service: &Service, count: usize) {
    let starts = || service.state("starts").first().and_then(|starts| starts.parse().ok()).unwrap_or(0);
    let before: usize = starts();
    wait_until("it was tried", || starts() >= before + count);
}

fn cannot_start(name: &str, reason: &str) -> String {
    format!("supervise: fatal: unable to start {name}: {reason}\n")
}

#[test]
fn a_program_that_cannot_be_executed_is_said_once_and_again_when_that_changes() {
    let scratch = Scratch::new();
    scratch.dir("web");
    scratch.file("web/restart-delay", "10");
    let service = Service::at(&scratch, "web");
    let supervise = service.supervise();
    let mut said = cannot_start("web/run", "file does not exist");
    tried(&service, 3);
    assert_eq!(supervise.errors(), said);
    // Another reason, and then another one of the same kind.
    for interpreter in ["/no/such", "/not/that"] {
        scratch.script("web/new", &format!("#!{interpreter}\n"));
        fs::rename(service.path("new"), service.path("run")).unwrap();
        said += &cannot_start("web/run", &format!("interpreter {interpreter} does not exist"));
        wait_until("that is said", || supervise.errors() == said);
        tried(&service, 3);
        assert_eq!(supervise.errors(), said);
    }
    // Mended and broken again.
    scratch.script("web/new", "#!/bin/sh\necho >>up\nexec sleep 1000\n");
    fs::rename(service.path("new"), service.path("run")).unwrap();
    service.lines("up", 1);
    fs::remove_file(service.path("run")).unwrap();
    service.svc("-k");
    said += &cannot_start("web/run", "file does not exist");
    wait_until("it is said again", || supervise.errors() == said);
    tried(&service, 3);
    assert_eq!(supervise.errors(), said);
    // Whoever starts it is told.
    service.svc("-u");
    said += &cannot_start("web/run", "file does not exist");
    wait_until("it is said again", || supervise.errors() == said);
}

#[test]
fn each_program_of_a_service_is_said_for_itself() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exit 1").file("restart-delay", "10").file("finish", "no interpreter");
    scratch.mode("web/finish", 0o755);
    scratch.script("web/log", "#!/no/such\n");
    let supervise = service.supervise();
    wait_until("both are tried", || service.state("log-starts") != ["0"]);
    tried(&service, 5);
    let log = cannot_start("web/log", "interpreter /no/such does not exist");
    let finish = cannot_start("web/finish", "exec format error: it does not begin with #! and is no program");
    let mut said: Vec<String> = supervise.errors().split_inclusive('\n').map(str::to_string).collect();
    said.sort();
    assert_eq!(said, [finish, log]);
}

#[test]
fn a_script_beside_the_service_is_told_from_its_interpreter() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    scratch.script("web/check", "#!/no/such\n");
    let supervise = service.supervise();
    let check = "supervise: fatal: unable to start ./check: interpreter /no/such does not exist\n";
    wait_until("it is said of check", || supervise.errors().contains(check));
    scratch.dir(SCANNED);
    scratch.script(format!("{SCANNED}/.svscan/SIGHUP"), "#!/no/such\n");
    scratch.script(format!("{SCANNED}/.svscan/finish"), "#!/no/such\n");
    let mut svscan = svscan(&scratch);
    service_runs(&scratch);
    svscan.signal(Signal::SIGHUP);
    let words =
        |script| format!("svscan: warning: unable to start .svscan/{script}: interpreter /no/such does not exist\n");
    wait_until("it is said of the script", || svscan.errors().contains(&words("SIGHUP")));
    svscan.signal(Signal::SIGTERM);
    svscan.wait();
    assert!(svscan.errors().ends_with(&words("finish")), "{}", svscan.errors());
}

fn service_runs(scratch: &Scratch) {
    service(scratch, "a", "exec sleep 1000").up();
}

#[test]
fn a_program_in_path_is_told_from_its_interpreter() {
    let scratch = Scratch::new();
    scratch.script("bin/tool", "#!/no/such\n");
    scratch.file("plain", "");
    scratch.script("denied", &format!("#!{}/plain\n", scratch.path().display()));
    let path = format!("{}/bin:/usr/bin", scratch.path().display());
    let outcome = scratch.outcome_of(scratch.command("pgrphack").arg("tool").env("PATH", path));
    assert_eq!(outcome, fails(111, "pgrphack: fatal: unable to run tool: interpreter /no/such does not exist\n"));
    let words = format!("interpreter {}/plain: access denied", scratch.path().display());
    assert_eq!(
        scratch.run("pgrphack ./denied"),
        fails(111, &format!("pgrphack: fatal: unable to run ./denied: {words}\n"))
    );
}

/// As on FAT.
#[test]
fn a_file_system_without_fifos_is_blamed() {
    if !has("strace") {
        return;
    }
    for (file, number) in [("control", 1), ("ok", 2)] {
        let scratch = Scratch::new();
        let _service = Service::new(&scratch, "web", "exec sleep 1000");
        let inject = format!("inject=mknod,mknodat:error=EPERM:when={number}");
        let mut command = scratch.command("strace");
        command.args(["-qq", "-o", "/dev/null", "-e", "trace=mknod,mknodat", "-e", &inject]);
        let Outcome { code, stderr, .. } =
            scratch.outcome_of(command.arg(scratch.programs().join("supervise")).arg("web"));
        let words = format!("supervise: fatal: unable to create FIFO web/supervise/{file}: permission denied\n");
        assert_eq!((code, stderr), (111, words));
    }
}

#[test]
fn a_supervise_directory_that_cannot_be_made_is_named() {
    let scratch = Scratch::new();
    for name in ["web", "log"] {
        scratch.script(format!("{name}/run"), "#!/bin/sh\nexec sleep 1000\n");
    }
    symlink("/no/such/place", scratch.path().join("web/supervise")).unwrap();
    let words = "supervise: fatal: unable to create directory /no/such/place: file does not exist: \
                 its parent directory does not exist\n";
    assert_eq!(scratch.run("supervise web"), fails(111, words));
    scratch.file("file", "");
    let outcome =
        scratch.outcome_of(scratch.command("supervise").arg("log").env("SUPERVISEDIR", scratch.path().join("file/x")));
    let place = format!("{}/file/x/{}", scratch.path().display(), flat(&scratch, "log"));
    assert_eq!(
        outcome,
        fails(111, &format!("supervise: fatal: unable to create directory {place}: not a directory\n"))
    );
}

fn flat(scratch: &Scratch, name: &str) -> String {
    let path = fs::canonicalize(scratch.path()).unwrap().join(name);
    path.to_str().unwrap().trim_start_matches('/').replace('/', ":")
}

/// It runs, though what it is to be ready by cannot be had.
#[test]
fn without_dev_null_a_service_is_started_all_the_same() {
    if !is_root() {
        return skip("only root makes mount namespaces");
    }
    if !has("unshare") {
        return;
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo >>starts; exec sleep 1000").file("notification-fd", "3");
    scratch.dir("web/supervise/notification");
    let mut command = scratch.command("unshare");
    let script = "mount -t tmpfs none /dev && exec supervise web";
    let supervise = Daemon::start(command.args(["--mount", "--propagation", "private", "sh", "-c", script]), &scratch);
    service.lines("starts", 1);
    assert!(!supervise.errors().contains("unable to start"), "{}", supervise.errors());
}

/// As the kernel starts it where there is no console either: as process 1, with nothing open.
#[test]
fn as_the_first_process_svscan_does_without_dev_null() {
    if !is_root() {
        return skip("only root makes namespaces");
    }
    if !has("unshare") {
        return;
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "echo >>started; exec sleep 1000");
    scratch.script(format!("{SCANNED}/a/log/run"), "#!/bin/sh\nexec cat >>lines\n");
    let mut command = scratch.command("unshare");
    command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "sh", "-c"]);
    let script = format!("mount -t tmpfs none /dev && exec svscan {SCANNED} <&- >&- 2>&-");
    let svscan = Daemon::start(command.arg(script), &scratch);
    a.lines("started", 1);
    a.svc("-t");
    a.lines("started", 2);
    let [first] = tests::children_of(svscan.pid())[..] else { panic!("svscan is no process") };
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(first), Signal::SIGTERM).expect("tell it to stop");
    let mut svscan = svscan;
    assert_eq!(svscan.wait(), 0);
}

/// Where many write their errors to one place, `log` names none of them.
#[test]
fn a_logger_is_named_by_its_service() {
    let scratch = Scratch::new();
    scratch.file("etc/clock/log/run", "#!/bin/sh\nexec cat >/dev/null\n");
    let _clock = Service::new(&scratch, "etc/clock", "exec sleep 1000");
    scratch.dir(SCANNED);
    // As svscan calls it, whatever its directory is called.
    symlink("../etc/clock", scratch.path().join(SCANNED).join("time")).unwrap();
    let reason = "access denied: it is not executable (chmod +x)";
    let mut svscan = svscan(&scratch);
    wait_until("svscan's is named", || svscan.errors() == cannot_start("time/log/run", reason));
    svscan.signal(Signal::SIGTERM);
    svscan.wait();
    // By hand, and of all that it says.
    let mut by_hand = scratch.command("supervise");
    let by_hand = Daemon::start(by_hand.arg("log").current_dir(scratch.path().join("etc/clock")), &scratch);
    wait_until("that one too", || by_hand.errors() == cannot_start("clock/log/run", reason));
    let second = scratch.shell("cd etc/clock && supervise log");
    let words = "supervise: fatal: unable to acquire clock/log/supervise/lock: \
                 temporary failure: another supervise has it\n";
    assert_eq!(second, fails(111, words));
    assert_eq!(by_hand.errors(), cannot_start("clock/log/run", reason));
}
