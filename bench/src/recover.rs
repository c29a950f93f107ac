//! Measures what a SIGKILL costs: for the log writer, lost lines; for the supervisor and the scanner, copies of the
//! service and the time until commands are obeyed again.

use crate::event::What;
use crate::guard::end_children;
use crate::peers::{ServiceCommand, Style, Suite, succeed};
use crate::run::Run;
use crate::sample::{Better, Figure, keep};
use crate::service::{Events, run_probe, script};
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Measures the recovery.
pub fn measure(run: &Run, figures: &mut Vec<Figure>) -> Result<()> {
    let kills = run.length.pick(2, 2, 5);
    let lines = figure("recover-lines", &format!("Log writer killed {kills} times under load: lines"), "number");
    let copies = figure("recover-copies", "Killed: copies of the service that run afterwards", "number");
    let times = figure("recover-time", "Killed: until commands are obeyed again (-: not in 10 s)", "ms");
    keep(figures, [lines, copies, times], |all| recoveries(run, kills, all))
}

fn recoveries(run: &Run, kills: usize, [lines, copies, times]: &mut [Figure; 3]) -> Result<()> {
    let rounds = run.length.pick(1, 3, 15);
    for round in 1..=rounds {
        for suite in &run.peers.suites {
            run.progress(&format!("recover: log writer: {} ({round} of {rounds})", suite.name()));
            let (lost, doubled) =
                kill_logger(run, *suite, kills).with_context(|| format!("kill {}'s", suite.name()))?;
            lines.add("lost", suite.name(), lost as f64);
            lines.add("doubled", suite.name(), doubled as f64);
        }
        for victim in [Victim::Supervisor, Victim::ScannerThenSupervisor] {
            run.progress(&format!("recover: {} ({round} of {rounds})", victim.describe()));
            let started: Result<Vec<Subject>> =
                run.peers.suites.iter().map(|suite| Subject::start(run, *suite)).collect();
            let mut subjects = started?;
            // This waits past the second that most supervisors wait between two starts.
            sleep(Duration::from_millis(1200));
            if victim == Victim::ScannerThenSupervisor {
                subjects.iter_mut().try_for_each(|subject| subject.replace_scanner(run))?;
                sleep(Duration::from_secs(1));
            }
            subjects.iter_mut().try_for_each(Subject::kill_supervisor)?;
            until_obeyed(&mut subjects)?;
            for subject in &mut subjects {
                let column = subject.suite.name();
                match subject.obeyed {
                    Some(elapsed) => times.add(victim.describe(), column, elapsed.as_secs_f64() * 1000.0),
                    None => times.nothing(victim.describe(), column),
                }
                copies.add(victim.describe(), column, subject.copies()? as f64);
            }
            end_children();
        }
    }
    Ok(())
}

fn figure(name: &'static str, title: &str, unit: &'static str) -> Figure {
    Figure { name, title: title.into(), unit, better: Better::Less, reference: "ours", cells: Vec::new() }
}

/// The programs that are killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Supervisor,
    /// The scanner, which init starts again, and then the supervisor.
    ScannerThenSupervisor,
}

impl Victim {
    fn describe(self) -> &'static str {
        match self {
            Victim::Supervisor => "supervisor",
            Victim::ScannerThenSupervisor => "scanner, then supervisor",
        }
    }
}

/// A scanner with one service.
struct Subject {
    suite: Suite,
    services: PathBuf,
    events: Events,
    scanner: u32,
    /// The processes of the service that have ever run.
    pids: Vec<u32>,
    killed: Instant,
    obeyed: Option<Duration>,
}

impl Subject {
    fn start(run: &Run, suite: Suite) -> Result<Subject> {
        let folder = run.folder()?;
        let mut events = Events::of(&folder)?;
        let services = folder.join("services");
        let service = services.join("service");
        fs::create_dir_all(&service)?;
        run_probe(run, &service, "commanded")?;
        let scanner = scan(run, suite, &services)?;
        let pid = events.wait(What::Started).with_context(|| format!("start {}", suite.name()))?.pid;
        Ok(Subject { suite, services, events, scanner, pids: vec![pid], killed: Instant::now(), obeyed: None })
    }

    /// Starts the scanner again as init does: the next one starts when the last one is gone with its locks.
    fn replace_scanner(&mut self, run: &Run) -> Result<()> {
        end(self.scanner)?;
        waitpid(Pid::from_raw(self.scanner.cast_signed()), None)?;
        self.scanner = scan(run, self.suite, &self.services)?;
        Ok(())
    }

    fn kill_supervisor(&mut self) -> Result<()> {
        let service = self.pids.first().copied().context("no service")?;
        let supervisor = parent_of(service)?;
        self.killed = Instant::now();
        end(supervisor)
    }

    /// Sends CONT to the service through its supervisor, and returns whether the service has received it. Any other
    /// signal would kill a copy that is just being started, again and again.
    fn is_obeyed(&mut self) -> Result<bool> {
        let control = self.services.join("service/supervise/control");
        if let Ok(mut fifo) = OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(control) {
            let _ = fifo.write_all(b"c");
        }
        while let Some(event) = self.events.next()? {
            match event.what {
                What::Started => self.pids.push(event.pid),
                What::Continued => return Ok(true),
                What::Alarmed | What::Terminated => {}
            }
        }
        Ok(false)
    }

