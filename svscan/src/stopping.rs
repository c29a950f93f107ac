//! Stopping services: telling their supervises, letting loggers read what is left, saying how far it
//! is; and the services at whose end everything stops.

use crate::attach;
use crate::inspect;
use crate::procfs;
use crate::scanner::Scanner;
use crate::table::{Id, Part, SuperviseId};
use daemontools::duration::in_seconds;
use daemontools::service::{Command, Commands};
use daemontools::sys::process::COMMANDS;
use daemontools::{report, service};
use nix::errno::Errno;
use nix::unistd::Pid;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// `svc -dx`: stop the service, then end.
const END: &[Command] = &[Command::Down, Command::Exit];
/// `svc -cx`: end when the logger does, which it will when it has read all; one that somebody has stopped goes on.
const LET_END: &[Command] = &[Command::Continue, Command::Exit];
/// `svc -dxk`: and now.
const KILL: &[Command] = &[Command::Down, Command::Exit, Command::Kill];

/// Until a supervise that did not listen yet is told again, and a logger is looked at again.
const AGAIN: Duration = Duration::from_millis(20);
/// A logger that has nothing left to read and does not end of itself is told to.
const GRACE: Duration = Duration::from_secs(1);
/// A logger that does not come to read what is left is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Names in a message.
const FEW: usize = 5;

/// A logger that reads what is left.
#[derive(Debug)]
struct Draining {
    since: Instant,
    /// When its supervise was told to end with it: one that waits to be started again would end at once, and what is
    /// in the pipe be lost.
    told: Option<Instant>,
}

/// Commands that a supervise is still to be sent.
#[derive(Debug)]
struct Owed {
    which: SuperviseId,
    commands: &'static [Command],
    since: Instant,
    /// They were sent by signal, but it is not known that this supervise takes commands so.
    signalled: bool,
}

/// What is under way.
#[derive(Debug, Default)]
pub struct Stopping {
    /// Supervises that are still to be told.
    owed: Vec<Owed>,
    /// Loggers that read what is left, and since when.
    draining: HashMap<Id, Draining>,
    /// How much is left in the pipes of loggers, and since when it is so much.
    left: HashMap<Id, (usize, Instant)>,
    essential: HashSet<Id>,
    /// Services whose logger's supervise was killed: what the logger had read may be in its journal, and is written when it is
    /// started again.
    unfinished: HashSet<Id>,
    /// Posts of which somebody is in charge whom the system does not name, and who was told to end.
    unknown: HashSet<SuperviseId>,
    /// What is stopped is killed.
    hurried: bool,
    next: Option<Instant>,
    /// With what svscan exits.
    pub exit_code: i32,
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

    /// Whether there are lines that a logger may still come to read: they are given up when it has taken nothing for
    /// some time.
    fn is_to_be_read(&mut self, id: Id, unread: usize, now: Instant) -> bool {
        let (before, since) = *self.left.entry(id).or_insert((unread, now));
        if unread != before {
            self.left.insert(id, (unread, now));
        }
        unread > 0 && (unread != before || now < since + PATIENCE) && !self.hurried
    }

    /// Whether somebody who seems to be in charge of a part, but need not be a supervise, was told to end before. If not,
    /// he is now: nobody is waited for longer than until he is looked for again.
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

    /// Whether what is stopped is killed.
    pub fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// Whether it is to.
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
}

impl Scanner {
    /// Everything is to be stopped.
    pub fn close(&mut self, now: Instant) {
        if !self.table.is_closing() {
            let (order, mut todo) = (self.wanted_order(), Vec::new());
            self.table.reorder(&order, &mut todo);
            self.table.close(now, &mut todo);
            self.perform(todo, now);
        }
    }

    /// What services come after, as their directories say now, or said when they could last be read.
    fn wanted_order(&mut self) -> Vec<(Id, Vec<OsString>)> {
        let mut order = self.table.order();
        for (id, names) in &mut order {
            let Some(folder) = self.folder(SuperviseId { id: *id, part: Part::Service }) else { continue };
            if inspect::still_there(folder.as_os_str(), *id).is_ok()
                && let Ok(now) = inspect::after(&folder)
            {
                *names = now.names;
            }
        }
        order
    }

    /// What is being stopped is killed instead of waited for.
    pub fn hurry(&mut self, now: Instant) {
        self.stopping.hurried = true;
        for which in self.table.unstopped() {
            self.stopping.tell(which, KILL, now);
        }
    }

