//! What an outsider sees, as lines that are the same in the world and on a real machine: without process numbers and times.

use daemontools::service::Record;
use std::fmt::Write;

/// The lines of everything that is seen at one moment.
pub type Seen = Vec<String>;

/// What is seen of one directory in which a supervise is in charge.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The name of the directory.
    pub name: String,
    /// Whether a supervise is in charge.
    pub is_supervised: bool,
    /// The content of `supervise/state`.
    pub record: Option<Record>,
    /// Whether `supervise/status` does not show what `supervise/state` says.
    pub shows_other: bool,
    /// The programs that were executed, in their order.
    pub executed: Vec<String>,
    /// How many programs of the service are alive.
    pub alive: usize,
    /// The lines that a logger has taken.
    pub lines: Vec<String>,
}

impl Facts {
    /// Adds the lines.
    pub fn tell(&self, into: &mut Seen) {
        let Facts { name, is_supervised, record, executed, alive, lines, .. } = self;
        let supervised = if *is_supervised { "supervised" } else { "not supervised" };
        into.push(format!("{name}: {supervised}, {alive} programs are alive"));
        if self.shows_other {
            into.push(format!("{name}: supervise/status does not show what supervise/state says"));
        }
        match record {
            Some(record) => tell_record(name, record, into),
            None => into.push(format!("{name}: no supervise/state")),
        }
        into.push(format!("{name}: executed {}", executed.join(" ")));
        if !lines.is_empty() {
            into.push(format!("{name}: took {}", lines.join(" ")));
        }
    }
}

/// Adds the line about svscan, and about the supervise that was to be struck.
pub fn tell_machine(svscan_runs: bool, is_struck: bool, into: &mut Seen) {
    let svscan = if svscan_runs { "runs" } else { "has ended" };
    into.push(format!("svscan {svscan}{}", if is_struck { STRUCK } else { "" }));
}

/// How a line ends that says that a supervise was struck.
const STRUCK: &str = ", and a supervise was struck";

/// Whether a supervise was struck in the last step.
pub fn is_struck(seen: &Seen) -> bool {
    seen.first().is_some_and(|line| line.ends_with(STRUCK))
}

/// The lines of a record. Its times, and what counts short runs, depend on how fast a machine is.
fn tell_record(name: &str, record: &Record, into: &mut Seen) {
    let mut words = format!("{name}: want {:?}, {:?}", record.want, record.phase);
    let flags = [
        (record.paused, "paused"),
        (record.leaving, "leaving"),
        (record.ready.is_some(), "ready"),
        (record.gated, "gated"),
        (record.begun, "begun"),
        (record.again, "again"),
        (record.kill_at.is_some(), "to be killed"),
        (record.next_start.is_some(), "to be started"),
    ];
    // Writing into a string cannot fail.
    if let Some((role, _)) = record.process {
        let _ = write!(words, ", {}", role.program());
    }
    for (_, flag) in flags.iter().filter(|(is_set, _)| *is_set) {
        let _ = write!(words, ", {flag}");
    }
    if let Some(failure) = record.failure {
        let _ = write!(words, ", {failure:?}");
    }
    if let Some(ending) = record.ending {
        let _ = write!(words, ", {ending:?}");
    }
    into.push(words);
    let told = |is_told| if is_told { " as told" } else { "" };
    let ends: Vec<String> =
        record.deaths.iter().map(|death| format!("{}{}", death.exit, told(death.is_told))).collect();
    into.push(format!("{name}: {} starts; ended: {}", record.starts, ends.join(", ")));
}

/// Two lists of lines side by side, with a mark where they differ.
pub fn side_by_side(world: &Seen, real: &Seen) -> String {
    let width = world.iter().map(String::len).max().unwrap_or(0).max("the world".len());
    let mut text = format!("  {:width$} | {}\n", "the world", "the programs");
    for number in 0..world.len().max(real.len()) {
        let line = |of: &Seen| of.get(number).cloned().unwrap_or_default();
        let mark = if line(world) == line(real) { ' ' } else { '!' };
        let _ = writeln!(text, "{mark} {:width$} | {}", line(world), line(real));
    }
    text
}
