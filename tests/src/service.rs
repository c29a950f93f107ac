//! Service directories, and the daemons that work on them.

use crate::processes::is_alive;
use crate::scratch::{Outcome, Scratch, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A service directory in a scratch directory.
pub struct Service<'a> {
    scratch: &'a Scratch,
    name: String,
}

impl<'a> Service<'a> {
    /// Makes a service directory whose `run` contains these lines of shell.
    pub fn new(scratch: &'a Scratch, name: &str, run: &str) -> Service<'a> {
        scratch.dir(name);
        Service { scratch, name: name.into() }.script("run", run)
    }

    /// Takes a service directory that exists already.
    pub fn at(scratch: &'a Scratch, name: &str) -> Service<'a> {
        Service { scratch, name: name.into() }
    }

    /// Adds another program to the service directory.
    pub fn script(self, name: &str, lines: &str) -> Self {
        self.scratch.script(Path::new(&self.name).join(name), &format!("#!/bin/sh\n{lines}\n"));
        self
    }

    /// Adds a setting to the service directory.
    pub fn file(self, name: &str, content: &str) -> Self {
        self.scratch.file(Path::new(&self.name).join(name), content);
        self
    }

    /// Makes the FIFO by which a program can hold back starts and ends.
    pub fn hold(self) -> Self {
        fs::create_dir_all(self.path("supervise")).unwrap();
        super::fifo(&self.path("supervise/hold")).unwrap();
        self
    }

    pub fn down(self) -> Self {
        self.file("down", "")
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(&self.name).join(name)
    }

    /// The text of a file of the service; empty if it is missing.
    pub fn says(&self, name: &str) -> String {
        fs::read(self.path(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The pids in a file of which the processes are alive.
    pub fn alive(&self, file: &str) -> Vec<i32> {
        self.says(file).lines().filter_map(|line| line.parse().ok()).filter(|pid| is_alive(*pid)).collect()
    }

    /// Waits until a file has this number of lines, and returns all its lines.
    pub fn lines(&self, name: &str, count: usize) -> Vec<String> {
        let mut text = String::new();
        wait_until(&format!("{name} has {count} lines"), || {
            text = self.says(name);
            text.matches('\n').count() >= count
        });
        text.lines().map(str::to_string).collect()
    }

    /// Starts a supervise, which is in charge when this returns.
    pub fn supervise(&self) -> Daemon {
        let daemon = Daemon::start(self.scratch.command("supervise").arg(&self.name), self.scratch);
        wait_until("supervise is in charge", || self.is_supervised());
        daemon
    }

    pub fn is_supervised(&self) -> bool {
        let open = OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(self.path("supervise/ok"));
        open.is_ok()
    }

    /// Commands the service by svc, which must write no message.
    pub fn svc(&self, commands: &str) {
        let outcome = self.scratch.outcome_of(self.scratch.command("svc").args([commands, &self.name]));
        assert_eq!(outcome, crate::prints(""), "svc {commands}");
    }

    /// Commands the service by svc as soon as a supervise is in charge that is not just ending.
    pub fn svc_when_supervised(&self, commands: &str) {
        let svc = || self.scratch.outcome_of(self.scratch.command("svc").args([commands, &self.name]));
        wait_until("it can be commanded", || self.is_supervised() && svc() == crate::prints(""));
    }

    /// Commands the service without svc, by bytes.
    pub fn control(&self, bytes: &[u8]) {
        self.try_control(bytes).expect("write to control");
    }

    /// Commands the service by bytes; there may be no supervise.
    ///
    /// # Errors
    /// ENXIO: there is no supervise.
    pub fn try_control(&self, bytes: &[u8]) -> io::Result<()> {
        let mut open = OpenOptions::new();
        let fifo = open.write(true).custom_flags(nix::libc::O_NONBLOCK).open(self.path("supervise/control"));
        fifo?.write_all(bytes)
    }

    /// The answer of svstat about the service, with N for every number.
    pub fn svstat(&self) -> String {
        let Outcome { stdout, .. } = self.scratch.outcome_of(self.scratch.command("svstat").arg(&self.name));
        let answer =
            stdout.trim_end().strip_prefix(&format!("{}: ", self.name)).expect("a line that begins with the name");
        answer.split_inclusive(|c: char| !c.is_ascii_digit()).map(without_number).collect()
    }

    /// The present status. supervise writes `supervise/state` and the status one after the other, so this waits until
    /// they agree; but not for long, as in some tests one of them cannot be written.
    pub fn status(&self) -> Status {
        let read = || Status::read(&self.path("supervise/status")).expect("a status of at least 18 bytes");
        let is_settled = |status: &Status| {
            let said = [self.state("pid"), self.state("shown-pid")].concat();
            let pid = said.first().and_then(|pid| pid.split(' ').next()?.parse().ok());
            !self.path("supervise/state").exists() || pid.unwrap_or(0) == status.pid
        };
        let patience = Instant::now() + Duration::from_secs(1);
        let mut status = read();
        while !is_settled(&status) && Instant::now() < patience {
            sleep(Duration::from_millis(5));
            status = read();
        }
        status
    }

    /// A byte of the status, if the status exists.
    pub fn status_byte(&self, number: usize) -> Option<u8> {
        Status::read(&self.path("supervise/status"))?.bytes.get(number).copied()
    }

    pub fn wait_for(&self, what: &str, condition: impl Fn(&Status) -> bool) -> Status {
        let mut seen = None;
        wait_until(&format!("{}: {what}", self.name), || {
            seen = Status::read(&self.path("supervise/status"));
            seen.as_ref().is_some_and(&condition)
        });
        seen.expect("a status")
    }

    /// Waits until the service is up, and returns its pid.
    pub fn up(&self) -> i32 {
        self.another(0)
    }

    pub fn wait_down(&self) {
        self.wait_for("is down", |status| status.pid == 0);
    }

    /// Waits until the service is up under another pid and has executed its program, as the status is written before
    /// that.
    pub fn another(&self, pid: i32) -> i32 {
        self.wait_for("is up", |status| status.pid != 0 && status.pid != pid && has_executed(status.pid)).pid
    }

    /// The values of a key of `supervise/state`, in their order.
    pub fn state(&self, key: &str) -> Vec<String> {
        let state = self.says("supervise/state");
        state.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' ').map(str::to_string)).collect()
    }
}

/// Whether the process runs another program than supervise. The status may still name a process that has ended.
fn has_executed(pid: i32) -> bool {
    is_alive(pid) && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name != "supervise\n")
}

/// Replaces a number: `12)` becomes `N)`.
fn without_number(piece: &str) -> String {
    let rest = piece.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() < piece.len() { format!("N{rest}") } else { piece.to_string() }
}

/// The content of `supervise/status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub bytes: Vec<u8>,
    pub pid: i32,
    pub paused: u8,
    pub want: u8,
    /// The byte of daemontools-encore, which follows those of daemontools 0.76.
    pub phase: Option<u8>,
}

impl Status {
    pub fn read(path: &Path) -> Option<Status> {
        let bytes = fs::read(path).ok().filter(|bytes| bytes.len() >= 18)?;
        let pid = i32::from_le_bytes(bytes[12..16].try_into().ok()?);
        Some(Status { pid, paused: bytes[16], want: bytes[17], phase: bytes.get(18).copied(), bytes })
    }

