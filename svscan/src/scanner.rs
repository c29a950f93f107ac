//! Looks at the scan directory, carries out what the table decides, and tells it what happens.

use crate::changes::Changes;
use crate::diagnostics::{Diagnostics, Subject};
use crate::forward::Forward;
use crate::handover::Handover;
use crate::launch::Launcher;
use crate::probe::{Entry, Found, Logger, Probe};
use crate::scan::{Known, Scan};
use crate::stopping::Stopping;
use crate::supervises::{Ended, Lent, Supervises};
use crate::table::{Action, Contents, Id, Part, Remark, SuperviseId, Table};
use crate::{remarks, settings};
use daemontools::Unable;
use daemontools::service::{Directory, OrphanEnd, Process};
use daemontools::sys::spawn::Refused;
use daemontools::sys::{is_passing, process};
use nix::errno::Errno;
use nix::unistd::Pid;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

/// How many supervises are started in a row before svscan looks at what else has happened.
const BATCH: usize = 32;

/// A scan directory, which is the current one, and its supervises.
pub struct Scanner {
    table: Table,
    probe: Probe,
    scan: Scan,
    changes: Changes,
    supervises: Supervises,
    stopping: Stopping,
    forward: Forward,
    /// Whether lines were to be forwarded when that was last to be told.
    forwards: bool,
    diagnostics: Diagnostics,
}

impl Scanner {
    /// Nothing is known yet; the first scan is due.
    ///
    /// # Errors
    /// No descriptor to be had.
    pub fn new(launcher: Launcher, survivors: Vec<(Directory, Process)>, now: Instant) -> nix::Result<Scanner> {
        let mut diagnostics = Diagnostics::default();
        let changes = Changes::new(&mut diagnostics);
        Ok(Scanner {
            table: Table::default(),
            probe: Probe::default(),
            scan: Scan::new(now),
            changes,
            supervises: Supervises::new(launcher, survivors)?,
            stopping: Stopping::default(),
            forward: Forward::default(),
            forwards: false,
            diagnostics,
        })
    }

