//! What the supervise of a logger does before it exits: it lets the logger read the last lines of its service. No
//! clock, no I/O.
//!
//! A logger ends by itself at the end of its input, which comes when its service is gone for good. A supervise that was
//! told `x` exits as soon as its logger is down, as any supervise does, but not while the service may still write lines
//! or has left some:
//!
//! - The service goes on, or there is none: supervise exits, as for any service.
//! - The system does not tell how the service is, for want of descriptors or as a file may not be read: supervise waits
//!   until it does, for five seconds.
//! - The service's supervise has commands that it has not read: one of them may tell it to exit, so supervise waits for
//!   that.
//! - The service's supervise was told to exit too, or is gone, and the logger is down: the logger is started again, and
//!   reads on.
//! - The service's supervise is gone, and nothing is left to be read: a logger that was told `d` is told so once more,
//!   as it would wait for ever where a descendant of the service holds the pipe. Then supervise exits.
//! - The service's supervise is gone, nothing is left to be read, and the logger was killed: what it had read may be in
//!   its journal, so it is started again to write that.
//!
//! The command `d` itself ends the logger at once, as it ends any service.

use daemontools::service::{Command, Exit, Record, Want};
use nix::sys::signal::Signal;
use std::time::Duration;

/// A program that tells a service and its logger to exit tells one after the other: for this time the service, which
/// has read all its commands, may seem to go on. If it took longer, svscan starts a supervise for the lines that are
/// left.
const GRACE: Duration = Duration::from_millis(250);
/// A logger that has read nothing of what is left for this time is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// A logger that is killed again and again is started at most this often to write what it has read.
const RECOVERIES: u32 = 3;
/// The pause between two starts of a logger that dies again and again.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause between two looks at the service.
const AGAIN: Duration = Duration::from_millis(20);

/// How the service is that writes to the logger's pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The service goes on.
    Stays,
    /// The system does not tell now.
    Untold,
    /// The service's supervise has yet to read commands.
    Commanded,
    /// The service's supervise was told to exit.
    Leaves,
    /// The service's supervise has exited.
    Gone,
}

/// How the service, the pipe and the logger are at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    pub writer: Writer,
    /// How many bytes are in the pipe.
    pub unread: usize,
    /// Whether a process of the logger runs.
    pub alive: bool,
    /// What is wanted of the logger.
    pub want: Want,
    /// Whether the logger was killed when it last ended.
    pub killed: bool,
}

impl Facts {
    /// The facts, of which `logger` is the record of the logger.
    pub fn of(logger: &Record, writer: Writer, unread: usize) -> Facts {
        let killed = match logger.deaths.last().map(|death| death.exit) {
            // A logger without a handler for TERM ends in this way when it is told down.
            Some(Exit::Signal(signal)) => signal != Signal::SIGTERM as i32,
            Some(Exit::Core(_) | Exit::Unknown) => true,
            Some(Exit::Code(_) | Exit::Unstarted(_)) | None => false,
        };
        Facts { writer, unread, alive: logger.process.is_some(), want: logger.want, killed }
    }
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Wait,
    /// Tell the logger's machine this.
    Tell(Command),
    Leave,
}

/// How far reading the last lines has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadingStage {
    /// The logger is down for the first time.
    Down,
    /// The logger was started again for what is left, at this time since boot.
    Reading(Duration),
    /// The logger was told once more to end.
    Ending,
}

/// What is done once the logger is down and its supervise was told to exit.
#[derive(Debug)]
pub struct LastLines {
    stage: ReadingStage,
    /// When the logger was down, or the service's supervise was last seen to have commands to read.
    since: Duration,
    /// The logger was told `d`.
    told_down: bool,
    /// How often the logger was started again only because it had been killed.
    recoveries: u32,
    /// How many bytes were left in the pipe at the last look, and when they had become fewer, in time since boot.
    left: (usize, Duration),
    /// When more bytes had come for the first time, in time since boot: a process that has outlived its service may write
    /// without end.
    added: Option<Duration>,
    /// Whether a logger that runs is told to end when there is nothing more to wait for, as no other program tells it.
    tells: bool,
    /// When to look again if nothing happens, in time since boot.
    next: Option<Duration>,
}

impl LastLines {
    /// Begins at `now`, in time since boot.
    pub fn of(now: Duration) -> LastLines {
        LastLines {
            stage: ReadingStage::Down,
            since: now,
            told_down: false,
            recoveries: 0,
            left: (usize::MAX, now),
            added: None,
            tells: false,
            next: Some(now),
        }
    }

    /// Begins at `now`, in time since boot, for a logger that the service's own supervise runs. A descendant of the
    /// service may keep the pipe open, so that this logger never finds the end of its input.
    pub fn that_tells(now: Duration) -> LastLines {
        LastLines { tells: true, ..LastLines::of(now) }
    }

