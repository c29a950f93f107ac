//! Stopping services: which supervises are still to be told, which loggers read what is left; and the services at whose end
//! everything stops.

use crate::launch::Launcher;
use crate::table::{Id, Part, SuperviseId, Table};
use daemontools::service::{self, Command};
use nix::unistd::Pid;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// As `svc -dx`: supervise stops the service, then ends.
const END: &[Command] = &[Command::Down, Command::Exit];
/// As `svc -cx`: supervise ends when the logger does, which is when that has read all. A logger that was paused goes on.
const LET_END: &[Command] = &[Command::Continue, Command::Exit];
/// As `svc -dxk`: supervise kills the service, then ends.
const KILL: &[Command] = &[Command::Down, Command::Exit, Command::Kill];

/// How long svscan waits before it tells a supervise again that did not listen yet, and looks at a logger again.
const AGAIN: Duration = Duration::from_millis(20);
/// After this time, a logger that has nothing left to read and does not end by itself is told to end.
const GRACE: Duration = Duration::from_secs(1);
/// After this time, svscan does not wait any longer for a logger that does not read what is left.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is left in the pipe of a logger.
#[derive(Debug)]
struct Left {
    /// The bytes at the last look.
    unread: usize,
    /// When there were fewer than at the look before.
    since: Instant,
    /// When there were more than at the look before, for the first time.
    added: Option<Instant>,
}

/// A logger that reads what is left.
#[derive(Debug)]
struct Draining {
    since: Instant,
    /// When its supervise was told to end with it. That is not done at once: a supervise that waits to start its logger again
    /// would end, and what is in the pipe be lost.
    told: Option<Instant>,
}

/// Commands that a supervise is still to be sent.
#[derive(Debug)]
pub struct Owed {
    pub which: SuperviseId,
    pub commands: &'static [Command],
    since: Instant,
    /// The commands were sent by signal, but it is not known that this supervise takes commands by signal.
    pub signalled: bool,
}

impl Owed {
    /// Whether svscan has tried to send the commands for a while.
    pub fn is_late(&self, now: Instant) -> bool {
        self.since + GRACE <= now
    }
}

/// What svscan knows of the services that are being stopped, besides the table.
#[derive(Debug, Default)]
pub struct Stopping {
    /// Supervises that are still to be told.
    owed: Vec<Owed>,
    /// Loggers that read what is left.
    draining: HashMap<Id, Draining>,
    /// What is left in the pipes of loggers.
    left: HashMap<Id, Left>,
    essential: HashSet<Id>,
    /// Services whose logger's supervise was killed: what the logger had read may be in its journal, and is written when it is
    /// started again.
    unfinished: HashSet<Id>,
    /// Supervises that seem to run although the system does not name their process. They were told to end.
    unknown: HashSet<SuperviseId>,
    /// What is stopped is killed.
    hurried: bool,
    next: Option<Instant>,
    exit_code: i32,
}

impl Stopping {
    /// A supervise is to stop its service and end.
    pub fn end(&mut self, which: SuperviseId, now: Instant) {
        self.tell(which, if self.hurried { KILL } else { END }, now);
    }

    /// A logger is to end once it has read all there is.
    pub fn drain(&mut self, id: Id, unread: usize, now: Instant) {
        self.is_to_be_read(id, unread, now);
        self.draining.insert(id, Draining { since: now, told: None });
        self.next = Some(now);
    }

    /// Whether there are lines that a logger may still come to read. They are given up when it has taken nothing for some
    /// time, and some time after more of them have come: a process that has outlived its service may write without end.
    fn is_to_be_read(&mut self, id: Id, unread: usize, now: Instant) -> bool {
        let left = self.left.entry(id).or_insert(Left { unread, since: now, added: None });
        if unread < left.unread {
            left.since = now;
        } else if unread > left.unread {
            left.added.get_or_insert(now);
        }
        left.unread = unread;
        let until = left.added.map_or(left.since, |added| added.min(left.since)) + PATIENCE;
        unread > 0 && now < until && !self.hurried
    }

    /// A process seems to be in charge for this supervise, but the system does not name it, and it need not be a supervise.
    /// Returns whether it was told to end before. If not, it is told now, and svscan waits for it until it looks for it again.
    pub fn has_told_unknown(&mut self, which: SuperviseId, folder: &Path) -> bool {
        let is_new = self.unknown.insert(which);
        if is_new && let Ok(place) = service::Place::of(folder) {
            let _ = service::send_commands(&place, &END.into());
        }
        !is_new
    }

    /// A supervise is to end when its service does.
    pub fn let_end(&mut self, which: SuperviseId, now: Instant) {
        self.tell(which, LET_END, now);
    }