    /// Carries on with what is being stopped.
    pub fn carry_on(&mut self, now: Instant) {
        if self.stopping.next.is_none_or(|next| next > now) {
            return;
        }
        self.drained(now);
        for mut owed in std::mem::take(&mut self.stopping.owed) {
            // It does not listen yet, or we have no descriptor. One that ended will be noticed.
            if self.table.pid(owed.which).is_some_and(|pid| self.command(pid, &mut owed, now).is_err()) {
                self.stopping.owed.push(owed);
            }
        }
        let busy = !self.stopping.owed.is_empty() || !self.stopping.draining.is_empty();
        self.stopping.next = busy.then_some(now + AGAIN);
    }

    /// Whether this is the part of a logger whose service runs, and may have something to say, or has left lines.
    pub(crate) fn has_lines_for(&mut self, which: SuperviseId, now: Instant) -> bool {
        let SuperviseId { id, part } = which;
        if part == Part::Service || !self.launcher.has_pipe(id) {
            return false;
        }
        if self.table.is_busy(SuperviseId { id, part: Part::Service }) {
            return !self.stopping.hurried;
        }
        let unread = self.launcher.unread(id);
        let is_unfinished = self.stopping.unfinished.contains(&id) && !self.stopping.hurried;
        self.stopping.is_to_be_read(id, unread, now) || is_unfinished
    }

    /// Whether this is the part of a service that has left lines which nobody reads.
    pub(crate) fn leaves_lines(&self, which: SuperviseId) -> bool {
        let log = SuperviseId { part: Part::Logger, ..which };
        which.part == Part::Service && self.table.pid(log).is_none() && self.launcher.unread(which.id) > 0
    }

    /// Tells the loggers that have read all to end, in two steps.
    fn drained(&mut self, now: Instant) {
        let mut over = Vec::new();
        let ids: Vec<Id> = self.stopping.draining.keys().copied().collect();
        for id in ids {
            let unread = self.launcher.unread(id);
            let to_be_read = self.stopping.is_to_be_read(id, unread, now);
            let Some(logger) = self.stopping.draining.get_mut(&id) else { continue };
            match logger.told {
                None if unread == 0 || logger.since + PATIENCE <= now => {
                    logger.told = Some(now);
                    self.stopping.tell(SuperviseId { id, part: Part::Logger }, LET_END, now);
                }
                // One that takes nothing is not waited for either: it may have been stopped, or read nothing at all.
                Some(told) if !to_be_read && told + GRACE <= now => over.push(id),
                None | Some(_) => {}
            }
        }
        for id in over {
            self.stopping.draining.remove(&id);
            self.stopping.tell(SuperviseId { id, part: Part::Logger }, END, now);
        }
    }

    /// Sends a supervise the commands that it is owed: by signal, if it has written its page, and so is known to take
    /// commands by signal; that depends on no file. Otherwise through its FIFO, and if there is no way to that for a while,
    /// by signal too, unless that would kill it.
    fn command(&mut self, pid: Pid, owed: &mut Owed, now: Instant) -> nix::Result<()> {
        let Owed { which, commands, since, signalled } = *owed;
        let commands = &Commands::from(commands);
        if self.launcher.record(which).is_some_and(|record| record.supervise.pid == pid) {
            self.attached.signal(pid, commands)?;
            self.attached.wake(pid);
            return Ok(());
        }
        let sent = match self.command_through_fifo(which, pid, commands) {
            // A directory that hangs is waited for, and a FIFO that is full.
            Err(Errno::ETIMEDOUT) => Err(Errno::ETIMEDOUT),
            Err(_) => attach::command_itself(pid, commands),
            sent => sent,
        };
        if sent.is_err() && !signalled && since + GRACE <= now {
            let is_child = !self.attached.includes(pid);
            if procfs::blocks(pid, COMMANDS).unwrap_or(is_child) {
                owed.signalled = self.attached.signal(pid, commands).is_ok();
            }
        }
        sent
    }

