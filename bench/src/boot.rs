//! Measures the time from the start of a scanner until all services of its directory run.
//!
//! The figures also contain the bare cost: the time to fork and execute the same number of processes, and nothing else.

use crate::event::{What, now};
use crate::guard::end_children;
use crate::peers::Suite;
use crate::run::Run;
use crate::sample::{Better, Figure, keep};
use crate::service::{Events, make};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The column of the bare cost.
const BARE: &str = "fork+exec";

#[derive(Debug, Clone, Copy)]
struct Services {
    count: usize,
    per_service: Processes,
}

/// Whether each service has a logger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Processes {
    Service,
    WithLogger,
}

impl Services {
    fn describe(self) -> String {
        let with = if self.per_service == Processes::WithLogger { ", with loggers" } else { "" };
        format!("{}{with}", self.count)
    }

    /// How many starts the benchmark waits for.
    fn starts(self) -> usize {
        if self.per_service == Processes::WithLogger { 2 * self.count } else { self.count }
    }
}

/// Measures the boot.
pub fn measure(run: &Run, figures: &mut Vec<Figure>) -> Result<()> {
    let title = "Boot: until all services run".into();
    let cells = Vec::new();
    let figure = Figure { name: "boot", title, unit: "ms", better: Better::Less, reference: BARE, cells };
    keep(figures, [figure], |[figure]| boots(run, figure))
}

fn boots(run: &Run, figure: &mut Figure) -> Result<()> {
    let counts: &[usize] = run.length.pick(&[10], &[10, 100, 1000], &[10, 100, 1000, 3000, 10_000]);
    let with_loggers: &[usize] = run.length.pick(&[10], &[100], &[100, 1000]);
    let plain = counts.iter().map(|count| Services { count: *count, per_service: Processes::Service });
    let logged = with_loggers.iter().map(|count| Services { count: *count, per_service: Processes::WithLogger });
    let rounds = run.length.pick(1, 5, 5);
    for services in plain.chain(logged) {
        let row = services.describe();
        for round in 1..=rounds {
            for suite in run.peers.suites.iter().filter(|suite| services.count <= suite.limit()) {
                run.progress(&format!("boot: {row}: {} ({round} of {rounds})", suite.name()));
                figure.add(&row, suite.name(), boot(run, *suite, services)?);
            }
            run.progress(&format!("boot: {row}: {BARE} ({round} of {rounds})"));
            figure.add(&row, BARE, bare(run, services)?);
        }
    }
    Ok(())
}

/// The service directories in a folder.
fn directories(run: &Run, folder: &Path, services: Services) -> Result<Vec<PathBuf>> {
    let parent = folder.join("services");
    fs::create_dir(&parent)?;
    let mut all = Vec::new();
    for number in 0..services.count {
        let service = parent.join(number.to_string());
        make(run, &service, "../../events")?;
        all.push(service.clone());
        if services.per_service == Processes::WithLogger {
            let logger = service.join("log");
            make(run, &logger, "../../../events")?;
            all.push(logger);
        }
    }
    Ok(all)
}

/// The time of a boot in ms.
fn boot(run: &Run, suite: Suite, services: Services) -> Result<f64> {
    let folder = run.folder()?;
    directories(run, &folder, services)?;
    let mut events = Events::of(&folder)?;
    let mut scanner = run.peers.scanner(suite, &folder.join("services"));
    let begin = now();
    scanner.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let end = last_start(&mut events, Vec::new(), services).with_context(|| format!("start {}", suite.name()))?;
    end_children();
    fs::remove_dir_all(folder)?;
    Ok(end.saturating_sub(begin) as f64 / 1e6)
}

/// Measures the bare cost in ms: one process starts the programs of all services.
fn bare(run: &Run, services: Services) -> Result<f64> {
    let folder = run.folder()?;
    let directories = directories(run, &folder, services)?;
    let mut events = Events::of(&folder)?;
    let mut starts = Vec::new();
    let begin = now();
    for directory in directories {
        Command::new(&run.peers.probe).arg("parent").arg(directory).stdin(Stdio::null()).spawn()?;
        // The reports are read while other processes start, as they are beside a scanner.
        while let Some(event) = events.next()? {
            starts.push(event.at);
        }
    }
    let end = last_start(&mut events, starts, services)?;
    end_children();
    fs::remove_dir_all(folder)?;
    Ok(end.saturating_sub(begin) as f64 / 1e6)
}

/// Waits until all services have reported their start, and returns the time of the last one. `starts` are the times
/// that are known already.
fn last_start(events: &mut Events, mut starts: Vec<u64>, services: Services) -> Result<u64> {
    while starts.len() < services.starts() {
        starts.push(events.wait(What::Started)?.at);
    }
    starts.into_iter().max().context("no service")
}
