//! The lines of all logs that are asked for, in the order of time, shown as they come.

use crate::arguments::{Amount, Request};
use crate::course::Mode;
use crate::cursor_file::CursorFile;
use crate::follow::{Change, Watch};
use crate::last::{self, Asked, Last, Memory};
use crate::line::Line;
use crate::logs::Logs;
use crate::merge::Merge;
use crate::newest::Newest;
use crate::output::{self, GATHERED};
use crate::quota::{Quota, Verdict};
use crate::runs::Rules;
use crate::show::Show;
use crate::source::{Next, Source};
use daemontools::tai64::Tai64N;
use daemontools::{Fatal, report, sys};
use nix::poll::PollTimeout;
use std::time::Duration;

/// What a source is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The source must be asked for its next line.
    Ready,
    /// The next line of the source waits to be shown.
    Offered,
    /// The source has nothing until its directory changes.
    Waiting,
    /// The source must be asked again when svlog has read all events up to now.
    Rechecking,
    Ended,
}

/// The lines of several logs, merged by their times.
pub struct Reader<'a> {
    sources: Vec<(Source<'a>, State)>,
    /// The order of the waiting lines. The rest of a line that was begun has `None`, and comes before all others.
    merge: Merge<Option<Tai64N>>,
    show: Show,
    quota: Quota,
    /// The ends of runs that are still to be shown.
    rules: Rules,
    /// Where svlog keeps how far it has come.
    cursor: Option<CursorFile>,
    /// How often svlog still has to look whether a directory was removed after its files.
    looks_left: u32,
}

/// How often svlog looks again at a directory whose files were removed.
const LOOKS: u32 = 10;
/// The time between two looks at such a directory.
const PAUSE: Duration = Duration::from_millis(200);

impl<'a> Reader<'a> {
    /// Finds the first lines to show.
    ///
    /// # Errors
    /// A log cannot be read.
    pub fn new(request: &'a Request, logs: &'a Logs, show: Show) -> Result<Self, Fatal> {
        let cursor = request.cursor_file.as_ref().map(|path| CursorFile::open(path, &logs.folders)).transpose()?;
        let mut sources = Vec::new();
        let mut lasts = Vec::new();
        let memory = Memory::for_each_of(logs.folders.len());
        for (number, (folder, selection)) in logs.with_selections(request).enumerate() {
            let mut source = match request.amount {
                Amount::All | Amount::First(_) | Amount::Count | Amount::Histogram => {
                    Source::new(folder, selection, request.mode, memory.room)
                }
                Amount::Last(wanted) => {
                    let asked = Asked { wanted, mode: request.mode, keeps_position: cursor.is_some() };
                    let Last { source, count, newest } = last::last(folder, selection, asked, memory)?;
                    lasts.push((count, newest));
                    source
                }
            };
            if let Some(cursor) = &cursor {
                source.show_whole_lines();
                if let Some(mark) = cursor.mark(number) {
                    source.resume(mark)?;
                }
            }
            sources.push((source, State::Ready));
        }
        let total = match request.mode {
            Mode::Once if cursor.is_none() => leave_out(&mut sources, &lasts, request.amount),
            Mode::Once | Mode::Follow => lasts.iter().map(|(count, _)| count).sum(),
        };
        let (surplus, left) = match request.amount {
            Amount::Last(wanted) => (total.saturating_sub(wanted), None),
            Amount::First(wanted) => (0, Some(wanted)),
            Amount::All | Amount::Count | Amount::Histogram => (0, None),
        };
        let quota = Quota::new(logs.folders.len(), surplus, left);
        let rules = logs.rules(request);
        Ok(Reader { sources, merge: Merge::new(), show, quota, rules, cursor, looks_left: 0 })
    }

    /// Shows all lines that there are. Returns whether there may be more later.
    pub fn show_all(&mut self, watch: Option<&Watch>) -> Result<bool, Fatal> {
        (0..self.sources.len()).for_each(|number| self.ask(number));
        while let Some(number) = self.merge.take() {
            self.show(number);
            match self.cursor {
                Some(_) => self.keep_position(number)?,
                None => self.show_run(number),
            }
            self.ask(number);
            if self.show.output.len() >= GATHERED {
                self.write()?;
                // A log that is written to without pause must not keep the other logs waiting.
                if let Some(watch) = watch {
                    self.look_at(watch, PollTimeout::ZERO)?;
                    (0..self.sources.len()).for_each(|number| self.ask(number));
                }
            }
        }
        if !self.quota.is_used_up() {
            put_rules(&mut self.show, &mut self.rules, None);
        }
        self.write()?;
        self.keep_positions()?;
        if self.quota.is_used_up() {
            self.sources
                .iter_mut()
                .filter(|(source, _)| !is_unfinished(source))
                .for_each(|(_, state)| *state = State::Ended);
        }
        Ok(self.is_any(State::Waiting) || self.is_any(State::Rechecking))
    }

    /// Asks a source for its next line, if the source must be asked. If no other line may be begun, only the
    /// rest of a line and the lines after a match are looked for.
    fn ask(&mut self, number: usize) {
        let Some((source, state @ State::Ready)) = self.sources.get_mut(number) else { return };
        if self.quota.is_used_up() && !is_unfinished(source) {
            *state = State::Ended;
            return;
        }
        *state = match source.next() {
            Next::Line(time) => {
                self.merge.offer(source.begins().then_some(time), number);
                State::Offered
            }
            Next::Wait => State::Waiting,
            Next::Recheck => State::Rechecking,
            Next::End => State::Ended,
        };
    }

