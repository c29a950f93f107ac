//! What a supervise that has ended has left, as far as svscan must know it. No I/O.
//!
//! If a service is not being stopped, svscan starts another supervise for it anyway, which finds by itself what is left. So
//! svscan asks only few questions when such a supervise ends. If a service is being stopped, svscan waits as long as anything
//! of it is left; if its entry is gone, as long as it has lines that only its logger can read.

use crate::table::Leftover;
use daemontools::service::Exit;

/// How a supervise has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitKind {
    /// It has exited with 0, as it was told to.
    Exited,
    /// It has exited with an error: it cannot serve.
    Failed,
    /// It was killed.
    Killed,
}

impl ExitKind {
    /// Reads what wait(2) says.
    pub fn of(status: i32) -> ExitKind {
        match Exit::from_wait_status(status) {
            Exit::Code(0) => ExitKind::Exited,
            Exit::Code(_) => ExitKind::Failed,
            Exit::Signal(_) | Exit::Core(_) | Exit::Unstarted(_) | Exit::Unknown => ExitKind::Killed,
        }
    }
}

/// What svscan wants of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The service has an entry, and is to run.
    Present,
    /// The service has no entry any more, and svscan leaves it alone.
    Removed,
    /// svscan stops the service.
    Stopped,
}

/// Whether a supervise has left a process of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemainingProcess {
    /// It has left no process.
    None,
    /// It has left a process that is not proven to be gone.
    Possible,
    /// The system does not tell now.
    Unknown,
}

/// What svscan may ask about a supervise that has ended. Each question may cost system calls, so svscan asks it only where
/// the answer matters.
pub trait EndFacts {
    /// Whether it is the supervise of a logger for which there are lines that the logger may still read.
    fn has_lines(&mut self) -> bool;
    /// Whether it is the supervise of a service and has left lines that no logger reads.
    fn leaves_lines(&mut self) -> bool;
    /// Whether the last record of the supervise says that it was told to end and has stopped its service.
    fn was_told(&mut self) -> bool;
    /// Whether another supervise is in charge, or may be.
    fn is_served(&mut self) -> bool;
    /// Whether the supervise has left a process.
    fn remaining_process(&mut self) -> RemainingProcess;
    /// Whether svscan still waits for a part of which nothing can be known. It does so for some time only, because a
    /// stop must end.
    fn still_waits(&mut self) -> bool;
}

/// Finds out what a supervise that has ended in this way has left.
pub fn leftover(exit: ExitKind, wanted: Wanted, facts: &mut impl EndFacts) -> Leftover {
    match wanted {
        Wanted::Removed if exit != ExitKind::Failed && facts.has_lines() => Leftover::Lines,
        Wanted::Removed if facts.leaves_lines() => Leftover::Lines,
        Wanted::Present | Wanted::Removed => left_alone(exit, facts),
        Wanted::Stopped if facts.has_lines() => Leftover::Lines,
        Wanted::Stopped => left_at_stop(exit, facts),
    }
}

fn left_alone(exit: ExitKind, facts: &mut impl EndFacts) -> Leftover {
    match exit {
        ExitKind::Exited => Leftover::Told,
        ExitKind::Killed | ExitKind::Failed if facts.was_told() => Leftover::Told,
        // Another supervise may have been in charge all the time, so that this supervise has tried in vain.
        ExitKind::Failed if !facts.is_served() => Leftover::CannotServe,
        ExitKind::Killed | ExitKind::Failed => Leftover::Nothing,
    }
}

