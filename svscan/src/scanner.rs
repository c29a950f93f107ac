//! Looks at the scan directory, carries out what the table decides, and tells it what happens. `admission` takes
//! in new services, `starting` starts supervises, `ends` is about processes that have ended, and `handing_over` about the
//! next svscan in this process.

mod admission;
mod ends;
mod handing_over;
mod starting;

use crate::changes::Changes;
use crate::diagnostics::Diagnostics;
use crate::essential::EssentialServices;
use crate::forwarding::Forwarding;
use crate::launch::Launcher;
use crate::long_stop::LongStop;
use crate::probe::Probe;
use crate::scan::{EntryLookup, Scan};
use crate::stopping::Stopping;
use crate::supervises::{SuperviseContext, Supervises};
use crate::survivors::Survivors;
use crate::table::{Action, Id, Message, Part, SuperviseId, Table};
use crate::unkillable::{self, Unkillable};
use crate::{messages, settings};
use daemontools::sys::spawn::Refused;
use nix::unistd::Pid;
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
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
    essential: EssentialServices,
    forward: Forwarding,
    /// Whether lines were to be forwarded when svscan last could read the setting.
    forwards: bool,
    diagnostics: Diagnostics,
    unkillable: Unkillable,
    long_stop: LongStop,
}

impl Scanner {
    /// Makes a scanner that knows nothing yet. The first scan is due.
    ///
    /// # Errors
    /// No descriptor to be had.
    pub fn new(launcher: Launcher, survivors: Survivors, now: Instant) -> nix::Result<Scanner> {
        let mut diagnostics = Diagnostics::default();
        let changes = Changes::new(&mut diagnostics);
        let mut probe = Probe::default();
        probe.watch_through(changes.inotify());
        Ok(Scanner {
            table: Table::default(),
            probe,
            scan: Scan::new(now),
            changes,
            supervises: Supervises::new(launcher, survivors)?,
            stopping: Stopping::default(),
            essential: EssentialServices::default(),
            forward: Forwarding::default(),
            forwards: false,
            diagnostics,
            unkillable: Unkillable::default(),
            long_stop: LongStop::default(),
        })
    }

