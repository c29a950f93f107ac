//! What a supervise of a logger does before it leaves: it lets the logger read the last lines of its service.
//! No clock, no I/O.
//!
//! A logger ends by itself at the end of its input, which comes when its service is gone for good. Told `x`, its
//! supervise leaves as soon as the logger is down, as any supervise does, but not while the service still speaks or has
//! left lines:
//!
//! - The service goes on, or there is none: as for any service.
//! - The service's supervise has commands that it has not read: one of them may tell it to leave, so that is waited for.
//! - The service's supervise was told to leave too, or is gone, and the logger is down: it is started again, and reads on.
//! - The service's supervise is gone, and nothing is left to be read: a logger that was told `d` is told so once more, as
//!   it would wait for ever where a descendant of the service holds the pipe; then supervise leaves.
//! - The same, but the logger was killed: what it had read may be in its journal, so it is started again to write that.
//!
//! `d` itself ends the logger at once, as ever.

use daemontools::service::{Command, Exit, Record, Want};
use std::time::Duration;

/// Whoever tells a service and its logger to leave tells one after the other: for so long the service, which has read all
/// its commands, may seem to go on. Where it was longer, svscan starts a supervise for the lines that are left.
const GRACE: Duration = Duration::from_millis(250);
/// A logger that takes nothing of what is left is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A logger that is killed each time is not started more often than this to write what it has read.
const RECOVERIES: u32 = 3;
/// Between two starts of a logger that dies again and again.
const PAUSE: Duration = Duration::from_secs(1);
/// The service is looked at so often.
const AGAIN: Duration = Duration::from_millis(20);

/// How the service of a logger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// It goes on, or that cannot be told.
    Stays,
    /// Its supervise has yet to read commands.
    Commanded,
    /// Its supervise was told to leave.
    Leaves,
    /// Its supervise has left.
    Gone,
}

/// How everything is when it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    pub writer: Writer,
    /// Bytes in the pipe.
    pub unread: usize,
    /// Whether a process of the logger runs.
    pub alive: bool,
    /// What is wanted of the logger.
    pub want: Want,
    /// Whether the logger was killed when it last ended.
    pub killed: bool,
}

impl Facts {
    /// How everything is, where this is the record of the logger.
    pub fn of(logger: &Record, writer: Writer, unread: usize) -> Facts {
        let last = logger.deaths.last().map(|death| death.exit);
        let killed = matches!(last, Some(Exit::Signal(_) | Exit::Core(_) | Exit::Unknown));
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

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The logger is down for the first time.
    Down,
    /// It was started again for what is left, at this time.
    Reading(Duration),
    /// It was told once more to end.
    Ending,
}

/// What is done once the logger is down whose supervise was told to leave.
#[derive(Debug)]
pub struct LastLines {
    stage: Stage,
    /// When the logger was down, or the service's supervise was last seen to have commands to read.
    since: Duration,
    /// The logger was told `d`.
    told_down: bool,
    /// How often it was started again only because it had been killed.
    recoveries: u32,
    /// How much is left, and since when it is so much.
    left: (usize, Duration),
    /// When to look again, if nothing happens.
    next: Option<Duration>,
}

impl LastLines {
    /// Begins at `now`, in time since boot.
    pub fn of(now: Duration) -> LastLines {
        LastLines { stage: Stage::Down, since: now, told_down: false, recoveries: 0, left: (0, now), next: Some(now) }
    }

    /// When to look again at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        self.next
    }

    /// What to do at `now`.
    pub fn step(&mut self, now: Duration, facts: Facts) -> Step {
        self.told_down |= facts.want == Want::Down;
        if facts.unread != self.left.0 {
            self.left = (facts.unread, now);
        }
        let step = if facts.alive { self.of_running(facts) } else { self.of_ended(now, facts) };
        // What runs and is not to be told to end ends by itself, which is news.
        let waits = !facts.alive || (self.told_down && self.stage != Stage::Ending);
        self.next = waits.then_some(now + AGAIN);
        step
    }

    fn of_running(&mut self, facts: Facts) -> Step {
        let is_over = facts.writer == Writer::Gone && facts.unread == 0;
        match self.stage {
            Stage::Reading(_) if is_over && self.told_down => {
                self.stage = Stage::Ending;
                Step::Tell(Command::Down)
            }
            Stage::Down | Stage::Reading(_) | Stage::Ending => Step::Wait,
        }
    }

    fn of_ended(&mut self, now: Duration, facts: Facts) -> Step {
        let is_given_up = facts.unread > 0 && now >= self.left.1 + PATIENCE;
        let is_over = facts.unread == 0 && (!facts.killed || self.recoveries >= RECOVERIES);
        match (facts.writer, self.stage) {
            (Writer::Commanded, _) => {
                self.since = now;
                Step::Wait
            }
            (Writer::Stays, _) if now < self.since + GRACE => Step::Wait,
            (Writer::Stays, _) => Step::Leave,
            (Writer::Gone, _) if is_over || is_given_up => Step::Leave,
            (Writer::Leaves | Writer::Gone, Stage::Reading(started)) if now < started + PAUSE => Step::Wait,
            (Writer::Leaves | Writer::Gone, Stage::Down | Stage::Reading(_) | Stage::Ending) => {
                self.recoveries += u32::from(facts.unread == 0 && facts.writer == Writer::Gone);
                self.stage = Stage::Reading(now);
                Step::Tell(Command::Up)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Step::{Leave, Tell, Wait};
    use Writer::{Commanded, Gone, Leaves, Stays};

    /// Milliseconds, and the facts then; what is done.
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
    fn one_whose_service_goes_on_leaves_soon() {
        story(&[(0, Stays, 5, false, Want::Down, Wait), (250, Stays, 5, false, Want::Down, Leave)]);
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
