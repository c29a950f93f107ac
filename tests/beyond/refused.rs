//! Programs that cannot be executed, and files that cannot be made. The program says so once, with the cause.

use crate::svscan::{SCANNED, service, svscan};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::symlink;
use tests::{Daemon, Outcome, Scratch, Service, fails, has, is_root, prints, skip, wait_until};

/// Waits until supervise has tried `run` `count` more times.
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
    // The reason changes, and then changes to another one of the same kind.
    for interpreter in ["/no/such", "/not/that"] {
        scratch.script("web/new", &format!("#!{interpreter}\n"));
        fs::rename(service.path("new"), service.path("run")).unwrap();
        said += &cannot_start("web/run", &format!("interpreter {interpreter} does not exist"));
        wait_until("that is said", || supervise.errors() == said);
        tried(&service, 3);
        assert_eq!(supervise.errors(), said);
    }
    // The program is repaired and broken again.
    scratch.script("web/new", "#!/bin/sh\necho >>up\nexec sleep 1000\n");
    fs::rename(service.path("new"), service.path("run")).unwrap();
    service.lines("up", 1);
    fs::remove_file(service.path("run")).unwrap();
    service.svc("-k");
    said += &cannot_start("web/run", "file does not exist");
    wait_until("it is said again", || supervise.errors() == said);
    tried(&service, 3);
    assert_eq!(supervise.errors(), said);
    // A user who starts the service gets the message again.
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

/// Root's PATH often has a directory that other accounts may not search.
#[test]
fn a_program_that_is_nowhere_is_not_found_though_a_part_of_path_is_closed() {
    if !is_root() {
        return skip("another account needs root");
    }
    let scratch = Scratch::new();
    scratch.script("closed/bin/tool", "#!/bin/sh\n");
    scratch.mode("closed", 0o700);
    let closed = format!("{}/closed/bin", scratch.path().display());
    let found = |line: &str| {
        let path = format!("{closed}:/usr/bin:/bin");
        let mut words = line.split(' ');
        let mut command = scratch.command(words.next().unwrap());
        scratch.outcome_of(command.args(words).env("PATH", path))
    };
    let denied = |name: &str, cause: &str| format!("unable to run {name}: access denied: {cause}\n");
    let nowhere = format!("not found in PATH, and {closed} may not be searched");
    assert_eq!(found("setuidgid nobody id -un"), prints("nobody\n"));
    for name in ["nosuch", "tool"] {
        let message = format!("setuidgid: fatal: {}", denied(name, &nowhere));
        assert_eq!(found(&format!("setuidgid nobody {name}")), fails(111, &message));
    }
    let file = format!("{closed}/tool");
    let message = format!("setuidgid: fatal: {}", denied(&file, "a directory above it may not be searched"));
    assert_eq!(found(&format!("setuidgid nobody {file}")), fails(111, &message));
    let message = format!("setuidgid: fatal: {}", denied("-s", "a program is expected here, not an option"));
    assert_eq!(found("setuidgid nobody -s id"), fails(111, &message));
    // The same words come from other programs that run one, as that account.
    scratch.dir("env");
    let message = format!("envdir: fatal: {}", denied("nosuch", &nowhere));
    let mut command = scratch.as_nobody("envdir");
    let path = format!("{closed}:/usr/bin:/bin");
    assert_eq!(scratch.outcome_of(command.args(["env", "nosuch"]).env("PATH", path)), fails(111, &message));
}

/// FAT is such a file system.
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

/// Services may lie on a read-only disk, if `supervise/` lies elsewhere.
#[test]
fn a_read_only_file_system_is_told_the_cure() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let _service = Service::new(&scratch, "web", "exec sleep 1000");
    let mut command = scratch.command("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=mkdir,mkdirat", "-e", "inject=mkdir,mkdirat:error=EROFS"]);
    let Outcome { code, stderr, .. } = scratch.outcome_of(command.arg(scratch.programs().join("supervise")).arg("web"));
    let words =
        "unable to create directory web/supervise: read-only file system: let SUPERVISEDIR name a place elsewhere";
    assert_eq!((code, stderr), (111, format!("supervise: fatal: {words}\n")));
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

/// The service is started, although supervise cannot give it the means of notification.
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

/// The kernel starts process 1 this way if there is no console either: without open descriptors.
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

/// Where many services write to one standard error, the name `log` would not say which logger it is.
#[test]
fn a_logger_is_named_by_its_service() {
    let scratch = Scratch::new();
    scratch.file("etc/clock/log/run", "#!/bin/sh\nexec cat >/dev/null\n");
    let _clock = Service::new(&scratch, "etc/clock", "exec sleep 1000");
    scratch.dir(SCANNED);
    // svscan calls the logger by the name of its entry, whatever the directory is called.
    symlink("../etc/clock", scratch.path().join(SCANNED).join("time")).unwrap();
    let reason = "access denied: it is not executable (chmod +x)";
    let mut svscan = svscan(&scratch);
    wait_until("svscan's is named", || svscan.errors() == cannot_start("time/log/run", reason));
    svscan.signal(Signal::SIGTERM);
    svscan.wait();
    // supervise is started by hand, and every message names the directory.
    let mut by_hand = scratch.command("supervise");
    let by_hand = Daemon::start(by_hand.arg("log").current_dir(scratch.path().join("etc/clock")), &scratch);
    wait_until("that one too", || by_hand.errors() == cannot_start("clock/log/run", reason));
    let second = scratch.shell("cd etc/clock && supervise log");
    let words = "supervise: fatal: unable to acquire clock/log/supervise/lock: \
                 temporary failure: another supervise has it\n";
    assert_eq!(second, fails(111, words));
    assert_eq!(by_hand.errors(), cannot_start("clock/log/run", reason));
}