    /// What is readable when there is something to do.
    pub fn sources(&self) -> Vec<BorrowedFd<'_>> {
        self.changes.source().into_iter().chain([self.supervises.as_fd()]).chain(self.probe.changes()).collect()
    }

    /// The time at which something is to be done even if nothing happens before.
    pub fn deadline(&self) -> Instant {
        let deadlines =
            [self.table.deadline(), self.changes.deadline(), self.stopping.deadline(), self.forward.deadline()];
        let deadlines = deadlines.into_iter().chain([self.unkillable.deadline(), self.long_stop.deadline()]);
        deadlines.flatten().fold(self.scan.deadline(), Instant::min)
    }

    /// Does all that is to be done now. `children_ended`: some children may have ended. Returns whether some still may have,
    /// which svscan has not waited for.
    pub fn do_what_is_due(&mut self, children_ended: bool) -> bool {
        // svscan looks at the directory first, so that it does not restart a supervise that ended because its entry is gone.
        self.look(Instant::now());
        let more_have_ended = children_ended && !self.reap(Instant::now());
        for (pid, status) in self.supervises.ended() {
            self.supervise_ended(pid, status, Instant::now());
        }
        for which in self.table.starts(Instant::now(), BATCH) {
            self.start(which);
        }
        self.carry_on(Instant::now());
        if self.long_stop.is_due(Instant::now()) {
            messages::still_waiting(&self.table, |which| {
                self.supervises.time_left(which, &self.table, &mut self.probe)
            });
        }
        self.forward.tend(&self.table, &self.supervises.launcher, Instant::now());
        self.probe.rest();
        more_have_ended
    }

    /// The code that svscan exits with, once everything was to be stopped, and is, or cannot be.
    pub fn exit_code(&mut self) -> Option<i32> {
        let is_over = self.table.has_stopped_all()
            && self.forward.has_forwarded(&self.table, &self.supervises.launcher, Instant::now());
        (is_over || self.is_given_up()).then(|| self.essential.exit_code())
    }

    /// Whether everything was to be killed, and svscan does not wait any longer for what no signal ends.
    fn is_given_up(&mut self) -> bool {
        if !self.table.is_stopping_all() {
            return false;
        }
        let given_up = self.unkillable.given_up(&self.table.unstopped(), Instant::now());
        for (which, pid) in given_up.into_iter().flatten() {
            unkillable::say(*which, self.table.name(which.id).unwrap_or_default(), *pid);
        }
        given_up.is_some()
    }

    /// Looks at what has changed in the directory, and at all of it when that is due.
    pub fn look(&mut self, now: Instant) {
        let Scanner { scan, changes, table, probe, diagnostics, .. } = self;
        let outcome = scan.look(changes, &mut EntryLookup { table, probe, diagnostics }, now);
        if outcome.was_full {
            self.supervises.wake_where_files_are_missing(&self.table, &mut self.probe);
            self.probe.keep_others_open(&self.table);
        }
        let mut todo = Vec::new();
        let on_remove = settings::on_remove(&mut self.probe, &mut self.diagnostics);
        self.table.settle(on_remove, now, &mut todo);
        // If svscan looked into a service twice because two of its entries have changed, the service would begin anew
        // while it runs.
        let mut new = HashSet::new();
        todo.retain(|action| !matches!(action, Action::Inspect(id) if !new.insert(*id)));
        self.perform(todo, now);
        self.changes.looked();
        while let Some(id) = self.changes.overdue(now) {
            self.admit(id, now);
        }
        self.look_at_watched(outcome.new_states, now);
    }

    /// Does what the table has decided.
    fn perform(&mut self, todo: Vec<Action>, now: Instant) {
        for action in todo {
            match action {
                Action::Inspect(id) => self.inspect(id, now),
                Action::EndSupervise(which) => {
                    self.table.pid(which).into_iter().for_each(|pid| self.stopping.end_supervise((which, pid), now));
                }
                Action::DrainLogger(id) => self.drain(id, now),
                Action::EndInput(id) => self.supervises.launcher.end_input(id),
                Action::HoldDirectory(id) => self.probe.keep_open(&self.table, id),
                Action::ReleaseDirectory(id) => {
                    self.probe.close(id);
                    self.stopping.has_come_back(id);
                }
                Action::ForgetStop(id) => self.stopping.has_come_back(id),
                Action::Forget(id) => self.forget(id),
                Action::WatchReady(id) => self.changes.watch_ready(id, now),
                Action::Say(id, message) => self.say(id, message),
            }
        }
    }

    /// Has a logger read what is left in its pipe, and then end.
    fn drain(&mut self, id: Id, now: Instant) {
        let launcher = &mut self.supervises.launcher;
        launcher.close_writer(id);
        if let Some(pid) = self.table.pid(SuperviseId { id, part: Part::Logger }) {
            self.stopping.drain_logger((id, pid), launcher.unread(id), now);
        }
    }

    fn forget(&mut self, id: Id) {
        self.changes.forget(id);
        self.probe.close(id);
        self.supervises.forget(id);
        self.diagnostics.forget(id);
        self.stopping.forget(id);
        self.essential.forget(id);
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
            let is_essential = self.essential.includes(id);
            if !is_awaited && !is_essential {
                self.changes.end_ready_watch(id);
            }
            if is_essential
                && !self.table.is_stopping_all()
                && let Some(code) = written.final_exit(pid)
            {
                self.essential.ended(code);
                messages::essential_ended(&written.folder);
                self.stop_all(now);
            }
        }
    }

    fn context(&mut self) -> (&mut Supervises, SuperviseContext<'_>) {
        let Scanner { table, probe, supervises, stopping, forward, .. } = self;
        (supervises, SuperviseContext { table, probe, stopping, forward })
    }

    /// Whether there is a script of this name, where it can be touched.
    pub fn has_script(&mut self, script: &Path) -> bool {
        self.probe.is_program(script)
    }

    fn carry_on(&mut self, now: Instant) {
        let (supervises, table, probe) = (&self.supervises, &self.table, &mut self.probe);
        let unread = |id| supervises.launcher.unread(id);
        self.stopping.carry_on(table, unread, now, |owed| supervises.command(owed, table, probe));
    }

    fn say(&mut self, id: Id, message: Message) {
        if let Message::Down(name) | Message::Gone(name) = &message
            && !self.forward.includes(id)
        {
            messages::unread(name, self.supervises.launcher.unread(id));
            // A new service under this identity starts with a new pipe, because an end of this pipe is closed.
            self.supervises.launcher.close_pipe(id);
        }
        let Scanner { table, supervises, probe, diagnostics, .. } = self;
        messages::say(id, message, table, supervises, probe, diagnostics);
    }

    /// Has the directory scanned now, and starts now what is to be started later.
    pub fn hasten(&mut self, now: Instant) {
        self.scan.request(now);
        self.table.hasten(now);
    }

    /// Begins to stop everything.
    pub fn stop_all(&mut self, now: Instant) {
        if !self.table.is_stopping_all() {
            let (order, mut todo) = (self.probe.order(&self.table), Vec::new());
            self.table.reorder(&order, &mut todo);
            self.table.stop_all(now, &mut todo);
            self.long_stop.begin(now);
            self.perform(todo, now);
        }
    }

    /// Kills what is being stopped instead of waiting for it.
    pub fn hurry(&mut self, now: Instant) {
        self.stopping.hurry(self.table.unstopped(), now);
        self.forward.hurry();
        self.unkillable.watch(now);
    }

    /// Starts a program in the scan directory, as supervises are started.
    ///
    /// # Errors
    /// Which step the system refused.
    pub fn start_program(&self, file: &Path, argument: &str) -> Result<Pid, Refused> {
        self.supervises.launcher.start_program(file, argument)
    }
}
