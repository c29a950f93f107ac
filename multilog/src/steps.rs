//! The script's actions, ready to be done to a line. No I/O and no clock.

use crate::limit::Limiter;
use crate::pattern::Matcher;
use crate::prefilter::Prefilter;
use crate::script::{Action, Script};
use crate::syslog::{Format, Identity};
use daemontools::tai64::Tai64N;
use std::ffi::OsString;
use std::time::Duration;

/// Patterns, alerts and messages see this many bytes of a line, its stamp included.
pub const SEEN: usize = 1000;
/// An alert shows this many bytes of a line.
const ALERT: usize = 200;

/// A set of places to which a line is written: log directories by their numbers, and standard output.
pub type Destinations = u64;
/// Standard output in such a set.
pub const OUTPUT: Destinations = 1 << MOST_DIRECTORIES;
/// The number of directories that fit into such a set.
pub const MOST_DIRECTORIES: usize = 63;

/// The beginning of a line, which is all that patterns and other actions see of a long line.
#[derive(Debug, Clone, Copy)]
pub struct LineStart<'a> {
    /// The stamp and the text of the line.
    pub bytes: &'a [u8],
    /// The number of these bytes that are its stamp.
    pub stamp: usize,
    /// Whether the line is longer.
    pub goes_on: bool,
    /// When the line was read.
    pub time: Tai64N,
}

/// What is to be written to other places than log directories.
#[derive(Debug, Default)]
pub struct SideOutput {
    /// The text for standard error.
    pub alerts: Vec<u8>,
    /// The last line for each status file.
    pub statuses: Vec<(OsString, Vec<u8>)>,
    /// The text for standard output.
    pub lines: Vec<u8>,
    /// The messages for each syslog target, in the script's order. Each message ends in a newline and has no other.
    pub messages: Vec<Vec<u8>>,
}

impl SideOutput {
    /// An empty output for this many syslog targets.
    pub fn new(targets: usize) -> SideOutput {
        SideOutput { messages: vec![Vec::new(); targets], ..SideOutput::default() }
    }

    /// The number of bytes that are to be written.
    pub fn size(&self) -> usize {
        self.alerts.len() + self.lines.len() + self.messages.iter().map(Vec::len).sum::<usize>()
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.size() == 0 && self.statuses.is_empty()
    }
}

/// The actions of a script.
pub struct Steps {
    steps: Vec<Step>,
    /// The prefix of each directory: it stands behind the stamps of lines there.
    prefixes: Vec<Vec<u8>>,
    /// The time of the lines that come next, since boot.
    pub now: Duration,
}

enum Step {
    /// Selects the lines that it matches, or else deselects them.
    Pattern(bool, Matcher),
    Log(usize),
    Alert(Vec<u8>),
    Status(OsString, Vec<u8>),
    Output(Vec<u8>),
    Syslog(usize, Format, Vec<u8>),
    Limit(Limiter),
}

impl Steps {
    /// Translates the actions of a script; messages to syslog have the names of `identity`.
    pub fn new(script: &Script, identity: &Identity) -> Steps {
        let mut made = Steps { steps: Vec::new(), prefixes: Vec::new(), now: Duration::ZERO };
        let (mut prefix, mut targets) = (Vec::new(), 0..);
        for action in &script.actions {
            let step = match action {
                // A pattern that is malformed was left out when the script was read.
                Action::Select(pattern) => Matcher::new(pattern).ok().map(|matcher| Step::Pattern(true, matcher)),
                Action::Deselect(pattern) => Matcher::new(pattern).ok().map(|matcher| Step::Pattern(false, matcher)),
                Action::Alert => Some(Step::Alert(prefix.clone())),
                Action::Status(file) => Some(Step::Status(file.clone(), prefix.clone())),
                Action::Log(number) => {
                    made.prefixes.push(prefix.clone());
                    Some(Step::Log(*number))
                }
                Action::Output => Some(Step::Output(prefix.clone())),
                Action::Syslog(target) => {
                    targets.next().map(|number| Step::Syslog(number, Format::new(target, identity), prefix.clone()))
                }
                Action::Limit(rate) => Some(Step::Limit(Limiter::new(*rate))),
                Action::Prefix(text) => {
                    prefix.clone_from(text);
                    None
                }
            };
            made.steps.extend(step);
        }
        made
    }

    /// Whether lines only go to directories, as they are.
    pub fn only_selects(&self) -> bool {
        self.prefixes.iter().all(Vec::is_empty)
            && self.steps.iter().all(|step| matches!(step, Step::Pattern(..) | Step::Log(_)))
    }

    /// Where lines go that match no pattern but `*`, if they go to a directory at all.
    pub fn destinations_of_others(&self) -> Destinations {
        let (mut selected, mut to) = (true, 0);
        for step in &self.steps {
            match step {
                Step::Pattern(verdict, matcher) if matcher.matches_all() => selected = *verdict,
                Step::Log(number) if selected => to |= 1 << *number,
                _ => {}
            }
        }
        to
    }

