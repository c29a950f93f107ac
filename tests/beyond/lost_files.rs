//! The files of supervise are lost or cannot be written. The service goes on, is started again when it ends, and never
//! runs twice.

use crate::svscan::{SCANNED, svscan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;
use tests::{Daemon, Outcome, Scratch, Service, fifo, has, is_root, skip, wait_until};

const COUNTED: &str = "echo $$ >>starts; exec sleep 1000";

fn starts(service: &Service) -> usize {
    service.says("starts").lines().count()
}

fn kill_9(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

/// Runs a shell line with `ln`, `cp`, `mount` and the like.
fn shell(scratch: &Scratch, line: &str) {
    let done = scratch.shell(line);
    assert_eq!(done.code, 0, "{line}: {}", done.stderr);
}

/// A service that runs, and whose `supervise/` was removed. Returns its supervise and the number of its process too.
fn without_its_files(scratch: &Scratch) -> (Service<'_>, Daemon, i32) {
    let service = Service::new(scratch, "web", COUNTED);
    let supervise = service.supervise();
    let pid = service.up();
    // After this, supervise writes nothing for a while. A file that it wrote during the removal could make the removal
    // fail.
    wait_until("it is ready", || !service.state("ready").is_empty());
    shell(scratch, "rm -rf web/supervise");
    (service, supervise, pid)
}

/// An administrator removes the directory.
#[test]
fn a_supervise_directory_that_is_removed_is_made_again() {
    let scratch = Scratch::new();
    let (service, mut supervise, pid) = without_its_files(&scratch);
    kill_9(pid);
    service.lines("starts", 2);
    wait_until("it can be commanded again", || service.is_supervised());
    let second = service.another(pid);
    wait_until("the state names it too", || service.state("pid").contains(&second.to_string()));
    // A second supervise is refused as usual, because the first one is in charge.
    assert_eq!(scratch.run("supervise web").code, 111);
    service.svc("-d");
    service.wait_down();
    assert_eq!(supervise.errors().matches("web/supervise/ was removed: made again").count(), 1);
    service.svc("-x");
    assert_eq!(supervise.wait(), 0);
}

/// supervise notices it at the next event.
#[test]
fn a_control_that_is_replaced_is_opened_anew() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", COUNTED);
    let mut supervise = service.supervise();
    let mut pid = service.up();
    for replace in [true, false] {
        fs::remove_file(service.path("supervise/control")).unwrap();
        if replace {
            fifo(&service.path("supervise/control")).unwrap();
        }
        kill_9(pid);
        pid = service.another(pid);
        wait_until("it is read again", || service.try_control(b"+").is_ok());
    }
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
}

/// A disk that the kernel remounts read-only after an error, as Debian configures it. It is unmounted at the end of the
/// test.
struct FaultyDisk<'a>(&'a Scratch);

impl FaultyDisk<'_> {
    fn new(scratch: &Scratch) -> Option<FaultyDisk<'_>> {
        scratch.dir("disk");
        let made = scratch.shell("PATH=$PATH:/usr/sbin:/sbin; truncate -s 20M image && mkfs.ext4 -q image && mount -o loop,errors=remount-ro image disk");
        let disk = FaultyDisk(scratch);
        (made.code == 0).then_some(disk)
    }

    fn find_an_error(&self) {
        let device = self.0.shell("findmnt -n -o SOURCE $PWD/disk").stdout;
        let name = device.trim().trim_start_matches("/dev/");
        fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "of a test").unwrap();
        wait_until("it is read-only", || fs::write(self.0.path().join("disk/x"), "").is_err());
    }
}

impl Drop for FaultyDisk<'_> {
    fn drop(&mut self) {
        self.0.shell("umount -l disk");
    }
}

