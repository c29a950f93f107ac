//! The owner of a service directory, or of the scan directory, can replace each of the files that svscan looks at by
//! something else. Nothing there stops svscan or the other services.

use crate::svscan::{SCANNED, service, supervise_of, svscan};
use crate::svscan_stop::has_taken_in_term;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tests::{Daemon, Running, Scratch, Service, children_of, has, is_alive, is_root, processes_in, skip, wait_until};

type Make = fn(&Path);

/// What a file may be replaced by.
const KINDS: [(&str, Make); 8] = [
    ("fifo", |path| tests::fifo(path).expect("make a FIFO")),
    ("socket", |path| drop(UnixListener::bind(path).expect("make a socket"))),
    ("device", |path| symlink("/dev/zero", path).expect("make a link")),
    ("dangling", |path| symlink("nowhere", path).expect("make a link")),
    ("circle", |path| symlink(path, path).expect("make a link")),
    ("directory", |path| fs::create_dir(path).expect("make a directory")),
    ("huge", |path| File::create(path).and_then(|file| file.set_len(1 << 30)).expect("make a file")),
    ("unreadable", |path| {
        fs::write(path, "1\n").expect("make a file");
        fs::set_permissions(path, Permissions::from_mode(0o0)).expect("set its mode");
    }),
];

/// Checks that a service like `web` starts, is restarted and stops, and so does one that is added, while the hostile
/// service is served too.
fn others_are_served(scratch: &Scratch, what: &str) {
    let web = service(scratch, "web", "exec sleep 1000");
    let mut svscan = svscan(scratch);
    let pid = web.up();
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill it");
    web.another(pid);
    // svscan now examines what the killed supervises have left.
    for supervise in children_of(svscan.pid()) {
        let _ = kill(Pid::from_raw(supervise), Signal::SIGKILL);
    }
    service(scratch, "late", "exec sleep 1000").up();
    // svscan looks at this service after it has handled everything that was killed.
    svscan.signal(Signal::SIGHUP);
    service(scratch, "later", "exec sleep 1000").up();
    fs::remove_dir_all(Service::at(scratch, &format!("{SCANNED}/late")).path("")).expect("remove one");
    service(scratch, "latest", "exec sleep 1000").up();
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{what}: {}", svscan.errors());
    let left: Vec<i32> = processes_in(&scratch.path().join(SCANNED));
    // Processes of the removed service may be left. svscan knows nothing of it any more.
    assert!(left.iter().all(|pid| !is_alive(*pid) || is_of_removed(*pid)), "{what}: {left:?}");
}

fn is_of_removed(pid: i32) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|path| path.to_string_lossy().contains("late"))
}

#[test]
fn no_file_of_a_service_keeps_others_from_being_served() {
    let files = [
        "after",
        "timeout-kill",
        "essential",
        "down",
        "log",
        "run",
        "supervise",
        "supervise/state",
        "supervise/status",
        "supervise/orphan",
        "supervise/orphan.new",
        "supervise/control",
        "supervise/ok",
        "supervise/lock",
    ];
    for file in files {
        let scratch = Scratch::new();
        for (kind, make) in KINDS {
            let service = service(&scratch, kind, "exec sleep 1000");
            if file.contains('/') {
                scratch.dir(format!("{SCANNED}/{kind}/supervise"));
            }
            let _ = fs::remove_file(service.path(file));
            make(&service.path(file));
        }
        others_are_served(&scratch, file);
    }
}

#[test]
fn no_file_of_the_scan_directory_keeps_services_from_being_served() {
    let files = ["on-remove", "starts-at-a-time", "forward", "finish", "crash", "SIGHUP", "SIGTERM", "lock"];
    for (kind, make) in KINDS {
        let scratch = Scratch::new();
        scratch.dir(format!("{SCANNED}/.svscan"));
        for file in files {
            make(&scratch.path().join(SCANNED).join(".svscan").join(file));
        }
        others_are_served(&scratch, kind);
        let scratch = Scratch::new();
        scratch.dir(SCANNED);
        make(&scratch.path().join(SCANNED).join(".svscan"));
        others_are_served(&scratch, kind);
    }
}

