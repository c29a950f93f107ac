//! The owner of a part of a service directory can put anything there. None of it makes a program of root's hang, crash,
//! write or read elsewhere, or harm a process that does not belong to the service.

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, chown};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use tests::{Daemon, Scratch, Service, fifo, is_alive, is_root, prints, skip, wait_until};

const NOBODY: u32 = 65534;

type Make = fn(&Path);

/// What the owner puts in place of a file. The victim is a file of root's beside the service.
const KINDS: [(&str, Make); 10] = [
    ("a FIFO", |path| fifo(path).unwrap()),
    ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
    ("a link to a file of root's", |path| {
        symlink(path.ancestors().find(|above| above.ends_with("web")).unwrap().with_file_name("victim"), path).unwrap()
    }),
    ("a link to a file that is not there", |path| symlink("/tmp/not/there", path).unwrap()),
    ("a link to itself", |path| symlink(path.file_name().unwrap(), path).unwrap()),
    ("a link to an endless device", |path| symlink("/dev/zero", path).unwrap()),
    ("a link to a full device", |path| symlink("/dev/full", path).unwrap()),
    ("a directory", |path| fs::create_dir(path).unwrap()),
    ("a directory with something in it", |path| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("x"), "").unwrap();
    }),
    ("a gigabyte", |path| File::create(path).unwrap().set_len(1 << 30).unwrap()),
];

/// The files that lie in `supervise/`, or may lie there.
const PRIVATE: [&str; 11] = [
    "lock",
    "control",
    "ok",
    "status",
    "status.new",
    "state",
    "state.new",
    "orphan",
    "event",
    "event/ftrig1:x",
    "notification",
];

/// Replaces a file, whatever it is, by one of the kinds above.
fn put(path: &Path, make: Make) {
    let _ = fs::create_dir_all(path.parent().unwrap());
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
    make(path);
}

fn victim(scratch: &Scratch) -> impl Fn() -> (Vec<u8>, u32, u32) {
    let path = scratch.path().join("victim");
    fs::write(&path, "kept").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    move || {
        let file = fs::metadata(&path).unwrap();
        (fs::read(&path).unwrap(), file.mode(), file.uid())
    }
}

/// The harness fails if one of these programs does not end.
fn ask_everything(scratch: &Scratch) {
    let questions = [
        "svstat web",
        "svstat -l web",
        "svstat -j web",
        "svok web",
        "svup web",
        "svc -c web",
        "svwait -T 20ms ready web",
        "svlog web",
    ];
    for question in questions {
        scratch.run(question);
    }
}

/// The file is replaced before supervise starts, and again while it runs.
#[test]
fn nothing_in_the_place_of_its_own_files_hangs_or_turns_supervise() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    for file in PRIVATE {
        for (what, make) in KINDS {
            let scratch = Scratch::new();
            let before = victim(&scratch);
            let (untouched, what) = (before(), format!("{what} in the place of {file}"));
            let service = Service::new(&scratch, "web", "echo $$ >>../starts; exec sleep 1000")
                .file("notification-fd", "7")
                .file("restart-delay", "10ms");
            let path = service.path("supervise").join(file);
            put(&path, make);
            chown(&service.path("supervise"), Some(NOBODY.into()), None).unwrap();
            let starts = || fs::read_to_string(scratch.path().join("starts")).unwrap_or_default().lines().count();
            let mut supervise = Daemon::start(scratch.command("supervise").arg("web"), &scratch);
            let mut ended = false;
            wait_until(&format!("it begins or refuses to: {what}"), || {
                ended = supervise.has_ended();
                ended || starts() > 0
            });
            ask_everything(&scratch);
            assert_eq!(before(), untouched, "{what}: {}", supervise.errors());
            if ended {
                assert!(supervise.errors().starts_with("supervise: fatal: "), "{what}: {}", supervise.errors());
                continue;
            }
            put(&path, make);
            let pid =
                fs::read_to_string(scratch.path().join("starts")).unwrap().lines().next().unwrap().parse().unwrap();
            let count = starts();
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            wait_until(&format!("it is started again: {what}: {}", supervise.errors()), || starts() > count);
            ask_everything(&scratch);
            assert_eq!(before(), untouched, "{what}, while it ran: {}", supervise.errors());
            assert!(!supervise.has_ended(), "{what}: {}", supervise.errors());
        }
    }
}

/// These files of the service directory only contain text. If one of them cannot be read, it counts as absent.
#[test]
fn nothing_in_the_place_of_a_setting_keeps_a_service_from_running() {
    let settings = [
        "after",
        "check",
        "down-signal",
        "essential",
        "finish",
        "kill-scope",
        "max-death-tally",
        "notification-fd",
        "notify",
        "notify-socket",
        "restart-delay",
        "restart-limit",
        "start",
        "stop",
        "success-codes",
        "timeout-finish",
        "timeout-kill",
        "timeout-up",
        "watchdog",
    ];
    for (what, make) in KINDS {
        let scratch = Scratch::new();
        let before = victim(&scratch);
        let untouched = before();
        let service = Service::new(&scratch, "web", "echo $$ >>../starts; exec sleep 1000");
        for file in settings {
            put(&service.path(file), make);
        }
        let supervise = Daemon::start(scratch.command("supervise").arg("web"), &scratch);
        let starts = scratch.path().join("starts");
        wait_until(&format!("it runs with {what} in the place of settings: {}", supervise.errors()), || {
            starts.exists()
        });
        ask_everything(&scratch);
        assert_eq!(before(), untouched, "{what} in the place of settings");
    }
}