/// Without svscan's memory, the supervise that follows a killed one knows nothing of the service, and says so.
#[test]
fn on_a_disk_that_turns_read_only_it_is_started_again() {
    let scratch = Scratch::new();
    let Some(disk) = is_root().then(|| FaultyDisk::new(&scratch)).flatten() else {
        return skip("a disk with errors needs root, a loop device and mkfs.ext4");
    };
    let service = Service::new(&scratch, "disk/web", "echo $$ >>../../starts; exec sleep 1000");
    let supervise = service.supervise();
    let pid = service.up();
    let starts = || fs::read_to_string(scratch.path().join("starts")).unwrap_or_default().lines().count();
    wait_until("it has said so", || starts() == 1);
    disk.find_an_error();
    kill_9(pid);
    wait_until("it is started again", || starts() == 2);
    wait_until("it says what that means", || supervise.errors().contains("the next one will start a second copy"));
    service.svc("-d");
    wait_until("it obeys", || service.alive("../../starts").is_empty());
}

/// A supervise can still replace one that was killed.
#[test]
fn a_supervise_begins_on_a_disk_that_has_turned_read_only() {
    let scratch = Scratch::new();
    let Some(disk) = is_root().then(|| FaultyDisk::new(&scratch)).flatten() else {
        return skip("a disk with errors needs root, a loop device and mkfs.ext4");
    };
    let service = Service::new(&scratch, "disk/web", "echo $$ >>../../starts; exec sleep 1000");
    let first = service.supervise();
    let pid = service.up();
    disk.find_an_error();
    first.kill();
    let _next = service.supervise();
    service.svc("-t");
    wait_until("the same one was told, and another started", || {
        !tests::is_alive(pid) && service.alive("../../starts").len() == 1
    });
}

/// `cp -a` of a running service makes another service, with processes of its own.
#[test]
fn a_copied_service_is_another_service() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", COUNTED);
    let first = service.supervise();
    let pid = service.up();
    // The supervise is killed, so that only its files could distinguish the two services.
    first.kill();
    shell(&scratch, "cp -a web copy; rm copy/starts");
    let copy = Service::at(&scratch, "copy");
    let _supervises = [copy.supervise(), service.supervise()];
    copy.lines("starts", 1);
    wait_until("both are up", || service.status().pid == pid && copy.status().pid != 0);
    assert_ne!(copy.up(), pid);
    copy.svc("-d");
    copy.wait_down();
    assert_eq!(service.alive("starts"), [pid]);
}

/// The state of a copy names the processes of the first service, whose pipe is not that of the copy.
#[test]
fn a_copied_service_has_a_pipe_of_its_own() {
    let scratch = Scratch::new();
    scratch.dir("web/log");
    scratch.script("web/log/run", "#!/bin/sh\nexec cat >>lines\n");
    let web = Service::new(&scratch, "web", "while echo web; do sleep 0.01; done");
    scratch.dir(SCANNED);
    shell(&scratch, &format!("ln -s ../web {SCANNED}/"));
    let _svscan = svscan(&scratch);
    web.lines("log/lines", 3);
    shell(&scratch, "cp -a web copy; rm copy/log/lines; sed -i s/web/copy/ copy/run");
    shell(&scratch, &format!("ln -s ../copy {SCANNED}/"));
    let copy = Service::at(&scratch, "copy");
    copy.lines("log/lines", 30);
    let before = web.says("log/lines").lines().count();
    web.lines("log/lines", before + 30);
    assert!(copy.says("log/lines").lines().all(|line| line == "copy"), "{}", copy.says("log/lines"));
    assert!(web.says("log/lines").lines().all(|line| line == "web"), "{}", web.says("log/lines"));
}

/// A service that runs, and whose supervise was killed. Returns the number of its process too.
fn without_its_supervise(scratch: &Scratch) -> (Service<'_>, i32) {
    let service = Service::new(scratch, "web", COUNTED);
    let first = service.supervise();
    wait_until("it is ready", || !service.state("ready").is_empty());
    let pid = service.up();
    first.kill();
    (service, pid)
}

/// The system has no memory at the moment when the next supervise reads the identity of its directory. The directory
/// must not count as another one.
#[test]
fn a_directory_that_cannot_be_told_now_is_no_other_one() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let (service, pid) = without_its_supervise(&scratch);
    let next = |errno: &str| {
        let mut strace = scratch.command("strace");
        strace.args(["-qq", "-o", "/dev/null", "-e", "trace=statx", "-e", &format!("inject=statx:error={errno}")]);
        Daemon::start(strace.arg(tests::programs().join("supervise")).arg("web"), &scratch)
    };
    let mut without_memory = next("ENOMEM");
    assert_eq!(without_memory.wait(), 111);
    assert_eq!(without_memory.errors(), "supervise: fatal: unable to identify web: out of memory\n");
    // This kernel never reports when a directory was made.
    let _without_statx = next("ENOSYS");
    wait_until("the next one is in charge", || service.is_supervised());
    assert_eq!((service.up(), service.alive("starts")), (pid, vec![pid]));
}