/// An administrator removes the files, or a service that may do so.
#[test]
fn what_supervise_keeps_may_be_removed_and_nothing_is_forgotten() {
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "echo $$ >>starts; exec sleep 1000").script("log/run", "exec cat >>lines");
    let mut svscan = svscan(&scratch);
    let pid = a.up();
    assert_eq!(a.lines("starts", 1), [pid.to_string()]);
    let remove = || {
        for directory in ["supervise", "log/supervise"] {
            // Files that supervise writes meanwhile can make the removal fail.
            let path = a.path(directory);
            wait_until("it is removed", || fs::remove_dir_all(&path).is_ok() || !path.exists());
        }
    };
    let started = |count| a.lines("starts", count).last().and_then(|line| line.parse::<i32>().ok()).expect("a number");
    remove();
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill the service");
    let pid = started(2);
    remove();
    let before = children_of(svscan.pid());
    before.iter().for_each(|supervise| kill(Pid::from_raw(*supervise), Signal::SIGKILL).expect("kill a supervise"));
    wait_until("there are others", || {
        let now = children_of(svscan.pid());
        now.iter().filter(|child| !before.contains(child) && **child != pid).count() >= 2
    });
    remove();
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert_eq!(a.lines("starts", 2).len(), 2, "no second copy");
    assert_eq!(processes_in(&scratch.path().join(SCANNED)), []);
}

const NOBODY: u32 = 65534;

/// Makes a `supervise/` that belongs to another account. That account writes its state and reads its `ok`.
fn forge(service: &Service, directory: &str, state: &str) -> File {
    fs::create_dir_all(service.path(directory)).expect("make supervise");
    fs::write(service.path(directory).join("state"), state).expect("write a state");
    tests::fifo(&service.path(directory).join("ok")).expect("make ok");
    for file in ["", "state", "ok"] {
        chown(service.path(directory).join(file), Some(NOBODY), Some(NOBODY)).expect("give it away");
    }
    let read = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(service.path(directory).join("ok"));
    read.expect("read ok")
}

fn ticks(pid: i32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("its stat");
    let (_, fields) = stat.rsplit_once(") ").expect("its name");
    fields.split(' ').nth(19).expect("its start").to_string()
}

#[test]
fn a_process_that_another_account_names_is_neither_waited_for_nor_commanded() {
    if !is_root() {
        return skip("only root gives files away");
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "exec sleep 1000");
    // This process has the working directory that a supervise would have.
    let victim = scratch.command("sleep").arg("1000").current_dir(a.path("")).spawn().map(Running).expect("start it");
    let pid = victim.0.id() as i32;
    let _read = forge(&a, "supervise", &format!("supervise {pid} {} 0\n", ticks(pid)));
    let mut svscan = svscan(&scratch);
    service(&scratch, "late", "exec sleep 1000").up();
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert!(is_alive(pid));
}

#[test]
fn the_pipe_of_a_process_that_another_account_names_is_not_taken() {
    if !is_root() {
        return skip("only root gives files away");
    }
    let scratch = Scratch::new();
    let a = service(&scratch, "a", "echo for the logger; exec sleep 1000").script("log/run", "exec cat >>lines");
    let mut victim = scratch.command("sh");
    let victim = victim.args(["-c", "exec cat >got"]).stdin(Stdio::piped()).spawn().map(Running).expect("start it");
    let pid = victim.0.id() as i32;
    let state = format!("want up\nphase running\npid {pid}\npid-start {}\nrole run\n", ticks(pid));
    let _read = forge(&a, "log/supervise", &state);
    let _svscan = svscan(&scratch);
    assert_eq!(a.lines("log/lines", 1), ["for the logger"]);
    assert_eq!(fs::read_to_string(scratch.path().join("got")).unwrap_or_default(), "");
    assert!(supervise_of(&a) > 0);
}

