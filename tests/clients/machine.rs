//! A machine with a supervisor. It shares /usr with this machine, but has its own /service and /etc, in a mount
//! namespace.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use tests::{Daemon, Outcome, Scratch, Service, has, is_root, programs, skip, wait_until};

/// The supervisor that keeps the services running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supervisor {
    Ours,
    /// Ours, and our sv in the place of Debian's.
    OursWithSv,
    Daemontools,
    Runit,
}

/// The directories and files that clients expect, besides /usr.
const DIRECTORIES: [&str; 10] =
    ["dev", "etc/puppet", "proc", "run", "service", "tmp", "usr", "var/lib/puppet", "var/lib/service", "var/log"];
/// The files of /etc that clients need: accounts, libraries, names of programs, and the name of the system.
const SETTINGS: [&str; 8] =
    ["alternatives", "debian_version", "group", "ld.so.cache", "lsb-release", "nsswitch.conf", "os-release", "passwd"];
/// The programs of daemontools that ours replace.
const PROGRAMS: [&str; 7] = ["multilog", "supervise", "svc", "svok", "svscan", "svstat", "tai64nlocal"];

pub struct Machine {
    scratch: Scratch,
    supervisor: Supervisor,
    scanner: Daemon,
}

impl Machine {
    /// Starts a machine. Its services lie in /var/lib/service, and those that are linked in /service run.
    ///
    /// Returns `None` if such a machine cannot be made here; the reason was printed.
    pub fn new(supervisor: Supervisor, prepare: impl Fn(&Scratch)) -> Option<Machine> {
        if !can_be_made() {
            return None;
        }
        let scratch = Scratch::new();
        let root = scratch.path().join("root");
        for directory in DIRECTORIES {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for part in ["bin", "lib", "lib64", "sbin"] {
            symlink(format!("usr/{part}"), root.join(part)).unwrap();
        }
        let copy = Command::new("sh")
            .args(["-c", "cd /etc; for file; do [ ! -e $file ] || cp -a $file $0; done"])
            .arg(root.join("etc"))
            .args(SETTINGS)
            .status();
        assert!(copy.unwrap().success());
        prepare(&scratch);
        let mut machine = Command::new("unshare");
        machine.args(["--mount", "sh", "-c", &start(supervisor), "machine"]).arg(&root).arg(programs());
        machine.arg(clients()).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients"));
        machine.env("SCRATCH", scratch.path()).current_dir(scratch.path());
        let scanner = Daemon::start(&mut machine, &scratch);
        let there = fs::canonicalize(&root).unwrap();
        wait_until("the machine has its own root", || {
            fs::read_link(format!("/proc/{}/root", scanner.pid())).is_ok_and(|seen| seen == there)
        });
        Some(Machine { scratch, supervisor, scanner })
    }

    /// Returns `ours`, or `theirs` on a machine with the supervisor for which the client was written. It marks an
    /// intended difference.
    pub fn differs<T>(&self, ours: T, theirs: T) -> T {
        if self.supervisor == Supervisor::Ours { ours } else { theirs }
    }

    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The service with this directory in /var/lib/service.
    pub fn service(&self, name: &str) -> Service<'_> {
        Service::at(&self.scratch, &format!("{SOURCES}/{name}"))
    }

    /// A path on the machine, as seen from the test.
    pub fn path(&self, path: &str) -> PathBuf {
        self.scratch.path().join("root").join(path.trim_start_matches('/'))
    }

    /// A command that runs a program on the machine.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.scanner.pid())).args(["--mount", "--root", "--wdns=/", "--"]);
        command.args(words).env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", "/tmp");
        command.env("LC_ALL", "C.UTF-8").env("SCRATCH", self.scratch.path()).stdin(std::process::Stdio::null());
        command
    }

    /// Runs words separated by blanks on the machine.
    pub fn run(&self, words: &str) -> Outcome {
        self.scratch.outcome_of(&mut self.command(&words.split(' ').collect::<Vec<_>>()))
    }
}

/// The directory that contains the services' directories, in the scratch directory of a machine.
pub const SOURCES: &str = "root/var/lib/service";