    pub fn unix_seconds(&self) -> i64 {
        i64::from_be_bytes(self.bytes[..8].try_into().expect("eight bytes")) - (1 << 62) - 10
    }
}

/// A daemon in the background, with its messages. It does not outlive the test.
pub struct Daemon {
    child: Child,
    errors: PathBuf,
}

impl Daemon {
    pub fn start(command: &mut Command, scratch: &Scratch) -> Daemon {
        let errors = scratch.path().join(format!(".errors.{}", scratch.next()));
        let file = fs::File::create(&errors).expect("a file for complaints");
        // All processes that the daemon starts inherit this variable, by which they are found at the end of the test.
        let child = command.stderr(file).env("SCRATCH", scratch.path()).spawn().expect("start a daemon");
        Daemon { child, errors }
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.errors).unwrap_or_default()).into_owned()
    }

    /// What it has said, without what svscan tells of a stop that takes long, as it may on a busy machine.
    pub fn complaints(&self) -> String {
        let is_told = |line: &&str| line.starts_with("svscan: stopping ") || line.ends_with(" is down");
        self.errors().lines().filter(|line| !is_told(line)).map(|line| format!("{line}\n")).collect()
    }

    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits for the end of the daemon, and returns its exit code, or 128 plus the signal.
    pub fn wait(&mut self) -> i32 {
        wait_until("the daemon ends", || self.has_ended());
        let status = self.child.wait().expect("its status");
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
    }

    pub fn signal(&self, signal: Signal) {
        assert!(is_alive(self.pid()), "the daemon has ended: {}", self.errors());
        kill(Pid::from_raw(self.pid()), signal).expect("send a signal");
    }

    /// Kills the daemon by SIGKILL, and returns when it is gone.
    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
