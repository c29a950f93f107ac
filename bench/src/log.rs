//! Measures the log writers: throughput, CPU and memory with lines of several lengths, and how soon a line can be read.
//!
//! A writer reads a pipe that is kept full. Its time is measured from the first line until it ends after the last one,
//! and it must have written every line. The figures also contain `cat`, and a loop of read and write, which is the best
//! possible.

use crate::latency;
use crate::peers::{Style, Suite};
use crate::run::Run;
use crate::sample::{Better, Figure, keep};
use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    Suite(Suite),
    Cat,
    Loop,
}

impl Writer {
    fn name(self) -> &'static str {
        match self {
            Writer::Suite(suite) => suite.name(),
            Writer::Cat => "cat",
            Writer::Loop => "read+write",
        }
    }
}

/// The lines that come through the pipe.
#[derive(Debug, Clone, Copy)]
struct Input {
    /// Length of a line, with its newline.
    line: usize,
    /// Bytes in one write.
    chunk: usize,
    total: usize,
}

impl Input {
    fn describe(self) -> String {
        let each = if self.chunk == self.line { ", one a write" } else { "" };
        format!("{} bytes{each}", self.line)
    }

    fn lines(self) -> usize {
        self.total / self.line
    }
}

/// Measures the log writers.
pub fn measure(run: &Run, figures: &mut Vec<Figure>) -> Result<()> {
    let speed = figure("log-speed", "Log writers: throughput", "MB/s", Better::More);
    let cpu = figure("log-cpu", "Log writers: CPU", "ns per line", Better::Less);
    let memory = figure("log-memory", "Log writers (t): peak of resident memory", "kB", Better::Less);
    keep(figures, [speed, cpu, memory], |all| costs(run, all))?;
    latency::measure(run, figures)
}

fn costs(run: &Run, [speed, cpu, memory]: &mut [Figure; 3]) -> Result<()> {
    let million: usize = run.length.pick(2000, 800_000, 10_000_000);
    let inputs = [
        Input { line: 20, chunk: 1 << 16, total: million * 20 },
        Input { line: 127, chunk: 1 << 16, total: million * 64 },
        Input { line: 2000, chunk: 1 << 16, total: million * 100 },
        Input { line: 127, chunk: 127, total: million * 127 / 4 },
    ];
    let rounds = run.length.pick(1, 3, 9);
    for (input, style) in inputs.iter().flat_map(|input| STYLES.map(|style| (*input, style))) {
        let row = format!("{}, {}", input.describe(), describe(style));
        for round in 1..=rounds {
            for writer in writers(run) {
                run.progress(&format!("log: {row}: {} ({round} of {rounds})", writer.name()));
                let cost = cost(run, writer, style, input)?;
                speed.add(&row, writer.name(), input.total as f64 / cost.elapsed.as_secs_f64() / 1e6);
                cpu.add(&row, writer.name(), cost.cpu.as_nanos() as f64 / input.lines() as f64);
                if style == Style::Stamped {
                    memory.add(&input.describe(), writer.name(), cost.peak_memory as f64);
                }
            }
        }
    }
    Ok(())
}

fn figure(name: &'static str, title: &str, unit: &'static str, better: Better) -> Figure {
    Figure { name, title: title.into(), unit, better, reference: "cat", cells: Vec::new() }
}

const STYLES: [Style; 3] = [Style::Plain, Style::Stamped, Style::Selected];

fn describe(style: Style) -> &'static str {
    match style {
        Style::Plain => "plain",
        Style::Stamped => "t",
        Style::Selected => "t, patterns",
    }
}

fn writers(run: &Run) -> Vec<Writer> {
    let suites = run.peers.suites.iter().map(|suite| Writer::Suite(*suite));
    suites.chain([Writer::Cat, Writer::Loop]).collect()
}

/// A log writer with its directory.
fn command(run: &Run, writer: Writer, style: Style, directory: &Path) -> Result<Command> {
    Ok(match writer {
        Writer::Suite(suite) => run.peers.logger(suite, style, directory)?,
        Writer::Cat => {
            fs::create_dir(directory)?;
            let mut cat = Command::new("cat");
            cat.stdout(File::create(directory.join("current"))?);
            cat
        }
        Writer::Loop => {
            fs::create_dir(directory)?;
            let mut copy = Command::new(&run.peers.probe);
            copy.arg("copy").arg(directory.join("current"));
            copy
        }
    })
}

struct Cost {
    elapsed: Duration,
    cpu: Duration,
    /// The memory in kB.
    peak_memory: u64,
}

fn cost(run: &Run, writer: Writer, style: Style, input: Input) -> Result<Cost> {
    let folder = run.folder()?;
    let directory = folder.join("log");
    let mut child = command(run, writer, style, &directory)?.stdin(Stdio::piped()).spawn()?;
    let pipe = child.stdin.take().context("no pipe")?;
    let cpu = cpu_of_children()?;
    let begin = Instant::now();
    let peak_memory = feed(&child, pipe, input)?;
    let status = child.wait()?;
    let elapsed = begin.elapsed();
    ensure!(status.success(), "{} failed: {status}", writer.name());
    let cost = Cost { elapsed, cpu: cpu_of_children()?.saturating_sub(cpu), peak_memory };
    let written = lines_in(&directory)?;
    ensure!(written == input.lines(), "{} wrote {written} of {} lines", writer.name(), input.lines());
    fs::remove_dir_all(folder)?;
    Ok(cost)
}

/// Keeps the pipe full until all lines are written. Before it closes the pipe, it reads the log writer's peak of memory
/// in kB.
fn feed(child: &Child, mut pipe: ChildStdin, input: Input) -> Result<u64> {
    let lines = text(input.line, (input.chunk.max(1 << 20) / input.line).min(input.lines()));
    let mut left = input.lines() * input.line;
    let mut at = 0;
    while left > 0 {
        let size = input.chunk.min(left).min(lines.len() - at);
        pipe.write_all(lines.get(at..at + size).unwrap_or_default())?;
        left -= size;
        at = (at + size) % lines.len();
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    Ok(peak.context("no VmHWM")?.trim().parse()?)
}

/// This number of lines of this length, each with its number in front. No pattern matches them, and no two are equal.
fn text(length: usize, count: usize) -> Vec<u8> {
    let words = "GET /index.html from a client in the network, answered in a while; ".bytes();
    let line = |number: usize| {
        let words = words.clone().cycle();
        let text = format!("{number} ").into_bytes().into_iter().chain(words).take(length - 1);
        text.chain(*b"\n")
    };
    (0..count).flat_map(line).collect()
}

fn cpu_of_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.cast_unsigned()))
}

/// The number of lines in all files.
fn lines_in(directory: &Path) -> Result<usize> {
    let mut lines = 0;
    let mut buffer = vec![0; 1 << 18];
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != "current" && !name.to_string_lossy().starts_with('@') {
            continue;
        }
        let mut file = File::open(entry.path())?;
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => lines += memchr::memchr_iter(b'\n', buffer.get(..count).unwrap_or_default()).count(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(lines)
}
