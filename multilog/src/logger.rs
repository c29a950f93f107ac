//! The loop: multilog reads input into the journal, writes it to where the router sends it, and only then forgets it.

mod journals;
mod reading;
mod rotating;
mod start;

use crate::alarm::Alarm;
use crate::forward::Forwarder;
use crate::journal::{File, Id, Journal};
use crate::logdir::LogDirectory;
use crate::retry::{Retry, Stop};
use crate::router::{Input, Line, Router};
use crate::steps::SideOutput;
use crate::without_journal::JournalRetry;
use daemontools::Unable;
use daemontools::logdir::JOURNAL;
use daemontools::report::{self, warning};
use daemontools::sys;
use daemontools::sys::boot::Boot;
use daemontools::tai64::{Moment, Tai64N};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// What is written to the directories at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batch {
    /// This many of the first bytes of the journal's data, to every directory: the script only writes.
    Verbatim(usize),
    /// What the router has put out for each directory.
    Routed,
}

/// A multilog that is at work.
pub struct Logger {
    router: Router,
    directories: Vec<LogDirectory>,
    side: SideOutput,
    forwarder: Forwarder,
    journal: Journal,
    /// Older journals, if several multilogs were killed.
    left: Vec<Journal>,
    boot: Boot,
    /// Why no journal outlives multilog, and when to try again to make one.
    journal_retry: JournalRetry,
    /// When to check again whether files are still where they were.
    look_at: Duration,
    /// Whether something was read since the last check.
    unlooked: bool,
    /// No more than this many bytes are read at a time.
    most: usize,
    retry: Retry,
    /// A pipe by which multilog looks at the first bytes of the input without taking them; none if the input is no
    /// pipe.
    peek_pipe: Option<(OwnedFd, OwnedFd)>,
    /// The time of the lines that come next.
    time: Tai64N,
    /// The alarm by the wall clock; none if no directory needs it.
    alarm: Option<Alarm>,
    /// Whether the input has ended.
    ended: bool,
}

impl Logger {
    /// Works until the input has ended or TERM has come.
    pub fn run(&mut self) {
        if let Err(Stop) = self.work() {
            self.leave();
        }
    }

    /// Ends in the middle of trouble. What was read and could not be written is left to the next multilog.
    fn leave(&mut self) {
        self.directories.iter().for_each(LogDirectory::say_gone);
        self.directories.iter_mut().for_each(LogDirectory::leave);
        let count = self.journal.data().len();
        let is_its = |directory: &&LogDirectory| self.journal.folder().is_some_and(|folder| directory.is(folder));
        let directory = self.directories.iter().find(is_its).or(self.directories.first());
        let Some(directory) = directory.filter(|_| count > 0) else {
            let _ = self.journal.close();
            return;
        };
        let path = [directory.path().as_bytes(), b"/", JOURNAL.as_bytes()].concat();
        if !self.journal.survives() || !self.journal.is_in_place() {
            warning(&[format!("losing {count} bytes that were read and cannot be written in ").as_bytes(), &path]);
            return;
        }
        warning(&[
            format!("leaving {count} bytes that cannot be written now to the next multilog, in ").as_bytes(),
            &path,
        ]);
        if let Err(errno) = self.journal.close() {
            Unable::new("write to disk", OsStr::from_bytes(&path), errno).warn();
        }
    }

    fn work(&mut self) -> Result<(), Stop> {
        self.go_on()?;
        self.read_clock()?;
        self.write_out(Input::Open)?;
        while !(self.ended || self.may_leave()) {
            if !self.journal.survives() {
                self.wait_for_room()?;
            }
            let readable = self.wait();
            report::retry_lost();
            if readable {
                self.check_journal();
                self.read();
                self.unlooked = true;
            }
            if self.unlooked {
                self.check_files_if_due()?;
            }
            if readable || self.router.deadline().is_some() {
                self.read_clock()?;
                self.write_out(if self.ended { Input::Ended } else { Input::Open })?;
            }
            self.tend_directories()?;
            if self.alarm.is_some() {
                self.read_clock()?;
            }
            self.tell_of_dropped()?;
        }
        self.end()
    }

