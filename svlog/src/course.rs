//! Decides how a source goes through the files of a log: what comes when a file is read to its end, and when the source
//! waits or ends. No I/O and no clock.
//!
//! A source looks for a line in the bytes that it has read. When there is none, it reads more, and the course says what
//! becomes of that:
//!
//! ```text
//!                 ┌───────── more bytes ─────────┐
//!                 ▼                              │
//!   look for a line ── there is none ──► read the file ── its end ──► which file was it?
//!                 ▲                              ▲                     │            │
//!                 │                              │       finished, full│            │`current`
//!                 │                              └── begin it ◄── next file?   svlog -f: what has
//!                 │                                              none │        become of it?
//!                 │                                                   ▼             │
//!                 └────────────── a line without an end ◄── nothing more will come ◄┘ or wait
//! ```
//!
//! The course has three *stages*, of which each comes once:
//!
//! - *Reading*: a line that has no end yet is not shown, as its rest may come, be it in the next file.
//! - *Ending*: nothing more will come, so the last line is shown as it is. There may still be bytes that were written
//!   meanwhile.
//! - *Done*: that was shown too. If the position is kept for another svlog, a line without an end is left to that one,
//!   and this stage comes directly after the first.
//!
//! svlog -f ends a log only if nothing of the time that was asked for can follow, or if the owner of the directory has put
//! something into it that svlog does not read: he could make it wait for ever.
//!
//! `course/table.txt` says what every event does in every state; a test holds it against the code.

use crate::files::Relation;

/// What svlog does at the end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Once,
    Follow,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Bytes were read, or another file was begun.
    More,
    /// There is nothing until the directory changes.
    Nothing,
    /// There is nothing, and the directory has something that svlog does not read.
    NothingButForeign,
    /// What has become of `current` is known only when svlog has taken in what happened up to now.
    InDoubt,
    /// Nothing more will come.
    Over,
    /// The file was read to its end.
    EndOf(Kind),
    /// The next file was looked for: its relation to the one before, and whether there is one.
    Looked(Relation, bool),
    /// The next file cannot be looked for.
    NotLooked,
}

/// The kind of a file that was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is finished or full, and another comes after it.
    Full,
    /// It is finished, and no line of the time that was asked for comes after it.
    Last,
    Current,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Look for a line, and if there is none, read.
    GoOn,
    /// Look for the next file.
    NextFile,
    /// Begin it.
    Begin,
    /// Go on in it, where the file before ended: it is a copy.
    GoOnInCopy,
    /// Ask [`Restart`](crate::restart::Restart).
    AskRestart,
    /// Say that there is nothing until the directory changes.
    Wait,
    /// Say that the source must be asked again.
    Recheck,
    /// Nothing more will come: take that in ([`Event::Over`]).
    End,
}

/// How much of a log may still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Reading,
    Ending,
    Done,
}

/// The way of a source through its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    mode: Mode,
    /// Whether a line without an end is left to another svlog.
    has_whole_lines: bool,
    stage: Stage,
}

impl Course {
    /// Begins before the first file.
    pub fn new(mode: Mode) -> Course {
        Course { mode, has_whole_lines: false, stage: Stage::Reading }
    }

    /// From now on a line without an end is left to another svlog.
    pub fn show_whole_lines(&mut self) {
        self.has_whole_lines = true;
    }

    pub fn has_whole_lines(&self) -> bool {
        self.has_whole_lines
    }

    pub fn stage(&self) -> Stage {
        self.stage
    }

    pub fn follows(&self) -> bool {
        self.mode == Mode::Follow
    }

    /// Takes in what has happened, and says what is to be done.
    pub fn step(&mut self, event: Event) -> Step {
        match event {
            Event::More => Step::GoOn,
            Event::Nothing => Step::Wait,
            Event::InDoubt => Step::Recheck,
            Event::NothingButForeign | Event::Over => {
                self.stage = match (self.stage, self.has_whole_lines) {
                    (Stage::Reading, false) => Stage::Ending,
                    (Stage::Reading, true) | (Stage::Ending | Stage::Done, _) => Stage::Done,
                };
                Step::GoOn
            }
            Event::EndOf(Kind::Full) => Step::NextFile,
            Event::EndOf(Kind::Last) => Step::End,
            Event::EndOf(Kind::Current) => match self.mode {
                Mode::Once => Step::End,
                Mode::Follow => Step::AskRestart,
            },
            Event::Looked(Relation::Copy, true) => Step::GoOnInCopy,
            Event::Looked(Relation::Other | Relation::Gone, true) => Step::Begin,
            Event::Looked(_, false) | Event::NotLooked => match self.mode {
                Mode::Once => Step::End,
                Mode::Follow => Step::Wait,
            },
        }
    }
}

#[cfg(test)]
mod tests;
