//! `supervise/` in another place, and accounts that may command a service.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use tests::{Daemon, Outcome, Scratch, Service, fails, is_root, prints, skip, wait_until};

/// Our programs with a variable that moves `supervise/`.
struct Elsewhere<'a> {
    scratch: &'a Scratch,
    directory: String,
}

impl Elsewhere<'_> {
    fn of<'a>(scratch: &'a Scratch, directory: &str) -> Elsewhere<'a> {
        Elsewhere { scratch, directory: directory.into() }
    }

    /// One directory for all services, which the first supervise makes.
    fn absolute(scratch: &Scratch) -> Elsewhere<'_> {
        Elsewhere::of(scratch, scratch.path().join("run/sv").to_str().unwrap())
    }

    fn command(&self, line: &str) -> Command {
        let mut words = line.split(' ');
        let mut command = self.scratch.command(words.next().unwrap());
        command.env("SUPERVISEDIR", &self.directory).args(words);
        command
    }

    fn run(&self, line: &str) -> Outcome {
        self.scratch.outcome_of(&mut self.command(line))
    }

    fn start(&self, line: &str) -> Daemon {
        Daemon::start(&mut self.command(line), self.scratch)
    }

    /// The directory that serves as `supervise/` of this service.
    fn place(&self, service: &str) -> PathBuf {
        let path = self.scratch.path().canonicalize().unwrap().join(service);
        PathBuf::from(&self.directory).join(path.to_str().unwrap()[1..].replace('/', ":"))
    }

    fn wait_for_svok(&self, service: &str) {
        wait_until("supervise is in charge", || self.run(&format!("svok {service}")) == prints(""));
    }
}

#[test]
fn an_absolute_directory_holds_those_of_all_services() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo $$ >>starts; exec sleep 1000");
    let elsewhere = Elsewhere::absolute(&scratch);
    let supervise = elsewhere.start("supervise web");
    elsewhere.wait_for_svok("web");
    service.lines("starts", 1);
    assert!(!service.path("supervise").exists());
    let place = elsewhere.place("web");
    assert_eq!(fs::metadata(&place).unwrap().mode() & 0o777, 0o700);
    assert!(elsewhere.run("svstat web").stdout.starts_with("web: up (pid "), "{:?}", elsewhere.run("svstat web"));
    assert_eq!(elsewhere.run("svup web"), prints(""));
    assert_eq!(elsewhere.run("svc -s -W restarted -t web"), prints(""));
    assert_eq!(service.lines("starts", 2).len(), 2);
    // The next supervise finds the service there too, and there is only one.
    supervise.kill();
    let mut supervise = elsewhere.start("supervise web");
    elsewhere.wait_for_svok("web");
    let lock = place.join("lock").to_str().unwrap().to_string();
    let refusal = format!("supervise: fatal: unable to acquire {lock}: temporary failure: another supervise has it\n");
    assert_eq!(elsewhere.run("supervise web"), fails(111, &refusal));
    assert_eq!(elsewhere.run("svc -s -W down -dx web"), prints(""));
    assert_eq!(supervise.wait(), 0);
    assert_eq!(service.says("starts").lines().count(), 2);
    assert_eq!(elsewhere.run("svok web").code, 100);
}

#[test]
fn what_waits_sees_it_come() {
    let scratch = Scratch::new();
    let _service = Service::new(&scratch, "web", "exec sleep 1000");
    for directory in [".state", scratch.path().join("sv").to_str().unwrap()] {
        scratch.dir("sv");
        let elsewhere = Elsewhere::of(&scratch, directory);
        let mut waiting = elsewhere.command("svwait -T 20s up web").spawn().unwrap();
        let mut supervise = elsewhere.start("supervise web");
        assert_eq!(waiting.wait().unwrap().code(), Some(0), "{directory}");
        assert_eq!(elsewhere.run("svc -dx web"), prints(""));
        assert_eq!(supervise.wait(), 0);
    }
}

#[test]
fn a_relative_directory_is_another_name() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let elsewhere = Elsewhere::of(&scratch, ".state");
    let _supervise = elsewhere.start("supervise web");
    elsewhere.wait_for_svok("web");
    assert!(service.path(".state/control").exists() && !service.path("supervise").exists());
    // An empty variable counts as unset.
    assert_eq!(scratch.run("svok web").code, 100);
    assert_eq!(Elsewhere::of(&scratch, "").run("svok web").code, 100);
}

