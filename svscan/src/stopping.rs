//! Stopping services: which supervises are still to be told to end, which loggers read what is left, and for what svscan
//! still waits. The table decides which services are stopped, and in which order.

mod unread_lines;

use crate::table::{Id, Part, RETRY_AT_STOP, SuperviseId, Table};
use daemontools::service::{Command, Commands, Process};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use unread_lines::{PATIENCE, UnreadLines};

/// As `svc -dx`: supervise stops the service, then ends.
const END: &[Command] = &[Command::Down, Command::Exit];
/// As `svc -cx`: supervise ends when the logger ends, and the logger ends when it has read all. A paused logger goes on.
const LET_END: &[Command] = &[Command::Continue, Command::Exit];
/// As `svc -dxk`: supervise kills the service, then ends.
const KILL: &[Command] = &[Command::Down, Command::Exit, Command::Kill];

/// How long svscan waits before it tells a supervise again that did not read commands yet, and before it looks at a
/// logger again.
const AGAIN: Duration = Duration::from_millis(20);
/// After this time, a logger that has nothing left to read and does not end by itself is told to end.
const GRACE: Duration = Duration::from_secs(1);
/// While svscan waits for a supervise that cannot be started, it tries more than once.
const _: () = assert!(PATIENCE.as_millis() >= 4 * RETRY_AT_STOP.as_millis());

/// The pipes between services and their loggers.
pub trait Pipes {
    /// Whether the service has its pipe.
    fn has_pipe(&self, id: Id) -> bool;
    /// How many bytes the logger has not read.
    fn unread(&self, id: Id) -> usize;
}

/// A logger that reads what is left.
#[derive(Debug, Clone)]
struct DrainingLogger {
    /// The process of its supervise. If another supervise takes its place, svscan tells that one anew.
    pid: Pid,
    /// Since when svscan waits until the logger has read all.
    since: Instant,
    /// When the supervise was told to end with its logger. svscan does not tell it at once: a supervise that waits to
    /// start its logger again would end, and the lines in the pipe would be lost.
    told: Option<Instant>,
}

/// Commands that a supervise is still to be sent. They are only for this process: a supervise that takes its
/// place may have been started to serve, and is told anew if it has to end.
#[derive(Debug, Clone)]
pub struct PendingCommands {
    /// The supervise.
    pub which: SuperviseId,
    /// Its process.
    pub pid: Pid,
    /// What it is told.
    pub commands: &'static [Command],
    since: Instant,
    /// The commands were sent by signal, but it is not known that this supervise takes commands by signal.
    pub signalled: bool,
}

impl PendingCommands {
    /// Whether svscan has tried to send the commands for a while.
    pub fn is_late(&self, now: Instant) -> bool {
        self.since + GRACE <= now
    }
}

/// What svscan knows of the services that are being stopped, besides the table.
#[derive(Debug, Clone, Default)]
pub struct Stopping {
    /// Supervises that are still to be told.
    owed: Vec<PendingCommands>,
    /// Loggers that read what is left.
    draining: BTreeMap<Id, DrainingLogger>,
    /// What the loggers have not read from their pipes.
    unread_lines: BTreeMap<Id, UnreadLines>,
    /// Services whose logger's supervise was killed: what the logger had read may be in its journal, and is written
    /// when it is started again.
    unfinished: BTreeSet<Id>,
    /// Supervises that seem to run although the system does not name their process. They were told to end.
    unknown: BTreeSet<SuperviseId>,
    /// Parts that may have left something and for which no supervise can be started, with the time since which svscan
    /// waits for them.
    waited_for: BTreeMap<SuperviseId, Instant>,
    /// Processes that svscan itself has told to end, and the parts to which they belong.
    told: Vec<(SuperviseId, Process)>,
    /// svscan kills what it stops.
    hurried: bool,
    /// When svscan has something to do for these services.
    next: Option<Instant>,
}

impl Stopping {
    /// Has this supervise told to stop its service and to end.
    pub fn end_supervise(&mut self, (which, pid): (SuperviseId, Pid), now: Instant) {
        self.tell((which, pid), if self.hurried { KILL } else { END }, now);
    }

    /// Has the logger of this supervise end once it has read all that is in its pipe.
    pub fn drain_logger(&mut self, (id, pid): (Id, Pid), unread: usize, now: Instant) {
        self.may_be_read(id, unread, now);
        self.draining.insert(id, DrainingLogger { pid, since: now, told: None });
        self.next = Some(now);
    }

    /// Whether there are lines that a logger may still read. svscan gives them up after some time, or once it hurries.
    fn may_be_read(&mut self, id: Id, unread: usize, now: Instant) -> bool {
        let lines = self.unread_lines.entry(id).or_insert(UnreadLines::new(unread, now));
        lines.may_be_read(unread, now) && !self.hurried
    }

    /// Tells a process to end that seems to be in charge for this supervise, although the system does not name it: it need
    /// not be a supervise. svscan tells it once, and waits until it looks for it again. Returns whether svscan has told it
    /// before.
    pub fn tell_unknown(&mut self, which: SuperviseId, send: impl FnOnce(Commands)) -> bool {
        let is_new = self.unknown.insert(which);
        if is_new {
            send(END.into());
        }
        !is_new
    }

    /// Whether a process that the system does not name was told to end, as it seemed to be in charge for this supervise.
    pub fn was_unknown_told(&self, which: SuperviseId) -> bool {
        self.unknown.contains(&which)
    }

