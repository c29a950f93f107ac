//! A scratch directory to run programs in.

use crate::processes::kill_all_in;
use crate::programs::{is_root, programs};
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

/// How long anything may take before it counts as hanging.
const LIMIT: Duration = Duration::from_secs(30);
/// Every system has this user, who may do nothing.
const NOBODY: u32 = 65534;

/// What a program left when it ended.
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

/// The outcome of a program that fails and says why.
pub fn fails(code: i32, stderr: &str) -> Outcome {
    Outcome { code, stdout: String::new(), stderr: stderr.into() }
}

/// A directory that goes away with what it holds, and with all processes that have to do with it.
pub struct Scratch {
    dir: TempDir,
    programs: PathBuf,
    kept_on_failure: bool,
    count: AtomicUsize,
}

impl Drop for Scratch {
    fn drop(&mut self) {
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

    /// For the programs of another folder than the one that is judged.
    pub fn of(programs: &Path) -> Scratch {
        let dir = tempfile::tempdir().expect("a scratch directory");
        // Entered by nobody too, see `without_rights`.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("set the mode of the scratch directory");
        Scratch { dir, programs: programs.into(), kept_on_failure: false, count: AtomicUsize::new(0) }
    }

    /// Its files stay if the test fails, to be looked at.
    pub fn kept_on_failure(mut self) -> Scratch {
        self.kept_on_failure = true;
        self
    }

    /// The folder of its programs.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A number not given before.
    pub fn next(&self) -> usize {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes a file, and the directories it lies in.
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

    /// An executable file. Another process writes it: a descriptor of ours could be inherited by what another
    /// test starts at that moment, and as long as somebody may write a file, it cannot be executed.
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

    /// A copy of a program, to be executed. Another process writes it, as it does a script.
    pub fn copy_program(&self, from: impl AsRef<Path>, name: impl AsRef<Path>) {
        copy_program(from, self.path().join(name));
    }

    /// A program of the judged folder, or of the system, to be run here with an empty input and little
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

    /// The same for somebody without root's rights, run from a copy that he can reach.
    pub fn without_rights(&self, name: &str) -> Command {
        let copy = Command::new("cp").arg(self.programs().join(name)).arg(self.path()).status();
        assert!(copy.expect("start cp").success());
        let mut command = self.command(self.path().join(name).to_str().expect("a plain path"));
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Runs a line of words parted by blanks; `''` is the empty word.
    pub fn run(&self, line: &str) -> Outcome {
        let mut words = line.split(' ').map(|word| if word == "''" { "" } else { word });
        let mut command = self.command(words.next().expect("a program"));
        self.outcome_of(command.args(words))
    }

    /// Runs a line of shell, with the judged programs first in PATH.
    pub fn shell(&self, line: &str) -> Outcome {
        self.outcome_of(self.command("/bin/sh").args(["-c", line]))
    }

    /// What a program writes if all that it has is a terminal: one of script(1), which ends lines with a carriage return.
    pub fn on_terminal(&self, line: &str) -> String {
        let mut command = self.command("script");
        let outcome = self.outcome_of(command.env("TERM", "xterm").args(["-qec", line, "/dev/null"]));
        outcome.stdout.replace("\r\n", "\n")
    }

    /// Waits for the end; kills and fails if it does not come.
    pub fn outcome_of(&self, command: &mut Command) -> Outcome {
        // Files, not pipes: what the program leaves behind in the background cannot hold us up.
        let [stdout, stderr] = [tempfile::tempfile(), tempfile::tempfile()].map(|file| file.expect("a file"));
        let copy = |file: &File| file.try_clone().expect("another descriptor");
        let child = command.stdout(copy(&stdout)).stderr(copy(&stderr)).spawn();
        let status = Running(child.expect("start a program")).wait();
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Outcome { code, stdout: content(stdout), stderr: content(stderr) }
    }
}

/// As text; what is not UTF-8 is written as `\xff`.
fn content(file: File) -> String {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; file.metadata().map_or(0, |metadata| metadata.len() as usize)];
    file.read_exact_at(&mut bytes, 0).expect("read what the program wrote");
    bytes.utf8_chunks().map(|chunk| format!("{}{}", chunk.valid(), chunk.invalid().escape_ascii())).collect()
}

/// A process that does not outlive the test.
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

/// Asks until the answer is yes; fails when it takes too long.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "waited in vain until {what}");
        sleep(Duration::from_millis(1));
    }
}

/// A FIFO.
pub fn fifo(path: &Path) -> io::Result<()> {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600)).map_err(io::Error::from)
}

/// Copies a program that is to be executed; see [`Scratch::script`].
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let copy = Command::new("cp").arg(from.as_ref()).arg(to.as_ref()).status();
    assert!(copy.expect("start cp").success());
}