    /// Goes on with what earlier multilogs have read and not written. The input has the rest of the last line only if
    /// the newest journal is of this input.
    fn go_on(&mut self) -> Result<(), Stop> {
        let mut left = std::mem::take(&mut self.left).into_iter();
        while let Some(older) = left.next() {
            let mut newest = std::mem::replace(&mut self.journal, older);
            if let Err(stop) = self.write_left() {
                close_all(left.as_mut_slice().iter_mut().chain([&mut newest]));
                return Err(stop);
            }
            std::mem::replace(&mut self.journal, newest).remove();
        }
        let input = input();
        if !self.journal.is_of(&input) {
            self.write_left()?;
        } else if self.journal.is_closed() {
            self.sync_directories_if_closed()?;
            self.router.resume(self.journal.checkpoint().line);
            self.read_clock()?;
            self.write_out(Input::Open)?;
        }
        self.journal.begin(input);
        self.router.resume(self.journal.checkpoint().line);
        Ok(())
    }

    /// Writes all that is in the journal, and ends its last line.
    fn write_left(&mut self) -> Result<(), Stop> {
        self.sync_directories_if_closed()?;
        self.router.resume(self.journal.checkpoint().line);
        self.read_clock()?;
        self.write_out(Input::Ended)?;
        if !self.journal.data().is_empty() {
            return Err(Stop);
        }
        self.end_lines()
    }

    /// Ends the last line, and reports what limits have suppressed; that goes to a new file if one is due.
    fn end_lines(&mut self) -> Result<(), Stop> {
        self.router.end_line(&mut self.directories, &mut self.side);
        self.write_pending()?;
        self.rotate_by_time()?;
        self.router.end(&mut self.directories, &mut self.side);
        self.write_pending()
    }

    fn write_pending(&mut self) -> Result<(), Stop> {
        if self.is_pending() {
            self.write(Batch::Routed)?;
        }
        self.commit(0)
    }

    /// Whether multilog was told to end, is at the end of a line, and has written all that it has read.
    fn may_leave(&self) -> bool {
        self.retry.signals.leaving && self.router.line == Line::Fresh && self.journal.data().is_empty()
    }

    /// Reads the clock for the lines that follow.
    fn read_clock(&mut self) -> Result<(), Stop> {
        if self.router.needs_clock() || self.alarm.is_some() {
            let now = Moment::now();
            self.router.batch(now);
            self.time = now.label;
            self.rotate_by_time()?;
        }
        Ok(())
    }

    /// Waits for input, a signal, or the time at which something is to be done. Returns whether there is input.
    fn wait(&mut self) -> bool {
        let patience = self.patience();
        let next = self.directories.iter().filter_map(|directory| directory.wall_deadline(self.router.line)).min();
        let watched = self.alarm.as_mut().map(|alarm| alarm.set(next)).map_or(2, |()| 3);
        let clock = self.alarm.as_ref().map_or(self.retry.signals.as_fd(), AsFd::as_fd);
        let mut fds = [sys::stdin(), self.retry.signals.as_fd(), clock]
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
        let polled = poll(&mut fds[..watched], patience);
        let [input, signals, time] = fds.map(|fd| fd.any().unwrap_or(false));
        if signals {
            self.retry.signals.drain();
        }
        if let (true, Some(alarm)) = (time, &mut self.alarm) {
            alarm.heard();
        }
        // Signals count first: after TERM, multilog reads nothing beyond the end of the line.
        polled.is_ok() && input && !self.may_leave()
    }

    /// Writes all that can be written of what was read.
    fn write_out(&mut self, input: Input) -> Result<(), Stop> {
        loop {
            self.check_journal();
            self.retry.unwritten = self.journal.data().len();
            let leaving = self.retry.signals.leaving;
            for directory in &mut self.directories {
                let limit = if directory.standing().takes_all(leaving) { u64::MAX } else { directory.limit };
                (directory.output.size, directory.output.limit) = (directory.size, limit);
            }
            let plain = self.router.plain_part(self.journal.data(), &self.directories);
            let batch = plain.map_or(Batch::Routed, Batch::Verbatim);
            let taken = match batch {
                Batch::Verbatim(length) => length,
                Batch::Routed => self.router.take(self.journal.data(), input, &mut self.directories, &mut self.side),
            };
            if taken > 0 || self.is_pending() {
                self.write(batch)?;
                // Lines in a file that was removed do not count as written: the journal keeps them until they are in
                // another file.
                if !self.directories.iter().any(LogDirectory::is_gone)
                    || !self.check_files(Moment::now().uptime, taken)?
                {
                    self.commit(taken)?;
                }
            }
            let is_at_line_end = self.router.stops_at_line_end && self.router.line == Line::Fresh;
            let rotated_by_time = is_at_line_end && self.rotate_by_time()?;
            let rotated = self.rotate_full()? || rotated_by_time;
            if rotated {
                // Each rotation may take a slow disk long, and signals may have come meanwhile.
                self.retry.signals.drain();
            }
            if !rotated && taken == 0 {
                return Ok(());
            }
        }
    }

