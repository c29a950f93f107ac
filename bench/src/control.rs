//! Measures the time from a command until the signal arrives, and from a service's death until it runs again; and the
//! time for commands and questions to thousands of services at once.
//!
//! The service itself reports the moment, so that the benchmark does not poll.

use crate::event::{What, now};
use crate::guard::end_children;
use crate::peers::{ServiceCommand, Suite};
use crate::run::Run;
use crate::sample::{Better, Figure, keep};
use crate::service::Supervised;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Measures the times of commands.
pub fn measure(run: &Run, figures: &mut Vec<Figure>) -> Result<()> {
    let times = figure("control", "One service: time until the service knows");
    keep(figures, [times], |[times]| one(run, times))?;
    let many = run.length.pick(100, 10_000, 10_000);
    let at_once = figure("control-many", &format!("{many} services in one call"));
    keep(figures, [at_once], |[at_once]| thousands(run, many, at_once))
}

fn one(run: &Run, times: &mut Figure) -> Result<()> {
    let services: Result<Vec<Supervised>> =
        run.peers.suites.iter().map(|suite| Supervised::start(run, *suite)).collect();
    let mut services = services?;
    let rounds = run.length.pick(1, 9, 40);
    for round in 1..=rounds {
        for service in &mut services {
            run.progress(&format!("control: {} ({round} of {rounds})", service.suite.name()));
            one_round(run, service, times)?;
        }
        // The first suite of a round finds a machine that has slept, so each round begins with another suite.
        services.rotate_left(1);
    }
    drop(services);
    end_children();
    Ok(())
}

fn figure(name: &'static str, title: &str) -> Figure {
    Figure { name, title: title.into(), unit: "ms", better: Better::Less, reference: "ours", cells: Vec::new() }
}

/// A time longer than any suite waits before it restarts a service.
const STABLE: Duration = Duration::from_millis(1300);

fn one_round(run: &Run, service: &mut Supervised, times: &mut Figure) -> Result<()> {
    sleep(STABLE.saturating_sub(service.since.elapsed()));
    let column = service.suite.name();

    let begin = now();
    service.tell(run, ServiceCommand::Alarm)?;
    times.add("command until the signal", column, since(begin, service.events.wait(What::Alarmed)?.at));

    let control = service.directory.join("supervise/control");
    let begin = now();
    OpenOptions::new().write(true).open(control)?.write_all(b"a")?;
    times.add("byte in control until the signal", column, since(begin, service.events.wait(What::Alarmed)?.at));

    let begin = now();
    kill(Pid::from_raw(service.pid.cast_signed()), Signal::SIGKILL)?;
    times.add("death until it runs again", column, since(begin, service.restarted()?.at));

    let begin = now();
    service.tell(run, ServiceCommand::Down)?;
    let terminated = service.events.wait(What::Terminated).context("down right after the start")?;
    times.add("down, right after a start, until TERM", column, since(begin, terminated.at));

    let begin = now();
    service.tell(run, ServiceCommand::Up)?;
    times.add("up, right after the end, until it runs", column, since(begin, service.restarted()?.at));
    if let Some(mut wait) = run.peers.wait_until_down(service.suite, &service.directory) {
        let mut wait = wait.spawn()?;
        // This waits until the second is over that s6 waits between starts, and until the program that waits for the
        // service is ready.
        sleep(STABLE);
        service.tell(run, ServiceCommand::Down)?;
        let begin = service.events.wait(What::Terminated)?.at;
        ensure!(wait.wait()?.success(), "waiting for {column} failed");
        times.add("end until who waits for it knows", column, since(begin, now()));
        service.tell(run, ServiceCommand::Up)?;
        service.restarted()?;
    }
    Ok(())
}

/// The time between two moments, in ms.
fn since(begin: u64, end: u64) -> f64 {
    end.saturating_sub(begin) as f64 / 1e6
}

/// Many service directories with one supervisor: the files that it makes in the first directory are linked into the
/// others. The programs then do all their work for each directory, and the machine need not run thousands of services.
fn thousands(run: &Run, count: usize, times: &mut Figure) -> Result<()> {
    let mut all = Vec::new();
    for suite in &run.peers.suites {
        if run.peers.status(*suite).is_some() {
            run.progress(&format!("control: {count} directories for {}", suite.name()));
            let service = Supervised::start(run, *suite)?;
            until_known(run, &service)?;
            all.push((multiply(&service.directory, count)?, service));
        }
    }
    let rounds = run.length.pick(1, 7, 20);
    for round in 1..=rounds {
        for (directories, service) in &all {
            let suite = service.suite;
            run.progress(&format!("control: {} of {count} ({round} of {rounds})", suite.name()));
            let status = run.peers.status(suite).context("no status")?;
            times.add("ask", suite.name(), all_at_once(status, directories, answer(suite))?);
            let order = run.peers.order(suite, ServiceCommand::Continue);
            times.add("command", suite.name(), all_at_once(order, directories, "")?);
        }
        all.rotate_left(1);
    }
    end_children();
    Ok(())
}

/// A part of the answer about a service that is up.
fn answer(suite: Suite) -> &'static str {
    if suite == Suite::Runit { "run: " } else { ": up (pid " }
}

/// Waits until the supervisor has recorded that the service runs, which is a moment after the service's start.
fn until_known(run: &Run, service: &Supervised) -> Result<()> {
    let limit = Instant::now() + Duration::from_secs(30);
    let mut status = run.peers.status(service.suite).context("no status")?;
    status.arg(&service.directory);
    while !String::from_utf8_lossy(&status.output()?.stdout).contains(answer(service.suite)) {
        ensure!(Instant::now() < limit, "its status does not say that it is up");
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn multiply(directory: &Path, count: usize) -> Result<Vec<PathBuf>> {
    let folder = directory.parent().context("a folder")?;
    let copy = |number: usize| {
        let one = folder.join(number.to_string());
        fs::create_dir_all(&one)?;
        fs::hard_link(directory.join("run"), one.join("run"))?;
        // Our programs refuse FIFOs with a second name.
        symlink(directory.join("supervise"), one.join("supervise"))?;
        Ok(one)
    };
    (0..count).map(copy).collect()
}

/// Runs a program on all services and returns the time in ms. The answer about each service must contain these words.
fn all_at_once(mut command: Command, directories: &[PathBuf], answer: &str) -> Result<f64> {
    let first = directories.first().and_then(|one| one.parent()).context("no directories")?;
    let output = first.join("output");
    command.args(directories).stdout(File::create(&output)?).stderr(Stdio::inherit());
    let begin = Instant::now();
    let status = command.status()?;
    let elapsed = begin.elapsed();
    ensure!(status.success(), "{:?} failed: {status}", command.get_program());
    let text = fs::read_to_string(output)?;
    let answered = text.lines().filter(|line| !answer.is_empty() && line.contains(answer)).count();
    ensure!(answer.is_empty() || answered == directories.len(), "{answered} of {} answered", directories.len());
    Ok(elapsed.as_secs_f64() * 1000.0)
}
