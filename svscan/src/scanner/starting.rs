//! Starting supervises, and what svscan does about those that could not be started.

use super::Scanner;
use crate::diagnostics::Subject;
use crate::probe::Entry;
use crate::scan::EntryLookup;
use crate::table::{Action, Part, SuperviseId};
use daemontools::Unable;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

impl Scanner {
    /// A supervise is due: svscan starts it, or takes over the one that is in charge.
    pub(super) fn start(&mut self, which: SuperviseId) {
        let Some(name) = self.table.name(which.id).map(OsStr::to_os_string) else { return };
        let now = Instant::now();
        let (supervises, mut context) = self.context();
        let mut todo = Vec::new();
        match supervises.start_or_take_over(which, &name, &mut context) {
            Ok(Some(pid)) => {
                self.diagnostics.clear(&Subject::Start(which));
                self.table.started(which, pid, now, &mut todo);
                self.stopping.has_started(which);
                if which.part == Part::Service && self.essential.includes(which.id) {
                    self.changes.watch_ready(which.id, now);
                }
            }
            Ok(None) => self.table.not_needed(which, now, &mut todo),
            Err(unable) if self.table.is_stopping(which.id) => self.not_started_to_stop(which, &unable, now, &mut todo),
            Err(unable) => self.not_started(which, &name, &unable, now, &mut todo),
        }
        self.perform(todo, now);
    }

    fn not_started(&mut self, which: SuperviseId, name: &OsStr, unable: &Unable, now: Instant, todo: &mut Vec<Action>) {
        if which.part == Part::Logger && !self.table.is_present(which.id) {
            self.diagnostics.warn_unable_once(Subject::Start(which), unable);
            // If its directory does not exist, there is nothing to try again.
            return match unable.errno {
                Errno::ENOENT => self.table.not_needed(which, now, todo),
                _ => self.table.not_started(which, now),
            };
        }
        // The entry was removed or replaced meanwhile: svscan looks at it again.
        if unable.errno == Errno::ENOENT && self.probe.leads_to(name, which.id).is_err() {
            let is_replaced = matches!(self.probe.resolve_entry(name), Entry::Directory(_) | Entry::File);
            if is_replaced && self.table.has_ended(which) {
                let words = b" is not the directory any more whose supervise has ended: what that left runs on";
                self.diagnostics.warn_once(Subject::Entry(name.into()), [name.as_bytes(), words].concat());
            }
            self.look_up_again(name, now);
            return self.table.not_started(which, now);
        }
        // What keeps a service from starting may keep its logger from it too.
        let service = Subject::Start(SuperviseId { part: Part::Service, ..which });
        if which.part == Part::Service || !self.diagnostics.is_current(&service, unable) {
            self.diagnostics.warn_unable_once(Subject::Start(which), unable);
        }
        self.table.not_started(which, now);
    }

    /// An entry has changed since svscan has looked at it.
    pub(super) fn look_up_again(&mut self, name: &OsStr, now: Instant) {
        let Scanner { table, probe, diagnostics, .. } = self;
        EntryLookup { table, probe, diagnostics }.look_up(name);
        self.scan.request(now);
    }

    /// No supervise could be started for a part that is being stopped. svscan tries again for as long as something is left.
    fn not_started_to_stop(&mut self, which: SuperviseId, unable: &Unable, now: Instant, todo: &mut Vec<Action>) {
        let place = self.probe.place(&self.table, which).unwrap_or_default();
        // No logger will ever read the lines whose directory is not to be found.
        let is_lost = which.part == Part::Logger && self.probe.leads_to(&place, which.id) == Err(Errno::ENOENT);
        let (supervises, mut context) = self.context();
        if !is_lost && supervises.stop_without_supervise(which, now, &mut context) {
            self.diagnostics.warn_unable_once(Subject::Start(which), unable);
            self.table.not_started(which, now);
        } else {
            self.table.not_needed(which, now, todo);
        }
    }
}