    fn tell(&mut self, which: SuperviseId, commands: &'static [Command], now: Instant) {
        self.owed.push(Owed { which, commands, since: now, signalled: false });
        self.next = Some(now);
    }

    /// Everything is to stop when this service ends for good.
    pub fn essential(&mut self, id: Id) {
        self.essential.insert(id);
    }

    /// Everything is being stopped because an essential service has ended with this code.
    pub fn set_exit_code(&mut self, code: i32) {
        self.exit_code = code;
    }

    /// The code that svscan exits with.
    pub fn exit_code(&self) -> i32 {
        self.exit_code
    }

    /// Whether what is stopped is killed.
    pub fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// Whether everything is to stop when this service ends for good.
    pub fn is_essential(&self, id: Id) -> bool {
        self.essential.contains(&id)
    }

    /// The service is gone.
    pub fn forget(&mut self, id: Id) {
        self.draining.remove(&id);
        self.left.remove(&id);
        self.unknown.retain(|which| which.id != id);
        self.essential.remove(&id);
        self.unfinished.remove(&id);
    }

    /// The supervise of this service's logger was killed.
    pub fn logger_was_killed(&mut self, id: Id) {
        self.unfinished.insert(id);
    }

    /// The service's logger has a supervise again.
    pub fn logger_has_started(&mut self, id: Id) {
        self.unfinished.remove(&id);
    }

    /// The service has an entry again: what its logger had to read before says nothing of what it will have.
    pub fn has_come_back(&mut self, id: Id) {
        self.left.remove(&id);
    }

    /// When there is something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// What is being stopped is killed from now on instead of waited for: these supervises, and those that come.
    pub fn hurry(&mut self, unstopped: Vec<SuperviseId>, now: Instant) {
        self.hurried = true;
        unstopped.into_iter().for_each(|which| self.tell(which, KILL, now));
    }

    /// Carries on with what is being stopped; `send` sends a supervise the commands that it is owed.
    pub fn carry_on(
        &mut self,
        table: &Table,
        launcher: &Launcher,
        now: Instant,
        mut send: impl FnMut(Pid, &mut Owed) -> nix::Result<()>,
    ) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        self.see_drained(launcher, now);
        // It does not listen yet, or svscan has no descriptor. One that ended will be noticed.
        self.owed.retain_mut(|owed| table.pid(owed.which).is_some_and(|pid| send(pid, owed).is_err()));
        let busy = !self.owed.is_empty() || !self.draining.is_empty();
        self.next = busy.then_some(now + AGAIN);
    }

    /// Tells the loggers that have read all to end, in two steps.
    fn see_drained(&mut self, launcher: &Launcher, now: Instant) {
        let ids: Vec<Id> = self.draining.keys().copied().collect();
        for id in ids {
            let (unread, which) = (launcher.unread(id), SuperviseId { id, part: Part::Logger });
            let to_be_read = self.is_to_be_read(id, unread, now);
            let Some(logger) = self.draining.get_mut(&id) else { continue };
            match logger.told {
                None if unread == 0 || logger.since + PATIENCE <= now => {
                    logger.told = Some(now);
                    self.tell(which, LET_END, now);
                }
                // One that takes nothing is not waited for either: it may have been stopped, or read nothing at all.
                Some(told) if !to_be_read && told + GRACE <= now => {
                    self.draining.remove(&id);
                    self.tell(which, END, now);
                }
                None | Some(_) => {}
            }
        }
    }

    /// Whether this is the supervise of a logger whose service runs, and may have something to say, or has left lines.
    pub fn has_lines_for(&mut self, which: SuperviseId, table: &Table, launcher: &Launcher, now: Instant) -> bool {
        let SuperviseId { id, part } = which;
        if part == Part::Service || !launcher.has_pipe(id) {
            return false;
        }
        if table.is_busy(SuperviseId { id, part: Part::Service }) {
            return !self.hurried;
        }
        let is_unfinished = self.unfinished.contains(&id) && !self.hurried;
        self.is_to_be_read(id, launcher.unread(id), now) || is_unfinished
    }

    /// The service is down, with its logger.
    pub fn is_down(&mut self, id: Id) {
        self.draining.remove(&id);
        self.left.remove(&id);
    }
}

/// Whether this is the supervise of a service that has left lines which no logger reads.
pub fn leaves_lines(which: SuperviseId, table: &Table, launcher: &Launcher) -> bool {
    let logger = SuperviseId { part: Part::Logger, ..which };
    which.part == Part::Service && table.pid(logger).is_none() && launcher.unread(which.id) > 0
}