/// Makes a service and links it into /service.
pub fn linked<'a>(scratch: &'a Scratch, name: &str, run: &str) -> Service<'a> {
    let service = Service::new(scratch, &format!("{SOURCES}/{name}"), run);
    symlink(format!("/var/lib/service/{name}"), scratch.path().join("root/service").join(name)).unwrap();
    service
}

/// A service that records that it was started, and which signals it has received.
pub const LISTENS: &str = "trap 'echo HUP >>heard' HUP; trap 'echo USR1 >>heard' USR1
    echo $$ >>started; while :; do sleep 0.05; done";

/// Runs the same test on a machine with our programs and on one with those for which the client was written, at the
/// same time.
pub fn both(theirs: Supervisor, prepare: impl Fn(&Scratch) + Sync, story: impl Fn(&Machine) + Sync) {
    each(&[Supervisor::Ours, theirs], prepare, story);
}

/// Runs the same test on three machines, at the same time: with Debian's sv and our supervise, with our sv in its place, and
/// with all of Debian's runit.
pub fn with_each_sv(prepare: impl Fn(&Scratch) + Sync, story: impl Fn(&Machine) + Sync) {
    each(&[Supervisor::Ours, Supervisor::OursWithSv, Supervisor::Runit], prepare, |machine| {
        let is_ours = machine.run("sv --version").stdout.starts_with("sv (daemontools) ");
        assert_eq!(is_ours, machine.supervisor == Supervisor::OursWithSv);
        story(machine);
    });
}

fn each(supervisors: &[Supervisor], prepare: impl Fn(&Scratch) + Sync, story: impl Fn(&Machine) + Sync) {
    thread::scope(|scope| {
        for supervisor in supervisors.iter().copied() {
            let (prepare, story) = (&prepare, &story);
            let told = thread::Builder::new().name(format!("{supervisor:?}"));
            let tell = move || Machine::new(supervisor, prepare).iter().for_each(story);
            told.spawn_scoped(scope, tell).unwrap();
        }
    });
}

/// Where .ci/run puts clients that do not come from Debian.
pub fn clients() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let folder = test.ancestors().nth(3).expect("the target directory").join("clients");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn can_be_made() -> bool {
    if !is_root() {
        skip("only root can make a machine");
        return false;
    }
    PROGRAMS.into_iter().chain(["sv", "runsvdir", "nsenter"]).all(has)
}

/// A line of shell that mounts what the machine shares with this one, and then executes the program that starts the
/// services there. $1 is the root of the machine, $2 the folder of our programs, $3 that of the clients, $4 that of the
/// drivers.
fn start(supervisor: Supervisor) -> String {
    let mounts = "set -e; mount --rbind /usr \"$1/usr\"; mount --rbind /dev \"$1/dev\"; mount --rbind /proc \"$1/proc\"
        for folder in \"$3\" \"$4\"; do mkdir -p \"$1$folder\"; mount --bind \"$folder\" \"$1$folder\"; done";
    // With systemd, Salt would leave all services to it, so systemctl is hidden.
    let systemd = ": >\"$1/run/nothing\"; [ ! -e /usr/bin/systemctl ] || mount --bind \"$1/run/nothing\" \"$1/usr/bin/systemctl\"";
    let ours = PROGRAMS.map(|name| format!("mount --bind \"$2/{name}\" \"$1/usr/bin/{name}\""));
    let scanner = match supervisor {
        Supervisor::Ours => format!("{}\nscanner=svscan", ours.join("\n")),
        Supervisor::OursWithSv => {
            let sv = "mount --bind \"$2/svctl\" \"$1/usr/bin/sv\"";
            format!("{}\n{sv}\nscanner=svscan", ours.join("\n"))
        }
        Supervisor::Daemontools => "scanner=svscan".into(),
        Supervisor::Runit => "scanner=runsvdir".into(),
    };
    format!(
        "{mounts}\n{systemd}\n{scanner}\nexec chroot \"$1\" env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin SCRATCH=\"$SCRATCH\" $scanner /service"
    )
}

/// Waits until a service has recorded this number of starts and its status shows the last one. Supervisors write the
/// status while `run` is executed, so the two may differ for a moment.
pub fn started(service: &Service, count: usize) {
    service.lines("started", count);
    let is_one = |pid: i32| service.says("started").lines().skip(count - 1).any(|line| line == pid.to_string());
    service.wait_for("is the one that was started", |status| is_one(status.pid));
}