fn left_at_stop(exit: ExitKind, facts: &mut impl EndFacts) -> Leftover {
    if facts.is_served() {
        return Leftover::Process;
    }
    match (facts.remaining_process(), exit) {
        (RemainingProcess::Possible, ExitKind::Exited | ExitKind::Failed | ExitKind::Killed) => Leftover::Process,
        (RemainingProcess::None, ExitKind::Exited | ExitKind::Failed | ExitKind::Killed) => Leftover::Nothing,
        // It has stopped its service, as far as it knows.
        (RemainingProcess::Unknown, ExitKind::Exited) => Leftover::Nothing,
        (RemainingProcess::Unknown, ExitKind::Failed | ExitKind::Killed) if facts.still_waits() => Leftover::Process,
        (RemainingProcess::Unknown, ExitKind::Failed | ExitKind::Killed) => Leftover::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers, and how many questions were asked.
    #[derive(Debug, Clone, Copy)]
    struct EndAnswers {
        has_lines: bool,
        leaves_lines: bool,
        was_told: bool,
        is_served: bool,
        left: RemainingProcess,
        still_waits: bool,
        asked: u32,
    }

    const NONE: EndAnswers = EndAnswers {
        has_lines: false,
        leaves_lines: false,
        was_told: false,
        is_served: false,
        left: RemainingProcess::None,
        still_waits: false,
        asked: 0,
    };

    impl EndAnswers {
        fn answer<T>(&mut self, answer: T) -> T {
            self.asked += 1;
            answer
        }
    }

    impl EndFacts for EndAnswers {
        fn has_lines(&mut self) -> bool {
            self.answer(self.has_lines)
        }

        fn leaves_lines(&mut self) -> bool {
            self.answer(self.leaves_lines)
        }

        fn was_told(&mut self) -> bool {
            self.answer(self.was_told)
        }

        fn is_served(&mut self) -> bool {
            self.answer(self.is_served)
        }

        fn remaining_process(&mut self) -> RemainingProcess {
            self.answer(self.left)
        }

        fn still_waits(&mut self) -> bool {
            self.answer(self.still_waits)
        }
    }

    #[test]
    fn what_a_supervise_has_left_is_found_by_as_few_questions_as_possible() {
        use ExitKind::{Exited, Failed, Killed};
        use Wanted::{Present, Removed, Stopped};
        let lines = EndAnswers { has_lines: true, ..NONE };
        let unread = EndAnswers { leaves_lines: true, ..NONE };
        let told = EndAnswers { was_told: true, ..NONE };
        let served = EndAnswers { is_served: true, ..NONE };
        let process = EndAnswers { left: RemainingProcess::Possible, ..NONE };
        let untold = EndAnswers { left: RemainingProcess::Unknown, ..NONE };
        let waits = EndAnswers { still_waits: true, ..untold };
        let table = [
            // How it ended, what is wanted, what is known; what is left, and how much was asked.
            (Exited, Present, NONE, Leftover::Told, 0),
            (Killed, Present, NONE, Leftover::Nothing, 1),
            (Killed, Present, told, Leftover::Told, 1),
            (Failed, Present, told, Leftover::Told, 1),
            (Failed, Present, NONE, Leftover::CannotServe, 2),
            (Failed, Present, served, Leftover::Nothing, 2),
            // It makes no difference what runs or could be read: the supervise is started again.
            (Killed, Present, EndAnswers { has_lines: true, ..process }, Leftover::Nothing, 1),
            (Exited, Removed, NONE, Leftover::Told, 2),
            (Killed, Removed, lines, Leftover::Lines, 1),
            (Killed, Removed, unread, Leftover::Lines, 2),
            (Exited, Removed, unread, Leftover::Lines, 2),
            (Killed, Removed, NONE, Leftover::Nothing, 3),
            // A logger that cannot be started does not read.
            (Failed, Removed, lines, Leftover::CannotServe, 3),
            (Failed, Removed, unread, Leftover::Lines, 1),
            (Exited, Stopped, lines, Leftover::Lines, 1),
            (Failed, Stopped, lines, Leftover::Lines, 1),
            (Killed, Stopped, served, Leftover::Process, 2),
            (Exited, Stopped, process, Leftover::Process, 3),
            (Failed, Stopped, process, Leftover::Process, 3),
            (Killed, Stopped, process, Leftover::Process, 3),
            (Killed, Stopped, NONE, Leftover::Nothing, 3),
            (Exited, Stopped, waits, Leftover::Nothing, 3),
            (Killed, Stopped, waits, Leftover::Process, 4),
            (Failed, Stopped, untold, Leftover::Nothing, 4),
            // Lines that no logger reads are counted when the pipe is closed.
            (Killed, Stopped, unread, Leftover::Nothing, 3),
        ];
        for (exit, wanted, known, expected, asked) in table {
            let mut facts = known;
            assert_eq!(leftover(exit, wanted, &mut facts), expected, "{exit:?} {wanted:?} {known:?}");
            assert_eq!(facts.asked, asked, "{exit:?} {wanted:?} {known:?}");
        }
    }

    #[test]
    fn how_a_supervise_ended_is_read_from_its_status() {
        let table =
            [(0, ExitKind::Exited), (111 << 8, ExitKind::Failed), (9, ExitKind::Killed), (6 | 0x80, ExitKind::Killed)];
        for (status, exit) in table {
            assert_eq!(ExitKind::of(status), exit);
        }
    }
}