/// What a supervise knew is in svscan's memory, and in that of the next svscan.
#[test]
fn a_service_is_kept_though_its_supervise_is_killed_and_all_that_it_wrote_is_gone() {
    for change in ["none", "upgraded", "killed"] {
        let scratch = Scratch::new();
        let a = service(&scratch, "a", "echo $$ >>starts; exec sleep 1000");
        let mut svscan = crate::svscan::svscan(&scratch);
        let pid = a.up();
        assert_eq!(a.lines("starts", 1), [pid.to_string()], "{change}");
        match change {
            "upgraded" => {
                svscan.signal(Signal::SIGUSR2);
                let environment = || tests::environment(svscan.pid());
                let is_new = |variable: &String| variable.starts_with("SVSCAN_");
                wait_until("it is executed anew", || environment().iter().any(is_new));
            }
            "killed" => {
                svscan.kill();
                svscan = crate::svscan::svscan(&scratch);
            }
            _ => {}
        }
        // By then svscan has found the running processes.
        service(&scratch, "late", "exec sleep 1000").up();
        let supervise = Pid::from_raw(supervise_of(&a));
        kill(supervise, Signal::SIGSTOP).expect("stop its supervise");
        fs::remove_dir_all(a.path("supervise")).expect("remove supervise");
        kill(supervise, Signal::SIGKILL).expect("kill its supervise");
        assert_eq!(a.up(), pid, "{change}");
        svscan.signal(Signal::SIGTERM);
        assert_eq!(svscan.wait(), 0, "{change}: {}", svscan.errors());
        assert_eq!(a.says("starts").lines().count(), 1, "{change}");
        assert_eq!(processes_in(&scratch.path().join(SCANNED)), [], "{change}");
    }
}

/// The owner of `supervise/` ends the supervise and poses as the next one: he locks `lock`, reads `ok`, and works in
/// the directory. svscan does not believe him, whatever his environment contains, and does not wait for him.
#[test]
fn no_process_of_another_account_is_taken_for_a_supervise() {
    if !is_root() || !tests::has("setpriv") || !tests::has("flock") {
        return skip("needs root, to act as another account");
    }
    let scratch = Scratch::new();
    let web = service(&scratch, "web", "exec sleep 1000");
    let place = web.path("supervise");
    fs::create_dir(&place).expect("make its directory");
    tests::fifo(&place.join("ok")).expect("make a FIFO");
    for path in [place.clone(), place.join("ok")] {
        chown(&path, Some(NOBODY), None).expect("give it away");
    }
    let mut svscan = svscan(&scratch);
    web.up();
    // svscan is stopped, so that it starts no other supervise before he poses; and the old supervise must not make its
    // lock again.
    svscan.signal(Signal::SIGSTOP);
    web.svc("-dx");
    wait_until("its supervise has ended", || !web.is_supervised());
    let pose = "rm -f supervise/lock; exec 8<>supervise/ok; exec flock supervise/lock sleep 1000";
    let mut poser = scratch.command("setpriv");
    poser.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", pose]);
    // He pretends to have a page of svscan's ledger.
    poser.current_dir(web.path("")).env("SVSCAN_LEDGER", "8 0");
    let poser = Running(poser.stderr(Stdio::null()).spawn().expect("start the poser"));
    wait_until("he poses", || fs::symlink_metadata(place.join("lock")).is_ok_and(|lock| lock.uid() == NOBODY));
    svscan.signal(Signal::SIGCONT);
    let late = service(&scratch, "late", "exec sleep 1000");
    late.up();
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert!(is_alive(i32::try_from(poser.0.id()).expect("a pid")), "svscan killed a process that is not its own");
}

