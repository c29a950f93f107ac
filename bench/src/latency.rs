//! Measures how soon a line can be read: from the moment before it is written to the log writer's pipe until a reader
//! that looks at `current` without a pause has it.

use crate::event::now;
use crate::peers::{Style, Suite};
use crate::run::{Length, Run};
use crate::sample::{Better, Figure, keep, quantile};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::thread::{sleep, spawn, yield_now};
use std::time::{Duration, Instant};

/// The number of lines per second, of all lines, and of rounds.
#[derive(Debug, Clone, Copy)]
struct Pace {
    per_second: u32,
    lines: u32,
    rounds: u32,
}

impl Pace {
    /// Whether the writers get their lines by turns within each period. Otherwise each writer is measured alone, one
    /// after the other.
    fn is_shared(self) -> bool {
        self.per_second <= 100
    }
}

const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// Measures the latency.
pub fn measure(run: &Run, figures: &mut Vec<Figure>) -> Result<()> {
    let left_out = if run.length == Length::Full { "" } else { " (-: too few lines for it, --full waits for more)" };
    let title = format!("Log writers: from a line's writing until it can be read{left_out}");
    let cells = Vec::new();
    let figure = Figure { name: "log-latency", title, unit: "us", better: Better::Less, reference: "ours", cells };
    keep(figures, [figure], |[figure]| latencies(run, figure))
}

fn latencies(run: &Run, figure: &mut Figure) -> Result<()> {
    let paces = [
        Pace { per_second: 1, lines: run.length.pick(2, 4, 1000), rounds: run.length.pick(1, 3, 3) },
        Pace { per_second: 100, lines: run.length.pick(100, 1000, 1000), rounds: run.length.pick(1, 3, 15) },
        Pace { per_second: 10_000, lines: run.length.pick(1000, 10_000, 50_000), rounds: run.length.pick(1, 3, 15) },
    ];
    for pace in paces {
        for round in 1..=pace.rounds {
            let together = if pace.is_shared() { run.peers.suites.len() } else { 1 };
            for suites in run.peers.suites.chunks(together) {
                let names = suites.iter().map(|suite| suite.name()).collect::<Vec<_>>().join(", ");
                run.progress(&format!("log: {} lines a second: {names} ({round} of {})", pace.per_second, pace.rounds));
                for follower in follow(run, suites, pace)? {
                    add(figure, pace, &follower);
                }
            }
        }
    }
    Ok(())
}

/// Adds each quantile of a round as a sample.
fn add(figure: &mut Figure, pace: Pace, follower: &Follower) {
    for (name, share) in QUANTILES {
        let row = format!("{}/s, {name}", pace.per_second);
        match quantile(&follower.samples, share) {
            Some(value) => figure.add(&row, follower.suite.name(), value),
            None => figure.nothing(&row, follower.suite.name()),
        }
    }
}

/// Runs the log writers of all suites at this pace.
fn follow(run: &Run, suites: &[Suite], pace: Pace) -> Result<Vec<Follower>> {
    let started: Result<Vec<_>> = suites.iter().map(|suite| Follower::start(run, *suite)).collect();
    let (mut followers, pipes): (Vec<Follower>, Vec<ChildStdin>) = started?.into_iter().unzip();
    let writer = spawn(move || write_at(pace, pipes));
    let limit = Instant::now() + Duration::from_secs(30) + Duration::from_secs(1) * (pace.lines / pace.per_second);
    while let Some(late) = followers.iter().find(|follower| follower.samples.len() < pace.lines as usize) {
        let (name, count) = (late.suite.name(), late.samples.len());
        ensure!(Instant::now() < limit, "{count} of {} lines came from {name}", pace.lines);
        followers.iter_mut().try_for_each(|follower| follower.reader.read(&mut follower.samples))?;
    }
    let Ok(written) = writer.join() else { bail!("the writer failed") };
    written?;
    for follower in &mut followers {
        ensure!(follower.child.wait()?.success(), "{} failed", follower.suite.name());
        fs::remove_dir_all(&follower.folder)?;
    }
    Ok(followers)
}

/// Writes the lines, each with the time at its end. Several pipes get their lines by turns.
fn write_at(pace: Pace, mut pipes: Vec<ChildStdin>) -> std::io::Result<()> {
    let begin = Instant::now();
    let count = u32::try_from(pipes.len()).unwrap_or(u32::MAX);
    for number in 0..pace.lines {
        for (place, pipe) in (0..).zip(&mut pipes) {
            let due = Duration::from_secs(1) * (number * count + place) / (pace.per_second * count);
            sleep(due.saturating_sub(begin.elapsed()));
            pipe.write_all(format!("GET /index.html from a client {}\n", now()).as_bytes())?;
        }
    }
    Ok(())
}

/// A log writer, and the reader of its log.
struct Follower {
    suite: Suite,
    folder: PathBuf,
    child: Child,
    reader: Reader,
    /// The latency of each line, in microseconds.
    samples: Vec<f64>,
}

impl Follower {
    /// Starts the log writer, and returns the pipe for its lines.
    fn start(run: &Run, suite: Suite) -> Result<(Follower, ChildStdin)> {
        let folder = run.folder()?;
        let directory = folder.join("log");
        let mut child = run.peers.logger(suite, Style::Stamped, &directory)?.stdin(Stdio::piped()).spawn()?;
        let mut pipe = child.stdin.take().context("no pipe")?;
        writeln!(pipe, "first")?;
        let reader = Reader::of(&directory).with_context(|| format!("follow {}", suite.name()))?;
        Ok((Follower { suite, folder, child, reader, samples: Vec::new() }, pipe))
    }
}

struct Reader {
    file: File,
    /// The part of a line that was read.
    begun: Vec<u8>,
}

impl Reader {
    /// Opens `current` once it contains the first line, and begins behind that.
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
