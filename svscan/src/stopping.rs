//! Stopping services: which supervises are still to be told, which loggers read what is left; and the services at whose end
//! everything stops.

use crate::launch::Launcher;
use crate::table::{Id, Part, RETRY_AT_STOP, SuperviseId, Table};
use daemontools::service::{self, Command, Process};
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
/// After this time, svscan does not wait any longer for a logger that does not read what is left, nor for a supervise that
/// cannot be started although nothing is known to be left.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is waited for is tried more than once.
const _: () = assert!(PATIENCE.as_millis() >= 4 * RETRY_AT_STOP.as_millis());

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
    /// Its supervise. The next one, if it is to be told the same, is told anew.
    pid: Pid,
    since: Instant,
    /// When its supervise was told to end with it. That is not done at once: a supervise that waits to start its logger again
    /// would end, and what is in the pipe be lost.
    told: Option<Instant>,
}

/// Commands that a supervise is still to be sent. They are for this process: what takes its place may have come since to
/// serve, and is told anew where it is to end.
#[derive(Debug)]
pub struct Owed {
    pub which: SuperviseId,
    pub pid: Pid,
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
    /// Parts for which no supervise can be started, and which may have left something, but need not; and since when svscan
    /// waits for them.
    waited_for: HashMap<SuperviseId, Instant>,
    /// Processes that svscan has told to end itself, and the parts that they are of.
    told: Vec<(SuperviseId, Process)>,
    /// What is stopped is killed.
    hurried: bool,
    next: Option<Instant>,
    exit_code: i32,
}

impl Stopping {
    /// This supervise is to stop its service and end.
    pub fn end(&mut self, (which, pid): (SuperviseId, Pid), now: Instant) {
        self.tell((which, pid), if self.hurried { KILL } else { END }, now);
    }

    /// The logger of this supervise is to end once it has read all there is.
    pub fn drain(&mut self, (id, pid): (Id, Pid), unread: usize, now: Instant) {
        self.is_to_be_read(id, unread, now);
        self.draining.insert(id, Draining { pid, since: now, told: None });
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

    /// Whether a process that the system does not name was told to end, as it seemed to be in charge for this supervise.
    pub fn was_unknown_told(&self, which: SuperviseId) -> bool {
        self.unknown.contains(&which)
    }

    /// This supervise is to end when its service does.
    pub fn let_end(&mut self, supervise: (SuperviseId, Pid), now: Instant) {
        self.tell(supervise, LET_END, now);
    }

    fn tell(&mut self, (which, pid): (SuperviseId, Pid), commands: &'static [Command], now: Instant) {
        self.owed.push(Owed { which, pid, commands, since: now, signalled: false });
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
        self.waited_for.retain(|which, _| which.id != id);
        self.told.retain(|(which, _)| which.id != id);
    }

    /// Whether svscan still waits for a part that may have left something, though no supervise can be started that would know:
    /// for some time only, since a stop must end.
    pub fn waits_for(&mut self, which: SuperviseId, now: Instant) -> bool {
        let since = *self.waited_for.entry(which).or_insert(now);
        now < since + PATIENCE && !self.hurried
    }

    /// svscan tells a process of this part to end. Returns whether it does so for the first time.
    pub fn is_first_told(&mut self, which: SuperviseId, process: Process) -> bool {
        let is_first = !self.told.contains(&(which, process));
        if is_first {
            self.told.push((which, process));
        }
        is_first
    }

    /// The supervise of this service's logger was killed.
    pub fn logger_was_killed(&mut self, id: Id) {
        self.unfinished.insert(id);
    }

    /// A part has a supervise again.
    pub fn has_started(&mut self, which: SuperviseId) {
        self.waited_for.remove(&which);
        if which.part == Part::Logger {
            self.unfinished.remove(&which.id);
        }
    }

    /// The service has an entry again, or has been stopped and goes on: what its logger had to read before says nothing of
    /// what it will have.
    pub fn has_come_back(&mut self, id: Id) {
        self.left.remove(&id);
        self.waited_for.retain(|which, _| which.id != id);
        self.told.retain(|(which, _)| which.id != id);
    }

    /// When there is something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// What is being stopped is killed from now on instead of waited for: these supervises, and those that come.
    pub fn hurry(&mut self, unstopped: Vec<(SuperviseId, Pid)>, now: Instant) {
        self.hurried = true;
        unstopped.into_iter().for_each(|supervise| self.tell(supervise, KILL, now));
    }

    /// Carries on with what is being stopped; `unread` tells how many bytes a logger has not read, `send` sends a supervise the
    /// commands that it is owed.
    pub fn carry_on(
        &mut self,
        table: &Table,
        unread: impl Fn(Id) -> usize,
        now: Instant,
        mut send: impl FnMut(&mut Owed) -> nix::Result<()>,
    ) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        self.draining.retain(|id, logger| table.pid(SuperviseId { id: *id, part: Part::Logger }) == Some(logger.pid));
        self.see_drained(unread, now);
        // It does not listen yet, or svscan has no descriptor. One that ended will be noticed.
        self.owed.retain_mut(|owed| table.pid(owed.which) == Some(owed.pid) && send(owed).is_err());
        let busy = !self.owed.is_empty() || !self.draining.is_empty();
        self.next = busy.then_some(now + AGAIN);
    }