    /// What is readable when there is something to do.
    pub fn sources(&self) -> Vec<BorrowedFd<'_>> {
        self.changes.source().into_iter().chain([self.supervises.as_fd()]).chain(self.probe.changes()).collect()
    }

    /// Until when nothing is to be done unless something happens.
    pub fn deadline(&self) -> Instant {
        let deadlines =
            [self.table.deadline(), self.changes.deadline(), self.stopping.deadline(), self.forward.deadline()];
        deadlines.into_iter().flatten().fold(self.scan.deadline(), Instant::min)
    }

    /// Does all that is to be done now. `children_ended`: some children may have ended. Returns whether some still may have,
    /// which svscan has not waited for.
    pub fn turn(&mut self, children_ended: bool) -> bool {
        // The directory first: a supervise that ended because its entry is gone is not restarted.
        self.look(Instant::now());
        let more_have_ended = children_ended && !self.reap(Instant::now());
        for (pid, status) in self.supervises.ended() {
            self.supervise_ended(pid, status, Instant::now());
        }
        for which in self.table.starts(Instant::now(), BATCH) {
            self.start(which);
        }
        self.carry_on(Instant::now());
        self.forward.tend(&self.table, &self.supervises.launcher, Instant::now());
        more_have_ended
    }

    /// The code that svscan exits with, once everything was to be stopped, and is.
    pub fn exit_code(&mut self) -> Option<i32> {
        let is_over = self.table.is_closed()
            && self.forward.has_forwarded(&self.table, &self.supervises.launcher, Instant::now());
        is_over.then(|| self.stopping.exit_code())
    }

    /// Looks at what has changed in the directory, and at all of it when that is due.
    fn look(&mut self, now: Instant) {
        let Scanner { scan, changes, table, probe, diagnostics, .. } = self;
        let seen = scan.look(changes, &mut Known { table, probe, diagnostics }, now);
        if seen.all {
            self.supervises.see_reached(&self.table, &mut self.probe);
            self.probe.hold_others(&self.table);
        }
        let mut todo = Vec::new();
        let on_remove = settings::on_remove(&mut self.probe, &mut self.diagnostics);
        self.table.settle(on_remove, now, &mut todo);
        // Looked into twice, as two of its entries have changed, a service would begin anew while it runs.
        let mut new = HashSet::new();
        todo.retain(|action| !matches!(action, Action::Inspect(id) if !new.insert(*id)));
        self.perform(todo, now);
        self.changes.looked();
        while let Some(id) = self.changes.overdue(now) {
            self.admit(id, now);
        }
        self.look_at_watched(seen.states, now);
    }

    /// Does what the table has decided.
    fn perform(&mut self, todo: Vec<Action>, now: Instant) {
        for action in todo {
            match action {
                Action::Inspect(id) => self.inspect(id, now),
                Action::End(which) => {
                    self.table.pid(which).into_iter().for_each(|pid| self.stopping.end((which, pid), now));
                }
                Action::Drain(id) => self.drain(id, now),
                Action::EndInput(id) => self.supervises.launcher.end_input(id),
                Action::Hold(id) => self.probe.hold(&self.table, id),
                Action::LetGo(id) => {
                    self.probe.let_go(id);
                    self.stopping.has_come_back(id);
                }
                Action::GoOn(id) => self.stopping.has_come_back(id),
                Action::Forget(id) => self.forget(id),
                Action::WatchReady(id) => self.changes.watch_ready(id, now),
                Action::Say(id, remark) => self.say(id, remark),
            }
        }
    }

    /// A logger reads what is left, and then ends.
    fn drain(&mut self, id: Id, now: Instant) {
        let launcher = &mut self.supervises.launcher;
        launcher.close_writer(id);
        if let Some(pid) = self.table.pid(SuperviseId { id, part: Part::Logger }) {
            self.stopping.drain((id, pid), launcher.unread(id), now);
        }
    }

    /// A service is new: it is supervised from now on, unless it is still being made.
    fn inspect(&mut self, id: Id, now: Instant) {
        let Some(name) = self.table.name(id) else { return };
        if !self.changes.is_being_made(id, name, &mut self.probe, now) {
            self.admit(id, now);
        }
    }

    /// Looks for what there is to supervise, and tells the table.
    fn admit(&mut self, id: Id, now: Instant) {
        let Some(name) = self.table.name(id).map(OsStr::to_os_string) else { return };
        let which = SuperviseId { id, part: Part::Service };
        let found = self.probe.service(&name, self.supervises.launcher.record(which));
        let Some(Found { logger, essential, after, running }) = remarks::found(id, &name, found, &mut self.diagnostics)
        else {
            return self.table.not_inspected(id);
        };
        let Ok(forwards) = self.forwards(logger) else { return self.table.not_inspected(id) };
        if logger != Logger::Directory {
            self.scan.late_loggers.add(id);
        }
        if forwards {
            self.forward.want(id);
        }
        if essential {
            self.stopping.essential(id);
        }
        let contents = Contents {
            logger: logger == Logger::Directory,
            after: remarks::names_after(id, &name, after, &mut self.diagnostics),
            running: running || self.supervises.expects(which),
        };
        let mut todo = Vec::new();
        self.table.inspected(id, &contents, now, &mut todo);
        self.perform(todo, now);
    }

    /// Whether the lines of a service that has this logger are to be forwarded. Where nobody answers for the setting, what it
    /// was last counts, so that no service has to wait for an answer.
    ///
    /// # Errors
    /// EMFILE, EIO …: that cannot be told now.
    fn forwards(&mut self, logger: Logger) -> nix::Result<bool> {
        if logger != Logger::None {
            return Ok(false);
        }
        match settings::forwards(&mut self.probe, &mut self.diagnostics) {
            Ok(set) => self.forwards = set,
            Err(errno) if is_passing(errno) => return Err(errno),
            Err(_) => {}
        }
        Ok(self.forwards)
    }

    fn forget(&mut self, id: Id) {
        self.changes.forget(id);
        self.probe.let_go(id);
        self.supervises.forget(id);
        self.diagnostics.forget(id);
        self.stopping.forget(id);
        self.forward.forget(id);
    }

    /// Looks at services that are waited for or essential: those of which something was reported, and those of which nothing
    /// can be.
    fn look_at_watched(&mut self, reported: HashSet<Id>, now: Instant) {
        for id in self.changes.states(reported, &self.table, &mut self.probe, now) {
            let which = SuperviseId { id, part: Part::Service };
            let Some(pid) = self.table.pid(which) else { continue };
            let page = || self.supervises.launcher.record(which);
            let Some(written) = self.probe.written(&self.table, id, page) else { continue };
            let is_awaited = self.table.told_readiness(id, written.readiness(pid), now);
            let is_essential = self.stopping.is_essential(id);
            if !is_awaited && !is_essential {
                self.changes.end_ready_watch(id);
            }
            if is_essential
                && !self.table.is_closing()
                && let Some(code) = written.final_exit(pid)
            {
                self.stopping.set_exit_code(code);
                remarks::essential_ended(&written.folder);
                self.close(now);
            }
        }
    }

    /// Waits for every child that has ended; whether that is all, as far as the system tells.
    fn reap(&mut self, now: Instant) -> bool {
        loop {
            let (pid, status) = match process::ended_child_status(None) {
                Ok(Some(ended)) => ended,
                Ok(None) | Err(Errno::ECHILD) => return true,
                Err(_) => return false,
            };
            self.supervises.release(pid);
            self.forward.ended(pid, status, now);
            self.see_expected(pid, now);
            if !self.supervise_ended(pid, status, now) {
                let end = OrphanEnd { process: Process::of(pid), status };
                self.supervises.inherited(end, &self.table, &mut self.probe);
            }
            if process::wait_for(pid).is_err() {
                return false;
            }
        }
    }

    /// A supervise may end just when svscan executes its file anew. It is entered as started first, so that its exit is handled
    /// like any other.
    fn see_expected(&mut self, pid: Pid, now: Instant) {
        if let Some(which) = self.supervises.expected_to_run(pid)
            && self.table.is_due(which)
        {
            let mut todo = Vec::new();
            self.table.started(which, pid, now, &mut todo);
            self.perform(todo, now);
        }
    }

    /// Whether it was a supervise that has ended.
    fn supervise_ended(&mut self, pid: Pid, status: i32, now: Instant) -> bool {
        let Some(which) = self.table.supervise_of(pid) else { return false };
        let (supervises, mut lent) = self.lend();
        let left = supervises.left_by(Ended { which, pid, status }, now, &mut lent);
        let mut todo = Vec::new();
        self.table.died(pid, left, now, &mut todo);
        self.perform(todo, now);
        true
    }

    fn lend(&mut self) -> (&mut Supervises, Lent<'_>) {
        let Scanner { table, probe, supervises, stopping, forward, .. } = self;
        (supervises, Lent { table, probe, stopping, forward })
    }

    fn start(&mut self, which: SuperviseId) {
        let Some(name) = self.table.name(which.id).map(OsStr::to_os_string) else { return };
        let now = Instant::now();
        let (supervises, mut lent) = self.lend();
        let mut todo = Vec::new();
        match supervises.run(which, &name, &mut lent) {
            Ok(Some(pid)) => {
                self.diagnostics.clear(&Subject::Start(which));
                self.table.started(which, pid, now, &mut todo);
                self.stopping.has_started(which);
                if which.part == Part::Service && self.stopping.is_essential(which.id) {
                    self.changes.watch_ready(which.id, now);
                }
            }
            Ok(None) => self.table.not_needed(which, now, &mut todo),
            Err(unable) if self.table.is_stopping(which.id) => self.not_started_to_stop(which, &unable, now, &mut todo),
            Err(unable) => self.not_started(which, &name, &unable, now, &mut todo),
        }
        self.perform(todo, now);
    }

    /// Whether there is a script of this name, where it can be touched.
    pub fn has_script(&mut self, script: &Path) -> bool {
        self.probe.is_program(script)
    }

    fn not_started(&mut self, which: SuperviseId, name: &OsStr, unable: &Unable, now: Instant, todo: &mut Vec<Action>) {
        if which.part == Part::Logger && !self.table.is_present(which.id) {
            self.diagnostics.warn_unable_once(Subject::Start(which), unable);
            // Only where its directory is not to be found is there nothing to try again.
            return match unable.errno {
                Errno::ENOENT => self.table.not_needed(which, now, todo),
                _ => self.table.not_started(which, now),
            };
        }
        // Removed or replaced meanwhile, which is told anew.
        if unable.errno == Errno::ENOENT && self.probe.leads_to(name, which.id).is_err() {
            let is_replaced = matches!(self.probe.entry(name), Entry::Directory(_) | Entry::File);
            if is_replaced && self.table.has_ended(which) {
                let words = b" is not the directory any more whose supervise has ended: what that left runs on";
                self.diagnostics.warn_once(Subject::Entry(name.into()), [name.as_bytes(), words].concat());
            }
            let Scanner { table, probe, diagnostics, .. } = self;
            Known { table, probe, diagnostics }.look_at(name);
            self.scan.request(now);
            return self.table.not_started(which, now);
        }
        // What keeps a service from starting may keep its logger from it too.
        let service = Subject::Start(SuperviseId { part: Part::Service, ..which });
        if which.part == Part::Service || !self.diagnostics.is_current(&service, unable) {
            self.diagnostics.warn_unable_once(Subject::Start(which), unable);
        }
        self.table.not_started(which, now);
    }

    /// No supervise could be started for a part that is being stopped. svscan tries again for as long as something is left.
    fn not_started_to_stop(&mut self, which: SuperviseId, unable: &Unable, now: Instant, todo: &mut Vec<Action>) {
        let place = self.probe.place(&self.table, which).unwrap_or_default();
        // No logger will ever read the lines whose directory is not to be found.
        let is_lost = which.part == Part::Logger && self.probe.leads_to(&place, which.id) == Err(Errno::ENOENT);
        let (supervises, mut lent) = self.lend();
        if !is_lost && supervises.stop_without_supervise(which, now, &mut lent) {
            self.diagnostics.warn_unable_once(Subject::Start(which), unable);
            self.table.not_started(which, now);
        } else {
            self.table.not_needed(which, now, todo);
        }
    }

    fn carry_on(&mut self, now: Instant) {
        let (supervises, table, probe) = (&self.supervises, &self.table, &mut self.probe);
        let unread = |id| supervises.launcher.unread(id);
        self.stopping.carry_on(table, unread, now, |owed| supervises.command(owed, table, probe));
    }

    fn say(&mut self, id: Id, remark: Remark) {
        if let Remark::Down(name) | Remark::Gone(name) = &remark
            && !self.forward.includes(id)
        {
            remarks::unread(name, self.supervises.launcher.unread(id));
            // A new service under this identity starts with a new pipe: of this one an end is closed.
            self.supervises.launcher.close_pipe(id);
        }
        let Scanner { table, supervises, probe, diagnostics, .. } = self;
        remarks::say(id, remark, table, supervises, probe, diagnostics);
    }

    /// Looks at the directory now; what is to be started later is started now.
    pub fn hasten(&mut self, now: Instant) {
        self.scan.request(now);
        self.table.hasten(now);
    }

    /// Everything is to be stopped.
    pub fn close(&mut self, now: Instant) {
        if !self.table.is_closing() {
            let (order, mut todo) = (self.probe.order(&self.table), Vec::new());
            self.table.reorder(&order, &mut todo);
            self.table.close(now, &mut todo);
            self.perform(todo, now);
        }
    }

    /// What is being stopped is killed instead of waited for.
    pub fn hurry(&mut self, now: Instant) {
        self.stopping.hurry(self.table.unstopped(), now);
        self.forward.hurry();
    }

    /// Starts a program in the scan directory, as supervises are started.
    ///
    /// # Errors
    /// Which step the system refused.
    pub fn start_program(&self, file: &Path, argument: &str) -> Result<Pid, Refused> {
        self.supervises.launcher.start_program(file, argument)
    }

    /// Whether svscan's file may be executed anew now: not before what is being stopped is down.
    pub fn may_be_handed_over(&self) -> bool {
        self.table.may_be_handed_on()
    }

    /// What the next svscan in this process needs to know, but for the lock of the directory, and its descriptors.
    pub fn handover(&self) -> (Handover, Vec<BorrowedFd<'_>>) {
        let mut handover = Handover {
            // Those that are just starting could not be found by what they write.
            supervises: self.table.running().map(|(pid, which)| (which, pid)).collect(),
            absent: self.table.absent().map(|(id, name)| (id, name.to_os_string())).collect(),
            reading_on: self.table.reading_on().collect(),
            delayed: self.table.delayed(Instant::now()).collect(),
            forwarder: self.forward.forwarder(),
            ..Handover::default()
        };
        self.supervises.hand_over(&mut handover);
        (handover, self.supervises.descriptors())
    }

    /// Goes on where an earlier svscan in this process has stopped.
    pub fn take_over(&mut self, handover: &Handover, now: Instant) {
        self.supervises.take_over(handover);
        handover.delayed.iter().for_each(|delayed| self.table.expect_delayed(delayed, now));
        handover.absent.iter().for_each(|(id, name)| self.inherit(*id, name));
        handover.reading_on.iter().for_each(|id| self.table.inherit_reading_on(*id));
        handover.forwarder.into_iter().for_each(|pid| self.forward.inherit(pid, now));
    }

    /// Nothing in the directory will lead to this service, but it is up.
    fn inherit(&mut self, id: Id, name: &OsStr) {
        let supervises = self.supervises.inherit(id);
        let launcher = &mut self.supervises.launcher;
        if supervises == [None, None] {
            return launcher.forget(id);
        }
        self.table.inherit(id, name, supervises);
        self.probe.hold(&self.table, id);
        if !self.table.has_logger(id) && launcher.has_pipe(id) {
            self.forward.want(id);
            self.forward.begin(id);
        }
    }
}
