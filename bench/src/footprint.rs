//! Measures what an idle service costs: memory, kernel objects, wake-ups and CPU of its supervisor, and of the scanner
//! of the directory.

use crate::event::What;
use crate::guard::end_children;
use crate::peers::Suite;
use crate::run::Run;
use crate::sample::{Better, Figure, keep};
use crate::service::{Events, make};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The number of services of each suite.
const COUNT: usize = 10;

/// A scanner and the supervisors it started.
struct Family {
    suite: Suite,
    scanner: u32,
    supervisors: Vec<u32>,
}

/// Measures the footprint.
pub fn measure(run: &Run, figures: &mut Vec<Figure>) -> Result<()> {
    let memory = figure("footprint-memory", "Idle: memory of one process", "kB");
    let objects = figure("footprint-objects", "Idle: kernel objects of one process", "number");
    let wakes = figure("footprint-wakes", "Idle: wake-ups of one process", "per minute");
    let cpu = figure("footprint-cpu", "Idle: CPU of one process", "ms per hour");
    keep(figures, [memory, objects, wakes, cpu], |all| footprints(run, all))
}

fn footprints(run: &Run, [memory, objects, wakes, cpu]: &mut [Figure; 4]) -> Result<()> {
    let started: Result<Vec<Family>> = run.peers.suites.iter().map(|suite| start(run, *suite)).collect();
    let families = started?;
    run.progress("footprint: until all have come to rest");
    sleep(Duration::from_secs(run.length.pick(1, 8, 8)));
    let window = Duration::from_secs(run.length.pick(1, 60, 300));
    run.progress(&format!("footprint: idle for {window:?}"));
    let processes: Vec<_> = families.iter().flat_map(Family::processes).collect();
    let activity = |(_, _, pid): &(&str, &'static str, u32)| Activity::of(*pid);
    let begin = Instant::now();
    let before: Result<Vec<Activity>> = processes.iter().map(activity).collect();
    sleep(window);
    let after: Result<Vec<Activity>> = processes.iter().map(activity).collect();
    let elapsed = begin.elapsed().as_secs_f64();
    for (((role, column, pid), before), after) in processes.iter().zip(before?).zip(after?) {
        let woken = (after.wakes - before.wakes) as f64;
        wakes.add(role, column, woken * 60.0 / elapsed);
        cpu.add(role, column, (after.cpu - before.cpu) as f64 / 1e6 * 3600.0 / elapsed);
        for (kind, amount) in amounts(*pid)? {
            memory.add(&format!("{role}: {kind}"), column, amount);
        }
        for (kind, amount) in held(*pid)? {
            objects.add(&format!("{role}: {kind}"), column, amount);
        }
    }
    end_children();
    Ok(())
}

fn figure(name: &'static str, title: &str, unit: &'static str) -> Figure {
    Figure { name, title: title.into(), unit, better: Better::Less, reference: "ours", cells: Vec::new() }
}

impl Family {
    /// The role of each process, its suite, and its pid.
    fn processes(&self) -> Vec<(&'static str, &'static str, u32)> {
        let supervisors = self.supervisors.iter().map(|pid| ("supervisor", self.suite.name(), *pid));
        supervisors.chain([("scanner of 10", self.suite.name(), self.scanner)]).collect()
    }
}

/// Waits until all services run.
fn start(run: &Run, suite: Suite) -> Result<Family> {
    run.progress(&format!("footprint: start {}", suite.name()));
    let folder = run.folder()?;
    let mut events = Events::of(&folder)?;
    let services = folder.join("services");
    fs::create_dir(&services)?;
    for number in 0..COUNT {
        make(run, &services.join(number.to_string()), "../../events")?;
    }
    let scanner = run.peers.scanner(suite, &services).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?.id();
    let mut supervisors = Vec::new();
    for _ in 0..COUNT {
        let service = events.wait(What::Started).with_context(|| format!("start {}", suite.name()))?.pid;
        supervisors.push(field(service, "PPid:")?);
    }
    supervisors.sort_unstable();
    supervisors.dedup();
    ensure!(supervisors.len() == COUNT && !supervisors.contains(&scanner), "not one supervisor for each service");
    Ok(Family { suite, scanner, supervisors })
}

struct Activity {
    wakes: u64,
    /// The CPU time in ns.
    cpu: u64,
}

impl Activity {
    fn of(pid: u32) -> Result<Activity> {
        let wakes = field(pid, "voluntary_ctxt_switches:")?;
        let schedstat = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
        let cpu = schedstat.split(' ').next().context("an empty schedstat")?.parse()?;
        Ok(Activity { wakes: wakes.into(), cpu })
    }
}

/// A number from `/proc/PID/status`.
fn field(pid: u32, name: &str) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    Ok(value.with_context(|| format!("no {name}"))?.trim().parse()?)
}

/// The memory of a process in kB: private, private and written, its proportional share, and resident.
fn amounts(pid: u32) -> Result<[(&'static str, f64); 4]> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let sum = |names: &[&str]| {
        let lines = rollup.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
        lines.filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse::<f64>().ok()).sum()
    };
    Ok([
        ("private", sum(&["Private_Clean:", "Private_Dirty:"])),
        // This leaves out the pages of a program file that no other process happens to run.
        ("private, written", sum(&["Private_Dirty:"])),
        ("proportional", sum(&["Pss:"])),
        ("resident", sum(&["Rss:"])),
    ])
}

fn held(pid: u32) -> Result<[(&'static str, f64); 2]> {
    let (mut descriptors, mut watches) = (0, 0);
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let info = fs::read_to_string(entry?.path())?;
        descriptors += 1;
        watches += info.lines().filter(|line| line.starts_with("inotify ")).count();
    }
    Ok([("descriptors", f64::from(descriptors)), ("inotify watches", watches as f64)])
}