    fn show(&mut self, number: usize) {
        let Some((source, state)) = self.sources.get_mut(number) else { return };
        if let Some(line) = source.line() {
            // Where nothing was shown before, no line was left out.
            let line = if line.gap { Line { gap: self.quota.has_shown(number), ..line } } else { line };
            match self.quota.verdict(number, &line) {
                Verdict::Show => {
                    put_rules(&mut self.show, &mut self.rules, Some(line.time));
                    self.show.line(number, line);
                }
                Verdict::Hide => {}
                Verdict::Enough => {
                    *state = State::Ended;
                    return;
                }
            }
        }
        source.take();
        *state = State::Ready;
    }

    /// Shows the next lines of a source, as long as they come before those of all others.
    fn show_run(&mut self, number: usize) {
        let Some((source, State::Ready)) = self.sources.get_mut(number) else { return };
        if self.quota.is_for_all(number) {
            source.show_run(|line| {
                let is_next = self.show.output.len() < GATHERED && self.merge.is_first(Some(line.time), number);
                if is_next {
                    put_rules(&mut self.show, &mut self.rules, Some(line.time));
                    self.show.line(number, line);
                }
                is_next
            });
        }
    }

    /// Writes the line that was shown last, and then that it was shown.
    fn keep_position(&mut self, number: usize) -> Result<(), Fatal> {
        self.write()?;
        let mark = self.sources.get(number).and_then(|(source, _)| source.mark());
        match (&mut self.cursor, mark) {
            (Some(cursor), Some(mark)) => {
                cursor.set(number, mark);
                cursor.save()
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// Keeps how far all logs were read, also where no line was asked for.
    fn keep_positions(&mut self) -> Result<(), Fatal> {
        let Some(cursor) = &mut self.cursor else { return Ok(()) };
        for (number, (source, _)) in self.sources.iter().enumerate() {
            if let Some(mark) = source.mark() {
                cursor.set(number, mark);
            }
        }
        cursor.save()
    }

    fn write(&mut self) -> Result<(), Fatal> {
        let written = output::write(&self.show.output);
        self.show.output.clear();
        written
    }

    fn is_any(&self, wanted: State) -> bool {
        self.sources.iter().any(|(_, state)| *state == wanted)
    }

    /// How long svlog may wait if no directory changes.
    pub fn patience(&self) -> PollTimeout {
        match self.looks_left {
            _ if self.is_any(State::Rechecking) => PollTimeout::ZERO,
            0 => PollTimeout::NONE,
            _ => sys::timeout(Some(PAUSE)),
        }
    }

    /// Makes the sources ready again whose directories have changed.
    pub fn look_at(&mut self, watch: &Watch, timeout: PollTimeout) -> Result<(), Fatal> {
        match watch.changes(timeout)? {
            Change::Unread => Err(Fatal::silent(0)),
            Change::In { changed, started } => {
                for number in started {
                    if let Some((source, _)) = self.sources.get_mut(number) {
                        source.multilog_started();
                    }
                }
                let mut may_go = false;
                if changed.is_empty() && self.looks_left > 0 {
                    self.looks_left -= 1;
                    self.sources.iter_mut().for_each(|(source, _)| {
                        let _ = source.directory_changed();
                    });
                }
                for number in changed {
                    if let Some((source, _)) = self.sources.get_mut(number) {
                        may_go |= source.directory_changed();
                    }
                    if let Some((_, state @ State::Waiting)) = self.sources.get_mut(number) {
                        *state = State::Ready;
                    }
                }
                if may_go {
                    self.looks_left = LOOKS;
                }
                for (_, state) in &mut self.sources {
                    if *state == State::Rechecking {
                        *state = State::Ready;
                    }
                }
                Ok(())
            }
        }
    }

    pub fn code(&self) -> i32 {
        if self.sources.iter().any(|(source, _)| source.failed) { report::TEMPORARY } else { 0 }
    }
}

/// Leaves out the logs that have none of the last lines. Returns how many lines the others have.
fn leave_out(sources: &mut [(Source, State)], lasts: &[(u64, Newest)], amount: Amount) -> u64 {
    let mut all = match amount {
        Amount::Last(wanted) => Newest::new(wanted),
        Amount::All | Amount::First(_) | Amount::Count | Amount::Histogram => return 0,
    };
    lasts.iter().for_each(|(_, newest)| all.add_all(newest));
    let mut total = 0;
    for ((_, state), (count, newest)) in sources.iter_mut().zip(lasts) {
        match all.are_all_after(newest) {
            true => *state = State::Ended,
            false => total += count,
        }
    }
    total
}

/// Shows the ends of the runs that come before a line of this time, or if there is none, of all that are left.
fn put_rules(show: &mut Show, rules: &mut Rules, time: Option<Tai64N>) {
    while let Some((service, words)) = rules.next_before(time) {
        show.end_of_run(service, &words);
    }
}

/// Whether the rest of a line that was shown, or lines after it, may be missing.
fn is_unfinished(source: &Source) -> bool {
    source.is_within_line() || source.owes_context()
}
