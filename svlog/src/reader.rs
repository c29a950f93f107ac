//! The lines of all logs that are asked for, in the order of time, shown as they come.

use crate::arguments::Request;
use crate::folder::Folder;
use crate::follow::{Change, Watch};
use crate::last;
use crate::merge::Merge;
use crate::show::Show;
use crate::source::{Next, Source};
use daemontools::tai64::Tai64N;
use daemontools::{Fatal, Unable, report, sys};
use nix::errno::Errno;
use nix::poll::PollTimeout;
use std::time::Duration;

/// How many bytes svlog gathers before it writes them, unless there are no more lines for the moment.
const GATHERED: usize = 64 * 1024;

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
    /// How many lines come before the last lines that were asked for.
    surplus: u64,
    /// Whether the line that was begun is one of those before.
    hidden: bool,
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
    pub fn new(request: &'a Request, folders: &'a [Folder], show: Show) -> Result<Self, Unable> {
        let mut sources = Vec::new();
        let mut total: u64 = 0;
        for folder in folders {
            let source = match request.last {
                None => Source::new(folder, &request.selection, request.mode),
                Some(wanted) => {
                    let (source, count) = last::last(folder, &request.selection, request.mode, wanted)?;
                    total += count;
                    source
                }
            };
            sources.push((source, State::Ready));
        }
        let surplus = request.last.map_or(0, |wanted| total.saturating_sub(wanted));
        Ok(Reader { sources, merge: Merge::new(), show, surplus, hidden: false, looks_left: 0 })
    }

    /// Shows all lines that there are. Returns whether there may be more later.
    pub fn show_all(&mut self, watch: Option<&Watch>) -> Result<bool, Fatal> {
        (0..self.sources.len()).for_each(|number| self.ask(number));
        while let Some(number) = self.merge.take() {
            self.show(number);
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
        self.write()?;
        Ok(self.is_any(State::Waiting) || self.is_any(State::Rechecking))
    }

    /// Asks a source for its next line, if the source must be asked.
    fn ask(&mut self, number: usize) {
        let Some((source, state @ State::Ready)) = self.sources.get_mut(number) else { return };
        *state = match source.next() {
            Next::Line(time) => {
                let begins = source.line().is_none_or(|line| line.begins);
                self.merge.offer(begins.then_some(time), number);
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
            if line.begins {
                self.hidden = self.surplus > 0;
                self.surplus = self.surplus.saturating_sub(1);
            }
            if !self.hidden {
                self.show.line(number, line);
            }
        }
        source.take();
        *state = State::Ready;
    }

    fn write(&mut self) -> Result<(), Fatal> {
        let written = sys::write_all(sys::stdout(), &self.show.output);
        self.show.output.clear();
        match written {
            // The reader of the output has gone.
            Err(Errno::EPIPE) => Err(Fatal::silent(0)),
            Err(errno) => Err(Unable::new("write output", "", errno).into()),
            Ok(()) => Ok(()),
        }
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