    /// When to look again at the latest, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        self.next
    }

    /// Decides what to do at `now`, in time since boot.
    pub fn step(&mut self, now: Duration, facts: Facts) -> Step {
        self.told_down |= facts.want == Want::Down;
        if facts.unread < self.left.0 || facts.writer != Writer::Gone {
            self.left = (facts.unread, now);
        } else if facts.unread > self.left.0 {
            self.left.0 = facts.unread;
            self.added.get_or_insert(now);
        }
        let step = if facts.alive { self.of_running(now, facts) } else { self.of_ended(now, facts) };
        // A logger that runs and is not to be told to end ends by itself, which wakes supervise.
        let waits = !facts.alive || ((self.told_down || self.tells) && self.stage != ReadingStage::Ending);
        self.next = waits.then_some(now + AGAIN);
        step
    }

    fn of_running(&mut self, now: Duration, facts: Facts) -> Step {
        let is_over = facts.writer == Writer::Gone && (facts.unread == 0 || self.is_given_up(now, facts));
        match self.stage {
            ReadingStage::Reading(_) if is_over && self.told_down => {
                self.stage = ReadingStage::Ending;
                Step::Tell(Command::Down)
            }
            // A logger that finds the end of its input ends by itself in that time.
            ReadingStage::Down | ReadingStage::Reading(_) if is_over && self.tells && now >= self.since + PAUSE => {
                self.stage = ReadingStage::Ending;
                Step::Tell(Command::Down)
            }
            ReadingStage::Down | ReadingStage::Reading(_) | ReadingStage::Ending => Step::Wait,
        }
    }

    /// Whether the logger has read nothing of what is left for some time, or more bytes have come some time ago.
    fn is_given_up(&self, now: Duration, facts: Facts) -> bool {
        let since = self.added.map_or(self.left.1, |added| added.min(self.left.1));
        facts.unread > 0 && now >= since + PATIENCE
    }

    fn of_ended(&mut self, now: Duration, facts: Facts) -> Step {
        let is_over = facts.unread == 0 && (!facts.killed || self.recoveries >= RECOVERIES);
        match (facts.writer, self.stage) {
            (Writer::Commanded, _) => {
                self.since = now;
                Step::Wait
            }
            (Writer::Stays, _) if now < self.since + GRACE => Step::Wait,
            (Writer::Stays, _) => Step::Leave,
            (Writer::Untold, _) if now < self.since + PATIENCE => Step::Wait,
            (Writer::Untold, _) => Step::Leave,
            (Writer::Gone, _) if is_over || self.is_given_up(now, facts) => Step::Leave,
            (Writer::Leaves | Writer::Gone, ReadingStage::Reading(started)) if now < started + PAUSE => Step::Wait,
            (Writer::Leaves | Writer::Gone, ReadingStage::Down | ReadingStage::Reading(_) | ReadingStage::Ending) => {
                self.recoveries += u32::from(facts.unread == 0 && facts.writer == Writer::Gone);
                self.stage = ReadingStage::Reading(now);
                Step::Tell(Command::Up)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Step::{Leave, Tell, Wait};
    use Writer::{Commanded, Gone, Leaves, Stays, Untold};

    /// The time in milliseconds, the facts at that time, and what is done.
    type Row = (u64, Writer, usize, bool, Want, Step);

    const UP: Step = Tell(Command::Up);
    const DOWN: Step = Tell(Command::Down);

    fn story(rows: &[Row]) {
        let mut last_lines = LastLines::of(Duration::ZERO);
        tell(&mut last_lines, rows, false);
    }

    fn tell(last_lines: &mut LastLines, rows: &[Row], killed: bool) {
        let at = Duration::from_millis;
        for (number, (now, writer, unread, alive, want, step)) in rows.iter().copied().enumerate() {
            let facts = Facts { writer, unread, alive, want, killed };
            assert_eq!(last_lines.step(at(now), facts), step, "row {number}");
            let looks = last_lines.deadline().is_some();
            assert!(looks || alive, "after row {number} nobody looks again");
        }
    }

    #[test]
    fn a_logger_that_has_read_to_the_end_is_all_there_was_to_wait_for() {
        story(&[(0, Gone, 0, false, Want::Up, Leave)]);
    }

    #[test]
    fn one_that_was_told_down_with_its_service_reads_what_comes_after_that() {
        story(&[
            (0, Stays, 0, false, Want::Down, Wait),
            (20, Leaves, 0, false, Want::Down, UP),
            (21, Leaves, 0, true, Want::Up, Wait),
            (90, Gone, 9, true, Want::Up, Wait),
            (99, Gone, 0, true, Want::Up, DOWN),
            (110, Gone, 0, true, Want::Down, Wait),
            (120, Gone, 0, false, Want::Down, Leave),
        ]);
    }

    #[test]
    fn one_that_was_not_told_down_is_started_again_too_and_ends_by_itself() {
        story(&[
            (0, Leaves, 9, false, Want::Up, UP),
            (90, Gone, 0, true, Want::Up, Wait),
            (99, Gone, 0, false, Want::Up, Leave),
        ]);
    }

    #[test]
    fn a_logger_whose_service_goes_on_leaves_soon() {
        story(&[(0, Stays, 5, false, Want::Down, Wait), (250, Stays, 5, false, Want::Down, Leave)]);
    }

    #[test]
    fn a_logger_that_cannot_see_its_service_waits_for_some_time() {
        story(&[
            (0, Untold, 5, false, Want::Down, Wait),
            (4900, Untold, 5, false, Want::Down, Wait),
            (4999, Gone, 5, false, Want::Down, UP),
            (5010, Untold, 5, true, Want::Up, Wait),
            (5050, Gone, 0, true, Want::Up, DOWN),
            (5100, Gone, 0, false, Want::Down, Leave),
        ]);
        story(&[(0, Untold, 5, false, Want::Down, Wait), (5000, Untold, 5, false, Want::Down, Leave)]);
    }

    #[test]
    fn a_service_whose_supervise_does_not_come_to_read_its_commands_is_waited_for() {
        story(&[
            (0, Commanded, 0, false, Want::Down, Wait),
            (9000, Commanded, 0, false, Want::Down, Wait),
            (9020, Stays, 0, false, Want::Down, Wait),
            (9040, Leaves, 0, false, Want::Down, UP),
        ]);
        story(&[
            (0, Commanded, 5, false, Want::Down, Wait),
            (9000, Commanded, 5, false, Want::Down, Wait),
            (9249, Stays, 5, false, Want::Down, Wait),
            (9250, Stays, 5, false, Want::Down, Leave),
        ]);
    }

    #[test]
    fn one_that_dies_again_and_again_is_started_once_a_second_until_it_reads_nothing_any_more() {
        story(&[
            (0, Gone, 5, false, Want::Up, UP),
            (10, Gone, 5, false, Want::Up, Wait),
            (1000, Gone, 5, false, Want::Up, UP),
            (4000, Gone, 3, false, Want::Up, UP),
            (4010, Gone, 3, false, Want::Up, Wait),
            (9000, Gone, 3, false, Want::Up, Leave),
        ]);
    }

    #[test]
    fn one_that_was_killed_is_started_for_what_is_in_its_journal_but_not_without_end() {
        let mut last_lines = LastLines::of(Duration::ZERO);
        let starts = [(0, Gone, 0, false, Want::Up, UP), (10, Gone, 0, false, Want::Up, Wait)];
        tell(&mut last_lines, &starts, true);
        tell(&mut last_lines, &[(1000, Gone, 0, false, Want::Up, UP), (2000, Gone, 0, false, Want::Up, UP)], true);
        tell(&mut last_lines, &[(3000, Gone, 0, false, Want::Up, Leave)], true);
        let mut last_lines = LastLines::of(Duration::ZERO);
        tell(&mut last_lines, &starts, true);
        tell(&mut last_lines, &[(20, Gone, 0, true, Want::Up, Wait), (30, Gone, 0, false, Want::Up, Leave)], false);
    }

    #[test]
    fn a_process_that_outlives_its_service_and_writes_without_end_keeps_no_logger() {
        story(&[
            (0, Gone, 4096, false, Want::Down, UP),
            (10, Gone, 100, true, Want::Up, Wait),
            (20, Gone, 65536, true, Want::Up, Wait),
            (4000, Gone, 50, true, Want::Up, Wait),
            (5020, Gone, 10, true, Want::Up, DOWN),
            (5030, Gone, 4096, false, Want::Down, Leave),
        ]);
    }

    #[test]
    fn a_logger_of_the_same_supervise_is_told_to_end_where_it_finds_no_end_of_its_input() {
        let mut last_lines = LastLines::that_tells(Duration::ZERO);
        let quiet = [(0, Gone, 0, true, Want::Up, Wait), (1000, Gone, 0, true, Want::Up, DOWN)];
        tell(&mut last_lines, &quiet, false);
        tell(
            &mut last_lines,
            &[(1010, Gone, 0, true, Want::Down, Wait), (1020, Gone, 0, false, Want::Down, Leave)],
            false,
        );
        let mut last_lines = LastLines::that_tells(Duration::ZERO);
        let noisy = [
            (0, Gone, 100, true, Want::Up, Wait),
            (1000, Gone, 900, true, Want::Up, Wait),
            (5000, Gone, 100, true, Want::Up, Wait),
            (6000, Gone, 900, true, Want::Up, DOWN),
        ];
        tell(&mut last_lines, &noisy, false);
        tell(&mut last_lines, &[(6020, Gone, 900, false, Want::Down, Leave)], false);
    }

    #[test]
    fn where_a_descendant_of_the_service_writes_on_what_is_in_the_pipe_is_read() {
        story(&[
            (0, Gone, 1, false, Want::Down, UP),
            (10, Gone, 0, true, Want::Up, DOWN),
            (20, Gone, 4, false, Want::Down, UP),
            (30, Gone, 0, true, Want::Up, DOWN),
            (40, Gone, 0, false, Want::Down, Leave),
        ]);
    }
}