/// The files by which the next svscan would find the supervise are removed, and svscan is killed. The supervise itself
/// still runs.
#[test]
fn a_supervise_whose_files_are_gone_is_found_by_the_next_svscan() {
    for harm in
        ["rm -r supervise", "rm supervise/*", "rm supervise/ok", "rm supervise/ok supervise/lock", "mv supervise old"]
    {
        let scratch = Scratch::new();
        let web = service(&scratch, "web", "echo $$ >>starts; exec sleep 1000");
        let first = svscan(&scratch);
        let pid = web.up();
        // Everything has been written by now.
        wait_until("it is ready", || !web.state("ready").is_empty());
        scratch.shell(&format!("cd {SCANNED}/web; rm -r supervise/event; {harm}"));
        first.kill();
        let mut next = svscan(&scratch);
        wait_until("it is reached again", || web.is_supervised());
        assert_eq!((web.up(), web.alive("starts")), (pid, vec![pid]), "{harm}");
        wait_until("it listens", || has_taken_in_term(next.pid()));
        next.signal(Signal::SIGTERM);
        assert_eq!(next.wait(), 0, "{harm}: {}", next.errors());
        assert_eq!(web.alive("starts"), [0; 0], "{harm}");
    }
}

/// The owner of `supervise/` holds the lock. The process that a killed supervise has left is ended all the same.
#[test]
fn a_lock_that_another_keeps_holds_up_no_stop() {
    if !tests::has("flock") {
        return skip("flock(1) is not installed");
    }
    let scratch = Scratch::new();
    let web = service(&scratch, "web", "exec sleep 1000");
    let mut svscan = svscan(&scratch);
    let pid = web.up();
    wait_until("it is ready", || !web.state("ready").is_empty());
    let supervise = supervise_of(&web);
    let mut flock = scratch.command("flock");
    let _waits = Running(flock.arg(web.path("supervise/lock")).args(["sleep", "1000"]).spawn().expect("start flock"));
    let waits = |line: &str| line.contains("->") && line.contains("FLOCK");
    wait_until("it waits for the lock", || fs::read_to_string("/proc/locks").unwrap_or_default().lines().any(waits));
    kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill supervise");
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert!(!is_alive(pid));
}

/// A logger that has lines to read was stopped by a signal. It is continued and reads them.
#[test]
fn a_logger_that_was_stopped_holds_up_no_stop_and_loses_nothing() {
    let scratch = Scratch::new();
    let web = service(&scratch, "web", "trap 'echo last; exit' TERM; echo up; while :; do sleep 0.05; done")
        .script("log/run", "exec multilog ./main");
    let log = Service::at(&scratch, &format!("{SCANNED}/web/log"));
    let mut svscan = svscan(&scratch);
    web.up();
    let logger = log.up();
    wait_until("it has logged", || log.says("main/current") == "up\n");
    kill(Pid::from_raw(logger), Signal::SIGSTOP).expect("stop it");
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert_eq!(log.says("main/current"), "up\nlast\n");
}

/// A process of another account holds the lock, because its owner or an administrator has changed its mode with
/// `chmod`.
#[test]
fn a_lock_that_another_account_may_have_keeps_no_svscan_from_its_directory() {
    if !is_root() || !has("setpriv") || !has("flock") {
        return skip("needs root, to act as another account");
    }
    for (owner, mode) in [(0, 0o644), (NOBODY, 0o600), (NOBODY, 0o666)] {
        let scratch = Scratch::new();
        let web = service(&scratch, "web", "exec sleep 1000");
        let path = scratch.path().join(SCANNED).join(".svscan/lock");
        scratch.file(&path, "");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set its mode");
        chown(&path, Some(owner), None).expect("give it away");
        let mut stranger = scratch.command("setpriv");
        stranger.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "flock"]).arg(&path);
        let _stranger = Running(stranger.args(["sleep", "1000"]).spawn().expect("start flock"));
        wait_until("it is locked", || {
            Flock::lock(File::open(&path).expect("open it"), FlockArg::LockExclusiveNonblock).is_err()
        });
        let first = svscan(&scratch);
        web.up();
        let said = "svscan: warning: .svscan/lock can be locked by other accounts: replacing it\n";
        assert_eq!(first.errors(), said, "{mode:o}");
        let lock = fs::metadata(&path).expect("the lock");
        assert_eq!((lock.uid(), lock.mode() & 0o777), (0, 0o600), "{mode:o}");
        let second = svscan(&scratch);
        wait_until("it waits for the first", || second.errors().contains("waiting for its end"));
    }
}