    /// A supervise whose directory cannot be touched will be told when that is over; one that is not in charge yet,
    /// when it is: the one before, told in its place, would leave, and it would start the service.
    fn command_through_fifo(&mut self, which: SuperviseId, pid: Pid, commands: &Commands) -> nix::Result<()> {
        let folder = self.folder(which).ok_or(Errno::ETIMEDOUT)?;
        let name = self.table.name(which.id).ok_or(Errno::ESRCH)?;
        // Renamed or removed, it is where its supervise works.
        let folder = match inspect::still_there(name, which.id) {
            Ok(()) if attach::may_be_in_charge(&folder, self.launcher.record(which).as_ref(), pid) => folder,
            Ok(()) => return Err(Errno::ENXIO),
            Err(_) => procfs::process_path(pid, "cwd"),
        };
        service::send_commands(&service::Place::of(&folder)?, commands)
    }

    /// Looks at services that are waited for or essential: those of which something was reported, and
    /// those of which nothing can be.
    pub fn heed(&mut self, mut ids: HashSet<Id>, now: Instant) {
        if self.ready_watch.is_empty() {
            return;
        }
        let (table, inotify) = (&self.table, self.inotify.as_ref().map(|(inotify, _)| inotify));
        let mounts = &mut self.mounts;
        let folder = |id| table.name(id).map(PathBuf::from).filter(|folder| mounts.probe_service(folder).is_ok());
        ids.extend(self.ready_watch.ask(now, inotify, folder));
        for id in ids {
            let which = SuperviseId { id, part: Part::Service };
            let (Some(pid), Some(folder)) = (self.table.pid(which), self.folder(which)) else { continue };
            let status = inspect::status(&folder);
            let record = self.record(which);
            let ready = inspect::is_ready(status.as_ref(), record.as_ref(), pid);
            // One that makes room for another is waited for until it is down.
            if ready && !self.table.is_stopping(id) {
                self.table.unblock(id, now);
            }
            if self.table.is_unsettled(id) && !inspect::is_starting(status.as_ref(), record.as_ref(), pid) {
                self.table.settled(id);
            }
            let awaited = self.table.is_awaited(id) || self.table.is_unsettled(id);
            if !awaited && !self.stopping.is_essential(id) {
                self.ready_watch.end(id, self.inotify.as_ref().map(|(inotify, _)| inotify));
            }
            if self.stopping.is_essential(id)
                && !self.table.is_closing()
                && let Some(code) = inspect::final_exit(record.as_ref(), pid)
            {
                self.stopping.exit_code = code;
                report::notice(&[folder.as_os_str().as_bytes(), b" has ended, and is essential"]);
                self.close(now);
            }
        }
    }

    /// An upgrade has to wait for what is being stopped.
    pub fn say_postponed(&self) {
        if !self.table.may_be_handed_on() {
            report::notice(&[b"to be executed anew when what is being stopped is down"]);
        }
    }

    pub(crate) fn say_stopping(&mut self, id: Id) {
        let Some(folder) = self.folder(SuperviseId { id, part: Part::Service }) else { return };
        let reached = self.mounts.probe(&folder.join(inspect::TIMEOUT_KILL)).is_ok();
        let time = reached.then(|| inspect::time_to_stop(&folder)).flatten().map(killed_in).unwrap_or_default();
        report::notice(&[b"stopping ", folder.as_os_str().as_bytes(), time.as_bytes()]);
    }

    pub(crate) fn say_down(&mut self, id: Id, name: &OsStr) {
        self.stopping.draining.remove(&id);
        self.stopping.left.remove(&id);
        // A new service under this identity starts with a new pipe: of this one an end is closed.
        if !self.forward.includes(id) {
            self.launcher.close_pipe(id);
        }
        let (count, waited_for) = self.table.waited_for(FEW);
        let mut line = [name.as_bytes(), b" is down"].concat();
        for (index, id) in waited_for.into_iter().enumerate() {
            line.extend_from_slice(if index == 0 { b", waiting for " } else { b", " });
            line.extend_from_slice(self.table.name(id).unwrap_or_default().as_bytes());
            // Of a long list nobody asks how long each of them has.
            let record = if count > FEW { None } else { self.record(SuperviseId { id, part: Part::Service }) };
            let left = inspect::time_left(record);
            line.extend_from_slice(left.map(killed_in).unwrap_or_default().as_bytes());
        }
        if count > FEW {
            line.extend_from_slice(format!(" and {} more", count - FEW).as_bytes());
        }
        report::notice(&[&line]);
    }
}

fn killed_in(time: Duration) -> String {
    format!(" (killed in {})", in_seconds(time))
}