/// The text that supervise writes, with another process. Every account can find out what identifies that process.
fn forged_state(service: &Service, pid: i32) -> String {
    let first = service.supervise();
    wait_until("it is ready", || !service.state("ready").is_empty());
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let ticks = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap();
    let change = |line: &str| match line.split_once(' ') {
        Some(("pid", _)) => format!("pid {pid}\n"),
        Some(("pid-start", _)) => format!("pid-start {ticks}\n"),
        Some(("pid-serial", _)) => "pid-serial 0\n".into(),
        Some(("last-run", _)) => format!("last-run {pid} {ticks}\n"),
        _ => format!("{line}\n"),
    };
    let forged = service.says("supervise/state").lines().map(change).collect();
    service.svc("-dx");
    wait_until("the first is gone", || !service.is_supervised());
    drop(first);
    forged
}

/// Makes a `supervise/` that belongs to another account.
fn give_away(service: &Service) {
    fs::create_dir(service.path("supervise")).unwrap();
    chown(&service.path("supervise"), Some(NOBODY.into()), None).unwrap();
}

/// The owner of the service puts a state of his own there.
fn put_state(service: &Service, forged: &str) {
    fs::remove_file(service.path("supervise/state")).unwrap();
    fs::write(service.path("supervise/state"), forged).unwrap();
    chown(&service.path("supervise/state"), Some(NOBODY.into()), None).unwrap();
}

/// The owner of the service has written a state that names a process of root's.
#[test]
fn no_stranger_is_taken_over_because_a_state_names_it() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo $$ >>../starts; exec sleep 1000");
    give_away(&service);
    let stranger = Daemon::start(scratch.command("sleep").arg("1000"), &scratch);
    let forged = forged_state(&service, stranger.pid());
    // A link could also lead to such a file of root's, so the state may belong to root.
    for owner in [NOBODY, 0] {
        let _ = fs::remove_file(service.path("supervise/state"));
        fs::write(service.path("supervise/state"), &forged).unwrap();
        chown(&service.path("supervise/state"), Some(owner.into()), None).unwrap();
        let _ = fs::remove_file(scratch.path().join("starts"));
        let mut next = service.supervise();
        wait_until("the service itself runs", || scratch.path().join("starts").exists());
        assert_ne!(service.up(), stranger.pid());
        assert!(next.errors().contains("is not proven to be the service's: not taken over"), "{}", next.errors());
        service.svc("-k");
        service.svc("-dx");
        assert_eq!(next.wait(), 0);
        assert!(is_alive(stranger.pid()));
    }
}

/// The owner has started a set-uid program, which has root's rights, and given it the mark of the service in its
/// environment.
#[test]
fn a_set_uid_program_is_not_taken_over_for_the_environment_that_it_was_given() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo $$ >>../starts; exec sleep 1000");
    give_away(&service);
    scratch.copy_program("/bin/sleep", "sleep");
    scratch.mode("sleep", 0o4755);
    let directory = fs::metadata(service.path("")).unwrap();
    let mark = format!("{}/{}", directory.dev(), directory.ino());
    let mut command = scratch.command(scratch.path().join("sleep").to_str().unwrap());
    let stranger = Daemon::start(command.arg("1000").uid(NOBODY).env("SUPERVISE_TREE", mark), &scratch);
    wait_until("it is executed", || fs::read_to_string(format!("/proc/{}/comm", stranger.pid())).unwrap() == "sleep\n");
    if !fs::read_to_string(format!("/proc/{}/status", stranger.pid()))
        .unwrap()
        .contains(&format!("Uid:\t{NOBODY}\t0\t0"))
    {
        return skip("the file system of the scratch directory does not support set-uid programs");
    }
    let forged = forged_state(&service, stranger.pid());
    fs::remove_file(service.path("supervise/state")).unwrap();
    fs::write(service.path("supervise/state"), &forged).unwrap();
    let _ = fs::remove_file(scratch.path().join("starts"));
    let next = service.supervise();
    wait_until("the service itself runs", || scratch.path().join("starts").exists());
    assert_ne!(service.up(), stranger.pid());
    assert!(next.errors().contains("is not proven to be the service's: not taken over"), "{}", next.errors());
}

