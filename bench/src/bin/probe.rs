//! The program of the measured services: small and static, it reports when something happens to it.
//!
//! - `probe copy FILE`: copies standard input to FILE by read and write alone, which is the best a log writer could do.
//! - `probe FIFO RUN ...` (the first line of a service's `run` is `#!probe FIFO`): writes an [`Event`] to the FIFO when
//!   it starts, and on each ALRM and TERM; it ends on TERM.
//! - `probe commanded RUN ...`: such a service too, but it reports CONT instead of ALRM, to the FIFO `../../events`.
//!   CONT does not kill it before it has set its signal mask, so that CONT can be sent at any moment.
//! - `probe parent DIRECTORY`: starts the service's `run` and waits for it: a supervisor's processes without its work.
//! - `probe numbers RUN ...`: a service that writes lines, each a number of 15 digits, until TERM; then it writes how
//!   many these were to the file `written`. It also reports its start and its end.
//! - `probe peak PROGRAM WORD ...`: runs a program without output, and tells the most memory that it had, in kB.
//!
//! Usage: 100. The system refuses something: 111.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

#[path = "../event.rs"]
mod event;

use daemontools::{Args, Attempt, Fatal, Help, sys};
use event::{Event, What};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;

daemontools::main!(probe, HELP);

const USAGE: &str = "probe: usage: probe copy file | parent directory | peak program word ... | numbers run ... | commanded run ... | fifo run ...";

const HELP: Help = Help { usage: USAGE, text: "What the measured services run: cargo run -p bench starts it.\n" };

/// The FIFO to which the scanned services report.
const EVENTS: &str = "../../events";

fn probe(args: Args) -> Result<i32, Fatal> {
    let args: Vec<_> = args.collect();
    let words: Vec<&OsStr> = args.iter().map(|word| word.as_os_str()).collect();
    match (words.first().and_then(|word| word.to_str()), words.get(1..).unwrap_or_default()) {
        (Some("copy"), [file]) => copy(file),
        (Some("parent"), [directory]) => parent(directory),
        (Some("peak"), [program, words @ ..]) => peak(program, words),
        (Some("numbers"), [_, ..]) => numbers(OsStr::new(EVENTS)),
        (Some("commanded"), [_, ..]) => service(OsStr::new(EVENTS), Signal::SIGCONT),
        (Some(fifo), [_, ..]) => service(OsStr::new(fifo), Signal::SIGALRM),
        _ => Err(Fatal::usage(USAGE)),
    }
}

fn copy(file: &OsStr) -> Result<i32, Fatal> {
    let output = std::fs::File::create(file).unable_to("create", file)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match nix::unistd::read(sys::stdin(), &mut buffer) {
            Ok(0) => return Ok(0),
            Ok(count) => sys::write_all(&output, buffer.get(..count).unwrap_or_default()).unable_to("write", file)?,
            Err(Errno::EINTR) => {}
            Err(errno) => Err(errno).unable_to("read", OsStr::new("standard input"))?,
        }
    }
}

fn parent(directory: &OsStr) -> Result<i32, Fatal> {
    std::env::set_current_dir(directory).unable_to("chdir to", directory)?;
    let mut run = std::process::Command::new("./run").spawn().unable_to("start", OsStr::new("./run"))?;
    run.wait().unable_to("wait for", OsStr::new("./run"))?;
    Ok(0)
}

fn peak(program: &OsStr, words: &[&OsStr]) -> Result<i32, Fatal> {
    let mut command = std::process::Command::new(program);
    let status = command.args(words).stdout(std::process::Stdio::null()).status().unable_to("run", program)?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unable_to("measure", program)?;
    sys::write_all(sys::stdout(), format!("{}\n", usage.max_rss()).as_bytes()).unable_to("write output", "")?;
    Ok(status.code().unwrap_or(111))
}

/// The connection through which a service reports.
struct Listener<'a> {
    fifo: &'a OsStr,
    events: OwnedFd,
    /// The signals that are blocked, and for which the service waits.
    signals: SigSet,
}

impl Listener<'_> {
    /// Prepares for TERM and another signal, and reports the start.
    fn find(fifo: &OsStr, other: Signal) -> Result<Listener<'_>, Fatal> {
        let signals: SigSet = [Signal::SIGTERM, other].into_iter().collect();
        signals.thread_block().unable_to("block", OsStr::new("signals"))?;
        // A write to a full FIFO waits; the time in the report was taken before.
        let events =
            nix::fcntl::open(fifo, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()).unable_to("open", fifo)?;
        let listener = Listener { fifo, events, signals };
        listener.tell(What::Started)?;
        Ok(listener)
    }

    fn tell(&self, what: What) -> Result<(), Fatal> {
        Ok(sys::write_all(&self.events, &Event::now(what).to_bytes()).unable_to("write", self.fifo)?)
    }
}

fn service(fifo: &OsStr, other: Signal) -> Result<i32, Fatal> {
    let listener = Listener::find(fifo, other)?;
    loop {
        match listener.signals.wait() {
            Ok(Signal::SIGTERM) => {
                listener.tell(What::Terminated)?;
                return Ok(0);
            }
            Ok(Signal::SIGCONT) => listener.tell(What::Continued)?,
            Ok(_) => listener.tell(What::Alarmed)?,
            Err(_) => {}
        }
    }
}

fn numbers(fifo: &OsStr) -> Result<i32, Fatal> {
    let listener = Listener::find(fifo, Signal::SIGALRM)?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let told = SignalFd::with_flags(&listener.signals, flags).unable_to("make", OsStr::new("a signalfd"))?;
    let mut written: u64 = 0;
    while !matches!(told.read_signal(), Ok(Some(signal)) if signal.ssi_signo == Signal::SIGTERM as u32) {
        let lines: String = (written..written + 64).map(|number| format!("{number:015}\n")).collect();
        sys::write_all(sys::stdout(), lines.as_bytes()).unable_to("write", OsStr::new("standard output"))?;
        written += 64;
    }
    std::fs::write("written", written.to_string()).unable_to("write", OsStr::new("written"))?;
    listener.tell(What::Terminated)?;
    Ok(0)
}