/// A lock that a svscan holds keeps the next svscan out, whichever accounts may open it by now.
#[test]
fn a_lock_of_an_svscan_that_was_opened_to_others_is_waited_for() {
    let scratch = Scratch::new();
    let web = service(&scratch, "web", "exec sleep 1000");
    let first = svscan(&scratch);
    let pid = web.up();
    scratch.mode(format!("{SCANNED}/.svscan/lock"), 0o644);
    let mut second = svscan(&scratch);
    wait_until("it waits for the first", || second.errors().contains("waiting for its end"));
    first.kill();
    service(&scratch, "late", "exec sleep 1000").up();
    second.signal(Signal::SIGTERM);
    assert_eq!((second.wait(), is_alive(pid)), (0, false), "{}", second.errors());
}

/// The owner of one `supervise/` changes its files as fast as he can.
#[test]
fn an_owner_that_changes_files_without_end_holds_no_other_service_up() {
    const SOON: Duration = Duration::from_secs(5);
    const CHANGES: &str = r#"open F, ">", $$; for (;;) { rename $$, "$$-"; rename "$$-", $$ }"#;
    if !has("perl") {
        return;
    }
    let scratch = Scratch::new();
    let essential = service(&scratch, "essential", "exec sleep 1000").file("essential", "");
    let mut svscan = svscan(&scratch);
    essential.up();
    wait_until("it is ready", || !essential.state("ready").is_empty());
    let mut perl = scratch.command("perl");
    perl.args(["-e", CHANGES]).current_dir(essential.path("supervise"));
    let _changing: Vec<Running> = (0..4).map(|_| Running(perl.spawn().expect("start perl"))).collect();
    let changes = || fs::read_dir(essential.path("supervise")).expect("read it").count();
    wait_until("they change files", || changes() >= 4 + 6);
    for number in 0..3 {
        let begin = Instant::now();
        service(&scratch, &format!("new{number}"), "exec sleep 1000").up();
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    }
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
}

/// The owner of `.svscan` makes `lock` a second name of the lock that another svscan holds.
#[test]
fn the_lock_of_another_directory_is_not_waited_for() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    let scratch = Scratch::new();
    let web = service(&scratch, "web", "exec sleep 1000");
    let path = scratch.path().join(SCANNED).join(".svscan/lock");
    scratch.file(&path, "");
    fs::remove_file(&path).expect("remove it");
    chown(path.parent().expect("its directory"), Some(NOBODY), None).expect("give it away");
    scratch.file("other", "");
    scratch.mode("other", 0o600);
    fs::hard_link(scratch.path().join("other"), &path).expect("make a link");
    let _holder = Running(scratch.command("setlock").args(["other", "sleep", "1000"]).spawn().expect("start setlock"));
    wait_until("it is locked", || scratch.run("setlock -n other true").code == 111);
    let svscan = svscan(&scratch);
    web.up();
    assert_eq!(svscan.errors(), "svscan: warning: .svscan/lock was another file as well: replacing it\n");
    assert_eq!(fs::metadata(&path).expect("the lock").nlink(), 1);
}

