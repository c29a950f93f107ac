//! What a supervise that has ended has left, as far as svscan must know it. No I/O.
//!
//! What is not stopped is started again anyway, and its next supervise finds by itself what is left. So for most ends only
//! few questions are asked. A service that is being stopped is waited for as long as anything of it is left, and one whose
//! entry is gone as long as it has lines that only its logger can read.

use crate::table::Leftover;

/// How a supervise has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// It has exited with 0, as it was told to.
    Exited,
    /// It has exited with an error: it cannot serve.
    Failed,
    /// It was killed.
    Killed,
}

impl Death {
    /// Reads what wait(2) says.
    pub fn of(status: i32) -> Death {
        match status {
            0 => Death::Exited,
            status if status & 0x7f == 0 => Death::Failed,
            _ => Death::Killed,
        }
    }
}

/// What is wanted of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It has an entry.
    Present,
    /// It has none any more, and is left alone.
    Removed,
    /// It is being stopped.
    Stopped,
}

/// What a supervise has left of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// No process.
    Nothing,
    /// A process that is not proven to be gone.
    Process,
    /// The system does not tell now.
    Untold,
}

/// What there is to be asked about the supervise that has ended. Each question may cost system calls, and is asked only where
/// the answer matters.
pub trait Facts {
    /// It is a logger's, and there are lines that the logger may still come to read.
    fn has_lines(&mut self) -> bool;
    /// It is a service's, and has left lines that no logger reads.
    fn leaves_lines(&mut self) -> bool;
    /// It has written, as the last thing, that it was told to end and has stopped its service.
    fn was_told(&mut self) -> bool;
    /// Another supervise is in charge, or may be.
    fn is_served(&mut self) -> bool;
    /// What it has left.
    fn left(&mut self) -> Left;
    /// svscan still waits for a part of which nothing can be known: for some time only, since a stop must end.
    fn still_waits(&mut self) -> bool;
}

/// What a supervise has left.
pub fn leftover(death: Death, wanted: Wanted, facts: &mut impl Facts) -> Leftover {
    match wanted {
        Wanted::Removed if death != Death::Failed && facts.has_lines() => Leftover::Lines,
        Wanted::Removed if facts.leaves_lines() => Leftover::Lines,
        Wanted::Present | Wanted::Removed => left_alone(death, facts),
        Wanted::Stopped if facts.has_lines() => Leftover::Lines,
        Wanted::Stopped => left_at_stop(death, facts),
    }
}

fn left_alone(death: Death, facts: &mut impl Facts) -> Leftover {
    match death {
        Death::Exited => Leftover::Told,
        Death::Killed | Death::Failed if facts.was_told() => Leftover::Told,
        // Another supervise may have been in charge all the time, and this one have tried in vain.
        Death::Failed if !facts.is_served() => Leftover::CannotServe,
        Death::Killed | Death::Failed => Leftover::Nothing,
    }
}

fn left_at_stop(death: Death, facts: &mut impl Facts) -> Leftover {
    if facts.is_served() {
        return Leftover::Process;
    }
    match (facts.left(), death) {
        (Left::Process, Death::Exited | Death::Failed | Death::Killed) => Leftover::Process,
        (Left::Nothing, Death::Exited | Death::Failed | Death::Killed) => Leftover::Nothing,
        // It has stopped its service, as far as it knows.
        (Left::Untold, Death::Exited) => Leftover::Nothing,
        (Left::Untold, Death::Failed | Death::Killed) if facts.still_waits() => Leftover::Process,
        (Left::Untold, Death::Failed | Death::Killed) => Leftover::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers, and how many questions were asked.
    #[derive(Debug, Clone, Copy)]
    struct Known {
        has_lines: bool,
        leaves_lines: bool,
        was_told: bool,
        is_served: bool,
        left: Left,
        still_waits: bool,
        asked: u32,
    }

    const NONE: Known = Known {
        has_lines: false,
        leaves_lines: false,
        was_told: false,
        is_served: false,
        left: Left::Nothing,
        still_waits: false,
        asked: 0,
    };

    impl Known {
        fn answer<T>(&mut self, answer: T) -> T {
            self.asked += 1;
            answer
        }
    }

    impl Facts for Known {
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

        fn left(&mut self) -> Left {
            self.answer(self.left)
        }

        fn still_waits(&mut self) -> bool {
            self.answer(self.still_waits)
        }
    }

    #[test]
    fn what_is_left_is_told_by_as_few_questions_as_can_be() {
        use Death::{Exited, Failed, Killed};
        use Wanted::{Present, Removed, Stopped};
        let lines = Known { has_lines: true, ..NONE };
        let unread = Known { leaves_lines: true, ..NONE };
        let told = Known { was_told: true, ..NONE };
        let served = Known { is_served: true, ..NONE };
        let process = Known { left: Left::Process, ..NONE };
        let untold = Known { left: Left::Untold, ..NONE };
        let waits = Known { still_waits: true, ..untold };
        let table = [
            // How it ended, what is wanted, what is known; what is left, and how much was asked.
            (Exited, Present, NONE, Leftover::Told, 0),
            (Killed, Present, NONE, Leftover::Nothing, 1),
            (Killed, Present, told, Leftover::Told, 1),
            (Failed, Present, told, Leftover::Told, 1),
            (Failed, Present, NONE, Leftover::CannotServe, 2),
            (Failed, Present, served, Leftover::Nothing, 2),
            // What runs or could be read makes no difference: it is started again.
            (Killed, Present, Known { has_lines: true, ..process }, Leftover::Nothing, 1),
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
        for (death, wanted, known, expected, asked) in table {
            let mut facts = known;
            assert_eq!(leftover(death, wanted, &mut facts), expected, "{death:?} {wanted:?} {known:?}");
            assert_eq!(facts.asked, asked, "{death:?} {wanted:?} {known:?}");
        }
    }

    #[test]
    fn a_death_is_read_from_its_status() {
        let table = [(0, Death::Exited), (111 << 8, Death::Failed), (9, Death::Killed), (6 | 0x80, Death::Killed)];
        for (status, death) in table {
            assert_eq!(Death::of(status), death);
        }
    }
}