/// svscan gives each supervise a page of memory, which is too small for a long state.
#[test]
fn what_has_no_room_in_svscans_memory_is_read_from_the_disk() {
    let scratch = Scratch::new();
    let run = "echo $$ >>starts; [ -e stay ] || exit 1; echo $$ >stays; exec sleep 1000";
    let service = Service::new(&scratch, "scan/web", run)
        .script("finish", "echo >>finishes")
        .file("max-death-tally", "100")
        .file("success-codes", &"3 ".repeat(1900))
        .file("restart-delay", "1ms");
    let _svscan = Daemon::start(scratch.command("svscan").arg("scan"), &scratch);
    service.lines("starts", 70);
    scratch.file("scan/web/stay", "");
    let pid: i32 = service.lines("stays", 1)[0].parse().unwrap();
    wait_until("it is ready", || service.state("pid") == [pid.to_string()] && !service.state("ready").is_empty());
    let deaths = service.state("death");
    assert!(deaths.len() >= 69, "{}", deaths.len());
    let supervise = tests::parent_of(pid).unwrap();
    kill_9(supervise);
    wait_until("the next one has written its state", || {
        service.state("supervise").iter().any(|line| !line.starts_with(&format!("{supervise} ")))
    });
    assert_eq!((service.up(), service.state("death")), (pid, deaths));
    assert!(service.state("setting").iter().any(|setting| setting.starts_with("success-codes")));
    let finishes = service.says("finishes").lines().count();
    service.svc("-t");
    service.lines("finishes", finishes + 1);
}

/// Another directory gets the path of the first one, and so the same directory below an absolute `$SUPERVISEDIR`.
#[test]
fn another_directory_of_the_same_path_is_another_service() {
    let scratch = Scratch::new();
    scratch.dir("run");
    let place = scratch.path().join("run");
    let supervise = |path: &str| {
        let path = scratch.path().join(path);
        Daemon::start(scratch.command("supervise").arg(path).env("SUPERVISEDIR", &place), &scratch)
    };
    let old = Service::new(&scratch, "web", COUNTED);
    let first = supervise("web");
    old.lines("starts", 1);
    let pid = old.alive("starts")[0];
    first.kill();
    fs::rename(scratch.path().join("web"), scratch.path().join("old")).unwrap();
    let new = Service::new(&scratch, "web", COUNTED);
    let _next = supervise("web");
    new.lines("starts", 1);
    assert!(tests::is_alive(pid));
    assert_eq!(starts(&Service::at(&scratch, "old")), 1);
}

#[test]
fn paths_that_encore_takes_for_one_have_a_place_each() {
    let scratch = Scratch::new();
    let place = scratch.path().join("run");
    let [one, other] = ["a/b", "a:b"].map(|name| Service::new(&scratch, name, COUNTED));
    let _supervises = ["a/b", "a:b"].map(|name| {
        let path = scratch.path().join(name);
        Daemon::start(scratch.command("supervise").arg(path).env("SUPERVISEDIR", &place), &scratch)
    });
    one.lines("starts", 1);
    other.lines("starts", 1);
}

/// Sends a signal with a value, as sigqueue(3) does. Neither nix nor Python has that function, so this makes the system
/// call.
fn queue(pid: i32, commands: &[u8]) {
    let mut info = [0_u8; 128];
    let mut put = |at: usize, bytes: &[u8]| info[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &62_i32.to_ne_bytes());
    put(8, &(-1_i32).to_ne_bytes());
    put(16, &std::process::id().to_ne_bytes());
    put(24, commands);
    let program = format!(
        "import ctypes, sys\ninfo = ctypes.create_string_buffer(bytes.fromhex('{}'), 128)\n\
         sys.exit(ctypes.CDLL(None).syscall(129, {pid}, 62, info))",
        info.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    );
    assert!(Command::new("python3").args(["-c", &program]).status().unwrap().success());
}

