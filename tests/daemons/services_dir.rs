//! A directory of services, on which svscan runs.

use crate::daemons::Daemon;
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::{Scratch, processes_in};

const LIMIT: Duration = Duration::from_secs(60);

pub struct ServicesDir {
    scratch: Scratch,
    svscan: tests::Daemon,
}

impl ServicesDir {
    /// Copies the examples of these daemons, writes their settings, and starts svscan.
    pub fn open(daemons: &[Daemon]) -> ServicesDir {
        let scratch = Scratch::new();
        scratch.dir("service");
        for daemon in daemons {
            let example = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples").join(daemon.name);
            let service = scratch.path().join("service").join(daemon.name);
            assert!(Command::new("cp").arg("-R").args([&example, &service]).status().unwrap().success());
            for (name, value) in &daemon.settings {
                fs::write(service.join("env").join(name), format!("{value}\n")).unwrap();
            }
        }
        let mut command = scratch.command("svscan");
        command.arg("service").env("PATH", path());
        let svscan = tests::Daemon::start(&mut command, &scratch);
        ServicesDir { scratch, svscan }
    }

    fn service(&self, name: &str) -> PathBuf {
        self.scratch.path().join("service").join(name)
    }

    fn run(&self, program: &str, args: &[&str], stdin: Stdio) -> String {
        let mut command = self.scratch.command(program);
        let output = command.args(args).current_dir(self.service("")).stdin(stdin).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    pub fn svc(&self, commands: &str, name: &str) {
        assert_eq!(self.run("svc", &[commands, name], Stdio::null()), "");
    }

    pub fn svstat(&self, name: &str) -> String {
        self.run("svstat", &[name], Stdio::null())
    }

    /// The process of a service, if it is up.
    pub fn pid(&self, name: &str) -> Option<i32> {
        let line = self.svstat(name);
        line.split_once("(pid ")?.1.split_once(')')?.0.parse().ok()
    }

    /// The newest log of a service, with readable times.
    pub fn log(&self, name: &str) -> String {
        let current = fs::File::open(self.service(name).join("log/main/current"));
        current.map(|current| self.run("tai64nlocal", &[], current.into())).unwrap_or_default()
    }

    pub fn until(&self, name: &str, what: &str, condition: impl Fn() -> bool) {
        let limit = Instant::now() + LIMIT;
        while !condition() {
            let seen = [self.svstat(name), self.log(name), self.svscan.errors()].concat();
            assert!(Instant::now() < limit, "{name}: no {what}: {seen}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Makes svscan stop everything in order. No process may be left.
    pub fn close(mut self) {
        self.svscan.signal(Signal::SIGTERM);
        assert_eq!(self.svscan.wait(), 0, "{}", self.svscan.errors());
        self.until("svscan", "end of all it started", || processes_in(self.scratch.path()).is_empty());
    }
}

/// The search path: our programs, then the system's, including the directories of daemons that are only in root's path.
fn path() -> OsString {
    let folders = [tests::programs().as_os_str(), ":/usr/bin:/bin:/usr/sbin:/sbin".as_ref()];
    folders.into_iter().collect()
}