    /// Tells the loggers that have read all to end, in two steps.
    fn see_drained(&mut self, unread: impl Fn(Id) -> usize, now: Instant) {
        let ids: Vec<Id> = self.draining.keys().copied().collect();
        for id in ids {
            let (unread, which) = (unread(id), SuperviseId { id, part: Part::Logger });
            let to_be_read = self.is_to_be_read(id, unread, now);
            let Some(logger) = self.draining.get_mut(&id) else { continue };
            match logger.told {
                None if unread == 0 || logger.since + PATIENCE <= now => {
                    logger.told = Some(now);
                    let pid = logger.pid;
                    self.tell((which, pid), LET_END, now);
                }
                // One that takes nothing is not waited for either: it may have been stopped, or read nothing at all.
                Some(told) if !to_be_read && told + GRACE <= now => {
                    let pid = logger.pid;
                    self.draining.remove(&id);
                    self.tell((which, pid), END, now);
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
        let is_unfinished = self.unfinished.contains(&id) && self.waits_for(which, now);
        self.is_to_be_read(id, launcher.unread(id), now) || is_unfinished
    }
}

/// Whether this is the supervise of a service that has left lines which no logger reads.
pub fn leaves_lines(which: SuperviseId, table: &Table, launcher: &Launcher) -> bool {
    let logger = SuperviseId { part: Part::Logger, ..which };
    which.part == Part::Service && table.pid(logger).is_none() && launcher.unread(which.id) > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Action, Contents, Leftover};
    use std::ffi::OsStr;

    const ID: Id = Id { device: 1, inode: 1 };

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number)
    }

    /// A table in which a service has an entry, and what is to be done is carried out as far as it concerns stopping.
    struct Story {
        table: Table,
        stopping: Stopping,
        now: Instant,
        next_pid: i32,
    }

    impl Story {
        /// A service with a logger: supervises 1 and 2.
        fn new() -> Story {
            let (table, stopping) = (Table::default(), Stopping::default());
            let mut story = Story { table, stopping, now: Instant::now(), next_pid: 0 };
            story.entry(true);
            let contents = Contents { logger: true, ..Contents::default() };
            story.act(|table, now, todo| table.inspected(ID, &contents, now, todo));
            story.start();
            story
        }