    /// How long multilog may wait if nothing happens.
    fn patience(&self) -> PollTimeout {
        let next = self.directories.iter().filter_map(LogDirectory::deadline);
        let next = next.chain(self.router.deadline()).chain(self.unlooked.then_some(self.look_at)).min();
        sys::timeout(next.map(|at| at.saturating_sub(Moment::now().uptime)))
    }

    /// Writes a batch to the directories, and what the router put out to other places.
    fn write(&mut self, batch: Batch) -> Result<(), Stop> {
        let size = |directory: &LogDirectory| match batch {
            Batch::Verbatim(length) => length,
            Batch::Routed => directory.output.pending.len(),
        };
        let files = self.directories.iter().map(|directory| directory.file(size(directory))).collect();
        self.journal.commit(0, self.journal.checkpoint().line, files);
        if self.journal.is_closed() {
            // After a power cut, the journal must say how much of the files is to be cut off.
            self.retry.retry_until_done("write", &[JOURNAL.as_bytes(), b" to disk"], || self.journal.sync())?;
        }
        for directory in &mut self.directories {
            match batch {
                Batch::Verbatim(length) => directory.write(&self.journal.data()[..length], &mut self.retry)?,
                Batch::Routed => directory.write_output(&mut self.retry)?,
            }
        }
        let SideOutput { alerts, statuses, lines, messages } = &mut self.side;
        self.forwarder.print(lines, &mut self.retry)?;
        lines.clear();
        self.forwarder.send(messages);
        report::pass_on(alerts);
        alerts.clear();
        statuses.drain(..).for_each(|(file, content)| self.forwarder.show(file, &content));
        Ok(())
    }

    /// Whether the router put out anything.
    fn is_pending(&self) -> bool {
        !self.side.is_empty() || self.directories.iter().any(|directory| !directory.output.pending.is_empty())
    }

    /// Notes in the journal that its first `taken` bytes are in the directories.
    fn commit(&mut self, taken: usize) -> Result<(), Stop> {
        self.sync_directories_if_closed()?;
        self.journal.commit(taken, self.router.line, self.files());
        Ok(())
    }

    /// Synchronizes the directories, if the journal is one that an earlier multilog has closed. Such a journal is believed
    /// after another boot, until this multilog begins with its own input. A power cut may leave either the directories or
    /// the journal in an older state. So the lines must be on the disk before the journal says that they are in the
    /// directories; otherwise lines would be lost or doubled.
    fn sync_directories_if_closed(&mut self) -> Result<(), Stop> {
        if self.journal.is_closed() {
            for directory in &mut self.directories {
                directory.sync_with_names(&mut self.retry)?;
            }
        }
        Ok(())
    }

    fn files(&self) -> Vec<File> {
        self.directories.iter().map(|directory| directory.file(0)).collect()
    }

    /// Reports dropped lines where there is room for that again.
    fn tell_of_dropped(&mut self) -> Result<(), Stop> {
        if self.directories.iter().any(|directory| directory.tell_at().is_some_and(|at| at <= Moment::now().uptime)) {
            self.write(Batch::Routed)?;
            self.commit(0)?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        self.read_clock()?;
        self.end_lines()?;
        // What was written since the last look may have gone into a file that is not there any more.
        self.check_files(Moment::now().uptime, 0)?;
        self.forwarder.end();
        // multilog waits for its processors, unless TERM has come.
        while self.directories.iter().any(LogDirectory::is_processing) && !self.retry.signals.leaving {
            self.wait_for_processor()?;
        }
        for directory in &mut self.directories {
            directory.end(&mut self.retry)?;
        }
        self.journal.remove();
        Ok(())
    }
}

/// Closes journals whose input could not be written, so that the next multilog goes on with them.
fn close_all<'a>(journals: impl Iterator<Item = &'a mut Journal>) {
    journals.for_each(|journal| {
        if let Err(errno) = journal.close() {
            Unable::new("write to disk", JOURNAL, errno).warn();
        }
    });
}

/// The identity of standard input, as journals record it.
fn input() -> Id {
    Id::of(sys::stdin()).unwrap_or_default()
}