/// The services lie on a read-only disk. The account that runs them may write only to one directory.
#[test]
fn services_need_not_be_writable() {
    let scratch = Scratch::new();
    let run = "echo $PPID >>$OUT/starts; exec sleep 1000";
    Service::new(&scratch, "scan/web", run).file("notification-fd", "7");
    Service::new(&scratch, "scan/web/log", "exec cat >>$OUT/log");
    for read_only in ["scan/web/log", "scan/web", "scan"] {
        scratch.mode(read_only, 0o555);
    }
    for writable in ["out", "run"] {
        scratch.dir(writable);
        scratch.mode(writable, 0o777);
    }
    let elsewhere = Elsewhere::absolute(&scratch);
    let mut supervise = scratch.as_nobody("supervise");
    let as_nobody = |command: &mut Command| {
        command.env("SUPERVISEDIR", &elsewhere.directory).env("OUT", scratch.path().join("out"));
    };
    as_nobody(supervise.arg("scan/web"));
    // svscan runs from a copy in another directory, and starts the supervise beside it.
    let mut svscan = scratch.as_nobody("svscan");
    as_nobody(svscan.arg("scan"));
    let mut daemon = Daemon::start(&mut svscan, &scratch);
    let out = Service::at(&scratch, "out");
    out.lines("starts", 1);
    for service in ["scan/web", "scan/web/log"] {
        elsewhere.wait_for_svok(service);
    }
    // svscan replaces a supervise that is killed, and nothing runs twice.
    let killed: i32 = out.says("starts").trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(killed), nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_until("another is in charge", || {
        let state = fs::read_to_string(elsewhere.place("scan/web").join("state")).unwrap_or_default();
        state.contains("supervise ") && !state.contains(&format!("supervise {killed} ")) && !tests::is_alive(killed)
    });
    elsewhere.wait_for_svok("scan/web");
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(daemon.wait(), 0, "{}", daemon.errors());
    assert_eq!(out.says("starts").lines().count(), 1);
    assert_eq!(elsewhere.run("svok scan/web").code, 100);
}

/// Runs a line as another account, which has this group and no further rights.
fn member(scratch: &Scratch, group: u32, line: &str) -> Outcome {
    let mut words = line.split(' ');
    let mut command = scratch.as_nobody(words.next().unwrap());
    scratch.outcome_of(command.gid(group).args(words))
}

#[test]
fn its_group_may_command_where_the_setgid_bit_says_so() {
    if !is_root() {
        return skip("needs root");
    }
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "echo $$ >>starts; exec sleep 1000");
    let (group, directory) = (12345, service.path("supervise"));
    fs::create_dir(&directory).unwrap();
    std::os::unix::fs::chown(&directory, None, Some(group)).unwrap();
    scratch.mode("web/supervise", 0o2750);
    let supervise = service.supervise();
    service.lines("starts", 1);
    assert_eq!(member(&scratch, group, "svc -s -t web"), prints(""));
    service.lines("starts", 2);
    assert_eq!(member(&scratch, group, "svok web"), prints(""));
    assert!(member(&scratch, group, "svstat web").stdout.starts_with("web: up (pid "));
    let whose = "supervise belongs to root, and this is nobody";
    let denied = fails(1, &format!("svc: warning: unable to control web: access denied: {whose}\n"));
    assert_eq!(member(&scratch, group + 1, "svc -s -t web"), denied);
    // The modes are unchanged after every kind of restart.
    let modes = || {
        ["", "control", "ok", "lock"].map(|name| {
            let file = fs::metadata(directory.join(name)).unwrap();
            (file.mode() & 0o7777, file.gid())
        })
    };
    let before = modes();
    assert_eq!((before[0], before[1].0, before[3].0), ((0o2750, group), 0o620, 0o600));
    supervise.kill();
    let mut supervise = service.supervise();
    assert_eq!(modes(), before);
    service.svc("-dx");
    assert_eq!(supervise.wait(), 0);
    let _supervise = service.supervise();
    assert_eq!(modes(), before);
    assert_eq!(member(&scratch, group, "svc -s -W down -d web"), prints(""));
}

#[test]
fn modes_given_by_hand_are_kept() {
    let scratch = Scratch::new();
    let service = Service::new(&scratch, "web", "exec sleep 1000");
    let mut supervise = service.supervise();
    let modes = [("supervise", 0o755), ("supervise/control", 0o622), ("supervise/ok", 0o666)];
    modes.iter().for_each(|(name, mode)| scratch.mode(format!("web/{name}"), *mode));
    for command in ["-t", "-dx"] {
        service.svc(command);
        if command == "-dx" {
            assert_eq!(supervise.wait(), 0);
            supervise = service.supervise();
        }
        for (name, mode) in modes {
            assert_eq!(fs::metadata(service.path(name)).unwrap().mode() & 0o777, mode, "{name}");
        }
    }
}