/// svscan commands a supervise this way if its files are gone.
#[test]
fn commands_come_by_signal_too() {
    if !has("python3") || cfg!(not(target_arch = "x86_64")) {
        return skip("the number of the system call is only known for one architecture");
    }
    let scratch = Scratch::new();
    let (_service, mut supervise, pid) = without_its_files(&scratch);
    queue(supervise.pid(), b"d");
    wait_until("it is down", || !tests::is_alive(pid));
    queue(supervise.pid(), b"dx");
    assert_eq!(supervise.wait(), 0);
}

/// The kernel does not have pidfd_open(2), or a filter forbids it.
#[test]
fn without_descriptors_of_processes_it_is_taken_over_by_its_number() {
    if !has("strace") {
        return;
    }
    for errno in ["ENOSYS", "EPERM"] {
        let scratch = Scratch::new();
        let (service, pid) = without_its_supervise(&scratch);
        let mut strace = scratch.command("strace");
        strace.args(["-qq", "-o", "/dev/null", "-e", "trace=pidfd_open"]);
        strace.args(["-e", &format!("inject=pidfd_open:error={errno}")]);
        let _next = Daemon::start(strace.arg(tests::programs().join("supervise")).arg("web"), &scratch);
        wait_until("the next one is in charge", || service.is_supervised());
        assert_eq!((service.up(), service.alive("starts")), (pid, vec![pid]));
        service.svc("-t");
        service.lines("starts", 2);
        let second = service.another(pid);
        kill_9(second);
        service.lines("starts", 3);
        service.svc("-dx");
        wait_until("it is gone", || !service.is_supervised());
    }
}