    fn copies(&mut self) -> Result<usize> {
        while let Some(event) = self.events.next()? {
            if event.what == What::Started {
                self.pids.push(event.pid);
            }
        }
        Ok(self.pids.iter().filter(|pid| is_alive(**pid)).count())
    }
}

/// Waits at most ten seconds for the service, and then two more for second copies to start.
fn until_obeyed(subjects: &mut [Subject]) -> Result<()> {
    let limit = Instant::now() + Duration::from_secs(10);
    while Instant::now() < limit && subjects.iter().any(|subject| subject.obeyed.is_none()) {
        for subject in subjects.iter_mut().filter(|subject| subject.obeyed.is_none()) {
            if subject.is_obeyed()? {
                subject.obeyed = Some(subject.killed.elapsed());
            }
        }
        sleep(Duration::from_micros(200));
    }
    sleep(Duration::from_secs(2));
    Ok(())
}

/// Starts a suite's scanner without its error messages, whose causes are known here.
fn scan(run: &Run, suite: Suite, services: &Path) -> Result<u32> {
    let mut scanner = run.peers.scanner(suite, services);
    Ok(scanner.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?.id())
}

fn end(pid: u32) -> Result<()> {
    Ok(kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL)?)
}

/// Counts the lines that are lost and those that are written twice when the log writer of a busy service is killed.
fn kill_logger(run: &Run, suite: Suite, kills: usize) -> Result<(usize, usize)> {
    let folder = run.folder()?;
    let mut events = Events::of(&folder)?;
    let service = folder.join("services/service");
    fs::create_dir_all(service.join("log"))?;
    run_probe(run, &service, "numbers")?;
    let main = service.join("log/main");
    let logger = run.peers.logger(suite, Style::Plain, &main)?;
    script(&service.join("log/run"), &format!("#!/bin/sh\nexec {}\n", as_words(&logger)))?;
    scan(run, suite, &folder.join("services"))?;
    events.wait(What::Started)?;
    let mut last = 0;
    for _ in 0..kills {
        last = logger_in(&service.join("log"), &logger, last)?;
        sleep(Duration::from_millis(200));
        end(last)?;
    }
    logger_in(&service.join("log"), &logger, last)?;
    let mut down = run.peers.order(suite, ServiceCommand::Down);
    succeed(down.arg(&service).stdout(Stdio::null()), "down")?;
    events.wait(What::Terminated)?;
    let written: usize = fs::read_to_string(service.join("written"))?.trim().parse()?;
    until_quiet(&main)?;
    let counts = counts(&main, written)?;
    end_children();
    fs::remove_dir_all(folder)?;
    Ok((counts.iter().filter(|count| **count == 0).count(), counts.iter().filter(|count| **count > 1).count()))
}

fn as_words(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// Waits for a log writer with another pid than the last one, and returns its pid.
fn logger_in(directory: &Path, command: &Command, last: u32) -> Result<u32> {
    let name = Path::new(command.get_program()).file_name().context("no program")?.to_string_lossy().into_owned();
    let limit = Instant::now() + Duration::from_secs(30);
    while Instant::now() < limit {
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let of = |file: &str| format!("/proc/{pid}/{file}");
            let there = fs::read_link(of("cwd")).is_ok_and(|folder| folder.starts_with(directory));
            if pid != last && there && fs::read_to_string(of("comm")).is_ok_and(|comm| comm.trim_end() == name) {
                return Ok(pid);
            }
        }
        sleep(Duration::from_millis(5));
    }
    bail!("{name} does not run")
}

/// Waits until the size of the log has not changed for a while.
fn until_quiet(directory: &Path) -> Result<()> {
    let mut before = None;
    loop {
        let sizes: Result<Vec<u64>> = fs::read_dir(directory)?.map(|entry| Ok(entry?.metadata()?.len())).collect();
        let sizes = sizes.ok();
        if sizes.is_some() && sizes == before {
            return Ok(());
        }
        before = sizes;
        sleep(Duration::from_millis(700));
    }
}

/// How often each number occurs on a line of its own.
fn counts(directory: &Path, written: usize) -> Result<Vec<u8>> {
    let mut counts = vec![0_u8; written];
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name() == "current" || entry.file_name().to_string_lossy().starts_with('@') {
            for line in fs::read(entry.path())?.split(|byte| *byte == b'\n').filter(|line| line.len() == WIDTH) {
                let number = std::str::from_utf8(line).ok().and_then(|text| text.parse::<usize>().ok());
                if let Some(count) = number.and_then(|number| counts.get_mut(number)) {
                    *count = count.saturating_add(1);
                }
            }
        }
    }
    Ok(counts)
}

/// The number of digits in a line of `probe numbers`, by which a part of a line is recognised.
const WIDTH: usize = 15;

fn parent_of(pid: u32) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(status.lines().find_map(|line| line.strip_prefix("PPid:")).context("no PPid")?.trim().parse()?)
}

fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| !status.contains("State:\tZ"))
}