        fn act(&mut self, event: impl FnOnce(&mut Table, Instant, &mut Vec<Action>)) {
            let mut todo = Vec::new();
            event(&mut self.table, self.now, &mut todo);
            for action in todo {
                let pid = |which| self.table.pid(which).expect("it runs");
                match action {
                    Action::End(which) => self.stopping.end((which, pid(which)), self.now),
                    Action::Drain(id) => {
                        self.stopping.drain((id, pid(SuperviseId { id, part: Part::Logger })), 0, self.now);
                    }
                    Action::LetGo(id) | Action::GoOn(id) => self.stopping.has_come_back(id),
                    Action::Forget(id) => self.stopping.forget(id),
                    _ => {}
                }
            }
        }

        fn entry(&mut self, is_there: bool) {
            let name = OsStr::new("a");
            if is_there {
                self.table.seen(name, ID)
            } else {
                self.table.gone(name)
            }
            self.act(|table, now, todo| table.settle(None, now, todo));
        }

        fn start(&mut self) {
            for which in self.table.starts(self.now, 9) {
                self.next_pid += 1;
                let new = pid(self.next_pid);
                self.act(|table, now, todo| table.started(which, new, now, todo));
            }
        }

        fn die(&mut self, number: i32, left: Leftover) {
            self.act(|table, now, todo| {
                let _ = table.died(pid(number), left, now, todo);
            });
        }

        /// What is sent in the next seconds, where nothing is unread.
        fn sent(&mut self) -> Vec<(i32, &'static [Command])> {
            let mut sent = Vec::new();
            for _ in 0..500 {
                self.now += AGAIN;
                self.stopping.carry_on(
                    &self.table,
                    |_| 0,
                    self.now,
                    |owed| {
                        sent.push((owed.pid.as_raw(), owed.commands));
                        Ok(())
                    },
                );
            }
            sent
        }
    }

    /// Its logger, whose supervise had to be started again, reads what is left.
    fn draining() -> Story {
        let mut story = Story::new();
        story.entry(false);
        story.die(2, Leftover::Lines);
        story.start();
        story.die(1, Leftover::Nothing);
        story
    }

    #[test]
    fn a_logger_that_has_read_all_is_told_to_end_in_two_steps() {
        assert_eq!(draining().sent(), [(3, LET_END), (3, END)]);
    }

    #[test]
    fn a_supervise_that_serves_anew_is_told_nothing_that_was_meant_for_the_one_before() {
        let mut story = draining();
        story.entry(true);
        story.die(3, Leftover::Nothing);
        story.start();
        let both = [Part::Service, Part::Logger].map(|part| story.table.pid(SuperviseId { id: ID, part }));
        assert_eq!(both, [Some(pid(4)), Some(pid(5))]);
        assert_eq!(story.sent(), []);
        // Nor is what it has to read given up because the one before had time enough.
        let left = SuperviseId { id: ID, part: Part::Logger };
        assert!(story.stopping.is_to_be_read(left.id, 100, story.now));
    }

    #[test]
    fn what_may_have_been_left_is_waited_for_while_nothing_can_be_started_but_not_for_ever() {
        let (mut stopping, now) = (Stopping::default(), Instant::now());
        let which = SuperviseId { id: ID, part: Part::Service };
        let later = |attempts: u32| now + RETRY_AT_STOP * attempts;
        assert!((0..4).all(|attempts| stopping.waits_for(which, later(attempts))), "several attempts");
        assert!(!stopping.waits_for(which, now + PATIENCE));
        stopping.has_started(which);
        assert!(stopping.waits_for(which, later(60)), "it may leave something again");
        stopping.hurry(Vec::new(), later(60));
        assert!(!stopping.waits_for(which, later(60)));
    }

    #[test]
    fn a_supervise_that_takes_the_place_of_a_killed_one_is_told_once() {
        let mut story = Story::new();
        story.act(|table, now, todo| table.close(now, todo));
        // It did not listen yet.
        story.die(1, Leftover::Process);
        story.start();
        assert_eq!(story.sent(), [(3, END)]);
    }
}
