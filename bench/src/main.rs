//! bench: measures the speed and size of our programs, and of daemontools, runit and s6, in one run.
//!
//! `bench [ --full | --quick ] [ --json ] [ --svg DIR ] [ --note WORDS ] [ --scratch DIR ] NAME ...`
//!
//! NAME is one of the measurements:
//!
//! - `log`: the log writers' throughput, CPU and memory, and how soon a line can be read;
//! - `control`: how soon a command arrives, and how soon a dead service runs again; the time to command and to ask
//!   thousands of services at once;
//! - `footprint`: memory, kernel objects, wake-ups and CPU of the processes that supervise an idle service;
//! - `boot`: the time until all services of a directory run;
//! - `recover`: what a SIGKILL of each of the programs costs;
//! - `query`: what questions to a large log cost, beside cat, grep, ripgrep and zstdcat; to 500 logs, beside tail; and to
//!   all services, in svctl beside `svstat -j`. It says which goals were reached.
//!
//! Programs run by turns, so that other work of the machine affects all of them (in `footprint` all are idle at the
//! same time). The benchmark compares medians. `--full` adds what would make a measurement longer than two minutes:
//! more rounds, 10,000 services in `boot`, and in `log` p99 and p99.9 at one line a second, which need a thousand
//! lines.
//!
//! bench first builds our programs as package/compile does, or takes them, and the probe, from `$BIN`. It writes its
//! progress to standard error, tables (or `--json`) to standard output, and pictures into the DIR of `--svg`. JSON and
//! pictures contain the date, the machine (in WORDS, if given), the kernel and the versions. bench works in a directory
//! of its own in the DIR of `--scratch` (in memory, if /dev/shm exists). When it ends, it removes this directory and
//! ends all processes that it has started.
//!
//! It ends at the first measurement that fails, with 111, and still shows what it has measured until then.

#![forbid(unsafe_code)]

mod boot;
mod control;
mod event;
mod facts;
mod footprint;
mod guard;
mod latency;
mod log;
mod peers;
mod plot;
mod query;
mod recover;
mod run;
mod sample;
mod service;
mod table;

use anyhow::{Context, Result, bail};
use facts::Facts;
use lexopt::{Arg, ValueExt};
use run::{Length, Run};
use sample::Figure;
use std::ffi::OsString;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str =
    "usage: bench [ --full | --quick ] [ --json ] [ --svg dir ] [ --note words ] [ --scratch dir ] name ...";

/// A measurement. If it fails, the figures contain what it has measured until then.
type Measure = fn(&Run, &mut Vec<Figure>) -> Result<()>;

const MEASURES: [(&str, Measure); 6] = [
    ("log", log::measure),
    ("control", control::measure),
    ("footprint", footprint::measure),
    ("boot", boot::measure),
    ("recover", recover::measure),
    ("query", query::measure),
];

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    let result = if guard::is_inside(args.peek().map(OsString::as_os_str)) {
        guard::inside().and_then(|()| measure(args.nth(1), args))
    } else {
        watch(args)
    };
    let code = result.unwrap_or_else(|error| {
        let _ = writeln!(stderr(), "bench: {error:#}");
        111
    });
    ExitCode::from(u8::try_from(code).unwrap_or(111))
}

struct Options {
    measures: Vec<(&'static str, Measure)>,
    length: Length,
    json: bool,
    pictures: Option<PathBuf>,
    note: String,
    scratch: PathBuf,
}

fn watch(args: impl Iterator<Item = OsString>) -> Result<i32> {
    let args: Vec<OsString> = args.collect();
    match parse(args.clone()) {
        Ok(options) => guard::guarded(args.into_iter(), &options.scratch),
        Err(error) => {
            let names: Vec<&str> = MEASURES.iter().map(|(name, _)| *name).collect();
            writeln!(stderr(), "bench: {error:#}\n{USAGE}\nnames: {}", names.join(" "))?;
            Ok(100)
        }
    }
}

fn parse(args: Vec<OsString>) -> Result<Options> {
    let in_memory = Path::new("/dev/shm");
    let scratch = if in_memory.is_dir() { in_memory.into() } else { std::env::temp_dir() };
    let mut options = Options {
        measures: Vec::new(),
        length: Length::Default,
        json: false,
        pictures: None,
        note: String::new(),
        scratch,
    };
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("full") => options.length = Length::Full,
            Arg::Long("quick") => options.length = Length::Quick,
            Arg::Long("json") => options.json = true,
            Arg::Long("svg") => options.pictures = Some(parser.value()?.into()),
            Arg::Long("note") => options.note = parser.value()?.string()?,
            Arg::Long("scratch") => options.scratch = parser.value()?.into(),
            Arg::Value(name) => {
                let name = name.string()?;
                let found = MEASURES.into_iter().find(|(known, _)| *known == name);
                options.measures.push(found.with_context(|| format!("there is no measurement {name}"))?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if options.measures.is_empty() {
        bail!("which measurement?");
    }
    Ok(options)
}

fn measure(scratch: Option<OsString>, args: impl Iterator<Item = OsString>) -> Result<i32> {
    let options = parse(args.collect())?;
    let run = Run::new(scratch.context("no scratch directory")?.into(), options.length)?;
    let facts = Facts::now(&run.peers, &options.note)?;
    let mut figures = Vec::new();
    let result = options.measures.iter().try_for_each(|(name, measure)| {
        let mut measured = Vec::new();
        let result = measure(&run, &mut measured).with_context(|| format!("measure {name}"));
        run.progress("");
        measured.retain(|figure| !figure.cells.is_empty());
        if !options.json {
            for figure in &measured {
                writeln!(stdout(), "{}", table::table(figure))?;
            }
        }
        if let Some(folder) = &options.pictures {
            draw(&measured, &facts.line(), folder)?;
        }
        figures.extend(measured);
        result
    });
    if options.json {
        writeln!(stdout(), "{:#}", facts.with(table::as_json(&figures)))?;
    }
    result.map(|()| 0)
}

fn draw(figures: &[Figure], note: &str, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).context("make the folder of the pictures")?;
    for figure in figures {
        std::fs::write(folder.join(format!("{}.svg", figure.name)), plot::svg(figure, note)?)?;
    }
    Ok(())
}