    /// Has this supervise told to end when its service does.
    pub fn let_end(&mut self, supervise: (SuperviseId, Pid), now: Instant) {
        self.tell(supervise, LET_END, now);
    }

    fn tell(&mut self, (which, pid): (SuperviseId, Pid), commands: &'static [Command], now: Instant) {
        self.owed.push(PendingCommands { which, pid, commands, since: now, signalled: false });
        self.next = Some(now);
    }

    /// Whether what is stopped is killed.
    pub fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// Forgets what is kept for a service that is gone.
    pub fn forget(&mut self, id: Id) {
        self.draining.remove(&id);
        self.unread_lines.remove(&id);
        self.unknown.retain(|which| which.id != id);
        self.unfinished.remove(&id);
        self.waited_for.retain(|which, _| which.id != id);
        self.told.retain(|(which, _)| which.id != id);
    }

    /// Whether svscan still waits for a part that may have left something, though no supervise can be started that would
    /// know. svscan waits for some time from the first call on: a stop must end.
    pub fn waits_for(&mut self, which: SuperviseId, now: Instant) -> bool {
        let since = *self.waited_for.entry(which).or_insert(now);
        now < since + PATIENCE && !self.hurried
    }

    /// Notes that svscan itself tells a process of this part to end. Returns whether it is the first time.
    pub fn mark_told(&mut self, which: SuperviseId, process: Process) -> bool {
        let is_first = !self.told.contains(&(which, process));
        if is_first {
            self.told.push((which, process));
        }
        is_first
    }

    /// Takes in that the supervise of this service's logger was killed.
    pub fn logger_was_killed(&mut self, id: Id) {
        self.unfinished.insert(id);
    }

    /// Takes in that a part has a supervise again.
    pub fn has_started(&mut self, which: SuperviseId) {
        self.waited_for.remove(&which);
        if which.part == Part::Logger {
            self.unfinished.remove(&which.id);
        }
    }

    /// Takes in that the service has an entry again, or that svscan starts it again after it was stopped: what its
    /// logger had to read before does not count any more.
    pub fn has_come_back(&mut self, id: Id) {
        self.unread_lines.remove(&id);
        self.waited_for.retain(|which, _| which.id != id);
        self.told.retain(|(which, _)| which.id != id);
    }

    /// When there is something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// From now on svscan kills what it stops, and waits no longer. It tells these supervises at once, and others when it
    /// stops their services.
    pub fn hurry(&mut self, unstopped: Vec<(SuperviseId, Pid)>, now: Instant) {
        self.hurried = true;
        unstopped.into_iter().for_each(|supervise| self.tell(supervise, KILL, now));
    }

    /// Carries on with what is being stopped; `unread` tells how many bytes a logger has not read, `send` sends a
    /// supervise the commands that it is owed.
    pub fn carry_on(
        &mut self,
        table: &Table,
        unread: impl Fn(Id) -> usize,
        now: Instant,
        mut send: impl FnMut(&mut PendingCommands) -> nix::Result<()>,
    ) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        self.draining.retain(|id, logger| table.pid(SuperviseId { id: *id, part: Part::Logger }) == Some(logger.pid));
        self.see_drained(unread, now);
        // The supervise does not read commands yet, or svscan has no descriptor. If the supervise has ended, svscan
        // notices that.
        self.owed.retain_mut(|owed| table.pid(owed.which) == Some(owed.pid) && send(owed).is_err());
        let busy = !self.owed.is_empty() || !self.draining.is_empty();
        self.next = busy.then_some(now + AGAIN);
    }

    /// Tells the loggers that have read all to end, in two steps.
    fn see_drained(&mut self, unread: impl Fn(Id) -> usize, now: Instant) {
        let ids: Vec<Id> = self.draining.keys().copied().collect();
        for id in ids {
            let (unread, which) = (unread(id), SuperviseId { id, part: Part::Logger });
            let to_be_read = self.may_be_read(id, unread, now);
            let Some(logger) = self.draining.get_mut(&id) else { continue };
            match logger.told {
                None if unread == 0 || logger.since + PATIENCE <= now => {
                    logger.told = Some(now);
                    let pid = logger.pid;
                    self.tell((which, pid), LET_END, now);
                }
                // svscan does not wait for a logger that takes nothing either: it may have been paused, or never read
                // anything.
                Some(told) if !to_be_read && told + GRACE <= now => {
                    let pid = logger.pid;
                    self.draining.remove(&id);
                    self.tell((which, pid), END, now);
                }
                None | Some(_) => {}
            }
        }
    }

    /// Whether this is the supervise of a logger that has lines to read, or may get some because its service runs.
    pub fn has_lines_for(&mut self, which: SuperviseId, table: &Table, pipes: &impl Pipes, now: Instant) -> bool {
        let SuperviseId { id, part } = which;
        if part == Part::Service || !pipes.has_pipe(id) {
            return false;
        }
        if table.is_busy(SuperviseId { id, part: Part::Service }) {
            return !self.hurried;
        }
        let is_unfinished = self.unfinished.contains(&id) && self.waits_for(which, now);
        self.may_be_read(id, pipes.unread(id), now) || is_unfinished
    }
}

/// Whether this is the supervise of a service that has left lines which no logger reads.
pub fn leaves_lines(which: SuperviseId, table: &Table, pipes: &impl Pipes) -> bool {
    let logger = SuperviseId { part: Part::Logger, ..which };
    which.part == Part::Service && table.pid(logger).is_none() && pipes.unread(which.id) > 0
}

#[cfg(test)]
mod tests;
