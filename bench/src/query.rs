//! Measures the CPU that questions to a large log cost, in svlog and in the programs that people use for it: cat, grep,
//! ripgrep and zstdcat. A program that is not installed is left out.

use crate::peers::Suite;
use crate::run::Run;
use crate::sample::{Better, Figure, keep};
use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FILES: u64 = 64;
/// A line of this length has its number, and every millionth has the rare word.
const LINE: usize = 117;
const RARE: &str = "RAREWORD";
const SECOND: u64 = (1 << 62) + 10 + 1_795_000_000;

/// Measures questions to a log.
pub fn measure(run: &Run, figures: &mut Vec<Figure>) -> Result<()> {
    let all = figure("query-all", "All lines of a log", "cat");
    let rare = figure("query-rare", "A rare word in a log", "rg -j1");
    let packed = figure("query-zst", "A rare word in compressed files", "zstdcat");
    keep(figures, [all, rare, packed], |all| questions(run, all))
}

fn figure(name: &'static str, title: &str, reference: &'static str) -> Figure {
    Figure { name, title: format!("{title}: CPU"), unit: "ms", better: Better::Less, reference, cells: Vec::new() }
}

fn questions(run: &Run, [all, rare, packed]: &mut [Figure; 3]) -> Result<()> {
    let folder = run.folder()?;
    let log = folder.join("log");
    fs::create_dir(&log)?;
    let files = write_log(&log, run.length.pick(100, 20_000, 143_000))?;
    let svlog = |words: &[&str]| {
        let mut command = run.peers.program(Suite::Ours, "svlog");
        command.args(words).arg(&log);
        command
    };
    let other = |words: &[&str]| {
        let mut command = Command::new(words.first().copied().unwrap_or_default());
        command.args(words.get(1..).unwrap_or_default()).args(&files);
        command
    };
    for round in 1..=run.length.pick(1, 3, 9) {
        run.progress(&format!("query: round {round}"));
        add(all, "text", "cat", &mut other(&["cat"]))?;
        add(all, "text", "svlog", &mut svlog(&[]))?;
        add(all, "--json", "cat", &mut other(&["cat"]))?;
        add(all, "--json", "svlog", &mut svlog(&["--json"]))?;
        for (row, words) in [("all", &["--grep", RARE][..]), ("the last 20", &["-n", "20", "--grep", RARE])] {
            add(rare, row, "svlog", &mut svlog(words))?;
            add(rare, row, "rg -j1", &mut other(&["rg", "-j1", RARE]))?;
            add(rare, row, "grep", &mut other(&["grep", RARE]))?;
        }
    }
    let mut compress = run.peers.program(Suite::Ours, "logcompress");
    ensure!(compress.arg("zstd").arg(&log).status()?.success(), "logcompress failed");
    let finished = files.iter().filter(|file| !file.ends_with("current"));
    let compressed: Vec<String> = finished.map(|file| format!("{}.zst", file.display())).collect();
    for _ in 0..run.length.pick(1, 3, 9) {
        add(packed, "all", "svlog", &mut svlog(&["--grep", RARE]))?;
        add(packed, "all", "zstdcat", Command::new("zstdcat").args(&compressed))?;
    }
    fs::remove_dir_all(folder)?;
    Ok(())
}

/// Writes a log of equally many lines in each file, and returns its files.
fn write_log(log: &Path, lines: u64) -> Result<Vec<PathBuf>> {
    fs::write(log.join("lock"), "")?;
    let mut files = Vec::new();
    for file in 0..FILES {
        let mut text = String::new();
        for number in file * lines..(file + 1) * lines {
            let second = SECOND + number / 15;
            let word = if number % 1_000_000 == 500 { RARE } else { "GET" };
            let id = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let begin = text.len();
            write!(text, "@{second:016x}{:08x} {word} {number} {id:x} answered", number % 15)?;
            let width = (begin + LINE - 1).saturating_sub(text.len());
            writeln!(text, "{:width$}", "")?;
        }
        let label = SECOND + (file + 1) * lines / 15;
        let name = if file == FILES - 1 { "current".into() } else { format!("@{label:016x}3b9ac9ff.s") };
        files.push(log.join(name));
        fs::write(files.last().context("no file")?, text)?;
    }
    Ok(files)
}

/// Runs a command without output, and adds the CPU that it took.
fn add(figure: &mut Figure, row: &str, column: &'static str, command: &mut Command) -> Result<()> {
    let before = cpu_of_children()?;
    match command.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) => {
            // grep and rg have 1 where they find nothing.
            ensure!(status.code().is_some_and(|code| code <= 1), "{column} failed: {status}");
            figure.add(row, column, cpu_of_children()? - before);
        }
        Err(error) if error.kind() == ErrorKind::NotFound => figure.nothing(row, column),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// The CPU of all processes that have ended, in ms.
fn cpu_of_children() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros as f64 / 1e3)
}
