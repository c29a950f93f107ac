//! A scratch directory in which tests run programs.

use crate::processes::kill_all_in;
use crate::programs::{is_root, programs};
use crate::scene;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{panicking, sleep};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The time after which a program counts as hanging.
const LIMIT: Duration = Duration::from_secs(30);
/// The user nobody, which every system has and which has no rights.
const NOBODY: u32 = 65534;

/// The outcome of a program: its output and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The outcome of a program that succeeds and prints.
pub fn prints(stdout: &str) -> Outcome {
    Outcome { code: 0, stdout: stdout.into(), stderr: String::new() }
}

/// The outcome of a program that fails with a message.
pub fn fails(code: i32, stderr: &str) -> Outcome {
    Outcome { code, stdout: String::new(), stderr: stderr.into() }
}

/// A directory that is removed when it is dropped, with its files and with all processes that belong to it.
pub struct Scratch {
    dir: TempDir,
    programs: PathBuf,
    kept_on_failure: bool,
    count: AtomicUsize,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        scene::end(self.path());
        kill_all_in(self.path());
        if self.kept_on_failure && panicking() {
            self.dir.disable_cleanup(true);
            eprintln!("what is left of it: {}", self.path().display());
        }
    }
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

impl Scratch {
    pub fn new() -> Scratch {
        Scratch::of(programs())
    }

    /// Makes a scratch directory for the programs of another folder than the judged one.
    pub fn of(programs: &Path) -> Scratch {
        let dir = tempfile::tempdir().expect("a scratch directory");
        // The user nobody must be able to enter it too, see `as_nobody`.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("set the mode of the scratch directory");
        scene::begin(dir.path());
        Scratch { dir, programs: programs.into(), kept_on_failure: false, count: AtomicUsize::new(0) }
    }

    /// Keeps the files of the directory if the test fails, so that they can be examined.
    pub fn kept_on_failure(mut self) -> Scratch {
        self.kept_on_failure = true;
        self
    }

    /// The folder of the programs that run here.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A number that was never returned before.
    pub fn next(&self) -> usize {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes a file, and makes the directories in which it lies.
    pub fn file(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a name")).expect("make the directory of a file");
        fs::write(path, content).expect("write a file");
    }

    pub fn dir(&self, name: impl AsRef<Path>) {
        fs::create_dir_all(self.path().join(name)).expect("make a directory");
    }

    pub fn mode(&self, name: impl AsRef<Path>, mode: u32) {
        fs::set_permissions(self.path().join(name), Permissions::from_mode(mode)).expect("set a mode");
    }

    /// Makes an executable file. Another process writes it: a program that another test starts at that moment could
    /// inherit a descriptor of ours, and a file that a process has open for writing cannot be executed.
    pub fn script(&self, name: impl AsRef<Path>, content: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a name")).expect("make the directory of a file");
        let write = Command::new("/bin/sh")
            .args(["-c", r#"printf %s "$1" >"$0" && chmod 755 "$0""#])
            .arg(path)
            .arg(content)
            .status();
        assert!(write.expect("start a shell").success());
    }

    /// Makes a copy of a program. Another process writes it, as with [`Scratch::script`].
    pub fn copy_program(&self, from: impl AsRef<Path>, name: impl AsRef<Path>) {
        copy_program(from, self.path().join(name));
    }

    /// A command for a program of the judged folder, or of the system, which runs here with an empty input and a small
    /// environment.
    pub fn command(&self, name: &str) -> Command {
        let folder = self.programs();
        let judged = folder.join(name);
        let mut path = folder.as_os_str().to_os_string();
        path.push(":/usr/bin:/bin");
        let mut command = Command::new(if judged.is_file() { judged.as_os_str() } else { name.as_ref() });
        command.current_dir(self.path()).env_clear().env("PATH", path).stdin(Stdio::null());
        command
    }

    /// Runs a program as `Scratch::command` does, but as the user nobody, from a copy that this user can reach.
    pub fn as_nobody(&self, name: &str) -> Command {
        let copy = Command::new("cp").arg(self.programs().join(name)).arg(self.path()).status();
        assert!(copy.expect("start cp").success());
        let mut command = self.command(self.path().join(name).to_str().expect("a plain path"));
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Runs a line of words separated by blanks; `''` is the empty word.
    pub fn run(&self, line: &str) -> Outcome {
        let mut words = line.split(' ').map(|word| if word == "''" { "" } else { word });
        let mut command = self.command(words.next().expect("a program"));
        self.outcome_of(command.args(words))
    }

    /// Runs a shell command, with the judged programs first in PATH.
    pub fn shell(&self, line: &str) -> Outcome {
        self.outcome_of(self.command("/bin/sh").args(["-c", line]))
    }

    /// The output of a program on a terminal. The terminal is that of script(1), which adds a carriage return to each
    /// line. svlog uses no pager there, unless the line says otherwise.
    pub fn on_terminal(&self, line: &str) -> String {
        let mut command = self.command("script");
        let outcome =
            self.outcome_of(command.env("TERM", "xterm").env("SVLOG_PAGER", "").args(["-qec", line, "/dev/null"]));
        outcome.stdout.replace("\r\n", "\n")
    }

    /// Waits for the end of the program. If it does not end in time, kills it and fails.
    pub fn outcome_of(&self, command: &mut Command) -> Outcome {
        // The output goes to files, not pipes, so that the test does not wait for processes that the program leaves
        // behind.
        let [stdout, stderr] = [tempfile::tempfile(), tempfile::tempfile()].map(|file| file.expect("a file"));
        let copy = |file: &File| file.try_clone().expect("another descriptor");
        let child = command.stdout(copy(&stdout)).stderr(copy(&stderr)).spawn();
        let status = Running(child.expect("start a program")).wait();
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Outcome { code, stdout: content(stdout), stderr: content(stderr) }
    }
}

/// Converts bytes to text; bytes that are not UTF-8 become `\xff`.
fn content(file: File) -> String {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; file.metadata().map_or(0, |metadata| metadata.len() as usize)];
    file.read_exact_at(&mut bytes, 0).expect("read what the program wrote");
    bytes.utf8_chunks().map(|chunk| format!("{}{}", chunk.valid(), chunk.invalid().escape_ascii())).collect()
}

/// A process that is killed when it is dropped, so that it does not outlive the test.
pub struct Running(pub Child);

impl Running {
    pub fn wait(mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the program ends", || {
            status = self.0.try_wait().expect("wait for the program");
            status.is_some()
        });
        status.expect("a status")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a condition holds, and fails if that takes too long.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "waited in vain until {what}{}", scene::show());
        sleep(Duration::from_millis(1));
    }
}

/// Makes a FIFO.
pub fn fifo(path: &Path) -> io::Result<()> {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600)).map_err(io::Error::from)
}

/// Copies a program for execution; see [`Scratch::script`].
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let copy = Command::new("cp").arg(from.as_ref()).arg(to.as_ref()).status();
    assert!(copy.expect("start cp").success());
}