/// The owner of `supervise/` has the descriptors that a supervise has, and executes a set-uid program. The process
/// belongs to root then, but is no supervise, and svscan's stop does not wait for it.
#[test]
fn a_set_uid_program_is_taken_for_no_supervise() {
    if !is_root() || !has("flock") {
        return skip("needs root and flock(1)");
    }
    let scratch = Scratch::new();
    let web = service(&scratch, "web", "exec sleep 1000");
    let other = service(&scratch, "other", "exec sleep 1000");
    scratch.shell("cp $(command -v sleep) suid && chmod 4755 suid && chmod 755 .");
    let program = scratch.path().join("suid");
    fs::create_dir(web.path("supervise")).expect("make a directory");
    for name in ["ok", "control"] {
        tests::fifo(&web.path(&format!("supervise/{name}"))).expect("make a FIFO");
    }
    File::create(web.path("supervise/lock")).expect("make a file");
    let held = "exec 7<>supervise/control 8<>supervise/ok 9>>supervise/lock; flock -n 9 && echo >held; exec";
    let mut command = scratch.command("setuidgid");
    command.args(["nobody", "sh", "-c", &format!("{held} {} 1000", program.display())]).current_dir(web.path(""));
    scratch.shell(&format!("chown -R nobody {}", web.path("").display()));
    let holder = Running(command.stdin(Stdio::null()).spawn().expect("start it"));
    wait_until("it holds the lock", || web.path("held").exists());
    wait_until("it is root's", || {
        let status = fs::read_to_string(format!("/proc/{}/status", holder.0.id())).unwrap_or_default();
        status.lines().any(|line| line.starts_with("Uid:\t65534\t0\t"))
    });
    let mut svscan = svscan(&scratch);
    other.up();
    svscan.signal(Signal::SIGTERM);
    assert_eq!(svscan.wait(), 0, "{}", svscan.errors());
    assert!(is_alive(i32::try_from(holder.0.id()).unwrap()), "svscan killed a process that is not its own");
}

/// While a process executes a program, the kernel keeps everybody waiting who asks for most of what `/proc` shows of it. If the
/// process closes a file on a mount whose server is silent, that takes for ever. Any account can have such a process.
#[test]
fn of_a_strangers_process_nothing_is_asked_that_may_take_for_ever() {
    if !has("strace") {
        return skip("there is no strace");
    }
    let scratch = Scratch::new();
    let stranger = Daemon::start(scratch.command("sleep").arg("1000"), &scratch);
    let web = service(&scratch, "web", "sleep 1000 & echo $$ >>starts; exec sleep 1000").file("kill-scope", "tree");
    let daemon = service(&scratch, "daemon", "setsid sleep 1000 & exit 0").file("expect", "daemon\n");
    let mut command = scratch.command("strace");
    command.args([
        "-f",
        "-qq",
        "-s",
        "200",
        "-o",
        "trace",
        "-e",
        "trace=openat,openat2,readlink,readlinkat,statx,newfstatat",
    ]);
    let mut traced = Daemon::start(command.arg(scratch.programs().join("svscan")).arg(SCANNED), &scratch);
    let pid = web.up();
    let left = daemon.up();
    web.svc("-t");
    web.another(pid);
    for service in [&web, &daemon] {
        let supervise = supervise_of(service);
        kill(Pid::from_raw(supervise), Signal::SIGKILL).expect("kill supervise");
        wait_until("there is another", || service.is_supervised() && supervise_of(service) != supervise);
    }
    daemon.svc("-t");
    daemon.another(left);
    let svscan = children_of(traced.pid())[0];
    kill(Pid::from_raw(svscan), Signal::SIGTERM).expect("tell svscan");
    assert_eq!(traced.wait(), 0, "{}", traced.errors());
    let trace = fs::read_to_string(scratch.path().join("trace")).expect("the trace");
    let directory = format!("\"/proc/{}/", stranger.pid());
    let asked: BTreeSet<&str> =
        trace.split(&directory).skip(1).map(|rest| rest.split('"').next().unwrap_or_default()).collect();
    // A process of its own asks for the environment, for some time only.
    let harmless = ["comm", "environ", "status"];
    assert!(asked.contains("status") && asked.iter().all(|name| harmless.contains(name)), "{asked:?}");
}
