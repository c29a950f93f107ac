//! package/try shows its service and leaves nothing behind, however it ends.

use crate::tree::workspace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::{Scratch, processes_in};

/// A trial in a temporary directory of its own.
struct Trial {
    folder: Scratch,
    child: Child,
}

impl Trial {
    fn start(seconds: &[&str]) -> Trial {
        let folder = Scratch::new();
        let output = fs::File::create(folder.path().join("output")).unwrap();
        let child = Command::new(workspace().join("package/try"))
            .args(seconds)
            .env("BIN", tests::programs())
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stderr(output.try_clone().unwrap())
            .stdout(output)
            .spawn()
            .unwrap();
        Trial { folder, child }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap()
    }

    fn scratch(&self) -> Option<PathBuf> {
        let entries = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.into_iter().find(|path| path.is_dir())
    }

    fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Trial) -> bool) {
        let limit = Instant::now() + Duration::from_secs(60);
        while !condition(self) {
            assert!(Instant::now() < limit, "{what}: {}", self.output());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(&mut self) -> std::process::ExitStatus {
        self.until("end of the trial", |trial| trial.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap()
    }

    fn nothing_is_left(&mut self) {
        assert_eq!(self.scratch(), None, "{}", self.output());
        let folder = self.folder.path().to_path_buf();
        self.until("end of every process", |_| processes_in(&folder).is_empty());
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() >> (signal as u32 - 1) & 1 == 1
}

#[test]
fn shows_the_service_and_its_log_and_ends_in_time() {
    let mut trial = Trial::start(&["3"]);
    let status = trial.end();
    let output = trial.output();
    assert!(status.success(), "{output}");
    assert!(output.contains("\ngreeter: up (pid "), "{output}");
    assert!(output.contains("\ngreeter/log: up (pid "), "{output}");
    assert!(output.lines().any(|line| line.starts_with("    2") && line.ends_with(" line 1")), "{output}");
    trial.nothing_is_left();
}

#[test]
fn a_signal_stops_it_in_order_at_any_moment() {
    let signals = [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGINT, 0), (Signal::SIGQUIT, 131)];
    // A shell cannot trap a signal that was ignored when it was started. A test that runs in the background may have
    // ignored signals.
    let signals: Vec<_> = signals.into_iter().filter(|(signal, _)| !is_ignored(*signal)).collect();
    let moments = ["A service", "greeter: up", "line 1"];
    let cases = signals.into_iter().flat_map(|case| moments.map(|moment| (case, moment, Trial::start(&[]))));
    for ((signal, code), moment, mut trial) in cases.collect::<Vec<_>>() {
        trial.until(moment, |trial| trial.output().contains(moment));
        kill(Pid::from_raw(trial.child.id().cast_signed()), signal).unwrap();
        assert_eq!(trial.end().code(), Some(code), "{signal} {}", trial.output());
        trial.nothing_is_left();
    }
}

#[test]
fn a_reader_that_goes_away_stops_it_too() {
    let mut trial = Trial::start(&["0"]);
    trial.end();
    let folder = trial.folder.path().to_path_buf();
    let mut child = Command::new(workspace().join("package/try"))
        .env("BIN", tests::programs())
        .env("TMPDIR", &folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child.wait().unwrap();
    trial.nothing_is_left();
}