/// The owner has a process whose standard output is a FIFO of root's, which the owner may only read. Root's supervise
/// must not open that FIFO as the pipe between the service and its logger.
#[test]
fn no_fifo_of_roots_becomes_the_pipe_to_the_logger() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo $$ >>../starts; exec sleep 1000")
        .script("log", "echo $$ >>loggers; exec cat >>out");
    give_away(&service);
    let path = scratch.path().join("fifo");
    fifo(&path).unwrap();
    scratch.mode("fifo", 0o644);
    let _both_ends = File::options().read(true).write(true).open(&path).unwrap();
    let read_only = File::open(&path).unwrap();
    let owners = Daemon::start(scratch.command("sleep").arg("1000").uid(NOBODY).stdout(read_only), &scratch);
    let forged = forged_state(&service, owners.pid());
    let inode = fs::metadata(&path).unwrap().ino();
    let forged = forged
        .lines()
        .map(|line| if line.starts_with("pipe ") { format!("pipe {inode}\n") } else { format!("{line}\n") });
    let forged: String = forged.collect();
    assert!(forged.contains(&format!("pipe {inode}\n")), "{forged}");
    put_state(&service, &forged);
    let loggers = service.says("loggers").lines().count();
    let _next = service.supervise();
    assert_eq!(service.status().pid, owners.pid(), "the process belongs to the owner of supervise/, who may name it");
    let logger = service.lines("loggers", loggers + 1).pop().unwrap();
    let input = fs::read_link(format!("/proc/{logger}/fd/0")).unwrap();
    assert!(input.to_string_lossy().starts_with("pipe:"), "{}", input.display());
}

/// supervise adopts a service that root runs, although `supervise/` belongs to another account.
#[test]
fn a_service_of_roots_is_taken_over_though_others_may_command_it() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo $$ >>starts; exec sleep 1000");
    give_away(&service);
    let first = service.supervise();
    wait_until("it is ready", || !service.state("ready").is_empty());
    let pid = service.up();
    service.lines("starts", 1);
    first.kill();
    let _next = service.supervise();
    assert_eq!((service.up(), service.alive("starts")), (pid, vec![pid]));
}

/// `supervise/` belongs to another account, but the service's notification goes to no other file.
#[test]
fn the_notification_of_a_service_never_leads_to_another_file() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    let scratch = Scratch::new();
    let before = victim(&scratch);
    let untouched = before();
    // The service would overwrite the victim if it were given that file as descriptor 7.
    let service = Service::new(&scratch, "web", "echo overwritten >&7; echo >../wrote; exec sleep 1000")
        .file("notification-fd", "7");
    let path = service.path("supervise/notification");
    give_away(&service);
    symlink("../../victim", &path).unwrap();
    let _supervise = service.supervise();
    wait_until("it has written", || scratch.path().join("wrote").exists());
    assert_eq!(before(), untouched);
}

/// A process group continues after its leader has ended. No process has the leader's number then, but the group still
/// has it.
#[test]
fn no_group_is_killed_because_a_state_names_its_leader() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo $$ >>starts; exec sleep 1000").file("kill-scope", "group\n");
    give_away(&service);
    let daemon = "sh -c 'sleep 1000 & echo $! >member; echo $$ >leader; exit 0'";
    assert_eq!(scratch.shell(&format!("setsid {daemon}")).code, 0);
    let number = |name: &str| -> i32 { fs::read_to_string(scratch.path().join(name)).unwrap().trim().parse().unwrap() };
    let (leader, member) = (number("leader"), number("member"));
    wait_until("its leader is gone", || tests::state_of(leader).is_none());
    let first = service.supervise();
    let pid = service.up();
    // It has become its shell, which may yet have to write that.
    service.lines("starts", 1);
    wait_until("it is ready", || !service.state("ready").is_empty());
    let state = service.says("supervise/state");
    first.kill();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let kept = state.lines().filter(|line| !["pid", "last-run"].iter().any(|key| line.starts_with(key)));
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    let forged = format!("{kept}pid {leader}\npid-start 1\npid-serial 1\nlast-run {leader} 1 1\n");
    put_state(&service, &forged);
    let _next = service.supervise();
    service.lines("starts", 2);
    assert!(tests::is_alive(member), "a stranger was killed");
}

/// The owner of `supervise/` has made `lock` a second name of another program's lock. If root's supervise locked it,
/// that program could not.
#[test]
fn no_lock_of_something_else_is_locked_by_supervise() {
    if !is_root() {
        return skip("needs root, to act as another account");
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    scratch.file("other", "");
    give_away(&service);
    let link = || {
        let _ = fs::remove_file(service.path("supervise/lock"));
        fs::hard_link(scratch.path().join("other"), service.path("supervise/lock")).unwrap();
    };
    link();
    let supervise = service.supervise();
    let pid = service.up();
    assert_eq!(scratch.run("setlock -n other true"), prints(""));
    assert!(supervise.errors().contains("supervise/lock was another file as well: replaced"), "{}", supervise.errors());
    // The same happens while supervise runs. It replaces the file as soon as it looks at it.
    link();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    service.another(pid);
    wait_until("it has replaced it", || fs::metadata(service.path("supervise/lock")).unwrap().nlink() == 1);
    assert_eq!(scratch.run("setlock -n other true"), prints(""));
    assert_eq!(scratch.run("supervise web").code, 111, "the new one is locked");
}