/// `hidepid` hides process 1 while services run, or a late mount of /proc shows it. The boot is still the same. The
/// test runs in a namespace with a /proc of its own.
#[test]
fn it_is_the_same_boot_whatever_proc_shows() {
    if !is_root() || !has("unshare") || !has("setpriv") {
        return skip("only root has namespaces of its own");
    }
    let hide = "mount -o remount,hidepid=2 /proc";
    let late = "umount -l /proc";
    for (before, after) in [("true", hide), (late, "mount -t proc proc /proc"), ("true", late)] {
        let scratch = Scratch::new();
        let _service = Service::new(&scratch, "web", COUNTED);
        shell(&scratch, "chmod 755 .; chown -R 65534 web");
        let supervise = "setpriv --reuid 65534 --regid 65534 --clear-groups supervise web &";
        // The shell checks the condition ten times a second.
        let until = |condition: &str| format!("for i in $(seq 300); do {condition} && break; sleep 0.1; done");
        let line = format!(
            "{before}; {supervise} first=$!; {}; {after}; kill -9 $first; wait $first; {supervise} next=$!; {}; \
             kill -0 $(head -n 1 web/starts) || echo gone; echo old >web/told; svc -t web; {}; cat web/starts",
            until("grep -q ready web/supervise/state 2>/dev/null"),
            until("grep -q \"supervise $next \" web/supervise/state"),
            until("[ $(grep -c . web/starts) = 2 ]"),
        );
        let mut unshare = scratch.command("unshare");
        unshare.args(["-m", "--propagation", "private", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", &line]);
        let outcome = scratch.outcome_of(&mut unshare);
        assert_eq!((outcome.code, outcome.stdout.lines().count()), (0, 2), "{before}, then {after}: {outcome:?}");
    }
}

/// If the layers of an overlay lie on two file systems, as on a system that runs from a medium, the kernel makes up the
/// number of a directory, and makes up another one when no process has the directory open and memory is short. Here supervise
/// is killed, and the service itself works in another directory.
#[test]
fn a_directory_of_an_overlay_of_two_file_systems_is_the_same_directory() {
    if !is_root() || !has("unshare") {
        return skip("only root has namespaces of its own");
    }
    let scratch = Scratch::new();
    for (name, two) in [("one", false), ("two", true)] {
        let _service = Service::new(&scratch, &format!("{name}/lower/web"), "cd /; echo $$ >>$STARTS; exec sleep 1000");
        let upper = if two { "mount -t tmpfs upper upper" } else { "true" };
        let until = |condition: &str| format!("for i in $(seq 300); do {condition} && break; sleep 0.1; done");
        let line = format!(
            "export STARTS=$PWD/{name}/starts; cd {name}; mkdir upper merged; {upper}; mkdir upper/files upper/work; \
             mount -t overlay -o lowerdir=lower,upperdir=upper/files,workdir=upper/work overlay merged || exit 99; \
             supervise merged/web & first=$!; {}; cut -d ' ' -f 1-2 merged/web/supervise/state | grep directory; kill -9 $first; \
             wait $first; for i in 1 2 3; do echo 2 >/proc/sys/vm/drop_caches; done; supervise merged/web & next=$!; {}; \
             kill -0 $(head -n 1 starts) || echo gone; wc -l <starts",
            until("grep -q ready merged/web/supervise/state 2>/dev/null"),
            until("grep -q \"supervise $next \" merged/web/supervise/state"),
        );
        let mut unshare = scratch.command("unshare");
        unshare.args(["-m", "--propagation", "private", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", &line]);
        let outcome = scratch.outcome_of(&mut unshare);
        if outcome.code == 99 {
            return skip("no overlay can be mounted here");
        }
        let kind = if two { "path" } else { "inode" };
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (0, format!("directory {kind}\n1\n").as_str()),
            "{outcome:?}"
        );
    }
}

/// On an overlay, a directory of the lower layer is copied when something is first changed in it, and was then made at another
/// time. Here that happens while the service runs, as `supervise/` lies elsewhere.
#[test]
fn a_directory_of_an_overlay_in_which_something_is_changed_is_the_same_directory() {
    if !is_root() || !has("unshare") || !has("setpriv") {
        return skip("only root has namespaces of its own");
    }
    let until = |condition: &str| format!("for i in $(seq 300); do {condition} && break; sleep 0.1; done");
    for (account, read_only) in [("0", false), ("65534", false), ("0", true)] {
        let scratch = Scratch::new();
        let _service = Service::new(&scratch, "lower/web", "cd /; echo $$ >>$STARTS; exec sleep 1000");
        let supervise = format!("setpriv --reuid {account} --clear-groups supervise merged/web");
        let (before, after) =
            if read_only { ("mount -o remount,ro merged", "mount -o remount,rw merged") } else { ("true", "true") };
        let line = format!(
            "chmod 755 .; export STARTS=$PWD/starts SUPERVISEDIR=$PWD/place; mkdir upper work merged place; chmod 777 . place; \
             mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged || exit 99; {before}; \
             {supervise} & first=$!; {}; {after}; echo >merged/web/new; kill -9 $first; wait $first; \
             {supervise} & next=$!; {}; kill -0 $(head -n 1 starts) || echo gone; wc -l <starts",
            until("grep -q ready place/*/state 2>/dev/null"),
            until("grep -q \"supervise $next \" place/*/state"),
        );
        let mut unshare = scratch.command("unshare");
        unshare.args(["-m", "--propagation", "private", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", &line]);
        let outcome = scratch.outcome_of(&mut unshare);
        if outcome.code == 99 {
            return skip("no overlay can be mounted here");
        }
        assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "1\n"), "{account}, {read_only}: {outcome:?}");
    }
}

/// `hidepid=1` hides a service whose program file may not be read from its own account, and the process descriptor has
/// no serial number. Before Linux 6.9 process descriptors lie on a file system of another type.
#[test]
fn what_hidepid_hides_from_its_own_account_is_taken_over_too() {
    if !is_root() || !has("unshare") || !has("setpriv") || !has("strace") {
        return skip("only root has namespaces of its own");
    }
    let scratch = Scratch::new();
    let _service = Service::new(&scratch, "web", "echo $$ >>starts; exec ../hidden 1000");
    shell(&scratch, "cp /bin/sleep hidden; chmod 111 hidden; chmod 755 .; chown -R 65534 web");
    let old = "strace -qq -o /dev/null -e trace=fstatfs -e inject=fstatfs:retval=0";
    // supervise is started as svscan starts it, so it leads a process group. Its service is recognized by that group.
    let supervise =
        format!("setsid setpriv --reuid 65534 --regid 65534 --clear-groups {old} supervise web 2>>errors &");
    let until = |condition: &str| format!("for i in $(seq 100); do {condition} && break; sleep 0.1; done");
    let line = format!(
        "mount -o remount,hidepid=1 /proc; {supervise} {}; setpriv --reuid 65534 --regid 65534 --clear-groups \
         cat /proc/$(head -n 1 web/starts)/stat && echo seen; first=$(sed -n 's/^supervise \\([0-9]*\\).*/\\1/p' \
         web/supervise/state); kill -9 $first; wait; {supervise} {}; svstat web; svc -t web; {}; svc -dx web; {}; \
         kill -0 $(head -n 1 web/starts) || kill -0 $(tail -n 1 web/starts) || echo gone; cat web/starts errors",
        until("grep -q ready web/supervise/state 2>/dev/null"),
        until("! grep -q \"supervise $first \" web/supervise/state && svok web"),
        until("[ $(grep -c . web/starts) = 2 ]"),
        until("! svok web"),
    );
    let mut unshare = scratch.command("unshare");
    unshare.args(["-m", "--propagation", "private", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", &line]);
    let Outcome { stdout, stderr, .. } = scratch.outcome_of(&mut unshare);
    let words: Vec<&str> = stdout.lines().collect();
    assert!(stderr.contains("/stat: Operation not permitted") && !words.contains(&"seen"), "{stdout}{stderr}");
    let [svstat, "gone", first, second] = words[..] else { panic!("{stdout}{stderr}") };
    assert!(svstat.starts_with(&format!("web: up (pid {first})")) && first != second, "{stdout}{stderr}");
}

/// All processes are frozen together, as when a container is paused. The time in which they were frozen does not count
/// against the service.
#[test]
fn what_was_frozen_together_with_its_supervise_is_not_killed_for_it() {
    let scratch = Scratch::new();
    let service = Service::new(
        &scratch,
        "web",
        "trap 'echo >told; sleep 1; echo >orderly; exit' TERM; echo >up; while :; do sleep 0.05; done",
    )
    .file("timeout-kill", "4s");
    let mut supervise = service.supervise();
    service.lines("up", 1);
    let pid = service.up();
    service.svc("-d");
    service.lines("told", 1);
    let all = || {
        let children = tests::children_of(pid);
        children.into_iter().chain([pid, supervise.pid()]).map(Pid::from_raw).collect::<Vec<_>>()
    };
    let frozen = all();
    let send = |signal: Signal| {
        for pid in &frozen {
            let _ = kill(*pid, signal);
        }
    };
    send(Signal::SIGSTOP);
    // The service is frozen for longer than its timeouts.
    sleep(Duration::from_millis(4500));
    send(Signal::SIGCONT);
    service.lines("orderly", 1);
    service.wait_down();
    service.svc("-x");
    assert_eq!(supervise.wait(), 0);
}

/// On a machine that is throttled, supervise wakes late again and again while the service runs.
#[test]
fn what_must_be_killed_is_killed_though_supervise_always_wakes_late() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "trap '' TERM; echo >up; while :; do sleep 0.05; done")
        .file("timeout-kill", "1s");
    let mut supervise = service.supervise();
    service.lines("up", 1);
    let pid = service.up();
    service.svc("-d");
    wait_until("it was told to end", || !service.state("kill-at").is_empty());
    for _ in 0..30 {
        if !tests::is_alive(pid) {
            break;
        }
        supervise.signal(Signal::SIGSTOP);
        sleep(Duration::from_millis(600));
        supervise.signal(Signal::SIGCONT);
        sleep(Duration::from_millis(20));
    }
    assert!(!tests::is_alive(pid), "alive after eighteen seconds: {:?}", service.state("kill-at"));
    service.svc("-x");
    assert_eq!(supervise.wait(), 0);
}

/// The child reports once that it could not execute `run`, and then ends. Whichever of the two supervise notices first,
/// it must not take this for an execution.
#[test]
fn what_cannot_be_executed_is_never_ready() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "").file("restart-delay", "1ms").file("max-death-tally", "4096");
    let table = [
        ("#!/no/such/shell\n", " unstarted 79"),
        ("#!/bin/sh\r\nexec sleep 1000\r\n", " unstarted 79"),
        ("exec sleep 1000\n", " unstarted 8"),
    ];
    for (text, death) in table {
        scratch.file("web/run", text);
        let supervise = service.supervise();
        wait_until("it has been tried often", || service.state("death").len() > 100);
        assert!(
            service.state("death").iter().all(|found| found.ends_with(death)),
            "{text:?}: {:?}",
            service.state("death")
        );
        assert_eq!(service.state("ready"), [""; 0]);
        service.svc("-dx");
        wait_until("it is gone", || !service.is_supervised());
        drop(supervise);
        fs::remove_dir_all(service.path("supervise")).unwrap();
    }
    scratch.file("web/run", "#!/bin/sh\r\n");
    let supervise = service.supervise();
    let words = "unable to start web/run: interpreter /bin/sh followed by a carriage return does not exist";
    wait_until("it says what is missing", || supervise.errors().contains(words));
}

/// A descendant that forks and ends again and again, each time in a session of its own.
#[test]
fn with_tree_what_hops_from_process_to_process_is_caught() {
    if !has("python3") {
        return skip("python3 is not installed");
    }
    let hop = "import os, time\nend = time.time() + 20\nwhile time.time() < end:\n    if os.fork(): os._exit(0)\n    os.setsid()\n";
    let scratch = Scratch::new();
    scratch.file("hop.py", hop);
    let hop = scratch.path().join("hop.py");
    let service = Service::new(&scratch, "web", &format!("python3 {}; echo >up; exec sleep 1000", hop.display()))
        .file("kill-scope", "tree");
    let mut supervise = service.supervise();
    service.lines("up", 1);
    service.svc("-d");
    service.wait_down();
    let name = Path::new("hop.py");
    let is_hopping = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(name.to_str().unwrap())
    };
    // A process that hops may be missing in one listing of the processes, but it would be seen in one of these.
    for _ in 0..50 {
        assert_eq!(tests::processes_in(scratch.path()).iter().filter(|pid| is_hopping(pid)).count(), 0);
    }
    service.svc("-x");
    assert_eq!(supervise.wait(), 0);
}

