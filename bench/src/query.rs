//! Measures the CPU that questions cost: to a large log, in svlog and in the programs that people use for it (cat, grep,
//! ripgrep and zstdcat); to many logs at once, beside tail; and to many services at once, in `svctl` beside `svstat -j`.
//!
//! At the end it says on standard error which goals were reached. What was not measured, because a program is not
//! installed, is said to be so, and counts as neither.

use crate::event::What;
use crate::guard::end_children;
use crate::peers::Suite;
use crate::run::Run;
use crate::sample::{Better, Figure, keep};
use crate::service::{Events, make};
use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::fmt::Write;
use std::fs;
use std::io::{ErrorKind, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FILES: u64 = 64;
/// A line of this length has its number, and every millionth has the rare word.
const LINE: usize = 117;
const RARE: &str = "RAREWORD";
const SECOND: u64 = (1 << 62) + 10 + 1_795_000_000;

/// How many logs are asked at once.
const LOGS: u64 = 500;
/// The memory in kB that svlog may use for that.
const MOST_MEMORY: f64 = 16_384.0;

/// What a figure shall show: a row and column, and the most that it may be as a multiple of the reference.
const GOALS: [(&str, &str, &str, f64); 7] = [
    ("query-all", "text", "svlog", 5.0),
    ("query-all", "--json", "svlog", 9.0),
    ("query-rare", "all", "svlog", 1.2),
    ("query-zst", "all", "svlog", 1.0),
    ("query-many", "the last 20", "svlog", 1.0),
    ("query-services", "200", "svctl", 1.5),
    ("query-services", "10000", "svctl", 1.5),
];

/// Measures questions to logs and services.
pub fn measure(run: &Run, figures: &mut Vec<Figure>) -> Result<()> {
    let all = figure("query-all", "All lines of a log: CPU", "cat");
    let rare = figure("query-rare", "A rare word in a log: CPU", "rg -j1");
    let packed = figure("query-zst", "A rare word in compressed files: CPU", "zstdcat");
    let many = figure("query-many", "500 logs: CPU", "tail");
    let memory = Figure { unit: "kB", ..figure("query-memory", "500 logs: memory", "svlog") };
    let services = figure("query-services", "All services: CPU", "svstat -j");
    let first = figures.len();
    keep(figures, [all, rare, packed], |all| questions(run, all))?;
    keep(figures, [many, memory], |all| questions_to_many(run, all))?;
    keep(figures, [services], |[services]| questions_to_services(run, services))?;
    for words in verdicts(figures.get(first..).unwrap_or_default()) {
        std::io::Write::write_all(&mut stderr(), format!("query: {words}\n").as_bytes())?;
    }
    Ok(())
}

fn figure(name: &'static str, title: &str, reference: &'static str) -> Figure {
    Figure { name, title: title.into(), unit: "ms", better: Better::Less, reference, cells: Vec::new() }
}

/// Which goals were reached.
fn verdicts(figures: &[Figure]) -> Vec<String> {
    let figure = |name: &str| figures.iter().find(|figure| figure.name == name);
    let verdict = |value: Option<f64>, most: f64| match value {
        Some(value) if value <= most => "reached",
        Some(_) => "MISSED",
        None => "not measured",
    };
    let mut all = Vec::new();
    for (name, row, column, most) in GOALS {
        let Some(figure) = figure(name) else { continue };
        let ratio = figure.ratio(row, column);
        let seen = ratio.map(|ratio| format!("{ratio:.2}, ")).unwrap_or_default();
        let lacks = figure.cells.iter().filter(|cell| cell.row == row && cell.samples.is_empty());
        let lacks: Vec<String> = lacks.map(|cell| format!("{} is not installed, ", cell.column)).collect();
        let what = format!("{}, {row}: {column} at most {most} times {}", figure.title, figure.reference);
        all.push(format!("{what}: {}{seen}{}", lacks.concat(), verdict(ratio, most)));
    }
    let memory = figure("query-memory").and_then(|figure| figure.median("the last 20", "svlog"));
    let seen = memory.map(|memory| format!("{memory:.0}, ")).unwrap_or_default();
    all.push(format!("500 logs: svlog in at most {MOST_MEMORY} kB: {seen}{}", verdict(memory, MOST_MEMORY)));
    all
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

/// Asks 500 logs for the last of their lines.
fn questions_to_many(run: &Run, [many, memory]: &mut [Figure; 2]) -> Result<()> {
    let folder = run.folder()?;
    let mut logs = Vec::new();
    for log in 0..LOGS {
        let path = folder.join(format!("{log:03}"));
        fs::create_dir(&path)?;
        fs::write(path.join("lock"), "")?;
        fs::write(path.join("current"), lines(log * 7, run.length.pick(10, 1_000, 10_000))?)?;
        logs.push(path);
    }
    let current: Vec<PathBuf> = logs.iter().map(|log| log.join("current")).collect();
    let row = "the last 20";
    for round in 1..=run.length.pick(1, 5, 9) {
        run.progress(&format!("query: {LOGS} logs, round {round}"));
        let mut svlog = run.peers.program(Suite::Ours, "svlog");
        add(many, row, "svlog", svlog.args(["-n", "20"]).args(&logs))?;
        add(many, row, "tail", Command::new("tail").args(["-n", "20"]).args(&current))?;
        let svlog = run.peers.program(Suite::Ours, "svlog");
        let mut peak = Command::new(&run.peers.probe);
        let peak = peak.arg("peak").arg(svlog.get_program()).args(["-n", "20"]).args(&logs).output()?;
        ensure!(peak.status.success(), "svlog failed: {}", String::from_utf8_lossy(&peak.stderr));
        memory.add(row, "svlog", String::from_utf8_lossy(&peak.stdout).trim().parse().context("the peak")?);
    }
    fs::remove_dir_all(folder)?;
    Ok(())
}

/// Asks how all services of a directory are.
fn questions_to_services(run: &Run, services: &mut Figure) -> Result<()> {
    for count in run.length.pick(&[10][..], &[200, 2000], &[200, 10_000]) {
        let (folder, row) = (run.folder()?, count.to_string());
        let parent = folder.join("services");
        fs::create_dir(&parent)?;
        for number in 0..*count {
            make(run, &parent.join(number.to_string()), "../../events")?;
        }
        let mut events = Events::of(&folder)?;
        run.progress(&format!("query: start {count} services"));
        run.peers.scanner(Suite::Ours, &parent).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        for _ in 0..*count {
            events.wait(What::Started)?;
        }
        let all = (0..*count).map(|number| number.to_string());
        for round in 1..=run.length.pick(1, 9, 15) {
            run.progress(&format!("query: {count} services, round {round}"));
            let mut svstat = run.peers.program(Suite::Ours, "svstat");
            add(services, &row, "svstat -j", svstat.arg("-j").args(all.clone()).current_dir(&parent))?;
            add(services, &row, "svctl", run.peers.program(Suite::Ours, "svctl").arg("-d").arg(&parent))?;
        }
        end_children();
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

/// Writes a log of equally many lines in each file, and returns its files.
fn write_log(log: &Path, lines: u64) -> Result<Vec<PathBuf>> {
    fs::write(log.join("lock"), "")?;
    let mut files = Vec::new();
    for file in 0..FILES {
        let text = self::lines(file * lines, lines)?;
        let label = SECOND + (file + 1) * lines / 15;
        let name = if file == FILES - 1 { "current".into() } else { format!("@{label:016x}3b9ac9ff.s") };
        files.push(log.join(name));
        fs::write(files.last().context("no file")?, text)?;
    }
    Ok(files)
}

/// So many lines, of which the first one has this number.
fn lines(first: u64, count: u64) -> Result<String> {
    let mut text = String::new();
    for number in first..first + count {
        let second = SECOND + number / 15;
        let word = if number % 1_000_000 == 500 { RARE } else { "GET" };
        let id = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let begin = text.len();
        write!(text, "@{second:016x}{:08x} {word} {number} {id:x} answered", number % 15)?;
        let width = (begin + LINE - 1).saturating_sub(text.len());
        writeln!(text, "{:width$}", "")?;
    }
    Ok(text)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_not_reached() {
        let mut all = figure("query-all", "All lines of a log: CPU", "cat");
        all.add("text", "cat", 10.0);
        all.add("text", "svlog", 40.0);
        all.add("--json", "cat", 10.0);
        all.add("--json", "svlog", 91.0);
        let mut rare = figure("query-rare", "A rare word in a log: CPU", "rg -j1");
        rare.add("all", "svlog", 1.0);
        rare.nothing("all", "rg -j1");
        let memory = figure("query-memory", "500 logs: memory", "svlog");
        assert_eq!(
            verdicts(&[all, rare, memory]),
            [
                "All lines of a log: CPU, text: svlog at most 5 times cat: 4.00, reached",
                "All lines of a log: CPU, --json: svlog at most 9 times cat: 9.10, MISSED",
                "A rare word in a log: CPU, all: svlog at most 1.2 times rg -j1: rg -j1 is not installed, \
                 not measured",
                "500 logs: svlog in at most 16384 kB: not measured",
            ]
        );
    }
}
