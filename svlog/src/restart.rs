//! Decides whether `current`, while svlog follows it, still has the bytes that svlog has read. No I/O and no clock.
//!
//! A log file grows, and is renamed when it is full. But bytes that svlog has read may also be cut off or change:
//!
//! - multilog, whose disk is full, cuts off the beginning of a line. svlog has not shown it, and takes it back.
//! - A multilog was killed while it wrote. The next one cuts off what may be incomplete, and writes the same lines once
//!   more with later stamps, so that they end where they ended before. svlog goes on behind them, and shows none twice.
//! - If anything else becomes of these bytes, another program has done it: the file is read from its start.
//!
//! The lock tells the second from the third: a multilog opens it before it cuts, and cuts before it writes. What svlog
//! knows of that is the first part of the state ([`Multilog`]):
//!
//! ```text
//!              a multilog opens the lock            the end is reached
//!   Settled ───────────────────────────► Started ─────────────────────► Reached
//!     ▲                                     ▲                              │
//!     │                                     └──── a multilog opens it ─────┤
//!     └──────────────────── more comes: it was written behind the cut ─────┘
//! ```
//!
//! inotify(7) may tell of the lock only after the bytes have changed. So when they change while all is settled, svlog
//! does not believe it at once: it takes in what has happened up to now, and looks once more ([`Recheck`]).
//!
//! When `current` has another name, what was written between the last reading and the renaming is still to be read: one
//! *last look* ([`Look`]) at the end of the file follows, and only then the next file.
//!
//! `restart/table.txt` says what every event does in every state; a test holds it against the code.

use crate::tail::Now;

/// What happens to `current`, or is found out about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A multilog has opened the lock of the directory.
    MultilogStarted,
    /// svlog has read more. The field tells what lies now in the place of the bytes that it had read before.
    Read(Now),
    /// svlog has read bytes behind those that it had read before.
    MoreCame,
    /// The end of the file is where svlog has read to; this is what the name `current` leads to.
    AtEnd(Name),
    /// The file has become shorter.
    Cut {
        /// How many of the bytes that were read are gone.
        length: u64,
        /// How many of the bytes at the end were not shown, as their line has no end.
        unshown: usize,
        /// What the name `current` leads to.
        name: Name,
    },
    /// svlog has gone on to the next file, or has found that there is none yet.
    WentOn,
}

/// What the name `current` leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The file that svlog reads.
    ThisFile,
    /// Another file, or nothing.
    Another,
}

/// What svlog does about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// svlog goes on as it would without the event.
    GoOn,
    /// svlog remembers that the lines before have other stamps, and goes on.
    TakeStamps,
    /// svlog forgets this many of the last bytes, and reads on.
    TakeBack(usize),
    /// svlog takes in what has happened up to now, then reads the same place once more.
    Recheck,
    /// svlog says that the file was truncated, and reads it from its start.
    FromStart,
    /// svlog has shown all that there is, and waits for more.
    AllShown,
    /// svlog waits: a multilog is about to write these lines once more.
    Wait,
    /// svlog reads what was written before the file was renamed.
    LookOnce,
    /// svlog goes on to the next file.
    NextFile,
    /// svlog goes on to the next file, where this many bytes come once more.
    NextFileAfter(u64),
}

/// Whether a multilog that was started may not have cut `current` yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Multilog {
    /// The multilog has cut `current`, or had no need to.
    Settled,
    /// A multilog was started, and may still cut.
    Started,
    /// svlog has reached the end since: what is written behind that is written after the cut.
    Reached,
}

/// Whether svlog looks once more at bytes that seemed to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recheck {
    /// The bytes have not changed.
    None,
    /// The bytes seemed to change, and svlog looks at them once more.
    Pending,
}

/// Which look at the end of the file the next one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The next look is one of many.
    Usual,
    /// The next look is the last one: the file has another name.
    Last,
}

/// What is known of `current`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    multilog: Multilog,
    recheck: Recheck,
    look: Look,
}

impl Restart {
    /// No multilog was started yet.
    pub fn new() -> Restart {
        Restart { multilog: Multilog::Settled, recheck: Recheck::None, look: Look::Usual }
    }

    /// Takes in what happens, and says what is to be done.
    pub fn step(&mut self, event: Event) -> Step {
        match event {
            Event::MultilogStarted => self.multilog = Multilog::Started,
            Event::MoreCame => {
                self.recheck = Recheck::None;
                match self.multilog {
                    Multilog::Reached => self.multilog = Multilog::Settled,
                    Multilog::Settled | Multilog::Started => {}
                }
            }
            Event::WentOn => self.look = Look::Usual,
            Event::Read(now) => return self.read(now),
            Event::AtEnd(name) => return self.at_end(name),
            Event::Cut { length, unshown, name } => return self.cut(length, unshown, name),
        }
        Step::GoOn
    }

    fn read(&mut self, now: Now) -> Step {
        match (now, self.multilog) {
            (Now::Same, Multilog::Settled | Multilog::Started | Multilog::Reached) => Step::GoOn,
            (Now::Restamped, Multilog::Started | Multilog::Reached) => Step::TakeStamps,
            (Now::Restamped, Multilog::Settled) => self.suspect(),
            (Now::Other, Multilog::Settled | Multilog::Started | Multilog::Reached) => self.suspect(),
        }
    }

    fn at_end(&mut self, name: Name) -> Step {
        match (name, self.look) {
            (Name::ThisFile, Look::Usual | Look::Last) => {
                self.recheck = Recheck::None;
                match self.multilog {
                    Multilog::Started => self.multilog = Multilog::Reached,
                    Multilog::Settled | Multilog::Reached => {}
                }
                Step::AllShown
            }
            (Name::Another, Look::Usual) => {
                self.look = Look::Last;
                Step::LookOnce
            }
            (Name::Another, Look::Last) => Step::NextFile,
        }
    }

    fn cut(&mut self, length: u64, unshown: usize, name: Name) -> Step {
        if let Some(length) = usize::try_from(length).ok().filter(|length| *length <= unshown) {
            return Step::TakeBack(length);
        }
        match (self.multilog, name) {
            (Multilog::Settled, Name::ThisFile | Name::Another) => self.suspect(),
            (Multilog::Started | Multilog::Reached, Name::ThisFile) => {
                self.recheck = Recheck::None;
                Step::Wait
            }
            (Multilog::Started | Multilog::Reached, Name::Another) => Step::NextFileAfter(length),
        }
    }

    /// Bytes that were read have changed, and no multilog is known to have changed them.
    fn suspect(&mut self) -> Step {
        match self.recheck {
            Recheck::None => {
                self.recheck = Recheck::Pending;
                Step::Recheck
            }
            Recheck::Pending => {
                self.recheck = Recheck::None;
                Step::FromStart
            }
        }
    }
}

#[cfg(test)]
mod tests;
