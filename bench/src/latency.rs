//! How soon a line can be read: from the moment before it is written to the log writer's pipe until a reader that looks
//! at `current` without a pause has it.

use crate::event::now;
use crate::peers::{Style, Suite};
use crate::run::Run;
use crate::sample::{Better, Figure, keep, quantile};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::thread::{sleep, spawn, yield_now};
use std::time::{Duration, Instant};

/// Lines a second, and for how long.
#[derive(Debug, Clone, Copy)]
struct Pace {
    per_second: u32,
    lines: u32,
}

/// Measures.
pub fn measure(run: &Run, figures: &mut Vec<Figure>) -> Result<()> {
    let title = "Log writers: from a line's writing until it can be read".into();
    let cells = Vec::new();
    let figure = Figure { name: "log-latency", title, unit: "us", better: Better::Less, reference: "ours", cells };
    keep(figures, [figure], |[figure]| paces(run, figure))
}

fn paces(run: &Run, figure: &mut Figure) -> Result<()> {
    let paces = [
        Pace { per_second: 1, lines: run.length.pick(1, 5, 100) },
        Pace { per_second: 100, lines: run.length.pick(50, 400, 2000) },
        Pace { per_second: 10_000, lines: run.length.pick(1000, 20_000, 150_000) },
    ];
    for pace in paces {
        for suite in &run.peers.suites {
            run.progress(&format!("log: {} lines a second: {}", pace.per_second, suite.name()));
            let samples = latencies(run, *suite, pace).with_context(|| format!("follow {}", suite.name()))?;
            for (name, share) in [("median", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("longest", 1.0)] {
                let row = format!("{}/s, {name}", pace.per_second);
                if let Some(value) = quantile(&samples, share) {
                    figure.add(&row, suite.name(), value);
                }
            }
        }
    }
    Ok(())
}

/// Of each line, in microseconds.
fn latencies(run: &Run, suite: Suite, pace: Pace) -> Result<Vec<f64>> {
    let folder = run.folder()?;
    let directory = folder.join("log");
    let mut child = run.peers.logger(suite, Style::Stamped, &directory)?.stdin(Stdio::piped()).spawn()?;
    let mut pipe = child.stdin.take().context("no pipe")?;
    writeln!(pipe, "first")?;
    let mut reader = Reader::of(&directory)?;
    let writer = spawn(move || write_at(pace, pipe));
    let limit = Instant::now() + Duration::from_secs(30) + Duration::from_secs(1) * (pace.lines / pace.per_second);
    let mut samples = Vec::new();
    while samples.len() < pace.lines as usize {
        ensure!(Instant::now() < limit, "{} of {} lines came", samples.len(), pace.lines);
        reader.read(&mut samples)?;
    }
    let Ok(written) = writer.join() else { bail!("the writer failed") };
    written?;
    ensure!(child.wait()?.success(), "it failed");
    fs::remove_dir_all(folder)?;
    Ok(samples)
}

/// Each line has the time at its end.
fn write_at(pace: Pace, mut pipe: ChildStdin) -> std::io::Result<()> {
    let begin = Instant::now();
    for number in 0..pace.lines {
        let due = Duration::from_secs(1) * number / pace.per_second;
        sleep(due.saturating_sub(begin.elapsed()));
        pipe.write_all(format!("GET /index.html from a client {}\n", now()).as_bytes())?;
    }
    Ok(())
}

struct Reader {
    file: File,
    /// The part of a line that was there.
    begun: Vec<u8>,
}

impl Reader {
    /// From behind the first line, once that is there.
    fn of(directory: &Path) -> Result<Reader> {
        let limit = Instant::now() + Duration::from_secs(30);
        let current = directory.join("current");
        while !fs::read(&current).is_ok_and(|bytes| bytes.ends_with(b"first\n")) {
            ensure!(Instant::now() < limit, "the first line does not come");
            sleep(Duration::from_millis(1));
        }
        let mut file = File::open(current)?;
        file.read_to_end(&mut Vec::new())?;
        Ok(Reader { file, begun: Vec::new() })
    }

    fn read(&mut self, samples: &mut Vec<f64>) -> Result<()> {
        let mut buffer = [0; 1 << 16];
        let count = self.file.read(&mut buffer)?;
        if count == 0 {
            yield_now();
            return Ok(());
        }
        let seen = now();
        self.begun.extend_from_slice(buffer.get(..count).unwrap_or_default());
        while let Some(end) = memchr::memchr(b'\n', &self.begun) {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            let text = String::from_utf8(line)?;
            let written: u64 = text.trim_end().rsplit(' ').next().context("an empty line")?.parse()?;
            samples.push(seen.saturating_sub(written) as f64 / 1e3);
        }
        Ok(())
    }
}