/// At each scan svscan checks that supervises have all their files. For a directory that has not changed, it only
/// checks the directory.
#[test]
fn svscan_looks_at_files_that_have_not_changed_once() {
    if !has("strace") {
        return;
    }
    let scratch = Scratch::new();
    let web = Service::new(&scratch, "services/web", COUNTED);
    let trace = scratch.path().join("trace");
    let mut command = scratch.command("strace");
    command.args(["-qq", "-I3", "-e", "trace=%file", "-o"]).arg(&trace).arg("svscan").arg("services");
    let strace = Daemon::start(&mut command, &scratch);
    let pid = web.up();
    wait_until("it is ready", || !web.state("ready").is_empty());
    let svscan = Pid::from_raw(*tests::children_of(strace.pid()).first().expect("svscan"));
    let count = |what: &str| fs::read_to_string(&trace).unwrap_or_default().matches(what).count();
    // Counts the scans that look at the files.
    let looks = || {
        let (scans, looks) = (count("openat(AT_FDCWD, \".\""), count("web/supervise/lock"));
        kill(svscan, Signal::SIGHUP).unwrap();
        // The second scan begins when the first is over.
        wait_until("there was a scan", || count("openat(AT_FDCWD, \".\"") > scans);
        kill(svscan, Signal::SIGHUP).unwrap();
        wait_until("there was another one", || count("openat(AT_FDCWD, \".\"") > scans + 1);
        count("web/supervise/lock") > looks
    };
    wait_until("it does not look at them any more", || !looks());
    fs::remove_file(web.path("supervise/ok")).unwrap();
    wait_until("it is reached again", || {
        kill(svscan, Signal::SIGHUP).unwrap();
        web.is_supervised()
    });
    assert_eq!((web.up(), starts(&web)), (pid, 1));
    wait_until("it does not look at them any more", || !looks());
}