    /// Makes the prefilter of the patterns, if there can be one.
    pub fn prefilter(&self) -> Option<Prefilter> {
        let patterns = self.steps.iter().filter_map(Step::pattern);
        self.only_selects().then(|| Prefilter::new(patterns)).flatten()
    }

    /// Whether an action needs to know the time.
    pub fn need_clock(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Limit(_) | Step::Syslog(..)))
    }

    /// All places to which lines may go.
    pub fn destinations(&self) -> Destinations {
        let of = |step: &Step| match step {
            Step::Log(number) => 1 << number,
            Step::Output(_) => OUTPUT,
            _ => 0,
        };
        self.steps.iter().map(of).fold(0, |all, one| all | one)
    }

    /// The text behind the stamps of lines in this directory.
    pub fn prefix(&self, directory: usize) -> &[u8] {
        self.prefixes.get(directory).map_or(&[], Vec::as_slice)
    }

    /// Performs the actions on a line, from this one on, and returns where the line goes.
    pub fn judge(&mut self, from: usize, line: &LineStart, side: &mut SideOutput) -> Destinations {
        let (mut selected, mut to) = (true, 0);
        for step in &mut self.steps[from..] {
            match step {
                Step::Pattern(verdict, matcher) => {
                    if selected != *verdict && matcher.matches(line.bytes, line.stamp) {
                        selected = *verdict;
                    }
                }
                _ if !selected => {}
                Step::Log(number) => to |= 1 << *number,
                Step::Limit(limiter) => selected = limiter.admits(self.now),
                other => other.put_out(line, side, &mut to),
            }
        }
        to
    }

    /// When suppressed lines are to be reported.
    pub fn deadline(&self) -> Option<Duration> {
        self.steps.iter().filter_map(|step| if let Step::Limit(limiter) = step { limiter.due() } else { None }).min()
    }

    /// The number of lines that a limit has suppressed, if it is to be reported by `now`, and the step after the limit.
    pub fn take_suppressed(&mut self, now: Duration) -> Option<(u64, usize)> {
        self.steps.iter_mut().enumerate().find_map(|(index, step)| match step {
            Step::Limit(limiter) if limiter.due().is_some_and(|due| due <= now) => {
                Some((limiter.take_suppressed(), index + 1))
            }
            _ => None,
        })
    }
}

impl Step {
    fn pattern(&self) -> Option<&Matcher> {
        if let Step::Pattern(_, matcher) = self { Some(matcher) } else { None }
    }

    // If this were a part of `judge`, every line would pay for the registers that it saves.
    #[inline(never)]
    fn put_out(&self, line: &LineStart, side: &mut SideOutput, to: &mut Destinations) {
        match self {
            Step::Alert(prefix) => alert(&line.with(prefix), &mut side.alerts),
            Step::Status(file, prefix) => show(file, &line.with(prefix), &mut side.statuses),
            // The rest of a long line goes to all places that take its beginning.
            Step::Output(_) if *to & OUTPUT != 0 && line.goes_on => {}
            Step::Output(prefix) => {
                line.put(prefix, &mut side.lines);
                side.lines.extend_from_slice(if line.goes_on { b"" } else { b"\n" });
                *to |= OUTPUT;
            }
            Step::Syslog(number, format, prefix) => {
                let message = &mut side.messages[*number];
                format.begin(line.time, message);
                message.extend_from_slice(prefix);
                message.extend_from_slice(&line.bytes[line.stamp..]);
                message.extend_from_slice(if line.goes_on { b"...\n" } else { b"\n" });
            }
            Step::Pattern(..) | Step::Log(_) | Step::Limit(_) => {}
        }
    }
}

impl LineStart<'_> {
    fn put(&self, prefix: &[u8], to: &mut Vec<u8>) {
        to.extend_from_slice(&self.bytes[..self.stamp]);
        to.extend_from_slice(prefix);
        to.extend_from_slice(&self.bytes[self.stamp..]);
    }

    fn with(&self, prefix: &[u8]) -> Vec<u8> {
        let mut line = Vec::with_capacity(self.bytes.len() + prefix.len());
        self.put(prefix, &mut line);
        line
    }
}

fn alert(line: &[u8], alerts: &mut Vec<u8>) {
    let shown = line.len().min(ALERT);
    alerts.extend_from_slice(&line[..shown]);
    alerts.extend_from_slice(if shown < line.len() { b"...\n" } else { b"\n" });
}

fn show(file: &OsString, line: &[u8], statuses: &mut Vec<(OsString, Vec<u8>)>) {
    let mut content = vec![b'\n'; SEEN + 1];
    let shown = line.len().min(SEEN);
    content[..shown].copy_from_slice(&line[..shown]);
    match statuses.iter_mut().find(|(known, _)| known == file) {
        Some((_, shown)) => *shown = content,
        None => statuses.push((file.clone(), content)),
    }
}
